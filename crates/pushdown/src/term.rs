//! Expressions of SQL, as far as conditions are looked for in them.

use crate::filter::{Case, Comparison, Field};
use crate::literal::Literal;
use crate::reason::Reason;

/// A type of PostgreSQL; of a domain, the type that it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric`
    Numeric,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `text`
    Text,
    /// `varchar`
    Varchar,
    /// `char(n)`
    Bpchar,
    /// `name`
    Name,
    /// `date`
    Date,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `uuid`
    Uuid,
    /// Any other, by its number in the catalog.
    Other(u32),
}

impl SqlType {
    /// Whether values of one type are written as those of the other.
    pub fn is_alike(self, other: Self) -> bool {
        let both = |types: &[Self]| types.contains(&self) && types.contains(&other);
        self == other
            || both(&[Self::Int2, Self::Int4, Self::Int8])
            || both(&[Self::Text, Self::Varchar, Self::Name])
            || both(&[Self::Float4, Self::Float8])
    }

    /// Whether comparisons of the two types mean the same to the server, or less.
    pub(crate) fn is_comparable(self, other: Self) -> bool {
        let is_known = matches!(self, Self::Bool | Self::Uuid | Self::Float4 | Self::Float8)
            || self.is_text()
            || self.is_number();
        self.is_number() && other.is_number()
            || self.is_moment() && other.is_moment()
            || is_known && self.is_alike(other)
    }

    /// An exact number.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Numeric)
    }

    pub(crate) fn is_moment(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::TimestampTz)
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar | Self::Bpchar)
    }
}

/// An expression over the columns of a table.
#[derive(Clone, Debug)]
pub struct Term<V> {
    /// The whole expression as the caller has it, for where it is the value that a column is compared with.
    pub value: V,
    /// The type of the expression.
    pub ty: SqlType,
    /// It is the same for all rows of a scan: it holds no column of the table and no volatile function.
    pub is_constant: bool,
    /// What it is made of.
    pub node: Node<V>,
}

/// What an expression is made of. `deterministic` says of the collation of a comparison that it finds only those texts equal
/// that are the same.
#[derive(Clone, Debug)]
pub enum Node<V> {
    /// A column of the table, or why no condition on it is sent; [`Reason::NotAField`] for a column of another one.
    Column(Result<Field, Reason>),
    /// A constant, if it is a number or a text and not NULL.
    Constant(Option<Literal>),
    /// The same under a binary-compatible type.
    Relabelled(Box<Term<V>>),
    /// `AND`
    And(Vec<Term<V>>),
    /// `OR`
    Or(Vec<Term<V>>),
    /// `NOT`
    Not(Box<Term<V>>),
    /// `IS [NOT] TRUE`, `FALSE`, `UNKNOWN`: a truth of `None` is the last.
    IsTruth {
        /// What is true or not.
        of: Box<Term<V>>,
        /// Which truth it is asked for.
        truth: Option<bool>,
        /// Without NOT.
        is: bool,
    },
    /// `IS [NOT] NULL`
    IsNull {
        /// What is NULL or not.
        of: Box<Term<V>>,
        /// Without NOT.
        is: bool,
        /// It is a row, which is NULL if each of its columns is.
        is_row: bool,
    },
    /// A comparison by the default order of the type on the left.
    Compare {
        /// Which one.
        comparison: Comparison,
        /// Its left side.
        left: Box<Term<V>>,
        /// Its right side.
        right: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// `left = ANY (array)` and the like.
    CompareArray {
        /// Which comparison; `None` for another operator.
        comparison: Option<Comparison>,
        /// Its left side.
        left: Box<Term<V>>,
        /// The array.
        array: Box<Term<V>>,
        /// The type of its elements.
        element: SqlType,
        /// `ANY`, else `ALL`.
        any: bool,
        /// Of its collation.
        deterministic: bool,
    },
    /// `left IS DISTINCT FROM right`
    Distinct {
        /// What `=` of the type on the left is; `None` for another operator.
        comparison: Option<Comparison>,
        /// Its left side.
        left: Box<Term<V>>,
        /// Its right side.
        right: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// The first columns of `(a, b) < (x, y)`.
    CompareRows {
        /// How they are compared; `None` for another operator.
        comparison: Option<Comparison>,
        /// The first of the left side.
        left: Box<Term<V>>,
        /// The first of the right side.
        right: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// `LIKE` and what is like it.
    Matches {
        /// What the text is.
        syntax: Syntax,
        /// Without regard to case.
        any_case: bool,
        /// It matches, else not.
        holds: bool,
        /// What matches.
        subject: Box<Term<V>>,
        /// What it must match.
        text: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// `lower(…)`, `upper(…)`
    InCase {
        /// Which case.
        case: Case,
        /// Of what.
        of: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// `strpos(subject, text)`
    Position {
        /// What is searched.
        subject: Box<Term<V>>,
        /// What for.
        text: Box<Term<V>>,
        /// Of its collation.
        deterministic: bool,
    },
    /// A cast by a function.
    Cast(Cast, Box<Term<V>>),
    /// `date_trunc(unit, of)`; the unit in lower case, if it is a constant.
    Truncate {
        /// To what.
        unit: Option<String>,
        /// What is cut off.
        of: Box<Term<V>>,
    },
    /// `extract(unit FROM of)`, `date_part(unit, of)`; the unit as above.
    Extract {
        /// Which part.
        unit: Option<String>,
        /// Of which moment.
        of: Box<Term<V>>,
    },
    /// `- of`, of an exact number.
    Negate(Box<Term<V>>),
    /// A built-in operator of two arguments whose result is an exact number.
    Arithmetic {
        /// Which one; `None` for one that cannot be undone.
        operator: Option<Arithmetic>,
        /// Its left side.
        left: Box<Term<V>>,
        /// Its right side.
        right: Box<Term<V>>,
    },
    /// A call of any other function.
    Call,
    /// Anything else.
    Other,
}

/// What the text that another is compared with is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Syntax {
    /// A pattern of LIKE, with the backslash as its escape.
    Like,
    /// What it begins with.
    Start,
    /// What it holds.
    Anywhere,
    /// What it is.
    Whole,
}

/// A cast by a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// From one number to a wider one.
    Wider,
    /// From `char(n)` to `text`.
    Unpadded,
    /// Between a date and a timestamp, by the same clock.
    SameClock,
    /// To or from `timestamptz`, by the time zone of the session.
    ByZone,
}

/// An operator of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl<V> Term<V> {
    /// Without the binary-compatible types that it is shown under.
    pub(crate) fn bare(&self) -> &Self {
        match &self.node {
            Node::Relabelled(inner) => inner.bare(),
            _ => self,
        }
    }

    /// The column that it is, under whichever of its binary-compatible types.
    pub(crate) fn column(&self) -> Result<Field, Reason> {
        match &self.bare().node {
            Node::Column(field) => field.clone(),
            _ => Err(Reason::NotAField),
        }
    }
}
