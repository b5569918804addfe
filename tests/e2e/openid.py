#!/usr/bin/env python3
"""Published OpenID Connect libraries sign in at the simulator with all their checks on: openid-client (npm) and authlib
(PyPI), by code and PKCE, from the discovery document to the revocation. No PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import json
import urllib.error
import urllib.request

from harness import Sim, finish, test
from packages import Node, needs, venv

HERE = Path(__file__).parent
CONFIDENTIAL = ("11111111-0000-0000-0000-000000000001@Company", "client-secret")
PUBLIC = ("22222222-0000-0000-0000-000000000002@Company", "")

sim = Sim("--scale", "0.1", "--site", "/Site", "--seats", 0, "--clients", f"{':'.join(CONFIDENTIAL)},{':'.join(PUBLIC)}")
ISSUER = f"{sim.url}/identity"


def get(path, token):
    """Status and body of a GET with a bearer."""
    request = urllib.request.Request(sim.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


CUSTOMERS = "/entity/Default/24.200.001/Customer?$select=CustomerID&$top=3"


def check_openid_client(node, client):
    got = node.run((HERE / "node" / "openid.mjs").read_text(), ISSUER, *client)
    server = got["server"]
    assert server["issuer"] == ISSUER
    assert server["jwks_uri"] == f"{ISSUER}/.well-known/openid-configuration/jwks"
    claims = got["claims"]
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, client[0], "admin@Company"), claims
    assert claims["email"] == "admin@example.com" and claims["preferred_username"] == "admin"
    assert {"id_token", "access_token", "refresh_token", "scope"} <= set(got["tokens"])
    # The guide: the ID token has the same claims as the user information.
    assert got["userinfo"].items() <= claims.items(), got["userinfo"]
    assert got["renewed"]["sub"] == claims["sub"] and got["renewed"]["auth_time"] == claims["auth_time"]
    assert got["code_again"] == got["revoked"] == got["wrong_verifier"] == "invalid_grant"
    assert "signature" in got["forged"], got["forged"]
    assert "nonce" in got["wrong_nonce"] and "state" in got["wrong_state"], got
    assert got["hybrid"] == claims["sub"]
    assert "email" not in got["only"]["claims"] and got["only"]["claims"]["name"]
    status, rows = get(CUSTOMERS, got["access_token"])
    assert status == 200 and len(rows) == 3
    # Revoked, and never allowed to.
    assert get(CUSTOMERS, got["renewed"]["access_token"])[0] == 401
    assert get(CUSTOMERS, got["only"]["access_token"])[0] == 401


if node := needs("openid-client", lambda: Node("openid", ["openid-client@6.9.0"])):

    @test
    def openid_client_completes_code_and_pkce_with_a_secret():
        check_openid_client(node, CONFIDENTIAL)

    @test
    def openid_client_completes_code_and_pkce_without_a_secret():
        check_openid_client(node, PUBLIC)


AUTHLIB = """
import json, sys
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
import httpx

issuer, id, secret = sys.argv[1:]
server = httpx.get(issuer + "/.well-known/openid-configuration").json()
keys = KeySet.import_key_set(httpx.get(server["jwks_uri"]).json())
method = "client_secret_post" if secret else "none"
client = OAuth2Client(id, secret or None, redirect_uri="http://127.0.0.1:1/cb", scope="openid email api",
    code_challenge_method="S256", token_endpoint_auth_method=method)
verifier = "v" * 64
url, state = client.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier, nonce="n-0S6_WzA2Mj")
location = httpx.get(url + "&sim_user=analyst").headers["Location"]
token = client.fetch_token(server["token_endpoint"], authorization_response=location, code_verifier=verifier, state=state)
decoded = jwt.decode(token["id_token"], keys, algorithms=["RS256"])

def validate(**wrong):
    options = {"iss": {"value": issuer}, "aud": {"value": id}, "at_hash": {"essential": True}}
    params = {"nonce": "n-0S6_WzA2Mj", "client_id": id, "access_token": token["access_token"], **wrong}
    CodeIDToken(decoded.claims, decoded.header, options, params).validate()

validate()
refused = []
for wrong in ({"nonce": "other"}, {"access_token": "other"}):
    try:
        validate(**wrong)
    except Exception as error:
        refused.append(f"{wrong}: {error}")
info = client.get(server["userinfo_endpoint"]).json()
revoked = client.revoke_token(server["revocation_endpoint"], token["access_token"]).status_code
after = client.get(server["userinfo_endpoint"]).status_code
print(json.dumps({"claims": decoded.claims, "info": info, "refused": refused, "revoked": revoked, "after": after}))
"""

if python := needs("authlib", lambda: venv("openid", ["authlib==1.9.10", "httpx==0.28.1", "joserfc==1.8.0"])):

    @test
    def authlib_completes_code_and_pkce_and_checks_the_hash_of_the_access_token():
        for client in (CONFIDENTIAL, PUBLIC):
            done = subprocess.run([python, "-c", AUTHLIB, ISSUER, *client], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr[-3000:]
            got = json.loads(done.stdout)
            assert got["claims"]["sub"] == "analyst@Company" and len(got["refused"]) == 2, got
            assert got["info"].items() <= got["claims"].items()
            assert (got["revoked"], got["after"]) == (200, 401)


sim.stop()
finish()
