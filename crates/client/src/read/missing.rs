//! Fields that no row has: they are NULL, or have another name.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::metadata::discover::Asker;
use crate::metadata::learnt::{self, Topic};
use crate::metadata::lookup::{self, Names};
use crate::metadata::site::Site;
use crate::read::notices::Refused;
use crate::read::refusal::{columns_of, listed};
use crate::report::Report;
use crate::request::ScanRequest;
use crate::transport::answer;

/// Finds out whether columns that no row has are NULL. The caller has no session in use.
///
/// # Errors
/// A field has another name, or does not exist.
pub(crate) async fn vouch(
    site: &Arc<Site>,
    request: &ScanRequest,
    columns: &[usize],
    report: &Arc<Report>,
) -> Result<()> {
    let paths: Vec<String> = columns.iter().map(|&column| request.columns[column].path.join("/")).collect();
    let asker = Asker::new(Arc::clone(site), Arc::clone(report));
    match lookup::find(&asker, request).await? {
        Names::Right => site.learnt.add(Topic::Absent, &learnt::place(&request.target), &paths, ""),
        Names::Otherwise(_) => {
            return Err(field_missing(request, columns));
        }
        Names::NoDefinition => {
            report.tell(Refused::Missing(&paths).notice(request));
        }
    }
    Ok(())
}

/// The error that makes the ladder look up fields; its detail has one field in each line.
pub(crate) fn field_missing(request: &ScanRequest, columns: &[usize]) -> Error {
    let paths: Vec<String> = columns.iter().map(|&column| request.columns[column].path.join("/")).collect();
    let names = listed(&columns_of(request, &paths));
    Error::new(ErrorKind::FieldMissing, format!("no row of {} has the field of {names}", request.target))
        .detail(paths.join("\n"))
        .hint(answer::FIELD_HINT)
}
