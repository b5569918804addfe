//! The definition of a foreign table. Each backend reads it once and caches it until the relation or a server changes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use acumatica_client::decode::ColumnType;
use acumatica_client::{Context, Surface, Target, dialect_of};
use acumatica_pushdown::{Dialect, Field, Reason};
use pgrx::PgRelation;
use pgrx::prelude::*;

use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::{Refusal, or_raise};
use crate::catalog::names::quoted;
use crate::catalog::option::{
    Layers, Object, Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST, option_list, unfit,
};
use crate::catalog::server::Server;
use crate::catalog::setting;
use crate::catalog::types;

/// The detail that holds the results of most inquiry forms.
const RESULTS: &str = "Results";

thread_local! {
    // A backend runs PostgreSQL code on one thread only, so thread-local state is per backend.
    static TABLES: RefCell<HashMap<pg_sys::Oid, Rc<ForeignTable>>> = RefCell::default();
    /// The number of invalidations so far. A definition that was being read during one is not cached.
    static INVALIDATIONS: Cell<u64> = const { Cell::new(0) };
    /// The invalidation callbacks are registered.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// A foreign table, made of the options of the table, its server and its columns.
#[derive(Debug)]
pub struct ForeignTable {
    pub oid: pg_sys::Oid,
    pub name: String,
    /// The name with its schema, quoted where SQL requires it.
    pub qualified: String,
    pub server: Server,
    /// The table's own options as they were given, to compare them with a definition. All else reads the fields below.
    pub options: Options,
    /// The entity, detail, inquiry or class that the table reads.
    pub target: Target,
    /// The dialect of `$filter`, as far as the options tell it: with `odata_version` `auto`, the server decides.
    pub dialect: Dialect,
    /// The maximum number of rows in a page.
    pub page_size: u32,
    /// The number of rows that the planner assumes.
    pub rows: Option<f64>,
    /// The cost of a request, in units of PostgreSQL's planner.
    pub startup_cost: Option<f64>,
    /// The cost of a row, in the same units.
    pub tuple_cost: Option<f64>,
    /// Whether the planner asks the server for numbers of rows.
    pub use_remote_estimate: bool,
    /// The condition in the server's own syntax that restricts the rows of the table.
    pub filter: Option<String>,
    /// The name of the collation that the server sorts text by.
    collation: Option<String>,
    /// The branch, locale and so on of its requests, which the settings of a session override.
    own_context: Context,
    /// The columns that are not dropped, in the order of their attribute numbers.
    pub columns: Vec<ForeignColumn>,
    /// The key fields in order, with the types that they are decoded to; empty if no column has the option `key`.
    pub key: Vec<(String, ColumnType)>,
}

/// A column of a foreign table.
#[derive(Debug)]
pub struct ForeignColumn {
    pub attribute: i16,
    pub name: String,
    /// Its options as they were given, to compare them with a definition. All else reads the fields below.
    pub options: Options,
    /// The path of its field in a record.
    pub path: Vec<String>,
    /// The type that its field is decoded to.
    pub ty: ColumnType,
    /// Its position in the key, from 1.
    pub key: Option<u8>,
    /// Set if the column is a parameter of an inquiry.
    pub parameter: Option<ParameterKind>,
    /// The field that conditions on the column use, or the reason why none are sent.
    pub field: Result<Field, Reason>,
    /// The server refuses its field in `$select` (docs/acumatica.md section 3): such a column has pushdown off.
    pub is_unselectable: bool,
    /// The column's input function may refuse a value that the decoder accepts.
    pub may_refuse: bool,
}

/// Whether an inquiry needs a value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    Optional,
    Required,
}

impl ForeignTable {
    /// The definition of a table, cached or read. Raises an error if an option is not valid.
    pub fn of(relation: &PgRelation) -> Rc<Self> {
        register_callbacks();
        let oid = relation.oid();
        if let Some(known) = TABLES.with_borrow(|tables| tables.get(&oid).cloned()) {
            return known;
        }
        let before = INVALIDATIONS.get();
        let table = Rc::new(Self::read(relation));
        // Reading the catalogs processes invalidation messages, so the definition may be out of date already.
        if INVALIDATIONS.get() == before {
            TABLES.with_borrow_mut(|tables| tables.insert(oid, Rc::clone(&table)));
        }
        table
    }

    fn read(relation: &PgRelation) -> Self {
        let oid = relation.oid();
        // SAFETY: GetForeignTable returns a palloc'd struct or raises; its options are a list of DefElems.
        let (server, options) = unsafe {
            let table = pg_sys::GetForeignTable(oid);
            ((*table).serverid, option_list((*table).options))
        };
        let server = Server::load(server);
        let options = or_raise(Options::check(Object::Table, options));
        let target = or_raise(target(&server, &options));
        let layers = Layers(&[&options, &server.options]);
        // SAFETY: `relation` keeps the relcache entry open, whose `relname` is a C string.
        let name = unsafe { from_server((*(*relation.as_ptr()).rd_rel).relname.data.as_ptr()) };
        let descriptor = relation.tuple_desc();
        let columns: Vec<ForeignColumn> = descriptor
            .iter()
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| ForeignColumn::read(oid, attribute, &target, layers))
            .collect();
        Self {
            oid,
            qualified: qualified(&name, relation.namespace_oid()),
            name,
            dialect: dialect_of(&target, server.odata_version),
            page_size: layers.number("page_size"),
            rows: layers.number_if_any("rows"),
            startup_cost: layers.number_if_any("fdw_startup_cost"),
            tuple_cost: layers.number_if_any("fdw_tuple_cost"),
            use_remote_estimate: layers.is("use_remote_estimate"),
            filter: layers.text("filter"),
            collation: layers.text("collation"),
            own_context: Context {
                branch: layers.text("branch"),
                locale: layers.text("locale"),
                business_date: layers.text("business_date"),
                show_archived: layers.is("show_archived"),
                show_deleted: layers.is("show_deleted"),
            },
            key: key(&columns),
            columns,
            target,
            server,
            options,
        }
    }

    /// The context of its requests.
    ///
    /// # Errors
    /// A setting of the session is not valid.
    pub fn context(&self) -> Result<Context, Refusal> {
        let context = setting::context(&self.own_context)?;
        let show_deleted = context.show_deleted && self.surface() == Surface::Dac;
        Ok(Context { show_deleted, ..context })
    }

    pub fn surface(&self) -> Surface {
        self.target.surface
    }

    /// The value of its option `schema`, its own or the server's.
    pub fn schema(&self) -> &'static str {
        match self.target.surface {
            Surface::Rest => SCHEMA_REST,
            Surface::GenericInquiry => SCHEMA_ODATA,
            Surface::Dac => SCHEMA_DAC,
        }
    }

    pub fn column(&self, attribute: i16) -> Option<&ForeignColumn> {
        self.columns.iter().find(|column| column.attribute == attribute)
    }

    /// The columns that are parameters of an inquiry.
    pub fn parameters(&self) -> impl Iterator<Item = &ForeignColumn> {
        self.columns.iter().filter(|column| column.parameter.is_some())
    }

    /// The collation that the option `collation` says the server sorts text by. Raises if there is no such collation. It is
    /// looked up each time, because the name depends on `search_path`.
    pub fn collation(&self) -> Option<pg_sys::Oid> {
        let name = to_server(self.collation.as_ref()?);
        // SAFETY: get_collation_oid gets a list of one String node, which is what a collation name is; it raises if there
        // is none.
        unsafe {
            let name = pg_sys::makeString(pg_sys::pstrdup(name.as_ptr()));
            Some(pg_sys::get_collation_oid(pg_sys::lappend(std::ptr::null_mut(), name.cast()), false))
        }
    }

    /// Whether another table is read with the same branch, locale and so on.
    pub fn has_context_of(&self, other: &Self) -> bool {
        self.own_context == other.own_context
    }

    /// Whether `$skip` counts the rows of the table. For details it counts records, each with any number of rows. A set
    /// without a key is read in one request, without `$skip`.
    pub fn can_skip_rows(&self) -> bool {
        let Target { form, singleton, detail, surface, .. } = &self.target;
        !form && !singleton && detail.is_empty() && (*surface == Surface::Rest || !self.key.is_empty())
    }
}

fn qualified(name: &str, namespace: pg_sys::Oid) -> String {
    // SAFETY: get_namespace_name returns a palloc'd C string, or null if the schema was dropped.
    let schema = unsafe { pg_sys::get_namespace_name(namespace) };
    match schema.is_null() {
        true => quoted(name),
        // SAFETY: it is not null, so it is a C string.
        false => format!("{}.{}", quoted(&unsafe { from_server(schema) }), quoted(name)),
    }
}

fn target(server: &Server, options: &Options) -> Result<Target, Refusal> {
    let layers = Layers(&[options, &server.options]);
    let schema = layers.get("schema").unwrap_or(SCHEMA_REST);
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
        endpoint_name,
        endpoint_version,
        contract: layers.number_if_any("contract"),
        function: options.get("function").map(str::to_owned),
        singleton: options.get("singleton") == Some("true"),
    })
}

impl ForeignColumn {
    fn read(
        table: pg_sys::Oid,
        attribute: &pg_sys::FormData_pg_attribute,
        target: &Target,
        outer: Layers,
    ) -> Self {
        // SAFETY: GetForeignColumnOptions returns a list of DefElems, which may be null, or raises.
        let options = unsafe { option_list(pg_sys::GetForeignColumnOptions(table, attribute.attnum)) };
        let options = or_raise(Options::check(Object::Column, options));
        // SAFETY: the `attname` of an attribute is a C string.
        let name = unsafe { from_server(attribute.attname.data.as_ptr()) };
        let parameter = options.get("parameter").map(|kind| match kind {
            "required" => ParameterKind::Required,
            _ => ParameterKind::Optional,
        });
        if parameter.is_some() && !target.form && target.surface != Surface::GenericInquiry {
            refuse_parameter(&name, target);
        }
        let ty = match types::column_type(attribute) {
            ColumnType::Text if Layers(&[&[&options], outer.0].concat()).is("unpad") => ColumnType::Unpadded,
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
        let field = match obstacles.into_iter().find(|(applies, _)| *applies) {
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
            key: options.get("key").and_then(|position| position.parse().ok()),
            parameter,
            field,
            is_unselectable: target.surface == Surface::Dac && options.get("pushdown") == Some("off"),
            may_refuse: types::may_refuse(attribute),
            options,
        }
    }

    /// Its field as messages and requests name it: the path with slashes.
    pub fn field_name(&self) -> String {
        self.path.join("/")
    }
}

/// The path of a column's field in a record. Without an option the field has the column's name; in a table of details it
/// is a field of the detail.
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

/// The key fields, sorted by position. Raises if two columns have the same position.
fn key(columns: &[ForeignColumn]) -> Vec<(String, ColumnType)> {
    let positioned = |column: &ForeignColumn| Some((column.key?, column.field_name(), column.ty));
    let mut keys: Vec<(u8, String, ColumnType)> = columns.iter().filter_map(positioned).collect();
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

/// Registers the invalidation callbacks, once in a backend.
fn register_callbacks() {
    if REGISTERED.replace(true) {
        return;
    }
    // SAFETY: PostgreSQL never unloads a library, so the callbacks stay valid.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::from(0));
        // A table keeps the name of its schema, too, whose renaming invalidates no table.
        for cache in [pg_sys::SysCacheIdentifier::FOREIGNSERVEROID, pg_sys::SysCacheIdentifier::NAMESPACEOID]
        {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(catalog_changed),
                pg_sys::Datum::from(0),
            );
        }
    }
}

/// Called when a relation was invalidated, by ALTER FOREIGN TABLE among others, options of columns included. InvalidOid
/// stands for all relations.
#[pg_guard]
unsafe extern "C-unwind" fn table_changed(_argument: pg_sys::Datum, oid: pg_sys::Oid) {
    TABLES.with_borrow_mut(|tables| match oid {
        pg_sys::InvalidOid => tables.clear(),
        oid => drop(tables.remove(&oid)),
    });
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
}

/// Called when a foreign server or a schema was invalidated. It drops all entries: the hash does not name the object, and
/// reading a definition again is cheap.
#[pg_guard]
unsafe extern "C-unwind" fn catalog_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    TABLES.with_borrow_mut(HashMap::clear);
    INVALIDATIONS.set(INVALIDATIONS.get() + 1);
}
