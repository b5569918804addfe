//! Conditions that the server is asked to apply.
//!
//! What is sent keeps every row that meets the condition and perhaps more: the caller checks again. A part that a
//! dialect cannot be trusted with is left out where that only adds rows. There is no negation: the caller asks for the
//! rows of which a condition is false, which De Morgan's laws bring down to single comparisons, so that a server's
//! notion of NOT and NULL is never relied on.

mod class;
mod print;

use serde::{Deserialize, Serialize};

use crate::decode::ColumnType;
use crate::literal::Literal;

pub use class::{Class, Dialect, Kind, Operator, class};
pub use print::refusal;
pub(crate) use print::{MOST_CHARACTERS, literal, print};

/// A condition on the fields of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Test(Field, Test),
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub path: Vec<String>,
    /// What it is decoded to.
    pub ty: ColumnType,
    /// Someone has said that the server may be asked.
    pub vouched: bool,
    /// It is part of the key.
    pub key: bool,
}

/// What is asked of a field. Without a value, it meets none but [`Test::Null`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    Compare {
        comparison: Comparison,
        value: Literal,
        /// Of moments only.
        slack: Slack,
    },
    Null,
    NotNull,
    Match {
        place: Place,
        text: String,
        case: Case,
    },
}

/// By how much a moment may differ from the value that it is compared with, in days, beyond what zones do to it on the
/// server's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slack {
    pub before: u16,
    pub after: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Where in a text another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Start,
    Anywhere,
    Whole,
}

/// Which case a text is brought to before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Case {
    Same,
    Lower,
    Upper,
}

/// More requests than this are not made for one list of values.
const MOST_PORTIONS: usize = 40;

impl Filter {
    /// Gives fields other names.
    pub(crate) fn rename(&mut self, new: &impl Fn(&Vec<String>) -> Vec<String>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.rename(new)),
            Self::Test(field, _) => field.path = new(&field.path),
        }
    }

    /// The paths that it is about.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.each_test(&mut |field, _| {
            let path = field.path.join("/");
            if !paths.contains(&path) {
                paths.push(path);
            }
        });
        paths
    }

    /// Whether someone has said that the server may be asked about the field.
    pub(crate) fn is_vouched(&self, path: &str) -> bool {
        let mut vouched = false;
        self.each_test(&mut |field, _| vouched |= field.vouched && field.path.join("/") == path);
        vouched
    }

    pub(crate) fn each_test<'a>(&'a self, act: &mut impl FnMut(&'a Field, &'a Test)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_test(act)),
            Self::Test(field, test) => act(field, test),
        }
    }

    /// What is left of it without the fields that `unwanted` tells: never less rows.
    pub(crate) fn without(&self, unwanted: &impl Fn(&[String]) -> bool) -> Option<Self> {
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

    pub(crate) fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            part => std::slice::from_ref(part),
        }
    }

    /// The value that a field has in all rows that meet the condition.
    pub(crate) fn value_of(&self, path: &[String]) -> Option<&Literal> {
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

    /// Whether all of it is sent, and the server's answer is PostgreSQL's.
    pub fn is_exact(&self, dialect: Dialect) -> bool {
        print::part(self, dialect)
            .is_some_and(|part| part.exact && print::encoded_length(&part.text) <= MOST_CHARACTERS)
    }

    /// Whether all values are there.
    pub fn is_known(&self) -> bool {
        let mut known = true;
        self.each_test(&mut |_, test| {
            known &= !matches!(test, Test::Compare { value: Literal::Shown(_), .. });
        });
        known
    }

    /// The same condition in portions that each find room in a request: a long list of values is split. The portions
    /// may have rows in common, since the server finds more values equal than PostgreSQL.
    pub(crate) fn portions(self, dialect: Dialect) -> Vec<Self> {
        let length =
            |part: &Self| print::part(part, dialect).map_or(0, |part| print::encoded_length(&part.text));
        let parts = self.conjuncts();
        let Some(long) = parts.iter().position(|part| length(part) > MOST_CHARACTERS && part.is_list())
        else {
            return vec![self];
        };
        let others: usize = parts.iter().map(length).filter(|length| *length <= MOST_CHARACTERS / 2).sum();
        let room = MOST_CHARACTERS.saturating_sub(others).max(MOST_CHARACTERS / 2);
        let Self::Or(values) = &parts[long] else { return vec![self] };
        let mut portions: Vec<(usize, Vec<Self>)> = Vec::new();
        for value in values {
            let added = length(value) + " or ".len() * 3;
            match portions.last_mut() {
                Some((length, portion)) if *length + added <= room => {
                    *length += added;
                    portion.push(value.clone());
                }
                _ => portions.push((added, vec![value.clone()])),
            }
        }
        if portions.len() > MOST_PORTIONS {
            return vec![self];
        }
        let with = |(_, values)| {
            // The portion first: it must be sent.
            let rest = parts.iter().enumerate().filter(|(at, _)| *at != long).map(|(_, part)| part.clone());
            Self::And(std::iter::once(Self::Or(values)).chain(rest).collect())
        };
        portions.into_iter().map(with).collect()
    }

    /// Whether it is a list of what one field may be.
    fn is_list(&self) -> bool {
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
    fn a_long_list_is_split_and_nothing_of_it_is_lost() {
        let list = Filter::Or((0..300).map(|value| test("A", Comparison::Eq, value)).collect());
        let other = test("B", Comparison::Gt, 5);
        let portions = Filter::And(vec![other, list]).portions(Dialect::GiV4);
        assert!(portions.len() > 3, "{}", portions.len());
        let sent: Vec<String> =
            portions.iter().map(|portion| print(portion, Dialect::GiV4).unwrap_or_default()).collect();
        for value in 0..300 {
            let asked = format!("A eq {value}");
            let of = |text: &String| text.split([' ', '(', ')']).collect::<Vec<_>>().join(" ");
            let ending =
                |text: &String| of(text).contains(&format!("{asked} ")) || of(text).ends_with(&asked);
            assert_eq!(sent.iter().filter(|text| ending(text)).count(), 1, "{asked}");
        }
        assert!(sent.iter().all(|text| text.ends_with(" and B gt 5")), "{sent:?}");
        let short = test("A", Comparison::Eq, 1);
        assert_eq!(short.clone().portions(Dialect::GiV4), [short]);
    }

    #[test]
    fn a_list_for_more_requests_than_are_made_is_left_whole() {
        let list = Filter::Or((0..20_000).map(|value| test("A", Comparison::Eq, value)).collect());
        assert_eq!(list.portions(Dialect::GiV4).len(), 1);
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

    #[test]
    fn what_is_superset_is_not_exact_nor_anything_it_is_part_of() {
        let (ne, gt) = (test("A", Comparison::Ne, 1), test("A", Comparison::Gt, 1));
        assert!(gt.is_exact(Dialect::Dac));
        assert!(!ne.is_exact(Dialect::Dac));
        assert!(!Filter::And(vec![gt.clone(), ne.clone()]).is_exact(Dialect::Dac));
        assert!(!Filter::Or(vec![gt.clone(), ne]).is_exact(Dialect::Dac));
        // Nor is what is sent only in part, or widened.
        let Filter::Test(field, _) = gt.clone() else { panic!() };
        let linked = Field { path: vec!["Linked".into(), "A".into()], ..field.clone() };
        let Filter::Test(_, test) = gt.clone() else { panic!() };
        assert!(!Filter::And(vec![gt, Filter::Test(linked, test)]).is_exact(Dialect::Dac));
        let value = Literal::Double("1.5".into());
        let about = Test::Compare { comparison: Comparison::Gt, value, slack: Slack::default() };
        assert!(!Filter::Test(field, about).is_exact(Dialect::Dac));
    }
}
