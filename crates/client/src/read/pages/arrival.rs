//! Reads one answer of a list: decodes its rows as they arrive, and drops those that are known.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

use url::Url;

use super::{BATCH_BYTES, Elsewhere, ListScan, OVERSIZED_PAGE, PageEnd};
use crate::decode::{RowSplitter, content};
use crate::dialect::{Content, Listing, Page};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::learnt;
use crate::read::continuity::{self, Cut, Verdict};
use crate::read::missing::field_missing;
use crate::read::parameters;
use crate::read::rows::{MAX_ROW_BYTES, misshapen, unfit};
use crate::read::scan::{Counters, Timer};
use crate::request::Surface;
use crate::transport::answer;
use crate::transport::http::Request;
use crate::transport::retry::Repeat;

impl ListScan<'_, '_> {
    /// Reads one answer. If a failure may pass, it waits, provided that the scan can go on behind the rows it has: in
    /// pages by position anywhere, in those of the server only before their first row.
    pub(super) async fn page(
        &mut self,
        listing: &Listing,
        url: &Url,
        page: Option<Page>,
        cut: Cut,
    ) -> Result<PageEnd> {
        self.page_rows = 0;
        self.page_bytes = 0;
        self.page_batches = 0;
        self.continuity.begin_page(cut);
        let begin = self.position;
        self.request.take_request()?;
        if self.lease.is_none() {
            self.lease = Some(self.access.open().await?);
        }
        let end = self.answer(listing, url, page).await;
        let lease = self.lease.take();
        let end = match end {
            Err(error) if page.is_some() || self.position == begin => {
                // Rows that have arrived are delivered before the pause.
                if listing.more.is_empty() && self.is_settled(listing) {
                    self.hand_over();
                }
                match lease {
                    Some(lease) => self.access.recover(lease, error).await?,
                    // The lease was given back in the middle of the answer, and the answer broke after that.
                    None => self.access.pause(error).await?,
                }
                PageEnd::Broken
            }
            // The next request takes a session of its own, and this one may be the only one.
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

    /// Counts `position` row by row, so that it is right wherever the answer breaks.
    async fn answer(&mut self, listing: &Listing, url: &Url, page: Option<Page>) -> Result<PageEnd> {
        let stats = &self.shared.stats;
        Counters::add(&stats.requests, 1);
        let surface = self.request.target.surface;
        let Some(lease) = &self.lease else {
            return Err(Error::new(ErrorKind::Internal, "a request needs a session"));
        };
        let request = match &listing.body {
            // An inquiry form is called by PUT, which saves nothing (docs/acumatica.md section 2).
            Some(body) => Request::put(Repeat::Idempotent, url.clone(), self.what, body.clone()),
            None => Request::get(url.clone(), self.what),
        };
        let request = request.headers(self.headers.clone());
        let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
        if listing.single {
            splitter = RowSplitter::single(MAX_ROW_BYTES);
        }
        let (begin, rows_before) = (self.position, self.rows);
        let mut took = Duration::ZERO;
        let waiting = || Timer::begin(&stats.server_wait);
        let mut answer =
            timed(&mut took, waiting(), self.site.connection.send(lease, surface, request)).await?;
        while let Some(chunk) = timed(&mut took, waiting(), answer.chunk()).await? {
            let decoding = Timer::begin(&stats.decoding);
            let chunk = chunk.as_ref();
            Counters::add(&stats.bytes, chunk.len() as u64);
            splitter.push(chunk);
            // The first page shows whether the declared key is unique. If it is not, all rows are read again, which
            // would not be possible if rows had been delivered by their key alone.
            let may_hand_over = |scan: &Self| {
                let waits =
                    page.is_some() && listing.content == Content::Unneeded && !scan.continuity.has_begun();
                listing.more.is_empty() && !listing.single && !waits
            };
            while let Some(row) = splitter.next_row().map_err(|error| misshapen(self.what, error))? {
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
                // Every row has its key, and OData writes fields without a value, too.
                let is_row = match listing.identity.is_empty() {
                    // The parameters that a form shows are checked below.
                    true => {
                        self.decoder.has_hit()
                            || listing.body.is_some() && self.values.iter().any(Option::is_some)
                    }
                    false => listing.single || self.decoder.identity().is_some(),
                };
                if !is_row {
                    return Err(answer::no_row(self.what, &listing.identity, row));
                }
                if listing.body.is_some() {
                    parameters::check_echo(self.request, self.values, row)?;
                }
                let content = self.content_of(listing, row);
                let verdict = match &mut self.again {
                    Some(again) => {
                        self.given.extend(content);
                        known_before(again, content)
                    }
                    None => match self.continuity.row(self.decoder.identity(), content) {
                        Err(why) if page.is_some() => {
                            self.batch.pop();
                            return Ok(PageEnd::Unclear(why));
                        }
                        verdict => verdict?,
                    },
                };
                match verdict {
                    Verdict::Gap => {
                        self.batch.pop();
                        return Ok(PageEnd::Gap);
                    }
                    Verdict::Known => self.batch.pop(),
                    Verdict::New if self.is_elsewhere(listing, row, content)? => {
                        self.batch.pop();
                        self.page_rows += 1;
                    }
                    Verdict::New => {
                        let rows = (self.batch.len() - rows_before) as u64;
                        if let Err(error) = self.request.take_rows(rows) {
                            self.batch.pop();
                            return Err(error);
                        }
                        if !listing.more.is_empty() {
                            self.pending.add(self.decoder.identity(), content, rows_before, rows as usize);
                        }
                        if self.again.is_none() {
                            self.given.extend(content);
                        }
                        Counters::add(&stats.rows, rows);
                        self.rows += rows;
                        self.access.progress();
                        self.page_rows += 1;
                        self.page_bytes += (self.batch.bytes() - bytes_before) as u64;
                    }
                }
                self.position += 1;
                if self.batch.bytes() >= BATCH_BYTES && may_hand_over(self) {
                    self.hand_over_settled(listing, page.is_none())?;
                }
            }
            drop(decoding);
            if page.is_some() && self.page_bytes > OVERSIZED_PAGE {
                return Ok(PageEnd::Broken);
            }
            if self.shared.starving() && may_hand_over(self) && self.is_settled(listing) {
                self.hand_over();
            }
            if !self.shared.has_room() {
                // The consumer may itself wait for the session, or not come back for hours.
                self.lease = None;
                if page.is_some() {
                    // An answer must not occupy a session that others use.
                    drop(answer);
                    self.shared.room().await;
                    return Ok(PageEnd::Broken);
                }
                self.shared.room().await;
            }
        }
        let envelope = splitter.finish().map_err(|error| misshapen(self.what, error))?;
        Counters::add(&stats.pages, 1);
        // The rows that the page had to begin with are gone.
        if self.continuity.awaits_known() && envelope.next_link.is_none() {
            return Ok(PageEnd::Gap);
        }
        // A record brings rows of details.
        let rows = (self.position - begin).max(self.rows - rows_before);
        let place = learnt::place(&self.request.target);
        self.site.speeds.note(&self.site.learnt, &place, took, rows);
        Ok(PageEnd::Done { next_link: envelope.next_link })
    }

    /// The hash of the row's content, if it is needed.
    fn content_of(&self, listing: &Listing, row: &[u8]) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        match listing.content {
            Content::Unneeded if self.again.is_none() => return None,
            Content::Unneeded if self.request.target.surface != Surface::Rest => hasher.write(row),
            Content::OfRow => hasher.write(row),
            Content::OfRecord | Content::Unneeded => content(row, !listing.more.is_empty(), &mut hasher),
        }
        Some(hasher.finish())
    }

    /// Whether another portion has brought the row that the decoder has just read.
    ///
    /// # Errors
    /// The row cannot be distinguished from another one.
    fn is_elsewhere(&mut self, listing: &Listing, row: &[u8], content: Option<u64>) -> Result<bool> {
        let Some(Elsewhere { portions, portion }) = &mut self.elsewhere else { return Ok(false) };
        let Some(identity) = self.decoder.identity() else { return Err(continuity::no_identity()) };
        if listing.content == Content::OfRecord {
            return portions.judge_record(*portion, identity, content.unwrap_or_default());
        }
        // The key of a record is unique; that of an inquiry or class is declared by the table.
        let content = content.unwrap_or_else(|| match self.request.target.surface {
            Surface::Rest => 0,
            _ => {
                let mut hasher = DefaultHasher::new();
                hasher.write(row);
                hasher.finish()
            }
        });
        portions.judge(*portion, identity, content, listing.content == Content::OfRow)
    }

    /// Delivers rows in the middle of an answer, unless a field is still to be looked up. That is done after the page.
    /// An answer in one piece is then requested again, unless rows were delivered already.
    fn hand_over_settled(&mut self, listing: &Listing, in_one_piece: bool) -> Result<()> {
        if self.is_settled(listing) || self.shared.has_begun() {
            self.hand_over();
        } else if in_one_piece {
            return Err(field_missing(self.request, &self.missing(listing)));
        }
        Ok(())
    }
}

/// Adds the time that a future takes.
async fn timed<T>(took: &mut Duration, timer: Timer<'_>, future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let outcome = future.await;
    drop(timer);
    *took += begun.elapsed();
    outcome
}

/// Whether a row was delivered before all rows were read again. Each delivered row is recognised once.
fn known_before(again: &mut HashMap<u64, u32>, content: Option<u64>) -> Verdict {
    let Some(content) = content else { return Verdict::New };
    let Some(left) = again.get_mut(&content) else { return Verdict::New };
    *left -= 1;
    if *left == 0 {
        again.remove(&content);
    }
    Verdict::Known
}
