//! The locks of an import. PostgreSQL keeps some for each new table to the end of the transaction, in a table of fixed
//! size; where they do not fit, its error says which setting is too small, and here what it must be.

use std::cell::RefCell;
use std::ffi::{CStr, CString};

use pgrx::prelude::*;

/// Locks of a new foreign table: on itself, and on what it depends on (pg_locks on PostgreSQL 15; the second is shared by
/// some of the tables).
const OF_A_TABLE: usize = 2;
const SETTING: &CStr = c"max_locks_per_transaction";

/// An import whose tables PostgreSQL is creating.
struct Import {
    transaction: pg_sys::TransactionId,
    hint: CString,
}

thread_local! {
    static IMPORT: RefCell<Option<Import>> = const { RefCell::new(None) };
}

/// What was there before us.
static mut NEXT: pg_sys::emit_log_hook_type = None;

/// Called once, when the library is loaded.
pub fn register() {
    // SAFETY: PostgreSQL loads libraries on its only thread, which is the one that reports errors.
    unsafe {
        NEXT = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(emit);
    }
}

/// PostgreSQL is about to create so many tables.
pub fn expect(tables: usize) {
    let setting = |name: &CStr| {
        // SAFETY: the names are of settings that every server has; the text is copied at once.
        let text = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
        // SAFETY: as above: null, or a text that ends with a NUL.
        (!text.is_null())
            .then(|| unsafe { CStr::from_ptr(text) })
            .and_then(|text| text.to_str().ok()?.parse().ok())
    };
    let (now, prepared) =
        (setting(SETTING).unwrap_or(64_usize), setting(c"max_prepared_transactions").unwrap_or(0));
    // SAFETY: set when the server starts.
    let backends = unsafe { pg_sys::MaxBackends }.max(1) as usize + prepared;
    let enough = now + (tables * OF_A_TABLE).div_ceil(backends).max(1);
    let hint = format!(
        "This import makes {tables} tables, each of which is locked until the transaction ends. With max_locks_per_transaction = \
         {enough} (now {now}) they fit; that needs a restart of PostgreSQL. Or import fewer tables in a transaction, with LIMIT TO."
    );
    // SAFETY: the command is going to write, so that it needs a transaction ID anyway.
    let transaction = unsafe { pg_sys::GetCurrentTransactionId() };
    IMPORT.set(CString::new(hint).ok().map(|hint| Import { transaction, hint }));
}

/// The tables are there, or there will be none.
pub fn done() {
    IMPORT.take();
}

/// PostgreSQL is about to report an error: nothing here may raise another.
unsafe extern "C-unwind" fn emit(error: *mut pg_sys::ErrorData) {
    // SAFETY: PostgreSQL passes the error that it reports, on its only thread; its hint ends with a NUL, and ours is copied
    // to the memory that the error lives in. What was there before is called as it would have been.
    unsafe {
        let full = (*error).sqlerrcode == PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY as i32;
        if full
            && !(*error).hint.is_null()
            && names_setting(CStr::from_ptr((*error).hint))
            && let Some(import) = IMPORT.take()
            && import.transaction == pg_sys::GetCurrentTransactionIdIfAny()
        {
            (*error).hint = pg_sys::pstrdup(import.hint.as_ptr());
        }
        if let Some(next) = NEXT {
            next(error);
        }
    }
}

/// Whether a hint, in whichever language, is about the setting.
fn names_setting(hint: &CStr) -> bool {
    let (hint, name) = (hint.to_bytes(), SETTING.to_bytes());
    hint.windows(name.len()).any(|part| part == name)
}
