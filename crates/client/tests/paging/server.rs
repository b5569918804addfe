//! Servers with one list, which misbehave as a test wants.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What a server makes of `$skip`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    Right,
    Twice,
    Ignored,
    Nothing,
    Late(usize),
}

/// How a server misbehaves.
#[derive(Clone, Debug)]
pub struct Manners {
    pub skip: Skip,
    /// Most rows of an answer.
    pub cap: Option<usize>,
    /// Whether an answer that was cut short has a link to the rest.
    pub links: bool,
    pub random_ids: bool,
}

pub const GOOD: Manners = Manners { skip: Skip::Right, cap: None, links: false, random_ids: false };

/// A server with one list, on a port of its own until it is dropped.
pub struct Server {
    pub port: u16,
    pub log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
pub struct Log {
    pub requests: usize,
    /// Answers with rows that none before had.
    pub pages: usize,
    pub sent: HashSet<usize>,
    pub urls: Vec<String>,
}

pub type Answer = dyn Fn(&str, usize) -> String + Send + Sync;

impl Server {
    /// `answer` gets path and query, and how many requests there were before.
    pub fn new(answer: Box<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Arc::clone(&log);
        let answer: Arc<Answer> = answer.into();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream, &*answer, &log));
            }
        });
        Self { port, log }
    }

    /// Rows `(Nbr, Status)` of a list that is paged by `$top` and `$skip`.
    pub fn of_rows(rows: Vec<(String, String)>, manners: Manners, odata: bool) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let server = Self::new(answer_of_rows(rows, manners, odata, Arc::clone(&log)));
        Self { log, ..server }
    }
}

/// Answers with rows `(Nbr, Status)` of a list that is paged by `$top` and `$skip`.
pub fn answer_of_rows(
    rows: Vec<(String, String)>,
    manners: Manners,
    odata: bool,
    log: Arc<Mutex<Log>>,
) -> Box<Answer> {
    Box::new(move |url, _| {
        if !url.contains("Thing") {
            return r#"{"value":[]}"#.to_owned();
        }
        let option = |name: &str| {
            let query = url.split_once('?').map_or("", |(_, query)| query);
            let value = query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse::<usize>().ok())
        };
        let (skip, top) = (option("$skip").unwrap_or(0), option("$top").unwrap_or(usize::MAX));
        let (skip, top) = match manners.skip {
            _ if skip == 0 => (0, top),
            Skip::Right => (skip, top),
            Skip::Twice => (skip * 2, top),
            Skip::Ignored => (0, top),
            Skip::Nothing => (0, 0),
            Skip::Late(by) => (skip + by, top),
        };
        let count = top.min(manners.cap.unwrap_or(usize::MAX));
        let mut log = log.lock().unwrap();
        log.requests += 1;
        log.urls.push(url.to_owned());
        let chosen: Vec<usize> = (0..rows.len()).skip(skip).take(count).collect();
        let new = chosen.iter().filter(|row| log.sent.insert(**row)).count();
        log.pages += usize::from(new > 0);
        let text: Vec<String> = chosen
                .iter()
                .map(|&row| {
                    let (nbr, status) = &rows[row];
                    if odata {
                        return format!(r#"{{"Nbr":"{nbr}","Status":"{status}"}}"#);
                    }
                    let id = if manners.random_ids { random_id() } else { format!("row-{row}") };
                    format!(
                        r#"{{"id":"{id}","rowNumber":{},"note":null,"Nbr":{{"value":"{nbr}"}},"Status":{{"value":"{status}"}},"custom":{{}},"_links":{{"self":"/entity/{id}"}}}}"#,
                        row + 1 - skip
                    )
                })
                .collect();
        let link = match manners.links && skip + chosen.len() < rows.len() && !chosen.is_empty() {
            true => format!(r#","@odata.nextLink":"/x?$skip={}""#, skip + chosen.len()),
            false => String::new(),
        };
        match odata {
            true => format!(r#"{{"@odata.context":"x","value":[{}]{link}}}"#, text.join(",")),
            false => format!("[{}]", text.join(",")),
        }
    })
}

fn random_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("random-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn serve(mut stream: &TcpStream, answer: &Answer, log: &Mutex<Log>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let url = line.split(' ').nth(1).unwrap_or_default().replace("%24", "$");
        while line.trim() != "" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let before = {
            let mut log = log.lock().unwrap();
            log.requests += 1;
            log.urls.push(url.clone());
            log.requests - 1
        };
        let body = match url.contains("$metadata") {
            true => METADATA.to_owned(),
            false => answer(&url, before),
        };
        let (status, body) = match body.strip_prefix(FAILURE) {
            Some(body) => ("500 Internal Server Error", body.to_owned()),
            None => ("200 OK", body),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Begins the text of an answer whose status is 500.
const FAILURE: &str = "500:";

/// Of an inquiry without a key.
const METADATA: &str = r#"<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="GI" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="Thing">
<Property Name="Nbr" Type="Edm.String"/><Property Name="Status" Type="Edm.String"/></EntityType>
<EntityContainer Name="Default"><EntitySet Name="Thing" EntityType="GI.Thing"/></EntityContainer></Schema>
</edmx:DataServices></edmx:Edmx>"#;
