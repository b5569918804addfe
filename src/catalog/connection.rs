//! The client that a scan uses. Once it was made of the current options, it is known to be current until a callback reports
//! a change of the catalogs, so most scans do not read and check the options and unseal the secrets again.
//!
//! Only that knowledge is kept here: the options and secrets are held by the client, as before. A secret in a file can
//! change without an invalidation, so a client with one is never known to be current, and each scan reads the file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use acumatica_client::{Client, ScanRequest, Sealer};
use acumatica_pushdown::Writing;
use pgrx::prelude::*;

use crate::backend::clients;
use crate::backend::error::{Refusal, or_raise};
use crate::backend::io::{Io, RunningScan};
use crate::backend::state;
use crate::catalog::mapping::Mapping;
use crate::catalog::server::Server;

thread_local! {
    // A backend runs PostgreSQL code on one thread only, so thread-local state is per backend.
    static CURRENT: RefCell<Current> = RefCell::default();
    /// The number of invalidations so far. A client that was being made during one is not known to be current.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
    /// The invalidation callbacks are registered.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The clients that are known to be current.
#[derive(Default)]
struct Current {
    /// By server and user: the user mapping.
    mappings: HashMap<(pg_sys::Oid, pg_sys::Oid), pg_sys::Oid>,
    /// By server and user mapping: what its client was made of, besides the options of the mapping.
    clients: HashMap<(pg_sys::Oid, pg_sys::Oid), (Server, Arc<Sealer>)>,
}

/// Runs `act` with the client of a server and user mapping, made of their current options. `act` must not call PostgreSQL:
/// see [`clients::with_client`].
///
/// # Errors
/// A client cannot be made of the options, or `act` fails.
pub fn with_client<R>(
    server: &Server,
    mapping: &Mapping,
    act: impl FnOnce(&Io, &Client) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let key = (server.oid, mapping.oid);
    let config = mapping.config(server)?;
    CURRENT.with_borrow_mut(|current| current.clients.remove(&key));
    clients::with_client(key, config, act)
}

/// Starts a scan of `request` on `server` with the user mapping of `user`.
pub fn start_scan(server: &Server, user: pg_sys::Oid, request: &ScanRequest) -> RunningScan {
    with_current(server, user, |io, client| io.scan(client, request.clone()))
}

/// How the conditions of `request` are written for `server`, and how much room they have.
pub fn writing(server: &Server, user: pg_sys::Oid, request: &ScanRequest) -> Writing {
    or_raise(with_current(server, user, |_, client| client.writing(request)).map_err(Refusal::from))
}

/// Runs `act` with the client of the user mapping of `user`. `act` must not call PostgreSQL.
fn with_current<R>(server: &Server, user: pg_sys::Oid, act: impl Fn(&Io, &Client) -> R) -> R {
    register_callbacks();
    let known = known_mapping(server, user);
    let outcome = known.and_then(|mapping| clients::with_known((server.oid, mapping), &act));
    if let Some(outcome) = outcome {
        return outcome;
    }
    let before = INVALIDATIONS.get();
    let mapping = Mapping::load(server, user);
    let (outcome, sealer) = or_raise(with_client(server, &mapping, |io, client| {
        Ok((act(io, client), Arc::clone(&client.config().state.sealer)))
    }));
    // Reading the catalogs processes invalidation messages, so the options may be out of date already.
    if INVALIDATIONS.get() == before && !mapping.options.has_file() {
        CURRENT.with_borrow_mut(|current| {
            current.mappings.insert((server.oid, user), mapping.oid);
            current.clients.insert((server.oid, mapping.oid), (server.clone(), sealer));
        });
    }
    outcome
}

/// The user mapping of `user` for a server, if its client is known to be current. A scan may have a server with options that
/// were altered since it began, and the key file may have been replaced: the client was then made of others.
fn known_mapping(server: &Server, user: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let sealer = state::sealer().ok()?;
    CURRENT.with_borrow(|current| {
        let mapping = current.mappings.get(&(server.oid, user))?;
        let (made_of, sealed_by) = current.clients.get(&(server.oid, *mapping))?;
        (made_of == server && Arc::ptr_eq(sealed_by, &sealer)).then_some(*mapping)
    })
}

/// Registers the invalidation callbacks, once in a backend.
fn register_callbacks() {
    use pg_sys::SysCacheIdentifier::{AUTHOID, FOREIGNSERVEROID, USERMAPPINGOID};
    if REGISTERED.replace(true) {
        return;
    }
    // Sealed secrets are bound to the name of the role, so renaming it changes what they reveal.
    for cache in [USERMAPPINGOID, FOREIGNSERVEROID, AUTHOID] {
        // SAFETY: PostgreSQL never unloads a library, so the callback stays valid.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(catalog_changed), pg_sys::Datum::from(0))
        };
    }
}

/// Called when a user mapping, a foreign server or a role was invalidated. The hash does not name the object, so no client is
/// known to be current any more. The clients themselves stay, until the next use compares their options.
#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    CURRENT.with_borrow_mut(|current| {
        current.mappings.clear();
        current.clients.clear();
    });
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
}
