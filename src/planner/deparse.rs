//! From a foreign table and the columns wanted to a request.

use acumatica_client::decode::{self, ColumnType};
use acumatica_client::{
    Dialect, Field, Findings, Order, Parameter, ScanRequest, Surface, Target, dialect_of,
};
use pgrx::prelude::*;
use pgrx::{PgList, PgRelation};

use crate::backend::compat;
use crate::backend::encoding::{from_server, to_server};
use crate::backend::error::{Refusal, or_raise};
use crate::catalog::connection::{Server, quoted};
use crate::catalog::option::{Object, Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST, option_list, unfit};
use crate::catalog::setting;
use crate::executor::convert;
use crate::planner::order::Key;

/// Rows of the first request when the planner expects no limit: enough to answer a look at the
/// table, few enough to be quick.
pub const FIRST_PAGE: u32 = 256;
/// What the rows of a detail have besides their fields.
const ROW_MEMBERS: [&str; 7] = ["id", "rowNumber", "note", "files", "custom", "error", "*"];
/// Where most inquiry forms have their results.
const RESULTS: &str = "Results";

/// A column that conditions can be about.
#[derive(Clone, Debug)]
pub struct Column {
    pub attribute: i16,
    /// Its field, or why the server is not asked about it.
    pub field: Result<Field, &'static str>,
}

/// What the planner hands to the executor, as a list of plain nodes that PostgreSQL can copy.
#[derive(Debug, Default)]
pub struct Plan {
    /// Columns to fetch, by attribute number.
    pub attributes: Vec<i16>,
    /// How many rows are going to be read, if a LIMIT says so and nothing stands between it and the
    /// scan.
    pub limit: Option<u32>,
    /// In which order the rows are to come.
    pub keys: Vec<Key>,
    /// Which parameter each expression of the plan is the value of, or, of an array, the values of.
    pub arguments: Vec<i16>,
    /// What the server does beyond reading rows.
    pub upper: Option<Upper>,
}

/// What the server does above the scan of a table.
#[derive(Debug)]
pub struct Upper {
    pub kind: UpperKind,
    /// The number that the table had when the clauses were planned.
    pub relid: pg_sys::Index,
    /// The conditions on the table: exact, and of constants only. Nothing checks them again.
    pub clauses: *mut pg_sys::List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperKind {
    /// It counts the rows.
    Count,
    /// It leaves out so many rows at the beginning.
    Offset(u32),
}

impl Plan {
    /// As `fdw_private`.
    ///
    /// # Safety
    /// To be called in the planner, whose memory context the list is made in.
    pub unsafe fn into_list(self) -> *mut pg_sys::List {
        let numbers = |numbers: Vec<i16>| {
            // SAFETY: palloc only.
            let append = |list, number: i16| unsafe { pg_sys::lappend_int(list, number.into()) };
            numbers.into_iter().fold(std::ptr::null_mut(), append)
        };
        // SAFETY: palloc and node constructors only.
        unsafe {
            let limit = self.limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(0);
            let list = pg_sys::lappend(std::ptr::null_mut(), numbers(self.attributes).cast());
            let list = pg_sys::lappend(list, pg_sys::makeInteger(limit).cast());
            let list = pg_sys::lappend(list, numbers(self.arguments).cast());
            let keys = self.keys.into_iter().map(Key::to_number).collect();
            let list = pg_sys::lappend(list, numbers(keys).cast());
            let Some(Upper { kind, relid, clauses }) = self.upper else { return list };
            let offset = match kind {
                UpperKind::Count => -1,
                UpperKind::Offset(offset) => i32::try_from(offset).unwrap_or(i32::MAX),
            };
            let list = pg_sys::lappend(list, pg_sys::makeInteger(relid as i32).cast());
            let list = pg_sys::lappend(list, pg_sys::makeInteger(offset).cast());
            pg_sys::lappend(list, clauses.cast())
        }
    }

    /// # Safety
    /// `list` was made by [`Plan::into_list`], or copied from such a list.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let parts = PgList::<std::ffi::c_void>::from_pg(list);
            let (Some(attributes), Some(limit)) = (parts.get_ptr(0), parts.get_ptr(1)) else {
                unreachable!("a plan has four parts at least")
            };
            // An empty list is no pointer at all.
            let arguments = parts.get_ptr(2).unwrap_or(std::ptr::null_mut());
            let keys = parts.get_ptr(3).unwrap_or(std::ptr::null_mut());
            let integer = |node: *mut std::ffi::c_void| (*node.cast::<pg_sys::Integer>()).ival;
            let numbers = |list: *mut std::ffi::c_void| -> Vec<i16> {
                let list = PgList::<std::ffi::c_void>::from_pg(list.cast());
                list.iter_int().map(|number| number as i16).collect()
            };
            Self {
                attributes: numbers(attributes),
                limit: u32::try_from(integer(limit)).ok().filter(|limit| *limit > 0),
                arguments: numbers(arguments),
                keys: numbers(keys).into_iter().map(Key::from_number).collect(),
                upper: parts.get_ptr(4).zip(parts.get_ptr(5)).map(|(relid, offset)| Upper {
                    kind: u32::try_from(integer(offset)).map_or(UpperKind::Count, UpperKind::Offset),
                    relid: integer(relid) as pg_sys::Index,
                    clauses: parts.get_ptr(6).unwrap_or(std::ptr::null_mut()).cast(),
                }),
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
    pub fn inherited(&self, name: &str) -> &str {
        self.options.get(name).unwrap_or_else(|| self.server.options.get_or_default(name))
    }

    pub fn surface(&self) -> Surface {
        match self.inherited("schema") {
            SCHEMA_ODATA => Surface::GenericInquiry,
            SCHEMA_DAC => Surface::Dac,
            _ => Surface::Rest,
        }
    }

    /// The collation in which the server is said to order texts.
    pub fn collation(&self) -> Option<pg_sys::Oid> {
        let name = self.options.get("collation")?;
        let name = to_server(name);
        // SAFETY: palloc only, and a look-up in the catalog, which raises if there is no such collation.
        unsafe {
            let name = pg_sys::makeString(pg_sys::pstrdup(name.as_ptr()));
            Some(pg_sys::get_collation_oid(pg_sys::lappend(std::ptr::null_mut(), name.cast()), false))
        }
    }

    /// Whether rows can be asked for by how many there are before them: a record can have many details, and what has no
    /// key comes in one piece.
    pub fn is_cut_by_position(&self, relation: &PgRelation) -> bool {
        let target = or_raise(self.target());
        let attributes = relation.tuple_desc();
        let mut attributes = attributes.iter().filter(|attribute| !attribute.attisdropped);
        let mut has_key =
            || attributes.any(|a| column_options(relation.oid(), a.attnum).get("key").is_some());
        !target.form
            && !target.singleton
            && target.detail.is_empty()
            && (target.surface == Surface::Rest || has_key())
    }

    /// The dialect that conditions are going to be written in, as far as it can be told without the server.
    pub fn dialect(&self) -> Dialect {
        dialect_of(&or_raise(self.target()), self.server.odata_version())
    }

    fn target(&self) -> Result<Target, Refusal> {
        let schema = self.inherited("schema");
        let surface = self.surface();
        let namings: &[&str] = match surface {
            Surface::GenericInquiry => &["inquiry"],
            Surface::Dac => &["entity"],
            Surface::Rest => &["entity", "inquiry"],
        };
        let Some((naming, name)) =
            namings.iter().find_map(|naming| Some((*naming, self.options.get(naming)?)))
        else {
            return Err(match schema {
                SCHEMA_ODATA => unfit("entity", schema, &[SCHEMA_REST, SCHEMA_DAC]),
                _ => unfit("inquiry", schema, &[SCHEMA_REST, SCHEMA_ODATA]),
            });
        };
        let form = surface == Surface::Rest && naming == "inquiry";
        if form && self.options.get("filter").is_some() {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME,
                format!("option \"filter\" cannot be used with inquiry form \"{name}\""),
            )
            .hint("An inquiry form has parameters and no conditions: set them in WHERE."));
        }
        let detail = match self.options.get("detail") {
            Some(_) if surface != Surface::Rest => return Err(unfit("detail", schema, &[SCHEMA_REST])),
            Some(path) => path.split('/').map(str::to_owned).collect(),
            None if form => vec![RESULTS.to_owned()],
            None => Vec::new(),
        };
        let (endpoint_name, endpoint_version) = self.server.endpoint_for(&self.options);
        Ok(Target {
            surface,
            name: name.to_owned(),
            form,
            detail,
            endpoint_name: endpoint_name.to_owned(),
            endpoint_version: endpoint_version.map(str::to_owned),
            contract: self.inherited("contract").parse().ok(),
            function: self.options.get("function").map(str::to_owned),
            singleton: self.options.get("singleton") == Some("true"),
        })
    }

    /// The parameters of an inquiry, by attribute number.
    pub fn parameters(&self, relation: &PgRelation) -> Vec<(i16, Options)> {
        let attributes = relation.tuple_desc();
        let attributes = attributes.iter().filter(|attribute| !attribute.attisdropped);
        attributes
            .map(|attribute| (attribute.attnum, column_options(relation.oid(), attribute.attnum)))
            .filter(|(_, options)| options.get("parameter").is_some())
            .collect()
    }

    /// The columns, and what conditions on them are about.
    pub fn fields(&self, relation: &PgRelation) -> Vec<Column> {
        let target = or_raise(self.target());
        let unpad = self.inherited("unpad") == "true";
        let attributes = relation.tuple_desc();
        attributes
            .iter()
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| {
                let options = column_options(relation.oid(), attribute.attnum);
                // SAFETY: a name of the catalog.
                let name = unsafe { from_server(attribute.attname.data.as_ptr()) };
                let path = path(&target, &options, &name);
                let of_detail = !target.detail.is_empty() && path.starts_with(&target.detail);
                let obstacles = [
                    (options.get_or_default("pushdown") != "on", "the option pushdown of the column is off"),
                    (options.get("parameter").is_some(), "it is a parameter"),
                    (target.form, "an inquiry form has no conditions"),
                    (target.singleton, "a setup class is one row"),
                    (options.get("custom").is_some(), "conditions on custom fields are not sent"),
                    (of_detail, "conditions on details are undefined"),
                    (convert::is_rounded(attribute), "the column holds the number rounded"),
                ];
                let field = match obstacles.into_iter().find(|(stands, _)| *stands) {
                    Some((_, why)) => Err(why),
                    None => Ok(Field {
                        path,
                        ty: column_type(attribute, is_unpadded(&options, unpad)),
                        vouched: options.get("pushdown").is_some(),
                        key: options.get("key").is_some(),
                    }),
                };
                Column { attribute: attribute.attnum, field }
            })
            .collect()
    }

    /// The request that reads the columns of `plan`, with no call yet.
    pub fn request(&self, relation: &PgRelation, plan: &Plan) -> ScanRequest {
        let descriptor = relation.tuple_desc();
        let target = or_raise(self.target());
        let unpad = self.inherited("unpad") == "true";
        let mut keys: Vec<(u64, String, ColumnType)> = Vec::new();
        let mut columns: Vec<decode::Column> = Vec::new();
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut unselectable = Vec::new();
        let mut order_fields = vec![String::new(); plan.keys.len()];
        let mut spare = None;
        let mut may_refuse = false;
        for attribute in descriptor.iter().filter(|attribute| !attribute.attisdropped) {
            let options = column_options(relation.oid(), attribute.attnum);
            // SAFETY: a name of the catalog.
            let name = unsafe { from_server(attribute.attname.data.as_ptr()) };
            let path = path(&target, &options, &name);
            let wanted = plan.attributes.contains(&attribute.attnum);
            let refused = target.surface == Surface::Dac && options.get("pushdown") == Some("off");
            unselectable.extend(refused.then(|| path.join("/")));
            for (by, field) in plan.keys.iter().zip(&mut order_fields) {
                if by.attribute == attribute.attnum {
                    *field = path.join("/");
                }
            }
            let ty = column_type(attribute, is_unpadded(&options, unpad));
            keys.extend(options.integer("key").map(|position| (position, path.join("/"), ty)));
            if let Some(kind) = options.get("parameter") {
                if !target.form && target.surface != Surface::GenericInquiry {
                    refuse_parameter(&name, &target);
                }
                parameters.push(Parameter {
                    name: path.join("/"),
                    column: wanted.then_some(columns.len()),
                    required: kind == "required",
                });
            }
            if wanted {
                columns.push(decode::Column { ty, name, path });
                may_refuse |= convert::may_refuse(attribute);
            } else if ty == ColumnType::Text && spare.is_none() {
                let own = path.starts_with(&target.detail) && path.len() == target.detail.len() + 1;
                let plain = options.get("parameter").is_none()
                    && !ROW_MEMBERS.contains(&path[path.len() - 1].as_str());
                spare = (own && plain).then_some(decode::Column { ty: ColumnType::Text, name, path });
            }
        }
        let (key, key_types): (Vec<String>, Vec<ColumnType>) = in_order(keys).into_iter().unzip();
        // Without any field of the detail, all of it would be asked for.
        let within =
            |path: &[String]| path.len() == target.detail.len() + 1 && path.starts_with(&target.detail);
        let is_field = |column: &decode::Column| {
            within(&column.path) && !ROW_MEMBERS.contains(&column.path[column.path.len() - 1].as_str())
        };
        if !target.detail.is_empty() && !columns.iter().any(is_field) {
            columns.extend(spare.filter(is_field));
        }
        // The decoder names the row of a value that it refuses. For PostgreSQL to do so too, the fields
        // that name it must be among the cells, behind those of the columns.
        if may_refuse && !target.form {
            for field in target.surface.row_name(&key) {
                if !columns.iter().any(|column| column.path.join("/") == field) {
                    let path = field.split('/').map(str::to_owned).collect();
                    columns.push(decode::Column { name: field, path, ty: ColumnType::Text });
                }
            }
        }
        let own = |name: &str| self.options.get(name).or_else(|| self.server.options.get(name));
        let mut context = or_raise(setting::context(own));
        context.show_deleted &= target.surface == Surface::Dac;
        let order = plan.keys.iter().zip(order_fields);
        let order = order
            .map(|(by, field)| Order { field, descending: by.descending, nulls_apart: by.nulls_apart })
            .collect();
        let page_size: u32 = self.inherited("page_size").parse().unwrap_or(10_000);
        ScanRequest {
            // SAFETY: the relation is open.
            table: unsafe { from_server((*(*relation.as_ptr()).rd_rel).relname.data.as_ptr()) },
            relation: qualified(relation),
            target,
            columns,
            unselectable,
            findings: Findings::default(),
            key,
            key_types,
            parameters,
            calls: Vec::new(),
            filter: None,
            own_filter: self.options.get("filter").map(str::to_owned),
            order,
            offset: match plan.upper {
                Some(Upper { kind: UpperKind::Offset(offset), .. }) => offset.into(),
                _ => 0,
            },
            count: matches!(plan.upper, Some(Upper { kind: UpperKind::Count, .. })),
            context,
            page_size,
            first_page: plan.limit.unwrap_or(FIRST_PAGE).min(page_size),
        }
    }
}

/// The name of a relation in statements.
fn qualified(relation: &PgRelation) -> String {
    // SAFETY: the relation is open; its schema is in the catalog, or gone, which NULL tells.
    unsafe {
        let class = (*relation.as_ptr()).rd_rel;
        let name = quoted(&from_server((*class).relname.data.as_ptr()));
        let schema = pg_sys::get_namespace_name((*class).relnamespace);
        if schema.is_null() { name } else { format!("{}.{name}", quoted(&from_server(schema))) }
    }
}

/// Whether the blanks are cut off that the values of a column end with, given what its table says.
fn is_unpadded(options: &Options, of_table: bool) -> bool {
    options.get("unpad").map_or(of_table, |unpad| unpad == "true")
}

fn column_type(attribute: &pg_sys::FormData_pg_attribute, unpad: bool) -> ColumnType {
    match convert::column_type(attribute) {
        ColumnType::Text if unpad => ColumnType::Unpadded,
        ty => ty,
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

/// The fields of a key by their positions.
fn in_order(mut keys: Vec<(u64, String, ColumnType)>) -> Vec<(String, ColumnType)> {
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
