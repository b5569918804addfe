//! The executor of key joins: see `planner/key_join.rs`.

mod buffer;
mod explain;
mod join;
mod key;

use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, check_for_interrupts};

use crate::executor::key_join::buffer::Buffer;
use crate::executor::key_join::join::{Join, Node, Phase, Reads, of};
use crate::executor::key_join::key::Key;
use crate::planner::key_join::{self, Expressions, Methods, NAME};

static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(create_state),
});

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain::explain),
});

/// Registers the callbacks under the name that plans have. Called once in each backend that loads the library.
pub fn register() {
    // SAFETY: PostgreSQL loads libraries on the backend's only thread, and keeps the pointer to a static.
    unsafe { pg_sys::RegisterCustomScanMethods(&raw const SCAN_METHODS.0) };
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: palloc0 returns zeroed memory of the size of a `Node`, whose first field PostgreSQL takes for the node.
    unsafe {
        let node: *mut Node = pg_sys::palloc0(size_of::<Node>()).cast();
        (*node).custom.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*node).custom.methods = &raw const EXEC_METHODS.0;
        node.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    custom: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    flags: i32,
) {
    // SAFETY: the executor passes a node of `create_state`, whose plan is one of `planner/key_join.rs` with two plans below,
    // and calls in the memory context of the query. The children are initialised here and ended in `end`.
    unsafe {
        let plan: *mut pg_sys::CustomScan = (*custom).ss.ps.plan.cast();
        // The join reads neither side backwards, and does not mark positions.
        let below =
            flags & !(pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK | pg_sys::EXEC_FLAG_REWIND) as i32;
        let mut children = PgList::<pg_sys::Plan>::from_pg((*plan).custom_plans)
            .iter_ptr()
            .map(|child| pg_sys::ExecInitNode(child, estate, below))
            .collect::<Vec<_>>();
        let (Some(inner), Some(outer)) = (children.pop(), children.pop()) else {
            unreachable!("a key join has two plans");
        };
        (*custom).custom_ps =
            pg_sys::lappend(pg_sys::lappend(std::ptr::null_mut(), outer.cast()), inner.cast());
        if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
            return;
        }
        let parent: *mut pg_sys::PlanState = &raw mut (*custom).ss.ps;
        let outer_type = pg_sys::ExecGetResultType(outer);
        let inner_type = pg_sys::ExecGetResultType(inner);
        let minimal = &raw const pg_sys::TTSOpsMinimalTuple;
        let list = |which| PgList::<pg_sys::Expr>::from_pg(key_join::expressions(plan, which));
        let context = pg_sys::AllocSetContextCreateInternal(
            (*estate).es_query_cxt,
            c"Acumatica Key Join".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let (outers, inners, values) =
            (list(Expressions::Outer), list(Expressions::Inner), list(Expressions::Values));
        let keys = list(Expressions::Keys)
            .iter_ptr()
            .enumerate()
            .filter_map(|(index, clause)| {
                let (outer, inner, value) =
                    (outers.get_ptr(index)?, inners.get_ptr(index)?, values.get_ptr(index)?);
                Some(Key::begin(clause.cast(), outer, inner, value, parent))
            })
            .collect();
        let join = Join {
            told: key_join::told(plan),
            outer,
            inner: inner.cast(),
            outer_width: (*outer_type).natts as usize,
            row_slot: pg_sys::ExecInitExtraTupleSlot(estate, outer_type, minimal),
            stored_slot: pg_sys::ExecInitExtraTupleSlot(estate, inner_type, minimal),
            matches: pg_sys::ExecInitQual(key_join::expressions(plan, Expressions::Join), parent),
            keys,
            buffer: Buffer::new(context),
            outer_ended: false,
            phase: Phase::Fill,
            store: std::ptr::null_mut(),
            store_complete: false,
            rescanned: false,
            blocks_since_start: 0,
            block_rows: (0, 0),
            received_before: 0,
            reads: Reads::default(),
        };
        let mut query = PgMemoryContexts::For((*estate).es_query_cxt);
        (*custom.cast::<Node>()).join = query.leak_and_drop_on_delete(join);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn execute(custom: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a node that `begin` has initialised. The children do not refer to this node, so the
    // reference is the only one while they run.
    unsafe {
        let Some(join) = of(custom) else { return std::ptr::null_mut() };
        let context = (*custom).ss.ps.ps_ExprContext;
        loop {
            check_for_interrupts!();
            pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            if !join.advance(custom) {
                return pg_sys::ExecClearTuple((*custom).ss.ps.ps_ResultTupleSlot);
            }
            (*context).ecxt_scantuple = (*custom).ss.ss_ScanTupleSlot;
            if !pg_sys::ExecQual((*custom).ss.ps.qual, context) {
                if !(*custom).ss.ps.instrument.is_null() {
                    (*(*custom).ss.ps.instrument).nfiltered1 += 1.0;
                }
                continue;
            }
            let projection = (*custom).ss.ps.ps_ProjInfo;
            return match projection.is_null() {
                true => (*custom).ss.ss_ScanTupleSlot,
                false => pg_sys::ExecProject(projection),
            };
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(custom: *mut pg_sys::CustomScanState) {
    // SAFETY: the executor passes a node that `begin` has initialised. It resets the children's state only if they are
    // told of changed parameters, as ExecReScan does for the children that it knows of.
    unsafe {
        let Some(join) = of(custom) else { return };
        let changed = (*custom).ss.ps.chgParam;
        for child in [join.outer, join.inner.cast()] {
            if !changed.is_null() {
                pg_sys::UpdateChangedParamSet(child, changed);
            }
        }
        join.restart((*join.inner).ss.ps.chgParam.is_null());
        if (*join.outer).chgParam.is_null() {
            pg_sys::ExecReScan(join.outer);
        }
        // The inner scan is rescanned when the next block begins.
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(custom: *mut pg_sys::CustomScanState) {
    // SAFETY: the executor passes a node that `begin` has initialised; the state is dropped with the query's memory.
    unsafe {
        if let Some(join) = of(custom) {
            join.restart(false);
        }
        for child in PgList::<pg_sys::PlanState>::from_pg((*custom).custom_ps).iter_ptr() {
            pg_sys::ExecEndNode(child);
        }
    }
}
