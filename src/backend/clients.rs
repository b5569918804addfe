//! The clients of this backend. A client is made when a statement first needs it, kept until its options change, and shut
//! down when the backend exits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use acumatica_client::{Client, Config};
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::backend::io::Io;
use crate::backend::state;

/// The oids of a foreign server and of a user mapping.
type ClientKey = (pg_sys::Oid, pg_sys::Oid);

thread_local! {
    // A backend runs PostgreSQL code on one thread only, so thread-local state is per backend.
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

struct Backend {
    io: Io,
    clients: HashMap<ClientKey, Client>,
}

/// Runs `act` with the client of a server and user mapping, whose current options are `config`. A client with other
/// options is replaced. `act` must not call PostgreSQL: see [`with_io`].
///
/// # Errors
/// A client cannot be made of the options, or `act` fails.
pub fn with_client<R>(
    key: ClientKey,
    config: Config,
    act: impl FnOnce(&Io, &Client) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let dropped: Vec<_> = known_clients().into_iter().filter(|known| !exists(*known)).collect();
    with_io(|io, clients| {
        let changed = clients.get(&key).is_some_and(|client| *client.config() != config);
        for key in dropped.iter().chain(changed.then_some(&key)) {
            if let Some(client) = clients.remove(key) {
                io.engine().retire(client);
            }
        }
        let client = match clients.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = Client::new(config)?;
                clients.insert(key, client.clone());
                client
            }
        };
        act(io, &client)
    })
}

/// Runs `act` with the client of a server and user mapping as it is; `None` if there is none. `act` must not call
/// PostgreSQL: see [`with_io`].
pub fn with_known<R>(key: ClientKey, act: impl FnOnce(&Io, &Client) -> R) -> Option<R> {
    BACKEND.with_borrow(|backend| {
        let Backend { io, clients } = backend.as_ref()?;
        Some(act(io, clients.get(&key)?))
    })
}

/// Runs `act` with the I/O thread, and starts the thread first if it is not running. `act` must not call PostgreSQL: an
/// ERROR would unwind through the borrow of `BACKEND`.
fn with_io<R>(
    act: impl FnOnce(&Io, &mut HashMap<ClientKey, Client>) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let first = BACKEND.with_borrow(Option::is_none);
    let outcome = BACKEND.with_borrow_mut(|backend| {
        let Backend { io, clients } = match backend {
            Some(backend) => backend,
            none => none.insert(Backend { io: Io::start()?, clients: HashMap::new() }),
        };
        act(io, clients)
    });
    register_exit();
    if first {
        remove_dropped();
    }
    outcome
}

/// Closes the sessions and removes the state of databases and servers that no longer exist. PostgreSQL does not notify
/// extensions of DROP DATABASE, so the next backend of another database does this.
fn remove_dropped() {
    for database in state::databases() {
        if is_in_catalog(pg_sys::SysCacheIdentifier::DATABASEOID, database) {
            continue;
        }
        let Ok(sealer) = state::sealer() else { return };
        BACKEND.with_borrow(|backend| {
            if let Some(Backend { io, .. }) = backend {
                let directory = state::database_directory(database);
                io.engine().remove(directory, &state::servers_of(database), &sealer);
            }
        });
    }
    // The event triggers miss some drops of servers: in a prepared transaction, or with the extension when its schema is
    // dropped. A directory unused for this long is not that of a server whose CREATE is not committed yet.
    const LONG: Duration = Duration::from_secs(3600);
    for server in state::servers() {
        let directory = state::directory(server);
        let idle =
            directory.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
            || idle.is_none_or(|idle| idle < LONG)
        {
            continue;
        }
        let Ok(sealer) = state::sealer() else { return };
        BACKEND.with_borrow(|backend| {
            if let Some(Backend { io, .. }) = backend {
                io.engine().remove(directory.clone(), &[directory], &sealer);
            }
        });
    }
}

/// Closes the sessions of a server, or of one of its user mappings; returns their number.
///
/// # Errors
/// The key file cannot be used, or the I/O thread cannot be started.
pub fn close_sessions(server: pg_sys::Oid, mapping: Option<pg_sys::Oid>) -> Result<usize, Refusal> {
    let directory = state::directory(server);
    if !directory.exists() {
        return Ok(0);
    }
    let sealer = state::sealer()?;
    let mapping = mapping.map(pg_sys::Oid::to_u32);
    let job = with_io(|io, _| Ok(io.job(io.engine().close(&directory, &sealer, mapping)?)))?;
    Ok(job.wait())
}

fn known_clients() -> Vec<ClientKey> {
    BACKEND
        .with_borrow(|backend| backend.iter().flat_map(|backend| backend.clients.keys().copied()).collect())
}

/// Whether the server and the user mapping are still in the catalog.
fn exists((server, mapping): ClientKey) -> bool {
    is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
        && is_in_catalog(pg_sys::SysCacheIdentifier::USERMAPPINGOID, mapping)
}

/// Whether `oid` is in the catalog of `cache`, a syscache whose only key is the oid.
pub fn is_in_catalog(cache: pg_sys::SysCacheIdentifier::Type, oid: pg_sys::Oid) -> bool {
    let none = pg_sys::Datum::from(0);
    // SAFETY: every caller names a syscache with one key, an oid; the other keys are not read.
    unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid.into(), none, none, none) }
}

/// Registers the callback that closes the sessions when the backend exits.
fn register_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: PostgreSQL never unloads a library, so the callback stays valid.
        unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_at_exit(_code: i32, _arg: pg_sys::Datum) {
    // A FATAL error can call this from anywhere, but not while `BACKEND` is borrowed: no borrower calls PostgreSQL.
    let backend =
        BACKEND.with(|backend| backend.try_borrow_mut().ok().and_then(|mut backend| backend.take()));
    if let Some(Backend { io, clients }) = backend {
        io.shut_down(clients.into_values().collect());
    }
}
