//! What of a generated record is shown, and how it is written.

use super::model::{Entity, Member, Model, Wrapper};
use super::values::{Place, is_key, style};
use crate::config::SwitchedOff;
use crate::data::rng::salt_of;
use crate::data::value::{Val, write_guid, write_int, write_json_text};
use crate::faults::InStream;
use crate::filter::lexer::parse_time;
use crate::reply::{CHUNK, Filled, Reply, Source};
use crate::rest::shape::{Ask, STANDARD, Site, below, sub_select};
use crate::rest::write::Context;
use crate::zone::TimeZone;

/// A field outside of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Custom {
    pub view: &'static str,
    pub name: &'static str,
    pub kind: &'static str,
    wrapper: Wrapper,
}

const OF_RECORD: [Custom; 2] = [
    Custom { view: "Document", name: "UsrAmount", kind: "CustomDecimalField", wrapper: Wrapper::Decimal },
    Custom { view: "Document", name: "UsrText", kind: "CustomStringField", wrapper: Wrapper::Text },
];
const OF_DETAIL: Custom =
    Custom { view: "Transactions", name: "UsrLineNote", kind: "CustomStringField", wrapper: Wrapper::Text };

/// Every third entity has custom fields, every sixth one more in its first detail; entities in the order of their names.
pub fn custom_of(model: &Model, entity: usize) -> (&'static [Custom], Option<&str>) {
    let members = &model.records[model.entities[entity].record].members;
    let mut details = members.iter().filter(|(_, m)| matches!(m, Member::Detail(_))).map(|(n, _)| n.as_str());
    (
        if entity.is_multiple_of(3) { &OF_RECORD } else { &[] },
        details.next().filter(|_| entity.is_multiple_of(6)),
    )
}

enum Part {
    Value(Wrapper),
    /// Nothing is known, or nothing is to be said of it.
    Blank,
    Link(ShownRecord),
    Detail(ShownRecord),
    /// An expanded detail that `$select` forgot.
    EmptyDetail,
}

/// The members of a record that a request shows.
pub struct ShownRecord {
    parts: Vec<(String, Part)>,
    custom: Vec<Custom>,
    files: bool,
    zone: &'static TimeZone,
}

/// How many rows a detail has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// None to three, or no list at all.
    Random,
    /// As many, of an inquiry's results.
    Fixed(u64),
}

impl ShownRecord {
    pub fn new(model: &Model, entity: usize, ask: &Ask) -> Result<ShownRecord, Reply> {
        let record = model.entities[entity].record;
        let mut node =
            ShownRecord::build(model, record, ask.select.as_deref(), &ask.expand, &ask.inner, ask)?;
        node.files = ask.expand.iter().any(|n| n == "files")
            && ask.select.as_ref().is_none_or(|s| s.iter().any(|n| n == "files"));
        let asked = |c: &Custom| ask.custom.iter().any(|a| a.split_once('.') == Some((c.view, c.name)));
        let (of_record, detail) = custom_of(model, entity);
        // Unknown custom fields are left out without a word.
        node.custom.extend(of_record.iter().filter(|c| asked(c)));
        for (name, part) in &mut node.parts {
            if let Part::Detail(inner) = part
                && detail == Some(name)
            {
                inner.custom.extend(Some(OF_DETAIL).filter(asked));
            }
        }
        Ok(node)
    }

    /// A record without values, as a form shows it that has found nothing.
    pub fn blank(model: &Model, entity: usize, zone: &'static TimeZone) -> ShownRecord {
        let mut node = ShownRecord::fields(model, model.entities[entity].record, zone, |_| true);
        node.parts.iter_mut().for_each(|(_, part)| *part = Part::Blank);
        node
    }

    /// The fields alone, without links and details.
    fn fields(
        model: &Model,
        record: usize,
        zone: &'static TimeZone,
        selected: impl Fn(&str) -> bool,
    ) -> ShownRecord {
        let part = |(name, member): &(String, Member)| match member {
            Member::Value(wrapper) => Some((name.clone(), Part::Value(*wrapper))),
            Member::Unknown => Some((name.clone(), Part::Blank)),
            _ => None,
        };
        let parts = model.records[record].members.iter().filter(|(name, _)| selected(name)).filter_map(part);
        ShownRecord { parts: parts.collect(), custom: Vec::new(), files: false, zone }
    }

    fn build(
        model: &Model,
        record: usize,
        select: Option<&[String]>,
        expand: &[String],
        inner: &[String],
        ask: &Ask,
    ) -> Result<ShownRecord, Reply> {
        let of = &model.records[record];
        check_names(model, record, select.unwrap_or(&[]), expand, ask.site)?;
        let off = |name: &str| ask.site.off != SwitchedOff::Shown && is_off(model, record, name);
        let selected = |name: &str| select.is_none_or(|s| s.iter().any(|n| n == name)) && !off(name);
        let mut node = ShownRecord::fields(model, record, ask.site.zone, selected);
        for (name, member) in &of.members {
            let (Member::Link(to) | Member::Detail(to)) = member else { continue };
            let Some(deeper) = below(expand, name) else { continue };
            let forgotten = select.is_some_and(|s| below(s, name).is_none());
            if ask.list && forgotten && !model.contract5 && matches!(member, Member::Detail(_)) {
                node.parts.push((name.clone(), Part::EmptyDetail));
                continue;
            }
            let chosen = sub_select(select, inner, name);
            let inner = below(inner, name).unwrap_or_default();
            let part = ShownRecord::build(model, *to, chosen.as_deref(), &deeper, &inner, ask)?;
            let link = matches!(member, Member::Link(_));
            node.parts.push((name.clone(), if link { Part::Link(part) } else { Part::Detail(part) }));
        }
        node.parts.sort_by_key(|(name, _)| name.to_lowercase());
        Ok(node)
    }

    fn write(&self, place: &Place, number: u64, context: &Context, out: &mut Vec<u8>) {
        self.write_head(place.id(), number, place.note(), out);
        for (name, part) in &self.parts {
            self.write_member(name, part, place, Lines::Random, context, out);
        }
        self.write_custom(place, out);
        out.push(b'}');
    }

    /// A detail row: its id passes.
    fn write_line(&self, place: &Place, number: u64, context: &Context, out: &mut Vec<u8>) {
        self.write_head(place.id() ^ u128::from(context.passing), number, place.note(), out);
        for (name, part) in &self.parts {
            self.write_member(name, part, place, Lines::Random, context, out);
        }
        self.write_custom(place, out);
        out.push(b'}');
    }

    fn write_head(&self, id: u128, number: u64, note: Option<&'static str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        write_guid(out, id);
        out.extend_from_slice(b"\",\"rowNumber\":");
        write_int(out, number as i64);
        out.extend_from_slice(b",\"note\":");
        match note {
            Some(text) => write_value(&Val::text(text), Wrapper::Text, self.zone, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn write_member(
        &self,
        name: &str,
        part: &Part,
        place: &Place,
        lines: Lines,
        context: &Context,
        out: &mut Vec<u8>,
    ) {
        let count = match (part, lines) {
            (Part::Detail(_), Lines::Fixed(count)) => Some(count),
            (Part::Detail(_), Lines::Random) => match place.rng(&format!("{name} rows")).below(10) {
                // Not there at all.
                0 => return,
                1 => None,
                2 | 3 => Some(0),
                more => Some(1 + more % 3),
            },
            _ => None,
        };
        write_label(name, out);
        match (part, count) {
            (Part::Value(wrapper), _) => write_value(&place.value(name, *wrapper), *wrapper, self.zone, out),
            (Part::Blank, _) => out.extend_from_slice(b"{}"),
            (Part::EmptyDetail, _) => out.extend_from_slice(b"[]"),
            (Part::Link(_), _) if place.rng(&format!("{name} there")).below(8) == 0 => {
                out.extend_from_slice(b"null");
            }
            (Part::Link(node), _) => node.write(&place.link(name), 1, context, out),
            (Part::Detail(_), None) => out.extend_from_slice(b"null"),
            (Part::Detail(node), Some(count)) => {
                out.push(b'[');
                for line in 1..=count {
                    if line > 1 {
                        out.push(b',');
                    }
                    node.write_line(&place.line(name, line), line, context, out);
                }
                out.push(b']');
            }
        }
    }

    fn write_custom(&self, place: &Place, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"custom\":{");
        for (i, custom) in self.custom.iter().enumerate() {
            out.extend_from_slice(
                if i == 0 { format!("\"{}\":{{", custom.view) } else { ",".to_string() }.as_bytes(),
            );
            out.extend_from_slice(format!("\"{}\":{{\"type\":\"{}\"", custom.name, custom.kind).as_bytes());
            let value = place.value(custom.name, custom.wrapper);
            if !value.is_null() {
                out.extend_from_slice(b",\"value\":");
                value.write_json(out, style(custom.wrapper, self.zone).custom());
            }
            out.push(b'}');
        }
        out.extend_from_slice(if self.custom.is_empty() { b"}" } else { b"}}" });
    }
}

/// Whether a field is of a feature that can be switched off: one in seven that look like no key.
fn is_off(model: &Model, record: usize, name: &str) -> bool {
    let of = &model.records[record];
    matches!(of.member(name), Some(Member::Value(_)))
        && !is_key(name)
        && salt_of(&[name, "off"]).is_multiple_of(7)
}

fn check_names(
    model: &Model,
    record: usize,
    select: &[String],
    expand: &[String],
    site: Site,
) -> Result<(), Reply> {
    let of = &model.records[record];
    let first = |path: &String| path.split('/').next().unwrap_or("").to_string();
    let refused = |name: &String| site.off == SwitchedOff::Refused && is_off(model, record, name);
    let unknown =
        |name: &String| (of.member(name).is_none() || refused(name)) && !STANDARD.contains(&name.as_str());
    let fixed = |name: &String| {
        !matches!(of.member(name), Some(Member::Link(_) | Member::Detail(_))) && name != "files"
    };
    let wrong = select.iter().map(first).find(unknown).or_else(|| expand.iter().map(first).find(fixed));
    wrong.map_or(Ok(()), |_| Err(Reply::unknown_field()))
}

fn write_label(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_json_text(out, name);
    out.push(b':');
}

fn write_value(value: &Val, wrapper: Wrapper, zone: &'static TimeZone, out: &mut Vec<u8>) {
    match value {
        Val::Null => out.extend_from_slice(b"{}"),
        Val::Choice(choice) => {
            out.extend_from_slice(b"{\"value\":{\"id\":");
            write_json_text(out, choice.code);
            out.extend_from_slice(b",\"description\":");
            write_json_text(out, choice.label);
            out.extend_from_slice(b"}}");
        }
        _ => {
            out.extend_from_slice(b"{\"value\":");
            value.write_json(out, style(wrapper, zone));
            out.push(b'}');
        }
    }
}

/// A record at the top: with links, and with files if they are shown. One record in ten has an attachment.
pub fn write_top(
    node: &ShownRecord,
    entity: &Entity,
    place: &Place,
    row: u64,
    number: u64,
    context: &Context,
    out: &mut Vec<u8>,
) {
    node.write(place, number, context, out);
    // What follows belongs inside the braces.
    out.pop();
    let (root, name) = (&context.root, &entity.name);
    let mut id = Vec::new();
    write_guid(&mut id, place.id());
    let id = String::from_utf8_lossy(&id).into_owned();
    let links = format!(
        ",\"_links\":{{\"self\":\"{root}/{name}/{id}\",\
         \"files:put\":\"{root}/files/PX.Objects.Generated.{name}Maint/Document/{id}/{{filename}}\"}}"
    );
    out.extend_from_slice(links.as_bytes());
    if node.files {
        out.extend_from_slice(b",\"files\":[");
        if row.is_multiple_of(10) {
            let file = format!(
                "{{\"id\":\"{id}\",\"filename\":\"{name}\\\\spec.pdf\",\"href\":\"{root}/files/{id}\"}}"
            );
            out.extend_from_slice(file.as_bytes());
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// A date as the form understands it, shown as a midnight of the site: `6/7/2016` too (docs/acumatica.md §2.3, HTE).
/// Ours: that one with another offset is the day of the site at that moment.
fn day(text: &str, zone: &TimeZone) -> Option<Val> {
    if let Some(value) = parse_time(text, Some(zone)) {
        return Some(value);
    }
    let mut parts = text.split('/').map(|p| p.parse::<u32>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    let date = parse_time(&format!("{year:04}-{month:02}-{day:02}"), Some(zone));
    date.filter(|_| parts.next().is_none())
}

/// The answer of an inquiry form: the parameters as they were given, and the lists that are expanded, with so many
/// rows each.
pub fn write_form(
    node: &ShownRecord,
    given: &serde_json::Value,
    place: &Place,
    rows: u64,
    context: &Context,
    out: &mut Vec<u8>,
) {
    node.write_head(1, 1, None, out);
    for (name, part) in &node.parts {
        match (part, &given[name]["value"]) {
            (Part::Value(wrapper), value) if !value.is_null() => {
                write_label(name, out);
                match value.as_str().and_then(|t| day(t, node.zone)).filter(|_| *wrapper == Wrapper::DateTime)
                {
                    Some(day) => write_value(&day, *wrapper, node.zone, out),
                    None => out.extend_from_slice(format!("{{\"value\":{value}}}").as_bytes()),
                }
            }
            (Part::Value(_), _) => node.write_member(name, &Part::Blank, place, Lines::Random, context, out),
            _ => node.write_member(name, part, place, Lines::Fixed(rows), context, out),
        }
    }
    out.extend_from_slice(b",\"custom\":{}}");
}

/// The record of `$adHocSchema`: fields without values, custom fields with their types, those of a detail inside it.
pub fn write_template(model: &Model, entity: usize, out: &mut Vec<u8>) {
    let (of_record, detail) = custom_of(model, entity);
    let record = model.entities[entity].record;
    write_blank(model, record, of_record, detail, out);
    out.pop();
    out.extend_from_slice(b",\"files\":[]}");
}

fn write_blank(model: &Model, record: usize, custom: &[Custom], detail: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"00000000-0000-0000-0000-000000000000\",\"rowNumber\":1,\"note\":null");
    for (name, member) in &model.records[record].members {
        match member {
            Member::Value(_) | Member::Unknown => {
                write_label(name, out);
                out.extend_from_slice(b"{}");
            }
            Member::Detail(child) if detail == Some(name) => {
                write_label(name, out);
                out.push(b'[');
                write_blank(model, *child, &[OF_DETAIL], None, out);
                out.push(b']');
            }
            _ => {}
        }
    }
    let fields: Vec<String> =
        custom.iter().map(|c| format!("\"{}\":{{\"type\":\"{}\"}}", c.name, c.kind)).collect();
    let view = custom.first().map(|c| format!("\"{}\":{{{}}}", c.view, fields.join(",")));
    out.extend_from_slice(format!(",\"custom\":{{{}}}}}", view.unwrap_or_default()).as_bytes());
}

/// The bare array of a list.
pub struct GeneratedRows {
    pub node: ShownRecord,
    pub entity: Entity,
    pub seed: u64,
    pub context: Context,
    pub rows: std::ops::Range<u64>,
    pub number: u64,
    pub error: Option<InStream>,
}

impl Source for GeneratedRows {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        let mut rows = 0;
        while rows < max_rows && out.len() < CHUNK {
            let next = self.rows.next();
            if let Some(error) = self.error.take_if(|e| e.after == self.number || next.is_none()) {
                if self.number == 0 {
                    out.push(b'[');
                }
                error.write(self.number, "]", "", out);
                return Filled::Done;
            }
            let Some(row) = next else {
                out.extend_from_slice(if self.number == 0 { b"[]" } else { b"]" });
                return Filled::Done;
            };
            out.push(if self.number == 0 { b'[' } else { b',' });
            self.number += 1;
            let place = Place::top(self.seed, &self.entity.name, row);
            write_top(&self.node, &self.entity, &place, row, self.number, &self.context, out);
            rows += 1;
        }
        Filled::Rows(rows)
    }
}
