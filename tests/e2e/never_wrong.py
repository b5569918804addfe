#!/usr/bin/env python3
"""A test for each rule of pushdown: a query on a foreign table returns the rows of a local copy. tests/mutations.txt names, for
each rule, the test that fails without it."""

import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, has_icu, test

sim = Sim("--scale", "0.1")
db = connect(options="-c timezone=America/New_York")
create_server(db, sim, endpoint_version="24.200.001")
db.execute("""
    CREATE SCHEMA there; CREATE SCHEMA here; CREATE SEQUENCE counter; SET search_path = there, public;
    CREATE FOREIGN TABLE orders (
        order_type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        order_nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        descr text OPTIONS (field 'OrderDesc'), total numeric OPTIONS (field 'CuryOrderTotal'),
        rounded numeric(20,0) OPTIONS (field 'CuryOrderTotal'), priority int OPTIONS (field 'Priority'),
        requested date OPTIONS (field 'RequestDate'), modified timestamptz OPTIONS (field 'LastModifiedDateTime'),
        note_id uuid OPTIONS (field 'NoteID')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder');
    CREATE TABLE here.orders AS TABLE there.orders""")


def same(query):
    """The rows of the query on the local copy; the foreign tables must return the same."""
    found = {}
    for schema in ("here", "there"):
        db.execute(f"SET search_path = {schema}, public")
        found[schema] = db.execute(query).fetchall()
    assert found["here"] == found["there"], f"{query}: {found}"
    return found["here"]


def of_both(condition):
    """A condition that some rows meet, and others do not."""
    (count, others), = same(f"SELECT count(*) FILTER (WHERE {condition}), count(*) FILTER (WHERE ({condition}) IS NOT TRUE)"
                            " FROM orders")
    assert count and others, condition
    assert same(f"SELECT count(*) FILTER (WHERE true), count(*) FROM orders WHERE {condition}") == [(count, count)]


def asked():
    """The queries since the list of requests was emptied."""
    return " ".join(urllib.parse.unquote(request["query"]) for request in sim.requests())


@test
def nothing_is_counted_or_skipped_where_the_server_keeps_more():
    assert same("SELECT count(*) FROM orders WHERE order_type = 'so'") == [(0,)]
    assert same("SELECT total FROM orders WHERE order_type = 'so' LIMIT 3 OFFSET 2") == []


@test
def nothing_is_counted_or_skipped_while_a_part_of_the_conditions_is_left():
    same("SELECT count(*) FROM orders WHERE total > 4000 AND descr ~ 'e'")
    same("SELECT count(*) FROM orders WHERE (total > 4000 AND descr ~ 'e') OR priority = 1")
    # NaN cannot be sent.
    assert same("SELECT count(*) FROM orders WHERE total > ALL (ARRAY[40, 'NaN']::numeric[])") == [(0,)]
    same("SELECT count(*) FROM orders WHERE (total > 40 AND total > ALL (ARRAY[40, 'NaN']::numeric[])) OR priority = 1")
    # LIKE '%' has no piece of text to send. It is true for all rows but those with NULL.
    same("SELECT count(*) FROM orders WHERE (total > 4000 AND descr LIKE '%') OR priority = 1")
    same("SELECT total FROM orders WHERE total > 4000 AND descr ~ 'e' ORDER BY total DESC LIMIT 3 OFFSET 7")


@test
def rows_without_a_value_come_where_they_are_wanted():
    for order in ("ASC", "DESC", "ASC NULLS FIRST", "DESC NULLS LAST"):
        same(f"SELECT requested FROM orders ORDER BY requested {order} LIMIT 5")
        for offset in (100, 1750):  # rows without a value are about 200 of 2000
            same(f"SELECT requested FROM orders ORDER BY requested {order} LIMIT 150 OFFSET {offset}")


@test
def text_and_ids_are_sorted_here():
    for column in ("descr", "note_id", "lower(order_type)"):
        same(f"SELECT {column} FROM orders WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 500")


def a_collation_that_finds_more_equal_stays_here():
    db.execute("CREATE COLLATION public.ignore_case (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
    (accented,), = db.execute("SELECT min(descr) FROM here.orders WHERE descr ~ '[é-ü]'").fetchall()
    plain = accented.translate(str.maketrans("äéèöüñç", "aeeounc"))
    assert plain != accented
    for condition in (f"descr = '{plain}'", f"descr IN ('{plain}', 'x')", f"descr IS NOT DISTINCT FROM '{plain}'"):
        of_both(condition.replace("descr", "descr COLLATE ignore_case"))


if has_icu(db):
    test(a_collation_that_finds_more_equal_stays_here)
else:
    print("skip - a_collation_that_finds_more_equal_stays_here: this PostgreSQL was built without ICU", flush=True)


@test
def what_a_volatile_function_returns_is_not_asked_for():
    counts = []
    for schema in ("here", "there"):
        db.execute(f"SET search_path = {schema}, public; ALTER SEQUENCE counter RESTART")
        counts += db.execute("SELECT count(*) FROM orders WHERE total < nextval('counter')").fetchall()
    assert counts[0] == counts[1] and counts[0] > (0,), counts


@test
def a_list_with_null_is_met_by_no_row_that_must_meet_all_of_it():
    assert same("SELECT count(*) FROM orders WHERE priority >= ALL ('{1,NULL}')") == [(0,)]
    assert same("SELECT count(*) FROM orders WHERE priority NOT IN (1, NULL)") == [(0,)]
    of_both("priority IN (1, NULL)")


@test
def of_alternatives_all_are_sent_or_none():
    of_both("total > 9000 OR descr ~ 'e'")
    of_both("NOT (total <= 9000 AND descr !~ 'e')")
    # NaN cannot be sent.
    same("SELECT count(*) FROM orders WHERE total < ANY ('{100,NaN}')")


@test
def what_does_not_match_stays_here():
    of_both("descr NOT LIKE 'B%'")
    of_both("NOT (descr ILIKE '%e%')")
    of_both("NOT (descr = (SELECT min(descr) FROM orders))")
    of_both("descr > 'Bolt'")
    of_both("(total > 4000) IS FALSE")
    of_both("(total <> (SELECT max(total) FROM orders)) IS FALSE")


@test
def numbers_that_a_column_rounds_are_compared_here():
    of_both("rounded = (SELECT max(rounded) FROM orders)")
    of_both("rounded >= (SELECT max(rounded) FROM orders WHERE rounded > total)")


@test
def moments_that_are_cut_off_are_asked_for_with_what_was_cut():
    for unit, day in (("month", "2024-02-01"), ("year", "2024-01-01"), ("quarter", "2024-01-01")):
        of_both(f"date_trunc('{unit}', modified) = '{day}'")
    of_both("extract(year from modified) = 2024")
    of_both("modified::date = (SELECT min(modified)::date FROM orders)")


@test
def a_moment_that_a_zone_is_applied_to_is_asked_for_with_a_day_more():
    sim.control("DELETE", "requests")
    db.execute("SELECT modified FROM there.orders WHERE modified::date >= '2024-02-10'").fetchall()
    assert "LastModifiedDateTime ge 2024-02-08T00:00:00Z" in asked()


@test
def is_distinct_from_asks_for_rows_without_a_value_too():
    of_both("requested IS DISTINCT FROM (SELECT min(requested) FROM orders)")
    sim.control("DELETE", "requests")
    db.execute("SELECT priority FROM there.orders WHERE priority IS DISTINCT FROM 3").fetchall()
    assert "Priority ne 3 or Priority eq null" in asked()


finish()
