//! Conditions that are too long for one request.

use crate::filter::Filter;
use crate::list::list;
use crate::writing::{Writing, encoded_length, largest};

/// More requests than this are not made for one list of values.
const MOST_PORTIONS: usize = 40;

impl Filter {
    /// The same condition in portions that each find room in a request: a long OR, as of a list of values, is split. The portions
    /// may have rows in common, since the server finds more values equal than PostgreSQL.
    pub fn portions(self, writing: &Writing) -> Vec<Self> {
        let parts = self.conjuncts();
        let is_long = |part: &Self| part.length(writing).is_some_and(|length| length > writing.room);
        let Some(long) = parts.iter().position(is_long) else { return vec![self] };
        let portions = parts[long].pieces(self.room_beside(writing), writing);
        if portions.len() > MOST_PORTIONS {
            return vec![self];
        }
        let with = |portion| {
            // The portion first: it must be sent.
            let rest = parts.iter().enumerate().filter(|(at, _)| *at != long).map(|(_, part)| part.clone());
            Self::And(std::iter::once(portion).chain(rest).collect())
        };
        portions.into_iter().map(with).collect()
    }

    /// The room of a request that is left for one condition beside the parts of this one: half of it at least.
    pub fn room_beside(&self, writing: &Writing) -> usize {
        let lengths = self.conjuncts().iter().filter_map(|part| part.length(writing));
        let others = lengths.filter(|length| *length <= writing.room / 2);
        let others: usize = others.map(|length| length + encoded_length(" and ")).sum();
        writing.room.saturating_sub(others).max(writing.room / 2)
    }

    /// The same if only a list of values of one field is split.
    pub fn portions_of_list(self, writing: &Writing) -> Vec<Self> {
        let is_long = |part: &Self| part.length(writing).is_some_and(|length| length > writing.room);
        match self.conjuncts().iter().find(|part| is_long(part)).is_some_and(|part| list(part).is_some()) {
            true => self.portions(writing),
            false => vec![self],
        }
    }

    /// Conditions of which one must be met, no longer than `room` as far as they can be split.
    fn pieces(&self, room: usize, writing: &Writing) -> Vec<Self> {
        let length = |part: &Self| part.length(writing).unwrap_or(0);
        match self {
            _ if length(self) <= room => vec![self.clone()],
            Self::Test(..) => vec![self.clone()],
            Self::Or(parts) => {
                let parts: Vec<Self> = parts.iter().flat_map(|part| part.pieces(room, writing)).collect();
                let (mut pieces, mut rest) = (Vec::new(), parts.as_slice());
                while !rest.is_empty() && pieces.len() <= MOST_PORTIONS {
                    let fits = |count: usize| length(&Self::Or(rest[..count].to_vec())) <= room;
                    let (piece, others) = rest.split_at(largest(rest.len(), fits));
                    pieces.push(if let [one] = piece { one.clone() } else { Self::Or(piece.to_vec()) });
                    rest = others;
                }
                pieces
            }
            Self::And(parts) => {
                let Some(longest) = (0..parts.len()).max_by_key(|at| length(&parts[*at])) else {
                    return Vec::new();
                };
                let others: usize = parts.iter().map(length).sum::<usize>() - length(&parts[longest]);
                let pieces = parts[longest].pieces(room.saturating_sub(others), writing);
                let with = |piece| {
                    let mut parts = parts.clone();
                    parts[longest] = piece;
                    Self::And(parts)
                };
                pieces.into_iter().map(with).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Dialect;
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
        let list = Filter::Or((0..300).map(|value| test("A", Comparison::Eq, 2 * value)).collect());
        let other = test("B", Comparison::Gt, 5);
        let portions = Filter::And(vec![other, list]).portions(&Writing::plain(Dialect::GiV4));
        assert!(portions.len() > 3, "{}", portions.len());
        let sent: Vec<String> = portions
            .iter()
            .map(|portion| print(portion, &Writing::plain(Dialect::GiV4)).unwrap_or_default())
            .collect();
        for value in 0..300 {
            let asked = format!("A eq {}", 2 * value);
            let of = |text: &String| text.split([' ', '(', ')']).collect::<Vec<_>>().join(" ");
            let ending =
                |text: &String| of(text).contains(&format!("{asked} ")) || of(text).ends_with(&asked);
            assert_eq!(sent.iter().filter(|text| ending(text)).count(), 1, "{asked}");
        }
        assert!(sent.iter().all(|text| text.ends_with(" and B gt 5")), "{sent:?}");
        let short = test("A", Comparison::Eq, 1);
        assert_eq!(short.clone().portions(&Writing::plain(Dialect::GiV4)), [short]);
    }

    #[test]
    fn groups_with_long_lists_are_split_too() {
        let group = |of: u32| {
            let list = Filter::Or((0..200).map(|value| test("A", Comparison::Eq, 2 * value)).collect());
            Filter::And(vec![list, test("B", Comparison::Eq, of)])
        };
        let writing = Writing::plain(Dialect::GiV4);
        let portions = Filter::Or(vec![group(1), group(2)]).portions(&writing);
        assert!((6..12).contains(&portions.len()), "{}", portions.len());
        let sent: Vec<String> = portions.iter().filter_map(|portion| print(portion, &writing)).collect();
        assert_eq!(sent.len(), portions.len());
        assert!(sent.iter().all(|text| text.contains(" and B eq ")), "{sent:?}");
        assert_eq!(sent.join(" ").matches("A eq").count(), 400);
    }

    #[test]
    fn a_list_for_more_requests_than_are_made_is_left_whole() {
        let list = Filter::Or((0..20_000).map(|value| test("A", Comparison::Eq, 2 * value)).collect());
        assert_eq!(list.portions(&Writing::plain(Dialect::GiV4)).len(), 1);
    }
}
