//! Sessions: shared by all backends of the cluster, lent for a request at a time, and always closed.
//!
//! A trial licence has two API sessions, so opening one is never left to chance: signing in runs in
//! a task of its own that a cancelled scan does not cancel. If it were dropped between request and
//! answer, the server would have opened a session whose cookies nobody ever saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::answer;
use crate::catalog::{EntitySet, Model};
use crate::config::{Config, Credentials, Login, ODataVersion, Secret};
use crate::cookies::CookieJar;
use crate::csdl;
use crate::definition::Inquiries;
use crate::dialect::company_required;
use crate::discover::loose;
use crate::encode::{encode_segment, leaving_segment};
use crate::endpoint::{self, Endpoint, FALLBACK_VERSION};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::KnownFields;
use crate::http::{Answer, Authorization, Http, Request};
use crate::instance::InstanceUrl;
use crate::learnt::Learnt;
use crate::lease::Lease;
use crate::lock;
use crate::oauth::Token;
use crate::rename;
use crate::report::Report;
use crate::request::{Context, Surface};
use crate::store::{self, Grant, Held, Record, SignIn, Slot, Store};

/// Lists of endpoints and inquiries are small; what is larger is something else.
pub(crate) const LIST_BYTES: usize = 8 * 1024 * 1024;
/// How long a sign-out may take before it is given up.
pub(crate) const SIGN_OUT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a session that is in use is looked at again when it is due to be closed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One server as one user sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub config: Config,
    pub http: Http,
    pub store: Arc<Store>,
    pub fingerprint: String,
    /// What makes this process a user of the mapping's sessions, from the first request on.
    membership: AsyncMutex<Option<Held>>,
    /// What must not be cut off: sign-ins, renewals of tokens, sign-outs.
    pub tasks: TaskTracker,
    /// Of these, requests for tokens: what they bring replaces what they have used up.
    pub renewals: TaskTracker,
    /// An access token that the server did not take.
    pub refused_token: Mutex<Option<Secret>>,
    /// Until when no further session is tried, since the licence had no seat for one.
    pub crowded_until: AtomicU64,
    odata_version: OnceCell<ODataVersion>,
    endpoints: OnceCell<Vec<Endpoint>>,
    entity_sets: AsyncMutex<HashMap<(Surface, String), Result<EntitySet>>>,
    told_guess: AtomicBool,
    /// Whether the tenant of the session that was used last is not proven, and whether that was told.
    pub unproven: AtomicBool,
    pub told_unproven: AtomicBool,
    inquiries: Inquiries,
    pub renames: rename::Known,
    pub fields: KnownFields,
    pub learnt: Learnt,
}

/// A scan under way. One that goes on after its user mapping was dropped may have opened the session
/// again; that is closed when it ends, in whichever way.
pub(crate) struct Reader(pub Arc<Connection>);

impl Drop for Reader {
    fn drop(&mut self) {
        let Self(connection) = self;
        if connection.store.is_dropped(connection.config.place.mapping)
            && let Ok(runtime) = Handle::try_current()
        {
            let connection = Arc::clone(connection);
            connection.tasks.clone().spawn_on(async move { connection.retire_sessions().await }, &runtime);
        }
    }
}

/// A name that the server gives to one class, while another class is called so.
fn ambiguous(name: &str, set: &str, class: &str) -> Error {
    Error::new(ErrorKind::Definition, format!("the name \"{name}\" stands for two data access classes"))
        .detail(format!(
            "The server answers with rows of \"{set}\", but the class of that name is \"{class}\"."
        ))
        .hint("Name the one that is meant in full in the option \"entity\" of the table.")
}

impl Connection {
    /// # Errors
    /// TLS or the shared state cannot be set up. Nothing is sent yet.
    pub fn new(config: Config) -> Result<Self> {
        let context =
            Context { branch: config.branch.clone(), locale: config.locale.clone(), ..Context::default() };
        let store = Store::open(&config.place.directory, Arc::clone(&config.place.sealer))?;
        let of = format!("{} {}", config.instance, config.company.as_deref().unwrap_or_default());
        let learnt = Learnt::new(Arc::clone(&store), config.place.mapping, of);
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
            endpoints: OnceCell::new(),
            entity_sets: AsyncMutex::default(),
            told_guess: AtomicBool::new(false),
            unproven: AtomicBool::new(false),
            told_unproven: AtomicBool::new(false),
            inquiries: Inquiries::default(),
            renames: rename::Known::default(),
            fields: KnownFields::default(),
            learnt,
        })
    }

    /// Signs in at a vacant place, in a task of its own.
    pub async fn open(self: &Arc<Self>, slot: Slot, turn: Held, surface: Surface) -> Result<Lease> {
        let connection = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let _one_at_a_time = turn;
            connection.open_at(slot, surface).await
        });
        task.await.unwrap_or_else(|reason| {
            Err(Error::new(ErrorKind::Internal, "signing in failed unexpectedly").detail(reason))
        })
    }

    async fn open_at(self: &Arc<Self>, slot: Slot, surface: Surface) -> Result<Lease> {
        let before = slot.read();
        if let Some(record) = &before {
            // Seats are scarce: what was there gives its own back first.
            self.sign_out(record).await;
        }
        self.tidy().await;
        let cut_off = before.filter(|record| record.is_cut_off());
        let record = Record {
            mapping: self.config.place.mapping,
            fingerprint: self.fingerprint.clone(),
            how: self.way_in(surface),
            open: false,
            cookies: Default::default(),
            elsewhere: None,
            tenant: None,
            lost_seat: cut_off.as_ref().map(|record| record.opened),
            grant: None,
            opened: store::now(),
            last_used: store::now(),
            requests: 0,
            instance: self.config.instance.to_string(),
            transport: self.config.transport.clone(),
        };
        slot.write(&record)?;
        let mut lease = Lease::new(slot, record);
        let signed_in = self.sign_in(&mut lease, surface).await.and_then(|()| {
            lease.record().open = true;
            lease.save()
        });
        if let Err(error) = signed_in {
            let unheard =
                matches!(error.kind, ErrorKind::ConnectionLost | ErrorKind::Timeout | ErrorKind::Protocol);
            if unheard && lease.record().how != SignIn::Bearer && lock(&lease.jar).is_empty() {
                lease.abandon();
                let told =
                    error.detail.iter().fold(error.message, |told, detail| format!("{told}: {detail}"));
                return Err(Error::new(ErrorKind::SignInLost, "the answer to the sign-in was lost")
                    .detail(told)
                    .hint(
                        "The server may have opened a session that nobody can use; it closes that after 10 minutes. Run \
                         the query again. If the site is slow to start, raise the server option \"operation_timeout\".",
                    ));
            }
            // It may have failed after the server had opened the session.
            self.logout(&lease).await;
            return Err(match cut_off {
                Some(record) if error.kind == ErrorKind::NoSeat => {
                    lease.slot().write(&record)?;
                    error.detail(
                        "A backend that was killed while it signed in has left a session that nobody can use; the server \
                         closes it after 10 minutes.",
                    )
                }
                _ => error,
            });
        }
        let by_password = lease.record().how != SignIn::Bearer;
        lease.fresh |= by_password;
        Ok(lease)
    }

    /// Takes note that the server no longer accepts a session for `surface`, so that the next call of
    /// [`Connection::lease`] opens another, or brings it a new token.
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
        // If the server knows it after all, it still holds a seat.
        let connection = Arc::clone(self);
        let _ = self.tasks.spawn(async move { connection.logout(&lease).await }).await;
    }

    /// Why a server refuses a session or token that it gave out just now: if the clocks differ, that is
    /// it; otherwise `error`.
    pub fn unless_clock(&self, error: Error) -> Error {
        let Some(offset) = self.http.clock_offset() else { return error };
        let (minutes, direction) = ((offset.abs() + 30) / 60, if offset > 0 { "behind" } else { "ahead of" });
        let told = error.detail.iter().fold(error.message, |told, detail| format!("{told}\n{detail}"));
        Error::new(
            ErrorKind::Credentials,
            format!("the clock of this machine is {minutes} minutes {direction} the server's, which refuses the session"),
        )
        .detail(told)
        .hint("Set the clock by a time service: sessions and access tokens are only good at the right time.")
    }

    /// Becomes a user of the mapping's sessions. The first time, what is left over is closed, and from
    /// then on what has been idle for too long.
    pub async fn join(self: &Arc<Self>) -> Result<()> {
        let mut membership = self.membership.lock().await;
        if membership.is_none() {
            *membership = Some(self.store.join(self.config.place.mapping).await?);
            tokio::spawn(keep_tidy(Arc::downgrade(self)));
        }
        Ok(())
    }

    /// Closes the sessions that are due: idle for `idle_logout`, beyond `max_sessions`, or left behind
    /// by users who are gone.
    async fn tidy(&self) {
        for (index, record) in self.store.sessions() {
            let due = |record: &Record| {
                let needless = self.idle_left(record).is_zero()
                    || index >= self.places(record.how)
                    || record.mapping != self.config.place.mapping
                        && matches!(self.store.unused(record.mapping), Ok(Some(_)));
                // What is left of a sign-in that was cut off tells of a lost seat, as long as it is lost.
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

    fn idle_left(&self, record: &Record) -> Duration {
        let idle = Duration::from_millis(store::now().saturating_sub(record.last_used));
        self.config.idle_logout.saturating_sub(idle)
    }

    /// Ends the use of the mapping's sessions; its last user closes them.
    pub async fn leave(&self) {
        if !self.resign().await {
            return;
        }
        if let Ok(Some(_last)) = self.store.unused(self.config.place.mapping) {
            let own = |record: &Record| record.mapping == self.config.place.mapping;
            close(&self.store, own, Some(self)).await;
        }
        self.tidy().await;
    }

    /// Ends the use of sessions of options, or of a key, that are no longer those of the mapping.
    pub async fn retire(&self) {
        if self.resign().await {
            self.retire_sessions().await;
        }
    }

    async fn retire_sessions(&self) {
        let own = |record: &Record| {
            record.mapping == self.config.place.mapping && record.fingerprint == self.fingerprint
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

    async fn sign_out(&self, record: &Record) {
        sign_out(&self.store, record, Some(self)).await;
    }

    /// Failures are of no use to anyone here: the server closes what it is not asked to close after
    /// some minutes.
    pub async fn logout(&self, lease: &Lease) {
        let record = Record { cookies: lock(&lease.jar).cookies().clone(), ..lease.record().clone() };
        sign_out(&self.store, &record, Some(self)).await;
        lease.close();
    }

    /// Reads JSON from `url` in a session.
    pub async fn get(&self, lease: &Lease, surface: Surface, url: Url, what: &str) -> Result<Answer> {
        self.send(lease, surface, Request::get(url, what)).await
    }

    /// Sends a request in a session.
    pub async fn send<'a>(
        &'a self,
        lease: &'a Lease,
        surface: Surface,
        request: Request<'a>,
    ) -> Result<Answer> {
        let request = Request { authorization: self.authorization(lease, surface), ..request };
        lease.requests.fetch_add(1, Ordering::Relaxed);
        let addressed = surface != Surface::Rest && self.names_tenant(&request.url);
        let answer = self.http.send(&lease.jar, request).await?;
        if let Err(error) = self.check_tenant(lease, addressed, false).await {
            self.logout(lease).await;
            return Err(error);
        }
        let mut record = lease.record();
        if record.how != self.way_in(surface) {
            record.elsewhere = Some(true);
        }
        drop(record);
        Ok(answer)
    }

    /// Whether an address below one of the OData roots names the tenant.
    fn names_tenant(&self, url: &Url) -> bool {
        let Some(company) = &self.config.company else { return false };
        let segment = encode_segment(company);
        url.path_segments().is_some_and(|mut segments| segments.any(|other| other == segment))
    }

    fn authorization<'a>(&'a self, lease: &'a Lease, surface: Surface) -> Authorization<'a> {
        match (&lease.token, self.way_in(surface), self.login_credentials()) {
            (Some(token), ..) => Authorization::Bearer(token),
            (None, SignIn::Basic, Some(login)) => Authorization::Basic(login),
            _ => Authorization::Cookies,
        }
    }

    fn login_credentials(&self) -> Option<&Login> {
        match &self.config.credentials {
            Credentials::Basic(login) | Credentials::Cookie(login) => Some(login),
            _ => None,
        }
    }

    /// What `$metadata` says of an inquiry or DAC; asked for once, since the document may be long.
    ///
    /// # Errors
    /// It cannot be read, or the name is that of two classes.
    pub async fn entity_set(&self, lease: &Lease, surface: Surface, name: &str) -> Result<EntitySet> {
        if surface == Surface::GenericInquiry {
            return self.inquiries.find(name, async || self.model(lease, surface, &|_| true).await).await;
        }
        let mut known = self.entity_sets.lock().await;
        let key = (surface, name.to_owned());
        if let Some(set) = known.get(&key) {
            return set.clone();
        }
        let model = self.model(lease, surface, &|other| loose(other) == loose(name)).await?;
        let set = match (csdl::find(&model, name), csdl::rival(&model, name)) {
            (Some(found), Some(class)) => Err(ambiguous(name, &found.name, &class.name)),
            (found, _) => Ok(found.cloned().unwrap_or_default()),
        };
        known.insert(key, set.clone());
        set
    }

    /// What `$metadata` says of the sets that are wanted.
    async fn model(
        &self,
        lease: &Lease,
        surface: Surface,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Model> {
        let root = surface.root(self.odata_version(lease).await?, self.config.company.as_deref())?;
        let url = self.url(&format!("{root}/$metadata"))?;
        let request = Request {
            // It exists as XML only: asked for JSON, the server fails.
            accept: "application/xml",
            ..Request::get(url, "the $metadata of the instance")
        };
        let document = self.send(lease, surface, request).await?;
        csdl::parse(document.reader(), wanted).await
    }

    /// The OData layout of the instance: as configured, else the one whose list of inquiries answers.
    pub async fn odata_version(&self, lease: &Lease) -> Result<ODataVersion> {
        let probe = || self.probe_odata(lease, Surface::GenericInquiry);
        self.odata_version.get_or_try_init(probe).await.copied()
    }

    /// The endpoint by this name in the newest version that the instance lists, or `None` if the
    /// instance does not say what it has.
    ///
    /// # Errors
    /// The instance lists its endpoints, and this is none of them.
    pub async fn newest_endpoint(&self, lease: &Lease, name: &str) -> Result<Option<Endpoint>> {
        let endpoints = self.endpoints(lease).await?;
        if endpoints.is_empty() {
            return Ok(None);
        }
        endpoint::newest(endpoints, name).cloned().map(Some)
    }

    /// The endpoints that the instance lists, asked for once; empty if it does not say what it has.
    pub async fn endpoints(&self, lease: &Lease) -> Result<&[Endpoint]> {
        let listed = self
            .endpoints
            .get_or_try_init(|| async {
                let what = "the list of endpoints";
                match self.get(lease, Surface::Rest, self.url("entity")?, what).await {
                    Ok(answer) => Ok(endpoint::parse_list(&answer.text(LIST_BYTES).await?)?.endpoints),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(listed)
    }

    /// The version of an endpoint of an instance that does not say which it has. That it is a guess is told once.
    pub fn guessed_version(&self, report: &Report) -> &'static str {
        if !self.told_guess.swap(true, Ordering::Relaxed) {
            report.notice(
                format!(
                    "server \"{}\" does not list its endpoints: version {FALLBACK_VERSION} is assumed",
                    self.config.server
                ),
                "Set the server option \"endpoint_version\" to the version on screen SM207060.".to_owned(),
            );
        }
        FALLBACK_VERSION
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

    async fn sign_in(self: &Arc<Self>, lease: &mut Lease, surface: Surface) -> Result<()> {
        let how = lease.record().how;
        match how {
            SignIn::Login => self.login(lease).await.map_err(credentials)?,
            // HTTP Basic: the first answer opens the session and brings its cookies.
            SignIn::Basic => {
                let version = self.probe_odata(lease, surface).await.map_err(credentials)?;
                // Known already if another session was there before.
                let _ = self.odata_version.set(version);
            }
            // The first request opens the session.
            SignIn::Bearer => return self.provide_token(lease).await,
        }
        self.check_tenant(lease, false, true).await
    }

    pub async fn provide_token(self: &Arc<Self>, lease: &mut Lease) -> Result<()> {
        let how = lease.record().how;
        if how == SignIn::Bearer {
            let Token { secret, grant, fresh } = self.token().await?;
            let other = lease.record().grant.as_ref().is_some_and(|before| *before != grant);
            if other && !lock(&lease.jar).is_empty() {
                // The session of the grant before would keep its seat.
                let record = Record { cookies: lock(&lease.jar).cookies().clone(), ..lease.record().clone() };
                self.sign_out(&record).await;
                *lock(&lease.jar) = CookieJar::default();
            }
            lease.record().grant = Some(grant);
            lease.token = Some(secret);
            lease.fresh = fresh;
        }
        Ok(())
    }

    /// Cookie login.
    async fn login(&self, lease: &Lease) -> Result<()> {
        let config = &self.config;
        let Some(login) = self.login_credentials() else {
            return Err(Error::new(ErrorKind::Internal, "there is no password to sign in with"));
        };
        let mut body = json!({ "name": login.username, "password": login.password.expose() });
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
        self.http.send(&lease.jar, request).await.map(drop)
    }

    pub async fn probe_odata(&self, lease: &Lease, surface: Surface) -> Result<ODataVersion> {
        let candidates: &[ODataVersion] = match (self.config.odata_version, &self.config.company) {
            (ODataVersion::Auto, Some(_)) => &[ODataVersion::V4, ODataVersion::V3, ODataVersion::V3OneTenant],
            (ODataVersion::V3, Some(_)) => &[ODataVersion::V3, ODataVersion::V3OneTenant],
            (ODataVersion::V4, _) => &[ODataVersion::V4],
            (ODataVersion::Auto | ODataVersion::V3 | ODataVersion::V3OneTenant, _) => {
                &[ODataVersion::V3OneTenant]
            }
        };
        const WHAT: &str = "the list of inquiries or data access classes";
        let mut missing = None;
        for &version in candidates {
            let root = surface.root(version, self.config.company.as_deref())?;
            match self.get(lease, surface, self.url(&root)?, WHAT).await {
                Ok(answer) => {
                    answer.text(LIST_BYTES).await?;
                    return Ok(version);
                }
                Err(error) if error.kind == ErrorKind::NotFound => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if self.config.company.is_none() && self.config.odata_version == ODataVersion::Auto {
            return Err(company_required());
        }
        Err(missing
            .unwrap_or_else(|| answer::empty(WHAT))
            .hint("Check the server options \"url\", \"company\" and \"odata_version\"."))
    }
}

fn absolute(instance: &InstanceUrl, rest: &str) -> Result<Url> {
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

/// Closes sessions as they fall due, for as long as somebody holds the connection.
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

/// Closes all sessions that fit, waiting for those that are in use; says how many there were.
pub(crate) async fn close(
    store: &Arc<Store>,
    fits: impl Fn(&Record) -> bool,
    connection: Option<&Connection>,
) -> usize {
    let mut closed = 0;
    for (index, record) in store.sessions().into_iter().filter(|(_, record)| fits(record)) {
        // A scan that comes back for more would always be quicker.
        let Ok(turn) = store.turn(record.mapping).await else { continue };
        let slot = store.slot(index).await;
        drop(turn);
        if let Ok(slot) = slot
            && let Some(record) = slot.read().filter(|record| record.open && fits(record))
        {
            sign_out(store, &record, connection).await;
            slot.clear();
            closed += 1;
        }
    }
    closed
}

/// Signs out of a session whose place is held, over `connection` if it leads to the same server in the
/// same way.
pub(crate) async fn sign_out(store: &Store, record: &Record, connection: Option<&Connection>) {
    let jar = Mutex::new(CookieJar::new(record.cookies.clone()));
    // Another grant's token, or one that is no longer good, would only get in the way of the cookies.
    let good = |grant: &Grant| {
        record.grant.as_ref() == Some(&grant.id) && grant.access_expires.is_none_or(|at| at > store::now())
    };
    let grant = store.grant(record.mapping).ok().flatten().filter(good);
    if lock(&jar).is_empty() && grant.is_none() {
        return;
    }
    let sent = async {
        let instance = InstanceUrl::parse(&record.instance)
            .map_err(|error| Error::new(ErrorKind::Internal, error.problem))?;
        let url = absolute(&instance, "entity/auth/logout")?;
        // The implicit flow's token stands in the mapping alone.
        let own = connection.filter(|connection| connection.config.place.mapping == record.mapping);
        let given = own.and_then(|connection| match &connection.config.credentials {
            Credentials::OAuthImplicit(token) if record.how == SignIn::Bearer => Some(token),
            _ => None,
        });
        let token = grant.as_ref().map(|grant| &grant.access_token).or(given);
        let authorization = token.map_or(Authorization::Cookies, Authorization::Bearer);
        let request = Request { method: Method::POST, authorization, ..Request::get(url, "the sign-out") };
        let same = |config: &Config| config.instance == instance && config.transport == record.transport;
        match connection.filter(|connection| same(&connection.config)) {
            Some(connection) => connection.http.send(&jar, request).await.map(drop),
            None => {
                let http = Http::new(&instance, &record.transport, SIGN_OUT_PATIENCE, HeaderMap::new())?;
                http.send(&jar, request).await.map(drop)
            }
        }
    };
    let _ = tokio::time::timeout(SIGN_OUT_PATIENCE, sent).await;
}

/// While signing in, an unknown session means an unknown user.
fn credentials(error: Error) -> Error {
    match error.kind {
        ErrorKind::SessionLost => answer::bad_credentials(error.detail.as_deref().unwrap_or_default()),
        _ => error,
    }
}
