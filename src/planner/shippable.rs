//! Which conditions of a query the server is asked to apply.
//!
//! All of them are checked again by the executor, which is why they stand in the plan's own list of conditions, and
//! are found there when a scan begins. So the server may keep rows too many; it must never drop one that PostgreSQL
//! would keep. Here it is judged what a condition means in PostgreSQL; what a dialect can be trusted with is judged by
//! the client that writes it.
//!
//! A condition keeps a row if it is true. What is asked for are the rows of which it is true, or, under NOT, those of
//! which it is false: so no negation is ever sent, and it need not be known what a server makes of one.

use acumatica_pushdown::{Case, Comparison, Field, Slack, Test, TypeCategory};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::catalog::table::Column;
use crate::planner::condition::{Condition, Reading, Syntax};
use crate::planner::solve::{Step, solved, turned};
use crate::planner::value::{
    are_alike, attribute_of, base_type, btree_family, is_deterministic, relabelled, tag,
};

type Expr = *mut pg_sys::Expr;
/// A condition over expressions, or why there is none.
type Found = Result<Condition<Expr>, &'static str>;

const NOT_A_FIELD: &str = "it is not about a field alone";
const NO_OPERATOR: &str = "the server has no such operator or function, or is not known to";
/// The server has no column for it.
const NO_SYSTEM_COLUMN: &str = "it is a column of PostgreSQL's own";
const NOT_CONSTANT: &str = "the value differs from row to row";
const OTHER_TYPES: &str = "the types are compared otherwise by the server";
const OTHER_COLLATION: &str = "the collation finds texts equal that are not to the server";
const NOT_MATCHING: &str = "the server cannot be asked for texts that do not match";

/// Functions and casts that conditions are looked for in, by their place in pg_proc, which has not changed since
/// PostgreSQL 13. `fmgroids.h` calls many of them differently from version to version.
mod function {
    pub const LIKE: [u32; 2] = [850, 1631];
    pub const NOT_LIKE: [u32; 2] = [851, 1632];
    pub const ILIKE: [u32; 2] = [1633, 1660];
    pub const NOT_ILIKE: [u32; 2] = [1634, 1661];
    pub const STARTS_WITH: u32 = 3696;
    pub const LOWER: u32 = 870;
    pub const UPPER: u32 = 871;
    /// `strpos`, and `position` with its arguments the same way round.
    pub const POSITION: [u32; 2] = [868, 849];
    pub const BPCHAR_TO_TEXT: u32 = 401;
    /// From one number to a wider one: smallint to integer, bigint and numeric, and so on; real to double precision.
    pub const WIDER: [u32; 7] = [313, 754, 1782, 481, 1740, 1781, 311];
    /// timestamptz to date, timestamptz to timestamp, timestamp to timestamptz, date to timestamptz: by the time zone.
    pub const BY_ZONE: [u32; 4] = [1178, 2027, 2028, 1174];
    /// timestamp to date, date to timestamp.
    pub const SAME_CLOCK: [u32; 2] = [2029, 2024];
    /// `date_trunc` of a timestamptz and of a timestamp.
    pub const DATE_TRUNC: [u32; 2] = [1217, 2020];
    /// `date_part` and `extract` of a timestamptz, a timestamp and a date.
    pub const DATE_PART: [u32; 5] = [1171, 2021, 6203, 6202, 6199];
}

/// A clause that can be sent.
#[derive(Clone, Debug)]
pub struct Shippable {
    /// Over the expressions of its values.
    pub condition: Condition<Expr>,
    /// No part of the clause was left out.
    pub is_whole: bool,
}

/// What a clause on `columns` of the relation `relid` asks of the server.
///
/// # Errors
/// Why it cannot be sent.
///
/// # Safety
/// `clause` is one that a scan of the relation checks.
pub unsafe fn translate(
    relid: pg_sys::Index,
    columns: &[Column],
    clause: Expr,
) -> Result<Shippable, &'static str> {
    let mut translator = Translator { relid, columns, dropped: false };
    // SAFETY: as the caller says.
    let condition = unsafe { translator.truth(clause, true)? };
    Ok(Shippable { condition, is_whole: !translator.dropped })
}

struct Translator<'a> {
    relid: pg_sys::Index,
    columns: &'a [Column],
    /// Some part of a condition was left out.
    dropped: bool,
}

/// What of a field a comparison is about, and what has to be done to the other side for it to be about the field.
struct Subject {
    field: Field,
    reading: Reading,
    slack: Slack,
    /// From the outermost to the innermost.
    steps: Vec<Step>,
}

impl Translator<'_> {
    /// The rows of which a condition is `wanted`: true, or false.
    unsafe fn truth(&mut self, clause: Expr, wanted: bool) -> Found {
        // SAFETY: an expression of a plan; each node is looked at as what its tag says it is.
        unsafe {
            match tag(clause) {
                pg_sys::NodeTag::T_Var => self.boolean(self.column(clause)?, wanted),
                pg_sys::NodeTag::T_BoolExpr => self.combined(clause.cast(), wanted),
                pg_sys::NodeTag::T_OpExpr => self.operation(clause.cast(), wanted),
                pg_sys::NodeTag::T_DistinctExpr => self.distinct(clause.cast(), wanted),
                pg_sys::NodeTag::T_ScalarArrayOpExpr => self.of_array(clause.cast(), wanted),
                pg_sys::NodeTag::T_RowCompareExpr => self.rows(clause.cast(), wanted),
                pg_sys::NodeTag::T_NullTest => {
                    let test: *mut pg_sys::NullTest = clause.cast();
                    let field = self.column((*test).arg)?;
                    let is_null = (*test).nulltesttype == pg_sys::NullTestType::IS_NULL;
                    match (*test).argisrow {
                        true => Err(NO_OPERATOR),
                        false => Ok(Condition::Test(
                            field,
                            if is_null == wanted { Test::Null } else { Test::NotNull },
                        )),
                    }
                }
                pg_sys::NodeTag::T_BooleanTest => self.boolean_test(clause.cast(), wanted),
                pg_sys::NodeTag::T_FuncExpr => {
                    let call: *mut pg_sys::FuncExpr = clause.cast();
                    let arguments = PgList::<pg_sys::Expr>::from_pg((*call).args);
                    match (arguments.get_ptr(0), arguments.get_ptr(1)) {
                        (Some(left), Some(right)) => {
                            self.matching((*call).funcid.to_u32(), left, right, (*call).inputcollid, wanted)
                        }
                        _ => Err(NO_OPERATOR),
                    }
                }
                _ => Err(NO_OPERATOR),
            }
        }
    }

    /// A boolean column as a condition.
    fn boolean(&self, field: Field, wanted: bool) -> Found {
        if TypeCategory::of(field.ty) != Some(TypeCategory::Bool) {
            return Err(OTHER_TYPES);
        }
        // SAFETY: palloc only.
        let values = unsafe { pg_sys::makeBoolConst(wanted, false).cast() };
        Ok(compare(field, Comparison::Eq, values))
    }

    /// AND, OR, NOT, by De Morgan's laws.
    unsafe fn combined(&mut self, operation: *mut pg_sys::BoolExpr, wanted: bool) -> Found {
        // SAFETY: an expression.
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let every = match (*operation).boolop {
                pg_sys::BoolExprType::NOT_EXPR => {
                    let inner = arguments.get_ptr(0).ok_or(NO_OPERATOR)?;
                    return self.truth(inner, !wanted);
                }
                pg_sys::BoolExprType::AND_EXPR => wanted,
                _ => !wanted,
            };
            let parts: Vec<Found> = arguments.iter_ptr().map(|part| self.truth(part, wanted)).collect();
            if !every {
                return Ok(Condition::Or(parts.into_iter().collect::<Result<_, _>>()?));
            }
            let mut found = Vec::new();
            let mut why = None;
            for part in parts {
                match part {
                    Ok(part) => found.push(part),
                    Err(reason) => why = why.or(Some(reason)),
                }
            }
            self.dropped |= why.is_some();
            match (found.is_empty(), why) {
                (true, Some(why)) => Err(why),
                _ => Ok(Condition::And(found)),
            }
        }
    }

    /// IS [NOT] TRUE, FALSE, UNKNOWN.
    unsafe fn boolean_test(&mut self, test: *mut pg_sys::BooleanTest, wanted: bool) -> Found {
        use pg_sys::BoolTestType::*;
        // SAFETY: an expression.
        unsafe {
            let inner = (*test).arg;
            let (is, truth) = match (*test).booltesttype {
                IS_TRUE => (wanted, Some(true)),
                IS_NOT_TRUE => (!wanted, Some(true)),
                IS_FALSE => (wanted, Some(false)),
                IS_NOT_FALSE => (!wanted, Some(false)),
                IS_UNKNOWN => (wanted, None),
                _ => (!wanted, None),
            };
            match (truth, is) {
                (Some(truth), true) => self.truth(inner, truth),
                // The other value, or none.
                (Some(truth), false) => {
                    let field = self.column(inner)?;
                    let other = self.boolean(field.clone(), !truth)?;
                    Ok(Condition::Or(vec![other, Condition::Test(field, Test::Null)]))
                }
                (None, true) => Ok(Condition::Test(self.column(inner)?, Test::Null)),
                (None, false) => Ok(Condition::Test(self.column(inner)?, Test::NotNull)),
            }
        }
    }

    unsafe fn operation(&self, operation: *mut pg_sys::OpExpr, wanted: bool) -> Found {
        // SAFETY: an expression.
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let (Some(left), Some(right)) = (arguments.get_ptr(0), arguments.get_ptr(1)) else {
                return Err(NO_OPERATOR);
            };
            let (operator, collation) = ((*operation).opno, (*operation).inputcollid);
            let Some(comparison) = comparison(operator, left) else {
                let function = pg_sys::get_opcode(operator).to_u32();
                return self.matching(function, left, right, collation, wanted);
            };
            let comparison = if wanted { comparison } else { negated(comparison) };
            if let Some(found) = self.position(left, comparison, right) {
                return found;
            }
            if let Ok(found) = self.whole_text(left, comparison, right, collation) {
                return Ok(found);
            }
            match self.compared(left, comparison, right, collation) {
                Err(NOT_A_FIELD) => self.compared(right, turned(comparison), left, collation),
                found => found,
            }
        }
    }

    /// A comparison of what comes from a field with what does not.
    unsafe fn compared(
        &self,
        mine: Expr,
        comparison: Comparison,
        value: Expr,
        collation: pg_sys::Oid,
    ) -> Found {
        // SAFETY: expressions.
        unsafe {
            let Subject { field, reading, slack, steps } = self.subject(mine)?;
            self.check_constant(value)?;
            if !is_deterministic(collation) {
                return Err(OTHER_COLLATION);
            }
            let (ty, other) = (base_type(mine), base_type(value));
            let mut slack = slack;
            if reading == Reading::Value && !are_comparable(ty, other) {
                return Err(OTHER_TYPES);
            }
            if is_moment(ty) && ty != other {
                slack = widened(slack, 1, 1 + cut_off(ty));
            }
            let (comparison, values) = solved(comparison, value, steps).ok_or(NO_OPERATOR)?;
            Ok(Condition::Compare { field, comparison, values, every: false, slack, reading })
        }
    }

    unsafe fn of_array(&self, operation: *mut pg_sys::ScalarArrayOpExpr, wanted: bool) -> Found {
        // SAFETY: an expression.
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let (Some(left), Some(values)) = (arguments.get_ptr(0), arguments.get_ptr(1)) else {
                return Err(NO_OPERATOR);
            };
            let comparison = comparison((*operation).opno, left).ok_or(NO_OPERATOR)?;
            let Subject { field, reading, slack, steps } = self.subject(left)?;
            self.check_constant(values)?;
            let element = pg_sys::getBaseType(pg_sys::get_element_type(pg_sys::exprType(values.cast())));
            if !is_deterministic((*operation).inputcollid) {
                return Err(OTHER_COLLATION);
            }
            if reading != Reading::Value || !steps.is_empty() || !are_comparable(base_type(left), element) {
                return Err(OTHER_TYPES);
            }
            let crosses = is_moment(element) && element != base_type(left);
            let slack = if crosses { widened(slack, 1, 1 + cut_off(base_type(left))) } else { slack };
            let comparison = if wanted { comparison } else { negated(comparison) };
            // That one of them is not so is that not all are.
            let every = (*operation).useOr != wanted;
            Ok(Condition::Compare { field, comparison, values, every, slack, reading })
        }
    }

    unsafe fn distinct(&self, operation: *mut pg_sys::DistinctExpr, wanted: bool) -> Found {
        // SAFETY: an expression.
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let (Some(left), Some(right)) = (arguments.get_ptr(0), arguments.get_ptr(1)) else {
                return Err(NO_OPERATOR);
            };
            let (field, mine, value) = match self.column(left) {
                Ok(field) => (field, left, right),
                Err(_) => (self.column(right)?, right, left),
            };
            self.check_constant(value)?;
            if comparison((*operation).opno, left) != Some(Comparison::Eq) {
                return Err(NO_OPERATOR);
            }
            if !is_deterministic((*operation).inputcollid) {
                return Err(OTHER_COLLATION);
            }
            if !are_comparable(base_type(mine), base_type(value)) || is_moment(base_type(mine)) {
                return Err(OTHER_TYPES);
            }
            Ok(Condition::Distinct { field, value, is: wanted })
        }
    }

    /// `(a, b) > (x, y)`: whatever comes after it, `a` is not less than `x`.
    unsafe fn rows(&mut self, rows: *mut pg_sys::RowCompareExpr, wanted: bool) -> Found {
        // SAFETY: an expression; the lists are of one length, and not empty.
        unsafe {
            let left = PgList::<pg_sys::Expr>::from_pg((*rows).largs).get_ptr(0).ok_or(NO_OPERATOR)?;
            let right = PgList::<pg_sys::Expr>::from_pg((*rows).rargs).get_ptr(0).ok_or(NO_OPERATOR)?;
            let operator =
                PgList::<std::ffi::c_void>::from_pg((*rows).opnos).get_oid(0).ok_or(NO_OPERATOR)?;
            let collation =
                PgList::<std::ffi::c_void>::from_pg((*rows).inputcollids).get_oid(0).ok_or(NO_OPERATOR)?;
            let comparison = comparison(operator, left).ok_or(NO_OPERATOR)?;
            let comparison = if wanted { comparison } else { negated(comparison) };
            let comparison = match comparison {
                Comparison::Lt | Comparison::Le => Comparison::Le,
                Comparison::Gt | Comparison::Ge => Comparison::Ge,
                _ => return Err(NO_OPERATOR),
            };
            self.dropped = true;
            match self.compared(left, comparison, right, collation) {
                Err(NOT_A_FIELD) => self.compared(right, turned(comparison), left, collation),
                found => found,
            }
        }
    }

    /// LIKE and what is like it.
    unsafe fn matching(
        &self,
        function: u32,
        left: Expr,
        right: Expr,
        collation: pg_sys::Oid,
        wanted: bool,
    ) -> Found {
        let (syntax, any_case, holds) = match function {
            f if function::LIKE.contains(&f) => (Syntax::Like, false, true),
            f if function::NOT_LIKE.contains(&f) => (Syntax::Like, false, false),
            f if function::ILIKE.contains(&f) => (Syntax::Like, true, true),
            f if function::NOT_ILIKE.contains(&f) => (Syntax::Like, true, false),
            function::STARTS_WITH => (Syntax::Start, false, true),
            _ => return Err(NO_OPERATOR),
        };
        // SAFETY: expressions.
        unsafe {
            let (field, case) = self.text(left)?;
            let case = match (any_case, case) {
                (false, case) => case,
                (true, Case::Same | Case::Lower) => Case::Lower,
                // Lower case of upper case: neither rule for letters holds.
                (true, Case::Upper) => return Err(NO_OPERATOR),
            };
            if holds != wanted {
                return Err(NOT_MATCHING);
            }
            if !is_deterministic(collation) {
                return Err(OTHER_COLLATION);
            }
            self.check_text(right)?;
            Ok(Condition::Match { field, text: right, syntax, case })
        }
    }

    /// `lower(field) = value`.
    unsafe fn whole_text(
        &self,
        left: Expr,
        comparison: Comparison,
        right: Expr,
        collation: pg_sys::Oid,
    ) -> Found {
        // SAFETY: expressions.
        unsafe {
            let (found, value) = match self.text(left) {
                Ok(found) => (found, right),
                Err(_) => (self.text(right)?, left),
            };
            let (field, case) = found;
            if case == Case::Same || comparison != Comparison::Eq || !is_deterministic(collation) {
                return Err(NO_OPERATOR);
            }
            self.check_text(value)?;
            Ok(Condition::Match { field, text: value, syntax: Syntax::Whole, case })
        }
    }

    /// `strpos(field, text) > 0`; `None` if it is no such thing.
    unsafe fn position(&self, left: Expr, comparison: Comparison, right: Expr) -> Option<Found> {
        // SAFETY: expressions; a constant of type integer that is not NULL has its value in the datum.
        unsafe {
            if tag(left) != pg_sys::NodeTag::T_FuncExpr || tag(right) != pg_sys::NodeTag::T_Const {
                return None;
            }
            let (call, least): (*mut pg_sys::FuncExpr, *mut pg_sys::Const) = (left.cast(), right.cast());
            if !function::POSITION.contains(&(*call).funcid.to_u32()) {
                return None;
            }
            let is_number = (*least).consttype == pg_sys::INT4OID && !(*least).constisnull;
            let says = is_number
                && match (comparison, (*least).constvalue.value() as i32) {
                    (Comparison::Gt, least) => least >= 0,
                    (Comparison::Ge | Comparison::Eq, least) => least >= 1,
                    (Comparison::Ne, least) => least == 0,
                    _ => false,
                };
            if !says {
                return Some(Err(NOT_MATCHING));
            }
            let arguments = PgList::<pg_sys::Expr>::from_pg((*call).args);
            let (subject, text) = (arguments.get_ptr(0)?, arguments.get_ptr(1)?);
            Some(self.text(subject).and_then(|(field, case)| {
                self.check_text(text)?;
                match is_deterministic((*call).inputcollid) {
                    true => Ok(Condition::Match { field, text, syntax: Syntax::Anywhere, case }),
                    false => Err(OTHER_COLLATION),
                }
            }))
        }
    }

    /// A field of text, in its own case or brought to one.
    unsafe fn text(&self, node: Expr) -> Result<(Field, Case), &'static str> {
        // SAFETY: an expression.
        unsafe {
            let node = relabelled(node);
            if tag(node) != pg_sys::NodeTag::T_FuncExpr {
                let field = self.column(node)?;
                let is_text =
                    TypeCategory::of(field.ty) == Some(TypeCategory::Text) && is_text(base_type(node));
                return if is_text { Ok((field, Case::Same)) } else { Err(OTHER_TYPES) };
            }
            let call: *mut pg_sys::FuncExpr = node.cast();
            let inner = PgList::<pg_sys::Expr>::from_pg((*call).args).get_ptr(0).ok_or(NO_OPERATOR)?;
            let case = match (*call).funcid.to_u32() {
                function::LOWER => Case::Lower,
                function::UPPER => Case::Upper,
                function::BPCHAR_TO_TEXT => return self.text(inner),
                _ => return Err(NO_OPERATOR),
            };
            match self.text(inner)? {
                (field, Case::Same) if is_deterministic((*call).inputcollid) => Ok((field, case)),
                _ => Err(NO_OPERATOR),
            }
        }
    }

    /// What of a field an expression is.
    unsafe fn subject(&self, node: Expr) -> Result<Subject, &'static str> {
        // SAFETY: an expression; each node is looked at as what its tag says it is.
        unsafe {
            let node = relabelled(node);
            match tag(node) {
                pg_sys::NodeTag::T_FuncExpr => self.of_function(node.cast()),
                pg_sys::NodeTag::T_OpExpr => self.of_arithmetic(node.cast()),
                _ => {
                    let field = self.column(node)?;
                    let slack = Slack::default();
                    Ok(Subject { field, reading: Reading::Value, slack, steps: Vec::new() })
                }
            }
        }
    }

    unsafe fn of_function(&self, call: *mut pg_sys::FuncExpr) -> Result<Subject, &'static str> {
        // SAFETY: an expression.
        unsafe {
            let arguments = PgList::<pg_sys::Expr>::from_pg((*call).args);
            let first = arguments.get_ptr(0).ok_or(NOT_A_FIELD)?;
            let function = (*call).funcid.to_u32();
            if function::WIDER.contains(&function) {
                return self.subject(first);
            }
            if function::SAME_CLOCK.contains(&function) || function::BY_ZONE.contains(&function) {
                let subject = self.subject(first)?;
                let zone = u16::from(function::BY_ZONE.contains(&function));
                let slack = widened(subject.slack, zone, zone + cut_off(base_type(first)));
                return Ok(Subject { slack, ..subject });
            }
            let second = arguments.get_ptr(1).ok_or(NOT_A_FIELD)?;
            if function::DATE_TRUNC.contains(&function) {
                let subject = self.subject(second)?;
                let days = unit(first).and_then(|unit| longest(&unit)).ok_or(NO_OPERATOR)?;
                // The zone decides where a unit begins.
                return Ok(Subject { slack: widened(subject.slack, 1, days + 1), ..subject });
            }
            if function::DATE_PART.contains(&function) {
                let subject = self.subject(second)?;
                if unit(first).as_deref() != Some("year") {
                    return Err(NO_OPERATOR);
                }
                return Ok(Subject {
                    reading: Reading::Year,
                    slack: widened(subject.slack, 1, 367),
                    ..subject
                });
            }
            Err(NOT_A_FIELD)
        }
    }

    /// Sums, differences, products and quotients of a number and a constant.
    unsafe fn of_arithmetic(&self, operation: *mut pg_sys::OpExpr) -> Result<Subject, &'static str> {
        // SAFETY: an expression; the name is palloc'd, and ends with a NUL.
        unsafe {
            let operator = (*operation).opno;
            let name = std::ffi::CStr::from_ptr(pg_sys::get_opname(operator)).to_bytes();
            let built_in = operator.to_u32() < pg_sys::FirstNormalObjectId;
            if !built_in || !is_number((*operation).opresulttype) {
                return Err(NOT_A_FIELD);
            }
            let arguments = PgList::<pg_sys::Expr>::from_pg((*operation).args);
            let first = arguments.get_ptr(0).ok_or(NOT_A_FIELD)?;
            let Some(second) = arguments.get_ptr(1) else {
                return match name {
                    b"-" => self.with_step(first, Step::Negate),
                    _ => Err(NOT_A_FIELD),
                };
            };
            if !is_number(base_type(first)) || !is_number(base_type(second)) {
                return Err(NOT_A_FIELD);
            }
            let left = is_constant(self.relid, second);
            if !left && !is_constant(self.relid, first) {
                return Err(NOT_A_FIELD);
            }
            match (name, left) {
                (b"+", true) => self.with_step(first, Step::Add(second)),
                (b"+", false) => self.with_step(second, Step::Add(first)),
                (b"-", true) => self.with_step(first, Step::Subtract(second)),
                (b"-", false) => self.with_step(second, Step::SubtractFrom(first)),
                (b"*", true) => self.with_step(first, Step::Multiply(second)),
                (b"*", false) => self.with_step(second, Step::Multiply(first)),
                // Of whole numbers it is cut off.
                (b"/", true) if (*operation).opresulttype == pg_sys::NUMERICOID => {
                    self.with_step(first, Step::Divide(second))
                }
                _ => Err(NO_OPERATOR),
            }
        }
    }

    unsafe fn with_step(&self, inner: Expr, step: Step) -> Result<Subject, &'static str> {
        // SAFETY: an expression.
        let mut subject = unsafe { self.subject(inner)? };
        if !matches!(TypeCategory::of(subject.field.ty), Some(TypeCategory::Integer | TypeCategory::Decimal))
        {
            return Err(OTHER_TYPES);
        }
        subject.steps.insert(0, step);
        Ok(subject)
    }

    /// The column that an expression is, under whichever of its binary-compatible types.
    unsafe fn column(&self, node: Expr) -> Result<Field, &'static str> {
        // SAFETY: an expression.
        let attribute = unsafe { attribute_of(self.relid, node) }.ok_or(NOT_A_FIELD)?;
        let column = self.columns.iter().find(|column| column.attribute == attribute);
        column.map_or(Err(NO_SYSTEM_COLUMN), |column| column.field.clone())
    }

    unsafe fn check_constant(&self, value: Expr) -> Result<(), &'static str> {
        // SAFETY: an expression.
        if unsafe { is_constant(self.relid, value) } { Ok(()) } else { Err(NOT_CONSTANT) }
    }

    unsafe fn check_text(&self, value: Expr) -> Result<(), &'static str> {
        // SAFETY: an expression.
        unsafe {
            self.check_constant(value)?;
            let ty = base_type(value);
            if ty == pg_sys::TEXTOID || ty == pg_sys::VARCHAROID { Ok(()) } else { Err(OTHER_TYPES) }
        }
    }
}

fn compare(field: Field, comparison: Comparison, values: Expr) -> Condition<Expr> {
    let (slack, reading) = (Slack::default(), Reading::Value);
    Condition::Compare { field, comparison, values, every: false, slack, reading }
}

/// The constant name of a unit of time.
unsafe fn unit(node: Expr) -> Option<String> {
    // SAFETY: an expression; a constant of type text that is not NULL has such a value.
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

/// How many days a unit has at most.
fn longest(unit: &str) -> Option<u16> {
    Some(match unit {
        "microseconds" | "milliseconds" | "second" | "minute" | "hour" | "day" => 1,
        "week" => 7,
        "month" => 31,
        "quarter" => 92,
        "year" => 366,
        "decade" => 3_653,
        "century" => 36_525,
        _ => return None,
    })
}

/// What a column of a type cuts off of a moment, in days.
fn cut_off(ty: pg_sys::Oid) -> u16 {
    u16::from(ty == pg_sys::DATEOID)
}

fn widened(slack: Slack, before: u16, after: u16) -> Slack {
    Slack { before: slack.before.saturating_add(before), after: slack.after.saturating_add(after) }
}

/// What an operator does, by the B-tree order of the type of its left side.
unsafe fn comparison(operator: pg_sys::Oid, left: Expr) -> Option<Comparison> {
    // SAFETY: look-ups in the catalog, which return palloc'd nodes.
    unsafe {
        let family = btree_family(base_type(left))?;
        let strategy = |operator| pg_sys::get_op_opfamily_strategy(operator, family) as u32;
        match strategy(operator) {
            pg_sys::BTEqualStrategyNumber => Some(Comparison::Eq),
            pg_sys::BTLessStrategyNumber => Some(Comparison::Lt),
            pg_sys::BTLessEqualStrategyNumber => Some(Comparison::Le),
            pg_sys::BTGreaterStrategyNumber => Some(Comparison::Gt),
            pg_sys::BTGreaterEqualStrategyNumber => Some(Comparison::Ge),
            // `<>` is in no family; what it negates is.
            _ => {
                let equality = pg_sys::get_negator(operator);
                let is_equality =
                    equality != pg_sys::InvalidOid && strategy(equality) == pg_sys::BTEqualStrategyNumber;
                is_equality.then_some(Comparison::Ne)
            }
        }
    }
}

/// True where it is false, of values that are not NULL.
fn negated(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Ne,
        Comparison::Ne => Comparison::Eq,
        Comparison::Lt => Comparison::Ge,
        Comparison::Le => Comparison::Gt,
        Comparison::Gt => Comparison::Le,
        Comparison::Ge => Comparison::Lt,
    }
}

fn is_number(ty: pg_sys::Oid) -> bool {
    matches!(ty, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID | pg_sys::NUMERICOID)
}

fn is_moment(ty: pg_sys::Oid) -> bool {
    matches!(ty, pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID)
}

fn is_text(ty: pg_sys::Oid) -> bool {
    matches!(ty, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID)
}

/// Whether comparisons of the two types mean the same to the server, or less.
fn are_comparable(one: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    let known = is_text(one) || is_number(one) || matches!(one, pg_sys::BOOLOID | pg_sys::UUIDOID);
    is_number(one) && is_number(other)
        || is_moment(one) && is_moment(other)
        || (known || matches!(one, pg_sys::FLOAT4OID | pg_sys::FLOAT8OID)) && are_alike(one, other)
}

/// Whether an expression has the same value for all rows of the scan.
unsafe fn is_constant(relid: pg_sys::Index, expression: Expr) -> bool {
    let mut used = std::ptr::null_mut();
    // SAFETY: an expression; the out-parameter is valid.
    unsafe {
        pg_sys::pull_varattnos(expression.cast(), relid, &mut used);
        used.is_null() && !pg_sys::contain_volatile_functions(expression.cast())
    }
}
