//! Conditions that the server is asked to apply.
//!
//! What is sent keeps every row that meets the condition and perhaps more: the caller checks again. A part that a
//! dialect cannot be trusted with is left out where that only adds rows. There is no negation: the caller asks for the
//! rows of which a condition is false, which De Morgan's laws bring down to single comparisons, so that a server's
//! notion of NOT and NULL is never relied on.

use serde::{Deserialize, Serialize};

use crate::class::Operator;
use crate::column::ColumnType;
use crate::literal::Literal;

/// A condition on the fields of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All are met.
    And(Vec<Filter>),
    /// One at least is met.
    Or(Vec<Filter>),
    /// A field meets a test.
    Test(Field, Test),
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The names on the way to it, such as `["ShipToAddress", "City"]`.
    pub path: Vec<String>,
    /// What it is decoded to.
    pub ty: ColumnType,
    /// Its option `pushdown` is set: the server may be asked about it, and it is no drop-down.
    pub vouched: bool,
    /// It is part of the key.
    pub key: bool,
}

/// What is asked of a field. Without a value, it meets none but [`Test::Null`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    /// It compares so to a value.
    Compare {
        /// How it compares.
        comparison: Comparison,
        /// With what.
        value: Literal,
        /// Of moments only.
        slack: Slack,
    },
    /// It has no value.
    Null,
    /// It has a value.
    NotNull,
    /// It holds a text.
    Match {
        /// Where.
        anchor: Anchor,
        /// Which text.
        text: String,
        /// In which case.
        case: Case,
    },
}

/// By how much a moment may differ from the value that it is compared with, in days, beyond what zones do to it on the
/// server's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slack {
    /// By so many it may be earlier.
    pub before: u16,
    /// By so many it may be later.
    pub after: u16,
}

/// A comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Where in a text another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anchor {
    /// At its beginning.
    Start,
    /// Anywhere in it.
    Anywhere,
    /// It is the whole of it.
    Whole,
}

/// Which case a text is brought to before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Case {
    /// None: as it is.
    Same,
    /// `lower(…)`
    Lower,
    /// `upper(…)`
    Upper,
}

impl Filter {
    /// Gives fields other names.
    pub fn rename(&mut self, new: &impl Fn(&Vec<String>) -> Vec<String>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.rename(new)),
            Self::Test(field, _) => field.path = new(&field.path),
        }
    }

    /// The paths that it is about.
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

    /// Whether a field in it is [vouched](Field::vouched) for.
    pub fn is_vouched(&self, path: &str) -> bool {
        let mut vouched = false;
        self.each_test(&mut |field, _| vouched |= field.vouched && field.path.join("/") == path);
        vouched
    }

    /// Each of its tests, in order.
    pub fn each_test<'a>(&'a self, act: &mut impl FnMut(&'a Field, &'a Test)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_test(act)),
            Self::Test(field, test) => act(field, test),
        }
    }

    /// What is left of it without the fields that `unwanted` tells: never less rows.
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

    /// What must all be met: its parts if it is an AND, else itself.
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            part => std::slice::from_ref(part),
        }
    }

    /// The value that a field has in all rows that meet the condition.
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

    /// Whether all values are there.
    pub fn is_known(&self) -> bool {
        let mut known = true;
        self.each_test(&mut |_, test| {
            known &= !matches!(test, Test::Compare { value: Literal::Shown(_), .. });
        });
        known
    }

    /// Whether it is a list of what one field may be.
    pub(crate) fn is_list(&self) -> bool {
        let Self::Or(parts) = self else { return false };
        let field = |part: &Self| match part {
            Self::Test(field, Test::Compare { comparison: Comparison::Eq, .. }) => Some(field.clone()),
            _ => None,
        };
        let first = parts.first().and_then(field);
        first.is_some() && parts.iter().all(|part| field(part) == first)
    }
}

impl Test {
    /// What it asks of the field.
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
