//! docs/acumatica.md §4, OAuth 2.0.

use acumatica_sim::{Config, Simulator};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Answer, Client, signed_in, small, start};

pub const ID: &str = "00000000-0000-0000-0000-000000000001@Company";
const CLIENT: &str = "client_id=00000000-0000-0000-0000-000000000001@Company&client_secret=client-secret";

/// `None` if the connection closed without an answer.
pub fn try_token(client: &Client, form: &str) -> Option<Answer> {
    let mut form_client = Client::new(&client.base);
    form_client.headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    form_client.try_send("POST", "/identity/connect/token", Some(&format!("{CLIENT}&{form}")))
}

pub fn token(client: &Client, form: &str) -> Answer {
    try_token(client, form).expect("an answer")
}

pub fn refresh(client: &Client, tokens: &Value) -> Answer {
    token(client, &refresh_form(tokens))
}

pub fn refresh_form(tokens: &Value) -> String {
    format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap())
}

/// Where the authorize page sends the user who consented, without a challenge.
pub fn authorize(client: &Client, id: &str, response_type: &str, scope: &str) -> String {
    let answer = client.get(&format!(
        "/identity/connect/authorize?response_type={response_type}&client_id={id}&\
         redirect_uri=http://localhost:1/cb&scope={scope}&sim_user=admin"
    ));
    answer.all("location")[0].to_string()
}

pub fn code_of(location: &str) -> &str {
    location.split_once("code=").unwrap().1.split('&').next().unwrap()
}

pub fn password(client: &Client, scope: &str) -> Value {
    let answer = token(client, &format!("grant_type=password&username=admin&password=secret&scope={scope}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

pub fn with_bearer(sim: &Simulator, tokens: &Value) -> Client {
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
    let refresh = |tokens: &Value| refresh(&client, tokens);
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
    let url = format!(
        "/identity/connect/authorize?response_type=code&client_id={ID}&redirect_uri=http://localhost:1/cb&\
         scope=api%20offline_access&state=xyz&code_challenge={challenge}&code_challenge_method=S256"
    );
    let page = client.get(&url);
    assert!(page.status == 200 && page.text().contains("value=\"analyst\""));
    let code = || {
        let answer = client.get(&format!("{url}&sim_user=analyst"));
        let location = answer.all("location")[0].to_string();
        assert!(answer.status == 302 && location.ends_with("&state=xyz"), "{location}");
        code_of(&location).to_string()
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
    let location = authorize(&client, ID, "token", "api");
    let value = location.split_once("#access_token=").unwrap().1.split('&').next().unwrap();
    let tokens = serde_json::json!({ "access_token": value });
    assert_eq!(with_bearer(&sim, &tokens).entity("Ledger").status, 200);
}

#[test]
fn only_offline_access_brings_a_refresh_token_in_every_flow() {
    let (_sim, client) = start(Config { token_seconds: 900.0, ..small() });
    let redeem = |location: &str| {
        let code = code_of(location);
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http://localhost:1/cb&code_verifier="
        );
        token(&client, &form).json()
    };
    for (scope, refreshable) in [("api", false), ("openid api", false), ("api offline_access", true)] {
        let hybrid = authorize(&client, ID, "code token", scope);
        let implicit = authorize(&client, ID, "token", scope);
        let from_code = redeem(&authorize(&client, ID, "code", scope));
        for tokens in [password(&client, scope), from_code, redeem(&hybrid)] {
            assert_eq!(
                (tokens.get("refresh_token").is_some(), &tokens["expires_in"]),
                (refreshable, &900.into())
            );
            if refreshable {
                let fresh = refresh(&client, &tokens).json();
                assert!(fresh["refresh_token"].is_string() && fresh["expires_in"] == 900);
            }
        }
        for location in [hybrid, implicit] {
            assert!(
                location.contains("&expires_in=900") && !location.contains("refresh_token"),
                "{location}"
            );
        }
    }
}

#[test]
fn a_dead_bearer_is_401_whatever_cookies_come_along_but_logout_still_works() {
    let (sim, mut client) = signed_in(small());
    for header in ["Bearer nonsense", "bearer nonsense", "Bearer"] {
        client.headers.truncate(1);
        client.headers.push(("authorization".into(), header.into()));
        assert_eq!(
            (client.entity("Ledger").status, client.gi("BI-Customers").status),
            (401, 401),
            "{header}"
        );
    }
    assert_eq!(client.send("POST", "/entity/auth/logout", Some("")).status, 204);
    assert!(sim.control().sessions().is_empty());
}

#[test]
fn a_good_bearer_has_the_session_of_its_grant_whatever_cookies_come_along() {
    let (sim, mut client) = signed_in(small());
    let bearer = with_bearer(&sim, &password(&client, "api"));
    client.headers.extend(bearer.headers);
    assert_eq!((client.entity("Ledger").status, client.gi("BI-Customers?$top=1").status), (200, 200));
    let sessions = sim.control().sessions();
    let requests = |n: usize| (sessions[n]["how"].as_str(), sessions[n]["requests"].as_u64());
    assert_eq!((requests(0), requests(1)), ((Some("cookie"), Some(0)), (Some("bearer"), Some(2))));
}

#[test]
fn the_suffix_of_the_client_chooses_the_tenant_and_the_cookie_tells_it() {
    let clients = ["one@A", "two@B", "three@Elsewhere"].map(|id| format!("{id}:secret")).to_vec();
    let tenants = vec!["A".to_string(), "B".to_string()];
    let site = |tenants| start(Config { clients: clients.clone(), tenants, seats: 0, ..small() });
    let tokens = |client: &Client, id: &str| {
        let form = "client_secret=secret&grant_type=password&username=admin&password=secret&scope=api";
        client.send("POST", "/identity/connect/token", Some(&format!("client_id={id}&{form}"))).json()
    };
    let (sim, client) = site(tenants);
    for (id, tenant, other) in [("one@A", "A", "B"), ("two@B", "B", "A")] {
        let bearer = with_bearer(&sim, &tokens(&client, id));
        assert!(bearer.entity("Ledger").cookies().contains(&format!("CompanyID={tenant}")));
        let gi = |tenant: &str| bearer.get(&format!("/t/{tenant}/api/odata/gi/BI-Customers?$top=1")).status;
        assert_eq!((gi(tenant), gi(other)), (200, 401));
    }
    assert_eq!(tokens(&client, "three@Elsewhere")["error"], "invalid_client");
    assert_eq!(tokens(&client, "one@B")["error"], "invalid_client", "a client is known by its full id");
    let (sim, client) = site(vec!["Company".to_string()]);
    let answer = with_bearer(&sim, &tokens(&client, "three@Elsewhere")).entity("Ledger");
    assert!(answer.status == 200 && answer.cookies().contains("CompanyID=Company"));
}
