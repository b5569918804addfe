//! The service document: the names of the sets that an instance has.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// The longest name that is kept, in bytes. A longer one is no name of a set.
const LONGEST_NAME: usize = 1000;

/// The names of the sets. OData v4 writes them as JSON, `{"value":[{"name":…}]}`; v3 as Atom, unless the server honours
/// `$format=json` (docs/acumatica.md 3.1, recorded on 2019 R2).
///
/// # Errors
/// The document is neither.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<String>> {
    let names = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'<') => atom(body),
        _ => json(body),
    };
    let mut names = names.map_err(|reason| {
        Error::new(ErrorKind::Protocol, "could not read the list of inquiries or data access classes")
            .detail(reason)
            .hint("Check the server options \"url\" and \"company\".")
    })?;
    names.retain(|name| name.len() <= LONGEST_NAME);
    Ok(names)
}

fn json(body: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Set {
        name: String,
        #[serde(default)]
        kind: Option<String>,
    }
    #[derive(Deserialize)]
    struct Service {
        value: Vec<Set>,
    }
    let service: Service = serde_json::from_slice(body).map_err(|reason| reason.to_string())?;
    let is_set = |set: &Set| set.kind.as_deref().is_none_or(|kind| kind == "EntitySet");
    Ok(service.value.into_iter().filter(is_set).map(|set| set.name).collect())
}

/// `<service><workspace><collection href="Stock%20Items"><title>Stock Items</title></collection>…`: requests use the
/// address of the set, people read its title.
fn atom(body: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = Reader::from_reader(body);
    let mut names = Vec::new();
    let (mut buffer, mut is_service, mut depth) = (Vec::new(), false, 0_usize);
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(|reason| reason.to_string())?;
        let opens = matches!(event, Event::Start(_));
        match event {
            Event::Start(element) | Event::Empty(element) => {
                depth += usize::from(opens);
                match element.local_name().as_ref() {
                    "service" => is_service = true,
                    "collection" => {
                        let mut attributes = element.attributes();
                        let href = attributes.find_map(|attribute| {
                            attribute.ok().filter(|attribute| attribute.key.local_name().as_ref() == "href")
                        });
                        let href = href.ok_or("a collection has no address")?;
                        let href = href
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .map_err(|reason| reason.to_string())?;
                        names.push(name_in(&href)?);
                    }
                    _ => {}
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => break,
            _ => {}
        }
        buffer.clear();
    }
    match is_service {
        true if depth > 0 => Err("it ends early".into()),
        true => Ok(names),
        false => Err("it is XML and no service document".into()),
    }
}

/// The last segment of an address, decoded.
fn name_in(href: &str) -> Result<String, String> {
    let segment = href.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|reason| reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_documents_of_both_versions() {
        let v4 = br#"{"@odata.context":"x","value":[{"name":"A-B c","kind":"EntitySet","url":"A-B%20c"},
            {"name":"F","kind":"FunctionImport","url":"F"}]}"#;
        assert_eq!(parse(v4).unwrap(), ["A-B c"]);
        assert_eq!(parse(br#"{"value":[{"name":"A","url":"A"}]}"#).unwrap(), ["A"]);
    }

    /// Issue 2.8.
    #[test]
    fn issue_2_8_a_service_document_of_v3_is_atom() {
        let atom = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
            <service xml:base=\"http://h/S/odata/\" xmlns=\"http://www.w3.org/2007/app\" xmlns:atom=\"http://www.w3.org/2005/Atom\">\
            <workspace><atom:title type=\"text\">Default</atom:title>\
            <collection href=\"Stock%20Items%20%26%20more\"><atom:title type=\"text\">Stock Items &amp; more</atom:title></collection>\
            <app:collection xmlns:app=\"http://www.w3.org/2007/app\" href=\"http://h/S/odata/AR-Aging/\"/>\
            <collection href='A&amp;B'><atom:title>x</atom:title></collection></workspace></service>";
        assert_eq!(parse(atom.as_bytes()).unwrap(), ["Stock Items & more", "AR-Aging", "A&B"]);
        for bad in [
            "<html><body>x</body></html>",
            "<service><workspace>",
            "<service><collection/></service>",
            "",
            "\"x\"",
        ] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().kind, ErrorKind::Protocol, "{bad}");
        }
    }
}
