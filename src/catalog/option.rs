//! Every option there is: one table that the validator, the hints, `acumatica_options()` and the
//! reference page in `docs/` all come from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use acumatica_client::InstanceUrl;
use pgrx::prelude::*;
use url::Url;

use crate::backend::encoding::from_server;
use crate::backend::error::{Refusal, or_raise};

/// What an option may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    Server,
    UserMapping,
    Table,
    Column,
    /// `IMPORT FOREIGN SCHEMA`.
    Import,
}

impl Object {
    fn name(self) -> &'static str {
        match self {
            Object::Server => "server",
            Object::UserMapping => "user mapping",
            Object::Table => "foreign table",
            Object::Column => "column",
            Object::Import => "schema import",
        }
    }
}

/// What an option's value may be.
#[derive(Debug)]
enum Kind {
    Text,
    Boolean,
    Integer(RangeInclusive<u64>),
    /// One of these, in any case; each with other names for it.
    Choice(&'static [(&'static str, &'static [&'static str])]),
    Url,
    /// A remote field, or a path to one: `MainContact/Email`; `*` is all of the row.
    FieldPath,
    /// The path to a detail: `Details`.
    DetailPath,
    /// A custom field with its view: `Document.UsrPriority`.
    CustomField,
    /// A day: `2024-12-31`.
    Date,
    /// OAuth scopes, separated by spaces.
    Scope,
    /// Where the browser is sent after signing in.
    Callback,
    /// Address of an HTTP proxy.
    Proxy,
    /// Absolute path of a file that the server reads; who may say which.
    File(Trusted),
    /// `name=value;…` of the other options of the same object.
    Properties,
}

/// Whose word is good for a file of the server.
#[derive(Clone, Copy, Debug)]
enum Trusted {
    Superuser,
    /// Members of `pg_read_server_files`.
    Reader,
}

/// One option.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    aliases: &'static [&'static str],
    objects: &'static [Object],
    kind: Kind,
    default: Option<&'static str>,
    secret: bool,
    /// What it is for, in a sentence.
    purpose: &'static str,
}

pub const SCHEMA_REST: &str = "REST";
pub const SCHEMA_ODATA: &str = "OData";
pub const SCHEMA_DAC: &str = "DAC";

impl Definition {
    const fn new(name: &'static str, objects: &'static [Object], kind: Kind, purpose: &'static str) -> Self {
        Self { name, aliases: &[], objects, kind, default: None, secret: false, purpose }
    }

    const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

use Object::{Column, Import, Server, Table, UserMapping};

static OPTIONS: [Definition; 62] = [
    Definition::new(
        "url",
        &[Server],
        Kind::Url,
        "Address of the Acumatica site, such as https://host/Site; required.",
    ),
    Definition::new("company", &[Server], Kind::Text, "Login name of the tenant; OData needs it.")
        .alias(&["tenant"]),
    Definition::new(
        "schema",
        &[Server, Table],
        Kind::Choice(&[(SCHEMA_REST, &[]), (SCHEMA_ODATA, &[]), (SCHEMA_DAC, &["ODataV4"])]),
        "Which interface tables are read through: REST (entities), OData (generic inquiries) or DAC.",
    )
    .default(SCHEMA_REST),
    Definition::new("endpoint_name", &[Server, Table, Import], Kind::Text, "Contract endpoint of REST tables.")
        .default("Default"),
    Definition::new(
        "endpoint_version",
        &[Server, Table, Import],
        Kind::Text,
        "Version of the contract endpoint; unset, the newest that the instance lists.",
    ),
    Definition::new(
        "contract",
        &[Server, Table],
        Kind::Choice(&[("4", &[]), ("5", &[])]),
        "Version of the contract that the endpoint speaks; unset, 5 from endpoint version 26 on, 4 before.",
    ),
    Definition::new(
        "odata_version",
        &[Server],
        Kind::Choice(&[("auto", &[]), ("3", &[]), ("4", &[])]),
        "OData layout: 4 from 2024 R2 on, 3 before; auto finds out.",
    )
    .default("auto"),
    Definition::new(
        "auth_strategy",
        &[Server],
        Kind::Choice(&[
            ("Basic", &[]),
            ("Cookie", &[]),
            ("OAuth", &[]),
            ("OAuthPassword", &[]),
            ("OAuthImplicit", &[]),
        ]),
        "How to sign in: Basic by cookie to REST and by HTTP Basic to OData, Cookie by cookie to all, OAuth in a browser, \
         OAuthPassword by password for an access token, OAuthImplicit with an access token got elsewhere.",
    )
    .default("Basic"),
    Definition::new("scope", &[Server], Kind::Scope, "OAuth scopes; without offline_access queries stop after an hour.")
        .default("api offline_access"),
    Definition::new(
        "callback_url",
        &[Server],
        Kind::Callback,
        "Where the browser is sent after signing in; the redirect URI of the connected application.",
    )
    .default("http://localhost:8021/acumatica"),
    Definition::new(
        "max_sessions",
        &[Server],
        Kind::Integer(1..=1000),
        "Most API sessions that all backends together may have open; queries wait for one.",
    )
    .default("1"),
    Definition::new(
        "basic_sessions",
        &[Server],
        Kind::Integer(0..=1000),
        "Most sessions besides max_sessions for inquiries and data access classes with auth_strategy Basic, which Acumatica \
         counts as those of a person.",
    )
    .default("0"),
    Definition::new(
        "idle_logout",
        &[Server],
        Kind::Integer(1..=86_400),
        "Seconds without a request after which a session is signed out.",
    )
    .default("300"),
    Definition::new(
        "ca_file",
        &[Server],
        Kind::File(Trusted::Reader),
        "Certificates in PEM that are trusted besides those of the system.",
    ),
    Definition::new(
        "client_cert_file",
        &[Server],
        Kind::File(Trusted::Superuser),
        "Certificate in PEM to show to a site that asks for one.",
    ),
    Definition::new("client_key_file", &[Server], Kind::File(Trusted::Superuser), "Its private key in PEM."),
    Definition::new(
        "verify_certificate",
        &[Server],
        Kind::Boolean,
        "Whether the site's certificate must be valid; false only for this very machine, as through a tunnel.",
    )
    .default("true"),
    Definition::new("proxy", &[Server], Kind::Proxy, "HTTP proxy on the way to the site, such as http://proxy:3128."),
    Definition::new("page_size", &[Server, Table], Kind::Integer(1..=100_000), "Most rows in one request.")
        .default("10000"),
    Definition::new(
        "operation_timeout",
        &[Server],
        Kind::Integer(1..=3600),
        "Seconds for which the server may send nothing before a request fails, and for which failures that pass are waited for.",
    )
    .default("60"),
    Definition::new(
        "branch",
        &[Server, Table],
        Kind::Text,
        "Branch to work in; the setting acumatica_fdw.branch goes before it.",
    ),
    Definition::new(
        "locale",
        &[Server, Table],
        Kind::Text,
        "Culture of labels and messages, such as en-US; the setting acumatica_fdw.locale goes before it.",
    ),
    Definition::new(
        "business_date",
        &[Server, Table],
        Kind::Date,
        "Business date to work on; the setting acumatica_fdw.business_date goes before it.",
    ),
    Definition::new(
        "show_archived",
        &[Server, Table],
        Kind::Boolean,
        "Whether archived records are shown too; the setting acumatica_fdw.show_archived does the same for all tables.",
    )
    .default("false"),
    Definition::new(
        "show_deleted",
        &[Server, Table],
        Kind::Boolean,
        "Whether deleted records of data access classes are shown too; the setting acumatica_fdw.show_deleted does the \
         same for all tables.",
    )
    .default("false"),
    Definition::new(
        "unpad",
        &[Server, Table, Column],
        Kind::Boolean,
        "Whether the spaces are cut off that codes may be padded with. That of a column goes before that of the table, and \
         this before that of the server.",
    )
    .default("false"),
    Definition::new(
        "allow_http",
        &[Server],
        Kind::Boolean,
        "Allows http to other machines, which shows the password to the network.",
    )
    .default("false"),
    Definition::new(
        "extra_properties",
        &[Server],
        Kind::Properties,
        "More of these options as name=value;name=value.",
    ),
    Definition::new("username", &[UserMapping], Kind::Text, "Acumatica user.").alias(&["user"]),
    Definition::new("password", &[UserMapping], Kind::Text, "Password of the user.").secret(),
    Definition::new(
        "password_file",
        &[UserMapping],
        Kind::File(Trusted::Reader),
        "File that holds the password, instead of password.",
    ),
    Definition::new(
        "client_id",
        &[UserMapping],
        Kind::Text,
        "Client ID of the connected application (screen SM303010): GUID@Tenant.",
    ),
    Definition::new("client_secret", &[UserMapping], Kind::Text, "Its shared secret.").secret(),
    Definition::new(
        "client_secret_file",
        &[UserMapping],
        Kind::File(Trusted::Reader),
        "File that holds the shared secret, instead of client_secret.",
    ),
    Definition::new(
        "refresh_token",
        &[UserMapping],
        Kind::Text,
        "OAuth refresh token got elsewhere, to start with; its successors are kept outside of the mapping.",
    )
    .secret(),
    Definition::new("access_token", &[UserMapping], Kind::Text, "OAuth access token for auth_strategy OAuthImplicit.")
        .secret(),
    Definition::new("proxy_user", &[UserMapping], Kind::Text, "User name for the proxy."),
    Definition::new("proxy_password", &[UserMapping], Kind::Text, "Password for the proxy.").secret(),
    Definition::new(
        "entity",
        &[Table],
        Kind::Text,
        "Remote name of a business entity (schema REST) or of a data access class (schema DAC).",
    ),
    Definition::new(
        "inquiry",
        &[Table],
        Kind::Text,
        "Remote name of a generic inquiry (schema OData) or of an inquiry form (schema REST).",
    ),
    Definition::new(
        "function",
        &[Table],
        Kind::Text,
        "What is called to read a generic inquiry with parameters; unset, what the definitions of the instance say.",
    ),
    Definition::new(
        "singleton",
        &[Table],
        Kind::Boolean,
        "Whether the data access class is a setup class, which is one object and no list.",
    )
    .default("false"),
    Definition::new(
        "detail",
        &[Table],
        Kind::DetailPath,
        "Path of the detail whose rows the table has, such as Details; of an inquiry form, that of its results.",
    ),
    Definition::new(
        "filter",
        &[Table],
        Kind::Text,
        "Condition in the server's own language, such as Status eq 'Open', that all rows of the table meet.",
    ),
    Definition::new(
        "collation",
        &[Table],
        Kind::Text,
        "Collation of PostgreSQL in which the server orders texts: then ORDER BY of text in it is left to the server.",
    ),
    Definition::new(
        "rows",
        &[Table],
        Kind::Integer(0..=1_000_000_000_000),
        "How many rows the planner is to expect.",
    ),
    Definition::new(
        "field",
        &[Column],
        Kind::FieldPath,
        "Remote field, or path to one such as MainContact/Email; unset, the column's name.",
    ),
    Definition::new("key", &[Column], Kind::Integer(1..=32), "Position of the column in the key, from 1."),
    Definition::new(
        "custom",
        &[Column],
        Kind::CustomField,
        "Custom field with its view, such as Document.UsrPriority; instead of field.",
    ),
    Definition::new(
        "parameter",
        &[Column],
        Kind::Choice(&[("required", &[]), ("optional", &["true", "on"])]),
        "Makes the column a parameter of an inquiry, which takes its values from WHERE.",
    ),
    Definition::new(
        "pushdown",
        &[Column],
        Kind::Choice(&[("on", &["true"]), ("off", &["false"])]),
        "Whether conditions on the column may be left to the server.",
    )
    .default("on"),
    Definition::new(
        "case",
        &[Import],
        Kind::Choice(&[("snake", &[]), ("preserve", &[])]),
        "How tables and columns are named: order_nbr, or as the remote side names them.",
    )
    .default("snake"),
    Definition::new("prefix", &[Import], Kind::Text, "What the names of all tables begin with."),
    Definition::new(
        "linked",
        &[Import],
        Kind::Choice(&[("flatten", &[]), ("jsonb", &[]), ("skip", &[])]),
        "What becomes of linked entities: a column for each field, two levels deep, one jsonb column, or nothing.",
    )
    .default("flatten"),
    Definition::new(
        "details",
        &[Import],
        Kind::Choice(&[("skip", &[]), ("jsonb", &[])]),
        "Whether an entity has a jsonb column for each of its details too, which have tables of their own.",
    )
    .default("skip"),
    Definition::new(
        "custom_fields",
        &[Import],
        Kind::Choice(&[
            ("none", &["false", "off", "no", "0"]),
            ("customized", &["true", "on", "yes", "1"]),
            ("all", &[]),
        ]),
        "Which custom fields of entities get columns: those that customizations and users added, or all fields that a form \
         has beside its contract; one request for each entity.",
    )
    .default("none"),
    Definition::new(
        "unpad",
        &[Import],
        Kind::Boolean,
        "Whether tables get the option unpad; unset, those of OData do, where the server pads codes.",
    ),
    Definition::new(
        "days",
        &[Import],
        Kind::Choice(&[("auto", &[]), ("date", &[]), ("timestamptz", &[])]),
        "Which fields with a date and a time become date: those that hold days as far as is known, all but those that are \
         known to hold moments, or none.",
    )
    .default("auto"),
    Definition::new("import_keys", &[Import], Kind::Boolean, "Whether columns say their place in the key.")
        .default("true"),
    Definition::new(
        "import_not_null",
        &[Import],
        Kind::Boolean,
        "Whether ids and keys of entities and data access classes are NOT NULL.",
    )
    .default("true"),
    Definition::new("import_comments", &[Import], Kind::Boolean, "Whether titles become comments.").default("true"),
    Definition::new(
        "check_rights",
        &[Import],
        Kind::Boolean,
        "Whether one row of each generic inquiry is asked for, to leave out those that the user may not read.",
    )
    .default("true"),
];

const PASSWORD: &[&str] = &["Basic", "Cookie", "OAuthPassword"];
const APPLICATION: &[&str] = &["OAuth", "OAuthPassword"];
/// Which ways of signing in have a use for an option; all have for those that are not listed.
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

/// The options of one object, checked, by their proper names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, String>);

/// Secrets are left out.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_secret = |name: &str| OPTIONS.iter().any(|option| option.name == name && option.secret);
        f.debug_map().entries(self.0.iter().filter(|(name, _)| !is_secret(name))).finish()
    }
}

impl Options {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The option's value, else its default.
    pub fn get_or_default(&self, name: &str) -> &str {
        let default = || OPTIONS.iter().find(|option| option.name == name)?.default;
        self.get(name).or_else(default).unwrap_or_default()
    }

    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Checks the options of one object, as the catalog has them, and brings them to their proper
    /// form: aliases resolved, `extra_properties` taken apart.
    ///
    /// # Errors
    /// What is wrong with the first one that is.
    pub fn check(object: Object, given: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let options = Self::gather(object, given)?;
        options.check_together(object)?;
        Ok(options)
    }

    fn gather(object: Object, given: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in given {
            options.add(object, &name, value)?;
        }
        Ok(options)
    }

    fn check_together(&self, object: Object) -> Result<(), Refusal> {
        match object {
            Server => self.check_server(),
            Table => self.check_table(),
            UserMapping => self.check_mapping(),
            Column => self.check_column(),
            Import => Ok(()),
        }
    }

    fn add(&mut self, object: Object, name: &str, value: String) -> Result<(), Refusal> {
        let option = find(object, name)?;
        if let Kind::Properties = option.kind {
            for property in value.split(';').filter(|property| !property.trim().is_empty()) {
                let Some((name, value)) = property.split_once('=') else {
                    return Err(invalid(option, "", "It must read name=value;name=value."));
                };
                if name.trim() == option.name {
                    return Err(invalid(option, "", "It cannot hold itself."));
                }
                self.add(object, name.trim(), value.trim().to_owned())?;
            }
        }
        let value = option.normalise(value)?;
        if self.0.insert(option.name, value).is_some() {
            let refusal = Refusal::new(
                PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
                format!("option \"{}\" is given more than once", option.name),
            )
            .hint("Give it once.");
            return Err(match option.aliases {
                [] => refusal,
                aliases => {
                    refusal.detail(format!("\"{}\" is another name for it.", aliases.join("\" and \"")))
                }
            });
        }
        Ok(())
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
        // What goes to a proxy on another machine crosses the network, wherever it goes from there.
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

    /// Files are read with the rights of the operating system's user who runs PostgreSQL.
    fn check_trust(&self) -> Result<(), Refusal> {
        for option in OPTIONS.iter().filter(|option| self.0.contains_key(option.name)) {
            let Kind::File(trusted) = option.kind else { continue };
            // SAFETY: catalog look-ups about the current user.
            let (is_trusted, who) = unsafe {
                match trusted {
                    Trusted::Superuser => (pg_sys::superuser(), "superusers"),
                    Trusted::Reader => (
                        pg_sys::has_privs_of_role(pg_sys::GetUserId(), ROLE_PG_READ_SERVER_FILES),
                        "members of pg_read_server_files",
                    ),
                }
            };
            if !is_trusted {
                return Err(Refusal::new(
                    PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                    format!("permission denied to set option \"{}\"", option.name),
                )
                .detail("The file is read with the rights of the user that runs PostgreSQL.")
                .hint(format!("Only {who} can set it.")));
            }
        }
        Ok(())
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

    /// Options that a way of signing in cannot use.
    ///
    /// # Errors
    /// One is given; the hint says what it is for, and what the strategy takes.
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

    /// Options that the schema given beside them cannot use.
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

/// An option that a schema has no use for.
pub fn unfit(name: &str, schema: &str, schemas: &[&str]) -> Refusal {
    Refusal::new(
        PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
        format!("option \"{name}\" cannot be used with schema \"{schema}\""),
    )
    .hint(format!("It is for schema \"{}\".", schemas.join("\" and \"")))
}

/// The address of a server.
///
/// # Errors
/// What is wrong with it.
pub fn parse_url(text: &str) -> Result<InstanceUrl, Refusal> {
    InstanceUrl::parse(text).map_err(|error| {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
            format!("invalid value for option \"url\": {}", error.problem),
        )
        .hint(error.hint)
    })
}

impl Definition {
    /// The value in the form that the rest of the code relies on.
    fn normalise(&self, value: String) -> Result<String, Refusal> {
        if value.trim().is_empty() {
            return Err(invalid(self, &value, "It must not be empty."));
        }
        match &self.kind {
            Kind::Text | Kind::Properties => Ok(value),
            Kind::Url => parse_url(&value).map(|_| value),
            Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Ok("true".into()),
                "false" | "off" | "no" | "0" => Ok("false".into()),
                _ => Err(invalid(self, &value, "It must be true or false.")),
            },
            Kind::Integer(range) => match value.trim().parse::<u64>() {
                Ok(number) if range.contains(&number) => Ok(number.to_string()),
                _ => {
                    let form =
                        format!("It must be a whole number from {} to {}.", range.start(), range.end());
                    Err(invalid(self, &value, &form))
                }
            },
            Kind::Choice(choices) => {
                let matches = |name: &&str| name.eq_ignore_ascii_case(value.trim());
                let chosen =
                    choices.iter().find(|(name, aliases)| matches(name) || aliases.iter().any(matches));
                chosen.map(|(name, _)| (*name).to_owned()).ok_or_else(|| {
                    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                    invalid(self, &value, &format!("It must be one of {}.", names.join(", ")))
                })
            }
            Kind::Scope => check_scope(self, value),
            Kind::Callback => match Url::parse(value.trim()) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.fragment().is_none() => {
                    Ok(value.trim().to_owned())
                }
                _ => Err(invalid(
                    self,
                    &value,
                    "It must be an address such as http://localhost:8021/acumatica.",
                )),
            },
            Kind::Proxy => check_proxy(self, value),
            Kind::File(_) if !value.starts_with('/') => {
                Err(invalid(self, &value, "It must be the absolute path of a file on the database server."))
            }
            Kind::File(_) => Ok(value),
            Kind::FieldPath => {
                let fields =
                    value.strip_suffix('*').map_or(value.as_str(), |rest| rest.trim_end_matches('/'));
                if value == "*" || is_path(fields) {
                    Ok(value)
                } else {
                    Err(invalid(self, &value, "It must be a field, a path such as MainContact/Email, or *."))
                }
            }
            Kind::DetailPath if is_path(&value) => Ok(value),
            Kind::DetailPath => {
                Err(invalid(self, &value, "It must be a detail, or a path such as Details/Allocations."))
            }
            Kind::CustomField => match value.split_once('.') {
                Some((view, name)) if is_path(view) && is_path(name) && !value.contains('/') => Ok(value),
                _ => {
                    Err(invalid(self, &value, "It must be a view and a field, such as Document.UsrPriority."))
                }
            },
            Kind::Date => match is_date(&value) {
                true => Ok(value),
                false => Err(invalid(self, &value, "It must be a day such as 2024-12-31.")),
            },
        }
    }

    fn kind_name(&self) -> String {
        match &self.kind {
            Kind::Text => "text".into(),
            Kind::Boolean => "boolean".into(),
            Kind::Integer(range) => format!("integer {} to {}", range.start(), range.end()),
            Kind::Choice(choices) => choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "),
            Kind::Url => "address".into(),
            Kind::FieldPath => "field path".into(),
            Kind::DetailPath => "detail path".into(),
            Kind::CustomField => "View.Field".into(),
            Kind::Date => "date".into(),
            Kind::Scope => "scopes".into(),
            Kind::Callback => "address".into(),
            Kind::Proxy => "address".into(),
            Kind::File(Trusted::Superuser) => "file, set by superusers".into(),
            Kind::File(Trusted::Reader) => "file, set by members of pg_read_server_files".into(),
            Kind::Properties => "name=value;…".into(),
        }
    }
}

/// Names between slashes; none is empty, or begins or ends with a space.
fn is_path(value: &str) -> bool {
    value.split('/').all(|part| !part.is_empty() && part.trim() == part && !part.contains('*'))
}

/// Whether a text is a day as ISO 8601 writes it.
pub fn is_date(value: &str) -> bool {
    chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok_and(|day| day.to_string() == value)
}

/// Scopes that leave one session for all requests.
fn check_scope(option: &Definition, value: String) -> Result<String, Refusal> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if words.contains(&"api:concurrent_access") {
        return Err(invalid(
            option,
            &value,
            "Leave api:concurrent_access out: with it, each request would open an API session of its own, and a licence has few.",
        ));
    }
    if !words.contains(&"api") {
        return Err(invalid(
            option,
            &value,
            "It must contain api; with offline_access, access is renewed by itself.",
        ));
    }
    Ok(words.join(" "))
}

fn check_proxy(option: &Definition, value: String) -> Result<String, Refusal> {
    let text = value.trim();
    let assumed = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match Url::parse(&assumed) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
            "option \"proxy\" must not hold a user name or password",
        )
        .detail("Everyone can read the options of a server.")
        .hint("Set the options proxy_user and proxy_password of the user mapping.")),
        Ok(url) if url.scheme() == "http" && url.has_host() && url.path() == "/" => Ok(assumed),
        _ => Err(invalid(
            option,
            &value,
            "It must be the address of an HTTP proxy, such as http://proxy:3128.",
        )),
    }
}

/// `pg_read_server_files` (pg_authid.dat), which has had this oid since PostgreSQL 11.
const ROLE_PG_READ_SERVER_FILES: pg_sys::Oid = pg_sys::Oid::from_u32(4569);

fn invalid(option: &Definition, value: &str, form: &str) -> Refusal {
    let refusal = Refusal::new(
        PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
        format!("invalid value for option \"{}\"", option.name),
    )
    .hint(form);
    if option.secret || value.is_empty() {
        refusal
    } else {
        refusal.detail(format!("The value is \"{value}\"."))
    }
}

/// The option by that name on that object.
fn find(object: Object, name: &str) -> Result<&'static Definition, Refusal> {
    let here = || OPTIONS.iter().filter(move |option| option.objects.contains(&object));
    if let Some(option) = here().find(|option| option.is_called(name)) {
        return Ok(option);
    }
    let code = PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME;
    if let Some(option) = OPTIONS.iter().find(|option| option.is_called(name)) {
        let homes: Vec<&str> = option.objects.iter().map(|object| object.name()).collect();
        let refusal = Refusal::new(code, format!("option \"{name}\" cannot be given to a {}", object.name()))
            .detail(format!("It belongs to the {}.", homes.join(" or the ")));
        return Err(match (object, option.objects) {
            (Server, [UserMapping]) => refusal.hint(format!("Use CREATE USER MAPPING … OPTIONS ({name} …).")),
            _ => refusal,
        });
    }
    let names =
        || here().flat_map(|option| std::iter::once(option.name).chain(option.aliases.iter().copied()));
    // A third of the letters may be wrong, which catches slips and not guesses.
    let close = names()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min();
    let refusal = Refusal::new(code, format!("invalid option \"{name}\" for a {}", object.name()));
    Err(match close {
        Some((_, candidate)) => refusal.hint(format!("Perhaps you meant the option \"{candidate}\".")),
        None => refusal.hint(format!("Valid options are: {}.", names().collect::<Vec<_>>().join(", "))),
    })
}

/// The options of a catalog object as names and values.
///
/// # Safety
/// `list` is a list of `DefElem`, as the foreign catalog functions return it.
pub unsafe fn option_list(list: *mut pg_sys::List) -> Vec<(String, String)> {
    // SAFETY: as the caller says; `defGetString` returns palloc'd memory or raises.
    unsafe {
        let list = pgrx::PgList::<pg_sys::DefElem>::from_pg(list);
        list.iter_ptr()
            .map(|element| (from_server((*element).defname), from_server(pg_sys::defGetString(element))))
            .collect()
    }
}

/// Called by PostgreSQL with all options of an object, as `text[]`, and the catalog that is to hold
/// them, whenever they change.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_validator(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the function is declared STRICT with arguments (text[], oid).
    let (given, catalog) = unsafe {
        let arguments = (*call).args.as_slice(2);
        let options = pg_sys::untransformRelOptions(arguments[0].value);
        (option_list(options), pg_sys::Oid::from_datum(arguments[1].value, false))
    };
    let object = match catalog {
        Some(pg_sys::ForeignServerRelationId) => Some(Server),
        Some(pg_sys::UserMappingRelationId) => Some(UserMapping),
        Some(pg_sys::ForeignTableRelationId) => Some(Table),
        Some(pg_sys::AttributeRelationId) => Some(Column),
        _ => None,
    };
    let checked = match (object, given.first()) {
        (Some(object), _) => Options::gather(object, given).and_then(|options| {
            options.check_trust()?;
            options.check_together(object)
        }),
        (None, None) => Ok(()),
        (None, Some((name, _))) => Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
            format!("invalid option \"{name}\" for the foreign data wrapper"),
        )
        .hint(
            "It has no options. Give them to the server, the user mapping, the foreign table or the column.",
        )),
    };
    or_raise(checked);
    pg_sys::Datum::from(0)
}

/// Tells PostgreSQL how the validator is to be called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_validator() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}

/// Lists the options: name, other names, where they belong, type, default, secrecy, purpose.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_options() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(aliases, Vec<String>),
        name!(objects, Vec<String>),
        name!(r#type, String),
        name!(default_value, Option<String>),
        name!(secret, bool),
        name!(purpose, String),
    ),
> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    TableIterator::new(OPTIONS.iter().map(move |option| {
        let objects: Vec<&str> = option.objects.iter().map(|object| object.name()).collect();
        (
            option.name.to_owned(),
            owned(option.aliases),
            owned(&objects),
            option.kind_name(),
            option.default.map(str::to_owned),
            option.secret,
            option.purpose.to_owned(),
        )
    }))
}
