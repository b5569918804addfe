//! How long the server takes for a request and for a row: averages for each table.
//!
//! Answers of a few rows tell what a request takes, answers of many rows what a row takes beyond that. An average is that of
//! the logarithms of the last few times. It is published once it has differed from the published one by half for some answers,
//! so neither one slow answer nor a small change changes a plan.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use crate::lock;
use crate::metadata::learnt::{Learnt, Topic};

/// An answer of at most so many rows tells what a request takes.
const FEW_ROWS: u64 = 10;
/// An answer of at least so many rows tells what a row takes.
const MANY_ROWS: u64 = 100;
/// The weight of the last answer in an average.
const WEIGHT: f64 = 0.25;
/// An answer counts as at most so many times the average, or as that part of it.
const MOST_CHANGE: f64 = 4.0;
/// An average is published once it differs by this factor from the one that is published.
const PUBLISHED_CHANGE: f64 = 1.5;
/// And has done so for this many answers.
const PUBLISHED_ANSWERS: u32 = 4;
/// The limits of what a request takes, in milliseconds.
const REQUEST: (f64, f64) = (20.0, 60_000.0);
/// The limits of what a row takes, in milliseconds.
const ROW: (f64, f64) = (0.02, 50.0);

/// What a request and each row of a table take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// A request and its answer, without rows.
    pub request: f64,
    /// Each row of the answer.
    pub row: f64,
}

impl Default for Speed {
    /// What is assumed until it is measured. It is ours, measured on no instance.
    fn default() -> Self {
        Self { request: 200.0, row: 0.2 }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} {:.4}", self.request, self.row)
    }
}

impl Speed {
    /// What [`Speed`] displays.
    fn parse(text: &str) -> Option<Self> {
        let (request, row) = text.split_once(' ')?;
        Some(Self { request: request.parse().ok()?, row: row.parse().ok()? })
    }

    /// The average after an answer of so many rows that took so long.
    fn after(self, took: Duration, rows: u64) -> Self {
        let took = took.as_secs_f64() * 1_000.0;
        let moved = |average: f64, sample: f64, (least, most): (f64, f64)| {
            let change = (sample / average).clamp(1.0 / MOST_CHANGE, MOST_CHANGE);
            (average * change.powf(WEIGHT)).clamp(least, most)
        };
        match rows {
            ..=FEW_ROWS => Self { request: moved(self.request, took, REQUEST), ..self },
            MANY_ROWS.. => {
                let each = (took - self.request).max(0.0) / rows as f64;
                Self { row: moved(self.row, each, ROW), ..self }
            }
            _ => self,
        }
    }

    fn is_near(self, other: Self) -> bool {
        let near = |one: f64, other: f64| one.max(other) / one.min(other) < PUBLISHED_CHANGE;
        near(self.request, other.request) && near(self.row, other.row)
    }
}

/// The averages of this process, by table.
#[derive(Debug, Default)]
pub(crate) struct Speeds(Mutex<HashMap<String, Average>>);

#[derive(Debug)]
struct Average {
    /// The published average that this one began with.
    published: Option<Speed>,
    now: Speed,
    /// For how many answers it has differed from the published one.
    differs: u32,
}

impl Speeds {
    /// Takes note of an answer, and publishes the average if it has changed enough.
    pub fn note(&self, learnt: &Learnt, place: &str, took: Duration, rows: u64) {
        let published = published(learnt, place);
        let mut averages = lock(&self.0);
        let begin = || Average { published, now: published.unwrap_or_default(), differs: 0 };
        let average = averages.entry(place.to_owned()).or_insert_with(begin);
        if average.published != published {
            // Another process has published its own, or it has expired.
            *average = begin();
        }
        average.now = average.now.after(took, rows);
        average.differs = match average.now.is_near(published.unwrap_or_default()) {
            true => 0,
            false => average.differs + 1,
        };
        let told = if average.differs < PUBLISHED_ANSWERS { published } else { Some(average.now) };
        let Some(text) = told.map(|told| told.to_string()) else { return };
        average.published = Speed::parse(&text);
        drop(averages);
        learnt.add(Topic::Speed, place, &[Topic::ALL], &text);
    }
}

/// The average that is published for a table.
pub(crate) fn published(learnt: &Learnt, place: &str) -> Option<Speed> {
    Speed::parse(&learnt.get(Topic::Speed, place, Topic::ALL)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::learnt::tests::learnt;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn averages_find_what_a_request_and_a_row_take() {
        let directory = tempfile::tempdir().unwrap();
        let (learnt, speeds) = (learnt(directory.path(), "a"), Speeds::default());
        for _ in 0..40 {
            speeds.note(&learnt, "x", millis(1_000), 1);
            // Of neither: so many rows tell nothing of a request, and too little of a row.
            speeds.note(&learnt, "x", millis(1), 50);
            speeds.note(&learnt, "x", millis(11_000), 10_000);
        }
        let found = published(&learnt, "x").unwrap();
        assert!(found.is_near(Speed { request: 1_000.0, row: 1.0 }), "{found:?}");
        assert_eq!(published(&learnt, "y"), None);
    }

    #[test]
    fn a_few_slow_or_quick_answers_change_nothing_that_is_published() {
        let directory = tempfile::tempdir().unwrap();
        let (learnt, speeds) = (learnt(directory.path(), "a"), Speeds::default());
        for took in [100_000, 0] {
            for rows in [1, 1_000] {
                Speeds::default().note(&learnt, "x", millis(took), rows);
                assert_eq!(published(&learnt, "x"), None, "{took} {rows}");
            }
        }
        let before = Speed { request: 900.0, row: 0.2 };
        learnt.add(Topic::Speed, "x", &[Topic::ALL], &before.to_string());
        for took in [100_000, 100_000, 900, 900, 900, 0, 0, 900, 900, 800, 1_000, 100_000, 900] {
            speeds.note(&learnt, "x", millis(took), 1);
            assert_eq!(published(&learnt, "x"), Some(before), "{took}");
        }
    }

    #[test]
    fn averages_stay_within_limits() {
        let directory = tempfile::tempdir().unwrap();
        let (learnt, speeds) = (learnt(directory.path(), "a"), Speeds::default());
        for _ in 0..60 {
            speeds.note(&learnt, "x", millis(0), 1);
            speeds.note(&learnt, "x", millis(0), 1_000);
        }
        let found = published(&learnt, "x").unwrap();
        assert!(found.is_near(Speed { request: REQUEST.0, row: ROW.0 }), "{found:?}");
    }

    #[test]
    fn processes_go_on_from_what_is_published() {
        let directory = tempfile::tempdir().unwrap();
        let (learnt, one, other) = (learnt(directory.path(), "a"), Speeds::default(), Speeds::default());
        other.note(&learnt, "x", millis(200), 1);
        for _ in 0..40 {
            one.note(&learnt, "x", millis(5_000), 1);
        }
        let before = published(&learnt, "x").unwrap();
        other.note(&learnt, "x", millis(5_000), 1);
        assert_eq!(published(&learnt, "x"), Some(before));
    }
}
