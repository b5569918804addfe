//! What PostgreSQL makes of a term, for one row.

use std::collections::HashMap;

use acumatica_pushdown::{
    Arithmetic, Case, Cast, Comparison, Inverse, Literal, Node, Solved, SqlType, Syntax, Term, Values,
};
use chrono::{DateTime, Datelike, NaiveDate};

use super::number::Number;

/// A value that is not NULL.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Datum {
    Bool(bool),
    Number(Number),
    Float(f64),
    Text(String),
    /// In days since 1970.
    Day(i64),
    /// In minutes since 1970.
    Moment(i64),
    Uuid(String),
}

/// What stands for a value of the query: itself, or the elements of an array.
pub type Given = Vec<Option<Datum>>;

pub const MINUTES: i64 = 24 * 60;

/// A row, and what else a condition may depend on.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    pub row: &'a HashMap<&'static str, Option<Datum>>,
    /// The session's zone: minutes east of Greenwich.
    pub zone: i64,
    /// What comes after the first columns of a comparison of rows, where these are equal. Also tells how long the beginnings
    /// of texts are.
    pub tie: bool,
}

impl Context<'_> {
    /// The truth of a clause; `None` is unknown.
    pub fn truth(&self, clause: &Term<Given>) -> Option<bool> {
        match self.value(clause)? {
            Datum::Bool(truth) => Some(truth),
            other => panic!("{other:?} is no truth"),
        }
    }

    fn value(&self, term: &Term<Given>) -> Option<Datum> {
        let truth = match &term.node {
            Node::Column(field) => {
                let path = &field.as_ref().expect("columns of tests have fields").path;
                return self.row[path[0].as_str()].clone();
            }
            Node::Constant(_) | Node::Other => return term.value[0].clone(),
            Node::Relabelled(inner) | Node::Cast(Cast::Wider, inner) => return self.value(inner),
            Node::Cast(Cast::ByZone, inner) => {
                return Some(match self.value(inner)? {
                    Datum::Moment(moment) => Datum::Day((moment + self.zone).div_euclid(MINUTES)),
                    Datum::Day(day) => Datum::Moment(day * MINUTES - self.zone),
                    other => panic!("a cast of {other:?}"),
                });
            }
            Node::And(parts) => {
                let truths: Vec<_> = parts.iter().map(|part| self.truth(part)).collect();
                match truths.contains(&Some(false)) {
                    true => Some(false),
                    false if truths.contains(&None) => None,
                    false => Some(true),
                }
            }
            Node::Or(parts) => {
                let truths: Vec<_> = parts.iter().map(|part| self.truth(part)).collect();
                match truths.contains(&Some(true)) {
                    true => Some(true),
                    false if truths.contains(&None) => None,
                    false => Some(false),
                }
            }
            Node::Not(inner) => self.truth(inner).map(|truth| !truth),
            Node::IsTruth { of, truth, is } => Some((self.truth(of) == *truth) == *is),
            Node::IsNull { of, is, .. } => Some(self.value(of).is_none() == *is),
            Node::Compare { comparison, left, right, .. } => {
                self.compared(*comparison, &self.value(left), &self.value(right))
            }
            Node::CompareArray { comparison, left, array, any, .. } => {
                let own = self.value(left);
                let each = array.value.iter().map(|other| self.compared(comparison.unwrap(), &own, other));
                let truths: Vec<_> = each.collect();
                match truths.contains(&Some(*any)) {
                    true => Some(*any),
                    false if truths.contains(&None) => None,
                    false => Some(!*any),
                }
            }
            Node::Distinct { left, right, .. } => match (self.value(left), self.value(right)) {
                (None, None) => Some(false),
                (None, _) | (_, None) => Some(true),
                (left, right) => self.compared(Comparison::Ne, &left, &right),
            },
            Node::CompareRows { comparison, left, right, .. } => {
                let (left, right) = (self.value(left), self.value(right));
                match self.compared(Comparison::Eq, &left, &right)? {
                    true => Some(self.tie),
                    false => self.compared(comparison.unwrap(), &left, &right),
                }
            }
            Node::Matches { syntax, any_case, holds, subject, text, .. } => {
                let (Datum::Text(own), Datum::Text(text)) = (self.value(subject)?, self.value(text)?) else {
                    panic!("only text matches");
                };
                let (own, text) = match any_case {
                    true => (own.to_lowercase(), text.to_lowercase()),
                    false => (own, text),
                };
                Some(matches(&own, &text, *syntax) == *holds)
            }
            Node::InCase { case, of, .. } => {
                let Datum::Text(text) = self.value(of)? else { panic!("only text has a case") };
                return Some(Datum::Text(match case {
                    Case::Same => text,
                    Case::Lower => text.to_lowercase(),
                    Case::Upper => text.to_uppercase(),
                }));
            }
            Node::Beginning(of) => {
                let Datum::Text(text) = self.value(of)? else { panic!("only text has a beginning") };
                let length = if self.tie { 1 } else { 3 };
                return Some(Datum::Text(text.chars().take(length).collect()));
            }
            Node::Position { subject, text, .. } => {
                let (Datum::Text(own), Datum::Text(text)) = (self.value(subject)?, self.value(text)?) else {
                    panic!("only text has positions");
                };
                let place = own.find(&text).map_or(0, |at| own[..at].chars().count() + 1);
                return Some(Datum::Number(Number::new(place as i128, 1)));
            }
            Node::Truncate { unit, of } => {
                let Datum::Moment(moment) = self.value(of)? else { panic!("only moments are cut off") };
                let day = date((moment + self.zone).div_euclid(MINUTES));
                let first = match unit.as_deref() {
                    Some("year") => day.with_ordinal(1).unwrap(),
                    Some("month") => day.with_day(1).unwrap(),
                    Some("day") => day,
                    other => panic!("{other:?}"),
                };
                return Some(Datum::Moment(days(first) * MINUTES - self.zone));
            }
            Node::Extract { of, .. } => {
                let day = match self.value(of)? {
                    Datum::Moment(moment) => date((moment + self.zone).div_euclid(MINUTES)),
                    Datum::Day(day) => date(day),
                    other => panic!("the year of {other:?}"),
                };
                return Some(Datum::Number(Number::new(day.year().into(), 1)));
            }
            Node::Negate(of) => return Some(Datum::Number(self.number(of)?.negated())),
            Node::Arithmetic { operator, left, right } => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                return Some(Datum::Number(match operator.unwrap() {
                    Arithmetic::Add => left.plus(right),
                    Arithmetic::Subtract => left.plus(right.negated()),
                    Arithmetic::Multiply => left.times(right),
                    // Whether the quotient is whole is told by its type. By zero there is an error, and no row.
                    Arithmetic::Divide if term.ty == SqlType::Numeric => left.by(right)?.rounded(),
                    Arithmetic::Divide => left.by(right)?.cut(),
                }));
            }
            other => panic!("{other:?} is not made by these tests"),
        };
        truth.map(Datum::Bool)
    }

    fn number(&self, term: &Term<Given>) -> Option<Number> {
        match self.value(term)? {
            Datum::Number(number) => Some(number),
            other => panic!("{other:?} is no number"),
        }
    }

    fn compared(&self, comparison: Comparison, one: &Option<Datum>, other: &Option<Datum>) -> Option<bool> {
        let order = match (one.as_ref()?, other.as_ref()?) {
            (Datum::Day(day), Datum::Moment(moment)) => (day * MINUTES - self.zone).partial_cmp(moment),
            (Datum::Moment(moment), Datum::Day(day)) => moment.partial_cmp(&(day * MINUTES - self.zone)),
            (one, other) => {
                let is_same = std::mem::discriminant(one) == std::mem::discriminant(other);
                assert!(is_same, "{one:?} and {other:?}");
                one.partial_cmp(other)
            }
        }?;
        Some(match comparison {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        })
    }
}

fn matches(own: &str, text: &str, syntax: Syntax) -> bool {
    match syntax {
        Syntax::Start => own.starts_with(text),
        Syntax::Anywhere => own.contains(text),
        Syntax::Whole => own == text,
        Syntax::Like => like(&own.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>()),
    }
}

fn like(own: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => own.is_empty(),
        ['%', rest @ ..] => (0..=own.len()).any(|at| like(&own[at..], rest)),
        ['_', rest @ ..] => !own.is_empty() && like(&own[1..], rest),
        ['\\', c, rest @ ..] | [c, rest @ ..] => own.first() == Some(c) && like(&own[1..], rest),
    }
}

fn date(days: i64) -> NaiveDate {
    DateTime::from_timestamp(days * 86_400, 0).unwrap().date_naive()
}

fn days(date: NaiveDate) -> i64 {
    date.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp() / 86_400
}

/// A value of the query as it is sent, as the planner makes it.
pub fn literals(given: &Given) -> Values {
    let mut literals: Vec<Result<Literal, String>> = Vec::new();
    for datum in given.iter().flatten() {
        let literal = Ok(literal(datum));
        if !literals.contains(&literal) {
            literals.push(literal);
        }
    }
    Values { has_null: given.contains(&None), literals }
}

/// A solved value, as the executor works it out.
pub fn solved(value: &Solved<Given>) -> Values {
    if value.inverses.is_empty() {
        return literals(&value.of);
    }
    let number = |given: &Given| match &given[0] {
        Some(Datum::Number(number)) => Some(*number),
        None => None,
        other => panic!("{other:?} is no number"),
    };
    let result = value.inverses.iter().try_fold(number(&value.of), |value, inverse| {
        let both = |operate: &dyn Fn(Number, Number) -> Option<Number>, given: &Given| {
            Some(match (value, number(given)) {
                (Some(value), Some(number)) => Some(operate(value, number)?),
                _ => None,
            })
        };
        match inverse {
            Inverse::Add(given) => both(&|a, b| Some(a.plus(b)), given),
            Inverse::Subtract(given) => both(&|a, b| Some(a.plus(b.negated())), given),
            Inverse::SubtractFrom(given) => both(&|a, b| Some(b.plus(a.negated())), given),
            Inverse::Negate => Some(value.map(Number::negated)),
            Inverse::Multiply(given) => both(&|a, b| Some(a.times(b)), given),
            Inverse::Divide(given) => both(&|a, b| Some(a.by(b)?.rounded()), given),
        }
    });
    match result.expect("no factor is zero") {
        None => Values::null(),
        Some(number) if value.is_rounded => literals(&vec![Some(Datum::Float(number.float()))]),
        Some(number) => Values { literals: vec![Ok(Literal::decimal(&number.decimal()))], has_null: false },
    }
}

pub fn literal(datum: &Datum) -> Literal {
    match datum {
        Datum::Bool(truth) => Literal::Bool(*truth),
        Datum::Number(number) => match number.decimal().split_once('.') {
            Some((whole, "000000000000")) => Literal::Integer(whole.to_owned()),
            _ => Literal::decimal(&number.decimal()),
        },
        Datum::Float(number) => Literal::Double(format!("{number:?}")),
        Datum::Text(text) => Literal::Text(text.clone()),
        Datum::Day(day) => Literal::date(*day as i32).expect("a day of our calendar"),
        Datum::Moment(moment) => Literal::timestamp(moment * 60_000_000).expect("a moment of our calendar"),
        Datum::Uuid(uuid) => Literal::Uuid(uuid.clone()),
    }
}
