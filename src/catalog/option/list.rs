//! The table of all options. The validator, the hints, `acumatica_options()` and `docs/options.md` are made of it.

use pgrx::prelude::*;

use super::definition::Object::{self, Column, Import, Server, Table, UserMapping};
use super::definition::{Definition, Trusted, ValueType};
use crate::backend::error::Refusal;

pub const SCHEMA_REST: &str = "REST";
pub const SCHEMA_ODATA: &str = "OData";
pub const SCHEMA_DAC: &str = "DAC";

pub(super) static OPTIONS: [Definition; 66] = [
    Definition::new(
        "url",
        &[Server],
        ValueType::Url,
        "Address of the Acumatica site, such as https://host/Site; required.",
    ),
    Definition::new("company", &[Server], ValueType::Text, "Login name of the tenant; required for OData.")
        .alias(&["tenant"]),
    Definition::new(
        "schema",
        &[Server, Table],
        ValueType::Choice(&[(SCHEMA_REST, &[]), (SCHEMA_ODATA, &[]), (SCHEMA_DAC, &["ODataV4"])]),
        "Interface that tables are read through: REST (entities), OData (generic inquiries) or DAC.",
    )
    .default(SCHEMA_REST),
    Definition::new("endpoint_name", &[Server, Table, Import], ValueType::Text, "Contract endpoint of REST tables.")
        .default("Default"),
    Definition::new(
        "endpoint_version",
        &[Server, Table, Import],
        ValueType::Text,
        "Version of the contract endpoint; unset, the newest that the instance lists.",
    ),
    Definition::new(
        "contract",
        &[Server, Table],
        ValueType::Choice(&[("4", &[]), ("5", &[])]),
        "Contract version of the endpoint; unset, 5 from endpoint version 26 on, 4 before.",
    ),
    Definition::new(
        "odata_version",
        &[Server],
        ValueType::Choice(&[("auto", &[]), ("3", &[]), ("4", &[])]),
        "OData layout: 4 from 2024 R2 on, 3 before; auto detects it.",
    )
    .default("auto"),
    Definition::new(
        "auth_strategy",
        &[Server],
        ValueType::Choice(&[
            ("Basic", &[]),
            ("Cookie", &[]),
            ("OAuth", &[]),
            ("OAuthPassword", &[]),
            ("OAuthImplicit", &[]),
        ]),
        "How to sign in: Basic by cookie to REST and by HTTP Basic to OData, Cookie by cookie to both, OAuth in a \
         browser, OAuthPassword with a password for an access token, OAuthImplicit with an access token from another \
         program.",
    )
    .default("Basic"),
    Definition::new("scope", &[Server], ValueType::Scope, "OAuth scopes; without offline_access an authorization ends after an hour.")
        .default("api offline_access"),
    Definition::new(
        "callback_url",
        &[Server],
        ValueType::Callback,
        "Redirect URI of the connected application, to which the browser goes after signing in.",
    )
    .default("http://localhost:8021/acumatica"),
    Definition::new(
        "max_sessions",
        &[Server],
        ValueType::Integer(1..=1000),
        "Maximum number of API sessions of all backends together; queries wait for a free one.",
    )
    .default("1"),
    Definition::new(
        "basic_sessions",
        &[Server],
        ValueType::Integer(0..=1000),
        "Maximum number of sessions in addition to max_sessions for inquiries and data access classes with \
         auth_strategy Basic, which Acumatica counts as those of a person.",
    )
    .default("0"),
    Definition::new(
        "idle_logout",
        &[Server],
        ValueType::Integer(1..=86_400),
        "Seconds without a request after which a session is signed out.",
    )
    .default("300"),
    Definition::new(
        "ca_file",
        &[Server],
        ValueType::File(Trusted::Reader),
        "Certificates in PEM that are trusted in addition to those of the system.",
    ),
    Definition::new(
        "client_cert_file",
        &[Server],
        ValueType::File(Trusted::Superuser),
        "Client certificate in PEM, for a site that requires one.",
    ),
    Definition::new("client_key_file", &[Server], ValueType::File(Trusted::Superuser), "Private key of the client certificate in PEM."),
    Definition::new(
        "verify_certificate",
        &[Server],
        ValueType::Boolean,
        "Whether the site's certificate must be valid; false only for a site on the database server itself, such as \
         the end of a tunnel.",
    )
    .default("true"),
    Definition::new("proxy", &[Server], ValueType::Proxy, "HTTP proxy on the way to the site, such as http://proxy:3128."),
    Definition::new("page_size", &[Server, Table], ValueType::Integer(1..=100_000), "Maximum number of rows in one request.")
        .default("10000"),
    Definition::new(
        "operation_timeout",
        &[Server],
        ValueType::Integer(1..=3600),
        "Seconds after which a request fails if the server sends nothing, and for which transient failures are \
         retried.",
    )
    .default("60"),
    Definition::new(
        "branch",
        &[Server, Table],
        ValueType::Text,
        "Branch to work in; the setting acumatica_fdw.branch overrides it.",
    ),
    Definition::new(
        "locale",
        &[Server, Table],
        ValueType::Text,
        "Culture of labels and messages, such as en-US; the setting acumatica_fdw.locale overrides it.",
    ),
    Definition::new(
        "business_date",
        &[Server, Table],
        ValueType::Date,
        "Business date to work on; the setting acumatica_fdw.business_date overrides it.",
    ),
    Definition::new(
        "show_archived",
        &[Server, Table],
        ValueType::Boolean,
        "Whether archived records are shown too; the setting acumatica_fdw.show_archived does the same for all tables.",
    )
    .default("false"),
    Definition::new(
        "show_deleted",
        &[Server, Table],
        ValueType::Boolean,
        "Whether deleted records of data access classes are shown too; the setting acumatica_fdw.show_deleted does the \
         same for all tables.",
    )
    .default("false"),
    Definition::new(
        "unpad",
        &[Server, Table, Column],
        ValueType::Boolean,
        "Whether to remove the spaces that codes are padded with. The option of a column overrides that of the \
         table, which overrides that of the server.",
    )
    .default("false"),
    Definition::new(
        "allow_http",
        &[Server],
        ValueType::Boolean,
        "Allows http to other machines: passwords then cross the network unencrypted.",
    )
    .default("false"),
    Definition::new(
        "extra_properties",
        &[Server],
        ValueType::Properties,
        "Other options of the server as name=value;name=value.",
    ),
    Definition::new("username", &[UserMapping], ValueType::Text, "Acumatica user.").alias(&["user"]),
    Definition::new("password", &[UserMapping], ValueType::Text, "Password of the user.").secret(),
    Definition::new(
        "password_file",
        &[UserMapping],
        ValueType::File(Trusted::Reader),
        "File that holds the password, instead of password.",
    ),
    Definition::new(
        "client_id",
        &[UserMapping],
        ValueType::Text,
        "Client ID of the connected application (screen SM303010): GUID@Tenant.",
    ),
    Definition::new("client_secret", &[UserMapping], ValueType::Text, "Shared secret of the connected application.").secret(),
    Definition::new(
        "client_secret_file",
        &[UserMapping],
        ValueType::File(Trusted::Reader),
        "File that holds the shared secret, instead of client_secret.",
    ),
    Definition::new(
        "refresh_token",
        &[UserMapping],
        ValueType::Text,
        "First OAuth refresh token, from another program; its successors are stored outside of the mapping.",
    )
    .secret(),
    Definition::new("access_token", &[UserMapping], ValueType::Text, "OAuth access token for auth_strategy OAuthImplicit.")
        .secret(),
    Definition::new("proxy_user", &[UserMapping], ValueType::Text, "User name for the proxy."),
    Definition::new("proxy_password", &[UserMapping], ValueType::Text, "Password for the proxy.").secret(),
    Definition::new(
        "entity",
        &[Table],
        ValueType::Text,
        "Remote name of a business entity (schema REST) or of a data access class (schema DAC).",
    ),
    Definition::new(
        "inquiry",
        &[Table],
        ValueType::Text,
        "Remote name of a generic inquiry (schema OData) or of an inquiry form (schema REST).",
    ),
    Definition::new(
        "function",
        &[Table],
        ValueType::Text,
        "Function that is called to read a generic inquiry with parameters; unset, the one in the instance's \
         definitions.",
    ),
    Definition::new(
        "singleton",
        &[Table],
        ValueType::Boolean,
        "Whether the data access class is a setup class, that is one object and no list.",
    )
    .default("false"),
    Definition::new(
        "detail",
        &[Table],
        ValueType::DetailPath,
        "Path of the detail that the table reads, such as Details; for an inquiry form, that of its results.",
    ),
    Definition::new(
        "filter",
        &[Table],
        ValueType::Text,
        "Condition in the server's own syntax, such as Status eq 'Open', that restricts the rows of the table.",
    ),
    Definition::new(
        "collation",
        &[Table],
        ValueType::Text,
        "PostgreSQL collation that the server sorts text by; ORDER BY in this collation is then sent.",
    ),
    Definition::new(
        "rows",
        &[Table],
        ValueType::Integer(0..=1_000_000_000_000),
        "Number of rows that the planner assumes.",
    ),
    Definition::new(
        "fdw_startup_cost",
        &[Server, Table],
        ValueType::Cost,
        "Cost of a request without its rows, in the planner's units; unset, as measured, and 100 until then.",
    ),
    Definition::new(
        "fdw_tuple_cost",
        &[Server, Table],
        ValueType::Cost,
        "Cost of a row in addition to cpu_tuple_cost, in the planner's units; unset, as measured, and 0.1 until then.",
    ),
    Definition::new(
        "use_remote_estimate",
        &[Server, Table],
        ValueType::Boolean,
        "Whether the planner asks the server for the number of rows; of data access classes only, since others have no \
         $count.",
    )
    .default("false"),
    Definition::new(
        "field",
        &[Column],
        ValueType::FieldPath,
        "Remote field, or path to one such as MainContact/Email; unset, the column's name.",
    ),
    Definition::new("key", &[Column], ValueType::Integer(1..=32), "Position of the column in the key, from 1."),
    Definition::new(
        "custom",
        &[Column],
        ValueType::CustomField,
        "Custom field with its view, such as Document.UsrPriority; instead of field.",
    ),
    Definition::new(
        "parameter",
        &[Column],
        ValueType::Choice(&[("required", &[]), ("optional", &["true", "on"])]),
        "Makes the column a parameter of an inquiry, which takes its values from WHERE.",
    ),
    Definition::new(
        "pushdown",
        &[Column],
        ValueType::Choice(&[("on", &["true"]), ("off", &["false"])]),
        "Whether conditions on the column may be sent to the server.",
    )
    .default("on"),
    Definition::new(
        "case",
        &[Import],
        ValueType::Choice(&[("snake", &[]), ("preserve", &[])]),
        "How tables and columns are named: order_nbr, or by their remote names.",
    )
    .default("snake"),
    Definition::new("prefix", &[Import], ValueType::Text, "Prefix of the names of all tables."),
    Definition::new(
        "linked",
        &[Import],
        ValueType::Choice(&[("flatten", &[]), ("jsonb", &[]), ("skip", &[])]),
        "How linked entities are imported: a column for each field, two levels deep, one jsonb column, or not at all.",
    )
    .default("flatten"),
    Definition::new(
        "details",
        &[Import],
        ValueType::Choice(&[("skip", &[]), ("jsonb", &[])]),
        "Whether an entity has a jsonb column for each detail, in addition to the detail's own table.",
    )
    .default("skip"),
    Definition::new(
        "custom_fields",
        &[Import],
        ValueType::Choice(&[
            ("none", &["false", "off", "no", "0"]),
            ("customized", &["true", "on", "yes", "1"]),
            ("all", &[]),
        ]),
        "Which custom fields of entities become columns: those that customizations and users added, or all fields of \
         the form that the contract lacks; needs one request for each entity.",
    )
    .default("none"),
    Definition::new(
        "unpad",
        &[Import],
        ValueType::Boolean,
        "Whether tables get the option unpad; unset, those of OData get it, because OData pads codes.",
    ),
    Definition::new(
        "days",
        &[Import],
        ValueType::Choice(&[("auto", &[]), ("date", &[]), ("timestamptz", &[])]),
        "Which fields with a date and a time become date: those known to hold days, all but those known to hold \
         moments, or none.",
    )
    .default("auto"),
    Definition::new("import_keys", &[Import], ValueType::Boolean, "Whether key columns get the option key.")
        .default("true"),
    Definition::new(
        "import_not_null",
        &[Import],
        ValueType::Boolean,
        "Whether ids and keys of entities and data access classes are NOT NULL.",
    )
    .default("true"),
    Definition::new("import_comments", &[Import], ValueType::Boolean, "Whether titles become comments.").default("true"),
    Definition::new(
        "check_rights",
        &[Import],
        ValueType::Boolean,
        "Whether to request one row of each generic inquiry, to leave out those that the user may not read.",
    )
    .default("true"),
    Definition::new(
        "import_statistics",
        &[Import],
        ValueType::Boolean,
        "Whether to count the rows of each table for the planner: one request for a data access class, about 2 log2(n) small \
         ones for an entity or an inquiry of n rows, none for others.",
    )
    .default("false"),
];

/// The option of an object by its name or an alias.
///
/// # Errors
/// The object has no such option. The hint suggests a similar name, or lists all.
pub(super) fn find(object: Object, name: &str) -> Result<&'static Definition, Refusal> {
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
    // Suggest a name if at most a third of its letters differ: a typing error, not another word.
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
