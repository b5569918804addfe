//! The values that a query compares columns with, as they are sent to the server.

use std::collections::HashSet;

use acumatica_pushdown::{Literal, SqlType, Values};
use pgrx::prelude::*;

use crate::backend::encoding::from_server;
use crate::catalog::types::{EPOCH_DAYS, EPOCH_MICROSECONDS};

/// Whether an operator is the `=` of the type of its left side.
///
/// # Safety
/// `left` is a valid expression tree, as the parser or the planner built it.
pub unsafe fn is_equality(operator: pg_sys::Oid, left: *mut pg_sys::Expr) -> bool {
    // SAFETY: `exprType` reads the tree that the caller guarantees. `op_mergejoinable` looks the OID up in the catalog,
    // and returns false if it is not there.
    unsafe { pg_sys::op_mergejoinable(operator, pg_sys::exprType(left.cast())) }
}

/// Whether values of one type can be sent for a parameter of the other.
pub fn are_alike(one: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    sql_type(one).is_alike(sql_type(other))
}

/// The type with this OID, as the pushdown rules know it.
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

/// The value of a constant. For any other expression, a placeholder with what `text` returns for it: EXPLAIN shows it,
/// as the value is only known when the scan starts.
///
/// # Safety
/// `expression` is a valid expression tree, of a plan or of the current planner run.
pub unsafe fn shown(expression: *mut pg_sys::Expr, text: impl Fn(*mut pg_sys::Expr) -> String) -> Values {
    // SAFETY: the caller guarantees a valid tree, whose tag is checked before it is read as a `Const`. PostgreSQL keeps
    // the invariant that `constvalue` is a datum of the type `consttype` unless `constisnull` is set.
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

/// The literals of a datum: one, or one for each distinct element of an array.
///
/// # Safety
/// `value` is a datum of the type `ty` that is not NULL. `element` is what [`element_type`] returns for `ty`.
pub unsafe fn literals(value: pg_sys::Datum, ty: pg_sys::Oid, element: Option<pg_sys::Oid>) -> Values {
    // SAFETY: the caller guarantees a datum of `ty`, so with an `element` it is an array of that type, and the datums
    // that `elements` returns are elements of it.
    unsafe {
        let (datums, has_null) = match element {
            None => (vec![value], false),
            Some(element) => elements(value, element),
        };
        let literals = datums.into_iter().map(|datum| literal(datum, element.unwrap_or(ty)));
        // A set, because arrays can be long: a linear search for each element would be quadratic.
        let mut met = HashSet::new();
        let literals = literals.filter(|value| met.insert(value.clone())).collect();
        Values { literals, has_null }
    }
}

/// The elements of an array that are not NULL, and whether any is NULL.
///
/// # Safety
/// `array` is a datum of an array type that is not NULL, and its elements are of the type `element`.
unsafe fn elements(array: pg_sys::Datum, element: pg_sys::Oid) -> (Vec<pg_sys::Datum>, bool) {
    let (mut length, mut by_value, mut align) = (0, false, 0);
    let (mut datums, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the caller guarantees an array of `element`s; length, by-value flag and alignment are of the same type.
    // `deconstruct_array` pallocs both result arrays with `count` entries each, so every `index` below `count` is
    // inside. Datums by reference point into the detoasted array, which nothing frees before the memory context is
    // reset.
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

/// A datum as a literal, or its text if no literal can express it (such as `infinity`).
///
/// # Safety
/// `datum` is of the type `ty` and not NULL.
unsafe fn literal(datum: pg_sys::Datum, ty: pg_sys::Oid) -> Result<Literal, String> {
    // SAFETY: the caller guarantees a datum of `ty`. A domain has the representation of its base type, so the output
    // function and the conversions of the base type fit. What the output function returns is palloc'd and ends with a
    // NUL.
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
            // Comparisons of `char(n)` ignore blanks at the end.
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

/// The type of an expression; for a domain, its base type.
///
/// # Safety
/// `node` is a valid expression tree.
pub unsafe fn base_type(node: *mut pg_sys::Expr) -> pg_sys::Oid {
    // SAFETY: `exprType` reads the tree that the caller guarantees, and returns a type that the catalog has.
    unsafe { pg_sys::getBaseType(pg_sys::exprType(node.cast())) }
}

/// The operator family of a type's default B-tree order.
///
/// # Safety
/// The catalog has the type `ty`; otherwise PostgreSQL raises an error.
pub unsafe fn btree_family(ty: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: the caller guarantees that the type exists. PostgreSQL never frees an entry of the type cache.
    unsafe {
        let entry =
            pg_sys::lookup_type_cache(pg_sys::getBaseType(ty), pg_sys::TYPECACHE_BTREE_OPFAMILY as i32);
        Some((*entry).btree_opf).filter(|family| *family != pg_sys::InvalidOid)
    }
}

/// The attribute number, if an expression is a Var of the relation `relid`, also below RelabelType nodes.
///
/// # Safety
/// `node` is a valid expression tree.
pub unsafe fn attribute_of(relid: pg_sys::Index, node: *mut pg_sys::Expr) -> Option<i16> {
    // SAFETY: the caller guarantees a valid tree; the node is read as a `Var` only if its tag is T_Var.
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

/// The node tag of an expression.
///
/// # Safety
/// `node` points to a PostgreSQL node, and is not NULL.
pub unsafe fn tag(node: *mut pg_sys::Expr) -> pg_sys::NodeTag {
    // SAFETY: the caller guarantees a node, and every node struct of PostgreSQL begins with its tag.
    unsafe { (*node.cast::<pg_sys::Node>()).type_ }
}

/// The expression below all RelabelType nodes, which change the type but not the datum.
///
/// # Safety
/// `node` is a valid expression tree.
pub unsafe fn relabelled(mut node: *mut pg_sys::Expr) -> *mut pg_sys::Expr {
    // SAFETY: the caller guarantees a valid tree; the node is read as a `RelabelType` only if its tag says so, and the
    // parser always sets `arg`.
    unsafe {
        while tag(node) == pg_sys::NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg;
        }
    }
    node
}

/// The type of the elements, if `ty` is an array type.
///
/// # Safety
/// Called on the thread of the backend, inside a transaction, as each look-up in the catalog.
pub unsafe fn element_type(ty: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up in the system cache, which the caller allows; it returns InvalidOid for any other OID.
    Some(unsafe { pg_sys::get_element_type(ty) }).filter(|element| *element != pg_sys::InvalidOid)
}

/// Whether a collation is deterministic. Under a nondeterministic one, PostgreSQL takes texts for equal that the server
/// takes for different.
///
/// # Safety
/// `collation` is InvalidOid, or the catalog has it; otherwise PostgreSQL raises an error.
pub unsafe fn is_deterministic(collation: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system cache; the caller guarantees that the collation exists.
    unsafe { collation == pg_sys::InvalidOid || pg_sys::get_collation_isdeterministic(collation) }
}
