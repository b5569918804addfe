//! Inquiry forms: parameters in, results out, by `PUT` (docs/acumatica.md §2).

use serde_json::Value;

use super::ContractCall;
use super::shape::{Ask, Node};
use super::shared;
use crate::data::schema::SCHEMA;
use crate::data::value::{Kind, Val, compare_text, write_guid};
use crate::reply::Reply;

impl ContractCall<'_> {
    pub fn inquiry(&self, table: usize, results: usize, rest: &[&str]) -> Result<Reply, Reply> {
        match (self.request.method.as_str(), rest) {
            ("PUT", []) => self.inquire(table, results),
            ("GET", ["$adHocSchema"]) => Ok(self.template(table)),
            ("GET", _) => Err(shared::form_by_get()),
            _ => Err(Reply::exception(
                405,
                "System.NotSupportedException",
                "The requested resource does not support this method.",
            )),
        }
    }

    /// No paging, no filter. Without its first parameter the form shows nothing, and says nothing.
    fn inquire(&self, table: usize, results: usize) -> Result<Reply, Reply> {
        let of = &SCHEMA.tables[table];
        let body: Value = serde_json::from_slice(&self.request.body)
            .map_err(|e| Reply::exception(400, "Newtonsoft.Json.JsonReaderException", &e.to_string()))?;
        let given: Vec<&Value> = of.cols.iter().map(|c| &body[c.name]["value"]).collect();
        let expand = self.request.option("$expand").unwrap_or("");
        let ask = Ask::parse("", "", "", false, self.site())
            .map_err(|e| Reply::exception(500, "Microsoft.OData.ODataException", &e))?;
        let mut node = Node::new(results, &ask)?;
        (node.top, node.files) = (false, false);
        let mut out = Vec::new();
        // Ids of forms and of their results are random (docs/acumatica.md §2.3, HTE, MYO).
        let context = self.context();
        out.extend_from_slice(b"{\"id\":\"");
        write_guid(&mut out, u128::from(of.salt) << 64 | u128::from(context.passing | 1));
        out.extend_from_slice(b"\",\"rowNumber\":1,\"note\":null");
        let mut names: Vec<usize> = (0..of.cols.len()).collect();
        names.sort_by_key(|c| of.cols[*c].name.to_lowercase());
        for c in names {
            out.extend_from_slice(format!(",\"{}\":", of.cols[c].name).as_bytes());
            match given[c] {
                Value::Null => out.extend_from_slice(b"{}"),
                value => out.extend_from_slice(format!("{{\"value\":{value}}}").as_bytes()),
            }
        }
        if expand.split(',').any(|name| name.trim() == "Results") {
            out.extend_from_slice(b",\"Results\":[");
            self.results(table, results, &given, &node, &mut out);
            out.push(b']');
        }
        out.extend_from_slice(b",\"custom\":{}}");
        Ok(Reply::new(200, "application/json; charset=utf-8", out))
    }

    fn results(&self, table: usize, results: usize, given: &[&Value], node: &Node, out: &mut Vec<u8>) {
        let of = &SCHEMA.tables[table];
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.trim_end().to_string()).filter(|t| !t.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        if text(given[0]).is_none() {
            return;
        }
        // Parameters that the results have a column for restrict them.
        let tests: Vec<(usize, String)> = of
            .cols
            .iter()
            .zip(given)
            .filter(|(col, _)| col.kind == Kind::Text)
            .filter_map(|(col, value)| Some((SCHEMA.tables[results].col(col.name)?, text(value)?)))
            .collect();
        let data = self.state.data(self.session.tenant);
        let context = self.context();
        let rows = data.order(results);
        let mut number = 0;
        for row in (0..rows.len()).map(|i| rows.row(i)) {
            let met = |(c, wanted): &(usize, String)| match data.value(results, *c, row) {
                Val::Text(found) => compare_text(&found, wanted).is_eq(),
                _ => false,
            };
            if tests.iter().all(met) {
                if number > 0 {
                    out.push(b',');
                }
                number += 1;
                node.write(&data, row, number, &context, out);
            }
        }
    }
}
