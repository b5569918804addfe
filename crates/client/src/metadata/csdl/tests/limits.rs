//! Documents that are larger than any that is known.

use super::*;
use crate::metadata::csdl::document::{MAX_DEPTH, MAX_HOLDERS};
use crate::metadata::csdl::reader::MAX_EVENT;

#[test]
fn no_part_may_be_too_long() {
    let long = "x".repeat(MAX_EVENT as usize);
    for (start, end) in [
        ("<!--", "-->"),
        ("<A B='", "'/>"),
        ("", ""),
        ("<?", "?>"),
        ("<![CDATA[", "]]>"),
        ("<!DOCTYPE ", ">"),
    ] {
        assert!(fails(document(&format!("{start}{long}{end}"), SET)).contains("1 MiB"), "{start}");
    }
    fails(document(&format!("<{long}/>"), SET));
    fails(document(&format!("<{}/>", "x".repeat(MAX_NAME + 1)), SET));
    fails(format!("<Schema>{}", "<a>".repeat(MAX_DEPTH)));
}

#[test]
fn names_of_absurd_length_are_left_out() {
    let long = "x".repeat(MAX_NAME + 1);
    let types = format!(
        r#"<EntityType Name="{long}"><Property Name="A" Type="Edm.String"/></EntityType><EntityType Name="T">
        <Property Name="{long}" Type="Edm.String"/><Property Name="A" Type="Edm.String"><Annotation
        Term="Core.Description" String="{long}{long}"/></Property></EntityType>"#
    );
    let model = model(&types, &format!("{SET}<EntitySet Name=\"{long}\" EntityType=\"NS.T\"/>"));
    assert_eq!(model.sets.len(), 1);
    assert_eq!(names(&model.sets[0].properties), ["A"]);
    assert_eq!(model.sets[0].properties[0].title.as_ref().map(String::len), Some(MAX_NAME));
    assert_eq!(model.faults.len(), 3);
    assert!(model.faults.iter().all(|fault| fault.len() < 300));
}

#[test]
fn too_many_types_are_an_error() {
    assert!(fails(document(&"<EnumType Name='E'/>".repeat(MAX_HOLDERS + 1), "")).contains("200,000"));
}

/// Each of many types inherits all properties of a large one.
#[test]
fn types_that_multiply_are_an_error() {
    let columns: String = (0..5_000).map(|at| format!("<Property Name='P{at}' Type='Edm.Int32'/>")).collect();
    let heirs: String = (0..5_000).map(|at| format!("<EntityType Name='T{at}' BaseType='NS.B'/>")).collect();
    let sets: String =
        (0..5_000).map(|at| format!("<EntitySet Name='S{at}' EntityType='NS.T{at}'/>")).collect();
    let types = format!("<EntityType Name='B'>{columns}</EntityType>{heirs}");
    assert!(fails(document(&types, &sets)).contains("too often"));
}

/// As large as the largest document known (docs/acumatica.md section 3).
fn large() -> String {
    use std::fmt::Write;
    let (mut types, mut sets) = (String::new(), String::new());
    for at in 0..2_265 {
        write!(
            types,
            "<EntityType Name=\"PX_Objects_Module{at}_Table{at}\"><Key><PropertyRef Name=\"Column0\"/></Key>"
        )
        .unwrap();
        for column in 0..if at < 1_518 { 19 } else { 18 } {
            write!(
                types,
                r#"<Property Name="Column{column}" Type="Edm.String" Nullable="true" MaxLength="30"><Annotation
                Term="Org.OData.Core.V1.Description" String="The display name of column {column} of table {at}" />
                <Annotation Term="Org.OData.Core.V1.LongDescription" String="{:200}" /></Property>"#,
                "What nobody needs:"
            )
            .unwrap();
        }
        write!(
            types,
            "<NavigationProperty Name=\"Next\" Type=\"NS.PX_Objects_Module{0}_Table{0}\"/></EntityType>",
            at / 2
        )
        .unwrap();
        for name in [format!("PX_Objects_Module{at}_Table{at}"), format!("Table{at}")] {
            write!(sets, "<EntitySet Name=\"{name}\" EntityType=\"NS.PX_Objects_Module{at}_Table{at}\"/>")
                .unwrap();
        }
    }
    document(&types, &sets)
}

#[test]
fn three_sets_of_a_large_document() {
    let text = large();
    assert!(text.len() > 15 << 20, "{}", text.len());
    assert_eq!(text.matches("<Property ").count(), 42_288);
    let wanted = ["Table7", "PX_Objects_Module1000_Table1000", "Table2264"];
    let model = read_some(&text, &|name| wanted.contains(&name)).unwrap();
    assert_eq!((model.sets.len(), &model.faults[..]), (3, &[][..]));
    for name in wanted {
        let set = find(&model, name).unwrap();
        assert_eq!((set.key.len(), set.aliases.len(), set.relations.len()), (1, 1, 1));
        assert!(matches!(set.properties.len(), 18 | 19));
        assert!(set.properties.iter().all(|property| property.title.is_some()));
    }
}
