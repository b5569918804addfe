//! Checks the connection to a server step by step, and reports the outcome of each step.

use std::sync::{Arc, Mutex};

use url::Url;

use crate::config::Credentials;
use crate::dialect::endpoint::{FALLBACK_VERSION, Listed, newest, parse_list};
use crate::encode::encode_segment;
use crate::error::{Error, ErrorKind, Result};
use crate::instance::InstanceUrl;
use crate::metadata::site::Site;
use crate::report::Report;
use crate::request::Surface;
use crate::session::connection::{Connection, LIST_BYTES};
use crate::session::lease::Lease;
use crate::session::oauth::expiry;
use crate::session::sign_out::close;
use crate::session::store::{Grant, Millis, Proof, SessionRecord, now};
use crate::session::tenant::landed;
use crate::transport::cookies::CookieJar;
use crate::transport::http::Request;

/// The outcome of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was tried, such as `sign-in`; each step has one row.
    pub name: &'static str,
    /// `None` if the step was not tried, because an earlier step failed or it was not needed.
    pub ok: Option<bool>,
    /// What was found, or why it failed or was not tried.
    pub detail: String,
    /// What to do about a failure.
    pub hint: Option<String>,
}

/// All steps, in the order of their rows.
const ORDER: [&str; 15] = [
    "url",
    "user mapping",
    "name service",
    "TLS",
    "clock",
    "instance",
    "endpoint",
    "sign-in",
    "tenant",
    "scope",
    "token life",
    "seats",
    "REST",
    "generic inquiries",
    "DAC",
];

/// The steps so far.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    /// Records the outcome of a step, and returns the value of one that succeeded.
    fn note<T>(&mut self, name: &'static str, outcome: Result<(T, String)>) -> Option<T> {
        let (ok, detail, hint, value) = match outcome {
            Ok((value, detail)) => (true, detail, None, Some(value)),
            Err(error) => {
                let words = error.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                (false, format!("{}{words}", error.message), error.hint, None)
            }
        };
        self.0.push(Step { name, ok: Some(ok), detail, hint });
        value
    }

    fn skip(&mut self, name: &'static str, why: impl Into<String>) {
        self.0.push(Step { name, ok: None, detail: why.into(), hint: None });
    }

    /// In their order, with a row for those that were not reached.
    fn finish(mut self) -> Vec<Step> {
        let failed = self.0.iter().find(|step| step.ok == Some(false)).map_or("a step", |step| step.name);
        for name in ORDER {
            if !self.0.iter().any(|step| step.name == name) {
                self.skip(name, format!("not tried, since this failed: {failed}"));
            }
        }
        self.0.sort_by_key(|step| ORDER.iter().position(|name| *name == step.name));
        self.0
    }
}

/// What is asked of the instance besides signing in.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The contract endpoint that the server option names.
    pub endpoint_name: String,
    /// The version; unset, the newest.
    pub endpoint_version: Option<String>,
}

/// Runs all steps. A step that fails is a row that says so, not an error. Opens a session of its own and closes it; if
/// the mapping has a session open, that is closed first.
pub(crate) async fn run(connection: Arc<Connection>, expected: Expected, report: Arc<Report>) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.note("url", Ok(((), connection.config.instance.to_string())));
    steps.note("user mapping", Ok(((), "has the options that the way of signing in needs".to_owned())));
    if let Some(listed) = contact(&connection, &mut steps).await {
        let version = steps.note("endpoint", endpoint(&listed, &expected));
        let own = |record: &SessionRecord| record.mapping == connection.config.state.mapping;
        close(&connection.store, own, Some(&connection)).await;
        let leased = connection.lease(Surface::Rest, &report).await;
        let leased = leased.map(|lease| (lease, signed_in(&connection)));
        if let Some(lease) = steps.note("sign-in", leased) {
            let version = version.as_deref().unwrap_or(FALLBACK_VERSION);
            session(&connection, lease, &expected.endpoint_name, version, &mut steps, &report).await;
        }
        close(&connection.store, own, Some(&connection)).await;
    }
    steps.finish()
}

/// The steps where the options do not even make a client.
pub fn unusable(instance: &InstanceUrl, error: Error) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.note("url", Ok(((), instance.to_string())));
    steps.note::<()>("user mapping", Err(error));
    steps.finish()
}

/// Name service, TLS, clock, and the first answer.
async fn contact(connection: &Connection, steps: &mut Steps) -> Option<Listed> {
    let config = &connection.config;
    let url = connection.url("entity").ok()?;
    match &config.transport.proxy {
        Some(proxy) => steps.skip("name service", format!("left to the proxy {}", proxy.url)),
        None => {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let port = url.port_or_known_default().unwrap_or(443);
            steps.note("name service", resolve(host, port).await.map(|addresses| ((), addresses)))?;
        }
    }
    let jar = Mutex::new(CookieJar::default());
    let answer = connection.http.send(&jar, Request::get(url.clone(), "the list of endpoints")).await;
    let listed = match answer {
        Ok(answer) => answer.text(LIST_BYTES).await.and_then(|body| parse_list(&body)),
        // The list of endpoints may need a session.
        Err(error)
            if matches!(error.kind, ErrorKind::SessionLost | ErrorKind::NotFound | ErrorKind::Forbidden) =>
        {
            Ok(Listed::default())
        }
        Err(error) => Err(error),
    };
    match &listed {
        _ if url.scheme() == "http" => steps.skip("TLS", "not used: the address begins with http"),
        // The host name was resolved, so the handshake failed.
        Err(error) if error.kind == ErrorKind::Connect => {
            return steps.note("TLS", Err(error.clone()));
        }
        Err(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Timeout) => {}
        _ if !config.transport.verify_certificate => {
            steps.skip("TLS", "the certificate was not verified, as verify_certificate demands");
        }
        _ => {
            steps.note("TLS", Ok(((), "the certificate is trusted".to_owned())));
        }
    }
    let listed = steps.note(
        "instance",
        listed.map(|listed| {
            let build = listed.build.as_ref().map_or_else(
                || "it does not tell its build".to_owned(),
                |build| format!("Acumatica build {build}"),
            );
            (listed, build)
        }),
    )?;
    steps.note("clock", clock(connection));
    Some(listed)
}

fn clock(connection: &Connection) -> Result<((), String)> {
    let Some(offset) = connection.http.clock_offset() else {
        return Ok(((), "within five minutes of the server's".to_owned()));
    };
    let direction = if offset > 0 { "behind" } else { "ahead of" };
    Err(Error::new(
        ErrorKind::Definition,
        format!("the clock of this machine is {} minutes {direction} the server's", (offset.abs() + 30) / 60),
    )
    .hint("Set the clock by a time service: certificates and tokens are accepted only at the right time."))
}

async fn resolve(host: &str, port: u16) -> Result<String> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|reason| {
        Error::new(ErrorKind::Connect, format!("could not find the host \"{host}\""))
            .detail(reason)
            .hint("Check the server option \"url\" and the name service.")
    })?;
    let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    addresses.dedup();
    Ok(addresses.join(", "))
}

/// The version to use, and how it was found.
fn endpoint(listed: &Listed, expected: &Expected) -> Result<(String, String)> {
    let Expected { endpoint_name: name, endpoint_version } = expected;
    if listed.endpoints.is_empty() {
        let version = endpoint_version.as_deref().unwrap_or(FALLBACK_VERSION);
        let detail = format!("{name} {version}; the instance does not list its endpoints");
        return Ok((version.to_owned(), detail));
    }
    let newest = newest(&listed.endpoints, name)?;
    let version = endpoint_version.as_ref().unwrap_or(&newest.version);
    let versions = listed.endpoints.iter().filter(|endpoint| endpoint.name.eq_ignore_ascii_case(name));
    let versions: Vec<&str> = versions.map(|endpoint| endpoint.version.as_str()).collect();
    if versions.contains(&version.as_str()) {
        return Ok((version.clone(), format!("{} {version}", newest.name)));
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("the instance has no version {version} of endpoint \"{name}\""),
    )
    .detail(format!("It lists: {}.", versions.join(", ")))
    .hint("Set the server option \"endpoint_version\" to one of them, or leave it out for the newest."))
}

fn signed_in(connection: &Connection) -> String {
    match &connection.config.credentials {
        Credentials::Basic(login) | Credentials::Cookie(login) => format!("as {}", login.username),
        Credentials::OAuthPassword(login, _) => format!("as {}, by an access token", login.username),
        Credentials::OAuth(..) | Credentials::OAuthImplicit(_) => "by an access token".to_owned(),
    }
}

/// The steps that need a session.
async fn session(
    connection: &Arc<Connection>,
    lease: Lease,
    endpoint: &str,
    version: &str,
    steps: &mut Steps,
    report: &Report,
) {
    let rest = read_rest(connection, &lease, endpoint, version).await;
    let company = connection.config.company.as_deref();
    let proof = lease.record().tenant;
    match (&rest, landed(&lease), company.zip(proof)) {
        (Err(error), ..) if error.kind == ErrorKind::Tenant => {
            steps.note::<()>("tenant", Err(error.clone()));
        }
        (_, Some(landed), _) => {
            steps.note("tenant", Ok(((), landed)));
        }
        (_, None, Some((_, Proof::None)) | None) => steps.skip(
            "tenant",
            match company {
                Some(company) => {
                    format!("unproven: the server does not say that the session is in {company}")
                }
                None => "the server does not say where the session is".to_owned(),
            },
        ),
        (_, None, Some((company, proof))) => {
            let by = match proof {
                Proof::SignInPage => "by the sign-in page",
                Proof::Address => "by the address of OData, which names it",
                Proof::ClientId | Proof::None => "by the client ID",
            };
            steps.note("tenant", Ok(((), format!("{company}, {by}"))));
        }
    }
    drop(lease);
    let grant = connection.store.grant(connection.config.state.mapping).ok().flatten();
    match &connection.config.credentials {
        Credentials::OAuth(app, _) | Credentials::OAuthPassword(_, app) => {
            let granted = grant.as_ref().and_then(|grant| grant.scope.clone());
            steps.note("scope", Ok(((), granted.unwrap_or_else(|| app.scope.clone()))));
            let access = grant.as_ref().and_then(|grant| grant.access_expires);
            let refresh = grant.as_ref().and_then(Grant::refresh_expires);
            let by_password = matches!(connection.config.credentials, Credentials::OAuthPassword(..));
            steps.note("token life", token_life(access, refresh, by_password));
        }
        Credentials::OAuthImplicit(token) => {
            steps.skip("scope", "an access token that was obtained elsewhere does not say it");
            steps.note("token life", token_life(expiry(token), None, false));
        }
        Credentials::Basic(_) | Credentials::Cookie(_) => {
            steps.skip("scope", "not used: scopes belong to OAuth");
            steps.skip("token life", "not used: tokens belong to OAuth");
        }
    }
    let open = connection.store.sessions().iter().filter(|(_, record)| record.open).count();
    // The limit is in docs/acumatica.md section 5; no interface reports its current value.
    let seats = format!(
        "{open} of max_sessions {} in use by this cluster; the user's own limit is on screen SM201010, 1 by default",
        connection.config.max_sessions
    );
    steps.note("seats", Ok(((), seats)));
    steps.note("REST", rest.map(|detail| ((), detail)));
    for (name, surface) in [("generic inquiries", Surface::GenericInquiry), ("DAC", Surface::Dac)] {
        steps.note(name, read_odata(connection, surface, report).await.map(|detail| ((), detail)));
    }
}

fn token_life(access: Option<Millis>, refresh: Option<Millis>, by_password: bool) -> Result<((), String)> {
    let minutes = |until: Millis| until.saturating_sub(now()) / 60_000;
    let access = access.map_or_else(
        || "the access token does not say when it expires".to_owned(),
        |until| format!("the access token is valid for {} minutes", minutes(until)),
    );
    match refresh {
        Some(until) => {
            let days = minutes(until) / (24 * 60);
            Ok(((), format!("{access}, the refresh token for {days} days by Acumatica's default")))
        }
        None if by_password => Ok(((), format!("{access}, then the password is used for another one"))),
        None => Err(Error::new(ErrorKind::Credentials, format!("{access}, and there is no refresh token"))
            .hint(
                "When it ends, queries stop until someone signs in again. Have offline_access in the scope, with \
                 auth_strategy OAuth or OAuthPassword.",
            )),
    }
}

/// Everyone who can sign in may read the definition of the endpoint.
async fn read_rest(connection: &Connection, lease: &Lease, name: &str, version: &str) -> Result<String> {
    let path = format!("entity/{}/{}/swagger.json", encode_segment(name), encode_segment(version));
    let url: Url = connection.url(&path)?;
    connection.get(lease, Surface::Rest, url, "the definition of the endpoint").await?;
    Ok(format!("{name} {version} answers"))
}

async fn read_odata(connection: &Arc<Connection>, surface: Surface, report: &Report) -> Result<String> {
    // The surface may not accept a session that was opened by the other way of signing in. Then the second attempt
    // takes another one.
    for _ in 0..2 {
        let lease = connection.lease(surface, report).await?;
        match connection.probe_odata(&lease, surface).await {
            Ok(version) => return Ok(format!("OData {version:?} answers")),
            Err(error) if error.kind == ErrorKind::SessionLost && !lease.fresh => {
                connection.lost(lease, surface).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Forbidden, "the server does not let this user read it"))
}

/// Sends a request in a session, because its answer names the tenant.
pub(crate) async fn tenant(site: &Site, report: &Report) -> Result<()> {
    let connection = &site.connection;
    let lease = connection.lease(Surface::Rest, report).await?;
    let listed = site.newest_endpoint(&lease, "Default").await;
    let version =
        listed.ok().flatten().map_or_else(|| FALLBACK_VERSION.to_owned(), |endpoint| endpoint.version);
    match read_rest(connection, &lease, "Default", &version).await {
        Err(error) if matches!(error.kind, ErrorKind::Credentials | ErrorKind::Tenant) => Err(error),
        // Other failures are reported when a table is read.
        _ => Ok(()),
    }
}
