//! Reads one list of a scan page by page.
//!
//! This file chooses the next page; [`arrival`] reads one answer, [`checks`] checks what arrived.

mod arrival;
mod checks;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use acumatica_pushdown::{Dialect, Literal};
use reqwest::header::HeaderMap;

use crate::decode::{Batch, RowDecoder};
use crate::dialect::{Content, KeyField, Listing, Page, from_row};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::learnt::{self, Topic};
use crate::metadata::site::Site;
use crate::read::continuity::{self, Continuity, Cut};
use crate::read::parameters;
use crate::read::portions::Portions;
use crate::read::refusal::may_be_of_condition;
use crate::read::scan::{Counters, Shared};
use crate::read::supplement::PendingRows;
use crate::request::ScanRequest;
use crate::session::access::Access;
use crate::session::lease::Lease;

/// A batch is delivered when it has this many bytes, or when the consumer waits.
const BATCH_BYTES: usize = 64 * 1024;
/// A page has as many rows as decode to about this many bytes, at most `page_size`. Two pages are in memory at a time.
const PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// A page that becomes this large is abandoned, and the scan goes on behind its rows with a smaller one.
const OVERSIZED_PAGE: u64 = 4 * PAGE_BYTES;
/// By which factor a page begins further back each time rows were missing.
const STEP_BACK: u64 = 16;
/// By how many pages it begins further back at most, in the size that the server sends: each takes a request.
const STEP_BACK_PAGES: u64 = 8;
/// How many rows each page overlaps at most if rows before it disappear again and again, so that this takes no further
/// requests.
const LONGEST_OVERLAP: u64 = 64;

/// How a server fails to begin pages where `$skip` says, and how that was detected.
const IGNORED: (&str, &str) =
    ("ignores $skip in the list", "Each page begins with the first row of the list, whatever $skip says.");
const NOTHING: (&str, &str) =
    ("sends nothing for $skip in the list", "A page that was to begin with the last row read had no rows.");
const ELSEWHERE: (&str, &str) = (
    "does not begin pages where $skip says in the list",
    "Several pages did not begin with the last row of the page before.",
);

/// The rows of a request for one set of values of its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub site: &'a Arc<Site>,
    pub request: &'a ScanRequest,
    /// The values of the parameters, in their order.
    pub values: &'a [Option<Literal>],
    pub shared: &'a Shared,
}

/// The state of a list between two rows.
pub(crate) struct ListScan<'a, 'b> {
    site: &'a Arc<Site>,
    request: &'a ScanRequest,
    values: &'a [Option<Literal>],
    what: &'b str,
    shared: &'a Shared,
    headers: HeaderMap,
    /// Held during a request, and given back after it.
    lease: Option<Lease>,
    access: &'a mut Access<'b>,
    pub decoder: RowDecoder,
    continuity: Continuity,
    batch: Batch,
    /// The rows of the batch that wait for custom fields.
    pending: PendingRows,
    /// Rows have had all fields that every row should have.
    settled: bool,
    /// Columns that are NULL although no row has their field.
    vouched: Vec<usize>,
    /// The rows of the table so far; a record may have many details, or none.
    rows: u64,
    /// How many rows of the list have been read.
    position: u64,
    /// The new rows of the current page.
    page_rows: u64,
    /// Their decoded bytes.
    page_bytes: u64,
    /// The batches of the current page that were delivered.
    page_batches: usize,
    /// The other portions, if this list is one of several.
    pub elsewhere: Option<Elsewhere<'a>>,
    /// The contents of the rows in the batch and of those delivered, as long as all rows may have to be read again.
    given: Vec<u64>,
    /// Rows of this list have been delivered.
    handed_over: bool,
    /// While all rows are read again in one piece: how often each delivered row is still to come.
    again: Option<HashMap<u64, u32>>,
    /// How the server first failed to apply `$skip`.
    fault: Option<(&'static str, &'static str)>,
    keyset: Keyset,
}

/// The current portion of a list, and the rows of the others.
pub(crate) struct Elsewhere<'a> {
    pub portions: &'a mut Portions,
    pub portion: usize,
}

/// Whether pages begin from the key of the last row on, or else at its position.
#[derive(Debug, PartialEq, Eq)]
enum Keyset {
    Used,
    /// The server refused such a page, for this reason. That is remembered once it sends the page by position.
    Refused(String),
    Unused,
}

/// The name of a key in the memory of what the server refused ([`Topic::Keyset`]).
fn keyset_name(key: &[KeyField]) -> String {
    let names: Vec<&str> = key.iter().map(|field| field.name.as_str()).collect();
    names.join(", ")
}

/// How a page ended.
enum PageEnd {
    /// It was read completely.
    Done { next_link: Option<String> },
    /// Its first row shows that rows may be missing before it.
    Gap,
    /// It was left in the middle, because of its size or of a failure that has passed; go on at `position`.
    Broken,
    /// Rows cannot be distinguished, or have moved.
    Unclear(Error),
}

impl<'a, 'b> ListScan<'a, 'b> {
    pub fn new(
        call: Call<'a>,
        listing: &Listing,
        lease: Option<Lease>,
        access: &'a mut Access<'b>,
    ) -> Result<Self> {
        let Call { site, request, values, shared } = call;
        Ok(Self {
            continuity: match listing.content {
                Content::OfRecord => Continuity::by_id(),
                Content::OfRow | Content::Unneeded => Continuity::default(),
            },
            batch: Batch::new(request.columns.len()),
            pending: PendingRows::default(),
            settled: false,
            vouched: Vec::new(),
            rows: 0,
            position: request.offset,
            page_rows: 0,
            page_bytes: 0,
            page_batches: 0,
            elsewhere: None,
            given: Vec::new(),
            handed_over: false,
            again: None,
            fault: None,
            keyset: match &listing.keyset {
                Some(key) if !request.findings.refused_keysets.contains(&keyset_name(key)) => Keyset::Used,
                _ => Keyset::Unused,
            },
            site,
            request,
            values,
            what: access.what,
            shared,
            decoder: parameters::decoder(request, values, &listing.identity),
            headers: request.context.headers()?,
            lease,
            access,
        })
    }

    /// Reads a list in pages by position.
    ///
    /// A short page proves nothing: it is not known whether and how the server limits pages (docs/acumatica.md section
    /// 6). So the list ends where a page brings nothing but the row that it overlaps by. A next link says that there is
    /// more, but it is not followed: the server would cut by position as well, without the overlap that shows whether
    /// the rows have moved.
    pub async fn pages(&mut self, listing: &Listing) -> Result<()> {
        let mut top = u64::from(self.request.first_page);
        // How many rows the next page begins before the end of the rows read, and how many a page does if no rows were
        // missing.
        let (mut back, mut usual, mut gaps) = (1, 1, 0);
        // The most rows in an answer so far.
        let mut largest = 1;
        loop {
            if let Err(why) = self.continuity.check_pageable() {
                return self.whole(listing, why).await;
            }
            let first = !self.continuity.has_begun();
            let behind = self.position;
            let read = behind - self.request.offset;
            let overlap = if first { 0 } else { back.min(read) };
            self.position -= overlap;
            // With a condition on the key, the number of rows before does not matter.
            let from = match &listing.keyset {
                Some(key) if overlap == 1 && self.keyset == Keyset::Used => {
                    from_row(key, &self.decoder.identity_values(), Dialect::Dac)
                }
                _ => None,
            };
            let from = from.and_then(|from| listing.page_from(&from, top.max(2)));
            let cut = match overlap {
                0 => Cut::Fresh,
                _ if overlap == read && from.is_none() => Cut::Start,
                _ => Cut::Overlap,
            };
            // `page_size` limits the rows of a request, including the overlap. A long overlap may take several pages.
            let page = Page { skip: self.position, top: top.max(2) };
            let by_position =
                || if read == 0 { listing.opening(&listing.page(page)) } else { listing.page(page) };
            let url = self.site.connection.url(&from.clone().unwrap_or_else(by_position))?;
            let end = match self.page(listing, &url, Some(page), cut).await {
                Err(error) if from.is_some() && may_be_of_condition(error.kind) => {
                    // A failure that may pass is not blamed on the key.
                    let why = (!error.may_pass).then(|| error.message.clone());
                    self.keyset = why.map_or(Keyset::Unused, Keyset::Refused);
                    self.position = behind;
                    self.shared.idle.spend(|| error)?;
                    continue;
                }
                end => end?,
            };
            if !matches!(end, PageEnd::Broken) {
                self.remember_keyset(listing);
            }
            let rows = self.position - page.skip;
            let next_link = match end {
                PageEnd::Done { next_link } => next_link,
                PageEnd::Gap => {
                    // The row is gone, or the server orders by something else than it compares: from here on pages
                    // begin by position. The decoder's last row is one that was not read.
                    self.keyset = Keyset::Unused;
                    Counters::add(&self.shared.stats.retries, 1);
                    let nothing = rows == 0 && self.continuity.awaits_known();
                    let fault = *self.fault.get_or_insert(if nothing { NOTHING } else { ELSEWHERE });
                    // One for this request, and one for the request that repeats it.
                    self.shared.idle.spend(|| self.astray(fault))?;
                    self.shared.idle.spend(|| self.astray(fault))?;
                    self.position = behind;
                    // With small pages, many requests would be needed to read the rows between.
                    back =
                        (back * STEP_BACK).min((page.top - 1).min(largest * STEP_BACK_PAGES).max(back * 2));
                    gaps += 1;
                    if gaps > 1 {
                        usual = (usual * 4)
                            .min(LONGEST_OVERLAP)
                            .min(u64::from(self.request.page_size) / 2)
                            .max(1);
                    }
                    continue;
                }
                PageEnd::Broken => {
                    if self.position == page.skip {
                        self.position = behind;
                        continue;
                    }
                    back = 1;
                    if self.page_rows > 0 {
                        top = self.next_top();
                        self.check_fields(listing).await?;
                        self.hand_over();
                        self.keep_distance().await;
                    }
                    continue;
                }
                PageEnd::Unclear(why) => return self.whole(listing, why).await,
            };
            let short = rows < page.top;
            largest = rows.max(largest);
            self.check_fields(listing).await?;
            if self.page_rows == 0 {
                // The end of the list is proven only by a page with the last row alone. A page that begins elsewhere
                // may do so because the server ignores `$skip`, and one with more known rows, after which the server
                // may have cut it, lies among those read before.
                let is_last_alone = rows == 1 && self.continuity.began_at_last();
                if short && next_link.is_none() && (first || rows == 0 || is_last_alone) {
                    return Ok(());
                }
                let ignored = page.skip > 0 && read > 1 && self.continuity.began_at_first();
                let fault = *self.fault.get_or_insert(if ignored { IGNORED } else { ELSEWHERE });
                self.shared.idle.spend(|| match next_link {
                    Some(_) => self.fruitless(),
                    None => self.astray(fault),
                })?;
                // The server may have ignored the condition on the key.
                if from.is_some() {
                    self.keyset = Keyset::Unused;
                }
                back = 1;
                continue;
            }
            // New rows behind known ones are progress. If the list is read from the beginning again, rows that are all
            // new may be the same ones with other keys, without end.
            match cut {
                Cut::Overlap => self.shared.idle.refill(),
                Cut::Start if rows == self.page_rows => self.shared.idle.spend(|| self.astray(ELSEWHERE))?,
                _ => {}
            }
            if rows > self.page_rows * 2 {
                // The page had mostly known rows, as if it had begun elsewhere.
                let fault = self.fault.unwrap_or(ELSEWHERE);
                self.shared.idle.spend(|| self.astray(fault))?;
            }
            top = self.next_top();
            // The server may send fewer rows at a time than were requested.
            back = usual.min(rows / 2).min(top / 2).max(1);
            // If the list cannot be paged, all rows are read again; from the beginning if none was delivered.
            if self.continuity.check_pageable().is_ok() {
                self.hand_over();
            }
            // A short first page is nearly always the only one. So the request for the end of the list is sent without
            // waiting for the consumer.
            if !(first && short) {
                self.keep_distance().await;
            }
        }
    }

    /// The server has sent a page. If it refused the same page by key, the key is what it refuses.
    fn remember_keyset(&mut self, listing: &Listing) {
        if !matches!(self.keyset, Keyset::Refused(_)) {
            return;
        }
        let refused = std::mem::replace(&mut self.keyset, Keyset::Unused);
        if let (Keyset::Refused(why), Some(key)) = (refused, &listing.keyset) {
            let place = learnt::place(&self.request.target);
            self.site.learnt.add(Topic::Keyset, &place, &[keyset_name(key)], &why);
        }
    }

    /// Reads a list from the beginning in one piece, because its pages do not fit together: one answer is complete.
    /// Rows that were delivered before are recognised by their content, as often as they were delivered.
    async fn whole(&mut self, listing: &Listing, why: Error) -> Result<()> {
        if self.handed_over && listing.content == Content::Unneeded {
            return Err(why);
        }
        if !self.handed_over {
            self.batch = Batch::new(self.request.columns.len());
            self.pending = PendingRows::default();
            self.given.clear();
            if let Some(elsewhere) = &mut self.elsewhere {
                elsewhere.portions.forget(elsewhere.portion);
            }
        }
        self.shared.idle.spend(|| why)?;
        if self.position - self.request.offset >= u64::from(self.request.first_page) {
            self.shared.report.notice(
                format!("{} is read in one request", self.what),
                "No key identifies its rows, so they cannot be read page by page. Give the option key to \
                 columns that make rows unique, if there are any."
                    .to_owned(),
            );
        }
        let mut again = HashMap::new();
        for content in std::mem::take(&mut self.given) {
            *again.entry(content).or_insert(0) += 1;
        }
        self.again = Some(again);
        self.position = self.request.offset;
        self.given.clear();
        self.follow(listing, listing.whole(self.request.offset)).await?;
        if !self.again.take().is_some_and(|again| again.is_empty()) {
            return Err(continuity::moved());
        }
        self.check_whole(listing).await
    }

    /// Checks that the server has not cut short the answer: no row follows the last one.
    async fn check_whole(&mut self, listing: &Listing) -> Result<()> {
        let Some(skip) = self.position.checked_sub(1).filter(|last| *last >= self.request.offset) else {
            return Ok(());
        };
        self.hand_over();
        // Rows with the same key may come in another order, so any of them may be the last one.
        self.again = Some(std::mem::take(&mut self.given).into_iter().map(|content| (content, 1)).collect());
        let page = Page { skip, top: 2 };
        let url = self.site.connection.url(&listing.page(page))?;
        loop {
            self.position = skip;
            match self.page(listing, &url, Some(page), Cut::Fresh).await? {
                PageEnd::Broken => continue,
                PageEnd::Done { next_link: None } if self.page_rows == 0 && self.position == skip + 1 => {
                    return Ok(());
                }
                _ => {
                    let message = format!("the server may have cut {} short", self.what);
                    return Err(Error::new(ErrorKind::Protocol, message)
                        .detail("A request for its last row alone returned something else.")
                        .hint("Give the option \"key\" to columns that make rows unique, or restrict the query."));
                }
            }
        }
    }

    /// The number of rows of the list that have come.
    pub fn rows_read(&self) -> u64 {
        self.position - self.request.offset
    }

    /// Reads a list in one piece, or in the pieces that the server cuts it into.
    pub async fn links(&mut self, listing: &Listing) -> Result<()> {
        self.follow(listing, listing.opening(&listing.path_and_query())).await
    }

    async fn follow(&mut self, listing: &Listing, path_and_query: String) -> Result<()> {
        let mut url = self.site.connection.url(&path_and_query)?;
        let mut followed = HashSet::new();
        loop {
            let next_link = match self.page(listing, &url, None, Cut::Fresh).await? {
                PageEnd::Done { next_link } => next_link,
                PageEnd::Gap | PageEnd::Broken => continue,
                PageEnd::Unclear(why) => return Err(why),
            };
            self.check_fields(listing).await?;
            let Some(link) = next_link else { return Ok(()) };
            url = self.site.connection.config.instance.resolve_from(&url, &link).ok_or_else(|| {
                Error::new(ErrorKind::Protocol, format!("the server continues {} on another site", self.what))
                    .detail(format!("The next link is \"{}\".", link.split('?').next().unwrap_or_default()))
                    .hint("Set the option \"url\" to the address that the server uses for itself.")
            })?;
            if !followed.insert(url.clone()) {
                let message = format!("the server sent the same next link twice for {}", self.what);
                return Err(Error::new(ErrorKind::Protocol, message).detail("The links form a circle."));
            }
            if self.page_rows == 0 {
                self.shared.idle.spend(|| self.fruitless())?;
            }
        }
    }

    fn fruitless(&self) -> Error {
        Error::new(
            ErrorKind::Protocol,
            format!("the server has more rows of {}, but does not send them", self.what),
        )
        .detail("Its answers have no new rows, but say that there are more.")
    }

    /// The error for pages that begin elsewhere than asked.
    fn astray(&self, (what, detail): (&str, &str)) -> Error {
        Error::new(ErrorKind::Protocol, format!("the server {what} of {}", self.what)).detail(detail).hint(
            "Raise the option \"page_size\" of the table above the number of its rows, or restrict the query, so that \
             one page suffices.",
        )
    }

    /// The number of rows of the next page: as many as `page_size` and the memory allow.
    fn next_top(&self) -> u64 {
        let row_bytes = (self.page_bytes / self.page_rows.max(1)).max(1);
        u64::from(self.request.page_size).min((PAGE_BYTES / row_bytes).max(1))
    }

    /// Stays one page ahead of the consumer, and does not read ahead at all while the first page may suffice.
    async fn keep_distance(&self) {
        if self.position - self.request.offset <= u64::from(self.request.first_page) {
            self.shared.demand().await;
        } else {
            // The consumer reads the rest of the page just read while the next one arrives.
            self.shared.drained_to(self.page_batches.saturating_sub(1)).await;
        }
    }

    pub fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            let columns = self.request.columns.len();
            self.handed_over = true;
            self.page_batches += 1;
            self.shared.deliver(std::mem::replace(&mut self.batch, Batch::new(columns)));
        }
    }
}
