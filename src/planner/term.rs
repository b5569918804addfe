//! Translates clauses of a query from PostgreSQL's nodes into terms of `acumatica_pushdown`, which decides what can be
//! sent.
//!
//! The plan keeps every clause in its qual, so the executor rechecks all of them. BeginForeignScan finds them there.

use acumatica_pushdown::{
    Arithmetic, Case, Cast, Comparison, Literal, Node, Reason, Shippable, Syntax, Term, translate,
};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::catalog::table::ForeignColumn;
use crate::planner::solve::built;
use crate::planner::value::{
    attribute_of, base_type, btree_family, is_deterministic, literals, sql_type, tag,
};

type Expr = *mut pg_sys::Expr;

/// The functions and casts that can be translated, by their OID in pg_proc. It is the same in all supported versions of
/// PostgreSQL, while the names in `fmgroids.h` differ.
mod function {
    pub const LIKE: [u32; 2] = [850, 1631];
    pub const NOT_LIKE: [u32; 2] = [851, 1632];
    pub const ILIKE: [u32; 2] = [1633, 1660];
    pub const NOT_ILIKE: [u32; 2] = [1634, 1661];
    pub const STARTS_WITH: u32 = 3696;
    pub const LOWER: u32 = 870;
    pub const UPPER: u32 = 871;
    /// `strpos` and `position`, both with the text first and what is searched for second.
    pub const POSITION: [u32; 2] = [868, 849];
    pub const LEFT: u32 = 3060;
    /// `substr` and `substring` of a text with a first position and a length.
    pub const SUBSTRING: [u32; 2] = [877, 936];
    pub const BPCHAR_TO_TEXT: u32 = 401;
    /// From a number type to a wider one: smallint to integer, bigint and numeric, and so on; real to double precision.
    pub const WIDER: [u32; 7] = [313, 754, 1782, 481, 1740, 1781, 311];
    /// Casts that depend on the setting TimeZone: timestamptz to date and to timestamp, timestamp and date to
    /// timestamptz.
    pub const BY_ZONE: [u32; 4] = [1178, 2027, 2028, 1174];
    /// Casts that do not depend on it: timestamp to date, date to timestamp.
    pub const SAME_CLOCK: [u32; 2] = [2029, 2024];
    /// `date_trunc` of a timestamptz and of a timestamp.
    pub const DATE_TRUNC: [u32; 2] = [1217, 2020];
    /// `date_part` and `extract` of a timestamptz, a timestamp and a date.
    pub const DATE_PART: [u32; 5] = [1171, 2021, 6203, 6202, 6199];
}

/// The condition that the server can check for a clause on `columns` of the relation `relid`.
///
/// # Errors
/// The reason why no condition can be sent.
///
/// # Safety
/// `clause` is a valid expression tree of the current planner run or of a plan, as all `*mut Expr` in this module.
pub unsafe fn shippable(
    relid: pg_sys::Index,
    columns: &[ForeignColumn],
    clause: Expr,
) -> Result<Shippable<Expr>, Reason> {
    // SAFETY: the caller guarantees a valid tree. The values of the condition are subtrees of it, which `built` wraps
    // in nodes that it pallocs. Nothing frees them while the clause is in use: both live in the planner's or the
    // query's context.
    unsafe {
        let Shippable { condition, is_whole } = translate(&Nodes { relid, columns }.term(clause))?;
        Ok(Shippable { condition: condition.map(&mut |value| built(value)), is_whole })
    }
}

/// Reads the nodes of one relation's clauses.
///
/// # Safety
/// The expressions that its functions get are subtrees of the clause of [`shippable`], whose caller guarantees a valid
/// tree. The parser and the planner keep the invariant that makes each cast sound: a node is the struct that its tag
/// names, its list of arguments holds expressions, and its OIDs are in the catalog.
struct Nodes<'a> {
    relid: pg_sys::Index,
    columns: &'a [ForeignColumn],
}

impl Nodes<'_> {
    unsafe fn term(&self, expression: Expr) -> Term<Expr> {
        // SAFETY: `expression` is a subtree of the clause (see `Nodes`), so it is valid for each of these functions.
        unsafe {
            Term {
                value: expression,
                ty: sql_type(base_type(expression)),
                is_constant: is_constant(self.relid, expression),
                node: self.node(expression),
            }
        }
    }

    unsafe fn boxed(&self, expression: Expr) -> Box<Term<Expr>> {
        // SAFETY: `expression` is a subtree of the clause (see `Nodes`).
        Box::new(unsafe { self.term(expression) })
    }

    unsafe fn node(&self, expression: Expr) -> Node<Expr> {
        // SAFETY: `expression` is a subtree of the clause (see `Nodes`); each node is cast to the struct that its tag
        // names, and the parser sets `arg` and `args` of these structs.
        unsafe {
            match tag(expression) {
                pg_sys::NodeTag::T_Var => self.column(expression),
                pg_sys::NodeTag::T_Const => Node::Constant(constant(expression.cast())),
                pg_sys::NodeTag::T_RelabelType => {
                    Node::Relabelled(self.boxed((*expression.cast::<pg_sys::RelabelType>()).arg))
                }
                pg_sys::NodeTag::T_BoolExpr => self.combined(expression.cast()),
                pg_sys::NodeTag::T_OpExpr => self.operation(expression.cast()),
                pg_sys::NodeTag::T_FuncExpr => self.call(expression.cast()),
                pg_sys::NodeTag::T_DistinctExpr => {
                    let operation: *mut pg_sys::DistinctExpr = expression.cast();
                    let Some((left, right)) = two((*operation).args) else { return Node::Other };
                    Node::Distinct {
                        comparison: comparison((*operation).opno, left),
                        left: self.boxed(left),
                        right: self.boxed(right),
                        deterministic: is_deterministic((*operation).inputcollid),
                    }
                }
                pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                    let operation: *mut pg_sys::ScalarArrayOpExpr = expression.cast();
                    let Some((left, array)) = two((*operation).args) else { return Node::Other };
                    let element = pg_sys::get_element_type(pg_sys::exprType(array.cast()));
                    Node::CompareArray {
                        comparison: comparison((*operation).opno, left),
                        left: self.boxed(left),
                        array: self.boxed(array),
                        element: sql_type(pg_sys::getBaseType(element)),
                        any: (*operation).useOr,
                        deterministic: is_deterministic((*operation).inputcollid),
                    }
                }
                pg_sys::NodeTag::T_RowCompareExpr => self.rows(expression.cast()).unwrap_or(Node::Other),
                pg_sys::NodeTag::T_NullTest => {
                    let test: *mut pg_sys::NullTest = expression.cast();
                    Node::IsNull {
                        of: self.boxed((*test).arg),
                        is: (*test).nulltesttype == pg_sys::NullTestType::IS_NULL,
                        is_row: (*test).argisrow,
                    }
                }
                pg_sys::NodeTag::T_BooleanTest => {
                    use pg_sys::BoolTestType::*;
                    let test: *mut pg_sys::BooleanTest = expression.cast();
                    let (truth, is) = match (*test).booltesttype {
                        IS_TRUE => (Some(true), true),
                        IS_NOT_TRUE => (Some(true), false),
                        IS_FALSE => (Some(false), true),
                        IS_NOT_FALSE => (Some(false), false),
                        IS_UNKNOWN => (None, true),
                        _ => (None, false),
                    };
                    Node::IsTruth { of: self.boxed((*test).arg), truth, is }
                }
                _ => Node::Other,
            }
        }
    }

    unsafe fn column(&self, expression: Expr) -> Node<Expr> {
        // SAFETY: `expression` is a subtree of the clause (see `Nodes`).
        let Some(attribute) = (unsafe { attribute_of(self.relid, expression) }) else {
            return Node::Column(Err(Reason::NotAField));
        };
        let column = self.columns.iter().find(|column| column.attribute == attribute);
        Node::Column(column.map_or(Err(Reason::SystemColumn), |column| column.field.clone()))
    }

    unsafe fn combined(&self, operation: *mut pg_sys::BoolExpr) -> Node<Expr> {
        // SAFETY: `node` calls this for T_BoolExpr only. The arguments of a BoolExpr are a list of expressions (see
        // `Nodes`).
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let parts = || arguments.iter_ptr().map(|part| self.term(part)).collect();
            match (*operation).boolop {
                pg_sys::BoolExprType::AND_EXPR => Node::And(parts()),
                pg_sys::BoolExprType::OR_EXPR => Node::Or(parts()),
                _ => arguments.get_ptr(0).map_or(Node::Other, |inner| Node::Not(self.boxed(inner))),
            }
        }
    }

    unsafe fn operation(&self, operation: *mut pg_sys::OpExpr) -> Node<Expr> {
        // SAFETY: `node` calls this for T_OpExpr only. The catalog has the operator (see `Nodes`), so `get_opname`
        // returns a palloc'd copy of its name that ends with a NUL.
        unsafe {
            let (operator, collation) = ((*operation).opno, (*operation).inputcollid);
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let Some(left) = arguments.get_ptr(0) else { return Node::Other };
            if sql_type((*operation).opresulttype).is_number() {
                if operator.to_u32() >= pg_sys::FirstNormalObjectId {
                    return Node::Other;
                }
                let name = std::ffi::CStr::from_ptr(pg_sys::get_opname(operator)).to_bytes();
                let Some(right) = arguments.get_ptr(1) else {
                    return if name == b"-" { Node::Negate(self.boxed(left)) } else { Node::Other };
                };
                let operator = match name {
                    b"+" => Some(Arithmetic::Add),
                    b"-" => Some(Arithmetic::Subtract),
                    b"*" => Some(Arithmetic::Multiply),
                    b"/" => Some(Arithmetic::Divide),
                    _ => None,
                };
                return Node::Arithmetic { operator, left: self.boxed(left), right: self.boxed(right) };
            }
            let Some(right) = arguments.get_ptr(1) else { return Node::Other };
            match comparison(operator, left) {
                Some(comparison) => Node::Compare {
                    comparison,
                    left: self.boxed(left),
                    right: self.boxed(right),
                    deterministic: is_deterministic(collation),
                },
                None => {
                    let function = pg_sys::get_opcode(operator).to_u32();
                    self.matching(function, left, right, collation).unwrap_or(Node::Other)
                }
            }
        }
    }

    /// `(a, b) < (x, y)`, reduced to the comparison of `a` with `x`.
    unsafe fn rows(&self, rows: *mut pg_sys::RowCompareExpr) -> Option<Node<Expr>> {
        // SAFETY: `node` calls this for T_RowCompareExpr only. PostgreSQL keeps its lists of expressions and its lists
        // of OIDs at one length, and `get_ptr` and `get_oid` check the bounds.
        unsafe {
            let left = PgList::<pg_sys::Expr>::from_pg((*rows).largs).get_ptr(0)?;
            let right = PgList::<pg_sys::Expr>::from_pg((*rows).rargs).get_ptr(0)?;
            let operator = PgList::<std::ffi::c_void>::from_pg((*rows).opnos).get_oid(0)?;
            let collation = PgList::<std::ffi::c_void>::from_pg((*rows).inputcollids).get_oid(0)?;
            Some(Node::CompareRows {
                comparison: comparison(operator, left),
                left: self.boxed(left),
                right: self.boxed(right),
                deterministic: is_deterministic(collation),
            })
        }
    }

    unsafe fn call(&self, call: *mut pg_sys::FuncExpr) -> Node<Expr> {
        // SAFETY: `node` calls this for T_FuncExpr only. The arguments of a FuncExpr are a list of expressions (see
        // `Nodes`).
        unsafe {
            let (id, collation) = ((*call).funcid.to_u32(), (*call).inputcollid);
            let arguments = PgList::<pg_sys::Expr>::from_pg((*call).args);
            let Some(first) = arguments.get_ptr(0) else { return Node::Call };
            let cast = |cast| Node::Cast(cast, self.boxed(first));
            let in_case = |case| {
                let deterministic = is_deterministic(collation);
                Node::InCase { case, of: self.boxed(first), deterministic }
            };
            match id {
                function::LOWER => return in_case(Case::Lower),
                function::UPPER => return in_case(Case::Upper),
                function::BPCHAR_TO_TEXT => return cast(Cast::Unpadded),
                id if function::WIDER.contains(&id) => return cast(Cast::Wider),
                id if function::SAME_CLOCK.contains(&id) => return cast(Cast::SameClock),
                id if function::BY_ZONE.contains(&id) => return cast(Cast::ByZone),
                _ => {}
            }
            let Some(second) = arguments.get_ptr(1) else { return Node::Call };
            match id {
                id if function::DATE_TRUNC.contains(&id) => {
                    Node::Truncate { unit: unit(first), of: self.boxed(second) }
                }
                id if function::DATE_PART.contains(&id) => {
                    Node::Extract { unit: unit(first), of: self.boxed(second) }
                }
                function::LEFT => Node::Beginning(self.boxed(first)),
                id if function::SUBSTRING.contains(&id) => match self.node(second) {
                    Node::Constant(Some(Literal::Integer(digits))) if digits == "1" => {
                        Node::Beginning(self.boxed(first))
                    }
                    _ => Node::Call,
                },
                id if function::POSITION.contains(&id) => Node::Position {
                    subject: self.boxed(first),
                    text: self.boxed(second),
                    deterministic: is_deterministic(collation),
                },
                id => self.matching(id, first, second, collation).unwrap_or(Node::Call),
            }
        }
    }

    /// LIKE, ILIKE, their negations and `starts_with`, by the OID of the function.
    unsafe fn matching(
        &self,
        function: u32,
        subject: Expr,
        text: Expr,
        collation: pg_sys::Oid,
    ) -> Option<Node<Expr>> {
        let (syntax, any_case, holds) = match function {
            f if function::LIKE.contains(&f) => (Syntax::Like, false, true),
            f if function::NOT_LIKE.contains(&f) => (Syntax::Like, false, false),
            f if function::ILIKE.contains(&f) => (Syntax::Like, true, true),
            f if function::NOT_ILIKE.contains(&f) => (Syntax::Like, true, false),
            function::STARTS_WITH => (Syntax::Start, false, true),
            _ => return None,
        };
        // SAFETY: both are arguments of the operator or function, so subtrees of the clause (see `Nodes`).
        unsafe {
            let (subject, text) = (self.boxed(subject), self.boxed(text));
            let deterministic = is_deterministic(collation);
            Some(Node::Matches { syntax, any_case, holds, subject, text, deterministic })
        }
    }
}

/// The first two arguments of an operator.
///
/// # Safety
/// `arguments` is a list of expressions, or NULL, which is the empty list.
unsafe fn two(arguments: *mut pg_sys::List) -> Option<(Expr, Expr)> {
    // SAFETY: the caller guarantees a list of expressions; `get_ptr` checks the bounds.
    let arguments = unsafe { PgList::<pg_sys::Expr>::from_pg(arguments) };
    Some((arguments.get_ptr(0)?, arguments.get_ptr(1)?))
}

/// The literal of a constant of a number type or of the type text; of no other type is one needed.
///
/// # Safety
/// `constant` points to a valid Const.
unsafe fn constant(constant: *mut pg_sys::Const) -> Option<Literal> {
    // SAFETY: the caller guarantees a Const. PostgreSQL keeps the invariant that `constvalue` is a datum of the type
    // `consttype` unless `constisnull` is set; neither kind of type is an array, so there is no element type.
    unsafe {
        let ty = (*constant).consttype;
        let is_told = sql_type(ty).is_number() || ty == pg_sys::TEXTOID;
        if (*constant).constisnull || !is_told {
            return None;
        }
        literals((*constant).constvalue, ty, None).literals.pop()?.ok()
    }
}

/// The unit that `date_trunc` and `extract` get as their first argument, in lower case, if it is a constant.
///
/// # Safety
/// `node` is a valid expression tree.
unsafe fn unit(node: Expr) -> Option<String> {
    // SAFETY: the caller guarantees a valid tree. It is read as a Const only if its tag says so (`||` stops before),
    // and its datum as a text only if its type is text and it is not NULL.
    unsafe {
        let constant: *mut pg_sys::Const = node.cast();
        if tag(node) != pg_sys::NodeTag::T_Const
            || (*constant).constisnull
            || (*constant).consttype != pg_sys::TEXTOID
        {
            return None;
        }
        String::from_datum((*constant).constvalue, false).map(|unit| unit.to_ascii_lowercase())
    }
}

/// Which comparison an operator is in the default B-tree operator family of the type of its left side.
///
/// # Safety
/// `left` is a valid expression tree.
unsafe fn comparison(operator: pg_sys::Oid, left: Expr) -> Option<Comparison> {
    // SAFETY: the caller guarantees the tree, so the catalog has its type. The look-ups return OIDs and numbers by
    // value: 0 for an operator that is not in the family, InvalidOid for one without a negator.
    unsafe {
        let family = btree_family(base_type(left))?;
        let strategy = |operator| pg_sys::get_op_opfamily_strategy(operator, family) as u32;
        match strategy(operator) {
            pg_sys::BTEqualStrategyNumber => Some(Comparison::Eq),
            pg_sys::BTLessStrategyNumber => Some(Comparison::Lt),
            pg_sys::BTLessEqualStrategyNumber => Some(Comparison::Le),
            pg_sys::BTGreaterStrategyNumber => Some(Comparison::Gt),
            pg_sys::BTGreaterEqualStrategyNumber => Some(Comparison::Ge),
            // A B-tree family has no strategy for `<>`, but for the `=` that it negates.
            _ => {
                let equality = pg_sys::get_negator(operator);
                let is_equality =
                    equality != pg_sys::InvalidOid && strategy(equality) == pg_sys::BTEqualStrategyNumber;
                is_equality.then_some(Comparison::Ne)
            }
        }
    }
}

/// Whether an expression has the same value for all rows of the scan: no column of `relid`, no volatile function.
///
/// # Safety
/// `expression` is a valid expression tree.
unsafe fn is_constant(relid: pg_sys::Index, expression: Expr) -> bool {
    let mut used = std::ptr::null_mut();
    // SAFETY: the caller guarantees the tree, which both functions only read. `pull_varattnos` stores a palloc'd bitmap
    // in `used`, which begins as NULL, the empty set.
    unsafe {
        pg_sys::pull_varattnos(expression.cast(), relid, &mut used);
        used.is_null() && !pg_sys::contain_volatile_functions(expression.cast())
    }
}
