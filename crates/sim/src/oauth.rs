//! OAuth 2.0 and OpenID Connect as far as connected applications use it (acumatica-api.md §4): authorization code with
//! or without PKCE, implicit, hybrid, and resource owner password; rotating refresh tokens; no client credentials.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::data::generate::mix;
use crate::http::{Request, parse_form};
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
}

impl Grant {
    fn allows(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|s| s == scope)
    }
}

enum Use {
    Code { redirect: String, challenge: Option<String> },
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

/// An error as RFC 6749 has it.
struct Refused(&'static str, &'static str);

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
        let value =
            format!("{:016X}{:016X}{:016X}{:016X}", number, mix(number), mix(number ^ 7), mix(number ^ 11));
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
        state.sessions.find_grant(state, self.bearer(request)?.id)
    }

    /// The session for a bearer token, and whether it was opened just now. With the scope `api` a grant has one
    /// session; with `api:concurrent_access` each call without the cookies of one opens another.
    pub fn authenticate(
        &self,
        state: &State,
        request: &Request,
    ) -> Result<Option<(Arc<Session>, bool)>, NoSeat> {
        let Some(grant) = self.bearer(request) else { return Ok(None) };
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
        let tenant = state.tenant(suffix).ok_or(Refused("invalid_client", "The tenant is not known."))?;
        let known = ["api", "offline_access", "api:concurrent_access", "openid", "profile", "email"];
        let words: Vec<&str> = scope.split(' ').filter(|s| !s.is_empty()).collect();
        if !words.iter().any(|s| s.starts_with("api")) || words.iter().any(|s| !known.contains(s)) {
            return Err(Refused("invalid_scope", "The scope is missing or not known."));
        }
        Ok(Grant {
            id: self.counter.fetch_add(1, Ordering::Relaxed),
            client: client.id.clone(),
            user: user.to_string(),
            tenant,
            scope: words.join(" "),
        })
    }

    fn tokens_for(&self, state: &State, grant: &Grant) -> serde_json::Value {
        let life = Duration::from_secs_f64(state.config.token_seconds);
        let mut answer = json!({
            "access_token": self.issue(state, Use::Access, grant, life),
            "expires_in": life.as_secs(),
            "token_type": "Bearer",
            "scope": grant.scope,
        });
        if grant.allows("offline_access") {
            let life = Duration::from_secs_f64(state.config.refresh_seconds);
            answer["refresh_token"] = json!(self.issue(state, Use::Refresh, grant, life));
        }
        answer
    }

    /// The application that calls the token endpoint: by HTTP Basic or in the form.
    fn caller(&self, request: &Request, form: &Form) -> Result<Client, Refused> {
        let wrong = Refused("invalid_client", "The client is not known or its secret is wrong.");
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
        self.client(&id).filter(|c| c.secret == secret).ok_or(wrong)
    }

    fn token(&self, state: &State, request: &Request) -> Result<serde_json::Value, Refused> {
        let form = parse_form(&String::from_utf8_lossy(&request.body));
        let client = self.caller(request, &form)?;
        let grant = match get(&form, "grant_type") {
            "password" => {
                let name = get(&form, "username");
                let user = name.split_once('@').map_or(name, |(user, _)| user);
                if !state.is_password(user, get(&form, "password")) {
                    return Err(Refused("invalid_grant", "invalid_username_or_password"));
                }
                self.new_grant(state, &client, user, get(&form, "scope"))?
            }
            "authorization_code" => {
                let bad = || Refused("invalid_grant", "The authorization code is not valid.");
                let code =
                    self.take(get(&form, "code"), |u| matches!(u, Use::Code { .. })).ok_or_else(bad)?;
                let Use::Code { redirect, challenge } = &code.r#use else { return Err(bad()) };
                let verifier = get(&form, "code_verifier");
                let proven = match challenge {
                    None => verifier.is_empty(),
                    Some(challenge) => {
                        *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
                    }
                };
                if code.grant.client != client.id || *redirect != get(&form, "redirect_uri") || !proven {
                    return Err(bad());
                }
                code.grant
            }
            "refresh_token" => {
                let old = self.take(get(&form, "refresh_token"), |u| matches!(u, Use::Refresh));
                let old = old.filter(|t| t.grant.client == client.id);
                old.ok_or(Refused("invalid_grant", "The refresh token is not valid."))?.grant
            }
            _ => return Err(Refused("unsupported_grant_type", "The grant type is not supported.")),
        };
        Ok(self.tokens_for(state, &grant))
    }

    /// The page of the user: a form, or with `sim_user` the consent at once.
    fn authorize(&self, state: &State, form: &Form) -> Reply {
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
        match self.approve(state, &client, user, form) {
            Ok((separator, answer)) => back(redirect, separator, &answer, form),
            Err(Refused(error, why)) => {
                let answer = [("error", error.to_string()), ("error_description", why.to_string())];
                back(redirect, '?', &answer, form)
            }
        }
    }

    fn approve(&self, state: &State, client: &Client, user: &str, form: &Form) -> Result<Approval, Refused> {
        if !state.has_user(user) {
            return Err(Refused("access_denied", "The user is not known."));
        }
        let grant = self.new_grant(state, client, user, get(form, "scope"))?;
        let challenge = Some(get(form, "code_challenge").to_string()).filter(|c| !c.is_empty());
        if challenge.is_some() && get(form, "code_challenge_method") != "S256" {
            return Err(Refused("invalid_request", "The transform algorithm is not supported."));
        }
        let kinds: Vec<&str> = get(form, "response_type").split(' ').collect();
        let mut answer = Vec::new();
        if kinds.contains(&"code") {
            if challenge.is_none() && client.secret.is_empty() {
                return Err(Refused("invalid_request", "A code challenge is required."));
            }
            let code = Use::Code { redirect: get(form, "redirect_uri").to_string(), challenge };
            answer.push(("code", self.issue(state, code, &grant, CODE_LIFE)));
        }
        if kinds.contains(&"token") {
            // Tokens in a URL come without a refresh token.
            let life = Duration::from_secs_f64(state.config.token_seconds);
            answer.push(("access_token", self.issue(state, Use::Access, &grant, life)));
            answer.push(("token_type", "Bearer".to_string()));
            answer.push(("expires_in", life.as_secs().to_string()));
        }
        if answer.is_empty() {
            return Err(Refused("unsupported_response_type", "The response type is not supported."));
        }
        answer.push(("scope", grant.scope));
        Ok((if kinds == ["code"] { '?' } else { '#' }, answer))
    }

    /// Tokens die; the session of the grant stays (acumatica-api.md §4).
    fn revoke(&self, request: &Request) -> Result<(), Refused> {
        let form = parse_form(&String::from_utf8_lossy(&request.body));
        let client = self.caller(request, &form)?;
        let value = get(&form, "token");
        self.tokens.lock().unwrap().retain(|t| t.value != value || t.grant.client != client.id);
        Ok(())
    }
}

fn refuse(Refused(error, why): Refused) -> Reply {
    Reply::json(400, &json!({ "error": error, "error_description": why }))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn back(redirect: &str, separator: char, answer: &[(&str, String)], form: &Form) -> Reply {
    let state = get(form, "state");
    let mut pairs: Vec<String> =
        answer.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if !state.is_empty() {
        pairs.push(format!("state={}", encode(state)));
    }
    let separator = if separator == '?' && redirect.contains('?') { '&' } else { separator };
    Reply::empty(302).header("location", format!("{redirect}{separator}{}", pairs.join("&")))
}

fn consent_page(state: &State, form: &Form) -> Reply {
    let escape = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let hidden = |(name, value): &(String, String)| {
        format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
    };
    let fields: String = form.iter().map(hidden).collect();
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
        ("GET", [".well-known", "openid-configuration"]) => discovery(state, request),
        ("GET", ["connect", "authorize"]) => oauth.authorize(state, &request.query),
        ("POST", ["connect", "authorize"]) => {
            oauth.authorize(state, &parse_form(&String::from_utf8_lossy(&request.body)))
        }
        ("POST", ["connect", "token"]) => match oauth.token(state, request) {
            Ok(answer) => Reply::json(200, &answer).header("cache-control", "no-store"),
            Err(refused) => refuse(refused),
        },
        ("POST", ["connect", "revocation"]) => {
            oauth.revoke(request).map_or_else(refuse, |()| Reply::empty(200))
        }
        _ => Reply::not_found_html(),
    }
}

fn discovery(state: &State, request: &Request) -> Reply {
    let identity = format!("{}/identity", request.base(state));
    Reply::json(
        200,
        &json!({
            "issuer": identity,
            "authorization_endpoint": format!("{identity}/connect/authorize"),
            "token_endpoint": format!("{identity}/connect/token"),
            "revocation_endpoint": format!("{identity}/connect/revocation"),
            "scopes_supported": ["openid", "profile", "email", "api", "offline_access", "api:concurrent_access"],
            "response_types_supported": ["code", "token", "id_token token", "code id_token", "code token"],
            "grant_types_supported": ["authorization_code", "password", "refresh_token", "implicit"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        }),
    )
}
