//! The callback of EXPLAIN: the request as it will be sent, and after ANALYZE what it cost.

use std::ffi::{CStr, CString};

use acumatica_client::{OWN_TENANT, describe};
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::deparse::{Plan, Table};
use crate::error::or_raise;
use crate::scan;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.ExplainForeignScan = Some(explain_foreign_scan);
}

#[pg_guard]
unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: the executor passes a node whose relation is open, begun unless EXPLAIN goes without
    // ANALYZE; the state is EXPLAIN's own.
    unsafe {
        if (*state).verbose {
            let relation = PgRelation::from_pg((*node).ss.ss_currentRelation);
            let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
            let table = Table::load(relation.oid());
            let request = table.request(&relation, &Plan::from_list((*plan).fdw_private));
            let server = &table.server;
            let company = server.company().or(server.has_app().then_some(OWN_TENANT));
            let url = describe(&server.instance, company, server.odata_version(), &request);
            let text = CString::new(format!("GET {}", or_raise(url))).unwrap_or_default();
            pg_sys::ExplainPropertyText(c"Remote Request".as_ptr(), text.as_ptr(), state);
        }
        if !(*state).analyze {
            return;
        }
        let Some(scan) = scan::of(node) else { return };
        let (stats, waited) = scan.costs();
        let integer = |label: &CStr, unit: *const i8, value: u64| {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), unit, value as i64, state);
        };
        let no_unit = std::ptr::null();
        integer(c"Remote Requests", no_unit, stats.requests);
        integer(c"Rows Received", no_unit, stats.rows);
        integer(c"Bytes Received", no_unit, stats.bytes);
        integer(c"Retries", no_unit, stats.retries);
        if (*state).timing {
            let milliseconds = waited.as_secs_f64() * 1000.0;
            pg_sys::ExplainPropertyFloat(c"Time Waiting".as_ptr(), c"ms".as_ptr(), milliseconds, 3, state);
            let for_session = stats.session_wait.as_secs_f64() * 1000.0;
            pg_sys::ExplainPropertyFloat(
                c"Time Waiting for Session".as_ptr(),
                c"ms".as_ptr(),
                for_session,
                3,
                state,
            );
        }
    }
}
