//! Requests for the definitions, lists and files of an instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use url::Url;

use crate::catalog::{Contract, CustomField, EntitySet, Model, loose};
use crate::dialect::endpoint::Endpoint;
use crate::encode::encode_segment;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::adhoc;
use crate::metadata::csdl;
use crate::metadata::fields::Fields;
use crate::metadata::learnt;
use crate::metadata::openapi;
use crate::metadata::sample::{DayFields, day_fields};
use crate::metadata::service;
use crate::metadata::site::Site;
use crate::report::Report;
use crate::request::{Surface, Target};
use crate::session::access::Access;
use crate::session::connection::LIST_BYTES;
use crate::transport::http::Request;
use crate::transport::response::Answer;

/// The largest definition that is read, in bytes. Definitions of endpoints have about 3 MB.
const DEFINITION_BYTES: usize = 64 * 1024 * 1024;

/// What the first rows of inquiries show.
#[derive(Debug, Default)]
pub struct Checked {
    /// The inquiries that the user cannot read, with the errors.
    pub refused: Vec<(String, Error)>,
    /// The date fields of the other inquiries, and whether they hold days.
    pub days: HashMap<String, DayFields>,
}

/// Reads definitions and lists of an instance, and counts the retries.
pub(crate) struct Asker {
    site: Arc<Site>,
    report: Arc<Report>,
    retries: AtomicU64,
}

impl Asker {
    pub fn new(site: Arc<Site>, report: Arc<Report>) -> Self {
        Self { site, report, retries: AtomicU64::new(0) }
    }

    fn access<'a>(&'a self, surface: Surface, what: &'a str) -> Access<'a> {
        Access::new(&self.site.connection, surface, what, &self.report, &self.retries)
    }

    /// Sends a `GET` and lets `read` parse the body of the answer. Both are repeated if the failure may pass.
    async fn get<T, F>(
        &self,
        surface: Surface,
        path: &str,
        what: &str,
        read: impl Fn(Answer) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.get_as(surface, path, "application/json", what, read).await
    }

    async fn get_as<T, F>(
        &self,
        surface: Surface,
        path: &str,
        accept: &'static str,
        what: &str,
        read: impl Fn(Answer) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let url = &self.site.connection.url(path)?;
        self.get_url(surface, url, accept, what, read).await
    }

    async fn get_url<T, F>(
        &self,
        surface: Surface,
        url: &Url,
        accept: &'static str,
        what: &str,
        read: impl Fn(Answer) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (connection, read) = (&self.site.connection, &read);
        let mut access = self.access(surface, what);
        let (_, outcome) = access
            .ask(|lease| async move {
                let request = Request::get(url.clone(), what).accept(accept);
                let outcome = match connection.send(&lease, surface, request).await {
                    Ok(answer) => read(answer).await,
                    Err(error) => Err(error),
                };
                (lease, outcome)
            })
            .await?;
        Ok(outcome)
    }

    /// The contract endpoints that the instance lists; empty if it does not.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let site = &self.site;
        let mut access = self.access(Surface::Rest, "the list of endpoints");
        let (_, endpoints) = access
            .ask(|lease| async move {
                let endpoints = site.endpoints(&lease).await.map(<[Endpoint]>::to_vec);
                (lease, endpoints)
            })
            .await?;
        Ok(endpoints)
    }

    /// The endpoint by this name in that version, else in the newest that there is.
    pub async fn endpoint(&self, name: &str, version: Option<&str>) -> Result<Endpoint> {
        let listed = self.endpoints().await?;
        if listed.is_empty() {
            let version = match version {
                Some(version) => version,
                None => self.site.guessed_version(&self.report),
            };
            return Ok(Endpoint { name: name.to_owned(), version: version.to_owned() });
        }
        let newest = crate::dialect::endpoint::newest(&listed, name)?.clone();
        Ok(match version {
            Some(version) => Endpoint { version: version.to_owned(), ..newest },
            None => newest,
        })
    }

    /// The definition of an endpoint.
    pub async fn contract(&self, endpoint: &Endpoint) -> Result<Contract> {
        let what = format!("the definition of endpoint \"{}\" {}", endpoint.name, endpoint.version);
        let path = format!("{}/swagger.json", root(endpoint));
        let read = async |answer: Answer| openapi::parse(&answer.document(DEFINITION_BYTES).await?);
        self.get(Surface::Rest, &path, &what, read).await
    }

    /// The custom fields of entities, and which of these could not be asked for them.
    pub async fn all_custom_fields(
        &self,
        endpoint: &Endpoint,
        entities: &[String],
    ) -> Result<(CustomFields, Vec<Error>)> {
        let (mut fields, mut faults) = (HashMap::new(), Vec::new());
        for entity in entities {
            match self.custom_fields(endpoint, entity).await {
                Ok(found) => drop(fields.insert(entity.clone(), found)),
                Err(error) if is_about_one(&error) => faults.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((fields, faults))
    }

    /// What the `$metadata` says of all inquiries or data access classes, and what it does not say of inquiries that
    /// the service document lists.
    pub async fn definitions(&self, surface: Surface) -> Result<Model> {
        let mut model = self.model(surface, None).await?;
        if surface == Surface::GenericInquiry {
            for name in self.sets(surface).await? {
                if csdl::find(&model, &name).is_none() {
                    model.faults.push(format!("generic inquiry \"{name}\" is not defined in the $metadata"));
                }
            }
        }
        Ok(model)
    }

    /// Which of the inquiries the user cannot read, and why.
    pub async fn check_inquiries(&self, names: &[String]) -> Result<Checked> {
        let (mut refused, mut days) = (Vec::new(), HashMap::new());
        let mut in_a_row = 0;
        for name in names {
            match self.check_inquiry(name).await {
                Ok(fields) => {
                    in_a_row = 0;
                    days.insert(name.clone(), fields);
                }
                Err(error) if is_about_one(&error) => refused.push((name.clone(), error)),
                // A single inquiry may be slow; if several in a row do not answer, the server is at fault.
                Err(error) if error.may_be_of_one() && in_a_row < 2 => {
                    in_a_row += 1;
                    refused.push((name.clone(), error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Checked { refused, days })
    }

    /// The custom fields of an entity.
    pub async fn custom_fields(&self, endpoint: &Endpoint, entity: &str) -> Result<Vec<CustomField>> {
        let what = format!("the custom fields of entity \"{entity}\"");
        let path = format!("{}/{}/$adHocSchema", root(endpoint), encode_segment(entity));
        let read = async |answer: Answer| adhoc::parse(&answer.document(LIST_BYTES).await?);
        self.get(Surface::Rest, &path, &what, read).await
    }

    /// The inquiries or data access classes by the names that are `wanted`; all without.
    pub async fn model(&self, surface: Surface, wanted: Option<&HashSet<String>>) -> Result<Model> {
        let path = format!("{}/$metadata", self.odata_root(surface).await?);
        let fits = |name: &str| wanted.is_none_or(|wanted| wanted.contains(&loose(name)));
        let fits = &fits;
        let read = async |answer: Answer| csdl::parse(answer.reader(), fits).await;
        // The document exists only as XML. The server fails if it is asked for JSON (docs/acumatica.md section 3).
        self.get_as(surface, &path, "application/xml", "the $metadata of the instance", read).await
    }

    /// One inquiry or data access class, as scans know it already; it has no name if there is no such thing.
    pub async fn entity_set(&self, surface: Surface, name: &str) -> Result<EntitySet> {
        let site = &self.site;
        let mut access = self.access(surface, "the $metadata of the instance");
        let (_, set) = access
            .ask(|lease| async move {
                let set = site.entity_set(&lease, surface, name).await;
                (lease, set)
            })
            .await?;
        Ok(set)
    }

    /// What the definitions say of the fields of a table, as far as they are remembered or, `anew`, as they are now;
    /// `None` if the definition may not be read, does not exist or does not know the table. The caller has no session
    /// in use: one is needed. Whether it was asked for just now comes with it.
    ///
    /// # Errors
    /// The server cannot be asked now.
    pub async fn fields(&self, target: &Target, anew: bool) -> Result<(Option<Arc<Fields>>, bool)> {
        let read = async || self.read_fields(target, anew).await;
        self.site.fields.get(learnt::place(target), anew, read).await
    }

    async fn read_fields(&self, target: &Target, anew: bool) -> Result<Option<Fields>> {
        if target.surface == Surface::Rest {
            let endpoint = self.endpoint(&target.endpoint_name, target.endpoint_version.as_deref()).await?;
            let contract = self.contract(&endpoint).await?;
            return Ok(Fields::of_entity(contract, &target.name));
        }
        if !anew {
            let set = self.entity_set(target.surface, &target.name).await?;
            return Ok((!set.name.is_empty()).then_some(Fields::Row(set)));
        }
        let wanted = HashSet::from([loose(&target.name)]);
        let model = self.model(target.surface, Some(&wanted)).await?;
        Ok(csdl::find(&model, &target.name).cloned().map(Fields::Row))
    }

    /// The names that the service document lists.
    pub async fn sets(&self, surface: Surface) -> Result<Vec<String>> {
        let path = self.odata_root(surface).await?;
        let what = "the list of inquiries or data access classes";
        let read = async |answer: Answer| service::parse(&answer.document(LIST_BYTES).await?);
        self.get(surface, &path, what, read).await
    }

    /// Whether the user may read an inquiry: its first row is asked for, and tells which of its fields hold days.
    pub async fn check_inquiry(&self, name: &str) -> Result<DayFields> {
        let root = self.odata_root(Surface::GenericInquiry).await?;
        let what = format!("generic inquiry \"{name}\"");
        let path = format!("{root}/{}?$top=1", encode_segment(name));
        let read = async |answer: Answer| Ok(answer.bytes(LIST_BYTES).await.unwrap_or_default());
        Ok(day_fields(&self.get(Surface::GenericInquiry, &path, &what, read).await?))
    }

    /// The content of an attachment, which may have at most `limit` bytes.
    pub async fn file(&self, href: &str, limit: usize) -> Result<Vec<u8>> {
        let url = self.site.connection.config.instance.resolve(href).ok_or_else(|| {
            Error::new(ErrorKind::Definition, "the address of the file leads to another site")
                .detail(format!("The address is \"{href}\"."))
                .hint("Give the href that the column files shows.")
        })?;
        let read = async |answer: Answer| answer.bytes(limit).await;
        let content = self.get_url(Surface::Rest, &url, "*/*", "the file", read).await;
        content.map_err(|error| match error.kind {
            ErrorKind::TooLarge => {
                error.hint("Raise the last argument of acumatica_file(), which is in bytes.")
            }
            _ => error,
        })
    }

    async fn odata_root(&self, surface: Surface) -> Result<String> {
        let connection = &self.site.connection;
        let mut access = self.access(surface, "the list of inquiries or data access classes");
        let (_, version) = access
            .ask(|lease| async move {
                let version = connection.odata_version(&lease).await;
                (lease, version)
            })
            .await?;
        surface.root(version, connection.config.company.as_deref())
    }
}

/// Custom fields by entity.
pub type CustomFields = HashMap<String, Vec<CustomField>>;

/// Whether a failure concerns only the thing that was asked for, so that others may still be read.
fn is_about_one(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind,
        Forbidden
            | NotFound
            | NoRecord
            | UnknownField
            | CannotOptimize
            | Server
            | Protocol
            | TooLarge
            | ParameterMissing
    )
}

fn root(endpoint: &Endpoint) -> String {
    format!("entity/{}/{}", encode_segment(&endpoint.name), encode_segment(&endpoint.version))
}
