//! Finds the rows in a response body while it arrives.

use super::error::excerpt;
use super::scan::{Nesting, TooDeep, quote_or_backslash, scalar_len, space};
use super::value::unescape;
use thiserror::Error;

/// The limit for the members of the envelope beside the rows, and for the part of a body without rows that is kept for
/// the error message, in bytes.
const ENVELOPE_LIMIT: usize = 64 << 10;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Why a body is not a list of rows. Texts taken from the body are cut and made valid UTF-8.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    /// Nothing but white space. Acumatica answers so when it cannot filter by a formula.
    #[error("the response is empty")]
    Empty,
    /// Perhaps a HTML page; the first 80 characters.
    #[error("the response is not JSON: {0}")]
    NotJson(String),
    /// An object without an array `value`, which is what errors look like; up to 64 KiB of it.
    #[error("the response holds no rows: {}", excerpt(.0.as_bytes(), 80))]
    NoRows(String),
    /// The envelope holds an error beside the rows, so these are not all; up to 64 KiB of it.
    #[error("the server reports an error beside the rows: {0}")]
    Reported(String),
    /// An element of the rows that is no object; its first 80 characters.
    #[error("a row of the response is not an object: {0}")]
    NotAnObject(String),
    /// The body ends too early.
    #[error("the response is cut off")]
    Truncated,
    /// The body goes on after its end; the first 4,096 characters of the rest.
    #[error("there is something behind the end of the response: {}", excerpt(.0.as_bytes(), 80))]
    TrailingGarbage(String),
    /// A row of more bytes than allowed.
    #[error("a row of the response is larger than {limit} bytes")]
    RowTooLarge {
        /// The `max_row_bytes` of the splitter.
        limit: usize,
    },
    /// More than 128 objects and arrays inside each other.
    #[error("the response is nested more than 128 levels deep")]
    TooDeep,
    /// Malformed between the rows or in the envelope: what was expected, and the first 80 characters of what came.
    #[error("the response is malformed JSON: expected {expected}, found {found}")]
    Malformed {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// A name or link in the envelope of more than 64 KiB.
    #[error("the envelope of the response has a member larger than 64 KiB")]
    EnvelopeTooLarge,
}

/// The members of the envelope beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Where the next page is, as the server wrote it.
    pub next_link: Option<String>,
}

/// Splits a body into rows. The body is an array of objects, or an object whose member `value` is such an array.
///
/// Call [`push`](Self::push) with each chunk, then take rows until there is none. The splitter holds at most one
/// incomplete row and one chunk, and reads each byte a fixed number of times, however the chunks are cut.
#[derive(Debug)]
pub struct RowSplitter {
    buffer: Vec<u8>,
    /// How far `buffer` has been read.
    at: usize,
    /// Where the current row, name or member begins.
    start: usize,
    state: State,
    single: bool,
    max_row_bytes: usize,
    /// The first part of a body without rows so far.
    head: Option<Vec<u8>>,
    /// Whether the rows are in an envelope.
    enveloped: bool,
    /// The name of the current member.
    name: String,
    /// The current member was too large to keep.
    dropped: bool,
    /// The error in the envelope.
    reported: Option<String>,
    envelope: Envelope,
}

#[derive(Debug)]
enum State {
    Start,
    /// Before an element; before the first one the array may also end.
    Element {
        first: bool,
    },
    Row(Nesting),
    AfterRow,
    /// Before a name; before the first one the envelope may also end.
    Name {
        first: bool,
    },
    InName(Value),
    Colon,
    Member,
    InMember(Value),
    AfterMember,
    End,
}

/// A value in the envelope whose end has not been found yet.
#[derive(Debug)]
enum Value {
    String { escaped: bool },
    Nested(Nesting),
    Scalar,
}

impl Value {
    /// The position behind the value, if it ends in `bytes`.
    fn end(&mut self, bytes: &[u8], mut at: usize) -> Result<Option<usize>, TooDeep> {
        match self {
            Self::Nested(nesting) => nesting.close(bytes, at),
            Self::Scalar => {
                let end = at + scalar_len(&bytes[at..]);
                Ok(Some(end).filter(|&end| end < bytes.len()))
            }
            Self::String { .. } if at == bytes.len() => Ok(None),
            Self::String { escaped } => {
                at += usize::from(std::mem::take(escaped));
                while let Some(found) = quote_or_backslash(bytes, at) {
                    if bytes[found] == b'"' {
                        return Ok(Some(found + 1));
                    }
                    *escaped = found + 1 == bytes.len();
                    at = found + 2;
                }
                Ok(None)
            }
        }
    }
}

impl RowSplitter {
    /// A splitter for lists, which refuses rows of more than `max_row_bytes`.
    pub fn new(max_row_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            start: 0,
            state: State::Start,
            single: false,
            max_row_bytes,
            head: Some(Vec::new()),
            enveloped: false,
            name: String::new(),
            dropped: false,
            reported: None,
            envelope: Envelope::default(),
        }
    }

    /// A splitter for bodies that are one row, such as the answer to a read by key.
    pub fn single(max_row_bytes: usize) -> Self {
        Self { single: true, head: None, ..Self::new(max_row_bytes) }
    }

    /// Adds the next bytes of the body. Rows not yet taken stay.
    pub fn push(&mut self, chunk: &[u8]) {
        let done = match self.state {
            State::Row(_) | State::InName(_) | State::InMember(_) => self.start,
            _ => self.at,
        };
        self.buffer.drain(..done);
        self.at -= done;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        if let Some(head) = &mut self.head {
            head.extend_from_slice(&chunk[..chunk.len().min(ENVELOPE_LIMIT - head.len())]);
        }
    }

    /// The next row; `None` if more of the body is needed, or if it has ended.
    ///
    /// # Errors
    /// All of [`SplitError`] but `Empty` and `Truncated`, which show only at the end. The splitter is of no use after an error.
    pub fn next_row(&mut self) -> Result<Option<&[u8]>, SplitError> {
        loop {
            if let State::Row(nesting) = &mut self.state {
                let end = nesting.close(&self.buffer, self.at).map_err(|TooDeep| SplitError::TooDeep)?;
                self.at = end.unwrap_or(self.buffer.len());
                if self.at - self.start > self.max_row_bytes {
                    return Err(SplitError::RowTooLarge { limit: self.max_row_bytes });
                }
                if end.is_none() {
                    return Ok(None);
                }
                self.state = if self.single { State::End } else { State::AfterRow };
                return Ok(Some(&self.buffer[self.start..self.at]));
            }
            if !self.step()? {
                return Ok(None);
            }
        }
    }

    /// The members of the envelope. To be called at the end of the body, when [`RowSplitter::next_row`] has returned
    /// `None`.
    ///
    /// # Errors
    /// [`SplitError::Empty`], [`SplitError::NotJson`] and [`SplitError::Truncated`] if the body is not complete, and
    /// those of [`RowSplitter::next_row`].
    pub fn finish(&mut self) -> Result<Envelope, SplitError> {
        if self.next_row()?.is_some() {
            return Err(SplitError::Truncated);
        }
        match self.state {
            State::End => Ok(std::mem::take(&mut self.envelope)),
            State::Start if self.buffer[self.at..].is_empty() => Err(SplitError::Empty),
            State::Start => Err(SplitError::NotJson(self.found())),
            _ => Err(SplitError::Truncated),
        }
    }

    /// Goes on to the next state. False if the buffer holds too little for that.
    fn step(&mut self) -> Result<bool, SplitError> {
        if let State::InName(value) | State::InMember(value) = &mut self.state {
            let end = value.end(&self.buffer, self.at).map_err(|TooDeep| SplitError::TooDeep)?;
            self.at = end.unwrap_or(self.buffer.len());
            if self.at - self.start > ENVELOPE_LIMIT {
                // Only the end of the member is needed, so its text is not kept.
                self.dropped = true;
                self.start = self.at;
            }
            if end.is_some() {
                self.end_value()?;
            }
            return Ok(end.is_some());
        }
        self.at = space(&self.buffer, self.at);
        let Some(&byte) = self.buffer.get(self.at) else { return Ok(false) };
        self.start = self.at;
        let next = match (&self.state, byte) {
            (State::Start, _) => return self.begin(byte),
            (State::Element { .. }, b'{') => {
                // The scan begins with the brace itself.
                self.state = State::Row(Nesting::default());
                return Ok(true);
            }
            (State::Element { first: true } | State::AfterRow, b']') => self.after_rows(),
            (State::Element { .. }, b']' | b',' | b'}') => return Err(self.malformed("a row")),
            (State::Element { .. }, _) => return Err(SplitError::NotAnObject(self.found())),
            (State::AfterRow, b',') => State::Element { first: false },
            (State::AfterRow, _) => return Err(self.malformed("a comma or the end of the rows")),
            (State::Name { .. }, b'"') => State::InName(Value::String { escaped: false }),
            (State::Name { first: true } | State::AfterMember, b'}') => self.after_envelope()?,
            (State::Name { .. }, _) => return Err(self.malformed("the name of a member")),
            (State::Colon, b':') => State::Member,
            (State::Colon, _) => return Err(self.malformed("a colon")),
            (State::Member, b'[') if self.name == "value" => {
                if self.head.take().is_none() {
                    return Err(self.malformed("one array of rows only"));
                }
                State::Element { first: true }
            }
            (State::Member, b'"') => State::InMember(Value::String { escaped: false }),
            (State::Member, b'{' | b'[') => {
                self.state = State::InMember(Value::Nested(Nesting::default()));
                return Ok(true);
            }
            (State::Member, b',' | b'}' | b']') => return Err(self.malformed("a value")),
            (State::Member, _) => State::InMember(Value::Scalar),
            (State::AfterMember, b',') => State::Name { first: false },
            (State::AfterMember, _) => return Err(self.malformed("a comma or the end of the envelope")),
            (State::End, _) => {
                return Err(SplitError::TrailingGarbage(excerpt(&self.buffer[self.at..], 4096)));
            }
            (State::Row(_) | State::InName(_) | State::InMember(_), _) => return Ok(true),
        };
        self.state = next;
        self.at += 1;
        Ok(true)
    }

    /// The first byte of the body that is no white space.
    fn begin(&mut self, byte: u8) -> Result<bool, SplitError> {
        match byte {
            b'{' if self.single => self.state = State::Row(Nesting::default()),
            b'{' => {
                self.enveloped = true;
                self.state = State::Name { first: true };
                self.at += 1;
            }
            b'[' if self.single => return Err(SplitError::NotAnObject(self.found())),
            b'[' => {
                self.head = None;
                self.state = State::Element { first: true };
                self.at += 1;
            }
            _ => {
                let rest = &self.buffer[self.at..];
                if rest.starts_with(BOM) {
                    self.at += BOM.len();
                } else if rest.len() < 4 * 80 {
                    // Wait until a byte order mark, or enough text for the error message, has arrived.
                    return Ok(false);
                } else {
                    return Err(SplitError::NotJson(self.found()));
                }
            }
        }
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn after_rows(&self) -> State {
        if self.enveloped { State::AfterMember } else { State::End }
    }

    fn after_envelope(&mut self) -> Result<State, SplitError> {
        match (self.head.take(), self.reported.take()) {
            (Some(head), _) => Err(SplitError::NoRows(String::from_utf8_lossy(&head).into_owned())),
            (None, Some(error)) => Err(SplitError::Reported(error)),
            (None, None) => Ok(State::End),
        }
    }

    /// The name or member from `start` to `at` is complete.
    fn end_value(&mut self) -> Result<(), SplitError> {
        let raw = &self.buffer[self.start..self.at];
        let dropped = std::mem::take(&mut self.dropped);
        if let State::InName(_) = self.state {
            if dropped {
                return Err(SplitError::EnvelopeTooLarge);
            }
            self.name = text(raw).ok_or_else(|| self.malformed("the name of a member"))?;
            self.state = State::Colon;
            return Ok(());
        }
        match &self.name[..] {
            "@odata.nextLink" | "odata.nextLink" | "@nextLink" => {
                if dropped {
                    return Err(SplitError::EnvelopeTooLarge);
                }
                self.envelope.next_link = match raw {
                    b"null" => None,
                    _ => Some(text(raw).ok_or_else(|| self.malformed("a link"))?)
                        .filter(|link| !link.trim().is_empty()),
                };
            }
            // In a body without rows, the error is part of NoRows.
            "error" | "odata.error" | "@odata.error" | "exceptionMessage" if raw != b"null" => {
                self.reported = Some(excerpt(raw, ENVELOPE_LIMIT));
            }
            _ => {}
        }
        self.state = State::AfterMember;
        Ok(())
    }

    #[cold]
    fn malformed(&self, expected: &'static str) -> SplitError {
        SplitError::Malformed { expected, found: self.found() }
    }

    fn found(&self) -> String {
        excerpt(&self.buffer[self.start.min(self.at)..], 80)
    }
}

/// The text of a JSON string with its quotes.
fn text(raw: &[u8]) -> Option<String> {
    let inside = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = String::new();
    unescape(inside, inside.contains(&b'\\'), &mut text).ok()?;
    Some(text)
}
