//! Answers of the token endpoint as servers and proxies really write them, converted to the form of RFC 6749.
//!
//! A refresh token can be used once, so an answer must not be lost because of the format of a number in it.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::transport::page;

/// The error code for an answer with status 4xx that gives no reason.
pub(crate) const UNEXPLAINED: &str = "unexplained";
/// The error code for a web page with status 4xx, which may come from something else than the token endpoint.
pub(crate) const WEB_PAGE: &str = "web_page";

/// The content of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Tokens(Vec<u8>),
    Refusal(Vec<u8>),
    /// A success whose content cannot be read.
    Unreadable,
}

/// Reads an answer, whatever its media type.
pub(crate) fn read(status: StatusCode, body: &[u8]) -> Reading {
    let members = members(body);
    if let Some(members) = &members {
        if let Some(tokens) = tokens(members).filter(|_| status.is_success()) {
            return Reading::Tokens(tokens.to_string().into_bytes());
        }
        if let Some(refusal) = refusal(members) {
            return Reading::Refusal(refusal.to_string().into_bytes());
        }
    }
    if status.is_success() {
        return Reading::Unreadable;
    }
    let text = String::from_utf8_lossy(body);
    let code = if page::looks_like_page(&text) { WEB_PAGE } else { UNEXPLAINED };
    let title = page::title(&text).map(|title| format!(": {title}")).unwrap_or_default();
    let words = format!("HTTP {}{title}", status.as_u16());
    Reading::Refusal(json!({ "error": code, "error_description": words }).to_string().into_bytes())
}

/// The refresh token in an answer that cannot be parsed, if it is complete.
pub(crate) fn salvaged(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let at = text.to_ascii_lowercase().find("refresh_token")?;
    let behind = text[at + "refresh_token".len()..].trim_start_matches(['"', '\'', '\\']).trim_start();
    let value = behind.strip_prefix([':', '='])?.trim_start().trim_start_matches('\\');
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=%".contains(c);
    let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
    // A value at the end of the text may be cut off.
    let end = value.find(|c| !is_of_token(c))?;
    Some(value[..end].to_owned()).filter(|token| !token.is_empty() && token != "null")
}

/// The members of JSON or of a form; names without case and hyphens.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    let plain = |name: &str| name.replace('-', "_").to_lowercase();
    if text.starts_with('{') {
        let members: Map<String, Value> = serde_json::from_str(text).ok()?;
        return Some(members.into_iter().map(|(name, value)| (plain(&name), value)).collect());
    }
    let is_form = (text.contains("access_token=") || text.starts_with("error="))
        && !text.contains(|c: char| c.is_whitespace() || c == '<');
    let pairs = url::form_urlencoded::parse(text.as_bytes());
    is_form.then(|| pairs.map(|(name, value)| (plain(&name), Value::from(value))).collect())
}

fn tokens(members: &Map<String, Value>) -> Option<Value> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    // There is one kind; a server with another one would say so.
    let kind = text("token_type").unwrap_or("Bearer");
    let mut tokens = json!({ "access_token": text("access_token")?, "token_type": kind });
    if let Some(token) = text("refresh_token") {
        tokens["refresh_token"] = token.into();
    }
    if let Some(seconds) = members.get("expires_in").and_then(seconds) {
        tokens["expires_in"] = seconds.into();
    }
    if let Some(scope) = members.get("scope").or_else(|| members.get("scopes")).and_then(words) {
        tokens["scope"] = scope.into();
    }
    Some(tokens)
}

fn refusal(members: &Map<String, Value>) -> Option<Value> {
    let error = members.get("error")?;
    // Some servers nest it.
    let code = [error, &error["code"], &error["error"]].into_iter().find_map(Value::as_str)?;
    let mut refusal = json!({ "error": code });
    let nested = error["message"].as_str();
    if let Some(words) = members.get("error_description").and_then(Value::as_str).or(nested) {
        refusal["error_description"] = words.into();
    }
    Some(refusal)
}

/// A lifetime in seconds, as a number or as a text.
fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        other => other.as_f64()?,
    };
    (number.is_finite() && number >= 0.0).then_some(number as u64)
}

/// Words in a text, or in a list of texts.
fn words(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    let text = text.split([' ', ',']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(body: &str) -> Value {
        match read(StatusCode::OK, body.as_bytes()) {
            Reading::Tokens(json) => serde_json::from_slice(&json).unwrap(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn issue_4_4_tokens_in_all_their_forms() {
        let whole = json!({"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r", "scope": "api offline_access"});
        for body in [
            r#"{"access_token":"a","expires_in":3600,"token_type":"Bearer","refresh_token":"r","scope":"api offline_access"}"#,
            "\u{feff}{\"access_token\":\"a\",\"expires_in\":\"3600\",\"refresh_token\":\"r\",\"scope\":[\"api\",\"offline_access\"]}",
            r#"{"Access_Token":"a","expires_in":3600.0,"refresh_token":"r","scope":"api,offline_access","id_token":"x.y.z"}"#,
            r#"  {"access_token":"a","expires_in":" 3600.5 ","refresh_token":"r","scopes":["api offline_access"]}  "#,
            "access_token=a&expires_in=3600&refresh_token=r&scope=api+offline_access",
        ] {
            assert_eq!(tokens_of(body), whole, "{body}");
        }
        // 2019: no scope (capture token-2019R2).
        let old = tokens_of(r#"{"access_token":"0f","expires_in":3600,"token_type":"Bearer"}"#);
        assert_eq!(old, json!({"access_token": "0f", "token_type": "Bearer", "expires_in": 3600}));
        let odd = tokens_of(
            r#"{"access_token":"a","expires_in":"soon","refresh_token":null,"scope":null,"token_type":""}"#,
        );
        assert_eq!(odd, json!({"access_token": "a", "token_type": "Bearer"}));
        for body in ["", "{}", "<html>", r#"{"access_token":""}"#, r#"{"access_token":"a","#] {
            assert_eq!(read(StatusCode::OK, body.as_bytes()), Reading::Unreadable, "{body}");
        }
    }

    #[test]
    fn issue_4_4_refusals_in_all_their_forms() {
        let code =
            |status: u16, body: &str| match read(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
                Reading::Refusal(json) => {
                    serde_json::from_slice::<Value>(&json).unwrap()["error"].as_str().unwrap().to_owned()
                }
                other => panic!("{body}: {other:?}"),
            };
        assert_eq!(code(400, r#"{"error":"invalid_grant","error_description":"x"}"#), "invalid_grant");
        assert_eq!(code(200, r#"{"error":"invalid_grant"}"#), "invalid_grant");
        assert_eq!(code(401, r#"{"error":{"code":"invalid_client","message":"x"}}"#), "invalid_client");
        assert_eq!(code(400, "error=invalid_grant&error_description=x"), "invalid_grant");
        for body in ["", "Bad Request", r#"{"message":"no"}"#] {
            assert_eq!(code(401, body), UNEXPLAINED, "{body}");
        }
        assert_eq!(code(404, "<!DOCTYPE html><title>404</title>"), WEB_PAGE);
    }

    #[test]
    fn issue_4_4_a_refresh_token_is_salvaged_from_an_answer_that_cannot_be_read() {
        let salvage = |text: &str| salvaged(text.as_bytes());
        for text in [
            r#"{"access_token":"a","refresh_token":"r-1","expi"#,
            r#"{"access_token":"a","refresh_token" : "r-1"}trailing"#,
            r#"<pre>{"refresh_token":"r-1"}</pre>"#,
            "{'refresh_token': 'r-1', }",
            r#""{\"refresh_token\":\"r-1\"}""#,
            "refresh_token=r-1&x=<",
        ] {
            assert_eq!(salvage(text).as_deref(), Some("r-1"), "{text}");
        }
        for text in [
            "",
            r#"{"access_token":"a"}"#,
            r#"{"refresh_token":"r-1"#,
            r#"{"refresh_token":null}"#,
            "refresh_token=r",
        ] {
            assert_eq!(salvage(text), None, "{text}");
        }
    }
}
