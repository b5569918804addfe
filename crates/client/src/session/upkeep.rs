//! Keeps track of who uses the sessions of a user mapping, and closes sessions that are due.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::Result;
use crate::session::connection::Connection;
use crate::session::sign_out::close;
use crate::session::store::{self, SessionRecord, SignIn};

/// How often a session that is due to be closed, but in use, is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A scan under way. A scan that goes on after its user mapping was dropped may open the session again; it is closed
/// when the scan ends in any way.
pub(crate) struct ActiveUse(pub Arc<Connection>);

impl Drop for ActiveUse {
    fn drop(&mut self) {
        let Self(connection) = self;
        if connection.store.is_dropped(connection.config.state.mapping)
            && let Ok(runtime) = Handle::try_current()
        {
            let connection = Arc::clone(connection);
            connection.tasks.clone().spawn_on(async move { connection.retire_sessions().await }, &runtime);
        }
    }
}

impl Connection {
    /// Joins the users of the mapping's sessions. The first call closes what earlier users have left, and from then on
    /// sessions that are idle for too long are closed.
    pub async fn join(self: &Arc<Self>) -> Result<()> {
        let mut membership = self.membership.lock().await;
        if membership.is_none() {
            *membership = Some(self.store.join(self.config.state.mapping).await?);
            tokio::spawn(keep_tidy(Arc::downgrade(self)));
        }
        Ok(())
    }

    /// Closes the sessions that are due: idle for `idle_logout`, beyond `max_sessions`, or left behind by users that
    /// are gone.
    pub async fn tidy(&self) {
        for (index, record) in self.store.sessions() {
            let due = |record: &SessionRecord| {
                let needless = self.idle_left(record).is_zero()
                    || index >= self.places(record.how)
                    || record.mapping != self.config.state.mapping
                        && matches!(self.store.unused(record.mapping), Ok(Some(_)));
                // The record of a sign-in that was cut off is kept as long as its seat is lost.
                needless && !record.is_cut_off()
            };
            if due(&record)
                && let Ok(Some(slot)) = self.store.try_slot(index)
                && let Some(record) = slot.read().filter(due)
            {
                self.sign_out(&record).await;
                slot.clear();
            }
        }
    }

    fn idle_left(&self, record: &SessionRecord) -> Duration {
        let idle = Duration::from_millis(store::now().saturating_sub(record.last_used));
        self.config.idle_logout.saturating_sub(idle)
    }

    /// Leaves the users of the mapping's sessions. The last one closes the sessions.
    pub async fn leave(&self) {
        if !self.resign().await {
            return;
        }
        if let Ok(Some(_last)) = self.store.unused(self.config.state.mapping) {
            let own = |record: &SessionRecord| record.mapping == self.config.state.mapping;
            close(&self.store, own, Some(self)).await;
        }
        self.tidy().await;
    }

    /// Leaves sessions whose options or key are no longer those of the mapping.
    pub async fn retire(&self) {
        if self.resign().await {
            self.retire_sessions().await;
        }
    }

    async fn retire_sessions(&self) {
        let own = |record: &SessionRecord| {
            record.mapping == self.config.state.mapping && record.fingerprint == self.fingerprint
        };
        close(&self.store, own, Some(self)).await;
    }

    async fn resign(&self) -> bool {
        for tasks in [&self.renewals, &self.tasks] {
            tasks.close();
            tasks.wait().await;
        }
        self.membership.lock().await.take().is_some()
    }

    /// The number of slots for a way of signing in. Those beyond `max_sessions` take no seat of the licence.
    pub fn places(&self, how: SignIn) -> u32 {
        let more = if how == SignIn::Basic { self.config.basic_sessions } else { 0 };
        self.config.max_sessions.saturating_add(more)
    }
}

/// Closes sessions as they fall due, as long as the connection exists.
async fn keep_tidy(connection: Weak<Connection>) {
    while let Some(connection) = connection.upgrade() {
        connection.tidy().await;
        let sessions = connection.store.sessions();
        let open = sessions.iter().filter(|(_, record)| record.open);
        let left = open.map(|(_, record)| connection.idle_left(record)).min();
        let pause = left.unwrap_or(connection.config.idle_logout).max(LOOK_AGAIN);
        drop(connection);
        tokio::time::sleep(pause).await;
    }
}
