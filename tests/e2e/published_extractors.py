#!/usr/bin/env python3
"""The extractors of Keboola (github keboola/component-acumatica) and for Airbyte (fauxpasonics/airbyte-source-acumatica) are
in no registry. This script sends the requests of their sources, header for header, and reads the answers as they do. No
PostgreSQL."""

import csv
import io
import json
import os
import sys
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, finish, test

CLIENT = ("44444444-0000-0000-0000-000000000004@Company", "client-secret")
for name in ("keboola/component-acumatica", "airbyte-source-acumatica"):
    print(f"skip - {name}: not on PyPI; its requests are sent instead")


def truth(sim, name, fields, *arguments):
    """Rows of the data set itself, as text; no value is ''."""
    return list(csv.reader(io.StringIO(sim.dump(name, fields, *arguments).decode())))[1:]


def values(rows, fields):
    return [["" if (value := row.get(field)) is None else str(value) for field in fields] for row in rows]


def flattened(row, separator, parent=""):
    """`{"A": {"B": 1}}` as `{"A_B": 1}`, both do that; an object that is empty is a value, as at Keboola."""
    flat = {}
    for name, value in row.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, separator, f"{parent}{name}{separator}")
        else:
            flat[parent + name] = None if value == {} else value
    return flat


class Http:
    def __init__(self):
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def send(self, method, url, headers=None, body=None, **query):
        """As Python's requests writes it: `$` of a name is encoded, a POST without a body says so."""
        if query:
            url += "?" + urlencode({f"${name}": value for name, value in query.items()})
        data = body if body is not None else (b"" if method == "POST" else None)
        request = urllib.request.Request(url, data, headers or {}, method=method)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode("utf-8-sig")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


# -- Keboola ------------------------------------------------------------------------------------------------------------


class Keboola(Http):
    """src/acumatica_client.py"""

    def __init__(self, sim):
        super().__init__()
        self.base, self.headers = sim.url, {}

    def login(self):
        # It names no company.
        body = json.dumps({"name": "admin", "password": PASSWORD}).encode()
        status, _ = self.send("POST", f"{self.base}/entity/auth/login", {"Content-Type": "application/json"}, body)
        assert status < 400, status

    def logout(self):
        return self.send("POST", f"{self.base}/entity/auth/logout")[0]

    def token(self, **form):
        id, secret = CLIENT
        form = urlencode({**form, "client_id": id, "client_secret": secret}).encode()
        status, text = self.send("POST", f"{self.base}/identity/connect/token", None, form)
        assert status == 200, text
        tokens = json.loads(text)
        bearer = f"Bearer {tokens['access_token']}"
        self.headers = {"Authorization": bearer, "Accept": "application/json", "Content-Type": "application/json"}
        return tokens

    def entities(self, endpoint, top, version="Default/24.200.001", **query):
        skip = 0
        while True:
            url = f"{self.base}/entity/{version}/{endpoint}"
            status, text = self.send("GET", url, self.headers, top=top, skip=skip, **query)
            if status == 401 and self.headers:
                self.refresh = self.token(grant_type="refresh_token", refresh_token=self.refresh)["refresh_token"]
                continue
            assert status == 200, text[:500]
            rows = json.loads(text, parse_float=str)
            yield from rows
            if len(rows) < top:
                return
            skip += top


keboola_sim = Sim("--site", "/Site", "--clients", ":".join(CLIENT))


@test
def keboola_reads_entities_with_a_session_page_by_page():
    keboola = Keboola(keboola_sim)
    keboola.login()
    rows = [flattened(row, "_") for row in keboola.entities("Customer", 300, select="CustomerID,CustomerName,Status")]
    fields = ["CustomerID", "CustomerName", "Status"]
    assert values(rows, [f"{field}_value" for field in fields]) == truth(keboola_sim, "rest/Customer", fields)
    query = {"expand": "Details", "filter": "OrderType eq 'CM'"}
    rows = list(keboola.entities("SalesOrder", 2500, **query))
    right = [row for row in truth(keboola_sim, "rest/SalesOrder", ["OrderType", "OrderNbr"]) if row[0] == "CM"]
    assert values([flattened(row, "_") for row in rows], ["OrderType_value", "OrderNbr_value"]) == right
    assert all(isinstance(row["Details"], list) for row in rows)
    assert keboola.logout() == 204 and keboola_sim.sessions() == []


@test
def keboola_renews_its_token_when_it_is_refused():
    keboola = Keboola(keboola_sim)
    form = {"grant_type": "password", "username": "admin", "password": PASSWORD, "scope": "api offline_access"}
    keboola.refresh = keboola.token(**form)["refresh_token"]
    fields, rows = ["OrderType", "OrderNbr"], []
    for row in keboola.entities("SalesOrder", 7000, select="OrderType,OrderNbr"):
        if len(rows) == 100:
            keboola_sim.control("DELETE", "tokens")
        rows.append(flattened(row, "_"))
    assert values(rows, [f"{field}_value" for field in fields]) == truth(keboola_sim, "rest/SalesOrder", fields)
    assert len([r for r in keboola_sim.requests("connect/token") if r["grant_type"] == "refresh_token"]) == 1
    keboola.send("POST", f"{keboola_sim.url}/entity/auth/logout", keboola.headers)


@test
def keboola_cannot_fill_its_lists_of_entities_without_a_session():
    """Its lists in the browser ask for the definition without signing in; real sites answer 401, and so do we."""
    keboola = Keboola(keboola_sim)
    assert keboola.send("GET", f"{keboola.base}/entity/Default/24.200.001/swagger.json")[0] == 401
    keboola.login()
    listed = json.loads(keboola.send("GET", f"{keboola.base}/entity/")[1])["endpoints"]
    assert ("Default", "24.200.001") in {(endpoint["name"], endpoint["version"]) for endpoint in listed}
    paths = json.loads(keboola.send("GET", f"{keboola.base}/entity/Default/24.200.001/swagger.json")[1])["paths"]
    names = {path.strip("/") for path, methods in paths.items() if "get" in methods and "{" not in path and path.count("/") == 1}
    assert {"Customer", "SalesOrder"} <= names
    assert keboola.logout() == 204


keboola_sim.stop()

# -- Airbyte ------------------------------------------------------------------------------------------------------------


class Airbyte(Http):
    """source_acumatica/source.py"""

    HEADERS = {
        "Accept": "application/json", "Content-Type": "application/json", "Cache-Control": "no-cache", "Connection": "Close",
    }
    XML = {
        3: {"edmx": "http://schemas.microsoft.com/ado/2007/06/edmx", "edm": "http://schemas.microsoft.com/ado/2009/11/edm"},
        4: {"edmx": "http://docs.oasis-open.org/odata/ns/edmx", "edm": "http://docs.oasis-open.org/odata/ns/edm"},
    }

    def __init__(self, sim, version):
        super().__init__()
        self.base, self.version = sim.url, version
        id, secret = CLIENT
        form = {"grant_type": "password", "client_id": id, "client_secret": secret, "username": "admin", "password": PASSWORD}
        body = urlencode({**form, "scope": "api offline_access"}).encode()
        status, text = self.send("POST", f"{self.base}/identity/connect/token", None, body)
        assert status == 200, text
        self.headers = {**self.HEADERS, "Authorization": f"Bearer {json.loads(text)['access_token']}"}

    def get(self, path, **query):
        """It signs out after every single request."""
        status, text = self.send("GET", urljoin(self.base, path), self.headers, **query)
        assert status == 200 and text, f"{status} {text[:500]}"
        assert self.send("POST", urljoin(self.base, "/entity/auth/logout"), self.headers)[0] == 204
        return text

    def contract(self):
        """Its streams of entities, out of Swagger 2.0."""
        paths = json.loads(self.get(f"/entity/Default/{self.version}/swagger.json"))["paths"]
        answers = {path.strip("/"): methods["get"]["responses"]["200"] for path, methods in paths.items() if path.count("/") == 1}
        return {name for name, answer in answers.items() if answer["schema"]["items"]["$ref"]}

    def sets(self, folder, version):
        """Its streams of OData: sets whose type it finds by namespace and name, and their keys."""
        names = self.XML[version]
        schemas = ET.fromstring(self.get(f"/{folder}/Company/$metadata")).findall("edmx:DataServices/edm:Schema", names)
        types = {f"{schema.get('Namespace')}.{kind.get('Name')}": kind for schema in schemas for kind in schema.findall("edm:EntityType", names)}
        found = {}
        for entry in (entry for schema in schemas for entry in schema.findall("edm:EntityContainer/edm:EntitySet", names)):
            kind = types.get(entry.get("EntityType"))
            if kind is not None:
                found[entry.get("Name")] = [key.get("Name") for key in kind.findall("edm:Key/edm:PropertyRef", names)]
        return found

    def rows(self, folder, name, size=1000, **query):
        page, rows = 0, []
        while True:
            text = self.get(f"/{folder}/{name}", top=size, skip=page * size, **query)
            answer = json.loads(text, parse_float=str)
            got = answer["value"] if isinstance(answer, dict) else answer
            if not got:
                return rows
            rows += [flattened({n: v.get("value") if isinstance(v, dict) and set(v) <= {"value"} else v for n, v in row.items()}, "_") for row in got]
            page += 1


# Times are compared as texts of UTC.
RELEASE = ("--release", "2023R2", "--time-zone", "UTC")
airbyte_sim = Sim(*RELEASE, "--clients", ":".join(CLIENT))


@test
def airbyte_discovers_its_streams():
    airbyte = Airbyte(airbyte_sim, "23.200.001")
    assert {"SalesOrder", "Customer", "StockItem"} <= airbyte.contract()
    inquiries = airbyte.sets("OData", 3)
    assert "BI-SalesOrders" in inquiries and inquiries["BI-SalesOrders"][:2] == ["OrderType", "OrderNbr"]
    classes = airbyte.sets("ODatav4", 4)
    assert classes["PX_Objects_SO_SOOrder"] == ["OrderType", "OrderNbr"]
    assert airbyte_sim.sessions() == []


@test
def airbyte_reads_its_streams_page_by_page():
    airbyte = Airbyte(airbyte_sim, "23.200.001")
    fields = ["OrderType", "OrderNbr", "OrderTotal"]
    rows = airbyte.rows("entity/Default/23.200.001", "SalesOrder", 6000)
    assert values(rows, fields) == truth(airbyte_sim, "rest/SalesOrder", fields, *RELEASE)
    rows = airbyte.rows("odata/Company", "BI-SalesOrders", 6000)
    assert values(rows, fields) == truth(airbyte_sim, "gi/BI-SalesOrders", fields, *RELEASE)
    fields = ["OrderType", "OrderNbr", "CuryOrderTotal"]
    rows = airbyte.rows("odatav4/Company", "PX_Objects_SO_SOOrder", 6000)
    assert values(rows, fields) == truth(airbyte_sim, "dac/SOOrder", fields, *RELEASE)


@test
def airbyte_reads_what_changed():
    airbyte = Airbyte(airbyte_sim, "23.200.001")
    fields = ["OrderType", "OrderNbr", "LastModified"]
    since = sorted(row[2] for row in truth(airbyte_sim, "rest/SalesOrder", fields, *RELEASE))[-500][:10]
    rows = airbyte.rows("entity/Default/23.200.001", "SalesOrder", filter=f"LastModified gt datetimeoffset'{since}T00:00:00+00:00'")
    right = [row[:2] for row in truth(airbyte_sim, "rest/SalesOrder", fields, *RELEASE) if row[2][:19] > f"{since} 00:00:00"]
    assert values(rows, fields[:2]) == right != []


airbyte_sim.stop()
finish()
