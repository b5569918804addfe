//! Notices for the user while a statement runs, and the time that it has waited for a session.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lock;

/// Wakes the consumer's thread.
type Waker = Box<dyn Fn() + Send + Sync>;

/// A NOTICE or WARNING for the user while the statement runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a WARNING; otherwise it is a NOTICE.
    pub is_warning: bool,
    /// Lower case, no full stop.
    pub message: String,
    /// What the user can do about it; empty if nothing.
    pub hint: String,
}

#[derive(Default)]
pub(crate) struct Report {
    /// `None` until the consumer sets one.
    waker: Mutex<Option<Waker>>,
    notices: Mutex<Vec<Notice>>,
    waited_for_session: AtomicU64,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

impl Report {
    /// After how long a wait is reported.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    pub fn notice(&self, message: String, hint: String) {
        self.tell(Notice { is_warning: false, message, hint });
    }

    pub fn warning(&self, message: String, hint: String) {
        self.tell(Notice { is_warning: true, message, hint });
    }

    pub fn tell(&self, notice: Notice) {
        lock(&self.notices).push(notice);
        self.wake();
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *lock(&self.notices))
    }

    pub fn waited_for_session(&self, time: Duration) {
        self.waited_for_session.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn session_wait(&self) -> Duration {
        Duration::from_micros(self.waited_for_session.load(Ordering::Relaxed))
    }

    /// Sets the waker.
    pub fn wake_with(&self, waker: impl Fn() + Send + Sync + 'static) {
        *lock(&self.waker) = Some(Box::new(waker));
    }

    pub fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker();
        }
    }
}
