//! Conditions that the server is asked to apply, and how each dialect writes them.
//!
//! What is sent keeps every row that meets the condition and perhaps more: the caller checks again. A part that a
//! dialect cannot be trusted with is left out where that only adds rows.

use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDateTime, TimeDelta};
use percent_encoding::utf8_percent_encode;

use crate::config::ODataVersion;
use crate::decode::ColumnType;
use crate::dialect::QUERY;
use crate::literal::Literal;

/// A condition on the fields of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Compare {
        field: Vec<String>,
        /// What the field is decoded to.
        ty: ColumnType,
        comparison: Comparison,
        value: Literal,
        /// Someone has said that the server may be asked.
        vouched: bool,
    },
}

impl Filter {
    /// Gives fields other names.
    pub(crate) fn rename(&mut self, new: &impl Fn(&Vec<String>) -> Vec<String>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.rename(new)),
            Self::Compare { field, .. } => *field = new(field),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// How conditions are written (acumatica-api.md sections 2 and 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Contract4,
    Contract5,
    /// Generic inquiries and data access classes.
    OData(ODataVersion),
}

/// Of the query's length, percent-encoded: the fields and the page must find room beside it.
const MOST_CHARACTERS: usize = 1_000;
/// A moment without a zone may be meant in any (acumatica-api.md section 3): the server compares what may be up to 14
/// hours off.
const ZONES: TimeDelta = TimeDelta::days(1);

/// What SQL Server's `datetime` can hold; a bound beyond it says nothing.
const YEARS: RangeInclusive<i32> = 1753..=9999;

/// The condition as the dialect writes it, not yet percent-encoded; `None` if nothing of it can be sent.
pub(crate) fn print(filter: &Filter, dialect: Dialect) -> Option<String> {
    let conjuncts = match filter {
        Filter::And(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    };
    let mut length = 0;
    let mut sent: Vec<String> = Vec::new();
    for conjunct in conjuncts {
        let Some(text) = part(conjunct, dialect) else { continue };
        let added = utf8_percent_encode(&text, QUERY).to_string().len();
        if length + added <= MOST_CHARACTERS {
            length += added;
            sent.push(text);
        }
    }
    (!sent.is_empty()).then(|| sent.join(" and "))
}

/// All of a condition.
fn part(filter: &Filter, dialect: Dialect) -> Option<String> {
    match filter {
        Filter::And(parts) => print(&Filter::And(parts.clone()), dialect).map(|text| format!("({text})")),
        Filter::Or(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(|filter| part(filter, dialect)).collect();
            parts.filter(|parts| !parts.is_empty()).map(|parts| format!("({})", parts.join(" or ")))
        }
        Filter::Compare { field, ty, comparison, value, vouched } => {
            let field = field_name(field, *ty, *vouched, dialect)?;
            compare(field, *ty, *comparison, value, dialect)
        }
    }
}

/// The field as conditions name it, if the server can be trusted with it. Conditions on linked entities can lose rows
/// when there are several, those on details are undefined.
fn field_name(field: &[String], ty: ColumnType, vouched: bool, dialect: Dialect) -> Option<&str> {
    let is_text = matches!(ty, ColumnType::Text | ColumnType::Unpadded);
    match field {
        // Contract 5 compares the code of a drop-down, and what is shown is its description: a field of text may be one.
        [field, id] if dialect == Dialect::Contract5 && is_text && id == "id" => Some(field),
        [_] if dialect == Dialect::Contract5 && is_text && !vouched => None,
        [field]
            if !matches!(
                field.as_str(),
                "*" | "id" | "note" | "files" | "rowNumber" | "custom" | "error"
            ) =>
        {
            Some(field)
        }
        _ => None,
    }
}

fn compare(
    field: &str,
    ty: ColumnType,
    comparison: Comparison,
    value: &Literal,
    dialect: Dialect,
) -> Option<String> {
    use ColumnType::*;
    let plain = || Some(format!("{field} {} {}", operator(comparison), literal(value, dialect)));
    match (ty, value) {
        (_, Literal::Shown(_)) => plain(),
        (Int2 | Int4 | Int8, Literal::Integer(_)) | (Numeric, Literal::Integer(_) | Literal::Decimal(_)) => {
            plain()
        }
        (Bool, Literal::Bool(_)) if comparison == Comparison::Eq => plain(),
        // `guid'…'` in a filter of the contract REST is unknown (acumatica-api.md section 6).
        (Uuid, Literal::Uuid(_)) if comparison == Comparison::Eq && matches!(dialect, Dialect::OData(_)) => {
            plain()
        }
        (Text | Unpadded, Literal::Text(text)) if comparison == Comparison::Eq && is_safe(text) => plain(),
        (Date | Timestamp | TimestampTz, _) => moment(field, comparison, value, dialect),
        _ => None,
    }
}

/// SQL Server keeps every row that is equal: it ignores case and spaces at the end. But an empty text may stand for no
/// value, and a date in the user's culture (acumatica-api.md section 2) is compared as what it is, if at all.
fn is_safe(text: &str) -> bool {
    let groups = text.split(['.', '-', '/', ' ', ':']).take_while(|group| {
        !group.is_empty() && group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_digit())
    });
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let date_like = starts_with_digit && (text.contains(['/', ':']) || groups.count() >= 3);
    !text.trim().is_empty() && !date_like && !text.chars().any(char::is_control)
}

/// A comparison of moments, widened by what zones may differ.
fn moment(field: &str, comparison: Comparison, value: &Literal, dialect: Dialect) -> Option<String> {
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
    let bound = |operator: &str, moment: Option<NaiveDateTime>| {
        let moment = moment.filter(|moment| YEARS.contains(&moment.year()))?;
        let text = moment.format("%Y-%m-%dT%H:%M:%S").to_string();
        Some(format!("{field} {operator} {}", literal(&Literal::Timestamp(text), dialect)))
    };
    let from = || bound("ge", earliest.checked_sub_signed(ZONES));
    let to = || bound("le", latest.checked_add_signed(ZONES));
    match comparison {
        Comparison::Eq => match (from(), to()) {
            (Some(from), Some(to)) => Some(format!("{from} and {to}")),
            (from, to) => from.or(to),
        },
        Comparison::Gt | Comparison::Ge => from(),
        Comparison::Lt | Comparison::Le => to(),
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "eq",
        Comparison::Lt => "lt",
        Comparison::Le => "le",
        Comparison::Gt => "gt",
        Comparison::Ge => "ge",
    }
}

fn literal(value: &Literal, dialect: Dialect) -> String {
    match (dialect, value) {
        (Dialect::Contract4, Literal::Timestamp(moment)) => format!("datetimeoffset'{moment}+00:00'"),
        (Dialect::Contract4, value) => value.odata(ODataVersion::V3),
        (Dialect::Contract5, value) => value.odata(ODataVersion::V4),
        (Dialect::OData(version), value) => value.odata(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ColumnType as Type;
    use Comparison::*;

    const V3: Dialect = Dialect::OData(ODataVersion::V3);
    const V4: Dialect = Dialect::OData(ODataVersion::V4);

    fn on(field: &str, ty: Type, comparison: Comparison, value: Literal) -> Filter {
        let field = field.split('/').map(Into::into).collect();
        Filter::Compare { field, ty, comparison, value, vouched: false }
    }

    fn text(field: &str, value: &str) -> Filter {
        on(field, Type::Text, Eq, Literal::Text(value.into()))
    }

    fn shown(filter: &Filter, dialect: Dialect) -> String {
        print(filter, dialect).unwrap_or_default()
    }

    #[test]
    fn each_dialect_has_its_literals() {
        let amount = on("Amount", Type::Numeric, Gt, Literal::Decimal("1.5".into()));
        assert_eq!(shown(&amount, V4), "Amount gt 1.5");
        assert_eq!(shown(&amount, V3), "Amount gt 1.5M");
        assert_eq!(shown(&amount, Dialect::Contract4), "Amount gt 1.5M");
        let id = on("NoteID", Type::Uuid, Eq, Literal::Uuid("0-0".into()));
        assert_eq!(shown(&id, V4), "NoteID eq 0-0");
        assert_eq!(shown(&id, V3), "NoteID eq guid'0-0'");
        assert_eq!(shown(&id, Dialect::Contract4), "");
        assert_eq!(shown(&text("Name", "O'Neill"), V4), "Name eq 'O''Neill'");
    }

    #[test]
    fn text_is_compared_for_equality_only_and_not_where_it_may_stand_for_something_else() {
        assert_eq!(shown(&on("A", Type::Text, Gt, Literal::Text("x".into())), V4), "");
        assert_eq!(shown(&text("A", ""), V4), "");
        assert_eq!(shown(&text("A", "12/14/2023 19:57:08"), V4), "");
        assert_eq!(shown(&text("A", "14.12.2023"), V4), "");
        assert_eq!(shown(&text("A", "2023-12-14"), V4), "");
        assert_eq!(shown(&text("A", "CUST/1"), V4), "A eq 'CUST/1'");
        assert_eq!(shown(&text("A", "000-123"), V4), "A eq '000-123'");
    }

    #[test]
    fn moments_allow_for_zones() {
        let when = |comparison| {
            on("D", Type::TimestampTz, comparison, Literal::Timestamp("2024-01-31T10:00:00".into()))
        };
        assert_eq!(shown(&when(Ge), V4), "D ge 2024-01-30T10:00:00Z");
        assert_eq!(shown(&when(Lt), V3), "D le datetime'2024-02-01T10:00:00'");
        assert_eq!(
            shown(&on("D", Type::Date, Eq, Literal::Date("2024-01-31".into())), Dialect::Contract4),
            "D ge datetimeoffset'2024-01-30T00:00:00+00:00' and D le datetimeoffset'2024-02-02T00:00:00+00:00'"
        );
    }

    #[test]
    fn a_bound_beyond_the_calendar_of_the_server_is_left_out() {
        let when = |comparison, moment: &str| {
            on("D", Type::TimestampTz, comparison, Literal::Timestamp(moment.into()))
        };
        assert_eq!(shown(&when(Le, "9999-12-31T00:00:00"), V4), "");
        assert_eq!(shown(&when(Ge, "0001-01-01T00:00:00"), V4), "");
        assert_eq!(shown(&when(Eq, "9999-12-31T00:00:00"), V4), "D ge 9999-12-30T00:00:00Z");
    }

    #[test]
    fn what_cannot_be_sent_is_left_out_of_and_but_not_of_or() {
        let (good, bad) = (text("A", "x"), text("Linked/B", "y"));
        assert_eq!(shown(&Filter::And(vec![good.clone(), bad.clone()]), V4), "A eq 'x'");
        assert_eq!(shown(&Filter::Or(vec![good.clone(), bad]), V4), "");
        assert_eq!(shown(&Filter::Or(vec![good.clone(), text("A", "z")]), V4), "(A eq 'x' or A eq 'z')");
        let long = Filter::Or((0..200).map(|i| text("A", &format!("value {i}"))).collect());
        assert_eq!(shown(&Filter::And(vec![long, good]), V4), "A eq 'x'");
    }

    #[test]
    fn drop_downs_of_contract_5_are_compared_by_their_code() {
        assert_eq!(shown(&text("Status/id", "CL"), Dialect::Contract5), "Status eq 'CL'");
        assert_eq!(shown(&text("Status", "Completed"), Dialect::Contract5), "");
        let Filter::Compare { field, ty, comparison, value, .. } = text("OrderNbr", "1") else { panic!() };
        let plain = Filter::Compare { field, ty, comparison, value, vouched: true };
        assert_eq!(shown(&plain, Dialect::Contract5), "OrderNbr eq '1'");
        assert_eq!(shown(&text("Status", "Completed"), Dialect::Contract4), "Status eq 'Completed'");
    }
}
