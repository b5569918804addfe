//! Which rows a request gets, and in which order.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::data::value::{Val, compare};
use crate::data::{Data, Order};
use crate::filter::eval::{Expr, Field};

/// Rows looked at before other requests get their turn.
const BUDGET: u32 = 4096;

pub struct Cursor {
    pub data: Arc<Data>,
    rows: Order,
    at: u64,
    filter: Option<Expr>,
    skip: u64,
    left: u64,
}

pub enum Next {
    Row(u64),
    /// Nothing found yet; ask again.
    Pending,
    End,
}

impl Cursor {
    /// The rows of `rows` that pass the filter, but the first `skip`, and no more than `top`.
    pub fn new(data: Arc<Data>, rows: Order, filter: Option<Expr>, skip: u64, top: u64) -> Cursor {
        let mut cursor = Cursor { data, rows, at: 0, filter, skip, left: top };
        if cursor.filter.is_none() {
            cursor.at = skip;
            cursor.skip = 0;
        }
        cursor
    }

    pub fn next(&mut self) -> Next {
        if self.left == 0 {
            return Next::End;
        }
        for _ in 0..BUDGET {
            if self.at >= self.rows.len() {
                return Next::End;
            }
            let row = self.rows.row(self.at);
            self.at += 1;
            if self.filter.as_ref().is_some_and(|f| !f.is_true(&self.data, row)) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.left -= 1;
            return Next::Row(row);
        }
        Next::Pending
    }

    /// Lets one more row through than asked for.
    pub fn has_more(&mut self) -> bool {
        self.left += 1;
        loop {
            match self.next() {
                Next::Row(_) => return true,
                Next::Pending => {}
                Next::End => return false,
            }
        }
    }

    pub fn count(mut self) -> u64 {
        let mut count = 0;
        loop {
            match self.next() {
                Next::Row(_) => count += 1,
                Next::Pending => {}
                Next::End => return count,
            }
        }
    }
}

/// The rows that pass the filter, sorted; no value comes first, ties stay in the order of the key.
/// `wanted` is how many from the start will be read.
pub fn sorted(data: &Data, rows: &Order, filter: Option<&Expr>, by: &[(Field, bool)], wanted: u64) -> Order {
    let mut found: Vec<(Vec<Val>, u64, u64)> = Vec::new();
    for index in 0..rows.len() {
        let row = rows.row(index);
        if filter.is_none_or(|f| f.is_true(data, row)) {
            found.push((by.iter().map(|(field, _)| field.value(data, row)).collect(), index, row));
        }
    }
    let order = |a: &(Vec<Val>, u64, u64), b: &(Vec<Val>, u64, u64)| {
        for (i, (_, descending)) in by.iter().enumerate() {
            let order = compare(&a.0[i], &b.0[i]).unwrap_or(Ordering::Equal);
            if order != Ordering::Equal {
                return if *descending { order.reverse() } else { order };
            }
        }
        a.1.cmp(&b.1)
    };
    let wanted = wanted.min(found.len() as u64) as usize;
    if wanted > 0 && wanted < found.len() {
        found.select_nth_unstable_by(wanted - 1, order);
        found.truncate(wanted);
    }
    found.sort_unstable_by(order);
    Order::Moved(Arc::new(found.into_iter().map(|f| f.2).collect()))
}
