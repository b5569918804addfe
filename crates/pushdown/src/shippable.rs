//! Translates clauses of a query to conditions for the server.
//!
//! The caller rechecks all clauses. So the server may return too many rows, but must never leave out one that SQL keeps. This
//! file decides what a clause means in SQL; [`class`](crate::class()) decides what a dialect can be trusted with.
//!
//! A clause keeps a row if it is true. Under NOT the rows are wanted for which the clause is false; both are conditions
//! without NOT, so no NOT is sent: how a server evaluates NOT of NULL does not matter.

use crate::class::TypeCategory;
use crate::condition::{Condition, Reading};
use crate::filter::{Case, Comparison, Field, Slack, Test};
use crate::literal::Literal;
use crate::reason::Reason;
use crate::solve::{Solved, solved, turned};
use crate::subject::{Subject, cut_off, subject, widened};
use crate::term::{Node, SqlType, Syntax, Term};

/// A clause that can be sent.
#[derive(Clone, Debug)]
pub struct Shippable<V> {
    /// The condition. Its values are those that the caller's [`Term`]s stand for.
    pub condition: Condition<V>,
    /// No part of the clause was left out.
    pub is_whole: bool,
}

/// A condition, or why there is none.
type Found<V> = Result<Condition<Solved<V>>, Reason>;

/// The condition for the rows of which a clause is true.
///
/// # Errors
/// The reason why the clause cannot be sent.
pub fn translate<V: Clone>(clause: &Term<V>) -> Result<Shippable<Solved<V>>, Reason> {
    let mut dropped = false;
    let condition = truth(clause, true, &mut dropped)?;
    Ok(Shippable { condition, is_whole: !dropped })
}

/// The rows of which a clause is `wanted`: true, or false. Sets `dropped` if a part of it is left out.
fn truth<V: Clone>(clause: &Term<V>, wanted: bool, dropped: &mut bool) -> Found<V> {
    match &clause.node {
        Node::Column(field) => boolean(field.clone()?, wanted),
        Node::Not(inner) => truth(inner, !wanted, dropped),
        Node::And(parts) => combined(parts, wanted, wanted, dropped),
        Node::Or(parts) => combined(parts, !wanted, wanted, dropped),
        Node::IsTruth { of, truth, is } => is_truth(of, *truth, *is == wanted, dropped),
        Node::IsNull { of, is, is_row } => {
            let field = of.column()?;
            match is_row {
                true => Err(Reason::NoOperator),
                false => Ok(Condition::Test(field, if *is == wanted { Test::Null } else { Test::NotNull })),
            }
        }
        Node::Compare { comparison, left, right, deterministic } => {
            operation(left, if wanted { *comparison } else { negated(*comparison) }, right, *deterministic)
        }
        Node::CompareArray { .. } => of_array(&clause.node, wanted),
        Node::Distinct { comparison, left, right, deterministic } => {
            distinct(left, *comparison, right, *deterministic, wanted)
        }
        Node::CompareRows { comparison, left, right, deterministic } => {
            let comparison = comparison.ok_or(Reason::NoOperator)?;
            // Whatever comes after it, the first column is not less, or not greater.
            let comparison = match if wanted { comparison } else { negated(comparison) } {
                Comparison::Lt | Comparison::Le => Comparison::Le,
                Comparison::Gt | Comparison::Ge => Comparison::Ge,
                _ => return Err(Reason::NoOperator),
            };
            *dropped = true;
            either_way(left, comparison, right, *deterministic)
        }
        Node::Matches { .. } => matching(&clause.node, wanted),
        _ => Err(Reason::NoOperator),
    }
}

/// A boolean column as a condition.
fn boolean<V>(field: Field, wanted: bool) -> Found<V> {
    if TypeCategory::of(field.ty) != Some(TypeCategory::Bool) {
        return Err(Reason::OtherTypes);
    }
    let (comparison, value) = (Comparison::Eq, Literal::Bool(wanted));
    Ok(Condition::Test(field, Test::Compare { comparison, value, slack: Slack::default() }))
}

/// AND and OR, by De Morgan's laws: whether `every` part must be `wanted`, or one.
fn combined<V: Clone>(parts: &[Term<V>], every: bool, wanted: bool, dropped: &mut bool) -> Found<V> {
    let parts: Vec<Found<V>> = parts.iter().map(|part| truth(part, wanted, dropped)).collect();
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
    *dropped |= why.is_some();
    match (found.is_empty(), why) {
        (true, Some(why)) => Err(why),
        _ => Ok(Condition::And(found)),
    }
}

/// IS [NOT] TRUE, FALSE, UNKNOWN.
fn is_truth<V: Clone>(inner: &Term<V>, asked: Option<bool>, is: bool, dropped: &mut bool) -> Found<V> {
    match (asked, is) {
        (Some(asked), true) => truth(inner, asked, dropped),
        // The other value, or none.
        (Some(asked), false) => {
            let field = inner.column()?;
            let other = boolean(field.clone(), !asked)?;
            Ok(Condition::Or(vec![other, Condition::Test(field, Test::Null)]))
        }
        (None, true) => Ok(Condition::Test(inner.column()?, Test::Null)),
        (None, false) => Ok(Condition::Test(inner.column()?, Test::NotNull)),
    }
}

fn operation<V: Clone>(
    left: &Term<V>,
    comparison: Comparison,
    right: &Term<V>,
    deterministic: bool,
) -> Found<V> {
    if let Some(found) = position(left, comparison, right) {
        return found;
    }
    if let Some(found) = beginning(left, comparison, right, deterministic) {
        return found;
    }
    if let Ok(found) = whole_text(left, comparison, right, deterministic) {
        return Ok(found);
    }
    either_way(left, comparison, right, deterministic)
}

/// A comparison with the field on either side.
fn either_way<V: Clone>(
    left: &Term<V>,
    comparison: Comparison,
    right: &Term<V>,
    deterministic: bool,
) -> Found<V> {
    match compared(left, comparison, right, deterministic) {
        Err(Reason::NotAField) => compared(right, turned(comparison), left, deterministic),
        found => found,
    }
}

/// A comparison of what comes from a field with what does not.
fn compared<V: Clone>(
    mine: &Term<V>,
    comparison: Comparison,
    value: &Term<V>,
    deterministic: bool,
) -> Found<V> {
    let Subject { field, reading, mut slack, steps } = subject(mine)?;
    check_constant(value)?;
    if !deterministic {
        return Err(Reason::OtherCollation);
    }
    if reading == Reading::Value && !mine.ty.is_comparable(value.ty) {
        return Err(Reason::OtherTypes);
    }
    if mine.ty.is_moment() && mine.ty != value.ty {
        slack = widened(slack, 1, 1 + cut_off(mine.ty));
    }
    let (comparison, values) = solved(comparison, value, &steps).ok_or(Reason::NoOperator)?;
    Ok(Condition::Compare { field, comparison, values, every: false, slack, reading })
}

fn of_array<V: Clone>(node: &Node<V>, wanted: bool) -> Found<V> {
    let Node::CompareArray { comparison, left, array, element, any, deterministic } = node else {
        return Err(Reason::NoOperator);
    };
    let comparison = comparison.ok_or(Reason::NoOperator)?;
    if let Node::Beginning(of) = &left.bare().node {
        let is_one = comparison == Comparison::Eq && *any && wanted;
        return begins(of, is_one, array, *element, *deterministic);
    }
    let Subject { field, reading, slack, steps } = subject(left)?;
    check_constant(array)?;
    if !deterministic {
        return Err(Reason::OtherCollation);
    }
    if reading != Reading::Value || !steps.is_empty() || !left.ty.is_comparable(*element) {
        return Err(Reason::OtherTypes);
    }
    let crosses = element.is_moment() && *element != left.ty;
    let slack = if crosses { widened(slack, 1, 1 + cut_off(left.ty)) } else { slack };
    let comparison = if wanted { comparison } else { negated(comparison) };
    // That one of them is not so is that not all are.
    let every = *any != wanted;
    let values = Solved::plain(array.value.clone());
    Ok(Condition::Compare { field, comparison, values, every, slack, reading })
}

fn distinct<V: Clone>(
    left: &Term<V>,
    comparison: Option<Comparison>,
    right: &Term<V>,
    deterministic: bool,
    wanted: bool,
) -> Found<V> {
    let (field, mine, value) = match left.column() {
        Ok(field) => (field, left, right),
        Err(_) => (right.column()?, right, left),
    };
    check_constant(value)?;
    if comparison != Some(Comparison::Eq) {
        return Err(Reason::NoOperator);
    }
    if !deterministic {
        return Err(Reason::OtherCollation);
    }
    if !mine.ty.is_comparable(value.ty) || mine.ty.is_moment() {
        return Err(Reason::OtherTypes);
    }
    Ok(Condition::Distinct { field, value: Solved::plain(value.value.clone()), is: wanted })
}

/// LIKE and what is like it.
fn matching<V: Clone>(node: &Node<V>, wanted: bool) -> Found<V> {
    let Node::Matches { syntax, any_case, holds, subject, text, deterministic } = node else {
        return Err(Reason::NoOperator);
    };
    let (field, case) = text_of(subject)?;
    let case = match (any_case, case) {
        (false, case) => case,
        (true, Case::Same | Case::Lower) => Case::Lower,
        // Lower case of upper case: neither rule for letters holds.
        (true, Case::Upper) => return Err(Reason::NoOperator),
    };
    if *holds != wanted {
        return Err(Reason::NotMatching);
    }
    if !deterministic {
        return Err(Reason::OtherCollation);
    }
    check_text(text)?;
    Ok(matched(field, text, *syntax, case))
}

fn matched<V: Clone>(field: Field, text: &Term<V>, syntax: Syntax, case: Case) -> Condition<Solved<V>> {
    Condition::Match { field, text: Solved::plain(text.value.clone()), syntax, case }
}

/// `lower(field) = value`.
fn whole_text<V: Clone>(
    left: &Term<V>,
    comparison: Comparison,
    right: &Term<V>,
    deterministic: bool,
) -> Found<V> {
    let ((field, case), value) = match text_of(left) {
        Ok(found) => (found, right),
        Err(_) => (text_of(right)?, left),
    };
    if case == Case::Same || comparison != Comparison::Eq || !deterministic {
        return Err(Reason::NoOperator);
    }
    check_text(value)?;
    Ok(matched(field, value, Syntax::Whole, case))
}

/// `strpos(field, text) > 0`; `None` if it is no such thing.
fn position<V: Clone>(left: &Term<V>, comparison: Comparison, right: &Term<V>) -> Option<Found<V>> {
    let (Node::Position { subject, text, deterministic }, Node::Constant(least)) = (&left.node, &right.node)
    else {
        return None;
    };
    let least: Option<i32> = match least {
        Some(Literal::Integer(digits)) if right.ty == SqlType::Int4 => digits.parse().ok(),
        _ => None,
    };
    let says = match (comparison, least) {
        (Comparison::Gt, Some(least)) => least >= 0,
        (Comparison::Ge | Comparison::Eq, Some(least)) => least >= 1,
        (Comparison::Ne, Some(least)) => least == 0,
        _ => false,
    };
    if !says {
        return Some(Err(Reason::NotMatching));
    }
    Some(text_of(subject).and_then(|(field, case)| {
        check_text(text)?;
        match deterministic {
            true => Ok(matched(field, text, Syntax::Anywhere, case)),
            false => Err(Reason::OtherCollation),
        }
    }))
}

/// `left(field, n) = value`; `None` if it is no such thing.
fn beginning<V: Clone>(
    left: &Term<V>,
    comparison: Comparison,
    right: &Term<V>,
    deterministic: bool,
) -> Option<Found<V>> {
    let (of, value) = match (&left.bare().node, &right.bare().node) {
        (Node::Beginning(of), _) => (of, right),
        (_, Node::Beginning(of)) => (of, left),
        _ => return None,
    };
    Some(begins(of, comparison == Comparison::Eq, value, value.ty, deterministic))
}

/// A text whose beginning is `value`, or one of its elements, begins with that, however long the beginning is.
fn begins<V: Clone>(
    subject: &Term<V>,
    is_one: bool,
    value: &Term<V>,
    ty: SqlType,
    deterministic: bool,
) -> Found<V> {
    let (field, case) = text_of(subject)?;
    check_constant(value)?;
    if !is_one {
        return Err(Reason::NotMatching);
    }
    if !deterministic {
        return Err(Reason::OtherCollation);
    }
    if !matches!(ty, SqlType::Text | SqlType::Varchar) {
        return Err(Reason::OtherTypes);
    }
    Ok(matched(field, value, Syntax::Start, case))
}

/// A field of text, in its own case or brought to one.
fn text_of<V>(term: &Term<V>) -> Result<(Field, Case), Reason> {
    let term = term.bare();
    match &term.node {
        Node::InCase { case, of, deterministic } => match text_of(of)? {
            (field, Case::Same) if *deterministic => Ok((field, *case)),
            _ => Err(Reason::NoOperator),
        },
        Node::Cast(crate::term::Cast::Unpadded, of) => text_of(of),
        Node::Cast(..)
        | Node::Truncate { .. }
        | Node::Extract { .. }
        | Node::Position { .. }
        | Node::Beginning(_)
        | Node::Call => Err(Reason::NoOperator),
        _ => {
            let field = term.column()?;
            let is_text = TypeCategory::of(field.ty) == Some(TypeCategory::Text) && term.ty.is_text();
            if is_text { Ok((field, Case::Same)) } else { Err(Reason::OtherTypes) }
        }
    }
}

fn check_constant<V>(value: &Term<V>) -> Result<(), Reason> {
    if value.is_constant { Ok(()) } else { Err(Reason::NotConstant) }
}

fn check_text<V>(value: &Term<V>) -> Result<(), Reason> {
    check_constant(value)?;
    if matches!(value.ty, SqlType::Text | SqlType::Varchar) { Ok(()) } else { Err(Reason::OtherTypes) }
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

#[cfg(test)]
mod tests;
