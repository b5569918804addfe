//! OData `$metadata`: the definitions of generic inquiries and data access classes (docs/acumatica.md section 3).
//!
//! The document is read as it arrives ([`reader`]), in two steps. [`document`] collects everything that may be needed,
//! since types come before the sets that use them; [`assemble`] makes the sets that are wanted.

mod annotations;
mod assemble;
mod document;
mod names;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use quick_xml::events::Event;
use tokio::io::AsyncBufRead;

use crate::catalog::{EntitySet, FieldType, Model};
use crate::error::{Error, ErrorKind, Result};

/// The longest name in bytes. No known remote name comes near it.
const MAX_NAME: usize = 1_000;
const MAX_FAULTS: usize = 1_000;

/// Reads the document. A set is kept if one of its names, full or short, is `wanted`.
///
/// Names may contain what CSDL and even XML forbid (docs/acumatica.md section 3); text that cannot be unescaped is kept
/// as it stands. Entities that a document defines are not expanded.
///
/// # Errors
/// The document is not OData's XML in UTF-8, is larger than the limits, or breaks off.
pub(crate) async fn parse(
    document: impl AsyncBufRead + Unpin,
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Model> {
    let mut source = reader::Source::new(document);
    let mut document = document::Document::default();
    loop {
        match source.next().await? {
            Event::Eof => break,
            event => document.read(&event)?,
        }
    }
    document.end()?;
    assemble::model(document, wanted)
}

/// The class of this name, if there is also a set of this name for another class: it is not known which one is meant.
pub(crate) fn rival<'a>(model: &'a Model, name: &str) -> Option<&'a EntitySet> {
    let found = find(model, name)?;
    let is = |set: &&EntitySet| set.class.as_deref().is_some_and(|class| class.eq_ignore_ascii_case(name));
    if is(&found) || found.name.eq_ignore_ascii_case(name) {
        return None;
    }
    model.sets.iter().find(is)
}

/// The set of this name, with the same case if there is one.
pub(crate) fn find<'a>(model: &'a Model, name: &str) -> Option<&'a EntitySet> {
    let named = |fits: &dyn Fn(&str) -> bool| {
        let by_name = model.sets.iter().find(|set| fits(&set.name));
        by_name.or_else(|| model.sets.iter().find(|set| set.aliases.iter().any(|alias| fits(alias))))
    };
    let folded = name.to_lowercase();
    named(&|known| known == name).or_else(|| named(&|known| known.to_lowercase() == folded))
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

/// The type of the items of a collection.
fn items(name: &str) -> Option<&str> {
    name.strip_prefix("Collection(")?.strip_suffix(')')
}

/// A type of OData itself; v3 may leave out `Edm.`.
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
        "TimeOfDay" => FieldType::Time,
        // `Time` is of version 3, `Duration` of version 4. Both are written as ISO 8601 durations (`PT8H`), which
        // interval reads.
        "Time" | "Duration" => FieldType::Interval,
        "Binary" => FieldType::Bytes,
        "Stream" => FieldType::Text,
        "Guid" => FieldType::Uuid,
        "Untyped" | "ComplexType" => FieldType::Json,
        shape if shape.starts_with("Geography") || shape.starts_with("Geometry") => FieldType::Json,
        _ => return None,
    })
}

/// What was left out, and why, in words for people.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(text());
        }
    }
}

/// The index of each declared element in its list, by the name with the namespace and by the name alone.
struct Index(HashMap<Box<str>, usize>);

impl Index {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut places = HashMap::new();
        for (at, name) in names.enumerate() {
            places.insert(name.into(), at);
            places.entry(short(name).into()).or_insert(at);
        }
        Self(places)
    }

    /// Looks for the full name first, then for the name alone: documents use aliases of namespaces.
    fn find(&self, name: &str) -> Option<usize> {
        let name = items(name).unwrap_or(name);
        self.0.get(name).or_else(|| self.0.get(short(name))).copied()
    }
}
