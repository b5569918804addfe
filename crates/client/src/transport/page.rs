//! Web pages in place of an answer: those of a firewall, of a proxy, or of the site itself. Acumatica answers programs
//! in JSON or with an empty body, so a page probably comes from something else, whatever its status is.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::error::{Error, ErrorKind};

/// Words of pages that ask a visitor to prove to be a person, or that reject programs. Ours: no recording of an
/// Acumatica site behind such a guard is known; these are the words of the most common ones.
const GUARDS: [&str; 26] = [
    // Cloudflare
    "cf-browser-verification",
    "cf_chl_",
    "just a moment...",
    "checking your browser",
    "enable javascript and cookies to continue",
    "you have been blocked",
    "attention required!",
    // AWS WAF, CloudFront
    "awswaf",
    "the request could not be satisfied",
    // Azure Front Door, Application Gateway
    "the request is blocked",
    "azure waf",
    "microsoft-azure-application-gateway",
    // Akamai
    "edgesuite.net",
    // Imperva
    "incapsula",
    "imperva",
    // F5
    "the requested url was rejected",
    "sucuri",
    "ddos-guard",
    "mod_security",
    "modsecurity",
    "fortinet",
    "fortigate",
    "barracuda",
    "captcha",
    "web application firewall",
    "web page blocked",
];

/// Whether an answer is a web page, by its headers or by its beginning.
pub(crate) fn is_page(headers: &HeaderMap, body: &str) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.to_ascii_lowercase().contains("html") || looks_like_page(body)
}

/// Whether a text begins as a web page does.
pub(crate) fn looks_like_page(body: &str) -> bool {
    let start: String = body.trim_start_matches('\u{feff}').trim_start().chars().take(512).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with('<')
        && !start.starts_with("<?xml version")
        && ["<!doctype html", "<html", "<head", "<title", "<body"].iter().any(|tag| start.contains(tag))
}

/// The error for a page, or for an answer of a guard before the site; `None` if its status decides.
pub(crate) fn judge(what: &str, status: StatusCode, headers: &HeaderMap, body: &str) -> Option<Error> {
    // Headers of a challenge by Cloudflare or AWS WAF: the request was not passed on.
    let challenged = headers.contains_key("cf-mitigated") || headers.contains_key("x-amzn-waf-action");
    let is_page = is_page(headers, body);
    let lower = body.to_ascii_lowercase();
    // Cloudflare answers programs with a plain line.
    let in_a_line = body.len() < 80 && lower.trim_start().starts_with("error code: 1");
    let signed = is_page && GUARDS.iter().any(|sign| lower.contains(sign));
    let guarded = challenged
        || match status.as_u16() {
            // A missing role is reported in JSON (docs/acumatica.md section 5).
            403 => is_page || in_a_line,
            // With these statuses the guard says that the site is missing, down or failing.
            404 | 500..=502 | 504.. => false,
            _ => signed,
        };
    if guarded {
        return Some(blocked(what, status, body));
    }
    if is_page && status.is_success() {
        return Some(if lower.contains("login.aspx") {
            Error::new(ErrorKind::SessionLost, "the server does not know the session")
                .detail("It sent its sign-in page.")
        } else {
            stray(what).detail(title(body).unwrap_or_default())
        });
    }
    None
}

fn blocked(what: &str, status: StatusCode, body: &str) -> Error {
    let title = title(body).map(|title| format!(": {title}")).unwrap_or_default();
    Error::new(ErrorKind::Blocked, format!("a firewall before the server did not let the request for {what} pass"))
        .detail(format!("The answer does not come from Acumatica (HTTP {}){title}.", status.as_u16()))
        .hint(
            "The rights of the user are not the cause. Ask whoever runs the firewall or proxy before the site to let this \
             machine's requests to /entity, /t, /odata and /identity pass without a challenge; check the option \"url\".",
        )
}

/// The error for an unknown page.
pub(crate) fn stray(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server sent a web page instead of {what}"))
        .hint("Check the option \"url\": a proxy, a sign-in page or another site may have answered.")
}

/// The title of a page.
pub(crate) fn title(body: &str) -> Option<String> {
    let lower = body.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let text = body[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, content_type: &str, body: &str) -> Option<ErrorKind> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        judge("X", status, &headers, body).map(|error| error.kind)
    }

    const CHALLENGE: &str = "<!DOCTYPE html><html lang=\"en-US\"><head><title>Just a moment...</title></head><body></body></html>";

    #[test]
    fn issue_4_2_a_challenge_page_is_no_missing_role_whatever_its_status() {
        for status in [200, 401, 403, 406, 429, 503] {
            assert_eq!(
                kind(status, "text/html; charset=UTF-8", CHALLENGE),
                Some(ErrorKind::Blocked),
                "{status}"
            );
        }
        // The headers need not say that it is a page.
        assert_eq!(kind(403, "", &format!("\u{feff}\r\n{CHALLENGE}")), Some(ErrorKind::Blocked));
        let f5 = "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. Please consult \
                  with your administrator.<br>Your support ID is: 1234</body></html>";
        assert_eq!(kind(200, "text/html", f5), Some(ErrorKind::Blocked));
        // Any page: Acumatica reports refusals in JSON.
        assert_eq!(kind(403, "text/html", "<html><body>No.</body></html>"), Some(ErrorKind::Blocked));
        assert_eq!(kind(403, "text/plain; charset=UTF-8", "error code: 1020"), Some(ErrorKind::Blocked));
        assert_eq!(kind(403, "application/json", r#"{"message":"You have insufficient rights"}"#), None);
        assert_eq!(kind(403, "", ""), None);
    }

    #[test]
    fn issue_4_2_pages_of_the_site_itself_go_by_their_status_or_by_what_they_are() {
        let down = "<html><head><title>Service Unavailable</title></head></html>";
        assert_eq!(kind(503, "text/html", down), None);
        let missing = "<!DOCTYPE html><title>404 - File or directory not found.</title>";
        assert_eq!(kind(404, "text/html", missing), None);
        // A guard that does not reach the site counts as a site that is down.
        let gateway = "<!DOCTYPE html><title>h | 522: Connection timed out</title><p>captcha</p>";
        for status in [500, 502, 504, 522] {
            assert_eq!(kind(status, "text/html", gateway), None, "{status}");
        }
        let sign_in = "<html><form method=\"post\" action=\"./Login.aspx?ReturnUrl=%2f\">…</form></html>";
        assert_eq!(kind(200, "text/html", sign_in), Some(ErrorKind::SessionLost));
        assert_eq!(kind(200, "text/html", "<html>Welcome</html>"), Some(ErrorKind::Protocol));
        assert_eq!(kind(200, "application/xml", "<?xml version=\"1.0\"?><edmx/>"), None);
        assert_eq!(kind(200, "", "{\"value\":[]}"), None);
    }

    #[test]
    fn a_page_is_quoted_by_its_title() {
        assert_eq!(
            title("<HTML><TITLE lang=en>\n Length  Required</TITLE>").as_deref(),
            Some("Length Required")
        );
        assert_eq!(title("<title></title>"), None);
    }
}
