//! The cookies of a session.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use cookie::Cookie;
use cookie::time::OffsetDateTime;
use reqwest::header::{DATE, HeaderMap, HeaderValue, SET_COOKIE};
use zeroize::Zeroizing;

/// Cookies by name, for one origin. Acumatica sends five of its seven twice, and values hold
/// `& = + : ~` (docs/acumatica.md section 4): the last one of a name counts, values go back byte for byte, in their quotes
/// and encoding. A value is kept as text of which each character stands for one byte, since a header need not be UTF-8.
#[derive(Clone, Default)]
pub(crate) struct CookieJar(BTreeMap<String, Zeroizing<String>>);

/// Whoever has the cookies has the session, so they are not shown.
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

    /// Stores the cookies that an answer sets, and removes those whose expiry has passed. The expiry is compared with
    /// the server's time, since the local clock may be wrong.
    pub fn absorb(&mut self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        let now = date.and_then(|date| OffsetDateTime::from_unix_timestamp(date.timestamp()).ok());
        let now = now.unwrap_or_else(OffsetDateTime::now_utc);
        for cookie in headers.get_all(SET_COOKIE) {
            let text = Zeroizing::new(characters(cookie.as_bytes()));
            let Ok(cookie) = Cookie::parse(text.as_str()) else { continue };
            // If there are both, `Max-Age` counts (RFC 6265, section 5.3).
            let expired = match cookie.max_age() {
                Some(age) => age.is_zero() || age.is_negative(),
                None => cookie.expires_datetime().is_some_and(|at| at <= now),
            };
            if expired {
                self.0.remove(cookie.name());
            } else {
                self.0.insert(cookie.name().to_owned(), Zeroizing::new(cookie.value().to_owned()));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a cookie as it was received. The case of the name does not matter.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let named = |other: &&String| other.eq_ignore_ascii_case(name);
        let name = self.0.get_key_value(name).map(|(name, _)| name).or_else(|| self.0.keys().find(named))?;
        self.0.get(name).map(|value| bytes(value))
    }

    /// The `Cookie` header, marked sensitive so that no trace prints it.
    pub fn header(&self) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
        let mut header = HeaderValue::from_bytes(&bytes(&pairs.join("; "))).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn bytes(characters: &str) -> Vec<u8> {
    characters.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
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
        assert_eq!(jar.get("a").as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn issue_3_5_what_is_sent_back_is_what_came() {
        let jar = jar(&[
            "CompanyID=\"My%20Company\"; path=/",
            "Note=S\u{f6}hne+%41",
            "empty=",
            "a=b=c; Max-Age=60; expires=Tue, 12-Oct-1999 04:20:00 GMT",
        ]);
        assert_eq!(jar.get("companyid").as_deref(), Some(&b"\"My%20Company\""[..]));
        let header = jar.header().unwrap();
        // The header is UTF-8 here, and stays so.
        assert_eq!(
            header.as_bytes(),
            "CompanyID=\"My%20Company\"; Note=S\u{f6}hne+%41; a=b=c; empty=".as_bytes()
        );
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
