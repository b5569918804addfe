//! The lease of a session for one request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::config::Secret;
use crate::error::Result;
use crate::lock;
use crate::session::store::{self, SessionRecord, Slot};
use crate::transport::cookies::CookieJar;

/// A session for one request. Nobody else uses it meanwhile; dropping the lease gives it back.
#[derive(Debug)]
pub(crate) struct Lease {
    slot: Slot,
    record: Mutex<SessionRecord>,
    pub jar: Mutex<CookieJar>,
    pub token: Option<Secret>,
    /// The session or its token is new. If the server refuses it, another one would not help.
    pub fresh: bool,
    /// The requests sent with this lease.
    pub requests: AtomicU64,
    closed: AtomicBool,
}

impl Lease {
    pub fn new(slot: Slot, record: SessionRecord) -> Self {
        Self {
            jar: Mutex::new(CookieJar::new(record.cookies.clone())),
            slot,
            record: Mutex::new(record),
            token: None,
            fresh: false,
            requests: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub fn record(&self) -> MutexGuard<'_, SessionRecord> {
        lock(&self.record)
    }

    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    pub fn save(&self) -> Result<()> {
        let mut record = self.record();
        record.cookies = lock(&self.jar).cookies().clone();
        record.last_used = store::now();
        record.requests += self.requests.swap(0, Ordering::Relaxed);
        self.slot.write(&record)
    }

    /// The value of the cookie that names the tenant, if there is one.
    pub fn tenant_cookie(&self) -> Option<Vec<u8>> {
        lock(&self.jar).get("CompanyID").filter(|value| !value.is_empty())
    }

    /// Gives up a sign-in of which it is not known whether it opened a session. The slot stays marked.
    pub fn abandon(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Records that the server no longer has the session.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.slot.clear();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            // If it fails, the next user has slightly older cookies.
            let _ = self.save();
        }
    }
}
