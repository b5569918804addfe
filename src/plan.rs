//! The planner's callbacks: how large, at what cost, and which columns. Nothing here asks the server.

use acumatica_client::decode::ColumnType;
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::compat;
use crate::convert::column_type;
use crate::deparse::{Plan, Table, column_options};

/// One request and its answer cost about what reading a hundred pages of a local table costs.
const REQUEST_COST: f64 = 100.0;
/// A row that comes over the network, beyond what a local one costs.
const ROW_COST: f64 = 0.02;
/// What is assumed of a table that was never analysed and has no option `rows`.
const DEFAULT_ROWS: f64 = 10_000.0;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.GetForeignRelSize = Some(get_foreign_rel_size);
    routine.GetForeignPaths = Some(get_foreign_paths);
    routine.GetForeignPlan = Some(get_foreign_plan);
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: pg_sys::Oid,
) {
    let options = Table::load(table).options;
    // SAFETY: the planner passes its own structures.
    unsafe {
        let analysed = (*rel).tuples;
        (*rel).tuples = match options.integer("rows") {
            Some(rows) => rows as f64,
            None if analysed > 0.0 => analysed,
            None => DEFAULT_ROWS,
        };
        pg_sys::set_baserel_size_estimates(root, rel);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
) {
    // SAFETY: the planner passes its own structures.
    unsafe {
        // All rows are fetched, whatever passes the filter.
        let fetched = (*rel).tuples;
        let startup = REQUEST_COST + (*rel).baserestrictcost.startup;
        let per_row = ROW_COST + pg_sys::cpu_tuple_cost + (*rel).baserestrictcost.per_tuple;
        let path = compat::create_scan_path(root, rel, (*rel).rows, startup, startup + fetched * per_row);
        pg_sys::add_path(rel, path.cast());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: pg_sys::Oid,
    _path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: the planner passes its own structures, and holds a lock on the table.
    unsafe {
        // All clauses are checked here, by the executor.
        let local = pg_sys::extract_actual_clauses(clauses, false);
        let plan = Plan { attributes: attributes(rel, table, local), limit: limit(root, local) };
        pg_sys::make_foreignscan(
            target_list,
            local,
            (*rel).relid,
            std::ptr::null_mut(),
            plan.into_list(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            outer_plan,
        )
    }
}

/// The columns that the scan must return: those of its output and of its filter. If there are none,
/// as for `count(*)`, one all the same, since some field must be asked for to have rows to count: the
/// first of the key, else the first that is no jsonb, which may hold all details of a record.
///
/// # Safety
/// `rel` is the relation being planned, `table` its table, `local` its clauses.
unsafe fn attributes(rel: *mut pg_sys::RelOptInfo, table: pg_sys::Oid, local: *mut pg_sys::List) -> Vec<i16> {
    let mut used = std::ptr::null_mut();
    // SAFETY: as the caller says.
    let relation = unsafe {
        pg_sys::pull_varattnos((*(*rel).reltarget).exprs.cast(), (*rel).relid, &mut used);
        pg_sys::pull_varattnos(local.cast(), (*rel).relid, &mut used);
        PgRelation::with_lock(table, pg_sys::NoLock as pg_sys::LOCKMODE)
    };
    // SAFETY: `used` is a bitmap set, made above.
    let is_used = |attribute: i16| unsafe {
        pg_sys::bms_is_member(i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
    };
    let all: Vec<i16> = relation.tuple_desc().iter().filter(|a| !a.attisdropped).map(|a| a.attnum).collect();
    // Attribute 0 is the whole row.
    let mut wanted: Vec<i16> =
        all.iter().copied().filter(|attribute| is_used(*attribute) || is_used(0)).collect();
    if wanted.is_empty() {
        let width = |attribute: &&pg_sys::FormData_pg_attribute| {
            let key = column_options(table, attribute.attnum).integer("key");
            (key.unwrap_or(u64::MAX), column_type(attribute) == ColumnType::Json)
        };
        let descriptor = relation.tuple_desc();
        let narrowest = descriptor.iter().filter(|attribute| !attribute.attisdropped).min_by_key(width);
        wanted.extend(narrowest.map(|attribute| attribute.attnum));
    }
    wanted
}

/// The LIMIT, if the scan's rows go to it as they come.
///
/// # Safety
/// `root` is the planner run under way.
unsafe fn limit(root: *mut pg_sys::PlannerInfo, local: *mut pg_sys::List) -> Option<u32> {
    // SAFETY: as the caller says.
    unsafe {
        let query = (*root).parse;
        let alone = pg_sys::bms_membership((*root).all_baserels) == pg_sys::BMS_Membership::BMS_SINGLETON;
        if !alone || !local.is_null() || !(*query).sortClause.is_null() {
            return None;
        }
        let limit = (*root).limit_tuples;
        (limit >= 1.0 && limit <= f64::from(i32::MAX)).then_some(limit as u32)
    }
}
