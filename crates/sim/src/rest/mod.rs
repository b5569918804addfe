//! Contract-based REST (docs/acumatica.md §2), read only: `PUT`, `POST` and `DELETE` of records answer 405.
//!
//! Fields that cannot be optimized into a list: `Project.Assets`, `Expenses`, `Income`, `Liabilities`, `Case.SLA`,
//! `Payment.ApplicationHistory/DisplayDocType` and `DisplayRefNbr` (requested or filtered; without `$select` everything is requested), and
//! `Customer.CreditLimit` (only when filtered).

mod form;
mod inquiry;
mod scope;
pub mod shape;
pub mod shared;
mod swagger;
mod template;
pub mod write;

use serde_json::json;

use crate::config::Release;
use crate::data::german;
use crate::data::schema::{Role, SCHEMA, Table};
use crate::data::value::{Val, compare_text, parse_guid};
use crate::data::{Access, Data, Order};
use crate::faults::Plan;
use crate::filter::Dialect;
use crate::generated;
use crate::headers;
use crate::query::Cursor;
use crate::reply::Reply;
use crate::request::Request;
use crate::session::Session;
use crate::state::State;
use shape::{Ask, Node, Site};
use shared::{file, number, read_only};
use write::{Context, ListRows};

/// Endpoints beside Default that show the same entities; names are matched without regard to case.
const OTHERS: &[(&str, &str)] = &[("eCommerce", "22.200.001"), ("MANUFACTURING", "21.200.001")];

fn bundled_endpoints(state: &State) -> Vec<(&'static str, &'static str)> {
    let versions = state.config.release.endpoint_versions().iter();
    versions.map(|v| ("Default", *v)).chain(OTHERS.iter().copied()).collect()
}

/// `GET /entity`: an envelope since 2020 R1 at least (docs/acumatica.md §2.1, HTE). A stranger sees the system's own
/// endpoints only, and no features (SK).
pub fn endpoints(state: &State, request: &Request, signed_in: bool) -> Reply {
    let release = state.config.release;
    // Absolute on 26.101 (CLI), relative where it has been recorded.
    let site = if release == Release::R2026R1 { request.base(&state.config) } else { state.config.site() };
    let entry = |(name, version): (&str, &str)| {
        let href = format!("{site}/entity/{name}/{version}/");
        format!("{{\"name\":{},\"version\":{},\"href\":{}}}", json!(name), json!(version), json!(href))
    };
    let replaced = |(name, version): &(&str, &str)| state.definitions.iter().any(|d| d.is(name, version));
    let bundled = bundled_endpoints(state).into_iter().filter(|e| !(signed_in && replaced(e)));
    let defined = state.definitions.iter().filter(|_| signed_in).map(|d| (d.endpoint(), d.version()));
    let list: Vec<String> = bundled.chain(defined).map(entry).collect();
    let build = release.build();
    let features = match signed_in && release == Release::R2026R2 {
        true => ",\"features\":[\"PX.Objects.CS.FeaturesSet+FinancialModule\"]",
        false => "",
    };
    let body = format!(
        "{{\"version\":{{\"acumaticaBuildVersion\":\"{build}\",\"databaseVersion\":\"{build}\"}},\"endpoints\":[{}]{features}}}",
        list.join(",")
    );
    Reply::new(200, "application/json; charset=utf-8", body)
}

/// One request behind `/entity`, in its session.
struct ContractCall<'a> {
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
    if let Err(refused) = headers::check_branch(request) {
        return refused;
    }
    if let Some(definition) = state.definitions.iter().find(|d| d.is(endpoint, version)) {
        return generated::answer(state, request, plan, session, definition, rest);
    }
    let known =
        bundled_endpoints(state).into_iter().find(|(e, v)| e.eq_ignore_ascii_case(endpoint) && v == version);
    let Some((endpoint, version)) = known else { return Reply::not_found_html() };
    let dialect =
        if version >= "26" && endpoint == "Default" { Dialect::Contract5 } else { Dialect::Contract4 };
    let call = ContractCall { state, request, plan, session, endpoint, version, dialect };
    call.answer(rest).unwrap_or_else(|refused| refused)
}

impl ContractCall<'_> {
    fn answer(&self, rest: &[&str]) -> Result<Reply, Reply> {
        let rest = if let [all @ .., ""] = rest { all } else { rest };
        if let [document] = rest
            && document.eq_ignore_ascii_case("swagger.json")
        {
            return Ok(swagger::document(self.state, self.endpoint, self.version, self.dialect));
        }
        if let ["files", id] = rest {
            return Ok(file(self.state, self.request, id));
        }
        let [name, rest @ ..] = rest else { return Err(Reply::not_found_html()) };
        let table = SCHEMA.find_any_case(name).filter(|t| {
            !matches!(SCHEMA.tables[*t].role, Role::Detail { .. } | Role::Satellite | Role::Setup)
        });
        let table = table.ok_or_else(|| Reply::not_found_json(&self.request.path))?;
        if let Role::Inquiry { results } = SCHEMA.tables[table].role {
            return self.inquiry(table, results, rest);
        }
        match (self.request.method.as_str(), rest) {
            ("GET", []) => self.list(table),
            ("GET", [schema]) if schema.eq_ignore_ascii_case("$adHocSchema") => Ok(self.template(table)),
            // `SalesOrder//{guid}` works too (docs/acumatica.md §2.2, HTE).
            ("GET", ["", keys @ ..] | keys) => self.record(table, keys),
            // BST.
            ("POST", []) => Err(Reply::empty(406)),
            _ => Err(read_only()),
        }
    }

    fn context(&self) -> Context {
        let root = format!("{}/entity/{}/{}", self.state.config.site(), self.endpoint, self.version);
        Context::new(&root, self.state, self.session)
    }

    fn site(&self) -> Site {
        Site::new(self.state, self.dialect)
    }

    fn site_of(&self, table: usize) -> Site {
        let deaf = self.dialect == Dialect::Contract4
            && self.state.config.deaf.iter().any(|name| name.eq_ignore_ascii_case(SCHEMA.tables[table].name));
        Site { deaf, ..self.site() }
    }

    fn ask(&self, list: bool) -> Result<Ask, Reply> {
        Ask::read(self.request, list, self.site())
    }

    fn is_german(&self) -> bool {
        headers::is_german(self.request, self.session)
    }

    fn node(&self, table: usize, ask: &Ask) -> Result<Node, Reply> {
        let mut node = Node::new(table, ask)?;
        node.german = self.is_german() && SCHEMA.tables[table].name == german::ENTITY;
        Ok(node)
    }

    fn list(&self, table: usize) -> Result<Reply, Reply> {
        let ask = self.ask(true)?;
        let node = self.node(table, &ask)?;
        let data = self.state.data(self.session.tenant);
        let mut rows = data.order_with(table, headers::shown(self.request, false));
        let mut blocked = node.not_optimizable();
        let mut filter = None;
        if let Some(text) = self.request.option("$filter") {
            let found = scope::filter(table, text, self.site_of(table), self.is_german())?;
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
        let (skip, top) = (number(self.request, "$skip")?, number(self.request, "$top")?);
        let (skip, top) = (self.plan.skip(skip.unwrap_or(0)), top.unwrap_or(u64::MAX));
        let cap = self.plan.page_cap.unwrap_or(u64::MAX);
        let cursor = Cursor::new(data, rows, filter, skip, top.min(cap));
        let rows = ListRows::new(cursor, node, self.context(), self.plan.in_stream.clone());
        Ok(Reply::stream("application/json; charset=utf-8", Box::new(rows)))
    }

    /// By keys in the order of the form, or by id.
    fn record(&self, table: usize, keys: &[&str]) -> Result<Reply, Reply> {
        let node = self.node(table, &self.ask(false)?)?;
        let data = self.state.data(self.session.tenant);
        let order = data.order_with(table, headers::shown(self.request, false));
        let id = if let [id] = keys { parse_guid(id) } else { None };
        let row = match id {
            Some(id) => {
                let passing = if SCHEMA.tables[table].noteless { self.context().passing } else { 0 };
                data.row_of_guid(table, id ^ u128::from(passing), &order)
            }
            None => find(&data, table, &order, keys, self.site()),
        };
        let row = row.ok_or_else(Reply::no_entity)?;
        let mut out = Vec::new();
        node.write(&data, row, 1, &self.context(), &mut out);
        Ok(Reply::new(200, "application/json; charset=utf-8", out))
    }

    /// A template whose `custom` lists the custom fields with their types.
    fn template(&self, table: usize) -> Reply {
        let mut out = Vec::new();
        template::write_template(table, self.site(), &self.context(), &mut out);
        Reply::new(200, "application/json; charset=utf-8", out)
    }
}

/// The row whose key fields have these values. Drop-downs go by label, in contract 5 by id too.
fn find(data: &Data, table: usize, order: &Order, keys: &[&str], site: Site) -> Option<u64> {
    let of: &Table = &SCHEMA.tables[table];
    if keys.len() != of.keys.len() {
        return None;
    }
    let accesses: Vec<Access> = of.keys.iter().map(|c| Access { hops: Vec::new(), table, col: *c }).collect();
    let equal = |access: &Access, row: u64, key: &str| match access.value(data, row) {
        Val::Choice(c) => {
            compare_text(c.label, key).is_eq()
                || site.dialect == Dialect::Contract5 && compare_text(c.code, key).is_eq()
        }
        Val::Text(text) => compare_text(&text, key).is_eq(),
        other => other.to_plain(site.style()) == key,
    };
    // The last key varies fastest: comparing it first settles most rows.
    let rows = (0..order.len()).map(|i| order.row(i));
    rows.into_iter().find(|row| accesses.iter().zip(keys).rev().all(|(access, key)| equal(access, *row, key)))
}
