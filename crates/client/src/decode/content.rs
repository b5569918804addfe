//! Hashes the content of a row, without the parts that differ between two answers with the same row.

use std::hash::Hasher;

use super::error::Fault;
use super::scan::{members, peek, skip, space};

/// Hashes a record of the contract REST without its ids, row numbers and links: entities without NoteID, results of
/// inquiries and many details get a new id in each answer, and `rowNumber` begins with 1 in each (docs/acumatica.md
/// section 2). With `without_custom`, its custom fields are left out as well, since requests for different ones are to
/// find the same record. Ids of files and codes of drop-downs are values, and stay.
///
/// Bytes that are no JSON are hashed up to the first error.
pub(crate) fn content(record: &[u8], without_custom: bool, hasher: &mut impl Hasher) {
    let mut walk = Walk { record, without_custom, hasher };
    let _ = walk.value(space(record, 0), Within::Record, 0);
}

/// The kind of parent of an object or array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Record,
    /// The value of a field.
    Value,
    Files,
}

struct Walk<'a, H> {
    record: &'a [u8],
    without_custom: bool,
    hasher: &'a mut H,
}

impl<H: Hasher> Walk<'_, H> {
    fn value(&mut self, at: usize, place: Within, depth: u32) -> Result<usize, Fault> {
        let record = self.record;
        match peek(record, at) {
            b'{' if depth < super::scan::MAX_DEPTH => {
                self.hasher.write_u8(b'{');
                let end = members(record, at, |name, at| self.member(name, at, place, depth))?;
                self.hasher.write_u8(b'}');
                Ok(end)
            }
            b'[' if depth < super::scan::MAX_DEPTH => {
                self.hasher.write_u8(b'[');
                let mut at = space(record, at + 1);
                while peek(record, at) != b']' {
                    at = space(record, self.value(at, place, depth + 1)?);
                    match peek(record, at) {
                        b',' => at = space(record, at + 1),
                        b']' => {}
                        _ => return Err(Fault::malformed("a comma or the end of the array", at)),
                    }
                }
                self.hasher.write_u8(b']');
                Ok(at + 1)
            }
            _ => {
                let end = skip(record, at)?;
                self.hasher.write(&record[at..end]);
                self.hasher.write_u8(b',');
                Ok(end)
            }
        }
    }

    fn member(&mut self, name: &[u8], at: usize, place: Within, depth: u32) -> Result<usize, Fault> {
        let is_text = peek(self.record, at) == b'"';
        let differs = match (place, name) {
            (Within::Record, b"id") => is_text,
            (Within::Record, b"rowNumber" | b"_links") => true,
            (Within::Record, b"custom") => self.without_custom,
            (Within::Files, b"href") => true,
            _ => false,
        };
        if differs {
            return skip(self.record, at);
        }
        self.hasher.write(name);
        self.hasher.write_u8(b':');
        let inner = match (place, name) {
            (Within::Record, b"value") => Within::Value,
            (Within::Record, b"files") => Within::Files,
            _ => place,
        };
        self.value(at, inner, depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use super::*;

    fn hash(record: &str, without_custom: bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        content(record.as_bytes(), without_custom, &mut hasher);
        hasher.finish()
    }

    #[test]
    fn issue_12_2_4_ids_and_row_numbers_are_no_content() {
        let row = |id: &str, number: u32, status: &str, file: &str| {
            format!(
                r#"{{"id":"{id}","rowNumber":{number}, "Status":{{"value":{{"id":"{status}"}}}},
                    "Details":[{{"id":"{id}","rowNumber":{number},"Qty":{{"value":1.0}}}}],
                    "_links":{{"self":"/{id}"}},"files":[{{"id":"{file}","href":"/{id}"}}]}}"#
            )
        };
        let one = hash(&row("a", 1, "CL", "f"), false);
        assert_eq!(one, hash(&row("b", 7, "CL", "f"), false));
        assert_ne!(one, hash(&row("a", 1, "OP", "f"), false));
        assert_ne!(one, hash(&row("a", 1, "CL", "g"), false));
        assert_ne!(one, hash(&row("a", 1, "CL", "f").replace("1.0", "2.0"), false));
        // White space does not count.
        assert_eq!(one, hash(&row("a", 1, "CL", "f").replace(", ", ","), false));
        // A field with the name of a system member.
        assert_ne!(hash(r#"{"id":{"value":1}}"#, false), hash(r#"{"id":{"value":2}}"#, false));
    }

    #[test]
    fn custom_fields_can_be_left_out() {
        let row =
            |value: u32| format!(r#"{{"A":{{"value":1}},"custom":{{"V":{{"U":{{"value":{value}}}}}}}}}"#);
        assert_ne!(hash(&row(1), false), hash(&row(2), false));
        assert_eq!(hash(&row(1), true), hash(&row(2), true));
    }
}
