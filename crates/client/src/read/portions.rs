//! What the portions of a list have brought: a row that meets the conditions of two of them is to come once.

use std::collections::HashMap;

use crate::error::Result;
use crate::read::continuity;

/// The rows of all portions so far.
#[derive(Debug, Default)]
pub(crate) struct Portions {
    rows: HashMap<Vec<u8>, Origin>,
    /// The portion that rows without a key came in, by what they say.
    contents: HashMap<u64, usize>,
    /// Whether ids are the same in each answer; unknown before a row has come twice.
    ids_stay: Option<bool>,
}

/// Where a row came.
#[derive(Debug)]
struct Origin {
    portion: usize,
    content: u64,
    /// Other rows of the portion have the same key.
    repeats: bool,
}

impl Portions {
    /// Whether another portion has brought a row of this key. That of an inquiry `may_repeat`.
    ///
    /// # Errors
    /// Nothing tells it from another row, or it has changed meanwhile.
    pub fn judge(&mut self, portion: usize, key: &[u8], content: u64, may_repeat: bool) -> Result<bool> {
        let Some(known) = self.rows.get_mut(key) else {
            self.rows.insert(key.to_owned(), Origin { portion, content, repeats: false });
            return Ok(false);
        };
        if known.portion == portion {
            // Within a portion the same row is known by its place.
            known.repeats = true;
            return if may_repeat { Ok(false) } else { Err(continuity::ambiguous()) };
        }
        match (known.repeats, known.content == content) {
            (true, _) => Err(continuity::ambiguous()),
            (false, false) => Err(continuity::moved()),
            (false, true) => Ok(true),
        }
    }

    /// Whether another portion has brought a record, of which there is an id, and what it says.
    ///
    /// # Errors
    /// Another portion has brought one that says the same, and ids tell nothing.
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

    /// Whether ids were seen to stay in a portion.
    pub fn ids_stay(&mut self, stay: bool) {
        self.ids_stay = Some(stay && self.ids_stay != Some(false));
    }

    /// A portion is read again from the beginning.
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
        // Another one that says the same.
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
