//! User mappings: their options, their secrets, and the configuration that a server and a mapping make together.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use acumatica_client::{App, Config, Credentials, Login, Proxy, Secret, SharedState, Transport};
use pgrx::prelude::*;
use zeroize::Zeroizing;

use crate::backend::error::{self, Refusal, or_raise};
use crate::backend::state;
use crate::catalog::names::{literal, quoted, role_name};
use crate::catalog::option::{Layers, Object, Options, option_list};
use crate::catalog::server::Server;

/// A user mapping with valid options.
#[derive(Debug)]
pub struct Mapping {
    pub oid: pg_sys::Oid,
    /// Its role; `InvalidOid` for PUBLIC.
    pub user: pg_sys::Oid,
    pub options: Options,
}

impl Mapping {
    /// The mapping of `user` for a server, else the one for PUBLIC.
    ///
    /// # Errors
    /// There is neither, or its options are not valid.
    pub fn find(server: &Server, user: pg_sys::Oid) -> Result<Self, Refusal> {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        let found = [user, pg_sys::InvalidOid].into_iter().find_map(|user| {
            // SAFETY: the keys of USERMAPPINGUSERSERVER are two oids, in this order.
            let tuple = unsafe { pg_sys::SearchSysCache(cache, user.into(), server.oid.into(), none, none) };
            // SAFETY: the tuple comes from this cache, and is used nowhere else.
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

    /// The oid of the mapping that [`Mapping::find`] finds.
    pub fn oid_of(server: &Server, user: pg_sys::Oid) -> Option<pg_sys::Oid> {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        [user, pg_sys::InvalidOid].into_iter().find_map(|user| {
            // SAFETY: the keys of USERMAPPINGUSERSERVER are two oids, in this order; the column is one of its catalog.
            let oid = unsafe {
                let column = pg_sys::Anum_pg_user_mapping_oid as i16;
                pg_sys::GetSysCacheOid(cache, column, user.into(), server.oid.into(), none, none)
            };
            (oid != pg_sys::InvalidOid).then_some(oid)
        })
    }

    /// As [`Mapping::find`], but raises the error.
    pub fn load(server: &Server, user: pg_sys::Oid) -> Self {
        or_raise(Self::find(server, user))
    }

    /// A mapping by its oid.
    pub fn by_oid(oid: pg_sys::Oid) -> Option<MappingEntry> {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGOID as i32;
        // SAFETY: the key of USERMAPPINGOID is one oid. The tuple comes from this cache, and is used nowhere else.
        unsafe { Self::take(cache, pg_sys::SearchSysCache(cache, oid.into(), none, none, none)) }
    }

    /// Reads a tuple of `pg_user_mapping` and releases it.
    ///
    /// # Safety
    /// `cache` is a syscache of `pg_user_mapping`; `tuple` was found in it and not released yet, or is null.
    unsafe fn take(cache: i32, tuple: pg_sys::HeapTuple) -> Option<MappingEntry> {
        if tuple.is_null() {
            return None;
        }
        // SAFETY: the caller guarantees a tuple of `pg_user_mapping`, which starts with the fields of the form. The options
        // are copied before the tuple is released.
        unsafe {
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_user_mapping>();
            let (oid, user, server) = (form.oid, form.umuser, form.umserver);
            let mut is_null = false;
            let attribute = pg_sys::Anum_pg_user_mapping_umoptions as i16;
            let options = pg_sys::SysCacheGetAttr(cache, tuple, attribute, &raw mut is_null);
            let given =
                if is_null { Vec::new() } else { option_list(pg_sys::untransformRelOptions(options)) };
            pg_sys::ReleaseSysCache(tuple);
            Some(MappingEntry { oid, user, server, options: Options::check(Object::UserMapping, given) })
        }
    }

    /// The client's configuration: the options of the server, and the credentials of this mapping.
    ///
    /// # Errors
    /// An option is missing or cannot be used, or a secret cannot be read or unsealed.
    pub(super) fn config(&self, server: &Server) -> Result<Config, Refusal> {
        let Self { oid, options, .. } = self;
        let of_server = Layers(&[&server.options]);
        server.check_mapping(options)?;
        let text = |name: &str| options.get(name).unwrap_or_default().to_owned();
        let login = || {
            let password = secret(server, self, "password")?.unwrap_or_else(|| Secret::new(""));
            Ok::<_, Refusal>(Login { username: text("username"), password })
        };
        let app = || {
            Ok::<_, Refusal>(App {
                client_id: text("client_id"),
                client_secret: secret(server, self, "client_secret")?,
                scope: of_server.text("scope").unwrap_or_default(),
                callback_url: of_server.text("callback_url").unwrap_or_default(),
            })
        };
        let file = |name: &str| of_server.get(name).map(PathBuf::from);
        let proxy_credentials = match options.get("proxy_user") {
            Some(user) => secret(server, self, "proxy_password")?.map(|password| (user.to_owned(), password)),
            None => None,
        };
        let config = Config {
            server: server.name.clone(),
            instance: server.instance.clone(),
            company: server.company.clone(),
            odata_version: server.odata_version,
            credentials: match server.strategy() {
                "Cookie" => Credentials::Cookie(login()?),
                "OAuthPassword" => Credentials::OAuthPassword(login()?, app()?),
                "OAuth" => Credentials::OAuth(app()?, secret(server, self, "refresh_token")?),
                "OAuthImplicit" => {
                    let token = secret(server, self, "access_token")?;
                    Credentials::OAuthImplicit(token.unwrap_or_else(|| Secret::new("")))
                }
                _ => Credentials::Basic(login()?),
            },
            branch: of_server.text("branch"),
            locale: of_server.text("locale"),
            operation_timeout: Duration::from_secs(of_server.number("operation_timeout")),
            transport: Transport {
                ca_file: file("ca_file"),
                client_identity: file("client_cert_file").zip(file("client_key_file")),
                proxy: of_server.text("proxy").map(|url| Proxy { url, credentials: proxy_credentials }),
                verify_certificate: of_server.is("verify_certificate"),
            },
            max_sessions: of_server.number("max_sessions"),
            basic_sessions: of_server.number("basic_sessions"),
            idle_logout: Duration::from_secs(of_server.number("idle_logout")),
            state: SharedState {
                root: state::root(),
                directory: state::directory(server.oid),
                mapping: oid.to_u32(),
                sealer: state::sealer()?,
            },
        };
        Ok(config.checked()?)
    }
}

/// A tuple of `pg_user_mapping`, whose options may be invalid.
#[derive(Debug)]
pub struct MappingEntry {
    pub oid: pg_sys::Oid,
    /// Its role; `InvalidOid` for PUBLIC.
    pub user: pg_sys::Oid,
    pub server: pg_sys::Oid,
    pub options: Result<Options, Refusal>,
}

/// The unsealed value of a secret option, or of the file that the option `{name}_file` names.
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
        notice_unbound(server, mapping, name);
    }
    Ok(Some(Secret::new(&revealed)))
}

/// Issues a notice, once for each secret, that the secret is not bound to its server and role.
fn notice_unbound(server: &Server, mapping: &Mapping, name: &str) {
    thread_local! {
        static NOTICED: RefCell<HashSet<(pg_sys::Oid, String)>> = RefCell::default();
    }
    if !NOTICED.with_borrow_mut(|noticed| noticed.insert((mapping.oid, name.to_owned()))) {
        return;
    }
    let role = role_name(mapping.user);
    error::notice(
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
