//! Key joins: what a planner tells an executor of one, and when it is cheaper to read all rows than those of the keys.

use serde::{Deserialize, Serialize};

use crate::costs::Costs;
use crate::print::MOST_CHARACTERS;

/// The number of keys in the first blocks. Later ones are as large as a request can hold.
const FIRST_BLOCKS: [usize; 2] = [10, 100];
/// If reading all rows costs no more than so many requests, the first blocks are not kept small: they could cost as much.
const FEW_REQUESTS: f64 = 4.0;
/// Until so many keys were asked for, the planner's estimate of the rows for a key is used.
const TELLING_KEYS: usize = 20;
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

    /// The estimated cost of asking for `keys` more keys, of which each takes `length` characters of a request.
    pub fn cost_of(&self, keys: usize, length: usize, asked: Asked) -> f64 {
        let per_key = match asked.keys >= TELLING_KEYS {
            true => asked.rows as f64 / asked.keys as f64,
            false => self.rows_per_key,
        };
        let per_request = (MOST_CHARACTERS / length.max(1)).max(1);
        self.costs.of((keys as f64 / per_request as f64).ceil(), keys as f64 * per_key)
    }

    /// How many keys to collect before the next block: few at first, so that a LIMIT stops early; then so many that it would
    /// be cheaper to read all rows, for then it is known which of both is.
    pub fn wanted(&self, length: usize, asked: Asked) -> usize {
        let all = self.cost_of_all();
        if let Some(few) = FIRST_BLOCKS.get(asked.blocks).filter(|_| all > self.costs.of(FEW_REQUESTS, 0.0)) {
            return *few;
        }
        let mut wanted = 1;
        while wanted < MOST_KEYS && self.cost_of(wanted, length, asked) <= all {
            wanted *= 2;
        }
        wanted
    }

    /// If the size of the table is a guess and the pending keys cost more than a few requests: the number of rows that cost as
    /// much to read. Whether there are so many takes one request to find out.
    pub fn rows_to_probe(&self, pending: usize, length: usize, asked: Asked) -> Option<u64> {
        let Costs { request, row } = self.costs;
        let cost = self.cost_of(pending, length, asked) - request;
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
    pub fn is_dear(&self, pending: usize, length: usize, asked: Asked) -> bool {
        self.cost_of(pending, length, asked) > self.cost_of_all()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join(all_rows: f64, rows_per_key: f64) -> KeyJoin {
        KeyJoin {
            kind: JoinKind::Inner,
            all_rows,
            is_guess: false,
            rows_per_key,
            page_size: 10_000,
            costs: Costs::default(),
        }
    }

    /// What a join costs that has so many keys, if each has as many rows as was estimated: requests and rows.
    fn spent(join: KeyJoin, keys: usize, length: usize) -> f64 {
        let (mut asked, mut spent, mut left) = (Asked::default(), 0.0, keys);
        while left > 0 {
            let pending = left.min(join.wanted(length, asked));
            if join.is_dear(pending, length, asked) {
                return spent + join.cost_of_all();
            }
            let block = pending.min((MOST_CHARACTERS / length).max(1));
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
            length in 10_usize..200,
            all_rows in 0_f64..2e6,
            rows_per_key in 0_f64..300.0,
        ) {
            let join = join(all_rows, rows_per_key.min(all_rows));
            let better = join.cost_of(keys, length, Asked::default()).min(join.cost_of_all());
            let spent = spent(join, keys, length);
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
