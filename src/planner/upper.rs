//! What the server does above the scan of a table: counting its rows, and leaving out the first of them.
//!
//! Nothing is checked here of what it answers, so it is asked only where its answer is PostgreSQL's: where each condition
//! is exact and its values are known to the planner, or where there is none. If it refuses all the same, the plan below is
//! run, which reads the rows. LIMIT without OFFSET needs no such plan: the executor stops the scan, whose first page is as
//! large as the limit.

use acumatica_client::Surface;
use acumatica_pushdown::Described;
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::compat::{self, Estimate};
use crate::planner::order;
use crate::planner::planned::{Classified, Planned, REQUEST_COST, ROW_COST, attributes};
use crate::planner::private::{Plan, Upper};

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.GetForeignUpperPaths = Some(get_foreign_upper_paths);
}

/// `count(*)` in pg_proc.
const COUNT: u32 = 2803;

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut std::ffi::c_void,
) {
    // SAFETY: the planner passes its own structures.
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

/// The one relation of the query, if it is a foreign table of this wrapper without parameters.
unsafe fn only_relation(root: *mut pg_sys::PlannerInfo) -> Option<*mut pg_sys::RelOptInfo> {
    // SAFETY: the planner's own structures.
    unsafe {
        let mut relid = 0;
        if !pg_sys::bms_get_singleton_member((*root).all_baserels, &mut relid) {
            return None;
        }
        let rel = *(*root).simple_rel_array.add(relid as usize);
        let is_ours = (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && !(*rel).fdw_private.is_null()
            && (*rel).lateral_relids.is_null();
        // Of a partitioned or inherited table the rows come from several.
        let is_whole = !(**(*root).simple_rte_array.add(relid as usize)).inh;
        (is_ours && is_whole && Planned::of(rel).parameters.is_empty()).then_some(rel)
    }
}

/// The conditions on a relation, if the server's answer to them is PostgreSQL's and no value is left to be worked out.
unsafe fn exact_clauses(rel: *mut pg_sys::RelOptInfo, planned: &Planned) -> Option<Classified> {
    // SAFETY: the planner's own structures.
    unsafe {
        let infos = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo);
        if infos.iter_ptr().any(|info| (*info).pseudoconstant) {
            return None;
        }
        let clauses = pg_sys::extract_actual_clauses((*rel).baserestrictinfo, false);
        let classified = planned.classify(clauses);
        if clauses.is_null() {
            return Some(classified);
        }
        let Described { filter, exact, .. } = planned.described(&classified);
        let is_known = filter.is_some_and(|filter| filter.is_known());
        (planned.table.surface() == Surface::Dac && exact && is_known).then_some(classified)
    }
}

/// `SELECT count(*)` of a data access class.
unsafe fn add_count_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: *mut pg_sys::Path,
    output: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner's own structures; each node is looked at as what its tag says it is.
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
        let plan = Plan { upper: Some(Upper::Count), ..Plan::default() };
        let (none, no_costs) = (std::ptr::null_mut(), std::ptr::null());
        let (plain, simple) = (pg_sys::AggStrategy::AGG_PLAIN, pg_sys::AggSplit::AGGSPLIT_SIMPLE);
        let otherwise =
            pg_sys::create_agg_path(root, output, rows, target, plain, simple, none, none, no_costs, 1.0);
        let estimate = Estimate { rows: 1.0, startup: REQUEST_COST, total: REQUEST_COST + ROW_COST };
        let private = private(plan, clauses);
        let path = compat::create_upper_path(root, output, target, estimate, none, otherwise.cast(), private);
        pg_sys::add_path(output, path.cast());
    }
}

/// `OFFSET`, with LIMIT or without, of rows in the order that they come in or in one that the server makes.
unsafe fn add_offset_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut pg_sys::FinalPathExtraData,
) {
    // SAFETY: the planner's own structures.
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
        let (Some(offset), Some(limit)) =
            (constant((*query).limitOffset), constant_or_none((*query).limitCount))
        else {
            return;
        };
        if !is_plain || offset == 0 || limit == Some(0) {
            return;
        }
        let planned = Planned::of(rel);
        let relation = planned.relation();
        let Some(clauses) = exact_clauses(rel, planned) else { return };
        let pathkeys = (*root).sort_pathkeys;
        let keys = order::keys(rel, &planned.table, &relation, pathkeys);
        let target = (*root).upper_targets[pg_sys::UpperRelationKind::UPPERREL_FINAL as usize];
        let is_sorted = keys.len() == PgList::<pg_sys::PathKey>::from_pg(pathkeys).len()
            && !keys.iter().any(|key| key.nulls_apart);
        // In an order that people change only one page is read, as in `plan`.
        let most = planned.table.page_size;
        if !keys.is_empty() && limit.is_none_or(|limit| limit > most) {
            return;
        }
        if !is_sorted || !planned.table.is_cut_by_position() || !has_columns_only(rel, target) {
            return;
        }
        let checked = pg_sys::extract_actual_clauses((*rel).baserestrictinfo, false);
        let plan = Plan {
            attributes: attributes((*rel).relid, (*rel).reltarget, &planned.table, checked, &keys),
            limit,
            keys,
            upper: Some(Upper::Offset(offset)),
            ..Plan::default()
        };
        let columns = columns(root, (*rel).relid, &relation, &plan.attributes);
        let otherwise = limited(root, rel, columns, pathkeys, output);
        let left = ((*rel).rows - f64::from(offset)).max(1.0);
        let rows = limit.map_or(left, |limit| left.min(f64::from(limit)));
        let total = REQUEST_COST + rows * (ROW_COST + pg_sys::cpu_tuple_cost);
        let estimate = Estimate { rows, startup: REQUEST_COST, total };
        let private = private(plan, clauses);
        let path = compat::create_upper_path(root, output, target, estimate, pathkeys, otherwise, private);
        pg_sys::add_path(output, path.cast());
    }
}

/// What a path keeps until it becomes a plan: that plan's `fdw_private` and `fdw_exprs`.
unsafe fn private(mut plan: Plan, clauses: Classified) -> *mut pg_sys::List {
    // SAFETY: palloc and node constructors only.
    unsafe {
        let expressions = plan.add_conditions(clauses, std::ptr::null_mut());
        let list = pg_sys::lappend(std::ptr::null_mut(), plan.to_list().cast());
        pg_sys::lappend(list, expressions.cast())
    }
}

/// The path that reads some columns of all rows, and leaves out those that the query does not want, in the order of
/// `pathkeys`.
unsafe fn limited(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    columns: *mut pg_sys::PathTarget,
    pathkeys: *mut pg_sys::List,
    output: *mut pg_sys::RelOptInfo,
) -> *mut pg_sys::Path {
    // SAFETY: the planner's own structures.
    unsafe {
        let (none, no_relids) = (std::ptr::null_mut(), std::ptr::null_mut());
        let total = REQUEST_COST + (*rel).tuples * ROW_COST;
        let estimate = Estimate { rows: (*rel).rows, startup: REQUEST_COST, total };
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

/// Whether a target can be worked out of the columns of a relation one by one.
unsafe fn has_columns_only(rel: *mut pg_sys::RelOptInfo, target: *mut pg_sys::PathTarget) -> bool {
    let mut used = std::ptr::null_mut();
    // SAFETY: the planner's own structures; the out-parameter is valid.
    unsafe {
        pg_sys::pull_varattnos((*target).exprs.cast(), (*rel).relid, &mut used);
        // Attribute 0 is the whole row, and those below are the system's.
        let first = 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
        pg_sys::bms_next_member(used, -1) >= first || used.is_null()
    }
}

/// A constant that LIMIT or OFFSET is given, if it is one, and not NULL.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<u32> {
    // SAFETY: an expression of type bigint, or null.
    unsafe {
        let constant: *mut pg_sys::Const = node.cast();
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_Const || (*constant).constisnull {
            return None;
        }
        u32::try_from((*constant).constvalue.value() as i64).ok().filter(|count| *count <= i32::MAX as u32)
    }
}

/// The same, where there may be none: `Some(None)`.
unsafe fn constant_or_none(node: *mut pg_sys::Node) -> Option<Option<u32>> {
    // SAFETY: as above.
    unsafe { if node.is_null() { Some(None) } else { constant(node).map(Some) } }
}

/// The columns of a relation one by one.
unsafe fn columns(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    relation: &PgRelation,
    attributes: &[i16],
) -> *mut pg_sys::PathTarget {
    let descriptor = relation.tuple_desc();
    // SAFETY: the planner run under way; palloc and node constructors only.
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

/// The plan of such a path. Its rows are those of the plan that is run otherwise.
///
/// # Safety
/// `path` is one of those above, with the target list that is to be worked out and the plan of its other path.
pub unsafe fn plan(
    path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    otherwise: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: as the caller says.
    unsafe {
        // As `private` made it; an empty list is a null pointer.
        let kept = PgList::<std::ffi::c_void>::from_pg((*path).fdw_private);
        let part = |place| kept.get_ptr(place).unwrap_or(std::ptr::null_mut()).cast();
        pg_sys::make_foreignscan(
            target_list,
            std::ptr::null_mut(),
            0,
            part(1),
            part(0),
            pg_sys::copyObjectImpl((*otherwise).targetlist.cast()).cast(),
            std::ptr::null_mut(),
            otherwise,
        )
    }
}
