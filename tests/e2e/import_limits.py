#!/usr/bin/env python3
"""IMPORT FOREIGN SCHEMA: thousands of tables and columns, other encodings, rights, cancels and failures on the way."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, eventually, psycopg, raises, test
from importing import ODD, OURS, answer_all, columns, db, end, generate, load, notices, of, quoted, sim, swagger, tables, value

generated = generate(ODD)


# -- sizes and places --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def defined(*documents, options=()):
    """A server with endpoints of these definitions."""
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for number, document in enumerate(documents):
            path = pathlib.Path(folder, f"{number}.json")
            path.write_text(json.dumps(document))
            parts += ["--definition", path]
        of_these = Sim("--seats", 0, "--scale", 0.01, *options, *parts)
    create_server(db, of_these, "big")
    try:
        yield of_these
    finally:
        db.execute("SET client_min_messages = warning; DROP SERVER big CASCADE; SET client_min_messages = notice")
        of_these.stop()


@test
def more_columns_than_a_table_has_room_for():
    wide = {f"Field{n:04}": "" for n in range(2000)}
    linked = {f"Inner{n:04}": "" for n in range(800)}
    with defined(swagger({"Wide": wide, "Linked": {"Nbr": "", "Other": "", "To": "Far", "Too": "Far"}, "Far": linked}, entities=("Wide", "Linked"))):
        told, seconds = load("REST", server="big", endpoint_name="Big")
        print(f"# 2,000 fields: {seconds:.2f} s")
        assert len(columns("wide")) == 1600 and len(columns("linked")) == 1600
        assert any('"Wide"' in n and "403 columns" in n for n in told) and any('"Linked"' in n for n in told), told
        assert {"id", "nbr", "other", "note", "files"} <= {c.name for c in columns("linked")}
        rows, errors = answer_all()
        assert not errors, errors
        assert all(len(found) == 3 for found in rows.values())
        told, _ = load("REST", "LIMIT TO (linked)", server="big", endpoint_name="Big", linked="jsonb")
        assert not told and len(columns("linked")) == 7, told


@test
def three_thousand_entities():
    with defined(swagger({f"Thing{n:04}": {"Nbr": "", "Other": ""} for n in range(3000)})):
        told, seconds = load("REST", server="big", endpoint_name="Big")
        print(f"# 3,000 entities: {seconds:.2f} s")
        assert len(tables()) == 3000 and not told, told
        assert len(db.execute("SELECT * FROM s.thing2999 LIMIT 3").fetchall()) == 3


@test
def a_contract_of_any_version_is_as_its_definition_says():
    """A custom endpoint has any version; the definition tells contract 5."""
    document = json.loads((OURS / "contract5.json").read_text())
    for title in ("Default/26.300.001", "Own/1.0", "Own/27.000.001"):
        document["info"]["title"] = title
        name, _, version = title.partition("/")
        # Status is among the fields that the simulator takes for those of a switched-off feature.
        with defined(document, options=("--switched-off", "shown")):
            load("REST", "LIMIT TO (sales_order)", server="big", endpoint_name=name, endpoint_version=version)
            labels = db.execute("SELECT DISTINCT status, status_id FROM s.sales_order WHERE status IS NOT NULL").fetchall()
            assert ("Completed", "C") in labels, (title, labels)


@test
def into_a_schema_that_needs_quotes_and_without_a_search_path():
    schema = 'My "Schema" é'
    db.execute(f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE; CREATE SCHEMA {quoted(schema)}; SET search_path = ''")
    try:
        db.execute(f'IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO {quoted(schema)}')
        assert value(f"SELECT pg_catalog.obj_description({psycopg.sql.Literal(quoted(schema) + '.customer').as_string(db)}::pg_catalog.regclass)").startswith("Customers")
        assert db.execute("SELECT * FROM public.acumatica_diff(%s)", [schema]).fetchall() == []
    finally:
        db.execute(f"RESET search_path; DROP SCHEMA {quoted(schema)} CASCADE; SET client_min_messages = notice")


@test
def what_was_imported_can_be_dumped_and_restored():
    name = os.environ["PGDATABASE"]
    of(ODD, details="jsonb", linked="jsonb", case="preserve")

    def dump(database):
        text = subprocess.run(["pg_dump", "-s", "-n", "s", database], check=True, capture_output=True, text=True).stdout
        # Newer versions put random keys into it.
        return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    db.execute(f"DROP DATABASE IF EXISTS {name}_restored")
    db.execute(f"CREATE DATABASE {name}_restored")
    with connect(dbname=f"{name}_restored") as other:
        create_server(other, generated, "gen")
        script = "\n".join(dump(name))
        assert len(script) > 20_000
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", f"{name}_restored"], input=script, check=True, text=True, stdout=subprocess.DEVNULL)
        assert dump(f"{name}_restored") == dump(name)
    db.execute(f"DROP DATABASE {name}_restored")


@test
def a_database_in_another_encoding():
    name = f"{os.environ['PGDATABASE']}_latin1"
    db.execute(f"DROP DATABASE IF EXISTS {name}")
    db.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with connect(dbname=name) as latin:
        create_server(latin, sim)
        create_server(latin, generated, "gen")
        latin.execute("SET client_min_messages = notice")
        latin.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))

        def found(schema="s"):
            return {n for (n,) in latin.execute("SELECT relname FROM pg_class WHERE relkind = 'f' AND relnamespace = to_regnamespace(%s)", [f'"{schema}"']).fetchall()}

        load("OData", connection=latin)
        assert "größe_gewicht" in found() and len(found()) == 13, found()
        for named in ('"Größe & Gewicht"', "größe_gewicht"):
            load("OData", f"LIMIT TO ({named})", connection=latin)
            assert found() == {"größe_gewicht"}, (named, found())
            load("OData", f"EXCEPT ({named})", connection=latin)
            assert "größe_gewicht" not in found() and len(found()) == 12, (named, found())
        load("OData", 'LIMIT TO ("Größe & Gewicht")', into="größe", connection=latin)
        assert latin.execute("SELECT größe FROM größe.größe_gewicht LIMIT 1").fetchone()
        # A table whose names cannot be written in the encoding is left out with a NOTICE. A comment that cannot be written is
        # no error.
        load("REST", server="gen", endpoint_name="Odd", connection=latin)
        assert any('"Names" was left out' in notice for notice in notices), notices
        assert "names" not in found() and {"case_", "größe_gewicht", "größe_gewicht_zeilen_ä"} <= found(), found()
        assert latin.execute("SELECT obj_description('s.größe_gewicht'::regclass)").fetchone()[0].startswith("Ma")
        latin.execute("DROP SERVER gen CASCADE; DROP SERVER erp CASCADE")
    db.execute(f"DROP DATABASE {name}")


@test
def issue_4_6_locks_that_do_not_fit_are_told_with_the_number_that_does():
    now = int(value("SHOW max_locks_per_transaction"))
    with db.transaction(force_rollback=True):
        taken = 0
        with raises("53200", "max_locks_per_transaction") as found:
            while True:
                with db.transaction():
                    db.execute(f"SELECT pg_advisory_xact_lock(n) FROM generate_series({taken}, {taken + 499}) n")
                taken += 500
        assert "import" not in found["error"].diag.message_hint, "the hint of another statement"
        with raises("53200", "max_locks_per_transaction") as found:
            with db.transaction():
                for n in range(20):
                    db.execute(f'CREATE SCHEMA many{n}; IMPORT FOREIGN SCHEMA "REST" FROM SERVER erp INTO many{n}')
        hint = found["error"].diag.message_hint
        numbers = re.search(r"makes (\d+) tables.* max_locks_per_transaction = (\d+) \(now (\d+)\)", hint)
        assert numbers and int(numbers[3]) == now and int(numbers[2]) > now, hint
    # A smaller import succeeds, and its tables get comments.
    load("REST", 'LIMIT TO ("SalesOrder")')


# -- who may -----------------------------------------------------------------------------------------------------------


@test
def a_wrong_password():
    create_server(db, sim, "bad", password="not-the-pass")
    for remote in ("REST", "OData", "DAC"):
        with raises("28000", "did not accept the user name or password"):
            load(remote, server="bad")
    db.execute("DROP SERVER bad CASCADE")


@test
def rights_in_postgresql():
    db.execute("""SET client_min_messages = warning; DROP ROLE IF EXISTS importer; CREATE ROLE importer LOGIN;
        DROP SCHEMA IF EXISTS theirs CASCADE; CREATE SCHEMA theirs AUTHORIZATION importer; SET client_min_messages = notice""")
    statement = 'IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer) FROM SERVER erp INTO theirs'
    other = psycopg.connect("user=importer", autocommit=True)
    with raises("42501", "permission denied for foreign server erp"):
        other.execute(statement)
    db.execute("GRANT USAGE ON FOREIGN SERVER erp TO importer")
    other.execute(statement)
    assert list(tables("theirs")) == ["customer"]
    assert value("SELECT count(*) FROM pg_description WHERE objoid = 'theirs.customer'::regclass") > 0
    assert len(other.execute("SELECT * FROM theirs.customer LIMIT 3").fetchall()) == 3
    with raises("42501", "permission denied for schema s"):
        db.execute("DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s")
        other.execute(statement.replace("theirs", "s"))
    other.close()
    db.execute("DROP OWNED BY importer CASCADE; DROP ROLE importer")


@test
def without_a_user_mapping():
    db.execute(f"CREATE SERVER lonely FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '{sim.url}', company 'Company')")
    with raises("42704", "user mapping not found"):
        load("REST", server="lonely")
    db.execute("DROP SERVER lonely")


# -- what is wrong on the way ------------------------------------------------------------------------------------------


@test
def a_cancelled_import_ends_at_once_and_leaves_no_session():
    own = Sim("--scale", 0.01)
    create_server(db, own, "slow")
    for match, remote, kind in (("swagger.json", "REST", "delay"), ("swagger.json", "REST", "stall_body"),
                                ("$metadata", "DAC", "stall_body"), ("$metadata", "OData", "delay"),
                                ("$top=1", "OData", "delay"), ("$adHocSchema", "REST", "delay")):
        own.reset()
        own.fault(match, kind, ms=20000, bytes=3000, count=-1)
        with connect() as backend:
            outcome = {}

            def work():
                try:
                    load(remote, server="slow", into="cancelled", connection=backend, **({"custom_fields": "true"} if "adHoc" in match else {}))
                except psycopg.Error as error:
                    outcome["error"] = error
                outcome["at"] = time.monotonic()

            thread = threading.Thread(target=work)
            thread.start()
            eventually(lambda: own.requests(match), 15)
            time.sleep(0.1)
            cancelled = time.monotonic()
            backend.cancel()
            thread.join(15)
            assert not thread.is_alive(), (match, kind)
            assert outcome["error"].sqlstate == "57014", outcome
            assert outcome["at"] - cancelled < 0.3, (match, kind, outcome["at"] - cancelled)
        eventually(lambda: not own.sessions())
    own.reset()
    assert not tables("cancelled")
    load("REST", "LIMIT TO (customer)", server="slow")
    db.execute("DROP SERVER slow CASCADE")
    own.stop()


@test
def failures_on_the_way_are_repeated_or_told():
    sim.reset()
    sim.fault("$metadata", "close", bytes=5000)
    load("OData", 'LIMIT TO ("BI-Customers")')
    for kind in ("truncate", "html", "empty"):
        for match, remote in (("swagger.json", "REST"), ("$metadata", "DAC"), ("$metadata", "OData")):
            sim.reset()
            sim.fault(match, kind, bytes=2000, count=-1)
            with raises("08P01"):
                load(remote)
    sim.reset()
    sim.fault("swagger.json", "status", status=403, count=-1)
    with raises("42501"):
        load("REST")
    sim.reset()
    # An inquiry that fails otherwise than for want of rights is told of, too, and the rest is there.
    sim.fault("BI-Inventory?", "status", status=500, count=-1)
    told, _ = load("OData")
    assert any("BI-Inventory" in n for n in told) and "bi_customers" in tables(), told
    sim.reset()


end(generated)
