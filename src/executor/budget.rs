//! The most requests and rows of a query: `acumatica_fdw.max_requests_per_query` and `max_rows_per_query`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use acumatica_client::{Allowance, Error, ErrorKind, ScanStats};
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::catalog::setting;

thread_local! {
    /// The allowance of each running query, by the address of its EState.
    static QUERIES: RefCell<HashMap<usize, Weak<Allowance>>> = RefCell::default();
}

/// The allowance that all scans of a query share; `None` if the query has no limit. The limits are those at the beginning of its
/// first scan.
pub fn of(query: *mut pg_sys::EState) -> Option<Arc<Allowance>> {
    let (requests, rows) = setting::limits_of_query();
    if requests.is_none() && rows.is_none() {
        return None;
    }
    QUERIES.with_borrow_mut(|queries| {
        // Queries that have ended, also by an error, have dropped their scans.
        queries.retain(|_, allowance| allowance.strong_count() > 0);
        let known = queries.get(&(query as usize)).and_then(Weak::upgrade);
        Some(known.unwrap_or_else(|| {
            let new = Arc::new(Allowance::new(requests, rows));
            queries.insert(query as usize, Arc::downgrade(&new));
            new
        }))
    })
}

/// Whether an error says that a query has used up its allowance.
pub fn is_used_up(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::RequestsUsedUp | ErrorKind::RowsUsedUp)
}

/// Raises the error that a query has used up its allowance: `node` is the plan node that wanted more, `own` what it has taken of
/// the allowance, and `wanted` what it was about to request.
pub fn exceeded(error: Error, node: &str, own: ScanStats, wanted: &str) -> ! {
    let (what, done) = match error.kind {
        ErrorKind::RequestsUsedUp => ("requests", format!("has sent {} of them", own.requests)),
        _ => ("rows", format!("has received {} of them", own.rows)),
    };
    Refusal::from(error)
        .detail(format!("{node} {done}, and wanted {wanted}."))
        .hint(format!(
            "Look at EXPLAIN (VERBOSE), restrict the query, or raise the setting \"acumatica_fdw.max_{what}_per_query\"."
        ))
        .raise()
}
