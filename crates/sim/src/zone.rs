//! The time zone of the site: what `/usr/share/zoneinfo` has on an IANA name (RFC 8536), and the offset of a moment.

use std::path::Path;

use crate::data::calendar::{DAY, civil, days};

/// One half of the rule behind the last transition: `M3.2.0/2`, the second Sunday of March at two o'clock.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    month: u32,
    week: i64,
    weekday: i64,
    seconds: i64,
}

/// `EST5EDT,M3.2.0,M11.1.0`.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: Option<(i64, Change, Change)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct TimeZone {
    pub name: String,
    /// When an offset begins, and the offset, both in seconds.
    transitions: Vec<(i64, i64)>,
    rule: Rule,
}

impl TimeZone {
    /// # Errors
    /// If the system has no such zone.
    pub fn find(name: &str) -> std::io::Result<TimeZone> {
        let plain = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        let bad = |what: &str| {
            std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("time zone {name}: {what}"))
        };
        if name == "UTC" {
            let rule = Rule { standard: 0, summer: None };
            return Ok(TimeZone { name: name.into(), transitions: Vec::new(), rule });
        }
        if !plain {
            return Err(bad("not a name of the IANA database"));
        }
        let file = std::fs::read(Path::new("/usr/share/zoneinfo").join(name))
            .map_err(|e| bad(&format!("{e} (is tzdata installed?)")))?;
        let (transitions, rule) = read(&file).ok_or_else(|| bad("the file of tzdata cannot be read"))?;
        Ok(TimeZone { name: name.into(), transitions, rule })
    }

    /// Seconds east of UTC at a moment (seconds since 1970). Before 1970 the offset of 1970 holds: the zones of
    /// Windows, which Acumatica takes, know no local mean time. (Ours: no source says what they do there.)
    fn offset(&self, moment: i64) -> i64 {
        let moment = moment.max(0);
        let passed = self.transitions.partition_point(|(start, _)| *start <= moment);
        match self.transitions.get(passed.wrapping_sub(1)) {
            Some((_, offset)) if passed < self.transitions.len() => *offset,
            _ => self.rule.offset(moment),
        }
    }

    /// Microseconds east of UTC at a moment in microseconds since 1970.
    pub fn shift(&self, micros: i64) -> i64 {
        self.offset(micros.div_euclid(1_000_000)) * 1_000_000
    }

    /// The moment of a local time (microseconds since 1970 as if it were UTC). Of two such moments the first; a time
    /// that the clock skips is taken as if it had not been moved.
    pub fn moment(&self, local: i64) -> i64 {
        let (before, after) = (self.shift(local - DAY), self.shift(local + DAY));
        let (early, late) = (local - before, local - after);
        if self.shift(early) != before && self.shift(late) == after { late } else { early }
    }

    /// The moment at which a day begins.
    pub fn midnight(&self, day: i64) -> i64 {
        self.moment(day * DAY)
    }
}

impl Change {
    /// Seconds since 1970, by the clock of that zone.
    fn of(&self, year: i64) -> i64 {
        let first = days(year, self.month, 1);
        // 1970-01-01 was a Thursday.
        let weekday = (first + 4).rem_euclid(7);
        let mut day = first + (self.weekday - weekday).rem_euclid(7) + (self.week - 1) * 7;
        let next = if self.month == 12 { days(year + 1, 1, 1) } else { days(year, self.month + 1, 1) };
        while day >= next {
            day -= 7;
        }
        day * 86_400 + self.seconds
    }
}

impl Rule {
    fn offset(&self, moment: i64) -> i64 {
        let Some((summer, start, end)) = &self.summer else { return self.standard };
        let (year, _, _) = civil((moment + self.standard).div_euclid(86_400));
        let (start, end) = (start.of(year) - self.standard, end.of(year) - summer);
        let inside =
            if start < end { (start..end).contains(&moment) } else { !(end..start).contains(&moment) };
        if inside { *summer } else { self.standard }
    }

    fn parse(text: &str) -> Option<Rule> {
        let mut parts = text.split(',');
        let names = parts.next()?;
        let (standard, rest) = offset(skip_name(names)?)?;
        let standard = -standard;
        if rest.is_empty() {
            return Some(Rule { standard, summer: None });
        }
        let rest = skip_name(rest)?;
        let summer = if rest.is_empty() { standard + 3600 } else { -offset(rest)?.0 };
        let (start, end) = (change(parts.next()?)?, change(parts.next()?)?);
        Some(Rule { standard, summer: Some((summer, start, end)) })
    }
}

/// Behind a name: `EST`, `<+03>`.
fn skip_name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
    }
}

/// `[+-]h[:m[:s]]` in seconds, and what follows.
fn offset(text: &str) -> Option<(i64, &str)> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(text.len());
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text[..end].split(':') {
        seconds += part.parse::<i64>().ok()? * unit;
        unit /= 60;
    }
    Some((sign * seconds, &text[end..]))
}

fn change(text: &str) -> Option<Change> {
    let (date, time) = text.split_once('/').unwrap_or((text, "2"));
    let mut numbers = date.strip_prefix('M')?.split('.').map(|n| n.parse::<i64>().ok());
    let (month, week, weekday) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Change { month: month as u32, week, weekday, seconds: offset(time)?.0 })
}

/// Transitions and rule of a file of version 2 or later.
fn read(file: &[u8]) -> Option<(Vec<(i64, i64)>, Rule)> {
    let counts = |at: usize| -> Option<[usize; 6]> {
        let head = file.get(at..at + 44).filter(|h| h.starts_with(b"TZif"))?;
        let mut counts = [0; 6];
        for (slot, bytes) in counts.iter_mut().zip(head[20..].chunks(4)) {
            *slot = u32::from_be_bytes(bytes.try_into().ok()?) as usize;
        }
        Some(counts)
    };
    // The first block has times of 32 bits; the second, behind it, repeats all with 64.
    let [utc, std, leap, times, types, chars] = counts(0)?;
    let second = 44 + times * 5 + types * 6 + chars + leap * 8 + std + utc;
    let [utc, std, leap, times, types, chars] = counts(second)?;
    let at = second + 44;
    let index_at = at + times * 8;
    let types_at = index_at + times;
    let end = types_at + types * 6 + chars + leap * 12 + std + utc;
    let mut transitions = Vec::new();
    for i in 0..times {
        let start = i64::from_be_bytes(file.get(at + i * 8..at + i * 8 + 8)?.try_into().ok()?);
        let kind = types_at + usize::from(*file.get(index_at + i)?) * 6;
        let offset = i32::from_be_bytes(file.get(kind..kind + 4)?.try_into().ok()?);
        transitions.push((start, i64::from(offset)));
    }
    let footer = std::str::from_utf8(file.get(end..)?).ok()?.trim_matches('\n');
    Some((transitions, Rule::parse(footer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_of(zone: &str, year: i64, month: u32, day: u32) -> i64 {
        TimeZone::find(zone).unwrap().offset(days(year, month, day) * 86_400 + 43_200)
    }

    #[test]
    fn offsets_follow_the_summer_of_the_zone() {
        for (zone, january, july) in [
            ("America/New_York", -5 * 3600, -4 * 3600),
            ("Europe/Berlin", 3600, 7200),
            ("Australia/Sydney", 11 * 3600, 10 * 3600),
            ("Asia/Kolkata", 19_800, 19_800),
            ("UTC", 0, 0),
        ] {
            for year in [2019, 2024, 2050, 9999] {
                assert_eq!(offset_of(zone, year, 1, 15), january, "{zone} {year}");
                assert_eq!(offset_of(zone, year, 7, 15), july, "{zone} {year}");
            }
        }
        assert_eq!(offset_of("America/New_York", 1900, 1, 1), -5 * 3600);
    }

    #[test]
    fn a_day_begins_by_the_clock_of_the_zone() {
        let zone = TimeZone::find("America/New_York").unwrap();
        // The clock moves on 2024-03-10 at two and on 2024-11-03 at two.
        for (month, day, hours) in [(3, 10, 5), (3, 11, 4), (11, 3, 4), (11, 4, 5)] {
            let day = days(2024, month, day);
            assert_eq!(zone.midnight(day), day * DAY + hours * 3_600_000_000);
        }
        // 02:30 does not exist, 01:30 exists twice.
        let local = |month, day, minutes: i64| days(2024, month, day) * DAY + minutes * 60_000_000;
        assert_eq!(zone.moment(local(3, 10, 150)), local(3, 10, 150 + 300));
        assert_eq!(zone.moment(local(11, 3, 90)), local(11, 3, 90 + 240));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["Mars/Olympus", "../../etc/passwd", "", "/etc/passwd", "zone.tab"] {
            assert!(TimeZone::find(name).is_err(), "{name}");
        }
    }
}
