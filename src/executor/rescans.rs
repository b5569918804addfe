//! How a scan that is begun again with other values reads its rows: those of the values each time, or those of all values once.

use acumatica_client::ScanStats;
use acumatica_pushdown::{Condition, Costs, ScanPlan};
use pgrx::prelude::*;

use crate::executor::expression::Expression;

/// What a scan knows of its rescans.
#[derive(Debug)]
pub struct Rescans {
    way: Way,
    /// [`ScanPlan::all_rows`].
    all_rows: f64,
    /// [`ScanPlan::costs`].
    costs: Costs,
    /// [`ScanPlan::width`].
    width: usize,
    /// The executor's parameters that have changed between rescans.
    varying: *mut pg_sys::Bitmapset,
}

/// How a rescan with changed values reads the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It filters by the values.
    Filtered,
    /// It reads the rows of all values once, and keeps them.
    Unfiltered,
    /// It filters by the values for good: the rows of all values were too large to keep.
    TooLarge,
}

impl Rescans {
    pub fn new(plan: &ScanPlan) -> Self {
        Self {
            way: Way::Filtered,
            all_rows: plan.all_rows as f64,
            costs: plan.costs,
            width: plan.width as usize,
            varying: std::ptr::null_mut(),
        }
    }

    /// Notes the parameters that have changed since the last start.
    ///
    /// # Safety
    /// `changed` is null or a set; the current memory context is the query's.
    pub unsafe fn note(&mut self, changed: *mut pg_sys::Bitmapset) {
        // SAFETY: the caller guarantees the set; `varying` is null or was made here, in the same context.
        self.varying = unsafe { pg_sys::bms_add_members(self.varying, changed) };
    }

    /// Decides how the rows of new values are read, after a scan of pages of `page_size` rows has cost `spent`. They are read
    /// for all values if that would have been cheaper by now, and they are likely to find room in `work_mem`.
    pub fn decide(&mut self, spent: ScanStats, page_size: u32) {
        let spent = self.costs.of(spent.requests as f64, spent.rows as f64);
        let is_cheaper = spent >= self.costs.of_scan(self.all_rows, page_size);
        if self.way == Way::Filtered && is_cheaper && self.all_rows * self.width as f64 <= most_kept() as f64
        {
            self.way = Way::Unfiltered;
        }
    }

    /// Whether the rows of all values were read, and why or why not; `None` if that was not tried.
    pub fn all_rows_read(&self) -> Option<&'static str> {
        match self.way {
            Way::Filtered => None,
            Way::Unfiltered => Some("it is cheaper than the values of further rescans"),
            Way::TooLarge => Some("begun, but they find no room in work_mem"),
        }
    }

    /// Whether the rows of all values are read.
    pub fn are_unfiltered(&self) -> bool {
        self.way == Way::Unfiltered
    }

    /// Filters from now on: the rows of all values were too large to keep.
    pub fn give_up(&mut self) {
        self.way = Way::TooLarge;
    }

    /// The conditions that are the same for all values.
    pub fn fixed(&self, conditions: &[Condition<Expression>]) -> Vec<Condition<Expression>> {
        let is_fixed = |condition: &&Condition<Expression>| {
            let mut fixed = true;
            let _ = (*condition).clone().map(&mut |expression: Expression| {
                // SAFETY: the sets of the expressions and `varying` live as long as the query.
                fixed &= unsafe { !expression.depends_on(self.varying) };
            });
            fixed
        };
        conditions.iter().filter(is_fixed).cloned().collect()
    }
}

/// The most bytes of rows that are kept for rescans with other values: `work_mem`.
pub fn most_kept() -> usize {
    // SAFETY: a variable of this backend, in kB, which only settings change.
    unsafe { pg_sys::work_mem as usize * 1024 }
}
