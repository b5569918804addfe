//! docs/acumatica.md §2.

use acumatica_sim::{Config, Release};
use serde_json::{Value, json};

use crate::client::{signed_in, small, start};

fn values(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|r| r[field]["value"].as_str().unwrap_or("").to_string()).collect()
}

#[test]
fn endpoints_come_in_an_envelope_with_those_of_the_tenant_for_whom_has_signed_in() {
    let (_sim, client) = start(small());
    let list = client.get("/entity").json();
    assert!(list["version"]["acumaticaBuildVersion"].is_string());
    assert!(
        list["endpoints"].as_array().unwrap().iter().any(|e| e["href"] == "/Site/entity/Default/24.200.001/")
    );
    let (_sim, client) = start(Config { release: Release::R2023R2, ..small() });
    assert!(client.get("/entity").text().starts_with("{\"version\":{\"acumaticaBuildVersion\":"));
    let newest = Config { release: Release::R2026R2, ..small() };
    let (_sim, stranger) = start(newest.clone());
    let (_sim, client) = signed_in(newest);
    assert!(stranger.get("/entity").json().get("features").is_none());
    assert!(client.get("/entity").json()["features"].is_array());
    let (_sim, client) = start(Config { release: Release::R2026R1, ..small() });
    let href = client.get("/entity").json()["endpoints"][0]["href"].as_str().unwrap().to_string();
    assert!(href.starts_with("http://127.0.0.1:"), "{href}");
}

#[test]
fn each_release_serves_its_endpoint_versions_and_names_ignore_case() {
    for (release, there, gone) in [
        (Release::R2023R2, "20.200.001", "24.200.001"),
        (Release::R2024R2, "24.200.001", "18.200.001"),
        (Release::R2026R1, "25.200.001", "26.200.001"),
        (Release::R2026R2, "26.200.001", "20.200.001"),
    ] {
        let (_sim, client) = signed_in(Config { release, ..small() });
        let get = |version: &str| client.get(&format!("/entity/default/{version}/Ledger?$top=1")).status;
        assert_eq!((get(there), get(gone)), (200, 404), "{release:?}");
    }
}

#[test]
fn swagger_is_2_0_on_old_sites_and_openapi_3_on_new_ones_whatever_the_endpoint() {
    let site = |release| signed_in(Config { release, ..small() });
    let get = |client: &crate::client::Client, version: &str| {
        client.get(&format!("/entity/Default/{version}/swagger.json?company=Company")).json()
    };
    let (_sim, client) = site(Release::R2023R2);
    let old = get(&client, "23.200.001");
    let (_sim, client) = site(Release::R2026R2);
    let (same, new, five) =
        (get(&client, "23.200.001"), get(&client, "24.200.001"), get(&client, "26.200.001"));
    assert_eq!((old["swagger"].as_str(), same["openapi"].as_str()), (Some("2.0"), Some("3.0.1")));
    assert_eq!((new["info"]["version"].as_str(), five["info"]["version"].as_str()), (Some("4"), Some("5")));
    let members = &new["components"]["schemas"]["SalesOrder"]["allOf"][1]["properties"];
    assert_eq!(members["OrderTotal"]["$ref"], "#/components/schemas/DecimalValue");
    assert_eq!(members["Details"]["items"]["$ref"], "#/components/schemas/SalesOrderDetail");
    assert_eq!(members["ShipToAddress"]["$ref"], "#/components/schemas/Address");
    assert!(
        old["definitions"]["InventorySummaryInquiry"].is_object()
            && old["paths"]["/SalesOrder/{ids}"].is_object()
    );
}

#[test]
fn a_list_is_a_bare_array_in_key_order_and_orderby_is_ignored() {
    let (_sim, client) = signed_in(small());
    let answer = client.entity("Customer?$select=CustomerID&$top=40&$skip=10&$orderby=CustomerID desc");
    assert!(answer.text().starts_with('['));
    let ids = values(&answer.rows(), "CustomerID");
    assert_eq!(ids.len(), 40);
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(client.entity("SalesOrder?$select=OrderNbr").rows().len(), 2000);
}

#[test]
fn a_record_is_read_by_keys_type_first_or_by_id() {
    let (_sim, client) = signed_in(small());
    let by_key = client.entity("SalesInvoice/Invoice/INV000046").json();
    assert_eq!(by_key["ReferenceNbr"]["value"], "INV000046");
    let id = by_key["id"].as_str().unwrap();
    assert_eq!(client.entity(&format!("SalesInvoice/{id}")).json(), by_key);
    let link = by_key["_links"]["self"].as_str().unwrap();
    assert!(link.starts_with("/Site/entity/"), "site-absolute: {link}");
}

#[test]
fn a_key_with_a_slash_cannot_be_put_in_the_url() {
    let (_sim, client) = signed_in(small());
    let rows =
        client.entity("StockItem?$select=InventoryID&$filter=startswith(InventoryID,'CABLE/')&$top=1").rows();
    let key = rows[0]["InventoryID"]["value"].as_str().unwrap();
    assert_eq!(client.entity(&format!("StockItem/{}", key.replace('/', "%2F"))).status, 500);
    let rows = client.entity(&format!("StockItem?$filter=InventoryID eq '{key}'")).rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(client.entity(&format!("StockItem/{}", rows[0]["id"].as_str().unwrap())).status, 200);
}

#[test]
fn record_not_found_is_500_no_entity_satisfies_the_condition() {
    let (_sim, client) = signed_in(small());
    let (status, exception) = client.entity("SalesOrder/SO/NOSUCH").failure();
    assert_eq!(status, 500);
    assert!(exception.ends_with("NoEntitySatisfiesTheConditionException"));
}

#[test]
fn unknown_entity_is_404_json_and_unknown_endpoint_an_iis_page() {
    let (_sim, client) = signed_in(small());
    let entity = client.entity("NoSuchEntity");
    assert_eq!((entity.status, entity.json()["message"].is_string()), (404, true));
    let endpoint = client.get("/entity/NoSuch/1/Customer");
    assert_eq!((endpoint.status, endpoint.text().contains("404 - File or directory")), (404, true));
}

#[test]
fn no_value_is_an_empty_object_and_zero_is_not() {
    let (_sim, client) = signed_in(small());
    let rows = client.entity("SalesOrder?$select=OrderTotal,CustomerOrder").rows();
    assert!(rows.iter().any(|r| r["CustomerOrder"] == json!({})));
    assert!(rows.iter().any(|r| r["OrderTotal"]["value"] == json!(0.0)));
    let nulls = client.entity("SalesOrder?$select=CustomerOrder&$filter=CustomerOrder eq null").rows().len();
    let others = client.entity("SalesOrder?$select=CustomerOrder&$filter=CustomerOrder ne null").rows().len();
    assert_eq!((nulls > 0, nulls + others), (true, 2000));
}

#[test]
fn fields_are_sorted_without_regard_to_case_and_decimals_keep_their_scale() {
    let (_sim, client) = signed_in(small());
    let answer = client.entity("SalesOrder/SO/000005?$expand=ShipToAddress");
    let at = |name: &str| answer.text().find(&format!("\"{name}\":{{")).unwrap_or_else(|| panic!("{name}"));
    // "OrderedQty" < "OrderNbr" only if case does not count.
    assert!(at("OrderedQty") < at("OrderNbr") && at("ShipToAddress") < at("ShipVia"));
    assert!(answer.text().contains("\"OrderTotal\":{\"value\":0.0000}"), "{}", answer.text());
    assert!(
        answer.text().starts_with("{\"id\":\"") && answer.text().contains("\",\"rowNumber\":1,\"note\":")
    );
}

#[test]
fn dates_are_midnights_and_some_are_text_in_the_users_culture() {
    let (_sim, client) = signed_in(small());
    let row = client.entity("SalesOrder/SO/000006?$expand=Details").json();
    // Midnight in New York, in summer or in winter.
    let date = row["Date"]["value"].as_str().unwrap();
    assert!(["T00:00:00-05:00", "T00:00:00-04:00"].iter().any(|end| date.ends_with(end)), "{date}");
    let text = row["Details"][0]["LastModifiedDate"]["value"].as_str().unwrap();
    assert_eq!((text.len(), &text[2..3], &text[10..11]), (19, "/", " "), "{text}");
}

#[test]
fn links_and_details_come_only_when_expanded_and_nest_once() {
    let (_sim, client) = signed_in(small());
    let row = client.entity("Customer?$top=1").rows().remove(0);
    assert!(row.get("MainContact").is_none() && row.get("Contacts").is_none());
    let row = client.entity("Customer?$top=1&$expand=MainContact/Address,Contacts").rows().remove(0);
    assert!(row["MainContact"]["Address"]["City"].is_object() && row["Contacts"].is_array());
}

#[test]
fn an_expanded_detail_that_select_lacks_is_silently_empty() {
    let (_sim, client) = signed_in(small());
    let count = |query: &str| -> usize {
        let rows = client.entity(&format!("SalesOrder?$top=20&$expand=Details{query}")).rows();
        rows.iter().map(|r| r["Details"].as_array().unwrap().len()).sum()
    };
    let all = count("");
    assert!(all > 30);
    assert_eq!(count("&$select=OrderNbr"), 0);
    assert_eq!(count("&$select=OrderNbr,Details"), all);
    assert_eq!(count("&$select=OrderNbr,Details/OrderQty"), all);
}

#[test]
fn ad_hoc_schema_lists_custom_fields_with_their_types() {
    let (_sim, client) = signed_in(small());
    let template = client.entity("SalesOrder/$adHocSchema").json();
    assert_eq!(template["custom"]["Document"]["UsrPriority"]["type"], "CustomStringField");
    assert_eq!(template["custom"]["Document"]["UsrGiftWrap"]["type"], "CustomBooleanField");
    assert_eq!(template["OrderNbr"], json!({}));
}

#[test]
fn custom_fields_of_a_detail_are_inside_it_in_the_schema_and_in_the_lines() {
    let (_sim, client) = signed_in(small());
    let template = client.entity("SalesOrder/$adHocSchema").json();
    assert_eq!(template["Details"].as_array().unwrap().len(), 1);
    // Fields of the form that are no customizations stand beside them (tests/http/site.rs).
    let customized = |detail: &str| -> Vec<(String, Value)> {
        let views = template[detail][0]["custom"].as_object().unwrap().values();
        let fields = views.flat_map(|view| view.as_object().unwrap().clone());
        fields.filter(|(name, _)| name.starts_with("Usr")).collect()
    };
    let of_type = |name: &str, ty: &str| (name.to_string(), json!({ "type": ty, "value": null }));
    let wanted =
        [of_type("UsrLineNote", "CustomStringField"), of_type("UsrLineRating", "CustomDecimalField")];
    assert_eq!(customized("Details"), wanted);
    assert!(template["Details"][0]["custom"]["Transactions"]["UsrLineNote"].is_object());
    assert_eq!(customized("Shipments"), [], "it has none");
    let lines = |query: &str| -> Vec<Value> {
        let rows = client.entity(&format!("SalesOrder?$top=50&$expand=Details{query}")).rows();
        rows.iter().flat_map(|r| r["Details"].as_array().unwrap().clone()).collect()
    };
    assert!(lines("").iter().all(|l| l["custom"] == json!({})));
    let lines = lines("&$custom=Transactions.UsrLineNote,Document.UsrPriority");
    let note = |l: &Value| l["custom"]["Transactions"]["UsrLineNote"].clone();
    assert!(
        lines.iter().all(|l| note(l)["type"] == "CustomStringField" && l["custom"].get("Document").is_none())
    );
    assert!(
        lines.iter().any(|l| note(l)["value"].is_string())
            && lines.iter().any(|l| note(l).get("value").is_none())
    );
}

#[test]
fn attachments_are_a_sentence_or_as_long_as_told() {
    let (_sim, client) = signed_in(small());
    let href = |client: &crate::client::Client| {
        let row = client.entity("SalesOrder?$top=1&$select=files&$expand=files").rows().remove(0);
        let href = row["files"][0]["href"].as_str().unwrap().to_string();
        assert_eq!(
            href,
            format!("/Site/entity/Default/24.200.001/files/{}", row["files"][0]["id"].as_str().unwrap())
        );
        assert!(client.entity("SalesOrder?$top=1").rows()[0].get("files").is_none(), "not expanded");
        let name = row["files"][0]["filename"].as_str().unwrap();
        assert!(
            name.starts_with("Sales Orders (CM          , 000001") && name.ends_with(")\\spec.pdf"),
            "{name}"
        );
        href["/Site".len()..].to_string()
    };
    assert!(client.get(&href(&client)).text().starts_with("This is the content of file "));
    for bytes in [0, 10, 1_000_000] {
        let (_sim, client) = signed_in(Config { file_bytes: Some(bytes), ..small() });
        let answer = client.get(&href(&client));
        assert_eq!((answer.status, answer.text().len() as u64), (200, bytes));
        assert_eq!(answer.all("content-type"), ["application/octet-stream"]);
    }
    assert_eq!(client.entity("files/nonsense").status, 404);
}

#[test]
fn custom_fields_are_asked_for_and_filtered_in_their_own_way() {
    let (_sim, client) = signed_in(small());
    let query = "$custom=Document.UsrPriority&$filter=cf.String(f='Document.UsrPriority') eq 'high'";
    let rows = client.entity(&format!("SalesOrder?$select=OrderNbr&{query}")).rows();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|r| r["custom"]["Document"]["UsrPriority"]["value"] == "High"));
}

#[test]
fn very_many_custom_fields_at_once_return_nothing() {
    let (_sim, client) = signed_in(small());
    let names: Vec<String> = (0..101).map(|i| format!("Document.Usr{i}")).collect();
    assert_eq!(client.entity(&format!("SalesOrder?$custom={}", names.join(","))).text(), "[]");
}

#[test]
fn substringof_eq_true_is_empty_and_not_substringof_fails() {
    let (_sim, client) = signed_in(small());
    let filter = |filter: &str| client.entity(&format!("Customer?$select=CustomerName&$filter={filter}"));
    assert!(!filter("substringof('a',CustomerName)").rows().is_empty());
    assert_eq!(filter("substringof('a',CustomerName) eq true").text(), "[]");
    assert_eq!(filter("not substringof('a',CustomerName)").status, 500);
}

#[test]
fn contains_tolower_and_toupper_fail_in_contract_4() {
    let (_sim, client) = signed_in(small());
    for filter in
        ["contains(CustomerName,'a')", "tolower(CustomerName) eq 'a'", "toupper(CustomerName) eq 'A'"]
    {
        assert_eq!(client.entity(&format!("Customer?$filter={filter}")).status, 500, "{filter}");
    }
}

#[test]
fn an_unknown_field_is_a_key_not_found_exception_and_names_mind_case() {
    let (_sim, client) = signed_in(small());
    for query in ["$select=NoSuch", "$select=customerid", "$filter=NoSuch eq 'a'", "$expand=NoSuch"] {
        let (status, exception) = client.entity(&format!("Customer?{query}")).failure();
        assert_eq!(status, 500, "{query}");
        assert!(exception.contains("KeyNotFoundException"), "{query}");
    }
}

#[test]
fn filters_on_details_and_ands_across_links_find_nothing() {
    let (_sim, client) = signed_in(small());
    assert_eq!(client.entity("SalesOrder?$filter=Details/OrderQty gt 0").text(), "[]");
    let both = "MainContact/Active eq true and BillingContact/Active eq true";
    assert_eq!(client.entity(&format!("Customer?$filter={both}")).text(), "[]");
    assert!(
        !client
            .entity("Customer?$filter=MainContact/Active eq true and CreditLimit ne null")
            .text()
            .is_empty()
    );
    assert!(!client.entity("Customer?$filter=MainContact/Active eq true").rows().is_empty());
}

#[test]
fn a_raw_plus_sign_in_a_time_fails() {
    let (_sim, client) = signed_in(small());
    let filter = |time: &str| {
        client.entity(&format!("SalesOrder?$select=OrderNbr&$filter=LastModified gt datetimeoffset'{time}'"))
    };
    assert!(!filter("2022-12-31T00%3A00%3A00%2B00%3A00").rows().is_empty());
    assert_eq!(filter("2022-12-31T00:00:00+00:00").status, 500);
}

#[test]
fn text_comparison_ignores_case_and_trailing_spaces() {
    let (_sim, client) = signed_in(small());
    let count =
        |filter: &str| client.entity(&format!("Customer?$select=Status&$filter={filter}")).rows().len();
    let active = count("Status eq 'Active'");
    assert!(active > 0);
    assert_eq!(count("Status eq 'ACTIVE   '"), active);
    assert_eq!(count("substringof('ACT',Status) and Status ne 'Inactive'"), active);
    assert_eq!(count("Status eq 'A'"), 0, "the label, not the code");
}

#[test]
fn numbers_dates_and_booleans_filter() {
    let (_sim, client) = signed_in(small());
    let count =
        |filter: &str| client.entity(&format!("SalesOrder?$select=OrderNbr&$filter={filter}")).rows().len();
    let (zero, more) = (count("OrderTotal eq 0M"), count("OrderTotal gt 0.0M"));
    assert!(zero > 0 && more > 0);
    assert_eq!(zero + more + count("OrderTotal lt 0"), 2000);
    assert_eq!(count("Date le datetimeoffset'9999-12-31'"), 2000);
    assert_eq!(count("Hold eq true") + count("not Hold"), 2000);
}

#[test]
fn cannot_optimize_names_the_fields() {
    let (_sim, client) = signed_in(small());
    for (query, field) in [
        ("Project", "Income"),
        ("Project?$select=ProjectID,Income", "Income"),
        ("Customer?$select=CustomerID&$filter=CreditLimit gt 5", "CreditLimit"),
        (
            "Payment?$select=ReferenceNbr,ApplicationHistory/DisplayDocType&$expand=ApplicationHistory",
            "ApplicationHistory.DisplayDocType",
        ),
    ] {
        let answer = client.entity(query);
        assert!(answer.failure().1.ends_with("CannotOptimizeException"), "{query}");
        let message = answer.json()["exceptionMessage"].as_str().unwrap().to_string();
        assert!(message.contains(&format!("\r\n{field}: ")), "{message}");
    }
    assert!(!client.entity("Project?$select=ProjectID,Status").rows().is_empty());
    // It works on real servers (HTE).
    let details = "StockItem?$top=3&$select=InventoryID,WarehouseDetails&$expand=WarehouseDetails";
    assert!(client.entity(details).rows()[0]["WarehouseDetails"][0]["QtyOnHand"].is_object());
    assert!(client.entity("Project/PRJ-0001").json()["Income"].is_object());
    assert!(!client.entity("Customer?$select=CustomerID,CreditLimit").rows().is_empty());
}

#[test]
fn an_inquiry_form_answers_put_with_results_and_fails_on_get() {
    let (_sim, client) = signed_in(small());
    let put = |body: &str| {
        let path = "/entity/Default/24.200.001/InventorySummaryInquiry?$expand=Results";
        client.send("PUT", path, Some(body)).json()
    };
    let rows = put(r#"{"InventoryID":{"value":"AACOMPUT00001"}}"#);
    assert_eq!(rows["InventoryID"]["value"], "AACOMPUT00001");
    assert_eq!(rows["Results"].as_array().unwrap().len(), 3);
    let one = put(
        r#"{"InventoryID":{"value":"aacomput00001 "},"NoSuchField":{"value":1},"WarehouseID":{"value":"NONE"}}"#,
    );
    assert_eq!(one["Results"], json!([]));
    assert_eq!(put("{}")["Results"], json!([]), "without its parameter it is silent");
    assert_eq!(client.entity("InventorySummaryInquiry").status, 500);
}

#[test]
fn writing_is_refused() {
    let (_sim, client) = signed_in(small());
    let answer = client.send("PUT", "/entity/Default/24.200.001/Customer", Some("{}"));
    assert_eq!((answer.status, answer.json()["exceptionMessage"].is_string()), (405, true));
}

#[test]
fn contract_5_speaks_odata_4_01() {
    let (_sim, client) = signed_in(Config { release: Release::R2026R2, ..small() });
    let get = |query: &str| client.get(&format!("/entity/Default/26.200.001/{query}"));
    let rows = get(
        "SalesOrder?$select=Status,Date,Document.UsrPriority&$filter=Status eq 'C' and Date gt 2019-01-01",
    )
    .rows();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|r| r["Status"]["value"] == json!({ "id": "C", "description": "Completed" })));
    assert_eq!(rows[0]["Date"]["value"].as_str().unwrap().len(), 10);
    assert!(rows[0]["custom"]["Document"]["UsrPriority"].is_object());
    let rows =
        get("Customer?$filter=contains(CustomerName,'a')&$expand=MainContact($select=Email)&$top=1").rows();
    assert!(
        rows[0]["MainContact"].get("Email").is_some() && rows[0]["MainContact"].get("LastName").is_none()
    );
    assert_eq!(get("Customer?$filter=substringof('a',CustomerName)").status, 500);
}
