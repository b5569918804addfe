//! Sends one request to the server and judges the answer: TLS, redirects, cookies, decompression, and whether a request
//! may be repeated. It knows neither sessions nor tables.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod cookies;
pub(crate) mod http;
pub(crate) mod page;
pub(crate) mod rejected;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod tls;
pub(crate) mod token_answer;
pub(crate) mod token_request;
