//! Checks that a session is in the tenant that was asked for (docs/acumatica.md section 4).
//!
//! A site with one tenant accepts any name without an error. If a cookie names the tenant, it is compared with each
//! answer. If not, the tenant is proven once for each session: by the sign-in page, by an address that names the
//! tenant, or by the client ID. If it cannot be proven, the user gets a WARNING.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use percent_encoding::percent_decode;

use crate::config::{Credentials, ODataVersion};
use crate::dialect::endpoint::parse_list;
use crate::encode::encode_segment;
use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::report::Report;
use crate::request::Surface;
use crate::session::connection::{Connection, LIST_BYTES};
use crate::session::lease::Lease;
use crate::transport::cookies::CookieJar;
use crate::transport::http::{PAGE, Request};

use crate::session::store::Proof;

/// How long the sign-in page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the sign-in page of a site says about its tenants.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    /// There is one, with this name.
    One(String),
    /// The user chooses one of these.
    Several(Vec<String>),
    /// It does not say.
    Silent,
}

impl Connection {
    /// Checks the tenant of a session. `addressed` says that an address that names the tenant has just answered;
    /// `at_rest`, that no answer is being read, so that the session can be used for the check.
    ///
    /// # Errors
    /// The session is in another tenant.
    pub async fn check_tenant(&self, lease: &Lease, addressed: bool, at_rest: bool) -> Result<()> {
        let Some(wanted) = &self.config.company else { return Ok(()) };
        if let Some(cookie) = lease.tenant_cookie() {
            return if is_same(&cookie, wanted) {
                Ok(())
            } else {
                Err(elsewhere(&readable(&cookie), wanted))
            };
        }
        let known = lease.record().tenant;
        let proof = match known {
            Some(Proof::None) if addressed => Proof::Address,
            Some(proof) => proof,
            None => self.prove_tenant(lease, wanted, addressed, at_rest).await?,
        };
        lease.record().tenant = Some(proof);
        self.unproven.store(proof == Proof::None, Ordering::Relaxed);
        Ok(())
    }

    async fn prove_tenant(
        &self,
        lease: &Lease,
        wanted: &str,
        addressed: bool,
        at_rest: bool,
    ) -> Result<Proof> {
        let page = self.sign_in_page().await;
        match &page {
            Some(Page::One(name)) if same_name(name, wanted) => return Ok(Proof::SignInPage),
            Some(Page::One(name)) => return Err(elsewhere(name, wanted)),
            // A site with several tenants refuses unknown names.
            Some(Page::Several(names)) if names.iter().any(|name| same_name(name, wanted)) => {
                return Ok(Proof::SignInPage);
            }
            _ => {}
        }
        if addressed {
            return Ok(Proof::Address);
        }
        if at_rest && let Some(proof) = self.prove_by_address(lease, wanted, page.is_some()).await? {
            return Ok(proof);
        }
        match (&self.config.credentials, page) {
            (Credentials::OAuth(..) | Credentials::OAuthPassword(..), _) => Ok(Proof::ClientId),
            (_, Some(Page::Several(names))) => {
                Err(unknown(wanted).detail(format!("Its sign-in page offers: {}.", names.join(", "))))
            }
            _ => Ok(Proof::None),
        }
    }

    /// Requests addresses that name the tenant. A missing one proves that there is no such tenant, if the release has
    /// such addresses, and if more of the site than a proxy lets through can be reached.
    async fn prove_by_address(
        &self,
        lease: &Lease,
        wanted: &str,
        all_is_reached: bool,
    ) -> Result<Option<Proof>> {
        const WHAT: &str = "the list of inquiries or data access classes";
        // A copy, so that the answers do not change the session.
        let jar = Mutex::new(lock(&lease.jar).clone());
        let ask = async |path: &str| self.http.send(&jar, Request::get(self.url(path)?, WHAT)).await;
        let root = |version| Surface::GenericInquiry.root(version, Some(wanted));
        match ask(&root(ODataVersion::V4)?).await {
            Ok(_) => return Ok(Some(Proof::Address)),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(_) => return Ok(None),
        }
        let build = match ask("entity").await {
            Ok(answer) => answer.text(LIST_BYTES).await.and_then(|body| parse_list(&body)).ok(),
            Err(_) => None,
        };
        let build = build.and_then(|listed| listed.build).unwrap_or_default();
        if has_tenant_addresses(&build) {
            return match all_is_reached {
                true => Err(unknown(wanted).detail(format!(
                    "It signs the user in, but has nothing at \"{}\".",
                    self.config.instance.path(&format!("t/{}/", encode_segment(wanted)))
                ))),
                false => Ok(None),
            };
        }
        // It is not known whether an older site of one tenant has this address, so a failure proves nothing.
        Ok(ask(&root(ODataVersion::V3)?).await.is_ok().then_some(Proof::Address))
    }

    /// The sign-in page, requested without the session: with it, the page would end the session.
    async fn sign_in_page(&self) -> Option<Page> {
        let jar = Mutex::new(CookieJar::default());
        let request = Request::get(self.url("Frames/Login.aspx").ok()?, "the sign-in page").accept(PAGE);
        let page = async { self.http.send(&jar, request).await.ok()?.text(LIST_BYTES).await.ok() };
        let page = tokio::time::timeout(PATIENCE, page).await.ok().flatten()?;
        Some(read_page(&page))
    }

    /// Issues the WARNING that the tenant is not proven, once.
    pub fn tell_unproven(&self, report: &Report) {
        if !self.unproven.load(Ordering::Relaxed) || self.told_unproven.swap(true, Ordering::Relaxed) {
            return;
        }
        let company = self.config.company.as_deref().unwrap_or_default();
        report.warning(
            format!("server \"{}\" does not prove that the session is in company \"{company}\"", self.config.server),
            "A site of one tenant accepts any name. Check the server option \"company\" against the name behind the user's at \
             the top of each page of the site."
                .to_owned(),
        );
    }
}

/// Whether a release has `/t/TENANT/…`: 2024 R2 and later.
fn has_tenant_addresses(build: &str) -> bool {
    let mut numbers = build.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (24, 200)
}

fn elsewhere(landed: &str, wanted: &str) -> Error {
    Error::new(ErrorKind::Tenant, format!("the server signed in to company \"{landed}\", not \"{wanted}\""))
        .hint("Set the server option \"company\" to the login name of the tenant.")
}

fn unknown(wanted: &str) -> Error {
    Error::new(ErrorKind::Tenant, format!("the server does not have the company \"{wanted}\""))
        .hint("Set the server option \"company\" to the login name of the tenant: ALTER SERVER … OPTIONS (SET company …).")
}

fn same_name(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// Whether the value of a cookie is this name. It may be quoted and encoded in any way.
fn is_same(cookie: &[u8], wanted: &str) -> bool {
    let bare = unquoted(cookie);
    let spaced: Vec<u8> = bare.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let once = |bytes: &[u8]| percent_decode(bytes).collect::<Vec<u8>>();
    let readings = [cookie.to_vec(), bare.clone(), once(&bare), once(&once(&bare)), once(&spaced)];
    readings.iter().any(|bytes| same_name(&text(bytes), wanted))
}

/// The tenant of a session, if a cookie names it.
pub(crate) fn landed(lease: &Lease) -> Option<String> {
    lease.tenant_cookie().map(|cookie| readable(&cookie))
}

/// The value of a cookie for messages.
fn readable(cookie: &[u8]) -> String {
    text(&percent_decode(&unquoted(cookie)).collect::<Vec<u8>>())
}

/// Removes quotes, within which some servers escape characters (RFC 6265 allows the quotes).
fn unquoted(cookie: &[u8]) -> Vec<u8> {
    let Some(inner) = cookie.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return cookie.to_vec();
    };
    let mut bare = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        escaped = !escaped && byte == b'\\';
        if !escaped {
            bare.push(byte);
        }
    }
    bare
}

/// UTF-8, or else Latin-1, as browsers take it.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Reads the hidden field `txtSingleCompany`, or the list of tenants.
fn read_page(html: &str) -> Page {
    let named = |tag: &str, part: &str| {
        ["id", "name"]
            .iter()
            .any(|name| attribute(tag, name).is_some_and(|name| name.to_lowercase().contains(part)))
    };
    let single = tags(html, "input").find(|(tag, _)| named(tag, "singlecompany"));
    if let Some(name) =
        single.and_then(|(tag, _)| attribute(tag, "value")).filter(|name| !name.trim().is_empty())
    {
        return Page::One(name.trim().to_owned());
    }
    let Some((_, inside)) =
        tags(html, "select").find(|(tag, _)| named(tag, "company") || named(tag, "tenant"))
    else {
        return Page::Silent;
    };
    let end = inside.to_ascii_lowercase().find("</select").unwrap_or(inside.len());
    let mut names: Vec<String> = tags(&inside[..end], "option")
        .flat_map(|(tag, label)| {
            let label = label.split('<').next().unwrap_or_default();
            [attribute(tag, "value"), Some(unescaped(label))]
        })
        .flatten()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.dedup();
    if names.is_empty() { Page::Silent } else { Page::Several(names) }
}

/// The tags with this name, each with the text that follows it.
fn tags<'a>(html: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let opening = format!("<{name}");
    let lower = html.to_ascii_lowercase();
    let starts: Vec<usize> = lower.match_indices(&opening).map(|(at, _)| at + opening.len()).collect();
    starts.into_iter().filter_map(move |start| {
        let rest = &html[start..];
        rest.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/').then_some(())?;
        let mut quote = None;
        let end = rest.find(|c: char| match quote {
            Some(open) if c == open => {
                quote = None;
                false
            }
            Some(_) => false,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                false
            }
            None => c == '>',
        })?;
        Some((&rest[..end], &rest[end + 1..]))
    })
}

/// The value of a tag's attribute, with any quotes or none.
fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let mut rest = tag.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(behind) = rest.strip_prefix('=') {
            let behind = behind.trim_start();
            let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (inside, after) = match quote {
                Some(quote) => behind[1..].split_once(quote).unwrap_or((&behind[1..], "")),
                None => behind.split_once(char::is_whitespace).unwrap_or((behind, "")),
            };
            (value, rest) = (inside, after.trim_start());
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(unescaped(value));
        }
    }
    None
}

/// Text without the character references of HTML.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = behind.split_once(';').filter(|(name, _)| name.len() <= 8);
        let meant = reference.and_then(|(name, _)| match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some(' '),
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)
            }
        });
        match (meant, reference) {
            (Some(c), Some((_, after))) => {
                plain.push(c);
                rest = after;
            }
            _ => {
                plain.push('&');
                rest = behind;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_3_5_a_cookie_may_be_quoted_and_encoded_in_whichever_way() {
        for (cookie, wanted) in [
            ("COMPANY", "Company"),
            ("\"My Company\"", "My Company"),
            ("My%20Company", "my company"),
            ("\"My%20Company\"", "My Company"),
            ("My+Company", "My Company"),
            ("My%2520Company", "My Company"),
            ("%22My%20Company%22", "\"My Company\""),
            ("\"M\\\"y\"", "M\"y"),
            ("S%C3%B6hne", "SÖHNE"),
            ("Söhne", "Söhne"),
            ("A+B%2BC", "A+B+C"),
            ("50%", "50%"),
        ] {
            assert!(is_same(cookie.as_bytes(), wanted), "{cookie}");
        }
        assert!(is_same(b"S\xF6hne", "Söhne") && is_same(b"S%F6hne", "Söhne"));
        assert!(!is_same(b"Other", "Company") && !is_same(b"\"", "Company"));
        assert_eq!(readable(b"\"My%20Company\""), "My Company");
    }

    #[test]
    fn issue_3_5_the_sign_in_page_names_the_tenant_or_lists_them() {
        let one = |html: &str| match read_page(html) {
            Page::One(name) => name,
            other => panic!("{other:?}"),
        };
        let html = r#"<form><input name="ctl00$phUser$txtUser" type="text" value="x" /><input type="hidden" name="ctl00$phUser$txtSingleCompany" id="txtSingleCompany" value="Smith &amp; S&#246;hne" /></form>"#;
        assert_eq!(one(html), "Smith & Söhne");
        assert_eq!(one("<INPUT VALUE='A>B' ID=txtSingleCompany TYPE=hidden>"), "A>B");
        let list = r#"<select id="cmpCompany" name="x"><option value="">Choose</option><option selected value="Company">Company</option><option value=2>Other Ltd</option></select><select id="locale"><option>en</option></select>"#;
        let Page::Several(names) = read_page(list) else { panic!() };
        assert!(
            names.contains(&"Company".to_owned()) && names.contains(&"Other Ltd".to_owned()),
            "{names:?}"
        );
        assert!(!names.contains(&"en".to_owned()));
        for silent in [
            "",
            "<html>",
            "<input id=txtSingleCompany value=''>",
            "<inputs id=txtSingleCompany value=x>",
            "<input id=txtSingleCompany value=\"x",
        ] {
            assert_eq!(read_page(silent), Page::Silent, "{silent}");
        }
    }

    #[test]
    fn issue_3_5_releases_whose_addresses_name_the_tenant() {
        for (build, has) in [
            ("24.211.0012", true),
            ("25.093.0036", true),
            ("24.107.0004", false),
            ("23.210.0042", false),
            ("", false),
        ] {
            assert_eq!(has_tenant_addresses(build), has, "{build}");
        }
    }
}
