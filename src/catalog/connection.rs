//! Servers and user mappings as clients: made when a statement first needs them, kept until their
//! options change, left when the backend ends.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use acumatica_client::{
    App, Client, Config, Credentials, InstanceUrl, Login, ODataVersion, Place, Proxy, Purpose, ScanRequest,
    Secret, Transport, check_tenant,
};
use pgrx::prelude::*;
use zeroize::Zeroizing;

use crate::backend::encoding::from_server;
use crate::backend::error::{Refusal, or_raise};
use crate::backend::io::{Io, Running};
use crate::backend::state;
use crate::catalog::option::{Object, Options, option_list, parse_url};

thread_local! {
    // PostgreSQL runs a backend on one thread, so this is the state of the backend.
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

struct Backend {
    io: Io,
    /// By foreign server and user mapping.
    clients: HashMap<(pg_sys::Oid, pg_sys::Oid), Client>,
}

/// A foreign server, as its options describe it.
#[derive(Clone, Debug)]
pub struct Server {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub instance: InstanceUrl,
    pub options: Options,
}

/// A user mapping, as its options describe it.
#[derive(Debug)]
pub struct Mapping {
    pub oid: pg_sys::Oid,
    /// Whom it is for; `InvalidOid` for PUBLIC.
    pub user: pg_sys::Oid,
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

    /// What a secret in a user mapping for `role` is sealed for.
    pub fn purpose(&self, role: pg_sys::Oid) -> Purpose {
        Purpose { host: self.instance.host_and_port(), role: role_name(role) }
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

    /// Name and version of the contract endpoint, which an object's own options may override. An address
    /// that names an endpoint stands in for the options that are not set.
    pub fn endpoint_for<'a>(&'a self, object: &'a Options) -> (&'a str, Option<&'a str>) {
        let own = |name: &str| object.get(name).or_else(|| self.options.get(name));
        match (own("endpoint_name"), own("endpoint_version"), self.instance.endpoint()) {
            (None, None, Some((name, version))) => (name, Some(version)),
            (name, version, _) => (name.unwrap_or(self.options.get_or_default("endpoint_name")), version),
        }
    }

    pub fn strategy(&self) -> &str {
        self.options.get_or_default("auth_strategy")
    }

    /// Whether users sign in with a client ID, which names the tenant.
    pub fn has_app(&self) -> bool {
        matches!(self.strategy(), "OAuth" | "OAuthPassword")
    }

    fn number(&self, name: &str) -> u64 {
        self.options.get_or_default(name).parse().unwrap_or(1)
    }

    /// Whether a user mapping holds what the server's way of signing in takes, and nothing else.
    ///
    /// # Errors
    /// The first option that is missing or of no use.
    pub fn check_mapping(&self, mapping: &Options) -> Result<(), Refusal> {
        mapping.check_strategy(self.strategy())?;
        let required: &[&[&str]] = match self.strategy() {
            "OAuth" => &[&["client_id"]],
            "OAuthImplicit" => &[&["access_token"]],
            "OAuthPassword" => &[&["username"], &["password", "password_file"], &["client_id"]],
            _ => &[&["username"], &["password", "password_file"]],
        };
        if let Some(client_id) = mapping.get("client_id") {
            check_tenant(&self.name, self.company(), client_id)?;
        }
        let missing = required.iter().find(|names| names.iter().all(|name| mapping.get(name).is_none()));
        match missing {
            Some(names) => Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                format!("the user mapping for server \"{}\" has no option \"{}\"", self.name, names[0]),
            )
            .detail(format!("auth_strategy \"{}\" needs it.", self.strategy()))
            .hint(format!(
                "Give it with CREATE USER MAPPING FOR … SERVER {0} OPTIONS ({1} '…'), or ALTER USER MAPPING FOR … SERVER \
                 {0} OPTIONS (ADD {1} '…').",
                quoted(&self.name),
                names[0]
            ))),
            None if mapping.get("proxy_user").is_some() && self.options.get("proxy").is_none() => {
                Err(Refusal::new(
                    PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                    format!("server \"{}\" has no option \"proxy\" that proxy_user could be for", self.name),
                )
                .hint("Add the option proxy to the server, or drop proxy_user and proxy_password."))
            }
            None => Ok(()),
        }
    }

    /// The server with the credentials of a user mapping.
    fn config(&self, mapping: &Mapping) -> Result<Config, Refusal> {
        let Mapping { oid, options, .. } = mapping;
        self.check_mapping(options)?;
        let text = |name: &str| options.get(name).unwrap_or_default().to_owned();
        let login = || {
            let password = secret(self, mapping, "password")?.unwrap_or_else(|| Secret::new(""));
            Ok::<_, Refusal>(Login { username: text("username"), password })
        };
        let app = || {
            Ok::<_, Refusal>(App {
                client_id: text("client_id"),
                client_secret: secret(self, mapping, "client_secret")?,
                scope: self.options.get_or_default("scope").to_owned(),
                callback_url: self.options.get_or_default("callback_url").to_owned(),
            })
        };
        let own = |name: &str| self.options.get(name).map(str::to_owned);
        let file = |name: &str| self.options.get(name).map(PathBuf::from);
        let proxy_credentials = match options.get("proxy_user") {
            Some(user) => {
                secret(self, mapping, "proxy_password")?.map(|password| (user.to_owned(), password))
            }
            None => None,
        };
        let config = Config {
            server: self.name.clone(),
            instance: self.instance.clone(),
            company: own("company"),
            odata_version: self.odata_version(),
            credentials: match self.strategy() {
                "Cookie" => Credentials::Cookie(login()?),
                "OAuthPassword" => Credentials::OAuthPassword(login()?, app()?),
                "OAuth" => Credentials::OAuth(app()?, secret(self, mapping, "refresh_token")?),
                "OAuthImplicit" => {
                    let token = secret(self, mapping, "access_token")?;
                    Credentials::OAuthImplicit(token.unwrap_or_else(|| Secret::new("")))
                }
                _ => Credentials::Basic(login()?),
            },
            branch: own("branch"),
            locale: own("locale"),
            operation_timeout: Duration::from_secs(self.number("operation_timeout")),
            transport: Transport {
                ca_file: file("ca_file"),
                client_identity: file("client_cert_file").zip(file("client_key_file")),
                proxy: own("proxy").map(|url| Proxy { url, credentials: proxy_credentials }),
                verify_certificate: self.options.get_or_default("verify_certificate") == "true",
            },
            max_sessions: u32::try_from(self.number("max_sessions")).unwrap_or(1),
            basic_sessions: u32::try_from(self.number("basic_sessions")).unwrap_or(0),
            idle_logout: Duration::from_secs(self.number("idle_logout")),
            place: Place {
                root: state::root(),
                directory: state::directory(self.oid),
                mapping: oid.to_u32(),
                sealer: state::sealer()?,
            },
        };
        Ok(config.checked()?)
    }
}

impl Mapping {
    /// The mapping that `user` has for a server, else that for PUBLIC.
    ///
    /// # Errors
    /// There is none, or its options are not valid.
    pub fn find(server: &Server, user: pg_sys::Oid) -> Result<Self, Refusal> {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        let found = [user, pg_sys::InvalidOid].into_iter().find_map(|user| {
            // SAFETY: a look-up by the cache's two keys.
            let tuple = unsafe { pg_sys::SearchSysCache(cache, user.into(), server.oid.into(), none, none) };
            // SAFETY: what the look-up found.
            unsafe { Self::take(cache, tuple) }
        });
        let Some(entry) = found else {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!("user mapping not found for \"{}\"", role_name(user)),
            )
            .hint(format!(
                "Create it: CREATE USER MAPPING FOR {} SERVER {} OPTIONS (…).",
                quoted(&role_name(user)),
                quoted(&server.name)
            )));
        };
        Ok(Self { oid: entry.oid, user: entry.user, options: entry.options? })
    }

    /// The same, for a statement that can do nothing without.
    pub fn load(server: &Server, user: pg_sys::Oid) -> Self {
        or_raise(Self::find(server, user))
    }

    /// A mapping by its oid.
    pub fn by_oid(oid: pg_sys::Oid) -> Option<Entry> {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGOID as i32;
        // SAFETY: a look-up by the cache's only key, and what it found.
        unsafe { Self::take(cache, pg_sys::SearchSysCache(cache, oid.into(), none, none, none)) }
    }

    /// Reads a tuple of `pg_user_mapping` and releases it.
    ///
    /// # Safety
    /// `tuple` was found in `cache`, or is null.
    unsafe fn take(cache: i32, tuple: pg_sys::HeapTuple) -> Option<Entry> {
        if tuple.is_null() {
            return None;
        }
        // SAFETY: as the caller says; the options are copied before the tuple is released.
        unsafe {
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_user_mapping>();
            let (oid, user, server) = (form.oid, form.umuser, form.umserver);
            let mut is_null = false;
            let attribute = pg_sys::Anum_pg_user_mapping_umoptions as i16;
            let options = pg_sys::SysCacheGetAttr(cache, tuple, attribute, &raw mut is_null);
            let given =
                if is_null { Vec::new() } else { option_list(pg_sys::untransformRelOptions(options)) };
            pg_sys::ReleaseSysCache(tuple);
            Some(Entry { oid, user, server, options: Options::check(Object::UserMapping, given) })
        }
    }
}

/// A user mapping as it stands in the catalog.
#[derive(Debug)]
pub struct Entry {
    pub oid: pg_sys::Oid,
    /// Whom it is for; `InvalidOid` for PUBLIC.
    pub user: pg_sys::Oid,
    pub server: pg_sys::Oid,
    /// Unless they are not valid.
    pub options: Result<Options, Refusal>,
}

/// The name of a role, or `public`.
pub fn role_name(role: pg_sys::Oid) -> String {
    if role == pg_sys::InvalidOid {
        return "public".to_owned();
    }
    // SAFETY: returns palloc'd memory, or null for a role that is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { role.to_u32().to_string() } else { from_server(name) }
    }
}

/// An identifier as it is written in SQL.
pub fn quoted(name: &str) -> String {
    spi::quote_identifier(name)
}

/// A secret option, from the file that stands in for it too, and unsealed.
fn secret(server: &Server, mapping: &Mapping, name: &str) -> Result<Option<Secret>, Refusal> {
    let options = &mapping.options;
    let file_option = format!("{name}_file");
    let text = match (options.get(name), options.get(&file_option)) {
        (Some(text), _) => Zeroizing::new(text.to_owned()),
        (None, Some(file)) => {
            let text = fs::read_to_string(file).map(Zeroizing::new).map_err(|reason| {
                Refusal::new(
                    PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                    format!("could not read the file \"{file}\" of option \"{file_option}\""),
                )
                .detail(reason.to_string())
                .hint("It must be readable for the user that runs PostgreSQL.")
            })?;
            Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => return Ok(None),
    };
    if !acumatica_client::is_sealed(&text) {
        return Ok(Some(Secret::new(&text)));
    }
    let purpose = server.purpose(mapping.user);
    let (revealed, by_any) = state::sealer()?.reveal(&text, &purpose).map_err(|error| {
        let message = format!("{} (option \"{name}\")", error.message);
        Refusal { message, ..Refusal::from(error) }
    })?;
    if by_any {
        tell_unbound(server, mapping, name);
    }
    Ok(Some(Secret::new(&revealed)))
}

/// Tells, once for each secret, that it would be opened for any other server and role too.
fn tell_unbound(server: &Server, mapping: &Mapping, name: &str) {
    thread_local! {
        static TOLD: RefCell<HashSet<(pg_sys::Oid, String)>> = RefCell::default();
    }
    if !TOLD.with_borrow_mut(|told| told.insert((mapping.oid, name.to_owned()))) {
        return;
    }
    let role = role_name(mapping.user);
    crate::backend::error::notice(
        format!(
            "option \"{name}\" of the user mapping for server \"{}\" is sealed for every server and role",
            server.name
        ),
        format!(
            "Seal it for this one alone: SELECT acumatica_seal('…', {}, {}), then ALTER USER MAPPING FOR {} SERVER {} OPTIONS \
             (SET {name} '…').",
            literal(&server.name),
            literal(&role),
            quoted(&role),
            quoted(&server.name),
        ),
    );
}

/// A text as it is written in SQL.
fn literal(text: &str) -> String {
    spi::quote_literal(text)
}

/// Runs `act` with the client of a server and user mapping, as their options are now. It must make no
/// PostgreSQL call.
///
/// # Errors
/// The options do not make a client, or `act` refuses.
pub fn with_client<R>(
    server: &Server,
    mapping: &Mapping,
    act: impl FnOnce(&Io, &Client) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let config = server.config(mapping)?;
    let key = (server.oid, mapping.oid);
    let dropped: Vec<_> = known_clients().into_iter().filter(|known| !exists(*known)).collect();
    with_io(|io, clients| {
        let changed = clients.get(&key).is_some_and(|client| *client.config() != config);
        for key in dropped.iter().chain(changed.then_some(&key)) {
            if let Some(client) = clients.remove(key) {
                io.engine().retire(client);
            }
        }
        let client = match clients.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = Client::new(config)?;
                clients.insert(key, client.clone());
                client
            }
        };
        act(io, &client)
    })
}

/// Runs `act` with the I/O thread, which is started if need be. It must make no PostgreSQL call, so that
/// nothing but its own refusal unwinds through the borrow.
fn with_io<R>(
    act: impl FnOnce(&Io, &mut HashMap<(pg_sys::Oid, pg_sys::Oid), Client>) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let first = BACKEND.with_borrow(Option::is_none);
    let outcome = BACKEND.with_borrow_mut(|backend| {
        let Backend { io, clients } = match backend {
            Some(backend) => backend,
            none => none.insert(Backend { io: Io::start()?, clients: HashMap::new() }),
        };
        act(io, clients)
    });
    register_exit();
    if first {
        forget_dropped();
    }
    outcome
}

/// PostgreSQL tells no extension when a database is dropped: what it had is closed and removed by the
/// next backend of any other. So is what else was dropped without a word.
fn forget_dropped() {
    for database in state::databases() {
        if is_in_catalog(pg_sys::SysCacheIdentifier::DATABASEOID, database) {
            continue;
        }
        let Ok(sealer) = state::sealer() else { return };
        BACKEND.with_borrow(|backend| {
            if let Some(Backend { io, .. }) = backend {
                let directory = state::database_directory(database);
                io.engine().remove(directory, &state::servers_of(database), &sealer);
            }
        });
    }
    // A server may also have gone unheard: in a prepared transaction, or with its schema. One that has not
    // been used for so long is not one whose creation is yet to be committed.
    const LONG: Duration = Duration::from_secs(3600);
    for server in state::servers() {
        let directory = state::directory(server);
        let idle =
            directory.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
            || idle.is_none_or(|idle| idle < LONG)
        {
            continue;
        }
        let Ok(sealer) = state::sealer() else { return };
        BACKEND.with_borrow(|backend| {
            if let Some(Backend { io, .. }) = backend {
                io.engine().remove(directory.clone(), &[directory], &sealer);
            }
        });
    }
}

/// Starts a scan of `request` on `server` with the credentials of `user`.
pub fn start_scan(server: &Server, user: pg_sys::Oid, request: ScanRequest) -> Running {
    let mapping = Mapping::load(server, user);
    or_raise(with_client(server, &mapping, |io, client| Ok(io.scan(client, request))))
}

/// Closes the sessions of a server, or of one of its user mappings; says how many there were.
///
/// # Errors
/// The key cannot be used, or the thread not be started.
pub fn close_sessions(server: pg_sys::Oid, mapping: Option<pg_sys::Oid>) -> Result<usize, Refusal> {
    let directory = state::directory(server);
    if !directory.exists() {
        return Ok(0);
    }
    let sealer = state::sealer()?;
    let mapping = mapping.map(pg_sys::Oid::to_u32);
    let job = with_io(|io, _| Ok(io.job(io.engine().close(&directory, &sealer, mapping)?)))?;
    Ok(job.wait())
}

fn known_clients() -> Vec<(pg_sys::Oid, pg_sys::Oid)> {
    BACKEND
        .with_borrow(|backend| backend.iter().flat_map(|backend| backend.clients.keys().copied()).collect())
}

/// Whether server and user mapping are still in the catalog.
fn exists((server, mapping): (pg_sys::Oid, pg_sys::Oid)) -> bool {
    is_in_catalog(pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, server)
        && is_in_catalog(pg_sys::SysCacheIdentifier::USERMAPPINGOID, mapping)
}

/// Whether an object is in the catalog that `cache`, which has its oid as the only key, is for.
pub fn is_in_catalog(cache: pg_sys::SysCacheIdentifier::Type, oid: pg_sys::Oid) -> bool {
    let none = pg_sys::Datum::from(0);
    // SAFETY: a catalog look-up; the caller says that the key fits.
    unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid.into(), none, none, none) }
}

/// Has the sessions closed when the backend ends, in whichever way it is told to.
fn register_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: registers a function of this library, which is never unloaded.
        unsafe { pg_sys::before_shmem_exit(Some(leave_at_exit), pg_sys::Datum::from(0)) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave_at_exit(_code: i32, _arg: pg_sys::Datum) {
    // Exit may come in the middle of anything, though not of a borrow: nothing in one can raise.
    let backend =
        BACKEND.with(|backend| backend.try_borrow_mut().ok().and_then(|mut backend| backend.take()));
    if let Some(Backend { io, clients }) = backend {
        io.shut_down(clients.into_values().collect());
    }
}
