//! Values that go to the server: in the address of an OData request, or in the body of a form.

use serde::{Deserialize, Serialize};

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};

use crate::class::Dialect;

/// A value, in the form in which it can be written in any dialect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Literal {
    /// `true` or `false`
    Bool(bool),
    /// Digits, with a sign if need be.
    Integer(String),
    /// A decimal number without exponent.
    Decimal(String),
    /// A finite binary number, in the shortest digits that read as the same.
    Double(String),
    /// Any text.
    Text(String),
    /// `2024-12-31`
    Date(String),
    /// In UTC, without zone: `2024-12-31T17:20:45.16`
    Timestamp(String),
    /// `00000000-0000-0000-0000-000000000000`
    Uuid(String),
    /// What stands for a value in a request that is described before the value is known.
    Shown(String),
}

impl Literal {
    /// The bytes of its text.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Bool(_) => 0,
            Self::Integer(text)
            | Self::Decimal(text)
            | Self::Double(text)
            | Self::Text(text)
            | Self::Date(text)
            | Self::Timestamp(text)
            | Self::Uuid(text)
            | Self::Shown(text) => text.len(),
        }
    }

    /// A day, counted from 1970-01-01; `None` if it is not one of the years 1 to 9999.
    pub fn date(days: i32) -> Option<Self> {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let day = epoch.checked_add_signed(TimeDelta::days(days.into()))?;
        (1..=9999).contains(&day.year()).then(|| Self::Date(day.to_string()))
    }

    /// A moment in microseconds since 1970-01-01 00:00 UTC; `None` as above.
    pub fn timestamp(microseconds: i64) -> Option<Self> {
        let moment = DateTime::from_timestamp_micros(microseconds)?.naive_utc();
        (1..=9999)
            .contains(&moment.year())
            .then(|| Self::Timestamp(moment.format("%Y-%m-%dT%H:%M:%S%.f").to_string()))
    }

    /// A decimal number; equal ones are the same text.
    pub fn decimal(number: &str) -> Self {
        Self::Decimal(plain(number).to_owned())
    }

    /// As a literal of OData (docs/acumatica.md section 3), not yet percent-encoded.
    pub fn odata(&self, dialect: Dialect) -> String {
        let v3 = dialect.is_v3();
        match self {
            Self::Timestamp(moment) if dialect == Dialect::Contract4 => {
                format!("datetimeoffset'{moment}+00:00'")
            }
            Self::Bool(value) => value.to_string(),
            Self::Integer(digits) => digits.clone(),
            Self::Decimal(digits) if v3 => format!("{digits}M"),
            Self::Decimal(digits) | Self::Double(digits) => digits.clone(),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Date(day) if v3 => format!("datetime'{day}T00:00:00'"),
            Self::Date(day) => day.clone(),
            Self::Timestamp(moment) if v3 => format!("datetime'{moment}'"),
            Self::Timestamp(moment) => format!("{moment}Z"),
            Self::Uuid(uuid) if v3 => format!("guid'{uuid}'"),
            Self::Uuid(uuid) => uuid.clone(),
            Self::Shown(text) => text.clone(),
        }
    }

    /// As the value of a query option that is no literal: a parameter of an inquiry in v3. Text was recorded so.
    // Ours: no source shows another type; these are forms that .NET reads in every culture. A zone is left out, since
    // .NET would take the moment to that of the server.
    pub fn bare(&self) -> String {
        match self {
            Self::Timestamp(moment) => moment.clone(),
            other => other.text(),
        }
    }

    /// As JSON, which contract REST wraps into `{"value": …}`.
    pub fn json(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(text) | Self::Decimal(text) | Self::Double(text) | Self::Shown(text) => {
                text.clone()
            }
            Self::Text(text) | Self::Uuid(text) => serde_json::Value::from(text.as_str()).to_string(),
            // Whatever the zone of the form is: how it takes another one is not known (docs/acumatica.md section 2).
            Self::Date(day) => format!("\"{day}T00:00:00\""),
            Self::Timestamp(moment) => format!("\"{moment}+00:00\""),
        }
    }

    /// As the text that decodes to the same value again.
    pub fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(text)
            | Self::Decimal(text)
            | Self::Double(text)
            | Self::Text(text)
            | Self::Date(text)
            | Self::Shown(text)
            | Self::Uuid(text) => text.clone(),
            Self::Timestamp(moment) => format!("{moment}Z"),
        }
    }
}

/// A decimal number without the zeroes that do not count.
pub fn plain(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// As people read it.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{text}'"),
            other => f.write_str(&other.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{GiV3, GiV4};

    #[test]
    fn quotes_are_doubled_and_nothing_else_is_touched() {
        assert_eq!(Literal::Text("O'Neill & Söhne + 5%".into()).odata(GiV4), "'O''Neill & Söhne + 5%'");
    }

    #[test]
    fn the_versions_differ_where_the_document_says_so() {
        let both = |literal: Literal| (literal.odata(GiV4), literal.odata(GiV3));
        let pair = |v4: &str, v3: &str| (v4.to_owned(), v3.to_owned());
        assert_eq!(
            both(Literal::Timestamp("2022-07-13T00:00:00".into())),
            pair("2022-07-13T00:00:00Z", "datetime'2022-07-13T00:00:00'")
        );
        assert_eq!(
            both(Literal::Date("2022-07-13".into())),
            pair("2022-07-13", "datetime'2022-07-13T00:00:00'")
        );
        assert_eq!(both(Literal::Uuid("0-0".into())), pair("0-0", "guid'0-0'"));
        assert_eq!(both(Literal::Decimal("1.50".into())), pair("1.50", "1.50M"));
    }

    #[test]
    fn days_and_moments_of_our_calendar() {
        assert_eq!(Literal::date(19_723), Some(Literal::Date("2024-01-01".into())));
        assert_eq!(Literal::date(i32::MAX), None);
        assert_eq!(Literal::date(-800_000), None);
        let moment = Literal::timestamp(1_704_067_200_160_000).unwrap();
        assert_eq!(moment, Literal::Timestamp("2024-01-01T00:00:00.160".into()));
        assert_eq!(Literal::timestamp(i64::MAX), None);
    }

    #[test]
    fn json_keeps_every_digit() {
        assert_eq!(Literal::Decimal("0.10".into()).json(), "0.10");
        assert_eq!(Literal::Integer("-5".into()).json(), "-5");
        assert_eq!(Literal::Text("a\"b".into()).json(), r#""a\"b""#);
        assert_eq!(Literal::Timestamp("2024-01-31T10:00:00".into()).json(), r#""2024-01-31T10:00:00+00:00""#);
    }
}
