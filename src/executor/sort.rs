//! The order that a plan relies on: checks that the rows arrive in it, and sorts them here if the server has refused to.

use std::cmp::Ordering;

use acumatica_pushdown::SortKey;
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::backend::compat;
use crate::backend::error::Refusal;

/// Checks that the rows arrive in the order that the plan relies on, and sorts them locally if the server has refused to.
#[derive(Debug)]
pub struct Sorting {
    keys: Vec<SortKey>,
    /// The index of each key in the slot's arrays.
    places: Vec<usize>,
    comparators: Vec<pg_sys::SortSupportData>,
    /// The keys of the previous row: copied datums, and whether each is NULL. Empty before the first row.
    previous: Vec<(pg_sys::Datum, bool)>,
    /// `attbyval` and `attlen` of each key.
    layout: Vec<(bool, i32)>,
    context: pg_sys::MemoryContext,
    /// The local sort and the slot that its rows are read into.
    local: Option<(*mut pg_sys::Tuplesortstate, *mut pg_sys::TupleTableSlot)>,
}

impl Sorting {
    /// Prepares the comparison by `keys`, which are at `places` in the slot.
    ///
    /// # Safety
    /// The current memory context and the relation's tuple descriptor outlive the result.
    pub unsafe fn new(keys: &[SortKey], places: Vec<usize>, relation: &PgRelation) -> Self {
        let descriptor = relation.tuple_desc();
        // SAFETY: PrepareSortSupportFromOrderingOp allocates in `ssup_cxt`, which outlives the result by the caller's
        // guarantee. The operator is a btree operator of the attribute's type, as it requires.
        unsafe {
            let context = pg_sys::CurrentMemoryContext;
            let attribute = |key: &SortKey| descriptor.get(key.attribute as usize - 1);
            let comparators = keys.iter().filter_map(|key| {
                let mut support = pg_sys::SortSupportData {
                    ssup_cxt: context,
                    ssup_collation: attribute(key)?.attcollation,
                    ssup_nulls_first: key.nulls_first(),
                    ssup_attno: key.attribute,
                    ..Default::default()
                };
                pg_sys::PrepareSortSupportFromOrderingOp(operator(attribute(key)?, key), &raw mut support);
                Some(support)
            });
            let comparators = comparators.collect();
            let layout = keys.iter().filter_map(attribute).map(|a| (a.attbyval, a.attlen.into())).collect();
            Self {
                keys: keys.to_vec(),
                places,
                comparators,
                previous: Vec::new(),
                layout,
                context,
                local: None,
            }
        }
    }

    /// Whether the plan relies on an order.
    pub fn is_asked_for(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Goes back to the first row of a local sort; false if there is none.
    pub fn rewind(&mut self) -> bool {
        self.forget_previous();
        let Some((sorter, _)) = self.local else { return false };
        // SAFETY: `local` holds a live sort, which was begun for random access and performed.
        unsafe { pg_sys::tuplesort_rescan(sorter) };
        true
    }

    /// Returns to the state before the first row, and ends a local sort.
    pub fn restart(&mut self) {
        self.forget_previous();
        if let Some((sorter, slot)) = self.local.take() {
            // SAFETY: `begin_local` made both, and `take` removes the only references to them.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
                pg_sys::tuplesort_end(sorter);
            }
        }
    }

    fn forget_previous(&mut self) {
        for ((value, is_null), (by_value, _)) in self.previous.drain(..).zip(&self.layout) {
            if !by_value && !is_null {
                // SAFETY: `check` palloc'd this copy, and `drain` removes the only reference to it.
                unsafe { pg_sys::pfree(value.cast_mut_ptr()) };
            }
        }
    }

    /// Raises if the row in the slot sorts before the previous one. A LIMIT or a merge join above would lose rows.
    ///
    /// # Safety
    /// `slot` holds a row with the tuple descriptor that `places` refers to.
    pub unsafe fn check(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller guarantees that `places` are within the slot's arrays. `previous` holds palloc'd copies of the
        // same types, each freed once when it is replaced.
        unsafe {
            let row: Vec<(pg_sys::Datum, bool)> = self
                .places
                .iter()
                .map(|&at| (*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at)))
                .collect();
            if self.previous.len() == row.len() && self.compare(&row) == Ordering::Greater {
                self.refuse();
            }
            let before = pg_sys::MemoryContextSwitchTo(self.context);
            for (at, &(value, is_null)) in row.iter().enumerate() {
                let (by_value, length) = self.layout[at];
                let copy = if is_null { value } else { copied(value, by_value, length) };
                match self.previous.get_mut(at) {
                    Some(old) => {
                        if !by_value && !old.1 {
                            pg_sys::pfree(old.0.cast_mut_ptr());
                        }
                        *old = (copy, is_null);
                    }
                    None => self.previous.push((copy, is_null)),
                }
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// Compares the previous row with this one.
    ///
    /// # Safety
    /// `row` holds the keys of a row, in the order of `keys`.
    unsafe fn compare(&mut self, row: &[(pg_sys::Datum, bool)]) -> Ordering {
        for (at, &(value, is_null)) in row.iter().enumerate() {
            let (before, was_null) = self.previous[at];
            let support = &raw mut self.comparators[at];
            let order = match (was_null, is_null) {
                (true, true) => Ordering::Equal,
                (true, false) | (false, true) if was_null == self.keys[at].nulls_first() => Ordering::Less,
                (true, false) | (false, true) => Ordering::Greater,
                // SAFETY: both datums are of the type that the comparator was prepared for, by the caller's guarantee. The
                // guard turns a longjmp out of the comparator into a panic.
                (false, false) => unsafe {
                    let Some(comparator) = (*support).comparator else { return Ordering::Equal };
                    let order =
                        pg_sys::ffi::pg_guard_ffi_boundary(|| comparator(before, value, support)).cmp(&0);
                    if (*support).ssup_reverse { order.reverse() } else { order }
                },
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    fn refuse(&self) -> ! {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_ERROR,
            "the server did not return its rows in the order that it was asked for",
        )
        .detail("What a query says of the first or last rows could be wrong.")
        .hint("Set the option pushdown of the columns that it orders by to off: then rows are sorted here.")
        .raise()
    }

    /// Begins a local sort.
    ///
    /// # Safety
    /// `relation` is the one that `new` was given; the current memory context is the query's.
    pub unsafe fn begin_local(&mut self, relation: &PgRelation) {
        let descriptor = relation.tuple_desc();
        let attribute = |key: &SortKey| descriptor.get(key.attribute as usize - 1);
        let mut numbers: Vec<i16> = self.keys.iter().map(|key| key.attribute).collect();
        // SAFETY: the arrays have one element for each key, and operators of the attributes' types. The relation stays open
        // during the query, so its descriptor outlives the sort and the slot, which `restart` ends.
        unsafe {
            let mut operators: Vec<pg_sys::Oid> =
                self.keys.iter().filter_map(|key| Some(operator(attribute(key)?, key))).collect();
            let mut collations: Vec<pg_sys::Oid> =
                self.keys.iter().filter_map(|key| Some(attribute(key)?.attcollation)).collect();
            let mut nulls_first: Vec<bool> = self.keys.iter().map(|key| key.nulls_first()).collect();
            let sorter = compat::begin_sort(
                descriptor.as_ptr(),
                &mut numbers,
                &mut operators,
                &mut collations,
                &mut nulls_first,
            );
            let ops = &raw const pg_sys::TTSOpsMinimalTuple;
            self.local = Some((sorter, pg_sys::MakeSingleTupleTableSlot(descriptor.as_ptr(), ops)));
        }
    }

    /// Adds a row to the local sort.
    ///
    /// # Safety
    /// `slot` holds a row of the relation.
    pub unsafe fn put(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        if let Some((sorter, _)) = self.local {
            // SAFETY: the sort was begun for the descriptor of the caller's slot, and copies the tuple.
            unsafe { pg_sys::tuplesort_puttupleslot(sorter, slot) };
        }
    }

    /// Sorts the rows that were added.
    pub fn perform(&mut self) {
        if let Some((sorter, _)) = self.local {
            // SAFETY: `local` holds a live sort; `Scan::sort` performs it once, after the last row was added.
            unsafe { pg_sys::tuplesort_performsort(sorter) };
        }
    }

    /// Stores the next sorted row in the slot, or leaves it empty at the end. False if there is no local sort.
    ///
    /// # Safety
    /// `slot` is empty and has the relation's tuple descriptor.
    pub unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some((sorter, sorted)) = self.local else { return false };
        // SAFETY: both slots have the relation's descriptor, by the caller's guarantee. `ExecCopySlot` is an inline function
        // in C; the guard turns a longjmp out of its callback into a panic.
        unsafe {
            if pg_sys::tuplesort_gettupleslot(sorter, true, false, sorted, std::ptr::null_mut())
                && let Some(copy) = (*(*slot).tts_ops).copyslot
            {
                pg_sys::ffi::pg_guard_ffi_boundary(|| copy(slot, sorted));
            }
        }
        true
    }
}

/// A copy of a datum in the current memory context, as `datumCopy` makes it.
///
/// # Safety
/// `value` is a datum, not NULL, of a type with `typbyval` `by_value` and `typlen` `length`.
unsafe fn copied(value: pg_sys::Datum, by_value: bool, length: i32) -> pg_sys::Datum {
    // SAFETY: by the caller's guarantee a positive `length` is the size of what `value` points to, and a negative one means
    // a varlena, which holds its size. The keys' types have no cstring among them.
    unsafe {
        match usize::try_from(length) {
            _ if by_value => value,
            Ok(length) => {
                let copy: *mut u8 = pg_sys::palloc(length).cast();
                std::ptr::copy_nonoverlapping(value.cast_mut_ptr::<u8>(), copy, length);
                pg_sys::Datum::from(copy)
            }
            Err(_) => pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(value.cast_mut_ptr())),
        }
    }
}

/// The btree operator that sorts by the key.
///
/// # Safety
/// `attribute` is that of the key, in an open relation.
unsafe fn operator(attribute: &pg_sys::FormData_pg_attribute, key: &SortKey) -> pg_sys::Oid {
    // SAFETY: the type of the caller's attribute exists. PostgreSQL never frees an entry of the type cache.
    unsafe {
        let flags = pg_sys::TYPECACHE_LT_OPR | pg_sys::TYPECACHE_GT_OPR;
        let entry = pg_sys::lookup_type_cache(attribute.atttypid, flags as i32);
        if key.descending { (*entry).gt_opr } else { (*entry).lt_opr }
    }
}
