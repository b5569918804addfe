//! Goes the whole way to a server step by step, and says how far it comes.

use std::sync::Arc;

use url::Url;

use crate::config::Credentials;
use crate::cookies::CookieJar;
use crate::dialect::encode_segment;
use crate::endpoint::{FALLBACK_VERSION, Listed, newest, parse_list};
use crate::error::{Error, ErrorKind, Result};
use crate::http::Request;
use crate::report::Report;
use crate::request::Surface;
use crate::session::{Connection, LIST_BYTES, Lease, close};
use crate::store::Millis;

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    /// `None` if it was not tried, since one before it failed or there was no need.
    pub ok: Option<bool>,
    pub detail: String,
    pub hint: Option<String>,
}

impl Step {
    fn of(name: &'static str, outcome: Result<String>) -> Self {
        match outcome {
            Ok(detail) => Self { name, ok: Some(true), detail, hint: None },
            Err(error) => {
                let words = error.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                Self { name, ok: Some(false), detail: format!("{}{words}", error.message), hint: error.hint }
            }
        }
    }

    fn untried(name: &'static str, why: &str) -> Self {
        Self { name, ok: None, detail: why.to_owned(), hint: None }
    }
}

/// What it asks of the instance beside signing in.
#[derive(Clone, Debug)]
pub struct Expected {
    pub endpoint_name: String,
    /// The newest, if unset.
    pub endpoint_version: Option<String>,
}

/// Never fails: a step that does is a row that says so. Opens a session of its own and closes it; where
/// the mapping has one open, that is closed first.
pub(crate) async fn run(connection: Arc<Connection>, expected: Expected, report: Arc<Report>) -> Vec<Step> {
    let mut steps = vec![Step::of("url", Ok(connection.config.instance.to_string()))];
    let listed = contact(&connection, &mut steps).await;
    let reached = listed.is_ok();
    let own = |record: &crate::store::Record| record.mapping == connection.config.place.mapping;
    close(&connection.store, own, Some(&connection)).await;
    let lease = match reached {
        true => connection.lease(Surface::Rest, &report).await,
        false => Err(Error::new(ErrorKind::Unreachable, "not tried: the instance was not reached")),
    };
    let mut version = expected.endpoint_version.clone();
    for name in ["instance", "endpoint"] {
        let step = match (&listed, name) {
            (Err(_), _) => Step::untried(name, "not tried: the instance was not reached"),
            (Ok(listed), "instance") => Step::of(
                name,
                Ok(match &listed.build {
                    Some(build) => format!("Acumatica build {build}"),
                    None => "Acumatica; it does not tell its build".to_owned(),
                }),
            ),
            (Ok(listed), _) => Step::of(name, endpoint(listed, &expected, &mut version)),
        };
        steps.push(step);
    }
    match lease {
        Ok(lease) => {
            steps.push(Step::of("sign-in", Ok(signed_in(&connection))));
            session(&connection, lease, &expected.endpoint_name, version.as_deref(), &mut steps, &report)
                .await;
        }
        Err(error) => {
            steps.push(if reached {
                Step::of("sign-in", Err(error))
            } else {
                Step::untried("sign-in", &error.message)
            });
            for name in ["tenant", "scope", "token life", "seats", "REST", "generic inquiries", "DAC"] {
                steps.push(Step::untried(name, "not tried: there is no session"));
            }
        }
    }
    close(&connection.store, own, Some(&connection)).await;
    steps
}

/// Name service, TLS, clock, and the first answer.
async fn contact(connection: &Connection, steps: &mut Vec<Step>) -> Result<Listed> {
    let config = &connection.config;
    let url = connection.url("entity")?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    steps.push(match &config.transport.proxy {
        Some(proxy) => Step::untried("name service", &format!("left to the proxy {}", proxy.url)),
        None => Step::of("name service", resolve(host, port).await),
    });
    let jar = std::sync::Mutex::new(CookieJar::default());
    let request = Request::get(url.clone(), "the list of endpoints");
    let answer = match connection.http.send(&jar, request).await {
        Ok(answer) => answer.text(LIST_BYTES).await.map(|body| parse_list(&body)),
        // It may want a session for that.
        Err(error)
            if matches!(error.kind, ErrorKind::SessionLost | ErrorKind::NotFound | ErrorKind::Forbidden) =>
        {
            Ok(Listed::default())
        }
        Err(error) => Err(error),
    };
    let unreached = |kind| {
        matches!(
            kind,
            ErrorKind::Connect | ErrorKind::Unreachable | ErrorKind::ConnectionLost | ErrorKind::Timeout
        )
    };
    steps.push(match (&answer, url.scheme()) {
        (_, "http") => Step::untried("TLS", "not used: the address begins with http"),
        (Err(error), _) if unreached(error.kind) => Step::of("TLS", Err(error.clone())),
        (_, _) if !config.transport.verify_certificate => {
            Step::untried("TLS", "the certificate was not verified, as verify_certificate demands")
        }
        _ => Step::of("TLS", Ok("the certificate is trusted".to_owned())),
    });
    steps.push(match connection.http.clock_offset() {
        Some(offset) => Step::of(
            "clock",
            Err(Error::new(
                ErrorKind::Definition,
                format!(
                    "the clock of this machine is {} seconds {} the server's",
                    offset.abs(),
                    if offset > 0 { "behind" } else { "ahead of" }
                ),
            )
            .hint("Set it by a time service; certificates and tokens are only good at the right time.")),
        ),
        None if answer.is_ok() => Step::of("clock", Ok("within five minutes of the server's".to_owned())),
        None => Step::untried("clock", "not tried: the instance was not reached"),
    });
    if let (Err(error), true) =
        (&answer, url.scheme() == "http" || !answer.as_ref().err().is_some_and(|error| unreached(error.kind)))
    {
        steps.push(Step::of("first answer", Err(error.clone())));
    }
    answer
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

fn endpoint(listed: &Listed, expected: &Expected, version: &mut Option<String>) -> Result<String> {
    let name = &expected.endpoint_name;
    if listed.endpoints.is_empty() {
        let version = version.get_or_insert_with(|| FALLBACK_VERSION.to_owned());
        return Ok(format!("{name} {version}; the instance does not list its endpoints"));
    }
    let newest = newest(&listed.endpoints, name)?;
    let wanted = version.get_or_insert_with(|| newest.version.clone());
    let there = |endpoint: &crate::endpoint::Endpoint| {
        endpoint.name.eq_ignore_ascii_case(name) && endpoint.version == *wanted
    };
    if listed.endpoints.iter().any(there) {
        return Ok(format!("{} {wanted}", newest.name));
    }
    let versions: Vec<&str> = listed
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.name.eq_ignore_ascii_case(name))
        .map(|endpoint| endpoint.version.as_str())
        .collect();
    Err(Error::new(
        ErrorKind::NotFound,
        format!("the instance has no version {wanted} of endpoint \"{name}\""),
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

/// What only a session can tell.
async fn session(
    connection: &Arc<Connection>,
    lease: Lease,
    endpoint: &str,
    version: Option<&str>,
    steps: &mut Vec<Step>,
    report: &Report,
) {
    let rest = read_rest(connection, &lease, endpoint, version.unwrap_or(FALLBACK_VERSION)).await;
    let misled = rest.as_ref().err().filter(|error| error.kind == ErrorKind::Credentials);
    steps.push(match (lease.landed(), misled) {
        (_, Some(error)) => Step::of("tenant", Err(error.clone())),
        (Some(company), _) => Step::of("tenant", Ok(company)),
        (None, _) => Step::untried("tenant", "the server does not say where the session is"),
    });
    drop(lease);
    let grant = connection.store.grant(connection.config.place.mapping).ok().flatten();
    match &connection.config.credentials {
        Credentials::OAuth(app, _) | Credentials::OAuthPassword(_, app) => {
            let scope =
                grant.as_ref().and_then(|grant| grant.scope.clone()).unwrap_or_else(|| app.scope.clone());
            steps.push(Step::of("scope", Ok(scope)));
            steps.push(token_life(
                grant.as_ref().and_then(|grant| grant.access_expires),
                grant.as_ref().and_then(crate::store::Grant::refresh_expires),
            ));
        }
        Credentials::OAuthImplicit(token) => {
            steps.push(Step::untried("scope", "an access token got elsewhere does not tell"));
            steps.push(token_life(crate::oauth::expiry(token), None));
        }
        Credentials::Basic(_) | Credentials::Cookie(_) => {
            steps.push(Step::untried("scope", "not used: scopes belong to OAuth"));
            steps.push(Step::untried("token life", "not used: tokens belong to OAuth"));
        }
    }
    let open = connection.store.sessions().iter().filter(|(_, record)| record.open).count();
    steps.push(Step::of(
        "seats",
        Ok(format!("{open} of max_sessions {} in use by this cluster", connection.config.max_sessions)),
    ));
    steps.push(Step::of("REST", rest));
    for (name, surface) in [("generic inquiries", Surface::GenericInquiry), ("DAC", Surface::Dac)] {
        steps.push(Step::of(name, read_odata(connection, surface, report).await));
    }
}

fn token_life(access: Option<Millis>, refresh: Option<Millis>) -> Step {
    let minutes = |until: Millis| until.saturating_sub(crate::store::now()) / 60_000;
    let access = match access {
        Some(until) => format!("the access token is good for {} minutes", minutes(until)),
        None => "the access token does not say how long it is good".to_owned(),
    };
    match refresh {
        Some(until) => Step::of("token life", Ok(format!("{access}, the refresh token for {} days unless it is used", minutes(until) / 1440))),
        None => Step {
            name: "token life",
            ok: Some(false),
            detail: format!("{access}, and there is no refresh token"),
            hint: Some("Then queries stop until someone signs in again. Give the scope offline_access, with auth_strategy OAuth or OAuthPassword.".to_owned()),
        },
    }
}

/// The definition of the endpoint is there for everyone who can sign in.
async fn read_rest(connection: &Connection, lease: &Lease, name: &str, version: &str) -> Result<String> {
    let path = format!("entity/{}/{}/swagger.json", encode_segment(name), encode_segment(version));
    let url: Url = connection.url(&path)?;
    connection.get(lease, Surface::Rest, url, "the definition of the endpoint").await?;
    Ok(format!("{name} {version} answers"))
}

async fn read_odata(connection: &Arc<Connection>, surface: Surface, report: &Report) -> Result<String> {
    // A session of the other way of signing in may not be good here: then it takes another.
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

/// A request in a session, for the sake of the tenant that its answer names.
pub(crate) async fn tenant(connection: &Arc<Connection>, report: &Report) -> Result<()> {
    let lease = connection.lease(Surface::Rest, report).await?;
    let listed = connection.newest_endpoint(&lease, "Default").await;
    let version =
        listed.ok().flatten().map_or_else(|| FALLBACK_VERSION.to_owned(), |endpoint| endpoint.version);
    match read_rest(connection, &lease, "Default", &version).await {
        Err(error) if error.kind == ErrorKind::Credentials => Err(error),
        // Everything else is found, and told, by whoever reads a table.
        _ => Ok(()),
    }
}
