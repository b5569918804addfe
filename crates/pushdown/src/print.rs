//! How each dialect writes conditions.

use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDateTime, TimeDelta};

use crate::class::{Class, Dialect, Operator, TypeCategory, class};
use crate::column::ColumnType;
use crate::filter::{Anchor, Case, Comparison, Field, Filter, NO_FIELDS, Slack, Test};
use crate::list;
use crate::literal::{Literal, plain};
use crate::reason::Reason;
use crate::writing::{Writing, Written, alternatives, encoded_length};

/// A moment without a zone may be meant in any (docs/acumatica.md section 3): the server compares what may be up to 14
/// hours off.
const ZONES: TimeDelta = TimeDelta::days(1);

/// What SQL Server's `datetime` can hold; a bound beyond it says nothing.
const YEARS: RangeInclusive<i32> = 1753..=9999;
/// What .NET's `decimal` can hold of any number.
const MOST_DIGITS: usize = 28;

/// The letters that others become in lower case, in one locale or another: `K`, the Kelvin sign, and `İ`.
const LOWER_OF_OTHERS: &str = "ki";
/// The letters that others become in upper case, alone or with others: `ſ`, `ı`, `ß`, `ﬃ`, `ﬆ`, `ŉ`, `ǰ`, `ẖ`, `ẗ`, `ẘ`, `ẙ`, `ẚ`.
const UPPER_OF_OTHERS: &str = "afhijlnstwy";

/// The condition as it is written, not yet percent-encoded; `None` if nothing of it can be sent. Parts that find no room are
/// left out, from the end.
pub fn print(filter: &Filter, writing: &Writing) -> Option<String> {
    let mut length = 0;
    let mut sent: Vec<String> = Vec::new();
    for conjunct in filter.conjuncts() {
        let Some(Written { text, .. }) = part(conjunct, writing) else { continue };
        let added = encoded_length(&text) + if sent.is_empty() { 0 } else { encoded_length(" and ") };
        if length + added <= writing.room && !sent.contains(&text) {
            length += added;
            sent.push(text);
        }
    }
    (!sent.is_empty()).then(|| sent.join(" and "))
}

/// All of a condition.
pub(crate) fn part(filter: &Filter, writing: &Writing) -> Option<Written> {
    match filter {
        Filter::And(parts) => {
            let sent: Vec<Written> = parts.iter().filter_map(|filter| part(filter, writing)).collect();
            let exact = sent.len() == parts.len() && sent.iter().all(|part| part.exact);
            let texts: Vec<String> = sent.into_iter().map(|part| part.text).collect();
            let text = match texts.as_slice() {
                [] => return None,
                [one] => one.clone(),
                all => format!("({})", all.join(" and ")),
            };
            Some(Written { text, exact })
        }
        Filter::Or(parts) => {
            if let Some(written) = list::written(filter, writing, &|part| self::part(part, writing)) {
                return Some(written);
            }
            let parts: Vec<Written> =
                parts.iter().map(|filter| part(filter, writing)).collect::<Option<_>>()?;
            let exact = parts.iter().all(|part| part.exact);
            let texts: Vec<String> = parts.into_iter().map(|part| part.text).collect();
            Some(Written { text: alternatives(&texts)?, exact })
        }
        Filter::Test(field, test) => {
            let dialect = writing.dialect;
            let class = class(dialect, TypeCategory::of(field.ty)?, test.operator());
            if matches!(class, Class::None(_)) {
                return None;
            }
            let name = name_of(field, dialect).ok()?;
            let text = match test {
                Test::Compare { comparison, value, slack } => {
                    compare(name, field.ty, *comparison, value, *slack, dialect)
                }
                Test::Null => Some(format!("{name} eq null")),
                Test::NotNull => Some(format!("{name} ne null")),
                Test::Match { anchor, text, case } => matching(name, field, *anchor, text, *case, dialect),
            }?;
            // What is known up to rounding only is asked for with something to spare.
            let is_widened = matches!(test, Test::Compare { value: Literal::Double(_), .. });
            Some(Written { text, exact: class == Class::Exact && !is_widened })
        }
    }
}

impl Filter {
    /// Whether all of it is sent, and the server's answer is PostgreSQL's.
    pub fn is_exact(&self, dialect: Dialect) -> bool {
        let writing = Writing::plain(dialect);
        part(self, &writing).is_some_and(|part| part.exact && encoded_length(&part.text) <= writing.room)
    }

    /// The characters, percent-encoded, that it takes in a request if it is sent; `None` if nothing of it can be.
    pub fn length(&self, writing: &Writing) -> Option<usize> {
        part(self, writing).map(|part| encoded_length(&part.text))
    }
}

/// Why the server is not asked; `None` if it is, of something at least.
pub fn refusal(filter: &Filter, dialect: Dialect) -> Option<Reason> {
    if print(filter, &Writing::plain(dialect)).is_some() {
        return None;
    }
    let mut why = None;
    filter.each_test(&mut |field, test| {
        // A record is asked for by its id, if not a list.
        if dialect.is_rest() && field.path == ["id"] && test.operator() == Operator::Equal {
            return;
        }
        let kind = TypeCategory::of(field.ty);
        let of_class = || match class(dialect, kind?, test.operator()) {
            Class::None(why) => Some(why),
            _ => None,
        };
        why = why.or(name_of(field, dialect).err()).or_else(of_class);
    });
    let by_id = filter.value_of(&["id".to_owned()]).is_some() && dialect.is_rest();
    if why.is_none() && by_id {
        return None;
    }
    Some(why.unwrap_or(Reason::Unwritten))
}

/// The field as conditions name it, if the server can be trusted with it. Conditions on linked entities can lose rows
/// when there are several, those on details are undefined.
pub(crate) fn name_of(field: &Field, dialect: Dialect) -> Result<&str, Reason> {
    let is_text = TypeCategory::of(field.ty) == Some(TypeCategory::Text);
    match field.path.as_slice() {
        // Contract 5 compares the code of a drop-down, and what is shown is its description: a field of text may be one.
        [name, id] if dialect == Dialect::Contract5 && is_text && id == "id" => Ok(name),
        [_] if dialect == Dialect::Contract5 && is_text && !field.vouched => Err(Reason::Codes),
        [name] if NO_FIELDS.contains(&name.as_str()) => Err(Reason::NoCondition),
        [name] => Ok(name),
        _ => Err(Reason::Linked),
    }
}

fn compare(
    name: &str,
    ty: ColumnType,
    comparison: Comparison,
    value: &Literal,
    slack: Slack,
    dialect: Dialect,
) -> Option<String> {
    let written =
        |comparison, value: &Literal| format!("{name} {} {}", operator(comparison), value.odata(dialect));
    match (TypeCategory::of(ty)?, value) {
        (_, Literal::Shown(_)) => Some(written(comparison, value)),
        (TypeCategory::Integer, Literal::Decimal(digits)) => {
            let (comparison, whole) = whole(comparison, digits)?;
            Some(written(comparison, &Literal::Integer(whole.to_string())))
        }
        (TypeCategory::Integer | TypeCategory::Decimal, Literal::Integer(_)) => {
            Some(written(comparison, value))
        }
        (TypeCategory::Decimal, Literal::Decimal(digits)) => {
            let count = digits.bytes().filter(u8::is_ascii_digit).count();
            (count <= MOST_DIGITS).then(|| written(comparison, value))
        }
        (TypeCategory::Integer | TypeCategory::Decimal, Literal::Double(digits)) => {
            near(name, ty, comparison, digits, dialect)
        }
        (
            TypeCategory::Float,
            Literal::Integer(digits) | Literal::Decimal(digits) | Literal::Double(digits),
        ) => near(name, ty, comparison, digits, dialect),
        (TypeCategory::Bool, Literal::Bool(truth)) => match comparison {
            Comparison::Eq => Some(written(Comparison::Eq, value)),
            Comparison::Ne => Some(written(Comparison::Eq, &Literal::Bool(!truth))),
            _ => None,
        },
        (TypeCategory::Uuid, Literal::Uuid(_)) => Some(written(comparison, value)),
        (TypeCategory::Text, Literal::Text(text)) if is_safe(text) => Some(written(comparison, value)),
        (TypeCategory::Moment, Literal::Date(day)) if ty == ColumnType::Date && slack == Slack::default() => {
            written_day(name, comparison, day, dialect)
        }
        (TypeCategory::Moment, _) => moment(name, comparison, value, slack, dialect),
        _ => None,
    }
}

/// A comparison of whole numbers with one that need not be.
fn whole(comparison: Comparison, digits: &str) -> Option<(Comparison, i64)> {
    let Some((whole, _)) = digits.split_once('.') else {
        return Some((comparison, digits.parse().ok()?));
    };
    // `plain` decimals with a point are not whole.
    let (cut, below): (i64, _) = (whole.parse().ok()?, whole.starts_with('-'));
    let floor = if below { cut.checked_sub(1)? } else { cut };
    match comparison {
        Comparison::Lt | Comparison::Le => Some((Comparison::Le, floor)),
        Comparison::Gt | Comparison::Ge => Some((Comparison::Gt, floor)),
        Comparison::Eq | Comparison::Ne => None,
    }
}

/// A comparison with what is known up to rounding only.
fn near(
    name: &str,
    ty: ColumnType,
    comparison: Comparison,
    digits: &str,
    dialect: Dialect,
) -> Option<String> {
    /// Far more than binary numbers of either size are off, and the digits written below.
    const ABSOLUTE: f64 = 1e-9;
    let relative = if ty == ColumnType::Float4 { 1e-6 } else { 1e-9 };
    let value: f64 = digits.parse().ok().filter(|value: &f64| value.abs() < 1e15)?;
    let slack = value.abs() * relative + ABSOLUTE;
    let bound = |operator: &str, value: f64| {
        let digits = match TypeCategory::of(ty) {
            Some(TypeCategory::Integer) if operator == "ge" => format!("{:.0}", value.floor()),
            Some(TypeCategory::Integer) => format!("{:.0}", value.ceil()),
            _ => plain(&format!("{value:.10}")).to_owned(),
        };
        let value = match TypeCategory::of(ty) {
            Some(TypeCategory::Integer) => Literal::Integer(digits),
            Some(TypeCategory::Decimal) => Literal::Decimal(digits),
            _ => Literal::Double(digits),
        };
        format!("{name} {operator} {}", value.odata(dialect))
    };
    let (from, to) = (bound("ge", value - slack), bound("le", value + slack));
    match comparison {
        Comparison::Eq => Some(format!("{from} and {to}")),
        Comparison::Gt | Comparison::Ge => Some(from),
        Comparison::Lt | Comparison::Le => Some(to),
        Comparison::Ne => None,
    }
}

/// SQL Server keeps every row that is equal: it ignores case and spaces at the end. But an empty text may stand for no
/// value, and a date in the user's culture (docs/acumatica.md section 2) is compared as what it is, if at all.
fn is_safe(text: &str) -> bool {
    let groups = text.split(['.', '-', '/', ' ', ':']).take_while(|group| {
        !group.is_empty() && group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_digit())
    });
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let date_like = starts_with_digit && (text.contains(['/', ':']) || groups.count() >= 3);
    !text.trim().is_empty() && !date_like && !text.chars().any(char::is_control)
}

/// That a text holds another.
fn matching(
    name: &str,
    field: &Field,
    anchor: Anchor,
    text: &str,
    case: Case,
    dialect: Dialect,
) -> Option<String> {
    let unsafe_letters = match case {
        Case::Lower if !field.vouched => LOWER_OF_OTHERS,
        Case::Upper if !field.vouched => UPPER_OF_OTHERS,
        _ => "",
    };
    let text = if case == Case::Same { text.to_owned() } else { text.to_lowercase() };
    let is_cut =
        |c: char| case != Case::Same && !field.vouched && !c.is_ascii() || unsafe_letters.contains(c);
    // Outside of OData only what holds a text is known to ignore case (docs/acumatica.md section 2).
    let any_case = case != Case::Same;
    let subject = match any_case && !dialect.is_rest() {
        true => format!("tolower({name})"),
        false => name.to_owned(),
    };
    let anywhere_only = any_case && dialect.is_rest();
    let pieces: Vec<&str> = text.split(is_cut).collect();
    let sent: Vec<String> = pieces
        .iter()
        .enumerate()
        .filter_map(|(at, piece)| {
            // A code may be padded there and not here, or the other way round.
            let piece = piece.trim_end_matches(' ');
            if !is_telling(piece, field, dialect) {
                return None;
            }
            let quoted = Literal::Text(piece.to_owned()).odata(dialect);
            Some(match anchor {
                Anchor::Whole if pieces.len() == 1 && !anywhere_only => format!("{subject} eq {quoted}"),
                Anchor::Whole | Anchor::Start if at == 0 && !anywhere_only => {
                    format!("startswith({subject},{quoted})")
                }
                _ if dialect.is_v3() => format!("substringof({quoted},{subject})"),
                _ => format!("contains({subject},{quoted})"),
            })
        })
        .collect();
    (!sent.is_empty()).then(|| sent.join(" and "))
}

/// Whether the server is sure to find a piece of text where PostgreSQL does. What contract REST shows may be a date in
/// the user's culture (docs/acumatica.md section 2), which the server keeps as something else.
fn is_telling(piece: &str, field: &Field, dialect: Dialect) -> bool {
    let may_be_of_date = |c: char| !c.is_alphabetic() || "apmAPM".contains(c);
    let may_be_date = dialect.is_rest() && !field.vouched && !field.key && piece.chars().all(may_be_of_date);
    !piece.trim().is_empty() && !may_be_date && !piece.chars().any(char::is_control)
}

/// A comparison of days, as they are written: in some zone, which is up to 14 hours off. A day begins at midnight of its
/// zone and ends a day later, so a moment that does not belong into the column is met, and told of, and not left out.
fn written_day(name: &str, comparison: Comparison, day: &str, dialect: Dialect) -> Option<String> {
    const MOST_OFF: TimeDelta = TimeDelta::hours(14);
    let start = format!("{day}T00:00:00").parse::<NaiveDateTime>().ok()?;
    let end = start.checked_add_signed(TimeDelta::days(1))?;
    let from = |start: NaiveDateTime| bound(name, "ge", start.checked_sub_signed(MOST_OFF), dialect);
    let to = |end: NaiveDateTime| bound(name, "lt", end.checked_add_signed(MOST_OFF), dialect);
    match comparison {
        Comparison::Eq => both(from(start), to(end)),
        Comparison::Ge => from(start),
        Comparison::Gt => from(end),
        Comparison::Le => to(end),
        Comparison::Lt => to(start),
        Comparison::Ne => None,
    }
}

fn bound(name: &str, operator: &str, moment: Option<NaiveDateTime>, dialect: Dialect) -> Option<String> {
    let moment = moment.filter(|moment| YEARS.contains(&moment.year()))?;
    let text = moment.format("%Y-%m-%dT%H:%M:%S").to_string();
    Some(format!("{name} {operator} {}", Literal::Timestamp(text).odata(dialect)))
}

fn both(from: Option<String>, to: Option<String>) -> Option<String> {
    match (from, to) {
        (Some(from), Some(to)) => Some(format!("{from} and {to}")),
        (from, to) => from.or(to),
    }
}

/// A comparison of moments, widened by what zones may differ.
fn moment(
    name: &str,
    comparison: Comparison,
    value: &Literal,
    slack: Slack,
    dialect: Dialect,
) -> Option<String> {
    let (earliest, latest) = match value {
        Literal::Date(day) => {
            let start = format!("{day}T00:00:00").parse::<NaiveDateTime>().ok()?;
            (start, start.checked_add_signed(TimeDelta::days(1))?)
        }
        Literal::Timestamp(moment) => {
            let moment = moment.parse::<NaiveDateTime>().ok()?;
            (moment, moment)
        }
        _ => return None,
    };
    let days = |days: u16| ZONES + TimeDelta::days(days.into());
    let from = || bound(name, "ge", earliest.checked_sub_signed(days(slack.before)), dialect);
    let to = || bound(name, "le", latest.checked_add_signed(days(slack.after)), dialect);
    match comparison {
        Comparison::Eq => both(from(), to()),
        Comparison::Gt | Comparison::Ge => from(),
        Comparison::Lt | Comparison::Le => to(),
        Comparison::Ne => None,
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "eq",
        Comparison::Ne => "ne",
        Comparison::Lt => "lt",
        Comparison::Le => "le",
        Comparison::Gt => "gt",
        Comparison::Ge => "ge",
    }
}

#[cfg(test)]
mod tests;
