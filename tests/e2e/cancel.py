#!/usr/bin/env python3
"""Every wait can be cancelled at once, and leaves no session open (README.md, rule 2)."""

import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, eventually, finish, psycopg, raises, test

sim = Sim("--scale", 1)
admin = connect()
create_server(admin, sim)
admin.execute("""
    CREATE FOREIGN TABLE gi (order_type text OPTIONS (field 'OrderType', key '1'),
                             order_nbr text OPTIONS (field 'OrderNbr', key '2'),
                             total numeric OPTIONS (field 'OrderTotal'))
        SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders', page_size '2000');
    CREATE FOREIGN TABLE entity (order_nbr text OPTIONS (field 'OrderNbr'), details jsonb OPTIONS (field 'Details'))
        SERVER erp OPTIONS (entity 'SalesOrder', page_size '500')""")


def run_and_interrupt(how, query, after=0.3):
    """Runs a query that hangs, interrupts it, and returns the error and the milliseconds from the signal to it."""
    backend = connect()
    pid = backend.info.backend_pid
    outcome = {}

    def run():
        try:
            backend.execute(query).fetchall()
        except psycopg.Error as error:
            outcome["error"] = error
        outcome["at"] = time.monotonic()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(after)
    signalled = time.monotonic()
    if how == "kill -INT":
        os.kill(pid, signal.SIGINT)
    else:
        admin.execute(f"SELECT {how}(%s)", [pid])
    thread.join(10)
    assert not thread.is_alive(), "the backend is stuck"
    backend.close()
    return outcome["error"], (outcome["at"] - signalled) * 1000


def is_gone(pid):
    return admin.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()[0] == 0


def check_interrupt(how, table, sqlstate, phase):
    sim.reset()
    if phase == "headers":
        sim.fault("Order", "delay", ms=20000)
    else:
        sim.fault("Order", "stall_body", ms=20000, bytes=3000)
    error, milliseconds = run_and_interrupt(how, f"SELECT count(*) FROM {table}")
    assert error.sqlstate == sqlstate, error
    assert milliseconds < 100, f"{milliseconds:.0f} ms"
    eventually(lambda: not sim.sessions())


for how, sqlstate in (("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")):
    for table in ("gi", "entity"):
        for phase in ("headers", "body"):

            def interrupt():
                check_interrupt(how, table, sqlstate, phase)

            interrupt.__name__ = f"{how}_while_the_server_is_silent_{table}_{phase}"
            test(interrupt)


@test
def cancel_while_signing_in_leaves_no_session():
    # The server opens the session even if the client has closed the connection.
    for match, table in (("auth/login", "entity"), ("api/odata/gi", "gi")):
        for how in ("pg_cancel_backend", "pg_terminate_backend"):
            sim.reset()
            sim.fault(match, "delay", ms=1500)
            error, milliseconds = run_and_interrupt(how, f"SELECT count(*) FROM {table}")
            assert milliseconds < 100 or how == "pg_terminate_backend", f"{milliseconds:.0f} ms"
            eventually(lambda: not sim.sessions() and any("logout" in r["path"] for r in sim.requests()))


@test
def statement_timeout_ends_the_wait():
    sim.reset()
    sim.fault("Order", "delay", ms=20000)
    with connect() as backend:
        backend.execute("SET statement_timeout = '300ms'")
        begun = time.monotonic()
        with raises("57014", "statement timeout"):
            backend.execute("SELECT * FROM gi").fetchall()
        assert time.monotonic() - begun < 0.5
        # The backend can run further queries, in the same API session.
        assert backend.execute("SELECT count(*) FROM (SELECT * FROM gi LIMIT 7) x").fetchone() == (7,)
        assert len(sim.sessions()) == 1
    eventually(lambda: not sim.sessions())


@test
def a_cancelled_request_is_dropped():
    sim.reset()
    sim.fault("Order", "stall_body", ms=60000, bytes=3000)
    with connect() as backend:
        backend.execute("SET statement_timeout = '300ms'")
        with raises("57014"):
            backend.execute("SELECT * FROM gi").fetchall()
        # Only the socket of the keep-alive connection is left open.
        def sockets():
            links = (os.path.join(f"/proc/{backend.info.backend_pid}/fd", fd) for fd in os.listdir(f"/proc/{backend.info.backend_pid}/fd"))
            inodes = set()
            for link in links:
                try:
                    target = os.readlink(link)
                except OSError:
                    continue
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
            port = f":{int(sim.origin.rsplit(':', 1)[1]):04X}"
            with open(f"/proc/{backend.info.backend_pid}/net/tcp") as table:
                rows = [line.split() for line in table][1:]
            return [row for row in rows if row[9] in inodes and row[2].endswith(port)]

        eventually(lambda: len(sockets()) <= 1)


@test
def limit_and_closed_cursors_drop_what_is_under_way():
    sim.reset()
    with connect() as backend:
        with backend.transaction():
            backend.execute("DECLARE c CURSOR FOR SELECT * FROM gi")
            assert len(backend.execute("FETCH 1500 FROM c").fetchall()) == 1500
            backend.execute("CLOSE c")
        assert backend.execute("SELECT count(*) FROM (SELECT * FROM gi LIMIT 3) x").fetchone() == (3,)


@test
def two_hundred_random_cancels():
    sim.reset()
    seed = random.randrange(2**32)
    print(f"# seed {seed}")
    dice = random.Random(seed)
    backend = connect()
    # PostgreSQL looks for a cancel when it has written to the log. At debug5 it does so while it cleans up after a
    # subtransaction, where a second cancel leaves the session in a failed transaction, with any table.
    backend.execute("SET log_min_messages = warning")
    cancelled = 0
    queries = (
        "SELECT count(*), sum(total) FROM gi",
        "SELECT count(details) FROM entity LIMIT 1",
        "SELECT count(*) FROM gi a JOIN entity b USING (order_nbr)",
        "DO $$ BEGIN PERFORM * FROM gi; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
    )
    for number in range(200):
        query = dice.choice(queries)
        timer = threading.Timer(dice.random() * 0.25, backend.cancel)
        timer.start()
        try:
            backend.execute(query)
        except psycopg.errors.QueryCanceled:
            cancelled += 1
        timer.join()
        if number % 20 == 0:
            # A cancel that came too late for the query may hit this one.
            for _ in range(3):
                try:
                    assert backend.execute("SELECT count(*) FROM (SELECT * FROM gi LIMIT 300) x").fetchone() == (300,)
                    break
                except psycopg.errors.QueryCanceled:
                    pass
        assert len(sim.sessions()) <= 2
    print(f"# {cancelled} of 200 were cancelled in time")
    assert cancelled > 50
    pid = backend.info.backend_pid
    backend.close()
    eventually(lambda: is_gone(pid))
    eventually(lambda: not sim.sessions())


@test
def sessions_end_however_the_backend_ends():
    def after(end):
        backend = connect()
        backend.execute("SELECT * FROM gi LIMIT 1")
        backend.execute("SELECT * FROM entity LIMIT 1")
        assert sim.sessions()
        end(backend)
        eventually(lambda: not sim.sessions())

    sim.reset()
    after(lambda backend: backend.close())
    after(lambda backend: admin.execute("SELECT pg_terminate_backend(%s)", [backend.info.backend_pid]))

    def in_a_failed_transaction(backend):
        backend.autocommit = False
        with raises("22012"):
            backend.execute("SELECT 1 / 0 FROM gi")
        backend.close()

    after(in_a_failed_transaction)


@test
def an_altered_or_dropped_server_gives_its_seat_back():
    one_seat = Sim("--seats", 1)
    backend = connect()
    create_server(backend, one_seat, "seat")
    table = "CREATE FOREIGN TABLE t (n text OPTIONS (field 'OrderNbr', key '1'), o text OPTIONS (field 'OrderType', key '2')) SERVER seat OPTIONS (schema 'OData', inquiry 'BI-SalesOrders')"
    backend.execute(table)
    rows = backend.execute("SELECT count(*) FROM t").fetchone()
    backend.execute("ALTER SERVER seat OPTIONS (ADD operation_timeout '30')")
    assert backend.execute("SELECT count(*) FROM t").fetchone() == rows
    # An open cursor keeps the options that it was opened with.
    backend.autocommit = False
    backend.execute("DECLARE c CURSOR FOR SELECT * FROM t")
    backend.execute("FETCH 1 FROM c")
    backend.execute("ALTER SERVER seat OPTIONS (SET operation_timeout '31')")
    assert len(backend.execute("FETCH ALL FROM c").fetchall()) == rows[0] - 1
    backend.commit()
    backend.autocommit = True
    create_server(backend, one_seat, "seat")
    backend.execute(table)
    assert backend.execute("SELECT count(*) FROM t").fetchone() == rows
    assert len(one_seat.sessions()) == 1
    backend.execute("DROP SERVER seat CASCADE")
    backend.close()
    eventually(lambda: not one_seat.sessions())


@test
def a_server_that_hangs_keeps_no_other_from_being_signed_out():
    one, two = Sim(), Sim()
    backend = connect()
    for name, simulator in (("one", one), ("two", two)):
        create_server(backend, simulator, name)
        backend.execute(f"CREATE FOREIGN TABLE t_{name} (n text OPTIONS (field 'OrderNbr')) SERVER {name} OPTIONS (entity 'SalesOrder')")
        backend.execute(f"SELECT * FROM t_{name} LIMIT 1")
    one.fault("logout", "delay", ms=20000)
    backend.close()
    eventually(lambda: not two.sessions(), 3)


@test
def the_session_is_reused_by_the_next_statement():
    sim.reset()
    with connect() as backend:
        for _ in range(5):
            backend.execute("SELECT * FROM gi LIMIT 1")
            backend.execute("SELECT * FROM entity LIMIT 1")
        assert len(sim.sessions()) == 1, sim.sessions()


finish()
