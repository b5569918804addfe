//! The table option `use_remote_estimate`: the number of rows that a scan receives is a `$count` of the server, which is kept for
//! ten minutes. It is the one case in which planning sends a request. Only data access classes have `$count`; of other tables,
//! the server tells no number without sending the rows (docs/acumatica.md sections 2 and 3), so that the option has no effect.

use std::task::Poll;

use acumatica_client::{ErrorKind, Findings, ScanRequest, Surface};
use acumatica_pushdown::{Filter, described};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::error::{Refusal, or_raise};
use crate::catalog::connection;
use crate::catalog::experience;
use crate::catalog::table::ForeignTable;
use crate::planner::planned::{Classified, Counted, Planned};
use crate::planner::value;

/// The estimate of the server, if the table has one. Raises an error if the server cannot be asked, as a scan would.
///
/// # Safety
/// The relation of `planned` belongs to the current planner run.
pub unsafe fn counted(planned: &Planned) -> Option<Counted> {
    let table = &planned.table;
    if !table.use_remote_estimate || table.surface() != Surface::Dac || table.target.singleton {
        return None;
    }
    // SAFETY: the caller guarantees a relation of this run.
    match unsafe { known_filter(planned) } {
        Some(filter) => Some(Counted::Sent(count(planned, Some(filter))?)),
        None => Some(Counted::All(count(planned, None)?)),
    }
}

/// The filter of the conditions that are sent, if all its values are known or can be estimated: those of stable functions can.
///
/// # Safety
/// As [`counted`].
unsafe fn known_filter(planned: &Planned) -> Option<Filter> {
    let Classified { conditions, complete, .. } = planned.classified();
    let mut known = true;
    // SAFETY: the values come from `classify`, so they are expressions of the current planner run.
    let values = |expression: &*mut pg_sys::Expr| unsafe {
        let estimated = pg_sys::estimate_expression_value(planned.root, (*expression).cast());
        value::shown(estimated.cast(), |_| String::new())
    };
    for condition in conditions {
        let _ = condition.clone().map(&mut |expression: *mut pg_sys::Expr| {
            // SAFETY: as above.
            known &= unsafe {
                let estimated = pg_sys::estimate_expression_value(planned.root, expression.cast());
                (*estimated).type_ == pg_sys::NodeTag::T_Const
            };
        });
    }
    let filter = described(conditions, *complete, planned.table.dialect, &values).filter;
    filter.filter(|_| known)
}

/// The number of rows, remembered or counted now; `None` if the server refuses to count them.
fn count(planned: &Planned, filter: Option<Filter>) -> Option<f64> {
    let (table, user) = (&planned.table, planned.user);
    let request = request(table, filter);
    if let Some(known) = experience::estimate(table, user, &request) {
        return Some(known);
    }
    let running = connection::start_scan(&table.server, user, &request);
    let mut count = None;
    loop {
        match running.poll() {
            Poll::Pending => running.wait(),
            // The scan does without, and tells the user if that matters.
            Poll::Ready(Err(error)) if error.kind == ErrorKind::RowsOnly => return None,
            Poll::Ready(batch) => match or_raise(batch.map_err(Refusal::from)) {
                Some(batch) => count = batch.number(0),
                None => break,
            },
        }
    }
    let count = count?;
    experience::remember_estimate(table, user, &request, count);
    Some(count as f64)
}

fn request(table: &ForeignTable, filter: Option<Filter>) -> ScanRequest {
    let (key, key_types) = table.key.iter().cloned().unzip();
    ScanRequest {
        table: table.name.clone(),
        relation: table.qualified.clone(),
        target: table.target.clone(),
        columns: Vec::new(),
        unselectable: Vec::new(),
        findings: Findings::default(),
        key,
        key_types,
        parameters: Vec::new(),
        calls: vec![Vec::new()],
        filter,
        own_filter: table.filter.clone(),
        order: Vec::new(),
        offset: 0,
        count: true,
        is_estimate: true,
        context: or_raise(table.context()),
        page_size: table.page_size,
        first_page: table.page_size,
        in_one_piece: false,
        uncut: 0,
        more_follow: false,
        allowance: None,
    }
}

/// The part of the rows that the clauses leave that are not sent.
///
/// # Safety
/// `rel` is the relation of `planned` in the current planner run.
pub unsafe fn share_kept(planned: &Planned, rel: *mut pg_sys::RelOptInfo) -> f64 {
    // SAFETY: the caller guarantees a relation of this run, whose `baserestrictinfo` are RestrictInfos.
    unsafe {
        let sent = &planned.classified().sent;
        let kept = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo)
            .iter_ptr()
            .filter(|info| !sent.contains(&(**info).clause))
            .fold(std::ptr::null_mut(), |list, info| pg_sys::lappend(list, info.cast()));
        let (relid, inner) = ((*rel).relid as i32, pg_sys::JoinType::JOIN_INNER);
        pg_sys::clauselist_selectivity(planned.root, kept, relid, inner, std::ptr::null_mut())
    }
}
