//! acumatica_fdw: the Acumatica cloud ERP as PostgreSQL foreign tables.
//!
//! This crate knows PostgreSQL and nothing of HTTP; `acumatica-client` knows Acumatica and nothing of PostgreSQL;
//! `acumatica-pushdown` classifies conditions and knows neither. Each file has one role, as in postgres_fdw. The rooms
//! import each other in one direction only (ARCHITECTURE.md has the picture):
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
    // If the server runs with RUST_BACKTRACE set, each error, also a cancel, would collect a backtrace, which takes a fifth
    // of a second, and show it to the client.
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: PostgreSQL loads libraries on the backend's only thread; the I/O thread starts later.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
    backend::state::define_key_file();
    catalog::setting::define();
    // After all settings are defined: PostgreSQL then refuses any other name with the prefix.
    // SAFETY: PostgreSQL loads libraries on the backend's only thread. The name is a C string, which is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"acumatica_fdw".as_ptr()) };
    commands::locks::register();
    executor::key_join::register();
    planner::key_join::install();
}

/// The handler function of the foreign data wrapper. It returns the table of callbacks.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_handler(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: palloc0 returns zeroed memory of this size or raises. Zero is a valid FdwRoutine: each callback is None.
    unsafe {
        let routine: *mut pg_sys::FdwRoutine = pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;
        planner::plan::register(&mut *routine);
        planner::upper::register(&mut *routine);
        executor::scan::register(&mut *routine);
        executor::explain::register(&mut *routine);
        executor::analyze::register(&mut *routine);
        commands::import::register(&mut *routine);
        pg_sys::Datum::from(routine)
    }
}

static FUNCTION_V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// The calling convention of the handler.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_handler() -> *const pg_sys::Pg_finfo_record {
    &FUNCTION_V1
}
