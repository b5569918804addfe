#!/usr/bin/env python3
"""IMPORT FOREIGN SCHEMA: its options, LIMIT TO and EXCEPT, where any of a table's names finds it."""

import contextlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import create_server, psycopg, raises, test
from importing import ODD, all_columns, columns, count_of_comments, db, end, generate, load, of, quoted, sim, tables, value

generated = generate(ODD)


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


def counted(table):
    """The number of rows in the statistics, which is -1 before they are counted."""
    return value(f"SELECT reltuples FROM pg_class WHERE oid = 's.{table}'::regclass")


@test
def statistics():
    load("DAC", "LIMIT TO (SOOrder)")
    assert counted("so_order") == -1
    sim.reset()
    told, _ = load("DAC", "LIMIT TO (SOOrder, SOLine, ARSetup)", import_statistics="true")
    asked = [entry["path"] for entry in sim.requests() if "PX_Objects" in entry["path"]]
    assert len(asked) == 2 and all(path.endswith("/$count") for path in asked), asked
    assert "counted the rows of 3 tables with 2 requests" in told, told
    for table in ("so_order", "so_line", "ar_setup"):
        assert counted(table) == value(f"SELECT count(*) FROM s.{table}"), table
    # They are no comments, and the next ANALYZE finds others.
    assert value("SELECT obj_description('s.so_line'::regclass)")
    told, _ = load("REST", "LIMIT TO (customer, sales_order_details)", import_statistics="true", import_comments="false")
    assert counted("customer") == value("SELECT count(*) FROM s.customer") and counted("sales_order_details") == -1
    assert count_of_comments() == 0 and any("counted the rows of 1 tables" in message for message in told), told
    db.execute("ANALYZE s.sales_order_details")
    assert counted("sales_order_details") > 0


@test
def statistics_that_fail():
    sim.fault("/$count", "status", status=403, count=1)
    told, _ = load("DAC", "LIMIT TO (SOOrder, SOLine)", import_statistics="true")
    sim.reset()
    assert sorted(counted(table) == -1 for table in tables()) == [False, True], told
    assert any("were not counted" in message for message in told), told
    sim.fault("/$count", "status", status=403, count=-1)
    told, _ = load("DAC", "LIMIT TO (SOOrder, SOLine, APInvoice, ARInvoice, BAccount)", import_statistics="true")
    sim.reset()
    assert any("rows of 2 tables were not counted: the server has failed several times" in message for message in told), told
    # A cancel ends the import, which leaves nothing.
    sim.fault("/$count", "delay", ms=20000, count=-1)
    db.execute("SET statement_timeout = '2s'")
    with raises("57014"):
        load("DAC", "LIMIT TO (SOOrder)", import_statistics="true")
    db.execute("SET statement_timeout = '60s'")
    sim.reset()
    assert not tables()


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


@test
def comments_are_not_left_for_another_import():
    """Comments are set when the command ends. A command that fails must not leave them for a table of another wrapper."""
    available = {n for (n,) in db.execute("SELECT name FROM pg_available_extensions").fetchall()}
    if "postgres_fdw" not in available:
        print("skip - e2e/import_options/postgres_fdw: it is not installed", flush=True)
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

    # The command fails after the wrapper has returned its statements, because the table exists already.
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
    # In one transaction both imports have made their tables.
    with db.transaction():
        load("REST", "LIMIT TO (sales_order)")
        ours = count_of_comments()
        assert ours > 0
        db.execute("IMPORT FOREIGN SCHEMA here EXCEPT (sales_order) FROM SERVER loop INTO s")
        assert count_of_comments() == ours
    db.execute("DROP SERVER loop CASCADE; SET client_min_messages = notice")


@test
def comments_without_the_event_trigger():
    """With the event trigger disabled there are no comments, nor are they set by the next import."""
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
    # The option of one column overrides that of the table.
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
    # Look up a single record by its key, and read the set page by page.
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


# -- LIMIT TO and EXCEPT -----------------------------------------------------------------------------------------------


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
    of(ODD)
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
    # As a prepared statement of the protocol, which psycopg reuses.
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


end(generated)
