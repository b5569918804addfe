//! The locks of an import. PostgreSQL holds some for each new table until the transaction ends, in a lock table of fixed
//! size. If they do not fit, its error names the setting that is too small; this module adds the value it needs.

use std::cell::RefCell;
use std::ffi::{CStr, CString};

use pgrx::prelude::*;

/// The number of locks for each new foreign table: on the table, and on what it depends on. Seen in pg_locks on PostgreSQL
/// 15, where some tables share the second lock.
const LOCKS_PER_TABLE: usize = 2;
const SETTING: &CStr = c"max_locks_per_transaction";

/// A running import and the hint for its error.
struct Import {
    transaction: pg_sys::TransactionId,
    hint: CString,
}

thread_local! {
    static IMPORT: RefCell<Option<Import>> = const { RefCell::new(None) };
}

/// The `emit_log_hook` that was installed before this one.
static mut NEXT: pg_sys::emit_log_hook_type = None;

/// Installs the hook. Called once, when the library is loaded.
pub fn register() {
    // SAFETY: PostgreSQL loads libraries on the backend's thread, before the I/O thread exists. Errors are reported on the
    // same thread, so nothing else accesses the statics.
    unsafe {
        NEXT = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(emit);
    }
}

/// Announces that PostgreSQL is about to create this many tables.
pub fn expect(tables: usize) {
    let setting = |name: &CStr| {
        // SAFETY: the name is a C string. GetConfigOption may return null, since it is told not to raise.
        let text = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
        // SAFETY: it is not null, so it is a C string in a static buffer; it is parsed before the next call.
        (!text.is_null())
            .then(|| unsafe { CStr::from_ptr(text) })
            .and_then(|text| text.to_str().ok()?.parse().ok())
    };
    let (now, prepared) =
        (setting(SETTING).unwrap_or(64_usize), setting(c"max_prepared_transactions").unwrap_or(0));
    // SAFETY: the postmaster sets `MaxBackends` before it starts backends, and nothing changes it afterwards.
    let backends = unsafe { pg_sys::MaxBackends }.max(1) as usize + prepared;
    let enough = now + (tables * LOCKS_PER_TABLE).div_ceil(backends).max(1);
    let hint = format!(
        "This import makes {tables} tables, each of which is locked until the transaction ends. With max_locks_per_transaction = \
         {enough} (now {now}) they fit; that needs a restart of PostgreSQL. Or import fewer tables in a transaction, with LIMIT TO."
    );
    // SAFETY: a transaction is running. It gets an xid here, which creating the tables needs anyway.
    let transaction = unsafe { pg_sys::GetCurrentTransactionId() };
    IMPORT.set(CString::new(hint).ok().map(|hint| Import { transaction, hint }));
}

/// Ends the announcement: the tables are created, or the import has failed.
pub fn done() {
    IMPORT.take();
}

/// The hook: replaces the hint of an "out of shared memory" error of the import. It must not raise.
unsafe extern "C-unwind" fn emit(error: *mut pg_sys::ErrorData) {
    // SAFETY: PostgreSQL passes the error that it is reporting, on the backend's thread. Its hint is a C string; pstrdup
    // allocates ours in the error's memory context, which EmitErrorReport has switched to. `NEXT` was the hook before.
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

/// Whether a hint names the setting, which every translation does.
fn names_setting(hint: &CStr) -> bool {
    let (hint, name) = (hint.to_bytes(), SETTING.to_bytes());
    hint.windows(name.len()).any(|part| part == name)
}
