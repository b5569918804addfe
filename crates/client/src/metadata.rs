//! OData `$metadata`: what one entity set is.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::HashMap;
use tokio::io::AsyncBufRead;

use crate::error::{Error, ErrorKind, Result};

/// A hundred times the names of the largest document known.
const MAX_NAMES: usize = 200_000;

/// What the document says of an entity set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntitySet {
    /// Empty if the set has no key or is not listed.
    pub key: Vec<String>,
    /// It is read through `{name}_WithParameters(…)`; read plainly it is silently empty.
    pub has_parameters: bool,
}

/// Finds the entity set `name`, reading the document as it arrives.
///
/// The document may hold names that CSDL forbids (acumatica-api.md section 3), so nothing but the
/// few elements needed is looked at.
///
/// # Errors
/// Not XML, or not to be read to its end.
pub(crate) async fn entity_set(document: impl AsyncBufRead + Unpin, name: &str) -> Result<EntitySet> {
    let mut reader = Reader::from_reader(document);
    reader.config_mut().check_end_names = false;
    let mut buffer = Vec::new();
    let mut keys: HashMap<String, Vec<String>> = HashMap::new();
    let mut sets: HashMap<String, String> = HashMap::new();
    let parameterised = format!("{name}_WithParameters");
    let mut has_parameters = false;
    let mut namespace = String::new();
    let mut entity_type: Option<String> = None;
    let mut in_key = false;
    // Elements open, once there was one: a document that was cut off must not pass for one without a key.
    let mut open: Option<usize> = None;
    loop {
        buffer.clear();
        let event = reader.read_event_into_async(&mut buffer).await.map_err(unread)?;
        match &event {
            Event::Start(_) => *open.get_or_insert(0) += 1,
            Event::End(_) => open = open.map(|depth| depth.saturating_sub(1)),
            _ => {}
        }
        match &event {
            Event::Start(element) | Event::Empty(element) => match element.local_name().as_ref() {
                "Schema" => namespace = attribute(element, "Namespace")?.unwrap_or_default(),
                "EntityType" => {
                    entity_type = attribute(element, "Name")?.map(|name| format!("{namespace}.{name}"));
                }
                "Key" => in_key = true,
                "PropertyRef" if in_key => {
                    if let (Some(holder), Some(field)) = (&entity_type, attribute(element, "Name")?) {
                        keys.entry(holder.clone()).or_default().push(field);
                    }
                }
                "EntitySet" => {
                    if let (Some(set), Some(of)) =
                        (attribute(element, "Name")?, attribute(element, "EntityType")?)
                    {
                        sets.insert(set, of);
                    }
                }
                "Function" | "FunctionImport" => {
                    let called = attribute(element, "Name")?;
                    has_parameters |=
                        called.is_some_and(|called| called.eq_ignore_ascii_case(&parameterised));
                }
                _ => {}
            },
            Event::End(element) => match element.local_name().as_ref() {
                "EntityType" => entity_type = None,
                "Key" => in_key = false,
                _ => {}
            },
            Event::Eof if open == Some(0) => break,
            Event::Eof => return Err(malformed("It ends early.")),
            _ => {}
        }
        if keys.len() + sets.len() > MAX_NAMES {
            return Err(malformed("It has too many names."));
        }
    }
    let of = sets
        .get(name)
        .or_else(|| sets.iter().find(|(set, _)| set.eq_ignore_ascii_case(name)).map(|(_, of)| of));
    // `EntityType="Namespace.Type"`, or an alias in place of the namespace.
    let short = |name: &str| name.rsplit_once('.').map_or(name, |(_, short)| short).to_owned();
    let of = of.map(|of| match keys.contains_key(of) {
        true => of.clone(),
        false => keys.keys().find(|declared| short(declared) == short(of)).cloned().unwrap_or_default(),
    });
    Ok(EntitySet { key: of.and_then(|of| keys.remove(&of)).unwrap_or_default(), has_parameters })
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    match element.try_get_attribute(name).map_err(malformed)? {
        Some(attribute) => Ok(Some(
            attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(malformed)?.into_owned(),
        )),
        None => Ok(None),
    }
}

/// A document that could not be read to its end: the connection says why, if it was that.
fn unread(reason: quick_xml::Error) -> Error {
    let cause = match &reason {
        quick_xml::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned(),
        _ => None,
    };
    cause.unwrap_or_else(|| malformed(reason))
}

fn malformed(reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, "could not read the $metadata of the instance")
        .detail(reason)
        .hint("Give the option \"key\" to the columns that identify a row; then it is not needed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0"?><edmx:Edmx xmlns:edmx="e" Version="4.0"><edmx:DataServices>
        <Schema Namespace="PX.Data"><EntityType Name="ARAging"><Key><PropertyRef Name="Customer"/>
        <PropertyRef Name="RefNbr_2"/></Key><Property Name="Customer" Type="Edm.String"/></EntityType>
        <EntityType Name="Bare"><Property Name="X" Type="Edm.String"/></EntityType>
        <Function Name="A&amp;B &lt;odd&gt;"/><Function Name="Bare_WithParameters"/><EntityContainer Name="Default">
        <EntitySet Name="AR-Aging by Customer" EntityType="PX.Data.ARAging"/>
        <EntitySet Name="Bare" EntityType="PX.Data.Bare"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"#;

    fn key(document: &str, name: &str) -> Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(entity_set(document.as_bytes(), name)).map(|set| set.key)
    }

    #[test]
    fn the_set_keeps_its_spaces_and_the_type_drops_them() {
        assert_eq!(key(DOCUMENT, "AR-Aging by Customer").unwrap(), ["Customer", "RefNbr_2"]);
    }

    #[test]
    fn a_set_with_parameters_has_a_function_beside_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let of = |name| runtime.block_on(entity_set(DOCUMENT.as_bytes(), name)).unwrap().has_parameters;
        assert!(of("Bare"));
        assert!(!of("AR-Aging by Customer"));
    }

    #[test]
    fn no_key_or_no_set_is_an_empty_key() {
        assert!(key(DOCUMENT, "Bare").unwrap().is_empty());
        assert!(key(DOCUMENT, "Nothing").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        assert_eq!(key("", "X").unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(key("{\"error\":1}", "X").unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(key(&DOCUMENT[..DOCUMENT.len() - 20], "Bare").unwrap_err().kind, ErrorKind::Protocol);
    }
}
