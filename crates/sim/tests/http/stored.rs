//! Tables in files, as generic inquiries.

use acumatica_sim::{Config, Simulator};
use serde_json::json;

use crate::client::{signed_in, small};

/// A site with these files, in a folder of the test's own.
fn site(test: &str, files: &[(&str, &str)]) -> Config {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    Config { tables: Some(dir), ..small() }
}

const TARGETS: &str =
    "*Nbr:int,Text,Goal:decimal,Due:date\n2,B,1.50,2024-02-29\n10,,-3,\n1,\"a, b\",0.10,1999-12-31\n";

#[test]
fn a_file_is_an_inquiry_with_its_columns_and_key() {
    let (_sim, client) = signed_in(site("stored_rows", &[("Sales Targets.csv", TARGETS)]));
    let root = "/t/Company/api/odata/gi";
    let rows = client.get(&format!("{root}/Sales%20Targets")).rows();
    assert_eq!(
        rows[..2],
        [
            json!({ "Nbr": 2, "Text": "B", "Goal": 1.50, "Due": "2024-02-29T00:00:00Z" }),
            json!({ "Nbr": 10, "Text": null, "Goal": -3, "Due": null }),
        ]
    );
    let answer = client
        .get(&format!("{root}/Sales%20Targets?$select=Nbr&$filter=Text%20ne%20'b'&$orderby=Nbr%20desc"));
    assert_eq!(answer.rows(), [json!({ "Nbr": 10 }), json!({ "Nbr": 1 })]);
    let metadata = client.get(&format!("{root}/$metadata"));
    let kind = "<EntityType Name=\"SalesTargets\"><Key><PropertyRef Name=\"Nbr\"/></Key><Property Name=\"Nbr\" Type=\"Edm.Int32\"/>";
    assert!(metadata.text().contains(kind), "{}", metadata.text());
}

#[test]
fn it_may_have_no_key_and_the_name_of_a_bundled_inquiry() {
    let (_sim, client) =
        signed_in(site("stored_name", &[("BI-Customers.csv", "Name\nx\nx\n"), ("note.txt", "")]));
    assert_eq!(
        client.get("/t/Company/api/odata/gi/BI-Customers").rows(),
        [json!({ "Name": "x" }), json!({ "Name": "x" })]
    );
    let metadata = client.get("/t/Company/api/odata/gi/$metadata");
    let kind = "<EntityType Name=\"BICustomers\"><Property Name=\"Name\" Type=\"Edm.String\"/></EntityType>";
    assert_eq!(metadata.text().matches("EntityType Name=\"BICustomers\"").count(), 1);
    assert!(metadata.text().contains(kind), "{}", metadata.text());
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_name() {
    let error =
        |config: Config| Simulator::try_start(config).err().map(|e| e.to_string()).unwrap_or_default();
    let told = error(site("stored_wrong", &[("Odd.csv", "A:int\n1\nx\n")]));
    assert!(told.contains("Odd.csv: line 3: A is no Int"), "{told}");
    let told = error(site("stored_empty", &[]));
    assert!(told.contains("stored_empty: there is no .csv file"), "{told}");
}
