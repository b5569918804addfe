//! Finds the schemas that are records, and the types of their members.

use std::collections::{HashMap, HashSet};

use super::document::{Answer, Path};
use super::shape::Shape;
use super::{malformed, simple_type};
use crate::catalog::{Entity, FieldType, Member, MemberType};
use crate::error::Result;

/// The limit for references to references, and for records that derive from each other in a row.
const MAX_HOPS: usize = 8;
/// The schema that every record derives from.
const ROOT: &str = "Entity";
/// Members of every record that are no fields (docs/acumatica.md section 2). Case matters: `ID` is a field.
const SYSTEM: [&str; 8] =
    ["id", "rowNumber", "note", "custom", "error", "files", "_links", "_workflowActions"];

pub(super) struct Schemas<'a> {
    shapes: &'a HashMap<Box<str>, Shape>,
    /// Names of the schemas that derive from [`ROOT`].
    records: HashSet<&'a str>,
    /// How many schemas may still be visited and built. Schemas that include each other crosswise would multiply.
    budget: usize,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(shapes: &'a HashMap<Box<str>, Shape>, document_bytes: usize) -> Self {
        let budget = document_bytes.saturating_mul(8).saturating_add(1 << 20);
        Self { shapes, records: records(shapes), budget }
    }

    fn spend(&mut self, cost: usize) -> Result<()> {
        let rest = self.budget.checked_sub(cost);
        self.budget = rest.ok_or_else(|| malformed("Its schemas include each other too often."))?;
        Ok(())
    }

    /// The type of an entity's records: the one that its path names, else the type of the same name.
    pub(super) fn entity_type(
        &mut self,
        name: &str,
        path: &Path,
        answers: &HashMap<Box<str>, Answer>,
    ) -> Result<Option<String>> {
        for candidate in path.types(answers).chain([name]) {
            if self.records.contains(candidate) || !self.members_of(candidate)?.is_empty() {
                return Ok(Some(candidate.to_owned()));
            }
        }
        Ok(None)
    }

    /// All records, and all types that entities and records refer to.
    pub(super) fn types(&mut self, entities: &[Entity]) -> Result<HashMap<String, Vec<Member>>> {
        let mut types = HashMap::new();
        let mut waiting: Vec<String> = self.records.iter().map(|&name| name.to_owned()).collect();
        waiting.extend(entities.iter().map(|entity| entity.type_name.clone()));
        while let Some(name) = waiting.pop() {
            if types.contains_key(&name) {
                continue;
            }
            let members = self.members(&name)?;
            for member in &members {
                if let MemberType::Linked(target) | MemberType::List(target) = &member.ty {
                    waiting.push(target.clone());
                }
            }
            types.insert(name, members);
        }
        Ok(types)
    }

    fn members(&mut self, type_name: &str) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for (name, shape) in self.members_of(type_name)? {
            if SYSTEM.contains(&name) {
                continue;
            }
            let ty = self.meaning(shape, MAX_HOPS)?;
            let target = match &ty {
                MemberType::Value(_) => 0,
                MemberType::Linked(name) | MemberType::List(name) | MemberType::Unknown(name) => name.len(),
            };
            self.spend(name.len() + 2 * target)?;
            members.push(Member { name: name.to_owned(), ty });
        }
        Ok(members)
    }

    /// The members of a schema, with those of the schemas that it includes. Each name comes once; the last one counts.
    fn members_of(&mut self, name: &str) -> Result<Vec<(&'a str, &'a Shape)>> {
        let (mut included, mut seen) = (Vec::new(), HashSet::new());
        let mut waiting: Vec<&'a Shape> = self.shapes.get(name).into_iter().collect();
        while let Some(shape) = waiting.pop() {
            self.spend(1 + shape.bases().len() + shape.members().len())?;
            included.push(shape);
            let new = shape.bases().iter().filter(|base| seen.insert(&***base));
            waiting.extend(new.filter_map(|base| self.shapes.get(base)));
        }
        let mut members = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (name, shape) in included.into_iter().rev().flat_map(Shape::members) {
            let place = *places.entry(name).or_insert(members.len());
            match members.get_mut(place) {
                Some(member) => *member = (&**name, shape),
                None => members.push((&**name, shape)),
            }
        }
        Ok(members)
    }

    fn meaning(&mut self, shape: &'a Shape, hops: usize) -> Result<MemberType> {
        Ok(match shape {
            Shape::Empty => MemberType::Unknown("(no type)".into()),
            Shape::Value(ty) => MemberType::Value(*ty),
            Shape::Object(_) => MemberType::Value(FieldType::Json),
            Shape::Other(name) => MemberType::Unknown(name.to_string()),
            Shape::Array(items) => match self.meaning(items, hops)? {
                MemberType::Linked(name) => MemberType::List(name),
                _ => MemberType::Value(FieldType::Json),
            },
            Shape::Ref(name) => match known_wrapper(name) {
                Some(ty) => MemberType::Value(ty),
                None => self.meaning_of(name, hops)?,
            },
        })
    }

    /// What a reference to the schema `name` means.
    fn meaning_of(&mut self, name: &'a str, hops: usize) -> Result<MemberType> {
        let unknown = || MemberType::Unknown(name.to_owned());
        let Some(shape) = self.shapes.get(name).filter(|_| hops > 0) else { return Ok(unknown()) };
        if self.records.contains(name) {
            return Ok(MemberType::Linked(name.to_owned()));
        }
        if !matches!(shape, Shape::Object(_)) {
            return self.meaning(shape, hops - 1);
        }
        let members = self.members_of(name)?;
        Ok(match members.iter().find(|(name, _)| *name == "value") {
            Some((_, value)) => self.wrapped(value, MAX_HOPS).map_or_else(unknown, MemberType::Value),
            None if members.is_empty() => MemberType::Value(FieldType::Json),
            None => MemberType::Linked(name.to_owned()),
        })
    }

    /// What a wrapper with this `value` holds.
    fn wrapped(&self, value: &Shape, hops: usize) -> Option<FieldType> {
        match value {
            Shape::Value(FieldType::Json) => None,
            Shape::Value(ty) => Some(*ty),
            Shape::Ref(name) => self.wrapped(self.shapes.get(name)?, hops.checked_sub(1)?),
            // The values of a drop-down of several.
            Shape::Array(items) => match self.wrapped(items, hops.checked_sub(1)?)? {
                FieldType::Choice | FieldType::IntChoice => Some(FieldType::Choices),
                _ => None,
            },
            _ => {
                let find = |wanted| value.members().iter().find(|(name, _)| &**name == wanted);
                find("description")?;
                Some(match find("id")?.1 {
                    Shape::Value(FieldType::Int2 | FieldType::Int4 | FieldType::Int8) => FieldType::IntChoice,
                    _ => FieldType::Choice,
                })
            }
        }
    }
}

fn known_wrapper(name: &str) -> Option<FieldType> {
    let (word, suffix) = name.split_at_checked(name.len().checked_sub("Value".len())?)?;
    if suffix.eq_ignore_ascii_case("Value") { simple_type(word) } else { None }
}

/// The names of the schemas that derive from [`ROOT`], directly or through others.
fn records(shapes: &HashMap<Box<str>, Shape>) -> HashSet<&str> {
    let mut records = HashSet::from([ROOT]);
    for _ in 0..MAX_HOPS {
        let derives = |shape: &Shape| shape.bases().iter().any(|base| records.contains(&**base));
        let heirs: Vec<&str> =
            shapes.iter().filter(|(_, shape)| derives(shape)).map(|(name, _)| &**name).collect();
        records.extend(heirs);
    }
    records.remove(ROOT);
    records
}
