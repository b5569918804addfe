//! `GET /Frames/Login.aspx`, the page on which people sign in.

use crate::reply::Reply;
use crate::request::Request;
use crate::state::State;

/// With a session it names the tenant of that in the hidden field `txtSingleCompany`, as acumatica-cli reads it ("the
/// value is the session tenant's login name in every observed state", "does not disturb the session", seen on 26.101).
/// Without one it does so where there is one tenant. Ours: where there are several, a stranger gets a list to choose
/// from; no source shows its markup.
pub fn answer(state: &State, request: &Request) -> Reply {
    let session = state
        .oauth
        .session_of(&state.sessions, request)
        .or_else(|| state.sessions.find(request))
        .map(|s| s.tenant);
    let names = || state.tenants.iter().map(|(name, _)| escape(name));
    let tenants = match session.or((state.tenants.len() == 1).then_some(0)) {
        Some(tenant) => format!(
            "<input type=\"hidden\" name=\"ctl00$phUser$txtSingleCompany\" id=\"txtSingleCompany\" value=\"{}\" />",
            escape(&state.tenants[tenant].0)
        ),
        None => format!(
            "<select name=\"ctl00$phUser$cmpCompany\" id=\"cmpCompany\">{}</select>",
            names().map(|name| format!("<option value=\"{name}\">{name}</option>")).collect::<String>()
        ),
    };
    let page = format!(
        "<!DOCTYPE html>\n<html><head><title>Acumatica (simulated)</title></head><body><form method=\"post\" \
         action=\"./Login.aspx\"><input name=\"ctl00$phUser$txtUser\" type=\"text\" /><input \
         name=\"ctl00$phUser$txtPass\" type=\"password\" />{tenants}<input type=\"submit\" value=\"Sign In\" />\
         </form></body></html>\n"
    );
    Reply::new(200, "text/html; charset=utf-8", page)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
