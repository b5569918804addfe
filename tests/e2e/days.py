#!/usr/bin/env python3
"""Dates and timestamps of sites in other time zones (issue 12: 2.3, 3.7). A small contract server writes its rows as recorded
servers do, with the offset of its zone, and reads the timestamps of a filter in one of three ways, since none is documented."""

import contextlib
import datetime
import http.server
import json
import os
import random
import re
import sys
import threading
import urllib.parse
import zoneinfo

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, finish, psycopg, raises, test

UTC = datetime.timezone.utc
# The zone of the site, how it reads the moments of a filter, its rows, and the forms that it was sent.
site = {"zone": UTC, "reads": "instant", "rows": [], "asked": [], "forms": [], "echo": None}

FIELDS = {
    "ShipmentNbr": "StringValue", "ShipmentDate": "DateTimeValue", "DueDate": "DateTimeValue",
    "LastModifiedDateTime": "DateTimeValue", "SLA": "DateTimeValue",
}


def definition():
    wrapper = lambda kind: {"type": "object", "properties": {"value": kind}}
    moment = {"type": "string", "format": "date-time"}
    of = lambda name: {"$ref": f"#/definitions/{name}"}
    record = lambda fields: {"allOf": [of("Entity"), {"type": "object", "properties": {name: of(kind) for name, kind in fields.items()}}]}
    form = record({"AsOfDate": "DateTimeValue", "LastModifiedDateTime": "DateTimeValue"})
    form["allOf"][1]["properties"]["Results"] = {"type": "array", "items": of("DayRow")}
    listed = lambda name: {"get": {"responses": {"200": {"schema": {"type": "array", "items": of(name)}}}}}
    return {
        "swagger": "2.0", "info": {"title": "Default/24.200.001", "version": "4"},
        "paths": {"/Shipment": listed("Shipment"), "/DayInquiry": {"put": {"responses": {"200": {"schema": of("DayInquiry")}}}}},
        "definitions": {
            "Entity": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}},
            "StringValue": wrapper({"type": "string"}), "DateTimeValue": wrapper(moment),
            "Shipment": record(FIELDS), "DayInquiry": form, "DayRow": record({"Item": "StringValue"}),
        },
    }


def written(moment, zone):
    """As the server writes it: midnight of its zone for a day, else the moment in its zone."""
    if moment is None:
        return {}
    if isinstance(moment, str):
        return {"value": moment}
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time(), zone)
    return {"value": moment.astimezone(zone).isoformat()}


def meets(row, condition):
    """The conditions that are sent, evaluated as the site reads them."""
    def holds(found):
        field, operator, literal = found.groups()
        if "value" not in (value := row[field]):
            return "False"
        mine, other = datetime.datetime.fromisoformat(value["value"]), datetime.datetime.fromisoformat(literal)
        mine = mine if mine.tzinfo else mine.replace(tzinfo=UTC)
        if site["reads"] == "clock":  # the offset of the literal is dropped
            mine, other = mine.replace(tzinfo=None), other.replace(tzinfo=None)
        elif site["reads"] == "local":  # the literal is taken to the site's clock, and days are kept without a zone
            mine, other = mine.replace(tzinfo=None), other.astimezone(site["zone"]).replace(tzinfo=None)
        return str({"ge": mine >= other, "gt": mine > other, "le": mine <= other, "lt": mine < other}[operator])

    told = re.sub(r"(\w+) (ge|gt|le|lt) datetimeoffset'([^']*)'", holds, condition)
    assert re.fullmatch(r"(True|False|and|or|[() ])*", told), condition
    return not told or eval(told)  # noqa: S307 - the regular expression above admits only True, False, and, or, not


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        body = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json; charset=utf-8")
        if status == 204:
            self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
            self.wfile.flush()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(None, 204)

    def do_PUT(self):
        form = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        site["forms"].append(form)
        echo = {name: {"value": site["echo"](field["value"])} for name, field in form.items() if name != "Results"}
        self.answer({"id": None, "rowNumber": 1, **echo, "Results": [{"rowNumber": 1, "Item": {"value": "A"}}], "custom": {}})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path.endswith("/entity"):
            return self.answer({"version": {}, "endpoints": [{"name": "Default", "version": "24.200.001", "href": "/entity/Default/24.200.001/"}]})
        if url.path.endswith("swagger.json"):
            return self.answer(definition())
        condition = query.get("$filter", "")
        site["asked"].append(condition)
        rows = [row for row in site["rows"] if meets(row, condition)]
        skip = int(query.get("$skip", 0))
        self.answer(rows[skip : skip + int(query.get("$top", 10**9))])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
db = connect(options="-c statement_timeout=60s")
db.execute(f"""
    CREATE SERVER days FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://127.0.0.1:{server.server_port}', company 'C');
    CREATE USER MAPPING FOR PUBLIC SERVER days OPTIONS (username 'u', password 'p')""")


def load(schema, **options):
    given = ", ".join(f"{name} '{value}'" for name, value in options.items())
    db.execute(f'DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};'
               f'IMPORT FOREIGN SCHEMA "REST" FROM SERVER days INTO {schema} {f"OPTIONS ({given})" if given else ""}')


def serve(zone, rows, reads="instant"):
    """Rows of a due day and a moment; `rows` is a list of pairs."""
    site.update(zone=zone, reads=reads, asked=[], rows=[
        {"id": f"00000000-0000-0000-0000-{n:012}", "rowNumber": n + 1, "ShipmentNbr": {"value": f"{n:06}"},
         "ShipmentDate": written(day, zone), "DueDate": written(day, zone),
         "LastModifiedDateTime": written(moment, zone), "SLA": written(moment, zone), "custom": {}}
        for n, (day, moment) in enumerate(rows)])


def types(schema):
    return dict(db.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute JOIN pg_class c ON attrelid = c.oid WHERE attnum > 0 "
        "AND relnamespace = %s::regnamespace AND relname = 'shipment' AND atttypid IN ('date'::regtype, 'timestamptz'::regtype)",
        (schema,)).fetchall())


load("s")


@test
def n_3_7_fields_that_hold_days_are_imported_as_date():
    assert types("s") == {"shipment_date": "date", "due_date": "date", "last_modified": "timestamp with time zone", "sla": "timestamp with time zone"}
    load("other", days="date")
    assert types("other") == {"shipment_date": "date", "due_date": "date", "last_modified": "timestamp with time zone", "sla": "date"}
    load("other", days="timestamptz")
    assert set(types("other").values()) == {"timestamp with time zone"}
    with raises("HV024", "auto, date, timestamptz"):
        load("other", days="maybe")


@test
def n_2_3_a_day_is_the_one_that_is_written_whatever_the_zones():
    moscow = datetime.timezone(datetime.timedelta(hours=3))
    day = datetime.date(2022, 11, 2)
    for zone in ("Europe/Moscow", "America/Los_Angeles", "UTC", "Pacific/Kiritimati"):
        serve(moscow, [(day, datetime.datetime(2022, 11, 2, 1, 30, tzinfo=moscow))])
        db.execute(f"SET TimeZone = '{zone}'")
        found = db.execute("SELECT shipment_date::text, last_modified = '2022-11-01 22:30+00' FROM s.shipment WHERE shipment_date = '2022-11-02'").fetchall()
        assert found == [("2022-11-02", True)], (zone, found)
        assert "ShipmentDate ge" in site["asked"][-1], site["asked"]
        found = db.execute("SELECT date_trunc('month', shipment_date)::date::text FROM s.shipment WHERE shipment_date >= '2022-11-01' AND shipment_date < '2022-12-01'").fetchall()
        assert found == [("2022-11-01",)]
    db.execute("RESET TimeZone")


@test
def n_2_3_filters_on_days_lose_nothing_in_any_zone_and_however_the_server_reads_them():
    chance = random.Random(23)
    zones = [zoneinfo.ZoneInfo(name) for name in (
        "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Kiritimati", "Asia/Beirut")]
    zones += [datetime.timezone(datetime.timedelta(hours=hours)) for hours in (-12, 14)]
    start = datetime.date(2024, 3, 20)
    for turn in range(45):
        zone, reads = zones[turn % len(zones)], ("instant", "clock", "local")[turn % 3]
        rows = [(None if chance.random() < 0.1 else start + datetime.timedelta(days=chance.randrange(20)),
                 datetime.datetime(2024, 3, 31, 0, 30, tzinfo=zone) + datetime.timedelta(minutes=chance.randrange(5000)))
                for _ in range(40)]
        serve(zone, rows, reads)
        db.execute(f"SET TimeZone = '{chance.choice(['UTC', 'Asia/Tokyo', 'America/Denver'])}'")
        db.execute("DROP TABLE IF EXISTS copy; CREATE TEMP TABLE copy AS SELECT * FROM s.shipment")
        days = [row[0] for row in db.execute("SELECT shipment_date FROM copy ORDER BY shipment_nbr").fetchall()]
        assert days == [day for day, _ in rows], zone
        for _ in range(8):
            literal = f"date '{start + datetime.timedelta(days=chance.randrange(20))}'"
            operator = chance.choice(["=", "<", "<=", ">", ">=", "<>"])
            column = chance.choice(["shipment_date", "due_date"])
            condition = chance.choice([
                f"{column} {operator} {literal}", f"NOT {column} {operator} {literal}", f"{literal} {operator} {column}",
                f"{column} IN ({literal}, {literal} + 3)", f"{column} BETWEEN {literal} AND {literal} + 2",
                f"{column} {operator} {literal}::timestamp", f"{column} {operator} {literal}::timestamptz",
                f"date_trunc('month', {column}) {operator} {literal}", f"{column}::timestamptz {operator} {literal}",
                f"last_modified::date {operator} {literal}", f"sla {operator} {literal}"])
            if reads != "instant" and ("sla" in condition or "last_modified" in condition):
                continue  # moments are kept in UTC, and these ways of reading are those of days
            query = f"SELECT shipment_nbr FROM %s WHERE {condition} ORDER BY 1"
            here, there = db.execute(query % "copy").fetchall(), db.execute(query % "s.shipment").fetchall()
            assert here == there, (str(zone), reads, condition, site["asked"][-1], len(here), len(there))
    db.execute("RESET TimeZone")
    assert any(site["asked"])


@test
def n_3_7_a_condition_on_days_asks_for_little_more_than_them():
    serve(UTC, [(datetime.date(2024, 1, n + 1), None) for n in range(20)])
    assert db.execute("SELECT count(*) FROM s.shipment WHERE shipment_date = '2024-01-10'").fetchone() == (1,)
    assert sum(meets(row, site["asked"][-1]) for row in site["rows"]) == 2, site["asked"]


@test
def n_3_7_a_time_of_day_in_a_column_of_days_is_an_error_that_says_which_alter_mends_it():
    for condition in ("", "WHERE shipment_date = '2024-01-31'", "WHERE shipment_date >= '2024-01-31' LIMIT 1"):
        for time in ("2024-01-31T23:59:00-11:00", "2024-01-31T05:50:00", "2024-01-31T00:00:01+14:00", "2024-01-31T21:00:00Z"):
            serve(UTC, [(time, None)])
            try:
                db.execute(f"SELECT shipment_date FROM s.shipment {condition}").fetchall()
                raise AssertionError(f"{time} {condition}: no error")
            except psycopg.Error as error:
                said = error.diag
            assert said.sqlstate == "HV004" and "time of day" in said.message_primary, said.message_primary
            assert time in said.message_detail and "Row 0000" in said.message_detail, said.message_detail
            assert said.message_hint == 'Run: ALTER FOREIGN TABLE s.shipment ALTER COLUMN "shipment_date" TYPE timestamp with time zone;'
    db.execute("BEGIN; " + said.message_hint.removeprefix("Run: "))
    assert db.execute("SELECT shipment_date = '2024-01-31 21:00+00' FROM s.shipment").fetchone() == (True,)
    db.execute("ROLLBACK")
    # 1900-01-01 means "never": its time of day is not checked.
    serve(UTC, [("1900-01-01T03:00:00+03:00", None)])
    assert db.execute("SELECT shipment_date FROM s.shipment").fetchone() == (datetime.date(1900, 1, 1),)


@test
def n_3_7_diff_proposes_date_for_tables_imported_before():
    load("before", days="timestamptz")
    changes = db.execute("SELECT change, statement FROM acumatica_diff('before') WHERE statement LIKE '% TYPE %'").fetchall()
    assert len(changes) >= 2 and all("holds days" in change for change, _ in changes), changes
    for _, statement in changes:
        db.execute(statement)
    assert types("before") == types("s")
    assert db.execute("SELECT count(*) FROM acumatica_diff('before') WHERE statement LIKE '% TYPE %'").fetchone() == (0,)


@test
def n_2_3_a_form_shows_the_day_that_it_was_given_in_its_own_zone():
    for offset in ("+03:00", "-08:00", "+00:00", "+14:00", ""):
        site.update(forms=[], echo=lambda given: f"{given[:10]}T00:00:00{offset}")
        found = db.execute("SELECT item, as_of_date::text FROM s.day_inquiry WHERE as_of_date = '2016-06-07'").fetchall()
        assert found == [("A", "2016-06-07")], (offset, found)
        assert site["forms"][-1]["AsOfDate"] == {"value": "2016-06-07T00:00:00"}, site["forms"]
    site.update(echo=lambda given: "2016-06-06T00:00:00-08:00")
    with raises("08P01", "AsOfDate"):
        db.execute("SELECT item FROM s.day_inquiry WHERE as_of_date = '2016-06-07'")
    # A timestamp parameter of a form that echoes only the date.
    db.execute("SET TimeZone = 'UTC'")
    site.update(echo=lambda given: f"{given[:10]}T00:00:00+03:00")
    assert db.execute("SELECT item FROM s.day_inquiry WHERE last_modified_date_time = '2016-06-07'").fetchall() == [("A",)]
    db.execute("RESET TimeZone")


@test
def n_3_8_bytes_spans_and_times_of_day_have_their_types_and_are_not_asked_about():
    site.update(rows=[
        {"id": f"00000000-0000-0000-0000-{n:012}", "rowNumber": n + 1, "ShipmentNbr": {"value": str(n)}, **values, "custom": {}}
        for n, values in enumerate([
            {"Blob": {"value": "AAAAAAAAB9E="}, "Span": {"value": "PT8H30M"}, "At": {"value": "08:00"}},
            {"Blob": {"value": "_-8"}, "Span": {"value": "-P1DT2H"}, "At": {"value": "23:59:59.5"}},
            {"Blob": {"value": ""}, "Span": {"value": "-01:30"}, "At": {"value": "00:00:00.0000000"}},
            {"Blob": {}, "Span": {}, "At": {}},
        ])])
    db.execute("""CREATE FOREIGN TABLE typed (n text OPTIONS (field 'ShipmentNbr'), blob bytea OPTIONS (field 'Blob'),
        span interval OPTIONS (field 'Span'), at time OPTIONS (field 'At'))
        SERVER days OPTIONS (entity 'Shipment', endpoint_version '24.200.001')""")
    found = db.execute("SELECT encode(blob, 'hex'), span::text, at::text FROM typed ORDER BY n").fetchall()
    assert found == [("00000000000007d1", "08:30:00", "08:00:00"), ("ffef", "-1 days -02:00:00", "23:59:59.5"),
                     ("", "-01:30:00", "00:00:00"), (None, None, None)], found
    for condition, n in (("blob = decode('ffef', 'hex')", "1"), ("span = '8.5 hours'", "0"), ("at < '08:00'", "2"),
                         ("blob IS NULL", "3"), ("span IS NULL", "3"), ("blob IN ('\\x', '\\x01')", "2"), ("span < '-1 day'", "1")):
        site["asked"].clear()
        assert db.execute(f"SELECT n FROM typed WHERE {condition}").fetchall() == [(n,)], condition
        assert site["asked"] and not any(site["asked"]), (condition, site["asked"])
    site["rows"][0]["Blob"] = {"value": "no base64!"}
    with raises("HV004", "bytea", "no base64!"):
        db.execute("SELECT blob FROM typed")


finish()
