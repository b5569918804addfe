//! Names as statements and messages write them.

use pgrx::prelude::*;

use crate::backend::encoding::from_server;

/// The name of a role, or `public`.
pub fn role_name(role: pg_sys::Oid) -> String {
    if role == pg_sys::InvalidOid {
        return "public".to_owned();
    }
    // SAFETY: returns palloc'd memory, or null for a role that is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { role.to_u32().to_string() } else { from_server(name) }
    }
}

/// An identifier as it is written in SQL.
pub fn quoted(name: &str) -> String {
    spi::quote_identifier(name)
}

/// A text as it is written in SQL.
pub fn literal(text: &str) -> String {
    spi::quote_literal(text)
}
