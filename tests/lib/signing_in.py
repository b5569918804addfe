"""A foreign server for each way to sign in, and what the server was asked meanwhile."""

import contextlib
import re
import urllib.parse

from harness import Sim, connect, options, redirected, test

STRATEGIES = ("Basic", "Cookie", "OAuthPassword", "OAuth", "OAuthImplicit")
CLIENT = "00000000-0000-0000-0000-000000000001@Company"
LOGIN = {"username": "admin", "password": "pass-of-admin"}
APP = {"client_id": CLIENT, "client_secret": "client-secret"}
ROWS = 1000
DENIED = "did not accept the user name or password"
db = connect()
db.execute("SET client_min_messages = notice")


@contextlib.contextmanager
def site(*arguments, seats=0):
    """A simulator of the test's own."""
    sim = Sim("--scale", 0.05, "--seats", seats, *arguments)
    yield sim
    # What is left over has no server to sign out of any more.
    db.execute("DROP SERVER IF EXISTS erp CASCADE")
    sim.stop()


def each(*values):
    """Makes a test of the function for each value."""

    def decorate(function):
        for value in values:

            def run():
                function(value)

            run.__name__ = f"{value}_{function.__name__}"
            test(run)

    return decorate


def mapping(sim, strategy):
    if strategy == "OAuthImplicit":
        query = {"response_type": "token", "client_id": CLIENT, "redirect_uri": "http://x/", "scope": "api"}
        address = redirected(f"{sim.origin}/identity/connect/authorize?{urllib.parse.urlencode(query)}")
        return {"access_token": re.search("access_token=([^&]+)", address)[1]}
    return {"OAuthPassword": {**LOGIN, **APP}, "OAuth": APP}.get(strategy, LOGIN)


def server(sim, strategy="OAuth", user=None, authorized=True, connection=db, **more):
    """The foreign server `erp`, with a mapping, a table for each surface, and a grant if it takes one."""
    given = {"url": getattr(sim, "url", sim), "company": "Company", "auth_strategy": strategy, **more}
    connection.execute("DROP SERVER IF EXISTS erp CASCADE")
    connection.execute(f"""
        CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({options(given)});
        CREATE USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS ({options(user or mapping(sim, strategy))});
        CREATE FOREIGN TABLE rest ("OrderType" text, "OrderNbr" text) SERVER erp OPTIONS (entity 'SalesOrder', page_size '300');
        CREATE FOREIGN TABLE gi ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'))
            SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders', page_size '300');
        CREATE FOREIGN TABLE dac ("OrderType" text, "OrderNbr" text)
            SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', page_size '300')""")
    if strategy == "OAuth" and "refresh_token" not in (user or {}) and authorized:
        authorize(connection)


def authorize_url(connection=db):
    return connection.execute("SELECT acumatica_authorize_url('erp')").fetchone()[0]


def finish_with(answer, connection=db):
    return connection.execute("SELECT * FROM acumatica_authorize('erp', %s)", [answer]).fetchone()


def authorize(connection=db, user="admin"):
    return finish_with(redirected(authorize_url(connection), user), connection)


def count(table="rest", connection=db):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def grants(sim, kind="refresh_token"):
    """The number of requests to the token endpoint with this grant type."""
    return sum(request.get("grant_type") == kind for request in sim.requests())


def in_one_seat(sim):
    """Never were there more sessions than max_sessions allows."""
    assert sim.control("GET", "seats")["peak"] == 1, sim.control("GET", "seats")
    return True


def expire(sim, refresh_tokens=False):
    """The access tokens are dead; from here on the requests are counted anew."""
    sim.control("DELETE", "tokens")
    if refresh_tokens:
        sim.control("DELETE", "tokens/refresh")
    sim.control("DELETE", "requests")


@contextlib.contextmanager
def hearing(connection=db):
    """The notices that the user gets in the block."""
    heard = []

    def note(diagnostic):
        heard.append((diagnostic.severity, diagnostic.message_primary, diagnostic.message_hint))

    connection.add_notice_handler(note)
    yield heard
    connection.remove_notice_handler(note)


def check():
    """The rows of acumatica_check by step."""
    rows = db.execute("SELECT * FROM acumatica_check('erp')").fetchall()
    return {step: (ok, f"{detail}\n{hint}") for step, ok, detail, hint in rows}
