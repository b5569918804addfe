//! API sessions: the seats of the licence, the cookies they live in, cookie login and logout (docs/acumatica.md §4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::cookies;
use crate::data::rng::{mix, salt_of};
use crate::http::Request;
use crate::reply::Reply;
use crate::state::State;

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

#[derive(Default)]
pub struct Sessions {
    seats: Mutex<Seats>,
    counter: AtomicU64,
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
    pub fn open(
        &self,
        state: &State,
        user: &str,
        tenant: usize,
        how: &'static str,
        grant: Option<u64>,
    ) -> Result<Arc<Session>, NoSeat> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        if state.config.seats > 0 && seats.open.len() >= state.config.seats {
            seats.refused += 1;
            return Err(NoSeat);
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        // Ids differ from run to run: a cookie of an earlier run must not open anything.
        let random = mix(number ^ state.started);
        let now = SystemTime::now();
        let session = Arc::new(Session {
            // 24 characters (HTE).
            id: format!("s{number}{random:016x}{:016x}", mix(random)).chars().take(24).collect(),
            tickets: Mutex::new(vec![ticket(state, random)]),
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
        state.secrets.add(&session.id);
        seats.open.push(session.clone());
        seats.opened += 1;
        seats.peak = seats.peak.max(seats.open.len());
        Ok(session)
    }

    /// The session whose cookies came with the request.
    pub fn find(&self, state: &State, request: &Request) -> Option<Arc<Session>> {
        let (id, ticket) = (request.cookie("ASP.NET_SessionId")?, request.cookie(".ASPXAUTH")?);
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        let good = |s: &&Arc<Session>| s.id == id && s.tickets.lock().unwrap().iter().any(|t| t == ticket);
        seats.open.iter().find(good).cloned()
    }

    pub fn find_grant(&self, state: &State, grant: u64) -> Option<Arc<Session>> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        seats.open.iter().find(|s| s.grant == Some(grant)).cloned()
    }

    pub fn close(&self, id: &str) {
        self.seats.lock().unwrap().open.retain(|s| s.id != id);
    }

    pub fn close_all(&self) {
        self.seats.lock().unwrap().open.clear();
    }

    pub fn seats(&self, state: &State) -> Value {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        json!({
            "open": seats.open.len(),
            "peak": seats.peak,
            "opened": seats.opened,
            "refused": seats.refused,
        })
    }

    /// Counts anew, from the sessions that are open now.
    pub fn reset_seats(&self, state: &State) {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        (seats.peak, seats.opened, seats.refused) = (seats.open.len(), 0, 0);
    }

    pub fn list(&self, state: &State) -> Vec<Value> {
        let mut seats = self.seats.lock().unwrap();
        seats.expire(state.config.idle());
        let seconds =
            |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let show = |s: &Arc<Session>| {
            json!({
                "id": s.id,
                "user": s.user,
                "tenant": state.tenants[s.tenant].0,
                "how": s.how,
                "opened": seconds(s.opened),
                "last_used": seconds(s.used.lock().unwrap().1),
                "requests": s.requests.load(Ordering::Relaxed),
            })
        };
        seats.open.iter().map(show).collect()
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

    /// The ticket slides: a new one, beside which the old ones are good.
    pub fn new_ticket(&self, state: &State) -> String {
        let mut tickets = self.tickets.lock().unwrap();
        let new = ticket(state, salt_of(&[&self.id]) ^ tickets.len() as u64);
        tickets.push(new.clone());
        new
    }
}

/// 240 hexadecimal digits (230 to 300 have been seen, HTE and JET).
fn ticket(state: &State, salt: u64) -> String {
    let ticket: String = (0..15).map(|i| format!("{:016X}", mix(salt ^ mix(state.started ^ i)))).collect();
    state.secrets.add(&ticket);
    ticket
}

/// `POST /entity/auth/login`.
pub fn login(state: &State, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let text = |name: &str| body[name].as_str().unwrap_or("");
    let (user, company) = text("name").split_once('@').unwrap_or((text("name"), ""));
    if !state.is_password(user, text("password")) {
        let message = "Error: Invalid credentials. Please try again.";
        return cookies::refused(state, request, Reply::exception(500, "PX.Data.PXException", message));
    }
    let wanted = [text("tenant"), text("company"), company].into_iter().find(|t| !t.is_empty());
    let Some(tenant) = state.tenant(wanted.unwrap_or("")) else {
        // Seen on a site of several tenants (docs/acumatica.md §4, CLI 26.101).
        let message = "A proper company ID cannot be determined for the request.";
        let reply = Reply::exception(500, "PX.Data.PXUndefinedCompanyException", message);
        return cookies::refused(state, request, reply);
    };
    match state.sessions.open(state, user, tenant, "cookie", None) {
        Ok(session) => {
            if !text("locale").is_empty() {
                let _ = session.locale.set(text("locale").to_string());
            }
            cookies::opened(state, request, &session, Reply::empty(204))
        }
        Err(NoSeat) => Reply::exception(
            state.config.login_limit_status,
            "PX.Data.PXException",
            "Error: The number of active API sessions has reached the API Login Limit of the license.",
        ),
    }
}

/// `POST /entity/auth/logout`. Without a Content-Length IIS answers 411, and the session stays.
pub fn logout(state: &State, request: &Request) -> Reply {
    if request.header("content-length").is_none() && request.header("transfer-encoding").is_none() {
        return Reply::html(
            411,
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<HTML><HEAD><TITLE>Length Required</TITLE></HEAD>\n\
             <BODY><h2>Length Required</h2><hr><p>HTTP Error 411. The request must be chunked or have a content \
             length.</p></BODY></HTML>\n",
        );
    }
    if let Some(session) = state.sessions.find(state, request) {
        state.sessions.close(&session.id);
    }
    if let Some(session) = state.oauth.session_of(state, request) {
        state.sessions.close(&session.id);
    }
    cookies::closed(state, request, Reply::empty(204))
}
