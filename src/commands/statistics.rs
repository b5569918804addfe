//! The import option `import_statistics`: counts the rows of new tables, and stores the numbers as ANALYZE does.
//!
//! A sample of the rows, for what columns hold, would be many requests for each table, so that is left to ANALYZE.

use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::backend::compat;
use crate::backend::error::{Refusal, notice};
use crate::catalog::table::ForeignTable;
use crate::executor::analyze::{Reader, needs_values};

/// The most requests of an import for this.
const MOST_REQUESTS: u64 = 2_000;
/// After so many failures in a row, no further table is counted.
const MOST_FAILURES: usize = 3;

/// Counts the rows of the tables that can be counted. A failure is a notice, and so is what was left out.
///
/// # Safety
/// A transaction is in progress that has created the tables, and can see them.
pub unsafe fn count_rows(tables: &[pg_sys::Oid]) {
    // SAFETY: GetUserId reads a variable of the backend, which is set while a statement runs.
    let user = unsafe { pg_sys::GetUserId() };
    let (mut requests, mut counted, mut failures) = (0, 0, 0);
    for (index, oid) in tables.iter().enumerate() {
        if requests >= MOST_REQUESTS || failures >= MOST_FAILURES {
            let left = tables.len() - index;
            let why = match failures >= MOST_FAILURES {
                true => "the server has failed several times in a row".to_owned(),
                false => format!("the import has sent {requests} requests to count"),
            };
            notice(
                format!("the rows of {left} tables were not counted: {why}"),
                "Run ANALYZE on those that you use.".to_owned(),
            );
            break;
        }
        check_for_interrupts!();
        // SAFETY: the caller guarantees the table, which this transaction has locked by creating it.
        let relation = unsafe { PgRelation::with_lock(*oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let table = ForeignTable::of(&relation);
        if needs_values(&table) || !(table.can_skip_rows() || table.target.singleton) {
            continue;
        }
        let reader = Reader::new(&table, user, None);
        let rows = match table.target.singleton {
            true => Ok(Some(1)),
            false => reader.count(),
        };
        requests += reader.spent().requests;
        match rows {
            Ok(Some(rows)) => {
                // SAFETY: the relation is open, and the caller guarantees the transaction.
                unsafe { compat::store_row_count(relation.as_ptr(), rows as f64) };
                counted += 1;
                failures = 0;
            }
            // The server neither counts nor skips.
            Ok(None) => {}
            Err(Refusal { message, hint, .. }) => {
                failures += 1;
                let message = format!("the rows of {} were not counted: {message}", table.qualified);
                notice(message, hint.unwrap_or_default());
            }
        }
    }
    notice(format!("counted the rows of {counted} tables with {requests} requests"), String::new());
}
