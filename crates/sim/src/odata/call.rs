//! What stands in parentheses: parameters of inquiries and keys of classes; and one-row classes.

use super::expand::Shape;
use super::{ODataCall, Surface};
use crate::data::Data;
use crate::data::value::{Kind, Val, parse_guid};
use crate::filter::eval::Expr;
use crate::filter::lexer::{Token, parse_time, tokens};
use crate::filter::parser::Op;
use crate::query::sorted;
use crate::reply::Reply;
use crate::views::View;

fn equal(field: &crate::filter::eval::Field, value: Val) -> Expr {
    Expr::Compare(Op::Eq, Box::new(Expr::Field(field.clone())), Box::new(Expr::Literal(value)))
}

impl<'a> ODataCall<'a> {
    /// The inquiry whose function import has this name.
    pub(super) fn imported(&self, name: &str) -> Option<&'a View> {
        let gi = self.surface != Surface::Dac;
        let of = |v: &&View| !v.params.is_empty() && v.import.eq_ignore_ascii_case(name);
        self.views().iter().filter(|_| gi).find(of)
    }

    /// `Name(Key='…')` of a class, `Type_WithParameters(…)` of an inquiry. In v3 parameters are query options without
    /// quotes, and there are no parentheses (docs/acumatica.md §3.1, HTE, SK).
    pub(super) fn called(&self, segment: &str) -> Result<Reply, Reply> {
        let missing = || Reply::not_found_json(segment);
        if self.v3() {
            let view = self.imported(segment).ok_or_else(missing)?;
            let filter = self.options(view)?;
            return self.set(view, Some(filter));
        }
        let (name, rest) = segment.split_once('(').ok_or_else(missing)?;
        let inside = rest.strip_suffix(')').ok_or_else(missing)?;
        match self.surface {
            Surface::Gi | Surface::GiV3 => {
                let view = self.imported(name).ok_or_else(missing)?;
                let filter = self.parameters(view, inside)?;
                self.set(view, Some(filter))
            }
            Surface::Dac => {
                let view = self.view(name).filter(|v| !v.singleton).ok_or_else(missing)?;
                self.record(view, inside)
            }
        }
    }

    /// `A='x',B=@1` as names and values; `@1` is looked up among the query options.
    fn arguments(&self, inside: &str) -> Result<Vec<(Option<String>, Val)>, Reply> {
        let bad = |error: String| self.bad(&error);
        let list = tokens(inside, self.dialect(), None).map_err(bad)?;
        let mut arguments = Vec::new();
        for part in list.split(|t| matches!(t, Token::Comma)).filter(|p| !p.is_empty()) {
            let (name, value) = match part {
                [Token::Word(name), Token::Equals, value] => (Some(name.clone()), value),
                [value] => (None, value),
                _ => return Err(self.bad(&format!("Bad arguments: {inside}"))),
            };
            let value = match value {
                Token::Literal(value) => value.clone(),
                Token::Word(alias) if alias.starts_with('@') => {
                    let text = self.request.option(alias).unwrap_or("null");
                    match tokens(text, self.dialect(), None).map_err(bad)?.as_slice() {
                        [Token::Literal(value)] => value.clone(),
                        _ => return Err(self.bad(&format!("Bad value of {alias}: {text}"))),
                    }
                }
                _ => return Err(self.bad(&format!("Bad arguments: {inside}"))),
            };
            arguments.push((name, value));
        }
        Ok(arguments)
    }

    fn parameters(&self, view: &View, inside: &str) -> Result<Expr, Reply> {
        let mut tests = Vec::new();
        for (name, value) in self.arguments(inside)? {
            let param = view.params.iter().find(|p| Some(p.0) == name.as_deref());
            let (_, field) = param.ok_or_else(|| Reply::not_found_json(&self.request.path))?;
            // A parameter without a value does not restrict.
            if !value.is_null() {
                tests.push(equal(field, value));
            }
        }
        Ok(Expr::And(tests))
    }

    /// Parameters as query options of v3. Ours: one that is not given does not restrict.
    fn options(&self, view: &View) -> Result<Expr, Reply> {
        let mut tests = Vec::new();
        for (name, field) in &view.params {
            let Some(text) = self.request.option(name) else { continue };
            let value = match field.kind {
                Kind::Bool => match text {
                    "true" | "True" => Some(Val::Bool(true)),
                    "false" | "False" => Some(Val::Bool(false)),
                    _ => None,
                },
                Kind::Guid => parse_guid(text).map(Val::Guid),
                Kind::Date | Kind::Ts => parse_time(text, None),
                Kind::Text | Kind::Choice | Kind::Binary => Some(Val::text(text.to_string())),
                _ => match tokens(text, self.dialect(), None).as_deref() {
                    Ok([Token::Literal(value @ (Val::Int(_) | Val::Dec(..) | Val::Double(_)))]) => {
                        Some(value.clone())
                    }
                    _ => None,
                },
            };
            let bad = || self.bad(&format!("The value '{text}' of the parameter {name} is not valid."));
            tests.push(equal(field, value.ok_or_else(bad)?));
        }
        Ok(Expr::And(tests))
    }

    /// The parameters as they stand when nobody gives any: the values of the first row. Ours: no source says which.
    pub(super) fn defaults(&self, view: &View, data: &Data, filter: Option<Expr>) -> Expr {
        let first = self.order(data, view);
        let values = view.params.iter().filter(|_| !first.is_empty());
        let tests = values.map(|(_, field)| (field, field.value(data, first.row(0))));
        let tests = tests.filter(|(_, value)| !value.is_null()).map(|(field, value)| equal(field, value));
        Expr::And(tests.chain(filter).collect())
    }

    fn record(&self, view: &View, inside: &str) -> Result<Reply, Reply> {
        let mut tests = Vec::new();
        let arguments = self.arguments(inside)?;
        if arguments.len() != view.keys.len() {
            return Err(self.bad("The number of keys does not match."));
        }
        for (name, value) in arguments {
            let prop = match name {
                Some(name) => view.keys.iter().map(|k| &view.props[*k]).find(|p| p.name == name),
                None => view.keys.first().map(|k| &view.props[*k]).filter(|_| view.keys.len() == 1),
            };
            let prop = prop.ok_or_else(|| self.bad("A key is not known."))?;
            tests.push(equal(&prop.field, value));
        }
        let data = self.state.data(self.tenant);
        let shape = Shape::new(self.views(), view, self.request, self.dialect()).map_err(|e| self.bad(&e))?;
        let order = sorted(&data, &self.order(&data, view), Some(&Expr::And(tests)), &[], 1);
        if order.is_empty() {
            return Err(Reply::empty(404));
        }
        Ok(self.object(view, &shape, &data, order.row(0), "/$entity"))
    }

    /// The one object of a setup class (docs/acumatica.md §3.4, SK).
    pub(super) fn singleton(&self, view: &View) -> Result<Reply, Reply> {
        if ["$filter", "$orderby", "$top", "$skip", "$count"].iter().any(|o| self.request.option(o).is_some())
        {
            return Err(self.bad("The query options $filter, $orderby, $count, $skip and $top can be applied only on collections."));
        }
        let data = self.state.data(self.tenant);
        let shape = Shape::new(self.views(), view, self.request, self.dialect()).map_err(|e| self.bad(&e))?;
        Ok(self.object(view, &shape, &data, 0, ""))
    }

    fn object(&self, view: &View, shape: &Shape, data: &Data, row: u64, suffix: &str) -> Reply {
        let mut out = Vec::new();
        let context = format!("{{\"@odata.context\":\"{}/$metadata#{}{suffix}\",", self.root, view.name);
        out.extend_from_slice(context.as_bytes());
        shape.write_members(data, row, &mut out);
        out.push(b'}');
        Reply::new(200, "application/json; odata.metadata=minimal", out)
    }
}
