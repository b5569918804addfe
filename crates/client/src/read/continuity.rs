//! Checks whether the pages of a scan fit together.
//!
//! Pages are cut by position (`$skip`), so a row inserted or deleted before the cut while the scan runs moves all later
//! rows by one: an insert repeats a row, a delete silently loses one. Each page therefore begins one row *before* its
//! first new row. If that row is known, nothing was lost, and known rows are dropped. If it is unknown, the page began
//! too late and is requested again from further back.
//!
//! A row is known by its key. Without a key it is known by its `id` if ids stay the same, else by its content: entities
//! without NoteID get a new `id` in each answer (docs/acumatica.md section 2). Which of the two holds is seen when a
//! page begins with a row that was read before.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::error::{Error, ErrorKind, Result};

/// The rows that a scan has read.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    by: By,
    /// Hashes of the identities: nine bytes for each row. Two rows have the same hash once in 10^6 scans of 10^7 rows,
    /// and the result is an error, not wrong rows.
    seen: HashSet<u64>,
    /// Hashes of the contents of rows without a key.
    contents: HashSet<u64>,
    /// Two rows have the same content.
    repeats: bool,
    /// A row was recognised by its id.
    ids_stay: bool,
    hasher: RandomState,
    /// The last row of the page before.
    anchor: Option<Mark>,
    /// The row before this one, and whether it stands on this page.
    previous: Option<Mark>,
    /// The row that the next page is to begin with, if it overlaps by one.
    last: Option<Mark>,
    /// The first row of the list.
    first: Option<Mark>,
    /// The first row of the current page.
    began: Option<Mark>,
    /// Whether that was the last row of the page before, or the first row of the list.
    at_last: bool,
    at_first: bool,
    page: PageState,
    /// Two adjacent rows had the same identity.
    ambiguous: bool,
    /// A row had no identity: from then on nothing can be checked.
    blind: bool,
}

/// What identifies a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    #[default]
    Key,
    /// An id, which may change with each answer.
    Id,
    /// The content of the row, since ids change with each answer.
    Content,
}

/// A row.
#[derive(Clone, Copy, Debug)]
struct Mark {
    identity: u64,
    content: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PageState {
    /// Rows must be new: on the first page, and on pages that the server cut.
    #[default]
    AllNew,
    /// The next row is the first of a page that overlaps the one before.
    First,
    /// Rows before the anchor row.
    Overlap,
    /// Rows after the anchor row.
    Beyond,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Behind all rows delivered.
    Fresh,
    /// Among the rows delivered: its first row must be known.
    Overlap,
    /// At the first row of the list again: nothing can be missing before it.
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
    /// Of rows that have an id instead of a key.
    pub fn by_id() -> Self {
        Self { by: By::Id, ..Self::default() }
    }

    /// Whether there was a row.
    pub fn has_begun(&self) -> bool {
        self.blind || self.anchor.is_some()
    }

    /// Whether the page had to begin with a known row, and no row has come.
    pub fn awaits_known(&self) -> bool {
        self.page == PageState::First
    }

    /// Whether the page began with the last row of the one before.
    pub fn began_at_last(&self) -> bool {
        self.at_last
    }

    /// Whether the page began with the first row of the list.
    pub fn began_at_first(&self) -> bool {
        self.at_first
    }

    /// Whether ids have been the same in each answer so far.
    pub fn ids_stay(&self) -> bool {
        self.ids_stay && self.by == By::Id
    }

    /// Begins a page.
    pub fn begin_page(&mut self, cut: Cut) {
        self.page = match cut {
            Cut::Fresh => PageState::AllNew,
            Cut::Overlap => PageState::First,
            Cut::Start => PageState::Overlap,
        };
        self.previous = None;
        self.began = None;
        (self.at_last, self.at_first) = (false, false);
    }

    /// Ends a page that was read completely or up to a failure. Its last row is the new anchor, unless that is before
    /// the old one.
    pub fn end_page(&mut self) {
        if matches!(self.page, PageState::AllNew | PageState::Beyond) {
            self.anchor = self.previous.or(self.anchor);
        }
        self.at_last = self.same(self.began, self.last);
        self.at_first = self.same(self.began, self.first);
        self.last = self.previous.or(self.last);
        self.first = self.first.or(self.began);
    }

    /// Judges the next row of the page. `content` is a hash of its content, if that may be needed to recognise it.
    ///
    /// # Errors
    /// The order itself has changed, so that rows could be missing anywhere; or rows without a key cannot be
    /// distinguished.
    pub fn row(&mut self, identity: Option<&[u8]>, content: Option<u64>) -> Result<Verdict> {
        let Some(identity) = identity.filter(|_| !self.blind) else {
            self.blind = true;
            return Ok(Verdict::New);
        };
        let row = Mark { identity: self.hasher.hash_one(identity), content: content.unwrap_or_default() };
        if self.previous.is_none() {
            self.began = Some(row);
        }
        if self.by == By::Id && matches!(self.page, PageState::First | PageState::Overlap) {
            self.judge_ids(row)?;
        }
        let previous = self.previous.replace(row);
        let repeats_neighbour = self.same(previous, Some(row));
        let known = match self.by {
            By::Key | By::Id => self.seen.contains(&row.identity),
            By::Content => self.contents.contains(&row.content),
        };
        if self.page == PageState::First && !known {
            self.previous = None;
            return Ok(Verdict::Gap);
        }
        self.seen.insert(row.identity);
        if self.by != By::Key {
            let repeats = !self.contents.insert(row.content);
            self.repeats |= repeats && !known;
        }
        match self.page {
            _ if repeats_neighbour => {
                self.ambiguous = true;
                return Ok(Verdict::New);
            }
            // On the first page rows cannot have moved.
            PageState::AllNew if known && self.anchor.is_none() => {
                self.ambiguous = true;
                return Ok(Verdict::New);
            }
            PageState::AllNew | PageState::Beyond if known => {
                self.check_pageable()?;
                return Err(moved());
            }
            // It cannot be known whether the row is new or has other values than before.
            PageState::Overlap if !known && self.by != By::Key => return Err(moved()),
            _ => {}
        }
        if self.page == PageState::First {
            self.page = PageState::Overlap;
        }
        if self.page == PageState::Overlap && self.same(self.anchor, Some(row)) {
            self.page = PageState::Beyond;
        }
        Ok(if known { Verdict::Known } else { Verdict::New })
    }

    /// A row that must have been read before shows whether ids stay the same.
    fn judge_ids(&mut self, row: Mark) -> Result<()> {
        if self.seen.contains(&row.identity) {
            self.ids_stay = true;
        } else if self.contents.contains(&row.content) {
            self.by = By::Content;
            // If contents repeat, or if other ids have stayed the same, it is not known which row this is.
            if self.repeats || self.ids_stay {
                self.ambiguous = true;
                return Err(ambiguous());
            }
        }
        Ok(())
    }

    fn same(&self, one: Option<Mark>, other: Option<Mark>) -> bool {
        let (Some(one), Some(other)) = (one, other) else { return false };
        match self.by {
            By::Key | By::Id => one.identity == other.identity,
            By::Content => one.content == other.content,
        }
    }

    /// To be called once a page other than the first has brought rows.
    ///
    /// # Errors
    /// Rows cannot be distinguished, so it is not known whether the pages fit together.
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
    bad_key("the key of the table is not unique", "Two rows have the same key")
}

/// A row has no key.
pub(crate) fn no_identity() -> Error {
    bad_key("rows of the server have no key", "A row has no value in one of the key's fields")
}

fn bad_key(message: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Definition, message)
        .detail(format!("{detail}, so the rows cannot be read in several requests without losing some."))
        .hint(
            "Give the option \"key\" to as many columns as make rows unique. If none do, raise the option \
             \"page_size\" of the table above the number of its rows, or restrict the query.",
        )
}

/// The error for rows that have moved or changed.
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
            verdicts.push(continuity.row(Some(row.to_string().as_bytes()), None)?);
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
        // The inserted row may come as well.
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
        // The page begins further back and ends, or breaks, before the anchor.
        assert_eq!(page(&mut continuity, Cut::Overlap, "bc").unwrap(), [Known, Known]);
        assert_eq!(page(&mut continuity, Cut::Overlap, "cdefg").unwrap(), [Known, Known, Known, Known, New]);
        assert_eq!(page(&mut continuity, Cut::Overlap, "gh").unwrap(), [Known, New]);
    }

    #[test]
    fn a_first_page_that_repeats_a_key_has_a_bad_key_not_a_moved_row() {
        let mut continuity = after("abca");
        assert!(continuity.check_pageable().is_err());
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
        // The second row of such a pair may be just after the cut.
        let mut continuity = after("ab");
        assert_eq!(page(&mut continuity, Cut::Overlap, "bb").unwrap(), [Known, New]);
        assert!(continuity.check_pageable().is_err());
        assert!(after("abc").check_pageable().is_ok());
    }

    #[test]
    fn without_identity_nothing_is_claimed() {
        let mut continuity = after("ab");
        continuity.begin_page(Cut::Overlap);
        assert_eq!(continuity.row(None, None).unwrap(), New);
        assert!(continuity.check_pageable().is_err());
    }

    /// Rows as `(id, content)`.
    fn page_of(continuity: &mut Continuity, cut: Cut, rows: &[(&str, u64)]) -> Result<Vec<Verdict>> {
        continuity.begin_page(cut);
        let mut verdicts = Vec::new();
        for (id, content) in rows {
            verdicts.push(continuity.row(Some(id.as_bytes()), Some(*content))?);
            if verdicts.ends_with(&[Gap]) {
                return Ok(verdicts);
            }
        }
        continuity.end_page();
        Ok(verdicts)
    }

    fn without_key(rows: &[(&str, u64)]) -> Continuity {
        let mut continuity = Continuity::by_id();
        page_of(&mut continuity, Cut::Fresh, rows).unwrap();
        continuity
    }

    #[test]
    fn issue_12_2_4_rows_are_known_by_what_they_say_where_ids_are_random() {
        let mut continuity = without_key(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(page_of(&mut continuity, Cut::Overlap, &[("x", 3), ("y", 4)]).unwrap(), [Known, New]);
        assert!(continuity.began_at_last());
        assert_eq!(page_of(&mut continuity, Cut::Overlap, &[("z", 4)]).unwrap(), [Known]);
        assert!(continuity.began_at_last() && !continuity.ids_stay());
        // A row that was not read before is a gap, as with keys.
        assert_eq!(page_of(&mut continuity, Cut::Overlap, &[("z", 7)]).unwrap(), [Gap]);
        // A row with another content, among those read before, may be one of them.
        let error = page_of(&mut continuity, Cut::Overlap, &[("z", 2), ("z2", 9)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RowsMoved);
    }

    #[test]
    fn issue_12_2_4_rows_that_say_the_same_are_told_apart_by_ids_that_stay() {
        let mut continuity = without_key(&[("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(page_of(&mut continuity, Cut::Overlap, &[("c", 1), ("d", 1)]).unwrap(), [Known, New]);
        assert!(continuity.ids_stay());
    }

    #[test]
    fn issue_12_2_4_rows_that_say_the_same_and_have_random_ids_cannot_be_paged() {
        let mut continuity = without_key(&[("a", 1), ("b", 1), ("c", 3)]);
        let error = page_of(&mut continuity, Cut::Overlap, &[("x", 3), ("y", 4)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Definition);
        let mut continuity = without_key(&[("a", 1), ("b", 2)]);
        assert_eq!(
            page_of(&mut continuity, Cut::Overlap, &[("x", 2), ("y", 3), ("z", 3)]).unwrap(),
            [Known, New, New]
        );
        assert!(continuity.check_pageable().is_err());
    }
}
