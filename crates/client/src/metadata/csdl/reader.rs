//! Reads the XML of the document event by event. No more than one event, of limited length, is in memory.

use quick_xml::escape::{EscapeError, resolve_predefined_entity};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use tokio::io::{AsyncBufRead, AsyncReadExt, Take};

use super::{Faults, malformed, shown};
use crate::error::{Error, Result};

/// The largest document in bytes: ten times the largest one known.
const MAX_DOCUMENT: u64 = 256 << 20;
/// The largest tag, text or comment in bytes.
pub(super) const MAX_EVENT: u64 = 1 << 20;

pub(super) struct Source<R> {
    reader: Reader<Take<R>>,
    buffer: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Source<R> {
    pub(super) fn new(document: R) -> Self {
        let mut reader = Reader::from_reader(document.take(MAX_EVENT));
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_dangling_amp = true;
        Self { reader, buffer: Vec::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Event<'_>> {
        self.buffer.clear();
        self.reader.get_mut().set_limit(MAX_EVENT);
        let event = self.reader.read_event_into_async(&mut self.buffer).await;
        if self.reader.get_ref().limit() == 0 {
            return Err(malformed("It has a tag, text or comment that is longer than 1 MiB."));
        }
        if self.reader.buffer_position() > MAX_DOCUMENT {
            return Err(malformed("It is larger than 256 MiB."));
        }
        let event = event.map_err(unread)?;
        if let Event::Decl(declaration) = &event
            && let Some(Ok(name)) = declaration.encoding()
            && !["UTF-8", "US-ASCII"].iter().any(|ok| ok.eq_ignore_ascii_case(&name))
        {
            let name = shown(&name);
            return Err(malformed(format!("It is encoded in {name}; only UTF-8 is supported.")));
        }
        Ok(event)
    }
}

/// The error for a document that breaks off. If the connection broke, that error is used.
fn unread(reason: quick_xml::Error) -> Error {
    let cause = match &reason {
        quick_xml::Error::Io(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned(),
        _ => None,
    };
    cause.unwrap_or_else(|| malformed(reason))
}

/// The value of an attribute, as it stands if it cannot be unescaped.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str, faults: &mut Faults) -> Option<String> {
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
                undefined(entity, faults);
            }
            Some(found.value.into_owned())
        }
    }
}

/// What a reference such as `&amp;` or `&#33;` in a text stands for.
pub(super) fn expand(reference: &BytesRef<'_>, faults: &mut Faults) -> String {
    let name = reference.xml10_content();
    match (resolve_predefined_entity(&name), reference.resolve_char_ref()) {
        (Some(text), _) => text.to_owned(),
        (None, Ok(Some(character))) => character.to_string(),
        _ => {
            undefined(&name, faults);
            String::new()
        }
    }
}

fn undefined(entity: &str, faults: &mut Faults) {
    faults.add(|| format!("the entity \"&{};\" is not expanded", shown(entity)));
}
