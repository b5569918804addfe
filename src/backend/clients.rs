//! The clients of this backend: made when a statement first needs them, kept until their options change, left when the
//! backend ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use acumatica_client::{Client, Config};
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::backend::io::Io;
use crate::backend::state;

/// A foreign server and a user mapping.
type Key = (pg_sys::Oid, pg_sys::Oid);

thread_local! {
    // PostgreSQL runs a backend on one thread, so this is the state of the backend.
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

struct Backend {
    io: Io,
    clients: HashMap<Key, Client>,
}

/// Runs `act` with the client of a server and user mapping, whose options come to `config` now. It must make no
/// PostgreSQL call.
///
/// # Errors
/// The options do not make a client, or `act` refuses.
pub fn with_client<R>(
    key: Key,
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

/// Runs `act` with the I/O thread, which is started if need be. It must make no PostgreSQL call, so that
/// nothing but its own refusal unwinds through the borrow.
fn with_io<R>(act: impl FnOnce(&Io, &mut HashMap<Key, Client>) -> Result<R, Refusal>) -> Result<R, Refusal> {
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
        forget_dropped();
    }
    outcome
}

/// PostgreSQL tells no extension when a database is dropped: what it had is closed and removed by the
/// next backend of any other. So is what else was dropped without a word.
fn forget_dropped() {
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
    // A server may also have gone unheard: in a prepared transaction, or with its schema. One that has not
    // been used for so long is not one whose creation is yet to be committed.
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

/// Closes the sessions of a server, or of one of its user mappings; says how many there were.
///
/// # Errors
/// The key cannot be used, or the thread not be started.
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

fn known_clients() -> Vec<Key> {
    BACKEND
        .with_borrow(|backend| backend.iter().flat_map(|backend| backend.clients.keys().copied()).collect())
}

/// Whether server and user mapping are still in the catalog.
fn exists((server, mapping): Key) -> bool {
    is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
        && is_in_catalog(pg_sys::SysCacheIdentifier::USERMAPPINGOID, mapping)
}

/// Whether an object is in the catalog that `cache`, which has its oid as the only key, is for.
pub fn is_in_catalog(cache: pg_sys::SysCacheIdentifier::Type, oid: pg_sys::Oid) -> bool {
    let none = pg_sys::Datum::from(0);
    // SAFETY: a catalog look-up; the caller says that the key fits.
    unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid.into(), none, none, none) }
}

/// Has the sessions closed when the backend ends, in whichever way it is told to.
fn register_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: registers a function of this library, which is never unloaded.
        unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_at_exit(_code: i32, _arg: pg_sys::Datum) {
    // Exit may come in the middle of anything, though not of a borrow: nothing in one can raise.
    let backend =
        BACKEND.with(|backend| backend.try_borrow_mut().ok().and_then(|mut backend| backend.take()));
    if let Some(Backend { io, clients }) = backend {
        io.shut_down(clients.into_values().collect());
    }
}
