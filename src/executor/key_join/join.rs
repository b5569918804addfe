//! The state of a key join, and how it reads both sides.
//!
//! Outer rows are read into a buffer, with a hash table of what they compare and a list of their distinct keys. The inner
//! scan is asked for a block of keys; each row that it returns is compared with the buffered rows of that block. Rows
//! without a match follow when their block is complete. Blocks are small at first, so that a LIMIT stops early, then as
//! large as a request can hold. All join clauses are evaluated here, so that the server may send more rows than it was
//! asked for.
//!
//! If it is cheaper to read all rows of the inner table than to ask for the keys that are left, the join does that: it
//! reads the rest of the outer rows, then all inner rows, which it compares with all rows in the buffer. If the buffer
//! exceeds `work_mem` before the outer rows end, inner rows go into a tuplestore, and each further buffer reads them from
//! there. So the server is asked for all rows once at most.

use acumatica_pushdown::{Asked, JoinKind, KeyJoin, Literal, Outcome, Writing, largest, of_keys};
use pgrx::prelude::*;

use crate::catalog::setting;
use crate::executor::key_join::buffer::Buffer;
use crate::executor::key_join::key::Key;
use crate::executor::scan::{self, Expected, Keys};

/// If a block returns more rows, most of which have none of its keys, the server did not filter by them.
const MANY_STRAYS: usize = 200;

/// The executor's node.
#[repr(C)]
pub struct Node {
    pub custom: pg_sys::CustomScanState,
    /// Null under EXPLAIN without ANALYZE.
    pub join: *mut Join,
}

/// The state of a key join.
pub struct Join {
    pub told: KeyJoin,
    pub outer: *mut pg_sys::PlanState,
    /// The inner scan, a foreign scan of this wrapper.
    pub inner: *mut pg_sys::ForeignScanState,
    /// The number of columns of the outer plan, which come first in the scan tuple.
    pub outer_width: usize,
    /// A slot for a buffered row.
    pub row_slot: *mut pg_sys::TupleTableSlot,
    /// A slot for an inner row that was stored.
    pub stored_slot: *mut pg_sys::TupleTableSlot,
    /// All join clauses.
    pub matches: *mut pg_sys::ExprState,
    pub keys: Vec<Key>,
    pub buffer: Buffer,
    pub outer_ended: bool,
    pub phase: Phase,
    /// All inner rows, if they are needed again.
    pub store: *mut pg_sys::Tuplestorestate,
    /// All of them are there.
    pub store_complete: bool,
    /// The join was begun again.
    pub rescanned: bool,
    /// Blocks so far since the start.
    pub blocks_since_start: usize,
    /// The inner rows of the block, and how many of them have none of its keys.
    pub block_rows: (usize, usize),
    /// The rows that the inner scan had received before the block.
    pub received_before: u64,
    pub reads: Reads,
}

/// The statistics of a key join, for EXPLAIN ANALYZE.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reads {
    pub keys: usize,
    /// The rows that were received for them.
    pub rows: u64,
    pub blocks: usize,
    /// Why all inner rows were read.
    pub all: Option<&'static str>,
}

/// What the join does next.
#[derive(Clone, Debug)]
pub enum Phase {
    /// It reads outer rows, and decides how to read the inner rows of their keys.
    Fill,
    /// It compares inner rows with the buffered rows of a block.
    Match {
        block: Block,
        /// The buffered rows that the current inner row may match, and the next of them.
        candidates: Vec<usize>,
        next: usize,
    },
    /// It returns the rows of a block that have no match.
    Unmatched {
        block: Block,
        rows: Vec<usize>,
        next: usize,
    },
    End,
}

/// The distinct keys in the buffer that the inner scan was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub from: usize,
    pub to: usize,
    pub source: Source,
}

/// Where the inner rows of a block come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Scan,
    /// The scan, and they are stored for the next blocks.
    ScanAndStore,
    Store,
}

/// The state of a node.
///
/// # Safety
/// `custom` is a node of `create_state`. The reference is used by one callback at a time.
pub unsafe fn of<'a>(custom: *mut pg_sys::CustomScanState) -> Option<&'a mut Join> {
    // SAFETY: `join` is null or a value that lives as long as the query's memory.
    unsafe { (*custom.cast::<Node>()).join.as_mut() }
}

impl Join {
    /// Puts the next row of the join into the scan slot; false at the end.
    ///
    /// # Safety
    /// `custom` is the node of this join.
    pub unsafe fn advance(&mut self, custom: *mut pg_sys::CustomScanState) -> bool {
        // SAFETY: forwarded; the caller keeps the contract of each function.
        unsafe {
            loop {
                match std::mem::replace(&mut self.phase, Phase::End) {
                    Phase::Fill => self.phase = self.fill(custom),
                    Phase::Match { block, candidates, next } => {
                        let Some(row) = candidates.get(next).copied() else {
                            self.phase = self.next_inner(custom, block);
                            continue;
                        };
                        self.phase = Phase::Match { block, candidates, next: next + 1 };
                        if self.matches(custom, row) {
                            return true;
                        }
                    }
                    Phase::Unmatched { block, rows, next } => {
                        let Some(row) = rows.get(next).copied() else {
                            self.phase = self.after();
                            continue;
                        };
                        self.phase = Phase::Unmatched { block, rows, next: next + 1 };
                        self.show_row(custom, row);
                        self.clear_inner(custom);
                        return true;
                    }
                    Phase::End => return false,
                }
            }
        }
    }

    /// Reads outer rows, as many as the decision needs, and begins the next block.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn fill(&mut self, custom: *mut pg_sys::CustomScanState) -> Phase {
        // SAFETY: forwarded.
        unsafe {
            if self.outer_ended && self.buffer.pending() == 0 && self.buffer.without_key.is_empty() {
                return Phase::End;
            }
            if !self.store.is_null() {
                self.read_outer(custom, usize::MAX);
                return self.begin_block(custom, self.buffer.keys.len(), Source::Store);
            }
            // Without a key, nothing of the inner side is evaluated.
            self.read_outer(custom, 1);
            if self.buffer.pending() == 0 {
                return match self.outer_ended {
                    true if self.buffer.without_key.is_empty() => Phase::End,
                    // Only rows without a key: they need no inner row.
                    _ => self.unmatched(Block {
                        from: self.buffer.next_key,
                        to: self.buffer.next_key,
                        source: Source::Scan,
                    }),
                };
            }
            let Some(writing) = self.writing() else { return Phase::End };
            let wanted = |this: &Self| {
                let wanted = || this.told.wanted(this.keys_per_request(&writing), this.asked());
                setting::key_join_block().unwrap_or_else(wanted)
            };
            self.read_outer(custom, wanted(self));
            // One key alone says less about the length of keys than a list: more may be needed to decide.
            let wanted = wanted(self);
            self.read_outer(custom, wanted);
            let is_dear = setting::key_join_block().is_none() && {
                let per_request = self.keys_per_request(&writing);
                self.probe(per_request);
                self.told.is_dear(self.buffer.pending(), per_request, self.asked())
            };
            let why = match (self.buffer.unsendable, is_dear) {
                (true, _) => Some("a key cannot be sent"),
                (false, true) => Some("it is cheaper"),
                (false, false) => None,
            };
            if why.is_none() {
                let keys = self.keys_of_a_request(wanted, &writing);
                return self.begin_block(custom, self.buffer.next_key + keys, Source::Scan);
            }
            self.reads.all = why;
            self.read_outer(custom, usize::MAX);
            // A join that was begun again may be so once more: the server is not asked for all rows each time.
            let is_kept = self.rescanned || !self.outer_ended;
            let source = if is_kept { Source::ScanAndStore } else { Source::Scan };
            self.begin_block(custom, self.buffer.keys.len(), source)
        }
    }

    /// Finds out whether the inner table is as large as it would have to be for the pending keys to be cheaper than all rows, if
    /// its size is a guess. Not for the first blocks, which may be all.
    fn probe(&mut self, per_request: usize) {
        let Some(rows) = self.told.rows_to_probe(self.buffer.pending(), per_request, self.asked()) else {
            return;
        };
        // SAFETY: the inner node is a foreign scan of this wrapper, whose executor does not run now.
        match unsafe { scan::of(self.inner) }.and_then(|scan| scan.has_more(rows)) {
            Some(there_are_more) => self.told.learn(rows, there_are_more),
            None => self.told.is_guess = false,
        }
    }

    /// What was asked for since the start.
    fn asked(&self) -> Asked {
        Asked { blocks: self.blocks_since_start, keys: self.reads.keys, rows: self.reads.rows }
    }

    /// The rows that the inner scan has received.
    fn received(&self) -> u64 {
        // SAFETY: the inner node is a foreign scan of this wrapper, whose executor does not run now.
        unsafe { scan::of(self.inner) }.map_or(0, |scan| scan.costs().0.rows)
    }

    /// How many of the pending keys a request holds, roughly.
    fn keys_per_request(&self, writing: &Writing) -> usize {
        /// So many keys show how long they are.
        const SAMPLE: usize = 64;
        let keys = self.pending(SAMPLE);
        let length = self.length(&keys, writing).div_ceil(keys.len().max(1));
        (writing.room / length.max(1)).max(1)
    }

    /// How many of the pending keys the next request asks for: one at least, and `most` at most. Sorts them if it cannot hold
    /// all of them.
    fn keys_of_a_request(&mut self, most: usize, writing: &Writing) -> usize {
        let fitting = |this: &Self, keys: &[&[Literal]]| {
            largest(keys.len(), |count| this.length(&keys[..count], writing) <= writing.room)
        };
        // No key takes less than a character.
        let most = most.min(writing.room);
        let count = fitting(self, &self.pending(most));
        if count >= self.buffer.pending() {
            return count;
        }
        let order = self.buffer.sort(self.told.listed).to_vec();
        let keys = self.pending(most + 1);
        let count = fitting(self, &keys[..most.min(keys.len())]);
        // The rows of a value that is in two blocks would come twice.
        let [listed] = order.as_slice() else { return count };
        let is_cut =
            |count: usize| keys.get(count).is_some_and(|next| next[*listed] == keys[count - 1][*listed]);
        let whole = (1..=count).rev().find(|count| !is_cut(*count));
        whole.unwrap_or(count)
    }

    /// The values of the first pending keys that can be sent.
    fn pending(&self, most: usize) -> Vec<&[Literal]> {
        let pending = self.buffer.keys[self.buffer.next_key..].iter().map(|key| key.values.as_slice());
        pending.filter(|values| !values.is_empty()).take(most).collect()
    }

    /// The characters, percent-encoded, that the condition on some keys takes in a request.
    fn length(&self, keys: &[&[Literal]], writing: &Writing) -> usize {
        // SAFETY: the inner node is a foreign scan of this wrapper, whose executor does not run now.
        let conditions = unsafe { scan::of(self.inner) }.map_or(&[][..], |scan| scan.join_keys());
        match of_keys(conditions, keys, self.told.listed) {
            Outcome::Filter(filter) => filter.length(writing).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// How the conditions of the inner scan are written.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn writing(&self) -> Option<Writing> {
        // SAFETY: the inner node is a foreign scan of this wrapper, whose executor does not run now; the reference to it ends here.
        unsafe { scan::of(self.inner).map(|scan| scan.writing(self.inner)) }
    }

    /// Reads outer rows until so many keys are pending, the buffer is full, or the outer rows end.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn read_outer(&mut self, custom: *mut pg_sys::CustomScanState, keys: usize) {
        // SAFETY: the executor keeps the nodes, slots and contexts of the caller's node alive. The values of the scan slot
        // point into the slot of the outer plan, which keeps its tuple until it is run again.
        unsafe {
            let context = (*custom).ss.ps.ps_ExprContext;
            let memory = (*context).ecxt_per_tuple_memory;
            while !self.outer_ended && self.buffer.pending() < keys && !self.buffer.is_full() {
                check_for_interrupts!();
                pg_sys::MemoryContextReset(memory);
                let slot = pg_sys::ExecProcNode(self.outer);
                if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                    self.outer_ended = true;
                    return;
                }
                show(custom, slot, 0, self.outer_width);
                self.clear_inner(custom);
                let before = pg_sys::MemoryContextSwitchTo(memory);
                let hash = self.hash(custom, |key| (key.outer, &raw mut key.outer_hash));
                let values = hash.and_then(|_| self.values(custom));
                pg_sys::MemoryContextSwitchTo(before);
                if hash.is_none() && !self.told.kind.keeps_unmatched() {
                    continue;
                }
                pg_sys::MemoryContextSwitchTo(self.buffer.context);
                let tuple = pg_sys::ExecCopySlotMinimalTuple(slot);
                pg_sys::MemoryContextSwitchTo(before);
                self.buffer.put(tuple, hash, values);
            }
        }
    }

    /// The hash of what the row in the scan slot compares; `None` if a value is NULL.
    ///
    /// # Safety
    /// As for [`Join::advance`]; `of` returns a part of its argument.
    unsafe fn hash(
        &mut self,
        custom: *mut pg_sys::CustomScanState,
        of: impl Fn(&mut Key) -> (*mut pg_sys::ExprState, *mut pg_sys::FmgrInfo),
    ) -> Option<u32> {
        // SAFETY: the expressions were initialised for this node, and the functions for their types.
        unsafe {
            let context = (*custom).ss.ps.ps_ExprContext;
            (*context).ecxt_scantuple = (*custom).ss.ss_ScanTupleSlot;
            let mut all = 0_u32;
            for key in &mut self.keys {
                let collation = key.collation;
                let (state, function) = of(key);
                let mut is_null = false;
                let value = pg_sys::ExecEvalExprSwitchContext(state, context, &mut is_null);
                if is_null {
                    return None;
                }
                let hash = pg_sys::FunctionCall1Coll(function, collation, value).value() as u32;
                all = all.rotate_left(1) ^ hash;
            }
            Some(all)
        }
    }

    /// The values that the server is to be asked for, for the outer row in the scan slot; `None` if one cannot be sent.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn values(&mut self, custom: *mut pg_sys::CustomScanState) -> Option<Vec<Literal>> {
        // SAFETY: the expressions were initialised for this node; a value is of the type of its expression.
        unsafe {
            let scan = scan::of(self.inner)?;
            let mut found = Vec::with_capacity(self.keys.len());
            for (key, condition) in self.keys.iter().zip(scan.join_keys()) {
                let value = key.value.values(&raw mut (*custom).ss.ps).literals.pop()?.ok()?;
                found.push(Some(value).filter(|value| condition.can_send(value, scan.dialect()))?);
            }
            Some(found)
        }
    }

    /// Starts the inner scan for the pending keys before `to`, or for all rows.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn begin_block(
        &mut self,
        custom: *mut pg_sys::CustomScanState,
        to: usize,
        source: Source,
    ) -> Phase {
        let block = Block { from: self.buffer.next_key, to, source };
        let by_key = self.reads.all.is_none();
        self.blocks_since_start += 1;
        // SAFETY: forwarded. The inner scan is a foreign scan of this wrapper, whose executor does not run now; the
        // reference to it ends before it does.
        unsafe {
            if source == Source::Store {
                pg_sys::tuplestore_rescan(self.store);
                return self.next_inner(custom, block);
            }
            self.reads.blocks += 1;
            self.received_before = self.received();
            let asked = self.asked();
            let keys = by_key.then(|| {
                let keys = self.buffer.keys[block.from..block.to].iter();
                Keys { values: keys.map(|key| key.values.clone()).collect(), listed: self.told.listed }
            });
            let count = keys.as_ref().map_or(0, |keys| keys.values.len());
            self.reads.keys += count;
            let rows = self.told.rows_of_key(asked) * count as f64;
            let expected = Expected {
                few_rows: by_key && rows <= f64::from(self.told.page_size),
                more_keys: by_key && !(self.outer_ended && block.to == self.buffer.keys.len()),
            };
            if let Some(scan) = scan::of(self.inner) {
                scan.ask_for(keys, expected);
            }
            pg_sys::ExecReScan(self.inner.cast());
            if source == Source::ScanAndStore {
                let before = pg_sys::MemoryContextSwitchTo((*(*custom).ss.ps.state).es_query_cxt);
                self.store = pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem);
                pg_sys::MemoryContextSwitchTo(before);
            }
            self.next_inner(custom, block)
        }
    }

    /// Puts the next inner row into the scan slot, and finds the rows that it may match.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn next_inner(&mut self, custom: *mut pg_sys::CustomScanState, block: Block) -> Phase {
        // SAFETY: the executor keeps the nodes and slots of the caller's node alive.
        unsafe {
            loop {
                check_for_interrupts!();
                let context = (*custom).ss.ps.ps_ExprContext;
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
                let slot = match block.source {
                    Source::Store => {
                        pg_sys::tuplestore_gettupleslot(self.store, true, false, self.stored_slot);
                        self.stored_slot
                    }
                    _ => pg_sys::ExecProcNode(self.inner.cast()),
                };
                if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                    return self.unmatched(block);
                }
                if block.source == Source::ScanAndStore {
                    pg_sys::tuplestore_puttupleslot(self.store, slot);
                }
                let width = (*(*slot).tts_tupleDescriptor).natts as usize;
                // The outer half of the scan tuple is not read by the inner expressions.
                let outer = self.outer_width;
                show(custom, slot, outer, width);
                let memory = (*context).ecxt_per_tuple_memory;
                let before = pg_sys::MemoryContextSwitchTo(memory);
                let hash = self.hash(custom, |key| (key.inner, &raw mut key.inner_hash));
                pg_sys::MemoryContextSwitchTo(before);
                let of_block = |row: &&usize| (block.from..block.to).contains(&self.buffer.rows[**row].key);
                let rows = hash.and_then(|hash| self.buffer.by_hash.get(&hash)).into_iter().flatten();
                let candidates: Vec<usize> = rows.filter(of_block).copied().collect();
                self.block_rows.0 += 1;
                self.block_rows.1 += usize::from(candidates.is_empty());
                if !candidates.is_empty() {
                    return Phase::Match { block, candidates, next: 0 };
                }
            }
        }
    }

    /// Whether a buffered row and the current inner row are a row of the join, which the scan slot then holds. Notes that the
    /// buffered row has a match.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn matches(&mut self, custom: *mut pg_sys::CustomScanState, row: usize) -> bool {
        // SAFETY: as for `next_inner`.
        unsafe {
            let kind = self.told.kind;
            if self.buffer.rows[row].matched && matches!(kind, JoinKind::Semi | JoinKind::Anti) {
                return false;
            }
            let context = (*custom).ss.ps.ps_ExprContext;
            pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            self.show_row(custom, row);
            (*context).ecxt_scantuple = (*custom).ss.ss_ScanTupleSlot;
            if !pg_sys::ExecQual(self.matches, context) {
                return false;
            }
            self.buffer.rows[row].matched = true;
            kind != JoinKind::Anti
        }
    }

    /// Puts a buffered row into the outer half of the scan slot.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn show_row(&mut self, custom: *mut pg_sys::CustomScanState, row: usize) {
        // SAFETY: the tuple is in the buffer's context, which is reset only after all its rows have been used.
        unsafe {
            pg_sys::ExecStoreMinimalTuple(self.buffer.rows[row].tuple, self.row_slot, false);
            show(custom, self.row_slot, 0, self.outer_width);
        }
    }

    /// Sets the inner half of the scan slot to NULL.
    ///
    /// # Safety
    /// As for [`Join::advance`].
    unsafe fn clear_inner(&self, custom: *mut pg_sys::CustomScanState) {
        // SAFETY: the arrays of the scan slot have an element for each column of both plans.
        unsafe {
            let slot = (*custom).ss.ss_ScanTupleSlot;
            let width = (*(*slot).tts_tupleDescriptor).natts as usize;
            for column in self.outer_width..width {
                *(*slot).tts_isnull.add(column) = true;
            }
        }
    }

    /// What follows the last inner row of a block.
    fn unmatched(&mut self, block: Block) -> Phase {
        self.buffer.next_key = block.to;
        if block.source != Source::Store && self.reads.all.is_none() {
            self.reads.rows += self.received() - self.received_before;
        }
        self.store_complete |= block.source == Source::ScanAndStore;
        let (rows, strays) = std::mem::take(&mut self.block_rows);
        // Of several columns, rows with other pairs of values come too.
        let is_plain = self.keys.len() == 1 && self.reads.all.is_none();
        if is_plain && strays > rows / 2 && rows > MANY_STRAYS {
            // The server did not filter by the keys, so these were all rows.
            self.told.all_rows = rows as f64;
        }
        if !self.told.kind.keeps_unmatched() {
            return self.after();
        }
        let mut rows = std::mem::take(&mut self.buffer.without_key);
        let of_block = self.buffer.keys[block.from..block.to].iter().flat_map(|key| &key.rows);
        rows.extend(of_block.filter(|row| !self.buffer.rows[**row].matched));
        Phase::Unmatched { block, rows, next: 0 }
    }

    /// What follows a block.
    fn after(&mut self) -> Phase {
        if self.buffer.pending() == 0 {
            self.buffer.clear();
            if self.outer_ended {
                return Phase::End;
            }
        }
        Phase::Fill
    }

    /// Back to the first row. Inner rows that are stored stay valid if `inner_unchanged`.
    pub fn restart(&mut self, inner_unchanged: bool) {
        self.buffer.clear();
        self.outer_ended = false;
        self.phase = Phase::Fill;
        self.blocks_since_start = 0;
        self.block_rows = (0, 0);
        self.rescanned = true;
        if self.store_complete && inner_unchanged {
            return;
        }
        self.reads.all = None;
        self.store_complete = false;
        if !self.store.is_null() {
            // SAFETY: the store was made by `begin_block`, and nothing reads it now.
            unsafe { pg_sys::tuplestore_end(self.store) };
            self.store = std::ptr::null_mut();
        }
    }
}

/// Copies the values of a slot into the scan slot, from the column `first` on.
///
/// # Safety
/// The scan slot of `custom` has `width` columns from `first` on, of the types of those of `slot`, which holds a tuple.
unsafe fn show(
    custom: *mut pg_sys::CustomScanState,
    slot: *mut pg_sys::TupleTableSlot,
    first: usize,
    width: usize,
) {
    // SAFETY: the arrays of a slot have an element for each of its columns; slot_getallattrs fills those of `slot`. The
    // scan slot is a virtual one, whose values are valid while what they point to is.
    unsafe {
        pg_sys::slot_getallattrs(slot);
        let scan = (*custom).ss.ss_ScanTupleSlot;
        std::ptr::copy_nonoverlapping((*slot).tts_values, (*scan).tts_values.add(first), width);
        std::ptr::copy_nonoverlapping((*slot).tts_isnull, (*scan).tts_isnull.add(first), width);
        (*scan).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*scan).tts_nvalid = (*(*scan).tts_tupleDescriptor).natts as i16;
    }
}
