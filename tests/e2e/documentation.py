#!/usr/bin/env python3
"""The documentation is true. docs/options.md is what acumatica_options() returns; the SQL of the pages below runs from top to
bottom, as an analyst would type it, and prints the output shown under it; the functions and links that pages name exist.
ACCEPT=1 writes options and outputs anew."""

import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, eventually, finish, test

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ACCEPT = os.environ.get("ACCEPT") == "1"

PAGE = ROOT / "docs" / "options.md"
HEAD = """# Options

All options, as `SELECT * FROM acumatica_options()` lists them. This page is written by
`ACCEPT=1 TESTS=e2e/documentation make test` and checked by `make test`: change `src/catalog/option/list.rs`, not the page.

Names of options are case-sensitive, values of a choice are not. An option is refused if it belongs to another object, if the
chosen schema cannot use it, or if it is given twice, also under two names.
"""


def page(connection):
    lines = [HEAD]
    titles = {"schema import": "IMPORT FOREIGN SCHEMA"}
    objects = ("server", "user mapping", "foreign table", "column", "schema import")
    rows = connection.execute("SELECT * FROM acumatica_options()").fetchall()
    for kind in objects:
        title = titles.get(kind, kind.capitalize())
        lines += [f"\n## {title}\n", "| option | value | default | |", "|---|---|---|---|"]
        for name, aliases, where, value, default, secret, purpose in rows:
            if kind in where:
                also = f" (or `{'`, `'.join(aliases)}`)" if aliases else ""
                value = value.replace(" | ", ", ")
                default = f"`{default}`" if default else ""
                lines.append(f"| `{name}`{also} | {value} | {default} | {purpose}{' Secret.' if secret else ''} |")
    assert {kind for row in rows for kind in row[2]} == set(objects), "the page lacks an object that has options"
    return "\n".join(lines) + "\n"


@test
def the_page_of_options_is_that_of_the_code():
    text = page(connect())
    if ACCEPT:
        PAGE.write_text(text)
    assert PAGE.read_text() == text, f"{PAGE} is out of date: run ACCEPT=1 TESTS=e2e/documentation make test"


# -- examples ---------------------------------------------------------------------------------------------------------

# A block of SQL, and what it prints if a block without a language follows at once.
EXAMPLE = re.compile(r"^```sql\n(?P<sql>.*?)^```\n(?:\n*^```\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
PASSWORD = "pass-of-analyst"
MARK = "-- end of example --"


def psql(name, text, *arguments):
    """Runs a script in a database of its own, going on after errors; what it printed."""
    database = f"documentation_{re.sub('[^a-z]', '_', name.lower())}"
    with connect() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database}"')
        connection.execute(f'CREATE DATABASE "{database}"')
    command = [os.path.join(os.environ["CLUSTER_BIN"], "psql"), "-XqAt", "-d", database, *arguments]
    done = subprocess.run(
        command, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
    )
    return done.stdout


def script(sql):
    """An example with the settings that it prints well with: a plan line by line, all else as a table."""
    plan = "on" if sql.startswith("EXPLAIN") else "off"
    look = "unaligned" if plan == "on" else "aligned"
    return f"\\pset format {look}\n\\pset tuples_only {plan}\n\\pset footer off\n{sql}\n\\echo {MARK}\n"


CREATED = "SET client_min_messages = warning; CREATE EXTENSION acumatica_fdw; RESET client_min_messages;\n"


def run_examples(path, prelude=CREATED, release="2026R2"):
    """Runs all examples of a page in turn and compares what they print; a line `…` stands for any lines."""
    text = path.read_text()
    examples = list(EXAMPLE.finditer(text))
    assert examples, f"{path.name} has no examples"
    sim = Sim("--release", release, "--tenant", "My Company", "--scale", "0.1")
    sql = "".join(script(example["sql"]) for example in examples)
    sql = sql.replace("https://mycompany.acumatica.com", sim.url).replace("'…'", f"'{PASSWORD}'")
    printed = psql(path.stem, prelude + sql).split(MARK + "\n")
    sim.stop()
    assert len(printed) == len(examples) + 1, f"{path.name}: psql ended early: {printed[-1]}"
    wrong, written, at = [], [], 0
    for example, output in zip(examples, printed):
        output = "".join(f"{line.rstrip()}\n" for line in output.strip("\n").splitlines())
        expected = example["output"]
        where = f"{path.name}:{text.count(chr(10), 0, example.start()) + 1}"
        if expected is None:
            if "ERROR:" in output:
                wrong.append(f"{where} fails:\n{output}")
        elif not re.fullmatch("".join(map(pattern, expected.splitlines(True))), output, re.DOTALL):
            wrong.append(f"{where} prints:\n{output}\nand not:\n{expected}")
            written += [text[at : example.start("output")], output]
            at = example.end("output")
    if ACCEPT and written:
        path.write_text("".join([*written, text[at:]]))
        wrong = [report for report in wrong if "fails:" in report.splitlines()[0]]
    assert not wrong, "\n".join(wrong)


def pattern(line):
    return "(?:[^\n]*\n)*" if line.strip() == "…" else re.escape(line)


@test
def the_examples_of_the_readme_run():
    run_examples(ROOT / "README.md", "", "2024R2")


@test
def the_examples_about_pushdown_run():
    run_examples(ROOT / "docs" / "pushdown.md", release="2024R2")


@test
def the_examples_about_imports_run():
    run_examples(ROOT / "docs" / "import.md")


@test
def the_examples_about_tables_run():
    run_examples(ROOT / "docs" / "tables.md")


@test
def the_tour_runs():
    """docs/demo.sql, that `make demo` shows; twice, since it says that it can be repeated."""
    sim = Sim("--scale", "0.1")
    sql = (ROOT / "docs" / "demo.sql").read_text()
    sql = sql.replace("username 'admin', password 'secret'", f"username 'analyst', password '{PASSWORD}'")
    assert PASSWORD in sql, "the tour signs in otherwise than this test knows"
    printed = psql("demo", sql + "\n\\set ECHO none\n" + sql, "-v", f"url={sim.url}")
    assert "ERROR:" not in printed and "invalid command" not in printed, printed
    assert printed.count("==> 1.") == 2, printed
    eventually(lambda: not sim.sessions())


# -- what is named ----------------------------------------------------------------------------------------------------


@test
def functions_and_settings_that_are_named_exist():
    connection = connect()
    connection.execute("LOAD 'acumatica_fdw'")
    there = {name for (name,) in connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'acumatica%'")}
    there |= {name for (name,) in connection.execute("SELECT name FROM pg_settings WHERE name LIKE 'acumatica_fdw.%'")}
    for path in DOCS:
        text = path.read_text()
        named = set(re.findall(r"\b(acumatica_\w+)\(", text)) | set(re.findall(r"\b(acumatica_fdw\.[a-z]\w+)\b", text))
        named -= {"acumatica_fdw.control"}
        assert named <= there, f"{path.name} names {sorted(named - there)}"
    # And the other way round: what people are to call is told of somewhere.
    told = "".join(path.read_text() for path in DOCS)
    hidden = {"acumatica_fdw_handler", "acumatica_fdw_validator"}
    hidden |= {name for (name,) in connection.execute("SELECT proname FROM pg_proc WHERE prorettype = 'event_trigger'::regtype")}
    assert all(name in told for name in there - hidden), [name for name in there - hidden if name not in told]


@test
def the_properties_of_explain_are_those_of_its_page():
    """The names are in the page and in the code, and EXPLAIN prints each of them."""
    described = set(re.findall(r"^\| `([A-Z][^`]*)` \|", (ROOT / "docs" / "explain.md").read_text(), re.MULTILINE))
    sources = (ROOT / "src" / "executor").glob("**/explain.rs")
    written = {name for source in sources for name in re.findall(r'\bc"([A-Z][^"]*)"', source.read_text())}
    assert described == written, described ^ written

    def names(node):
        if isinstance(node, list):
            return set().union(*map(names, node))
        return set(node) | names(list(node.values())) if isinstance(node, dict) else set()

    sim = Sim("--scale", "0.1")
    connection = connect()
    create_server(connection, sim)
    connection.execute("""
        CREATE SCHEMA shown;
        SET search_path = shown, public;
        CREATE FOREIGN TABLE orders (order_type text OPTIONS (field 'OrderType', key '1'), order_nbr text OPTIONS (field 'OrderNbr', key '2'),
            total numeric OPTIONS (field 'CuryOrderTotal')) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', branch 'MAIN', rows '100');
        CREATE FOREIGN TABLE many (order_nbr text OPTIONS (field 'OrderNbr'), total numeric OPTIONS (field 'CuryOrderTotal'))
            SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', rows '1000000');
        CREATE FOREIGN TABLE stock (item text OPTIONS (field 'InventoryID', parameter 'required'), site text OPTIONS (field 'Results/WarehouseID'))
            SERVER erp OPTIONS (inquiry 'InventorySummaryInquiry');
        CREATE TABLE wanted AS SELECT to_char(n, 'FM000000') AS nbr, n FROM generate_series(1, 40) n;
        ANALYZE wanted""")
    shown = set()
    for query in (
        "SELECT count(*) FROM orders WHERE total > 1",
        "SELECT * FROM orders WHERE order_nbr > '000010'",
        "SELECT * FROM stock WHERE item = 'AACOMPUT00001'",
        "SELECT * FROM wanted w JOIN many o ON o.order_nbr = w.nbr AND o.total > w.n",
        "SELECT n, (SELECT sum(total) FROM orders WHERE order_nbr = nbr) FROM wanted",
    ):
        shown |= names(connection.execute(f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {query}").fetchone()[0])
    assert "All Rows Read" in shown and described <= shown, described - shown
    connection.execute("DROP SCHEMA shown CASCADE; DROP SERVER erp CASCADE")
    sim.stop()


@test
def links_lead_somewhere():
    def anchors(path):
        titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    for path in DOCS:
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if "://" in link:
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{path.name}: {link}"


finish()
