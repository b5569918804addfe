//! Why a clause, or a part of one, is not sent to the server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why the server is not asked. Displays as EXPLAIN shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    // Of the column, whatever the condition.
    /// The option `pushdown` of the column is `off`.
    Off,
    /// The column is a parameter of an inquiry.
    Parameter,
    /// The table is an inquiry form.
    Form,
    /// The table is a setup class.
    Singleton,
    /// The column is a custom field.
    Custom,
    /// The column is within a detail.
    Detail,
    /// The column's type rounds what the server has.
    RoundedColumn,
    /// The column is `ctid`, `tableoid` or the like.
    SystemColumn,

    // Of the clause, whatever the dialect.
    /// Something other than a column, or what is known to come from one, is compared.
    NotAField,
    /// An operator or function without a counterpart.
    NoOperator,
    /// What a column is compared with is no constant.
    NotConstant,
    /// The two sides have types that the server compares otherwise.
    OtherTypes,
    /// The collation is not deterministic.
    OtherCollation,
    /// NOT LIKE and the like.
    NotMatching,

    // Of the dialect.
    /// A drop-down, or what may be one.
    Codes,
    /// `<>` or an order of texts.
    Collation,
    /// An id in contract REST.
    NoGuid,
    /// An order of booleans or ids.
    NoOrder,
    /// `<>` of binary numbers.
    Rounded,
    /// `<>` of moments.
    Zones,
    /// A pattern for what is no text.
    NoMatch,
    /// Whether a text is NULL.
    MaybeLabel,
    /// A member of a record that is no field.
    NoCondition,
    /// A field of a linked entity.
    Linked,

    // Of the value.
    /// The value cannot be written in the dialect.
    Unwritten,
    /// The value is known, and leaves nothing to ask for.
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
            Self::SystemColumn => "it is a column of PostgreSQL's own",
            Self::NotAField => "it is not about a field alone",
            Self::NoOperator => "the server has no such operator or function, or is not known to",
            Self::NotConstant => "the value differs from row to row",
            Self::OtherTypes => "the types are compared otherwise by the server",
            Self::OtherCollation => "the collation finds texts equal that are not to the server",
            Self::NotMatching => "the server cannot be asked for texts that do not match",
            Self::Codes => "the server compares codes of drop-downs, not what it shows",
            Self::Collation => "the server's collation decides, which ignores case and spaces at the end",
            Self::NoGuid => "how contract REST writes an id in a condition is not known",
            Self::NoOrder => "the server orders such values otherwise",
            Self::Rounded => "the number may be rounded on its way",
            Self::Zones => "a moment may be up to 14 hours off",
            Self::NoMatch => "only text has patterns",
            Self::MaybeLabel => "what is shown may be a label or an empty text where the server has no value",
            Self::NoCondition => "the server has no conditions on it",
            Self::Linked => "conditions on linked entities can lose rows",
            Self::Unwritten => {
                "the value cannot be written so that the server understands it as PostgreSQL does"
            }
            Self::NothingToAsk => "the value leaves nothing to ask for",
        })
    }
}
