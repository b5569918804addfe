//! From the bytes of a response to typed columns, without a tree in between.
//!
//! [`RowSplitter`] finds the rows in the body while it arrives, [`RowDecoder`] takes the wanted fields out of each row
//! and appends them to a [`Batch`]. Nothing is kept of what nobody asked for.
//!
//! ```
//! use acumatica_client::decode::*;
//! let columns = [Column { name: "city".into(), path: vec!["Address".into(), "City".into()], ty: ColumnType::Text }];
//! let (mut decoder, mut batch) = (RowDecoder::new(&columns, &[]), Batch::new(1));
//! let mut splitter = RowSplitter::new(1 << 20);
//! for chunk in [r#"[{"Address":{"Ci"#, r#"ty":{"value":"Köln"}}}]"#] {
//!     splitter.push(chunk.as_bytes());
//!     while let Some(row) = splitter.next_row().unwrap() {
//!         decoder.decode(row, &mut batch).unwrap();
//!     }
//! }
//! assert_eq!(splitter.finish().unwrap().next_link, None);
//! let Cell::Text(span) = batch.row(0)[0] else { panic!() };
//! assert_eq!(batch.text(span), "Köln");
//! ```

mod batch;
mod coded;
mod content;
mod error;
mod reported;
mod row;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod time;
mod value;

use serde::{Deserialize, Serialize};

pub use batch::{Batch, Cell, Span};
pub(crate) use content::content;
pub use error::{DecodeError, ErrorKind};
pub use row::RowDecoder;
pub(crate) use row::place;
pub use split::{Envelope, RowSplitter, SplitError};
pub(crate) use time::shows_day;

use std::fmt;

/// What a column is to hold. Displays as PostgreSQL's name of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnType {
    /// `true`, `false`, 1, 0, or these as a string, in any case.
    Bool,
    /// An integral number such as `5`, `5.0000` or `"5"`, range-checked.
    Int2,
    /// As `Int2`.
    Int4,
    /// As `Int2`.
    Int8,
    /// A number or a string that holds one, rounded once; `NaN`, `INF` and `-INF` as OData writes them.
    Float4,
    /// As `Float4`.
    Float8,
    /// The text of a number or of a string that holds one, digit for digit.
    Numeric,
    /// A string, or the text of a number or boolean.
    Text,
    /// As `Text`, without the spaces at its end: codes may be padded with them (acumatica-api.md section 3).
    Unpadded,
    /// The calendar day as written, whatever the zone; a time of day other than midnight is an error.
    Date,
    /// Converted to UTC.
    Timestamp,
    /// No zone means UTC.
    TimestampTz,
    /// As text that `interval_in` reads: ISO 8601 as OData writes it (`-PT8H`), or hours and minutes.
    Interval,
    /// Base64, in either of its alphabets, as text that `byteain` reads.
    Bytes,
    /// With or without hyphens and braces.
    Uuid,
    /// The value as received, wrapper and all: its text is UTF-8 without NUL bytes, but `jsonb_in` still has to judge
    /// the inside. Only `null` is NULL.
    Json,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text | Self::Unpadded => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampTz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Bytes => "bytea",
            Self::Uuid => "uuid",
            Self::Json => "jsonb",
        })
    }
}

/// A column and the field that fills it.
#[derive(Clone, Debug)]
pub struct Column {
    /// For messages only.
    pub name: String,
    /// The names on the way to the field, such as `["ShipToAddress", "City"]`, in the case of the remote side; `["*"]`
    /// is the whole row, nothing a column without a field.
    pub path: Vec<String>,
    /// What to make of the field.
    pub ty: ColumnType,
}
