//! OpenID Connect, as the vendor's guide has it. The whole of it is driven by libraries of others in tests/e2e/openid.py.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Client, small, start};
use crate::oauth::{ID, authorize, code_of, password, token, with_bearer};

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// What an ID token claims; its signature is good by the key that the site publishes.
fn verified(client: &Client, id_token: &str) -> Value {
    let document = client.get("/identity/.well-known/openid-configuration").json();
    assert_eq!(
        document["jwks_uri"],
        format!("{}/identity/.well-known/openid-configuration/jwks", client.base)
    );
    let key = client.get("/identity/.well-known/openid-configuration/jwks").json()["keys"][0].clone();
    let (signed, signature) = id_token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    assert_eq!((&header["alg"], &header["kid"]), (&"RS256".into(), &key["kid"]));
    let member = |name: &str| decoded(key[name].as_str().unwrap());
    let public = RsaPublicKeyComponents { n: member("n"), e: member("e") };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decoded(signature)).unwrap();
    serde_json::from_slice(&decoded(payload)).unwrap()
}

fn half_hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16])
}

#[test]
fn an_id_token_in_the_address_is_signed_and_needs_a_nonce_and_the_scope() {
    let (_sim, client) = start(small());
    let location = authorize(&client, ID, "code id_token token", "openid email api&nonce=n1");
    let value = |name: &str| location.split(['#', '&']).find_map(|pair| pair.strip_prefix(name)).unwrap();
    let claims = verified(&client, value("id_token="));
    assert_eq!(claims["iss"], format!("{}/identity", client.base));
    assert_eq!((&claims["aud"], &claims["nonce"]), (&ID.into(), &"n1".into()));
    assert_eq!((&claims["sub"], &claims["email"]), (&"admin@Company".into(), &"admin@example.com".into()));
    assert!(claims.get("name").is_none(), "not without the scope profile");
    assert_eq!(claims["at_hash"], half_hash(value("access_token=")));
    assert_eq!(claims["c_hash"], half_hash(value("code=")));
    for scope in ["openid api", "api&nonce=n1"] {
        let location = authorize(&client, ID, "id_token token", scope);
        assert!(location.contains("error=invalid_request"), "{location}");
    }
}

#[test]
fn the_data_of_the_user_needs_the_scope_openid_and_openid_alone_reads_no_rows() {
    let (sim, client) = start(small());
    let location = authorize(&client, ID, "code", "openid profile");
    let code = code_of(&location);
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri=http://localhost:1/cb");
    let answer = token(&client, &form);
    assert_eq!(answer.all("content-type"), ["application/json; charset=UTF-8"]);
    assert_eq!(answer.all("cache-control"), ["no-cache, no-store"]);
    let tokens = answer.json();
    assert_eq!(tokens["access_token"].as_str().unwrap().len(), 43);
    assert_eq!(verified(&client, tokens["id_token"].as_str().unwrap())["name"], "Admin Gibbs");
    let bearer = with_bearer(&sim, &tokens);
    let info = bearer.get("/identity/connect/userinfo");
    assert_eq!(
        info.text(),
        "{\"name\":\"Admin Gibbs\",\"given_name\":\"Admin\",\"family_name\":\"Gibbs\",\"preferred_username\":\"admin\",\
         \"zoneinfo\":\"\",\"updated_at\":\"1/1/1900 12:00:00 AM\",\"sub\":\"admin@Company\"}"
    );
    assert_eq!(bearer.send("POST", "/identity/connect/userinfo", Some("")).text(), info.text());
    assert_eq!(bearer.entity("Ledger").status, 401);
    let without = with_bearer(&sim, &password(&client, "api")).get("/identity/connect/userinfo");
    assert_eq!(without.status, 403);
    assert_eq!(without.all("www-authenticate"), ["Bearer error=\"insufficient_scope\""]);
    assert_eq!(client.get("/identity/connect/userinfo").status, 401);
}

#[test]
fn the_answer_of_the_authorize_page_goes_where_response_mode_says() {
    let (_sim, client) = start(small());
    let page = |mode: &str| {
        client.get(&format!(
            "/identity/connect/authorize?response_type=code&client_id={ID}&redirect_uri=http://localhost:1/cb&\
             scope=api&state=s1&response_mode={mode}&sim_user=admin"
        ))
    };
    assert!(page("query").all("location")[0].starts_with("http://localhost:1/cb?code="));
    assert!(page("fragment").all("location")[0].starts_with("http://localhost:1/cb#code="));
    let posted = page("form_post");
    assert!(posted.status == 200 && posted.text().contains("action=\"http://localhost:1/cb\""));
    assert!(posted.text().contains("name=\"state\" value=\"s1\""), "{}", posted.text());
}

#[test]
fn errors_of_the_token_endpoint_have_a_description_only_for_a_wrong_password() {
    let (_sim, client) = start(small());
    let wrong = token(&client, "grant_type=password&username=admin&password=wrong&scope=api");
    assert_eq!(
        wrong.text(),
        "{\"error\":\"invalid_grant\",\"error_description\":\"invalid_username_or_password\"}"
    );
    let unknown = client.send("POST", "/identity/connect/token", Some("grant_type=password&client_id=x@y"));
    assert_eq!((unknown.status, unknown.text()), (400, "{\"error\":\"invalid_client\"}"));
}
