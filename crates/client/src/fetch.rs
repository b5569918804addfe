//! The task behind a scan: page after page, each split into rows and decoded as it arrives.

use std::collections::HashSet;
use std::sync::Arc;

use url::Url;

use crate::answer;
use crate::continuity::{Continuity, Cut, Verdict, moved};
use crate::decode::{Batch, Cell, Column, ColumnType, DecodeError, RowDecoder, RowSplitter, SplitError};
use crate::dialect::{Listing, Page, Surface, odata, rest};
use crate::endpoint::FALLBACK_VERSION;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{self, EntitySet};
use crate::scan::{Counters, ScanRequest, Shared, Target};
use crate::session::{Connection, Session};

/// A batch is handed over when it is this large, or when the consumer has nothing else to do.
const BATCH_BYTES: usize = 64 * 1024;
/// A page is asked for in as many rows as decode to about this much, whatever `page_size` allows: two
/// pages are in memory at a time.
const PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// A page that turns out this large is left, and the scan goes on behind it with a smaller one.
const OVERSIZED_PAGE: u64 = 4 * PAGE_BYTES;
/// A larger row than this is not one of an ERP.
const MAX_ROW_BYTES: usize = 256 * 1024 * 1024;
/// Whether the server caps pages is unknown (acumatica-api.md section 6). Nobody would cap below this
/// many rows, so only a short page at least this long may be a capped one.
const SMALLEST_CAP: u64 = 100;
/// How much further back a page begins each time rows were found to be missing.
const STEP_BACK: u64 = 16;
/// A server that loses the session again and again without sending a row is not tried forever.
const SIGN_INS_WITHOUT_ROWS: u32 = 2;

/// Reads all of it.
pub(crate) async fn run(connection: Arc<Connection>, request: ScanRequest, shared: &Shared) -> Result<()> {
    let what = request.target.to_string();
    let mut session = connection.session(request.target.surface).await?;
    let mut sign_ins = 0;
    let listing = loop {
        match resolve(&connection, &session, &request).await {
            Err(error) if error.kind == ErrorKind::SessionLost && sign_ins < SIGN_INS_WITHOUT_ROWS => {
                sign_ins += 1;
                session = renew(&connection, &session, request.target.surface).await?;
            }
            listing => break listing?,
        }
    };
    let decoder = RowDecoder::new(&request.columns, &listing.identity);
    let mut scan = Scan {
        continuity: Continuity::default(),
        batch: Batch::new(request.columns.len()),
        position: 0,
        page_bytes: 0,
        page_batches: 0,
        connection: &connection,
        request: &request,
        what: &what,
        shared,
        decoder,
        session,
        sign_ins,
    };
    scan.pages(&listing).await?;
    scan.hand_over();
    Ok(())
}

/// Finds out what only the instance knows: version, layout, key.
async fn resolve(connection: &Connection, session: &Session, request: &ScanRequest) -> Result<Listing> {
    let target = &request.target;
    if target.surface == Surface::Rest {
        if let Some(version) = &target.endpoint_version {
            return rest::listing(request, &target.endpoint_name, version);
        }
        return match connection.newest_endpoint(session, &target.endpoint_name).await? {
            Some(endpoint) => rest::listing(request, &endpoint.name, &endpoint.version),
            None => rest::listing(request, &target.endpoint_name, FALLBACK_VERSION),
        };
    }
    let company = connection.config.company.as_deref();
    let version = connection.odata_version(session).await?;
    if !request.key.is_empty() || target.surface == Surface::Dac {
        return odata::listing(request, version, company, &request.key);
    }
    let key = describe(connection, session, target).await?.key;
    odata::listing(request, version, company, &key)
}

/// What `$metadata` says of a generic inquiry or DAC.
async fn describe(connection: &Connection, session: &Session, target: &Target) -> Result<EntitySet> {
    let document = connection.metadata(session, target.surface).await?;
    metadata::entity_set(document.reader(), &target.name).await
}

async fn renew(connection: &Arc<Connection>, lost: &Arc<Session>, surface: Surface) -> Result<Arc<Session>> {
    connection.lost(lost, surface).await;
    connection.session(surface).await
}

/// The state of a scan between rows.
struct Scan<'a> {
    connection: &'a Arc<Connection>,
    request: &'a ScanRequest,
    what: &'a str,
    shared: &'a Shared,
    session: Arc<Session>,
    sign_ins: u32,
    decoder: RowDecoder,
    continuity: Continuity,
    batch: Batch,
    /// How many rows of the remote order lie behind us.
    position: u64,
    /// Decoded bytes of the page under way.
    page_bytes: u64,
    /// Batches of it that were handed over.
    page_batches: usize,
}

/// How a page ended.
enum PageEnd {
    /// Wholly read.
    Done { next_link: Option<String> },
    /// Its first row shows that rows may be missing before it.
    Gap,
    /// Left in the middle, for its size or because the session was lost; go on at `position`.
    Broken,
}

impl Scan<'_> {
    async fn pages(&mut self, listing: &Listing) -> Result<()> {
        let mut top = u64::from(self.request.first_page);
        let mut largest = 0;
        let mut back = 1;
        loop {
            let overlap = if self.continuity.can_overlap() { back.min(self.position) } else { 0 };
            let skip = self.position - overlap;
            let cut = match (self.position, skip, overlap) {
                (0, ..) | (.., 0) => Cut::Fresh,
                (_, 0, _) => Cut::Start,
                _ => Cut::Overlap,
            };
            // `page_size` is the most rows of a request, the overlap among them.
            let page = Page { skip, top: top.max(overlap + 1) };
            let behind = self.position;
            let url = self.connection.url(&listing.page(page))?;
            let (end, rows) = self.series(url, listing, page, cut).await?;
            match end {
                PageEnd::Gap if back >= behind => return Err(moved()),
                PageEnd::Gap => {
                    Counters::add(&self.shared.stats.retries, 1);
                    self.position = behind;
                    back *= STEP_BACK;
                    continue;
                }
                PageEnd::Broken => {}
                PageEnd::Done { .. } if !listing.pageable || self.is_last(rows, page.top, largest) => {
                    return self.check_empty().await;
                }
                PageEnd::Done { .. } => {}
            }
            back = 1;
            largest = largest.max(rows);
            self.continuity.check_pageable()?;
            top = self.next_top(rows);
            self.keep_distance().await;
        }
    }

    /// An inquiry with parameters answers without rows or error when none are given: that must not pass
    /// for an empty one.
    async fn check_empty(&self) -> Result<()> {
        let target = &self.request.target;
        if self.position > 0 || target.surface != Surface::GenericInquiry {
            return Ok(());
        }
        if !describe(self.connection, &self.session, target).await?.has_parameters {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Definition, format!("{} has parameters, without which it returns no rows", self.what))
            .detail("Acumatica answers such a request with zero rows and no error.")
            .hint("Give the parameters of the inquiry default values in Acumatica, or read an inquiry without parameters."))
    }

    /// Whether a page of `rows` rows, where `top` were asked for, is the last. A short page may have
    /// been cut short by the server, unless a longer one came before it.
    fn is_last(&self, rows: u64, top: u64, largest: u64) -> bool {
        rows == 0 || rows < top && (rows < SMALLEST_CAP || rows < largest)
    }

    /// Rows of the next page: as many as `page_size` allows and memory likes.
    fn next_top(&self, rows: u64) -> u64 {
        let row_bytes = (self.page_bytes / rows.max(1)).max(1);
        u64::from(self.request.page_size).min((PAGE_BYTES / row_bytes).max(1))
    }

    /// One page ahead, no more; and none at all until the first page has not sufficed.
    async fn keep_distance(&mut self) {
        self.hand_over();
        if self.position <= u64::from(self.request.first_page) {
            self.shared.demand().await;
        } else {
            // What is left of the page just read is what the consumer reads while the next one comes.
            self.shared.drained_to(self.page_batches.saturating_sub(1)).await;
        }
    }

    /// A page, with what the server itself cut it into. Returns how many rows it had.
    async fn series(
        &mut self,
        first: Url,
        listing: &Listing,
        page: Page,
        cut: Cut,
    ) -> Result<(PageEnd, u64)> {
        let mut followed = HashSet::new();
        let mut url = first;
        let mut cut = cut;
        self.position = page.skip;
        self.page_bytes = 0;
        self.page_batches = 0;
        loop {
            self.continuity.begin_page(cut);
            let end = self.page(&url, listing, page).await;
            let rows = self.position - page.skip;
            let end = match end {
                Err(error) if error.kind == ErrorKind::SessionLost && listing.pageable => {
                    self.sign_in_again(error).await?;
                    PageEnd::Broken
                }
                end => end?,
            };
            if !matches!(end, PageEnd::Gap) {
                self.continuity.end_page();
            }
            let PageEnd::Done { next_link: Some(link) } = end else { return Ok((end, rows)) };
            url = self.connection.config.instance.resolve(&link).ok_or_else(|| {
                Error::new(ErrorKind::Protocol, format!("the server continues {} on another site", self.what))
                    .hint("Set the option \"url\" to the address that the server uses for itself.")
            })?;
            if !followed.insert(url.clone()) {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("the server goes in circles: it sent the same next link twice for {}", self.what),
                ));
            }
            cut = Cut::Fresh;
        }
    }

    async fn sign_in_again(&mut self, error: Error) -> Result<()> {
        self.sign_ins += 1;
        if self.sign_ins > SIGN_INS_WITHOUT_ROWS {
            return Err(error);
        }
        Counters::add(&self.shared.stats.retries, 1);
        self.session = renew(self.connection, &self.session, self.request.target.surface).await?;
        Ok(())
    }

    /// One answer. `position` follows row by row, so that it is right wherever the answer breaks.
    async fn page(&mut self, url: &Url, listing: &Listing, page: Page) -> Result<PageEnd> {
        let stats = &self.shared.stats;
        Counters::add(&stats.requests, 1);
        let surface = self.request.target.surface;
        let mut answer = self.connection.get(&self.session, surface, url.clone(), self.what).await?;
        let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
        while let Some(chunk) = answer.chunk().await? {
            let chunk = chunk.as_ref();
            Counters::add(&stats.bytes, chunk.len() as u64);
            splitter.push(chunk);
            while let Some(row) = splitter.next_row().map_err(|error| self.misshapen(error))? {
                if listing.pageable && self.position - page.skip == page.top {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        format!("the server sent more rows of {} than it was asked for", self.what),
                    )
                    .detail(format!("Asked for {}; it seems to ignore $top.", page.top)));
                }
                let before = self.batch.bytes();
                if let Err(error) = self.decoder.decode(row, &mut self.batch) {
                    return Err(unfit(self.request, row, self.position, error));
                }
                match self.continuity.row(self.decoder.identity())? {
                    Verdict::Gap => {
                        self.batch.pop();
                        return Ok(PageEnd::Gap);
                    }
                    Verdict::Known => self.batch.pop(),
                    Verdict::New => {
                        Counters::add(&stats.rows, 1);
                        self.sign_ins = 0;
                    }
                }
                self.position += 1;
                self.page_bytes += (self.batch.bytes() - before) as u64;
                if self.batch.bytes() >= BATCH_BYTES {
                    self.hand_over();
                }
            }
            if listing.pageable && self.page_bytes > OVERSIZED_PAGE {
                return Ok(PageEnd::Broken);
            }
            if self.shared.starving() {
                self.hand_over();
            }
            self.shared.room().await;
        }
        let envelope = splitter.finish().map_err(|error| self.misshapen(error))?;
        // An overlapping page without any row: the rows it was to begin with are gone.
        let overlapped = page.skip > 0 && self.position == page.skip && self.continuity.can_overlap();
        if overlapped && envelope.next_link.is_none() {
            return Ok(PageEnd::Gap);
        }
        Ok(PageEnd::Done { next_link: envelope.next_link })
    }

    fn hand_over(&mut self) {
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

/// A value that its column cannot hold, told with all that finds the record in the ERP.
fn unfit(request: &ScanRequest, row: &[u8], position: u64, error: DecodeError) -> Error {
    let Some(column) = error.column.map(|column| &request.columns[column]) else {
        return Error::new(ErrorKind::Protocol, format!("could not read a row of {}", request.target))
            .detail(error.kind);
    };
    let mut refusal = Error::new(
        ErrorKind::Value,
        format!(
            "could not convert a value for column \"{}\" of foreign table \"{}\": {}",
            column.name, request.table, error.kind
        ),
    )
    .detail(format!(
        "Row {}, field \"{}\", value: {}",
        row_key(request, row, position),
        column.path.join("/"),
        error.value
    ));
    refusal.hint = error.kind.hint().map(Into::into);
    refusal
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
