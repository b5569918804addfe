#!/usr/bin/env python3
"""The connection to the server: certificates, client certificates, proxies, and who may set their options. A connection that
is refused sends the server nothing, and no error message shows a secret."""

import base64
import contextlib
import os
import pathlib
import re
import ssl
import sys
import tempfile
import types

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from fronts import Certificates, Proxy, TlsFront
from harness import Sim, connect, create_server, eventually, finish, psycopg, raises, test

PASSWORD, PROXY_PASSWORD, WRONG_PASSWORD = "pass-of-admin", "pass-of-agent", "pass-of-nobody"
NOBODY = "http://127.0.0.1:1"
TABLES = ("inquiry", "entity")

directory = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
pem = Certificates(directory.name)
db = connect()
secrets = {PASSWORD, PROXY_PASSWORD, WRONG_PASSWORD}
# What the refusals said: message, detail and hint of each.
said = []


@contextlib.contextmanager
def site():
    """A simulator of the test's own: no session of an earlier test has business there."""
    sim = Sim("--seats", 0, "--users", f"admin:{PASSWORD}")
    yield sim
    secrets.update(sim.control("GET", "secrets"))
    sim.stop()


def server(url, **options):
    create_server(db, types.SimpleNamespace(url=url), password=PASSWORD, operation_timeout=10, **options)
    db.execute("""
        CREATE FOREIGN TABLE inquiry ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'))
            SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');
        CREATE FOREIGN TABLE entity ("OrderNbr" text) SERVER erp OPTIONS (entity 'SalesOrder')""")


def reads():
    for table in TABLES:
        assert db.execute(f"SELECT count(*) FROM (SELECT * FROM {table} LIMIT 300) x").fetchone() == (300,)


def refusal(action):
    """The error that the action, a statement or a function, fails with; None if it does not."""
    try:
        db.execute(action) if isinstance(action, str) else action()
    except psycopg.Error as error:
        told = error.diag.message_primary, error.diag.message_detail, error.diag.message_hint
        said.append("\n".join(filter(None, told)))
        return error
    return None


def refused(action, sqlstate, message, words=""):
    """It fails with this SQLSTATE, a message that matches, and a hint that holds these words."""
    error = refusal(action)
    assert error, f"no error, not even {sqlstate}"
    assert error.sqlstate == sqlstate, f"SQLSTATE {error.sqlstate}, not {sqlstate}: {said[-1]}"
    assert re.search(message, error.diag.message_primary), f"no {message!r} in the message: {said[-1]}"
    assert error.diag.message_hint and words in error.diag.message_hint, f"no {words!r} in the hint: {said[-1]}"
    assert error.diag.message_detail or not sqlstate.startswith("08"), f"no detail: {said[-1]}"


def unreadable(sqlstate, message, words):
    for table in TABLES:
        refused(f"SELECT * FROM {table}", sqlstate, message, words)


# -- certificates -------------------------------------------------------------------------------------------------------


UNTRUSTED = "is not from an authority that this machine trusts"


@test
def an_authority_in_ca_file_is_trusted():
    with site() as sim, TlsFront(sim.url, *pem.good) as front:
        server(front.url)
        unreadable("08001", f'the certificate of "localhost" {UNTRUSTED}', "ca_file")
        assert not sim.requests()
        for host in ("localhost", "127.0.0.1"):
            server(f"https://{host}:{front.port}", ca_file=pem.ca)
            reads()


for identity, message, words in (
    ("untrusted", UNTRUSTED, "ca_file"),
    ("expired", "has expired", "clock of this machine"),
    ("not_yet_valid", "is not valid yet", "clock of this machine"),
    ("other_name", "is for another host", "url"),
):

    def bad_certificate():
        with site() as sim, TlsFront(sim.url, *getattr(pem, identity)) as front:
            server(front.url, ca_file=pem.ca)
            unreadable("08001", f'the certificate of "localhost" {message}', words)
            assert front.connections and not sim.requests()

    bad_certificate.__name__ = f"a_bad_certificate_is_refused_{identity}"
    test(bad_certificate)


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):

    def client_certificate():
        with site() as sim, TlsFront(sim.url, *pem.good, client_ca=pem.ca, newest=version) as front:
            server(front.url, ca_file=pem.ca)
            unreadable("08001", '"localhost" requires a client certificate', "client_cert_file")
            assert not sim.requests()
            server(front.url, ca_file=pem.ca, client_cert_file=pem.client.certificate, client_key_file=pem.client.key)
            reads()

    client_certificate.__name__ = f"a_client_certificate_is_shown_to_who_requires_one_{version.name}"
    test(client_certificate)


@test
def a_ca_file_that_is_none_is_named():
    missing, empty, text = (pathlib.Path(directory.name, name) for name in ("missing", "empty", "text"))
    empty.touch()
    text.write_text("no certificate\n")
    with site() as sim, TlsFront(sim.url, *pem.good) as front:
        for file in (missing, empty, text):
            error = refusal(lambda: (server(front.url, ca_file=file), reads()))
            assert error and error.sqlstate != "XX000", (file, error)
            assert "ca_file" in error.diag.message_primary and str(file) in said[-1] and error.diag.message_hint, said[-1]
        assert not sim.requests()


@test
def verification_can_be_given_up_for_this_very_machine_only():
    with site() as sim, TlsFront(sim.url, *pem.untrusted) as front:
        server(front.url, verify_certificate="false")
        reads()
        for host in ("erp.example", "localhost.example"):
            refused(f"ALTER SERVER erp OPTIONS (SET url 'https://{host}')", "HV024", "verify_certificate")
        refused(lambda: server("https://erp.example", verify_certificate="false"), "HV024", "verify_certificate")
        server("https://erp.example", verify_certificate="true")
        refused("ALTER SERVER erp OPTIONS (SET verify_certificate 'false')", "HV024", "verify_certificate")


# -- hosts and proxies --------------------------------------------------------------------------------------------------


@test
def a_host_that_does_not_exist_is_told():
    server("https://no-such-host.invalid")
    unreadable("08001", "could not find the host", "url")


@test
def a_host_where_nobody_listens_is_told():
    for scheme in ("http", "https"):
        server(f"{scheme}://127.0.0.1:1")
        unreadable("08001", "could not connect to", "url")


@test
def a_proxy_that_does_not_listen_is_told():
    for scheme in ("http", "https"):
        server(f"{scheme}://localhost:1", proxy=NOBODY)
        unreadable("08001", "could not connect to the proxy", "proxy")


@test
def credentials_in_the_address_of_the_proxy_are_refused():
    proxy = f"http://agent:{PROXY_PASSWORD}@127.0.0.1:1"
    refused(lambda: server(NOBODY, proxy=proxy), "HV024", '"proxy"', "proxy_user")
    server(NOBODY)
    refused(f"ALTER SERVER erp OPTIONS (ADD proxy '{proxy}')", "HV024", '"proxy"', "proxy_user")


for scheme in ("http", "https"):

    def proxy_with_credentials():
        with site() as sim, TlsFront(sim.url, *pem.good) as front, Proxy("agent", PROXY_PASSWORD) as proxy:
            if scheme == "http":
                server(sim.url, proxy=proxy.url)
            else:
                server(front.url, proxy=proxy.url, ca_file=pem.ca)
            mapping = "ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS"
            unreadable("28000", "the proxy .*did not accept", "proxy_user")
            db.execute(f"{mapping} (ADD proxy_user 'agent', ADD proxy_password '{WRONG_PASSWORD}')")
            unreadable("28000", "the proxy .*did not accept", "proxy_user")
            assert proxy.requests and not sim.requests() and not front.connections
            proxy.requests.clear()
            db.execute(f"{mapping} (SET proxy_password '{PROXY_PASSWORD}')")
            reads()
            assert proxy.requests and all(asked.authorised for asked in proxy.requests)
            # Nothing went past the proxy.
            if scheme == "http":
                assert all(asked.target.startswith(f"{sim.url}/") for asked in proxy.requests)
                eventually(lambda: len(proxy.requests) == len(sim.requests()))
            else:
                assert {asked[:2] for asked in proxy.requests} == {("CONNECT", f"localhost:{front.port}")}
                assert len(proxy.requests) == front.connections

    proxy_with_credentials.__name__ = f"{scheme}_goes_through_a_proxy_that_wants_credentials"
    test(proxy_with_credentials)


@test
def a_proxy_for_everyone_needs_no_credentials():
    with site() as sim, Proxy() as proxy:
        server(sim.url, proxy=proxy.url)
        reads()
        assert proxy.requests


# -- who may name files -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def unprivileged():
    """In the block a role without privileges acts, which has a server of its own, `own`."""
    db.execute("CREATE ROLE tester; GRANT USAGE ON FOREIGN DATA WRAPPER acumatica_fdw TO tester; SET ROLE tester")
    try:
        db.execute("CREATE SERVER own FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://erp.example')")
        yield
    finally:
        db.execute("RESET ROLE; DROP OWNED BY tester CASCADE; DROP ROLE tester")


for option, privileged in (
    ("client_cert_file", "superusers"),
    ("client_key_file", "superusers"),
    ("ca_file", "pg_read_server_files"),
    ("password_file", "pg_read_server_files"),
    ("client_secret_file", "pg_read_server_files"),
):

    def files():
        objects = dict(db.execute("SELECT name, objects FROM acumatica_options()").fetchall())
        ways = ["CREATE USER MAPPING FOR CURRENT_USER SERVER own OPTIONS (%s '%s')"]
        if "server" in objects[option]:
            ways = ["ALTER SERVER own OPTIONS (ADD %s '%s')", "ALTER SERVER own OPTIONS (ADD extra_properties '%s=%s')"]
        statements = [way % (option, pem.ca) for way in ways]
        with unprivileged():
            for statement in statements:
                with raises("42501", option):
                    raise refusal(statement) or AssertionError("it was allowed")
            db.execute("RESET ROLE; GRANT pg_read_server_files TO tester; SET ROLE tester")
            for statement in statements:
                error = refusal(statement)
                forbidden = error is not None and error.sqlstate == "42501"
                assert forbidden == (privileged == "superusers"), error

    files.__name__ = f"only_{privileged}_may_set_{option}"
    test(files)


@test
def no_refusal_tells_a_secret():
    encoded = (f"{user}:{secret}".encode() for user in ("admin", "agent") for secret in list(secrets))
    secrets.update([base64.b64encode(pair).decode() for pair in encoded])
    assert len(said) > 30 and len(secrets) > 10, (len(said), len(secrets))
    for text in said:
        assert not any(secret in text for secret in secrets), text


finish()
