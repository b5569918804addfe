//! The cookies that are a session.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use cookie::Cookie;
use cookie::time::OffsetDateTime;
use reqwest::header::{DATE, HeaderMap, HeaderValue, SET_COOKIE};
use zeroize::Zeroizing;

/// Cookies by name, for one origin. Acumatica sends five of its seven twice, and values hold
/// `& = + : ~` (acumatica-api.md section 4): the last one of a name counts, values stay verbatim.
#[derive(Clone, Default)]
pub(crate) struct CookieJar(BTreeMap<String, Zeroizing<String>>);

/// Whoever has the cookies has the session.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar(…)")
    }
}

impl CookieJar {
    pub fn new(cookies: BTreeMap<String, Zeroizing<String>>) -> Self {
        Self(cookies)
    }

    pub fn cookies(&self) -> &BTreeMap<String, Zeroizing<String>> {
        &self.0
    }

    /// Takes over what an answer sets or, by an expiry in the past, removes. The past is what the server
    /// says it is: our clock may be wrong.
    pub fn absorb(&mut self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        let now = date.and_then(|date| OffsetDateTime::from_unix_timestamp(date.timestamp()).ok());
        let now = now.unwrap_or_else(OffsetDateTime::now_utc);
        for cookie in headers.get_all(SET_COOKIE) {
            let Ok(text) = cookie.to_str() else { continue };
            let Ok(cookie) = Cookie::parse(text) else { continue };
            let expired = cookie.max_age().is_some_and(|age| age.is_zero())
                || cookie.expires_datetime().is_some_and(|at| at <= now);
            if expired || cookie.value().is_empty() {
                self.0.remove(cookie.name());
            } else {
                self.0.insert(cookie.name().to_owned(), Zeroizing::new(cookie.value().to_owned()));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// The `Cookie` header, marked sensitive so that no trace prints it.
    pub fn header(&self) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
        let mut header = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(lines: &[&str]) -> CookieJar {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, line.parse().unwrap());
        }
        let mut jar = CookieJar::default();
        jar.absorb(&headers);
        jar
    }

    #[test]
    fn cookies_sent_twice_count_once_and_keep_their_odd_characters() {
        let jar = jar(&[
            "Locale=TimeZone=GMTE0000U&Culture=en-US; path=/",
            "UserBranch=16; path=/",
            "Locale=TimeZone=GMTE0000U&Culture=en-GB; path=/; HttpOnly",
            "requeststat=+st:92+sc:~/entity/auth/login+start:1+tg:; path=/",
        ]);
        assert_eq!(
            jar.header().unwrap(),
            "Locale=TimeZone=GMTE0000U&Culture=en-GB; UserBranch=16; \
             requeststat=+st:92+sc:~/entity/auth/login+start:1+tg:"
        );
        assert!(jar.header().unwrap().is_sensitive());
    }

    #[test]
    fn what_has_expired_is_said_by_the_server_that_sent_it() {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "a=1; expires=Tue, 12-Oct-1999 04:20:00 GMT".parse().unwrap());
        headers.append(DATE, "Tue, 12 Oct 1999 04:00:00 GMT".parse().unwrap());
        let mut jar = CookieJar::default();
        jar.absorb(&headers);
        assert_eq!(jar.get("a"), Some("1"));
    }

    #[test]
    fn an_expired_cookie_is_removed() {
        let jar = jar(&[
            ".ASPXAUTH=abc; path=/",
            "a=1",
            ".ASPXAUTH=; expires=Tue, 12-Oct-1999 04:00:00 GMT; path=/",
            "b=2; Max-Age=0",
        ]);
        assert_eq!(jar.header().unwrap(), "a=1");
    }
}
