//! acumatica-api.md §4, OAuth 2.0.

use acumatica_sim::{Config, Simulator};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Answer, Client, small, start};

const CLIENT: &str = "client_id=00000000-0000-0000-0000-000000000001@Company&client_secret=client-secret";

fn token(client: &Client, form: &str) -> Answer {
    let mut form_client = Client::new(&client.base);
    form_client.headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    form_client.send("POST", "/identity/connect/token", Some(&format!("{CLIENT}&{form}")))
}

fn password(client: &Client, scope: &str) -> Value {
    let answer = token(client, &format!("grant_type=password&username=admin&password=secret&scope={scope}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn with_bearer(sim: &Simulator, tokens: &Value) -> Client {
    let mut client = Client::new(&sim.url());
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    client.headers.push(("authorization".into(), bearer));
    client
}

#[test]
fn discovery_names_the_endpoints() {
    let (_sim, client) = start(small());
    let document = client.get("/identity/.well-known/openid-configuration").json();
    assert_eq!(document["token_endpoint"], format!("{}/identity/connect/token", client.base));
}

#[test]
fn a_grant_has_one_session_and_logout_with_the_bearer_frees_it() {
    let (sim, client) = start(small());
    let tokens = password(&client, "api offline_access");
    assert_eq!(tokens["expires_in"], 3600);
    let bearer = with_bearer(&sim, &tokens);
    assert_eq!((bearer.entity("Ledger").status, bearer.gi("BI-Customers?$top=1").status), (200, 200));
    assert_eq!(sim.control().sessions().len(), 1);
    let revoke = format!("{CLIENT}&token={}", tokens["refresh_token"].as_str().unwrap());
    assert_eq!(client.send("POST", "/identity/connect/revocation", Some(&revoke)).status, 200);
    assert_eq!(sim.control().sessions().len(), 1, "revocation does not free the seat");
    assert_eq!(bearer.send("POST", "/entity/auth/logout", Some("")).status, 204);
    assert!(sim.control().sessions().is_empty());
}

#[test]
fn refresh_tokens_rotate_and_the_old_one_is_dead() {
    let (sim, client) = start(Config { token_seconds: 0.3, ..small() });
    let first = password(&client, "api offline_access");
    let refresh = |tokens: &Value| {
        token(
            &client,
            &format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap()),
        )
    };
    assert_eq!(with_bearer(&sim, &first).entity("Ledger").status, 200);
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(with_bearer(&sim, &first).entity("Ledger").status, 401);
    let second = refresh(&first).json();
    assert_eq!(with_bearer(&sim, &second).entity("Ledger").status, 200);
    assert_eq!(sim.control().sessions().len(), 1, "the same grant, the same session");
    let dead = refresh(&first);
    assert_eq!((dead.status, dead.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(refresh(&second).status, 200);
}

#[test]
fn concurrent_access_opens_a_session_for_each_call_without_cookies() {
    let (sim, client) = start(Config { seats: 2, ..small() });
    let mut bearer = with_bearer(&sim, &password(&client, "api:concurrent_access"));
    let answer = bearer.entity("Ledger");
    assert_eq!((answer.status, bearer.entity("Ledger").status), (200, 200));
    let limit = bearer.entity("Ledger");
    assert_eq!((limit.status, limit.all("location").len()), (302, 1));
    bearer.headers.push(("cookie".into(), answer.cookies()));
    assert_eq!(bearer.entity("Ledger").status, 200);
}

#[test]
fn wrong_grants_are_refused_in_the_shape_of_the_rfc() {
    let (_sim, client) = start(small());
    for (form, error) in [
        ("grant_type=password&username=admin&password=wrong&scope=api", "invalid_grant"),
        ("grant_type=password&username=admin&password=secret", "invalid_scope"),
        ("grant_type=client_credentials&scope=api", "unsupported_grant_type"),
        ("grant_type=refresh_token&refresh_token=nonsense", "invalid_grant"),
    ] {
        let answer = token(&client, form);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(error)), "{form}");
    }
    let answer = client.send(
        "POST",
        "/identity/connect/token",
        Some("grant_type=password&client_id=x@y&client_secret=z"),
    );
    assert_eq!(answer.json()["error"], "invalid_client");
}

#[test]
fn authorization_code_with_pkce() {
    let (sim, client) = start(small());
    let verifier = "a-verifier-of-at-least-forty-three-characters-1234";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let id = "00000000-0000-0000-0000-000000000001@Company";
    let url = format!(
        "/identity/connect/authorize?response_type=code&client_id={id}&redirect_uri=http://localhost:1/cb&\
         scope=api%20offline_access&state=xyz&code_challenge={challenge}&code_challenge_method=S256"
    );
    let page = client.get(&url);
    assert!(page.status == 200 && page.text().contains("value=\"analyst\""));
    let code = || {
        let answer = client.get(&format!("{url}&sim_user=analyst"));
        let location = answer.all("location")[0].to_string();
        assert!(answer.status == 302 && location.ends_with("&state=xyz"), "{location}");
        location.split_once("?code=").unwrap().1.split('&').next().unwrap().to_string()
    };
    let redeem = |code: &str, verifier: &str| {
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http://localhost:1/cb&code_verifier={verifier}"
        );
        token(&client, &form)
    };
    assert_eq!(redeem(&code(), "wrong").json()["error"], "invalid_grant");
    let right = code();
    let tokens = redeem(&right, verifier).json();
    assert_eq!(with_bearer(&sim, &tokens).entity("Ledger").status, 200);
    assert_eq!(sim.control().sessions()[0]["user"], "analyst");
    assert_eq!(redeem(&right, verifier).json()["error"], "invalid_grant", "a code works once");
}

#[test]
fn implicit_flow_returns_the_token_in_the_fragment() {
    let (sim, client) = start(small());
    let id = "00000000-0000-0000-0000-000000000001@Company";
    let url = format!(
        "/identity/connect/authorize?response_type=token&client_id={id}&redirect_uri=http://localhost:1/cb&scope=api&sim_user=admin"
    );
    let location = client.get(&url).all("location")[0].to_string();
    let value = location.split_once("#access_token=").unwrap().1.split('&').next().unwrap();
    let tokens = serde_json::json!({ "access_token": value });
    assert_eq!(with_bearer(&sim, &tokens).entity("Ledger").status, 200);
}
