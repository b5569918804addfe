//! Closes sessions. A session holds a seat of the licence until the server is told, or for ten minutes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::config::{Config, Credentials};
use crate::error::{Error, ErrorKind};
use crate::instance::InstanceUrl;
use crate::lock;
use crate::session::connection::{Connection, absolute};
use crate::session::lease::Lease;
use crate::session::store::{self, Grant, SessionRecord, SignIn, Store};
use crate::transport::cookies::CookieJar;
use crate::transport::http::{Authorization, Http, Request};
use crate::transport::retry::Repeat;

/// How long a sign-out may take before it is given up.
pub(crate) const SIGN_OUT_PATIENCE: Duration = Duration::from_secs(5);

impl Connection {
    pub async fn sign_out(&self, record: &SessionRecord) {
        sign_out(&self.store, record, Some(self)).await;
    }

    /// Signs out. Failures are ignored: the server closes the session itself after some minutes.
    pub async fn logout(&self, lease: &Lease) {
        let record = SessionRecord { cookies: lock(&lease.jar).cookies().clone(), ..lease.record().clone() };
        sign_out(&self.store, &record, Some(self)).await;
        lease.close();
    }
}

/// Closes all sessions that fit, and waits for those that are in use. Returns how many there were.
pub(crate) async fn close(
    store: &Arc<Store>,
    fits: impl Fn(&SessionRecord) -> bool,
    connection: Option<&Connection>,
) -> usize {
    let mut closed = 0;
    for (index, record) in store.sessions().into_iter().filter(|(_, record)| fits(record)) {
        // The turn keeps scans from taking the session again before it is closed.
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

/// Signs out of a session whose slot is held, over `connection` if that is to the same server with the same options.
pub(crate) async fn sign_out(store: &Store, record: &SessionRecord, connection: Option<&Connection>) {
    let jar = Mutex::new(CookieJar::new(record.cookies.clone()));
    // The token of another grant, or one that has expired, must not be sent with the cookies.
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
        // The token of the implicit flow is stored in the mapping only.
        let own = connection.filter(|connection| connection.config.state.mapping == record.mapping);
        let given = own.and_then(|connection| match &connection.config.credentials {
            Credentials::OAuthImplicit(token) if record.how == SignIn::Bearer => Some(token),
            _ => None,
        });
        let token = grant.as_ref().map(|grant| &grant.access_token).or(given);
        let authorization = token.map_or(Authorization::Cookies, Authorization::Bearer);
        let request = Request::post(Repeat::Once, url, "the sign-out", None).authorization(authorization);
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
