//! docs/acumatica.md §4 and §5: cookies, Basic, seats, quotas.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use acumatica_sim::{Config, Simulator};
use base64::Engine;

use crate::client::{Client, signed_in, small, start};

fn basic(user: &str, password: &str) -> (String, String) {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    ("authorization".into(), format!("Basic {text}"))
}

/// Sends text as it is, and reads what comes back until the server closes.
fn raw(sim: &Simulator, text: &str) -> String {
    let address = sim.url().replace("http://", "");
    let mut stream = TcpStream::connect(address.split('/').next().unwrap()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn names(answer: &crate::client::Answer) -> Vec<String> {
    let mut names: Vec<String> =
        answer.all("set-cookie").iter().map(|c| c.split('=').next().unwrap().to_string()).collect();
    names.sort();
    names
}

#[test]
fn login_sets_seven_cookies_and_sends_five_of_them_twice() {
    let (_sim, client) = start(small());
    let answer = client.login("admin", "secret", "Company");
    let twice = [".ASPXAUTH", "ASP.NET_SessionId", "CompanyID", "Locale", "UserBranch"];
    let wanted: Vec<&str> = twice.iter().flat_map(|n| [*n, *n]).chain(["requestid", "requeststat"]).collect();
    assert_eq!(names(&answer), wanted);
    let cookie = |name: &str| -> String {
        answer.all("set-cookie").into_iter().find(|c| c.starts_with(name)).unwrap().to_string()
    };
    assert!(cookie("Locale=").starts_with("Locale=Culture=en-US&TimeZone=GMT"), "{}", cookie("Locale="));
    let expires = cookie("CompanyID=");
    let date = expires.split("expires=").nth(1).unwrap().split(';').next().unwrap();
    assert!(date.len() == 29 && date.matches('-').count() == 2, "{date}");
    let session = cookie("ASP.NET_SessionId=");
    assert!(session.ends_with("; path=/; HttpOnly; SameSite=Lax"), "{session}");
    assert_eq!(session.split(['=', ';']).nth(1).unwrap().len(), 24);
    let ticket = cookie(".ASPXAUTH=");
    assert!((230..=300).contains(&ticket.split(['=', ';']).nth(1).unwrap().len()), "{ticket}");
    assert!(cookie("requeststat=").contains("+sc:~/entity/auth/login+start:"));
    let (_sim, client) = start(Config { local: true, ..small() });
    assert!(
        !client.login("admin", "secret", "Company").cookies().contains("CompanyID"),
        "one tenant, not hosted"
    );
}

#[test]
fn later_answers_set_cookies_too_and_the_ticket_slides() {
    let (_sim, client) = signed_in(Config { seats: 1, ..small() });
    assert_eq!(names(&client.entity("Ledger?$top=1")), ["Locale", "UserBranch"]);
    let form = client.send("PUT", "/entity/Default/24.200.001/InventorySummaryInquiry", Some("{}"));
    assert_eq!(names(&form), ["Locale", "Locale", "UserBranch", "UserBranch", "requestid", "requeststat"]);
    let mut tickets = Vec::new();
    for _ in 0..45 {
        let answer = client.entity("Ledger?$top=1");
        let all = answer.all("set-cookie");
        tickets.extend(all.iter().filter(|c| c.starts_with(".ASPXAUTH=")).map(|c| c.to_string()));
    }
    assert!(tickets.len() == 2 && tickets[0] != tickets[1]);
    let session = client.headers[0].1.split("; ").find(|c| c.starts_with("ASP.NET")).unwrap().to_string();
    let mut newer = Client::new(&client.base);
    newer.headers = vec![("cookie".into(), format!("{session}; {}", tickets[1].split(';').next().unwrap()))];
    assert_eq!(newer.entity("Ledger?$top=1").status, 200);
}

#[test]
fn logout_expires_the_cookies_of_the_session() {
    let (_sim, client) = signed_in(small());
    let answer = client.send("POST", "/entity/auth/logout", Some(""));
    assert_eq!(answer.status, 204);
    for name in [".ASPXAUTH=;", "ASP.NET_SessionId=;"] {
        let expired =
            answer.all("set-cookie").into_iter().filter(|c| c.starts_with(name)).collect::<Vec<_>>();
        assert!(expired.len() == 2 && expired[0].contains("; expires="), "{name}");
    }
}

#[test]
fn wrong_password_is_500() {
    let (_sim, client) = start(small());
    let answer = client.login("admin", "wrong", "Company");
    assert_eq!(
        (answer.status, answer.text().contains("Invalid credentials. Please try again.")),
        (500, true)
    );
}

#[test]
fn a_wrong_tenant_is_accepted_on_a_single_tenant_site_only() {
    let (_sim, client) = start(small());
    let answer = client.login("admin", "secret", "Elsewhere");
    assert_eq!((answer.status, answer.cookies().contains("CompanyID=Company")), (204, true));
    let (_sim, client) = start(Config { tenants: vec!["A".into(), "B".into()], ..small() });
    let failure = client.login("admin", "secret", "Elsewhere").failure();
    assert_eq!(failure, (500, "PX.Data.PXUndefinedCompanyException".into()));
    assert!(client.login("admin", "secret", "b").cookies().contains("CompanyID=B"));
}

#[test]
fn logout_without_content_length_is_411_and_the_session_stays() {
    let (sim, client) = signed_in(small());
    let cookie = &client.headers[0].1;
    let head = format!(
        "POST /Site/entity/auth/logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {cookie}\r\n"
    );
    assert!(raw(&sim, &format!("{head}\r\n")).starts_with("HTTP/1.1 411"));
    assert_eq!(sim.control().sessions().len(), 1);
    assert!(raw(&sim, &format!("{head}Content-Length: 0\r\n\r\n")).starts_with("HTTP/1.1 204"));
    assert_eq!(sim.control().sessions().len(), 0);
    assert_eq!(client.entity("Ledger").status, 401);
}

#[test]
fn without_credentials_everything_is_401() {
    let (_sim, client) = start(small());
    assert_eq!(client.entity("Ledger").status, 401);
    let answer = client.gi("BI-Customers");
    assert_eq!((answer.status, answer.all("www-authenticate").len()), (401, 1));
}

#[test]
fn without_a_seat_login_says_api_login_limit_and_basic_is_sent_to_the_error_page() {
    let (sim, client) = signed_in(Config { seats: 1, ..small() });
    let answer = client.login("analyst", "secret2", "");
    assert_eq!((answer.status, answer.text().contains("API Login Limit")), (500, true));
    let mut other = Client::new(&sim.url());
    other.headers.push(basic("analyst", "secret2"));
    let answer = other.gi("BI-Customers");
    assert_eq!(answer.status, 302);
    assert!(answer.all("location")[0].starts_with("/Site/Frames/Error.aspx?"));
}

#[test]
fn each_basic_call_without_cookies_opens_a_session() {
    let (sim, mut client) = start(Config { seats: 3, ..small() });
    client.headers.push(basic("admin", "secret"));
    let answer = client.gi("BI-Customers?$top=1");
    assert_eq!(client.gi("BI-Customers?$top=1").status, 200);
    assert_eq!(sim.control().sessions().len(), 2);
    client.headers.push(("cookie".into(), answer.cookies()));
    let again = client.gi("BI-Customers?$top=1");
    assert_eq!((again.status, again.all("set-cookie").len(), sim.control().sessions().len()), (200, 2, 2));
    assert_eq!(sim.control().sessions()[0]["how"], "basic");
    let mut wrong = Client::new(&sim.url());
    wrong.headers.push(basic("admin", "wrong"));
    assert_eq!(wrong.gi("BI-Customers").status, 401);
}

#[test]
fn basic_does_not_work_on_rest() {
    let (_sim, mut client) = start(small());
    client.headers.push(basic("admin", "secret"));
    assert_eq!(client.entity("Ledger").status, 401);
}

#[test]
fn idle_sessions_close() {
    let (sim, client) = signed_in(Config { session_idle: 0.2, ..small() });
    assert_eq!(client.entity("Ledger").status, 200);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.entity("Ledger").status, 401);
    assert!(sim.control().sessions().is_empty());
}

#[test]
fn past_half_of_the_quota_answers_slow_down_and_past_it_they_are_429() {
    let (_sim, client) = start(Config { quota: 60, retry_after: Some(7), ..small() });
    let time = |client: &Client| {
        let start = Instant::now();
        let answer = client.get("/entity");
        (answer.status, start.elapsed(), answer.all("retry-after").first().map(|s| s.to_string()))
    };
    for _ in 0..30 {
        assert_eq!(time(&client).0, 200);
    }
    let slow = time(&client);
    assert!(slow.0 == 200 && slow.1 > Duration::from_millis(900), "{slow:?}");
    let (_sim, client) = start(Config { quota: 1, retry_after: Some(7), ..small() });
    time(&client);
    assert_eq!((time(&client).0, time(&client).2), (429, Some("7".into())));
}

#[test]
fn more_than_twenty_waiting_requests_are_429() {
    let (_sim, client) = start(Config { concurrency: 1, latency_ms: 30, ..small() });
    let get = |_| {
        let url = client.base.clone();
        std::thread::spawn(move || Client::new(&url).get("/entity").status)
    };
    let threads: Vec<_> = (0..40).map(get).collect();
    let statuses: Vec<u16> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let refused = statuses.iter().filter(|s| **s == 429).count();
    assert!(refused > 0 && statuses.len() - refused >= 20, "{statuses:?}");
}

#[test]
fn requests_are_logged_with_their_session_and_bytes() {
    let (sim, mut client) = signed_in(small());
    client.headers.push(("accept-encoding".into(), "identity".into()));
    sim.control().clear_requests();
    let answer = client.entity("Ledger?$filter=Type eq 'Actual'&$top=5");
    let log = sim.control().requests();
    assert_eq!(log.len(), 1);
    let entry = &log[0];
    assert_eq!((entry.method.as_str(), entry.status, entry.done), ("GET", 200, true));
    assert_eq!(entry.query, "$filter=Type eq 'Actual'&$top=5");
    assert!(entry.raw_query.contains("%20eq%20"));
    assert_eq!(entry.bytes, answer.text().len() as u64);
    assert_eq!(entry.session, sim.control().sessions()[0]["id"].as_str().unwrap());
    assert_eq!(client.get("/__sim/requests").status, 200);
    assert_eq!(sim.control().requests().len(), 1, "control requests are not logged");
}

#[test]
fn inserted_and_deleted_rows_move_the_order() {
    let (sim, client) = signed_in(small());
    let page = || client.entity("SalesOrder?$select=OrderNbr&$top=4&$skip=100").rows();
    let before = page();
    let insert = r#"{"table":"SalesOrder","insert_before":50}"#;
    assert_eq!(client.send("POST", "/__sim/rows", Some(insert)).status, 204);
    let after = page();
    assert_eq!(after[1]["OrderNbr"], before[0]["OrderNbr"]);
    assert_eq!(client.gi("BI-SalesOrders?$select=OrderNbr").rows().len(), 2001);
    sim.control().delete_row("SalesOrder", 3).unwrap();
    sim.control().delete_row("SalesOrder", 3).unwrap();
    assert_eq!(page()[0]["OrderNbr"], before[1]["OrderNbr"]);
    assert_eq!(client.send("DELETE", "/__sim/rows", None).status, 204);
    assert_eq!(page()[0]["OrderNbr"], before[0]["OrderNbr"]);
}
