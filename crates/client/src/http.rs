//! One request and its answer: cookies, time limit, redirects, judgement. No retries, no paging.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;
use url::Url;

use crate::answer;
use crate::body::{Body, ENCODING};
use crate::config::{Login, Secret, Transport};
use crate::cookies::CookieJar;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::instance::InstanceUrl;
use crate::lock;
use crate::page;
use crate::retry;
use crate::tls;
use crate::token_answer::{self, Reading};

/// How much of an error page is read.
const ERROR_BODY_BYTES: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 5;
/// Of an answer.
const MAX_HEADERS: usize = 2000;
/// Accepts a web page.
pub(crate) const PAGE: &str = "text/html";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Seconds by which two clocks may differ before anybody needs to hear of it.
const CLOCK_TOLERANCE: i64 = 300;

/// The HTTP side of a connection; keeps sockets alive between requests.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    instance: InstanceUrl,
    /// What messages call the proxy, if there is one.
    proxy: Option<String>,
    /// Whether there is a client certificate.
    has_identity: bool,
    timeout: Duration,
    /// Seconds by which the server's clock was ahead of ours when it last said the time.
    clock: AtomicI64,
}

/// Who a request says it comes from, besides its cookies.
#[derive(Clone, Copy)]
pub(crate) enum Authorization<'a> {
    Cookies,
    Basic(&'a Login),
    Bearer(&'a Secret),
}

/// What a request carries besides its address.
pub(crate) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    /// What is asked for, in words for messages: `entity "SalesOrder"`.
    pub what: &'a str,
    pub accept: &'static str,
    pub authorization: Authorization<'a>,
    /// In place of those that go with every request, where they have the same names.
    pub headers: HeaderMap,
    pub body: Option<String>,
}

impl<'a> Request<'a> {
    pub fn get(url: Url, what: &'a str) -> Self {
        Self {
            method: Method::GET,
            url,
            what,
            accept: "application/json",
            authorization: Authorization::Cookies,
            headers: HeaderMap::new(),
            body: None,
        }
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
            // Ours: no source says that a site sends so many, but proxies add theirs, and some fold them as HTTP allowed
            // once (RFC 9112, 5.2).
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

    /// Sends a request, follows redirects within the origin, and returns the answer with its body
    /// unread if it is a success. Cookies of every answer on the way go to `jar`.
    pub async fn send(&self, jar: &Mutex<CookieJar>, request: Request<'_>) -> Result<Answer> {
        let jar = || lock(jar);
        let Request { method, mut url, what, accept, authorization, headers, body } = request;
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self.client.request(method.clone(), url.clone()).headers(headers.clone());
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
            let response =
                within(self.timeout, builder.send()).await?.map_err(|reason| self.unsent(&reason))?;
            self.read_clock(response.headers());
            jar().absorb(response.headers());
            let mut answer = Answer::of(response, self.timeout);
            if answer.status.is_redirection() {
                url = self.redirect_target(what, &url, &answer.headers)?;
                continue;
            }
            if !answer.status.is_success() {
                return Err(self.failure(what, answer).await);
            }
            if accept != PAGE && answer.may_be_page().await? {
                let (status, headers) = (answer.status, answer.headers.clone());
                return Err(answer::page(what, status, &headers, &answer.beginning().await));
            }
            if answer.status == StatusCode::NO_CONTENT && method == Method::GET {
                return Err(answer::empty(what));
            }
            return Ok(answer);
        }
        Err(Error::new(ErrorKind::Protocol, format!("the server redirects {what} in a circle")))
    }

    /// A request of OAuth: an answer of the server is returned whatever it says, unless it
    /// says that the server cannot answer now.
    ///
    /// # Errors
    /// There is no answer, or one that passes; it can be tried again.
    async fn exchange(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse> {
        const WHAT: &str = "the access token";
        const MOST_BYTES: usize = 1024 * 1024;
        // Not less patience than for anything else: the token in an answer that nobody waits for is lost.
        let timeout = self.timeout;
        let (head, body) = request.into_parts();
        let builder = self.client.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
        let late = |error: Error| match error.kind {
            ErrorKind::Timeout => Error { kind: ErrorKind::Unavailable, ..error },
            _ => error,
        };
        let sent = within(timeout, builder.send()).await.map_err(late)?;
        let response = sent.map_err(|reason| self.unsent(&reason))?;
        self.read_clock(response.headers());
        let asked = response.url().clone();
        let answer = Answer::of(response, timeout);
        let status = answer.status;
        if status.is_redirection() {
            self.redirect_target(WHAT, &asked, &answer.headers)?;
            return Err(Error::new(
                ErrorKind::Protocol,
                "the server redirects the request for an access token",
            ));
        }
        let passes = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY];
        if status.is_server_error()
            || passes.contains(&status)
            || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            let failure = self.failure(WHAT, answer).await;
            // Nothing was changed, and an identity server says 500 for what passes.
            let kind = if failure.kind == ErrorKind::Server { ErrorKind::Unavailable } else { failure.kind };
            return Err(Error { kind, ..failure });
        }
        let headers = answer.headers.clone();
        let body = answer.what_comes(MOST_BYTES).await.map_err(late)?;
        let text = String::from_utf8_lossy(&body);
        match page::judge(WHAT, status, &headers, &text) {
            Some(error) if error.kind == ErrorKind::Blocked => return Err(error),
            _ => {}
        }
        // What it says of its type is not asked: the body tells.
        let (status, body) = match token_answer::read(status, &body) {
            Reading::Tokens(json) => (StatusCode::OK, json),
            Reading::Refusal(json) => (StatusCode::BAD_REQUEST, json),
            Reading::Unreadable => (StatusCode::OK, body),
        };
        let mut response = oauth2::HttpResponse::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    /// By how many seconds the server's clock is ahead of ours, if that is worth a word.
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

    async fn failure(&self, what: &str, answer: Answer) -> Error {
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

    /// Where an answer to the request of `asked` leads.
    fn redirect_target(&self, what: &str, asked: &Url, headers: &HeaderMap) -> Result<Url> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // That an address leads to itself by another origin is said by a site that wants to be asked there.
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

    /// Why no answer came at all.
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

impl<'c> oauth2::AsyncHttpClient<'c> for Http {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

/// What is wrong with the head of an answer, by the words of the library that could not read it: trying again brings the
/// same.
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

/// A success whose body is still to be read.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    timeout: Duration,
    /// What has been looked at already.
    ahead: Option<Bytes>,
}

impl Answer {
    fn of(response: Response, timeout: Duration) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: Body::of(response), timeout, ahead: None }
    }

    /// The next bytes of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// The server falls silent, or the connection breaks before the announced end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        within(self.timeout, self.body.chunk()).await?
    }

    /// Whether the body is a web page, by its type, or by its beginning where the type does not tell.
    async fn may_be_page(&mut self) -> Result<bool> {
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let declared = declared.unwrap_or_default().to_ascii_lowercase();
        if declared.contains("html") {
            return Ok(true);
        }
        if ["json", "xml", "octet-stream"].iter().any(|ty| declared.contains(ty)) {
            return Ok(false);
        }
        self.ahead = self.chunk().await?;
        let start = self.ahead.as_deref().unwrap_or_default();
        Ok(page::looks_like_page(&String::from_utf8_lossy(&start[..start.len().min(1024)])))
    }

    /// The whole body, for answers that are small by nature, without a byte order mark.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn text(self, limit: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.document(limit).await?).into_owned())
    }

    /// The whole body without a byte order mark, which .NET likes to put before text.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn document(self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = self.bytes(limit).await?;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(bytes)
    }

    /// The whole body, byte for byte.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let announced = self.body.length();
        let too_large =
            || Error::new(ErrorKind::TooLarge, format!("the answer is larger than {limit} bytes"));
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(chunk.as_ref());
        }
        Ok(bytes)
    }

    /// The body, or what came of it if the connection breaks behind a token that must not be lost.
    async fn what_comes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= limit => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    return Err(Error::new(
                        ErrorKind::TooLarge,
                        format!("the answer is larger than {limit} bytes"),
                    ));
                }
                Ok(None) => return Ok(bytes),
                Err(_) if token_answer::salvaged(&bytes).is_some() => return Ok(bytes),
                Err(error) => return Err(error),
            }
        }
    }

    /// The body as a stream, for readers that bring their own buffering.
    pub fn reader(self) -> impl AsyncBufRead + Unpin {
        let chunks = stream::try_unfold(self, |mut answer| async {
            let chunk = answer.chunk().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(chunk.map(|chunk| (chunk, answer)))
        });
        StreamReader::new(Box::pin(chunks))
    }

    /// The beginning of an error's body; what cannot be read is left out.
    async fn beginning(mut self) -> String {
        let mut bytes = Vec::new();
        while bytes.len() < ERROR_BODY_BYTES {
            match self.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(chunk.as_ref()),
                _ => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

async fn within<T>(timeout: Duration, step: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(timeout, step).await.map_err(|_| {
        Error::new(ErrorKind::Timeout, format!("the server sent nothing for {} seconds", timeout.as_secs()))
            .hint(
                "A cold start of the site can take longer than a minute. Raise the server option \
             \"operation_timeout\" (seconds), or try again.",
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Nothing is ever sent in the clear.
        assert_eq!(
            judge("http://erp.example/Site/entity/").as_deref(),
            Ok("https://erp.example/Site/entity/")
        );
        // That is no way out of a site that only has the other scheme.
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
