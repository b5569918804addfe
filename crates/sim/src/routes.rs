//! From a URL to its handler, and who may call it.

use std::sync::Arc;

use base64::Engine;

use crate::cookies;
use crate::faults::Plan;
use crate::identity;
use crate::login;
use crate::login_page;
use crate::odata::{ODataCall, Surface, segment};
use crate::reply::Reply;
use crate::request::Request;
use crate::rest;
use crate::session::{NoSeat, Session};
use crate::state::State;

pub async fn answer(state: &Arc<State>, request: &Request, plan: &Plan, n: u64) -> Reply {
    if plan.drop_session {
        for session in [state.sessions.find(request), state.oauth.session_of(&state.sessions, request)]
            .into_iter()
            .flatten()
        {
            state.sessions.close(&session.id);
        }
    }
    let longest = state.config.longest_query;
    if longest > 0 && request.raw_query.len() > longest {
        // As IIS words it; ours: no such answer of an Acumatica site is recorded.
        return Reply::html(
            404,
            "<html><head><title>404 - File or directory not found.</title></head><body></body></html>",
        );
    }
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let old = state.config.release.is_old();
    // Paths are compared without case (docs/acumatica.md §1, HTE).
    let lower: Vec<String> = segments.iter().map(|s| s.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["identity", ..] => identity::answer(state, request, &segments[1..]),
        ["frames", "login.aspx"] => login_page::answer(state, request),
        ["frames", "error.aspx"] | ["ui", "error"] => Reply::html(200, &error_page(request)),
        ["entity", ..] => entity(state, request, plan, n, &segments[1..]).await,
        ["t", _, "api", "odata", surface @ ("gi" | "dac"), ..] if !old => {
            let (tenant, rest) = (segments[1], &segments[5..]);
            let root = format!("/t/{}/api/odata/{surface}", segment(tenant));
            let surface = if *surface == "gi" { Surface::Gi } else { Surface::Dac };
            odata(state, request, plan, n, surface, tenant, root, rest).await
        }
        // They are still there on new releases: the DACs' (SK 2026 R2); of the inquiries' it is not known (§1).
        [first @ ("odata" | "odatav4"), ..] => {
            let surface = if *first == "odata" { Surface::GiV3 } else { Surface::Dac };
            let (tenant, rest) = split_tenant(state, &segments[1..]);
            let name = if tenant.is_empty() { String::new() } else { format!("/{}", segment(tenant)) };
            odata(state, request, plan, n, surface, tenant, format!("/{first}{name}"), rest).await
        }
        // Authentication comes before routing (§1, HB).
        _ => match session_of(state, request) {
            Ok(Some(_)) => Reply::not_found_html(),
            Ok(None) if basic_user(state, request).is_some() => Reply::not_found_html(),
            _ => Reply::unauthorized(),
        },
    }
}

/// What the query says, on a page.
fn error_page(request: &Request) -> String {
    let message = request.option("message").unwrap_or("An error has occurred.");
    let message = message.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Error</h1>{message}</body></html>"
    )
}

/// On a site with one tenant the URL need not name it (docs/acumatica.md §1).
fn split_tenant<'a, 'b>(state: &State, rest: &'b [&'a str]) -> (&'a str, &'b [&'a str]) {
    match rest {
        [first, rest @ ..] if state.tenants.iter().any(|(name, _)| name.eq_ignore_ascii_case(first)) => {
            (first, rest)
        }
        [first, rest @ ..] if state.tenants.len() > 1 || !rest.is_empty() => (first, rest),
        _ => ("", rest),
    }
}

/// Runs a handler in its session: one request at a time, and idleness counts from the end.
async fn in_session(state: &State, n: u64, session: &Session, handler: impl FnOnce() -> Reply) -> Reply {
    let turn = session.turn.clone().lock_owned().await;
    session.touch();
    state.log.update(n, |e| e.session = session.id.clone());
    let reply = handler();
    session.rest();
    drop(turn);
    reply
}

fn with_cookies(state: &State, request: &Request, session: &Session, opened: bool, reply: Reply) -> Reply {
    match opened {
        true => cookies::opened(state, request, session, reply),
        false => cookies::later(state, request, session, reply),
    }
}

/// The session of a request, and whether it was opened just now. A bearer token decides alone: if it is not good,
/// cookies do not help.
fn session_of(state: &State, request: &Request) -> Result<Option<(Arc<Session>, bool)>, NoSeat> {
    match request.bearer() {
        Some(_) => state.oauth.authenticate(&state.sessions, request),
        None => Ok(state.sessions.find(request).map(|session| (session, false))),
    }
}

async fn entity(state: &Arc<State>, request: &Request, plan: &Plan, n: u64, rest: &[&str]) -> Reply {
    if let ("POST", [auth, what]) = (request.method.as_str(), rest)
        && auth.eq_ignore_ascii_case("auth")
    {
        match what.to_ascii_lowercase().as_str() {
            "login" => return login::login(state, request),
            "logout" => return login::logout(state, request),
            _ => {}
        }
    }
    let list = request.method == "GET" && matches!(rest, [] | [""]);
    let (session, opened) = match session_of(state, request) {
        Ok(Some(found)) => found,
        Ok(None) if list => return rest::endpoints(state, request, false),
        Ok(None) => return Reply::unauthorized(),
        Err(NoSeat) => return Reply::no_seat(&state.config.site()),
    };
    let handler = || match list {
        true => rest::endpoints(state, request, true),
        false => rest::answer(state, request, plan, &session, rest),
    };
    let reply = in_session(state, n, &session, handler).await;
    with_cookies(state, request, &session, opened, reply)
}

/// The user whose name and password came as HTTP Basic; `user@Tenant` is understood.
fn basic_user(state: &State, request: &Request) -> Option<String> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    let user = user.split_once('@').map_or(user, |(name, _)| name);
    state.is_password(user, password).then(|| user.to_string())
}

#[allow(clippy::too_many_arguments, reason = "the parts of one URL")]
async fn odata(
    state: &Arc<State>,
    request: &Request,
    plan: &Plan,
    n: u64,
    surface: Surface,
    tenant: &str,
    root: String,
    rest: &[&str],
) -> Reply {
    let refused = || Reply::unauthorized().header("www-authenticate", "Basic realm=\"Acumatica\"");
    let Some(tenant) = state.tenant(tenant) else { return refused() };
    if request.method != "GET" {
        return Reply::exception(
            405,
            "System.NotSupportedException",
            "The requested resource does not support this method.",
        );
    }
    let (session, opened) = match session_of(state, request) {
        Ok(Some(found)) => found,
        Err(NoSeat) => return Reply::no_seat(&state.config.site()),
        // A call with Basic and without cookies opens a session of its own (docs/acumatica.md §4).
        Ok(None) => {
            let Some(user) = basic_user(state, request) else { return refused() };
            match state.sessions.open(&user, tenant, "basic", None) {
                Ok(session) => (session, true),
                Err(NoSeat) => return Reply::no_seat(&state.config.site()),
            }
        }
    };
    if session.tenant != tenant {
        return refused();
    }
    let root = format!("{}{root}", request.base(&state.config));
    let call = ODataCall { state, request, plan, surface, tenant, root };
    let reply = in_session(state, n, &session, || call.answer(rest)).await;
    with_cookies(state, request, &session, opened, reply)
}
