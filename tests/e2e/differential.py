#!/usr/bin/env python3
"""Random queries on foreign tables and on local copies of them: the same rows, or the same failure.

SEED=N repeats a run, QUERIES=N sets the number for each dialect (default 1200), DIALECTS="dac contract4" chooses some,
ONLY=N runs one query of one. After PER_SEED=N queries (500) tables are made anew, with the next seed. SECONDS_EACH=N goes
on until that time has passed. MOST_FAILURES=N: after how many to stop (3). WITHOUT_TYPES=REGEX: declares no column as one
of these types. `make soak` runs 200,000.
"""

import concurrent.futures
import csv
import decimal
import io
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from generator import Generator, Node, Table, kind_of, name, quoted
from harness import Sim, connect, create_server, finish, has_icu, psycopg, test

SEED = int(os.environ.get("SEED") or time.time_ns() // 1_000_000 % 10**9)
QUERIES = int(os.environ.get("QUERIES") or 1200)
PER_SEED = int(os.environ.get("PER_SEED") or 500)
SECONDS = float(os.environ.get("SECONDS_EACH") or 0)
ONLY = os.environ.get("ONLY")
MOST_FAILURES = int(os.environ.get("MOST_FAILURES") or 3)
SCALE = "0.02"
# Of the queries, that have a filter sent; less means that the test has little to say.
SHARE = {"contract4": 15, "contract5": 8, "gi_v3": 35, "gi_v4": 35, "dac": 35}

SITE_ZONES = ["UTC", "Europe/Moscow", "America/Los_Angeles", "Pacific/Kiritimati"]
SESSION_ZONES = ["UTC", "Asia/Tokyo", "America/New_York"]
# Other types that a column can be declared with than IMPORT FOREIGN SCHEMA chooses.
OTHER_TYPES = {
    "text": ["varchar", "varchar(400)", "bpchar", "char(300)", "words", "name", "integer", "numeric", "timestamptz", "date"],
    "num": ["numeric(20,1)", "numeric(30,8)", "numeric(20,0)", "numeric(20,-1)", "amount", "double precision", "real", "text",
            "bigint"],
    "int": ["bigint", "numeric", "text", "double precision", "integer", "smallint", "varchar"],
    "tstz": ["timestamp", "date", "timestamptz(0)", "text", "timestamp(3)"],
    "ts": ["timestamptz", "date", "timestamp(0)", "text"],
    "date": ["timestamptz", "timestamp", "text"],
    "bool": ["text", "truth"],
    "uuid": ["text", "varchar"],
    "float": ["numeric", "text", "real"],
}
DIALECTS = {
    "contract4": ("2024R2", "REST"),
    "contract5": ("2026R2", "REST"),
    "gi_v3": ("2023R2", "OData"),
    "gi_v4": ("2024R2", "OData"),
    "dac": ("2024R2", "DAC"),
}
if without := os.environ.get("WITHOUT_TYPES"):
    OTHER_TYPES = {kind: [t for t in types if not re.search(without, t)] for kind, types in OTHER_TYPES.items()}
DATA_ERRORS = ("21", "22", "23")
admin = connect(options="-c timezone=UTC")
if not admin.execute("SELECT to_regtype('words')").fetchone()[0]:
    like = "(provider = icu, locale = 'und-u-ks-level1', deterministic = false)" if has_icu(admin) else 'FROM "C"'
    admin.execute(
        f"""CREATE DOMAIN words AS text; CREATE DOMAIN amount AS numeric(20,2); CREATE DOMAIN truth AS boolean;
        CREATE COLLATION ignore_accents {like}"""
    )


class Side:
    """A connection that has one schema's tables by their names."""

    def __init__(self, schema, seconds, zone):
        self.connection = connect(options=f"-c search_path={schema},public -c timezone={zone} -c statement_timeout={seconds}s"
                                          " -c default_statistics_target=10 -c jit=off")
        self.connection.execute("SET client_min_messages = notice")
        self.raw = self.connection.pgconn
        self.notices = []
        self.connection.add_notice_handler(lambda diagnostic: self.notices.append(diagnostic.message_primary))

    def run(self, query):
        """The rows of each step as texts, with their types; or the error that ended it."""
        found = []
        settings = "".join(f"SET LOCAL {setting};" for setting in query.settings)
        try:
            for sql in ["BEGIN;" + settings, *(step() for step in query.steps)]:
                result = self.raw.exec_(sql.encode())
                if result.status not in (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK):
                    code = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode()
                    return found, (code, result.error_message.decode().strip(), sql)
                if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
                    types = [result.ftype(at) for at in range(result.nfields)]
                    rows = [tuple(result.get_value(row, at) for at in range(result.nfields)) for row in range(result.ntuples)]
                    found.append((sql, types, rows))
            return found, None
        finally:
            self.raw.exec_(b"ROLLBACK")
            self.raw.exec_(b"DEALLOCATE ALL")


def normal(types, rows):
    """Rows with one text for all equal values (1.0 and 1.00), because the plan decides which of them DISTINCT returns."""
    def one(oid, value):
        if oid == 1700 and value is not None and value[-1:].isdigit():
            number = decimal.Decimal(value.decode())
            return str(number.normalize() if number else 0).encode()
        return b"0" if oid in (700, 701) and value == b"-0" else value
    return [tuple(map(one, types, row)) for row in rows]


def compare(query, foreign, local):
    """The difference as text; None if the results agree."""
    (rows_there, error_there), (rows_here, error_here) = foreign, local
    if error_there or error_here:
        if error_there and error_here and error_there[0] == error_here[0] and error_here[0].startswith(DATA_ERRORS):
            return None
        if error_here and error_here[0] == "57014":
            return None
        return f"foreign: {error_there or 'no error'}\nlocal:   {error_here or 'no error'}"
    if query.gather:
        rows_there = [(s, t, [row for _, _, rows in rows_there for row in rows]) for s, t, _ in rows_there[:1]]
        rows_here = [(s, t, [row for _, _, rows in rows_here for row in rows]) for s, t, _ in rows_here[:1]]
    for (sql, types, there), (_, _, here) in zip(rows_there, rows_here, strict=True):
        if query.loose:
            there, here = normal(types, there), normal(types, here)
        if query.ordered and there != here:
            at = next((at for at, pair in enumerate(zip(there, here)) if pair[0] != pair[1]), min(len(there), len(here)))
            return (f"{sql}\nfrom row {at} on, of {len(there)} and {len(here)}:\n"
                    f"foreign: {there[at:at + 3]}\nlocal:   {here[at:at + 3]}")
        if not query.ordered and (there != here):
            more, less = list(there), []
            counts = {}
            for row in there:
                counts[row] = counts.get(row, 0) + 1
            for row in here:
                if counts.get(row, 0):
                    counts[row] -= 1
                else:
                    less.append(row)
            more = [row for row, count in counts.items() for _ in range(count)]
            if more or less:
                return (f"{sql}\nrows: {len(there)} foreign, {len(here)} local\n"
                        f"only foreign: {more[:5]}\nonly local:   {less[:5]}")
    return None


class Dialect:
    def __init__(self, title, seed):
        self.title, self.seed, self.began = title, seed, time.monotonic()
        self.rng = random.Random(f"{seed}/{title}")
        release, self.remote = DIALECTS[title]
        pages = ("--gi-page-size", self.rng.choice([0, 0, 100])) if self.remote != "REST" else ()
        zone = ("--time-zone", self.rng.choice(SITE_ZONES))
        self.sim = Sim("--scale", SCALE, "--release", release, "--seats", 0, *zone, *pages)
        self.server, self.there, self.here = f"s_{title}", f"f_{title}", f"l_{title}"
        create_server(admin, self.sim, self.server)
        for schema in (self.there, self.here):
            admin.execute(f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        options = "OPTIONS (custom_fields 'true')" if self.remote == "REST" else ""
        admin.execute(f'IMPORT FOREIGN SCHEMA "{self.remote}" FROM SERVER {self.server} INTO {self.there} {options}')
        self.changes = []
        self.tables = []
        names = [row[0] for row in admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace ORDER BY 1", [self.there]).fetchall()]
        for table in names:
            if loaded := self.load(table):
                self.tables.append(loaded)
        self.took = time.monotonic() - self.began
        zone = self.rng.choice(SESSION_ZONES)
        # The foreign side has the longer timeout: if a busy machine makes both slow, the local query is cancelled.
        self.foreign, self.local = Side(self.there, 180, zone), Side(self.here, 30, zone)

    def change(self, sql):
        admin.execute(sql)
        self.changes.append(sql)

    def load(self, table):
        """Declares some columns of a table with other types, and copies the table."""
        full = f"{self.there}.{name(table)}"
        described = {row[0]: row[1:] for row in admin.execute(
            "SELECT attname, format_type(atttypid, atttypmod), coalesce(attfdwoptions, '{}') FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", [full]).fetchall()}
        options = {title: dict(o.split("=", 1) for o in row[1]) for title, row in described.items()}
        parameters, given, where = self.given(table, options)
        for title, (kind, _) in list(described.items()):
            if kind == "jsonb" and self.rng.random() < 0.8:
                options.pop(title)
                self.change(f"ALTER FOREIGN TABLE {full} DROP COLUMN {name(title)}")
        # The server refuses some fields in every request; the error names them.
        for _ in range(6):
            try:
                admin.execute(f"SELECT * FROM {full} {where} LIMIT 5").fetchall()
                break
            except psycopg.Error as error:
                detail = error.diag.message_detail or ""
                fields = re.findall(r"(\w+): View", detail) + re.findall(r"property '(\w+)' cannot", detail) + \
                    re.findall(r'^field "(\w+)" of', error.diag.message_primary or "")
                bad = [t for t, o in options.items() if o.get("field", t).split("/")[-1] in fields or o.get("field") in fields]
                # A table of a detail whose fields are refused is left out.
                if not bad or "of detail" in (error.diag.message_primary or ""):
                    print(f"# {full}: {error.diag.message_primary}: {detail}")
                    return None
                for title in bad:
                    options.pop(title)
                    self.change(f"ALTER FOREIGN TABLE {full} DROP COLUMN {name(title)}")
        # An import of OData takes the padding off.
        if self.rng.random() < 0.3:
            said = "ADD unpad 'true'" if self.remote == "REST" else "SET unpad 'false'"
            self.change(f"ALTER FOREIGN TABLE {full} OPTIONS ({said})")
        for title, (kind, _) in described.items():
            if title in options and kind == "text" and self.rng.random() < 0.1:
                said = f"ADD unpad '{self.rng.choice(['true', 'false'])}'"
                self.change(f"ALTER FOREIGN TABLE {full} ALTER COLUMN {name(title)} OPTIONS ({said})")
        for title, (kind, _) in described.items():
            types = OTHER_TYPES.get(kind_of(kind))
            if title in options and not options[title].get("parameter") and types and self.rng.random() < 0.12:
                self.retype(full, where, title, kind, self.rng.choice(types))
        if self.rng.random() < 0.3:
            title = self.rng.choice([t for t in options if not options[t].get("parameter")])
            said = "SET" if "pushdown" in options[title] else "ADD"
            self.change(f"ALTER FOREIGN TABLE {full} ALTER COLUMN {name(title)} OPTIONS ({said} pushdown 'off')")
        copy = f"{self.here}.{name(table)}"
        admin.execute(f"CREATE TABLE {copy} AS SELECT * FROM {full} {where}")
        admin.execute(f"ANALYZE {copy}")
        count = admin.execute(f"SELECT count(*) FROM {copy}").fetchone()[0]
        if self.rng.random() < 0.4:
            size = max(2, count // self.rng.choice([1, 2, 3, 6]))
            self.change(f"ALTER FOREIGN TABLE {full} OPTIONS (ADD page_size '{size}')")
        columns = admin.execute(
            "SELECT attname, format_type(getbase, atttypmod) FROM (SELECT attname, attnum, atttypmod, CASE WHEN typtype = 'd'"
            " THEN typbasetype ELSE atttypid END AS getbase FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attnum > 0) x ORDER BY attnum", [copy]).fetchall()
        listed = ", ".join(f"{name(title)}::text" for title, _ in columns)
        rows = admin.execute(f"SELECT {listed} FROM {copy}").fetchall()
        key = [title for title, found in options.items() if "key" in found]
        return Table(table, columns, rows, key, parameters, given)

    def retype(self, full, where, title, old, new):
        alter = f"ALTER FOREIGN TABLE {full} ALTER COLUMN {name(title)} TYPE "
        admin.execute(alter + new)
        try:
            admin.execute(f"SELECT {name(title)} FROM {full} {where}").fetchall()
            self.changes.append(alter + new)
        except psycopg.Error:
            admin.execute(alter + old)

    def given(self, table, options):
        """The parameters to set, and the WHERE clause of the copy."""
        parameters = {title: found for title, found in options.items() if "parameter" in found}
        if not parameters:
            return [], {}, ""
        inquiry = {"inventory_by_warehouse": "Inventory by Warehouse", "order_lines_totals": "Order Lines & Totals"}.get(table)
        if inquiry:
            fields = [found["field"] for found in parameters.values()]
            known = {"Line": "LineNbr"}
            text = self.sim.dump(f"gi/{inquiry}", [known.get(field, field) for field in fields], "--scale", SCALE).decode()
            rows = [row for row in list(csv.reader(io.StringIO(text)))[1:] if all(value.strip() for value in row)]
            chosen = self.rng.sample(rows, min(len(rows), 2 if len(fields) > 2 else 6))
            values = {title: {row[at].strip() for row in chosen} for at, title in enumerate(parameters)}
        elif table == "account_summary_inquiry":
            values = {"period": {"012024", "062025"}}
        else:
            text = self.sim.dump("rest/StockItem", ["InventoryID"], "--scale", SCALE).decode()
            items = [row[0] for row in list(csv.reader(io.StringIO(text)))[1:]]
            values = {"inventory_id": set(self.rng.sample(items, 12))}
        tests = [f"{name(title)} IN ({', '.join(map(quoted, sorted(some)))})" for title, some in values.items()]
        return list(parameters), values, "WHERE " + " AND ".join(tests)

    def request_log(self):
        seen = self.sim.control("GET", "requests")
        self.sim.control("DELETE", "requests")
        return [f"{r['method']} {r['path']}?{r['query']}" for r in seen]

    def both(self, query):
        local = self.local.run(query)
        self.request_log()
        self.foreign.notices.clear()
        foreign = self.foreign.run(query)
        return compare(query, foreign, local), self.request_log()

    def explain(self, query, foreign):
        """A plan must be shown for what runs, and without a request."""
        sql = query.steps[0]()
        if foreign[1] or not sql.startswith("SELECT") or self.rng.random() < 0.7:
            return None
        time.sleep(0.01)
        while self.request_log():  # a request that was dropped may be noted late
            time.sleep(0.1)
        # In the zone of the query: a time in it may be out of range in another.
        settings = "".join(f"SET LOCAL {setting};" for setting in query.settings)
        result = self.foreign.raw.exec_(f"BEGIN;{settings}EXPLAIN (VERBOSE, COSTS OFF) {sql}".encode())
        self.foreign.raw.exec_(b"ROLLBACK")
        requests = self.request_log()
        if result.status != psycopg.pq.ExecStatus.TUPLES_OK or requests:
            return f"EXPLAIN: {result.error_message.decode()} {requests}"
        return None

    @staticmethod
    def sort(difference):
        return difference and (re.findall(r"^foreign: \('(\w+)'|^local: +\('(\w+)'|^rows:", difference, re.M) or "order")

    def shrink(self, query):
        """Makes the conditions as small as they can be with the rows still different."""
        trials, changed, sort = 0, True, self.sort(self.both(query)[0])
        while changed and trials < 60:
            changed = False
            for node in [node for root in query.conditions for node in walk(root)]:
                if node.needed:
                    continue
                for smaller in [Node("true"), *(child for child in node.children if isinstance(child, Node))]:
                    if node.form == "true" or (not node.children and smaller.form != "true"):
                        continue
                    kept = node.form, node.children
                    node.form, node.children = smaller.form, list(smaller.children)
                    trials += 1
                    if trials < 60 and self.sort(self.both(query)[0]) == sort:
                        changed = True
                        break
                    node.form, node.children = kept
                if changed:
                    break

    def describe(self, query, number, difference):
        self.shrink(query)
        smaller, requests = self.both(query)
        tables = [table for table in self.tables if name(table.title) in " ".join(step() for step in query.steps)]
        lines = [f"--- {self.title}: {query.kind}", *(f"SET {setting};" for setting in query.settings),
                 *(step() + ";" for step in query.steps), smaller or f"(not when repeated; first: {difference})",
                 "requests:", *(f"  {request[:1500]}" for request in requests[:12]),
                 *(f"  notice: {notice}" for notice in self.foreign.notices[:3]),
                 "changes to the import:", *(f"  {c}" for c in self.changes if any(name(t.title) + " " in c for t in tables)),
                 f"again: SEED={self.seed} DIALECTS={self.title} ONLY={number} tests/e2e/differential.py"]
        return re.sub(r"(.)\1{60,}", r"\1…\1", "\n".join(lines))

    def close(self):
        self.foreign.connection.close()
        self.local.connection.close()
        self.sim.stop()


def walk(node):
    yield node
    for child in node.children:
        if isinstance(child, Node):
            yield from walk(child)


def run(title, seed, most):
    dialect = Dialect(title, seed)
    begun, failures, filtered, errors, empty, fallback = time.monotonic(), [], 0, 0, 0, 0
    numbers = [int(ONLY)] if ONLY else range(most)
    for number in numbers:
        query = Generator(dialect.tables, f"{seed}/{title}/{number}").query()
        local = dialect.local.run(query)
        dialect.request_log()
        dialect.foreign.notices.clear()
        started = time.monotonic()
        foreign = dialect.foreign.run(query)
        took = time.monotonic() - started
        requests = dialect.request_log()
        if took > 5:
            print(f"# {title} {number}: {took:.1f} s, {len(requests)} requests: {query.steps[0]()[:300]}", flush=True)
        filtered += any("$filter=" in request for request in requests)
        fallback += any("could not filter" in notice for notice in dialect.foreign.notices)
        errors += bool(local[1])
        empty += not local[1] and not any(rows for _, _, rows in local[0])
        if ONLY:
            print("\n".join(f"# {line}" for line in [*query.settings, *(step() for step in query.steps), *requests]))
        difference = compare(query, foreign, local) or dialect.explain(query, foreign)
        if difference:
            failures.append(difference)
            print(dialect.describe(query, number, difference), flush=True)
            if len(failures) >= MOST_FAILURES:
                break
    done = number + 1 if not ONLY else 1
    print(f"# {title}: seed {seed}, {done} queries on {len(dialect.tables)} tables ({dialect.took:.1f} s) in"
          f" {time.monotonic() - begun:.1f} s; a filter sent for {filtered * 100 / done:.0f} %, refused for {fallback},"
          f" {errors} errors on both sides, {empty} without rows, {len(failures)} differ", flush=True)
    dialect.close()
    return failures, filtered, done


def all_of(title):
    begun, seed, filtered, done, failures = time.monotonic(), SEED, 0, 0, []
    try:
        while done < (1 if ONLY else QUERIES) or time.monotonic() - begun < SECONDS:
            left = QUERIES - done
            found, sent, queries = run(title, seed, min(PER_SEED, left) if left > 0 else PER_SEED)
            failures += found
            filtered, done, seed = filtered + sent, done + queries, seed + 1
            if len(failures) >= MOST_FAILURES:
                break
    finally:
        print(f"# {title}, seeds {SEED} to {max(SEED, seed - 1)}: {done} queries, {done - len(failures)} clean", flush=True)
    assert not failures, f"{len(failures)} of {done} queries differ"
    if not ONLY and done >= 100:
        assert filtered * 100 >= SHARE[title] * done, f"a filter was sent for {filtered} of {done} queries only"


def in_parts(titles):
    """Each dialect in a process of its own, two at a time; what they print comes in whole paragraphs."""
    sums, writing = [], threading.Lock()

    def part(title):
        environment = {**os.environ, "DIALECTS": title, "SEED": str(SEED)}
        process = subprocess.Popen([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors="replace")
        held = ""
        for line in process.stdout:
            held += line
            if found := re.match(rf"# {title}, seeds (\d+) to (\d+): (\d+) queries, (\d+) clean", line):
                sums.append([int(number) for number in found.groups()])
            if line.startswith(("# ", "again: ", "ok - ", "not ok - ")):
                with writing:
                    sys.stdout.write(held)
                    sys.stdout.flush()
                held = ""
        with writing:
            sys.stdout.write(held)
        return process.wait()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        status = max(pool.map(part, titles))
    last = max((found[1] for found in sums), default=SEED)
    print(f"# seeds {SEED} to {last} of {' '.join(titles)}: {sum(found[2] for found in sums)} queries,"
          f" {sum(found[3] for found in sums)} clean", flush=True)
    sys.exit(status)


titles = (os.environ.get("DIALECTS") or " ".join(DIALECTS)).split()
print(f"# SEED={SEED} QUERIES={QUERIES} DIALECTS={' '.join(titles)}", flush=True)
if len(titles) > 1:
    in_parts(titles)


def same_rows():
    all_of(titles[0])


same_rows.__name__ = f"the_same_rows_from_{titles[0]}"
test(same_rows)
finish()
