//! Collects what is needed from a document, element by element.
//!
//! Elements are nested, so the object of an open element is always the last one in its list.

use quick_xml::events::{BytesStart, Event};

use super::annotations::{Notes, Term, term};
use super::{Faults, MAX_NAME, cut, edm, malformed, reader, shown};
use crate::catalog::FieldType;
use crate::error::Result;

/// The limit for properties and all other parts that are kept.
const MAX_PARTS: usize = 2_000_000;
/// The limit for types, sets, functions and associations.
pub(super) const MAX_HOLDERS: usize = 200_000;
/// How deep elements may be nested.
pub(super) const MAX_DEPTH: usize = 200;
/// The suffix that the import of an inquiry with parameters has behind the name of its type (docs/acumatica.md section
/// 3).
pub(super) const FUNCTION: &str = "_WithParameters";

#[derive(Default)]
pub(super) struct Document {
    pub types: Vec<Type>,
    pub sets: Vec<Set>,
    pub functions: Vec<Function>,
    pub associations: Vec<Association>,
    /// Annotations that stand outside of the element that they are about, with the name of that element.
    pub elsewhere: Vec<(Box<str>, Notes)>,
    pub faults: Faults,
    /// An element was read.
    begun: bool,
    /// The elements that are open.
    pub open: Vec<Element>,
    namespace: Box<str>,
    /// The text of the open [`Element::Text`].
    text: String,
    /// The number of parts so far.
    parts: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) enum Element {
    #[default]
    Other,
    Type,
    Key,
    Property,
    Navigation,
    Association,
    /// A property of the end of an association, by the index of the end.
    Role(usize),
    Set,
    Function,
    Parameter,
    Annotations,
    Annotation(Term),
    Text(Term),
}

pub(super) struct Type {
    /// The name with its namespace.
    pub name: Box<str>,
    /// What a property of this type holds.
    pub value: FieldType,
    pub base: Option<Box<str>>,
    pub key: Vec<Box<str>>,
    pub properties: Vec<Typed>,
    pub navigations: Vec<Navigation>,
    pub notes: Notes,
}

/// A property or a parameter.
pub(super) struct Typed {
    pub name: Box<str>,
    /// The type, if OData defines it, or else its name.
    pub ty: std::result::Result<FieldType, Box<str>>,
    pub nullable: bool,
    pub notes: Notes,
}

pub(super) struct Navigation {
    pub name: Box<str>,
    /// The target: a type in v4, an association in v3.
    pub to: Box<str>,
    /// In v3, the role of the target in the association.
    pub role: Option<Box<str>>,
    /// In v4, pairs of a property here and one of the target.
    pub columns: Vec<(Box<str>, Box<str>)>,
}

/// An association of v3.
pub(super) struct Association {
    /// The name with its namespace.
    pub name: Box<str>,
    /// The two ends.
    pub ends: Vec<End>,
}

pub(super) struct End {
    pub role: Box<str>,
    pub type_name: Box<str>,
    pub many: bool,
    pub properties: Vec<Box<str>>,
}

pub(super) struct Set {
    pub name: Box<str>,
    pub type_name: Box<str>,
    /// The set is one object, not a list.
    pub singleton: bool,
    pub notes: Notes,
}

/// A function or the import of one.
pub(super) struct Function {
    /// The name as the document writes it; that of an import is the one that requests call.
    pub name: Box<str>,
    pub parameters: Vec<Typed>,
    pub returns: Option<Box<str>>,
    pub import: Option<Import>,
}

/// An import of a function. Those of v3 are functions themselves, and hold the parameters.
#[derive(Default)]
pub(super) struct Import {
    /// The function that an import of v4 stands for, with its namespace.
    pub function: Option<Box<str>>,
    /// The set whose rows it returns.
    pub set: Option<Box<str>>,
}

impl Document {
    pub(super) fn read(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start(tag) => {
                let element = self.enter(tag)?;
                if self.open.len() == MAX_DEPTH {
                    return Err(malformed("Its elements are nested too deeply."));
                }
                self.open.push(element);
            }
            Event::Empty(tag) => {
                let element = self.enter(tag)?;
                self.leave(element);
            }
            Event::End(_) => {
                let element = self.open.pop().unwrap_or_default();
                self.leave(element);
            }
            Event::Text(text) => self.gather(&text.xml10_content()),
            Event::CData(text) => self.gather(&text.xml10_content()),
            Event::GeneralRef(reference) if matches!(self.open.last(), Some(Element::Text(_))) => {
                let text = reader::expand(reference, &mut self.faults);
                self.gather(&text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that the document is complete.
    ///
    /// # Errors
    /// It ends too early.
    pub(super) fn end(&self) -> Result<()> {
        match self.open.len() {
            _ if !self.begun => Err(malformed("It is not XML.")),
            0 => Ok(()),
            _ => Err(malformed("It ends early.")),
        }
    }

    fn enter(&mut self, tag: &BytesStart<'_>) -> Result<Element> {
        let name = tag.local_name();
        let name: &str = name.as_ref();
        // The parser keeps the names of open elements in memory.
        if tag.name().as_ref().len() > MAX_NAME {
            return Err(malformed("It has an element with a name of more than 1,000 bytes."));
        }
        if !std::mem::replace(&mut self.begun, true) && !matches!(name, "Edmx" | "Schema") {
            return Err(malformed(format!("It is not OData's XML, but begins with <{}>.", shown(name))));
        }
        let parent = self.open.last().copied().unwrap_or_default();
        let Some(element) = self.collect(tag, name, parent) else { return Ok(Element::Other) };
        let is_holder =
            matches!(element, Element::Type | Element::Set | Element::Function | Element::Association);
        self.parts += if is_holder { MAX_PARTS / MAX_HOLDERS } else { 1 };
        if self.parts > MAX_PARTS {
            return Err(malformed("It has more than 200,000 types and sets, or 2,000,000 properties."));
        }
        Ok(element)
    }

    /// `None` if nothing is kept of the element.
    fn collect(&mut self, tag: &BytesStart<'_>, element: &str, parent: Element) -> Option<Element> {
        match (element, parent) {
            ("Schema", _) => {
                self.namespace = self.name(tag, "Namespace").unwrap_or_default();
                None
            }
            ("EntityType" | "ComplexType", _) => self.declare(tag, FieldType::Json),
            ("EnumType", _) => self.declare(tag, FieldType::Text),
            ("TypeDefinition", _) => {
                let value = self.attribute(tag, "UnderlyingType").and_then(|name| edm(&name));
                self.declare(tag, value.unwrap_or(FieldType::Text))
            }
            ("Key", Element::Type) => Some(Element::Key),
            ("PropertyRef", Element::Key | Element::Role(_)) => {
                let name = self.name(tag, "Name")?;
                match parent {
                    Element::Role(end) => {
                        self.associations.last_mut()?.ends.get_mut(end)?.properties.push(name)
                    }
                    _ => self.types.last_mut()?.key.push(name),
                }
                Some(Element::Other)
            }
            ("Property", Element::Type) => {
                let property = self.field(tag)?;
                self.types.last_mut()?.properties.push(property);
                Some(Element::Property)
            }
            ("NavigationProperty", Element::Type) => {
                let (name, role) = (self.name(tag, "Name")?, self.name(tag, "ToRole"));
                let to = self.name(tag, if role.is_some() { "Relationship" } else { "Type" })?;
                let navigation = Navigation { name, to, role, columns: Vec::new() };
                self.types.last_mut()?.navigations.push(navigation);
                Some(Element::Navigation)
            }
            ("ReferentialConstraint", Element::Navigation) => {
                let columns = (self.name(tag, "Property")?, self.name(tag, "ReferencedProperty")?);
                self.types.last_mut()?.navigations.last_mut()?.columns.push(columns);
                Some(Element::Other)
            }
            ("Association", _) => {
                let name = self.qualified(tag)?;
                self.associations.push(Association { name, ends: Vec::new() });
                Some(Element::Association)
            }
            ("End", Element::Association) => {
                let (role, type_name) = (self.name(tag, "Role")?, self.name(tag, "Type")?);
                let many = self.attribute(tag, "Multiplicity").is_some_and(|text| text.trim() == "*");
                let ends = &mut self.associations.last_mut()?.ends;
                ends.push(End { role, type_name, many, properties: Vec::new() });
                Some(Element::Other)
            }
            ("ReferentialConstraint", Element::Association) => Some(Element::Association),
            ("Principal" | "Dependent", Element::Association) => {
                let role = self.name(tag, "Role")?;
                let mut ends = self.associations.last()?.ends.iter();
                ends.position(|end| end.role == role).map(Element::Role)
            }
            ("EntitySet" | "Singleton", _) => {
                let singleton = element == "Singleton";
                let ty = if singleton { "Type" } else { "EntityType" };
                let (name, type_name) = (self.name(tag, "Name")?, self.name(tag, ty)?);
                self.sets.push(Set { name, type_name, singleton, notes: Notes::default() });
                Some(Element::Set)
            }
            ("Function" | "FunctionImport", _) => {
                let name = self.name(tag, "Name")?;
                let is = |value: Option<String>| value.is_some_and(|text| text.trim() == "true");
                // A function that is bound to a row, or that changes something, is not the reading of an inquiry.
                if is(self.attribute(tag, "IsBound")) || is(self.attribute(tag, "IsSideEffecting")) {
                    return None;
                }
                let returns = self.name(tag, "ReturnType");
                let import = (element == "FunctionImport").then(|| Import {
                    function: self.name(tag, "Function"),
                    set: self.name(tag, "EntitySet"),
                });
                self.functions.push(Function { name, parameters: Vec::new(), returns, import });
                Some(Element::Function)
            }
            ("Parameter", Element::Function) => {
                let parameter = self.field(tag)?;
                if parameter.name.eq_ignore_ascii_case("bindingParameter") {
                    return None;
                }
                self.functions.last_mut()?.parameters.push(parameter);
                Some(Element::Parameter)
            }
            ("ReturnType", Element::Function) => {
                let name = self.name(tag, "Type")?;
                self.functions.last_mut()?.returns = Some(name);
                Some(Element::Other)
            }
            _ => self.annotation(tag, element, parent),
        }
    }

    fn annotation(&mut self, tag: &BytesStart<'_>, name: &str, parent: Element) -> Option<Element> {
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
            // Annotations of annotations are ignored.
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

    /// Stores what the open annotation says.
    fn annotate(&mut self, term: Term, text: &str) {
        let Some(notes) = self.annotated() else { return };
        match (term, text.trim()) {
            (Term::OptionalParameter, _) => notes.optional = true,
            (Term::FilterRestrictions, _) | (_, "") => {}
            (Term::Filterable, text) => notes.nothing_filterable |= text == "false",
            (Term::Description, text) => notes.title = Some(cut(text, MAX_NAME).into()),
            (Term::NonFilterableProperties, path) => notes.not_filterable.push(cut(path, MAX_NAME).into()),
        }
    }

    /// The notes of the element that the open annotation is about.
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

    fn leave(&mut self, element: Element) {
        if let Element::Text(term) = element {
            let text = std::mem::take(&mut self.text);
            self.annotate(term, &text);
        }
    }

    fn gather(&mut self, text: &str) {
        if matches!(self.open.last(), Some(Element::Text(_))) {
            let room = (MAX_NAME + 1).saturating_sub(self.text.len());
            self.text.push_str(cut(text, room));
        }
    }

    fn declare(&mut self, tag: &BytesStart<'_>, value: FieldType) -> Option<Element> {
        let (name, base) = (self.qualified(tag)?, self.name(tag, "BaseType"));
        let (key, properties, navigations) = Default::default();
        self.types.push(Type { name, value, base, key, properties, navigations, notes: Notes::default() });
        Some(Element::Type)
    }

    fn field(&mut self, tag: &BytesStart<'_>) -> Option<Typed> {
        let name = self.name(tag, "Name")?;
        let ty = self.name(tag, "Type").unwrap_or_default();
        let nullable = self.attribute(tag, "Nullable").is_none_or(|text| text.trim() != "false");
        Some(Typed { name, ty: edm(&ty).ok_or(ty), nullable, notes: Notes::default() })
    }

    pub(super) fn attribute(&mut self, tag: &BytesStart<'_>, name: &str) -> Option<String> {
        reader::attribute(tag, name, &mut self.faults)
    }

    /// An attribute that is a name.
    pub(super) fn name(&mut self, tag: &BytesStart<'_>, attribute: &str) -> Option<Box<str>> {
        let name = self.attribute(tag, attribute).filter(|name| !name.is_empty())?;
        if name.len() <= MAX_NAME {
            return Some(name.into());
        }
        self.faults.add(|| {
            let (name, element) = (shown(&name), tag.local_name());
            let element: &str = element.as_ref();
            format!("{element} \"{name}…\" is left out: its {attribute} is longer than 1,000 bytes")
        });
        None
    }

    /// The name of a declared element with its namespace.
    fn qualified(&mut self, tag: &BytesStart<'_>) -> Option<Box<str>> {
        let name = self.name(tag, "Name")?;
        Some(format!("{}.{name}", self.namespace).into())
    }
}

/// The part of a function's name before the suffix that functions of inquiries have.
pub(super) fn before_suffix(function: &str) -> Option<&str> {
    let (name, suffix) = function.split_at_checked(function.len().checked_sub(FUNCTION.len())?)?;
    (!name.is_empty() && suffix.eq_ignore_ascii_case(FUNCTION)).then_some(name)
}

/// The name itself, then what follows each of its dots, the longest first. The name of an inquiry may contain dots, so
/// the namespace can be found only by comparing with the names that exist.
pub(super) fn tails(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(name.match_indices('.').take(8).map(|(at, _)| &name[at + 1..]))
}
