//! Random values of the wrapper types: pure functions of seed, place and field.

use super::model::Wrapper;
use crate::data::calendar::{DAY, days};
use crate::data::rng::{Rng, mix, salt_of};
use crate::data::value::{Choice, Style, Val};
use crate::zone::TimeZone;

const CHOICES: &[Choice] = &[
    Choice { code: "A", label: "Active" },
    Choice { code: "H", label: "On Hold" },
    Choice { code: "N", label: "Open" },
    Choice { code: "C", label: "Completed" },
];

/// Where a record stands: below which record, in which member, as which row.
#[derive(Clone)]
pub struct Place {
    seed: u64,
    key: u64,
    /// Row numbers on the way here, from 1: `7`, or `7-2` for the second line of the seventh.
    label: String,
}

impl Place {
    pub fn top(seed: u64, entity: &str, row: u64) -> Place {
        Place { seed, key: mix(salt_of(&[entity])) ^ mix(row), label: (row + 1).to_string() }
    }

    pub fn link(&self, member: &str) -> Place {
        Place { key: mix(self.key ^ salt_of(&[member])), ..self.clone() }
    }

    pub fn line(&self, member: &str, line: u64) -> Place {
        let key = mix(self.key ^ salt_of(&[member]) ^ line);
        Place { seed: self.seed, key, label: format!("{}-{line}", self.label) }
    }

    pub fn id(&self) -> u128 {
        let high = mix(self.seed ^ self.key);
        u128::from(high) << 64 | u128::from(mix(high ^ self.key))
    }

    /// A generator of its own for each use.
    pub fn rng(&self, what: &str) -> Rng {
        Rng::new(self.seed, salt_of(&[what]), self.key)
    }

    pub fn note(&self) -> Option<&'static str> {
        match self.rng("note").below(10) {
            0 | 1 => None,
            2 => Some("Call before delivery"),
            _ => Some(""),
        }
    }

    /// The value of a field; about one in seven has none.
    pub fn value(&self, field: &str, wrapper: Wrapper) -> Val {
        let mut rng = self.rng(field);
        let key = is_key(field);
        if !key && rng.below(7) == 0 {
            return Val::Null;
        }
        if key && matches!(wrapper, Wrapper::Int | Wrapper::Long) {
            return Val::Int(self.number());
        }
        random(wrapper, field, &self.label, &mut rng)
    }

    /// A number that other rows of the same list do not have.
    fn number(&self) -> i64 {
        let rows = self.label.split('-').map(|n| n.parse::<i64>().unwrap_or(0));
        1000 + rows.fold(0, |sum, n| sum * 10 + n)
    }
}

/// Fields that look as if they were keys: they always have a value.
pub fn is_key(field: &str) -> bool {
    ["ID", "CD", "Nbr"].iter().any(|end| field.ends_with(end))
}

fn random(wrapper: Wrapper, field: &str, label: &str, rng: &mut Rng) -> Val {
    let salt = salt_of(&[field]);
    match wrapper {
        Wrapper::Text => Val::text(format!("{field}-{label}")),
        // A column of SQL Server has one scale.
        Wrapper::Decimal => decimal(rng, [2, 4, 6][(salt % 3) as usize]),
        Wrapper::Double => Val::Double(rng.draw() as i64 as f64 / 3e15),
        Wrapper::Int => integer(rng, i64::from(i32::MAX)),
        Wrapper::Short => integer(rng, i64::from(i16::MAX)),
        Wrapper::Long => integer(rng, i64::MAX),
        Wrapper::Byte => Val::Int(rng.below(256) as i64),
        Wrapper::Bool => Val::Bool(rng.below(2) == 0),
        Wrapper::Guid => Val::Guid(u128::from(rng.draw()) << 64 | u128::from(rng.draw())),
        Wrapper::Choice => Val::Choice(&CHOICES[rng.below(CHOICES.len() as u64) as usize]),
        Wrapper::Date => Val::Date(day(rng) as i32),
        Wrapper::DateTime if is_day(field, salt) => Val::Date(day(rng) as i32),
        Wrapper::DateTime => Val::Ts(day(rng) * DAY + rng.below(8_640_000) as i64 * 10_000),
    }
}

/// Days are called dates (recorded: Date, DueDate, ShipmentDate, TransactionDate, RequestedOn), moments are not
/// (LastModifiedDateTime, CreatedDate, LastModified). Ours: of other names one half is days.
fn is_day(field: &str, salt: u64) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| field.contains(word));
    match field {
        _ if has(&["Time", "Created", "Modified", "Activity"]) => false,
        _ if has(&["Date", "Requested", "Promised", "Ship", "Period"]) || field.ends_with("On") => true,
        _ => salt.is_multiple_of(2),
    }
}

fn day(rng: &mut Rng) -> i64 {
    days(2019, 1, 1) + rng.below(3000) as i64
}

/// Mostly small; one in eight uses the whole range of the type.
fn integer(rng: &mut Rng, most: i64) -> Val {
    let most = if rng.below(8) == 0 { most } else { 1000 };
    let value = rng.below(most as u64) as i64;
    Val::Int(if rng.below(8) == 0 { -value } else { value })
}

/// Zero now and then; one in eight has more digits than a double can hold.
fn decimal(rng: &mut Rng, scale: u8) -> Val {
    let mantissa = match rng.below(8) {
        0 => 0,
        1 => i128::from(rng.draw()) * 1000 + i128::from(rng.below(1000)),
        _ => i128::from(rng.below(100_000_000)),
    };
    Val::Dec(if rng.below(8) == 0 { -mantissa } else { mantissa }, scale)
}

/// How a wrapper's value is written in the contract.
pub fn style(wrapper: Wrapper, zone: &'static TimeZone) -> Style {
    Style::rest(zone, wrapper == Wrapper::Date)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn values_depend_on_seed_place_and_field_only() {
        let value = |seed, row, field: &str| {
            Place::top(seed, "Order", row).value(field, Wrapper::Guid).to_plain(Style::REST)
        };
        assert_eq!(value(1, 3, "RefID"), value(1, 3, "RefID"));
        let all = [value(1, 3, "RefID"), value(2, 3, "RefID"), value(1, 4, "RefID"), value(1, 3, "OtherID")];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn one_value_in_seven_is_absent_but_of_no_key() {
        let absent = |field: &str| {
            let values = (0..7000).map(|row| Place::top(1, "Order", row).value(field, Wrapper::Text));
            values.filter(Val::is_null).count()
        };
        assert!((800..1200).contains(&absent("Description")), "{}", absent("Description"));
        assert_eq!(absent("OrderNbr"), 0);
    }

    #[test]
    fn keys_and_ids_are_distinct() {
        let places = || (0..500).map(|row| Place::top(1, "Order", row));
        for wrapper in [Wrapper::Text, Wrapper::Int, Wrapper::Long] {
            let keys: HashSet<String> =
                places().map(|p| p.value("OrderID", wrapper).to_plain(Style::REST)).collect();
            assert_eq!(keys.len(), 500, "{wrapper:?}");
        }
        assert_eq!(places().map(|p| p.id()).collect::<HashSet<_>>().len(), 500);
        let line = Place::top(1, "Order", 6).line("Details", 2);
        assert_eq!(line.value("LineNbr", Wrapper::Text).to_plain(Style::REST), "LineNbr-7-2");
    }

    #[test]
    fn numbers_stay_within_their_types() {
        for row in 0..2000 {
            let place = Place::top(1, "Order", row);
            let number = |wrapper| match place.value("Count", wrapper) {
                Val::Int(value) => value,
                _ => 0,
            };
            assert!(i16::try_from(number(Wrapper::Short)).is_ok());
            assert!(u8::try_from(number(Wrapper::Byte)).is_ok());
            assert!(i32::try_from(number(Wrapper::Int)).is_ok());
        }
    }
}
