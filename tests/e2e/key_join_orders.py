#!/usr/bin/env python3
"""Key joins in trees of joins of all kinds, which PostgreSQL reorders: random ones, of foreign tables and of their copies."""

import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import Sim, connect, create_server, finish, test

PLANNED, RUN = 1500, 150
sim = Sim("--seats", 0, "--scale", 1)
db = connect()
create_server(db, sim)
db.execute("""
    CREATE FOREIGN TABLE f (k int OPTIONS (field 'BAccountID', key '1'), v numeric OPTIONS (field 'CreditLimit'), s text OPTIONS (field 'Status'))
        SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_AR_Customer', rows '100000', filter 'BAccountID lt 5040');
    CREATE FOREIGN TABLE g (k int OPTIONS (field 'InventoryID', key '1'), v numeric OPTIONS (field 'BasePrice'), s text OPTIONS (field 'ItemStatus'))
        SERVER erp OPTIONS (schema 'DAC', entity 'PX_Objects_IN_InventoryItem', rows '100000', filter 'InventoryID lt 10040');
    CREATE TABLE f_copy AS TABLE f;
    CREATE TABLE g_copy AS TABLE g;
    CREATE TABLE a AS SELECT CASE WHEN n % 7 = 0 THEN NULL WHEN n % 2 = 0 THEN 5000 + n ELSE 10000 + n END AS k, n::numeric AS v, 'x' AS s
        FROM generate_series(1, 30) n;
    CREATE TABLE b AS SELECT CASE WHEN n % 5 = 0 THEN NULL WHEN n % 3 = 0 THEN 5000 + n ELSE 10000 + n END AS k, n::numeric AS v, 'y' AS s
        FROM generate_series(1, 30) n;
    ANALYZE f_copy, g_copy, a, b;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_nestloop = off; SET jit = off""")
choose = random.Random(14)


def tree(names):
    """A tree of joins of the tables whose aliases begin with their names."""
    if len(names) == 1:
        alias, table = names[0], names[0][0]
        # A subquery whose expression an outer join sets to NULL as a whole.
        is_subquery = choose.random() < 0.12
        return f"(SELECT k, coalesce(v, 0) AS v, s FROM {table} WHERE k > 0) {alias}" if is_subquery else f"{table} {alias}"
    middle = choose.randrange(1, len(names))
    left, right = tree(names[:middle]), tree(names[middle:])
    kind = choose.choice(["LEFT JOIN"] * 5 + ["JOIN", "JOIN", "RIGHT JOIN", "FULL JOIN"])
    tests = [f"{choose.choice(names[:middle])}.k = {choose.choice(names[middle:])}.k" + choose.choice([""] * 4 + [" + 0"])]
    for _ in range(0 if kind == "FULL JOIN" else choose.choice([0, 0, 0, 1, 1, 2])):
        x, y = choose.choice(names), choose.choice(names)
        tests.append(choose.choice([
            f"{x}.v > {y}.v - 5", f"coalesce({x}.v, 1) > 0", f"{x}.k = {y}.k", f"{x}.s IS NOT NULL", f"coalesce({x}.v, {y}.v, 3) <> 7",
        ]))
    choose.shuffle(tests)
    return f"({left} {kind} {right} ON {' AND '.join(tests)})"


def query():
    names = [f"{choose.choice('abfgfg')}{n}" for n in range(choose.choice([2, 3, 3, 4, 4, 5]))]
    joined = tree(names)
    shown = [choose.choice([f"{x}.k", f"{x}.v", f"coalesce({x}.v, -1)", f"{x}.k IS NULL"]) + f" AS c{n}" for n, x in enumerate(names)]
    x, y = choose.choice(names), choose.choice(names)
    where = choose.choice([""] * 7 + [
        f" WHERE {x}.k IS NULL", f" WHERE coalesce({x}.v, 0) >= 0", f" WHERE {x}.v IS NOT NULL OR {y}.k IS NULL", f" WHERE {x}.k < 10020",
        f" WHERE NOT EXISTS (SELECT FROM g z WHERE z.k = {x}.k AND z.v > coalesce({y}.v, 1))",
        f" WHERE EXISTS (SELECT FROM f z WHERE z.k = {x}.k)", f" WHERE {x}.k IN (SELECT k FROM b)",
    ])
    return f"SELECT {', '.join(shown)} FROM {joined}{where}"


def has_key_join(sql):
    try:
        return any("Acumatica Key Join" in line for line, in db.execute(f"EXPLAIN {sql}").fetchall())
    except Exception as error:
        raise AssertionError(f"{error} in {sql}") from error


@test
def trees_of_joins_are_planned():
    found = sum(has_key_join(query()) for _ in range(PLANNED))
    assert found > PLANNED * 0.8, found


@test
def they_return_the_rows_of_local_tables():
    found = 0
    while found < RUN:
        sql = query()
        if not has_key_join(sql):
            continue
        found += 1
        local = re.sub(r"\b([fg])(?= [a-z])", r"\1_copy", sql)
        got, truth = ([row for row, in db.execute(f"SELECT q::text FROM ({one}) q ORDER BY 1").fetchall()] for one in (sql, local))
        assert got == truth, (sql, len(got), len(truth))


finish()
