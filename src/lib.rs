//! acumatica_fdw: the Acumatica cloud ERP as PostgreSQL foreign tables.
//!
//! This crate knows PostgreSQL and nothing of HTTP; `acumatica-client` knows Acumatica and nothing of
//! PostgreSQL. One file per role, in the manner of postgres_fdw:
//!
//! * `option`: every option, and the validator;
//! * `connection`: servers and user mappings as clients, from the first scan to the end of the backend;
//! * `state`: where the backends of the cluster keep what they share, and its key;
//! * `admin`: the functions that people call;
//! * `ddl`: what happens to sessions when servers and user mappings are altered or dropped;
//! * `io`: the thread that waits for the network, and how the backend waits for it;
//! * `deparse`: from a foreign table and the columns wanted to a request;
//! * `shippable`: which conditions of a query the server is asked to apply;
//! * `solve`: arithmetic on a column, solved for the column;
//! * `condition`: what such conditions come to when a scan starts;
//! * `upper`: what the server does above the scan of a table;
//! * `order`: ORDER BY that the server is asked for;
//! * `value`: the values that a query compares columns with, as they are sent;
//! * `parameter`: the parameters of inquiries, from WHERE to the request;
//! * `setting`: what a session can set for all its queries;
//! * `plan`, `scan`, `explain`: the callbacks of planner and executor;
//! * `import`: IMPORT FOREIGN SCHEMA; `locks`: what its tables take;
//! * `discover`: what an instance has, and what has changed since the import, as functions;
//! * `convert`: from decoded cells to datums;
//! * `error`: failures as PostgreSQL reports them;
//! * `encoding`: text in the encoding of the database;
//! * `compat`: what differs between PostgreSQL's major versions.

mod admin;
mod compat;
mod condition;
mod connection;
mod convert;
mod ddl;
mod deparse;
mod discover;
mod encoding;
mod error;
mod explain;
mod import;
mod io;
mod locks;
mod option;
mod order;
mod parameter;
mod plan;
mod scan;
mod setting;
mod shippable;
mod solve;
mod state;
mod upper;
mod value;

use pgrx::prelude::*;

pgrx::pg_module_magic!();

/// Called once in each backend that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // Where a service runs with RUST_BACKTRACE set, every error, a cancel too, would take a fifth of a
    // second to collect a backtrace, and show it to the client.
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: PostgreSQL loads libraries on its only thread, and ours is started later.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
    state::define_key_file();
    setting::define();
    // Behind all of them: what else has the prefix is a mistake.
    compat::reserve_prefix(c"acumatica_fdw");
    locks::register();
}

/// The handler function of the foreign data wrapper: its table of callbacks.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_handler(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: palloc0 returns zeroed memory of this size or raises; `type_` is the node's tag.
    unsafe {
        let routine: *mut pg_sys::FdwRoutine = pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;
        plan::register(&mut *routine);
        upper::register(&mut *routine);
        scan::register(&mut *routine);
        explain::register(&mut *routine);
        import::register(&mut *routine);
        pg_sys::Datum::from(routine)
    }
}

static FUNCTION_V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// Tells PostgreSQL how the handler is to be called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_handler() -> *const pg_sys::Pg_finfo_record {
    &FUNCTION_V1
}
