//! Conditions that are too long for one request.

use crate::class::Dialect;
use crate::filter::Filter;
use crate::print::{MOST_CHARACTERS, encoded_length, part};

/// More requests than this are not made for one list of values.
const MOST_PORTIONS: usize = 40;

impl Filter {
    /// The same condition in portions that each find room in a request: a long list of values is split. The portions
    /// may have rows in common, since the server finds more values equal than PostgreSQL.
    pub fn portions(self, dialect: Dialect) -> Vec<Self> {
        let length = |part: &Self| self::part(part, dialect).map_or(0, |part| encoded_length(&part.text));
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;
    use crate::filter::{Comparison, Field, Slack, Test};
    use crate::literal::Literal;
    use crate::print::print;

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
}
