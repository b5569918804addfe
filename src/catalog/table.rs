//! A foreign table as the catalogs describe it: read once for each relation and backend, and kept until its definition or
//! its server's changes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use acumatica_client::decode::ColumnType;
use acumatica_client::{Surface, Target, dialect_of};
use acumatica_pushdown::{Dialect, Field, Reason};
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::{Refusal, or_raise};
use crate::catalog::names::quoted;
use crate::catalog::option::{Object, Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST, option_list, unfit};
use crate::catalog::server::Server;
use crate::catalog::types;

/// Where most inquiry forms have their results.
const RESULTS: &str = "Results";

thread_local! {
    // PostgreSQL runs a backend on one thread, so this is the cache of the backend.
    static TABLES: RefCell<HashMap<pg_sys::Oid, Rc<Table>>> = RefCell::default();
    /// How often entries were dropped: what was read before the last time is not kept.
    static DROPPED: Cell<u64> = const { Cell::new(0) };
    static WATCHES: Cell<bool> = const { Cell::new(false) };
}

/// A foreign table, as its options and those of its server and columns describe it.
#[derive(Debug)]
pub struct Table {
    pub oid: pg_sys::Oid,
    pub name: String,
    /// The name in statements: quoted where it must be, and with its schema.
    pub qualified: String,
    pub server: Server,
    pub options: Options,
    /// What is read of the instance.
    pub target: Target,
    /// The dialect that conditions are going to be written in, as far as it can be told without the server.
    pub dialect: Dialect,
    /// Most rows in one request.
    pub page_size: u32,
    /// Those that are not dropped, in the order of their attribute numbers.
    pub columns: Vec<Column>,
    /// The fields of the key in order, and what they are decoded to; empty if the table does not say.
    pub key: Vec<(String, ColumnType)>,
}

/// A column of a foreign table.
#[derive(Debug)]
pub struct Column {
    pub attribute: i16,
    pub name: String,
    pub options: Options,
    /// Where its field is in a record.
    pub path: Vec<String>,
    /// What its field is decoded to.
    pub ty: ColumnType,
    /// Its place in the key, from 1 on.
    pub key: Option<u64>,
    /// Which kind of parameter of an inquiry it is.
    pub parameter: Option<Parameter>,
    /// What conditions on it are about, or why the server is not asked about it.
    pub field: Result<Field, Reason>,
    /// PostgreSQL may refuse a value for it that the decoder accepted.
    pub may_refuse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    Optional,
    Required,
}

impl Table {
    /// The table, from the cache if it is there. Raises what is wrong with its options.
    pub fn of(relation: &PgRelation) -> Rc<Self> {
        watch();
        let oid = relation.oid();
        if let Some(known) = TABLES.with_borrow(|tables| tables.get(&oid).cloned()) {
            return known;
        }
        let before = DROPPED.get();
        let table = Rc::new(Self::read(relation));
        // Reading the catalogs may itself have told of a change.
        if DROPPED.get() == before {
            TABLES.with_borrow_mut(|tables| tables.insert(oid, Rc::clone(&table)));
        }
        table
    }

    fn read(relation: &PgRelation) -> Self {
        let oid = relation.oid();
        // SAFETY: returns palloc'd memory or raises.
        let (server, options) = unsafe {
            let table = pg_sys::GetForeignTable(oid);
            ((*table).serverid, option_list((*table).options))
        };
        let server = Server::load(server);
        let options = or_raise(Options::check(Object::Table, options));
        let target = or_raise(target(&server, &options));
        let unpad = inherited(&options, &server, "unpad") == "true";
        // SAFETY: the relation is open.
        let name = unsafe { from_server((*(*relation.as_ptr()).rd_rel).relname.data.as_ptr()) };
        let descriptor = relation.tuple_desc();
        let columns: Vec<Column> = descriptor
            .iter()
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| Column::read(oid, attribute, &target, unpad))
            .collect();
        Self {
            oid,
            qualified: qualified(&name, relation.namespace_oid()),
            name,
            dialect: dialect_of(&target, server.odata_version()),
            page_size: options.get_integer("page_size").unwrap_or_else(|| server.options.integer("page_size"))
                as u32,
            key: key(&columns),
            columns,
            target,
            server,
            options,
        }
    }

    /// The table's own option, else its server's, else the default.
    pub fn inherited(&self, name: &str) -> &str {
        inherited(&self.options, &self.server, name)
    }

    pub fn surface(&self) -> Surface {
        self.target.surface
    }

    pub fn column(&self, attribute: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.attribute == attribute)
    }

    /// The columns that are parameters of an inquiry.
    pub fn parameters(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.parameter.is_some())
    }

    /// The collation in which the server is said to order texts. Raises if there is none of that name.
    pub fn collation(&self) -> Option<pg_sys::Oid> {
        let name = to_server(self.options.get("collation")?);
        // SAFETY: palloc only, and a look-up in the catalog.
        unsafe {
            let name = pg_sys::makeString(pg_sys::pstrdup(name.as_ptr()));
            Some(pg_sys::get_collation_oid(pg_sys::lappend(std::ptr::null_mut(), name.cast()), false))
        }
    }

    /// Whether rows can be asked for by how many there are before them: a record can have many details, and what has no
    /// key comes in one piece.
    pub fn is_cut_by_position(&self) -> bool {
        let Target { form, singleton, detail, surface, .. } = &self.target;
        !form && !singleton && detail.is_empty() && (*surface == Surface::Rest || !self.key.is_empty())
    }
}

fn qualified(name: &str, namespace: pg_sys::Oid) -> String {
    // SAFETY: a look-up in the catalog; the name is palloc'd, NULL where the schema is gone.
    let schema = unsafe { pg_sys::get_namespace_name(namespace) };
    match schema.is_null() {
        true => quoted(name),
        // SAFETY: it ends with a NUL.
        false => format!("{}.{}", quoted(&unsafe { from_server(schema) }), quoted(name)),
    }
}

fn inherited<'a>(options: &'a Options, server: &'a Server, name: &str) -> &'a str {
    options.get(name).unwrap_or_else(|| server.options.get_or_default(name))
}

fn target(server: &Server, options: &Options) -> Result<Target, Refusal> {
    let schema = inherited(options, server, "schema");
    let (surface, namings): (Surface, &[&str]) = match schema {
        SCHEMA_ODATA => (Surface::GenericInquiry, &["inquiry"]),
        SCHEMA_DAC => (Surface::Dac, &["entity"]),
        _ => (Surface::Rest, &["entity", "inquiry"]),
    };
    let Some((naming, name)) = namings.iter().find_map(|naming| Some((*naming, options.get(naming)?))) else {
        return Err(match schema {
            SCHEMA_ODATA => unfit("entity", schema, &[SCHEMA_REST, SCHEMA_DAC]),
            _ => unfit("inquiry", schema, &[SCHEMA_REST, SCHEMA_ODATA]),
        });
    };
    let form = surface == Surface::Rest && naming == "inquiry";
    if form && options.get("filter").is_some() {
        return Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
            format!("option \"filter\" cannot be used with inquiry form \"{name}\""),
        )
        .hint("An inquiry form has parameters and no conditions: set them in WHERE."));
    }
    let detail = match options.get("detail") {
        Some(_) if surface != Surface::Rest => return Err(unfit("detail", schema, &[SCHEMA_REST])),
        Some(path) => path.split('/').map(str::to_owned).collect(),
        None if form => vec![RESULTS.to_owned()],
        None => Vec::new(),
    };
    let (endpoint_name, endpoint_version) = server.endpoint_for(options);
    Ok(Target {
        surface,
        name: name.to_owned(),
        form,
        detail,
        endpoint_name: endpoint_name.to_owned(),
        endpoint_version: endpoint_version.map(str::to_owned),
        contract: inherited(options, server, "contract").parse().ok(),
        function: options.get("function").map(str::to_owned),
        singleton: options.get("singleton") == Some("true"),
    })
}

impl Column {
    fn read(
        table: pg_sys::Oid,
        attribute: &pg_sys::FormData_pg_attribute,
        target: &Target,
        unpad: bool,
    ) -> Self {
        // SAFETY: returns palloc'd memory or raises.
        let options = unsafe { option_list(pg_sys::GetForeignColumnOptions(table, attribute.attnum)) };
        let options = or_raise(Options::check(Object::Column, options));
        // SAFETY: a name of the catalog.
        let name = unsafe { from_server(attribute.attname.data.as_ptr()) };
        let parameter = options.get("parameter").map(|kind| match kind {
            "required" => Parameter::Required,
            _ => Parameter::Optional,
        });
        if parameter.is_some() && !target.form && target.surface != Surface::GenericInquiry {
            refuse_parameter(&name, target);
        }
        let ty = match types::column_type(attribute) {
            ColumnType::Text if options.get("unpad").map_or(unpad, |own| own == "true") => {
                ColumnType::Unpadded
            }
            ty => ty,
        };
        let path = path(target, &options, &name);
        let of_detail = !target.detail.is_empty() && path.starts_with(&target.detail);
        let obstacles = [
            (options.get_or_default("pushdown") != "on", Reason::Off),
            (parameter.is_some(), Reason::Parameter),
            (target.form, Reason::Form),
            (target.singleton, Reason::Singleton),
            (options.get("custom").is_some(), Reason::Custom),
            (of_detail, Reason::Detail),
            (types::is_rounded(attribute), Reason::RoundedColumn),
        ];
        let field = match obstacles.into_iter().find(|(stands, _)| *stands) {
            Some((_, why)) => Err(why),
            None => Ok(Field {
                path: path.clone(),
                ty,
                vouched: options.get("pushdown").is_some(),
                key: options.get("key").is_some(),
            }),
        };
        Self {
            attribute: attribute.attnum,
            name,
            path,
            ty,
            key: options.get_integer("key"),
            parameter,
            field,
            may_refuse: types::may_refuse(attribute),
            options,
        }
    }

    /// Whether the server refuses its field in `$select` (docs/acumatica.md section 3): such a column has pushdown off.
    pub fn is_unselectable(&self, surface: Surface) -> bool {
        surface == Surface::Dac && self.options.get("pushdown") == Some("off")
    }
}

/// Where the field of a column is in a record. Without an option it has the column's name; in a table of details it is
/// one of the detail.
fn path(target: &Target, options: &Options, name: &str) -> Vec<String> {
    let owned = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect::<Vec<_>>();
    if let Some(field) = options.get("field") {
        return owned(&mut field.split('/'));
    }
    if options.get("parameter").is_some() {
        return vec![name.to_owned()];
    }
    let within = match options.get("custom").and_then(|custom| custom.split_once('.')) {
        Some((view, field)) => owned(&mut ["custom", view, field].into_iter()),
        None => vec![name.to_owned()],
    };
    [target.detail.clone(), within].concat()
}

fn refuse_parameter(column: &str, target: &Target) -> ! {
    Refusal::new(
        PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
        format!("column \"{column}\" cannot be a parameter of {target}"),
    )
    .detail("Only generic inquiries and inquiry forms have parameters.")
    .hint("Drop the option parameter, or give the table the option inquiry instead of entity.")
    .raise()
}

/// The fields of the key by their positions.
fn key(columns: &[Column]) -> Vec<(String, ColumnType)> {
    let positioned = |column: &Column| Some((column.key?, column.path.join("/"), column.ty));
    let mut keys: Vec<(u64, String, ColumnType)> = columns.iter().filter_map(positioned).collect();
    keys.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    if let Some([(position, one, _), (_, other, _)]) =
        keys.array_windows().find(|[(one, ..), (other, ..)]| one == other)
    {
        Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
            format!("two columns have the option \"key\" with the value {position}"),
        )
        .detail(format!("They are those of the fields \"{one}\" and \"{other}\"."))
        .hint("Number the columns of the key from 1 on, each once.")
        .raise();
    }
    keys.into_iter().map(|(_, field, ty)| (field, ty)).collect()
}

/// Has PostgreSQL tell of changes, once in a backend.
fn watch() {
    if WATCHES.replace(true) {
        return;
    }
    // SAFETY: the callbacks live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::from(0));
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::FOREIGNSERVEROID as i32,
            Some(server_changed),
            pg_sys::Datum::from(0),
        );
    }
}

/// Called whenever a relation has changed: ALTER FOREIGN TABLE, and options of columns, are among that. Without an OID, all
/// may have.
#[pg_guard]
unsafe extern "C-unwind" fn table_changed(_argument: pg_sys::Datum, oid: pg_sys::Oid) {
    TABLES.with_borrow_mut(|tables| match oid {
        pg_sys::InvalidOid => tables.clear(),
        oid => drop(tables.remove(&oid)),
    });
    DROPPED.set(DROPPED.get() + 1);
}

/// Called whenever a foreign server has changed. Which one is told by a hash; there are few.
#[pg_guard]
unsafe extern "C-unwind" fn server_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    TABLES.with_borrow_mut(HashMap::clear);
    DROPPED.set(DROPPED.get() + 1);
}
