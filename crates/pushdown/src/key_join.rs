//! Key joins: what a planner tells an executor of one, and when it is cheaper to read all rows than those of the keys.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::condition::{Condition, Outcome, Values, outcome};
use crate::costs::Costs;
use crate::filter::Filter;
use crate::literal::Literal;

/// The number of keys in the first block. The second is one request; after it, it is known what they cost.
const FIRST_BLOCK: usize = 10;
/// If reading all rows costs no more than so many requests, the first blocks are not kept small: they could cost as much.
const FEW_REQUESTS: f64 = 4.0;
/// Until so many keys were asked for, the planner's estimate of the rows for a key is used.
const TELLING_KEYS: usize = 20;
/// Keys of several columns are grouped by all but one, if these have no more different values than this. It is ours: types of
/// documents are few, numbers of lines are many.
pub const MOST_GROUPS: usize = 8;
/// More keys are never wanted at a time.
const MOST_KEYS: usize = 1 << 20;

/// What the executor is told of a key join.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyJoin {
    /// The type of the join.
    pub kind: JoinKind,
    /// The estimated number of rows that the server sends if it is asked for no keys.
    pub all_rows: f64,
    /// `all_rows` is a guess: the table has neither statistics nor the option `rows`.
    pub is_guess: bool,
    /// The estimated number of rows for each key.
    pub rows_per_key: f64,
    /// The key whose values are listed, by its index, if there are several: see [`of_keys`].
    pub listed: usize,
    /// The maximum number of rows in a page.
    pub page_size: u32,
    /// The costs of requests and rows of the table.
    pub costs: Costs,
}

/// The types of join that a key join can do. The table that is asked by keys is the inner side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Each pair of rows that match.
    Inner,
    /// And the outer rows without a match.
    Left,
    /// Outer rows with a match, each once.
    Semi,
    /// Outer rows without a match.
    Anti,
}

/// What a key join has asked for since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Blocks of keys.
    pub blocks: usize,
    /// Distinct keys.
    pub keys: usize,
    /// The rows that came for them.
    pub rows: u64,
}

/// The order of the columns of keys by which they are sorted, so that a block of neighbours needs a short condition: first the
/// columns that [`of_keys`] compares with single values, last the one that it compares with a list; or that one alone if the
/// others have too many values.
pub fn sort_order(keys: &[&[Literal]], listed: usize) -> Vec<usize> {
    let others = (0..keys.first().map_or(0, |key| key.len())).filter(|column| *column != listed);
    match groups(keys, listed).len() <= MOST_GROUPS {
        true => others.chain([listed]).collect(),
        false => vec![listed],
    }
}

/// What the server is asked for, so that it sends the rows of all `keys`, and few others. Each key has a value for each of the
/// `conditions`. Keys are grouped by the values of all columns but the `listed` one. If there are many groups, only the listed
/// column is compared: it should be that whose values have the fewest rows.
pub fn of_keys(conditions: &[Condition<usize>], keys: &[&[Literal]], listed: usize) -> Outcome {
    let asked = |column: usize, values: &[&Literal]| {
        let values =
            Values { literals: values.iter().map(|value| Ok((*value).clone())).collect(), has_null: false };
        outcome(std::slice::from_ref(&conditions[column]), &|_| values.clone())
    };
    let groups = groups(keys, listed);
    if groups.len() > MOST_GROUPS {
        return asked(listed, &distinct(keys, listed));
    }
    let group = |(others, values): (Vec<&Literal>, Vec<&Literal>)| {
        let columns = (0..conditions.len()).filter(|column| *column != listed);
        let others = columns.zip(others).map(|(column, value)| asked(column, &[value]));
        others.fold(asked(listed, &values), Outcome::and)
    };
    let mut filters = Vec::new();
    for outcome in groups.into_iter().map(group) {
        match outcome {
            Outcome::Filter(filter) => filters.push(filter),
            Outcome::AnyRow => return Outcome::AnyRow,
            Outcome::NoRow => {}
        }
    }
    match filters.len() {
        0 => Outcome::NoRow,
        1 => Outcome::Filter(filters.remove(0)),
        _ => Outcome::Filter(Filter::Or(filters)),
    }
}

fn distinct<'a>(keys: &[&'a [Literal]], column: usize) -> Vec<&'a Literal> {
    let mut met = HashSet::new();
    keys.iter().map(|key| &key[column]).filter(|value| met.insert(*value)).collect()
}

/// The values of the column `listed`, by those of the other columns.
fn groups<'a>(keys: &[&'a [Literal]], listed: usize) -> Vec<(Vec<&'a Literal>, Vec<&'a Literal>)> {
    let mut places: HashMap<Vec<&Literal>, usize> = HashMap::new();
    let mut groups: Vec<(Vec<&Literal>, Vec<&Literal>)> = Vec::new();
    for key in keys {
        let others =
            || key.iter().enumerate().filter(|(column, _)| *column != listed).map(|(_, value)| value);
        let place = *places.entry(others().collect()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((others().collect(), Vec::new()));
        }
        groups[place].1.push(&key[listed]);
    }
    groups
}

impl JoinKind {
    /// Whether outer rows without a match are rows of the join.
    pub fn keeps_unmatched(self) -> bool {
        matches!(self, Self::Left | Self::Anti)
    }
}

impl KeyJoin {
    /// The plan as JSON in ASCII.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("a key join: {error}"))
    }

    /// The plan that [`KeyJoin::encode`] has written.
    ///
    /// # Errors
    /// The text is none that it writes.
    pub fn decode(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The cost of reading all rows once.
    pub fn cost_of_all(&self) -> f64 {
        self.costs.of_scan(self.all_rows, self.page_size)
    }

    /// The estimated cost of asking for `keys` more keys, of which a request holds `per_request`.
    pub fn cost_of(&self, keys: usize, per_request: usize, asked: Asked) -> f64 {
        self.costs.of(keys.div_ceil(per_request.max(1)) as f64, keys as f64 * self.rows_of_key(asked))
    }

    /// The estimated number of rows for each further key.
    pub fn rows_of_key(&self, asked: Asked) -> f64 {
        match asked.keys >= TELLING_KEYS {
            true => asked.rows as f64 / asked.keys as f64,
            false => self.rows_per_key,
        }
    }

    /// How many keys to collect before the next block: few at first, so that a LIMIT stops early; then so many that it would
    /// be cheaper to read all rows, for then it is known which of both is.
    pub fn wanted(&self, per_request: usize, asked: Asked) -> usize {
        let all = self.cost_of_all();
        let few = [FIRST_BLOCK, per_request].get(asked.blocks).copied();
        if let Some(few) = few.filter(|_| all > self.costs.of(FEW_REQUESTS, 0.0)) {
            // If keys have many rows, it may soon turn out that reading all rows is cheaper.
            let cheap = all / 4.0 / self.costs.of(0.0, self.rows_of_key(asked));
            return few.min(cheap as usize).max(1);
        }
        let mut wanted = 1;
        while wanted < MOST_KEYS && self.cost_of(wanted, per_request, asked) <= all {
            wanted *= 2;
        }
        wanted
    }

    /// If the size of the table is a guess and the pending keys cost more than a few requests: the number of rows that cost as
    /// much to read. Whether there are so many takes one request to find out.
    pub fn rows_to_probe(&self, pending: usize, per_request: usize, asked: Asked) -> Option<u64> {
        let Costs { request, row } = self.costs;
        let cost = self.cost_of(pending, per_request, asked) - request;
        let per_row = request / f64::from(self.page_size) + row;
        (self.is_guess && cost > FEW_REQUESTS * request).then_some((cost / per_row) as u64)
    }

    /// What a probe has found: whether there are more than `rows` rows.
    pub fn learn(&mut self, rows: u64, there_are_more: bool) {
        self.is_guess = false;
        self.all_rows = match there_are_more {
            true => self.all_rows.max(rows as f64),
            // Somewhere below.
            false => self.all_rows.min(rows as f64 / 2.0),
        };
    }

    /// Whether it is cheaper to read all rows than those of `pending` keys.
    pub fn is_dear(&self, pending: usize, per_request: usize, asked: Asked) -> bool {
        self.cost_of(pending, per_request, asked) > self.cost_of_all()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::class::Dialect;
    use crate::column::ColumnType;
    use crate::condition::Reading;
    use crate::filter::{Comparison, Field, Slack};
    use crate::print::print;
    use crate::writing::Writing;

    fn join(all_rows: f64, rows_per_key: f64) -> KeyJoin {
        KeyJoin {
            kind: JoinKind::Inner,
            all_rows,
            is_guess: false,
            rows_per_key,
            listed: 0,
            page_size: 10_000,
            costs: Costs::default(),
        }
    }

    /// What a join costs that has so many keys, if each has as many rows as was estimated: requests and rows.
    fn spent(join: KeyJoin, keys: usize, per_request: usize) -> f64 {
        let (mut asked, mut spent, mut left) = (Asked::default(), 0.0, keys);
        while left > 0 {
            let pending = left.min(join.wanted(per_request, asked));
            if join.is_dear(pending, per_request, asked) {
                return spent + join.cost_of_all();
            }
            let block = pending.min(per_request);
            let rows = block as f64 * join.rows_per_key;
            spent += join.costs.of(1.0, rows);
            asked.blocks += 1;
            asked.keys += block;
            asked.rows += rows as u64;
            left -= block;
        }
        spent
    }

    proptest! {
        #[test]
        fn a_join_costs_no_more_than_half_as_much_again_as_the_better_way(
            keys in 1_usize..5_000,
            per_request in 1_usize..800,
            all_rows in 0_f64..2e6,
            rows_per_key in 0_f64..300.0,
        ) {
            let join = join(all_rows, rows_per_key.min(all_rows));
            let better = join.cost_of(keys, per_request, Asked::default()).min(join.cost_of_all());
            let spent = spent(join, keys, per_request);
            // Two small requests before it is known how many keys there are.
            prop_assert!(spent <= better * 1.5 + 2.0 * join.costs.request, "{spent} for {better}");
        }

        #[test]
        fn a_plan_reads_as_it_was_written(all_rows in any::<u32>(), quarters in any::<u16>()) {
            let join = join(f64::from(all_rows), f64::from(quarters) / 4.0);
            prop_assert_eq!(KeyJoin::decode(&join.encode()).unwrap(), join);
        }
    }

    #[test]
    fn few_keys_of_a_large_table_are_asked_for_and_many_of_a_small_one_are_not() {
        let large = join(1e6, 1.0);
        assert!(!large.is_dear(1_000, 30, Asked::default()));
        assert_eq!(large.wanted(30, Asked::default()), 10);
        let small = join(300.0, 1.0);
        assert!(small.is_dear(300, 30, Asked::default()) && !small.is_dear(20, 30, Asked::default()));
        assert!(small.wanted(30, Asked::default()) > 30);
    }

    #[test]
    fn the_size_of_a_table_is_probed_once_if_it_is_a_guess() {
        let asked = Asked { blocks: 2, keys: 40, rows: 40 };
        let mut small = KeyJoin { is_guess: true, ..join(10_000.0, 1.0) };
        assert_eq!(small.rows_to_probe(60, 30, asked), None);
        let rows = small.rows_to_probe(1_000, 30, asked).unwrap();
        assert!(small.costs.of_scan(rows as f64, 10_000) <= small.cost_of(1_000, 30, asked));
        let mut large = small;
        small.learn(rows, false);
        assert!(small.is_dear(1_000, 30, asked) && small.rows_to_probe(1_000, 30, asked).is_none());
        large.learn(rows, true);
        assert!(!large.is_dear(900, 30, asked) && large.rows_to_probe(1_000, 30, asked).is_none());
    }

    fn columns(names: &[&str]) -> Vec<Condition<usize>> {
        let field =
            |name: &str| Field { path: vec![name.into()], ty: ColumnType::Text, vouched: true, key: true };
        let compared = |(at, name): (usize, &&str)| Condition::Compare {
            field: field(name),
            comparison: Comparison::Eq,
            values: at,
            every: false,
            slack: Slack::default(),
            reading: Reading::Value,
        };
        names.iter().enumerate().map(compared).collect()
    }

    fn sent(conditions: &[Condition<usize>], keys: &[Vec<Literal>], listed: usize) -> String {
        let keys: Vec<&[Literal]> = keys.iter().map(Vec::as_slice).collect();
        match of_keys(conditions, &keys, listed) {
            Outcome::Filter(filter) => print(&filter, &Writing::plain(Dialect::GiV4)).unwrap_or_default(),
            other => format!("{other:?}"),
        }
    }

    fn key(values: &[&str]) -> Vec<Literal> {
        values.iter().map(|value| Literal::Text((*value).into())).collect()
    }

    #[test]
    fn pairs_of_values_are_grouped_by_the_column_with_few_of_them() {
        let conditions = columns(&["Type", "Nbr"]);
        let keys = [key(&["SO", "1"]), key(&["SO", "2"]), key(&["QT", "1"])];
        assert_eq!(
            sent(&conditions, &keys, 1),
            "((((Nbr eq '1') or (Nbr eq '2')) and Type eq 'SO') or ((Nbr eq '1') and Type eq 'QT'))"
                .replace("((Nbr eq '1') or (Nbr eq '2'))", "(Nbr eq '1' or Nbr eq '2')")
                .replace("((Nbr eq '1') and", "(Nbr eq '1' and")
        );
        // One group: the server may refuse one of both, and is then asked for the other.
        assert_eq!(sent(&conditions, &keys[..2], 1), "(Nbr eq '1' or Nbr eq '2') and Type eq 'SO'");
        assert_eq!(sent(&conditions[..1], &[key(&["SO"])], 0), "Type eq 'SO'");
    }

    #[test]
    fn of_pairs_in_many_groups_the_values_of_one_column_are_listed() {
        let conditions = columns(&["Nbr", "Line"]);
        let keys: Vec<_> = (0..40).map(|at| key(&[&(at / 3).to_string(), &(at % 20).to_string()])).collect();
        // Whichever has more values in a block.
        let by_number = sent(&conditions, &keys, 0);
        assert!(by_number.contains("Nbr eq '13'") && !by_number.contains("Line"), "{by_number}");
        let by_line = sent(&conditions, &keys, 1);
        assert!(by_line.contains("Line eq '19'") && !by_line.contains("Nbr"), "{by_line}");
        let keys: Vec<&[Literal]> = keys.iter().map(Vec::as_slice).collect();
        assert_eq!(sort_order(&keys, 0), [0]);
        let pair = [key(&["1", "SO"]), key(&["2", "SO"])];
        assert_eq!(sort_order(&pair.iter().map(Vec::as_slice).collect::<Vec<_>>(), 0), [1, 0]);
    }

    #[test]
    fn rows_that_came_for_keys_count_more_than_an_estimate() {
        let join = join(50_000.0, 1.0);
        let asked = Asked { blocks: 2, keys: 100, rows: 100_000 };
        assert!(join.is_dear(60, 30, asked) && !join.is_dear(60, 30, Asked::default()));
    }

    #[test]
    fn dear_requests_make_a_join_read_all_rows_and_dear_rows_ask_for_keys() {
        let usual = join(50_000.0, 1.0);
        assert!(!usual.is_dear(600, 30, Asked::default()));
        let slow = KeyJoin { costs: Costs { request: 1_000.0, ..usual.costs }, ..usual };
        assert!(slow.is_dear(600, 30, Asked::default()));
        assert!(usual.is_dear(10_000, 30, Asked::default()));
        let dear_rows = KeyJoin { costs: Costs { row: 1.0, ..usual.costs }, ..usual };
        assert!(!dear_rows.is_dear(10_000, 30, Asked::default()));
    }
}
