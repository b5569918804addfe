//! Judges answers. Acumatica sends status 500 for nearly every failure and 200 for some (docs/acumatica.md sections 2,
//! 3 and 5), so every answer is judged by its status *and* its content here.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::transport::page;
use crate::transport::rejected;

/// Both shapes of an error body: Acumatica's own and OData's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    #[serde(alias = "Message")]
    message: Option<String>,
    #[serde(rename = "exceptionMessage", alias = "ExceptionMessage")]
    exception_message: Option<String>,
    #[serde(rename = "exceptionType", alias = "ExceptionType")]
    exception_type: Option<String>,
    #[serde(alias = "odata.error", alias = "@odata.error")]
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

impl ErrorBody {
    fn text(&self) -> Option<String> {
        let nested = || {
            let error = self.error.as_ref()?;
            if let Some(text) = error.as_str() {
                return Some(text.to_owned());
            }
            let message = error.get("message").or_else(|| error.get("Message"))?;
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

/// The error for an answer with a failure status. `what` names the thing that was asked for, `body` is the beginning of
/// its text.
pub(crate) fn failure(what: &str, status: StatusCode, body: &str) -> Error {
    failure_by(what, status, &HeaderMap::new(), body)
}

/// The same, with the headers of the answer.
pub(crate) fn failure_by(what: &str, status: StatusCode, headers: &HeaderMap, body: &str) -> Error {
    let body = body.trim_start_matches('\u{feff}');
    let parsed: ErrorBody = serde_json::from_str(body).unwrap_or_default();
    // The message of an OData error is used already.
    let rejected = if parsed.error.as_ref().is_some_and(|error| !error.is_string()) {
        Vec::new()
    } else {
        rejected::words(body)
    };
    let said: Vec<String> = parsed.text().into_iter().chain(rejected).collect();
    let words = Some(said.join("; "))
        .filter(|said| !said.is_empty())
        .or_else(|| page::title(body))
        .unwrap_or_default();
    let exception = parsed.exception_type.as_deref().unwrap_or_default();
    let told = |kind, message: String| Error::new(kind, message).detail(&words);

    if is_of_seats(body) {
        return no_seat(&words);
    }
    if let Some(error) = page::judge(what, status, headers, body) {
        return error;
    }
    match status.as_u16() {
        401 => told(ErrorKind::SessionLost, "the server does not know the session".into()),
        403 => forbidden(what, &words),
        404 => told(ErrorKind::NotFound, format!("the server does not have {what}"))
            .hint("Check the name, the endpoint name and version, and the company."),
        429 => told(ErrorKind::Throttled, "the server refused the request: too many requests".into())
            .hint("The licence limits requests a minute (screen SM604000). Try again later."),
        // 408 and 425 come from the way to the site, as do those of proxies such as Cloudflare's from 520 on. Ours: no
        // source says that Acumatica itself sends one.
        408 | 425 | 502..=504 | 520..=530 => {
            told(ErrorKind::Unavailable, format!("the server is not available (HTTP {})", status.as_u16()))
                .hint("The site may be restarting, which can take minutes. Try again later.")
        }
        code => by_words(what, &words, exception).unwrap_or_else(|| Error {
            may_pass: status.is_server_error(),
            ..told(ErrorKind::Server, format!("the server could not read {what} (HTTP {code})"))
        }),
    }
}

/// The error that the words of the server, or the name of its exception, tell, whatever the status.
fn by_words(what: &str, words: &str, exception: &str) -> Option<Error> {
    let told = |kind, message: String| Error::new(kind, message).detail(words);
    Some(match () {
        () if exception.ends_with("CannotOptimizeException")
            || words.contains("Optimization cannot be performed") =>
        {
            told(
                ErrorKind::CannotOptimize,
                format!("the server cannot read these fields of {what} in a list"),
            )
            .hint("Leave the columns it names out of the query.")
        }
        () if exception.ends_with("NoEntitySatisfiesTheConditionException") => {
            told(ErrorKind::NoRecord, format!("{what} has no such record"))
        }
        () if exception.ends_with("KeyNotFoundException")
            || words.contains("The given key was not present")
            || words.contains("Could not find a property named") =>
        {
            told(ErrorKind::UnknownField, format!("a field asked for does not exist in {what}"))
                .hint(FIELD_HINT)
        }
        () if exception.ends_with("PXUndefinedCompanyException")
            || words.contains("proper company ID cannot be determined") =>
        {
            no_company(words)
        }
        () if words.contains("Invalid credentials") => bad_credentials(words),
        () => return None,
    })
}

/// The error for an error object in the place of rows, in an answer with status 200.
pub(crate) fn reported(what: &str, body: &str) -> Error {
    let refusal = failure(what, StatusCode::OK, body);
    let kind = match refusal.kind {
        kind @ (ErrorKind::CannotOptimize | ErrorKind::UnknownField | ErrorKind::NoRecord) => kind,
        _ => ErrorKind::Server,
    };
    let error = Error { kind, ..refusal };
    match &error.detail {
        Some(words) if !words.is_empty() => error,
        _ => error.detail(body.chars().take(300).collect::<String>()),
    }
}

/// Whether a text is an object that reports a failure.
pub(crate) fn is_told(body: &str) -> bool {
    serde_json::from_str::<ErrorBody>(body).is_ok_and(|body| body.text().is_some())
}

/// The error for an object in the place of a row that has no key, or no wanted field.
pub(crate) fn no_row(what: &str, key: &[Vec<String>], object: &[u8]) -> Error {
    let body = String::from_utf8_lossy(&object[..object.len().min(64 << 10)]);
    if is_told(&body) {
        return reported(what, &body);
    }
    let key: Vec<String> = key.iter().map(|path| format!("\"{}\"", path.join("/"))).collect();
    let message = match key.is_empty() {
        true => format!("the server sent an object with none of the fields of {what} in the place of a row"),
        false => format!("a row of {what} lacks its key {}", key.join(", ")),
    };
    Error::new(ErrorKind::Protocol, message)
        .detail(format!("It sent: {}", body.chars().take(300).collect::<String>()))
        .hint(
            "Check the options \"key\" and \"field\" of the columns. If they are right, run the query again.",
        )
}

/// The error for a redirect that Acumatica uses instead of a status; `None` for other redirects.
pub(crate) fn redirect(what: &str, target: &Url) -> Option<Error> {
    let path = target.path().to_ascii_lowercase();
    let path = path.trim_end_matches('/');
    // 26.x uses the latter (docs/acumatica.md section 5).
    if path.ends_with("/error.aspx") || path.ends_with("/ui/error") {
        return Some(error_page(what, target));
    }
    ["/login.aspx", "/ui/login", "/account/login"].iter().any(|page| path.ends_with(page)).then(|| {
        Error::new(ErrorKind::SessionLost, "the server does not know the session")
            .detail("It redirected to its sign-in page.")
    })
}

/// The error for a redirect to the error page, whose query has the message.
fn error_page(what: &str, target: &Url) -> Error {
    let in_fragment = url::form_urlencoded::parse(target.fragment().unwrap_or_default().as_bytes());
    let pairs: Vec<(String, String)> =
        target.query_pairs().chain(in_fragment).map(|(n, v)| (n.to_lowercase(), v.into_owned())).collect();
    let words = pairs
        .iter()
        .find(|(name, _)| name.contains("message") || name.contains("description") || name == "error");
    let words =
        words.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default();
    if pairs.iter().any(|(_, value)| is_of_seats(value)) {
        return no_seat(&words);
    }
    let lower = words.to_lowercase();
    let says = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
    if says(&["insufficient rights", "access is denied", "access denied"]) {
        return forbidden(what, &words);
    }
    if says(&["maintenance", "lockout", "locked out", "being updated", "is not available at the moment"]) {
        return Error::new(ErrorKind::Unavailable, "the server is not available")
            .detail(words)
            .hint("The site may be under maintenance. Try again later.");
    }
    by_words(what, &words, "").unwrap_or_else(|| {
        Error::new(ErrorKind::Server, format!("the server answered the request for {what} with its error page"))
            .detail(if words.is_empty() { "It does not say why.".to_owned() } else { words })
            .hint(
                "Open the site in a browser, and look into its system events (screen SM201530). A customized endpoint that \
                 is broken (screen SM207060) makes all requests for entities fail.",
            )
    })
}

/// Whether a text says that no session is left, for the licence or for the user. The texts are those of HTE, GRP and FG
/// in docs/acumatica.md section 5; a limit of requests is something else.
fn is_of_seats(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("api login limit")
        || lower.contains("concurrent api login")
        || lower.contains("number of concurrent logins")
}

fn forbidden(what: &str, words: &str) -> Error {
    Error::new(ErrorKind::Forbidden, format!("permission denied by the server for {what}"))
        .detail(words)
        .hint("Grant the role of this user access to the form or inquiry in Acumatica (screen SM201025).")
}

/// The error for a tenant that the site does not have.
fn no_company(words: &str) -> Error {
    Error::new(ErrorKind::Tenant, "the server does not have the company that the option \"company\" names")
        .detail(words)
        .hint(
            "Set the server option \"company\" to the login name of the tenant (screen SM203520; behind the user's name at \
             the top of each page): ALTER SERVER … OPTIONS (SET company …).",
        )
}

/// The error for a web page with status 200 that was not asked for.
pub(crate) fn page(what: &str, status: StatusCode, headers: &HeaderMap, body: &str) -> Error {
    match page::judge(what, status, headers, body) {
        _ if is_of_seats(body) => no_seat(&page::title(body).unwrap_or_default()),
        Some(error) => error,
        None => page::stray(what),
    }
}

/// The error for an answer with status 200 and no body: a generic inquiry answers so to a filter or an order by a
/// formula column. It must never count as "no rows".
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
         about 10 minutes. The user may have a limit of its own: \"Max. Number of Concurrent API Logins\" on screen \
         SM201010, which is 1 unless somebody raised it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: StatusCode, body: &str) -> Error {
        failure("SalesOrder", status, body)
    }

    fn kind(status: u16, body: &str) -> ErrorKind {
        judged(StatusCode::from_u16(status).unwrap(), body).kind
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
        let error = judged(StatusCode::NOT_FOUND, "<html><title>404 - File not found</title>");
        assert_eq!(error.detail.as_deref(), Some("404 - File not found"));
        let error = judged(StatusCode::BAD_REQUEST, r#"{"error":{"code":"","message":"Bad\r\n  token"}}"#);
        assert_eq!(error.detail.as_deref(), Some("Bad token"));
        let error =
            judged(StatusCode::BAD_REQUEST, r#"{"odata.error":{"message":{"lang":"en","value":"v3"}}}"#);
        assert_eq!(error.detail.as_deref(), Some("v3"));
    }

    #[test]
    fn redirects_that_are_errors() {
        let judge = |url: &str| redirect("X", &Url::parse(url).unwrap()).map(|error| error.kind);
        assert_eq!(
            judge("http://h/S/Frames/Error.aspx?exceptionID=1&message=API+Login+Limit"),
            Some(ErrorKind::NoSeat)
        );
        assert_eq!(judge("http://h/Frames/Login.aspx?ReturnUrl=x"), Some(ErrorKind::SessionLost));
        assert_eq!(judge("http://h/entity/x"), None);
    }

    #[test]
    fn issue_4_2_an_error_page_says_why_in_its_query() {
        let judge = |url: &str| redirect("X", &Url::parse(url).unwrap()).unwrap();
        let seats = judge(
            "https://h/Frames/Error.aspx?exceptionID=5&typeID=error&message=The%20number%20of%20concurrent%20API%20logins%20for%20the%20user%20has%20been%20reached.",
        );
        assert_eq!(seats.kind, ErrorKind::NoSeat);
        assert!(seats.detail.unwrap().starts_with("The number of concurrent API logins"));
        assert!(seats.hint.unwrap().contains("SM201010"));
        let other = judge(
            "https://h/frames/error.aspx?typeID=error&Message=An+item+with+the+same+key+has+already+been+added.",
        );
        assert_eq!(
            (other.kind, other.detail.as_deref()),
            (ErrorKind::Server, Some("An item with the same key has already been added."))
        );
        assert!(other.hint.unwrap().contains("SM207060"));
        let broken = judge("https://h/S/ui/error");
        assert_eq!(
            (broken.kind, broken.detail.as_deref()),
            (ErrorKind::Server, Some("It does not say why."))
        );
        assert_eq!(judge("https://h/ui/error/?message=concurrent+API+logins").kind, ErrorKind::NoSeat);
        let company = judge(
            "https://h/Frames/Error.aspx?message=A+proper+company+ID+cannot+be+determined+for+the+request.",
        );
        assert_eq!(company.kind, ErrorKind::Tenant);
        assert_eq!(
            judge("https://h/Error.aspx?message=You+have+insufficient+rights+to+access+the+form").kind,
            ErrorKind::Forbidden
        );
        assert_eq!(
            judge("https://h/Error.aspx?message=The+site+is+under+maintenance").kind,
            ErrorKind::Unavailable
        );
    }

    #[test]
    fn issue_4_2_a_byte_order_mark_before_an_error_is_skipped() {
        let body = "\u{feff}{\"message\":\"An error has occurred.\",\"exceptionMessage\":\"No entity satisfies the condition.\",\
                    \"exceptionType\":\"PX.Api.ContractBased.NoEntitySatisfiesTheConditionException\"}";
        assert_eq!(kind(500, body), ErrorKind::NoRecord);
    }

    #[test]
    fn issue_2_8_an_unknown_company_belongs_to_its_option() {
        let body = r#"{"message":"An error has occurred.","exceptionMessage":"A proper company ID cannot be determined for the request.","exceptionType":"PX.Data.PXUndefinedCompanyException"}"#;
        let error = judged(StatusCode::INTERNAL_SERVER_ERROR, body);
        assert_eq!(error.kind, ErrorKind::Tenant);
        assert!(error.message.contains("\"company\"") && error.hint.unwrap().contains("ALTER SERVER"));
    }
}
