#!/usr/bin/env python3
"""Columns against the data set: codes and labels of contract 5, whole rows, padded codes, custom fields; and what
headers change of the rows."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from data_set import CALLS, FORM, ITEMS, SCALE, db, end, load, rows, same, sim, test, truth, value
from harness import Sim, create_server, raises


# -- contract 5 --------------------------------------------------------------------------------------------------------


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
    # A table written by hand: the field by its path, and the whole drop-down as jsonb.
    db.execute("""CREATE FOREIGN TABLE five.hand (order_nbr text, status text, status_id text OPTIONS (field 'Status/id'), both_ jsonb OPTIONS (field 'Status')) SERVER new OPTIONS (entity 'SalesOrder')""")
    assert ("Open", "N") in rows("SELECT DISTINCT status, status_id FROM five.hand")
    db.execute("DROP SERVER new CASCADE")
    new.stop()


# -- what headers change -----------------------------------------------------------------------------------------------


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
    # Details and forms get the headers, too. A prepared statement with a generic plan uses the current setting.
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
    # Contract REST does not get the header.
    assert headers_of("SELECT * FROM s.bill LIMIT 1", "Bill")[0] == {}
    db.execute("RESET acumatica_fdw.show_deleted")
    assert value("SELECT count(*) FROM dac.vendor") == vendors
    # The same as options of a table and of a server.
    db.execute("ALTER FOREIGN TABLE dac.vendor OPTIONS (ADD show_deleted 'on'); ALTER FOREIGN TABLE s.bill OPTIONS (ADD show_archived 'true')")
    assert value("SELECT count(*) FROM dac.vendor") == vendors + vendors // 20 and value("SELECT count(*) FROM s.bill") == bills + bills // 20
    db.execute("ALTER SERVER erp OPTIONS (ADD show_archived 'true'); ALTER FOREIGN TABLE s.bill OPTIONS (SET show_archived 'false')")
    assert value("SELECT count(*) FROM dac.ap_invoice") == invoices + invoices // 20
    assert value("SELECT count(*) FROM s.bill") == bills, "the table goes before the server"
    db.execute("ALTER SERVER erp OPTIONS (DROP show_archived); ALTER FOREIGN TABLE s.bill OPTIONS (DROP show_archived); ALTER FOREIGN TABLE dac.vendor OPTIONS (DROP show_deleted)")
    with raises("HV00D", "show_deleted", "DAC"):
        db.execute("CREATE FOREIGN TABLE bad (a text) SERVER erp OPTIONS (schema 'REST', entity 'Bill', show_deleted 'true')")


# -- columns -----------------------------------------------------------------------------------------------------------


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
    # Without other columns.
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


end()
