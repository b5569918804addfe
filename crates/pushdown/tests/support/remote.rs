//! A server, as far as it reads conditions: a parser of what is printed, and what it makes of a row.

use std::collections::HashMap;

use super::number::Number;

/// What a server has in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// In minutes since 1970.
    Moment(i64),
    Uuid(String),
    /// What is shown is not what is compared: a code, or a date in the culture of the user.
    Otherwise,
}

/// What servers may do differently.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// `null ne 5` is true.
    pub null_differs: bool,
    /// All letters have a case, else those of ASCII only.
    pub knows_unicode: bool,
}

/// Whether a row meets a condition. Panics if it is none.
pub fn keeps(condition: &str, row: &HashMap<&str, Stored>, habits: Habits) -> bool {
    let mut reader = Reader { rest: condition, row, habits };
    let kept = reader.or();
    assert_eq!(reader.rest, "", "{condition}");
    kept
}

struct Reader<'a> {
    rest: &'a str,
    row: &'a HashMap<&'a str, Stored>,
    habits: Habits,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, word: &str) {
        assert!(self.takes(word), "{word:?} expected before {:?}", self.rest);
    }

    fn or(&mut self) -> bool {
        let mut kept = self.and();
        while self.takes(" or ") {
            kept |= self.and();
        }
        kept
    }

    fn and(&mut self) -> bool {
        let mut kept = self.test();
        while self.takes(" and ") {
            kept &= self.test();
        }
        kept
    }

    fn test(&mut self) -> bool {
        if self.takes("(") {
            let kept = self.or();
            self.expect(")");
            return kept;
        }
        for function in ["startswith(", "contains("] {
            if self.takes(function) {
                let subject = self.subject();
                self.expect(",");
                let text = self.folded(&self.clone_text());
                self.skip_text();
                self.expect(")");
                return subject.is_some_and(|subject| match function {
                    "startswith(" => subject.starts_with(&text),
                    _ => subject.contains(&text),
                });
            }
        }
        if self.takes("substringof(") {
            let text = self.folded(&self.clone_text());
            self.skip_text();
            self.expect(",");
            let subject = self.subject();
            self.expect(")");
            return subject.is_some_and(|subject| subject.contains(&text));
        }
        if self.rest.starts_with("tolower(") {
            let subject = self.subject();
            self.expect(" eq ");
            let text = self.folded(&self.clone_text());
            self.skip_text();
            return subject
                .is_some_and(|subject| subject.trim_end_matches(' ') == text.trim_end_matches(' '));
        }
        let field = self.field();
        let operator = self.word();
        if operator == "in" {
            self.expect("(");
            let mut kept = false;
            loop {
                let word = self.literal();
                kept |= self.compares(&field, "eq", &word);
                if !self.takes(",") {
                    break;
                }
            }
            self.expect(")");
            return kept;
        }
        let word = self.literal();
        self.compares(&field, &operator, &word)
    }

    /// Whether a comparison keeps the row.
    fn compares(&self, field: &str, operator: &str, word: &str) -> bool {
        let stored = &self.row[field];
        if word == "null" {
            return match operator {
                "eq" => *stored == Stored::Null,
                "ne" => *stored != Stored::Null,
                other => panic!("null {other}"),
            };
        }
        let order = match stored {
            Stored::Null => return operator == "ne" && self.habits.null_differs,
            Stored::Otherwise => return operator == "ne",
            Stored::Bool(own) => own.cmp(&word.parse().unwrap()),
            Stored::Number(own) => own.cmp(&Number::of(word.trim_end_matches('M'))),
            Stored::Text(own) => {
                let folded = |text: &str| self.folded(text).trim_end_matches(' ').to_owned();
                folded(own).cmp(&folded(&text(word)))
            }
            Stored::Moment(own) => own.cmp(&minutes(word)),
            Stored::Uuid(own) => own.as_str().cmp(word.trim_start_matches("guid").trim_matches('\'')),
        };
        match operator {
            "eq" => order.is_eq(),
            "ne" => order.is_ne(),
            "lt" => order.is_lt(),
            "le" => order.is_le(),
            "gt" => order.is_gt(),
            "ge" => order.is_ge(),
            other => panic!("operator {other}"),
        }
    }

    /// A field of text, whose case does not count here.
    fn subject(&mut self) -> Option<String> {
        let lower = self.takes("tolower(");
        let field = self.field();
        if lower {
            self.expect(")");
        }
        match &self.row[field.as_str()] {
            Stored::Text(text) => Some(self.folded(text)),
            _ => None,
        }
    }

    fn folded(&self, text: &str) -> String {
        if self.habits.knows_unicode { text.to_lowercase() } else { text.to_ascii_lowercase() }
    }

    fn field(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        assert!(self.row.contains_key(field), "field {field:?} before {rest:?}");
        self.rest = rest;
        field.to_owned()
    }

    fn word(&mut self) -> String {
        let (word, rest) = self.rest[1..].split_once(' ').unwrap();
        self.rest = rest;
        word.to_owned()
    }

    /// A literal as it is written, quotes and all.
    fn literal(&mut self) -> String {
        let mut quoted = false;
        let is_end = |c: char| {
            quoted ^= c == '\'';
            !quoted && " ),".contains(c)
        };
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        self.rest = rest;
        literal.to_owned()
    }

    /// The text in quotes that comes next.
    fn clone_text(&self) -> String {
        text(&self.rest[..text_length(self.rest)])
    }

    fn skip_text(&mut self) {
        self.rest = &self.rest[text_length(self.rest)..];
    }
}

fn text_length(rest: &str) -> usize {
    assert!(rest.starts_with('\''), "a text expected before {rest:?}");
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return at + 1,
            _ => at += 1,
        }
    }
}

fn text(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).expect("a text");
    inner.replace("''", "'")
}

/// A moment in any of the forms that it is written in, in minutes since 1970.
fn minutes(literal: &str) -> i64 {
    let bare = literal.trim_start_matches("datetimeoffset").trim_start_matches("datetime").trim_matches('\'');
    let bare = bare.trim_end_matches('Z').trim_end_matches("+00:00");
    let moment: chrono::NaiveDateTime = bare.parse().unwrap_or_else(|_| panic!("a moment: {literal:?}"));
    moment.and_utc().timestamp().div_euclid(60)
}
