#!/usr/bin/env python3
"""TPC-H at scale 0.01 with the eight tables as generic inquiries: the 22 queries return what they return on local tables, and
docs/tpch.md tells for each how many requests it takes, how many rows it receives, and how many it needs. ACCEPT=1 writes the
numbers anew."""

import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, test
from tpch.data import COLUMNS, files
from tpch.needed import needed
from tpch.queries import QUERIES

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tpch.md"
db = connect(options="-c statement_timeout=120s")
texts = files()
with tempfile.TemporaryDirectory() as folder:
    for name, text in texts.items():
        pathlib.Path(folder, f"{name}.csv").write_text(text)
    sim = Sim("--seats", 0, "--scale", 0.01, "--tables", folder)
create_server(db, sim)
db.execute("CREATE SCHEMA far; CREATE SCHEMA near")
db.execute(f'IMPORT FOREIGN SCHEMA "OData" LIMIT TO ({", ".join(COLUMNS)}) FROM SERVER erp INTO far')
for name, text in texts.items():
    db.execute(f"CREATE TABLE near.{name} (LIKE far.{name})")
    with db.cursor().copy(f"COPY near.{name} FROM STDIN (FORMAT csv, HEADER)") as copy:
        copy.write(text)
    db.execute(f"ANALYZE near.{name}; ANALYZE far.{name}")
db.execute("CREATE INDEX ON near.lineitem (l_partkey, l_suppkey); CREATE INDEX ON near.lineitem (l_orderkey)")


def rows(schema, query):
    db.execute(f"SET search_path = {schema}, public")
    return db.execute(query).fetchall()


def nodes(plan):
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def measured(number):
    """The requests of a query, the rows that it receives, and those that it needs."""
    ((document,),) = rows("far", "EXPLAIN (ANALYZE, FORMAT JSON) " + QUERIES[number])
    scans = [node for node in nodes(document[0]["Plan"]) if "Remote Requests" in node]
    requests, received = (sum(int(scan[key]) for scan in scans) for key in ("Remote Requests", "Rows Received"))
    return requests, received, rows("near", needed(number))[0][0]


@test
def the_inquiries_have_the_rows_and_types_of_the_files():
    for name, text in texts.items():
        counted = [rows(schema, f"SELECT count(*) FROM {name}")[0][0] for schema in ("far", "near")]
        assert counted == [text.count("\n") - 1] * 2, (name, counted)
    kinds = "pg_typeof(l_orderkey), pg_typeof(l_tax), pg_typeof(l_shipdate), pg_typeof(l_comment)"
    assert rows("far", f"SELECT {kinds} FROM lineitem LIMIT 1") == [("integer", "numeric", "date", "text")]


@test
def each_query_returns_what_it_returns_on_local_tables():
    for number, query in QUERIES.items():
        wanted, got = rows("near", query), rows("far", query)
        # An aggregate of no rows would be a row too.
        assert wanted and None not in wanted[0], (number, wanted)
        assert got == wanted, (number, got, wanted)


# A line of the table: the query's number, what is measured, and the reason.
LINE = re.compile(r"^\| (\d+) \|(?:[^|]*\|){4} ([^|]*) \|$", re.MULTILINE)


@test
def the_page_has_the_numbers():
    text = PAGE.read_text()
    assert [int(number) for number, _ in LINE.findall(text)] == list(QUERIES), "a line for each query"

    def line(found):
        requests, received, wanted = measured(int(found[1]))
        return f"| {found[1]} | {requests} | {received:,} | {wanted:,} | {received / wanted:.1f} | {found[2]} |"

    true = LINE.sub(line, text)
    if os.environ.get("ACCEPT") == "1":
        PAGE.write_text(true)
    wrong = [new for old, new in zip(text.splitlines(), true.splitlines()) if old != new]
    assert PAGE.read_text() == true, "\n".join(["run ACCEPT=1 TESTS=e2e/tpch tests/run.sh; measured:", *wrong])


finish()
