"""Tests of captures of definitions, OData and contract 5: each definition is imported, and the rows are read."""

import json
import re
import urllib.parse
import uuid
import xml.etree.ElementTree as ET

import replay as r
from captured import (
    begin, check, columns, compare, create, db, decode, end, FIXTURES, fields_of, found, imported_tables, notices, records_of,
    refused, shown, small_table, table_options, type_of)
from harness import psycopg, raises
from replay import Number, Rows, Unsupported


# ---- Definitions ---------------------------------------------------------------------------------------------------


def read_entity_list(capture):
    @check(f"{capture.name}: acumatica_endpoints()", capture)
    def are_listed():
        site = begin(capture.name)
        site.entity_list = capture
        listed = {(endpoint["name"], endpoint["version"]) for endpoint in capture.json["endpoints"]}
        got = db.execute("SELECT endpoint, version FROM acumatica_endpoints('erp')").fetchall()
        assert len(got) == len(set(got)) and set(got) == listed, got
        # The newest by number, not by text: 6.00.001 is older than 18.200.001.
        newest = max((version for name, version in listed if name == "Default"), key=lambda v: [int(p) for p in v.split(".")])
        site.endpoints = [("Default", newest)]
        small_table(site)
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        end(site)


EDM = {"Edm.String": {"text"}, "Edm.Int32": {"integer"}, "Edm.Int16": {"smallint"}, "Edm.Int64": {"bigint"},
       "Edm.Decimal": {"numeric"}, "Edm.DateTime": {"timestamp with time zone", "date"},
       "Edm.DateTimeOffset": {"timestamp with time zone", "date"}, "Edm.Date": {"date"},
       "Edm.Boolean": {"boolean"}, "Edm.Guid": {"uuid"}, "Edm.Double": {"double precision"}, "Edm.Byte": {"smallint"}}


def local(element):
    return element.tag.rpartition("}")[2]


class Csdl:
    """The entity sets of a $metadata document, read with code of the tests."""

    def __init__(self, text):
        tree = ET.fromstring(text)
        self.types, self.sets, self.functions, self.imports = {}, {}, {}, {}
        for schema in (element for element in tree.iter() if local(element) == "Schema"):
            space = schema.get("Namespace")
            for element in schema:
                if local(element) == "EntityType":
                    key = [ref.get("Name") for ref in element.iter() if local(ref) == "PropertyRef"]
                    properties = {p.get("Name"): p.get("Type") for p in element if local(p) == "Property"}
                    self.types[f"{space}.{element.get('Name')}"] = (key, properties)
                elif local(element) == "Function":
                    self.functions[f"{space}.{element.get('Name')}"] = [p.get("Name") for p in element if local(p) == "Parameter"]
                elif local(element) == "EntityContainer":
                    for inner in element:
                        if local(inner) == "EntitySet":
                            self.sets[inner.get("Name")] = inner.get("EntityType")
                        elif local(inner) == "FunctionImport":
                            own = [p.get("Name") for p in inner if local(p) == "Parameter"]
                            self.imports[inner.get("EntitySet")] = (inner.get("Name"), own or inner.get("Function"))

    def parameters(self, name):
        """(name of the function import, its parameters) of a set; None if it has none."""
        if name not in self.imports:
            return None
        imported, of = self.imports[name]
        return imported, of if isinstance(of, list) else self.functions[of]


def v3_service(sets, base, as_json):
    if as_json:
        value = [{"name": name, "url": urllib.parse.quote(name)} for name in sets]
        return 200, [("Content-Type", "application/json; charset=utf-8")], json.dumps({
            "odata.metadata": f"http://localhost{base}/odata/$metadata", "value": value}).encode()
    # As in v3-service-2019R2: Atom.
    collections_ = "".join(f'<collection href="{urllib.parse.quote(name)}"><atom:title type="text">{name}</atom:title></collection>'
                           for name in sets)
    text = ('<?xml version="1.0" encoding="utf-8"?><service xml:base="http://localhost/odata/" xmlns="http://www.w3.org/2007/app"'
            f' xmlns:atom="http://www.w3.org/2005/Atom"><workspace><atom:title type="text">Default</atom:title>{collections_}'
            "</workspace></service>")
    return 200, [("Content-Type", "application/atomsvc+xml; charset=utf-8")], text.encode()


def v3_site(name, metadata, service=None, honours_format=True, **options):
    """A site of the v3 layout with a recorded $metadata."""
    site = begin(name, odata_version=3, **options)
    csdl = Csdl(metadata.body)
    site.documents["/odata/company/$metadata"] = metadata

    def document(request):
        if request.path.lower().rstrip("/") != "/odata/company":
            return None
        if not site.is_signed_in(request):
            return 401, [], b""
        wants_json = honours_format and request.query.get("$format") == "json"
        if service is not None and not wants_json:
            return r.replay(service)
        return v3_service(csdl.sets, site.base, wants_json)

    site.first.append(document)
    return site, csdl


def check_imported(csdl):
    """Each set is a table with a column for each property and parameter."""
    tables = {table_options(table)["inquiry"]: table for table in imported_tables()}
    assert set(tables) == set(csdl.sets), (set(tables), set(csdl.sets))
    for name, table in tables.items():
        key, properties = csdl.types[csdl.sets[name]]
        described = columns(table)
        parameters = [column for column in described if "parameter" in column.options]
        of_rows = {column.path[0]: column for column in described if column not in parameters}
        assert set(of_rows) == set(properties), (table, set(of_rows) ^ set(properties))
        for field, column in of_rows.items():
            assert column.kind in EDM[properties[field]], (table, field, column.kind, properties[field])
        keyed = {column.path[0] for column in described if "key" in column.options}
        assert keyed <= set(key), (table, keyed, key)
        wanted = csdl.parameters(name)
        assert [column.path[0] for column in parameters] == (wanted[1] if wanted else []), (table, parameters)


def read_v3_metadata(capture):
    for honours_format in (True, False):
        @check(f"{capture.name}: imported, the service document is {'JSON for $format=json' if honours_format else 'Atom'}", capture)
        def imported():
            site, csdl = v3_site(f"{capture.name}-{honours_format}", capture, honours_format=honours_format)
            db.execute('IMPORT FOREIGN SCHEMA "OData" FROM SERVER erp INTO s OPTIONS (check_rights \'false\')')
            check_imported(csdl)
            end(site)


def read_v3_service(capture):
    metadata = next((other for other in found.values() if other.name.startswith("v3-metadata") and service_fits(capture, other)), None)

    @check(f"{capture.name}: acumatica_inquiries()", capture)
    def are_listed():
        site, csdl = v3_site(capture.name, metadata, capture, honours_format=False)
        names = [urllib.parse.unquote(element.get("href")) for element in ET.fromstring(capture.body).iter() if local(element) == "collection"]
        got = db.execute("SELECT inquiry FROM acumatica_inquiries('erp')").fetchall()
        assert {row[0] for row in got} == set(names) & set(csdl.sets), got
        end(site)


def service_fits(service, metadata):
    return set(re.findall(r'href="([^"]+)"', service.body.decode())) <= {
        urllib.parse.quote(name) for name in Csdl(metadata.body).sets}


def v3_set_name(capture):
    return urllib.parse.unquote(capture.path.rstrip("/").rpartition("/")[2])


def read_v3_rows(capture):
    name, rows = v3_set_name(capture), capture.json["value"]
    context = capture.json["odata.metadata"]
    headers = [(key, value) for key, value in capture.headers if key.lower() not in r.FRAMING]
    metadata = next((other for other in found.values() if other.name.startswith("v3-metadata")
                     and name in (csdl := Csdl(other.body)).sets
                     and set(rows[0]) == set(csdl.types[csdl.sets[name]][1])), None)

    @check(f"{capture.name}: rows", capture)
    def are_read():
        answer = r.odata_set(rows, context=context, recorded_filter=capture.query.get("$filter"), headers=headers)
        if metadata:
            site, _ = v3_site(capture.name, metadata)
            site.sets["/odata/Company"] = {name: answer}
            db.execute(f'IMPORT FOREIGN SCHEMA "OData" LIMIT TO ("{name}") FROM SERVER erp INTO s')
            table, = imported_tables()
        else:
            # Rows of a release whose $metadata was not recorded: a table by hand, the first columns its key.
            site = begin(capture.name, odata_version=3)
            site.sets["/odata/Company"] = {name: answer}
            made = ", ".join(f"\"{field}\" {'numeric' if re.fullmatch(chr(92) + 'd+[.]' + chr(92) + 'd+', str(value)) else 'text'}"
                             f" OPTIONS (field '{field}'{position})"
                             for (field, value), position in zip(rows[0].items(), (", key '1'", ", key '2'", *[""] * 99)))
            db.execute(f"CREATE FOREIGN TABLE s.t ({made}) SERVER erp OPTIONS (schema 'OData', inquiry '{name}')")
            table = "s.t"
        compare_odata(table, rows)
        end(site)


def compare_odata(table, rows):
    described, unpads = columns(table), table_options(table).get("unpad")
    unpads = unpads == "true"
    got = db.execute(f"SELECT * FROM {table}").fetchall()
    assert len(got) == len(rows), f"{len(got)} rows, {len(rows)} were captured"
    find = lambda row: tuple(str(row.get(column.path[0])).rstrip() for column in described if "key" in column.options)
    key_at = [at for at, column in enumerate(described) if "key" in column.options]
    by_key = {tuple(str(row[at]).rstrip() for at in key_at): row for row in got}
    assert len(by_key) == len(rows)
    count = 0
    for row in rows:
        one = by_key[find(row)]
        for value, column in zip(one, described):
            if "parameter" in column.options:
                continue
            right = decode(row[column.path[0]], column.kind)
            value = shown(value, column.kind)
            if column.kind == "text" and isinstance(right, str) and (unpads or column.options.get("unpad") == "true"):
                right = right.rstrip(" ")
            assert value == right, f"column {column.name} {column.kind}: {value!r}, captured was {right!r}"
            count += value is not None
    assert count
    assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(rows),)


def read_v3_call(capture):
    """An inquiry with parameters: the function import of the definition, its parameters as query options, unquoted."""
    called, rows = v3_set_name(capture), capture.json["value"]
    metadata, name = next((other, name) for other in found.values() if other.name.startswith("v3-metadata")
                          for name, (imported, _) in Csdl(other.body).imports.items() if imported == called)
    given = {key: value for key, value in capture.query.items() if not key.startswith("$")}

    @check(f"{capture.name}: parameters as query options", capture)
    def is_called():
        site, csdl = v3_site(capture.name, metadata)
        parameter, = given
        # The recording's codes were replaced: the rows say for which value they are.
        value = rows[0][parameter].rstrip()

        def answer(request):
            query = dict(request.query)
            if query.pop(parameter, None) != value or query.get("$format") != "json":
                raise Unsupported(f"a call without {parameter}={value}&$format=json")
            request.query = query
            return r.odata_set(rows, context=capture.json["odata.metadata"])(request)

        def bare(request):
            raise Unsupported("the set without its parameters")

        site.sets["/odata/Company"] = {called: answer, name: bare}
        db.execute(f'IMPORT FOREIGN SCHEMA "OData" LIMIT TO ("{name}") FROM SERVER erp INTO s OPTIONS (check_rights \'false\')')
        table, = imported_tables()
        described = columns(table)
        column, = [column for column in described if "parameter" in column.options]
        got = db.execute(f"SELECT * FROM {table} WHERE {column.name} = %s", [value]).fetchall()
        assert len(got) == len(rows)
        for value_, other in zip(got[0], described):
            if other is not column and other.path[0] in rows[0]:
                right = decode(rows[0][other.path[0]], other.kind)
                assert str(value_).rstrip() == str(right).rstrip(), (other, value_, right)
        with raises("HV002"):
            db.execute(f"SELECT * FROM {table}")
        end(site)


V4 = """<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
<edmx:DataServices><Schema Namespace="GenericInquiry" xmlns="http://docs.oasis-open.org/odata/ns/edm">{}
</Schema></edmx:DataServices></edmx:Edmx>"""


def v4_site(name, metadata, sets, **options):
    """A site of the v4 layout; `sets` are functions by name."""
    site = begin(name, odata_version=4, **options)
    root = "/t/company/api/odata/gi"
    csdl = Csdl(metadata.body if isinstance(metadata, r.Capture) else metadata)
    service = {"@odata.context": "$metadata", "value": [{"name": name, "kind": "EntitySet", "url": name} for name in csdl.sets]}
    site.documents[f"{root}/$metadata"] = metadata
    site.documents[root] = json.dumps(service).encode()
    site.sets["/t/Company/api/odata/gi"] = sets
    return site, csdl


def read_v4_metadata(capture):
    @check(f"{capture.name}: imported", capture)
    def imported():
        site, csdl = v4_site(capture.name, capture, {})
        db.execute('IMPORT FOREIGN SCHEMA "OData" FROM SERVER erp INTO s OPTIONS (check_rights \'false\')')
        check_imported(csdl)
        end(site)

    csdl = Csdl(capture.body)
    for name in csdl.imports:
        called, parameters = csdl.parameters(name)

        @check(f"{capture.name}: {called} is called by the name of the import", capture)
        def is_called():
            row = {field: "WHOLESALE" if field in parameters else Number("1.50") if kind == "Edm.Decimal" else "X"
                   for field, kind in csdl.types[csdl.sets[name]][1].items()}

            def answer(request):
                given = dict(re.findall(r"(\w+)=([^,)]+)", request.path.rpartition("(")[2]))
                query = dict(request.query)
                for parameter in parameters:
                    value = given.get(parameter)
                    value = query.pop(value, None) if value and value.startswith("@") else value
                    if value != "'WHOLESALE'":
                        raise Unsupported(f"parameter {parameter} is {value}")
                request.query = query
                return r.odata_set([row], "@odata.context")(request)

            site, _ = v4_site(f"{capture.name}-{called}", capture, {})
            prefix = f"/t/Company/api/odata/gi/{called}("
            site.first.append(lambda request: answer(request) if request.path.startswith(prefix) else None)
            db.execute(f'IMPORT FOREIGN SCHEMA "OData" LIMIT TO ("{name}") FROM SERVER erp INTO s OPTIONS (check_rights \'false\')')
            table, = imported_tables()
            asked = [column.name for column in columns(table) if "parameter" in column.options]
            where_ = " AND ".join(f"{column} = 'WHOLESALE'" for column in asked)
            got = db.execute(f"SELECT * FROM {table} WHERE {where_}").fetchall()
            assert len(got) == 1, got
            for value, column in zip(got[0], columns(table)):
                assert str(value) == str(row[column.path[0]]), (column, value)
            with raises("HV002"):
                db.execute(f"SELECT * FROM {table}")
            end(site)


ROW_METADATA = V4.format("""<EntityType Name="Row"><Key><PropertyRef Name="Name"/></Key><Property Name="Name" Type="Edm.String"/>
    <Property Name="Amount" Type="Edm.Decimal"/></EntityType><EntityContainer Name="Default">
    <EntitySet Name="Row" EntityType="GenericInquiry.Row"/></EntityContainer>""").encode()


def read_gi_unknown_field(capture):
    """A column whose field the inquiry does not have."""
    field, = re.findall(r"a property named '(\w+)'", capture.body.decode())

    @check(f"{capture.name}: HV005", capture)
    def is_raised():
        def answer(request):
            asked = " ".join(request.query.get(option, "") for option in ("$select", "$filter", "$orderby"))
            return r.replay(capture) if field in asked else r.odata_set([], "@odata.context")(request)

        site, _ = v4_site(capture.name, ROW_METADATA, {"Row": answer})
        db.execute(f"CREATE FOREIGN TABLE s.t (name text OPTIONS (field 'Name', key '1'), other text OPTIONS (field '{field}'))"
                   " SERVER erp OPTIONS (schema 'OData', inquiry 'Row')")
        for query in ("SELECT * FROM s.t", "SELECT name FROM s.t WHERE other = 'x'", "SELECT * FROM s.t LIMIT 1"):
            try:
                db.execute(query)
                raise AssertionError(f"no error: {query}")
            except psycopg.Error as error:
                assert error.sqlstate == "HV005" and field in str(error), error
        end(site)


def read_gi_error(capture):
    """A refused condition: of the product's own it is taken back and the rows come; of the table's own filter it is told."""
    rows = [{"Name": f"N{n}", "Amount": Number(f"{n}.00")} for n in range(4)]

    def answer(request):
        if "$filter" in request.query:
            return r.replay(capture)
        return r.odata_set(rows, "@odata.context")(request)

    made = ("(name text OPTIONS (field 'Name', key '1'), amount numeric OPTIONS (field 'Amount'))"
            " SERVER erp OPTIONS (schema 'OData', inquiry 'Row'")

    @check(f"{capture.name}: a condition of ours is taken back", capture)
    def is_taken_back():
        site, _ = v4_site(capture.name, ROW_METADATA, {"Row": answer})
        db.execute(f"CREATE FOREIGN TABLE s.t {made})")
        for query, right in (("SELECT name FROM s.t WHERE amount > 1 ORDER BY 1", [("N2",), ("N3",)]),
                             ("SELECT count(*) FROM s.t WHERE amount > 1", [(2,)]),
                             ("SELECT name FROM s.t WHERE amount = 3 LIMIT 1", [("N3",)])):
            assert db.execute(query).fetchall() == right
        assert any("could not filter" in notice for notice in notices), notices
        end(site)

    @check(f"{capture.name}: a condition of the table is an error", capture)
    def is_raised():
        site, _ = v4_site(f"{capture.name}-own", ROW_METADATA, {"Row": answer})
        db.execute(f"CREATE FOREIGN TABLE s.t {made}, filter 'Amount gt ''x''')")
        refused(capture, "HV000" if capture.body else "08P01", "SELECT * FROM s.t")
        end(site)


# ---- Data access classes, contract 5 -------------------------------------------------------------------------------


def read_dac_rows(capture):
    """Their own fields; the product asks for no $expand."""
    name, rows = v3_set_name(capture), capture.json["value"]
    own = [{field: value for field, value in row.items() if not isinstance(value, (dict, list))} for row in rows]

    @check(f"{capture.name}: rows", capture)
    def are_read():
        site = begin(capture.name, odata_version=3)
        headers = [(key, value) for key, value in capture.headers if key.lower() not in r.FRAMING]
        site.sets["/odatav4/Company"] = {name: r.odata_set(
            own, "@odata.context", capture.json["@odata.context"], recorded_filter=capture.query.get("$filter"), headers=headers)}
        made = ", ".join(f"\"{field}\" {type_of([row[field] for row in own])} OPTIONS (field '{field}'{', key ' + chr(39) + '1' + chr(39) if at == 0 else ''})"
                         for at, field in enumerate(own[0]))
        db.execute(f"CREATE FOREIGN TABLE s.t ({made}) SERVER erp OPTIONS (schema 'DAC', entity '{name}')")
        compare_odata("s.t", own)
        end(site)
        left_out = [field for field, value in rows[0].items() if isinstance(value, (dict, list))]
        print(f"# {capture.name}: expanded {', '.join(left_out)} were left out: data access classes are joined in SQL")


def read_dac_sets(capture):
    @check(f"{capture.name}: one table for each class, asked by its PX_ name", capture)
    def imported():
        # The capture is a piece: the root, and the types that are left out of it, are put around.
        text = re.sub(r"<Singleton [^>]*…[^>]*/>", "", capture.body.decode())
        sets = dict(re.findall(r'<EntitySet Name="([^"]+)" EntityType="([^"]+)"', text))
        types = set(re.findall(r'<EntityType Name="(\w+)"', text))
        more = ""
        for whole in sorted({*sets.values(), *re.findall(r'BaseType="([^"]+)"', text)}):
            space, _, name = whole.rpartition(".")
            if name not in types:
                more += (f'<Schema Namespace="{space}"><EntityType Name="{name}"><Key><PropertyRef Name="ID"/></Key>'
                         f'<Property Name="ID" Type="Edm.Int32" Nullable="false"/></EntityType></Schema>')
        document = (f'<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>{more}{text}'
                    "</edmx:DataServices></edmx:Edmx>").replace("<Schema ", '<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" ')
        site = begin(capture.name, odata_version=4)
        site.documents["/t/company/api/odata/dac/$metadata"] = document.encode()
        site.sets["/t/Company/api/odata/dac"] = dict.fromkeys(sets)
        db.execute('IMPORT FOREIGN SCHEMA "DAC" FROM SERVER erp INTO s')
        got = sorted(table_options(table)["entity"] for table in imported_tables())
        # A class whose PX_ set was left out of the capture is asked by the set that there is.
        classes = {}
        for set_, whole in sets.items():
            if whole not in classes or set_ == whole.replace(".", "_"):
                classes[whole] = set_
        assert got == sorted(classes.values()), (got, sorted(classes.values()))
        end(site)


def read_contract5_row(capture):
    @check(f"{capture.name}: labels, codes, lists and days", capture)
    def are_read():
        site = begin(capture.name)
        endpoint = capture.endpoint
        site.endpoints = [endpoint]
        records = records_of(capture)
        site.entities[(*endpoint, "Case")] = Rows(records)
        create("s.t", list(fields_of(records)), entity="Case", endpoint_name=endpoint[0], endpoint_version=endpoint[1])
        compare("s.t", records)
        kinds = {column.path[-1]: column.kind for column in columns("s.t")}
        assert "date" in kinds.values() and "timestamp with time zone" in kinds.values()
        end(site)


def read_swagger_pieces(capture):
    @check(f"{capture.name}: imported", capture)
    def imported():
        site = begin(capture.name)
        body = json.loads(capture.body)
        # The capture's references were replaced letter by letter, like all texts; the names that they mean were not.
        letters = str.maketrans("xnphzclgwkrfbysoemvqXNPHZCLGWKRFBYSOEMVQ", "compentsharigluvydfbCOMPENTSHARIGLUVYDFB")
        text = json.dumps(body)
        text = re.sub(r"#/[^\"]+", lambda found_: found_[0].translate(letters), text).replace('"required": ["fm"]', '"required": ["id"]')
        body = json.loads(text)
        version = capture.endpoint[1]
        schemas = body["components"]["schemas"]
        for name in ("StringValue", "Entity"):
            schemas.setdefault(name, {"type": "object", "properties": {"value": {"type": "string"}} if name == "StringValue" else {
                "id": {"type": "string", "format": "uuid"}, "rowNumber": {"type": "integer", "format": "int64"},
                "note": {"$ref": "#/components/schemas/StringValue"}, "custom": {"type": "object"}}})
        tops = [name for name, schema in schemas.items() if "allOf" in schema]
        body["paths"] = {f"/{name}": {"get": {"responses": {"200": {"description": "", "content": {"application/json": {"schema": {
            "type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}}}}}}} for name in tops}
        for name in tops:
            schemas[name]["allOf"][1]["properties"].update({
                "Single": {"$ref": "#/components/schemas/StringSingleSelectValue"},
                "Multi": {"$ref": "#/components/schemas/StringMultiSelectValue"}})
        site.endpoints = [("Default", version)]
        site.swagger[("Default", version)] = json.dumps(body).encode()
        db.execute('IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO s')
        tables = imported_tables()
        assert len(tables) == len(tops), tables
        for table in tables:
            paths = {"/".join(column.path): column.kind for column in columns(table)}
            assert paths["WarehouseID"] == "text" and paths["Single"] == "text" and paths["Single/id"] == "text", paths
            assert paths.get("Multi/value") == "jsonb" and not any("_workflowActions" in path for path in paths), paths
        # Rows of the same wrappers: several, none, and nothing at all chosen; the field is in `$select`, never expanded.
        choice = lambda code: {"id": code, "description": f"Label {code}"}
        chosen = [[choice("A"), choice("B")], [], None]
        warehouses = [{
            "id": str(uuid.uuid4()), "rowNumber": at, "note": {"value": ""}, "custom": {},
            "WarehouseID": {"value": f"W{at}"}, "Single": {"value": choice("A")},
            "Multi": {"value": several} if several is not None else {}} for at, several in enumerate(chosen, 1)]
        site.entities[("Default", version, "Warehouse")] = Rows(r.loads(json.dumps(warehouses)))
        table, = [table for table in tables if "warehouse" in table]
        multi, = [column.name for column in columns(table) if column.path[0] == "Multi"]
        assert multi == "multi", multi
        got = db.execute(f"SELECT warehouse_id, single, single_id, multi FROM {table} ORDER BY 1").fetchall()
        wanted = [(f"W{at}", "Label A", "A", several) for at, several in enumerate(chosen, 1)]
        assert got == wanted, got
        assert db.execute(f"SELECT warehouse_id FROM {table} WHERE multi @> '[{{\"id\": \"B\"}}]'").fetchall() == [("W1",)]
        asked = [request.query for request in site.asked if request.path.endswith("/Warehouse")]
        assert asked and all("Multi" in query["$select"] and "$expand" not in query for query in asked), asked
        end(site)


def read_ad_hoc_schema(capture):
    entity = capture.entity_path[0]
    version = max(FIXTURES, default=None)

    def customs(record):
        return {f"{view}.{field}" for view, fields in record.get("custom", {}).items() for field in fields}

    @check(f"{capture.name}: only customized fields become columns", capture)
    def imported():
        site = begin(capture.name)
        site.endpoints = [("Default", version)]
        path = f"/entity/default/{version}/{entity}/$adhocschema".lower()
        site.first.append(lambda request: r.replay(capture) if request.path.lower() == path else None)
        db.execute(f'IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("{entity}") FROM SERVER erp INTO s OPTIONS (custom_fields \'true\')')
        table, = imported_tables()
        got = {column.options["custom"] for column in columns(table) if "custom" in column.options}
        right = {name for name in customs(capture.json) if re.match(r"(Usr|Attribute)", name.split(".")[1])}
        assert got == right, (got ^ right)
        end(site)
