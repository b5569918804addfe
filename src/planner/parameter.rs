//! The parameters of inquiries: from conditions in WHERE to the values of the calls.
//!
//! A condition that says what a parameter is, `column = value`, is no filter of rows that are there anyway: it decides
//! which rows there are. So whenever a query holds such a condition it is used, in whichever plan; it is checked
//! locally too, which costs nothing, since rows show the parameters as they were given.

use std::collections::HashSet;
use std::ffi::c_void;

use acumatica_client::ScanRequest;
use acumatica_pushdown::Literal;
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::encoding::from_server;
use crate::backend::error::Refusal;
use crate::catalog::setting;
use crate::planner::value::{Expression, are_alike, attribute_of, is_deterministic, is_equality};

/// A condition that gives a parameter its value.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub attribute: i16,
    /// Of the column's type or one like it, or an array of such values.
    pub value: *mut pg_sys::Expr,
}

/// What `clause` says about a parameter of the relation `relid`, if it does.
///
/// # Safety
/// `clause` is an expression of the planner run of `root`.
pub unsafe fn argument(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    parameters: &[i16],
    clause: *mut pg_sys::Expr,
) -> Option<Argument> {
    // SAFETY: as the caller says; each node is looked at as what its tag says it is.
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

/// A value in a type that can be sent for a parameter of type `ty`.
unsafe fn coerced(value: *mut pg_sys::Expr, ty: pg_sys::Oid) -> Option<*mut pg_sys::Expr> {
    // SAFETY: an expression; what is made of it is palloc'd, null if it cannot be.
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

/// Raises if a condition is about a parameter that nothing gives a value: rows show what the inquiry was asked with, so
/// that it would be met by none, or by chance.
///
/// # Safety
/// `clauses` are all that the plan checks of the relation `relid`.
pub unsafe fn check_conditions(
    relid: pg_sys::Index,
    relation: &PgRelation,
    parameters: &[i16],
    given: &[Argument],
    clauses: *mut pg_sys::List,
) {
    // SAFETY: as the caller says.
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

/// Raises if a join says something of a parameter that this plan does not give it: because of the kind of the condition
/// or of the join, or since each of two inquiries would have to be asked first.
///
/// # Safety
/// `path` is the one of `rel` that the planner has chosen.
pub unsafe fn check_joins(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::ForeignPath,
    relation: &PgRelation,
    parameters: &[i16],
    given: &[Argument],
) {
    // SAFETY: as the caller says.
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

/// Whether a set of attributes, as `pull_varattnos` makes it, holds one.
///
/// # Safety
/// `used` is a bitmap set.
pub unsafe fn mentions(used: *mut pg_sys::Bitmapset, attribute: i16) -> bool {
    // SAFETY: a bitmap set.
    unsafe { pg_sys::bms_is_member(i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber, used) }
}

fn refuse_condition(relation: &PgRelation, attribute: i16) -> ! {
    // SAFETY: an attribute of the relation; the name is palloc'd.
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

/// The parameter that an expression is, under whichever of its binary-compatible types.
///
/// # Safety
/// `node` is an expression.
pub unsafe fn column(relid: pg_sys::Index, parameters: &[i16], node: *mut pg_sys::Expr) -> Option<i16> {
    // SAFETY: as the caller says.
    let attribute = unsafe { attribute_of(relid, node) }?;
    parameters.contains(&attribute).then_some(attribute)
}

/// Whether a value is known before the relation is read, and stays as it is meanwhile.
///
/// # Safety
/// `value` is an expression of the planner run of `root`.
unsafe fn is_given(root: *mut pg_sys::PlannerInfo, relid: pg_sys::Index, value: *mut pg_sys::Expr) -> bool {
    // SAFETY: an expression of this planner run.
    unsafe {
        !pg_sys::bms_is_member(relid as i32, pg_sys::pull_varnos(root, value.cast()))
            && !pg_sys::contain_volatile_functions(value.cast())
    }
}

/// The values of a plan's expressions, each with the parameter that it is for.
#[derive(Debug)]
pub struct Arguments(Vec<(usize, Expression)>);

impl Arguments {
    /// `attributes` tells the parameter of each of the plan's expressions.
    ///
    /// # Safety
    /// `node` is being begun, in the memory context of the query; `expressions` are those of its plan.
    pub unsafe fn begin(
        node: *mut pg_sys::ForeignScanState,
        expressions: *mut pg_sys::List,
        attributes: &[i16],
        parameters: &[i16],
    ) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let expressions = PgList::<pg_sys::Expr>::from_pg(expressions);
            let begun = expressions.iter_ptr().zip(attributes).filter_map(|(expression, attribute)| {
                let place = parameters.iter().position(|parameter| parameter == attribute)?;
                Some((place, Expression::begin(node, expression)))
            });
            Self(begun.collect())
        }
    }

    /// The calls to make: all combinations of what the parameters may be. None if one of them can be nothing.
    ///
    /// # Safety
    /// `node` is the scan that this was begun for.
    pub unsafe fn calls(
        &self,
        node: *mut pg_sys::ForeignScanState,
        request: &ScanRequest,
    ) -> Vec<Vec<Option<Literal>>> {
        let mut values: Vec<Option<Vec<Literal>>> = vec![None; request.parameters.len()];
        for (place, expression) in &self.0 {
            // SAFETY: as the caller says.
            let given = unsafe { expression.values(node) };
            let name = &request.parameters[*place].name;
            let given: Vec<Literal> = given
                .literals
                .into_iter()
                .map(|value| value.unwrap_or_else(|text| refuse_value(name, &text)))
                .collect();
            // Two conditions on one parameter: what both allow.
            values[*place] = Some(match values[*place].take() {
                Some(before) => {
                    let given: HashSet<Literal> = given.into_iter().collect();
                    before.into_iter().filter(|value| given.contains(value)).collect()
                }
                None => given,
            });
        }
        let count = values.iter().flatten().fold(1_usize, |count, values| count.saturating_mul(values.len()));
        if count > setting::max_calls() {
            refuse_calls(request, count);
        }
        values.into_iter().fold(vec![Vec::new()], |calls, values| {
            let choices = match values {
                Some(values) => values.into_iter().map(Some).collect(),
                None => vec![None],
            };
            let extended = |call: &Vec<Option<Literal>>| -> Vec<Vec<Option<Literal>>> {
                choices.iter().map(|value| [call.as_slice(), std::slice::from_ref(value)].concat()).collect()
            };
            calls.iter().flat_map(extended).collect()
        })
    }
}

fn refuse_calls(request: &ScanRequest, count: usize) -> ! {
    let most = setting::max_calls();
    Refusal::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("foreign table \"{}\" would take {count} calls of {}", request.table, request.target),
    )
    .detail(format!(
        "It is called once for each combination of the values of its parameters; acumatica_fdw.max_calls allows {most} calls."
    ))
    .hint("Give the parameters fewer values, or raise the setting: SET acumatica_fdw.max_calls = ….")
    .raise()
}

fn refuse_value(parameter: &str, text: &str) -> ! {
    Refusal::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("parameter \"{parameter}\" cannot be given the value {text}"),
    )
    .hint("Give it a finite number, or a day in the years 1 to 9999.")
    .raise()
}

/// Adds to `sets` the other relations that must be read first for their values to be given to parameters.
///
/// # Safety
/// `rel` is the relation being planned, whose parameters these are.
pub unsafe fn outer_relations(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    parameters: &[i16],
) -> Vec<pg_sys::Relids> {
    let mut sets: Vec<pg_sys::Relids> = Vec::new();
    // SAFETY: as the caller says; the sets are copies in the planner's memory.
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

/// The conditions of joins that may be about a parameter.
unsafe fn join_conditions(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    parameters: &[i16],
) -> Vec<*mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's own structures.
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

struct Wanted {
    relid: pg_sys::Index,
    attribute: i16,
}

/// Called by the planner for each member of an equivalence class.
#[pg_guard]
unsafe extern "C-unwind" fn is_member_of_class(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    wanted: *mut c_void,
) -> bool {
    // SAFETY: the planner passes its own structures, and back what it was given above.
    unsafe {
        let wanted = &*wanted.cast::<Wanted>();
        let mut used = std::ptr::null_mut();
        pg_sys::pull_varattnos((*member).em_expr.cast(), wanted.relid, &mut used);
        mentions(used, wanted.attribute)
    }
}
