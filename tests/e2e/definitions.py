#!/usr/bin/env python3
"""Definitions as real servers write them (issue 12: 3.1, 3.4), from a scripted OData server: what IMPORT makes of them, which
requests a scan sends, and what is refused. We wrote the documents in the shapes of recorded ones."""

import http.server
import json
import os
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, finish, raises, test

V4 = '''<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
<edmx:DataServices><Schema Namespace="GenericInquiry" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="DBStock"><Key><PropertyRef Name="InventoryID"/><PropertyRef Name="NoteID"/></Key>
  <Property Name="InventoryID" Type="Edm.String"/><Property Name="QtyOnHand" Type="Edm.Decimal"/><Property Name="NoteID" Type="Edm.String"/></EntityType>
<EntityType Name="Plain"><Key><PropertyRef Name="ID"/><PropertyRef Name="NoteID"/></Key>
  <Property Name="ID" Type="Edm.Int32"/><Property Name="Text" Type="Edm.String"/><Property Name="NoteID" Type="Edm.String"/></EntityType>
<Function Name="DB-Stock"><Parameter Name="Warehouse" Type="Edm.String"/><Parameter Name="AsOf" Type="Edm.DateTimeOffset"/>
  <ReturnType Type="Collection(GenericInquiry.DBStock)" Nullable="false"/></Function>
<EntityContainer Name="Default"><EntitySet Name="DB-Stock" EntityType="GenericInquiry.DBStock"/><EntitySet Name="Plain" EntityType="GenericInquiry.Plain"/>
<FunctionImport Name="DBStock_WithParameters" Function="GenericInquiry.DB-Stock" EntitySet="DB-Stock"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'''
V3 = '''<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx">
<edmx:DataServices m:DataServiceVersion="3.0" xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">
<Schema Namespace="PX.Data" xmlns="http://schemas.microsoft.com/ado/2009/11/edm">
<EntityType Name="DBStock"><Key><PropertyRef Name="InventoryID"/><PropertyRef Name="NoteID"/></Key>
  <Property Name="InventoryID" Type="Edm.String"/><Property Name="QtyOnHand" Type="Edm.Decimal"/><Property Name="NoteID" Type="Edm.String"/></EntityType>
<EntityContainer Name="Default" m:IsDefaultEntityContainer="true"><EntitySet Name="DB-Stock" EntityType="PX.Data.DBStock"/>
<FunctionImport Name="DBStock_WithParameters" ReturnType="Collection(PX.Data.DBStock)" IsSideEffecting="false" EntitySet="DB-Stock">
  <Parameter Name="Warehouse" Type="Edm.String"/><Parameter Name="AsOf" Type="Edm.DateTime"/></FunctionImport></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'''
# Metadata of releases up to 2022 R1 does not mention parameters.
OLD = V3[: V3.index("<FunctionImport")] + V3[V3.index("</EntityContainer>") :]


def stock(quantity):
    return {"InventoryID": "AALEGO500 ", "QtyOnHand": quantity, "NoteID": "n"}


class Site(http.server.ThreadingHTTPServer):
    """`documents`: $metadata by service root. `rows`: answers by path below a root. All other paths are answered with 404."""

    daemon_threads = True

    def __init__(self):
        self.asked, self.documents, self.rows = [], {}, {}
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", kind="application/json"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(204)

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                path, query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
                for root, document in site.documents.items():
                    if path == root:
                        return self.answer(200, b'{"value":[]}')
                    if path == root + "/$metadata":
                        site.asked.append("$metadata")
                        return self.answer(200, document.encode(), "application/xml")
                    if path.startswith(root + "/") and path[len(root) + 1 :] in site.rows:
                        name = path[len(root) + 1 :]
                        site.asked.append((name, query))
                        answer = site.rows[name](query)
                        return self.answer(200, json.dumps(answer if isinstance(answer, dict) else {"value": answer[int(query.get("$skip", 0)) :]}).encode())
                site.asked.append(("not found", self.path))
                self.answer(404, b'{"message":"not found"}')

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        asked, self.asked = self.asked, []
        return asked


GI_V4, GI_V3 = "/t/C/api/odata/gi", "/odata/C"
site = Site()
db = connect(options="-c statement_timeout=20s")


def server(name, **options):
    listed = "".join(f", {option} '{value}'" for option, value in options.items())
    db.execute(f"""DROP SERVER IF EXISTS {name} CASCADE; CREATE SERVER {name} FOREIGN DATA WRAPPER acumatica_fdw
        OPTIONS (url 'http://127.0.0.1:{site.server_port}', company 'C'{listed});
        CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS (username 'u', password 'a-word-for-scripts')""")


def load(remote, name, into):
    db.execute(f"DROP SCHEMA IF EXISTS {into} CASCADE; CREATE SCHEMA {into}; IMPORT FOREIGN SCHEMA \"{remote}\" FROM SERVER {name} INTO {into}")


def rows(query):
    return db.execute(query).fetchall()


def serve(**more):
    site.rows = {
        # The trap: the rows of default values, and no error.
        "DB-Stock": lambda query: [stock("1")],
        "DBStock_WithParameters(Warehouse=@p1,AsOf=@p2)": lambda query: [stock("7")] if query["@p1"] == "'O''N & 5%'" else [],
        "DBStock_WithParameters": lambda query: [stock("8")] if query["Warehouse"] == "O'N & 5%" and query["$format"] == "json" else [],
        **more,
    }
    site.take()


WANTED = "warehouse = 'O''N & 5%' AND as_of = '2024-01-31 12:00+02'"


@test
def issue_3_1_inquiries_of_v4_are_called_by_the_imports_name():
    site.documents = {GI_V4: V4}
    server("four", odata_version="4")
    serve()
    load("OData", "four", "v4")
    site.take()
    assert rows(f"SELECT qty_on_hand FROM v4.db_stock WHERE {WANTED}") == [(7,)]
    asked = site.take()
    assert asked[0][1]["@p2"] == "2024-01-31" and "$metadata" not in asked, asked
    with raises("HV002", "needs a value for the parameter"):
        rows("SELECT * FROM v4.db_stock")
    assert site.take() == []


@test
def issue_3_1_inquiries_of_v3_are_called_with_query_options():
    site.documents = {GI_V3: V3}
    server("three", odata_version="3")
    serve()
    load("OData", "three", "v3")
    site.take()
    assert rows(f"SELECT qty_on_hand FROM v3.db_stock WHERE {WANTED}") == [(8,)]
    asked = site.take()
    assert asked[0][1]["AsOf"] == "2024-01-31" and "$metadata" not in asked, asked


@test
def issue_3_1_tables_by_hand_learn_it_from_the_definitions():
    for name, root, document, quantity in (("four", GI_V4, V4, 7), ("three", GI_V3, V3, 8)):
        site.documents = {root: document}
        server(name, odata_version="4" if name == "four" else "3")
        serve()
        db.execute(f"""DROP SCHEMA IF EXISTS hand CASCADE; CREATE SCHEMA hand;
            CREATE FOREIGN TABLE hand.bare (item text OPTIONS (field 'InventoryID', key '1'), qty numeric OPTIONS (field 'QtyOnHand'))
                SERVER {name} OPTIONS (schema 'OData', inquiry 'DB-Stock');
            CREATE FOREIGN TABLE hand.called (warehouse text OPTIONS (field 'Warehouse', parameter 'required'),
                as_of timestamptz OPTIONS (field 'AsOf', parameter 'required'), qty numeric OPTIONS (field 'QtyOnHand'), item text OPTIONS (field 'InventoryID', key '1'))
                SERVER {name} OPTIONS (schema 'OData', inquiry 'DB-Stock')""")
        for _ in range(2):
            for query in ("SELECT * FROM hand.bare", "SELECT qty FROM hand.bare WHERE item = 'AALEGO500' LIMIT 1", "SELECT count(*) FROM hand.bare"):
                with raises("HV024", "has parameters", "Warehouse, AsOf", "Import the inquiry"):
                    rows(query)
            assert rows(f"SELECT qty FROM hand.called WHERE {WANTED}") == [(quantity,)]
        # The $metadata is requested once, not by each scan or backend.
        asked = site.take()
        assert asked.count("$metadata") == 1 and not [path for path, *_ in asked if path == "DB-Stock"], asked
        with connect() as other:
            assert other.execute(f"SELECT qty FROM hand.called WHERE {WANTED}").fetchall() == [(quantity,)]
        assert "$metadata" not in site.take()


@test
def issue_3_1_without_definitions_nothing_changes():
    db.execute("""DROP SCHEMA IF EXISTS hand CASCADE; CREATE SCHEMA hand""")
    for number, document in enumerate((OLD, "<html>", V3.replace("DB-Stock", "Else"))):
        site.documents = {GI_V3: document}
        server("old", odata_version="3")
        serve()
        db.execute("CREATE FOREIGN TABLE hand.bare (item text OPTIONS (field 'InventoryID', key '1'), qty numeric OPTIONS (field 'QtyOnHand')) SERVER old OPTIONS (schema 'OData', inquiry 'DB-Stock')")
        for _ in range(3):
            assert rows("SELECT * FROM hand.bare") == [("AALEGO500 ", 1)]
        assert site.take().count("$metadata") == 1
        # Without metadata an empty answer is an error: the set may need parameters.
        if document == "<html>":
            serve(**{"DB-Stock": lambda query: []})
            with raises("08P01", "$metadata"):
                rows("SELECT * FROM hand.bare")


@test
def issue_3_4_conditions_on_keys_behind_the_grid_are_not_sent():
    plain = [{"ID": n, "Text": f"t{n}", "NoteID": f"n{n % 3}"} for n in range(10)]
    parallel = [{"ID": 99, "Text": "other", "NoteID": "n1"}]
    site.documents = {GI_V4: V4}
    server("four", odata_version="4")
    serve(Plain=lambda query: parallel if "NoteID" in query.get("$filter", "") else [row for row in plain if "$filter" not in query or row["ID"] == 4])
    load("OData", "four", "v4")
    db.execute("""DROP SCHEMA IF EXISTS hand CASCADE; CREATE SCHEMA hand;
        CREATE FOREIGN TABLE hand.plain (id int OPTIONS (field 'ID', key '1'), note_id text OPTIONS (field 'NoteID')) SERVER four OPTIONS (schema 'OData', inquiry 'Plain')""")
    for table in ("v4.plain", "hand.plain"):
        assert rows(f"SELECT id FROM {table} WHERE note_id = 'n1'") == [(1,), (4,), (7,)], table
        assert rows(f"SELECT id FROM {table} WHERE note_id = 'n1' AND id = 4") == [(4,)], table
        assert rows(f"SELECT count(*) FROM {table} WHERE note_id = 'n1'") == [(3,)], table
    filters = {query.get("$filter") for name, query in [asked for asked in site.take() if asked != "$metadata"] if name == "Plain"}
    assert filters == {None, "ID eq 4"}, filters
    # The option pushdown 'on' overrides the metadata.
    db.execute("ALTER FOREIGN TABLE v4.plain ALTER COLUMN note_id OPTIONS (SET pushdown 'on')")
    rows("SELECT id FROM v4.plain WHERE note_id = 'n1'")
    assert [1 for name, query in site.take() if "NoteID" in query.get("$filter", "")]


def dac():
    key = '<Key><PropertyRef Name="ID"/></Key><Property Name="ID" Type="Edm.Int32" Nullable="false"/>'
    name = '<Property Name="Name" Type="Edm.String"/>'
    refused = '<Annotation Term="Org.OData.Capabilities.V1.FilterRestrictions"><Record><PropertyValue Property="{}</PropertyValue></Record></Annotation>'
    one = refused.format('NonFilterableProperties"><Collection><PropertyPath>Calculated</PropertyPath></Collection>')
    nothing = refused.format('Filterable" Bool="false">')
    sets = "".join(
        f'<EntitySet Name="{name}" EntityType="{kind}">{notes}</EntitySet>'
        for kind, notes, names in (
            ("PX.Objects.SO.SOOrder", one, ("SalesOrder", "SOOrder")),
            ("PX.Cloud.RecordProjection", "", ("Record",)),
            ("PX.Cloud.Record", "", ("Record1",)),
            ("PX.Objects.AR.Customer", nothing, ("Customer4",)),
        )
        for name in (*names, kind.replace(".", "_"))
    )
    return f'''<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="PX.Objects.SO" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="SOOrder">{key}{name}<Property Name="Calculated" Type="Edm.Decimal" Scale="Variable"/></EntityType></Schema>
<Schema Namespace="PX.Cloud" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="Record">{key}{name}</EntityType><EntityType Name="RecordProjection">{key}{name}</EntityType></Schema>
<Schema Namespace="PX.Objects.AR" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="Customer" BaseType="PX.Objects.CR.BAccount"><Property Name="Terms" Type="Edm.String"/></EntityType>
<EntityType Name="ARSetup">{name}<Property Name="Days" Type="Edm.Int16"/></EntityType></Schema>
<Schema Namespace="PX.Objects.CR" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="BAccount">{key}{name}</EntityType></Schema>
<Schema Namespace="Default" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityContainer Name="Container">{sets}
<Singleton Name="PX_Objects_AR_ARSetup" Type="PX.Objects.AR.ARSetup"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'''


DAC = "/t/C/api/odata/dac"


def orders(query):
    """A class whose property `Calculated` the server refuses in `$filter` and `$select`."""
    assert "Calculated" not in query.get("$filter", "") and "Calculated" not in query.get("$select", ""), query
    return [{"ID": 1, "Name": "one", "Calculated": 1.5}, {"ID": 2, "Name": "two", "Calculated": 2.5}]


def customers(query):
    assert "$filter" not in query and "$select" not in query, query
    return [{"ID": 1, "Name": "one", "Terms": "30D"}, {"ID": 2, "Name": "two", "Terms": None}]


def setup(query):
    assert not {"$filter", "$orderby", "$top", "$skip"} & set(query), query
    return {"@odata.context": "x", "Name": "main", "Days": 30}


def serve_dac():
    site.documents = {GI_V4: V4, DAC: dac()}
    server("classes", odata_version="4")
    record, projection = ([{"ID": 1, "Name": name}] for name in ("record", "projection"))
    serve(PX_Objects_SO_SOOrder=orders, SalesOrder=orders, SOOrder=orders, PX_Cloud_Record=lambda _: record, Record1=lambda _: record, Record=lambda _: projection,
          PX_Cloud_RecordProjection=lambda _: projection, PX_Objects_AR_Customer=customers, Customer4=customers, PX_Objects_AR_ARSetup=setup)


@test
def issue_2_5_one_table_for_each_class_asked_by_its_full_name():
    serve_dac()
    load("DAC", "classes", "dac")
    names = [name for (name,) in rows("SELECT relname FROM pg_class WHERE relnamespace = 'dac'::regnamespace ORDER BY 1")]
    assert names == ["ar_setup", "customer", "record", "record_projection", "so_order"], names
    site.take()
    assert rows("SELECT name FROM dac.record") == [("record",)] and rows("SELECT name FROM dac.record_projection") == [("projection",)]
    assert {name for name, _ in site.take()} == {"PX_Cloud_Record", "PX_Cloud_RecordProjection"}
    db.execute("DROP SCHEMA dac CASCADE; CREATE SCHEMA dac")
    told = []
    db.execute("SET client_min_messages = notice")
    db.add_notice_handler(lambda diagnostic: told.append(diagnostic.message_primary))
    db.execute('IMPORT FOREIGN SCHEMA "DAC" LIMIT TO ("Record") FROM SERVER classes INTO dac')
    assert rows("SELECT name FROM dac.record") == [("record",)] and any("PX_Cloud_RecordProjection" in text for text in told), told


@test
def issue_2_5_another_class_is_not_read_in_silence():
    serve_dac()
    for number, (entity, wanted) in enumerate((("SalesOrder", "one"), ("SOOrder", "one"), ("Record1", "record"), ("PX_Cloud_Record", "record"), ("Record", None), ("record", None))):
        for key in (", key '1'", ""):
            db.execute(f"DROP FOREIGN TABLE IF EXISTS t; CREATE FOREIGN TABLE t (id int OPTIONS (field 'ID'{key}), name text OPTIONS (field 'Name')) SERVER classes OPTIONS (schema 'DAC', entity '{entity}')")
            if wanted:
                assert rows("SELECT name FROM t WHERE id = 1")[0] == (wanted,), entity
            else:
                with raises("HV024", "stands for two", "PX_Cloud_Record", "PX_Cloud_RecordProjection", "in full"):
                    rows("SELECT * FROM t")


@test
def issue_3_8_setup_classes_are_one_row():
    serve_dac()
    load("DAC", "classes", "dac")
    db.execute("DROP FOREIGN TABLE IF EXISTS t; CREATE FOREIGN TABLE t (name text OPTIONS (field 'Name'), days int OPTIONS (field 'Days')) SERVER classes OPTIONS (schema 'DAC', entity 'ARSetup')")
    site.rows["ARSetup"] = setup
    for table in ("dac.ar_setup", "t"):
        assert rows(f"SELECT name, days FROM {table}") == [("main", 30)]
        assert rows(f"SELECT days FROM {table} WHERE name = 'other'") == []
        assert rows(f"SELECT count(*) FROM {table} WHERE days > 3") == [(1,)]
        assert rows(f"SELECT days FROM {table} ORDER BY days LIMIT 1") == [(30,)]


@test
def issue_3_8_nothing_is_asked_that_a_class_refuses():
    serve_dac()
    load("DAC", "classes", "dac")
    db.execute("""DROP SCHEMA IF EXISTS hand CASCADE; CREATE SCHEMA hand;
        CREATE FOREIGN TABLE hand.so_order (id int OPTIONS (field 'ID', key '1'), name text OPTIONS (field 'Name'), calculated numeric OPTIONS (field 'Calculated')) SERVER classes OPTIONS (schema 'DAC', entity 'SOOrder');
        CREATE FOREIGN TABLE hand.customer (id int OPTIONS (field 'ID', key '1'), name text OPTIONS (field 'Name'), terms text OPTIONS (field 'Terms')) SERVER classes OPTIONS (schema 'DAC', entity 'Customer4')""")
    for schema in ("dac", "hand"):
        assert rows(f"SELECT name, calculated FROM {schema}.so_order WHERE calculated > 2") == [("two", 2.5)]
        assert rows(f"SELECT id FROM {schema}.so_order WHERE calculated > 2 AND id > 0") == [(2,)]
        assert rows(f"SELECT count(*) FROM {schema}.so_order WHERE calculated > 2") == [(1,)]
        assert rows(f"SELECT terms FROM {schema}.customer WHERE id = 1 AND name = 'one'") == [("30D",)]
        assert rows(f"SELECT id FROM {schema}.customer WHERE name <> 'one'") == [(2,)]


finish()
