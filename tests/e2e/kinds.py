#!/usr/bin/env python3
"""Every kind of table against the data set: details, inquiry forms, inquiries with parameters, drop-downs of contract 5,
what headers change, whole rows, tables written by hand, attachments, and what the functions tell."""

import csv
import http.cookiejar
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import harness
from harness import PASSWORD, Sim, connect, create_server, finish, psycopg, raises

DEFINITIONS = pathlib.Path(__file__).resolve().parents[1] / "definitions"
SCALE = ("--scale", "0.1")
sim = Sim("--seats", 0, *SCALE)
db = connect(options="-c statement_timeout=60s")
create_server(db, sim)


def test(function):
    """As the harness does, and what it has set ends with it."""
    harness.test(function)
    db.execute("RESET ALL; DEALLOCATE ALL; SET statement_timeout = '60s'; SET client_min_messages = warning")
    sim.reset()


def load(remote, only="", server="erp", into="s", **options):
    listed = ", ".join(f"{name} '{text}'" for name, text in options.items())
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {into}")
    db.execute(f'IMPORT FOREIGN SCHEMA "{remote}" {only} FROM SERVER {server} INTO {into} OPTIONS ({listed})'.replace("OPTIONS ()", ""))


def rows(query, *parameters):
    return db.execute(query, *parameters).fetchall()


def value(query, *parameters):
    return db.execute(query, *parameters).fetchone()[0]


def truth(name, fields, types, *arguments, simulator=sim):
    """A local table `truth` with the rows of the data set."""
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(types))
    db.execute(f"DROP TABLE IF EXISTS truth; CREATE TEMP TABLE truth ({columns})")
    with db.cursor().copy("COPY truth FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
        copy.write(simulator.dump(name, fields, *SCALE, *arguments))


def same(query, wanted="TABLE truth", some=True):
    """Both queries give the same rows, to the last one and the last digit."""
    db.execute(f"DROP TABLE IF EXISTS got; CREATE TEMP TABLE got AS {query}")
    difference = rows(f"(TABLE got EXCEPT ALL ({wanted})) LIMIT 3"), rows(f"(({wanted}) EXCEPT ALL TABLE got) LIMIT 3")
    assert difference == ([], []), difference
    assert not some or value("SELECT count(*) FROM got") > 0, "no rows at all"


def requests(part=""):
    return [r for r in sim.requests(part) if r["status"] == 200]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


# -- entities and details ---------------------------------------------------------------------------------------------

load("REST")


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
    # The scale of decimals, and no id that lives for the session only.
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
    # Twice in one query, and once more after a part.
    assert value("SELECT count(*) FROM s.sales_order_details a JOIN s.sales_order_details b USING (order_type, order_nbr, line_nbr)") == whole
    assert rows(f"SELECT (SELECT count(*) FROM (SELECT FROM s.sales_order_details WHERE order_qty > g LIMIT 400) x) FROM generate_series(1, 3) g") == [(400,)] * 3


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


class Script(http.server.ThreadingHTTPServer):
    """A contract endpoint that answers what `answer(method, path, query, body)` returns as JSON."""

    daemon_threads = True

    def __init__(self, answer):
        self.answer = answer
        self.style = {"separators": (",", ":")}
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if "/auth/" in url.path:
            status, found = 204, b""
        else:
            status, found = 200, self.server.answer(self.command, url.path, query, body)
            if not isinstance(found, bytes):
                found = json.dumps(found, **self.server.style).encode()
        self.send_response(status)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_PUT = do_POST = handle_any


scripted = Script(None)
db.execute(f"""
    CREATE SERVER scripted FOREIGN DATA WRAPPER acumatica_fdw
        OPTIONS (url 'http://127.0.0.1:{scripted.server_port}', company 'C', endpoint_version '24.200.001', operation_timeout '5');
    CREATE USER MAPPING FOR PUBLIC SERVER scripted OPTIONS (username 'u', password 'a-word-for-scripts')""")


def record(number, **members):
    return {"id": f"00000000-0000-0000-0000-{number:012}", "rowNumber": number, "note": None, "Nbr": {"value": str(number)}, "custom": {}, **members}


def line(number, **members):
    return {"id": f"10000000-0000-0000-0000-{number:012}", "rowNumber": number, "Qty": {"value": number * 1.5}, "custom": {}, **members}


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
    # What is no list is no detail, rather than none.
    for no_list in ("x", 1, [1], [[]]):
        records[:] = [record(1, Details=no_list)]
        with raises("08P01"):
            rows("SELECT * FROM few")
    # Details within details, with the same holes.
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
    """Without $expand understood, no record has the detail: that must not look like orders without lines for ever."""
    asked = []

    def serve(method, path, query, body):
        asked.append(query)
        return [record(n) for n in range(20)][int(query.get("$skip", 0)) :][: int(query["$top"])]

    scripted.answer = serve
    assert rows("SELECT * FROM few") == []
    assert all("Details" in query["$expand"] and "Details" in query["$select"] for query in asked), asked


nested = Sim("--seats", 0, "--scale", 0.01, "--definition", DEFINITIONS / "contract5.json")
create_server(db, nested, "nested")
load("REST", server="nested", into="n", endpoint_version="26.300.001")


def raw(path, simulator=nested):
    """What the server answers to someone else."""
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


# -- inquiry forms ----------------------------------------------------------------------------------------------------

FORM = "s.inventory_summary_inquiry"


def form_truth():
    truth("gi/Inventory by Warehouse", ["InventoryID", "LineNbr", "Warehouse", "Location", "QtyOnHand", "QtyAvailable"], ["text", "int", "text", "text", "numeric", "numeric"])
    db.execute("UPDATE truth SET c2 = rtrim(c2)")


COLUMNS = "inventory_id, row_number, results_warehouse_id, results_location_id, qty_on_hand, qty_available"
form_truth()
ITEMS = [item for (item,) in rows("SELECT DISTINCT c0 FROM truth ORDER BY 1")]
SITES = [site for (site,) in rows("SELECT c2 FROM truth WHERE c0 = ANY (%s) GROUP BY 1 ORDER BY count(*) DESC, 1", [ITEMS[:3]])]
CALLS = "InventorySummaryInquiry"


def numbered(where):
    """The rows of the data set as calls with these conditions show them: numbered anew in each answer."""
    return f"SELECT c0, row_number() OVER (PARTITION BY c0 ORDER BY c1), c2, c3, c4, c5 FROM truth WHERE {where}"


@test
def a_form_with_constants():
    sim.reset()
    same(f"SELECT {COLUMNS} FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'", numbered(f"c0 = '{ITEMS[0]}'"))
    assert [(r["method"], r["status"]) for r in sim.requests(CALLS)] == [("PUT", 200)]
    # Either way round, as varchar, in lower case and with spaces: the column shows what was given.
    assert value(f"SELECT count(*) FROM {FORM} WHERE '{ITEMS[0]}' = inventory_id") == value("SELECT count(*) FROM truth WHERE c0 = %s", [ITEMS[0]])
    assert value(f"SELECT count(*) FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'::varchar") > 0
    given = ITEMS[0].lower() + "  "
    assert rows(f"SELECT DISTINCT inventory_id FROM {FORM} WHERE inventory_id = %s", [given]) == [(given,)]
    # Two parameters.
    both = rows("SELECT c0, c2 FROM truth LIMIT 1")[0]
    same(f"SELECT inventory_id, qty_on_hand FROM {FORM} WHERE inventory_id = '{both[0]}' AND warehouse_id = '{both[1]}'",
         f"SELECT c0, c4 FROM truth WHERE c0 = '{both[0]}' AND c2 = '{both[1]}'")
    # Conditions on the results are for us.
    same(f"SELECT inventory_id, qty_on_hand FROM {FORM} WHERE inventory_id = '{ITEMS[1]}' AND qty_on_hand > 100", f"SELECT c0, c4 FROM truth WHERE c0 = '{ITEMS[1]}' AND c4 > 100", some=False)
    assert rows(f"SELECT * FROM {FORM} WHERE inventory_id = 'NO SUCH ITEM'") == []
    # A parameter that is not in the output, and one that nothing was said of.
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
    # What contradicts itself asks for nothing; what says it twice asks once.
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
    """For want of a value, or since the condition does not tell one; either names the parameter."""
    try:
        raise AssertionError(f"{query}: {len(rows(query))} rows")
    except psycopg.Error as error:
        assert error.sqlstate in ("HV002", "0A000") and parameter in str(error).lower(), error


@test
def without_the_parameter_that_it_needs():
    """Zero rows would be a lie."""
    for where in ("", "WHERE qty_on_hand > 0", "WHERE inventory_id > 'A'", "WHERE inventory_id LIKE 'A%'", "WHERE inventory_id IS NULL", "WHERE upper(inventory_id) = 'X'",
                  f"WHERE inventory_id = '{ITEMS[0]}' OR warehouse_id = 'MAIN'", "WHERE warehouse_id = 'MAIN'", "WHERE inventory_id <> ALL (ARRAY['A'])", "WHERE inventory_id IS DISTINCT FROM 'A'"):
        refused(f"SELECT * FROM {FORM} {where}", "inventory")
    with raises("HV002", '"Ledger"'):
        rows("SELECT * FROM s.account_summary_inquiry")
    assert len(rows("SELECT * FROM s.account_summary_inquiry WHERE ledger = 'ACTUAL'")) > 10
    # What is given may be looked at in any way.
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


@test
def a_form_that_does_not_take_its_parameter():
    db.execute("""CREATE FOREIGN TABLE form (item text OPTIONS (parameter 'required', field 'Item'), day date OPTIONS (parameter 'optional', field 'Day'), n int OPTIONS (parameter 'optional', field 'N'),
        q numeric OPTIONS (parameter 'optional', field 'Q'), yes boolean OPTIONS (parameter 'optional', field 'Yes'), uid uuid OPTIONS (parameter 'optional', field 'Uid'), at timestamptz OPTIONS (parameter 'optional', field 'At'),
        qty numeric OPTIONS (field 'Results/Qty')) SERVER scripted OPTIONS (inquiry 'Form')""")
    echo, bodies = {}, []

    def serve(method, path, query, body):
        bodies.append(json.loads(body))
        if not echo:
            # As it came, to the last digit.
            return body[:-1] + b',"Results":[{"Qty":{"value":1.5}}]}'
        return {**bodies[-1], **echo, "Results": [line(1)]}

    scripted.answer = serve
    assert rows("SELECT item, qty FROM form WHERE item = 'a'") == [("a", 1.5)]
    # As JSON has them, to the last digit.
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
    # Written otherwise, it is the same value.
    for given, shown in (("item = 'a'", {"Item": {"value": "A  "}}), ("item = 'a' AND q = 1.50", {"Q": {"value": 1.5}}), ("item = 'a' AND q = 2", {"Q": {"value": 2.0}}),
                         ("item = 'a' AND day = '2024-02-29'", {"Day": {"value": "2024-02-29"}}), ("item = 'a' AND at = '2024-02-29 12:00+00'", {"At": {"value": "2024-02-29T12:00:00+00:00"}})):
        scripted.answer = lambda method, path, query, body: {"id": "x", **json.loads(body), **shown, "Results": [line(1)]}
        assert rows(f"SELECT qty FROM form WHERE {given}") == [(1.5,)], given
    for bad in ("q = 'NaN'", "day = 'infinity'", "at = '-infinity'", "day = '10000-01-01'"):
        with raises("22023", "cannot be given"):
            rows(f"SELECT qty FROM form WHERE item = 'a' AND {bad}")
    # A list of results that is not there is no list of none.
    for results in ({"Results": None}, {}):
        scripted.answer = lambda method, path, query, body: {"id": "x", **json.loads(body), **results}
        assert rows("SELECT qty FROM form WHERE item = 'a'") == []


# -- generic inquiries with parameters --------------------------------------------------------------------------------

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
        # The bare set, which is empty without a word, is never read.
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
        # Each alone, as optional ones.
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
        # What is given is shown; what was not given is NULL.
        assert rows(f"SELECT DISTINCT warehouse, completed, line FROM {inquiry} WHERE warehouse = 'Main' AND completed") == [("Main", True, None)]
        # Text with all that means something in an address arrives as it is.
        odd = ["O'Neill", "''", "a&b=c", "1+1", "100%", "%41", "a/b", "#1", "?x", "Größe", "数量", "📏", "a;b", "a,b", "(x)", "@p1", "a b", " ", "\\", '"', "$x", "<b>", "a\tb", "null", "x" * 500]
        for text in odd:
            site.reset()
            assert rows(f"SELECT * FROM {inquiry} WHERE warehouse = %s", [text]) == []
            (asked,) = [r for r in site.requests("WithParameters") if r["status"] == 200]
            got = urllib.parse.parse_qs(asked["raw_query"])
            # A literal in v4, the text as it is in v3.
            got, given = (got["@p1"], "'" + text.replace("'", "''") + "'") if release == "2024R2" else (got["Warehouse"], text)
            assert got == [given], (text, got)
        if release == "2024R2":
            assert rows(f"SELECT * FROM {inquiry} WHERE warehouse = ''") == []
        else:
            refused(f"SELECT * FROM {inquiry} WHERE warehouse = ''", "cannot be given an empty text")
        # Pages.
        db.execute(f"ALTER FOREIGN TABLE {inquiry} OPTIONS (ADD page_size '300')")
        same(f"SELECT {listed} FROM {inquiry} WHERE completed", "SELECT * FROM truth WHERE c6")
        # What a parameter is not asked to be by `=` is answered rightly, or refused: never with fewer rows.
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
    # It is in no $metadata, and can be read all the same by who knows its fields.
    db.execute("""CREATE FOREIGN TABLE drafts (id text OPTIONS (field 'OpportunityID', key '1'), amount numeric OPTIONS (field 'Amount'))
        SERVER erp OPTIONS (schema 'OData', inquiry 'CR-Opportunity Drafts')""")
    truth("gi/CR-Opportunity Drafts", ["OpportunityID", "Amount"], ["text", "numeric"])
    same("SELECT * FROM drafts")


@test
def umlauts_in_the_names_of_inquiries_and_fields():
    load("OData", 'LIMIT TO ("Größe & Gewicht")', into="u")
    truth("gi/Größe & Gewicht", ["InventoryID", "Größe", "Gewicht", "_1Preis"], ["text", "numeric", "numeric", "numeric"])
    same('SELECT inventory_id, größe, gewicht, _1_preis FROM u."größe_gewicht"', "SELECT rtrim(c0), c1, c2, c3 FROM truth")


# -- contract 5 -------------------------------------------------------------------------------------------------------


@test
def codes_and_labels_of_contract_5():
    new = Sim("--seats", 0, "--release", "2026R2", *SCALE)
    create_server(db, new, "new")
    load("REST", "LIMIT TO (sales_order, sales_order_details, customer)", server="new", into="five", custom_fields="true")
    truth("rest/SalesOrder", ["OrderType", "OrderNbr", "Status", "Status/id", "Date", "OrderTotal"], ["text", "text", "text", "text", "date", "numeric"], "--release", "2026R2", simulator=new)
    columns = "order_type, order_nbr, status, status_id, date, order_total"
    same(f"SELECT {columns} FROM five.sales_order")
    for where, local in (("status = 'Completed'", "c2 = 'Completed'"), ("status_id = 'C'", "c3 = 'C'"), ("status = 'C'", "false"), ("status_id = 'Completed'", "false"), ("status IN ('Open', 'On Hold')", "c3 IN ('N', 'H')"),
                         ("status_id <> 'C' AND status <> 'Open'", "c3 <> 'C' AND c2 <> 'Open'"), ("status LIKE 'C%'", "c2 LIKE 'C%'"), ("date > '2024-06-30'", "c4 > '2024-06-30'")):
        same(f"SELECT {columns} FROM five.sales_order WHERE {where}", f"SELECT * FROM truth WHERE {local}", some=False)
    same("SELECT status_id FROM five.sales_order", "SELECT c3 FROM truth")
    same("SELECT status FROM five.sales_order", "SELECT c2 FROM truth")
    assert value("SELECT count(DISTINCT operation_id) FROM five.sales_order_details WHERE operation IN ('Issue', 'Receipt')") == 2
    truth("rest/SalesOrder/Details", ["Parent/OrderNbr", "LineNbr", "UsrLineNote", "UsrLineRating"], ["text", "int", "text", "numeric"], "--release", "2026R2", simulator=new)
    same("SELECT order_nbr, line_nbr, usr_line_note, usr_line_rating FROM five.sales_order_details")
    # Custom fields stand in $select, which does not go with the whole record.
    db.execute("""CREATE FOREIGN TABLE five.whole (order_nbr text OPTIONS (field 'OrderNbr'), everything jsonb OPTIONS (field '*'),
        priority text OPTIONS (custom 'Document.UsrPriority')) SERVER new OPTIONS (entity 'SalesOrder')""")
    with_priority = value("SELECT count(usr_priority) FROM five.sales_order")
    assert with_priority > 0
    assert value("SELECT count(priority) FROM (SELECT everything, priority FROM five.whole OFFSET 0) x") == with_priority
    # By hand, and as a whole.
    db.execute("""CREATE FOREIGN TABLE five.hand (order_nbr text, status text, status_id text OPTIONS (field 'Status/id'), both_ jsonb OPTIONS (field 'Status')) SERVER new OPTIONS (entity 'SalesOrder')""")
    assert ("Open", "N") in rows("SELECT DISTINCT status, status_id FROM five.hand")
    db.execute("DROP SERVER new CASCADE")
    new.stop()


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


@test
def rescans_for_other_values_do_not_ask_for_each():
    query = "SELECT v, (SELECT count(*) FROM {} WHERE order_nbr = v{}) FROM (SELECT DISTINCT order_nbr v FROM lines ORDER BY 1 LIMIT 20) x ORDER BY 1"
    db.execute("DROP TABLE IF EXISTS lines; CREATE TEMP TABLE lines AS SELECT order_nbr, line_description, files FROM s.sales_order_details")
    wanted = rows(query.format("lines", ""))
    sim.reset()
    assert rows(query.format("s.sales_order_details", "")) == wanted
    # By the value for the first few, and the pages of all rows for the others.
    assert len(requests("SalesOrder")) <= 8 + 4 * 2, len(requests("SalesOrder"))
    # Rows that are too many to be kept are asked for by the values, once that is known.
    sim.reset()
    assert rows(query.format("s.sales_order_details d", " AND d::text <> ''")) == wanted
    asked = requests("SalesOrder")
    assert len([r for r in asked if "$filter" not in r["query"] and "%24filter" not in r["query"]]) <= 8, len(asked)
    assert 20 <= len(asked) <= 60, len(asked)


# -- what headers change ----------------------------------------------------------------------------------------------


def headers_of(query, match):
    sim.reset()
    found = rows(query)
    (headers,) = {json.dumps(r["headers"], sort_keys=True) for r in sim.requests(match)}
    return json.loads(headers), found


NAMES = {"branch": "px-cbapibranch", "locale": "accept-language", "business_date": "px-cbapibusinessdate", "show_archived": "px-apiarchive", "show_deleted": "px-apideleted"}


@test
def session_before_table_before_server():
    values = {"branch": ("PRODWHOLE", "PRODRETAIL", "SERVWEST"), "locale": ("de-DE", "en-US", "fr-FR"), "business_date": ("2024-01-31", "2024-02-29", "2024-12-31")}
    create_server(db, sim, "aware", **{name: of_server for name, (of_server, _, _) in values.items()})
    db.execute("""CREATE FOREIGN TABLE plain (order_nbr text OPTIONS (field 'OrderNbr')) SERVER aware OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE own (order_nbr text OPTIONS (field 'OrderNbr')) SERVER aware OPTIONS (entity 'SalesOrder', branch 'PRODRETAIL', locale 'en-US', business_date '2024-02-29');
        CREATE FOREIGN TABLE own_gi (order_nbr text OPTIONS (field 'OrderNbr', key '1')) SERVER aware OPTIONS (schema 'OData', inquiry 'BI-SalesOrders', branch 'PRODRETAIL', locale 'en-US', business_date '2024-02-29')""")
    expected = lambda place: {NAMES[name]: of[place] for name, of in values.items()}
    assert headers_of("SELECT * FROM plain LIMIT 1", "SalesOrder")[0] == expected(0)
    assert headers_of("SELECT * FROM own LIMIT 1", "SalesOrder")[0] == expected(1)
    assert headers_of("SELECT * FROM own_gi LIMIT 1", "BI-SalesOrders")[0] == expected(1)
    for name, of in values.items():
        db.execute(f"SET acumatica_fdw.{name} = '{of[2]}'")
    for table in ("plain", "own"):
        assert headers_of(f"SELECT * FROM {table} LIMIT 1", "SalesOrder")[0] == expected(2)
    plan = "\n".join(line for (line,) in rows("EXPLAIN (VERBOSE) SELECT * FROM own"))
    assert "PX-CbApiBranch: SERVWEST" in plan and "Accept-Language: fr-FR" in plan, plan
    # Details and forms, too; and a prepared statement follows the setting of the day.
    db.execute("PREPARE p AS SELECT * FROM own LIMIT 1; SET plan_cache_mode = force_generic_plan")
    assert headers_of("EXECUTE p", "SalesOrder")[0] == expected(2)
    db.execute("SET acumatica_fdw.branch = ''")
    assert headers_of("EXECUTE p", "SalesOrder")[0] == {**expected(2), NAMES["branch"]: "PRODRETAIL"}
    db.execute("DEALLOCATE p; RESET plan_cache_mode; RESET acumatica_fdw.locale; RESET acumatica_fdw.business_date; RESET acumatica_fdw.branch")
    with db.transaction():
        db.execute("SET LOCAL acumatica_fdw.branch = 'SERVWEST'")
        found, _ = headers_of(f"SELECT * FROM {FORM} WHERE inventory_id = '{ITEMS[0]}'", CALLS)
        assert found == {NAMES["branch"]: "SERVWEST"}
        assert headers_of("SELECT * FROM s.sales_order_details LIMIT 1", "SalesOrder")[0] == {NAMES["branch"]: "SERVWEST"}
        assert headers_of("SELECT * FROM s.sales_order LIMIT 1", "SalesOrder")[0] == {NAMES["branch"]: "SERVWEST"}
    assert headers_of("SELECT * FROM s.sales_order LIMIT 1", "SalesOrder")[0] == {}
    db.execute("DROP SERVER aware CASCADE")


@test
def a_branch_that_does_not_exist():
    db.execute("SET acumatica_fdw.branch = 'ATLANTIS'")
    with raises("HV000", "ATLANTIS"):
        rows("SELECT * FROM s.sales_order LIMIT 1")
    db.execute("SET acumatica_fdw.branch = E'a\\nb'")
    with raises("HV024", "control character"):
        rows("SELECT * FROM s.sales_order LIMIT 1")
    db.execute("RESET acumatica_fdw.branch")
    for bad in ("tomorrow", "2024-13-01", "31.12.2024", "2024-2-1"):
        with raises("HV024", "business_date"):
            db.execute(f"CREATE FOREIGN TABLE bad (a text) SERVER erp OPTIONS (entity 'SalesOrder', business_date '{bad}')")
        with raises("22023", "business_date"):
            db.execute(f"SET acumatica_fdw.business_date = '{bad}'")
            rows("SELECT * FROM s.sales_order LIMIT 1")
        db.execute("RESET acumatica_fdw.business_date")


@test
def labels_in_the_language_of_the_locale():
    english = {s for (s,) in rows("SELECT DISTINCT status FROM s.sales_order")}
    db.execute("SET acumatica_fdw.locale = 'de-DE'")
    german = {s for (s,) in rows("SELECT DISTINCT status FROM s.sales_order")}
    assert {"Open", "Completed"} <= english and {"Offen", "Abgeschlossen", "Angehalten"} <= german and "Offen" not in english
    assert value("SELECT count(*) FROM s.sales_order WHERE status = 'Offen'") > 0
    db.execute("RESET acumatica_fdw.locale")
    assert value("SELECT count(*) FROM s.sales_order WHERE status = 'Offen'") == 0


@test
def archived_and_deleted_records():
    load("DAC", 'LIMIT TO ("APInvoice", "PX_Objects_AP_Vendor")', into="dac")
    bills, invoices, vendors = (value(f"SELECT count(*) FROM {table}") for table in ("s.bill", "dac.ap_invoice", "dac.vendor"))
    db.execute("SET acumatica_fdw.show_archived = on")
    assert value("SELECT count(*) FROM s.bill") == bills + bills // 20
    assert value("SELECT count(*) FROM dac.ap_invoice") == invoices + invoices // 20
    assert value("SELECT count(*) FROM dac.vendor") == vendors
    db.execute("RESET acumatica_fdw.show_archived; SET acumatica_fdw.show_deleted = on")
    assert value("SELECT count(*) FROM dac.vendor") == vendors + vendors // 20
    assert rows("SELECT deleted_database_record, count(*) FROM dac.vendor GROUP BY 1 ORDER BY 1") == [(False, vendors), (True, vendors // 20)]
    # Of REST it is no business.
    assert headers_of("SELECT * FROM s.bill LIMIT 1", "Bill")[0] == {}
    db.execute("RESET acumatica_fdw.show_deleted")
    assert value("SELECT count(*) FROM dac.vendor") == vendors
    # As options of a table and of a server.
    db.execute("ALTER FOREIGN TABLE dac.vendor OPTIONS (ADD show_deleted 'on'); ALTER FOREIGN TABLE s.bill OPTIONS (ADD show_archived 'true')")
    assert value("SELECT count(*) FROM dac.vendor") == vendors + vendors // 20 and value("SELECT count(*) FROM s.bill") == bills + bills // 20
    db.execute("ALTER SERVER erp OPTIONS (ADD show_archived 'true'); ALTER FOREIGN TABLE s.bill OPTIONS (SET show_archived 'false')")
    assert value("SELECT count(*) FROM dac.ap_invoice") == invoices + invoices // 20
    assert value("SELECT count(*) FROM s.bill") == bills, "the table goes before the server"
    db.execute("ALTER SERVER erp OPTIONS (DROP show_archived); ALTER FOREIGN TABLE s.bill OPTIONS (DROP show_archived); ALTER FOREIGN TABLE dac.vendor OPTIONS (DROP show_deleted)")
    with raises("HV00D", "show_deleted", "DAC"):
        db.execute("CREATE FOREIGN TABLE bad (a text) SERVER erp OPTIONS (schema 'REST', entity 'Bill', show_deleted 'true')")


# -- columns ----------------------------------------------------------------------------------------------------------


@test
def the_whole_row_as_jsonb():
    db.execute(f"""
        CREATE FOREIGN TABLE whole_entity (nbr text OPTIONS (field 'OrderNbr'), total numeric OPTIONS (field 'OrderTotal'), all_of_it jsonb OPTIONS (field '*')) SERVER erp OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE whole_detail (nbr text OPTIONS (field 'OrderNbr'), qty numeric OPTIONS (field 'Details/OrderQty'), all_of_it jsonb OPTIONS (field 'Details/*'), order_ jsonb OPTIONS (field '*'))
            SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details');
        CREATE FOREIGN TABLE whole_link (city text OPTIONS (field 'ShipToAddress/City'), all_of_it jsonb OPTIONS (field 'ShipToAddress/*')) SERVER erp OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE whole_gi (kind text OPTIONS (field 'OrderType', key '1'), nbr text OPTIONS (field 'OrderNbr', key '2'), total numeric OPTIONS (field 'OrderTotal'), all_of_it jsonb OPTIONS (field '*')) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');
        CREATE FOREIGN TABLE whole_dac (kind text OPTIONS (field 'OrderType', key '1'), nbr text OPTIONS (field 'OrderNbr', key '2'), total numeric OPTIONS (field 'CuryOrderTotal'), all_of_it jsonb OPTIONS (field '*')) SERVER erp OPTIONS (schema 'DAC', entity 'SOOrder');
        CREATE FOREIGN TABLE whole_form (item text OPTIONS (field 'InventoryID', parameter 'required'), qty numeric OPTIONS (field 'Results/QtyOnHand'), all_of_it jsonb OPTIONS (field 'Results/*'))
            SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry')""")
    for query in ("SELECT count(*), count(*) FILTER (WHERE all_of_it #>> '{OrderNbr,value}' = nbr AND (all_of_it #>> '{OrderTotal,value}')::numeric = total AND all_of_it ? 'CustomerID') FROM whole_entity",
                  "SELECT count(*), count(*) FILTER (WHERE (all_of_it #>> '{OrderQty,value}')::numeric = qty AND all_of_it ? 'InventoryID' AND order_ #>> '{OrderNbr,value}' = nbr) FROM whole_detail",
                  "SELECT count(*), count(*) FILTER (WHERE all_of_it #>> '{City,value}' IS NOT DISTINCT FROM city AND all_of_it ? 'Country') FROM whole_link",
                  "SELECT count(*), count(*) FILTER (WHERE all_of_it ->> 'OrderNbr' = nbr AND (all_of_it ->> 'OrderTotal')::numeric = total AND all_of_it ? 'Comment') FROM whole_gi",
                  "SELECT count(*), count(*) FILTER (WHERE all_of_it ->> 'OrderNbr' = nbr AND (all_of_it ->> 'CuryOrderTotal')::numeric = total AND all_of_it ? 'Hold') FROM whole_dac",
                  f"SELECT count(*), count(*) FILTER (WHERE (all_of_it #>> '{{QtyOnHand,value}}')::numeric = qty AND all_of_it ? 'BaseUOM') FROM whole_form WHERE item = '{ITEMS[0]}'"):
        count, right = rows(query)[0]
        assert count == right > 0, (query, count, right)
    # Alone.
    for table, where in (("whole_entity", ""), ("whole_detail", ""), ("whole_gi", ""), ("whole_form", f"WHERE item = '{ITEMS[0]}'")):
        assert value(f"SELECT count(all_of_it) FROM {table} {where}") == value(f"SELECT count(*) FROM {table} {where}") > 0, table


@test
def padded_codes_lose_their_padding():
    for options, padded in (("", True), (", unpad 'true'", False)):
        db.execute(f"DROP FOREIGN TABLE IF EXISTS padded; CREATE FOREIGN TABLE padded (id text OPTIONS (field 'CustomerID', key '1'), name text OPTIONS (field 'CustomerName')) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-Customers'{options})")
        assert value("SELECT bool_and(id LIKE '% ') FROM padded") is padded
        known = value("SELECT min(id) FROM padded")
        assert value("SELECT count(*) FROM padded WHERE id = %s", [known]) == 1
    assert value("SELECT count(*) FROM padded p JOIN s.customer c ON c.customer_id = p.id") == 100


@test
def custom_fields_by_hand():
    db.execute("""CREATE FOREIGN TABLE usr (order_nbr text OPTIONS (field 'OrderNbr'), priority text OPTIONS (custom 'Document.UsrPriority'), commission numeric OPTIONS (custom 'Document.UsrCommission')) SERVER erp OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE usr_lines (order_nbr text OPTIONS (field 'OrderNbr'), line_nbr int OPTIONS (field 'Details/LineNbr'), rating numeric OPTIONS (custom 'Transactions.UsrLineRating')) SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details')""")
    truth("rest/SalesOrder", ["OrderNbr", "UsrPriority", "UsrCommission"], ["text", "text", "numeric"])
    same("SELECT * FROM usr")
    same("SELECT priority FROM usr", "SELECT c1 FROM truth")
    truth("rest/SalesOrder/Details", ["Parent/OrderNbr", "LineNbr", "UsrLineRating"], ["text", "int", "numeric"])
    same("SELECT * FROM usr_lines")


# -- tables written by hand -------------------------------------------------------------------------------------------


@test
def names_are_found_without_options():
    sim.reset()
    db.execute("""
        CREATE SCHEMA hand;
        CREATE FOREIGN TABLE hand.orders (id uuid, order_type text, order_nbr text, order_total numeric, "OrderedQty" numeric, customerid text, last_modified timestamptz, note text)
            SERVER erp OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE hand.lines (order_type text, order_nbr text, line_nbr int, inventory_id text, order_qty numeric) SERVER erp OPTIONS (entity 'SalesOrder', detail 'Details');
        CREATE FOREIGN TABLE hand.lines2 (order_nbr text, line_nbr int) SERVER erp OPTIONS (entity 'SalesOrder', detail 'details');
        CREATE FOREIGN TABLE hand.gi (order_type text OPTIONS (key '1'), order_nbr text OPTIONS (key '2'), order_total numeric) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');
        CREATE FOREIGN TABLE hand.dac (order_type text OPTIONS (key '1'), order_nbr text OPTIONS (key '2'), cury_order_total numeric) SERVER erp OPTIONS (schema 'DAC', entity 'SOOrder');
        CREATE FOREIGN TABLE hand.form (inventory_id text OPTIONS (parameter 'required'), warehouse_id text OPTIONS (parameter 'optional'), qty_on_hand numeric, base_uom text) SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry');
        CREATE FOREIGN TABLE hand.gi_parameters (warehouse text OPTIONS (parameter 'required'), location text OPTIONS (parameter 'required'), inventory_id text, qty_on_hand numeric) SERVER erp OPTIONS (schema 'OData', inquiry 'Inventory by Warehouse');
        CREATE FOREIGN TABLE hand.link (order_nbr text, city text OPTIONS (field 'ship_to_address/city')) SERVER erp OPTIONS (entity 'SalesOrder')""")
    truth("rest/SalesOrder", ["id", "OrderType", "OrderNbr", "OrderTotal", "OrderedQty", "CustomerID"], ["uuid", "text", "text", "numeric", "numeric", "text"])
    for _ in range(2):
        same('SELECT id, order_type, order_nbr, order_total, "OrderedQty", customerid FROM hand.orders')
        # The definition is read once, and only because the names are not the server's.
        assert len(sim.requests("swagger.json")) == 1
    same("SELECT order_type, order_nbr, order_total FROM hand.gi", "SELECT c1, c2, c3 FROM truth")
    same("SELECT order_type, order_nbr, cury_order_total FROM hand.dac", "SELECT c1, c2, c3 FROM truth")
    truth("rest/SalesOrder", ["OrderNbr", "ShipToAddress/City"], ["text", "text"])
    same("SELECT * FROM hand.link")
    truth("rest/SalesOrder/Details", ["Parent/OrderType", "Parent/OrderNbr", "LineNbr", "InventoryID", "OrderQty"], ["text", "text", "int", "text", "numeric"])
    same("SELECT * FROM hand.lines")
    same("SELECT * FROM hand.lines2", "SELECT c1, c2 FROM truth")
    form_truth()
    same(f"SELECT inventory_id, qty_on_hand FROM hand.form WHERE inventory_id = '{ITEMS[0]}'", f"SELECT c0, c4 FROM truth WHERE c0 = '{ITEMS[0]}'")
    same(f"SELECT inventory_id, qty_on_hand FROM hand.gi_parameters WHERE warehouse = '{SITES[0]}' AND location = 'R1S2'", f"SELECT c0, c4 FROM truth WHERE c2 = '{SITES[0]}' AND c3 = 'R1S2'")
    with raises("HV002", "InventoryID"):
        rows("SELECT * FROM hand.form")


@test
def names_that_are_found_belong_to_their_table():
    """Two tables of one name, and a table that becomes one of something else."""
    db.execute("""
        CREATE SCHEMA other;
        CREATE FOREIGN TABLE hand.same (order_nbr text, customer_id text) SERVER erp OPTIONS (entity 'SalesOrder');
        CREATE FOREIGN TABLE other.same (order_nbr text OPTIONS (field 'order_nbr'), customer_id text OPTIONS (field 'vendor_id')) SERVER erp OPTIONS (entity 'PurchaseOrder');
        CREATE FOREIGN TABLE hand.turns (description text, customer_id text, status text) SERVER erp OPTIONS (entity 'SalesOrder')""")
    assert len(rows("SELECT * FROM hand.same")) == 2000 and len(rows("SELECT * FROM other.same")) == 500 and len(rows("SELECT * FROM hand.same")) == 2000
    assert len(rows("SELECT * FROM hand.turns")) == 2000
    db.execute("ALTER FOREIGN TABLE hand.turns OPTIONS (SET entity 'Customer'); ALTER FOREIGN TABLE hand.turns DROP COLUMN description")
    assert len(rows("SELECT * FROM hand.turns")) == 100
    db.execute("ALTER FOREIGN TABLE hand.turns OPTIONS (SET entity 'StockItem'); ALTER FOREIGN TABLE hand.turns RENAME customer_id TO inventory_id")
    with raises("HV005", '"status"', "ItemStatus"):
        rows("SELECT * FROM hand.turns")
    assert len(rows("SELECT inventory_id FROM hand.turns")) == 200
    db.execute("DROP SCHEMA other CASCADE")


@test
def a_name_that_is_found_for_one_of_two_that_differ_in_case():
    odd = Sim("--seats", 0, "--scale", 0.01, "--definition", DEFINITIONS / "odd.json")
    create_server(db, odd, "odd", endpoint_name="Odd")
    db.execute("""CREATE FOREIGN TABLE hand.statuses ("Nbr" int, nbr text, "NBR" boolean) SERVER odd OPTIONS (entity 'status');
        CREATE FOREIGN TABLE hand.vague (n__b__r int) SERVER odd OPTIONS (entity 'status');
        CREATE FOREIGN TABLE hand.upper_ (status text) SERVER odd OPTIONS (entity 'Status');
        CREATE FOREIGN TABLE hand.inner_ (user_id text, "group" text, check_ jsonb OPTIONS (field 'Check')) SERVER odd OPTIONS (entity 'User')""")
    assert rows('SELECT nbr FROM hand.statuses WHERE nbr IS NOT NULL LIMIT 1')[0][0].startswith("nbr-")
    # Which of the four is meant?
    with raises("HV005", "n__b__r", "Nbr", "NBR"):
        rows("SELECT * FROM hand.vague")
    with raises("HV005", '"status"', "Status", "STATUS"):
        rows("SELECT * FROM hand.upper_")
    assert len(rows("SELECT * FROM hand.inner_")) == 25
    db.execute("DROP SERVER odd CASCADE")
    odd.stop()


@test
def names_that_are_not_found():
    cases = (
        ("order_number text, order_nbr text", "entity 'SalesOrder'", '"order_number"', "OrderNbr"),
        ("oder_total numeric", "entity 'SalesOrder'", '"oder_total"', "OrderTotal"),
        ("order_nbr text, city text OPTIONS (field 'ShipToAddress/Citty')", "entity 'SalesOrder'", "ShipToAddress/Citty", "ShipToAddress/City"),
        ("order_nbr text, city text OPTIONS (field 'ShipToAdress/City')", "entity 'SalesOrder'", "ShipToAdress/City", "ShipToAddress"),
        ("inventoryid text, quantty numeric", "entity 'SalesOrder', detail 'Details'", "quantty", ""),
        ("order_qty numeric", "entity 'SalesOrder', detail 'Detials'", '"Detials', "Details"),
        ("order_total numeric, oder_nbr text", "schema 'OData', inquiry 'BI-SalesOrders'", '"oder_nbr"', "OrderNbr"),
        ("cury_order_total numeric, oder_nbr text", "schema 'DAC', entity 'SOOrder'", '"oder_nbr"', "OrderNbr"),
    )
    for columns, options, *parts in cases:
        db.execute(f"DROP FOREIGN TABLE IF EXISTS hand.wrong; CREATE FOREIGN TABLE hand.wrong ({columns}) SERVER erp OPTIONS ({options})")
        with raises("HV005", *filter(None, parts)):
            rows("SELECT * FROM hand.wrong")
    db.execute("DROP FOREIGN TABLE hand.wrong; CREATE FOREIGN TABLE hand.wrong (inventory_id text OPTIONS (parameter 'required'), qty_on_hnd numeric) SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry')")
    with raises("HV005", '"Results/qty_on_hnd"', "QtyOnHand"):
        rows(f"SELECT * FROM hand.wrong WHERE inventory_id = '{ITEMS[0]}'")
    db.execute("DROP FOREIGN TABLE hand.wrong; CREATE FOREIGN TABLE hand.wrong (invntory text OPTIONS (parameter 'required'), qty_on_hand numeric) SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry')")
    with raises("HV005", '"invntory"'):
        rows(f"SELECT * FROM hand.wrong WHERE invntory = '{ITEMS[0]}'")
    db.execute("DROP FOREIGN TABLE hand.wrong; CREATE FOREIGN TABLE hand.wrong (warehouse text OPTIONS (parameter 'required'), loc text OPTIONS (parameter 'required'), qty_on_hand numeric) SERVER erp OPTIONS (schema 'OData', inquiry 'Inventory by Warehouse')")
    with raises("HV005", '"loc"', "Location"):
        rows("SELECT * FROM hand.wrong WHERE warehouse = 'MAIN' AND loc = 'R1S1'")
    for options in ("entity 'SalesOrders'", "inquiry 'InventorySummaryInquiri'", "schema 'OData', inquiry 'BI-SalesOrder'", "schema 'DAC', entity 'SOOrders'"):
        db.execute(f"DROP FOREIGN TABLE hand.wrong; CREATE FOREIGN TABLE hand.wrong (order_nbr text) SERVER erp OPTIONS ({options})")
        with raises("HV00R"):
            rows("SELECT * FROM hand.wrong")
    for options, parts in (("schema 'DAC', entity 'SOOrder', detail 'Lines'", ("detail",)), ("schema 'OData', entity 'X'", ("entity",)), ("entity 'A', inquiry 'B'", ("exclude",)), ("entity 'SalesOrder', detail '/'", ("detail",))):
        with raises("HV024" if "'/'" in options else "HV00D", *parts):
            db.execute(f"CREATE FOREIGN TABLE hand.never (a text) SERVER erp OPTIONS ({options})")
    db.execute("CREATE FOREIGN TABLE hand.never (order_nbr text OPTIONS (parameter 'required')) SERVER erp OPTIONS (entity 'SalesOrder')")
    with raises("HV00D", "parameter", "inquiry"):
        rows("SELECT * FROM hand.never WHERE order_nbr = 'x'")


@test
def types_are_checked_at_first_use():
    db.execute("CREATE FOREIGN TABLE hand.types (order_nbr int, order_total date, hold numeric) SERVER erp OPTIONS (entity 'SalesOrder')")
    assert rows("SELECT order_nbr FROM hand.types LIMIT 1") == [(1,)]
    with raises("HV004", '"order_total"', "types"):
        rows("SELECT order_total FROM hand.types")


# -- functions --------------------------------------------------------------------------------------------------------


@test
def attachments():
    files = rows("SELECT order_nbr, f ->> 'href', f ->> 'id', f ->> 'filename' FROM s.sales_order, jsonb_array_elements(files) f LIMIT 3")
    assert files and all(href.startswith("/entity/") for _, href, _, _ in files), files
    for _, href, number, _ in files:
        content = value("SELECT acumatica_file('erp', %s)", [href])
        assert content == f"This is the content of file {number}.\n".encode(), content
    whole = sum(value("SELECT sum(length(acumatica_file('erp', f ->> 'href'))) FROM (SELECT * FROM s.sales_order WHERE files <> '[]' LIMIT 5) o, jsonb_array_elements(files) f") for _ in range(2))
    assert whole > 0
    absolute = sim.origin + files[0][1]
    # By the other scheme it is the same site: only path and query are taken, and sent to the origin of the server's url.
    for same in (absolute, absolute.replace("http://", "https://")):
        assert value("SELECT length(acumatica_file('erp', %s))", [same]) > 0
    for href in ("http://example.com" + files[0][1], "//example.com/x", "ftp://x/y", "file:///etc/passwd"):
        sim.reset()
        with raises("HV024", "another site"):
            value("SELECT acumatica_file('erp', %s)", [href])
        assert not sim.requests("files")
    for limit in (0, -1, 1 << 40):
        with raises("22023", "max_bytes"):
            value("SELECT acumatica_file('erp', %s, %s)", [files[0][1], limit])
    with raises("54000"):
        value("SELECT acumatica_file('erp', %s, 10)", [files[0][1]])
    with raises("HV00R"):
        value("SELECT acumatica_file('erp', '/entity/Default/24.200.001/files/no-such-file')")
    assert value("SELECT acumatica_file('erp', NULL)") is None
    with raises("42704", "nowhere"):
        value("SELECT acumatica_file('nowhere', '/x')")
    big = Sim("--seats", 0, "--scale", 0.01, "--file-bytes", 30_000_000)
    create_server(db, big, "big")
    load("REST", "LIMIT TO (sales_order)", server="big", into="b")
    href = value("SELECT f ->> 'href' FROM b.sales_order, jsonb_array_elements(files) f LIMIT 1")
    with connect() as backend:
        pid = backend.info.backend_pid
        assert backend.execute("SELECT length(acumatica_file('big', %s))", [href]).fetchone() == (30_000_000,)
        peak = next(int(l.split()[1]) for l in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if l.startswith("VmHWM")) / 1024
        assert peak < 200, f"{peak:.0f} MB"
        big.fault("files", "close", bytes=1_000_000)
        assert backend.execute("SELECT length(acumatica_file('big', %s))", [href]).fetchone() == (30_000_000,)
        with raises("54000", "acumatica_file()"):
            backend.execute("SELECT length(acumatica_file('big', %s, 29999999))", [href])
    db.execute("DROP SERVER big CASCADE")
    big.stop()


@test
def rights_to_the_functions():
    db.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    with psycopg.connect("user=reader", autocommit=True) as other:
        for call in ("acumatica_endpoints('erp')", "acumatica_inquiries('erp')", "acumatica_relations('erp')", "acumatica_file('erp', '/entity/x')"):
            with raises("42501", "erp"):
                other.execute(f"SELECT * FROM {call}")
        with raises("42501"):
            other.execute("SELECT * FROM acumatica_diff('s')")
    db.execute("DROP ROLE reader")


@test
def what_there_is():
    assert rows("SELECT * FROM acumatica_endpoints('erp') ORDER BY 1, 2") == sorted(
        [("Default", v) for v in ("20.200.001", "22.200.001", "23.200.001", "24.200.001")] + [("eCommerce", "22.200.001"), ("MANUFACTURING", "21.200.001")], key=lambda pair: (pair[0], pair[1]))
    found = {name: (parameters, key, count) for name, _, parameters, key, count in rows("SELECT * FROM acumatica_inquiries('erp')")}
    assert found["Order Lines & Totals"] == (["Warehouse", "Line", "Quantity", "Completed", "OrderDate", "NoteID"], ["OrderType", "OrderNbr", "LineNbr"], 9), found["Order Lines & Totals"]
    assert found["BI-Customers"] == ([], ["CustomerID", "BAccountID"], 16) and "HR-Salaries" in found
    related = rows("SELECT relation, target, many, fields, target_fields FROM acumatica_relations('erp') WHERE entity = 'PX_Objects_SO_SOLine' ORDER BY 1")
    assert related == [("InventoryItem", "PX_Objects_IN_InventoryItem", False, ["InventoryID"], ["InventoryID"]),
                       ("SOOrder", "PX_Objects_SO_SOOrder", False, ["OrderType", "OrderNbr"], ["OrderType", "OrderNbr"])], related
    assert ("SOLineCollection", True) in rows("SELECT relation, many FROM acumatica_relations('erp') WHERE entity = 'PX_Objects_SO_SOOrder'")
    for name in ("endpoints", "inquiries", "relations"):
        with raises("42704", "nowhere"):
            rows(f"SELECT * FROM acumatica_{name}('nowhere')")


NEVER_SEEN = "was in no row so far"


def diff(schema, *more):
    """All changes but those of fields that no row has had in a scan of an earlier test: these are no difference to the
    definition, and their statement is a comment."""
    found = rows(f"SELECT * FROM acumatica_diff({', '.join(['%s'] * (1 + len(more)))})", [schema, *more])
    unseen = [change for change in found if NEVER_SEEN in change[1]]
    assert all(statement.startswith("-- ") for _, _, statement in unseen), unseen
    return [change for change in found if change not in unseen]


@test
def nothing_has_changed():
    for remote in ("REST", "OData", "DAC"):
        for options in ({}, {"linked": "jsonb"}, {"linked": "skip", "details": "jsonb"}, {"case": "preserve"}, {"prefix": "x_"}, {"import_keys": "false", "import_not_null": "false", "import_comments": "false"}, {"unpad": "true"}, {"custom_fields": "true"}):
            db.execute("DROP SCHEMA IF EXISTS d CASCADE")
            load(remote, "" if remote != "REST" else "EXCEPT (ledger)" if options else "", into="d", **options)
            found = [change for change in diff("d") if "is new" not in change[1]]
            assert not found or options.get("import_keys") == "false", (remote, options, found[:3])


@test
def what_has_changed_can_be_mended():
    db.execute("DROP SCHEMA IF EXISTS d CASCADE")
    load("REST", "LIMIT TO (sales_order, customer, sales_order_details)", into="d")
    db.execute("""ALTER FOREIGN TABLE d.sales_order DROP COLUMN hold; ALTER FOREIGN TABLE d.customer ALTER COLUMN terms TYPE integer;
        ALTER FOREIGN TABLE d.customer ADD COLUMN gone text OPTIONS (field 'NoSuchField'); ALTER FOREIGN TABLE d.sales_order_details ALTER COLUMN order_nbr OPTIONS (DROP key);
        CREATE FOREIGN TABLE d.nothing (a text OPTIONS (field 'A')) SERVER erp OPTIONS (schema 'REST', entity 'NoSuchEntity', endpoint_name 'Default', endpoint_version '24.200.001')""")
    found = diff("d")
    changes = {(table, change) for table, change, _ in found}
    for table, part in (("sales_order", "Hold"), ("customer", "Terms"), ("customer", "NoSuchField"), ("nothing", "gone")):
        assert any(t == table and part in c for t, c in changes), (table, part, changes)
    for _, _, statement in found:
        for part in filter(None, statement.splitlines()[:0] or [statement]):
            db.execute(part)
    assert not diff("d"), diff("d")
    assert len(rows("SELECT hold, order_nbr FROM d.sales_order LIMIT 3")) == 3


@test
def fields_of_features_that_are_switched_off():
    """No row has them: they are NULL in entities and details, and acumatica_diff() names them and no others."""
    db.execute("DROP SCHEMA IF EXISTS d CASCADE")
    load("REST", "LIMIT TO (vendor, sales_order_details)", into="d")
    assert value("SELECT bool_and(fatca IS NULL AND vendor_vat_registration IS NULL) AND count(*) > 10 FROM (SELECT * FROM d.vendor) x")
    assert value("SELECT bool_and(gift_message IS NULL AND subitem IS NULL) AND count(*) > 10 FROM (SELECT * FROM d.sales_order_details LIMIT 20) x")
    unseen = [(table, change.split('"')[1]) for table, change, _ in rows("SELECT * FROM acumatica_diff('d')") if NEVER_SEEN in change]
    assert sorted(unseen) == [("sales_order_details", "Details/GiftMessage"), ("sales_order_details", "Details/Subitem"),
                              ("vendor", "FATCA"), ("vendor", "VendorVATRegistration")], unseen


@test
def an_upgrade_changes_nothing_until_it_is_wanted():
    """The version is written in each table; another one is looked at when it is asked for."""
    db.execute("DROP SCHEMA IF EXISTS d CASCADE")
    load("REST", "LIMIT TO (sales_order)", into="d", endpoint_version="23.200.001")
    assert not diff("d"), diff("d")[:3]
    found = diff("d", "24.200.001")
    assert any("24.200.001" in statement for _, _, statement in found), found
    for _, _, statement in found:
        db.execute(statement)
    assert not diff("d", "24.200.001")
    sim.reset()
    rows("SELECT order_nbr FROM d.sales_order LIMIT 1")
    assert sim.requests("/Default/24.200.001/SalesOrder")
    with raises("3F000", "nowhere"):
        diff("nowhere")


@test
def no_session_is_left():
    db.execute("SELECT acumatica_disconnect_all()")
    assert not sim.sessions() and not nested.sessions()


finish()
