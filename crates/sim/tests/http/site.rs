//! What the site decides: time zone, features, ids.

use acumatica_sim::{Config, Forms, Ids, Release, SwitchedOff};

use crate::client::{signed_in, small};

#[test]
fn times_carry_the_offset_of_the_site_and_a_date_is_its_midnight() {
    let (_sim, client) = signed_in(Config { time_zone: "America/New_York".into(), ..small() });
    let rows = client
        .entity("SalesOrder?$select=OrderNbr,Date,LastModified&$top=300&$custom=Document.UsrPromiseDate")
        .rows();
    let mut seen = std::collections::BTreeSet::new();
    for row in &rows {
        let date = row["Date"]["value"].as_str().unwrap();
        assert_eq!(&date[10..19], "T00:00:00", "{date}");
        let summer = matches!(&date[5..7], "04" | "05" | "06" | "07" | "08" | "09" | "10");
        let winter = matches!(&date[5..7], "01" | "02" | "12");
        // Ours: before 1970 there is no summer time.
        if summer && &date[..4] > "1970" {
            assert_eq!(&date[19..], "-04:00", "{date}");
        } else if winter {
            assert_eq!(&date[19..], "-05:00", "{date}");
        }
        seen.insert(date[19..].to_string());
        let modified = row["LastModified"]["value"].as_str().unwrap();
        assert!(modified.ends_with("-04:00") || modified.ends_with("-05:00"), "{modified}");
        if let Some(custom) = row["custom"]["Document"]["UsrPromiseDate"]["value"].as_str() {
            let time = &custom[11..];
            assert!(!time.contains(['Z', '+', '-']), "{custom}");
        }
    }
    assert_eq!(seen.len(), 2);
    // A day is found by its midnight, however that is written, and by the day alone.
    let date = rows[7]["Date"]["value"].as_str().unwrap();
    let found = |literal: &str| {
        let literal = literal.replace(':', "%3A").replace('+', "%2B");
        client
            .entity(&format!("SalesOrder?$select=Date&$filter=Date eq datetimeoffset'{literal}'"))
            .rows()
            .len()
    };
    assert!(found(date) > 0);
    assert_eq!((found(&date[..10]), found(&date[..19])), (found(date), found(date)));
    assert_eq!(found(&format!("{}T00:00:00+00:00", &date[..10])), 0);
}

#[test]
fn a_site_needs_a_time_zone_that_exists() {
    let config = Config { time_zone: "Mars/Olympus".into(), ..small() };
    assert!(acumatica_sim::Simulator::try_start(config).is_err());
}

#[test]
fn fields_of_features_that_are_off_are_in_no_row() {
    let path = "StockItem?$top=3&$expand=WarehouseDetails&$select=InventoryID,Subitem,\
                WarehouseDetails/WarehouseID,WarehouseDetails/ReplenishmentClass";
    let config = |switched_off| Config { switched_off, ..small() };
    let (_sim, client) = signed_in(config(SwitchedOff::Shown));
    let row = &client.entity(path).rows()[0];
    assert!(row["Subitem"]["value"].is_string());
    assert!(row["WarehouseDetails"][0]["ReplenishmentClass"]["value"].is_string());
    let (_sim, client) = signed_in(config(SwitchedOff::Absent));
    let row = &client.entity(path).rows()[0];
    assert!(row["InventoryID"]["value"].is_string() && row.get("Subitem").is_none());
    assert!(row["WarehouseDetails"][0].get("ReplenishmentClass").is_none());
    assert!(row["WarehouseDetails"][0]["WarehouseID"]["value"].is_string());
    let whole = client.get("/entity/Default/24.200.001/swagger.json");
    assert!(whole.text().contains("\"Subitem\""));
    assert_eq!(client.entity("StockItem?$filter=Subitem eq '0'&$select=InventoryID").rows().len(), 0);
    let order = &client.entity("SalesOrder?$top=1&$expand=Details,ShippingSettings").rows()[0];
    assert!(
        order.get("TaxCalcMode").is_none() && order["ShippingSettings"].get("FreightTaxCategory").is_none()
    );
    let (_sim, client) = signed_in(config(SwitchedOff::Refused));
    for query in ["$select=InventoryID,Subitem", "$select=InventoryID&$filter=Subitem eq '0'"] {
        let failure = client.entity(&format!("StockItem?{query}")).failure();
        assert_eq!(failure, (500, "System.Collections.Generic.KeyNotFoundException".into()), "{query}");
    }
}

#[test]
fn an_id_is_the_note_id_or_passes_with_session_or_answer() {
    let details = "SalesOrder/SO/000003?$expand=Details,Shipments&$select=NoteID,Details,Shipments";
    for ids in [Ids::Stable, Ids::Session, Ids::Answer] {
        let (sim, mut client) = signed_in(Config { ids, seats: 0, ..small() });
        let (first, second) = (client.entity(details).json(), client.entity(details).json());
        assert_eq!(first["id"], first["NoteID"]["value"], "{ids:?}");
        let id = |order: &serde_json::Value, detail: &str| order[detail][0]["id"].clone();
        assert_eq!(id(&first, "Details"), first["Details"][0]["NoteID"]["value"]);
        assert_eq!(id(&first, "Shipments") == id(&second, "Shipments"), ids != Ids::Answer, "{ids:?}");
        sim.control().close_sessions();
        let cookies = client.login("admin", "secret", "Company").cookies();
        client.headers = vec![("cookie".into(), cookies)];
        let third = client.entity(details).json();
        assert_eq!(id(&first, "Shipments") == id(&third, "Shipments"), ids == Ids::Stable, "{ids:?}");
        assert_eq!(id(&first, "Details"), id(&third, "Details"), "{ids:?}");
    }
}

#[test]
fn some_forms_find_nothing_by_a_field_that_is_no_key() {
    let (_sim, client) = signed_in(Config { deaf: vec!["purchaseorder".into()], ..small() });
    let order = &client.entity("PurchaseOrder?$top=1").rows()[0];
    let count = |field: &str| {
        let value = order[field]["value"].as_str().unwrap();
        client.entity(&format!("PurchaseOrder?$select=OrderNbr&$filter={field} eq '{value}'")).rows().len()
    };
    assert_eq!((count("VendorID"), count("Status")), (0, 0));
    assert!(count("OrderNbr") > 0);
    // Contract 5 is not said to do so.
    let config = Config { deaf: vec!["PurchaseOrder".into()], release: Release::R2026R2, ..small() };
    let (_sim, client) = signed_in(config);
    let path = "/entity/Default/26.200.001/PurchaseOrder?$select=OrderNbr&$filter=VendorID ne 'x'&$top=2";
    assert_eq!(client.get(path).rows().len(), 2);
}

#[test]
fn a_template_lists_every_field_of_the_form_or_customizations_alone() {
    let (_sim, client) = signed_in(small());
    let template = client.entity("StockItem/$adHocSchema").json();
    let count = |view: &str| template["custom"][view].as_object().unwrap().len();
    // Two of them are customizations.
    assert_eq!((count("ItemSettings"), count("Item"), count("CurySettings_InventoryItem")), (77, 4 + 2, 10));
    let field = &template["custom"]["ItemSettings"]["BasePrice"];
    assert_eq!(*field, serde_json::json!({ "type": "CustomDecimalField", "value": null }));
    assert!(template["WarehouseDetails"][0]["custom"].as_object().is_some_and(|c| !c.is_empty()));
    assert!(template["_links"]["self"].is_string() && template.get("files").is_none());
    let custom = "$custom=ItemSettings.BasePrice,Item.UsrColor,Item.NoteText,Item.NoSuchField";
    let rows = client.entity(&format!("StockItem?$top=20&$select=InventoryID&{custom}")).rows();
    for row in &rows {
        let custom = row["custom"].as_object().unwrap();
        assert!(custom["ItemSettings"].as_object().unwrap().contains_key("BasePrice"));
        assert_eq!(custom["Item"].as_object().unwrap().len(), 2);
    }
    assert!(rows.iter().any(|r| r["custom"]["ItemSettings"]["BasePrice"]["value"].is_number()));
    let (_sim, client) = signed_in(Config { forms: Forms::Customized, ..small() });
    let template = client.entity("StockItem/$adHocSchema").json();
    assert_eq!(template["custom"].as_object().unwrap().len(), 1);
    assert_eq!(template["custom"]["Item"].as_object().unwrap().len(), 2);
}

#[test]
fn paths_are_compared_without_case_and_old_ones_still_answer() {
    let (_sim, client) = signed_in(small());
    for path in [
        "/ENTITY/default/24.200.001/LEDGER?$top=1",
        "/T/company/API/OData/GI/bi-customers?$top=1",
        "/t/Company/api/odata/DAC/px_objects_so_soorder?$top=1",
        "/ODatav4/Company/PX_Objects_SO_SOOrder?$top=1&$select=OrderNBR",
        "/odatav4/PX_Objects_SO_SOOrder?$top=1",
        "/OData/Company/BI-Customers?$top=1",
    ] {
        assert_eq!(client.get(path).rows().len(), 1, "{path}");
    }
    assert!(client.get("/odata/Company/BI-Customers?$top=1").json()["odata.metadata"].is_string());
    let id = client.entity("SalesOrder?$top=1&$select=OrderNbr").rows()[0]["id"].clone();
    assert_eq!(client.entity(&format!("SalesOrder//{}", id.as_str().unwrap())).json()["id"], id);
    assert_eq!(client.gi("BI-SalesOrders?$select=ordernbr").status, 500, "properties of inquiries have case");
}

#[test]
fn without_a_sign_in_every_path_is_401_without_a_body() {
    let (_sim, client) = crate::client::start(small());
    for path in [
        "/entity/Default/1.0/X",
        "/t/Nowhere/api/odata/gi/X",
        "/nothing/at/all",
        "/odata/X",
        "/entity/No/1/Y",
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.text()), (401, ""), "{path}");
    }
}

#[test]
fn heads_are_those_of_recorded_answers() {
    let (_sim, mut client) = signed_in(Config { release: Release::R2023R2, ..small() });
    // ureq takes the length away from what it unpacks.
    client.headers.push(("accept-encoding".into(), "identity".into()));
    let head = |path: &str, name: &str| client.get(path).all(name).join("|");
    let rest = "/entity/Default/23.200.001/Ledger";
    assert_eq!(head(rest, "cache-control"), "private");
    assert_eq!(head(rest, "content-type"), "application/json; charset=utf-8");
    assert!(!head(rest, "content-length").is_empty());
    let dac =
        "/odatav4/Company/PX_Objects_SO_SOOrder?$top=2&$select=OrderNbr&$expand=Customer($select=AcctCD)";
    assert_eq!(head(dac, "content-type"), "application/json; odata.metadata=minimal");
    assert_eq!(head(dac, "odata-version"), "4.0");
    assert!(!head(dac, "content-length").is_empty());
    let context = client.get(dac).json()["@odata.context"].as_str().unwrap().to_string();
    assert!(context.ends_with("#PX_Objects_SO_SOOrder(OrderNbr,Customer(AcctCD))"), "{context}");
    let gi = "/OData/Company/BI-SalesOrders?$top=2";
    assert_eq!(head(gi, "content-type"), "application/json");
    assert_eq!(head(gi, "transfer-encoding"), "chunked");
    assert_eq!(head("/odata/Company/$metadata", "dataserviceversion"), "3.0");
    assert_eq!(head("/odata/Company", "content-type"), "application/atomsvc+xml; charset=utf-8");
    assert!(client.get("/odata/Company?$format=json").json()["value"].is_array());
    let row = &client.get(gi).rows()[0];
    assert!(row["TaxTotal"].is_string(), "v3 writes decimals as text");
    assert!(!row["LastModifiedOn"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn errors_have_their_members_in_order_and_say_no_name() {
    let (_sim, client) = signed_in(small());
    let answer = client.entity("Ledger?$select=NoSuch");
    let members = ["\"message\":", "\"exceptionMessage\":", "\"exceptionType\":", "\"stackTrace\":"];
    let at: Vec<usize> = members.iter().map(|m| answer.text().find(m).unwrap()).collect();
    assert!(at.is_sorted() && at[0] == 1);
    assert_eq!(answer.json()["exceptionMessage"], "The given key was not present in the dictionary.");
    for (filter, message) in [
        ("NoSuch eq 'x'", "Could not find a property named 'NoSuch'"),
        (
            "substringof('x',CustomerName)",
            "An unknown function with name 'substringof' was found. This may also be",
        ),
        (
            "Date gt datetimeoffset'2024-01-01'",
            "Unrecognized 'Edm.String' literal 'datetimeoffset'2024-01-01'' at '8' in 'Date gt",
        ),
        (
            "CustomerName gt 5",
            "Found operand types 'Edm.String' and 'Edm.Decimal' for operator kind 'GreaterThan'.",
        ),
    ] {
        let answer = client.gi(&format!("BI-SalesOrders?$filter={filter}"));
        let body = answer.json();
        assert_eq!((answer.status, body.as_object().unwrap().len()), (500, 1), "{filter}");
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
    }
}
