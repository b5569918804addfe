//! The planner's state for a foreign table, in `RelOptInfo.fdw_private`: the table and its classified clauses. Also the
//! costs of paths and the size of the first page.

use std::rc::Rc;

use acumatica_pushdown::{Condition, Described, Reason, ScanPlan, Shippable, SortKey, described};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::catalog::table::{Column, Table};
use crate::planner::term;
use crate::planner::value;

/// The cost of a request and its answer, in units of `seq_page_cost`.
pub const REQUEST_COST: f64 = 100.0;
/// The cost of receiving a row, in addition to `cpu_tuple_cost`.
pub const ROW_COST: f64 = 0.02;

/// The number of rows in the first page if the plan has no limit. Later pages have `page_size` rows. A client that reads
/// only the first rows gets them quickly.
pub const FIRST_PAGE: u32 = 256;

/// The planner's state for one foreign table.
pub struct Planned {
    pub table: Rc<Table>,
    /// The parameters of an inquiry, by attribute number.
    pub parameters: Vec<i16>,
    relid: pg_sys::Index,
    /// The clauses of `baserestrictinfo`, each translated once.
    own: Vec<(*mut pg_sys::Expr, Result<Shippable<*mut pg_sys::Expr>, Reason>)>,
}

/// A list of clauses, split into those that can be sent and those that cannot.
pub struct Classified {
    /// The clauses that can be sent, as conditions.
    pub conditions: Vec<Condition<*mut pg_sys::Expr>>,
    /// The clause of each condition.
    pub sent: Vec<*mut pg_sys::Expr>,
    /// The other clauses, by their index in the list, each with the reason.
    pub kept: Vec<(usize, Reason)>,
    /// Every clause is sent, and each as a whole.
    pub complete: bool,
}

impl Planned {
    /// Reads the table and classifies the clauses of `rel`.
    ///
    /// # Safety
    /// `rel` is the planner's structure for `relation`, in the current planner run.
    pub unsafe fn new(rel: *mut pg_sys::RelOptInfo, relation: &PgRelation) -> Self {
        let table = Table::of(relation);
        // SAFETY: the caller guarantees a relation of this run, whose clauses live as long as the run does.
        unsafe {
            let relid = (*rel).relid;
            let own = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo)
                .iter_ptr()
                .map(|info| ((*info).clause, term::shippable(relid, &table.columns, (*info).clause)))
                .collect();
            let parameters = table.parameters().map(|column| column.attribute).collect();
            Self { table, parameters, relid, own }
        }
    }

    /// The state of a relation.
    ///
    /// # Safety
    /// GetForeignRelSize was called for `rel`. The reference does not outlive the planner run.
    pub unsafe fn of<'a>(rel: *mut pg_sys::RelOptInfo) -> &'a Self {
        // SAFETY: by the caller's guarantee GetForeignRelSize has stored a `Planned`; nothing changes it afterwards.
        unsafe { &*(*rel).fdw_private.cast::<Self>() }
    }

    /// Opens the relation until the result is dropped. The planner state does not keep it open: an error would close it.
    pub fn relation(&self) -> PgRelation {
        // SAFETY: the planner locked the table before planning, so NoLock is enough.
        unsafe { PgRelation::with_lock(self.table.oid, pg_sys::NoLock as pg_sys::LOCKMODE) }
    }

    /// Splits clauses into those that can be sent and those that cannot.
    ///
    /// # Safety
    /// `clauses` are clauses on the relation without their RestrictInfos, of the current planner run.
    pub unsafe fn classify(&self, clauses: *mut pg_sys::List) -> Classified {
        let mut found =
            Classified { conditions: Vec::new(), sent: Vec::new(), kept: Vec::new(), complete: true };
        // SAFETY: the caller guarantees a list of expressions. Those in `own` live as long as the planner run, so no other
        // clause has the address of one of them.
        let clauses = unsafe { PgList::<pg_sys::Expr>::from_pg(clauses) };
        for (place, clause) in clauses.iter_ptr().enumerate() {
            let known = self.own.iter().find(|(own, _)| *own == clause).map(|(_, known)| known.clone());
            // SAFETY: the caller guarantees a clause of the relation, in the current planner run.
            let classified =
                known.unwrap_or_else(|| unsafe { term::shippable(self.relid, &self.table.columns, clause) });
            match classified {
                Ok(Shippable { condition, is_whole }) => {
                    found.complete &= is_whole;
                    found.conditions.push(condition);
                    found.sent.push(clause);
                }
                Err(why) => {
                    found.complete = false;
                    found.kept.push((place, why));
                }
            }
        }
        found
    }

    /// The filter of the conditions, with placeholders for values that are not constants.
    pub fn described(&self, classified: &Classified) -> Described {
        // SAFETY: the values come from `classify`, so they are expressions of the current planner run.
        let values = |expression: &*mut pg_sys::Expr| unsafe { value::shown(*expression, |_| String::new()) };
        described(&classified.conditions, classified.complete, self.table.dialect, &values)
    }
}

impl Classified {
    /// Stores the clauses in a plan. Returns `expressions`, the future `fdw_exprs`, with their values appended.
    ///
    /// # Safety
    /// The current memory context is that of the planner run, and `expressions` is null or a list in it.
    pub unsafe fn add_to(self, plan: &mut ScanPlan, mut expressions: *mut pg_sys::List) -> *mut pg_sys::List {
        let mut index = |expression: *mut pg_sys::Expr| {
            // SAFETY: the caller guarantees null or a list, to which lappend adds in the planner's memory context.
            unsafe {
                expressions = pg_sys::lappend(expressions, expression.cast());
                (*expressions).length as usize - 1
            }
        };
        plan.conditions = self.conditions.into_iter().map(|condition| condition.map(&mut index)).collect();
        plan.kept = self.kept;
        expressions
    }
}

/// The columns to fetch: those of the target, of the local clauses and of the sort keys. If there are none, as for
/// `count(*)`, one column all the same, because a row needs a field to be counted by: the first key column, else the first
/// that is not jsonb, which may hold all details of a record.
///
/// # Safety
/// `relid` is the relation in the range table; `target` and `local` belong to the current planner run.
pub unsafe fn attributes(
    relid: pg_sys::Index,
    target: *mut pg_sys::PathTarget,
    table: &Table,
    local: *mut pg_sys::List,
    keys: &[SortKey],
) -> Vec<i16> {
    let mut used = std::ptr::null_mut();
    // SAFETY: the caller guarantees a target and clauses of this run, both made of expressions.
    unsafe {
        pg_sys::pull_varattnos((*target).exprs.cast(), relid, &mut used);
        pg_sys::pull_varattnos(local.cast(), relid, &mut used);
    };
    // SAFETY: pull_varattnos has made `used`, which is null or a bitmap set.
    let is_used = |attribute: i16| unsafe {
        pg_sys::bms_is_member(i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
    } || keys.iter().any(|key| key.attribute == attribute);
    // Attribute 0 is the whole row.
    let is_wanted = |column: &&Column| is_used(column.attribute) || is_used(0);
    let mut wanted: Vec<i16> =
        table.columns.iter().filter(is_wanted).map(|column| column.attribute).collect();
    if wanted.is_empty() {
        let rank = |column: &&Column| {
            (column.key.unwrap_or(u8::MAX), column.ty == acumatica_client::decode::ColumnType::Json)
        };
        wanted.extend(table.columns.iter().min_by_key(rank).map(|column| column.attribute));
    }
    wanted
}
