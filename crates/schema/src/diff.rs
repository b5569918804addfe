//! What has changed since tables were made, and the statements that bring them up to date.
//!
//! Nobody wrote down how a table was imported, so its columns tell: columns of kinds that it has none of
//! were not wanted. What people made by hand stays as long as the definition still has it.

mod remote;

use std::collections::HashSet;

use remote::Remote;

use crate::draft::MAX_COLUMNS;
use crate::names::Names;
use crate::sql::literal;
use crate::{ColumnDef, ColumnKind, REST, Schema, TableDef};

/// A foreign table that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Local name, unquoted, without its schema.
    pub name: String,
    /// With its schema, in quotes where it needs them.
    pub quoted: String,
    /// In their proper form; `schema` and `endpoint_name` are the server's where the table has none.
    pub options: Vec<(String, String)>,
    /// In the order of `attnum`.
    pub columns: Vec<ExistingColumn>,
}

/// A column of a foreign table that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Local name, unquoted.
    pub name: String,
    /// As `format_type` prints it.
    pub sql_type: String,
    /// Names and values of its OPTIONS.
    pub options: Vec<(String, String)>,
}

/// A difference, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Local name.
    pub table: String,
    /// What kind of difference it is.
    pub kind: ChangeKind,
    /// For people.
    pub change: String,
    /// The SQL that mends it, or a comment of SQL if nothing needs to be done.
    pub statement: String,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The instance has something that no table here stands for.
    NewTable,
    /// The instance no longer has what the table stands for.
    GoneTable,
    /// The table names another version of the endpoint.
    Version,
    /// The definition has a field that the table has no column for.
    NewColumn,
    /// The definition no longer has the field of the column.
    GoneColumn,
    /// The column has another type than the field asks for.
    Type,
    /// Key, parameter or pushdown.
    Option,
    /// A field that the definition has and no row had so far. Nothing needs to be done.
    NeverSeen,
}

/// The changes that lead from the tables that there are to what the definition says now: those of each
/// table, then the new tables. Tables of other surfaces and endpoints are none of its business.
pub fn diff(
    existing: &[Existing],
    current: &Schema,
    server: &str,
    into_schema_quoted: &str,
    quote: &dyn Fn(&str) -> String,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut met: HashSet<&str> = HashSet::new();
    for existing in existing.iter().filter(|table| is_covered(table, current)) {
        let table = current.tables.iter().find(|table| is_same(existing, table));
        met.extend(table.map(|table| table.remote.as_str()));
        TableComparison { existing, table, current, quote }.run(&mut changes);
    }
    for table in current.tables.iter().filter(|table| !met.contains(table.remote.as_str())) {
        let relation = format!("{into_schema_quoted}.{}", quote(&table.name));
        changes.push(Change {
            table: table.name.clone(),
            kind: ChangeKind::NewTable,
            change: format!("\"{}\" is new", table.remote),
            statement: table.create_as(&relation, server, quote),
        });
    }
    changes
}

/// The columns whose field no row had in any scan that the cluster remembers; `absent` gives the paths. The statement
/// is a comment: the column is right, and the next import would make it again.
pub fn never_seen(existing: &Existing, absent: &[String], quote: &dyn Fn(&str) -> String) -> Vec<Change> {
    let is_absent = |column: &&ExistingColumn| match column.remote() {
        Remote::Field(path) => absent.iter().any(|absent| absent == path),
        _ => false,
    };
    let change = |column: &ExistingColumn| Change {
        table: existing.name.clone(),
        kind: ChangeKind::NeverSeen,
        change: format!("{} was in no row so far: a feature may be switched off", column.remote()),
        statement: format!("-- ALTER FOREIGN TABLE {} DROP COLUMN {};", existing.quoted, quote(&column.name)),
    };
    existing.columns.iter().filter(is_absent).map(change).collect()
}

fn is_covered(existing: &Existing, current: &Schema) -> bool {
    let is =
        |name, default, value: &str| existing.option(name).unwrap_or(default).eq_ignore_ascii_case(value);
    is("schema", REST, current.surface)
        && current.endpoint.as_ref().is_none_or(|(name, _)| is("endpoint_name", "Default", name))
}

fn is_same(existing: &Existing, table: &TableDef) -> bool {
    let named = |option| match (existing.option(option), table.option(option)) {
        (Some(here), Some(there)) => here == there || table.aliases.iter().any(|alias| alias == here),
        (here, there) => here == there,
    };
    named("entity") && named("inquiry") && existing.option("detail") == table.option("detail")
}

/// One table, beside what it would be now, if it would be at all.
struct TableComparison<'a> {
    existing: &'a Existing,
    table: Option<&'a TableDef>,
    current: &'a Schema,
    quote: &'a dyn Fn(&str) -> String,
}

impl TableComparison<'_> {
    fn run(&self, changes: &mut Vec<Change>) {
        let Some(root) = self.existing.option("entity").or(self.existing.option("inquiry")) else { return };
        if !self.current.known.has(root, self.existing.option("detail").unwrap_or_default()) {
            let change = format!("\"{}\" is gone{}", self.existing.remote(), self.doubt());
            let statement = format!("DROP FOREIGN TABLE {};", self.existing.quoted);
            changes.push(self.change(ChangeKind::GoneTable, change, statement));
            return;
        }
        changes.extend(self.version());
        changes.extend(self.gone_columns(root));
        let Some(table) = self.table else { return };
        let pairs = self.pairs(table);
        for (column, now) in &pairs {
            changes.extend(self.column_type(column, now));
            changes.extend(self.column_options(column, now));
        }
        changes.extend(self.keys(table, &pairs));
        changes.extend(self.function(table));
        changes.extend(self.new_columns(table, &pairs));
    }

    fn change(&self, kind: ChangeKind, change: String, statement: String) -> Change {
        Change { table: self.existing.name.clone(), kind, change, statement }
    }

    fn alter(&self, kind: ChangeKind, change: String, action: &str) -> Change {
        self.change(kind, change, format!("ALTER FOREIGN TABLE {} {action};", self.existing.quoted))
    }

    /// What could not be read looks as if it was gone.
    fn doubt(&self) -> &'static str {
        if self.current.known.incomplete {
            ", or in a part of the definition that could not be read"
        } else {
            ""
        }
    }

    fn version(&self) -> Option<Change> {
        let (_, now) = self.current.endpoint.as_ref()?;
        self.existing.option("endpoint_version").filter(|version| version != now)?;
        let action = format!("OPTIONS (SET endpoint_version {})", literal(now));
        Some(self.alter(ChangeKind::Version, format!("endpoint_version is {now} now"), &action))
    }

    fn gone_columns(&self, root: &str) -> Vec<Change> {
        let has_parameter =
            |remote| self.table.is_none_or(|table| table.columns.iter().any(|now| now.remote() == remote));
        let gone = self.existing.columns.iter().filter(|column| match column.remote() {
            Remote::Field(path) => !self.current.known.has(root, path),
            Remote::Custom(field) => !self.current.known.has_custom(root, field),
            parameter @ Remote::Parameter(_) => !has_parameter(parameter),
        });
        let change = |column: &ExistingColumn| {
            let text = format!("{} is gone{}", column.remote(), self.doubt());
            self.alter(ChangeKind::GoneColumn, text, &format!("DROP COLUMN {}", (self.quote)(&column.name)))
        };
        gone.map(change).collect()
    }

    /// Columns beside what they would be now; of several for the same field, the one in the key.
    fn pairs<'b>(&'b self, table: &'b TableDef) -> Vec<(&'b ExistingColumn, &'b ColumnDef)> {
        let find = |now: &'b ColumnDef| {
            let same = || self.existing.columns.iter().filter(|column| column.remote() == now.remote());
            Some((same().find(|column| column.option("key").is_some()).or_else(|| same().next())?, now))
        };
        table.columns.iter().filter_map(find).collect()
    }

    fn column_type(&self, column: &ExistingColumn, now: &ColumnDef) -> Option<Change> {
        // Definitions do not tell days from moments; what was made a day is read as one, or is an error.
        let of_days = column.sql_type == "date" && now.sql_type == "timestamp with time zone";
        if column.sql_type == now.sql_type || of_days || is_own_choice(&column.sql_type) {
            return None;
        }
        let (remote, was, now) = (now.remote(), &column.sql_type, now.sql_type);
        let is_day = now == "date" && was == "timestamp with time zone";
        let change = if is_day {
            format!("{remote} holds days; the column is {was}")
        } else if may_be_chosen(was) {
            format!("definition says {now} for {remote}; the column is {was}")
        } else {
            format!("{remote} is {now} now, no longer {was}")
        };
        let action = format!("ALTER COLUMN {} TYPE {now}", (self.quote)(&column.name));
        Some(self.alter(ChangeKind::Type, change, &action))
    }

    /// That a field cannot be pushed down is a fact; that it should not be may be anyone's wish.
    fn column_options(&self, column: &ExistingColumn, now: &ColumnDef) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(wanted) = now.option("parameter")
            && column.option("parameter") != Some(wanted)
        {
            changes.push(self.set_option(
                column,
                "parameter",
                Some(wanted),
                format!("{} is {wanted} now", now.remote()),
            ));
        }
        if now.option("pushdown") == Some("off") && column.option("pushdown").is_none() {
            let text = format!("{} cannot be filtered by any more", now.remote());
            changes.push(self.set_option(column, "pushdown", Some("off"), text));
        }
        changes
    }

    /// Keys are compared where both have one: none may be on purpose, or made by hand for want of any.
    /// Where their order is a guess, an order made by hand is as good.
    fn keys(&self, table: &TableDef, pairs: &[(&ExistingColumn, &ColumnDef)]) -> Vec<Change> {
        let here = self.existing.columns.iter().filter(|column| column.option("key").is_some());
        let there = table.included().filter(|column| column.option("key").is_some());
        let here: HashSet<Remote<'_>> = here.map(ExistingColumn::remote).collect();
        let there: HashSet<Remote<'_>> = there.map(ColumnDef::remote).collect();
        if here.is_empty() || there.is_empty() || (here == there && !table.key_order_known) {
            return Vec::new();
        }
        let differing = pairs.iter().filter(|(column, now)| column.option("key") != now.option("key"));
        let change = |(column, now): &(&ExistingColumn, &ColumnDef)| {
            let place = now.option("key");
            let text = match place {
                Some(place) => format!("{} is number {place} of the key now", now.remote()),
                None => format!("{} is no part of the key any more", now.remote()),
            };
            self.set_option(column, "key", place, text)
        };
        differing.map(change).collect()
    }

    /// What is called with parameters; a table that does not say it learns it.
    fn function(&self, table: &TableDef) -> Option<Change> {
        let (was, now) = (self.existing.option("function")?, table.option("function"));
        if now == Some(was) {
            return None;
        }
        let change = match now {
            Some(now) => (format!("the function is \"{now}\" now"), format!("SET function {}", literal(now))),
            None => (format!("the function \"{was}\" is gone"), "DROP function".to_owned()),
        };
        Some(self.alter(ChangeKind::Option, change.0, &format!("OPTIONS ({})", change.1)))
    }

    fn set_option(&self, column: &ExistingColumn, name: &str, value: Option<&str>, change: String) -> Change {
        let action = match (value, column.option(name)) {
            (None, _) => format!("DROP {name}"),
            (Some(value), None) => format!("ADD {name} {}", literal(value)),
            (Some(value), Some(_)) => format!("SET {name} {}", literal(value)),
        };
        let action = format!("ALTER COLUMN {} OPTIONS ({action})", (self.quote)(&column.name));
        self.alter(ChangeKind::Option, change, &action)
    }

    fn new_columns(&self, table: &TableDef, pairs: &[(&ExistingColumn, &ColumnDef)]) -> Vec<Change> {
        let had: HashSet<Remote<'_>> = pairs.iter().map(|(column, _)| column.remote()).collect();
        let kinds: HashSet<ColumnKind> = pairs.iter().map(|(_, now)| now.kind).collect();
        let mut names = Names::new(self.existing.columns.iter().map(|column| column.name.as_str()));
        let room = MAX_COLUMNS.saturating_sub(self.existing.columns.len());
        let new =
            table.columns.iter().filter(|now| !had.contains(&now.remote()) && is_wanted(now.kind, &kinds));
        let change = |now: &ColumnDef| {
            let name = names.claim(std::slice::from_ref(&now.name), now.remote().text());
            let column = ColumnDef { name, ..now.clone() };
            let action = format!("ADD COLUMN {}", column.sql(self.quote));
            self.alter(ChangeKind::NewColumn, format!("{} is new", now.remote()), &action)
        };
        new.take(room).map(change).collect()
    }
}

/// Whether a table that has columns of these kinds wants one of that kind.
fn is_wanted(kind: ColumnKind, had: &HashSet<ColumnKind>) -> bool {
    match kind {
        ColumnKind::Parameter | ColumnKind::Key | ColumnKind::Own | ColumnKind::Code => true,
        // These are always there, so a table without them was made so.
        ColumnKind::Id | ColumnKind::RowNumber | ColumnKind::Attached => false,
        ColumnKind::Custom | ColumnKind::Flattened | ColumnKind::Link | ColumnKind::Detail => {
            had.contains(&kind)
        }
    }
}

/// Whether people have given a column this type for reasons of their own: an import gives none such.
fn is_own_choice(was: &str) -> bool {
    const IMPORTED: [&str; 16] = [
        "text",
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "numeric",
        "date",
        "timestamp with time zone",
        "timestamp without time zone",
        "time without time zone",
        "interval",
        "bytea",
        "uuid",
        "jsonb",
    ];
    !IMPORTED.contains(&was)
}

/// Whether people may have: the type holds what the other does.
fn may_be_chosen(was: &str) -> bool {
    was == "text"
}

#[cfg(test)]
mod tests;
