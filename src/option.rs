//! Every option there is: one table that the validator, the hints, `acumatica_options()` and the
//! reference page in `docs/` all come from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use acumatica_client::InstanceUrl;
use pgrx::prelude::*;

use crate::encoding::from_server;
use crate::error::{Refusal, or_raise};

/// What an option may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    Server,
    UserMapping,
    Table,
    Column,
}

impl Object {
    fn name(self) -> &'static str {
        match self {
            Object::Server => "server",
            Object::UserMapping => "user mapping",
            Object::Table => "foreign table",
            Object::Column => "column",
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
    /// A remote field, or a path to one: `MainContact/Email`.
    FieldPath,
    /// `name=value;…` of the other options of the same object.
    Properties,
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

use Object::{Column, Server, Table, UserMapping};

static OPTIONS: [Definition; 20] = [
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
    Definition::new("endpoint_name", &[Server, Table], Kind::Text, "Contract endpoint of REST tables.")
        .default("Default"),
    Definition::new(
        "endpoint_version",
        &[Server, Table],
        Kind::Text,
        "Version of the contract endpoint; unset, the newest that the instance lists.",
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
        Kind::Choice(&[("Basic", &[]), ("Cookie", &[])]),
        "Basic signs in to REST by cookie and to OData by HTTP Basic; Cookie signs in to all by cookie.",
    )
    .default("Basic"),
    Definition::new("page_size", &[Server, Table], Kind::Integer(1..=100_000), "Most rows in one request.")
        .default("10000"),
    Definition::new(
        "operation_timeout",
        &[Server],
        Kind::Integer(1..=3600),
        "Seconds for which the server may send nothing before a request fails, and for which failures that pass are waited for.",
    )
    .default("60"),
    Definition::new("branch", &[Server], Kind::Text, "Branch to work in."),
    Definition::new("locale", &[Server], Kind::Text, "Culture of labels and messages, such as en-US."),
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
        "entity",
        &[Table],
        Kind::Text,
        "Remote name of a business entity (schema REST) or of a data access class (schema DAC).",
    ),
    Definition::new("inquiry", &[Table], Kind::Text, "Remote name of a generic inquiry (schema OData)."),
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
];

/// The options of one object, checked, by their proper names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, String>);

impl Options {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The option's value, else its default.
    pub fn get_or_default(&self, name: &str) -> &str {
        let default = || OPTIONS.iter().find(|option| option.name == name)?.default;
        self.get(name).or_else(default).unwrap_or_default()
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
        let mut options = Self::default();
        for (name, value) in given {
            options.add(object, &name, value)?;
        }
        match object {
            Server => options.check_server()?,
            Table => options.check_table()?,
            UserMapping | Column => {}
        }
        Ok(options)
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
        if instance.is_plain_http_abroad() && self.get_or_default("allow_http") != "true" {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                "option \"url\" must use https",
            )
            .detail("With http, the password crosses the network for everyone to read.")
            .hint("Use https, or add allow_http 'true' if the network is trusted."));
        }
        self.check_surface()
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
            .hint("Use entity for a business entity or data access class, inquiry for a generic inquiry.")),
            _ => Ok(()),
        }
    }

    /// Options that the schema given beside them cannot use.
    fn check_surface(&self) -> Result<(), Refusal> {
        const FITS: [(&str, &[&str]); 5] = [
            ("endpoint_name", &[SCHEMA_REST]),
            ("endpoint_version", &[SCHEMA_REST]),
            ("odata_version", &[SCHEMA_ODATA, SCHEMA_DAC]),
            ("inquiry", &[SCHEMA_ODATA]),
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
            Kind::FieldPath => {
                let sound =
                    value.split('/').all(|part| !part.is_empty() && part.trim() == part && part != "*");
                if sound {
                    Ok(value)
                } else {
                    Err(invalid(self, &value, "It must be a field or a path such as MainContact/Email."))
                }
            }
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
            Kind::Properties => "name=value;…".into(),
        }
    }
}

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
        (Some(object), _) => Options::check(object, given).map(drop),
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
