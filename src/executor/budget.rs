//! The most requests and rows of a query: `acumatica_fdw.max_requests_per_query` and `max_rows_per_query`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use acumatica_client::ScanStats;
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::catalog::setting;

thread_local! {
    /// What each running query has spent, by the address of its EState.
    static QUERIES: RefCell<HashMap<usize, Weak<Cell<Spent>>>> = RefCell::default();
}

/// Requests sent and rows received.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    requests: u64,
    rows: u64,
}

/// A scan's share in what its query may spend.
#[derive(Debug)]
pub struct Budget {
    query: Rc<Cell<Spent>>,
    /// What this scan has spent of it.
    own: Spent,
}

impl Budget {
    /// The budget that all scans of a query share.
    pub fn of(query: *mut pg_sys::EState) -> Self {
        let query = QUERIES.with_borrow_mut(|queries| {
            // Queries that have ended, also by an error, have dropped their scans.
            queries.retain(|_, spent| spent.strong_count() > 0);
            let known = queries.get(&(query as usize)).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Rc::default();
                queries.insert(query as usize, Rc::downgrade(&new));
                new
            })
        });
        Self { query, own: Spent::default() }
    }

    /// Adds what a scan of `table` has spent until now, `stats` in all. Raises an error if its query exceeds a limit.
    pub fn spend(&mut self, stats: ScanStats, table: &str) {
        let mut all = self.query.get();
        all.requests += stats.requests.saturating_sub(self.own.requests);
        all.rows += stats.rows.saturating_sub(self.own.rows);
        self.own = Spent { requests: stats.requests, rows: stats.rows };
        self.query.set(all);
        let (requests, rows) = setting::limits_of_query();
        for (limit, spent, what) in [(requests, all.requests, "requests"), (rows, all.rows, "rows")] {
            if limit.is_some_and(|limit| spent > limit) {
                exceeded(limit.unwrap_or(0), what, table, self.own);
            }
        }
    }
}

fn exceeded(limit: u64, what: &str, table: &str, own: Spent) -> ! {
    let setting = format!("acumatica_fdw.max_{what}_per_query");
    Refusal::new(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!("query takes more than {limit} {what} of the server"),
    )
    .detail(format!(
        "The scan of foreign table {table} wanted more; it has sent {} requests and received {} rows.",
        own.requests, own.rows
    ))
    .hint(format!("Look at EXPLAIN (VERBOSE), restrict the query, or raise the setting \"{setting}\"."))
    .raise()
}
