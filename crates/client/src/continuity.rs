//! Whether the pages of a scan fit together.
//!
//! Pages are cut by position (`$skip`), so a row inserted or deleted before the cut while the scan
//! runs moves all later rows by one place: an insert repeats a row, a delete silently loses one. Each
//! page therefore begins one row *before* its first new row. If that row is known, nothing was lost;
//! rows known already are dropped; if it is unknown, the page began too late and is asked for again
//! from further back.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::error::{Error, ErrorKind, Result};

/// What a scan knows of the rows it has had.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    /// Of identities only a hash is kept: nine bytes a row, and a mistake once in 10^6 scans of 10^7
    /// rows, which would end in an error, not in wrong rows.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// The last row of the page before.
    anchor: Option<u64>,
    /// The row before this one, and whether it stands on this page.
    previous: Option<u64>,
    page: PageState,
    /// Two rows with one identity stood side by side.
    ambiguous: bool,
    /// A row had no identity: nothing can be said from then on.
    blind: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PageState {
    /// Rows are to be new: the first page, and pages that the server itself cut.
    #[default]
    AllNew,
    /// The next row is the first of a page that overlaps the one before.
    First,
    /// Rows before the anchor.
    Overlap,
    /// Rows after the anchor.
    Beyond,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Behind all rows delivered.
    Fresh,
    /// Among the rows delivered: its first row is to be known.
    Overlap,
    /// At the very first row, again: before it nothing can be missing.
    Start,
}

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// It was delivered before.
    Known,
    /// Rows may be missing before this page: begin it further back.
    Gap,
}

impl Continuity {
    /// Whether there was a row.
    pub fn has_begun(&self) -> bool {
        self.blind || self.anchor.is_some()
    }

    /// Whether pages can be made to overlap, because rows can be told apart.
    pub fn can_overlap(&self) -> bool {
        !self.blind && !self.ambiguous && self.anchor.is_some()
    }

    /// Whether a page was to begin with a known row, and none has come.
    pub fn awaits_known(&self) -> bool {
        self.page == PageState::First
    }

    /// A page begins.
    pub fn begin_page(&mut self, cut: Cut) {
        self.page = match cut {
            Cut::Fresh => PageState::AllNew,
            Cut::Overlap => PageState::First,
            Cut::Start => PageState::Overlap,
        };
        self.previous = None;
    }

    /// A page was read, wholly or up to where it broke. Its last row is the new anchor, unless it ended
    /// among the rows before the old one.
    pub fn end_page(&mut self) {
        if matches!(self.page, PageState::AllNew | PageState::Beyond) {
            self.anchor = self.previous.or(self.anchor);
        }
    }

    /// Judges the next row of the page.
    ///
    /// # Errors
    /// The order itself changed, so that rows could be missing anywhere.
    pub fn row(&mut self, identity: Option<&[u8]>) -> Result<Verdict> {
        let Some(identity) = identity.filter(|_| !self.blind) else {
            self.blind = true;
            return Ok(Verdict::New);
        };
        let row = self.hasher.hash_one(identity);
        let repeats_neighbour = self.previous.replace(row) == Some(row);
        let known = !self.seen.insert(row);
        match self.page {
            PageState::First if !known => {
                self.seen.remove(&row);
                return Ok(Verdict::Gap);
            }
            _ if repeats_neighbour => {
                self.ambiguous = true;
                return Ok(Verdict::New);
            }
            // Within the first page nothing can have moved.
            PageState::AllNew if known && self.anchor.is_none() => {
                self.ambiguous = true;
                return Ok(Verdict::New);
            }
            PageState::AllNew | PageState::Beyond if known => {
                self.check_pageable()?;
                return Err(moved());
            }
            _ => {}
        }
        if self.page == PageState::First {
            self.page = PageState::Overlap;
        }
        if self.page == PageState::Overlap && self.anchor == Some(row) {
            self.page = PageState::Beyond;
        }
        Ok(if known { Verdict::Known } else { Verdict::New })
    }

    /// To be called once a page other than the first has brought rows.
    ///
    /// # Errors
    /// Rows cannot be told apart, so nothing says whether the pages fit together.
    pub fn check_pageable(&self) -> Result<()> {
        match (self.ambiguous, self.blind) {
            (false, false) => Ok(()),
            (true, _) => Err(ambiguous()),
            (_, true) => Err(no_identity()),
        }
    }
}

/// Two rows have the same key.
pub(crate) fn ambiguous() -> Error {
    bad_key("the key of the table does not tell its rows apart", "Two rows have the same key")
}

/// A row has no key.
pub(crate) fn no_identity() -> Error {
    bad_key("the rows of the server lack their key", "A row came without one of the key's fields")
}

fn bad_key(message: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Definition, message)
        .detail(format!("{detail}, so the rows cannot be read in several requests without losing some."))
        .hint(
            "Give the option \"key\" to as many columns as make rows unique, or to none: then the key is looked up in \
             the $metadata of the instance.",
        )
}

/// Rows are no longer where they were, or what they were.
pub(crate) fn moved() -> Error {
    Error::new(ErrorKind::RowsMoved, "rows changed places on the server while they were read")
        .detail("A row came a second time, so others may be missing.")
        .hint(
            "Run the query again. If it stays, the columns with the option \"key\" do not make rows unique.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    fn page(continuity: &mut Continuity, cut: Cut, rows: &str) -> Result<Vec<Verdict>> {
        continuity.begin_page(cut);
        let mut verdicts = Vec::new();
        for row in rows.chars() {
            verdicts.push(continuity.row(Some(row.to_string().as_bytes()))?);
            if verdicts.ends_with(&[Gap]) {
                return Ok(verdicts);
            }
        }
        continuity.end_page();
        Ok(verdicts)
    }

    fn after(rows: &str) -> Continuity {
        let mut continuity = Continuity::default();
        assert!(page(&mut continuity, Cut::Fresh, rows).unwrap().iter().all(|v| *v == New));
        continuity
    }

    #[test]
    fn nothing_moved() {
        assert_eq!(page(&mut after("abc"), Cut::Overlap, "cde").unwrap(), [Known, New, New]);
    }

    #[test]
    fn an_insert_before_the_cut_repeats_rows_which_are_dropped() {
        assert_eq!(page(&mut after("abc"), Cut::Overlap, "bcde").unwrap(), [Known, Known, New, New]);
        // The inserted row itself may come along.
        assert_eq!(page(&mut after("abc"), Cut::Overlap, "bxcd").unwrap(), [Known, New, Known, New]);
    }

    #[test]
    fn a_delete_before_the_cut_is_a_gap_until_the_page_begins_further_back() {
        let mut continuity = after("abc");
        assert_eq!(page(&mut continuity, Cut::Overlap, "d").unwrap(), [Gap]);
        assert_eq!(page(&mut continuity, Cut::Overlap, "cde").unwrap(), [Known, New, New]);
    }

    #[test]
    fn at_the_very_start_nothing_can_be_missing() {
        let mut continuity = after("abc");
        assert_eq!(page(&mut continuity, Cut::Start, "de").unwrap(), [New, New]);
    }

    #[test]
    fn the_anchor_stays_until_it_is_met_again() {
        let mut continuity = after("abcdef");
        // Stepped back, and the page ends, or breaks, before the anchor.
        assert_eq!(page(&mut continuity, Cut::Overlap, "bc").unwrap(), [Known, Known]);
        assert_eq!(page(&mut continuity, Cut::Overlap, "cdefg").unwrap(), [Known, Known, Known, Known, New]);
        assert_eq!(page(&mut continuity, Cut::Overlap, "gh").unwrap(), [Known, New]);
    }

    #[test]
    fn a_first_page_that_repeats_a_key_has_a_bad_key_not_a_moved_row() {
        let mut continuity = after("abca");
        assert!(!continuity.can_overlap());
        assert_eq!(page(&mut continuity, Cut::Fresh, "a").unwrap_err().kind, ErrorKind::Definition);
    }

    #[test]
    fn a_row_that_repeats_beyond_the_cut_is_an_error() {
        assert_eq!(page(&mut after("abc"), Cut::Overlap, "cda").unwrap_err().kind, ErrorKind::RowsMoved);
        assert_eq!(page(&mut after("abc"), Cut::Fresh, "db").unwrap_err().kind, ErrorKind::RowsMoved);
    }

    #[test]
    fn a_key_that_is_not_unique_forbids_paging() {
        let continuity = after("abbc");
        assert_eq!(continuity.check_pageable().unwrap_err().kind, ErrorKind::Definition);
        // The second half of such a pair may stand right behind the cut.
        let mut continuity = after("ab");
        assert_eq!(page(&mut continuity, Cut::Overlap, "bb").unwrap(), [Known, New]);
        assert!(continuity.check_pageable().is_err());
        assert!(after("abc").check_pageable().is_ok());
    }

    #[test]
    fn without_identity_nothing_is_claimed() {
        let mut continuity = after("ab");
        continuity.begin_page(Cut::Overlap);
        assert_eq!(continuity.row(None).unwrap(), New);
        assert!(!continuity.can_overlap());
    }
}
