#!/usr/bin/env python3
"""A test for each trap of docs/acumatica.md that a scan can fall into, named after it. Each ends in the right rows or in
the right error, never in fewer rows."""

import json
import os
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, connect, create_server, eventually, finish, raises, test

SITE = ("--site", "/Site")
sim = Sim("--seats", 4, *SITE)
db = connect()
create_server(db, sim)
# A server with a short operation_timeout, for the messages of timeouts.
create_server(db, sim, "hasty", operation_timeout=1)

ORDERS = """(order_type text OPTIONS (field 'OrderType', key '1'), order_nbr text OPTIONS (field 'OrderNbr', key '2'),
    total numeric OPTIONS (field 'OrderTotal'))"""


def gi(name, columns=ORDERS, inquiry="BI-SalesOrders", server="erp", **options):
    listed = ", ".join(f"{key} '{value}'" for key, value in options.items())
    db.execute(f"DROP FOREIGN TABLE IF EXISTS {name}")
    db.execute(
        f"CREATE FOREIGN TABLE {name} {columns} SERVER {server} "
        f"OPTIONS (schema 'OData', inquiry '{inquiry}'{', ' if listed else ''}{listed})"
    )


def entity(name, columns, entity="SalesOrder", server="erp", **options):
    listed = ", ".join(f"{key} '{value}'" for key, value in options.items())
    db.execute(f"DROP FOREIGN TABLE IF EXISTS {name}")
    db.execute(
        f"CREATE FOREIGN TABLE {name} {columns} SERVER {server} OPTIONS (entity '{entity}'{', ' if listed else ''}{listed})"
    )


def value(query):
    return db.execute(query).fetchone()[0]


def same_as_truth(query, name, fields, types, simulator=sim, *arguments):
    """The rows of `query` are those of the data set, to the last one and the last digit."""
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(types))
    db.execute(f"DROP TABLE IF EXISTS truth; CREATE TEMP TABLE truth ({columns})")
    with db.cursor().copy("COPY truth FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
        copy.write(simulator.dump(name, fields, *arguments))
    db.execute(f"DROP TABLE IF EXISTS got; CREATE TEMP TABLE got AS {query}")
    difference = value(
        "SELECT (SELECT count(*) FROM (TABLE got EXCEPT ALL TABLE truth) a)"
        " + (SELECT count(*) FROM (TABLE truth EXCEPT ALL TABLE got) b)"
    )
    assert difference == 0, f"{difference} rows differ"
    assert value("SELECT count(*) FROM got") > 0


gi("orders")
gi("small_pages", page_size=1500)
entity("sales_order", "(order_nbr text OPTIONS (field 'OrderNbr'), total numeric OPTIONS (field 'OrderTotal'))", page_size=1500)

gi("hasty_pages", page_size=1500, server="hasty")
entity("hasty_order", "(order_nbr text OPTIONS (field 'OrderNbr'), total numeric OPTIONS (field 'OrderTotal'))", page_size=1500, server="hasty")

# -- section 1: surfaces and layouts ------------------------------------------------------------------------------------


@test
def the_tenant_is_percent_encoded():
    with_spaces = Sim("--tenant", "My Company & Söhne", *SITE)
    create_server(db, with_spaces, "spaces", company="My Company & Söhne")
    gi("t", server="spaces")
    assert value("SELECT count(*) FROM t") == 20000
    db.execute("DROP SERVER spaces CASCADE")
    with_spaces.stop()


for release, version in (("2023R2", "3"), ("2024R2", "4"), ("2026R1", "4"), ("2026R2", "4")):

    def each_release_has_its_layout():
        older = Sim("--release", release, *SITE)
        for odata_version in ("auto", version):
            create_server(db, older, "release", odata_version=odata_version)
            gi("t", "(a text OPTIONS (field 'OrderType', key '1'), b text OPTIONS (field 'OrderNbr', key '2'), d date OPTIONS (field 'Date'))", server="release")
            same_as_truth("SELECT * FROM t", "gi/BI-SalesOrders", ["OrderType", "OrderNbr", "Date"], ["text", "text", "date"], older, "--release", release)
            entity("e", "(a text OPTIONS (field 'OrderNbr'), s text OPTIONS (field 'Status'), city text OPTIONS (field 'ShipToAddress/City'), d jsonb OPTIONS (field 'Details'))", server="release")
            same_as_truth("SELECT a, s, city FROM e", "rest/SalesOrder", ["OrderNbr", "Status", "ShipToAddress/City"], ["text"] * 3, older, "--release", release)
            assert value("SELECT sum(jsonb_array_length(d)) FROM e") > 50000
            db.execute("CREATE FOREIGN TABLE d (a text OPTIONS (field 'OrderType', key '1'), b text OPTIONS (field 'OrderNbr', key '2')) SERVER release OPTIONS (schema 'DAC', entity 'SOOrder')")
            same_as_truth("SELECT * FROM d", "dac/SOOrder", ["OrderType", "OrderNbr"], ["text"] * 2, older, "--release", release)
        db.execute("DROP SERVER release CASCADE")
        older.stop()

    each_release_has_its_layout.__name__ += f"_{release}"
    test(each_release_has_its_layout)

# -- section 2: contract REST -------------------------------------------------------------------------------------------


@test
def endpoint_names_match_without_case_and_the_newest_version_is_taken():
    sim.reset()
    entity("t", "(n text OPTIONS (field 'OrderNbr'))", endpoint_name="dEFAULT")
    assert db.execute("SELECT * FROM t LIMIT 1").fetchall()
    assert sim.requests("/entity/Default/24.200.001/SalesOrder")


@test
def a_removed_endpoint_version_is_an_error():
    entity("t", "(n text OPTIONS (field 'OrderNbr'))", endpoint_version="17.200.001")
    with raises("HV00R", 'the server does not have entity "SalesOrder"', "endpoint"):
        db.execute("SELECT * FROM t")


@test
def an_unknown_entity_or_inquiry_is_an_error():
    entity("t", "(n text OPTIONS (field 'OrderNbr'))", entity="SalesOrdr")
    with raises("HV00R", "SalesOrdr"):
        db.execute("SELECT * FROM t")
    gi("t", inquiry="No such inquiry")
    with raises("HV00R", "No such inquiry"):
        db.execute("SELECT * FROM t")


@test
def no_value_is_an_empty_object_and_zero_is_zero():
    entity("t", "(n text OPTIONS (field 'OrderNbr'), d text OPTIONS (field 'Description'), total numeric OPTIONS (field 'OrderTotal'))")
    same_as_truth("SELECT * FROM t", "rest/SalesOrder", ["OrderNbr", "Description", "OrderTotal"], ["text", "text", "numeric"])
    assert value("SELECT count(*) FROM t WHERE d IS NULL") > 0
    assert value("SELECT count(*) FROM t WHERE total = 0") > 0


@test
def decimals_keep_their_scale():
    entity("t", "(total numeric OPTIONS (field 'OrderTotal'))")
    gi("g")
    for table in ("t", "g"):
        assert db.execute(f"SELECT min(scale(total)), max(scale(total)) FROM {table}").fetchone() == (4, 4)


@test
def orderby_is_never_sent_to_rest():
    sim.reset()
    db.execute("SELECT order_nbr FROM sales_order ORDER BY total LIMIT 3").fetchall()
    assert not sim.requests("$orderby")


@test
def an_expanded_detail_must_be_selected_too():
    entity("t", "(n text OPTIONS (field 'OrderNbr'), d jsonb OPTIONS (field 'Details'))")
    assert value("SELECT sum(jsonb_array_length(d)) FROM t") > 50000


@test
def an_unknown_field_is_an_error_that_says_so():
    entity("t", '("OrderNo" text)')
    with raises("HV005", "does not exist", "Perhaps you meant", "OrderNbr"):
        db.execute("SELECT * FROM t")


@test
def a_field_that_is_written_otherwise_is_found():
    entity("t", "(order_nbr text, ordertype text)")
    same_as_truth("SELECT ordertype, order_nbr FROM t", "rest/SalesOrder", ["OrderType", "OrderNbr"], ["text", "text"])


@test
def cannot_optimize_names_the_fields():
    entity("t", '("Number" text OPTIONS (field \'CaseID\'), "SLA" timestamptz)', entity="Case")
    with raises("HV00L", "SLA", 'Leave column "SLA" out'):
        db.execute("SELECT * FROM t")
    assert value('SELECT count("Number") FROM t') > 0


@test
def a_key_that_holds_a_slash_is_only_data():
    entity("t", "(i text OPTIONS (field 'InventoryID', key '1'))", entity="StockItem")
    same_as_truth("SELECT * FROM t", "rest/StockItem", ["InventoryID"], ["text"])
    assert value("SELECT count(*) FROM t WHERE i LIKE '%/%'") > 0


# -- section 3: OData ---------------------------------------------------------------------------------------------------


@test
def names_keep_spaces_and_hyphens():
    gi("t", "(r text OPTIONS (field 'RefNbr', key '2'), t text OPTIONS (field 'Type', key '1'))", inquiry="AR-Aging by Customer")
    with_key = db.execute("SELECT * FROM t ORDER BY 1, 2").fetchall()
    assert with_key


@test
def without_key_columns_the_key_comes_from_metadata():
    sim.reset()
    gi("t", "(n text OPTIONS (field 'OrderNbr'), total numeric OPTIONS (field 'OrderTotal'))", page_size=3000)
    same_as_truth("SELECT * FROM t", "gi/BI-SalesOrders", ["OrderNbr", "OrderTotal"], ["text", "numeric"])
    # The definition has been read before, if only to know that the inquiry has no parameters.
    assert sim.requests("$orderby=OrderType,OrderNbr")


@test
def hidden_keys_are_unique_where_the_grid_is_not():
    gi("t", "(p numeric OPTIONS (field 'Amount'))", inquiry="BI-SalesOrderLines", page_size=7000)
    same_as_truth("SELECT * FROM t", "gi/BI-SalesOrderLines", ["Amount"], ["numeric"])


@test
def a_key_that_does_not_identify_rows_loses_none():
    # If the key does not identify rows, the list is read in one request.
    gi("t", "(c text OPTIONS (field 'CurrencyID', key '1'), n text OPTIONS (field 'OrderNbr'))", page_size=1500)
    assert value("SELECT count(*) FROM t") == 20000


@test
def a_formula_column_gives_an_empty_body_which_is_an_error():
    gi("t", "(m text OPTIONS (field 'MarginText', key '1'))", inquiry="SO-Margin by Order")
    with raises("08P01", "empty answer", "formula"):
        db.execute("SELECT * FROM t")


@test
def an_inquiry_with_parameters_is_never_silently_empty():
    gi("t", "(w text OPTIONS (field 'Warehouse', key '1'))", inquiry="Inventory by Warehouse")
    with raises("HV024", "has parameters"):
        db.execute("SELECT * FROM t")


@test
def padded_codes_come_as_they_are():
    gi("t", "(n text OPTIONS (field 'OrderNbr', key '2'), t text OPTIONS (field 'OrderType', key '1'), c text OPTIONS (field 'CustomerID'))")
    same_as_truth("SELECT c FROM t", "gi/BI-SalesOrders", ["CustomerID"], ["text"])
    assert value("SELECT bool_and(length(c) = 30) FROM t WHERE c IS NOT NULL")


@test
def no_right_to_an_inquiry_is_an_error():
    gi("t", "(e text OPTIONS (field 'EmployeeID', key '1'))", inquiry="HR-Salaries")
    with raises("42501", "permission denied", "HR-Salaries"):
        db.execute("SELECT * FROM t")


@test
def next_links_are_absolute_and_hold_the_site():
    paged = Sim("--gi-page-size", 700, *SITE)
    for release in ("2023R2", "2024R2"):
        paged.stop()
        paged = Sim("--gi-page-size", 700, "--release", release, *SITE)
        create_server(db, paged, "paged")
        gi("t", server="paged", page_size=5000)
        same_as_truth("SELECT * FROM t", "gi/BI-SalesOrders", ["OrderType", "OrderNbr", "OrderTotal"], ["text", "text", "numeric"], paged)
        assert not paged.requests("/Site/Site/")
    # A short page is not the last one when a next link follows: 256 are asked for, 700 never come at once.
    assert len([r for r in paged.requests("BI-SalesOrders") if r["status"] == 200]) > 25
    paged.reset()
    paged.fault("BI-SalesOrders", "repeat_next_link", count=-1, after=2)
    with raises("08P01", "does not send them"):
        db.execute("SELECT count(*) FROM t")
    db.execute("DROP SERVER paged CASCADE")
    paged.stop()


@test
def a_page_capped_by_the_server_is_not_the_last():
    for cap in (100, 200, 1000):
        for table in ("small_pages", "sales_order"):
            sim.reset()
            sim.fault("$top", "page_cap", rows=cap, count=-1)
            assert value(f"SELECT count(*) FROM {table}") == 20000, (cap, table)


# -- rows that move while they are read ---------------------------------------------------------------------------------


def moving(table, change, at):
    """Reads two pages, changes the order of the rows before them, and reads the rest."""
    sim.reset()
    with db.transaction():
        db.execute(f"DECLARE c NO SCROLL CURSOR FOR SELECT order_nbr, total FROM {table}")
        rows = db.execute("FETCH 300 FROM c").fetchall()
        for n in range(5):
            sim.control("POST", "rows", {"table": "SalesOrder", change: at + n})
        rows += db.execute("FETCH ALL FROM c").fetchall()
    sim.reset()
    return rows


@test
def an_insert_before_the_page_repeats_no_row():
    before = db.execute("SELECT order_nbr, total FROM sales_order").fetchall()
    for table in ("small_pages", "sales_order"):
        assert set(before) - set(moving(table, "insert_before", 10)) == set()
        rows = moving(table, "insert_before", 10)
        assert len(rows) - len(set(rows)) <= len(before) - len(set(before))


@test
def a_delete_before_the_page_loses_no_row():
    whole = db.execute("SELECT order_nbr, total FROM sales_order").fetchall()
    for table in ("small_pages", "sales_order"):
        rows = moving(table, "delete", 10)
        # What was deleted had been read already, so all rows are there.
        assert sorted(rows) == sorted(whole), (len(rows), len(whole))


@test
def a_delete_of_the_last_row_read_loses_no_row():
    whole = db.execute("SELECT order_nbr, total FROM sales_order").fetchall()
    for table in ("small_pages", "sales_order"):
        rows = moving(table, "delete", 253)
        assert len(set(whole) - set(rows)) <= 2 and len(rows) >= len(whole) - 2, (len(rows), len(whole))


# -- section 4: signing in ----------------------------------------------------------------------------------------------


@test
def a_wrong_password_is_500_and_says_so():
    create_server(db, sim, "bad", password="wrong")
    for make in (lambda: entity("t", "(n text OPTIONS (field 'OrderNbr'))", server="bad"), lambda: gi("t", server="bad")):
        make()
        with raises("28000", "did not accept the user name or password", "USER MAPPING"):
            db.execute("SELECT * FROM t")
    db.execute("ALTER USER MAPPING FOR PUBLIC SERVER bad OPTIONS (SET password 'pass-of-admin')")
    assert db.execute("SELECT * FROM t LIMIT 1").fetchall()
    db.execute("DROP SERVER bad CASCADE")


@test
def a_wrong_tenant_on_a_single_tenant_site_is_an_error():
    create_server(db, sim, "bad", company="Somewhere")
    before = len(sim.sessions())
    for make in (lambda: entity("t", "(n text OPTIONS (field 'OrderNbr'))", server="bad"), lambda: gi("t", server="bad")):
        make()
        with raises("28000", 'signed in to company "Company", not "Somewhere"'):
            db.execute("SELECT * FROM t")
        # And the session that it opened is closed again.
        assert len(sim.sessions()) <= before
    db.execute("DROP SERVER bad CASCADE")


@test
def one_session_for_all_surfaces_and_cookies_replayed():
    sim.control("DELETE", "sessions")
    sim.reset()
    with connect() as backend:
        for first, second in (("orders", "sales_order"), ("sales_order", "orders")):
            backend.execute(f"SELECT * FROM {first} LIMIT 1")
            backend.execute(f"SELECT * FROM {second} LIMIT 1")
            assert len(sim.sessions()) == 1
    # Other backends use it too; how it ends with the last one is in sessions.py.
    assert value("SELECT acumatica_disconnect('erp')") == 1
    assert not sim.sessions()


@test
def cookie_login_serves_all_surfaces():
    create_server(db, sim, "cookie", auth_strategy="Cookie")
    gi("t", server="cookie")
    sim.reset()
    assert value("SELECT count(*) FROM t") == 20000
    assert [r for r in sim.requests("auth/login") if r["status"] == 204]
    db.execute("DROP SERVER cookie CASCADE")


# -- section 5: limits and errors ---------------------------------------------------------------------------------------


def take_a_seat(site):
    """Signs in and stays signed in, as another integration would."""
    body = json.dumps({"name": "admin", "password": PASSWORD}).encode()
    request = urllib.request.Request(f"{site.url}/entity/auth/login", body, {"Content-Type": "application/json"})
    assert urllib.request.urlopen(request).status == 204


@test
def no_free_session_is_told_apart_from_throttling():
    full = Sim("--seats", 1, *SITE)
    create_server(db, full, "taken", operation_timeout=1)
    gi("t", server="taken")
    entity("e", "(n text OPTIONS (field 'OrderNbr'))", server="taken")
    take_a_seat(full)
    for table in ("t", "e"):
        with raises("53300", "all API sessions"):
            db.execute(f"SELECT * FROM {table}")
    full.control("DELETE", "sessions")
    full.fault("$top", "status", status=429, count=-1)
    with raises("53400", "too many requests"):
        db.execute("SELECT * FROM t")
    db.execute("DROP SERVER taken CASCADE")
    full.stop()


def failing(sqlstate, *parts, **fault):
    """A fault that stays, from the second page on, where rows are out already: never fewer rows."""
    for table in ("hasty_pages", "hasty_order"):
        sim.reset()
        sim.fault("$top", after=1, count=-1, **fault)
        with raises(sqlstate, *parts):
            db.execute(f"SELECT count(*) FROM {table}")
        sim.reset()
        assert value(f"SELECT count(*) FROM {table}") == 20000


def passing(**fault):
    """A fault that passes, at the first page, at one in the middle, and at signing in: the right rows, and each once."""
    for table in ("small_pages", "sales_order"):
        for after in (0, 2):
            sim.reset()
            sim.fault("$top", after=after, count=2, **fault)
            same_as_truth(f"SELECT order_nbr, total FROM {table}", "rest/SalesOrder", ["OrderNbr", "OrderTotal"], ["text", "numeric"])
            assert len([r for r in sim.requests("$top") if r["status"] == 200]) > 2


@test
def an_empty_body_is_an_error():
    failing("08P01", "empty answer", kind="empty")


@test
def a_web_page_is_an_error():
    failing("08P01", "a web page", kind="html")


@test
def a_redirect_to_the_error_page_is_no_seat():
    failing("53300", "API sessions", "Tried ", kind="redirect")
    passing(kind="redirect")


@test
def truncated_json_is_an_error():
    failing("08P01", "could not read the answer", kind="truncate", bytes=2000)


@test
def a_connection_closed_in_the_body_is_an_error():
    failing("08006", "broke", "Tried ", kind="close", bytes=2000)
    passing(kind="close", bytes=2000)
    passing(kind="close")


@test
def a_wrong_content_length_is_an_error():
    failing("08006", "broke", "Tried ", kind="bad_length")


@test
def a_site_that_restarts_is_an_error_that_says_so():
    for status in (502, 503, 504):
        failing("08006", "not available", "restarting", "Tried ", kind="status", status=status)
    passing(kind="status", status=503)


@test
def throttling_is_waited_for_as_long_as_the_server_says():
    passing(kind="status", status=429)
    sim.reset()
    sim.fault("$top", "status", status=429, headers=[["Retry-After", "2"]])
    begun = time.monotonic()
    assert value("SELECT count(*) FROM orders") == 20000
    assert time.monotonic() - begun > 2
    # A Retry-After beyond operation_timeout is not waited for.
    sim.fault("$top", "status", status=429, headers=[["Retry-After", "3600"]])
    with raises("53400", "too many requests"):
        db.execute("SELECT * FROM orders")


@test
def a_seat_that_becomes_free_is_waited_for():
    one_seat = Sim("--seats", 1, *SITE)
    create_server(db, one_seat, "waiting")
    gi("t", server="waiting")
    take_a_seat(one_seat)
    threading.Timer(1, lambda: one_seat.control("DELETE", "sessions")).start()
    assert value("SELECT count(*) FROM t") == 20000
    db.execute("DROP SERVER waiting CASCADE")
    one_seat.stop()


@test
def a_wrong_address_is_told_within_seconds():
    for url, sqlstate, text in (("http://127.0.0.1:1", "08001", "could not connect"), ("no-such-host.invalid", "08001", "could not find the host")):
        db.execute(f"DROP SERVER IF EXISTS nowhere CASCADE; CREATE SERVER nowhere FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '{url}', company 'C')")
        db.execute("CREATE USER MAPPING FOR PUBLIC SERVER nowhere OPTIONS (username 'u', password 'p')")
        gi("t", server="nowhere")
        begun = time.monotonic()
        with raises(sqlstate, text, "url"):
            db.execute("SELECT * FROM t")
        assert time.monotonic() - begun < 5


@test
def an_error_in_the_words_of_the_server():
    failing("HV000", "could not read", kind="status", status=500)


@test
def a_server_that_falls_silent_times_out():
    create_server(db, sim, "slow", operation_timeout=1)
    gi("t", server="slow")
    for fault in ({"kind": "delay", "ms": 5000}, {"kind": "stall_body", "ms": 5000, "bytes": 1000}):
        sim.reset()
        sim.fault("$top", **fault)
        with raises("08006", "sent nothing for 1 second", "operation_timeout"):
            db.execute("SELECT count(*) FROM t")
    db.execute("DROP SERVER slow CASCADE")


@test
def a_session_lost_between_pages_goes_on_at_the_same_row():
    for table in ("small_pages", "sales_order"):
        for after in (0, 1, 3):
            sim.reset()
            sim.fault("$top", "drop_session", after=after)
            same_as_truth(f"SELECT order_nbr, total FROM {table}", "rest/SalesOrder", ["OrderNbr", "OrderTotal"], ["text", "numeric"])


@test
def a_session_refused_again_and_again_takes_no_further_seat():
    sim.control("DELETE", "sessions")
    with connect() as backend:
        sim.reset()
        sim.fault("BI-SalesOrders", "status", status=401, count=-1)
        for _ in range(3):
            with raises("42501", "does not let this user read", "roles"):
                backend.execute("SELECT count(*) FROM orders")
            assert not sim.sessions(), sim.sessions()
        sim.reset()
        assert backend.execute("SELECT count(*) FROM orders").fetchone() == (20000,)
        assert len(sim.sessions()) == 1


@test
def a_sign_in_that_fails_after_the_session_was_opened_closes_it():
    for fault in ({"kind": "close", "bytes": 20}, {"kind": "bad_length"}):
        sim.control("DELETE", "sessions")
        with connect() as backend:
            sim.reset()
            sim.fault("api/odata/gi", **fault)
            assert backend.execute("SELECT * FROM orders LIMIT 1").fetchall()
            assert len(sim.sessions()) == 1, fault


@test
def answers_are_asked_for_compressed():
    sim.reset()
    (plan,) = db.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM orders").fetchone()
    received = plan[0]["Plan"]["Bytes Received"]
    sent = sum(r["bytes"] for r in sim.requests("$top"))
    assert 0 < sent < received / 2, (sent, received)


@test
def a_redirect_within_the_site_is_followed():
    sim.reset()
    sim.fault("$select=OrderTotal", "status", status=302, headers=[["Location", "/Site/t/Company/api/odata/gi/BI-SalesOrders?$select=OrderType,OrderNbr,OrderTotal&$orderby=OrderType,OrderNbr&$top=256"]])
    assert value("SELECT sum(total) FROM orders") == value("SELECT sum(total) FROM small_pages")
    assert [r for r in sim.requests("$top") if r["status"] == 302]


@test
def a_redirect_to_another_site_is_not_followed():
    failing("08P01", "redirected", "another site", kind="status", status=302, headers=[["Location", "http://127.0.0.2:9/x"]])


@test
def nothing_is_left_open():
    db.close()
    eventually(lambda: not sim.sessions())


finish()
