//! OAuth 2.0 as far as connected applications use it (docs/acumatica.md §4): authorization code with or without PKCE,
//! implicit, hybrid, and resource owner password; rotating refresh tokens; no client credentials. What OpenID Connect
//! adds to it is in `openid`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::data::rng::mix;
use crate::http::{Request, parse_form};
use crate::openid::{self, About};
use crate::reply::Reply;
use crate::session::{NoSeat, Session};
use crate::state::State;

const CODE_LIFE: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct Client {
    id: String,
    /// Empty for a public client, which must use PKCE.
    secret: String,
}

/// What a user allowed an application to do.
#[derive(Clone)]
struct Grant {
    id: u64,
    client: String,
    user: String,
    tenant: usize,
    scope: String,
    /// When the user signed in, by the server's clock.
    signed_in: i64,
}

impl Grant {
    fn allows(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|s| s == scope)
    }

    /// Whether its bearer may read data; one with `openid` alone may not.
    fn allows_api(&self) -> bool {
        self.allows("api") || self.allows("api:concurrent_access")
    }

    fn claims(&self, state: &State) -> Vec<(&'static str, Value)> {
        openid::claims(state, &self.user, self.tenant, |scope| self.allows(scope))
    }
}

enum Use {
    Code { redirect: String, challenge: Option<String>, nonce: String },
    Access,
    Refresh,
}

struct Token {
    value: String,
    r#use: Use,
    grant: Grant,
    until: Instant,
}

#[derive(Default)]
pub struct OAuth {
    clients: Mutex<Vec<Client>>,
    tokens: Mutex<Vec<Token>>,
    counter: AtomicU64,
    /// Finding and opening the session of a grant is one step.
    opening: Mutex<()>,
}

/// An error as RFC 6749 has it: what and, where it is not empty, why.
struct Refused(&'static str, &'static str);

/// Members of an answer, in order.
type Members = Vec<(&'static str, Value)>;

/// Where the answer of the authorize page goes in the URL, `?` or `#`, and what it says.
type Approval = (char, Vec<(&'static str, String)>);

type Form = Vec<(String, String)>;

fn get<'a>(form: &'a Form, name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

impl OAuth {
    pub fn set_client(&self, id: &str, secret: &str) {
        let mut clients = self.clients.lock().unwrap();
        match clients.iter_mut().find(|c| c.id.eq_ignore_ascii_case(id)) {
            Some(client) => client.secret = secret.to_string(),
            None => clients.push(Client { id: id.to_string(), secret: secret.to_string() }),
        }
    }

    fn client(&self, id: &str) -> Option<Client> {
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

    fn issue(&self, state: &State, r#use: Use, grant: &Grant, life: Duration) -> String {
        let number = mix(state.started ^ self.counter.fetch_add(1, Ordering::Relaxed));
        // 43 characters of base64url, as captured (token-2023R2).
        let value = URL_SAFE_NO_PAD.encode(Sha256::digest(number.to_le_bytes()));
        state.secrets.add(&value);
        let token = Token { value: value.clone(), r#use, grant: grant.clone(), until: Instant::now() + life };
        let mut tokens = self.tokens.lock().unwrap();
        tokens.retain(|t| t.until > Instant::now());
        tokens.push(token);
        value
    }

    /// Takes a token out, so that it cannot be used again.
    fn take(&self, value: &str, right: fn(&Use) -> bool) -> Option<Token> {
        let mut tokens = self.tokens.lock().unwrap();
        let at =
            tokens.iter().position(|t| t.value == value && right(&t.r#use) && t.until > Instant::now())?;
        Some(tokens.swap_remove(at))
    }

    fn bearer(&self, request: &Request) -> Option<Grant> {
        let value = request.bearer()?;
        let tokens = self.tokens.lock().unwrap();
        let live =
            |t: &&Token| t.value == value && matches!(t.r#use, Use::Access) && t.until > Instant::now();
        tokens.iter().find(live).map(|t| t.grant.clone())
    }

    /// The session that a bearer token already has.
    pub fn session_of(&self, state: &State, request: &Request) -> Option<Arc<Session>> {
        let grant = self.bearer(request).filter(Grant::allows_api)?;
        state.sessions.find_grant(state, grant.id)
    }

    /// The session for a bearer token, and whether it was opened just now. With the scope `api` a grant has one
    /// session; with `api:concurrent_access` each call without the cookies of one opens another.
    pub fn authenticate(
        &self,
        state: &State,
        request: &Request,
    ) -> Result<Option<(Arc<Session>, bool)>, NoSeat> {
        let Some(grant) = self.bearer(request).filter(Grant::allows_api) else { return Ok(None) };
        if grant.allows("api:concurrent_access") {
            let replayed = state.sessions.find(state, request);
            if let Some(session) = replayed.filter(|s| s.user == grant.user && s.tenant == grant.tenant) {
                return Ok(Some((session, false)));
            }
            return state
                .sessions
                .open(state, &grant.user, grant.tenant, "bearer", None)
                .map(|s| Some((s, true)));
        }
        let _one = self.opening.lock().unwrap();
        if let Some(session) = state.sessions.find_grant(state, grant.id) {
            return Ok(Some((session, false)));
        }
        let session = state.sessions.open(state, &grant.user, grant.tenant, "bearer", Some(grant.id))?;
        Ok(Some((session, true)))
    }

    fn new_grant(&self, state: &State, client: &Client, user: &str, scope: &str) -> Result<Grant, Refused> {
        let suffix = client.id.split_once('@').map_or("", |(_, tenant)| tenant);
        let tenant = state.tenant(suffix).ok_or(Refused("invalid_client", ""))?;
        let known = ["api", "offline_access", "api:concurrent_access", "openid", "profile", "email", "phone"];
        let words: Vec<&str> = scope.split(' ').filter(|s| !s.is_empty()).collect();
        let some_use = words.iter().any(|s| s.starts_with("api") || *s == "openid");
        if !some_use || words.iter().any(|s| !known.contains(s)) {
            return Err(Refused("invalid_scope", ""));
        }
        Ok(Grant {
            id: self.counter.fetch_add(1, Ordering::Relaxed),
            client: client.id.clone(),
            user: user.to_string(),
            tenant,
            scope: words.join(" "),
            signed_in: state.now(),
        })
    }

    /// What the token endpoint answers. The order of its members is that of the captures; `id_token` comes first, as
    /// IdentityServer4 has it, and also for a refresh, then without a nonce. The guide says that there is an access token
    /// only with the scope `api`, but the vendor's own demonstration calls the user information endpoint with one that
    /// has `openid profile`.
    fn tokens_for(&self, state: &State, request: &Request, grant: &Grant, nonce: Option<&str>) -> Members {
        let life = Duration::from_secs_f64(state.config.token_seconds);
        let access = self.issue(state, Use::Access, grant, life);
        let mut answer = Members::new();
        if let Some(nonce) = nonce.filter(|_| grant.allows("openid")) {
            let about = About {
                client: &grant.client,
                nonce,
                signed_in: grant.signed_in,
                access_token: Some(&access),
                code: None,
            };
            answer.push(("id_token", json!(openid::id_token(state, request, &about, grant.claims(state)))));
        }
        answer.extend([
            ("access_token", json!(access)),
            ("expires_in", json!(life.as_secs())),
            ("token_type", json!("Bearer")),
        ]);
        if grant.allows("offline_access") {
            let life = Duration::from_secs_f64(state.config.refresh_seconds);
            answer.push(("refresh_token", json!(self.issue(state, Use::Refresh, grant, life))));
        }
        answer.push(("scope", json!(grant.scope)));
        answer
    }

    /// The application that calls the token endpoint: by HTTP Basic or in the form.
    fn caller(&self, request: &Request, form: &Form) -> Result<Client, Refused> {
        let decoded = request
            .header("authorization")
            .and_then(|h| h.strip_prefix("Basic "))
            .and_then(|text| STANDARD.decode(text.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let (id, secret) = match decoded.as_deref().and_then(|d| d.split_once(':')) {
            Some((id, secret)) => (plain(id), plain(secret)),
            None => (get(form, "client_id").to_string(), get(form, "client_secret").to_string()),
        };
        self.client(&id).filter(|c| c.secret == secret).ok_or(Refused("invalid_client", ""))
    }

    /// Errors have no description but that of a wrong password, as captured (myob-token-invalid-client).
    fn token(&self, state: &State, request: &Request) -> Result<Members, Refused> {
        let form = parse_form(&String::from_utf8_lossy(&request.body));
        let client = self.caller(request, &form)?;
        let (grant, nonce) = match get(&form, "grant_type") {
            "password" => {
                let name = get(&form, "username");
                let user = name.split_once('@').map_or(name, |(user, _)| user);
                if !state.is_password(user, get(&form, "password")) {
                    return Err(Refused("invalid_grant", "invalid_username_or_password"));
                }
                // OpenID Connect has no ID token for this flow.
                (self.new_grant(state, &client, user, get(&form, "scope"))?, None)
            }
            "authorization_code" => {
                let bad = || Refused("invalid_grant", "");
                let code =
                    self.take(get(&form, "code"), |u| matches!(u, Use::Code { .. })).ok_or_else(bad)?;
                let Use::Code { redirect, challenge, nonce } = code.r#use else { return Err(bad()) };
                let verifier = get(&form, "code_verifier");
                let proven = match challenge {
                    None => verifier.is_empty(),
                    Some(challenge) => {
                        challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
                    }
                };
                if code.grant.client != client.id || redirect != get(&form, "redirect_uri") || !proven {
                    return Err(bad());
                }
                (code.grant, Some(nonce))
            }
            "refresh_token" => {
                let old = self.take(get(&form, "refresh_token"), |u| matches!(u, Use::Refresh));
                let old = old.filter(|t| t.grant.client == client.id);
                (old.ok_or(Refused("invalid_grant", ""))?.grant, Some(String::new()))
            }
            _ => return Err(Refused("unsupported_grant_type", "")),
        };
        Ok(self.tokens_for(state, request, &grant, nonce.as_deref()))
    }

    /// The page of the user: a form, or with `sim_user` the consent at once.
    fn authorize(&self, state: &State, request: &Request, form: &Form) -> Reply {
        let page =
            |text: &str| Reply::html(400, &format!("<html><body><h1>Error</h1><p>{text}</p></body></html>"));
        let Some(client) = self.client(get(form, "client_id")) else { return page("invalid_client") };
        let redirect = get(form, "redirect_uri");
        if !redirect.contains("://") {
            return page("invalid_request: redirect_uri");
        }
        let user = get(form, "sim_user");
        if user.is_empty() {
            return consent_page(state, form);
        }
        match self.approve(state, request, &client, user, form) {
            Ok((separator, answer)) => back(redirect, separator, &answer, form),
            Err(Refused(error, why)) => {
                let mut answer = vec![("error", error.to_string()), ("error_description", why.to_string())];
                answer.retain(|(_, text)| !text.is_empty());
                back(redirect, '?', &answer, form)
            }
        }
    }

    fn approve(
        &self,
        state: &State,
        request: &Request,
        client: &Client,
        user: &str,
        form: &Form,
    ) -> Result<Approval, Refused> {
        if !state.has_user(user) {
            return Err(Refused("access_denied", "The user is not known."));
        }
        let grant = self.new_grant(state, client, user, get(form, "scope"))?;
        let challenge = Some(get(form, "code_challenge").to_string()).filter(|c| !c.is_empty());
        if challenge.is_some() && get(form, "code_challenge_method") != "S256" {
            return Err(Refused("invalid_request", "The transform algorithm is not supported."));
        }
        let kinds: Vec<&str> = get(form, "response_type").split(' ').collect();
        let asked = |kind: &str| kinds.contains(&kind);
        if !kinds.iter().all(|kind| ["code", "token", "id_token"].contains(kind)) {
            return Err(Refused("unsupported_response_type", "The response type is not supported."));
        }
        let nonce = get(form, "nonce");
        if asked("id_token") && (nonce.is_empty() || !grant.allows("openid")) {
            return Err(Refused("invalid_request", "An ID token needs a nonce and the scope openid."));
        }
        // "You must include api in the scope parameter."
        if asked("token") && !grant.allows_api() {
            return Err(Refused("invalid_scope", "An access token needs the scope api."));
        }
        if asked("code") && challenge.is_none() && client.secret.is_empty() {
            return Err(Refused("invalid_request", "A code challenge is required."));
        }
        let code = asked("code").then(|| {
            let (redirect, nonce) = (get(form, "redirect_uri").to_string(), nonce.to_string());
            self.issue(state, Use::Code { redirect, challenge, nonce }, &grant, CODE_LIFE)
        });
        // Tokens in a URL come without a refresh token.
        let life = Duration::from_secs_f64(state.config.token_seconds);
        let access = asked("token").then(|| self.issue(state, Use::Access, &grant, life));
        let id_token = asked("id_token").then(|| {
            let (access_token, code) = (access.as_deref(), code.as_deref());
            let about =
                About { client: &grant.client, nonce, signed_in: grant.signed_in, access_token, code };
            openid::id_token(state, request, &about, grant.claims(state))
        });
        let mut answer: Vec<(&'static str, String)> = Vec::new();
        answer.extend(code.map(|value| ("code", value)));
        answer.extend(id_token.map(|value| ("id_token", value)));
        if let Some(access) = access {
            answer.push(("access_token", access));
            answer.push(("token_type", "Bearer".to_string()));
            answer.push(("expires_in", life.as_secs().to_string()));
        }
        answer.push(("scope", grant.scope));
        Ok((if kinds == ["code"] { '?' } else { '#' }, answer))
    }

    /// `/identity/connect/userinfo`, by GET as the guide has it or by POST as the vendor's demonstration does. Errors are
    /// those of RFC 6750, section 3.1.
    fn user_info(&self, state: &State, request: &Request) -> Reply {
        let refused = |status, error: &str| {
            Reply::empty(status).header("www-authenticate", format!("Bearer error=\"{error}\""))
        };
        match self.bearer(request) {
            None => refused(401, "invalid_token"),
            Some(grant) if !grant.allows("openid") => refused(403, "insufficient_scope"),
            Some(grant) => Reply::new(200, JSON, members(&grant.claims(state))),
        }
    }

    /// Tokens die; the session of the grant stays (docs/acumatica.md §4).
    fn revoke(&self, request: &Request) -> Result<(), Refused> {
        let form = parse_form(&String::from_utf8_lossy(&request.body));
        let client = self.caller(request, &form)?;
        let value = get(&form, "token");
        self.tokens.lock().unwrap().retain(|t| t.value != value || t.grant.client != client.id);
        Ok(())
    }
}

/// As captured (token-2023R2): the charset in capitals, no caching, and cookies that are no session.
const JSON: &str = "application/json; charset=UTF-8";

fn members(list: &[(&'static str, Value)]) -> String {
    let pairs: Vec<String> = list.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", pairs.join(","))
}

fn token_reply(state: &State, status: u16, answer: &[(&'static str, Value)]) -> Reply {
    let site = state.config.site();
    let path = if site.is_empty() { "/" } else { &site };
    let mut reply = Reply::new(status, JSON, members(answer))
        .header("cache-control", "no-cache, no-store")
        .header("pragma", "no-cache")
        .header("expires", "-1");
    let twice = ["UserBranch=16", "Locale=TimeZone=GMTE0000U&Culture=en-US"];
    let once = [
        format!("requestid={:032X}", mix(state.started)),
        "requeststat=+st:115+sc:~/identity/connect/token+start:637991227891987152+tg:".to_string(),
    ];
    for cookie in twice.iter().chain(&twice).copied().chain(once.iter().map(String::as_str)) {
        reply = reply.header("set-cookie", format!("{cookie}; path={path}"));
    }
    reply
}

fn refuse(state: &State, Refused(error, why): Refused) -> Reply {
    let mut answer = vec![("error", json!(error))];
    if !why.is_empty() {
        answer.push(("error_description", json!(why)));
    }
    token_reply(state, 400, &answer)
}

/// As in the guide's examples, what RFC 3986 calls unreserved stays as it is.
fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

fn back(redirect: &str, separator: char, answer: &[(&str, String)], form: &Form) -> Reply {
    let state = get(form, "state");
    let mut pairs: Vec<String> =
        answer.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if !state.is_empty() {
        pairs.push(format!("state={}", encode(state)));
    }
    let separator = match get(form, "response_mode") {
        // "OAuth 2.0 Form Post Response Mode": the browser carries the answer in a form.
        "form_post" => return form_post(redirect, answer, state),
        "fragment" => '#',
        _ if separator == '?' && redirect.contains('?') => '&',
        _ => separator,
    };
    Reply::empty(302).header("location", format!("{redirect}{separator}{}", pairs.join("&")))
}

fn form_post(redirect: &str, answer: &[(&str, String)], state: &str) -> Reply {
    let state = (!state.is_empty()).then(|| ("state", state.to_string()));
    let fields: String = answer.iter().chain(&state).map(|(name, value)| hidden(name, value)).collect();
    let page = format!(
        "<html><body onload=\"document.forms[0].submit()\"><form method=\"post\" action=\"{}\">{fields}</form></body></html>",
        escape(redirect)
    );
    Reply::html(200, &page)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
}

fn consent_page(state: &State, form: &Form) -> Reply {
    let fields: String = form.iter().map(|(name, value)| hidden(name, value)).collect();
    let button = |n: &String| format!("<button name=\"sim_user\" value=\"{0}\">{0}</button> ", escape(n));
    let users: String = state.user_names().iter().map(button).collect();
    let page = format!(
        "<!DOCTYPE html><html><head><title>Acumatica (simulated)</title></head><body><h1>Sign in</h1>\
         <form method=\"get\">{fields}<p>Allow access as {users}</p></form></body></html>"
    );
    Reply::html(200, &page)
}

/// The grant type that a call to the token endpoint asks for.
pub fn grant_type(request: &Request) -> Option<String> {
    if request.method != "POST" || request.segments != ["identity", "connect", "token"] {
        return None;
    }
    let form = parse_form(&String::from_utf8_lossy(&request.body));
    Some(get(&form, "grant_type").to_string())
}

pub fn answer(state: &State, request: &Request, rest: &[&str]) -> Reply {
    let oauth = &state.oauth;
    match (request.method.as_str(), rest) {
        ("GET", [".well-known", "openid-configuration"]) => openid::discovery(state, request),
        ("GET", [".well-known", "openid-configuration", "jwks"]) => openid::keys(),
        ("GET", ["connect", "authorize"]) => oauth.authorize(state, request, &request.query),
        ("POST", ["connect", "authorize"]) => {
            oauth.authorize(state, request, &parse_form(&String::from_utf8_lossy(&request.body)))
        }
        ("POST", ["connect", "token"]) => match oauth.token(state, request) {
            Ok(answer) => token_reply(state, 200, &answer),
            Err(refused) => refuse(state, refused),
        },
        ("GET" | "POST", ["connect", "userinfo"]) => oauth.user_info(state, request),
        ("POST", ["connect", "revocation"]) => {
            oauth.revoke(request).map_or_else(|refused| refuse(state, refused), |()| Reply::empty(200))
        }
        _ => Reply::not_found_html(),
    }
}
