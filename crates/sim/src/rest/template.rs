//! `$adHocSchema` (docs/acumatica.md §2.1, HTE): under `custom` a real template lists all fields that the contract lacks,
//! customizations or not: 91 for StockItem.

use super::form::{FormField, fields, write_custom};
use super::shape::Site;
use super::write::{Context, write_links};
use crate::data::schema::{Role, SCHEMA, Table};
use crate::data::value::{write_guid, write_json_text};

/// The template of an entity: fields without values, linked entities, one row of each detail, `custom`, links.
pub fn write_template(table: usize, site: Site, context: &Context, out: &mut Vec<u8>) {
    write_blank(table, site, true, out);
    out.pop();
    write_links(&SCHEMA.tables[table], 0, context, out);
    out.push(b'}');
}

enum TemplateMember {
    Field,
    Link(usize),
    Detail(usize),
}

/// Linked entities have nothing under `custom`. Ours: no template with a linked entity has been recorded.
fn write_blank(table: usize, site: Site, customized: bool, out: &mut Vec<u8>) {
    let of = &SCHEMA.tables[table];
    let fields = of.cols.iter().filter(|c| !c.hidden && !c.custom).map(|c| (c.name, TemplateMember::Field));
    let links = of.links.iter().filter(|l| l.rest).map(|l| (l.name, TemplateMember::Link(l.to)));
    let details = of.details.iter().filter(|d| d.rest).map(|d| (d.name, TemplateMember::Detail(d.child)));
    let mut members: Vec<(&str, TemplateMember)> = fields.chain(links).chain(details).collect();
    if let Role::Inquiry { results } = of.role {
        members.push(("Results", TemplateMember::Detail(results)));
    }
    members.sort_by_key(|(name, _)| name.to_lowercase());
    out.extend_from_slice(b"{\"id\":\"");
    write_guid(out, 0);
    out.extend_from_slice(b"\",\"rowNumber\":1,\"note\":null");
    for (name, member) in members {
        out.push(b',');
        write_json_text(out, name);
        out.push(b':');
        match member {
            TemplateMember::Field => out.extend_from_slice(b"{}"),
            TemplateMember::Link(to) => write_blank(to, site, false, out),
            TemplateMember::Detail(child) => {
                out.push(b'[');
                write_blank(child, site, true, out);
                out.push(b']');
            }
        }
    }
    let columns = of.cols.iter().filter(|c| c.custom && customized);
    let mut custom: Vec<FormField> =
        columns.map(|c| FormField { view: of.view, name: c.name.to_string(), kind: c.kind }).collect();
    if site.whole_forms && customized {
        custom.extend(fields_beside(of, &custom));
    }
    out.extend_from_slice(b",\"custom\":");
    write_custom(custom.iter().map(|f| (f, b"null".to_vec())), out);
    out.push(b'}');
}

fn fields_beside(of: &Table, custom: &[FormField]) -> Vec<FormField> {
    let mut all = fields(of);
    all.retain(|f| !custom.iter().any(|c| c.view == f.view && c.name == f.name));
    all
}
