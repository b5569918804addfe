#!/usr/bin/env python3
"""Secrets of user mappings: sealed ones, their key, secrets in files; none can be read anywhere."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, eventually, finish, options, raises, test
from session_sites import ADMIN, APP, DATA, ROWS, another_site, authorize, count, db, mode, roles, seal, seats, server, site


@test
def sealed_secrets_are_as_good_as_plain_ones():
    with site() as sim:
        assert seal("x") != seal("x")
        form = "grant_type=password&scope=api+offline_access&username=admin&password=pass-of-admin&" + "&".join(f"{k}={v}" for k, v in APP.items())
        with urllib.request.urlopen(f"{sim.origin}/identity/connect/token", form.encode()) as answer:
            tokens = json.load(answer)
        app = {**APP, "client_secret": seal(APP["client_secret"])}
        for strategy, user in (
            ("Basic", {**ADMIN, "password": seal(ADMIN["password"])}),
            ("Cookie", {**ADMIN, "password": seal(ADMIN["password"])}),
            ("OAuthPassword", {**ADMIN, **app, "password": seal(ADMIN["password"])}),
            ("OAuth", {**app, "refresh_token": seal(tokens["refresh_token"])}),
            ("OAuthImplicit", {"access_token": seal(tokens["access_token"])}),
        ):
            server(sim, user=user, auth_strategy=strategy)
            assert count("rest") == ROWS == count("gi")
            dumped = subprocess.run(["pg_dump", "--schema-only"], check=True, capture_output=True, text=True).stdout
            plain = sim.control("GET", "secrets")
            assert "acumatica-sealed:" in dumped and not any(secret in dumped for secret in plain)


@contextlib.contextmanager
def another_key():
    """In the block the cluster has another key."""

    def set_to(value, file):
        db.execute(f"ALTER SYSTEM SET acumatica_fdw.key_file = {value}")
        db.execute("SELECT pg_reload_conf()")
        eventually(lambda: db.execute("SHOW acumatica_fdw.key_file").fetchone() == (file,))

    directory = tempfile.mkdtemp(dir=DATA)
    os.chown(directory, os.stat(DATA).st_uid, -1)
    set_to(f"'{directory}/key'", f"{directory}/key")
    try:
        yield pathlib.Path(directory, "key")
    finally:
        set_to("DEFAULT", "acumatica_fdw/key")
        shutil.rmtree(directory)


@test
def a_secret_sealed_with_another_key_is_told():
    with site(), connect() as backend:
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
        assert count("gi", backend) == ROWS
        with another_key() as key:
            for connection in (backend, connect()):
                with raises("F0000", "a sealed secret cannot be opened", "acumatica_fdw.key_file", "acumatica_seal()"):
                    count("rest", connection)
            db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
            assert count("rest", backend) == ROWS and mode(key) == 0o600
            key.chmod(0o640)
            with raises("F0000", "could not use the key file", "mode 0640"), connect() as third:
                count("rest", third)


@test
def issue_5_sealed_text_is_of_no_use_to_other_servers_and_roles():
    with site() as sim, another_site() as elsewhere, roles("alice", "bob") as (alice, bob):
        mine = seal("pass-of-admin", "alice")
        both = "CREATE USER MAPPING FOR {} SERVER erp OPTIONS (username 'admin', password '{}')"
        for role in ("alice", "bob"):
            db.execute(both.format(role, mine))
        assert count("rest", alice) == ROWS
        with raises("F0000", "a sealed secret cannot be opened", '"password"', 'another role than "bob"', "acumatica_seal"):
            count("rest", bob)
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{mine}')")
        with raises("F0000", 'another role than "public"'):
            count()
        # A secret is bound to the name of its role, also for a backend that has read it before.
        assert count("rest", alice) == ROWS
        db.execute("ALTER ROLE alice RENAME TO carol")
        with raises("F0000", 'another role than "carol"'):
            count("rest", alice)
        db.execute("ALTER ROLE carol RENAME TO alice")
        assert count("rest", alice) == ROWS
        # Without a role the secret is sealed for the user mapping of the caller.
        own = bob.execute("SELECT acumatica_seal('pass-of-admin', 'erp')").fetchone()[0]
        db.execute(f"ALTER USER MAPPING FOR bob SERVER erp OPTIONS (SET password '{own}')")
        assert count("rest", bob) == ROWS
        # A user who may create servers cannot send the secret to another host.
        db.execute("GRANT USAGE ON FOREIGN DATA WRAPPER acumatica_fdw TO bob; GRANT CREATE ON SCHEMA public TO bob")
        bob.execute(f"""
            CREATE SERVER evil FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({options({"url": elsewhere.url, "company": "Company"})});
            CREATE USER MAPPING FOR bob SERVER evil OPTIONS (username 'admin', password '{own}');
            CREATE FOREIGN TABLE bait ("OrderType" text) SERVER evil OPTIONS (entity 'SalesOrder')""")
        with raises("F0000", "a sealed secret cannot be opened", "another host"):
            bob.execute("SELECT * FROM bait")
        assert not elsewhere.requests()
        bob.execute("DROP SERVER evil CASCADE")
        db.execute("REVOKE USAGE ON FOREIGN DATA WRAPPER acumatica_fdw FROM bob; REVOKE CREATE ON SCHEMA public FROM bob")
        # Another directory of the same host.
        db.execute(f"ALTER SERVER erp OPTIONS (SET url '{sim.url}/')")
        assert count("rest", alice) == ROWS
    for call, sqlstate, words in (("'x'", "22004", "for a server and a role"), ("'x', 'nowhere'", "42704", "nowhere"), ("'x', 'erp', 'nobody'", "42704", "nobody")):
        with site(), raises(sqlstate, words):
            db.execute(f"SELECT acumatica_seal({call})")
    with site():
        assert db.execute("SELECT acumatica_seal(NULL, 'erp')").fetchone() == (None,)


@test
def issue_5_text_that_was_sealed_for_all_is_read_with_a_word():
    with site(), another_key() as key:
        # What version 1 made of pass-of-admin with this key.
        key.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        key.chmod(0o600)
        os.chown(key, os.stat(DATA).st_uid, -1)
        old = "acumatica-sealed:1:AQEBAQEBAQEBAQEBTnW+TRIJDyvE5hJLPG2/nu+sZ+4rJDVHjEQtcF4="
        db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{old}')")
        with connect() as backend:
            heard = []
            backend.execute("SET client_min_messages = notice")
            backend.add_notice_handler(lambda note: heard.append((note.severity, note.message_primary, note.message_hint)))
            assert count("rest", backend) == count("gi", backend) == ROWS
            assert len(heard) == 1 and heard[0][0] == "NOTICE" and '"password"' in heard[0][1], heard
            assert "acumatica_seal('…', 'erp', 'public')" in heard[0][2] and "ALTER USER MAPPING FOR public SERVER erp" in heard[0][2], heard
            db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER erp OPTIONS (SET password '{seal('pass-of-admin')}')")
            assert count("rest", backend) == ROWS and len(heard) == 1


@test
def another_key_makes_no_more_sessions_than_max_sessions():
    with site() as sim, connect() as one:
        assert count("rest", one) == ROWS
        with another_key(), connect() as other:
            for _ in range(2):
                assert count("rest", one) == ROWS == count("rest", other)
            # Sessions of the old key cannot be signed out of.
            assert seats(sim)["peak"] <= 2, seats(sim)


@test
def after_a_change_of_key_one_can_authorize_again():
    with site(auth_strategy="OAuth", user=APP), connect() as backend:
        assert count("rest", backend) == ROWS
        db.execute("SELECT acumatica_authorize_url('erp')")
        with another_key():
            with connect() as other, raises("28000", "acumatica_authorize_url('erp')"):
                count("rest", other)
            with connect() as other:
                authorize(other)
                assert count("rest", other) == ROWS == count("rest", backend)


@test
def nothing_on_disk_is_readable():
    with site(auth_strategy="OAuth", user=APP) as sim:
        db.execute("SELECT acumatica_authorize_url('erp')")
        assert count() == ROWS
        secrets = [*sim.control("GET", "secrets"), APP["client_secret"]]
        base = pathlib.Path(DATA, "acumatica_fdw")
        files = [path for path in base.rglob("*") if path.is_file()]
        assert len(secrets) > 5 and {path.name.split(".")[0] for path in files} >= {"session", "grant", "pending", "key", "user", "queue"}
        for path in [base, *base.rglob("*")]:
            assert mode(path) == (0o600 if path.is_file() else 0o700), (path, oct(mode(path)))
        for path in files:
            text = path.read_text()
            assert not any(secret in text for secret in secrets), path


@test
def files_hold_secrets_for_those_who_may_read_files():
    with site() as sim, roles("alice") as (alice,):
        directory = tempfile.mkdtemp(dir=DATA)
        for name, text in (("password", ADMIN["password"]), ("client", "client-secret\r\n")):
            pathlib.Path(directory, name).write_text(text)
            os.chmod(f"{directory}/{name}", 0o600)
            os.chown(f"{directory}/{name}", os.stat(DATA).st_uid, -1)
        os.chown(directory, os.stat(DATA).st_uid, -1)
        login = {"username": "admin", "password_file": f"{directory}/password"}
        app = {"client_id": APP["client_id"], "client_secret_file": f"{directory}/client"}
        for strategy, user in (("Basic", login), ("OAuthPassword", {**login, **app})):
            server(sim, user=user, auth_strategy=strategy)
            db.execute("GRANT USAGE ON FOREIGN SERVER erp TO alice; GRANT SELECT ON rest, gi TO alice")
            assert count() == ROWS == count("gi", alice)
            # A file is read at each scan: nothing tells the backend that it has changed.
            pathlib.Path(directory, "password").write_text("wrong")
            with raises("28000"):
                count()
            pathlib.Path(directory, "password").write_text(ADMIN["password"])
            assert count() == ROWS
            with raises("42501", '_file"', "pg_read_server_files"):
                alice.execute(f"CREATE USER MAPPING FOR alice SERVER erp OPTIONS ({options(user)})")
        server(sim, user={**login, "password_file": f"{directory}/none"})
        with raises("HV024", f'could not read the file "{directory}/none"'):
            count()
        shutil.rmtree(directory)


finish()
