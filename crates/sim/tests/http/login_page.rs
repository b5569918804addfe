//! `/Frames/Login.aspx`, as acumatica-cli reads it.

use acumatica_sim::Config;

use crate::client::{signed_in, small, start};

const PAGE: &str = "/Frames/Login.aspx";

fn names(text: &str, tenant: &str) -> bool {
    text.contains(&format!("id=\"txtSingleCompany\" value=\"{tenant}\""))
}

#[test]
fn the_sign_in_page_names_the_tenant_of_the_session() {
    let (sim, client) = signed_in(small());
    assert!(names(client.get(PAGE).text(), "Company"));
    assert_eq!(sim.control().sessions().len(), 1, "it neither opens a session nor ends one");
    assert_eq!(client.entity("Ledger").status, 200);
    let tenants = vec!["Company".to_string(), "R&D".to_string()];
    let (_sim, stranger) = start(Config { tenants, ..small() });
    let page = stranger.get(PAGE);
    assert!(!page.text().contains("txtSingleCompany"));
    assert!(page.text().contains("<option value=\"R&amp;D\">"), "{}", page.text());
}
