//! What an answer means. Acumatica says 500 for nearly everything and 200 for some failures
//! (acumatica-api.md sections 2, 3 and 5), so every answer is judged by status *and* content here.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use url::Url;

use crate::error::{Error, ErrorKind};

/// Both shapes of an error body: Acumatica's own and OData's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    message: Option<String>,
    #[serde(rename = "exceptionMessage")]
    exception_message: Option<String>,
    #[serde(rename = "exceptionType")]
    exception_type: Option<String>,
    #[serde(alias = "odata.error")]
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

impl ErrorBody {
    fn text(&self) -> Option<String> {
        let nested = || {
            let message = self.error.as_ref()?.get("message")?;
            let text = message.as_str().or_else(|| message.get("value")?.as_str())?;
            Some(text.to_owned())
        };
        self.exception_message
            .clone()
            .or_else(nested)
            .or_else(|| self.error_description.clone())
            .or_else(|| self.message.clone())
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

pub(crate) const FIELD_HINT: &str = "Check the option \"field\" of the columns: names are case-sensitive. A column of type \
    jsonb is for a linked entity or a list of details, any other for a field, or the path to one within a linked entity.";

/// Judges an answer that is no success. `what` names the thing asked for, `body` is the beginning of
/// its text.
pub(crate) fn failure(what: &str, status: StatusCode, body: &str) -> Error {
    let parsed: ErrorBody = serde_json::from_str(body).unwrap_or_default();
    let words = parsed.text().or_else(|| field_errors(body)).or_else(|| page_title(body)).unwrap_or_default();
    let exception = parsed.exception_type.as_deref().unwrap_or_default();
    let told = |kind, message: String| Error::new(kind, message).detail(&words);

    // The second is what sites with a limit for each user are seen to say.
    if body.contains("API Login Limit") || body.contains("concurrent API logins") {
        return no_seat(&words);
    }
    match status.as_u16() {
        401 => told(ErrorKind::SessionLost, "the server does not know the session".into()),
        403 => told(ErrorKind::Forbidden, format!("permission denied by the server for {what}")).hint(
            "Grant the role of this user access to the form or inquiry in Acumatica (screen SM201025).",
        ),
        404 => told(ErrorKind::NotFound, format!("the server does not have {what}"))
            .hint("Check the name, the endpoint name and version, and the company."),
        429 => told(ErrorKind::Throttled, "the server refused the request: too many requests".into())
            .hint("The licence limits requests a minute (screen SM604000). Try again later."),
        502..=504 => {
            told(ErrorKind::Unavailable, format!("the server is not available (HTTP {})", status.as_u16()))
                .hint("The site may be restarting, which can take minutes. Try again later.")
        }
        _ if exception.ends_with("CannotOptimizeException")
            || words.contains("Optimization cannot be performed") =>
        {
            told(
                ErrorKind::CannotOptimize,
                format!("the server cannot read these fields of {what} in a list"),
            )
            .hint("Leave the columns it names out of the query.")
        }
        _ if exception.ends_with("NoEntitySatisfiesTheConditionException") => {
            told(ErrorKind::NoRecord, format!("{what} has no such record"))
        }
        _ if exception.ends_with("KeyNotFoundException")
            || words.contains("The given key was not present")
            || words.contains("Could not find a property named") =>
        {
            told(ErrorKind::UnknownField, format!("a field asked for does not exist in {what}"))
                .hint(FIELD_HINT)
        }
        _ if words.contains("Invalid credentials") => bad_credentials(&words),
        code => told(ErrorKind::Server, format!("the server could not read {what} (HTTP {code})")),
    }
}

/// Judges a redirect, which Acumatica uses instead of a status.
pub(crate) fn redirect(target: &Url) -> Option<Error> {
    let path = target.path().to_ascii_lowercase();
    if path.ends_with("/frames/error.aspx") {
        let words: Vec<_> = target.query_pairs().map(|(_, value)| value.into_owned()).collect();
        return Some(no_seat(&words.join(" ")));
    }
    path.ends_with("/frames/login.aspx").then(|| {
        Error::new(ErrorKind::SessionLost, "the server does not know the session")
            .detail("It redirected to its sign-in page.")
    })
}

/// Judges the head of a success: `Some` if it cannot be JSON.
pub(crate) fn unreadable(what: &str, headers: &HeaderMap) -> Option<Error> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    content_type.contains("html").then(|| {
        Error::new(ErrorKind::Protocol, format!("the server sent a web page instead of {what}"))
            .hint("Check the option \"url\": a proxy, a sign-in page or another site may have answered.")
    })
}

/// A success without a body: what a generic inquiry does when asked to filter or sort by a formula
/// column. Never to be taken for "no rows".
pub(crate) fn empty(what: &str) -> Error {
    Error::new(ErrorKind::Empty, format!("the server sent an empty answer for {what}")).hint(
        "Acumatica does this when a generic inquiry is filtered or sorted by a formula column. \
         Check the \"key\" options of the columns.",
    )
}

pub(crate) fn bad_credentials(words: &str) -> Error {
    Error::new(ErrorKind::Credentials, "the server did not accept the user name or password")
        .detail(words)
        .hint(
            "Check the user mapping: ALTER USER MAPPING … OPTIONS (SET username …, SET password …). \
         The account must not be locked, and must belong to the company.",
        )
}

fn no_seat(words: &str) -> Error {
    Error::new(ErrorKind::NoSeat, "all API sessions of the Acumatica licence are in use").detail(words).hint(
        "Sign out other integrations (screen SM604000 shows them), or wait: abandoned sessions close after \
         about 10 minutes.",
    )
}

/// What stands beside the fields of a record that was not accepted (status 422).
fn field_errors(body: &str) -> Option<String> {
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let told =
        record.iter().filter_map(|(name, field)| Some(format!("{name}: {}", field.get("error")?.as_str()?)));
    Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
}

fn page_title(body: &str) -> Option<String> {
    let start = body.find("<title>")? + "<title>".len();
    let end = start + body[start..].find("</title>")?;
    Some(body[start..end].trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> ErrorKind {
        failure("SalesOrder", StatusCode::from_u16(status).unwrap(), body).kind
    }

    #[test]
    fn five_hundred_for_everything() {
        let body = |message: &str, class: &str| {
            format!(
                r#"{{"message":"An error has occurred.","exceptionMessage":"{message}","exceptionType":"{class}"}}"#
            )
        };
        assert_eq!(
            kind(500, &body("Error: Invalid credentials. Please try again.", "X")),
            ErrorKind::Credentials
        );
        assert_eq!(
            kind(500, &body("No entity", "PX.Api.NoEntitySatisfiesTheConditionException")),
            ErrorKind::NoRecord
        );
        assert_eq!(
            kind(500, &body("The given key was not present", "System.KeyNotFoundException")),
            ErrorKind::UnknownField
        );
        assert_eq!(
            kind(
                500,
                &body("Optimization cannot be performed.The following fields…", "CannotOptimizeException")
            ),
            ErrorKind::CannotOptimize
        );
        assert_eq!(kind(500, &body("API Login Limit", "X")), ErrorKind::NoSeat);
        assert_eq!(kind(500, "not even json"), ErrorKind::Server);
    }

    #[test]
    fn throttling_and_no_seat_are_told_apart() {
        assert_eq!(kind(429, "{}"), ErrorKind::Throttled);
        assert_eq!(kind(429, r#"{"message":"API Login Limit"}"#), ErrorKind::NoSeat);
    }

    #[test]
    fn the_server_is_quoted() {
        let error = failure("X", StatusCode::NOT_FOUND, "<html><title>404 - File not found</title>");
        assert_eq!(error.detail.as_deref(), Some("404 - File not found"));
        let error =
            failure("X", StatusCode::BAD_REQUEST, r#"{"error":{"code":"","message":"Bad\r\n  token"}}"#);
        assert_eq!(error.detail.as_deref(), Some("Bad token"));
        let error = failure(
            "X",
            StatusCode::BAD_REQUEST,
            r#"{"odata.error":{"message":{"lang":"en","value":"v3"}}}"#,
        );
        assert_eq!(error.detail.as_deref(), Some("v3"));
    }

    #[test]
    fn a_record_that_is_not_accepted_says_why() {
        let body =
            r#"{"id":"x","InventoryID":{"value":"X","error":"'X' cannot be found in the system."},"Qty":{}}"#;
        let error = failure("X", StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(error.detail.as_deref(), Some("InventoryID: 'X' cannot be found in the system."));
    }

    #[test]
    fn redirects_that_are_errors() {
        let judge = |url: &str| redirect(&Url::parse(url).unwrap()).map(|error| error.kind);
        assert_eq!(
            judge("http://h/S/Frames/Error.aspx?exceptionID=1&message=API+Login+Limit"),
            Some(ErrorKind::NoSeat)
        );
        assert_eq!(judge("http://h/Frames/Login.aspx?ReturnUrl=x"), Some(ErrorKind::SessionLost));
        assert_eq!(judge("http://h/entity/x"), None);
    }
}
