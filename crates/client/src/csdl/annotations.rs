//! What annotations say. They stand in what they are about, or elsewhere with its name as their target.

use std::collections::{HashMap, HashSet};

use quick_xml::events::BytesStart;

use super::document::{Document, Element, tails};
use super::{Index, MAX_NAME, cut};

/// The annotations that matter.
#[derive(Clone, Copy)]
pub(super) enum Term {
    Description,
    OptionalParameter,
    FilterRestrictions,
    /// Parts of [`Term::FilterRestrictions`].
    NonFilterableProperties,
    Filterable,
}

/// What is said of a type, a set, a property or a parameter.
#[derive(Default)]
pub(super) struct Notes {
    pub title: Option<Box<str>>,
    /// Names of properties.
    pub not_filterable: Vec<Box<str>>,
    /// Nothing can be filtered by.
    pub nothing_filterable: bool,
    pub optional: bool,
}

impl Notes {
    /// What is there already counts.
    fn add(&mut self, other: &Notes) {
        self.title = self.title.take().or_else(|| other.title.clone());
        self.not_filterable.extend(other.not_filterable.iter().cloned());
        self.nothing_filterable |= other.nothing_filterable;
        self.optional |= other.optional;
    }
}

impl Document {
    pub(super) fn annotation(
        &mut self,
        tag: &BytesStart<'_>,
        name: &str,
        parent: Element,
    ) -> Option<Element> {
        match (name, parent) {
            ("Annotations", _) => {
                let target = self.name(tag, "Target")?;
                self.elsewhere.push((target, Notes::default()));
                Some(Element::Annotations)
            }
            ("PropertyValue", Element::Annotation(Term::FilterRestrictions)) => {
                let (term, value) = match self.attribute(tag, "Property")?.as_str() {
                    "NonFilterableProperties" => (Term::NonFilterableProperties, "PropertyPath"),
                    "Filterable" => (Term::Filterable, "Bool"),
                    _ => return None,
                };
                let text = self.attribute(tag, value).unwrap_or_default();
                self.annotate(term, &text);
                Some(Element::Annotation(term))
            }
            ("Record" | "Collection", Element::Annotation(_)) => Some(parent),
            // An annotation of an annotation says nothing.
            ("Annotation", Element::Annotation(_)) => None,
            ("Annotation", _) => {
                let term = term(&self.attribute(tag, "Term")?)?;
                let text = self.attribute(tag, "String").unwrap_or_default();
                self.annotate(term, &text);
                Some(Element::Annotation(term))
            }
            ("PropertyPath" | "String" | "Bool", Element::Annotation(term)) => Some(Element::Text(term)),
            _ => None,
        }
    }

    /// Keeps what the annotation that is open says.
    pub(super) fn annotate(&mut self, term: Term, text: &str) {
        let Some(notes) = self.annotated() else { return };
        match (term, text.trim()) {
            (Term::OptionalParameter, _) => notes.optional = true,
            (Term::FilterRestrictions, _) | (_, "") => {}
            (Term::Filterable, text) => notes.nothing_filterable |= text == "false",
            (Term::Description, text) => notes.title = Some(cut(text, MAX_NAME).into()),
            (Term::NonFilterableProperties, path) => notes.not_filterable.push(cut(path, MAX_NAME).into()),
        }
    }

    /// What the annotation that is open is about.
    fn annotated(&mut self) -> Option<&mut Notes> {
        let is_inside = |element: &&Element| matches!(element, Element::Annotation(_) | Element::Text(_));
        Some(match self.open.iter().rev().find(|element| !is_inside(element))? {
            Element::Type => &mut self.types.last_mut()?.notes,
            Element::Property => &mut self.types.last_mut()?.properties.last_mut()?.notes,
            Element::Set => &mut self.sets.last_mut()?.notes,
            Element::Parameter => &mut self.functions.last_mut()?.parameters.last_mut()?.notes,
            Element::Annotations => &mut self.elsewhere.last_mut()?.1,
            _ => return None,
        })
    }

    /// Puts the annotations where they belong that stand elsewhere.
    pub(super) fn apply_annotations(&mut self, types: &Index) {
        let sets: HashMap<Box<str>, usize> =
            self.sets.iter().enumerate().rev().map(|(at, set)| (set.name.clone(), at)).collect();
        let functions: HashSet<Box<str>> =
            self.functions.iter().map(|function| function.name.clone()).collect();
        let mut fields: HashMap<(Box<str>, Box<str>), Notes> = HashMap::new();
        for (target, notes) in std::mem::take(&mut self.elsewhere) {
            // A part is of a type, of a function with its types, or of what holds the sets.
            let (holder, part) = target.split_once('/').unwrap_or((&target, ""));
            // With the types of its parameters behind it, which may have brackets, as may the name.
            let function = tails(holder).find_map(|name| {
                let ends = name.rmatch_indices('(').take(8).map(|(at, _)| at);
                std::iter::once(name.len()).chain(ends).find_map(|end| functions.get(&name[..end]))
            });
            match (types.find(holder).map(|at| &mut self.types[at]), function, sets.get(part)) {
                (Some(ty), ..) if part.is_empty() => ty.notes.add(&notes),
                (Some(ty), ..) => fields.entry((ty.name.clone(), part.into())).or_default().add(&notes),
                (_, Some(function), _) => {
                    fields.entry((function.clone(), part.into())).or_default().add(&notes);
                }
                (.., Some(&set)) => self.sets[set].notes.add(&notes),
                _ => {}
            }
        }
        let properties = self.types.iter_mut().map(|ty| (&ty.name, &mut ty.properties));
        let parameters = self.functions.iter_mut().map(|of| (&of.name, &mut of.parameters));
        for (holder, all) in properties.chain(parameters).filter(|_| !fields.is_empty()) {
            for field in all {
                let notes = fields.get(&(holder.clone(), field.name.clone()));
                notes.into_iter().for_each(|notes| field.notes.add(notes));
            }
        }
    }
}

fn term(name: &str) -> Option<Term> {
    let (namespace, name) = name.rsplit_once('.')?;
    // A document can call a vocabulary as it likes, but not with a dot in it.
    let is = |vocabulary| namespace == vocabulary || !namespace.contains('.');
    match name {
        "Description" if is("Org.OData.Core.V1") => Some(Term::Description),
        "OptionalParameter" if is("Org.OData.Core.V1") => Some(Term::OptionalParameter),
        "FilterRestrictions" if is("Org.OData.Capabilities.V1") => Some(Term::FilterRestrictions),
        _ => None,
    }
}
