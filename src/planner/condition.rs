//! Conditions whose values are yet to be worked out, and what they come to when a scan starts.

use acumatica_pushdown::{Anchor, Case, Comparison, Dialect, Field, Filter, Literal, Slack, Test, refusal};
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::planner::value::{Expression, Values};

/// A condition, over whatever stands for the values in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Condition<V> {
    And(Vec<Condition<V>>),
    Or(Vec<Condition<V>>),
    Compare {
        field: Field,
        comparison: Comparison,
        values: V,
        /// It compares so to all of the values, else to one at least.
        every: bool,
        slack: Slack,
        reading: Reading,
    },
    Distinct {
        field: Field,
        value: V,
        /// They are distinct, else not.
        is: bool,
    },
    Test(Field, Test),
    Match {
        field: Field,
        text: V,
        syntax: Syntax,
        case: Case,
    },
}

/// What a value says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    Value,
    /// The year of a moment.
    Year,
}

/// What the text that another is compared with is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Syntax {
    /// A pattern of LIKE, with the backslash as its escape.
    Like,
    Start,
    Anywhere,
    Whole,
}

/// What a condition is once its values are known.
enum Outcome {
    Ask(Filter),
    /// No row can meet it.
    Never,
    /// Nothing that could be sent.
    Unknown,
}

/// The conditions of a scan, ready to be worked out.
#[derive(Debug)]
pub struct Conditions(Vec<Condition<Expression>>);

impl Conditions {
    /// Conditions over expressions that were begun with the scan.
    pub fn new(conditions: Vec<Condition<Expression>>) -> Self {
        Self(conditions)
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

/// What the server would be asked for conditions whose values may not be known yet.
pub struct Described {
    pub filter: Option<Filter>,
    /// Conditions that are not sent after all, by their index, each with a reason.
    pub kept: Vec<(usize, &'static str)>,
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
    let (mut asked, mut kept) = (Vec::new(), Vec::new());
    for (index, condition) in conditions.iter().enumerate() {
        match condition.work_out(values) {
            Outcome::Ask(filter) => {
                kept.extend(refusal(&filter, dialect).map(|why| (index, why)));
                asked.push(filter);
            }
            Outcome::Never => complete = false,
            Outcome::Unknown => {
                kept.push((index, "the value leaves nothing to ask for"));
                complete = false;
            }
        }
    }
    let filter = (!asked.is_empty()).then_some(Filter::And(asked));
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

    fn work_out(&self, values: &impl Fn(&V) -> Values) -> Outcome {
        match self {
            Self::And(parts) => all(parts, values),
            Self::Or(parts) => any(parts.iter().map(|part| part.work_out(values))),
            Self::Compare { field, comparison, values: source, every, slack, reading } => {
                let Values { literals, has_null } = values(source);
                let each = literals.into_iter().map(|value| match value.ok().and_then(|v| reading.of(v)) {
                    Some(value) => compared(field, *comparison, value, *slack),
                    None => Outcome::Unknown,
                });
                match (every, has_null) {
                    (true, true) => Outcome::Never,
                    (true, false) => together(each),
                    (false, _) => any(each),
                }
            }
            Self::Distinct { field, value, is } => {
                let Values { mut literals, .. } = values(value);
                let no_value = || Filter::Test(field.clone(), Test::Null);
                match (literals.pop(), is) {
                    (None, true) => Outcome::Ask(Filter::Test(field.clone(), Test::NotNull)),
                    (None, false) => Outcome::Ask(no_value()),
                    (Some(Err(_)), _) => Outcome::Unknown,
                    (Some(Ok(value)), false) => compared(field, Comparison::Eq, value, Slack::default()),
                    // A server to which NULL is unknown would leave it out.
                    (Some(Ok(value)), true) => {
                        let other = compared(field, Comparison::Ne, value, Slack::default());
                        any([other, Outcome::Ask(no_value())].into_iter())
                    }
                }
            }
            Self::Test(field, test) => Outcome::Ask(Filter::Test(field.clone(), test.clone())),
            Self::Match { field, text, syntax, case } => match values(text).literals.pop() {
                None => Outcome::Never,
                Some(Ok(Literal::Text(text))) => matched(field, &text, *syntax, *case),
                Some(Ok(shown)) => compared(field, Comparison::Eq, shown, Slack::default()),
                Some(Err(_)) => Outcome::Unknown,
            },
        }
    }
}

fn compared(field: &Field, comparison: Comparison, value: Literal, slack: Slack) -> Outcome {
    Outcome::Ask(Filter::Test(field.clone(), Test::Compare { comparison, value, slack }))
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
        Syntax::Start | Syntax::Anywhere if text.is_empty() => Outcome::Unknown,
        Syntax::Start => Outcome::Ask(test(Anchor::Start, text)),
        Syntax::Anywhere => Outcome::Ask(test(Anchor::Anywhere, text)),
        Syntax::Whole => Outcome::Ask(test(Anchor::Whole, text)),
        Syntax::Like => {
            let Some(pieces) = pieces(text) else { return Outcome::Unknown };
            if let [whole] = pieces.as_slice() {
                return match case {
                    Case::Same => {
                        compared(field, Comparison::Eq, Literal::Text(whole.clone()), Slack::default())
                    }
                    _ => Outcome::Ask(test(Anchor::Whole, whole)),
                };
            }
            let anchor = |at: usize| if at == 0 { Anchor::Start } else { Anchor::Anywhere };
            let asked = pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty());
            let asked: Vec<Filter> = asked.map(|(at, piece)| test(anchor(at), piece)).collect();
            if asked.is_empty() { Outcome::Unknown } else { Outcome::Ask(Filter::And(asked)) }
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
fn all<V>(parts: &[Condition<V>], values: &impl Fn(&V) -> Values) -> Outcome {
    together(parts.iter().map(|part| part.work_out(values)))
}

fn together(parts: impl Iterator<Item = Outcome>) -> Outcome {
    let mut asked = Vec::new();
    for part in parts {
        match part {
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
