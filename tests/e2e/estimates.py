#!/usr/bin/env python3
"""What the planner knows of tables: what scans have measured, and how many rows they saw."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, raises, test

sim = Sim("--seats", 0, "--scale", 1)
db = connect()
create_server(db, sim)
db.execute("SET acumatica_fdw.use_measurements = on")


def rows(query, connection=db):
    return connection.execute(query).fetchall()


def plan(query, connection=db):
    return rows("EXPLAIN (FORMAT JSON) " + query, connection)[0][0][0]["Plan"]


def estimated(table, connection=db):
    return plan(f"SELECT * FROM {table}", connection)["Plan Rows"]


def startup(table, connection=db):
    return plan(f"SELECT * FROM {table}", connection)["Startup Cost"]


def table(name, options, columns="nbr text OPTIONS (field 'OrderNbr')"):
    db.execute(f"CREATE FOREIGN TABLE {name} ({columns}) SERVER erp OPTIONS ({options})")


KEYED = "order_type text OPTIONS (field 'OrderType', key '1'), nbr text OPTIONS (field 'OrderNbr', key '2')"
table("orders", "schema 'DAC', entity 'PX_Objects_SO_SOOrder'", KEYED)
table("counted", "schema 'DAC', entity 'PX_Objects_SO_SOLine'", KEYED + ", line int OPTIONS (field 'LineNbr', key '3')")
table("sales", "entity 'SalesOrder'")
table("some_sales", "entity 'SalesOrder', filter 'OrderNbr eq ''000012'''")
table("lines", "entity 'SalesOrder', detail 'Details'")


@test
def a_table_that_nobody_has_read_has_a_default_by_its_kind():
    db.execute("""CREATE FOREIGN TABLE stock (item text OPTIONS (field 'InventoryID', parameter 'required'))
            SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry');
        CREATE FOREIGN TABLE setup (a text) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOSetup', singleton 'true')""")
    assert (estimated("orders"), estimated("lines"), estimated("setup")) == (10_000, 30_000, 1)
    assert plan("SELECT * FROM stock")["Plan Rows"] == 1_000


@test
def a_scan_that_read_a_table_to_its_end_knows_how_many_rows_it_has():
    all_rows = len(rows("SELECT * FROM sales"))
    # A new session knows it too, but only if it is to.
    other = connect()
    assert estimated("sales", other) == 10_000
    other.execute("SET acumatica_fdw.use_measurements = on")
    assert estimated("sales", other) == all_rows
    # Other rows of the same entity.
    assert (estimated("some_sales"), estimated("lines")) == (10_000, 30_000)
    assert len(rows("SELECT * FROM some_sales")) == estimated("some_sales") < 10
    all_lines = len(rows("SELECT * FROM lines"))
    assert estimated("lines") == all_lines and estimated("sales") == all_rows
    db.execute("SET acumatica_fdw.branch = 'MAIN'")
    assert estimated("sales") == 10_000
    db.execute("RESET acumatica_fdw.branch")


@test
def a_scan_that_stops_or_filters_does_not_know_it():
    rows("SELECT * FROM orders LIMIT 5")
    rows("SELECT * FROM orders WHERE nbr = '000012'")
    assert estimated("orders") == 10_000


@test
def a_count_of_the_server_knows_it():
    # Of a condition it does not.
    rows("SELECT count(*) FROM counted WHERE line > 1")
    assert estimated("counted") == 10_000
    count = rows("SELECT count(*) FROM counted")[0][0]
    assert estimated("counted") == count > 10_000


@test
def the_option_and_statistics_count_more():
    seen = len(rows("SELECT * FROM orders"))
    assert estimated("orders") == seen
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (ADD rows '7')")
    assert estimated("orders") == 7
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (DROP rows)")
    table("empty", "entity 'SalesOrder', filter 'OrderNbr eq ''none'''")
    assert estimated("empty") == 10_000
    db.execute("ANALYZE empty")
    # PostgreSQL estimates no table as empty.
    assert estimated("empty") == 1


@test
def the_server_counts_rows_for_the_planner_if_it_is_to():
    columns = KEYED + ", total numeric OPTIONS (field 'CuryOrderTotal'), date date OPTIONS (field 'OrderDate')"
    table("remote", "schema 'DAC', entity 'PX_Objects_SO_SOOrder', use_remote_estimate 'true'", columns)
    table("plain", "schema 'DAC', entity 'PX_Objects_SO_SOOrder', rows '10000'", columns)
    queries = ["nbr = '000012'", "nbr LIKE '00012%' AND total > 100", "date >= date '2024-01-01' AND date < date '2024-02-01'",
               "date < now() - interval '2 years'", "order_type = 'SO' AND nbr > '00'", "true"]
    for condition in queries:
        sim.reset()
        guessed = estimated("remote WHERE " + condition)
        asked = [entry["path"] for entry in sim.requests() if "SOOrder" in entry["path"]]
        assert len(asked) == 1 and asked[0].endswith("/$count"), (condition, asked)
        real = len(rows("SELECT * FROM remote WHERE " + condition))
        # What is not sent is estimated without statistics: a third for an order of texts.
        assert real / 3 <= guessed <= real * 1.1 + 1, (condition, guessed, real)
        if "now()" not in condition:
            sim.reset()
            other = connect()
            assert estimated("remote WHERE " + condition, other) == guessed
            assert not sim.requests(), sim.requests()
    sim.reset()
    assert estimated("plain WHERE nbr = '000012'") == 50 and not sim.requests()
    # Of a value that is not known yet, the rows of the table are counted.
    db.execute("SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT * FROM remote WHERE nbr = $1")
    sim.reset()
    assert plan("EXECUTE p('000012')")["Plan Rows"] == 100 and not sim.requests()
    db.execute("RESET plan_cache_mode")


@test
def a_remote_estimate_that_is_refused_is_done_without():
    table("refused", "schema 'DAC', entity 'PX_Objects_SO_SOOrder', use_remote_estimate 'true', filter 'Hold eq false'", KEYED)
    sim.fault("/$count", "status", status=400, count=-1)
    assert estimated("refused") == 10_000
    sim.reset()
    # The refusal is remembered.
    assert estimated("refused") == 10_000 and not sim.requests()
    # An entity has no count.
    table("entity", "entity 'SalesOrder', use_remote_estimate 'true', filter 'Hold eq false'")
    assert estimated("entity") == 10_000 and not sim.requests()


@test
def a_remote_estimate_can_be_cancelled():
    table("late", "schema 'DAC', entity 'PX_Objects_SO_SOOrder', use_remote_estimate 'true', filter 'Hold eq true'", KEYED)
    sim.fault("/$count", "delay", ms=20000, count=-1)
    db.execute("SET statement_timeout = '500ms'")
    with raises("57014"):
        estimated("late")
    db.execute("RESET statement_timeout")
    sim.reset()


@test
def requests_cost_as_much_as_they_take():
    table("slow", "entity 'SalesOrder'")
    # Quick answers of a few rows: the least that a request can cost.
    for _ in range(12):
        rows("SELECT * FROM slow WHERE nbr = '000012'")
    assert 10 <= startup("slow") < 20, startup("slow")
    quick = startup("slow")
    # One slow answer changes nothing.
    sim.fault("SalesOrder", "delay", ms=3000, count=1)
    rows("SELECT * FROM slow WHERE nbr = '000012'")
    assert startup("slow") == quick
    sim.fault("SalesOrder", "delay", ms=500, count=-1)
    for _ in range(16):
        rows("SELECT * FROM slow WHERE nbr = '000012'")
    sim.reset()
    assert 170 < startup("slow") < 300, startup("slow")
    # Other tables have their own.
    assert startup("orders") < 100
    other = connect()
    assert startup("slow", other) == 100
    db.execute("ALTER SERVER erp OPTIONS (ADD fdw_startup_cost '3')")
    assert startup("slow") == startup("orders") == 3
    db.execute("ALTER SERVER erp OPTIONS (DROP fdw_startup_cost)")


@test
def slow_requests_are_sent_less_often():
    """The keys of a join are asked for as long as that is cheaper than to read all rows."""
    table("large", "schema 'DAC', entity 'PX_Objects_SO_SOOrder', rows '25000'", KEYED)
    db.execute("CREATE TABLE wanted AS SELECT lpad(n::text, 6, '0') AS nbr FROM generate_series(1, 800) n; ANALYZE wanted")
    query = "SELECT * FROM wanted JOIN large USING (nbr)"
    db.execute("ALTER FOREIGN TABLE large OPTIONS (ADD fdw_startup_cost '100', ADD fdw_tuple_cost '0.1')")
    assert plan(query)["Node Type"] == "Custom Scan", plan(query)
    db.execute("ALTER FOREIGN TABLE large OPTIONS (SET fdw_startup_cost '5000')")
    assert plan(query)["Node Type"] == "Hash Join", plan(query)
    # The executor changes over by the same costs.
    db.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_nestloop = off")
    told = "\n".join(line for line, in rows("EXPLAIN (ANALYZE, COSTS OFF) " + query))
    assert "All Rows Read: it is cheaper" in told, told
    db.execute("ALTER FOREIGN TABLE large OPTIONS (SET fdw_startup_cost '100')")
    told = "\n".join(line for line, in rows("EXPLAIN (ANALYZE, COSTS OFF) " + query))
    assert "Key Join" in told and "All Rows Read" not in told, told
    db.execute("RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_nestloop")


finish()
