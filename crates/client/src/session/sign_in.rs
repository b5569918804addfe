//! Signing in.
//!
//! A trial licence has two API sessions, so no session may be lost. Signing in runs in a task of its own that a
//! cancelled scan does not cancel. If it were dropped between request and answer, the server would have opened a
//! session whose cookies nobody has.

use std::sync::Arc;

use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::request::Surface;
use crate::session::connection::Connection;
use crate::session::files::Held;
use crate::session::lease::Lease;
use crate::session::oauth::Token;
use crate::session::store::{self, SessionRecord, SignIn, Slot};
use crate::transport::answer;
use crate::transport::cookies::CookieJar;
use crate::transport::http::Request;
use crate::transport::retry::Repeat;

impl Connection {
    /// Signs in at a vacant slot, in a task of its own.
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
            // Seats are scarce, so the previous session of the slot is closed first.
            self.sign_out(record).await;
        }
        self.tidy().await;
        let cut_off = before.filter(|record| record.is_cut_off());
        let record = SessionRecord {
            mapping: self.config.state.mapping,
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
            // The failure may have come after the server had opened the session.
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

    async fn sign_in(self: &Arc<Self>, lease: &mut Lease, surface: Surface) -> Result<()> {
        let how = lease.record().how;
        match how {
            SignIn::Login => self.login(lease).await.map_err(credentials)?,
            // HTTP Basic: the first answer opens the session and brings its cookies.
            SignIn::Basic => {
                let version = self.probe_odata(lease, surface).await.map_err(credentials)?;
                // The version is known already if there was a session before.
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
                // The session of the previous grant would keep its seat.
                let record =
                    SessionRecord { cookies: lock(&lease.jar).cookies().clone(), ..lease.record().clone() };
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
        let url = self.url("entity/auth/login")?;
        let request = Request::post(Repeat::Once, url, "the sign-in", Some(body.to_string()));
        let answer = self.http.send(&lease.jar, request).await;
        // After no answer, `open_at` gives up. After an answer of a gateway, or of a site that fails, the sign-in is
        // repeated: a session that it may have opened holds a seat for ten minutes at most, and usually the site is
        // only starting.
        answer.map(drop).map_err(|error| Error { may_be_done: false, ..error })
    }
}

/// The error of a sign-in: the code for an unknown session means an unknown user then.
fn credentials(error: Error) -> Error {
    match error.kind {
        ErrorKind::SessionLost => answer::bad_credentials(error.detail.as_deref().unwrap_or_default()),
        _ => error,
    }
}
