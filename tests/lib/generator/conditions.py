"""Conditions on the rows of a query: tests of columns, joined by AND, OR and NOT."""

from .rows import Node, literal, name, quoted
from .tests import COMPARISONS, Tests

# What a server may compare as PostgreSQL does.
EXACT = ("int", "num", "bool", "date", "ts", "tstz")


class Conditions(Tests):
    """`conditions`: those of the query that is being made."""

    def plain(self, scope):
        alias, table = self.rng.choice(scope)
        # The record's own fields come first.
        column = table.usable[min(self.rng.randrange(len(table.usable)) for _ in range(3))]
        sql = f"{alias}.{name(column.title)}"
        if column.kind == "text" and self.chance(35):
            return self.text_condition(sql, column) if self.chance(70) else f"{sql} {self.pick('<', '>')} {self.constant(column)}"
        if self.chance(20):
            return self.own(sql, column)
        if column.kind in ("text", "uuid", "bool"):
            comparison = self.pick(f"= {self.constant(column)}", f"IN ({self.listed(column)})", f"= ANY ({self.array(column)})")
            return f"{sql} {comparison}"
        return f"{sql} {self.pick('=', '<', '<=', '>', '>=')} {self.constant(column)}"

    def exact(self, scope):
        """A condition that a server may decide alone, so that LIMIT and counts can be its too."""
        found = [(alias, column) for alias, table in scope for column in table.usable if column.kind in EXACT]
        if not found or self.chance(4):
            return self.plain(scope)
        alias, column = found[min(self.rng.randrange(len(found)) for _ in range(2))]
        sql = f"{alias}.{name(column.title)}"
        if column.kind == "bool" and self.chance(70):
            return self.comparison(sql, column)
        match self.weighted(compare=60, null=10, listed=10, between=8, own=6, array=6):
            case "compare":
                return f"{sql} {self.pick('=', '<', '<=', '>', '>=', '<>')} {self.constant(column)}"
            case "null":
                return f"{sql} IS {self.pick('', 'NOT ')}NULL"
            case "listed":
                return f"{sql} {self.pick('', 'NOT ')}IN ({self.listed(column)})"
            case "between":
                return f"{sql} {self.pick('', 'NOT ')}BETWEEN {self.constant(column)} AND {self.constant(column)}"
            case "array":
                return f"{sql} {self.pick('= ANY', '<> ALL')} ({self.array(column)})"
        return self.own(sql, column)

    def easy(self, scope):
        """A few of these, or no condition at all."""
        leaves = [literal(self.nearly(scope) if self.chance(40) else self.exact(scope)) for _ in range(self.pick(0, 1, 1, 1, 2, 2, 3))]
        tree = Node("(" + self.pick(" AND ", " AND ", " OR ").join(["{}"] * len(leaves)) + ")", *leaves) if leaves else Node("true")
        return Node("NOT {}", tree) if leaves and self.chance(8) else tree

    def nearly(self, scope):
        """One on the same columns that may be taken for exact, and is not: arithmetic, rows, casts."""
        alias, table = self.rng.choice(scope)
        columns = [column for column in table.usable if column.kind in EXACT]
        if not columns:
            return self.exact(scope)
        column = self.rng.choice(columns)
        if column.kind != "bool" and self.chance(55):
            return self.own(f"{alias}.{name(column.title)}", column)
        some = [column, *(self.rng.choice(columns) for _ in range(self.pick(1, 1, 2)))]
        left = ", ".join(f"{alias}.{name(c.title)}" for c in some)
        right = ", ".join(f"{quoted(self.value(c))}::{'bigint' if c.kind == 'int' else 'numeric' if c.kind == 'num' else c.type}"
                          for c in some)
        return f"({left}) {self.pick('>', '>=', '<', '<=', '=', '<>')} ({right})"

    def own(self, sql, column):
        """A condition that only columns of this kind have."""
        match column.kind:
            case "text":
                return self.text_condition(sql, column)
            case "num" | "int" | "float":
                return self.number_condition(sql, column)
            case "date" | "ts" | "tstz":
                return self.time_condition(sql, column)
            case "uuid":
                value = self.value(column)
                return self.pick(f"({sql})::text = {quoted(value)}", f"({sql})::text LIKE {quoted(value[:4] + '%')}",
                                 f"({sql})::text {self.pick('<', '>')} {quoted(value)}")
        return self.comparison(sql, column)

    def leaf(self, scope, outer):
        alias, table = self.rng.choice(scope)
        column = self.rng.choice(table.usable)
        sql = f"{alias}.{name(column.title)}"
        how = self.weighted(value=54, own=26, columns=5, outer=12 if outer else 0, subquery=5, row=4, coalesce=4, whole=1)
        if how == "own":
            return self.own(sql, column)
        if how in ("columns", "outer"):
            others = [(a, c) for a, t in (outer if how == "outer" else scope) for c in t.usable
                      if c.kind == column.kind and (a, c) != (alias, column)]
            if others:
                other, second = self.rng.choice(others)
                pair = [sql, f"{other}.{name(second.title)}"]
                self.rng.shuffle(pair)
                return f"{pair[0]} {self.pick('=', '=', '=', '<', '>=', '<>', 'IS DISTINCT FROM')} {pair[1]}"
        if how == "subquery":
            others = self.alike(column)
            if others:
                other = self.rng.choice(others)
                where = ""
                if self.chance(60):
                    where = f" WHERE {self.condition([('q', other.table)], 1)}"
                source = f"SELECT q.{name(other.title)} FROM {name(other.table.title)} q{where}"
                return f"{sql} " + self.pick(f"IN ({source})", f"NOT IN ({source})", f"= ANY ({source})",
                                             f"= ANY (ARRAY({source}))", f"<> ALL ({source})", f"<= ALL ({source})")
        if how == "row" and len(table.usable) > 1:
            others = [self.rng.choice(table.usable) for _ in range(self.pick(1, 1, 2))]
            columns = f"({', '.join([sql, *(f'{alias}.{name(other.title)}' for other in others)])})"
            rows = [f"({', '.join(self.constant(c, True) for c in [column, *others])})" for _ in range(2)]
            return self.pick(*(f"{columns} {operator} {rows[0]}" for operator in ("=", "=", "<>", "<", "<=", ">", ">", ">=")),
                             f"{columns} IN ({', '.join(rows)})", f"{columns} NOT IN ({', '.join(rows)})",
                             f"{columns} IS DISTINCT FROM {rows[0]}")
        if how == "coalesce":
            filled = f"coalesce({sql}, {self.constant(column, True)})"
            return self.pick(f"{filled} {self.rng.choice(COMPARISONS)} {self.constant(column, True)}", self.comparison(filled, column),
                             f"{self.pick('greatest', 'least')}({sql}, {self.constant(column, True)}) = {self.constant(column, True)}"
                             if column.kind != "uuid" else f"{filled} IS NOT NULL",
                             f"nullif({sql}, {self.constant(column, True)}) IS NULL",
                             f"num_nulls({sql}) = {self.pick(0, 1)}",
                             f"CASE WHEN {self.comparison(sql, column)} THEN true ELSE {self.comparison(sql, column)} END")
        # A whole row of an inquiry holds its parameters, which conditions cannot be about.
        if how == "whole" and not table.given:
            return self.pick(f"{alias} IS NOT NULL", f"{alias}::text LIKE '%a%'", "true", "false", "NULL", "1 = 1")
        return self.comparison(sql, column)

    def tree(self, scope, depth, outer=()):
        if depth <= 0 or self.chance(35):
            return literal(self.leaf(scope, outer))
        children = [self.tree(scope, depth - 1, outer) for _ in range(self.rng.choice([1, 2, 2, 3]))]
        match self.weighted(**{"and": 25, "or": 48, "not": 17, "test": 6, "equal": 2, "case": 2}):
            case "and":
                return Node("(" + " AND ".join(["{}"] * len(children)) + ")", *children)
            case "or":
                return Node("(" + " OR ".join(["{}"] * len(children)) + ")", *children)
            case "not":
                return Node("NOT ({})", children[0])
            case "test":
                return Node(f"(({{}}) IS {self.pick('TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN', 'NOT UNKNOWN', 'NULL')})",
                            children[0])
            case "equal":
                test = self.pick("= true", "= false", "<> true", "IS DISTINCT FROM true", "IS NOT DISTINCT FROM false", "= {}", "<> {}")
                return Node(f"(({{}}) {test.replace('{}', '({})')})", *children[:1], *(children[-1:] if "{}" in test else ()))
            case "case":
                return Node("coalesce(({}), false)", children[0])

    def condition(self, scope, depth=2, outer=(), tree=None):
        """A tree, and what tables with parameters need; kept, so that it can be made smaller."""
        chosen, tree = tree, tree or self.tree(scope, depth, outer)
        given = []
        for alias, table in scope:
            for column in table.given:
                sql = f"{alias}.{name(column.title)}"
                values = [quoted(value) + "::" + column.type for value in column.values]
                if not values:
                    given.append(f"{sql} = NULL")
                    continue
                one = self.rng.choice(values)
                if self.parameters is not None and self.chance(50):
                    one = self.parameter(column.type, lambda values=values: self.rng.choice(values))
                some = ", ".join(self.rng.sample(values, min(len(values), 2)))
                given.append(self.pick(f"{sql} = {one}", f"{one} = {sql}", f"{sql} IN ({some})"))
        if not chosen and self.chance(50):
            # What a server is likely to be asked for.
            plain = [literal(self.plain(scope)) for _ in range(self.pick(1, 1, 2, 3))]
            any_of = Node("(" + " OR ".join(["{}"] * len(plain)) + ")", *plain)
            tree = any_of if self.chance(40) else Node("({} AND {})", any_of, tree)
        node = Node(" AND ".join([*(g.replace("{", "{{").replace("}", "}}") for g in given), "{}"]), tree)
        node.needed = True
        self.conditions.append(node)
        return node
