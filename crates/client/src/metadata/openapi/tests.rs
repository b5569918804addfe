use std::path::PathBuf;

use super::*;
use crate::catalog::{Member, MemberType};

/// A definition of the entity `Order` with these members and further schemas.
fn order(members: &str, schemas: &str) -> String {
    format!(
        r##"{{"openapi":"3.0.1","info":{{"version":"5"}},"paths":{{"/Order":{{"get":{{"responses":{{"200":
        {{"content":{{"application/json":{{"schema":{{"type":"array","items":
        {{"$ref":"#/components/schemas/Order"}}}}}}}}}}}}}}}}}},"components":{{"schemas":{{
        "Entity":{{"type":"object","properties":{{"id":{{"type":"string","format":"uuid"}},"note":{{}}}}}},
        "Order":{{"allOf":[{{"$ref":"#/components/schemas/Entity"}},
        {{"type":"object","properties":{{{members}}}}}]}},
        "Line":{{"allOf":[{{"$ref":"#/components/schemas/Order"}},{{"properties":{{"Line Nbr":{{"type":"integer"}}}}}}]}},
        "Note":{{"properties":{{"Text":{{"type":"string"}}}}}}
        {schemas}}}}}}}"##
    )
}

/// The type of the only member of `Order`.
fn member_with(member: &str, schemas: &str) -> MemberType {
    let contract = parse(order(&format!("\"M\":{member}"), schemas).as_bytes()).unwrap();
    let [member] = &contract.types["Order"][..] else { panic!("{:?}", contract.types) };
    assert_eq!(member.name, "M");
    member.ty.clone()
}

fn member(member: &str) -> MemberType {
    member_with(member, "")
}

fn reference(name: &str) -> String {
    format!("{{\"$ref\":\"#/components/schemas/{name}\"}}")
}

fn fails(document: &[u8]) -> String {
    let error = parse(document).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(error.hint.is_some());
    let detail = error.detail.unwrap();
    assert!(detail.len() <= 300);
    detail
}

#[test]
fn wrappers_by_name() {
    let wrappers = [
        ("StringValue", FieldType::Text),
        ("DecimalValue", FieldType::Numeric),
        ("DoubleValue", FieldType::Float8),
        ("IntValue", FieldType::Int4),
        ("ShortValue", FieldType::Int2),
        ("LongValue", FieldType::Int8),
        ("ByteValue", FieldType::Int2),
        ("BooleanValue", FieldType::Bool),
        ("DateTimeValue", FieldType::TimestampTz),
        ("DateOnlyValue", FieldType::Date),
        ("guidvalue", FieldType::Uuid),
    ];
    for (name, ty) in wrappers {
        assert_eq!(member(&reference(name)), MemberType::Value(ty), "{name}");
    }
}

#[test]
fn wrappers_by_the_shape_of_their_value() {
    let of = |value: &str| {
        let schemas = format!(
            r##","New":{{"properties":{{"value":{value},"error":{{"type":"string"}}}}}},
            "Code":{{"type":"string","enum":["A"]}},"Pair":{{"properties":{{"id":{{}},"description":{{}}}}}}"##
        );
        member_with(&reference("New"), &schemas)
    };
    let scalars = [
        (r#"{"type":"string"}"#, FieldType::Text),
        (r#"{"type":["null","string"],"format":"date-time"}"#, FieldType::TimestampTz),
        (r#"{"type":"string","format":"date"}"#, FieldType::Date),
        (r#"{"type":"string","format":"uuid","nullable":true}"#, FieldType::Uuid),
        (r#"{"type":"number","format":"double"}"#, FieldType::Numeric),
        (r#"{"type":"integer","format":"int32"}"#, FieldType::Int4),
        (r#"{"type":"integer","format":"int64"}"#, FieldType::Int8),
        (r#"{"type":"boolean"}"#, FieldType::Bool),
        (&reference("Code"), FieldType::Text),
        (&reference("Pair"), FieldType::Choice),
        (r#"{"type":"object","properties":{"id":{},"description":{}}}"#, FieldType::Choice),
    ];
    for (value, ty) in scalars {
        assert_eq!(of(value), MemberType::Value(ty), "{value}");
    }
    for value in ["{}", "true", r#"{"type":"array"}"#, r#"{"type":"object"}"#, &reference("Nothing")] {
        assert_eq!(of(value), MemberType::Unknown("New".into()), "{value}");
    }
}

/// 2.7: as the definition of Default/26.200.001 has them (Acumatica/AcumaticaRESTAPIClientForCSharp).
#[test]
fn issue_2_7_drop_downs_are_schemas_of_their_own() {
    let inner = |id: &str| {
        format!(
            r#"{{"required":["id"],"type":"object","properties":{{"id":{{"type":"{id}"}},"description":{{"type":"string","nullable":true}}}}}}"#
        )
    };
    let one = |inner: &str| {
        format!(
            r#"{{"type":"object","properties":{{"value":{},"error":{{"type":"string"}}}}}}"#,
            reference(inner)
        )
    };
    let several = format!(
        r#"{{"type":"object","properties":{{"value":{{"type":"array","items":{},"nullable":true}},"error":{{"type":"string"}}}}}}"#,
        reference("StringSelectInnerValue")
    );
    let schemas = format!(
        r#","StringSelectInnerValue":{},"IntSelectInnerValue":{},"StringSingleSelectValue":{},"IntSingleSelectValue":{},
        "StringMultiSelectValue":{several}"#,
        inner("string"),
        inner("integer"),
        one("StringSelectInnerValue"),
        one("IntSelectInnerValue")
    );
    let of = |name: &str| member_with(&reference(name), &schemas);
    assert_eq!(of("StringSingleSelectValue"), MemberType::Value(FieldType::Choice));
    assert_eq!(of("IntSingleSelectValue"), MemberType::Value(FieldType::IntChoice));
    assert_eq!(of("StringMultiSelectValue"), MemberType::Value(FieldType::Choices));
    // Actions of a record's workflow are no field.
    let actions = r#""M":{"type":"string"},"_workflowActions":{"type":"object","additionalProperties":{"type":"string"}}"#;
    let contract = parse(order(actions, "").as_bytes()).unwrap();
    assert!(contract.types.values().flatten().all(|member| member.name != "_workflowActions"));
}

#[test]
fn records_and_lists_of_them() {
    let (line, note) = (|| "Line".to_owned(), || "Note".to_owned());
    let (to_line, to_note) = (reference("Line"), reference("Note"));
    assert_eq!(member(&to_line), MemberType::Linked(line()));
    // It derives from no schema, but has members.
    assert_eq!(member(&to_note), MemberType::Linked(note()));
    assert_eq!(member(&format!(r#"{{"type":"array","items":{to_line}}}"#)), MemberType::List(line()));
    let nullable = format!(r#"{{"type":"array","nullable":true,"items":{{"allOf":[{to_note}]}}}}"#);
    assert_eq!(member(&nullable), MemberType::List(note()));
    let contract = parse(order(&format!("\"M\":{to_note}"), "").as_bytes()).unwrap();
    assert_eq!(contract.types["Note"].len(), 1);
    let line: Vec<&str> = contract.types["Line"].iter().map(|member| &*member.name).collect();
    assert_eq!(line, ["M", "Line Nbr"]);
}

#[test]
fn references_in_every_disguise() {
    let line = MemberType::Linked("Line".into());
    let to = reference("Line");
    for disguise in [
        format!(r#"{{"allOf":[{to}],"nullable":true}}"#),
        format!(r#"{{"type":"object","allOf":[{to},{{"description":"x"}},{{"type":"object"}}]}}"#),
        format!(r#"{{"oneOf":[{to}]}}"#),
        format!(r#"{{"anyOf":[{{"type":"null"}},{to}]}}"#),
        r##"{"$ref":"#/definitions/Lin%65","description":"x"}"##.into(),
        reference("Alias"),
    ] {
        let alias = format!(r#","Alias":{{"allOf":[{to}]}}"#);
        let found = member_with(&disguise, &alias);
        let expected =
            if disguise.contains("Alias") { MemberType::Linked("Alias".into()) } else { line.clone() };
        assert_eq!(found, expected, "{disguise}");
    }
    let slash =
        member_with(r##"{"$ref":"#/components/schemas/A~1B~0"}"##, r#","A/B~":{"properties":{"X":{}}}"#);
    assert_eq!(slash, MemberType::Linked("A/B~".into()));
}

#[test]
fn what_has_an_inside_is_json() {
    for json in [
        r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
        r#"{"type":"object","properties":{"A":{"type":"string"}}}"#,
        r#"{"properties":{}}"#,
        r#"{"type":"array","items":{"type":"string"}}"#,
        r#"{"type":"array"}"#,
        &format!(r#"{{"type":"array","items":{}}}"#, reference("StringValue")),
    ] {
        assert_eq!(member(json), MemberType::Value(FieldType::Json), "{json}");
    }
}

#[test]
fn what_is_not_known_keeps_its_name() {
    let unknown = |text: &str| match member(text) {
        MemberType::Unknown(name) => name,
        other => panic!("{text} is {other:?}"),
    };
    assert_eq!(unknown(&reference("Nothing")), "Nothing");
    assert_eq!(unknown(r#"{"$ref":"other.json#/definitions/Line"}"#), "other.json#/definitions/Line");
    assert_eq!(unknown(r##"{"$ref":"#/definitions/Line/properties/X"}"##), "#/definitions/Line/properties/X");
    assert_eq!(unknown(r#"{"type":"file"}"#), "file");
    assert_eq!(unknown(r#"{"type":["string","integer"]}"#), "(several)");
    assert_eq!(unknown(&format!(r#"{{"oneOf":[{},{}]}}"#, reference("Line"), reference("Note"))), "oneOf");
    for nothing in ["{}", "true", "null", r#"{"type":"null"}"#] {
        assert_eq!(unknown(nothing), "(no type)");
    }
}

#[test]
fn a_reference_in_a_circle_ends() {
    let circle = r##","A":{"$ref":"#/definitions/B"},"B":{"$ref":"#/definitions/A"},
        "C":{"allOf":[{"$ref":"#/definitions/C"},{"properties":{"X":{"$ref":"#/definitions/C"}}}]},
        "D":{"type":"array","items":{"$ref":"#/definitions/D"}},
        "E":{"properties":{"value":{"$ref":"#/definitions/F"}}},"F":{"$ref":"#/definitions/F"}"##;
    assert!(matches!(member_with(&reference("A"), circle), MemberType::Unknown(_)));
    assert_eq!(member_with(&reference("C"), circle), MemberType::Linked("C".into()));
    assert_eq!(member_with(&reference("D"), circle), MemberType::Value(FieldType::Json));
    assert!(matches!(member_with(&reference("E"), circle), MemberType::Unknown(_)));
}

#[test]
fn the_last_of_two_of_a_name_counts() {
    let twice = order(r#""id":{"type":"string"},"M":{},"N":{"type":"boolean"},"M":{"type":"string"}"#, "");
    let contract = parse(twice.as_bytes()).unwrap();
    let text = |name: &str, ty| Member { name: name.into(), ty: MemberType::Value(ty) };
    assert_eq!(contract.types["Order"], [text("M", FieldType::Text), text("N", FieldType::Bool)]);
    let twice = order("", r#","Note":{"properties":{"Z":{"type":"string"}}},"X":{"$ref":"y"},"Order":null"#);
    assert!(fails(twice.as_bytes()).contains("no entities"));
}

#[test]
fn entities_of_swagger_2() {
    let document = r##"{"swagger":"2.0","info":{"version":4},"paths":{
        "/Z/{id}":{"get":{"responses":5}},
        "/Z":{"get":{"responses":{"200":{"$ref":"#/responses/Zs"}}}},
        "/ByName":{"get":{},"put":null},
        "/Inquiry":{"put":{"parameters":[{"in":"query"},{"in":"body","schema":{"$ref":"#/definitions/Form"}}],
            "responses":{"default":{"schema":{"$ref":"#/definitions/HttpError"}}}}},
        "/Nothing":{"get":{}},"/auth":{"post":{}}},
        "responses":{"Zs":{"schema":{"type":"array","items":{"$ref":"#/definitions/Zed"}}}},
        "definitions":{"Entity":{"properties":{"id":{"type":"string"}}},"Zed":{"allOf":[{"$ref":"#/definitions/Entity"}]},
            "ByName":{"allOf":[{"$ref":"#/definitions/Zed"},{"properties":{"A":{"$ref":"#/definitions/StringValue"}}}]},
            "Form":{"allOf":[{"$ref":"#/definitions/Entity"},{"type":"object"}]}},
        "tags":[{"name":"Z","description":"  Zeds (ZZ000000) "},{"name":"ByName","description":" "},{"name":"Form"}]}"##;
    let contract = parse(format!("\u{feff}{document}").as_bytes()).unwrap();
    assert_eq!(contract.number, 4);
    let entity = |name: &str, type_name: &str, title: Option<&str>| Entity {
        name: name.into(),
        type_name: type_name.into(),
        title: title.map(str::to_owned),
    };
    let expected = [
        entity("Z", "Zed", Some("Zeds (ZZ000000)")),
        entity("ByName", "ByName", None),
        entity("Inquiry", "Form", None),
    ];
    assert_eq!(contract.entities, expected);
    assert_eq!(contract.types.len(), 3);
    assert_eq!(contract.types["Zed"], []);
}

#[test]
fn what_is_no_definition_is_an_error() {
    let document = order(r##""M":{"$ref":"#/definitions/StringValue"}"##, "");
    assert!(parse(document.as_bytes()).is_ok());
    for end in 0..document.len() {
        fails(&document.as_bytes()[..end]);
    }
    fails(b"<!DOCTYPE html><html></html>");
    fails(b"[]");
    fails(br#"{"paths":[]}"#);
    fails(br#"{"paths":{"/X":{"get":{}}}}"#);
    let utf_16: Vec<u8> = document.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fails(&utf_16);
    fails(&document.replace("Order", "K\u{1}ln").replace('\u{1}', "\u{fffd}").into_bytes()[1..]);
    fails(&document.bytes().map(|byte| if byte == b'M' { 0xF6 } else { byte }).collect::<Vec<_>>());
    let deep = format!("{}{}", "{\"items\":".repeat(100_000), "}".repeat(100_000));
    fails(order(&format!("\"M\":{deep}"), "").as_bytes());
}

#[test]
fn names_of_absurd_length_are_left_out() {
    let long = "x".repeat(10 << 20);
    let members = format!(r#""{long}":{{"type":"string"}},"M":{{"type":"{long}"}}"#);
    let contract = parse(order(&members, &format!(r#","{long}":{{}}"#)).as_bytes()).unwrap();
    let [member] = &contract.types["Order"][..] else { panic!() };
    assert_eq!(member.ty, MemberType::Unknown("x".repeat(MAX_NAME)));
    let path = order("", "").replace("/Order", &format!("/{long}"));
    fails(path.as_bytes());
}

/// Each of many types includes all members of a large one.
#[test]
fn types_that_multiply_are_an_error() {
    let many: Vec<String> = (0..5_000).map(|n| format!("\"M{n}\":{{\"type\":\"string\"}}")).collect();
    let heirs: String = (0..5_000).map(|n| format!(",\"T{n}\":{}", reference("Order"))).collect();
    assert!(fails(order(&many.join(","), &heirs).as_bytes()).contains("too often"));
}

fn fixture(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/swagger").join(name);
    let document = std::fs::read(&path);
    if document.is_err() {
        println!("skipped: {} is not there", path.display());
    }
    document.ok()
}

fn check_real(document: &[u8], entities: usize, records: usize, kinds: [usize; 3]) -> Contract {
    let contract = parse(document).unwrap();
    assert_eq!((contract.number, contract.entities.len(), contract.types.len()), (4, entities, records));
    let mut found = [0; 3];
    for (name, members) in &contract.types {
        for member in members {
            match &member.ty {
                MemberType::Value(_) => found[0] += 1,
                MemberType::Linked(_) => found[1] += 1,
                MemberType::List(_) => found[2] += 1,
                MemberType::Unknown(ty) => panic!("{name}.{} is a {ty}", member.name),
            }
        }
    }
    assert_eq!(found, kinds);
    for entity in &contract.entities {
        assert_eq!(entity.name, entity.type_name);
        assert!(!contract.types[&entity.type_name].is_empty(), "{}", entity.name);
    }
    contract
}

#[test]
fn the_published_definition_of_2023() {
    let Some(document) = fixture("Default_23.200.001.swagger.json") else { return };
    let contract = check_real(&document, 117, 416, [4_812, 120, 268]);
    assert_eq!(contract.entities[0].name, "SalesOrder");
}

#[test]
fn the_published_definition_of_2024() {
    let Some(document) = fixture("Default_24.200.001.swagger.json") else { return };
    let contract = check_real(&document, 119, 424, [4_869, 125, 271]);
    assert_eq!(contract.entities[0].name, "ExpenseClaim");
    let account = contract.entities.iter().find(|entity| entity.name == "Account").unwrap();
    assert_eq!(account.title.as_deref(), Some("Chart of Accounts (GL202500)"));
    let of = |ty: &str, name: &str| {
        contract.types[ty].iter().find(|member| member.name == name).unwrap().ty.clone()
    };
    assert_eq!(of("SalesOrder", "OrderTotal"), MemberType::Value(FieldType::Numeric));
    assert_eq!(of("SalesOrder", "Details"), MemberType::List("SalesOrderDetail".into()));
    assert_eq!(of("SalesOrder", "ShipToAddress"), MemberType::Linked("Address".into()));
}
