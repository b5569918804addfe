//! `/identity`: OAuth 2.0 as far as connected applications use it (docs/acumatica.md §4): authorization code with or without
//! PKCE, implicit, hybrid, and resource owner password; rotating refresh tokens; no client credentials. What OpenID
//! Connect adds to it is in `openid`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::data::rng::mix;
use crate::oauth::{Client, Grant, Use};
use crate::openid::{self, About};
use crate::reply::Reply;
use crate::request::{Request, parse_form};
use crate::state::State;

const CODE_LIFE: Duration = Duration::from_secs(300);

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

fn claims(state: &State, grant: &Grant) -> Vec<(&'static str, Value)> {
    openid::claims(state, &grant.user, grant.tenant, |scope| grant.allows(scope))
}

fn new_grant(state: &State, client: &Client, user: &str, scope: &str) -> Result<Grant, Refused> {
    let suffix = client.id.split_once('@').map_or("", |(_, tenant)| tenant);
    let tenant = state.tenant(suffix).ok_or(Refused("invalid_client", ""))?;
    let known = ["api", "offline_access", "api:concurrent_access", "openid", "profile", "email", "phone"];
    let words: Vec<&str> = scope.split(' ').filter(|s| !s.is_empty()).collect();
    let some_use = words.iter().any(|s| s.starts_with("api") || *s == "openid");
    if !some_use || words.iter().any(|s| !known.contains(s)) {
        return Err(Refused("invalid_scope", ""));
    }
    Ok(Grant {
        id: state.oauth.next_grant(),
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
fn tokens_for(state: &State, request: &Request, grant: &Grant, nonce: Option<&str>) -> Members {
    let life = Duration::from_secs_f64(state.config.token_seconds);
    let access = state.oauth.issue(Use::Access, grant, life);
    let mut answer = Members::new();
    if let Some(nonce) = nonce.filter(|_| grant.allows("openid")) {
        let about = About {
            client: &grant.client,
            nonce,
            signed_in: grant.signed_in,
            access_token: Some(&access),
            code: None,
        };
        answer.push(("id_token", json!(openid::id_token(state, request, &about, claims(state, grant)))));
    }
    answer.extend([
        ("access_token", json!(access)),
        ("expires_in", json!(life.as_secs())),
        ("token_type", json!("Bearer")),
    ]);
    if grant.allows("offline_access") {
        let life = Duration::from_secs_f64(state.config.refresh_seconds);
        answer.push(("refresh_token", json!(state.oauth.issue(Use::Refresh, grant, life))));
    }
    answer.push(("scope", json!(grant.scope)));
    answer
}

/// The application that calls the token endpoint: by HTTP Basic or in the form.
fn caller(state: &State, request: &Request, form: &Form) -> Result<Client, Refused> {
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
    state.oauth.client(&id).filter(|c| c.secret == secret).ok_or(Refused("invalid_client", ""))
}

/// Errors have no description but that of a wrong password, as captured (myob-token-invalid-client).
fn token(state: &State, request: &Request) -> Result<Members, Refused> {
    let form = parse_form(&String::from_utf8_lossy(&request.body));
    let client = caller(state, request, &form)?;
    let (grant, nonce) = match get(&form, "grant_type") {
        "password" => {
            let name = get(&form, "username");
            let user = name.split_once('@').map_or(name, |(user, _)| user);
            if !state.is_password(user, get(&form, "password")) {
                return Err(Refused("invalid_grant", "invalid_username_or_password"));
            }
            // OpenID Connect has no ID token for this flow.
            (new_grant(state, &client, user, get(&form, "scope"))?, None)
        }
        "authorization_code" => {
            let bad = || Refused("invalid_grant", "");
            let code =
                state.oauth.take(get(&form, "code"), |u| matches!(u, Use::Code { .. })).ok_or_else(bad)?;
            let Use::Code { redirect, challenge, nonce } = code.r#use else { return Err(bad()) };
            let verifier = get(&form, "code_verifier");
            let proven = match challenge {
                None => verifier.is_empty(),
                Some(challenge) => challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
            };
            if code.grant.client != client.id || redirect != get(&form, "redirect_uri") || !proven {
                return Err(bad());
            }
            (code.grant, Some(nonce))
        }
        "refresh_token" => {
            let old = state.oauth.take(get(&form, "refresh_token"), |u| matches!(u, Use::Refresh));
            let old = old.filter(|t| t.grant.client == client.id);
            (old.ok_or(Refused("invalid_grant", ""))?.grant, Some(String::new()))
        }
        _ => return Err(Refused("unsupported_grant_type", "")),
    };
    Ok(tokens_for(state, request, &grant, nonce.as_deref()))
}

/// The page of the user: a form, or with `sim_user` the consent at once.
fn authorize(state: &State, request: &Request, form: &Form) -> Reply {
    let page =
        |text: &str| Reply::html(400, &format!("<html><body><h1>Error</h1><p>{text}</p></body></html>"));
    let Some(client) = state.oauth.client(get(form, "client_id")) else { return page("invalid_client") };
    let redirect = get(form, "redirect_uri");
    if !redirect.contains("://") {
        return page("invalid_request: redirect_uri");
    }
    let user = get(form, "sim_user");
    if user.is_empty() {
        return consent_page(state, form);
    }
    match approve(state, request, &client, user, form) {
        Ok((separator, answer)) => back(redirect, separator, &answer, form),
        Err(Refused(error, why)) => {
            let mut answer = vec![("error", error.to_string()), ("error_description", why.to_string())];
            answer.retain(|(_, text)| !text.is_empty());
            back(redirect, '?', &answer, form)
        }
    }
}

fn approve(
    state: &State,
    request: &Request,
    client: &Client,
    user: &str,
    form: &Form,
) -> Result<Approval, Refused> {
    if !state.has_user(user) {
        return Err(Refused("access_denied", "The user is not known."));
    }
    let grant = new_grant(state, client, user, get(form, "scope"))?;
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
        state.oauth.issue(Use::Code { redirect, challenge, nonce }, &grant, CODE_LIFE)
    });
    // Tokens in a URL come without a refresh token.
    let life = Duration::from_secs_f64(state.config.token_seconds);
    let access = asked("token").then(|| state.oauth.issue(Use::Access, &grant, life));
    let id_token = asked("id_token").then(|| {
        let (access_token, code) = (access.as_deref(), code.as_deref());
        let about = About { client: &grant.client, nonce, signed_in: grant.signed_in, access_token, code };
        openid::id_token(state, request, &about, claims(state, &grant))
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
fn user_info(state: &State, request: &Request) -> Reply {
    let refused = |status, error: &str| {
        Reply::empty(status).header("www-authenticate", format!("Bearer error=\"{error}\""))
    };
    match state.oauth.bearer(request) {
        None => refused(401, "invalid_token"),
        Some(grant) if !grant.allows("openid") => refused(403, "insufficient_scope"),
        Some(grant) => Reply::new(200, JSON, members(&claims(state, &grant))),
    }
}

fn revoke(state: &State, request: &Request) -> Result<(), Refused> {
    let form = parse_form(&String::from_utf8_lossy(&request.body));
    let client = caller(state, request, &form)?;
    state.oauth.revoke(&client, get(&form, "token"));
    Ok(())
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
    match (request.method.as_str(), rest) {
        ("GET", [".well-known", "openid-configuration"]) => openid::discovery(state, request),
        ("GET", [".well-known", "openid-configuration", "jwks"]) => openid::keys(),
        ("GET", ["connect", "authorize"]) => authorize(state, request, &request.query),
        ("POST", ["connect", "authorize"]) => {
            authorize(state, request, &parse_form(&String::from_utf8_lossy(&request.body)))
        }
        ("POST", ["connect", "token"]) => match token(state, request) {
            Ok(answer) => token_reply(state, 200, &answer),
            Err(refused) => refuse(state, refused),
        },
        ("GET" | "POST", ["connect", "userinfo"]) => user_info(state, request),
        ("POST", ["connect", "revocation"]) => {
            revoke(state, request).map_or_else(|refused| refuse(state, refused), |()| Reply::empty(200))
        }
        _ => Reply::not_found_html(),
    }
}
