"""IMPORT FOREIGN SCHEMA for tests: the tables that it makes, and the notices. Importing this starts a simulator with the data
set (server `erp`).
"""

import collections
import contextlib
import pathlib
import threading
import time

from definition import Definition
from harness import PASSWORD, Sim, connect, create_server, finish, psycopg, test

OURS = pathlib.Path(__file__).resolve().parents[1] / "definitions"
CONTRACT5, ODD = (Definition(OURS / f"{name}.json") for name in ("contract5", "odd"))
db = connect(options="-c statement_timeout=60s -c idle_in_transaction_session_timeout=60s")
db.execute("SET client_min_messages = notice")
notices = []
db.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
sim = Sim("--seats", 0, "--scale", 0.1)
create_server(db, sim)


def generate(*definitions):
    """A simulator of endpoints with these definitions (server `gen`). It has few rows, of records that no import looks at; every
    field is in some row, so that one that is read by a wrong path shows."""
    generated = Sim("--seats", 0, "--switched-off", "shown", "--scale", 0.01, *(part for d in definitions for part in ("--definition", d.path)))
    create_server(db, generated, "gen")
    return generated


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


def of(definition, **options):
    """Imports the endpoint of a definition."""
    return load("REST", server="gen", endpoint_name=definition.endpoint, endpoint_version=definition.version, **options)


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


def count_of_comments():
    return value("SELECT count(*) FROM pg_description d JOIN pg_class c ON c.oid = objoid AND classoid = 'pg_class'::regclass"
                 " WHERE relnamespace = 's'::regnamespace")


def value(query):
    return db.execute(query).fetchone()[0]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


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


def peak(pid):
    """The most memory that a backend has had, in kB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


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


def end(*others):
    """The last test of a script: after all its errors no session is open, and no notice contains the password."""

    def no_session_is_left():
        db.execute("SELECT acumatica_disconnect_all()")
        assert not any(each.sessions() for each in (sim, *others))
        assert PASSWORD not in str(notices)

    test(no_session_is_left)
    finish()
