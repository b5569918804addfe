//! The value that a column is compared with once arithmetic on the column is undone, as an expression of PostgreSQL.

use acumatica_pushdown::{Inverse, Solved};
use pgrx::prelude::*;

use crate::planner::value::base_type;

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

/// The expression that a value is.
///
/// # Safety
/// The values are expressions, of numbers if there are inverses.
pub unsafe fn built(value: Solved<Expr>) -> Expr {
    if value.inverses.is_empty() {
        return value.of;
    }
    // SAFETY: as the caller says; what is made of them is palloc'd.
    unsafe {
        let mut built = as_numeric(value.of);
        for inverse in value.inverses {
            built = match inverse {
                Inverse::Add(number) => call(NUMERIC_ADD, built, as_numeric(number)),
                Inverse::Subtract(number) => call(NUMERIC_SUB, built, as_numeric(number)),
                Inverse::SubtractFrom(number) => call(NUMERIC_SUB, as_numeric(number), built),
                Inverse::Negate => call(NUMERIC_SUB, zero(), built),
                Inverse::Multiply(factor) => call(NUMERIC_MUL, built, as_numeric(factor)),
                Inverse::Divide(factor) => call(NUMERIC_DIV, built, as_numeric(factor)),
            };
        }
        if value.is_rounded {
            built = pg_sys::makeFuncExpr(
                NUMERIC_TO_DOUBLE.into(),
                pg_sys::FLOAT8OID,
                pg_sys::lappend(std::ptr::null_mut(), built.cast()),
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
            )
            .cast();
        }
        // What is constant is worked out now, so that EXPLAIN can show it.
        pg_sys::eval_const_expressions(std::ptr::null_mut(), built.cast()).cast()
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

unsafe fn as_numeric(value: Expr) -> Expr {
    // SAFETY: an expression of a number.
    unsafe {
        match base_type(value) {
            pg_sys::INT2OID => call_one(INT2_TO_NUMERIC, value),
            pg_sys::INT4OID => call_one(INT4_TO_NUMERIC, value),
            pg_sys::INT8OID => call_one(INT8_TO_NUMERIC, value),
            _ => value,
        }
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
