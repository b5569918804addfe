//! Finds the ends of JSON values without parsing them.
//!
//! The splitter finds the end of a row this way, and the row decoder skips members that are not wanted. Brackets are
//! counted 64 bytes at a time on bit masks, as simdjson does. Walking from quote to quote costs more: most strings of
//! an ERP are shorter than 20 characters.

use super::error::{DecodeErrorKind, Fault};

/// The limit for nested objects and arrays, with the row itself. Acumatica nests four deep.
pub(super) const MAX_DEPTH: u32 = 128;

/// More than [`MAX_DEPTH`] levels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// `[` and `{`, and likewise `]` and `}`, differ in this bit only, and no other byte becomes one of them by setting it.
const BRACE_BIT: u8 = 0x20;

/// One bit per byte of a block, lowest bit first: set for those that are `wanted` once the bits of `fold` are set.
///
/// The first loop is written so that the compiler makes vector instructions of it. The second does what `movemask`
/// would, which safe Rust cannot call: the multiplication brings the diagonal of eight bytes into the highest one.
#[inline(always)]
fn bits(block: &[u8; 64], fold: u8, wanted: u8) -> u64 {
    let mut marks = [0u8; 64];
    for (mark, &byte) in marks.iter_mut().zip(block) {
        *mark = if byte | fold == wanted { 0xFF } else { 0 };
    }
    marks.as_chunks().0.iter().rev().fold(0, |mask, &eight| {
        let diagonal = u64::from_le_bytes(eight) & 0x8040_2010_0804_0201;
        mask << 8 | diagonal.wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

/// The same for bytes that most blocks do not have, which is a fraction of the work to find out.
#[inline(always)]
fn bits_if_any(block: &[u8; 64], fold: u8, wanted: u8) -> u64 {
    if block.iter().fold(false, |any, &byte| any | (byte | fold == wanted)) {
        bits(block, fold, wanted)
    } else {
        0
    }
}

/// A scan for the bracket that closes the first one. It can stop after any byte and go on with the next chunk.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Scans `bytes` from `at`, which at the first call is an opening bracket. The end is the position behind the
    /// bracket that closes it; `None` means that all of `bytes` is inside.
    pub(super) fn close(&mut self, bytes: &[u8], mut at: usize) -> Result<Option<usize>, TooDeep> {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let found = match rest.first_chunk() {
                Some(block) => self.block(block, 64)?,
                None => {
                    // Zero bytes do not count in the masks, so a padded block ends in the state of its last real byte.
                    let mut block = [0; 64];
                    block[..rest.len()].copy_from_slice(rest);
                    self.block(&block, rest.len())?
                }
            };
            if let Some(offset) = found {
                return Ok(Some(at + offset + 1));
            }
            at += rest.len().min(64);
        }
        Ok(None)
    }

    #[inline(always)]
    fn block(&mut self, block: &[u8; 64], len: usize) -> Result<Option<usize>, TooDeep> {
        let escaped = self.escaped_bits(bits_if_any(block, 0, b'\\'), len);
        // Bit i becomes the parity of the quotes up to and with i: set inside strings.
        let mut strings = bits(block, 0, b'"') & !escaped;
        for shift in [1, 2, 4, 8, 16, 32] {
            strings ^= strings << shift;
        }
        strings ^= u64::from(self.in_string).wrapping_neg();
        self.in_string = strings >> 63 == 1;

        let open = bits_if_any(block, BRACE_BIT, b'{') & !strings;
        let mut brackets = open | bits_if_any(block, BRACE_BIT, b'}') & !strings;
        while brackets != 0 {
            let at = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            if open >> at & 1 == 1 {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(TooDeep);
                }
            } else {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// The bytes that a backslash escapes.
    #[inline(always)]
    fn escaped_bits(&mut self, backslashes: u64, len: usize) -> u64 {
        let mut escaped = u64::from(std::mem::take(&mut self.escaped));
        let mut rest = backslashes & !escaped;
        while rest != 0 {
            let at = rest.trailing_zeros();
            self.escaped = at as usize + 1 == len;
            let next = 2u64 << at;
            escaped |= next;
            rest &= rest - 1;
            rest &= !next;
        }
        escaped
    }
}

/// The first quote or backslash at or after `at`.
#[inline(always)]
pub(super) fn quote_or_backslash(bytes: &[u8], mut at: usize) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    // Most strings end within these bytes, before memchr would be faster.
    for _ in 0..3 {
        let Some(&eight) = bytes.get(at..)?.first_chunk() else { break };
        let eight = u64::from_le_bytes(eight);
        // The lowest high bit set marks the first byte that is 0; those above it may be wrong.
        let zeroes = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
        let found = zeroes(eight ^ (LOW * b'"' as u64)) | zeroes(eight ^ (LOW * b'\\' as u64));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', bytes.get(at..)?).map(|offset| at + offset)
}

/// The closing quote of a string whose first character is at `at`, and whether there is an escape before it.
#[inline(always)]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut escaped = false;
    loop {
        at = quote_or_backslash(bytes, at)?;
        if bytes[at] == b'"' {
            return Some((at, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// The first byte at or after `at` that is not white space.
#[inline(always)]
pub(super) fn space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The byte at `at`; at the end of the row 0, which JSON allows nowhere outside strings.
#[inline(always)]
pub(super) fn peek(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The position behind the value that starts at `at`. Only the pairing of the outermost brackets is checked.
#[inline(always)]
pub(super) fn skip(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match peek(bytes, at) {
        b'"' => match string_end(bytes, at + 1) {
            Some((end, _)) => Ok(end + 1),
            None => Err(Fault::malformed("a closing quote", at)),
        },
        // The usual wrapper is too short for the block scan.
        b'{' if let Some(end) = skip_wrapper(bytes, at) => Ok(end),
        open @ (b'{' | b'[') => skip_nested(bytes, at, open),
        _ => match scalar_len(bytes.get(at..).unwrap_or_default()) {
            0 => Err(Fault::malformed("a value", at)),
            len => Ok(at + len),
        },
    }
}

#[inline(never)]
fn skip_nested(bytes: &[u8], at: usize, open: u8) -> Result<usize, Fault> {
    match Nesting::default().close(bytes, at) {
        // Each closing bracket is two behind its opening one in ASCII.
        Ok(Some(end)) if bytes[end - 1] == open + 2 => Ok(end),
        Ok(_) => Err(Fault::malformed("a closing bracket", at)),
        Err(TooDeep) => Err(Fault { kind: DecodeErrorKind::TooDeep, at }),
    }
}

/// The start of almost every field of the contract REST.
pub(super) const WRAPPER: &[u8] = br#"{"value":"#;

/// The position behind a wrapper that holds nothing but a string, number or word.
#[inline(always)]
fn skip_wrapper(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = bytes[at..].strip_prefix(WRAPPER)?;
    let len = match peek(inside, 0) {
        b'"' => string_end(inside, 1)?.0 + 1,
        b'{' | b'[' => return None,
        _ => scalar_len(inside),
    };
    (peek(inside, len) == b'}').then_some(at + WRAPPER.len() + len + 1)
}

/// The length of the number or word at the start of `bytes`.
pub(super) fn scalar_len(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

/// Walks the members of the object that opens at `at`. `member` gets the name as written between the quotes and the
/// position of the value, and gives the position behind it. Returns the position behind the object.
pub(super) fn members(
    bytes: &[u8],
    at: usize,
    mut member: impl FnMut(&[u8], usize) -> Result<usize, Fault>,
) -> Result<usize, Fault> {
    let mut at = space(bytes, at + 1);
    if peek(bytes, at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (name, value) = name(bytes, at)?;
        at = member(name, value)?;
        match next_member(bytes, at)? {
            Ok(next) => at = next,
            Err(end) => return Ok(end),
        }
    }
}

/// The name of the member at `at`, as written between its quotes, and where its value starts.
pub(super) fn name(bytes: &[u8], at: usize) -> Result<(&[u8], usize), Fault> {
    if peek(bytes, at) != b'"' {
        return Err(Fault::malformed("the name of a member", at));
    }
    let Some((end, _)) = string_end(bytes, at + 1) else {
        return Err(Fault::malformed("a closing quote", at));
    };
    let colon = space(bytes, end + 1);
    if peek(bytes, colon) != b':' {
        return Err(Fault::malformed("a colon", colon));
    }
    Ok((&bytes[at + 1..end], space(bytes, colon + 1)))
}

/// What follows the member that ends at `at`: the start of the next one, or (`Err`) the position behind the object.
#[inline(always)]
pub(super) fn next_member(bytes: &[u8], at: usize) -> Result<Result<usize, usize>, Fault> {
    let at = space(bytes, at);
    match peek(bytes, at) {
        b',' => Ok(Ok(space(bytes, at + 1))),
        b'}' => Ok(Err(at + 1)),
        _ => Err(Fault::malformed("a comma or a closing brace", at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A plain implementation of what [`Nesting`] does, to compare with.
    fn close_slowly(bytes: &[u8]) -> Option<usize> {
        let (mut depth, mut in_string, mut escaped) = (0, false, false);
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\\' => {
                    escaped = !escaped;
                    continue;
                }
                b'"' if !escaped => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            escaped = false;
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn close_agrees_with_a_plain_loop(
            inside in r#"([a-z:,0]{0,9}|\\|\\\\|"|[{}\[\]]|\\"|[ä-ü]{0,40}){0,60}"#, cut in 0usize..300
        ) {
            let text = format!("{{{inside}");
            let (bytes, cut) = (text.as_bytes(), cut.min(text.len()));
            let mut nesting = Nesting::default();
            let end = match nesting.close(&bytes[..cut], 0).unwrap() {
                Some(end) => Some(end),
                None => nesting.close(bytes, cut).unwrap(),
            };
            prop_assert_eq!(end, close_slowly(bytes));
        }

        #[test]
        fn bits_and_searches_agree_with_plain_loops(bytes in prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b']'), any::<u8>(), any::<u8>(), any::<u8>()], 64
        ), from in 0usize..70) {
            let block: &[u8; 64] = bytes[..].try_into().unwrap();
            let plain = |is: fn(u8) -> bool| (0..64).fold(0, |mask, i| mask | u64::from(is(block[i])) << i);
            prop_assert_eq!(bits(block, 0, b'"'), plain(|byte| byte == b'"'));
            prop_assert_eq!(bits_if_any(block, BRACE_BIT, b'{'), plain(|byte| b"[{".contains(&byte)));
            prop_assert_eq!(bits_if_any(block, BRACE_BIT, b'}'), plain(|byte| b"]}".contains(&byte)));
            let found = (from..64).find(|&at| matches!(bytes[at], b'"' | b'\\'));
            prop_assert_eq!(quote_or_backslash(&bytes, from), found);
            // With too few quotes for the words at the start to find one.
            let rare: Vec<u8> = bytes.iter().map(|&byte| if byte > 8 { b'.' } else { b'"' }).collect();
            prop_assert_eq!(quote_or_backslash(&rare, from), (from..64).find(|&at| rare[at] == b'"'));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(Nesting::default().close(&deep(128), 0), Ok(Some(256)));
        assert_eq!(Nesting::default().close(&deep(129), 0), Err(TooDeep));
        assert_eq!(skip(&deep(129), 0).unwrap_err().kind, DecodeErrorKind::TooDeep);
    }

    #[test]
    fn skip_ends_behind_the_value() {
        for (text, end) in [(r#""a\"b",1"#, 6), ("{}x", 2), (r#"["]"],"#, 5), ("1.5}", 3), ("null", 4)] {
            assert_eq!(skip(text.as_bytes(), 0).ok(), Some(end), "{text}");
        }
        for text in ["", ",", r#""abc"#, "[}", "{", r#""\""#] {
            assert!(skip(text.as_bytes(), 0).is_err(), "{text}");
        }
    }
}
