//! One request and its answer: cookies, time limit, redirects, judgement. No retries, no paging.

use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, COOKIE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret;
use tokio::io::AsyncBufRead;
use tokio_util::io::StreamReader;
use url::Url;

use crate::answer;
use crate::config::Config;
use crate::cookies::CookieJar;
use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::retry;

/// How much of an error page is read.
const ERROR_BODY_BYTES: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 5;

/// The HTTP side of a connection; keeps sockets alive between requests.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    timeout: Duration,
}

/// What a request carries besides its address.
pub(crate) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    /// What is asked for, in words for messages: `entity "SalesOrder"`.
    pub what: &'a str,
    pub accept: &'static str,
    /// User name and password are sent along (HTTP Basic).
    pub basic: bool,
    pub body: Option<String>,
}

impl<'a> Request<'a> {
    pub fn get(url: Url, what: &'a str) -> Self {
        Self { method: Method::GET, url, what, accept: "application/json", basic: false, body: None }
    }
}

impl Http {
    pub fn new(config: &Config) -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("acumatica_fdw/", env!("CARGO_PKG_VERSION")))
            // Redirects carry meaning (see `answer::redirect`) and must not leave the origin.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|reason| {
                Error::new(ErrorKind::Internal, "could not set up TLS").detail(chain(&reason))
            })?;
        Ok(Self { client, timeout: config.operation_timeout })
    }

    /// Sends a request, follows redirects within the origin, and returns the answer with its body
    /// unread if it is a success. Cookies of every answer on the way go to `jar`.
    pub async fn send(
        &self,
        config: &Config,
        jar: &Mutex<CookieJar>,
        request: Request<'_>,
    ) -> Result<Answer> {
        let jar = || lock(jar);
        let Request { method, mut url, what, accept, basic, body } = request;
        for _ in 0..=MAX_REDIRECTS {
            let mut builder = self.client.request(method.clone(), url.clone()).header(ACCEPT, accept);
            let cookies = jar().header();
            if let Some(cookies) = cookies {
                builder = builder.header(COOKIE, cookies);
            }
            if let Some(locale) = &config.locale {
                builder = builder.header(ACCEPT_LANGUAGE, locale);
            }
            if let Some(branch) = &config.branch {
                builder = builder.header("PX-CbApiBranch", branch);
            }
            if basic {
                builder = builder.basic_auth(&config.username, Some(config.password.expose_secret()));
            }
            if method == Method::POST {
                builder = match &body {
                    Some(json) => builder.header("Content-Type", "application/json").body(json.clone()),
                    // IIS answers 411 to a POST without it (acumatica-api.md section 4).
                    None => builder.header(CONTENT_LENGTH, 0),
                };
            }
            let response =
                within(self.timeout, builder.send()).await?.map_err(|reason| unsent(config, &reason))?;
            jar().absorb(response.headers());
            let answer = Answer { response, timeout: self.timeout };
            if answer.response.status().is_redirection() {
                url = redirect_target(config, what, answer.response.headers())?;
                continue;
            }
            if !answer.response.status().is_success() {
                let status = answer.response.status();
                let pause = answer.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after = pause.and_then(|text| retry::retry_after(text, SystemTime::now().into()));
                let failure = answer::failure(what, status, &answer.beginning().await);
                return Err(Error { retry_after, ..failure });
            }
            if let Some(error) = answer::unreadable(what, answer.response.headers()) {
                return Err(error);
            }
            if answer.response.status() == StatusCode::NO_CONTENT && method == Method::GET {
                return Err(answer::empty(what));
            }
            return Ok(answer);
        }
        Err(Error::new(ErrorKind::Protocol, format!("the server redirects {what} in a circle")))
    }
}

/// A success whose body is still to be read.
pub(crate) struct Answer {
    response: Response,
    timeout: Duration,
}

impl Answer {
    /// The next bytes of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// The server falls silent, or the connection breaks before the announced end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        within(self.timeout, self.response.chunk()).await?.map_err(|reason| {
            Error::new(ErrorKind::ConnectionLost, "the connection broke in the middle of an answer")
                .detail(chain(&reason))
                .hint("Run the query again.")
        })
    }

    /// The whole body, for answers that are small by nature.
    ///
    /// # Errors
    /// As [`Answer::chunk`]; also if there are more than `limit` bytes.
    pub async fn text(mut self, limit: usize) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
            if bytes.len() > limit {
                return Err(Error::new(ErrorKind::Protocol, "the answer is larger than expected"));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
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

fn redirect_target(config: &Config, what: &str, headers: &HeaderMap) -> Result<Url> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = config.instance.resolve(location).filter(|_| !location.is_empty()).ok_or_else(|| {
        Error::new(ErrorKind::Protocol, format!("the server redirected {what} to another site"))
            .detail(format!("Location: {}", location.split('?').next().unwrap_or_default()))
            .hint("Set the option \"url\" to the address that the browser shows after signing in.")
    })?;
    match answer::redirect(&target) {
        Some(error) => Err(error),
        None => Ok(target),
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

/// Why no answer came at all.
fn unsent(config: &Config, reason: &reqwest::Error) -> Error {
    let host = config.instance.host();
    let words = chain(reason);
    if !reason.is_connect() {
        return Error::new(
            ErrorKind::ConnectionLost,
            format!("the connection to \"{host}\" broke before it answered"),
        )
        .detail(words)
        .hint("Run the query again.");
    }
    let (kind, message, hint) = if words.contains("dns error") {
        (
            ErrorKind::Connect,
            format!("could not find the host \"{host}\""),
            "Check the server option \"url\" and the name service.",
        )
    } else if words.contains("certificate") {
        (
            ErrorKind::Connect,
            format!("the certificate of \"{host}\" was not accepted"),
            "It must be valid now, for this host name, and issued by an authority that this machine trusts.",
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

/// An error with its causes, without the URL: its query may hold business data.
fn chain(reason: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(reason);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !parts.last().is_some_and(|last| last.ends_with(&text)) {
            parts.push(text);
        }
        cause = inner.source();
    }
    parts.join(": ")
}
