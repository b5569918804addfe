#!/usr/bin/env python3
"""How many keys a request holds: long addresses and `in` where the server takes them, short ones and `eq` where it does not."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, raises, test

db = connect()
sims = {}

TABLES = """
    CREATE SCHEMA {0};
    CREATE FOREIGN TABLE {0}.orders (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        total numeric OPTIONS (field 'CuryOrderTotal')
    ) SERVER {0} OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
    CREATE FOREIGN TABLE {0}.lines (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        line_nbr int OPTIONS (field 'LineNbr', key '3') NOT NULL,
        qty numeric OPTIONS (field 'OrderQty')
    ) SERVER {0} OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine');
    CREATE FOREIGN TABLE {0}.items (
        id int OPTIONS (field 'InventoryID', key '1') NOT NULL,
        code text OPTIONS (field 'InventoryCD')
    ) SERVER {0} OPTIONS (schema 'DAC', entity 'PX_Objects_IN_InventoryItem')"""

for name, options in {
    "takes_both": ("--longest-query", 0),
    "takes_in": (),
    "takes_long": ("--longest-query", 0, "--list-operator", "refused"),
    "takes_neither": ("--list-operator", "refused"),
    "ignores_in": ("--list-operator", "ignored"),
    "takes_first": ("--longest-query", 0, "--list-operator", "first"),
}.items():
    sims[name] = Sim("--seats", 0, "--scale", 2, *options)
    create_server(db, sims[name], name)
    db.execute(TABLES.format(name) + ";ANALYZE {0}.orders".format(name))

db.execute("""
    CREATE TABLE orders AS SELECT * FROM takes_both.orders;
    CREATE TABLE lines AS SELECT * FROM takes_both.lines;
    CREATE TABLE items AS SELECT * FROM takes_both.items;
    CREATE TABLE wanted AS SELECT order_type, order_nbr, row_number() OVER (ORDER BY md5(order_nbr)) AS n
        FROM orders WHERE order_type = 'SO';
    CREATE TABLE pairs AS SELECT order_type, order_nbr, row_number() OVER (ORDER BY md5(order_type || order_nbr)) AS n FROM orders;
    ANALYZE orders, lines, items, wanted, pairs""")
for sim in sims.values():
    sim.reset()

BY_NUMBER = "SELECT w.n, o.total FROM wanted w JOIN {}.orders o ON o.order_nbr = w.order_nbr AND o.order_type = 'SO' WHERE w.n <= {}"
BY_PAIR = "SELECT p.n, o.total FROM pairs p JOIN {}.orders o USING (order_type, order_nbr) WHERE p.n <= {}"


def asked(name, query, keys):
    """The requests of a query, whose rows must be those of the local copies."""
    sims[name].reset()
    got = sorted(db.execute(query.format(name, keys)).fetchall())
    assert got == sorted(db.execute(query.format("public", keys)).fetchall()) and len(got) >= keys, (len(got), keys)
    return [entry for entry in sims[name].requests() if "PX_Objects" in entry["path"]]


def bounds(query, most):
    """Names of servers with the most requests for 1,000 keys. The first query finds out what the server takes; the second knows."""
    for name, limit in most.items():
        first, second = (asked(name, query, 1000) for _ in range(2))
        assert len(first) <= limit and len(second) <= len(first), (name, len(first), len(second))
        print(f"# {name}: {len(first)} requests, then {len(second)}")


@test
def a_thousand_keys_of_a_large_table_take_few_requests():
    bounds(BY_NUMBER, {"takes_both": 12, "takes_in": 12, "takes_long": 12, "takes_neither": 25})


@test
def three_hundred_keys_take_four():
    assert len(asked("takes_both", BY_NUMBER, 300)) <= 4
    assert len(asked("takes_in", BY_NUMBER, 300)) <= 4
    assert len(asked("takes_long", BY_NUMBER, 300)) <= 4


@test
def a_thousand_keys_of_two_columns_are_grouped():
    bounds(BY_PAIR, {"takes_both": 12, "takes_in": 14, "takes_long": 12, "takes_neither": 40})
    plan = "\n".join(line for line, in db.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + BY_PAIR.format("takes_both", 1000)))
    assert "Rows Received: 1000\n" in plan, plan


@test
def a_value_in_many_keys_is_asked_for_once():
    """The rows of an order whose lines are in two blocks would come twice."""
    db.execute("ANALYZE takes_neither.lines")
    query = "SELECT l.qty, r.qty FROM lines l JOIN {}.lines r USING (order_nbr, line_nbr) WHERE l.order_nbr <= '000200' AND l.order_type = 'SO'"
    plan = "\n".join(line for line, in db.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + query.format("takes_neither")))
    assert "Key Join" in plan and "All Rows Read" not in plan, plan
    of_orders = db.execute("SELECT count(*) FROM lines WHERE order_nbr <= '000200' AND order_nbr IN (SELECT order_nbr FROM lines WHERE order_type = 'SO')").fetchone()[0]
    received = int(plan.split("Rows Received: ")[1].split()[0])
    # The first block holds a few keys of an order whose others come later.
    assert received <= of_orders * 1.05, (received, of_orders, plan)


@test
def runs_of_numbers_are_ranges():
    db.execute("ANALYZE takes_neither.items")
    query = "SELECT i.id, r.code FROM items i JOIN {}.items r USING (id) WHERE i.id % 100 < 90"
    found = asked("takes_neither", query, 1000)
    assert len(found) <= 5, len(found)
    assert any(" ge " in entry["query"] for entry in found), found[-1]["query"]


@test
def a_server_that_makes_something_else_of_in_is_not_asked_with_it():
    for name, limit in (("ignores_in", 26), ("takes_first", 12)):
        first, second = (asked(name, BY_NUMBER, 1000) for _ in range(2))
        assert sum(" in (" in entry["query"] for entry in first) == 1, name
        assert not any(" in (" in entry["query"] for entry in second), name
        assert len(first) <= limit, (name, len(first))


@test
def what_the_server_does_with_in_is_found_out_without_losing_rows():
    """The trial fails, or its rows do not come: the join goes on without it."""
    sim = Sim("--seats", 0, "--scale", 2)
    create_server(db, sim, "fails")
    db.execute(TABLES.format("fails") + "; ANALYZE fails.orders")
    sims["fails"] = sim
    for kind, more in (("status", {"status": 500}), ("close", {"bytes": 300}), ("truncate", {"bytes": 300})):
        sim.reset()
        sim.fault(" in (", kind, count=1, **more)
        got = db.execute(BY_NUMBER.format("fails", 100)).fetchall()
        assert len(got) == 100, (kind, len(got))
    sim.reset()


def of_list(name, query):
    sims[name].reset()
    got = db.execute(query.format(name, 1)).fetchall()
    assert got == db.execute(query.format("public", 1)).fetchall(), got
    return [entry for entry in sims[name].requests() if "PX_Objects" in entry["path"]]


@test
def a_long_address_may_be_refused_behind_rows_of_a_short_one():
    """Each time on a server of its own, which is not known yet."""
    values = ", ".join(f"'{nbr}'" for nbr, in db.execute("SELECT order_nbr FROM wanted WHERE n <= 500"))
    few = ", ".join(f"'{nbr}'" for nbr, in db.execute("SELECT DISTINCT order_nbr FROM orders WHERE order_type = 'QT' LIMIT 30"))
    for at, where in enumerate((
        f"order_type = 'QT' AND order_nbr IN ({few}) OR order_type = 'SO' AND order_nbr IN ({values})",
        f"order_type = 'SO' AND order_nbr IN ({values})",
        f"total < 10 OR order_nbr IN ({values})",
    )):
        name = f"unknown_{at}"
        sims[name] = Sim("--seats", 0, "--scale", 2)
        create_server(db, sims[name], name)
        db.execute(TABLES.format(name))
        query = f"SELECT count(*), sum(total) FROM {{}}.orders WHERE {where}"
        assert db.execute(query.format(name)).fetchall() == db.execute(query.format("public")).fetchall(), where
        assert len(sims[name].requests()) < 40


@test
def a_long_condition_of_a_table_that_the_server_refuses_is_an_error():
    """It is always sent, so there is no shorter address."""
    condition = " or ".join(f"OrderNbr eq '{at:06}'" for at in range(100))
    db.execute(f"""CREATE FOREIGN TABLE of_filter (order_nbr text OPTIONS (field 'OrderNbr')) SERVER takes_neither
        OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', filter '{condition.replace("'", "''")}')""")
    with raises("HV00R", "PX_Objects_SO_SOOrder"):
        db.execute("SELECT count(order_nbr) FROM of_filter WHERE order_nbr > ''")


@test
def a_long_list_in_where_is_one_request_where_the_server_takes_it():
    values = ", ".join(f"'{nbr}'" for nbr, in db.execute("SELECT order_nbr FROM wanted WHERE n <= 150"))
    query = f"SELECT count(*), sum(total) FROM {{}}.orders WHERE order_type = 'SO' AND order_nbr IN ({values}) AND {{}} > 0"
    for name, most in (("takes_long", 2), ("takes_neither", 6)):
        found = of_list(name, query)
        assert len(found) <= most, (name, len(found))


finish()
