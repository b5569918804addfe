//! From what a table could have to what it gets: names, limits, options.

use acumatica_client::catalog::FieldType;

use crate::names::{self, Names};
use crate::origin::Origin;
use crate::{ColumnDef, ColumnKind, Details, Linked, Settings, TableDef, days};

/// The most columns that a table of PostgreSQL holds (`MaxHeapAttributeNumber`).
pub(crate) const MAX_COLUMNS: usize = 1600;

/// A table before its name is settled.
#[derive(Debug)]
pub(crate) struct TableDraft {
    /// What the name is made of.
    pub words: Vec<String>,
    pub remote: String,
    pub aliases: Vec<String>,
    pub class: Option<String>,
    pub comment: Option<String>,
    pub options: Vec<(&'static str, String)>,
    pub columns: Vec<ColumnDraft>,
    pub key_order_known: bool,
}

/// A column before its name is settled.
#[derive(Debug)]
pub(crate) struct ColumnDraft {
    /// What the name is made of.
    pub words: Vec<String>,
    /// What goes in front of a name that is taken.
    pub container: Option<String>,
    pub remote: Origin,
    pub kind: ColumnKind,
    pub sql_type: &'static str,
    pub not_null: bool,
    /// Its place in the key, from 1.
    pub key: Option<usize>,
    /// What the option says of conditions, if anything.
    pub pushdown: Option<bool>,
    pub comment: Option<String>,
}

impl ColumnDraft {
    pub(crate) fn new(words: &[&str], remote: Origin, sql_type: &'static str, kind: ColumnKind) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            container: None,
            remote,
            kind,
            sql_type,
            not_null: false,
            key: None,
            pushdown: None,
            comment: None,
        }
    }

    pub(crate) fn within(self, container: &str) -> Self {
        Self { container: Some(container.to_owned()), ..self }
    }

    /// The names that it may have, the best first.
    fn names(&self, settings: &Settings) -> Vec<String> {
        let name = |words: &[&String]| names::column_name(settings.case, words);
        let own: Vec<&String> = self.words.iter().collect();
        let long = self.container.iter().map(|container| name(&[&[container], &own[..]].concat()));
        std::iter::once(name(&own)).chain(long).collect()
    }

    fn options(&self, settings: &Settings) -> Vec<(&'static str, String)> {
        let mut options = match &self.remote {
            Origin::Custom(custom) => vec![("custom", custom.clone())],
            Origin::Field(name) | Origin::Parameter { name, .. } => vec![("field", name.clone())],
        };
        options.extend(self.key.filter(|_| settings.keys).map(|place| ("key", place.to_string())));
        if let Origin::Parameter { required, .. } = self.remote {
            options.push(("parameter", if required { "required" } else { "optional" }.into()));
        }
        let pushdown = self.pushdown.map(|on| if on { "on" } else { "off" });
        options.extend(pushdown.map(|pushdown| ("pushdown", pushdown.to_owned())));
        options
    }

    fn finish(self, name: String, included: bool, settings: &Settings) -> ColumnDef {
        ColumnDef {
            name,
            sql_type: self.sql_type,
            not_null: self.not_null,
            options: self.options(settings),
            comment: self.comment.filter(|_| settings.comments),
            kind: self.kind,
            included,
        }
    }
}

/// The type that holds a field.
pub(crate) fn sql_type(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Text | FieldType::Choice | FieldType::IntChoice => "text",
        FieldType::Bool => "boolean",
        FieldType::Int2 => "smallint",
        FieldType::Int4 => "integer",
        FieldType::Int8 => "bigint",
        FieldType::Float4 => "real",
        FieldType::Float8 => "double precision",
        FieldType::Numeric => "numeric",
        FieldType::Date => "date",
        FieldType::TimestampTz => "timestamp with time zone",
        FieldType::Time => "time without time zone",
        FieldType::Interval => "interval",
        FieldType::Bytes => "bytea",
        FieldType::Uuid => "uuid",
        FieldType::Json | FieldType::Choices => "jsonb",
    }
}

/// Gives every table its name, which depends on what else there is but not on its order.
pub(crate) fn finish(
    drafts: Vec<TableDraft>,
    settings: &Settings,
    notices: &mut Vec<String>,
) -> Vec<TableDef> {
    let mut tables = Vec::with_capacity(drafts.len());
    for draft in drafts {
        tables.push((draft.words.clone(), finish_table(draft, settings, notices)));
    }
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|one, other| tables[*one].1.remote.cmp(&tables[*other].1.remote));
    let mut names = Names::default();
    for index in order {
        let (words, table) = &mut tables[index];
        let wanted = names::table_name(settings.case, &settings.prefix, words);
        table.name = names.claim(&[wanted], &table.remote);
    }
    let mut tables: Vec<TableDef> = tables.into_iter().map(|(_, table)| table).collect();
    tables.retain(|table| {
        let has_columns = table.included().next().is_some();
        if !has_columns {
            notices.push(format!("\"{}\" is left out: it has no columns", table.remote));
        }
        has_columns
    });
    tables
}

fn finish_table(draft: TableDraft, settings: &Settings, notices: &mut Vec<String>) -> TableDef {
    let mut included: Vec<bool> =
        draft.columns.iter().map(|column| is_wanted(column.kind, settings)).collect();
    notices.extend(cut(&draft.columns, &mut included).map(|cut| format!("\"{}\": {cut}", draft.remote)));
    let names = column_names(&draft.columns, &included, settings);
    let remote = draft.remote;
    let seen = settings.seen.get(&remote);
    let settled = draft.columns.into_iter().map(|column| {
        let sql_type = days::settle(column.sql_type, &remote, &column.remote, seen, settings.days);
        ColumnDraft { sql_type, ..column }
    });
    let columns: Vec<ColumnDef> = settled
        .zip(names)
        .zip(included)
        .map(|((column, name), included)| column.finish(name, included, settings))
        .collect();
    let mut options = draft.options;
    options.extend(settings.unpad.then(|| ("unpad", "true".into())));
    TableDef {
        name: String::new(),
        remote,
        aliases: draft.aliases,
        class: draft.class,
        comment: draft.comment.filter(|_| settings.comments),
        options,
        columns,
        key_order_known: draft.key_order_known,
    }
}

fn is_wanted(kind: ColumnKind, settings: &Settings) -> bool {
    match kind {
        ColumnKind::Flattened => settings.linked == Linked::Flatten,
        ColumnKind::Link => settings.linked == Linked::Jsonb,
        ColumnKind::Detail => settings.details == Details::Jsonb,
        _ => true,
    }
}

/// Takes out what a table has no room for; what to tell about it.
fn cut(columns: &[ColumnDraft], included: &mut [bool]) -> Option<String> {
    let mut order: Vec<usize> = (0..columns.len()).filter(|index| included[*index]).collect();
    order.sort_by_key(|index| columns[*index].kind);
    let out = order.get(MAX_COLUMNS..).filter(|out| !out.is_empty())?;
    out.iter().for_each(|index| included[*index] = false);
    let remedy = if out.iter().any(|index| columns[*index].kind == ColumnKind::Flattened) {
        "import it with linked 'jsonb' to have them"
    } else {
        "create the table by hand with the columns that you need"
    };
    Some(format!(
        "{} columns are left out, since PostgreSQL has room for {MAX_COLUMNS} in a table; {remedy}",
        out.len()
    ))
}

/// Columns that the settings want choose first, so that the others do not change their names.
fn column_names(columns: &[ColumnDraft], included: &[bool], settings: &Settings) -> Vec<String> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|index| (!included[*index], columns[*index].kind));
    let mut names = Names::default();
    let mut given = vec![String::new(); columns.len()];
    for index in order {
        given[index] = names.claim(&columns[index].names(settings), columns[index].remote.text());
    }
    given
}

#[cfg(test)]
mod tests;
