//! The configuration of a connection: the instance, the tenant, and who signs in, and how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::instance::InstanceUrl;
use crate::seal::Sealer;

/// A text that no message and no `Debug` output shows, wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Copies `text`; the caller wipes the original.
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// For the state that is sealed before it is written.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

/// A server and the credentials of one user on it. Two are equal when one client can serve both.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the server in messages.
    pub server: String,
    /// The address of the site, to which all requests go.
    pub instance: InstanceUrl,
    /// Login name of the tenant. Needed by OData where the instance has several.
    pub company: Option<String>,
    /// The OData interface for inquiries.
    pub odata_version: ODataVersion,
    /// The way to sign in, with its secrets.
    pub credentials: Credentials,
    /// The branch of new sessions; unset, the user's default.
    pub branch: Option<String>,
    /// A culture such as `en-US`; it decides how the server words its labels and messages.
    pub locale: Option<String>,
    /// How long the server may send nothing.
    pub operation_timeout: Duration,
    /// Certificates and proxy.
    pub transport: Transport,
    /// How many sessions the cluster may open on this server.
    pub max_sessions: u32,
    /// How many further sessions it may open for OData by HTTP Basic. These count as sessions of a person
    /// (docs/acumatica.md section 4).
    pub basic_sessions: u32,
    /// How long a session may be without requests before it is closed.
    pub idle_logout: Duration,
    /// Where sessions and tokens are stored for all backends.
    pub state: SharedState,
}

/// Where the backends of a cluster store the state of a server.
#[derive(Clone, Debug)]
pub struct SharedState {
    /// The directory for all servers: it has a directory for each database, with one for each server.
    pub root: PathBuf,
    /// The server's own directory.
    pub directory: PathBuf,
    /// The number of the user mapping, unique for the server.
    pub mapping: u32,
    /// Seals the state.
    pub sealer: Arc<Sealer>,
}

impl PartialEq for SharedState {
    fn eq(&self, other: &Self) -> bool {
        let Self { root, directory, mapping, sealer } = self;
        *root == other.root
            && *directory == other.directory
            && *mapping == other.mapping
            && Arc::ptr_eq(sealer, &other.sealer)
    }
}

/// How requests reach the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transport {
    /// PEM certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate and its key, both in PEM.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// The HTTP proxy for all requests; unset, connections are direct.
    pub proxy: Option<Proxy>,
    /// False accepts any certificate.
    pub verify_certificate: bool,
}

impl Default for Transport {
    fn default() -> Self {
        Self { ca_file: None, client_identity: None, proxy: None, verify_certificate: true }
    }
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proxy {
    /// `http://host:port`.
    pub url: String,
    /// User name and password for the proxy.
    pub credentials: Option<(String, Secret)>,
}

/// Who signs in, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Credentials {
    /// Cookie login for REST, HTTP Basic with the cookies replayed for OData.
    Basic(Login),
    /// Cookie login for all surfaces.
    Cookie(Login),
    /// OAuth 2.0, resource owner password.
    OAuthPassword(Login, App),
    /// OAuth 2.0, authorization code with PKCE. It may begin with a refresh token that was obtained elsewhere.
    OAuth(App, Option<Secret>),
    /// OAuth 2.0, implicit: an access token that was obtained elsewhere.
    OAuthImplicit(Secret),
}

/// A user of the instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// The login name, without the tenant.
    pub username: String,
    /// The password of that user.
    pub password: Secret,
}

/// A connected application (screen SM303010).
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// `GUID@Tenant`.
    pub client_id: String,
    /// A public client has none.
    pub client_secret: Option<Secret>,
    /// Separated by spaces.
    pub scope: String,
    /// The redirect URI, which must be one of those that the application is registered with.
    pub callback_url: String,
}

impl Config {
    /// Fills in the tenant that the client ID names.
    ///
    /// # Errors
    /// As [`check_tenant`].
    pub fn checked(mut self) -> Result<Self> {
        if let Credentials::OAuth(app, _) | Credentials::OAuthPassword(_, app) = &self.credentials {
            let tenant = check_tenant(&self.server, self.company.as_deref(), &app.client_id)?;
            self.company.get_or_insert_with(|| tenant.to_owned());
        }
        Ok(self)
    }

    /// Identifies the sessions of these options.
    pub(crate) fn session_fingerprint(&self) -> String {
        let mut parts = self.identity();
        parts
            .extend([self.branch.as_deref().unwrap_or_default(), self.locale.as_deref().unwrap_or_default()]);
        match &self.credentials {
            Credentials::Basic(login) | Credentials::Cookie(login) => {
                parts.extend([login.username.as_str(), login.password.expose()]);
            }
            Credentials::OAuthImplicit(token) => parts.push(token.expose()),
            Credentials::OAuthPassword(..) | Credentials::OAuth(..) => {
                return digest(&[&parts[..], &[&self.grant_fingerprint()]].concat());
            }
        }
        digest(&parts)
    }

    /// Identifies the grants for these options. The client secret is not among them: it expires and is replaced, and
    /// the grant stays valid.
    pub(crate) fn grant_fingerprint(&self) -> String {
        let mut parts = self.identity();
        match &self.credentials {
            Credentials::OAuthPassword(login, app) => {
                parts.extend([app.client_id.as_str(), &app.scope, &login.username, login.password.expose()]);
            }
            Credentials::OAuth(app, seed) => {
                parts.extend([app.client_id.as_str(), &app.scope, seed.as_ref().map_or("", Secret::expose)]);
            }
            Credentials::Basic(_) | Credentials::Cookie(_) | Credentials::OAuthImplicit(_) => {}
        }
        digest(&parts)
    }

    fn identity(&self) -> Vec<&str> {
        let how = match self.credentials {
            Credentials::Basic(_) => "Basic",
            Credentials::Cookie(_) => "Cookie",
            Credentials::OAuthPassword(..) => "OAuthPassword",
            Credentials::OAuth(..) => "OAuth",
            Credentials::OAuthImplicit(_) => "OAuthImplicit",
        };
        vec![how, self.instance.as_str(), self.company.as_deref().unwrap_or_default()]
    }
}

/// The tenant that a client ID names (docs/acumatica.md section 4).
///
/// # Errors
/// It names none, or not the company that the server is configured for.
pub fn check_tenant<'a>(server: &str, company: Option<&str>, client_id: &'a str) -> Result<&'a str> {
    let tenant = match client_id.rsplit_once('@') {
        Some((_, tenant)) if !tenant.is_empty() => tenant,
        _ => {
            return Err(Error::new(ErrorKind::Definition, "option \"client_id\" names no tenant")
                .detail(format!("The value is \"{client_id}\"."))
                .hint("Copy the whole client ID from screen SM303010: GUID@Tenant."));
        }
    };
    match company {
        Some(company) if !company.eq_ignore_ascii_case(tenant) => Err(Error::new(
            ErrorKind::Definition,
            format!("the client ID belongs to tenant \"{tenant}\", server \"{server}\" to company \"{company}\""),
        )
        .hint(
            "Set the server option \"company\" to the tenant behind the @ of the client ID, or use a client ID of that \
             company.",
        )),
        _ => Ok(tenant),
    }
}

/// SHA-256 of texts, each with its length, in base64.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_le_bytes());
        context.update(part.as_bytes());
    }
    STANDARD.encode(context.finish())
}

/// The OData layout and literals of an instance (docs/acumatica.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ODataVersion {
    /// By the build that the instance reports.
    Auto,
    /// Before 2024 R2.
    V3,
    /// Before 2024 R2, on a site of one tenant, whose addresses leave the tenant out.
    V3OneTenant,
    /// 2024 R2 and later.
    V4,
}
