//! What is known of OAuth 2.0: connected applications, grants, codes and tokens, and the sessions of bearer tokens. The
//! endpoints are in `identity`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::data::rng::mix;
use crate::request::Request;
use crate::secrets::Secrets;
use crate::session::{NoSeat, Session, Sessions};

#[derive(Clone)]
pub struct Client {
    pub id: String,
    /// Empty for a public client, which must use PKCE.
    pub secret: String,
}

/// What a user allowed an application to do.
#[derive(Clone)]
pub struct Grant {
    pub id: u64,
    pub client: String,
    pub user: String,
    pub tenant: usize,
    pub scope: String,
    /// When the user signed in, by the server's clock.
    pub signed_in: i64,
}

impl Grant {
    pub fn allows(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|s| s == scope)
    }

    /// Whether its bearer may read data; one with `openid` alone may not.
    pub fn allows_api(&self) -> bool {
        self.allows("api") || self.allows("api:concurrent_access")
    }
}

pub enum Use {
    Code { redirect: String, challenge: Option<String>, nonce: String },
    Access,
    Refresh,
}

pub struct IssuedToken {
    value: String,
    pub r#use: Use,
    pub grant: Grant,
    until: Instant,
}

pub struct OAuth {
    clients: Mutex<Vec<Client>>,
    tokens: Mutex<Vec<IssuedToken>>,
    counter: AtomicU64,
    /// Finding and opening the session of a grant is one step.
    opening: Mutex<()>,
    /// `State::started`.
    started: u64,
    secrets: Arc<Secrets>,
}

impl OAuth {
    pub fn new(started: u64, secrets: Arc<Secrets>) -> OAuth {
        OAuth {
            clients: Mutex::default(),
            tokens: Mutex::default(),
            counter: AtomicU64::new(0),
            opening: Mutex::new(()),
            started,
            secrets,
        }
    }

    pub fn set_client(&self, id: &str, secret: &str) {
        let mut clients = self.clients.lock().unwrap();
        match clients.iter_mut().find(|c| c.id.eq_ignore_ascii_case(id)) {
            Some(client) => client.secret = secret.to_string(),
            None => clients.push(Client { id: id.to_string(), secret: secret.to_string() }),
        }
    }

    /// The application of an id, which is compared without regard to case.
    pub fn client(&self, id: &str) -> Option<Client> {
        self.clients.lock().unwrap().iter().find(|c| c.id.eq_ignore_ascii_case(id)).cloned()
    }

    /// All access tokens are dead at once.
    pub fn expire_access(&self) {
        self.tokens.lock().unwrap().retain(|t| !matches!(t.r#use, Use::Access));
    }

    /// All refresh tokens are dead at once.
    pub fn expire_refresh(&self) {
        self.tokens.lock().unwrap().retain(|t| !matches!(t.r#use, Use::Refresh));
    }

    pub fn issue(&self, r#use: Use, grant: &Grant, life: Duration) -> String {
        let number = mix(self.started ^ self.counter.fetch_add(1, Ordering::Relaxed));
        // 43 characters of base64url, as captured (token-2023R2).
        let value = URL_SAFE_NO_PAD.encode(Sha256::digest(number.to_le_bytes()));
        self.secrets.add(&value);
        let token =
            IssuedToken { value: value.clone(), r#use, grant: grant.clone(), until: Instant::now() + life };
        let mut tokens = self.tokens.lock().unwrap();
        tokens.retain(|t| t.until > Instant::now());
        tokens.push(token);
        value
    }

    /// Takes a token out, so that it cannot be used again.
    pub fn take(&self, value: &str, right: fn(&Use) -> bool) -> Option<IssuedToken> {
        let mut tokens = self.tokens.lock().unwrap();
        let at =
            tokens.iter().position(|t| t.value == value && right(&t.r#use) && t.until > Instant::now())?;
        Some(tokens.swap_remove(at))
    }

    /// The grant of the access token that comes with a request.
    pub fn bearer(&self, request: &Request) -> Option<Grant> {
        let value = request.bearer()?;
        let tokens = self.tokens.lock().unwrap();
        let live =
            |t: &&IssuedToken| t.value == value && matches!(t.r#use, Use::Access) && t.until > Instant::now();
        tokens.iter().find(live).map(|t| t.grant.clone())
    }

    /// The session that a bearer token already has.
    pub fn session_of(&self, sessions: &Sessions, request: &Request) -> Option<Arc<Session>> {
        let grant = self.bearer(request).filter(Grant::allows_api)?;
        sessions.find_grant(grant.id)
    }

    /// The session for a bearer token, and whether it was opened just now. With the scope `api` a grant has one
    /// session; with `api:concurrent_access` each call without the cookies of one opens another.
    pub fn authenticate(
        &self,
        sessions: &Sessions,
        request: &Request,
    ) -> Result<Option<(Arc<Session>, bool)>, NoSeat> {
        let Some(grant) = self.bearer(request).filter(Grant::allows_api) else { return Ok(None) };
        if grant.allows("api:concurrent_access") {
            let replayed = sessions.find(request);
            if let Some(session) = replayed.filter(|s| s.user == grant.user && s.tenant == grant.tenant) {
                return Ok(Some((session, false)));
            }
            return sessions.open(&grant.user, grant.tenant, "bearer", None).map(|s| Some((s, true)));
        }
        let _one = self.opening.lock().unwrap();
        if let Some(session) = sessions.find_grant(grant.id) {
            return Ok(Some((session, false)));
        }
        let session = sessions.open(&grant.user, grant.tenant, "bearer", Some(grant.id))?;
        Ok(Some((session, true)))
    }

    /// The id of a new grant.
    pub fn next_grant(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// Tokens die; the session of the grant stays (docs/acumatica.md §4).
    pub fn revoke(&self, client: &Client, value: &str) {
        self.tokens.lock().unwrap().retain(|t| t.value != value || t.grant.client != client.id);
    }
}
