//! What tests ask of the simulator: its clock, its seats, every secret, dead tokens and changed passwords.

use acumatica_sim::Config;

use crate::client::{Client, signed_in, small, start};
use crate::oauth::{ID, authorize, code_of, password, refresh, token, with_bearer};

/// Seconds of the day in a Date header.
fn seconds(date: &str) -> i64 {
    let clock = date.split(' ').nth(4).unwrap().split(':');
    clock.fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap())
}

#[test]
fn the_clock_can_be_off() {
    let (_sim, right) = start(small());
    let (_sim, behind) = start(Config { clock_offset: -3600, ..small() });
    for path in ["/entity", "/entity/Default/24.200.001/Ledger", "/__sim/seats"] {
        let dates = [right.get(path), behind.get(path)].map(|answer| {
            let dates = answer.all("date");
            assert_eq!(dates.len(), 1, "{path}");
            seconds(dates[0])
        });
        // Within a few seconds, also around midnight.
        assert!((3598..=3600).contains(&(dates[0] - dates[1]).rem_euclid(86_400)), "{path} {dates:?}");
    }
}

#[test]
fn secrets_are_all_known_and_none_is_in_the_log() {
    let (sim, client) = signed_in(Config { seats: 0, ..small() });
    let cookies = client.headers[0].1.clone();
    let tokens = password(&client, "api offline_access");
    let bearer = with_bearer(&sim, &tokens);
    assert_eq!(bearer.entity("Ledger").status, 200);
    let code = code_of(&authorize(&client, ID, "code", "api")).to_string();
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri=http://localhost:1/cb");
    assert_eq!(token(&client, &form).status, 200);
    let user = r#"{"name":"admin","password":"changed-password"}"#;
    assert_eq!(client.send("POST", "/__sim/users", Some(user)).status, 204);
    sim.control().expire_access_tokens();
    assert_eq!(refresh(&client, &tokens).status, 200);

    let known: Vec<String> = serde_json::from_value(client.get("/__sim/secrets").json()).unwrap();
    assert_eq!(known, sim.control().secrets());
    let mut wanted = vec!["secret", "secret2", "changed-password", "client-secret", &code];
    wanted.extend(["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap()));
    for name in ["ASP.NET_SessionId", ".ASPXAUTH"] {
        let cookie = cookies.split("; ").find_map(|c| c.strip_prefix(name)).unwrap();
        wanted.push(cookie.strip_prefix('=').unwrap());
    }
    for secret in wanted {
        assert!(known.iter().any(|k| k == secret), "{secret}");
    }
    // One code, two sessions, and an access token for each of three calls, two of them with a refresh token.
    assert_eq!(known.len(), 4 + 1 + 2 * 2 + 3 + 2);
    for entry in sim.control().requests() {
        let shown = [&entry.path, &entry.query, &entry.raw_query];
        let seen = known.iter().find(|secret| shown.iter().any(|text| text.contains(secret.as_str())));
        assert_eq!(seen, None, "{entry:?}");
    }
}

#[test]
fn the_log_tells_the_grant_type_and_who_came_with_a_bearer() {
    let (sim, client) = start(small());
    let bearer = with_bearer(&sim, &password(&client, "api"));
    bearer.entity("Ledger");
    client.entity("Ledger");
    token(&client, "nonsense=1");
    let log = client.get("/__sim/requests").json();
    let of = |n: usize| (log[n].get("grant_type").and_then(|g| g.as_str()), log[n]["bearer"].as_bool());
    assert_eq!(of(0), (Some("password"), Some(false)));
    assert_eq!(of(1), (None, Some(true)));
    assert_eq!(of(2), (None, Some(false)));
    assert_eq!(of(3), (Some(""), Some(false)));
}

#[test]
fn seats_are_counted() {
    let (sim, client) = signed_in(Config { seats: 2, ..small() });
    let second = client.login("analyst", "secret2", "");
    assert_eq!(client.login("analyst", "secret2", "").status, 500);
    assert_eq!(with_bearer(&sim, &password(&client, "api")).entity("Ledger").status, 302);
    let counts = |open: u64, peak: u64, opened: u64, refused: u64| {
        let seats = serde_json::json!({ "open": open, "peak": peak, "opened": opened, "refused": refused });
        assert_eq!(client.get("/__sim/seats").json(), seats);
    };
    counts(2, 2, 2, 2);
    let mut other = Client::new(&sim.url());
    other.headers.push(("cookie".into(), second.cookies()));
    assert_eq!(other.send("POST", "/entity/auth/logout", Some("")).status, 204);
    counts(1, 2, 2, 2);
    assert_eq!(client.send("DELETE", "/__sim/seats", None).status, 204);
    counts(1, 1, 0, 0);
}

#[test]
fn access_and_refresh_tokens_die_when_told() {
    let (sim, client) = start(small());
    let first = password(&client, "api offline_access");
    assert_eq!(with_bearer(&sim, &first).entity("Ledger").status, 200);
    assert_eq!(client.send("DELETE", "/__sim/tokens", None).status, 204);
    assert_eq!(with_bearer(&sim, &first).entity("Ledger").status, 401);
    let second = refresh(&client, &first).json();
    assert_eq!(client.send("DELETE", "/__sim/tokens/refresh", None).status, 204);
    assert_eq!(refresh(&client, &second).json()["error"], "invalid_grant");
    assert_eq!(with_bearer(&sim, &second).entity("Ledger").status, 200, "access tokens stay");
    assert_eq!(client.send("DELETE", "/__sim/tokens/nonsense", None).status, 400);
}

#[test]
fn clients_and_users_change_and_appear() {
    let (_sim, client) = start(Config { seats: 0, ..small() });
    let change = |what: &str, body: &str| client.send("POST", &format!("/__sim/{what}"), Some(body)).status;
    assert_eq!(change("clients", &format!(r#"{{"id":"{ID}","secret":"other"}}"#)), 204);
    assert_eq!(token(&client, "grant_type=password").json()["error"], "invalid_client");
    assert_eq!(change("clients", &format!(r#"{{"id":"{ID}","secret":"client-secret"}}"#)), 204);
    assert_eq!(password(&client, "api")["token_type"], "Bearer");
    assert_eq!(change("clients", r#"{"id":"new@Company","secret":"s:,&"}"#), 204);
    let form =
        "client_id=new@Company&client_secret=s:,%26&grant_type=password&username=new&password=p:,&scope=api";
    let call = || client.send("POST", "/identity/connect/token", Some(form)).status;
    assert_eq!(call(), 400);
    assert_eq!(change("users", r#"{"name":"new","password":"p:,"}"#), 204);
    assert_eq!(call(), 200);
    assert_eq!(change("users", r#"{"name":"ADMIN","password":"fresh"}"#), 204);
    assert_eq!(client.login("admin", "secret", "").status, 500);
    assert_eq!(client.login("admin", "fresh", "").status, 204);
    assert_eq!(change("users", r#"{"name":"admin"}"#), 400);
    assert_eq!(change("clients", "nonsense"), 400);
}
