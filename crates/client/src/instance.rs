//! The address of an Acumatica instance, in whichever form people write it.

use std::fmt;

use url::{Host, Url};

/// `{base}` of `docs/acumatica.md`: scheme, host, port and the virtual directory, nothing after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceUrl {
    /// Its path ends with `/`.
    base: Url,
    /// Name and version, where the address was that of an endpoint.
    endpoint: Option<(String, String)>,
}

/// Why an address was refused: a sentence, lower case, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct UrlError {
    /// What is wrong with the address: lower case, no full stop.
    pub problem: String,
    /// How to write it: a whole sentence.
    pub hint: &'static str,
}

const FORM: &str = "Write the address of the site, such as mycompany.acumatica.com or https://host/Site.";

impl InstanceUrl {
    /// Reads an address from a browser, from Acumatica's help or from a mail: with or without scheme, of the site, of a
    /// screen, of an endpoint. Without a scheme it is `https`; on this machine `http`.
    ///
    /// # Errors
    /// The address has another scheme, user info or no host, or is malformed. Whether plain `http` is allowed is not
    /// checked here: see [`InstanceUrl::is_plain_http`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let fail = |problem: String, hint| Err(UrlError { problem, hint });
        let text = text.trim();
        let assumed = match text.split_once("://") {
            Some(_) => text.to_owned(),
            // `localhost:8080/Site` is a host and a port here, not a scheme.
            None => format!("https://{text}"),
        };
        let mut url = match Url::parse(&assumed) {
            Ok(url) => url,
            Err(reason) => return fail(format!("the address is not valid: {reason}"), FORM),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return fail(format!("the scheme \"{}\" is not supported", url.scheme()), "Use https.");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fail(
                "the address must not hold a user name or password".into(),
                "Put them into the user mapping: CREATE USER MAPPING … OPTIONS (username …, password …).",
            );
        }
        if url.host_str().is_none_or(str::is_empty) {
            return fail("the address has no host".into(), FORM);
        }
        if assumed.len() != text.len() && is_loopback(&url) {
            // http and https are both special schemes, between which `set_scheme` always works.
            let _ = url.set_scheme("http");
        }

        let segments: Vec<String> =
            url.path().split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let site = segments.iter().position(|s| is_inside_site(s)).unwrap_or(segments.len());
        let endpoint = match &segments[site..] {
            [entity, name, version, ..] if entity.eq_ignore_ascii_case("entity") => {
                Some((name.clone(), version.clone())).filter(|(name, _)| !name.eq_ignore_ascii_case("auth"))
            }
            _ => None,
        };
        let mut path: String = segments[..site].iter().map(|s| format!("/{s}")).collect();
        path.push('/');
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { base: url, endpoint })
    }

    /// `{base}/` followed by `rest`, which is already percent-encoded and does not begin with `/`.
    pub fn join(&self, rest: &str) -> String {
        format!("{}{rest}", self.base)
    }

    /// The path of [`InstanceUrl::join`] alone, for display.
    pub fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.base.path())
    }

    /// The address of a link that the server sent; `None` if it leads to another site.
    pub fn resolve(&self, link: &str) -> Option<Url> {
        self.resolve_from(&self.base, link)
    }

    /// The same for a link in the answer to the request to `asked`, to which it may be relative (RFC 3986, 5.1.3).
    ///
    /// Only path and query of the link are used, so that each request goes to our own origin, and nothing is ever sent
    /// in the clear. A site behind a TLS proxy or a port mapping that it does not know writes the other scheme, or the
    /// default port of its scheme.
    pub fn resolve_from(&self, asked: &Url, link: &str) -> Option<Url> {
        let link = asked.join(link).ok()?;
        let is_http = matches!(link.scheme(), "http" | "https");
        let is_port = link.scheme() != self.base.scheme()
            || link.port().is_none()
            || link.port_or_known_default() == self.base.port_or_known_default();
        let mut url = self.base.clone();
        url.set_path(link.path());
        url.set_query(link.query());
        (is_http && is_port && link.host() == self.base.host()).then_some(url)
    }

    /// Endpoint name and version, if the address named one.
    pub fn endpoint(&self) -> Option<(&str, &str)> {
        self.endpoint.as_ref().map(|(name, version)| (name.as_str(), version.as_str()))
    }

    /// The host of the site, without the port.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Host and port, also where the port is that of the scheme.
    pub fn host_and_port(&self) -> String {
        let port = self.base.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.host())
    }

    /// `{base}` as text, ending with `/`.
    pub fn as_str(&self) -> &str {
        self.base.as_str()
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Whether requests are sent without TLS.
    pub fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }
}

impl fmt::Display for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

/// The end of the virtual directory, where the path of the application begins.
fn is_inside_site(segment: &str) -> bool {
    const ROOMS: [&str; 11] = [
        "entity",
        "odata",
        "odatav4",
        "t",
        "api",
        "identity",
        "main",
        "main.aspx",
        "frames",
        "pages",
        "scripts",
    ];
    // `(W(2))` marks a browser window.
    segment.starts_with("(W(") || ROOMS.iter().any(|room| segment.eq_ignore_ascii_case(room))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> String {
        InstanceUrl::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_form_in_which_people_write_it() {
        for (text, expected) in [
            ("mycompany.acumatica.com", "https://mycompany.acumatica.com"),
            ("  https://mycompany.acumatica.com/  ", "https://mycompany.acumatica.com"),
            ("HTTPS://Host.example/Site/", "https://host.example/Site"),
            ("https://host/entity/", "https://host"),
            ("https://host/Site/entity/Default/24.200.001", "https://host/Site"),
            ("https://host/Main?ScreenId=SO301000&CompanyID=U100", "https://host"),
            ("https://host/Site/(W(3))/Frames/Main.aspx#x", "https://host/Site"),
            ("https://host/Site/t/My%20Company/api/odata/gi", "https://host/Site"),
            ("https://host/odata/Company", "https://host"),
            ("localhost:8080/Site", "http://localhost:8080/Site"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://localhost/Site", "https://localhost/Site"),
            ("http://[::1]:80/Site", "http://[::1]/Site"),
            ("host.example:8443/Site", "https://host.example:8443/Site"),
        ] {
            assert_eq!(base(text), expected, "{text}");
        }
    }

    #[test]
    fn an_endpoint_in_the_address_is_kept() {
        let url = InstanceUrl::parse("https://host/Site/entity/eCommerce/23.200.001/").unwrap();
        assert_eq!(url.endpoint(), Some(("eCommerce", "23.200.001")));
        assert_eq!(InstanceUrl::parse("https://host/entity/auth/login").unwrap().endpoint(), None);
    }

    #[test]
    fn refusals_say_why() {
        for (text, problem) in [
            ("ftp://host", "the scheme \"ftp\" is not supported"),
            ("https://u:p@host", "the address must not hold a user name or password"),
            ("user@host/Site", "the address must not hold a user name or password"),
            ("", "the address is not valid: empty host"),
            ("https://", "the address is not valid: empty host"),
            ("https://ho st", "the address is not valid: invalid international domain name"),
        ] {
            assert_eq!(InstanceUrl::parse(text).unwrap_err().problem, problem, "{text}");
        }
    }

    #[test]
    fn plain_http_only_at_home() {
        let judge = |text: &str| {
            let url = InstanceUrl::parse(text).unwrap();
            (url.is_plain_http(), url.is_loopback())
        };
        assert_eq!(judge("http://erp.example"), (true, false));
        assert_eq!(judge("http://127.1.2.3"), (true, true));
        assert_eq!(judge("erp.example"), (false, false));
    }

    #[test]
    fn links_join_to_the_origin_and_never_leave_it() {
        let url = InstanceUrl::parse("https://host/Site").unwrap();
        assert_eq!(url.resolve("/Site/x?a=1").unwrap().as_str(), "https://host/Site/x?a=1");
        assert_eq!(url.resolve("https://host:443/Site/x").unwrap().as_str(), "https://host/Site/x");
        assert_eq!(url.resolve("https://evil.example/Site/x"), None);
        assert_eq!(url.resolve("//evil.example/x"), None);
    }

    #[test]
    fn issue_4_3_links_are_relative_to_the_request_and_lead_to_our_origin() {
        let url = InstanceUrl::parse("https://host:8443/Site").unwrap();
        let asked = Url::parse("https://host:8443/Site/t/C/api/odata/gi/My%20List?$top=5").unwrap();
        let list = "https://host:8443/Site/t/C/api/odata/gi";
        for (link, path) in [
            ("?$skip=5", "/My%20List?$skip=5"),
            ("My List?$skip=5", "/My%20List?$skip=5"),
            ("./My%20List?$skiptoken='a b'", "/My%20List?$skiptoken=%27a%20b%27"),
            ("../gi/X?a=1#part", "/X?a=1"),
            ("/Site/t/C/api/odata/gi/X", "/X"),
            ("//host/Site/t/C/api/odata/gi/X", "/X"),
            ("https://HOST:8443/Site/t/C/api/odata/gi/X", "/X"),
            ("https://host/Site/t/C/api/odata/gi/X", "/X"),
            ("https://host:443/Site/t/C/api/odata/gi/X", "/X"),
            ("http://host/Site/t/C/api/odata/gi/X", "/X"),
            ("http://host:80/Site/t/C/api/odata/gi/X", "/X"),
            ("http://host:8080/Site/t/C/api/odata/gi/X", "/X"),
            ("https://user:secret@host/Site/t/C/api/odata/gi/X", "/X"),
        ] {
            let found = url.resolve_from(&asked, link).map(String::from);
            assert_eq!(found, Some(format!("{list}{path}")), "{link}");
        }
        for link in [
            "https://other/Site/x",
            "http://other/Site/x",
            "https://host:9000/Site/x",
            "https://host.evil.example/x",
            "//other/x",
            "ftp://host/x",
            "javascript:x",
            "https://host@other/x",
        ] {
            assert_eq!(url.resolve_from(&asked, link), None, "{link}");
        }
    }
}
