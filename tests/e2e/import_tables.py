#!/usr/bin/env python3
"""IMPORT FOREIGN SCHEMA: every definition, whatever is in it, becomes tables that answer, and so does the metadata of
OData and DAC."""

import os
import pathlib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from definition import Definition
from harness import Sim, connect, create_server, raises, test
from importing import CONTRACT5, ODD, all_columns, answer_all, columns, db, end, generate, load, of, peak, quoted, sim, tables, value

REAL = pathlib.Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "swagger"
FILES = sorted(REAL.glob("*.swagger.json"))
if not FILES:
    print(f"skip - e2e/import_tables/fixtures: there is no {REAL}", flush=True)
DEFINITIONS = [CONTRACT5, ODD, *map(Definition, FILES)]
generated = generate(*DEFINITIONS)


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
        # Fields of unknown types are left out, which a notice says.
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
    """Names differ in more than case, fit into 63 bytes, and need quotes only if their letters are not ASCII."""
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
        """Each column has a value in some row: a field that is requested by a wrong path is NULL without an error."""
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
                # These have no value in the simulator: parameters that were not given, types that it cannot read, and now
                # and then one of 2,000 random bits.
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
    for definition in (CONTRACT5, ODD):
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
    of(CONTRACT5, linked="jsonb")
    assert value("SELECT count(*) FROM s.sales_order WHERE ship_to ? 'Email'") > 0, \
        value("SELECT ship_to FROM s.sales_order LIMIT 1")


@test
def details_as_jsonb_too():
    of(CONTRACT5, details="jsonb")
    assert {c.name: c.type for c in columns("sales_order")}["details"] == "jsonb"
    assert "sales_order_details" in tables()
    rows = value("SELECT count(*) FROM s.sales_order_details")
    assert value("SELECT sum(jsonb_array_length(details)) FROM s.sales_order") == rows > 0
    of(ODD, details="jsonb", linked="jsonb")
    assert not answer_all()[1], answer_all()[1]


@test
def names_as_they_are():
    of(CONTRACT5, case="preserve")
    assert "SalesOrder" in tables() and "SalesOrder_Details" in tables(), list(tables())
    names = [c.name for c in columns("SalesOrder")]
    assert {"OrderNbr", "ShipTo_Email", "ShipTo_Address_City", "Status_id", "id"} <= set(names), names
    of(ODD, case="preserve")
    names = [c.name for c in columns("Names")]
    assert {'say "hi"', "with space", "it's", "a.b", "back\\slash", "😀", "数量", "%"} <= set(names), names
    assert "ctid" not in names and {"Case", "Order", "User", "Größe & Gewicht"} <= set(tables()), list(tables())
    check_tables(ODD)
    rows, errors = answer_all()
    assert not errors, errors


@test
def odd_names_in_snake_case():
    of(ODD)
    found = tables()
    assert {"case_", "order_", "user_", "größe_gewicht", "a", "b", "alias"} <= found.keys(), list(found)
    fields = {c.options["field"]: c.name for c in columns("names")}
    assert fields["ctid"] != "ctid" and fields["1099Box"].startswith("_1099_box") and fields["with space"] == "with_space", fields
    assert fields["ID"] != fields["id"] and fields["Note"] != fields["note"], fields
    # Entities whose names differ only in case.
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
    of(ODD, prefix="odd_")
    assert all(name.startswith("odd_") for name in tables()) and "odd_case" in tables(), list(tables())
    of(ODD, prefix='A "b" ', case="preserve")
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
    for definition in (ODD,):
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
    # $custom has more fields than one request can name; the parts are joined by row.
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


# -- OData and DAC -----------------------------------------------------------------------------------------------------


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
    setup = {name for name, options in tables().items() if "singleton" in options}
    assert setup == {"gl_setup", "ar_setup"}, setup
    assert all(len(found) == (1 if name in setup else 3) for name, found in rows.items())
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
    db.execute("DROP SCHEMA warm CASCADE")
    db.execute("DROP SERVER large CASCADE")
    large.stop()


end(generated)
