//! Dates and times as Acumatica writes them: ISO 8601 in a fixed layout, and the `/Date(…)/` of old OData.

use super::ColumnType;
use super::error::DecodeErrorKind;
use chrono::{Datelike, NaiveDate};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// chrono counts days from 0001-01-01, which is its day 1.
const EPOCH: i32 = 719_163;

/// A point in time as written.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    /// The calendar day in days since 1970-01-01, whatever the zone.
    pub days: i32,
    /// Microseconds since midnight of that day, minus the clock's offset from UTC. Without a zone, the time is UTC.
    micros: i64,
    /// Whether the clock shows midnight, in any zone.
    midnight: bool,
}

/// 1900-01-01 00:00 UTC, which stands for "never". Servers write it in their own zone (`1900-01-01T03:00:00+03:00`, the
/// vendor's recorded answers).
const NEVER: i64 = -25_567 * DAY;

impl Written {
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub(super) fn instant(&self) -> i64 {
        i64::from(self.days) * DAY + self.micros
    }

    /// The day, if the text is a day only: the server writes a day as midnight of its own zone.
    pub(super) fn day(&self) -> Option<i32> {
        match self.instant() {
            NEVER => Some((NEVER / DAY) as i32),
            _ => self.midnight.then_some(self.days),
        }
    }
}

/// Reads `2023-12-14`, `2023-12-14T17:20`, `2023-12-14 17:20:45.123456789+01:00`, or `/Date(1657670400000)/`. The errors name `ty`.
pub(super) fn parse(text: &[u8], ty: ColumnType) -> Result<Written, DecodeErrorKind> {
    let mut rest = Cursor { text };
    if text.starts_with(b"/") {
        let digits = rest.ticks().ok_or(DecodeErrorKind::Syntax(ty))?;
        return since_1970(digits).ok_or(DecodeErrorKind::OutOfRange(ty));
    }
    let fields = rest.fields().ok_or(DecodeErrorKind::Syntax(ty))?;
    fields.check().ok_or(DecodeErrorKind::OutOfRange(ty))
}

/// Whether a text is a day rather than a moment. `None` if it is neither, or "never", which can be both.
pub(crate) fn shows_day(text: &[u8]) -> Option<bool> {
    let written = parse(text, ColumnType::Date).ok().filter(|written| written.instant() != NEVER)?;
    Some(written.midnight)
}

/// The numbers of an ISO 8601 text, before they are checked against calendar and clock.
#[derive(Default)]
struct Numbers {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    west: bool,
    offset_hours: u32,
    offset_minutes: u32,
}

impl Numbers {
    /// Checks the limits of PostgreSQL: 24:00 exactly and second 60 belong to the next day and minute, and an offset is
    /// less than 16 hours.
    fn check(self) -> Option<Written> {
        let date = NaiveDate::from_ymd_opt(self.year as i32, self.month, self.day)
            .filter(|date| date.year() >= 1)?;
        let midnight = self.hour == 24 && self.minute == 0 && self.second == 0 && self.nanos == 0;
        if self.hour > 23 && !midnight || self.minute > 59 || self.second > 60 {
            return None;
        }
        if self.offset_hours > 15 || self.offset_minutes > 59 {
            return None;
        }
        let clock = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        let offset = i64::from(self.offset_hours * 3600 + self.offset_minutes * 60);
        let seconds = if self.west { clock + offset } else { clock - offset };
        let micros = i64::from((self.nanos + 500) / 1000);
        let days = date.num_days_from_ce() - EPOCH;
        let midnight = clock == 0 && self.nanos == 0;
        Some(Written { days, micros: seconds * SECOND + micros, midnight })
    }
}

struct Cursor<'a> {
    text: &'a [u8],
}

/// The moment that many milliseconds after 1970 in UTC; `None` outside the years 1 to 9999.
fn since_1970(milliseconds: &str) -> Option<Written> {
    let instant = milliseconds.parse::<i64>().ok()?.checked_mul(1000)?;
    let days = i32::try_from(instant.div_euclid(DAY)).ok()?;
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH)?)?;
    (1..=9999).contains(&date.year()).then(|| {
        let micros = instant.rem_euclid(DAY);
        Written { days, micros, midnight: micros == 0 }
    })
}

impl Cursor<'_> {
    fn fields(&mut self) -> Option<Numbers> {
        let mut fields = Numbers { year: self.number(4)?, ..Numbers::default() };
        fields.month = self.after(b'-')?.number(2)?;
        fields.day = self.after(b'-')?.number(2)?;
        if self.text.is_empty() {
            return Some(fields);
        }
        self.one_of(b"Tt ")?;
        fields.hour = self.number(2)?;
        fields.minute = self.after(b':')?.number(2)?;
        if self.one_of(b":").is_some() {
            fields.second = self.number(2)?;
            if self.one_of(b".").is_some() {
                fields.nanos = self.fraction()?;
            }
        }
        if let Some(sign @ (b'+' | b'-')) = self.one_of(b"Zz+-") {
            fields.west = sign == b'-';
            fields.offset_hours = self.number(2)?;
            if self.one_of(b":").is_some() || !self.text.is_empty() {
                fields.offset_minutes = self.number(2)?;
            }
        }
        self.text.is_empty().then_some(fields)
    }

    /// The number in `/Date(1657670400000)/`.
    fn ticks(&mut self) -> Option<&str> {
        let inside = self.text.strip_prefix(b"/Date(")?.strip_suffix(b")/")?;
        let digits = inside.strip_prefix(b"-").unwrap_or(inside);
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(inside).ok().filter(|_| is_number)
    }

    /// Exactly `count` digits.
    #[inline(always)]
    fn number(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.text.split_at_checked(count)?;
        let mut value = 0;
        for digit in digits {
            value = 10 * value + u32::from(digit.checked_sub(b'0').filter(|&digit| digit < 10)?);
        }
        self.text = rest;
        Some(value)
    }

    /// One to nine digits behind the decimal point, as nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        Some(self.number(count)? * 10u32.pow(9 - count as u32))
    }

    #[inline(always)]
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.text.split_first()?;
        wanted.contains(&first).then(|| {
            self.text = rest;
            first
        })
    }

    #[inline(always)]
    fn after(&mut self, wanted: u8) -> Option<&mut Self> {
        self.one_of(&[wanted])?;
        Some(self)
    }
}
