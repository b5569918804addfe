//! Faults: each kind does what it says.

use std::time::{Duration, Instant};

use acumatica_sim::{Config, Fault, FaultKind, Simulator};
use serde_json::json;

use crate::client::{Answer, Client, signed_in, small};

const PATH: &str = "BI-SalesOrders?$top=300";

fn with_fault(fault: Fault) -> (Simulator, Client) {
    let (sim, client) = signed_in(small());
    sim.control().add_fault(fault);
    (sim, client)
}

fn get(client: &Client) -> Option<Answer> {
    client.try_send("GET", &format!("/t/Company/api/odata/gi/{PATH}"), None)
}

/// The fault hits once; the request after it is whole again.
fn then_whole(client: &Client) {
    assert_eq!(get(client).unwrap().rows().len(), 300);
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new("BI-Sales.*top", kind)
}

#[test]
fn delay_is_silent_before_the_headers() {
    let (_sim, client) = with_fault(Fault { ms: 300, ..fault(FaultKind::Delay) });
    let start = Instant::now();
    then_whole(&client);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn close_before_the_headers_and_in_the_body() {
    let (sim, client) = with_fault(fault(FaultKind::Close));
    // ureq may try again on a connection it kept; the second fault meets that.
    sim.control().add_fault(fault(FaultKind::Close));
    assert!(get(&client).is_none());
    sim.control().clear_faults();
    sim.control().add_fault(Fault { bytes: Some(5000), ..fault(FaultKind::Close) });
    assert!(get(&client).unwrap().body.is_none());
    then_whole(&client);
}

#[test]
fn status_html_redirect_and_empty_replace_the_answer() {
    let headers = vec![("Retry-After".to_string(), "3".to_string())];
    let (sim, client) = with_fault(Fault { status: Some(503), headers, ..fault(FaultKind::Status) });
    let answer = get(&client).unwrap();
    assert_eq!((answer.status, answer.all("retry-after")), (503, vec!["3"]));
    sim.control().add_fault(fault(FaultKind::Html));
    let answer = get(&client).unwrap();
    assert_eq!((answer.status, answer.all("content-type")), (200, vec!["text/html"]));
    sim.control().add_fault(fault(FaultKind::Redirect));
    assert_eq!(get(&client).unwrap().status, 302);
    sim.control().add_fault(fault(FaultKind::Empty));
    let answer = get(&client).unwrap();
    assert_eq!((answer.status, answer.text()), (200, ""));
    then_whole(&client);
}

#[test]
fn truncate_ends_the_json_early_but_not_the_http() {
    for gzip in [false, true] {
        let (_sim, mut client) = with_fault(Fault { bytes: Some(7000), ..fault(FaultKind::Truncate) });
        if !gzip {
            client.headers.push(("accept-encoding".into(), "identity".into()));
        }
        assert_eq!(get(&client).unwrap().text().len(), 7000);
        then_whole(&client);
    }
}

#[test]
fn bad_length_promises_more_than_it_sends() {
    let (_sim, mut client) = with_fault(fault(FaultKind::BadLength));
    client.headers.push(("accept-encoding".into(), "identity".into()));
    assert!(get(&client).unwrap().body.is_none());
    then_whole(&client);
}

#[test]
fn repeat_next_link_leads_nowhere() {
    let (_sim, client) = with_fault(fault(FaultKind::RepeatNextLink));
    let page = get(&client).unwrap().json();
    assert_eq!(page["@odata.nextLink"], format!("{}/t/Company/api/odata/gi/{PATH}", client.base));
    then_whole(&client);
}

#[test]
fn page_cap_serves_fewer_rows_and_says_nothing() {
    let (sim, client) = with_fault(Fault { rows: Some(10), ..fault(FaultKind::PageCap) });
    let page = get(&client).unwrap().json();
    assert_eq!((page["value"].as_array().unwrap().len(), page.get("@odata.nextLink")), (10, None));
    sim.control().add_fault(Fault { rows: Some(2), ..Fault::new("Ledger", FaultKind::PageCap) });
    assert_eq!(client.entity("Ledger").rows().len(), 2);
    then_whole(&client);
}

#[test]
fn stall_body_pauses_and_goes_on() {
    let (_sim, client) = with_fault(Fault { bytes: Some(4000), ms: 300, ..fault(FaultKind::StallBody) });
    let start = Instant::now();
    then_whole(&client);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn drop_session_is_a_401_in_the_middle() {
    let (sim, client) = with_fault(fault(FaultKind::DropSession));
    assert_eq!(get(&client).unwrap().status, 401);
    assert!(sim.control().sessions().is_empty());
}

#[test]
fn faults_come_and_go_over_http() {
    let (sim, client) = signed_in(small());
    let body = json!({ "match": "Ledger", "kind": "status", "status": 429, "count": -1, "after": 1, "method": "GET" });
    assert_eq!(client.send("POST", "/__sim/faults", Some(&body.to_string())).status, 204);
    assert_eq!(
        [client.entity("Ledger").status, client.entity("Ledger").status, client.entity("Ledger").status],
        [200, 429, 429]
    );
    assert_eq!(client.get("/__sim/faults").json()[0]["kind"], "status");
    assert_eq!(client.send("POST", "/__sim/faults", Some("{\"kind\":\"nonsense\"}")).status, 400);
    assert_eq!(client.send("DELETE", "/__sim/faults", None).status, 204);
    assert_eq!((client.entity("Ledger").status, sim.control().faults().len()), (200, 0));
}

#[test]
fn latency_is_per_answer_and_per_row_and_control_is_instant() {
    let (_sim, client) = signed_in(Config { latency_ms: 150, row_latency_us: 1000, ..small() });
    let start = Instant::now();
    client.get("/__sim/sessions");
    assert!(start.elapsed() < Duration::from_millis(100));
    let start = Instant::now();
    client.gi("BI-SalesOrders?$top=100&$select=OrderNbr");
    assert!(start.elapsed() >= Duration::from_millis(250));
}
