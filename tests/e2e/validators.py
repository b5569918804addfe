#!/usr/bin/env python3
"""The simulator's definitions pass the validators of others: those of Swagger and OpenAPI, the XML schema of OASIS for
OData, and a generator of OData clients whose output must compile. Needs PyPI and npm; no PostgreSQL."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from base64 import b64encode
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import PASSWORD, Sim, finish, test
from packages import Node, needs, venv

HERE = Path(__file__).parent
RELEASES = {
    "2023R2": ("20.200.001", "23.200.001"),
    "2024R2": ("23.200.001", "24.200.001"),
    "2026R2": ("24.200.001", "25.200.001", "26.200.001"),
}
directory = Path(os.environ.get("TEST_DIR", "/tmp")) / "documents"
directory.mkdir(parents=True, exist_ok=True)


def fetch(sim, path):
    # OData takes HTTP Basic, contract REST its session.
    address = sim.url + path
    basic = b64encode(f"admin:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {basic}"})
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    if "/entity/" in path:
        login = json.dumps({"name": "admin", "password": PASSWORD}).encode()
        opener.open(urllib.request.Request(sim.url + "/entity/auth/login", login, {"Content-Type": "application/json"}))
        request = address
    with opener.open(request, timeout=30) as answer:
        return answer.read().decode("utf-8-sig")


definitions, documents = {}, {}
for release, versions in RELEASES.items():
    sim = Sim("--scale", "0.1", "--site", "/Site", "--seats", 0, "--release", release)
    for version in versions:
        file = directory / f"{release}-{version}.json"
        file.write_text(fetch(sim, f"/entity/Default/{version}/swagger.json"))
        definitions[release, version] = file
    old = release == "2023R2"
    for surface, path in (
        ("gi", "/odata/Company" if old else "/t/Company/api/odata/gi"),
        ("dac", "/odatav4/Company" if old else "/t/Company/api/odata/dac"),
    ):
        file = directory / f"{surface}-{release}.xml"
        file.write_text(fetch(sim, f"{path}/$metadata"))
        documents[surface, release] = file
    sim.stop()


def spoilt(file, old, new):
    """A copy with one thing wrong, which a validator that works must find."""
    text = file.read_text()
    assert old in text, f"no {old} in {file}"
    copy = file.with_name(f"spoilt-{file.name}")
    copy.write_text(text.replace(old, new))
    return copy


def spoilt_definitions():
    for key in (("2023R2", "23.200.001"), ("2024R2", "24.200.001")):
        yield spoilt(definitions[key], '"responses"', '"answers"')


@test
def the_definitions_are_of_the_formats_and_contracts_of_their_releases():
    def of(key):
        document = json.loads(definitions[key].read_text())
        return document.get("swagger") or document["openapi"], document["info"]["version"]

    assert of(("2023R2", "23.200.001")) == ("2.0", "4")
    assert of(("2024R2", "24.200.001")) == ("3.0.1", "4")
    assert of(("2026R2", "26.200.001")) == ("3.0.1", "5")


if node := needs("swagger-parser", lambda: Node("swagger", ["@apidevtools/swagger-parser@12.0.0"])):

    @test
    def swagger_parser_accepts_every_definition():
        bad = list(spoilt_definitions())
        found = node.run((HERE / "node" / "swagger.mjs").read_text(), *definitions.values(), *bad)
        wrong = {file: fault for file, fault in found.items() if fault}
        assert set(wrong) == {str(file) for file in bad}, wrong


OPENAPI = """
import json, sys
from openapi_spec_validator import validate
found = {}
for file in sys.argv[1:]:
    try:
        validate(json.load(open(file)))
        found[file] = None
    except Exception as error:
        found[file] = f"{type(error).__name__}: {error}"[:2000]
print(json.dumps(found))
"""

if python := needs("openapi-spec-validator", lambda: venv("openapi", ["openapi-spec-validator==0.9.0"])):

    @test
    def openapi_spec_validator_accepts_every_definition():
        bad = list(spoilt_definitions())
        command = [python, "-c", OPENAPI, *map(str, [*definitions.values(), *bad])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr[-2000:]
        wrong = {file: fault for file, fault in json.loads(done.stdout).items() if fault}
        assert set(wrong) == {str(file) for file in bad}, wrong


# The schema of OASIS comes with odata-csdl, the committee's own package.
csdl = needs("odata-csdl", lambda: Node("csdl", ["odata-csdl@0.11.2"]))
lxml = csdl and needs("lxml", lambda: venv("lxml", ["lxml==6.1.3"]))

SCHEMA = """
import json, sys
from lxml import etree
schema = etree.XMLSchema(etree.parse(sys.argv[1]))
found = {}
for file in sys.argv[2:]:
    schema.validate(etree.parse(file))
    found[file] = [f"{error.line}: {error.message}" for error in schema.error_log]
print(json.dumps(found))
"""


def by_the_schema(files):
    schema = csdl.folder / "node_modules/odata-csdl/schemas/edmx.xsd"
    done = subprocess.run([lxml, "-c", SCHEMA, schema, *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


if lxml:

    @test
    def the_schema_of_oasis_accepts_the_document_of_the_dacs():
        good = [documents["dac", release] for release in RELEASES]
        bad = spoilt(good[1], "<Key>", '<Key Name="x">')
        found = by_the_schema([*good, bad])
        assert found.pop(str(bad)), "it finds nothing wrong with what is wrong"
        # The vendor's server writes Scale="Variable" (docs/acumatica.md 3.4); the schema knows "variable".
        others = [e for errors in found.values() for e in errors if "attribute 'Scale': 'Variable' is not" not in e]
        assert not others, others

    @test
    def the_schema_of_oasis_minds_nothing_in_the_document_of_the_inquiries_but_names():
        """Names of inquiries hold blanks and hyphens, which the standard forbids: so do the vendor's, in the guide's own
        example."""
        found = by_the_schema([documents["gi", "2024R2"], documents["gi", "2026R2"]])
        name = re.compile(r"attribute '(Name|Function|EntitySet|Action)': \[facet 'pattern'\] The value '([^']*[ -][^']*)'")
        errors = [error for listed in found.values() for error in listed]
        assert errors, "no inquiry with a blank in its name?"
        assert all(name.search(error) for error in errors), [error for error in errors if not name.search(error)]


TYPESCRIPT = ["@odata2ts/odata2ts@0.34.0", "@odata2ts/http-client-fetch@0.6.2", "typescript@5.9.3"]

if generator := needs("odata2ts", lambda: Node("odata2ts", TYPESCRIPT)):

    def words(done):
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    def command(name, *arguments):
        done = [generator.folder / "node_modules/.bin" / name, *arguments]
        return subprocess.run(done, cwd=generator.folder, capture_output=True, text=True, timeout=150)

    @test
    def odata2ts_generates_a_client_from_the_inquiries_of_v3_and_v4_that_compiles():
        shutil.rmtree(generator.folder / "client", ignore_errors=True)
        shutil.copy(documents["gi", "2023R2"], generator.folder / "v3.xml")
        shutil.copy(documents["gi", "2024R2"], generator.folder / "v4.xml")
        shutil.copy(HERE / "node" / "odata2ts.config.js", generator.folder)
        compiler = {"target": "ES2022", "module": "nodenext", "strict": True, "noEmit": True, "skipLibCheck": True}
        settings = {"compilerOptions": compiler, "include": ["client/**/*.ts"]}
        (generator.folder / "tsconfig.json").write_text(json.dumps(settings))
        words(command("odata2ts", "--mode", "all", "--emit-mode", "ts", "--allow-renaming"))
        for version in ("v3", "v4"):
            service, = (generator.folder / "client" / version).glob("*Service.ts")
            assert "biSalesOrders" in service.read_text(), service
        words(command("tsc", "-p", "tsconfig.json"))


finish()
