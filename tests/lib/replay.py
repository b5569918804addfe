"""A server that answers with captures: what real servers sent, or what we wrote in the same shapes.

A capture is NAME.json, .xml or .txt (the body) and NAME.meta (origin, request, status, headers). A site answers a request
only if a capture says how, or a fact about how the real server treats captured rows ($select, $top, keys, …); it
refuses everything else and adds the request to `refused`, which fails the test."""

import base64
import contextlib
import datetime
import http.server
import json
import os
import pathlib
import re
import threading
import urllib.parse

from captured_rows import Condition, Unsupported, selected, value_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("ACUMATICA_SHARED", ROOT.parent / "shared"))
OURS = ROOT / "tests" / "captures"


class Number(str):
    """A number as it was written, scale included."""


def loads(text):
    return json.loads(text, parse_float=Number, parse_int=Number)


def dumps(value):
    """JSON again, numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{dumps(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value)


# Remarks after the URL in some .meta files.
REMARKS = re.compile(
    r"\s*\[(Accept|Content-Type|PX-)[^\]]*\]$| with stale cookies$| with a bearer,.*$| with an unknown tenant.*$"
    r"| with authentication$| with a wrong client.*$| grant_type=\w+$| without sign-in.*$")
MEMBERS = ("id", "rowNumber", "note", "custom", "files", "_links", "error")


class Capture:
    def __init__(self, meta):
        self.name = meta.name.removesuffix(".meta")
        self.headers, self.release, self.note, self.request_body, request = [], "", "", None, ""
        for line in meta.read_text().splitlines():
            key, _, value = line.partition(": ")
            if key == "header":
                self.headers.append(tuple(value.split(": ", 1)))
            elif key == "status":
                self.status = int(value)
            elif key == "request":
                request = value
            elif key == "request body":
                self.request_body = value
            elif key in ("release", "note"):
                setattr(self, key, value)
        self.request = request
        bodies = [file for kind in ("json", "xml", "txt") if (file := meta.with_suffix(f".{kind}")).exists()]
        self.body = bodies[0].read_bytes() if bodies else b""
        self.kind = bodies[0].suffix[1:] if bodies else "txt"
        self.method, _, address = request.partition(" ")
        address = REMARKS.sub("", address)
        path, _, query = address.partition("?")
        # Where the address is left out, the meta describes the request in words: "(list or record) of …".
        self.path = None if path.startswith("(") or " " in path else re.sub(r"^(\{…\}|PLACEHOLDER_URL)", "", path)
        self.query = dict(part.partition("=")[::2] for part in re.split(r"&(?=\$|[A-Z])", query) if part)

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self):
        return loads(self.body)

    @property
    def entity_path(self):
        """The entity and what follows it in the address: ["SalesOrder", "SO", "000029"]."""
        if self.path is None:
            return []
        return re.sub(r"^/?(entity/[^/]+/[^/]+/)?", "", self.path, count=1).strip("/").split("/")

    @property
    def endpoint(self):
        """(name, version) of the contract endpoint, as far as the capture tells."""
        for text in (self.request, self.body.decode()):
            if found := re.search(r"/entity/([^/\s\"]+)/(\d[^/\s\"]*)/", text) or re.search(
                    r"endpoint (\w+)/([\d.]+)", text):
                return found.groups()
        # The release of the site in the capture's name: its newest endpoint.
        release = re.match(r"rest(\d\d)", self.name)
        return ("Default", f"{release[1]}.200.001" if release else "20.200.001")

    @property
    def contract(self):
        """Endpoints up to 18.200.001 are of contract 3 (facts 2.1); of a custom endpoint `note` tells the contract."""
        rows = self.json if isinstance(self.json, list) else [self.json]
        if any(isinstance(row.get("note"), str) for row in rows):
            return 3
        return 3 if self.endpoint[0] == "Default" and self.endpoint[1] < "20" else 4


def captures():
    """All captures by name, and where they are: the recorded ones, else our own."""
    recorded = SHARED / "captures"
    where = recorded if recorded.is_dir() else OURS
    return {capture.name: capture for capture in map(Capture, sorted(where.glob("*.meta")))}, where


JSON = ("Content-Type", "application/json; charset=utf-8")
# Framing and coding are those of this server, not of the recording.
FRAMING = {"content-length", "content-encoding", "transfer-encoding", "date", "vary", "location", "connection"}
NOT_FOUND = (404, [JSON], b'{"message":"No HTTP resource was found that matches the request URI."}')


class Rows:
    """Captured records of an entity, as a list, by key, and by id."""

    def __init__(self, rows, contract=4, recorded_filter=None, select_unknown="absent", keys=()):
        self.rows, self.contract, self.recorded_filter = rows, contract, recorded_filter
        self.select_unknown, self.keys = select_unknown, keys
        # What the definition knows besides: name → "linked" or "detail", which the server shows as null or [].
        self.known = {}

    def show(self, row, query, filtered=()):
        names = lambda option: [name for name in query.get(option, "").split(",") if name]
        expand = names("$expand")
        shown = selected(row, names("$select"), expand, set(names("$custom")), self.contract, set(filtered))
        for name in {path.split("/")[0] for path in expand} & set(self.known) - set(shown):
            shown[name] = None if self.known[name] == "linked" else []
        return shown

    def list(self, query):
        if unknown := set(query) - {"$select", "$filter", "$expand", "$custom", "$top", "$skip"}:
            raise Unsupported(f"query options {sorted(unknown)}")
        rows, filtered = self.rows, set()
        if (condition := query.get("$filter")) and condition != self.recorded_filter:
            condition = Condition(condition)
            rows, filtered = [row for row in rows if condition.test(row)], condition.fields
        if self.select_unknown == "refused":
            have = {name for row in self.rows for name in row}
            asked = {path.split("/")[0] for option in ("$select",) for path in query.get(option, "").split(",") if path}
            if asked | {field.split("/")[0] for field in filtered} > have:
                return failure(500, "The given key was not present in the dictionary.", "System.Collections.Generic.KeyNotFoundException")
        rows = rows[int(query.get("$skip", 0)):][:int(query["$top"]) if "$top" in query else None]
        # rowNumber begins with 1 in each answer.
        rows = [{**self.show(row, query, filtered), "rowNumber": Number(at)} for at, row in enumerate(rows, 1)]
        return 200, [JSON], dumps(rows).encode()

    def record(self, segments, query):
        if "$filter" in query:
            raise Unsupported("a filter on a record")
        for row in self.rows:
            keys = [str(value_of(row, key)) for key in self.keys]
            if segments == [row.get("id")] or sorted(map(str.lower, segments)) == sorted(map(str.lower, keys)):
                return 200, [JSON], dumps(self.show(row, query)).encode()
        return failure(500, "No entity satisfies the condition.", "PX.Api.ContractBased.NoEntitySatisfiesTheConditionException")


def failure(status, text, kind):
    body = {"message": "An error has occurred.", "exceptionMessage": text, "exceptionType": kind, "stackTrace": "…"}
    return status, [JSON], json.dumps(body, ensure_ascii=False).encode()


class Request:
    def __init__(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        self.method, self.headers = handler.command, handler.headers
        self.path = urllib.parse.unquote(url.path)
        self.raw_path = url.path
        self.query = {}
        for part in filter(None, url.query.split("&")):
            name, _, value = part.partition("=")
            self.query[urllib.parse.unquote(name)] = urllib.parse.unquote(value.replace("+", " "))
        length = handler.headers.get("Content-Length")
        self.length = length
        self.body = handler.rfile.read(int(length or 0))
        self.cookies = dict(
            part.strip().partition("=")[::2] for part in handler.headers.get("Cookie", "").split(";") if part.strip())

    def __str__(self):
        return f"{self.method} {self.path}?{'&'.join(f'{k}={v}' for k, v in self.query.items())}"


class Site:
    """One instance: its answers, by path below its virtual directory."""

    def __init__(self, base, login=None, logout=None):
        self.base, self.login, self.logout = base, login, logout
        self.endpoints = [("Default", "24.200.001")]
        self.entity_list = None  # a capture, instead of `endpoints`
        self.swagger, self.entities, self.forms, self.sets = {}, {}, {}, {}
        # Functions from a request to an answer or None, which are tried first.
        self.first = []
        self.documents = {}  # path in lower case → capture or bytes
        self.layout = None  # "v3", "v4": of inquiries; data access classes are v4 in every release
        self.token, self.cookies, self.asked, self.refused = None, {}, [], []
        self.company = "Company"

    # What is answered without a sign-in: the list of endpoints, the login page.
    def answer(self, request):
        self.asked.append(request)
        for function in self.first:
            if (answer := function(request)) is not None:
                return answer
        path = request.path.lower()
        if path == "/entity/auth/login" and request.method == "POST":
            return self.sign_in(request)
        if path == "/entity/auth/logout" and request.method == "POST":
            if request.length is None:
                return 411, [], b""  # IIS; the session would stay
            self.cookies = {}
            return replay(self.logout) if self.logout else (204, [], b"")
        if path == "/frames/login.aspx":
            # 26.101 tells the tenant there (facts 4).
            page = f'<input type="hidden" name="txtSingleCompany" value="{self.company}" />'
            return 200, [("Content-Type", "text/html; charset=utf-8")], page.encode()
        if path in ("/entity", "/entity/") and request.method == "GET":
            if self.entity_list:
                return replay(self.entity_list)
            listed = [{"name": n, "version": v, "href": f"{self.base}/entity/{n}/{v}/"} for n, v in self.endpoints]
            version = {"acumaticaBuildVersion": "24.200.0055", "databaseVersion": "24.200.0055"}
            return 200, [JSON], json.dumps({"version": version, "endpoints": listed}).encode()
        if not self.is_signed_in(request):
            return 401, [], b""
        if path.startswith("/entity/"):
            return self.contract(request)
        return self.odata(request)

    def sign_in(self, request):
        given = json.loads(request.body)
        if not given.get("name") or not given.get("password"):
            raise Unsupported("a sign-in without name or password")
        status, headers, body = replay(self.login) if self.login else (204, [], b"")
        self.cookies = {}
        for name, value in headers:
            if name.lower() == "set-cookie":
                cookie, _, text = value.partition(";")[0].partition("=")
                if cookie not in ("requestid", "requeststat"):
                    self.cookies[cookie] = text.strip()
        # Not every recording kept the cookie of the session; every server sends one (facts 4).
        if status == 204 and ".ASPXAUTH" not in self.cookies:
            self.cookies[".ASPXAUTH"] = "0123456789ABCDEF" * 16
            headers = [*headers, ("Set-Cookie", f".ASPXAUTH={self.cookies['.ASPXAUTH']}; path=/; HttpOnly")]
        return status, headers, body

    def is_signed_in(self, request):
        authorization = request.headers.get("Authorization", "")
        if authorization.startswith("Bearer "):
            return self.token is not None and authorization == f"Bearer {self.token}"
        if authorization.startswith("Basic "):
            # Good for OData alone (facts 4).
            return b":" in base64.b64decode(authorization[6:]) and not request.path.lower().startswith("/entity")
        return bool(self.cookies) and request.cookies.get(".ASPXAUTH") == self.cookies.get(".ASPXAUTH")

    def contract(self, request):
        parts = request.path.split("/")[2:]
        endpoint, rest = tuple(parts[:2]), parts[2:]
        if rest == ["swagger.json"]:
            swagger = self.swagger.get(endpoint)
            return (200, [JSON], swagger) if swagger else NOT_FOUND
        name = rest[0] if rest else ""
        if request.method == "PUT" and (form := self.forms.get((*endpoint, name))):
            return form(request)
        rows = self.entities.get((*endpoint, name))
        if request.method != "GET" or rows is None:
            raise Unsupported("an entity, form or method that was not recorded")
        segments = [part for part in rest[1:] if part]
        if segments == ["$adHocSchema"]:
            raise Unsupported("a schema that was not recorded")
        return rows.record(segments, request.query) if segments else rows.list(request.query)

    def odata(self, request):
        path = request.path.lower().rstrip("/")
        if document := self.documents.get(path):
            return replay(document) if isinstance(document, Capture) else (200, [("Content-Type", "application/xml")], document)
        if path in (root := {prefix.lower(): sets for prefix, sets in self.sets.items()}):
            listed = [{"name": name, "kind": "EntitySet", "url": name} for name in root[path]]
            return 200, [JSON], json.dumps({"@odata.context": "$metadata", "value": listed}).encode()
        for prefix, sets in self.sets.items():
            if path.startswith(f"{prefix.lower()}/"):
                name = request.path[len(prefix) + 1:]
                # Ours: no recording counts a set; OData 4.0 says that every service must.
                counted = name.removesuffix("/$count")
                if name != counted and prefix.lower().startswith(("/odatav4/", "/t/")) and counted in sets:
                    status, _, body = sets[counted](request)
                    return status, [("Content-Type", "text/plain")], str(len(loads(body)["value"])).encode()
                if name in sets:
                    return sets[name](request)
                if name.endswith("$metadata"):
                    break
                raise Unsupported("a set that was not recorded")
        # A layout, or a document of one, that the site does not have.
        if re.match(r"^/(t/[^/]+/api/odata|odata|odatav4)(/|$)", path):
            return NOT_FOUND
        raise Unsupported("a path that no fact knows")


def replay(capture, body=None):
    """The status, headers and body of a capture."""
    # A long value was cut: "AAAA…(296 hex)".
    whole = lambda value: re.sub(r"(\w)\w*…\((\d+) hex\)", lambda cut: cut[1] * int(cut[2]), value)
    headers = [(name, young(whole(value), capture.header("Date"))) for name, value in capture.headers if name.lower() not in FRAMING]
    if location := capture.header("Location"):
        headers.append(("Location", urllib.parse.quote(location, safe="/?&=:;%")))
    kinds = {"json": "application/json; charset=utf-8", "xml": "application/xml; charset=utf-8"}
    if capture.body and capture.kind in kinds and not capture.header("Content-Type"):
        headers.append(("Content-Type", kinds[capture.kind]))
    return capture.status, headers, capture.body if body is None else body


def young(value, recorded):
    """A cookie that expires as long after now as it did after the recording."""
    found = re.search(r"expires=(\w+, \d\d-\w+-\d{4} [\d:]+ GMT)", value)
    if not (found and recorded):
        return value
    dashed = "%a, %d-%b-%Y %H:%M:%S GMT"
    lives = datetime.datetime.strptime(found[1], dashed) - datetime.datetime.strptime(recorded, "%a, %d %b %Y %H:%M:%S GMT")
    now = datetime.datetime.now(datetime.timezone.utc)
    return value.replace(found[1], f"{now + lives:{dashed}}")


def is_same_time(sent, echoed):
    """Whether the server, which shows times in its own zone, shows what was sent: a moment, or a day or clock without zone."""
    try:
        sent, echoed = (datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")) for text in (sent, echoed))
    except ValueError:
        return False
    return sent == echoed if sent.tzinfo and echoed.tzinfo else sent.replace(tzinfo=None) == echoed.replace(tzinfo=None)


def form(capture, given):
    """PUT of an inquiry form: the captured answer, if the parameters are those that it shows."""

    def answer(request):
        body = json.loads(request.body or b"{}")
        shown = capture.json
        for name, field in body.items():
            echoed = value_of(shown, name)
            sent = field.get("value")
            if str(sent).lower() != str(echoed).lower() and not is_same_time(sent, echoed):
                raise Unsupported(f"parameter {name} = {sent!r}: the recording was for {echoed!r}")
        if missing := set(given) - set(body):
            raise Unsupported(f"no value for {missing}, which the recording was for")
        if set(request.query) - {"$expand", "$select"}:
            raise Unsupported("query options of a form")
        return replay(capture)

    return answer


def odata_set(rows, key="odata.metadata", context="", fields=None, recorded_filter=None, headers=(JSON,)):
    """GET of a set: $select, $filter, $orderby, $top, $skip over captured rows."""

    def answer(request):
        query = dict(request.query)
        query.pop("$format", None)
        if unknown := set(query) - {"$select", "$filter", "$orderby", "$top", "$skip"}:
            raise Unsupported(f"query options {sorted(unknown)}")
        found = rows
        if (condition := query.get("$filter")) and condition != recorded_filter:
            condition = Condition(condition)
            found = [row for row in found if condition.test(row)]
        for by in reversed([part.strip() for part in query.get("$orderby", "").split(",") if part.strip()]):
            name, _, way = by.partition(" ")
            found = sorted(found, key=lambda row: (row.get(name) is not None, order(row.get(name))), reverse=way == "desc")
        found = found[int(query.get("$skip", 0)):][:int(query["$top"]) if "$top" in query else None]
        select = [name for name in query.get("$select", "").split(",") if name]
        if select:
            # Names are found without case (facts 3.4); the definition's spelling comes back.
            lower = {name.lower() for name in select}
            found = [{name: value for name, value in row.items() if name.lower() in lower} for row in found]
        return 200, list(headers), dumps({key: context, "value": found}).encode()

    return answer


def order(value):
    return (0, float(value)) if isinstance(value, Number) else (1, str(value).lower())


class Replay:
    """The server: sites by their virtual directory."""

    def __init__(self):
        self.sites = {}
        replaying = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet, or each answer waits for an acknowledgement

            def log_message(self, *_):
                pass

            def handle_any(self):
                request = Request(self)
                base = "/" + request.path.split("/")[1]
                site = replaying.sites.get(base)
                if site is None:
                    return self.send(404, [], b"")
                request.path = request.path[len(base):] or "/"
                try:
                    answer = site.answer(request)
                except Unsupported as what:
                    site.refused.append(f"{request}: {what}")
                    answer = (418, [("Content-Type", "text/plain")], f"the replay server refuses {what}".encode())
                except Exception as error:  # noqa: BLE001 - a defect of the test, told as one
                    site.refused.append(f"{request}: {error!r}")
                    answer = (418, [], b"")
                self.send(*answer)

            def send(self, status, headers, body):
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a client may leave in the middle
                    if status != 204:
                        self.wfile.write(body)
                    self.wfile.flush()

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 50

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def site(self, name, **more):
        base = "/" + re.sub(r"\W+", "-", name)
        self.sites[base] = Site(base, **more)
        self.sites[base].url = f"http://127.0.0.1:{self.port}{base}"
        return self.sites[base]
