#!/usr/bin/env python3
"""IMPORT FOREIGN SCHEMA: every definition becomes tables that answer, whatever is in it; what is asked for is found by
any of its names; what cannot be read is an error or a NOTICE."""

import collections
import contextlib
import functools
import gzip
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, connect, create_server, eventually, finish, psycopg, raises, test

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ROOT / "tests" / "definitions"
REAL = ROOT.parent / "shared" / "fixtures" / "swagger"

db = connect(options="-c statement_timeout=60s -c idle_in_transaction_session_timeout=60s")
db.execute("SET client_min_messages = notice")
notices = []
db.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))


def load(remote, only="", server="erp", into="s", connection=db, **options):
    """Imports into a schema of that name, made anew; the notices and the seconds that it took."""
    listed = ", ".join(f"{name} '{value}'" for name, value in options.items())
    connection.execute(f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {into} CASCADE; CREATE SCHEMA {into};"
                       "SET client_min_messages = notice")
    notices.clear()
    begun = time.monotonic()
    connection.execute(f'IMPORT FOREIGN SCHEMA "{remote}" {only} FROM SERVER {server} INTO {into} OPTIONS ({listed})'
                       .replace("OPTIONS ()", ""))
    return list(notices), time.monotonic() - begun


def pairs(options):
    return dict(option.split("=", 1) for option in options or [])


def tables(schema="s"):
    """The options of all foreign tables of a schema, by name."""
    rows = db.execute(
        "SELECT relname, ftoptions FROM pg_foreign_table JOIN pg_class c ON c.oid = ftrelid"
        " WHERE relnamespace = to_regnamespace(%s) ORDER BY 1", [schema])
    return {name: pairs(options) for name, options in rows.fetchall()}


Column = collections.namedtuple("Column", "name type not_null options comment")


def columns(table, schema="s"):
    return all_columns(schema)[table]


def all_columns(schema="s"):
    rows = db.execute(
        "SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attfdwoptions, col_description(c.oid, attnum)"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = to_regnamespace(%s)"
        " AND relkind = 'f' AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum", [schema]).fetchall()
    found = collections.defaultdict(list)
    for table, name, kind, not_null, options, comment in rows:
        found[table].append(Column(name, kind, not_null, pairs(options), comment))
    return found


def peak(pid):
    """The most memory that a backend has had, in kB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def value(query):
    return db.execute(query).fetchone()[0]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


# -- definitions, read once more, by other code -----------------------------------------------------------------------

TYPES = {"String": "text", "Decimal": "numeric", "Double": "double precision", "Int": "integer", "Short": "smallint",
         "Long": "bigint", "Byte": "smallint", "Boolean": "boolean", "DateTime": "timestamp with time zone",
         "DateOnly": "date", "Guid": "uuid"}


class Definition:
    """What a definition has, as plainly as it can be read."""

    def __init__(self, path):
        document = json.loads(pathlib.Path(path).read_bytes())
        self.path = str(path)
        self.endpoint, _, self.version = document["info"]["title"].partition("/")
        self.schemas = document.get("definitions") or document["components"]["schemas"]
        names = [path[1:] for path in document["paths"] if "/" not in path[1:] and "{" not in path]
        self.entities = {name: self.type_of(document["paths"]["/" + name]) for name in names}

    @staticmethod
    def reference(schema):
        if len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        return schema.get("$ref", "").rpartition("/")[2]

    def type_of(self, item):
        if isinstance(item, dict):
            name = self.reference(item)
            if any(self.reference(base) == "Entity" for base in self.schemas.get(name, {}).get("allOf", ())):
                return name
            item = list(item.values())
        return next(filter(None, map(self.type_of, item)), None) if isinstance(item, list) else None

    @functools.lru_cache(None)
    def members(self, name):
        found = {}
        for base in self.schemas[name].get("allOf", ()):
            if "$ref" in base and self.reference(base) != "Entity":
                found.update(self.members(self.reference(base)))
            found.update(base.get("properties", {}))
        return {member: self.kind(schema) for member, schema in found.items()}

    def is_record(self, name):
        return any(self.reference(base) == "Entity" for base in self.schemas.get(name, {}).get("allOf", ()))

    def kind(self, schema):
        """(value, SQL type), (choice, text), (link, type), (list, type) or (other, jsonb)."""
        name = self.reference(schema)
        if self.is_record(name):
            return "link", name
        item = self.reference(schema.get("items", {}))
        if self.is_record(item):
            return "list", item
        if name.removesuffix("Value") in TYPES:
            return "value", TYPES[name.removesuffix("Value")]
        inner = self.schemas.get(self.reference(self.schemas.get(name, {}).get("properties", {}).get("value", {})), {})
        if {"id", "description"} <= inner.get("properties", {}).keys():
            return "choice", "text"
        return "other", {"string": "text"}.get(schema.get("type"), "jsonb")

    def fields(self, name, prefix="", seen=(), links=0):
        """Types by path, with those of linked records, two links deep."""
        found = {}
        for member, (kind, what) in self.members(name).items():
            path = prefix + member
            if kind == "link" and links < 2 and what not in (*seen, name):
                found.update(self.fields(what, f"{path}/", (*seen, name), links + 1))
            elif kind not in ("link", "list"):
                found[path] = what
                if kind == "choice":
                    found[f"{path}/id"] = what
        return found

    def details(self, name, prefix="", seen=(), links=0):
        """All lists below a record, with their fields; no way leads back to a type that it has passed."""
        for member, (kind, what) in self.members(name).items():
            if kind in ("link", "list") and what not in (*seen, name) and (kind == "list" or links < 2):
                if kind == "list":
                    yield f"{prefix}{member}", self.fields(what, seen=(*seen, name))
                yield from self.details(what, f"{prefix}{member}/", (*seen, name), 0 if kind == "list" else links + 1)

    def is_form(self, entity):
        lists = [member for member, (kind, _) in self.members(self.entities[entity]).items() if kind == "list"]
        return bool(lists) and (entity.endswith("Inquiry") or bool({"Results", "Result"} & set(lists)))


FILES = [OURS / "contract5.json", OURS / "odd.json", *sorted(REAL.glob("*.swagger.json"))]
if len(FILES) == 2:
    print(f"skip - e2e/import/fixtures: there is no {REAL}", flush=True)
DEFINITIONS = [Definition(path) for path in FILES]
# Few rows, of records that no import looks at; every field is in some row, so that one that is read by a wrong path shows.
generated = Sim("--seats", 0, "--switched-off", "shown", "--scale", 0.01, *(part for d in DEFINITIONS for part in ("--definition", d.path)))
create_server(db, generated, "gen")
sim = Sim("--seats", 0, "--scale", 0.1)
create_server(db, sim)


def of(definition, **options):
    """Imports the endpoint of a definition."""
    return load("REST", server="gen", endpoint_name=definition.endpoint, endpoint_version=definition.version, **options)


def answer_all(schema="s", suffix=" LIMIT 3"):
    """Reads every table of a schema, on two connections; its rows by table, and the errors."""
    names, rows, errors = collections.deque(tables(schema)), {}, {}

    def work():
        with connect(options="-c statement_timeout=60s") as connection:
            while names:
                with contextlib.suppress(IndexError):
                    name = names.popleft()
                    try:
                        rows[name] = connection.execute(f"SELECT * FROM {schema}.{quoted(name)}{suffix}").fetchall()
                    except psycopg.Error as error:
                        errors[name] = str(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows, errors


def is_of(kind, defined):
    """Whether a column is of the type that the definition says: contract 4 calls days moments too, and the names of the
    fields tell (crates/schema/src/days.rs)."""
    return kind == defined or (kind, defined) == ("date", "timestamp with time zone")


def check_tables(definition):
    """Every entity, detail and inquiry has its table, with its fields and their types, and the endpoint."""
    found, all_of_them = tables(), all_columns()
    by_remote = {(o.get("entity") or o["inquiry"], o.get("detail")): name for name, o in found.items()}
    assert len(by_remote) == len(found), "two tables of the same thing"
    for options in found.values():
        assert (options["endpoint_name"], options["endpoint_version"]) == (definition.endpoint, definition.version), options
        assert options["schema"] == "REST"
    expected = set()

    def check(remote, fields, prefix=""):
        expected.add(remote)
        assert remote in by_remote, f"no table of {remote}"
        types = {c.options.get("field"): c.type for c in all_of_them[by_remote[remote]] if "parameter" not in c.options}
        # Fields of types that nobody can tell how to ask for are left out, which a notice says.
        fields = {path: kind for path, kind in fields.items() if kind != "jsonb" or prefix + path in types}
        wrong = {path: (types.get(prefix + path), kind) for path, kind in fields.items() if not is_of(types.get(prefix + path), kind)}
        assert not wrong, (remote, wrong)

    for entity, kind in definition.entities.items():
        if definition.is_form(entity):
            for name, fields in definition.details(kind):
                if "/" not in name:
                    check((entity, name), fields, f"{name}/")
                    parameters = {c.options["field"]: c.type for c in all_of_them[by_remote[entity, name]] if "parameter" in c.options}
                    wanted = {m: t for m, (k, t) in definition.members(kind).items() if k == "value"}
                    assert parameters.keys() == wanted.keys(), (entity, parameters)
                    assert all(is_of(parameters[m], t) for m, t in wanted.items()), (entity, parameters)
            continue
        check((entity, None), {"id": "uuid", "note": "text", "files": "jsonb", **definition.fields(kind)})
        assert len(all_of_them[by_remote[entity, None]]) == len([k for k in definition.fields(kind).values() if k != "jsonb"]) + 3, entity
        for path, fields in definition.details(kind):
            check((entity, path), {"rowNumber": "bigint", **fields}, f"{path}/")
    assert by_remote.keys() == expected, by_remote.keys() ^ expected
    return found


def check_names():
    """No two names that only quotes tell apart, none too long, none that needs quotes but for its letters."""
    for names in (list(tables()), *([c.name for c in of_table] for of_table in all_columns().values())):
        assert len({name.lower() for name in names}) == len(names), names
        assert all(len(name.encode()) <= 63 for name in names), names
    reserved = {word for (word,) in db.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')").fetchall()}
    for name in [*tables(), *(c.name for of_table in all_columns().values() for c in of_table)]:
        assert name not in reserved and name == name.lower() and " " not in name and '"' not in name, name


for definition in DEFINITIONS:

    def each_definition():
        told, seconds = of(definition)
        print(f"# {definition.endpoint} {definition.version}: {len(definition.entities)} entities, {len(tables())} tables in {seconds:.2f} s")
        assert seconds < 10, seconds
        found = check_tables(definition)
        check_names()
        rows, errors = answer_all()
        assert not errors, (len(errors), dict(list(errors.items())[:5]))
        for name, options in found.items():
            # A detail may have fewer than three rows.
            assert len(rows[name]) == 3 or "detail" in options, (name, len(rows[name]))
        if definition.endpoint == "Default" and definition.version.startswith("2"):
            assert not [n for n in told if "is not known" not in n], told[:5]

    each_definition.__name__ = f"all_of_{pathlib.Path(definition.path).name.partition('.s')[0].removesuffix('.json')}"
    test(each_definition)

    def no_column_is_always_null():
        """A field that is asked for in the wrong way can be silently empty."""
        of(definition)
        # All rows of the widest tables.
        widths = {name: len(cs) for name, cs in all_columns().items()}
        chosen = sorted(widths, key=widths.get)[-30:]
        for name in widths.keys() - set(chosen):
            db.execute(f"DROP FOREIGN TABLE s.{quoted(name)}")
        rows, errors = answer_all(suffix="")
        assert not errors, dict(list(errors.items())[:3])
        empty = []
        for name, of_table in all_columns().items():
            for place, column in enumerate(of_table):
                # What has no value in the simulator: parameters that nobody gave, types that it cannot read, and of
                # 2,000 random bits the odd one.
                if "parameter" in column.options or column.type == "jsonb" or column.name in ("note", "files"):
                    continue
                if rows[name] and all(row[place] is None for row in rows[name]):
                    empty.append((name, column.name, len(rows[name])))
        # The simulator has no values for fields without a wrapper.
        assert not [e for e in empty if e[2] > 20 and e[0] != "inline"], (len(empty), empty[:10])
        assert sum(map(len, rows.values())) > 20 * len(rows) / 2

    no_column_is_always_null.__name__ = f"no_column_of_{definition.endpoint}_{definition.version}_is_always_null"
    test(no_column_is_always_null)


@test
def links_as_jsonb_or_not_at_all():
    for definition in DEFINITIONS[:2]:
        for linked in ("jsonb", "skip"):
            of(definition, linked=linked)
            for entity, kind in definition.entities.items():
                if definition.is_form(entity):
                    continue
                name = next(n for n, o in tables().items() if o.get("entity") == entity and "detail" not in o)
                fields = {c.options["field"]: c.type for c in columns(name)}
                links = {m for m, (k, _) in definition.members(kind).items() if k == "link"}
                assert {f for f in fields if "/" in f and not f.endswith("/id")} == set(), (name, fields)
                assert {l: fields.get(l) for l in links} == {l: "jsonb" if linked == "jsonb" else None for l in links}, name
            rows, errors = answer_all()
            assert not errors, errors
    of(DEFINITIONS[0], linked="jsonb")
    assert value("SELECT count(*) FROM s.sales_order WHERE ship_to ? 'Email'") > 0, \
        value("SELECT ship_to FROM s.sales_order LIMIT 1")


@test
def details_as_jsonb_too():
    contract5, odd = DEFINITIONS[:2]
    of(contract5, details="jsonb")
    assert {c.name: c.type for c in columns("sales_order")}["details"] == "jsonb"
    assert "sales_order_details" in tables()
    rows = value("SELECT count(*) FROM s.sales_order_details")
    assert value("SELECT sum(jsonb_array_length(details)) FROM s.sales_order") == rows > 0
    of(odd, details="jsonb", linked="jsonb")
    assert not answer_all()[1], answer_all()[1]


@test
def names_as_they_are():
    contract5, odd = DEFINITIONS[:2]
    of(contract5, case="preserve")
    assert "SalesOrder" in tables() and "SalesOrder_Details" in tables(), list(tables())
    names = [c.name for c in columns("SalesOrder")]
    assert {"OrderNbr", "ShipTo_Email", "ShipTo_Address_City", "Status_id", "id"} <= set(names), names
    of(odd, case="preserve")
    names = [c.name for c in columns("Names")]
    assert {'say "hi"', "with space", "it's", "a.b", "back\\slash", "😀", "数量", "%"} <= set(names), names
    assert "ctid" not in names and {"Case", "Order", "User", "Größe & Gewicht"} <= set(tables()), list(tables())
    check_tables(odd)
    rows, errors = answer_all()
    assert not errors, errors


@test
def odd_names_in_snake_case():
    of(DEFINITIONS[1])
    found = tables()
    assert {"case_", "order_", "user_", "größe_gewicht", "a", "b", "alias"} <= found.keys(), list(found)
    fields = {c.options["field"]: c.name for c in columns("names")}
    assert fields["ctid"] != "ctid" and fields["1099Box"].startswith("_1099_box") and fields["with space"] == "with_space", fields
    assert fields["ID"] != fields["id"] and fields["Note"] != fields["note"], fields
    # What differs in case only.
    assert len({o["entity"] for o in found.values() if o.get("entity", "").lower() == "status" and "detail" not in o}) == 2
    statuses = {o["entity"]: n for n, o in found.items() if o.get("entity", "").lower() == "status" and "detail" not in o}
    assert {c.options["field"]: c.type for c in columns(statuses["status"])}["nbr"] == "text"
    for entity, name in statuses.items():
        first = db.execute(f"SELECT * FROM s.{quoted(name)} LIMIT 1").fetchone()
        assert first, entity
    kind = {c.options["field"]: quoted(c.name) for c in columns(statuses["status"])}
    got = value(f"SELECT {kind['nbr']} FROM s.{quoted(statuses['status'])} WHERE {kind['nbr']} IS NOT NULL LIMIT 1")
    assert got.startswith("nbr-"), got
    comment = value("SELECT obj_description('s.case_'::regclass)")
    assert comment == "Cases; it's a \"title\" \\ with 'quotes'", comment


@test
def a_prefix_for_all_tables():
    of(DEFINITIONS[1], prefix="odd_")
    assert all(name.startswith("odd_") for name in tables()) and "odd_case" in tables(), list(tables())
    of(DEFINITIONS[1], prefix='A "b" ', case="preserve")
    assert 'A "b" Case' in tables(), list(tables())
    told, _ = load("REST", 'LIMIT TO ("SalesOrder")', prefix="erp_")
    assert list(tables()) == ["erp_sales_order"]
    load("REST", "LIMIT TO (erp_sales_order)", prefix="erp_")
    assert list(tables()) == ["erp_sales_order"]


@test
def custom_fields():
    load("REST", 'LIMIT TO ("SalesOrder", sales_order_details)', custom_fields="true")
    custom = {c.name: (c.type, c.options["custom"]) for c in columns("sales_order") if "custom" in c.options}
    assert custom == {"usr_priority": ("text", "Document.UsrPriority"), "usr_commission": ("numeric", "Document.UsrCommission"),
                      "usr_gift_wrap": ("boolean", "Document.UsrGiftWrap"),
                      "usr_promise_date": ("timestamp without time zone", "Document.UsrPromiseDate")}, custom
    got = value("SELECT count(usr_priority) FROM s.sales_order")
    assert 0 < got < value("SELECT count(*) FROM s.sales_order"), got
    custom = {c.name: (c.type, c.options["custom"]) for c in columns("sales_order_details") if "custom" in c.options}
    assert custom == {"usr_line_note": ("text", "Transactions.UsrLineNote"), "usr_line_rating": ("numeric", "Transactions.UsrLineRating")}, custom
    assert value("SELECT count(usr_line_note) FROM s.sales_order_details") > 100
    for definition in DEFINITIONS[1:2]:
        of(definition, custom_fields="true")
        rows, errors = answer_all()
        assert not errors, errors
        of_custom = [c for cs in all_columns().values() for c in cs if "custom" in c.options]
        names = {c.options["custom"] for c in of_custom}
        assert {"Document.UsrAmount", "Document.UsrText"} <= names <= {"Document.UsrAmount", "Document.UsrText", "Transactions.UsrLineNote"}, names
    load("REST", 'LIMIT TO ("SalesOrder")')
    assert not [c for c in columns("sales_order") if "custom" in c.options]


def rows_of(table, custom):
    """The rows of a table by its key, with these fields: column by path."""
    listed = ", ".join(quoted(name) for name in custom.values())
    found = db.execute(f"SELECT {listed} FROM s.{table} ORDER BY inventory_id").fetchall()
    assert len(found) > 50
    return [dict(zip(custom, row)) for row in found]


@test
def all_fields_of_a_form():
    """A form has fields that its contract lacks, 91 for stock items; they are not taken for customizations, and can be had."""
    def of_form(table):
        return {c.options["custom"]: c.name for c in columns(table) if "custom" in c.options}

    load("REST", 'LIMIT TO ("StockItem")', custom_fields="true")
    assert sorted(of_form("stock_item")) == ["Item.UsrColor", "Item.UsrShelfLife"], of_form("stock_item")
    customized = rows_of("stock_item", of_form("stock_item"))
    load("REST", 'LIMIT TO ("StockItem", stock_item_warehouse_details)', custom_fields="all")
    found = of_form("stock_item")
    assert len(found) == 91 + 2, found
    # More than one request takes; each row has its own.
    all_rows = rows_of("stock_item", found)
    assert [{name: row[name] for name in customized[0]} for row in all_rows] == customized
    seen = {name for row in all_rows for name, what in row.items() if what is not None}
    assert seen == set(found), set(found) - seen
    found = of_form("stock_item_warehouse_details")
    assert len(found) == 3 and all(any(values) for values in zip(*(row.values() for row in rows_of("stock_item_warehouse_details", found)))), found


@test
def an_entity_without_custom_fields_that_can_be_asked_for_is_told_of():
    sim.reset()
    sim.fault("Customer/$adHocSchema", "status", status=500, count=-1)
    told, _ = load("REST", 'LIMIT TO ("SalesOrder", "Customer")', custom_fields="true")
    assert {"sales_order", "customer"} <= tables().keys()
    assert any("Customer" in notice for notice in told), told
    assert any("custom" in c.options for c in columns("sales_order"))
    sim.reset()


# -- options ----------------------------------------------------------------------------------------------------------


@test
def keys_and_not_null():
    load("REST", 'LIMIT TO ("SalesOrder", sales_order_details)')
    found = {c.name: c for c in columns("sales_order")}
    assert {c.options["key"]: c.name for c in found.values() if "key" in c.options} == {"1": "order_type", "2": "order_nbr"}
    assert {c.name for c in found.values() if c.not_null} == {"id", "order_type", "order_nbr"}
    assert [c.name for c in columns("sales_order")][:3] == ["id", "order_type", "order_nbr"]
    assert [c.name for c in columns("sales_order_details")][:3] == ["order_type", "order_nbr", "row_number"]
    load("REST", 'LIMIT TO ("SalesOrder")', import_keys="false", import_not_null="off")
    assert not [c for c in columns("sales_order") if "key" in c.options or c.not_null]
    load("DAC", "LIMIT TO (SOLine)")
    assert {c.options["key"]: c.name for c in columns("so_line") if "key" in c.options} == \
        {"1": "order_type", "2": "order_nbr", "3": "line_nbr"}
    # Outer joins make NULL of the keys of an inquiry.
    load("OData", 'LIMIT TO ("BI-OrderInvoices")')
    assert {c.options["key"] for c in columns("bi_order_invoices") if "key" in c.options} == set("12345")
    assert not [c for c in columns("bi_order_invoices") if c.not_null]


@test
def comments():
    load("REST", "LIMIT TO (sales_order, sales_order_details)")
    assert "Sales Orders" in value("SELECT obj_description('s.sales_order'::regclass)")
    assert "Details of" in value("SELECT obj_description('s.sales_order_details'::regclass)")
    load("DAC", "LIMIT TO (SOLine)")
    comment = value("SELECT obj_description('s.so_line'::regclass)")
    assert "SOOrder -> SOOrder (OrderType = OrderType, OrderNbr = OrderNbr)" in comment, comment
    for remote, name in (("REST", "sales_order"), ("DAC", "SOLine")):
        load(remote, f"LIMIT TO ({name})", import_comments="false")
        assert value("SELECT count(*) FROM pg_description d JOIN pg_class c ON c.oid = objoid WHERE relnamespace = 's'::regnamespace") == 0


def count_of_comments():
    return value("SELECT count(*) FROM pg_description d JOIN pg_class c ON c.oid = objoid AND classoid = 'pg_class'::regclass"
                 " WHERE relnamespace = 's'::regnamespace")


@test
def comments_are_not_left_for_another_import():
    """They are put on when the command ends; one that fails, or a table of another wrapper, must not get them."""
    available = {n for (n,) in db.execute("SELECT name FROM pg_available_extensions").fetchall()}
    if "postgres_fdw" not in available:
        print("skip - e2e/import/postgres_fdw: it is not installed", flush=True)
        return
    name = os.environ["PGDATABASE"]
    db.execute(f"""
        SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS postgres_fdw;
        DROP SCHEMA IF EXISTS here CASCADE; CREATE SCHEMA here;
        CREATE TABLE here.sales_order (id int, order_nbr text);
        DROP SERVER IF EXISTS loop CASCADE;
        CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname '{name}', host '{os.environ["PGHOST"]}', port '{os.environ["PGPORT"]}');
        CREATE USER MAPPING FOR CURRENT_USER SERVER loop OPTIONS (user '{os.environ["PGUSER"]}')""")

    def other():
        db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; IMPORT FOREIGN SCHEMA here FROM SERVER loop INTO s")
        assert count_of_comments() == 0

    # It fails after the wrapper has given its statements: the table is there already.
    def failing():
        db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; CREATE TABLE s.sales_order (a int)")
        with raises("42P07", "already exists"):
            db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (sales_order) FROM SERVER erp INTO s')

    failing()
    other()
    with db.transaction():
        db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; CREATE TABLE s.sales_order (a int)")
        with contextlib.suppress(psycopg.errors.DuplicateTable), db.transaction():
            db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (sales_order) FROM SERVER erp INTO s')
        other()
    # In one subtransaction of the same transaction ID the tables of both are there.
    with db.transaction():
        load("REST", "LIMIT TO (sales_order)")
        ours = count_of_comments()
        assert ours > 0
        db.execute("IMPORT FOREIGN SCHEMA here EXCEPT (sales_order) FROM SERVER loop INTO s")
        assert count_of_comments() == ours
    db.execute("DROP SERVER loop CASCADE; SET client_min_messages = notice")


@test
def comments_without_the_event_trigger():
    """Who disables it has no comments, now or at the next import."""
    db.execute("ALTER EVENT TRIGGER acumatica_fdw_imported DISABLE")
    try:
        load("REST", "LIMIT TO (sales_order)")
        assert count_of_comments() == 0
    finally:
        db.execute("ALTER EVENT TRIGGER acumatica_fdw_imported ENABLE")
    load("REST", "LIMIT TO (customer)")
    assert count_of_comments() > 0


@test
def padded_codes():
    load("OData", 'LIMIT TO ("BI-Customers")')
    assert tables()["bi_customers"]["unpad"] == "true"
    assert value("SELECT bool_or(customer_id LIKE '% ') FROM s.bi_customers") is False
    # One column of the table keeps what the others lose.
    db.execute("ALTER FOREIGN TABLE s.bi_customers ALTER COLUMN customer_id OPTIONS (ADD unpad 'false')")
    assert value("SELECT bool_and(length(customer_id) = 30) FROM s.bi_customers") is True
    load("OData", 'LIMIT TO ("BI-Customers")', unpad="false")
    assert "unpad" not in tables()["bi_customers"]
    assert value("SELECT bool_and(length(customer_id) = 30) FROM s.bi_customers") is True
    load("REST", "LIMIT TO (customer)")
    assert "unpad" not in tables()["customer"]


@test
def n_3_6_codes_join_across_surfaces_and_conditions_on_them_are_sent():
    db.execute("DROP SCHEMA IF EXISTS r CASCADE; DROP SCHEMA IF EXISTS d CASCADE")
    load("OData", 'LIMIT TO ("BI-Customers", "BI-SalesOrders", "BI-Inventory")')
    load("REST", "LIMIT TO (customer, sales_order, stock_item)", into="r")
    load("DAC", "LIMIT TO (so_order, customer, inventory_item)", into="d")
    known = value("SELECT count(*) FROM r.customer")
    assert value("SELECT count(*) FROM s.bi_customers i JOIN r.customer c ON c.customer_id = i.customer_id") == known > 0
    assert value("SELECT count(*) FROM s.bi_sales_orders i JOIN r.customer c USING (customer_id)") == value("SELECT count(*) FROM s.bi_sales_orders") > 0
    assert value("SELECT count(*) FROM d.inventory_item i JOIN r.stock_item s ON s.inventory_id = i.inventory_cd") > 0
    assert value("SELECT count(*) FROM s.bi_inventory b JOIN d.inventory_item i ON i.inventory_cd = b.inventory_id") > 0
    code = value("SELECT min(customer_id) FROM r.customer")
    for table in ("s.bi_customers", "r.customer"):
        sim.reset()
        assert value(f"SELECT count(*) FROM {table} WHERE customer_id = '{code}'") == 1, table
        asked = [r["path"] + "?" + r["query"] for r in sim.requests("ustomer") if "$metadata" not in r["path"]]
        assert asked and all(code in request for request in asked), asked
    # By key, as a record and page by page.
    item = value("SELECT min(inventory_cd) FROM d.inventory_item")
    assert value(f"SELECT count(*) FROM d.inventory_item WHERE inventory_cd = '{item}'") == 1
    everything = "SELECT array_agg(inventory_cd ORDER BY inventory_cd), bool_or(inventory_cd LIKE '% ') FROM d.inventory_item"
    in_one = db.execute(everything).fetchone()
    db.execute("ALTER FOREIGN TABLE d.inventory_item OPTIONS (ADD page_size '7')")
    assert db.execute(everything).fetchone() == in_one and len(set(in_one[0])) == len(in_one[0]) > 7 and in_one[1] is False
    db.execute("DROP SCHEMA r CASCADE; DROP SCHEMA d CASCADE")


@test
def the_version_of_the_endpoint_is_written_down():
    for given, wanted in (({}, ("Default", "24.200.001")), ({"endpoint_name": "ecommerce"}, ("eCommerce", "22.200.001")),
                          ({"endpoint_version": "23.200.001"}, ("Default", "23.200.001")),
                          ({"endpoint_name": "MANUFACTURING"}, ("MANUFACTURING", "21.200.001"))):
        load("REST", "LIMIT TO (sales_order)", **given)
        options = tables()["sales_order"]
        assert (options["endpoint_name"], options["endpoint_version"]) == wanted, options
        assert len(db.execute("SELECT * FROM s.sales_order LIMIT 3").fetchall()) == 3
    create_server(db, sim, "older", endpoint_name="default", endpoint_version="22.200.001")
    load("REST", "LIMIT TO (sales_order)", server="older")
    assert tables()["sales_order"]["endpoint_version"] == "22.200.001"
    load("REST", "LIMIT TO (sales_order)", server="older", endpoint_name="eCommerce")
    assert tables()["sales_order"]["endpoint_version"] == "22.200.001"
    assert tables()["sales_order"]["endpoint_name"] == "eCommerce"
    with raises("HV00R", "Defualt"):
        load("REST", endpoint_name="Defualt")
    with raises("HV00R", "19.200.001"):
        load("REST", endpoint_version="19.200.001")
    db.execute("DROP SERVER older CASCADE")


@test
def options_are_checked():
    for option, parts in (("linkd", ('"linked"',)), ("custom_field", ('"custom_fields"',)), ("page_size", ("schema import",)),
                          ("importcomments", ('"import_comments"',)), ("nonsense_nobody_meant", ("Valid options",))):
        with raises("HV00D", option, *parts):
            load("REST", **{option: "true"})
    for option, bad in (("linked", "flattened"), ("case", "camel"), ("details", "yes"), ("custom_fields", "perhaps"), ("prefix", "")):
        with raises("HV024", option):
            load("REST", **{option: bad})
    with raises("42710", "more than once"):
        db.execute("DROP SCHEMA IF EXISTS s; CREATE SCHEMA s")
        db.execute("IMPORT FOREIGN SCHEMA \"REST\" FROM SERVER erp INTO s OPTIONS (unpad 'true', unpad 'false')")
    with raises("HV00Q", 'remote schema "public" does not exist', "OData", "DAC", "REST"):
        load("public")
    load("odatav4", "LIMIT TO (SOOrder)")
    assert list(tables()) == ["so_order"]


# -- LIMIT TO and EXCEPT ----------------------------------------------------------------------------------------------


@test
def any_name_is_found():
    cases = {
        "REST": {"sales_order": ["sales_order", '"SalesOrder"', "SalesOrder", "SALES_ORDER", '"Sales Order"', "salesorder"],
                 "sales_order_details": ["sales_order_details", '"SalesOrder/Details"', "SalesOrderDetails"]},
        "OData": {"ar_aging_by_customer": ['"AR-Aging by Customer"', "ar_aging_by_customer", '"AR_Aging_by_Customer"', "ARAgingByCustomer"],
                  "größe_gewicht": ['"Größe & Gewicht"', "größe_gewicht", '"Größe_Gewicht"'],
                  "order_lines_totals": ['"Order Lines & Totals"', "order_lines_totals"]},
        "DAC": {"so_order": ["SOOrder", '"SOOrder"', "so_order", "PX_Objects_SO_SOOrder", '"PX_Objects_SO_SOOrder"', '"PX.Objects.SO.SOOrder"'],
                "customer": ["Customer", "customer", "PX_Objects_AR_Customer"]},
    }
    for remote, of_tables in cases.items():
        everything = None
        for local, names in of_tables.items():
            for name in names:
                load(remote, f"LIMIT TO ({name})")
                assert list(tables()) == [local], (name, list(tables()))
                limited = columns(local)
            if everything is None:
                load(remote)
                everything = all_columns()
            assert limited == everything[local]
            load(remote, f"EXCEPT ({names[1]})")
            assert tables().keys() == everything.keys() - {local}, (names[1], tables().keys() ^ everything.keys())
    load("REST", 'LIMIT TO ("Customer", "SalesOrder", sales_order, customer_contacts)')
    assert sorted(tables()) == ["customer", "customer_contacts", "sales_order"]


@test
def a_name_that_does_not_exist():
    for remote, name, near in (("REST", "SalesOder", "sales_order"), ("OData", '"AR-Aging by Costumer"', "ar_aging_by_customer"),
                               ("DAC", "SOOrdre", "so_order"), ("DAC", "PX_Objects_SO_SOOrdr", "so_order")):
        for how in ("LIMIT TO", "EXCEPT"):
            with raises("HV00R", f"has no table \"{name.strip(chr(34)) if name[0] == chr(34) else name.lower()}\"", near):
                load(remote, f"{how} ({name})")
            assert not tables()
    with raises("HV00R", "nothing_of_the_sort", "see which tables there are"):
        load("REST", "LIMIT TO (nothing_of_the_sort)")


@test
def names_do_not_depend_on_what_else_is_imported():
    odd = DEFINITIONS[1]
    of(odd)
    everything = {(o.get("entity") or o["inquiry"], o.get("detail")): (n, columns(n)) for n, o in tables().items()}
    for remote, (name, its_columns) in everything.items():
        if remote[0] in ("status", "Status", "Names", "Order", "Alias") or len(remote[0]) > 63:
            db.execute("SET client_min_messages = warning; DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; SET client_min_messages = notice")
            db.execute(f"IMPORT FOREIGN SCHEMA \"REST\" LIMIT TO ({quoted(name)}) FROM SERVER gen INTO s OPTIONS (endpoint_name 'Odd')")
            assert list(tables()) == [name] and columns(name) == its_columns, (name, list(tables()))


@test
def once_more_is_an_error():
    load("REST", "LIMIT TO (sales_order)")
    with raises("42P07", "already exists"):
        db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (sales_order) FROM SERVER erp INTO s')
    db.execute('IMPORT FOREIGN SCHEMA "REST" EXCEPT (sales_order) FROM SERVER erp INTO s')
    assert len(tables()) > 20


@test
def within_functions_and_transactions():
    db.execute("""
        CREATE OR REPLACE FUNCTION public.import_into(place text) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('SET LOCAL client_min_messages = warning; DROP SCHEMA IF EXISTS %1$I CASCADE; CREATE SCHEMA %1$I', place);
            EXECUTE format('IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("SalesOrder", customer) FROM SERVER erp INTO %I', place);
            RETURN (SELECT count(*) FROM pg_class WHERE relnamespace = place::regnamespace);
        END $$;
        CREATE OR REPLACE FUNCTION public.import_here() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s;
            -- A static statement, whose parse tree is kept for the next call.
            IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("SalesOrder", "Customer") FROM SERVER erp INTO s OPTIONS (prefix 'x_');
            RETURN (SELECT count(*) FROM pg_class WHERE relnamespace = 's'::regnamespace);
        END $$;
        CREATE OR REPLACE FUNCTION public.import_sql() RETURNS void LANGUAGE sql AS $$
            IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("Customer") FROM SERVER erp INTO s OPTIONS (prefix 'sql_') $$;
        SET client_min_messages = warning""")
    for place in ("s", "s2", "s"):
        assert value(f"SELECT public.import_into('{place}')") == 2
        assert sorted(tables(place)) == ["customer", "sales_order"]
    for _ in range(3):
        assert value("SELECT public.import_here()") == 2
        assert sorted(tables()) == ["x_customer", "x_sales_order"]
        assert count_of_comments() > 0
    for _ in range(2):
        db.execute("DROP FOREIGN TABLE IF EXISTS s.sql_customer")
        db.execute("SELECT public.import_sql()")
        assert "sql_customer" in tables()
    # As a prepared statement of the protocol, which is kept, too.
    for _ in range(3):
        db.execute("DROP FOREIGN TABLE IF EXISTS s.y_customer")
        db.execute("IMPORT FOREIGN SCHEMA \"REST\" LIMIT TO (\"Customer\") FROM SERVER erp INTO s OPTIONS (prefix 'y_')", prepare=True)
    # A savepoint that is rolled back takes the tables with it.
    db.execute("DROP SCHEMA s CASCADE; DROP SCHEMA s2 CASCADE; CREATE SCHEMA s")
    with contextlib.suppress(ZeroDivisionError), db.transaction():
        db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO s')
        with contextlib.suppress(psycopg.errors.DivisionByZero), db.transaction():
            db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (sales_order) FROM SERVER erp INTO s')
            db.execute("SELECT 1 / 0")
        assert list(tables()) == ["customer"] and count_of_comments() > 0
        raise ZeroDivisionError
    assert not tables()
    # And two-phase commit, where the cluster allows it.
    if int(value("SHOW max_prepared_transactions")):
        with db.transaction():
            db.execute('IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO s')
            db.execute("PREPARE TRANSACTION 'import'")
        db.execute("COMMIT PREPARED 'import'")
        assert list(tables()) == ["customer"]
    db.execute("SET client_min_messages = notice")


# -- OData and DAC ----------------------------------------------------------------------------------------------------


@test
def odata_v3_and_v4():
    shapes = {}
    for release in ("2023R2", "2024R2", "2026R2"):
        other = Sim("--release", release, "--scale", 0.05, "--site", "/Site", "--seats", 0)
        create_server(db, other, "release")
        told, _ = load("OData", server="release")
        shapes[release] = {name: [c._replace(not_null=None) for c in cs] for name, cs in all_columns().items()}
        assert any("HR-Salaries" in notice and "rights" in notice or "permission" in notice for notice in told), told
        assert any("CR-Opportunity Drafts" in notice for notice in told), told
        assert "hr_salaries" not in tables() and len(tables()) >= 12
        for name in tables():
            if [c for c in columns(name) if "parameter" in c.options] or name == "so_margin_by_order":
                continue
            assert len(db.execute(f"SELECT * FROM s.{quoted(name)} LIMIT 3").fetchall()) == 3, name
        parameters = {c.options["field"]: (c.type, c.options["parameter"]) for c in columns("order_lines_totals") if "parameter" in c.options}
        assert {n: t for n, (t, _) in parameters.items()} == {"Warehouse": "text", "Line": "integer", "Quantity": "numeric",
            "Completed": "boolean", "OrderDate": "date", "NoteID": "uuid"}, parameters
        load("REST", "LIMIT TO (sales_order)", server="release")
        assert len(db.execute("SELECT * FROM s.sales_order LIMIT 3").fetchall()) == 3
        load("DAC", "LIMIT TO (SOOrder)", server="release")
        assert len(db.execute("SELECT * FROM s.so_order LIMIT 3").fetchall()) == 3
        db.execute("DROP SERVER release CASCADE")
        other.stop()
    # The same tables, whatever the dialect.
    assert shapes["2023R2"] == shapes["2024R2"] == shapes["2026R2"]


@test
def rights_are_only_checked_where_they_are_asked_for():
    sim.reset()
    load("OData", check_rights="false")
    assert "hr_salaries" in tables()
    assert not sim.requests("$top=1")
    with raises("42501", "HR-Salaries"):
        db.execute("SELECT * FROM s.hr_salaries")
    told, _ = load("OData", 'LIMIT TO ("BI-Customers")')
    assert not told, told


@test
def every_dac():
    told, _ = load("DAC")
    assert not told, told
    rows, errors = answer_all()
    assert not errors, errors
    assert all(len(found) == 3 for found in rows.values())
    by_field = {c.options["field"]: c for c in columns("so_order")}
    assert by_field["Attributes"].options["pushdown"] == "off" and "pushdown" not in by_field["Status"].options


@test
def a_large_dac_metadata_in_bounded_memory():
    large = Sim("--dac-filler", 2245, "--seats", 0, "--scale", 0.01)
    create_server(db, large, "large")
    with connect() as backend:
        pid = backend.info.backend_pid
        # The library, its thread and TLS are there before it is measured.
        backend.execute("DROP SCHEMA IF EXISTS warm CASCADE; CREATE SCHEMA warm; IMPORT FOREIGN SCHEMA \"REST\" LIMIT TO (customer) FROM SERVER large INTO warm")
        before = peak(pid)
        _, seconds = load("DAC", "LIMIT TO (SOOrder, PX_Objects_AR_Customer, FillerType0007)", server="large", connection=backend)
        grown = (peak(pid) - before) / 1024
        print(f"# three of 2,258 data access classes: {seconds:.2f} s, {grown:.0f} MB")
        assert sorted(tables()) == ["customer", "filler_type0007", "so_order"], list(tables())
        assert grown < 100 and seconds < 20
    begun = time.monotonic()
    db.execute("DROP SCHEMA warm CASCADE")
    db.execute("DROP SERVER large CASCADE")
    large.stop()


# -- sizes ------------------------------------------------------------------------------------------------------------


def swagger(records, title="Big/1.0", entities=None):
    """A definition in Swagger 2.0: members by record, and which of these are top-level entities."""
    place = "#/definitions/"
    named = {"StringValue": {"type": "object", "properties": {"value": {"type": "string"}}},
             "Entity": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}}}
    for name, members in records.items():
        properties = {m: {"$ref": place + (t or "StringValue")} if not isinstance(t, dict) else t for m, t in members.items()}
        named[name] = {"allOf": [{"$ref": place + "Entity"}, {"type": "object", "properties": properties}]}
    paths = {f"/{name}": {"get": {"responses": {"200": {"schema": {"type": "array", "items": {"$ref": place + name}}}}}} for name in entities or records}
    return {"swagger": "2.0", "info": {"title": title, "version": "4"}, "paths": paths, "definitions": named}


@contextlib.contextmanager
def defined(*documents, options=()):
    """A server with endpoints of these definitions."""
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for number, document in enumerate(documents):
            path = pathlib.Path(folder, f"{number}.json")
            path.write_text(json.dumps(document))
            parts += ["--definition", path]
        of_these = Sim("--seats", 0, "--scale", 0.01, *options, *parts)
    create_server(db, of_these, "big")
    try:
        yield of_these
    finally:
        db.execute("SET client_min_messages = warning; DROP SERVER big CASCADE; SET client_min_messages = notice")
        of_these.stop()


@test
def more_columns_than_a_table_has_room_for():
    wide = {f"Field{n:04}": "" for n in range(2000)}
    linked = {f"Inner{n:04}": "" for n in range(800)}
    with defined(swagger({"Wide": wide, "Linked": {"Nbr": "", "Other": "", "To": "Far", "Too": "Far"}, "Far": linked}, entities=("Wide", "Linked"))):
        told, seconds = load("REST", server="big", endpoint_name="Big")
        print(f"# 2,000 fields: {seconds:.2f} s")
        assert len(columns("wide")) == 1600 and len(columns("linked")) == 1600
        assert any('"Wide"' in n and "403 columns" in n for n in told) and any('"Linked"' in n for n in told), told
        assert {"id", "nbr", "other", "note", "files"} <= {c.name for c in columns("linked")}
        rows, errors = answer_all()
        assert not errors, errors
        assert all(len(found) == 3 for found in rows.values())
        told, _ = load("REST", "LIMIT TO (linked)", server="big", endpoint_name="Big", linked="jsonb")
        assert not told and len(columns("linked")) == 7, told


@test
def three_thousand_entities():
    with defined(swagger({f"Thing{n:04}": {"Nbr": "", "Other": ""} for n in range(3000)})):
        told, seconds = load("REST", server="big", endpoint_name="Big")
        print(f"# 3,000 entities: {seconds:.2f} s")
        assert len(tables()) == 3000 and not told, told
        assert len(db.execute("SELECT * FROM s.thing2999 LIMIT 3").fetchall()) == 3


@test
def a_contract_of_any_version_is_as_its_definition_says():
    """An endpoint of one's own has a version of one's own; contract 5 is told by the definition."""
    document = json.loads((OURS / "contract5.json").read_text())
    for title in ("Default/26.300.001", "Own/1.0", "Own/27.000.001"):
        document["info"]["title"] = title
        name, _, version = title.partition("/")
        # Status is among the fields that the simulator takes for those of a switched-off feature.
        with defined(document, options=("--switched-off", "shown")):
            load("REST", "LIMIT TO (sales_order)", server="big", endpoint_name=name, endpoint_version=version)
            labels = db.execute("SELECT DISTINCT status, status_id FROM s.sales_order WHERE status IS NOT NULL").fetchall()
            assert ("Completed", "C") in labels, (title, labels)


@test
def into_a_schema_that_needs_quotes_and_without_a_search_path():
    schema = 'My "Schema" é'
    db.execute(f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE; CREATE SCHEMA {quoted(schema)}; SET search_path = ''")
    try:
        db.execute(f'IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO {quoted(schema)}')
        assert value(f"SELECT pg_catalog.obj_description({psycopg.sql.Literal(quoted(schema) + '.customer').as_string(db)}::pg_catalog.regclass)").startswith("Customers")
        assert db.execute("SELECT * FROM public.acumatica_diff(%s)", [schema]).fetchall() == []
    finally:
        db.execute(f"RESET search_path; DROP SCHEMA {quoted(schema)} CASCADE; SET client_min_messages = notice")


@test
def what_was_imported_can_be_dumped_and_restored():
    name = os.environ["PGDATABASE"]
    of(DEFINITIONS[1], details="jsonb", linked="jsonb", case="preserve")

    def dump(database):
        text = subprocess.run(["pg_dump", "-s", "-n", "s", database], check=True, capture_output=True, text=True).stdout
        # Newer versions put random keys into it.
        return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    db.execute(f"DROP DATABASE IF EXISTS {name}_restored")
    db.execute(f"CREATE DATABASE {name}_restored")
    with connect(dbname=f"{name}_restored") as other:
        create_server(other, generated, "gen")
        script = "\n".join(dump(name))
        assert len(script) > 20_000
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", f"{name}_restored"], input=script, check=True, text=True, stdout=subprocess.DEVNULL)
        assert dump(f"{name}_restored") == dump(name)
    db.execute(f"DROP DATABASE {name}_restored")


@test
def a_database_in_another_encoding():
    name = f"{os.environ['PGDATABASE']}_latin1"
    db.execute(f"DROP DATABASE IF EXISTS {name}")
    db.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with connect(dbname=name) as latin:
        create_server(latin, sim)
        create_server(latin, generated, "gen")
        latin.execute("SET client_min_messages = notice")
        latin.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))

        def found(schema="s"):
            return {n for (n,) in latin.execute("SELECT relname FROM pg_class WHERE relkind = 'f' AND relnamespace = to_regnamespace(%s)", [f'"{schema}"']).fetchall()}

        load("OData", connection=latin)
        assert "größe_gewicht" in found() and len(found()) == 13, found()
        for named in ('"Größe & Gewicht"', "größe_gewicht"):
            load("OData", f"LIMIT TO ({named})", connection=latin)
            assert found() == {"größe_gewicht"}, (named, found())
            load("OData", f"EXCEPT ({named})", connection=latin)
            assert "größe_gewicht" not in found() and len(found()) == 12, (named, found())
        load("OData", 'LIMIT TO ("Größe & Gewicht")', into="größe", connection=latin)
        assert latin.execute("SELECT größe FROM größe.größe_gewicht LIMIT 1").fetchone()
        # A table whose names the encoding lacks is left out, and said so; a comment that it lacks is no reason to fail.
        load("REST", server="gen", endpoint_name="Odd", connection=latin)
        assert any('"Names" was left out' in notice for notice in notices), notices
        assert "names" not in found() and {"case_", "größe_gewicht", "größe_gewicht_zeilen_ä"} <= found(), found()
        assert latin.execute("SELECT obj_description('s.größe_gewicht'::regclass)").fetchone()[0].startswith("Ma")
        latin.execute("DROP SERVER gen CASCADE; DROP SERVER erp CASCADE")
    db.execute(f"DROP DATABASE {name}")


# -- who may ----------------------------------------------------------------------------------------------------------


@test
def a_wrong_password():
    create_server(db, sim, "bad", password="not-the-pass")
    for remote in ("REST", "OData", "DAC"):
        with raises("28000", "did not accept the user name or password"):
            load(remote, server="bad")
    db.execute("DROP SERVER bad CASCADE")


@test
def rights_in_postgresql():
    db.execute("""SET client_min_messages = warning; DROP ROLE IF EXISTS importer; CREATE ROLE importer LOGIN;
        DROP SCHEMA IF EXISTS theirs CASCADE; CREATE SCHEMA theirs AUTHORIZATION importer; SET client_min_messages = notice""")
    statement = 'IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO theirs'
    other = psycopg.connect("user=importer", autocommit=True)
    with raises("42501", "permission denied for foreign server erp"):
        other.execute(statement)
    db.execute("GRANT USAGE ON FOREIGN SERVER erp TO importer")
    other.execute(statement)
    assert list(tables("theirs")) == ["customer"]
    assert value("SELECT count(*) FROM pg_description WHERE objoid = 'theirs.customer'::regclass") > 0
    assert len(other.execute("SELECT * FROM theirs.customer LIMIT 3").fetchall()) == 3
    with raises("42501", "permission denied for schema s"):
        db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s")
        other.execute(statement.replace("theirs", "s"))
    other.close()
    db.execute("DROP OWNED BY importer CASCADE; DROP ROLE importer")


@test
def without_a_user_mapping():
    db.execute(f"CREATE SERVER lonely FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '{sim.url}', company 'Company')")
    with raises("42704", "user mapping not found"):
        load("REST", server="lonely")
    db.execute("DROP SERVER lonely")


# -- what is wrong on the way -----------------------------------------------------------------------------------------


@test
def a_cancelled_import_ends_at_once_and_leaves_no_session():
    own = Sim("--scale", 0.01)
    create_server(db, own, "slow")
    for match, remote, kind in (("swagger.json", "REST", "delay"), ("swagger.json", "REST", "stall_body"),
                                ("$metadata", "DAC", "stall_body"), ("$metadata", "OData", "delay"),
                                ("$top=1", "OData", "delay"), ("$adHocSchema", "REST", "delay")):
        own.reset()
        own.fault(match, kind, ms=20000, bytes=3000, count=-1)
        with connect() as backend:
            outcome = {}

            def work():
                try:
                    load(remote, server="slow", into="cancelled", connection=backend, **({"custom_fields": "true"} if "adHoc" in match else {}))
                except psycopg.Error as error:
                    outcome["error"] = error
                outcome["at"] = time.monotonic()

            thread = threading.Thread(target=work)
            thread.start()
            eventually(lambda: own.requests(match), 15)
            time.sleep(0.1)
            cancelled = time.monotonic()
            backend.cancel()
            thread.join(15)
            assert not thread.is_alive(), (match, kind)
            assert outcome["error"].sqlstate == "57014", outcome
            assert outcome["at"] - cancelled < 0.3, (match, kind, outcome["at"] - cancelled)
        eventually(lambda: not own.sessions())
    own.reset()
    assert not tables("cancelled")
    load("REST", "LIMIT TO (customer)", server="slow")
    db.execute("DROP SERVER slow CASCADE")
    own.stop()


@test
def failures_on_the_way_are_repeated_or_told():
    sim.reset()
    sim.fault("$metadata", "close", bytes=5000)
    load("OData", 'LIMIT TO ("BI-Customers")')
    for kind in ("truncate", "html", "empty"):
        for match, remote in (("swagger.json", "REST"), ("$metadata", "DAC"), ("$metadata", "OData")):
            sim.reset()
            sim.fault(match, kind, bytes=2000, count=-1)
            with raises("08P01"):
                load(remote)
    sim.reset()
    sim.fault("swagger.json", "status", status=403, count=-1)
    with raises("42501"):
        load("REST")
    sim.reset()
    # An inquiry that fails otherwise than for want of rights is told of, too, and the rest is there.
    sim.fault("BI-Inventory?", "status", status=500, count=-1)
    told, _ = load("OData")
    assert any("BI-Inventory" in n for n in told) and "bi_customers" in tables(), told
    sim.reset()


class Script(http.server.ThreadingHTTPServer):
    """Serves what it is told to, by the end of the path: bytes, or a function that writes them piece by piece."""

    daemon_threads = True

    def __init__(self):
        self.answers = {}
        super().__init__(("127.0.0.1", 0), ScriptHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


    def handle_error(self, *_):
        """Whoever asked may leave at any time."""


class ScriptHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        answer = next((a for end, a in self.server.answers.items() if path.endswith(end)), b'{"value":[]}')
        headers = {}
        if isinstance(answer, tuple):
            answer, headers = answer
        self.send_response(200)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        for name, text in headers.items():
            self.send_header(name, text)
        with contextlib.suppress(OSError):
            if isinstance(answer, bytes):
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            else:
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                for piece in answer():
                    self.wfile.write(piece)
            self.wfile.flush()


script = Script()
db.execute(f"""
    DROP SERVER IF EXISTS odd CASCADE; CREATE SERVER odd FOREIGN DATA WRAPPER acumatica_fdw
        OPTIONS (url 'http://127.0.0.1:{script.server_port}', company 'C', odata_version '4', operation_timeout '5');
    CREATE USER MAPPING FOR PUBLIC SERVER odd OPTIONS (username 'u', password 'a-word-for-odd')""")
LISTED = b'{"endpoints":[{"name":"Default","version":"24.200.001","href":"/entity/Default/24.200.001/"}]}'
FINE = (OURS / "odd.json").read_bytes()


def serve(remote, body):
    where = "swagger.json" if remote == "REST" else "$metadata"
    script.answers = {where: body, "/entity": LISTED, "/gi": b'{"value":[]}', "/dac": b'{"value":[]}'}


def edmx(inner, container=""):
    return (f'<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">'
            f'<edmx:DataServices><Schema Namespace="G" xmlns="http://docs.oasis-open.org/odata/ns/edm">{inner}'
            f'<EntityContainer Name="D">{container}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>').encode()


def entity_type(name="A", properties='<Property Name="X" Type="Edm.String"/>'):
    return f'<EntityType Name="{name}"><Key><PropertyRef Name="X"/></Key>{properties}</EntityType>'


def entity_set(name="A"):
    return f'<EntitySet Name="{name}" EntityType="G.{name}"/>'


def attempt(remote, megabytes=150):
    """An import that may fail as it likes, but for crashes, hangs and great appetite; the SQLSTATE and the message."""
    with connect(options="-c statement_timeout=30s") as backend:
        backend.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        pid = backend.info.backend_pid
        before = peak(pid)
        outcome = "fine", ""
        begun = time.monotonic()
        try:
            load(remote, server="odd", connection=backend, into="odd", check_rights="false")
        except psycopg.Error as error:
            outcome = error.sqlstate, f"{error.diag.message_primary}; {error.diag.message_detail}"
        seconds = time.monotonic() - begun
        assert backend.execute("SELECT 1").fetchone() == (1,), "the backend is gone"
        assert outcome[0] not in ("57014", "XX000", None), outcome
        assert len(outcome[1]) < 2000, f"a message of {len(outcome[1])} characters"
        grown = (peak(pid) - before) / 1024
        assert grown < megabytes, f"{grown:.0f} MB"
        assert seconds < 15, f"{seconds:.0f} s"
        return outcome


def protocol_error(remote, body, **more):
    serve(remote, body)
    code, message = attempt(remote, **more)
    assert code == "08P01", (code, message)
    return message


@test
def malformed_definitions():
    assert FINE.endswith(b"}\n")
    serve("REST", FINE)
    assert attempt("REST") == ("fine", "") and "case_" in tables("odd")
    html = b"<!DOCTYPE html><html><body>Welcome</body></html>"
    for body in (b"", b" ", html, b"null", b"[]", b"{}", b'"x"', b"1", b'{"paths":{}}', b'{"paths":[],"definitions":[]}',
                 FINE[: len(FINE) // 2], FINE[:-3], FINE.decode().encode("utf-16"), FINE.decode().encode("utf-16-le"),
                 FINE.decode().encode("latin-1", "replace").replace(b"Order", b"\xd6rder"), FINE + b"}", b"\x1f\x8b" + FINE, b"\0" * 1000,
                 b'{"a":' * 200000, b"[" * 5_000_000):
        protocol_error("REST", body)
    # A byte order mark is none of these.
    serve("REST", b"\xef\xbb\xbf" + FINE)
    assert attempt("REST") == ("fine", "")


@test
def definitions_that_are_strange_but_json():
    document = json.loads(FINE)

    def with_types(types, paths=None):
        named = {**document["definitions"], **types}
        at = {f"/{n}": {"get": {"responses": {"200": {"schema": {"type": "array", "items": {"$ref": f"#/definitions/{n}"}}}}}} for n in paths or types}
        return json.dumps({**document, "definitions": named, "paths": at}).encode()

    base = {"$ref": "#/definitions/Entity"}
    ref = lambda name: {"$ref": f"#/definitions/{name}"}
    record = lambda members: {"allOf": [base, {"properties": members}]}
    long = "L" * 10_000_000
    for body in (
        with_types({long: record({"A": ref("StringValue")})}),
        with_types({"T": record({long: ref("StringValue"), "A": ref("StringValue")})}),
        with_types({"T": record({"A": {"$ref": "#/definitions/" + long}})}),
        with_types({"T": {"allOf": [ref("T")]}, "U": {"allOf": [ref("V")]}, "V": {"allOf": [ref("U")]}}),
        with_types({"T": record({"A": ref("W")}), "W": ref("X"), "X": ref("W")}, ["T"]),
        with_types({"T": record({f"L{n}": ref(f"T{n}") for n in range(9)}), **{f"T{n}": record({f"L{m}": ref(f"T{m}") for m in range(9)}) for n in range(9)}}, ["T"]),
        # Each includes the two before it: two to the forty.
        with_types({f"T{n}": {"allOf": [ref(f"T{n - 1}"), ref(f"T{n - 2}"), {"properties": {f"F{n}": ref("StringValue")}}]} if n > 1 else record({"A": ref("StringValue")}) for n in range(40)}, ["T39"]),
        # Lists in lists, crosswise: details of details of details.
        with_types({f"D{n}": record({f"M{m}": {"type": "array", "items": ref(f"D{m}")} for m in range(6) if m != n} | {"A": ref("StringValue")}) for n in range(6)}, ["D0"]),
        with_types({"T": record({"A": {"type": ["string", "null"]}, "B": {"type": 7}, "C": True, "D": None, "E": {"type": {}}})}),
        with_types({"T": record({"Ä\u0000B": ref("StringValue"), "\ud800": ref("StringValue")})}),
    ):
        serve("REST", body)
        # A NOTICE, or an error that says what is wrong.
        code, message = attempt("REST", megabytes=300)
        assert code in ("fine", "08P01"), (code, message, body[-300:])


@test
def names_that_options_cannot_hold_do_not_stop_the_rest():
    odd = ("", " ", " lead", "trail ", "*", "a*", "/", "a/b", "//", "a//b", "tab\tbed", "new\nline", "\u00a0", "\u2003wide", "x" * 999,
           "\u0000", "a\u0000b", "Fine")
    failed = {}
    for name in odd:
        serve("REST", json.dumps(swagger({"Good": {"Nbr": ""}, "Odd": {"Nbr": "", name: ""}})).encode())
        try:
            told, _ = load("REST", server="odd")
            assert "good" in tables(), name
            # The field that cannot be named may be missing, but then a NOTICE says so.
            assert told or len(columns("odd")) == 5, (name, told, columns("odd"))
        except psycopg.Error as error:
            failed[name[:20]] = str(error)
    assert not failed, failed


@test
def endless_definitions():
    def endless(start, piece):
        def pieces():
            yield start
            while True:
                yield piece
        return pieces

    for remote, start, piece in (("REST", b'{"paths":{', b'"/a":{},' * 10000), ("REST", b'{"x":"', b"y" * 100000),
                                 ("REST", b'{"definitions":{', b'"aaaaaaaaaaaaaaaaa":{"type":"string"},' * 3000)):
        serve(remote, endless(start, piece))
        code, message = attempt(remote, megabytes=400)
        assert code in ("08P01", "54000", "HV00L"), (code, message)
    whole = edmx(entity_type()).decode()
    for start, piece in ((whole[: whole.index("<EntityContainer")], entity_type("B") * 1000), ("<Edmx><Schema>", f"<!-- {'x' * 9000} -->" * 10),
                         ("<Edmx>", "<a>" * 30000), ("<Edmx><Schema><EntityType Name='", "N" * 100000), ("<Edmx a='1' ", "b" * 100000),
                         ("", "\n" * 100000), ("<!DOCTYPE a [", '<!ENTITY a "b">' * 5000)):
        serve("DAC", endless(start.encode(), piece.encode()))
        code, message = attempt("DAC", megabytes=400)
        assert code in ("08P01", "54000", "HV00L"), (code, message, start[:30], piece[:30])


@test
def malformed_metadata():
    fine = edmx(entity_type(), entity_set())
    for remote in ("OData", "DAC"):
        serve(remote, fine)
        assert attempt(remote) == ("fine", "") and list(tables("odd")) == ["a"]
        for body in (b"", b"{}", b"<html><body><p>Welcome<br></body></html>", fine[: len(fine) // 2], fine[:-4],
                     fine.replace(b'"X"', b'"\xff\xfe"'), b"\x1f\x8b\x08" + fine, b"\0" * 100, b"<" * 100000, fine.replace(b"utf-8", b"klingon").replace(b'"X"', b'"\xc4"')):
            protocol_error(remote, body)
    serve("DAC", edmx("", ""))
    code, message = attempt("DAC")
    assert code in ("fine", "08P01"), (code, message)
    # Other encodings than UTF-8 are read as they are, or refused, but never misread.
    text = fine.decode().replace('"X"', '"Größe"')
    for encoding, body in (("utf-16", text.replace("utf-8", "utf-16").encode("utf-16")), ("utf-16-le", text.encode("utf-16-le")), ("latin-1", text.replace("utf-8", "iso-8859-1").encode("latin-1")),
                           ("utf-8-sig", text.encode("utf-8-sig"))):
        serve("DAC", body)
        code, message = attempt("DAC")
        assert code in ("fine", "08P01"), (encoding, code, message)
        if code == "fine":
            assert [c.options["field"] for c in columns("a", "odd")] == ["Größe"], (encoding, columns("a", "odd"))
        else:
            assert encoding != "utf-8-sig", message


@test
def metadata_that_is_strange_but_xml():
    bomb = '<!DOCTYPE lolz [<!ENTITY lol "lol">' + "".join(
        f'<!ENTITY lol{n} "{f"&lol{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 10)) + "]>"
    fine = edmx(entity_type(), entity_set()).decode()
    # Entities that a document defines for itself are left as they are, or refused, and never looked up.
    for text in (fine.replace("?>", "?>" + bomb, 1).replace('"X"', '"&lol9;"'), fine.replace('"X"', '"&nbsp;"')):
        serve("DAC", text.encode())
        code, message = attempt("DAC", megabytes=60)
        assert code == "08P01" or "&" in columns("a", "odd")[0].options["field"], (code, message)
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    serve("DAC", fine.replace("?>", "?>" + outside, 1).replace('"X"', '"&x;"').encode())
    assert "root" not in str(attempt("DAC")) and "root" not in str(columns("a", "odd"))
    protocol_error("DAC", ("<a>" * 3_000_000).encode())

    def imported(inner, container):
        serve("DAC", edmx(inner, container))
        code, message = attempt("DAC")
        assert code == "fine", message
        return tables("odd"), list(notices)

    # Unknown types become text or jsonb, with a NOTICE or not, and the table is there.
    odd_types = "".join(f'<Property Name="P{n}" Type="{kind}"/>' for n, kind in enumerate(
        ("Edm.GeographyPoint", "Edm.Duration", "Edm.Stream", "Edm.TimeOfDay", "Edm.Binary", "Edm.SByte", "Edm.Nonsense", "G.Enum", "Collection(Edm.String)", "", "Edm.", "Collection(")))
    found, _ = imported(entity_type("A", odd_types + '<Property Name="X" Type="Edm.String"/>'), entity_set())
    assert "a" in found and {"P0", "P6", "X"} <= {c.options["field"] for c in columns("a", "odd")}, columns("a", "odd")
    # Names that nobody can type.
    long = "N" * 10_000_000
    for inner, container in ((entity_type() + entity_type(long), entity_set() + entity_set(long)),
                             (entity_type() + entity_type("B", f'<Property Name="{long}" Type="Edm.String"/>'), entity_set() + entity_set("B")),
                             (entity_type() + entity_type("B", f'<Property Name="X" Type="{long}"/>'), entity_set() + entity_set("B")),
                             (entity_type() + f'<EntityType Name="B" BaseType="G.{long}"/>', entity_set() + entity_set("B"))):
        serve("DAC", edmx(inner, container))
        code, message = attempt("DAC", megabytes=200)
        assert code in ("fine", "08P01"), message
    # Types that derive from each other in a circle, keys that are no properties, sets without types, types without sets.
    derived = "".join(f'<EntityType Name="{a}" BaseType="G.{b}"><Property Name="Of{a}" Type="Edm.String"/></EntityType>' for a, b in (("P", "Q"), ("Q", "P")))
    found, _ = imported(derived + entity_type() + '<EntityType Name="K"><Key><PropertyRef Name="Gone"/></Key><Property Name="Y" Type="Edm.String"/></EntityType>',
                        entity_set("P") + entity_set("Q") + entity_set("A") + entity_set("K") + '<EntitySet Name="None" EntityType="G.None"/>')
    assert {"a", "k"} <= found.keys(), found
    # Names with everything that SQL dislikes.
    found, _ = imported(entity_type("O", "".join(f'<Property Name="{n}" Type="Edm.String"/>' for n in ("X", "it's", "say &quot;hi&quot;", "back\\slash", "&#10;", "&#9;a", " b ", "*", "c/d", "&lt;&amp;&gt;", "ctid", "user"))),
                        entity_set("O"))
    assert "o" in found, found
    # The same set and the same property twice.
    found, _ = imported(entity_type("A", '<Property Name="X" Type="Edm.String"/><Property Name="X" Type="Edm.Int32"/><Property Name="x" Type="Edm.String"/>'), entity_set() * 2)
    assert "a" in found, found


@test
def a_small_answer_that_unpacks_to_a_large_one():
    """Compressed a thousand times over: bounded all the same."""
    body = gzip.compress(b'{"x":"' + b"y" * (300 << 20), 9)
    serve("REST", (body, {"Content-Encoding": "gzip"}))
    code, message = attempt("REST", megabytes=300)
    assert code != "fine", message


@test
def service_documents_that_are_no_json():
    serve("OData", edmx(entity_type(), entity_set()))
    script.answers["/gi"] = b"<html>"
    code, message = attempt("OData")
    assert code in ("fine", "08P01"), message
    script.answers["/gi"] = json.dumps({"value": [{"name": "N" * 5_000_000}, {"name": ""}, {"name": "Only Here"}]}).encode()
    code, message = attempt("OData")
    assert code == "fine" and len("".join(notices)) < 10_000, (code, message)
    assert any("Only Here" in n for n in notices), [n[:100] for n in notices]


@test
def issue_4_6_an_inquiry_that_no_address_can_name_is_left_out():
    serve("OData", edmx(entity_type(), entity_set()))
    script.answers["/gi"] = json.dumps({"value": [{"name": ".."}, {"name": "."}]}).encode()
    code, message = attempt("OData")
    assert code == "fine", message


@test
def issue_4_6_locks_that_do_not_fit_are_told_with_the_number_that_does():
    now = int(value("SHOW max_locks_per_transaction"))
    with db.transaction(force_rollback=True):
        taken = 0
        with raises("53200", "max_locks_per_transaction") as found:
            while True:
                with db.transaction():
                    db.execute(f"SELECT pg_advisory_xact_lock(n) FROM generate_series({taken}, {taken + 499}) n")
                taken += 500
        assert "import" not in found["error"].diag.message_hint, "the hint of another statement"
        with raises("53200", "max_locks_per_transaction") as found:
            with db.transaction():
                for n in range(20):
                    db.execute(f'CREATE SCHEMA many{n}; IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO many{n}')
        hint = found["error"].diag.message_hint
        numbers = re.search(r"makes (\d+) tables.* max_locks_per_transaction = (\d+) \(now (\d+)\)", hint)
        assert numbers and int(numbers[3]) == now and int(numbers[2]) > now, hint
    # The next one fits, and its tables are commented on.
    load("REST", 'LIMIT TO ("SalesOrder")')


@test
def no_session_is_left():
    """Of all these errors."""
    db.execute("SELECT acumatica_disconnect_all()")
    assert not sim.sessions() and not generated.sessions()
    assert PASSWORD not in str(notices)


finish()
