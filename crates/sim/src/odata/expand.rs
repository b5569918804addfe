//! `$select` and `$expand` of OData: which members a row has.

use crate::data::Data;
use crate::data::value::{Style, Zone, write_json_text};
use crate::filter::Dialect;
use crate::filter::eval::Field;
use crate::request::Request;
use crate::views::{NavTo, Prop, View};

/// Deeper navigation is refused (docs/acumatica.md §3).
const DEEPEST: usize = 3;

/// The members of a row, each behind its name as it is written.
pub struct Shape {
    parts: Vec<(Vec<u8>, Part)>,
    /// Not everything is shown, or more than that.
    chosen: bool,
}

enum Part {
    Prop(Field, Style),
    One(usize, usize, Shape),
    Many(usize, Shape),
}

impl Shape {
    pub fn new(views: &[View], view: &View, request: &Request, dialect: Dialect) -> Result<Shape, String> {
        let options = (request.option("$select").unwrap_or(""), request.option("$expand").unwrap_or(""));
        Shape::build(views, view, options.0, options.1, DEEPEST, dialect)
    }

    /// `(AcctCD,ContactByDefBillContactID(Email))`, if something was chosen.
    pub fn context(&self) -> Option<String> {
        let name = |(label, part): &(Vec<u8>, Part)| {
            let name = String::from_utf8_lossy(label).trim_matches(['"', ':']).to_string();
            match part {
                Part::Prop(..) => name,
                Part::One(_, _, shape) | Part::Many(_, shape) => {
                    format!("{name}{}", shape.context().unwrap_or_else(|| "()".into()))
                }
            }
        };
        self.chosen.then(|| format!("({})", self.parts.iter().map(name).collect::<Vec<_>>().join(",")))
    }

    fn build(
        views: &[View],
        view: &View,
        select: &str,
        expand: &str,
        depth: usize,
        dialect: Dialect,
    ) -> Result<Shape, String> {
        let selected: Vec<&str> = select.split(',').map(str::trim).filter(|s| !s.is_empty()).collect();
        // Classes find their names without case, inquiries do not (docs/acumatica.md §3.2, §3.4).
        let same = |p: &Prop, name: &str| p.name.eq_ignore_ascii_case(name) && dialect == Dialect::Dac;
        let mut names = Vec::new();
        for name in selected {
            names.push(view.props.iter().find(|p| same(p, name)).map_or(name, |p| p.name));
        }
        let selected = names;
        let all = selected.is_empty() || selected.contains(&"*");
        for name in selected.iter().filter(|n| **n != "*") {
            match view.prop(name) {
                Some(prop) if prop.refused => {
                    return Err(format!("The property '{name}' cannot be selected."));
                }
                Some(_) => {}
                None if view.navs.iter().any(|n| n.name == *name) => {}
                None => {
                    return Err(format!(
                        "Could not find a property named '{name}' on type '{}'.",
                        view.type_name()
                    ));
                }
            }
        }
        let chosen = view.props.iter().filter(|p| all && !p.refused || selected.contains(&p.name));
        let mut parts: Vec<_> =
            chosen.map(|p| (label(p.name), Part::Prop(p.field.clone(), style(p, dialect)))).collect();
        for item in split(expand, ',') {
            let (name, options) = match item.split_once('(') {
                Some((name, rest)) => (name, rest.strip_suffix(')').ok_or("Syntax error in $expand.")?),
                None => (item, ""),
            };
            let nav = view.navs.iter().find(|n| n.name == name);
            let nav = nav.ok_or_else(|| format!("Could not find a property named '{name}'."))?;
            if depth == 0 {
                return Err("The request includes a $expand path which is too deep.".into());
            }
            let (mut inner_select, mut inner_expand) = ("", "");
            for option in split(options, ';') {
                match option.split_once('=') {
                    Some(("$select", value)) => inner_select = value,
                    Some(("$expand", value)) => inner_expand = value,
                    _ => return Err(format!("The option '{option}' is not supported inside $expand.")),
                }
            }
            let shape =
                Shape::build(views, &views[nav.view], inner_select, inner_expand, depth - 1, dialect)?;
            let part = match nav.to {
                NavTo::One(link) => Part::One(view.table, link, shape),
                NavTo::Many(child) => Part::Many(child, shape),
            };
            parts.push((label(nav.name), part));
        }
        Ok(Shape { parts, chosen: !select.is_empty() || !expand.is_empty() })
    }

    /// The members, without braces.
    pub fn write_members(&self, data: &Data, row: u64, out: &mut Vec<u8>) {
        for (i, (label, part)) in self.parts.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(label);
            match part {
                Part::Prop(field, style) => field.value(data, row).write_json(out, *style),
                Part::One(table, link, shape) => {
                    let target = data.follow(*table, &data.schema.tables[*table].links[*link], row);
                    out.push(b'{');
                    shape.write_members(data, target, out);
                    out.push(b'}');
                }
                Part::Many(child, shape) => {
                    out.push(b'[');
                    for (i, line) in data.children(*child, row).enumerate() {
                        out.extend_from_slice(if i > 0 { b",{" } else { b"{" });
                        shape.write_members(data, line, out);
                        out.push(b'}');
                    }
                    out.push(b']');
                }
            }
        }
    }
}

/// v3 writes decimals as text and times without a zone (docs/acumatica.md §3.1, HTE).
fn style(prop: &Prop, dialect: Dialect) -> Style {
    match dialect {
        Dialect::GiV3 => Style { zone: Zone::None, quoted: true, ..prop.style },
        _ => prop.style,
    }
}

fn label(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_json_text(&mut out, name);
    out.push(b':');
    out
}

/// Splits outside of parentheses.
fn split(text: &str, by: char) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if c == by && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}
