#!/usr/bin/env python3
"""Signing in at sites behind firewalls, proxies and single sign-on: answers to a sign-in that are not Acumatica's own. A
short scripted server sends them."""

import contextlib
import http.server
import json
import os
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, finish, raises, test

COOKIES = [".ASPXAUTH=A1B2; path=/; HttpOnly", "UserBranch=16; path=/"]
ENDPOINTS = {"version": {"acumaticaBuildVersion": "26.101.0225"}, "endpoints": [{"name": "Default", "version": "25.200.001"}]}
ROW = {"id": "00000000-0000-0000-0000-000000000001", "rowNumber": 1, "note": None, "V": {"value": "x"}, "custom": {}}
LOGIN_PAGE = '<html><body><input type="hidden" name="txtSingleCompany" id="txtSingleCompany" value="{}" /></body></html>'
CHALLENGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Enable JavaScript and cookies to continue</body></html>"


class Answer:
    def __init__(self, body=b"", status=200, kind="application/json; charset=utf-8", cookies=(), **headers):
        self.body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.status, self.kind, self.cookies, self.headers = status, kind, cookies, headers


def page(body, status=200):
    return Answer(body, status, "text/html; charset=utf-8")


def to(location):
    return Answer(status=302, Location=location)


# What the server does now: answers, or functions of a request, by method and a part of the path. The first that fits.
script, seen = {}, []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def handle_one(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()))
        seen.append((self.command, path, self.headers.get("Cookie", "")))
        fitting = (answer for (method, part), answer in script.items() if method == self.command and part in path)
        answer = next(fitting, Answer(status=404))
        if callable(answer):
            answer = answer(self)
        self.send_response(answer.status)
        for cookie in answer.cookies:
            self.send_header("Set-Cookie", cookie)
        if answer.body:
            self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(answer.body)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = handle_one


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
db = connect(options="-c statement_timeout=30s")


def serve(cookies=(), **more):
    """A site that lets everybody in; `more` is by what it is asked for."""
    script.clear()
    seen.clear()
    names = {"login": ("POST", "auth/login"), "logout": ("POST", "auth/logout"), "rows": ("GET", "/Thing"), "inquiry": ("GET", "api/odata/gi/"),
             "gi": ("GET", "api/odata/gi"), "page": ("GET", "/Frames/Login.aspx"), "endpoints": ("GET", "/entity"), "token": ("POST", "connect/token")}  # fmt: skip
    usual = {"login": Answer(status=204, cookies=[*COOKIES, *cookies]), "logout": Answer(status=204), "rows": Answer([ROW]), "endpoints": Answer(ENDPOINTS)}
    for name, key in names.items():
        if answer := {**usual, **more}.get(name):
            script[key] = answer


def erp(connection=db, user="username 'u', password 'p'", **options):
    given = {"url": f"http://127.0.0.1:{server.server_port}", "company": "Company", "auth_strategy": "Cookie", "operation_timeout": "3", **options}
    listed = ", ".join(f"{name} '{value}'" for name, value in given.items() if value is not None)
    connection.execute(f"""
        DROP SERVER IF EXISTS erp CASCADE;
        CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({listed});
        CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS ({user});
        CREATE FOREIGN TABLE thing ("V" text) SERVER erp OPTIONS (schema 'REST', entity 'Thing');
        CREATE FOREIGN TABLE inquiry ("V" text OPTIONS (key '1')) SERVER erp OPTIONS (schema 'OData', inquiry 'X')""")


def rows(table="thing", connection=db):
    return connection.execute(f'SELECT "V" FROM {table}').fetchall()


def asked(part):
    return [path for _, path, _ in seen if part in path]


@contextlib.contextmanager
def hearing(connection=db):
    heard = []

    def note(diagnostic):
        heard.append((diagnostic.severity, diagnostic.message_primary, diagnostic.message_hint))

    connection.execute("SET client_min_messages = notice")
    connection.add_notice_handler(note)
    yield heard
    connection.remove_notice_handler(note)
    connection.execute("SET client_min_messages = warning")


def check():
    rows = db.execute("SELECT * FROM acumatica_check('erp')").fetchall()
    return {step: (ok, f"{detail}\n{hint}") for step, ok, detail, hint in rows}


# -- 3.5: the tenant is the one that was asked for ------------------------------------------------------------------------


@test
def issue_3_5_a_quoted_or_encoded_cookie_is_read_and_sent_back_as_it_came():
    for cookie in ('CompanyID="My%20Company"', "CompanyID=My+Company", 'CompanyID="My Company"', "CompanyID=my%20company"):
        serve([f"{cookie}; path=/"])
        erp(company="My Company")
        assert rows() == [("x",)], cookie
        assert cookie in seen[-1][2], seen[-1]
        assert not asked("Login.aspx"), "the cookie is proof enough"
    serve(['CompanyID="Other%20Company"; path=/'])
    erp(company="My Company")
    with raises("28000", 'signed in to company "Other Company", not "My Company"'):
        rows()


@test
def issue_3_5_without_a_cookie_the_sign_in_page_proves_the_tenant_once():
    serve(page=page(LOGIN_PAGE.format("COMPANY")))
    erp()
    with hearing() as heard:
        for _ in range(5):
            assert rows() == [("x",)]
        with connect() as other:
            assert rows(connection=other) == [("x",)]
    assert not heard and len(asked("Login.aspx")) == 1 == len(asked("auth/login")), (heard, seen)
    assert next(cookies for _, path, cookies in seen if "Login.aspx" in path) == "", "it would end the session"
    assert check()["tenant"] == (True, "Company, by the sign-in page\nNone")


@test
def issue_3_5_a_wrong_tenant_is_an_error_without_any_cookie():
    serve(page=page(LOGIN_PAGE.format("Real")))
    erp()
    with raises("28000", 'signed in to company "Real", not "Company"', '"company"'):
        rows()
    assert asked("auth/logout"), "the session is closed again"
    # A release whose URLs contain the tenant; the login page does not name it.
    serve(page=page("<html><form>no word of tenants</form></html>"))
    erp()
    with raises("28000", 'does not have the company "Company"', "/t/Company/"):
        rows()
    listed = '<html><select id="cmpCompany"><option value="A">A</option><option value="B">B</option></select></html>'
    serve(page=page(listed), gi=Answer(status=403))
    erp()
    with raises("28000", 'does not have the company "Company"', "A, B"):
        rows()


@test
def issue_3_5_the_address_that_names_the_tenant_is_a_proof():
    serve(gi=Answer({"value": []}))
    erp()
    with hearing() as heard:
        assert rows() == rows() == [("x",)]
    assert not heard and len(asked("/t/Company/")) == 1, (heard, seen)
    assert check()["tenant"][0] is True
    # HTTP Basic authenticates at the URL that contains the tenant, so no proof is needed.
    serve(gi=Answer({"value": []}, cookies=COOKIES), inquiry=Answer({"value": [{"V": "y"}]}))
    erp(auth_strategy="Basic")
    with hearing() as heard:
        assert rows("inquiry") == [("y",)]
    assert not heard, heard


@test
def issue_3_5_what_is_unproven_is_told_once_for_each_session_and_in_the_check():
    serve()
    erp()
    for connection in (db, connect()):
        with hearing(connection) as heard:
            assert rows(connection=connection) == rows(connection=connection) == [("x",)]
        assert [(severity, 'company "Company"' in text) for severity, text, _ in heard] == [("WARNING", True)], heard
    ok, told = check()["tenant"]
    assert ok is None and "unproven" in told, told
    # Without the option company there is no tenant to prove.
    serve()
    erp(company=None)
    with hearing() as heard:
        assert rows() == [("x",)]
    assert not heard and not asked("Login.aspx")


# -- 4.2: an answer is what it is, whatever its status --------------------------------------------------------------------


@test
def issue_4_2_a_challenge_page_is_no_missing_role():
    for status in (200, 403, 503):
        for where in ("login", "rows", "endpoints"):
            serve(['CompanyID=Company'], **{where: page(CHALLENGE, status)})
            erp()
            with raises("08004", "a firewall before the server", "Just a moment...", f"HTTP {status}"):
                rows()
    serve(["CompanyID=Company"], rows=Answer({"message": "You have insufficient rights to access the Thing (XX000000) form."}, 403))
    erp()
    with raises("42501", "permission denied", "insufficient rights"):
        rows()
    serve(["CompanyID=Company"], rows=page("<html><title>Service Unavailable</title></html>", 503))
    erp(operation_timeout="1")
    with raises("08006", "not available"):
        rows()


@test
def issue_4_2_a_redirect_to_an_error_page_says_why():
    full = "/Frames/Error.aspx?exceptionID=1&typeID=error&message=The+number+of+concurrent+API+logins+for+the+user+has+been+reached."
    for location in (full, full.replace("/Frames/Error.aspx", "/ui/error"), f"https://127.0.0.1{full}"):
        serve(["CompanyID=Company"], rows=to(location))
        erp(operation_timeout="1")
        with raises("53300", "The number of concurrent API logins", "SM201010"):
            rows()
    for location, words in (("/Frames/Error.aspx?message=An+item+with+the+same+key+has+already+been+added.", "An item with the same key"), ("/ui/error", "does not say why")):
        serve(["CompanyID=Company"], rows=to(location))
        erp()
        with raises("HV000", "its error page", words, "SM207060"):
            rows()


@test
def issue_4_2_a_sign_in_page_of_the_other_scheme_signs_in_again():
    serve(["CompanyID=Company"])
    erp()
    assert rows() == [("x",)]
    sign_in = to("https://127.0.0.1:8443/Frames/Login.aspx?ReturnUrl=%2fentity")
    script["GET", "/Thing"] = lambda _: sign_in if len(asked("auth/login")) == 1 else Answer([ROW])
    assert rows() == [("x",)]
    assert len(asked("auth/login")) == 2, seen


@test
def issue_4_2_a_byte_order_mark_is_skipped_everywhere():
    marked = lambda body: Answer(b"\xef\xbb\xbf" + json.dumps(body).encode())  # noqa: E731
    serve(["CompanyID=Company"], endpoints=marked(ENDPOINTS), rows=marked([ROW]))
    erp()
    assert rows() == [("x",)]
    assert asked("/entity/Default/25.200.001/Thing"), seen
    failure = {"message": "An error has occurred.", "exceptionMessage": "A proper company ID cannot be determined for the request.",
               "exceptionType": "PX.Data.PXUndefinedCompanyException"}  # fmt: skip
    serve(login=Answer(b"\xef\xbb\xbf" + json.dumps(failure).encode(), 500))
    erp()
    with raises("28000", 'option "company"', "A proper company ID", "ALTER SERVER"):
        rows()


@test
def issue_4_2_a_list_of_endpoints_that_cannot_be_read_is_an_error_and_none_is_told():
    serve(["CompanyID=Company"], endpoints=Answer(b'{"endpoints": 7}'))
    erp()
    with raises("08P01", "could not read the list of endpoints", "endpoint_version"):
        rows()
    serve(["CompanyID=Company"], endpoints=Answer(status=404))
    erp()
    with hearing() as heard:
        assert rows() == rows() == [("x",)]
    assert len(heard) == 1 and "17.200.001 is assumed" in heard[0][1] and "endpoint_version" in heard[0][2], heard
    assert asked("/entity/Default/17.200.001/Thing")


# -- 2.8: tenants ---------------------------------------------------------------------------------------------------------


@test
def issue_2_8_a_site_of_one_tenant_before_2024_R2_is_asked_without_it():
    def old(handler):
        path = urllib.parse.urlsplit(handler.path).path
        if path == "/odata/X":
            return Answer({"odata.metadata": "…", "value": [{"V": "old"}]})
        return Answer({"value": []}, cookies=COOKIES) if path in ("/odata", "/odata/") else Answer(status=404)

    for company in ("Company", None):
        for version in ("auto", "3"):
            serve(page=page(LOGIN_PAGE.format("Company")))
            script["GET", "/odata"] = old
            erp(auth_strategy="Basic", company=company, odata_version=version)
            assert rows("inquiry") == [("old",)], (company, version)
    # The same that takes it.
    serve(page=page(LOGIN_PAGE.format("Company")))
    script["GET", "/odata/Company/X"] = Answer({"value": [{"V": "named"}]})
    script["GET", "/odata/Company"] = Answer({"value": []}, cookies=COOKIES)
    erp(auth_strategy="Basic")
    assert rows("inquiry") == [("named",)]
    serve()
    erp(auth_strategy="Basic", company=None)
    with raises("HV024", '"company" is required'):
        rows("inquiry")


# -- 4.4: tokens as servers and proxies write them ------------------------------------------------------------------------


def token_server(*answers):
    """A token endpoint that rotates refresh tokens. `answers` are functions of an access and a refresh token, one for each
    request; the last one answers all further requests."""
    tokens = {"good": "r0", "used": []}

    def answer(handler):
        given = handler.form.get("refresh_token")
        tokens["used"].append(given)
        write = answers[min(len(tokens["used"]), len(answers)) - 1]
        number = len(tokens["used"])
        made = write(f"a{number}", f"r{number}")
        if made.status < 400:
            if given != tokens["good"]:
                return Answer({"error": "invalid_grant"}, 400)
            tokens["good"] = f"r{number}"
        return made

    serve(token=answer)
    erp(user="client_id 'x@Company', refresh_token 'r0'", auth_strategy="OAuth")
    return tokens


def good(access, refresh):
    return Answer({"access_token": access, "expires_in": 3600, "token_type": "Bearer", "refresh_token": refresh, "scope": "api offline_access"})


@test
def issue_4_4_token_answers_in_all_their_forms():
    forms = (
        lambda access, refresh: Answer({"access_token": access, "expires_in": "3600", "refresh_token": refresh, "scope": ["api", "offline_access"]}),
        lambda access, refresh: Answer(b"\xef\xbb\xbf" + good(access, refresh).body, kind="text/plain"),
        lambda access, refresh: Answer(good(access, refresh).body, 201, kind="text/html; charset=utf-8"),
        lambda access, refresh: Answer(f"access_token={access}&refresh_token={refresh}&expires_in=3600", kind="application/x-www-form-urlencoded"),
        lambda access, refresh: Answer({"access_token": access, "expires_in": None, "refresh_token": refresh, "token_type": "bearer"}, kind="application/octet-stream"),
    )
    for form in forms:
        tokens = token_server(form)
        assert rows() == rows() == [("x",)] and tokens["used"] == ["r0"], tokens
        # The new token is stored for all backends.
        with connect() as other:
            assert rows(connection=other) == [("x",)] and tokens["used"] == ["r0"], tokens


@test
def issue_4_4_a_renewal_that_cannot_be_read_loses_no_rotated_token():
    # The answer is cut off after the new refresh token. The token is used at once.
    tokens = token_server(lambda access, refresh: Answer(f'{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":'), good)
    assert rows() == [("x",)] and tokens["used"] == ["r0", "r1"], tokens
    # The renewal with the new refresh token fails. The token is kept for the next attempt.
    tokens = token_server(lambda access, refresh: Answer(f'<pre>{{"refresh_token": "{refresh}"}}</pre>'), lambda *_: Answer(status=503), good)
    db.execute("ALTER SERVER erp OPTIONS (SET operation_timeout '1')")
    script["POST", "connect/token"], answer = (lambda handler: answer(handler) if len(tokens["used"]) < 2 else Answer(status=503)), script["POST", "connect/token"]
    with raises("08006", "not available"):
        rows()
    script["POST", "connect/token"] = answer
    tokens["used"].append("…")
    with connect() as other:
        assert rows(connection=other) == [("x",)] and tokens["used"][-1] == "r1", tokens
    # An answer without tokens, such as an HTML page, leaves the old refresh token in place.
    token_server(good)
    script["POST", "connect/token"], answer = Answer("<html><title>Welcome</title></html>", kind="text/html"), script["POST", "connect/token"]
    with raises("08P01", "could not read the server's answer to a request for an access token", "acumatica_authorize_url('erp')"):
        rows()
    script["POST", "connect/token"] = answer
    assert rows() == [("x",)]


@test
def issue_4_4_any_refusal_to_renew_means_to_authorize_again_unless_it_passes():
    for refusal in (Answer(status=400), Answer(status=401), Answer({"message": "no"}, 403), Answer({"error": "consent_required"}, 400), Answer("Gone", 410, "text/plain")):
        tokens = token_server(good)
        assert rows() == [("x",)]
        db.execute("SELECT acumatica_disconnect('erp')")
        refused = []

        def refuse(handler, refusal=refusal, refused=refused):
            refused.append(1)
            return refusal

        script["POST", "connect/token"] = refuse
        script["GET", "/Thing"] = Answer(status=401)
        for connection in (db, connect()):
            with raises("28000", 'the authorization of server "erp" has ended', "acumatica_authorize_url('erp')"):
                rows(connection=connection)
        assert len(refused) == 1, refusal.status
    for status in (408, 429, 503):
        tokens = token_server(lambda *_, status=status: Answer(status=status), good)
        assert rows() == [("x",)] and tokens["used"] == ["r0", "r0"], (status, tokens)


finish()
