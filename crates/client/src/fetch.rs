//! The task behind a scan: what is asked, of which place, in how many requests, and what is done where the server
//! refuses.

use std::borrow::Cow;
use std::sync::Arc;

use crate::access::Access;
use crate::config::ODataVersion;
use crate::decode::Batch;
use crate::definition::{self, Definition};
use crate::dialect::{Listing, Record, filters, odata, rest, rest_listing};
use crate::discover::Asker;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Dialect, Filter};
use crate::learnt::{self, Topic};
use crate::lease::Lease;
use crate::literal::Literal;
use crate::pages::{Elsewhere, Scan};
use crate::parameters;
use crate::portions::Portions;
use crate::refusal::{self, blamed, columns_of, listed, may_be_of_condition};
use crate::rename;
use crate::report::Report;
use crate::request::{ScanRequest, Surface};
use crate::scan::Shared;
use crate::session::{Connection, Reader};
use crate::supplement;

/// Reads all of it.
pub(crate) async fn run(connection: Arc<Connection>, request: ScanRequest, shared: &Shared) -> Result<()> {
    let _reader = Reader(Arc::clone(&connection));
    let request = match connection.renames.get(&request).await {
        Some(renames) => rename::apply(&request, &renames),
        None => request,
    };
    let unknown = match read_somehow(&connection, &request, shared).await {
        Err(error) if may_be_written_otherwise(&request, error.kind) => error,
        outcome => return outcome,
    };
    let asker = Asker::new(Arc::clone(&connection), Arc::clone(&shared.report));
    let renames = rename::find(&asker, &request, unknown.clone()).await?;
    if renames.is_empty() || shared.has_begun() {
        return Err(unknown);
    }
    let renames = connection.renames.add(&request, renames).await;
    read_somehow(&connection, &rename::apply(&request, &renames), shared).await
}

/// Reads the rows; without the conditions that the server cannot apply, since they are checked again anyway.
async fn read_somehow(connection: &Arc<Connection>, request: &ScanRequest, shared: &Shared) -> Result<()> {
    if request.is_final() {
        return read_at_once(connection, request, shared).await;
    }
    let target = request.target.to_string();
    let place = learnt::place(&request.target);
    let known = connection.learnt.names(Topic::Filter, &place);
    let without = |fields: &[String]| {
        let filter = request.filter.as_ref();
        filter.and_then(|filter| filter.without(&|path| fields.contains(&path.join("/"))))
    };
    let request = &ScanRequest { filter: without(&known), ..request.clone() };
    let why = match read(connection, request, shared).await {
        Err(error) if !shared.has_begun() && may_be_of_condition(error.kind) => error,
        outcome => return outcome,
    };
    if !request.order.is_empty() {
        return Err(Error { kind: ErrorKind::CannotOrder, ..why });
    }
    let Some(filter) = &request.filter else { return Err(refusal::unreadable(request, why)) };
    let blamed = blamed(&filter.paths(), &why);
    let fields = [known.as_slice(), &blamed].concat();
    let again = ScanRequest { filter: without(&fields), ..request.clone() };
    read(connection, &again, shared).await.map_err(|error| match error.kind {
        kind if may_be_of_condition(kind) => refusal::unreadable(request, error),
        _ => error,
    })?;
    let columns: Vec<String> = columns_of(request, &blamed);
    shared.report.notice(
        format!("the server could not filter {target} by {}: {why}", listed(&columns)),
        format!("The rows were filtered here. Set the option pushdown of {} to off: then the server is not asked.", listed(&columns)),
    );
    connection.learnt.add(Topic::Filter, &place, &blamed, "");
    Ok(())
}

/// Has the server count the rows or leave out the first of them, unless it is known to refuse a condition. What else it
/// refuses it is asked for again the next time: it may have been for the columns, the values, or a failure that has passed.
///
/// # Errors
/// [`ErrorKind::RowsOnly`] if it does.
async fn read_at_once(connection: &Arc<Connection>, request: &ScanRequest, shared: &Shared) -> Result<()> {
    let target = request.target.to_string();
    let what = if request.count { "count" } else { "leave out the first rows of" };
    let fields: Vec<String> = request.filter.iter().flat_map(Filter::paths).collect();
    let known = connection.learnt.names(Topic::Filter, &learnt::place(&request.target));
    if known.iter().any(|field| fields.contains(field)) {
        // A scan of the rows has told.
        return Err(Error::new(ErrorKind::RowsOnly, format!("the server has refused to filter {target}")));
    }
    let why = match read(connection, request, shared).await {
        Err(error) if !shared.has_begun() && may_be_of_whole(error.kind) => error,
        outcome => return outcome,
    };
    let order = request.order.iter().map(|by| &by.field).filter(|field| !fields.contains(field));
    let asked: Vec<String> = fields.iter().chain(order).cloned().collect();
    let mut hint = "The rows were read and counted here.".to_owned();
    if !asked.is_empty() {
        let columns = listed(&columns_of(request, &asked));
        hint += &format!(
            " Set the option pushdown of {columns} to off if that is why: then the server is not asked."
        );
    }
    Err(Error::new(ErrorKind::RowsOnly, format!("the server could not {what} {target}: {why}")).hint(hint))
}

/// Whether a failure to do something with all rows may be none to read them.
fn may_be_of_whole(kind: ErrorKind) -> bool {
    may_be_of_condition(kind)
        || matches!(kind, ErrorKind::NotFound | ErrorKind::Protocol | ErrorKind::CannotOrder)
}

/// Whether a failure may come from names that the table writes otherwise: a function whose parameters have other names
/// is not found.
fn may_be_written_otherwise(request: &ScanRequest, kind: ErrorKind) -> bool {
    let called = request.target.surface == Surface::GenericInquiry && !request.parameters.is_empty();
    kind == ErrorKind::UnknownField || kind == ErrorKind::NotFound && called
}

/// Reads the rows of all calls.
async fn read(connection: &Arc<Connection>, request: &ScanRequest, shared: &Shared) -> Result<()> {
    let what = request.target.to_string();
    let mut access =
        Access::new(connection, request.target.surface, &what, &shared.report, &shared.stats.retries);
    for call in &request.calls {
        parameters::check_given(request, call)?;
        run_call(request, call, &mut access, shared).await?;
    }
    Ok(())
}

/// Reads the rows of one call, in as many portions as its conditions need.
async fn run_call(
    request: &ScanRequest,
    call: &[Option<Literal>],
    access: &mut Access<'_>,
    shared: &Shared,
) -> Result<()> {
    let connection = access.connection;
    let (lease, (place, request)) = access
        .ask(|lease| async {
            let place = resolve(connection, &lease, request, &shared.report).await;
            (lease, place)
        })
        .await?;
    let request = request.as_ref();
    let mut lease = Some(lease);
    let listing = place.listing(connection, request, call)?;
    if request.is_final() {
        if request.target.singleton {
            return Err(Error::new(ErrorKind::RowsOnly, "a setup class is one object and no list"));
        }
        check_final(request, &listing, place.dialect(request))?;
    }
    if request.count {
        return count(request, &listing, lease, access, shared).await;
    }
    if let Some(record) = &listing.record
        && by_address(request, call, &listing, record, &mut lease, access, shared).await?
    {
        return Ok(());
    }
    // Rows that are in two portions can only be told by their identity.
    let portions = match &request.filter {
        Some(filter) if !listing.identity.is_empty() => filter.clone().portions(place.dialect(request)),
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
        (_, 0 | 1) => return scan_list(request, call, &listing, lease, access, shared, None).await,
        _ => portions
            .into_iter()
            .map(|filter| ScanRequest { filter: Some(filter), ..request.clone() })
            .collect(),
    };
    let mut brought = Portions::default();
    for (portion, request) in portions.into_iter().enumerate() {
        let elsewhere = Elsewhere { portions: &mut brought, portion };
        let listing = place.listing(connection, &request, call)?;
        scan_list(&request, call, &listing, lease.take(), access, shared, Some(elsewhere)).await?;
    }
    Ok(())
}

/// Reads the record that a condition names by its whole key; false if it is to be looked for in the list. That is
/// always right, and one request instead of two.
async fn by_address(
    request: &ScanRequest,
    call: &[Option<Literal>],
    listing: &Listing,
    record: &Record,
    lease: &mut Option<Lease>,
    access: &mut Access<'_>,
    shared: &Shared,
) -> Result<bool> {
    let of_record = listing.of_record(record);
    let mut scan = Scan::new(request, call, &of_record, lease.take(), access, shared)?;
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

/// Reads the rows of a list, but those that are `elsewhere`.
async fn scan_list(
    request: &ScanRequest,
    call: &[Option<Literal>],
    listing: &Listing,
    lease: Option<Lease>,
    access: &mut Access<'_>,
    shared: &Shared,
    elsewhere: Option<Elsewhere<'_>>,
) -> Result<()> {
    let mut scan = Scan::new(request, call, listing, lease, access, shared)?;
    scan.elsewhere = elsewhere;
    if listing.pageable {
        scan.pages(listing).await?
    } else {
        scan.links(listing).await?
    }
    scan.check_fields(listing)?;
    scan.hand_over();
    scan.end_portion();
    scan.check_empty(listing).await
}

/// That the server is asked all that it was to be asked: nothing is checked again.
fn check_final(request: &ScanRequest, listing: &Listing, dialect: Dialect) -> Result<()> {
    let is_exact = request.filter.as_ref().is_none_or(|filter| filter.is_exact(dialect));
    if !is_exact || !(request.count || listing.pageable) {
        return Err(Error::new(ErrorKind::Internal, format!("{} cannot be asked so", request.target)));
    }
    let asked = filters(request, dialect);
    if request.filter.is_none() || asked.len() > 1 && listing.filter == asked[0] {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Server, "the conditions find no room in an address"))
}

/// How many rows there are.
async fn count(
    request: &ScanRequest,
    listing: &Listing,
    lease: Option<Lease>,
    access: &mut Access<'_>,
    shared: &Shared,
) -> Result<()> {
    // What was found out so far needed a session; the count gets one that is alive.
    drop(lease);
    let body = supplement::body(&listing.counted().path_and_query(), request, access, &shared.stats).await?;
    let text = String::from_utf8_lossy(&body);
    // .NET puts a byte order mark before plain text.
    let digits = text.trim_start_matches('\u{feff}').trim();
    let count = digits.parse().ok().filter(|count| *count >= 0).ok_or_else(|| {
        let start: String = digits.chars().take(60).collect();
        Error::new(
            ErrorKind::Protocol,
            format!("the server sent no number as the count of {}", request.target),
        )
        .detail(format!("It sent: {start}"))
    })?;
    shared.deliver(Batch::of_number(count));
    Ok(())
}

/// What only the instance knows of where a list is.
enum Place {
    Rest { endpoint: String, version: String },
    OData { version: ODataVersion, key: Vec<String> },
}

impl Place {
    fn listing(
        &self,
        connection: &Connection,
        request: &ScanRequest,
        call: &[Option<Literal>],
    ) -> Result<Listing> {
        match self {
            Self::Rest { endpoint, version } => rest_listing(request, endpoint, version, call),
            Self::OData { version, key } => {
                odata::listing(request, *version, connection.config.company.as_deref(), key, call)
            }
        }
    }

    fn dialect(&self, request: &ScanRequest) -> Dialect {
        match self {
            Self::Rest { version, .. } => rest::dialect(&request.target, version),
            Self::OData { version, .. } => odata::dialect(request.target.surface, *version),
        }
    }
}

/// Finds out what only the instance knows: version, layout, key, and what the definition of an inquiry changes in the
/// request.
async fn resolve<'a>(
    connection: &Connection,
    lease: &Lease,
    request: &'a ScanRequest,
    report: &Report,
) -> Result<(Place, Cow<'a, ScanRequest>)> {
    let target = &request.target;
    let as_it_is = Cow::Borrowed(request);
    if target.surface == Surface::Rest {
        let rest = |endpoint: &str, version: &str| Place::Rest {
            endpoint: endpoint.to_owned(),
            version: version.to_owned(),
        };
        if let Some(version) = &target.endpoint_version {
            return Ok((rest(&target.endpoint_name, version), as_it_is));
        }
        let place = match connection.newest_endpoint(lease, &target.endpoint_name).await? {
            Some(endpoint) => rest(&endpoint.name, &endpoint.version),
            None => rest(&target.endpoint_name, connection.guessed_version(report)),
        };
        return Ok((place, as_it_is));
    }
    let version = connection.odata_version(lease).await?;
    let odata = |key| Place::OData { version, key };
    let needs_key = request.key.is_empty();
    let needs_definition = definition::needs_definition(request);
    let place = learnt::place(target);
    let known = connection.learnt.get(Topic::Definition, &place, Topic::ALL).filter(|_| !needs_key);
    let known = known.and_then(|text| Definition::from_text(&text));
    let (key, definition) = match known {
        _ if !needs_key && !needs_definition => return Ok((odata(request.key.clone()), as_it_is)),
        Some(definition) => (request.key.clone(), definition),
        None => match connection.entity_set(lease, target.surface, &target.name).await {
            Err(error) if !needs_key && definition::is_about_document(&error) => {
                (request.key.clone(), Definition::default())
            }
            set => {
                let set = set?;
                let definition = Definition::of(&set, target.surface);
                if needs_definition {
                    connection.learnt.add(Topic::Definition, &place, &[Topic::ALL], &definition.to_text());
                }
                (if needs_key { set.key } else { request.key.clone() }, definition)
            }
        },
    };
    let request = if needs_definition { definition.fit(request)? } else { as_it_is };
    Ok((odata(key), request))
}
