//! Tokens of `$filter`.

use crate::data::calendar::{DAY, days};
use crate::data::value::{Val, parse_guid};
use crate::filter::Dialect;
use crate::zone::TimeZone;

#[derive(Clone, Debug)]
pub enum Token {
    Open,
    Close,
    Comma,
    /// `=` inside `cf.String(f='View.Field')`.
    Equals,
    /// `:` after the variable of `any` and `all`.
    Colon,
    Word(String),
    Literal(Val),
}

/// In a `zone`, dates are moments: its midnights; times without a zone are of its clock.
pub fn tokens(text: &str, dialect: Dialect, zone: Option<&TimeZone>) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, used) = match first {
            ' ' | '\t' => {
                rest = &rest[1..];
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '=' => (Token::Equals, 1),
            ':' => (Token::Colon, 1),
            '\'' => {
                let (text, used) = quoted(rest)?;
                (Token::Literal(Val::text(text)), used)
            }
            _ => scalar(text, rest, dialect, zone)?,
        };
        out.push(token);
        rest = &rest[used..];
    }
    Ok(out)
}

/// A quoted string, quotes doubled inside; how many bytes it took.
fn quoted(text: &str) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            value.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            return Ok((value, at + 1));
        }
    }
    Err(format!("There is an unterminated string literal at position 0 in '{text}'."))
}

fn scalar(
    whole: &str,
    rest: &str,
    dialect: Dialect,
    zone: Option<&TimeZone>,
) -> Result<(Token, usize), String> {
    let bad = || format!("Syntax error at '{rest}'.");
    if let Some(guid) = rest.get(..36).and_then(parse_guid) {
        return if dialect.is_v3() { Err(bad()) } else { Ok((Token::Literal(Val::Guid(guid)), 36)) };
    }
    let number = rest.strip_prefix('-').unwrap_or(rest).starts_with(|c: char| c.is_ascii_digit());
    if number {
        let used =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:+-".contains(c))).unwrap_or(rest.len());
        let word = &rest[..used];
        if is_date(word) {
            let value = parse_time(word, zone).filter(|_| !dialect.is_v3()).ok_or_else(bad)?;
            return Ok((Token::Literal(value), used));
        }
        return Ok((Token::Literal(parse_number(word, dialect.is_v3()).ok_or_else(bad)?), used));
    }
    let part_of_word = |c: char| c.is_alphanumeric() || "_/.$@".contains(c);
    let used = rest.find(|c: char| !part_of_word(c)).unwrap_or(rest.len());
    let word = &rest[..used];
    if used > 0 && rest[used..].starts_with('\'') {
        let (text, more) = quoted(&rest[used..])?;
        let value = match word {
            _ if !dialect.is_v3() => None,
            "datetime" | "datetimeoffset" => parse_time(&text, zone),
            // Of date-only fields (docs/acumatica.md §2.2, SK).
            "date" if dialect == Dialect::Contract4 && text.len() == 10 => parse_time(&text, zone),
            "guid" => parse_guid(&text).map(Val::Guid),
            _ => None,
        };
        // In the words of the server (docs/acumatica.md §3.2, HB 25R2).
        let unknown = || {
            let (literal, at) = (&rest[..used + more], whole.len() - rest.len());
            format!("Unrecognized 'Edm.String' literal '{literal}' at '{at}' in '{whole}'.")
        };
        return Ok((Token::Literal(value.ok_or_else(unknown)?), used + more));
    }
    let token = match word {
        "" => return Err(bad()),
        "null" => Token::Literal(Val::Null),
        "true" => Token::Literal(Val::Bool(true)),
        "false" => Token::Literal(Val::Bool(false)),
        _ => Token::Word(word.to_string()),
    };
    Ok((token, used))
}

fn is_date(word: &str) -> bool {
    let b = word.as_bytes();
    b.len() >= 10 && b[4] == b'-' && b[7] == b'-' && b[..4].iter().all(u8::is_ascii_digit)
}

/// An integer, a decimal or a double; `v3` allows the suffixes `M`, `L`, `d`, `f`.
fn parse_number(word: &str, v3: bool) -> Option<Val> {
    let body = match word.char_indices().last()? {
        (at, 'm' | 'M' | 'l' | 'L' | 'd' | 'D' | 'f' | 'F') if v3 => &word[..at],
        (_, last) if last.is_ascii_digit() => word,
        _ => return None,
    };
    if body.contains(['e', 'E']) {
        return body.parse().ok().map(Val::Double);
    }
    match body.split_once('.') {
        None => match body.parse::<i64>() {
            Ok(value) => Some(Val::Int(value)),
            Err(_) => body.parse::<i128>().ok().map(|value| Val::Dec(value, 0)),
        },
        Some((whole, fraction)) if fraction.len() <= 30 && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            let mantissa = format!("{whole}{fraction}").parse().ok()?;
            Some(Val::Dec(mantissa, fraction.len() as u8))
        }
        Some(_) => None,
    }
}

/// A date, or a date and time with `Z`, an offset or no zone (then that of the clock given, or UTC).
pub fn parse_time(text: &str, clock: Option<&TimeZone>) -> Option<Val> {
    let number = |s: &str| -> Option<i64> { s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok())? };
    if !text.is_ascii() || !is_date(text) {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])? as u32, number(&text[8..10])? as u32);
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let date = days(year, month, day);
    // The day must exist in its month.
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    if date >= days(next_year, next_month, 1) {
        return None;
    }
    if text.len() == 10 {
        return Some(clock.map_or(Val::Date(date as i32), |clock| Val::Ts(clock.midnight(date))));
    }
    let time = text[10..].strip_prefix('T')?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (written, zone) = time.split_at(zone_at);
    let (written, fraction) = written.split_once('.').unwrap_or((written, ""));
    let mut parts = written.split(':').map(number);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if hour > 23 || minute > 59 || second > 59 || parts.next().is_some() || fraction.len() > 7 {
        return None;
    }
    let micros = number(&format!("{fraction:0<6}")[..6])?;
    let local = date * DAY + (hour * 3600 + minute * 60 + second) * 1_000_000 + micros;
    let offset = match zone {
        "" => return Some(Val::Ts(clock.map_or(local, |clock| clock.moment(local)))),
        "Z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let size = number(hours)? * 60 + number(minutes)?;
            if zone.starts_with('-') { -size } else { size }
        }
    };
    Some(Val::Ts(local - offset * 60_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_belong_to_their_version() {
        let ok = |text: &str, dialect| tokens(text, dialect, None).is_ok();
        for (text, v3, v4) in [
            ("guid'0d4e7b1c-0000-0000-0000-00000000000a'", true, false),
            ("0d4e7b1c-0000-0000-0000-00000000000a", false, true),
            ("datetime'2022-07-13T00:00:00'", true, false),
            ("2022-07-13", false, true),
            ("2022-07-13T00:00:00.5-05:00", false, true),
            ("0M", true, false),
            ("-1.50", true, true),
            ("'it''s'", true, true),
            ("'open", false, false),
        ] {
            assert_eq!((ok(text, Dialect::Contract4), ok(text, Dialect::GiV4)), (v3, v4), "{text}");
        }
    }

    #[test]
    fn a_plus_sign_that_became_a_space_is_no_time() {
        assert!(parse_time("2024-12-31T00:00:00+00:00", None).is_some());
        assert!(parse_time("2024-12-31T00:00:00 00:00", None).is_none());
        assert!(parse_time("2023-02-29", None).is_none());
    }
}
