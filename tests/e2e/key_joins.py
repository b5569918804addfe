#!/usr/bin/env python3
"""Key joins: what they ask for, row locks, rescans by key, cancels and failures in the middle of a block."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, eventually, finish, in_background, raises, test

sim = Sim("--seats", 0, "--scale", 1)
db = connect()
create_server(db, sim)
db.execute("""
    CREATE FOREIGN TABLE orders (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        total numeric OPTIONS (field 'CuryOrderTotal'),
        customer int OPTIONS (field 'CustomerID')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', rows '1000000');
    CREATE FOREIGN TABLE sales (
        order_type text OPTIONS (field 'OrderType', key '1'),
        order_nbr text OPTIONS (field 'OrderNbr', key '2'),
        total numeric OPTIONS (field 'OrderTotal')
    ) SERVER erp OPTIONS (entity 'SalesOrder', rows '1000000');
    CREATE TABLE copy AS SELECT * FROM orders;
    CREATE TABLE wanted AS SELECT order_nbr AS nbr, total, row_number() OVER (ORDER BY order_nbr) AS n
        FROM copy WHERE order_type = 'SO';
    ANALYZE copy, wanted""")


def rows(query):
    return db.execute(query).fetchall()


def value(query):
    return rows(query)[0][0]


def requests(place):
    return [entry for entry in sim.requests() if place in entry["path"]]


def explained(query):
    return "\n".join(line for line, in rows("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + query))


@test
def three_hundred_keys_of_a_large_table_take_few_requests():
    query = "SELECT w.n, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 300"
    plan = explained(query)
    assert "Acumatica Key Join" in plan, plan
    sim.reset()
    got = sorted(rows(query))
    asked = requests("SOOrder")
    # Each key has five rows. A block of more than a hundred rows takes another one, which shows that there are no more.
    assert len(asked) <= 8, len(asked)
    assert got == sorted(rows(query.replace("orders", "copy"))) and len(got) == 1500


@test
def a_few_keys_of_an_entity_are_asked_for_in_one_request():
    sim.reset()
    got = rows("SELECT w.n, s.total FROM wanted w JOIN sales s ON s.order_nbr = w.nbr AND s.order_type = 'SO' WHERE w.n <= 5")
    assert len(got) == 5 and len(requests("SalesOrder")) == 1, (got, requests("SalesOrder"))


@test
def of_two_columns_the_one_with_more_values_is_the_list():
    """Of the other column the request has the values, if there is room for them."""
    query = "SELECT c.total, o.total FROM copy c JOIN orders o USING (order_type, order_nbr) WHERE c.order_nbr BETWEEN '000010' AND '000200'"
    plan = explained(query)
    needed = value("SELECT count(*) FROM copy WHERE order_nbr BETWEEN '000010' AND '000200'")
    assert "Acumatica Key Join" in plan, plan
    received = int(plan.split("Rows Received: ")[1].split()[0])
    assert received <= needed * 3, plan
    sim.reset()
    assert len(rows(query)) == needed
    asked = requests("SOOrder")
    assert all("OrderNbr" in entry["query"] and "OrderType eq" in entry["query"] for entry in asked), asked


@test
def rows_of_other_pairs_of_two_columns_are_no_sign_of_a_filter_that_was_not_applied():
    db.execute("""CREATE FOREIGN TABLE order_lines (order_type text OPTIONS (field 'OrderType', key '1'), order_nbr text OPTIONS (field 'OrderNbr', key '2'),
        line_nbr int OPTIONS (field 'LineNbr', key '3'), qty numeric OPTIONS (field 'OrderQty')) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine', rows '1000000');
        CREATE TABLE pairs AS SELECT DISTINCT ON (order_nbr) order_type, order_nbr FROM copy WHERE order_nbr <= '000300'
            ORDER BY order_nbr, md5(order_type || order_nbr);
        ANALYZE pairs""")
    plan = explained("SELECT l.qty FROM pairs p JOIN order_lines l USING (order_type, order_nbr)")
    assert "Acumatica Key Join" in plan and "All Rows Read" not in plan, plan


@test
def an_answer_that_the_server_cuts_short_in_silence_is_completed():
    query = "SELECT count(*), sum(o.total) FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 60"
    truth = rows(query.replace("orders", "copy"))
    for kind, more in (("page_cap", {"rows": 120}), ("truncate", {"bytes": 9000}), ("close", {"bytes": 9000})):
        sim.reset()
        sim.fault("SOOrder", kind, count=-1 if kind == "page_cap" else 1, **more)
        assert rows(query) == truth, kind
    sim.reset()


@test
def rows_are_locked_and_checked_again_as_in_each_join():
    other = connect()
    with db.transaction():
        db.execute("UPDATE wanted SET total = -1 WHERE n = 2")
        query = """SELECT w.n, w.total, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.order_type = 'SO'
            WHERE w.n <= 3 AND w.total IS NOT NULL FOR UPDATE OF w"""
        waiting = in_background(query, other)
        eventually(lambda: value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
    got = sorted(waiting())
    assert [row[0] for row in got] == [1, 2, 3] and got[1][1] == -1 and got[1][2] > 0, got
    db.execute("UPDATE wanted w SET total = c.total FROM copy c WHERE c.order_nbr = w.nbr AND c.order_type = 'SO' AND n = 2")


@test
def correlated_subqueries_ask_by_key_until_one_read_is_cheaper():
    twenty = "SELECT w.n, (SELECT sum(o.total) FROM orders o WHERE o.order_nbr = w.nbr) FROM wanted w WHERE w.n <= 20"
    truth = sorted(rows(twenty.replace("orders", "copy")))
    sim.reset()
    assert sorted(rows(twenty)) == truth
    asked = requests("SOOrder")
    # The rows of a value are likely to be few: they are asked for in one piece, whose end is known.
    assert len(asked) == 20 and all("filter" in entry["query"] and "top" not in entry["query"] for entry in asked), len(asked)
    # All rows of a table that finds room in memory cost less than those of many values.
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (SET rows '1000')")
    sim.reset()
    assert sorted(rows(twenty)) == truth
    asked = requests("SOOrder")
    of_all = [entry["query"] for entry in asked if "filter=Order" not in entry["query"]]
    assert of_all and all("top" in query for query in of_all) and len(asked) < 20, of_all
    # Rows that turn out to be too many for work_mem are not read to the end.
    db.execute("SET work_mem = '64kB'")
    sim.reset()
    assert sorted(rows(twenty)) == truth
    db.execute("RESET work_mem")
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (SET rows '1000000')")


@test
def values_that_come_again_take_no_request():
    three = "SELECT n, (SELECT sum(o.total) FROM orders o WHERE o.order_nbr = lpad((n % 3 + 5)::text, 6, '0')) FROM generate_series(1, 60) n"
    truth = rows(three.replace("orders", "copy"))
    assert len({total for _, total in truth}) == 3, truth
    sim.reset()
    assert rows(three) == truth
    assert len(requests("SOOrder")) <= 6, len(requests("SOOrder"))
    # A subquery that ends early has not received all rows.
    first = """SELECT n, (SELECT count(*) FROM (
            SELECT FROM orders o WHERE o.order_type = (ARRAY['SO', 'QT'])[n % 2 + 1] LIMIT n * 100) o) FROM generate_series(1, 4) n"""
    assert rows(first) == rows(first.replace("orders", "copy"))
    # What finds no room in work_mem is requested again.
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (SET rows '100000000')")
    large = "SELECT n, (SELECT sum(o.total) FROM orders o WHERE o.order_type = (ARRAY['SO', 'QT'])[n % 2 + 1]) FROM generate_series(1, 4) n"
    for work_mem, times in (("64kB", 4), ("64MB", 2)):
        db.execute(f"SET work_mem = '{work_mem}'")
        sim.reset()
        assert rows(large) == rows(large.replace("orders", "copy"))
        begun = [entry for entry in requests("SOOrder") if "$top=256" in entry["query"]]
        assert len(begun) == times, (work_mem, len(begun))
    db.execute("RESET work_mem; ALTER FOREIGN TABLE orders OPTIONS (SET rows '1000000')")


@test
def rows_that_are_read_for_all_values_are_sorted_here():
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (SET rows '100')")
    query = "SELECT w.n, (SELECT max(o.total) FROM orders o WHERE o.customer = w.n % 7 + 5001) FROM wanted w WHERE w.n <= 40"
    truth = sorted(rows(query.replace("orders", "copy")))
    sim.reset()
    assert sorted(rows(query)) == truth
    asked = [entry["query"] for entry in requests("SOOrder")]
    # While pages are read in the order of a field that users change, a row could move to a page that was read before.
    filtered = [query for query in asked if "filter=CuryOrderTotal ne null and" in query]
    others = [query for query in asked if query not in filtered]
    assert all("orderby=CuryOrderTotal" in query for query in filtered) and len(filtered) < 8, asked
    assert others and not any("orderby=CuryOrderTotal" in query for query in others), asked
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (SET rows '1000000')")


@test
def a_nested_loop_asks_for_the_keys_of_its_outer_rows():
    db.execute("SET acumatica_fdw.enable_key_join = off")
    query = "SELECT w.n, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.order_type = 'SO' WHERE w.n = 7"
    plan = explained(query)
    assert "Nested Loop" in plan and "Rows Received: 1" in plan, plan
    db.execute("RESET acumatica_fdw.enable_key_join")


@test
def a_join_can_be_cancelled_between_blocks():
    db.execute("SET statement_timeout = '1500ms'")
    sim.fault("SOOrder", "delay", ms=700, count=-1)
    begun = time.monotonic()
    with raises("57014"):
        db.execute("SELECT count(o.total) FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.order_type = 'SO' WHERE w.n <= 300")
    assert time.monotonic() - begun < 3
    db.execute("RESET statement_timeout")
    sim.reset()
    assert value("SELECT count(*) FROM wanted w JOIN orders o ON o.order_nbr = w.nbr AND o.order_type = 'SO' WHERE w.n <= 30") == 30


@test
def a_query_stays_within_its_limits():
    query = "SELECT count(o.total), (SELECT count(*) FROM sales s WHERE s.order_nbr < '000100') FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 100"
    taken = rows(query)
    for what, limit, limited in (("requests", 3, "3 requests"), ("requests", 1, "1 request of"), ("rows", 400, "400 rows")):
        setting = f"max_{what}_per_query"
        db.execute(f"SET acumatica_fdw.{setting} = {limit}")
        sim.reset()
        with raises("53400", f"query takes more than {limited}", "The Foreign Scan on public.", "and wanted ", setting):
            db.execute(query)
        # The request that would be too much is not sent.
        assert what == "rows" or len(requests("Order")) == limit, requests("Order")
        # Each query begins anew.
        assert len(rows("SELECT w.n, s.total FROM wanted w JOIN sales s ON s.order_nbr = w.nbr AND s.order_type = 'SO' WHERE w.n <= 5")) == 5
        db.execute(f"RESET acumatica_fdw.{setting}")
    assert rows(query) == taken


@test
def a_limit_is_an_error_once_the_rows_are_wanted():
    db.execute("SET acumatica_fdw.max_requests_per_query = 1")
    # The next page is requested ahead of the rows that are taken.
    with db.transaction():
        db.execute("DECLARE c CURSOR FOR SELECT order_nbr FROM orders")
        assert len(rows("FETCH 250 FROM c")) == 250
        time.sleep(0.2)
        assert len(rows("FETCH 6 FROM c")) == 6
        with raises("53400", "more than 1 request of", "has sent 1 of them, and wanted more of its rows"):
            db.execute("FETCH 1 FROM c")
    # Two scans of one request each are one too many.
    one = "SELECT total FROM {} LIMIT 1"
    assert rows(one.format("orders")) and rows(one.format("sales"))
    with raises("53400", "more than 1 request of", "has sent 0 of them"):
        db.execute(f"SELECT ({one.format('orders')}), ({one.format('sales')})")
    db.execute("RESET acumatica_fdw.max_requests_per_query")
    db.execute("SET acumatica_fdw.max_rows_per_query = 100")
    assert len(rows("SELECT order_nbr FROM orders LIMIT 100")) == 100
    with raises("53400", "more than 100 rows of", "has received 100 of them, and wanted more of its rows"):
        db.execute("SELECT order_nbr FROM orders LIMIT 101")
    with raises("53400", "more than 100 rows of", "below an Acumatica Key Join, has received", "and wanted the rows of"):
        db.execute("SELECT w.n, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 300")
    db.execute("RESET acumatica_fdw.max_rows_per_query")


@test
def a_filter_that_the_server_refuses_costs_all_rows_once():
    """A block returns the whole table: the join reads it once more at most. The refusal is remembered, so this test is the last."""
    query = "SELECT w.n, o.total FROM wanted w JOIN orders o ON o.order_nbr = w.nbr WHERE w.n <= 300"
    sim.reset()
    sim.fault("filter=(OrderNbr", "status", status=400, count=-1)
    try:
        plan = explained(query)
        assert "Acumatica Key Join" in plan and "All Rows Read: it is cheaper" in plan, plan
        # Two reads of three pages, and requests to find out what the server refuses.
        assert len(requests("SOOrder")) <= 20, len(requests("SOOrder"))
    finally:
        sim.reset()


finish()
