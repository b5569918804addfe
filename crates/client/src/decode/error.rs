//! Why a row could not be decoded.

use super::ColumnType;
use thiserror::Error;

/// What is wrong with a value. The messages are lower-case sentences without the value, which [`DecodeError`] holds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The row is not JSON; names what was expected where it stops being JSON.
    #[error("malformed JSON: expected {0}")]
    Malformed(&'static str),
    /// More than 128 objects and arrays inside each other.
    #[error("malformed JSON: nested more than 128 levels deep")]
    TooDeep,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8 in text")]
    InvalidUtf8,
    /// U+0000, as an escape or as a byte.
    #[error("text contains the character \\u0000, which PostgreSQL cannot store")]
    NulCharacter,
    /// Half of a surrogate pair.
    #[error("text contains an unpaired surrogate escape")]
    LoneSurrogate,
    /// A number or string that does not read as the type.
    #[error("invalid input syntax for type {0}")]
    Syntax(ColumnType),
    /// Read well, but too large, too small or not in the calendar.
    #[error("value out of range for type {0}")]
    OutOfRange(ColumnType),
    /// Digits other than 0 behind the decimal point.
    #[error("value has a fraction and cannot be read as type {0}")]
    Fraction(ColumnType),
    /// A moment where a day belongs.
    #[error("value has a time of day and cannot be read as type {0}")]
    TimeOfDay(ColumnType),
    /// A number where the type takes strings only.
    #[error("a number cannot be read as type {0}")]
    Number(ColumnType),
    /// `true` or `false`.
    #[error("a boolean cannot be read as type {0}")]
    Boolean(ColumnType),
    /// An object that is no `{"value": …}` wrapper.
    #[error("an object cannot be read as type {0}")]
    Object(ColumnType),
    /// An array where one value belongs.
    #[error("an array cannot be read as type {0}")]
    Array(ColumnType),
    /// Something above the last step of the path is an array.
    #[error("the path of the column leads through an array")]
    ThroughArray,
    /// Something above the last step of the path is a string, number or boolean.
    #[error("the path of the column leads through a value that is not an object")]
    ThroughScalar,
    /// The server sent an error in the place of a row; the value is all of it.
    #[error("the server reports an error in the place of a row")]
    Reported,
    /// Spans are 32 bits wide.
    #[error("more than 4 GiB of text in one batch of rows")]
    BatchFull,
}

impl DecodeErrorKind {
    /// What the owner of the foreign table can do about it.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Object(_) | Self::Array(_) => {
                Some("Give the column the type jsonb, or a path to one field inside.")
            }
            Self::ThroughArray => Some("Map the array itself to a column of type jsonb."),
            _ => None,
        }
    }
}

/// A row that could not be decoded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind}: {value:?}")]
pub struct DecodeError {
    /// Index of the column that could not be filled; `None` if the row as such is at fault.
    pub column: Option<usize>,
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// The first 60 characters of the value as it was received, without the quotes of a string; all of an error in the
    /// place of a row.
    pub value: String,
}

/// How much is kept of an error in the place of a row.
pub(super) const REPORT_CHARS: usize = 64 << 10;

/// The row stops being JSON at byte `at`.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: DecodeErrorKind,
    pub at: usize,
}

impl Fault {
    #[cold]
    pub(super) fn malformed(expected: &'static str, at: usize) -> Self {
        Self { kind: DecodeErrorKind::Malformed(expected), at }
    }
}

/// The first `chars` characters of `bytes`, which need not be UTF-8.
pub(super) fn excerpt(bytes: &[u8], chars: usize) -> String {
    let bytes = &bytes[..bytes.len().min(4 * chars)];
    String::from_utf8_lossy(bytes).chars().take(chars).collect()
}
