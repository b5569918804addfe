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

/// The expression that computes a value: the inverses applied in order.
///
/// # Safety
/// `value` holds expressions of the current planner run; if it has inverses, of types int2, int4, int8 or numeric. The nodes
/// made here are allocated in the current memory context, which is the planner's.
pub unsafe fn built(value: Solved<Expr>) -> Expr {
    if value.inverses.is_empty() {
        return value.of;
    }
    // SAFETY: by the caller's guarantee the expressions are of types that `as_numeric` takes, so each function is called with
    // numerics. The constructors only allocate, and raise if memory is short.
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

/// # Safety
/// As for [`built`], without a value.
unsafe fn zero() -> Expr {
    // SAFETY: an int4 is passed by value, as its Const says. The constructors only allocate in the planner's context.
    unsafe {
        let datum = pg_sys::Datum::from(0_i32);
        let zero = pg_sys::makeConst(pg_sys::INT4OID, -1, pg_sys::InvalidOid, 4, datum, false, true);
        call_one(INT4_TO_NUMERIC, zero.cast())
    }
}

/// # Safety
/// `value` is an expression of type int2, int4, int8 or numeric.
unsafe fn as_numeric(value: Expr) -> Expr {
    // SAFETY: the function that is called takes the type that `base_type` has found.
    unsafe {
        match base_type(value) {
            pg_sys::INT2OID => call_one(INT2_TO_NUMERIC, value),
            pg_sys::INT4OID => call_one(INT4_TO_NUMERIC, value),
            pg_sys::INT8OID => call_one(INT8_TO_NUMERIC, value),
            _ => value,
        }
    }
}

/// # Safety
/// `function` takes one argument of the type of `argument`, and returns a numeric.
unsafe fn call_one(function: u32, argument: Expr) -> Expr {
    // SAFETY: the list has the one argument that the caller guarantees.
    unsafe { numeric_call(function, pg_sys::lappend(std::ptr::null_mut(), argument.cast())) }
}

/// # Safety
/// `function` takes two numerics, as `left` and `right` are, and returns one.
unsafe fn call(function: u32, left: Expr, right: Expr) -> Expr {
    // SAFETY: the list has the two arguments that the caller guarantees.
    unsafe {
        let list = pg_sys::lappend(std::ptr::null_mut(), left.cast());
        numeric_call(function, pg_sys::lappend(list, right.cast()))
    }
}

/// # Safety
/// `function` takes `arguments`, and returns a numeric.
unsafe fn numeric_call(function: u32, arguments: *mut pg_sys::List) -> Expr {
    // SAFETY: the result type is that of the function, by the caller's guarantee. The constructor only allocates.
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
