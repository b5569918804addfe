//! From a foreign table and the columns wanted to a request.

use acumatica_client::decode::{Column, ColumnType};
use acumatica_client::{ScanRequest, Surface, Target};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::compat;
use crate::connection::Server;
use crate::convert;
use crate::encoding::from_server;
use crate::error::{Refusal, or_raise};
use crate::option::{Object, Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST, option_list, unfit};

/// Rows of the first request when the planner expects no limit: enough to answer a look at the
/// table, few enough to be quick.
const FIRST_PAGE: u32 = 256;

/// What the planner hands to the executor, as a list of plain nodes that PostgreSQL can copy.
#[derive(Debug)]
pub struct Plan {
    /// Columns to fetch, by attribute number.
    pub attributes: Vec<i16>,
    /// How many rows are going to be read, if a LIMIT says so and nothing stands between it and the
    /// scan.
    pub limit: Option<u32>,
}

impl Plan {
    /// As `fdw_private`.
    ///
    /// # Safety
    /// To be called in the planner, whose memory context the list is made in.
    pub unsafe fn into_list(self) -> *mut pg_sys::List {
        // SAFETY: palloc and node constructors only.
        unsafe {
            let attributes = self
                .attributes
                .into_iter()
                .fold(std::ptr::null_mut(), |list, attribute| pg_sys::lappend_int(list, attribute.into()));
            let limit = self.limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(0);
            let list = pg_sys::lappend(std::ptr::null_mut(), attributes.cast());
            pg_sys::lappend(list, pg_sys::makeInteger(limit).cast())
        }
    }

    /// # Safety
    /// `list` was made by [`Plan::into_list`], or copied from such a list.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let parts = PgList::<std::ffi::c_void>::from_pg(list);
            let (Some(attributes), Some(limit)) = (parts.get_ptr(0), parts.get_ptr(1)) else {
                unreachable!("a plan has two parts")
            };
            let attributes = PgList::<std::ffi::c_void>::from_pg(attributes.cast());
            Self {
                attributes: attributes.iter_int().map(|attribute| attribute as i16).collect(),
                limit: u32::try_from(compat::integer(limit)).ok().filter(|limit| *limit > 0),
            }
        }
    }
}

/// The options of a column.
pub fn column_options(table: pg_sys::Oid, attribute: i16) -> Options {
    // SAFETY: returns palloc'd memory or raises.
    let options = unsafe { option_list(pg_sys::GetForeignColumnOptions(table, attribute)) };
    or_raise(Options::check(Object::Column, options))
}

/// A foreign table, as its options describe it.
#[derive(Debug)]
pub struct Table {
    pub server: Server,
    pub options: Options,
}

impl Table {
    pub fn load(oid: pg_sys::Oid) -> Self {
        // SAFETY: returns palloc'd memory or raises.
        let (server, options) = unsafe {
            let table = pg_sys::GetForeignTable(oid);
            ((*table).serverid, option_list((*table).options))
        };
        Self { server: Server::load(server), options: or_raise(Options::check(Object::Table, options)) }
    }

    /// The table's own option, else its server's, else the default.
    fn inherited(&self, name: &str) -> &str {
        self.options.get(name).unwrap_or_else(|| self.server.options.get_or_default(name))
    }

    fn target(&self) -> Result<Target, Refusal> {
        let schema = self.inherited("schema");
        let (surface, naming, other) = match schema {
            SCHEMA_ODATA => {
                (Surface::GenericInquiry, "inquiry", ("entity", [SCHEMA_REST, SCHEMA_DAC].as_slice()))
            }
            SCHEMA_DAC => (Surface::Dac, "entity", ("inquiry", [SCHEMA_ODATA].as_slice())),
            _ => (Surface::Rest, "entity", ("inquiry", [SCHEMA_ODATA].as_slice())),
        };
        let Some(name) = self.options.get(naming) else { return Err(unfit(other.0, schema, other.1)) };
        let (endpoint_name, endpoint_version) = self.server.endpoint_for(&self.options);
        Ok(Target {
            surface,
            name: name.to_owned(),
            endpoint_name: endpoint_name.to_owned(),
            endpoint_version: endpoint_version.map(str::to_owned),
        })
    }

    /// The request that reads the columns of `plan`.
    pub fn request(&self, relation: &PgRelation, plan: &Plan) -> ScanRequest {
        let descriptor = relation.tuple_desc();
        let column = |attribute: &pg_sys::FormData_pg_attribute| {
            let options = column_options(relation.oid(), attribute.attnum);
            // SAFETY: a name of the catalog.
            let name = unsafe { from_server(attribute.attname.data.as_ptr()) };
            let path: Vec<String> =
                options.get("field").unwrap_or(&name).split('/').map(str::to_owned).collect();
            (Column { ty: convert::column_type(attribute), name, path }, options.integer("key"))
        };
        let mut keys: Vec<(u64, String)> = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        let mut may_refuse = false;
        for attribute in descriptor.iter().filter(|attribute| !attribute.attisdropped) {
            let (column, key) = column(attribute);
            keys.extend(key.map(|position| (position, column.path.join("/"))));
            if plan.attributes.contains(&attribute.attnum) {
                columns.push(column);
                may_refuse |= convert::may_refuse(attribute);
            }
        }
        keys.sort();
        if let Some([(position, one), (_, other)]) =
            keys.array_windows().find(|[(one, _), (other, _)]| one == other)
        {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                format!("two columns have the option \"key\" with the value {position}"),
            )
            .detail(format!("They are those of the fields \"{one}\" and \"{other}\"."))
            .hint("Number the columns of the key from 1 on, each once.")
            .raise();
        }
        let key: Vec<String> = keys.into_iter().map(|(_, field)| field).collect();
        let target = or_raise(self.target());
        // The decoder names the row of a value that it refuses. For PostgreSQL to do so too, the fields
        // that name it must be among the cells, behind those of the columns.
        if may_refuse {
            for field in target.surface.row_name(&key) {
                if !columns.iter().any(|column| column.path.join("/") == field) {
                    let path = field.split('/').map(str::to_owned).collect();
                    columns.push(Column { name: field, path, ty: ColumnType::Text });
                }
            }
        }
        let page_size: u32 = self.inherited("page_size").parse().unwrap_or(10_000);
        ScanRequest {
            // SAFETY: the relation is open.
            table: unsafe { from_server((*(*relation.as_ptr()).rd_rel).relname.data.as_ptr()) },
            target,
            columns,
            key,
            page_size,
            first_page: plan.limit.unwrap_or(FIRST_PAGE).min(page_size),
        }
    }
}
