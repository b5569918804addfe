//! What the definitions of an instance say about the fields of a table, kept for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::catalog::{Contract, EntitySet, MemberType};
use crate::error::{Error, ErrorKind, Result};

/// How long a definition is used without reading it again. Before a field is reported as unknown, the definition is
/// read again, so this only limits how long a field that was removed stays NULL.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// How long a missing definition is not asked for again. The user may be granted a role meanwhile.
const LIFE_OF_NONE: Duration = Duration::from_secs(10 * 60);

/// The fields of an entity with its details, or of an inquiry or class.
#[derive(Debug)]
pub(crate) enum Fields {
    /// The types that can be reached, and the name of the record's type.
    Record(Contract, String),
    Row(EntitySet),
}

/// When the fields were asked for, and the fields, if there is a definition.
type Read = (Instant, Option<Arc<Fields>>);

/// The fields known so far, by table.
#[derive(Debug, Default)]
pub(crate) struct KnownFields(Mutex<HashMap<String, Read>>);

impl KnownFields {
    /// The fields of the table at `place`; `None` if the definition does not exist, may not be read or does not have
    /// the table. The flag says whether `read` was called just now; `anew` forces that.
    ///
    /// # Errors
    /// The server cannot be asked now.
    pub async fn get(
        &self,
        place: String,
        anew: bool,
        read: impl AsyncFnOnce() -> Result<Option<Fields>>,
    ) -> Result<(Option<Arc<Fields>>, bool)> {
        let mut known = self.0.lock().await;
        if let Some((since, definition)) = known.get(&place).filter(|_| !anew) {
            let life = if definition.is_some() { LIFE } else { LIFE_OF_NONE };
            if since.elapsed() < life {
                return Ok((definition.clone(), false));
            }
        }
        let definition = match read().await {
            Ok(definition) => definition.map(Arc::new),
            Err(error) if is_none(&error) => None,
            Err(error) => return Err(error),
        };
        known.insert(place, (Instant::now(), definition.clone()));
        Ok((definition, true))
    }
}

/// Whether the definition does not exist or may not be read. Other failures concern the server.
fn is_none(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(error.kind, Forbidden | NotFound | Protocol | TooLarge | Server | Empty | Definition | NoRecord)
}

impl Fields {
    /// The fields of the entity of this name, if the endpoint has it.
    pub fn of_entity(mut contract: Contract, name: &str) -> Option<Self> {
        let named = |exactly: bool| {
            let is = |other: &str| if exactly { other == name } else { other.eq_ignore_ascii_case(name) };
            contract.entities.iter().find(|entity| is(&entity.name))
        };
        let record = named(true).or_else(|| named(false))?.type_name.clone();
        // The definition of a whole endpoint is large, and each backend keeps its own copy, so only the types that the
        // entity reaches are kept.
        let (mut reached, mut open) = (HashMap::new(), vec![record.clone()]);
        while let Some(name) = open.pop() {
            let Some(members) = contract.types.remove(&name) else { continue };
            for member in &members {
                if let MemberType::Linked(to) | MemberType::List(to) = &member.ty {
                    open.push(to.clone());
                }
            }
            reached.insert(name, members);
        }
        contract.entities.clear();
        contract.types = reached;
        Some(Self::Record(contract, record))
    }
}
