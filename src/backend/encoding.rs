//! Converts text between the encoding of the database and UTF-8.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

pub fn database_is_utf8() -> bool {
    // SAFETY: GetDatabaseEncoding reads a variable that is set before any library is loaded.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// The UTF-8 form of a text of PostgreSQL, such as a name or the value of an option.
///
/// # Safety
/// `text` is a C string in the encoding of the database.
pub unsafe fn from_server(text: *const c_char) -> String {
    // SAFETY: the caller guarantees a C string. pg_server_to_any returns its argument or a palloc'd C string.
    unsafe {
        let length = CStr::from_ptr(text).count_bytes() as i32;
        let utf8 = pg_sys::pg_server_to_any(text, length, pg_sys::pg_enc::PG_UTF8 as i32);
        CStr::from_ptr(utf8).to_string_lossy().into_owned()
    }
}

/// A name for PostgreSQL's look-ups, and a text for EXPLAIN. A name with characters that the database cannot hold matches
/// nothing.
pub fn to_server(name: &str) -> CString {
    let text = if database_is_utf8() { Some(name.to_owned()) } else { Some(for_display(name.to_owned())) };
    text.and_then(|text| CString::new(text).ok()).unwrap_or_default()
}

/// A text in the encoding of the database; raises if the encoding lacks a character. `None` if the text holds a NUL.
pub fn to_server_exactly(text: &str) -> Option<CString> {
    let text = CString::new(text).ok()?;
    // SAFETY: `text` is a C string of valid UTF-8. pg_any_to_server returns its argument or a palloc'd C string, or raises.
    unsafe {
        let length = text.count_bytes() as i32;
        let server = pg_sys::pg_any_to_server(text.as_ptr(), length, pg_sys::pg_enc::PG_UTF8 as i32);
        Some(CStr::from_ptr(server).to_owned())
    }
}

/// A text for messages. In a database that is not in UTF-8 it replaces all characters but ASCII, because an error message
/// must not fail for a character that it quotes.
pub fn for_display(text: String) -> String {
    if text.is_ascii() || database_is_utf8() {
        return text;
    }
    text.replace('…', "...").chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
