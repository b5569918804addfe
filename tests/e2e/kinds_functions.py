#!/usr/bin/env python3
"""Tables written by hand, whose names are looked up in the definitions, and the functions: attachments, what there is,
what has changed."""

import os
import pathlib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from data_set import DEFINITIONS, ITEMS, SITES, db, end, form_truth, load, rows, same, sim, test, truth, value
from harness import Sim, connect, create_server, psycopg, raises


# -- tables written by hand --------------------------------------------------------------------------------------------


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


# -- functions ---------------------------------------------------------------------------------------------------------


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


@test
def the_library_has_a_name_and_a_version():
    """Which PostgreSQL shows from 18 on."""
    if db.info.server_version >= 180000:
        shown = rows("SELECT module_name, version FROM pg_get_loaded_modules() WHERE file_name LIKE 'acumatica_fdw%'")
        assert shown == rows("SELECT extname::text, extversion FROM pg_extension WHERE extname = 'acumatica_fdw'"), shown


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
def tables_of_the_endpoint_in_the_address_of_the_server_are_compared():
    create_server(db, sim, "of_address", url=f"{sim.url}/entity/eCommerce/22.200.001")
    db.execute("DROP SCHEMA IF EXISTS d CASCADE")
    load("REST", "LIMIT TO (customer)", server="of_address", into="d")
    db.execute("ALTER FOREIGN TABLE d.customer OPTIONS (DROP endpoint_name, DROP endpoint_version), DROP COLUMN terms")
    found = [change for table, change, _ in diff("d") if table == "customer"]
    assert len(found) == 1 and "Terms" in found[0], found
    db.execute("DROP SERVER of_address CASCADE")


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


end()
