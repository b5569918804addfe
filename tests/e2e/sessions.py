#!/usr/bin/env python3
"""All backends share sessions and wait for them; a session is signed out as soon as nobody may or does use it."""

import contextlib
import json
import os
import pathlib
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, eventually, finish, in_background, options, raises, test
from session_sites import ADMIN, ANALYST, APP, DATA, ROWS, another_site, authorize, count, db, is_gone, known, options_set, roles, seats, server, site, slow, state_directory, users


# -- shared sessions ---------------------------------------------------------------------------------------------------


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


# -- the end of sessions -----------------------------------------------------------------------------------------------


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
                    # The first of the two backends that use the session. `db` does not count: it has only authorized.
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
                # The next page signs in again, and the scan goes on.
                rows += other.execute("FETCH ALL FROM c").fetchall()
            assert len(set(rows)) == ROWS == len(rows) and len(sim.sessions()) == 1
            assert seats(sim)["peak"] == 1
            # A session is not idle while a request waits for its answer.
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
            # acumatica_disconnect() waits for the request in progress.
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


# -- DDL ---------------------------------------------------------------------------------------------------------------

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
                    # A backend that has not used the extension before.
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
        # They would run with the rights of the user who runs the command.
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


# -- what is shown, and to whom ----------------------------------------------------------------------------------------


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


finish()
