//! Contract-based REST (acumatica-api.md §2), read only: `PUT`, `POST` and `DELETE` of records answer 405.
//!
//! Fields that cannot be optimized into a list: `Project.Assets`, `Expenses`, `Income`, `Liabilities`, `Case.SLA`,
//! `StockItem.WarehouseDetails/QtyOnHand` (requested or filtered; without `$select` everything is requested), and
//! `Customer.CreditLimit` (only when filtered).

mod inquiry;
mod scope;
mod shape;
mod swagger;
mod write;

use serde_json::{Value, json};

use crate::data::generate::mix;
use crate::data::schema::{Role, SCHEMA, Table, salt_of};
use crate::data::value::{Style, Val, compare_text, parse_guid};
use crate::data::{Access, Data, Order};
use crate::faults::Plan;
use crate::filter::Dialect;
use crate::http::Request;
use crate::query::Cursor;
use crate::reply::Reply;
use crate::session::Session;
use crate::state::State;
use shape::{Ask, Node};
pub use write::note;
use write::{Context, Rows};

/// Endpoints beside Default that show the same entities; names are matched without regard to case.
const OTHERS: &[(&str, &str)] = &[("eCommerce", "22.200.001"), ("MANUFACTURING", "21.200.001")];

fn all_endpoints(state: &State) -> Vec<(&'static str, &'static str)> {
    let versions = state.config.release.endpoint_versions().iter();
    versions.map(|v| ("Default", *v)).chain(OTHERS.iter().copied()).collect()
}

/// `GET /entity`: an envelope, in older builds the bare array.
pub fn endpoints(state: &State) -> Reply {
    let site = state.config.site();
    let entry = |(name, version): (&str, &str)| json!({ "name": name, "version": version, "href": format!("{site}/entity/{name}/{version}/") });
    let list: Vec<Value> = all_endpoints(state).into_iter().map(entry).collect();
    let build = state.config.release.build();
    if state.config.release.is_old() {
        return Reply::json(200, &json!(list));
    }
    let version = json!({ "acumaticaBuildVersion": build, "databaseVersion": build });
    Reply::json(200, &json!({ "version": version, "endpoints": list }))
}

/// One request behind `/entity`, in its session.
struct Call<'a> {
    state: &'a State,
    request: &'a Request,
    plan: &'a Plan,
    session: &'a Session,
    endpoint: &'static str,
    version: &'static str,
    dialect: Dialect,
}

pub fn answer(state: &State, request: &Request, plan: &Plan, session: &Session, rest: &[&str]) -> Reply {
    let [endpoint, version, rest @ ..] = rest else { return Reply::not_found_html() };
    let known =
        all_endpoints(state).into_iter().find(|(e, v)| e.eq_ignore_ascii_case(endpoint) && v == version);
    let Some((endpoint, version)) = known else { return Reply::not_found_html() };
    let dialect =
        if version >= "26" && endpoint == "Default" { Dialect::Contract5 } else { Dialect::Contract4 };
    let call = Call { state, request, plan, session, endpoint, version, dialect };
    call.answer(rest).unwrap_or_else(|refused| refused)
}

impl Call<'_> {
    fn answer(&self, rest: &[&str]) -> Result<Reply, Reply> {
        let rest = if let [all @ .., ""] = rest { all } else { rest };
        if let ["swagger.json"] = rest {
            return Ok(swagger::document(self.state, self.endpoint, self.version, self.dialect));
        }
        if let ["files", id] = rest {
            return Ok(self.file(id));
        }
        let [name, rest @ ..] = rest else { return Err(Reply::not_found_html()) };
        let table = SCHEMA
            .find(name)
            .filter(|t| !matches!(SCHEMA.tables[*t].role, Role::Detail { .. } | Role::Satellite));
        let table = table.ok_or_else(|| Reply::not_found_json(&self.request.path))?;
        if let Role::Inquiry { results } = SCHEMA.tables[table].role {
            return self.inquiry(table, results, rest);
        }
        match (self.request.method.as_str(), rest) {
            ("GET", []) => self.list(table),
            ("GET", ["$adHocSchema"]) => Ok(self.template(table)),
            ("GET", keys) => self.record(table, keys),
            _ => {
                let message =
                    "The requested resource does not support this method: the simulator is read only.";
                Err(Reply::exception(405, "System.NotSupportedException", message))
            }
        }
    }

    fn context(&self) -> Context {
        Context {
            root: format!("{}/entity/{}/{}", self.state.config.site(), self.endpoint, self.version),
            // Ids of detail rows live as long as the session.
            session: mix(salt_of(&[&self.session.id])),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Reply> {
        let text = self.request.option(name);
        let bad = |t: &str| {
            Reply::exception(500, "System.FormatException", &format!("Invalid value '{t}' for {name}."))
        };
        text.map(|t| t.parse().map_err(|_| bad(t))).transpose()
    }

    fn ask(&self, list: bool) -> Result<Ask, Reply> {
        let option = |name: &str| self.request.option(name).unwrap_or("");
        Ask::parse(option("$select"), option("$expand"), option("$custom"), list, self.dialect)
            .map_err(|e| Reply::exception(500, "Microsoft.OData.ODataException", &e))
    }

    fn list(&self, table: usize) -> Result<Reply, Reply> {
        let ask = self.ask(true)?;
        let node = Node::new(table, &ask, self.dialect)?;
        let data = self.state.data(self.session.tenant);
        let mut rows = data.order(table);
        let mut blocked = node.not_optimizable();
        let mut filter = None;
        if let Some(text) = self.request.option("$filter") {
            let found = scope::filter(table, text, self.dialect)?;
            blocked.extend(found.blocked);
            if found.nothing {
                rows = Order::Natural(0);
            }
            filter = found.expr;
        }
        if !blocked.is_empty() {
            blocked.sort();
            blocked.dedup();
            return Err(Reply::cannot_optimize(&blocked));
        }
        if ask.too_many_custom() {
            rows = Order::Natural(0);
        }
        let (skip, top) = (self.number("$skip")?.unwrap_or(0), self.number("$top")?.unwrap_or(u64::MAX));
        let cap = self.plan.page_cap.unwrap_or(u64::MAX);
        let cursor = Cursor::new(data, rows, filter, skip, top.min(cap));
        let rows = Rows::new(cursor, node, self.context());
        Ok(Reply::stream("application/json; charset=utf-8", Box::new(rows)))
    }

    /// By keys in the order of the form, or by id.
    fn record(&self, table: usize, keys: &[&str]) -> Result<Reply, Reply> {
        let node = Node::new(table, &self.ask(false)?, self.dialect)?;
        let data = self.state.data(self.session.tenant);
        let id = if let [id] = keys { parse_guid(id) } else { None };
        let row = match id {
            Some(id) => data.row_of_guid(table, id),
            None => find(&data, table, keys, self.dialect),
        };
        let row = row.ok_or_else(Reply::no_entity)?;
        let mut out = Vec::new();
        node.write(&data, row, 1, &self.context(), &mut out);
        Ok(Reply::new(200, "application/json; charset=utf-8", out))
    }

    /// A template whose `custom` lists the custom fields with their types.
    fn template(&self, table: usize) -> Reply {
        let mut out = Vec::new();
        shape::write_template(table, self.dialect, &mut out);
        Reply::new(200, "application/json; charset=utf-8", out)
    }

    /// The content of an attachment is a sentence that names it.
    fn file(&self, id: &str) -> Reply {
        if parse_guid(id).is_none() || self.request.method != "GET" {
            return Reply::not_found_json(&self.request.path);
        }
        Reply::new(200, "application/octet-stream", format!("This is the content of file {id}.\n"))
            .header("content-disposition", "attachment; filename=\"spec.pdf\"")
    }
}

/// The row whose key fields have these values. Drop-downs go by label, in contract 5 by id too.
fn find(data: &Data, table: usize, keys: &[&str], dialect: Dialect) -> Option<u64> {
    let of: &Table = &SCHEMA.tables[table];
    if keys.len() != of.keys.len() {
        return None;
    }
    let accesses: Vec<Access> = of.keys.iter().map(|c| Access { hops: Vec::new(), table, col: *c }).collect();
    let equal = |access: &Access, row: u64, key: &str| match access.value(data, row) {
        Val::Choice(c) => {
            compare_text(c.label, key).is_eq()
                || dialect == Dialect::Contract5 && compare_text(c.code, key).is_eq()
        }
        Val::Text(text) => compare_text(&text, key).is_eq(),
        other => other.to_plain(Style::REST) == key,
    };
    let order = data.order(table);
    // The last key varies fastest: comparing it first settles most rows.
    let rows = (0..order.len()).map(|i| order.row(i));
    rows.into_iter().find(|row| accesses.iter().zip(keys).rev().all(|(access, key)| equal(access, *row, key)))
}
