//! `$select`, `$expand` and `$custom`: what of a record is shown.

use super::form::{self, FormField};
use crate::config::{Forms, SwitchedOff};
use crate::data::schema::{Role, SCHEMA, Sql, Table};
use crate::data::value::{Style, write_json_text};
use crate::filter::Dialect;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::State;
use crate::zone::TimeZone;

/// More custom fields than this in one request, and nothing comes back (docs/acumatica.md §2).
const MOST_CUSTOM: usize = 100;

/// Names that every record has beside its fields.
pub const STANDARD: &[&str] = &["id", "rowNumber", "note", "custom", "files", "_links"];

/// What of the site decides on fields and values.
#[derive(Clone, Copy)]
pub struct Site {
    pub dialect: Dialect,
    pub zone: &'static TimeZone,
    pub off: SwitchedOff,
    /// Fields of the form that the contract lacks are known, not customizations alone.
    pub whole_forms: bool,
    /// Conditions on fields that are no key find nothing.
    pub deaf: bool,
}

impl Site {
    pub fn new(state: &State, dialect: Dialect) -> Site {
        Site {
            dialect,
            zone: state.zone,
            off: state.config.switched_off,
            whole_forms: state.config.forms == Forms::Whole,
            deaf: false,
        }
    }

    pub fn style(self) -> Style {
        Style::rest(self.zone, self.dialect == Dialect::Contract5)
    }
}

/// What a request asked for.
pub struct Ask {
    pub site: Site,
    pub select: Option<Vec<String>>,
    pub expand: Vec<String>,
    /// `$select` inside `$expand`, with the path in front.
    pub inner: Vec<String>,
    pub custom: Vec<String>,
    pub list: bool,
}

impl Ask {
    pub fn read(request: &Request, list: bool, site: Site) -> Result<Ask, Reply> {
        let option = |name: &str| request.option(name).unwrap_or("");
        Ask::parse(option("$select"), option("$expand"), option("$custom"), list, site)
            .map_err(|e| Reply::exception(500, "Microsoft.OData.ODataException", &e))
    }

    pub fn parse(select: &str, expand: &str, custom: &str, list: bool, site: Site) -> Result<Ask, String> {
        let names = |text: &str| -> Vec<String> {
            text.split(',').map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).collect()
        };
        let mut ask =
            Ask { site, select: None, expand: Vec::new(), inner: Vec::new(), custom: names(custom), list };
        if !select.is_empty() {
            ask.select = Some(names(select));
        }
        if site.dialect == Dialect::Contract5 {
            ask.nested(expand, "")?;
            // Contract 5 takes custom fields in $select.
            if let Some(select) = &mut ask.select {
                let (custom, plain) = select.drain(..).partition(|name| name.contains('.'));
                *select = plain;
                ask.custom.extend(custom);
            }
        } else {
            ask.expand = names(expand);
        }
        Ok(ask)
    }

    /// `MainContact($select=Email;$expand=Address),Details`.
    fn nested(&mut self, text: &str, prefix: &str) -> Result<(), String> {
        let (mut depth, mut start) = (0, 0);
        let ends = text.char_indices().chain([(text.len(), ',')]);
        for (at, c) in ends {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    let item = text[start..at].trim();
                    start = (at + 1).min(text.len());
                    self.nested_item(item, prefix)?;
                }
                _ => {}
            }
        }
        if depth == 0 { Ok(()) } else { Err(format!("Syntax error in $expand: {text}")) }
    }

    fn nested_item(&mut self, item: &str, prefix: &str) -> Result<(), String> {
        if item.is_empty() {
            return Ok(());
        }
        let (name, options) =
            item.split_once('(').map_or((item, ""), |(n, o)| (n, o.strip_suffix(')').unwrap_or(o)));
        let path = format!("{prefix}{name}");
        for option in outer_parts(options, ';').into_iter().filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some(("$select", names)) => {
                    self.inner.extend(names.split(',').map(|n| format!("{path}/{}", n.trim())))
                }
                Some(("$expand", inner)) => self.nested(inner, &format!("{path}/"))?,
                _ => return Err(format!("Syntax error in $expand: {option}")),
            }
        }
        self.expand.push(path);
        Ok(())
    }

    pub fn too_many_custom(&self) -> bool {
        self.custom.len() > MOST_CUSTOM
    }
}

/// The parts between separators that stand in no parentheses.
fn outer_parts(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

pub enum Part {
    Field(usize),
    Link(usize, Node),
    Detail(usize, Node),
    /// An expanded detail that `$select` forgot.
    EmptyDetail,
}

/// What is shown of a record or of a part of it.
pub struct Node {
    pub table: usize,
    pub style: Style,
    pub contract5: bool,
    /// Behind their names as they are written, sorted without regard to case.
    pub parts: Vec<(Vec<u8>, Part)>,
    /// Fields of `custom`, and their columns if they are customizations.
    pub custom: Vec<(FormField, Option<usize>)>,
    pub top: bool,
    pub files: bool,
    /// Its drop-downs show German labels.
    pub german: bool,
}

/// Entries below `name`: `None` if there is none, empty if only `name` itself is there.
pub fn below(paths: &[String], name: &str) -> Option<Vec<String>> {
    let prefix = format!("{name}/");
    let inner: Vec<String> = paths.iter().filter_map(|p| p.strip_prefix(&prefix).map(String::from)).collect();
    (!inner.is_empty() || paths.iter().any(|p| p == name)).then_some(inner)
}

impl Node {
    pub fn new(table: usize, ask: &Ask) -> Result<Node, Reply> {
        let mut node =
            Node::build(table, ask.select.as_deref(), &ask.expand, &ask.inner, ask.list, ask.site)?;
        node.top = true;
        // In contract 4 and later only when expanded and, beside a $select, named there (docs/acumatica.md §2.2, HTE, SK).
        node.files = ask.expand.iter().any(|n| n == "files")
            && ask.select.as_ref().is_none_or(|s| s.iter().any(|n| n == "files"));
        node.add_custom(&ask.custom, ask.site);
        for (_, part) in &mut node.parts {
            if let Part::Detail(_, lines) = part {
                lines.add_custom(&ask.custom, ask.site);
            }
        }
        Ok(node)
    }

    /// Unknown custom fields are left out without a word.
    fn add_custom(&mut self, paths: &[String], site: Site) {
        let of = &SCHEMA.tables[self.table];
        let form = if site.whole_forms { form::fields(of) } else { Vec::new() };
        for (view, name) in paths.iter().filter_map(|path| path.split_once('.')) {
            let col = of.col(name).filter(|c| view == of.view && of.cols[*c].custom);
            let customized =
                col.map(|c| FormField { view: of.view, name: name.to_string(), kind: of.cols[c].kind });
            let field =
                customized.or_else(|| form.iter().find(|f| f.view == view && f.name == name).cloned());
            let Some(field) = field else { continue };
            if !self.custom.iter().any(|(f, _)| *f == field) {
                self.custom.push((field, col));
            }
        }
    }

    fn build(
        table: usize,
        select: Option<&[String]>,
        expand: &[String],
        inner: &[String],
        list: bool,
        site: Site,
    ) -> Result<Node, Reply> {
        let of: &Table = &SCHEMA.tables[table];
        let contract5 = site.dialect == Dialect::Contract5;
        let first = |path: &String| path.split('/').next().unwrap_or("").to_string();
        for name in select.unwrap_or(&[]).iter().map(first) {
            let refused = |c: usize| of.cols[c].off && site.off == SwitchedOff::Refused;
            let field = of.col(&name).is_some_and(|c| shown(of, c) && !refused(c));
            let other = of.link(&name).is_some_and(|l| l.rest) || of.detail(&name).is_some_and(|d| d.rest);
            if !field && !other && !STANDARD.contains(&name.as_str()) {
                return Err(Reply::unknown_field());
            }
        }
        for name in expand.iter().map(first) {
            let other = of.link(&name).is_some_and(|l| l.rest) || of.detail(&name).is_some_and(|d| d.rest);
            if !other && name != "files" {
                return Err(Reply::unknown_field());
            }
        }
        let selected = |name: &str| select.is_none_or(|s| s.iter().any(|n| n == name));
        let mut parts: Vec<(&str, Part)> = Vec::new();
        for (c, col) in of.cols.iter().enumerate() {
            if shown(of, c) && selected(col.name) && !(col.off && site.off != SwitchedOff::Shown) {
                parts.push((col.name, Part::Field(c)));
            }
        }
        for (number, link) in of.links.iter().enumerate().filter(|(_, l)| l.rest) {
            let Some(deeper) = below(expand, link.name) else { continue };
            let chosen = sub_select(select, inner, link.name);
            let node = Node::build(
                link.to,
                chosen.as_deref(),
                &deeper,
                &below(inner, link.name).unwrap_or_default(),
                list,
                site,
            )?;
            parts.push((link.name, Part::Link(number, node)));
        }
        for detail in of.details.iter().filter(|d| d.rest) {
            let Some(deeper) = below(expand, detail.name) else { continue };
            let forgotten = select.is_some_and(|s| below(s, detail.name).is_none());
            if list && forgotten && !contract5 {
                parts.push((detail.name, Part::EmptyDetail));
                continue;
            }
            let chosen = sub_select(select, inner, detail.name);
            let node = Node::build(detail.child, chosen.as_deref(), &deeper, &[], list, site)?;
            parts.push((detail.name, Part::Detail(detail.child, node)));
        }
        parts.sort_by_key(|(name, _)| name.to_lowercase());
        let label = |name: &str| {
            let mut out = Vec::new();
            write_json_text(&mut out, name);
            out.push(b':');
            out
        };
        Ok(Node {
            table,
            style: site.style(),
            contract5,
            parts: parts.into_iter().map(|(name, part)| (label(name), part)).collect(),
            custom: Vec::new(),
            top: false,
            files: false,
            german: false,
        })
    }

    /// The fields that a list cannot have, here and below.
    pub fn not_optimizable(&self) -> Vec<String> {
        let of = &SCHEMA.tables[self.table];
        let mut found = Vec::new();
        for (label, part) in &self.parts {
            match part {
                Part::Field(c) if of.cols[*c].sql == Sql::No => {
                    found.push(not_optimizable(of, of.cols[*c].name))
                }
                Part::Link(_, node) | Part::Detail(_, node) => {
                    // Paths are written with a dot (docs/acumatica.md §2.2, HTE).
                    let name = String::from_utf8_lossy(label).trim_matches(['"', ':']).to_string();
                    found.extend(node.not_optimizable().into_iter().map(|field| format!("{name}.{field}")));
                }
                _ => {}
            }
        }
        found
    }
}

/// A field that keeps a list from being one query, with the reason: of a record's own view or of a detail's.
pub fn not_optimizable(of: &Table, path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    match of.role {
        Role::Detail { .. } => format!("{path}: View {} has BQL delegate", of.view),
        _ => format!("{path}: Field {name} is marked as non-optimizable"),
    }
}

/// The part of `$select` below a link or detail; all of it if only its own name is there, or nothing of it.
pub fn sub_select(select: Option<&[String]>, inner: &[String], name: &str) -> Option<Vec<String>> {
    let nested = below(inner, name).filter(|i| !i.is_empty());
    nested.or_else(|| below(select.unwrap_or(&[]), name)).filter(|s| !s.is_empty())
}

fn shown(of: &Table, c: usize) -> bool {
    !of.cols[c].hidden && !of.cols[c].custom
}
