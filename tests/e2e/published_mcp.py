#!/usr/bin/env python3
"""Two MCP servers for Acumatica, from PyPI, work on the simulator as they do on real sites: acumatica-mcp, with a cookie
session and with OAuth's code flow, and grp-mcp, with OAuth's password flow. The test asks them over standard input and
output, as an assistant does, and compares their answers with the data set. No PostgreSQL."""

import csv
import io
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, eventually, finish, test
from packages import needs, venv

SITE = ("--site", "/Site")
CLIENT = ("33333333-0000-0000-0000-000000000003@Company", "client-secret")
directory = Path(os.environ.get("TEST_DIR", "/tmp")) / "mcp"
directory.mkdir(parents=True, exist_ok=True)


class Server:
    """A running MCP server: lines of JSON-RPC."""

    def __init__(self, command, **settings):
        self.log = open(directory / "stderr", "w")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **settings}, cwd=directory
        )
        self.number, self.rest = 0, b""
        hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
        self.ask("initialize", hello)
        self.say({"method": "notifications/initialized"})

    def say(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def line(self, until):
        while b"\n" not in self.rest:
            ready, *_ = select.select([self.process.stdout], [], [], until - time.monotonic())
            more = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            assert more, f"no answer; it said: {(directory / 'stderr').read_text()[-2000:]}"
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, method, params):
        self.number += 1
        self.say({"id": self.number, "method": method, "params": params})
        until = time.monotonic() + 60
        while (answer := self.line(until)).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def tools(self):
        return {tool["name"] for tool in self.ask("tools/list", {})["tools"]}

    def call(self, tool, /, **arguments):
        """What a tool answers: one value, or several as a list."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        texts = [part["text"] for part in result["content"]]
        assert not result.get("isError"), texts
        values = []
        for text in texts:
            try:
                values.append(json.loads(text, parse_float=str))
            except ValueError:
                values.append(text)
        return values[0] if len(values) == 1 else values

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.log.close()


def comparable(field, text):
    """Both servers read numbers as floats and write them anew."""
    return float(text) if field.endswith("Total") and text else text


def truth(sim, name, fields, *arguments):
    """Rows of the data set itself; no value is ''."""
    rows = list(csv.reader(io.StringIO(sim.dump(name, fields, *arguments).decode())))[1:]
    return [[comparable(*pair) for pair in zip(fields, row)] for row in rows]


def values(rows, fields):
    """The same of rows whose values are bare, or wrapped as REST has them."""

    def text(value):
        value = value.get("value") if isinstance(value, dict) else value
        return "" if value is None else str(value)

    return [[comparable(field, text(row.get(field))) for field in fields] for row in rows]


# -- acumatica-mcp ------------------------------------------------------------------------------------------------------

ours = needs("acumatica-mcp", lambda: venv("acumatica-mcp", ["acumatica-mcp==0.9.0", "mcp==1.27.0"], oldest=(3, 12)))
if ours:
    sim = Sim(*SITE, "--clients", ":".join(CLIENT))
    settings = {"ACUMATICA_URL": sim.url, "ACUMATICA_COMPANY": "Company", "LOG_LEVEL": "WARNING"}
    server = Server([ours, "-m", "server"], ACUMATICA_USER="admin", ACUMATICA_PASS=PASSWORD, **settings)

    @test
    def acumatica_mcp_signs_in_and_discovers():
        assert {"get_records", "query_generic_inquiry", "describe_entity"} <= server.tools()
        status = server.call("connection_status")
        assert status["connected"] and status["auth_mode"] == "basic"
        assert status["discovery"] == {
            "endpoints_found": 3, "report_endpoint_version": None, "ar_invoice_entity": "Invoice", "inventory_entities": ["StockItem"],
        }
        assert server.call("get_acumatica_version")["product_version"] == "2024 R2"
        assert [s["how"] for s in sim.sessions()] == ["cookie"], "one session for all of it, OData too"

    @test
    def acumatica_mcp_lists_entities_and_inquiries():
        names = {entity["name"] for entity in server.call("list_available_entities")["entities"]}
        assert {"SalesOrder", "Customer", "StockItem"} <= names
        fields = {field["name"]: field["type"] for field in server.call("describe_entity", entity="SalesOrder")["fields"]}
        assert fields["OrderTotal"] == "DecimalValue" and fields["ShipToAddress"] == "Address"
        names = {inquiry["name"] for inquiry in server.call("list_generic_inquiries")["inquiries"]}
        assert {"BI-SalesOrders", "AR-Aging by Customer"} <= names

    @test
    def acumatica_mcp_reads_an_entity_page_by_page():
        fields, rows = ["CustomerID", "CustomerName", "Status", "Email"], []
        while True:
            got = server.call("get_records", endpoint="Customer", select=",".join(fields), top=300, skip=len(rows))
            rows += got["rows"]
            if not got.get("truncated"):
                break
        assert values(rows, fields) == truth(sim, "rest/Customer", fields)

    @test
    def acumatica_mcp_filters_and_reads_by_key():
        fields = ["OrderType", "OrderNbr", "OrderTotal"]
        filters = {"OrderType": "CM", "OrderTotal": "gt 10000"}
        got = server.call("get_records", endpoint="SalesOrder", filters=filters, select=",".join(fields), top=5000)
        right = [row for row in truth(sim, "rest/SalesOrder", fields) if row[0] == "CM" and row[2] > 10000]
        assert values(got["rows"], fields) == right != []
        kind, number, total = right[-1]
        order = server.call("get_record_by_keys", endpoint="SalesOrder", keys=[kind, number], expand="Details")
        assert values([order], fields) == [[kind, number, total]]
        assert all(detail["InventoryID"] for detail in order["Details"])

    @test
    def acumatica_mcp_reads_an_inquiry():
        fields = ["OrderType", "OrderNbr", "OrderTotal"]
        got = server.call("query_generic_inquiry", inquiry_name="BI-SalesOrders", filters={"OrderType": "CM"}, top=5000)
        right = [row for row in truth(sim, "gi/BI-SalesOrders", fields) if row[0] == "CM"]
        rows = got.get("rows") or got["value"]
        assert sorted(values(rows, fields)) == sorted(right) != []
        got = server.call("query_generic_inquiry", inquiry_name="AR-Aging by Customer", top=3)
        assert len(got.get("rows") or got["value"]) == 3

    server.stop()

    @test
    def acumatica_mcp_signs_in_by_the_code_flow():
        """Its browser is a script that agrees at once."""
        browser = directory / "browser"
        browser.write_text(
            f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1] + '&sim_user=analyst').read()\n"
        )
        browser.chmod(0o755)
        sim.control("DELETE", "sessions")
        id, secret = CLIENT
        oauth = Server(
            [ours, "-m", "server"], ACUMATICA_CLIENT_ID=id, ACUMATICA_CLIENT_SECRET=secret, BROWSER=f"{browser} %s", **settings
        )
        got = oauth.call("get_records", endpoint="Ledger", select="LedgerID", top=100)
        assert values(got["rows"], ["LedgerID"]) == truth(sim, "rest/Ledger", ["LedgerID"])
        assert [(s["user"], s["how"]) for s in sim.sessions()] == [("analyst", "bearer")]
        oauth.stop()

    sim.stop()


# -- grp-mcp ------------------------------------------------------------------------------------------------------------

grp = needs("grp-mcp", lambda: venv("grp-mcp", ["grp-mcp==0.80.10"]))
if grp:
    sim = Sim(*SITE, "--clients", ":".join(CLIENT))
    server = Server(
        [str(Path(grp).with_name("grp-mcp"))],
        GRP_MCP_BASE_URL=sim.url,
        GRP_MCP_TENANT="Company",
        GRP_MCP_CLIENT_ID=CLIENT[0],
        GRP_MCP_CLIENT_SECRET=CLIENT[1],
        GRP_MCP_USERNAME="admin",
        GRP_MCP_PASSWORD=PASSWORD,
    )

    @test
    def grp_mcp_signs_in_and_discovers():
        assert {"fetch_all_entities", "run_dac_odata", "run_generic_inquiry"} <= server.tools()
        got = server.call("whoami")
        assert got["reachable"] and got["endpoint"] == "Default/24.200.001", got
        served = server.call("list_endpoints")
        assert "Default" in {endpoint["name"] for endpoint in served["endpoints"]}
        assert {"SalesOrder", "Customer"} <= set(server.call("list_entities"))
        schema = server.call("get_entity_schema", entity="SalesOrder")
        assert "OrderTotal" in schema["scalar_fields"] and "Details" in schema["detail_fields"]
        assert [s["how"] for s in sim.sessions()] == ["bearer"]

    @test
    def grp_mcp_reads_an_entity_page_by_page_and_one_by_key():
        fields = ["OrderType", "OrderNbr", "OrderTotal"]
        got = server.call("fetch_all_entities", entity="SalesOrder", select=",".join(fields), page_size=7000)
        right = truth(sim, "rest/SalesOrder", fields)
        assert values(got["records"], fields) == right and got["count"] == len(right)
        kind, number, total = right[777]
        order = server.call("get_entity", entity="SalesOrder", record_id=f"{kind}/{number}", expand="Details")
        assert values([order], fields) == [[kind, number, total]] and isinstance(order["Details"], list)
        counted = server.call("count_entity", entity="SalesOrder", filter="OrderType eq 'CM'", select="OrderNbr")
        assert counted["count"] == len([row for row in right if row[0] == "CM"])

    @test
    def grp_mcp_reads_dacs_and_their_definitions():
        names = {entry["name"] for entry in server.call("list_dacs")["value"]}
        assert "PX_Objects_SO_SOOrder" in names
        fields = ["OrderType", "OrderNbr", "CuryOrderTotal"]
        got = server.call("run_dac_odata", dac="PX_Objects_SO_SOOrder", filter="OrderType eq 'CM'", select=",".join(fields), top=5000)
        assert values(got["value"], fields) == [row for row in truth(sim, "dac/SOOrder", fields) if row[0] == "CM"]
        described = server.call("get_dac_metadata", dac="SOOrder")
        (listed,) = (value for value in described.values() if isinstance(value, list))
        keys = {field["name"] for field in listed if field.get("key")}
        assert keys == {"OrderType", "OrderNbr"}, described

    @test
    def grp_mcp_reads_inquiries_at_their_older_address():
        """It asks for /odata/{tenant}, on releases with /t/{tenant}/api/odata/gi too."""
        exposed = server.call("list_generic_inquiries")["exposed"]
        names = {entry["name"] for entry in exposed["value"]}
        assert {"BI-Customers", "BI-SalesOrders"} <= names
        fields = ["CustomerID", "CustomerName"]
        got = server.call("run_generic_inquiry", name="BI-Customers", top=50)
        right = truth(sim, "gi/BI-Customers", fields)
        assert len(got["value"]) == 50 and all(row in right for row in values(got["value"], fields))

    @test
    def grp_mcp_gives_its_seat_back():
        assert server.call("release_sessions")["released"] == ["default"]
        assert sim.sessions() == []

    server.stop()
    eventually(lambda: sim.sessions() == [])
    sim.stop()

finish()
