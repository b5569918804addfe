//! Faults: each kind does what it says.

use std::time::{Duration, Instant};

use acumatica_sim::{Config, Fault, FaultKind, Simulator};
use serde_json::json;

use crate::client::{Answer, Client, signed_in, small, start};
use crate::oauth::{password, refresh, refresh_form, token, try_token, with_bearer};

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

const PASSWORD: &str = "grant_type=password&username=admin&password=secret&scope=api";

#[test]
fn faults_of_every_kind_hit_the_token_endpoint() {
    let (sim, client) = start(small());
    let add = |fault: Fault| sim.control().add_fault(fault);
    let fault = |kind| Fault::new("/identity/connect/token", kind);
    let start = Instant::now();
    add(Fault { ms: 300, ..fault(FaultKind::Delay) });
    assert!(token(&client, PASSWORD).status == 200 && start.elapsed() >= Duration::from_millis(300));
    add(Fault { status: Some(503), ..fault(FaultKind::Status) });
    assert_eq!(token(&client, PASSWORD).status, 503);
    add(fault(FaultKind::Html));
    assert_eq!(token(&client, PASSWORD).all("content-type"), ["text/html"]);
    add(fault(FaultKind::Redirect));
    assert_eq!(token(&client, PASSWORD).status, 302);
    add(fault(FaultKind::Empty));
    assert_eq!(token(&client, PASSWORD).text(), "");
    add(Fault { bytes: Some(20), ..fault(FaultKind::Truncate) });
    assert_eq!(token(&client, PASSWORD).text().len(), 20);
    let start = Instant::now();
    add(Fault { bytes: Some(20), ms: 300, ..fault(FaultKind::StallBody) });
    assert!(token(&client, PASSWORD).json().is_object() && start.elapsed() >= Duration::from_millis(300));
    add(fault(FaultKind::Close));
    assert!(try_token(&client, PASSWORD).is_none());
    assert_eq!(token(&client, PASSWORD).status, 200);
}

#[test]
fn faults_of_every_kind_hit_login_and_logout() {
    for path in ["/entity/auth/login", "/entity/auth/logout"] {
        let (sim, client) = start(Config { seats: 0, ..small() });
        let add = |fault: Fault| sim.control().add_fault(fault);
        let fault = |kind| Fault::new(path, kind);
        let body = json!({ "name": "admin", "password": "secret" }).to_string();
        let call = || Client::new(&client.base).try_send("POST", path, Some(&body));
        for (kind, status) in [
            (FaultKind::Status, 503),
            (FaultKind::Html, 200),
            (FaultKind::Redirect, 302),
            (FaultKind::Empty, 200),
            // These have no body that could be cut.
            (FaultKind::Truncate, 204),
            (FaultKind::StallBody, 204),
        ] {
            add(fault(kind));
            assert_eq!(call().unwrap().status, status, "{path} {kind:?}");
        }
        let start = Instant::now();
        add(Fault { ms: 300, ..fault(FaultKind::Delay) });
        assert!(call().unwrap().status == 204 && start.elapsed() >= Duration::from_millis(300));
        add(fault(FaultKind::Close));
        assert!(call().is_none());
        assert_eq!(call().unwrap().status, 204);
        assert!(sim.control().faults().is_empty());
    }
}

#[test]
fn a_processed_request_can_lose_its_answer() {
    let (sim, client) = start(small());
    let lost = |kind: &str, tokens: &serde_json::Value| {
        let body = json!({ "match": "/connect/token", "kind": kind, "status": 504, "processed": true });
        assert_eq!(client.send("POST", "/__sim/faults", Some(&body.to_string())).status, 204);
        try_token(&client, &refresh_form(tokens)).map(|answer| answer.status)
    };
    for (kind, status) in
        [("close", None), ("status", Some(504)), ("html", Some(504)), ("redirect", Some(302))]
    {
        let tokens = password(&client, "api offline_access");
        assert_eq!(lost(kind, &tokens), status);
        assert_eq!(
            refresh(&client, &tokens).json()["error"],
            "invalid_grant",
            "{kind}: the token was rotated"
        );
    }
    // Without the word, the request was never looked at.
    let tokens = password(&client, "api offline_access");
    sim.control().add_fault(Fault::new("/connect/token", FaultKind::Close));
    assert!(try_token(&client, &refresh_form(&tokens)).is_none());
    let fresh = refresh(&client, &tokens).json();
    let bearer = with_bearer(&sim, &fresh);
    assert_eq!(bearer.entity("Ledger").status, 200);
    // The seat is free though the client does not hear of it.
    let logout = Fault { status: Some(502), processed: true, ..Fault::new("auth/logout", FaultKind::Status) };
    sim.control().add_fault(logout);
    assert_eq!(bearer.send("POST", "/entity/auth/logout", Some("")).status, 502);
    assert!(sim.control().sessions().is_empty());
}

#[test]
fn a_processed_request_can_be_answered_late() {
    let (sim, client) = start(small());
    let fault = Fault { ms: 300, processed: true, ..Fault::new("auth/login", FaultKind::Delay) };
    sim.control().add_fault(fault);
    let start = Instant::now();
    let base = client.base.clone();
    let login = std::thread::spawn(move || Client::new(&base).login("admin", "secret", "").status);
    while sim.control().sessions().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sim.control().requests()[0].status, 0, "not answered yet");
    assert_eq!(login.join().unwrap(), 204);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn skip_is_applied_twice_ignored_answered_with_nothing_or_begins_late() {
    let (sim, client) = signed_in(small());
    let rest = |path: &str| client.entity(&format!("SalesOrder?$select=OrderNbr&{path}")).rows();
    let gi = |path: &str| {
        client.get(&format!("/t/Company/api/odata/gi/BI-SalesOrders?$select=OrderNbr&{path}")).rows()
    };
    let number = |row: &serde_json::Value| {
        row["OrderNbr"]["value"].as_str().or(row["OrderNbr"].as_str()).map(String::from)
    };
    for (kind, at) in [
        (FaultKind::SkipTwice, Some(20)),
        (FaultKind::SkipIgnored, Some(0)),
        (FaultKind::SkipEmpty, None),
        (FaultKind::SkipLate, Some(11)),
    ] {
        for read in [&rest as &dyn Fn(&str) -> Vec<serde_json::Value>, &gi] {
            sim.control().clear_faults();
            let all = read("$top=40");
            sim.control().add_fault(Fault { count: -1, ..Fault::new("skip", kind) });
            let found = read("$top=5&$skip=10");
            assert_eq!(found.first().and_then(number), at.and_then(|at| number(&all[at])), "{kind:?}");
            assert_eq!(read("$top=40&$skip=0").len(), 40);
        }
    }
}

#[test]
fn an_error_stands_within_the_rows_of_a_200() {
    let (sim, client) = signed_in(small());
    let body = |rows, body: Option<&str>, bytes| {
        let fault = Fault {
            rows: Some(rows),
            body: body.map(String::from),
            bytes,
            ..Fault::new("top=30", FaultKind::InStream)
        };
        sim.control().add_fault(fault);
    };
    for path in
        ["/entity/Default/24.200.001/Ledger?$top=30", "/t/Company/api/odata/gi/BI-SalesOrders?$top=30"]
    {
        let all = client.get(path).rows().len();
        body(3, None, None);
        let rows = client.get(path).rows();
        assert!(rows.len() == 4 && rows[3]["error"]["message"].is_string(), "{path}");
        // More rows than there are: behind the last.
        body(1000, Some("{\"message\":\"An error has occurred.\"}"), None);
        let rows = client.get(path).rows();
        assert!(rows.len() == all + 1 && rows[all]["message"].is_string(), "{path}");
        body(0, None, Some(0));
        let answer = client.get(path);
        assert!(serde_json::from_str::<serde_json::Value>(answer.text()).is_err());
        assert!(answer.text().ends_with("}}"), "{}", answer.text());
    }
    body(2, Some("\"error\":{\"message\":\"late\"}"), None);
    let answer = client.get("/t/Company/api/odata/gi/BI-SalesOrders?$top=30").json();
    assert_eq!((answer["value"].as_array().unwrap().len(), &answer["error"]["message"]), (2, &json!("late")));
}

#[test]
fn next_links_are_relative_of_another_scheme_or_empty() {
    let (sim, client) = signed_in(Config { gi_page_size: 5, ..small() });
    let path = "/t/Company/api/odata/gi/BI-SalesOrders";
    let link = |form: &str| {
        sim.control()
            .add_fault(Fault { body: Some(form.into()), ..Fault::new("Orders", FaultKind::NextLink) });
        client.get(&format!("{path}?$select=OrderNbr")).json()["@odata.nextLink"].clone()
    };
    let query = "?$select=OrderNbr&$skip=5";
    assert_eq!(link("relative"), json!(format!("BI-SalesOrders{query}")));
    assert_eq!(link("path"), json!(format!("/Site{path}{query}")));
    assert_eq!(link("https"), json!(format!("https://127.0.0.1/Site{path}{query}")));
    assert_eq!(link("port"), json!(format!("http://127.0.0.1:80/Site{path}{query}")));
    assert_eq!(link("empty"), json!(""));
    assert_eq!(link("null"), json!(null));
    assert_eq!(link("http://elsewhere/x"), json!("http://elsewhere/x"));
}
