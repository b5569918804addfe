//! Foreign servers.

use acumatica_client::{InstanceUrl, ODataVersion, Purpose, check_tenant};
use pgrx::prelude::*;

use crate::backend::encoding::from_server;
use crate::backend::error::{Refusal, or_raise};
use crate::catalog::names::{quoted, role_name};
use crate::catalog::option::{Layers, Object, Options, option_list, parse_url};

/// A foreign server with valid options.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub instance: InstanceUrl,
    /// The login name of the tenant.
    pub company: Option<String>,
    /// Which OData interface is read.
    pub odata_version: ODataVersion,
    pub options: Options,
}

impl Server {
    /// Reads a server from the catalog. Raises an error if an option is not valid.
    pub fn load(oid: pg_sys::Oid) -> Self {
        // SAFETY: GetForeignServer returns a palloc'd struct or raises; its options are a list of DefElems.
        let (name, options) = unsafe {
            let server = pg_sys::GetForeignServer(oid);
            (from_server((*server).servername), option_list((*server).options))
        };
        let options = or_raise(Options::check(Object::Server, options));
        let instance = or_raise(parse_url(options.get_or_default("url")));
        let layers = Layers(&[&options]);
        let odata_version = match layers.get("odata_version") {
            Some("3") => ODataVersion::V3,
            Some("4") => ODataVersion::V4,
            _ => ODataVersion::Auto,
        };
        Self { oid, name, instance, company: layers.text("company"), odata_version, options }
    }

    /// The server and role that a secret in the user mapping of `role` is bound to when it is sealed.
    pub fn purpose(&self, role: pg_sys::Oid) -> Purpose {
        Purpose { host: self.instance.host_and_port(), role: role_name(role) }
    }

    /// The name and version of the contract endpoint: options of the object before those of the server. If neither has one,
    /// an endpoint in the server's `url` is used.
    pub fn endpoint_for(&self, object: &Options) -> (String, Option<String>) {
        let options = Layers(&[object, &self.options]);
        match (options.given("endpoint_name"), options.given("endpoint_version"), self.instance.endpoint()) {
            (None, None, Some((name, version))) => (name.to_owned(), Some(version.to_owned())),
            _ => (options.text("endpoint_name").unwrap_or_default(), options.text("endpoint_version")),
        }
    }

    pub fn strategy(&self) -> &str {
        self.options.get_or_default("auth_strategy")
    }

    /// Whether users sign in through a connected application, whose client ID names the tenant.
    pub fn has_app(&self) -> bool {
        matches!(self.strategy(), "OAuth" | "OAuthPassword")
    }

    /// Checks that a user mapping has the options that the server's `auth_strategy` requires, and none that it cannot use.
    ///
    /// # Errors
    /// An option is missing or cannot be used.
    pub fn check_mapping(&self, mapping: &Options) -> Result<(), Refusal> {
        mapping.check_strategy(self.strategy())?;
        let required: &[&[&str]] = match self.strategy() {
            "OAuth" => &[&["client_id"]],
            "OAuthImplicit" => &[&["access_token"]],
            "OAuthPassword" => &[&["username"], &["password", "password_file"], &["client_id"]],
            _ => &[&["username"], &["password", "password_file"]],
        };
        if let Some(client_id) = mapping.get("client_id") {
            check_tenant(&self.name, self.company.as_deref(), client_id)?;
        }
        let missing = required.iter().find(|names| names.iter().all(|name| mapping.get(name).is_none()));
        match missing {
            Some(names) => Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                format!("the user mapping for server \"{}\" has no option \"{}\"", self.name, names[0]),
            )
            .detail(format!("auth_strategy \"{}\" needs it.", self.strategy()))
            .hint(format!(
                "Give it with CREATE USER MAPPING FOR … SERVER {0} OPTIONS ({1} '…'), or ALTER USER MAPPING FOR … SERVER \
                 {0} OPTIONS (ADD {1} '…').",
                quoted(&self.name),
                names[0]
            ))),
            None if mapping.get("proxy_user").is_some() && self.options.get("proxy").is_none() => {
                Err(Refusal::new(
                    PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                    format!("server \"{}\" has no option \"proxy\" that proxy_user could be for", self.name),
                )
                .hint("Add the option proxy to the server, or drop proxy_user and proxy_password."))
            }
            None => Ok(()),
        }
    }
}
