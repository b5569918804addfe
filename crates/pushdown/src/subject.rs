//! What of a field an expression is: the field itself, a part of a moment, or what arithmetic makes of a number.

use crate::class::TypeCategory;
use crate::condition::Reading;
use crate::filter::{Field, Slack};
use crate::reason::Reason;
use crate::solve::Operation;
use crate::term::{Arithmetic, Cast, Node, SqlType, Term};

/// What of a field a comparison is about, and what has to be done to the other side for it to be about the field.
pub(crate) struct Subject<'a, V> {
    pub field: Field,
    pub reading: Reading,
    pub slack: Slack,
    /// From the outermost to the innermost.
    pub steps: Vec<Operation<'a, V>>,
}

/// What of a field an expression is.
pub(crate) fn subject<V>(term: &Term<V>) -> Result<Subject<'_, V>, Reason> {
    let term = term.bare();
    match &term.node {
        Node::Column(field) => {
            let (reading, slack) = (Reading::Value, Slack::default());
            Ok(Subject { field: field.clone()?, reading, slack, steps: Vec::new() })
        }
        Node::Cast(Cast::Wider, of) => subject(of),
        Node::Cast(cast @ (Cast::SameClock | Cast::ByZone), of) => {
            let subject = subject(of)?;
            let zone = u16::from(*cast == Cast::ByZone);
            let slack = widened(subject.slack, zone, zone + cut_off(of.ty));
            Ok(Subject { slack, ..subject })
        }
        Node::Truncate { unit, of } => {
            let subject = subject(of)?;
            let days = unit.as_deref().and_then(longest).ok_or(Reason::NoOperator)?;
            // The zone decides where a unit begins.
            Ok(Subject { slack: widened(subject.slack, 1, days + 1), ..subject })
        }
        Node::Extract { unit, of } => {
            let subject = subject(of)?;
            if unit.as_deref() != Some("year") {
                return Err(Reason::NoOperator);
            }
            Ok(Subject { reading: Reading::Year, slack: widened(subject.slack, 1, 367), ..subject })
        }
        Node::Negate(of) => with_step(of, Operation::Negate),
        Node::Arithmetic { operator, left, right } => of_arithmetic(term.ty, *operator, left, right),
        _ => Err(Reason::NotAField),
    }
}

/// Sums, differences, products and quotients of a number and a constant.
fn of_arithmetic<'a, V>(
    result: SqlType,
    operator: Option<Arithmetic>,
    left: &'a Term<V>,
    right: &'a Term<V>,
) -> Result<Subject<'a, V>, Reason> {
    if !left.ty.is_number() || !right.ty.is_number() {
        return Err(Reason::NotAField);
    }
    // Where the field is.
    let is_left = right.is_constant;
    if !is_left && !left.is_constant {
        return Err(Reason::NotAField);
    }
    match (operator, is_left) {
        (Some(Arithmetic::Add), true) => with_step(left, Operation::Add(right)),
        (Some(Arithmetic::Add), false) => with_step(right, Operation::Add(left)),
        (Some(Arithmetic::Subtract), true) => with_step(left, Operation::Subtract(right)),
        (Some(Arithmetic::Subtract), false) => with_step(right, Operation::SubtractFrom(left)),
        (Some(Arithmetic::Multiply), true) => with_step(left, Operation::Multiply(right)),
        (Some(Arithmetic::Multiply), false) => with_step(right, Operation::Multiply(left)),
        // Of whole numbers it is cut off.
        (Some(Arithmetic::Divide), true) if result == SqlType::Numeric => {
            with_step(left, Operation::Divide(right))
        }
        _ => Err(Reason::NoOperator),
    }
}

fn with_step<'a, V>(inner: &'a Term<V>, step: Operation<'a, V>) -> Result<Subject<'a, V>, Reason> {
    let mut subject = subject(inner)?;
    if !matches!(TypeCategory::of(subject.field.ty), Some(TypeCategory::Integer | TypeCategory::Decimal)) {
        return Err(Reason::OtherTypes);
    }
    subject.steps.insert(0, step);
    Ok(subject)
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

/// What a value of a type lacks of a moment, in days.
pub(crate) fn cut_off(ty: SqlType) -> u16 {
    u16::from(ty == SqlType::Date)
}

/// More slack, in days.
pub(crate) fn widened(slack: Slack, before: u16, after: u16) -> Slack {
    Slack { before: slack.before.saturating_add(before), after: slack.after.saturating_add(after) }
}
