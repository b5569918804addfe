//! API sessions: the seats of the licence, and the cookies they live in (docs/acumatica.md §4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::config::Config;
use crate::data::rng::{mix, salt_of};
use crate::request::Request;
use crate::secrets::Secrets;

pub struct Session {
    pub id: String,
    /// Values of `.ASPXAUTH`, the newest last: it and the session id must come back.
    tickets: Mutex<Vec<String>>,
    pub user: String,
    pub tenant: usize,
    /// `cookie`, `basic` or `bearer`.
    pub how: &'static str,
    /// The OAuth grant it belongs to.
    pub grant: Option<u64>,
    /// As the login asked for.
    pub locale: OnceLock<String>,
    opened: SystemTime,
    used: Mutex<(Instant, SystemTime)>,
    requests: AtomicU64,
    /// Acumatica works on one request of a session at a time.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Seats {
    open: Vec<Arc<Session>>,
    /// Most that were open at once.
    peak: usize,
    /// Sessions ever opened.
    opened: u64,
    /// How many times there was no free seat.
    refused: u64,
}

pub struct Sessions {
    seats: Mutex<Seats>,
    counter: AtomicU64,
    /// The most that are open at once; 0 is unlimited.
    limit: usize,
    /// How long a session lives without a request.
    idle: Duration,
    /// Names of the tenants.
    tenants: Vec<String>,
    /// `State::started`.
    started: u64,
    secrets: Arc<Secrets>,
}

/// There is no free seat.
pub struct NoSeat;

impl Seats {
    fn expire(&mut self, idle: Duration) {
        // A request in progress holds the turn.
        self.open.retain(|s| s.used.lock().unwrap().0.elapsed() < idle || s.turn.try_lock().is_err());
    }
}

impl Sessions {
    pub fn new(config: &Config, started: u64, secrets: Arc<Secrets>) -> Sessions {
        Sessions {
            seats: Mutex::default(),
            counter: AtomicU64::new(0),
            limit: config.seats,
            idle: config.idle(),
            tenants: config.tenants.clone(),
            started,
            secrets,
        }
    }

    pub fn open(
        &self,
        user: &str,
        tenant: usize,
        how: &'static str,
        grant: Option<u64>,
    ) -> Result<Arc<Session>, NoSeat> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        if self.limit > 0 && seats.open.len() >= self.limit {
            seats.refused += 1;
            return Err(NoSeat);
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        // Ids differ from run to run: a cookie of an earlier run must not open anything.
        let random = mix(number ^ self.started);
        let now = SystemTime::now();
        let session = Arc::new(Session {
            // 24 characters (HTE).
            id: format!("s{number}{random:016x}{:016x}", mix(random)).chars().take(24).collect(),
            tickets: Mutex::new(vec![self.ticket(random)]),
            user: user.to_string(),
            tenant,
            how,
            grant,
            locale: OnceLock::new(),
            opened: now,
            used: Mutex::new((Instant::now(), now)),
            requests: AtomicU64::new(0),
            turn: Arc::default(),
        });
        self.secrets.add(&session.id);
        seats.open.push(session.clone());
        seats.opened += 1;
        seats.peak = seats.peak.max(seats.open.len());
        Ok(session)
    }

    /// The session whose cookies came with the request.
    pub fn find(&self, request: &Request) -> Option<Arc<Session>> {
        let (id, ticket) = (request.cookie("ASP.NET_SessionId")?, request.cookie(".ASPXAUTH")?);
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        let good = |s: &&Arc<Session>| s.id == id && s.tickets.lock().unwrap().iter().any(|t| t == ticket);
        seats.open.iter().find(good).cloned()
    }

    pub fn find_grant(&self, grant: u64) -> Option<Arc<Session>> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        seats.open.iter().find(|s| s.grant == Some(grant)).cloned()
    }

    pub fn close(&self, id: &str) {
        self.seats.lock().unwrap().open.retain(|s| s.id != id);
    }

    pub fn close_all(&self) {
        self.seats.lock().unwrap().open.clear();
    }

    pub fn seats(&self) -> Value {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        json!({
            "open": seats.open.len(),
            "peak": seats.peak,
            "opened": seats.opened,
            "refused": seats.refused,
        })
    }

    /// Counts anew, from the sessions that are open now.
    pub fn reset_seats(&self) {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        (seats.peak, seats.opened, seats.refused) = (seats.open.len(), 0, 0);
    }

    pub fn list(&self) -> Vec<Value> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(self.idle);
        let seconds =
            |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let show = |s: &Arc<Session>| {
            json!({
                "id": s.id,
                "user": s.user,
                "tenant": self.tenants[s.tenant],
                "how": s.how,
                "opened": seconds(s.opened),
                "last_used": seconds(s.used.lock().unwrap().1),
                "requests": s.requests.load(Ordering::Relaxed),
            })
        };
        seats.open.iter().map(show).collect()
    }

    /// The ticket slides: a new one, beside which the old ones are good.
    pub fn new_ticket(&self, session: &Session) -> String {
        let mut tickets = session.tickets.lock().unwrap();
        let new = self.ticket(salt_of(&[&session.id]) ^ tickets.len() as u64);
        tickets.push(new.clone());
        new
    }

    /// 240 hexadecimal digits (230 to 300 have been seen, HTE and JET).
    fn ticket(&self, salt: u64) -> String {
        let ticket: String = (0..15).map(|i| format!("{:016X}", mix(salt ^ mix(self.started ^ i)))).collect();
        self.secrets.add(&ticket);
        ticket
    }
}

impl Session {
    pub fn touch(&self) {
        *self.used.lock().unwrap() = (Instant::now(), SystemTime::now());
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks the end of a request; idleness counts from there.
    pub fn rest(&self) {
        *self.used.lock().unwrap() = (Instant::now(), SystemTime::now());
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The newest value of `.ASPXAUTH`.
    pub fn ticket(&self) -> String {
        self.tickets.lock().unwrap().last().cloned().unwrap_or_default()
    }
}
