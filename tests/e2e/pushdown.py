#!/usr/bin/env python3
"""The requests that pushdown sends, how many there are, and the rows while others change them. tests/sql/pushdown.sql shows
the conditions that are sent, and tests/e2e/differential.py that the rows are right."""

import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, psycopg, raises, test

sim = Sim("--seats", 4)
db = connect()
create_server(db, sim, endpoint_version="24.200.001")
notices, hints = [], []
db.add_notice_handler(lambda diagnostic: (notices.append(diagnostic.message_primary), hints.append(diagnostic.message_hint)))
db.execute("SET client_min_messages = notice")
KEY = "order_type text OPTIONS (field 'OrderType', key '1') NOT NULL, order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL"
db.execute(f"""
    CREATE FOREIGN TABLE dac ({KEY}, total numeric OPTIONS (field 'CuryOrderTotal'), priority int OPTIONS (field 'Priority'),
        modified timestamptz OPTIONS (field 'LastModifiedDateTime'), requested date OPTIONS (field 'RequestDate'))
        SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', page_size '500');
    CREATE FOREIGN TABLE lines ({KEY}, line_nbr int OPTIONS (field 'LineNbr', key '3') NOT NULL, qty numeric OPTIONS (field 'OrderQty'))
        SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine', page_size '5000');
    CREATE FOREIGN TABLE gi ({KEY}, total numeric OPTIONS (field 'OrderTotal'), margin numeric OPTIONS (field 'Margin'))
        SERVER erp OPTIONS (schema 'OData', inquiry 'SO-Margin by Order', page_size '500');
    CREATE FOREIGN TABLE rest ({KEY}, id uuid OPTIONS (field 'id'), total numeric OPTIONS (field 'OrderTotal'),
        city text OPTIONS (field 'ShipToAddress/City'))
        SERVER erp OPTIONS (entity 'SalesOrder', page_size '500');
    CREATE FOREIGN TABLE customers (customer_id text OPTIONS (field 'CustomerID', key '1') NOT NULL,
        credit_limit numeric OPTIONS (field 'CreditLimit')) SERVER erp OPTIONS (entity 'Customer');
""")


def rows(query, *parameters):
    sim.control("DELETE", "requests")
    notices.clear()
    return db.execute(query, *parameters).fetchall()


def asked():
    """The requests since the last query, those for rows only."""
    seen = [f"{r['path']}?{r['query']}" for r in sim.control("GET", "requests")]
    return [urllib.parse.unquote(r) for r in seen if "/auth/" not in r and not r.endswith(("/entity?", "/dac?", "/gi?", "$metadata?"))]


# -- by address ---------------------------------------------------------------------------------------------------------


@test
def a_record_is_one_request_by_its_address():
    for table in ("dac", "rest"):
        found = rows(f"SELECT total FROM {table} WHERE order_type = 'IN' AND order_nbr = '000123'")
        # Contract REST shows the label of the type, and takes it as a key.
        if table == "dac":
            assert len(found) == 1 and len(asked()) == 1, (table, asked())
            assert "(OrderType='IN',OrderNbr='000123')" in asked()[0], asked()
    label = rows("SELECT order_type FROM rest LIMIT 1")[0][0]
    found = rows("SELECT order_nbr FROM rest WHERE order_type = %s AND order_nbr = '000002'", [label])
    assert found == [("000002",)] and len(asked()) == 1 and "/SalesOrder/" in asked()[0], asked()


@test
def what_an_address_does_not_find_is_looked_for_in_the_list():
    for table in ("dac", "rest"):
        assert rows(f"SELECT * FROM {table} WHERE order_type = 'IN' AND order_nbr = 'NONE'") == []
        assert len(asked()) >= 2 and "$filter=" in asked()[1], asked()


@test
def a_key_that_cannot_stand_in_an_address_is_asked_of_the_list():
    for value in ("A/B", "50%", "a&b", "a?b", "..", " x", "a#b", "a+b", "a\\b", "a:b"):
        for table in ("dac", "rest"):
            assert rows(f"SELECT * FROM {table} WHERE order_type = 'IN' AND order_nbr = %s", [value]) == []
            lists = [request for request in asked() if "$filter=" in request]
            addresses = [request for request in asked() if "$filter=" not in request]
            assert lists and (not addresses or value in ("..", " x")), (value, asked())


@test
def a_record_by_its_id():
    (id,) = rows("SELECT id FROM rest OFFSET 7 LIMIT 1")[0]
    assert rows("SELECT count(*) FROM rest WHERE id = %s", [id]) == [(1,)]
    assert len(asked()) == 1 and str(id) in asked()[0], asked()
    assert rows("SELECT count(*) FROM rest WHERE id = '00000000-0000-0000-0000-000000000000'") == [(0,)]


@test
def a_record_that_an_offset_leaves_out_is_left_out():
    db.execute("CREATE FOREIGN TABLE items (id int OPTIONS (field 'InventoryID', key '1'), status text OPTIONS (field 'ItemStatus'))"
               " SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_IN_InventoryItem')")
    id = rows("SELECT id FROM items LIMIT 1")[0][0]
    assert len(rows(f"SELECT * FROM items WHERE id = {id}")) == 1 and "(InventoryID=" in asked()[0], asked()
    assert rows(f"SELECT * FROM items WHERE id = {id} LIMIT 100 OFFSET 1") == []
    assert rows(f"SELECT count(*) FROM items WHERE id = {id}") == [(1,)] and "$count" in asked()[0], asked()


@test
def another_record_than_the_one_asked_for_is_not_taken():
    # The table declares a part of the key: the URL made of it names no record, or another one.
    db.execute("CREATE FOREIGN TABLE half (order_nbr text OPTIONS (field 'OrderNbr', key '1'), total numeric OPTIONS (field 'OrderTotal'))"
               " SERVER erp OPTIONS (entity 'SalesOrder')")
    truth = rows("SELECT count(*) FROM rest WHERE order_nbr = '000123' AND total IS NOT NULL")
    assert rows("SELECT count(*) FROM half WHERE order_nbr = '000123'") == truth and truth[0][0] > 1


# -- pages by the key ---------------------------------------------------------------------------------------------------


def moving(change, at):
    """Reads some pages, changes the rows before and after the place, and reads the rest."""
    sim.reset()
    with db.transaction():
        db.execute("DECLARE c NO SCROLL CURSOR FOR SELECT order_type, order_nbr FROM dac")
        found = db.execute("FETCH 1500 FROM c").fetchall()
        for place in at:
            sim.control("POST", "rows", {"table": "SalesOrder", change: place})
        found += db.execute("FETCH ALL FROM c").fetchall()
    requests = asked()
    sim.reset()
    return found, requests


@test
def pages_go_on_behind_the_last_key():
    found = rows("SELECT order_type, order_nbr FROM dac")
    assert len(found) == len(set(found)) == 20000
    assert not any("$skip" in request for request in asked()), asked()
    assert all("OrderNbr ge '" in request for request in asked()[1:]), asked()[:3]
    # The same with an integer in the key.
    found = rows("SELECT order_type, order_nbr, line_nbr FROM lines WHERE qty > 20")
    assert len(found) == len(set(found)) and found and not any("$skip" in request for request in asked())
    assert any("LineNbr ge " in request for request in asked())


@test
def inserts_and_deletes_meanwhile_neither_repeat_nor_lose_rows():
    whole = rows("SELECT order_type, order_nbr FROM dac")
    for change in ("insert_before", "delete"):
        # Changes before, at and after the current position; few and many.
        for at in ([10, 11, 12], [1490, 1499, 1500, 1501, 1502], range(600, 760, 4), [12000, 15000]):
            found, requests = moving(change, at)
            assert len(found) == len(set(found)), (change, at)
            lost = set(whole) - set(found)
            # What was deleted before it was read need not be there.
            assert len(lost) <= (len(at) if change == "delete" else 0), (change, at, len(lost))
            assert not any("$skip" in request for request in requests) or change == "delete", requests


# -- lists --------------------------------------------------------------------------------------------------------------


@test
def a_long_list_is_split_and_no_row_comes_twice():
    wanted = [f"{n:06}" for n in range(1, 301)]
    truth = sorted(rows("SELECT order_type, order_nbr FROM dac WHERE order_nbr BETWEEN '000001' AND '000300'"))
    for table in ("dac", "gi", "rest"):
        found = rows(f"SELECT order_type, order_nbr FROM {table} WHERE order_nbr = ANY (%s)", [wanted])
        assert len(found) == len(set(found)) == len(truth), (table, len(found), len(truth))
        filters = {request.split("$filter=")[1].split("&")[0] for request in asked() if "$filter=" in request}
        assert len(filters) > 5, len(filters)
        # One long address shows that the server refuses it.
        assert sum(len(urllib.parse.quote(request, safe="$=&(),")) > 2100 for request in asked()) <= 1
    assert sorted(rows("SELECT order_type, order_nbr FROM dac WHERE order_nbr = ANY (%s)", [wanted])) == truth


@test
def values_that_are_equal_to_the_server_only_bring_a_row_once():
    # Each list is longer than a request; the second half says the same in another case, and padded.
    names = [row[0] for row in rows("SELECT customer_id FROM customers LIMIT 120")]
    found = rows("SELECT customer_id FROM customers WHERE customer_id = ANY (%s)",
                 [[*names, *(name.lower() for name in names), *(name + "  " for name in names)]])
    assert sorted(found) == sorted((name,) for name in names), (len(found), len(names))


@test
def a_very_long_list_is_not_sent():
    wanted = [f"{n:06}" for n in range(1, 9001)]
    truth = rows("SELECT count(*) FROM dac WHERE order_nbr BETWEEN '000001' AND '009000'")
    assert rows("SELECT count(*) FROM rest WHERE order_nbr = ANY (%s)", [wanted]) == truth
    assert not any("$filter=" in request for request in asked())


@test
def a_null_that_no_row_can_meet_makes_no_request():
    db.execute("SET plan_cache_mode = force_generic_plan")
    db.execute("PREPARE null_free (numeric, text, int[]) AS SELECT * FROM dac WHERE total > $1 OR order_nbr LIKE $2 OR priority = ANY ($3)")
    assert rows("EXECUTE null_free (NULL, NULL, NULL)") == [] and asked() == []
    assert rows("EXECUTE null_free (NULL, NULL, '{}')") == [] and asked() == []
    assert rows("EXECUTE null_free (NULL, 'SO%', '{NULL}')") == [] and "startswith(OrderNbr,'SO')" in asked()[0], asked()
    db.execute("RESET plan_cache_mode")


@test
def a_list_and_an_order_are_sorted_here():
    wanted = [f"{n:06}" for n in range(1, 301)]
    found = rows("SELECT total FROM dac WHERE order_nbr = ANY (%s) ORDER BY total DESC NULLS LAST LIMIT 5", [wanted])
    truth = rows("SELECT total FROM (SELECT * FROM dac WHERE order_nbr = ANY (%s) OFFSET 0) x ORDER BY total DESC NULLS LAST LIMIT 5", [wanted])
    assert found == truth, (found, truth)


# -- order, limit, count ------------------------------------------------------------------------------------------------


@test
def a_limit_is_all_that_is_read():
    assert len(rows("SELECT order_nbr FROM dac WHERE total > 100 LIMIT 7")) == 7
    assert len(asked()) == 1 and "$top=7" in asked()[0], asked()
    assert len(rows("SELECT order_nbr FROM dac ORDER BY total DESC NULLS LAST LIMIT 7")) == 7
    assert len(asked()) == 1 and "$top=7" in asked()[0], asked()
    # Rows without a value come first: they are asked for before the others.
    assert len(rows("SELECT order_nbr FROM dac ORDER BY total DESC LIMIT 7")) == 7
    assert ["eq null" in request for request in asked()] == [True, False], asked()


@test
def what_is_first_does_not_depend_on_who_sorts():
    for column in ("total", "priority", "modified", "requested"):
        for order in ("ASC NULLS FIRST", "ASC", "DESC", "DESC NULLS LAST"):
            sorted_there = rows(f"SELECT {column} FROM dac ORDER BY {column} {order} LIMIT 50")
            assert any("$orderby=OrderType" not in r or "eq null" in r for r in asked()), asked()
            assert sorted_there == rows(f"SELECT {column} FROM (SELECT * FROM dac OFFSET 0) x ORDER BY {column} {order} LIMIT 50")


@test
def without_a_limit_rows_are_sorted_here():
    rows("SELECT order_nbr FROM dac ORDER BY total")
    assert all("$orderby=OrderType,OrderNbr" in request for request in asked()), asked()


@test
def an_order_that_is_refused_is_made_here_and_told():
    truth = rows("SELECT margin FROM (SELECT * FROM gi OFFSET 0) x ORDER BY margin NULLS FIRST LIMIT 20")
    assert rows("SELECT margin FROM gi ORDER BY margin NULLS FIRST LIMIT 20") == truth
    assert len(notices) == 1 and "could not sort" in notices[0], notices
    # The refusal is remembered: the next query is told of it, and does not send the order.
    assert rows("SELECT margin FROM gi ORDER BY margin NULLS FIRST LIMIT 20") == truth
    assert len(notices) == 1 and "could not sort" in notices[0], notices
    assert asked() and not any("$orderby=Margin" in request for request in asked()), asked()
    assert rows("SELECT margin FROM gi ORDER BY margin NULLS FIRST LIMIT 12 OFFSET 8") == truth[8:]
    assert len(notices) == 1 and "could not leave out" in notices[0] and 'pushdown of column "margin" to off' in hints[-1], (notices, hints)
    truth = rows("SELECT total FROM (SELECT * FROM gi OFFSET 0) x ORDER BY total NULLS FIRST LIMIT 20")
    assert rows("SELECT total FROM gi ORDER BY total NULLS FIRST LIMIT 12 OFFSET 8") == truth[8:]
    assert len(asked()) == 1 and "$orderby=OrderTotal" in asked()[0] and "$skip=8" in asked()[0], asked()
    truth = rows("SELECT margin FROM (SELECT * FROM gi OFFSET 0) x ORDER BY margin NULLS FIRST LIMIT 20")
    # In a nested loop too; the sort runs again for each outer row.
    query = "SELECT n, l.margin FROM generate_series(1, 3) n, LATERAL (SELECT margin FROM gi WHERE n > 0 ORDER BY margin NULLS FIRST LIMIT 20) l"
    assert [row[1] for row in rows(query)] == [row[0] for row in truth] * 3


@test
def rows_in_a_wrong_order_are_an_error():
    db.execute("ALTER FOREIGN TABLE dac ADD COLUMN descr text OPTIONS (field 'OrderDesc') COLLATE \"C\"")
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (ADD collation 'C', SET page_size '20000')")
    # The option claims that the server sorts in collation C, but it ignores case.
    with raises("HV000", "did not return its rows in the order"):
        db.execute("SELECT order_nbr FROM dac ORDER BY descr NULLS FIRST LIMIT 15000")
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (DROP collation, SET page_size '500')")
    assert len(rows("SELECT order_nbr FROM dac ORDER BY descr NULLS FIRST LIMIT 15000")) == 15000


@test
def a_count_is_one_request():
    assert rows("SELECT count(*) FROM dac") == [(20000,)]
    assert len(asked()) == 1 and asked()[0].endswith("/$count?"), asked()
    truth = rows("SELECT count(*) FROM (SELECT * FROM dac WHERE total > 100 OFFSET 0) x")
    assert rows("SELECT count(*) FROM dac WHERE total > 100") == truth and len(asked()) == 1
    assert rows("SELECT count(*), count(*), count(*) FROM dac") == [(20000,) * 3] and len(asked()) == 1


@test
def names_that_are_written_otherwise_are_found_for_a_count():
    db.execute("CREATE FOREIGN TABLE by_hand (order_type text OPTIONS (key '1'), order_nbr text OPTIONS (key '2'), cury_order_total numeric)"
               " SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder')")
    truth = rows("SELECT count(*) FROM dac WHERE total > 100")
    assert rows("SELECT count(*) FROM by_hand WHERE cury_order_total > 100") == truth and "/$count?" in asked()[-1], asked()


@test
def only_exact_conditions_are_counted_there():
    for condition in ("(priority, total) > (2, 40)", "(1, 40) < (priority, total)", "priority * 2 > 4", "priority * 3 = 7",
                      "priority / 2.0 > 1", "(priority + 1) * 2 = 4", "priority * -1 < -1", "priority <> 3", "total > 40.00005",
                      "(total + 1000000000000000) / 3 = 333333333353036.6586", "priority > 2.5", "NOT (priority = 3 OR total < 40)"):
        # The expected number: the copy computes the condition for each row, behind OFFSET 0, so that nothing is sent.
        truth = rows(f"SELECT count(*) FROM (SELECT {condition} AS met FROM dac OFFSET 0) x WHERE met")
        assert rows(f"SELECT count(*) FROM dac WHERE {condition}") == truth, condition
        assert rows(f"SELECT count(order_nbr) FROM dac WHERE {condition}") == truth, condition
        assert rows(f"SELECT count(*) FROM (SELECT FROM dac WHERE {condition} OFFSET 3) x") == [(max(truth[0][0] - 3, 0),)], condition


@test
def what_a_column_cuts_off_does_not_lose_a_row():
    db.execute("CREATE FOREIGN TABLE days (n text OPTIONS (field 'OrderNbr', key '2'), t text OPTIONS (field 'OrderType', key '1'), d date OPTIONS (field 'Date'))"
               " SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders')")
    for value in [row[0] for row in rows("SELECT DISTINCT d FROM days WHERE d IS NOT NULL ORDER BY d LIMIT 6")]:
        for cast in ("d::timestamp", "d::timestamptz", "d"):
            for operator in ("=", "<=", "<", ">="):
                for kind in ("timestamp", "timestamptz", "date"):
                    test = f"{cast} {operator} '{value}'::{kind}"
                    truth = rows(f"SELECT count(*) FROM (SELECT {test} AS met FROM days OFFSET 0) x WHERE met")
                    assert rows(f"SELECT count(d) FROM days WHERE {test}") == truth, test


@test
def a_list_on_a_key_that_is_none_is_an_error():
    db.execute("CREATE FOREIGN TABLE half_key (nbr text OPTIONS (field 'OrderNbr', key '1'), qty numeric OPTIONS (field 'OrderQty'))"
               " SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine')")
    several = rows("SELECT count(*) FROM half_key WHERE nbr = '000010'")[0][0]
    assert several > 1
    with raises("HV024", "is not unique"):
        rows("SELECT nbr FROM half_key WHERE nbr = ANY (ARRAY['000010'] || ARRAY(SELECT 'x' || n FROM generate_series(1, 100) n))")


@test
def a_condition_of_the_table_with_or_goes_through_all_pages():
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (ADD filter 'Priority eq 1 or Priority eq 2')")
    truth = rows("SELECT count(*) FROM dac")
    found = rows("SELECT order_type, order_nbr FROM dac")
    assert len(found) == len(set(found)) == truth[0][0] > 1000
    assert len(asked()) < 60, len(asked())
    assert rows("SELECT count(*) FROM (SELECT order_nbr FROM dac OFFSET 10) x") == [(truth[0][0] - 10,)]
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (DROP filter)")


@test
def a_condition_that_finds_no_room_beside_that_of_the_table_is_met_here():
    # The option filter fills the URL, so that the condition of the query does not fit. It ends with the same text.
    own, last = "Priority eq 1", " or CuryOrderTotal gt 4000"
    while len(urllib.parse.quote(own + last, safe="()',")) < 1928:
        own += " or Priority eq 1"
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (ADD filter '%s')" % (own + last))
    everything = rows("SELECT total FROM dac")
    dear = [total for total, in everything if total > 4000]
    assert 0 < len(dear) < len(everything)
    assert rows("SELECT count(*) FROM dac WHERE total > 4000") == [(len(dear),)]
    assert len(notices) == 1 and "do not fit" in notices[0], notices
    assert len(rows("SELECT total FROM dac WHERE total > 4000 OFFSET 10")) == len(dear) - 10
    assert rows("SELECT count(*) FROM dac") == [(len(everything),)] and "$count" in asked()[0] and not notices
    db.execute("ALTER FOREIGN TABLE dac OPTIONS (DROP filter)")


@test
def what_orders_by_less_than_the_field_has_is_the_last_key():
    db.execute("CREATE FOREIGN TABLE cut (nbr text OPTIONS (field 'OrderNbr', key '2'), type text OPTIONS (field 'OrderType', key '1'),"
               " m timestamptz(0) OPTIONS (field 'LastModifiedDateTime'), priority int OPTIONS (field 'Priority'))"
               " SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder')")
    for order in ("m DESC NULLS LAST, priority DESC NULLS LAST LIMIT 1", "m NULLS FIRST, priority NULLS FIRST OFFSET 100 LIMIT 1"):
        truth = rows(f"SELECT m, priority FROM (SELECT * FROM cut OFFSET 0) x ORDER BY {order}")
        assert rows(f"SELECT m, priority FROM cut ORDER BY {order}") == truth, order


@test
def counts_and_offsets_anywhere_in_a_query():
    all_, some = rows("SELECT count(*), count(*) FILTER (WHERE total > 100) FROM dac")[0]
    tail = rows("SELECT order_nbr, total FROM (SELECT * FROM dac OFFSET 0) x WHERE total > 100 ORDER BY total DESC, order_nbr")[10:13]
    page = "SELECT order_nbr, total FROM dac WHERE total > 100 ORDER BY total DESC LIMIT 3 OFFSET 10"
    assert rows(page) == tail and "$skip=10" in asked()[0], asked()
    count = "SELECT count(*) FROM dac WHERE total > 100"
    # Places where the planner renumbers range table entries: subqueries, unions, joins, functions, views, cached plans.
    assert rows(f"SELECT n, ({count}) FROM generate_series(1, 2) n") == [(1, some), (2, some)]
    assert rows(f"SELECT * FROM ({count}) a, (SELECT count(*) FROM dac) b, ({page}) c") == [(some, all_, *row) for row in tail]
    assert rows(f"SELECT 'x', order_nbr FROM ({page}) a UNION ALL SELECT 'y', order_nbr FROM ({page}) b") == \
        [(letter, row[0]) for letter in "xy" for row in tail]
    db.execute(f"CREATE VIEW counted AS {count}; CREATE VIEW paged AS {page}")
    assert rows("SELECT * FROM counted, paged") == [(some, *row) for row in tail]
    db.execute(f"PREPARE c AS {count}; PREPARE p AS {page}; SET plan_cache_mode = force_generic_plan")
    for _ in range(3):
        assert rows("EXECUTE c") == [(some,)] and rows("EXECUTE p") == tail
    db.execute("RESET plan_cache_mode")
    db.execute(f"CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN {count} INTO n; RETURN n; END $$")
    db.execute(count.replace("count(*)", "count(*) INTO TEMP kept"))
    assert [rows("SELECT f()") for _ in range(6)] == [[(some,)]] * 6
    with db.transaction():
        db.execute(f"DECLARE c SCROLL CURSOR FOR {page}")
        assert db.execute("FETCH ALL FROM c").fetchall() == tail
        assert db.execute("FETCH BACKWARD 2 FROM c").fetchall() == tail[:0:-1]
    assert rows(f"SELECT l.* FROM generate_series(1, 2) n, LATERAL ({page}) l") == tail * 2


@test
def an_offset_behind_the_last_row_is_no_error():
    db.execute("ALTER FOREIGN TABLE rest ADD COLUMN priority text OPTIONS (custom 'Document.UsrPriority')")
    for table in ("dac", "gi", "rest"):
        assert rows(f"SELECT * FROM {table} OFFSET 25000") == [] and "$skip=25000" in asked()[0], asked()
    # If no row comes, the request is repeated without custom fields.
    assert len(asked()) > 1
    db.execute("ALTER FOREIGN TABLE rest DROP COLUMN priority")


@test
def a_partition_is_counted_with_the_others():
    db.execute("CREATE TABLE all_orders (order_type text NOT NULL, order_nbr text NOT NULL, total numeric) PARTITION BY LIST (order_type)")
    db.execute("CREATE FOREIGN TABLE of_in PARTITION OF all_orders FOR VALUES IN ('IN') SERVER erp"
               " OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', filter 'OrderType eq ''IN''')")
    for column, field in (("order_type", "OrderType"), ("order_nbr", "OrderNbr"), ("total", "CuryOrderTotal")):
        db.execute(f"ALTER FOREIGN TABLE of_in ALTER COLUMN {column} OPTIONS (ADD field '{field}')")
    db.execute("CREATE TABLE of_xx PARTITION OF all_orders FOR VALUES IN ('XX'); INSERT INTO of_xx VALUES ('XX', '1', 1)")
    ours = rows("SELECT count(*) FROM dac WHERE order_type = 'IN'")[0][0]
    assert rows("SELECT count(*) FROM all_orders") == [(ours + 1,)]
    assert rows("SELECT count(*) FROM of_in") == [(ours,)] and len(asked()) == 1
    # Rows come in the order of the partitions, whichever that is.
    assert len(rows(f"SELECT * FROM all_orders OFFSET {ours - 2}")) == 3


@test
def who_counts_is_who_may_read():
    db.execute("DROP ROLE IF EXISTS nobody_much; CREATE ROLE nobody_much")
    db.execute("CREATE VIEW for_nobody AS SELECT count(*) FROM dac; GRANT SELECT ON for_nobody TO nobody_much")
    db.execute("SET ROLE nobody_much")
    try:
        assert rows("SELECT * FROM for_nobody") == [(20000,)]
        with raises("42501"):
            db.execute("SELECT count(*) FROM dac")
    finally:
        db.execute("RESET ROLE; DROP VIEW for_nobody; DROP ROLE nobody_much")


@test
def explain_has_every_format():
    for query in ("SELECT count(*) FROM dac WHERE total > 1", "SELECT order_nbr FROM dac OFFSET 3", "SELECT * FROM dac WHERE order_nbr <> 'x' AND order_nbr ~ 'y'",
                  "SELECT order_nbr FROM dac ORDER BY total DESC LIMIT 3", "SELECT max(total) FROM dac"):
        for format in ("JSON", "XML", "YAML", "TEXT"):
            for analyze in ("false", "true"):
                plan = rows(f"EXPLAIN (VERBOSE, FORMAT {format}, ANALYZE {analyze}) {query}")
                assert "Remote Request" in str(plan) or format == "XML", plan
                if format == "JSON":
                    json.loads(json.dumps(plan[0][0]))
            assert analyze == "true" or not asked()


@test
def what_the_server_does_can_be_cancelled():
    for query in ("SELECT count(*) FROM dac", "SELECT order_nbr FROM dac ORDER BY total DESC LIMIT 3", "SELECT order_nbr FROM dac LIMIT 3 OFFSET 9",
                  "SELECT total FROM rest WHERE order_type = 'x' AND order_nbr = '1'", "SELECT max(total) FROM dac",
                  "SELECT count(total) FROM rest WHERE order_nbr = ANY (ARRAY(SELECT to_char(n, 'FM000000') FROM generate_series(1, 300) n))"):
        for kind, more in (("delay", {}), ("stall_body", {"bytes": 1})):
            sim.reset()
            sim.fault("Order", kind, ms=20000, **more)
            began = time.monotonic()
            with db.transaction(), raises("57014"):
                db.execute("SET LOCAL statement_timeout = 300")
                db.execute(query)
            assert time.monotonic() - began < 2, query
    sim.reset()
    # A timeout while a page is read for a local sort.
    with db.transaction(), raises("57014"):
        sim.fault("$skip", "delay", ms=20000)
        db.execute("SET LOCAL statement_timeout = 1500")
        db.execute("SELECT margin FROM gi ORDER BY margin LIMIT 20")
    sim.reset()
    assert len(rows("SELECT margin FROM gi ORDER BY margin LIMIT 20")) == 20


# -- what is refused ----------------------------------------------------------------------------------------------------


@test
def a_filter_that_is_refused_is_applied_here_and_told_each_time():
    query = "SELECT count(*) FROM customers WHERE credit_limit > 90000"
    truth = rows("SELECT count(*) FROM (SELECT * FROM customers OFFSET 0) x WHERE credit_limit > 90000")
    for _ in range(2):
        assert rows(query) == truth and len(notices) == 1 and '"credit_limit"' in notices[0], notices
    assert not any("$filter=" in request for request in asked())
    # Other conditions are still sent.
    rows("SELECT count(*) FROM customers WHERE credit_limit > 90000 AND customer_id IN ('A', 'B')")
    assert all("$filter=(CustomerID eq 'A' or CustomerID eq 'B')" in request for request in asked()), asked()


@test
def rows_are_counted_and_left_out_here_where_the_server_refuses_the_condition():
    # The server compares the field with no number.
    db.execute("CREATE FOREIGN TABLE odd (order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,"
               " nbr numeric OPTIONS (field 'OrderNbr', key '2') NOT NULL, total numeric OPTIONS (field 'CuryOrderTotal'))"
               " SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', page_size '5000')")
    everything = rows("SELECT order_type, nbr, total FROM odd")
    those = [row for row in everything if row[1] > 9000 and row[2] > 100]
    dearest = sorted((row[2] for row in those), reverse=True)
    where = "WHERE nbr > 9000 AND total > 100"
    assert len(those) > 300
    for again in range(2):
        assert rows(f"SELECT count(*), count(*) FROM odd {where}") == [(len(those),) * 2]
        # Each scan of the rows issues a NOTICE about the condition; the first query issues one more about its count.
        assert len(notices) == (1 if again else 2), notices
        # Only the condition on the number is refused. The second query does not send it.
        assert any("OrderNbr gt" in request for request in asked()) == (not again), asked()
        assert rows(f"SELECT nbr * 2, order_type FROM odd {where} OFFSET 100") == [(row[1] * 2, row[0]) for row in those[100:]]
        assert rows(f"SELECT total FROM odd {where} ORDER BY total DESC NULLS LAST OFFSET 100 LIMIT 50") == \
            [(total,) for total in dearest[100:150]]
        assert not any("$skip=100" in request for request in asked()), asked()
        assert rows(f"SELECT n, (SELECT count(*) FROM odd {where}) FROM generate_series(1, 2) n") == [(1, len(those)), (2, len(those))]
        # Rescans of both plans.
        db.execute("SET enable_material = off")
        assert rows(f"SELECT l.* FROM generate_series(1, 2) n LEFT JOIN (SELECT nbr FROM odd {where} OFFSET {len(those) - 2}) l ON true") == \
            [(row[1],) for row in those[-2:]] * 2
        db.execute("RESET enable_material")


@test
def a_server_that_cannot_count_is_told_of():
    truth = rows("SELECT count(*) FROM (SELECT * FROM lines OFFSET 0) x")
    for kind, status in (("status", 404), ("status", 400), ("status", 500), ("html", 200), ("empty", 200)):
        # Nothing is remembered of a new server.
        create_server(db, sim, "counting")
        db.execute("CREATE FOREIGN TABLE countable (nbr text OPTIONS (field 'OrderNbr')) SERVER counting OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOLine')")
        sim.fault("SOLine/$count", kind, status=status, count=-1)
        with connect() as other:
            told = []
            other.add_notice_handler(lambda diagnostic: told.append(diagnostic.message_primary))
            other.execute("SET client_min_messages = notice")
            assert other.execute("SELECT count(*) FROM countable").fetchall() == truth
            asked_first = len(sim.requests("SOLine/$count"))
            assert other.execute("SELECT count(*) FROM countable").fetchall() == truth
            asked_again = len(sim.requests("SOLine/$count")) - asked_first
        assert len(told) == 2 and all("could not count" in notice for notice in told), told
        # A refusal is remembered, but not a failure that may pass.
        assert asked_first > 0 and (asked_again > 0) == (status == 500), (kind, status, asked_first, asked_again)
        sim.reset()
        db.execute("DROP SERVER counting CASCADE")


finish()
