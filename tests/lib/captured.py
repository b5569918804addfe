"""What the tests of captures share: sites that replay them, a decoder of their own, and tables made from what was recorded."""

import collections
import datetime
import decimal
import json
import os
import re
import uuid

import replay as r
from captured_rows import is_object, moment
from harness import connect, create_server, psycopg, test
from replay import SHARED, Number, Replay, Rows, captures, dumps

found, where = captures()
db = connect(options="-c statement_timeout=60s")
db.execute("SET client_min_messages = notice")
notices = []
db.add_notice_handler(lambda diagnostic: notices.append(f"{diagnostic.message_primary} {diagnostic.message_detail or ''}"))
server = Replay()
read, skipped = collections.Counter(), {}
names = set()
# How sites sign out, unless a test says otherwise.
SIGN_OUT = next((capture for capture in found.values() if (capture.path or "").endswith("auth/logout")), None)

# Real definitions by version; else the one that belongs to our own captures.
_fixtures = r.OURS if where == r.OURS else SHARED / "fixtures" / "swagger"
FIXTURES = {file.name.split("_")[1].removesuffix(".swagger.json"): file for file in sorted(_fixtures.glob("Default_*.swagger.json"))}
_definitions = {}


def definition(version):
    """The schemas of a real definition, and its bytes."""
    if version not in _definitions:
        text = FIXTURES[version].read_bytes()
        document = json.loads(text)
        _definitions[version] = (text, document.get("definitions") or document["components"]["schemas"],
                                 {path.split("/")[1] for path in document["paths"]})
    return _definitions[version]


def keys_of(entity):
    """The key of an entity, from the vendor's documentation (fixtures/entities.tsv)."""
    file = (r.OURS if where == r.OURS else SHARED / "fixtures") / "entities.tsv"
    if file.exists():
        for line in file.read_text().splitlines():
            parts = line.split("\t")
            if parts[0] == entity and len(parts) > 2:
                return [key.strip() for key in parts[2].split(",") if key.strip()]
    return []


# ---- Running tests -------------------------------------------------------------------------------------------------

# Tests that fail today: the number in the issue that mends them, and the name. One that passes fails the suite.
FAILING = r.OURS / "failing.txt"
expected_failures = dict(
    reversed(line.split("\t", 1)) for line in FAILING.read_text().splitlines() if line) if FAILING.exists() else {}


def check(name, *of):
    """Runs a test of some captures at once; with TEST_NAME in the environment only if its name contains that."""

    def run(function):
        names.add(name)
        for capture in of:
            read[capture.name] += 1
        if os.environ.get("TEST_NAME", "") not in name:
            return
        failed_as_expected = False

        def guarded():
            nonlocal failed_as_expected
            try:
                function()
            except Exception:
                if name not in expected_failures:
                    raise
                failed_as_expected = True
                return
            if name in expected_failures:
                raise AssertionError(f"passes: take it off the list of expected failures ({expected_failures[name]})")

        guarded.__name__ = name
        chosen = os.environ.pop("TEST_NAME", None)
        test(guarded, lambda: f"skip - {name}: fails as expected, issue {expected_failures[name]}" if failed_as_expected else None)
        if chosen is not None:
            os.environ["TEST_NAME"] = chosen

    return run


def begin(name, *, company="Company", login=None, logout=None, **options):
    """A site of its own, with a foreign server on it."""
    site = server.site(name, login=login, logout=logout or SIGN_OUT)
    site.company = company
    for version in FIXTURES:
        site.swagger[("Default", version)] = definition(version)[0]
    db.execute("SET client_min_messages = warning")
    db.execute("SELECT acumatica_disconnect_all()")
    create_server(db, site, company=company, **{"page_size": 1000, **options})
    db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; SET client_min_messages = notice")
    notices.clear()
    return site


def end(site):
    """Signs out, and checks that every request was answered from a capture, and that the session is closed."""
    db.execute("SELECT acumatica_disconnect_all()")
    assert not site.refused, "asked what no capture or fact allows:\n  " + "\n  ".join(site.refused)
    assert not site.cookies, "the session was left open"


ROW = {"id": "00000000-0000-4000-8000-000000000001", "rowNumber": Number(1), "note": None, "Name": {"value": "x"}, "custom": {}}


def small_table(site):
    """A table of one row, to see whether anything can be read."""
    endpoint = site.endpoints[0]
    site.entities[(*endpoint, "Thing")] = Rows([ROW])
    db.execute("CREATE FOREIGN TABLE s.thing (name text OPTIONS (field 'Name')) SERVER erp OPTIONS (entity 'Thing')")


# ---- A decoder of its own ------------------------------------------------------------------------------------------


def decode(value, kind):
    """What a column of this type must show for a value as JSON has it."""
    if value is None:
        return None
    if kind in ("text", "character varying"):
        return str(value) if not isinstance(value, bool) else str(value).lower()
    if kind == "boolean":
        assert isinstance(value, bool), value
        return value
    if kind in ("smallint", "integer", "bigint"):
        return int(decimal.Decimal(value))
    if kind == "numeric":
        # With its scale: 1.0000 is not 1. (Decimal keeps it, == does not tell.)
        return str(decimal.Decimal(value))
    if kind in ("real", "double precision"):
        return float(value)
    if kind == "uuid":
        return uuid.UUID(value)
    if kind == "date":
        return datetime.date.fromisoformat(value[:10])  # the day that is written, whatever the zone
    if kind == "timestamp with time zone":
        return moment(value).astimezone(datetime.timezone.utc)
    if kind == "timestamp without time zone":
        return moment(value).astimezone(datetime.timezone.utc).replace(tzinfo=None)
    raise AssertionError(f"no decoder for {kind}")


def shown(value, kind):
    """A value as psycopg returns it, in the form in which the tests compare it."""
    if kind == "numeric" and value is not None:
        return str(value)
    if kind == "timestamp with time zone" and value is not None:
        return value.astimezone(datetime.timezone.utc)
    return value


def cell(row, path, kind):
    """What a column with this path must show of a record."""
    for at, name in enumerate(path):
        if not isinstance(row, dict) or name not in row:
            # The code of a drop-down of contract 5.
            inner = row.get("value") if isinstance(row, dict) else None
            return decode(inner[name], kind) if isinstance(inner, dict) and name in inner else None
        row = row[name]
    if kind == "jsonb":
        return json.loads(dumps(row)) if row is not None else None
    if isinstance(row, dict):
        row = row.get("value")
        if isinstance(row, dict):
            row = row["description"]
    return decode(row, kind)


def imported_tables(schema="s"):
    """The foreign tables of a schema, as SQL names them."""
    rows = db.execute("SELECT ftrelid::regclass::text FROM pg_foreign_table JOIN pg_class c ON c.oid = ftrelid"
                      " WHERE relnamespace = %s::regnamespace ORDER BY 1", [schema]).fetchall()
    return [row[0] for row in rows]


Column = collections.namedtuple("Column", "name kind path options")


def columns(table):
    rows = db.execute(
        "SELECT attname, format_type(atttypid, NULL), coalesce(attfdwoptions, '{}') FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", [table]).fetchall()
    described = []
    for name, kind, options in rows:
        options = dict(option.split("=", 1) for option in options)
        if custom := options.get("custom"):
            path = ["custom", *custom.split(".")]
            if "/" in custom:
                holder, inner = custom.rsplit("/", 1)
                path = [*holder.split("/"), "custom", *inner.split(".")]
        else:
            path = options.get("field", name).split("/")
        described.append(Column(name, kind, path, options))
    return described


def table_options(table):
    rows = db.execute("SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = %s::regclass", [table]).fetchone()
    return dict(option.split("=", 1) for option in rows[0])


def lines(record, detail):
    """(line) of a detail such as Details or Details/Allocations, as (records on the way, the line)."""
    held = [({}, record)]
    for depth, name in enumerate(detail, 1):
        prefix = "/".join(detail[:depth])
        held = [({**way, prefix: line}, line) for way, holder in held for line in holder.get(name) or []]
    return [{**way, "": record} for way, _ in held]


def expected_rows(table, records):
    """What `SELECT *` of a table must show of captured records."""
    detail = [name for name in table_options(table).get("detail", "").split("/") if name]
    rows = []
    for record in records:
        for way in lines(record, detail) if detail else [{"": record}]:
            row = []
            for column in columns(table):
                depth = max((d for d in range(len(detail) + 1) if column.path[:d] == detail[:d] and "/".join(detail[:d]) in way), default=0)
                if depth and column.path == detail[:depth]:
                    depth -= 1
                row.append(cell(way["/".join(detail[:depth])], column.path[depth:], column.kind))
            rows.append(tuple(row))
    return rows


def compare(table, records, only=None):
    """`SELECT *`, or of some columns, shows exactly what was captured; how many values were compared."""
    described = columns(table)
    wanted = expected_rows(table, records)
    if only is not None:
        kept = [at for at, column in enumerate(described) if column.name in only]
        wanted = [tuple(row[at] for at in kept) for row in wanted]
        described = [described[at] for at in kept]
    names = ", ".join(f'"{column.name}"' for column in described) if only is not None else "*"
    got = db.execute(f"SELECT {names} FROM {table}").fetchall()
    got = [tuple(shown(value, column.kind) for value, column in zip(row, described)) for row in got]
    assert len(got) == len(wanted), f"{table}: {len(got)} rows, {len(wanted)} were captured"
    for number, (one, other) in enumerate(zip(got, wanted), 1):
        for value, right, column in zip(one, other, described):
            assert value == right and type(value) is type(right), (
                f"{table}, row {number}, column {column.name} {column.kind} ({'/'.join(column.path)}): "
                f"{value!r}, captured was {right!r}")
    return sum(value is not None for row in wanted for value in row)


# ---- Tables made by hand after what was captured -------------------------------------------------------------------

GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
# A day alone, as contract 5 has it, counts as its midnight.
TIME = re.compile(r"^\d{4}-\d\d-\d\d(?:T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?)?$")


def type_of(values):
    """The type for a column with these values; text if there are none."""
    values = [value for value in values if value is not None]
    if values and all(isinstance(value, bool) for value in values):
        return "boolean"
    if values and all(isinstance(value, Number) for value in values):
        return "numeric"
    if values and all(isinstance(value, (dict, list)) for value in values):
        return "jsonb"
    times = [TIME.match(str(value)) for value in values]
    if values and all(times):
        return "date" if all(time[1] in (None, "00:00:00") and not time[2] for time in times) else "timestamptz"
    if values and all(GUID.match(str(value)) for value in values):
        return "uuid"
    return "text"


def fields_of(records, prefix=(), details=None):
    """(path, type) of all that records have; details as a whole, and added to `details` with their lines."""
    names = list(dict.fromkeys(name for record in records for name in record))
    for name in names:
        values = [record.get(name) for record in records]
        path = (*prefix, name)
        if name == "custom":
            for view in dict.fromkeys(view for value in values if value for view in value):
                for field in dict.fromkeys(field for value in values if value for field in value.get(view, {})):
                    inner = [value.get(view, {}).get(field, {}).get("value") for value in values if value]
                    yield (*path, view, field), type_of(inner)
        elif name in ("_links", "error"):
            continue
        elif name == "rowNumber":
            yield path, "bigint"
        elif name == "id":
            yield path, "uuid"
        elif name == "note":
            yield path, "text"
        elif name == "files" or any(isinstance(value, list) for value in values):
            if details is not None and name != "files":
                details.append(((*prefix, name), [line for value in values for line in value or []]))
            if name != "files" or not prefix:
                yield path, "jsonb"
        elif any(is_object(value) for value in values):
            yield from fields_of([value or {} for value in values], path, None)
        elif all(value is None for value in values):
            yield path, "jsonb"  # a linked entity that is not there
        else:
            inner = [value.get("value") for value in values if value]
            if any(isinstance(value, list) for value in inner):
                # A drop-down of several, in contract 5: a list of codes and labels.
                yield (*path, "value"), "jsonb"
            elif any(isinstance(value, dict) for value in inner):
                yield path, "text"
                yield (*path, "id"), "text"
            else:
                yield path, type_of(inner)


def create(table, fields, **options):
    made = []
    for number, (path, kind) in enumerate(fields):
        if "custom" in path:
            at = path.index("custom")
            option = f"custom '{'/'.join((*path[:at], '.'.join(path[at + 1:])))}'"
        else:
            option = f"field '{'/'.join(path)}'"
        made.append(f"c{number} {kind} OPTIONS ({option})")
    listed = ", ".join(f"{name} '{value}'" for name, value in options.items())
    db.execute(f"CREATE FOREIGN TABLE {table} ({', '.join(made)}) SERVER erp OPTIONS ({listed})")


# ---- Which entity a capture is of ----------------------------------------------------------------------------------


def subject(capture):
    """The entity, from the address; else, as far as the meta describes it in words, from the capture's own name."""
    if capture.path and capture.entity_path[0] not in ("", "…"):
        return capture.entity_path[0]
    if capture.kind != "json" or not FIXTURES:
        return None
    letters = re.sub(r"[^a-z]", "", re.sub(r"-page\d+$", "", capture.name.partition("-")[2]).lower())
    known = definition(max(FIXTURES))[2]
    return next((name for name in known if name.lower() in (letters, letters.removesuffix("s"))), None)


def records_of(capture):
    body = capture.json
    return body if isinstance(body, list) else [body]


def is_record(value):
    return isinstance(value, dict) and "id" in value and "rowNumber" in value


def results_of(capture):
    """The member of a form's answer that holds its results."""
    body = capture.json
    details = [name for name, value in body.items() if isinstance(value, list) and name != "files"]
    return details[0] if len(details) == 1 else None


# ---- Errors --------------------------------------------------------------------------------------------------------


def words(capture):
    """The message of an error that the server answered, in one line."""
    try:
        body = capture.json
    except ValueError:
        return []
    said = [body.get("exceptionMessage") or body.get("message") or body.get("error") or ""]
    said += [text for texts in body.get("modelState", {}).values() for text in texts]
    return [" ".join(str(text).split()) for text in said if text]


def has_words(error, capture):
    diagnostics = error.diag
    whole = " ".join(" ".join(filter(None, (
        diagnostics.message_primary, diagnostics.message_detail, diagnostics.message_hint))).split())
    for said in words(capture):
        assert said in whole, f"no {said!r} in: {whole}"
    return whole


def refused(capture, sqlstate, query):
    """The query fails with this SQLSTATE and the server's words; all that was said."""
    try:
        db.execute(query)
    except psycopg.Error as error:
        whole = has_words(error, capture)
        assert error.sqlstate == sqlstate, f"SQLSTATE {error.sqlstate}, not {sqlstate}: {whole}"
        return whole
    raise AssertionError(f"no error, not even {sqlstate}")
