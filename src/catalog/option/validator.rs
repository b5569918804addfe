//! The SQL functions about options: the wrapper's validator, and `acumatica_options()`.

use pgrx::prelude::*;

use super::definition::{Object, Trusted, ValueType};
use super::list::OPTIONS;
use super::options::Options;
use crate::backend::encoding::from_server;
use crate::backend::error::{Refusal, or_raise};

/// The oid of `pg_read_server_files` since PostgreSQL 11 (pg_authid.dat).
const ROLE_PG_READ_SERVER_FILES: pg_sys::Oid = pg_sys::Oid::from_u32(4569);

/// Checks that the current user may name a file of the server, which is read with the rights of the user that runs
/// PostgreSQL.
fn check_trust(options: &Options) -> Result<(), Refusal> {
    for option in OPTIONS.iter().filter(|option| options.get(option.name).is_some()) {
        let ValueType::File(trusted) = option.kind else { continue };
        // SAFETY: catalog look-ups for the current user, who is set while a statement runs.
        let (is_trusted, who) = unsafe {
            match trusted {
                Trusted::Superuser => (pg_sys::superuser(), "superusers"),
                Trusted::Reader => (
                    pg_sys::has_privs_of_role(pg_sys::GetUserId(), ROLE_PG_READ_SERVER_FILES),
                    "members of pg_read_server_files",
                ),
            }
        };
        if !is_trusted {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied to set option \"{}\"", option.name),
            )
            .detail("The file is read with the rights of the user that runs PostgreSQL.")
            .hint(format!("Only {who} can set it.")));
        }
    }
    Ok(())
}

/// The options of a catalog object as names and values.
///
/// # Safety
/// `list` is a list of `DefElem`, as the foreign catalog functions return it.
pub unsafe fn option_list(list: *mut pg_sys::List) -> Vec<(String, String)> {
    // SAFETY: the caller guarantees a list of DefElems, each with a name. defGetString returns a C string or raises.
    unsafe {
        let list = pgrx::PgList::<pg_sys::DefElem>::from_pg(list);
        list.iter_ptr()
            .map(|element| (from_server((*element).defname), from_server(pg_sys::defGetString(element))))
            .collect()
    }
}

/// The validator. PostgreSQL calls it when options change, with all options of the object as `text[]` and the oid of their
/// catalog.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_validator(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the install script declares the function STRICT with the arguments (text[], oid), so there are two, not NULL.
    let (given, catalog) = unsafe {
        let arguments = (*call).args.as_slice(2);
        let options = pg_sys::untransformRelOptions(arguments[0].value);
        (option_list(options), pg_sys::Oid::from_datum(arguments[1].value, false))
    };
    let object = match catalog {
        Some(pg_sys::ForeignServerRelationId) => Some(Object::Server),
        Some(pg_sys::UserMappingRelationId) => Some(Object::UserMapping),
        Some(pg_sys::ForeignTableRelationId) => Some(Object::Table),
        Some(pg_sys::AttributeRelationId) => Some(Object::Column),
        _ => None,
    };
    let checked = match (object, given.first()) {
        (Some(object), _) => Options::gather(object, given).and_then(|options| {
            check_trust(&options)?;
            options.check_together(object)
        }),
        (None, None) => Ok(()),
        (None, Some((name, _))) => Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
            format!("invalid option \"{name}\" for the foreign data wrapper"),
        )
        .hint(
            "It has no options. Give them to the server, the user mapping, the foreign table or the column.",
        )),
    };
    or_raise(checked);
    pg_sys::Datum::from(0)
}

/// The calling convention of the validator.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_validator() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}

/// `acumatica_options()`: lists all options.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn acumatica_options() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(aliases, Vec<String>),
        name!(objects, Vec<String>),
        name!(r#type, String),
        name!(default_value, Option<String>),
        name!(secret, bool),
        name!(purpose, String),
    ),
> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    TableIterator::new(OPTIONS.iter().map(move |option| {
        let objects: Vec<&str> = option.objects.iter().map(|object| object.name()).collect();
        (
            option.name.to_owned(),
            owned(option.aliases),
            owned(&objects),
            option.kind_name(),
            option.default.map(str::to_owned),
            option.secret,
            option.purpose.to_owned(),
        )
    }))
}
