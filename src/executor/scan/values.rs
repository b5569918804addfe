//! What a start of a scan requests: the rows of the values that its parameters and conditions have now, those of the keys that a key
//! join asks for, or those of all values once, if that is cheaper for the rescans to come.

use std::task::Poll;

use acumatica_pushdown::{Condition, Dialect, Literal, Outcome, Writing, of_keys, outcome};
use pgrx::prelude::*;

use super::{Expected, Keys, REPLAY_BYTES, Scan};
use crate::backend::error::or_raise;
use crate::catalog::connection;
use crate::executor::analyze::Reader;
use crate::executor::expression::Expression;
use crate::executor::received::Received;
use crate::executor::rescans::most_kept;

impl Scan {
    /// Evaluates the inquiry parameters and the filter. If neither has changed, the rows already received stay valid.
    ///
    /// # Safety
    /// `node` is the node of this scan.
    pub(super) unsafe fn evaluate_values(&mut self, node: *mut pg_sys::ForeignScanState) {
        if !std::mem::take(&mut self.params_changed) {
            return;
        }
        // SAFETY: the arguments were initialised for this scan's node, which the caller passes.
        let calls = unsafe { self.runtime.arguments.calls(node, &self.request) };
        // SAFETY: so were the expressions of the conditions.
        let values = |expression: &Expression| unsafe { expression.values(node.cast()) };
        let by_values = outcome(&self.runtime.conditions, &values);
        // The condition on the keys first: it must find room in the request.
        let by_values = self.of_keys().and(by_values);
        let is_new = |this: &Self, outcome: &Outcome| match outcome {
            Outcome::Filter(filter) => this.request.filter.as_ref() != Some(filter),
            Outcome::AnyRow => this.request.filter.is_some(),
            Outcome::NoRow => true,
        };
        if !self.rescans.are_unfiltered() {
            if self.started && calls == self.request.calls && !is_new(self, &by_values) {
                return;
            }
            let is_first = !self.started;
            self.remember();
            self.ask(calls.clone(), by_values.clone());
            if self.recall() || is_first {
                return;
            }
            if self.request.parameters.is_empty() && self.runtime.join_keys.is_empty() {
                self.rescans.decide(self.costs().0, self.table.page_size);
            }
        }
        if self.rescans.are_unfiltered() {
            let of_all = outcome(&self.rescans.fixed(&self.runtime.conditions), &values);
            if self.started && !is_new(self, &of_all) {
                return;
            }
            self.request.in_one_piece = false;
            self.ask(calls.clone(), of_all);
            if !self.load() {
                self.rescans.give_up();
                self.request.in_one_piece = self.few_rows;
                self.ask(calls, by_values);
            }
        }
    }

    /// Keeps the rows for the case that their values come again, if all of them were received.
    fn remember(&mut self) {
        let is_whole = self.started && self.running.is_none() && !self.received.is_too_large();
        if is_whole && self.runtime.join_keys.is_empty() {
            let rows = std::mem::replace(&mut self.received, Received::new(REPLAY_BYTES));
            self.remembered.keep(&self.request, rows, most_kept());
        }
    }

    /// Goes back to the rows of the request, if they were kept.
    fn recall(&mut self) -> bool {
        let Some(rows) = self.remembered.take(&self.request) else { return false };
        self.received = rows;
        self.started = true;
        true
    }

    /// Sets the calls and the filter of the request, and starts over.
    fn ask(&mut self, calls: Vec<Vec<Option<Literal>>>, outcome: Outcome) {
        (self.request.calls, self.request.filter) = match outcome {
            Outcome::Filter(filter) => (calls, Some(filter)),
            Outcome::AnyRow => (calls, None),
            Outcome::NoRow => (Vec::new(), None),
        };
        self.runtime.sorting.restart();
        self.reset();
    }

    /// Reads all rows before the first one is returned; false if they are too large to keep. The server is not asked to sort
    /// them, since they may be more than a page: see the head of `order.rs`.
    fn load(&mut self) -> bool {
        self.received = Received::new(most_kept());
        let order = std::mem::take(&mut self.request.order);
        let first_page = std::mem::replace(&mut self.request.first_page, self.request.page_size);
        loop {
            match self.poll() {
                Poll::Ready(Some(batch)) => self.received.push(batch),
                Poll::Ready(None) => return true,
                Poll::Pending => self.wait(),
            }
            if self.received.is_too_large() {
                self.request.order = order;
                self.request.first_page = first_page;
                return false;
            }
        }
    }

    /// The condition on the keys of a join.
    fn of_keys(&self) -> Outcome {
        let Some(keys) = &self.keys else { return Outcome::AnyRow };
        let values: Vec<&[Literal]> = keys.values.iter().map(Vec::as_slice).collect();
        of_keys(&self.runtime.join_keys, &values, keys.listed)
    }

    /// How the conditions of this scan are written, with the room that a condition on keys has beside the others.
    ///
    /// # Safety
    /// `node` is the node of this scan.
    pub unsafe fn writing(&self, node: *mut pg_sys::ForeignScanState) -> Writing {
        let mut writing = connection::writing(&self.table.server, self.user, &self.request);
        // SAFETY: the expressions of the conditions were initialised for this scan's node.
        let values = |expression: &Expression| unsafe { expression.values(node.cast()) };
        if let Outcome::Filter(filter) = outcome(&self.runtime.conditions, &values) {
            writing.room = filter.room_beside(&writing);
        }
        writing
    }

    /// The conditions of a key join, for which [`Scan::ask_for`] takes values.
    pub fn join_keys(&self) -> &[Condition<usize>] {
        &self.runtime.join_keys
    }

    /// The dialect of the conditions.
    pub fn dialect(&self) -> Dialect {
        self.table.dialect
    }

    /// Whether the table has more than `rows` rows, whatever the conditions are; `None` if its rows have no positions, or the
    /// server refuses to skip rows.
    pub fn has_more(&mut self, rows: u64) -> Option<bool> {
        let position = u32::try_from(rows).ok().filter(|_| self.table.can_skip_rows())?;
        let reader = Reader::new(&self.table, self.user, self.request.allowance.clone());
        let found = or_raise(reader.has_row(position));
        self.past += reader.spent();
        found
    }

    /// Sets the keys that the next rescan reads the rows of; without, it reads all rows.
    pub fn ask_for(&mut self, keys: Option<Keys>, expected: Expected) {
        self.request.in_one_piece = expected.few_rows;
        self.request.more_follow = expected.more_keys;
        self.keys = keys;
        self.params_changed = true;
        self.reset();
    }
}
