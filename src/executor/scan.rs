//! The executor's callbacks. They start the scan on the I/O thread and put its rows into the node's slot.

mod values;

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use acumatica_client::decode::Batch;
use acumatica_client::{Allowance, ErrorKind, ScanRequest, ScanStats};
use acumatica_pushdown::{Condition, Literal, ScanPlan, SortKey};
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, PgRelation};

use crate::backend::compat;
use crate::backend::error::{Refusal, notice, or_raise};
use crate::backend::io::RunningScan;
use crate::catalog::connection;
use crate::catalog::table::ForeignTable;
use crate::executor::arguments::Arguments;
use crate::executor::budget;
use crate::executor::convert::Converter;
use crate::executor::expression::Expression;
use crate::executor::received::Received;
use crate::executor::remembered::Remembered;
use crate::executor::request::request;
use crate::executor::rescans::Rescans;
use crate::executor::slot;
use crate::executor::sort::Sorting;
use crate::planner::private;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.BeginForeignScan = Some(begin_foreign_scan);
    routine.IterateForeignScan = Some(iterate_foreign_scan);
    routine.ReScanForeignScan = Some(rescan_foreign_scan);
    routine.EndForeignScan = Some(end_foreign_scan);
}

/// The state of a scan node, in its `fdw_state`.
#[derive(Debug)]
pub struct Scan {
    table: Rc<ForeignTable>,
    user: pg_sys::Oid,
    pub request: ScanRequest,
    /// For each column of the request, its index in the slot's arrays and its converter.
    columns: Vec<(usize, Converter)>,
    runtime: Runtime,
    /// The number of rows to return, if no Limit node above counts them.
    limit: Option<u64>,
    /// The number of rows returned since the last start.
    returned: u64,
    rescans: Rescans,
    remembered: Remembered,
    /// [`ScanPlan::few_rows`].
    few_rows: bool,
    /// The keys that a key join asks for. Without, it asks for all rows.
    keys: Option<Keys>,
    /// The notice about a form without rows was issued, or the first run had rows.
    empty_form_checked: bool,
    /// A parameter changed since the values were last computed.
    params_changed: bool,
    /// Why the server refused to do more than send rows. The outer plan then returns the rows.
    fallback: Option<acumatica_client::Error>,
    /// `None` before the first row is fetched and after the last one was received.
    running: Option<RunningScan>,
    started: bool,
    received: Received,
    /// The statistics of the runs before the current one.
    past: ScanStats,
    /// How long the backend has slept for this scan.
    waited: Duration,
}

/// Executor state of the plan's expressions and of its sort.
#[derive(Debug)]
struct Runtime {
    arguments: Arguments,
    conditions: Vec<Condition<Expression>>,
    /// [`ScanPlan::join_keys`].
    join_keys: Vec<Condition<usize>>,
    sorting: Sorting,
}

/// The keys of a block of a key join.
#[derive(Debug)]
pub struct Keys {
    /// Of each, a value for each of [`Scan::join_keys`].
    pub values: Vec<Vec<Literal>>,
    /// The column whose values are listed.
    pub listed: usize,
}

/// What a key join expects of a block.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its rows are no more than a page.
    pub few_rows: bool,
    /// Other keys follow.
    pub more_keys: bool,
}

/// In bytes. A result that is no larger is kept, and a rescan with the same values returns it without a request.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

impl Scan {
    fn new(
        table: Rc<ForeignTable>,
        user: pg_sys::Oid,
        (relation, record): (&PgRelation, Option<&PgRelation>),
        plan: &ScanPlan,
        runtime: Runtime,
        allowance: Option<Arc<Allowance>>,
    ) -> Self {
        let entity = record.map(ForeignTable::of);
        let request = ScanRequest { allowance, ..request(&table, entity.as_deref(), plan) };
        let bigint =
            pg_sys::FormData_pg_attribute { atttypid: pg_sys::INT8OID, atttypmod: -1, ..Default::default() };
        // `setrefs.c` resolves every reference to the count to the first equal entry of the target list.
        let count = request.count.then(|| (0, Converter::new(&bigint)));
        let place = |attribute: &pg_sys::FormData_pg_attribute| match &plan.upper {
            Some(_) => plan.attributes.iter().position(|wanted| *wanted == attribute.attnum),
            None if !plan.joined.is_empty() => plan.place(false, attribute.attnum),
            None => Some(attribute.attnum as usize - 1),
        };
        let descriptor = record.map(PgRelation::tuple_desc);
        let of_record = descriptor
            .iter()
            .flat_map(|descriptor| descriptor.iter())
            .filter_map(|attribute| Some((plan.place(true, attribute.attnum)?, Converter::new(attribute))));
        let columns = relation
            .tuple_desc()
            .iter()
            .filter(|attribute| plan.attributes.contains(&attribute.attnum))
            .filter_map(|attribute| Some((place(attribute)?, Converter::new(attribute))))
            .chain(of_record)
            .chain(count)
            .collect();
        // An upper plan that skips the OFFSET replaces the Limit node.
        let limit = plan.limit.filter(|_| plan.upper.is_some()).map(u64::from);
        Self {
            table,
            user,
            request,
            columns,
            runtime,
            limit,
            returned: 0,
            rescans: Rescans::new(plan),
            remembered: Remembered::default(),
            few_rows: plan.few_rows,
            keys: None,
            empty_form_checked: false,
            params_changed: true,
            fallback: None,
            running: None,
            started: false,
            received: Received::new(REPLAY_BYTES),
            past: ScanStats::default(),
            waited: Duration::ZERO,
        }
    }

    /// Moves to the next row, and waits for it if it has not arrived. False at the end.
    fn advance(&mut self) -> bool {
        loop {
            if self.received.advance() {
                return true;
            }
            match self.poll() {
                Poll::Ready(Some(batch)) => self.received.push(batch),
                Poll::Ready(None) => return false,
                Poll::Pending => self.wait(),
            }
        }
    }

    /// The next batch if it has arrived, or `None` at the end of the rows. Starts the scan on the first call.
    fn poll(&mut self) -> Poll<Option<Batch>> {
        if !self.started && self.request.calls.is_empty() {
            // No row can satisfy the conditions.
            return Poll::Ready(None);
        }
        if !self.started {
            self.running = Some(connection::start_scan(&self.table.server, self.user, &self.request));
            self.started = true;
        }
        // This frame owns `running`, so that an error that unwinds it drops the request.
        let Some(running) = self.running.take() else { return Poll::Ready(None) };
        let next = match running.poll() {
            Poll::Pending => {
                self.running = Some(running);
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) if error.kind == ErrorKind::RowsOnly => {
                self.fallback = Some(error);
                None
            }
            Poll::Ready(Err(error)) if budget::is_used_up(&error) => {
                let wanted = self.wanted(running.stats());
                self.count(running.stats());
                budget::exceeded(error, &self.name(), self.past, &wanted);
            }
            Poll::Ready(Err(error)) if error.kind == ErrorKind::CannotOrder => {
                self.count(running.stats());
                self.drop_order(error);
                return self.poll();
            }
            Poll::Ready(next) => or_raise(next.map_err(Refusal::from)),
        };
        if next.is_some() {
            self.running = Some(running);
        } else {
            self.request.uncut = self.request.uncut.max(running.uncut());
            self.count(running.stats());
            self.notice_empty_form();
        }
        Poll::Ready(next)
    }

    /// The plan node, in messages.
    fn name(&self) -> String {
        let of = if self.runtime.join_keys.is_empty() { "" } else { ", below an Acumatica Key Join," };
        format!("The Foreign Scan on {}{of}", self.table.qualified)
    }

    /// What the current run, which has cost `run`, requests, in messages.
    fn wanted(&self, run: ScanStats) -> String {
        let keys = self.keys.as_ref().map(|keys| keys.values.len());
        match keys {
            Some(keys) => format!("the rows of {keys} keys"),
            None if self.request.count => "the number of its rows".to_owned(),
            None if self.rescans.are_unfiltered() => "the rows of all outer values".to_owned(),
            None if run.requests > 0 => "more of its rows".to_owned(),
            None => "its rows".to_owned(),
        }
    }

    /// Sleeps until the next poll may succeed.
    fn wait(&mut self) {
        // This frame owns `running`, so that a cancel that unwinds it drops the request at once.
        let Some(running) = self.running.take() else { return };
        let since = Instant::now();
        running.wait();
        self.waited += since.elapsed();
        self.running = Some(running);
    }

    /// Issues a notice that names the unset parameters if the first run of a form has no rows. The metadata does not
    /// always say which parameters a form requires.
    fn notice_empty_form(&mut self) {
        let checked = std::mem::replace(&mut self.empty_form_checked, true);
        let ScanRequest { target, parameters, calls, .. } = &self.request;
        let missing = |call: &Vec<Option<Literal>>| {
            let unset = parameters.iter().zip(call).filter(|(_, value)| value.is_none());
            unset.map(|(parameter, _)| format!("\"{}\"", parameter.name)).collect::<Vec<_>>()
        };
        let Some(missing) = calls.first().map(missing).filter(|missing| !missing.is_empty()) else { return };
        if !checked && target.form && self.past.rows == 0 {
            let message =
                format!("{target} returned no rows; parameters without a value: {}", missing.join(", "));
            notice(message, "If it needs one of them, set it in WHERE.".to_owned());
        }
    }

    /// Removes the order from the request after the server refused it. The rows are then sorted locally.
    fn drop_order(&mut self, why: acumatica_client::Error) {
        notice(why.message, why.hint.unwrap_or_default());
        self.request.order.clear();
        self.reset();
    }

    /// Whether this node must sort, because the plan relies on an order that the request no longer contains.
    fn sorts_locally(&self) -> bool {
        self.runtime.sorting.is_asked_for() && self.request.order.is_empty()
    }

    /// Reads all rows and sorts them.
    ///
    /// # Safety
    /// `node` is the node of this scan.
    unsafe fn sort(&mut self, node: *mut pg_sys::ForeignScanState) {
        // SAFETY: the executor keeps the slot, the contexts and the relation of the caller's `node` valid while it runs;
        // the slot is emptied before each `store`.
        unsafe {
            let slot = (*node).ss.ss_ScanTupleSlot;
            let before = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
            let relation = relation(node);
            self.runtime.sorting.begin_local(&relation);
            let row_context = (*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory;
            loop {
                // `advance` checks for interrupts only when it waits, and `tuplesort_puttupleslot` does not check.
                check_for_interrupts!();
                pg_sys::MemoryContextReset(row_context);
                pg_sys::MemoryContextSwitchTo(row_context);
                pg_sys::ExecClearTuple(slot);
                if !self.advance() {
                    break;
                }
                self.store(slot);
                self.runtime.sorting.put(slot);
            }
            pg_sys::MemoryContextSwitchTo(before);
            self.runtime.sorting.perform();
        }
    }

    /// Stores the next row in the slot; leaves it empty at the end.
    ///
    /// # Safety
    /// `node` is the node of this scan; `slot` is its scan slot, and empty.
    unsafe fn next(&mut self, node: *mut pg_sys::ForeignScanState, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: `slot` is empty and of the scan's row type, and `node` is this scan's, by the caller's guarantee.
        unsafe {
            if self.runtime.sorting.next(slot) {
                return;
            }
            if self.limit == Some(self.returned) || !self.advance() {
                return;
            }
            if self.sorts_locally() {
                self.sort(node);
                return self.next(node, slot);
            }
            self.store(slot);
            self.returned += 1;
            if self.runtime.sorting.is_asked_for() {
                self.runtime.sorting.check(slot);
            }
        }
    }

    /// Stores the current row in the slot and moves to the next one.
    ///
    /// # Safety
    /// As for [`slot::store`].
    unsafe fn store(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        let (batch, row) = self.received.take();
        // SAFETY: the columns were made for the scan's tuple descriptor; the rest is the caller's guarantee.
        unsafe { slot::store(&mut self.columns, &self.request, batch, row, slot) };
    }

    /// Goes back to the first row. Keeps the rows received so far if all of them are in memory, or sorted, else starts over.
    fn restart(&mut self) {
        self.returned = 0;
        if !self.runtime.sorting.rewind() && !self.received.rewind() {
            self.reset();
        }
    }

    /// Drops the request under way and all rows; the next poll starts the scan again.
    fn reset(&mut self) {
        self.stop();
        self.received = Received::new(REPLAY_BYTES);
        self.started = false;
    }

    /// Drops the request under way.
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.count(running.stats());
        }
    }

    fn count(&mut self, run: ScanStats) {
        self.past += run;
    }

    /// Whether rescans have read the rows of all values, for EXPLAIN.
    pub fn all_rows_read(&self) -> Option<&'static str> {
        self.rescans.all_rows_read()
    }

    /// The statistics of all runs so far, and how long the backend has slept for them.
    pub fn costs(&self) -> (ScanStats, Duration) {
        let mut all = self.past;
        if let Some(running) = &self.running {
            all += running.stats();
        }
        (all, self.waited)
    }
}

/// The scan state of a node; `None` under EXPLAIN without ANALYZE.
///
/// # Safety
/// `node` is a node of this wrapper. The reference ends before the executor runs again, which calls back into this file.
pub unsafe fn of<'a>(node: *mut pg_sys::ForeignScanState) -> Option<&'a mut Scan> {
    // SAFETY: `fdw_state` is null or what begin_foreign_scan stored: a `Scan` that lives as long as the query's memory.
    // It is borrowed once at a time by the caller's guarantee.
    unsafe { (*node).fdw_state.cast::<Scan>().as_mut() }
}

/// The foreign table that a node scans.
///
/// # Safety
/// `node` is a foreign scan node whose plan and range table the executor has set.
pub unsafe fn relation(node: *mut pg_sys::ForeignScanState) -> PgRelation {
    // SAFETY: the executor opens the relation of a scan of a base relation, and keeps it open while the node lives. For an
    // upper relation it opens none, but the table's lock was taken with the range table, so NoLock is enough.
    unsafe {
        match (*node).ss.ss_currentRelation.is_null() {
            false => PgRelation::from_pg((*node).ss.ss_currentRelation),
            true => {
                let oid = compat::table_of(node).map_or(pg_sys::InvalidOid, |entry| (*entry).relid);
                PgRelation::with_lock(oid, pg_sys::NoLock as pg_sys::LOCKMODE)
            }
        }
    }
}

/// The foreign table that a node scans and, if the node joins a detail with its entity, the table of the entity.
///
/// # Safety
/// As [`relation`].
pub unsafe fn relations(node: *mut pg_sys::ForeignScanState) -> (PgRelation, Option<PgRelation>) {
    // SAFETY: the locks of both tables were taken with the range table, so NoLock is enough.
    unsafe {
        let entries = compat::tables_of(node);
        let [one, other] = entries[..] else { return (relation(node), None) };
        let open = |entry: *mut pg_sys::RangeTblEntry| {
            PgRelation::with_lock((*entry).relid, pg_sys::NoLock as pg_sys::LOCKMODE)
        };
        let (one, other) = (open(one), open(other));
        match ForeignTable::of(&one).target.detail.is_empty() {
            true => (other, Some(one)),
            false => (one, Some(other)),
        }
    }
}

/// The plan in `fdw_private`, and the expressions in `fdw_exprs` that it refers to.
///
/// # Safety
/// `node` is a foreign scan node of this wrapper.
pub unsafe fn planned(node: *mut pg_sys::ForeignScanState) -> (ScanPlan, *mut pg_sys::List) {
    // SAFETY: the plan of a foreign scan node is a `ForeignScan`; this wrapper's planner wrote both lists.
    unsafe {
        let scan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        (private::from_list((*scan).fdw_private), (*scan).fdw_exprs)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin_foreign_scan(node: *mut pg_sys::ForeignScanState, flags: i32) {
    if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: the executor passes a foreign scan node whose relation stays open while the node lives, and calls in the
    // query's memory context. `scan` is stored in that context, so it lives as long as `fdw_state`.
    unsafe {
        let (relation, record) = relations(node);
        let (plan, expressions) = planned(node);
        let user = compat::scan_user(node);
        let table = ForeignTable::of(&relation);
        let parameters: Vec<i16> = table.parameters().map(|column| column.attribute).collect();
        let arguments = Arguments::begin(node, expressions, &plan.arguments, &parameters);
        let values = PgList::<pg_sys::Expr>::from_pg(expressions);
        let conditions = plan.conditions_over(|index| match values.get_ptr(index) {
            Some(value) => Expression::begin(node.cast(), value),
            None => unreachable!("a plan has an expression for each value of its conditions"),
        });
        let places = |key: &SortKey| match &plan.upper {
            Some(_) => plan.attributes.iter().position(|attribute| *attribute == key.attribute),
            None => Some(key.attribute as usize - 1),
        };
        let places = plan.sort_keys.iter().filter_map(places).collect();
        let sorting = Sorting::new(&plan.sort_keys, places, &relation);
        let runtime = Runtime { arguments, conditions, join_keys: plan.join_keys.clone(), sorting };
        let both = (&relation, record.as_ref());
        let scan = Scan::new(table, user, both, &plan, runtime, budget::of((*node).ss.ps.state));
        // An error or a cancel frees the query's memory without calling EndForeignScan. A callback of the context then
        // drops the scan, and with it the request under way.
        let context = (*(*node).ss.ps.state).es_query_cxt;
        (*node).fdw_state = PgMemoryContexts::For(context).leak_and_drop_on_delete(scan).cast();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn iterate_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a node that BeginForeignScan has initialised, and calls in the per-tuple context. The
    // reference to the scan is not used after `next_of_outer_plan`, which runs the executor.
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        pg_sys::ExecClearTuple(slot);
        let Some(scan) = of(node) else { return slot };
        if scan.fallback.is_none() {
            scan.evaluate_values(node);
            scan.next(node, slot);
        }
        if scan.fallback.is_none() {
            return slot;
        }
        let row = next_of_outer_plan(node);
        // After the first row: if the outer plan fails too, its error is enough.
        if let Some(why) = of(node).and_then(|scan| scan.fallback.as_mut())
            && let Some(hint) = why.hint.take()
        {
            notice(why.message.clone(), hint);
        }
        row
    }
}

/// The next row of the outer plan.
///
/// # Safety
/// `node` was planned with an outer plan, and no reference to its scan is in use.
unsafe fn next_of_outer_plan(node: *mut pg_sys::ForeignScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: ExecInitForeignScan has initialised the outer plan that the caller guarantees; it lives as long as the node.
    // The context is the one that ExecProcNode expects.
    unsafe {
        let outer = (*node).ss.ps.lefttree;
        let before = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
        let row = pg_sys::ExecProcNode(outer);
        pg_sys::MemoryContextSwitchTo(before);
        row
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that BeginForeignScan has initialised; nothing here runs the executor.
    unsafe {
        if let Some(scan) = of(node) {
            let changed = (*node).ss.ps.chgParam;
            scan.params_changed |= !changed.is_null();
            let before = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
            scan.rescans.note(changed);
            pg_sys::MemoryContextSwitchTo(before);
            scan.restart();
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that BeginForeignScan has initialised; nothing here runs the executor. The `Scan`
    // itself is dropped with the query's memory context.
    if let Some(scan) = unsafe { of(node) } {
        scan.stop();
        scan.runtime.sorting.restart();
        scan.received = Received::new(REPLAY_BYTES);
        scan.remembered = Remembered::default();
    }
}
