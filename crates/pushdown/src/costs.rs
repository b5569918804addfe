//! What requests and rows cost a planner.
//!
//! Costs are in units of PostgreSQL's `seq_page_cost`. The defaults are ours, measured on no instance: users tell of pages of
//! 10,000 rows that take seconds, and of small requests that take a few tenths of one. So a request costs as much as a
//! thousand rows.

use serde::{Deserialize, Serialize};

/// The costs of the requests for a table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// The cost of a request and its answer, without rows.
    pub request: f64,
    /// The cost of receiving a row, in addition to `cpu_tuple_cost`.
    pub row: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self { request: 100.0, row: 0.1 }
    }
}

impl Costs {
    /// The cost of requests and the rows that they bring.
    pub fn of(self, requests: f64, rows: f64) -> f64 {
        requests * self.request + rows * self.row
    }

    /// The cost of a scan that receives `rows`, in pages of `page_size`.
    pub fn of_scan(self, rows: f64, page_size: u32) -> f64 {
        self.of((rows / f64::from(page_size)).floor() + 1.0, rows)
    }
}
