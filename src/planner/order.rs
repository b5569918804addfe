//! ORDER BY that the server is asked for: which it is trusted with, and what is done about one that it breaks or refuses.
//!
//! The server sorts NULL first, and last where the order is descending; PostgreSQL does so only if it is told to. Where
//! it is not, and there may be NULLs, these rows are asked for apart, before the others or after them.
//!
//! Only a query with a LIMIT asks for an order: it needs no more than a page, which the server finds in one go. Of many
//! pages in the order of a field that people change, a row could go from one that is yet to come to one that was.

use std::cmp::Ordering;

use acumatica_client::Surface;
use acumatica_pushdown::TypeCategory;
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::compat;
use crate::backend::error::Refusal;
use crate::catalog::table::Table;
use crate::planner::private::Key;
use crate::planner::value::{self, attribute_of};

/// The columns that the first of some pathkeys are about, as far as the server can be asked to order by them.
///
/// # Safety
/// `rel` is a relation of the planner run under way, `pathkeys` a list of that run.
pub unsafe fn keys(
    rel: *mut pg_sys::RelOptInfo,
    table: &Table,
    relation: &PgRelation,
    pathkeys: *mut pg_sys::List,
) -> Vec<Key> {
    let surface = table.surface();
    // REST ignores `$orderby` (acumatica-api.md section 2).
    if surface == Surface::Rest || pathkeys.is_null() {
        return Vec::new();
    }
    let text = table.collation();
    let mut keys: Vec<Key> = Vec::new();
    // SAFETY: as the caller says.
    unsafe {
        for pathkey in PgList::<pg_sys::PathKey>::from_pg(pathkeys).iter_ptr() {
            let class = (*pathkey).pk_eclass;
            let found = table.columns.iter().find(|column| {
                let Ok(field) = &column.field else { return false };
                let is_ordered = match TypeCategory::of(field.ty) {
                    Some(
                        TypeCategory::Integer
                        | TypeCategory::Decimal
                        | TypeCategory::Float
                        | TypeCategory::Bool
                        | TypeCategory::Moment,
                    ) => true,
                    Some(TypeCategory::Text) => text == Some((*class).ec_collation),
                    _ => false,
                };
                is_ordered && field.path.len() == 1 && is_member(class, (*rel).relid, column.attribute)
            });
            let Some(column) = found.filter(|_| !(*class).ec_has_volatile) else { break };
            let Some(descending) = is_descending(pathkey, relation, column.attribute) else { break };
            let nulls_agree = (*pathkey).pk_nulls_first != descending;
            let nulls_apart = !nulls_agree && !is_never_null(rel, relation, column.attribute);
            let is_text = column
                .field
                .as_ref()
                .is_ok_and(|field| TypeCategory::of(field.ty) == Some(TypeCategory::Text));
            if nulls_apart && (!keys.is_empty() || is_text) {
                break;
            }
            keys.push(Key { attribute: column.attribute, descending, nulls_apart });
            // What the field tells apart and the column does not, the server does not order by the next key.
            let kind = column.field.as_ref().ok().and_then(|field| TypeCategory::of(field.ty));
            if matches!(kind, Some(TypeCategory::Float | TypeCategory::Moment)) {
                break;
            }
        }
    }
    keys
}

/// Whether a column is one of the things that a class says are equal.
unsafe fn is_member(class: *mut pg_sys::EquivalenceClass, relid: pg_sys::Index, attribute: i16) -> bool {
    // SAFETY: the planner's own structure.
    unsafe {
        let members = PgList::<pg_sys::EquivalenceMember>::from_pg((*class).ec_members);
        members.iter_ptr().any(|member| {
            let expression: *mut pg_sys::Expr = (*member).em_expr;
            // Under another type it may be ordered otherwise.
            (*expression.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_Var
                && attribute_of(relid, expression) == Some(attribute)
        })
    }
}

/// Which way a pathkey goes in the default order of the column's type; `None` if it is another order.
unsafe fn is_descending(
    pathkey: *mut pg_sys::PathKey,
    relation: &PgRelation,
    attribute: i16,
) -> Option<bool> {
    // SAFETY: the planner's own structure, and look-ups in the catalog.
    unsafe {
        let ty = relation.tuple_desc().get(attribute as usize - 1)?.atttypid;
        let is_default = value::btree_family(ty) == Some((*pathkey).pk_opfamily);
        is_default.then(|| compat::is_descending(pathkey))
    }
}

/// Whether a column is NOT NULL, or a condition leaves only rows where it is not.
unsafe fn is_never_null(rel: *mut pg_sys::RelOptInfo, relation: &PgRelation, attribute: i16) -> bool {
    if relation.tuple_desc().get(attribute as usize - 1).is_some_and(|column| column.attnotnull) {
        return true;
    }
    // SAFETY: the planner's own structures; each node is looked at as what its tag says it is.
    unsafe {
        let is_it = |node| attribute_of((*rel).relid, node) == Some(attribute);
        let clauses = PgList::<pg_sys::RestrictInfo>::from_pg((*rel).baserestrictinfo);
        clauses.iter_ptr().any(|info| {
            let clause = (*info).clause;
            match (*clause.cast::<pg_sys::Node>()).type_ {
                pg_sys::NodeTag::T_NullTest => {
                    let test: *mut pg_sys::NullTest = clause.cast();
                    (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL && is_it((*test).arg)
                }
                pg_sys::NodeTag::T_OpExpr => {
                    let operation: *mut pg_sys::OpExpr = clause.cast();
                    let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                    pg_sys::op_strict((*operation).opno) && arguments.iter_ptr().any(is_it)
                }
                _ => false,
            }
        })
    }
}

/// Sees to it that rows come in the order that the plan relies on.
#[derive(Debug)]
pub struct Sorting {
    keys: Vec<Key>,
    /// Where in a row each of them is.
    places: Vec<usize>,
    comparators: Vec<pg_sys::SortSupportData>,
    /// The values of the row before, each copied, and whether it is NULL; empty before the first row.
    previous: Vec<(pg_sys::Datum, bool)>,
    /// Of each key, whether its values are passed by value, and how long they are.
    layout: Vec<(bool, i32)>,
    context: pg_sys::MemoryContext,
    /// The server has refused: where rows are sorted, and the slot that they come back in.
    here: Option<(*mut pg_sys::Tuplesortstate, *mut pg_sys::TupleTableSlot)>,
}

impl Sorting {
    /// # Safety
    /// `relation` is open for as long as this lives, as is the current memory context.
    pub unsafe fn new(keys: &[Key], places: Vec<usize>, relation: &PgRelation) -> Self {
        let descriptor = relation.tuple_desc();
        // SAFETY: look-ups in the catalog; the context is as the caller says.
        unsafe {
            let context = pg_sys::CurrentMemoryContext;
            let attribute = |key: &Key| descriptor.get(key.attribute as usize - 1);
            let comparators = keys.iter().filter_map(|key| {
                let mut support = pg_sys::SortSupportData {
                    ssup_cxt: context,
                    ssup_collation: attribute(key)?.attcollation,
                    ssup_nulls_first: key.nulls_first(),
                    ssup_attno: key.attribute,
                    ..Default::default()
                };
                pg_sys::PrepareSortSupportFromOrderingOp(operator(attribute(key)?, key), &raw mut support);
                Some(support)
            });
            let comparators = comparators.collect();
            let layout = keys.iter().filter_map(attribute).map(|a| (a.attbyval, a.attlen.into())).collect();
            Self {
                keys: keys.to_vec(),
                places,
                comparators,
                previous: Vec::new(),
                layout,
                context,
                here: None,
            }
        }
    }

    pub fn is_asked_for(&self) -> bool {
        !self.keys.is_empty()
    }

    /// As before the first row.
    pub fn restart(&mut self) {
        for ((value, is_null), (by_value, _)) in self.previous.drain(..).zip(&self.layout) {
            if !by_value && !is_null {
                // SAFETY: a copy made in `check`.
                unsafe { pg_sys::pfree(value.cast_mut_ptr()) };
            }
        }
        if let Some((sorter, slot)) = self.here.take() {
            // SAFETY: they were made below, and are not used again.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
                pg_sys::tuplesort_end(sorter);
            }
        }
    }

    /// Raises if the row in the slot does not come after the one before: then others may be missing from what a LIMIT
    /// leaves, or a merge join sees.
    ///
    /// # Safety
    /// `slot` holds a row of the relation.
    pub unsafe fn check(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the attributes are those of the row type, which the slot has values for.
        unsafe {
            let row: Vec<(pg_sys::Datum, bool)> = self
                .places
                .iter()
                .map(|&at| (*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at)))
                .collect();
            if self.previous.len() == row.len() && self.compare(&row) == Ordering::Greater {
                self.refuse();
            }
            let before = pg_sys::MemoryContextSwitchTo(self.context);
            for (at, &(value, is_null)) in row.iter().enumerate() {
                let (by_value, length) = self.layout[at];
                let copy = if is_null { value } else { copied(value, by_value, length) };
                match self.previous.get_mut(at) {
                    Some(old) => {
                        if !by_value && !old.1 {
                            pg_sys::pfree(old.0.cast_mut_ptr());
                        }
                        *old = (copy, is_null);
                    }
                    None => self.previous.push((copy, is_null)),
                }
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// How the row before compares with this one.
    unsafe fn compare(&mut self, row: &[(pg_sys::Datum, bool)]) -> Ordering {
        for (at, &(value, is_null)) in row.iter().enumerate() {
            let (before, was_null) = self.previous[at];
            let support = &raw mut self.comparators[at];
            let order = match (was_null, is_null) {
                (true, true) => Ordering::Equal,
                (true, false) | (false, true) if was_null == self.keys[at].nulls_first() => Ordering::Less,
                (true, false) | (false, true) => Ordering::Greater,
                // SAFETY: a comparator of the values' type, called as C would, behind a guard.
                (false, false) => unsafe {
                    let Some(comparator) = (*support).comparator else { return Ordering::Equal };
                    let order =
                        pg_sys::ffi::pg_guard_ffi_boundary(|| comparator(before, value, support)).cmp(&0);
                    if (*support).ssup_reverse { order.reverse() } else { order }
                },
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    fn refuse(&self) -> ! {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_ERROR,
            "the server did not return its rows in the order that it was asked for",
        )
        .detail("What a query says of the first or last rows could be wrong.")
        .hint("Set the option pushdown of the columns that it orders by to off: then rows are sorted here.")
        .raise()
    }

    /// Begins to sort rows here.
    ///
    /// # Safety
    /// `relation` is that of the scan; the current memory context is that of the query.
    pub unsafe fn begin_here(&mut self, relation: &PgRelation) {
        let descriptor = relation.tuple_desc();
        let attribute = |key: &Key| descriptor.get(key.attribute as usize - 1);
        let mut numbers: Vec<i16> = self.keys.iter().map(|key| key.attribute).collect();
        // SAFETY: look-ups in the catalog; the arrays are read before the call returns.
        unsafe {
            let mut operators: Vec<pg_sys::Oid> =
                self.keys.iter().filter_map(|key| Some(operator(attribute(key)?, key))).collect();
            let mut collations: Vec<pg_sys::Oid> =
                self.keys.iter().filter_map(|key| Some(attribute(key)?.attcollation)).collect();
            let mut nulls_first: Vec<bool> = self.keys.iter().map(|key| key.nulls_first()).collect();
            let sorter = compat::begin_sort(
                descriptor.as_ptr(),
                &mut numbers,
                &mut operators,
                &mut collations,
                &mut nulls_first,
            );
            let ops = &raw const pg_sys::TTSOpsMinimalTuple;
            self.here = Some((sorter, pg_sys::MakeSingleTupleTableSlot(descriptor.as_ptr(), ops)));
        }
    }

    /// Adds a row.
    ///
    /// # Safety
    /// `slot` holds a row of the relation.
    pub unsafe fn put(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        if let Some((sorter, _)) = self.here {
            // SAFETY: as the caller says; the row is copied.
            unsafe { pg_sys::tuplesort_puttupleslot(sorter, slot) };
        }
    }

    /// Sorts the rows that were added.
    pub fn perform(&mut self) {
        if let Some((sorter, _)) = self.here {
            // SAFETY: it was begun above.
            unsafe { pg_sys::tuplesort_performsort(sorter) };
        }
    }

    /// Fills the slot with the next row, if there is one; false if rows are not sorted here.
    ///
    /// # Safety
    /// `slot` is one of the relation's row type, and empty.
    pub unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some((sorter, sorted)) = self.here else { return false };
        // SAFETY: as the caller says; `ExecCopySlot` is an inline function in C, called as C would, behind a guard.
        unsafe {
            if pg_sys::tuplesort_gettupleslot(sorter, true, false, sorted, std::ptr::null_mut())
                && let Some(copy) = (*(*slot).tts_ops).copyslot
            {
                pg_sys::ffi::pg_guard_ffi_boundary(|| copy(slot, sorted));
            }
        }
        true
    }
}

/// A copy of a value in the current memory context.
unsafe fn copied(value: pg_sys::Datum, by_value: bool, length: i32) -> pg_sys::Datum {
    // SAFETY: a value of a type that is so long, or, below zero, says itself how long it is.
    unsafe {
        match usize::try_from(length) {
            _ if by_value => value,
            Ok(length) => {
                let copy: *mut u8 = pg_sys::palloc(length).cast();
                std::ptr::copy_nonoverlapping(value.cast_mut_ptr::<u8>(), copy, length);
                pg_sys::Datum::from(copy)
            }
            Err(_) => pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(value.cast_mut_ptr())),
        }
    }
}

/// The operator that the column's type is sorted by.
unsafe fn operator(attribute: &pg_sys::FormData_pg_attribute, key: &Key) -> pg_sys::Oid {
    // SAFETY: an entry of the cache, which is never freed.
    unsafe {
        let flags = pg_sys::TYPECACHE_LT_OPR | pg_sys::TYPECACHE_GT_OPR;
        let entry = pg_sys::lookup_type_cache(attribute.atttypid, flags as i32);
        if key.descending { (*entry).gt_opr } else { (*entry).lt_opr }
    }
}
