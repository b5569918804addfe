//! Servers and user mappings as clients: made when a scan first needs them, kept until their options
//! change, signed out when the backend ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use acumatica_client::{AuthStrategy, Client, Config, InstanceUrl, ODataVersion, ScanRequest};
use pgrx::prelude::*;
use secrecy::SecretString;

use crate::encoding::from_server;
use crate::error::{Refusal, or_raise};
use crate::io::{Io, Running};
use crate::option::{Object, Options, option_list, parse_url};

thread_local! {
    // PostgreSQL runs a backend on one thread, so this is the state of the backend.
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

struct Backend {
    io: Io,
    /// By foreign server and user mapping.
    clients: HashMap<(pg_sys::Oid, pg_sys::Oid), Client>,
    /// Those whose place another has taken. A scan that was begun before, as by a cursor, may still
    /// use one, and open its session again.
    retired: Vec<Client>,
}

/// A foreign server, as its options describe it.
#[derive(Debug)]
pub struct Server {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub instance: InstanceUrl,
    pub options: Options,
}

impl Server {
    /// Reads a server from the catalog.
    pub fn load(oid: pg_sys::Oid) -> Self {
        // SAFETY: returns palloc'd memory or raises.
        let (name, options) = unsafe {
            let server = pg_sys::GetForeignServer(oid);
            (from_server((*server).servername), option_list((*server).options))
        };
        let options = or_raise(Options::check(Object::Server, options));
        let instance = or_raise(parse_url(options.get_or_default("url")));
        Self { oid, name, instance, options }
    }

    pub fn company(&self) -> Option<&str> {
        self.options.get("company")
    }

    pub fn odata_version(&self) -> ODataVersion {
        match self.options.get_or_default("odata_version") {
            "3" => ODataVersion::V3,
            "4" => ODataVersion::V4,
            _ => ODataVersion::Auto,
        }
    }

    /// The server with the credentials that `user` has for it.
    fn config(&self, credentials: &Options) -> Result<Config, Refusal> {
        let credential = |name: &str| {
            credentials.get(name).map(str::to_owned).ok_or_else(|| {
                Refusal::new(
                    PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                    format!("the user mapping for server \"{}\" has no option \"{name}\"", self.name),
                )
                .hint(format!(
                    "Add it: ALTER USER MAPPING FOR … SERVER {} OPTIONS (ADD {name} …).",
                    self.name
                ))
            })
        };
        let own = |name: &str| self.options.get(name).map(str::to_owned);
        Ok(Config {
            instance: self.instance.clone(),
            company: own("company"),
            odata_version: self.odata_version(),
            auth_strategy: match self.options.get_or_default("auth_strategy") {
                "Cookie" => AuthStrategy::Cookie,
                _ => AuthStrategy::Basic,
            },
            username: credential("username")?,
            password: SecretString::from(credential("password")?),
            branch: own("branch"),
            locale: own("locale"),
            operation_timeout: Duration::from_secs(
                self.options.get_or_default("operation_timeout").parse().unwrap_or(60),
            ),
        })
    }
}

/// Starts a scan of `request` on `server` with the credentials of `user`.
pub fn start_scan(server: &Server, user: pg_sys::Oid, request: ScanRequest) -> Running {
    // SAFETY: returns palloc'd memory, or raises if there is no mapping.
    let (mapping, options) = unsafe {
        let mapping = pg_sys::GetUserMapping(user, server.oid);
        ((*mapping).umid, option_list((*mapping).options))
    };
    let config =
        or_raise(Options::check(Object::UserMapping, options).and_then(|options| server.config(&options)));
    let key = (server.oid, mapping);
    let dropped: Vec<_> = known_clients().into_iter().filter(|known| !exists(*known)).collect();
    // No PostgreSQL call in here, so nothing unwinds through the borrow but our own refusals.
    let running = BACKEND.with_borrow_mut(|backend| {
        let backend = match backend {
            Some(backend) => backend,
            none => none.insert(Backend { io: Io::start()?, clients: HashMap::new(), retired: Vec::new() }),
        };
        let changed = backend.clients.get(&key).is_some_and(|client| *client.config() != config);
        let outdated: Vec<Client> = dropped
            .iter()
            .chain(changed.then_some(&key))
            .filter_map(|key| backend.clients.remove(key))
            .collect();
        let client = match backend.clients.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = Client::new(config)?;
                backend.clients.insert(key, client.clone());
                client
            }
        };
        if !outdated.is_empty() {
            // Seats are scarce: what was altered or dropped gives its own back first.
            backend.retired.extend(outdated.iter().cloned());
            backend.io.replace(&client, outdated);
        }
        Ok::<_, Refusal>(backend.io.scan(&client, request))
    });
    let running = or_raise(running);
    register_exit();
    running
}

fn known_clients() -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    BACKEND
        .with_borrow(|backend| backend.iter().flat_map(|backend| backend.clients.keys().copied()).collect())
}

/// Whether server and user mapping are still in the catalog.
fn exists((server, mapping): (pg_sys::Oid, pg_sys::Oid)) -> bool {
    let found = |cache: pg_sys::SysCacheIdentifier::Type, oid: pg_sys::Oid| {
        let none = pg_sys::Datum::from(0);
        // SAFETY: a catalog look-up by the oid that is the only key of either cache.
        unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid.into(), none, none, none) }
    };
    found(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
        && found(pg_sys::SysCacheIdentifier::USERMAPPINGOID, mapping)
}

/// Has the sessions closed when the backend ends, in whichever way it is told to.
fn register_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: registers a function of this library, which is never unloaded.
        unsafe { pg_sys::before_shmem_exit(Some(sign_out_at_exit), pg_sys::Datum::from(0)) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn sign_out_at_exit(_code: i32, _arg: pg_sys::Datum) {
    // Exit may come in the middle of anything, though not of a borrow: nothing in one can raise.
    let backend =
        BACKEND.with(|backend| backend.try_borrow_mut().ok().and_then(|mut backend| backend.take()));
    if let Some(Backend { io, clients, retired }) = backend {
        io.shut_down(clients.into_values().chain(retired).collect());
    }
}
