//! Quotes names and texts for SQL statements and messages.

use pgrx::prelude::*;

use crate::backend::encoding::from_server;

/// The name of a role, or `public`.
pub fn role_name(role: pg_sys::Oid) -> String {
    if role == pg_sys::InvalidOid {
        return "public".to_owned();
    }
    // SAFETY: GetUserNameFromId returns a palloc'd C string, or null, since it is told not to raise for a missing role.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { role.to_u32().to_string() } else { from_server(name) }
    }
}

/// An SQL identifier, with quotes if it needs them.
pub fn quoted(name: &str) -> String {
    spi::quote_identifier(name)
}

/// An SQL string literal.
pub fn literal(text: &str) -> String {
    spi::quote_literal(text)
}
