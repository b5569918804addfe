//! One list of a scan: page after page, each split into rows and decoded as it arrives.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::access::Access;
use crate::answer;
use crate::continuity::{self, Continuity, Cut, Verdict};
use crate::decode::{
    self, Batch, Cell, Column, ColumnType, DecodeError, RowDecoder, RowSplitter, SplitError,
};
use crate::dialect::{Listing, Page, from_row};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Dialect;
use crate::http::Request;
use crate::learnt::{self, Topic};
use crate::lease::Lease;
use crate::literal::Literal;
use crate::negotiate;
use crate::parameters;
use crate::refusal::may_be_of_condition;
use crate::request::{ScanRequest, Surface};
use crate::scan::{Counters, Shared};
use crate::session::Connection;
use crate::supplement::{Pending, check_none};
use crate::witness;

/// A batch is handed over when it is this large, or when the consumer has nothing else to do.
const BATCH_BYTES: usize = 64 * 1024;
/// A page is asked for in as many rows as decode to about this much, whatever `page_size` allows: two
/// pages are in memory at a time.
const PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// A page that turns out this large is left, and the scan goes on behind it with a smaller one.
const OVERSIZED_PAGE: u64 = 4 * PAGE_BYTES;
/// A larger row than this is not one of an ERP.
pub(crate) const MAX_ROW_BYTES: usize = 256 * 1024 * 1024;
/// How much further back a page begins each time rows were found to be missing.
const STEP_BACK: u64 = 16;
/// A server that sends pages without a new row, and says that there is more, is not asked forever.
const PAGES_WITHOUT_ROWS: u32 = 8;

/// The state of a list between rows.
pub(crate) struct Scan<'a, 'b> {
    connection: &'b Arc<Connection>,
    request: &'a ScanRequest,
    call: &'a [Option<Literal>],
    what: &'b str,
    shared: &'a Shared,
    headers: HeaderMap,
    /// Held during a request, and given back after it.
    lease: Option<Lease>,
    access: &'a mut Access<'b>,
    pub decoder: RowDecoder,
    continuity: Continuity,
    batch: Batch,
    /// Rows of the batch that custom fields are still to be asked for.
    pending: Pending,
    /// All fields have been met that every row has.
    settled: bool,
    /// Columns that are NULL where their field is in no row.
    vouched: Vec<usize>,
    /// Rows of the table that there have been; a record may have many details, or none.
    rows: u64,
    /// How many rows of the remote order lie behind us.
    position: u64,
    /// New rows of the page under way.
    page_rows: u64,
    /// Their decoded bytes.
    page_bytes: u64,
    /// Batches of it that were handed over.
    page_batches: usize,
    /// Where this is one of several portions of a list.
    pub elsewhere: Option<Elsewhere<'a>>,
    /// The server has refused to begin a page by a key.
    no_keyset: bool,
}

/// What portions of a list have brought.
pub(crate) struct Elsewhere<'a> {
    /// By the identity of each row the portion that it came in, and a hash of its content.
    pub rows: &'a mut HashMap<Vec<u8>, (usize, u64)>,
    /// The portion under way.
    pub portion: usize,
}

/// How a page ended.
enum PageEnd {
    /// Wholly read.
    Done { next_link: Option<String> },
    /// Its first row shows that rows may be missing before it.
    Gap,
    /// Left in the middle, for its size or for a failure that has passed; go on at `position`.
    Broken,
}

impl<'a, 'b> Scan<'a, 'b> {
    pub fn new(
        request: &'a ScanRequest,
        call: &'a [Option<Literal>],
        listing: &Listing,
        lease: Option<Lease>,
        access: &'a mut Access<'b>,
        shared: &'a Shared,
    ) -> Result<Self> {
        Ok(Self {
            continuity: Continuity::default(),
            batch: Batch::new(request.columns.len()),
            pending: Pending::default(),
            settled: false,
            vouched: Vec::new(),
            rows: 0,
            position: request.offset,
            page_rows: 0,
            page_bytes: 0,
            page_batches: 0,
            elsewhere: None,
            no_keyset: false,
            connection: access.connection,
            request,
            call,
            what: access.what,
            shared,
            decoder: parameters::decoder(request, call, &listing.identity),
            headers: request.context.headers()?,
            lease,
            access,
        })
    }

    /// Reads a listing that can be cut anywhere, in pages of our own.
    ///
    /// A short page proves nothing: whether the server caps pages, and by what, is unknown
    /// (acumatica-api.md section 6). So the end is where a page brings nothing but the row that it overlaps by. A next link says that
    /// there is more, and is not followed: it would be cut by position like our own pages, but without
    /// the overlap that tells whether the rows have moved.
    pub async fn pages(&mut self, listing: &Listing) -> Result<()> {
        let mut top = u64::from(self.request.first_page);
        let (mut back, mut fruitless, mut furthest) = (1, 0, 0);
        loop {
            let first = !self.continuity.has_begun();
            let behind = self.position;
            let read = behind - self.request.offset;
            let overlap = if self.continuity.can_overlap() { back.min(read) } else { 0 };
            self.position -= overlap;
            // Where rows are asked for from a key on, it does not matter how many came before.
            let from = match &listing.keyset {
                Some(key) if overlap == 1 && !self.no_keyset => {
                    from_row(key, &self.decoder.identity_values(), Dialect::Dac)
                }
                _ => None,
            };
            let from = from.and_then(|from| listing.page_from(&from, top.max(2)));
            let cut = match overlap {
                _ if first || back == 0 || !self.continuity.can_overlap() => Cut::Fresh,
                _ if overlap == read && from.is_none() => Cut::Start,
                _ => Cut::Overlap,
            };
            // `page_size` is the most rows of a request, the overlap among them. A long overlap may take
            // several pages.
            let page = Page { skip: self.position, top: top.max(2) };
            let url = self.connection.url(from.as_ref().unwrap_or(&listing.page(page)))?;
            let end = match self.page(listing, &url, Some(page), cut).await {
                Err(error) if from.is_some() && may_be_of_condition(error.kind) => {
                    self.no_keyset = true;
                    self.position = behind;
                    continue;
                }
                end => end?,
            };
            let next_link = match end {
                PageEnd::Done { next_link } => next_link,
                PageEnd::Gap => {
                    // Whether it is gone or the server has another order than its conditions: from here on by position. The
                    // decoder's last row is now none that was read.
                    self.no_keyset = true;
                    Counters::add(&self.shared.stats.retries, 1);
                    self.position = behind;
                    back *= STEP_BACK;
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
            };
            let rows = self.position - page.skip;
            let short = rows < page.top;
            self.check_fields(listing).await?;
            if !first && rows > 0 {
                self.continuity.check_pageable()?;
            }
            back = 1;
            if self.page_rows == 0 {
                if rows > 1 && self.position <= furthest * 2 {
                    // Known rows only, as after a step back, or after inserts before the page. What is
                    // behind them shows on the next page: the server may have cut this one short.
                    continue;
                }
                if short && next_link.is_none() {
                    return Ok(());
                }
                fruitless += 1;
                if fruitless > PAGES_WITHOUT_ROWS {
                    return Err(self.fruitless());
                }
                // The server may send so few rows at a time that the overlap is all of them.
                back = u64::from(!short);
                continue;
            }
            fruitless = 0;
            furthest = self.position.max(furthest);
            top = self.next_top();
            self.hand_over();
            // After a short first page, nearly always the only one, the question whether it is may go out
            // at once.
            if !(first && short) {
                self.keep_distance().await;
            }
        }
    }

    /// Reads a listing in one piece, or in those that the server cuts it into.
    pub async fn links(&mut self, listing: &Listing) -> Result<()> {
        let mut url = self.connection.url(&listing.path_and_query())?;
        let (mut followed, mut fruitless) = (HashSet::new(), 0);
        loop {
            let next_link = match self.page(listing, &url, None, Cut::Fresh).await? {
                PageEnd::Done { next_link } => next_link,
                PageEnd::Gap | PageEnd::Broken => continue,
            };
            self.check_fields(listing).await?;
            let Some(link) = next_link else { return Ok(()) };
            url = self.connection.config.instance.resolve(&link).ok_or_else(|| {
                Error::new(ErrorKind::Protocol, format!("the server continues {} on another site", self.what))
                    .hint("Set the option \"url\" to the address that the server uses for itself.")
            })?;
            if !followed.insert(url.clone()) {
                let message = format!("the server sent the same next link twice for {}", self.what);
                return Err(Error::new(ErrorKind::Protocol, message).detail("It goes in circles."));
            }
            fruitless = if self.page_rows == 0 { fruitless + 1 } else { 0 };
            if fruitless > PAGES_WITHOUT_ROWS {
                return Err(self.fruitless());
            }
        }
    }

    fn fruitless(&self) -> Error {
        Error::new(
            ErrorKind::Protocol,
            format!("the server has more rows of {}, but does not send them", self.what),
        )
        .detail(format!("{PAGES_WITHOUT_ROWS} answers in a row brought nothing new."))
    }

    /// A field that no row so far has is NULL if the definition knows it, as one of a feature that is switched off:
    /// REST sends `{}` and OData `null` for a field without value (acumatica-api.md section 2). To be called while no
    /// session is in use: the definition may have to be asked for.
    pub async fn check_fields(&mut self, listing: &Listing) -> Result<()> {
        if self.position == self.request.offset || self.is_settled(listing) {
            return Ok(());
        }
        let missing = self.missing(listing);
        if missing.is_empty() {
            return Ok(());
        }
        self.lease = None;
        negotiate::vouch(self.connection, self.request, &missing, &self.shared.report).await?;
        self.vouched.extend(missing);
        Ok(())
    }

    /// Fields that no row had before may be there by now.
    pub fn tell_what_is_there(&self) {
        let vouched = &self.request.findings.vouched;
        if vouched.is_empty() || !self.decoder.has_met_all() {
            return;
        }
        let never: Vec<usize> = self.decoder.never_met().collect();
        let there = vouched.iter().filter(|index| !never.contains(index));
        let paths: Vec<String> = there.map(|&index| self.request.columns[index].path.join("/")).collect();
        self.connection.learnt.forget(Topic::Absent, &learnt::place(&self.request.target), &paths);
    }

    /// The columns whose field was to be in each row, and is in none so far.
    fn missing(&self, listing: &Listing) -> Vec<usize> {
        let unknown = |index: &usize| listing.expected.contains(index) && !self.vouched.contains(index);
        self.decoder.never_met().filter(unknown).collect()
    }

    /// Whether nothing is missing in the rows so far. Until then none is handed over, so that a field that is written
    /// otherwise can be looked up and all be read again.
    fn is_settled(&mut self, listing: &Listing) -> bool {
        if self.settled {
            return true;
        }
        let complete = self.missing(listing).is_empty();
        self.settled = complete && self.decoder.has_met_all();
        complete
    }

    /// An inquiry with parameters answers without rows or error when none are given: that must not pass
    /// for an empty one.
    pub async fn check_empty(&mut self, listing: &Listing, dialect: Dialect) -> Result<()> {
        let target = &self.request.target;
        if self.rows > 0 {
            return Ok(());
        }
        if target.form {
            return parameters::check_empty(self.request, self.call);
        }
        if target.surface == Surface::Rest && self.position == self.request.offset {
            check_none(self.request, listing, self.access, &self.shared.stats).await?;
            // Where another portion of the same list of values has rows, the server knows the condition.
            let believed = self.elsewhere.as_ref().is_some_and(|elsewhere| !elsewhere.rows.is_empty());
            return match believed {
                true => Ok(()),
                false => witness::check(self.connection, self.request, dialect, self.shared).await,
            };
        }
        if target.surface != Surface::GenericInquiry {
            return Ok(());
        }
        if !self.request.parameters.is_empty() {
            return parameters::check_empty(self.request, self.call);
        }
        // Where there are definitions, they have said so before; where there are none, that must not pass in silence.
        let connection = self.connection;
        if connection.learnt.get(Topic::Definition, &learnt::place(target), Topic::ALL).is_some() {
            return Ok(());
        }
        self.access
            .ask(|lease| async {
                let set = connection.entity_set(&lease, target.surface, &target.name).await;
                (lease, set)
            })
            .await?;
        Ok(())
    }

    /// Rows of the next page: as many as `page_size` allows and memory likes.
    fn next_top(&self) -> u64 {
        let row_bytes = (self.page_bytes / self.page_rows.max(1)).max(1);
        u64::from(self.request.page_size).min((PAGE_BYTES / row_bytes).max(1))
    }

    /// One page ahead, no more; and none at all until the first page has not sufficed.
    async fn keep_distance(&self) {
        if self.position - self.request.offset <= u64::from(self.request.first_page) {
            self.shared.demand().await;
        } else {
            // What is left of the page just read is what the consumer reads while the next one comes.
            self.shared.drained_to(self.page_batches.saturating_sub(1)).await;
        }
    }

    /// One answer. A failure that passes is waited for where the scan can go on behind the rows it has
    /// had: in pages of our own anywhere, in those of the server before their first row.
    async fn page(&mut self, listing: &Listing, url: &Url, page: Option<Page>, cut: Cut) -> Result<PageEnd> {
        self.page_rows = 0;
        self.page_bytes = 0;
        self.page_batches = 0;
        self.continuity.begin_page(cut);
        let begin = self.position;
        if self.lease.is_none() {
            self.lease = Some(self.access.open().await?);
        }
        let end = self.answer(listing, url, page).await;
        let lease = self.lease.take();
        let end = match end {
            Err(error) if page.is_some() || self.position == begin => {
                // A pause must not keep back the rows that are there.
                if listing.more.is_empty() && self.is_settled(listing) {
                    self.hand_over();
                }
                match lease {
                    Some(lease) => self.access.recover(lease, error).await?,
                    // Given back in the middle of the answer, which has broken since.
                    None => self.access.pause(error).await?,
                }
                PageEnd::Broken
            }
            // What follows asks for a session of its own, and this one may be the only one.
            end => {
                drop(lease);
                end?
            }
        };
        if !matches!(end, PageEnd::Gap) {
            self.continuity.end_page();
        }
        let read = Page { skip: begin, top: self.position - begin };
        let Self { pending, batch, request, access, shared, .. } = self;
        pending.complete(batch, request, listing, read, access, &shared.stats).await?;
        Ok(end)
    }

    /// `position` follows row by row, so that it is right wherever the answer breaks.
    async fn answer(&mut self, listing: &Listing, url: &Url, page: Option<Page>) -> Result<PageEnd> {
        let stats = &self.shared.stats;
        Counters::add(&stats.requests, 1);
        let surface = self.request.target.surface;
        let Some(lease) = &self.lease else {
            return Err(Error::new(ErrorKind::Internal, "a request needs a session"));
        };
        let mut request = Request { headers: self.headers.clone(), ..Request::get(url.clone(), self.what) };
        let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
        if let Some(body) = &listing.body {
            request = Request { method: Method::PUT, body: Some(body.clone()), ..request };
        }
        if listing.single {
            splitter = RowSplitter::single(MAX_ROW_BYTES);
        }
        let mut answer = self.connection.send(lease, surface, request).await?;
        while let Some(chunk) = answer.chunk().await? {
            let chunk = chunk.as_ref();
            Counters::add(&stats.bytes, chunk.len() as u64);
            splitter.push(chunk);
            while let Some(row) = splitter.next_row().map_err(|error| self.misshapen(error))? {
                if let Some(Page { skip, top }) = page
                    && self.position - skip == top
                {
                    let message = format!("the server sent more rows of {} than it was asked for", self.what);
                    return Err(Error::new(ErrorKind::Protocol, message)
                        .detail(format!("Asked for {top}; it seems to ignore $top.")));
                }
                let (bytes_before, rows_before) = (self.batch.bytes(), self.batch.len());
                if let Err(error) = self.decoder.decode(row, &mut self.batch) {
                    return Err(unfit(self.request, row, self.position, error));
                }
                if listing.body.is_some() {
                    parameters::check_echo(self.request, self.call, row)?;
                }
                match self.continuity.row(self.decoder.identity())? {
                    Verdict::Gap => {
                        self.batch.pop();
                        return Ok(PageEnd::Gap);
                    }
                    Verdict::Known => self.batch.pop(),
                    Verdict::New if self.is_elsewhere(row)? => {
                        self.batch.pop();
                        self.page_rows += 1;
                    }
                    Verdict::New => {
                        let rows = (self.batch.len() - rows_before) as u64;
                        if !listing.more.is_empty() {
                            self.pending.add(self.decoder.identity(), rows_before, rows as usize);
                        }
                        Counters::add(&stats.rows, rows);
                        self.rows += rows;
                        self.access.progress();
                        self.page_rows += 1;
                        self.page_bytes += (self.batch.bytes() - bytes_before) as u64;
                    }
                }
                self.position += 1;
                if self.batch.bytes() >= BATCH_BYTES && listing.more.is_empty() && !listing.single {
                    self.hand_over_settled(listing, page.is_none())?;
                }
            }
            if page.is_some() && self.page_bytes > OVERSIZED_PAGE {
                return Ok(PageEnd::Broken);
            }
            if self.shared.starving()
                && listing.more.is_empty()
                && !listing.single
                && self.is_settled(listing)
            {
                self.hand_over();
            }
            if !self.shared.has_room() {
                // The consumer may itself wait for the session, or not come back for hours.
                self.lease = None;
                if page.is_some() {
                    // No answer is kept waiting in a session that others use.
                    drop(answer);
                    self.shared.room().await;
                    return Ok(PageEnd::Broken);
                }
                self.shared.room().await;
            }
        }
        let envelope = splitter.finish().map_err(|error| self.misshapen(error))?;
        // The rows that the page was to begin with are gone.
        if self.continuity.awaits_known() && envelope.next_link.is_none() {
            return Ok(PageEnd::Gap);
        }
        Ok(PageEnd::Done { next_link: envelope.next_link })
    }

    /// Whether another portion has brought the row, which the decoder has read just now.
    ///
    /// # Errors
    /// Nothing tells it from another row.
    fn is_elsewhere(&mut self, row: &[u8]) -> Result<bool> {
        let Some(elsewhere) = &mut self.elsewhere else { return Ok(false) };
        let Some(identity) = self.decoder.identity() else { return Err(continuity::no_identity()) };
        // The id of a record is its own, but the key of an inquiry is what its table says.
        let content = match self.request.target.surface {
            Surface::Rest => 0,
            _ => BuildHasherDefault::<DefaultHasher>::default().hash_one(row),
        };
        match elsewhere.rows.insert(identity.to_owned(), (elsewhere.portion, content)) {
            // Within a portion the same row is known by its place.
            Some((portion, _)) if portion == elsewhere.portion => Err(continuity::ambiguous()),
            Some((_, before)) if before != content => Err(continuity::moved()),
            before => Ok(before.is_some()),
        }
    }

    /// Hands over rows in the middle of an answer. A field that is still to be asked about is asked about behind the page;
    /// what comes in one piece is asked for again then, unless rows were handed over already.
    fn hand_over_settled(&mut self, listing: &Listing, in_one_piece: bool) -> Result<()> {
        if self.is_settled(listing) || self.shared.has_begun() {
            self.hand_over();
        } else if in_one_piece {
            return Err(negotiate::field_missing(self.request, &self.missing(listing)));
        }
        Ok(())
    }

    pub fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            let columns = self.request.columns.len();
            self.page_batches += 1;
            self.shared.deliver(std::mem::replace(&mut self.batch, Batch::new(columns)));
        }
    }

    /// A body that is not a list of rows.
    fn misshapen(&self, error: SplitError) -> Error {
        match error {
            SplitError::Empty => answer::empty(self.what),
            SplitError::NoRows(body) => {
                let refusal = answer::failure(self.what, reqwest::StatusCode::OK, &body);
                Error { kind: ErrorKind::Server, ..refusal }
            }
            other => Error::new(
                ErrorKind::Protocol,
                format!("could not read the answer of the server for {}", self.what),
            )
            .detail(other)
            .hint("Run the query again. If it stays, a proxy may be cutting or changing answers."),
        }
    }
}

/// A value that its column cannot hold.
fn unfit(request: &ScanRequest, row: &[u8], position: u64, error: DecodeError) -> Error {
    let Some(column) = error.column else {
        return Error::new(ErrorKind::Protocol, format!("could not read a row of {}", request.target))
            .detail(error.kind);
    };
    let hint = match error.kind {
        decode::ErrorKind::TimeOfDay(_) => Some(request.as_moment(column)),
        kind => kind.hint().map(Into::into),
    };
    Error { hint, ..request.unfit(column, &row_key(request, row, position), &error.value, error.kind) }
}

/// What a person would call the row: its key, else its id, else its place.
fn row_key(request: &ScanRequest, row: &[u8], position: u64) -> String {
    let fields = request.target.surface.row_name(&request.key);
    if fields.is_empty() {
        return format!("number {}", position + 1);
    }
    let text = |field: String| Column {
        path: field.split('/').map(Into::into).collect(),
        name: field,
        ty: ColumnType::Text,
    };
    let columns: Vec<Column> = fields.into_iter().map(text).collect();
    let mut batch = Batch::new(columns.len());
    let parts: Option<Vec<String>> = match RowDecoder::new(&columns, &[]).decode(row, &mut batch) {
        Ok(()) => batch
            .row(0)
            .iter()
            .map(|cell| match cell {
                Cell::Text(span) => Some(batch.text(*span).to_owned()),
                _ => None,
            })
            .collect(),
        Err(_) => None,
    };
    parts.map_or_else(|| format!("number {}", position + 1), |parts| parts.join("/"))
}
