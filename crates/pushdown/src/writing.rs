//! How conditions are written for a server, and how much room they have in a request.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::class::Dialect;

/// What is percent-encoded in a query: all but what RFC 3986 allows there; `+` and `&` and `#` have a meaning of their own.
pub const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'%')
    .add(b'+')
    .add(b'&')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'|');

/// The characters, percent-encoded, that conditions may take in any request: the fields and the page find room beside them.
pub const MOST_CHARACTERS: usize = 1_000;

/// How conditions are written for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// The dialect of the server.
    pub dialect: Dialect,
    /// The characters, percent-encoded, that conditions may take in a request.
    pub room: usize,
    /// The fields, by their paths with `/` between names, that the server was seen to compare with a list of values by `in`.
    pub lists: Vec<String>,
}

impl Writing {
    /// What every server takes.
    pub fn plain(dialect: Dialect) -> Self {
        Self { dialect, room: MOST_CHARACTERS, lists: Vec::new() }
    }
}

/// A condition as it is written.
pub(crate) struct Written {
    pub text: String,
    /// The server's answer to it is PostgreSQL's answer to the whole condition.
    pub exact: bool,
}

/// The characters that a text takes in a query. Quotes are encoded too where the address is parsed
/// (<https://url.spec.whatwg.org/#special-query-percent-encode-set>).
pub fn encoded_length(text: &str) -> usize {
    const SENT: &AsciiSet = &QUERY.add(b'\'');
    utf8_percent_encode(text, SENT).map(str::len).sum()
}

/// Conditions of which one must be met.
pub(crate) fn alternatives(texts: &[String]) -> Option<String> {
    match texts {
        [] => None,
        [one] if one.starts_with('(') => Some(one.clone()),
        all => Some(format!("({})", all.join(" or "))),
    }
}

/// The largest number up to `most` that `fits`, if each smaller one does too; at least one.
pub fn largest(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut least, mut most) = (1, most.max(1));
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        match fits(middle) {
            true => least = middle,
            false => most = middle - 1,
        }
    }
    least
}
