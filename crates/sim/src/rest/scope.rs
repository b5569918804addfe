//! `$filter` of contract REST, with its traps (docs/acumatica.md §2).

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::shape::{Site, not_optimizable};
use crate::config::SwitchedOff;
use crate::data::Access;
use crate::data::schema::{SCHEMA, Sql};
use crate::data::value::Val;
use crate::filter::Dialect;
use crate::filter::eval::{Expr, Field, Scope, Show, bind};
use crate::filter::parser::{Ast, Func, Op, parse};
use crate::reply::Reply;

pub struct Found {
    pub expr: Option<Expr>,
    /// Fields that keep the list from being one SQL query.
    pub blocked: Vec<String>,
    /// The answer is `[]`, whatever the rows are.
    pub nothing: bool,
}

struct RestScope {
    table: usize,
    site: Site,
    show: Show,
    blocked: RefCell<Vec<String>>,
    unknown: RefCell<Option<String>>,
}

impl RestScope {
    fn resolve(&self, path: &str, custom: bool) -> Option<Expr> {
        let mut access = Access { hops: Vec::new(), table: self.table, col: 0 };
        let (links, name) = path.rsplit_once('/').map_or((None, path), |(a, b)| (Some(a), b));
        for link in links.into_iter().flat_map(|l| l.split('/')) {
            let number = SCHEMA.tables[access.table].links.iter().position(|l| l.rest && l.name == link)?;
            access.hops.push((access.table, number));
            access.table = SCHEMA.tables[access.table].links[number].to;
        }
        if name == "id" && access.hops.is_empty() {
            return Some(Expr::Id(self.table));
        }
        access.col = SCHEMA.tables[access.table].col(name)?;
        let col = access.col(&SCHEMA);
        if col.hidden || col.custom != custom {
            return None;
        }
        match self.site.off {
            SwitchedOff::Refused if col.off => return None,
            SwitchedOff::Absent if col.off => return Some(Expr::Literal(Val::Null)),
            _ => {}
        }
        if col.sql != Sql::Yes {
            let of = &SCHEMA.tables[access.table];
            self.blocked.borrow_mut().push(not_optimizable(of, &path.replace('/', ".")));
        }
        let zone = Some(self.site.zone);
        Some(Expr::Field(Field { kind: col.kind, access, show: self.show, pad: 0, zone }))
    }

    fn missing(&self, path: &str) -> String {
        self.unknown.replace(Some(path.to_string()));
        path.to_string()
    }
}

impl Scope for RestScope {
    fn field(&self, path: &str) -> Result<Expr, String> {
        // Contract 5 names custom fields like others, with their view.
        match path.split_once('.') {
            Some(_) if self.show == Show::Code => self.custom(path),
            _ => self.resolve(path, false).ok_or_else(|| self.missing(path)),
        }
    }

    fn custom(&self, path: &str) -> Result<Expr, String> {
        let right = path.split_once('.').filter(|(view, _)| *view == SCHEMA.tables[self.table].view);
        right.and_then(|(_, name)| self.resolve(name, true)).ok_or_else(|| self.missing(path))
    }
}

pub fn filter(table: usize, text: &str, site: Site, german: bool) -> Result<Found, Reply> {
    let dialect = site.dialect;
    let failed = |message: &str| Reply::exception(500, "Microsoft.OData.ODataException", message);
    let ast = parse(text, dialect, Some(site.zone)).map_err(|e| failed(&e))?;
    if dialect == Dialect::Contract4 && negates_substringof(&ast) {
        return Err(failed("The method or operation is not implemented."));
    }
    if on_detail(table, &ast)
        || site.deaf && off_key(table, &ast)
        || links_anded(&ast)
        || dialect == Dialect::Contract4 && compares_substringof(&ast)
    {
        return Ok(Found { expr: None, blocked: Vec::new(), nothing: true });
    }
    let show = match dialect {
        Dialect::Contract5 => Show::Code,
        _ if german => Show::German,
        _ => Show::Label,
    };
    let scope = RestScope { table, site, show, blocked: RefCell::default(), unknown: RefCell::default() };
    match bind(&ast, &scope) {
        Ok(expr) => Ok(Found { expr: Some(expr), blocked: scope.blocked.into_inner(), nothing: false }),
        Err(message) => match scope.unknown.into_inner() {
            Some(_) => Err(Reply::unknown_field()),
            None => Err(failed(&message)),
        },
    }
}

fn is_substringof(ast: &Ast) -> bool {
    matches!(ast, Ast::Call(Func::Contains, _))
}

fn any(ast: &Ast, test: &dyn Fn(&Ast) -> bool) -> bool {
    let mut found = false;
    ast.walk(&mut |node| found |= test(node));
    found
}

/// `not substringof(…)` fails.
fn negates_substringof(ast: &Ast) -> bool {
    any(ast, &|node| matches!(node, Ast::Not(inner) if any(inner, &is_substringof)))
}

/// `substringof(…) eq true` finds nothing.
fn compares_substringof(ast: &Ast) -> bool {
    any(
        ast,
        &|node| matches!(node, Ast::Compare(Op::Eq | Op::Ne, a, b) if is_substringof(a) || is_substringof(b)),
    )
}

/// Filters on fields inside a detail are undefined; here they find nothing.
fn on_detail(table: usize, ast: &Ast) -> bool {
    let detail = |path: &str| {
        let first = path.split_once('/').map(|(first, _)| first);
        first.is_some_and(|name| SCHEMA.tables[table].detail(name).is_some_and(|d| d.rest))
    };
    any(ast, &|node| matches!(node, Ast::Field(path) if detail(path)))
}

/// Whether it names a field that is no key. Some forms find nothing then (docs/acumatica.md §2.2, HB 25R2).
fn off_key(table: usize, ast: &Ast) -> bool {
    let of = &SCHEMA.tables[table];
    let key = |path: &str| of.keys.iter().any(|k| of.cols[*k].name == path);
    any(ast, &|node| matches!(node, Ast::Field(path) if !key(path)) || matches!(node, Ast::Custom(_)))
}

/// ANDs across different linked entities may find nothing; here they do.
fn links_anded(ast: &Ast) -> bool {
    let links = |ast: &Ast| {
        let mut names = BTreeSet::new();
        ast.walk(&mut |node| {
            if let Ast::Field(path) = node
                && let Some((link, _)) = path.split_once('/')
            {
                names.insert(link.to_string());
            }
        });
        names
    };
    any(ast, &|node| match node {
        Ast::And(terms) => {
            let mut sets = terms.iter().map(links).filter(|set| !set.is_empty());
            let first = sets.next();
            sets.any(|set| Some(set) != first)
        }
        _ => false,
    })
}
