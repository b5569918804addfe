//! The most requests and rows of a query: `acumatica_fdw.max_requests_per_query` and `max_rows_per_query`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use acumatica_client::{Allowance, Error, ErrorKind, ScanStats};
use pgrx::PgMemoryContexts;
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::catalog::setting;

thread_local! {
    /// The allowance of each running query, by the address of its EState.
    static QUERIES: RefCell<HashMap<usize, Arc<Allowance>>> = RefCell::default();
}

/// Removes the allowance of a query when its memory is freed, after an error too. A request that is being dropped may keep the
/// allowance for a while longer, when another query has its EState at the same address.
struct End(usize);

impl Drop for End {
    fn drop(&mut self) {
        QUERIES.with_borrow_mut(|queries| queries.remove(&self.0));
    }
}

/// The allowance that all scans of a query share; `None` if the query has no limit. The limits are those at the beginning of its
/// first scan.
///
/// # Safety
/// `query` is the EState of a running query.
pub unsafe fn of(query: *mut pg_sys::EState) -> Option<Arc<Allowance>> {
    let (requests, rows) = setting::limits_of_query();
    if requests.is_none() && rows.is_none() {
        return None;
    }
    let address = query as usize;
    let known = QUERIES.with_borrow(|queries| queries.get(&address).cloned());
    if known.is_some() {
        return known;
    }
    // SAFETY: the caller guarantees a running query, whose memory lives until it has ended.
    let mut memory = PgMemoryContexts::For(unsafe { (*query).es_query_cxt });
    memory.leak_and_drop_on_delete(End(address));
    let new = Arc::new(Allowance::new(requests, rows));
    QUERIES.with_borrow_mut(|queries| queries.insert(address, Arc::clone(&new)));
    Some(new)
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
