//! OAuth 2.0: obtains, stores and renews access tokens (docs/acumatica.md section 4).
//!
//! A refresh token can be used once. So one process at a time renews, outside of any transaction, and writes the new
//! refresh token to disk before anybody uses the access token that came with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, ResourceOwnerPassword,
    ResourceOwnerUsername, Scope, TokenResponse, TokenUrl,
};
use reqwest::StatusCode;
use url::Url;

use crate::config::{App, Config, Credentials, Login, Secret, digest};
use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::session::connection::Connection;
use crate::session::oauth_refusal::{
    authorization_ended, authorize_hint, code_of, is_invalid_grant, is_of_grant, nothing_begun, refusal,
    unreadable, words_of,
};
use crate::session::sign_out::close;
use crate::session::store::{Grant, Millis, PendingAuthorization, SessionRecord, Store, now};
use crate::transport::retry::Repeat;
use crate::transport::token_answer::{self, Reading, WEB_PAGE};
use crate::transport::token_request::TokenRequests;

/// A token is renewed this long before it expires, in milliseconds.
const RENEW_AHEAD: Millis = 60_000;
/// How long after the sign-in refresh tokens expire, by Acumatica's default.
const REFRESH_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an authorization waits for the browser to come back, in milliseconds.
const AUTHORIZATION_LIFE: Millis = 60 * 60 * 1000;
/// How many authorizations may be open at once for a user mapping.
const MOST_PENDING: usize = 8;

type OAuthClient = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// An access token for requests.
#[derive(Clone)]
pub(crate) struct Token {
    pub secret: Secret,
    /// The id of its grant.
    pub grant: String,
    /// It came from the server just now.
    pub fresh: bool,
}

impl Token {
    fn of(grant: Grant, fresh: bool) -> Self {
        Self { secret: grant.access_token, grant: grant.id, fresh }
    }
}

/// The outcome of an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// Login name of the tenant; empty if the configuration names none.
    pub company: String,
    /// The scopes that were granted, separated by blanks.
    pub scope: String,
    /// Milliseconds since 1970.
    pub access_expires: Option<u64>,
    /// By Acumatica's default, 30 days after the sign-in; `None` without a refresh token.
    pub refresh_expires: Option<u64>,
}

impl Grant {
    pub fn refresh_expires(&self) -> Option<Millis> {
        self.refresh_token.as_ref().map(|_| self.authorized + REFRESH_LIFE.as_millis() as Millis)
    }

    /// Whether the access token need not be renewed yet. One without a refresh token is used until it expires.
    fn is_fresh(&self) -> bool {
        let ahead = if self.refresh_token.is_some() { RENEW_AHEAD } else { 0 };
        self.access_expires.is_none_or(|expires| expires > now() + ahead)
    }
}

/// When an access token expires, if it is a JWT that says so.
pub(crate) fn expiry(token: &Secret) -> Option<Millis> {
    let payload = token.expose().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_u64()?.checked_mul(1000)
}

impl Connection {
    /// An access token that is valid for at least another minute, unless it cannot be renewed. Concurrent callers of
    /// all backends share one renewal, which goes on even if its caller is dropped.
    pub async fn token(self: &Arc<Self>) -> Result<Token> {
        let refused = lock(&self.refused_token).clone();
        if let Credentials::OAuthImplicit(token) = &self.config.credentials {
            return match refused {
                Some(_) => Err(access_ended(&self.config, token)),
                None => Ok(Token { secret: token.clone(), grant: id_of(token), fresh: false }),
            };
        }
        if let Some(grant) = self.usable_grant(&refused)? {
            return Ok(Token::of(grant, false));
        }
        let connection = Arc::clone(self);
        let task = self.renewals.spawn(async move {
            let _one_at_a_time = connection.store.hold_grant(connection.config.state.mapping).await?;
            // Another backend may have renewed it meanwhile.
            match connection.usable_grant(&refused)? {
                Some(grant) => Ok(Token::of(grant, false)),
                None => connection.renew().await.map(|grant| Token::of(grant, true)),
            }
        });
        task.await.unwrap_or_else(|reason| {
            Err(Error::new(ErrorKind::Internal, "getting an access token failed unexpectedly").detail(reason))
        })
    }

    fn usable_grant(&self, refused: &Option<Secret>) -> Result<Option<Grant>> {
        let Some(grant) = self.own_grant()? else { return Ok(None) };
        if let Some(words) = &grant.ended
            && !matches!(self.config.credentials, Credentials::OAuthPassword(..))
        {
            return Err(authorization_ended(&self.config.server, words));
        }
        let usable =
            grant.ended.is_none() && grant.is_fresh() && Some(&grant.access_token) != refused.as_ref();
        Ok(usable.then_some(grant))
    }

    /// The grant for the current options.
    fn own_grant(&self) -> Result<Option<Grant>> {
        let grant = self.store.grant(self.config.state.mapping)?;
        Ok(grant.filter(|grant| grant.fingerprint == self.config.grant_fingerprint()))
    }

    /// Requests a new access token and stores the grant. The caller holds the grant's lock.
    async fn renew(&self) -> Result<Grant> {
        let last = self.own_grant()?;
        let (app, seed) = match &self.config.credentials {
            Credentials::OAuth(app, seed) => (app, seed.as_ref()),
            Credentials::OAuthPassword(_, app) => (app, None),
            _ => return Err(Error::new(ErrorKind::Internal, "this strategy has no grant")),
        };
        let client = client(&self.config, app)?;
        let known = last.as_ref().filter(|grant| grant.ended.is_none());
        let unread = known.and_then(|grant| grant.unread.as_ref());
        if let Some(answer) = unread.and_then(|answer| serde_json::from_slice(&understood(answer)?).ok()) {
            return self.keep(app, &answer, known);
        }
        let salvaged = unread.and_then(|answer| token_answer::salvaged(answer.expose().as_bytes()));
        let own = known.and_then(|grant| grant.refresh_token.as_ref()).or(seed.filter(|_| last.is_none()));
        let mut untried: VecDeque<Secret> = own.cloned().into_iter().collect();
        if let Some(token) = salvaged {
            untried.push_front(Secret::new(&token));
        }
        let (mut refused, mut unreadables) = (None, 0);
        while let Some(token) = untried.pop_front() {
            let refresh_token = RefreshToken::new(token.expose().to_owned());
            let request = client.exchange_refresh_token(&refresh_token);
            match request
                .add_scopes(scopes(app))
                .request_async(&self.token_requests(Repeat::Idempotent))
                .await
            {
                Ok(answer) => return self.keep(app, &answer, known),
                Err(RequestTokenError::Parse(_, answer)) => {
                    let answer = Secret::new(&String::from_utf8_lossy(&answer));
                    self.keep_unread(known, &token, &answer)?;
                    match token_answer::salvaged(answer.expose().as_bytes()).map(|token| Secret::new(&token)) {
                        Some(next) if unreadables < 2 && next != token => {
                            unreadables += 1;
                            untried.push_front(next);
                        }
                        _ => return Err(unreadable().hint(format!(
                            "It is kept, sealed, in case it has the next refresh token. Check the option \"url\": a proxy or \
                             another site may have answered. If it does not pass: {}",
                            authorize_hint(&self.config.server)
                        ))),
                    }
                }
                // The server refused the refresh token itself: another one may be valid, or the user must authorize
                // again.
                Err(failure) if is_of_grant(&failure) => refused = Some(failure),
                Err(failure) => return Err(refusal(&self.config, app, last.as_ref(), failure)),
            }
        }
        // The user's password signs in again without asking the user.
        let asks = !matches!(self.config.credentials, Credentials::OAuthPassword(..));
        if let Some(failure) = refused.filter(|_| asks) {
            let words = words_of(&failure);
            // A web page may come from a proxy that did not ask the server.
            if let Some(grant) = known.filter(|_| code_of(&failure) != Some(WEB_PAGE)) {
                let ended = Grant { ended: Some(words.clone()), ..grant.clone() };
                self.store.save_grant(self.config.state.mapping, &ended)?;
            }
            return Err(authorization_ended(&self.config.server, &words));
        }
        match (&self.config.credentials, known) {
            (Credentials::OAuthPassword(login, app), _) => {
                self.sign_in_by_password(&client, login, app).await
            }
            (_, Some(grant)) => Err(access_ended(&self.config, &grant.access_token)),
            (_, None) => Err(Error::new(
                ErrorKind::Credentials,
                format!("server \"{}\" has not been authorized for this user", self.config.server),
            )
            .detail("No tokens are stored for these options, or they were sealed with the key of another cluster.")
            .hint(authorize_hint(&self.config.server))),
        }
    }

    async fn sign_in_by_password(&self, client: &OAuthClient, login: &Login, app: &App) -> Result<Grant> {
        let username = ResourceOwnerUsername::new(login.username.clone());
        let password = ResourceOwnerPassword::new(login.password.expose().to_owned());
        let request = client.exchange_password(&username, &password);
        match request.add_scopes(scopes(app)).request_async(&self.token_requests(Repeat::Idempotent)).await {
            Ok(answer) => self.keep(app, &answer, None),
            Err(failure) if is_invalid_grant(&failure) => {
                Err(crate::transport::answer::bad_credentials(&words_of(&failure)))
            }
            Err(failure) => Err(refusal(&self.config, app, self.own_grant()?.as_ref(), failure)),
        }
    }

    /// A refresh may be repeated: a token that the server has used up is refused each time, and the answer says so. So may a
    /// sign-in by password. The redemption of a code may not.
    fn token_requests(&self, repeat: Repeat) -> TokenRequests<'_> {
        TokenRequests { http: &self.http, repeat }
    }

    /// Stores an answer that cannot be parsed; the request for it has used up a token.
    fn keep_unread(&self, known: Option<&Grant>, used: &Secret, answer: &Secret) -> Result<()> {
        let unread = Some(answer.clone());
        let grant = match known {
            Some(grant) => Grant { unread, ..grant.clone() },
            None => Grant {
                id: id_of(used),
                fingerprint: self.config.grant_fingerprint(),
                access_token: Secret::new(""),
                access_expires: Some(0),
                refresh_token: Some(used.clone()),
                authorized: now(),
                scope: None,
                ended: None,
                unread,
                client_secret: None,
            },
        };
        self.store.save_grant(self.config.state.mapping, &grant)
    }

    /// Stores the tokens before they are used.
    fn keep(&self, app: &App, answer: &BasicTokenResponse, last: Option<&Grant>) -> Result<Grant> {
        let scope = answer
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
        let access_token = Secret::new(answer.access_token().secret());
        let lives = answer.expires_in().map(|life| now() + life.as_millis() as Millis);
        let grant = Grant {
            id: last.map_or_else(|| id_of(&access_token), |grant| grant.id.clone()),
            fingerprint: self.config.grant_fingerprint(),
            access_expires: lives.or_else(|| expiry(&access_token)),
            // A server that does not rotate refresh tokens sends none.
            refresh_token: answer
                .refresh_token()
                .map(|token| Secret::new(token.secret()))
                .or_else(|| last?.refresh_token.clone()),
            authorized: last.map_or_else(now, |grant| grant.authorized),
            scope,
            ended: None,
            unread: None,
            client_secret: app.client_secret.clone(),
            access_token,
        };
        self.store.save_grant(self.config.state.mapping, &grant)?;
        Ok(grant)
    }

    /// Finishes an authorization that [`begin`] began. `answer` is the address that the browser was sent to, or the
    /// code in it.
    pub async fn authorize(self: Arc<Self>, answer: String) -> Result<Authorized> {
        let connection = Arc::clone(&self);
        // A code can be used once, so a cancel must not stop the task before the tokens are stored.
        let task = self.renewals.spawn(async move { connection.redeem(&answer).await });
        task.await.unwrap_or_else(|reason| {
            Err(Error::new(ErrorKind::Internal, "the authorization failed unexpectedly").detail(reason))
        })
    }

    async fn redeem(&self, answer: &str) -> Result<Authorized> {
        let app = app_of(&self.config)?;
        let mapping = self.config.state.mapping;
        let (code, state) = read_answer(answer)?;
        let mut pending = still_open(self.store.pending(mapping)?);
        let begun = match &state {
            Some(state) => pending.iter().position(|pending| pending.state.expose() == state),
            // A code without a state was copied out of an address by a person.
            None => pending.len().checked_sub(1),
        };
        let Some(begun) = begun else { return Err(nothing_begun(&self.config.server, state.is_some())) };
        let begun = pending.remove(begun);
        let client = client(&self.config, app)?;
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.expose().to_owned()));
        // A code can be redeemed once.
        let answer = request.request_async(&self.token_requests(Repeat::Once)).await.map_err(|failure| {
            if is_invalid_grant(&failure) {
                Error::new(ErrorKind::Credentials, "the server did not accept the authorization code")
                    .detail(words_of(&failure))
                    .hint(format!(
                        "A code can be used once, and for some minutes. {}",
                        authorize_hint(&self.config.server)
                    ))
            } else {
                let last = self.own_grant().ok().flatten();
                refusal(&self.config, app, last.as_ref(), failure)
            }
        })?;
        let grant = {
            let _one_at_a_time = self.store.hold_grant(mapping).await?;
            self.keep(app, &answer, None)?
        };
        self.store.change_pending(mapping, |pending| pending.retain(|other| other.state != begun.state))?;
        // The sessions of the previous grant.
        let outdated =
            |record: &SessionRecord| record.mapping == mapping && record.grant.as_ref() != Some(&grant.id);
        close(&self.store, outdated, Some(self)).await;
        Ok(Authorized {
            company: self.config.company.clone().unwrap_or_default(),
            scope: grant.scope.clone().unwrap_or_else(|| app.scope.clone()),
            access_expires: grant.access_expires,
            refresh_expires: grant.refresh_expires(),
        })
    }
}

/// The URL of the authorization page, and the state that comes back with the answer. The verifier is kept for an hour.
pub(crate) fn begin(config: &Config, store: &Store) -> Result<(String, Secret)> {
    let app = app_of(config)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client(config, app)?
        .authorize_url(CsrfToken::new_random)
        .add_scopes(scopes(app))
        .set_pkce_challenge(challenge)
        .url();
    let state = Secret::new(state.secret());
    store.change_pending(config.state.mapping, |pending| {
        *pending = still_open(std::mem::take(pending));
        pending.push(PendingAuthorization {
            state: state.clone(),
            verifier: Secret::new(verifier.secret()),
            begun: now(),
        });
        pending.drain(..pending.len().saturating_sub(MOST_PENDING));
    })?;
    Ok((url.into(), state))
}

/// The id of the grant that began with this token.
fn id_of(first: &Secret) -> String {
    digest(&[first.expose()])
}

fn still_open(mut pending: Vec<PendingAuthorization>) -> Vec<PendingAuthorization> {
    pending.retain(|pending| now().saturating_sub(pending.begun) < AUTHORIZATION_LIFE);
    pending
}

pub(crate) fn app_of(config: &Config) -> Result<&App> {
    match &config.credentials {
        Credentials::OAuth(app, _) => Ok(app),
        _ => Err(Error::new(
            ErrorKind::Definition,
            format!("server \"{}\" is not authorized in a browser", config.server),
        )
        .hint("Authorization in a browser is for the server option auth_strategy 'OAuth'.")),
    }
}

fn client(config: &Config, app: &App) -> Result<OAuthClient> {
    let unfit = |reason: url::ParseError| {
        Error::new(ErrorKind::Definition, "option \"callback_url\" is no address").detail(reason)
    };
    let endpoint = |name: &str| config.instance.join(&format!("identity/connect/{name}"));
    let client = BasicClient::new(ClientId::new(app.client_id.clone()))
        .set_auth_uri(AuthUrl::new(endpoint("authorize")).map_err(unfit)?)
        .set_token_uri(TokenUrl::new(endpoint("token")).map_err(unfit)?)
        .set_redirect_uri(RedirectUrl::new(app.callback_url.clone()).map_err(unfit)?)
        .set_auth_type(AuthType::RequestBody);
    Ok(match &app.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
        None => client,
    })
}

fn scopes(app: &App) -> Vec<Scope> {
    app.scope.split_whitespace().map(|word| Scope::new(word.to_owned())).collect()
}

/// The code and its state, from an address or from the code alone.
fn read_answer(answer: &str) -> Result<(String, Option<String>)> {
    let answer = answer.trim();
    if !answer.contains("code=") && !answer.contains("error=") {
        if answer.is_empty() || answer.contains("://") {
            return Err(Error::new(ErrorKind::Definition, "there is no authorization code in this address")
                .hint("Paste the whole address that the browser shows after signing in; it holds code=…"));
        }
        return Ok((answer.to_owned(), None));
    }
    let query = answer.rsplit_once(['?', '#']).map_or(answer, |(_, query)| query);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    match (get("code"), get("error")) {
        // An address without a state may come from another site.
        (Some(code), _) => Ok((code, Some(get("state").unwrap_or_default()))),
        (None, error) => {
            let words: Vec<String> = error.into_iter().chain(get("error_description")).collect();
            Err(Error::new(ErrorKind::Credentials, "the server did not authorize the application")
                .detail(words.join(": "))
                .hint("Check the connected application on screen SM303010: flow, redirect URI, scopes, and that it is active."))
        }
    }
}

/// The address for a loopback listener, if the callback is on this machine.
pub(crate) fn loopback(app: &App) -> Result<Url> {
    let url = Url::parse(&app.callback_url).ok();
    let on_this_machine = |url: &Url| {
        url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    };
    url.filter(on_this_machine).ok_or_else(|| {
        Error::new(ErrorKind::Definition, format!("the callback \"{}\" is no loopback address", app.callback_url))
            .hint("Set callback_url to http://localhost:PORT/…, here and on screen SM303010, or paste the address into acumatica_authorize().")
    })
}

/// The tokens of a stored answer, if it can be parsed now.
fn understood(answer: &Secret) -> Option<Vec<u8>> {
    match token_answer::read(StatusCode::OK, answer.expose().as_bytes()) {
        Reading::Tokens(json) => Some(json),
        Reading::Refusal(_) | Reading::Unreadable => None,
    }
}

/// The error for an expired access token that cannot be renewed.
fn access_ended(config: &Config, token: &Secret) -> Error {
    let error = Error::new(
        ErrorKind::Credentials,
        format!("the access token of server \"{}\" is no longer accepted", config.server),
    );
    let error = match expiry(token) {
        Some(expires) if expires < now() => {
            error.detail(format!("It expired {} minutes ago.", (now() - expires) / 60_000))
        }
        _ => error,
    };
    match &config.credentials {
        Credentials::OAuthImplicit(_) => error.hint(
            "Access tokens live for an hour, and the implicit flow cannot renew them. Get a new one and put it into \
             the user mapping: ALTER USER MAPPING … OPTIONS (SET access_token …). auth_strategy 'OAuth' renews by itself.",
        ),
        _ => error.hint(format!(
            "It came without a refresh token, because the scope has no offline_access. {}",
            authorize_hint(&config.server)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_whatever_was_pasted() {
        let read = |text: &str| read_answer(text).unwrap();
        let both = ("a/b".to_owned(), Some("s".to_owned()));
        assert_eq!(read("http://localhost:1/?code=a%2Fb&scope=api&state=s"), both);
        assert_eq!(read(" https://host/callback#id_token=x&code=a%2Fb&state=s "), both);
        assert_eq!(read("code=a%2Fb&state=s"), both);
        assert_eq!(read("a/b"), ("a/b".to_owned(), None));
        assert_eq!(read_answer("http://localhost/").unwrap_err().kind, ErrorKind::Definition);
        let refused =
            read_answer("http://localhost/?error=access_denied&error_description=no+user").unwrap_err();
        assert_eq!(refused.detail.as_deref(), Some("access_denied: no user"));
    }

    #[test]
    fn tokens_that_say_when_they_expire() {
        let token = format!("x.{}.y", URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#));
        assert_eq!(expiry(&Secret::new(&token)), Some(1_700_000_000_000));
        assert_eq!(expiry(&Secret::new("opaque")), None);
    }
}
