//! What the definitions of an instance say of the fields of a table, kept for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::catalog::{Contract, EntitySet, MemberType};
use crate::error::{Error, ErrorKind, Result};

/// How long a definition that was read is used without reading it again. Before a field is told not to exist, it is
/// asked for again: so this only bounds how long a field that is gone is still NULL.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// How long one that could not be read is not asked for again: a role may be granted meanwhile.
const LIFE_OF_NONE: Duration = Duration::from_secs(10 * 60);

/// What a list, with its details, or an inquiry consists of.
#[derive(Debug)]
pub(crate) enum Fields {
    /// The types that can be reached, and the one of the record.
    Record(Contract, String),
    Row(EntitySet),
}

/// When the fields were asked for, and which there are, if there is a definition.
type Read = (Instant, Option<Arc<Fields>>);

/// The fields known so far, by the tables that they are of.
#[derive(Debug, Default)]
pub(crate) struct KnownFields(Mutex<HashMap<String, Read>>);

impl KnownFields {
    /// What there is to say of the table at `place`; `None` if the definition may not be read, does not exist or does
    /// not know it. Whether it was asked for just now, by `read`, comes with it: `anew` demands that.
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

/// Whether there is no definition to ask, rather than no server.
fn is_none(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(error.kind, Forbidden | NotFound | Protocol | TooLarge | Server | Empty | Definition | NoRecord)
}

impl Fields {
    /// Those of the entity of this name, if the endpoint has it.
    pub fn of_entity(mut contract: Contract, name: &str) -> Option<Self> {
        let named = |exactly: bool| {
            let is = |other: &str| if exactly { other == name } else { other.eq_ignore_ascii_case(name) };
            contract.entities.iter().find(|entity| is(&entity.name))
        };
        let record = named(true).or_else(|| named(false))?.type_name.clone();
        // A whole endpoint is large, and each backend has its own.
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
