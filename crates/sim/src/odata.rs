//! Generic inquiries and data access classes over OData (docs/acumatica.md §3).

mod call;
mod deleted;
mod expand;
mod scope;
mod write;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::config::{BareSet, ListOperator};
use crate::data::value::Val;
use crate::data::{Data, Order};
use crate::faults::Plan;
use crate::filter::Dialect;
use crate::filter::eval::{Expr, bind};
use crate::filter::parser::{Ast, Op, parse};
use crate::headers;
use crate::metadata::{self, filler};
use crate::query::{Cursor, sorted};
use crate::reply::Reply;
use crate::request::Request;
use crate::state::State;
use crate::views::View;
use expand::Shape;
use scope::ViewScope;
use write::SetRows;

/// What must be escaped in a path segment.
const SEGMENT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'?').add(b'/').add(b'<').add(b'>');

/// A name as a segment of a URL.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Gi,
    /// Of the releases before 2024 R2.
    GiV3,
    Dac,
}

/// One OData request behind its surface's root.
pub struct ODataCall<'a> {
    pub state: &'a State,
    pub request: &'a Request,
    pub plan: &'a Plan,
    pub surface: Surface,
    pub tenant: usize,
    /// Absolute URL of the service.
    pub root: String,
}

impl<'a> ODataCall<'a> {
    pub fn dialect(&self) -> Dialect {
        match self.surface {
            Surface::Dac => Dialect::Dac,
            Surface::GiV3 => Dialect::GiV3,
            Surface::Gi => Dialect::GiV4,
        }
    }

    fn views(&self) -> &'a [View] {
        match self.surface {
            Surface::Gi | Surface::GiV3 => &self.state.views.gis,
            Surface::Dac => &self.state.views.dacs,
        }
    }

    fn view(&self, name: &str) -> Option<&'a View> {
        match self.surface {
            Surface::Gi | Surface::GiV3 => self.state.views.gi(name),
            Surface::Dac => self.state.views.dac(name),
        }
    }

    fn v3(&self) -> bool {
        self.dialect() == Dialect::GiV3
    }

    /// OData's own error shape, for requests it cannot read.
    fn bad(&self, message: &str) -> Reply {
        if self.v3() {
            let message = json!({ "lang": "en-US", "value": message });
            return Reply::json(400, &json!({ "odata.error": { "code": "", "message": message } }));
        }
        // The parser errors of inquiries are 500 and have Acumatica's body (docs/acumatica.md §3.2, HB 25R2). Ours: what
        // those of v3 and of classes look like.
        if self.surface == Surface::Gi {
            return Reply::message(500, message);
        }
        Reply::json(400, &json!({ "error": { "code": "", "message": message } }))
    }

    pub fn answer(&self, rest: &[&str]) -> Reply {
        let reply = match rest {
            [] | [""] => self.service_document(),
            ["$metadata"] => self.metadata(),
            [name] if name.contains('(') => self.called(name),
            [name] if self.imported(name).is_some() => self.called(name),
            [name] => match self.view(name) {
                Some(view) if view.singleton => self.singleton(view),
                Some(view) => self.set(view, None),
                None if self.is_filler(name) => self.empty_set(name),
                None => Ok(Reply::not_found_json(name)),
            },
            [name, "$count"] if self.surface == Surface::Dac => match self.view(name) {
                Some(view) => self.count(view),
                None if self.is_filler(name) => Ok(Reply::new(200, "text/plain", "0")),
                None => Ok(Reply::not_found_json(name)),
            },
            [name, "px.GetDeletedRecords()"] if self.surface == Surface::Dac => self.deleted(name),
            _ => Ok(Reply::not_found_json(&self.request.path)),
        };
        let reply = reply.unwrap_or_else(|refused| refused);
        // v3 names its version on documents only (HTE).
        if self.v3() { reply } else { reply.header("odata-version", "4.0") }
    }

    fn is_filler(&self, name: &str) -> bool {
        self.surface == Surface::Dac && filler::is_filler(name, self.state.config.dac_filler)
    }

    fn empty_set(&self, name: &str) -> Result<Reply, Reply> {
        let context = format!("{}/$metadata#{name}", self.root);
        Ok(Reply::json(200, &json!({ "@odata.context": context, "value": [] })))
    }

    fn service_document(&self) -> Result<Reply, Reply> {
        let filler =
            (0..self.state.config.dac_filler).filter(|_| self.surface == Surface::Dac).map(filler::name);
        let sets = self.views().iter().flat_map(|v| v.set_names().map(|n| (n.to_string(), v.singleton)));
        let names: Vec<(String, bool)> = sets.chain(filler.map(|n| (n, false))).collect();
        let entry = |(name, singleton): &(String, bool)| {
            let kind = if *singleton { "Singleton" } else { "EntitySet" };
            json!({ "name": name, "kind": kind, "url": segment(name) })
        };
        if self.v3() {
            return Ok(self.service_document_v3(&names));
        }
        let list: Vec<Value> = names.iter().map(entry).collect();
        let context = format!("{}/$metadata", self.root);
        Ok(Reply::json(200, &json!({ "@odata.context": context, "value": list })))
    }

    /// Atom, unless `$format=json` (docs/acumatica.md §3.1, HTE). Ours: that Accept does not count.
    fn service_document_v3(&self, names: &[(String, bool)]) -> Reply {
        let reply = if self.request.option("$format").is_some_and(|f| f.contains("json")) {
            let entry = |(name, _): &(String, bool)| json!({ "name": name, "url": segment(name) });
            let list: Vec<Value> = names.iter().map(entry).collect();
            Reply::json(200, &json!({ "odata.metadata": format!("{}/$metadata", self.root), "value": list }))
        } else {
            Reply::new(200, "application/atomsvc+xml; charset=utf-8", metadata::atom(&self.root, names))
        };
        reply.header("dataserviceversion", "3.0").header("cache-control", "no-cache").header("expires", "-1")
    }

    /// XML only: a request for JSON fails (docs/acumatica.md §3).
    fn metadata(&self) -> Result<Reply, Reply> {
        let accept = self.request.header("accept").unwrap_or("");
        // Ours: old releases look at it as little. airbyte's connector asks for JSON and reads XML at the classes' address of
        // old releases too, and the refusal was seen on new ones only (grp-mcp).
        let wants_json = !self.state.config.release.is_old()
            && accept.contains("application/json")
            && !accept.contains("xml")
            && !accept.contains("*/*");
        // v3 does not look at Accept (docs/acumatica.md §3.1, HTE).
        if self.v3() {
            let document = metadata::document(self.views(), self.dialect(), 0);
            let reply = Reply::new(200, "application/xml; charset=utf-8", document);
            return Ok(reply.header("dataserviceversion", "3.0"));
        }
        if wants_json || self.request.option("$format").is_some_and(|f| f.contains("json")) {
            let message = "The metadata document cannot be written as JSON.";
            return Err(Reply::exception(500, "Microsoft.OData.ODataException", message));
        }
        let filler = if self.surface == Surface::Dac { self.state.config.dac_filler } else { 0 };
        Ok(Reply::new(200, "application/xml", metadata::document(self.views(), self.dialect(), filler)))
    }

    /// Generic inquiries never show what is hidden.
    fn order(&self, data: &Data, view: &View) -> Order {
        match self.surface {
            Surface::Gi | Surface::GiV3 => data.order(view.table),
            Surface::Dac => data.order_with(view.table, headers::shown(self.request, true)),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Reply> {
        let text = self.request.option(name);
        text.map(|t| t.parse().map_err(|_| self.bad(&format!("Invalid value '{t}' for {name}.")))).transpose()
    }

    fn filter(&self, view: &View) -> Result<Option<Expr>, Reply> {
        let Some(text) = self.request.option("$filter") else { return Ok(None) };
        let mut ast = parse(text, self.dialect(), None).map_err(|e| self.bad(&e))?;
        let (mut formula, mut lists) = (false, false);
        ast.walk(&mut |node| {
            if let Ast::Field(name) = node {
                formula |= view.prop(name).is_some_and(|p| p.formula);
            }
            lists |= matches!(node, Ast::In(..));
        });
        match self.state.config.list_operator {
            ListOperator::Right => {}
            ListOperator::Refused if lists => {
                return Err(self.bad(&format!("Syntax error: 'in' in '{text}'.")));
            }
            ListOperator::Refused => {}
            ListOperator::Ignored => ast = ast.without_in(&|_, _| Ast::Literal(Val::Bool(true))),
            ListOperator::First => {
                let first = |a, list: Vec<Ast>| match list.into_iter().next() {
                    Some(value) => Ast::Compare(Op::Eq, Box::new(a), Box::new(value)),
                    None => Ast::Literal(Val::Bool(false)),
                };
                ast = ast.without_in(&first);
            }
        }
        if formula {
            return Err(formula_answer());
        }
        let scope = ViewScope::new(self.views(), view);
        bind(&ast, &scope).map(Some).map_err(|e| self.bad(&e))
    }

    /// Name and direction of each column of `$orderby`.
    fn orderby(&self) -> Result<Vec<(&'a str, bool)>, Reply> {
        let mut by = Vec::new();
        for item in
            self.request.option("$orderby").unwrap_or("").split(',').map(str::trim).filter(|i| !i.is_empty())
        {
            let mut words = item.split_whitespace();
            let (name, direction) = (words.next().unwrap_or(""), words.next().unwrap_or("asc"));
            if !matches!(direction, "asc" | "desc") || words.next().is_some() {
                return Err(self.bad(&format!("Syntax error in $orderby: {item}")));
            }
            by.push((name, direction == "desc"));
        }
        Ok(by)
    }

    fn set(&self, view: &View, parameters: Option<Expr>) -> Result<Reply, Reply> {
        if view.restricted {
            return Err(Reply::insufficient_rights(&format!("{} (GI000000)", view.name)));
        }
        if self.surface != Surface::Dac && self.request.option("$expand").is_some() {
            return Err(self.bad("The query specified in the URI is not valid. $expand is not supported."));
        }
        if self.request.option("$apply").is_some() {
            return Err(self.bad("The query option '$apply' is not supported."));
        }
        let data = self.state.data(self.tenant);
        let shape = Shape::new(self.views(), view, self.request, self.dialect()).map_err(|e| self.bad(&e))?;
        let mut filter = self.filter(view)?;
        let by = self.orderby()?;
        let (asked_skip, top) = (self.number("$skip")?.unwrap_or(0), self.number("$top")?);
        let skip = self.plan.skip(asked_skip);
        let mut order = self.order(&data, view);
        if let Some(parameters) = parameters {
            filter = Some(match filter {
                Some(filter) => Expr::And(vec![parameters, filter]),
                None => parameters,
            });
        } else if !view.params.is_empty() {
            // The trap: no error, and no rows (KIT, SK), or those of the defaults (HB; docs/acumatica.md §3.2).
            match self.state.config.bare_set {
                BareSet::Empty => order = Order::Natural(0),
                BareSet::Defaults => filter = Some(self.defaults(view, &data, filter)),
            }
        }
        let mut fields = Vec::new();
        for (name, descending) in &by {
            let scope = ViewScope::new(self.views(), view);
            if view.prop(name).is_some_and(|p| p.formula) {
                return Err(formula_answer());
            }
            fields.push((scope.column(name).map_err(|e| self.bad(&e))?, *descending));
        }
        let count =
            (self.surface == Surface::Dac && self.request.option("$count") == Some("true")).then(|| {
                self.filter(view)
                    .map(|f| Cursor::new(data.clone(), self.order(&data, view), f, 0, u64::MAX).count())
            });
        let count = count.transpose()?;
        if !by.is_empty() && !view.is_natural(&data, &by) {
            let wanted = top.unwrap_or(u64::MAX).saturating_add(skip).saturating_add(1);
            order = sorted(&data, &order, filter.as_ref(), &fields, wanted);
            filter = None;
        }
        let asked = top.unwrap_or(u64::MAX);
        let page = match self.state.config.gi_page_size {
            0 => u64::MAX,
            size => size,
        };
        let cap = self.plan.page_cap.unwrap_or(u64::MAX);
        let link = if self.plan.repeat_next_link {
            Some((self.next_link(None), true))
        } else if page < asked && cap == u64::MAX {
            let rest = top.map(|t| t - page);
            Some((self.next_link(Some((asked_skip + page, rest))), false))
        } else {
            None
        };
        let cursor = Cursor::new(data, order, filter, skip, asked.min(page).min(cap));
        let head = self.head(view, shape.context(), count);
        let link_name = if self.v3() { "odata.nextLink" } else { "@odata.nextLink" };
        let content = if self.v3() {
            // Later releases leave the charset out (docs/acumatica.md §3.1, HTE).
            "application/json"
        } else if self.surface == Surface::Dac {
            // Neither charset nor streaming (§3.4, HTE).
            DAC_ROWS
        } else {
            // Ours: no answer of a v4 inquiry has been recorded with its head.
            "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8"
        };
        Ok(Reply::stream(
            content,
            Box::new(SetRows::new(
                cursor,
                shape,
                head,
                link.map(|(l, always)| (self.plan.next_link(&l), always)),
                link_name,
                self.plan.in_stream.clone(),
            )),
        ))
    }

    fn head(&self, view: &View, shown: Option<String>, count: Option<u64>) -> Vec<u8> {
        let context = if self.v3() { "odata.metadata" } else { "@odata.context" };
        // That of a class names what was selected (docs/acumatica.md §3.4, HTE).
        let shown = shown.filter(|_| self.surface == Surface::Dac).unwrap_or_default();
        let set = format!("{}{shown}", segment(&view.name));
        let count = count.map(|c| format!("\"@odata.count\":{c},")).unwrap_or_default();
        format!("{{\"{context}\":\"{}/$metadata#{set}\",{count}\"value\":[", self.root).into_bytes()
    }

    /// The URL of this request (`None`), or of the next page: how much to skip, how much to take.
    fn next_link(&self, page: Option<(u64, Option<u64>)>) -> String {
        let base =
            format!("http://{}{}", self.request.header("host").unwrap_or("localhost"), self.request.raw_path);
        let Some((skip, top)) = page else { return format!("{base}?{}", self.request.raw_query) };
        let paging = ["$skip=", "$top=", "%24skip=", "%24top="];
        let old = self
            .request
            .raw_query
            .split('&')
            .filter(|p| !p.is_empty() && !paging.iter().any(|x| p.starts_with(x)));
        let mut parts: Vec<String> = old.map(String::from).collect();
        parts.extend(top.map(|t| format!("$top={t}")));
        parts.push(format!("$skip={skip}"));
        format!("{base}?{}", parts.join("&"))
    }

    fn count(&self, view: &View) -> Result<Reply, Reply> {
        let data = self.state.data(self.tenant);
        let order = self.order(&data, view);
        let count = Cursor::new(data, order, self.filter(view)?, 0, u64::MAX).count();
        Ok(Reply::new(200, "text/plain", count.to_string()))
    }
}

const DAC_ROWS: &str = "application/json; odata.metadata=minimal";

/// Filtering or sorting by a formula: 200 and an empty body (docs/acumatica.md §3).
fn formula_answer() -> Reply {
    Reply::new(200, "application/json; odata.metadata=minimal", "")
}
