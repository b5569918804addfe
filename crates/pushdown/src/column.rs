//! The types of columns.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// As `Text`, without the spaces at its end: codes may be padded with them (docs/acumatica.md section 3).
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
