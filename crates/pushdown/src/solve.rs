//! Arithmetic on a column, solved for the column: `price * 2 + 1 < 10` is a condition on `price`.

use crate::filter::Comparison;
use crate::literal::Literal;
use crate::term::{Node, Term};

/// An arithmetic operation with a constant, which an expression applies to the expression within it.
pub(crate) enum Operation<'a, V> {
    Add(&'a Term<V>),
    Subtract(&'a Term<V>),
    SubtractFrom(&'a Term<V>),
    Negate,
    Multiply(&'a Term<V>),
    Divide(&'a Term<V>),
}

/// The value that a column is compared with: an expression of the query, and the operations that solve the comparison for the
/// column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solved<V> {
    /// The expression.
    pub of: V,
    /// The operations, in order, each on the result of the one before, in `numeric`.
    pub inverses: Vec<Inverse<V>>,
    /// The result may be rounded, so it is compared as a binary number.
    pub is_rounded: bool,
}

/// An operation on the value, which undoes one on the column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inverse<V> {
    /// Add this number to the value.
    Add(V),
    /// Subtract this number from the value.
    Subtract(V),
    /// Subtract the value from this number.
    SubtractFrom(V),
    /// Change the sign of the value.
    Negate,
    /// Multiply the value by this number.
    Multiply(V),
    /// Divide the value by this number.
    Divide(V),
}

impl<V> Solved<V> {
    /// An expression as it stands.
    pub(crate) fn plain(of: V) -> Self {
        Self { of, inverses: Vec::new(), is_rounded: false }
    }
}

/// A comparison with its sides changed.
pub(crate) fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq | Comparison::Ne => comparison,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// What is done to the one side of a comparison undone on the other. `None` if it cannot be.
pub(crate) fn solved<V: Clone>(
    mut comparison: Comparison,
    value: &Term<V>,
    steps: &[Operation<'_, V>],
) -> Option<(Comparison, Solved<V>)> {
    let mut solved = Solved::plain(value.value.clone());
    if !steps.is_empty() && !value.ty.is_number() {
        return None;
    }
    for step in steps {
        // What was rounded at the size that a number had before need not be near it at the size it has then.
        if solved.is_rounded
            && matches!(step, Operation::Add(_) | Operation::Subtract(_) | Operation::SubtractFrom(_))
        {
            return None;
        }
        solved.inverses.push(match step {
            Operation::Add(number) => Inverse::Subtract(number.value.clone()),
            Operation::Subtract(number) => Inverse::Add(number.value.clone()),
            Operation::SubtractFrom(number) => {
                comparison = turned(comparison);
                Inverse::SubtractFrom(number.value.clone())
            }
            Operation::Negate => {
                comparison = turned(comparison);
                Inverse::Negate
            }
            Operation::Multiply(factor) | Operation::Divide(factor) => {
                if signed(factor)? < 0.0 {
                    comparison = turned(comparison);
                }
                solved.is_rounded = true;
                match step {
                    Operation::Multiply(_) => Inverse::Divide(factor.value.clone()),
                    _ => Inverse::Multiply(factor.value.clone()),
                }
            }
        });
    }
    Some((comparison, solved))
}

/// A factor that is known now, and moderate, so that what rounding does to a product stays small.
fn signed<V>(factor: &Term<V>) -> Option<f64> {
    let Node::Constant(Some(Literal::Integer(digits) | Literal::Decimal(digits))) = &factor.node else {
        return None;
    };
    let number: f64 = digits.parse().ok()?;
    (1e-6..=1e6).contains(&number.abs()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::SqlType;
    use Comparison::{Eq, Lt};

    /// A number that the planner knows; its text stands for it.
    fn number(digits: &'static str) -> Term<&'static str> {
        let node = Node::Constant(Some(Literal::decimal(digits)));
        Term { value: digits, ty: SqlType::Numeric, is_constant: true, node }
    }

    /// One that it does not know.
    fn parameter(ty: SqlType) -> Term<&'static str> {
        Term { value: "$1", ty, is_constant: true, node: Node::Other }
    }

    #[test]
    fn what_is_not_operated_on_is_compared_as_it_stands() {
        let value = parameter(SqlType::Text);
        assert_eq!(solved(Lt, &value, &[]), Some((Lt, Solved::plain("$1"))));
        let plus = [Operation::Add(&value)];
        assert_eq!(solved(Lt, &value, &plus), None);
    }

    #[test]
    fn sums_are_undone_from_the_outermost_and_stay_exact() {
        let (two, one, ten) = (number("2"), parameter(SqlType::Int4), number("10"));
        // -(2 - (x + $1)) < 10
        let operations = [Operation::Negate, Operation::SubtractFrom(&two), Operation::Add(&one)];
        let (comparison, value) = solved(Lt, &ten, &operations).unwrap();
        let inverses = vec![Inverse::Negate, Inverse::SubtractFrom("2"), Inverse::Subtract("$1")];
        assert_eq!((comparison, value), (Lt, Solved { of: "10", inverses, is_rounded: false }));
        let (comparison, _) = solved(Lt, &ten, &operations[1..]).unwrap();
        assert_eq!(comparison, Comparison::Gt);
    }

    #[test]
    fn a_product_is_undone_up_to_rounding_and_turns_with_the_sign_of_its_factor() {
        let (factor, ten) = (number("-0.5"), number("10"));
        let (comparison, value) = solved(Lt, &ten, &[Operation::Multiply(&factor)]).unwrap();
        assert_eq!(comparison, Comparison::Gt);
        assert_eq!(value, Solved { of: "10", inverses: vec![Inverse::Divide("-0.5")], is_rounded: true });
        let (comparison, value) = solved(Eq, &ten, &[Operation::Divide(&factor)]).unwrap();
        assert_eq!((comparison, value.inverses), (Eq, vec![Inverse::Multiply("-0.5")]));
    }

    #[test]
    fn a_factor_must_be_known_and_moderate() {
        let ten = number("10");
        for factor in [number("0"), number("0.0000001"), number("10000000"), parameter(SqlType::Numeric)] {
            assert_eq!(solved(Eq, &ten, &[Operation::Multiply(&factor)]), None, "{}", factor.value);
        }
    }

    /// `(x + 1000000000000000) / 3 = y`: `y * 3` is off by more than what is left of it without the sum.
    #[test]
    fn what_was_rounded_at_another_size_is_not_asked_for() {
        let (three, much, y) = (number("3"), number("1000000000000000"), number("333333333333346.6667"));
        assert_eq!(solved(Eq, &y, &[Operation::Divide(&three), Operation::Add(&much)]), None);
        assert!(solved(Eq, &y, &[Operation::Add(&much), Operation::Divide(&three)]).is_some());
    }
}
