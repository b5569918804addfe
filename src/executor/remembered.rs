//! The rows that a scan has received for earlier values of its outer rows, so that values that come again take no request.
//! PostgreSQL's Memoize does that for joins, but not for subqueries in an expression.

use std::collections::VecDeque;

use acumatica_client::ScanRequest;
use acumatica_pushdown::{Filter, Literal};

use crate::executor::received::Received;

/// The most answers that are kept: they are searched one by one.
const MOST: usize = 1000;

#[derive(Debug, Default)]
pub struct Remembered {
    /// The one that was used last is the last.
    answers: VecDeque<Answer>,
    bytes: usize,
}

/// All rows of the request with these values.
#[derive(Debug)]
struct Answer {
    calls: Vec<Vec<Option<Literal>>>,
    filter: Option<Filter>,
    rows: Received,
}

impl Remembered {
    /// Keeps all rows of a request. The answers that were not used for longest are dropped, so that no more than `most` bytes
    /// of rows are kept.
    pub fn keep(&mut self, request: &ScanRequest, rows: Received, most: usize) {
        self.bytes += rows.bytes();
        self.answers.push_back(Answer { calls: request.calls.clone(), filter: request.filter.clone(), rows });
        while self.bytes > most || self.answers.len() > MOST {
            let Some(dropped) = self.answers.pop_front() else { return };
            self.bytes -= dropped.rows.bytes();
        }
    }

    /// Takes the rows of a request, from the first one on, if they were kept.
    pub fn take(&mut self, request: &ScanRequest) -> Option<Received> {
        let is_same = |answer: &Answer| answer.filter == request.filter && answer.calls == request.calls;
        let mut rows = self.answers.remove(self.answers.iter().rposition(is_same)?)?.rows;
        self.bytes -= rows.bytes();
        rows.rewind().then_some(rows)
    }
}
