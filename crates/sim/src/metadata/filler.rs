//! Types without rows, that make the metadata of the DACs as long as that of a real site: 2,265 types with 42,288
//! properties in some 20 MB (docs/acumatica.md §3).

use std::fmt::Write;

const LONG: &str = "PX_Objects_Filler_FillerType";
const SHORT: &str = "FillerType";
pub const SPACE: &str = "PX.Objects.Filler";
const KINDS: [&str; 6] =
    ["Edm.String", "Edm.Decimal", "Edm.DateTimeOffset", "Edm.Boolean", "Edm.Guid", "Edm.Int32"];
/// Navigation of a type: to one row by these of its properties, and to many.
const TO_ONE: [usize; 3] = [5, 11, 17];
const TO_MANY: usize = 4;

pub fn name(number: usize) -> String {
    format!("{LONG}{number:04}")
}

/// In `SPACE`.
fn type_name(number: usize) -> String {
    format!("FillerType{number:04}")
}

fn alias(number: usize) -> String {
    format!("{SHORT}{number:04}")
}

/// Whether a set has this name, long or short, when there are so many.
pub fn is_filler(set: &str, count: usize) -> bool {
    let digits = set.strip_prefix(LONG).or_else(|| set.strip_prefix(SHORT));
    let number = digits.and_then(|d| d.parse::<usize>().ok()).filter(|n| *n < count);
    number.is_some_and(|n| set == name(n) || set == alias(n))
}

/// Beside its key. With this the average is that of a real site.
fn properties(number: usize) -> usize {
    if number.is_multiple_of(5) { 17 } else { 18 }
}

fn property(number: usize) -> String {
    format!("UsrFillerColumn{number:02}OfTheExtension")
}

/// The type a navigation leads to.
fn target(number: usize, nav: usize, count: usize) -> usize {
    (number * 7 + nav * 31 + 1) % count
}

fn nav_name(nav: usize) -> String {
    format!("FillerRecordBy{}", property(nav))
}

pub fn entity_type(out: &mut String, number: usize, count: usize) {
    let _ = write!(
        out,
        "<EntityType Name=\"{}\"><Key><PropertyRef Name=\"RecordID\"/></Key>\
         <Property Name=\"RecordID\" Type=\"Edm.Int32\" Nullable=\"false\">\
         <Annotation Term=\"Org.OData.Core.V1.Description\" String=\"Record ID\"/>\
         <Annotation Term=\"Org.OData.Core.V1.Computed\" Bool=\"true\"/></Property>",
        type_name(number)
    );
    for i in 1..=properties(number) {
        let (name, kind) = (property(i), KINDS[i % KINDS.len()]);
        let _ = write!(
            out,
            "<Property Name=\"{name}\" Type=\"{kind}\">\
             <Annotation Term=\"Org.OData.Core.V1.Description\" String=\"Amount &amp; Text {i} of the Extension\"/>\
             <Annotation Term=\"Org.OData.Core.V1.LongDescription\" String=\"Column {i} of type {number}, \
             &lt;{name}&gt;\"/></Property>"
        );
    }
    for nav in TO_ONE.into_iter().filter(|nav| *nav <= properties(number)) {
        let _ = write!(
            out,
            "<NavigationProperty Name=\"{}\" Type=\"{SPACE}.{}\"><ReferentialConstraint Property=\"{}\" \
             ReferencedProperty=\"RecordID\"/></NavigationProperty>",
            nav_name(nav),
            type_name(target(number, nav, count)),
            property(nav)
        );
    }
    for nav in 1..=TO_MANY {
        let target = type_name(target(number, nav + 100, count));
        let _ = write!(
            out,
            "<NavigationProperty Name=\"{target}Collection{nav}\" Type=\"Collection({SPACE}.{target})\"/>"
        );
    }
    out.push_str("</EntityType>");
}

/// The set under both of its names.
pub fn entity_sets(out: &mut String, number: usize, count: usize) {
    for set in [name(number), alias(number)] {
        let _ = write!(out, "<EntitySet Name=\"{set}\" EntityType=\"{SPACE}.{}\">", type_name(number));
        for nav in TO_ONE.into_iter().filter(|nav| *nav <= properties(number)) {
            let target = name(target(number, nav, count));
            let _ =
                write!(out, "<NavigationPropertyBinding Path=\"{}\" Target=\"{target}\"/>", nav_name(nav));
        }
        for nav in 1..=TO_MANY {
            let target = target(number, nav + 100, count);
            let _ = write!(
                out,
                "<NavigationPropertyBinding Path=\"{}Collection{nav}\" Target=\"{}\"/>",
                type_name(target),
                name(target)
            );
        }
        let _ = write!(
            out,
            "<Annotation Term=\"Org.OData.Capabilities.V1.FilterRestrictions\"><Record><PropertyValue \
             Property=\"NonFilterableProperties\"><Collection><PropertyPath>{}</PropertyPath></Collection>\
             </PropertyValue></Record></Annotation></EntitySet>",
            property(3)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_have_a_set_under_two_names() {
        for set in ["PX_Objects_Filler_FillerType0007", "FillerType0007"] {
            assert!(is_filler(set, 8), "{set}");
            assert!(!is_filler(set, 7), "{set}");
        }
        for set in ["FillerType7", "FillerType00007", "FillerType+007", "Filler0007", "FillerType"] {
            assert!(!is_filler(set, 8), "{set}");
        }
        assert!(is_filler("FillerType12345", 20_000));
    }
}
