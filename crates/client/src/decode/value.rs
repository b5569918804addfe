//! Converts a JSON token to a cell.

use super::ColumnType;
use super::batch::{Batch, Cell};
use super::coded;
use super::error::{DecodeErrorKind, Fault};
use super::scan::{WRAPPER, members, peek, scalar_len, skip, string_end};
use super::time;

/// A value as it stands in the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    /// Starts like a number; its grammar is checked when it is wanted.
    Number(&'a [u8]),
    /// What is between the quotes, and whether there are escapes in it.
    String {
        raw: &'a [u8],
        escaped: bool,
    },
    Object,
    Array,
}

/// Reads the value at `at` and returns it with the position behind it. A `{"value": x}` of the contract REST is x.
#[inline(always)]
pub(super) fn token(row: &[u8], at: usize) -> Result<(Token<'_>, usize), Fault> {
    match peek(row, at) {
        b'{' => wrapped(row, at),
        _ => bare(row, at),
    }
}

#[inline(always)]
fn bare(row: &[u8], at: usize) -> Result<(Token<'_>, usize), Fault> {
    match peek(row, at) {
        b'"' => match string_end(row, at + 1) {
            Some((end, escaped)) => Ok((Token::String { raw: &row[at + 1..end], escaped }, end + 1)),
            None => Err(Fault::malformed("a closing quote", at)),
        },
        b'-' | b'0'..=b'9' => {
            let end = at + scalar_len(&row[at..]);
            Ok((Token::Number(&row[at..end]), end))
        }
        b'{' => skip(row, at).map(|end| (Token::Object, end)),
        b'[' => skip(row, at).map(|end| (Token::Array, end)),
        _ => {
            let rest = row.get(at..).unwrap_or_default();
            let (word, token) = match &rest[..scalar_len(rest)] {
                b"null" => (4, Token::Null),
                b"true" => (4, Token::Bool(true)),
                b"false" => (5, Token::Bool(false)),
                _ => return Err(Fault::malformed("a value", at)),
            };
            Ok((token, at + word))
        }
    }
}

/// Reads a wrapper. The usual one holds its value only, without white space, and is read without walking its members.
#[inline(always)]
fn wrapped(row: &[u8], at: usize) -> Result<(Token<'_>, usize), Fault> {
    let inside = at + WRAPPER.len();
    if row[at..].starts_with(WRAPPER) && peek(row, inside) != b'{' {
        // Wrappers with white space, and malformed ones, are left to the walk.
        if let Ok((token, end)) = bare(row, inside)
            && peek(row, end) == b'}'
        {
            return Ok((token, end + 1));
        }
    }
    field_of(row, at, b"value")
}

/// The member `wanted` of the object at `at`. If it is missing, an object with only the type or the error of a field is
/// a field without value; other objects are an error.
fn field_of<'a>(row: &'a [u8], at: usize, wanted: &[u8]) -> Result<(Token<'a>, usize), Fault> {
    let mut found = None;
    let mut foreign = false;
    let end = members(row, at, |name, at| {
        if name != wanted {
            foreign |= !matches!(name, b"type" | b"error");
            return skip(row, at);
        }
        // A drop-down of contract 5: {"value":{"id":"CL","description":"Completed"}}
        let (token, end) = match peek(row, at) {
            b'{' if wanted == b"value" => field_of(row, at, b"description")?,
            _ => bare(row, at)?,
        };
        found = Some(token);
        Ok(end)
    })?;
    Ok((found.unwrap_or(if foreign { Token::Object } else { Token::Null }), end))
}

/// The cell of a column of type `ty`. Text goes into `batch`.
#[inline(always)]
pub(super) fn cell(token: Token<'_>, ty: ColumnType, batch: &mut Batch) -> Result<Cell, DecodeErrorKind> {
    match token {
        Token::Null => Ok(Cell::Null),
        Token::String { raw, escaped } if ty == ColumnType::Text => {
            batch.push_with(|arena| unescape(raw, escaped, arena))
        }
        Token::String { raw, escaped } if ty == ColumnType::Unpadded => batch.push_with(|arena| {
            let start = arena.len();
            unescape(raw, escaped, arena)?;
            arena.truncate(start + arena[start..].trim_end_matches(' ').len());
            Ok(())
        }),
        Token::String { raw, escaped: false } => from_text(raw.trim_ascii(), ty, true, batch),
        Token::String { raw, escaped: true } => {
            let mut text = String::new();
            unescape_slowly(raw, &mut text)?;
            from_text(text.as_bytes().trim_ascii(), ty, true, batch)
        }
        Token::Number(text) => from_text(text, ty, false, batch),
        Token::Bool(truth) => match ty {
            ColumnType::Bool => Ok(Cell::Bool(truth)),
            ColumnType::Text | ColumnType::Unpadded => batch.push_text(if truth { "true" } else { "false" }),
            _ => Err(DecodeErrorKind::Boolean(ty)),
        },
        Token::Object => Err(DecodeErrorKind::Object(ty)),
        Token::Array => Err(DecodeErrorKind::Array(ty)),
    }
}

/// The text of an identity field. NULL, as in the key of an outer join, is a value of its own: a text that no field can
/// hold.
pub(super) fn identity(token: Token<'_>) -> Result<String, DecodeErrorKind> {
    Ok(match token {
        Token::Null => "\0".to_owned(),
        Token::String { raw, escaped } => {
            let mut text = String::with_capacity(raw.len());
            unescape(raw, escaped, &mut text)?;
            text
        }
        Token::Number(text) => decimal_text(text, ColumnType::Text)?.to_owned(),
        Token::Bool(truth) => truth.to_string(),
        Token::Object => return Err(DecodeErrorKind::Object(ColumnType::Text)),
        Token::Array => return Err(DecodeErrorKind::Array(ColumnType::Text)),
    })
}

fn from_text(text: &[u8], ty: ColumnType, quoted: bool, batch: &mut Batch) -> Result<Cell, DecodeErrorKind> {
    match ty {
        // For Text only numbers reach this arm; Json is copied elsewhere.
        ColumnType::Numeric | ColumnType::Text | ColumnType::Unpadded | ColumnType::Json => {
            batch.push_text(decimal_text(text, ty)?)
        }
        ColumnType::Int2 => integer::<i16>(text, ty),
        ColumnType::Int4 => integer::<i32>(text, ty),
        ColumnType::Int8 => integer::<i64>(text, ty),
        ColumnType::Float4 => float(text, ty, |text| text.parse::<f32>().map(f64::from)),
        ColumnType::Float8 => float(text, ty, str::parse),
        ColumnType::Bool => match text {
            b"1" => Ok(Cell::Bool(true)),
            b"0" => Ok(Cell::Bool(false)),
            _ if !quoted => Err(DecodeErrorKind::OutOfRange(ty)),
            _ if text.eq_ignore_ascii_case(b"true") => Ok(Cell::Bool(true)),
            _ if text.eq_ignore_ascii_case(b"false") => Ok(Cell::Bool(false)),
            _ => Err(DecodeErrorKind::Syntax(ty)),
        },
        _ if !quoted => Err(DecodeErrorKind::Number(ty)),
        ColumnType::Date => {
            time::parse(text, ty)?.day().map(Cell::Date).ok_or(DecodeErrorKind::TimeOfDay(ty))
        }
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            Ok(Cell::Timestamp(time::parse(text, ty)?.instant()))
        }
        ColumnType::Interval => batch.push_with(|arena| coded::interval(text, arena)),
        ColumnType::Bytes => batch.push_with(|arena| coded::bytes(text, arena)),
        ColumnType::Uuid => {
            let digits = text.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(text);
            // The crate accepts URNs, too. The lengths of the two accepted forms exclude them.
            match uuid::Uuid::try_parse_ascii(digits) {
                Ok(uuid) if matches!(digits.len(), 32 | 36) => batch.push_uuid(uuid.into_bytes()),
                _ => Err(DecodeErrorKind::Syntax(ty)),
            }
        }
    }
}

/// A decimal number in the grammar of PostgreSQL's numeric, which contains the one of JSON.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// The power of ten; it saturates.
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = sign(text);
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => {
                let (negative, rest) = sign(rest);
                let (exponent, rest) = digits(rest);
                if exponent.is_empty() || !rest.is_empty() {
                    return None;
                }
                let size = exponent.iter().fold(0i64, |size, digit| {
                    size.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
                });
                if negative { -size } else { size }
            }
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|&digit| digit == b'0')
    }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// `text` itself, if it is a decimal number.
fn decimal_text(text: &[u8], ty: ColumnType) -> Result<&str, DecodeErrorKind> {
    match (Decimal::parse(text), std::str::from_utf8(text)) {
        (Some(_), Ok(text)) => Ok(text),
        _ => Err(DecodeErrorKind::Syntax(ty)),
    }
}

fn integer<T: TryFrom<i64>>(text: &[u8], ty: ColumnType) -> Result<Cell, DecodeErrorKind> {
    let value = match short_integer(text) {
        Some(value) => value,
        None => long_integer(text, ty)?,
    };
    T::try_from(value).map(|_| Cell::Int(value)).map_err(|_| DecodeErrorKind::OutOfRange(ty))
}

/// The usual case: up to 18 digits, which cannot overflow.
fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(text);
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| 10 * value + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

#[cold]
fn long_integer(text: &[u8], ty: ColumnType) -> Result<i64, DecodeErrorKind> {
    let decimal = Decimal::parse(text).ok_or(DecodeErrorKind::Syntax(ty))?;
    if decimal.is_zero() {
        return Ok(0);
    }
    // Digits before this position, counted from the first one, are before the decimal point.
    let point = (decimal.whole.len() as i64).saturating_add(decimal.exponent);
    let mut value = 0i64;
    let mut push = |digit: u8| {
        // Computes with negative numbers, since their range has one value more.
        value = value.checked_mul(10).and_then(|value| value.checked_sub(i64::from(digit))).ok_or(())?;
        Ok(())
    };
    let mut position = 0;
    for &digit in decimal.whole.iter().chain(decimal.fraction) {
        if position < point {
            push(digit - b'0').map_err(|()| DecodeErrorKind::OutOfRange(ty))?;
        } else if digit != b'0' {
            return Err(DecodeErrorKind::Fraction(ty));
        }
        position += 1;
    }
    // The value is not 0, so this ends by overflow after 19 turns at most.
    while position < point {
        push(0).map_err(|()| DecodeErrorKind::OutOfRange(ty))?;
        position += 1;
    }
    if decimal.negative { Ok(value) } else { value.checked_neg().ok_or(DecodeErrorKind::OutOfRange(ty)) }
}

fn float(
    text: &[u8],
    ty: ColumnType,
    parse: impl FnOnce(&str) -> Result<f64, std::num::ParseFloatError>,
) -> Result<Cell, DecodeErrorKind> {
    // OData writes these as strings.
    match text {
        b"NaN" => return Ok(Cell::Float(f64::NAN)),
        b"INF" => return Ok(Cell::Float(f64::INFINITY)),
        b"-INF" => return Ok(Cell::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let decimal = Decimal::parse(text).ok_or(DecodeErrorKind::Syntax(ty))?;
    let value = parse(decimal_text(text, ty)?).map_err(|_| DecodeErrorKind::Syntax(ty))?;
    // PostgreSQL refuses such values, too, instead of rounding them to infinity or zero.
    if value.is_infinite() || value == 0.0 && !decimal.is_zero() {
        return Err(DecodeErrorKind::OutOfRange(ty));
    }
    Ok(Cell::Float(value))
}

/// Appends the text of a string, given the bytes between its quotes. Control characters other than NUL are accepted as
/// they are: JSON forbids them, but their meaning is clear.
#[inline(always)]
pub(super) fn unescape(raw: &[u8], escaped: bool, out: &mut String) -> Result<(), DecodeErrorKind> {
    if escaped { unescape_slowly(raw, out) } else { push_utf8(raw, out) }
}

#[inline(always)]
fn push_utf8(raw: &[u8], out: &mut String) -> Result<(), DecodeErrorKind> {
    let text = std::str::from_utf8(raw).map_err(|_| DecodeErrorKind::InvalidUtf8)?;
    if memchr::memchr(0, raw).is_some() {
        return Err(DecodeErrorKind::NulCharacter);
    }
    out.push_str(text);
    Ok(())
}

fn unescape_slowly(mut raw: &[u8], out: &mut String) -> Result<(), DecodeErrorKind> {
    while let Some(at) = memchr::memchr(b'\\', raw) {
        push_utf8(&raw[..at], out)?;
        let (character, rest) = escape(&raw[at + 1..])?;
        out.push(character);
        raw = rest;
    }
    push_utf8(raw, out)
}

/// The character of the escape whose backslash is just before `raw`, and what follows it.
fn escape(raw: &[u8]) -> Result<(char, &[u8]), DecodeErrorKind> {
    let (&letter, rest) = raw.split_first().ok_or(DecodeErrorKind::Malformed("an escape"))?;
    let character = match letter {
        b'"' | b'\\' | b'/' => char::from(letter),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(rest),
        _ => return Err(DecodeErrorKind::Malformed("an escape")),
    };
    Ok((character, rest))
}

fn unicode(raw: &[u8]) -> Result<(char, &[u8]), DecodeErrorKind> {
    let (high, rest) = hex(raw)?;
    let (code, rest) = match high {
        0 => return Err(DecodeErrorKind::NulCharacter),
        0xD800..=0xDBFF => {
            let low = rest.strip_prefix(b"\\u").ok_or(DecodeErrorKind::LoneSurrogate)?;
            let (low, rest) = hex(low)?;
            let low =
                low.checked_sub(0xDC00).filter(|&low| low < 0x400).ok_or(DecodeErrorKind::LoneSurrogate)?;
            (0x10000 + ((high - 0xD800) << 10) + low, rest)
        }
        _ => (high, rest),
    };
    Ok((char::from_u32(code).ok_or(DecodeErrorKind::LoneSurrogate)?, rest))
}

fn hex(raw: &[u8]) -> Result<(u32, &[u8]), DecodeErrorKind> {
    const EXPECTED: DecodeErrorKind = DecodeErrorKind::Malformed("four hexadecimal digits");
    let (digits, rest) = raw.split_at_checked(4).ok_or(EXPECTED)?;
    let value = digits.iter().try_fold(0, |value, &digit| Some(16 * value + char::from(digit).to_digit(16)?));
    Ok((value.ok_or(EXPECTED)?, rest))
}

/// The cell of a value as it stands. Only what a cell needs is checked; `jsonb_in` parses it anyway.
#[inline(always)]
pub(super) fn json(raw: &[u8], batch: &mut Batch) -> Result<Cell, DecodeErrorKind> {
    match raw {
        b"null" => Ok(Cell::Null),
        _ => batch.push_with(|arena| push_utf8(raw, arena)),
    }
}
