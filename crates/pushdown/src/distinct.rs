//! How many different values a column has, estimated from rows of a few places of a table.
//!
//! Rows that lie beside each other are alike: the lines of an order, the orders of a day. An estimate that takes such rows for
//! a random sample, as PostgreSQL's does, finds far too few values: those of the places alone. So what is counted here is in how
//! many places a value was found, and not how often.

use std::collections::HashMap;

/// A value in the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// The number of the place that the row was found in.
    pub place: u32,
    /// A hash of the value.
    pub hash: u32,
}

/// How the values of a column are spread over a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The estimated number of different values.
    pub distinct: f64,
    /// The part of the rows in the sample whose values were met in one place only.
    pub in_one_place: f64,
}

/// How the values of `all` rows are spread, of which `sample` are some, in the order of the table and place by place.
pub fn spread(sample: &[Sampled], all: f64) -> Spread {
    let values = Values::of(sample);
    let of_one_place = values.found.values().filter(|found| found.places == 1);
    let in_one_place: f64 = of_one_place.map(|found| f64::from(found.rows)).sum();
    Spread {
        distinct: values.distinct(sample.len() as f64, all),
        in_one_place: in_one_place / sample.len().max(1) as f64,
    }
}

/// Where a value was found.
struct Found {
    /// The last place, and the number of rows there.
    last: (u32, u32),
    places: u32,
    /// The places where it is not the first value.
    counted: u32,
    /// The rows in all places.
    rows: u32,
}

/// The values of a sample.
struct Values {
    found: HashMap<u32, Found>,
    /// The part of the rows beside each other that have the same value.
    alike_beside: f64,
    /// The part of all pairs of rows of a place that have.
    alike_anywhere: f64,
}

impl Values {
    fn of(sample: &[Sampled]) -> Self {
        let mut found: HashMap<u32, Found> = HashMap::new();
        let (mut first, mut before): (Option<Sampled>, Option<Sampled>) = (None, None);
        let (mut beside, mut alike_beside, mut pairs, mut alike_anywhere, mut of_place) =
            (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for row in sample.iter().copied() {
            let Sampled { place, hash } = row;
            if before.is_some_and(|before| before.place == place) {
                beside += 1;
                alike_beside += u64::from(before == Some(row));
            } else {
                first = Some(row);
                of_place = 0;
            }
            before = Some(row);
            let is_counted = u32::from(first != Some(row));
            let value = found.entry(hash).or_insert(Found {
                last: (place, 0),
                places: 1,
                counted: is_counted,
                rows: 0,
            });
            if value.last.0 != place {
                value.last = (place, 0);
                value.places += 1;
                value.counted += is_counted;
            }
            pairs += of_place;
            alike_anywhere += u64::from(value.last.1);
            of_place += 1;
            value.last.1 += 1;
            value.rows += 1;
        }
        let part = |some: u64, all: u64| some as f64 / all.max(1) as f64;
        Self { found, alike_beside: part(alike_beside, beside), alike_anywhere: part(alike_anywhere, pairs) }
    }

    /// The number of different values among `all` rows, from a sample of so many rows.
    ///
    /// The first value of a place is not counted there: it has begun before, so that a place has one however long the values
    /// last.
    fn distinct(&self, sample: f64, all: f64) -> f64 {
        let met = self.found.len() as f64;
        if met >= sample {
            return if met > 1.0 { all } else { met };
        }
        let share = (sample / all.max(1.0)).min(1.0);
        let counted: f64 = self.found.values().map(|found| f64::from(found.counted)).sum();
        let different = self.count(|found| found.counted > 0);
        let once = self.count(|found| found.counted == 1 && found.places == 1);
        let estimated = if self.are_in_runs() {
            // A value that was met in one place lies nowhere else, so there are as many in each part of the table.
            once / share + met - once
        } else if counted > 0.0 {
            // The estimator Duj1 of Haas and Stokes, which PostgreSQL uses too, of values per place instead of rows.
            counted * different / (counted - once + once * share)
        } else {
            met
        };
        estimated.clamp(met, all.max(met))
    }

    fn count(&self, is_one: impl Fn(&Found) -> bool) -> f64 {
        self.found.values().filter(|found| is_one(found)).count() as f64
    }

    /// Whether equal values lie beside each other, and a place has many different ones: the lines of orders.
    fn are_in_runs(&self) -> bool {
        /// How many times as often as anywhere in a place.
        const MANY_TIMES: f64 = 4.0;
        /// Fewer are not the rule.
        const LEAST: f64 = 0.1;
        self.alike_beside > LEAST && self.alike_beside > self.alike_anywhere * MANY_TIMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The estimate for a table of `all` rows from a thousand rows of ten places, as a part of the truth.
    fn estimate(all: u64, value: impl Fn(u64) -> u64) -> f64 {
        let mut sample = Vec::new();
        for place in 0..10 {
            let begin = place * (all - 1_000) / 9;
            for row in begin..begin + 1_000 {
                sample.push(Sampled { place: place as u32, hash: value(row) as u32 });
            }
        }
        let mut truth: Vec<u64> = (0..all).map(&value).collect();
        truth.sort_unstable();
        truth.dedup();
        spread(&sample, all as f64).distinct / truth.len() as f64
    }

    /// A number that looks random.
    fn mixed(row: u64) -> u64 {
        let mixed = (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32
    }

    /// The number of the document of a line: four types have as many documents, and one has more.
    fn number(line: u64) -> u64 {
        let of_type = if line < 444_000 { line % 111_000 } else { line - 444_000 };
        of_type / 4
    }

    #[test]
    fn values_that_lie_beside_each_other_are_not_taken_for_all() {
        for (name, found) in [
            ("a key", estimate(1_000_000, |row| row)),
            ("a type of a document", estimate(1_000_000, |row| row / 250_000)),
            ("an order of three lines", estimate(1_000_000, |row| row / 3)),
            ("a day of nine hundred rows", estimate(1_000_000, |row| row / 900)),
            ("a number of four lines", estimate(1_000_000, number)),
            ("a month of thirty thousand rows", estimate(1_000_000, |row| row / 30_000)),
        ] {
            assert!((0.25..4.0).contains(&found), "{name}: {found}");
        }
    }

    #[test]
    fn values_that_lie_anywhere_are_estimated_as_of_a_random_sample() {
        for values in [2, 30, 1_000, 20_000, 300_000] {
            let found = estimate(1_000_000, |row| mixed(row) % values);
            assert!((0.5..2.0).contains(&found), "{values}: {found}");
        }
    }

    #[test]
    fn it_is_between_what_was_met_and_all() {
        let distinct = |sample: &[Sampled], all| spread(sample, all).distinct;
        assert_eq!(distinct(&[], 100.0), 0.0);
        let one = Sampled { place: 0, hash: 7 };
        assert_eq!(distinct(&[one], 1.0), 1.0);
        assert_eq!(distinct(&[one, Sampled { place: 1, ..one }], 100.0), 1.0);
    }

    #[test]
    fn rows_of_values_in_one_place_are_counted() {
        let at = |place, hash| Sampled { place, hash };
        let found = spread(&[at(0, 1), at(0, 1), at(0, 2), at(1, 2), at(1, 3)], 50.0);
        assert_eq!(found.in_one_place, 0.6);
    }
}
