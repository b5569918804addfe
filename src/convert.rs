//! From decoded cells to datums.

use acumatica_client::decode::{Batch, Cell, ColumnType};
use pgrx::prelude::*;

/// Days and microseconds between the epochs of Unix, 1970, and of PostgreSQL, 2000.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// What the decoder is to make of a column. Whatever it has no type for comes as text and goes through
/// the input function of the column's type.
pub fn column_type(attribute: &pg_sys::FormData_pg_attribute) -> ColumnType {
    match attribute.atttypid {
        pg_sys::BOOLOID => ColumnType::Bool,
        pg_sys::INT2OID => ColumnType::Int2,
        pg_sys::INT4OID => ColumnType::Int4,
        pg_sys::INT8OID => ColumnType::Int8,
        pg_sys::FLOAT4OID => ColumnType::Float4,
        pg_sys::FLOAT8OID => ColumnType::Float8,
        pg_sys::NUMERICOID => ColumnType::Numeric,
        pg_sys::DATEOID => ColumnType::Date,
        pg_sys::TIMESTAMPOID => ColumnType::Timestamp,
        pg_sys::TIMESTAMPTZOID => ColumnType::TimestampTz,
        pg_sys::UUIDOID => ColumnType::Uuid,
        pg_sys::JSONOID | pg_sys::JSONBOID => ColumnType::Json,
        _ => ColumnType::Text,
    }
}

/// Whether the input function of the column's type may refuse a value that the decoder accepted.
pub fn may_refuse(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    let plain = matches!(attribute.atttypid, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::NUMERICOID);
    let by_text = matches!(column_type(attribute), ColumnType::Text | ColumnType::Numeric | ColumnType::Json);
    by_text && !(plain && attribute.atttypmod < 0)
}

/// A cell for people to read.
pub fn readable(batch: &Batch, cell: Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(value) => value.to_string(),
        Cell::Int(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Date(days) => format!("day {days} since 1970-01-01"),
        Cell::Timestamp(microseconds) => format!("{microseconds} µs since 1970-01-01"),
        Cell::Text(span) => batch.text(span).to_owned(),
        Cell::Uuid(index) => batch.uuid(index).iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Makes the datums of one column.
#[derive(Debug)]
pub struct Converter {
    type_oid: pg_sys::Oid,
    typmod: i32,
    input: pg_sys::FmgrInfo,
    io_param: pg_sys::Oid,
    /// Text can be taken as it is: the type has no length, and the database is in UTF-8.
    verbatim: bool,
    /// For input functions, which want their text to end with a NUL.
    scratch: Vec<u8>,
}

impl Converter {
    /// For a column of a relation that is open. The look-ups live in the current memory context, so
    /// that should be one that lives as long as the scan.
    pub fn new(attribute: &pg_sys::FormData_pg_attribute) -> Self {
        let mut function = pg_sys::InvalidOid;
        let mut io_param = pg_sys::InvalidOid;
        let mut input = pg_sys::FmgrInfo::default();
        // SAFETY: the out-parameters are valid; the type is one of a column, so it exists.
        let utf8 = unsafe {
            pg_sys::getTypeInputInfo(attribute.atttypid, &mut function, &mut io_param);
            pg_sys::fmgr_info(function, &mut input);
            pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32
        };
        let unlimited =
            matches!(attribute.atttypid, pg_sys::TEXTOID | pg_sys::VARCHAROID) && attribute.atttypmod < 0;
        Self {
            type_oid: attribute.atttypid,
            typmod: attribute.atttypmod,
            input,
            io_param,
            verbatim: utf8 && unlimited,
            scratch: Vec::new(),
        }
    }

    /// The datum of a cell, made in the current memory context; `None` for NULL. Raises what the input
    /// function raises, if the value does not fit the column.
    #[inline]
    pub fn datum(&mut self, batch: &Batch, cell: Cell) -> Option<pg_sys::Datum> {
        Some(match cell {
            Cell::Null => return None,
            Cell::Bool(value) => value.into(),
            Cell::Int(value) => match self.type_oid {
                pg_sys::INT2OID => (value as i16).into(),
                pg_sys::INT4OID => (value as i32).into(),
                _ => value.into(),
            },
            Cell::Float(value) => match self.type_oid {
                pg_sys::FLOAT4OID => (value as f32).into_datum()?,
                _ => value.into_datum()?,
            },
            Cell::Date(days) => (days - EPOCH_DAYS).into(),
            Cell::Timestamp(microseconds) => round(microseconds - EPOCH_MICROSECONDS, self.typmod).into(),
            Cell::Uuid(index) => {
                // SAFETY: palloc returns 16 writable bytes or raises.
                unsafe {
                    let copy: *mut [u8; 16] = pg_sys::palloc(16).cast();
                    *copy = *batch.uuid(index);
                    copy.into()
                }
            }
            Cell::Text(span) => self.text(batch.text(span)),
        })
    }

    #[inline]
    fn text(&mut self, text: &str) -> pg_sys::Datum {
        if self.verbatim {
            // SAFETY: pointer and length describe `text`, which is copied. A row is limited to less
            // than i32::MAX bytes.
            return unsafe {
                pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as i32).into()
            };
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(text.as_bytes());
        self.scratch.push(0);
        // SAFETY: `scratch` ends with a NUL and has none within, as the decoder promises. Conversion
        // returns its argument or palloc'd memory. `input` is the input function of the type.
        unsafe {
            let text = pg_sys::pg_any_to_server(
                self.scratch.as_ptr().cast(),
                text.len() as i32,
                pg_sys::pg_enc::PG_UTF8 as i32,
            );
            pg_sys::InputFunctionCall(&mut self.input, text, self.io_param, self.typmod)
        }
    }
}

/// Rounds a time stamp to the digits of `timestamp(n)` as PostgreSQL does: half away from zero.
fn round(microseconds: i64, typmod: i32) -> i64 {
    let Ok(digits @ 0..6) = u32::try_from(typmod) else { return microseconds };
    let unit = 10_i64.pow(6 - digits);
    let half = if microseconds < 0 { -unit / 2 } else { unit / 2 };
    (microseconds + half) / unit * unit
}
