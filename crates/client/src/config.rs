//! What a connection needs to know: the instance, the tenant and who signs in.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::instance::InstanceUrl;

/// A server and the credentials of one user on it.
#[derive(Clone, Debug)]
pub struct Config {
    pub instance: InstanceUrl,
    /// Login name of the tenant. Needed by OData where the instance has several.
    pub company: Option<String>,
    pub odata_version: ODataVersion,
    pub auth_strategy: AuthStrategy,
    pub username: String,
    pub password: SecretString,
    pub branch: Option<String>,
    /// A culture such as `en-US`; it decides how the server words its labels and messages.
    pub locale: Option<String>,
    /// How long the server may be silent.
    pub operation_timeout: Duration,
}

/// Two configurations are equal when one session can serve both.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten here.
        let Self {
            instance,
            company,
            odata_version,
            auth_strategy,
            username,
            password,
            branch,
            locale,
            operation_timeout,
        } = self;
        *instance == other.instance
            && *company == other.company
            && *odata_version == other.odata_version
            && *auth_strategy == other.auth_strategy
            && *username == other.username
            && password.expose_secret() == other.password.expose_secret()
            && *branch == other.branch
            && *locale == other.locale
            && *operation_timeout == other.operation_timeout
    }
}

/// How a session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStrategy {
    /// Cookie login for REST, HTTP Basic with the cookies replayed for OData.
    Basic,
    /// Cookie login for all surfaces.
    Cookie,
}

/// The OData layout and literals of an instance (acumatica-api.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ODataVersion {
    /// By the build that the instance reports.
    Auto,
    /// Before 2024 R2.
    V3,
    /// 2024 R2 and later.
    V4,
}
