//! Which OData layout an instance has (docs/acumatica.md section 1).

use crate::config::ODataVersion;
use crate::dialect::company_required;
use crate::error::{ErrorKind, Result};
use crate::request::Surface;
use crate::session::connection::{Connection, LIST_BYTES};
use crate::session::lease::Lease;
use crate::transport::answer;

impl Connection {
    /// The OData layout of the instance: as configured, else the one whose list of inquiries answers.
    pub async fn odata_version(&self, lease: &Lease) -> Result<ODataVersion> {
        let probe = || self.probe_odata(lease, Surface::GenericInquiry);
        self.odata_version.get_or_try_init(probe).await.copied()
    }

    pub async fn probe_odata(&self, lease: &Lease, surface: Surface) -> Result<ODataVersion> {
        let candidates: &[ODataVersion] = match (self.config.odata_version, &self.config.company) {
            (ODataVersion::Auto, Some(_)) => &[ODataVersion::V4, ODataVersion::V3, ODataVersion::V3OneTenant],
            (ODataVersion::V3, Some(_)) => &[ODataVersion::V3, ODataVersion::V3OneTenant],
            (ODataVersion::V4, _) => &[ODataVersion::V4],
            (ODataVersion::Auto | ODataVersion::V3 | ODataVersion::V3OneTenant, _) => {
                &[ODataVersion::V3OneTenant]
            }
        };
        const WHAT: &str = "the list of inquiries or data access classes";
        let mut missing = None;
        for &version in candidates {
            let root = surface.root(version, self.config.company.as_deref())?;
            match self.get(lease, surface, self.url(&root)?, WHAT).await {
                Ok(answer) => {
                    answer.text(LIST_BYTES).await?;
                    return Ok(version);
                }
                Err(error) if error.kind == ErrorKind::NotFound => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if self.config.company.is_none() && self.config.odata_version == ODataVersion::Auto {
            return Err(company_required());
        }
        Err(missing
            .unwrap_or_else(|| answer::empty(WHAT))
            .hint("Check the server options \"url\", \"company\" and \"odata_version\"."))
    }
}
