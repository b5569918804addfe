//! The outer rows of a key join in memory, and their distinct keys.

use std::cmp::Ordering;
use std::collections::HashMap;

use acumatica_pushdown::{Literal, sort_order};
use pgrx::prelude::*;

/// The outer rows in memory.
pub struct Buffer {
    /// The tuples are in this memory context.
    pub context: pg_sys::MemoryContext,
    pub rows: Vec<Row>,
    /// Rows by the hash of what they compare.
    pub by_hash: HashMap<u32, Vec<usize>>,
    /// The distinct keys.
    pub keys: Vec<DistinctKey>,
    pub by_key: HashMap<Vec<Literal>, usize>,
    /// The first key that the inner scan was not asked for.
    pub next_key: usize,
    /// Rows that match nothing, since a value that they compare is NULL.
    pub without_key: Vec<usize>,
    /// The bytes of the keys and of what finds rows, roughly.
    pub index_bytes: usize,
    /// The number of keys when the pending ones were sorted last, and by which columns.
    pub sorted: (usize, Vec<usize>),
    /// A value cannot be sent, so the server must be asked for all rows.
    pub unsendable: bool,
}

pub struct Row {
    pub tuple: pg_sys::MinimalTuple,
    pub key: usize,
    pub matched: bool,
}

pub struct DistinctKey {
    pub values: Vec<Literal>,
    pub rows: Vec<usize>,
}

impl Buffer {
    /// An empty buffer, whose tuples will be in `context`.
    pub fn new(context: pg_sys::MemoryContext) -> Self {
        Self {
            context,
            rows: Vec::new(),
            by_hash: HashMap::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            next_key: 0,
            without_key: Vec::new(),
            index_bytes: 0,
            sorted: (0, Vec::new()),
            unsendable: false,
        }
    }

    pub fn clear(&mut self) {
        // SAFETY: the context was made for this buffer, and lives as long as the query; `rows`, which point into it, are
        // dropped below.
        unsafe { pg_sys::MemoryContextReset(self.context) };
        self.rows.clear();
        self.by_hash.clear();
        self.keys.clear();
        self.by_key.clear();
        self.without_key.clear();
        self.next_key = 0;
        self.index_bytes = 0;
        self.sorted = (0, Vec::new());
        self.unsendable = false;
    }

    pub fn pending(&self) -> usize {
        self.keys.len() - self.next_key
    }

    /// Whether the rows fill `work_mem`.
    pub fn is_full(&self) -> bool {
        // SAFETY: the context lives as long as the buffer; `work_mem` is a variable of this backend, in kB.
        unsafe {
            let tuples = pg_sys::MemoryContextMemAllocated(self.context, false);
            (tuples + self.index_bytes) / 1024 >= pg_sys::work_mem as usize
        }
    }

    /// Sorts the pending keys, of which the column `listed` is compared with a list, so that a block of neighbours needs a short condition, unless they are sorted. Returns the columns
    /// by which they are.
    pub fn sort(&mut self, listed: usize) -> &[usize] {
        if self.sorted.0 != self.keys.len() {
            let pending = self.keys[self.next_key..].iter();
            let pending: Vec<_> = pending.map(|key| key.values.as_slice()).collect();
            let columns = sort_order(&pending, listed);
            self.sort_by(&columns);
            self.sorted = (self.keys.len(), columns);
        }
        &self.sorted.1
    }

    fn sort_by(&mut self, columns: &[usize]) {
        let number = |value: &Literal| match value {
            Literal::Integer(digits) => digits.parse::<i64>().ok(),
            _ => None,
        };
        let pending = &mut self.keys[self.next_key..];
        pending.sort_by(|one, other| {
            let compared = columns.iter().map(|column| {
                let (one, other) = (&one.values[*column], &other.values[*column]);
                number(one).cmp(&number(other)).then_with(|| one.text().cmp(&other.text()))
            });
            compared.fold(Ordering::Equal, Ordering::then)
        });
        for (at, key) in pending.iter().enumerate() {
            let at = self.next_key + at;
            for row in &key.rows {
                self.rows[*row].key = at;
            }
            self.by_key.insert(key.values.clone(), at);
        }
    }

    /// Adds a row. Without a hash it matches nothing; without values its key cannot be sent.
    pub fn put(&mut self, tuple: pg_sys::MinimalTuple, hash: Option<u32>, values: Option<Vec<Literal>>) {
        /// Of a row: itself, its index in two lists, and its part of a hash table.
        const ROW: usize = 80;
        /// Of a key, which is in a list and in a hash table, besides its values.
        const KEY: usize = 160;
        let row = self.rows.len();
        self.index_bytes += ROW;
        let Some(hash) = hash else {
            self.rows.push(Row { tuple, key: usize::MAX, matched: false });
            self.without_key.push(row);
            return;
        };
        // A key that cannot be sent is one of its own.
        self.unsendable |= values.is_none();
        let known = values.as_ref().and_then(|values| self.by_key.get(values).copied());
        // A row that comes after the block of its key needs the inner rows once more.
        let known = known.filter(|key| *key >= self.next_key);
        let key = known.unwrap_or_else(|| {
            let key = self.keys.len();
            let text = |value: &Literal| 2 * (size_of::<Literal>() + value.text_len());
            self.index_bytes += KEY + values.iter().flatten().map(text).sum::<usize>();
            if let Some(values) = &values {
                self.by_key.insert(values.clone(), key);
            }
            self.keys.push(DistinctKey { values: values.unwrap_or_default(), rows: Vec::new() });
            key
        });
        self.keys[key].rows.push(row);
        self.rows.push(Row { tuple, key, matched: false });
        self.by_hash.entry(hash).or_default().push(row);
    }
}
