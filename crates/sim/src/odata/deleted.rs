//! `px.GetDeletedRecords()`: what was deleted of the classes that are tracked (docs/acumatica.md §3.4, SK, DOC).

use serde_json::{Value, json};

use super::ODataCall;
use crate::data::value::{Style, Val};
use crate::filter::eval::{Expr, Scope, bind};
use crate::filter::parser::parse;
use crate::reply::Reply;

/// `DeleteDate` and `RefNoteID`, as one record has them.
struct DeletedRecord {
    date: Val,
    note: Val,
}

impl Scope for DeletedRecord {
    fn field(&self, path: &str) -> Result<Expr, String> {
        match path {
            "DeleteDate" => Ok(Expr::Literal(self.date.clone())),
            "RefNoteID" => Ok(Expr::Literal(self.note.clone())),
            _ => Err(format!("Could not find a property named '{path}' on type 'PX.Data.DeletedRecord'.")),
        }
    }
}

impl ODataCall<'_> {
    pub(super) fn deleted(&self, name: &str) -> Result<Reply, Reply> {
        let view = self.view(name).filter(|v| !v.singleton).ok_or_else(|| Reply::not_found_json(name))?;
        if !view.tracked {
            // Ours: no source says what a class that SM207010 does not list answers.
            return Err(self.bad(&format!("Deleted records are not tracked for {}.", view.name)));
        }
        let data = self.state.data(self.tenant);
        let ast = self.request.option("$filter").map(|text| parse(text, self.dialect(), None)).transpose();
        let ast = ast.map_err(|e| self.bad(&e))?;
        let mut rows: Vec<Value> = Vec::new();
        for (id, when) in data.deleted(view.table) {
            let record = DeletedRecord { date: Val::Ts(when), note: Val::Guid(id) };
            if let Some(ast) = &ast
                && !bind(ast, &record).map_err(|e| self.bad(&e))?.is_true(&data, 0)
            {
                continue;
            }
            let plain = |value: &Val| value.to_plain(Style::ODATA);
            rows.push(json!({ "RefNoteID": plain(&record.note), "DeleteDate": plain(&record.date) }));
        }
        let (skip, top) = (self.number("$skip")?.unwrap_or(0), self.number("$top")?.unwrap_or(u64::MAX));
        let rows: Vec<Value> = rows.into_iter().skip(skip as usize).take(top as usize).collect();
        let context = format!("{}/$metadata#Collection(PX.Data.DeletedRecord)", self.root);
        let mut reply = Reply::json(200, &json!({ "@odata.context": context, "value": rows }));
        reply.headers = vec![("content-type", "application/json; odata.metadata=minimal".to_string())];
        Ok(reply)
    }
}
