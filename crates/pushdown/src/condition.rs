//! Conditions whose values are not known at planning, and the filter that they give when a scan starts.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::class::Dialect;
use crate::filter::{Anchor, Case, Comparison, Field, Filter, Slack, Test};
use crate::literal::Literal;
use crate::print::refusal;
use crate::reason::Reason;
use crate::term::Syntax;
use crate::writing::Writing;

/// A condition on fields. `V` stands for a value: an expression of the caller at planning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition<V> {
    /// Every part must be met.
    And(Vec<Condition<V>>),
    /// At least one part must be met.
    Or(Vec<Condition<V>>),
    /// A field is compared with one value or an array of values.
    Compare {
        /// The field.
        field: Field,
        /// The operator, with the field on its left.
        comparison: Comparison,
        /// One value, or those of an array.
        values: V,
        /// The comparison must be true for all values (ALL); if not, for at least one (ANY).
        every: bool,
        /// By how much the field may differ from a value, if it is a moment.
        slack: Slack,
        /// What of the field is compared with the values.
        reading: Reading,
    },
    /// IS DISTINCT FROM, or IS NOT DISTINCT FROM: NULL counts as a value.
    Distinct {
        /// The field.
        field: Field,
        /// The value that it is compared with.
        value: V,
        /// The clause is IS DISTINCT FROM; if not, IS NOT DISTINCT FROM.
        is: bool,
    },
    /// A test whose value is known.
    Test(Field, Test),
    /// A field matches a pattern or contains a text.
    Match {
        /// The field.
        field: Field,
        /// The pattern or text.
        text: V,
        /// Whether it is a pattern of LIKE, and if not, where it must stand.
        syntax: Syntax,
        /// The case that the field is converted to before.
        case: Case,
    },
}

/// What of a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// The field's value itself.
    Value,
    /// The year of the field, which is a moment: `extract(year FROM …)`.
    Year,
}

/// One value, or those of an array.
#[derive(Clone, Debug)]
pub struct Values {
    /// The values, each once. A value that no literal can hold is an error with its text.
    pub literals: Vec<Result<Literal, String>>,
    /// NULL is one of the values, or the only one.
    pub has_null: bool,
}

impl Values {
    /// The single value NULL.
    pub fn null() -> Self {
        Self { literals: Vec::new(), has_null: true }
    }
}

/// What the server is asked for once the values of conditions are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The rows that meet this filter.
    Filter(Filter),
    /// All rows: no condition is left that could be sent.
    AnyRow,
    /// Nothing: no row can meet the conditions.
    NoRow,
}

impl Outcome {
    /// What the server is asked for, of rows that must meet the conditions of both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NoRow, _) | (_, Self::NoRow) => Self::NoRow,
            (Self::AnyRow, other) => other,
            (this, Self::AnyRow) => this,
            (Self::Filter(one), Self::Filter(other)) => Self::Filter(one.and(other)),
        }
    }
}

/// What the server is asked for, if rows must meet all conditions. `values` returns the values that a `V` stands for.
pub fn outcome<V>(conditions: &[Condition<V>], values: &impl Fn(&V) -> Values) -> Outcome {
    all(conditions, values, &Cell::default())
}

/// What the server would be asked for conditions whose values may not be known yet.
#[derive(Clone, Debug)]
pub struct Described {
    /// What is sent; `None` if nothing is.
    pub filter: Option<Filter>,
    /// Conditions that are not sent after all, by their index, each with a reason.
    pub kept: Vec<(usize, Reason)>,
    /// The server's answer to the filter is that of all the clauses.
    pub exact: bool,
}

/// Describes conditions that are `complete` if no clause, nor part of one, is missing among them.
pub fn described<V>(
    conditions: &[Condition<V>],
    mut complete: bool,
    dialect: Dialect,
    values: &impl Fn(&V) -> Values,
) -> Described {
    let (mut asked, mut kept, dropped) = (Vec::new(), Vec::new(), Cell::default());
    for (index, condition) in conditions.iter().enumerate() {
        match condition.work_out(values, &dropped) {
            Outcome::Filter(filter) => {
                kept.extend(refusal(&filter, dialect).map(|why| (index, why)));
                asked.push(filter);
            }
            Outcome::NoRow => complete = false,
            Outcome::AnyRow => {
                kept.push((index, Reason::NothingToAsk));
                complete = false;
            }
        }
    }
    let filter = (!asked.is_empty()).then_some(Filter::And(asked));
    complete &= !dropped.get();
    let exact = complete && filter.as_ref().is_none_or(|filter| filter.is_exact(dialect));
    Described { filter, kept, exact }
}

impl<V> Condition<V> {
    /// The same condition over other values.
    pub fn map<W>(self, change: &mut impl FnMut(V) -> W) -> Condition<W> {
        match self {
            Self::And(parts) => Condition::And(parts.into_iter().map(|part| part.map(change)).collect()),
            Self::Or(parts) => Condition::Or(parts.into_iter().map(|part| part.map(change)).collect()),
            Self::Compare { field, comparison, values, every, slack, reading } => {
                Condition::Compare { field, comparison, values: change(values), every, slack, reading }
            }
            Self::Distinct { field, value, is } => Condition::Distinct { field, value: change(value), is },
            Self::Test(field, test) => Condition::Test(field, test),
            Self::Match { field, text, syntax, case } => {
                Condition::Match { field, text: change(text), syntax, case }
            }
        }
    }

    /// Whether the server can be asked for rows that meet the condition with this value.
    pub fn can_send(&self, value: &Literal, dialect: Dialect) -> bool {
        let values = |_: &V| Values { literals: vec![Ok(value.clone())], has_null: false };
        match self.work_out(&values, &Cell::default()) {
            Outcome::Filter(filter) => filter.length(&Writing::plain(dialect)).is_some(),
            _ => false,
        }
    }

    /// Sets `dropped` if the outcome is that of a part only.
    fn work_out(&self, values: &impl Fn(&V) -> Values, dropped: &Cell<bool>) -> Outcome {
        match self {
            Self::And(parts) => all(parts, values, dropped),
            Self::Or(parts) => any(parts.iter().map(|part| part.work_out(values, dropped))),
            Self::Compare { field, comparison, values: source, every, slack, reading } => {
                let Values { literals, has_null } = values(source);
                let each = literals.into_iter().map(|value| match value.ok().and_then(|v| reading.of(v)) {
                    Some(value) => compared(field, *comparison, value, *slack),
                    None => Outcome::AnyRow,
                });
                match (every, has_null) {
                    (true, true) => Outcome::NoRow,
                    (true, false) => together(each, dropped),
                    (false, _) => any(each),
                }
            }
            Self::Distinct { field, value, is } => {
                let Values { mut literals, .. } = values(value);
                let no_value = || Filter::Test(field.clone(), Test::Null);
                match (literals.pop(), is) {
                    (None, true) => Outcome::Filter(Filter::Test(field.clone(), Test::NotNull)),
                    (None, false) => Outcome::Filter(no_value()),
                    (Some(Err(_)), _) => Outcome::AnyRow,
                    (Some(Ok(value)), false) => compared(field, Comparison::Eq, value, Slack::default()),
                    // A server to which NULL is unknown would leave it out.
                    (Some(Ok(value)), true) => {
                        let other = compared(field, Comparison::Ne, value, Slack::default());
                        any([other, Outcome::Filter(no_value())].into_iter())
                    }
                }
            }
            Self::Test(field, test) => Outcome::Filter(Filter::Test(field.clone(), test.clone())),
            Self::Match { field, text, syntax, case } => {
                any(values(text).literals.into_iter().map(|text| match text {
                    Ok(Literal::Text(text)) => matched(field, &text, *syntax, *case),
                    Ok(shown) => compared(field, Comparison::Eq, shown, Slack::default()),
                    Err(_) => Outcome::AnyRow,
                }))
            }
        }
    }
}

fn compared(field: &Field, comparison: Comparison, value: Literal, slack: Slack) -> Outcome {
    Outcome::Filter(Filter::Test(field.clone(), Test::Compare { comparison, value, slack }))
}

impl Reading {
    fn of(self, value: Literal) -> Option<Literal> {
        match (self, value) {
            (Self::Value, value) => Some(value),
            (Self::Year, Literal::Integer(digits) | Literal::Decimal(digits) | Literal::Double(digits)) => {
                let year = digits.parse::<f64>().ok()?.floor();
                (1.0..=9999.0).contains(&year).then(|| Literal::Date(format!("{year:04}-01-01")))
            }
            (Self::Year, Literal::Shown(text)) => Some(Literal::Shown(text)),
            (Self::Year, _) => None,
        }
    }
}

/// What a text must hold for it to match.
fn matched(field: &Field, text: &str, syntax: Syntax, case: Case) -> Outcome {
    let test =
        |anchor, text: &str| Filter::Test(field.clone(), Test::Match { anchor, text: text.to_owned(), case });
    match syntax {
        Syntax::Start | Syntax::Anywhere if text.is_empty() => Outcome::AnyRow,
        Syntax::Start => Outcome::Filter(test(Anchor::Start, text)),
        Syntax::Anywhere => Outcome::Filter(test(Anchor::Anywhere, text)),
        Syntax::Whole => Outcome::Filter(test(Anchor::Whole, text)),
        Syntax::Like => {
            let Some(pieces) = pieces(text) else { return Outcome::AnyRow };
            if let [whole] = pieces.as_slice() {
                return match case {
                    Case::Same => {
                        compared(field, Comparison::Eq, Literal::Text(whole.clone()), Slack::default())
                    }
                    _ => Outcome::Filter(test(Anchor::Whole, whole)),
                };
            }
            let anchor = |at: usize| if at == 0 { Anchor::Start } else { Anchor::Anywhere };
            let asked = pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty());
            let asked: Vec<Filter> = asked.map(|(at, piece)| test(anchor(at), piece)).collect();
            if asked.is_empty() { Outcome::AnyRow } else { Outcome::Filter(Filter::And(asked)) }
        }
    }
}

/// The texts between the wildcards of a pattern; the first one is where the text begins. `None` if PostgreSQL will not
/// have it.
fn pieces(pattern: &str) -> Option<Vec<String>> {
    let mut pieces = vec![String::new()];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => pieces.push(String::new()),
            '\\' => pieces.last_mut()?.push(characters.next()?),
            other => pieces.last_mut()?.push(other),
        }
    }
    Some(pieces)
}

/// All must be met: what is not known need not be asked for.
fn all<V>(parts: &[Condition<V>], values: &impl Fn(&V) -> Values, dropped: &Cell<bool>) -> Outcome {
    together(parts.iter().map(|part| part.work_out(values, dropped)), dropped)
}

fn together(parts: impl Iterator<Item = Outcome>, dropped: &Cell<bool>) -> Outcome {
    let mut asked = Vec::new();
    for part in parts {
        match part {
            Outcome::Filter(filter) => asked.push(filter),
            Outcome::NoRow => return Outcome::NoRow,
            Outcome::AnyRow => dropped.set(true),
        }
    }
    if asked.is_empty() { Outcome::AnyRow } else { Outcome::Filter(Filter::And(asked)) }
}

/// One must be met, and it may be the one that is not known.
fn any(parts: impl Iterator<Item = Outcome>) -> Outcome {
    let (mut asked, mut unknown) = (Vec::new(), false);
    for part in parts {
        match part {
            Outcome::Filter(filter) => asked.push(filter),
            Outcome::NoRow => {}
            Outcome::AnyRow => unknown = true,
        }
    }
    match asked.len() {
        _ if unknown => Outcome::AnyRow,
        0 => Outcome::NoRow,
        1 => Outcome::Filter(asked.remove(0)),
        _ => Outcome::Filter(Filter::Or(asked)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;

    /// What stands for a value: the elements of an array, NULL as `None`; what cannot be sent is "?".
    type Given = Vec<Option<&'static str>>;

    fn values(given: &Given) -> Values {
        let literal = |text: &&str| match *text {
            "?" => Err("?".to_owned()),
            digits if digits.parse::<i32>().is_ok() => Ok(Literal::Integer(digits.to_owned())),
            text => Ok(Literal::Text(text.to_owned())),
        };
        Values {
            literals: given.iter().flatten().map(literal).collect(),
            has_null: given.is_empty() || given.contains(&None),
        }
    }

    fn field(ty: ColumnType) -> Field {
        Field { path: vec!["A".into()], ty, vouched: true, key: false }
    }

    fn compared(comparison: Comparison, given: &[Option<&'static str>], every: bool) -> Condition<Given> {
        let (slack, reading) = (Slack::default(), Reading::Value);
        Condition::Compare {
            field: field(ColumnType::Int4),
            comparison,
            values: given.to_vec(),
            every,
            slack,
            reading,
        }
    }

    fn like(pattern: &'static str) -> Condition<Given> {
        let (syntax, case) = (Syntax::Like, Case::Same);
        Condition::Match { field: field(ColumnType::Text), text: vec![Some(pattern)], syntax, case }
    }

    fn sent(condition: &Condition<Given>) -> Option<String> {
        match outcome(std::slice::from_ref(condition), &values) {
            Outcome::Filter(filter) => crate::print::print(&filter, &Writing::plain(Dialect::Dac)),
            Outcome::AnyRow => None,
            Outcome::NoRow => Some("no row".into()),
        }
    }

    fn is_exact(condition: &Condition<Given>) -> bool {
        described(std::slice::from_ref(condition), true, Dialect::Dac, &values).exact
    }

    #[test]
    fn a_list_is_met_by_one_or_by_all_and_null_meets_nothing() {
        use Comparison::{Eq, Gt};
        assert_eq!(sent(&compared(Eq, &[Some("1"), None, Some("2")], false)).unwrap(), "(A eq 1 or A eq 2)");
        assert_eq!(sent(&compared(Gt, &[Some("1"), Some("2")], true)).unwrap(), "(A gt 1 and A gt 2)");
        assert_eq!(sent(&compared(Gt, &[Some("1"), None], true)).unwrap(), "no row");
        assert_eq!(sent(&compared(Eq, &[None], false)).unwrap(), "no row");
    }

    #[test]
    fn a_list_with_a_value_that_cannot_be_sent_is_left_to_the_other_values_only_if_all_must_be_met() {
        let (one, all) = (compared(Comparison::Eq, &[Some("1"), Some("?")], false), [Some("1"), Some("?")]);
        assert_eq!(sent(&one), None);
        let all = compared(Comparison::Gt, &all, true);
        assert_eq!(sent(&all).unwrap(), "A gt 1");
        assert!(!is_exact(&all) && is_exact(&compared(Comparison::Gt, &[Some("1")], true)));
    }

    #[test]
    fn a_condition_is_not_exact_while_a_part_of_it_leaves_nothing_to_ask_for() {
        let five = || compared(Comparison::Eq, &[Some("5")], false);
        let three = || compared(Comparison::Eq, &[Some("3")], false);
        assert!(is_exact(&Condition::Or(vec![Condition::And(vec![three()]), five()])));
        // LIKE '%' keeps what is not NULL.
        let part = Condition::Or(vec![Condition::And(vec![like("%"), three()]), five()]);
        assert_eq!(sent(&part).unwrap(), "(A eq 3 or A eq 5)");
        assert!(!is_exact(&part));
    }

    #[test]
    fn patterns_are_what_stands_between_their_wildcards() {
        assert_eq!(
            sent(&like("ab%cd_e")).unwrap(),
            "(startswith(A,'ab') and contains(A,'cd') and contains(A,'e'))"
        );
        assert_eq!(sent(&like(r"50\%")).unwrap(), "A eq '50%'");
        assert_eq!(sent(&like("%%_")), None);
        // PostgreSQL raises an error, if it comes to it.
        assert_eq!(sent(&like(r"ab\")), None);
    }

    #[test]
    fn a_text_may_begin_with_one_of_a_list() {
        let text = vec![Some("ab"), None, Some("c")];
        let (field, case) = (field(ColumnType::Text), Case::Same);
        let begins = |text| Condition::Match { field: field.clone(), text, syntax: Syntax::Start, case };
        assert_eq!(sent(&begins(text)).unwrap(), "(startswith(A,'ab') or startswith(A,'c'))");
        assert_eq!(sent(&begins(vec![Some("ab"), Some("?")])), None);
        assert_eq!(sent(&begins(vec![Some("ab"), Some("")])), None);
        assert_eq!(sent(&begins(vec![None])).unwrap(), "no row");
    }

    #[test]
    fn null_is_a_value_to_what_is_distinct() {
        let distinct =
            |given, is| Condition::Distinct { field: field(ColumnType::Int4), value: vec![given], is };
        assert_eq!(sent(&distinct(None, true)).unwrap(), "A ne null");
        assert_eq!(sent(&distinct(None, false)).unwrap(), "A eq null");
        assert_eq!(sent(&distinct(Some("5"), true)).unwrap(), "(A ne 5 or A eq null)");
        assert_eq!(sent(&distinct(Some("5"), false)).unwrap(), "A eq 5");
    }

    #[test]
    fn years_become_days() {
        let year = |year| Condition::Compare {
            field: field(ColumnType::Date),
            comparison: Comparison::Ge,
            values: vec![Some(year)],
            every: false,
            slack: Slack { before: 1, after: 367 },
            reading: Reading::Year,
        };
        assert_eq!(sent(&year("2024")).unwrap(), "A ge 2023-12-30T00:00:00Z");
        assert_eq!(sent(&year("12024")), None);
        assert_eq!(sent(&year("text")), None);
    }
}
