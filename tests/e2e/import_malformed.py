#!/usr/bin/env python3
"""IMPORT FOREIGN SCHEMA of definitions and metadata that are malformed, endless or strange: an error or a NOTICE, and the
backend neither crashes nor hangs nor takes much memory."""

import contextlib
import gzip
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, psycopg, test
from importing import OURS, columns, db, end, load, notices, peak, swagger, tables


class Script(http.server.ThreadingHTTPServer):
    """Serves what it is told to, by the end of the path: bytes, or a function that writes them piece by piece."""

    daemon_threads = True

    def __init__(self):
        self.answers = {}
        super().__init__(("127.0.0.1", 0), ScriptHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


    def handle_error(self, *_):
        """The client may disconnect at any time."""


class ScriptHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        answer = next((a for end, a in self.server.answers.items() if path.endswith(end)), b'{"value":[]}')
        headers = {}
        if isinstance(answer, tuple):
            answer, headers = answer
        self.send_response(200)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        for name, text in headers.items():
            self.send_header(name, text)
        with contextlib.suppress(OSError):
            if isinstance(answer, bytes):
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            else:
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                for piece in answer():
                    self.wfile.write(piece)
            self.wfile.flush()


script = Script()
db.execute(f"""
    DROP SERVER IF EXISTS odd CASCADE; CREATE SERVER odd FOREIGN DATA WRAPPER acumatica_fdw
        OPTIONS (url 'http://127.0.0.1:{script.server_port}', company 'C', odata_version '4', operation_timeout '5');
    CREATE USER MAPPING FOR PUBLIC SERVER odd OPTIONS (username 'u', password 'a-word-for-odd')""")
LISTED = b'{"endpoints":[{"name":"Default","version":"24.200.001","href":"/entity/Default/24.200.001/"}]}'
FINE = (OURS / "odd.json").read_bytes()


def serve(remote, body):
    where = "swagger.json" if remote == "REST" else "$metadata"
    script.answers = {where: body, "/entity": LISTED, "/gi": b'{"value":[]}', "/dac": b'{"value":[]}'}


def edmx(inner, container=""):
    return (f'<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">'
            f'<edmx:DataServices><Schema Namespace="G" xmlns="http://docs.oasis-open.org/odata/ns/edm">{inner}'
            f'<EntityContainer Name="D">{container}</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>').encode()


def entity_type(name="A", properties='<Property Name="X" Type="Edm.String"/>'):
    return f'<EntityType Name="{name}"><Key><PropertyRef Name="X"/></Key>{properties}</EntityType>'


def entity_set(name="A"):
    return f'<EntitySet Name="{name}" EntityType="G.{name}"/>'


def attempt(remote, megabytes=150):
    """An import that may fail, but not crash, hang or take much memory; returns the SQLSTATE and the message."""
    with connect(options="-c statement_timeout=30s") as backend:
        backend.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        pid = backend.info.backend_pid
        before = peak(pid)
        outcome = "fine", ""
        begun = time.monotonic()
        try:
            load(remote, server="odd", connection=backend, into="odd", check_rights="false")
        except psycopg.Error as error:
            outcome = error.sqlstate, f"{error.diag.message_primary}; {error.diag.message_detail}"
        seconds = time.monotonic() - begun
        assert backend.execute("SELECT 1").fetchone() == (1,), "the backend is gone"
        assert outcome[0] not in ("57014", "XX000", None), outcome
        assert len(outcome[1]) < 2000, f"a message of {len(outcome[1])} characters"
        grown = (peak(pid) - before) / 1024
        assert grown < megabytes, f"{grown:.0f} MB"
        assert seconds < 15, f"{seconds:.0f} s"
        return outcome


def protocol_error(remote, body, **more):
    serve(remote, body)
    code, message = attempt(remote, **more)
    assert code == "08P01", (code, message)
    return message


@test
def malformed_definitions():
    assert FINE.endswith(b"}\n")
    serve("REST", FINE)
    assert attempt("REST") == ("fine", "") and "case_" in tables("odd")
    html = b"<!DOCTYPE html><html><body>Welcome</body></html>"
    for body in (b"", b" ", html, b"null", b"[]", b"{}", b'"x"', b"1", b'{"paths":{}}', b'{"paths":[],"definitions":[]}',
                 FINE[: len(FINE) // 2], FINE[:-3], FINE.decode().encode("utf-16"), FINE.decode().encode("utf-16-le"),
                 FINE.decode().encode("latin-1", "replace").replace(b"Order", b"\xd6rder"), FINE + b"}", b"\x1f\x8b" + FINE, b"\0" * 1000,
                 b'{"a":' * 200000, b"[" * 5_000_000):
        protocol_error("REST", body)
    # A byte order mark is allowed.
    serve("REST", b"\xef\xbb\xbf" + FINE)
    assert attempt("REST") == ("fine", "")


@test
def definitions_that_are_strange_but_json():
    document = json.loads(FINE)

    def with_types(types, paths=None):
        named = {**document["definitions"], **types}
        at = {f"/{n}": {"get": {"responses": {"200": {"schema": {"type": "array", "items": {"$ref": f"#/definitions/{n}"}}}}}} for n in paths or types}
        return json.dumps({**document, "definitions": named, "paths": at}).encode()

    base = {"$ref": "#/definitions/Entity"}
    ref = lambda name: {"$ref": f"#/definitions/{name}"}
    record = lambda members: {"allOf": [base, {"properties": members}]}
    long = "L" * 10_000_000
    for body in (
        with_types({long: record({"A": ref("StringValue")})}),
        with_types({"T": record({long: ref("StringValue"), "A": ref("StringValue")})}),
        with_types({"T": record({"A": {"$ref": "#/definitions/" + long}})}),
        with_types({"T": {"allOf": [ref("T")]}, "U": {"allOf": [ref("V")]}, "V": {"allOf": [ref("U")]}}),
        with_types({"T": record({"A": ref("W")}), "W": ref("X"), "X": ref("W")}, ["T"]),
        with_types({"T": record({f"L{n}": ref(f"T{n}") for n in range(9)}), **{f"T{n}": record({f"L{m}": ref(f"T{m}") for m in range(9)}) for n in range(9)}}, ["T"]),
        # Each includes the two before it: two to the forty.
        with_types({f"T{n}": {"allOf": [ref(f"T{n - 1}"), ref(f"T{n - 2}"), {"properties": {f"F{n}": ref("StringValue")}}]} if n > 1 else record({"A": ref("StringValue")}) for n in range(40)}, ["T39"]),
        # Lists in lists, crosswise: details of details of details.
        with_types({f"D{n}": record({f"M{m}": {"type": "array", "items": ref(f"D{m}")} for m in range(6) if m != n} | {"A": ref("StringValue")}) for n in range(6)}, ["D0"]),
        with_types({"T": record({"A": {"type": ["string", "null"]}, "B": {"type": 7}, "C": True, "D": None, "E": {"type": {}}})}),
        with_types({"T": record({"Ä\u0000B": ref("StringValue"), "\ud800": ref("StringValue")})}),
    ):
        serve("REST", body)
        # A NOTICE, or an error that says what is wrong.
        code, message = attempt("REST", megabytes=300)
        assert code in ("fine", "08P01"), (code, message, body[-300:])


@test
def names_that_options_cannot_hold_do_not_stop_the_rest():
    odd = ("", " ", " lead", "trail ", "*", "a*", "/", "a/b", "//", "a//b", "tab\tbed", "new\nline", "\u00a0", "\u2003wide", "x" * 999,
           "\u0000", "a\u0000b", "Fine")
    failed = {}
    for name in odd:
        serve("REST", json.dumps(swagger({"Good": {"Nbr": ""}, "Odd": {"Nbr": "", name: ""}})).encode())
        try:
            told, _ = load("REST", server="odd")
            assert "good" in tables(), name
            # The field that cannot be named may be missing, but then a NOTICE says so.
            assert told or len(columns("odd")) == 5, (name, told, columns("odd"))
        except psycopg.Error as error:
            failed[name[:20]] = str(error)
    assert not failed, failed


@test
def endless_definitions():
    def endless(start, piece):
        def pieces():
            yield start
            while True:
                yield piece
        return pieces

    for remote, start, piece in (("REST", b'{"paths":{', b'"/a":{},' * 10000), ("REST", b'{"x":"', b"y" * 100000),
                                 ("REST", b'{"definitions":{', b'"aaaaaaaaaaaaaaaaa":{"type":"string"},' * 3000)):
        serve(remote, endless(start, piece))
        code, message = attempt(remote, megabytes=400)
        assert code in ("08P01", "54000", "HV00L"), (code, message)
    whole = edmx(entity_type()).decode()
    for start, piece in ((whole[: whole.index("<EntityContainer")], entity_type("B") * 1000), ("<Edmx><Schema>", f"<!-- {'x' * 9000} -->" * 10),
                         ("<Edmx>", "<a>" * 30000), ("<Edmx><Schema><EntityType Name='", "N" * 100000), ("<Edmx a='1' ", "b" * 100000),
                         ("", "\n" * 100000), ("<!DOCTYPE a [", '<!ENTITY a "b">' * 5000)):
        serve("DAC", endless(start.encode(), piece.encode()))
        code, message = attempt("DAC", megabytes=400)
        assert code in ("08P01", "54000", "HV00L"), (code, message, start[:30], piece[:30])


@test
def malformed_metadata():
    fine = edmx(entity_type(), entity_set())
    for remote in ("OData", "DAC"):
        serve(remote, fine)
        assert attempt(remote) == ("fine", "") and list(tables("odd")) == ["a"]
        for body in (b"", b"{}", b"<html><body><p>Welcome<br></body></html>", fine[: len(fine) // 2], fine[:-4],
                     fine.replace(b'"X"', b'"\xff\xfe"'), b"\x1f\x8b\x08" + fine, b"\0" * 100, b"<" * 100000, fine.replace(b"utf-8", b"klingon").replace(b'"X"', b'"\xc4"')):
            protocol_error(remote, body)
    serve("DAC", edmx("", ""))
    code, message = attempt("DAC")
    assert code in ("fine", "08P01"), (code, message)
    # Other encodings than UTF-8 are read as they are, or refused, but never misread.
    text = fine.decode().replace('"X"', '"Größe"')
    for encoding, body in (("utf-16", text.replace("utf-8", "utf-16").encode("utf-16")), ("utf-16-le", text.encode("utf-16-le")), ("latin-1", text.replace("utf-8", "iso-8859-1").encode("latin-1")),
                           ("utf-8-sig", text.encode("utf-8-sig"))):
        serve("DAC", body)
        code, message = attempt("DAC")
        assert code in ("fine", "08P01"), (encoding, code, message)
        if code == "fine":
            assert [c.options["field"] for c in columns("a", "odd")] == ["Größe"], (encoding, columns("a", "odd"))
        else:
            assert encoding != "utf-8-sig", message


@test
def metadata_that_is_strange_but_xml():
    bomb = '<!DOCTYPE lolz [<!ENTITY lol "lol">' + "".join(
        f'<!ENTITY lol{n} "{f"&lol{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 10)) + "]>"
    fine = edmx(entity_type(), entity_set()).decode()
    # Entities that a document defines for itself are left as they are, or refused, and never looked up.
    for text in (fine.replace("?>", "?>" + bomb, 1).replace('"X"', '"&lol9;"'), fine.replace('"X"', '"&nbsp;"')):
        serve("DAC", text.encode())
        code, message = attempt("DAC", megabytes=60)
        assert code == "08P01" or "&" in columns("a", "odd")[0].options["field"], (code, message)
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    serve("DAC", fine.replace("?>", "?>" + outside, 1).replace('"X"', '"&x;"').encode())
    assert "root" not in str(attempt("DAC")) and "root" not in str(columns("a", "odd"))
    protocol_error("DAC", ("<a>" * 3_000_000).encode())

    def imported(inner, container):
        serve("DAC", edmx(inner, container))
        code, message = attempt("DAC")
        assert code == "fine", message
        return tables("odd"), list(notices)

    # Unknown types become text or jsonb, with a NOTICE or not, and the table is there.
    odd_types = "".join(f'<Property Name="P{n}" Type="{kind}"/>' for n, kind in enumerate(
        ("Edm.GeographyPoint", "Edm.Duration", "Edm.Stream", "Edm.TimeOfDay", "Edm.Binary", "Edm.SByte", "Edm.Nonsense", "G.Enum", "Collection(Edm.String)", "", "Edm.", "Collection(")))
    found, _ = imported(entity_type("A", odd_types + '<Property Name="X" Type="Edm.String"/>'), entity_set())
    assert "a" in found and {"P0", "P6", "X"} <= {c.options["field"] for c in columns("a", "odd")}, columns("a", "odd")
    # Very long names.
    long = "N" * 10_000_000
    for inner, container in ((entity_type() + entity_type(long), entity_set() + entity_set(long)),
                             (entity_type() + entity_type("B", f'<Property Name="{long}" Type="Edm.String"/>'), entity_set() + entity_set("B")),
                             (entity_type() + entity_type("B", f'<Property Name="X" Type="{long}"/>'), entity_set() + entity_set("B")),
                             (entity_type() + f'<EntityType Name="B" BaseType="G.{long}"/>', entity_set() + entity_set("B"))):
        serve("DAC", edmx(inner, container))
        code, message = attempt("DAC", megabytes=200)
        assert code in ("fine", "08P01"), message
    # Types that derive from each other in a circle, keys that are no properties, sets without types, types without sets.
    derived = "".join(f'<EntityType Name="{a}" BaseType="G.{b}"><Property Name="Of{a}" Type="Edm.String"/></EntityType>' for a, b in (("P", "Q"), ("Q", "P")))
    found, _ = imported(derived + entity_type() + '<EntityType Name="K"><Key><PropertyRef Name="Gone"/></Key><Property Name="Y" Type="Edm.String"/></EntityType>',
                        entity_set("P") + entity_set("Q") + entity_set("A") + entity_set("K") + '<EntitySet Name="None" EntityType="G.None"/>')
    assert {"a", "k"} <= found.keys(), found
    # Names with everything that SQL dislikes.
    found, _ = imported(entity_type("O", "".join(f'<Property Name="{n}" Type="Edm.String"/>' for n in ("X", "it's", "say &quot;hi&quot;", "back\\slash", "&#10;", "&#9;a", " b ", "*", "c/d", "&lt;&amp;&gt;", "ctid", "user"))),
                        entity_set("O"))
    assert "o" in found, found
    # The same set and the same property twice.
    found, _ = imported(entity_type("A", '<Property Name="X" Type="Edm.String"/><Property Name="X" Type="Edm.Int32"/><Property Name="x" Type="Edm.String"/>'), entity_set() * 2)
    assert "a" in found, found


@test
def a_small_answer_that_unpacks_to_a_large_one():
    """Compressed a thousand times over: bounded all the same."""
    body = gzip.compress(b'{"x":"' + b"y" * (300 << 20), 9)
    serve("REST", (body, {"Content-Encoding": "gzip"}))
    code, message = attempt("REST", megabytes=300)
    assert code != "fine", message


@test
def service_documents_that_are_no_json():
    serve("OData", edmx(entity_type(), entity_set()))
    script.answers["/gi"] = b"<html>"
    code, message = attempt("OData")
    assert code in ("fine", "08P01"), message
    script.answers["/gi"] = json.dumps({"value": [{"name": "N" * 5_000_000}, {"name": ""}, {"name": "Only Here"}]}).encode()
    code, message = attempt("OData")
    assert code == "fine" and len("".join(notices)) < 10_000, (code, message)
    assert any("Only Here" in n for n in notices), [n[:100] for n in notices]


@test
def issue_4_6_an_inquiry_that_no_address_can_name_is_left_out():
    serve("OData", edmx(entity_type(), entity_set()))
    script.answers["/gi"] = json.dumps({"value": [{"name": ".."}, {"name": "."}]}).encode()
    code, message = attempt("OData")
    assert code == "fine", message


end()
