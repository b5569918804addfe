#!/usr/bin/env python3
"""The extension reads every capture of a real server: it imports definitions, selects rows, raises errors, signs in. A
request to tests/lib/replay.py that no capture or fact answers fails the test. Captures are read from ../shared/captures
(ACUMATICA_SHARED names another directory than ../shared), or, where that is absent, from the small set in tests/captures.

The values are compared cell by cell with a decoder of the tests' own. A capture that no test recognises fails."""

import decimal
import json
import os
import re
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import captured_odata as odata
import replay as r
from captured import (
    FIXTURES, begin, cell, check, columns, compare, create, db, decode, definition, end, expected_rows,
    fields_of, found, has_words, imported_tables, is_record, keys_of, read, records_of, refused, results_of, shown, skipped,
    small_table, subject, where)
from harness import finish, psycopg, raises
from replay import Number, Rows, value_of

# ---- Rows of entities ----------------------------------------------------------------------------------------------


def serve(site, endpoint, entity, capture, **more):
    records = records_of(capture)
    rows = Rows(records, capture.contract, capture.query.get("$filter"), **more)
    rows.keys = keys_of(entity)
    site.entities[(*endpoint, entity)] = rows
    return records


def read_entity(capture):
    entity, endpoint = subject(capture), capture.endpoint

    @check(f"{capture.name}: as recorded", capture)
    def as_recorded():
        site = begin(capture.name)
        site.endpoints = [endpoint]
        records = serve(site, endpoint, entity, capture)
        details = []
        fields = list(fields_of(records, details=details))
        create("s.t", fields, entity=entity, endpoint_name=endpoint[0], endpoint_version=endpoint[1])
        assert compare("s.t", records) > 0
        for number, (path, its_lines) in enumerate(details):
            if its_lines:
                inner = [((*path, *inner), kind) for inner, kind in fields_of(its_lines)]
                create(f"s.d{number}", inner, entity=entity, detail="/".join(path), endpoint_name=endpoint[0],
                       endpoint_version=endpoint[1])
                assert compare(f"s.d{number}", records) > 0
        end(site)

    for version in FIXTURES:
        if entity in definition(version)[2]:
            read_imported(capture, entity, version, "absent")
    if FIXTURES and entity in definition(max(FIXTURES))[2]:
        read_imported(capture, entity, max(FIXTURES), "refused")


def read_imported(capture, entity, version, select_unknown):
    """The rows through the table that the real definition makes. It promises more fields than rows have; what a `$select`
    of such a field does is unknown, so both are tried."""

    @check(f"{capture.name}: SELECT * after the definition {version}, {select_unknown} fields", capture)
    def imported():
        site = begin(f"{capture.name}-{version}-{select_unknown}")
        endpoint = ("Default", version)
        site.endpoints = [endpoint]
        records = serve(site, endpoint, entity, capture, select_unknown=select_unknown)
        schemas = definition(version)[1]
        shape = schemas[entity]
        properties = {name: inner for part in shape.get("allOf", [shape]) for name, inner in part.get("properties", {}).items()}
        linked = {}
        for name, inner in properties.items():
            if inner.get("type") == "array":
                linked[name] = "detail"
            elif not (inner.get("$ref", "").endswith("Value") or name in r.MEMBERS):
                linked[name] = "linked"
        site.entities[(*endpoint, entity)].known = linked
        details = [name for name, kind in linked.items() if kind == "detail" and any(record.get(name) for record in records)]
        names = ", ".join(f'"{name}"' for name in [entity, *(f"{entity}{detail}" for detail in details)])
        db.execute(f'IMPORT FOREIGN SCHEMA "REST" LIMIT TO ({names}) FROM SERVER erp INTO s')
        tables = imported_tables()
        assert len(tables) == 1 + len(details), tables
        # A recording was made with a $select without the key, or replacing names made its keys equal: then the table has no
        # key, and all rows of the recording are read.
        keys = [tuple(value_of(record, key) for key in keys_of(entity)) for record in records]
        have_key = all(None not in key for key in keys)
        for table in tables:
            if not have_key or len(set(keys)) < len(keys):
                for column in columns(table):
                    if "key" in column.options:
                        db.execute(f'ALTER FOREIGN TABLE {table} ALTER COLUMN "{column.name}" OPTIONS (DROP key)')
            only = None if have_key else [
                column.name for column in columns(table)
                if column.name != "row_number" and any(column.path[0] in record for record in records)]
            assert compare(table, records, only) > 0
        end(site)


def read_form(capture):
    """An inquiry form: its results, for the parameters that it shows."""
    entity, endpoint, results = subject(capture), capture.endpoint, results_of(capture)
    body = capture.json
    asked = re.findall(r'"?(\w+)"?\s*:\s*\{"?value', capture.request_body or "")
    given = {name: value_of(body, name) for name in asked}

    @check(f"{capture.name}: as recorded", capture)
    def as_recorded():
        site = begin(capture.name)
        site.endpoints = [endpoint]
        site.forms[(*endpoint, entity)] = r.form(capture, given)
        parameters = [(path, kind) for path, kind in fields_of([body]) if path[0] not in r.MEMBERS and path[0] != results]
        of_results = [((results, *path), kind) for path, kind in fields_of(body[results])]
        create("s.t", parameters + of_results, inquiry=entity, detail=results, endpoint_name=endpoint[0], endpoint_version=endpoint[1])
        conditions = []
        for number, (path, kind) in enumerate(parameters):
            db.execute(f"ALTER FOREIGN TABLE s.t ALTER COLUMN c{number} OPTIONS (ADD parameter 'optional')")
            if path[0] in given:
                conditions.append((f"c{number}", decode(given[path[0]], kind)))
        compare_form("s.t", body, conditions)
        end(site)

    for version in FIXTURES:
        if entity in definition(version)[2] and results in json.dumps(definition(version)[1].get(entity, "")):
            read_imported_form(capture, entity, version, given)


def read_imported_form(capture, entity, version, given):
    @check(f"{capture.name}: the form after the definition {version}", capture)
    def imported():
        site = begin(f"{capture.name}-{version}")
        endpoint = ("Default", version)
        site.endpoints = [endpoint]
        site.forms[(*endpoint, entity)] = r.form(capture, given)
        db.execute(f'IMPORT FOREIGN SCHEMA "REST" LIMIT TO ("{entity}") FROM SERVER erp INTO s')
        table, = imported_tables()
        conditions = [(column.name, cell(capture.json, column.path, column.kind)) for column in columns(table)
                      if "parameter" in column.options and column.path[0] in given]
        compare_form(table, capture.json, conditions)
        end(site)


def compare_form(table, body, conditions):
    where_ = " AND ".join(f"{name} = %s" for name, _ in conditions) or "true"
    db.execute("DROP TABLE IF EXISTS pg_temp.got")
    got = db.execute(f"SELECT * FROM {table} WHERE {where_}", [
        decimal.Decimal(value) if isinstance(value, str) and kind_of(table, name) == "numeric" else value
        for name, value in conditions]).fetchall()
    described = columns(table)
    wanted = expected_rows(table, [body])
    got = [tuple(shown(value, column.kind) for value, column in zip(row, described)) for row in got]
    assert len(got) == len(wanted), f"{len(got)} rows, {len(wanted)} were captured"
    for one, other in zip(got, wanted):
        for value, right, column in zip(one, other, described):
            assert value == right, f"column {column.name} {column.kind}: {value!r}, captured was {right!r}"


def kind_of(table, name):
    return next(column.kind for column in columns(table) if column.name == name)


# ---- Errors --------------------------------------------------------------------------------------------------------


def of_entity(capture, entity):
    """Answers requests for the entity with the capture, whatever they ask."""
    path = f"/entity/{'/'.join(capture.endpoint)}/{entity}".lower()
    return lambda request: r.replay(capture) if request.path.lower().startswith(path) else None


def read_entity_error(capture, sqlstate, *more):
    """An error in place of rows; of a PUT, in place of the answer of an inquiry form, the only PUT that a reader sends."""
    entity = subject(capture)

    @check(f"{capture.name}: {sqlstate}", capture)
    def is_raised():
        site = begin(capture.name)
        site.endpoints = [capture.endpoint]
        site.first.append(of_entity(capture, entity))
        name, version = capture.endpoint
        of = f"inquiry '{entity}', detail 'Details'" if capture.method == "PUT" else f"entity '{entity}'"
        db.execute(f"CREATE FOREIGN TABLE s.t (name text OPTIONS (field 'Name')) SERVER erp"
                   f" OPTIONS ({of}, endpoint_name '{name}', endpoint_version '{version}')")
        for query in ("SELECT * FROM s.t", "SELECT * FROM s.t LIMIT 1", "SELECT count(*) FROM s.t"):
            whole = refused(capture, sqlstate, query)
            for part in more:
                assert part in whole, f"no {part!r} in: {whole}"
        end(site)


def read_no_record(capture):
    """A record that is not there is no row, and no error."""
    entity = subject(capture)

    @check(f"{capture.name}: no row", capture)
    def is_no_row():
        site = begin(capture.name)
        site.endpoints = [capture.endpoint]
        path = f"/entity/{'/'.join(capture.endpoint)}/{entity}".lower()
        asked = []

        def by_key(request):
            if request.path.lower().startswith(f"{path}/"):
                asked.append(request)
                return r.replay(capture)
            return None

        site.first.append(by_key)
        site.entities[(*capture.endpoint, entity)] = Rows([])
        name, version = capture.endpoint
        db.execute(f"CREATE FOREIGN TABLE s.t (id text OPTIONS (field '{entity}ID', key '1')) SERVER erp"
                   f" OPTIONS (entity '{entity}', endpoint_name '{name}', endpoint_version '{version}')")
        assert db.execute("SELECT * FROM s.t WHERE id = 'NOBODY'").fetchall() == []
        assert asked, "the record was not looked up by its key"
        end(site)


def read_cannot_optimize(capture):
    """Fields that no list can have: the error names their columns; without them, or by key, the rows come."""
    entity = subject(capture)
    culprits = re.findall(r"\r\n([\w.]+): ", capture.json["exceptionMessage"])
    by_key = next((other for other in found.values() if other.method == "GET" and other.status == 200
                   and other.entity_path[:1] == [entity] and len(other.entity_path) > 1), None)

    @check(f"{capture.name}: HV00L, the others, and by key", capture)
    def is_read_otherwise():
        site = begin(capture.name)
        endpoint = capture.endpoint
        site.endpoints = [endpoint]
        records = serve(site, endpoint, entity, by_key)
        path = f"/entity/{'/'.join(endpoint)}/{entity}".lower()
        holders = {culprit.split(".")[0] for culprit in culprits if "." in culprit}
        fields = {culprit for culprit in culprits if "." not in culprit}

        def refuse(request):
            if request.path.lower() != path:
                return None  # an address of a record skips the optimizer
            asked = {name.split("/")[0] for option in ("$select", "$expand") for name in request.query.get(option, "").split(",")}
            if asked & (holders | fields):
                return r.replay(capture)
            return None

        site.first.append(refuse)
        made = list(fields_of(records))
        create("s.t", made, entity=entity, endpoint_name=endpoint[0], endpoint_version=endpoint[1])
        described = columns("s.t")
        # In the order of the address: the type first.
        keys = sorted((column for column in described if column.path[0] in keys_of(entity)), key=lambda column: "Type" not in column.path[0])
        for position, column in enumerate(keys, 1):
            db.execute(f"ALTER FOREIGN TABLE s.t ALTER COLUMN {column.name} OPTIONS (ADD key '{position}')")
        bad = [column.name for column in described if column.path[0] in holders | fields]
        whole = refused(capture, "HV00L", f"SELECT {', '.join(bad)} FROM s.t")
        for name in bad:
            assert f'"{name}"' in whole, f"no column {name} in: {whole}"
        compare("s.t", records, [column.name for column in described if column.name not in bad])
        where_ = " AND ".join(f"{column.name} = '{value_of(records[0], column.path[0])}'" for column in keys)
        got = db.execute(f"SELECT * FROM s.t WHERE {where_}").fetchall()
        assert len(got) == 1, got
        wanted = expected_rows("s.t", records)[0]
        assert [shown(value, column.kind) for value, column in zip(got[0], described)] == list(wanted)
        end(site)


# ---- Sign-in -------------------------------------------------------------------------------------------------------

def read_login(capture):
    cookies = {}
    for name, value in capture.headers:
        if name == "Set-Cookie":
            cookie, _, text = value.partition(";")[0].partition("=")
            cookies[cookie] = text
    company = cookies.get("CompanyID")

    @check(f"{capture.name}: signs in", capture)
    def signs_in():
        site = begin(capture.name, login=capture, company=company or "Company")
        small_table(site)
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        asked = [request for request in site.asked if request.path.endswith("/Thing")]
        for name in cookies.keys() - {"requestid", "requeststat"}:
            assert name in asked[-1].cookies, f"cookie {name} did not come back: {asked[-1].cookies}"
        end(site)

    @check(f"{capture.name}: of another tenant is no sign-in", capture)
    def is_of_the_tenant():
        site = begin(f"{capture.name}-other", login=capture, company="Quite another")
        site.company = company or "Company"
        small_table(site)
        with raises("28000", "company"):
            db.execute("SELECT * FROM s.thing")
        end_of_failed(site)


def end_of_failed(site):
    db.execute("SELECT acumatica_disconnect_all()")
    assert not site.refused, site.refused


def read_login_error(capture, *more):
    @check(f"{capture.name}: 28000", capture)
    def is_raised():
        site = begin(capture.name, login=capture)
        small_table(site)
        whole = refused(capture, "28000", "SELECT * FROM s.thing")
        for part in more:
            assert part in whole, f"no {part!r} in: {whole}"
        sign_ins = [request for request in site.asked if request.path.endswith("login")]
        assert len(sign_ins) <= 2, f"{len(sign_ins)} attempts: accounts are locked for less"
        end_of_failed(site)


def read_logout(capture):
    @check(f"{capture.name}: signs out", capture)
    def signs_out():
        site = begin(capture.name, logout=capture)
        small_table(site)
        db.execute("SELECT * FROM s.thing")
        assert site.cookies
        db.execute("SELECT acumatica_disconnect_all()")
        assert db.execute("SELECT count(*) FROM acumatica_sessions()").fetchone() == (0,)
        # The cookies that it expires are not used again: the next query signs in anew.
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        end(site)


def oauth(site, capture):
    db.execute("ALTER SERVER erp OPTIONS (ADD auth_strategy 'OAuthPassword', ADD scope 'api')")
    db.execute("ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (ADD client_id 'AB12CD34-0000-4000-8000-000000000000@Company',"
               " ADD client_secret 'secret-of-captures')")
    asked = []

    def token(request):
        if request.path.lower() == "/identity/connect/token" and request.method == "POST":
            asked.append(dict(urllib.parse.parse_qsl(request.body.decode())))
            return r.replay(capture)
        return None

    site.first.append(token)
    return asked


def read_token(capture):
    @check(f"{capture.name}: the token is used", capture)
    def is_used():
        site = begin(capture.name)
        asked = oauth(site, capture)
        site.token = capture.json["access_token"]
        small_table(site)
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        assert [form["grant_type"] for form in asked] == ["password"], asked
        assert not [request for request in site.asked if request.path == "/entity/auth/login"]
        end(site)


def read_token_error(capture, part):
    @check(f"{capture.name}: 28000", capture)
    def is_raised():
        site = begin(capture.name)
        oauth(site, capture)
        small_table(site)
        with raises("28000", part):
            db.execute("SELECT * FROM s.thing")
        end_of_failed(site)


def read_401(capture):
    @check(f"{capture.name}: signs in again", capture)
    def signs_in_again():
        site = begin(capture.name)
        small_table(site)
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        stale = [r.replay(capture)]
        site.first.append(lambda request: stale.pop() if stale and request.path.endswith("/Thing") else None)
        assert db.execute("SELECT * FROM s.thing").fetchall() == [("x",)]
        assert not stale
        end(site)

    @check(f"{capture.name}: on every path is an error, never no rows", capture)
    def on_every_path():
        site = begin(f"{capture.name}-always")
        small_table(site)
        site.first.append(lambda request: r.replay(capture) if not request.path.startswith("/entity/auth") else None)
        for query in ("SELECT * FROM s.thing", "SELECT count(*) FROM s.thing"):
            try:
                db.execute(query)
                raise AssertionError("no error")
            except psycopg.Error as error:
                assert error.sqlstate in ("28000", "42501"), f"{error.sqlstate} {error}"
        assert len(site.asked) < 30, len(site.asked)
        end_of_failed(site)


def read_login_limit(capture):
    @check(f"{capture.name}: 53300", capture)
    def is_raised():
        site = begin(capture.name, operation_timeout=1)
        small_table(site)
        site.first.append(lambda request: r.replay(capture) if request.path.endswith("/Thing") else None)
        with raises("53300", "session"):
            db.execute("SELECT * FROM s.thing")
        end_of_failed(site)


# ---- Files ---------------------------------------------------------------------------------------------------------


def read_file(capture):
    @check(f"{capture.name}: acumatica_file()", capture)
    def is_read():
        guid = capture.path.rpartition("/")[2]
        for base in ("AcumaticaERP", "Site"):
            site = begin(base)
            path = f"/entity/default/22.200.001/files/{guid}"
            site.first.append(lambda request: r.replay(capture) if request.path.lower() == path and site.is_signed_in(request) else None)
            small_table(site)
            db.execute("SELECT * FROM s.thing")
            # The server's own addresses begin at the origin: the virtual directory is in them once.
            got, = db.execute("SELECT acumatica_file('erp', %s)", [f"/{base}/entity/Default/22.200.001/files/{guid}"]).fetchone()
            assert got == capture.body, got
            end(site)


# ---- Which test a capture gets -------------------------------------------------------------------------------------

NOT_READ = [
    ("customization-", "the product does not call the customization API"),
    ("rest-action-", "the product runs no actions: it reads only"),
    ("rest-delete-", "the product deletes nothing: it reads only"),
    ("rest-file-put-", "the product uploads no files: it reads only"),
]


def kind_of_capture(capture):
    path = (capture.path or "").lower()
    body = None
    if capture.kind == "json":
        body = capture.json
    said = str(body.get("exceptionType", "")) if isinstance(body, dict) else ""
    if any(capture.name.startswith(prefix) for prefix, _ in NOT_READ):
        return None
    if path.endswith("/auth/login") or path.endswith("auth/login"):
        if capture.status == 204:
            return lambda: read_login(capture)
        return lambda: read_login_error(capture, *(["company"] if "UndefinedCompany" in said else []))
    if path.endswith("auth/logout"):
        return lambda: read_logout(capture)
    if path.endswith("/connect/token"):
        if capture.status == 200:
            return lambda: read_token(capture)
        return lambda: read_token_error(capture, {"invalid_client": "client", "invalid_grant": "user name or password"}[body["error"]])
    if capture.status == 401:
        return lambda: read_401(capture)
    if capture.status == 302:
        return lambda: read_login_limit(capture)
    if path.rstrip("/") in ("/entity", "entity"):
        return lambda: odata.read_entity_list(capture)
    if path.endswith("/gi/$metadata"):
        return lambda: odata.read_v4_metadata(capture)
    if path.endswith("/dac/$metadata"):
        return lambda: odata.read_dac_sets(capture)
    if path.endswith("/odata/$metadata"):
        return lambda: odata.read_v3_metadata(capture)
    if path.endswith("/odata"):
        return lambda: odata.read_v3_service(capture)
    if "/api/odata/gi/{gi}" in path:
        if "Could not find a property" in capture.body.decode():
            return lambda: odata.read_gi_unknown_field(capture)
        return lambda: odata.read_gi_error(capture)
    if isinstance(body, dict) and "odata.metadata" in body:
        return lambda: odata.read_v3_call(capture) if path.endswith("_withparameters") else odata.read_v3_rows(capture)
    if isinstance(body, dict) and "@odata.context" in body:
        return lambda: odata.read_dac_rows(capture)
    if path.endswith("/swagger.json"):
        return lambda: odata.read_swagger_pieces(capture)
    if path.endswith("/$adhocschema"):
        return lambda: odata.read_ad_hoc_schema(capture)
    if capture.method == "GET" and "/files/" in f"/{path}" and capture.kind == "txt":
        return lambda: read_file(capture)
    if capture.status == 403:
        return lambda: read_entity_error(capture, "42501")
    if "NoEntitySatisfies" in said:
        return lambda: read_no_record(capture)
    if "CannotOptimize" in said:
        if "cause the error:" in body["exceptionMessage"]:
            return lambda: read_cannot_optimize(capture)
        return lambda: read_entity_error(capture, "HV00L")
    if capture.status >= 400 and body is not None and subject(capture):
        return lambda: read_entity_error(capture, "HV000")
    if isinstance(body, dict) and is_record(body) and capture.endpoint[1] >= "26" and subject(capture) is None:
        return lambda: odata.read_contract5_row(capture)
    if body is not None and subject(capture) and all(is_record(row) for row in records_of(capture)):
        if isinstance(body, dict) and results_of(capture) and is_form(capture):
            return lambda: read_form(capture)
        return lambda: read_entity(capture)
    raise LookupError("no test recognises it: write one")


def is_form(capture):
    """Whether an answer is that of an inquiry: its results are random in id, and it has no key of its own."""
    entity = subject(capture)
    return capture.json.get("note") is None and not keys_of(entity) and "_links" not in capture.json


for one in found.values():
    if reason := next((why for prefix, why in NOT_READ if one.name.startswith(prefix)), None):
        skipped[one.name] = reason
        if not os.environ.get("TEST_NAME"):
            print(f"skip - {one.name}: {reason}", flush=True)
        continue
    try:
        reader = kind_of_capture(one)
    except Exception as error:  # noqa: BLE001
        reader = None
        problem = error

        @check(f"{one.name}: has a test")
        def has_a_test():
            raise problem
    if reader:
        reader()


@check("every capture was read")
def every_capture_was_read():
    unread = set(found) - set(read) - set(skipped)
    assert not unread, sorted(unread)
    print(f"# {len(found)} captures in {where}: {len(read)} read, {len(skipped)} without a way to meet them")


finish()
