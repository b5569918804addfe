//! The filter that is sent to the server, as a tree: AND, OR, and tests of single fields.
//!
//! The server returns every row that meets the condition and perhaps more, so the caller must recheck the rows. A part
//! that a dialect cannot be trusted with is left out where that can only add rows. There is no NOT: servers differ in what
//! NOT makes of NULL. [`translate`](crate::translate) moves negations down to single comparisons by De Morgan's laws.

use serde::{Deserialize, Serialize};

use crate::class::Operator;
use crate::column::ColumnType;
use crate::literal::Literal;

/// The members of a record of contract REST, and of a row of its details, that are no fields (docs/acumatica.md section 2), and what
/// stands for all of it.
pub const NO_FIELDS: [&str; 7] = ["id", "rowNumber", "note", "files", "custom", "error", "*"];

/// A condition on the fields of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every part must be met.
    And(Vec<Filter>),
    /// At least one part must be met.
    Or(Vec<Filter>),
    /// The field must meet the test.
    Test(Field, Test),
}

/// A field of the server's rows, which a condition tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The names from the record to the field: `["OrderNbr"]`, or `["ShipToAddress", "City"]` for one of a linked entity.
    pub path: Vec<String>,
    /// The type that its values are decoded to, which is that of the column.
    pub ty: ColumnType,
    /// The column has the option `pushdown 'on'`: the user says that the field is not a drop-down.
    pub vouched: bool,
    /// The field is part of the key of the entity or set.
    pub key: bool,
}

/// A test of one field. A field without a value meets [`Test::Null`] and no other test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    /// The field, compared with a value, gives true.
    Compare {
        /// The operator, with the field on its left.
        comparison: Comparison,
        /// The value on its right.
        value: Literal,
        /// How much the field may differ from the value. Zero unless the field is a moment.
        slack: Slack,
    },
    /// The field has no value.
    Null,
    /// The field has a value.
    NotNull,
    /// The field, which is text, contains another text.
    Match {
        /// Where in the field it stands.
        anchor: Anchor,
        /// The text to find, without wildcards.
        text: String,
        /// The case that the field is converted to before.
        case: Case,
    },
}

/// By how many days a moment may differ from the value that it is compared with. The printer widens the condition by them, in
/// addition to the hours by which the server's zone may shift it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slack {
    /// Days by which the field may be earlier than the value says.
    pub before: u16,
    /// Days by which the field may be later than the value says.
    pub after: u16,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`, which is `eq` in OData.
    Eq,
    /// `<>`, which is `ne`.
    Ne,
    /// `<`, which is `lt`.
    Lt,
    /// `<=`, which is `le`.
    Le,
    /// `>`, which is `gt`.
    Gt,
    /// `>=`, which is `ge`.
    Ge,
}

/// Where in a field the text of a [`Test::Match`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anchor {
    /// The field begins with the text.
    Start,
    /// The field contains the text, at any position.
    Anywhere,
    /// The field is the text.
    Whole,
}

/// The case that a field is converted to before it is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Case {
    /// The field is matched as it is.
    Same,
    /// The field is converted to lower case, as by `lower()`.
    Lower,
    /// The field is converted to upper case, as by `upper()`.
    Upper,
}

impl Filter {
    /// Replaces the path of each field by what `new` returns for it.
    pub fn rename(&mut self, new: &impl Fn(&Vec<String>) -> Vec<String>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.rename(new)),
            Self::Test(field, _) => field.path = new(&field.path),
        }
    }

    /// The paths of its fields, each once, with `/` between names.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.each_test(&mut |field, _| {
            let path = field.path.join("/");
            if !paths.contains(&path) {
                paths.push(path);
            }
        });
        paths
    }

    /// Whether it tests the field of this path, and that field is [vouched](Field::vouched) for.
    pub fn is_vouched(&self, path: &str) -> bool {
        let mut vouched = false;
        self.each_test(&mut |field, _| vouched |= field.vouched && field.path.join("/") == path);
        vouched
    }

    /// Calls `act` for each of its tests, from left to right.
    pub fn each_test<'a>(&'a self, act: &mut impl FnMut(&'a Field, &'a Test)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_test(act)),
            Self::Test(field, test) => act(field, test),
        }
    }

    /// The filter without the tests of fields for whose path `unwanted` is true; `None` if nothing is left. It keeps at least
    /// the rows that the whole filter keeps: an OR that has such a test is left out as a whole.
    pub fn without(&self, unwanted: &impl Fn(&[String]) -> bool) -> Option<Self> {
        match self {
            Self::Test(field, _) => (!unwanted(&field.path)).then(|| self.clone()),
            Self::Or(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| part.without(unwanted)).collect();
                parts.map(Self::Or)
            }
            Self::And(parts) => {
                let parts: Vec<_> = parts.iter().filter_map(|part| part.without(unwanted)).collect();
                (!parts.is_empty()).then_some(Self::And(parts))
            }
        }
    }

    /// Filters of which all must be met: its parts if it is an AND, else itself.
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            part => std::slice::from_ref(part),
        }
    }

    /// The condition of the rows that meet both, with the parts of both side by side.
    pub fn and(self, other: Self) -> Self {
        let parts = |filter| match filter {
            Self::And(parts) => parts,
            part => vec![part],
        };
        Self::And([parts(self), parts(other)].concat())
    }

    /// The value that the field of this path has in all rows that meet the filter, if an equality says so.
    pub fn value_of(&self, path: &[String]) -> Option<&Literal> {
        self.conjuncts().iter().find_map(|part| match part {
            Self::Test(field, Test::Compare { comparison: Comparison::Eq, value, .. })
                if field.path == path =>
            {
                Some(value)
            }
            Self::And(_) => part.value_of(path),
            _ => None,
        })
    }

    /// Whether all its values are known: none is a placeholder ([`Literal::Shown`]) of EXPLAIN.
    pub fn is_known(&self) -> bool {
        let mut known = true;
        self.each_test(&mut |_, test| {
            known &= !matches!(test, Test::Compare { value: Literal::Shown(_), .. });
        });
        known
    }
}

impl Test {
    /// Its kind, which decides its class.
    pub fn operator(&self) -> Operator {
        match self {
            Self::Compare { comparison: Comparison::Eq, .. } => Operator::Equal,
            Self::Compare { comparison: Comparison::Ne, .. } => Operator::NotEqual,
            Self::Compare { .. } => Operator::Range,
            Self::Null => Operator::IsNull,
            Self::NotNull => Operator::IsNotNull,
            Self::Match { case: Case::Same, .. } => Operator::Match,
            Self::Match { .. } => Operator::MatchAnyCase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(path: &str, comparison: Comparison, value: u32) -> Filter {
        let field = Field { path: vec![path.into()], ty: ColumnType::Int4, vouched: false, key: false };
        let value = Literal::Integer(value.to_string());
        Filter::Test(field, Test::Compare { comparison, value, slack: Slack::default() })
    }

    #[test]
    fn without_a_field_there_are_never_less_rows() {
        let (a, b, c) =
            (test("A", Comparison::Eq, 1), test("B", Comparison::Eq, 1), test("C", Comparison::Eq, 1));
        let unwanted = |path: &[String]| path[0] == "A";
        let either = Filter::Or(vec![a.clone(), b.clone()]);
        assert_eq!(either.without(&unwanted), None);
        assert_eq!(
            Filter::And(vec![either, c.clone()]).without(&unwanted),
            Some(Filter::And(vec![c.clone()]))
        );
        assert_eq!(Filter::And(vec![a, b.clone()]).without(&unwanted), Some(Filter::And(vec![b])));
    }
}
