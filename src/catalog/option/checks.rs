//! Checks the options of one object together: those that require each other, and those that exclude each other.

use acumatica_client::InstanceUrl;
use pgrx::prelude::*;

use super::definition::{Object, parse_url};
use super::list::{SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST};
use super::options::Options;
use crate::backend::error::Refusal;

const PASSWORD: &[&str] = &["Basic", "Cookie", "OAuthPassword"];
const APPLICATION: &[&str] = &["OAuth", "OAuthPassword"];
/// The values of `auth_strategy` that can use an option. Options that are not listed can be used with all.
const STRATEGY_OPTIONS: [(&str, &[&str]); 11] = [
    ("username", PASSWORD),
    ("password", PASSWORD),
    ("password_file", PASSWORD),
    ("client_id", APPLICATION),
    ("client_secret", APPLICATION),
    ("client_secret_file", APPLICATION),
    ("refresh_token", &["OAuth"]),
    ("access_token", &["OAuthImplicit"]),
    ("scope", APPLICATION),
    ("callback_url", &["OAuth"]),
    ("basic_sessions", &["Basic"]),
];

impl Options {
    /// Checks the options of one object, as the catalog has them. Resolves aliases, normalises values, and adds the options
    /// in `extra_properties`.
    ///
    /// # Errors
    /// An option does not exist or cannot be used here, or its value is not valid. The error is that of the first one.
    pub fn check(object: Object, given: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let options = Self::gather(object, given)?;
        options.check_together(object)?;
        Ok(options)
    }

    pub(super) fn check_together(&self, object: Object) -> Result<(), Refusal> {
        match object {
            Object::Server => self.check_server(),
            Object::Table => self.check_table(),
            Object::UserMapping => self.check_mapping(),
            Object::Column => self.check_column(),
            Object::Import => Ok(()),
        }
    }

    fn check_server(&self) -> Result<(), Refusal> {
        let Some(url) = self.get("url") else {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                "server option \"url\" is required",
            )
            .hint("Add OPTIONS (url 'https://mycompany.acumatica.com', company 'My Company')."));
        };
        let instance = parse_url(url)?;
        // A request through a proxy on another machine crosses the network, even if the site is on this machine.
        let proxy = self.get("proxy").and_then(|proxy| InstanceUrl::parse(proxy).ok());
        let stays_here = instance.is_loopback() && proxy.is_none_or(|proxy| proxy.is_loopback());
        if instance.is_plain_http() && !stays_here && self.get_or_default("allow_http") != "true" {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                "option \"url\" must use https",
            )
            .detail("With http, the password crosses the network for everyone to read.")
            .hint("Use https, or add allow_http 'true' if the network is trusted."));
        }
        if self.get_or_default("verify_certificate") == "false" && !stays_here {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                "option \"verify_certificate\" can only be false for this very machine",
            )
            .detail("Without it, whoever sits on the way to another machine can read the password.")
            .hint("Set ca_file to the certificate of the authority that issued the site's."));
        }
        self.check_pair("client_cert_file", "client_key_file")?;
        self.check_strategy(self.get_or_default("auth_strategy"))?;
        self.check_surface()
    }

    fn check_mapping(&self) -> Result<(), Refusal> {
        for (one, other) in [("password", "password_file"), ("client_secret", "client_secret_file")] {
            if self.get(one).is_some() && self.get(other).is_some() {
                return Err(Refusal::new(
                    PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                    format!("options \"{one}\" and \"{other}\" exclude each other"),
                )
                .hint("Give one of them."));
            }
        }
        self.check_pair("proxy_user", "proxy_password")
    }

    fn check_pair(&self, one: &str, other: &str) -> Result<(), Refusal> {
        let (given, missing) = match (self.get(one), self.get(other)) {
            (Some(_), None) => (one, other),
            (None, Some(_)) => (other, one),
            _ => return Ok(()),
        };
        Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
            format!("option \"{given}\" needs option \"{missing}\" too"),
        )
        .hint("Give both or neither."))
    }

    /// Checks that the `auth_strategy` can use each option that is given.
    ///
    /// # Errors
    /// It cannot use one. The detail lists the strategies that can, the hint the options of this strategy.
    pub fn check_strategy(&self, strategy: &str) -> Result<(), Refusal> {
        let unfit = STRATEGY_OPTIONS
            .iter()
            .find(|(name, strategies)| self.get(name).is_some() && !strategies.contains(&strategy));
        let Some((name, strategies)) = unfit else { return Ok(()) };
        let uses: Vec<&str> = STRATEGY_OPTIONS
            .iter()
            .filter(|(_, strategies)| strategies.contains(&strategy))
            .map(|(name, _)| *name)
            .collect();
        Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
            format!("option \"{name}\" cannot be used with auth_strategy \"{strategy}\""),
        )
        .detail(format!("It is for auth_strategy {}.", strategies.join(", ")))
        .hint(format!("auth_strategy \"{strategy}\" uses {}.", uses.join(", "))))
    }

    fn check_column(&self) -> Result<(), Refusal> {
        const EXCLUDE: [(&str, &str); 3] =
            [("custom", "field"), ("custom", "parameter"), ("key", "parameter")];
        match EXCLUDE.iter().find(|(one, other)| self.get(one).is_some() && self.get(other).is_some()) {
            Some((one, other)) => Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                format!("options \"{one}\" and \"{other}\" exclude each other"),
            )
            .hint("Leave one of them out.")),
            None => Ok(()),
        }
    }

    fn check_table(&self) -> Result<(), Refusal> {
        self.check_surface()?;
        match (self.get("entity"), self.get("inquiry")) {
            (None, None) => Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                "foreign table option \"entity\" or \"inquiry\" is required",
            )
            .hint("Add OPTIONS (entity 'SalesOrder') or OPTIONS (schema 'OData', inquiry 'My Inquiry').")),
            (Some(_), Some(_)) => Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                "options \"entity\" and \"inquiry\" exclude each other",
            )
            .hint(
                "Use entity for a business entity or data access class, inquiry for a generic inquiry or an inquiry form.",
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the option `schema`, if given, can use the others.
    fn check_surface(&self) -> Result<(), Refusal> {
        const FITS: [(&str, &[&str]); 11] = [
            ("endpoint_name", &[SCHEMA_REST]),
            ("endpoint_version", &[SCHEMA_REST]),
            ("odata_version", &[SCHEMA_ODATA, SCHEMA_DAC]),
            ("detail", &[SCHEMA_REST]),
            ("function", &[SCHEMA_ODATA]),
            ("singleton", &[SCHEMA_DAC]),
            ("contract", &[SCHEMA_REST]),
            ("show_deleted", &[SCHEMA_DAC]),
            ("collation", &[SCHEMA_ODATA, SCHEMA_DAC]),
            ("inquiry", &[SCHEMA_REST, SCHEMA_ODATA]),
            ("entity", &[SCHEMA_REST, SCHEMA_DAC]),
        ];
        let Some(schema) = self.get("schema") else { return Ok(()) };
        match FITS.iter().find(|(name, schemas)| self.get(name).is_some() && !schemas.contains(&schema)) {
            Some((name, schemas)) => Err(unfit(name, schema, schemas)),
            None => Ok(()),
        }
    }
}

/// The error for an option that a schema cannot use.
pub fn unfit(name: &str, schema: &str, schemas: &[&str]) -> Refusal {
    Refusal::new(
        PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
        format!("option \"{name}\" cannot be used with schema \"{schema}\""),
    )
    .hint(format!("It is for schema \"{}\".", schemas.join("\" and \"")))
}
