//! Requests to the token endpoint, for the OAuth library.

use std::future::Future;
use std::pin::Pin;

use reqwest::StatusCode;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::http::Http;
use crate::transport::page;
use crate::transport::retry::Repeat;
use crate::transport::token_answer::{self, Reading};

/// In words for messages.
const WHAT: &str = "the access token";
/// Of an answer.
const MOST_BYTES: usize = 1024 * 1024;

/// The HTTP client of the OAuth library. Who makes one says whether its requests may be repeated.
pub(crate) struct TokenRequests<'a> {
    pub http: &'a Http,
    pub repeat: Repeat,
}

impl<'c> oauth2::AsyncHttpClient<'c> for TokenRequests<'_> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

impl TokenRequests<'_> {
    /// Sends a request. An answer of the server is returned whatever it says, unless it says that the server cannot
    /// answer now.
    ///
    /// # Errors
    /// There is no answer, or one of a failure that may pass. Of a request that must not be repeated,
    /// [`Error::may_be_done`] says whether the server may have acted on it.
    async fn exchange(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse> {
        let Self { http, repeat } = *self;
        let (head, body) = request.into_parts();
        let asked = Url::parse(&head.uri.to_string()).map_err(|reason| {
            Error::new(ErrorKind::Internal, "the address of the token endpoint is not valid").detail(reason)
        })?;
        let builder = http.builder(head.method, asked.clone()).headers(head.headers).body(body);
        let late = |error: Error| match error.kind {
            ErrorKind::Timeout => Error { kind: ErrorKind::Unavailable, ..error },
            _ => error,
        };
        // With the time limit of all requests: if nobody waits for an answer, the token in it is lost.
        let answer = http.transmit(builder, repeat).await.map_err(late)?;
        let status = answer.status;
        if status.is_redirection() {
            http.redirect_target(WHAT, &asked, &answer.headers)?;
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
            let failure = http.failure(WHAT, answer).await;
            // An identity server sends 500 for failures that pass.
            let kind = if failure.kind == ErrorKind::Server { ErrorKind::Unavailable } else { failure.kind };
            let failure = Error { kind, ..failure };
            return Err(if status.is_server_error() { repeat.broken(failure) } else { failure });
        }
        let headers = answer.headers.clone();
        let body = answer.what_comes(MOST_BYTES).await.map_err(late)?;
        let text = String::from_utf8_lossy(&body);
        match page::judge(WHAT, status, &headers, &text) {
            Some(error) if error.kind == ErrorKind::Blocked => return Err(error),
            _ => {}
        }
        // The body decides, whatever its media type says.
        let (status, body) = match token_answer::read(status, &body) {
            Reading::Tokens(json) => (StatusCode::OK, json),
            Reading::Refusal(json) => (StatusCode::BAD_REQUEST, json),
            Reading::Unreadable => (StatusCode::OK, body),
        };
        let mut response = oauth2::HttpResponse::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oauth2::AsyncHttpClient;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::config::Transport;
    use crate::instance::InstanceUrl;
    use crate::transport::http::tests::serve;

    fn outcome(answer: &'static str, repeat: Repeat) -> Result<oauth2::HttpResponse> {
        let (site, requests) = serve(&[answer]);
        let instance = InstanceUrl::parse(site.as_str()).unwrap();
        let http =
            Http::new(&instance, &Transport::default(), Duration::from_secs(10), HeaderMap::new()).unwrap();
        let request = oauth2::http::Request::post(site.join("token").unwrap().as_str());
        let request = request.body(b"code=x".to_vec()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(TokenRequests { http: &http, repeat }.call(request));
        assert_eq!(requests.iter().collect::<Vec<_>>(), ["post /token code=x"]);
        outcome
    }

    #[test]
    fn a_code_whose_redemption_breaks_may_be_used_up() {
        let failing = "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        for broken in ["", failing] {
            assert!(outcome(broken, Repeat::Once).unwrap_err().may_be_done, "{broken}");
            assert!(!outcome(broken, Repeat::Idempotent).unwrap_err().may_be_done, "{broken}");
        }
        let refused = "HTTP/1.1 429 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert!(!outcome(refused, Repeat::Once).unwrap_err().may_be_done);
    }
}
