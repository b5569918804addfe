//! Reads `views.txt`: the generic inquiries and data access classes over the data set. Tables in files are inquiries too.

use std::cmp::Ordering;
use std::sync::OnceLock;

use crate::data::schema::{Col, Role, SCHEMA, Schema, Table};
use crate::data::value::compare;
use crate::data::value::{Style, Zone};
use crate::data::{Access, Data};
use crate::filter::eval::{Field, Show};

pub struct Prop {
    pub name: &'static str,
    pub field: Field,
    pub style: Style,
    pub formula: bool,
    pub refused: bool,
}

pub struct Nav {
    pub name: &'static str,
    /// The link's number in the table, or the detail table.
    pub to: NavTo,
    pub view: usize,
}

#[derive(Clone, Copy)]
pub enum NavTo {
    One(usize),
    Many(usize),
}

pub struct View {
    /// The name of the entity set: of a generic inquiry as it is, of a DAC with underscores.
    pub name: String,
    /// A DAC's other names, which may be those of another class (docs/acumatica.md §3.4, SK).
    pub aliases: Vec<&'static str>,
    /// A DAC's namespace and the name of its class.
    pub class: (&'static str, &'static str),
    /// The DAC it is derived from: that one has the key and what both have.
    pub base: Option<usize>,
    /// One object instead of a set (docs/acumatica.md §3.4, SK).
    pub singleton: bool,
    /// None of the class's own properties are in `$filter` and `$select`.
    pub unfilterable: bool,
    /// `px.GetDeletedRecords()` knows it.
    pub tracked: bool,
    /// What the parameters of an inquiry are given to: named after the type (docs/acumatica.md §3.1, §3.2).
    pub import: String,
    pub table: usize,
    pub restricted: bool,
    /// Left out of `$metadata`.
    pub unlisted: bool,
    pub props: Vec<Prop>,
    pub keys: Vec<usize>,
    pub params: Vec<(&'static str, Field)>,
    pub navs: Vec<Nav>,
    /// How many of the first key columns the natural order of the rows is sorted by.
    sorted_keys: OnceLock<usize>,
}

pub struct Views {
    pub gis: Vec<View>,
    pub dacs: Vec<View>,
}

impl View {
    pub fn prop(&self, name: &str) -> Option<&Prop> {
        self.props.iter().find(|p| p.name == name)
    }

    /// Whether the rows come sorted by these properties anyway. Looked up once: sorting each page of a large
    /// inquiry by its key would cost more than the page.
    pub fn is_natural(&self, data: &Data, by: &[(&str, bool)]) -> bool {
        let keys =
            by.iter().zip(&self.keys).filter(|((name, desc), k)| self.props[**k].name == *name && !desc);
        let sorted = *self.sorted_keys.get_or_init(|| self.count_sorted(data));
        keys.count() == by.len() && by.len() <= sorted
    }

    fn count_sorted(&self, data: &Data) -> usize {
        let mut sorted = self.keys.len();
        let key =
            |row| -> Vec<_> { self.keys.iter().map(|k| self.props[*k].field.value(data, row)).collect() };
        let count = data.count(self.table);
        let mut before = key(0);
        for row in 1..count {
            let this = key(row);
            let orders: Vec<_> = before.iter().zip(&this).map(|(a, b)| compare(a, b)).collect();
            let decided = orders.iter().position(|o| *o != Some(Ordering::Equal));
            if let Some(at) = decided.filter(|at| orders[*at] != Some(Ordering::Less)) {
                sorted = sorted.min(at);
            }
            before = this;
        }
        sorted
    }

    pub fn set_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().copied())
    }

    /// The entity type's name drops what the set's name may have (docs/acumatica.md §3).
    pub fn type_name(&self) -> String {
        plain(&self.name)
    }
}

/// Without blanks and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect()
}

impl Views {
    pub fn new(schema: &'static Schema) -> Views {
        let text = include_str!("views.txt");
        let mut gis = parse(text, "gi");
        let stored =
            || schema.tables.iter().enumerate().filter(|(_, t)| matches!(t.role, Role::Stored { .. }));
        gis.retain(|gi| !stored().any(|(_, t)| t.name.eq_ignore_ascii_case(&gi.name)));
        gis.extend(stored().map(|(id, table)| of_file(id, table)));
        Views { gis, dacs: parse(text, "dac") }
    }

    pub fn gi(&self, name: &str) -> Option<&View> {
        self.gis.iter().find(|v| v.name.eq_ignore_ascii_case(name))
    }

    pub fn dac(&self, name: &str) -> Option<&View> {
        self.dacs.iter().find(|v| v.set_names().any(|set| set.eq_ignore_ascii_case(name)))
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'))
}

/// The views of one kind. The file is part of the program: a mistake in it is a bug, and panics.
fn parse(text: &'static str, wanted: &str) -> Vec<View> {
    let names: Vec<&'static str> =
        lines(text).filter_map(|l| l.strip_prefix("dac ")?.split_whitespace().next()).collect();
    let mut views: Vec<View> = Vec::new();
    let mut skip = true;
    for line in lines(text) {
        if let Some((kind @ ("gi" | "dac"), rest)) = line.split_once(' ') {
            skip = kind != wanted;
            if !skip {
                views.push(header(kind, rest, &names));
            }
        } else if !skip {
            let view = views.last_mut().unwrap_or_else(|| panic!("views.txt: {line}"));
            member(view, line, &names, wanted == "dac");
        }
    }
    for i in 0..views.len() {
        let Some(base) = views[i].base.filter(|_| views[i].unfilterable) else { continue };
        let inherited: Vec<&str> = views[base].props.iter().map(|p| p.name).collect();
        views[i].props.iter_mut().for_each(|p| p.refused |= !inherited.contains(&p.name));
    }
    views
}

/// All columns of a table, as they are named there.
fn of_file(id: usize, table: &'static Table) -> View {
    let prop = |(number, col): (usize, &'static Col)| {
        let access = Access { hops: Vec::new(), table: id, col: number };
        let field = Field { kind: col.kind, access, show: Show::Label, pad: 0, zone: None };
        Prop { name: col.name, field, style: Style::ODATA, formula: false, refused: false }
    };
    View {
        name: table.name.to_string(),
        aliases: Vec::new(),
        class: ("", table.name),
        base: None,
        singleton: false,
        unfilterable: false,
        tracked: false,
        import: String::new(),
        table: id,
        restricted: false,
        unlisted: false,
        props: table.cols.iter().enumerate().map(prop).collect(),
        keys: table.keys.clone(),
        params: Vec::new(),
        navs: Vec::new(),
        sorted_keys: OnceLock::new(),
    }
}

fn header(kind: &str, rest: &'static str, names: &[&str]) -> View {
    let (rest, flags) = rest.split_once(" | ").unwrap_or((rest, ""));
    let flags: Vec<&'static str> = flags.split_whitespace().collect();
    let flag = |name: &str| flags.contains(&name);
    let values =
        |name: &'static str| flags.iter().filter_map(move |f| f.strip_prefix(name)?.strip_prefix('='));
    let base = |full| names.iter().position(|n| *n == full).unwrap_or_else(|| panic!("views.txt: {full}"));
    let (name, table) = rest.rsplit_once(' ').unwrap_or_else(|| panic!("views.txt: {rest}"));
    let dac = kind == "dac";
    View {
        name: if dac { name.replace('.', "_") } else { name.to_string() },
        import: format!("{}_WithParameters", plain(name)),
        aliases: values("alias").collect(),
        class: name.rsplit_once('.').unwrap_or(("", name)),
        base: values("base").next().map(base),
        singleton: flag("singleton"),
        unfilterable: flag("unfilterable"),
        tracked: flag("tracked"),
        table: SCHEMA.id(table),
        restricted: flag("restricted"),
        unlisted: flag("unlisted"),
        props: Vec::new(),
        keys: Vec::new(),
        params: Vec::new(),
        navs: Vec::new(),
        sorted_keys: OnceLock::new(),
    }
}

fn member(view: &mut View, line: &'static str, names: &[&str], dac: bool) {
    let schema: &'static Schema = &SCHEMA;
    let (left, right) = line.split_once(" = ").unwrap_or_else(|| panic!("views.txt: {line}"));
    let mut words = right.split_whitespace();
    let path = words.next().unwrap_or_else(|| panic!("views.txt: {line}"));
    if let Some((kind @ ("nav" | "navs"), name)) = left.split_once(' ') {
        let target = words.next().and_then(|full| names.iter().position(|n| *n == full));
        let table = &schema.tables[view.table];
        let to = match kind {
            "nav" => table.links.iter().position(|l| l.name == path).map(NavTo::One),
            _ => table.detail(path).map(|d| NavTo::Many(d.child)),
        };
        let (Some(target), Some(to)) = (target, to) else { panic!("views.txt: {line}") };
        view.navs.push(Nav { name, to, view: target });
        return;
    }
    let access = Access::resolve(schema, view.table, path).unwrap_or_else(|| panic!("views.txt: {line}"));
    let show = if dac { Show::Code } else { Show::Label };
    let mut field = Field { kind: access.col(schema).kind, access, show, pad: 0, zone: None };
    let mut prop_style = Style::ODATA;
    let (mut formula, mut refused) = (false, false);
    for flag in words {
        match flag.split_once('=') {
            None if flag == "str" => prop_style.quoted = true,
            None if flag == "formula" => formula = true,
            None if flag == "refused" => refused = true,
            Some(("pad", width)) => field.pad = width.parse().unwrap_or_else(|_| panic!("views.txt: {line}")),
            Some(("zone", "none")) => prop_style.zone = Zone::None,
            Some(("zone", minutes)) => {
                let minutes = minutes.parse().unwrap_or_else(|_| panic!("views.txt: {line}"));
                prop_style.zone = Zone::Offset(minutes);
            }
            _ => panic!("views.txt: {line}"),
        }
    }
    if let Some(name) = left.strip_prefix("param ") {
        view.params.push((name, field));
        return;
    }
    let name = left.trim_start_matches('*');
    if left.starts_with('*') {
        view.keys.push(view.props.len());
    }
    view.props.push(Prop { name, field, style: prop_style, formula, refused });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::Data;

    #[test]
    fn keys_identify_the_rows_of_every_view() {
        let (views, data) = (Views::new(&SCHEMA), Data::new(&SCHEMA, 1, 0.1, "Company"));
        for view in views.gis.iter().chain(&views.dacs) {
            let mut seen = HashSet::new();
            for row in 0..data.count(view.table) {
                let key: Vec<String> = view
                    .keys
                    .iter()
                    .map(|k| view.props[*k].field.value(&data, row).to_plain(Style::ODATA))
                    .collect();
                assert!(!key.is_empty() && seen.insert(key.join("\u{1}")), "{}: {key:?}", view.name);
            }
        }
    }
}
