#!/usr/bin/env python3
"""acumatica-cli, from PyPI, works on the simulator as on a real site: it checks where it has signed in, lists, extracts
and compares entities, and captures inquiries. The test compares its files with the data set. No PostgreSQL."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, finish, test
from packages import Unavailable, needs, pythons, run, venv

PACKAGES = ["acumatica-cli==0.37.0"]
NEWEST = (3, 14)

# It is written for Python 3.14. Without that, its own code runs on 3.12 or 3.13 with two things of 3.14's syntax
# written in the older way: several exceptions without parentheses, and annotations that are not evaluated.
BACKPORT = """
import ast, pathlib, re, sys, sysconfig
for path in (pathlib.Path(sysconfig.get_path("purelib")) / "acumatica_cli").glob("*.py"):
    text = re.sub(r"^( *except )([\\w.]+(?:, *[\\w.]+)+):", r"\\1(\\2):", path.read_text(), flags=re.M)
    if "from __future__ import annotations" not in text:
        first = (ast.parse(text).body or [None])[0]
        described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        lines = text.splitlines(keepends=True)
        lines.insert(first.end_lineno if described else 0, "from __future__ import annotations\\n")
        text = "".join(lines)
    path.write_text(text)
"""


def install():
    if pythons()[0][0] >= NEWEST:
        return venv("acumatica-cli", PACKAGES, oldest=NEWEST)
    python = venv("acumatica-cli", PACKAGES, oldest=(3, 12), more=("--ignore-requires-python",))
    run([python, "-c", BACKPORT])
    try:
        run([python, "-c", "import acumatica_cli.cli"])
    except Unavailable as why:
        raise Unavailable(f"it needs Python 3.14, and does not run on what is here: {why}") from why
    return python


python = needs("acumatica-cli", install)
if python is None:
    sys.exit(0)

sim = Sim("--site", "/Site")
directory = Path(os.environ.get("TEST_DIR", "/tmp")) / "acu"
directory.mkdir(parents=True, exist_ok=True)


def acu(*arguments, status=0, tenant="Company"):
    """What the program prints."""
    settings = {
        "ACU_BASE_URL": sim.url, "ACU_TENANT": tenant, "ACU_USER": "admin", "ACU_PASSWORD": PASSWORD,
        "ACU_API_VERSION": "24.200.001", "ACU_SSH": "",
    }
    done = subprocess.run(
        [Path(python).with_name("acu"), *map(str, arguments)],
        capture_output=True, text=True, cwd=directory, env={**os.environ, **settings}, timeout=120,
    )
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"[-3000:]
    assert sim.sessions() == [], "it signs out"
    return done.stdout + done.stderr


def truth(name, fields):
    """Rows of the data set itself, as text; no value is ''."""
    return list(csv.reader(io.StringIO(sim.dump(name, fields).decode())))[1:]


def records(file):
    """The records of a file that it wrote, by its own parser."""
    code = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), default=str))"
    return json.loads(run([python, "-c", code, str(directory / file)]))


def values(rows, fields):
    return sorted(["" if (value := row.get(field)) is None else str(value) for field in fields] for row in rows)


@test
def acumatica_cli_checks_the_tenant_and_the_endpoint():
    said = acu("config", "check")
    assert "tenant Company" in said and "ok endpoints (Default/24.200.001 present)" in said, said
    assert sim.requests("/Site/Frames/Login.aspx"), "the page that names the tenant"


@test
def acumatica_cli_refuses_a_tenant_that_it_did_not_land_in():
    assert "the session landed on 'Company'" in acu("schema", status=1, tenant="Other")


@test
def acumatica_cli_keeps_the_definition():
    acu("schema")
    (file,) = (directory / "schemas").iterdir()
    assert "/SalesOrder" in json.loads(file.read_text())["paths"]


@test
def acumatica_cli_extracts_entities():
    only = [word for name in ("Account", "Ledger", "Customer") for word in ("--only", name)]
    acu("survey", "extract", "--force", *only)
    for file, name, fields in (
        ("baseline/20-accounts.yaml", "Account", ["AccountCD", "Description", "Type"]),
        ("baseline/40-ledger.yaml", "Ledger", ["LedgerID", "Description", "Type"]),
        ("master/76-customers.yaml", "Customer", ["CustomerID", "CustomerName"]),
    ):
        assert values(records(f"acu-config/{file}")["records"], fields) == sorted(truth(f"rest/{name}", fields)), name


@test
def acumatica_cli_finds_no_difference_and_then_one():
    assert "no drift" in acu("diff", "acu-config/baseline")
    file = directory / "acu-config/baseline/40-ledger.yaml"
    file.write_text(file.read_text().replace("Currency: USD", "Currency: CHF"))
    assert "CHF" in acu("diff", "acu-config/baseline", status=2)


@test
def acumatica_cli_captures_inquiries():
    views = directory / "acu-config/views"
    views.mkdir(parents=True, exist_ok=True)
    (views / "10-customers.yaml").write_text(
        "name: customers\nsource:\n  gi: BI-Customers\nkey: [CustomerID]\ncapture: [CustomerName, Status]\n"
    )
    acu("state", views / "10-customers.yaml")
    rows = records("state/customers.yaml")["rows"]
    fields = ["CustomerID", "CustomerName", "Status"]

    def plain(rows):
        """It writes a line's end as YAML does not: one comes back as a blank."""
        return sorted([" ".join(text.split()) for text in row] for row in rows)

    assert plain(values(rows, fields)) == plain(truth("gi/BI-Customers", fields))


sim.stop()
finish()
