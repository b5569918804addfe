//! The SQL functions for discovery: what an instance offers, and what has changed since the import.

use std::collections::HashSet;

use acumatica_client::Surface;
use acumatica_client::catalog::Model;
use acumatica_schema::{Change, ChangeKind, Existing, ExistingColumn, NameCase, Settings, diff, never_seen};
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::backend::compat;
use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::{Refusal, notice, or_raise};
use crate::catalog::names::quoted;
use crate::catalog::option::{Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST};
use crate::catalog::server::Server;
use crate::catalog::table::ForeignTable;
use crate::commands::admin::{is_ours, server};
use crate::commands::import::{Source, notice_refused};

fn source(name: &str, schema: &str) -> Source {
    or_raise(Source::open(server(name), schema, &Options::default()))
}

/// `acumatica_endpoints()`: the contract endpoints of a server.
#[pg_extern(sql = false)]
fn acumatica_endpoints(
    name: &str,
) -> TableIterator<'static, (name!(endpoint, String), name!(version, String))> {
    let endpoints = or_raise(source(name, SCHEMA_REST).ask(|engine, client| engine.endpoints(client)));
    TableIterator::new(endpoints.into_iter().map(|endpoint| (endpoint.name, endpoint.version)))
}

/// The entity sets of a surface. Faults in the metadata become notices.
fn model(name: &str, schema: &str, surface: Surface) -> Model {
    let model = or_raise(source(name, schema).ask(|engine, client| engine.model(client, surface)));
    model.faults.iter().for_each(|fault| notice(fault.clone(), String::new()));
    model
}

/// `acumatica_inquiries()`: the generic inquiries of a server.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_inquiries(
    name: &str,
) -> TableIterator<
    'static,
    (
        name!(inquiry, String),
        name!(title, Option<String>),
        name!(parameters, Vec<String>),
        name!(key, Vec<String>),
        name!(fields, i32),
    ),
> {
    let sets = model(name, SCHEMA_ODATA, Surface::GenericInquiry).sets;
    TableIterator::new(sets.into_iter().map(|set| {
        let parameters = set.parameters.into_iter().map(|parameter| parameter.name).collect();
        (set.name, set.title, parameters, set.key, i32::try_from(set.properties.len()).unwrap_or(i32::MAX))
    }))
}

/// `acumatica_relations()`: the navigation properties between the data access classes of a server.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_relations(
    name: &str,
) -> TableIterator<
    'static,
    (
        name!(entity, String),
        name!(relation, String),
        name!(target, String),
        name!(many, bool),
        name!(fields, Vec<String>),
        name!(target_fields, Vec<String>),
    ),
> {
    let sets = model(name, SCHEMA_DAC, Surface::Dac).sets;
    TableIterator::new(sets.into_iter().flat_map(|set| {
        let entity = set.name;
        set.relations.into_iter().map(move |relation| {
            let (fields, target_fields) = relation.columns.into_iter().unzip();
            (entity.clone(), relation.name, relation.target, relation.many, fields, target_fields)
        })
    }))
}

/// The maximum size of a value in bytes: less than 1 GB, to leave room for its header.
const MOST_BYTES: i64 = 1024 * 1024 * 1024 - 16;

/// `acumatica_file()`: the content of an attachment.
#[pg_extern(sql = false)]
fn acumatica_file(name: &str, href: String, max_bytes: i64) -> Vec<u8> {
    let Some(limit) = Some(max_bytes).filter(|bytes| (1..=MOST_BYTES).contains(bytes)) else {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("max_bytes must be from 1 to {MOST_BYTES}"),
        )
        .hint("A value of PostgreSQL has at most 1 GB.")
        .raise()
    };
    or_raise(source(name, SCHEMA_REST).ask(|engine, client| engine.file(client, href, limit as usize)))
}

/// The tables of a local schema that are compared with the same remote definitions.
struct Group {
    server: Server,
    schema: String,
    endpoint_name: String,
    endpoint_version: Option<String>,
    tables: Vec<Existing>,
    not_null: bool,
}

/// `acumatica_diff()`: the changes since the tables of a schema were imported, as statements to review.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_diff(
    foreign_schema: &str,
    endpoint_version: Option<&str>,
) -> TableIterator<'static, (name!(foreign_table, String), name!(change, String), name!(statement, String))> {
    let mut changes = Vec::new();
    let groups = groups(foreign_schema);
    let is_rest = |group: &&Group| group.schema == SCHEMA_REST;
    // A version belongs to one endpoint.
    let names: HashSet<String> =
        groups.iter().filter(is_rest).map(|group| group.endpoint_name.to_lowercase()).collect();
    if let (Some(version), 2..) = (endpoint_version, names.len()) {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the tables of schema \"{foreign_schema}\" are of several endpoints, which have no version {version} in common"),
        )
        .hint("Keep the tables of each endpoint in a schema of their own, or leave the version out.")
        .raise();
    }
    for group in groups {
        changes.extend(changes_of(group, foreign_schema, endpoint_version));
    }
    TableIterator::new(changes.into_iter().map(|change| (change.table, change.change, change.statement)))
}

/// The foreign tables of a schema, grouped by server, remote schema and endpoint.
fn groups(foreign_schema: &str) -> Vec<Group> {
    // SAFETY: to_server returns a C string, which lives during the call; raises if there is no such schema.
    let namespace = unsafe { pg_sys::get_namespace_oid(to_server(foreign_schema).as_ptr(), false) };
    let mut groups: Vec<Group> = Vec::new();
    for oid in foreign_tables(namespace) {
        // SAFETY: with_lock raises if the table was dropped since it was read from the catalog. The lock, like that of any
        // reader, is held until the transaction ends.
        let relation = unsafe { PgRelation::with_lock(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE) };
        let table = ForeignTable::of(&relation);
        // SAFETY: the open table depends on its server, so the server exists.
        unsafe { compat::check_server_usage(table.server.oid, pg_sys::GetUserId()) };
        let schema = table.schema().to_owned();
        let (name, version) = match schema.as_str() {
            SCHEMA_REST => (table.target.endpoint_name.clone(), table.target.endpoint_version.clone()),
            _ => (String::new(), None),
        };
        let (existing, not_null) = existing(&relation, &table, foreign_schema);
        let same = |group: &&mut Group| {
            group.server.oid == table.server.oid
                && group.schema == schema
                && group.endpoint_name.eq_ignore_ascii_case(&name)
                && group.endpoint_version == version
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.tables.push(existing);
                group.not_null |= not_null;
            }
            None => groups.push(Group {
                server: table.server.clone(),
                schema,
                endpoint_name: name,
                endpoint_version: version,
                tables: vec![existing],
                not_null,
            }),
        }
    }
    groups
}

/// The foreign tables of this wrapper in a schema, sorted by name.
fn foreign_tables(namespace: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let query = "SELECT t.ftrelid, t.ftserver FROM pg_catalog.pg_foreign_table t JOIN pg_catalog.pg_class c ON c.oid \
                 OPERATOR(pg_catalog.=) t.ftrelid WHERE c.relnamespace OPERATOR(pg_catalog.=) $1 ORDER BY c.relname";
    let found: Result<Vec<(pg_sys::Oid, pg_sys::Oid)>, spi::Error> = Spi::connect(|client| {
        let rows = client.select(query, None, &[namespace.into()])?;
        rows.map(|row| {
            let oid = |column: usize| {
                Ok::<_, spi::Error>(row.get::<pg_sys::Oid>(column)?.unwrap_or(pg_sys::InvalidOid))
            };
            Ok((oid(1)?, oid(2)?))
        })
        .collect()
    });
    let found = found.unwrap_or_else(|reason| error!("could not read the tables of the schema: {reason}"));
    found.into_iter().filter(|(_, server)| is_ours(*server)).map(|(table, _)| table).collect()
}

/// A table as it exists, and whether it has a column that is NOT NULL.
fn existing(relation: &PgRelation, table: &ForeignTable, foreign_schema: &str) -> (Existing, bool) {
    let descriptor = relation.tuple_desc();
    let mut not_null = false;
    let columns = table.columns.iter().filter_map(|column| {
        let attribute = descriptor.get(column.attribute as usize - 1)?;
        not_null |= attribute.attnotnull;
        // SAFETY: the type of an attribute exists; the result is a palloc'd C string.
        let sql_type =
            unsafe { from_server(pg_sys::format_type_with_typemod(attribute.atttypid, attribute.atttypmod)) };
        let mut options = column.options.clone().into_pairs();
        if !options.iter().any(|(option, _)| option == "field" || option == "custom") {
            options.push(("field".to_owned(), column.name.clone()));
        }
        Some(ExistingColumn { name: column.name.clone(), sql_type, options })
    });
    let columns = columns.collect();
    let mut options = table.options.clone().into_pairs();
    for (name, value) in [("schema", table.schema()), ("endpoint_name", &table.target.endpoint_name)] {
        if table.options.get(name).is_none() {
            options.push((name.to_owned(), value.to_owned()));
        }
    }
    let quoted = format!("{}.{}", quoted(foreign_schema), quoted(&table.name));
    (Existing { name: table.name.clone(), quoted, options, columns }, not_null)
}

fn changes_of(group: Group, foreign_schema: &str, endpoint_version: Option<&str>) -> Vec<Change> {
    let Group { server, schema, endpoint_name, endpoint_version: pinned, tables, not_null } = group;
    let name = server.name.clone();
    let wanted = endpoint_version.filter(|_| schema == SCHEMA_REST).map(str::to_owned);
    let is_wanted = wanted.is_some();
    let used = pinned.clone();
    let version = wanted.or(pinned);
    let source =
        or_raise(Source::open(server, &schema, &Options::default())).of_endpoint(endpoint_name, version);
    let mut definitions = or_raise(if is_wanted { source.read() } else { source.read_or_newest() });
    let has_custom = |table: &&Existing| {
        table.columns.iter().any(|column| column.options.iter().any(|(option, _)| option == "custom"))
    };
    let entity = |table: &Existing| {
        table.options.iter().find(|(option, _)| option == "entity").map(|(_, e)| e.clone())
    };
    let entities: Vec<String> = tables.iter().filter(has_custom).filter_map(entity).collect();
    or_raise(source.add_custom_fields(&mut definitions, entities));
    let snake = |name: &str| !name.chars().any(char::is_uppercase);
    let in_snake_case = tables.iter().all(|table| snake(&table.name));
    let settings = Settings {
        case: if in_snake_case { NameCase::Snake } else { NameCase::Preserve },
        not_null,
        unpad: schema != SCHEMA_REST,
        ..Settings::default()
    };
    let mut current = definitions.schema(&settings);
    let compare = |current: &_| diff(&tables, current, &name, &quoted(foreign_schema), &quoted);
    let mut changes = compare(&current);
    let types: HashSet<&str> = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Type)
        .map(|change| change.table.as_str())
        .collect();
    if schema == SCHEMA_ODATA && !types.is_empty() {
        // The metadata does not tell dates from timestamps, so sample rows decide, as they did in the import.
        let of = |existing: &&Existing| types.contains(existing.name.as_str());
        let inquiry = |existing: &Existing| {
            existing.options.iter().find(|(option, _)| option == "inquiry").map(|(_, value)| value.clone())
        };
        let inquiries: HashSet<String> = tables.iter().filter(of).filter_map(inquiry).collect();
        let asked = current.tables.iter().filter(|table| inquiries.contains(&table.remote));
        let seen = or_raise(source.checked(asked)).days;
        current = definitions.schema(&Settings { seen, ..settings });
        changes = compare(&current);
    }
    for table in &tables {
        changes.extend(never_seen(table, &or_raise(source.never_seen(table, used.as_deref())), &quoted));
    }
    if schema == SCHEMA_ODATA {
        let new = |change: &Change| change.kind == ChangeKind::NewTable;
        let named = |table: &acumatica_schema::TableDef| {
            changes.iter().any(|change| new(change) && change.table == table.name)
        };
        let found: Vec<_> = current.tables.iter().filter(|table| named(table)).cloned().collect();
        let refused = notice_refused(or_raise(source.checked(&found)).refused);
        let is_refused = |change: &Change| {
            found.iter().any(|table| table.name == change.table && refused.contains(&table.remote))
        };
        changes.retain(|change| !(new(change) && is_refused(change)));
    }
    // After an import of a few tables, a list of all others would hide the changes. A notice gives their number.
    let new = changes.iter().filter(|change| change.kind == ChangeKind::NewTable).count();
    if new > tables.len() {
        changes.retain(|change| change.kind != ChangeKind::NewTable);
        notice(
            format!("{new} tables of remote schema \"{schema}\" are not in schema \"{foreign_schema}\""),
            "Import those that you want with LIMIT TO.".to_owned(),
        );
    }
    changes
}
