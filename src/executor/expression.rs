//! Expressions of a plan, evaluated each time that the scan starts.

use acumatica_pushdown::Values;
use pgrx::prelude::*;

use crate::planner::value::{element_type, literals};

/// An expression of a plan, initialized by the executor, to be evaluated each time that the scan starts.
#[derive(Clone, Copy, Debug)]
pub struct Expression {
    state: *mut pg_sys::ExprState,
    ty: pg_sys::Oid,
    /// The type of the elements, if `ty` is an array type.
    element: Option<pg_sys::Oid>,
    /// The numbers of the executor's parameters in it.
    params: *mut pg_sys::Bitmapset,
}

impl Expression {
    /// Initializes an expression.
    ///
    /// # Safety
    /// `node` begins, in the memory context of the query. `expression` is in the plan of `node`.
    pub unsafe fn begin(node: *mut pg_sys::PlanState, expression: *mut pg_sys::Expr) -> Self {
        // SAFETY: the caller guarantees an expression of the node's plan, which lives as long as the node. The state is
        // allocated in the memory context of the query, so it lives as long too.
        unsafe {
            let ty = pg_sys::exprType(expression.cast());
            Self {
                state: pg_sys::ExecInitExpr(expression, node),
                ty,
                element: element_type(ty),
                params: pg_sys::pull_paramids(expression),
            }
        }
    }

    /// Whether its value may change with the parameters `changed`.
    ///
    /// # Safety
    /// `changed` is null or a set, and the memory context in which [`Expression::begin`] ran is alive.
    pub unsafe fn depends_on(&self, changed: *mut pg_sys::Bitmapset) -> bool {
        // SAFETY: the caller guarantees both sets.
        unsafe { pg_sys::bms_overlap(self.params, changed) }
    }

    /// Evaluates the expression: one value, or the elements of an array.
    ///
    /// # Safety
    /// `node` is the one that [`Expression::begin`] had, and the executor has not ended it.
    pub unsafe fn values(&self, node: *mut pg_sys::PlanState) -> Values {
        // SAFETY: the caller guarantees the node of `begin`, so the state and the node's expression context are alive. The
        // result is allocated in the per-tuple context, which is not reset before `literals` has copied from it.
        unsafe {
            let context = (*node).ps_ExprContext;
            let mut is_null = false;
            let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let value = pg_sys::ExecEvalExpr(self.state, context, &mut is_null);
            let values = if is_null { Values::null() } else { literals(value, self.ty, self.element) };
            pg_sys::MemoryContextSwitchTo(before);
            values
        }
    }
}
