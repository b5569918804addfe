//! How many different values each column has, and how they are spread, for ANALYZE of a sample of a few places.
//!
//! PostgreSQL takes the sample for a random one, in which rows that lie beside each other in the table do not occur. So for the
//! number of an order in its lines, for example, it finds as many values as the places have. There is no way to tell it better
//! while it computes the statistics; so their numbers are replaced before the transaction ends.

use std::hash::{DefaultHasher, Hasher};

use acumatica_pushdown::{Sampled, Spread, spread};
use pgrx::prelude::*;
use pgrx::{PgXactCallbackEvent, register_xact_callback, varlena};

use crate::catalog::option::option_list;
use crate::executor::histogram::Bounds;

/// The values of the sample, as hashes.
pub struct Values {
    columns: Vec<Column>,
    /// The place of each row.
    places: Vec<u32>,
}

struct Column {
    attribute: i16,
    by_value: bool,
    length: i16,
    /// The hash of each row's value, unless it is NULL.
    hashes: Vec<Option<u32>>,
}

/// What replaces the statistics of a column.
struct Better {
    attribute: i16,
    /// The number of different values as `stadistinct` has it: that of the values, or the part of the rows with a minus.
    distinct: f32,
    /// Nearly all values were met in one place each.
    in_one_place: bool,
}

impl Values {
    /// Takes values of rows with this descriptor.
    pub fn new(descriptor: &pgrx::PgTupleDesc) -> Self {
        let columns = descriptor.iter().filter(|attribute| !attribute.attisdropped);
        let columns = columns.map(|attribute| Column {
            attribute: attribute.attnum,
            by_value: attribute.attbyval,
            length: attribute.attlen,
            hashes: Vec::new(),
        });
        Self { columns: columns.collect(), places: Vec::new() }
    }

    /// Takes the values of a row of a place. Rows come in the order of the table, place by place.
    ///
    /// # Safety
    /// `slot` holds a virtual tuple with the descriptor of [`Values::new`], whose values are not toasted.
    pub unsafe fn note(&mut self, place: u32, slot: *mut pg_sys::TupleTableSlot) {
        self.places.push(place);
        for column in &mut self.columns {
            let index = column.attribute as usize - 1;
            // SAFETY: the arrays of a slot have an element for each attribute; a value that is not NULL has the type of its
            // attribute.
            let hash = unsafe {
                let is_null = *(*slot).tts_isnull.add(index);
                (!is_null).then(|| column.hash(*(*slot).tts_values.add(index)))
            };
            column.hashes.push(hash);
        }
    }

    /// Stores better statistics of the `all` rows of a table, once ANALYZE has stored its own.
    ///
    /// # Safety
    /// `rows` are those that were taken, with the descriptor of [`Values::new`], and a transaction is in progress.
    pub unsafe fn store(
        self,
        table: pg_sys::Oid,
        all: f64,
        rows: &[pg_sys::HeapTuple],
        descriptor: pg_sys::TupleDesc,
    ) {
        let places = &self.places;
        let better: Vec<Better> =
            self.columns.iter().filter_map(|column| column.better(places, all)).collect();
        // The last place ends with the table: as many rows lie between its end and the place before as between two places.
        let last = places.last();
        let is_first = |index: usize| index == 0 || places[index - 1] != places[index];
        let is_bound =
            |index: usize| index + 1 == places.len() || is_first(index) && Some(&places[index]) != last;
        let bounds = rows.iter().enumerate().filter(|(index, _)| is_bound(*index)).map(|(_, row)| *row);
        // SAFETY: the caller guarantees the tuples and the transaction.
        let bounds = unsafe { Bounds::copy(bounds, descriptor) };
        register_xact_callback(PgXactCallbackEvent::PreCommit, move || {
            // SAFETY: the transaction that ran ANALYZE is still in progress before it commits.
            unsafe { replace(table, &better, &bounds) }
        });
    }
}

impl Column {
    /// # Safety
    /// `value` is of the column's type, and not toasted.
    unsafe fn hash(&self, value: pg_sys::Datum) -> u32 {
        let mut hasher = DefaultHasher::new();
        // SAFETY: the caller guarantees the type: by value, of a fixed length, a varlena (-1) or a C string (-2).
        unsafe {
            match (self.by_value, self.length) {
                (true, _) => hasher.write_usize(value.value()),
                (false, -1) => hasher.write(varlena::varlena_to_byte_slice(value.cast_mut_ptr())),
                (false, -2) => {
                    hasher.write(std::ffi::CStr::from_ptr(value.cast_mut_ptr()).to_bytes());
                }
                (false, length) => {
                    let bytes: *const u8 = value.cast_mut_ptr();
                    hasher.write(std::slice::from_raw_parts(bytes, usize::try_from(length).unwrap_or(0)));
                }
            }
        }
        hasher.finish() as u32
    }

    /// What is known better than PostgreSQL does, if there are values.
    fn better(&self, places: &[u32], all: f64) -> Option<Better> {
        /// Nearly all.
        const MOST: f64 = 0.9;
        /// PostgreSQL takes a number above this part of the rows for one that grows with them.
        const GROWS: f64 = 0.1;
        let rows = places.iter().zip(&self.hashes);
        let sample: Vec<Sampled> =
            rows.filter_map(|(place, hash)| Some(Sampled { place: *place, hash: (*hash)? })).collect();
        let filled = all * sample.len() as f64 / places.len().max(1) as f64;
        let Spread { distinct, in_one_place } = spread(&sample, filled);
        let is_growing = distinct > all * GROWS;
        let number = if is_growing { -(distinct / all) } else { distinct.round() };
        (!sample.is_empty()).then_some(Better {
            attribute: self.attribute,
            distinct: number as f32,
            in_one_place: in_one_place > MOST,
        })
    }
}

/// Replaces the numbers of different values in the statistics that this transaction has written, and the distribution of values
/// that follow the order of the table. It leaves a number alone that the user has set, and that of a type without an equality.
///
/// # Safety
/// A transaction is in progress.
unsafe fn replace(table: pg_sys::Oid, better: &[Better], bounds: &Bounds) {
    // SAFETY: the catalog stays open while its rows are changed. The copies of tuples are of `pg_statistic`, and changed in the
    // part of fixed length. ANALYZE keeps its lock of the table until the transaction ends, so nobody else changes them.
    unsafe {
        // So that what ANALYZE has written can be read.
        pg_sys::CommandCounterIncrement();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let catalog = pg_sys::table_open(pg_sys::StatisticRelationId, pg_sys::RowExclusiveLock as i32);
        for Better { attribute, distinct, in_one_place } in better {
            let tuple = pg_sys::SearchSysCacheCopy(
                pg_sys::SysCacheIdentifier::STATRELATTINH as i32,
                table.into(),
                (*attribute).into(),
                false.into(),
                pg_sys::Datum::from(0),
            );
            if tuple.is_null() {
                continue;
            }
            let is_new =
                pg_sys::TransactionIdIsCurrentTransactionId((*(*tuple).t_data).t_choice.t_heap.t_xmin);
            let statistics = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_statistic>();
            if is_new && (*statistics).stadistinct != 0.0 && !is_set_by_user(table, *attribute) {
                (*statistics).stadistinct = *distinct;
            }
            if is_new && (*statistics).stadistinct != 0.0 {
                let histogram = in_one_place.then(|| bounds.histogram(tuple, catalog, *attribute)).flatten();
                let new = histogram.unwrap_or(tuple);
                pg_sys::CatalogTupleUpdate(catalog, &raw mut (*new).t_self, new);
            }
            pg_sys::heap_freetuple(tuple);
        }
        pg_sys::table_close(catalog, pg_sys::NoLock as i32);
        pg_sys::PopActiveSnapshot();
    }
}

/// Whether the user has set the number of a column by `ALTER COLUMN … SET (n_distinct = …)`.
///
/// # Safety
/// A transaction is in progress.
unsafe fn is_set_by_user(table: pg_sys::Oid, attribute: i16) -> bool {
    let cache = pg_sys::SysCacheIdentifier::ATTNUM as i32;
    let none = pg_sys::Datum::from(0);
    // SAFETY: the keys of ATTNUM are an oid and a number. The options are copied before the tuple is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache(cache, table.into(), attribute.into(), none, none);
        if tuple.is_null() {
            return false;
        }
        let mut is_null = true;
        let column = pg_sys::Anum_pg_attribute_attoptions as i16;
        let options = pg_sys::SysCacheGetAttr(cache, tuple, column, &raw mut is_null);
        let options = if is_null { Vec::new() } else { option_list(pg_sys::untransformRelOptions(options)) };
        pg_sys::ReleaseSysCache(tuple);
        options.iter().any(|(name, _)| name == "n_distinct")
    }
}
