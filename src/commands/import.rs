//! IMPORT FOREIGN SCHEMA: reads the definitions of an instance and writes CREATE FOREIGN TABLE statements.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;

use acumatica_client::catalog::{Contract, Model};
use acumatica_client::{Checked, Client, CustomFields, Endpoint, Engine, Error, Job, Surface, Target, loose};
use acumatica_schema::{
    Days, Details, Existing, Linked, NameCase, NotFound, Schema, Selection, Settings, TableDef,
    contract_tables, dac_tables, inquiry_tables,
};
use pgrx::prelude::*;
use pgrx::{PgList, PgTryBuilder};

use crate::backend::encoding::{from_server, to_server, to_server_exactly};
use crate::backend::error::{Refusal, notice, or_raise};
use crate::catalog::connection::with_client;
use crate::catalog::mapping::Mapping;
use crate::catalog::option::{Object, Options, SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST, option_list};
use crate::catalog::server::Server;
use crate::commands::ddl::event;
use crate::commands::locks;
use crate::commands::statistics;

pub fn register(routine: &mut pg_sys::FdwRoutine) {
    routine.ImportForeignSchema = Some(import_foreign_schema);
}

/// What an import does with its tables once they exist. ImportForeignSchema may return CREATE FOREIGN TABLE statements only, so
/// an event trigger does it at the end of the command.
struct Afterwards {
    /// The transaction of the import. A failed one must not leave anything for the next.
    transaction: pg_sys::TransactionId,
    local_schema: String,
    tables: Vec<TableDef>,
    /// Titles become comments.
    comments: bool,
    /// Rows are counted.
    statistics: bool,
}

thread_local! {
    static AFTERWARDS: RefCell<Option<Afterwards>> = const { RefCell::new(None) };
}

#[pg_guard]
unsafe extern "C-unwind" fn import_foreign_schema(
    statement: *mut pg_sys::ImportForeignSchemaStmt,
    server: pg_sys::Oid,
) -> *mut pg_sys::List {
    // SAFETY: PostgreSQL passes the parse tree of the statement: its names are C strings, its options DefElems.
    let (remote_schema, local_schema, options, selection) = unsafe {
        let statement = &*statement;
        (
            from_server(statement.remote_schema),
            from_server(statement.local_schema),
            option_list(statement.options),
            selection(statement),
        )
    };
    AFTERWARDS.take();
    locks::done();
    let options = or_raise(Options::check(Object::Import, options));
    let source = or_raise(Source::open(Server::load(server), &remote_schema, &options));
    let settings = settings(&options, source.surface);
    let mut definitions = or_raise(source.read());
    let kept_all = definitions.keep_only(&selection, &settings.prefix);
    let mut schema = definitions.schema(&settings);
    let mut chosen = match select(&schema, &selection, &source) {
        Ok(chosen) => chosen,
        Err(refusal) if kept_all => or_raise(Err(refusal)),
        // The table may have a name that was made longer to be unique, which only all definitions together tell.
        Err(_) => {
            definitions = or_raise(source.read());
            schema = definitions.schema(&settings);
            or_raise(select(&schema, &selection, &source))
        }
    };
    if options.get_or_default("custom_fields") != "none" {
        or_raise(source.add_custom_fields(&mut definitions, entities(&chosen)));
        schema = definitions.schema(&settings);
        chosen = or_raise(select(&schema, &selection, &source));
    }
    if source.surface == Surface::GenericInquiry && options.get_or_default("check_rights") == "true" {
        let Checked { refused, days } = or_raise(source.checked(&chosen));
        let refused = notice_refused(refused);
        schema = definitions.schema(&Settings { seen: days, ..settings });
        chosen = or_raise(select(&schema, &selection, &source));
        chosen.retain(|table| !refused.contains(&table.remote));
    }
    if let Selection::Only(names) = &selection {
        let hint = "Name the table, or the class in full, in LIMIT TO.";
        schema.doubts(names).into_iter().for_each(|doubt| notice(doubt, hint.to_owned()));
    }
    let about = |fault: &&String| match selection {
        Selection::Only(_) => chosen.iter().any(|table| is_about(fault, table)),
        _ => true,
    };
    schema.notices.iter().filter(about).for_each(|fault| notice(fault.clone(), String::new()));

    let mut statements = std::ptr::null_mut();
    let mut created = Vec::new();
    for table in chosen {
        let Some(text) = in_database_encoding(&table.create(&source.server.name)) else {
            let message = format!(
                "\"{}\" was left out: its names cannot be written in the encoding of the database",
                table.remote
            );
            notice(message, "Use a database in UTF-8.".to_owned());
            continue;
        };
        // SAFETY: the list and the copies are allocated in the context of the command, which reads them afterwards.
        unsafe { statements = pg_sys::lappend(statements, pg_sys::pstrdup(text.as_ptr()).cast()) };
        created.push(table);
    }
    if let Selection::Only(_) = selection {
        // SAFETY: `statement` is what PostgreSQL passed.
        unsafe { limit_to(statement, &created) };
    }
    locks::expect(created.len());
    let is = |name: &str| options.get_or_default(name) == "true";
    let (comments, statistics) = (is("import_comments"), is("import_statistics"));
    if comments || statistics {
        // SAFETY: a transaction is running. It gets an xid here, which creating the tables needs anyway.
        let transaction = unsafe { pg_sys::GetCurrentTransactionId() };
        AFTERWARDS.set(Some(Afterwards { transaction, local_schema, tables: created, comments, statistics }));
    }
    statements
}

/// The tables that the statement selects, by local or remote names.
///
/// # Safety
/// `statement` is a parse tree of PostgreSQL.
unsafe fn selection(statement: &pg_sys::ImportForeignSchemaStmt) -> Selection {
    // SAFETY: the caller guarantees a parse tree, whose `table_list` holds RangeVars.
    let names = || unsafe {
        let list = PgList::<pg_sys::RangeVar>::from_pg(statement.table_list);
        list.iter_ptr().map(|table| from_server((*table).relname)).collect()
    };
    match statement.list_type {
        pg_sys::ImportForeignSchemaType::FDW_IMPORT_SCHEMA_LIMIT_TO => Selection::Only(names()),
        pg_sys::ImportForeignSchemaType::FDW_IMPORT_SCHEMA_EXCEPT => Selection::Except(names()),
        _ => Selection::All,
    }
}

/// Replaces the names in LIMIT TO by the local names of the tables. PostgreSQL compares only these with the list, and
/// discards the tables that are not in it.
///
/// # Safety
/// `statement` is what PostgreSQL passed to ImportForeignSchema, in the memory context of the command.
unsafe fn limit_to(statement: *mut pg_sys::ImportForeignSchemaStmt, tables: &[TableDef]) {
    // SAFETY: the caller guarantees the command's own copy of the parse tree, in the same context as the new nodes.
    unsafe {
        let mut list = std::ptr::null_mut();
        for table in tables {
            // It cannot fail: the statement that creates the table has been converted to the database encoding.
            let Some(name) = to_server_exactly(&table.name) else { continue };
            let name = pg_sys::pstrdup(name.as_ptr());
            list = pg_sys::lappend(list, pg_sys::makeRangeVar(std::ptr::null_mut(), name, -1).cast());
        }
        (*statement).table_list = list;
    }
}

/// A text in the database encoding; `None` if the encoding lacks a character.
fn in_database_encoding(text: &str) -> Option<CString> {
    let text = std::panic::AssertUnwindSafe(text);
    PgTryBuilder::new(|| to_server_exactly(&text))
        .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| None)
        .execute()
}

fn settings(options: &Options, surface: Surface) -> Settings {
    let is = |name: &str| options.get_or_default(name) == "true";
    Settings {
        case: match options.get_or_default("case") {
            "preserve" => NameCase::Preserve,
            _ => NameCase::Snake,
        },
        prefix: options.get("prefix").unwrap_or_default().to_owned(),
        linked: match options.get_or_default("linked") {
            "jsonb" => Linked::Jsonb,
            "skip" => Linked::Skip,
            _ => Linked::Flatten,
        },
        details: match options.get_or_default("details") {
            "jsonb" => Details::Jsonb,
            _ => Details::Skip,
        },
        all_custom: options.get_or_default("custom_fields") == "all",
        keys: is("import_keys"),
        not_null: is("import_not_null"),
        comments: is("import_comments"),
        unpad: options.get("unpad").map_or(surface != Surface::Rest, |unpad| unpad == "true"),
        days: match options.get_or_default("days") {
            "date" => Days::Date,
            "timestamptz" => Days::TimestampTz,
            _ => Days::Auto,
        },
        seen: HashMap::new(),
    }
}

/// The selected tables.
///
/// # Errors
/// LIMIT TO or EXCEPT names a table that does not exist. The hint suggests similar names.
fn select(schema: &Schema, selection: &Selection, source: &Source) -> Result<Vec<TableDef>, Refusal> {
    let found = schema.select(selection).map(|tables| tables.into_iter().cloned().collect());
    found.map_err(|NotFound { name, close }| {
        let refusal = Refusal::new(
            PgSqlErrorCode::ERRCODE_FDW_TABLE_NOT_FOUND,
            format!(
                "remote schema \"{}\" of server \"{}\" has no table \"{name}\"",
                schema.surface, source.server.name
            ),
        );
        let about_it = schema.notices.iter().find(|notice| notice.contains(&format!("\"{name}\"")));
        let refusal = match about_it {
            Some(notice) => refusal.detail(format!("{notice}.")),
            None => refusal,
        };
        match close.is_empty() {
            true => refusal.hint("Import all into a schema of its own to see which tables there are."),
            false => refusal.hint(format!("Perhaps you meant \"{}\".", close.join("\" or \""))),
        }
    })
}

fn entities(tables: &[TableDef]) -> Vec<String> {
    let mut entities: Vec<String> =
        tables.iter().filter_map(|table| table.option("entity").map(str::to_owned)).collect();
    entities.sort();
    entities.dedup();
    entities
}

/// Whether a notice names a table or its entity.
fn is_about(fault: &str, table: &TableDef) -> bool {
    let entity = table.remote.split('/').next().unwrap_or(&table.remote);
    [table.name.as_str(), table.remote.as_str(), entity]
        .iter()
        .any(|name| fault.contains(&format!("\"{name}\"")))
}

/// A surface of a server, from which definitions are read.
pub struct Source {
    pub server: Server,
    mapping: Mapping,
    surface: Surface,
    endpoint_name: String,
    endpoint_version: Option<String>,
}

/// The definitions of a surface.
pub enum Definitions {
    Contract(Endpoint, Contract, CustomFields),
    Inquiries(Model),
    Dacs(Model),
}

impl Definitions {
    /// Drops the sets that LIMIT TO does not name. True if it kept all: without LIMIT TO, or for contract REST.
    fn keep_only(&mut self, selection: &Selection, prefix: &str) -> bool {
        let (Self::Inquiries(model) | Self::Dacs(model), Selection::Only(names)) = (self, selection) else {
            return true;
        };
        let own = |name: &String| [loose(name), loose(name.strip_prefix(prefix).unwrap_or(name))];
        let wanted: HashSet<String> = names.iter().flat_map(own).collect();
        model.keep_only(|name| wanted.contains(&loose(name)));
        false
    }

    /// The foreign tables for the definitions.
    pub fn schema(&self, settings: &Settings) -> Schema {
        match self {
            Self::Contract(endpoint, contract, custom) => {
                contract_tables(contract, (&endpoint.name, &endpoint.version), custom, settings)
            }
            Self::Inquiries(model) => inquiry_tables(model, settings),
            Self::Dacs(model) => dac_tables(model, settings),
        }
    }
}

impl Source {
    /// A surface of a server, with the user mapping of the current user. The endpoint is that of `options`, else that of the
    /// server.
    ///
    /// # Errors
    /// There is no such remote schema, or no user mapping.
    pub fn open(server: Server, schema: &str, options: &Options) -> Result<Self, Refusal> {
        let is = |name: &str| schema.eq_ignore_ascii_case(name);
        let surface = if is(SCHEMA_REST) {
            Surface::Rest
        } else if is(SCHEMA_ODATA) {
            Surface::GenericInquiry
        } else if is(SCHEMA_DAC) || is("ODataV4") {
            Surface::Dac
        } else {
            return Err(Refusal::new(
                PgSqlErrorCode::ERRCODE_FDW_SCHEMA_NOT_FOUND,
                format!("remote schema \"{schema}\" does not exist"),
            )
            .hint(
                "Import \"REST\" for business entities, \"OData\" for generic inquiries, or \"DAC\" for data access classes.",
            ));
        };
        // SAFETY: GetUserId reads a variable of the backend, which is set while a statement runs.
        let mapping = Mapping::find(&server, unsafe { pg_sys::GetUserId() })?;
        let (endpoint_name, endpoint_version) = server.endpoint_for(options);
        Ok(Self { server, mapping, surface, endpoint_name, endpoint_version })
    }

    /// Starts a job on the I/O thread and waits for its result.
    ///
    /// # Errors
    /// The client cannot be made, or the job fails.
    pub fn ask<T>(
        &self,
        question: impl FnOnce(&Engine, &Client) -> Job<Result<T, Error>>,
    ) -> Result<T, Refusal> {
        let job =
            with_client(&self.server, &self.mapping, |io, client| Ok(io.job(question(io.engine(), client))))?;
        Ok(job.wait()?)
    }

    /// The same source with another endpoint.
    pub fn of_endpoint(self, endpoint_name: String, endpoint_version: Option<String>) -> Self {
        Self { endpoint_name, endpoint_version, ..self }
    }

    /// The definitions, in the newest version if the instance no longer has the endpoint's version.
    ///
    /// # Errors
    /// The definitions cannot be read.
    pub fn read_or_newest(&self) -> Result<Definitions, Refusal> {
        match self.read() {
            Err(refusal) if refusal.code == PgSqlErrorCode::ERRCODE_FDW_TABLE_NOT_FOUND => {
                self.read_version(None)
            }
            outcome => outcome,
        }
    }

    /// The definitions without custom fields.
    ///
    /// # Errors
    /// The definitions cannot be read.
    pub fn read(&self) -> Result<Definitions, Refusal> {
        self.read_version(self.endpoint_version.clone())
    }

    fn read_version(&self, version: Option<String>) -> Result<Definitions, Refusal> {
        Ok(match self.surface {
            Surface::Rest => {
                let name = self.endpoint_name.clone();
                let (endpoint, contract) =
                    self.ask(|engine, client| engine.contract(client, name, version))?;
                Definitions::Contract(endpoint, contract, CustomFields::new())
            }
            Surface::GenericInquiry => {
                Definitions::Inquiries(self.ask(|engine, client| engine.model(client, self.surface))?)
            }
            Surface::Dac => Definitions::Dacs(self.ask(|engine, client| engine.model(client, self.surface))?),
        })
    }

    /// Adds the custom fields of entities. Issues a notice for each entity whose custom fields cannot be read.
    ///
    /// # Errors
    /// The request fails.
    pub fn add_custom_fields(
        &self,
        definitions: &mut Definitions,
        entities: Vec<String>,
    ) -> Result<(), Refusal> {
        let Definitions::Contract(endpoint, _, custom) = definitions else { return Ok(()) };
        let endpoint = endpoint.clone();
        let (found, faults) = self.ask(|engine, client| engine.custom_fields(client, endpoint, entities))?;
        custom.extend(found);
        faults.into_iter().for_each(|fault| notice(fault.message, fault.hint.unwrap_or_default()));
        Ok(())
    }

    /// The fields of a table that no row of any scan has had.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn never_seen(
        &self,
        table: &Existing,
        endpoint_version: Option<&str>,
    ) -> Result<Vec<String>, Refusal> {
        let option = |name: &str| {
            let option = table.options.iter().find(|(option, _)| option == name);
            option.map(|(_, value)| value.clone())
        };
        // The client records the fields under the target that scans use.
        let Some(name) = option("entity").or_else(|| option("inquiry")) else { return Ok(Vec::new()) };
        let target = Target {
            surface: self.surface,
            name,
            form: false,
            function: None,
            singleton: false,
            detail: Vec::new(),
            endpoint_name: self.endpoint_name.clone(),
            endpoint_version: endpoint_version.map(str::to_owned),
            contract: None,
        };
        with_client(&self.server, &self.mapping, |_, client| Ok(client.never_seen(&target)))
    }

    /// Reads the first rows of the inquiries `tables`: which of them the user may not read, and which fields hold dates.
    ///
    /// # Errors
    /// The requests fail.
    pub fn checked<'a>(&self, tables: impl IntoIterator<Item = &'a TableDef>) -> Result<Checked, Refusal> {
        let names = tables.into_iter().map(|table| table.remote.clone()).collect();
        self.ask(|engine, client| engine.check_inquiries(client, names))
    }
}

/// Issues a notice for each inquiry that could not be read. Returns those that the user has no right to read.
pub fn notice_refused(refused: Vec<(String, Error)>) -> Vec<String> {
    for (name, error) in &refused {
        let fate = if error.may_be_of_one() { "could not be checked" } else { "was left out" };
        let message = format!("generic inquiry \"{name}\" {fate}: {}", error.message);
        notice(message, error.hint.clone().unwrap_or_default());
    }
    refused.into_iter().filter(|(_, error)| !error.may_be_of_one()).map(|(name, _)| name).collect()
}

/// The event trigger at the end of IMPORT FOREIGN SCHEMA: adds the comments to the new tables, and counts their rows.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn acumatica_fdw_imported(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: `call` is what PostgreSQL passed to this function.
    unsafe { event(call) };
    locks::done();
    let Some(Afterwards { transaction, local_schema, tables, comments, statistics }) = AFTERWARDS.take()
    else {
        return pg_sys::Datum::from(0);
    };
    // SAFETY: a transaction is running; names and comments are C strings. The user has just created the tables and so owns
    // them, which is the right that COMMENT requires.
    unsafe {
        if transaction != pg_sys::GetCurrentTransactionId() {
            return pg_sys::Datum::from(0);
        }
        let Some(schema) = to_server_exactly(&local_schema) else { return pg_sys::Datum::from(0) };
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        let mut imported = Vec::new();
        for table in tables {
            let Some(name) = to_server_exactly(&table.name) else { continue };
            let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
            if oid == pg_sys::InvalidOid {
                continue;
            }
            imported.push(oid);
            if !comments {
                continue;
            }
            let comment = |place: i32, text: &Option<String>| {
                if let Some(text) = text {
                    let text = in_database_encoding(text).unwrap_or_else(|| to_server(text));
                    pg_sys::CreateComments(oid, pg_sys::RelationRelationId, place, text.as_ptr());
                }
            };
            comment(0, &table.comment);
            for column in table.included() {
                if let Some(name) = to_server_exactly(&column.name) {
                    comment(pg_sys::get_attnum(oid, name.as_ptr()).into(), &column.comment);
                }
            }
        }
        if statistics {
            statistics::count_rows(&imported);
        }
    }
    pg_sys::Datum::from(0)
}

/// The calling convention of the function above.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_acumatica_fdw_imported() -> *const pg_sys::Pg_finfo_record {
    &crate::FUNCTION_V1
}
