#!/usr/bin/env python3
"""Every way to sign in: each strategy on each interface, the options that it takes, the message of each refusal, and
acumatica_check(). OAuth in the browser and its tokens are in sign_in_oauth.py."""

import json
import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, eventually, finish, options, raises, test
from signing_in import APP, CLIENT, DENIED, LOGIN, ROWS, STRATEGIES, authorize, check, count, db, each, expire, hearing, in_one_seat, mapping, server, site


# -- strategies and interfaces -----------------------------------------------------------------------------------------

SURFACES = {"rest": "2024R2", "gi_v3": "2023R2", "gi_v4": "2024R2", "dac_v4": "2024R2", "all_surfaces": "2024R2"}


@each(*[f"{strategy}_{surface}" for surface in SURFACES for strategy in STRATEGIES])
def comes_in_one_session(combination):
    strategy, surface = combination.split("_", 1)
    tables = ("rest", "gi", "dac", "dac", "gi", "rest") if surface == "all_surfaces" else (surface.split("_")[0],)
    with site("--release", SURFACES[surface]) as sim:
        server(sim, strategy)
        sim.control("DELETE", "sessions")
        sim.control("DELETE", "seats")
        for table in tables:
            assert count(table) == ROWS
        assert in_one_seat(sim) and sim.control("GET", "seats")["opened"] == 1


# -- options -----------------------------------------------------------------------------------------------------------

PASSWORD_OPTIONS = ("username", "password")
# Options of user mappings by strategy: those that are refused, and those that are required.
MAPPINGS = {
    "Basic": (("client_id", "client_secret", "refresh_token", "access_token"), PASSWORD_OPTIONS),
    "Cookie": (("client_id", "client_secret", "refresh_token", "access_token"), PASSWORD_OPTIONS),
    "OAuthPassword": (("refresh_token", "access_token"), (*PASSWORD_OPTIONS, "client_id")),
    "OAuth": ((*PASSWORD_OPTIONS, "access_token"), ("client_id",)),
    "OAuthImplicit": ((*PASSWORD_OPTIONS, "client_id", "client_secret", "refresh_token"), ("access_token",)),
}


@each(*STRATEGIES)
def refuses_mapping_options_that_do_not_fit_or_lack(strategy):
    unfit, required = MAPPINGS[strategy]
    good = {"access_token": "x"} if strategy == "OAuthImplicit" else mapping(None, strategy)
    server("https://erp.example", strategy, good, authorized=False)
    create, alter = "CREATE USER MAPPING FOR PUBLIC", "ALTER USER MAPPING FOR CURRENT_USER"
    for name in unfit:
        for statement in (f"{create} SERVER erp OPTIONS ({options({**good, name: 'x'})})", f"{alter} SERVER erp OPTIONS (ADD {name} 'x')"):
            with raises("HV00D", f'option "{name}" cannot be used with auth_strategy "{strategy}"', "It is for auth_strategy", " uses "):
                db.execute(statement)
    for name in required:
        fewer = {key: good[key] for key in good if key != name} or {"proxy_user": "x", "proxy_password": "x"}
        for statement in (f"{create} SERVER erp OPTIONS ({options(fewer)})", f"{alter} SERVER erp OPTIONS (DROP {name})"):
            with raises("HV00J", f'has no option "{name}"', f'auth_strategy "{strategy}" needs it', "ALTER USER MAPPING"):
                db.execute(statement)
    db.execute("DROP SERVER erp CASCADE")


@test
def server_options_that_do_not_fit_are_refused_with_the_reason():
    for strategy, option, value, sqlstate, words in (
        ("OAuth", "scope", "api api:concurrent_access", "HV024", "would open an API session of its own"),
        ("OAuthPassword", "scope", "api:concurrent_access", "HV024", "would open an API session of its own"),
        ("OAuth", "scope", "offline_access", "HV024", "must contain api"),
        ("OAuth", "callback_url", "nonsense", "HV024", "http://localhost:8021/acumatica"),
        ("Basic", "callback_url", "http://localhost:1/", "HV00D", "It is for auth_strategy OAuth."),
        ("OAuthPassword", "callback_url", "http://localhost:1/", "HV00D", "It is for auth_strategy OAuth."),
        ("Cookie", "scope", "api", "HV00D", "It is for auth_strategy OAuth, OAuthPassword"),
        ("OAuthImplicit", "scope", "api", "HV00D", "It is for auth_strategy OAuth, OAuthPassword"),
        ("Kerberos", "company", "x", "HV024", "Basic, Cookie, OAuth, OAuthPassword, OAuthImplicit"),
        ("Basic", "max_sessions", "0", "HV024", "from 1 to"),
        ("Basic", "idle_logout", "0", "HV024", "from 1 to"),
    ):
        given = {"url": "https://erp.example", "auth_strategy": strategy, option: value}
        with raises(sqlstate, words):
            db.execute(f"CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS ({options(given)})")
        db.execute("CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'https://erp.example', auth_strategy 'Basic')")
        with raises(sqlstate, words):
            db.execute(f"ALTER SERVER erp OPTIONS (SET auth_strategy '{strategy}', ADD {option} '{value}')")
        db.execute("DROP SERVER erp")


@test
def password_and_password_file_exclude_each_other():
    with raises("HV00D", "exclude each other"):
        server("https://erp.example", "Basic", {**LOGIN, "password_file": "/etc/hostname"})


@test
def another_strategy_warns_and_the_mapping_puts_it_right():
    with site() as sim:
        server(sim, "Basic")
        assert count() == ROWS
        with hearing() as heard:
            db.execute("ALTER SERVER erp OPTIONS (SET auth_strategy 'OAuthPassword')")
        assert [note[0] for note in heard] == ["WARNING"] and "no longer fits" in heard[0][1], heard
        assert not sim.sessions()
        with raises("HV00J", 'no option "client_id"'):
            count()
        with hearing() as heard:
            db.execute(f"ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (ADD client_id '{CLIENT}', ADD client_secret 'client-secret')")
        assert not heard and count() == ROWS
        assert [session["how"] for session in sim.sessions()] == ["bearer"]


# -- refusals ----------------------------------------------------------------------------------------------------------


@test
def a_wrong_password_is_told():
    with site() as sim:
        for strategy in ("Basic", "Cookie", "OAuthPassword"):
            server(sim, strategy, {**mapping(sim, strategy), "password": "pass-of-nobody"})
            for table in ("rest", "gi", "dac"):
                with raises("28000", DENIED, "ALTER USER MAPPING"):
                    count(table)
            db.execute("ALTER USER MAPPING FOR CURRENT_USER SERVER erp OPTIONS (SET password 'pass-of-admin')")
            assert count() == ROWS
            # The password changes while it is in use.
            sim.control("POST", "users", {"name": "admin", "password": "pass-changed"})
            sim.control("DELETE", "sessions")
            expire(sim, refresh_tokens=True)
            with raises("28000", DENIED):
                count()
            sim.control("POST", "users", {"name": "admin", "password": "pass-of-admin"})


@test
def a_wrong_client_is_told():
    with site() as sim:
        for wrong in ({"client_secret": "wrong"}, {"client_id": CLIENT.replace("1", "2")}):
            server(sim, "OAuthPassword", {**LOGIN, **APP, **wrong})
            with raises("28000", "did not accept the client ID or the client secret", "SM303010"):
                count()
        server(sim, "OAuth", {**APP, "client_secret": "wrong"}, authorized=False)
        with raises("28000", "did not accept the client ID or the client secret"):
            authorize()


@test
def a_flow_that_the_application_does_not_allow_is_told():
    with site() as sim:
        for words in ("unauthorized_client", "unsupported_grant_type"):
            server(sim, "OAuthPassword")
            sim.fault("connect/token", "status", status=400, body=json.dumps({"error": words}))
            with raises("28000", "does not allow this way to sign in", words, "Resource Owner Password Credentials"):
                count()
        sim.fault("connect/token", "status", status=400, body='{"error": "invalid_scope"}')
        with raises("28000", "did not accept the scope", '"scope"'):
            count()
        sim.fault("connect/token", "html")
        with raises("08P01", "access token", '"url"'):
            count()


@test
def another_tenant_is_told():
    with site() as sim:
        for strategy in ("OAuth", "OAuthPassword"):
            with raises("HV024", 'belongs to tenant "Other"', 'to company "Company"', '"company"'):
                server(sim, strategy, {**mapping(sim, strategy), "client_id": CLIENT.replace("Company", "Other")})
                count()
            with raises("HV024", "names no tenant", "GUID@Tenant"):
                server(sim, strategy, {**mapping(sim, strategy), "client_id": CLIENT.split("@")[0]})
                count()
    # On a site with one tenant any name is accepted.
    with site("--tenant", "Real") as sim:
        for strategy in STRATEGIES:
            for table in ("rest", "gi", "dac"):
                with raises("28000", 'signed in to company "Real", not "Company"', '"company"'):
                    server(sim, strategy)
                    count(table)
                eventually(lambda: not sim.sessions())


@test
def a_clock_that_is_off_is_told():
    for offset, direction in ((600, "10 minutes behind"), (-600, "10 minutes ahead of")):
        with site("--clock-offset", offset) as sim:
            server(sim)
            assert count() == ROWS
            sim.fault("SalesOrder", "status", status=401, count=-1)
            for connection in (db, connect()):
                with raises("28000", f"the clock of this machine is {direction} the server's, which refuses", "Set the clock"):
                    count("rest", connection)
            sim.control("DELETE", "faults")
            ok, told = check()["clock"]
            assert ok is False and direction in told and "Set the clock" in told, told


# -- acumatica_check ---------------------------------------------------------------------------------------------------

STEPS = ["url", "user mapping", "name service", "TLS", "clock", "instance", "endpoint", "sign-in", "tenant", "scope",
         "token life", "seats", "REST", "generic inquiries", "DAC"]  # fmt: skip


@each(*STRATEGIES)
def check_goes_the_whole_way_and_signs_out(strategy):
    with site() as sim:
        server(sim, strategy)
        steps = check()
        assert list(steps) == STEPS, list(steps)
        # Without a refresh token the step "token life" fails.
        assert {step for step, (ok, _) in steps.items() if ok is False} == ({"token life"} if strategy == "OAuthImplicit" else set()), steps
        assert steps["tenant"] == (True, "Company\nNone"), steps
        assert all(steps[step][0] for step in ("instance", "endpoint", "sign-in", "seats", "REST", "generic inquiries", "DAC"))
        assert not sim.sessions() and sim.control("GET", "seats")["peak"] == 1
        assert count() == ROWS
        check()
        assert not sim.sessions() and count() == ROWS


@test
def check_says_which_step_fails_and_never_raises():
    def failing(step, words, strategy="Basic", user=None, address=None, authorized=True, **more):
        server(address or sim, strategy, user, authorized, **more)
        steps = check()
        assert steps.get(step, (None, f"no step {step}: {steps}"))[0] is False and words in steps[step][1], steps
        behind = list(steps)[list(steps).index(step) + 1 :]
        eventually(lambda: not sim.sessions())
        return [other for other in behind if steps[other][0] is not None]

    with site() as sim:
        failing("name service", "could not find the host", address="https://no-such-host.invalid")
        for scheme in ("http", "https"):
            assert not failing("instance", "could not connect", address=f"{scheme}://127.0.0.1:1")
        assert not failing("sign-in", DENIED, user={**LOGIN, "password": "pass-of-nobody"})
        failing("endpoint", "no version 1.200.001", endpoint_version="1.200.001")
        failing("endpoint", '"Nowhere"', endpoint_name="Nowhere")
        assert not failing("sign-in", "acumatica_authorize_url('erp')", "OAuth", APP, authorized=False)
        assert not failing("sign-in", "client secret", "OAuthPassword", {**LOGIN, **APP, "client_secret": "wrong"})
        for fault, step, words in ((("swagger.json", 403), "REST", "permission denied"), (("OData|odata", 403), "DAC", "permission denied")):
            sim.fault(fault[0], "status", status=fault[1], count=-1)
            failing(step, words, "Cookie")
            sim.control("DELETE", "faults")
        sim.control("DELETE", "tokens")
    with site("--tenant", "Real") as sim:
        failing("sign-in", 'signed in to company "Real"')
    with site(seats=1) as sim:
        # Another client has the only seat.
        urllib.request.urlopen(f"{sim.origin}/entity/auth/login", b'{"name": "admin", "password": "pass-of-admin"}')
        server(sim, "Cookie")
        ok, told = check()["sign-in"]
        assert ok is False and "all API sessions of the Acumatica licence are in use" in told, told


@test
def check_tells_a_user_mapping_that_is_of_no_use():
    with site() as sim:
        app = {**LOGIN, **APP}
        for strategy, user, then, words in (
            ("OAuthPassword", app, "ALTER SERVER erp OPTIONS (SET company 'Other')", "belongs to tenant"),
            ("OAuthPassword", app, "ALTER SERVER erp OPTIONS (SET auth_strategy 'Basic')", "cannot be used with auth_strategy"),
            ("Basic", LOGIN, "DROP USER MAPPING FOR CURRENT_USER SERVER erp", "user mapping"),
            ("Basic", {**LOGIN, "password": "acumatica-sealed:1:AAAA"}, "SELECT 1", "sealed"),
            ("Basic", {"username": "admin", "password_file": "/no/such/file"}, "SELECT 1", "could not read the file"),
        ):
            server(sim, strategy, user)
            db.execute(then)
            steps = check()
            ok, told = steps["user mapping"]
            assert ok is False and words in told and list(steps) == STEPS, steps
            assert all(ok is None for step, (ok, _) in steps.items() if step not in ("url", "user mapping")), steps
        assert not sim.requests()


finish()
