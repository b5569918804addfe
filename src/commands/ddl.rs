//! Event triggers for DDL on servers and user mappings. They close sessions when one is altered or dropped, and check the
//! options of the two together. PostgreSQL has no callback of a wrapper for either.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use acumatica_client::{forget, knows};
use pgrx::prelude::*;
use pgrx::{PgXactCallbackEvent, register_xact_callback};

use crate::backend::clients::{close_sessions, is_in_catalog};
use crate::backend::compat;
use crate::backend::encoding::from_server;
use crate::backend::error::{Refusal, or_raise, warning};
use crate::backend::state;
use crate::catalog::mapping::Mapping;
use crate::catalog::server::Server;
use crate::commands::admin::is_ours;

/// A server or user mapping of a DDL command.
enum Touched {
    Server(pg_sys::Oid),
    Mapping(pg_sys::Oid),
}

/// The servers and user mappings in the result of a set-returning function of event triggers. The query uses no operator,
/// because the user's search path could replace it.
fn touched(source: &str) -> Vec<(Touched, String)> {
    let query = format!("SELECT classid, objid, {source}");
    let rows = Spi::connect(|client| {
        let rows = client.select(&query, None, &[])?;
        rows.map(|row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<pg_sys::Oid>(2)?, row.get::<String>(3)?)))
            .collect::<Result<Vec<_>, spi::Error>>()
    });
    rows.unwrap_or_else(|reason| error!("could not read what the command has changed: {reason}"))
        .into_iter()
        .filter_map(|(class, oid, text)| {
            let touched = match class? {
                pg_sys::ForeignServerRelationId => Touched::Server(oid?),
                pg_sys::UserMappingRelationId => Touched::Mapping(oid?),
                _ => return None,
            };
            Some((touched, text.unwrap_or_default()))
        })
        .collect()
}

/// The data of an event trigger's call. Raises if the function was called otherwise.
///
/// # Safety
/// `call` is the argument that PostgreSQL passed to the function.
pub unsafe fn event(call: pg_sys::FunctionCallInfo) -> *mut pg_sys::EventTriggerData {
    // SAFETY: the caller guarantees a valid call, whose context is null or a node. It is cast only if its tag says so.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                "this function is for the event triggers of acumatica_fdw",
            )
            .hint("Drop or alter a server or user mapping, or import a schema, and PostgreSQL calls it.")
            .raise();
        }
        context.cast()
    }
}

/// After CREATE and ALTER: refuses a mapping with options that its server cannot use, and closes the sessions that were
/// opened with the old options.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_altered(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: `call` is what PostgreSQL passed to this function.
    unsafe { event(call) };
    for (object, command) in touched("command_tag FROM pg_catalog.pg_event_trigger_ddl_commands()") {
        match object {
            Touched::Server(oid) if is_ours(oid) => {
                warn_of_unfit_mappings(&Server::load(oid));
                try_to_close(oid, None);
            }
            Touched::Mapping(oid) => {
                let Some(entry) = Mapping::by_oid(oid).filter(|entry| is_ours(entry.server)) else {
                    continue;
                };
                let server = entry.server;
                or_raise(Server::load(server).check_mapping(&or_raise(entry.options)));
                if command.starts_with("ALTER") {
                    try_to_close(server, Some(oid));
                }
            }
            Touched::Server(_) => {}
        }
    }
    pg_sys::Datum::from(0)
}

/// After DROP: closes the sessions at once, and removes the tokens when the transaction commits.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_dropped(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: `call` is what PostgreSQL passed to this function.
    unsafe { event(call) };
    for (object, _) in touched("object_type FROM pg_catalog.pg_event_trigger_dropped_objects()") {
        match object {
            Touched::Server(oid) => dropped(oid),
            Touched::Mapping(oid) => {
                // The event does not name the mapping's server.
                for server in state::servers() {
                    if !knows(&state::directory(server), oid.to_u32()) {
                        continue;
                    }
                    try_to_close(server, Some(oid));
                    let directory = state::directory(server);
                    let Ok(sealer) = state::sealer() else { continue };
                    at_commit(
                        move || !is_in_catalog(pg_sys::SysCacheIdentifier::USERMAPPINGOID, oid),
                        move || drop(forget(&directory, &sealer, oid.to_u32())),
                    );
                }
            }
        }
    }
    pg_sys::Datum::from(0)
}

/// Before DROP EXTENSION of this extension, which drops the event trigger above too.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_dropping(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: `call` is what PostgreSQL passed to this function. The trigger is for DROP EXTENSION only, whose parse tree is
    // a DropStmt with a list of String nodes.
    let names: Vec<String> = unsafe {
        let statement: *mut pg_sys::DropStmt = (*event(call)).parsetree.cast();
        pgrx::PgList::<std::ffi::c_void>::from_pg((*statement).objects)
            .iter_ptr()
            .map(|name| from_server((*name.cast::<pg_sys::String>()).sval))
            .collect()
    };
    // SAFETY: catalog look-ups; the owner is looked up only if the extension exists. PostgreSQL checks the right itself later.
    let may_drop = || unsafe {
        let extension = pg_sys::get_extension_oid(c"acumatica_fdw".as_ptr(), true);
        extension != pg_sys::InvalidOid && compat::owns_extension(extension, pg_sys::GetUserId())
    };
    if names.iter().any(|name| name == "acumatica_fdw") && may_drop() {
        state::servers().into_iter().for_each(dropped);
    }
    pg_sys::Datum::from(0)
}

/// Closes the sessions of a server, and removes its state if the transaction commits the drop.
fn dropped(server: pg_sys::Oid) {
    try_to_close(server, None);
    let directory = state::directory(server);
    at_commit(
        move || !is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server),
        // An error is ignored: the files that remain are sealed, and a new server has another oid.
        move || drop(fs::remove_dir_all(&directory)),
    );
}

/// Closes sessions; a failure is a warning, because it must not prevent the DDL.
fn try_to_close(server: pg_sys::Oid, mapping: Option<pg_sys::Oid>) {
    if let Err(refusal) = close_sessions(server, mapping) {
        let hint = refusal.hint.unwrap_or_default();
        warning(format!("could not sign out of the sessions there may be: {}", refusal.message), hint);
    }
}

/// Runs `act` after the transaction has committed, if `holds` is true just before. `holds` asks the catalog, which cannot be
/// read after the commit, whether a savepoint has rolled back the drop.
fn at_commit(holds: impl Fn() -> bool + 'static, act: impl Fn() + 'static) {
    let held = Rc::new(RefCell::new(false));
    let result = Rc::clone(&held);
    let holds = std::panic::AssertUnwindSafe(move || *result.borrow_mut() = holds());
    let act = std::panic::AssertUnwindSafe(move || {
        if *held.borrow() {
            act();
        }
    });
    register_xact_callback(PgXactCallbackEvent::PreCommit, move || {
        let std::panic::AssertUnwindSafe(holds) = &holds;
        holds();
    });
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        let std::panic::AssertUnwindSafe(act) = &act;
        act();
    });
}

/// Warns if a mapping has options that the altered server cannot use. It is no error, because a server and its mappings are
/// altered by separate statements.
fn warn_of_unfit_mappings(server: &Server) {
    let mappings: Result<Vec<pg_sys::Oid>, spi::Error> = Spi::connect(|client| {
        client
            .select(
                "SELECT umid FROM pg_catalog.pg_user_mappings WHERE srvid OPERATOR(pg_catalog.=) $1",
                None,
                &[server.oid.into()],
            )?
            .map(|row| Ok(row.get::<pg_sys::Oid>(1)?.unwrap_or(pg_sys::InvalidOid)))
            .collect()
    });
    let unfit = mappings
        .into_iter()
        .flatten()
        .filter_map(Mapping::by_oid)
        .find_map(|entry| entry.options.and_then(|options| server.check_mapping(&options)).err());
    if let Some(refusal) = unfit {
        warning(
            format!("a user mapping of server \"{}\" no longer fits it: {}", server.name, refusal.message),
            refusal.hint.unwrap_or_default(),
        );
    }
}

/// The calling convention of the functions above.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_altered() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_dropping() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_dropped() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}
