//! ORDER BY on the server: which pathkeys are sent.
//!
//! The server sorts NULL first, and last in descending order; PostgreSQL's default is the reverse. If the query's order
//! differs from the server's and the column may be NULL, the rows with NULL are requested apart, before or after the others.
//!
//! Only a query with a LIMIT that fits in one page asks for an order, because the server answers it at one moment. While
//! several pages are read in the order of a field that users change, a row could move to a page that was read before.

use acumatica_client::Surface;
use acumatica_pushdown::{SortKey, TypeCategory};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::compat;
use crate::planner::planned::Planned;
use crate::planner::value::{self, attribute_of};

/// The sort keys for the longest prefix of `pathkeys` that the server can apply.
///
/// # Safety
/// `pathkeys` belong to the current planner run, which is that of `planned`; `relid` and `relation` are its relation.
pub unsafe fn keys(
    planned: &Planned,
    relid: pg_sys::Index,
    relation: &PgRelation,
    pathkeys: *mut pg_sys::List,
) -> Vec<SortKey> {
    let table = &planned.table;
    let surface = table.surface();
    // REST ignores `$orderby` (docs/acumatica.md section 2).
    if surface == Surface::Rest || pathkeys.is_null() {
        return Vec::new();
    }
    let text = table.collation();
    let mut keys: Vec<SortKey> = Vec::new();
    // SAFETY: the caller guarantees pathkeys of this run; each has an equivalence class of the same run.
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
                is_ordered && field.path.len() == 1 && is_member(class, relid, column.attribute)
            });
            let Some(column) = found.filter(|_| !(*class).ec_has_volatile) else { break };
            let Some(descending) = is_descending(pathkey, relation, column.attribute) else { break };
            let nulls_agree = (*pathkey).pk_nulls_first != descending;
            let nulls_apart = !nulls_agree && !is_never_null(planned, relation, column.attribute);
            let is_text = column
                .field
                .as_ref()
                .is_ok_and(|field| TypeCategory::of(field.ty) == Some(TypeCategory::Text));
            if nulls_apart && (!keys.is_empty() || is_text) {
                break;
            }
            keys.push(SortKey { attribute: column.attribute, descending, nulls_apart });
            // Values of such a field may differ while those of the column are equal. The server then does not order these
            // rows by the next key, so this key is the last.
            let kind = column.field.as_ref().ok().and_then(|field| TypeCategory::of(field.ty));
            if matches!(kind, Some(TypeCategory::Float | TypeCategory::Moment)) {
                break;
            }
        }
    }
    keys
}

/// Whether an equivalence class has the column as a member.
///
/// # Safety
/// `class` belongs to the current planner run.
unsafe fn is_member(class: *mut pg_sys::EquivalenceClass, relid: pg_sys::Index, attribute: i16) -> bool {
    // SAFETY: the caller guarantees a class of this run, whose members have expressions.
    unsafe {
        let members = PgList::<pg_sys::EquivalenceMember>::from_pg((*class).ec_members);
        members.iter_ptr().any(|member| {
            let expression: *mut pg_sys::Expr = (*member).em_expr;
            // A Var under a RelabelType may sort differently.
            (*expression.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_Var
                && attribute_of(relid, expression) == Some(attribute)
        })
    }
}

/// Whether a pathkey sorts descending by the default btree operator family of the column's type; `None` for another family.
///
/// # Safety
/// `pathkey` belongs to the current planner run.
unsafe fn is_descending(
    pathkey: *mut pg_sys::PathKey,
    relation: &PgRelation,
    attribute: i16,
) -> Option<bool> {
    // SAFETY: the caller guarantees a pathkey of this run; the type is that of an attribute, so it exists.
    unsafe {
        let ty = relation.tuple_desc().get(attribute as usize - 1)?.atttypid;
        let is_default = value::btree_family(ty) == Some((*pathkey).pk_opfamily);
        is_default.then(|| compat::is_descending(pathkey))
    }
}

/// Whether a column is NOT NULL, or a clause of the relation removes the rows where it is NULL.
fn is_never_null(planned: &Planned, relation: &PgRelation, attribute: i16) -> bool {
    if relation.tuple_desc().get(attribute as usize - 1).is_some_and(|column| column.attnotnull) {
        return true;
    }
    planned.removes_null(attribute)
}
