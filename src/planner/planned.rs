//! What planning needs to know of a foreign table, kept with the relation that is planned, and what paths cost.

use std::rc::Rc;

use acumatica_pushdown::{Condition, Described, Reason, Shippable, described};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::catalog::table::{Column, Table};
use crate::planner::private::{Key, Plan};
use crate::planner::term;
use crate::planner::value;

/// One request and its answer cost about what reading a hundred pages of a local table costs.
pub const REQUEST_COST: f64 = 100.0;
/// A row that comes over the network, beyond what a local one costs.
pub const ROW_COST: f64 = 0.02;

pub struct Planned {
    pub table: Rc<Table>,
    /// The parameters of an inquiry, by attribute number.
    pub parameters: Vec<i16>,
    relid: pg_sys::Index,
    /// The relation's own clauses, each classified once.
    own: Vec<(*mut pg_sys::Expr, Result<Shippable<*mut pg_sys::Expr>, Reason>)>,
}

/// What clauses come to.
pub struct Classified {
    /// The clauses that can be sent, as conditions.
    pub conditions: Vec<Condition<*mut pg_sys::Expr>>,
    /// The clause that each of them stands for.
    pub sent: Vec<*mut pg_sys::Expr>,
    /// The others, by their place in the list, and why not.
    pub kept: Vec<(usize, Reason)>,
    /// Nothing of any clause is missing.
    pub complete: bool,
}

impl Planned {
    /// # Safety
    /// `rel` is the relation of `relation` in the planner run under way, with its clauses.
    pub unsafe fn new(rel: *mut pg_sys::RelOptInfo, relation: &PgRelation) -> Self {
        let table = Table::of(relation);
        // SAFETY: as the caller says.
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

    /// # Safety
    /// `rel` went through `GetForeignRelSize`. The reference must not outlive the planner run.
    pub unsafe fn of<'a>(rel: *mut pg_sys::RelOptInfo) -> &'a Self {
        // SAFETY: as the caller says.
        unsafe { &*(*rel).fdw_private.cast::<Self>() }
    }

    /// The relation, open until this is dropped: not to be kept, since an error closes what is open.
    pub fn relation(&self) -> PgRelation {
        // SAFETY: the planner holds a lock on the table.
        unsafe { PgRelation::with_lock(self.table.oid, pg_sys::NoLock as pg_sys::LOCKMODE) }
    }

    /// Which of some clauses can be sent.
    ///
    /// # Safety
    /// `clauses` are bare clauses on the relation, of the planner run under way.
    pub unsafe fn classify(&self, clauses: *mut pg_sys::List) -> Classified {
        let mut found =
            Classified { conditions: Vec::new(), sent: Vec::new(), kept: Vec::new(), complete: true };
        // SAFETY: as the caller says. Only clauses that live as long as the planner run are known by their address.
        let clauses = unsafe { PgList::<pg_sys::Expr>::from_pg(clauses) };
        for (place, clause) in clauses.iter_ptr().enumerate() {
            let known = self.own.iter().find(|(own, _)| *own == clause).map(|(_, known)| known.clone());
            // SAFETY: as the caller says.
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

    /// What the server would be asked for conditions, as far as that is known now.
    pub fn described(&self, classified: &Classified) -> Described {
        // SAFETY: expressions of the planner run under way.
        let values = |expression: &*mut pg_sys::Expr| unsafe { value::shown(*expression, |_| String::new()) };
        described(&classified.conditions, classified.complete, self.table.dialect, &values)
    }
}

impl Plan {
    /// Adds the conditions, and their values to `expressions`, which are to be `fdw_exprs`.
    ///
    /// # Safety
    /// To be called in the planner, whose memory context the list is in.
    pub unsafe fn add_conditions(
        &mut self,
        classified: Classified,
        mut expressions: *mut pg_sys::List,
    ) -> *mut pg_sys::List {
        let mut index = |expression: *mut pg_sys::Expr| {
            // SAFETY: as the caller says.
            unsafe {
                expressions = pg_sys::lappend(expressions, expression.cast());
                (*expressions).length as usize - 1
            }
        };
        self.conditions =
            classified.conditions.into_iter().map(|condition| condition.map(&mut index)).collect();
        self.kept = classified.kept;
        expressions
    }
}

/// The columns that the scan must return: those of its output and of its filter. If there are none,
/// as for `count(*)`, one all the same, since some field must be asked for to have rows to count: the
/// first of the key, else the first that is no jsonb, which may hold all details of a record.
///
/// # Safety
/// `relid` is the relation being planned, `target` what is wanted of it, `local` its clauses.
pub unsafe fn attributes(
    relid: pg_sys::Index,
    target: *mut pg_sys::PathTarget,
    table: &Table,
    local: *mut pg_sys::List,
    keys: &[Key],
) -> Vec<i16> {
    let mut used = std::ptr::null_mut();
    // SAFETY: as the caller says.
    unsafe {
        pg_sys::pull_varattnos((*target).exprs.cast(), relid, &mut used);
        pg_sys::pull_varattnos(local.cast(), relid, &mut used);
    };
    // SAFETY: `used` is a bitmap set, made above.
    let is_used = |attribute: i16| unsafe {
        pg_sys::bms_is_member(i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
    } || keys.iter().any(|key| key.attribute == attribute);
    // Attribute 0 is the whole row.
    let is_wanted = |column: &&Column| is_used(column.attribute) || is_used(0);
    let mut wanted: Vec<i16> =
        table.columns.iter().filter(is_wanted).map(|column| column.attribute).collect();
    if wanted.is_empty() {
        let width = |column: &&Column| {
            (column.key.unwrap_or(u64::MAX), column.ty == acumatica_client::decode::ColumnType::Json)
        };
        wanted.extend(table.columns.iter().min_by_key(width).map(|column| column.attribute));
    }
    wanted
}
