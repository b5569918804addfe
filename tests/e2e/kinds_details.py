#!/usr/bin/env python3
"""Entities and their details against the data set, and records that a server may send in any shape."""

import http.cookiejar
import json
import os
import random
import re
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from data_set import DEFINITIONS, SCALE, db, end, load, quoted, requests, rows, same, sim, test, truth, value
from harness import PASSWORD, Sim, create_server, raises
from scripted import create_scripted, line, record


@test
def every_entity_and_detail_has_all_its_rows():
    listed = subprocess.run([os.environ["SIM_BIN"], "list", *SCALE], check=True, capture_output=True, text=True).stdout
    names = dict(rows("SELECT (option_value) || coalesce('/' || d, ''), t FROM (SELECT foreign_table_name t, o.option_value,"
                      " (SELECT option_value FROM information_schema.foreign_table_options d WHERE d.foreign_table_name = o.foreign_table_name"
                      " AND d.foreign_table_schema = 's' AND d.option_name = 'detail') d"
                      " FROM information_schema.foreign_table_options o WHERE foreign_table_schema = 's' AND option_name = 'entity') x"))
    seen = 0
    for line in listed.splitlines():
        name, count, _ = line.split("\t")
        if name.startswith("rest/"):
            seen += 1
            if name == "rest/Payment/ApplicationHistory":  # its fields no list can have
                continue
            got = value(f"SELECT count(*) FROM s.{quoted(names[name.removeprefix('rest/')])}")
            assert got == int(count), (name, got, count)
    assert seen == len(names) > 40


@test
def details_are_those_of_the_data_set():
    fields = ["Parent/OrderType", "Parent/OrderNbr", "LineNbr", "InventoryID", "OrderQty", "UnitPrice", "Amount", "Completed",
              "RequestedOn", "NoteID", "Operation", "LineDescription", "LastModifiedDate"]
    types = ["text"] * 2 + ["int", "text", "numeric", "numeric", "numeric", "boolean", "date", "uuid", "text", "text", "text"]
    truth("rest/SalesOrder/Details", fields, types)
    columns = ("order_type, order_nbr, line_nbr, inventory_id, order_qty, unit_price, amount, completed, requested_on, note_id,"
               " operation, line_description, last_modified_date")
    for page_size in (7, 100, 10000):
        db.execute(f"ALTER FOREIGN TABLE s.sales_order_details OPTIONS ({'ADD' if page_size == 7 else 'SET'} page_size '{page_size}')")
        sim.reset()
        same(f"SELECT {columns} FROM s.sales_order_details")
        assert len(requests("SalesOrder")) >= 2000 / page_size
    # Decimals keep their scale.
    assert rows("SELECT DISTINCT scale(order_qty), scale(amount) FROM s.sales_order_details") == [(6, 4)]
    db.execute("ALTER FOREIGN TABLE s.sales_order_details OPTIONS (DROP page_size)")
    # Places within the record, from 1 without a gap.
    assert value("SELECT count(*) FROM (SELECT array_agg(row_number ORDER BY row_number) a, count(*) n FROM s.sales_order_details"
                 " GROUP BY order_type, order_nbr) x WHERE a <> (SELECT array_agg(g) FROM generate_series(1, n) g)") == 0


@test
def a_detail_joined_with_its_entity():
    assert rows("SELECT count(*), count(q) FROM s.sales_order o LEFT JOIN (SELECT order_type, order_nbr, sum(order_qty) q"
                " FROM s.sales_order_details GROUP BY 1, 2) d USING (order_type, order_nbr) WHERE o.ordered_qty IS DISTINCT FROM coalesce(q, 0)") == [(0, 0)]
    orders, without = rows("SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM s.sales_order_details d"
                           " WHERE (d.order_type, d.order_nbr) = (o.order_type, o.order_nbr))) FROM s.sales_order o")[0]
    assert (orders, without) == (2000, 250)
    whole = value("SELECT count(*) FROM s.sales_order_details")
    for off in ("hashjoin", "mergejoin, hashjoin", "nestloop"):
        with db.transaction():
            for method in off.split(", "):
                db.execute(f"SET LOCAL enable_{method} = off")
            db.execute("SET LOCAL enable_material = off; SET LOCAL enable_memoize = off")
            got = value("SELECT count(*) FROM (SELECT * FROM s.sales_order LIMIT 40) o JOIN s.sales_order_details d USING (order_type, order_nbr)")
            assert 0 < got == value("SELECT count(*) FROM s.sales_order_details WHERE (order_type, order_nbr) IN (SELECT order_type, order_nbr FROM s.sales_order LIMIT 40)"), (off, got)
    # The same table twice in one query, and three scans that LIMIT ends early.
    assert value("SELECT count(*) FROM s.sales_order_details a JOIN s.sales_order_details b USING (order_type, order_nbr, line_nbr)") == whole
    assert rows(f"SELECT (SELECT count(*) FROM (SELECT FROM s.sales_order_details WHERE order_qty > g LIMIT 400) x) FROM generate_series(1, 3) g") == [(400,)] * 3


@test
def every_detail_joined_with_its_entity_is_what_two_scans_give():
    """Of all entities that name a key, with random conditions on both sides."""
    chosen = random.Random(20261128)
    tables = {name: dict(map(tuple, options)) for name, options in rows(
        "SELECT c.relname, (SELECT jsonb_agg(jsonb_build_array(option_name, option_value)) FROM pg_options_to_table(t.ftoptions))"
        " FROM pg_foreign_table t JOIN pg_class c ON c.oid = ftrelid WHERE relnamespace = 's'::regnamespace ORDER BY 1")}

    def columns(name):
        """Name, type, position in the key and field of the columns that have a simple type."""
        option = "(SELECT option_value FROM pg_options_to_table(attfdwoptions) WHERE option_name = '{}')"
        return rows(f"SELECT attname, format_type(atttypid, NULL), {option.format('key')}, coalesce({option.format('field')}, '')"
                    f" FROM pg_attribute WHERE attrelid = 's.{quoted(name)}'::regclass AND attnum > 0 AND atttypid <> 'jsonb'::regtype"
                    " ORDER BY attnum")

    def condition(name, alias):
        """A condition on a column that some rows of the table meet."""
        column, ty, *_ = chosen.choice([column for column in columns(name) if column[1] not in ("uuid", "bytea")])
        value = rows(f"SELECT quote_literal({quoted(column)}) FROM s.{quoted(name)} WHERE {quoted(column)} IS NOT NULL LIMIT 50")
        if not value:
            return f"{alias}.{quoted(column)} IS NULL"
        operator = chosen.choice(["=", "<>"] if ty in ("text", "boolean") else ["=", "<=", ">", "<>"])
        return f"{alias}.{quoted(column)} {operator} {chosen.choice(value)[0]}"

    joined = found = 0
    for detail, options in tables.items():
        entity = next((name for name, other in tables.items() if other.get("entity") == options.get("entity") and "detail" not in other), None)
        if "entity" not in options or "detail" not in options or options["detail"] == "ApplicationHistory" or entity is None:
            continue
        of_entity = columns(entity)
        key = ", ".join(quoted(name) for name, _, position, _ in of_entity if position)
        fields = [f"e.{quoted(name)}" for name, _, _, field in of_entity if not re.search("/|^(id|note|files|custom)", field)]
        fields += [f"d.{quoted(name)}" for name, *_ in columns(detail)]
        if not key or not rows(f"SELECT FROM s.{quoted(detail)} LIMIT 1"):
            continue
        for count in (0, 1, 1, 2, 3):
            where = " AND ".join(["true"] + [condition(*chosen.choice([(entity, "e"), (detail, "d")])) for _ in range(count)])
            query = f"SELECT {', '.join(fields)} FROM s.{quoted(entity)} e JOIN s.{quoted(detail)} d USING ({key}) WHERE {where}"
            joined += "joined with" in str(rows(f"EXPLAIN (VERBOSE) {query}"))
            with db.transaction():
                db.execute("SET LOCAL acumatica_fdw.enable_detail_join = off")
                wanted = sorted(map(repr, rows(query)))
            assert sorted(map(repr, rows(query))) == wanted, query
            found += bool(wanted)
    assert joined > 20 and found > 10, (joined, found)


@test
def limits_and_cursors_within_a_record():
    sim.reset()
    assert len(rows("SELECT * FROM s.sales_order_details LIMIT 2")) == 2
    with db.transaction():
        db.execute("DECLARE c SCROLL CURSOR FOR SELECT order_type, order_nbr, row_number FROM s.sales_order_details")
        first = rows("FETCH 4 FROM c")
        more = rows("FETCH 700 FROM c")
        assert len(set(first + more)) == 704
        db.execute("MOVE ABSOLUTE 0 IN c")
        assert rows("FETCH 4 FROM c") == first


@test
def conditions_on_parent_and_detail():
    truth("rest/SalesOrder/Details", ["Parent/OrderType", "Parent/OrderNbr", "LineNbr", "InventoryID", "OrderQty"], ["text", "text", "int", "text", "numeric"])
    for where, local in (("order_type = 'QT'", "c0 = 'QT'"), ("order_nbr = '000010'", "c1 = '000010'"), ("order_type = 'SO' AND order_nbr > '001000'", "c0 = 'SO' AND c1 > '001000'"),
                         ("order_qty > 30", "c4 > 30"), ("order_type = 'IN' AND order_qty < 1", "c0 = 'IN' AND c4 < 1"), ("inventory_id LIKE 'CABLE/%'", "c3 LIKE 'CABLE/%'"),
                         ("order_type <> 'SO' OR line_nbr = 3", "c0 <> 'SO' OR c2 = 3"), ("inventory_id IS NULL", "c3 IS NULL"), ("order_type IN ('QT', 'RM') AND line_nbr IN (1, 2)", "c0 IN ('QT', 'RM') AND c2 IN (1, 2)"),
                         ("lower(order_type) = 'cm'", "lower(c0) = 'cm'"), ("false", "false")):
        same(f"SELECT order_type, order_nbr, line_nbr, inventory_id, order_qty FROM s.sales_order_details WHERE {where}", f"SELECT * FROM truth WHERE {local}", some=False)
    assert value("SELECT count(*) FROM s.sales_order_details WHERE order_type = 'QT'") > 0


@test
def rows_that_move_while_details_are_read():
    """Records come and go before the page: no detail of one that stays is lost, none is there twice."""
    db.execute("ALTER FOREIGN TABLE s.sales_order_details OPTIONS (ADD page_size '100')")
    before = rows("SELECT order_type, order_nbr, line_nbr FROM s.sales_order_details")
    for change in ("insert_before", "delete"):
        sim.reset()
        with db.transaction():
            db.execute("DECLARE c NO SCROLL CURSOR FOR SELECT order_type, order_nbr, line_nbr FROM s.sales_order_details")
            got = rows("FETCH 150 FROM c")
            for n in range(5):
                sim.control("POST", "rows", {"table": "SalesOrder", change: 3 + n})
            got += rows("FETCH ALL FROM c")
        assert len(got) == len(set(got)), change
        assert set(before) <= set(got), (change, len(set(before) - set(got)))
    sim.reset()
    db.execute("ALTER FOREIGN TABLE s.sales_order_details OPTIONS (DROP page_size)")


@test
def rescans_for_other_values_do_not_ask_for_each():
    query = "SELECT v, (SELECT count(*) FROM {} WHERE order_nbr = v{}) FROM (SELECT DISTINCT order_nbr v FROM lines ORDER BY 1 LIMIT 20) x ORDER BY 1"
    db.execute("DROP TABLE IF EXISTS lines; CREATE TEMP TABLE lines AS SELECT order_nbr, line_description, files FROM s.sales_order_details")
    wanted = rows(query.format("lines", ""))
    db.execute("ALTER FOREIGN TABLE s.sales_order_details OPTIONS (ADD rows '6000')")
    sim.reset()
    assert rows(query.format("s.sales_order_details", "")) == wanted
    # The first outer rows are looked up by value; then all rows are read in pages, for the other outer rows.
    assert len(requests("SalesOrder")) <= 8 + 4 * 2, len(requests("SalesOrder"))
    # If all rows do not fit into memory, the outer rows are looked up by value again.
    sim.reset()
    assert rows(query.format("s.sales_order_details d", " AND d::text <> ''")) == wanted
    asked = requests("SalesOrder")
    assert len([r for r in asked if "$filter" not in r["query"] and "%24filter" not in r["query"]]) <= 8, len(asked)
    assert 20 <= len(asked) <= 60, len(asked)
    db.execute("ALTER FOREIGN TABLE s.sales_order_details OPTIONS (DROP rows)")


# -- records as a server may send them ---------------------------------------------------------------------------------

scripted = create_scripted(db)


@test
def records_without_details_give_no_row():
    records = [record(1, Details=None), record(2), record(3, Details=[]), record(4, Details=[line(1), line(2)]), record(5, Details=None), record(6, Details=[line(1)])]
    db.execute("""CREATE FOREIGN TABLE few (nbr text OPTIONS (field 'Nbr', key '1'), place int OPTIONS (field 'Details/rowNumber'), qty numeric OPTIONS (field 'Details/Qty'))
        SERVER scripted OPTIONS (entity 'Order', detail 'Details')""")

    def serve(method, path, query, body):
        return records[int(query.get("$skip", 0)) :][: int(query.get("$top", 100))]

    scripted.answer = serve
    assert rows("SELECT * FROM few") == [("4", 1, 1.5), ("4", 2, 3.0), ("6", 1, 1.5)]
    assert value("SELECT count(*) FROM few") == 3
    db.execute("ALTER FOREIGN TABLE few OPTIONS (ADD page_size '1')")
    assert rows("SELECT * FROM few") == [("4", 1, 1.5), ("4", 2, 3.0), ("6", 1, 1.5)]
    records[:] = [record(n, **members) for n, members in enumerate(({}, {"Details": None}, {"Details": []}) * 20)]
    assert rows("SELECT * FROM few") == []
    records.clear()
    assert rows("SELECT * FROM few") == []
    # A detail that is not a list is an error, not an empty detail.
    for no_list in ("x", 1, [1], [[]]):
        records[:] = [record(1, Details=no_list)]
        with raises("08P01"):
            rows("SELECT * FROM few")
    # Details within details, with members missing in the same ways.
    records[:] = [record(1), record(2, Details=[line(1), line(2, Parts=None), line(3, Parts=[]), line(4, Parts=[line(1), line(2)])]), record(3, Details=None),
                  record(4, Details=[line(1, Parts=[line(7)])])]
    db.execute("""CREATE FOREIGN TABLE parts (nbr text OPTIONS (field 'Nbr', key '1'), outer_place int OPTIONS (field 'Details/rowNumber'), outer_qty numeric OPTIONS (field 'Details/Qty'),
        place int OPTIONS (field 'Details/Parts/rowNumber'), qty numeric OPTIONS (field 'Details/Parts/Qty')) SERVER scripted OPTIONS (entity 'Order', detail 'Details/Parts')""")
    assert rows("SELECT * FROM parts") == [("2", 4, 6, 1, 1.5), ("2", 4, 6, 2, 3), ("4", 1, 1.5, 7, 10.5)]


@test
def white_space_means_nothing():
    scripted.answer = lambda method, path, query, body: [] if int(query.get("$skip", 0)) else [record(1, Details=[line(1), line(2, Parts=[line(3)])])]
    try:
        for scripted.style in ({"separators": (",", ":")}, {"separators": (", ", ": ")}, {"indent": 2}, {"indent": "\t"}):
            assert rows("SELECT * FROM few") == [("1", 1, 1.5), ("1", 2, 3)]
            assert rows("SELECT * FROM parts") == [("1", 2, 3, 3, 4.5)]
    finally:
        scripted.style = {"separators": (",", ":")}


@test
def a_server_that_leaves_the_detail_out_altogether():
    """A server that ignores $expand sends no record with the detail: the scan must go on asking for it."""
    asked = []

    def serve(method, path, query, body):
        asked.append(query)
        return [record(n) for n in range(20)][int(query.get("$skip", 0)) :][: int(query["$top"])]

    scripted.answer = serve
    assert rows("SELECT * FROM few") == []
    assert all("Details" in query["$expand"] and "Details" in query["$select"] for query in asked), asked


# -- details of details ------------------------------------------------------------------------------------------------

nested = Sim("--seats", 0, "--scale", 0.01, "--definition", DEFINITIONS / "contract5.json")
create_server(db, nested, "nested")
load("REST", server="nested", into="n", endpoint_version="26.300.001")


def raw(path, simulator=nested):
    """The answer of the server, read without the extension."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    body = json.dumps({"name": "admin", "password": PASSWORD}).encode()
    opener.open(urllib.request.Request(f"{simulator.url}/entity/auth/login", body, {"Content-Type": "application/json"}))
    with opener.open(f"{simulator.url}/entity/Default/{path}") as answer:
        found = json.load(answer)
    opener.open(urllib.request.Request(f"{simulator.url}/entity/auth/logout", b"", method="POST"))
    return found


@test
def details_of_details():
    orders = raw("26.300.001/SalesOrder?$expand=Details($expand=Allocations($expand=Serials))")
    of = lambda record, name: record.get(name) or []
    text = lambda record, name: record[name].get("value")
    lines = [(o, l) for o in orders for l in of(o, "Details")]
    allocations = [(o, l, a) for o, l in lines for a in of(l, "Allocations")]
    serials = [(o, l, a, s) for o, l, a in allocations for s in of(a, "Serials")]
    assert len(lines) > 10 and len(allocations) > 10 and len(serials) > 10
    key = lambda o: (text(o, "OrderType"), text(o, "OrderNbr"))
    assert rows("SELECT order_type, order_nbr, row_number, inventory_id FROM n.sales_order_details") == \
        [(*key(o), l["rowNumber"], text(l, "InventoryID")) for o, l in lines]
    assert rows("SELECT order_type, order_nbr, details_row_number, row_number, location_id FROM n.sales_order_details_allocations") == \
        [(*key(o), l["rowNumber"], a["rowNumber"], text(a, "LocationID")) for o, l, a in allocations]
    assert rows("SELECT order_nbr, details_row_number, details_allocations_row_number, row_number, serial_nbr FROM n.sales_order_details_allocations_serials") == \
        [(text(o, "OrderNbr"), l["rowNumber"], a["rowNumber"], s["rowNumber"], text(s, "SerialNbr")) for o, l, a, s in serials]


end(nested)
