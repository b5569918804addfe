//! The plan of a scan, which a planner hands to an executor as text.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::costs::Costs;
use crate::reason::Reason;

/// The plan of a scan of one table. Its columns are known by their attribute numbers; an expression of the query is known by
/// its index in a list that goes with the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanPlan {
    /// Columns to fetch, by attribute number.
    pub attributes: Vec<i16>,
    /// The number of rows that the query's LIMIT is expected to read, if no other node stands between it and the scan.
    pub limit: Option<u32>,
    /// The attribute number of the parameter whose value, or array of values, each of the first expressions is.
    pub arguments: Vec<i16>,
    /// The columns that the rows are sorted by.
    pub sort_keys: Vec<SortKey>,
    /// The conditions to send; each value is the index of its expression.
    pub conditions: Vec<Condition<usize>>,
    /// The clauses that are not sent, by their index in the plan's quals, each with the reason.
    pub kept: Vec<(usize, Reason)>,
    /// The upper relation that the server computes, if any.
    pub upper: Option<Upper>,
    /// If the scan is the inner side of a key join: the conditions that the keys of the outer rows make, one for each key
    /// column. A value is the index of the condition.
    pub join_keys: Vec<Condition<usize>>,
    /// The estimated number of rows that the server sends if it is not asked for values that only the executor knows.
    pub all_rows: u64,
    /// The estimated average size of a row, in bytes.
    pub width: u32,
    /// Each start of the scan is likely to return few rows.
    pub few_rows: bool,
    /// The costs of requests and rows of the table.
    pub costs: Costs,
    /// If the scan joins the table, which is that of a detail, with the table of its entity: the columns of its tuple.
    pub joined: Vec<JoinedColumn>,
}

/// A column of the tuple of a join of a detail with its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedColumn {
    /// It is a column of the table of the entity.
    pub of_record: bool,
    /// Its number in its table.
    pub attribute: i16,
}

/// A column that rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// The number of the column.
    pub attribute: i16,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// The query wants NULL at the other end than the server sorts it, so the rows with NULL are requested apart.
    pub nulls_apart: bool,
}

/// An upper relation that the server computes. The executor cannot recheck the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// The server counts the rows.
    Count,
    /// The server skips this many rows.
    Offset(u32),
}

impl SortKey {
    /// Whether the query wants NULLS FIRST.
    pub fn nulls_first(self) -> bool {
        self.descending == self.nulls_apart
    }
}

impl ScanPlan {
    /// The place of a column in the tuple of a join of a detail with its entity.
    pub fn place(&self, of_record: bool, attribute: i16) -> Option<usize> {
        self.joined.iter().position(|column| *column == JoinedColumn { of_record, attribute })
    }

    /// The plan as JSON in ASCII, which has the same bytes in every encoding of a database.
    pub fn encode(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_else(|error| unreachable!("a plan: {error}"));
        if json.is_ascii() {
            return json;
        }
        let mut ascii = String::with_capacity(json.len());
        let mut units = [0; 2];
        for character in json.chars() {
            match character.is_ascii() {
                true => ascii.push(character),
                false => {
                    for unit in character.encode_utf16(&mut units) {
                        ascii.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        ascii
    }

    /// The plan that [`ScanPlan::encode`] has written.
    ///
    /// # Errors
    /// The text is none that it writes.
    pub fn decode(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The conditions with `value(index)` in place of the index of each expression.
    pub fn conditions_over<V>(&self, value: impl Fn(usize) -> V) -> Vec<Condition<V>> {
        self.conditions.iter().map(|condition| condition.clone().map(&mut |index| value(index))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::column::ColumnType;
    use crate::condition::Reading;
    use crate::filter::{Anchor, Case, Comparison, Field, Slack, Test};
    use crate::literal::Literal;
    use crate::term::Syntax;

    fn fields() -> impl Strategy<Value = Field> {
        (prop::collection::vec(any::<String>(), 1..3), any::<bool>(), any::<bool>())
            .prop_map(|(path, vouched, key)| Field { path, ty: ColumnType::TimestampTz, vouched, key })
    }

    fn tests() -> impl Strategy<Value = Test> {
        let match_of = |text| Test::Match { anchor: Anchor::Anywhere, text, case: Case::Lower };
        let compare = |text: String| Test::Compare {
            comparison: Comparison::Ne,
            value: Literal::Text(text),
            slack: Slack { before: 1, after: 0 },
        };
        prop_oneof![
            Just(Test::Null),
            Just(Test::NotNull),
            any::<String>().prop_map(match_of),
            any::<String>().prop_map(compare),
        ]
    }

    fn conditions() -> impl Strategy<Value = Condition<usize>> {
        let leaf =
            prop_oneof![
                (fields(), any::<usize>(), any::<bool>(), any::<u16>()).prop_map(
                    |(field, values, every, after)| Condition::Compare {
                        field,
                        comparison: Comparison::Le,
                        values,
                        every,
                        slack: Slack { before: 0, after },
                        reading: if every { Reading::Year } else { Reading::Value },
                    }
                ),
                (fields(), any::<usize>(), any::<bool>())
                    .prop_map(|(field, value, is)| Condition::Distinct { field, value, is }),
                (fields(), tests()).prop_map(|(field, test)| Condition::Test(field, test)),
                (fields(), any::<usize>()).prop_map(|(field, text)| Condition::Match {
                    field,
                    text,
                    syntax: Syntax::Like,
                    case: Case::Upper,
                }),
            ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            let parts = prop::collection::vec(inner, 0..3);
            prop_oneof![parts.clone().prop_map(Condition::And), parts.prop_map(Condition::Or)]
        })
    }

    prop_compose! {
        fn plans()(
            attributes in prop::collection::vec(any::<i16>(), 0..4),
            limit in any::<Option<u32>>(),
            arguments in prop::collection::vec(any::<i16>(), 0..3),
            sort_keys in prop::collection::vec(any::<(i16, bool, bool)>(), 0..3),
            conditions in prop::collection::vec(conditions(), 0..3),
            kept in prop::collection::vec((any::<usize>(), prop_oneof![Just(Reason::Off), Just(Reason::Linked)]), 0..3),
            upper in prop_oneof![Just(None), Just(Some(Upper::Count)), any::<u32>().prop_map(|rows| Some(Upper::Offset(rows)))],
            join_keys in prop::collection::vec(conditions(), 0..2),
            all_rows in any::<u64>(),
            width in any::<u32>(),
            few_rows in any::<bool>(),
            quarters in any::<(u16, u16)>(),
            joined in prop::collection::vec(any::<(bool, i16)>(), 0..3),
        ) -> ScanPlan {
            let key = |(attribute, descending, nulls_apart)| SortKey { attribute, descending, nulls_apart };
            let sort_keys = sort_keys.into_iter().map(key).collect();
            let column = |(of_record, attribute)| JoinedColumn { of_record, attribute };
            let joined = joined.into_iter().map(column).collect();
            let costs = Costs { request: f64::from(quarters.0) / 4.0, row: f64::from(quarters.1) / 4.0 };
            ScanPlan { attributes, limit, arguments, sort_keys, conditions, kept, upper, join_keys, all_rows, width, few_rows, costs, joined }
        }
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_was_encoded(plan in plans()) {
            let text = plan.encode();
            // PostgreSQL keeps it as a C string.
            prop_assert!(text.is_ascii() && !text.contains('\0'));
            prop_assert_eq!(ScanPlan::decode(&text).unwrap(), plan);
        }
    }

    #[test]
    fn members_have_names() {
        let sort_keys = vec![SortKey { attribute: 3, descending: true, nulls_apart: false }];
        let plan =
            ScanPlan { limit: Some(0), sort_keys, upper: Some(Upper::Offset(0)), ..ScanPlan::default() };
        assert_eq!(
            plan.encode(),
            r#"{"attributes":[],"limit":0,"arguments":[],"sort_keys":[{"attribute":3,"descending":true,"nulls_apart":false}],"conditions":[],"kept":[],"upper":{"Offset":0},"join_keys":[],"all_rows":0,"width":0,"few_rows":false,"costs":{"request":100.0,"row":0.1},"joined":[]}"#
        );
    }
}
