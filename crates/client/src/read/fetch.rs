//! Sends the requests for a scan: finds the place of the list, reads by key or in portions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use acumatica_pushdown::{Dialect, Filter};

use crate::decode::Batch;
use crate::dialect::{Content, Listing, RecordAddress, filters};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::experience;
use crate::metadata::learnt::Topic;
use crate::metadata::site::Site;
use crate::read::lists;
use crate::read::location::{Location, resolve};
use crate::read::pages::{Call, Elsewhere, ListScan};
use crate::read::parameters;
use crate::read::portions::Portions;
use crate::read::refusal::{may_be_of_condition, may_be_of_length};
use crate::read::scan::Shared;
use crate::read::supplement;
use crate::request::{ScanRequest, Surface};
use crate::session::access::Access;
use crate::session::lease::Lease;

/// An answer without `$top` of so many rows may have been cut short without a next link, although no server is known to do so:
/// without `$top` contract REST sends all rows, and OData a next link (docs/acumatica.md sections 2 and 3). An answer of more
/// rows that was seen to be complete shows that the server does not do so.
const SUSPICIOUS_ROWS: u64 = 100;

/// Reads the rows of all calls.
pub(crate) async fn read(site: &Arc<Site>, request: &ScanRequest, shared: &Shared) -> Result<()> {
    let what = request.target.to_string();
    let mut access =
        Access::new(&site.connection, request.target.surface, &what, &shared.report, &shared.stats.retries);
    for call in &request.calls {
        parameters::check_given(request, call)?;
        run_call(Call { site, request, values: call, shared }, &mut access).await?;
    }
    Ok(())
}

/// Reads the rows of one call, in as many portions as its conditions need. If the server refuses a long address, the memory then
/// says so, and shorter ones are sent.
async fn run_call(call: Call<'_>, access: &mut Access<'_>) -> Result<()> {
    match read_call(call, access).await {
        Err(error) if error.kind == ErrorKind::TooLong => {
            learn_short(call.site, &error);
            read_call(Call { request: &call.request.with_short_addresses(), ..call }, access).await
        }
        outcome => outcome,
    }
}

/// Remembers that the server refuses long addresses.
fn learn_short(site: &Site, why: &Error) {
    site.learnt.add(Topic::Short, Topic::ALL, &[Topic::ALL], &why.message);
}

/// Reads the rows of one call.
///
/// # Errors
/// [`ErrorKind::TooLong`] if the server refuses the first address. No rows were handed over then.
async fn read_call(call: Call<'_>, access: &mut Access<'_>) -> Result<()> {
    let Call { site, request, values, shared } = call;
    let connection = &site.connection;
    let (lease, (place, request)) = access
        .ask(|lease| async {
            let place = resolve(site, &lease, request, &shared.report).await;
            (lease, place)
        })
        .await?;
    let request = request.as_ref();
    let call = Call { request, ..call };
    let mut lease = Some(lease);
    let listing = place.listing(connection, request, values)?;
    if request.is_final() {
        if request.target.singleton {
            return Err(Error::new(ErrorKind::RowsOnly, "a setup class is one object and no list"));
        }
        check_final(request, &listing, place.dialect(request))?;
    }
    if request.count {
        return count(call, &listing, lease, access).await;
    }
    if let Some(record) = &listing.record
        && by_address(call, &listing, record, &mut lease, access).await?
    {
        return Ok(());
    }
    // Only an identity shows that a row is in two portions.
    let portions = match &request.filter {
        Some(filter) if !listing.identity.is_empty() => portions_of(filter, &listing),
        _ => Vec::new(),
    };
    let portions = match (request.order.first(), portions.len()) {
        (Some(_), 2..) => {
            let message = "the values that it is filtered by take several requests";
            return Err(Error::new(ErrorKind::CannotOrder, message));
        }
        (Some(by), _) if by.nulls_apart && listing.identity.is_empty() => {
            let message = "rows without a key cannot be asked for in parts";
            return Err(Error::new(ErrorKind::CannotOrder, message));
        }
        (Some(by), _) if by.nulls_apart => request.with_nulls_apart(by),
        (_, 0 | 1) => {
            let rows = scan_list(call, &listing, &place, lease, access, None).await?;
            if request.more_follow && request.calls.len() == 1 {
                lists::learn(site, request, listing.writing.dialect, rows, shared).await;
            }
            return Ok(());
        }
        _ => portions
            .into_iter()
            .map(|filter| ScanRequest { filter: Some(filter), ..request.clone() })
            .collect(),
    };
    let mut brought = Portions::default();
    let mut left = VecDeque::from(portions);
    let mut portion = 0;
    while let Some(request) = left.pop_front() {
        let elsewhere = Elsewhere { portions: &mut brought, portion };
        let call = Call { request: &request, ..call };
        let listing = place.listing(connection, &request, values)?;
        match scan_list(call, &listing, &place, lease.take(), access, Some(elsewhere)).await {
            // Rows of other portions may have been handed over, so only this one is split. If its condition cannot be split, it is
            // left out.
            Err(error) if error.kind == ErrorKind::TooLong && portion > 0 => {
                learn_short(site, &error);
                let short = request.with_short_addresses();
                let listing = place.listing(connection, &short, values)?;
                // Portions of an ordered one would come one after the other.
                let filters = short.filter.iter().flat_map(|filter| match short.order.is_empty() {
                    true => portions_of(filter, &listing),
                    false => vec![filter.clone()],
                });
                let filters: Vec<Filter> = filters.collect();
                for filter in filters.into_iter().rev() {
                    left.push_front(ScanRequest { filter: Some(filter), ..short.clone() });
                }
                left.iter_mut().for_each(|request| request.findings.short = true);
            }
            outcome => outcome.map(drop)?,
        }
        portion += 1;
    }
    Ok(())
}

/// A condition in portions that each find room in a request. Rows whose key is not unique are told apart within a portion only, so
/// that their conditions are split only where a row can hardly meet two parts: at a list of one field.
fn portions_of(filter: &Filter, listing: &Listing) -> Vec<Filter> {
    match listing.content {
        Content::Unneeded => filter.clone().portions(&listing.writing),
        Content::OfRow | Content::OfRecord => filter.clone().portions_of_list(&listing.writing),
    }
}

/// Reads the record that a condition names by its whole key. False if it must be looked for in the list, which is
/// always right; the address saves a request.
async fn by_address(
    call: Call<'_>,
    listing: &Listing,
    record: &RecordAddress,
    lease: &mut Option<Lease>,
    access: &mut Access<'_>,
) -> Result<bool> {
    let of_record = listing.of_record(record);
    let mut scan = ListScan::new(call, &of_record, lease.take(), access)?;
    match scan.links(&of_record).await {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::NoRecord && record.certain => return Ok(true),
        Err(Error {
            kind:
                ErrorKind::NoRecord
                | ErrorKind::NotFound
                | ErrorKind::Server
                | ErrorKind::Empty
                | ErrorKind::Protocol
                | ErrorKind::CannotOptimize,
            ..
        }) => return Ok(false),
        Err(error) => return Err(error),
    }
    let alike = |found: &str, wanted: &str| found.trim().to_lowercase() == wanted.trim().to_lowercase();
    let found = scan.decoder.identity_values();
    let is_it = found.len() == record.key.len()
        && found.iter().zip(&record.key).all(|(found, (_, wanted))| alike(found, wanted));
    if is_it {
        scan.hand_over();
    }
    Ok(is_it)
}

/// Reads the rows of a list, without those that are `elsewhere`, and returns their number.
async fn scan_list(
    call: Call<'_>,
    listing: &Listing,
    place: &Location,
    lease: Option<Lease>,
    access: &mut Access<'_>,
    elsewhere: Option<Elsewhere<'_>>,
) -> Result<u64> {
    let mut scan = ListScan::new(call, listing, lease, access)?;
    scan.elsewhere = elsewhere;
    match read_list(call, listing, &mut scan).await {
        Err(error) if listing.is_long && scan.rows_read() == 0 && may_be_of_length(error.kind) => {
            return Err(Error { kind: ErrorKind::TooLong, ..error });
        }
        outcome => outcome?,
    }
    scan.check_fields(listing).await?;
    scan.hand_over();
    scan.end_portion();
    scan.tell_what_is_there();
    scan.check_empty(listing, place.dialect(call.request)).await?;
    Ok(scan.rows_read())
}

/// Reads the rows of a list, in one piece or in pages.
async fn read_list(call: Call<'_>, listing: &Listing, scan: &mut ListScan<'_, '_>) -> Result<()> {
    if !listing.pageable {
        return scan.links(listing).await;
    }
    if !call.request.in_one_piece {
        return scan.pages(listing).await;
    }
    // Of this scan, or of those of the query before.
    let uncut = call.request.uncut.max(call.shared.uncut.load(Ordering::Relaxed));
    // The key of a data access class is that of its table, so it is unique.
    let of_keys = call.request.filter.as_ref().filter(|_| call.request.target.surface == Surface::Dac);
    let most = of_keys.and_then(|filter| filter.most_rows(&call.request.key));
    let all = match scan.links(listing).await {
        Ok(()) if scan.rows_read() < SUSPICIOUS_ROWS.max(uncut + 1) || Some(scan.rows_read()) == most => {
            return Ok(());
        }
        Ok(()) => Some(scan.rows_read()),
        Err(error) if matches!(error.kind, ErrorKind::RequestsUsedUp | ErrorKind::RowsUsedUp) => {
            return Err(error);
        }
        // It was too much for the server, or the answer broke off.
        Err(error) if scan.rows_read() > 0 || may_be_of_condition(error.kind) && !listing.is_long => None,
        Err(error) => return Err(error),
    };
    // Pages begin with the last row that came.
    scan.pages(listing).await?;
    if let Some(all) = all.filter(|all| *all == scan.rows_read()) {
        call.shared.uncut.fetch_max(all, Ordering::Relaxed);
    }
    Ok(())
}

/// Checks that the server can do all that the request asks, since PostgreSQL does not check the result.
fn check_final(request: &ScanRequest, listing: &Listing, dialect: Dialect) -> Result<()> {
    let is_exact =
        request.is_estimate || request.filter.as_ref().is_none_or(|filter| filter.is_exact(dialect));
    if !is_exact || !(request.count || listing.pageable) {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("{} cannot be read in this way", request.target),
        ));
    }
    let asked = filters(request, &listing.writing);
    if request.filter.is_none() || asked.len() > 1 && listing.filter == asked[0] {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Server, "the conditions do not fit into an address"))
}

/// Requests the number of rows.
async fn count(
    call: Call<'_>,
    listing: &Listing,
    lease: Option<Lease>,
    access: &mut Access<'_>,
) -> Result<()> {
    let Call { site, request, shared, .. } = call;
    // The requests so far may have used up the lease; the count takes a new one.
    drop(lease);
    let body = supplement::body(&listing.counted().path_and_query(), request, access, &shared.stats).await?;
    let text = String::from_utf8_lossy(&body);
    // .NET puts a byte order mark before plain text.
    let digits = text.trim_start_matches('\u{feff}').trim();
    let count: i64 = digits.parse().ok().filter(|count| *count >= 0).ok_or_else(|| {
        let start: String = digits.chars().take(60).collect();
        Error::new(
            ErrorKind::Protocol,
            format!("the server sent no number as the count of {}", request.target),
        )
        .detail(format!("It sent: {start}"))
    })?;
    experience::remember_rows(&site.learnt, request, count.unsigned_abs());
    shared.deliver(Batch::of_number(count));
    Ok(())
}
