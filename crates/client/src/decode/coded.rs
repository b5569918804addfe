//! Values that are encoded as text in the answer.

use super::ColumnType;
use super::error::DecodeErrorKind;

/// Decodes base64 (Edm.Binary) and writes it as `byteain` reads it. OData 4 prescribes the alphabet of URLs; servers
/// write either one, and may leave out the padding.
pub(super) fn bytes(text: &[u8], out: &mut String) -> Result<(), DecodeErrorKind> {
    const WRONG: DecodeErrorKind = DecodeErrorKind::Syntax(ColumnType::Bytes);
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if padding > 2 || padding > 0 && !text.len().is_multiple_of(4) || digits.len() % 4 == 1 {
        return Err(WRONG);
    }
    out.push_str("\\x");
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            bits = bits << 6 | sextet(digit).ok_or(WRONG)?;
        }
        let missing = 4 - group.len();
        bits <<= 6 * missing;
        // The remaining bits belong to no byte.
        if bits & ((1 << (8 * missing)) - 1) != 0 {
            return Err(WRONG);
        }
        for byte in &bits.to_be_bytes()[1..4 - missing] {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
    }
    Ok(())
}

fn sextet(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// A span of time. If it is negative as a whole in ISO 8601 (`-PT8H30M`), each part of it is negative in PostgreSQL.
/// Other forms are left to PostgreSQL's input function.
pub(super) fn interval(text: &[u8], out: &mut String) -> Result<(), DecodeErrorKind> {
    const WRONG: DecodeErrorKind = DecodeErrorKind::Syntax(ColumnType::Interval);
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    if text.contains('\0') {
        return Err(DecodeErrorKind::NulCharacter);
    }
    let Some(parts) = text.strip_prefix("-P") else {
        out.push_str(text);
        return Ok(());
    };
    out.push('P');
    let mut within = false;
    for character in parts.chars() {
        let is_number = character.is_ascii_digit() || character == '.';
        if is_number && !within {
            out.push('-');
        }
        within = is_number;
        out.push(character);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        text: &str,
        decode: impl Fn(&[u8], &mut String) -> Result<(), DecodeErrorKind>,
    ) -> Result<String, DecodeErrorKind> {
        let mut out = String::new();
        decode(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn bytes_are_base64() {
        for (text, hex) in [
            ("", "\\x"),
            ("AA==", "\\x00"),
            ("AAAAAAAAB9E=", "\\x00000000000007d1"),
            ("SGVsbG8=", "\\x48656c6c6f"),
            ("SGVsbG8", "\\x48656c6c6f"),
            ("+/+/", "\\xfbffbf"),
            ("-_-_", "\\xfbffbf"),
        ] {
            assert_eq!(of(text, bytes), Ok(hex.to_owned()), "{text}");
        }
        for text in ["A", "AAAAA", "A=", "A===", "AA=", "AB==", "AA A", "\\x00"] {
            assert_eq!(of(text, bytes), Err(DecodeErrorKind::Syntax(ColumnType::Bytes)), "{text}");
        }
    }

    #[test]
    fn spans_of_time_are_negative_part_by_part() {
        for (text, read) in [
            ("PT8H", "PT8H"),
            ("08:00", "08:00"),
            ("-PT8H30M", "PT-8H-30M"),
            ("-P1DT2H3M4.5S", "P-1DT-2H-3M-4.5S"),
        ] {
            assert_eq!(of(text, interval), Ok(read.to_owned()));
        }
    }
}
