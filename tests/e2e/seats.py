#!/usr/bin/env python3
"""64 backends share two seats: every answer is right, there is never a third session, and none is left, not after crashes
either.

SEATS_SECONDS, SEATS_ROUNDS and SEATS_BACKENDS set the size (in full: 180, 200, 64), SEATS_SEED the chances, SEATS_ONLY
the tests to run.
"""

import collections
import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(__file__)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from harness import USERS, Sim, connect, eventually, finish, psycopg, test

SECONDS = float(os.environ.get("SEATS_SECONDS", 6))
ROUNDS = int(os.environ.get("SEATS_ROUNDS", 8))
BACKENDS = int(os.environ.get("SEATS_BACKENDS", 64))
SEED = int(os.environ.get("SEATS_SEED", random.randrange(2**32)))
SCALE = ("--scale", "0.05")
IDLE = 3  # seconds after which the simulator takes back a seat that was lost
ROLES = ("seats_one", "seats_two")
CLIENT = ", client_id '00000000-0000-0000-0000-000000000001@Company', client_secret 'client-secret'"
# Name: what is remote, as the simulator and as the wrapper call it, and the fields of the columns.
TABLES = {
    "orders": ("gi/BI-SalesOrders", "schema 'OData', inquiry 'BI-SalesOrders'", "OrderType OrderNbr CustomerID OrderTotal"),
    "entity": ("rest/SalesOrder", "entity 'SalesOrder', page_size '300'", "OrderType OrderNbr CustomerID OrderTotal"),
    "customers": ("dac/PX_Objects_AR_Customer", "schema 'DAC', entity 'PX_Objects_AR_Customer'", "CuryID AcctCD AcctName CreditLimit"),
}
COLUMNS = ("kind text", "nbr text", "who text", "amount numeric")
QUERIES = (
    "SELECT count(*), sum(amount) FROM orders",
    "SELECT kind, nbr, amount FROM orders WHERE who LIKE 'ABC%' ORDER BY 1, 2",
    "SELECT kind, nbr, who, amount FROM entity ORDER BY 1, 2",
    "SELECT nbr, who, amount FROM customers ORDER BY 1",
    "SELECT count(*), sum(o.amount) FROM orders o JOIN entity e USING (kind, nbr)",
    "SELECT c.nbr, count(*) FROM customers c JOIN orders o ON o.who = c.nbr GROUP BY 1 ORDER BY 1",
)
KINDS = "plain plain plain plain limit cursor cursor explain cancel timeout".split()
EXPECTED, ROWS = {}, {}
SIGN_IN = "auth/login|api/odata/(gi|dac)$|connect/token"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'seats%'"

print(f"# seed {SEED}, {SECONDS:g} s, {ROUNDS} rounds, {BACKENDS} backends", flush=True)
admin = connect()
admin.execute("DROP SERVER IF EXISTS seats CASCADE; DROP ROLE IF EXISTS seats_one, seats_two; DROP SCHEMA IF EXISTS truth CASCADE")
admin.execute("CREATE SCHEMA truth; CREATE ROLE seats_one LOGIN; CREATE ROLE seats_two LOGIN")


def site(strategy, *options):
    """A simulator with two seats, and a foreign server with tables on it."""
    sim = Sim("--seats", 2, "--latency-ms", 5, *SCALE, *options)
    admin.execute(
        "DROP SERVER IF EXISTS seats CASCADE; CREATE SERVER seats FOREIGN DATA WRAPPER acumatica_fdw OPTIONS "
        f"(url '{sim.url}', company 'Company', max_sessions '2', auth_strategy '{strategy}')"
    )
    for role, (user, password) in zip(ROLES, (user.split(":") for user in USERS.split(","))):
        login = f"username '{user}', password '{password}'{CLIENT if strategy == 'OAuthPassword' else ''}"
        admin.execute(f"CREATE USER MAPPING FOR {role} SERVER seats OPTIONS ({login})")
    for table, (source, target, fields) in TABLES.items():
        columns = ", ".join(f"{column} OPTIONS (field '{field}')" for column, field in zip(COLUMNS, fields.split()))
        admin.execute(f"CREATE FOREIGN TABLE {table} ({columns}) SERVER seats OPTIONS ({target}); GRANT SELECT ON {table} TO PUBLIC")
        if table not in ROWS:
            admin.execute(f"CREATE TABLE truth.{table} ({', '.join(COLUMNS)})")
            with admin.cursor().copy(f"COPY truth.{table} FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
                copy.write(sim.dump(source, fields.split(), *SCALE))
            ROWS[table] = set(admin.execute(f"SELECT * FROM truth.{table}").fetchall())
    if not EXPECTED:
        with psycopg.connect("", options="-c search_path=truth") as truth:
            EXPECTED.update((query, truth.execute(query).fetchall()) for query in QUERIES)
    # The cluster commits asynchronously: a crash would take the tables back.
    admin.execute("CHECKPOINT")
    return sim


def none_left(sim, seconds=10):
    eventually(lambda: seats(sim)["open"] == 0, seconds)
    time.sleep(0.5)
    assert seats(sim)["open"] == 0


def seats(sim):
    return sim.control("GET", "seats")


class Load(contextlib.AbstractContextManager):
    """Threads that query, each with one connection at a time, from `with` to its end."""

    def __init__(self, backends, kinds=("plain",), roles=ROLES):
        self.kinds, self.roles = kinds, roles
        self.ending, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.errors, self.times, self.waits, self.pids, self.first = [], [], [], {}, {}
        self.counts, self.begun = collections.Counter(), time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(backends)]
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.ending.set()
        self.go.set()
        for thread in self.threads:
            thread.join(120)
        for error, count in collections.Counter(self.errors).most_common(20):
            print(f"# {count} x {error}")
        assert not any(thread.is_alive() for thread in self.threads), "a backend is stuck"
        self.seconds = time.monotonic() - self.begun

    def run(self, number):
        dice = random.Random(f"{SEED} {number}")
        while not self.ending.is_set():
            self.go.wait()
            try:
                db = psycopg.connect("", user=self.roles[number % len(self.roles)], autocommit=True)
            except psycopg.OperationalError:
                # PostgreSQL is restarting, or backends that have been terminated still use connections.
                time.sleep(0.02)
                continue
            connected = time.monotonic()
            self.pids[number] = db.info.backend_pid
            db.add_notice_handler(lambda notice: self.counts.update([notice.message_primary.split(" of ")[0]]))
            try:
                for _ in range(dice.randrange(1, 30)):
                    begun = time.monotonic()
                    act(self, db, dice)
                    self.times.append(time.monotonic() - begun)
                    self.first.setdefault(number, time.monotonic() - connected)
                    if self.ending.is_set() or db.closed:
                        break
            except Exception as error:  # noqa: BLE001 - a thread must not die silently
                self.counts["ended"] += 1
                # What the server says when it crashes or stops, if anything.
                if getattr(error, "sqlstate", "") not in (None, "57P01", "57P02") or not db.closed:
                    self.errors.append(f"{getattr(error, 'sqlstate', '')} {error} after {time.monotonic() - begun:.1f} s"[:500])
            self.pids.pop(number, None)
            db.close()

    def check(self, sim, may_end=True):
        times, waits = sorted(self.times) or [0], self.waits or [0]
        print(f"# {len(self.times)} statements, {len(self.times) / self.seconds:.0f}/s, seconds: median {times[len(times) // 2]:.2f}, "
              f"99% {times[len(times) * 99 // 100]:.2f}, longest {times[-1]:.2f}; "
              f"wait of a scan {sum(waits) / len(waits):.2f}, longest {max(waits):.2f}; {seats(sim)}; {dict(self.counts)}")
        assert not self.errors and (may_end or not self.counts["ended"])
        assert seats(sim)["peak"] <= 2


def right(db, query):
    got = db.execute(query).fetchall()
    assert got == EXPECTED[query], f"{query}: {got}"


def act(load, db, dice):
    kind, query, table = dice.choice(load.kinds), dice.choice(QUERIES), dice.choice(list(TABLES))
    load.counts[kind] += 1
    if kind == "plain":
        right(db, query)
    elif kind == "limit":
        most = dice.randrange(1, 40)
        got = db.execute(f"SELECT * FROM {table} LIMIT {most}").fetchall()
        assert len(got) == most == len(set(got)) and set(got) <= ROWS[table], f"{most} of {table}: {got}"
    elif kind == "cursor":
        db.execute(f"BEGIN; DECLARE c CURSOR FOR SELECT * FROM {table}")
        got = db.execute(f"FETCH {dice.randrange(1, 40)} FROM c").fetchall()
        right(db, query)
        got += db.execute(f"FETCH {dice.choice((5, 'ALL'))} FROM c").fetchall()
        assert got and len(got) == len(set(got)) and set(got) <= ROWS[table], f"{table}: {got}"
        end = dice.choice(("COMMIT", "ROLLBACK", "CLOSE c; COMMIT", None))
        db.execute(end) if end else db.close()
    elif kind == "explain":
        nodes = [db.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()[0][0]["Plan"]]
        for node in nodes:
            nodes += node.get("Plans", ())
            if node["Node Type"] == "Foreign Scan":
                load.waits.append(node["Time Waiting for Session"] / 1000)
                # With a filter the server sends fewer rows; a key join asks for some by key before it reads all.
                rows = len(ROWS[node["Relation Name"]])
                is_by_key = node.get("Parent Relationship") == "children"
                most = rows * 1.5 if is_by_key else rows
                assert node["Rows Received"] == rows or ("Filter" in node or is_by_key) and 0 < node["Rows Received"] <= most, node
    else:
        after = dice.random() * dice.choice((0.1, 1, 5))
        timer = threading.Timer(after if kind == "cancel" else 0, db.cancel if kind == "cancel" else int)
        db.execute(f"SET statement_timeout = {int(1000 * after) + 1 if kind == 'timeout' else 0}")
        timer.start()
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            right(db, query)
            load.counts["not hit"] += 1
        timer.join()
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            db.execute("RESET statement_timeout")  # a cancel that came too late for the query hits this


def mixed_queries(strategy, seconds):
    sim = site(strategy)
    with Load(BACKENDS, KINDS) as load:
        time.sleep(seconds)
    load.check(sim, may_end=False)
    none_left(sim)


def answers():
    """Whether PostgreSQL answers, on the existing connection or on a new one."""
    global admin
    with contextlib.suppress(psycopg.OperationalError):
        if admin.closed:
            admin = psycopg.connect("", autocommit=True)
        return admin.execute("SELECT") is not None


def shoot(load, dice):
    with contextlib.suppress(IndexError, ProcessLookupError):
        return os.kill(dice.choice(list(load.pids.values())), signal.SIGKILL) is None


def crashes(strategy, rounds, roles, sign_ins):
    """After each crash the sessions that the backends left are used again, or closed."""
    sim = site(strategy, "--session-idle", IDLE if sign_ins else 600)
    dice = random.Random(f"{SEED} {strategy}")
    firsts, lasts, late, lost, cut_off = [], [], [], 0, 0
    with Load(8, roles=roles) as load:
        for this in range(rounds):
            eventually(lambda: len(load.pids) == 8, 20)
            time.sleep(dice.random() * 0.4)
            if sign_ins:
                # The next backend signs in. A sign-in whose answer is lost also loses its seat.
                sim.control("DELETE", "tokens")
                sim.fault(SIGN_IN, "delay", ms=150, count=4, processed=dice.random() < 0.5)
                admin.execute(TERMINATE)
                untouched = lambda: any(fault["count"] == 4 for fault in sim.control("GET", "faults"))  # noqa: E731
                eventually(lambda: admin.execute("SELECT acumatica_disconnect_all()") and not untouched(), 20)
                time.sleep(dice.random() * 0.2)
            eventually(lambda: shoot(load, dice))
            load.go.clear()
            eventually(lambda: not answers(), 20)
            eventually(answers, 60)
            sim.control("DELETE", "faults")
            known = [state for (state,) in admin.execute("SELECT state FROM acumatica_sessions()").fetchall()]
            cut_off += known.count("cut off")
            adrift = max(0, seats(sim)["open"] - known.count("idle"))
            lost += adrift
            load.first.clear()
            load.go.set()
            eventually(lambda: len(load.first) == 8, 60)
            firsts.append(min(load.first.values()))
            lasts.append(max(load.first.values()))
            if firsts[-1] > (2 if adrift < 2 else IDLE + 3):
                late.append((this, known, adrift, firsts[-1]))
    print(f"# {rounds} crashes, {cut_off} sign-ins cut off, {lost} seats lost by that; seconds to an answer, median and most: "
          f"{sorted(firsts)[rounds // 2]:.2f}, {max(firsts):.2f}, for all eight {sorted(lasts)[rounds // 2]:.2f}, {max(lasts):.2f}; {late}")
    load.check(sim)
    assert not late and (sign_ins or lost == seats(sim)["refused"] == 0)
    none_left(sim, 2 * IDLE + 10)


def cluster(command):
    subprocess.run([os.path.join(HERE, "../cluster.sh"), command, os.environ["CLUSTER_DIR"]], check=True, timeout=60)


def ends(stop):
    """All backends are terminated, or PostgreSQL is stopped, in the middle of the load."""
    dice = random.Random(f"{SEED} {stop}")
    for strategy in ("Basic", "Cookie", "OAuthPassword") * (1 + ROUNDS // 40):
        sim = site(strategy)
        if dice.random() < 0.5:
            sim.fault(SIGN_IN, "delay", ms=300, count=-1, processed=dice.random() < 0.5)
        try:
            with Load(16) as load:
                time.sleep(1 + dice.random())
                if stop:
                    cluster("stop")
                    none_left(sim, 0)
                load.ending.set()
                if not stop:
                    admin.execute(TERMINATE)
            none_left(sim)
            load.check(sim)
        finally:
            cluster("start")
            eventually(answers)


for name, function, *arguments in (
    ("mixed_queries_basic", mixed_queries, "Basic", SECONDS),
    ("mixed_queries_cookie", mixed_queries, "Cookie", SECONDS / 3),
    ("mixed_queries_oauth", mixed_queries, "OAuthPassword", SECONDS / 3),
    ("crashes_leave_sessions_that_are_used_again", crashes, "Basic", ROUNDS - ROUNDS // 4 * 2, ROLES[:1], False),
    ("crashes_while_signing_in_by_password", crashes, "Basic", ROUNDS // 4, ROLES, True),
    ("crashes_while_signing_in_by_oauth", crashes, "OAuthPassword", ROUNDS // 4, ROLES, True),
    ("terminated_backends_leave_no_session", ends, False),
    ("a_stopped_server_leaves_no_session", ends, True),
):
    it = functools.partial(function, *arguments)
    it.__name__ = name
    if os.environ.get("SEATS_ONLY", "") in name:
        test(it)
admin.execute("DROP SERVER seats CASCADE; DROP ROLE seats_one, seats_two")
finish()
