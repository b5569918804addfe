//! A request in a session, and its answer.

use std::sync::atomic::Ordering;

use url::Url;

use crate::encode::encode_segment;
use crate::error::Result;
use crate::request::Surface;
use crate::session::connection::Connection;
use crate::session::lease::Lease;
use crate::transport::http::Request;
use crate::transport::response::Answer;

impl Connection {
    /// Reads JSON from `url` in a session.
    pub async fn get(&self, lease: &Lease, surface: Surface, url: Url, what: &str) -> Result<Answer> {
        self.send(lease, surface, Request::get(url, what)).await
    }

    /// Sends a request in a session.
    pub async fn send<'a>(
        &'a self,
        lease: &'a Lease,
        surface: Surface,
        request: Request<'a>,
    ) -> Result<Answer> {
        let request = request.authorization(self.authorization(lease, surface));
        lease.requests.fetch_add(1, Ordering::Relaxed);
        let addressed = surface != Surface::Rest && self.names_tenant(request.url());
        let answer = self.http.send(&lease.jar, request).await?;
        if let Err(error) = self.check_tenant(lease, addressed, false).await {
            self.logout(lease).await;
            return Err(error);
        }
        let mut record = lease.record();
        if record.how != self.way_in(surface) {
            record.elsewhere = Some(true);
        }
        drop(record);
        Ok(answer)
    }

    /// Whether an address below one of the OData roots names the tenant.
    fn names_tenant(&self, url: &Url) -> bool {
        let Some(company) = &self.config.company else { return false };
        let segment = encode_segment(company);
        url.path_segments().is_some_and(|mut segments| segments.any(|other| other == segment))
    }
}
