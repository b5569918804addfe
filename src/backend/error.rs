//! Reports errors, warnings and notices, and maps the client's errors to SQLSTATEs.

use acumatica_client::{Error, ErrorKind};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::backend::encoding::for_display;

/// The fields of an error report. `message` begins in lower case and has no full stop, as PostgreSQL's style guide asks;
/// `detail` and `hint` are sentences.
#[derive(Debug)]
pub struct Refusal {
    pub code: PgSqlErrorCode,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Raises the ERROR as a Rust panic, so that the frames it unwinds drop their values.
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.code, for_display(self.message), pgrx::function_name!());
        if let Some(detail) = self.detail {
            report = report.set_detail(for_display(detail));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(for_display(hint));
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}

/// Sends a NOTICE to the client. An empty hint is left out.
pub fn notice(message: String, hint: String) {
    report(PgLogLevel::NOTICE, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, hint);
}

/// Sends a WARNING to the client. An empty hint is left out.
pub fn warning(message: String, hint: String) {
    report(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, message, hint);
}

fn report(level: PgLogLevel, code: PgSqlErrorCode, message: String, hint: String) {
    let report = ErrorReport::new(code, for_display(message), pgrx::function_name!());
    let report = if hint.is_empty() { report } else { report.set_hint(for_display(hint)) };
    report.report(level);
}

/// The value of a result; raises its error.
pub fn or_raise<T, E: Into<Refusal>>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| error.into().raise())
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { code: code(error.kind), message: error.message, detail: error.detail, hint: error.hint }
    }
}

/// For functions that return a failure in a row instead of raising it.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { message, detail, hint, .. } = refusal;
        Self { detail, hint, ..Error::new(ErrorKind::Definition, message) }
    }
}

/// The SQLSTATE of a client error. Programs depend on it: retry loops on 40001 and class 08, connection pools on 53300.
fn code(kind: ErrorKind) -> PgSqlErrorCode {
    use PgSqlErrorCode::*;
    match kind {
        ErrorKind::Connect | ErrorKind::Unreachable => ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        ErrorKind::ConnectionLost | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::SignInLost => {
            ERRCODE_CONNECTION_FAILURE
        }
        ErrorKind::SessionLost => ERRCODE_CONNECTION_DOES_NOT_EXIST,
        ErrorKind::Credentials | ErrorKind::Tenant => ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        ErrorKind::NoSeat => ERRCODE_TOO_MANY_CONNECTIONS,
        ErrorKind::Throttled | ErrorKind::RequestsUsedUp | ErrorKind::RowsUsedUp => {
            ERRCODE_CONFIGURATION_LIMIT_EXCEEDED
        }
        ErrorKind::Blocked => ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
        ErrorKind::Forbidden => ERRCODE_INSUFFICIENT_PRIVILEGE,
        ErrorKind::NotFound => ERRCODE_FDW_TABLE_NOT_FOUND,
        ErrorKind::UnknownField | ErrorKind::FieldMissing => ERRCODE_FDW_COLUMN_NAME_NOT_FOUND,
        ErrorKind::ParameterMissing => ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED,
        ErrorKind::NoRecord | ErrorKind::Server => ERRCODE_FDW_ERROR,
        ErrorKind::CannotOptimize
        | ErrorKind::CannotOrder
        | ErrorKind::RowsOnly
        | ErrorKind::Doubted
        | ErrorKind::TooLong => ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION,
        ErrorKind::TooLarge => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        ErrorKind::Empty | ErrorKind::Protocol => ERRCODE_PROTOCOL_VIOLATION,
        ErrorKind::RowsMoved => ERRCODE_T_R_SERIALIZATION_FAILURE,
        ErrorKind::Value => ERRCODE_FDW_INVALID_DATA_TYPE,
        ErrorKind::Definition => ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
        ErrorKind::Key => ERRCODE_CONFIG_FILE_ERROR,
        ErrorKind::Storage => ERRCODE_IO_ERROR,
        ErrorKind::Internal => ERRCODE_INTERNAL_ERROR,
    }
}
