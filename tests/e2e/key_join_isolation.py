#!/usr/bin/env python3
"""Key joins beside other transactions, roles and the rest of PostgreSQL: row locks that are checked again, cursors, COPY,
materialised views, row security, mappings of other roles, prepared statements, savepoints, parallel workers."""

import os
import sys

import psycopg

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, eventually, finish, in_background, raises, test

sim = Sim("--seats", 0, "--scale", 1)
db = connect()
version = db.info.server_version // 10000
create_server(db, sim)
db.execute("""
    CREATE FOREIGN TABLE orders (
        type text OPTIONS (field 'OrderType', key '1') NOT NULL,
        nbr text OPTIONS (field 'OrderNbr', key '2') NOT NULL,
        total numeric OPTIONS (field 'CuryOrderTotal'),
        customer int OPTIONS (field 'CustomerID')
    ) SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_SO_SOOrder', rows '1000000');
    CREATE TABLE copy AS TABLE orders;
    ALTER TABLE copy ADD PRIMARY KEY (type, nbr);
    CREATE TABLE wanted (n int PRIMARY KEY, nbr text, total numeric, owner text DEFAULT 'clerk');
    CREATE TABLE template AS SELECT n::int, nbr, total FROM
        (SELECT row_number() OVER (ORDER BY nbr) AS n, nbr, total FROM copy WHERE type = 'SO') o WHERE n <= 40;
    INSERT INTO template VALUES (41, 'none', 1), (42, NULL, 2);
    INSERT INTO wanted (n, nbr, total) TABLE template;
    ANALYZE copy, wanted""")
JOIN = "o.nbr = w.nbr AND o.type = 'SO'"


def rows(query, connection=db):
    return connection.execute(query).fetchall()


def value(query):
    return rows(query)[0][0]


def has_key_join(query, connection=db):
    plan = "\n".join(line for line, in rows("EXPLAIN " + query, connection))
    assert "Acumatica Key Join" in plan, plan
    return plan


def asked(text=""):
    return [entry["query"] for entry in sim.requests("SOOrder") if text in entry["query"]]


def outcome_beside(change, statement):
    """What the statement returns and leaves behind, if it waits for a transaction that makes the change."""
    db.execute("TRUNCATE wanted; INSERT INTO wanted (n, nbr, total) TABLE template; ANALYZE wanted")
    other = connect()
    try:
        with db.transaction():
            db.execute(change)
            waiting = in_background(statement, other)
            eventually(lambda: value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
        returned = sorted(waiting(), key=str)
    finally:
        other.close()
    return returned, rows("SELECT n, nbr, total FROM wanted ORDER BY n")


# What another transaction does to the second row: a value, the key (to one of an order, and to one of none), all of it. And to
# several rows: they are checked by one plan, which begins again for each.
CHANGES = (
    "UPDATE wanted SET total = -1 WHERE n = 2",
    "UPDATE wanted SET nbr = (SELECT nbr FROM template WHERE n = 9) WHERE n = 2",
    "UPDATE wanted SET nbr = 'gone' WHERE n = 2",
    "DELETE FROM wanted WHERE n = 2",
    "UPDATE wanted SET total = -n WHERE n <= 3",
    "UPDATE wanted w SET nbr = t.nbr FROM template t WHERE t.n = w.n % 2 + 11 AND w.n <= 3",
    "UPDATE wanted SET nbr = nullif(nbr, '000002'), total = -n WHERE n <= 3",
)
BESIDE = {
    "inner": f"SELECT w.n, w.total, o.total FROM wanted w JOIN orders o ON {JOIN} WHERE w.n <= 3 FOR UPDATE OF w",
    "filter": f"SELECT w.n, o.total FROM wanted w JOIN orders o ON {JOIN} WHERE w.n <= 3 AND w.total > 0 FOR UPDATE OF w",
    "left": f"SELECT w.n, w.nbr, o.nbr FROM wanted w LEFT JOIN orders o ON {JOIN} WHERE w.n <= 3 FOR UPDATE OF w",
    "semi": f"SELECT w.n FROM wanted w WHERE EXISTS (SELECT FROM orders o WHERE {JOIN}) AND w.n <= 3 FOR UPDATE",
    "anti": f"SELECT w.n FROM wanted w WHERE NOT EXISTS (SELECT FROM orders o WHERE {JOIN} AND o.total < 0) AND w.n <= 3 FOR UPDATE",
    "share": f"SELECT w.n, o.total FROM wanted w JOIN orders o ON {JOIN} WHERE w.n <= 3 FOR NO KEY UPDATE OF w",
    "two": f"""SELECT w.n, o.total, p.total FROM wanted w JOIN orders o ON {JOIN} LEFT JOIN orders p ON p.nbr = w.nbr AND p.type = 'CM'
        WHERE w.n <= 3 FOR UPDATE OF w""",
    "update": f"UPDATE wanted w SET total = w.total + o.total FROM orders o WHERE {JOIN} AND w.n <= 3 RETURNING w.n, w.total, o.nbr",
    "delete": f"DELETE FROM wanted w USING orders o WHERE {JOIN} AND w.n <= 3 RETURNING w.n, o.nbr",
}


@test
def rows_that_another_transaction_changed_are_checked_again():
    for name, statement in BESIDE.items():
        assert has_key_join(statement).count("Acumatica Key Join") == (2 if name == "two" else 1), name
        for change in CHANGES:
            got = outcome_beside(change, statement)
            truth = outcome_beside(change, statement.replace("orders", "copy"))
            assert got == truth, (name, change, got[0], truth[0])


@test
def merge_checks_changed_rows_again():
    # A key join is the source, and the target is part of none.
    by_source = f"""MERGE INTO wanted t USING (SELECT w.n, o.total FROM template w JOIN orders o ON {JOIN} WHERE w.n <= 3) s ON s.n = t.n
        WHEN MATCHED AND t.total < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET total = t.total + s.total"""
    # The target itself is asked for by keys.
    by_target = """MERGE INTO wanted w USING (SELECT * FROM orders WHERE type = 'SO') o ON o.nbr = w.nbr AND w.n <= 3
        WHEN MATCHED AND w.total < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET total = w.total + o.total"""
    # MERGE returns rows from 17 on; what it leaves behind tells enough.
    db.execute("CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; END $$")
    for statement in (by_source, by_target):
        has_key_join(statement)
        for change in CHANGES:
            got = outcome_beside(change, f"SELECT run($run${statement}$run$)")
            truth = outcome_beside(change, f"SELECT run($run${statement.replace('orders', 'copy')}$run$)")
            assert got == truth, (statement, change, got, truth)
    db.execute("DROP FUNCTION run(text)")


ALL = f"SELECT w.n, o.total FROM wanted w LEFT JOIN orders o ON {JOIN}"


def fresh():
    db.execute("TRUNCATE wanted; INSERT INTO wanted (n, nbr, total) TABLE template; ANALYZE wanted")


@test
def cursors_move_both_ways_stop_in_the_middle_and_outlive_their_transaction():
    fresh()
    has_key_join(ALL)
    truth = rows(ALL)
    assert len(truth) == 42
    with db.transaction():
        db.execute(f"DECLARE c SCROLL CURSOR FOR {ALL}")
        assert rows("FETCH 5 FROM c") == truth[:5]
        assert rows("FETCH BACKWARD 3 FROM c") == truth[3:0:-1]
        assert rows("FETCH ABSOLUTE 20 FROM c") == truth[19:20]
        assert rows("FETCH RELATIVE -2 FROM c") == truth[17:18]
        assert rows("FETCH LAST FROM c") == truth[-1:] and rows("FETCH NEXT FROM c") == []
        assert rows("FETCH FIRST FROM c") == truth[:1]
    # A plain one moves forward only.
    with raises("55000"), db.transaction():
        db.execute(f"DECLARE c NO SCROLL CURSOR FOR {ALL}; FETCH 3 FROM c")
        db.execute("FETCH BACKWARD 1 FROM c")
    with db.transaction():
        db.execute(f"DECLARE c CURSOR WITH HOLD FOR {ALL}")
        first = rows("FETCH 4 FROM c")
    sim.reset()
    assert first + rows("FETCH ALL FROM c") == truth and not asked()
    db.execute("CLOSE c")
    # Two at a time, of which one is closed before it has read all.
    with db.transaction():
        db.execute(f"DECLARE one CURSOR FOR {ALL}")
        db.execute(f"DECLARE two CURSOR FOR {ALL} ORDER BY w.n DESC")
        pairs = [(rows("FETCH 3 FROM one"), rows("FETCH 3 FROM two")) for _ in range(4)]
        assert sum((one for one, _ in pairs), []) == truth[:12]
        assert sum((two for _, two in pairs), []) == sorted(truth, reverse=True)[:12]
        db.execute("CLOSE one")
        assert rows("FETCH ALL FROM two") == sorted(truth, reverse=True)[12:]


@test
def a_cursor_goes_on_after_a_savepoint_is_rolled_back():
    fresh()
    truth = rows(ALL)
    with db.transaction():
        db.execute(f"DECLARE c CURSOR FOR {ALL}")
        got = rows("FETCH 5 FROM c")
        db.execute("SAVEPOINT s")
        got += rows("FETCH 5 FROM c")
        db.execute(f"DECLARE inside CURSOR FOR {ALL}")
        rows("FETCH 15 FROM inside")
        with raises("22012"):
            db.execute(f"SELECT 1 / 0 FROM wanted w JOIN orders o ON {JOIN}")
        db.execute("ROLLBACK TO s")
        with raises("34000"):
            db.execute("FETCH 1 FROM inside")
        db.execute("ROLLBACK TO s")
        got += rows("FETCH ALL FROM c")
    assert got == truth
    # A request that fails ends the cursor, not the transaction.
    with db.transaction():
        db.execute(f"DECLARE c CURSOR FOR {ALL}")
        rows("FETCH 1 FROM c")
        db.execute("SAVEPOINT s")
        sim.fault("SOOrder", "status", status=403, count=-1)
        try:
            db.execute("FETCH ALL FROM c")
            raise AssertionError("the request did not fail")
        except psycopg.Error:
            sim.reset()
        db.execute("ROLLBACK TO s")
        with raises("55000"):
            db.execute("FETCH 1 FROM c")
        db.execute("ROLLBACK TO s")
        assert rows(ALL) == truth


@test
def copy_writes_the_rows_of_a_key_join():
    fresh()
    with db.cursor() as cursor, cursor.copy(f"COPY ({ALL} ORDER BY 1) TO STDOUT") as copy:
        got = [(int(n), total) for n, total in copy.rows()]
    assert got == [(n, None if total is None else str(total)) for n, total in rows(ALL + " ORDER BY 1")] and len(got) == 42


@test
def a_materialised_view_is_refreshed_beside_its_readers():
    fresh()
    db.execute(f"CREATE MATERIALIZED VIEW seen AS {ALL}; CREATE UNIQUE INDEX ON seen (n)")
    try:
        db.execute("UPDATE wanted SET nbr = (SELECT nbr FROM template WHERE n = 9) WHERE n = 2; DELETE FROM wanted WHERE n = 5; "
                   "INSERT INTO wanted (n, nbr) VALUES (50, (SELECT nbr FROM template WHERE n = 7))")
        sim.reset()
        reader = connect()
        with reader.transaction():
            before = rows("SELECT * FROM seen ORDER BY 1", reader)
            db.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY seen")
            assert len(before) == 42
        reader.close()
        assert asked() and all("(OrderNbr " in query for query in asked()), asked()
        got = rows("SELECT * FROM seen ORDER BY 1")
        assert got == rows(ALL.replace("orders", "copy") + " ORDER BY 1") and got != before
    finally:
        db.execute("DROP MATERIALIZED VIEW seen")


# Notices of a function that tells what it sees.
LEAKY = """CREATE FUNCTION {name}(text, numeric DEFAULT 0) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0001 AS
    $$ BEGIN RAISE NOTICE '% %', $1, $2; RETURN true; END $$"""


class Noticed:
    """The notices of a connection."""

    def __init__(self, connection):
        self.texts = []
        connection.execute("SET client_min_messages = notice")
        connection.add_notice_handler(lambda diagnostic: self.texts.append(diagnostic.message_primary))


def as_clerk(**options):
    connection = connect(**options)
    connection.execute("SET SESSION AUTHORIZATION clerk")
    return connection


def with_roles():
    db.execute("""DROP ROLE IF EXISTS clerk, boss; CREATE ROLE clerk; CREATE ROLE boss;
        GRANT CREATE, USAGE ON SCHEMA public TO boss; GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT ON wanted, template, orders TO clerk, boss""")


def without_roles():
    db.execute("DROP OWNED BY clerk, boss CASCADE; DROP ROLE clerk, boss")


@test
def hidden_rows_are_neither_shown_to_functions_nor_sent_to_the_server():
    fresh()
    with_roles()
    hidden = [nbr for nbr, in rows("UPDATE wanted SET owner = 'boss' WHERE n % 2 = 0 RETURNING nbr") if nbr]
    assert len(hidden) == 20
    db.execute(LEAKY.format(name="leaky"))
    db.execute("""ALTER TABLE wanted ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON wanted USING (owner = current_user);
        CREATE VIEW mine WITH (security_barrier) AS SELECT n, nbr, total FROM template WHERE n % 2 = 1;
        CREATE VIEW joined WITH (security_barrier) AS SELECT w.n, o.nbr, o.total FROM template w JOIN orders o
            ON o.nbr = w.nbr AND o.type = 'SO' WHERE w.n % 2 = 1; GRANT SELECT ON mine, joined TO clerk""")
    clerk = as_clerk()
    noticed = Noticed(clerk)
    join = "o.nbr = w.nbr AND o.type = 'SO'"
    try:
        for query, count in (
            # What a policy hides, by WHERE, by a join condition of one side and of both.
            (f"SELECT w.n FROM wanted w JOIN orders o ON {join} WHERE leaky(w.nbr)", 20),
            (f"SELECT w.n FROM wanted w JOIN orders o ON {join} AND leaky(w.nbr, o.total)", 20),
            (f"SELECT w.n FROM wanted w LEFT JOIN orders o ON {join} AND leaky(w.nbr, o.total)", 21),
            (f"SELECT w.n FROM wanted w LEFT JOIN orders o ON {join} WHERE leaky(w.nbr, o.total)", 21),
            (f"SELECT w.n FROM wanted w WHERE EXISTS (SELECT FROM orders o WHERE {join} AND leaky(w.nbr, o.total))", 20),
            # What a view hides.
            (f"SELECT w.n FROM mine w JOIN orders o ON {join} AND leaky(w.nbr, o.total)", 20),
            ("SELECT n FROM joined WHERE leaky(nbr, total)", 20),
        ):
            has_key_join(query, clerk)
            sim.reset()
            noticed.texts.clear()
            got = rows(query, clerk)
            assert len(got) == count and all(n % 2 == 1 for n, in got), (query, got)
            seen = {text.split()[0] for text in noticed.texts}
            assert len(seen) >= 20 and not seen & set(hidden), (query, seen)
            sent = " ".join(asked())
            assert "OrderNbr " in sent and not any(nbr in sent for nbr in hidden), (query, sent)
        # All of it is there for one who may see it.
        sim.reset()
        rows(f"SELECT w.n FROM wanted w JOIN orders o ON {join}")
        assert all(nbr in " ".join(asked()) for nbr in hidden)
    finally:
        clerk.close()
        db.execute("DROP VIEW mine, joined; DROP POLICY own ON wanted; ALTER TABLE wanted DISABLE ROW LEVEL SECURITY; DROP FUNCTION leaky")
        without_roles()


def asking_user():
    """The user in whose sessions the requests were sent; one of them."""
    users = {entry["id"]: entry["user"] for entry in sim.sessions()}
    found = {users.get(entry["session"]) for entry in sim.requests("SOOrder")}
    assert len(found) == 1, found
    return found.pop()


@test
def the_mapping_is_that_of_the_role_whose_rights_count():
    fresh()
    with_roles()
    # No mapping for the public, and two of their own.
    db.execute("""DROP USER MAPPING FOR PUBLIC SERVER erp;
        CREATE USER MAPPING FOR clerk SERVER erp OPTIONS (username 'analyst', password 'pass-of-analyst');
        CREATE USER MAPPING FOR boss SERVER erp OPTIONS (username 'admin', password 'pass-of-admin')""")
    query = f"SELECT count(o.total) FROM wanted w JOIN orders o ON {JOIN}"
    db.execute(f"""SET ROLE boss;
        CREATE FUNCTION as_boss() RETURNS bigint SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN RETURN ({query}); END $$;
        CREATE FUNCTION as_caller() RETURNS bigint SECURITY INVOKER LANGUAGE plpgsql AS $$ BEGIN RETURN ({query}); END $$;
        CREATE VIEW owned AS {query}; CREATE VIEW invoked WITH (security_invoker) AS {query};
        GRANT SELECT ON owned, invoked TO clerk; RESET ROLE""")
    clerk = as_clerk()
    try:
        has_key_join(query, clerk)
        # Also in another order, with the state of the functions' plans of before.
        for statement, user in (
            (query, "analyst"), ("SELECT as_boss()", "admin"), ("SELECT as_caller()", "analyst"), ("SELECT * FROM owned", "admin"),
            ("SELECT * FROM invoked", "analyst"), ("SELECT as_boss()", "admin"), (query, "analyst"),
        ):
            sim.control("DELETE", "requests")
            assert rows(statement, clerk) == [(40,)], statement
            assert asking_user() == user, (statement, asking_user())
        # A plan for both roles.
        db.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE shared (int) AS {query} WHERE w.n <= $1")
        for role, user in (("clerk", "analyst"), ("boss", "admin"), ("clerk", "analyst")):
            db.execute(f"SET ROLE {role}")
            sim.control("DELETE", "requests")
            assert rows("EXECUTE shared (10)") == [(10,)] and asking_user() == user, role
        db.execute("RESET ROLE")
        # The superuser has no mapping.
        with raises("42704"):
            db.execute("EXECUTE shared (10)")
        # Without its own mapping neither: the function's is not lent.
        db.execute("DROP USER MAPPING FOR clerk SERVER erp")
        with raises("42704"):
            rows(query, clerk)
        sim.control("DELETE", "requests")
        assert rows("SELECT as_boss()", clerk) == [(40,)] and asking_user() == "admin"
    finally:
        clerk.close()
        db.execute("RESET ROLE; RESET plan_cache_mode; DEALLOCATE ALL; DROP USER MAPPING IF EXISTS FOR clerk SERVER erp; "
                   "DROP USER MAPPING FOR boss SERVER erp; CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin')")
        without_roles()


@test
def a_plan_outlives_changes_of_its_server_and_mapping():
    fresh()
    other = Sim("--seats", 0, "--scale", 1)
    query = f"SELECT count(o.total) FROM wanted w JOIN orders o ON {JOIN} WHERE w.n <= $1"
    db.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE kept (int) AS {query}")
    try:
        assert rows("EXECUTE kept (10)") == [(10,)]
        db.execute(f"ALTER SERVER erp OPTIONS (SET url '{other.url}')")
        sim.reset()
        assert rows("EXECUTE kept (12)") == [(12,)] and not asked() and other.requests("SOOrder")
        db.execute(f"ALTER SERVER erp OPTIONS (SET url '{sim.url}')")
        db.execute("DROP USER MAPPING FOR PUBLIC SERVER erp")
        with raises("42704"):
            db.execute("EXECUTE kept (5)")
        db.execute("CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'analyst', password 'pass-of-analyst')")
        sim.control("DELETE", "requests")
        assert rows("EXECUTE kept (5)") == [(5,)] and asking_user() == "analyst"
        # Columns and keys of the table.
        db.execute("ALTER FOREIGN TABLE orders ALTER total OPTIONS (SET field 'OrderQty')")
        sim.reset()
        assert rows("EXECUTE kept (5)") == [(5,)] and all("OrderQty" in query and "Cury" not in query for query in asked()), asked()
        db.execute("ALTER FOREIGN TABLE orders ALTER total OPTIONS (SET field 'CuryOrderTotal')")
        # A cursor that is open keeps what it has, and goes on as it began.
        truth = rows(ALL)
        with db.transaction():
            db.execute(f"DECLARE c CURSOR FOR {ALL}")
            got = rows("FETCH 3 FROM c")
            db.execute("ALTER SERVER erp OPTIONS (ADD page_size '500')")
            assert got + rows("FETCH ALL FROM c") == truth
        db.execute("ALTER SERVER erp OPTIONS (DROP page_size)")
    finally:
        db.execute("RESET plan_cache_mode; DEALLOCATE ALL; DROP USER MAPPING IF EXISTS FOR PUBLIC SERVER erp; "
                   f"CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin')")
        db.execute(f"ALTER SERVER erp OPTIONS (SET url '{sim.url}')")
        other.stop()


@test
def workers_read_the_other_side_and_what_is_above():
    fresh()
    db.execute("CREATE TABLE big AS SELECT n, lpad((n % 30 + 1)::text, 6, '0') AS nbr FROM generate_series(1, 60000) n; ANALYZE big")
    force = "debug_parallel_query" if version >= 16 else "force_parallel_mode"
    connection = connect()
    connection.execute(f"SET {force} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    try:
        for query in (
            # The keys come from workers.
            "SELECT k.nbr, k.n, o.total FROM (SELECT nbr, count(*) AS n FROM big GROUP BY 1) k JOIN orders o ON o.nbr = k.nbr AND o.type = 'SO'",
            # A key join is hashed for rows that come from workers.
            f"""SELECT o.nbr, count(*), sum(o.total) FROM big b
                JOIN (SELECT w.n, o.nbr, o.total FROM wanted w JOIN orders o ON {JOIN} OFFSET 0) o ON o.nbr = b.nbr GROUP BY 1""",
            # It is in a subquery that workers would have to evaluate.
            f"SELECT count(*) FROM big b WHERE b.n > (SELECT count(*) FROM wanted w JOIN orders o ON {JOIN})",
        ):
            plan = has_key_join(query, connection)
            assert "Gather" in plan and "Parallel Seq Scan on big" in plan, plan
            assert sorted(rows(query, connection), key=str) == sorted(rows(query.replace("orders", "copy"), connection), key=str), query
        # No worker runs a key join itself.
        plan = has_key_join(ALL, connection)
        assert plan.startswith("Custom Scan") and plan.count("Gather") == 1 and "Gather" in plan.split("->")[1], plan
    finally:
        connection.close()
        db.execute("DROP TABLE big")


finish()
