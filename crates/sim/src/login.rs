//! Cookie login and logout (docs/acumatica.md §4).

use serde_json::Value;

use crate::cookies;
use crate::reply::Reply;
use crate::request::Request;
use crate::session::NoSeat;
use crate::state::State;

/// `POST /entity/auth/login`.
pub fn login(state: &State, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let text = |name: &str| body[name].as_str().unwrap_or("");
    let (user, company) = text("name").split_once('@').unwrap_or((text("name"), ""));
    if !state.is_password(user, text("password")) {
        let message = "Error: Invalid credentials. Please try again.";
        return cookies::refused(state, request, Reply::exception(500, "PX.Data.PXException", message));
    }
    let wanted = [text("tenant"), text("company"), company].into_iter().find(|t| !t.is_empty());
    let Some(tenant) = state.tenant(wanted.unwrap_or("")) else {
        // Seen on a site of several tenants (docs/acumatica.md §4, CLI 26.101).
        let message = "A proper company ID cannot be determined for the request.";
        let reply = Reply::exception(500, "PX.Data.PXUndefinedCompanyException", message);
        return cookies::refused(state, request, reply);
    };
    match state.sessions.open(user, tenant, "cookie", None) {
        Ok(session) => {
            if !text("locale").is_empty() {
                let _ = session.locale.set(text("locale").to_string());
            }
            cookies::opened(state, request, &session, Reply::empty(204))
        }
        Err(NoSeat) => Reply::exception(
            state.config.login_limit_status,
            "PX.Data.PXException",
            "Error: The number of active API sessions has reached the API Login Limit of the license.",
        ),
    }
}

/// `POST /entity/auth/logout`. Without a Content-Length IIS answers 411, and the session stays.
pub fn logout(state: &State, request: &Request) -> Reply {
    if request.header("content-length").is_none() && request.header("transfer-encoding").is_none() {
        return Reply::html(
            411,
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<HTML><HEAD><TITLE>Length Required</TITLE></HEAD>\n\
             <BODY><h2>Length Required</h2><hr><p>HTTP Error 411. The request must be chunked or have a content \
             length.</p></BODY></HTML>\n",
        );
    }
    if let Some(session) = state.sessions.find(request) {
        state.sessions.close(&session.id);
    }
    if let Some(session) = state.oauth.session_of(&state.sessions, request) {
        state.sessions.close(&session.id);
    }
    cookies::closed(state, request, Reply::empty(204))
}
