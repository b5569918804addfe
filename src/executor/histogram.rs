//! The distribution of columns whose values follow the order of a table, such as the dates of documents, for ANALYZE of a sample
//! of a few places.
//!
//! The sample has many rows of a few days, and none of the days between. So PostgreSQL takes these days for common values, or for
//! most of a histogram, and finds nearly no rows of the others. The places are spread evenly, so their first values are the
//! bounds of a histogram of the table.

use std::cmp::Ordering;

use pgrx::prelude::*;

/// The number of slots for statistics of a column.
const SLOTS: usize = 5;
/// Fewer bounds are no histogram.
const FEWEST: usize = 3;
/// What PostgreSQL's correlation between the values and the order of the sample is at least if values follow that order.
const FOLLOWS: f32 = 0.9;

/// The first rows of the places, and the last row of all.
pub struct Bounds {
    descriptor: pg_sys::TupleDesc,
    rows: Vec<pg_sys::HeapTuple>,
}

impl Bounds {
    /// Copies rows of a table for as long as the transaction lasts.
    ///
    /// # Safety
    /// The tuples have the descriptor, and a transaction is in progress.
    pub unsafe fn copy(rows: impl Iterator<Item = pg_sys::HeapTuple>, descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller guarantees the tuples; the context lives until the transaction has ended.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopTransactionContext);
            let bounds = Self {
                descriptor: pg_sys::CreateTupleDescCopy(descriptor),
                rows: rows.map(|row| pg_sys::heap_copytuple(row)).collect(),
            };
            pg_sys::MemoryContextSwitchTo(before);
            bounds
        }
    }

    /// A tuple of `pg_statistic` with a histogram of these bounds in place of other ones and of common values; `None` if the
    /// values of the column do not follow the order of the table.
    ///
    /// # Safety
    /// `tuple` is of `pg_statistic`, which is open as `catalog`, and of the column `attribute`.
    pub unsafe fn histogram(
        &self,
        tuple: pg_sys::HeapTuple,
        catalog: pg_sys::Relation,
        attribute: i16,
    ) -> Option<pg_sys::HeapTuple> {
        // SAFETY: the caller guarantees the tuple, whose fixed part has five members of each of these kinds in a row. The
        // descriptor has the attribute.
        unsafe {
            let statistics = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_statistic>();
            let kinds = std::slice::from_raw_parts(&raw const (*statistics).stakind1, SLOTS);
            let operators = std::slice::from_raw_parts(&raw const (*statistics).staop1, SLOTS);
            let collations = std::slice::from_raw_parts(&raw const (*statistics).stacoll1, SLOTS);
            let slot_of = |kind: u32| kinds.iter().position(|found| *found as u32 == kind);
            let [common, histogram, correlation] = [
                pg_sys::STATISTIC_KIND_MCV,
                pg_sys::STATISTIC_KIND_HISTOGRAM,
                pg_sys::STATISTIC_KIND_CORRELATION,
            ]
            .map(slot_of);
            // Of a type that can be sorted there is a correlation, by the type's <.
            let correlation = correlation.filter(|_| follows(tuple))?;
            let target = histogram.or(common).or_else(|| slot_of(0))?;
            let ty = pg_sys::get_atttype((*statistics).starelid, attribute);
            let bounds = self.sorted(attribute, ty, collations[correlation])?;
            let mut values = [pg_sys::Datum::from(0); pg_sys::Natts_pg_statistic as usize];
            let mut nulls = [false; pg_sys::Natts_pg_statistic as usize];
            let mut replaced = [false; pg_sys::Natts_pg_statistic as usize];
            let mut set = |first: u32, slot: usize, value: Option<pg_sys::Datum>| {
                let column = first as usize - 1 + slot;
                values[column] = value.unwrap_or(pg_sys::Datum::from(0));
                (nulls[column], replaced[column]) = (value.is_none(), true);
            };
            for slot in [common, histogram, Some(target)].into_iter().flatten() {
                let is_target = slot == target;
                let kind = if is_target { pg_sys::STATISTIC_KIND_HISTOGRAM as i16 } else { 0 };
                let used = |oid: pg_sys::Oid| if is_target { oid } else { pg_sys::InvalidOid };
                set(pg_sys::Anum_pg_statistic_stakind1, slot, Some(kind.into()));
                set(pg_sys::Anum_pg_statistic_staop1, slot, Some(used(operators[correlation]).into()));
                set(pg_sys::Anum_pg_statistic_stacoll1, slot, Some(used(collations[correlation]).into()));
                set(pg_sys::Anum_pg_statistic_stanumbers1, slot, None);
                set(pg_sys::Anum_pg_statistic_stavalues1, slot, Some(bounds).filter(|_| is_target));
            }
            let descriptor = (*catalog).rd_att;
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            Some(pg_sys::heap_modify_tuple(tuple, descriptor, values, nulls, replaced.as_mut_ptr()))
        }
    }

    /// The values of a column in these rows, sorted, as an array.
    ///
    /// # Safety
    /// The descriptor has the attribute, which is of the type `ty`, and the collation is one of the type.
    unsafe fn sorted(
        &self,
        attribute: i16,
        ty: pg_sys::Oid,
        collation: pg_sys::Oid,
    ) -> Option<pg_sys::Datum> {
        // SAFETY: the caller guarantees the attribute. The entry of the cache of types lives as long as the backend, and its
        // function compares values of the type.
        unsafe {
            let known = pg_sys::lookup_type_cache(ty, pg_sys::TYPECACHE_CMP_PROC_FINFO as i32);
            if (*known).cmp_proc_finfo.fn_oid == pg_sys::InvalidOid {
                return None;
            }
            let value = |row: &pg_sys::HeapTuple| {
                let mut is_null = false;
                let value = pg_sys::heap_getattr(*row, i32::from(attribute), self.descriptor, &mut is_null);
                (!is_null).then_some(value)
            };
            let mut values: Vec<pg_sys::Datum> = self.rows.iter().filter_map(value).collect();
            values.sort_by(|one, other| {
                let compare = &raw mut (*known).cmp_proc_finfo;
                match pg_sys::FunctionCall2Coll(compare, collation, *one, *other).value() as i32 {
                    ..0 => Ordering::Less,
                    0 => Ordering::Equal,
                    1.. => Ordering::Greater,
                }
            });
            if values.len() < FEWEST {
                return None;
            }
            let array = pg_sys::construct_array(
                values.as_mut_ptr(),
                values.len() as i32,
                ty,
                (*known).typlen.into(),
                (*known).typbyval,
                (*known).typalign,
            );
            Some(pg_sys::Datum::from(array))
        }
    }
}

/// Whether the values of a column follow the order of the sample, or its reverse.
///
/// # Safety
/// `tuple` is of `pg_statistic`.
unsafe fn follows(tuple: pg_sys::HeapTuple) -> bool {
    // SAFETY: the caller guarantees the tuple. The slot is a local, filled before its numbers are read, and freed after.
    unsafe {
        let mut slot = pg_sys::AttStatsSlot::default();
        let kind = pg_sys::STATISTIC_KIND_CORRELATION as i32;
        let numbers = pg_sys::ATTSTATSSLOT_NUMBERS as i32;
        if !pg_sys::get_attstatsslot(&raw mut slot, tuple, kind, pg_sys::InvalidOid, numbers) {
            return false;
        }
        let follows = slot.nnumbers == 1 && (*slot.numbers).abs() >= FOLLOWS;
        pg_sys::free_attstatsslot(&raw mut slot);
        follows
    }
}
