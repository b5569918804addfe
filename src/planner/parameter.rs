//! Join clauses: which relations can supply values for the parameters of an inquiry, or for conditions on another table; and
//! which queries must be refused because the values of parameters cannot be told from the clauses.
//!
//! A clause on a parameter does not filter existing rows: its value decides which rows the inquiry computes. So every plan
//! uses such a clause if the query has one. The executor rechecks it, and it is always true, because the rows show the
//! parameters as they were given.

use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::encoding::from_server;
use crate::backend::error::Refusal;
use crate::planner::argument::{Argument, mentions};
use crate::planner::planned::Planned;

/// Raises if a clause refers to a parameter that no clause gives a value. Rows show the parameters as they were given, so
/// such a clause would be true by chance or never.
///
/// # Safety
/// `clauses` is the list of the clauses that the plan checks on the relation of `planned`, in the same planner run.
pub unsafe fn check_conditions(
    planned: &Planned,
    relation: &PgRelation,
    given: &[Argument],
    clauses: *mut pg_sys::List,
) {
    // SAFETY: the caller guarantees a list of clauses of this run.
    unsafe {
        for clause in PgList::<pg_sys::Expr>::from_pg(clauses).iter_ptr() {
            if (*clause.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_NullTest {
                continue;
            }
            for attribute in &planned.clause(clause).mentioned {
                if !given.iter().any(|argument| argument.attribute == *attribute) {
                    refuse_condition(relation, *attribute);
                }
            }
        }
    }
}

/// Raises if a join clause refers to a parameter and this plan cannot use it: because of the kind of the clause or of the
/// join, or because two inquiries each need a value of the other.
///
/// # Safety
/// `path` is the path of `rel`, the relation of `planned`, that the planner has chosen in this run.
pub unsafe fn check_joins(
    planned: &Planned,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::ForeignPath,
    relation: &PgRelation,
    given: &[Argument],
) {
    // SAFETY: the caller guarantees structures of one planner run; each is only read, and the sets are copied.
    unsafe {
        let info = (*path).path.param_info;
        let outer = if info.is_null() { std::ptr::null_mut() } else { (*info).ppi_req_outer };
        for info in join_conditions(planned, rel) {
            let clause = (*info).clause;
            if (*clause.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_NullTest {
                continue;
            }
            let known = planned.clause(clause);
            let needed = pg_sys::bms_del_member(pg_sys::bms_copy((*info).clause_relids), (*rel).relid as i32);
            let is_used = pg_sys::join_clause_is_movable_to(info, rel)
                && known.argument.is_some()
                && pg_sys::bms_is_subset(needed, outer);
            let is_given = |attribute| given.iter().any(|argument| argument.attribute == attribute);
            let parameter = known.mentioned.iter().find(|&&attribute| !is_given(attribute));
            if let (Some(attribute), false) = (parameter, is_used) {
                refuse_condition(relation, *attribute);
            }
        }
    }
}

fn refuse_condition(relation: &PgRelation, attribute: i16) -> ! {
    // SAFETY: every caller passes an attribute of the open relation, so get_attname finds it; it returns a palloc'd C string.
    let name = unsafe { from_server(pg_sys::get_attname(relation.oid(), attribute, false)) };
    Refusal::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot tell the value of parameter \"{name}\" from the condition on it"),
    )
    .detail("An inquiry shows the rows for the values that its parameters are given; they cannot be filtered by it.")
    .hint(format!(
        "Write {name} = value, {name} IN (…), or an inner or left join ON {name} = column with the inquiry on its right."
    ))
    .raise()
}

/// For each join clause that gives a parameter its value, the relations that must be read first. Of a relation without
/// parameters: for each join clause that can be sent as an equality.
///
/// # Safety
/// `rel` is the relation of `planned` in the current planner run.
pub unsafe fn outer_relations(planned: &Planned, rel: *mut pg_sys::RelOptInfo) -> Vec<pg_sys::Relids> {
    let mut sets: Vec<pg_sys::Relids> = Vec::new();
    // SAFETY: the caller guarantees a relation of this run. bms_union copies, so the planner's own sets stay unchanged.
    unsafe {
        for info in join_conditions(planned, rel) {
            let is_of_use = match planned.parameters.is_empty() {
                true => planned.join_key((*info).clause).is_some(),
                false => planned.clause((*info).clause).argument.is_some(),
            };
            if !is_of_use || !pg_sys::join_clause_is_movable_to(info, rel) {
                continue;
            }
            let outer = pg_sys::bms_union((*info).clause_relids, (*rel).lateral_relids);
            let outer = pg_sys::bms_del_member(outer, (*rel).relid as i32);
            if !outer.is_null() && !sets.iter().any(|set| pg_sys::bms_equal(*set, outer)) {
                sets.push(outer);
            }
        }
    }
    sets
}

/// The join clauses, including those implied by equivalence classes that may refer to a parameter. Of a relation without
/// parameters: to a column on which conditions can be sent.
///
/// # Safety
/// `rel` is the relation of `planned` in the current planner run.
unsafe fn join_conditions(planned: &Planned, rel: *mut pg_sys::RelOptInfo) -> Vec<*mut pg_sys::RestrictInfo> {
    // SAFETY: the caller guarantees a relation of this run. `wanted` outlives the call that passes it to the callback.
    unsafe {
        let mut clauses: Vec<*mut pg_sys::RestrictInfo> =
            PgList::from_pg((*rel).joininfo).iter_ptr().collect();
        if (*rel).has_eclass_joins {
            let attributes: Vec<i16> = match planned.parameters.is_empty() {
                true => {
                    let columns = planned.table.columns.iter().filter(|column| column.field.is_ok());
                    columns.map(|column| column.attribute).collect()
                }
                false => planned.parameters.clone(),
            };
            for attribute in attributes {
                let mut wanted = Wanted { relid: (*rel).relid, attribute, classes: Vec::new() };
                // The planner stops at the first class that has clauses. Others have other expressions of the attribute.
                loop {
                    let implied = pg_sys::generate_implied_equalities_for_column(
                        planned.root,
                        rel,
                        Some(is_member_of_class),
                        (&raw mut wanted).cast(),
                        (*rel).lateral_referencers,
                    );
                    if implied.is_null() {
                        break;
                    }
                    clauses.extend(PgList::from_pg(implied).iter_ptr());
                }
            }
        }
        clauses
    }
}

/// The argument of [`is_member_of_class`].
struct Wanted {
    relid: pg_sys::Index,
    attribute: i16,
    /// The classes that were found.
    classes: Vec<*mut pg_sys::EquivalenceClass>,
}

/// Called by the planner for each member of an equivalence class, up to the first that is accepted: whether it uses the wanted
/// attribute, and the class was not found before.
#[pg_guard]
unsafe extern "C-unwind" fn is_member_of_class(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    wanted: *mut c_void,
) -> bool {
    // SAFETY: the planner passes its own member, and the pointer to `Wanted` that `join_conditions` gave it.
    unsafe {
        let wanted = &mut *wanted.cast::<Wanted>();
        let mut used = std::ptr::null_mut();
        pg_sys::pull_varattnos((*member).em_expr.cast(), wanted.relid, &mut used);
        let is_new = mentions(used, wanted.attribute) && !wanted.classes.contains(&class);
        if is_new {
            wanted.classes.push(class);
        }
        is_new
    }
}
