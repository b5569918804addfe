//! acumatica_fdw: the Acumatica cloud ERP as PostgreSQL foreign tables.
//!
//! This crate knows PostgreSQL and nothing of HTTP; `acumatica-client` knows Acumatica and nothing of
//! PostgreSQL; `acumatica-pushdown` judges conditions and knows neither. One file per role, in the manner of postgres_fdw, in rooms that import each other one way only:
//!
//! `commands` → `executor` → `planner` → `catalog` → `backend`

mod backend;
mod catalog;
mod commands;
mod executor;
mod planner;

use std::ffi::CStr;

use pgrx::prelude::*;

// PostgreSQL 18 and later show both in pg_get_loaded_modules(). pgrx 0.18.1 writes the version into the wrong field if it
// is to find it itself.
pgrx::pg_module_magic!(name = c"acumatica_fdw", version = VERSION);

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("the version has a NUL in it"),
};

/// Called once in each backend that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // Where a service runs with RUST_BACKTRACE set, every error, a cancel too, would take a fifth of a
    // second to collect a backtrace, and show it to the client.
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: PostgreSQL loads libraries on its only thread, and ours is started later.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
    backend::state::define_key_file();
    catalog::setting::define();
    // Behind all of them: what else has the prefix is a mistake.
    // SAFETY: PostgreSQL loads libraries on its only thread; the name is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"acumatica_fdw".as_ptr()) };
    commands::locks::register();
}

/// The handler function of the foreign data wrapper: its table of callbacks.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_handler(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: palloc0 returns zeroed memory of this size or raises; `type_` is the node's tag.
    unsafe {
        let routine: *mut pg_sys::FdwRoutine = pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;
        planner::plan::register(&mut *routine);
        planner::upper::register(&mut *routine);
        executor::scan::register(&mut *routine);
        executor::explain::register(&mut *routine);
        commands::import::register(&mut *routine);
        pg_sys::Datum::from(routine)
    }
}

static FUNCTION_V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// Tells PostgreSQL how the handler is to be called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_handler() -> *const pg_sys::Pg_finfo_record {
    &FUNCTION_V1
}
