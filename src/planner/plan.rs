//! The planner's callbacks for base relations: size estimates, paths and the plan. Planning sends no request, unless a table has
//! the option `use_remote_estimate`.

use acumatica_pushdown::{Costs, Described, ScanPlan};
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, PgRelation};

use crate::backend::compat::{self, Estimate};
use crate::catalog::table::ForeignTable;
use crate::planner::argument::Argument;
use crate::planner::detail_join;
use crate::planner::order;
use crate::planner::parameter;
use crate::planner::planned::{Counted, FIRST_PAGE, Planned, attributes};
use crate::planner::private;
use crate::planner::remote_estimate;
use crate::planner::rows;
use crate::planner::upper;

/// A block of a key join that is likely to return no more rows is requested in one piece.
const FEW_ROWS: f64 = 2_000.0;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.GetForeignRelSize = Some(get_foreign_rel_size);
    routine.GetForeignPaths = Some(get_foreign_paths);
    routine.GetForeignJoinPaths = Some(get_foreign_join_paths);
    routine.GetForeignPlan = Some(get_foreign_plan);
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    oid: pg_sys::Oid,
) {
    // SAFETY: the planner locked the table before planning, so NoLock is enough.
    let relation = unsafe { PgRelation::with_lock(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
    // SAFETY: the planner passes its own structures. `planned` is stored in the memory context of the planner run, which
    // drops it; `rel` lives in the same context, so `fdw_private` does not dangle.
    unsafe {
        let planned = Planned::new(root, rel, &relation);
        // ANALYZE has set the number, which is -1 before.
        let analysed = Some((*rel).tuples).filter(|rows| *rows >= 0.0);
        let counted = remote_estimate::counted(&planned);
        let all = match counted {
            Some(Counted::All(rows)) => Some(rows),
            _ => None,
        };
        let known = all.or(planned.table.rows).or(analysed).or(planned.known.rows);
        (*rel).tuples = known.unwrap_or_else(|| default_rows(&planned.table));
        planned.is_size_guessed.set(known.is_none() && counted.is_none());
        planned.counted.set(counted);
        pg_sys::set_baserel_size_estimates(root, rel);
        if let Some(Counted::Sent(rows)) = counted {
            (*rel).tuples = (*rel).tuples.max(rows);
            (*rel).rows = pg_sys::clamp_row_est(rows * remote_estimate::share_kept(&planned, rel));
        }
        let mut context = PgMemoryContexts::For(pg_sys::CurrentMemoryContext);
        (*rel).fdw_private = context.leak_and_drop_on_delete(planned).cast();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
) {
    // SAFETY: the planner passes its own structures, and has called GetForeignRelSize for `rel` before.
    unsafe {
        let planned = Planned::of(rel);
        let parameters = &planned.parameters;
        let relation = planned.relation();
        let sets = parameter::outer_relations(planned, rel);
        let lateral = (*rel).lateral_relids;
        let all = match parameters.is_empty() {
            true => lateral,
            false => sets.iter().fold(lateral, |all, set| pg_sys::bms_union(all, *set)),
        };
        for outer in std::iter::once(lateral).chain(sets).chain(std::iter::once(all)) {
            // Without parameters each set of relations is as good.
            let all = if parameters.is_empty() { outer } else { all };
            add_scan_path(root, rel, outer, all, std::ptr::null_mut(), 1.0);
        }
        let keys = order::keys(planned, (*rel).relid, &relation, (*root).query_pathkeys);
        let is_plain = parameters.is_empty() && (*rel).lateral_relids.is_null();
        if !keys.is_empty() && is_plain && fits_a_page(root, planned) {
            let pathkeys = PgList::<std::ffi::c_void>::from_pg((*root).query_pathkeys);
            let wanted = pathkeys.iter_ptr().take(keys.len());
            let wanted = wanted.fold(std::ptr::null_mut(), |list, key| pg_sys::lappend(list, key));
            let requests = if keys[0].nulls_apart { 2.0 } else { 1.0 };
            add_scan_path(root, rel, std::ptr::null_mut(), std::ptr::null_mut(), wanted, requests);
        }
    }
}

/// The row estimate of a table of which nothing is known. These numbers are ours.
fn default_rows(table: &ForeignTable) -> f64 {
    let target = &table.target;
    if target.singleton {
        1.0
    } else if target.form || table.parameters().next().is_some() {
        1_000.0
    } else if target.detail.is_empty() {
        10_000.0
    } else {
        30_000.0
    }
}

/// Whether one page of sorted rows is likely to answer the query: it has a LIMIT of at most a page, reads one relation, and
/// every clause is sent.
///
/// # Safety
/// `root` is what the planner passed to GetForeignPaths.
unsafe fn fits_a_page(root: *mut pg_sys::PlannerInfo, planned: &Planned) -> bool {
    // SAFETY: the caller passes the planner's own `root`.
    unsafe {
        let most = f64::from(planned.table.page_size);
        let limit = (*root).limit_tuples;
        is_alone(root) && limit >= 1.0 && limit <= most && sends_all(planned)
    }
}

/// Whether every clause is sent, exact or not.
fn sends_all(planned: &Planned) -> bool {
    planned.classified().kept.is_empty() && planned.described().kept.is_empty()
}

/// Whether the query reads a single base relation.
///
/// # Safety
/// `root` is that of the current planner run.
unsafe fn is_alone(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: the planner sets `all_baserels` before it calls a wrapper, and the caller passes its `root`.
    unsafe { pg_sys::bms_membership((*root).all_baserels) == pg_sys::BMS_Membership::BMS_SINGLETON }
}

/// Whether a base relation is a foreign table of this wrapper that may have rows. PostgreSQL does not call GetForeignRelSize for
/// one that its clauses exclude, so that it has no `Planned`.
///
/// # Safety
/// `rel` belongs to the current planner run.
pub unsafe fn is_own(rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: the caller guarantees the planner's structure, whose `fdwroutine` is null or the table of a wrapper.
    unsafe {
        let routine = (*rel).fdwroutine;
        let own: unsafe extern "C-unwind" fn(_, _, _) = get_foreign_rel_size;
        !routine.is_null()
            && !(*rel).fdw_private.is_null()
            && (*routine).GetForeignRelSize.is_some_and(|other| std::ptr::fn_addr_eq(other, own))
    }
}

/// Adds a scan path parameterised by the relations `outer`, sorted by `pathkeys`, that sends `requests` for few rows. `all` are
/// the relations that can supply any parameter. Rows that the server sorts cost no more than others: they are a page at most.
///
/// # Safety
/// `root` and `rel` are what the planner passed to GetForeignPaths; `outer` and `all` include `rel`'s lateral relids.
unsafe fn add_scan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: pg_sys::Relids,
    all: pg_sys::Relids,
    pathkeys: *mut pg_sys::List,
    requests: f64,
) {
    // SAFETY: the caller passes the planner's own structures; the clauses come from them, so they belong to this run.
    unsafe {
        let info = match outer.is_null() {
            true => std::ptr::null_mut(),
            false => pg_sys::get_baserel_parampathinfo(root, rel, outer),
        };
        let rows = if info.is_null() { (*rel).rows } else { (*info).ppi_rows };
        let fetched = rows::fetched(root, rel, info);
        let planned = Planned::of(rel);
        let Costs { request, row } = planned.costs;
        let startup = requests * request + (*rel).baserestrictcost.startup;
        // A path without some of the parameters would read other rows of the inquiry than the query asks for.
        let is_last_resort = !pg_sys::bms_equal(outer, all);
        let pages = (fetched / f64::from(planned.table.page_size)).floor() * request;
        let per_row = row + pg_sys::cpu_tuple_cost + (*rel).baserestrictcost.per_tuple;
        let path = compat::create_scan_path(
            root,
            rel,
            std::ptr::null_mut(),
            outer,
            Estimate { rows, startup, total: startup + pages + fetched * per_row },
            pathkeys,
            is_last_resort,
        );
        pg_sys::add_path(rel, path.cast());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_join_paths(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    kind: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: the planner passes its own structures.
    unsafe { detail_join::add_path(root, joined, outer, inner, kind, extra) };
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
    path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: the planner passes its own structures and holds a lock on the table. `path` is one that this wrapper added
    // to `rel`, and `clauses` are the RestrictInfos that the plan has to enforce.
    unsafe {
        if (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_UPPER_REL {
            return upper::plan(path, target_list, outer_plan);
        }
        if (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_JOINREL {
            return detail_join::plan(root, rel, path, target_list);
        }
        let planned = Planned::of(rel);
        let Planned { table, parameters, .. } = planned;
        let relid = (*rel).relid;
        let relation = &planned.relation();
        // The executor rechecks every clause, also the exact ones. A clause on a parameter is true for each row returned.
        let local = pg_sys::extract_actual_clauses(clauses, false);
        let given: Vec<Argument> = PgList::<pg_sys::Expr>::from_pg(local)
            .iter_ptr()
            .filter_map(|clause| planned.clause(clause).argument)
            .collect();
        if !parameters.is_empty() {
            parameter::check_conditions(planned, relation, &given, local);
            parameter::check_joins(planned, rel, path, relation, &given);
        }
        let values = given
            .iter()
            .fold(std::ptr::null_mut(), |list, argument| pg_sys::lappend(list, argument.value.cast()));
        let pathkeys = (*path).path.pathkeys;
        let sort_keys = order::keys(planned, relid, relation, pathkeys);
        let attributes = attributes(relid, (*path).path.pathtarget, table, local, &sort_keys);
        let mut plan = ScanPlan {
            attributes,
            sort_keys,
            arguments: given.iter().map(|argument| argument.attribute).collect(),
            costs: planned.costs,
            ..ScanPlan::default()
        };
        plan.all_rows = rows::for_any_value(root, rel) as u64;
        plan.width = u32::try_from((*(*path).path.pathtarget).width).unwrap_or(0);
        // A scan for a block of a key join, for the values of an outer row, or of what finds room in a first page anyway.
        let param_info = (*path).path.param_info;
        plan.few_rows = match (*path).fdw_private.is_null() {
            false => (*path).path.rows <= FEW_ROWS,
            true if param_info.is_null() && pg_sys::pull_paramids(local.cast()).is_null() => {
                !planned.is_size_guessed.get() && rows::fetched(root, rel, param_info) <= FIRST_PAGE.into()
            }
            true => {
                let alike = planned.rows_of_key(PgList::<pg_sys::Expr>::from_pg(local).iter_ptr());
                rows::fetched(root, rel, param_info).min(alike) <= FEW_ROWS
            }
        };
        plan.join_keys = PgList::<pg_sys::Expr>::from_pg((*path).fdw_private)
            .iter_ptr()
            .filter_map(|clause| planned.join_key(clause))
            .enumerate()
            .map(|(index, condition)| condition.map(&mut |_| index))
            .collect();
        let classified = planned.classify(local);
        if let Some(limit) = limit(root, pathkeys) {
            plan.few_rows = false;
            // The scan is the only one of the query, so its clauses are these.
            let Described { filter, exact, .. } = planned.described();
            plan.limit = Some(match (exact, filter) {
                // The recheck removes no row.
                (true, _) => limit,
                // The filter is a superset: the recheck may remove rows.
                (false, Some(_)) => limit.saturating_mul(2).saturating_add(16),
                (false, None) => limit.max(FIRST_PAGE),
            });
        }
        let expressions = classified.add_to(&mut plan, values);
        pg_sys::make_foreignscan(
            target_list,
            local,
            relid,
            expressions,
            private::to_list(&plan),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            outer_plan,
        )
    }
}

/// The number of rows that the query's LIMIT and OFFSET need, or an EXISTS, if no join and no sort stands between it and the scan.
///
/// # Safety
/// `root` is that of the current planner run; `pathkeys` are those of the scan's path.
unsafe fn limit(root: *mut pg_sys::PlannerInfo, pathkeys: *mut pg_sys::List) -> Option<u32> {
    // SAFETY: the caller passes `root` and pathkeys of the same planner run, in which pathkeys are canonical.
    unsafe {
        if !is_alone(root) || !pg_sys::pathkeys_contained_in((*root).query_pathkeys, pathkeys) {
            return None;
        }
        let query = (*root).parse;
        let returns_rows_of_the_scan = (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).distinctClause.is_null()
            && (*query).setOperations.is_null()
            && !(*query).hasAggs
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
            && !(*root).hasHavingQual;
        let limit = match (*root).limit_tuples {
            // What is no fraction is a number of rows.
            limit if limit < 1.0 && returns_rows_of_the_scan => (*root).tuple_fraction,
            limit => limit,
        };
        (limit >= 1.0 && limit <= f64::from(i32::MAX)).then_some(limit as u32)
    }
}
