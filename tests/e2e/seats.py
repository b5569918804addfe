#!/usr/bin/env python3
"""Two seats for sixty-four backends: every answer right, never a third session, none left behind, also after crashes.

SEATS_SECONDS, SEATS_ROUNDS and SEATS_BACKENDS are for runs of full size (180, 200, 64); SEATS_SEED repeats a run, as
far as threads can be repeated. SEATS_ONLY names the tests to run.
"""

import collections
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, eventually, finish, psycopg
from harness import test as run_test

SECONDS = float(os.environ.get("SEATS_SECONDS", 12))
ROUNDS = int(os.environ.get("SEATS_ROUNDS", 8))
BACKENDS = int(os.environ.get("SEATS_BACKENDS", 64))
SEED = int(os.environ.get("SEATS_SEED", random.randrange(2**32)))
SCALE = ("--scale", "0.05")
IDLE = 3
CLIENT = "00000000-0000-0000-0000-000000000001@Company"
# Role, user of the simulator, password.
USERS = (("seats_one", "admin", "secret"), ("seats_two", "analyst", "secret2"))
CLUSTER = os.path.join(os.path.dirname(__file__), "..", "cluster.sh")
# What a connection may end with when the server is stopped, or crashes.
BYE = (None, "57P01", "57P02", "57P03", "53300")
# Name: kind and name of what is remote, options, columns as name, SQL type and field; the first two are the key.
TABLES = {
    "orders": ("gi/BI-SalesOrders", "schema 'OData', inquiry 'BI-SalesOrders'",
               "kind text OrderType, nbr text OrderNbr, customer text CustomerID, total numeric OrderTotal"),
    "entity": ("rest/SalesOrder", "entity 'SalesOrder', page_size '300'",
               "kind text OrderType, nbr text OrderNbr, customer text CustomerID, total numeric OrderTotal"),
    "customers": ("dac/PX_Objects_AR_Customer", "schema 'DAC', entity 'PX_Objects_AR_Customer'",
                  "id bigint BAccountID, code text AcctCD, name text AcctName, credit numeric CreditLimit"),
}
QUERIES = (
    "SELECT count(*), sum(total) FROM orders",
    "SELECT kind, nbr, total FROM orders WHERE customer LIKE 'ABC%' ORDER BY 1, 2",
    "SELECT count(*) FROM entity",
    "SELECT kind, nbr, customer, total FROM entity ORDER BY 1, 2",
    "SELECT id, code, credit FROM customers ORDER BY 1",
    "SELECT count(*), sum(o.total) FROM orders o JOIN entity e USING (kind, nbr)",
    "SELECT c.name, count(*) FROM customers c JOIN orders o ON o.customer = c.code GROUP BY 1 ORDER BY 1",
    "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM entity), (SELECT count(*) FROM customers)",
)

print(f"# seed {SEED}, {SECONDS:g} s, {ROUNDS} rounds, {BACKENDS} backends")
admin = connect()
EXPECTED, ROWS = {}, {}


def columns(table):
    return [column.split() for column in TABLES[table][2].split(", ")]


def prepare():
    """Two roles, and local tables with what the remote ones hold."""
    sim = Sim(*SCALE)
    admin.execute("DROP SERVER IF EXISTS seats CASCADE; DROP SCHEMA IF EXISTS truth, remote CASCADE; CREATE SCHEMA truth; CREATE SCHEMA remote")
    for role, _, _ in USERS:
        admin.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA remote TO {role}")
        admin.execute(f"ALTER ROLE {role} SET search_path = remote")
    admin.execute("SET search_path = truth")
    for table, (source, _, _) in TABLES.items():
        admin.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind, _ in columns(table))})")
        with admin.cursor().copy(f"COPY {table} FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
            copy.write(sim.dump(source, [field for _, _, field in columns(table)], *SCALE))
        ROWS[table] = set(admin.execute(f"SELECT * FROM {table}").fetchall())
        assert len(ROWS[table]) > 40
    EXPECTED.update((query, admin.execute(query).fetchall()) for query in QUERIES)
    admin.execute("RESET search_path")
    sim.stop()


def create_server(sim, strategy="Basic", **options):
    options = {"url": sim.url, "company": "Company", "max_sessions": 2, "auth_strategy": strategy, **options}
    listed = ", ".join(f"{key} '{value}'" for key, value in options.items())
    admin.execute(f"DROP SERVER IF EXISTS seats CASCADE; CREATE SERVER seats FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({listed})")
    more = f", client_id '{CLIENT}', client_secret 'client-secret'" if strategy == "OAuthPassword" else ""
    for role, user, password in USERS:
        admin.execute(f"CREATE USER MAPPING FOR {role} SERVER seats OPTIONS (username '{user}', password '{password}'{more})")
    for table, (_, target, _) in TABLES.items():
        listed = ", ".join(
            f"{name} {kind} OPTIONS (field '{field}'{f', key {chr(39)}{place}{chr(39)}' if place < 3 and table == 'orders' else ''})"
            for place, (name, kind, field) in enumerate(columns(table), 1)
        )
        admin.execute(f"CREATE FOREIGN TABLE remote.{table} ({listed}) SERVER seats OPTIONS ({target})")
    admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA remote TO seats_one, seats_two")


class Load:
    """Threads that query, each with one connection at a time, until they are told to end."""

    def __init__(self, backends, action, users=USERS):
        self.action, self.users = action, users
        self.ending, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.errors, self.times, self.first, self.waits = [], [], [], []
        self.counts, self.pids = collections.Counter(), {}
        self.begun = time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(backends)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def connect(self, role):
        while True:
            self.go.wait()
            try:
                return psycopg.connect("", user=role, autocommit=True)
            except psycopg.OperationalError as error:
                # One that ends may still count; one that was shot may still be mourned.
                self.counts[f"not connected: {str(error).split('FATAL:')[-1].strip()[:40]}"] += 1
                if self.ending.is_set():
                    return None
                time.sleep(0.02)

    def run(self, number):
        dice = random.Random(f"{SEED} {number}")
        while not self.ending.is_set():
            db = self.connect(self.users[number % len(self.users)][0])
            if db is None:
                return
            self.pids[number] = db.info.backend_pid
            db.add_notice_handler(lambda notice: self.counts.update([notice.message_primary[:24]]))
            connected = time.monotonic()
            try:
                for statement in range(dice.randrange(1, 30)):
                    begun = time.monotonic()
                    self.action(self, db, dice)
                    self.times.append(time.monotonic() - begun)
                    if statement == 0:
                        self.first.append((number, connected, time.monotonic()))
                    if self.ending.is_set():
                        break
            except psycopg.Error as error:
                if error.sqlstate not in BYE or not db.closed:
                    self.errors.append(f"{error.sqlstate} {error} {error.diag.message_detail} after {time.monotonic() - begun:.1f} s")
                self.counts["ended from outside"] += 1
            except Exception as error:  # noqa: BLE001 - a thread must not die silently
                self.errors.append(repr(error)[:300])
            self.pids.pop(number, None)
            db.close()

    def end(self):
        self.ending.set()
        self.go.set()
        for thread in self.threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self.threads), "a backend is stuck"
        self.seconds = time.monotonic() - self.begun

    def report(self, sim):
        milliseconds = sorted(1000 * t for t in self.times)
        at = lambda part: milliseconds[min(int(part * len(milliseconds)), len(milliseconds) - 1)]  # noqa: E731
        print(f"# {len(milliseconds)} statements, {len(milliseconds) / self.seconds:.0f}/s; ms: median {at(0.5):.0f}, "
              f"99% {at(0.99):.0f}, longest {at(1):.0f}; {sim.control('GET', 'seats')}; {dict(self.counts)}")
        if self.waits:
            print(f"# waited for a session, ms per scan: mean {statistics.mean(self.waits):.0f}, most {max(self.waits):.0f}")
        for error, times in collections.Counter(self.errors).most_common(20):
            print(f"# {times} x {error}")

    def check(self, sim):
        self.report(sim)
        assert not self.errors
        assert sim.control("GET", "seats")["peak"] <= 2


def right(db, query):
    got = db.execute(query).fetchall()
    assert got == EXPECTED[query], f"{query}: {str(got)[:200]}"


def plain(load, db, dice):
    right(db, dice.choice(QUERIES))


def limited(load, db, dice):
    table, most = dice.choice(list(TABLES)), dice.randrange(1, 40)
    got = db.execute(f"SELECT * FROM {table} LIMIT {most}").fetchall()
    assert len(got) == most == len(set(got)) and set(got) <= ROWS[table], f"{most} of {table}: {got}"


def cursor(load, db, dice):
    table = dice.choice(list(TABLES))
    db.execute(f"BEGIN; DECLARE c CURSOR FOR SELECT * FROM {table}")
    got = db.execute(f"FETCH {dice.randrange(1, 40)} FROM c").fetchall()
    right(db, dice.choice(QUERIES))
    got += db.execute("FETCH 5 FROM c").fetchall()
    if dice.random() < 0.3:
        got += db.execute("FETCH ALL FROM c").fetchall()
        assert len(got) == len(ROWS[table])
    assert got and len(got) == len(set(got)) and set(got) <= ROWS[table], f"{table}: {got}"
    db.execute(dice.choice(("COMMIT", "ROLLBACK", "CLOSE c; COMMIT")))


def explained(load, db, dice):
    query = dice.choice(QUERIES)
    nodes = [db.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0][0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        if node["Node Type"] == "Foreign Scan":
            load.waits.append(node["Time Waiting for Session"])
            assert node["Rows Received"] == len(ROWS[node["Relation Name"]]), node


def cancelled(load, db, dice):
    timer = threading.Timer(dice.random() * 0.5, db.cancel)
    timer.start()
    try:
        right(db, dice.choice(QUERIES))
    except psycopg.errors.QueryCanceled:
        load.counts["cancelled"] += 1
    timer.join()
    try:
        db.execute("SELECT 1")  # a cancel that came too late for the query hits this one
    except psycopg.errors.QueryCanceled:
        pass


def timed_out(load, db, dice):
    db.execute(f"SET statement_timeout = {dice.randrange(1, 500)}")
    try:
        right(db, dice.choice(QUERIES))
    except psycopg.errors.QueryCanceled:
        load.counts["timed out"] += 1
    db.execute("RESET statement_timeout")


def failing(load, db, dice):
    try:
        db.execute("SELECT 1 / (total - total) FROM orders")
        raise AssertionError("divided by zero")
    except psycopg.errors.DivisionByZero:
        load.counts["failed"] += 1


def mixed(load, db, dice):
    action = dice.choices((plain, limited, cursor, explained, cancelled, timed_out, failing), (10, 4, 4, 3, 3, 2, 1))[0]
    load.counts[action.__name__] += 1
    action(load, db, dice)


def none_left(sim, seconds=10):
    eventually(lambda: sim.control("GET", "seats")["open"] == 0, seconds)


def test(function):
    if function.__name__ in os.environ.get("SEATS_ONLY", function.__name__):
        run_test(function)


def sixty_four(strategy, seconds):
    sim = Sim("--seats", 2, *SCALE, "--latency-ms", 5)
    create_server(sim, strategy)
    sim.control("DELETE", "seats")
    with Load(BACKENDS, mixed) as load:
        time.sleep(seconds)
    load.check(sim)
    none_left(sim)
    sim.stop()


prepare()


@test
def mixed_queries_basic():
    sixty_four("Basic", SECONDS)


@test
def mixed_queries_cookie():
    sixty_four("Cookie", SECONDS / 3)


@test
def mixed_queries_oauth():
    sixty_four("OAuthPassword", SECONDS / 3)


def crash(load, dice, sim):
    """Shoots a backend, and waits until PostgreSQL has ended all others, and takes connections again."""
    global admin
    load.go.clear()
    pids = list(load.pids.values())
    try:
        os.kill(dice.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        load.counts["shot too late"] += 1
        load.go.set()
        return False

    def is_up():
        global admin
        try:
            admin = psycopg.connect("", autocommit=True)
            return True
        except psycopg.OperationalError:
            return False

    eventually(lambda: admin.closed or not is_alive(admin), 20)
    eventually(is_up, 60)
    return True


def is_alive(db):
    try:
        db.execute("SELECT")
        return True
    except psycopg.OperationalError:
        return False


def rounds(strategy, number, users, sign_ins):
    """After each crash the sessions that the backends left are used again, or closed."""
    sim = Sim("--seats", 2, *SCALE, "--latency-ms", 5, *(("--session-idle", IDLE) if sign_ins else ()))
    create_server(sim, strategy)
    dice = random.Random(f"{SEED} {strategy}")
    firsts, lost, slow = [], 0, []
    with Load(8, plain, users) as load:
        for this in range(number):
            eventually(lambda: len(load.pids) == 8, 20)
            time.sleep(dice.random() * 0.4)
            if sign_ins:
                # All leave, and whoever comes next signs in. The seat of a sign-in whose answer is lost is lost, too.
                for processed in (False, True):
                    if dice.random() < 0.5:
                        for match in ("auth/login", "api/odata/gi$"):
                            sim.fault(match, "delay", ms=100, count=2, processed=processed)
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'seats%'")
                time.sleep(0.1 + dice.random() * 0.3)
            if not load.pids or not crash(load, dice, sim):
                continue
            sim.control("DELETE", "faults")
            known = admin.execute("SELECT count(*) FROM acumatica_sessions() WHERE state = 'open'").fetchone()[0]
            adrift = sim.control("GET", "seats")["open"] - known
            lost += max(adrift, 0)
            load.first.clear()
            load.go.set()
            try:
                eventually(lambda: {n for n, _, _ in load.first} == set(range(8)), 20)
            except AssertionError:
                print("MISSING", set(range(8)) - {n for n, _, _ in load.first}, load.pids, load.counts, load.errors, this, flush=True)
                print(sim.sessions(), [r for r in sim.requests()][-5:])
                print(admin.execute("select pid, usename, state, wait_event, now()-query_start, query from pg_stat_activity where usename like 'seats%'").fetchall())
                print(admin.execute("select * from acumatica_sessions()").fetchall(), flush=True)
                import faulthandler; faulthandler.dump_traceback(all_threads=True)
                time.sleep(100)
                raise
            took = max(done - connected for _, connected, done in load.first[:8])
            earliest = min(done - connected for _, connected, done in load.first[:8])
            firsts.append((earliest, took))
            if earliest > 2:
                slow.append((this, adrift, round(earliest, 1)))
    load.report(sim)
    print(f"# {len(firsts)} crashes, {lost} seats lost in sign-ins; first answer after a crash: median "
          f"{statistics.median(f for f, _ in firsts):.2f} s, longest {max(f for f, _ in firsts):.2f}; of all backends: "
          f"median {statistics.median(t for _, t in firsts):.2f}, longest {max(t for _, t in firsts):.2f}; slow: {slow}")
    assert not load.errors
    assert sim.control("GET", "seats")["peak"] <= 2
    if not sign_ins:
        assert lost == 0 and not slow and sim.control("GET", "seats")["refused"] == 0
    none_left(sim, 2 * IDLE + 10)
    sim.stop()


@test
def crashes_leave_sessions_that_are_used_again():
    rounds("Basic", ROUNDS - ROUNDS // 2, USERS[:1], sign_ins=False)


@test
def crashes_while_signing_in():
    rounds("Basic", ROUNDS // 2, USERS, sign_ins=True)


def end_all(load):
    load.ending.set()
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'seats%'")


def stop_and_start(load):
    global admin
    subprocess.run([CLUSTER, "stop", os.environ["CLUSTER_DIR"]], check=True, timeout=60)
    load.ending.set()


def ended(end):
    global admin
    sim = Sim("--seats", 2, *SCALE, "--latency-ms", 5)
    create_server(sim)
    dice = random.Random(f"{SEED} {end.__name__}")
    try:
        for _ in range(3):
            with Load(16, plain) as load:
                time.sleep(0.3 + dice.random())
                begun = time.monotonic()
                end(load)
            took = time.monotonic() - begun
            none_left(sim, 10 if end is end_all else 0.1)
            print(f"# {end.__name__}: {took:.1f} s, none left after {time.monotonic() - begun:.1f} s")
            load.check(sim)
            if end is stop_and_start:
                subprocess.run([CLUSTER, "start", os.environ["CLUSTER_DIR"]], check=True, timeout=60)
                admin = connect()
    finally:
        subprocess.run([CLUSTER, "start", os.environ["CLUSTER_DIR"]], check=True, timeout=60)
    sim.stop()


@test
def terminated_backends_leave_no_session():
    ended(end_all)


@test
def a_stopped_server_leaves_no_session():
    ended(stop_and_start)


admin = connect()
admin.execute("DROP SERVER IF EXISTS seats CASCADE; DROP SCHEMA remote CASCADE; DROP ROLE seats_one; DROP ROLE seats_two")
finish()
