#!/usr/bin/env python3
"""Inquiry forms and generic inquiries with parameters against the data set: constants, lists, parameters of a
statement, values of other tables, and what cannot be given."""

import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from data_set import CALLS, COLUMNS, FORM, ITEMS, SCALE, SITES, db, end, form_truth, load, quoted, rows, same, sim, test, truth, value
from harness import Sim, create_server, psycopg, raises
from scripted import create_scripted, line


# -- inquiry forms -----------------------------------------------------------------------------------------------------


def numbered(where):
    """The rows of the data set as calls with these conditions show them: numbered anew in each answer."""
    return f"SELECT c0, row_number() OVER (PARTITION BY c0 ORDER BY c1), c2, c3, c4, c5 FROM truth WHERE {where}"


@test
def a_form_with_constants():
    sim.reset()
    same(f"SELECT {COLUMNS} FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'", numbered(f"c0 = '{ITEMS[0]}'"))
    assert [(r["method"], r["status"]) for r in sim.requests(CALLS)] == [("PUT", 200)]
    # The value on the left, as varchar, in lower case, with spaces at the end: the column returns the value as it was given.
    assert value(f"SELECT count(*) FROM {FORM} WHERE '{ITEMS[0]}' = inventory_id") == value("SELECT count(*) FROM truth WHERE c0 = %s", [ITEMS[0]])
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'::varchar") > 0
    given = ITEMS[0].lower() + "  "
    assert rows(f"SELECT DISTINCT inventory_id FROM {FORM} WHERE inventory_id = %s", [given]) == [(given,)]
    # Two parameters.
    both = rows("SELECT c0, c2 FROM truth LIMIT 1")[0]
    same(f"SELECT inventory_id, qty_on_hand FROM {FORM} WHERE inventory_id = '{both[0]}' AND warehouse_id = '{both[1]}'",
         f"SELECT c0, c4 FROM truth WHERE c0 = '{both[0]}' AND c2 = '{both[1]}'")
    # PostgreSQL evaluates conditions on the results.
    same(f"SELECT inventory_id, qty_on_hand FROM {FORM} WHERE inventory_id = '{ITEMS[1]}' AND qty_on_hand > 100", f"SELECT c0, c4 FROM truth WHERE c0 = '{ITEMS[1]}' AND c4 > 100", some=False)
    assert rows(f"SELECT * FROM {FORM} WHERE inventory_id = 'NO SUCH ITEM'") == []
    # Parameters without a value are NULL.
    assert rows(f"SELECT DISTINCT warehouse_id, expand_by_lot_serial_nbr FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'") == [(None, None)]
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id = '{ITEMS[0]}' AND NOT expand_by_lot_serial_nbr") > 0


@test
def a_form_with_parameters_of_a_prepared_statement():
    for mode in ("force_generic_plan", "force_custom_plan"):
        with db.transaction():
            db.execute(f"SET LOCAL plan_cache_mode = {mode}")
            db.execute(f"PREPARE one (text) AS SELECT count(*) FROM {FORM} WHERE inventory_id = $1")
            db.execute(f"PREPARE many (text[]) AS SELECT count(*) FROM {FORM} WHERE inventory_id = ANY ($1)")
            for item in ITEMS[:4]:
                assert rows(f"EXECUTE one ('{item}')") == rows(f"SELECT count(*) FROM truth WHERE c0 = '{item}'")
            sim.reset()
            assert rows("EXECUTE one (NULL)") == [(0,)] and not sim.requests(CALLS)
            wanted = value("SELECT count(*) FROM truth WHERE c0 = ANY (%s)", [ITEMS[:3]])
            listed = ", ".join(f"'{item}'" for item in [*ITEMS[:3], ITEMS[0], ITEMS[1]])
            assert rows(f"EXECUTE many (ARRAY[{listed}, NULL])") == [(wanted,)]
            assert len(sim.requests(CALLS)) == 3
            sim.reset()
            assert rows("EXECUTE many ('{}')") == [(0,)] and rows("EXECUTE many (NULL)") == [(0,)] and not sim.requests(CALLS)
            db.execute("DEALLOCATE one; DEALLOCATE many")


@test
def a_form_with_lists():
    listed = ", ".join(f"'{item}'" for item in [*ITEMS[:3], ITEMS[0]])
    sim.reset()
    same(f"SELECT {COLUMNS} FROM {FORM} WHERE inventory_id IN ({listed})", numbered(f"c0 IN ({listed})"))
    assert len(sim.requests(CALLS)) == 3
    sim.reset()
    same(f"SELECT inventory_id, warehouse_id, qty_on_hand FROM {FORM} WHERE inventory_id IN ({listed}) AND warehouse_id IN ('{SITES[0]}', '{SITES[1]}')",
         f"SELECT c0, c2, c4 FROM truth WHERE c0 IN ({listed}) AND c2 IN ('{SITES[0]}', '{SITES[1]}')")
    assert len(sim.requests(CALLS)) == 6
    # No more requests than it takes rows to fill a LIMIT.
    sim.reset()
    assert len(rows(f"SELECT * FROM {FORM} WHERE inventory_id = ANY (%s) LIMIT 1", [ITEMS])) == 1
    assert len(sim.requests(CALLS)) <= 2
    # Contradicting values send no request; the same value twice sends one.
    sim.reset()
    assert rows(f"SELECT * FROM {FORM} WHERE inventory_id = '{ITEMS[0]}' AND inventory_id = '{ITEMS[1]}'") == []
    assert rows(f"SELECT * FROM {FORM} WHERE inventory_id IN (NULL)") == []
    assert not sim.requests(CALLS)
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id IN ({listed}) AND inventory_id = '{ITEMS[1]}'") == value(f"SELECT count(*) FROM truth WHERE c0 = '{ITEMS[1]}'")
    assert len(sim.requests(CALLS)) == 1


@test
def a_form_with_values_of_other_tables():
    db.execute("DROP TABLE IF EXISTS wanted; CREATE TEMP TABLE wanted (item text, note text)")
    for item in [*ITEMS[:3], ITEMS[0], None, "NO SUCH ITEM"]:
        db.execute("INSERT INTO wanted VALUES (%s, 'n')", [item])
    db.execute("ANALYZE wanted")
    for setting in ("", "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off", "SET LOCAL enable_memoize = off; SET LOCAL enable_material = off"):
        with db.transaction():
            if setting:
                db.execute(setting)
            same(f"SELECT item, qty_on_hand FROM wanted JOIN {FORM} ON inventory_id = item", "SELECT item, c4 FROM wanted JOIN truth ON c0 = item")
            same(f"SELECT item, qty_on_hand FROM wanted LEFT JOIN {FORM} ON inventory_id = item", "SELECT item, c4 FROM wanted LEFT JOIN truth ON c0 = item")
            same(f"SELECT item, q FROM wanted, LATERAL (SELECT sum(qty_on_hand) q FROM {FORM} WHERE inventory_id = item) x",
                 "SELECT item, q FROM wanted, LATERAL (SELECT sum(c4) q FROM truth WHERE c0 = item) x")
            same(f"SELECT item, (SELECT sum(qty_on_hand) FROM {FORM} WHERE inventory_id = item) FROM wanted", "SELECT item, (SELECT sum(c4) FROM truth WHERE c0 = item) FROM wanted")
            same(f"SELECT qty_on_hand FROM {FORM} WHERE inventory_id = (SELECT min(item) FROM wanted WHERE item < 'B')", "SELECT c4 FROM truth WHERE c0 = (SELECT min(item) FROM wanted WHERE item < 'B')")
            same(f"SELECT qty_on_hand FROM {FORM} WHERE inventory_id = ANY (ARRAY(SELECT item FROM wanted))", "SELECT c4 FROM truth WHERE c0 = ANY (ARRAY(SELECT item FROM wanted))")
            same(f"SELECT qty_on_hand FROM {FORM} WHERE inventory_id IN (SELECT item FROM wanted)", "SELECT c4 FROM truth WHERE c0 IN (SELECT item FROM wanted)")
            same(f"SELECT item FROM wanted WHERE EXISTS (SELECT FROM {FORM} WHERE inventory_id = item)", "SELECT item FROM wanted WHERE EXISTS (SELECT FROM truth WHERE c0 = item)")
            same(f"SELECT item FROM wanted WHERE item IS NOT NULL AND NOT EXISTS (SELECT FROM {FORM} WHERE inventory_id = item)",
                 "SELECT item FROM wanted WHERE item IS NOT NULL AND NOT EXISTS (SELECT FROM truth WHERE c0 = item)")
            # Through another table in between, and with a constant that comes in by the equality.
            same(f"SELECT i.description, f.qty_on_hand FROM wanted w JOIN s.stock_item i ON i.inventory_id = w.item JOIN {FORM} f ON f.inventory_id = i.inventory_id",
                 "SELECT i.description, c4 FROM wanted w JOIN s.stock_item i ON i.inventory_id = w.item JOIN truth ON c0 = i.inventory_id")
            same(f"SELECT w.note, f.qty_on_hand FROM wanted w JOIN {FORM} f ON f.inventory_id = w.item WHERE w.item = '{ITEMS[1]}'", f"SELECT note, c4 FROM wanted JOIN truth ON c0 = item WHERE item = '{ITEMS[1]}'")
    # A list and another table's value together.
    same(f"SELECT item, f.qty_on_hand FROM wanted JOIN {FORM} f ON inventory_id = item AND warehouse_id IN ('{SITES[0]}', '{SITES[1]}')", f"SELECT item, c4 FROM wanted JOIN truth ON c0 = item AND c2 IN ('{SITES[0]}', '{SITES[1]}')")
    # Two forms, one after the other.
    same(f"SELECT a.qty_on_hand x, b.qty_on_hand y FROM {FORM} a JOIN {FORM} b USING (inventory_id, row_number) WHERE a.inventory_id = '{ITEMS[0]}'", f"SELECT c4, c4 FROM truth WHERE c0 = '{ITEMS[0]}'")
    sim.reset()
    db.execute(f"SELECT item, qty_on_hand FROM (SELECT DISTINCT item FROM wanted WHERE item LIKE '{ITEMS[0][:1]}%') w JOIN {FORM} ON inventory_id = item")
    assert 0 < len(sim.requests(CALLS)) <= 3


@test
def a_form_in_functions_and_views():
    db.execute(f"""CREATE OR REPLACE VIEW stock AS SELECT inventory_id AS item, qty_on_hand AS qty FROM {FORM};
        CREATE OR REPLACE FUNCTION pg_temp.qty_of(given text) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sum(qty) FROM stock WHERE item = given); END $$;
        CREATE OR REPLACE FUNCTION pg_temp.qty_sql(given text) RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT sum(qty) FROM stock WHERE item = given $$""")
    for name in ("qty_of", "qty_sql"):
        for item in ITEMS[:7]:
            assert value(f"SELECT pg_temp.{name}(%s)", [item]) == value("SELECT sum(c4) FROM truth WHERE c0 = %s", [item])


def refused(query, parameter):
    """The query fails because the parameter has no value, or the condition gives none; the message names the parameter."""
    try:
        raise AssertionError(f"{query}: {len(rows(query))} rows")
    except psycopg.Error as error:
        assert error.sqlstate in ("HV002", "0A000") and parameter in str(error).lower(), error


@test
def without_the_parameter_that_it_needs():
    """An error, since no rows would be a wrong answer."""
    for where in ("", "WHERE qty_on_hand > 0", "WHERE inventory_id > 'A'", "WHERE inventory_id LIKE 'A%'", "WHERE inventory_id IS NULL", "WHERE upper(inventory_id) = 'X'",
                  f"WHERE inventory_id = '{ITEMS[0]}' OR warehouse_id = 'MAIN'", "WHERE warehouse_id = 'MAIN'", "WHERE inventory_id <> ALL (ARRAY['A'])", "WHERE inventory_id IS DISTINCT FROM 'A'"):
        refused(f"SELECT * FROM {FORM} {where}", "inventory")
    with raises("HV002", '"Ledger"'):
        rows("SELECT * FROM s.account_summary_inquiry")
    assert len(rows("SELECT * FROM s.account_summary_inquiry WHERE ledger = 'ACTUAL'")) > 10
    # Beside `=` there can be any other condition on a parameter.
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id = '{ITEMS[0]}' AND inventory_id LIKE '{ITEMS[0][:2]}%' AND length(inventory_id) > 2") == value("SELECT count(*) FROM truth WHERE c0 = %s", [ITEMS[0]])
    with raises("0A000", "inventory_id"):
        rows(f"SELECT count(*) FROM {FORM} FULL JOIN (VALUES ('x')) w (item) ON inventory_id = item")


@test
def conditions_on_parameters_that_are_no_equality():
    """An optional parameter that was not given is NULL in the rows, so that such a condition would leave none of them."""
    item, place = rows("SELECT c0, c2 FROM truth WHERE c2 LIKE 'M%' LIMIT 1")[0]
    for condition, local in (("warehouse_id LIKE 'M%'", "c2 LIKE 'M%'"), (f"warehouse_id <> 'x'", "true"), (f"lower(warehouse_id) = lower('{place}')", f"c2 = '{place}'"),
                             ("warehouse_id > 'A'", "true"), (f"warehouse_id = '{place}' OR warehouse_id = 'x'", f"c2 = '{place}'")):
        try:
            same(f"SELECT inventory_id, qty_on_hand FROM {FORM} WHERE inventory_id = '{item}' AND ({condition})", f"SELECT c0, c4 FROM truth WHERE c0 = '{item}' AND ({local})")
        except AssertionError as error:
            raise AssertionError(f"{condition}: {str(error)[:300]}") from error
        except psycopg.Error as error:
            assert error.sqlstate in ("HV002", "0A000"), error
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id = '{item}' AND warehouse_id IS NULL") > 0


@test
def joins_on_an_optional_parameter_are_the_same_in_every_plan():
    """Right rows, or an error; whether a parameter is given must not depend on what the planner finds cheaper."""
    item = value("SELECT c0 FROM truth GROUP BY 1 HAVING count(DISTINCT c2) > 2 ORDER BY 1 LIMIT 1")
    db.execute("DROP TABLE IF EXISTS sites; CREATE TEMP TABLE sites AS SELECT DISTINCT c2 AS site FROM truth; ANALYZE sites")
    form = f"(SELECT * FROM {FORM} WHERE inventory_id = '{item}') f"
    table = f"(SELECT c0, c2 AS warehouse_id, c4 AS qty_on_hand, c2 AS results_warehouse_id FROM truth WHERE c0 = '{item}') f"
    queries = ("SELECT site, qty_on_hand FROM sites JOIN {} ON warehouse_id = site", "SELECT site, qty_on_hand FROM sites LEFT JOIN {} ON warehouse_id = site",
               "SELECT site, qty_on_hand FROM {} LEFT JOIN sites ON warehouse_id = site", "SELECT site, qty_on_hand FROM sites FULL JOIN {} ON warehouse_id = site",
               "SELECT qty_on_hand FROM {} WHERE warehouse_id IN (SELECT site FROM sites)", "SELECT qty_on_hand FROM {} WHERE warehouse_id NOT IN (SELECT 'x' || site FROM sites)",
               "SELECT qty_on_hand FROM {} WHERE EXISTS (SELECT FROM sites WHERE site = f.warehouse_id)", "SELECT qty_on_hand FROM {} WHERE NOT EXISTS (SELECT FROM sites WHERE site = 'x' || f.warehouse_id)",
               "SELECT qty_on_hand FROM {} JOIN sites ON site LIKE warehouse_id || '%'", "SELECT qty_on_hand FROM {} JOIN sites ON lower(site) = lower(warehouse_id)",
               "SELECT qty_on_hand FROM {}, sites WHERE site = warehouse_id OR site = 'x'", "SELECT count(*) FROM {} GROUP BY warehouse_id HAVING warehouse_id > 'A'")
    wrong = []
    for setting in ("SET enable_nestloop = on", "SET enable_nestloop = off", "SET enable_hashjoin = off; SET enable_mergejoin = off", "SET enable_material = off; SET enable_memoize = off"):
        db.execute(setting)
        for query in queries:
            try:
                got = sorted(map(str, rows(query.format(form))))
            except psycopg.Error as error:
                assert error.sqlstate in ("HV002", "0A000"), (query, error)
                continue
            wanted = sorted(map(str, rows(query.format(table))))
            if got != wanted:
                wrong.append(f"{setting}: {query}: {len(got)} rows for {len(wanted)}")
        db.execute("RESET ALL")
    assert not wrong, "\n".join(wrong)


scripted = create_scripted(db)


@test
def a_form_that_does_not_take_its_parameter():
    db.execute("""CREATE FOREIGN TABLE form (item text OPTIONS (parameter 'required', field 'Item'), day date OPTIONS (parameter 'optional', field 'Day'), n int OPTIONS (parameter 'optional', field 'N'),
        q numeric OPTIONS (parameter 'optional', field 'Q'), yes boolean OPTIONS (parameter 'optional', field 'Yes'), uid uuid OPTIONS (parameter 'optional', field 'Uid'), at timestamptz OPTIONS (parameter 'optional', field 'At'),
        qty numeric OPTIONS (field 'Results/Qty')) SERVER scripted OPTIONS (inquiry 'Form')""")
    echo, bodies = {}, []

    def serve(method, path, query, body):
        if method == "GET":  # the request that finds out the tenant of the session
            return []
        bodies.append(json.loads(body))
        if not echo:
            # The server echoes the value as it was sent, with all digits.
            return body[:-1] + b',"Results":[{"Qty":{"value":1.5}}]}'
        return {**bodies[-1], **echo, "Results": [line(1)]}

    scripted.answer = serve
    assert rows("SELECT item, qty FROM form WHERE item = 'a'") == [("a", 1.5)]
    # Values are sent as JSON, with all digits.
    db.execute("SET timezone = 'America/New_York'")
    got = rows("""SELECT item, day::text, n, q::text, yes, uid::text, at = '2024-02-29 12:00:00.123456+00' FROM form WHERE item = E'O''Neill "x" \\\\ é 📏' AND day = '2024-02-29' AND n = -2147483648
        AND q = 12345678901234567890.123456789 AND yes AND uid = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11' AND at = '2024-02-29 12:00:00.123456+00'""")
    assert got == [('O\'Neill "x" \\ é 📏', "2024-02-29", -2147483648, "12345678901234567890.123456789", True, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True)], got
    db.execute("RESET timezone")
    last = {name: field["value"] for name, field in bodies[-1].items()}
    assert last == {"Item": 'O\'Neill "x" \\ é 📏', "Day": "2024-02-29T00:00:00", "N": -2147483648, "Q": 12345678901234567890.123456789, "Yes": True,
                    "Uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "At": "2024-02-29T12:00:00.123456+00:00"}, last
    for wrong in ({"Item": {}}, {"Item": {"value": "b"}}, {"Item": {"value": None}}, {"Item": None}):
        echo.clear()
        echo.update(wrong)
        with raises("08P01", '"Item"'):
            rows("SELECT qty FROM form WHERE item = 'a'")
    echo.clear()
    scripted.answer = lambda method, path, query, body: {"id": "x", "Results": [line(1)]}
    with raises("HV005", '"Item"'):
        rows("SELECT qty FROM form WHERE item = 'a'")
    # The server may write the same value in another form.
    for given, shown in (("item = 'a'", {"Item": {"value": "A  "}}), ("item = 'a' AND q = 1.50", {"Q": {"value": 1.5}}), ("item = 'a' AND q = 2", {"Q": {"value": 2.0}}),
                         ("item = 'a' AND day = '2024-02-29'", {"Day": {"value": "2024-02-29"}}), ("item = 'a' AND at = '2024-02-29 12:00+00'", {"At": {"value": "2024-02-29T12:00:00+00:00"}})):
        scripted.answer = lambda method, path, query, body: {"id": "x", **json.loads(body), **shown, "Results": [line(1)]}
        assert rows(f"SELECT qty FROM form WHERE {given}") == [(1.5,)], given
    for bad in ("q = 'NaN'", "day = 'infinity'", "at = '-infinity'", "day = '10000-01-01'"):
        with raises("22023", "cannot be given"):
            rows(f"SELECT qty FROM form WHERE item = 'a' AND {bad}")
    # A missing list of results means no rows.
    for results in ({"Results": None}, {}):
        scripted.answer = lambda method, path, query, body: {"id": "x", **json.loads(body), **results}
        assert rows("SELECT qty FROM form WHERE item = 'a'") == []


# -- generic inquiries with parameters ---------------------------------------------------------------------------------

GI_COLUMNS = ("OrderType", "OrderNbr", "LineNbr", "Warehouse", "Quantity", "Amount", "Completed", "OrderDate", "NoteID")
GI_TYPES = ["text", "text", "int", "text", "numeric", "numeric", "boolean", "date", "uuid"]
PARAMETERS = ("warehouse", "line", "quantity", "completed", "order_date", "note_id")


for release in ("2024R2", "2023R2"):

    def an_inquiry_with_parameters_of_every_type():
        site = sim if release == "2024R2" else Sim("--seats", 0, "--release", release, *SCALE)
        create_server(db, site, "gi")
        db.execute("DROP SCHEMA IF EXISTS g CASCADE")
        load("OData", 'LIMIT TO ("Order Lines & Totals", "Inventory by Warehouse")', server="gi", into="g", unpad="false")
        inquiry = "g.order_lines_totals"
        truth("gi/Order Lines & Totals", GI_COLUMNS, GI_TYPES, "--release", release, simulator=site)
        names = {field: quoted(name) for name, field in rows("SELECT attname, substr(o, 7) FROM pg_attribute, unnest(attfdwoptions) o WHERE attrelid = %s::regclass"
                 " AND o LIKE 'field=%%' AND NOT EXISTS (SELECT FROM unnest(attfdwoptions) p WHERE p LIKE 'parameter=%%')", [inquiry])}
        listed = ", ".join(names[field] for field in GI_COLUMNS)
        # The entity set without parameters, which is empty without an error, is never read.
        for where in ("", "WHERE warehouse = 'MAIN'", "WHERE completed"):
            with raises("HV002", "needs a value for the parameter"):
                rows(f"SELECT * FROM {inquiry} {where}")
        for where in ("WHERE line > 1", "WHERE warehouse IS NULL", "WHERE NOT (completed OR line = 1)"):
            refused(f"SELECT * FROM {inquiry} {where}", "parameter")
        site.reset()
        first = rows("SELECT c3, c2, c4, c6, c7, c8 FROM truth WHERE c3 IS NOT NULL AND c6 LIMIT 1")[0]
        everything = " AND ".join(f"{name} = %s" for name in PARAMETERS)
        got = rows(f"SELECT {listed} FROM {inquiry} WHERE {everything}", [first[0].rstrip(), *first[1:]])
        assert got == rows("SELECT * FROM truth WHERE (c3, c2, c4, c6, c7, c8) = (%s, %s, %s, %s, %s, %s)", first), got
        assert [r["path"] for r in site.requests("WithParameters")] and not [r for r in site.requests("Order") if "WithParameters" not in r["path"]]
        # All parameters are optional; a query gives one of them.
        for name in PARAMETERS:
            db.execute(f"ALTER FOREIGN TABLE {inquiry} ALTER COLUMN {name} OPTIONS (SET parameter 'optional')")
        for name, place, given in zip(PARAMETERS, (3, 2, 4, 6, 7, 8), (first[0].rstrip(), *first[1:])):
            wanted = f"SELECT * FROM truth WHERE rtrim(c{place}) = 'MAIN'" if name == "warehouse" else f"SELECT * FROM truth WHERE c{place} = {psycopg.sql.Literal(given).as_string(db)}"
            got = f"SELECT {listed} FROM {inquiry} WHERE {name} = " + ("'MAIN'" if name == "warehouse" else psycopg.sql.Literal(given).as_string(db))
            same(got, wanted)
        for condition, local in (("completed", "c6"), ("NOT completed", "NOT c6"), ("completed = false", "NOT c6"), ("false = completed", "NOT c6"), ("completed AND line = 2", "c6 AND c2 = 2"), ("line IN (1, 2, 2)", "c2 IN (1, 2)"),
                                 ("line = ANY ('{1,3,NULL}')", "c2 IN (1, 3)"), ("line = 2::bigint", "c2 = 2"), ("line = 2::smallint", "c2 = 2"), ("warehouse = 'main'", "rtrim(c3) = 'MAIN'"), ("order_date = '2020-01-05'::date", "c7 = '2020-01-05'"),
                                 ("quantity IN (SELECT c4 FROM truth LIMIT 3)", "c4 IN (SELECT c4 FROM truth LIMIT 3)"), ("NOT completed AND completed", "false")):
            try:
                same(f"SELECT {listed} FROM {inquiry} WHERE {condition}", f"SELECT * FROM truth WHERE {local}", some=False)
            except AssertionError as error:
                raise AssertionError(f"{condition}: {error}") from error
        # A parameter's column returns the value that was given, or NULL.
        assert rows(f"SELECT DISTINCT warehouse, completed, line FROM {inquiry} WHERE warehouse = 'Main' AND completed") == [("Main", True, None)]
        # Characters with a meaning in URLs arrive unchanged.
        odd = ["O'Neill", "''", "a&b=c", "1+1", "100%", "%41", "a/b", "#1", "?x", "Größe", "数量", "📏", "a;b", "a,b", "(x)", "@p1", "a b", " ", "\\", '"', "$x", "<b>", "a\tb", "null", "x" * 500]
        for text in odd:
            site.reset()
            assert rows(f"SELECT * FROM {inquiry} WHERE warehouse = %s", [text]) == []
            (asked,) = [r for r in site.requests("WithParameters") if r["status"] == 200]
            got = urllib.parse.parse_qs(asked["raw_query"])
            # OData v4 has a literal in quotes, v3 the text itself.
            got, given = (got["@p1"], "'" + text.replace("'", "''") + "'") if release == "2024R2" else (got["Warehouse"], text)
            assert got == [given], (text, got)
        if release == "2024R2":
            assert rows(f"SELECT * FROM {inquiry} WHERE warehouse = ''") == []
        else:
            refused(f"SELECT * FROM {inquiry} WHERE warehouse = ''", "cannot be given an empty text")
        # The same in pages.
        db.execute(f"ALTER FOREIGN TABLE {inquiry} OPTIONS (ADD page_size '300')")
        same(f"SELECT {listed} FROM {inquiry} WHERE completed", "SELECT * FROM truth WHERE c6")
        # Conditions on a parameter other than `=` return the right rows or an error, never fewer rows.
        for condition, local in (("completed IS TRUE", "c6"), ("completed IS NOT TRUE", "NOT c6"), ("completed IS FALSE", "NOT c6"), ("line > 2", "c2 > 2"), ("line <> 1", "c2 <> 1"), ("warehouse LIKE 'M%'", "c3 LIKE 'M%'"),
                                 ("line = 1 OR line = 2", "c2 IN (1, 2)"), ("line + 1 = 3", "c2 = 2"), ("line = 2::numeric", "c2 = 2"), ("lower(warehouse) = 'main'", "rtrim(c3) = 'MAIN'"), ("completed AND line BETWEEN 2 AND 3", "c6 AND c2 BETWEEN 2 AND 3"),
                                 ("completed = (line = 1)", "c6 = (c2 = 1)"), ("line = 2.0", "c2 = 2"), ("line IS NOT DISTINCT FROM 2", "c2 = 2")):
            try:
                same(f"SELECT {listed} FROM {inquiry} WHERE {condition}", f"SELECT * FROM truth WHERE {local}")
            except AssertionError as error:
                raise AssertionError(f"{condition}: {str(error)[:300]}") from error
            except psycopg.Error as error:
                assert error.sqlstate in ("HV002", "0A000"), error
        # In a join, and the other inquiry.
        form_truth()
        same(f"SELECT w, qty_on_hand FROM unnest(ARRAY['{SITES[0]}', '{SITES[1]}', NULL]) w JOIN g.inventory_by_warehouse ON warehouse = w AND location = 'R1S2'",
             f"SELECT c2, c4 FROM truth WHERE c2 IN ('{SITES[0]}', '{SITES[1]}') AND c3 = 'R1S2'")
        same(f"SELECT qty_on_hand FROM g.inventory_by_warehouse WHERE warehouse = '{SITES[0]}' AND location = 'R1S2' AND qty_on_hand > 200 AND inventory_id > 'B'", f"SELECT c4 FROM truth WHERE c2 = '{SITES[0]}' AND c3 = 'R1S2' AND c4 > 200 AND c0 > 'B'")
        same(f"SELECT result_warehouse, qty_on_hand FROM g.inventory_by_warehouse WHERE warehouse = '{SITES[0]}' AND location = 'R1S2' AND rtrim(result_warehouse) = '{SITES[0]}'", f"SELECT rpad(c2, 10), c4 FROM truth WHERE c2 = '{SITES[0]}' AND c3 = 'R1S2'")
        with raises("HV002", '"Warehouse"'):
            rows("SELECT * FROM g.inventory_by_warehouse WHERE location = 'R1S1'")
        with raises("HV002", '"Warehouse"'):
            rows("SELECT * FROM g.inventory_by_warehouse")
        db.execute("DROP SERVER gi CASCADE")
        if site is not sim:
            site.stop()

    an_inquiry_with_parameters_of_every_type.__name__ += f"_{release}"
    test(an_inquiry_with_parameters_of_every_type)


@test
def an_inquiry_without_rights_or_definition():
    load("OData", 'LIMIT TO ("HR-Salaries")', into="rights", check_rights="false")
    with raises("42501", "HR-Salaries"):
        rows("SELECT * FROM rights.hr_salaries")
    # The inquiry is not in $metadata, but a table written by hand can read it.
    db.execute("""CREATE FOREIGN TABLE drafts (id text OPTIONS (field 'OpportunityID', key '1'), amount numeric OPTIONS (field 'Amount'))
        SERVER erp OPTIONS (schema 'OData', inquiry 'CR-Opportunity Drafts')""")
    truth("gi/CR-Opportunity Drafts", ["OpportunityID", "Amount"], ["text", "numeric"])
    same("SELECT * FROM drafts")


@test
def umlauts_in_the_names_of_inquiries_and_fields():
    load("OData", 'LIMIT TO ("Größe & Gewicht")', into="u")
    truth("gi/Größe & Gewicht", ["InventoryID", "Größe", "Gewicht", "_1Preis"], ["text", "numeric", "numeric", "numeric"])
    same('SELECT inventory_id, größe, gewicht, _1_preis FROM u."größe_gewicht"', "SELECT rtrim(c0), c1, c2, c3 FROM truth")


@test
def equal_values_of_a_parameter_are_one_value():
    load("OData", 'LIMIT TO ("Order Lines & Totals")', into="equal")
    db.execute("""CREATE FOREIGN TABLE equal.lines (q numeric OPTIONS (field 'Quantity', parameter 'required'), amount numeric OPTIONS (field 'Amount'))
        SERVER erp OPTIONS (schema 'OData', inquiry 'Order Lines & Totals')""")
    quantity = value("SELECT order_qty FROM s.sales_order_details WHERE order_qty > 0 LIMIT 1")
    one = value(f"SELECT count(*) FROM equal.lines WHERE q = {quantity}")
    assert one > 0
    for where in (f"q = ANY (ARRAY[{quantity}, {quantity}0])", f"q = {quantity} AND q = ANY (ARRAY[{quantity}00, 1])"):
        assert value(f"SELECT count(*) FROM equal.lines WHERE {where}") == one, where
    with raises("HV002", "Location"):
        load("OData", 'LIMIT TO ("Inventory by Warehouse")', into="equal")
        rows("SELECT * FROM (VALUES ('MAIN'), ('RETAIL')) x (w) LEFT JOIN equal.inventory_by_warehouse i ON i.warehouse = x.w")


end()
