#!/usr/bin/env python3
"""ANALYZE: the number of rows, the sample, what it asks for, and the estimates that come of it."""

import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, raises, test

sim = Sim("--seats", 0, "--scale", 1)
db = connect()
create_server(db, sim)
db.execute("""
    CREATE FOREIGN TABLE orders (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        total numeric OPTIONS (field 'CuryOrderTotal'),
        hold boolean OPTIONS (field 'Hold'),
        customer int OPTIONS (field 'CustomerID')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
    CREATE FOREIGN TABLE sales (
        order_type text OPTIONS (field 'OrderType', key '1'),
        order_nbr text OPTIONS (field 'OrderNbr', key '2'),
        total numeric OPTIONS (field 'OrderTotal')
    ) SERVER erp OPTIONS (entity 'SalesOrder');
    CREATE FOREIGN TABLE customers (
        customer_id text OPTIONS (field 'CustomerID', key '1'),
        name text OPTIONS (field 'CustomerName')
    ) SERVER erp OPTIONS (entity 'Customer');
    CREATE FOREIGN TABLE lines (
        order_nbr text OPTIONS (field 'OrderNbr'), qty numeric OPTIONS (field 'Details/OrderQty')
    ) SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details');
    CREATE FOREIGN TABLE nothing (order_nbr text OPTIONS (field 'OrderNbr', key '1'))
        SERVER erp OPTIONS (entity 'SalesOrder', filter 'OrderNbr eq ''none''');
    CREATE TABLE copy AS SELECT * FROM orders;
    CREATE TABLE buyers AS SELECT customer FROM copy GROUP BY 1 ORDER BY 1 LIMIT 20;
    ANALYZE buyers""")


def rows(query):
    return db.execute(query).fetchall()


def value(query):
    return rows(query)[0][0]


def estimate(query):
    return rows("EXPLAIN (FORMAT JSON) " + query)[0][0][0]["Plan"]["Plan Rows"]


def counted(table):
    """The number of rows after ANALYZE, and the number of requests it takes."""
    sim.reset()
    db.execute(f"ANALYZE {table}")
    pages, tuples = rows(f"SELECT relpages, reltuples FROM pg_class WHERE oid = '{table}'::regclass")[0]
    assert pages == 0, pages
    places = ("/SalesOrder", "SOOrder", "SOOrder/$count", "/Customer")
    return tuples, len([entry for entry in sim.requests() if entry["path"].endswith(places)])


@test
def a_class_is_counted_by_count_and_sampled_in_ten_places():
    tuples, asked = counted("orders")
    assert tuples == value("SELECT count(*) FROM copy") and asked <= 11, (tuples, asked)
    stats = dict(rows("SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'orders'"))
    db.execute("ANALYZE copy")
    truth = dict(rows("SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'copy'"))
    spread = {name: n if n > 0 else -n * tuples for name, n in stats.items()}
    wanted = {name: n if n > 0 else -n * tuples for name, n in truth.items()}
    for name in ("order_type", "hold", "customer", "order_nbr"):
        assert wanted[name] / 3 <= spread[name] <= wanted[name] * 3, (name, spread[name], wanted[name])


@test
def an_entity_is_counted_by_bisection():
    tuples, asked = counted("sales")
    assert tuples == value("SELECT count(*) FROM sales"), tuples
    assert asked <= 2 * math.log2(tuples) + 4 + 11, asked
    tuples, _ = counted("customers")
    assert tuples == value("SELECT count(*) FROM customers"), tuples


@test
def what_has_no_positions_is_read_as_a_whole():
    tuples, _ = counted("lines")
    assert tuples == value("SELECT count(*) FROM lines"), tuples
    tuples, _ = counted("nothing")
    assert tuples == 0, tuples


@test
def estimates_are_within_a_factor_of_three():
    for query in ("SELECT * FROM orders WHERE order_type = 'SO'", "SELECT * FROM orders WHERE hold",
                  "SELECT * FROM orders WHERE total > 1000", "SELECT * FROM orders WHERE order_nbr = '000123'",
                  "SELECT * FROM orders JOIN buyers USING (customer)",
                  "SELECT customer, sum(total) FROM orders GROUP BY 1"):
        guessed, real = estimate(query), len(rows(query))
        assert max(real, 1) / 3 <= guessed <= max(real, 1) * 3, (query, guessed, real)


@test
def what_needs_values_is_skipped_with_a_warning():
    notices = []
    db.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
    db.execute("""CREATE FOREIGN TABLE stock (item text OPTIONS (field 'InventoryID', parameter 'required'))
        SERVER erp OPTIONS (schema 'REST', inquiry 'InventorySummaryInquiry')""")
    db.execute("ANALYZE stock")
    assert any("cannot analyze" in notice for notice in notices), notices


@test
def a_count_that_the_server_refuses_is_found_by_bisection():
    sim.fault("/$count", "status", status=500, count=-1)
    db.execute("ANALYZE orders")
    sim.reset()
    assert value("SELECT reltuples FROM pg_class WHERE oid = 'orders'::regclass") == value("SELECT count(*) FROM copy")


@test
def positions_that_the_server_refuses_are_not_taken_for_the_end():
    truth = value("SELECT count(*) FROM sales")
    # Behind the doubled positions, in the middle of the bisection.
    sim.fault("$top=2&$skip=", "status", status=400, count=-1, after=18)
    db.execute("ANALYZE sales")
    sim.reset()
    assert value("SELECT reltuples FROM pg_class WHERE oid = 'sales'::regclass") == truth


@test
def it_can_be_cancelled():
    sim.fault("SalesOrder", "delay", ms=20000, count=-1)
    db.execute("SET statement_timeout = '500ms'")
    with raises("57014"):
        db.execute("ANALYZE sales")
    db.execute("RESET statement_timeout")
    sim.reset()
    assert counted("customers")[0] > 0


finish()
