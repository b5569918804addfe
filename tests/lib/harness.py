"""What the end-to-end tests share: a simulator of their own, connections, and a line for each test.

The environment comes from tests/run.sh: PGHOST, PGPORT, PGUSER, PGDATABASE, SIM_BIN.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

import psycopg


def connect(**options):
    """A connection that commits by itself; the simulator's extension is there."""
    connection = psycopg.connect("", autocommit=True, **options)
    with connection.cursor() as cursor:
        cursor.execute("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS acumatica_fdw")
    return connection


def has_icu(connection):
    """Whether this PostgreSQL was built with ICU; without it there are no nondeterministic collations."""
    return connection.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone() is not None


# Passwords that occur nowhere else: the server's log is searched for them.
PASSWORD = "pass-of-admin"
USERS = f"admin:{PASSWORD},analyst:pass-of-analyst"


class Sim:
    """A running simulator and its control URL."""

    def __init__(self, *arguments):
        if "--users" not in arguments:
            arguments = (*arguments, "--users", USERS)
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [os.environ["SIM_BIN"], *map(str, arguments)], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        atexit.register(self.stop)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            self.log.seek(0)
            raise RuntimeError(f"the simulator did not start: {line}{self.log.read()}")
        self.url = line.split()[-1]
        self.origin = "/".join(self.url.split("/")[:3])

    def stop(self):
        if self.process.poll() is None:
            self.keep_secrets()
            self.process.terminate()
            self.process.wait(10)

    def keep_secrets(self):
        """Appends the simulator's secrets to the file that tests/lib/secrets.py reads."""
        if run := os.environ.get("ACUMATICA_TEST_RUN"):
            with open(f"{run}/secrets", "a") as file:
                file.writelines(f"{secret}\n" for secret in self.control("GET", "secrets"))

    def control(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.origin}/__sim/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def requests(self, part=""):
        return [r for r in self.control("GET", "requests") if part in r["query"] or part in r["path"]]

    def sessions(self):
        return self.control("GET", "sessions")

    def fault(self, match, kind, **more):
        self.control("POST", "faults", {"match": match, "kind": kind, **more})

    def reset(self):
        for what in ("faults", "requests", "rows"):
            self.control("DELETE", what)

    def dump(self, name, fields, *arguments):
        """The rows of the data set as CSV, from `acumatica-sim dump`."""
        return subprocess.run(
            [os.environ["SIM_BIN"], "dump", name, "--fields", ",".join(fields), *map(str, arguments)],
            check=True,
            capture_output=True,
        ).stdout


def options(given):
    return ", ".join(f"{name} '{value}'" for name, value in given.items())


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def redirected(address, user="admin"):
    """Where the browser ends after the user has consented."""
    try:
        urllib.request.build_opener(NoRedirect).open(f"{address}&sim_user={user}")
    except urllib.error.HTTPError as answer:
        assert answer.code == 302, answer.read()
        return answer.headers["Location"]
    raise AssertionError("no redirect")


def in_background(query, connection=None, seconds=30):
    """Runs a query on a connection of its own; calling what is returned waits for its rows, or raises its error."""
    connection = connection or connect()
    outcome = {}

    def run():
        try:
            outcome["rows"] = connection.execute(query).fetchall()
        except psycopg.Error as error:
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(seconds)
        assert not thread.is_alive(), "it does not come back"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["rows"]

    wait.connection = connection
    return wait


def create_server(connection, sim, name="erp", user="admin", password=PASSWORD, **options):
    """A foreign server on the simulator, with a mapping for everyone."""
    options = {"url": sim.url, "company": "Company", **options}
    listed = ", ".join(f"{key} '{value}'" for key, value in options.items())
    connection.execute(f"DROP SERVER IF EXISTS {name} CASCADE")
    connection.execute(f"CREATE SERVER {name} FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({listed})")
    connection.execute(
        f"CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS (username '{user}', password '{password}')"
    )


_failed = 0


def test(function, instead=lambda: None):
    """Runs a test at once and says how it went; with TEST_NAME in the environment only that one. What `instead` returns is
    said in place of `ok`."""
    global _failed
    name = function.__name__
    if os.environ.get("TEST_NAME", name) != name:
        return
    try:
        function()
        print(instead() or f"ok - {name}", flush=True)
    except Exception:  # noqa: BLE001 - whatever it is, it is the test's
        _failed += 1
        traceback.print_exc(file=sys.stdout)
        print(f"not ok - {name}", flush=True)


def finish():
    sys.exit(1 if _failed else 0)


@contextlib.contextmanager
def raises(sqlstate, *parts):
    """The block must fail with this SQLSTATE, and message, detail and hint hold these parts. The error is in what is
    yielded."""
    found = {}
    try:
        yield found
    except psycopg.Error as error:
        found["error"] = error
        diagnostics = error.diag
        whole = "\n".join(
            filter(None, (diagnostics.message_primary, diagnostics.message_detail, diagnostics.message_hint))
        )
        if error.sqlstate != sqlstate:
            raise AssertionError(f"SQLSTATE {error.sqlstate}, not {sqlstate}: {whole}") from error
        for part in parts:
            if part not in whole:
                raise AssertionError(f"no {part!r} in: {whole}") from error
    else:
        raise AssertionError(f"no error, not even {sqlstate}")


def eventually(condition, seconds=10):
    """Waits until the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.02)
