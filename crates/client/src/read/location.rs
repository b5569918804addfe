//! Finds the address of a list, as far as only the instance knows it, and reads its beginning.

use std::borrow::Cow;
use std::sync::Arc;

use acumatica_pushdown::{Dialect, Literal};

use crate::config::ODataVersion;
use crate::dialect::{Listing, Page, odata, rest, rest_listing};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::definition::{self, Definition};
use crate::metadata::learnt::{self, Topic};
use crate::metadata::site::Site;
use crate::read::rows::rows_of;
use crate::read::scan::Shared;
use crate::read::supplement;
use crate::report::Report;
use crate::request::{ScanRequest, Surface};
use crate::session::access::Access;
use crate::session::connection::Connection;
use crate::session::lease::Lease;
use crate::transport::answer;

/// The parts of a list's address that only the instance knows.
pub(crate) enum Location {
    Rest { endpoint: String, version: String },
    OData { version: ODataVersion, key: Vec<String> },
}

impl Location {
    pub fn listing(
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

    pub fn dialect(&self, request: &ScanRequest) -> Dialect {
        match self {
            Self::Rest { version, .. } => rest::dialect(&request.target, version),
            Self::OData { version, .. } => odata::dialect(request.target.surface, *version),
        }
    }
}

/// Asks the instance for what only it knows: the version, the layout, the key, and the changes of the request that the
/// definition of an inquiry demands.
pub(crate) async fn resolve<'a>(
    site: &Site,
    lease: &Lease,
    request: &'a ScanRequest,
    report: &Report,
) -> Result<(Location, Cow<'a, ScanRequest>)> {
    let target = &request.target;
    let as_it_is = Cow::Borrowed(request);
    if target.surface == Surface::Rest {
        let rest = |endpoint: &str, version: &str| Location::Rest {
            endpoint: endpoint.to_owned(),
            version: version.to_owned(),
        };
        if let Some(version) = &target.endpoint_version {
            return Ok((rest(&target.endpoint_name, version), as_it_is));
        }
        let place = match site.newest_endpoint(lease, &target.endpoint_name).await? {
            Some(endpoint) => rest(&endpoint.name, &endpoint.version),
            None => rest(&target.endpoint_name, site.guessed_version(report)),
        };
        return Ok((place, as_it_is));
    }
    let version = site.connection.odata_version(lease).await?;
    let odata = |key| Location::OData { version, key };
    let needs_key = request.key.is_empty();
    let needs_definition = definition::needs_definition(request);
    let place = learnt::place(target);
    let known = site.learnt.get(Topic::Definition, &place, Topic::ALL).filter(|_| !needs_key);
    let known = known.and_then(|text| Definition::from_text(&text));
    let (key, definition) = match known {
        _ if !needs_key && !needs_definition => return Ok((odata(request.key.clone()), as_it_is)),
        Some(definition) => (request.key.clone(), definition),
        None => match site.entity_set(lease, target.surface, &target.name).await {
            Err(error) if !needs_key && definition::is_about_document(&error) => {
                (request.key.clone(), Definition::default())
            }
            set => {
                let set = set?;
                let definition = Definition::of(&set, target.surface);
                if needs_definition {
                    site.learnt.add(Topic::Definition, &place, &[Topic::ALL], &definition.to_text());
                }
                (if needs_key { set.key } else { request.key.clone() }, definition)
            }
        },
    };
    let request = if needs_definition { definition.fit(request)? } else { as_it_is };
    Ok((odata(key), request))
}

/// The first rows of a list, as JSON.
pub(crate) async fn beginning(
    site: &Arc<Site>,
    request: &ScanRequest,
    rows: u64,
    shared: &Shared,
) -> Result<Vec<Vec<u8>>> {
    let what = request.target.to_string();
    let mut access =
        Access::new(&site.connection, request.target.surface, &what, &shared.report, &shared.stats.retries);
    let (lease, (place, request)) = access
        .ask(|lease| async {
            let place = resolve(site, &lease, request, &shared.report).await;
            (lease, place)
        })
        .await?;
    drop(lease);
    let request = request.as_ref();
    let call = request.calls.first().map_or(&[][..], Vec::as_slice);
    let listing = place.listing(&site.connection, request, call)?;
    let page = listing.page(Page { skip: 0, top: rows });
    let body = supplement::body(&page, request, &mut access, &shared.stats).await?;
    if body.trim_ascii().is_empty() {
        return Err(answer::empty(&what));
    }
    rows_of(&body).ok_or_else(|| {
        let text = String::from_utf8_lossy(&body);
        Error { kind: ErrorKind::Server, ..answer::failure(&what, reqwest::StatusCode::OK, &text) }
    })
}
