//! The error type of the crate: what happened, in words that tell a person what to do.

use std::fmt;
use std::time::Duration;

/// What kind of failure an [`Error`] is; the extension maps each to one SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The connection cannot be made because of the configuration: host name, TLS.
    Connect,
    /// No server answers at the address.
    Unreachable,
    /// The connection broke, or the body ended early.
    ConnectionLost,
    /// The server sent nothing for `operation_timeout`.
    Timeout,
    /// The site is up but not serving: 408, 425, 502 to 504, 520 to 530.
    Unavailable,
    /// User name, password or token were not accepted.
    Credentials,
    /// The tenant is not the one that was asked for, or there is no such tenant.
    Tenant,
    /// No answer came to a sign-in that the server may have accepted. It must not be repeated.
    SignInLost,
    /// The session is no longer known to the server; signing in again may help.
    SessionLost,
    /// All API sessions of the licence are in use.
    NoSeat,
    /// Too many requests in a minute.
    Throttled,
    /// The user lacks the right to read this.
    Forbidden,
    /// A firewall or the like does not let the request pass.
    Blocked,
    /// No such endpoint, entity, inquiry or DAC.
    NotFound,
    /// A request by key found no record. A scan by key takes it for zero rows, not for a failure.
    NoRecord,
    /// A field that the remote table does not have.
    UnknownField,
    /// No row has a field, and nothing is known about it. It is not reported: the definition is read.
    FieldMissing,
    /// The server found no row by a condition that it does not apply as intended. It is not reported: the condition is
    /// left out.
    Doubted,
    /// An inquiry was asked without a parameter that it needs.
    ParameterMissing,
    /// A success without content, as when an inquiry is filtered by a formula column.
    Empty,
    /// The server cannot read the fields asked for in one query (`CannotOptimizeException`).
    CannotOptimize,
    /// The server cannot sort the rows. They can be read without the order.
    CannotOrder,
    /// The server refused a request whose address is longer than every server takes. It is not reported: the scan sends shorter
    /// ones.
    TooLong,
    /// The server cannot count the rows, or skip the first of them. They can be read. With a hint the error is to be
    /// reported as a NOTICE.
    RowsOnly,
    /// Any other refusal by the server, in its own words.
    Server,
    /// An answer that is not what the interface promises: empty, HTML, cut off, wrong shape.
    Protocol,
    /// An answer of more bytes than allowed.
    TooLarge,
    /// The scans that share an allowance have sent all its requests. The request was not sent.
    RequestsUsedUp,
    /// The scans that share an allowance have received more rows than it has.
    RowsUsedUp,
    /// Rows moved between two pages, so that some could be missed.
    RowsMoved,
    /// A value that its column cannot hold.
    Value,
    /// The definition of the server, mapping or table does not fit the instance.
    Definition,
    /// The cluster's key cannot be used, or is not the one that a secret was sealed with.
    Key,
    /// The files that the backends share cannot be read or written.
    Storage,
    /// A bug in this extension.
    Internal,
}

/// A failure, with what PostgreSQL calls the primary message, the detail and the hint.
///
/// Never holds a credential: messages are built from URLs without a query, the server's own words
/// and the names of options.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the extension chooses the SQLSTATE by.
    pub kind: ErrorKind,
    /// The primary message: lower case, no full stop.
    pub message: String,
    /// Further facts, often the words of the server.
    pub detail: Option<String>,
    /// What the user can do about it: a whole sentence.
    pub hint: Option<String>,
    /// How long the server asked to wait before another attempt.
    pub retry_after: Option<Duration>,
    /// The failure may pass by itself: the server does not blame the request.
    pub may_pass: bool,
    /// The server may have executed the request, so it must not be repeated.
    pub may_be_done: bool,
}

/// A result whose error is [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without detail and hint, which is not known to pass.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            retry_after: None,
            may_pass: false,
            may_be_done: false,
        }
    }

    /// Whether the failure may concern only the thing that was asked for, although it does not say so.
    pub fn may_be_of_one(&self) -> bool {
        use ErrorKind::*;
        matches!(self.kind, Timeout | Unavailable | Empty | ConnectionLost)
    }

    /// Adds details; an empty text adds nothing.
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string()).filter(|text| !text.is_empty());
        self
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error with its causes, without the URL, whose query may hold business data.
pub(crate) fn chain(reason: &reqwest::Error) -> String {
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
