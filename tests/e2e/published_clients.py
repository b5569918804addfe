#!/usr/bin/env python3
"""Two clients that share no code with the simulator find in it what docs/acumatica.md says: the PyPI package
easy-acumatica, written by others against real sites, and a few lines of httpx written from that page.
Needs PyPI, or the packages in the environment already; no PostgreSQL."""

import csv
import importlib.metadata
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, urljoin

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, eventually, finish, test

PACKAGES = {"easy_acumatica": "0.6.1", "httpx": "0.28.1"}


def installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if any(installed(name) != version for name, version in PACKAGES.items()):
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
        + [f"{name}=={version}" for name, version in PACKAGES.items()],
        capture_output=True,
        text=True,
    )
    if pip.returncode != 0:
        said = (pip.stderr.strip() or f"exit status {pip.returncode}").splitlines()[-1]
        print(f"skip - published_clients: pip cannot install {' and '.join(PACKAGES)}: {said}")
        sys.exit(0)

import httpx
from easy_acumatica import AcumaticaClient
from easy_acumatica.exceptions import AcumaticaAuthError, AcumaticaError
from easy_acumatica.odata import F, QueryOptions

# It warns of every answer that our tests provoke.
logging.getLogger("easy_acumatica").setLevel(logging.CRITICAL)
caches = tempfile.TemporaryDirectory()
SITE = ("--site", "/Site")


def truth(sim, name, fields, *arguments):
    """Rows of the data set itself, as text; no value is ''."""
    return list(csv.reader(io.StringIO(sim.dump(name, fields, *arguments).decode())))[1:]


def values(rows, *fields):
    """The same of what REST answered."""
    return [["" if (v := row[f].get("value")) is None else str(v) for f in fields] for row in rows]


def refused(error, *parts):
    """The context manager that wants an error that says all of this."""

    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, caught, trace):
            assert kind is not None and issubclass(kind, error), f"not {error} but {caught!r}"
            assert all(part in str(caught) for part in parts), f"not {parts} in: {caught}"
            return True

    return Refused()


# -- easy-acumatica -----------------------------------------------------------------------------------------------------


def easy(sim, tenant="Company", password=PASSWORD, **options):
    return AcumaticaClient(
        base_url=sim.url,
        username="admin",
        password=password,
        tenant=tenant,
        rate_limit_calls_per_second=10000,
        cache_dir=Path(caches.name),
        **options,
    )


# It takes a seat for every OData call, see below.
sim = Sim(*SITE, "--seats", 0)
client = None


@test
def easy_acumatica_signs_in_and_discovers_endpoints_and_swagger():
    global client
    client = easy(sim)
    assert [s["how"] for s in sim.sessions() if s["how"] != "basic"] == ["cookie"]
    assert client.endpoints["Default"]["version"] == "24.200.001"
    assert client.endpoints["Default"]["href"] == "/Site/entity/Default/24.200.001/"
    assert {"eCommerce", "MANUFACTURING"} <= set(client.endpoints)
    assert {"SalesOrder", "Customer", "StockItem", "InventorySummaryInquiry"} <= set(client.list_services())
    assert {"SalesOrder", "SalesOrderDetail", "Customer", "Address"} <= set(client.list_models())
    methods = {method["name"] for method in client.get_service_info("SalesOrder")["methods"]}
    assert {"get_list", "get_by_id", "get_by_keys", "get_ad_hoc_schema"} <= methods
    assert sim.requests("/Site/entity/Default/24.200.001/swagger.json")[0]["query"] == "company=Company"
    assert client.test_connection()["endpoints_available"]


@test
def easy_acumatica_lists_customers_page_by_page():
    rows, fields = [], ["CustomerID", "CustomerName", "Status", "Email"]
    while page := client.customer.get_list(options=QueryOptions(select=fields, top=300, skip=len(rows))):
        rows += page
    assert values(rows, *fields) == truth(sim, "rest/Customer", fields)


@test
def easy_acumatica_lists_orders_with_expanded_details():
    rows = client.sales_order.get_list(
        options=QueryOptions(select=["OrderType", "OrderNbr", "Details"], expand=["Details"], top=500, skip=40)
    )
    assert values(rows, "OrderType", "OrderNbr") == truth(sim, "rest/SalesOrder", ["OrderType", "OrderNbr"])[40:540]
    assert sum(len(row["Details"]) for row in rows) > 1000
    assert all(detail["InventoryID"]["value"] for row in rows for detail in row["Details"])


@test
def easy_acumatica_filters_in_the_dialect_of_the_release():
    def names(release, arguments, condition):
        other = Sim(*SITE, "--release", release)
        its = easy(other)
        rows = its.customer.get_list(options=QueryOptions(select=["CustomerName"], filter=condition))
        assert its.logout() == 204
        everyone = truth(other, "rest/Customer", ["CustomerName"], *arguments)
        assert sorted(values(rows, "CustomerName")) == sorted(n for n in everyone if "west" in n[0].lower()) != []
        other.stop()

    names("2024R2", (), F.CustomerName.substringof("West"))
    names("2026R1", ("--release", "2026R1"), F.CustomerName.substringof("West"))
    names("2026R2", ("--release", "2026R2"), F.CustomerName.contains("West"))
    with refused(AcumaticaError, "500", "contains"):
        client.customer.get_list(options=QueryOptions(filter=F.CustomerName.contains("West")))


@test
def easy_acumatica_reads_one_by_key_and_by_id():
    kind, number = truth(sim, "rest/SalesOrder", ["OrderType", "OrderNbr"])[-1]
    order = client.sales_order.get_by_keys(OrderType=kind, OrderNbr=number, options=QueryOptions(expand=["Details", "ShipToAddress"]))
    assert values([order], "OrderType", "OrderNbr") == [[kind, number]]
    assert isinstance(order["Details"], list) and isinstance(order["ShipToAddress"], dict)
    again = client.sales_order.get_by_id(order["id"])
    assert again["OrderTotal"] == order["OrderTotal"] and again["id"] == order["id"]
    with refused(AcumaticaError, "500", "No entity satisfies the condition"):
        client.sales_order.get_by_keys(OrderType=kind, OrderNbr="no such")


@test
def easy_acumatica_reads_the_custom_fields():
    custom = client.customer.get_ad_hoc_schema()["custom"]
    view, fields = next(iter(custom.items()))
    name, described = next(iter(fields.items()))
    assert described["type"].startswith("Custom") and described["type"].endswith("Field")
    rows = client.customer.get_list(options=QueryOptions(select=["CustomerID"], custom=[f"{view}.{name}"], top=50))
    assert any(row["custom"][view][name].get("value") for row in rows)


@test
def easy_acumatica_reads_an_inquiry_entity():
    item = client.inquiries.BI_Inventory(options=QueryOptions(select=["InventoryID"], top=1))["value"][0]["InventoryID"].strip()
    answer = client.inventory_summary_inquiry.put_entity({"InventoryID": {"value": item}}, options=QueryOptions(expand=["Results"]))
    assert answer["InventoryID"] == {"value": item} and answer["Results"]


@test
def easy_acumatica_reads_generic_inquiries():
    assert {"BI_SalesOrders", "AR_Aging_by_Customer", "Inventory_by_Warehouse"} <= set(client.list_inquiries())
    fields = ["OrderType", "OrderNbr", "OrderTotal"]
    answer = client.inquiries.BI_SalesOrders(options=QueryOptions(select=fields, orderby=fields[:2], top=250, skip=100))
    assert [[row[f] for f in fields] for row in answer["value"]] == truth(sim, "gi/BI-SalesOrders", fields)[100:350]
    assert len(client.inquiries.AR_Aging_by_Customer(options=QueryOptions(top=3))["value"]) == 3
    # The traps: parameters, formula columns, rights.
    assert client.inquiries.Inventory_by_Warehouse()["value"] == []
    with refused(ValueError):
        client.inquiries.SO_Margin_by_Order(options=QueryOptions(filter="MarginText eq 'x'"))
    with refused(AcumaticaError, "403", "HR-Salaries"):
        client.inquiries.HR_Salaries()


@test
def easy_acumatica_signs_out():
    """Its cookie session ends; the ones it never saw, as it drops the cookies of its OData calls, end by themselves."""
    short = Sim(*SITE, "--seats", 0, "--session-idle", 3)
    its = easy(short)
    its.inquiries.BI_Customers(options=QueryOptions(top=1))
    assert sorted(s["how"] for s in short.sessions()) == ["basic", "basic", "cookie"]
    assert its.logout() == 204
    assert [s["how"] for s in short.sessions()] == ["basic", "basic"]
    eventually(lambda: short.sessions() == [])
    short.stop()
    assert client.logout() == 204
    assert {s["how"] for s in sim.sessions()} == {"basic"}


@test
def easy_acumatica_runs_out_of_the_two_seats_of_a_trial():
    """One for its cookies, one for $metadata, none for the inquiry: why we replay the cookies of Basic."""
    trial = Sim(*SITE)
    its = easy(trial)
    assert len(trial.sessions()) == 2
    assert its.customer.get_list(options=QueryOptions(top=1))
    try:
        its.inquiries.BI_Customers(options=QueryOptions(top=1))
    except (AcumaticaError, ValueError):
        pass
    else:
        raise AssertionError("a third session of two")
    with refused(AcumaticaAuthError):
        easy(trial)
    its.logout()
    trial.stop()


@test
def easy_acumatica_is_refused_with_a_wrong_password():
    before = len(sim.sessions())
    with refused(AcumaticaAuthError, "500"):
        easy(sim, password="wrong")
    assert len(sim.sessions()) == before


@test
def easy_acumatica_cannot_read_the_definition_of_an_older_release():
    """A limit of the client: it knows only OpenAPI 3, and an object of endpoints. It signs out, though."""
    older = Sim(*SITE, "--release", "2023R2")
    with refused((AcumaticaError, AttributeError), "'"):
        easy(older)
    assert older.sessions() == []
    older.stop()


sim.stop()

# -- httpx, by the document ---------------------------------------------------------------------------------------------

paged = Sim(*SITE, "--gi-page-size", 700)
LOGIN = {"name": "admin", "password": PASSWORD, "tenant": "Company"}
# CompanyID is there only where a site is hosted or has several tenants.
COOKIES = {".ASPXAUTH", "ASP.NET_SessionId", "Locale", "UserBranch", "requestid", "requeststat"}
ENDPOINT = "/entity/Default/24.200.001"


class Script:
    """A client of one site. Links of the server are joined to the origin, numbers stay text."""

    def __init__(self, sim, **options):
        self.base = sim.url
        self.http = httpx.Client(timeout=30, **options)

    def get(self, path, status=200, headers=None, **query):
        """A path below the site, or a link that the server gave; `top=1` is `$top=1`."""
        url = path if path.startswith("http") else self.base + quote(path, safe="/$()'=,@")
        params = {f"${name}": str(value) for name, value in query.items()} or None
        answer = self.http.get(url, params=params, headers=headers)
        assert answer.status_code == status, f"{answer.status_code} of {url}: {answer.text[:300]}"
        return answer

    def rows(self, path, **query):
        return json.loads(self.get(path, **query).text, parse_float=str)

    def follow(self, path, **query):
        """Pages of OData, v4 or v3, to the last."""
        pages = [self.rows(path, **query)]
        while link := pages[-1].get("@odata.nextLink") or pages[-1].get("odata.nextLink"):
            link = urljoin(self.base, link)
            assert link.startswith(self.base + "/"), f"not below the site: {link}"
            pages.append(self.rows(link))
        return pages

    def post(self, path, body=None, length=True):
        request = self.http.build_request("POST", self.base + path, json=body)
        if not length:
            del request.headers["Content-Length"]
        return self.http.send(request)


rest = Script(paged)


@test
def httpx_signs_in_and_gets_the_six_cookies():
    answer = rest.post("/entity/auth/login", LOGIN)
    assert (answer.status_code, answer.content) == (204, b"")
    names = [line.split("=")[0] for line in answer.headers.get_list("set-cookie")]
    assert set(names) - {"CompanyID"} == COOKIES and set(names) == {cookie.name for cookie in rest.http.cookies.jar}
    assert sorted(names.count(name) for name in COOKIES) == [1, 1, 2, 2, 2, 2]
    contents = "".join(cookie.value for cookie in rest.http.cookies.jar)
    assert all(character in contents for character in "&=+:~")
    assert [s["how"] for s in paged.sessions()] == ["cookie"]


@test
def httpx_lists_the_endpoints():
    listed = rest.rows("/entity")
    assert listed["version"]["acumaticaBuildVersion"].startswith("24.2")
    served = {(e["name"], e["version"]): e["href"] for e in listed["endpoints"]}
    assert served["Default", "24.200.001"] == "/Site/entity/Default/24.200.001/"
    assert ("Default", "17.200.001") not in served and ("Default", "20.200.001") in served
    for (name, version), link in served.items():
        swagger = rest.rows(urljoin(rest.base, link) + "swagger.json")
        assert swagger["info"]["version"] == "4" or name != "Default" or version < "22"
        assert swagger.get("openapi") == "3.0.1" or swagger["swagger"] == "2.0"
        if version == "24.200.001":
            assert swagger["openapi"] == "3.0.1"
        if name == "Default":
            assert "/SalesOrder" in swagger["paths"]
    rest.get("/entity/Default/17.200.001/SalesOrder", status=404, top=1)
    rest.get(f"{ENDPOINT}/SalesOrdr", status=404, top=1)
    assert rest.rows("/entity/dEFAULT/24.200.001/Customer", top=1)


@test
def httpx_lists_entities_with_select_expand_top_and_skip():
    fields, rows = ["OrderType", "OrderNbr", "OrderTotal", "Description"], []
    while page := rest.rows(f"{ENDPOINT}/SalesOrder", select=",".join(fields), top=6000, skip=len(rows)):
        assert isinstance(page, list)
        rows += page
    assert values(rows, *fields) == truth(paged, "rest/SalesOrder", fields)
    names = [name for name in rows[0] if name not in ("id", "rowNumber", "note", "custom", "_links", "files")]
    assert names == sorted(fields, key=str.lower)
    assert {} in [row["Description"] for row in rows]
    # $orderby is ignored.
    assert rest.rows(f"{ENDPOINT}/SalesOrder", select="OrderNbr", orderby="OrderTotal desc", top=9) == rest.rows(
        f"{ENDPOINT}/SalesOrder", select="OrderNbr", top=9
    )


@test
def httpx_expands_links_and_details():
    query = {"expand": "Details,ShipToAddress", "top": 200}
    plain, *_ = rest.rows(f"{ENDPOINT}/SalesOrder", top=1)
    assert "Details" not in plain and "ShipToAddress" not in plain
    rows = rest.rows(f"{ENDPOINT}/SalesOrder", select="OrderNbr,Details/InventoryID,ShipToAddress/City", **query)
    cities = [values([r], "OrderNbr")[0] + values([r["ShipToAddress"]], "City")[0] for r in rows]
    assert cities == truth(paged, "rest/SalesOrder", ["OrderNbr", "ShipToAddress/City"])[:200]
    assert any(r["Details"] and "InventoryID" in r["Details"][0] and "UOM" not in r["Details"][0] for r in rows)
    # Expanded but not selected: silently empty.
    rows = rest.rows(f"{ENDPOINT}/SalesOrder", select="OrderNbr", **query)
    assert all(row["Details"] == [] for row in rows)
    row, *_ = rest.rows(f"{ENDPOINT}/Customer", select="MainContact/Address/City", expand="MainContact,MainContact/Address", top=1)
    assert "City" in row["MainContact"]["Address"]


@test
def httpx_reads_by_key_by_id_and_by_link():
    row, *_ = rest.rows(f"{ENDPOINT}/SalesOrder", select="OrderType,OrderNbr", top=1, skip=777)
    kind, number = values([row], "OrderType", "OrderNbr")[0]
    by_key = rest.rows(f"{ENDPOINT}/SalesOrder/{kind}/{number}")
    assert by_key["id"] == row["id"]
    assert rest.rows(f"{ENDPOINT}/SalesOrder/{row['id']}") == by_key
    assert rest.rows(urljoin(rest.base, row["_links"]["self"])) == by_key
    error = rest.get(f"{ENDPOINT}/SalesOrder/{kind}/no-such", status=500).json()
    assert "NoEntitySatisfiesTheConditionException" in error["exceptionType"]
    assert {"message", "exceptionMessage", "exceptionType", "stackTrace"} <= set(error)


@test
def httpx_meets_the_traps_of_rest():
    customers = f"{ENDPOINT}/Customer"
    assert rest.rows(customers, filter="substringof('west',CustomerName)", top=1)
    assert rest.rows(customers, filter="substringof('west',CustomerName) eq true") == []
    for condition in ("not substringof('west',CustomerName)", "contains(CustomerName,'a')", "tolower(CustomerName) eq 'a'"):
        rest.get(customers, status=500, filter=condition)
    assert "KeyNotFoundException" in rest.get(customers, status=500, select="customerID").text
    error = rest.get(f"{ENDPOINT}/Case", status=500, select="CaseID,SLA", top=1).json()
    assert error["exceptionMessage"].startswith("Optimization cannot be performed.The following fields cause the error:\r\nSLA: ")
    assert error["exceptionType"].endswith("CannotOptimizeException")
    assert rest.rows(f"{ENDPOINT}/Case", select="CaseID", top=1)


@test
def httpx_needs_a_content_length_to_sign_out():
    answer = rest.post("/entity/auth/logout", length=False)
    assert "Content-Length" not in answer.request.headers
    assert answer.status_code == 411 and len(paged.sessions()) == 1
    answer = rest.post("/entity/auth/logout")
    assert answer.request.headers["Content-Length"] == "0"
    assert (answer.status_code, answer.content) == (204, b"") and paged.sessions() == []
    rest.get(f"{ENDPOINT}/Customer", status=401, top=1)


@test
def httpx_is_refused_with_a_wrong_password_and_without_a_seat():
    other = Script(paged)
    answer = other.post("/entity/auth/login", {**LOGIN, "password": "wrong"})
    assert answer.status_code == 500
    assert answer.json()["exceptionMessage"] == "Error: Invalid credentials. Please try again."
    # A wrong tenant of a single-tenant site is taken, and the sign-in page tells which one it really is.
    assert other.post("/entity/auth/login", {**LOGIN, "tenant": "Wrong"}).status_code == 204
    assert 'id="txtSingleCompany" value="Company"' in other.get("/Frames/Login.aspx").text
    second = Script(paged)
    assert second.post("/entity/auth/login", LOGIN).status_code == 204
    assert "API Login Limit" in Script(paged).post("/entity/auth/login", LOGIN).text
    assert other.post("/entity/auth/logout").status_code == second.post("/entity/auth/logout").status_code == 204
    assert paged.sessions() == []


odata = Script(paged, auth=("admin", PASSWORD))
GI, DAC = "/t/Company/api/odata/gi", "/t/Company/api/odata/dac"


@test
def httpx_reads_inquiries_with_basic_and_replayed_cookies():
    names = {entry["name"] for entry in odata.rows(GI)["value"] if entry["kind"] == "EntitySet"}
    assert {"BI-SalesOrders", "AR-Aging by Customer"} <= names
    assert "xml" in odata.get(f"{GI}/$metadata").headers["Content-Type"]
    odata.get(f"{GI}/$metadata", status=500, headers={"Accept": "application/json"})
    fields = ["CustomerID", "CustomerName", "_1stContact"]
    answer = odata.rows(f"{GI}/BI-Customers", select=",".join(fields), orderby="CustomerID desc", top=20, skip=5)
    assert [["" if row[f] is None else str(row[f]) for f in fields] for row in answer["value"]] == truth(paged, "gi/BI-Customers", fields)[::-1][5:25]
    assert odata.rows(f"{GI}/BI-Customers", filter="contains(tolower(CustomerName),'west')", top=1)["value"]
    assert odata.rows(f"{GI}/AR-Aging by Customer", top=2)["value"]
    assert [s["how"] for s in paged.sessions()] == ["basic"], "one session for all of them"
    # Without its cookies a call takes another seat; the third has none and is sent to the page of errors.
    assert httpx.get(f"{paged.url}{GI}", auth=odata.http.auth).status_code == 200
    assert len(paged.sessions()) == 2
    answer = httpx.get(f"{paged.url}{GI}", auth=odata.http.auth)
    assert answer.status_code == 302 and answer.headers["Location"].split("?")[0].endswith("/Frames/Error.aspx")
    assert httpx.get(f"{paged.url}{GI}", auth=("admin", "wrong")).status_code == 401


@test
def httpx_follows_next_links():
    fields = ["OrderType", "OrderNbr", "OrderTotal", "CustomerID"]
    pages = odata.follow(f"{GI}/BI-SalesOrders", select=",".join(fields), orderby="OrderType,OrderNbr")
    assert len(pages) == 29 and len(pages[0]["value"]) == 700
    rows = [[row[f] for f in fields] for page in pages for row in page["value"]]
    assert rows == truth(paged, "gi/BI-SalesOrders", fields)
    # Decimals as strings, codes padded.
    assert isinstance(pages[0]["value"][0]["OrderTotal"], str) and len(rows[0][3]) == 30


@test
def httpx_meets_the_traps_of_inquiries():
    name = "Inventory by Warehouse"
    assert odata.rows(f"{GI}/{name}")["value"] == []
    warehouse = truth(paged, f"gi/{name}", ["Warehouse"])[0][0].strip()
    literal = odata.follow(f"{GI}/{name.replace(' ', '')}_WithParameters(Warehouse='{warehouse}')")
    alias = odata.follow(f"{odata.base}{GI}/{name.replace(' ', '')}_WithParameters(Warehouse=@1)?@1='{warehouse}'")
    assert literal[0]["value"] and [p["value"] for p in literal] == [p["value"] for p in alias]
    assert {row["Warehouse"].strip() for page in literal for row in page["value"]} == {warehouse}
    assert odata.get(f"{GI}/SO-Margin by Order", filter="MarginText eq 'x'").content == b""
    odata.get(f"{GI}/HR-Salaries", status=403)
    odata.get(f"{GI}/No such inquiry", status=404)


@test
def httpx_reads_dac():
    order = odata.rows(f"{DAC}/SOOrder(OrderType='SO',OrderNbr='000058')")
    assert (order["OrderType"], order["OrderNbr"]) == ("SO", "000058")
    fields = ["OrderType", "OrderNbr", "CuryOrderTotal", "Status"]
    pages = odata.follow(f"{DAC}/PX_Objects_SO_SOOrder", select=",".join(fields), filter="OrderType eq 'CM'", count="true")
    expected = [row for row in truth(paged, "dac/SOOrder", fields) if row[0] == "CM"]
    assert [[row[f] for f in fields] for page in pages for row in page["value"]] == expected
    assert pages[0]["@odata.count"] == len(expected)
    query = {"select": "OrderNbr", "expand": "SOLineCollection($select=LineNbr)", "top": 50}
    lines = [row["SOLineCollection"] for row in odata.rows(f"{DAC}/SOOrder", **query)["value"]]
    assert any(lines) and all(set(line) == {"LineNbr"} for some in lines for line in some)
    odata.get(f"{DAC}/SOOrder", status=400, apply="aggregate(CuryOrderTotal with sum as T)")
    metadata = odata.get(f"{DAC}/$metadata").text
    assert "Org.OData.Core.V1.Description" in metadata and "FilterRestrictions" in metadata


@test
def httpx_ends_the_session_of_basic():
    assert odata.post("/entity/auth/logout").status_code == 204
    # What is left is the seat of the call that dropped its cookies.
    assert len(paged.sessions()) == 1


paged.stop()


@test
def httpx_reads_an_older_release():
    older = Sim(*SITE, "--release", "2023R2", "--gi-page-size", 5000)
    script = Script(older, auth=("admin", PASSWORD))
    listed = script.rows("/entity")
    listed = listed["endpoints"] if isinstance(listed, dict) else listed
    assert ("Default", "23.200.001") in {(endpoint["name"], endpoint["version"]) for endpoint in listed}
    pages = script.follow("/odata/Company/BI-SalesOrders", select="OrderType,OrderNbr")
    assert "odata.metadata" in pages[0] and "odata.nextLink" in pages[0]
    rows = [[row["OrderType"], row["OrderNbr"]] for page in pages for row in page["value"]]
    assert rows == truth(older, "gi/BI-SalesOrders", ["OrderType", "OrderNbr"], "--release", "2023R2")
    assert script.rows("/odata/Company/BI-Customers", filter="substringof('West',CustomerName)", top=1)["value"]
    assert script.rows("/odatav4/Company/SOOrder", top=1)["value"]
    script.get(f"{GI}/BI-Customers", status=404)
    assert script.post("/entity/auth/logout").status_code == 204 and older.sessions() == []
    older.stop()


@test
def httpx_reads_contract_5():
    newest = Sim(*SITE, "--release", "2026R2")
    script = Script(newest)
    assert script.post("/entity/auth/login", LOGIN).status_code == 204
    default = "/entity/Default/26.200.001"
    assert script.rows(f"{default}/swagger.json")["info"]["version"] == "5"
    row, *_ = script.rows(f"{default}/Customer", filter="contains(CustomerName,'west')", expand="MainContact($select=Email)", top=1)
    assert set(row["Status"]["value"]) == {"id", "description"} and "Email" in row["MainContact"]
    script.get("/entity/Default/20.200.001/Customer", status=404, top=1)
    assert script.post("/entity/auth/logout").status_code == 204 and newest.sessions() == []
    newest.stop()


finish()
