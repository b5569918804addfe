//! The definition of a contract endpoint: `GET /entity/{Endpoint}/{Version}/swagger.json`.
//!
//! Swagger 2.0 and OpenAPI 3 hold the same schemas in different places ([`document`]). Each schema is reduced to a
//! [`shape`] while it is read, so that the memory for a document of megabytes is little more than its names.
//! [`schemas`] then finds the entities and the types of their members.

mod document;
mod named;
mod schemas;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::catalog::{Contract, Entity, FieldType};
use crate::error::{Error, ErrorKind, Result};

/// The longest name in bytes. No known remote name comes near it.
const MAX_NAME: usize = 1_000;

/// Reads the definition of an endpoint.
///
/// # Errors
/// The document is not JSON in UTF-8, has no entities, or its schemas include each other so often that the types would
/// need much more memory than the document.
pub(crate) fn parse(document: &[u8]) -> Result<Contract> {
    let text = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let document: document::Document = serde_json::from_slice(text).map_err(malformed)?;
    let number = document.info.and_then(|info| number(info.version?.get())).unwrap_or(4);
    let components = document.components.unwrap_or_default();
    let shapes = [document.definitions, components.schemas];
    let shapes = shapes.into_iter().flatten().flat_map(|named| named.0).collect();
    let answers = [document.responses, components.responses, components.bodies];
    let answers = answers.into_iter().flatten().flat_map(|named| named.0).collect();
    let titles: HashMap<_, _> =
        document.tags.into_iter().flatten().filter_map(|tag| Some((tag.name?, tag.description?))).collect();

    let mut schemas = schemas::Schemas::new(&shapes, text.len());
    let mut entities = Vec::new();
    let mut known = HashSet::new();
    for (name, path) in document.paths.unwrap_or_default().0 {
        if let Some(type_name) = schemas.entity_type(&name, &path, &answers)?
            && known.insert(name.clone())
        {
            let title = titles.get(&name).map(|title| cut(title.trim(), MAX_NAME).to_owned());
            let title = title.filter(|title| !title.is_empty());
            entities.push(Entity { name: name.into(), type_name, title });
        }
    }
    if entities.is_empty() {
        return Err(malformed("It defines no entities."));
    }
    let types = schemas.types(&entities)?;
    Ok(Contract { number, entities, types })
}

/// The type of a wrapper's value by the first word of the wrapper's name: `Decimal` of `DecimalValue` and of
/// `CustomDecimalField` (docs/acumatica.md section 2). Case does not matter.
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

/// A step of a JSON pointer in a URL.
fn unescape(step: &str) -> Box<str> {
    percent_decode_str(step).decode_utf8_lossy().replace("~1", "/").replace("~0", "~").into()
}
