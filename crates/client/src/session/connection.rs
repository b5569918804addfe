//! A server as one user sees it: the state that all requests of this process to it share.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{Config, Credentials, Login, ODataVersion, Secret};
use crate::encode::leaving_segment;
use crate::error::{Error, ErrorKind, Result};
use crate::instance::InstanceUrl;
use crate::request::{Context, Surface};
use crate::session::files::Held;
use crate::session::lease::Lease;
use crate::session::store::{SignIn, Store};
use crate::transport::http::{Authorization, Http};

/// The largest list of endpoints or inquiries that is read, in bytes. Such lists are small.
pub(crate) const LIST_BYTES: usize = 8 * 1024 * 1024;

/// A server as one user sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub config: Config,
    pub http: Http,
    pub store: Arc<Store>,
    pub fingerprint: String,
    /// The lock that makes this process a user of the mapping's sessions, from the first request on.
    pub membership: AsyncMutex<Option<Held>>,
    /// Tasks that a cancel must not stop: sign-ins, renewals of tokens, sign-outs.
    pub tasks: TaskTracker,
    /// The requests for tokens among them: the new tokens replace those that the request has used up.
    pub renewals: TaskTracker,
    /// An access token that the server refused.
    pub refused_token: Mutex<Option<Secret>>,
    /// Until when no further session is opened, because the licence had no seat for one. Milliseconds since 1970.
    pub crowded_until: AtomicU64,
    /// The OData layout of the instance, once it is known.
    pub odata_version: OnceCell<ODataVersion>,
    /// Whether the tenant of the session used last is not proven, and whether the user was told so.
    pub unproven: AtomicBool,
    pub told_unproven: AtomicBool,
}

impl Connection {
    /// # Errors
    /// TLS or the shared state cannot be set up. Nothing is sent yet.
    pub fn new(config: Config) -> Result<Self> {
        let context =
            Context { branch: config.branch.clone(), locale: config.locale.clone(), ..Context::default() };
        let store = Store::open(&config.state.directory, Arc::clone(&config.state.sealer))?;
        Ok(Self {
            http: Http::new(
                &config.instance,
                &config.transport,
                config.operation_timeout,
                context.headers()?,
            )?,
            store,
            fingerprint: config.session_fingerprint(),
            config,
            membership: AsyncMutex::default(),
            tasks: TaskTracker::new(),
            renewals: TaskTracker::new(),
            refused_token: Mutex::default(),
            crowded_until: AtomicU64::new(0),
            odata_version: OnceCell::new(),
            unproven: AtomicBool::new(false),
            told_unproven: AtomicBool::new(false),
        })
    }

    /// An absolute URL from a percent-encoded path and query below the site.
    pub fn url(&self, rest: &str) -> Result<Url> {
        absolute(&self.config.instance, rest)
    }

    pub fn way_in(&self, surface: Surface) -> SignIn {
        match (&self.config.credentials, surface) {
            (Credentials::Basic(_), Surface::GenericInquiry | Surface::Dac) => SignIn::Basic,
            (Credentials::Basic(_) | Credentials::Cookie(_), _) => SignIn::Login,
            _ => SignIn::Bearer,
        }
    }

    pub fn authorization<'a>(&'a self, lease: &'a Lease, surface: Surface) -> Authorization<'a> {
        match (&lease.token, self.way_in(surface), self.login_credentials()) {
            (Some(token), ..) => Authorization::Bearer(token),
            (None, SignIn::Basic, Some(login)) => Authorization::Basic(login),
            _ => Authorization::Cookies,
        }
    }

    pub fn login_credentials(&self) -> Option<&Login> {
        match &self.config.credentials {
            Credentials::Basic(login) | Credentials::Cookie(login) => Some(login),
            _ => None,
        }
    }
}

/// The address of what is at a percent-encoded path and query below a site.
pub(crate) fn absolute(instance: &InstanceUrl, rest: &str) -> Result<Url> {
    if let Some(name) = leaving_segment(rest) {
        return Err(Error::new(ErrorKind::NotFound, format!("\"{name}\" cannot be part of an address"))
            .detail("In an address it means a folder, so the request would lead elsewhere.")
            .hint(
                "Rename the inquiry or the tenant in Acumatica, or correct the option that has this name.",
            ));
    }
    Url::parse(&instance.join(rest)).map_err(|reason| {
        Error::new(ErrorKind::Internal, "could not build the address of a request").detail(reason)
    })
}
