//! How a list of values that one field is compared with is written.
//!
//! `F eq 'a' or F eq 'b'` is what every server takes. `F in ('a','b')` needs a third of the room, but a server may refuse it,
//! or ignore it in silence, so it is written only for fields that the server was seen to compare rightly. Runs of whole numbers
//! become ranges.

use std::collections::BTreeSet;

use crate::class::TypeCategory;
use crate::filter::{Comparison, Field, Filter, Test};
use crate::literal::Literal;
use crate::writing::{Writing, Written, alternatives};

/// A shorter run of whole numbers is no shorter as a range.
const SHORTEST_RUN: usize = 4;

/// The field of an OR of equalities, and its values, as IN gives; `None` for any other filter.
pub(crate) fn list(filter: &Filter) -> Option<(&Field, Vec<&Literal>)> {
    let Filter::Or(parts) = filter else { return None };
    let equality = |part| match part {
        &Filter::Test(ref field, Test::Compare { comparison: Comparison::Eq, ref value, .. }) => {
            Some((field, value))
        }
        _ => None,
    };
    let (first, _) = equality(parts.first()?)?;
    let values = parts.iter().map(|part| equality(part).filter(|(field, _)| *field == first));
    Some((first, values.map(|found| Some(found?.1)).collect::<Option<_>>()?))
}

impl Filter {
    /// The lists of values that a field of the record itself is compared with, wherever they stand: its name, and the list.
    pub fn lists(&self) -> Vec<(String, &Self)> {
        match (list(self), self) {
            (Some((Field { path, .. }, _)), _) => match path.as_slice() {
                [name] => vec![(name.clone(), self)],
                _ => Vec::new(),
            },
            (None, Self::And(parts) | Self::Or(parts)) => parts.iter().flat_map(Self::lists).collect(),
            (None, Self::Test(..)) => Vec::new(),
        }
    }

    /// The most rows that can meet it, if rows differ in the fields of `key`; `None` if it does not tell all of these.
    pub fn most_rows(&self, key: &[String]) -> Option<u64> {
        let (fields, rows) = self.told(key)?;
        (fields.len() == key.len()).then_some(rows)
    }

    /// The fields of `key` that each row that meets it has one of so many combinations of values of.
    fn told(&self, key: &[String]) -> Option<(BTreeSet<&str>, u64)> {
        match self {
            Self::Test(field, Test::Compare { comparison: Comparison::Eq, .. }) => {
                match field.path.as_slice() {
                    [name] if key.contains(name) => Some((BTreeSet::from([name.as_str()]), 1)),
                    _ => None,
                }
            }
            Self::Test(..) => None,
            Self::Or(parts) => {
                let told: Vec<_> = parts.iter().map(|part| part.told(key)).collect::<Option<_>>()?;
                let (fields, _) = told.first()?.clone();
                let are_same = told.iter().all(|(others, _)| *others == fields);
                are_same.then(|| (fields, told.iter().map(|(_, rows)| rows).sum()))
            }
            Self::And(parts) => parts.iter().filter_map(|part| part.told(key)).reduce(|one, other| {
                let (fields, rows) = other;
                match fields.is_subset(&one.0) {
                    true => one,
                    false => (&one.0 | &fields, one.1.saturating_mul(rows)),
                }
            }),
        }
    }
}

/// An OR of equalities of one field of the record itself; `None` if it is another filter, or one of its parts cannot be sent.
/// `alone` writes one of its parts.
pub(crate) fn written(
    filter: &Filter,
    writing: &Writing,
    alone: &impl Fn(&Filter) -> Option<Written>,
) -> Option<Written> {
    let (field, values) = list(filter)?;
    let Filter::Or(parts) = filter else { return None };
    let [name] = field.path.as_slice() else { return None };
    let kind = TypeCategory::of(field.ty)?;
    let is_in = writing.lists.contains(name);
    // A column of whole numbers may show a field that has others; keys have none. Some forms of contract REST answer nothing to
    // conditions, which the client finds out for equality.
    let is_range = field.key && !writing.dialect.is_rest();
    let mut numbers: Vec<i64> = Vec::new();
    let (mut listed, mut rest): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut exact = true;
    for (value, part) in values.into_iter().zip(parts) {
        // What cannot be sent alone cannot be sent in a list: an empty text, or a date.
        let single = alone(part)?;
        exact &= single.exact;
        match (kind, value) {
            (TypeCategory::Integer, Literal::Integer(digits)) if digits.parse::<i64>().is_ok() => {
                numbers.extend(digits.parse::<i64>());
            }
            (TypeCategory::Text, Literal::Text(text)) if is_in && is_plain(text) => {
                listed.push(value.odata(writing.dialect));
            }
            _ => rest.push(single.text),
        }
    }
    let mut texts = Vec::new();
    numbers.sort_unstable();
    numbers.dedup();
    for run in numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        match run {
            [first, .., last] if run.len() >= SHORTEST_RUN && is_range => {
                texts.push(format!("({name} ge {first} and {name} le {last})"));
            }
            _ if is_in => listed.extend(run.iter().map(i64::to_string)),
            _ => texts.extend(run.iter().map(|number| format!("{name} eq {number}"))),
        }
    }
    if let [one] = listed.as_slice() {
        texts.push(format!("{name} eq {one}"));
    } else if !listed.is_empty() {
        texts.push(format!("{name} in ({})", listed.join(",")));
    }
    texts.extend(rest);
    Some(Written { text: alternatives(&texts)?, exact })
}

/// Releases of the library that reads conditions for the server fail at quotes, commas and brackets within a list
/// (<https://github.com/OData/odata.net/issues/1313>, <https://github.com/OData/odata.net/issues/1623>,
/// <https://github.com/OData/WebApi/issues/2136>).
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || " -_./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;
    use crate::filter::Slack;

    fn equal(name: &str, value: &str) -> Filter {
        let field = Field { path: vec![name.into()], ty: ColumnType::Text, vouched: true, key: true };
        let value = Literal::Text(value.into());
        Filter::Test(field, Test::Compare { comparison: Comparison::Eq, value, slack: Slack::default() })
    }

    #[test]
    fn a_condition_on_the_whole_key_tells_how_many_rows_can_meet_it() {
        let key = ["Type".to_owned(), "Nbr".to_owned()];
        let list = |values: &[&str]| Filter::Or(values.iter().map(|value| equal("Nbr", value)).collect());
        let group = |of: &str, values: &[&str]| Filter::And(vec![list(values), equal("Type", of)]);
        assert_eq!(group("SO", &["1", "2"]).most_rows(&key), Some(2));
        assert_eq!(Filter::Or(vec![group("SO", &["1", "2"]), group("QT", &["1"])]).most_rows(&key), Some(3));
        let with_another = group("SO", &["1", "2"]).and(equal("Hold", "x"));
        assert_eq!(with_another.most_rows(&key), Some(2));
        // Any type, or any number.
        assert_eq!(list(&["1"]).most_rows(&key), None);
        assert_eq!(Filter::Or(vec![group("SO", &["1"]), equal("Type", "QT")]).most_rows(&key), None);
        assert_eq!(Filter::Or(vec![group("SO", &["1"]), equal("Hold", "x")]).most_rows(&key), None);
    }
}
