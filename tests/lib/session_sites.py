"""What the tests of sessions share: foreign servers, roles, and the sessions of the simulator."""

import contextlib
import os
import pathlib
import stat

from harness import Sim, connect, eventually, in_background, options, redirected

APP = {"client_id": "00000000-0000-0000-0000-000000000001@Company", "client_secret": "client-secret"}
ADMIN = {"username": "admin", "password": "pass-of-admin"}
ANALYST = {"username": "analyst", "password": "pass-of-analyst"}
ROWS = 1000
DATA = os.environ["CLUSTER_DATA"]
db = connect()


@contextlib.contextmanager
def site(*arguments, seats=0, **more):
    """A simulator of the test's own with the foreign server `erp` on it."""
    sim = Sim("--scale", 0.05, "--seats", seats, *arguments)
    server(sim, **more)
    yield sim
    db.execute("DROP SERVER IF EXISTS erp CASCADE")
    sim.stop()


def server(sim, name="erp", suffix="", user=ADMIN, role="PUBLIC", **more):
    db.execute(f"DROP SERVER IF EXISTS {name} CASCADE")
    db.execute(f"""
        CREATE SERVER {name} FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({options({"url": sim.url, "company": "Company", **more})});
        CREATE USER MAPPING FOR {role} SERVER {name} OPTIONS ({options(user)});
        CREATE FOREIGN TABLE rest{suffix} ("OrderType" text, "OrderNbr" text)
            SERVER {name} OPTIONS (entity 'SalesOrder', page_size '100');
        CREATE FOREIGN TABLE gi{suffix} ("OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'))
            SERVER {name} OPTIONS (schema 'OData', inquiry 'BI-SalesOrders', page_size '100')""")
    if more.get("auth_strategy") == "OAuth" and "refresh_token" not in user:
        authorize()


def authorize(connection=db):
    address = connection.execute("SELECT acumatica_authorize_url('erp')").fetchone()[0]
    connection.execute("SELECT acumatica_authorize('erp', %s)", [redirected(address)])


def count(table="rest", connection=db):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def users(sim):
    return sorted(session["user"] for session in sim.sessions())


def seats(sim):
    return sim.control("GET", "seats")


@contextlib.contextmanager
def slow(sim, milliseconds):
    """In the block another backend has the only session for so long; its rows are right in the end."""
    sim.control("DELETE", "requests")
    sim.fault("SalesOrder", "delay", ms=milliseconds)
    with connect() as holder:
        wait = in_background("SELECT count(*) FROM rest", holder)
        eventually(lambda: sim.requests("SalesOrder"))
        yield
        assert wait() == [(ROWS,)]


@contextlib.contextmanager
def roles(*names):
    """Roles that may use everything of the test, each with a connection."""
    for name in names:
        db.execute(f"CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER erp TO {name}")
    connections = [connect(user=name) for name in names]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for name in names:
            db.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def known(connection=db, columns="*"):
    return connection.execute(f"SELECT {columns} FROM acumatica_sessions() ORDER BY server, user_name").fetchall()


def is_gone(backend):
    pid = backend.pgconn.backend_pid if not backend.closed else 0
    return db.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == (0,)


def options_set(given):
    return ", ".join(f"SET {name} '{value}'" for name, value in given.items())


@contextlib.contextmanager
def another_site():
    sim = Sim("--scale", 0.05)
    yield sim
    sim.stop()


def state_directory():
    """Where the state of the server is kept."""
    oids = "SELECT d.oid::text, s.oid::text FROM pg_database d, pg_foreign_server s WHERE datname = current_database() AND srvname = 'erp'"
    return pathlib.Path(DATA, "acumatica_fdw", *db.execute(oids).fetchone())


def seal(text, role="public", name="erp", connection=db):
    return connection.execute("SELECT acumatica_seal(%s, %s, %s)", [text, name, role]).fetchone()[0]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)
