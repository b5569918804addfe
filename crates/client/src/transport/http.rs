//! Sends one request and judges its answer: cookies, time limit, redirects, failures. Retries and paging are elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use url::Url;

use crate::config::{Login, Secret, Transport};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::instance::InstanceUrl;
use crate::lock;
use crate::transport::answer;
use crate::transport::body::ENCODING;
use crate::transport::cookies::CookieJar;
use crate::transport::response::{Answer, within};
use crate::transport::retry::{self, Repeat};
use crate::transport::tls;

const MAX_REDIRECTS: usize = 5;
/// The most headers of an answer.
const MAX_HEADERS: usize = 2000;
/// The media type of a request for a web page.
pub(crate) const PAGE: &str = "text/html";
/// By how many seconds two clocks may differ before it is reported.
const CLOCK_TOLERANCE: i64 = 300;

/// The HTTP side of a connection; keeps sockets alive between requests.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    instance: InstanceUrl,
    /// The name of the proxy in messages, if there is one.
    proxy: Option<String>,
    /// Whether there is a client certificate.
    has_identity: bool,
    timeout: Duration,
    /// By how many seconds the server's clock was ahead of the local one at its last answer.
    clock: AtomicI64,
}

/// How a request signs in, besides its cookies.
#[derive(Clone, Copy)]
pub(crate) enum Authorization<'a> {
    Cookies,
    Basic(&'a Login),
    Bearer(&'a Secret),
}

/// A request. Each constructor takes the method together with whether it may be repeated; there is no other way to make
/// one.
pub(crate) struct Request<'a> {
    method: Method,
    repeat: Repeat,
    url: Url,
    /// The thing that is asked for, in words for messages: `entity "SalesOrder"`.
    what: &'a str,
    accept: &'static str,
    authorization: Authorization<'a>,
    /// Headers that replace those of every request with the same names.
    headers: HeaderMap,
    /// JSON.
    body: Option<String>,
}

impl<'a> Request<'a> {
    /// A request that reads. It may be repeated (RFC 9110, 9.2.1).
    pub fn get(url: Url, what: &'a str) -> Self {
        Self::new(Method::GET, Repeat::Idempotent, url, what)
    }

    /// A `PUT`. Acumatica uses it for reading and for writing, so the caller says whether it may be repeated.
    pub fn put(repeat: Repeat, url: Url, what: &'a str, json: String) -> Self {
        Self { body: Some(json), ..Self::new(Method::PUT, repeat, url, what) }
    }

    /// A `POST`, with a body or without.
    pub fn post(repeat: Repeat, url: Url, what: &'a str, json: Option<String>) -> Self {
        Self { body: json, ..Self::new(Method::POST, repeat, url, what) }
    }

    fn new(method: Method, repeat: Repeat, url: Url, what: &'a str) -> Self {
        Self {
            method,
            repeat,
            url,
            what,
            accept: "application/json",
            authorization: Authorization::Cookies,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// The wanted media type, in place of JSON.
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    pub fn authorization(self, authorization: Authorization<'a>) -> Self {
        Self { authorization, ..self }
    }

    pub fn headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl Http {
    /// `headers` go with every request.
    ///
    /// # Errors
    /// A certificate cannot be read, or TLS cannot be set up. Nothing is sent yet.
    pub fn new(
        instance: &InstanceUrl,
        transport: &Transport,
        timeout: Duration,
        mut headers: HeaderMap,
    ) -> Result<Self> {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ENCODING));
        let builder = reqwest::Client::builder()
            .user_agent(concat!("acumatica_fdw/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // Ours: no source says that a site sends so many, but proxies add theirs, and some fold them, which HTTP
            // allowed once (RFC 9112, 5.2).
            .http1_max_headers(MAX_HEADERS)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            // Redirects carry meaning (see `answer::redirect`) and must not leave the origin.
            .redirect(reqwest::redirect::Policy::none());
        let client = tls::configure(builder, transport)?.build().map_err(|reason| {
            Error::new(ErrorKind::Connect, "could not set up TLS").detail(chain(&reason))
        })?;
        let proxy = transport.proxy.as_ref();
        Ok(Self {
            client,
            instance: instance.clone(),
            proxy: proxy
                .map(|proxy| proxy.url.trim_start_matches("http://").trim_end_matches('/').to_owned()),
            has_identity: transport.client_identity.is_some(),
            timeout,
            clock: AtomicI64::new(0),
        })
    }

    /// Sends a request, follows redirects within the origin if the request may be repeated, and returns an answer with
    /// a success status, its body unread. The cookies of every answer go to `jar`.
    ///
    /// The HTTP library repeats a request on its own only if the server had closed the connection before any of it was
    /// written.
    ///
    /// # Errors
    /// There is no answer, or it is a failure. For a request that must not be repeated, [`Error::may_be_done`] says
    /// whether the server may have acted on it.
    pub async fn send(&self, jar: &Mutex<CookieJar>, request: Request<'_>) -> Result<Answer> {
        let jar = || lock(jar);
        let Request { method, repeat, mut url, what, accept, authorization, headers, body } = request;
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self.builder(method.clone(), url.clone()).headers(headers.clone());
            builder = builder.header(ACCEPT, accept);
            let cookies = jar().header();
            if let Some(cookies) = cookies {
                builder = builder.header(COOKIE, cookies);
            }
            builder = match authorization {
                Authorization::Cookies => builder,
                Authorization::Basic(login) => {
                    builder.basic_auth(&login.username, Some(login.password.expose()))
                }
                Authorization::Bearer(token) => builder.bearer_auth(token.expose()),
            };
            if method != Method::GET {
                builder = match &body {
                    Some(json) => builder.header(CONTENT_TYPE, "application/json").body(json.clone()),
                    // IIS answers 411 to a POST without it (docs/acumatica.md section 4).
                    None => builder.header(CONTENT_LENGTH, 0),
                };
            }
            let mut answer = self.transmit(builder, repeat).await?;
            jar().absorb(&answer.headers);
            if answer.status.is_redirection() {
                let target = self.redirect_target(what, &url, &answer.headers)?;
                if repeat == Repeat::Once {
                    return Err(not_followed(what, target));
                }
                url = target;
                continue;
            }
            if !answer.status.is_success() {
                let status = answer.status;
                let failure = self.failure(what, answer).await;
                // A request that the server refuses, or says that it cannot serve now, was not executed. After an
                // answer of a gateway, or of a site that fails, that is not known.
                let is_refused = status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE;
                return Err(if is_refused { failure } else { repeat.broken(failure) });
            }
            if accept != PAGE && answer.may_be_page().await? {
                let (status, headers) = (answer.status, answer.headers.clone());
                return Err(repeat.broken(answer::page(what, status, &headers, &answer.beginning().await)));
            }
            if answer.status == StatusCode::NO_CONTENT && method == Method::GET {
                return Err(answer::empty(what));
            }
            return Ok(answer);
        }
        Err(Error::new(ErrorKind::Protocol, format!("the server redirects {what} in a circle")))
    }

    /// Sends a request that [`Http::builder`] began. Nothing else sends, so each request says whether it may be repeated.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn transmit(&self, builder: RequestBuilder, repeat: Repeat) -> Result<Answer> {
        let sent = within(self.timeout, builder.send()).await.map_err(|late| repeat.broken(late))?;
        let response = sent.map_err(|reason| match reason.is_connect() {
            true => self.unsent(&reason),
            false => repeat.broken(self.unsent(&reason)),
        })?;
        self.read_clock(response.headers());
        Ok(Answer::of(response, self.timeout, repeat))
    }

    /// Begins a request with the headers that go with every request.
    pub(super) fn builder(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// By how many seconds the server's clock is ahead of the local one, if that is more than [`CLOCK_TOLERANCE`].
    pub fn clock_offset(&self) -> Option<i64> {
        Some(self.clock.load(Ordering::Relaxed)).filter(|seconds| seconds.abs() >= CLOCK_TOLERANCE)
    }

    fn read_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(date) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            let offset = date.signed_duration_since(DateTime::<Utc>::from(SystemTime::now()));
            self.clock.store(offset.num_seconds(), Ordering::Relaxed);
        }
    }

    pub(super) async fn failure(&self, what: &str, answer: Answer) -> Error {
        let status = answer.status;
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return self.proxy_refusal();
        }
        let pause = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = pause.and_then(|text| retry::retry_after(text, SystemTime::now().into()));
        let headers = answer.headers.clone();
        let failure = answer::failure_by(what, status, &headers, &answer.beginning().await);
        Error { retry_after, ..failure }
    }

    /// The address that a redirect of the request to `asked` leads to.
    pub(super) fn redirect_target(&self, what: &str, asked: &Url, headers: &HeaderMap) -> Result<Url> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A site that redirects an address to itself at another origin wants to be asked there.
        let is_here = || asked.join(location).is_ok_and(|link| link.origin() == asked.origin());
        let target = self.instance.resolve_from(asked, location).filter(|url| url != asked || is_here());
        let target = target.filter(|_| !location.is_empty()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("the server redirected {what} to another site"))
                .detail(format!("Location: {}", location.split('?').next().unwrap_or_default()))
                .hint("Set the option \"url\" to the address that the browser shows after signing in.")
        })?;
        match answer::redirect(what, &target) {
            Some(error) => Err(error),
            None => Ok(target),
        }
    }

    /// The error for a request without an answer.
    fn unsent(&self, reason: &reqwest::Error) -> Error {
        let host = self.instance.host();
        let words = chain(reason);
        if let Some(error) = tls::refusal(host, &words, self.has_identity) {
            return error.detail(words);
        }
        if words.contains("proxy authorization required") {
            return self.proxy_refusal();
        }
        if let Some(what) = unreadable_head(&words) {
            return Error::new(
                ErrorKind::Protocol,
                format!("could not read the answer of \"{host}\": {what}"),
            )
            .detail(words)
            .hint("A proxy or firewall on the way may be changing answers; ask whoever runs it.");
        }
        if !reason.is_connect() {
            return Error::new(
                ErrorKind::ConnectionLost,
                format!("the connection to \"{host}\" broke before it answered"),
            )
            .detail(words)
            .hint("Run the query again.");
        }
        let (kind, message, hint) = if let Some(proxy) = &self.proxy {
            (
                ErrorKind::Unreachable,
                if words.contains("unsuccessful") {
                    format!("the proxy \"{proxy}\" could not connect to \"{host}\"")
                } else {
                    format!("could not connect to the proxy \"{proxy}\"")
                },
                "Check the server options \"proxy\" and \"url\", and that both are running.",
            )
        } else if words.contains("dns error") {
            (
                ErrorKind::Connect,
                format!("could not find the host \"{host}\""),
                "Check the server option \"url\" and the name service.",
            )
        } else {
            (
                ErrorKind::Unreachable,
                format!("could not connect to \"{host}\""),
                "Check the server option \"url\", and that the site is running.",
            )
        };
        Error::new(kind, message).detail(words).hint(hint)
    }

    fn proxy_refusal(&self) -> Error {
        let proxy = self.proxy.as_deref().unwrap_or_default();
        Error::new(
            ErrorKind::Credentials,
            format!("the proxy \"{proxy}\" did not accept the user name or password"),
        )
        .hint("Set the options \"proxy_user\" and \"proxy_password\" of the user mapping.")
    }
}

/// The error for a redirect of a request that must not be repeated.
fn not_followed(what: &str, mut target: Url) -> Error {
    target.set_query(None);
    Error::new(ErrorKind::Protocol, format!("the server redirects {what}, which must not be sent twice"))
        .detail(format!("Location: {target}"))
        .hint("Set the option \"url\" to the address under which the site answers without redirecting.")
}

/// What is wrong with the headers of an answer, by the message of the library that could not read them. Another attempt
/// would have the same result.
fn unreadable_head(words: &str) -> Option<&'static str> {
    [
        ("message head is too large", "it has too many headers"),
        ("invalid HTTP header parsed", "one of its headers is not valid"),
        ("invalid content-length parsed", "its Content-Length is not valid"),
        ("invalid HTTP status-code parsed", "its status is not valid"),
        ("invalid HTTP version parsed", "it is not HTTP/1.1"),
    ]
    .into_iter()
    .find_map(|(said, what)| words.contains(said).then_some(what))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;
    use crate::report::Report;
    use crate::transport::retry::Retry;

    /// Serves one connection for each answer, which is sent as it stands; nothing is sent for an empty one. The channel
    /// brings the first line of each request with its body.
    pub fn serve(answers: &[&'static str]) -> (Url, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (seen, requests) = mpsc::channel();
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(&stream);
                let mut head: Vec<String> = Vec::new();
                while head.last().is_none_or(|line| !line.trim().is_empty()) {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    head.push(line.to_ascii_lowercase());
                }
                let length = head.iter().find_map(|line| line.strip_prefix("content-length:"));
                let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
                reader.read_exact(&mut body).unwrap();
                let line = head[0].trim().trim_end_matches(" http/1.1");
                seen.send(format!("{line} {}", String::from_utf8(body).unwrap())).unwrap();
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        });
        (site, requests)
    }

    const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    const CUT_OFF: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\nConnection: close\r\n\r\n[";
    const BROKEN: &str = "";

    /// Sends a request to what [`serve`] serves until it succeeds or must not be repeated, and returns what the server
    /// saw.
    fn persist(
        answers: &[&'static str],
        ask: impl Fn(Url) -> Request<'static>,
    ) -> (Result<Vec<u8>>, Vec<String>) {
        let (site, requests) = serve(answers);
        let instance = InstanceUrl::parse(site.as_str()).unwrap();
        let second = Duration::from_secs(10);
        let http = Http::new(&instance, &Transport::default(), second, HeaderMap::new()).unwrap();
        let jar = Mutex::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let (mut retry, report) = (Retry::new(second), Report::default());
            loop {
                let body = match http.send(&jar, ask(site.join("a").unwrap())).await {
                    Ok(answer) => answer.bytes(100).await,
                    Err(error) => Err(error),
                };
                match body {
                    Ok(body) => return Ok(body),
                    Err(error) => retry.pause(error, &report).await?,
                }
            }
        });
        (outcome, requests.try_iter().collect())
    }

    fn once(url: Url) -> Request<'static> {
        Request::post(Repeat::Once, url, "X", Some("{}".into()))
    }

    fn status(code: &str, headers: &str) -> &'static str {
        let answer = format!("HTTP/1.1 {code}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
        Box::leak(answer.into_boxed_str())
    }

    #[test]
    fn what_is_sent_once_is_not_repeated_after_a_broken_connection() {
        for broken in [BROKEN, CUT_OFF] {
            let (outcome, seen) = persist(&[broken, DONE], once);
            let error = outcome.unwrap_err();
            assert!(error.kind == ErrorKind::ConnectionLost && error.may_be_done, "{error:?}");
            assert_eq!(seen, ["post /a {}"]);
            let (outcome, seen) = persist(&[broken, DONE], |url| Request::get(url, "X"));
            assert_eq!((outcome.unwrap(), seen), (b"[]".to_vec(), vec!["get /a ".to_owned(); 2]));
        }
        let put = |url| Request::put(Repeat::Idempotent, url, "X", "{}".into());
        assert_eq!(persist(&[BROKEN, DONE], put).1, ["put /a {}"; 2]);
    }

    #[test]
    fn what_is_sent_once_does_not_follow_redirects() {
        for code in
            ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
        {
            let elsewhere = status(code, "Location: /b?secret=x\r\n");
            let (outcome, seen) = persist(&[elsewhere, DONE], once);
            let error = outcome.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol, "{code}");
            assert!(
                error.message.contains("must not be sent twice") && error.detail.unwrap().ends_with("/b"),
                "{code}"
            );
            assert_eq!(seen, ["post /a {}"], "{code}");
        }
        let elsewhere = status("307 Temporary Redirect", "Location: /b\r\n");
        let put = |url| Request::put(Repeat::Idempotent, url, "X", "{}".into());
        assert_eq!(persist(&[elsewhere, DONE], put).1, ["put /a {}", "put /b {}"]);
        assert_eq!(persist(&[elsewhere, DONE], |url| Request::get(url, "X")).1, ["get /a ", "get /b "]);
    }

    #[test]
    fn what_is_sent_once_is_repeated_where_it_was_not_done() {
        for refusal in ["503 Service Unavailable", "429 Too Many Requests", "425 Too Early"] {
            let (outcome, seen) = persist(&[status(refusal, ""), DONE], once);
            assert!(outcome.is_ok(), "{refusal}");
            assert_eq!(seen, ["post /a {}"; 2], "{refusal}");
        }
        // A gateway does not know what the server behind it did, and after a failure of the site nobody knows.
        for unknown in ["502 Bad Gateway", "504 Gateway Timeout", "500 Internal Server Error"] {
            let (outcome, seen) = persist(&[status(unknown, ""), DONE], once);
            assert!(outcome.unwrap_err().may_be_done, "{unknown}");
            assert_eq!(seen, ["post /a {}"], "{unknown}");
            let (outcome, seen) = persist(&[status(unknown, ""), DONE], |url| Request::get(url, "X"));
            assert!(outcome.is_ok() && seen.len() == 2, "{unknown}");
        }
        // The connection was refused, so nothing was sent.
        let (site, _) = serve(&[]);
        let instance = InstanceUrl::parse(site.as_str()).unwrap();
        let http =
            Http::new(&instance, &Transport::default(), Duration::from_secs(10), HeaderMap::new()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while std::net::TcpStream::connect((site.host_str().unwrap(), site.port().unwrap())).is_ok() {}
        let error = runtime.block_on(http.send(&Mutex::default(), once(site))).map(drop).unwrap_err();
        assert!(error.kind == ErrorKind::Unreachable && !error.may_be_done, "{error:?}");
    }

    #[test]
    fn issue_4_2_a_redirect_by_the_other_scheme_is_one_of_the_site() {
        let instance = InstanceUrl::parse("https://erp.example/Site").unwrap();
        let second = Duration::from_secs(1);
        let http = Http::new(&instance, &Transport::default(), second, HeaderMap::new()).unwrap();
        let asked = Url::parse("https://erp.example/Site/entity").unwrap();
        let judge = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().unwrap());
            http.redirect_target("X", &asked, &headers).map(String::from).map_err(|error| error.kind)
        };
        let sign_in = "erp.example/Site/Frames/Login.aspx?ReturnUrl=%2fSite%2fentity";
        for scheme in ["https", "http"] {
            assert_eq!(judge(&format!("{scheme}://{sign_in}")), Err(ErrorKind::SessionLost));
        }
        assert_eq!(judge("http://erp.example:8080/Site/Frames/Login.aspx"), Err(ErrorKind::SessionLost));
        assert_eq!(
            judge("http://erp.example/Site/Frames/Error.aspx?message=API+Login+Limit"),
            Err(ErrorKind::NoSeat)
        );
        // Nothing is sent in the clear.
        assert_eq!(
            judge("http://erp.example/Site/entity/").as_deref(),
            Ok("https://erp.example/Site/entity/")
        );
        // A redirect to the other scheme is no way out of a site that has only that scheme.
        assert_eq!(judge("http://erp.example/Site/entity"), Err(ErrorKind::Protocol));
        for other in [
            "https://other.example/Site/Frames/Login.aspx",
            "http://other.example/",
            "",
            "ftp://erp.example/",
        ] {
            assert_eq!(judge(other), Err(ErrorKind::Protocol), "{other}");
        }
    }
}
