//! API sessions: the seats of the licence, the cookies they live in, cookie login and logout (acumatica-api.md §4).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::data::generate::mix;
use crate::http::Request;
use crate::reply::Reply;
use crate::state::State;

pub struct Session {
    pub id: String,
    /// The value of `.ASPXAUTH`: both cookies must come back.
    ticket: String,
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
            id: format!("s{number}{random:016x}"),
            ticket: format!("{:016X}{:016X}", mix(random ^ 1), mix(random ^ 2)),
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
        state.secrets.add(&session.ticket);
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
        seats.open.iter().find(|s| s.id == id && s.ticket == ticket).cloned()
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

    /// Seven cookies, five of them sent twice, with values that hold `& = + : ~` (acumatica-api.md §4).
    pub fn set_cookies(&self, state: &State, mut reply: Reply) -> Reply {
        let path = match state.config.site() {
            site if site.is_empty() => "/".to_string(),
            site => site,
        };
        let culture = self.locale.get().map_or("en-US", String::as_str);
        let plain = [
            ("ASP.NET_SessionId", self.id.clone(), "; HttpOnly; SameSite=Lax"),
            ("UserBranch", "16".to_string(), ""),
            (
                "Locale",
                format!("TimeZone=GMTE0000U&Culture={}", cookie_value(culture)),
                "; expires=Wed, 31-Dec-2098 23:59:59 GMT",
            ),
            (
                "CompanyID",
                cookie_value(&state.tenants[self.tenant].0),
                "; expires=Wed, 31-Dec-2098 23:59:59 GMT",
            ),
            ("requestid", format!("{:032X}", mix(self.tenant as u64 ^ state.started)), ""),
        ];
        let stat = "+st:183+sc:~/entity/auth/login+start:638381229170000000+tg:".to_string();
        let once =
            [(".ASPXAUTH", self.ticket.clone(), "; HttpOnly; SameSite=Lax"), ("requeststat", stat, "")];
        for (name, value, more) in plain.iter().chain(&plain).chain(&once) {
            reply = reply.header("set-cookie", format!("{name}={value}; path={path}{more}"));
        }
        reply
    }
}

/// What a cookie cannot hold is percent-encoded; `& = + : ~` stay as they are.
fn cookie_value(text: &str) -> String {
    const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');
    utf8_percent_encode(text, UNFIT).to_string()
}

/// `POST /entity/auth/login`.
pub fn login(state: &State, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let text = |name: &str| body[name].as_str().unwrap_or("");
    let (user, company) = text("name").split_once('@').unwrap_or((text("name"), ""));
    if !state.is_password(user, text("password")) {
        let message = "Error: Invalid credentials. Please try again.";
        return Reply::exception(500, "PX.Data.PXException", message);
    }
    let wanted = [text("tenant"), text("company"), company].into_iter().find(|t| !t.is_empty());
    let Some(tenant) = state.tenant(wanted.unwrap_or("")) else {
        let message = "Error: Invalid credentials. Please try again.";
        return Reply::exception(500, "PX.Data.PXException", message);
    };
    match state.sessions.open(state, user, tenant, "cookie", None) {
        Ok(session) => {
            if !text("locale").is_empty() {
                let _ = session.locale.set(text("locale").to_string());
            }
            session.set_cookies(state, Reply::empty(204))
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
    Reply::empty(204)
}
