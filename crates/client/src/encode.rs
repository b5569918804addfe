//! Encodes text for addresses.

pub(crate) use acumatica_pushdown::QUERY;
use percent_encoding::{AsciiSet, utf8_percent_encode};

const SEGMENT: &AsciiSet = &QUERY.add(b'/').add(b'?').add(b'{').add(b'}').add(b';').add(b'=');

pub(crate) fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A segment that means this folder or the parent, even with encoded dots (the URL Standard resolves `%2E` as well): it
/// cannot be requested.
pub(crate) fn leaving_segment(path_and_query: &str) -> Option<&str> {
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
        .find(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."))
}

/// Whether a text can be part of the path of an address. IIS refuses some characters there, and gives others a meaning.
/// something else.
pub(crate) fn fits_path(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || "/\\%&*:<>?+#\"|".contains(c);
    !text.trim().is_empty() && !text.contains(is_odd) && leaving_segment(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_are_encoded() {
        assert_eq!(encode_segment("AR-Aging by Customer"), "AR-Aging%20by%20Customer");
        assert_eq!(encode_segment("a/b?c#d&e+f%"), "a%2Fb%3Fc%23d%26e%2Bf%25");
        assert_eq!(encode_segment("Größe"), "Gr%C3%B6%C3%9Fe");
        let query = utf8_percent_encode("A eq 'O''Neill/5%+\\&#'", QUERY).to_string();
        assert_eq!(query, "A%20eq%20'O''Neill/5%25%2B%5C%26%23'");
    }

    #[test]
    fn what_iis_takes_for_something_else_does_not_stand_in_a_path() {
        for text in
            ["a/b", "a\\b", "50%", "a&b", "a?b", "a#b", "a+b", "a:b", "a*", "<a>", "\t", "", "  ", ".", ".."]
        {
            assert!(!fits_path(text), "{text}");
        }
        assert!(fits_path("O'Neill, Söhne (1).2") && fits_path("SO-000123"));
    }

    /// Issue 4.6.
    #[test]
    fn issue_4_6_no_segment_leaves_its_folder() {
        for path in ["odata/T/..", "odata/T/../X?$top=1", "t/%2E%2e/api", "entity/./X", "a/.%2E", "a/..\\b"] {
            assert!(leaving_segment(path).is_some(), "{path}");
        }
        for path in
            ["odata/T/...", "odata/T/a..b", "entity/X?$filter=A eq '../..'", "a/%252E%252E", "a//b", ""]
        {
            assert_eq!(leaving_segment(path), None, "{path}");
        }
    }
}
