//! The state of one server that the backends of a cluster share: its sessions and grants, in files.
//!
//! A lock is an `flock` on a file of its own, so that the kernel releases it when its holder dies. State is replaced by
//! renaming, so that it can be read without the lock and is never half written. All of it is sealed with the cluster's
//! key.
//!
//! | file | what it is |
//! |---|---|
//! | `queue.M.lock` | held by whoever of user mapping M is next to be given a session |
//! | `demand.lock` | held by someone who has waited for long enough to be let in by another mapping |
//! | `sign-in.lock` | held while somebody signs in |
//! | `session.N`, `session.N.lock` | a session; the lock is held for the length of a request |
//! | `user.M.lock` | shared by all backends that use user mapping M |
//! | `grant.M`, `grant.M.lock` | the OAuth tokens of user mapping M; the lock is held while they are renewed |
//! | `pending.M` | authorizations that were begun for user mapping M |
//! | `learnt.M`, `learnt.M.lock` | what was learnt of the server for user mapping M; the lock is held while it is written |
//! | `dropped.M` | user mapping M is no more |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::{Secret, Transport};
use crate::error::{ErrorKind, Result};
use crate::seal::{Sealer, make_directory};
use crate::session::files::{self, Durable, Held, Stamp, hold, inaccessible, lock, poll, replace, try_hold};

/// After how many milliseconds the server closes a session without requests (docs/acumatica.md section 5).
const ABANDONED: Millis = 600_000;

/// Milliseconds since 1970.
pub(crate) type Millis = u64;

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The three ways of signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SignIn {
    /// `POST /entity/auth/login`.
    Login,
    /// HTTP Basic with each request.
    Basic,
    /// An OAuth access token with each request.
    Bearer,
}

/// How the tenant of a session was proven, if no cookie names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proof {
    /// The sign-in page names the tenant.
    SignInPage,
    /// An address that names the tenant has answered.
    Address,
    /// The client ID names the tenant, and the server accepts no other tenant's ID.
    ClientId,
    /// The tenant is not proven.
    None,
}

/// A session as the backends share it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub mapping: u32,
    /// The fingerprint of the options it was opened with.
    pub fingerprint: String,
    pub how: SignIn,
    /// The cookies are known. If false, a sign-in is under way or was cut off.
    pub open: bool,
    pub cookies: BTreeMap<String, Zeroizing<String>>,
    /// Whether the session works for the surface with the other way of signing in, once that is known.
    pub elsewhere: Option<bool>,
    /// How its tenant was proven, once that was checked.
    #[serde(default)]
    pub tenant: Option<Proof>,
    /// When a sign-in for this slot was cut off, if it was. Nobody can use or close the session that it may have
    /// opened.
    pub lost_seat: Option<Millis>,
    /// The grant of the session, with OAuth.
    pub grant: Option<String>,
    pub opened: Millis,
    pub last_used: Millis,
    pub requests: u64,
    /// What a sign-out needs if the catalog no longer has the server.
    pub instance: String,
    pub transport: Transport,
}

impl SessionRecord {
    /// Whether a sign-in for this slot was cut off. If the slot is held, the sign-in is still under way.
    pub fn is_cut_off(&self) -> bool {
        !self.open && now() < self.opened + ABANDONED
    }

    /// Whether a session that an earlier sign-in lost still takes a seat.
    pub fn lost_seat(&self) -> bool {
        self.lost_seat.is_some_and(|at| now() < at + ABANDONED)
    }
}

/// The tokens that OAuth gave a user mapping.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Identifies the grant; renewals do not change it.
    pub id: String,
    /// The fingerprint of the options it was given for.
    pub fingerprint: String,
    pub access_token: Secret,
    /// When the access token expires; `None` if the server did not say.
    pub access_expires: Option<Millis>,
    pub refresh_token: Option<Secret>,
    /// When the user signed in for it. A renewal does not change that: unless the application is set to sliding
    /// expiration, refresh tokens expire a fixed time after it.
    pub authorized: Millis,
    /// The granted scopes, if they differ from the requested ones.
    pub scope: Option<String>,
    /// Why the server refuses the grant, in its words.
    pub ended: Option<String>,
    /// The answer to a renewal that could not be parsed. The refresh token that was sent may be used up, and its
    /// successor is in this answer.
    #[serde(default)]
    pub unread: Option<Secret>,
    /// The client secret of the last renewal. A secret that has worked cannot be wrong, only expired.
    pub client_secret: Option<Secret>,
}

/// An authorization that was begun and waits for the browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PendingAuthorization {
    pub state: Secret,
    pub verifier: Secret,
    pub begun: Millis,
}

/// The shared state of one server.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    sealer: Arc<Sealer>,
    /// The purpose that sessions are sealed for. It names this directory, so that a copy of it, such as a standby's,
    /// cannot use them: two clusters must not share a session.
    session_purpose: String,
}

/// The slot of a session, locked.
#[derive(Debug)]
pub(crate) struct Slot {
    pub index: u32,
    store: Arc<Store>,
    _lock: Held,
}

impl Store {
    /// Opens the state below `directory`, which is created with mode 0700 if it does not exist.
    pub fn open(directory: &Path, sealer: Arc<Sealer>) -> Result<Arc<Self>> {
        let about = make_directory(directory).and_then(|()| fs::metadata(directory));
        let about = about.map_err(|reason| inaccessible(directory, reason))?;
        let session_purpose = format!("session {}:{}", about.dev(), about.ino());
        Ok(Arc::new(Self { directory: directory.to_owned(), sealer, session_purpose }))
    }

    /// The states of all servers of all databases.
    pub fn all(root: &Path, sealer: &Arc<Sealer>) -> Vec<Arc<Self>> {
        let servers = directories(root).into_iter().flat_map(|database| directories(&database));
        servers.filter_map(|directory| Self::open(&directory, Arc::clone(sealer)).ok()).collect()
    }

    /// Waits for the turn to choose a session. The backends of a mapping take turns one after the other.
    pub async fn turn(&self, mapping: u32) -> Result<Held> {
        hold(&self.directory.join(format!("queue.{mapping}.lock"))).await
    }

    /// Demands a session from the backends of other mappings, unless another backend does so already.
    pub fn try_demand(&self) -> Result<Option<Held>> {
        try_hold(&self.directory.join("demand.lock"))
    }

    pub fn is_demanded(&self) -> Result<bool> {
        Ok(lock(&self.directory.join("demand.lock"), File::try_lock_shared)?.is_none())
    }

    /// The turn to sign in, unless another backend is signing in.
    pub fn try_sign_in(&self) -> Result<Option<Held>> {
        try_hold(&self.directory.join("sign-in.lock"))
    }

    /// The slot of a session, unless it is in use.
    pub fn try_slot(self: &Arc<Self>, index: u32) -> Result<Option<Slot>> {
        let lock = try_hold(&self.directory.join(format!("session.{index}.lock")))?;
        Ok(lock.map(|lock| Slot { index, store: Arc::clone(self), _lock: lock }))
    }

    /// The slot of a session, once it is not in use.
    pub async fn slot(self: &Arc<Self>, index: u32) -> Result<Slot> {
        let lock = hold(&self.directory.join(format!("session.{index}.lock"))).await?;
        Ok(Slot { index, store: Arc::clone(self), _lock: lock })
    }

    /// The record of a session, whether it is in use or not.
    pub fn peek(&self, index: u32) -> Option<SessionRecord> {
        // A record that cannot be read is ignored: it was sealed with another key, copied, or written by another
        // version.
        self.read(&format!("session.{index}"), &self.session_purpose).ok().flatten()
    }

    /// All sessions by slot.
    pub fn sessions(&self) -> Vec<(u32, SessionRecord)> {
        self.numbered("session.").filter_map(|index| Some((index, self.peek(index)?))).collect()
    }

    /// All grants by user mapping.
    pub fn grants(&self) -> Vec<(u32, Grant)> {
        self.numbered("grant.").filter_map(|mapping| Some((mapping, self.grant(mapping).ok()??))).collect()
    }

    fn numbered(&self, prefix: &str) -> impl Iterator<Item = u32> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.into_iter()
    }

    /// Joins the users of a user mapping.
    pub async fn join(&self, mapping: u32) -> Result<Held> {
        let path = self.directory.join(format!("user.{mapping}.lock"));
        poll(|| lock(&path, File::try_lock_shared)).await
    }

    /// The proof that no backend uses a user mapping, if so. As long as it is held, no backend can join.
    pub fn unused(&self, mapping: u32) -> Result<Option<Held>> {
        try_hold(&self.directory.join(format!("user.{mapping}.lock")))
    }

    pub async fn hold_grant(&self, mapping: u32) -> Result<Held> {
        hold(&self.directory.join(format!("grant.{mapping}.lock"))).await
    }

    /// Tokens that were sealed with another key are ignored.
    pub fn grant(&self, mapping: u32) -> Result<Option<Grant>> {
        openable(self.read(&format!("grant.{mapping}"), "grant"))
    }

    pub fn save_grant(&self, mapping: u32, grant: &Grant) -> Result<()> {
        if self.is_dropped(mapping) {
            // A scan of the dropped mapping is still under way.
            return Ok(());
        }
        self.write(&format!("grant.{mapping}"), "grant", grant, Durable::Yes)
    }

    pub fn pending(&self, mapping: u32) -> Result<Vec<PendingAuthorization>> {
        Ok(openable(self.read(&format!("pending.{mapping}"), "pending"))?.unwrap_or_default())
    }

    /// Changes the pending authorizations. The lock is held only meanwhile.
    pub fn change_pending(
        &self,
        mapping: u32,
        change: impl FnOnce(&mut Vec<PendingAuthorization>),
    ) -> Result<()> {
        let path = self.directory.join(format!("pending.{mapping}.lock"));
        let _turn = files::block(&path)?;
        let mut pending = self.pending(mapping)?;
        change(&mut pending);
        self.write(&format!("pending.{mapping}"), "pending", &pending, Durable::No)
    }

    /// The memory of a user mapping, as far as it can be read.
    pub fn learnt<T: DeserializeOwned>(&self, mapping: u32) -> Option<T> {
        self.read(&format!("learnt.{mapping}"), "learnt").ok().flatten()
    }

    /// Identifies the version of the memory.
    pub fn learnt_stamp(&self, mapping: u32) -> Option<Stamp> {
        Stamp::of(&self.directory.join(format!("learnt.{mapping}")))
    }

    /// The lock for changing the memory; `None` if it cannot be locked.
    pub fn hold_learnt(&self, mapping: u32) -> Option<Held> {
        files::block(&self.directory.join(format!("learnt.{mapping}.lock"))).ok()
    }

    /// Saves the memory, if that is possible.
    pub fn save_learnt<T: Serialize>(&self, mapping: u32, memory: &T) {
        if !self.is_dropped(mapping) {
            let _ = self.write(&format!("learnt.{mapping}"), "learnt", memory, Durable::No);
        }
    }

    /// Whether anything was ever kept for a user mapping in the directory of a server.
    pub fn knows(directory: &Path, mapping: u32) -> bool {
        ["user", "grant", "pending"]
            .iter()
            .any(|kind| directory.join(format!("{kind}.{mapping}.lock")).exists())
    }

    /// Whether a user mapping was dropped.
    pub fn is_dropped(&self, mapping: u32) -> bool {
        self.directory.join(format!("dropped.{mapping}")).exists()
    }

    /// Removes the tokens of a user mapping that was dropped.
    pub fn forget(&self, mapping: u32) {
        // If the mark cannot be created, a session opened from now on stays open until it is idle for too long.
        let _ = File::create(self.directory.join(format!("dropped.{mapping}")));
        for name in ["grant", "pending", "learnt"] {
            // The file need not exist.
            let _ = fs::remove_file(self.directory.join(format!("{name}.{mapping}")));
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str, purpose: &str) -> Result<Option<T>> {
        let path = self.directory.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(inaccessible(&path, reason)),
        };
        let plain = self.sealer.unseal(purpose, &text)?;
        serde_json::from_slice(&plain).map(Some).map_err(|reason| inaccessible(&path, reason.into()))
    }

    /// The caller holds the lock of what it writes.
    fn write<T: Serialize + ?Sized>(
        &self,
        name: &str,
        purpose: &str,
        state: &T,
        durable: Durable,
    ) -> Result<()> {
        let path = self.directory.join(name);
        let plain = serde_json::to_vec(state).map(Zeroizing::new);
        let plain = plain.map_err(|reason| inaccessible(&path, reason.into()))?;
        let sealed = self.sealer.seal(purpose, &plain)?;
        replace(&path, sealed.as_bytes(), durable).map_err(|reason| inaccessible(&path, reason))
    }
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn openable<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind == ErrorKind::Key => Ok(None),
        other => other,
    }
}

impl Slot {
    pub fn read(&self) -> Option<SessionRecord> {
        self.store.peek(self.index)
    }

    pub fn write(&self, record: &SessionRecord) -> Result<()> {
        let store = &self.store;
        store.write(&format!("session.{}", self.index), &store.session_purpose, record, Durable::No)
    }

    pub fn clear(&self) {
        // The file need not exist.
        let _ = fs::remove_file(self.store.directory.join(format!("session.{}", self.index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &Path) -> Arc<Store> {
        let sealer = Arc::new(Sealer::open(&directory.join("key")).unwrap());
        Store::open(&directory.join("1/2"), sealer).unwrap()
    }

    fn record() -> SessionRecord {
        SessionRecord {
            mapping: 7,
            fingerprint: "f".into(),
            how: SignIn::Login,
            open: true,
            cookies: [("a".to_owned(), Zeroizing::new("cookie value".to_owned()))].into(),
            elsewhere: None,
            tenant: None,
            lost_seat: None,
            grant: None,
            opened: 1,
            last_used: 2,
            requests: 3,
            instance: "https://host".into(),
            transport: Transport::default(),
        }
    }

    #[test]
    fn a_session_is_had_by_one_at_a_time_and_read_by_all() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (store(directory.path()), store(directory.path()));
        let slot = one.try_slot(0).unwrap().unwrap();
        assert!(other.try_slot(0).unwrap().is_none());
        assert!(other.peek(0).is_none());
        slot.write(&record()).unwrap();
        assert_eq!(other.peek(0).unwrap().cookies, record().cookies);
        drop(slot);
        let slot = other.try_slot(0).unwrap().unwrap();
        slot.clear();
        assert!(one.peek(0).is_none() && one.sessions().is_empty());
    }

    #[test]
    fn nothing_is_written_that_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.try_slot(0).unwrap().unwrap().write(&record()).unwrap();
        for entry in fs::read_dir(directory.path().join("1/2")).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{path:?}");
            assert!(!fs::read_to_string(&path).unwrap().contains("cookie value"));
        }
        assert_eq!(fs::metadata(directory.path().join("1")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_copy_of_the_directory_has_no_sessions() {
        let directory = tempfile::tempdir().unwrap();
        let original = store(directory.path());
        original.try_slot(0).unwrap().unwrap().write(&record()).unwrap();
        let copy = Store::open(&directory.path().join("1/3"), Arc::clone(&original.sealer)).unwrap();
        fs::copy(original.directory.join("session.0"), copy.directory.join("session.0")).unwrap();
        assert!(original.peek(0).is_some());
        assert!(copy.peek(0).is_none());
    }

    #[test]
    fn the_last_user_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (one, other) =
            runtime.block_on(async { (store.join(7).await.unwrap(), store.join(7).await.unwrap()) });
        drop(one);
        assert!(store.unused(7).unwrap().is_none());
        drop(other);
        assert!(store.unused(7).unwrap().is_some());
    }
}
