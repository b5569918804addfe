//! The equalities of a key join: what rows are hashed by, and which values the server is asked for.

use pgrx::prelude::*;

use crate::executor::expression::Expression;

/// One of the equalities that a row is looked up by.
pub struct Key {
    pub outer: *mut pg_sys::ExprState,
    pub inner: *mut pg_sys::ExprState,
    pub outer_hash: pg_sys::FmgrInfo,
    pub inner_hash: pg_sys::FmgrInfo,
    pub collation: pg_sys::Oid,
    /// The value that the server is asked for.
    pub value: Expression,
}

impl Key {
    /// Initialises the expressions.
    ///
    /// # Safety
    /// `clause` is a hashable equality with the outer side on its left, and it and the expressions are in the plan of `parent`, which begins.
    pub unsafe fn begin(
        clause: *mut pg_sys::OpExpr,
        outer: *mut pg_sys::Expr,
        inner: *mut pg_sys::Expr,
        value: *mut pg_sys::Expr,
        parent: *mut pg_sys::PlanState,
    ) -> Self {
        // SAFETY: the caller guarantees the expressions. `get_op_hash_functions` finds both functions, since the planner has
        // found the operator hashable. fmgr_info writes the zeroed structs.
        unsafe {
            let (mut of_outer, mut of_inner) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            if !pg_sys::get_op_hash_functions((*clause).opno, &mut of_outer, &mut of_inner) {
                unreachable!("operator {} of a key join has hash functions", (*clause).opno.to_u32());
            }
            let function = |id| {
                let mut function = pg_sys::FmgrInfo::default();
                pg_sys::fmgr_info(id, &mut function);
                function
            };
            Self {
                outer: pg_sys::ExecInitExpr(outer, parent),
                inner: pg_sys::ExecInitExpr(inner, parent),
                outer_hash: function(of_outer),
                inner_hash: function(of_inner),
                collation: (*clause).inputcollid,
                value: Expression::begin(parent, value),
            }
        }
    }
}
