//! Endpoints made from definitions, with one of our own that has what real files have.

use std::path::PathBuf;

use acumatica_sim::{Config, Ids, Simulator, SwitchedOff};
use serde_json::{Map, Value, json};

use crate::client::{Answer, Client, signed_in, small};

/// `Orders` is a detail, `*Owner` a link, everything else the name of a wrapper.
fn record(of: &[(&str, &str)], at: &str) -> Value {
    let link = |name: &str| json!({ "$ref": format!("{at}{name}") });
    let member = |kind: &str| match kind.strip_suffix("[]") {
        Some(item) => json!({ "type": "array", "items": link(item) }),
        None => link(kind),
    };
    let members: Map<String, Value> = of.iter().map(|(n, kind)| (n.to_string(), member(kind))).collect();
    json!({ "allOf": [link("Entity"), { "type": "object", "properties": members }] })
}

const WRAPPERS: &[(&str, &str, &str)] = &[
    ("StringValue", "string", ""),
    ("DecimalValue", "number", "double"),
    ("DoubleValue", "number", "double"),
    ("IntValue", "integer", "int32"),
    ("ShortValue", "integer", "int32"),
    ("LongValue", "integer", "int64"),
    ("ByteValue", "integer", "int32"),
    ("BooleanValue", "boolean", ""),
    ("DateTimeValue", "string", "date-time"),
    ("GuidValue", "string", "uuid"),
    ("DateOnlyValue", "string", "date"),
];

fn schemas(at: &str) -> Value {
    let mut schemas = json!({
        "Entity": { "type": "object", "properties": { "id": { "type": "string", "format": "uuid" } } },
        "DropDownValue": { "properties": { "value": { "type": "object",
            "properties": { "id": { "type": "string" }, "description": { "type": "string" } } } } },
        "Activity": record(&[("Subject", "StringValue"), ("Contact", "Contact")], at),
        "Contact": record(&[("Email", "StringValue"), ("Activities", "Activity[]"), ("Activity", "Activity")], at),
        "Line": record(&[("LineNbr", "IntValue"), ("Qty", "DecimalValue"), ("Item", "StringValue")], at),
        "Order": record(&[
            ("Amount", "DecimalValue"), ("Count", "IntValue"), ("created", "DateTimeValue"),
            ("Details", "Line[]"), ("Factor", "DoubleValue"), ("Grade", "ByteValue"), ("Hold", "BooleanValue"),
            ("MainContact", "Contact"), ("NoteGuid", "GuidValue"), ("Odd", "Nowhere"), ("OrderNbr", "StringValue"),
            ("Serial", "LongValue"), ("Small", "ShortValue"), ("Status", "DropDownValue"), ("On", "DateOnlyValue"),
            ("Warehouse", "StringValue"),
        ], at),
        "StockInquiry": record(&[("Item", "StringValue"), ("Site", "IntValue"), ("Results", "Line[]")], at),
        "Allocation": record(&[("Item", "StringValue"), ("Result", "Line[]"), ("Other", "Line[]")], at),
    });
    for (name, kind, format) in WRAPPERS {
        let value = json!({ "type": kind, "format": format });
        schemas[*name] = json!({ "type": "object", "properties": { "value": value } });
    }
    schemas
}

/// In another folder for each test, so that they do not write into each other's files.
fn file(test: &str, contract5: bool, title: &str) -> (PathBuf, String) {
    let names = ["Order", "Contact", "StockInquiry", "Allocation", "Line", "Activity", "Order/{id}"];
    let paths: Map<String, Value> = names.iter().map(|n| (format!("/{n}"), json!({ "get": {} }))).collect();
    let info = json!({ "title": title, "version": if contract5 { "5" } else { "4" } });
    let document = if contract5 {
        let schemas = schemas("#/components/schemas/");
        json!({ "openapi": "3.0.1", "info": info, "paths": paths, "components": { "schemas": schemas } })
    } else {
        let definitions = schemas("#/definitions/");
        json!({ "swagger": "2.0", "info": info, "paths": paths, "definitions": definitions })
    };
    // Spaces that no writer of JSON would make: it must come back as it is.
    let text = format!("  {document:#}\n\n");
    let folder = std::env::temp_dir().join(format!("acumatica-sim-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("swagger.json");
    std::fs::write(&path, &text).unwrap();
    (path, text)
}

struct Site {
    _sim: Simulator,
    client: Client,
    text: String,
    path: PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}

fn site_with(test: &str, contract5: bool, config: Config) -> Site {
    let (path, text) = file(test, contract5, "Own/1.0");
    // Every field of the definition is looked at.
    let shown = SwitchedOff::Shown;
    let (sim, client) = signed_in(Config { definitions: vec![path.clone()], switched_off: shown, ..config });
    Site { _sim: sim, client, text, path }
}

fn site(test: &str) -> Site {
    site_with(test, false, small())
}

impl Site {
    fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("/entity/own/1.0/{path}"))
    }

    fn put(&self, path: &str, body: &str) -> Answer {
        self.client.send("PUT", &format!("/entity/Own/1.0/{path}"), Some(body))
    }
}

fn details(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().filter_map(|r| r[name].as_array()).flatten().cloned().collect()
}

#[test]
fn a_definition_is_listed_and_served_byte_for_byte() {
    let site = site("listed");
    let list = site.client.get("/entity").json()["endpoints"].clone();
    let own = json!({ "name": "Own", "version": "1.0", "href": "/Site/entity/Own/1.0/" });
    assert!(list.as_array().unwrap().contains(&own));
    assert_eq!(site.get("swagger.json?company=Company").text(), site.text);
    assert_eq!(site.get("swagger.json").all("content-type"), ["application/json; charset=utf-8"]);
    assert_eq!(site.client.entity("Ledger?$top=1").status, 200, "bundled endpoints stay");
    assert_eq!(Client::new(&site.client.base).get("/entity/Own/1.0/Order").status, 401);
}

#[test]
fn a_definition_takes_the_place_of_a_bundled_endpoint() {
    let (path, text) = file("replaced", false, "default/24.200.001");
    let (_sim, client) = signed_in(Config { definitions: vec![path.clone()], ..small() });
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let list = client.get("/entity").json()["endpoints"].clone();
    let same = |e: &&Value| e["version"] == "24.200.001";
    assert_eq!(list.as_array().unwrap().iter().filter(same).count(), 1);
    assert_eq!(client.entity("swagger.json").text(), text);
    assert_eq!((client.entity("Order").rows().len(), client.entity("SalesOrder").status), (25, 404));
    assert_eq!(client.get("/entity/Default/23.200.001/SalesOrder?$top=1").rows().len(), 1);
}

#[test]
fn a_file_that_is_no_definition_is_refused_by_its_name() {
    let path = std::env::temp_dir().join(format!("acumatica-sim-{}-bad.json", std::process::id()));
    std::fs::write(&path, "{}").unwrap();
    let refused = |path: &PathBuf| {
        let config = Config { definitions: vec![path.clone()], ..small() };
        Simulator::try_start(config).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused(&path).contains("bad.json: there are no definitions"));
    std::fs::remove_file(&path).unwrap();
    assert!(refused(&path).contains("bad.json: "));
}

#[test]
fn rows_are_distinct_deterministic_and_fit_their_types() {
    let site = site("rows");
    let answer = site.get("Order");
    let rows = answer.rows();
    assert_eq!((rows.len(), answer.text().starts_with('[')), (25, true));
    assert_eq!(site.get("Order").text(), answer.text());
    let (mut ids, mut absent) = (std::collections::HashSet::new(), 0);
    for (n, row) in (1..).zip(&rows) {
        assert!(ids.insert(row["id"].as_str().unwrap().to_string()));
        assert_eq!(row["OrderNbr"]["value"], format!("OrderNbr-{n}"));
        assert_eq!((&row["rowNumber"], &row["Odd"], &row["custom"]), (&json!(n), &json!({}), &json!({})));
        assert!(row.get("Details").is_none() && row.get("MainContact").is_none());
        let fits = |name: &str, test: fn(&Value) -> bool| {
            row[name] == json!({}) || row[name].as_object().unwrap().len() == 1 && test(&row[name]["value"])
        };
        assert!(
            fits("Count", Value::is_i64) && fits("Serial", Value::is_i64) && fits("Hold", Value::is_boolean)
        );
        assert!(fits("Small", |v| v.as_i64().is_some_and(|v| i16::try_from(v).is_ok())), "{row}");
        assert!(fits("Grade", |v| v.as_u64().is_some_and(|v| v < 256)) && fits("Factor", Value::is_number));
        // New York, in winter or in summer.
        let offset = |v: &Value| ["-05:00", "-04:00"].iter().any(|end| v.as_str().unwrap().ends_with(end));
        assert!(fits("created", offset));
        assert!(fits("On", |v| v.as_str().unwrap().len() == 10));
        assert!(fits("NoteGuid", |v| v.as_str().unwrap().len() == 36));
        assert!(fits("Status", |v| v["id"].is_string() && v["description"].is_string()));
        absent += usize::from(row["Warehouse"] == json!({}));
    }
    assert!((1..10).contains(&absent), "{absent}");
    assert!(rows.iter().any(|r| r["note"].is_null()) && rows.iter().any(|r| r["note"]["value"] == ""));
    let at = |name: &str| answer.text().find(&format!("\"{name}\":{{")).unwrap();
    assert!(at("Count") < at("created") && at("created") < at("Factor"), "case does not count");
    let other = site_with("seed", false, Config { seed: 2, ..small() });
    assert_ne!(other.get("Order").text(), answer.text());
}

#[test]
fn the_number_of_rows_is_told_and_top_and_skip_page_through_them() {
    let site = site_with("paging", false, Config { definition_rows: 40, ..small() });
    let numbers = |query: &str| -> Vec<String> {
        let rows = site.get(&format!("Order?$select=OrderNbr&{query}")).rows();
        rows.iter().map(|r| r["OrderNbr"]["value"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(numbers("").len(), 40);
    assert_eq!(numbers("$top=2&$skip=38"), ["OrderNbr-39", "OrderNbr-40"]);
    assert_eq!(numbers("$top=5&$skip=100").len(), 0);
    assert_eq!((site.get("Order?$top=x").status, site.get("Order?$filter=Hold eq true").status), (500, 500));
}

#[test]
fn a_record_is_read_by_its_id() {
    let site = site("record");
    let row = site.get("Order?$top=1&$skip=3").rows().remove(0);
    let one = site.get(&format!("Order/{}", row["id"].as_str().unwrap())).json();
    assert_eq!(
        (&one["OrderNbr"], &one["Amount"], &one["id"]),
        (&row["OrderNbr"], &row["Amount"], &row["id"])
    );
    assert_eq!(site.client.get(&one["_links"]["self"].as_str().unwrap()["/Site".len()..]).json(), one);
    for path in ["Order/00000000-0000-0000-0000-000000000001", "Order/OrderNbr-1"] {
        assert!(site.get(path).failure().1.ends_with("NoEntitySatisfiesTheConditionException"), "{path}");
    }
    assert_eq!((site.get("NoSuch").status, site.put("Order", "{}").status), (404, 405));
}

#[test]
fn select_narrows_and_what_is_not_known_is_a_key_not_found_exception() {
    let site = site("select");
    let row = site.get("Order?$select=OrderNbr,Hold&$top=1").rows().remove(0);
    let names: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["Hold", "OrderNbr", "_links", "custom", "id", "note", "rowNumber"]);
    assert!(site.get("Order?$select=OrderNbr,files&$expand=files&$top=1").rows()[0]["files"].is_array());
    let file =
        site.get("Order?$top=1&$expand=files").rows()[0]["files"][0]["href"].as_str().unwrap().to_string();
    assert_eq!(site.client.get(&file["/Site".len()..]).status, 200);
    for query in
        ["$select=ordernbr", "$expand=OrderNbr", "$expand=NoSuch", "$select=Details/No&$expand=Details"]
    {
        let (status, exception) = site.get(&format!("Order?{query}")).failure();
        assert!(status == 500 && exception.contains("KeyNotFoundException"), "{query}");
    }
}

#[test]
fn links_and_details_come_when_expanded_and_are_not_always_there() {
    let site = site_with("expand", false, Config { definition_rows: 200, ..small() });
    let rows = site.get("Order?$expand=Details,MainContact/Activities/Contact").rows();
    let count = |test: &dyn Fn(&Value) -> bool| rows.iter().filter(|r| test(r)).count();
    assert!(count(&|r| r.get("Details").is_none()) > 0 && count(&|r| r["Details"] == json!([])) > 0);
    assert!(count(&|r| r.get("Details") == Some(&Value::Null)) > 0);
    for n in 1..=3 {
        assert!(count(&|r| r["Details"].as_array().is_some_and(|d| d.len() == n)) > 0, "{n}");
    }
    assert!(count(&|r| r.get("MainContact") == Some(&Value::Null)) > 0);
    let full = rows.iter().find(|r| r["Details"].as_array().is_some_and(|d| d.len() == 3)).unwrap();
    let lines: Vec<&Value> = full["Details"].as_array().unwrap().iter().map(|l| &l["rowNumber"]).collect();
    assert_eq!(lines, [1, 2, 3]);
    assert!(full["Details"][0].get("_links").is_none() && full["Details"][0]["custom"] == json!({}));
    let contacts: Vec<Value> = rows.iter().map(|r| r["MainContact"].clone()).collect();
    let inner = details(&contacts, "Activities");
    assert!(inner.iter().any(|a| a["Contact"]["Email"].is_object()), "types within themselves");
    assert!(inner.iter().all(|a| a["Contact"].get("Activities").is_none()), "only where asked");
}

#[test]
fn a_detail_that_select_forgot_is_empty_in_contract_4_only() {
    let site = site("forgot");
    let count =
        |site: &Site, query: &str| details(&site.get(&format!("Order?{query}")).rows(), "Details").len();
    assert_eq!(count(&site, "$select=OrderNbr&$expand=Details"), 0);
    assert!(count(&site, "$select=OrderNbr,Details&$expand=Details") > 5);
    assert!(
        site.get("Order?$select=OrderNbr&$expand=Details").rows().iter().all(|r| r["Details"] == json!([]))
    );
    let line = details(&site.get("Order?$select=Details/Qty&$expand=Details").rows(), "Details").remove(0);
    assert!(line.get("Qty").is_some() && line.get("Item").is_none());
    let five = site_with("forgot5", true, small());
    assert!(count(&five, "$select=OrderNbr&$expand=Details") > 5);
    let rows = five.get("Order?$expand=MainContact($select=Email;$expand=Activity($select=Subject))").rows();
    let contact = rows.iter().map(|r| &r["MainContact"]).find(|c| c["Activity"].is_object()).unwrap();
    assert!(contact["Email"].is_object() && contact["Activity"]["Subject"].is_object());
    assert!(contact["Activity"].get("Contact").is_none());
}

#[test]
fn ids_of_lines_pass_and_those_of_records_do_not() {
    let site = site_with("lines", false, Config { seats: 2, ids: Ids::Session, ..small() });
    let read = |client: &Client| client.get("/entity/Own/1.0/Order?$expand=Details&$select=Details").rows();
    let mut other = Client::new(&site.client.base);
    other.headers.push(("cookie".into(), other.login("admin", "secret", "").cookies()));
    let (first, second) = (read(&site.client), read(&other));
    assert_eq!(first[0]["id"], second[0]["id"]);
    assert_eq!(first, read(&site.client));
    assert_ne!(details(&first, "Details")[0]["id"], details(&second, "Details")[0]["id"]);
    let site = site_with("answers", false, small());
    let (first, second) = (read(&site.client), read(&site.client));
    assert_eq!(first[0]["id"], second[0]["id"]);
    assert_ne!(details(&first, "Details")[0]["id"], details(&second, "Details")[0]["id"]);
}

#[test]
fn every_third_entity_has_custom_fields_and_every_sixth_in_its_first_detail() {
    let site = site("custom");
    // Activity, Allocation, Contact, Line, Order, StockInquiry.
    let schema = |name: &str| site.get(&format!("{name}/$adHocSchema")).json();
    let wanted = json!({ "Document": {
        "UsrAmount": { "type": "CustomDecimalField" }, "UsrText": { "type": "CustomStringField" } } });
    assert_eq!((&schema("Activity")["custom"], &schema("Line")["custom"]), (&wanted, &wanted));
    assert_eq!((&schema("Contact")["custom"], &schema("Line")["Qty"]), (&json!({}), &json!({})));
    let rows = site.get("Line?$custom=Document.UsrText,Document.UsrNone").rows();
    assert!(rows.iter().any(|r| r["custom"]["Document"]["UsrText"]["value"] == "UsrText-2"), "{rows:?}");
    assert!(rows.iter().all(|r| r["custom"]["Document"].as_object().unwrap().len() == 1));
}

#[test]
fn a_custom_field_of_a_detail_is_in_the_schema_and_in_the_lines() {
    let (path, _) = file("detail", false, "Own/1.0");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"/Activity\"", "\"/Zzz/x\"");
    let text = text.replace("\"/Allocation\"", "\"/Zzz/y\"");
    std::fs::write(&path, text).unwrap();
    // Now Contact is the first entity.
    let (_sim, client) = signed_in(Config { definitions: vec![path.clone()], ..small() });
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let schema = client.get("/entity/Own/1.0/Contact/$adHocSchema").json();
    let wanted = json!({ "Transactions": { "UsrLineNote": { "type": "CustomStringField" } } });
    assert_eq!(schema["Activities"][0]["custom"], wanted);
    assert_eq!(schema["Activities"][0]["Subject"], json!({}));
    let query = "Contact?$expand=Activities&$custom=Transactions.UsrLineNote";
    let lines = details(&client.get(&format!("/entity/Own/1.0/{query}")).rows(), "Activities");
    let note = |l: &Value| l["custom"]["Transactions"]["UsrLineNote"].clone();
    assert!(lines.iter().all(|l| note(l)["type"] == "CustomStringField"));
    assert!(lines.iter().any(|l| note(l)["value"].as_str().is_some_and(|t| t.starts_with("UsrLineNote-"))));
}

#[test]
fn forms_answer_put_with_their_parameters_and_the_expanded_lists() {
    // Ids that last, so that whole answers can be compared.
    let site = site_with("forms", false, Config { ids: Ids::Stable, ..small() });
    let body = r#"{"Item":{"value":"X"},"Nope":{"value":1},"Site":{}}"#;
    let put = |path: &str, body: &str| site.put(path, body).json();
    let answer = put("StockInquiry?$expand=Results", body);
    assert_eq!((&answer["Item"], &answer["Site"]), (&json!({ "value": "X" }), &json!({})));
    assert!(answer.get("Nope").is_none() && answer.is_object());
    let rows = answer["Results"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[4]["rowNumber"]), (5, &json!(5)));
    assert_eq!(rows[4]["LineNbr"]["value"], 1015);
    assert_eq!(put("StockInquiry?$expand=Results", body), answer);
    assert_ne!(put("StockInquiry?$expand=Results", "{}")["Results"], answer["Results"]);
    assert!(put("StockInquiry", body).get("Results").is_none());
    assert_eq!((site.get("StockInquiry").status, site.put("StockInquiry", "nonsense").status), (500, 400));
    let both = put("Allocation?$expand=Result,Other", "{}");
    assert_eq!((both["Result"].as_array().unwrap().len(), both["Other"].as_array().unwrap().len()), (5, 5));
    assert_ne!(both["Result"], both["Other"]);
    let blank = site.get("Allocation").rows();
    assert!(!blank.is_empty() && blank.iter().all(|r| r["Item"] == json!({})));
}
