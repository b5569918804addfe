//! Asks the definitions of an instance for the right names of the fields in a request.

use crate::error::Result;
use crate::metadata::discover::Asker;
use crate::metadata::rename::{Renames, renames};
use crate::request::ScanRequest;

/// What the definition of a table says of the names in a request.
#[derive(Debug)]
pub(crate) enum Found {
    /// They are right.
    Right,
    /// Some are written otherwise.
    Otherwise(Renames),
    /// There is no definition to ask.
    NoDefinition,
}

/// Finds the right names for all fields of a request. The caller has no session in use.
///
/// # Errors
/// A field is none, under any name; the hint says which are near.
pub(crate) async fn find(asker: &Asker, request: &ScanRequest) -> Result<Found> {
    let (definition, is_new) = asker.fields(&request.target, false).await?;
    let Some(definition) = definition else { return Ok(Found::NoDefinition) };
    let found = match renames(&definition, request) {
        // It may have been added since.
        Err(_) if !is_new => match asker.fields(&request.target, true).await?.0 {
            Some(definition) => renames(&definition, request),
            None => return Ok(Found::NoDefinition),
        },
        found => found,
    };
    Ok(match found? {
        renames if renames.is_empty() => Found::Right,
        renames => Found::Otherwise(renames),
    })
}
