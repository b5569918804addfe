// openid-client, a certified OpenID Connect library, signs in at the simulator with every check that it has.
// Arguments: issuer, id of the client, its secret (empty: a public client). Prints what it got.
import * as oidc from "openid-client";

const [issuer, id, secret] = process.argv.slice(2);
const redirect_uri = "http://127.0.0.1:1/callback";
const authentication = secret ? oidc.ClientSecretBasic(secret) : oidc.None();

async function discover(more = {}) {
  const options = { execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks], ...more };
  return await oidc.discovery(new URL(issuer), id, undefined, authentication, options);
}

/** The address that the browser ends at once the user has agreed, and what the library must find in it. */
async function authorize(config, scope) {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const expectedNonce = oidc.randomNonce();
  const expectedState = oidc.randomState();
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri,
    scope,
    nonce: expectedNonce,
    state: expectedState,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
  });
  const page = await fetch(url);
  const buttons = [...(await page.text()).matchAll(/name="sim_user" value="([^"]+)"/g)].map((match) => match[1]);
  url.searchParams.set("sim_user", buttons[0]);
  const answer = await fetch(url, { redirect: "manual" });
  const location = new URL(answer.headers.get("location"));
  return { location, checks: { pkceCodeVerifier, expectedNonce, expectedState, idTokenExpected: true } };
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error.error ?? error.cause?.message ?? error.message;
  }
  throw new Error("it was taken");
}

const config = await discover();
const result = { server: config.serverMetadata() };

const scope = "openid profile email api offline_access";
let { location, checks } = await authorize(config, scope);
result.redirect = location.href;
const tokens = await oidc.authorizationCodeGrant(config, location, checks);
result.claims = tokens.claims();
result.tokens = Object.keys(tokens);
result.access_token = tokens.access_token;
result.userinfo = await oidc.fetchUserInfo(config, tokens.access_token, result.claims.sub);
result.code_again = await refused(oidc.authorizationCodeGrant(config, location, checks));

const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
result.renewed = { sub: renewed.claims().sub, auth_time: renewed.claims().auth_time, access_token: renewed.access_token };
await oidc.tokenRevocation(config, renewed.refresh_token);
result.revoked = await refused(oidc.refreshTokenGrant(config, renewed.refresh_token));
await oidc.tokenRevocation(config, renewed.access_token);
result.userinfo_revoked = await refused(oidc.fetchUserInfo(config, renewed.access_token, result.claims.sub));

// The checks are on: each fails for what it checks.
({ location, checks } = await authorize(config, scope));
result.wrong_nonce = await refused(oidc.authorizationCodeGrant(config, location, { ...checks, expectedNonce: "other" }));
({ location, checks } = await authorize(config, scope));
result.wrong_state = await refused(oidc.authorizationCodeGrant(config, location, { ...checks, expectedState: "other" }));
({ location, checks } = await authorize(config, scope));
result.wrong_verifier = await refused(
  oidc.authorizationCodeGrant(config, location, { ...checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() }),
);
const forged = await discover();
forged[oidc.customFetch] = async (url, options) => {
  const answer = await fetch(url, options);
  if (!String(url).endsWith("/connect/token")) return answer;
  const body = await answer.json();
  const [head, payload, signature] = body.id_token.split(".");
  const claims = { ...JSON.parse(Buffer.from(payload, "base64url")), email: "somebody@example.org" };
  body.id_token = [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
  return new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } });
};
({ location, checks } = await authorize(forged, scope));
result.forged = await refused(oidc.authorizationCodeGrant(forged, location, checks));

// The hybrid flow, where the code's own hash is in the ID token that comes with it.
const hybrid = await discover();
oidc.useCodeIdTokenResponseType(hybrid);
({ location, checks } = await authorize(hybrid, scope));
result.hybrid = (await oidc.authorizationCodeGrant(hybrid, location, checks)).claims().sub;

// OpenID alone: who it is, and no data.
({ location, checks } = await authorize(config, "openid profile"));
const only = await oidc.authorizationCodeGrant(config, location, checks);
result.only = { claims: only.claims(), access_token: only.access_token };

console.log(JSON.stringify(result));
