//! The SQL functions for administration: authorize, disconnect, list sessions, check a server, seal secrets.

use std::time::Duration;

use acumatica_client::{Authorized, Expected, SessionState};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::backend::clients::close_sessions;
use crate::backend::compat;
use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::{Refusal, or_raise, warning};
use crate::backend::io::RunningJob;
use crate::backend::state;
use crate::catalog::connection::with_client;
use crate::catalog::mapping::Mapping;
use crate::catalog::names::role_name;
use crate::catalog::option::{Object, Options, option_list};
use crate::catalog::server::Server;
use crate::catalog::types::EPOCH_MICROSECONDS;

/// The oid of `pg_read_all_stats` (pg_authid.dat).
const ROLE_PG_READ_ALL_STATS: pg_sys::Oid = pg_sys::Oid::from_u32(3375);

/// The server by that name. Raises unless it belongs to this wrapper and the current user has USAGE on it.
pub fn server(name: &str) -> Server {
    // SAFETY: to_server returns a C string, which lives during the call; raises if there is no such server.
    let oid = unsafe { pg_sys::get_foreign_server_oid(to_server(name).as_ptr(), false) };
    if !is_ours(oid) {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("server \"{name}\" is not one of acumatica_fdw"),
        )
        .hint("Name a server that was created with FOREIGN DATA WRAPPER acumatica_fdw.")
        .raise();
    }
    // SAFETY: the server was found above.
    unsafe { compat::check_server_usage(oid, current_user()) };
    Server::load(oid)
}

/// Whether a foreign server belongs to this wrapper. The wrapper is known by its handler, because it can be renamed.
pub fn is_ours(server: pg_sys::Oid) -> bool {
    // SAFETY: each look-up returns a palloc'd struct, or null, which is checked where an object may be missing: the wrapper of
    // a server exists. The tuple is released after its attribute was copied.
    unsafe {
        let server = pg_sys::GetForeignServerExtended(server, pg_sys::FSV_MISSING_OK as _);
        if server.is_null() {
            return false;
        }
        let wrapper = pg_sys::GetForeignDataWrapper((*server).fdwid);
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache(cache, (*wrapper).fdwhandler.into(), none, none, none);
        if tuple.is_null() {
            return false;
        }
        let mut is_null = false;
        let symbol =
            pg_sys::SysCacheGetAttr(cache, tuple, pg_sys::Anum_pg_proc_prosrc as i16, &raw mut is_null);
        let is_ours =
            String::from_datum(symbol, is_null).is_some_and(|symbol| symbol == "acumatica_fdw_handler");
        pg_sys::ReleaseSysCache(tuple);
        is_ours
    }
}

fn current_user() -> pg_sys::Oid {
    // SAFETY: GetUserId reads a variable of the backend, which is set while a statement runs.
    unsafe { pg_sys::GetUserId() }
}

/// Whether the current user owns a server or is a superuser.
fn owns(server: pg_sys::Oid) -> bool {
    // SAFETY: every caller has just found the server in the catalog.
    unsafe { compat::owns_server(server, current_user()) }
}

/// The mapping of the current user. Raises if that is the one for PUBLIC, unless the user owns the server.
fn own_mapping(server: &Server) -> Mapping {
    let mapping = Mapping::load(server, current_user());
    if mapping.user == pg_sys::InvalidOid && !owns(server.oid) {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied to authorize server \"{}\" for everyone", server.name),
        )
        .detail("The user mapping in use is that for PUBLIC.")
        .hint("Have the owner of the server do so, or create a user mapping of your own.")
        .raise();
    }
    mapping
}

/// `acumatica_seal()`: seals a secret for the user mapping of a role and the host of a server. The role defaults to the
/// current user.
#[pg_extern(sql = false)]
fn acumatica_seal(secret: Option<&str>, name: Option<&str>, role: Option<&str>) -> Option<String> {
    let secret = secret?;
    let Some(name) = name else {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "a secret is sealed for a server and a role",
        )
        .hint("Name them: SELECT acumatica_seal('…', 'erp') for a user mapping of your own, acumatica_seal('…', 'erp', 'public') for one FOR PUBLIC.")
        .raise()
    };
    let role = match role {
        None => current_user(),
        Some("public") => pg_sys::InvalidOid,
        // SAFETY: to_server returns a C string, which lives during the call; raises if there is no such role.
        Some(role) => unsafe { pg_sys::get_role_oid(to_server(role).as_ptr(), false) },
    };
    let purpose = server(name).purpose(role);
    Some(or_raise(state::sealer().and_then(|sealer| Ok(sealer.seal_secret(secret, &purpose)?))))
}

/// `acumatica_authorize_url()`: the address at which a user grants access to a server.
#[pg_extern(sql = false)]
fn acumatica_authorize_url(name: &str) -> String {
    let server = server(name);
    or_raise(with_client(&server, &own_mapping(&server), |_, client| Ok(client.authorize_url()?)))
}

type AuthorizedRow = TableIterator<
    'static,
    (
        name!(company, String),
        name!(scope, String),
        name!(access_token_expires, Option<TimestampWithTimeZone>),
        name!(refresh_token_expires, Option<TimestampWithTimeZone>),
    ),
>;

/// `acumatica_authorize()`: exchanges the answer of the browser for tokens.
#[pg_extern(sql = false)]
fn acumatica_authorize(name: &str, answer: &str) -> AuthorizedRow {
    let server = server(name);
    let job = or_raise(with_client(&server, &own_mapping(&server), |io, client| {
        Ok(io.job(io.engine().authorize(client, answer.to_owned())))
    }));
    authorized(&server, &job)
}

/// `acumatica_authorize_wait()`: the same, but receives the answer itself at the callback URL on this machine.
#[pg_extern(sql = false)]
fn acumatica_authorize_wait(name: &str, timeout: Interval) -> AuthorizedRow {
    let server = server(name);
    let patience =
        u64::try_from(timeout.as_micros()).ok().filter(|micros| *micros > 0).unwrap_or_else(|| {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "the timeout must be more than zero",
            )
            .hint("Say for instance interval '5 minutes'.")
            .raise()
        });
    let (job, url) = or_raise(with_client(&server, &own_mapping(&server), |io, client| {
        let (job, url) = io.engine().authorize_wait(client, Duration::from_micros(patience))?;
        Ok((io.job(job), url))
    }));
    crate::backend::error::notice(
        format!("open this address in a browser: {url}"),
        "The browser must run on this machine, or reach the port of callback_url through a tunnel.".into(),
    );
    authorized(&server, &job)
}

/// Waits for an authorization and returns its row. Warns if there is no refresh token.
fn authorized(server: &Server, job: &RunningJob<acumatica_client::Result<Authorized>>) -> AuthorizedRow {
    let Authorized { company, scope, access_expires, refresh_expires } =
        or_raise(job.wait().map_err(Refusal::from));
    let access_expires = access_expires.map(timestamp);
    if refresh_expires.is_none() {
        let when = match &access_expires {
            Some(at) => format!("at {}", at.to_iso_string()),
            None => "when the access token expires".to_owned(),
        };
        warning(
            format!("the authorization of server \"{}\" ends {when}", server.name),
            "The server gave no refresh token. Let the scope contain offline_access, and authorize again."
                .into(),
        );
    }
    TableIterator::once((company, scope, access_expires, refresh_expires.map(timestamp)))
}

/// Converts milliseconds since 1970 to a timestamp, which counts microseconds since 2000.
fn timestamp(millis: u64) -> TimestampWithTimeZone {
    let micros =
        i64::try_from(millis).unwrap_or_default().saturating_mul(1000).saturating_sub(EPOCH_MICROSECONDS);
    or_raise(
        TimestampWithTimeZone::try_from(micros).map_err(|_| {
            Refusal::new(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, "a time is out of range")
        }),
    )
}

/// `acumatica_disconnect()`: closes the sessions of a server and returns their number. The owner closes all, others their own.
#[pg_extern(sql = false)]
fn acumatica_disconnect(name: &str) -> i64 {
    disconnect(&server(name))
}

/// The same for all servers of the database that the user has USAGE on.
#[pg_extern(sql = false)]
fn acumatica_disconnect_all() -> i64 {
    // SAFETY: `is_ours` filters first, and is true only for a server in the catalog.
    let may_use = |oid: &pg_sys::Oid| unsafe { compat::may_use_server(*oid, current_user()) };
    state::servers()
        .into_iter()
        .filter(|oid| is_ours(*oid))
        .filter(may_use)
        .map(|oid| disconnect(&Server::load(oid)))
        .sum()
}

fn disconnect(server: &Server) -> i64 {
    if owns(server.oid) {
        return or_raise(close_sessions(server.oid, None)) as i64;
    }
    match Mapping::find(server, current_user()) {
        Ok(mapping) => or_raise(close_sessions(server.oid, Some(mapping.oid))) as i64,
        // Without a mapping the user has no session.
        Err(_) => 0,
    }
}

/// `acumatica_sessions()`: the sessions and OAuth grants of this database. Members of `pg_read_all_stats` see all, owners
/// those of their servers, others their own.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_sessions() -> TableIterator<
    'static,
    (
        name!(server, String),
        name!(user_name, String),
        name!(auth_strategy, String),
        name!(state, String),
        name!(opened, Option<TimestampWithTimeZone>),
        name!(last_used, Option<TimestampWithTimeZone>),
        name!(access_token_expires, Option<TimestampWithTimeZone>),
        name!(refresh_token_expires, Option<TimestampWithTimeZone>),
        name!(requests, Option<i64>),
    ),
> {
    let me = current_user();
    // SAFETY: a catalog look-up of two roles that exist: the current user and a predefined role.
    let reads_all = unsafe { pg_sys::has_privs_of_role(me, ROLE_PG_READ_ALL_STATS) };
    let mut rows = Vec::new();
    for oid in state::servers().into_iter().filter(|oid| is_ours(*oid)) {
        let sealer = or_raise(state::sealer());
        let known =
            or_raise(acumatica_client::sessions(&state::directory(oid), &sealer).map_err(Refusal::from));
        // SAFETY: GetForeignServer returns a palloc'd struct or raises; its options are a list of DefElems.
        let (name, options) = unsafe {
            let server = pg_sys::GetForeignServer(oid);
            (from_server((*server).servername), option_list((*server).options))
        };
        let options = or_raise(Options::check(Object::Server, options));
        for session in known {
            let Some(user) = Mapping::by_oid(session.mapping.into()).map(|entry| entry.user) else {
                continue;
            };
            if !(reads_all || user == me || owns(oid)) {
                continue;
            }
            rows.push((
                name.clone(),
                role_name(user),
                options.get_or_default("auth_strategy").to_owned(),
                SessionState::name(session.state).to_owned(),
                session.opened.map(timestamp),
                session.last_used.map(timestamp),
                session.access_expires.map(timestamp),
                session.refresh_expires.map(timestamp),
                session.requests.and_then(|requests| i64::try_from(requests).ok()),
            ));
        }
    }
    TableIterator::new(rows)
}

/// `acumatica_check()`: tries each step from the name look-up to reading, one row for each, and signs out.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_check(
    name: &str,
) -> TableIterator<
    'static,
    (name!(step, String), name!(ok, Option<bool>), name!(detail, String), name!(hint, Option<String>)),
> {
    let server = server(name);
    let (endpoint_name, endpoint_version) = server.endpoint_for(&server.options);
    let expected = Expected { endpoint_name, endpoint_version };
    let job = Mapping::find(&server, current_user()).and_then(|mapping| {
        with_client(&server, &mapping, |io, client| Ok(io.job(io.engine().check(client, expected))))
    });
    let steps = match job {
        Ok(job) => job.wait(),
        Err(refusal) => acumatica_client::unusable(&server.instance, refusal.into()),
    };
    TableIterator::new(steps.into_iter().map(|step| (step.name.to_owned(), step.ok, step.detail, step.hint)))
}
