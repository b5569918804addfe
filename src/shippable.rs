//! Which conditions of a query the server is asked to apply.
//!
//! All of them are checked again by the executor, which is why they stand in the plan's own list of conditions, and
//! are found there when a scan begins. So the server may keep rows too many; it must never drop one that PostgreSQL
//! would keep. Here it is judged what a condition means in PostgreSQL; what a dialect can be trusted with is judged by
//! the client that writes it.

use acumatica_client::decode::ColumnType;
use acumatica_client::{Comparison, Filter, Literal};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::value::{Expression, are_alike, attribute_of, element_type, is_deterministic, literals};

/// A column that conditions can be about.
#[derive(Clone, Debug)]
pub struct Field {
    pub attribute: i16,
    pub path: Vec<String>,
    pub ty: ColumnType,
    /// The option `pushdown` says so, and does not only leave it at that.
    pub vouched: bool,
}

/// A condition, over whatever stands for the values in it.
#[derive(Debug)]
pub enum Condition<V> {
    And(Vec<Condition<V>>),
    Or(Vec<Condition<V>>),
    /// The column compares so to one of the values at least.
    Compare {
        field: Field,
        comparison: Comparison,
        values: V,
    },
}

/// What a condition is once its values are known.
enum Outcome {
    Ask(Filter),
    /// A value is NULL: no row can meet it.
    Never,
    /// A value cannot be sent.
    Unknown,
}

/// The conditions on `fields` of the relation `relid` that can be sent at all, each over its value's expression.
///
/// # Safety
/// `clauses` are those that a scan of the relation checks.
pub unsafe fn conditions(
    relid: pg_sys::Index,
    fields: &[Field],
    clauses: *mut pg_sys::List,
) -> Vec<Condition<*mut pg_sys::Expr>> {
    // SAFETY: as the caller says.
    unsafe {
        let clauses = PgList::<pg_sys::Expr>::from_pg(clauses);
        clauses.iter_ptr().filter_map(|clause| condition(relid, fields, clause)).collect()
    }
}

unsafe fn condition(
    relid: pg_sys::Index,
    fields: &[Field],
    clause: *mut pg_sys::Expr,
) -> Option<Condition<*mut pg_sys::Expr>> {
    // SAFETY: an expression; each node is looked at as what its tag says it is.
    unsafe {
        match (*clause.cast::<pg_sys::Node>()).type_ {
            pg_sys::NodeTag::T_Var => truth(column(relid, fields, clause)?, true),
            pg_sys::NodeTag::T_BoolExpr => {
                let operation: *mut pg_sys::BoolExpr = clause.cast();
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                let parts = arguments.iter_ptr().map(|part| condition(relid, fields, part));
                match (*operation).boolop {
                    pg_sys::BoolExprType::OR_EXPR => Some(Condition::Or(parts.collect::<Option<_>>()?)),
                    pg_sys::BoolExprType::AND_EXPR => {
                        let parts: Vec<_> = parts.flatten().collect();
                        (!parts.is_empty()).then_some(Condition::And(parts))
                    }
                    // Only what is true or false, never unknown to the server, can be turned around.
                    _ => truth(column(relid, fields, arguments.get_ptr(0)?)?, false),
                }
            }
            pg_sys::NodeTag::T_OpExpr => {
                let operation: *mut pg_sys::OpExpr = clause.cast();
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                let (left, right) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
                let comparison = comparison((*operation).opno, left)?;
                let (field, mine, values, comparison) = match column(relid, fields, left) {
                    Some(field) => (field, left, right, comparison),
                    None => (column(relid, fields, right)?, right, left, turned(comparison)),
                };
                let alike = are_alike(pg_sys::exprType(mine.cast()), pg_sys::exprType(values.cast()));
                let shippable = alike
                    && is_known(pg_sys::exprType(mine.cast()))
                    && is_deterministic((*operation).inputcollid)
                    && is_constant(relid, values);
                shippable.then_some(Condition::Compare { field, comparison, values })
            }
            pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                let operation: *mut pg_sys::ScalarArrayOpExpr = clause.cast();
                let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
                let (left, values) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
                let field = column(relid, fields, left)?;
                let comparison = comparison((*operation).opno, left)?;
                let element = pg_sys::get_element_type(pg_sys::exprType(values.cast()));
                let shippable = (*operation).useOr
                    && comparison == Comparison::Eq
                    && are_alike(pg_sys::exprType(left.cast()), element)
                    && is_known(element)
                    && is_deterministic((*operation).inputcollid)
                    && is_constant(relid, values);
                shippable.then_some(Condition::Compare { field, comparison, values })
            }
            _ => None,
        }
    }
}

/// A boolean column as a condition.
unsafe fn truth(field: Field, value: bool) -> Option<Condition<*mut pg_sys::Expr>> {
    // SAFETY: palloc only.
    let values = unsafe { pg_sys::makeBoolConst(value, false).cast() };
    (field.ty == ColumnType::Bool).then_some(Condition::Compare { field, comparison: Comparison::Eq, values })
}

/// The column that an expression is, under whichever of its binary-compatible types.
unsafe fn column(relid: pg_sys::Index, fields: &[Field], node: *mut pg_sys::Expr) -> Option<Field> {
    // SAFETY: an expression.
    let attribute = unsafe { attribute_of(relid, node) }?;
    fields.iter().find(|field| field.attribute == attribute).cloned()
}

/// What an operator does, by the B-tree order of the type of its left side.
unsafe fn comparison(operator: pg_sys::Oid, left: *mut pg_sys::Expr) -> Option<Comparison> {
    // SAFETY: look-ups in the catalog, which return palloc'd nodes.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(
            pg_sys::getBaseType(pg_sys::exprType(left.cast())),
            pg_sys::BTREE_AM_OID,
        );
        if class == pg_sys::InvalidOid {
            return None;
        }
        match pg_sys::get_op_opfamily_strategy(operator, pg_sys::get_opclass_family(class)) as u32 {
            pg_sys::BTEqualStrategyNumber => Some(Comparison::Eq),
            pg_sys::BTLessStrategyNumber => Some(Comparison::Lt),
            pg_sys::BTLessEqualStrategyNumber => Some(Comparison::Le),
            pg_sys::BTGreaterStrategyNumber => Some(Comparison::Gt),
            pg_sys::BTGreaterEqualStrategyNumber => Some(Comparison::Ge),
            _ => None,
        }
    }
}

fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Eq,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// Whether comparisons of a type mean the same to the server, or less.
fn is_known(ty: pg_sys::Oid) -> bool {
    matches!(
        ty,
        pg_sys::BOOLOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::NUMERICOID
            | pg_sys::TEXTOID
            | pg_sys::VARCHAROID
            | pg_sys::BPCHAROID
            | pg_sys::DATEOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
            | pg_sys::UUIDOID
    )
}

/// Whether an expression has the same value for all rows of the scan.
unsafe fn is_constant(relid: pg_sys::Index, expression: *mut pg_sys::Expr) -> bool {
    let mut used = std::ptr::null_mut();
    // SAFETY: an expression; the out-parameter is valid.
    unsafe {
        pg_sys::pull_varattnos(expression.cast(), relid, &mut used);
        used.is_null() && !pg_sys::contain_volatile_functions(expression.cast())
    }
}

/// The conditions of a scan, ready to be worked out.
#[derive(Debug)]
pub struct Conditions(Vec<Condition<Expression>>);

impl Conditions {
    /// # Safety
    /// `node` is being begun, in the memory context of the query, with the relation of `fields`.
    pub unsafe fn begin(node: *mut pg_sys::ForeignScanState, fields: &[Field]) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
            let found = conditions((*plan).scan.scanrelid, fields, (*plan).scan.plan.qual);
            let begin = |expression| Expression::begin(node, expression);
            Self(found.into_iter().map(|condition| condition.map(&begin)).collect())
        }
    }

    /// What the server is asked to apply; `None` if no row can meet the conditions.
    ///
    /// # Safety
    /// `node` is the scan that this was begun for.
    pub unsafe fn filter(&self, node: *mut pg_sys::ForeignScanState) -> Option<Option<Filter>> {
        // SAFETY: as the caller says.
        let values = |expression: &Expression| unsafe { expression.values(node) };
        match all(&self.0, &values) {
            Outcome::Ask(filter) => Some(Some(filter)),
            Outcome::Unknown => Some(None),
            Outcome::Never => None,
        }
    }
}

/// The same for a plan that is only described: what is not known yet is shown as `text` has it.
///
/// # Safety
/// `clauses` are those that a scan of the relation checks.
pub unsafe fn described(
    relid: pg_sys::Index,
    fields: &[Field],
    clauses: *mut pg_sys::List,
    text: impl Fn(*mut pg_sys::Expr) -> String,
) -> Option<Filter> {
    let values = |expression: &*mut pg_sys::Expr| {
        // SAFETY: an expression of the plan; a constant that is not NULL has a value of its type.
        unsafe {
            let constant: *mut pg_sys::Const = expression.cast();
            if (*constant).xpr.type_ != pg_sys::NodeTag::T_Const {
                return vec![Ok(Literal::Shown(format!("{{{}}}", text(*expression))))];
            }
            if (*constant).constisnull {
                return Vec::new();
            }
            let element = element_type((*constant).consttype);
            literals((*constant).constvalue, (*constant).consttype, element)
        }
    };
    // SAFETY: as the caller says.
    let found = unsafe { conditions(relid, fields, clauses) };
    match all(&found, &values) {
        Outcome::Ask(filter) => Some(filter),
        Outcome::Never | Outcome::Unknown => None,
    }
}

impl<V> Condition<V> {
    fn map<W>(self, change: &impl Fn(V) -> W) -> Condition<W> {
        let each = |parts: Vec<Self>| parts.into_iter().map(|part| part.map(change)).collect();
        match self {
            Self::And(parts) => Condition::And(each(parts)),
            Self::Or(parts) => Condition::Or(each(parts)),
            Self::Compare { field, comparison, values } => {
                Condition::Compare { field, comparison, values: change(values) }
            }
        }
    }

    fn work_out(&self, values: &impl Fn(&V) -> Vec<Result<Literal, String>>) -> Outcome {
        match self {
            Self::And(parts) => all(parts, values),
            Self::Or(parts) => any(parts.iter().map(|part| part.work_out(values))),
            Self::Compare { field: Field { path, ty, vouched, .. }, comparison, values: source } => {
                any(values(source).into_iter().map(|value| match value {
                    Ok(value) => Outcome::Ask(Filter::Compare {
                        field: path.clone(),
                        ty: *ty,
                        comparison: *comparison,
                        value,
                        vouched: *vouched,
                    }),
                    Err(_) => Outcome::Unknown,
                }))
            }
        }
    }
}

/// All must be met: what is not known need not be asked for.
fn all<V>(parts: &[Condition<V>], values: &impl Fn(&V) -> Vec<Result<Literal, String>>) -> Outcome {
    let mut asked = Vec::new();
    for part in parts {
        match part.work_out(values) {
            Outcome::Ask(filter) => asked.push(filter),
            Outcome::Never => return Outcome::Never,
            Outcome::Unknown => {}
        }
    }
    if asked.is_empty() { Outcome::Unknown } else { Outcome::Ask(Filter::And(asked)) }
}

/// One must be met, and it may be the one that is not known.
fn any(parts: impl Iterator<Item = Outcome>) -> Outcome {
    let (mut asked, mut unknown) = (Vec::new(), false);
    for part in parts {
        match part {
            Outcome::Ask(filter) => asked.push(filter),
            Outcome::Never => {}
            Outcome::Unknown => unknown = true,
        }
    }
    match asked.len() {
        _ if unknown => Outcome::Unknown,
        0 => Outcome::Never,
        1 => Outcome::Ask(asked.remove(0)),
        _ => Outcome::Ask(Filter::Or(asked)),
    }
}
