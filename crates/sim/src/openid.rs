//! OpenID Connect: the discovery document, the key, ID tokens and the data of the user.
//!
//! Sources: the vendor's Integration Development Guide (topics "Authorization Code Flow: General Information", "Implicit
//! Flow: Obtaining of an Access Token and ID Token", "OAuth 2.0 and OIDC: Obtaining of the User Data"), and IdentityServer4,
//! the library under it, as the vendor's repository Acumatica-OIDCDemo shows: paths of the discovery document and the
//! claims of an ID token are that library's.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::reply::Reply;
use crate::request::Request;
use crate::state::State;

/// IdentityServer4's default.
const ID_TOKEN_LIFE: i64 = 300;

/// The key that signs ID tokens: RSA, 2048 bits, PKCS #8. It is no secret: every simulator has this one, nobody trusts
/// what it signs, and a key made anew at each start would make each start slower.
static KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::from_pkcs8(include_bytes!("openid-key.der")).expect("a good key"));

/// The public half as JWK members, `n` and `e`.
static PUBLIC: LazyLock<(String, String)> = LazyLock::new(|| {
    let public: PublicKeyComponents<Vec<u8>> = KEY.public_key().into();
    (URL_SAFE_NO_PAD.encode(public.n), URL_SAFE_NO_PAD.encode(public.e))
});

/// RFC 7638, so that the id changes with the key.
static KEY_ID: LazyLock<String> = LazyLock::new(|| {
    let (n, e) = &*PUBLIC;
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
});

fn issuer(state: &State, request: &Request) -> String {
    format!("{}/identity", request.base(&state.config))
}

/// `GET /identity/.well-known/openid-configuration`
pub fn discovery(state: &State, request: &Request) -> Reply {
    let identity = issuer(state, request);
    Reply::json(
        200,
        &json!({
            "issuer": identity,
            "jwks_uri": format!("{identity}/.well-known/openid-configuration/jwks"),
            "authorization_endpoint": format!("{identity}/connect/authorize"),
            "token_endpoint": format!("{identity}/connect/token"),
            "userinfo_endpoint": format!("{identity}/connect/userinfo"),
            "revocation_endpoint": format!("{identity}/connect/revocation"),
            "scopes_supported": ["openid", "profile", "email", "phone", "api", "api:concurrent_access", "offline_access"],
            "claims_supported": ["sub", "name", "given_name", "family_name", "preferred_username", "zoneinfo", "updated_at",
                "email", "phone_number"],
            "grant_types_supported": ["authorization_code", "refresh_token", "implicit", "password"],
            "response_types_supported": ["code", "token", "id_token", "id_token token", "code id_token", "code token",
                "code id_token token"],
            "response_modes_supported": ["form_post", "query", "fragment"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            // "Only the S256 challenge method is supported."
            "code_challenge_methods_supported": ["S256"],
        }),
    )
}

/// `GET /identity/.well-known/openid-configuration/jwks`, as the guide writes it.
pub fn keys() -> Reply {
    let (n, e) = &*PUBLIC;
    let key = json!({ "kty": "RSA", "use": "sig", "kid": *KEY_ID, "alg": "RS256", "n": n, "e": e });
    Reply::json(200, &json!({ "keys": [key] }))
}

/// What the user allowed to tell about themselves. The names of the claims, their order and the form of `sub` are those
/// of the guide's example; which scope brings which is OpenID Connect Core 1.0, section 5.4.
pub fn claims(
    state: &State,
    user: &str,
    tenant: usize,
    allows: impl Fn(&str) -> bool,
) -> Vec<(&'static str, Value)> {
    let mut claims = Vec::new();
    if allows("profile") {
        let (first, rest) = user.split_at(user.chars().next().map_or(0, char::len_utf8));
        let name = format!("{}{rest}", first.to_uppercase());
        claims.extend([
            ("name", json!(format!("{name} Gibbs"))),
            ("given_name", json!(name)),
            ("family_name", json!("Gibbs")),
            ("preferred_username", json!(user)),
        ]);
    }
    if allows("email") {
        claims.push(("email", json!(format!("{user}@example.com"))));
    }
    if allows("phone") {
        claims.push(("phone_number", json!("+1-555-0100")));
    }
    if allows("profile") {
        claims.extend([("zoneinfo", json!("")), ("updated_at", json!("1/1/1900 12:00:00 AM"))]);
    }
    claims.push(("sub", json!(format!("{user}@{}", state.tenants[tenant].0))));
    claims
}

/// What an ID token says besides the claims of the user.
pub struct About<'a> {
    pub client: &'a str,
    pub nonce: &'a str,
    /// When the user signed in.
    pub signed_in: i64,
    /// The tokens that it comes with.
    pub access_token: Option<&'a str>,
    pub code: Option<&'a str>,
}

/// A signed ID token: "contains the same claims as the ones that are obtained through" the user information endpoint.
pub fn id_token(
    state: &State,
    request: &Request,
    about: &About,
    claims: Vec<(&'static str, Value)>,
) -> String {
    let now = state.now();
    let mut payload = json!({
        "nbf": now,
        "exp": now + ID_TOKEN_LIFE,
        "iss": issuer(state, request),
        "aud": about.client,
        "iat": now,
        "auth_time": about.signed_in,
        "idp": "local",
        "amr": ["pwd"],
    });
    if !about.nonce.is_empty() {
        payload["nonce"] = json!(about.nonce);
    }
    for (name, value) in [("at_hash", about.access_token), ("c_hash", about.code)] {
        if let Some(value) = value {
            payload[name] = json!(half_hash(value));
        }
    }
    for (name, value) in claims {
        payload[name] = value;
    }
    let header = json!({ "alg": "RS256", "kid": *KEY_ID, "typ": "JWT" });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(payload));
    let mut signature = vec![0; KEY.public().modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The left half of the hash, as OpenID Connect Core 1.0, section 3.1.3.6, has it for RS256.
fn half_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(token)[..16])
}
