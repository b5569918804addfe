//! The fields of a form that the contract lacks (docs/acumatica.md §2.1, HTE), and the object `custom` that has them.

use crate::data::rng::{Rng, salt_of};
use crate::data::schema::Table;
use crate::data::value::{Kind, Val, write_json_text};

/// A field of a form that the contract lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormField {
    pub view: &'static str,
    pub name: String,
    pub kind: Kind,
}

const BEFORE: &[&str] = &["Base", "Dflt", "Last", "Pending", "Std", "Prev", "Alt", "Min", "Max", "Ext"];
const BEHIND: &[(&str, Kind)] = &[
    ("SiteID", Kind::Text),
    ("AcctID", Kind::Text),
    ("Price", Kind::Dec(6)),
    ("Required", Kind::Bool),
    ("UnitFactor", Kind::Int),
    ("PriceDate", Kind::Date),
    ("ClassID_description", Kind::Text),
    ("LotSerNbr", Kind::Text),
];

/// So many fields of a view. Their names are ours, in the manner of the real ones.
fn of_view(view: &'static str, count: usize) -> impl Iterator<Item = FormField> {
    let fixed = [
        ("NoteText", Kind::Text),
        ("NotePopupTextExists", Kind::Bool),
        ("CreatedByID_description", Kind::Text),
    ];
    let fixed = fixed.into_iter().map(|(name, kind)| (name.to_string(), kind));
    let made = BEFORE.iter().flat_map(|a| BEHIND.iter().map(move |(b, kind)| (format!("{a}{b}"), *kind)));
    fixed.chain(made).take(count).map(move |(name, kind)| FormField { view, name, kind })
}

/// The fields beside customizations that a form has and the contract lacks.
pub fn fields(of: &Table) -> Vec<FormField> {
    match of.name {
        // As recorded (HTE, 2022 R2).
        "StockItem" => of_view("ItemSettings", 77)
            .chain(of_view("Item", 4))
            .chain(of_view("CurySettings_InventoryItem", 10))
            .collect(),
        _ if of.is_entity() => of_view(of.view, 12).collect(),
        _ => of_view(of.view, 3).collect(),
    }
}

impl FormField {
    /// Of a row; one in four has none.
    pub fn value(&self, salt: u64, row: u64) -> Val {
        let mut rng = Rng::new(salt, salt_of(&[self.view, &self.name]), row);
        if rng.below(4) == 0 {
            return Val::Null;
        }
        match self.kind {
            Kind::Bool => Val::Bool(rng.below(2) == 0),
            Kind::Int => Val::Int(rng.below(1000) as i64),
            Kind::Dec(scale) => Val::Dec(i128::from(rng.below(1_000_000_000)), scale),
            Kind::Date => Val::Date(18_000 + rng.below(2000) as i32),
            _ => Val::text(format!("{}-{}", self.name, rng.below(100))),
        }
    }
}

/// The object under `custom`: views, and in each its fields with type and value (as JSON).
pub fn write_custom<'a>(fields: impl Iterator<Item = (&'a FormField, Vec<u8>)>, out: &mut Vec<u8>) {
    let mut view: Option<&str> = None;
    out.push(b'{');
    let mut fields: Vec<_> = fields.collect();
    // Fields of one view stand together.
    let mut views: Vec<&str> = Vec::new();
    for (field, _) in &fields {
        if !views.contains(&field.view) {
            views.push(field.view);
        }
    }
    fields.sort_by_key(|(field, _)| views.iter().position(|v| *v == field.view));
    for (field, value) in &fields {
        if view != Some(field.view) {
            out.extend_from_slice(if view.is_some() { b"}," } else { b"" });
            write_json_text(out, field.view);
            out.extend_from_slice(b":{");
        } else {
            out.push(b',');
        }
        view = Some(field.view);
        write_json_text(out, &field.name);
        out.extend_from_slice(format!(":{{\"type\":\"{}\"", custom_type(field.kind)).as_bytes());
        if !value.is_empty() {
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }
    out.extend_from_slice(if view.is_some() { b"}}" } else { b"}" });
}

/// The name of the wrapper type of a custom field.
fn custom_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice | Kind::Binary => "CustomStringField",
        Kind::Int => "CustomIntField",
        Kind::Short => "CustomShortField",
        Kind::Long => "CustomLongField",
        Kind::Byte => "CustomByteField",
        Kind::Dec(_) => "CustomDecimalField",
        Kind::Double => "CustomDoubleField",
        Kind::Bool => "CustomBooleanField",
        Kind::Date | Kind::Ts => "CustomDateTimeField",
        Kind::Guid => "CustomGuidField",
    }
}
