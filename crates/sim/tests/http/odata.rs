//! docs/acumatica.md §3.

use acumatica_sim::{Config, Release};
use serde_json::Value;

use crate::client::{signed_in, small};

fn has(rows: &[Value], test: impl Fn(&Value) -> bool) -> bool {
    rows.iter().any(test)
}

#[test]
fn the_service_document_lists_sets_and_metadata_is_xml_only() {
    let (_sim, mut client) = signed_in(small());
    let document = client.gi("").json();
    assert!(document["@odata.context"].as_str().unwrap().ends_with("/Site/t/Company/api/odata/gi/$metadata"));
    assert!(has(document["value"].as_array().unwrap(), |e| e["name"] == "AR-Aging by Customer"
        && e["kind"] == "EntitySet"));
    let metadata = client.gi("$metadata");
    assert!(metadata.text().contains("<EntityType Name=\"ARAgingbyCustomer\">"));
    assert!(metadata.text().contains(
        "<EntitySet Name=\"AR-Aging by Customer\" EntityType=\"GenericInquiry.ARAgingbyCustomer\">"
    ));
    assert!(metadata.text().contains("<Function Name=\"Inventory by Warehouse\">"));
    assert_eq!(client.gi("$metadata?$format=json").status, 500);
    client.headers.push(("accept".into(), "application/json".into()));
    assert_eq!(client.gi("$metadata").status, 500);
}

#[test]
fn key_columns_are_in_the_rows_even_when_not_on_the_grid() {
    let (_sim, client) = signed_in(small());
    let rows = client.gi("BI-OrderInvoices?$top=1").rows();
    assert!(rows[0]["NoteID_2"].is_string());
    assert!(client.gi("BI-Customers?$top=1").rows()[0].get("_1stContact").is_some());
    assert_eq!(client.gi("BI-OrderInvoices?$top=1&$select=Status").rows()[0].as_object().unwrap().len(), 1);
}

#[test]
fn values_come_padded_quoted_null_and_in_three_kinds_of_time() {
    let (_sim, client) = signed_in(small());
    let rows = client.gi("BI-SalesOrders").rows();
    assert_eq!(rows.len(), 2000);
    let row = &rows[7];
    assert_eq!(row["CustomerID"].as_str().unwrap().len(), 30);
    assert!(row["OrderTotal"].is_string() && row["TaxTotal"].is_number());
    assert!(row["LastModifiedOn"].as_str().unwrap().ends_with('Z'));
    assert!(has(&rows, |r| r["PromisedOn"].as_str().is_some_and(|t| t.ends_with("-05:00"))));
    assert!(has(&rows, |r| r["ApprovedOn"].as_str().is_some_and(|t| !t.ends_with('Z') && t.len() >= 19)));
    assert!(has(&rows, |r| r["Description"].is_null()));
    assert!(row["NoteID"].is_string() && row["Hold"].is_boolean() && row["LineCounter"].is_i64());
}

#[test]
fn filter_select_orderby_top_and_skip_work() {
    let (_sim, client) = signed_in(small());
    let rows = client.gi("BI-SalesOrders?$select=TaxTotal&$orderby=TaxTotal desc&$top=5&$skip=2").rows();
    let taxes: Vec<f64> = rows.iter().map(|r| r["TaxTotal"].as_f64().unwrap()).collect();
    assert!(taxes.len() == 5 && taxes.is_sorted_by(|a, b| a >= b));
    let first = client.gi("BI-SalesOrders?$orderby=Description,OrderNbr&$top=1").rows();
    assert!(first[0]["Description"].is_null(), "no value comes first");
    let both = client.gi("BI-SalesOrders?$filter=Description ne 'x' or Description eq 'x'").rows();
    assert_eq!(both.len(), 2000, "null ne 'x' is true");
}

#[test]
fn a_type_whose_label_and_code_sort_differently_sorts_by_label() {
    let (_sim, client) = signed_in(small());
    let rows = client.gi("BI-APBills?$orderby=Type,ReferenceNbr").rows();
    let types: Vec<&str> = rows.iter().map(|r| r["Type"].as_str().unwrap()).collect();
    assert_eq!((types[0], types.is_sorted()), ("Bill", true));
    assert_eq!(client.gi("BI-APBills").rows()[0]["Type"], "Credit Adj.");
}

#[test]
fn functions_and_literals_belong_to_their_version() {
    let (_sim, client) = signed_in(small());
    let v4 = |filter: &str| client.gi(&format!("BI-SalesOrders?$top=1&$filter={filter}")).status;
    assert_eq!(v4("contains(CustomerName,'a') and startswith(tolower(Status),'o')"), 200);
    assert_eq!(v4("Date gt 2020-01-01 and LastModifiedOn lt 2026-01-01T00:00:00Z"), 200);
    assert_eq!(
        (v4("substringof('a',CustomerName)"), v4("Date gt datetime'2020-01-01T00:00:00'")),
        (500, 500)
    );
    assert_eq!((v4("NoSuch eq 1"), v4("CustomerName eq 1")), (500, 500));
    let (_sim, client) = signed_in(Config { release: Release::R2023R2, ..small() });
    let v3 =
        |filter: &str| client.get(&format!("/odata/Company/BI-SalesOrders?$top=1&$filter={filter}")).status;
    assert_eq!(v3("substringof('a',CustomerName)"), 200);
    assert_eq!(v3("Date gt datetime'2020-01-01T00:00:00'"), 200);
    assert_eq!(v3("NoteID ne guid'00000000-0000-0000-0000-000000000000'"), 200);
    assert_eq!((v3("contains(CustomerName,'a')"), v3("Date gt 2020-01-01")), (400, 400));
}

#[test]
fn old_releases_have_v3_urls_and_envelopes_and_odatav4_for_dacs() {
    let (_sim, client) = signed_in(Config { release: Release::R2023R2, gi_page_size: 3, ..small() });
    for path in ["/odata/Company/BI-Inventory?$top=5", "/odata/BI-Inventory?$top=5"] {
        let page = client.get(path).json();
        assert!(page["odata.metadata"].is_string() && page["odata.nextLink"].is_string(), "{path}");
    }
    assert_eq!(client.gi("BI-Inventory").status, 404);
    assert!(client.get("/odatav4/Company/SOOrder?$top=1").json()["@odata.context"].is_string());
    assert!(client.get("/odata/Company/$metadata").text().contains("Edm.DateTime\""));
}

#[test]
fn the_bare_set_of_an_inquiry_with_parameters_has_no_rows_and_no_error() {
    let (_sim, client) = signed_in(small());
    assert_eq!(client.gi("Inventory by Warehouse").rows().len(), 0);
    let rows = client.gi("InventorybyWarehouse_WithParameters(Warehouse='MAIN1')").rows();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|r| r["Warehouse"] == "MAIN1     "));
    let alias = client.gi("InventorybyWarehouse_WithParameters(Warehouse=@1)?@1='MAIN1'&$top=1000").rows();
    assert_eq!(alias, rows);
    let both = client.gi("InventorybyWarehouse_WithParameters(Warehouse='MAIN1',Location='R1S1')").rows();
    assert!(both.len() < rows.len());
    assert_eq!(client.gi("InventorybyWarehouse_WithParameters(Nope='x')").status, 404);
}

#[test]
fn filtering_or_sorting_by_a_formula_is_200_with_an_empty_body() {
    let (_sim, client) = signed_in(small());
    for query in ["$filter=Margin gt 5", "$orderby=Margin"] {
        let answer = client.gi(&format!("SO-Margin by Order?{query}"));
        assert_eq!((answer.status, answer.text()), (200, ""), "{query}");
    }
    assert!(!client.gi("SO-Margin by Order?$select=Margin&$top=1").rows().is_empty());
}

#[test]
fn unknown_inquiries_are_404_and_forbidden_ones_403() {
    let (_sim, client) = signed_in(small());
    assert_eq!(client.gi("NoSuch").status, 404);
    let answer = client.gi("HR-Salaries");
    assert_eq!((answer.status, answer.text().contains("insufficient rights")), (403, true));
}

#[test]
fn next_links_are_absolute_with_the_virtual_directory() {
    let (_sim, client) = signed_in(Config { gi_page_size: 700, ..small() });
    let mut path =
        "/t/Company/api/odata/gi/BI-SalesOrders?$filter=OrderTotal ge 0&$select=OrderNbr".to_string();
    let mut sizes = Vec::new();
    loop {
        let page = client.get(&path);
        sizes.push(page.rows().len());
        let Some(link) = page.json()["@odata.nextLink"].as_str().map(String::from) else { break };
        path = link.strip_prefix(&client.base).expect("an absolute link of this site").to_string();
    }
    assert!(sizes.len() >= 2 && sizes[..sizes.len() - 1].iter().all(|s| *s == 700), "{sizes:?}");
    assert!(client.gi("BI-SalesOrders?$top=700").json().get("@odata.nextLink").is_none());
    assert!(client.gi("BI-SalesOrders?$top=701").json().get("@odata.nextLink").is_some());
}

#[test]
fn inquiries_do_not_expand_and_do_not_count() {
    let (_sim, client) = signed_in(small());
    assert_eq!(client.gi("BI-SalesOrders?$expand=Customer").status, 500);
    assert!(client.gi("BI-SalesOrders?$top=1&$count=true").json().get("@odata.count").is_none());
    assert_eq!(client.gi("BI-SalesOrders/$count").status, 404);
}

#[test]
fn inquiries_show_and_filter_labels_and_dacs_codes() {
    let (_sim, client) = signed_in(small());
    let gi = client.gi("BI-SalesOrders?$filter=Status eq 'Completed'&$select=Status").rows();
    let dac = client.dac("SOOrder?$filter=Status eq 'C'&$select=Status").rows();
    assert!(!gi.is_empty());
    assert_eq!(gi.len(), dac.len());
    assert_eq!((&gi[0]["Status"], &dac[0]["Status"]), (&Value::from("Completed"), &Value::from("C")));
    assert_eq!(client.gi("BI-SalesOrders?$filter=Status eq 'C'").rows().len(), 0);
}

#[test]
fn dacs_have_two_names_keys_and_navigation() {
    let (_sim, client) = signed_in(small());
    let long = client.dac("PX_Objects_SO_SOOrder?$top=3").json()["value"].clone();
    assert_eq!(long, client.dac("SOOrder?$top=3").json()["value"]);
    let row = client.dac("SOOrder(OrderType='SO',OrderNbr='000058')?$select=OrderNbr&$expand=Customer($select=AcctName;$expand=DefContact($select=EMail)),SOLineCollection").json();
    assert_eq!(row["OrderNbr"], "000058");
    assert!(row["Customer"]["DefContact"].get("EMail").is_some());
    assert!(row["SOLineCollection"].is_array());
    assert_eq!(client.dac("SOOrder(OrderType='SO',OrderNbr='NOPE')").status, 404);
}

#[test]
fn dacs_count_and_quantify_and_refuse_some_properties() {
    let (_sim, client) = signed_in(small());
    let all: u64 = client.dac("SOOrder/$count").text().parse().unwrap();
    assert_eq!(all, 2000);
    let big: u64 = client
        .dac("SOOrder/$count?$filter=SOLineCollection/any(l: l/OrderQty gt 39)")
        .text()
        .parse()
        .unwrap();
    let none: u64 = client.dac("SOOrder/$count?$filter=not SOLineCollection/any()").text().parse().unwrap();
    assert!(big > 0 && big < all && none == all / 8, "{big} {none}");
    assert_eq!(client.dac("SOOrder?$top=1&$count=true").json()["@odata.count"], 2000);
    assert_eq!(client.dac("SOOrder?$filter=Attributes eq 'a'").status, 400);
    assert_eq!(client.dac("SOOrder?$select=Attributes").status, 400);
    assert_eq!(client.dac("SOOrder?$apply=aggregate(OrderQty with sum as T)").status, 400);
    let metadata = client.dac("$metadata");
    assert!(metadata.text().contains("<PropertyPath>Attributes</PropertyPath>"));
    assert!(
        metadata.text().contains("Term=\"Org.OData.Core.V1.Description\" String=\"Order Total\"")
            || metadata.text().contains("String=\"Cury Order Total\"")
    );
}

#[test]
fn dac_metadata_can_be_as_long_as_a_real_one() {
    let (_sim, client) = signed_in(Config { dac_filler: 2245, ..small() });
    let metadata = client.dac("$metadata");
    let (size, properties) = (metadata.text().len(), metadata.text().matches("<Property ").count());
    assert!((19_000_000..21_000_000).contains(&size), "{size}");
    assert!((41_800..42_800).contains(&properties), "{properties}");
    for name in ["PX_Objects_Filler_FillerType0001", "FillerType0001"] {
        assert_eq!(client.dac(&format!("{name}?$top=5")).rows().len(), 0);
        assert_eq!(client.dac(&format!("{name}/$count")).text(), "0");
        assert!(metadata.text().contains(&format!(
            "<EntitySet Name=\"{name}\" EntityType=\"PX.Objects.Filler.FillerType0001\">"
        )));
    }
    assert_eq!((client.dac("FillerType2245").status, client.gi("FillerType0001").status), (404, 404));
}

#[test]
fn navigation_by_plain_columns_says_by_which() {
    let (_sim, client) = signed_in(small());
    let metadata = client.dac("$metadata");
    let constraint = |from: &str, to: &str| {
        format!("<ReferentialConstraint Property=\"{from}\" ReferencedProperty=\"{to}\"/>")
    };
    let wanted = [
        format!(
            "<NavigationProperty Name=\"Customer\" Type=\"PX.Objects.AR.Customer\">{}</Nav",
            constraint("CustomerID", "BAccountID")
        ),
        format!(
            "Name=\"SOOrder\" Type=\"PX.Objects.SO.SOOrder\">{}{}</Nav",
            constraint("OrderType", "OrderType"),
            constraint("OrderNbr", "OrderNbr")
        ),
        format!(
            "Name=\"ARInvoice\" Type=\"PX.Objects.AR.ARInvoice\">{}{}</Nav",
            constraint("TranType", "DocType"),
            constraint("RefNbr", "RefNbr")
        ),
        // No column of the customer holds the number of its contact.
        "<NavigationProperty Name=\"DefContact\" Type=\"PX.Objects.CR.Contact\"/>".to_string(),
    ];
    for text in wanted {
        assert!(metadata.text().contains(&text), "{text}");
    }
}

#[test]
fn parameters_of_every_type_restrict_inline_and_by_alias() {
    let values = [
        ("Warehouse", "'MAIN'"),
        ("Line", "2"),
        ("Completed", "true"),
        ("OrderDate", "1900-01-01T00:00:00Z"),
    ];
    let (_sim, client) = signed_in(small());
    let called = |arguments: &str, query: &str| {
        client.gi(&format!("OrderLinesTotals_WithParameters({arguments})?{query}")).rows()
    };
    assert_eq!(client.gi("Order Lines & Totals").rows().len(), 0);
    let all = called("", "");
    assert_eq!(all.len(), 6000);
    let line = &all[8];
    let quantity = line["Quantity"].to_string();
    let note = line["NoteID"].as_str().unwrap();
    for (name, value) in values.into_iter().chain([("Quantity", quantity.as_str()), ("NoteID", note)]) {
        let inline = called(&format!("{name}={value}"), "");
        assert!(!inline.is_empty() && inline.len() < all.len(), "{name}: {}", inline.len());
        assert_eq!(called(&format!("{name}=@p"), &format!("@p={value}")), inline, "{name}");
    }
    let both = called("Line=@1,Completed=@2", "@1=2&@2=false&$select=LineNbr,Completed");
    assert!(both.iter().all(|r| r["LineNbr"] == 2 && r["Completed"] == false) && both.len() > 100);
}

#[test]
fn metadata_names_the_parameters_with_their_types() {
    let (_sim, client) = signed_in(small());
    let metadata = client.gi("$metadata");
    let types = ["String", "Int32", "Decimal", "Boolean", "DateTimeOffset", "Guid"];
    let names = ["Warehouse", "Line", "Quantity", "Completed", "OrderDate", "NoteID"];
    let parameters =
        names.iter().zip(types).map(|(n, t)| format!("<Parameter Name=\"{n}\" Type=\"Edm.{t}\"/>"));
    let function = "<Function Name=\"Order Lines &amp; Totals\">";
    let wanted = format!("{function}{}<ReturnType", parameters.collect::<String>());
    assert!(metadata.text().contains(&wanted), "{wanted}");
}

#[test]
fn inquiries_may_have_names_of_any_alphabet() {
    let (_sim, client) = signed_in(small());
    let document = client.gi("").json();
    let entry = document["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "Größe & Gewicht")
        .unwrap()
        .clone();
    let url = entry["url"].as_str().unwrap();
    assert_eq!(url, "Gr%C3%B6%C3%9Fe%20&%20Gewicht");
    let query =
        "$filter=Gr%C3%B6%C3%9Fe gt 5 and _1Preis gt 10&$select=Gr%C3%B6%C3%9Fe,_1Preis&$orderby=_1Preis";
    let rows = client.gi(&format!("{}?{query}", url.replace('&', "%26"))).rows();
    assert!(!rows.is_empty() && rows.iter().all(|r| r["Größe"].as_f64().unwrap() > 5.0));
    let metadata = client.gi("$metadata");
    assert!(metadata.text().contains("<EntityType Name=\"GrößeGewicht\">"));
    assert!(
        metadata
            .text()
            .contains("<EntitySet Name=\"Größe &amp; Gewicht\" EntityType=\"GenericInquiry.GrößeGewicht\">")
    );
    assert!(metadata.text().contains("<Property Name=\"_1Preis\""));
}

#[test]
fn an_inquiry_may_be_absent_from_the_metadata() {
    let (_sim, client) = signed_in(small());
    let name = "CR-Opportunity Drafts";
    let document = client.gi("").json();
    assert!(has(document["value"].as_array().unwrap(), |e| e["name"] == name));
    assert!(!client.gi("$metadata").text().contains("Drafts"));
    assert_eq!(client.gi(&format!("{name}?$top=3")).rows().len(), 3);
}
