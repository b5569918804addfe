//! How one request gets to the server and its answer back: TLS, redirects, cookies, decompression, judgement of failures, and
//! whether a request may be sent again. It knows no session and no table.

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
