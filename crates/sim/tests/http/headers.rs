//! Request headers at work (docs/acumatica.md §2).

use acumatica_sim::{Config, Ids, Release};
use serde_json::{Value, json};

use crate::client::{Answer, Client, signed_in, small, start};

fn with(client: &mut Client, name: &str, value: &str) {
    client.headers.retain(|(known, _)| known != name);
    client.headers.push((name.into(), value.into()));
}

#[test]
fn headers_are_logged_with_the_request() {
    let (sim, mut client) = signed_in(small());
    sim.control().clear_requests();
    client.entity("Ledger?$top=1");
    with(&mut client, "PX-CbApiBranch", "PRODRETAIL");
    with(&mut client, "PX-CbApiBusinessDate", "2024-05-06");
    with(&mut client, "Accept-Language", "en-US");
    client.entity("Ledger?$top=1");
    let log = client.get("/__sim/requests").json();
    assert_eq!(log[0]["headers"], json!({}));
    let wanted = json!({ "px-cbapibranch": "PRODRETAIL", "px-cbapibusinessdate": "2024-05-06", "accept-language": "en-US" });
    assert_eq!(log[1]["headers"], wanted);
}

#[test]
fn a_branch_that_does_not_exist_is_refused() {
    let (_sim, mut client) = signed_in(small());
    for branch in ["PRODWHOLE", "prodretail", "SERVWEST  "] {
        with(&mut client, "px-cbapibranch", branch);
        assert_eq!(client.entity("Ledger?$top=1").status, 200, "{branch}");
    }
    with(&mut client, "px-cbapibranch", "NOWHERE");
    let answer = client.entity("Ledger?$top=1");
    assert_eq!(answer.failure(), (500, "PX.Data.PXException".to_string()));
    assert!(
        answer.json()["exceptionMessage"].as_str().unwrap().contains("The branch 'NOWHERE' does not exist")
    );
    assert_eq!(client.gi("BI-Customers?$top=1").status, 200, "it is a header of the contract");
}

#[test]
fn archived_rows_come_with_their_header_only() {
    // Ids of lines that last, so that whole answers can be compared.
    let (_sim, mut client) = signed_in(Config { ids: Ids::Stable, ..small() });
    let bills = |client: &Client| client.entity("Bill?$select=ReferenceNbr,Details&$expand=Details").rows();
    let dac = |client: &Client| client.dac("APInvoice?$select=RefNbr,DocType").rows();
    let counts = |c: &Client| {
        (
            bills(c).len(),
            dac(c).len(),
            c.dac("APInvoice/$count").text().to_string(),
            c.gi("BI-APBills").rows().len(),
        )
    };
    assert_eq!(counts(&client), (400, 400, "400".into(), 400));
    let hidden = |client: &Client| client.entity("Bill/Bill/000340").status;
    let before = (hidden(&client), bills(&client));
    with(&mut client, "px-apiarchive", "SHOW");
    assert_eq!(counts(&client), (420, 420, "420".into(), 400));
    assert_eq!((before.0, hidden(&client)), (500, 200));
    let after = bills(&client);
    assert_eq!(after[..400], before.1);
    assert!(after[400..].iter().any(|b| !b["Details"].as_array().unwrap().is_empty()));
    let by_id = format!("Bill/{}", after[410]["id"].as_str().unwrap());
    assert_eq!(client.entity(&by_id).status, 200);
    with(&mut client, "px-apiarchive", "HIDE");
    assert_eq!((counts(&client).0, client.entity(&by_id).status), (400, 500));
}

#[test]
fn deleted_rows_come_with_their_header_on_dacs_only() {
    let (_sim, mut client) = signed_in(small());
    let vendors = |client: &Client, query: &str| client.dac(&format!("PX_Objects_AP_Vendor?{query}")).rows();
    let before = vendors(&client, "");
    assert!(before.len() == 40 && before.iter().all(|v| v["DeletedDatabaseRecord"] == false));
    assert!(
        client
            .dac("$metadata")
            .text()
            .contains("<Property Name=\"DeletedDatabaseRecord\" Type=\"Edm.Boolean\"")
    );
    with(&mut client, "px-apideleted", "show");
    let after = vendors(&client, "");
    assert_eq!(after[..40], before);
    assert!(after.len() == 42 && after[40..].iter().all(|v| v["DeletedDatabaseRecord"] == true));
    assert_eq!(vendors(&client, "$filter=DeletedDatabaseRecord eq true").len(), 2);
    assert_eq!(vendors(&client, "$orderby=BAccountID&$skip=40").len(), 2);
    assert_eq!(client.entity("Vendor?$select=VendorID").rows().len(), 40);
}

fn statuses(answer: &Answer) -> std::collections::BTreeSet<String> {
    answer.rows().iter().map(|r| r["Status"]["value"].as_str().unwrap().to_string()).collect()
}

#[test]
fn labels_are_german_by_header_or_by_the_locale_of_the_login() {
    let (_sim, mut client) = start(Config { seats: 0, ..small() });
    let body = r#"{"name":"admin","password":"secret","locale":"de-DE"}"#;
    let login = client.send("POST", "/entity/auth/login", Some(body));
    assert!(login.cookies().contains("Culture=de-DE"));
    client.headers.push(("cookie".into(), login.cookies()));
    let all = |client: &Client| statuses(&client.entity("SalesOrder?$select=Status"));
    let german = ["Abgeschlossen", "Angehalten", "Back Order", "Offen", "Shipping", "Storniert"];
    assert!(all(&client).iter().eq(german.iter()), "{:?}", all(&client));
    let count = |client: &Client, label: &str| {
        client.entity(&format!("SalesOrder?$select=Status&$filter=Status eq '{label}'")).rows().len()
    };
    let open = count(&client, "Offen");
    assert_eq!((open > 0, count(&client, "Open")), (true, 0), "filters go by what is shown");
    assert!(statuses(&client.entity("PurchaseOrder?$select=Status")).contains("Open"), "of one entity only");
    with(&mut client, "accept-language", "en-US,en;q=0.9");
    assert_eq!((count(&client, "Open"), all(&client).contains("Offen")), (open, false));
    let (_sim, mut client) = signed_in(Config { release: Release::R2026R2, ..small() });
    with(&mut client, "accept-language", "de-DE");
    let rows =
        client.get("/entity/Default/26.200.001/SalesOrder?$select=Status&$filter=Status eq 'N'").rows();
    let wanted = json!({ "id": "N", "description": "Offen" });
    assert!(!rows.is_empty() && rows.iter().all(|r: &Value| r["Status"]["value"] == wanted));
}
