//! A request, as the handlers read it.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::HeaderMap;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::config::Config;

const LARGEST_BODY: usize = 64 << 20;

pub struct Request {
    pub method: String,
    /// Decoded, with the virtual directory.
    pub path: String,
    /// Decoded segments behind the virtual directory. IIS decodes before it splits: a `%2F` splits too.
    pub segments: Vec<String>,
    pub raw_path: String,
    pub raw_query: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// `None` if its body cannot be read or is larger than 64 MiB.
    pub async fn read(config: &Config, request: hyper::Request<Incoming>) -> Option<Request> {
        let (head, body) = request.into_parts();
        let raw_path = head.uri.path().to_string();
        let raw_query = head.uri.query().unwrap_or("").to_string();
        let path = percent_decode_str(&raw_path).decode_utf8_lossy().into_owned();
        let site = config.site();
        let inside = match path.get(..site.len()) {
            Some(start) if start.eq_ignore_ascii_case(&site) => &path[site.len()..],
            _ if path.starts_with("/__sim") => &path,
            _ => "",
        };
        Some(Request {
            method: head.method.as_str().to_string(),
            segments: inside.split('/').skip(1).map(String::from).collect(),
            query: parse_form(&raw_query),
            path,
            raw_path,
            raw_query,
            headers: head.headers,
            body: Limited::new(body, LARGEST_BODY).collect().await.ok()?.to_bytes(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        let all =
            self.headers.get_all("cookie").into_iter().filter_map(|v| std::str::from_utf8(v.as_bytes()).ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// What the `Authorization` header says if its scheme is `Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// A query option; empty text counts as absent.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// `http://host/Site`, as the client sees it.
    pub fn base(&self, config: &Config) -> String {
        format!("http://{}{}", self.header("host").unwrap_or("localhost"), config.site())
    }
}

/// `a=1&b=2`, decoded; a plus sign is a space.
pub fn parse_form(text: &str) -> Vec<(String, String)> {
    let decode = |s: &str| percent_decode_str(&s.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}
