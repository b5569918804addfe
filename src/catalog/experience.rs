//! What earlier scans have found out about a table, for the planner: how long its requests and rows take, and how many rows it
//! has. All backends share it. Planning reads it from files, without a connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use acumatica_client::{Experience, ScanRequest, Sealer, SharedState, Speed};
use pgrx::prelude::*;

use crate::backend::state;
use crate::catalog::mapping::Mapping;
use crate::catalog::server::Server;
use crate::catalog::setting;
use crate::catalog::table::ForeignTable;

/// The experience with a server, and what it was opened with.
struct Open {
    server: Server,
    sealer: Arc<Sealer>,
    experience: Experience,
}

thread_local! {
    // A backend runs PostgreSQL code on one thread only, so thread-local state is per backend.
    /// By server and user mapping.
    static OPEN: RefCell<HashMap<(pg_sys::Oid, pg_sys::Oid), Open>> = RefCell::default();
}

/// What is known of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    pub speed: Option<Speed>,
    pub rows: Option<f64>,
}

impl Known {
    /// What scans with the user mapping of `user` have found out about a table; nothing if the setting
    /// `acumatica_fdw.use_measurements` is off.
    pub fn of(table: &ForeignTable, user: pg_sys::Oid) -> Self {
        if !setting::use_measurements() {
            return Self::default();
        }
        Self::read(table, user).unwrap_or_default()
    }

    fn read(table: &ForeignTable, user: pg_sys::Oid) -> Option<Self> {
        // An invalid setting is an error of the scan, not of the plan.
        let context = table.context().ok()?;
        with_experience(table, user, |experience| {
            let rows = experience.rows(&table.target, table.filter.as_deref(), &context);
            Self { speed: experience.speed(&table.target), rows: rows.map(|rows| rows as f64) }
        })
    }
}

/// What the server has counted for the same request for a count, in the last minutes.
pub fn estimate(table: &ForeignTable, user: pg_sys::Oid, request: &ScanRequest) -> Option<f64> {
    with_experience(table, user, |experience| experience.estimate(request))?.map(|count| count as f64)
}

/// Remembers what the server has counted for a request.
pub fn remember_estimate(table: &ForeignTable, user: pg_sys::Oid, request: &ScanRequest, count: u64) {
    with_experience(table, user, |experience| experience.remember_estimate(request, count));
}

/// Runs `act` with the experience of a user mapping with the server of a table, if there is any.
fn with_experience<R>(
    table: &ForeignTable,
    user: pg_sys::Oid,
    act: impl FnOnce(&Experience) -> R,
) -> Option<R> {
    let server = &table.server;
    let directory = state::directory(server.oid);
    // The key is made on first use; nothing has been kept before that.
    if !directory.is_dir() {
        return None;
    }
    let mapping = Mapping::oid_of(server, user)?;
    let sealer = state::sealer().ok()?;
    OPEN.with_borrow_mut(|open| {
        let key = (server.oid, mapping);
        let is_current = |open: &Open| open.server == *server && Arc::ptr_eq(&open.sealer, &sealer);
        if !open.get(&key).is_some_and(is_current) {
            let root = state::root();
            let shared =
                SharedState { root, directory, mapping: mapping.to_u32(), sealer: Arc::clone(&sealer) };
            let experience = Experience::open(&shared, &server.instance, server.company.as_deref())?;
            open.insert(key, Open { server: server.clone(), sealer, experience });
        }
        Some(act(&open.get(&key)?.experience))
    })
}
