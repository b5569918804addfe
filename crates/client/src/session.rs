//! Sessions: opened once, shared by all scans of a connection, and always closed again.
//!
//! A trial licence has two API sessions, so opening one is never left to chance: signing in runs in
//! a task of its own that a cancelled scan does not cancel. If it were dropped between request and
//! answer, the server would have opened a session whose cookies nobody ever saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use url::Url;

use crate::answer;
use crate::config::{AuthStrategy, Config, ODataVersion};
use crate::cookies::CookieJar;
use crate::dialect::Surface;
use crate::endpoint::{self, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Answer, Http, Request};

/// Lists of endpoints and inquiries are small; what is larger is something else.
const LIST_BYTES: usize = 8 * 1024 * 1024;

/// One server as one user sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub config: Config,
    http: Http,
    /// At most one for each way of signing in.
    sessions: Arc<AsyncMutex<Vec<Arc<Session>>>>,
    odata_version: OnceCell<ODataVersion>,
    endpoints: OnceCell<Vec<Endpoint>>,
    /// Connections that this one takes the place of: their seats are given back before it takes one.
    predecessors: Mutex<Vec<Arc<Connection>>>,
}

/// How long a sign-out may take before it is given up.
const SIGN_OUT_PATIENCE: Duration = Duration::from_secs(5);

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
    /// The other way's surface did not accept this session.
    refused_elsewhere: AtomicBool,
}

impl std::fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieJar(…)")
    }
}

impl Connection {
    /// # Errors
    /// TLS cannot be set up. Nothing is sent yet.
    pub fn new(config: Config, replaced: Vec<Arc<Connection>>) -> Result<Self> {
        let mut predecessors = Vec::new();
        for connection in replaced {
            predecessors.extend(connection.take_predecessors());
            predecessors.push(connection);
        }
        Ok(Self {
            http: Http::new(&config)?,
            config,
            sessions: Arc::default(),
            odata_version: OnceCell::new(),
            endpoints: OnceCell::new(),
            predecessors: Mutex::new(predecessors),
        })
    }

    /// The session to read `surface` with: one that is open, else a new one. Concurrent callers
    /// share one sign-in, which goes on even if its caller is dropped.
    pub async fn session(self: &Arc<Self>, surface: Surface) -> Result<Arc<Session>> {
        let wanted = self.way_in(surface);
        let connection = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut sessions = connection.sessions.lock().await;
            let usable = |s: &&Arc<Session>| s.how == wanted || !s.refused_elsewhere.load(Ordering::Relaxed);
            if let Some(open) =
                sessions.iter().find(|session| session.how == wanted).or_else(|| sessions.iter().find(usable))
            {
                return Ok(Arc::clone(open));
            }
            connection.sign_out_predecessors().await;
            let session = Arc::new(match wanted {
                SignIn::Login => connection.login().await?,
                SignIn::Basic => connection.basic().await?,
            });
            sessions.push(Arc::clone(&session));
            Ok(session)
        });
        task.await.unwrap_or_else(|reason| {
            Err(Error::new(ErrorKind::Internal, "signing in failed unexpectedly").detail(reason))
        })
    }

    /// Takes note that the server no longer accepts `session` for `surface`, so that the next call of
    /// [`Connection::session`] opens another.
    pub async fn lost(&self, session: &Arc<Session>, surface: Surface) {
        if session.how == self.way_in(surface) {
            self.sessions.lock().await.retain(|open| !Arc::ptr_eq(open, session));
        } else {
            session.refused_elsewhere.store(true, Ordering::Relaxed);
        }
    }

    /// Signs out of all sessions, waiting for a sign-in under way.
    pub async fn sign_out(&self) {
        self.sign_out_predecessors().await;
        self.close_sessions().await;
    }

    async fn sign_out_predecessors(&self) {
        for connection in self.take_predecessors() {
            connection.close_sessions().await;
        }
    }

    fn take_predecessors(&self) -> Vec<Arc<Connection>> {
        std::mem::take(&mut *self.predecessors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn close_sessions(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock().await);
        for session in sessions {
            self.logout(&session).await;
        }
    }

    /// Failures are of no use to anyone here: the server closes what it is not asked to close after
    /// some minutes.
    async fn logout(&self, session: &Session) {
        let Ok(url) = self.url("entity/auth/logout") else { return };
        let request = Request { method: Method::POST, ..Request::get(url, "the sign-out") };
        let _ = tokio::time::timeout(SIGN_OUT_PATIENCE, self.http.send(&self.config, &session.jar, request))
            .await;
    }

    /// Reads JSON from `url` in a session.
    pub async fn get(&self, session: &Session, surface: Surface, url: Url, what: &str) -> Result<Answer> {
        let basic = self.way_in(surface) == SignIn::Basic;
        self.http.send(&self.config, &session.jar, Request { basic, ..Request::get(url, what) }).await
    }

    /// Reads the `$metadata` of a surface, which exists as XML only: asked for JSON, the server fails.
    pub async fn metadata(&self, session: &Session, surface: Surface) -> Result<Answer> {
        let root = surface.root(self.odata_version(session).await?, self.config.company.as_deref())?;
        let url = self.url(&format!("{root}/$metadata"))?;
        let basic = self.way_in(surface) == SignIn::Basic;
        let request = Request {
            basic,
            accept: "application/xml",
            ..Request::get(url, "the $metadata of the instance")
        };
        self.http.send(&self.config, &session.jar, request).await
    }

    /// The OData layout of the instance: as configured, else the one whose list of inquiries answers.
    pub async fn odata_version(&self, session: &Session) -> Result<ODataVersion> {
        self.odata_version.get_or_try_init(|| self.probe_odata(&session.jar)).await.copied()
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

    /// Cookie login.
    async fn login(&self) -> Result<Session> {
        let config = &self.config;
        let mut body = json!({ "name": config.username, "password": config.password.expose_secret() });
        for (name, value) in
            [("tenant", &config.company), ("branch", &config.branch), ("locale", &config.locale)]
        {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let session = Session::new(SignIn::Login);
        let request = Request {
            method: Method::POST,
            body: Some(body.to_string()),
            ..Request::get(self.url("entity/auth/login")?, "the sign-in")
        };
        self.http.send(config, &session.jar, request).await.map_err(credentials)?;
        self.check_landing(&session).await?;
        Ok(session)
    }

    /// A wrong tenant is silently accepted on a single-tenant site; the cookie tells where we are.
    async fn check_landing(&self, session: &Session) -> Result<()> {
        let landed =
            session.jar().get("CompanyID").map(|id| percent_decode_str(id).decode_utf8_lossy().into_owned());
        let (Some(wanted), Some(landed)) = (&self.config.company, landed) else { return Ok(()) };
        if landed.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        self.logout(session).await;
        Err(Error::new(
            ErrorKind::Credentials,
            format!("the server signed in to company \"{landed}\", not \"{wanted}\""),
        )
        .hint("Set the server option \"company\" to the login name of the tenant."))
    }

    /// HTTP Basic: the first answer opens the session and brings its cookies.
    async fn basic(&self) -> Result<Session> {
        let session = Session::new(SignIn::Basic);
        let version = self.probe_odata(&session.jar).await.map_err(credentials)?;
        // Known already if another session was there before.
        let _ = self.odata_version.set(version);
        Ok(session)
    }

    async fn probe_odata(&self, jar: &Mutex<CookieJar>) -> Result<ODataVersion> {
        let candidates: &[ODataVersion] = match self.config.odata_version {
            ODataVersion::Auto => &[ODataVersion::V4, ODataVersion::V3],
            ODataVersion::V3 => &[ODataVersion::V3],
            ODataVersion::V4 => &[ODataVersion::V4],
        };
        let mut missing = None;
        for &version in candidates {
            let root = Surface::GenericInquiry.root(version, self.config.company.as_deref())?;
            let request = Request {
                basic: self.way_in(Surface::GenericInquiry) == SignIn::Basic,
                ..Request::get(self.url(&root)?, "the list of generic inquiries")
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
            .unwrap_or_else(|| answer::empty("the list of generic inquiries"))
            .hint("Check the server options \"url\", \"company\" and \"odata_version\"."))
    }
}

impl Session {
    fn new(how: SignIn) -> Self {
        Self { how, jar: Mutex::default(), refused_elsewhere: AtomicBool::new(false) }
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, CookieJar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While signing in, an unknown session means an unknown user.
fn credentials(error: Error) -> Error {
    match error.kind {
        ErrorKind::SessionLost => answer::bad_credentials(error.detail.as_deref().unwrap_or_default()),
        _ => error,
    }
}
