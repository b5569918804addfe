//! How many rows the server sends, as far as the planner can tell.

use pgrx::PgList;
use pgrx::prelude::*;

use crate::planner::planned::{Counted, Planned};

/// The estimated number of rows that the server sends: those that the conditions on the table that are sent leave.
///
/// # Safety
/// `root` and `rel` belong to the current planner run; `rel` is a relation of this wrapper.
pub unsafe fn sent(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> f64 {
    // SAFETY: forwarded.
    unsafe { rows_of(root, rel, |_| true) }
}

/// As [`sent`], but of the conditions that `counts` accepts.
///
/// # Safety
/// As [`sent`].
unsafe fn rows_of(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    counts: impl Fn(*mut pg_sys::Expr) -> bool,
) -> f64 {
    // SAFETY: the caller guarantees the planner's structures; the list of clauses is made of their RestrictInfos.
    unsafe {
        if let Some(Counted::Sent(rows)) = Planned::of(rel).counted.get() {
            return rows;
        }
        let sent = &Planned::of(rel).classified().sent;
        let sent = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo)
            .iter_ptr()
            .filter(|info| sent.contains(&(**info).clause) && counts((**info).clause))
            .fold(std::ptr::null_mut(), |list, info| pg_sys::lappend(list, info.cast()));
        let (relid, inner) = ((*rel).relid as i32, pg_sys::JoinType::JOIN_INNER);
        (*rel).tuples * pg_sys::clauselist_selectivity(root, sent, relid, inner, std::ptr::null_mut())
    }
}

/// As [`sent`], but of the conditions without values that only the executor knows.
///
/// # Safety
/// As [`sent`].
pub unsafe fn for_any_value(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> f64 {
    // SAFETY: forwarded; a RestrictInfo has a clause.
    unsafe { rows_of(root, rel, |clause| pg_sys::pull_paramids(clause).is_null()) }
}

/// The estimated number of rows that the server sends for a path: those that the conditions that are sent leave, also the join
/// clauses of a parameterised path, whose `info` is given.
///
/// # Safety
/// As [`sent`]; `info` is null or that of a path of `rel`.
pub unsafe fn fetched(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    info: *mut pg_sys::ParamPathInfo,
) -> f64 {
    // SAFETY: the caller guarantees the planner's structures; the lists of clauses are made of their RestrictInfos.
    unsafe {
        let planned = Planned::of(rel);
        let own = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo);
        let (rows, joins) = match info.is_null() {
            true => ((*rel).rows, PgList::new()),
            false => ((*info).ppi_rows, PgList::<pg_sys::RestrictInfo>::from_pg((*info).ppi_clauses)),
        };
        let is_given = |info: *mut pg_sys::RestrictInfo| planned.clause((*info).clause).argument.is_some();
        // An inquiry with parameters returns just the rows for their values.
        if own.iter_ptr().chain(joins.iter_ptr()).any(is_given) {
            return rows;
        }
        let sent = joins.iter_ptr().filter(|info| planned.join_key((**info).clause).is_some());
        let sent = sent.fold(std::ptr::null_mut(), |list, info| pg_sys::lappend(list, info.cast()));
        let (relid, inner) = ((*rel).relid as i32, pg_sys::JoinType::JOIN_INNER);
        let share = pg_sys::clauselist_selectivity(root, sent, relid, inner, std::ptr::null_mut());
        (self::sent(root, rel) * share).max(rows)
    }
}
