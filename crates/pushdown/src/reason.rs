//! Why a clause, or a part of one, is not sent to the server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a clause is not sent. Displays as EXPLAIN shows it. Each variant says which file gives it; that file has the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    // The column is the cause. `src/catalog/table.rs` (`ForeignColumn::read`) finds the first of these that applies, once for each
    // column.
    /// The column has the option `pushdown 'off'`. Given in `src/catalog/table.rs`.
    Off,
    /// The column is a parameter of an inquiry, which is no field of its rows. Given in `src/catalog/table.rs`.
    Parameter,
    /// The table is an inquiry form, which takes parameters and no `$filter`. Given in `src/catalog/table.rs`.
    Form,
    /// The table is a setup class, which has one row. Given in `src/catalog/table.rs`.
    Singleton,
    /// The column is a custom field. Given in `src/catalog/table.rs`.
    Custom,
    /// The column is a field of a detail. Given in `src/catalog/table.rs`.
    Detail,
    /// The column's type has fewer digits than the server's number, such as `numeric(10,2)`. Given in
    /// `src/catalog/table.rs`.
    RoundedColumn,
    /// The column is a system column, such as `ctid` or `tableoid`. Given in `src/planner/term.rs` (`column`).
    SystemColumn,

    // The clause is the cause, in every dialect.
    /// No side of the clause is a column, or an expression that can be solved for one. Given in
    /// `crates/pushdown/src/subject.rs` and `term.rs`; `src/planner/term.rs` gives it for a column of another table.
    NotAField,
    /// The clause joins an entity with its detail, whose rows come out of one record. Given in `src/planner/detail_join.rs`.
    SameRecord,
    /// The operator or function has no counterpart in OData. Given in `crates/pushdown/src/shippable.rs` for operators and
    /// in `subject.rs` for functions and arithmetic.
    NoOperator,
    /// The value that the column is compared with depends on the row, or is volatile. Given in
    /// `crates/pushdown/src/shippable.rs` (`check_constant`).
    NotConstant,
    /// The server compares values of these two types by other rules than PostgreSQL. Given in
    /// `crates/pushdown/src/shippable.rs`, and in `subject.rs` for arithmetic.
    OtherTypes,
    /// The collation of the clause is not deterministic. Given in `crates/pushdown/src/shippable.rs`.
    OtherCollation,
    /// The clause is true of the texts that do not match, such as NOT LIKE. Given in `crates/pushdown/src/shippable.rs`
    /// (`matching`, `position`).
    NotMatching,

    // The dialect is the cause.
    /// The field is a drop-down of contract 5, or a text that may be one. Given in `crates/pushdown/src/print.rs`
    /// (`name_of`).
    Codes,
    /// Texts are compared with `<>` or ordered. Given by the table in `crates/pushdown/src/class.rs`.
    Collation,
    /// The field is a `uuid` of contract REST. Given by the table in `crates/pushdown/src/class.rs`.
    NoGuid,
    /// Booleans or ids are ordered. Given by the table in `crates/pushdown/src/class.rs`.
    NoOrder,
    /// Binary numbers are compared with `<>`. Given by the table in `crates/pushdown/src/class.rs`.
    Rounded,
    /// Moments are compared with `<>`. Given by the table in `crates/pushdown/src/class.rs`.
    Zones,
    /// A value that is not text is matched with a pattern. Given by the table in `crates/pushdown/src/class.rs`.
    NoMatch,
    /// A text is tested for NULL. Given by the table in `crates/pushdown/src/class.rs`.
    MaybeLabel,
    /// The column is a member of a record that is not a field, such as `note` or `files`. Given in
    /// `crates/pushdown/src/print.rs` (`name_of`).
    NoCondition,
    /// The column is a field of a linked entity. Given in `crates/pushdown/src/print.rs` (`name_of`).
    Linked,

    // The value is the cause.
    /// The dialect has no literal for the value. Given in `crates/pushdown/src/print.rs` (`refusal`).
    Unwritten,
    /// The value is known, and no test of the field follows from it: LIKE `'%'`, or a value that no literal can hold. Given
    /// in `crates/pushdown/src/condition.rs` (`described`).
    NothingToAsk,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "the option pushdown of the column is off",
            Self::Parameter => "it is a parameter",
            Self::Form => "an inquiry form has no conditions",
            Self::Singleton => "a setup class is one row",
            Self::Custom => "conditions on custom fields are not sent",
            Self::Detail => "conditions on details are undefined",
            Self::RoundedColumn => "the column holds the number rounded",
            Self::SystemColumn => "it is a system column of PostgreSQL",
            Self::NotAField => "it is no condition on a single column",
            Self::SameRecord => "both sides come out of one record",
            Self::NoOperator => "the server has no such operator or function, or is not known to",
            Self::NotConstant => "the value differs from row to row",
            Self::OtherTypes => "the server compares these types differently",
            Self::OtherCollation => "the collation treats texts as equal that differ for the server",
            Self::NotMatching => "the server has no condition for texts that do not match",
            Self::Codes => "the server compares codes of drop-downs, not what it shows",
            Self::Collation => "the server's collation decides, which ignores case and spaces at the end",
            Self::NoGuid => "how contract REST writes an id in a condition is not known",
            Self::NoOrder => "the server orders such values differently",
            Self::Rounded => "the number may be rounded on its way",
            Self::Zones => "a moment may be up to 14 hours off",
            Self::NoMatch => "only text has patterns",
            Self::MaybeLabel => "what is shown may be a label or an empty text where the server has no value",
            Self::NoCondition => "the server has no conditions on this field",
            Self::Linked => "conditions on linked entities can lose rows",
            Self::Unwritten => {
                "the value cannot be written so that the server understands it as PostgreSQL does"
            }
            Self::NothingToAsk => "with this value there is no condition to send",
        })
    }
}
