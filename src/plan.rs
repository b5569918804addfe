//! The planner's callbacks: how large, at what cost, and which columns. Nothing here asks the server.

use acumatica_client::decode::ColumnType;
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::compat;
use crate::convert::column_type;
use crate::deparse::{Plan, Table, column_options};
use crate::parameter::{self, Argument};

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
    table: pg_sys::Oid,
) {
    let parameters = parameters_of(table);
    // SAFETY: the planner passes its own structures.
    unsafe {
        let sets = match parameters.is_empty() {
            true => Vec::new(),
            false => parameter::outer_relations(root, rel, &parameters),
        };
        let all = sets.iter().fold((*rel).lateral_relids, |all, set| pg_sys::bms_union(all, *set));
        for outer in std::iter::once((*rel).lateral_relids).chain(sets).chain(std::iter::once(all)) {
            add_scan_path(root, rel, outer, all, &parameters);
        }
    }
}

/// Adds the path that gets the values of `outer`, out of `all` relations that could give any.
///
/// # Safety
/// As for the callback.
unsafe fn add_scan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: pg_sys::Relids,
    all: pg_sys::Relids,
    parameters: &[(i16, bool)],
) {
    // SAFETY: as the caller says.
    unsafe {
        let info = match outer.is_null() {
            true => std::ptr::null_mut(),
            false => pg_sys::get_baserel_parampathinfo(root, rel, outer),
        };
        let rows = if info.is_null() { (*rel).rows } else { (*info).ppi_rows };
        let mut clauses: Vec<*mut pg_sys::RestrictInfo> =
            PgList::from_pg((*rel).baserestrictinfo).iter_ptr().collect();
        if !info.is_null() {
            clauses.extend(PgList::from_pg((*info).ppi_clauses).iter_ptr());
        }
        let given: Vec<i16> = clauses
            .into_iter()
            .filter_map(|info| parameter::argument(root, (*rel).relid, parameters, (*info).clause))
            .map(|argument| argument.attribute)
            .collect();
        // All rows are fetched, whatever passes the filter; of an inquiry, those that it has for its parameters.
        let fetched = if given.is_empty() { (*rel).tuples } else { rows };
        let startup = REQUEST_COST + (*rel).baserestrictcost.startup;
        // Rows that a parameter decides about are not those of a query that does not use it.
        let is_last_resort = !pg_sys::bms_equal(outer, all);
        let per_row = ROW_COST + pg_sys::cpu_tuple_cost + (*rel).baserestrictcost.per_tuple;
        let path = compat::create_scan_path(
            root,
            rel,
            outer,
            rows,
            startup,
            startup + fetched * per_row,
            is_last_resort,
        );
        pg_sys::add_path(rel, path.cast());
    }
}

/// The parameters of a table, by attribute number, and whether each is required.
fn parameters_of(table: pg_sys::Oid) -> Vec<(i16, bool)> {
    // SAFETY: the planner holds a lock on the table.
    let relation = unsafe { PgRelation::with_lock(table, pg_sys::NoLock as pg_sys::LOCKMODE) };
    parameter::of_table(&Table::load(table), &relation)
}

#[pg_guard]
unsafe extern "C-unwind" fn get_foreign_plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    table: pg_sys::Oid,
    path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    let parameters = parameters_of(table);
    // SAFETY: the planner passes its own structures, and holds a lock on the table.
    unsafe {
        // All clauses are checked here, by the executor; that of a parameter holds for all its rows.
        let local = pg_sys::extract_actual_clauses(clauses, false);
        let given: Vec<Argument> = PgList::<pg_sys::Expr>::from_pg(local)
            .iter_ptr()
            .filter_map(|clause| parameter::argument(root, (*rel).relid, &parameters, clause))
            .collect();
        if !parameters.is_empty() {
            let relation = PgRelation::with_lock(table, pg_sys::NoLock as pg_sys::LOCKMODE);
            parameter::check_conditions((*rel).relid, &relation, &parameters, &given, local);
            parameter::check_joins(root, rel, path, &relation, &parameters, &given);
        }
        let values = given
            .iter()
            .fold(std::ptr::null_mut(), |list, argument| pg_sys::lappend(list, argument.value.cast()));
        let plan = Plan {
            attributes: attributes(rel, table, local),
            limit: limit(root, local),
            arguments: given.iter().map(|argument| argument.attribute).collect(),
        };
        pg_sys::make_foreignscan(
            target_list,
            local,
            (*rel).relid,
            values,
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
