//! A filter bound to columns, and its value on a row.
//!
//! Text compares as in SQL Server. OData's rules for null hold: `null ne 5` and `not (null eq 5)` are true, an order
//! comparison with null is false, a function of null is null, and null is not true (docs/acumatica.md).

use std::borrow::Cow;
use std::cmp::Ordering;

use super::parser::{Ast, Func, Op};
use crate::data::german::{ENTITY, german};
use crate::data::value::{Kind, Val, compare};
use crate::data::{Access, Data};
use crate::zone::TimeZone;

/// Which of a drop-down's two texts filters see: labels in REST 4 and generic inquiries, codes in DACs and REST 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Label,
    /// The label, in German if there is one.
    German,
    Code,
}

/// A column as a filter, an order or a row writer sees it.
#[derive(Clone, Debug)]
pub struct Field {
    pub access: Access,
    pub kind: Kind,
    pub show: Show,
    /// Text is padded with spaces to this many characters.
    pub pad: usize,
    /// Where there is one, a date is the moment of its midnight there.
    pub zone: Option<&'static TimeZone>,
}

impl Field {
    pub fn value(&self, data: &Data, row: u64) -> Val {
        match self.access.value(data, row) {
            Val::Choice(choice) => Val::text(match self.show {
                Show::Label => choice.label,
                Show::German if data.schema.tables[self.access.table].name == ENTITY => german(choice).label,
                Show::German => choice.label,
                Show::Code => choice.code,
            }),
            Val::Text(text) if self.pad > 0 => {
                let missing = self.pad.saturating_sub(text.chars().count());
                if missing == 0 {
                    return Val::Text(text);
                }
                let mut padded = text.into_owned();
                padded.extend(std::iter::repeat_n(' ', missing));
                Val::text(padded)
            }
            Val::Date(day) if let Some(zone) = self.zone => Val::Ts(zone.midnight(i64::from(day))),
            other => other,
        }
    }
}

#[derive(Debug)]
pub enum Expr {
    Literal(Val),
    Field(Field),
    /// The `id` of the row of this table.
    Id(usize),
    Compare(Op, Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Call(Func, Vec<Expr>),
    In(Box<Expr>, Vec<Expr>),
    /// Over the rows of a detail table.
    Lambda {
        child: usize,
        all: bool,
        body: Option<Box<Expr>>,
    },
}

/// Looks names up for the binder.
pub trait Scope {
    fn field(&self, path: &str) -> Result<Expr, String>;

    fn custom(&self, path: &str) -> Result<Expr, String> {
        Err(format!("The custom field '{path}' was not found."))
    }

    /// The detail table behind a collection, and the scope of its rows.
    fn lambda(&self, path: &str) -> Result<(usize, Box<dyn Scope + '_>), String> {
        Err(format!("Could not find a property named '{path}'."))
    }
}

/// Inside `any`: names begin with the variable.
struct Prefixed<'a> {
    variable: &'a str,
    inner: Box<dyn Scope + 'a>,
}

impl Scope for Prefixed<'_> {
    fn field(&self, path: &str) -> Result<Expr, String> {
        match path.split_once('/') {
            Some((variable, rest)) if variable == self.variable => self.inner.field(rest),
            _ => Err(format!("Could not find a range variable for '{path}'.")),
        }
    }
}

/// Classes of comparable things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Text,
    Number,
    Bool,
    Time,
    Guid,
    Null,
}

fn class(expr: &Expr) -> Class {
    match expr {
        Expr::Field(field) => match field.kind {
            Kind::Text | Kind::Choice | Kind::Binary => Class::Text,
            Kind::Bool => Class::Bool,
            Kind::Date | Kind::Ts => Class::Time,
            Kind::Guid => Class::Guid,
            _ => Class::Number,
        },
        Expr::Id(_) => Class::Guid,
        Expr::Literal(value) => match value {
            Val::Null => Class::Null,
            Val::Text(_) | Val::Choice(_) => Class::Text,
            Val::Bool(_) => Class::Bool,
            Val::Date(_) | Val::Ts(_) => Class::Time,
            Val::Guid(_) => Class::Guid,
            Val::Int(_) | Val::Dec(..) | Val::Double(_) => Class::Number,
        },
        Expr::Call(Func::ToLower | Func::ToUpper, _) => Class::Text,
        _ => Class::Bool,
    }
}

impl Class {
    fn edm(self) -> &'static str {
        match self {
            Class::Text => "Edm.String",
            Class::Number => "Edm.Decimal",
            Class::Bool => "Edm.Boolean",
            Class::Time => "Edm.DateTimeOffset",
            Class::Guid => "Edm.Guid",
            Class::Null => "<null>",
        }
    }
}

fn same_class(a: &Expr, b: &Expr, op: Op) -> Result<(), String> {
    let (x, y) = (class(a), class(b));
    if x == y || x == Class::Null || y == Class::Null {
        return Ok(());
    }
    Err(format!(
        "A binary operator with incompatible types was detected. Found operand types '{}' and '{}' for operator kind '{}'.",
        x.edm(),
        y.edm(),
        op.kind()
    ))
}

fn boolean(expr: Expr) -> Result<Expr, String> {
    match class(&expr) {
        Class::Bool | Class::Null => Ok(expr),
        other => {
            Err(format!("The $filter expression must evaluate to a single boolean value, not to {other:?}."))
        }
    }
}

pub fn bind(ast: &Ast, scope: &dyn Scope) -> Result<Expr, String> {
    boolean(bind_any(ast, scope)?)
}

fn bind_any(ast: &Ast, scope: &dyn Scope) -> Result<Expr, String> {
    let sub = |ast: &Ast| bind_any(ast, scope).map(Box::new);
    let truth = |ast: &Ast| bind(ast, scope).map(Box::new);
    Ok(match ast {
        Ast::Literal(value) => Expr::Literal(value.clone()),
        Ast::Field(path) => scope.field(path)?,
        Ast::Custom(path) => scope.custom(path)?,
        Ast::Compare(op, a, b) => {
            let (a, b) = (sub(a)?, sub(b)?);
            same_class(&a, &b, *op)?;
            Expr::Compare(*op, a, b)
        }
        Ast::And(terms) => Expr::And(terms.iter().map(|t| bind(t, scope)).collect::<Result<_, _>>()?),
        Ast::Or(terms) => Expr::Or(terms.iter().map(|t| bind(t, scope)).collect::<Result<_, _>>()?),
        Ast::Not(a) => Expr::Not(truth(a)?),
        Ast::Call(func, args) => {
            let args = args.iter().map(|a| bind_any(a, scope)).collect::<Result<Vec<_>, _>>()?;
            if args.iter().any(|a| !matches!(class(a), Class::Text | Class::Null)) {
                return Err(format!(
                    "No function signature for {func:?} matches the types of its arguments."
                ));
            }
            Expr::Call(*func, args)
        }
        Ast::In(a, list) => {
            let a = sub(a)?;
            let list = list.iter().map(|item| bind_any(item, scope)).collect::<Result<Vec<_>, _>>()?;
            list.iter().try_for_each(|item| same_class(&a, item, Op::Eq))?;
            Expr::In(a, list)
        }
        Ast::Lambda { path, all, variable, body } => {
            let (child, inner) = scope.lambda(path)?;
            let inner = Prefixed { variable, inner };
            let body = body.as_ref().map(|b| bind(b, &inner)).transpose()?.map(Box::new);
            Expr::Lambda { child, all: *all, body }
        }
    })
}

impl Expr {
    pub fn is_true(&self, data: &Data, row: u64) -> bool {
        matches!(self.value(data, row).as_ref(), Val::Bool(true))
    }

    fn value(&self, data: &Data, row: u64) -> Cow<'_, Val> {
        let truth = |b: bool| Cow::Owned(Val::Bool(b));
        match self {
            Expr::Literal(value) => Cow::Borrowed(value),
            Expr::Field(field) => Cow::Owned(field.value(data, row)),
            Expr::Id(table) => Cow::Owned(Val::Guid(data.guid(*table, row))),
            Expr::Compare(op, a, b) => truth(holds(*op, &a.value(data, row), &b.value(data, row))),
            Expr::And(terms) => truth(terms.iter().all(|t| t.is_true(data, row))),
            Expr::Or(terms) => truth(terms.iter().any(|t| t.is_true(data, row))),
            Expr::Not(a) => match a.value(data, row).as_ref() {
                Val::Bool(value) => truth(!value),
                _ => Cow::Owned(Val::Null),
            },
            Expr::Call(func, args) => {
                let args: Vec<_> = args.iter().map(|a| a.value(data, row)).collect();
                Cow::Owned(apply(*func, &args))
            }
            Expr::In(a, list) => {
                let a = a.value(data, row);
                truth(list.iter().any(|item| holds(Op::Eq, &a, &item.value(data, row))))
            }
            Expr::Lambda { child, all, body } => {
                let mut lines = data.children(*child, row);
                let met = |line| body.as_ref().is_none_or(|b| b.is_true(data, line));
                truth(if *all { lines.all(met) } else { lines.any(met) })
            }
        }
    }
}

fn holds(op: Op, a: &Val, b: &Val) -> bool {
    let nulls = usize::from(a.is_null()) + usize::from(b.is_null());
    match (nulls, op) {
        (1, _) => op == Op::Ne,
        (2, _) => op == Op::Eq,
        _ => {
            let Some(order) = compare(a, b) else { return op == Op::Ne };
            match op {
                Op::Eq => order == Ordering::Equal,
                Op::Ne => order != Ordering::Equal,
                Op::Gt => order == Ordering::Greater,
                Op::Ge => order != Ordering::Less,
                Op::Lt => order == Ordering::Less,
                Op::Le => order != Ordering::Greater,
            }
        }
    }
}

/// LIKE ignores case, but spaces in the pattern count.
fn apply(func: Func, args: &[Cow<'_, Val>]) -> Val {
    let text = |i: usize| match args.get(i).map(Cow::as_ref) {
        Some(Val::Text(text)) => Some(text.to_lowercase()),
        _ => None,
    };
    let Some(subject) = text(0) else { return Val::Null };
    let needle = text(1);
    match (func, needle) {
        (Func::ToLower, _) => Val::text(subject),
        (Func::ToUpper, _) => Val::text(subject.to_uppercase()),
        (Func::Contains, Some(needle)) => Val::Bool(subject.contains(&needle)),
        (Func::StartsWith, Some(needle)) => Val::Bool(subject.starts_with(&needle)),
        (Func::EndsWith, Some(needle)) => Val::Bool(subject.ends_with(&needle)),
        _ => Val::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, parser::parse};
    use super::*;
    use crate::data::schema::SCHEMA;

    struct Literals;

    impl Scope for Literals {
        fn field(&self, path: &str) -> Result<Expr, String> {
            match path {
                "Code" => Ok(Expr::Literal(Val::text("Main      "))),
                "Nothing" => Ok(Expr::Literal(Val::Null)),
                _ => Err(path.to_string()),
            }
        }
    }

    fn truth(text: &str) -> bool {
        let expr = bind(&parse(text, Dialect::GiV4, None).unwrap(), &Literals).unwrap();
        expr.is_true(&Data::new(&SCHEMA, 1, 0.01, "Company"), 0)
    }

    #[test]
    fn null_follows_odata_not_sql() {
        assert!(truth("Nothing ne 5"));
        assert!(truth("not (Nothing eq 5)"));
        assert!(truth("Nothing eq null"));
        assert!(!truth("Nothing ne null"));
        assert!(!truth("Nothing lt 5"));
        assert!(!truth("contains(Nothing,'x')"));
        assert!(!truth("not contains(Nothing,'x')"));
    }

    #[test]
    fn text_ignores_case_and_trailing_spaces_but_like_does_not_ignore_spaces() {
        assert!(truth("Code eq 'MAIN'"));
        assert!(truth("contains(Code,'AIN')"));
        assert!(!truth("endswith(Code,'MAIN')"));
    }

    #[test]
    fn types_must_agree() {
        let ast = parse("Code eq 5", Dialect::GiV4, None).unwrap();
        assert!(bind(&ast, &Literals).is_err());
        assert!(bind(&parse("Code", Dialect::GiV4, None).unwrap(), &Literals).is_err());
    }
}
