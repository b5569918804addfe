//! Contract endpoints made from endpoint definitions (`--definition`): types as the file has them, random rows.
//!
//! No `$filter` and no record by its keys: the files do not say which fields are keys.

pub mod definition;
mod model;
mod shape;
mod values;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::data::rng::{mix, salt_of};
use crate::data::value::parse_guid;
use crate::faults::Plan;
use crate::filter::Dialect;
use crate::reply::Reply;
use crate::request::Request;
use crate::rest::shape::{Ask, Site};
use crate::rest::shared;
use crate::rest::write::Context;
use crate::session::Session;
use crate::state::State;
use definition::EndpointDefinition;
use model::{Entity, Model};
use shape::{GeneratedRows, ShownRecord};
use values::Place;

/// Rows in each list of an inquiry form's answer.
const RESULTS: u64 = 5;

/// One request behind the endpoint, in its session.
struct DefinitionCall<'a> {
    state: &'a State,
    request: &'a Request,
    plan: &'a Plan,
    session: &'a Session,
    model: &'a Arc<Model>,
}

pub fn answer(
    state: &State,
    request: &Request,
    plan: &Plan,
    session: &Session,
    definition: &EndpointDefinition,
    rest: &[&str],
) -> Reply {
    let call = DefinitionCall { state, request, plan, session, model: &definition.model };
    call.answer(rest).unwrap_or_else(|refused| refused)
}

impl DefinitionCall<'_> {
    fn answer(&self, rest: &[&str]) -> Result<Reply, Reply> {
        let rest = if let [all @ .., ""] = rest { all } else { rest };
        match rest {
            ["swagger.json"] => {
                Ok(Reply::new(200, "application/json; charset=utf-8", self.model.text.clone()))
            }
            ["files", id] => Ok(shared::file(self.state, self.request, id)),
            [name, rest @ ..] => {
                let entity =
                    self.model.entities.iter().position(|e| e.name == *name).or_else(|| {
                        self.model.entities.iter().position(|e| e.name.eq_ignore_ascii_case(name))
                    });
                let entity = entity.ok_or_else(|| Reply::not_found_json(&self.request.path))?;
                self.entity(entity, rest)
            }
            [] => Err(Reply::not_found_html()),
        }
    }

    fn entity(&self, entity: usize, rest: &[&str]) -> Result<Reply, Reply> {
        let of = &self.model.entities[entity];
        match (self.request.method.as_str(), rest) {
            ("GET", ["$adHocSchema"]) => Ok(self.template(entity)),
            ("GET", _) if of.name.ends_with("Inquiry") => Err(shared::form_by_get()),
            ("PUT", []) if of.form => self.inquire(entity),
            ("GET", []) if of.form => self.blank(entity),
            ("GET", []) => self.list(entity),
            ("GET", [id] | ["", id]) => self.record(entity, id),
            // By keys: nobody knows them.
            ("GET", _) => Err(Reply::no_entity()),
            _ => Err(shared::read_only()),
        }
    }

    fn context(&self) -> Context {
        let (endpoint, version) = (&self.model.endpoint, &self.model.version);
        let root = format!("{}/entity/{endpoint}/{version}", self.state.config.site());
        Context::new(&root, self.state, self.session)
    }

    /// Tenants have rows of their own.
    fn seed(&self) -> u64 {
        mix(self.state.config.seed ^ salt_of(&[&self.state.tenants[self.session.tenant].0.to_lowercase()]))
    }

    fn ask(&self, list: bool) -> Result<Ask, Reply> {
        let dialect = if self.model.contract5 { Dialect::Contract5 } else { Dialect::Contract4 };
        Ask::read(self.request, list, Site::new(self.state, dialect))
    }

    fn list(&self, entity: usize) -> Result<Reply, Reply> {
        let ask = self.ask(true)?;
        let node = ShownRecord::new(self.model, entity, &ask)?;
        if self.request.option("$filter").is_some() {
            let message = "The filter cannot be applied: the rows of this endpoint are random.";
            return Err(Reply::exception(500, "System.NotSupportedException", message));
        }
        let (skip, top) = (shared::number(self.request, "$skip")?, shared::number(self.request, "$top")?);
        let top = top.unwrap_or(u64::MAX).min(self.plan.page_cap.unwrap_or(u64::MAX));
        let all = if ask.too_many_custom() { 0 } else { self.state.config.definition_rows };
        let start = self.plan.skip(skip.unwrap_or(0)).min(all);
        Ok(self.stream(entity, node, start..start.saturating_add(top).min(all)))
    }

    /// A form that shows nothing before it has parameters.
    fn blank(&self, entity: usize) -> Result<Reply, Reply> {
        self.ask(true)?;
        let top = shared::number(self.request, "$top")?.unwrap_or(1);
        let skip = shared::number(self.request, "$skip")?.unwrap_or(0);
        let rows = skip.min(1)..if skip == 0 { top.min(1) } else { 1 };
        Ok(self.stream(entity, ShownRecord::blank(self.model, entity, self.state.zone), rows))
    }

    fn stream(&self, entity: usize, node: ShownRecord, rows: std::ops::Range<u64>) -> Reply {
        let Entity { name, record, form } = &self.model.entities[entity];
        let entity = Entity { name: name.clone(), record: *record, form: *form };
        let rows = GeneratedRows {
            node,
            entity,
            seed: self.seed(),
            context: self.context(),
            rows,
            number: 0,
            error: self.plan.in_stream.clone(),
        };
        Reply::stream("application/json; charset=utf-8", Box::new(rows))
    }

    fn record(&self, entity: usize, id: &str) -> Result<Reply, Reply> {
        let node = ShownRecord::new(self.model, entity, &self.ask(false)?)?;
        let of = &self.model.entities[entity];
        let id = parse_guid(id).ok_or_else(Reply::no_entity)?;
        let place = |row| Place::top(self.seed(), &of.name, row);
        let row = (0..self.state.config.definition_rows).find(|row| place(*row).id() == id);
        let row = row.filter(|_| !of.form).ok_or_else(Reply::no_entity)?;
        let mut out = Vec::new();
        shape::write_top(&node, of, &place(row), row, 1, &self.context(), &mut out);
        Ok(Reply::new(200, "application/json; charset=utf-8", out))
    }

    fn template(&self, entity: usize) -> Reply {
        let mut out = Vec::new();
        shape::write_template(self.model, entity, &mut out);
        Reply::new(200, "application/json; charset=utf-8", out)
    }

    /// The same parameters give the same rows, others give others.
    fn inquire(&self, entity: usize) -> Result<Reply, Reply> {
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|e| Reply::exception(400, "Newtonsoft.Json.JsonReaderException", &e.to_string()))?;
        let node = ShownRecord::new(self.model, entity, &self.ask(false)?)?;
        let of = &self.model.entities[entity];
        let given: Vec<Value> = self.model.records[of.record]
            .members
            .iter()
            .map(|(name, _)| json!([name, body[name]["value"]]))
            .collect();
        let seed = mix(self.seed() ^ salt_of(&[&json!(given).to_string()]));
        let place = Place::top(seed, &of.name, 0);
        let mut out = Vec::new();
        shape::write_form(&node, &body, &place, RESULTS, &self.context(), &mut out);
        Ok(Reply::new(200, "application/json; charset=utf-8", out))
    }
}
