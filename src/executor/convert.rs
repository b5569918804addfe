//! Turns decoded cells into datums.

use std::ffi::c_void;

use acumatica_client::decode::{Batch, Cell};
use pgrx::prelude::*;

use crate::backend::encoding::database_is_utf8;
use crate::catalog::types::{EPOCH_DAYS, EPOCH_MICROSECONDS, base_type};

/// A cell as an error message quotes it.
pub fn readable(batch: &Batch, cell: Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
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
    base: pg_sys::Oid,
    typmod: i32,
    input: pg_sys::FmgrInfo,
    io_param: pg_sys::Oid,
    /// Text needs no input function: the type has no length limit, and the database is in UTF-8.
    verbatim: bool,
    domain: Option<Domain>,
    /// The text with a terminating NUL, as input functions require.
    scratch: Vec<u8>,
}

/// A domain, whose constraints are checked for NULL too.
#[derive(Debug)]
struct Domain {
    oid: pg_sys::Oid,
    /// The cache of `domain_check`, and the memory context that it is allocated in.
    cache: *mut c_void,
    context: pg_sys::MemoryContext,
}

impl Converter {
    /// A converter for an attribute of an open relation. Its look-ups are allocated in the current memory context, which
    /// must be the query's.
    pub fn new(attribute: &pg_sys::FormData_pg_attribute) -> Self {
        let (base, typmod) = base_type(attribute);
        let source = if base == pg_sys::MONEYOID { pg_sys::NUMERICOID } else { base };
        let mut function = pg_sys::InvalidOid;
        let mut io_param = pg_sys::InvalidOid;
        let mut input = pg_sys::FmgrInfo::default();
        // SAFETY: the out-parameters are locals. The relation is open, so the types of its attributes exist.
        let context = unsafe {
            pg_sys::getTypeInputInfo(source, &mut function, &mut io_param);
            pg_sys::fmgr_info(function, &mut input);
            pg_sys::CurrentMemoryContext
        };
        let unlimited = matches!(base, pg_sys::TEXTOID | pg_sys::VARCHAROID) && typmod < 0;
        let domain = (base != attribute.atttypid).then_some(Domain {
            oid: attribute.atttypid,
            cache: std::ptr::null_mut(),
            context,
        });
        Self {
            base,
            typmod,
            input,
            io_param,
            verbatim: unlimited && database_is_utf8(),
            domain,
            scratch: Vec::new(),
        }
    }

    /// The datum of a cell, allocated in the current memory context; `None` for NULL. Raises the error of the input
    /// function or the domain check if the value does not fit the column.
    #[inline]
    pub fn datum(&mut self, batch: &Batch, cell: Cell) -> Option<pg_sys::Datum> {
        let datum = self.base_datum(batch, cell);
        if let Some(Domain { oid, cache, context }) = &mut self.domain {
            let value = datum.unwrap_or(pg_sys::Datum::from(0));
            // SAFETY: `base_datum` makes a datum of the domain's base type. `cache` starts as null and only `domain_check`
            // writes it, always for this `oid`; `context` is the query's and outlives the converter.
            unsafe { pg_sys::domain_check(value, datum.is_none(), *oid, cache, *context) };
        }
        datum
    }

    #[inline]
    fn base_datum(&mut self, batch: &Batch, cell: Cell) -> Option<pg_sys::Datum> {
        Some(match cell {
            Cell::Null => return None,
            Cell::Bool(value) => value.into(),
            Cell::Int(value) => match self.base {
                pg_sys::INT2OID => (value as i16).into(),
                pg_sys::INT4OID => (value as i32).into(),
                _ => value.into(),
            },
            Cell::Float(value) => match self.base {
                pg_sys::FLOAT4OID => (value as f32).into_datum()?,
                _ => value.into_datum()?,
            },
            Cell::Date(days) => (days - EPOCH_DAYS).into(),
            Cell::Timestamp(microseconds) => round(microseconds - EPOCH_MICROSECONDS, self.typmod).into(),
            Cell::Uuid(index) => {
                // SAFETY: palloc returns 16 writable bytes, aligned for any type, or raises.
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
            // SAFETY: pointer and length describe `text`, which is copied. The length fits an i32, since the decoder limits
            // a row to less than i32::MAX bytes.
            return unsafe {
                pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as i32).into()
            };
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(text.as_bytes());
        self.scratch.push(0);
        // SAFETY: `scratch` is a C string: the push above terminates it, and the decoder lets no NUL into a text. The
        // conversion returns its argument or a palloc'd copy. `input` and `io_param` belong to the same type.
        unsafe {
            let text = pg_sys::pg_any_to_server(
                self.scratch.as_ptr().cast(),
                text.len() as i32,
                pg_sys::pg_enc::PG_UTF8 as i32,
            );
            let value = pg_sys::InputFunctionCall(&mut self.input, text, self.io_param, self.typmod);
            if self.base == pg_sys::MONEYOID {
                let money = pgrx::direct_function_call_as_datum(pg_sys::numeric_cash, &[Some(value)]);
                return money.unwrap_or(pg_sys::Datum::from(0));
            }
            value
        }
    }
}

/// Rounds microseconds to the precision of `timestamp(n)`, half away from zero, as `AdjustTimestampForTypmod` does.
fn round(microseconds: i64, typmod: i32) -> i64 {
    let Ok(digits @ 0..6) = u32::try_from(typmod) else { return microseconds };
    let unit = 10_i64.pow(6 - digits);
    let half = if microseconds < 0 { -unit / 2 } else { unit / 2 };
    (microseconds + half) / unit * unit
}
