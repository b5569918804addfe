//! ANALYZE: counts the rows of a foreign table and takes a sample of them.
//!
//! Data access classes are counted by `$count`. Of other tables whose rows `$skip` counts, the number of rows is found by
//! asking for single rows: first of positions that double, then by bisection, so about 2 log₂ n small requests. The sample
//! is taken from pages that are spread over the table. A table that has no positions, such as a detail, is read as a whole.
//!
//! The number of pages stays 0: a foreign table has none, and PostgreSQL would scale the number of rows by it.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Poll;

use acumatica_client::decode::Batch;
use acumatica_client::{Allowance, ErrorKind, ScanRequest, ScanStats, Surface};
use acumatica_pushdown::{ScanPlan, Upper};
use pgrx::prelude::*;
use pgrx::{PgRelation, check_for_interrupts};

use crate::backend::error::{Refusal, or_raise};
use crate::catalog::connection;
use crate::catalog::table::{ForeignTable, ParameterKind};
use crate::executor::budget;
use crate::executor::convert::Converter;
use crate::executor::distinct::Values;
use crate::executor::received::RowPosition;
use crate::executor::request::request;
use crate::executor::slot;

/// The number of places in a table that rows of the sample are taken from.
const PAGES: u64 = 10;
/// The most rows in a sample: ten pages of a thousand rows take some seconds each on a slow site.
const MOST_ROWS: u64 = 10_000;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.AnalyzeForeignTable = Some(analyze_foreign_table);
}

#[pg_guard]
unsafe extern "C-unwind" fn analyze_foreign_table(
    relation: pg_sys::Relation,
    function: *mut pg_sys::AcquireSampleRowsFunc,
    pages: *mut pg_sys::BlockNumber,
) -> bool {
    // SAFETY: ANALYZE passes an open relation and two pointers to variables of its own.
    unsafe {
        let table = ForeignTable::of(&PgRelation::from_pg(relation));
        *function = Some(acquire_sample_rows);
        *pages = 0;
        !needs_values(&table)
    }
}

/// Whether a table has rows for values only: an inquiry computes them, and has none without.
pub fn needs_values(table: &ForeignTable) -> bool {
    table.target.form || table.parameters().any(|column| column.parameter == Some(ParameterKind::Required))
}

#[pg_guard]
unsafe extern "C-unwind" fn acquire_sample_rows(
    relation: pg_sys::Relation,
    level: i32,
    rows: *mut pg_sys::HeapTuple,
    wanted: i32,
    total: *mut f64,
    dead: *mut f64,
) -> i32 {
    // SAFETY: ANALYZE passes an open relation, an array of `wanted` tuples, which live in the current memory context, and
    // two pointers to variables of its own.
    unsafe {
        let open = PgRelation::from_pg(relation);
        let table = ForeignTable::of(&open);
        let owner = (*(*relation).rd_rel).relowner;
        let mut sample = Sample::new(&open, u64::try_from(wanted).unwrap_or(0).min(MOST_ROWS));
        let reader = Reader::new(&table, owner, None);
        let counted = or_raise(reader.count());
        let all = match counted {
            Some(count) if count > sample.most => {
                let each = sample.most.div_ceil(PAGES);
                let step = (count - each) / (PAGES - 1);
                let mut values = Values::new(&open.tuple_desc());
                for page in 0..PAGES {
                    let left = sample.most - sample.tuples.len() as u64;
                    if left == 0 {
                        break;
                    }
                    let plan = sample.plan(u32::try_from(page * step).ok());
                    or_raise(reader.read(&plan, Some(each.min(left)), &mut |request, batch, row| {
                        sample.keep(request, batch, row);
                        values.note(page as u32, sample.slot);
                    }));
                }
                values.store(table.oid, count as f64, &sample.tuples, (*relation).rd_att);
                count
            }
            _ => {
                let plan = sample.plan(None);
                let mut met = 0;
                or_raise(reader.read(&plan, None, &mut |request, batch, row| {
                    met += 1;
                    sample.keep_by_chance(request, batch, row, met);
                }));
                met
            }
        };
        for (index, tuple) in sample.tuples.iter().enumerate() {
            *rows.add(index) = *tuple;
        }
        *total = all as f64;
        *dead = 0.0;
        let name = &table.qualified;
        let found = sample.tuples.len();
        pgrx::ereport!(
            PgLogLevel::from(level as isize),
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("\"{name}\": table contains {all} rows; {found} rows in sample")
        );
        sample.end();
        found as i32
    }
}

/// Reads or counts rows of a table outside of the plan of a query.
pub struct Reader<'a> {
    table: &'a ForeignTable,
    user: pg_sys::Oid,
    /// That of the query that the reads are part of.
    allowance: Option<Arc<Allowance>>,
    spent: Cell<ScanStats>,
}

impl<'a> Reader<'a> {
    pub fn new(table: &'a ForeignTable, user: pg_sys::Oid, allowance: Option<Arc<Allowance>>) -> Self {
        Self { table, user, allowance, spent: Cell::default() }
    }

    /// What was requested and received until now.
    pub fn spent(&self) -> ScanStats {
        self.spent.get()
    }

    /// The number of rows, if it can be found without reading them.
    ///
    /// # Errors
    /// A request fails.
    pub fn count(&self) -> Result<Option<u64>, Refusal> {
        if self.table.surface() == Surface::Dac && !self.table.target.singleton {
            let plan = ScanPlan { upper: Some(Upper::Count), ..ScanPlan::default() };
            let mut count = None;
            let done = self.read(&plan, None, &mut |_, batch, row| count = batch.number(row.index))?;
            if done {
                return Ok(count);
            }
        }
        if !self.table.can_skip_rows() {
            return Ok(None);
        }
        // There is a row at `low`, or none at all, and none at `high`.
        let (mut low, mut high) = (0, 1);
        loop {
            match (self.has_row(high)?, high.checked_mul(2)) {
                (Some(true), Some(double)) => (low, high) = (high, double),
                (Some(false), _) => break,
                _ => return Ok(None),
            }
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.has_row(middle)? {
                Some(true) => low = middle,
                Some(false) => high = middle,
                None => return Ok(None),
            }
        }
        // An empty table has no row at 0 either.
        let is_empty = low == 0 && self.has_row(0)? == Some(false);
        Ok(Some(if is_empty { 0 } else { u64::from(high) }))
    }

    /// Whether there is a row at a position, counted from 0; `None` if the server refuses to skip rows.
    ///
    /// # Errors
    /// The request fails.
    pub fn has_row(&self, position: u32) -> Result<Option<bool>, Refusal> {
        let column = self.table.columns.iter().min_by_key(|column| column.key.unwrap_or(u8::MAX));
        let plan = ScanPlan {
            attributes: column.iter().map(|column| column.attribute).collect(),
            limit: Some(1),
            upper: (position > 0).then_some(Upper::Offset(position)),
            ..ScanPlan::default()
        };
        let mut found = false;
        let done = self.read(&plan, Some(1), &mut |_, _, _| found = true)?;
        Ok(done.then_some(found))
    }

    /// Passes each row to `take`, `most` at most. False if the server refuses to count or to skip rows, which was no more
    /// than a way to read less.
    ///
    /// # Errors
    /// A request fails.
    fn read(
        &self,
        plan: &ScanPlan,
        most: Option<u64>,
        take: &mut dyn FnMut(&ScanRequest, &Batch, RowPosition),
    ) -> Result<bool, Refusal> {
        let mut asked = request(self.table, None, plan);
        asked.calls = vec![vec![None; asked.parameters.len()]];
        asked.allowance.clone_from(&self.allowance);
        if let Some(most) = most {
            asked.first_page = u32::try_from(most).unwrap_or(u32::MAX).min(asked.page_size).max(1);
        }
        let running = connection::start_scan(&self.table.server, self.user, &asked);
        let mut number = 0;
        let done = loop {
            match running.poll() {
                Poll::Pending => running.wait(),
                Poll::Ready(Err(error)) if error.kind == ErrorKind::RowsOnly => break Ok(false),
                Poll::Ready(Err(error)) if budget::is_used_up(&error) => {
                    let node = format!("A probe of foreign table {}", self.table.qualified);
                    budget::exceeded(error, &node, running.stats(), "to know how many rows there are");
                }
                Poll::Ready(Err(error)) => break Err(error.into()),
                Poll::Ready(Ok(None)) => break Ok(true),
                Poll::Ready(Ok(Some(batch))) => {
                    let mut is_enough = false;
                    for index in 0..batch.len() {
                        check_for_interrupts!();
                        number += 1;
                        take(&asked, &batch, RowPosition { index, number });
                        // Before another poll, which would request the next page.
                        is_enough = most == Some(number);
                        if is_enough {
                            break;
                        }
                    }
                    if is_enough {
                        break Ok(true);
                    }
                }
            }
        };
        let mut spent = self.spent.get();
        spent += running.stats();
        self.spent.set(spent);
        done
    }
}

/// The sample: a tuple in the memory context of ANALYZE for each row.
struct Sample {
    most: u64,
    attributes: Vec<i16>,
    columns: Vec<(usize, Converter)>,
    slot: *mut pg_sys::TupleTableSlot,
    tuples: Vec<pg_sys::HeapTuple>,
    /// What converting a row allocates.
    row_context: pg_sys::MemoryContext,
}

impl Sample {
    /// # Safety
    /// The current memory context is that of ANALYZE, and lives as long as the sample.
    unsafe fn new(relation: &PgRelation, most: u64) -> Self {
        let descriptor = relation.tuple_desc();
        let columns = descriptor.iter().filter(|attribute| !attribute.attisdropped);
        let columns: Vec<_> =
            columns.map(|attribute| (attribute.attnum as usize - 1, Converter::new(attribute))).collect();
        let attributes = columns.iter().map(|(place, _)| *place as i16 + 1).collect();
        // SAFETY: the relation is open, so that its descriptor lives; both are allocated in the caller's context.
        let (slot, row_context) = unsafe {
            let slot = pg_sys::MakeSingleTupleTableSlot(
                (*relation.as_ptr()).rd_att,
                &raw const pg_sys::TTSOpsVirtual,
            );
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"acumatica_fdw sample row".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            (slot, context)
        };
        Self { most, attributes, columns, slot, tuples: Vec::new(), row_context }
    }

    /// The plan of a scan of all columns from a position on.
    fn plan(&self, position: Option<u32>) -> ScanPlan {
        ScanPlan {
            attributes: self.attributes.clone(),
            upper: position.filter(|position| *position > 0).map(Upper::Offset),
            ..ScanPlan::default()
        }
    }

    /// Keeps a row.
    fn keep(&mut self, request: &ScanRequest, batch: &Batch, row: RowPosition) {
        let tuple = self.tuple(request, batch, row);
        self.tuples.push(tuple);
    }

    /// Keeps the row of this number with the chance that leaves each row of the table in the sample with the same one: the
    /// reservoir of Vitter's algorithm R.
    fn keep_by_chance(&mut self, request: &ScanRequest, batch: &Batch, row: RowPosition, number: u64) {
        if number <= self.most {
            return self.keep(request, batch, row);
        }
        // SAFETY: it only computes a number, on the backend's thread.
        let place = (unsafe { pg_sys::anl_random_fract() } * number as f64) as u64;
        if place < self.most {
            let tuple = self.tuple(request, batch, row);
            let old = std::mem::replace(&mut self.tuples[place as usize], tuple);
            // SAFETY: `tuple` has allocated it, and nothing else refers to it.
            unsafe { pg_sys::heap_freetuple(old) };
        }
    }

    fn tuple(&mut self, request: &ScanRequest, batch: &Batch, row: RowPosition) -> pg_sys::HeapTuple {
        // SAFETY: the slot has the descriptor that the columns were made for, and is emptied before a row is stored. The
        // tuple is a copy in the context of ANALYZE; what the row needed besides is in `row_context`.
        unsafe {
            pg_sys::MemoryContextReset(self.row_context);
            let before = pg_sys::MemoryContextSwitchTo(self.row_context);
            pg_sys::ExecClearTuple(self.slot);
            slot::store(&mut self.columns, request, batch, row, self.slot);
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::ExecCopySlotHeapTuple(self.slot)
        }
    }

    /// Frees what is not part of the sample.
    fn end(self) {
        // SAFETY: both were made by `new`, and nothing uses them any more.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::MemoryContextDelete(self.row_context);
        }
    }
}
