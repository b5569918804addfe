//! The parameters of inquiries: turns clauses such as `column = value` into the values of the calls.
//!
//! A clause on a parameter does not filter existing rows: its value decides which rows the inquiry computes. So every plan
//! uses such a clause if the query has one. The executor rechecks it, and it is always true, because the rows show the
//! parameters as they were given.

use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::encoding::from_server;
use crate::backend::error::Refusal;
use crate::planner::value::{are_alike, attribute_of, is_deterministic, is_equality};

/// The value that a clause gives a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// The attribute number of the parameter's column.
    pub attribute: i16,
    /// An expression of the column's type or a similar one, or an array of such values.
    pub value: *mut pg_sys::Expr,
}

/// The value that `clause` gives a parameter of the relation `relid`; `None` if it gives none.
///
/// # Safety
/// `clause` is an expression of the planner run of `root`.
pub unsafe fn argument(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    parameters: &[i16],
    clause: *mut pg_sys::Expr,
) -> Option<Argument> {
    // SAFETY: the caller guarantees an expression; each node is cast to what its tag says.
    unsafe {
        let parameter = |node| column(relid, parameters, node);
        let boolean = |attribute, truth| {
            let value = pg_sys::makeBoolConst(truth, false).cast();
            Some(Argument { attribute, value })
        };
        match (*clause.cast::<pg_sys::Node>()).type_ {
            pg_sys::NodeTag::T_Var => boolean(parameter(clause)?, true),
            pg_sys::NodeTag::T_BoolExpr => {
                let not: *mut pg_sys::BoolExpr = clause.cast();
                let inner = PgList::<pg_sys::Expr>::from_pg((*not).args).get_ptr(0)?;
                let is_not = (*not).boolop == pg_sys::BoolExprType::NOT_EXPR;
                if is_not { boolean(parameter(inner)?, false) } else { None }
            }
            pg_sys::NodeTag::T_OpExpr => {
                let operation: *mut pg_sys::OpExpr = clause.cast();
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                let (left, right) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
                let (attribute, value, mine) = match (parameter(left), parameter(right)) {
                    (Some(attribute), None) => (attribute, right, left),
                    (None, Some(attribute)) => (attribute, left, right),
                    _ => return None,
                };
                let says = is_equality((*operation).opno, left)
                    && is_deterministic((*operation).inputcollid)
                    && is_given(root, relid, value);
                let value = coerced(value, pg_sys::exprType(mine.cast())).filter(|_| says)?;
                Some(Argument { attribute, value })
            }
            pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                let operation: *mut pg_sys::ScalarArrayOpExpr = clause.cast();
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                let (left, value) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
                let attribute = parameter(left)?;
                let element = pg_sys::get_element_type(pg_sys::exprType(value.cast()));
                let says = (*operation).useOr
                    && is_deterministic((*operation).inputcollid)
                    && is_equality((*operation).opno, left)
                    && are_alike(pg_sys::exprType(left.cast()), element)
                    && is_given(root, relid, value);
                says.then_some(Argument { attribute, value })
            }
            _ => None,
        }
    }
}

/// `value`, with an implicit cast if its type cannot be sent for a parameter of type `ty`; `None` if there is no such cast.
///
/// # Safety
/// `value` is an expression of the current planner run.
unsafe fn coerced(value: *mut pg_sys::Expr, ty: pg_sys::Oid) -> Option<*mut pg_sys::Expr> {
    // SAFETY: the caller guarantees an expression. coerce_to_target_type needs a ParseState for parameter hooks and error
    // positions only, so it may be null; the result is null if there is no cast.
    unsafe {
        let own = pg_sys::exprType(value.cast());
        if are_alike(ty, own) {
            return Some(value);
        }
        let coerced = pg_sys::coerce_to_target_type(
            std::ptr::null_mut(),
            value.cast(),
            own,
            pg_sys::getBaseType(ty),
            -1,
            pg_sys::CoercionContext::COERCION_IMPLICIT,
            pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
            -1,
        );
        (!coerced.is_null()).then_some(coerced.cast())
    }
}

/// Raises if a clause refers to a parameter that no clause gives a value. Rows show the parameters as they were given, so
/// such a clause would be true by chance or never.
///
/// # Safety
/// `clauses` is the list of the clauses that the plan checks on the relation `relid`.
pub unsafe fn check_conditions(
    relid: pg_sys::Index,
    relation: &PgRelation,
    parameters: &[i16],
    given: &[Argument],
    clauses: *mut pg_sys::List,
) {
    // SAFETY: the caller guarantees a list of expressions; only their tags and their Vars are read.
    unsafe {
        for clause in PgList::<pg_sys::Expr>::from_pg(clauses).iter_ptr() {
            if (*clause.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_NullTest {
                continue;
            }
            let mut used = std::ptr::null_mut();
            pg_sys::pull_varattnos(clause.cast(), relid, &mut used);
            for attribute in parameters {
                let is_given = given.iter().any(|argument| argument.attribute == *attribute);
                if mentions(used, *attribute) && !is_given {
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
/// `path` is the path of `rel` that the planner has chosen, in the planner run of `root`.
pub unsafe fn check_joins(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::ForeignPath,
    relation: &PgRelation,
    parameters: &[i16],
    given: &[Argument],
) {
    // SAFETY: the caller guarantees structures of one planner run; each is only read, and the sets are copied.
    unsafe {
        let info = (*path).path.param_info;
        let outer = if info.is_null() { std::ptr::null_mut() } else { (*info).ppi_req_outer };
        for info in join_conditions(root, rel, parameters) {
            let clause = (*info).clause;
            if (*clause.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_NullTest {
                continue;
            }
            let mut used = std::ptr::null_mut();
            pg_sys::pull_varattnos(clause.cast(), (*rel).relid, &mut used);
            let needed = pg_sys::bms_del_member(pg_sys::bms_copy((*info).clause_relids), (*rel).relid as i32);
            let is_used = pg_sys::join_clause_is_movable_to(info, rel)
                && argument(root, (*rel).relid, parameters, clause).is_some()
                && pg_sys::bms_is_subset(needed, outer);
            let is_given = |attribute| given.iter().any(|argument| argument.attribute == attribute);
            let parameter =
                parameters.iter().find(|&&attribute| mentions(used, attribute) && !is_given(attribute));
            if let (Some(attribute), false) = (parameter, is_used) {
                refuse_condition(relation, *attribute);
            }
        }
    }
}

/// Whether a set of attributes made by `pull_varattnos` contains `attribute`.
///
/// # Safety
/// `used` is a valid bitmap set, or null.
pub unsafe fn mentions(used: *mut pg_sys::Bitmapset, attribute: i16) -> bool {
    // SAFETY: forwarded; the caller guarantees the set, and the offset makes the number positive.
    unsafe { pg_sys::bms_is_member(i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber, used) }
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

/// The parameter that an expression refers to: a Var, bare or under a RelabelType.
///
/// # Safety
/// `node` is an expression of the current planner run.
pub unsafe fn column(relid: pg_sys::Index, parameters: &[i16], node: *mut pg_sys::Expr) -> Option<i16> {
    // SAFETY: forwarded; the caller guarantees an expression.
    let attribute = unsafe { attribute_of(relid, node) }?;
    parameters.contains(&attribute).then_some(attribute)
}

/// Whether a value can be computed before the scan starts: it has no Var of the relation and no volatile function.
///
/// # Safety
/// `value` is an expression of the planner run of `root`.
unsafe fn is_given(root: *mut pg_sys::PlannerInfo, relid: pg_sys::Index, value: *mut pg_sys::Expr) -> bool {
    // SAFETY: the caller guarantees an expression of this planner run.
    unsafe {
        !pg_sys::bms_is_member(relid as i32, pg_sys::pull_varnos(root, value.cast()))
            && !pg_sys::contain_volatile_functions(value.cast())
    }
}

/// For each join clause that gives a parameter its value, the relations that must be read first.
///
/// # Safety
/// `rel` is a relation of the planner run of `root`, and `parameters` are its parameters.
pub unsafe fn outer_relations(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    parameters: &[i16],
) -> Vec<pg_sys::Relids> {
    let mut sets: Vec<pg_sys::Relids> = Vec::new();
    // SAFETY: the caller guarantees a relation of this run. bms_union copies, so the planner's own sets stay unchanged.
    unsafe {
        let clauses = join_conditions(root, rel, parameters);
        for info in clauses {
            if !pg_sys::join_clause_is_movable_to(info, rel)
                || argument(root, (*rel).relid, parameters, (*info).clause).is_none()
            {
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

/// The join clauses that may refer to a parameter, including those implied by equivalence classes.
///
/// # Safety
/// `rel` belongs to the planner run of `root`.
unsafe fn join_conditions(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    parameters: &[i16],
) -> Vec<*mut pg_sys::RestrictInfo> {
    // SAFETY: the caller guarantees a relation of this run. `wanted` outlives the call that passes it to the callback.
    unsafe {
        let mut clauses: Vec<*mut pg_sys::RestrictInfo> =
            PgList::from_pg((*rel).joininfo).iter_ptr().collect();
        if (*rel).has_eclass_joins {
            for attribute in parameters {
                let mut wanted = Wanted { relid: (*rel).relid, attribute: *attribute };
                let implied = pg_sys::generate_implied_equalities_for_column(
                    root,
                    rel,
                    Some(is_member_of_class),
                    (&raw mut wanted).cast(),
                    (*rel).lateral_referencers,
                );
                clauses.extend(PgList::from_pg(implied).iter_ptr());
            }
        }
        clauses
    }
}

/// The argument of [`is_member_of_class`].
struct Wanted {
    relid: pg_sys::Index,
    attribute: i16,
}

/// Called by the planner for each member of an equivalence class: whether it uses the wanted attribute.
#[pg_guard]
unsafe extern "C-unwind" fn is_member_of_class(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    wanted: *mut c_void,
) -> bool {
    // SAFETY: the planner passes its own member, and the pointer to `Wanted` that `join_conditions` gave it.
    unsafe {
        let wanted = &*wanted.cast::<Wanted>();
        let mut used = std::ptr::null_mut();
        pg_sys::pull_varattnos((*member).em_expr.cast(), wanted.relid, &mut used);
        mentions(used, wanted.attribute)
    }
}
