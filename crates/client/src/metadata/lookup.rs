//! Looks up the fields of a request in the definitions of an instance.

use crate::error::Result;
use crate::metadata::discover::Asker;
use crate::metadata::rename::{Renames, renames};
use crate::request::ScanRequest;

/// What the definition of a table says about the names in a request.
#[derive(Debug)]
pub(crate) enum Names {
    /// All names are right.
    Right,
    /// Some fields have other names.
    Otherwise(Renames),
    /// There is no definition to ask.
    NoDefinition,
}

/// Finds the right names for all fields of a request. The caller has no session in use.
///
/// # Errors
/// A field does not exist under any name; the hint names similar fields.
pub(crate) async fn find(asker: &Asker, request: &ScanRequest) -> Result<Names> {
    let (definition, is_new) = asker.fields(&request.target, false).await?;
    let Some(definition) = definition else { return Ok(Names::NoDefinition) };
    let found = match renames(&definition, request) {
        // The field may have been added since the definition was read.
        Err(_) if !is_new => match asker.fields(&request.target, true).await?.0 {
            Some(definition) => renames(&definition, request),
            None => return Ok(Names::NoDefinition),
        },
        found => found,
    };
    Ok(match found? {
        renames if renames.is_empty() => Names::Right,
        renames => Names::Otherwise(renames),
    })
}
