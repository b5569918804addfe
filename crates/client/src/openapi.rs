//! The definition of a contract endpoint: `GET /entity/{Endpoint}/{Version}/swagger.json`.
//!
//! Swagger 2.0 and OpenAPI 3 hold the same schemas in different places. Each schema is reduced to a
//! [`Shape`] while it is read, so that a document of megabytes takes up little more than its names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::catalog::{Contract, Entity, FieldType, Member, MemberType};
use crate::error::{Error, ErrorKind, Result};

/// In bytes; no remote name comes near.
const MAX_NAME: usize = 1_000;
/// References that lead to a reference.
const MAX_HOPS: usize = 8;
/// What every record derives from.
const ROOT: &str = "Entity";
/// Members of every record that are no fields (acumatica-api.md section 2). Case matters: `ID` is a field.
const SYSTEM: [&str; 7] = ["id", "rowNumber", "note", "custom", "error", "files", "_links"];

/// Reads the definition of an endpoint.
///
/// # Errors
/// Not JSON in UTF-8, without entities, or so entangled that it would take up much more memory than
/// the document.
pub(crate) fn parse(document: &[u8]) -> Result<Contract> {
    let text = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let document: Document = serde_json::from_slice(text).map_err(malformed)?;
    let number = document.info.and_then(|info| number(info.version?.get())).unwrap_or(4);
    let components = document.components.unwrap_or_default();
    let mut shapes = document.definitions.unwrap_or_default().0;
    shapes.extend(components.schemas.unwrap_or_default().0);
    let answers = [document.responses, components.responses, components.bodies];
    let answers: HashMap<_, _> = answers.into_iter().flatten().flat_map(|Named(answers)| answers).collect();
    let titles = document.tags.unwrap_or_default().0;

    let mut schemas = Schemas::new(&shapes, text.len());
    let mut entities = Vec::new();
    for (name, path) in document.paths.unwrap_or_default().0 {
        if let Some(type_name) = schemas.entity_type(&name, &path, &answers)? {
            let title = titles.get(&name).cloned().map(String::from);
            entities.push(Entity { name: name.into(), type_name, title });
        }
    }
    if entities.is_empty() {
        return Err(malformed("It defines no entities."));
    }
    let types = schemas.types(&entities)?;
    Ok(Contract { number, entities, types })
}

/// What a wrapper holds by the first word of its name: `Decimal` of `DecimalValue` and of
/// `CustomDecimalField` (acumatica-api.md section 2). Case does not matter.
pub(crate) fn simple_type(word: &str) -> Option<FieldType> {
    const WORDS: [(&str, FieldType); 11] = [
        ("String", FieldType::Text),
        ("Decimal", FieldType::Numeric),
        ("Double", FieldType::Float8),
        ("Int", FieldType::Int4),
        ("Short", FieldType::Int2),
        ("Long", FieldType::Int8),
        // 0 to 255.
        ("Byte", FieldType::Int2),
        ("Boolean", FieldType::Bool),
        ("DateTime", FieldType::TimestampTz),
        ("DateOnly", FieldType::Date),
        ("Guid", FieldType::Uuid),
    ];
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|&(_, ty)| ty)
}

fn known_wrapper(name: &str) -> Option<FieldType> {
    let (word, suffix) = name.split_at_checked(name.len().checked_sub("Value".len())?)?;
    if suffix.eq_ignore_ascii_case("Value") { simple_type(word) } else { None }
}

/// `"4"`, `4` or `"5.0"`.
fn number(version: &str) -> Option<u32> {
    version.trim_matches('"').split('.').next()?.parse().ok()
}

fn malformed(reason: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, "could not read the definition of the endpoint")
        .detail(cut(&reason.to_string(), 300))
        .hint("Check the option \"endpoint_name\", and that the instance serves the \"swagger.json\" of it.")
}

/// At most the first `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    info: Option<Info<'a>>,
    paths: Option<Paths>,
    definitions: Option<Named<Shape>>,
    responses: Option<Named<Answer>>,
    components: Option<Components>,
    tags: Option<Titles>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Components {
    schemas: Option<Named<Shape>>,
    responses: Option<Named<Answer>>,
    #[serde(rename = "requestBodies")]
    bodies: Option<Named<Answer>>,
}

/// A schema, as far as it matters here.
#[derive(Clone, Debug, Default)]
enum Shape {
    /// It says nothing of its own.
    #[default]
    Empty,
    Value(FieldType),
    /// A schema of the same document, by name.
    Ref(Box<str>),
    Array(Box<Shape>),
    Object(Box<Object>),
    /// What we do not know, by the name it has there.
    Other(Box<str>),
}

#[derive(Clone, Debug)]
struct Object {
    /// What `allOf` merges into it.
    bases: Vec<Shape>,
    members: Vec<(Box<str>, Shape)>,
}

/// The keywords of a schema, before they become a [`Shape`].
#[derive(Default)]
struct Keywords {
    reference: Option<String>,
    kind: Kind,
    format: Option<String>,
    members: Option<Members>,
    items: Option<Shape>,
    all_of: Shapes,
    /// `oneOf` and `anyOf`.
    one_of: Shapes,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Keyword {
    #[serde(rename = "$ref")]
    Ref,
    #[serde(rename = "type")]
    Type,
    #[serde(rename = "format")]
    Format,
    #[serde(rename = "properties")]
    Properties,
    #[serde(rename = "items")]
    Items,
    #[serde(rename = "allOf")]
    AllOf,
    #[serde(rename = "oneOf", alias = "anyOf")]
    OneOf,
    #[serde(other)]
    Other,
}

impl Keywords {
    fn into_shape(self) -> Shape {
        if let Some(reference) = self.reference {
            return referenced(&reference);
        }
        let mut bases = self.all_of.0;
        let mut choices = self.one_of.0;
        match choices.len() {
            0 => {}
            1 => bases.append(&mut choices),
            _ if bases.is_empty() && self.members.is_none() => return Shape::Other("oneOf".into()),
            _ => {}
        }
        if bases.len() > 1 {
            // `{"type": "object"}` next to what tells more.
            bases.retain(|base| !matches!(base, Shape::Value(FieldType::Json)));
        }
        let is_object = self.members.is_some();
        let members = self.members.unwrap_or_default().0;
        if members.is_empty() && bases.len() == 1 {
            return bases.remove(0);
        }
        if !members.is_empty() || !bases.is_empty() {
            return Shape::Object(Box::new(Object { bases, members }));
        }
        match (self.kind.0.as_deref(), self.items) {
            (Some("array"), items) => Shape::Array(Box::new(items.unwrap_or_default())),
            (None, Some(items)) => Shape::Array(Box::new(items)),
            (Some("object"), None) => Shape::Value(FieldType::Json),
            (None | Some("null"), _) if !is_object => Shape::Empty,
            (None, _) => Shape::Value(FieldType::Json),
            (Some(kind), _) => match scalar(kind, self.format.as_deref()) {
                Some(ty) => Shape::Value(ty),
                None => Shape::Other(cut(kind, MAX_NAME).into()),
            },
        }
    }
}

fn scalar(kind: &str, format: Option<&str>) -> Option<FieldType> {
    Some(match (kind, format.unwrap_or_default()) {
        ("string", "date-time") => FieldType::TimestampTz,
        ("string", "date") => FieldType::Date,
        ("string", "uuid") => FieldType::Uuid,
        ("string", _) => FieldType::Text,
        ("boolean", _) => FieldType::Bool,
        ("integer", "int16") => FieldType::Int2,
        ("integer", "int32") => FieldType::Int4,
        ("integer", _) => FieldType::Int8,
        // Definitions say "double" of decimals, too.
        ("number", _) => FieldType::Numeric,
        _ => return None,
    })
}

fn referenced(reference: &str) -> Shape {
    let local = |place| reference.strip_prefix(place).filter(|name: &&str| !name.contains('/'));
    match local("#/definitions/").or_else(|| local("#/components/schemas/")) {
        Some(name) if name.len() <= MAX_NAME => Shape::Ref(unescape(name)),
        _ => Shape::Other(cut(reference, MAX_NAME).into()),
    }
}

/// A step of a JSON pointer in a URL.
fn unescape(step: &str) -> Box<str> {
    percent_decode_str(step).decode_utf8_lossy().replace("~1", "/").replace("~0", "~").into()
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Schema;
        impl<'de> Visitor<'de> for Schema {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a schema")
            }

            /// A schema that everything or nothing fits.
            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Empty)
            }

            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Empty)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut found = Keywords::default();
                while let Some(keyword) = map.next_key()? {
                    match keyword {
                        Keyword::Ref => found.reference = map.next_value()?,
                        Keyword::Type => found.kind = map.next_value()?,
                        Keyword::Format => found.format = map.next_value()?,
                        Keyword::Properties => found.members = map.next_value()?,
                        Keyword::Items => found.items = map.next_value()?,
                        Keyword::AllOf => found.all_of = map.next_value()?,
                        Keyword::OneOf => found.one_of = map.next_value()?,
                        Keyword::Other => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(found.into_shape())
            }
        }
        deserializer.deserialize_any(Schema)
    }
}

/// What a collection in the document becomes: only what is wanted is kept while it is read.
trait Collect<'de>: Default {
    /// Reads the value of a member.
    fn member<A: MapAccess<'de>>(&mut self, _name: String, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }

    /// Reads the next element; false if there is none.
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        seq.next_element::<IgnoredAny>().map(|element| element.is_some())
    }

    /// Instead of a collection.
    fn text(&mut self, _text: &str) {}
}

struct Collector<T>(PhantomData<T>);

impl<'de, T: Collect<'de>> Visitor<'de> for Collector<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        let mut collected = T::default();
        collected.text(text);
        Ok(collected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut collected = T::default();
        while let Some(name) = map.next_key()? {
            collected.member(name, &mut map)?;
        }
        Ok(collected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut collected = T::default();
        while collected.element(&mut seq)? {}
        Ok(collected)
    }
}

macro_rules! collected {
    ($($type:ty),*) => {
        $(impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Collector(PhantomData))
            }
        })*
    };
}

collected!(Kind, Members, Shapes, Named<Shape>, Named<Answer>, Paths, Titles, BodyParameter);

/// `"string"`, or since 3.1 `["string", "null"]`.
#[derive(Default)]
struct Kind(Option<Box<str>>);

impl<'de> Collect<'de> for Kind {
    fn text(&mut self, text: &str) {
        self.0 = match self.0.take() {
            _ if text == "null" => Some(text.into()),
            None => Some(text.into()),
            Some(other) if &*other == "null" => Some(text.into()),
            // More than one: none that a column has.
            Some(_) => Some("(several)".into()),
        }
    }

    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let kind = seq.next_element::<String>()?;
        match kind.as_deref() {
            Some("null") if self.0.is_some() => {}
            Some(kind) => self.text(kind),
            None => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Members(Vec<(Box<str>, Shape)>);

impl<'de> Collect<'de> for Members {
    fn member<A: MapAccess<'de>>(&mut self, name: String, map: &mut A) -> Result<(), A::Error> {
        if name.len() > MAX_NAME {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        self.0.push((name.into(), map.next_value()?));
        Ok(())
    }
}

#[derive(Default)]
struct Shapes(Vec<Shape>);

impl<'de> Collect<'de> for Shapes {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let shape = seq.next_element::<Shape>()?;
        let more = shape.is_some();
        self.0.extend(shape.filter(|shape| !matches!(shape, Shape::Empty)));
        Ok(more)
    }
}

/// Definitions by name; the last one of a name counts.
struct Named<T>(HashMap<Box<str>, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Collect<'de> for Named<T> {
    fn member<A: MapAccess<'de>>(&mut self, name: String, map: &mut A) -> Result<(), A::Error> {
        if name.len() > MAX_NAME {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        self.0.insert(name.into(), map.next_value()?);
        Ok(())
    }
}

/// Descriptions of the tags that have one.
#[derive(Default)]
struct Titles(HashMap<Box<str>, Box<str>>);

impl<'de> Collect<'de> for Titles {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        #[derive(Deserialize)]
        struct Tag {
            name: Option<String>,
            description: Option<String>,
        }
        let Some(tag) = seq.next_element::<Tag>()? else { return Ok(false) };
        if let (Some(name), Some(title)) = (tag.name, tag.description) {
            let title = cut(title.trim(), MAX_NAME);
            if !title.is_empty() && name.len() <= MAX_NAME {
                self.0.insert(name.into(), title.into());
            }
        }
        Ok(true)
    }
}

/// The paths of one segment, without their slash, in the order of the document.
#[derive(Default)]
struct Paths(Vec<(Box<str>, Path)>, HashMap<Box<str>, usize>);

impl<'de> Collect<'de> for Paths {
    fn member<A: MapAccess<'de>>(&mut self, path: String, map: &mut A) -> Result<(), A::Error> {
        let name = path.strip_prefix('/').filter(|name| (1..=MAX_NAME).contains(&name.len()));
        let Some(name) = name.filter(|name| !name.contains(['/', '{'])) else {
            return map.next_value::<IgnoredAny>().map(drop);
        };
        let path: Path = map.next_value()?;
        match self.1.get(name) {
            Some(&known) => self.0[known].1 = path,
            None => {
                self.1.insert(name.into(), self.0.len());
                self.0.push((name.into(), path));
            }
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
struct Path {
    get: Option<Operation>,
    put: Option<Operation>,
}

/// The types that a request brings and takes.
#[derive(Default, Deserialize)]
#[serde(from = "OperationText")]
struct Operation {
    answer: Option<Type>,
    body: Option<Type>,
}

#[derive(Deserialize)]
struct OperationText {
    responses: Option<Responses>,
    #[serde(rename = "requestBody")]
    body: Option<Answer>,
    parameters: Option<BodyParameter>,
}

#[derive(Default, Deserialize)]
struct Responses {
    #[serde(rename = "200")]
    ok: Option<Answer>,
    #[serde(rename = "201")]
    created: Option<Answer>,
    default: Option<Answer>,
}

impl From<OperationText> for Operation {
    fn from(text: OperationText) -> Self {
        let responses = text.responses.unwrap_or_default();
        let answer = responses.ok.or(responses.created).or(responses.default);
        let body = text.body.and_then(|Answer(body)| body);
        Self { answer: answer.and_then(|Answer(answer)| answer), body: body.or_else(|| text.parameters?.0) }
    }
}

/// The schema of a record, or where the answer is that tells.
enum Type {
    Record(Box<str>),
    Answer(Box<str>),
}

/// A response or the body of a request.
#[derive(Deserialize)]
#[serde(from = "AnswerText")]
struct Answer(Option<Type>);

#[derive(Deserialize)]
struct AnswerText {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    /// Swagger 2.0.
    schema: Option<Shape>,
    /// OpenAPI 3, by media type.
    content: Option<BTreeMap<String, Media>>,
}

#[derive(Deserialize)]
struct Media {
    schema: Option<Shape>,
}

impl From<AnswerText> for Answer {
    fn from(text: AnswerText) -> Self {
        if let Some(reference) = text.reference {
            let name = reference.rsplit_once('/').map_or(&*reference, |(_, name)| name);
            return Self((name.len() <= MAX_NAME).then(|| Type::Answer(unescape(name))));
        }
        let media = || {
            let mut content = text.content?;
            content.remove("application/json").or_else(|| content.pop_first().map(|(_, media)| media))?.schema
        };
        Self(text.schema.or_else(media).and_then(record))
    }
}

/// The type of a record or of a list of records.
fn record(shape: Shape) -> Option<Type> {
    match shape {
        Shape::Ref(name) => Some(Type::Record(name)),
        Shape::Array(items) => record(*items),
        _ => None,
    }
}

/// The type of the body, which Swagger 2.0 has among the parameters.
#[derive(Default)]
struct BodyParameter(Option<Type>);

impl<'de> Collect<'de> for BodyParameter {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        #[derive(Deserialize)]
        struct Parameter {
            #[serde(rename = "in")]
            place: Option<String>,
            schema: Option<Shape>,
        }
        let Some(parameter) = seq.next_element::<Parameter>()? else { return Ok(false) };
        if parameter.place.as_deref() == Some("body") {
            self.0 = parameter.schema.and_then(record);
        }
        Ok(true)
    }
}

/// The schemas of a document, and what is known of them.
struct Schemas<'a> {
    shapes: &'a HashMap<Box<str>, Shape>,
    /// Names of the schemas that derive from [`ROOT`].
    records: HashSet<&'a str>,
    /// What a reference to a schema means.
    meanings: HashMap<&'a str, MemberType>,
    /// What may yet be looked at and built. Schemas that include each other crosswise would multiply.
    budget: usize,
}

impl<'a> Schemas<'a> {
    fn new(shapes: &'a HashMap<Box<str>, Shape>, document_bytes: usize) -> Self {
        let budget = document_bytes.saturating_mul(8).saturating_add(1 << 20);
        Self { shapes, records: records(shapes), meanings: HashMap::new(), budget }
    }

    fn spend(&mut self, cost: usize) -> Result<()> {
        let rest = self.budget.checked_sub(cost);
        self.budget = rest.ok_or_else(|| malformed("Its schemas include each other too often."))?;
        Ok(())
    }

    /// The type of an entity's records: of its list, else of what is put, else the type of the same name.
    fn entity_type(
        &mut self,
        name: &str,
        path: &Path,
        answers: &HashMap<Box<str>, Answer>,
    ) -> Result<Option<String>> {
        let get = path.get.as_ref().and_then(|get| get.answer.as_ref());
        let put = path.put.as_ref().map(|put| [put.body.as_ref(), put.answer.as_ref()]).unwrap_or_default();
        let told = [get].into_iter().chain(put).flatten().filter_map(|ty| match ty {
            Type::Record(name) => Some(&**name),
            Type::Answer(name) => match answers.get(name)? {
                Answer(Some(Type::Record(name))) => Some(&**name),
                Answer(_) => None,
            },
        });
        for candidate in told.chain([name]) {
            if self.records.contains(candidate) || !self.members_of(candidate)?.is_empty() {
                return Ok(Some(candidate.to_owned()));
            }
        }
        Ok(None)
    }

    /// All records, and all types that entities and records lead to.
    fn types(&mut self, entities: &[Entity]) -> Result<HashMap<String, Vec<Member>>> {
        let mut types = HashMap::new();
        let mut waiting: Vec<String> = self.records.iter().map(|&name| name.to_owned()).collect();
        waiting.extend(entities.iter().map(|entity| entity.type_name.clone()));
        while let Some(name) = waiting.pop() {
            if types.contains_key(&name) {
                continue;
            }
            let members = self.members(&name)?;
            for member in &members {
                if let MemberType::Linked(target) | MemberType::List(target) = &member.ty
                    && !types.contains_key(target)
                {
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

    /// The members of a schema with those that it includes, each name once; the last one counts.
    fn members_of(&mut self, name: &str) -> Result<Vec<(&'a str, &'a Shape)>> {
        enum Step<'a> {
            Shape(&'a Shape),
            Members(&'a [(Box<str>, Shape)]),
        }
        let mut members = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut seen = HashSet::new();
        let mut steps: Vec<Step> = self.shapes.get(name).map(Step::Shape).into_iter().collect();
        while let Some(step) = steps.pop() {
            self.spend(1)?;
            match step {
                Step::Shape(Shape::Ref(name)) if seen.insert(name) => {
                    steps.extend(self.shapes.get(name).map(Step::Shape));
                }
                Step::Shape(Shape::Object(object)) => {
                    steps.push(Step::Members(&object.members));
                    steps.extend(object.bases.iter().rev().map(Step::Shape));
                    self.spend(object.bases.len())?;
                }
                Step::Shape(_) => {}
                Step::Members(own) => {
                    self.spend(own.len())?;
                    for (name, shape) in own {
                        match places.get(&**name) {
                            Some(&place) => members[place] = (&**name, shape),
                            None => {
                                places.insert(name, members.len());
                                members.push((&**name, shape));
                            }
                        }
                    }
                }
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
            Shape::Ref(name) => match (known_wrapper(name), self.meanings.get(&**name)) {
                (Some(ty), _) => MemberType::Value(ty),
                (None, Some(meaning)) => meaning.clone(),
                (None, None) => {
                    let meaning = self.meaning_of(name, hops)?;
                    self.meanings.insert(name, meaning.clone());
                    meaning
                }
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
            Some((_, value)) => self.wrapped(value)?.map_or_else(unknown, MemberType::Value),
            None if members.is_empty() => MemberType::Value(FieldType::Json),
            None => MemberType::Linked(name.to_owned()),
        })
    }

    /// What a wrapper with this `value` holds.
    fn wrapped(&mut self, value: &'a Shape) -> Result<Option<FieldType>> {
        let mut shape = value;
        for _ in 0..MAX_HOPS {
            let has =
                |members: &[(Box<str>, Shape)], wanted| members.iter().any(|(name, _)| &**name == wanted);
            match shape {
                Shape::Value(FieldType::Json) => break,
                Shape::Value(ty) => return Ok(Some(*ty)),
                Shape::Object(object) => {
                    self.spend(object.members.len())?;
                    let is_choice = has(&object.members, "id") && has(&object.members, "description");
                    return Ok(is_choice.then_some(FieldType::Choice));
                }
                Shape::Ref(name) => match self.shapes.get(name) {
                    Some(next) => shape = next,
                    None => break,
                },
                Shape::Empty | Shape::Array(_) | Shape::Other(_) => break,
            }
        }
        Ok(None)
    }
}

/// The names of the schemas that derive from [`ROOT`], directly or through others.
fn records(shapes: &HashMap<Box<str>, Shape>) -> HashSet<&str> {
    let mut heirs: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, shape) in shapes {
        let mut parts = vec![shape];
        while let Some(part) = parts.pop() {
            match part {
                Shape::Ref(base) => heirs.entry(base).or_default().push(name),
                Shape::Object(object) => parts.extend(&object.bases),
                _ => {}
            }
        }
    }
    let mut records = HashSet::new();
    let mut waiting = vec![ROOT];
    while let Some(base) = waiting.pop() {
        for heir in heirs.remove(base).unwrap_or_default() {
            if heir != ROOT && records.insert(heir) {
                waiting.push(heir);
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A definition of the entity `Order` with these members and further schemas.
    fn order(members: &str, schemas: &str) -> String {
        format!(
            r##"{{"openapi":"3.0.1","info":{{"version":"5"}},"paths":{{"/Order":{{"get":{{"responses":{{"200":
            {{"content":{{"application/json":{{"schema":{{"type":"array","items":
            {{"$ref":"#/components/schemas/Order"}}}}}}}}}}}}}}}}}},"components":{{"schemas":{{
            "Entity":{{"type":"object","properties":{{"id":{{"type":"string","format":"uuid"}},"note":{{}}}}}},
            "Order":{{"allOf":[{{"$ref":"#/components/schemas/Entity"}},
            {{"type":"object","properties":{{{members}}}}}]}},
            "Line":{{"allOf":[{{"$ref":"#/components/schemas/Order"}},{{"properties":{{"Line Nbr":{{"type":"integer"}}}}}}]}},
            "Note":{{"properties":{{"Text":{{"type":"string"}}}}}}
            {schemas}}}}}}}"##
        )
    }

    /// The type of the only member of `Order`.
    fn member_with(member: &str, schemas: &str) -> MemberType {
        let contract = parse(order(&format!("\"M\":{member}"), schemas).as_bytes()).unwrap();
        let [member] = &contract.types["Order"][..] else { panic!("{:?}", contract.types) };
        assert_eq!(member.name, "M");
        member.ty.clone()
    }

    fn member(member: &str) -> MemberType {
        member_with(member, "")
    }

    fn reference(name: &str) -> String {
        format!("{{\"$ref\":\"#/components/schemas/{name}\"}}")
    }

    fn fails(document: &[u8]) -> String {
        let error = parse(document).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol);
        assert!(error.hint.is_some());
        let detail = error.detail.unwrap();
        assert!(detail.len() <= 300);
        detail
    }

    #[test]
    fn wrappers_by_name() {
        let wrappers = [
            ("StringValue", FieldType::Text),
            ("DecimalValue", FieldType::Numeric),
            ("DoubleValue", FieldType::Float8),
            ("IntValue", FieldType::Int4),
            ("ShortValue", FieldType::Int2),
            ("LongValue", FieldType::Int8),
            ("ByteValue", FieldType::Int2),
            ("BooleanValue", FieldType::Bool),
            ("DateTimeValue", FieldType::TimestampTz),
            ("DateOnlyValue", FieldType::Date),
            ("guidvalue", FieldType::Uuid),
        ];
        for (name, ty) in wrappers {
            assert_eq!(member(&reference(name)), MemberType::Value(ty), "{name}");
        }
    }

    #[test]
    fn wrappers_by_the_shape_of_their_value() {
        let of = |value: &str| {
            let schemas = format!(
                r##","New":{{"properties":{{"value":{value},"error":{{"type":"string"}}}}}},
                "Code":{{"type":"string","enum":["A"]}},"Pair":{{"properties":{{"id":{{}},"description":{{}}}}}}"##
            );
            member_with(&reference("New"), &schemas)
        };
        let scalars = [
            (r#"{"type":"string"}"#, FieldType::Text),
            (r#"{"type":["null","string"],"format":"date-time"}"#, FieldType::TimestampTz),
            (r#"{"type":"string","format":"date"}"#, FieldType::Date),
            (r#"{"type":"string","format":"uuid","nullable":true}"#, FieldType::Uuid),
            (r#"{"type":"number","format":"double"}"#, FieldType::Numeric),
            (r#"{"type":"integer","format":"int32"}"#, FieldType::Int4),
            (r#"{"type":"integer","format":"int64"}"#, FieldType::Int8),
            (r#"{"type":"boolean"}"#, FieldType::Bool),
            (&reference("Code"), FieldType::Text),
            (&reference("Pair"), FieldType::Choice),
            (r#"{"type":"object","properties":{"id":{},"description":{}}}"#, FieldType::Choice),
        ];
        for (value, ty) in scalars {
            assert_eq!(of(value), MemberType::Value(ty), "{value}");
        }
        for value in ["{}", "true", r#"{"type":"array"}"#, r#"{"type":"object"}"#, &reference("Nothing")] {
            assert_eq!(of(value), MemberType::Unknown("New".into()), "{value}");
        }
    }

    #[test]
    fn records_and_lists_of_them() {
        let (line, note) = (|| "Line".to_owned(), || "Note".to_owned());
        let (to_line, to_note) = (reference("Line"), reference("Note"));
        assert_eq!(member(&to_line), MemberType::Linked(line()));
        // It derives from nothing, but has members.
        assert_eq!(member(&to_note), MemberType::Linked(note()));
        assert_eq!(member(&format!(r#"{{"type":"array","items":{to_line}}}"#)), MemberType::List(line()));
        let nullable = format!(r#"{{"type":"array","nullable":true,"items":{{"allOf":[{to_note}]}}}}"#);
        assert_eq!(member(&nullable), MemberType::List(note()));
        let contract = parse(order(&format!("\"M\":{to_note}"), "").as_bytes()).unwrap();
        assert_eq!(contract.types["Note"].len(), 1);
        let line: Vec<&str> = contract.types["Line"].iter().map(|member| &*member.name).collect();
        assert_eq!(line, ["M", "Line Nbr"]);
    }

    #[test]
    fn references_in_every_disguise() {
        let line = MemberType::Linked("Line".into());
        let to = reference("Line");
        for disguise in [
            format!(r#"{{"allOf":[{to}],"nullable":true}}"#),
            format!(r#"{{"type":"object","allOf":[{to},{{"description":"x"}},{{"type":"object"}}]}}"#),
            format!(r#"{{"oneOf":[{to}]}}"#),
            format!(r#"{{"anyOf":[{{"type":"null"}},{to}]}}"#),
            r##"{"$ref":"#/definitions/Lin%65","description":"x"}"##.into(),
            reference("Alias"),
        ] {
            let alias = format!(r#","Alias":{{"allOf":[{to}]}}"#);
            let found = member_with(&disguise, &alias);
            let expected =
                if disguise.contains("Alias") { MemberType::Linked("Alias".into()) } else { line.clone() };
            assert_eq!(found, expected, "{disguise}");
        }
        let slash =
            member_with(r##"{"$ref":"#/components/schemas/A~1B~0"}"##, r#","A/B~":{"properties":{"X":{}}}"#);
        assert_eq!(slash, MemberType::Linked("A/B~".into()));
    }

    #[test]
    fn what_has_an_inside_is_json() {
        for json in [
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            r#"{"type":"object","properties":{"A":{"type":"string"}}}"#,
            r#"{"properties":{}}"#,
            r#"{"type":"array","items":{"type":"string"}}"#,
            r#"{"type":"array"}"#,
            &format!(r#"{{"type":"array","items":{}}}"#, reference("StringValue")),
        ] {
            assert_eq!(member(json), MemberType::Value(FieldType::Json), "{json}");
        }
    }

    #[test]
    fn what_is_not_known_keeps_its_name() {
        let unknown = |text: &str| match member(text) {
            MemberType::Unknown(name) => name,
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!(unknown(&reference("Nothing")), "Nothing");
        assert_eq!(unknown(r#"{"$ref":"other.json#/definitions/Line"}"#), "other.json#/definitions/Line");
        assert_eq!(
            unknown(r##"{"$ref":"#/definitions/Line/properties/X"}"##),
            "#/definitions/Line/properties/X"
        );
        assert_eq!(unknown(r#"{"type":"file"}"#), "file");
        assert_eq!(unknown(r#"{"type":["string","integer"]}"#), "(several)");
        assert_eq!(
            unknown(&format!(r#"{{"oneOf":[{},{}]}}"#, reference("Line"), reference("Note"))),
            "oneOf"
        );
        for nothing in ["{}", "true", "null", r#"{"type":"null"}"#] {
            assert_eq!(unknown(nothing), "(no type)");
        }
    }

    #[test]
    fn a_reference_in_a_circle_ends() {
        let circle = r##","A":{"$ref":"#/definitions/B"},"B":{"$ref":"#/definitions/A"},
            "C":{"allOf":[{"$ref":"#/definitions/C"},{"properties":{"X":{"$ref":"#/definitions/C"}}}]},
            "D":{"type":"array","items":{"$ref":"#/definitions/D"}},
            "E":{"properties":{"value":{"$ref":"#/definitions/F"}}},"F":{"$ref":"#/definitions/F"}"##;
        assert!(matches!(member_with(&reference("A"), circle), MemberType::Unknown(_)));
        assert_eq!(member_with(&reference("C"), circle), MemberType::Linked("C".into()));
        assert_eq!(member_with(&reference("D"), circle), MemberType::Value(FieldType::Json));
        assert!(matches!(member_with(&reference("E"), circle), MemberType::Unknown(_)));
    }

    #[test]
    fn the_last_of_two_of_a_name_counts() {
        let twice =
            order(r#""id":{"type":"string"},"M":{},"N":{"type":"boolean"},"M":{"type":"string"}"#, "");
        let contract = parse(twice.as_bytes()).unwrap();
        let text = |name: &str, ty| Member { name: name.into(), ty: MemberType::Value(ty) };
        assert_eq!(contract.types["Order"], [text("M", FieldType::Text), text("N", FieldType::Bool)]);
        let twice =
            order("", r#","Note":{"properties":{"Z":{"type":"string"}}},"X":{"$ref":"y"},"Order":null"#);
        assert!(fails(twice.as_bytes()).contains("no entities"));
    }

    #[test]
    fn entities_of_swagger_2() {
        let document = r##"{"swagger":"2.0","info":{"version":4},"paths":{
            "/Z/{id}":{"get":{"responses":5}},
            "/Z":{"get":{"responses":{"200":{"$ref":"#/responses/Zs"}}}},
            "/ByName":{"get":{},"put":null},
            "/Inquiry":{"put":{"parameters":[{"in":"query"},{"in":"body","schema":{"$ref":"#/definitions/Form"}}],
                "responses":{"default":{"schema":{"$ref":"#/definitions/HttpError"}}}}},
            "/Nothing":{"get":{}},"/auth":{"post":{}}},
            "responses":{"Zs":{"schema":{"type":"array","items":{"$ref":"#/definitions/Zed"}}}},
            "definitions":{"Entity":{"properties":{"id":{"type":"string"}}},"Zed":{"allOf":[{"$ref":"#/definitions/Entity"}]},
                "ByName":{"allOf":[{"$ref":"#/definitions/Zed"},{"properties":{"A":{"$ref":"#/definitions/StringValue"}}}]},
                "Form":{"allOf":[{"$ref":"#/definitions/Entity"},{"type":"object"}]}},
            "tags":[{"name":"Z","description":"  Zeds (ZZ000000) "},{"name":"ByName","description":" "},{"name":"Form"}]}"##;
        let contract = parse(format!("\u{feff}{document}").as_bytes()).unwrap();
        assert_eq!(contract.number, 4);
        let entity = |name: &str, type_name: &str, title: Option<&str>| Entity {
            name: name.into(),
            type_name: type_name.into(),
            title: title.map(str::to_owned),
        };
        let expected = [
            entity("Z", "Zed", Some("Zeds (ZZ000000)")),
            entity("ByName", "ByName", None),
            entity("Inquiry", "Form", None),
        ];
        assert_eq!(contract.entities, expected);
        assert_eq!(contract.types.len(), 3);
        assert_eq!(contract.types["Zed"], []);
    }

    #[test]
    fn what_is_no_definition_is_an_error() {
        let document = order(r##""M":{"$ref":"#/definitions/StringValue"}"##, "");
        assert!(parse(document.as_bytes()).is_ok());
        for end in 0..document.len() {
            fails(&document.as_bytes()[..end]);
        }
        fails(b"<!DOCTYPE html><html></html>");
        fails(b"[]");
        fails(br#"{"paths":[]}"#);
        fails(br#"{"paths":{"/X":{"get":{}}}}"#);
        let utf_16: Vec<u8> = document.encode_utf16().flat_map(u16::to_le_bytes).collect();
        fails(&utf_16);
        fails(&document.replace("Order", "K\u{1}ln").replace('\u{1}', "\u{fffd}").into_bytes()[1..]);
        fails(&document.bytes().map(|byte| if byte == b'M' { 0xF6 } else { byte }).collect::<Vec<_>>());
        let deep = format!("{}{}", "{\"items\":".repeat(100_000), "}".repeat(100_000));
        fails(order(&format!("\"M\":{deep}"), "").as_bytes());
    }

    #[test]
    fn names_of_absurd_length_are_left_out() {
        let long = "x".repeat(10 << 20);
        let members = format!(r#""{long}":{{"type":"string"}},"M":{{"type":"{long}"}}"#);
        let contract = parse(order(&members, &format!(r#","{long}":{{}}"#)).as_bytes()).unwrap();
        let [member] = &contract.types["Order"][..] else { panic!() };
        assert_eq!(member.ty, MemberType::Unknown("x".repeat(MAX_NAME)));
        let path = order("", "").replace("/Order", &format!("/{long}"));
        fails(path.as_bytes());
    }

    /// Each of many types includes all members of a large one.
    #[test]
    fn types_that_multiply_are_an_error() {
        let many: Vec<String> = (0..5_000).map(|n| format!("\"M{n}\":{{\"type\":\"string\"}}")).collect();
        let heirs: String = (0..5_000).map(|n| format!(",\"T{n}\":{}", reference("Order"))).collect();
        assert!(fails(order(&many.join(","), &heirs).as_bytes()).contains("too often"));
    }

    fn fixture(name: &str) -> Option<Vec<u8>> {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/swagger").join(name);
        let document = std::fs::read(&path);
        if document.is_err() {
            println!("skipped: {} is not there", path.display());
        }
        document.ok()
    }

    fn check_real(document: &[u8], entities: usize, records: usize, kinds: [usize; 3]) -> Contract {
        let contract = parse(document).unwrap();
        assert_eq!((contract.number, contract.entities.len(), contract.types.len()), (4, entities, records));
        let mut found = [0; 3];
        for (name, members) in &contract.types {
            for member in members {
                match &member.ty {
                    MemberType::Value(_) => found[0] += 1,
                    MemberType::Linked(_) => found[1] += 1,
                    MemberType::List(_) => found[2] += 1,
                    MemberType::Unknown(ty) => panic!("{name}.{} is a {ty}", member.name),
                }
            }
        }
        assert_eq!(found, kinds);
        for entity in &contract.entities {
            assert_eq!(entity.name, entity.type_name);
            assert!(!contract.types[&entity.type_name].is_empty(), "{}", entity.name);
        }
        contract
    }

    #[test]
    fn the_published_definition_of_2023() {
        let Some(document) = fixture("Default_23.200.001.swagger.json") else { return };
        let contract = check_real(&document, 117, 416, [4_812, 120, 268]);
        assert_eq!(contract.entities[0].name, "SalesOrder");
    }

    #[test]
    fn the_published_definition_of_2024() {
        let Some(document) = fixture("Default_24.200.001.swagger.json") else { return };
        let contract = check_real(&document, 119, 424, [4_869, 125, 271]);
        assert_eq!(contract.entities[0].name, "ExpenseClaim");
        let account = contract.entities.iter().find(|entity| entity.name == "Account").unwrap();
        assert_eq!(account.title.as_deref(), Some("Chart of Accounts (GL202500)"));
        let of = |ty: &str, name: &str| {
            contract.types[ty].iter().find(|member| member.name == name).unwrap().ty.clone()
        };
        assert_eq!(of("SalesOrder", "OrderTotal"), MemberType::Value(FieldType::Numeric));
        assert_eq!(of("SalesOrder", "Details"), MemberType::List("SalesOrderDetail".into()));
        assert_eq!(of("SalesOrder", "ShipToAddress"), MemberType::Linked("Address".into()));
    }
}
