//! One server as one user sees it: what all requests of a process to it have in common.

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

/// Lists of endpoints and inquiries are small; what is larger is something else.
pub(crate) const LIST_BYTES: usize = 8 * 1024 * 1024;

/// One server as one user sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub config: Config,
    pub http: Http,
    pub store: Arc<Store>,
    pub fingerprint: String,
    /// What makes this process a user of the mapping's sessions, from the first request on.
    pub membership: AsyncMutex<Option<Held>>,
    /// What must not be cut off: sign-ins, renewals of tokens, sign-outs.
    pub tasks: TaskTracker,
    /// Of these, requests for tokens: what they bring replaces what they have used up.
    pub renewals: TaskTracker,
    /// An access token that the server did not take.
    pub refused_token: Mutex<Option<Secret>>,
    /// Until when no further session is tried, since the licence had no seat for one.
    pub crowded_until: AtomicU64,
    /// The OData layout of the instance, once it is known.
    pub odata_version: OnceCell<ODataVersion>,
    /// Whether the tenant of the session that was used last is not proven, and whether that was told.
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
            .detail("Whoever reads the address takes it for a folder, and it would lead to something else.")
            .hint(
                "Rename the inquiry or the tenant in Acumatica, or correct the option that has this name.",
            ));
    }
    Url::parse(&instance.join(rest)).map_err(|reason| {
        Error::new(ErrorKind::Internal, "could not build the address of a request").detail(reason)
    })
}
