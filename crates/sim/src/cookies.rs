//! The cookies that answers set (docs/acumatica.md §4, HTE and JET): each twice but two, in no fixed order, for `/`.

use std::sync::atomic::{AtomicU64, Ordering};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::data::rng::mix;
use crate::reply::{Reply, http_date};
use crate::request::Request;
use crate::session::Session;
use crate::state::State;

const DAY: i64 = 86_400;
/// Requests of a session between two `.ASPXAUTH`: the ticket slides. Ours: how often it does.
const NEW_TICKET: u64 = 20;
const TICKET: &str = "; path=/; HttpOnly";

static ANSWERS: AtomicU64 = AtomicU64::new(0);

/// The site's zone as Acumatica calls it. Ours for zones that no recording shows.
fn zone_code(state: &State) -> String {
    match state.zone.name.as_str() {
        "UTC" => "GMTE0000U".into(),
        "America/New_York" => "GMTM0500G".into(),
        "America/Los_Angeles" => "GMTM0800A".into(),
        "Europe/Moscow" => "GMTP0300M".into(),
        _ => {
            let minutes = state.zone.shift(0) / 60_000_000;
            let sign = if minutes < 0 { 'M' } else { 'P' };
            format!("GMT{sign}{:02}{:02}A", minutes.abs() / 60, minutes.abs() % 60)
        }
    }
}

/// `Sun, 17-Dec-2023 02:13:54 GMT`: the date of a cookie has dashes.
fn dashed(seconds: i64) -> String {
    let date = http_date(seconds);
    let (start, end) = date.split_at(16.min(date.len()));
    let (weekday, day) = start.split_at(5);
    format!("{weekday}{}{end}", day.replace(' ', "-"))
}

/// What a cookie cannot hold is percent-encoded; `& = + : ~` stay as they are.
fn cookie_value(text: &str) -> String {
    const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');
    utf8_percent_encode(text, UNFIT).to_string()
}

/// Cookies in one of their orders, each as often as `times` says, and the two that count requests once.
fn set(state: &State, request: &Request, mut cookies: Vec<String>, times: usize, reply: Reply) -> Reply {
    // The order differs from answer to answer (HTE, JET).
    let turn = ANSWERS.fetch_add(1, Ordering::Relaxed) as usize;
    let length = cookies.len().max(1);
    cookies.rotate_left(turn % length);
    let mut reply = reply;
    for cookie in std::iter::repeat_n(&cookies, times).flatten() {
        reply = reply.header("set-cookie", cookie.clone());
    }
    if times < 2 {
        return reply;
    }
    let query = if request.raw_query.is_empty() { String::new() } else { format!("?{}", request.raw_query) };
    let path = format!("~/{}{}", request.segments.join("/"), query.replace('$', "%24")).to_lowercase();
    let start = 638_381_168_348_768_275 + mix(turn as u64) % 1_000_000_000_000;
    let id = format!("requestid={:016x}{:016x}; path=/", mix(turn as u64 ^ state.started), mix(start));
    let stat = format!("requeststat=+st:{}+sc:{path}+start:{start}+tg:; path=/", 10 + mix(start) % 4000);
    reply.header("set-cookie", id).header("set-cookie", stat)
}

fn branch() -> String {
    "UserBranch=16; path=/".into()
}

fn locale(state: &State, session: Option<&Session>) -> String {
    let culture = session.and_then(|s| s.locale.get()).map_or("en-US", String::as_str);
    format!("Locale=TimeZone={}&Culture={}; path=/", zone_code(state), cookie_value(culture))
}

/// When a session was opened.
pub fn opened(state: &State, request: &Request, session: &Session, reply: Reply) -> Reply {
    let expires = dashed(state.now() + 3 * DAY);
    let culture = session.locale.get().map_or("en-US", String::as_str);
    let mut cookies = vec![
        format!("ASP.NET_SessionId={}; path=/; HttpOnly; SameSite=Lax", session.id),
        branch(),
        format!(
            "Locale=Culture={}&TimeZone={}; expires={expires}; path=/",
            cookie_value(culture),
            zone_code(state)
        ),
        format!(".ASPXAUTH={}{TICKET}", session.ticket()),
    ];
    // Only where the site has several tenants or is hosted (HTE, JET, CEG, CLI).
    if state.tenants.len() > 1 || !state.config.local {
        let tenant = cookie_value(&state.tenants[session.tenant].0);
        cookies.push(format!("CompanyID={tenant}; expires={expires}; path=/"));
    }
    set(state, request, cookies, 2, reply)
}

/// On every later answer; now and then with a new ticket.
pub fn later(state: &State, request: &Request, session: &Session, reply: Reply) -> Reply {
    let mut cookies = vec![locale(state, Some(session)), branch()];
    if session.requests().is_multiple_of(NEW_TICKET) {
        cookies.push(format!(".ASPXAUTH={}{TICKET}", state.sessions.new_ticket(session)));
    }
    let times = if request.method == "GET" { 1 } else { 2 };
    set(state, request, cookies, times, reply)
}

/// On a sign-in that failed (JET).
pub fn refused(state: &State, request: &Request, reply: Reply) -> Reply {
    set(state, request, vec![locale(state, None), branch()], 2, reply)
}

/// When a session was closed.
pub fn closed(state: &State, request: &Request, reply: Reply) -> Reply {
    let gone = dashed(state.now() - 365 * DAY);
    let cookies = vec![
        format!(".ASPXAUTH=; expires=Mon, 11-Oct-1999 22:00:00 GMT{TICKET}"),
        format!("ASP.NET_SessionId=; expires={gone}; path=/"),
        locale(state, None),
        branch(),
    ];
    set(state, request, cookies, 2, reply)
}

#[cfg(test)]
mod tests {
    use super::dashed;

    #[test]
    fn the_date_of_a_cookie_has_dashes() {
        assert_eq!(dashed(1_702_779_234), "Sun, 17-Dec-2023 02:13:54 GMT");
    }
}
