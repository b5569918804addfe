//! EXPLAIN of key joins.

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::executor::explain::{deparsed, property};
use crate::executor::key_join::join::of;
use crate::planner::key_join::{self, Expressions};

#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    custom: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    state: *mut pg_sys::ExplainState,
) {
    // SAFETY: EXPLAIN passes a node of this file and its own state. Nothing here runs the executor.
    unsafe {
        let plan: *mut pg_sys::CustomScan = (*custom).ss.ps.plan.cast();
        let told = key_join::told(plan);
        property(c"Join Type", &format!("{:?}", told.kind), state);
        let keys = key_join::expressions(plan, Expressions::Keys);
        property(c"Key Cond", &clauses(custom, keys, ancestors, state), state);
        let all = key_join::expressions(plan, Expressions::Join);
        if pg_sys::list_length(all) > pg_sys::list_length(keys) {
            property(c"Join Filter", &clauses(custom, all, ancestors, state), state);
        }
        if !(*state).analyze {
            return;
        }
        let Some(join) = of(custom) else { return };
        let number = |label: &CStr, value: usize| {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), value as i64, state);
        };
        number(c"Keys", join.reads.keys);
        number(c"Blocks", join.reads.blocks);
        if let Some(why) = join.reads.all {
            property(c"All Rows Read", why, state);
        }
    }
}

/// Clauses as SQL, joined by AND.
///
/// # Safety
/// The pointers are what EXPLAIN passed to the callback; `list` belongs to the plan of `custom`.
unsafe fn clauses(
    custom: *mut pg_sys::CustomScanState,
    list: *mut pg_sys::List,
    ancestors: *mut pg_sys::List,
    state: *mut pg_sys::ExplainState,
) -> String {
    // SAFETY: forwarded; the node of the clauses is made of them.
    unsafe {
        let all = pg_sys::make_ands_explicit(list);
        deparsed((*custom).ss.ps.plan, ancestors, state, all.cast())
    }
}
