//! OData `$metadata`: what generic inquiries and data access classes are (acumatica-api.md section 3).
//!
//! The document is read as it arrives, in two steps: what may matter is collected, since types come before
//! the sets that use them; then the sets that are wanted are put together.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use quick_xml::escape::{EscapeError, resolve_predefined_entity};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use crate::catalog::{EntitySet, FieldType, Model, Parameter, Property, Relation};
use crate::error::{Error, ErrorKind, Result};

/// Ten times the largest document known.
const MAX_DOCUMENT: usize = 256 << 20;
/// A tag, a text or a comment.
const MAX_EVENT: usize = 1 << 20;
/// In bytes; no remote name comes near.
const MAX_NAME: usize = 1_000;
/// Types, sets, functions and associations.
const MAX_HOLDERS: usize = 200_000;
/// Properties and whatever else stands in a holder.
const MAX_PARTS: usize = 2_000_000;
/// Elements inside each other.
const MAX_DEPTH: usize = 200;
/// Types that derive from each other.
const MAX_BASES: usize = 64;
/// Names and properties of the sets put together. Types with a common base or set would multiply.
const MAX_MODEL: usize = 256 << 20;
const MAX_FAULTS: usize = 1_000;
/// What the function of an inquiry with parameters has behind the name of its set.
const FUNCTION: &str = "_WithParameters";
const CORE: &str = "Org.OData.Core.V1";
const CAPABILITIES: &str = "Org.OData.Capabilities.V1";

/// Reads the document; sets are kept if one of their names, full or short, is `wanted`.
///
/// Names may hold what CSDL and even XML forbid (acumatica-api.md section 3): what cannot be
/// unescaped is taken as it stands. Entities that a document defines are not expanded.
///
/// # Errors
/// Not OData's XML in UTF-8, beyond the limits above, or not to be read to its end.
pub(crate) async fn parse(
    document: impl AsyncBufRead + Unpin,
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Model> {
    let mut reader = Reader::from_reader(Metered { inner: document, event: 0, total: 0 });
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_dangling_amp = true;
    let mut buffer = Vec::new();
    let mut document = Document::default();
    loop {
        buffer.clear();
        reader.get_mut().event = 0;
        let event = reader.read_event_into_async(&mut buffer).await.map_err(unread)?;
        if matches!(event, Event::Eof) {
            break;
        }
        document.read(&event)?;
    }
    match document.open.len() {
        _ if !document.begun => Err(malformed("It is not XML.")),
        0 => Assembly::new(document).model(wanted),
        _ => Err(malformed("It ends early.")),
    }
}

/// The set of this name: exactly, else without regard to case.
pub(crate) fn find<'a>(model: &'a Model, name: &str) -> Option<&'a EntitySet> {
    let named = |fits: &dyn Fn(&str) -> bool| {
        model.sets.iter().find(|set| fits(&set.name) || set.aliases.iter().any(|alias| fits(alias)))
    };
    let folded = name.to_lowercase();
    named(&|known| known == name).or_else(|| named(&|known| known.to_lowercase() == folded))
}

/// A document that could not be read to its end: the connection says why, if it was that.
fn unread(reason: quick_xml::Error) -> Error {
    let cause = match &reason {
        quick_xml::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned(),
        _ => None,
    };
    cause.unwrap_or_else(|| malformed(reason))
}

fn malformed(reason: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, "could not read the $metadata of the instance")
        .detail(cut(&reason.to_string(), 300))
        .hint("Give the option \"key\" to the columns that identify a row; then it is not needed.")
}

/// At most the first `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A name for a message.
fn shown(name: &str) -> &str {
    cut(name, 100)
}

/// Without its namespace.
fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, short)| short)
}

/// Keeps the parser from gathering what no document has.
struct Metered<R> {
    inner: R,
    /// Bytes since the last event.
    event: usize,
    total: usize,
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Metered<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let (event, total) = (MAX_EVENT - this.event, MAX_DOCUMENT - this.total);
        if total == 0 {
            return Poll::Ready(Err(io::Error::other(malformed("It is larger than 256 MiB."))));
        }
        if event == 0 {
            let reason = "It has a tag, text or comment that is longer than 1 MiB.";
            return Poll::Ready(Err(io::Error::other(malformed(reason))));
        }
        let bytes = ready!(Pin::new(&mut this.inner).poll_fill_buf(context))?;
        Poll::Ready(Ok(&bytes[..bytes.len().min(event).min(total)]))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.event += bytes;
        this.total += bytes;
        Pin::new(&mut this.inner).consume(bytes);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Metered<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(context))?;
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..count]);
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

/// What is collected of a document.
#[derive(Default)]
struct Document {
    /// There was an element.
    begun: bool,
    /// The elements that are open.
    open: Vec<Element>,
    /// Of the element that is [`Element::Text`].
    text: String,
    namespace: String,
    /// Namespaces by what the document calls them.
    aliases: HashMap<Box<str>, Box<str>>,
    types: Vec<Type>,
    sets: Vec<Set>,
    functions: Vec<Function>,
    associations: Vec<Association>,
    /// The targets of `Annotations`.
    targets: Vec<Box<str>>,
    notes: Vec<(Place, Note)>,
    parts: usize,
    faults: Vec<String>,
}

/// An open element, and what it belongs to.
#[derive(Clone, Copy)]
enum Element {
    Other,
    EntityType(usize),
    Key(usize),
    Property(Place),
    Navigation(usize, usize),
    Association(usize),
    /// The principal (false) or the dependent (true).
    Role(usize, bool),
    Set(usize),
    Function(usize),
    Parameter(Place),
    Annotations(Place),
    Annotation(Term, Place),
    /// `NonFilterableProperties`.
    Restricted(Place),
    Text(Term, Place),
}

/// The annotations that matter.
#[derive(Clone, Copy)]
enum Term {
    Description,
    Restrictions,
    Optional,
}

/// What an annotation is about, by the places in the lists of the document.
#[derive(Clone, Copy)]
enum Place {
    Type(usize),
    Property(usize, usize),
    Set(usize),
    Parameter(usize, usize),
    Target(usize),
}

enum Note {
    Title(Box<str>),
    NotFilterable(Box<str>),
    Optional,
}

#[derive(Clone, Copy)]
enum Kind {
    Entity,
    Complex,
    Enum,
    /// Another name of a type.
    Alias(FieldType),
}

struct Type {
    /// With its namespace.
    name: Box<str>,
    kind: Kind,
    base: Option<Box<str>>,
    title: Option<Box<str>>,
    key: Vec<Box<str>>,
    properties: Vec<Column>,
    navigations: Vec<Navigation>,
}

struct Column {
    name: Box<str>,
    ty: Ty,
    nullable: bool,
    title: Option<Box<str>>,
}

/// The type of a value.
enum Ty {
    Known(FieldType),
    /// One that is declared in the document, or that we do not know.
    Named(Box<str>),
}

struct Navigation {
    name: Box<str>,
    to: Destination,
    /// Pairs of a property here and one there.
    columns: Vec<(Box<str>, Box<str>)>,
}

enum Destination {
    Type {
        name: Box<str>,
        many: bool,
    },
    /// v3.
    Role {
        association: Box<str>,
        role: Box<str>,
    },
}

/// v3.
struct Association {
    name: Box<str>,
    ends: Vec<End>,
    principal: Role,
    dependent: Role,
}

struct End {
    role: Box<str>,
    type_name: Box<str>,
    many: bool,
}

#[derive(Default)]
struct Role {
    name: Box<str>,
    properties: Vec<Box<str>>,
}

struct Set {
    name: Box<str>,
    type_name: Box<str>,
    title: Option<Box<str>>,
}

/// A function or the import of one.
struct Function {
    namespace: Box<str>,
    /// Of the inquiry.
    name: Box<str>,
    parameters: Vec<Argument>,
    returns: Option<Box<str>>,
    /// The function that an import of v4 stands for.
    imports: Option<Box<str>>,
}

struct Argument {
    name: Box<str>,
    ty: Ty,
    required: bool,
}

impl Document {
    fn read(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Decl(declaration) => match declaration.encoding() {
                Some(Ok(name)) if !["UTF-8", "US-ASCII"].iter().any(|ok| ok.eq_ignore_ascii_case(&name)) => {
                    let name = shown(&name);
                    return Err(malformed(format!("It is encoded in {name}; only UTF-8 is supported.")));
                }
                _ => {}
            },
            Event::Start(tag) => {
                let element = self.enter(tag)?;
                if self.open.len() == MAX_DEPTH {
                    return Err(malformed("Its elements are nested too deeply."));
                }
                self.open.push(element);
            }
            Event::Empty(tag) => {
                let element = self.enter(tag)?;
                self.leave(element)?;
            }
            Event::End(_) => {
                if let Some(element) = self.open.pop() {
                    self.leave(element)?;
                }
            }
            Event::Text(text) => self.gather(&text.xml10_content()),
            Event::CData(text) => self.gather(&text.xml10_content()),
            Event::GeneralRef(reference) => self.gather_reference(reference),
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, tag: &BytesStart<'_>) -> Result<Element> {
        let name = tag.local_name();
        let name: &str = name.as_ref();
        // The parser keeps the names of what is open.
        if tag.name().as_ref().len() > MAX_NAME {
            return Err(malformed("It has an element with a name of more than 1,000 bytes."));
        }
        if !std::mem::replace(&mut self.begun, true) && !matches!(name, "Edmx" | "Schema") {
            return Err(malformed(format!("It is not OData's XML, but begins with <{}>.", shown(name))));
        }
        let parent = self.open.last().copied().unwrap_or(Element::Other);
        let element = match (name, parent) {
            ("Schema", _) => self.schema(tag),
            ("EntityType", _) => self.entity_type(tag)?.map(Element::EntityType),
            ("ComplexType", _) => self.declare(tag, Kind::Complex)?.map(|_| Element::Other),
            ("EnumType", _) => self.declare(tag, Kind::Enum)?.map(|_| Element::Other),
            ("TypeDefinition", _) => self.type_definition(tag)?,
            ("Key", Element::EntityType(of)) => Some(Element::Key(of)),
            ("PropertyRef", Element::Key(of)) => self.key_field(tag, of)?,
            ("Property", Element::EntityType(of)) => self.property(tag, of)?,
            ("NavigationProperty", Element::EntityType(of)) => self.navigation(tag, of)?,
            ("ReferentialConstraint", Element::Navigation(of, at)) => self.constraint(tag, of, at)?,
            ("Association", _) => self.association(tag)?,
            ("End", Element::Association(of)) => self.end(tag, of)?,
            ("ReferentialConstraint", Element::Association(_)) => Some(parent),
            ("Principal", Element::Association(of)) => self.role(tag, of, false),
            ("Dependent", Element::Association(of)) => self.role(tag, of, true),
            ("PropertyRef", Element::Role(of, dependent)) => self.role_field(tag, of, dependent)?,
            ("EntitySet", _) => self.set(tag)?,
            ("Function" | "FunctionImport", _) => self.function(tag)?,
            ("Parameter", Element::Function(of)) => self.parameter(tag, of)?,
            ("ReturnType", Element::Function(of)) => {
                self.functions[of].returns = self.name(tag, "Type");
                None
            }
            ("Annotations", _) => self.annotations(tag)?,
            ("Annotation", _) => self.annotation(tag, parent)?,
            ("Record", Element::Annotation(..)) => Some(parent),
            ("PropertyValue", Element::Annotation(Term::Restrictions, of)) => self.restriction(tag, of)?,
            ("Collection", Element::Restricted(_)) => Some(parent),
            ("PropertyPath", Element::Restricted(of)) => Some(Element::Text(Term::Restrictions, of)),
            ("String", Element::Annotation(Term::Description, of)) => {
                Some(Element::Text(Term::Description, of))
            }
            _ => None,
        };
        Ok(element.unwrap_or(Element::Other))
    }

    fn leave(&mut self, element: Element) -> Result<()> {
        let Element::Text(term, of) = element else { return Ok(()) };
        let text = std::mem::take(&mut self.text);
        match term {
            Term::Description => self.describe(of, &text),
            Term::Restrictions => self.restrict(of, text.trim()),
            Term::Optional => Ok(()),
        }
    }

    fn schema(&mut self, tag: &BytesStart<'_>) -> Option<Element> {
        let namespace = self.name(tag, "Namespace").unwrap_or_default();
        self.namespace = namespace.to_string();
        if let Some(alias) = self.name(tag, "Alias") {
            self.aliases.insert(alias, namespace);
        }
        None
    }

    fn entity_type(&mut self, tag: &BytesStart<'_>) -> Result<Option<usize>> {
        let Some(at) = self.declare(tag, Kind::Entity)? else { return Ok(None) };
        self.types[at].base = self.name(tag, "BaseType");
        Ok(Some(at))
    }

    fn type_definition(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>> {
        let known = self.attribute(tag, "UnderlyingType").and_then(|name| edm(&name));
        Ok(self.declare(tag, Kind::Alias(known.unwrap_or(FieldType::Text)))?.map(|_| Element::Other))
    }

    fn declare(&mut self, tag: &BytesStart<'_>, kind: Kind) -> Result<Option<usize>> {
        let Some(name) = self.name(tag, "Name") else { return Ok(None) };
        self.types.push(Type {
            name: self.qualified(&name),
            kind,
            base: None,
            title: None,
            key: Vec::new(),
            properties: Vec::new(),
            navigations: Vec::new(),
        });
        self.count_holder()?;
        Ok(Some(self.types.len() - 1))
    }

    fn key_field(&mut self, tag: &BytesStart<'_>, of: usize) -> Result<Option<Element>> {
        if let Some(name) = self.name(tag, "Name") {
            self.types[of].key.push(name);
            self.count_part()?;
        }
        Ok(None)
    }

    fn property(&mut self, tag: &BytesStart<'_>, of: usize) -> Result<Option<Element>> {
        let Some(name) = self.name(tag, "Name") else { return Ok(None) };
        let ty = self.ty(tag);
        let nullable = self.attribute(tag, "Nullable").is_none_or(|value| value.trim() != "false");
        let properties = &mut self.types[of].properties;
        properties.push(Column { name, ty, nullable, title: None });
        let place = Place::Property(of, properties.len() - 1);
        self.count_part()?;
        Ok(Some(Element::Property(place)))
    }

    fn navigation(&mut self, tag: &BytesStart<'_>, of: usize) -> Result<Option<Element>> {
        let Some(name) = self.name(tag, "Name") else { return Ok(None) };
        let to = if let Some(target) = self.name(tag, "Type") {
            let (name, many) = match items(&target) {
                Some(items) => (items.into(), true),
                None => (target, false),
            };
            Destination::Type { name, many }
        } else {
            let (association, role) = (self.name(tag, "Relationship"), self.name(tag, "ToRole"));
            let (Some(association), Some(role)) = (association, role) else { return Ok(None) };
            Destination::Role { association, role }
        };
        let navigations = &mut self.types[of].navigations;
        navigations.push(Navigation { name, to, columns: Vec::new() });
        let at = navigations.len() - 1;
        self.count_part()?;
        Ok(Some(Element::Navigation(of, at)))
    }

    fn constraint(&mut self, tag: &BytesStart<'_>, of: usize, at: usize) -> Result<Option<Element>> {
        let pair = (self.name(tag, "Property"), self.name(tag, "ReferencedProperty"));
        if let (Some(here), Some(there)) = pair {
            self.types[of].navigations[at].columns.push((here, there));
            self.count_part()?;
        }
        Ok(None)
    }

    fn association(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>> {
        let Some(name) = self.name(tag, "Name") else { return Ok(None) };
        self.associations.push(Association {
            name: self.qualified(&name),
            ends: Vec::new(),
            principal: Role::default(),
            dependent: Role::default(),
        });
        self.count_holder()?;
        Ok(Some(Element::Association(self.associations.len() - 1)))
    }

    fn end(&mut self, tag: &BytesStart<'_>, of: usize) -> Result<Option<Element>> {
        if let (Some(role), Some(type_name)) = (self.name(tag, "Role"), self.name(tag, "Type")) {
            let many = self.attribute(tag, "Multiplicity").is_some_and(|value| value.trim() == "*");
            self.associations[of].ends.push(End { role, type_name, many });
            self.count_part()?;
        }
        Ok(None)
    }

    fn role(&mut self, tag: &BytesStart<'_>, of: usize, dependent: bool) -> Option<Element> {
        let name = self.name(tag, "Role")?;
        self.associations[of].role(dependent).name = name;
        Some(Element::Role(of, dependent))
    }

    fn role_field(&mut self, tag: &BytesStart<'_>, of: usize, dependent: bool) -> Result<Option<Element>> {
        if let Some(name) = self.name(tag, "Name") {
            self.associations[of].role(dependent).properties.push(name);
            self.count_part()?;
        }
        Ok(None)
    }

    fn set(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>> {
        let named = (self.name(tag, "Name"), self.name(tag, "EntityType"));
        let (Some(name), Some(type_name)) = named else { return Ok(None) };
        self.sets.push(Set { name, type_name, title: None });
        self.count_holder()?;
        Ok(Some(Element::Set(self.sets.len() - 1)))
    }

    fn function(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>> {
        let Some(name) = self.name(tag, "Name") else { return Ok(None) };
        let Some(inquiry) = inquiry(&name) else { return Ok(None) };
        let function = Function {
            namespace: self.namespace.as_str().into(),
            name: inquiry.into(),
            parameters: Vec::new(),
            returns: self.name(tag, "ReturnType"),
            imports: self.name(tag, "Function"),
        };
        self.functions.push(function);
        self.count_holder()?;
        Ok(Some(Element::Function(self.functions.len() - 1)))
    }

    fn parameter(&mut self, tag: &BytesStart<'_>, of: usize) -> Result<Option<Element>> {
        let named = self.name(tag, "Name").filter(|name| !name.eq_ignore_ascii_case("bindingParameter"));
        let Some(name) = named else { return Ok(None) };
        let ty = self.ty(tag);
        let parameters = &mut self.functions[of].parameters;
        parameters.push(Argument { name, ty, required: true });
        let place = Place::Parameter(of, parameters.len() - 1);
        self.count_part()?;
        Ok(Some(Element::Parameter(place)))
    }

    fn annotations(&mut self, tag: &BytesStart<'_>) -> Result<Option<Element>> {
        let Some(target) = self.name(tag, "Target") else { return Ok(None) };
        self.targets.push(target);
        self.count_part()?;
        Ok(Some(Element::Annotations(Place::Target(self.targets.len() - 1))))
    }

    fn annotation(&mut self, tag: &BytesStart<'_>, parent: Element) -> Result<Option<Element>> {
        let of = match parent {
            Element::EntityType(of) => Place::Type(of),
            Element::Set(of) => Place::Set(of),
            Element::Property(of) | Element::Parameter(of) | Element::Annotations(of) => of,
            _ => return Ok(None),
        };
        let Some(term) = self.attribute(tag, "Term") else { return Ok(None) };
        let Some((namespace, term)) = term.rsplit_once('.') else { return Ok(None) };
        // A document can call a vocabulary as it likes, but not with a dot in it.
        let is = |vocabulary| namespace == vocabulary || !namespace.contains('.');
        let term = match term {
            "Description" if is(CORE) => Term::Description,
            "OptionalParameter" if is(CORE) => Term::Optional,
            "FilterRestrictions" if is(CAPABILITIES) => Term::Restrictions,
            _ => return Ok(None),
        };
        match term {
            Term::Description => {
                if let Some(text) = self.attribute(tag, "String") {
                    self.describe(of, &text)?;
                }
            }
            Term::Optional => self.note(of, Note::Optional)?,
            Term::Restrictions => {}
        }
        Ok(Some(Element::Annotation(term, of)))
    }

    fn restriction(&mut self, tag: &BytesStart<'_>, of: Place) -> Result<Option<Element>> {
        if self.attribute(tag, "Property").as_deref() != Some("NonFilterableProperties") {
            return Ok(None);
        }
        if let Some(path) = self.attribute(tag, "PropertyPath") {
            self.restrict(of, &path)?;
        }
        Ok(Some(Element::Restricted(of)))
    }

    fn describe(&mut self, of: Place, text: &str) -> Result<()> {
        match cut(text.trim(), MAX_NAME) {
            "" => Ok(()),
            text => self.note(of, Note::Title(text.into())),
        }
    }

    fn restrict(&mut self, of: Place, path: &str) -> Result<()> {
        match path.len() {
            1..=MAX_NAME => self.note(of, Note::NotFilterable(path.into())),
            _ => Ok(()),
        }
    }

    /// Puts an annotation where it belongs, as far as that is known yet.
    fn note(&mut self, of: Place, note: Note) -> Result<()> {
        match (of, note) {
            (Place::Type(of), Note::Title(text)) => self.types[of].title = Some(text),
            (Place::Property(of, at), Note::Title(text)) => {
                self.types[of].properties[at].title = Some(text);
            }
            (Place::Set(of), Note::Title(text)) => self.sets[of].title = Some(text),
            (Place::Parameter(of, at), Note::Optional) => {
                self.functions[of].parameters[at].required = false;
            }
            (of, note) => {
                self.notes.push((of, note));
                self.count_part()?;
            }
        }
        Ok(())
    }

    fn gather(&mut self, text: &str) {
        if matches!(self.open.last(), Some(Element::Text(..))) {
            let room = (MAX_NAME + 1).saturating_sub(self.text.len());
            self.text.push_str(cut(text, room));
        }
    }

    fn gather_reference(&mut self, reference: &BytesRef<'_>) {
        let name = reference.xml10_content();
        match (resolve_predefined_entity(&name), reference.resolve_char_ref()) {
            (Some(text), _) => self.gather(text),
            (None, Ok(Some(character))) => self.gather(character.encode_utf8(&mut [0; 4])),
            _ => self.undefined(&name),
        }
    }

    fn undefined(&mut self, entity: &str) {
        self.fault(format!("the entity \"&{};\" is not expanded", shown(entity)));
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(text);
        }
    }

    fn attribute(&mut self, tag: &BytesStart<'_>, name: &str) -> Option<String> {
        let mut attributes = tag.attributes();
        attributes.with_checks(false);
        let found = attributes.flatten().find(|attribute| {
            let key: &str = attribute.key.as_ref();
            key == name
        })?;
        match found.normalized_value(XmlVersion::Implicit1_0) {
            Ok(text) => Some(text.into_owned()),
            Err(reason) => {
                if let quick_xml::Error::Escape(EscapeError::UnrecognizedEntity(_, entity)) = &reason {
                    self.undefined(entity);
                }
                Some(found.value.into_owned())
            }
        }
    }

    /// An attribute that is a name.
    fn name(&mut self, tag: &BytesStart<'_>, attribute: &str) -> Option<Box<str>> {
        let name = self.attribute(tag, attribute).filter(|name| !name.is_empty())?;
        if name.len() > MAX_NAME {
            let (name, element) = (shown(&name), tag.local_name());
            let element: &str = element.as_ref();
            self.fault(format!(
                "{element} \"{name}…\" is left out: its {attribute} is longer than 1,000 bytes"
            ));
            return None;
        }
        Some(name.into())
    }

    fn ty(&mut self, tag: &BytesStart<'_>) -> Ty {
        let name = self.name(tag, "Type").unwrap_or_default();
        match edm(&name) {
            Some(ty) => Ty::Known(ty),
            None => Ty::Named(name),
        }
    }

    fn qualified(&self, name: &str) -> Box<str> {
        format!("{}.{name}", self.namespace).into()
    }

    fn count_holder(&self) -> Result<()> {
        let holders = self.types.len() + self.sets.len() + self.functions.len() + self.associations.len();
        if holders > MAX_HOLDERS {
            return Err(malformed("It has more than 200,000 types and sets."));
        }
        Ok(())
    }

    fn count_part(&mut self) -> Result<()> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(malformed("It has more than 2,000,000 properties."));
        }
        Ok(())
    }
}

impl Association {
    fn role(&mut self, dependent: bool) -> &mut Role {
        if dependent { &mut self.dependent } else { &mut self.principal }
    }
}

/// The inquiry that a function reads with parameters.
fn inquiry(function: &str) -> Option<&str> {
    let (inquiry, suffix) = function.split_at_checked(function.len().checked_sub(FUNCTION.len())?)?;
    (!inquiry.is_empty() && suffix.eq_ignore_ascii_case(FUNCTION)).then_some(inquiry)
}

/// The type of the items of a collection.
fn items(name: &str) -> Option<&str> {
    name.strip_prefix("Collection(")?.strip_suffix(')')
}

/// A type of OData's own; without `Edm.` as v3 may have it.
fn edm(name: &str) -> Option<FieldType> {
    if items(name).is_some() {
        return Some(FieldType::Json);
    }
    Some(match name.strip_prefix("Edm.").unwrap_or(name) {
        "String" => FieldType::Text,
        "Boolean" => FieldType::Bool,
        "Byte" | "SByte" | "Int16" => FieldType::Int2,
        "Int32" => FieldType::Int4,
        "Int64" => FieldType::Int8,
        "Single" => FieldType::Float4,
        "Double" => FieldType::Float8,
        "Decimal" => FieldType::Numeric,
        "Date" => FieldType::Date,
        "DateTime" | "DateTimeOffset" => FieldType::TimestampTz,
        "Time" | "TimeOfDay" | "Duration" | "Binary" | "Stream" => FieldType::Text,
        "Guid" => FieldType::Uuid,
        "Untyped" | "ComplexType" => FieldType::Json,
        shape if shape.starts_with("Geography") || shape.starts_with("Geometry") => FieldType::Json,
        _ => return None,
    })
}

/// A set that is to be, with all its names.
struct Group<'a> {
    name: &'a str,
    aliases: Vec<&'a str>,
    ty: Option<usize>,
    title: Option<&'a str>,
    parameters: Vec<(&'a Argument, bool)>,
}

/// A document that is read to its end.
struct Assembly {
    document: Document,
    /// Types by their name with the namespace, and by the name alone.
    types: HashMap<Box<str>, usize>,
    short_types: HashMap<Box<str>, usize>,
    /// What annotations elsewhere say of properties, by type.
    titles: HashMap<(usize, Box<str>), Box<str>>,
    not_filterable: HashMap<usize, HashSet<Box<str>>>,
}

impl Assembly {
    fn new(mut document: Document) -> Self {
        let mut types = HashMap::new();
        let mut short_types = HashMap::new();
        for (at, ty) in document.types.iter().enumerate() {
            types.insert(ty.name.clone(), at);
            short_types.entry(short(&ty.name).into()).or_insert(at);
        }
        let notes = std::mem::take(&mut document.notes);
        let mut assembly =
            Self { document, types, short_types, titles: HashMap::new(), not_filterable: HashMap::new() };
        assembly.apply(notes);
        assembly
    }

    /// Puts the annotations where they belong that did not stand there.
    fn apply(&mut self, notes: Vec<(Place, Note)>) {
        let sets: HashMap<Box<str>, usize> =
            self.document.sets.iter().enumerate().map(|(at, set)| (set.name.clone(), at)).collect();
        let mut optional = HashSet::new();
        for (place, note) in notes {
            match place {
                Place::Type(of) => self.restrict(Some(of), note),
                Place::Set(of) => self.restrict(self.type_of_set(of), note),
                Place::Target(at) => {
                    let target = self.document.targets[at].clone();
                    match target.split_once('/') {
                        Some((holder, part)) => self.apply_to_part(holder, part, note, &sets, &mut optional),
                        None => self.apply_to_type(&target, note),
                    }
                }
                // What is left of these says nothing.
                Place::Property(..) | Place::Parameter(..) => {}
            }
        }
        self.relax(&optional);
    }

    fn apply_to_type(&mut self, name: &str, note: Note) {
        let ty = self.find_type(name);
        match (ty, note) {
            (Some(ty), Note::Title(text)) => _ = self.document.types[ty].title.get_or_insert(text),
            (ty, note) => self.restrict(ty, note),
        }
    }

    /// `holder` is a type, a function with its types, or what holds the sets.
    fn apply_to_part(
        &mut self,
        holder: &str,
        part: &str,
        note: Note,
        sets: &HashMap<Box<str>, usize>,
        optional: &mut HashSet<(Box<str>, Box<str>)>,
    ) {
        let set = sets.get(part).copied().filter(|_| self.declared(holder).is_none());
        match (note, set) {
            (Note::Optional, _) => {
                let function = holder.split('(').next().and_then(inquiry);
                optional.extend(function.map(|inquiry| (inquiry.into(), part.into())));
            }
            (Note::Title(text), Some(set)) => _ = self.document.sets[set].title.get_or_insert(text),
            (Note::Title(text), None) => {
                if let Some(ty) = self.find_type(holder) {
                    self.titles.entry((ty, part.into())).or_insert(text);
                }
            }
            (note, Some(set)) => self.restrict(self.type_of_set(set), note),
            (Note::NotFilterable(_), None) => {}
        }
    }

    fn type_of_set(&self, set: usize) -> Option<usize> {
        self.find_type(&self.document.sets[set].type_name)
    }

    fn restrict(&mut self, ty: Option<usize>, note: Note) {
        if let (Some(ty), Note::NotFilterable(name)) = (ty, note) {
            self.not_filterable.entry(ty).or_default().insert(name);
        }
    }

    /// Makes the parameters optional that a function is annotated to have.
    fn relax(&mut self, optional: &HashSet<(Box<str>, Box<str>)>) {
        if optional.is_empty() {
            return;
        }
        for function in &mut self.document.functions {
            let qualified: Box<str> = format!("{}.{}", function.namespace, function.name).into();
            for parameter in &mut function.parameters {
                parameter.required &= !optional.contains(&(qualified.clone(), parameter.name.clone()));
            }
        }
    }

    /// A type by its name with a namespace or an alias of one.
    fn declared(&self, name: &str) -> Option<usize> {
        let aliased = || {
            let (alias, name) = name.rsplit_once('.')?;
            self.types.get(&*format!("{}.{name}", self.document.aliases.get(alias)?))
        };
        self.types.get(name).or_else(aliased).copied()
    }

    /// As [`Assembly::declared`], else by its name alone: there are documents with one namespace and another
    /// name of it.
    fn find_type(&self, name: &str) -> Option<usize> {
        let name = items(name).unwrap_or(name);
        self.declared(name).or_else(|| self.short_types.get(short(name)).copied())
    }

    fn model(mut self, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Model> {
        let mut faults = std::mem::take(&mut self.document.faults);
        let mut groups = self.groups();
        self.add_parameters(&mut groups, wanted, &mut faults);
        add_short_names(&mut groups);
        let mut names: HashMap<usize, &str> = HashMap::new();
        for group in &groups {
            names.entry(group.ty.unwrap_or(usize::MAX)).or_insert(group.name);
        }
        let mut builder = Builder {
            of: &self,
            associations: self.document.associations.iter().map(|it| (&*it.name, it)).collect(),
            names,
            unknown: HashSet::new(),
            faults,
            budget: MAX_MODEL,
        };
        let is_wanted =
            |group: &&Group| wanted(group.name) || group.aliases.iter().any(|alias| wanted(alias));
        let sets = groups.iter().filter(is_wanted).map(|group| builder.set(group)).collect::<Result<_>>()?;
        Ok(Model { sets, faults: builder.faults })
    }

    /// The sets, those with a long and a short name for the same type joined.
    ///
    /// Two inquiries can have one type, too, since spaces and hyphens are missing in its name: that two sets
    /// have one is not enough.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut sets: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
        for (at, set) in self.document.sets.iter().enumerate() {
            sets.entry(&set.name).or_insert_with(|| (at, self.find_type(&set.type_name)));
        }
        let mut order: Vec<(usize, Option<usize>)> = sets.values().copied().collect();
        // The longest name of a type comes first, and takes in the others.
        order.sort_by_key(|&(at, _)| (std::cmp::Reverse(self.document.sets[at].name.len()), at));
        let mut taken = vec![false; self.document.sets.len()];
        let mut groups = Vec::new();
        for (at, ty) in order {
            let set = &self.document.sets[at];
            if std::mem::replace(&mut taken[at], true) {
                continue;
            }
            let title = set.title.as_deref();
            let mut group = Group { name: &set.name, aliases: Vec::new(), ty, title, parameters: Vec::new() };
            let mut first = at;
            for tail in tails_of(&set.name).filter(|_| ty.is_some()) {
                let Some((other, _)) = sets.get(tail).filter(|&&(_, of)| of == ty) else { continue };
                if !std::mem::replace(&mut taken[*other], true) {
                    let other_set = &self.document.sets[*other];
                    group.aliases.push(&other_set.name);
                    group.title = group.title.or(other_set.title.as_deref());
                    first = first.min(*other);
                }
            }
            groups.push((first, group));
        }
        groups.sort_by_key(|&(first, _)| first);
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Gives the parameters of functions to the sets that they belong to.
    fn add_parameters<'a>(
        &'a self,
        groups: &mut Vec<Group<'a>>,
        wanted: &(dyn Fn(&str) -> bool + Sync),
        faults: &mut Vec<String>,
    ) {
        let functions = &self.document.functions;
        let mut by_name: HashMap<&str, Vec<&Function>> = HashMap::new();
        for function in functions.iter().filter(|function| function.imports.is_none()) {
            by_name.entry(&function.name).or_default().push(function);
        }
        // An import has the name that is called; its function can have another one.
        let mut called: Vec<(&str, Vec<&Function>)> = Vec::new();
        for function in functions {
            let imported = function.imports.as_deref().and_then(|name| {
                let name = inquiry(name)?;
                let unqualified =
                    name.strip_prefix(&*function.namespace).and_then(|name| name.strip_prefix('.'));
                by_name.remove(unqualified.unwrap_or(name)).or_else(|| by_name.remove(short(name)))
            });
            called.extend(imported.map(|overloads| (&*function.name, overloads)));
        }
        for function in functions {
            called.extend(by_name.remove(&*function.name).map(|overloads| (&*function.name, overloads)));
        }

        let mut places = Places::new(groups);
        for (name, overloads) in called {
            if overloads.iter().all(|function| function.parameters.is_empty()) {
                continue;
            }
            let returned = overloads.iter().find_map(|function| self.find_type(function.returns.as_deref()?));
            let place = places.of(name).or_else(|| {
                let ty = returned.filter(|ty| !places.types.contains(ty))?;
                groups.push(Group {
                    name,
                    aliases: Vec::new(),
                    ty: Some(ty),
                    title: None,
                    parameters: Vec::new(),
                });
                places.add(groups.len() - 1, groups.last()?);
                Some(groups.len() - 1)
            });
            match place {
                Some(place) => groups[place].parameters = parameters(&overloads),
                None if !wanted(name) => {}
                None => fault(faults, || {
                    format!("the function \"{}{FUNCTION}\" is left out: it belongs to no set", shown(name))
                }),
            }
        }
    }
}

/// Groups by name, and the types that have one.
struct Places<'a> {
    exact: HashMap<&'a str, usize>,
    folded: HashMap<String, usize>,
    types: HashSet<usize>,
}

impl<'a> Places<'a> {
    fn new(groups: &[Group<'a>]) -> Self {
        let mut places = Self { exact: HashMap::new(), folded: HashMap::new(), types: HashSet::new() };
        for (at, group) in groups.iter().enumerate() {
            places.add(at, group);
        }
        places
    }

    fn add(&mut self, at: usize, group: &Group<'a>) {
        self.types.extend(group.ty);
        for &name in group.aliases.iter().chain([&group.name]) {
            self.exact.entry(name).or_insert(at);
            self.folded.entry(name.to_lowercase()).or_insert(at);
        }
    }

    fn of(&self, name: &str) -> Option<usize> {
        self.exact.get(name).or_else(|| self.folded.get(&name.to_lowercase())).copied()
    }
}

fn fault(faults: &mut Vec<String>, text: impl FnOnce() -> String) {
    if faults.len() < MAX_FAULTS {
        faults.push(text());
    }
}

/// What is behind the last few `_` and `.` of a name, the longest at the end.
fn tails_of(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices(['_', '.']).take(8).map(|(at, _)| &name[at + 1..])
}

/// The parameters of functions that differ in nothing else; required is what all of them have.
fn parameters<'a>(overloads: &[&'a Function]) -> Vec<(&'a Argument, bool)> {
    let mut parameters: Vec<(&Argument, bool)> = Vec::new();
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    for function in overloads {
        for parameter in &function.parameters {
            let (place, count) = places.entry(&parameter.name).or_insert((parameters.len(), 0));
            *count += 1;
            match parameters.get_mut(*place) {
                Some((_, required)) => *required &= parameter.required,
                None => parameters.push((parameter, parameter.required)),
            }
        }
    }
    for (place, count) in places.into_values() {
        parameters[place].1 &= count >= overloads.len();
    }
    parameters
}

/// Adds what is behind the last `_` or `.` of a name, unless that says more than one set.
fn add_short_names(groups: &mut [Group<'_>]) {
    let mut uses: HashMap<String, usize> = HashMap::new();
    let short = |name| tails_of(name).next().filter(|tail| tail.starts_with(char::is_alphabetic));
    for group in &*groups {
        let own: HashSet<String> = [group.name]
            .iter()
            .chain(&group.aliases)
            .copied()
            .chain(short(group.name))
            .map(str::to_lowercase)
            .collect();
        for name in own {
            *uses.entry(name).or_default() += 1;
        }
    }
    for group in groups {
        let is_new = |tail: &&str| *tail != group.name && !group.aliases.contains(tail);
        if let Some(tail) = short(group.name).filter(is_new)
            && uses.get(&tail.to_lowercase()) == Some(&1)
        {
            group.aliases.push(tail);
        }
    }
}

/// Makes sets of groups.
struct Builder<'a> {
    of: &'a Assembly,
    associations: HashMap<&'a str, &'a Association>,
    /// The first set of each type.
    names: HashMap<usize, &'a str>,
    /// Types that are told of.
    unknown: HashSet<&'a str>,
    faults: Vec<String>,
    /// What the model may yet take up.
    budget: usize,
}

impl<'a> Builder<'a> {
    fn set(&mut self, group: &Group<'a>) -> Result<EntitySet> {
        let owned = |name: &str| name.to_owned();
        let mut set = EntitySet {
            name: owned(group.name),
            aliases: group.aliases.iter().copied().map(owned).collect(),
            title: group.title.map(owned),
            ..EntitySet::default()
        };
        for &(parameter, required) in &group.parameters {
            self.spend(parameter.name.len())?;
            let ty = self.field_type(&parameter.ty, &parameter.name, group.name);
            set.parameters.push(Parameter { name: owned(&parameter.name), ty, required });
        }
        if group.ty.is_none() {
            let name = shown(group.name);
            fault(&mut self.faults, || {
                format!("the set \"{name}\" has no columns: its type is not declared")
            });
        }
        let lineage = group.ty.map(|ty| self.lineage(ty)).unwrap_or_default();
        let types = || lineage.iter().map(|&at| &self.of.document.types[at]);
        set.title = set.title.or_else(|| types().next()?.title.as_deref().map(owned));
        set.key = types()
            .find(|ty| !ty.key.is_empty())
            .map(|ty| &*ty.key)
            .unwrap_or_default()
            .iter()
            .map(|name| owned(name))
            .collect();
        self.spend(set.key.iter().map(|name| name.len() + 24).sum())?;
        let mut known = HashSet::new();
        for &at in lineage.iter().rev() {
            let ty = &self.of.document.types[at];
            for column in &ty.properties {
                self.spend(column.name.len())?;
                if known.insert(&*column.name) {
                    let property = self.property(column, at, &lineage, group.name)?;
                    set.properties.push(property);
                }
            }
            for navigation in &ty.navigations {
                self.spend(navigation.name.len())?;
                if let Some(relation) = self.relation(navigation)? {
                    set.relations.push(relation);
                }
            }
        }
        Ok(set)
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let rest = self.budget.checked_sub(bytes + 100);
        self.budget = rest.ok_or_else(|| malformed("Its types repeat each other too often."))?;
        Ok(())
    }

    /// A type and what it derives from.
    fn lineage(&self, ty: usize) -> Vec<usize> {
        let mut lineage = vec![ty];
        let mut base = self.of.document.types[ty].base.as_deref();
        while let Some(next) = base.and_then(|name| self.of.find_type(name)) {
            if lineage.contains(&next) || lineage.len() == MAX_BASES {
                break;
            }
            lineage.push(next);
            base = self.of.document.types[next].base.as_deref();
        }
        lineage
    }

    fn property(&mut self, column: &'a Column, of: usize, lineage: &[usize], set: &str) -> Result<Property> {
        let elsewhere = || self.of.titles.get(&(of, column.name.clone()));
        let title = column.title.as_ref().or_else(elsewhere).map(|title| title.to_string());
        let is_restricted =
            |ty: &usize| self.of.not_filterable.get(ty).is_some_and(|names| names.contains(&column.name));
        let filterable = !lineage.iter().any(is_restricted);
        self.spend(title.as_ref().map_or(0, String::len))?;
        let ty = self.field_type(&column.ty, &column.name, set);
        Ok(Property { name: column.name.to_string(), ty, nullable: column.nullable, filterable, title })
    }

    fn field_type(&mut self, ty: &'a Ty, of: &str, set: &str) -> FieldType {
        let name = match ty {
            Ty::Known(ty) => return *ty,
            Ty::Named(name) => &**name,
        };
        let is_edm = name.starts_with("Edm.") || name.is_empty();
        let declared = self.of.find_type(name).filter(|_| !is_edm).map(|at| self.of.document.types[at].kind);
        match declared {
            Some(Kind::Enum) => FieldType::Text,
            Some(Kind::Alias(ty)) => ty,
            Some(Kind::Entity | Kind::Complex) => FieldType::Json,
            None => {
                let (ty, as_what) = match is_edm {
                    true => (FieldType::Text, "text"),
                    false => (FieldType::Json, "JSON"),
                };
                if self.unknown.insert(name) {
                    let (name, of, set) = (shown(name), shown(of), shown(set));
                    fault(&mut self.faults, || {
                        format!(
                            "the type \"{name}\" of \"{of}\" in \"{set}\" is not known: taken as {as_what}"
                        )
                    });
                }
                ty
            }
        }
    }

    /// `None` if the document does not say where it leads.
    fn relation(&mut self, navigation: &'a Navigation) -> Result<Option<Relation>> {
        let (type_name, many, columns) = match &navigation.to {
            Destination::Type { name, many } => (name, *many, navigation.columns.clone()),
            Destination::Role { association, role } => {
                let Some(association) = self.association(association) else { return Ok(None) };
                let Some(end) = association.ends.iter().find(|end| end.role == *role) else {
                    return Ok(None);
                };
                (&end.type_name, end.many, association.columns(role))
            }
        };
        let target = match self.of.find_type(type_name) {
            Some(ty) => {
                self.names.get(&ty).copied().unwrap_or_else(|| short(&self.of.document.types[ty].name))
            }
            None => short(type_name),
        };
        let bytes: usize = columns.iter().map(|(here, there)| here.len() + there.len() + 48).sum();
        self.spend(target.len() + bytes)?;
        Ok(Some(Relation {
            name: navigation.name.to_string(),
            target: target.to_owned(),
            many,
            columns: columns.into_iter().map(|(here, there)| (here.into(), there.into())).collect(),
        }))
    }

    fn association(&self, name: &str) -> Option<&'a Association> {
        let aliased = || {
            let (alias, name) = name.rsplit_once('.')?;
            self.associations.get(&*format!("{}.{name}", self.of.document.aliases.get(alias)?))
        };
        self.associations.get(name).or_else(aliased).copied()
    }
}

impl Association {
    /// Pairs of a property on the way to `role` and one at its end.
    fn columns(&self, role: &str) -> Vec<(Box<str>, Box<str>)> {
        let (here, there) = match role {
            _ if role == &*self.principal.name => (&self.dependent, &self.principal),
            _ if role == &*self.dependent.name => (&self.principal, &self.dependent),
            _ => return Vec::new(),
        };
        here.properties.iter().cloned().zip(there.properties.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0"?><edmx:Edmx xmlns:edmx="e" Version="4.0"><edmx:DataServices>
        <Schema Namespace="PX.Data"><EntityType Name="ARAging"><Key><PropertyRef Name="Customer"/>
        <PropertyRef Name="RefNbr_2"/></Key><Property Name="Customer" Type="Edm.String"/></EntityType>
        <EntityType Name="Bare"><Property Name="X" Type="Edm.String"/></EntityType>
        <Function Name="A&amp;B &lt;odd&gt;"/><Function Name="Bare_WithParameters"><Parameter Name="bindingParameter"
        Type="PX.Data.Bare"/><Parameter Name="Site" Type="Edm.String"/></Function><EntityContainer Name="Default">
        <EntitySet Name="AR-Aging by Customer" EntityType="PX.Data.ARAging"/>
        <EntitySet Name="Bare" EntityType="PX.Data.Bare"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"#;

    fn read(document: impl AsRef<[u8]>) -> Result<Model> {
        read_some(document, &|_| true)
    }

    fn read_some(document: impl AsRef<[u8]>, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Model> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Pieces of 7 bytes, so that everything is cut somewhere.
        let pieces = tokio::io::BufReader::with_capacity(7, document.as_ref());
        runtime.block_on(parse(pieces, wanted))
    }

    /// A document of the types in one schema and the sets in another, as DAC has it.
    fn document(types: &str, sets: &str) -> String {
        format!(
            r#"<Edmx><DataServices><Schema Namespace="NS">{types}</Schema><Schema Namespace="Default" Alias="D">
            <EntityContainer Name="C">{sets}</EntityContainer></Schema></DataServices></Edmx>"#
        )
    }

    fn model(types: &str, sets: &str) -> Model {
        read(document(types, sets)).unwrap()
    }

    fn fails(document: impl AsRef<[u8]>) -> String {
        let error = read(document).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol);
        assert!(error.hint.is_some());
        error.detail.unwrap()
    }

    const TYPE: &str = r#"<EntityType Name="T"><Key><PropertyRef Name="K"/></Key><Property Name="K" Type="Edm.Int32"
        Nullable="false"/></EntityType>"#;
    const SET: &str = r#"<EntitySet Name="S" EntityType="NS.T"/>"#;

    fn names<'a>(properties: impl IntoIterator<Item = &'a Property>) -> Vec<&'a str> {
        properties.into_iter().map(|property| &*property.name).collect()
    }

    #[test]
    fn the_set_keeps_its_spaces_and_the_type_drops_them() {
        let model = read(DOCUMENT).unwrap();
        assert_eq!(find(&model, "AR-Aging by Customer").unwrap().key, ["Customer", "RefNbr_2"]);
        assert_eq!(find(&model, "ar-aging BY customer"), find(&model, "AR-Aging by Customer"));
    }

    #[test]
    fn a_set_with_parameters_has_a_function_beside_it() {
        let model = read(DOCUMENT).unwrap();
        let parameter = Parameter { name: "Site".into(), ty: FieldType::Text, required: true };
        assert_eq!(find(&model, "Bare").unwrap().parameters, [parameter]);
        assert!(find(&model, "AR-Aging by Customer").unwrap().parameters.is_empty());
    }

    #[test]
    fn no_key_or_no_set_is_an_empty_key() {
        let model = read(DOCUMENT).unwrap();
        assert!(find(&model, "Bare").unwrap().key.is_empty());
        assert_eq!(find(&model, "Nothing"), None);
        assert_eq!(model.faults, [""; 0]);
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        fails("");
        fails("{\"error\":1}");
        assert!(fails("<!DOCTYPE html><html><body>Sign in</body></html>").contains("<html>"));
        for end in 0..DOCUMENT.len() {
            fails(&DOCUMENT[..end]);
        }
        assert!(read(format!("\u{feff}{DOCUMENT}")).is_ok());
        let latin = DOCUMENT.replace("1.0\"", "1.0\" encoding=\"ISO-8859-1\"");
        assert!(fails(latin).contains("ISO-8859-1"));
        fails(DOCUMENT.bytes().map(|byte| if byte == b'A' { 0xC4 } else { byte }).collect::<Vec<_>>());
        for bom in ["", "\u{feff}"] {
            let text = format!("{bom}{DOCUMENT}");
            fails(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
            fails(text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_connection_says_why_the_document_ends() {
        use futures_util::{StreamExt, stream};
        let lost = Error::new(ErrorKind::ConnectionLost, "lost");
        let pieces = stream::iter([Ok(&DOCUMENT.as_bytes()[..100]), Err(io::Error::other(lost))]);
        let reader = tokio_util::io::StreamReader::new(pieces.boxed());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = runtime.block_on(parse(reader, &|_| true)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ConnectionLost);
    }

    #[test]
    fn types_of_properties() {
        let types = [
            ("Edm.String", FieldType::Text),
            ("Edm.Boolean", FieldType::Bool),
            ("Edm.Byte", FieldType::Int2),
            ("Edm.SByte", FieldType::Int2),
            ("Edm.Int16", FieldType::Int2),
            ("Edm.Int32", FieldType::Int4),
            ("Edm.Int64", FieldType::Int8),
            ("Int64", FieldType::Int8),
            ("Edm.Single", FieldType::Float4),
            ("Edm.Double", FieldType::Float8),
            ("Edm.Decimal", FieldType::Numeric),
            ("Edm.Date", FieldType::Date),
            ("Edm.DateTime", FieldType::TimestampTz),
            ("Edm.DateTimeOffset", FieldType::TimestampTz),
            ("Edm.Time", FieldType::Text),
            ("Edm.TimeOfDay", FieldType::Text),
            ("Edm.Duration", FieldType::Text),
            ("Edm.Binary", FieldType::Text),
            ("Edm.Stream", FieldType::Text),
            ("Edm.Guid", FieldType::Uuid),
            ("Edm.GeographyPoint", FieldType::Json),
            ("Collection(Edm.String)", FieldType::Json),
            ("Collection(NS.Color)", FieldType::Json),
            ("NS.Money", FieldType::Json),
            ("NS.Color", FieldType::Text),
            ("NS.Quantity", FieldType::Numeric),
            ("Edm.New", FieldType::Text),
            ("Else.Thing", FieldType::Json),
            ("", FieldType::Text),
        ];
        let properties: String = types
            .iter()
            .enumerate()
            .map(|(at, (ty, _))| format!("<Property Name=\"P{at}\" Type=\"{ty}\"/>"))
            .collect();
        let declared = r#"<ComplexType Name="Money"><Property Name="X" Type="Edm.Int32"/></ComplexType>
            <EnumType Name="Color"><Member Name="Red"/></EnumType>
            <TypeDefinition Name="Quantity" UnderlyingType="Edm.Decimal"/>"#;
        let model = model(&format!("<EntityType Name=\"T\">{properties}</EntityType>{declared}"), SET);
        let [set] = &model.sets[..] else { panic!() };
        for ((ty, expected), property) in types.iter().zip(&set.properties) {
            assert_eq!(property.ty, *expected, "{ty}");
            assert!(property.nullable && property.filterable);
        }
        assert_eq!(model.faults.len(), 3);
        assert_eq!(model.faults[0], "the type \"Edm.New\" of \"P26\" in \"S\" is not known: taken as text");
    }

    #[test]
    fn what_is_inherited() {
        let types = r#"<EntityType Name="T" BaseType="NS.B"><Property Name="X" Type="Edm.Int32"/>
            <Property Name="K" Type="Edm.String"/></EntityType>
            <EntityType Name="B" BaseType="NS.C"><Key><PropertyRef Name="K"/></Key><Property Name="K" Type="Edm.Guid"
            Nullable="false"/></EntityType>
            <EntityType Name="C" BaseType="NS.T"><Property Name="C" Type="Edm.Int32"/></EntityType>"#;
        let model = model(types, SET);
        let set = &model.sets[0];
        assert_eq!(set.key, ["K"]);
        assert_eq!(names(&set.properties), ["C", "K", "X"]);
        assert_eq!((set.properties[1].ty, set.properties[1].nullable), (FieldType::Uuid, false));
    }

    #[test]
    fn two_names_of_a_set_are_one() {
        let types = r#"<EntityType Name="T"/><EntityType Name="U"/><EntityType Name="V"/>"#;
        let sets = r#"<EntitySet Name="SOOrder" EntityType="NS.T"/><EntitySet Name="PX_SO_Line" EntityType="NS.U"/>
            <EntitySet Name="PX_AR_Line" EntityType="NS.U"/><EntitySet Name="PX_Objects_SO_SOOrder" EntityType="NS.T"/>
            <EntitySet Name="PX_AR_Invoice" EntityType="NS.V"/><EntitySet Name="AR Aging_2" EntityType="NS.V"/>
            <EntitySet Name="SOOrder" EntityType="NS.V"/>"#;
        let model = model(types, sets);
        let all: Vec<(&str, Vec<&str>)> = model
            .sets
            .iter()
            .map(|set| (&*set.name, set.aliases.iter().map(String::as_str).collect()))
            .collect();
        let expected = [
            ("PX_Objects_SO_SOOrder", vec!["SOOrder"]),
            ("PX_SO_Line", vec![]),
            ("PX_AR_Line", vec![]),
            ("PX_AR_Invoice", vec!["Invoice"]),
            ("AR Aging_2", vec![]),
        ];
        assert_eq!(all, expected);
        assert_eq!(find(&model, "invoice").unwrap().name, "PX_AR_Invoice");
        let document = document(types, sets);
        for name in ["SOOrder", "PX_Objects_SO_SOOrder", "Invoice"] {
            assert_eq!(read_some(&document, &|known| known == name).unwrap().sets.len(), 1, "{name}");
        }
        assert_eq!(read_some(&document, &|known| known == "Line").unwrap().sets, []);
    }

    #[test]
    fn inquiries_that_share_a_type_stay_two() {
        let model = model(
            TYPE,
            r#"<EntitySet Name="AR-T" EntityType="NS.T"/><EntitySet Name="AR T" EntityType="NS.T"/>"#,
        );
        assert_eq!(model.sets.len(), 2);
        assert_eq!(find(&model, "AR T").unwrap().name, "AR T");
    }

    #[test]
    fn a_set_whose_type_is_missing() {
        let model =
            model("", r#"<EntitySet Name="S" EntityType="NS.T"/><EntitySet Name="PX_S" EntityType="NS.T"/>"#);
        assert_eq!(model.sets.len(), 2);
        assert_eq!(model.faults.len(), 2);
        assert!(model.sets[0].properties.is_empty());
    }

    #[test]
    fn a_namespace_has_other_names() {
        let types = format!("{TYPE}<EntityType Name=\"U\" BaseType=\"Self.T\"/>");
        let text = document(
            &types,
            r#"<EntitySet Name="A" EntityType="Self.U"/><EntitySet Name="B" EntityType="Lost.T"/>"#,
        );
        let model = read(text.replace("Namespace=\"NS\"", "Namespace=\"NS\" Alias=\"Self\"")).unwrap();
        assert_eq!(model.sets.iter().map(|set| &*set.key[0]).collect::<Vec<_>>(), ["K", "K"]);
    }

    #[test]
    fn titles_and_restrictions_inside() {
        let types = r#"<EntityType Name="T"><Property Name="A" Type="Edm.String"><Annotation
            Term="Org.OData.Core.V1.Description" String="Order &amp; &#x4e;br."/></Property>
            <Property Name="B" Type="Edm.String"><Annotation Term="Core.Description"><String> B &lt;<![CDATA[&]]>&#33; &x;
            </String></Annotation></Property><Property Name="C" Type="Edm.String"><Annotation
            Term="Core.LongDescription" String="no"/><Annotation Term="a.b.Description" String="no"/></Property>
            <Annotation Term="Core.Description" String="Type"/></EntityType>"#;
        let restrictions = r#"<EntitySet Name="S" EntityType="NS.T"><Annotation
            Term="Org.OData.Capabilities.V1.FilterRestrictions"><Record><PropertyValue Property="Filterable" Bool="true"/>
            <PropertyValue Property="NonFilterableProperties"><Collection><PropertyPath>A</PropertyPath>
            <PropertyPath> B </PropertyPath></Collection></PropertyValue><PropertyValue Property="RequiredProperties">
            <Collection><PropertyPath>C</PropertyPath></Collection></PropertyValue></Record></Annotation></EntitySet>"#;
        let model = model(types, restrictions);
        let set = &model.sets[0];
        assert_eq!(set.title.as_deref(), Some("Type"));
        let titles: Vec<_> = set.properties.iter().map(|property| property.title.as_deref()).collect();
        assert_eq!(titles, [Some("Order & Nbr."), Some("B <&!"), None]);
        let filterable: Vec<_> = set.properties.iter().map(|property| property.filterable).collect();
        assert_eq!(filterable, [false, false, true]);
        assert_eq!(model.faults, ["the entity \"&x;\" is not expanded"]);
    }

    #[test]
    fn titles_and_restrictions_elsewhere() {
        let types = r#"<EntityType Name="T"><Property Name="A" Type="Edm.String"/><Property Name="B" Type="Edm.String"/>
            </EntityType><Annotations Target="NS.T/A"><Annotation Term="Core.Description" String="a"/></Annotations>
            <Annotations Target="NS.T"><Annotation Term="Core.Description" String="t"/></Annotations>
            <Annotations Target="D.C/S"><Annotation Term="Core.Description" String="s"/>
            <Annotation Term="Capabilities.FilterRestrictions"><Record><PropertyValue
            Property="NonFilterableProperties" PropertyPath="B"/></Record></Annotation></Annotations>
            <Annotations Target="NS.S_WithParameters(Edm.String)/P"><Annotation Term="Core.OptionalParameter"/></Annotations>
            <Annotations Target="No.Where/At"><Annotation Term="Core.Description" String="x"/></Annotations>
            <Function Name="S_WithParameters"><Parameter Name="P" Type="Edm.String"/></Function>"#;
        let model = model(types, SET);
        let set = &model.sets[0];
        assert_eq!(set.title.as_deref(), Some("s"));
        assert_eq!(set.properties[0].title.as_deref(), Some("a"));
        assert!(set.properties[0].filterable && !set.properties[1].filterable);
        assert!(!set.parameters[0].required);
    }

    #[test]
    fn relations_of_v4() {
        let types = r#"<EntityType Name="T"><NavigationProperty Name="Lines" Type="Collection(NS.U)"/>
            <NavigationProperty Name="Customer" Type="NS.V"><ReferentialConstraint Property="CustomerID"
            ReferencedProperty="BAccountID"/><ReferentialConstraint Property="X" ReferencedProperty="Y"/>
            </NavigationProperty><NavigationProperty Name="Nowhere"/></EntityType><EntityType Name="U"/>
            <EntityType Name="V"/>"#;
        let sets = r#"<EntitySet Name="U" EntityType="NS.U"/><EntitySet Name="PX_U" EntityType="NS.U"/>"#;
        let text = document(types, &format!("{SET}{sets}"));
        let model = read_some(text, &|name| name == "S").unwrap();
        let pair = |here: &str, there: &str| (here.to_owned(), there.to_owned());
        let expected = [
            Relation { name: "Lines".into(), target: "PX_U".into(), many: true, columns: vec![] },
            Relation {
                name: "Customer".into(),
                target: "V".into(),
                many: false,
                columns: vec![pair("CustomerID", "BAccountID"), pair("X", "Y")],
            },
        ];
        assert_eq!(model.sets[0].relations, expected);
    }

    #[test]
    fn relations_of_v3() {
        let types = r#"<EntityType Name="T"><NavigationProperty Name="Lines" Relationship="NS.A" FromRole="one" ToRole="lines"/>
            <NavigationProperty Name="Lost" Relationship="NS.Lost" ToRole="lines"/></EntityType><EntityType Name="U">
            <NavigationProperty Name="Order" Relationship="NS.A" FromRole="lines" ToRole="one"/></EntityType>
            <Association Name="A"><End Role="one" Type="NS.T" Multiplicity="0..1"/><End Role="lines" Type="NS.U"
            Multiplicity="*"/><ReferentialConstraint><Principal Role="one"><PropertyRef Name="Nbr"/></Principal>
            <Dependent Role="lines"><PropertyRef Name="OrderNbr"/></Dependent></ReferentialConstraint></Association>"#;
        let model = model(types, &format!("{SET}<EntitySet Name=\"U\" EntityType=\"NS.U\"/>"));
        let relation = |name: &str, target: &str, many, (here, there): (&str, &str)| Relation {
            name: name.into(),
            target: target.into(),
            many,
            columns: vec![(here.into(), there.into())],
        };
        assert_eq!(model.sets[0].relations, [relation("Lines", "U", true, ("Nbr", "OrderNbr"))]);
        assert_eq!(model.sets[1].relations, [relation("Order", "S", false, ("OrderNbr", "Nbr"))]);
    }

    #[test]
    fn inquiries_with_parameters() {
        let types = format!(
            r#"{TYPE}<EntityType Name="U"/><Function Name="s_withparameters"><Parameter Name="A" Type="Edm.Int32"/>
            <Parameter Name="B" Type="Edm.Date"><Annotation Term="Org.OData.Core.V1.OptionalParameter"/></Parameter>
            <Parameter Name="C" Type="Edm.String"/><ReturnType Type="Collection(NS.T)"/></Function>
            <Function Name="S_WithParameters"><Parameter Name="A" Type="Edm.Int32"/></Function>
            <Function Name="U_WithParameters"><Parameter Name="X" Type="Edm.Guid"/>
            <ReturnType Type="Collection(NS.U)"/></Function>
            <Function Name="Lost_WithParameters"><Parameter Name="X" Type="Edm.Guid"/>
            <ReturnType Type="Collection(NS.T)"/></Function><Function Name="Without_WithParameters"/>
            <Function Name="GetDeletedRecords"><Parameter Name="X" Type="Edm.Guid"/></Function>"#
        );
        let imports = r#"<FunctionImport Name="U X_WithParameters" Function="NS.U_WithParameters" EntitySet="no"/>
            <FunctionImport Name="U_WithParameters" Function="NS.U_WithParameters"/>"#;
        let model = model(&types.replace("s_with", "S_with"), &format!("{SET}{imports}"));
        let parameter = |name: &str, ty, required| Parameter { name: name.into(), ty, required };
        let expected = [
            parameter("A", FieldType::Int4, true),
            parameter("B", FieldType::Date, false),
            parameter("C", FieldType::Text, false),
        ];
        assert_eq!(model.sets.iter().map(|set| &*set.name).collect::<Vec<_>>(), ["S", "U X"]);
        assert_eq!(model.sets[0].parameters, expected);
        assert_eq!(model.sets[1].parameters, [parameter("X", FieldType::Uuid, true)]);
        assert_eq!(model.faults, ["the function \"Lost_WithParameters\" is left out: it belongs to no set"]);
    }

    #[test]
    fn inquiries_with_parameters_in_v3() {
        let import = r#"<FunctionImport Name="s_WithParameters" EntitySet="S" ReturnType="Collection(NS.T)">
            <Parameter Name="A" Type="Edm.DateTime" Mode="In"/></FunctionImport>"#;
        let model = model(TYPE, &format!("{import}{SET}"));
        assert_eq!(model.sets[0].parameters[0].ty, FieldType::TimestampTz);
    }

    #[test]
    fn names_that_xml_forbids_are_taken_as_they_stand() {
        let types = format!(
            "{TYPE}<Function Name=\"R&D <\u{c4}> 'x' &amp; y_WithParameters\"><Parameter Name=\"A&B\" Type=\"Edm.String\"/>
            <Parameter A Name=unquoted B='x' Name='B' Type='Edm.String' Type='Edm.Int32'/></Function> & "
        );
        let model = model(&types, "<EntitySet Name=\"R&D <\u{e4}> 'x' &amp; y\" EntityType=\"NS.T\"/>");
        assert_eq!(model.sets[0].name, "R&D <\u{e4}> 'x' &amp; y");
        let parameters: Vec<_> = model.sets[0].parameters.iter().map(|parameter| &*parameter.name).collect();
        assert_eq!(parameters, ["A&B", "B"]);
    }

    #[test]
    fn entities_are_not_expanded() {
        let mut bomb = "<!DOCTYPE x [<!ENTITY a0 \"ha\">".to_owned();
        for level in 1..64 {
            bomb += &format!("<!ENTITY a{level} \"&a{0};&a{0};\">", level - 1);
        }
        bomb += "<!ENTITY f SYSTEM \"file:///etc/passwd\">]>";
        let set = r#"<EntitySet Name="S&a63;" EntityType="NS.T"><Annotation Term="Core.Description"><String>&f;x</String>
            </Annotation></EntitySet>"#;
        let model = read(format!("{bomb}{}", document(TYPE, set))).unwrap();
        assert_eq!(model.sets[0].name, "S&a63;");
        assert_eq!(model.sets[0].title.as_deref(), Some("x"));
        assert_eq!(model.faults.len(), 2);
    }

    #[test]
    fn no_part_may_be_too_long() {
        let long = "x".repeat(MAX_EVENT);
        for (start, end) in [
            ("<!--", "-->"),
            ("<A B='", "'/>"),
            ("", ""),
            ("<?", "?>"),
            ("<![CDATA[", "]]>"),
            ("<!DOCTYPE ", ">"),
        ] {
            assert!(fails(document(&format!("{start}{long}{end}"), SET)).contains("1 MiB"), "{start}");
        }
        fails(document(&format!("<{long}/>"), SET));
        fails(document(&format!("<{}/>", "x".repeat(MAX_NAME + 1)), SET));
        fails(format!("<Schema>{}", "<a>".repeat(MAX_DEPTH)));
    }

    #[test]
    fn names_of_absurd_length_are_left_out() {
        let long = "x".repeat(MAX_NAME + 1);
        let types = format!(
            r#"<EntityType Name="{long}"><Property Name="A" Type="Edm.String"/></EntityType><EntityType Name="T">
            <Property Name="{long}" Type="Edm.String"/><Property Name="A" Type="Edm.String"><Annotation
            Term="Core.Description" String="{long}{long}"/></Property></EntityType>"#
        );
        let model = model(&types, &format!("{SET}<EntitySet Name=\"{long}\" EntityType=\"NS.T\"/>"));
        assert_eq!(model.sets.len(), 1);
        assert_eq!(names(&model.sets[0].properties), ["A"]);
        assert_eq!(model.sets[0].properties[0].title.as_ref().map(String::len), Some(MAX_NAME));
        assert_eq!(model.faults.len(), 3);
        assert!(model.faults.iter().all(|fault| fault.len() < 300));
    }

    #[test]
    fn too_many_types_are_an_error() {
        assert!(fails(document(&"<EnumType Name='E'/>".repeat(MAX_HOLDERS + 1), "")).contains("200,000"));
    }

    /// Each of many types inherits all properties of a large one.
    #[test]
    fn types_that_multiply_are_an_error() {
        let columns: String =
            (0..5_000).map(|at| format!("<Property Name='P{at}' Type='Edm.Int32'/>")).collect();
        let heirs: String =
            (0..5_000).map(|at| format!("<EntityType Name='T{at}' BaseType='NS.B'/>")).collect();
        let sets: String =
            (0..5_000).map(|at| format!("<EntitySet Name='S{at}' EntityType='NS.T{at}'/>")).collect();
        let types = format!("<EntityType Name='B'>{columns}</EntityType>{heirs}");
        assert!(fails(document(&types, &sets)).contains("too often"));
    }

    /// As large as the largest document known (acumatica-api.md section 3).
    fn large() -> String {
        use std::fmt::Write;
        let (mut types, mut sets) = (String::new(), String::new());
        for at in 0..2_265 {
            write!(types, "<EntityType Name=\"PX_Objects_Module{at}_Table{at}\"><Key><PropertyRef Name=\"Column0\"/></Key>").unwrap();
            for column in 0..if at < 1_518 { 19 } else { 18 } {
                write!(
                    types,
                    r#"<Property Name="Column{column}" Type="Edm.String" Nullable="true" MaxLength="30"><Annotation
                    Term="Org.OData.Core.V1.Description" String="The display name of column {column} of table {at}" />
                    <Annotation Term="Org.OData.Core.V1.LongDescription" String="{:200}" /></Property>"#,
                    "What nobody needs:"
                )
                .unwrap();
            }
            write!(
                types,
                "<NavigationProperty Name=\"Next\" Type=\"NS.PX_Objects_Module{0}_Table{0}\"/></EntityType>",
                at / 2
            )
            .unwrap();
            for name in [format!("PX_Objects_Module{at}_Table{at}"), format!("Table{at}")] {
                write!(
                    sets,
                    "<EntitySet Name=\"{name}\" EntityType=\"NS.PX_Objects_Module{at}_Table{at}\"/>"
                )
                .unwrap();
            }
        }
        document(&types, &sets)
    }

    #[test]
    fn three_sets_of_a_large_document() {
        let text = large();
        assert!(text.len() > 15 << 20, "{}", text.len());
        assert_eq!(text.matches("<Property ").count(), 42_288);
        let wanted = ["Table7", "PX_Objects_Module1000_Table1000", "Table2264"];
        let model = read_some(&text, &|name| wanted.contains(&name)).unwrap();
        assert_eq!((model.sets.len(), &model.faults[..]), (3, &[][..]));
        for name in wanted {
            let set = find(&model, name).unwrap();
            assert_eq!((set.key.len(), set.aliases.len(), set.relations.len()), (1, 1, 1));
            assert!(matches!(set.properties.len(), 18 | 19));
            assert!(set.properties.iter().all(|property| property.title.is_some()));
        }
    }
}
