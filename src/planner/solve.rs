//! Arithmetic on a column, solved for the column: `price * 2 + 1 < 10` is a condition on `price`.

use acumatica_pushdown::{Comparison, Literal};
use pgrx::prelude::*;

use crate::planner::value::{base_type, literals};

type Expr = *mut pg_sys::Expr;

// By their place in pg_proc.
const NUMERIC_ADD: u32 = 1724;
const NUMERIC_SUB: u32 = 1725;
const NUMERIC_MUL: u32 = 1726;
const NUMERIC_DIV: u32 = 1727;
const INT2_TO_NUMERIC: u32 = 1782;
const INT4_TO_NUMERIC: u32 = 1740;
const INT8_TO_NUMERIC: u32 = 1781;
const NUMERIC_TO_DOUBLE: u32 = 1746;

/// How an expression comes from the one within it.
pub enum Step {
    Add(Expr),
    Subtract(Expr),
    SubtractFrom(Expr),
    Negate,
    Multiply(Expr),
    Divide(Expr),
}

/// With its sides changed.
pub fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq | Comparison::Ne => comparison,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// What is done to the one side of a comparison undone on the other.
///
/// # Safety
/// `value` and the numbers of `steps` are expressions of numbers.
pub unsafe fn solved(
    mut comparison: Comparison,
    mut value: Expr,
    steps: Vec<Step>,
) -> Option<(Comparison, Expr)> {
    if steps.is_empty() {
        return Some((comparison, value));
    }
    // SAFETY: expressions of numbers; what is made of them is palloc'd.
    unsafe {
        let mut rounded = false;
        value = as_numeric(value)?;
        for step in steps {
            // What was rounded at the size that a number had before need not be near it at the size it has then.
            if rounded && matches!(step, Step::Add(_) | Step::Subtract(_) | Step::SubtractFrom(_)) {
                return None;
            }
            value = match step {
                Step::Add(number) => call(NUMERIC_SUB, value, as_numeric(number)?),
                Step::Subtract(number) => call(NUMERIC_ADD, value, as_numeric(number)?),
                Step::SubtractFrom(number) => {
                    comparison = turned(comparison);
                    call(NUMERIC_SUB, as_numeric(number)?, value)
                }
                Step::Negate => {
                    comparison = turned(comparison);
                    call(NUMERIC_SUB, zero(), value)
                }
                Step::Multiply(factor) | Step::Divide(factor) => {
                    if factor_sign(factor)? < 0.0 {
                        comparison = turned(comparison);
                    }
                    rounded = true;
                    let inverse = match step {
                        Step::Multiply(_) => NUMERIC_DIV,
                        _ => NUMERIC_MUL,
                    };
                    call(inverse, value, as_numeric(factor)?)
                }
            };
        }
        if rounded {
            // Compared as a binary number is: up to rounding.
            value = pg_sys::makeFuncExpr(
                NUMERIC_TO_DOUBLE.into(),
                pg_sys::FLOAT8OID,
                pg_sys::lappend(std::ptr::null_mut(), value.cast()),
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
            )
            .cast();
        }
        // What is constant is worked out now, so that EXPLAIN can show it.
        Some((comparison, pg_sys::eval_const_expressions(std::ptr::null_mut(), value.cast()).cast()))
    }
}

/// A factor that is known now, and moderate, so that what rounding does to a product stays small.
unsafe fn factor_sign(factor: Expr) -> Option<f64> {
    // SAFETY: an expression; a constant that is not NULL has a value of its type.
    unsafe {
        let constant: *mut pg_sys::Const = factor.cast();
        if (*constant).xpr.type_ != pg_sys::NodeTag::T_Const || (*constant).constisnull {
            return None;
        }
        let literals = literals((*constant).constvalue, (*constant).consttype, None).literals;
        let number: f64 = match literals.into_iter().next()? {
            Ok(Literal::Integer(digits) | Literal::Decimal(digits)) => digits.parse().ok()?,
            _ => return None,
        };
        (1e-6..=1e6).contains(&number.abs()).then_some(number)
    }
}

unsafe fn zero() -> Expr {
    // SAFETY: palloc only.
    unsafe {
        let datum = pg_sys::Datum::from(0_i32);
        let zero = pg_sys::makeConst(pg_sys::INT4OID, -1, pg_sys::InvalidOid, 4, datum, false, true);
        call_one(INT4_TO_NUMERIC, zero.cast())
    }
}

unsafe fn as_numeric(value: Expr) -> Option<Expr> {
    // SAFETY: an expression.
    unsafe {
        Some(match base_type(value) {
            pg_sys::NUMERICOID => value,
            pg_sys::INT2OID => call_one(INT2_TO_NUMERIC, value),
            pg_sys::INT4OID => call_one(INT4_TO_NUMERIC, value),
            pg_sys::INT8OID => call_one(INT8_TO_NUMERIC, value),
            _ => return None,
        })
    }
}

unsafe fn call_one(function: u32, argument: Expr) -> Expr {
    // SAFETY: palloc only.
    unsafe { numeric_call(function, pg_sys::lappend(std::ptr::null_mut(), argument.cast())) }
}

unsafe fn call(function: u32, left: Expr, right: Expr) -> Expr {
    // SAFETY: palloc only.
    unsafe {
        let list = pg_sys::lappend(std::ptr::null_mut(), left.cast());
        numeric_call(function, pg_sys::lappend(list, right.cast()))
    }
}

unsafe fn numeric_call(function: u32, arguments: *mut pg_sys::List) -> Expr {
    // SAFETY: palloc only; the function takes these arguments and returns a numeric.
    unsafe {
        pg_sys::makeFuncExpr(
            function.into(),
            pg_sys::NUMERICOID,
            arguments,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast()
    }
}
