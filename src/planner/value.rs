//! The values that a query compares columns with, as they are sent to the server.

use std::collections::HashSet;

use acumatica_pushdown::{Literal, SqlType, Values};
use pgrx::prelude::*;

use crate::backend::encoding::from_server;
use crate::catalog::types::{EPOCH_DAYS, EPOCH_MICROSECONDS};

/// Whether an operator is the `=` of the type of its left side.
///
/// # Safety
/// `left` is an expression.
pub unsafe fn is_equality(operator: pg_sys::Oid, left: *mut pg_sys::Expr) -> bool {
    // SAFETY: an expression, and a look-up in the catalog.
    unsafe { pg_sys::op_mergejoinable(operator, pg_sys::exprType(left.cast())) }
}

/// Whether values of one type can be sent for a parameter of the other.
pub fn are_alike(one: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    sql_type(one).is_alike(sql_type(other))
}

/// A type of the catalog.
pub fn sql_type(ty: pg_sys::Oid) -> SqlType {
    match ty {
        pg_sys::BOOLOID => SqlType::Bool,
        pg_sys::INT2OID => SqlType::Int2,
        pg_sys::INT4OID => SqlType::Int4,
        pg_sys::INT8OID => SqlType::Int8,
        pg_sys::NUMERICOID => SqlType::Numeric,
        pg_sys::FLOAT4OID => SqlType::Float4,
        pg_sys::FLOAT8OID => SqlType::Float8,
        pg_sys::TEXTOID => SqlType::Text,
        pg_sys::VARCHAROID => SqlType::Varchar,
        pg_sys::BPCHAROID => SqlType::Bpchar,
        pg_sys::NAMEOID => SqlType::Name,
        pg_sys::DATEOID => SqlType::Date,
        pg_sys::TIMESTAMPOID => SqlType::Timestamp,
        pg_sys::TIMESTAMPTZOID => SqlType::TimestampTz,
        pg_sys::UUIDOID => SqlType::Uuid,
        other => SqlType::Other(other.to_u32()),
    }
}

/// An expression of a plan, ready to be worked out whenever the scan starts.
#[derive(Clone, Copy, Debug)]
pub struct Expression {
    state: *mut pg_sys::ExprState,
    ty: pg_sys::Oid,
    /// The type of its elements, if it is an array.
    element: Option<pg_sys::Oid>,
}

impl Expression {
    /// # Safety
    /// `node` is being begun, in the memory context of the query; `expression` is one of its plan.
    pub unsafe fn begin(node: *mut pg_sys::ForeignScanState, expression: *mut pg_sys::Expr) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let ty = pg_sys::exprType(expression.cast());
            Self { state: pg_sys::ExecInitExpr(expression, node.cast()), ty, element: element_type(ty) }
        }
    }

    /// What the expression is now: one value, or those of an array.
    ///
    /// # Safety
    /// `node` is the scan that this was begun for.
    pub unsafe fn values(&self, node: *mut pg_sys::ForeignScanState) -> Values {
        // SAFETY: the node's expression context is there as long as the node. `ExecEvalExpr` is an inline function in C,
        // called as C would, behind a guard; what it palloc's lives until the next row.
        unsafe {
            let context = (*node).ss.ps.ps_ExprContext;
            let mut is_null = false;
            let Some(evaluate) = (*self.state).evalfunc else { return Values::null() };
            let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let value =
                pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(self.state, context, &raw mut is_null));
            let values = if is_null { Values::null() } else { literals(value, self.ty, self.element) };
            pg_sys::MemoryContextSwitchTo(before);
            values
        }
    }
}

/// The value of a constant, or, while it is not known, a placeholder that shows the expression as `text` has it.
///
/// # Safety
/// `expression` is one of a plan or of the planner run under way.
pub unsafe fn shown(expression: *mut pg_sys::Expr, text: impl Fn(*mut pg_sys::Expr) -> String) -> Values {
    // SAFETY: as the caller says; a constant that is not NULL has a value of its type.
    unsafe {
        let constant: *mut pg_sys::Const = expression.cast();
        if tag(expression) != pg_sys::NodeTag::T_Const {
            let shown = Literal::Shown(format!("{{{}}}", text(expression)));
            return Values { literals: vec![Ok(shown)], has_null: false };
        }
        if (*constant).constisnull {
            return Values::null();
        }
        let element = element_type((*constant).consttype);
        literals((*constant).constvalue, (*constant).consttype, element)
    }
}

/// The values that a datum stands for.
///
/// # Safety
/// A value of the type `ty`, an array if its elements are of the type `element`.
pub unsafe fn literals(value: pg_sys::Datum, ty: pg_sys::Oid, element: Option<pg_sys::Oid>) -> Values {
    // SAFETY: as the caller says.
    unsafe {
        let (datums, has_null) = match element {
            None => (vec![value], false),
            Some(element) => elements(value, element),
        };
        let literals = datums.into_iter().map(|datum| literal(datum, element.unwrap_or(ty)));
        // A long list is what this is for, so no search for each.
        let mut met = HashSet::new();
        let literals = literals.filter(|value| met.insert(value.clone())).collect();
        Values { literals, has_null }
    }
}

/// The elements of an array that are not NULL, and whether others are.
unsafe fn elements(array: pg_sys::Datum, element: pg_sys::Oid) -> (Vec<pg_sys::Datum>, bool) {
    let (mut length, mut by_value, mut align) = (0, false, 0);
    let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: a value of an array type; what is returned is palloc'd, with one entry for each element.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        let array: *mut pg_sys::ArrayType = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast();
        pg_sys::deconstruct_array(
            array,
            element,
            length.into(),
            by_value,
            align,
            &mut datums,
            &mut nulls,
            &mut count,
        );
        let count = usize::try_from(count).unwrap_or(0);
        let present: Vec<_> =
            (0..count).filter(|index| !*nulls.add(*index)).map(|index| *datums.add(index)).collect();
        let has_null = present.len() < count;
        (present, has_null)
    }
}

/// A value as it is sent, or its text if it cannot be.
unsafe fn literal(datum: pg_sys::Datum, ty: pg_sys::Oid) -> Result<Literal, String> {
    // SAFETY: a value of the base type of `ty`, that is not NULL.
    unsafe {
        let base = pg_sys::getBaseType(ty);
        let text = || {
            let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(base, &mut function, &mut is_varlena);
            from_server(pg_sys::OidOutputFunctionCall(function, datum))
        };
        let finite = |text: String| text.ends_with(|c: char| c.is_ascii_digit()).then_some(text);
        let literal = match base {
            pg_sys::BOOLOID => Some(Literal::Bool(datum.value() != 0)),
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Some(Literal::Integer(text())),
            pg_sys::NUMERICOID => finite(text()).map(|number| Literal::decimal(&number)),
            // As PostgreSQL compares it.
            pg_sys::BPCHAROID => Some(Literal::Text(text().trim_end_matches(' ').to_owned())),
            pg_sys::FLOAT4OID => {
                let value = f32::from_datum(datum, false).filter(|value| value.is_finite());
                value.map(|value| Literal::Double(format!("{value:?}")))
            }
            pg_sys::FLOAT8OID => {
                let value = f64::from_datum(datum, false).filter(|value| value.is_finite());
                value.map(|value| Literal::Double(format!("{value:?}")))
            }
            pg_sys::DATEOID => (datum.value() as i32).checked_add(EPOCH_DAYS).and_then(Literal::date),
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => {
                (datum.value() as i64).checked_add(EPOCH_MICROSECONDS).and_then(Literal::timestamp)
            }
            pg_sys::UUIDOID => Some(Literal::Uuid(text())),
            _ => Some(Literal::Text(text())),
        };
        literal.ok_or_else(text)
    }
}

/// The type of an expression, of a domain the one that it is over.
///
/// # Safety
/// `node` is an expression.
pub unsafe fn base_type(node: *mut pg_sys::Expr) -> pg_sys::Oid {
    // SAFETY: an expression.
    unsafe { pg_sys::getBaseType(pg_sys::exprType(node.cast())) }
}

/// The operator family of a type's default B-tree order.
///
/// # Safety
/// `ty` is in the catalog.
pub unsafe fn btree_family(ty: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: an entry of the type cache, which is never freed.
    unsafe {
        let entry =
            pg_sys::lookup_type_cache(pg_sys::getBaseType(ty), pg_sys::TYPECACHE_BTREE_OPFAMILY as i32);
        Some((*entry).btree_opf).filter(|family| *family != pg_sys::InvalidOid)
    }
}

/// The column of `relid` that an expression is, under whichever of its binary-compatible types.
///
/// # Safety
/// `node` is an expression.
pub unsafe fn attribute_of(relid: pg_sys::Index, node: *mut pg_sys::Expr) -> Option<i16> {
    // SAFETY: as the caller says; the tag tells which node it is.
    unsafe {
        let node = relabelled(node);
        if tag(node) != pg_sys::NodeTag::T_Var {
            return None;
        }
        let var: *mut pg_sys::Var = node.cast();
        let own = (*var).varno as pg_sys::Index == relid && (*var).varlevelsup == 0;
        own.then_some((*var).varattno)
    }
}

/// Which node an expression is.
///
/// # Safety
/// `node` is an expression.
pub unsafe fn tag(node: *mut pg_sys::Expr) -> pg_sys::NodeTag {
    // SAFETY: every node begins with its tag.
    unsafe { (*node.cast::<pg_sys::Node>()).type_ }
}

/// An expression without the binary-compatible types that it is shown under.
///
/// # Safety
/// `node` is an expression.
pub unsafe fn relabelled(mut node: *mut pg_sys::Expr) -> *mut pg_sys::Expr {
    // SAFETY: as the caller says; the tag tells which node it is.
    unsafe {
        while tag(node) == pg_sys::NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg;
        }
    }
    node
}

/// That of the elements, if the type is an array.
///
/// # Safety
/// `ty` is in the catalog.
pub unsafe fn element_type(ty: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up in the catalog.
    Some(unsafe { pg_sys::get_element_type(ty) }).filter(|element| *element != pg_sys::InvalidOid)
}

/// Under other collations texts are equal that are not to the server.
///
/// # Safety
/// `collation` is in the catalog, or none.
pub unsafe fn is_deterministic(collation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the catalog.
    unsafe { collation == pg_sys::InvalidOid || pg_sys::get_collation_isdeterministic(collation) }
}
