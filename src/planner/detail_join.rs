//! A join of an entity with one of its details: the rows of both are in the same records, so one list with `$expand` has them.
//!
//! PostgreSQL would join two scans, the second of which requests the records again. Here the table of the detail is scanned, with
//! the columns of the entity's table beside its own. That gives the same rows if the tables read the same records and are
//! joined by the whole key: then a row of one matches the rows of the other that come out of the same record, and no others. The
//! executor evaluates all clauses of both tables and of the join.

use acumatica_client::Surface;
use acumatica_client::decode::ColumnType;
use acumatica_pushdown::{Condition, JoinedColumn, NO_FIELDS, Reason, ScanPlan};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::compat::{self, Estimate};
use crate::catalog::setting;
use crate::catalog::table::{ForeignColumn, ForeignTable};
use crate::planner::planned::{Classified, Planned};
use crate::planner::private;
use crate::planner::rows;
use crate::planner::value::attribute_of;

/// Adds a path for a join of two relations of this wrapper, if it is one of an entity with its detail.
///
/// # Safety
/// The pointers are what the planner passed to GetForeignJoinPaths.
pub unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    kind: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: the caller passes the planner's own structures. The planner calls this for both orders of two relations; in one of
    // them the entity is the outer one.
    unsafe {
        let is_candidate = kind == pg_sys::JoinType::JOIN_INNER
            && setting::enable_detail_join()
            && !is_rechecked(root)
            && (*root).placeholder_list.is_null()
            && (*joined).lateral_relids.is_null()
            && is_plain(root, outer)
            && is_plain(root, inner);
        if !is_candidate {
            return;
        }
        let (record, detail) = (outer, inner);
        let (of_record, of_detail) = (Planned::of(record), Planned::of(detail));
        let clauses = (*extra).restrictlist;
        if !are_of_one_record(&of_record.table, &of_detail.table)
            || !are_simple(clauses)
            || !is_joined_by_key(record, detail, clauses)
        {
            return;
        }
        let join = pg_sys::extract_actual_clauses(clauses, false);
        if columns(joined, record, detail, join).is_none() {
            return;
        }
        // A record is sent if it meets the conditions of both tables that are sent: the rows of the join, and those that the other
        // conditions remove.
        let removed = |rel: *mut pg_sys::RelOptInfo| (rows::sent(root, rel) / (*rel).rows.max(1.0)).max(1.0);
        let most = rows::sent(root, detail).max(1.0);
        let fetched = ((*joined).rows * removed(record) * removed(detail)).min(most);
        let costs = of_detail.costs;
        let local = fetched * pg_sys::cpu_tuple_cost
            + (*record).baserestrictcost.per_tuple * fetched
            + (*detail).baserestrictcost.per_tuple * fetched;
        let estimate = Estimate {
            rows: (*joined).rows,
            startup: costs.request,
            total: costs.of_scan(fetched, of_detail.table.page_size) + local,
        };
        let relids = [(*record).relid, (*detail).relid];
        let relids =
            relids.iter().fold(std::ptr::null_mut(), |list, relid| pg_sys::lappend_int(list, *relid as i32));
        let private = [join, relids];
        let private =
            private.iter().fold(std::ptr::null_mut(), |list, part| pg_sys::lappend(list, (*part).cast()));
        let path = compat::create_join_path(root, joined, estimate, private);
        pg_sys::add_path(joined, path.cast());
    }
}

/// Whether rows of the query, or of a query around it, may be checked again after a wait for a row lock. A join would have to be
/// able to check a row of its own then.
///
/// # Safety
/// `root` is that of the current planner run.
unsafe fn is_rechecked(root: *mut pg_sys::PlannerInfo) -> bool {
    let mut root = root;
    // SAFETY: `parent_root` is null or the planner's structure for the query around.
    unsafe {
        while !root.is_null() {
            let query = (*root).parse;
            let reads =
                matches!((*query).commandType, pg_sys::CmdType::CMD_SELECT | pg_sys::CmdType::CMD_INSERT);
            if !reads || !(*root).rowMarks.is_null() {
                return true;
            }
            root = (*root).parent_root;
        }
    }
    false
}

/// Whether a relation is one foreign table without parameters, whose clauses may be evaluated in any order.
///
/// # Safety
/// `rel` is a relation of this wrapper in the current planner run.
unsafe fn is_plain(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> bool {
    // SAFETY: a base relation has an entry in `simple_rte_array`, and one of this wrapper a `Planned`.
    unsafe {
        (*rel).reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
            && !(**(*root).simple_rte_array.add((*rel).relid as usize)).inh
            && (*rel).lateral_relids.is_null()
            && Planned::of(rel).parameters.is_empty()
            && are_simple((*rel).baserestrictinfo)
    }
}

/// Whether no clause decides once for all rows, and none hides rows from the functions of others.
///
/// # Safety
/// `clauses` are RestrictInfos of the current planner run.
unsafe fn are_simple(clauses: *mut pg_sys::List) -> bool {
    // SAFETY: the caller guarantees RestrictInfos.
    unsafe {
        let clauses = PgList::<pg_sys::RestrictInfo>::from_pg(clauses);
        clauses.iter_ptr().all(|info| !(*info).pseudoconstant && (*info).security_level == 0)
    }
}

/// Whether one table reads the records whose details the other reads.
fn are_of_one_record(record: &ForeignTable, detail: &ForeignTable) -> bool {
    let (one, other) = (&record.target, &detail.target);
    one.surface == Surface::Rest
        && other.surface == Surface::Rest
        && !one.form
        && !other.form
        && one.detail.is_empty()
        && !other.detail.is_empty()
        && one.name == other.name
        && one.endpoint_name == other.endpoint_name
        && one.endpoint_version == other.endpoint_version
        && one.contract == other.contract
        && record.server == detail.server
        && record.filter == detail.filter
        && record.has_context_of(detail)
}

/// Whether each field of the entity's key is equal in both rows. The key must be known: two records with what a table only
/// calls its key would match each other's rows.
///
/// # Safety
/// The relations are plain ones of the current planner run, and `clauses` are the RestrictInfos of their join.
unsafe fn is_joined_by_key(
    record: *mut pg_sys::RelOptInfo,
    detail: *mut pg_sys::RelOptInfo,
    clauses: *mut pg_sys::List,
) -> bool {
    // SAFETY: the caller guarantees the relations and clauses.
    unsafe {
        let (of_record, of_detail) = (Planned::of(record), Planned::of(detail));
        let Some(key) = acumatica_schema::key_fields(&of_record.table.target.name) else { return false };
        let actual = |list| PgList::<pg_sys::Expr>::from_pg(pg_sys::extract_actual_clauses(list, false));
        // The value of each equality of a text column with the field.
        let equalities = |planned: &Planned, list: *mut pg_sys::List, field: &str| {
            let each = actual(list);
            // Two rows that have values of the same array need not have the same value.
            let single = each.iter_ptr().filter(|clause| (**clause).type_ == pg_sys::NodeTag::T_OpExpr);
            let each = single.filter_map(|clause| match planned.join_key(clause)? {
                Condition::Compare { field: found, values, .. } => {
                    let is_text = matches!(found.ty, ColumnType::Text | ColumnType::Unpadded);
                    (is_text && found.path == [field]).then_some(values)
                }
                _ => None,
            });
            each.collect::<Vec<_>>()
        };
        key.iter().all(|field| {
            let is_key_of_record = |value: &*mut pg_sys::Expr| {
                attribute_of((*record).relid, *value)
                    .and_then(|attribute| of_record.table.column(attribute))
                    .is_some_and(|column| column.path == [*field])
            };
            if equalities(of_detail, clauses, field).iter().any(is_key_of_record) {
                return true;
            }
            // An equality with one value makes PostgreSQL leave out the clause between the tables.
            let wanted = equalities(of_record, (*record).baserestrictinfo, field);
            let given = equalities(of_detail, (*detail).baserestrictinfo, field);
            wanted.iter().any(|one| {
                !pg_sys::contain_volatile_functions((*one).cast())
                    && given.iter().any(|other| pg_sys::equal((*one).cast(), (*other).cast()))
            })
        })
    }
}

/// The columns of both tables that the join needs, as a list of Vars; `None` if a record does not have one of them as a field.
///
/// # Safety
/// The relations are plain ones of the current planner run; `join` are the clauses of their join `joined`.
unsafe fn columns(
    joined: *mut pg_sys::RelOptInfo,
    record: *mut pg_sys::RelOptInfo,
    detail: *mut pg_sys::RelOptInfo,
    join: *mut pg_sys::List,
) -> Option<*mut pg_sys::List> {
    // SAFETY: the caller guarantees lists of expressions, in which there is no PlaceHolderVar; so pull_var_clause returns Vars.
    unsafe {
        let flags = pg_sys::PVC_RECURSE_AGGREGATES | pg_sys::PVC_RECURSE_WINDOWFUNCS;
        let own =
            |rel: *mut pg_sys::RelOptInfo| pg_sys::extract_actual_clauses((*rel).baserestrictinfo, false);
        let lists = [(*(*joined).reltarget).exprs, own(detail), own(record), join];
        let mut found = std::ptr::null_mut();
        for list in lists {
            let vars = pg_sys::pull_var_clause(list.cast(), flags as i32);
            for var in PgList::<pg_sys::Var>::from_pg(vars).iter_ptr() {
                let planned = match (*var).varno as pg_sys::Index {
                    relid if relid == (*record).relid => Planned::of(record),
                    relid if relid == (*detail).relid => Planned::of(detail),
                    _ => return None,
                };
                let is_of_record = (*var).varno as pg_sys::Index == (*record).relid;
                // A system column, or the whole row, is none.
                let column = planned.table.column((*var).varattno)?;
                if is_of_record && !is_field(column) {
                    return None;
                }
                found = pg_sys::lappend(found, var.cast());
            }
        }
        Some(found)
    }
}

/// Whether a column is a field of the record itself that a list may have.
fn is_field(column: &ForeignColumn) -> bool {
    column.path.len() == 1
        && !NO_FIELDS.contains(&column.path[0].as_str())
        && column.ty != ColumnType::Json
        && !column.is_unselectable
}

/// The plan of a path of this file.
///
/// # Safety
/// `path` was made in this file, in the current planner run; `target_list` is its target list.
pub unsafe fn plan(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: the caller guarantees the path, so its `fdw_private` has the clauses of the join and the numbers of both
    // relations.
    unsafe {
        let private = PgList::<pg_sys::List>::from_pg((*path).fdw_private);
        let part = |index| private.get_ptr(index).unwrap_or(std::ptr::null_mut());
        let relation = |index| {
            let relid = pg_sys::list_nth_int(part(1), index);
            *(*root).simple_rel_array.add(relid as usize)
        };
        let (join, record, detail) = (part(0), relation(0), relation(1));
        let (of_record, of_detail) = (Planned::of(record), Planned::of(detail));
        let own =
            |rel: *mut pg_sys::RelOptInfo| pg_sys::extract_actual_clauses((*rel).baserestrictinfo, false);
        let mut local = own(detail);
        let before = pg_sys::list_length(local) as usize;
        local = pg_sys::list_concat(local, own(record));
        let both = pg_sys::list_length(local) as usize;
        local = pg_sys::list_concat(local, pg_sys::list_copy(join));
        let Classified { conditions, sent, kept, complete } = of_record.classified().clone();
        let mut classified = of_detail.classified().clone();
        classified.conditions.extend(conditions);
        classified.sent.extend(sent);
        classified.kept.extend(kept.into_iter().map(|(place, why)| (before + place, why)));
        let of_join = both..pg_sys::list_length(local) as usize;
        classified.kept.extend(of_join.map(|place| (place, Reason::SameRecord)));
        classified.complete &= complete;
        let Some(vars) = columns(joined, record, detail, join) else {
            unreachable!("a path has a list of columns");
        };
        let scan_list = pg_sys::add_to_flat_tlist(std::ptr::null_mut(), vars);
        let columns: Vec<JoinedColumn> = PgList::<pg_sys::TargetEntry>::from_pg(scan_list)
            .iter_ptr()
            .map(|entry| {
                let var: *mut pg_sys::Var = (*entry).expr.cast();
                let of_record = (*var).varno as pg_sys::Index == (*record).relid;
                JoinedColumn { of_record, attribute: (*var).varattno }
            })
            .collect();
        let of = |wanted: bool| {
            columns.iter().filter(move |column| column.of_record == wanted).map(|column| column.attribute)
        };
        let mut plan = ScanPlan {
            attributes: of(false).collect(),
            all_rows: (*detail).tuples as u64,
            width: u32::try_from((*(*path).path.pathtarget).width).unwrap_or(0),
            costs: of_detail.costs,
            ..ScanPlan::default()
        };
        plan.joined = columns;
        let expressions = classified.add_to(&mut plan, std::ptr::null_mut());
        pg_sys::make_foreignscan(
            target_list,
            local,
            0,
            expressions,
            private::to_list(&plan),
            scan_list,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}
