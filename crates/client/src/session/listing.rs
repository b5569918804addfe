//! The sessions and grants of a server as rows, without secrets.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::seal::Sealer;
use crate::session::store::{Grant, Store};

/// A session, or a grant without a session. Times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The number of the user mapping.
    pub mapping: u32,
    /// Whether it can be used, and is in use.
    pub state: SessionState,
    /// When the session was signed in; none for a grant without a session.
    pub opened: Option<u64>,
    /// When the last request began or ended.
    pub last_used: Option<u64>,
    /// How many requests it has served.
    pub requests: Option<u64>,
    /// When the access token expires; none without a token, or if the server did not say.
    pub access_expires: Option<u64>,
    /// When the refresh token expires, by Acumatica's default life of 30 days.
    pub refresh_expires: Option<u64>,
}

/// The state of a session or grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// A request is under way.
    Busy,
    /// Signed in, and free for a request.
    Idle,
    /// A backend is signing in.
    SigningIn,
    /// A backend was killed while it signed in; the server may hold a session that nobody can use.
    CutOff,
    /// There are tokens, and no session.
    SignedOut,
    /// The server refuses the tokens.
    AuthorizationEnded,
}

impl SessionState {
    /// The state as `acumatica_sessions()` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::SigningIn => "signing in",
            Self::CutOff => "cut off",
            Self::SignedOut => "signed out",
            Self::AuthorizationEnded => "authorization ended",
        }
    }
}

/// The sessions and grants in the directory of a server; none if it does not exist.
///
/// # Errors
/// The directory cannot be read.
pub fn sessions(directory: &Path, sealer: &Arc<Sealer>) -> Result<Vec<SessionRow>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let store = Store::open(directory, Arc::clone(sealer))?;
    let grants = store.grants();
    let grant_of = |mapping: u32| grants.iter().find(|(owner, _)| *owner == mapping).map(|(_, grant)| grant);
    let mut rows = Vec::new();
    for (index, record) in store.sessions() {
        let in_use = store.try_slot(index)?.is_none();
        let grant = grant_of(record.mapping);
        rows.push(SessionRow {
            mapping: record.mapping,
            state: match (record.open, in_use) {
                (false, true) => SessionState::SigningIn,
                (false, false) => SessionState::CutOff,
                (true, true) => SessionState::Busy,
                (true, false) => SessionState::Idle,
            },
            opened: Some(record.opened).filter(|_| record.open),
            last_used: Some(record.last_used),
            requests: Some(record.requests),
            access_expires: grant.and_then(|grant| grant.access_expires),
            refresh_expires: grant.and_then(Grant::refresh_expires),
        });
    }
    for (mapping, grant) in &grants {
        if rows.iter().any(|row| row.mapping == *mapping) {
            continue;
        }
        let ended = grant.ended.is_some();
        rows.push(SessionRow {
            mapping: *mapping,
            state: if ended { SessionState::AuthorizationEnded } else { SessionState::SignedOut },
            opened: None,
            last_used: None,
            requests: None,
            access_expires: grant.access_expires.filter(|_| !ended),
            refresh_expires: grant.refresh_expires().filter(|_| !ended),
        });
    }
    Ok(rows)
}

/// Whether anything was ever kept for a user mapping in the directory of a server.
pub fn knows(directory: &Path, mapping: u32) -> bool {
    Store::knows(directory, mapping)
}

/// Forgets the tokens of a user mapping that is gone.
///
/// # Errors
/// The directory cannot be read.
pub fn forget(directory: &Path, sealer: &Arc<Sealer>, mapping: u32) -> Result<()> {
    if directory.exists() {
        Store::open(directory, Arc::clone(sealer))?.forget(mapping);
    }
    Ok(())
}
