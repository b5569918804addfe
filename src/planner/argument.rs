//! The parameters of inquiries in one clause: which it refers to, and which value one such as `column = value` gives.

use pgrx::PgList;
use pgrx::prelude::*;

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

/// The parameters that a clause refers to.
///
/// # Safety
/// `clause` is an expression of the current planner run.
pub unsafe fn mentioned(relid: pg_sys::Index, parameters: &[i16], clause: *mut pg_sys::Expr) -> Vec<i16> {
    if parameters.is_empty() {
        return Vec::new();
    }
    let mut used = std::ptr::null_mut();
    // SAFETY: the caller guarantees an expression, of which only the Vars are read; `used` is then null or a bitmap set.
    unsafe {
        pg_sys::pull_varattnos(clause.cast(), relid, &mut used);
        parameters.iter().copied().filter(|attribute| mentions(used, *attribute)).collect()
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

/// The parameter that an expression refers to: a Var, bare or under a RelabelType.
///
/// # Safety
/// `node` is an expression of the current planner run.
unsafe fn column(relid: pg_sys::Index, parameters: &[i16], node: *mut pg_sys::Expr) -> Option<i16> {
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
