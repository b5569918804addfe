//! The types of columns: how the decoder reads them, and what their typmod or domain does to a value.

use acumatica_client::decode::ColumnType;
use pgrx::prelude::*;

/// Days and microseconds between the epochs of Unix, 1970, and of PostgreSQL, 2000.
pub const EPOCH_DAYS: i32 = 10_957;
pub const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The base type and typmod of a column. For a domain they are those of the type that it is over.
pub fn base_type(attribute: &pg_sys::FormData_pg_attribute) -> (pg_sys::Oid, i32) {
    let mut typmod = attribute.atttypmod;
    // SAFETY: the out-parameter is a local; the type of an attribute exists.
    let oid = unsafe { pg_sys::getBaseTypeAndTypmod(attribute.atttypid, &mut typmod) };
    (oid, typmod)
}

/// The type that the decoder reads a column as. A type that it does not know is read as text, which the executor passes to
/// the type's input function.
pub fn column_type(attribute: &pg_sys::FormData_pg_attribute) -> ColumnType {
    match base_type(attribute).0 {
        pg_sys::BOOLOID => ColumnType::Bool,
        pg_sys::INT2OID => ColumnType::Int2,
        pg_sys::INT4OID => ColumnType::Int4,
        pg_sys::INT8OID => ColumnType::Int8,
        pg_sys::FLOAT4OID => ColumnType::Float4,
        pg_sys::FLOAT8OID => ColumnType::Float8,
        // Money is made of numeric, because the decimal point of its input function depends on the locale.
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

/// Whether a column rounds its values, so that a comparison of the column may differ from one of the field.
pub fn is_rounded(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    let (base, typmod) = base_type(attribute);
    base == pg_sys::MONEYOID || base == pg_sys::NUMERICOID && typmod >= 0
}

/// Whether the column's input function or domain may refuse a value that the decoder accepts.
pub fn may_refuse(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    let (base, typmod) = base_type(attribute);
    let plain = matches!(base, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::NUMERICOID) && typmod < 0;
    let by_text = matches!(column_type(attribute), ColumnType::Text | ColumnType::Numeric | ColumnType::Json);
    base != attribute.atttypid || by_text && !plain
}
