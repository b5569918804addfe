#!/usr/bin/env python3
"""What a server may do that the simulator does not: a short scripted OData server does it."""

import bisect
import contextlib
import http.server
import json
import os
import random
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, finish, psycopg, raises, test

# What the server does now: a function from ($skip, $top, parsed query) to the JSON of an answer.
script = {"rows": None, "requests": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each answer waits for an acknowledgement

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in [*headers.items(), *script.get("headers", ())]:
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client may leave in the middle
            self.wfile.write(body)
            self.wfile.flush()

    def do_POST(self):
        self.answer(204)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.endswith("/gi"):
            return self.answer(200, b'{"value":[]}', Set_Cookie=".ASPXAUTH=x; path=/")
        if url.path.endswith("/Login.aspx"):
            return self.answer(404)
        if url.path.endswith("$metadata"):
            return self.answer(200, script.get("metadata", '<Edmx><Schema Namespace="N"/></Edmx>').encode())
        script["requests"] += 1
        query = dict(urllib.parse.parse_qsl(url.query))
        body = script["rows"](int(query.get("$skip", 0)), int(query.get("$top", 10**9)), query)
        if isinstance(body, int):
            wait = {"Retry_After": script["retry_after"]} if "retry_after" in script else {}
            return self.answer(body, b"{}", **wait)
        self.answer(200, json.dumps(body).encode(), Content_Type="application/json")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
db = connect(options="-c statement_timeout=20s")
db.execute(f"""
    CREATE SERVER strange FOREIGN DATA WRAPPER acumatica_fdw
        OPTIONS (url 'http://127.0.0.1:{server.server_port}', company 'C', schema 'OData', page_size '1000');
    CREATE USER MAPPING FOR PUBLIC SERVER strange OPTIONS (username 'u', password 'p');
    CREATE FOREIGN TABLE keyed (k int OPTIONS (key '1'), v int) SERVER strange OPTIONS (inquiry 'X');
    CREATE FOREIGN TABLE moving (k int OPTIONS (key '1')) SERVER strange OPTIONS (inquiry 'X', page_size '1');
    CREATE FOREIGN TABLE wide (k int OPTIONS (key '1'), v text) SERVER strange OPTIONS (inquiry 'X');
    CREATE FOREIGN TABLE record (k text OPTIONS (key '1'), v int) SERVER strange OPTIONS (schema 'DAC', entity 'X');
    CREATE FOREIGN TABLE keyless (v int) SERVER strange OPTIONS (inquiry 'X')""")


def serve(rows):
    script.update(rows=rows, requests=0)


def table(rows):
    return lambda skip, top, _: {"value": rows[skip : skip + top]}


def values(query):
    return sorted(row[0] for row in db.execute(query).fetchall())


@test
def pages_of_any_cap_are_read_to_the_end():
    rows = [{"k": n, "v": n} for n in range(600)]
    for cap in (2, 3, 50, 99, 255, 256, 257):
        serve(lambda skip, top, _: {"value": rows[skip : skip + min(top, cap)]})
        assert values("SELECT v FROM keyed") == list(range(600)), cap


@test
def a_cap_that_comes_and_goes_loses_nothing():
    rows = [{"k": n, "v": n} for n in range(2000)]

    def moody(skip, top, _):
        return {"value": rows[skip : skip + min(top, 1000 if script["requests"] % 3 else 40)]}

    serve(moody)
    assert values("SELECT v FROM keyed") == list(range(2000))


def shrinking(count, cap, deleted, at_request):
    """A table from which rows that were read already disappear while it is read."""
    rows = [{"k": n, "v": n} for n in range(count)]

    def answer(skip, top, _):
        if script["requests"] == at_request:
            del rows[5 : 5 + deleted]
        return {"value": rows[skip : skip + min(top, cap)]}

    serve(answer)


@test
def deletes_lose_no_row_however_the_server_caps_its_pages():
    for count, cap, deleted, at_request in ((20000, 200, 17, 7), (20000, 1000, 300, 7), (2000, 100, 20, 10), (3000, 50, 300, 40), (3000, 10**6, 300, 3), (700, 7, 30, 60)):
        shrinking(count, cap, deleted, at_request)
        # What was deleted had been read by then, so every row is there once.
        assert values("SELECT v FROM keyed") == list(range(count)), (count, cap, deleted)


@test
def a_delete_of_all_that_was_read_begins_anew():
    shrinking(2000, 10**6, 240, 2)
    got = values("SELECT v FROM keyed")
    assert got == list(range(2000)), len(got)


@test
def failures_in_the_middle_of_small_pages_neither_lose_nor_repeat():
    db.execute("CREATE FOREIGN TABLE tiny (k int OPTIONS (key '1'), v int) SERVER strange OPTIONS (inquiry 'X', page_size '3')")
    rows = [{"k": n, "v": n} for n in range(30)]

    def troubled(skip, top, _):
        if script["requests"] in (3, 4, 5, 9, 12, 13):
            return 503
        return {"value": rows[skip : skip + top]}

    serve(troubled)
    assert values("SELECT v FROM tiny") == list(range(30))


@test
def a_server_that_says_retry_at_once_is_not_flooded():
    db.execute("ALTER SERVER strange OPTIONS (ADD operation_timeout '2')")
    for seconds in ("0", "Sun, 22 Nov 2020 12:00:00 GMT", "99999999999999999"):
        script["retry_after"] = seconds
        serve(lambda *_: 503)
        with raises("08006", "not available"):
            db.execute("SELECT v FROM keyed")
        assert script["requests"] < 10, script["requests"]
    del script["retry_after"]
    db.execute("ALTER SERVER strange OPTIONS (DROP operation_timeout)")


@test
def an_oversized_page_is_followed_by_smaller_ones():
    db.execute("ALTER FOREIGN TABLE wide OPTIONS (ADD page_size '100000')")
    sizes, asked = [1] * 600 + [40_000] * 2400, []

    def growing(skip, top, _):
        asked.append(top)
        return {"value": [{"k": skip + n, "v": "x" * size} for n, size in enumerate(sizes[skip : skip + top])]}

    serve(growing)
    assert db.execute("SELECT count(*), sum(length(v)) FROM wide").fetchone() == (3000, sum(sizes))
    assert asked[1] > 10_000 and max(asked[2:]) < 5_000, asked
    db.execute("ALTER FOREIGN TABLE wide OPTIONS (DROP page_size)")


@test
def random_changes_while_reading():
    """Rows come and go between the pages, answers fail, pages are capped: each row that is there all the time is read once."""
    seed = random.randrange(2**32)
    print(f"# seed {seed}")
    dice = random.Random(seed)
    refused = 0
    for trial in range(150):
        size, cap, trouble = dice.randint(1, 120), dice.choice((2, 3, 7, 50, 10**6)), dice.random() / 2
        rows = sorted(dice.sample(range(10**6), size))
        stayed, ever = set(rows), set(rows)
        db.execute(f"ALTER FOREIGN TABLE moving OPTIONS (SET page_size '{dice.choice((1, 2, 5, 20, 100))}')")

        def restless(skip, top, _):
            # Changes stop after 60 requests, because a table that grows faster than it is read has no end.
            changes = dice.choice((0, 0, 1, 2, 9)) if script["requests"] < 60 and dice.random() < trouble else 0
            for _change in range(changes):
                if rows and dice.random() < 0.5:
                    stayed.discard(rows.pop(dice.randrange(len(rows))))
                else:
                    new = dice.randrange(10**6)
                    if new not in ever:
                        ever.add(new)
                        bisect.insort(rows, new)
            if dice.random() < trouble / 40:
                return 503
            return {"value": [{"k": k} for k in rows[skip : skip + min(top, cap)]]}

        serve(restless)
        try:
            got = [row[0] for row in db.execute("SELECT k FROM moving").fetchall()]
        except (psycopg.errors.SerializationFailure, psycopg.errors.ProtocolViolation):
            # Too much has changed: an error, never fewer rows.
            refused += 1
            continue
        assert len(got) == len(set(got)), (trial, "a row twice")
        assert stayed <= set(got) <= ever, (trial, stayed - set(got), set(got) - ever)
    print(f"# {refused} of 150 ended in 40001 or 08P01")
    assert refused < 50


@test
def ties_at_the_cut_are_an_error_not_a_swapped_row():
    def tied(skip, top, _):
        order = [0, 1] if script["requests"] == 1 else [1, 0]
        rows = [{"k": n, "v": n} for n in range(255)]
        rows += [{"k": 255, "v": 255 + n} for n in order] + [{"k": n, "v": n} for n in range(257, 300)]
        return {"value": rows[skip : skip + top]}

    serve(tied)
    with raises("40001", "make rows unique"):
        db.execute("SELECT v FROM keyed")


@test
def a_key_that_is_not_unique_does_no_harm_on_one_page():
    serve(table([{"k": 1, "v": n} for n in range(20)]))
    assert values("SELECT v FROM keyed") == list(range(20))


@test
def rows_without_their_key_are_an_error():
    serve(table([{"v": n} for n in range(300)]))
    with raises("08P01", "lacks its key"):
        db.execute("SELECT v FROM keyed")


def metadata(*properties):
    fields = "".join(f'<Property Name="{name}" Type="Edm.Int32"/>' for name in properties)
    return f'''<Edmx><Schema Namespace="N"><EntityType Name="X"><Key><PropertyRef Name="k"/></Key>{fields}</EntityType>
        <EntityContainer Name="C"><EntitySet Name="X" EntityType="N.X"/></EntityContainer></Schema></Edmx>'''


@test
def issue_12_2_1_a_field_that_no_row_of_an_inquiry_has():
    """One that the $metadata has is NULL; one that it does not know is an error; without it there is a NOTICE."""
    told = []
    said = lambda about: told.append(about.message_primary)
    for properties, expected in ((None, ['column "v" is NULL: no row of generic inquiry "X" has it, and no definition can be read that says whether the field exists']), (("k", "v"), [])):
        told.clear()
        serve(table([{"k": n} for n in range(10)]))
        script.pop("metadata", None)
        if properties:
            script["metadata"] = metadata(*properties)
        with connect() as other:
            other.execute("SET client_min_messages = notice")
            other.add_notice_handler(said)
            assert other.execute("SELECT count(*), count(v) FROM keyed").fetchone() == (10, 0)
        assert told == expected, told
    script["metadata"] = metadata("k", "vv")
    db.execute("ALTER FOREIGN TABLE keyed ADD COLUMN w int OPTIONS (field 'vw')")
    with connect() as other, raises("HV005", 'field "vw" of column "w" does not exist', "vv"):
        other.execute("SELECT w FROM keyed")
    db.execute("ALTER FOREIGN TABLE keyed DROP COLUMN w")
    del script["metadata"]


@test
def a_field_that_some_rows_lack_is_null():
    serve(table([{"k": n} | ({"v": n} if n % 2 else {}) for n in range(10)]))
    assert db.execute("SELECT count(*), count(v) FROM keyed").fetchone() == (10, 5)


@test
def a_server_that_ignores_skip_is_an_error():
    rows = [{"k": n, "v": n} for n in range(3000)]
    serve(lambda skip, top, _: {"value": rows[:top]})
    with raises("08P01", "ignores $skip in the list"):
        db.execute("SELECT v FROM keyed")


@test
def issue_12_3_3_a_row_with_another_key_each_time_is_an_error():
    for count in (1, 2, 5):
        serve(lambda skip, top, _: {"value": [{"k": script["requests"] * 100 + n, "v": n} for n in range(count)]})
        with raises("08P01", "$skip"):
            db.execute("SELECT v FROM keyed")
        assert script["requests"] <= 12, script["requests"]


@test
def a_server_that_ignores_top_is_an_error():
    serve(lambda skip, top, _: {"value": [{"k": n, "v": n} for n in range(3000)]})
    with raises("08P01", "more rows", "$top"):
        db.execute("SELECT v FROM keyed")


@test
def a_next_link_says_that_there_is_more_even_if_it_leads_elsewhere():
    rows = [{"k": n, "v": n} for n in range(50)]

    def linked(skip, top, _):
        page = rows[skip : skip + min(top, 7)]
        more = {"@odata.nextLink": "http://elsewhere.example/x"} if skip + 7 < 50 else {}
        return {"value": page, **more}

    serve(linked)
    assert values("SELECT v FROM keyed") == list(range(50))


@test
def without_a_key_next_links_are_followed_within_the_site_only():
    rows = [{"v": n} for n in range(50)]

    def linked(_skip, _top, query):
        at = int(query.get("at", 0))
        return {"@odata.nextLink": f"/t/C/api/odata/gi/X?at={at + 7}", "value": rows[at : at + 7]} if at < 49 else {"value": rows[at:]}

    serve(linked)
    assert values("SELECT v FROM keyless") == list(range(50))
    serve(lambda *_: {"value": rows, "@odata.nextLink": "http://elsewhere.example/x"})
    with raises("08P01", "another site"):
        db.execute("SELECT v FROM keyless")
    serve(lambda *_: {"value": rows, "@odata.nextLink": "/t/C/api/odata/gi/X?at=1"})
    with raises("08P01", "same next link twice"):
        db.execute("SELECT v FROM keyless")


@test
def links_to_empty_pages_come_to_an_end():
    serve(lambda *_: {"value": [], "@odata.nextLink": f"/t/C/api/odata/gi/X?at={script['requests']}"})
    with raises("08P01", "does not send them"):
        db.execute("SELECT v FROM keyless")
    with raises("08P01", "does not send them"):
        db.execute("SELECT v FROM keyed")


@test
def rows_of_forty_megabytes_come_one_by_one():
    text = "x" * (40 << 20)
    serve(lambda skip, top, _: {"value": [{"k": n, "v": text} for n in range(4)][skip : skip + top]})
    assert db.execute("SELECT count(*), min(length(v)) FROM wide").fetchone() == (4, 40 << 20)


@test
def values_at_the_edges():
    db.execute("""CREATE FOREIGN TABLE edges (k int OPTIONS (key '1'), i2 smallint, i8 bigint, n numeric, f float8, d date,
        ts timestamptz, t text, m money) SERVER strange OPTIONS (inquiry 'X')""")
    row = {"i2": -32768, "i8": "-9223372036854775808", "n": "1E-30", "f": "1.7976931348623157e308", "d": "0001-01-01",
           "ts": "9999-12-31T23:59:59.9999999Z", "t": "\U0001f600\ud7ff'\\\"", "m": "1234.50"}
    serve(table([{"k": 1, **row}]))
    got = db.execute("SELECT i2, i8, n::text, f, d::text, t, m::text FROM edges").fetchone()
    assert got[:3] == (-32768, -9223372036854775808, "0.000000000000000000000000000001"), got
    assert got[4:] == ("0001-01-01", row["t"], "$1,234.50"), got
    serve(table([{"k": 1, **row, "t": "a\u0000b"}]))
    with raises("HV004", "edges", '"t"', "Row 1"):
        db.execute("SELECT t FROM edges")


@test
def a_database_in_another_encoding():
    name = os.environ["PGDATABASE"]
    db.execute(f"CREATE DATABASE {name}_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    latin = connect(dbname=f"{name}_latin1")
    latin.execute(f"""
        CREATE SERVER strange FOREIGN DATA WRAPPER acumatica_fdw
            OPTIONS (url 'http://127.0.0.1:{server.server_port}', company 'Söhne', schema 'OData');
        CREATE USER MAPPING FOR PUBLIC SERVER strange OPTIONS (username 'u', password 'gehéim');
        CREATE FOREIGN TABLE größe (k int OPTIONS (key '1'), "Größe" text) SERVER strange OPTIONS (inquiry 'X')""")
    serve(table([{"k": 1, "Größe": "Müßig"}]))
    assert latin.execute('SELECT "Größe" FROM größe').fetchone() == ("Müßig",)
    plan = latin.execute("EXPLAIN (VERBOSE) SELECT * FROM größe").fetchall()
    assert any("/t/S%C3%B6hne/" in line and "Gr%C3%B6%C3%9Fe" in line for (line,) in plan), plan
    serve(table([{"k": 1, "Größe": "€"}]))
    with raises("22P05"):
        latin.execute('SELECT "Größe" FROM größe')
    with raises("HV00D", "cannot be given to a server", "MAPPING ..."):
        latin.execute("CREATE SERVER x FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'h', password 'x')")
    latin.close()


@test
def a_domain_is_its_base_type_with_constraints():
    db.execute("""CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN required AS timestamptz NOT NULL;
        CREATE FOREIGN TABLE domains (k int OPTIONS (key '1'), p positive, r required)
        SERVER strange OPTIONS (inquiry 'X')""")
    db.execute("SET timezone = 'America/New_York'")
    serve(table([{"k": 1, "p": 5.0, "r": "2024-01-01T00:00:00"}]))
    assert db.execute("SELECT p, r = '2024-01-01 00:00+00' FROM domains").fetchone() == (5, True)
    serve(table([{"k": 7, "p": -1, "r": "2024-01-01T00:00:00"}]))
    with raises("23514", '"p"', "Row 7", "-1"):
        db.execute("SELECT p FROM domains")
    serve(table([{"k": 7, "p": None, "r": None}]))
    with raises("23502", '"r"', "Row 7"):
        db.execute("SELECT r FROM domains")


@test
def two_columns_cannot_have_one_place_in_the_key():
    db.execute("CREATE FOREIGN TABLE twice (a int OPTIONS (key '1'), b int OPTIONS (key '1')) SERVER strange OPTIONS (inquiry 'X')")
    with raises("HV024", 'option "key" with the value 1'):
        db.execute("SELECT * FROM twice")


@test
def a_wide_table_leaves_out_select():
    columns = [f'"Column{n:04}" int' for n in range(1000)]
    db.execute(f"CREATE FOREIGN TABLE thousand (k int OPTIONS (key '1'), {', '.join(columns)}) SERVER strange OPTIONS (inquiry 'X')")
    serve(table([{"k": 1, **{f"Column{n:04}": n for n in range(1000)}}]))
    row = db.execute("SELECT * FROM thousand").fetchone()
    assert row == (1, *range(1000))


@test
def a_record_by_its_address_whose_key_is_another_is_looked_for_in_the_list():
    rows = table([{"k": "a", "v": 1}, {"k": "b", "v": 2}])
    # A request for a list has $top; one for a single record has not.
    serve(lambda skip, top, query: rows(skip, top, query) if "$top" in query else {"k": "a", "v": 1})
    assert values("SELECT v FROM record WHERE k = 'b'") == [2]


@test
def issue_4_6_a_row_without_a_key_is_told_by_its_number():
    """Both the decoder and the input function of the PostgreSQL type report the number of the row."""
    db.execute("CREATE DOMAIN short AS text CHECK (length(VALUE) < 5)")
    db.execute("CREATE FOREIGN TABLE nameless (v int, w short) SERVER strange OPTIONS (inquiry 'X')")
    serve(table([{"v": n, "w": "long enough" if n == 299 else "fine"} for n in range(400)]))
    with raises("23514", "Row number 300, field \"w\"", "long enough"):
        db.execute("SELECT * FROM nameless")
    with raises("23514", "Row number 300, field \"w\""):
        db.execute("SELECT w FROM nameless ORDER BY v")
    serve(table([{"v": "x" if n == 299 else n, "w": "fine"} for n in range(400)]))
    with raises("HV004", "Row number 300, field \"v\"", "x"):
        db.execute("SELECT * FROM nameless")
    # Also where there is a key and this row has nothing in it.
    db.execute("CREATE FOREIGN TABLE unnamed (k text OPTIONS (key '1'), w short) SERVER strange OPTIONS (inquiry 'X')")
    serve(table([{"k": "", "w": "long enough"}]))
    with raises("23514", "Row number 1, field"):
        db.execute("SELECT * FROM unnamed")


@test
def issue_4_6_dots_do_not_leave_their_folder():
    for name in ("..", ".", "%2e%2E"):
        serve(table([{"v": 1}]))
        db.execute(f"CREATE FOREIGN TABLE dots (v int, k int OPTIONS (key '1')) SERVER strange OPTIONS (inquiry '{name}')")
        if name[0] == "%":
            # A percent sign in a name is encoded, even if the name looks percent-encoded.
            serve(table([{"v": 1, "k": 1}]))
            assert values("SELECT v FROM dots") == [1]
        else:
            with raises("HV00R", f'"{name}"', "address"):
                db.execute("SELECT * FROM dots")
            assert script["requests"] == 0
        db.execute("DROP FOREIGN TABLE dots")
    # A key is looked for in the list where it cannot stand in an address.
    rows = table([{"k": "..", "v": 1}])
    serve(lambda skip, top, query: rows(skip, top, query) if "$top" in query else {"k": "other", "v": 9})
    assert values("SELECT v FROM record WHERE k = '..'") == [1]


@test
def issue_4_6_an_empty_object_is_told_with_a_detail():
    for answer in ({}, {"odd": 1}, []):
        serve(lambda *_: answer)
        try:
            db.execute("SELECT * FROM keyed")
        except psycopg.Error as error:
            assert error.diag.message_detail, error
        else:
            assert answer == []


@test
def issue_4_6_hundreds_of_headers_and_folded_ones_are_read():
    script["headers"] = [(f"X-Added-{n}", "by a proxy") for n in range(300)] + [("X-Folded", "one\r\n two\r\n\tthree")]
    serve(table([{"k": n, "v": n} for n in range(600)]))
    assert values("SELECT v FROM keyed") == list(range(600))
    script["headers"] = [(f"X-Added-{n}", "x") for n in range(5000)]
    serve(table([{"k": 1, "v": 1}]))
    with raises("08P01", "too many headers", "proxy"):
        db.execute("SELECT v FROM keyed")
    assert script["requests"] <= 2, script["requests"]
    script["headers"] = [("Bad Name", "x")]
    serve(table([{"k": 1, "v": 1}]))
    with raises("08P01", "headers is not valid"):
        db.execute("SELECT v FROM keyed")
    del script["headers"]


finish()
