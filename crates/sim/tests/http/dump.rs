//! The ground truth of `dump` and what the surfaces answer are the same rows.

use acumatica_sim::{Config, Simulator};
use serde_json::Value;

use crate::client::{signed_in, small};

/// Rows of fields; an unquoted empty field is no value.
fn parse_csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let value = field.get_or_insert_default();
                while let Some(c) = chars.next() {
                    match c {
                        '"' if chars.next_if_eq(&'"').is_none() => break,
                        _ => value.push(c),
                    }
                }
            }
            ',' => row.push(field.take()),
            '\n' => {
                row.push(field.take());
                rows.push(std::mem::take(&mut row));
            }
            _ => field.get_or_insert_default().push(c),
        }
    }
    rows
}

fn truth(config: &Config, name: &str, fields: &[&str]) -> Vec<Vec<Option<String>>> {
    let mut out = Vec::new();
    let fields: Vec<String> = fields.iter().map(|f| f.to_string()).collect();
    acumatica_sim::dump(config, name, &fields, &mut out).unwrap();
    parse_csv(std::str::from_utf8(&out).unwrap())
}

fn same(csv: Option<&String>, json: &Value) -> bool {
    match (csv, json) {
        (None, Value::Null) => true,
        (Some(text), Value::String(value)) => text == value,
        (Some(text), Value::Bool(value)) => text == if *value { "t" } else { "f" },
        // serde_json may be off by the last bit; the digits themselves are tested where they are written.
        (Some(text), Value::Number(value)) => {
            let (a, b) = (text.parse::<f64>().unwrap(), value.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-14
        }
        _ => false,
    }
}

fn compare(name: &str, truth: &[Vec<Option<String>>], rows: &[Value], get: impl Fn(&Value, &str) -> Value) {
    assert_eq!(truth.len() - 1, rows.len(), "{name}");
    for (line, row) in truth[1..].iter().zip(rows) {
        for (field, csv) in truth[0].iter().zip(line) {
            let field = field.as_ref().unwrap();
            let json = get(row, field);
            assert!(same(csv.as_ref(), &json), "{name} {field}: {csv:?} {json}");
        }
    }
}

fn site() -> (Config, Simulator, crate::client::Client) {
    let config = Config { scale: 0.05, ..small() };
    let (sim, client) = signed_in(config.clone());
    (config, sim, client)
}

#[test]
fn inquiries_and_dacs_answer_what_dump_prints() {
    let (config, _sim, client) = site();
    for (surface, path) in [("gi", "/t/Company/api/odata/gi/"), ("dac", "/t/Company/api/odata/dac/")] {
        let sets = client.get(path).json()["value"].as_array().unwrap().clone();
        for set in sets {
            let name = set["name"].as_str().unwrap();
            if matches!(name, "Inventory by Warehouse" | "Order Lines & Totals" | "HR-Salaries") {
                continue;
            }
            let answer = client.get(&format!("{path}{}", set["url"].as_str().unwrap()));
            let rows = if set["kind"] == "Singleton" {
                let mut object = answer.json();
                object.as_object_mut().unwrap().remove("@odata.context");
                vec![object]
            } else {
                answer.rows()
            };
            let fields: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
            let truth = truth(&config, &format!("{surface}/{name}"), &fields);
            compare(name, &truth, &rows, |row, field| row[field].clone());
        }
    }
}

#[test]
fn entities_answer_what_dump_prints() {
    let (config, _sim, client) = site();
    for (name, fields) in [
        ("SalesOrder", "id,OrderType,OrderNbr,Status,Date,OrderTotal,Hold,LastModified,ShipToAddress/City"),
        ("Customer", "id,CustomerID,CustomerName,BAccountID,MainContact/Email,MainContact/Address/Country"),
        ("Bill", "Type,ReferenceNbr,Amount,Vendor,DueDate"),
    ] {
        let fields: Vec<&str> = fields.split(',').collect();
        let expand = "ShipToAddress,MainContact/Address";
        let expand: Vec<_> =
            expand.split(',').filter(|e| fields.iter().any(|f| f.starts_with(&e[..4]))).collect();
        let rows = client.entity(&format!("{name}?$expand={}", expand.join(","))).rows();
        let truth = truth(&config, &format!("rest/{name}"), &fields);
        compare(name, &truth, &rows, |row, field| {
            if field == "id" {
                return row["id"].clone();
            }
            let target = field.split('/').fold(row, |value, name| &value[name]);
            target.get("value").cloned().unwrap_or(Value::Null)
        });
    }
}

#[test]
fn details_answer_what_dump_prints() {
    let (config, _sim, client) = site();
    let orders = client.entity("SalesOrder?$select=OrderNbr,OrderType,Details&$expand=Details").rows();
    let lines: Vec<Value> = orders
        .iter()
        .flat_map(|order| {
            order["Details"].as_array().unwrap().iter().map(move |line| {
                let mut line = line.clone();
                line["Parent/OrderNbr"] = order["OrderNbr"].clone();
                line
            })
        })
        .collect();
    let fields =
        ["Parent/OrderNbr", "LineNbr", "InventoryID", "OrderQty", "UnitPrice", "Amount", "Completed"];
    let truth = truth(&config, "rest/SalesOrder/Details", &fields);
    compare("Details", &truth, &lines, |row, field| row[field].get("value").cloned().unwrap_or(Value::Null));
}
