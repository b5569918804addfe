//! The executor's callbacks: rows, from the I/O thread into the slot.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use acumatica_client::decode::Batch;
use acumatica_client::{ErrorKind, ScanRequest, ScanStats};
use acumatica_pushdown::{Filter, Literal};
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts, PgRelation, PgTryBuilder};

use crate::backend::compat;
use crate::backend::error::{Refusal, notice, or_raise};
use crate::backend::io::Running;
use crate::catalog::mapping;
use crate::catalog::table::Table;
use crate::executor::convert::{Converter, readable};
use crate::planner::condition::Conditions;
use crate::planner::deparse;
use crate::planner::order::Sorting;
use crate::planner::parameter::Arguments;
use crate::planner::private::{Key, Plan};
use crate::planner::value::Expression;

/// A result that is no larger than this is kept, so that a rescan costs no request.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.BeginForeignScan = Some(begin_foreign_scan);
    routine.IterateForeignScan = Some(iterate_foreign_scan);
    routine.ReScanForeignScan = Some(rescan_foreign_scan);
    routine.EndForeignScan = Some(end_foreign_scan);
}

/// A scan between two rows.
#[derive(Debug)]
pub struct Scan {
    table: Rc<Table>,
    user: pg_sys::Oid,
    pub request: ScanRequest,
    /// Place in the slot, and how to fill it, for each column of the request.
    columns: Vec<(usize, Converter)>,
    begun: Begun,
    /// How many rows there are to be, if nothing above counts them, and how many there were.
    limit: Option<u64>,
    returned: u64,
    rescans: Rescans,
    /// An empty form has been told of, or was none.
    told: bool,
    /// The values of the arguments may be others than at the last start.
    calls_stale: bool,
    /// Why the server does no more than send rows: then those of the plan below are returned.
    from_below: Option<acumatica_client::Error>,
    /// Not there before the first row is asked for, nor after the last one was had.
    running: Option<Running>,
    started: bool,
    /// The batches that the cursor may still visit.
    batches: Vec<Batch>,
    /// `batches` hold all rows since the start.
    complete: bool,
    batch: usize,
    row: usize,
    /// Rows that were made of the batches, to tell a row that has no name by its number.
    filled: u64,
    /// Of runs before the one under way.
    past: ScanStats,
    waited: Duration,
}

/// What of a plan is worked out while it runs.
#[derive(Debug)]
struct Begun {
    arguments: Arguments,
    conditions: Conditions,
    sorting: Sorting,
}

/// For so many values the rows are asked for by them: these may be all that there are, or each name one record.
const FEW: u8 = 4;

/// What rescans for other values have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescans {
    /// There were so many.
    Few(u8),
    /// All rows are read, and kept.
    All,
    /// They were too many to be kept: those for the values are read each time.
    Filtered,
}

impl Scan {
    fn new(table: Rc<Table>, user: pg_sys::Oid, relation: &PgRelation, plan: &Plan, begun: Begun) -> Self {
        let request = deparse::request(&table, plan);
        let bigint =
            pg_sys::FormData_pg_attribute { atttypid: pg_sys::INT8OID, atttypmod: -1, ..Default::default() };
        // However often a query shows it, it refers to the first column that is the same.
        let count = request.count.then(|| (0, Converter::new(&bigint)));
        let place = |attribute: &pg_sys::FormData_pg_attribute| match &plan.upper {
            Some(_) => plan.attributes.iter().position(|wanted| *wanted == attribute.attnum),
            None => Some(attribute.attnum as usize - 1),
        };
        let columns = relation
            .tuple_desc()
            .iter()
            .filter(|attribute| plan.attributes.contains(&attribute.attnum))
            .filter_map(|attribute| Some((place(attribute)?, Converter::new(attribute))))
            .chain(count)
            .collect();
        // A plan with an offset stands for the LIMIT too.
        let left = plan.limit.filter(|_| plan.upper.is_some()).map(u64::from);
        Self {
            table,
            user,
            request,
            columns,
            begun,
            limit: left,
            returned: 0,
            rescans: Rescans::Few(0),
            told: false,
            calls_stale: true,
            from_below: None,
            running: None,
            started: false,
            batches: Vec::new(),
            complete: true,
            batch: 0,
            row: 0,
            filled: 0,
            past: ScanStats::default(),
            waited: Duration::ZERO,
        }
    }

    /// Works out what the parameters and conditions are now. The rows of the same calls need not be asked for again.
    ///
    /// # Safety
    /// `node` is the node of this scan.
    unsafe fn work_out_calls(&mut self, node: *mut pg_sys::ForeignScanState) {
        if !std::mem::take(&mut self.calls_stale) {
            return;
        }
        // SAFETY: as the caller says.
        let (calls, filter) =
            unsafe { (self.begun.arguments.calls(node, &self.request), self.begun.conditions.filter(node)) };
        let (calls, filter) = match filter {
            _ if self.reads_all(&filter) => (calls, None),
            Some(filter) => (calls, filter),
            None => (Vec::new(), None),
        };
        if self.started && calls == self.request.calls && filter == self.request.filter {
            return;
        }
        self.request.calls = calls;
        self.request.filter = filter;
        self.forget();
    }

    /// Whether a rescan for other values reads all rows rather than those for the values: as long as they can be kept,
    /// so that there is one request for all values and not one for each.
    fn reads_all(&mut self, filter: &Option<Option<Filter>>) -> bool {
        if !self.started || !self.request.parameters.is_empty() {
            return false;
        }
        self.rescans = match self.rescans {
            Rescans::Few(_) if filter.as_ref() == Some(&self.request.filter) => self.rescans,
            Rescans::Few(FEW) => Rescans::All,
            Rescans::Few(count) => Rescans::Few(count + 1),
            rescans => rescans,
        };
        self.rescans == Rescans::All
    }

    /// Moves to the next row; false at the end. Waits for it if need be.
    fn advance(&mut self) -> bool {
        loop {
            match self.batches.get(self.batch) {
                Some(batch) if self.row < batch.len() => return true,
                Some(_) => {
                    self.batch += 1;
                    self.row = 0;
                }
                None => match self.poll() {
                    Poll::Ready(Some(batch)) => self.keep(batch),
                    Poll::Ready(None) => return false,
                    Poll::Pending => self.wait(),
                },
            }
        }
    }

    /// The next batch if it has come, or `None` if no more will. Begins the scan if need be.
    fn poll(&mut self) -> Poll<Option<Batch>> {
        if !self.started && self.request.calls.is_empty() {
            // A condition that nothing meets.
            return Poll::Ready(None);
        }
        if !self.started {
            self.running = Some(mapping::start_scan(&self.table.server, self.user, self.request.clone()));
            self.started = true;
        }
        // An error that unwinds this frame drops the request.
        let Some(running) = self.running.take() else { return Poll::Ready(None) };
        let next = match running.poll() {
            Poll::Pending => {
                self.running = Some(running);
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) if error.kind == ErrorKind::RowsOnly => {
                self.from_below = Some(error);
                None
            }
            Poll::Ready(Err(error)) if error.kind == ErrorKind::CannotOrder => {
                self.count(running.stats());
                self.do_without_order(&error);
                return self.poll();
            }
            Poll::Ready(next) => or_raise(next.map_err(Refusal::from)),
        };
        if next.is_some() {
            self.running = Some(running);
        } else {
            self.count(running.stats());
            self.tell_of_empty_form();
        }
        Poll::Ready(next)
    }

    /// Sleeps until there may be a batch.
    fn wait(&mut self) {
        // A cancel that ends the sleep unwinds this frame, which drops the request at once.
        let Some(running) = self.running.take() else { return };
        let since = Instant::now();
        running.wait();
        self.waited += since.elapsed();
        self.running = Some(running);
    }

    /// Which parameters a form needs is not always known: where the first calls show nothing, those that were not given
    /// are told of.
    fn tell_of_empty_form(&mut self) {
        let told = std::mem::replace(&mut self.told, true);
        let ScanRequest { target, parameters, calls, .. } = &self.request;
        let missing = |call: &Vec<Option<Literal>>| {
            let unset = parameters.iter().zip(call).filter(|(_, value)| value.is_none());
            unset.map(|(parameter, _)| format!("\"{}\"", parameter.name)).collect::<Vec<_>>()
        };
        let Some(missing) = calls.first().map(missing).filter(|missing| !missing.is_empty()) else { return };
        if !told && target.form && self.past.rows == 0 {
            let message = format!("{target} showed nothing; it was not given {}", missing.join(", "));
            notice(message, "If it needs one of them, set it in WHERE.".to_owned());
        }
    }

    /// Has the rows come as they will, to be sorted here.
    fn do_without_order(&mut self, why: &acumatica_client::Error) {
        let columns = self.request.order.iter().map(|by| by.field.as_str()).collect::<Vec<_>>().join(", ");
        notice(
            format!("the server could not sort {} by {columns}: {why}", self.request.target),
            "The rows were sorted here. Set the option pushdown of the columns to off: then the server is not asked."
                .to_owned(),
        );
        self.request.order.clear();
        self.forget();
    }

    /// Whether rows are to be sorted that the server was to send sorted.
    fn sorts_here(&self) -> bool {
        self.begun.sorting.is_asked_for() && self.request.order.is_empty()
    }

    /// Sorts all rows.
    ///
    /// # Safety
    /// `node` is the node of this scan.
    unsafe fn sort(&mut self, node: *mut pg_sys::ForeignScanState) {
        // SAFETY: as the caller says; the slot is the node's, and cleared before each row.
        unsafe {
            let slot = (*node).ss.ss_ScanTupleSlot;
            let before = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
            let relation = relation(node);
            self.begun.sorting.begin_here(&relation);
            let row_context = (*(*node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory;
            loop {
                // Rows that are there already are not waited for, and a row that goes to disk asks nobody.
                check_for_interrupts!();
                pg_sys::MemoryContextReset(row_context);
                pg_sys::MemoryContextSwitchTo(row_context);
                clear(slot);
                if !self.advance() {
                    break;
                }
                self.fill(slot);
                self.begun.sorting.put(slot);
            }
            pg_sys::MemoryContextSwitchTo(before);
            self.begun.sorting.perform();
        }
    }

    /// Fills the slot with the next row, if there is one.
    ///
    /// # Safety
    /// `node` is the node of this scan, `slot` its slot, and empty.
    unsafe fn next(&mut self, node: *mut pg_sys::ForeignScanState, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: as the caller says.
        unsafe {
            if self.begun.sorting.next(slot) {
                return;
            }
            if self.limit == Some(self.returned) || !self.advance() {
                return;
            }
            if self.sorts_here() {
                self.sort(node);
                return self.next(node, slot);
            }
            self.fill(slot);
            self.returned += 1;
            if self.begun.sorting.is_asked_for() {
                self.begun.sorting.check(slot);
            }
        }
    }

    fn keep(&mut self, batch: Batch) {
        let kept: usize = self.batches.iter().map(Batch::bytes).sum();
        if !self.complete || kept + batch.bytes() > REPLAY_BYTES {
            self.batches.clear();
            self.complete = false;
            self.batch = 0;
        }
        self.batches.push(batch);
    }

    /// Fills the slot with the row under the cursor, and moves on.
    ///
    /// # Safety
    /// `slot` is a slot of the table's row type, and empty. The current memory context lives
    /// until the next row.
    unsafe fn fill(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        let Self { columns, batches, request, filled, .. } = self;
        *filled += 1;
        let batch = &batches[self.batch];
        let cells = batch.row(self.row);
        let at = AtomicUsize::new(0);
        // SAFETY: as the caller says; the places are attributes of the row type.
        let (values, nulls) = unsafe {
            let width = (*(*slot).tts_tupleDescriptor).natts as usize;
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, width);
            (std::slice::from_raw_parts_mut((*slot).tts_values, width), nulls)
        };
        nulls.fill(true);
        PgTryBuilder::new(AssertUnwindSafe(|| {
            for (index, ((place, converter), cell)) in columns.iter_mut().zip(cells).enumerate() {
                at.store(index, Ordering::Relaxed);
                if let Some(datum) = converter.datum(batch, *cell) {
                    values[*place] = datum;
                    nulls[*place] = false;
                }
            }
        }))
        .catch_others(|cause| {
            let pg_sys::panic::CaughtError::PostgresError(report) = &cause else { cause.rethrow() };
            // Only what is wrong with the value: a domain's check may be cancelled, or run out of memory.
            if !is_about_a_value(report.sql_error_code()) {
                cause.rethrow();
            }
            let index = at.load(Ordering::Relaxed);
            let value: String = readable(batch, cells[index]).chars().take(60).collect();
            let name: Vec<String> = request
                .target
                .surface
                .row_name(&request.key)
                .iter()
                .filter_map(|field| request.columns.iter().position(|column| column.path.join("/") == *field))
                .map(|index| readable(batch, cells[index]))
                .collect();
            let name = match name.iter().all(|part| part.trim().is_empty()) {
                true => format!("number {filled}"),
                false => name.join("/"),
            };
            let error = request.unfit(index, &name, &value, report.message());
            let refusal = Refusal { code: report.sql_error_code(), ..Refusal::from(error) };
            match (&refusal.detail, report.detail()) {
                (Some(where_found), Some(why)) => {
                    let detail = format!("{where_found}\n{why}");
                    refusal.detail(detail)
                }
                _ => refusal,
            }
            .raise()
        })
        .execute();
        self.row += 1;
        // SAFETY: the slot was filled above.
        unsafe { pg_sys::ExecStoreVirtualTuple(slot) };
    }

    /// Back to the first row: from memory if all rows so far are there, else by asking again.
    fn restart(&mut self) {
        self.begun.sorting.restart();
        self.returned = 0;
        self.batch = 0;
        self.row = 0;
        self.filled = 0;
        if !self.complete {
            if self.rescans == Rescans::All {
                self.rescans = Rescans::Filtered;
            }
            self.forget();
        }
    }

    /// As if no row had been asked for.
    fn forget(&mut self) {
        self.stop();
        self.batches.clear();
        self.started = false;
        self.complete = true;
        self.batch = 0;
        self.row = 0;
        self.filled = 0;
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

    /// What the scan has cost so far, and how long the backend has slept for it.
    pub fn costs(&self) -> (ScanStats, Duration) {
        let mut all = self.past;
        if let Some(running) = &self.running {
            all += running.stats();
        }
        (all, self.waited)
    }
}

/// Whether an SQLSTATE is of class 22, data exception, or 23, integrity constraint violation.
fn is_about_a_value(code: PgSqlErrorCode) -> bool {
    // MAKE_SQLSTATE puts six bits of each character into the number, the first one lowest.
    let class = |first: u8, second: u8| isize::from(first - b'0') | isize::from(second - b'0') << 6;
    let own = code as isize & 0xFFF;
    own == class(b'2', b'2') || own == class(b'2', b'3')
}

/// The scan of a node, if it was begun for more than EXPLAIN.
///
/// # Safety
/// `node` is a node of this wrapper. The reference must be given up before the executor is called.
pub unsafe fn of<'a>(node: *mut pg_sys::ForeignScanState) -> Option<&'a mut Scan> {
    // SAFETY: as the caller says; the executor keeps the pointer that begin_foreign_scan put there.
    unsafe { (*node).fdw_state.cast::<Scan>().as_mut() }
}

/// The table of a scan.
///
/// # Safety
/// `node` is a foreign scan that the executor has begun to initialise.
pub unsafe fn relation(node: *mut pg_sys::ForeignScanState) -> PgRelation {
    // SAFETY: the executor opens the relation of a scan for as long as the node lives; that of an upper step it has
    // locked, and it stays open until the reference is dropped.
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

/// What the planner has left for a scan, and the expressions of the values in it.
///
/// # Safety
/// As above.
pub unsafe fn planned(node: *mut pg_sys::ForeignScanState) -> (Plan, *mut pg_sys::List) {
    // SAFETY: as the caller says.
    unsafe {
        let scan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        (Plan::from_list((*scan).fdw_private), (*scan).fdw_exprs)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin_foreign_scan(node: *mut pg_sys::ForeignScanState, flags: i32) {
    if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: the executor passes a node whose relation is open for as long as the node lives. The
    // current memory context is that of the query.
    unsafe {
        let relation = relation(node);
        let (plan, expressions) = planned(node);
        let user = compat::scan_user(node);
        let table = Table::of(&relation);
        let parameters: Vec<i16> = table.parameters().map(|column| column.attribute).collect();
        let arguments = Arguments::begin(node, expressions, &plan.arguments, &parameters);
        let values = PgList::<pg_sys::Expr>::from_pg(expressions);
        let conditions = Conditions::new(plan.conditions_over(|index| match values.get_ptr(index) {
            Some(value) => Expression::begin(node, value),
            None => unreachable!("a plan has an expression for each value of its conditions"),
        }));
        let places = |key: &Key| match &plan.upper {
            Some(_) => plan.attributes.iter().position(|attribute| *attribute == key.attribute),
            None => Some(key.attribute as usize - 1),
        };
        let places = plan.keys.iter().filter_map(places).collect();
        let sorting = Sorting::new(&plan.keys, places, &relation);
        let scan = Scan::new(table, user, &relation, &plan, Begun { arguments, conditions, sorting });
        // An error or a cancel frees the query's memory without a call of EndForeignScan; the scan, and
        // with it the request under way, goes with it.
        let context = (*(*node).ss.ps.state).es_query_cxt;
        (*node).fdw_state = PgMemoryContexts::For(context).leak_and_drop_on_delete(scan).cast();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn iterate_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a node that was begun, in the memory context of the tuple.
    unsafe {
        let slot = (*node).ss.ss_ScanTupleSlot;
        clear(slot);
        let Some(scan) = of(node) else { return slot };
        if scan.from_below.is_none() {
            scan.work_out_calls(node);
            scan.next(node, slot);
        }
        if scan.from_below.is_none() {
            return slot;
        }
        let row = row_from_below(node);
        // Only now: where there are no rows either, that is what is to be told.
        if let Some(why) = of(node).and_then(|scan| scan.from_below.as_mut())
            && let Some(hint) = why.hint.take()
        {
            notice(why.message.clone(), hint);
        }
        row
    }
}

/// The next row of the plan below.
///
/// # Safety
/// `node` is a scan that was planned with one.
unsafe fn row_from_below(node: *mut pg_sys::ForeignScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor has begun the plan, which lives as long as the node. `ExecProcNode` is an inline function in C;
    // it is called as C would, behind a guard, in the memory context that the executor calls it in.
    unsafe {
        let below = (*node).ss.ps.lefttree;
        let before = pg_sys::MemoryContextSwitchTo((*(*node).ss.ps.state).es_query_cxt);
        if !(*below).chgParam.is_null() {
            pg_sys::ExecReScan(below);
        }
        let row = match (*below).ExecProcNode {
            Some(next) => pg_sys::ffi::pg_guard_ffi_boundary(|| next(below)),
            None => std::ptr::null_mut(),
        };
        pg_sys::MemoryContextSwitchTo(before);
        row
    }
}

/// `ExecClearTuple`, which is an inline function in C.
///
/// # Safety
/// `slot` is a slot.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: every kind of slot has this operation; it is called as C would, behind a guard.
    unsafe {
        if let Some(operation) = (*(*slot).tts_ops).clear {
            pg_sys::ffi::pg_guard_ffi_boundary(|| operation(slot));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that was begun.
    unsafe {
        if let Some(scan) = of(node) {
            scan.calls_stale |= !(*node).ss.ps.chgParam.is_null();
            scan.restart();
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that was begun. What is left goes with the query's memory.
    if let Some(scan) = unsafe { of(node) } {
        scan.stop();
        scan.begun.sorting.restart();
        scan.batches = Vec::new();
    }
}
