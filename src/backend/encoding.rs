//! Text between PostgreSQL, in the encoding of the database, and Rust, in UTF-8.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

pub fn database_is_utf8() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// A text of PostgreSQL's: a name, the value of an option.
///
/// # Safety
/// `text` ends with a NUL.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: as the caller says; returns its argument or palloc'd memory.
    unsafe {
        let length = CStr::from_ptr(text).count_bytes() as i32;
        let utf8 = pg_sys::pg_server_to_any(text, length, pg_sys::pg_enc::PG_UTF8 as i32);
        CStr::from_ptr(utf8).to_string_lossy().into_owned()
    }
}

/// A name as PostgreSQL's look-ups take it; one that the database cannot hold is nobody's.
pub fn to_server(name: &str) -> CString {
    let text = if database_is_utf8() { Some(name.to_owned()) } else { Some(for_display(name.to_owned())) };
    text.and_then(|text| CString::new(text).ok()).unwrap_or_default()
}

/// A text in the encoding of the database; raises if that lacks a character. `None` if it holds a NUL.
pub fn to_server_exactly(text: &str) -> Option<CString> {
    let text = CString::new(text).ok()?;
    // SAFETY: ends with a NUL; returns its argument or palloc'd memory, or raises.
    unsafe {
        let length = text.count_bytes() as i32;
        let server = pg_sys::pg_any_to_server(text.as_ptr(), length, pg_sys::pg_enc::PG_UTF8 as i32);
        Some(CStr::from_ptr(server).to_owned())
    }
}

/// A text for people, as any database can show it: where it is not in UTF-8, what is not ASCII is
/// replaced, since an error must not fail for a character that it quotes.
pub fn for_display(text: String) -> String {
    if text.is_ascii() || database_is_utf8() {
        return text;
    }
    text.replace('…', "...").chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
