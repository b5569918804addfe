#!/usr/bin/env python3
"""The rows that the planner estimates for queries of dashboards, after ANALYZE of all tables: each scan of a foreign table and
each join within a factor of three of the rows that there are."""

import datetime
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, test

# Documents in the order of their dates: twenty a day, of three kinds.
DOCUMENTS, FIRST_DAY = 60_000, datetime.date(2018, 1, 1)
with tempfile.TemporaryDirectory() as folder:
    days = (FIRST_DAY + datetime.timedelta(days=n // 20) for n in range(DOCUMENTS))
    lines = (f"{n},{day},{day:%Y-%m},{n * 7919 % 1000},{'ABCCC'[n % 5]},{(n * 7919 % 60013) ** 2 // 1000}" for n, day in enumerate(days))
    pathlib.Path(folder, "Journal.csv").write_text("\n".join(["*Nbr:int,Day:date,Month,Amount:int,Kind,Score:int", *lines, ""]))
    sim = Sim("--seats", 0, "--scale", 1, "--tables", folder)
db = connect()
create_server(db, sim)
db.execute("""
    CREATE FOREIGN TABLE orders (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        customer int OPTIONS (field 'CustomerID'),
        date date OPTIONS (field 'OrderDate'),
        status text OPTIONS (field 'Status'),
        total numeric OPTIONS (field 'CuryOrderTotal'),
        hold boolean OPTIONS (field 'Hold')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
    CREATE FOREIGN TABLE lines (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        line_nbr int OPTIONS (field 'LineNbr', key '3') NOT NULL,
        item int OPTIONS (field 'InventoryID'),
        qty numeric OPTIONS (field 'OrderQty')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine');
    CREATE FOREIGN TABLE sales (
        order_type text OPTIONS (field 'OrderType', key '1'),
        order_nbr text OPTIONS (field 'OrderNbr', key '2'),
        customer_id text OPTIONS (field 'CustomerID'),
        date date OPTIONS (field 'Date'),
        status text OPTIONS (field 'Status'),
        total numeric OPTIONS (field 'OrderTotal')
    ) SERVER erp OPTIONS (entity 'SalesOrder');
    CREATE FOREIGN TABLE customers (
        customer_id text OPTIONS (field 'CustomerID', key '1'),
        name text OPTIONS (field 'CustomerName'),
        class text OPTIONS (field 'CustomerClass')
    ) SERVER erp OPTIONS (entity 'Customer');
    CREATE FOREIGN TABLE bills (
        type text OPTIONS (field 'Type', key '1'),
        nbr text OPTIONS (field 'ReferenceNbr', key '2'),
        due date OPTIONS (field 'DueDate'),
        balance numeric OPTIONS (field 'Balance'),
        status text OPTIONS (field 'Status')
    ) SERVER erp OPTIONS (entity 'Bill');
    CREATE FOREIGN TABLE journal (
        nbr int OPTIONS (field 'Nbr', key '1'),
        day date OPTIONS (field 'Day'),
        month text OPTIONS (field 'Month'),
        amount int OPTIONS (field 'Amount'),
        kind text OPTIONS (field 'Kind'),
        score int OPTIONS (field 'Score')
    ) SERVER erp OPTIONS (schema 'OData', inquiry 'Journal')""")
TABLES = ("orders", "lines", "sales", "customers", "bills", "journal")


def rows(query):
    return db.execute(query).fetchall()


db.execute("CREATE TABLE copy AS SELECT * FROM journal")
for name in TABLES:
    db.execute(f"ANALYZE {name}")
db.execute("""
    CREATE TABLE wanted AS SELECT order_type, order_nbr FROM orders WHERE order_type = 'SO' ORDER BY md5(order_nbr) LIMIT 300;
    CREATE TABLE targets AS SELECT customer, row_number() OVER (ORDER BY customer) * 1000 AS goal FROM orders GROUP BY 1 ORDER BY 1 LIMIT 100;
    CREATE TABLE items AS SELECT item FROM lines GROUP BY 1 ORDER BY 1 LIMIT 25;
    ANALYZE wanted, targets, items""")

QUERIES = {
    "one order with its lines": "SELECT * FROM orders o JOIN lines l USING (order_type, order_nbr) WHERE o.order_type = 'SO' AND o.order_nbr = '000123'",
    "300 keys and orders": "SELECT * FROM wanted w JOIN orders o USING (order_type, order_nbr)",
    "300 keys and lines": "SELECT * FROM wanted w JOIN lines l USING (order_nbr)",
    "what is missing": "SELECT * FROM wanted w LEFT JOIN orders o ON o.order_nbr = w.order_nbr AND o.hold",
    "correlated sums": "SELECT w.order_nbr, (SELECT sum(o.total) FROM orders o WHERE o.order_nbr = w.order_nbr) FROM (SELECT * FROM wanted LIMIT 20) w",
    "EXISTS with a condition": "SELECT * FROM wanted w WHERE EXISTS (SELECT FROM lines l WHERE l.order_nbr = w.order_nbr AND l.qty > 10)",
    "aged payables": "SELECT status, sum(balance) FROM bills WHERE due < date '2024-07-01' AND balance > 1000 GROUP BY 1",
    "top customers": "SELECT customer, sum(total) FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "sales against targets": "SELECT t.customer, t.goal, sum(o.total) FROM targets t JOIN orders o USING (customer) GROUP BY 1, 2",
    "a list of items": "SELECT item, sum(qty) FROM items JOIN lines USING (item) GROUP BY 1",
    "customers of a class": "SELECT c.name, count(*) FROM customers c JOIN sales s USING (customer_id) WHERE c.class = 'LOCAL' GROUP BY 1",
    "open orders": "SELECT * FROM sales WHERE status = 'Open' AND total > 1000",
    "the latest": "SELECT * FROM orders WHERE order_type = 'SO' ORDER BY date DESC LIMIT 20",
    "orders a month": "SELECT date_trunc('month', date), count(*), sum(total) FROM orders WHERE date >= date '2024-01-01' AND date < date '2025-01-01' GROUP BY 1",
    "orders of some days": "SELECT * FROM orders WHERE date >= date '2025-03-01' AND date < date '2025-03-15'",
    "series limit": "SELECT o.customer, o.date, o.total FROM orders o JOIN (SELECT customer, sum(total) FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 10) s USING (customer)",
}
JOINS = ("Hash Join", "Nested Loop", "Merge Join")


def nodes(plan, is_stopped=False):
    """The nodes of a plan that are read to their end."""
    kind = plan["Node Type"]
    # Rows are read to the end to sort, hash or group them.
    is_stopped = kind == "Limit" or is_stopped and kind not in ("Sort", "Hash", "Aggregate")
    if not is_stopped:
        yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child, is_stopped)


def off(query):
    """The scans and joins of a query whose rows are not within a factor of three: what they are, estimated, actual."""
    plan = rows("EXPLAIN (ANALYZE, FORMAT JSON) " + query)[0][0][0]["Plan"]
    found = []
    for node in nodes(plan):
        if node["Node Type"] in JOINS + ("Foreign Scan", "Custom Scan") and node["Actual Loops"] > 0:
            guessed, real = max(node["Plan Rows"], 1), max(node["Actual Rows"], 1)
            if not real / 3 <= guessed <= real * 3:
                found.append((node["Node Type"], node.get("Relation Name"), guessed, real))
    return found


@test
def rows_are_estimated_within_a_factor_of_three():
    found = {name: off(query) for name, query in QUERIES.items()}
    assert not any(found.values()), {name: nodes for name, nodes in found.items() if nodes}


@test
def there_are_as_many_values_as_estimated():
    """The lines of an order lie beside each other: a sample of ten places has a small part of all orders, each with all its
    lines, but of an item only few."""
    for table in TABLES:
        db.execute(f"CREATE TABLE local AS SELECT * FROM {table}")
        count = rows("SELECT count(*) FROM local")[0][0]
        found = rows(f"SELECT attname, n_distinct FROM pg_stats WHERE tablename = '{table}'")
        assert len(found) >= 3, found
        for name, number in found:
            truth = rows(f"SELECT count(DISTINCT {name}) FROM local")[0][0]
            guessed = number if number > 0 else -number * count
            assert truth / 1.5 <= guessed <= truth * 1.5, (table, name, truth, guessed)
        db.execute("DROP TABLE local")


@test
def dates_that_follow_the_order_of_a_table_are_estimated():
    """The sample has all rows of some weeks, and none of the weeks between."""
    off_by = {}
    conditions = [f"month = '{year}-05'" for year in range(2018, 2026)]
    for year in range(2018, 2026):
        for month in range(1, 12):
            conditions.append(f"day >= '{year}-{month:02}-01' AND day < '{year}-{month + 1:02}-01'")
        conditions += [f"day = '{year}-02-03'", f"day BETWEEN '{year}-01-01' AND '{year}-12-31'", f"day >= '{year}-01-01'"]
    conditions += ["day >= '2026-01-01'", "nbr < 1000", "nbr BETWEEN 31000 AND 32000", "amount < 100", "amount = 5", "kind = 'C'", "kind = 'A'",
                   # Other values in each place, in no order.
                   "score < 360", "score < 10000", "score > 3500000"]
    for condition in conditions:
        real = rows(f"SELECT count(*) FROM copy WHERE {condition}")[0][0]
        guessed = rows(f"EXPLAIN (FORMAT JSON) SELECT * FROM journal WHERE {condition}")[0][0][0]["Plan"]["Plan Rows"]
        if not real / 3 <= guessed <= real * 3:
            off_by[condition] = guessed, real
    assert not off_by, (len(off_by), len(conditions), off_by)


@test
def a_number_of_values_that_the_user_has_set_is_kept():
    db.execute("ALTER FOREIGN TABLE lines ALTER order_nbr SET (n_distinct = 77); ANALYZE lines")
    found = dict(rows("SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'lines'"))
    assert found["order_nbr"] == 77 and found["item"] > 1000, found
    db.execute("ALTER FOREIGN TABLE lines ALTER order_nbr RESET (n_distinct)")
    # In a transaction, its end replaces the numbers, and an error leaves those before.
    with db.transaction(force_rollback=True):
        db.execute("ANALYZE lines")
    assert dict(rows("SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'lines'")) == found
    with db.transaction():
        db.execute("ANALYZE lines (order_nbr)")
    assert rows("SELECT n_distinct FROM pg_stats WHERE tablename = 'lines' AND attname = 'order_nbr'")[0][0] < -0.1


finish()
