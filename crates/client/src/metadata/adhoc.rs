//! The custom fields of an entity: `GET /entity/{Endpoint}/{Version}/{Entity}/$adHocSchema`.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::catalog::{CustomField, FieldType};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::openapi::simple_type;

/// How deep records may be nested.
const MAX_DEPTH: usize = 8;
const MAX_FIELDS: usize = 10_000;
/// The limit for the names of all fields, with the names of the links and details that lead to them, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Members of every record that are no records.
const SYSTEM: [&str; 6] = ["id", "rowNumber", "note", "error", "files", "_links"];

/// Reads the template record of an entity. The fields come in the order of the document, each once.
///
/// Custom fields are members of the record itself, of linked records and of details (docs/acumatica.md section 2).
///
/// # Errors
/// The document is not JSON in UTF-8, is no record, or has more than 10,000 fields.
pub(crate) fn parse(document: &[u8]) -> Result<Vec<CustomField>> {
    let text = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    // A value that is no record would look like a record without custom fields.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("It is not a JSON object."));
    }
    let mut found = Collected::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Record { found: &mut found }.deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    Ok(found.fields)
}

fn malformed(reason: impl fmt::Display) -> Error {
    let reason = reason.to_string();
    Error::new(ErrorKind::Protocol, "could not read the custom fields of the entity")
        .detail(&reason[..reason.floor_char_boundary(300)])
        .hint("Name the custom fields in the option \"field\" of columns; then their list is not needed.")
}

#[derive(Default)]
struct Collected {
    fields: Vec<CustomField>,
    /// A detail may have several template rows.
    known: HashSet<(Vec<String>, String, String)>,
    bytes: usize,
    /// The way to the record that is being read.
    within: Vec<String>,
}

impl Collected {
    fn add(&mut self, view: &str, name: String, ty: FieldType) -> Result<(), &'static str> {
        let key = (self.within.clone(), view.to_owned(), name);
        if self.known.contains(&key) {
            return Ok(());
        }
        self.bytes += key.0.iter().map(String::len).sum::<usize>() + view.len() + key.2.len();
        if self.fields.len() == MAX_FIELDS || self.bytes > MAX_BYTES {
            return Err("it has more than 10,000 custom fields");
        }
        self.known.insert(key.clone());
        let (within, view, name) = key;
        self.fields.push(CustomField { within, view, name, ty });
        Ok(())
    }
}

/// Reads a record or a list of records. Other values have no custom fields.
struct Record<'f> {
    found: &'f mut Collected,
}

/// Reads what is in `custom`, or in one view of it.
struct Custom<'f> {
    found: &'f mut Collected,
    view: Option<String>,
}

macro_rules! ignore_scalars {
    () => {
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    ignore_scalars!();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Record { found: &mut *self.found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let found = self.found;
        while let Some(name) = map.next_key::<String>()? {
            if name == "custom" {
                map.next_value_seed(Custom { found: &mut *found, view: None })?;
            } else if SYSTEM.contains(&&*name) || found.within.len() == MAX_DEPTH {
                map.next_value::<IgnoredAny>()?;
            } else {
                found.within.push(name);
                map.next_value_seed(Record { found: &mut *found })?;
                found.within.pop();
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Custom<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Custom<'_> {
    type Value = ();

    ignore_scalars!();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("custom fields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Field {
            #[serde(rename = "type")]
            ty: Option<String>,
        }
        while let Some(name) = map.next_key::<String>()? {
            match &self.view {
                None => map.next_value_seed(Custom { found: &mut *self.found, view: Some(name) })?,
                Some(view) => {
                    let field: Option<Field> = map.next_value()?;
                    let ty = field.and_then(|field| field.ty);
                    let ty = ty.as_deref().and_then(field_type).unwrap_or(FieldType::Text);
                    self.found.add(view, name, ty).map_err(A::Error::custom)?;
                }
            }
        }
        Ok(())
    }
}

/// `Decimal` of `CustomDecimalField`.
fn field_type(name: &str) -> Option<FieldType> {
    simple_type(name.strip_prefix("Custom")?.strip_suffix("Field")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(document: &str) -> Vec<(String, FieldType)> {
        let name = |field: CustomField| {
            let path = [field.within, vec![field.view, field.name]].concat();
            (path.join("/"), field.ty)
        };
        parse(document.as_bytes()).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn fields_of_the_record_of_links_and_of_details() {
        let found = fields(
            r#"{"id":"6a3f0e52","note":{"custom":{"X":{"Y":{}}}},"Hold":{"value":true},
            "Details":[{"custom":{"Transactions":{"UsrA":{"type":"CustomIntField"}}}},
                       {"custom":{"Transactions":{"UsrA":{"type":"CustomIntField"},"UsrB":{"type":"?"}}}}],
            "Contact":{"Address":{"custom":{"Address":{"UsrC":{"type":"CustomGuidField","value":null}}}},"custom":null},
            "custom":{"Document":{"UsrD":{"type":"CustomStringField","value":"x"},"UsrE":{"type":"CustomBooleanField"}}}}"#,
        );
        let expected = [
            ("Details/Transactions/UsrA", FieldType::Int4),
            ("Details/Transactions/UsrB", FieldType::Text),
            ("Contact/Address/Address/UsrC", FieldType::Uuid),
            ("Document/UsrD", FieldType::Text),
            ("Document/UsrE", FieldType::Bool),
        ];
        assert_eq!(found, expected.map(|(name, ty)| (name.to_owned(), ty)));
    }

    #[test]
    fn types_by_their_names() {
        let types = [
            ("String", FieldType::Text),
            ("Decimal", FieldType::Numeric),
            ("Double", FieldType::Float8),
            ("Int", FieldType::Int4),
            ("Short", FieldType::Int2),
            ("Long", FieldType::Int8),
            ("Byte", FieldType::Int2),
            ("Boolean", FieldType::Bool),
            ("DateTime", FieldType::TimestampTz),
            ("Guid", FieldType::Uuid),
            ("New", FieldType::Text),
        ];
        for (name, ty) in types {
            let document = format!(r#"{{"custom":{{"V":{{"F":{{"type":"Custom{name}Field"}}}}}}}}"#);
            assert_eq!(fields(&document), [("V/F".to_owned(), ty)], "{name}");
        }
    }

    #[test]
    fn a_record_without_custom_fields() {
        assert_eq!(fields("\u{feff}{\"custom\":{},\"Details\":[]}"), []);
        assert_eq!(fields(r#"{"custom":[1,{}],"A":[[{}]],"B":-1.5}"#), []);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for document in
            ["", "<html></html>", "[]", "null", r#"{"custom":{"V":{"F":{"type":"#, "{} {}", "{\"a\":\u{1}}"]
        {
            assert_eq!(parse(document.as_bytes()).unwrap_err().kind, ErrorKind::Protocol, "{document}");
        }
        assert_eq!(parse(b"{\"K\xf6ln\":1}").unwrap_err().kind, ErrorKind::Protocol);
        let long = format!(r#"{{"custom":{{"V":{{"F":"{}"}}}}}}"#, "x".repeat(1 << 20));
        assert!(parse(long.as_bytes()).unwrap_err().detail.unwrap().len() <= 300);
    }

    #[test]
    fn too_deep_is_left_out() {
        let nested = |depth| {
            let inner = r#"{"custom":{"V":{"F":{"type":"CustomIntField"}}}}"#;
            format!("{}{inner}{}", "{\"A\":".repeat(depth), "}".repeat(depth))
        };
        assert_eq!(fields(&nested(8)).len(), 1);
        assert_eq!(fields(&nested(9)).len(), 0);
        assert_eq!(fields(&nested(100_000)).len(), 0);
    }

    #[test]
    fn too_many_fields_are_an_error() {
        let with = |count: usize| {
            let fields: Vec<String> = (0..count).map(|field| format!("\"F{field}\":{{}}")).collect();
            parse(format!(r#"{{"custom":{{"V":{{{}}}}}}}"#, fields.join(",")).as_bytes())
        };
        assert_eq!(with(MAX_FIELDS).unwrap().len(), MAX_FIELDS);
        assert_eq!(with(MAX_FIELDS + 1).unwrap_err().kind, ErrorKind::Protocol);
    }
}
