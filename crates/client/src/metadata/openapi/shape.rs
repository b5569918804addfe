//! A schema, reduced to what is needed.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::named::{Member, Named};
use super::{MAX_NAME, cut, unescape};
use crate::catalog::FieldType;

pub(super) enum Shape {
    /// The schema says nothing itself.
    Empty,
    Value(FieldType),
    /// A schema of the same document, by name.
    Ref(Box<str>),
    Array(Box<Shape>),
    Object(Box<Object>),
    /// A type that is not known here, by its name in the document.
    Other(Box<str>),
}

#[derive(Default)]
pub(super) struct Object {
    /// Names of the schemas that `allOf` merges into it.
    bases: Vec<Box<str>>,
    members: Vec<(Box<str>, Shape)>,
}

impl Member for Shape {}

impl Shape {
    /// The schemas whose members it includes.
    pub(super) fn bases(&self) -> &[Box<str>] {
        match self {
            Self::Ref(name) => std::slice::from_ref(name),
            Self::Object(object) => &object.bases,
            _ => &[],
        }
    }

    /// Its own members.
    pub(super) fn members(&self) -> &[(Box<str>, Shape)] {
        match self {
            Self::Object(object) => &object.members,
            _ => &[],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keywords {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: Option<TypeKeyword>,
    format: Option<String>,
    properties: Option<Named<Shape>>,
    items: Option<Shape>,
    all_of: Option<Vec<Shape>>,
    #[serde(alias = "anyOf")]
    one_of: Option<Vec<Shape>>,
}

/// `"string"`, or since 3.1 `["string", "null"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum TypeKeyword {
    One(String),
    Several(Vec<String>),
}

impl TypeKeyword {
    fn name(&self) -> Option<&str> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        };
        let mut names = names.iter().filter(|name| *name != "null");
        let name = names.next()?;
        // A column cannot have more than one type.
        Some(if names.next().is_none() { name } else { "(several)" })
    }
}

impl From<Keywords> for Shape {
    fn from(keywords: Keywords) -> Self {
        if let Some(reference) = keywords.reference {
            return referenced(&reference);
        }
        let is_object = keywords.properties.is_some();
        let members = keywords.properties.unwrap_or_default().0;
        let mut parts = keywords.all_of.unwrap_or_default();
        let mut choices = keywords.one_of.unwrap_or_default();
        choices.retain(|choice| !matches!(choice, Self::Empty));
        match choices.len() {
            2.. if parts.is_empty() && !is_object => return Self::Other("oneOf".into()),
            2.. => {}
            _ => parts.append(&mut choices),
        }
        parts.retain(|part| !matches!(part, Self::Empty));
        if parts.len() > 1 {
            // `{"type": "object"}` beside parts that say more.
            parts.retain(|part| !matches!(part, Self::Value(FieldType::Json)));
        }
        if members.is_empty() && parts.len() == 1 {
            return parts.remove(0);
        }
        let mut object = Object::default();
        for part in parts {
            match part {
                Self::Ref(name) => object.bases.push(name),
                Self::Object(part) => {
                    object.bases.extend(part.bases);
                    object.members.extend(part.members);
                }
                _ => {}
            }
        }
        object.members.extend(members);
        if !object.members.is_empty() || !object.bases.is_empty() {
            return Self::Object(Box::new(object));
        }
        match (keywords.kind.as_ref().and_then(TypeKeyword::name), keywords.items) {
            (None | Some("array"), Some(items)) => Self::Array(Box::new(items)),
            (Some("array"), None) => Self::Array(Box::new(Self::Empty)),
            (None, None) if !is_object => Self::Empty,
            (None | Some("object"), _) => Self::Value(FieldType::Json),
            (Some(kind), _) => match scalar(kind, keywords.format.as_deref()) {
                Some(ty) => Self::Value(ty),
                None => Self::Other(cut(kind, MAX_NAME).into()),
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
        // Definitions write "double" for decimals, too.
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

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Schema;
        impl<'de> Visitor<'de> for Schema {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a schema")
            }

            /// A boolean schema: everything or nothing fits it.
            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Empty)
            }

            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Empty)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape, A::Error> {
                Keywords::deserialize(MapAccessDeserializer::new(map)).map(Shape::from)
            }
        }
        deserializer.deserialize_any(Schema)
    }
}
