//! The deterministic ERP data set: rows are computed when they are read, never stored.

pub mod calendar;
mod cells;
pub mod generator;
pub mod german;
pub mod rng;
pub mod schema;
pub mod stored;
pub mod value;
pub mod words;

use std::ops::Range;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use rng::{mix, salt_of};
use schema::{Hidden, How, Link, Role, Schema};
use value::Val;

/// Marks the number of a row that a test inserted through `/__sim/rows`.
pub const INSERTED: u64 = 1 << 62;

struct Inserted {
    base: u64,
    suffix: String,
}

/// One tenant's data.
pub struct Data {
    pub schema: &'static Schema,
    seed: u64,
    counts: Vec<u64>,
    /// Per table, the first row of each block.
    starts: Vec<Vec<u64>>,
    inserted: RwLock<Vec<Inserted>>,
    /// Per table, the order of rows once a test has moved it; the natural order otherwise.
    orders: RwLock<Vec<Option<Arc<Vec<u64>>>>>,
    /// Table, id and moment of the rows that tests have deleted.
    deleted: RwLock<Vec<(usize, u128, i64)>>,
}

/// Which of the hidden rows are wanted.
#[derive(Clone, Copy, Default)]
pub struct Shown {
    pub archived: bool,
    pub deleted: bool,
}

/// The rows of a table as they stood when a request began.
#[derive(Clone)]
pub enum Order {
    Natural(u64),
    Moved(Arc<Vec<u64>>),
}

impl Order {
    pub fn len(&self) -> u64 {
        match self {
            Order::Natural(count) => *count,
            Order::Moved(rows) => rows.len() as u64,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn contains(&self, row: u64) -> bool {
        match self {
            Order::Natural(count) => row < *count,
            Order::Moved(rows) => rows.contains(&row),
        }
    }

    pub fn row(&self, index: u64) -> u64 {
        match self {
            Order::Natural(_) => index,
            Order::Moved(rows) => rows[index as usize],
        }
    }
}

impl Data {
    /// The tenant `Company` has the data of the bare seed; every other tenant has its own.
    pub fn new(schema: &'static Schema, seed: u64, scale: f64, tenant: &str) -> Data {
        let salt =
            if tenant.eq_ignore_ascii_case("Company") { 0 } else { salt_of(&[&tenant.to_lowercase()]) };
        let mut counts: Vec<u64> = Vec::new();
        for table in &schema.tables {
            counts.push(match &table.role {
                Role::Entity { rows, scaled: true } => ((*rows as f64 * scale).round() as u64).max(1),
                Role::Entity { rows, .. } | Role::Stored { rows } => *rows,
                Role::Setup => 1,
                _ => 0,
            });
        }
        // Details of details would need a second pass; there are none.
        for (t, table) in schema.tables.iter().enumerate() {
            if let Role::Detail { parent, before } = &table.role {
                let (per, last) = (before.len() as u64 - 1, before[before.len() - 1]);
                counts[t] = counts[*parent] / per * last + before[(counts[*parent] % per) as usize];
            }
        }
        let starts = schema.tables.iter().zip(&counts).map(|(table, count)| {
            let total: u64 = table.blocks.iter().map(|b| b.1).sum();
            let mut sum = 0;
            let mut starts = vec![0];
            for (_, weight) in &table.blocks[..table.blocks.len().max(1) - 1] {
                sum += weight;
                starts.push(count * sum / total);
            }
            starts
        });
        Data {
            schema,
            seed: mix(seed ^ salt),
            starts: starts.collect(),
            orders: RwLock::new(vec![None; counts.len()]),
            counts,
            inserted: RwLock::new(Vec::new()),
            deleted: RwLock::default(),
        }
    }

    fn block(&self, t: usize, row: u64) -> usize {
        self.starts[t].partition_point(|start| *start <= row) - 1
    }

    pub fn count(&self, t: usize) -> u64 {
        self.counts[t]
    }

    pub fn order(&self, t: usize) -> Order {
        match &self.orders.read().unwrap()[t] {
            Some(rows) => Order::Moved(rows.clone()),
            None => Order::Natural(self.counts[t]),
        }
    }

    /// The rows of a table with the hidden ones that are wanted, which stand last.
    pub fn order_with(&self, t: usize, shown: Shown) -> Order {
        let order = self.order(t);
        let more = match self.schema.tables[t].hidden {
            Some((Hidden::Archived, every)) if shown.archived => self.counts[t] / every,
            Some((Hidden::Deleted, every)) if shown.deleted => self.counts[t] / every,
            _ => return order,
        };
        match order {
            Order::Natural(count) => Order::Natural(count + more),
            Order::Moved(rows) => {
                let hidden = self.counts[t]..self.counts[t] + more;
                Order::Moved(Arc::new(rows.iter().copied().chain(hidden).collect()))
            }
        }
    }

    /// The row at the other end of a link.
    pub fn follow(&self, t: usize, link: &Link, row: u64) -> u64 {
        let base = || if row & INSERTED != 0 { self.inserted_after(row).0 } else { row };
        match link.how {
            How::Own => ((mix(link.salt) & 0xffff_ffff) << 24) ^ row,
            How::Same => base() % self.counts[link.to].max(1),
            How::Hash => mix(self.seed ^ link.salt ^ mix(row)) % self.counts[link.to].max(1),
            How::Parent => self.parent(t, row),
        }
    }

    fn pattern(&self, t: usize) -> (u64, &[u64]) {
        match &self.schema.tables[t].role {
            Role::Detail { before, .. } => (before.len() as u64 - 1, before),
            _ => (1, &[0, 0]),
        }
    }

    pub fn parent(&self, t: usize, row: u64) -> u64 {
        let (per, before) = self.pattern(t);
        let last = before[before.len() - 1].max(1);
        let within = before.partition_point(|sum| *sum <= row % last) as u64 - 1;
        row / last * per + within
    }

    fn line(&self, t: usize, row: u64) -> u64 {
        row - self.children(t, self.parent(t, row)).start + 1
    }

    /// The rows of detail table `t` that belong to row `parent`; inserted rows have none.
    pub fn children(&self, t: usize, parent: u64) -> Range<u64> {
        if parent & INSERTED != 0 {
            return 0..0;
        }
        let (per, before) = self.pattern(t);
        let start = parent / per * before[before.len() - 1];
        let within = (parent % per) as usize;
        start + before[within]..start + before[within + 1]
    }

    /// The `id` of a row: stable, and it leads back to the row.
    pub fn guid(&self, t: usize, row: u64) -> u128 {
        let salt = self.schema.tables[t].salt;
        let high = mix(self.seed ^ salt ^ mix(row));
        let low = row ^ mix(high ^ salt);
        u128::from(high) << 64 | u128::from(low)
    }

    /// The row of an `id`, if it is one of these.
    pub fn row_of_guid(&self, t: usize, guid: u128, of: &Order) -> Option<u64> {
        let (high, low) = ((guid >> 64) as u64, guid as u64);
        let row = low ^ mix(high ^ self.schema.tables[t].salt);
        (of.contains(row) && self.guid(t, row) == guid).then_some(row)
    }

    fn inserted_after(&self, row: u64) -> (u64, String) {
        let inserted = self.inserted.read().unwrap();
        let entry = &inserted[(row & !INSERTED) as usize];
        (entry.base, entry.suffix.clone())
    }

    /// Puts a new row before position `index`. Its last key is the key of the row before it and a letter, so the
    /// order by key still holds. Only so many fit between two rows; then this refuses.
    pub fn insert_before(&self, t: usize, index: u64) -> Result<(), String> {
        let order = self.order(t);
        if index == 0 || index > order.len() {
            return Err(format!("insert_before must be between 1 and {}", order.len()));
        }
        let previous = order.row(index - 1);
        let (base, stem) = match previous & INSERTED {
            0 => (previous, String::new()),
            _ => self.inserted_after(previous),
        };
        // The neighbour that was inserted behind the same row limits the letter.
        let next = (index < order.len()).then(|| order.row(index)).filter(|row| row & INSERTED != 0);
        let next =
            next.map(|row| self.inserted_after(row).1).and_then(|s| s.strip_prefix(&stem).map(String::from));
        let limit = next.and_then(|s| s.chars().next()).unwrap_or('Z');
        let letter =
            "MGCA0".chars().find(|letter| *letter < limit).ok_or("no key fits between these rows")?;
        let mut inserted = self.inserted.write().unwrap();
        inserted.push(Inserted { base, suffix: format!("{stem}{letter}") });
        let row = INSERTED | (inserted.len() as u64 - 1);
        drop(inserted);
        let mut rows: Vec<u64> = (0..order.len()).map(|i| order.row(i)).collect();
        rows.insert(index as usize, row);
        self.orders.write().unwrap()[t] = Some(Arc::new(rows));
        Ok(())
    }

    /// Deletes the row at `index` and its details.
    pub fn delete(&self, t: usize, index: u64) -> Result<(), String> {
        let order = self.order(t);
        if index >= order.len() {
            return Err(format!("delete must be below {}", order.len()));
        }
        let gone = order.row(index);
        let keep = |order: Order, drop: &dyn Fn(u64) -> bool| {
            Some(Arc::new((0..order.len()).map(|i| order.row(i)).filter(|row| !drop(*row)).collect()))
        };
        for (child, table) in self.schema.tables.iter().enumerate() {
            if matches!(table.role, Role::Detail { parent, .. } if parent == t) {
                let lines = self.children(child, gone);
                let moved = keep(self.order(child), &|row| lines.contains(&row));
                self.orders.write().unwrap()[child] = moved;
            }
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.deleted.write().unwrap().push((t, self.guid(t, gone), now.as_micros() as i64));
        let moved = keep(order, &|row| row == gone);
        self.orders.write().unwrap()[t] = moved;
        Ok(())
    }

    /// Ids of the deleted rows of a table, and when they were deleted in microseconds since 1970.
    pub fn deleted(&self, t: usize) -> Vec<(u128, i64)> {
        let deleted = self.deleted.read().unwrap();
        deleted.iter().filter(|d| d.0 == t).map(|(_, id, when)| (*id, *when)).collect()
    }

    /// Back to the natural order.
    pub fn reset_rows(&self) {
        self.deleted.write().unwrap().clear();
        self.orders.write().unwrap().fill(None);
    }
}

/// From a table's row to a value: the hops, then the column.
#[derive(Clone, Debug)]
pub struct Access {
    pub hops: Vec<(usize, usize)>,
    pub table: usize,
    pub col: usize,
}

impl Access {
    /// Resolves `Link/Link/Column` from a table.
    pub fn resolve(schema: &Schema, start: usize, path: &str) -> Option<Access> {
        let mut access = Access { hops: Vec::new(), table: start, col: 0 };
        let (links, col) = path.rsplit_once('/').map_or((None, path), |(a, b)| (Some(a), b));
        for name in links.into_iter().flat_map(|l| l.split('/')) {
            let table = &schema.tables[access.table];
            let number = table.links.iter().position(|l| l.name == name)?;
            access.hops.push((access.table, number));
            access.table = table.links[number].to;
        }
        access.col = schema.tables[access.table].col(col)?;
        Some(access)
    }

    pub fn value(&self, data: &Data, mut row: u64) -> Val {
        for (table, link) in &self.hops {
            row = data.follow(*table, &data.schema.tables[*table].links[*link], row);
        }
        data.value(self.table, self.col, row)
    }

    pub fn col<'s>(&self, schema: &'s Schema) -> &'s schema::Col {
        &schema.tables[self.table].cols[self.col]
    }
}

#[cfg(test)]
mod tests;
