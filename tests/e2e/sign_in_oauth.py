#!/usr/bin/env python3
"""OAuth: authorization in the browser, from the first click to the grant, and tokens that expire, are renewed and end."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, eventually, finish, in_background, psycopg, raises, redirected, test
from signing_in import APP, CLIENT, LOGIN, ROWS, authorize, authorize_url, count, db, each, expire, finish_with, grants, hearing, in_one_seat, mapping, server, site


# -- in the browser ----------------------------------------------------------------------------------------------------


@test
def the_code_flow_takes_the_whole_address_or_the_bare_code():
    with site() as sim:
        server(sim, authorized=False)
        with raises("28000", "has not been authorized", "acumatica_authorize_url('erp')"):
            count()
        for part in (lambda address: address, lambda address: re.search("code=([^&]+)", address)[1]):
            row = finish_with(part(redirected(authorize_url())))
            assert row[:2] == ("Company", "api offline_access"), row
            minutes, days = db.execute("SELECT extract(epoch FROM %s - now()) / 60, extract(epoch FROM %s - now()) / 86400", row[2:]).fetchone()
            assert 59 < minutes <= 60 and 29 < days <= 30, row
            assert count() == ROWS and len(sim.sessions()) == 1
        assert count("gi", connect()) == ROWS
        # After the authorization of another Acumatica user there is one session, that of this user.
        authorize(user="analyst")
        assert count() == ROWS and [session["user"] for session in sim.sessions()] == ["analyst"] and in_one_seat(sim)


@test
def authorization_asks_for_scope_state_and_pkce():
    with site() as sim:
        server(sim, callback_url="https://intranet.example/done?x=1", authorized=False)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(authorize_url()).query))
        assert query["scope"] == "api offline_access" and query["client_id"] == CLIENT, query
        assert query["redirect_uri"] == "https://intranet.example/done?x=1" and query["response_type"] == "code"
        assert len(query["state"]) > 15 and len(query["code_challenge"]) == 43
        authorize()
        seen = [request["query"] for request in sim.requests("connect/authorize")]
        assert len(seen) == 1 and "code_challenge_method=S256" in seen[0], seen
        states = {dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(authorize_url()).query))["state"] for _ in range(3)}
        assert len(states) == 3


@test
def answers_that_belong_to_nothing_begun_are_refused():
    with site() as sim:
        server(sim, authorized=False)
        with raises("28000", "belongs to no authorization", "was not called in the last hour"):
            finish_with("somecode")
        address = redirected(authorize_url())
        with raises("28000", "belongs to no authorization", "The state", "acumatica_authorize_url('erp')"):
            finish_with(re.sub("state=[^&]+", "state=forged", address))
        with raises("HV024", "no authorization code"):
            finish_with("http://localhost:8021/acumatica")
        assert not sim.requests("connect/token"), "a forged answer must not reach the server"
        with raises("28000", "did not accept the authorization code", "invalid_grant", "acumatica_authorize_url('erp')"):
            finish_with(re.sub("code=[^&]+", "code=wrong", address))
        # The right answer is still accepted.
        finish_with(address)
        with raises("28000", "belongs to no authorization"):
            finish_with(address)
        code = re.search("code=([^&]+)", address)[1]
        authorize_url()
        with raises("28000", "did not accept the authorization code", "A code can be used once"):
            finish_with(code)
        assert count() == ROWS


@test
def who_declines_is_quoted():
    with site() as sim:
        server(sim, authorized=False)
        with raises("28000", "did not authorize the application", "access_denied", "SM303010"):
            authorize(user="nobody")


@test
def authorization_is_for_auth_strategy_oauth():
    with site() as sim:
        server(sim, "Basic")
        for call in ("acumatica_authorize_url('erp')", "acumatica_authorize('erp', 'code')", "acumatica_authorize_wait('erp')"):
            with raises("HV024", "is not authorized in a browser", "auth_strategy 'OAuth'"):
                db.execute(f"SELECT {call}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_free(port):
    with contextlib.suppress(OSError):
        socket.create_server(("127.0.0.1", port)).close()
        return True


@contextlib.contextmanager
def waiting(timeout="20 s"):
    """acumatica_authorize_wait under way: the callback, the address to open, and how it ends."""
    with site() as sim:
        port = free_port()
        callback = f"http://localhost:{port}/done"
        server(sim, callback_url=callback, authorized=False)
        backend = connect()
        backend.execute("SET client_min_messages = notice")
        heard = []
        backend.add_notice_handler(lambda note: heard.append(note.message_primary))
        outcome = in_background(f"SELECT * FROM acumatica_authorize_wait('erp', '{timeout}')", backend)
        eventually(lambda: any("open this address" in note for note in heard))
        yield sim, callback, heard[0].split()[-1], outcome
        backend.close()
        eventually(lambda: is_free(port), 1)


@test
def authorize_wait_listens_shows_a_page_and_returns_the_grant():
    with waiting() as (_, callback, address, outcome):
        base = callback.rsplit("/", 1)[0]
        for elsewhere in (f"{base}/favicon.ico", callback, f"{base}/other?code=1&state=2"):
            try:
                raise AssertionError(urllib.request.urlopen(elsewhere).read())
            except urllib.error.HTTPError as answer:
                assert answer.code == 404
        target = redirected(address)
        assert target.startswith(callback), target
        page = urllib.request.urlopen(target).read().decode()
        assert "close this page" in page and re.search("code=([^&]+)", target)[1] not in page
        assert outcome()[0][:2] == ("Company", "api offline_access")
        assert count() == ROWS


@test
def an_answer_without_the_state_is_not_taken():
    with waiting() as (sim, callback, address, outcome):
        for injected in ("code=another", "code=another&state=another"):
            try:
                raise AssertionError(urllib.request.urlopen(f"{callback}?{injected}").read())
            except urllib.error.HTTPError as answer:
                assert answer.code == 404
        with raises("28000", "belongs to no authorization"):
            finish_with(f"{callback}?code=another")
        assert not sim.requests("/connect/token")
        urllib.request.urlopen(redirected(address)).read()
        assert outcome()[0][0] == "Company"


@test
def a_sign_in_that_may_have_worked_is_not_repeated():
    for strategy in ("Basic", "Cookie"):
        with site() as sim:
            server(sim, strategy, max_sessions=2)
            sim.fault("gi" if strategy == "Basic" else "auth/login", "close", processed=True)
            with raises("08006", "the answer to the sign-in was lost", "operation_timeout"):
                count("gi")
            assert sim.control("GET", "seats")["opened"] == 1
            assert [row[0] for row in db.execute("SELECT state FROM acumatica_sessions()")] == ["cut off"]
            # The seat that is lost counts: there is one session beside it, and no other.
            with connect() as other:
                sim.fault("SalesOrder", "delay", ms=300)
                wait = in_background("SELECT count(*) FROM rest", other)
                eventually(lambda: sim.requests("SalesOrder"))
                assert count("gi") == ROWS and wait() == [(ROWS,)]
            assert sim.control("GET", "seats")["peak"] == 2, sim.control("GET", "seats")
            # acumatica_sessions() shows the lost seat for ten minutes. The next test starts without it.
            sim.control("DELETE", "sessions")


@test
def authorize_wait_tells_what_the_browser_brought():
    with waiting() as (_, _, address, outcome):
        urllib.request.urlopen(redirected(address, "nobody")).read()
        with raises("28000", "access_denied"):
            outcome()


@test
def authorize_wait_gives_up_in_time():
    with waiting("500 ms") as (_, _, _, outcome), raises("08006", "nobody came to the callback", "acumatica_authorize()"):
        outcome()
    with site() as sim:
        server(sim, authorized=False)
        with raises("22023", "more than zero"):
            db.execute("SELECT acumatica_authorize_wait('erp', '0 s')")


@test
def authorize_wait_can_be_cancelled_at_once():
    for how in ("pg_cancel_backend", "pg_terminate_backend"):
        with waiting() as (_, _, _, outcome):
            begun = time.monotonic()
            db.execute(f"SELECT {how}(%s)", [outcome.connection.info.backend_pid])
            with raises("57014" if how == "pg_cancel_backend" else "57P01"):
                outcome()
            assert time.monotonic() - begun < 1


@test
def a_callback_elsewhere_cannot_be_waited_at():
    with site() as sim:
        server(sim, callback_url="https://intranet.example/done", authorized=False)
        with raises("HV024", "is no loopback address", "acumatica_authorize()"):
            db.execute("SELECT acumatica_authorize_wait('erp')")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server(sim, callback_url=f"http://localhost:{taken.getsockname()[1]}/", authorized=False)
            with raises("HV024", "could not listen at the callback", "Another program"):
                db.execute("SELECT acumatica_authorize_wait('erp')")


# -- tokens that expire ------------------------------------------------------------------------------------------------


def fresh_tokens(sim, scope="api offline_access"):
    """Tokens that another client has obtained."""
    form = urllib.parse.urlencode({"grant_type": "password", "scope": scope, **LOGIN, **APP}).encode()
    with urllib.request.urlopen(f"{sim.origin}/identity/connect/token", form) as answer:
        return json.load(answer)


@test
def a_refresh_token_in_the_mapping_starts_the_flow():
    with site() as sim:
        for _ in range(2):
            server(sim, "OAuth", {**APP, "refresh_token": fresh_tokens(sim)["refresh_token"]})
            sim.control("DELETE", "requests")
            for connection in (db, connect(), db):
                # The refresh token in the mapping is used once. Each later renewal uses the token of the one before.
                assert count("rest", connection) == ROWS and grants(sim) == 1
                expire(sim)
            assert count() == ROWS
            token = fresh_tokens(sim)["refresh_token"]
            db.execute(f"ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (SET refresh_token '{token}')")
            expire(sim)
            assert count() == ROWS and grants(sim) == 1


RENEWING = ("OAuth", "OAuthPassword")


@each(*RENEWING)
def renews_a_token_a_minute_ahead_of_its_end(strategy):
    with site("--token-seconds", 61) as sim:
        server(sim, strategy)
        assert count() == ROWS
        eventually(lambda: count() == ROWS and grants(sim) == 1, 5)
        assert not [request for request in sim.requests() if request["status"] == 401]
        assert len(sim.sessions()) == 1, "the session goes on with the new token"


@each(*RENEWING)
def renews_a_token_once_that_is_refused(strategy):
    with site() as sim:
        server(sim, strategy)
        assert count() == ROWS
        expire(sim)
        assert count() == ROWS
        seen = [request["status"] for request in sim.requests()]
        assert grants(sim) == 1 and seen.count(401) == 1, seen


@each(*RENEWING)
def loses_no_row_when_its_token_ends_in_mid_scan(strategy):
    with site() as sim:
        server(sim, strategy)
        for table in ("rest", "gi", "dac"):
            with db.transaction():
                db.execute(f"DECLARE c CURSOR FOR SELECT * FROM {table}")
                rows = db.execute("FETCH 250 FROM c").fetchall()
                expire(sim)
                rows += db.execute("FETCH ALL FROM c").fetchall()
            assert len(rows) == ROWS == len(set(rows)), len(rows)


@each(*RENEWING)
def tries_again_when_the_token_endpoint_fails(strategy):
    with site() as sim:
        server(sim, strategy)
        for fault in ({"kind": "status", "status": 503}, {"kind": "status", "status": 500}, {"kind": "close"}):
            assert count() == ROWS
            expire(sim)
            sim.control("POST", "faults", {"match": "connect/token", "count": 2, **fault})
            assert count() == ROWS and len(sim.requests("connect/token")) == 3, fault
        server(sim, strategy, operation_timeout=1)
        assert count() == ROWS
        expire(sim)
        sim.fault("connect/token", "status", status=503, count=-1)
        with raises("08006", "not available (HTTP 503)", "Tried "):
            count()
        sim.control("DELETE", "faults")
        assert count() == ROWS


@each(*RENEWING)
def renews_once_for_20_backends_at_once(strategy):
    with site() as sim:
        server(sim, strategy, max_sessions=3)
        backends = [connect() for _ in range(20)]
        for backend in backends:
            backend.execute("SELECT * FROM gi LIMIT 1")
        expire(sim)
        sim.fault("connect/token", "delay", ms=300, count=-1)
        for wait in [in_background("SELECT count(*) FROM gi", backend) for backend in backends]:
            assert wait() == [(ROWS,)]
        asked = len(sim.requests("connect/token"))
        assert grants(sim) == asked == 1, asked
        assert sim.control("GET", "seats")["peak"] == 1
        for backend in backends:
            backend.close()


@each(*RENEWING)
def tells_a_client_secret_that_has_expired(strategy):
    with site() as sim:
        server(sim, strategy)
        assert count() == ROWS
        sim.control("POST", "clients", {"id": CLIENT, "secret": "second-secret"})
        expire(sim)
        with raises("28000", "client secret is no longer accepted", "expired", "SM303010", "SET client_secret"):
            count()
        db.execute("ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (SET client_secret 'second-secret')")
        assert count() == ROWS, "the authorization itself stays"


@each(*RENEWING)
def keeps_what_a_renewal_brought_whatever_becomes_of_its_backend(strategy):
    with site() as sim:
        server(sim, strategy)
        assert count() == ROWS

        def rotated(interrupt):
            """A renewal whose answer comes when its backend has been interrupted."""
            expire(sim)
            sim.fault("connect/token", "delay", ms=700, processed=True)
            wait = in_background("SELECT count(*) FROM rest")
            eventually(lambda: grants(sim))
            db.execute(f"SELECT {interrupt}(%s)", [wait.connection.info.backend_pid])
            with raises({"pg_cancel_backend": "57014"}.get(interrupt, "57P01")):
                wait()
            assert count() == ROWS and grants(sim) == 1 and grants(sim, "password") == 0

        rotated("pg_cancel_backend")
        rotated("pg_terminate_backend")
        for end in ("ROLLBACK", "SELECT 1 / 0"):
            expire(sim)
            with contextlib.suppress(psycopg.errors.DivisionByZero), db.transaction():
                assert count() == ROWS and grants(sim) == 1
                db.execute(end)
            expire(sim)
            assert count() == ROWS and grants(sim) == 1 and grants(sim, "password") == 0


@test
def an_authorization_survives_the_rollback_of_its_transaction():
    with site() as sim:
        server(sim, authorized=False)
        with contextlib.suppress(psycopg.errors.DivisionByZero), db.transaction():
            authorize()
            db.execute("SELECT 1 / 0")
        assert count() == ROWS


@test
def an_authorization_that_has_ended_says_what_to_run_and_asks_no_more():
    with site() as sim:
        server(sim)
        assert count() == ROWS
        expire(sim, refresh_tokens=True)
        for connection in (db, db, connect()):
            with raises("28000", 'authorization of server "erp" has ended', "invalid_grant", "acumatica_authorize_url('erp')"):
                count("gi", connection)
            assert len(sim.requests("connect/token")) == 1
        authorize()
        assert count() == ROWS and in_one_seat(sim)


@test
def a_password_gets_new_tokens_where_the_refresh_token_has_ended():
    with site() as sim:
        server(sim, "OAuthPassword")
        assert count() == ROWS
        expire(sim, refresh_tokens=True)
        assert count() == ROWS and (grants(sim), grants(sim, "password")) == (1, 1)
        assert in_one_seat(sim)
        expire(sim)
        assert count() == ROWS and (grants(sim), grants(sim, "password")) == (1, 0)


@test
def without_offline_access_the_end_is_told_beforehand():
    with site() as sim:
        server(sim, scope="api", authorized=False)
        with hearing() as heard:
            row = authorize()
        assert row[3] is None and [note[0] for note in heard] == ["WARNING"], heard
        assert re.search(r"ends at \d{4}-", heard[0][1]) and "offline_access" in heard[0][2], heard
        assert count() == ROWS
        expire(sim)
        with raises("28000", "access token", "no longer accepted", "no offline_access", "acumatica_authorize_url('erp')"):
            count()
        authorize()
        assert count() == ROWS and in_one_seat(sim)


@test
def a_token_that_cannot_be_renewed_is_used_to_its_end():
    with site("--token-seconds", 50) as sim:
        server(sim, scope="api")
        assert count() == ROWS


@test
def an_answer_within_operation_timeout_costs_no_authorization():
    # The old refresh token is dead as soon as the server has looked at it: to hang up and ask again loses it.
    with site() as sim:
        server(sim, operation_timeout=10)
        assert count() == ROWS
        expire(sim)
        sim.fault("connect/token", "delay", ms=5500, processed=True)
        assert count() == ROWS and grants(sim) == 1


@test
def an_access_token_that_was_given_ends_with_a_clear_error():
    with site() as sim:
        server(sim, "OAuthImplicit")
        assert count() == ROWS
        expire(sim)
        with raises("28000", 'access token of server "erp" is no longer accepted', "SET access_token", "'OAuth'"):
            count()
        token = mapping(sim, "OAuthImplicit")["access_token"]
        db.execute(f"ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (SET access_token '{token}')")
        assert count() == ROWS and in_one_seat(sim)


@test
def a_backend_that_is_killed_leaves_no_session_behind_and_loses_no_token():
    # In a cluster of its own: PostgreSQL restarts, and tells so in its log.
    place = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
    os.chmod(place, 0o755)
    script = os.path.join(os.path.dirname(__file__), "..", "cluster.sh")

    def cluster(command):
        environment = {**os.environ, "PROFILE": os.environ.get("PROFILE", "dev")}
        subprocess.run([script, command, f"{place}/c"], check=True, env=environment, stdout=subprocess.DEVNULL)

    def backend():
        until = time.monotonic() + 20
        while True:
            try:
                return connect(host=f"{place}/c/sock", dbname="postgres")
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.02)

    try:
        cluster("install")
        cluster("start")
        for strategy in ("OAuth", "Basic"):
            with site(seats=1) as sim:
                keeper = backend()
                keeper.execute("SET synchronous_commit = on")
                server(sim, strategy, connection=keeper)
                for table in ("rest", "gi"):
                    victim = backend()
                    assert count("rest", victim) == ROWS
                    expire(sim)
                    victim.execute("BEGIN")
                    assert count("gi", victim) == ROWS and grants(sim) == (strategy == "OAuth")
                    os.kill(victim.info.backend_pid, signal.SIGKILL)
                    # PostgreSQL ends all others, too, and starts again.
                    with contextlib.suppress(psycopg.OperationalError):
                        keeper.execute("SELECT pg_sleep(20)")
                    keeper = backend()
                    holder = backend()
                    assert count(table, holder) == ROWS
                    expire(sim)
                    assert count("dac", backend()) == ROWS and grants(sim) == (strategy == "OAuth")
                    assert sim.control("GET", "seats")["refused"] == 0 and len(sim.sessions()) == 1
                cluster("stop")
                assert not sim.sessions()
                cluster("start")
    finally:
        cluster("remove")
        os.rmdir(place)


finish()
