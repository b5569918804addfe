//! Faults that tests inject through `/__sim/faults`.

use std::sync::Mutex;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::reply::Reply;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Silent for `ms`, then the normal answer.
    Delay,
    /// Closes the connection: before the headers, or after `bytes` of the body.
    Close,
    /// Answers `status` in Acumatica's error shape.
    Status,
    /// An HTML page with `status` (200 if none).
    Html,
    /// 302 to the error page, as without a seat.
    Redirect,
    /// 200 and nothing.
    Empty,
    /// A complete HTTP answer whose body stops after `bytes`.
    Truncate,
    /// Content-Length says 1,000 more than is sent; stops after `bytes` if given.
    BadLength,
    /// The next link leads back to the same request.
    RepeatNextLink,
    /// At most `rows` rows (or `bytes`, if `rows` is not given), and nothing says so.
    PageCap,
    /// `$skip` counts twice.
    SkipTwice,
    /// `$skip` does nothing.
    SkipIgnored,
    /// With a `$skip` above 0 there are no rows.
    SkipEmpty,
    /// With a `$skip` above 0 the rows begin one too late.
    SkipLate,
    /// An error within a 200: `body` stands in place of the row behind the first `rows` rows, or, if it begins with a
    /// quote, as a member behind these rows. The list ends there, with `bytes` the whole answer does.
    InStream,
    /// The next link is `body`: `relative` (the query alone), `path` (from the root of the site), `https` (the other
    /// scheme), `port` (with the default port), `empty`, `null`, or this text.
    NextLink,
    /// Silent for `ms` after `bytes` of the body, then the rest.
    StallBody,
    /// The session of the request is gone before it is looked at.
    DropSession,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A part of path and query, decoded or raw, or a regular expression.
    #[serde(rename = "match")]
    pub pattern: String,
    #[serde(default)]
    pub method: Option<String>,
    pub kind: FaultKind,
    /// Matching requests to leave alone first.
    #[serde(default)]
    pub after: u64,
    /// Requests to hit; -1 is all.
    #[serde(default = "once")]
    pub count: i64,
    #[serde(default)]
    pub ms: u64,
    #[serde(default)]
    pub status: Option<u16>,
    #[serde(default)]
    pub bytes: Option<u64>,
    #[serde(default)]
    pub rows: Option<u64>,
    /// Headers for `status`, `html`, `redirect` and `empty`, such as Retry-After.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Body for `status` and `html` instead of the usual one; what `in_stream` and `next_link` need.
    #[serde(default)]
    pub body: Option<String>,
    /// `delay`, `close`, `status`, `html`, `redirect` and `empty` strike before the request is looked at; with this,
    /// after it was processed, so that only its answer is lost. The other kinds act on a processed answer anyway.
    #[serde(default)]
    pub processed: bool,
}

fn once() -> i64 {
    1
}

impl Fault {
    pub fn new(pattern: &str, kind: FaultKind) -> Fault {
        Fault {
            pattern: pattern.to_string(),
            method: None,
            kind,
            after: 0,
            count: 1,
            ms: 0,
            status: None,
            bytes: None,
            rows: None,
            headers: Vec::new(),
            body: None,
            processed: false,
        }
    }

    fn matches(&self, method: &str, texts: &[&str]) -> bool {
        let right_method = self.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method));
        let plain = || texts.iter().any(|t| t.contains(&self.pattern));
        let regex = || Regex::new(&self.pattern).is_ok_and(|r| texts.iter().any(|t| r.is_match(t)));
        right_method && (plain() || regex())
    }
}

/// What to do when the body has come to its cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    End,
    Close,
    Stall(Duration),
}

/// What happens to a request at one moment: a wait, then the end of the connection or an answer.
#[derive(Default)]
pub struct Interruption {
    pub delay: Duration,
    pub close: bool,
    pub reply: Option<Reply>,
}

/// What the faults that match one request do to it.
#[derive(Default)]
pub struct Plan {
    /// Before the request is processed.
    pub before: Interruption,
    /// When it has been.
    pub after: Interruption,
    pub drop_session: bool,
    pub cut: Option<(u64, Cut)>,
    pub bad_length: bool,
    pub page_cap: Option<u64>,
    skip: Option<FaultKind>,
    pub in_stream: Option<InStream>,
    next_link: Option<String>,
    pub repeat_next_link: bool,
}

#[derive(Default)]
pub struct Faults {
    list: Mutex<Vec<Fault>>,
}

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.list.lock().unwrap().push(fault);
    }

    pub fn list(&self) -> Vec<Fault> {
        self.list.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.list.lock().unwrap().clear();
    }

    /// Uses up the faults that match a request.
    pub fn plan(&self, site: &str, method: &str, texts: &[&str]) -> Plan {
        let mut plan = Plan::default();
        let mut list = self.list.lock().unwrap();
        for fault in list.iter_mut().filter(|f| f.matches(method, texts)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.count != 0 {
                fault.count -= i64::from(fault.count > 0);
                plan.add(fault, site);
            }
        }
        list.retain(|f| f.count != 0);
        plan
    }
}

/// What OData writes when it fails within a list.
const IN_STREAM: &str = "{\"error\":{\"code\":\"\",\"message\":\"An error has occurred.\"}}";

/// An error within the rows of an answer.
#[derive(Clone, Debug)]
pub struct InStream {
    /// Rows before it.
    pub after: u64,
    pub body: String,
    pub cut: bool,
}

impl InStream {
    /// Ends a list of so many rows: the error, what closes the list, and what closes the answer behind it.
    pub fn write(&self, rows: u64, close: &str, end: &str, out: &mut Vec<u8>) {
        let row = !self.body.starts_with('"');
        let comma = if row && rows > 0 { "," } else { "" };
        let text = match (row, self.cut) {
            (true, true) => format!("{comma}{}", self.body),
            (true, false) => format!("{comma}{}{close}{end}", self.body),
            (false, true) => format!("{close},{}", self.body),
            (false, false) => format!("{close},{}{end}", self.body),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

impl Plan {
    /// What the server makes of a `$skip`.
    pub fn skip(&self, asked: u64) -> u64 {
        match self.skip {
            Some(FaultKind::SkipTwice) => asked.saturating_mul(2),
            Some(FaultKind::SkipIgnored) => 0,
            Some(FaultKind::SkipEmpty) if asked > 0 => u64::MAX,
            Some(FaultKind::SkipLate) if asked > 0 => asked + 1,
            _ => asked,
        }
    }

    /// What the server makes of an absolute next link, as JSON.
    pub fn next_link(&self, link: &str) -> String {
        let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let name = host.split(':').next().unwrap_or(host);
        let link = match self.next_link.as_deref() {
            None => link.to_string(),
            Some("null") => return "null".to_string(),
            Some("empty") => String::new(),
            Some("https") => format!("https://{name}{path}"),
            Some("port") => format!("http://{name}:80{path}"),
            Some("path") => path.to_string(),
            Some("relative") => {
                let (before, query) = path.split_once('?').unwrap_or((path, ""));
                format!("{}?{query}", before.rsplit('/').next().unwrap_or(before))
            }
            Some(text) => text.to_string(),
        };
        serde_json::json!(link).to_string()
    }

    fn add(&mut self, fault: &Fault, site: &str) {
        let pause = Duration::from_millis(fault.ms);
        let bytes = fault.bytes.unwrap_or(0);
        let moment = if fault.processed { &mut self.after } else { &mut self.before };
        match fault.kind {
            FaultKind::Delay => moment.delay += pause,
            FaultKind::Close => match fault.bytes {
                None => moment.close = true,
                Some(bytes) => self.cut = Some((bytes, Cut::Close)),
            },
            FaultKind::Status => {
                let status = fault.status.unwrap_or(503);
                let reply = match &fault.body {
                    Some(body) => Reply::new(status, "application/json; charset=utf-8", body.clone()),
                    None => Reply::exception(status, "System.Exception", "A fault was injected."),
                };
                moment.reply = Some(reply);
            }
            FaultKind::Html => {
                let page = "<!DOCTYPE html><html><head><title>Acumatica</title></head><body>The site is starting.</body></html>";
                moment.reply =
                    Some(Reply::html(fault.status.unwrap_or(200), fault.body.as_deref().unwrap_or(page)));
            }
            FaultKind::Redirect => moment.reply = Some(Reply::no_seat(site)),
            FaultKind::Empty => moment.reply = Some(Reply::empty(fault.status.unwrap_or(200))),
            FaultKind::Truncate => self.cut = Some((bytes, Cut::End)),
            FaultKind::BadLength => {
                self.bad_length = true;
                self.cut = fault.bytes.map(|bytes| (bytes, Cut::End));
            }
            FaultKind::RepeatNextLink => self.repeat_next_link = true,
            FaultKind::PageCap => self.page_cap = Some(fault.rows.unwrap_or(bytes)),
            FaultKind::SkipTwice | FaultKind::SkipIgnored | FaultKind::SkipEmpty | FaultKind::SkipLate => {
                self.skip = Some(fault.kind)
            }
            FaultKind::InStream => {
                self.in_stream = Some(InStream {
                    after: fault.rows.unwrap_or(0),
                    body: fault.body.clone().unwrap_or_else(|| IN_STREAM.to_string()),
                    cut: fault.bytes.is_some(),
                });
            }
            FaultKind::NextLink => self.next_link = fault.body.clone(),
            FaultKind::StallBody => self.cut = Some((bytes, Cut::Stall(pause))),
            FaultKind::DropSession => self.drop_session = true,
        }
        if let Some(reply) = &mut moment.reply {
            for (name, value) in &fault.headers {
                // Header names live as long as the program; a test adds a handful.
                reply.headers.push((Box::leak(name.to_lowercase().into_boxed_str()), value.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_skip_count_and_end() {
        let faults = Faults::default();
        faults.add(Fault { after: 1, count: 2, ..Fault::new("Sales.rder", FaultKind::Close) });
        let hits: Vec<bool> =
            (0..5).map(|_| faults.plan("", "GET", &["/entity/SalesOrder"]).before.close).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.list().is_empty());
    }
}
