//! The planner's state for a foreign table, in `RelOptInfo.fdw_private`: the table and its clauses, each classified once. Also the
//! size of the first page.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use acumatica_pushdown::{
    Comparison, Condition, Costs, Described, Reading, Reason, ScanPlan, Shippable, SortKey, described,
};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::catalog::experience::Known;
use crate::catalog::table::{ForeignColumn, ForeignTable};
use crate::planner::argument::{self, Argument};
use crate::planner::term;
use crate::planner::value::{self, attribute_of};

/// The number of rows in the first page if the plan has no limit. Later pages have `page_size` rows. A client that reads
/// only the first rows gets them quickly.
pub const FIRST_PAGE: u32 = 256;

/// How many milliseconds of the server's time are one unit of cost. With it, what is assumed of a server that was not measured
/// ([`Speed`](acumatica_client::Speed)) costs as much as [`Costs::default`].
const MILLISECONDS: f64 = 2.0;

/// The planner's state for one foreign table.
pub struct Planned {
    pub table: Rc<ForeignTable>,
    /// The parameters of an inquiry, by attribute number.
    pub parameters: Vec<i16>,
    /// The table has neither statistics nor the option `rows`.
    pub is_size_guessed: Cell<bool>,
    /// What earlier scans have found out about the table.
    pub known: Known,
    /// What its requests and rows cost.
    pub costs: Costs,
    /// What the server has counted, with the option `use_remote_estimate`.
    pub counted: Cell<Option<Counted>>,
    /// The user whose mapping scans use.
    pub user: pg_sys::Oid,
    pub root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    /// The clauses that were classified so far, by their address: clauses live as long as the planner run, so no other has
    /// the address of one of them.
    clauses: RefCell<HashMap<*mut pg_sys::Expr, Rc<Clause>>>,
    /// `baserestrictinfo`, the clauses that every scan of the relation checks: classified, described, and the columns whose
    /// rows with NULL they remove. Each is worked out when it is first needed.
    classified: OnceCell<Classified>,
    described: OnceCell<Described>,
    not_null: OnceCell<Vec<i16>>,
}

/// What the server has counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// All rows of the table.
    All(f64),
    /// The rows that the conditions leave that are sent.
    Sent(f64),
}

/// A clause on the relation, classified once in a planner run.
pub struct Clause {
    shippable: Result<Shippable<*mut pg_sys::Expr>, Reason>,
    /// The value that it gives a parameter.
    pub argument: Option<Argument>,
    /// The parameters that it refers to.
    pub mentioned: Vec<i16>,
}

/// A list of clauses, split into those that can be sent and those that cannot.
#[derive(Clone)]
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
    /// The state of `rel` before its clauses are classified.
    ///
    /// # Safety
    /// `rel` is the planner's structure for `relation`, in the current planner run, which is that of `root`.
    pub unsafe fn new(
        root: *mut pg_sys::PlannerInfo,
        rel: *mut pg_sys::RelOptInfo,
        relation: &PgRelation,
    ) -> Self {
        let table = ForeignTable::of(relation);
        let parameters = table.parameters().map(|column| column.attribute).collect();
        // SAFETY: the caller guarantees the planner's structure; GetUserId reads a variable that is set while it plans.
        let user = unsafe {
            let owner = (*rel).userid;
            if owner == pg_sys::InvalidOid { pg_sys::GetUserId() } else { owner }
        };
        let known = Known::of(&table, user);
        let measured = known.speed.map_or_else(Costs::default, |speed| Costs {
            request: speed.request / MILLISECONDS,
            row: speed.row / MILLISECONDS,
        });
        let costs = Costs {
            request: table.startup_cost.unwrap_or(measured.request),
            row: table.tuple_cost.unwrap_or(measured.row),
        };
        let (classified, described, not_null) = Default::default();
        Self {
            table,
            parameters,
            is_size_guessed: Cell::new(false),
            known,
            costs,
            counted: Cell::new(None),
            user,
            root,
            rel,
            clauses: RefCell::default(),
            classified,
            described,
            not_null,
        }
    }

    /// The state of a relation.
    ///
    /// # Safety
    /// GetForeignRelSize was called for `rel`. The reference does not outlive the planner run.
    pub unsafe fn of<'a>(rel: *mut pg_sys::RelOptInfo) -> &'a Self {
        // SAFETY: by the caller's guarantee GetForeignRelSize has stored a `Planned`, which changes by its cells only.
        unsafe { &*(*rel).fdw_private.cast::<Self>() }
    }

    /// Opens the relation until the result is dropped. The planner state does not keep it open: an error would close it.
    pub fn relation(&self) -> PgRelation {
        // SAFETY: the planner locked the table before planning, so NoLock is enough.
        unsafe { PgRelation::with_lock(self.table.oid, pg_sys::NoLock as pg_sys::LOCKMODE) }
    }

    /// What is known of a clause.
    ///
    /// # Safety
    /// `clause` is a clause on the relation without its RestrictInfo, of the current planner run.
    pub unsafe fn clause(&self, clause: *mut pg_sys::Expr) -> Rc<Clause> {
        if let Some(known) = self.clauses.borrow().get(&clause) {
            return Rc::clone(known);
        }
        // SAFETY: the caller guarantees a clause of this run, as `new` does for the other pointers. What is made of the clause is
        // kept as long as the run: GEQO calls in a context of its own, which it resets.
        let known = unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.root).planner_cxt);
            let relid = (*self.rel).relid;
            let mentioned = argument::mentioned(relid, &self.parameters, clause);
            let known = Rc::new(Clause {
                shippable: term::shippable(relid, &self.table.columns, clause)
                    .map_err(|why| if mentioned.is_empty() { why } else { Reason::Parameter }),
                argument: match mentioned.is_empty() {
                    true => None,
                    false => argument::argument(self.root, relid, &self.parameters, clause),
                },
                mentioned,
            });
            pg_sys::MemoryContextSwitchTo(before);
            known
        };
        self.clauses.borrow_mut().insert(clause, Rc::clone(&known));
        known
    }

    /// The condition on the relation that a join clause is, if it is an equality with a value. The expression is that of the
    /// value, made of columns of other relations.
    ///
    /// # Safety
    /// As [`Planned::clause`].
    pub unsafe fn join_key(&self, clause: *mut pg_sys::Expr) -> Option<Condition<*mut pg_sys::Expr>> {
        // SAFETY: forwarded.
        let known = unsafe { self.clause(clause) };
        match known.shippable.as_ref().map(|shippable| &shippable.condition) {
            Ok(
                condition @ Condition::Compare {
                    comparison: Comparison::Eq,
                    reading: Reading::Value,
                    every: false,
                    ..
                },
            ) => Some(condition.clone()),
            _ => None,
        }
    }

    /// The most rows that are likely to meet all of these clauses, as far as the table's key tells: one if they are equalities with
    /// all of it. Without statistics, PostgreSQL assumes 200 different values in each column; of columns with statistics it knows
    /// better.
    ///
    /// # Safety
    /// As [`Planned::clause`].
    pub unsafe fn rows_of_key(&self, clauses: impl Iterator<Item = *mut pg_sys::Expr>) -> f64 {
        /// Records that differ only in the other columns of their key, such as the type of a document beside its number.
        const ALIKE: f64 = 10.0;
        let columns = self.table.columns.iter();
        // SAFETY: the relation is one of this run, and the attribute one of its columns.
        let has_statistics =
            |attribute| unsafe { pg_sys::get_attavgwidth(self.relation().oid(), attribute) > 0 };
        let mut is_known = false;
        let mut positions: Vec<_> = clauses
            .filter_map(|clause| {
                // SAFETY: the caller guarantees a clause of this run; pull_varattnos makes the set.
                unsafe {
                    self.join_key(clause)?;
                    let mut used = std::ptr::null_mut();
                    pg_sys::pull_varattnos(clause.cast(), (*self.rel).relid, &mut used);
                    let column = columns.clone().find(|column| argument::mentions(used, column.attribute))?;
                    is_known |= has_statistics(column.attribute);
                    column.key
                }
            })
            .collect();
        positions.sort_unstable();
        positions.dedup();
        let last = columns.filter_map(|column| column.key).max();
        match positions.last() {
            None => f64::INFINITY,
            Some(_) if positions.len() == self.table.key.len() => 1.0,
            // The last column of a key tells most records apart.
            found if found.copied() == last && !is_known => ALIKE,
            Some(_) => f64::INFINITY,
        }
    }

    /// Whether there are statistics of the table.
    pub fn is_analyzed(&self) -> bool {
        self.relation().reltuples().is_some()
    }

    /// The clauses that every scan of the relation checks, those of `baserestrictinfo`, without their RestrictInfos.
    fn restrictions(&self) -> *mut pg_sys::List {
        // SAFETY: the caller of `new` guarantees a relation of this run, whose clauses live as long as the run does.
        unsafe { pg_sys::extract_actual_clauses((*self.rel).baserestrictinfo, false) }
    }

    /// The clauses that every scan of the relation checks, classified.
    pub fn classified(&self) -> &Classified {
        // SAFETY: they are clauses on the relation of this run.
        self.classified.get_or_init(|| unsafe { self.classify(self.restrictions()) })
    }

    /// The filter of [`Planned::classified`], with placeholders for values that are not constants.
    pub fn described(&self) -> &Described {
        self.described.get_or_init(|| {
            let Classified { conditions, complete, .. } = self.classified();
            // SAFETY: the values come from `classify`, so they are expressions of the current planner run.
            let values =
                |expression: &*mut pg_sys::Expr| unsafe { value::shown(*expression, |_| String::new()) };
            described(conditions, *complete, self.table.dialect, &values)
        })
    }

    /// Whether the clauses that every scan of the relation checks remove the rows where a column is NULL.
    pub fn removes_null(&self, attribute: i16) -> bool {
        let columns = self.not_null.get_or_init(|| {
            // SAFETY: they are clauses on the relation of this run.
            unsafe {
                let clauses = PgList::<pg_sys::Expr>::from_pg(self.restrictions());
                clauses.iter_ptr().flat_map(|clause| not_null((*self.rel).relid, clause)).collect()
            }
        });
        columns.contains(&attribute)
    }

    /// Splits clauses into those that can be sent and those that cannot.
    ///
    /// # Safety
    /// `clauses` are clauses on the relation without their RestrictInfos, of the current planner run.
    pub unsafe fn classify(&self, clauses: *mut pg_sys::List) -> Classified {
        let mut found =
            Classified { conditions: Vec::new(), sent: Vec::new(), kept: Vec::new(), complete: true };
        // SAFETY: the caller guarantees a list of expressions.
        let clauses = unsafe { PgList::<pg_sys::Expr>::from_pg(clauses) };
        for (place, clause) in clauses.iter_ptr().enumerate() {
            // SAFETY: the caller guarantees a clause of the relation, in the current planner run.
            let known = unsafe { self.clause(clause) };
            match &known.shippable {
                Ok(Shippable { condition, is_whole }) => {
                    found.complete &= is_whole;
                    found.conditions.push(condition.clone());
                    found.sent.push(clause);
                }
                Err(why) => {
                    found.complete = false;
                    found.kept.push((place, *why));
                }
            }
        }
        found
    }
}

/// The columns of the relation `relid` of which a row with NULL does not meet the clause.
///
/// # Safety
/// `clause` is an expression of the current planner run.
unsafe fn not_null(relid: pg_sys::Index, clause: *mut pg_sys::Expr) -> Vec<i16> {
    // SAFETY: the caller guarantees an expression; each node is cast to what its tag says.
    unsafe {
        match value::tag(clause) {
            pg_sys::NodeTag::T_NullTest => {
                let test: *mut pg_sys::NullTest = clause.cast();
                let is_not_null = (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL;
                attribute_of(relid, (*test).arg).filter(|_| is_not_null).into_iter().collect()
            }
            pg_sys::NodeTag::T_OpExpr => {
                let operation: *mut pg_sys::OpExpr = clause.cast();
                if !pg_sys::op_strict((*operation).opno) {
                    return Vec::new();
                }
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                arguments.iter_ptr().filter_map(|argument| attribute_of(relid, argument)).collect()
            }
            _ => Vec::new(),
        }
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
    table: &ForeignTable,
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
    let is_wanted = |column: &&ForeignColumn| is_used(column.attribute) || is_used(0);
    let mut wanted: Vec<i16> =
        table.columns.iter().filter(is_wanted).map(|column| column.attribute).collect();
    if wanted.is_empty() {
        let rank = |column: &&ForeignColumn| {
            (column.key.unwrap_or(u8::MAX), column.ty == acumatica_client::decode::ColumnType::Json)
        };
        wanted.extend(table.columns.iter().min_by_key(rank).map(|column| column.attribute));
    }
    wanted
}
