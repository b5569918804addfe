//! Paths for upper relations: the server counts the rows of a table, or skips the OFFSET.
//!
//! The executor cannot recheck such an answer. So a path is added only if there are no clauses, or if every clause is exact
//! and its values are constants. If the server refuses all the same, the executor runs the outer plan, which reads the rows.
//! LIMIT without OFFSET needs no upper path: the executor stops the scan, whose first page is as large as the limit.

use acumatica_client::Surface;
use acumatica_pushdown::{Costs, ScanPlan, Upper};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::compat::{self, Estimate};
use crate::planner::order;
use crate::planner::planned::{Classified, Planned, attributes};
use crate::planner::private;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.GetForeignUpperPaths = Some(get_foreign_upper_paths);
}

/// The oid of `count(*)` in pg_proc.
const COUNT: u32 = 2803;

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    // SAFETY: the planner passes its own structures, and `extra` of the type that belongs to `stage`.
    unsafe {
        let Some(rel) = only_relation(root) else { return };
        match stage {
            pg_sys::UpperRelationKind::UPPERREL_GROUP_AGG => {
                add_count_path(root, rel, (*input).cheapest_total_path, output)
            }
            pg_sys::UpperRelationKind::UPPERREL_FINAL => add_offset_path(root, rel, output, extra.cast()),
            _ => {}
        }
    }
}

/// The query's only base relation, if it is a foreign table of this wrapper without inquiry parameters.
///
/// # Safety
/// `root` is that of the current planner run.
unsafe fn only_relation(root: *mut pg_sys::PlannerInfo) -> Option<*mut pg_sys::RelOptInfo> {
    // SAFETY: `simple_rel_array` and `simple_rte_array` have an entry for each base relation. The planner calls this
    // wrapper for upper relations only if all of the query's relations are its own, so `fdw_private` is a `Planned`.
    unsafe {
        let mut relid = 0;
        if !pg_sys::bms_get_singleton_member((*root).all_baserels, &mut relid) {
            return None;
        }
        let rel = *(*root).simple_rel_array.add(relid as usize);
        let is_ours = (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && !(*rel).fdw_private.is_null()
            && (*rel).lateral_relids.is_null();
        // The rows of a partitioned or inheritance parent come from several tables.
        let is_whole = !(**(*root).simple_rte_array.add(relid as usize)).inh;
        (is_ours && is_whole && Planned::of(rel).parameters.is_empty()).then_some(rel)
    }
}

/// The clauses of the relation of `planned`, if the filter made of them is exact and all of its values are constants.
///
/// # Safety
/// `rel` is the relation of `planned` in the current planner run.
unsafe fn exact_clauses(rel: *mut pg_sys::RelOptInfo, planned: &Planned) -> Option<Classified> {
    // SAFETY: the caller guarantees a relation of this run, whose `baserestrictinfo` are RestrictInfos.
    unsafe {
        let infos = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo);
        if infos.iter_ptr().any(|info| (*info).pseudoconstant) {
            return None;
        }
        if (*rel).baserestrictinfo.is_null() {
            return Some(planned.classified().clone());
        }
        if planned.table.surface() != Surface::Dac {
            return None;
        }
        let described = planned.described();
        let is_known = described.filter.as_ref().is_some_and(|filter| filter.is_known());
        (described.exact && is_known).then(|| planned.classified().clone())
    }
}

/// Adds a path for `SELECT count(*)` of a data access class.
///
/// # Safety
/// `root`, `rel`, `rows` and `output` belong to the current planner run; `rel` is a relation of this wrapper.
unsafe fn add_count_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: *mut pg_sys::Path,
    output: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the caller passes structures of this run. The target's expressions are read as Aggref only after their tag
    // has been compared, which `&&` evaluates first.
    unsafe {
        let query = (*root).parse;
        let planned = Planned::of(rel);
        let is_plain = (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).havingQual.is_null()
            && (*query).rowMarks.is_null()
            && !(*query).hasTargetSRFs
            && planned.table.surface() == Surface::Dac
            && !planned.table.target.singleton;
        let target = (*root).upper_targets[pg_sys::UpperRelationKind::UPPERREL_GROUP_AGG as usize];
        let counts = PgList::<pg_sys::Aggref>::from_pg((*target).exprs);
        let is_count = |call: *mut pg_sys::Aggref| {
            (*call).xpr.type_ == pg_sys::NodeTag::T_Aggref
                && (*call).aggfnoid.to_u32() == COUNT
                && (*call).aggstar
                && (*call).aggfilter.is_null()
                && (*call).agglevelsup == 0
        };
        if !is_plain || counts.is_empty() || !counts.iter_ptr().all(is_count) {
            return;
        }
        let Some(clauses) = exact_clauses(rel, planned) else { return };
        let plan = ScanPlan { upper: Some(Upper::Count), ..ScanPlan::default() };
        let (none, no_costs) = (std::ptr::null_mut(), std::ptr::null());
        let (plain, simple) = (pg_sys::AggStrategy::AGG_PLAIN, pg_sys::AggSplit::AGGSPLIT_SIMPLE);
        let otherwise =
            pg_sys::create_agg_path(root, output, rows, target, plain, simple, none, none, no_costs, 1.0);
        let Costs { request, row } = planned.costs;
        let estimate = Estimate { rows: 1.0, startup: request, total: request + row };
        let private = path_list(plan, clauses);
        let path = compat::create_upper_path(root, output, target, estimate, none, otherwise.cast(), private);
        pg_sys::add_path(output, path.cast());
    }
}

/// Adds a path for OFFSET, with or without LIMIT, if the query has no ORDER BY or one that the server can apply.
///
/// # Safety
/// `root`, `rel` and `output` belong to the current planner run, `rel` is a relation of this wrapper, and `extra` is null
/// or what the planner passed for `UPPERREL_FINAL`.
unsafe fn add_offset_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut pg_sys::FinalPathExtraData,
) {
    // SAFETY: the caller passes structures of this run; `extra` is read only if it is not null.
    unsafe {
        let query = (*root).parse;
        let is_plain = (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && !extra.is_null()
            && (*extra).limit_needed
            && (*query).limitOption == pg_sys::LimitOption::LIMIT_OPTION_COUNT
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).distinctClause.is_null()
            && (*query).setOperations.is_null()
            && (*query).rowMarks.is_null()
            && !(*query).hasAggs
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
            && !(*root).hasHavingQual;
        let Some(offset) = constant((*query).limitOffset) else { return };
        let limit = constant((*query).limitCount);
        if limit.is_none() && !(*query).limitCount.is_null() {
            return;
        }
        if !is_plain || offset == 0 || limit == Some(0) {
            return;
        }
        let planned = Planned::of(rel);
        let relation = planned.relation();
        let Some(clauses) = exact_clauses(rel, planned) else { return };
        let pathkeys = (*root).sort_pathkeys;
        let keys = order::keys(planned, (*rel).relid, &relation, pathkeys);
        let target = (*root).upper_targets[pg_sys::UpperRelationKind::UPPERREL_FINAL as usize];
        let is_sorted = keys.len() == PgList::<pg_sys::PathKey>::from_pg(pathkeys).len()
            && !keys.iter().any(|key| key.nulls_apart);
        // Sorted rows are read only if one page holds them: see the head of `order.rs`.
        let most = planned.table.page_size;
        if !keys.is_empty() && limit.is_none_or(|limit| limit > most) {
            return;
        }
        if !is_sorted || !planned.table.can_skip_rows() || !has_columns_only(rel, target) {
            return;
        }
        let checked = pg_sys::extract_actual_clauses((*rel).baserestrictinfo, false);
        let plan = ScanPlan {
            attributes: attributes((*rel).relid, (*rel).reltarget, &planned.table, checked, &keys),
            limit,
            sort_keys: keys,
            upper: Some(Upper::Offset(offset)),
            ..ScanPlan::default()
        };
        let columns = columns(root, (*rel).relid, &relation, &plan.attributes);
        let otherwise = limited(root, rel, columns, pathkeys, output);
        let left = ((*rel).rows - f64::from(offset)).max(1.0);
        let rows = limit.map_or(left, |limit| left.min(f64::from(limit)));
        let Costs { request, row } = planned.costs;
        let total = request + rows * (row + pg_sys::cpu_tuple_cost);
        let estimate = Estimate { rows, startup: request, total };
        let private = path_list(plan, clauses);
        let path = compat::create_upper_path(root, output, target, estimate, pathkeys, otherwise, private);
        pg_sys::add_path(output, path.cast());
    }
}

/// The `fdw_private` of a path.
///
/// # Safety
/// The current memory context is the planner's; `clauses` belong to the current planner run.
unsafe fn path_list(mut plan: ScanPlan, clauses: Classified) -> *mut pg_sys::List {
    // SAFETY: the lists are allocated in the planner's context, as the caller guarantees, and so live as long as the path.
    unsafe {
        let expressions = clauses.add_to(&mut plan, std::ptr::null_mut());
        private::to_path_list(&plan, expressions)
    }
}

/// The outer path: it reads `columns` of all rows, sorts them by `pathkeys` and applies LIMIT and OFFSET locally.
///
/// # Safety
/// All pointers belong to the current planner run.
unsafe fn limited(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    columns: *mut pg_sys::PathTarget,
    pathkeys: *mut pg_sys::List,
    output: *mut pg_sys::RelOptInfo,
) -> *mut pg_sys::Path {
    // SAFETY: the caller guarantees that all pointers belong to this run. Null is an empty list or set.
    unsafe {
        let (none, no_relids) = (std::ptr::null_mut(), std::ptr::null_mut());
        let Costs { request, row } = Planned::of(rel).costs;
        let total = request + (*rel).tuples * row;
        let estimate = Estimate { rows: (*rel).rows, startup: request, total };
        let mut rows: *mut pg_sys::Path =
            compat::create_scan_path(root, rel, columns, no_relids, estimate, none, false).cast();
        if !pathkeys.is_null() {
            rows = pg_sys::create_sort_path(root, rel, rows, pathkeys, (*root).limit_tuples).cast();
        }
        let query = (*root).parse;
        let (offset, limit, option) = ((*query).limitOffset, (*query).limitCount, (*query).limitOption);
        pg_sys::create_limit_path(root, output, rows, offset, limit, option, 0, 0).cast()
    }
}

/// Whether a target uses user columns only: no whole-row reference and no system column.
///
/// # Safety
/// `rel` and `target` belong to the current planner run.
unsafe fn has_columns_only(rel: *mut pg_sys::RelOptInfo, target: *mut pg_sys::PathTarget) -> bool {
    let mut used = std::ptr::null_mut();
    // SAFETY: the caller guarantees a target of this run, so its expressions are nodes; `used` is a local.
    unsafe {
        pg_sys::pull_varattnos((*target).exprs.cast(), (*rel).relid, &mut used);
        // Attribute 0 is the whole row; system columns have negative numbers.
        let first = 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
        pg_sys::bms_next_member(used, -1) >= first || used.is_null()
    }
}

/// The value of a LIMIT or OFFSET expression, if it is a constant, not NULL, and in the range of an i32.
///
/// # Safety
/// `node` is `limitCount` or `limitOffset` of a query: an expression of type bigint, or null.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<u32> {
    // SAFETY: the caller guarantees bigint, so a Const holds its value in the datum. It is read only after the check for
    // null and for the tag.
    unsafe {
        let constant: *mut pg_sys::Const = node.cast();
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_Const || (*constant).constisnull {
            return None;
        }
        u32::try_from((*constant).constvalue.value() as i64).ok().filter(|count| *count <= i32::MAX as u32)
    }
}

/// A path target with one Var for each of the attributes.
///
/// # Safety
/// `root` is that of the current planner run; `relid` is `relation` in its range table.
unsafe fn columns(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    relation: &PgRelation,
    attributes: &[i16],
) -> *mut pg_sys::PathTarget {
    let descriptor = relation.tuple_desc();
    // SAFETY: the Vars refer to `relid` with the types of its descriptor, so they are valid in `root`'s range table. The
    // nodes are allocated in the planner's context.
    unsafe {
        let target = pg_sys::create_empty_pathtarget();
        for attribute in attributes {
            let Some(column) = descriptor.get(*attribute as usize - 1) else { continue };
            let (ty, modifier, collation) = (column.atttypid, column.atttypmod, column.attcollation);
            let var = pg_sys::makeVar(relid as _, *attribute, ty, modifier, collation, 0);
            pg_sys::add_column_to_pathtarget(target, var.cast(), 0);
        }
        pg_sys::set_pathtarget_cost_width(root, target)
    }
}

/// The plan of an upper path. Its tuples have the target list of the outer plan.
///
/// # Safety
/// `path` was made in this file; `target_list` is its target list, and `otherwise` the plan of its outer path.
pub unsafe fn plan(
    path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    otherwise: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: the caller guarantees a path of this file, so its `fdw_private` is the list that `path_list` made.
    unsafe {
        let (private, expressions) = private::from_path_list((*path).fdw_private);
        pg_sys::make_foreignscan(
            target_list,
            std::ptr::null_mut(),
            0,
            expressions,
            private,
            pg_sys::copyObjectImpl((*otherwise).targetlist.cast()).cast(),
            std::ptr::null_mut(),
            otherwise,
        )
    }
}
