#!/usr/bin/env python3
"""A scan of 200,000 rows of 12 columns returns each value exactly, in bounded memory, at any page size."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, test

SCALE = 10
ROWS = 200_000
GROWTH_KIB = 64 * 1024
# Remote field, SQL type.
COLUMNS = {
    "OrderType": "text",
    "OrderNbr": "text",
    "CustomerID": "text",
    "Description": "text",
    "Date": "date",
    "OrderTotal": "numeric",
    "OrderedQty": "numeric",
    "LineCounter": "bigint",
    "Hold": "boolean",
    "LastModifiedOn": "timestamptz",
    "ApprovedOn": "timestamp",
    "NoteID": "uuid",
}

sim = Sim("--scale", SCALE)
connection = connect()
create_server(connection, sim)
local = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
connection.execute(f"CREATE UNLOGGED TABLE truth ({local})")
with connection.cursor().copy("COPY truth FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
    copy.write(sim.dump("gi/BI-SalesOrders", COLUMNS, "--scale", SCALE))


def foreign_table(name, page_size):
    keys = {"OrderType": "OPTIONS (key '1')", "OrderNbr": "OPTIONS (key '2')"}
    columns = ", ".join(f'"{c}" {kind} {keys.get(c, "")}' for c, kind in COLUMNS.items())
    connection.execute(
        f"CREATE FOREIGN TABLE {name} ({columns}) SERVER erp "
        f"OPTIONS (schema 'OData', inquiry 'BI-SalesOrders', page_size '{page_size}')"
    )


def high_water(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def reset_high_water(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")


def check(page_size):
    table = f"orders_{page_size}"
    foreign_table(table, page_size)
    sim.reset()
    for first, second in ((table, "truth"), ("truth", table)):
        difference = connection.execute(
            f"SELECT count(*) FROM (SELECT * FROM {first} EXCEPT ALL SELECT * FROM {second}) d"
        ).fetchone()[0]
        assert difference == 0, f"{difference} rows of {first} are not in {second}"
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == ROWS

    # Memory, with nothing but the scan in the backend: no sort, no hash, no rows kept by the client.
    with connect() as backend:
        pid = backend.info.backend_pid
        backend.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
        reset_high_water(pid)
        before = high_water(pid)
        backend.execute(
            "SELECT count(*) FROM (SELECT " + ", ".join(f'"{c}"' for c in COLUMNS) + f" FROM {table} OFFSET 0) x"
            ' WHERE "NoteID" IS NOT NULL AND "Description" IS DISTINCT FROM $$x$$'
        )
        growth = high_water(pid) - before
        print(f"# page_size {page_size}: the backend grew by {growth / 1024:.1f} MB")
        assert growth < GROWTH_KIB, f"{growth} KiB"


@test
def page_size_10000():
    check(10000)


@test
def page_size_100000():
    check(100000)


@test
def limit_5_of_200000_rows_asks_for_5():
    sim.reset()
    assert len(connection.execute("SELECT * FROM orders_10000 LIMIT 5").fetchall()) == 5
    tops = [r["query"] for r in sim.requests("$top")]
    assert len(tops) == 1 and "$top=5" in tops[0], tops


finish()
