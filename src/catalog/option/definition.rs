//! The definition of an option: its name, the objects that take it, and the type that its value is checked against.

use std::ops::RangeInclusive;

use acumatica_client::InstanceUrl;
use pgrx::prelude::*;
use url::Url;

use crate::backend::error::Refusal;

/// An object that takes options.
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Object::Server => "server",
            Object::UserMapping => "user mapping",
            Object::Table => "foreign table",
            Object::Column => "column",
            Object::Import => "schema import",
        }
    }
}

/// The type of an option's value.
#[derive(Debug)]
pub(super) enum ValueType {
    Text,
    Boolean,
    Integer(RangeInclusive<u64>),
    /// A cost in units of PostgreSQL's planner, such as 0.1.
    Cost,
    /// One of these values, each with its aliases. Case is ignored.
    Choice(&'static [(&'static str, &'static [&'static str])]),
    /// The address of an Acumatica site.
    Url,
    /// A remote field, or a path to one: `MainContact/Email`; `*` is the whole record.
    FieldPath,
    /// The path to a detail: `Details`.
    DetailPath,
    /// A custom field with its view: `Document.UsrPriority`.
    CustomField,
    /// A date: `2024-12-31`.
    Date,
    /// OAuth scopes, separated by spaces.
    Scope,
    /// The OAuth redirect URI.
    Callback,
    /// The address of an HTTP proxy.
    Proxy,
    /// The absolute path of a file on the database server, and who may set it.
    File(Trusted),
    /// `name=value;…`: other options of the same object.
    Properties,
}

/// Who may set an option that names a file on the database server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trusted {
    Superuser,
    /// Members of `pg_read_server_files`.
    Reader,
}

/// One option.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) objects: &'static [Object],
    pub(super) kind: ValueType,
    pub(super) default: Option<&'static str>,
    pub(super) secret: bool,
    /// One sentence for `acumatica_options()` and docs/options.md.
    pub(super) purpose: &'static str,
}

impl Definition {
    pub(super) const fn new(
        name: &'static str,
        objects: &'static [Object],
        kind: ValueType,
        purpose: &'static str,
    ) -> Self {
        Self { name, aliases: &[], objects, kind, default: None, secret: false, purpose }
    }

    pub(super) const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Checks a value and returns its normal form: `true` for `yes`, the main name for an alias, and so on.
    pub(super) fn normalise(&self, value: String) -> Result<String, Refusal> {
        if value.trim().is_empty() {
            return Err(invalid(self, &value, "It must not be empty."));
        }
        match &self.kind {
            ValueType::Text | ValueType::Properties => Ok(value),
            ValueType::Url => parse_url(&value).map(|_| value),
            ValueType::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Ok("true".into()),
                "false" | "off" | "no" | "0" => Ok("false".into()),
                _ => Err(invalid(self, &value, "It must be true or false.")),
            },
            ValueType::Integer(range) => match value.trim().parse::<u64>() {
                Ok(number) if range.contains(&number) => Ok(number.to_string()),
                _ => {
                    let form =
                        format!("It must be a whole number from {} to {}.", range.start(), range.end());
                    Err(invalid(self, &value, &form))
                }
            },
            ValueType::Choice(choices) => {
                let matches = |name: &&str| name.eq_ignore_ascii_case(value.trim());
                let chosen =
                    choices.iter().find(|(name, aliases)| matches(name) || aliases.iter().any(matches));
                chosen.map(|(name, _)| (*name).to_owned()).ok_or_else(|| {
                    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                    invalid(self, &value, &format!("It must be one of {}.", names.join(", ")))
                })
            }
            ValueType::Cost => match value.trim().parse::<f64>() {
                Ok(number) if (0.0..=1e9).contains(&number) => Ok(number.abs().to_string()),
                _ => Err(invalid(
                    self,
                    &value,
                    "It must be a number from 0 to 1000000000, such as 100 or 0.1.",
                )),
            },
            ValueType::Scope => check_scope(self, value),
            ValueType::Callback => match Url::parse(value.trim()) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.fragment().is_none() => {
                    Ok(value.trim().to_owned())
                }
                _ => Err(invalid(
                    self,
                    &value,
                    "It must be an address such as http://localhost:8021/acumatica.",
                )),
            },
            ValueType::Proxy => check_proxy(self, value),
            ValueType::File(_) if !value.starts_with('/') => {
                Err(invalid(self, &value, "It must be the absolute path of a file on the database server."))
            }
            ValueType::File(_) => Ok(value),
            ValueType::FieldPath => {
                let fields =
                    value.strip_suffix('*').map_or(value.as_str(), |rest| rest.trim_end_matches('/'));
                if value == "*" || is_path(fields) {
                    Ok(value)
                } else {
                    Err(invalid(self, &value, "It must be a field, a path such as MainContact/Email, or *."))
                }
            }
            ValueType::DetailPath if is_path(&value) => Ok(value),
            ValueType::DetailPath => {
                Err(invalid(self, &value, "It must be a detail, or a path such as Details/Allocations."))
            }
            ValueType::CustomField => match value.split_once('.') {
                Some((view, name)) if is_path(view) && is_path(name) && !value.contains('/') => Ok(value),
                _ => {
                    Err(invalid(self, &value, "It must be a view and a field, such as Document.UsrPriority."))
                }
            },
            ValueType::Date => match is_date(&value) {
                true => Ok(value),
                false => Err(invalid(self, &value, "It must be a day such as 2024-12-31.")),
            },
        }
    }

    pub(super) fn kind_name(&self) -> String {
        match &self.kind {
            ValueType::Text => "text".into(),
            ValueType::Boolean => "boolean".into(),
            ValueType::Integer(range) => format!("integer {} to {}", range.start(), range.end()),
            ValueType::Cost => "number 0 to 1000000000".into(),
            ValueType::Choice(choices) => {
                choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | ")
            }
            ValueType::Url => "address".into(),
            ValueType::FieldPath => "field path".into(),
            ValueType::DetailPath => "detail path".into(),
            ValueType::CustomField => "View.Field".into(),
            ValueType::Date => "date".into(),
            ValueType::Scope => "scopes".into(),
            ValueType::Callback => "address".into(),
            ValueType::Proxy => "address".into(),
            ValueType::File(Trusted::Superuser) => "file, set by superusers".into(),
            ValueType::File(Trusted::Reader) => "file, set by members of pg_read_server_files".into(),
            ValueType::Properties => "name=value;…".into(),
        }
    }
}

/// Parses the option `url`.
///
/// # Errors
/// It is not the address of a site.
pub fn parse_url(text: &str) -> Result<InstanceUrl, Refusal> {
    InstanceUrl::parse(text).map_err(|error| {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
            format!("invalid value for option \"url\": {}", error.problem),
        )
        .hint(error.hint)
    })
}

/// Whether a value is a list of names between slashes, none of them empty or with spaces around it.
fn is_path(value: &str) -> bool {
    value.split('/').all(|part| !part.is_empty() && part.trim() == part && !part.contains('*'))
}

/// Whether a text is a date in ISO 8601 format.
pub fn is_date(value: &str) -> bool {
    chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok_and(|day| day.to_string() == value)
}

/// Checks OAuth scopes and separates them by one space. `api:concurrent_access` is refused: each request would open a session.
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

/// The error for a value that is not valid. The value of a secret option is not shown.
pub(super) fn invalid(option: &Definition, value: &str, form: &str) -> Refusal {
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
