//! `$metadata` of OData, as XML (docs/acumatica.md §3).

pub mod filler;

use std::fmt::Write;

use crate::data::value::Kind;
use crate::filter::Dialect;
use crate::views::{Nav, NavTo, Prop, View};

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn edm(kind: Kind, dialect: Dialect) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice => "Edm.String",
        Kind::Int => "Edm.Int32",
        Kind::Short => "Edm.Int16",
        Kind::Byte => "Edm.Byte",
        Kind::Long => "Edm.Int64",
        Kind::Dec(_) => "Edm.Decimal",
        Kind::Double => "Edm.Double",
        Kind::Bool => "Edm.Boolean",
        Kind::Date | Kind::Ts if dialect == Dialect::GiV3 => "Edm.DateTime",
        Kind::Date | Kind::Ts => "Edm.DateTimeOffset",
        Kind::Guid => "Edm.Guid",
        Kind::Binary => "Edm.Binary",
    }
}

/// `CustomerName` as a screen shows it: `Customer Name`.
fn display_name(name: &str) -> String {
    let mut out = String::new();
    let mut before = 'A';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Generic inquiries: docs/acumatica.md §3.1 (HTE) and §3.2 (DOC).
fn namespace(view: &View, dialect: Dialect) -> &str {
    match dialect {
        Dialect::Dac => view.class.0,
        Dialect::GiV3 => "PX.Data",
        _ => "GenericInquiry",
    }
}

/// The name of the entity type in its namespace.
fn type_name(view: &View, dialect: Dialect) -> String {
    if dialect == Dialect::Dac { view.class.1.to_string() } else { view.type_name() }
}

fn full_name(view: &View, dialect: Dialect) -> String {
    escape(&format!("{}.{}", namespace(view, dialect), type_name(view, dialect)))
}

fn entity_type(out: &mut String, views: &[View], view: &View, dialect: Dialect) {
    let _ = write!(out, "<EntityType Name=\"{}\"", escape(&type_name(view, dialect)));
    let inherited = |prop: &Prop| view.base.is_some_and(|b| views[b].prop(prop.name).is_some());
    if let Some(base) = view.base {
        // The key is that of the base (docs/acumatica.md §3.4, SK).
        let _ = write!(out, " BaseType=\"{}\">", full_name(&views[base], dialect));
    } else if view.keys.is_empty() {
        out.push('>');
    } else {
        out.push_str("><Key>");
        for key in &view.keys {
            let _ = write!(out, "<PropertyRef Name=\"{}\"/>", view.props[*key].name);
        }
        out.push_str("</Key>");
    }
    for (i, prop) in view.props.iter().enumerate().filter(|(_, p)| !inherited(p)) {
        let (name, kind) = (prop.name, edm(prop.field.kind, dialect));
        let _ = write!(out, "<Property Name=\"{name}\" Type=\"{kind}\"");
        // Inquiries have neither a precision nor anything that cannot be null, keys included (§3.1, HTE).
        if dialect == Dialect::Dac {
            if matches!(prop.field.kind, Kind::Dec(_)) {
                out.push_str(" Scale=\"Variable\"");
            }
            if view.keys.contains(&i) {
                out.push_str(" Nullable=\"false\"");
            }
            let caption = display_name(name);
            let _ = write!(
                out,
                "><Annotation Term=\"Org.OData.Core.V1.Description\" String=\"{caption}\"/></Property>"
            );
        } else {
            out.push_str("/>");
        }
    }
    for nav in &view.navs {
        let target = full_name(&views[nav.view], dialect);
        let target = if matches!(nav.to, NavTo::Many(_)) { format!("Collection({target})") } else { target };
        let _ = write!(out, "<NavigationProperty Name=\"{}\" Type=\"{target}\"", nav.name);
        match constraints(view, nav, &views[nav.view]) {
            Some(pairs) => {
                out.push('>');
                for (from, to) in pairs {
                    let _ = write!(
                        out,
                        "<ReferentialConstraint Property=\"{from}\" ReferencedProperty=\"{to}\"/>"
                    );
                }
                out.push_str("</NavigationProperty>");
            }
            None => out.push_str("/>"),
        }
    }
    out.push_str("</EntityType>");
}

/// For each key of the target the property of the same value, if this view has all of them.
fn constraints<'a>(view: &'a View, nav: &Nav, target: &'a View) -> Option<Vec<(&'a str, &'a str)>> {
    let NavTo::One(link) = nav.to else { return None };
    let pair = |key: &usize| {
        let key = &target.props[*key];
        let same = |prop: &&Prop| {
            let (here, there) = (&prop.field.access, &key.field.access);
            let hops = here.hops.split_first();
            hops == Some((&(view.table, link), &there.hops[..]))
                && (here.table, here.col) == (there.table, there.col)
        };
        Some((view.props.iter().find(same)?.name, key.name))
    };
    target.keys.iter().map(pair).collect()
}

/// `FilterRestrictions` of a set: `NonFilterableProperties`, or `Filterable=false` (docs/acumatica.md §3.4, SK).
fn restrictions(out: &mut String, view: &View) {
    let refused: Vec<_> = view.props.iter().filter(|p| p.refused).collect();
    if refused.is_empty() {
        return;
    }
    out.push_str("<Annotation Term=\"Org.OData.Capabilities.V1.FilterRestrictions\"><Record>");
    if view.unfilterable {
        out.push_str("<PropertyValue Property=\"Filterable\" Bool=\"false\"/></Record></Annotation>");
        return;
    }
    out.push_str("<PropertyValue Property=\"NonFilterableProperties\"><Collection>");
    for prop in refused {
        let _ = write!(out, "<PropertyPath>{}</PropertyPath>", prop.name);
    }
    out.push_str("</Collection></PropertyValue></Record></Annotation>");
}

/// The whole document. Functions of inquiries with parameters have the inquiry's own name, with characters that CSDL
/// forbids (docs/acumatica.md §3.2, DOC).
pub fn document(views: &[View], dialect: Dialect, filler: usize) -> String {
    let v3 = dialect == Dialect::GiV3;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>");
    out.push_str(if v3 {
        "<edmx:Edmx Version=\"1.0\" xmlns:edmx=\"http://schemas.microsoft.com/ado/2007/06/edmx\"><edmx:DataServices \
         m:DataServiceVersion=\"3.0\" m:MaxDataServiceVersion=\"3.0\" \
         xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\">"
    } else {
        "<edmx:Edmx Version=\"4.0\" xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\"><edmx:DataServices>"
    });
    let edm_space = match v3 {
        true => "http://schemas.microsoft.com/ado/2009/11/edm",
        false => "http://docs.oasis-open.org/odata/ns/edm",
    };
    let listed: Vec<&View> = views.iter().filter(|v| !v.unlisted).collect();
    // One schema for each namespace (docs/acumatica.md §3.4, SK).
    let mut spaces: Vec<&str> = listed.iter().map(|v| namespace(v, dialect)).collect();
    spaces.sort_unstable();
    spaces.dedup();
    for space in &spaces {
        let _ = write!(out, "<Schema Namespace=\"{space}\" xmlns=\"{edm_space}\">");
        for view in listed.iter().filter(|v| namespace(v, dialect) == *space) {
            entity_type(&mut out, views, view, dialect);
        }
        if dialect == Dialect::Dac {
            out.push_str("</Schema>");
        }
    }
    if dialect == Dialect::Dac {
        if filler > 0 {
            let _ = write!(out, "<Schema Namespace=\"{}\" xmlns=\"{edm_space}\">", filler::SPACE);
            (0..filler).for_each(|i| filler::entity_type(&mut out, i, filler));
            out.push_str("</Schema>");
        }
        let _ = write!(out, "<Schema Namespace=\"Default\" xmlns=\"{edm_space}\">");
        out.push_str("<EntityContainer Name=\"Container\">");
        listed.iter().for_each(|view| sets(&mut out, views, view, dialect));
        (0..filler).for_each(|i| filler::entity_sets(&mut out, i, filler));
    } else {
        inquiries(&mut out, views, &listed, dialect);
    }
    out.push_str("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>");
    out
}

/// The set of a view under each of its names, or its singleton.
fn sets(out: &mut String, views: &[View], view: &View, dialect: Dialect) {
    let kind = full_name(view, dialect);
    for name in view.set_names() {
        if view.singleton {
            let _ = write!(out, "<Singleton Name=\"{name}\" Type=\"{kind}\"/>");
            continue;
        }
        let _ = write!(out, "<EntitySet Name=\"{}\" EntityType=\"{kind}\">", escape(name));
        for nav in &view.navs {
            let target = &views[nav.view].name;
            let _ = write!(out, "<NavigationPropertyBinding Path=\"{}\" Target=\"{target}\"/>", nav.name);
        }
        restrictions(out, view);
        out.push_str("</EntitySet>");
    }
}

/// Functions and container of generic inquiries: v4 as the vendor's guide has them (DOC), v3 as recorded (HTE).
fn inquiries(out: &mut String, views: &[View], listed: &[&View], dialect: Dialect) {
    let v3 = dialect == Dialect::GiV3;
    let with_parameters = || listed.iter().filter(|v| !v.params.is_empty());
    let parameters = |out: &mut String, view: &View| {
        for (name, field) in &view.params {
            let _ = write!(out, "<Parameter Name=\"{name}\" Type=\"{}\"/>", edm(field.kind, dialect));
        }
    };
    if !v3 {
        for view in with_parameters() {
            let _ = write!(out, "<Function Name=\"{}\">", escape(&view.name));
            parameters(out, view);
            let _ = write!(
                out,
                "<ReturnType Type=\"Collection({})\" Nullable=\"false\"/></Function>",
                full_name(view, dialect)
            );
        }
    }
    let default = if v3 { " m:IsDefaultEntityContainer=\"true\"" } else { "" };
    let _ = write!(out, "<EntityContainer Name=\"Default\"{default}>");
    listed.iter().for_each(|view| sets(out, views, view, dialect));
    for view in with_parameters() {
        let (import, set) = (escape(&view.import), escape(&view.name));
        if v3 {
            let _ = write!(
                out,
                "<FunctionImport Name=\"{import}\" ReturnType=\"Collection({})\" IsSideEffecting=\"false\" \
                 EntitySet=\"{set}\">",
                full_name(view, dialect)
            );
            parameters(out, view);
            out.push_str("</FunctionImport>");
        } else {
            let _ = write!(
                out,
                "<FunctionImport Name=\"{import}\" Function=\"{}.{}\" EntitySet=\"{set}\"/>",
                namespace(view, dialect),
                escape(&view.name)
            );
        }
    }
}

/// The service document of v3 as Atom, as recorded (HTE).
pub fn atom(root: &str, names: &[(String, bool)]) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><service xml:base=\"{}/\" xmlns=\"http://www.w3.org/2007/app\" \
         xmlns:atom=\"http://www.w3.org/2005/Atom\"><workspace><atom:title type=\"text\">Default</atom:title>",
        escape(root)
    );
    for (name, _) in names {
        let name = escape(name);
        let _ = write!(
            out,
            "<collection href=\"{name}\"><atom:title type=\"text\">{name}</atom:title></collection>"
        );
    }
    out.push_str("</workspace></service>");
    out
}
