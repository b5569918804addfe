//! The rows of the portions of a list. A row that meets the conditions of two portions must come once.

use std::collections::HashMap;

use crate::error::Result;
use crate::read::continuity;

/// The rows of all portions so far.
#[derive(Debug, Default)]
pub(crate) struct Portions {
    rows: HashMap<Vec<u8>, Origin>,
    /// The portion of each row without a key, by content.
    contents: HashMap<u64, usize>,
    /// Whether ids are the same in each answer; unknown before a row has come twice.
    ids_stay: Option<bool>,
}

/// The portion of a row, and its content.
#[derive(Debug)]
struct Origin {
    portion: usize,
    content: u64,
    /// Other rows of the portion have the same key.
    repeats: bool,
}

impl Portions {
    /// Whether another portion has brought a row with this key. Keys of an inquiry `may_repeat`.
    ///
    /// # Errors
    /// The row cannot be distinguished from another one, or it has changed meanwhile.
    pub fn judge(&mut self, portion: usize, key: &[u8], content: u64, may_repeat: bool) -> Result<bool> {
        let Some(known) = self.rows.get_mut(key) else {
            self.rows.insert(key.to_owned(), Origin { portion, content, repeats: false });
            return Ok(false);
        };
        if known.portion == portion {
            // Rows within a portion are distinguished by their position.
            known.repeats = true;
            return if may_repeat { Ok(false) } else { Err(continuity::ambiguous()) };
        }
        match (known.repeats, known.content == content) {
            (true, _) => Err(continuity::ambiguous()),
            (false, false) => Err(continuity::moved()),
            (false, true) => Ok(true),
        }
    }

    /// Whether another portion has brought the record with this id and content.
    ///
    /// # Errors
    /// Another portion has brought a record with the same content, and ids change.
    pub fn judge_record(&mut self, portion: usize, id: &[u8], content: u64) -> Result<bool> {
        match self.rows.get(id) {
            Some(known) if known.portion != portion => return Ok(true),
            Some(_) => {}
            None => {
                self.rows.insert(id.to_owned(), Origin { portion, content, repeats: false });
            }
        }
        match *self.contents.entry(content).or_insert(portion) {
            first if first != portion && self.ids_stay != Some(true) => Err(continuity::ambiguous()),
            _ => Ok(false),
        }
    }

    /// Whether any portion has brought a row.
    pub fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Records whether ids stayed the same in a portion.
    pub fn ids_stay(&mut self, stay: bool) {
        self.ids_stay = Some(stay && self.ids_stay != Some(false));
    }

    /// Removes the rows of a portion that is read again.
    pub fn forget(&mut self, portion: usize) {
        self.rows.retain(|_, origin| origin.portion != portion);
        self.contents.retain(|_, first| *first != portion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_2_4_a_record_in_two_portions_is_known_by_an_id_that_stays() {
        let mut portions = Portions::default();
        assert!(!portions.judge_record(0, b"a", 1).unwrap());
        portions.ids_stay(true);
        assert!(portions.judge_record(1, b"a", 1).unwrap());
        // Another record with the same content.
        assert!(!portions.judge_record(1, b"b", 1).unwrap());
    }

    #[test]
    fn issue_12_2_4_a_record_of_random_id_that_says_the_same_may_be_the_same() {
        let mut portions = Portions::default();
        assert!(!portions.judge_record(0, b"a", 1).unwrap());
        assert!(!portions.judge_record(0, b"b", 1).unwrap());
        portions.ids_stay(false);
        assert!(!portions.judge_record(1, b"c", 2).unwrap());
        assert!(portions.judge_record(1, b"d", 1).is_err());
    }

    #[test]
    fn issue_12_2_6_keys_of_inquiries_may_repeat_within_a_portion_only() {
        let mut portions = Portions::default();
        assert!(!portions.judge(0, b"k", 1, true).unwrap());
        assert!(!portions.judge(0, b"k", 2, true).unwrap());
        assert!(portions.judge(1, b"k", 2, true).is_err());
        assert!(portions.judge(0, b"k", 1, false).is_err());
        let mut portions = Portions::default();
        assert!(!portions.judge(0, b"k", 1, true).unwrap());
        assert!(portions.judge(1, b"k", 1, true).unwrap());
        assert!(portions.judge(1, b"k", 2, true).is_err());
    }
}
