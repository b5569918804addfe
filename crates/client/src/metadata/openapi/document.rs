//! The parts of a definition: the schemas, and the bodies and answers of the requests for each entity.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::named::{Member, Named};
use super::shape::Shape;
use super::{MAX_NAME, unescape};

#[derive(Deserialize)]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    pub info: Option<Info<'a>>,
    pub paths: Option<Named<Path>>,
    /// Swagger 2.0.
    pub definitions: Option<Named<Shape>>,
    /// Swagger 2.0.
    pub responses: Option<Named<Answer>>,
    /// OpenAPI 3.
    pub components: Option<Components>,
    pub tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
pub(super) struct Info<'a> {
    #[serde(borrow)]
    pub version: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct Components {
    pub schemas: Option<Named<Shape>>,
    pub responses: Option<Named<Answer>>,
    #[serde(rename = "requestBodies")]
    pub bodies: Option<Named<Answer>>,
}

#[derive(Deserialize)]
pub(super) struct Tag {
    pub name: Option<Box<str>>,
    pub description: Option<Box<str>>,
}

impl Member for Answer {}
impl Member for Path {
    /// Paths of one segment are those of entities.
    fn name(path: &str) -> Option<&str> {
        path.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains(['/', '{']))
    }
}

#[derive(Deserialize)]
pub(super) struct Path {
    get: Option<Box<Operation>>,
    put: Option<Box<Operation>>,
}

#[derive(Deserialize)]
struct Operation {
    responses: Option<Named<Answer>>,
    /// OpenAPI 3.
    #[serde(rename = "requestBody")]
    body: Option<Answer>,
    /// The body in Swagger 2.0.
    parameters: Option<Vec<Answer>>,
}

/// The schema of the records in an answer, in the body of a request or in a parameter.
#[derive(Deserialize)]
#[serde(from = "AnswerText")]
pub(super) struct Answer(Option<Type>);

/// The name of a schema, or of a response that is defined elsewhere.
enum Type {
    Record(Box<str>),
    Answer(Box<str>),
}

#[derive(Deserialize)]
struct AnswerText {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    /// In Swagger 2.0, and in a media type of OpenAPI 3.
    schema: Option<Shape>,
    /// OpenAPI 3, by media type.
    content: Option<Named<Answer>>,
}

impl From<AnswerText> for Answer {
    fn from(text: AnswerText) -> Self {
        if let Some(reference) = text.reference {
            let name = reference.rsplit_once('/').map_or(&*reference, |(_, name)| name);
            return Self((name.len() <= MAX_NAME).then(|| Type::Answer(unescape(name))));
        }
        let mut content = text.content.into_iter().flat_map(|named| named.0);
        Self(text.schema.and_then(record).or_else(|| content.find_map(|(_, Answer(ty))| ty)))
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

impl Path {
    /// Names of schemas that the records of the entity may have: in its list, in the body of its PUT, and in the answer
    /// to that.
    pub(super) fn types<'a>(
        &'a self,
        answers: &'a HashMap<Box<str>, Answer>,
    ) -> impl Iterator<Item = &'a str> {
        let get = self.get.iter().flat_map(|get| get.answers());
        let put = self.put.iter().flat_map(|put| put.bodies().chain(put.answers()));
        get.chain(put).filter_map(|answer| match answer.0.as_ref()? {
            Type::Record(name) => Some(&**name),
            Type::Answer(name) => match answers.get(name)? {
                Answer(Some(Type::Record(name))) => Some(&**name),
                Answer(_) => None,
            },
        })
    }
}

impl Operation {
    fn answers(&self) -> impl Iterator<Item = &Answer> {
        let all = self.responses.iter().flat_map(|named| &named.0);
        all.filter(|(status, _)| matches!(&**status, "200" | "201" | "default")).map(|(_, answer)| answer)
    }

    fn bodies(&self) -> impl Iterator<Item = &Answer> {
        self.body.iter().chain(self.parameters.iter().flatten())
    }
}
