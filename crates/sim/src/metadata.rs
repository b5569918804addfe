//! `$metadata` of OData, as XML (acumatica-api.md §3).

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

fn namespace(dialect: Dialect) -> &'static str {
    if dialect == Dialect::Dac { "PX.Data" } else { "GI" }
}

fn entity_type(out: &mut String, views: &[View], view: &View, dialect: Dialect) {
    let _ = write!(out, "<EntityType Name=\"{}\"><Key>", escape(&view.type_name()));
    for key in &view.keys {
        let _ = write!(out, "<PropertyRef Name=\"{}\"/>", view.props[*key].name);
    }
    out.push_str("</Key>");
    for (i, prop) in view.props.iter().enumerate() {
        let (name, kind) = (prop.name, edm(prop.field.kind, dialect));
        let _ = write!(out, "<Property Name=\"{name}\" Type=\"{kind}\"");
        if let Kind::Dec(scale) = prop.field.kind {
            let _ = write!(out, " Precision=\"38\" Scale=\"{scale}\"");
        }
        if view.keys.contains(&i) {
            out.push_str(" Nullable=\"false\"");
        }
        if dialect == Dialect::Dac {
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
        let target = format!("{}.{}", namespace(dialect), views[nav.view].type_name());
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

/// `FilterRestrictions.NonFilterableProperties` of a set.
fn restrictions(out: &mut String, view: &View) {
    let refused: Vec<_> = view.props.iter().filter(|p| p.refused).collect();
    if refused.is_empty() {
        return;
    }
    out.push_str("<Annotation Term=\"Org.OData.Capabilities.V1.FilterRestrictions\"><Record>");
    out.push_str("<PropertyValue Property=\"NonFilterableProperties\"><Collection>");
    for prop in refused {
        let _ = write!(out, "<PropertyPath>{}</PropertyPath>", prop.name);
    }
    out.push_str("</Collection></PropertyValue></Record></Annotation>");
}

/// The whole document. Functions of inquiries with parameters keep the inquiry's name, spaces and all, which CSDL
/// forbids: real sites do the same.
pub fn document(views: &[View], dialect: Dialect, filler: usize) -> String {
    let (v3, space) = (dialect == Dialect::GiV3, namespace(dialect));
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
    let _ = write!(out, "<Schema Namespace=\"{space}\" xmlns=\"{edm_space}\">");
    let listed = || views.iter().filter(|v| !v.unlisted);
    for view in listed() {
        entity_type(&mut out, views, view, dialect);
    }
    (0..filler).for_each(|i| filler::entity_type(&mut out, space, i, filler));
    let function = |view: &View| escape(&format!("{}_WithParameters", view.name));
    let with_parameters = || listed().filter(|v| !v.params.is_empty());
    if !v3 {
        for view in with_parameters() {
            let _ = write!(out, "<Function Name=\"{}\">", function(view));
            for (name, field) in &view.params {
                let _ = write!(out, "<Parameter Name=\"{name}\" Type=\"{}\"/>", edm(field.kind, dialect));
            }
            let _ = write!(out, "<ReturnType Type=\"Collection({space}.{})\"/></Function>", view.type_name());
        }
    }
    let default = if v3 { " m:IsDefaultEntityContainer=\"true\"" } else { "" };
    let _ = write!(out, "<EntityContainer Name=\"Default\"{default}>");
    for view in listed() {
        for name in [Some(view.name.as_str()), view.alias].into_iter().flatten() {
            let kind = format!("{space}.{}", view.type_name());
            let _ = write!(out, "<EntitySet Name=\"{}\" EntityType=\"{}\">", escape(name), escape(&kind));
            for nav in view.navs.iter().filter(|_| !v3) {
                let target = &views[nav.view].name;
                let _ = write!(out, "<NavigationPropertyBinding Path=\"{}\" Target=\"{target}\"/>", nav.name);
            }
            restrictions(&mut out, view);
            out.push_str("</EntitySet>");
        }
    }
    (0..filler).for_each(|i| filler::entity_sets(&mut out, space, i, filler));
    for view in with_parameters() {
        let (name, set) = (function(view), escape(&view.name));
        if v3 {
            let _ = write!(
                out,
                "<FunctionImport Name=\"{name}\" EntitySet=\"{set}\" ReturnType=\"Collection({space}.{})\">",
                view.type_name()
            );
            for (name, field) in &view.params {
                let _ = write!(out, "<Parameter Name=\"{name}\" Type=\"{}\"/>", edm(field.kind, dialect));
            }
            out.push_str("</FunctionImport>");
        } else {
            let _ = write!(
                out,
                "<FunctionImport Name=\"{name}\" Function=\"{space}.{name}\" EntitySet=\"{set}\" \
                 IncludeInServiceDocument=\"true\"/>"
            );
        }
    }
    out.push_str("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>");
    out
}
