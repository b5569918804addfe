//! What is known about the instance behind a connection: requested once and kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::catalog::{EntitySet, Model, loose};
use crate::config::Config;
use crate::dialect::endpoint::{self, Endpoint, FALLBACK_VERSION};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::csdl;
use crate::metadata::definition::Inquiries;
use crate::metadata::fields::KnownFields;
use crate::metadata::learnt::{self, Learnt};
use crate::metadata::rename;
use crate::metadata::speed::Speeds;
use crate::report::Report;
use crate::request::Surface;
use crate::session::connection::{Connection, LIST_BYTES};
use crate::session::lease::Lease;
use crate::transport::http::Request;

/// A connection, and what its server has answered so far.
#[derive(Debug)]
pub(crate) struct Site {
    pub connection: Arc<Connection>,
    endpoints: OnceCell<Vec<Endpoint>>,
    entity_sets: AsyncMutex<HashMap<(Surface, String), Result<EntitySet>>>,
    told_guess: AtomicBool,
    inquiries: Inquiries,
    pub renames: rename::KnownRenames,
    pub fields: KnownFields,
    pub learnt: Learnt,
    pub speeds: Speeds,
}

impl Site {
    /// # Errors
    /// TLS or the shared state cannot be set up. Nothing is sent yet.
    pub fn new(config: Config) -> Result<Self> {
        let of = learnt::site(&config.instance, config.company.as_deref());
        let connection = Connection::new(config)?;
        Ok(Self {
            learnt: Learnt::new(Arc::clone(&connection.store), connection.config.state.mapping, of),
            connection: Arc::new(connection),
            endpoints: OnceCell::new(),
            entity_sets: AsyncMutex::default(),
            told_guess: AtomicBool::new(false),
            inquiries: Inquiries::default(),
            renames: rename::KnownRenames::default(),
            fields: KnownFields::default(),
            speeds: Speeds::default(),
        })
    }

    /// What `$metadata` says of an inquiry or DAC; asked for once, since the document may be long.
    ///
    /// # Errors
    /// It cannot be read, or the name is that of two classes.
    pub async fn entity_set(&self, lease: &Lease, surface: Surface, name: &str) -> Result<EntitySet> {
        if surface == Surface::GenericInquiry {
            return self.inquiries.find(name, async || self.model(lease, surface, &|_| true).await).await;
        }
        let mut known = self.entity_sets.lock().await;
        let key = (surface, name.to_owned());
        if let Some(set) = known.get(&key) {
            return set.clone();
        }
        let model = self.model(lease, surface, &|other| loose(other) == loose(name)).await?;
        let set = match (csdl::find(&model, name), csdl::rival(&model, name)) {
            (Some(found), Some(class)) => Err(ambiguous(name, &found.name, &class.name)),
            (found, _) => Ok(found.cloned().unwrap_or_default()),
        };
        known.insert(key, set.clone());
        set
    }

    /// What `$metadata` says of the sets that are wanted.
    async fn model(
        &self,
        lease: &Lease,
        surface: Surface,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Model> {
        let root = surface
            .root(self.connection.odata_version(lease).await?, self.connection.config.company.as_deref())?;
        let url = self.connection.url(&format!("{root}/$metadata"))?;
        // The document exists only as XML. The server fails if it is asked for JSON.
        let request = Request::get(url, "the $metadata of the instance").accept("application/xml");
        let document = self.connection.send(lease, surface, request).await?;
        csdl::parse(document.reader(), wanted).await
    }

    /// The endpoint of this name in the newest version that the instance lists; `None` if the instance does not list
    /// its endpoints.
    ///
    /// # Errors
    /// The instance lists its endpoints, and this is not among them.
    pub async fn newest_endpoint(&self, lease: &Lease, name: &str) -> Result<Option<Endpoint>> {
        let endpoints = self.endpoints(lease).await?;
        if endpoints.is_empty() {
            return Ok(None);
        }
        endpoint::newest(endpoints, name).cloned().map(Some)
    }

    /// The endpoints that the instance lists, asked for once; empty if it does not say what it has.
    pub async fn endpoints(&self, lease: &Lease) -> Result<&[Endpoint]> {
        let connection = &self.connection;
        let listed = self
            .endpoints
            .get_or_try_init(|| async {
                let what = "the list of endpoints";
                match connection.get(lease, Surface::Rest, connection.url("entity")?, what).await {
                    Ok(answer) => Ok(endpoint::parse_list(&answer.text(LIST_BYTES).await?)?.endpoints),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(listed)
    }

    /// The version that is assumed for an endpoint of an instance that does not list them. A NOTICE says once that it
    /// is a guess.
    pub fn guessed_version(&self, report: &Report) -> &'static str {
        if !self.told_guess.swap(true, Ordering::Relaxed) {
            report.notice(
                format!(
                    "server \"{}\" does not list its endpoints: version {FALLBACK_VERSION} is assumed",
                    self.connection.config.server
                ),
                "Set the server option \"endpoint_version\" to the version on screen SM207060.".to_owned(),
            );
        }
        FALLBACK_VERSION
    }
}

/// The error for a name that is the set of one class and also the name of another class.
fn ambiguous(name: &str, set: &str, class: &str) -> Error {
    Error::new(ErrorKind::Definition, format!("the name \"{name}\" stands for two data access classes"))
        .detail(format!(
            "The server answers with rows of \"{set}\", but the class of that name is \"{class}\"."
        ))
        .hint("Name the one that is meant in full in the option \"entity\" of the table.")
}
