//! Expressions of SQL, as far as conditions on columns can be made of them.

use crate::filter::{Case, Comparison, Field};
use crate::literal::Literal;
use crate::reason::Reason;

/// A type of PostgreSQL; for a domain, its base type.
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
    /// Any other type, by its oid.
    Other(u32),
}

impl SqlType {
    /// Whether values of both types have the same literals.
    pub fn is_alike(self, other: Self) -> bool {
        let both = |types: &[Self]| types.contains(&self) && types.contains(&other);
        self == other
            || both(&[Self::Int2, Self::Int4, Self::Int8])
            || both(&[Self::Text, Self::Varchar, Self::Name])
            || both(&[Self::Float4, Self::Float8])
    }

    /// Whether the server, which knows one type of the field, finds every row that PostgreSQL's comparison of the two types
    /// finds.
    pub(crate) fn is_comparable(self, other: Self) -> bool {
        let is_known = matches!(self, Self::Bool | Self::Uuid | Self::Float4 | Self::Float8)
            || self.is_text()
            || self.is_number();
        self.is_number() && other.is_number()
            || self.is_moment() && other.is_moment()
            || is_known && self.is_alike(other)
    }

    /// Whether it is an exact number.
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
    /// The expression as the caller represents it. It becomes a value of the [`Condition`](crate::Condition) if a column is
    /// compared with it.
    pub value: V,
    /// The type of the expression.
    pub ty: SqlType,
    /// It is the same for all rows of a scan: it holds no column of the table and no volatile function.
    pub is_constant: bool,
    /// Its outermost operation.
    pub node: Node<V>,
}

/// The outermost operation of an expression, with its arguments.
#[derive(Clone, Debug)]
pub enum Node<V> {
    /// A column of the table, or why no condition on it is sent; [`Reason::NotAField`] for a column of another one.
    Column(Result<Field, Reason>),
    /// A constant, if it is a number or a text and not NULL.
    Constant(Option<Literal>),
    /// A RelabelType: the same value as a binary-compatible type.
    Relabelled(Box<Term<V>>),
    /// `AND`
    And(Vec<Term<V>>),
    /// `OR`
    Or(Vec<Term<V>>),
    /// `NOT`
    Not(Box<Term<V>>),
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`, `IS [NOT] UNKNOWN`
    IsTruth {
        /// The argument.
        of: Box<Term<V>>,
        /// The truth that is tested; `None` is UNKNOWN.
        truth: Option<bool>,
        /// The clause has no NOT.
        is: bool,
    },
    /// `IS [NOT] NULL`
    IsNull {
        /// The argument.
        of: Box<Term<V>>,
        /// The clause has no NOT.
        is: bool,
        /// The argument is a row, which is NULL if all its columns are.
        is_row: bool,
    },
    /// A comparison by the default order of the type on the left.
    Compare {
        /// The operator.
        comparison: Comparison,
        /// The left argument.
        left: Box<Term<V>>,
        /// The right argument.
        right: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// `left = ANY (array)` and the like.
    CompareArray {
        /// The operator; `None` if it is no comparison.
        comparison: Option<Comparison>,
        /// The left argument.
        left: Box<Term<V>>,
        /// The array.
        array: Box<Term<V>>,
        /// The type of its elements.
        element: SqlType,
        /// The clause has ANY; if not, ALL.
        any: bool,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// `left IS DISTINCT FROM right`
    Distinct {
        /// `=` of the type on the left; `None` for another operator.
        comparison: Option<Comparison>,
        /// The left argument.
        left: Box<Term<V>>,
        /// The right argument.
        right: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// The first columns of `(a, b) < (x, y)`.
    CompareRows {
        /// The operator; `None` if it is no comparison.
        comparison: Option<Comparison>,
        /// The first column of the left row.
        left: Box<Term<V>>,
        /// The first column of the right row.
        right: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// LIKE, ILIKE, `starts_with()` and their negations.
    Matches {
        /// Whether the text is a pattern, and if not, where it must stand.
        syntax: Syntax,
        /// Case is ignored, as by ILIKE.
        any_case: bool,
        /// The clause is true if the subject matches; if not, as with NOT LIKE, when it does not match.
        holds: bool,
        /// The expression that is matched.
        subject: Box<Term<V>>,
        /// The pattern or text.
        text: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// `lower(…)`, `upper(…)`
    InCase {
        /// The case that it converts to.
        case: Case,
        /// The argument.
        of: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// `strpos(subject, text)`
    Position {
        /// The text that is searched.
        subject: Box<Term<V>>,
        /// The text to find.
        text: Box<Term<V>>,
        /// The collation is deterministic: it finds only identical texts equal.
        deterministic: bool,
    },
    /// `left(of, n)`, `substring(of FROM 1 FOR n)`: a text that `of` begins with.
    Beginning(Box<Term<V>>),
    /// A cast by a function.
    Cast(Cast, Box<Term<V>>),
    /// `date_trunc(unit, of)`; the unit in lower case, if it is a constant.
    Truncate {
        /// The unit to truncate to.
        unit: Option<String>,
        /// The moment.
        of: Box<Term<V>>,
    },
    /// `extract(unit FROM of)`, `date_part(unit, of)`; the unit as above.
    Extract {
        /// The part of the moment.
        unit: Option<String>,
        /// The moment.
        of: Box<Term<V>>,
    },
    /// `- of`, of an exact number.
    Negate(Box<Term<V>>),
    /// A built-in operator of two arguments whose result is an exact number.
    Arithmetic {
        /// The operator; `None` for one that has no inverse.
        operator: Option<Arithmetic>,
        /// The left argument.
        left: Box<Term<V>>,
        /// The right argument.
        right: Box<Term<V>>,
    },
    /// A call of any other function.
    Call,
    /// Anything else.
    Other,
}

/// How the text of a [`Node::Matches`] is compared with the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Syntax {
    /// It is a pattern of LIKE, with the backslash as its escape character.
    Like,
    /// The subject must begin with it.
    Start,
    /// The subject must contain it.
    Anywhere,
    /// The subject must be equal to it.
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
