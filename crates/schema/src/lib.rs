//! What an instance has, as PostgreSQL foreign tables: names, types, options, statements, differences.
//!
//! It knows the SQL of PostgreSQL and nothing of its C; definitions come in as
//! [`acumatica_client::catalog`] has them.
#![warn(missing_docs, clippy::missing_errors_doc)]
#![forbid(unsafe_code)]

mod contract;
mod days;
mod diff;
mod draft;
mod keys;
mod known;
mod model;
mod names;
mod origin;
mod record;
mod select;
mod sql;

pub use contract::contract_tables;
pub use days::Days;
pub use diff::{Change, ChangeKind, Existing, ExistingColumn, diff, never_seen};
pub use keys::{EntityKey, key, key_fields, last_modified};
pub use model::{dac_tables, inquiry_tables};
pub use names::NameCase;
pub use select::{NotFound, Selection};

use std::collections::HashMap;

use known::KnownSources;

/// How definitions become tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How remote names become names of tables and columns.
    pub case: NameCase,
    /// Goes in front of the name of every table.
    pub prefix: String,
    /// What becomes of linked records.
    pub linked: Linked,
    /// Whether tables also have their details as `jsonb`.
    pub details: Details,
    /// Whether custom fields are all fields that a form has beside its contract, not only customizations.
    pub all_custom: bool,
    /// Whether columns say their place in the key.
    pub keys: bool,
    /// Whether what identifies a record is `NOT NULL`.
    pub not_null: bool,
    /// Whether tables and columns get a COMMENT with what the instance calls them.
    pub comments: bool,
    /// Whether tables take the padding off codes.
    pub unpad: bool,
    /// Which fields become columns of type `date`.
    pub days: Days,
    /// Of the fields of a table, by their remote names, whether what they were seen to hold is days.
    pub seen: HashMap<String, HashMap<String, bool>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            case: NameCase::Snake,
            prefix: String::new(),
            linked: Linked::Flatten,
            details: Details::Skip,
            all_custom: false,
            keys: true,
            not_null: false,
            comments: true,
            unpad: false,
            days: Days::Auto,
            seen: HashMap::new(),
        }
    }
}

/// What becomes of a record that is linked to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// A column for each of its fields, and of the fields of what is linked to it.
    Flatten,
    /// One column for all of it.
    Jsonb,
    /// No column.
    Skip,
}

/// What becomes of the details of a record, which have tables of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// No column in the table of the record.
    Skip,
    /// A column for each detail, besides.
    Jsonb,
}

/// The tables that definitions give.
#[derive(Clone, Debug)]
pub struct Schema {
    /// As the table option `schema` says it.
    pub surface: &'static str,
    /// In the order of the definition, details behind what they belong to.
    pub tables: Vec<TableDef>,
    /// For people: what could not be taken over, and what to do.
    pub notices: Vec<String>,
    /// Name and version of the contract endpoint.
    pub(crate) endpoint: Option<(String, String)>,
    pub(crate) known: KnownSources,
}

/// A foreign table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDef {
    /// Local name, unquoted, at most 63 bytes.
    pub name: String,
    /// Such as `SalesOrder`, `SalesOrder/Details` or `AR-Aging by Customer`.
    pub remote: String,
    /// Other names of the same thing.
    pub aliases: Vec<String>,
    /// The data access class without its namespace. An alias may be the name of another class.
    pub class: Option<String>,
    /// What the instance calls it, for COMMENT ON.
    pub comment: Option<String>,
    /// Names and values for OPTIONS, values unquoted.
    pub options: Vec<(&'static str, String)>,
    /// All that the table can have; [`ColumnDef::included`] tells which it gets.
    pub columns: Vec<ColumnDef>,
    /// Whether the order of the key is a fact and not a guess.
    pub key_order_known: bool,
}

/// A column, or one that there could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Local name, unquoted, at most 63 bytes.
    pub name: String,
    /// As `format_type` prints it.
    pub sql_type: &'static str,
    /// Whether the column is declared NOT NULL.
    pub not_null: bool,
    /// What the instance calls it, for COMMENT ON.
    pub comment: Option<String>,
    /// Names and values for OPTIONS, values unquoted.
    pub options: Vec<(&'static str, String)>,
    /// What it comes from.
    pub kind: ColumnKind,
    /// Whether the settings want it; the others are what a table imported with other settings may have.
    pub included: bool,
}

/// What a column comes from. Where names collide, or a table gets too wide, the earlier kind stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnKind {
    /// A parameter of an inquiry or of an inquiry form.
    Parameter,
    /// Part of the key of the entity.
    Key,
    /// The `id` of the entity.
    Id,
    /// Place of a detail, or of one that it is within.
    RowNumber,
    /// A field of the record itself.
    Own,
    /// The code of a drop-down.
    Code,
    /// The note and the files of a record.
    Attached,
    /// A custom field (docs/acumatica.md section 2.1).
    Custom,
    /// A field of a linked record.
    Flattened,
    /// A whole linked record.
    Link,
    /// All of a detail.
    Detail,
}

impl TableDef {
    /// The columns that the settings want.
    pub fn included(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|column| column.included)
    }

    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) const REST: &str = "REST";
pub(crate) const ODATA: &str = "OData";
pub(crate) const DAC: &str = "DAC";
