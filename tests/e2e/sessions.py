#!/usr/bin/env python3
"""All backends share sessions and wait for them; a session is signed out as soon as nobody may or does use it; no secret can
be read anywhere."""

import contextlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, eventually, finish, in_background, options, raises, redirected, test

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


# -- shared sessions ----------------------------------------------------------------------------------------------------


@test
def backends_share_one_session():
    for strategy, user in (("Basic", ADMIN), ("Cookie", ADMIN), ("OAuthPassword", {**ADMIN, **APP}), ("OAuth", APP)):
        with site(auth_strategy=strategy, user=user) as sim, connect() as one, connect() as other:
            for table in ("rest", "gi"):
                for connection in (one, other, db):
                    assert count(table, connection) == ROWS
            waits = [in_background("SELECT count(*) FROM gi", connection) for connection in (one, other, db)]
            assert all(wait() == [(ROWS,)] for wait in waits)
            assert (seats(sim)["opened"], len(sim.sessions())) == (1, 1), (strategy, seats(sim))


@test
def who_waits_for_a_session_is_told_and_finds_it_in_explain():
    with site() as sim, connect() as waiter:
        heard = []
        waiter.execute("SET client_min_messages = notice")
        waiter.add_notice_handler(lambda note: heard.append((note.severity, note.message_primary, note.message_hint, time.monotonic())))
        explain = "EXPLAIN (ANALYZE, COSTS OFF, FORMAT JSON) SELECT * FROM gi"
        assert count("gi", waiter) == ROWS
        assert waiter.execute(explain).fetchone()[0][0]["Plan"]["Time Waiting for Session"] < 200
        with slow(sim, 6000):
            begun = time.monotonic()
            plan = waiter.execute(explain).fetchone()[0][0]["Plan"]
        assert [note[0] for note in heard] == ["NOTICE"] and 'waiting for a session of server "erp"' in heard[0][1], heard
        assert '"max_sessions" (1)' in heard[0][2] and 4.5 < heard[0][3] - begun < 5.8, heard
        assert 5000 < plan["Time Waiting for Session"] <= plan["Time Waiting"] < 15000, plan
        assert plan["Rows Received"] == ROWS and seats(sim)["peak"] == 1


@test
def who_waits_for_a_session_can_be_cancelled_at_once():
    with site() as sim:
        for how, sqlstate, query in (
            ("statement_timeout", "57014", "SELECT count(*) FROM gi"),
            ("pg_terminate_backend", "57P01", "SELECT count(*) FROM gi"),
            ("pg_cancel_backend", "57014", "SELECT count(*) FROM gi"),
            ("pg_cancel_backend", "57014", "SELECT acumatica_check('erp')"),
            ("pg_cancel_backend", "57014", "SELECT acumatica_disconnect('erp')"),
            ("pg_cancel_backend", "57014", "DROP USER MAPPING FOR PUBLIC SERVER erp"),
        ):
            with slow(sim, 450), connect() as waiter:
                begun = time.monotonic()
                if how == "statement_timeout":
                    waiter.execute("SET statement_timeout = '100ms'")
                wait = in_background(f"{query} /* waits */", waiter)
                if how != "statement_timeout":
                    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%/* waits */'"
                    eventually(lambda: db.execute(waits).fetchone())
                    begun = time.monotonic()
                    db.execute(f"SELECT {how}(%s)", [waiter.info.backend_pid])
                with raises(sqlstate):
                    wait()
                assert time.monotonic() - begun < 0.4, (how, query, time.monotonic() - begun)


@test
def one_session_is_enough_for_any_number_of_scans_in_a_backend():
    with site() as sim, connect() as other:
        for join in ("nestloop", "hashjoin", "mergejoin"):
            for way in {"nestloop", "hashjoin", "mergejoin"} - {join}:
                db.execute(f"SET enable_{way} = off")
            assert count('rest JOIN gi USING ("OrderType", "OrderNbr")') == ROWS
            db.execute("RESET ALL; SET client_min_messages = warning")
        with db.transaction():
            tables = ("rest", "gi", "rest", "gi")
            for number, table in enumerate(tables):
                db.execute(f"DECLARE c{number} CURSOR FOR SELECT * FROM {table}")
            read = [len(db.execute(f"FETCH 150 FROM c{number}").fetchall()) for number in range(len(tables))]
            # Neither the cursors nor the other backend keep the session.
            assert count("gi", other) == ROWS == count("rest")
            for number in range(len(tables)):
                read[number] += len(db.execute(f"FETCH 300 FROM c{number}").fetchall())
                assert count("rest", other) == ROWS
                read[number] += len(db.execute(f"FETCH ALL FROM c{number}").fetchall())
            assert read == [ROWS] * len(tables)
        assert seats(sim)["peak"] == 1 == seats(sim)["opened"], seats(sim)


@test
def a_long_scan_lets_short_queries_through():
    with site("--latency-ms", 100) as sim, connect() as long, connect() as short:
        count("rest", short)
        wait = in_background("SELECT count(*) FROM rest a", long)
        eventually(lambda: len(sim.requests("SalesOrder")) > 12)
        asked = len(sim.requests("SalesOrder"))
        short.execute("SELECT * FROM rest LIMIT 1")
        assert len(sim.requests("SalesOrder")) - asked < 6
        assert wait() == [(ROWS,)] and seats(sim)["peak"] == 1


@test
def two_users_take_turns_where_there_is_one_session():
    with site(user=ANALYST, role="CURRENT_USER") as sim, roles("alice", "bob") as (alice, bob):
        for name, user in (("alice", ADMIN), ("bob", ANALYST)):
            db.execute(f"CREATE USER MAPPING FOR {name} SERVER erp OPTIONS ({options(user)})")
        for _ in range(3):
            for connection, user in ((alice, "admin"), (bob, "analyst")):
                assert count("rest", connection) == ROWS == count("gi", connection) and users(sim) == [user]
        waits = [in_background("SELECT count(*) FROM gi", connection) for connection in (alice, bob)]
        assert all(wait() == [(ROWS,)] for wait in waits)
        assert seats(sim)["peak"] == 1 and not seats(sim)["refused"], seats(sim)


@test
def max_sessions_are_used_and_never_exceeded():
    with site(max_sessions=3) as sim:
        backends = [connect() for _ in range(8)]
        sim.fault("SalesOrder", "delay", ms=150, count=20)
        for wait in [in_background("SELECT count(*) FROM rest", backend) for backend in backends]:
            assert wait() == [(ROWS,)]
        assert seats(sim)["peak"] == 3, seats(sim)
        for backend in backends:
            backend.close()
        eventually(lambda: not sim.sessions())


@test
def a_licence_with_fewer_seats_than_max_sessions_makes_no_error():
    for strategy in ("Basic", "Cookie", "OAuthPassword"):
        user = {**ADMIN, **APP} if strategy == "OAuthPassword" else ADMIN
        with site(seats=1, max_sessions=2, auth_strategy=strategy, user=user) as sim:
            with roles("alice") as (alice,), connect() as other:
                db.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options({**user, **ANALYST})})")
                for _ in range(3):
                    waits = [in_background("SELECT count(*) FROM rest", each) for each in (db, other, alice)]
                    assert all(wait() == [(ROWS,)] for wait in waits)


# -- the end of sessions ------------------------------------------------------------------------------------------------


@test
def the_last_backend_to_go_signs_out():
    for strategy, user in (("Basic", ADMIN), ("OAuth", APP)):
        with site(auth_strategy=strategy, user=user) as sim:
            db.execute("SELECT acumatica_disconnect('erp')")
            ends = (lambda backend: backend.close(), lambda backend: db.execute("SELECT pg_terminate_backend(%s)", [backend.info.backend_pid]))
            for first in ends:
                for last in ends:
                    one, other = connect(), connect()
                    assert count("rest", one) == ROWS == count("gi", other)
                    # Of those who use it: db has, if at all, for the authorization alone.
                    first(one)
                    eventually(lambda: is_gone(one))
                    assert len(sim.sessions()) == 1 and count("gi", other) == ROWS
                    assert seats(sim)["peak"] == 1
                    last(other)
                    if strategy == "Basic":
                        eventually(lambda: not sim.sessions())


@test
def an_idle_session_is_signed_out_while_its_backends_stay():
    for strategy, user in (("Basic", ADMIN), ("OAuth", APP)):
        with site(idle_logout=1, auth_strategy=strategy, user=user) as sim, connect() as one, connect() as other:
            for connection in (one, other):
                assert count("rest", connection) == ROWS
            with other.transaction():
                other.execute("DECLARE c CURSOR FOR SELECT * FROM gi")
                rows = other.execute("FETCH 250 FROM c").fetchall()
                eventually(lambda: not sim.sessions(), 4)
                # It comes back for the next page, and the scan goes on.
                rows += other.execute("FETCH ALL FROM c").fetchall()
            assert len(set(rows)) == ROWS == len(rows) and len(sim.sessions()) == 1
            assert seats(sim)["peak"] == 1
            # One that is in use is not idle, however long an answer takes.
            with slow(sim, 1700):
                assert len(sim.sessions()) == 1
            assert seats(sim)["opened"] <= 3, seats(sim)


@test
def disconnect_closes_and_counts():
    with site() as sim:
        server(sim, "second", "2")
        assert db.execute("SELECT acumatica_disconnect('erp'), acumatica_disconnect_all()").fetchone() == (0, 0)
        with connect() as other:
            for expected, query in ((1, "acumatica_disconnect('erp')"), (2, "acumatica_disconnect_all()")):
                assert count("rest", other) == ROWS == count("rest2", other)
                assert db.execute(f"SELECT {query}").fetchone() == (expected,)
                assert len(sim.sessions()) == 2 - expected
            assert count("gi", other) == ROWS
            # What is under way ends first.
            with slow(sim, 500):
                assert db.execute("SELECT acumatica_disconnect('erp')").fetchone() == (1,)
        db.execute("DROP SERVER second CASCADE")


@test
def disconnect_is_for_owners_and_for_ones_own():
    with site(user=ANALYST, role="CURRENT_USER", max_sessions=3) as sim, roles("alice", "bob") as (alice, bob):
        db.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options(ADMIN)})")
        assert count("gi", alice) == ROWS == count()
        assert alice.execute("SELECT acumatica_disconnect('erp')").fetchone() == (1,) and users(sim) == ["analyst"]
        assert count("gi", alice) == ROWS
        assert alice.execute("SELECT acumatica_disconnect_all()").fetchone() == (1,) and users(sim) == ["analyst"]
        assert count("gi", alice) == ROWS
        assert db.execute("SELECT acumatica_disconnect('erp')").fetchone() == (2,) and not sim.sessions()
        db.execute("REVOKE USAGE ON FOREIGN SERVER erp FROM bob")
        for function in ("disconnect", "check", "authorize_url"):
            with raises("42501", "permission denied for foreign server erp"):
                bob.execute(f"SELECT acumatica_{function}('erp')")
            with raises("42704", 'server "nowhere" does not exist'):
                bob.execute(f"SELECT acumatica_{function}('nowhere')")
        assert bob.execute("SELECT acumatica_disconnect_all()").fetchone() == (0,)
        db.execute("CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER other FOREIGN DATA WRAPPER dummy")
        with raises("42809", 'server "other" is not one of acumatica_fdw'):
            db.execute("SELECT acumatica_disconnect('other')")
        db.execute("DROP FOREIGN DATA WRAPPER dummy CASCADE")


@test
def disconnect_all_passes_over_servers_without_a_mapping():
    with site(role="CURRENT_USER") as sim, roles("alice") as (alice,):
        assert count() == ROWS
        assert alice.execute("SELECT acumatica_disconnect_all()").fetchone() == (0,) and len(sim.sessions()) == 1


@test
def sessions_that_the_server_has_closed_are_opened_again():
    with site() as sim:
        for table in ("rest", "gi"):
            assert count(table) == ROWS
            sim.control("DELETE", "sessions")
            assert count(table) == ROWS and len(sim.sessions()) == 1


@test
def a_seat_that_others_have_is_waited_for():
    for strategy in ("Basic", "Cookie", "OAuthPassword"):
        user = {**ADMIN, **APP} if strategy == "OAuthPassword" else ADMIN
        with site(seats=1, auth_strategy=strategy, user=user) as sim, connect() as backend:
            for table in ("rest", "gi"):
                login = {"name": "analyst", "password": ANALYST["password"]}
                urllib.request.urlopen(f"{sim.origin}/entity/auth/login", json.dumps(login).encode())
                wait = in_background(f"SELECT count(*) FROM {table}", backend)
                eventually(lambda: seats(sim)["refused"])
                assert users(sim) == ["analyst"]
                sim.control("DELETE", "sessions")
                assert wait() == [(ROWS,)] and users(sim) == ["admin"]
                db.execute("SELECT acumatica_disconnect('erp')")
                sim.control("DELETE", "seats")


# -- DDL ----------------------------------------------------------------------------------------------------------------

DDL = {
    "drop_user_mapping": "DROP USER MAPPING FOR CURRENT_USER SERVER erp",
    "drop_server": "DROP SERVER erp CASCADE",
    "drop_owned": "DROP OWNED BY owner CASCADE",
    "drop_extension": "DROP EXTENSION acumatica_fdw CASCADE",
    "alter_server": "ALTER SERVER erp OPTIONS (ADD branch 'MAIN')",
    "alter_user_mapping": "ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (SET password 'another')",
    "alter_url": "ALTER SERVER erp OPTIONS (SET url 'http://127.0.0.1:1')",
}
for what, statement in DDL.items():
    for strategy in ("Basic", "OAuthPassword"):

        def closes():
            user = {**ADMIN, **APP} if strategy == "OAuthPassword" else ADMIN
            with site(auth_strategy=strategy, user=user, role="CURRENT_USER") as sim, connect() as holder, connect() as stranger:
                db.execute("CREATE ROLE owner SUPERUSER; ALTER SERVER erp OWNER TO owner")
                try:
                    assert count("gi", holder) == ROWS and len(sim.sessions()) == 1
                    directory = state_directory()
                    # One that has not used the extension before.
                    stranger.execute(statement)
                    assert not sim.sessions(), "the session is still open"
                    there = db.execute("SELECT count(*) FROM pg_foreign_server WHERE srvname = 'erp'").fetchone()[0]
                    assert directory.exists() == bool(there), list(directory.iterdir())
                finally:
                    connect().close()
                    db.execute("DROP OWNED BY owner CASCADE; DROP ROLE owner")

        closes.__name__ = f"{what}_signs_out_at_once_{strategy}"
        test(closes)


@test
def who_cannot_drop_the_extension_signs_nobody_out():
    with site() as sim, roles("alice") as (alice,):
        assert count() == ROWS
        with raises("42501", "must be owner of extension"):
            alice.execute("DROP EXTENSION acumatica_fdw CASCADE")
        assert len(sim.sessions()) == 1


@test
def operators_on_the_search_path_are_not_called():
    with site(), connect() as backend:
        # Otherwise they would run with the rights of the user of the command.
        backend.execute("CREATE SCHEMA trap")
        for other in ("regclass", "oid"):
            backend.execute(f"""
                CREATE FUNCTION trap.sprung(oid, {other}) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'sprung'; END$$;
                CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = {other}, FUNCTION = trap.sprung)""")
        backend.execute("SET search_path = trap, public, pg_catalog")
        backend.execute("ALTER SERVER erp OPTIONS (ADD branch 'MAIN'); ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password 'x')")
        backend.execute("DROP USER MAPPING FOR PUBLIC SERVER erp; DROP SERVER erp CASCADE; RESET search_path; DROP SCHEMA trap CASCADE")


@test
def mappings_of_other_wrappers_leave_no_trace():
    with site():
        assert count() == ROWS
        before = sorted(path.name for path in state_directory().iterdir())
        db.execute("CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER other FOREIGN DATA WRAPPER dummy; CREATE USER MAPPING FOR PUBLIC SERVER other")
        db.execute("DROP FOREIGN DATA WRAPPER dummy CASCADE")
        assert sorted(path.name for path in state_directory().iterdir()) == before


for what in ("SELECT acumatica_disconnect('erp')", DDL["alter_server"], DDL["drop_user_mapping"]):

    def between_pages():
        with site("--latency-ms", 30, role="CURRENT_USER") as sim, connect() as backend:
            db.execute("CREATE FOREIGN TABLE small (\"OrderNbr\" text) SERVER erp OPTIONS (entity 'SalesOrder', page_size '20')")
            wait = in_background("SELECT count(*) FROM small", backend)
            eventually(lambda: len(sim.requests("SalesOrder")) > 3)
            asked = len(sim.requests("SalesOrder"))
            db.execute(what)
            asked = len(sim.requests("SalesOrder")) - asked
            assert wait() == [(ROWS,)]
            # It waits for the request under way, not for the end of the scan.
            assert asked < 10, asked

    between_pages.__name__ = f"a_long_scan_does_not_hold_up_{what.split('(')[0].split(' FOR ')[0].replace(' ', '_').lower()}"
    test(between_pages)


@test
def a_scan_under_way_leaves_no_session_of_a_mapping_that_was_dropped():
    for strategy, user in (("Basic", ADMIN), ("OAuthPassword", {**ADMIN, **APP})):
        with site("--latency-ms", 40, auth_strategy=strategy, user=user) as sim, connect() as backend:
            wait = in_background("SELECT count(*) FROM gi", backend)
            eventually(lambda: len(sim.requests("BI-SalesOrders")) > 3)
            db.execute("DROP USER MAPPING FOR PUBLIC SERVER erp")
            assert wait() == [(ROWS,)]
            eventually(lambda: not sim.sessions(), 3)
            assert not list(state_directory().glob("grant.*[0-9]"))


@test
def a_key_file_that_cannot_be_used_keeps_nothing_from_being_dropped():
    with site():
        assert count() == ROWS
        db.execute("CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER other FOREIGN DATA WRAPPER dummy; CREATE USER MAPPING FOR PUBLIC SERVER other")
        key = pathlib.Path(DATA, "acumatica_fdw", "key")
        key.chmod(0o644)
        try:
            with connect() as backend:
                for server in ("other", "erp"):
                    backend.execute(f"DROP USER MAPPING FOR PUBLIC SERVER {server}; DROP SERVER {server} CASCADE")
        finally:
            key.chmod(0o600)
            db.execute("DROP FOREIGN DATA WRAPPER dummy CASCADE")


@test
def altered_options_take_effect_at_the_next_statement():
    with site() as sim, another_site() as elsewhere, connect() as holder:
        for transaction in (contextlib.nullcontext, holder.transaction):
            with transaction():
                assert count("gi", holder) == ROWS and users(sim) == ["admin"]
                db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS ({options_set(ANALYST)})")
                assert not sim.sessions()
                assert count("gi", holder) == ROWS and users(sim) == ["analyst"]
                db.execute(f"ALTER SERVER erp OPTIONS (SET url '{elsewhere.url}')")
                assert count("rest", holder) == ROWS and not sim.sessions() and users(elsewhere) == ["analyst"]
                db.execute("ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password 'wrong')")
            with raises("28000"):
                count("rest", holder)
            db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS ({options_set(ADMIN)})")
            db.execute(f"ALTER SERVER erp OPTIONS (SET url '{sim.url}')")


@test
def a_drop_that_is_rolled_back_keeps_the_authorization():
    with site(auth_strategy="OAuth", user=APP) as sim:
        for statement in ("DROP SERVER erp CASCADE", "DROP USER MAPPING FOR PUBLIC SERVER erp"):
            assert count() == ROWS
            db.execute(f"BEGIN; {statement}; ROLLBACK")
            assert not sim.sessions() and count() == ROWS
            db.execute(f"BEGIN; SAVEPOINT s; {statement}; ROLLBACK TO s; COMMIT")
            assert not sim.sessions() and count() == ROWS
        db.execute(f"DROP USER MAPPING FOR PUBLIC SERVER erp; CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS ({options(APP)})")
        with raises("28000", "has not been authorized"):
            count()
        directory = state_directory()
        assert not known() and not list(directory.glob("grant.*[0-9]"))
        authorize()
        assert count() == ROWS and list(directory.glob("grant.*[0-9]"))


# -- what is shown, and to whom -----------------------------------------------------------------------------------------


@test
def acumatica_sessions_shows_each_session_and_no_secret():
    with site(auth_strategy="OAuth", user=APP) as sim:
        columns = "server, user_name, auth_strategy, state, opened IS NULL, requests, access_token_expires > now() + '59 min', refresh_token_expires > now() + '29 days'"
        db.execute("SELECT acumatica_disconnect('erp')")
        assert known(columns=columns) == [("erp", "public", "OAuth", "signed out", True, None, True, True)], known()
        assert count() == ROWS
        row = known(columns=columns)
        assert row[0][:5] == ("erp", "public", "OAuth", "idle", False) and row[0][5] >= 10 and row[0][6:] == (True, True), row
        times = db.execute("SELECT opened < last_used, now() - last_used < '10 s' FROM acumatica_sessions()").fetchone()
        assert times == (True, True), known()
        with slow(sim, 400):
            assert [row[0] for row in known(columns="state")] == ["busy"]
        secrets = [*sim.control("GET", "secrets"), *APP.values()]
        assert len(secrets) > 5 and not any(secret in str(known()) for secret in secrets if secret != APP["client_id"])
        sim.control("DELETE", "tokens")
        sim.control("DELETE", "tokens/refresh")
        with raises("28000"):
            count()
        db.execute("SELECT acumatica_disconnect('erp')")
        assert known(columns=columns) == [("erp", "public", "OAuth", "authorization ended", True, None, None, None)], known()


@test
def acumatica_sessions_shows_ones_own_unless_one_may_see_all():
    with site(user=ANALYST, role="CURRENT_USER", max_sessions=2) as sim, roles("alice", "bob") as (alice, bob):
        db.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options(ADMIN)})")
        assert count() == ROWS == count("gi", alice) and len(sim.sessions()) == 2
        me = db.info.user

        def seen(connection):
            return [row[0] for row in known(connection, "user_name")]

        assert (seen(db), seen(alice), seen(bob)) == (["alice", me], ["alice"], [])
        db.execute("GRANT pg_read_all_stats TO bob")
        assert seen(bob) == ["alice", me]
        db.execute("REVOKE pg_read_all_stats FROM bob; GRANT USAGE ON FOREIGN DATA WRAPPER acumatica_fdw TO bob; ALTER SERVER erp OWNER TO bob")
        assert count() == ROWS == count("gi", alice) and seen(bob) == ["alice", me]
        db.execute(f"ALTER SERVER erp OWNER TO {me}")


@test
def each_user_signs_in_with_the_mapping_of_its_own():
    with site(user=ADMIN, role="CURRENT_USER") as sim, roles("alice", "bob") as (alice, bob):
        assert count() == ROWS
        for query in ("SELECT count(*) FROM rest", "SELECT acumatica_authorize_url('erp')"):
            with raises("42704", "user mapping", '"alice"', "CREATE USER MAPPING FOR alice"):
                alice.execute(query)
        db.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS ({options(ANALYST)})")
        assert count("gi", alice) == ROWS and users(sim) == ["analyst"]
        db.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options(ADMIN)})")
        assert count("rest", alice) == ROWS and users(sim) == ["admin"]
        assert count("rest", bob) == ROWS and users(sim) == ["analyst"]
        assert bob.execute("SELECT bool_and(ok IS NOT FALSE) FROM acumatica_check('erp')").fetchone() == (True,)


@test
def who_is_public_cannot_authorize_for_everyone():
    with site(auth_strategy="OAuth", user=APP), roles("alice") as (alice,):
        assert count("gi", alice) == ROWS
        with raises("42501", "for everyone", "user mapping of your own"):
            alice.execute("SELECT acumatica_authorize_url('erp')")


# -- secrets ------------------------------------------------------------------------------------------------------------


@test
def sealed_secrets_are_as_good_as_plain_ones():
    with site() as sim:
        assert seal("x") != seal("x")
        form = "grant_type=password&scope=api+offline_access&username=admin&password=pass-of-admin&" + "&".join(f"{k}={v}" for k, v in APP.items())
        with urllib.request.urlopen(f"{sim.origin}/identity/connect/token", form.encode()) as answer:
            tokens = json.load(answer)
        app = {**APP, "client_secret": seal(APP["client_secret"])}
        for strategy, user in (
            ("Basic", {**ADMIN, "password": seal(ADMIN["password"])}),
            ("Cookie", {**ADMIN, "password": seal(ADMIN["password"])}),
            ("OAuthPassword", {**ADMIN, **app, "password": seal(ADMIN["password"])}),
            ("OAuth", {**app, "refresh_token": seal(tokens["refresh_token"])}),
            ("OAuthImplicit", {"access_token": seal(tokens["access_token"])}),
        ):
            server(sim, user=user, auth_strategy=strategy)
            assert count("rest") == ROWS == count("gi")
            dumped = subprocess.run(["pg_dump", "--schema-only"], check=True, capture_output=True, text=True).stdout
            plain = sim.control("GET", "secrets")
            assert "acumatica-sealed:" in dumped and not any(secret in dumped for secret in plain)


@contextlib.contextmanager
def another_key():
    """In the block the cluster has another key."""

    def set_to(value, file):
        db.execute(f"ALTER SYSTEM SET acumatica_fdw.key_file = {value}")
        db.execute("SELECT pg_reload_conf()")
        eventually(lambda: db.execute("SHOW acumatica_fdw.key_file").fetchone() == (file,))

    directory = tempfile.mkdtemp(dir=DATA)
    os.chown(directory, os.stat(DATA).st_uid, -1)
    set_to(f"'{directory}/key'", f"{directory}/key")
    try:
        yield pathlib.Path(directory, "key")
    finally:
        set_to("DEFAULT", "acumatica_fdw/key")
        shutil.rmtree(directory)


@test
def a_secret_sealed_with_another_key_is_told():
    with site(), connect() as backend:
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
        assert count("gi", backend) == ROWS
        with another_key() as key:
            for connection in (backend, connect()):
                with raises("F0000", "a sealed secret cannot be opened", "acumatica_fdw.key_file", "acumatica_seal()"):
                    count("rest", connection)
            db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
            assert count("rest", backend) == ROWS and mode(key) == 0o600
            key.chmod(0o640)
            with raises("F0000", "could not use the key file", "mode 0640"), connect() as third:
                count("rest", third)


@test
def issue_5_sealed_text_is_of_no_use_to_other_servers_and_roles():
    with site() as sim, another_site() as elsewhere, roles("alice", "bob") as (alice, bob):
        mine = seal("pass-of-admin", "alice")
        both = "CREATE USER MAPPING FOR {} SERVER erp OPTIONS (username 'admin', password '{}')"
        for role in ("alice", "bob"):
            db.execute(both.format(role, mine))
        assert count("rest", alice) == ROWS
        with raises("F0000", "a sealed secret cannot be opened", '"password"', 'another role than "bob"', "acumatica_seal"):
            count("rest", bob)
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{mine}')")
        with raises("F0000", 'another role than "public"'):
            count()
        # By default it is for oneself.
        own = bob.execute("SELECT acumatica_seal('pass-of-admin', 'erp')").fetchone()[0]
        db.execute(f"ALTER USER MAPPING FOR bob SERVER erp OPTIONS (SET password '{own}')")
        assert count("rest", bob) == ROWS
        # A user who may create servers cannot have it sent elsewhere.
        db.execute("GRANT USAGE ON FOREIGN DATA WRAPPER acumatica_fdw TO bob; GRANT CREATE ON SCHEMA public TO bob")
        bob.execute(f"""
            CREATE SERVER evil FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({options({"url": elsewhere.url, "company": "Company"})});
            CREATE USER MAPPING FOR bob SERVER evil OPTIONS (username 'admin', password '{own}');
            CREATE FOREIGN TABLE bait ("OrderType" text) SERVER evil OPTIONS (entity 'SalesOrder')""")
        with raises("F0000", "a sealed secret cannot be opened", "another host"):
            bob.execute("SELECT * FROM bait")
        assert not elsewhere.requests()
        bob.execute("DROP SERVER evil CASCADE")
        db.execute("REVOKE USAGE ON FOREIGN DATA WRAPPER acumatica_fdw FROM bob; REVOKE CREATE ON SCHEMA public FROM bob")
        # Another directory of the same host.
        db.execute(f"ALTER SERVER erp OPTIONS (SET url '{sim.url}/')")
        assert count("rest", alice) == ROWS
    for call, sqlstate, words in (("'x'", "22004", "for a server and a role"), ("'x', 'nowhere'", "42704", "nowhere"), ("'x', 'erp', 'nobody'", "42704", "nobody")):
        with site(), raises(sqlstate, words):
            db.execute(f"SELECT acumatica_seal({call})")
    with site():
        assert db.execute("SELECT acumatica_seal(NULL, 'erp')").fetchone() == (None,)


@test
def issue_5_text_that_was_sealed_for_all_is_read_with_a_word():
    with site(), another_key() as key:
        # What version 1 made of pass-of-admin with this key.
        key.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        key.chmod(0o600)
        os.chown(key, os.stat(DATA).st_uid, -1)
        old = "acumatica-sealed:1:AQEBAQEBAQEBAQEBTnW+TRIJDyvE5hJLPG2/nu+sZ+4rJDVHjEQtcF4="
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{old}')")
        with connect() as backend:
            heard = []
            backend.execute("SET client_min_messages = notice")
            backend.add_notice_handler(lambda note: heard.append((note.severity, note.message_primary, note.message_hint)))
            assert count("rest", backend) == count("gi", backend) == ROWS
            assert len(heard) == 1 and heard[0][0] == "NOTICE" and '"password"' in heard[0][1], heard
            assert "acumatica_seal('…', 'erp', 'public')" in heard[0][2] and "ALTER USER MAPPING FOR public SERVER erp" in heard[0][2], heard
            db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
            assert count("rest", backend) == ROWS and len(heard) == 1


@test
def another_key_makes_no_more_sessions_than_max_sessions():
    with site() as sim, connect() as one:
        assert count("rest", one) == ROWS
        with another_key(), connect() as other:
            for _ in range(2):
                assert count("rest", one) == ROWS == count("rest", other)
            # What was opened under the old key is beyond reach.
            assert seats(sim)["peak"] <= 2, seats(sim)


@test
def after_a_change_of_key_one_can_authorize_again():
    with site(auth_strategy="OAuth", user=APP), connect() as backend:
        assert count("rest", backend) == ROWS
        db.execute("SELECT acumatica_authorize_url('erp')")
        with another_key():
            with connect() as other, raises("28000", "acumatica_authorize_url('erp')"):
                count("rest", other)
            with connect() as other:
                authorize(other)
                assert count("rest", other) == ROWS == count("rest", backend)


@test
def nothing_on_disk_is_readable():
    with site(auth_strategy="OAuth", user=APP) as sim:
        db.execute("SELECT acumatica_authorize_url('erp')")
        assert count() == ROWS
        secrets = [*sim.control("GET", "secrets"), APP["client_secret"]]
        base = pathlib.Path(DATA, "acumatica_fdw")
        files = [path for path in base.rglob("*") if path.is_file()]
        assert len(secrets) > 5 and {path.name.split(".")[0] for path in files} >= {"session", "grant", "pending", "key", "user", "queue"}
        for path in [base, *base.rglob("*")]:
            assert mode(path) == (0o600 if path.is_file() else 0o700), (path, oct(mode(path)))
        for path in files:
            text = path.read_text()
            assert not any(secret in text for secret in secrets), path


@test
def files_hold_secrets_for_those_who_may_read_files():
    with site() as sim, roles("alice") as (alice,):
        directory = tempfile.mkdtemp(dir=DATA)
        for name, text in (("password", ADMIN["password"]), ("client", "client-secret\r\n")):
            pathlib.Path(directory, name).write_text(text)
            os.chmod(f"{directory}/{name}", 0o600)
            os.chown(f"{directory}/{name}", os.stat(DATA).st_uid, -1)
        os.chown(directory, os.stat(DATA).st_uid, -1)
        login = {"username": "admin", "password_file": f"{directory}/password"}
        app = {"client_id": APP["client_id"], "client_secret_file": f"{directory}/client"}
        for strategy, user in (("Basic", login), ("OAuthPassword", {**login, **app})):
            server(sim, user=user, auth_strategy=strategy)
            db.execute("GRANT USAGE ON FOREIGN SERVER erp TO alice; GRANT SELECT ON rest, gi TO alice")
            assert count() == ROWS == count("gi", alice)
            with raises("42501", '_file"', "pg_read_server_files"):
                alice.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options(user)})")
        server(sim, user={**login, "password_file": f"{directory}/none"})
        with raises("HV024", f'could not read the file "{directory}/none"'):
            count()
        shutil.rmtree(directory)


finish()
