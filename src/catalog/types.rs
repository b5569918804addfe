//! The types of columns: what the decoder makes of them, and what they do to a value.

use acumatica_client::decode::ColumnType;
use pgrx::prelude::*;

/// Days and microseconds between the epochs of Unix, 1970, and of PostgreSQL, 2000.
pub const EPOCH_DAYS: i32 = 10_957;
pub const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The type that values of a column have in the end: of a domain the one that it is over, with the
/// modifier that it has there.
pub fn base_type(attribute: &pg_sys::FormData_pg_attribute) -> (pg_sys::Oid, i32) {
    let mut typmod = attribute.atttypmod;
    // SAFETY: the out-parameter is valid; the type is one of a column, so it exists.
    let oid = unsafe { pg_sys::getBaseTypeAndTypmod(attribute.atttypid, &mut typmod) };
    (oid, typmod)
}

/// What the decoder is to make of a column. Whatever it has no type for comes as text and goes through
/// the input function of the column's type.
pub fn column_type(attribute: &pg_sys::FormData_pg_attribute) -> ColumnType {
    match base_type(attribute).0 {
        pg_sys::BOOLOID => ColumnType::Bool,
        pg_sys::INT2OID => ColumnType::Int2,
        pg_sys::INT4OID => ColumnType::Int4,
        pg_sys::INT8OID => ColumnType::Int8,
        pg_sys::FLOAT4OID => ColumnType::Float4,
        pg_sys::FLOAT8OID => ColumnType::Float8,
        // Money through numeric: its own input function reads the decimal point as the locale says.
        pg_sys::NUMERICOID | pg_sys::MONEYOID => ColumnType::Numeric,
        pg_sys::DATEOID => ColumnType::Date,
        pg_sys::TIMESTAMPOID => ColumnType::Timestamp,
        pg_sys::TIMESTAMPTZOID => ColumnType::TimestampTz,
        pg_sys::INTERVALOID => ColumnType::Interval,
        pg_sys::BYTEAOID => ColumnType::Bytes,
        pg_sys::UUIDOID => ColumnType::Uuid,
        pg_sys::JSONOID | pg_sys::JSONBOID => ColumnType::Json,
        _ => ColumnType::Text,
    }
}

/// Whether a column holds its values rounded, so that it compares otherwise than the field.
pub fn is_rounded(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    let (base, typmod) = base_type(attribute);
    base == pg_sys::MONEYOID || base == pg_sys::NUMERICOID && typmod >= 0
}

/// Whether PostgreSQL may refuse a value for the column that the decoder accepted.
pub fn may_refuse(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    let (base, typmod) = base_type(attribute);
    let plain = matches!(base, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::NUMERICOID) && typmod < 0;
    let by_text = matches!(column_type(attribute), ColumnType::Text | ColumnType::Numeric | ColumnType::Json);
    base != attribute.atttypid || by_text && !plain
}
