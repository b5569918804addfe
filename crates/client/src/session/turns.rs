//! Chooses the session for a request, and the order of those who wait.
//!
//! Users of one mapping take turns in the order of the queue. A session of another mapping that is in use is left
//! alone, but not for longer than [`PATIENCE`].

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::config::SharedState;
use crate::error::{ErrorKind, Result};
use crate::lock;
use crate::report::Report;
use crate::request::Surface;
use crate::session::connection::Connection;
use crate::session::files::{self, Held};
use crate::session::lease::Lease;
use crate::session::sign_out::sign_out;
use crate::session::store::{self, Proof, SessionRecord, SignIn, Slot, Store};

/// For how many milliseconds the open sessions are shared, after the licence had no seat for another one.
const CROWDED: u64 = 30_000;
/// A further session is opened only if all sessions of the mapping stay in use for this long.
const FURTHER_SESSION: Duration = Duration::from_millis(10);
/// How many milliseconds a session of another mapping must be unused before it may be closed for this one.
const LEFT_ALONE: u64 = 250;
/// Whoever has waited this long may close the session of another mapping between two of its requests.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long a session is left to a backend that has waited for `PATIENCE`.
const WAY: Duration = Duration::from_millis(100);

/// The result of looking at all slots.
enum Choice {
    /// A session that can be used.
    Session(Slot, Box<SessionRecord>),
    /// A slot for a new session. Nobody else signs in to the server meanwhile, so that a crash costs one seat at most.
    Vacancy(Slot, Held),
}

/// The rank of a slot, the best one first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Usable,
    /// A session of the other way of signing in.
    UsablePerhaps,
    Empty,
    /// A session of changed options, or one that this surface refuses.
    Outdated,
    /// Of another mapping, with the time of its last use.
    Others(u64),
    CutOff,
}

impl Connection {
    /// A session for a request to `surface`: an open one that is not in use, else a new one if `max_sessions` allows
    /// it, else the next one that is given back. A sign-in goes on even if its caller is dropped; then others find its
    /// session.
    pub async fn lease(self: &Arc<Self>, surface: Surface, report: &Report) -> Result<Lease> {
        self.join().await?;
        let lease = self.session(surface, report).await?;
        let unproven = lease.record().tenant == Some(Proof::None);
        self.unproven.fetch_or(unproven, Ordering::Relaxed);
        self.tell_unproven(report);
        Ok(lease)
    }

    async fn session(self: &Arc<Self>, surface: Surface, report: &Report) -> Result<Lease> {
        let wanted = self.way_in(surface);
        loop {
            let (slot, turn) = match self.choose(wanted, report).await? {
                Choice::Session(slot, record) => {
                    let mut lease = Lease::new(slot, *record);
                    self.provide_token(&mut lease).await?;
                    return Ok(lease);
                }
                Choice::Vacancy(slot, turn) => (slot, turn),
            };
            match self.open(slot, turn, surface).await {
                Err(error) if error.kind == ErrorKind::NoSeat => {
                    if self.store.sessions().iter().any(|(_, record)| self.serves(record, wanted)) {
                        // The licence has fewer seats than `max_sessions`, so the open sessions are shared.
                        self.crowded_until.store(store::now() + CROWDED, Ordering::Relaxed);
                    } else if !self.make_room().await {
                        return Err(error);
                    }
                }
                opened => return opened,
            }
        }
    }

    /// Waits for the turn, then for a session or a slot for a new one.
    async fn choose(&self, wanted: SignIn, report: &Report) -> Result<Choice> {
        let since = Instant::now();
        let mut choice = pin!(async {
            let _turn = self.store.turn(self.config.state.mapping).await?;
            let since = Instant::now();
            let mut demand = None;
            files::poll(|| self.look(wanted, since.elapsed(), &mut demand)).await
        });
        let chosen = tokio::select! {
            chosen = &mut choice => chosen,
            () = tokio::time::sleep(Report::PATIENCE) => {
                report.notice(
                    format!("waiting for a session of server \"{}\"", self.config.server),
                    format!("Other queries use all that it may have open; the server option \"max_sessions\" ({}) \
                             allows for more, if the licence and the user's limit on screen SM201010 do.", self.config.max_sessions),
                );
                choice.await
            }
        };
        report.waited_for_session(since.elapsed());
        chosen
    }

    fn look(&self, wanted: SignIn, waited: Duration, demand: &mut Option<Held>) -> Result<Option<Choice>> {
        let now = store::now();
        let (mut own_in_use, mut held, mut lost) = (false, 0, 0);
        let mut places = Vec::new();
        for index in 0..self.places(wanted) {
            let slot = self.store.try_slot(index)?;
            let record = self.store.peek(index);
            let takes_seat = u32::from(index < self.config.max_sessions);
            lost += takes_seat
                * u32::from(
                    record
                        .as_ref()
                        .is_some_and(|record| record.lost_seat() || slot.is_some() && record.is_cut_off()),
                );
            held +=
                takes_seat * u32::from(slot.is_none() || record.as_ref().is_some_and(|record| record.open));
            let Some(slot) = slot else {
                own_in_use |= record.is_some_and(|record| {
                    self.serves(&record, wanted)
                        || !record.open && record.mapping == self.config.state.mapping
                });
                continue;
            };
            let rank = match &record {
                None => Rank::Empty,
                Some(record) if self.serves(record, wanted) && record.how == wanted => Rank::Usable,
                Some(record) if self.serves(record, wanted) => Rank::UsablePerhaps,
                Some(record) if record.is_cut_off() => Rank::CutOff,
                Some(record) if !record.open || record.mapping == self.config.state.mapping => Rank::Outdated,
                Some(record) => Rank::Others(record.last_used),
            };
            places.push((rank, slot, record));
        }
        if !own_in_use && waited >= PATIENCE && demand.is_none() {
            *demand = self.store.try_demand()?;
        }
        let may_take = |rank: Rank, index: u32| match rank {
            Rank::Empty | Rank::CutOff if index >= self.config.max_sessions => true,
            // A lost seat counts as taken, unless no session is open at all.
            Rank::Empty | Rank::CutOff => held + lost < self.config.max_sessions || held == 0,
            Rank::Others(last_used) => waited >= PATIENCE || now.saturating_sub(last_used) >= LEFT_ALONE,
            Rank::Usable | Rank::UsablePerhaps | Rank::Outdated => true,
        };
        let best = places
            .into_iter()
            .filter(|(rank, slot, _)| may_take(*rank, slot.index))
            .min_by_key(|(rank, ..)| *rank);
        let Some((rank, slot, record)) = best else { return Ok(None) };
        if let (Rank::Usable | Rank::UsablePerhaps, Some(record)) = (rank, record) {
            // Another backend may have waited long enough for this slot.
            let gives_way = waited < WAY && demand.is_none() && self.store.is_demanded()?;
            return Ok((!gives_way).then(|| Choice::Session(slot, Box::new(record))));
        }
        let crowded = now < self.crowded_until.load(Ordering::Relaxed);
        // A grant has one session, however many slots there are.
        let must_share = own_in_use && (crowded || wanted == SignIn::Bearer || waited < FURTHER_SESSION);
        if must_share {
            return Ok(None);
        }
        let turn = self.store.try_sign_in()?;
        Ok(turn.map(|turn| Choice::Vacancy(slot, turn)))
    }

    /// Records that the server refuses a session for `surface`, so that the next call of [`Connection::lease`] opens
    /// another one, or requests a new token.
    pub async fn lost(self: &Arc<Self>, lease: Lease, surface: Surface) {
        let how = lease.record().how;
        if how != self.way_in(surface) && lease.record().elsewhere != Some(true) {
            lease.record().elsewhere = Some(false);
            return;
        }
        if how == SignIn::Bearer {
            *lock(&self.refused_token) = lease.token.clone();
            return;
        }
        // If the server still knows the session, it holds a seat.
        let connection = Arc::clone(self);
        let _ = self.tasks.spawn(async move { connection.logout(&lease).await }).await;
    }

    /// Whether a session can serve requests that sign in as `wanted`: it is open, and of this user mapping with these
    /// options.
    fn serves(&self, record: &SessionRecord, wanted: SignIn) -> bool {
        record.open
            && record.mapping == self.config.state.mapping
            && record.fingerprint == self.fingerprint
            && (record.how == wanted || record.elsewhere != Some(false))
    }

    /// Closes one unused session of this cluster on the same site for another user or server. False if there is none.
    pub async fn make_room(&self) -> bool {
        let instance = self.config.instance.to_string();
        let takes_a_seat = |record: &SessionRecord| {
            record.open && record.instance == instance && !self.serves(record, record.how)
        };
        let SharedState { root, sealer, .. } = &self.config.state;
        for store in Store::all(root, sealer) {
            for (index, _) in store.sessions().into_iter().filter(|(_, record)| takes_a_seat(record)) {
                if let Ok(Some(slot)) = store.try_slot(index)
                    && let Some(record) = slot.read().filter(takes_a_seat)
                {
                    sign_out(&store, &record, Some(self)).await;
                    slot.clear();
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{App, Config, Credentials, Login, ODataVersion, Secret, Transport};
    use crate::instance::InstanceUrl;
    use crate::seal::Sealer;

    fn connection(root: &Path, mapping: u32, max_sessions: u32, credentials: Credentials) -> Connection {
        Connection::new(Config {
            server: "erp".into(),
            instance: InstanceUrl::parse("http://localhost:1").unwrap(),
            company: None,
            odata_version: ODataVersion::Auto,
            credentials,
            branch: None,
            locale: None,
            operation_timeout: Duration::from_secs(1),
            transport: Transport::default(),
            max_sessions,
            basic_sessions: 0,
            idle_logout: Duration::from_secs(300),
            state: SharedState {
                root: root.to_owned(),
                directory: root.join("1/2"),
                mapping,
                sealer: Arc::new(Sealer::open(&root.join("key")).unwrap()),
            },
        })
        .unwrap()
    }

    fn login() -> Login {
        Login { username: "u".into(), password: Secret::new("p") }
    }

    fn by_cookie(root: &Path, mapping: u32, max_sessions: u32) -> Connection {
        connection(root, mapping, max_sessions, Credentials::Cookie(login()))
    }

    fn record(of: &Connection, how: SignIn, open: bool) -> SessionRecord {
        SessionRecord {
            mapping: of.config.state.mapping,
            fingerprint: of.fingerprint.clone(),
            how,
            open,
            cookies: Default::default(),
            elsewhere: None,
            tenant: None,
            lost_seat: None,
            grant: None,
            opened: store::now(),
            last_used: store::now(),
            requests: 0,
            instance: of.config.instance.to_string(),
            transport: Transport::default(),
        }
    }

    /// The slot that is found after a wait, and whether it has a session.
    fn find(by: &Connection, how: SignIn, waited: Duration) -> Option<(u32, bool)> {
        by.look(how, waited, &mut None).unwrap().map(|found| match found {
            Choice::Session(slot, _) => (slot.index, true),
            Choice::Vacancy(slot, _) => (slot.index, false),
        })
    }

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn an_idle_session_of_ones_own_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let own = by_cookie(root.path(), 1, 3);
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((0, false)));
        own.store.try_slot(2).unwrap().unwrap().write(&record(&own, SignIn::Login, true)).unwrap();
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((2, true)));
        // Sessions that the surface has refused, and those of other options, do not fit.
        let refused = SessionRecord { elsewhere: Some(false), ..record(&own, SignIn::Basic, true) };
        own.store.try_slot(2).unwrap().unwrap().write(&refused).unwrap();
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((0, false)));
        let outdated = SessionRecord { fingerprint: "x".into(), ..record(&own, SignIn::Login, true) };
        own.store.try_slot(2).unwrap().unwrap().write(&outdated).unwrap();
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((0, false)));
    }

    #[test]
    fn another_session_only_while_those_there_stay_in_use_and_one_sign_in_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let own = by_cookie(root.path(), 1, 2);
        let slot = own.store.try_slot(0).unwrap().unwrap();
        slot.write(&record(&own, SignIn::Login, true)).unwrap();
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), None);
        assert_eq!(find(&own, SignIn::Login, FURTHER_SESSION), Some((1, false)));
        let turn = own.store.try_sign_in().unwrap();
        assert_eq!(find(&own, SignIn::Login, FURTHER_SESSION), None);
        drop(turn);
        own.crowded_until.store(store::now() + CROWDED, Ordering::Relaxed);
        assert_eq!(find(&own, SignIn::Login, FURTHER_SESSION), None);
    }

    #[test]
    fn issue_5_http_basic_need_not_wait_for_a_seat() {
        let root = tempfile::tempdir().unwrap();
        let mut own = connection(root.path(), 1, 1, Credentials::Basic(login()));
        own.config.basic_sessions = 1;
        let seat = own.store.try_slot(0).unwrap().unwrap();
        seat.write(&record(&own, SignIn::Login, true)).unwrap();
        assert_eq!(find(&own, SignIn::Basic, FURTHER_SESSION), Some((1, false)));
        // REST takes a seat, and needs a session of its own.
        assert_eq!(find(&own, SignIn::Login, PATIENCE), None);
        let more = own.store.try_slot(1).unwrap().unwrap();
        more.write(&record(&own, SignIn::Basic, true)).unwrap();
        assert_eq!(find(&own, SignIn::Basic, PATIENCE), None);
        drop(more);
        assert_eq!(find(&own, SignIn::Basic, AT_ONCE), Some((1, true)));
        assert_eq!(find(&own, SignIn::Login, PATIENCE), None);
        // A free session comes first, so that one session serves both surfaces.
        drop(seat);
        own.store.try_slot(1).unwrap().unwrap().clear();
        assert_eq!(find(&own, SignIn::Basic, AT_ONCE), Some((0, true)));
        assert_eq!((own.places(SignIn::Basic), own.places(SignIn::Login)), (2, 1));
    }

    #[test]
    fn a_grant_has_one_session_also_while_it_is_being_opened() {
        let root = tempfile::tempdir().unwrap();
        let app = App {
            client_id: "x@y".into(),
            client_secret: None,
            scope: "api".into(),
            callback_url: "http://localhost:1/".into(),
        };
        let own = connection(root.path(), 1, 2, Credentials::OAuthPassword(login(), app));
        let slot = own.store.try_slot(0).unwrap().unwrap();
        for open in [false, true] {
            slot.write(&record(&own, SignIn::Bearer, open)).unwrap();
            assert_eq!(find(&own, SignIn::Bearer, PATIENCE), None);
        }
    }

    #[test]
    fn others_are_left_alone_but_not_forever() {
        let root = tempfile::tempdir().unwrap();
        let (own, other) = (by_cookie(root.path(), 1, 1), by_cookie(root.path(), 2, 1));
        let write = |record: &SessionRecord| own.store.try_slot(0).unwrap().unwrap().write(record).unwrap();
        write(&record(&other, SignIn::Login, true));
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), None);
        assert_eq!(find(&own, SignIn::Login, PATIENCE), Some((0, false)));
        let idle = record(&other, SignIn::Login, true);
        write(&SessionRecord { last_used: store::now() - LEFT_ALONE, ..idle });
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((0, false)));
    }

    #[test]
    fn who_has_waited_long_enough_is_given_way() {
        let root = tempfile::tempdir().unwrap();
        let (own, other) = (by_cookie(root.path(), 1, 1), by_cookie(root.path(), 2, 1));
        let slot = own.store.try_slot(0).unwrap().unwrap();
        slot.write(&record(&other, SignIn::Login, true)).unwrap();
        let mut demand = None;
        assert!(own.look(SignIn::Login, PATIENCE, &mut demand).unwrap().is_none());
        assert!(demand.is_some());
        drop(slot);
        assert_eq!(find(&other, SignIn::Login, AT_ONCE), None);
        assert!(own.look(SignIn::Login, PATIENCE, &mut demand).unwrap().is_some());
        assert_eq!(find(&other, SignIn::Login, WAY), Some((0, true)));
        drop(demand);
        assert_eq!(find(&other, SignIn::Login, AT_ONCE), Some((0, true)));
    }

    #[test]
    fn a_place_that_may_not_be_taken_hides_none_that_may() {
        let root = tempfile::tempdir().unwrap();
        let (own, other) = (by_cookie(root.path(), 1, 2), by_cookie(root.path(), 2, 2));
        let session = SessionRecord { lost_seat: Some(store::now()), ..record(&other, SignIn::Login, true) };
        own.store.try_slot(0).unwrap().unwrap().write(&session).unwrap();
        // The other slot is empty, but its seat is lost.
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), None);
        assert_eq!(find(&own, SignIn::Login, PATIENCE), Some((0, false)));
    }

    #[test]
    fn a_lost_seat_counts_as_taken_unless_there_were_none() {
        let root = tempfile::tempdir().unwrap();
        let own = by_cookie(root.path(), 1, 2);
        let write = |index, record: &SessionRecord| {
            own.store.try_slot(index).unwrap().unwrap().write(record).unwrap()
        };
        write(0, &record(&own, SignIn::Login, false));
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((1, false)));
        write(1, &record(&own, SignIn::Login, true));
        let busy = own.store.try_slot(1).unwrap().unwrap();
        assert_eq!(find(&own, SignIn::Login, PATIENCE), None);
        drop(busy);
        // Both seats are lost: one sign-in is tried, and no more.
        write(1, &record(&own, SignIn::Login, false));
        assert_eq!(find(&own, SignIn::Login, AT_ONCE), Some((0, false)));
        let again = SessionRecord { lost_seat: Some(store::now()), ..record(&own, SignIn::Login, true) };
        write(0, &again);
        let busy = own.store.try_slot(0).unwrap().unwrap();
        assert_eq!(find(&own, SignIn::Login, PATIENCE), None);
        drop(busy);
        // After ten minutes the server has closed it.
        let long_ago = SessionRecord { opened: 0, ..record(&own, SignIn::Login, false) };
        write(1, &long_ago);
        write(0, &SessionRecord { lost_seat: Some(0), ..again });
        let _busy = own.store.try_slot(0).unwrap().unwrap();
        assert_eq!(find(&own, SignIn::Login, PATIENCE), Some((1, false)));
    }
}
