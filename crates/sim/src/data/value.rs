//! One cell of the data set, and how it is written as JSON and CSV.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::Write;

use super::calendar::{DAY, civil};
use crate::zone::TimeZone;

/// A drop-down value: SQL holds the code, screens and REST show the label (docs/acumatica.md §2, §3).
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    pub code: &'static str,
    pub label: &'static str,
}

#[derive(Clone, Debug)]
pub enum Val {
    Null,
    Text(Cow<'static, str>),
    Choice(&'static Choice),
    Int(i64),
    /// Mantissa and scale, so that `30.0000` keeps its zeros.
    Dec(i128, u8),
    Double(f64),
    Bool(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00Z.
    Ts(i64),
    Guid(u128),
}

/// What a column holds; decides wrappers, Edm types and which literals it can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Choice,
    Int,
    Short,
    Long,
    Byte,
    Dec(u8),
    Double,
    Bool,
    Date,
    Ts,
    Guid,
    /// As text: base64 (Edm.Binary).
    Binary,
}

/// How a timestamp shows its zone; generic inquiries are not consistent (docs/acumatica.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Z,
    /// Minutes east of UTC.
    Offset(i16),
    None,
    /// The offset that the site's zone has at the moment (docs/acumatica.md §2.2, HTE, JET, MYO).
    Site(&'static TimeZone),
    /// By the clock of the site, without any zone: custom fields (HTE). Ours: whose clock it is.
    Clock(&'static TimeZone),
}

/// Presentation of a value on one surface.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub zone: Zone,
    /// Decimals as JSON strings.
    pub quoted: bool,
    /// Dates without a time (contract 5 only; everything else shows midnight).
    pub bare_date: bool,
}

impl Style {
    #[cfg(test)]
    pub const REST: Style = Style { zone: Zone::Offset(0), quoted: false, bare_date: false };
    pub const ODATA: Style = Style { zone: Zone::Z, quoted: false, bare_date: false };
}

impl Style {
    /// Of contract REST on a site in this zone.
    pub fn rest(zone: &'static TimeZone, contract5: bool) -> Style {
        Style { zone: Zone::Site(zone), quoted: false, bare_date: contract5 }
    }

    /// Of a field under `custom`.
    pub fn custom(self) -> Style {
        match self.zone {
            Zone::Site(zone) => Style { zone: Zone::Clock(zone), ..self },
            _ => self,
        }
    }
}

fn digits(out: &mut Vec<u8>, value: u32, width: usize) {
    let mut buf = [b'0'; 10];
    let mut rest = value;
    for slot in buf[..width].iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&buf[..width]);
}

pub fn write_date(out: &mut Vec<u8>, day: i64) {
    let (y, m, d) = civil(day);
    digits(out, y as u32, 4);
    out.push(b'-');
    digits(out, m, 2);
    out.push(b'-');
    digits(out, d, 2);
}

/// `2023-12-14T17:20:45.16+00:00`: the fraction has no trailing zeros, as in the wire captures.
pub fn write_ts(out: &mut Vec<u8>, micros: i64, zone: Zone) {
    let shift = match zone {
        Zone::Offset(minutes) => i64::from(minutes) * 60_000_000,
        Zone::Site(zone) | Zone::Clock(zone) => zone.shift(micros),
        Zone::Z | Zone::None => 0,
    };
    let local = micros + shift;
    write_date(out, local.div_euclid(DAY));
    let within = local.rem_euclid(DAY);
    let seconds = (within / 1_000_000) as u32;
    out.push(b'T');
    digits(out, seconds / 3600, 2);
    out.push(b':');
    digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    digits(out, seconds % 60, 2);
    let mut fraction = (within % 1_000_000) as u32;
    if fraction != 0 {
        let mut width = 6;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        digits(out, fraction, width);
    }
    match zone {
        Zone::Z => out.push(b'Z'),
        Zone::None | Zone::Clock(_) => {}
        Zone::Offset(_) | Zone::Site(_) => {
            out.push(if shift < 0 { b'-' } else { b'+' });
            let size = (shift.unsigned_abs() / 60_000_000) as u32;
            digits(out, size / 60, 2);
            out.push(b':');
            digits(out, size % 60, 2);
        }
    }
}

pub fn write_int(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buf = [0u8; 20];
    let mut at = buf.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buf[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&buf[at..]);
}

pub fn write_dec(out: &mut Vec<u8>, mantissa: i128, scale: u8) {
    if let (Ok(small), true) = (i64::try_from(mantissa), scale <= 18) {
        // The common case, without 128-bit division.
        if small < 0 {
            out.push(b'-');
        }
        let unit = 10u64.pow(u32::from(scale));
        let size = small.unsigned_abs();
        write_int(out, (size / unit) as i64);
        if scale > 0 {
            out.push(b'.');
            let mut rest = size % unit;
            let start = out.len();
            out.resize(start + usize::from(scale), b'0');
            for slot in out[start..].iter_mut().rev() {
                *slot = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        return;
    }
    let text = format!("{:0width$}", mantissa.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = text.split_at(text.len() - usize::from(scale));
    let sign = if mantissa < 0 { "-" } else { "" };
    let dot = if scale > 0 { "." } else { "" };
    let _ = write!(out, "{sign}{whole}{dot}{fraction}");
}

pub fn write_guid(out: &mut Vec<u8>, guid: u128) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for i in 0..32 {
        if matches!(i, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        out.push(HEX[(guid >> (124 - 4 * i)) as usize & 15]);
    }
}

pub fn parse_guid(text: &str) -> Option<u128> {
    let shape = text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if !shape {
        return None;
    }
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}

/// A JSON string with its quotes.
pub fn write_json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..i]);
        done = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let _ = write!(out, "\\u{b:04x}");
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

impl Val {
    pub fn text(text: impl Into<Cow<'static, str>>) -> Val {
        Val::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    /// The value as JSON; `null` for no value (REST callers write `{}` before they come here).
    pub fn write_json(&self, out: &mut Vec<u8>, style: Style) {
        match self {
            Val::Null => out.extend_from_slice(b"null"),
            Val::Text(text) => write_json_text(out, text),
            Val::Choice(choice) => write_json_text(out, choice.label),
            Val::Int(value) => write_int(out, *value),
            Val::Dec(mantissa, scale) if style.quoted => {
                out.push(b'"');
                write_dec(out, *mantissa, *scale);
                out.push(b'"');
            }
            Val::Dec(mantissa, scale) => write_dec(out, *mantissa, *scale),
            Val::Double(value) => {
                let _ = write!(out, "{value:?}");
            }
            Val::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Val::Date(_) | Val::Ts(_) | Val::Guid(_) => {
                out.push(b'"');
                self.write_plain(out, style);
                out.push(b'"');
            }
        }
    }

    /// The value without JSON's quoting; nothing for no value.
    pub fn write_plain(&self, out: &mut Vec<u8>, style: Style) {
        match self {
            Val::Null => {}
            Val::Text(text) => out.extend_from_slice(text.as_bytes()),
            Val::Choice(choice) => out.extend_from_slice(choice.label.as_bytes()),
            Val::Int(value) => write_int(out, *value),
            Val::Dec(mantissa, scale) => write_dec(out, *mantissa, *scale),
            Val::Double(value) => {
                let _ = write!(out, "{value:?}");
            }
            Val::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Val::Date(day) if style.bare_date => write_date(out, i64::from(*day)),
            // A date has no instant: its midnight shows the zone of the column, unshifted.
            Val::Date(day) => {
                let midnight = i64::from(*day) * DAY;
                let moment = match style.zone {
                    Zone::Offset(minutes) => midnight - i64::from(minutes) * 60_000_000,
                    Zone::Site(zone) | Zone::Clock(zone) => zone.moment(midnight),
                    Zone::Z | Zone::None => midnight,
                };
                write_ts(out, moment, style.zone);
            }
            Val::Ts(micros) => write_ts(out, *micros, style.zone),
            Val::Guid(guid) => write_guid(out, *guid),
        }
    }

    /// One field for `COPY … (FORMAT csv)`: no value is empty, text is always quoted.
    pub fn write_csv(&self, out: &mut Vec<u8>, style: Style) {
        match self {
            Val::Text(_) | Val::Choice(_) => {
                let mut plain = Vec::new();
                self.write_plain(&mut plain, style);
                out.push(b'"');
                for b in plain {
                    if b == b'"' {
                        out.push(b'"');
                    }
                    out.push(b);
                }
                out.push(b'"');
            }
            Val::Bool(value) => out.push(if *value { b't' } else { b'f' }),
            _ => self.write_plain(out, style),
        }
    }

    pub fn to_plain(&self, style: Style) -> String {
        let mut out = Vec::new();
        self.write_plain(&mut out, style);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// SQL Server's usual collation: case and trailing spaces do not count (docs/acumatica.md §2).
pub fn compare_text(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_end_matches(' '), b.trim_end_matches(' '));
    if a.is_ascii() && b.is_ascii() {
        return a.bytes().map(|c| c.to_ascii_lowercase()).cmp(b.bytes().map(|c| c.to_ascii_lowercase()));
    }
    a.chars().flat_map(char::to_lowercase).cmp(b.chars().flat_map(char::to_lowercase))
}

fn compare_dec(a: (i128, u8), b: (i128, u8)) -> Ordering {
    let scale = a.1.max(b.1);
    let lift = |(m, s): (i128, u8)| 10i128.checked_pow(u32::from(scale - s)).and_then(|f| m.checked_mul(f));
    match (lift(a), lift(b)) {
        (Some(x), Some(y)) => x.cmp(&y),
        // Beyond 38 digits only the magnitude can differ.
        _ => to_f64(a).total_cmp(&to_f64(b)),
    }
}

fn to_f64((mantissa, scale): (i128, u8)) -> f64 {
    mantissa as f64 / 10f64.powi(i32::from(scale))
}

/// Compares two values of one class; no value comes first, as in SQL Server. `None` if the classes differ.
pub fn compare(a: &Val, b: &Val) -> Option<Ordering> {
    use Val::*;
    Some(match (a, b) {
        (Null, Null) => Ordering::Equal,
        (Null, _) => Ordering::Less,
        (_, Null) => Ordering::Greater,
        (Text(x), Text(y)) => compare_text(x, y),
        (Choice(x), Choice(y)) => compare_text(x.label, y.label),
        (Choice(x), Text(y)) => compare_text(x.label, y),
        (Text(x), Choice(y)) => compare_text(x, y.label),
        (Int(x), Int(y)) => x.cmp(y),
        (Int(x), Dec(m, s)) => compare_dec((i128::from(*x), 0), (*m, *s)),
        (Dec(m, s), Int(y)) => compare_dec((*m, *s), (i128::from(*y), 0)),
        (Dec(m, s), Dec(n, t)) => compare_dec((*m, *s), (*n, *t)),
        (Double(x), Double(y)) => x.total_cmp(y),
        (Double(x), Int(y)) => x.total_cmp(&(*y as f64)),
        (Int(x), Double(y)) => (*x as f64).total_cmp(y),
        (Double(x), Dec(m, s)) => x.total_cmp(&to_f64((*m, *s))),
        (Dec(m, s), Double(y)) => to_f64((*m, *s)).total_cmp(y),
        (Bool(x), Bool(y)) => x.cmp(y),
        (Date(x), Date(y)) => x.cmp(y),
        (Date(x), Ts(y)) => (i64::from(*x) * DAY).cmp(y),
        (Ts(x), Date(y)) => x.cmp(&(i64::from(*y) * DAY)),
        (Ts(x), Ts(y)) => x.cmp(y),
        (Guid(x), Guid(y)) => compare_guid(*x, *y),
        _ => return None,
    })
}

/// SQL Server orders uniqueidentifier by its last six bytes first; the client must not assume otherwise.
fn compare_guid(a: u128, b: u128) -> Ordering {
    let key = |g: u128| {
        let x = g.to_be_bytes();
        [x[10], x[11], x[12], x[13], x[14], x[15], x[8], x[9], x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]]
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::calendar::days;

    fn json(val: Val, style: Style) -> String {
        let mut out = Vec::new();
        val.write_json(&mut out, style);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_keep_their_scale() {
        assert_eq!(json(Val::Dec(300_000, 4), Style::REST), "30.0000");
        assert_eq!(json(Val::Dec(-5, 4), Style::REST), "-0.0005");
        assert_eq!(
            json(Val::Dec(1_999_000_000, 6), Style { quoted: true, ..Style::ODATA }),
            "\"1999.000000\""
        );
        let many = 12_345_678_901_234_567_890_123_456_789;
        assert_eq!(json(Val::Dec(many, 6), Style::REST), "12345678901234567890123.456789");
    }

    #[test]
    fn dates_at_the_extremes() {
        assert_eq!(days(1970, 1, 1), 0);
        for (y, m, d) in [(1900, 1, 1), (2000, 2, 29), (9999, 12, 31)] {
            assert_eq!(civil(days(y, m, d)), (y, m, d));
        }
        let last = Val::Date(days(9999, 12, 31) as i32);
        assert_eq!(json(last.clone(), Style::REST), "\"9999-12-31T00:00:00+00:00\"");
        assert_eq!(json(last, Style { bare_date: true, ..Style::REST }), "\"9999-12-31\"");
    }

    #[test]
    fn timestamps_drop_trailing_zeros_and_show_their_zone() {
        let ts = days(2023, 12, 14) * DAY + 62_445_160_000;
        assert_eq!(json(Val::Ts(ts), Style::REST), "\"2023-12-14T17:20:45.16+00:00\"");
        let east = Style { zone: Zone::Offset(-300), ..Style::ODATA };
        assert_eq!(json(Val::Ts(ts), east), "\"2023-12-14T12:20:45.16-05:00\"");
        assert_eq!(json(Val::Date(0), east), "\"1970-01-01T00:00:00-05:00\"");
    }

    #[test]
    fn text_compares_as_sql_server_does() {
        assert_eq!(compare_text("MAIN      ", "main"), Ordering::Equal);
        assert_eq!(compare_text("ÄRGER", "ärger"), Ordering::Equal);
        assert_eq!(compare_text(" main", "main"), Ordering::Less);
        assert_eq!(compare(&Val::Null, &Val::Int(-5)), Some(Ordering::Less));
    }
}
