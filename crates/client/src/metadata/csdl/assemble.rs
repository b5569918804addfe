//! Makes the model of a document that was read to its end.

use std::collections::{HashMap, HashSet};

use super::annotations::Notes;
use super::document::{Document, End, Navigation, Typed, tails};
use super::names::{self, Group};
use super::{Faults, Index, items, malformed, short, shown};
use crate::catalog::{EntitySet, FieldType, InquiryParameter, Model, Property, Relation};
use crate::error::Result;

/// How many types may derive from each other in a row.
const MAX_BASES: usize = 64;
/// The limit for the names and properties of all sets together, in bytes. Types with a common base, or sets with a
/// common type, would multiply.
const MAX_MODEL: usize = 256 << 20;

pub(super) fn model(mut document: Document, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Model> {
    let types = Index::new(document.types.iter().map(|ty| &*ty.name));
    apply_annotations(&mut document, &types);
    let mut faults = std::mem::take(&mut document.faults);
    let groups = names::groups(&document, &types, wanted, &mut faults);
    let mut names = HashMap::new();
    for group in &groups {
        names.entry(group.ty.unwrap_or(usize::MAX)).or_insert(group.names[0]);
    }
    let mut assembly = Assembly {
        document: &document,
        types,
        associations: Index::new(document.associations.iter().map(|it| &*it.name)),
        names,
        unknown: HashSet::new(),
        faults,
        budget: MAX_MODEL,
    };
    let groups =
        groups.iter().filter(|group| group.names.iter().chain(&group.class).any(|name| wanted(name)));
    let sets = groups.map(|group| assembly.set(group)).collect::<Result<_>>()?;
    Ok(Model { sets, faults: assembly.faults.0 })
}

/// Moves annotations that stand elsewhere to the elements that they are about.
fn apply_annotations(document: &mut Document, types: &Index) {
    let sets: HashMap<Box<str>, usize> =
        document.sets.iter().enumerate().rev().map(|(at, set)| (set.name.clone(), at)).collect();
    let functions: HashSet<Box<str>> =
        document.functions.iter().map(|function| function.name.clone()).collect();
    let mut fields: HashMap<(Box<str>, Box<str>), Notes> = HashMap::new();
    for (target, notes) in std::mem::take(&mut document.elsewhere) {
        // The part belongs to a type, to a function with the types of its parameters, or to the container of the sets.
        let (holder, part) = target.split_once('/').unwrap_or((&target, ""));
        // The types of the parameters follow the name in brackets. They may have brackets, and so may the name.
        let function = tails(holder).find_map(|name| {
            let ends = name.rmatch_indices('(').take(8).map(|(at, _)| at);
            std::iter::once(name.len()).chain(ends).find_map(|end| functions.get(&name[..end]))
        });
        match (types.find(holder).map(|at| &mut document.types[at]), function, sets.get(part)) {
            (Some(ty), ..) if part.is_empty() => ty.notes.add(&notes),
            (Some(ty), ..) => fields.entry((ty.name.clone(), part.into())).or_default().add(&notes),
            (_, Some(function), _) => {
                fields.entry((function.clone(), part.into())).or_default().add(&notes);
            }
            (.., Some(&set)) => document.sets[set].notes.add(&notes),
            _ => {}
        }
    }
    let properties = document.types.iter_mut().map(|ty| (&ty.name, &mut ty.properties));
    let parameters = document.functions.iter_mut().map(|of| (&of.name, &mut of.parameters));
    for (holder, all) in properties.chain(parameters).filter(|_| !fields.is_empty()) {
        for field in all {
            let notes = fields.get(&(holder.clone(), field.name.clone()));
            notes.into_iter().for_each(|notes| field.notes.add(notes));
        }
    }
}

struct Assembly<'a> {
    document: &'a Document,
    types: Index,
    associations: Index,
    /// The first set of each type.
    names: HashMap<usize, &'a str>,
    /// Types that were reported as unknown.
    unknown: HashSet<&'a str>,
    faults: Faults,
    /// How many bytes the model may still take up.
    budget: usize,
}

impl<'a> Assembly<'a> {
    fn set(&mut self, group: &Group<'a>) -> Result<EntitySet> {
        let document = self.document;
        let name = group.names[0];
        let mut set = EntitySet {
            name: name.to_owned(),
            aliases: group.names[1..].iter().map(|&name| name.to_owned()).collect(),
            class: group.class.map(str::to_owned),
            singleton: group.sets.first().is_some_and(|set| set.singleton),
            function: group.function.clone(),
            ..EntitySet::default()
        };
        for &(parameter, required) in &group.parameters {
            self.spend(parameter.name.len())?;
            let ty = self.field_type(parameter, name);
            set.parameters.push(InquiryParameter { name: parameter.name.to_string(), ty, required });
        }
        if group.ty.is_none() {
            let name = shown(name);
            self.faults.add(|| format!("the set \"{name}\" has no columns: its type is not declared"));
        }
        let lineage = group.ty.map(|ty| self.lineage(ty)).unwrap_or_default();
        let types = || lineage.iter().map(|&at| &document.types[at]);
        let notes = || group.sets.iter().map(|set| &set.notes).chain(types().map(|ty| &ty.notes));
        let not_filterable: HashSet<&str> =
            notes().flat_map(|notes| &notes.not_filterable).map(|name| &**name).collect();
        self.spend(not_filterable.len())?;
        let own = group.sets.len() + 1;
        set.title = notes().take(own).find_map(|notes| notes.title.as_deref()).map(str::to_owned);
        let key = types().find(|ty| !ty.key.is_empty()).map(|ty| &*ty.key).unwrap_or_default();
        self.spend(key.iter().map(|name| name.len() + 24).sum())?;
        set.key = key.iter().map(|name| name.to_string()).collect();
        let mut known = HashSet::new();
        // An annotation of a class is applied to inherited properties, too. Whether the server does so is not known.
        let of_class = group.sets.iter().any(|set| set.notes.nothing_filterable);
        let mut nothing_filterable: Vec<bool> = types()
            .scan(of_class, |nothing, ty| {
                *nothing |= ty.notes.nothing_filterable;
                Some(*nothing)
            })
            .collect();
        for ty in types().rev() {
            let nothing_filterable = nothing_filterable.pop().unwrap_or(of_class);
            for property in &ty.properties {
                self.spend(property.name.len())?;
                if !known.insert(&*property.name) {
                    continue;
                }
                let title = property.notes.title.as_deref().map(str::to_owned);
                self.spend(title.as_ref().map_or(0, String::len))?;
                set.properties.push(Property {
                    name: property.name.to_string(),
                    ty: self.field_type(property, name),
                    nullable: property.nullable,
                    filterable: !nothing_filterable && !not_filterable.contains(&*property.name),
                    title,
                });
            }
            for navigation in &ty.navigations {
                set.relations.extend(self.relation(navigation)?);
            }
        }
        Ok(set)
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let rest = self.budget.checked_sub(bytes + 100);
        self.budget = rest.ok_or_else(|| malformed("Its types repeat each other too often."))?;
        Ok(())
    }

    /// A type and the types that it derives from.
    fn lineage(&self, ty: usize) -> Vec<usize> {
        let base = |&ty: &usize| self.types.find(self.document.types[ty].base.as_deref()?);
        let mut lineage = vec![ty];
        while let Some(next) = lineage.last().and_then(base).filter(|next| !lineage.contains(next))
            && lineage.len() < MAX_BASES
        {
            lineage.push(next);
        }
        lineage
    }

    fn field_type(&mut self, field: &'a Typed, set: &str) -> FieldType {
        let name = match &field.ty {
            Ok(ty) => return *ty,
            Err(name) => &**name,
        };
        let is_edm = name.starts_with("Edm.") || name.is_empty();
        if let Some(at) = self.types.find(name).filter(|_| !is_edm) {
            return self.document.types[at].value;
        }
        let (ty, as_what) = if is_edm { (FieldType::Text, "text") } else { (FieldType::Json, "JSON") };
        if self.unknown.insert(name) {
            let (name, of, set) = (shown(name), shown(&field.name), shown(set));
            self.faults.add(|| {
                format!("the type \"{name}\" of \"{of}\" in \"{set}\" is not known: taken as {as_what}")
            });
        }
        ty
    }

    /// `None` if the document does not say where the navigation leads.
    fn relation(&mut self, navigation: &'a Navigation) -> Result<Option<Relation>> {
        let (type_name, many, columns) = match &navigation.role {
            Some(role) => {
                let Some([here, there]) = self.ends(&navigation.to, role) else { return Ok(None) };
                let columns = here.properties.iter().cloned().zip(there.properties.iter().cloned());
                (&*there.type_name, there.many, columns.collect())
            }
            None => {
                let items = items(&navigation.to);
                (items.unwrap_or(&navigation.to), items.is_some(), navigation.columns.clone())
            }
        };
        let target = match self.types.find(type_name) {
            Some(ty) => self.names.get(&ty).copied().unwrap_or(short(&self.document.types[ty].name)),
            None => short(type_name),
        };
        let bytes: usize = columns.iter().map(|(here, there)| here.len() + there.len() + 48).sum();
        self.spend(navigation.name.len() + target.len() + bytes)?;
        Ok(Some(Relation {
            name: navigation.name.to_string(),
            target: target.to_owned(),
            many,
            columns: columns.into_iter().map(|(here, there)| (here.into(), there.into())).collect(),
        }))
    }

    /// The ends of an association: the one from which a navigation leads to `role`, and that one.
    fn ends(&self, association: &str, role: &str) -> Option<[&'a End; 2]> {
        let ends = &self.document.associations[self.associations.find(association)?].ends;
        let end = |is_there| ends.iter().find(|end| (&*end.role == role) == is_there);
        Some([end(false)?, end(true)?])
    }
}
