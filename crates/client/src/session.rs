//! Sessions: opened once, shared by all scans of a connection, and always closed again.
//!
//! A trial licence has two API sessions, so opening one is never left to chance: signing in runs in
//! a task of its own that a cancelled scan does not cancel. If it were dropped between request and
//! answer, the server would have opened a session whose cookies nobody ever saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{join, join_all};
use percent_encoding::percent_decode_str;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use url::Url;

use crate::answer;
use crate::config::{AuthStrategy, Config, ODataVersion};
use crate::cookies::CookieJar;
use crate::endpoint::{self, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Answer, Http, Request};
use crate::lock;
use crate::metadata::{self, EntitySet};
use crate::request::Surface;

/// Lists of endpoints and inquiries are small; what is larger is something else.
const LIST_BYTES: usize = 8 * 1024 * 1024;

/// One server as one user sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub config: Config,
    http: Http,
    /// At most one for each way of signing in.
    sessions: AsyncMutex<Vec<Arc<Session>>>,
    /// Those that were given up. A scan that still holds one may open it again.
    given_up: Mutex<Vec<Arc<Session>>>,
    odata_version: OnceCell<ODataVersion>,
    endpoints: OnceCell<Vec<Endpoint>>,
    entity_sets: AsyncMutex<HashMap<(Surface, String), EntitySet>>,
    /// Connections that this one takes the place of: their seats are given back before it takes one.
    predecessors: Mutex<Vec<Arc<Connection>>>,
    /// Held while they are signed out.
    handing_over: AsyncMutex<()>,
}

/// How long a sign-out may take before it is given up.
pub(crate) const SIGN_OUT_PATIENCE: Duration = Duration::from_secs(5);

/// The two ways of signing in, which may lead to sessions that are good for different surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignIn {
    Login,
    Basic,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    how: SignIn,
    jar: Mutex<CookieJar>,
    /// What became of it on the surface that is signed in to the other way.
    elsewhere: Mutex<Elsewhere>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elsewhere {
    Untried,
    Accepted,
    Refused,
}

impl Connection {
    /// # Errors
    /// TLS cannot be set up. Nothing is sent yet.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self {
            http: Http::new(&config)?,
            config,
            sessions: AsyncMutex::default(),
            odata_version: OnceCell::new(),
            endpoints: OnceCell::new(),
            given_up: Mutex::default(),
            entity_sets: AsyncMutex::default(),
            predecessors: Mutex::default(),
            handing_over: AsyncMutex::default(),
        })
    }

    /// Takes the place of `outdated`.
    pub fn replace(&self, outdated: Vec<Arc<Connection>>) {
        let mut predecessors = lock(&self.predecessors);
        for connection in outdated {
            predecessors.append(&mut connection.take_predecessors());
            predecessors.push(connection);
        }
    }

    /// The session to read `surface` with: one that is open, else a new one. Concurrent callers
    /// share one sign-in, which goes on even if its caller is dropped.
    pub async fn session(self: &Arc<Self>, surface: Surface) -> Result<Arc<Session>> {
        let wanted = self.way_in(surface);
        let connection = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut sessions = connection.sessions.lock().await;
            let own = sessions.iter().find(|session| session.how == wanted);
            let any = || sessions.iter().find(|session| *session.elsewhere() != Elsewhere::Refused);
            if let Some(open) = own.or_else(any) {
                return Ok(Arc::clone(open));
            }
            connection.sign_out_predecessors().await;
            let session = Session::new(wanted);
            if let Err(error) = connection.sign_in(&session, surface).await {
                // It may have failed after the server had opened the session.
                connection.logout(&session).await;
                return Err(error);
            }
            let session = Arc::new(session);
            sessions.push(Arc::clone(&session));
            Ok(session)
        });
        task.await.unwrap_or_else(|reason| {
            Err(Error::new(ErrorKind::Internal, "signing in failed unexpectedly").detail(reason))
        })
    }

    /// Takes note that the server no longer accepts `session` for `surface`, so that the next call of
    /// [`Connection::session`] opens another.
    pub async fn lost(self: &Arc<Self>, session: &Arc<Session>, surface: Surface) {
        if session.how != self.way_in(surface) && *session.elsewhere() != Elsewhere::Accepted {
            *session.elsewhere() = Elsewhere::Refused;
            return;
        }
        let mut sessions = self.sessions.lock().await;
        let before = sessions.len();
        sessions.retain(|open| !Arc::ptr_eq(open, session));
        if sessions.len() < before {
            self.given_up().push(Arc::clone(session));
            drop(sessions);
            // If the server knows it after all, it still holds a seat.
            let (connection, session) = (Arc::clone(self), Arc::clone(session));
            let _ = tokio::spawn(async move { connection.logout(&session).await }).await;
        }
    }

    /// Signs out of all sessions, waiting for a sign-in under way.
    pub async fn sign_out(&self) {
        join(self.sign_out_predecessors(), self.close_sessions()).await;
    }

    pub async fn sign_out_predecessors(&self) {
        let _until_done = self.handing_over.lock().await;
        let predecessors = self.take_predecessors();
        join_all(predecessors.iter().map(|connection| connection.close_sessions())).await;
    }

    fn take_predecessors(&self) -> Vec<Arc<Connection>> {
        std::mem::take(&mut *lock(&self.predecessors))
    }

    async fn close_sessions(&self) {
        let mut sessions = std::mem::take(&mut *self.sessions.lock().await);
        sessions.append(&mut self.given_up());
        join_all(sessions.iter().map(|session| self.logout(session))).await;
    }

    /// Failures are of no use to anyone here: the server closes what it is not asked to close after
    /// some minutes.
    async fn logout(&self, session: &Session) {
        let Ok(url) = self.url("entity/auth/logout") else { return };
        if session.jar().is_empty() {
            return;
        }
        let request = Request { method: Method::POST, ..Request::get(url, "the sign-out") };
        let answer = self.http.send(&self.config, &session.jar, request);
        let _ = tokio::time::timeout(SIGN_OUT_PATIENCE, answer).await;
        *session.jar() = CookieJar::default();
    }

    fn given_up(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        lock(&self.given_up)
    }

    /// Reads JSON from `url` in a session.
    pub async fn get(&self, session: &Session, surface: Surface, url: Url, what: &str) -> Result<Answer> {
        let wanted = self.way_in(surface);
        let request = Request { basic: wanted == SignIn::Basic, ..Request::get(url, what) };
        let answer = self.http.send(&self.config, &session.jar, request).await?;
        if session.how != wanted {
            *session.elsewhere() = Elsewhere::Accepted;
        }
        Ok(answer)
    }

    /// What `$metadata` says of an inquiry or DAC; asked for once, since the document may be long.
    pub async fn entity_set(&self, session: &Session, surface: Surface, name: &str) -> Result<EntitySet> {
        let mut known = self.entity_sets.lock().await;
        let key = (surface, name.to_owned());
        if let Some(set) = known.get(&key) {
            return Ok(set.clone());
        }
        let root = surface.root(self.odata_version(session).await?, self.config.company.as_deref())?;
        let url = self.url(&format!("{root}/$metadata"))?;
        let request = Request {
            basic: self.way_in(surface) == SignIn::Basic,
            // It exists as XML only: asked for JSON, the server fails.
            accept: "application/xml",
            ..Request::get(url, "the $metadata of the instance")
        };
        let document = self.http.send(&self.config, &session.jar, request).await?;
        let set = metadata::entity_set(document.reader(), name).await?;
        known.insert(key, set.clone());
        Ok(set)
    }

    /// The OData layout of the instance: as configured, else the one whose list of inquiries answers.
    pub async fn odata_version(&self, session: &Session) -> Result<ODataVersion> {
        let probe = || self.probe_odata(&session.jar, Surface::GenericInquiry);
        self.odata_version.get_or_try_init(probe).await.copied()
    }

    /// The endpoint by this name in the newest version that the instance lists, or `None` if the
    /// instance does not say what it has.
    ///
    /// # Errors
    /// The instance lists its endpoints, and this is none of them.
    pub async fn newest_endpoint(&self, session: &Session, name: &str) -> Result<Option<Endpoint>> {
        let endpoints = self
            .endpoints
            .get_or_try_init(|| async {
                let what = "the list of endpoints";
                match self.get(session, Surface::Rest, self.url("entity")?, what).await {
                    Ok(answer) => Ok(endpoint::parse_list(&answer.text(LIST_BYTES).await?)),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            })
            .await?;
        if endpoints.is_empty() {
            return Ok(None);
        }
        endpoint::newest(endpoints, name).cloned().map(Some)
    }

    /// An absolute URL from a percent-encoded path and query below the site.
    pub fn url(&self, rest: &str) -> Result<Url> {
        Url::parse(&self.config.instance.join(rest)).map_err(|reason| {
            Error::new(ErrorKind::Internal, "could not build the address of a request").detail(reason)
        })
    }

    fn way_in(&self, surface: Surface) -> SignIn {
        match (self.config.auth_strategy, surface) {
            (AuthStrategy::Basic, Surface::GenericInquiry | Surface::Dac) => SignIn::Basic,
            _ => SignIn::Login,
        }
    }

    async fn sign_in(&self, session: &Session, surface: Surface) -> Result<()> {
        match session.how {
            SignIn::Login => self.login(session).await,
            // HTTP Basic: the first answer opens the session and brings its cookies.
            SignIn::Basic => self.probe_odata(&session.jar, surface).await.map(|version| {
                // Known already if another session was there before.
                let _ = self.odata_version.set(version);
            }),
        }
        .map_err(credentials)?;
        self.check_landing(session)
    }

    /// Cookie login.
    async fn login(&self, session: &Session) -> Result<()> {
        let config = &self.config;
        let mut body = json!({ "name": config.username, "password": config.password.expose_secret() });
        for (name, value) in
            [("tenant", &config.company), ("branch", &config.branch), ("locale", &config.locale)]
        {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let request = Request {
            method: Method::POST,
            body: Some(body.to_string()),
            ..Request::get(self.url("entity/auth/login")?, "the sign-in")
        };
        self.http.send(config, &session.jar, request).await.map(drop)
    }

    /// A wrong tenant is silently accepted on a single-tenant site; the cookie tells where we are.
    fn check_landing(&self, session: &Session) -> Result<()> {
        let landed =
            session.jar().get("CompanyID").map(|id| percent_decode_str(id).decode_utf8_lossy().into_owned());
        match (&self.config.company, landed) {
            (Some(wanted), Some(landed)) if !landed.eq_ignore_ascii_case(wanted) => Err(Error::new(
                ErrorKind::Credentials,
                format!("the server signed in to company \"{landed}\", not \"{wanted}\""),
            )
            .hint("Set the server option \"company\" to the login name of the tenant.")),
            _ => Ok(()),
        }
    }

    async fn probe_odata(&self, jar: &Mutex<CookieJar>, surface: Surface) -> Result<ODataVersion> {
        let candidates: &[ODataVersion] = match self.config.odata_version {
            ODataVersion::Auto => &[ODataVersion::V4, ODataVersion::V3],
            ODataVersion::V3 => &[ODataVersion::V3],
            ODataVersion::V4 => &[ODataVersion::V4],
        };
        const WHAT: &str = "the list of inquiries or data access classes";
        let mut missing = None;
        for &version in candidates {
            let root = surface.root(version, self.config.company.as_deref())?;
            let request = Request {
                basic: self.way_in(surface) == SignIn::Basic,
                ..Request::get(self.url(&root)?, WHAT)
            };
            match self.http.send(&self.config, jar, request).await {
                Ok(answer) => {
                    answer.text(LIST_BYTES).await?;
                    return Ok(version);
                }
                Err(error) if error.kind == ErrorKind::NotFound => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(missing
            .unwrap_or_else(|| answer::empty(WHAT))
            .hint("Check the server options \"url\", \"company\" and \"odata_version\"."))
    }
}

impl Session {
    fn new(how: SignIn) -> Self {
        Self { how, jar: Mutex::default(), elsewhere: Mutex::new(Elsewhere::Untried) }
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        lock(&self.jar)
    }

    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        lock(&self.elsewhere)
    }
}

/// While signing in, an unknown session means an unknown user.
fn credentials(error: Error) -> Error {
    match error.kind {
        ErrorKind::SessionLost => answer::bad_credentials(error.detail.as_deref().unwrap_or_default()),
        _ => error,
    }
}
