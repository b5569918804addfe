//! The loopback listener for the callback of an authorization in the browser.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::lock;

/// Waits until the browser calls `callback` with `state`, and returns the address that it requested. Any web page may
/// send a browser here; without the state, the request is ignored.
pub(crate) async fn wait(callback: &Url, state: &Secret, patience: Duration) -> Result<String> {
    let port = callback.port_or_known_default().unwrap_or(80);
    let failed = |reason: std::io::Error| {
        Error::new(ErrorKind::Definition, format!("could not listen at the callback \"{callback}\""))
            .detail(reason)
            .hint("Another program may use the port, or another session may be waiting. Choose another port: it stands \
                   in callback_url and on screen SM303010.")
    };
    // Browsers resolve localhost to IPv4 or IPv6. Without IPv6, one listener is enough.
    let first = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
    let second = TcpListener::bind(("::1", port)).await.ok();
    let (answer, answered) = oneshot::channel();
    let answer = Arc::new(Mutex::new(Some(answer)));
    let accept = async {
        loop {
            let accepted = match &second {
                Some(second) => tokio::select! {
                    accepted = first.accept() => accepted,
                    accepted = second.accept() => accepted,
                },
                None => first.accept().await,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (callback, state, answer) = (callback.clone(), state.clone(), Arc::clone(&answer));
            let service = service_fn(move |request| {
                serve(request, callback.clone(), state.clone(), Arc::clone(&answer))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    };
    tokio::select! {
        address = answered => {
            address.map_err(|_| Error::new(ErrorKind::Internal, "the listener ended without an answer"))
        }
        () = accept => unreachable!("it accepts forever"),
        () = tokio::time::sleep(patience) => Err(Error::new(
            ErrorKind::Timeout,
            format!("nobody came to the callback within {} seconds", patience.as_secs()),
        )
        .hint("The browser must run on this machine, or reach its port through a tunnel (ssh -L). Otherwise paste the \
               address it ends at into acumatica_authorize().")),
    }
}

async fn serve(
    request: Request<Incoming>,
    callback: Url,
    state: Secret,
    answer: Arc<Mutex<Option<oneshot::Sender<String>>>>,
) -> Result<Response<String>, Infallible> {
    let query = request.uri().query().unwrap_or_default();
    // Browsers also ask for an icon.
    let is_answer = request.uri().path() == callback.path()
        && url::form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| name == "state" && value == state.expose());
    let (status, text) = if is_answer {
        if let Some(answer) = lock(&answer).take() {
            // The statement was cancelled, so nobody receives the answer.
            let _ = answer.send(format!("{callback}?{query}"));
        }
        (StatusCode::OK, "The answer has reached PostgreSQL. You can close this page; psql says how it went.")
    } else {
        (StatusCode::NOT_FOUND, "There is nothing here.")
    };
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>acumatica_fdw</title></head>\
         <body style=\"font-family:sans-serif;margin:3em\"><h1>acumatica_fdw</h1><p>{text}</p></body></html>"
    );
    let mut response = Response::new(page);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    Ok(response)
}
