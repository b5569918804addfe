//! Requests the custom fields that did not fit into the request for a page.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::decode::{Batch, RowDecoder, RowSplitter, content};
use crate::dialect::rest::is_custom;
use crate::dialect::{Content, Listing, More, Page, query};
use crate::error::{Error, ErrorKind, Result};
use crate::read::rows::{MAX_ROW_BYTES, misshapen, unfit};
use crate::read::scan::{Counters, Timer};
use crate::request::ScanRequest;
use crate::session::access::Access;
use crate::transport::answer;
use crate::transport::http::Request;

/// The records of a page whose rows wait for custom fields.
#[derive(Debug, Default)]
pub(crate) struct PendingRows {
    records: Vec<Waiting>,
    by_identity: HashMap<Vec<u8>, usize>,
    /// Records whose ids may change with the next answer, by content. `None` for several with the same content.
    by_content: HashMap<u64, Option<usize>>,
}

/// The rows of a record in the batch.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: usize,
    rows: usize,
    filled: bool,
}

impl PendingRows {
    /// Adds a record, which was decoded into the rows from `first` on.
    pub fn add(&mut self, identity: Option<&[u8]>, content: Option<u64>, first: usize, rows: usize) {
        let record = self.records.len();
        self.records.push(Waiting { first, rows, filled: false });
        self.by_identity.insert(identity.unwrap_or_default().to_owned(), record);
        if let Some(content) = content {
            self.by_content.entry(content).and_modify(|known| *known = None).or_insert(Some(record));
        }
    }

    /// The record that came again.
    ///
    /// # Errors
    /// It may be one of several with the same content.
    fn find(&self, identity: Option<&[u8]>, content: Option<u64>) -> Result<Option<usize>> {
        if let Some(record) = identity.and_then(|identity| self.by_identity.get(identity)) {
            return Ok(Some(*record));
        }
        match content.and_then(|content| self.by_content.get(&content)) {
            Some(Some(record)) => Ok(Some(*record)),
            Some(None) => Err(alike()),
            None => Ok(None),
        }
    }

    /// Fills in the missing columns of `batch` by requesting the same rows again.
    ///
    /// # Errors
    /// The server fails, or the rows have changed.
    pub async fn complete(
        &mut self,
        batch: &mut Batch,
        request: &ScanRequest,
        listing: &Listing,
        page: Page,
        access: &mut Access<'_>,
        counters: &Counters,
    ) -> Result<()> {
        let mut pending = std::mem::take(self);
        if pending.records.is_empty() {
            return Ok(());
        }
        for more in &listing.more {
            let body = again(&listing.with(&more.query), page, request, access, counters).await?;
            pending.fill(batch, request, listing, more, &body)?;
        }
        Ok(())
    }
}

/// Checks an empty answer to a request for custom fields: with very many of them, the server may return nothing
/// although there are rows (docs/acumatica.md section 2), so a row is requested without any.
///
/// # Errors
/// There are rows, or the server fails.
pub(crate) async fn check_none(
    request: &ScanRequest,
    listing: &Listing,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<()> {
    if !request.columns.iter().any(|column| is_custom(&column.path)) {
        return Ok(());
    }
    let select = request.key.first().map_or("", String::as_str);
    let plain = listing.with(&query(select, &[("$filter", &listing.filter)], listing.longest()));
    let body = again(&plain, Page { skip: request.offset, top: 1 }, request, access, counters).await?;
    let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
    let what = request.target.to_string();
    splitter.push(&body);
    if let Some(row) = splitter.next_row().map_err(|error| misshapen(&what, error))? {
        let mut decoder = RowDecoder::new(&[], &listing.identity);
        decoder
            .decode(row, &mut Batch::new(0))
            .map_err(|error| unfit(request, row, request.offset, error))?;
        return Err(Error::new(
            ErrorKind::Protocol,
            format!("the server returned no rows of {what} when it was asked for custom fields"),
        )
        .detail("Without custom fields it returns rows.")
        .hint("Select fewer custom fields at once, and check the options \"custom\" of the columns."));
    }
    splitter.finish().map(|_| ()).map_err(|error| misshapen(&what, error))
}

/// The body of a further request for a page.
async fn again(
    listing: &Listing,
    page: Page,
    request: &ScanRequest,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<Vec<u8>> {
    body(&listing.page(page), request, access, counters).await
}

/// The body of a request other than that for the list.
pub(crate) async fn body(
    rest: &str,
    request: &ScanRequest,
    access: &mut Access<'_>,
    counters: &Counters,
) -> Result<Vec<u8>> {
    let url = access.connection.url(rest)?;
    let headers = request.context.headers()?;
    let (connection, what, surface) = (access.connection, access.what, request.target.surface);
    let (_, body) = access
        .ask(|lease| {
            let again = Request::get(url.clone(), what).headers(headers.clone());
            async move {
                if let Err(error) = request.take_request() {
                    return (lease, Err(error));
                }
                Counters::add(&counters.requests, 1);
                let _waiting = Timer::begin(&counters.server_wait);
                let body = match connection.send(&lease, surface, again).await {
                    Ok(answer) => answer.document(MAX_ROW_BYTES).await,
                    Err(error) => Err(error),
                };
                (lease, body)
            }
        })
        .await?;
    Counters::add(&counters.bytes, body.len() as u64);
    Ok(body)
}

impl PendingRows {
    fn fill(
        &mut self,
        batch: &mut Batch,
        request: &ScanRequest,
        listing: &Listing,
        more: &More,
        body: &[u8],
    ) -> Result<()> {
        let mut columns = request.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            if !more.columns.contains(&index) {
                column.path.clear();
            }
        }
        let mut decoder = RowDecoder::of_detail(&columns, &listing.identity, &request.target.detail);
        let mut splitter = RowSplitter::new(MAX_ROW_BYTES);
        let what = request.target.to_string();
        let unreadable = |error| misshapen(&what, error);
        splitter.push(body);
        self.records.iter_mut().for_each(|record| record.filled = false);
        let mut number = 0;
        while let Some(row) = splitter.next_row().map_err(unreadable)? {
            let mut rest = Batch::new(columns.len());
            decoder.decode(row, &mut rest).map_err(|error| unfit(request, row, number, error))?;
            number += 1;
            if decoder.identity().is_none() {
                return Err(answer::no_row(&what, &listing.identity, row));
            }
            let content = (listing.content == Content::OfRecord).then(|| {
                let mut hasher = DefaultHasher::new();
                content(row, true, &mut hasher);
                hasher.finish()
            });
            let Some(record) = self.find(decoder.identity(), content)? else { continue };
            let record = &mut self.records[record];
            if rest.len() != record.rows || std::mem::replace(&mut record.filled, true) {
                return Err(changed());
            }
            for row in 0..record.rows {
                for &column in &more.columns {
                    batch.graft(record.first + row, column, &rest, row);
                }
            }
        }
        splitter.finish().map_err(unreadable)?;
        if self.records.iter().all(|record| record.filled) { Ok(()) } else { Err(changed()) }
    }
}

/// The error if custom fields cannot be assigned to a record.
fn alike() -> Error {
    Error::new(ErrorKind::Definition, "custom fields cannot be assigned to their records")
        .detail("Two records have the same content, and the server gives them new ids in each answer.")
        .hint("Give the option \"key\" to columns that make rows unique, or select fewer custom fields at once.")
}

fn changed() -> Error {
    Error::new(ErrorKind::RowsMoved, "rows changed on the server while their custom fields were read")
        .detail("They are asked for in several requests, since one with very many can return nothing.")
        .hint("Run the query again, or select fewer custom fields at once.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Cell, ColumnType};
    use crate::dialect::rest;
    use crate::request::tests::request;

    /// A request for so many custom fields that it takes two, and its listing.
    fn asked() -> (ScanRequest, Listing) {
        let names: Vec<String> = (0..60).map(|i| format!("custom/Document/Usr{i:02}")).collect();
        let columns: Vec<_> = names.iter().map(|name| (name.as_str(), ColumnType::Text)).collect();
        let request = request("SalesOrder", &columns, &["OrderNbr"]);
        let listing = rest::listing(&request, "Default", "24.200.001").unwrap();
        (request, listing)
    }

    fn row(id: &str, field: &str, value: &str) -> String {
        format!(
            r#"{{"id":"x","OrderNbr":{{"value":"{id}"}},"custom":{{"Document":{{"{field}":{{"type":"CustomStringField","value":"{value}"}}}}}}}}"#
        )
    }

    fn filled(body: &str) -> Result<Vec<Option<String>>> {
        let (request, listing) = asked();
        let (mut batch, mut pending) = (Batch::new(60), PendingRows::default());
        let mut decoder = RowDecoder::new(&request.columns, &listing.identity);
        for id in ["a", "b"] {
            decoder.decode(row(id, "Usr00", id).as_bytes(), &mut batch).unwrap();
            pending.add(decoder.identity(), None, batch.len() - 1, 1);
        }
        pending.fill(&mut batch, &request, &listing, &listing.more[0], body.as_bytes())?;
        let text = |cell| match cell {
            Cell::Text(span) => Some(batch.text(span).to_owned()),
            _ => None,
        };
        Ok((0..2).flat_map(|row| [text(batch.row(row)[0]), text(batch.row(row)[55])]).collect())
    }

    #[test]
    fn the_rest_goes_to_the_rows_that_it_belongs_to() {
        let body = format!("[{},{}]", row("b", "Usr55", "of b"), row("a", "Usr55", "of a"));
        let texts = ["a", "of a", "b", "of b"].map(|text| Some(text.to_owned()));
        assert_eq!(filled(&body).unwrap(), texts);
    }

    #[test]
    fn a_row_that_is_gone_meanwhile_is_an_error() {
        let body = format!("[{},{}]", row("a", "Usr55", "of a"), row("c", "Usr55", "of c"));
        assert_eq!(filled(&body).unwrap_err().kind, ErrorKind::RowsMoved);
    }
}
