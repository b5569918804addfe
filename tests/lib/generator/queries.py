"""Queries: projections, aggregates, joins, subqueries, look-ups by key."""

import random
import re

from .conditions import EXACT, Conditions
from .rows import Node, Query, literal, name, quoted

ZONES = ["UTC", "UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata", "Europe/Berlin"]


class Generator(Conditions):
    def __init__(self, tables, seed):
        self.rng = random.Random(seed)
        self.tables = [table for table in tables if table.usable]
        self.parameters = None
        self.conditions = []
        self.longest = 400

    def columns(self, scope, most=5):
        found = [(alias, column) for alias, table in scope for column in table.columns]
        return self.rng.sample(found, min(len(found), self.rng.randrange(1, most + 1)))

    def order(self, scope, directions=True):
        ways = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"] if directions else [""]
        return ", ".join(f"{alias}.{name(column.title)}{self.rng.choice(ways)}"
                         for alias, table in scope for column in table.order)

    def source(self, table, alias):
        return f"{name(table.title)} {alias}"

    def given_only(self, scope):
        """The condition without which tables with parameters cannot be read."""
        return any(table.given for _, table in scope)

    def select(self, scope, source, outer=()):
        """SELECT … FROM source WHERE …, ordered and limited, distinct, or neither: pieces, whether ordered, whether loose."""
        where = self.condition(scope, self.rng.choice([1, 2, 2, 3]), outer)
        how = self.weighted(plain=45, ordered=30, distinct=8, star=4, expressions=8, row=3, nothing=2)
        listed = ", ".join(f"{alias}.{name(column.title)}" for alias, column in self.columns(scope))
        head, tail, ordered, loose = listed, "", False, False
        if how == "distinct":
            sortable = [(alias, column) for alias, table in scope for column in table.usable]
            chosen = self.rng.sample(sortable, min(len(sortable), self.rng.choice([1, 1, 2])))
            head = "DISTINCT " + ", ".join(f"{alias}.{name(column.title)}" for alias, column in chosen)
            loose = True
        elif how == "star":
            head = "*" if len(scope) == 1 else f"{scope[0][0]}.*"
        elif how == "expressions":
            alias, column = self.rng.choice([(alias, column) for alias, table in scope for column in table.usable])
            head = f"{alias}.{name(column.title)}::text, ({self.leaf(scope, ())})"
            where.children[0] = Node("({} AND true)", where.children[0])
        elif how == "row":
            head = scope[0][0]
        elif how == "nothing":
            head = ""
        elif how == "ordered":
            # Ties are rows that are the same in all that is shown: without a key only what is ordered by.
            if all(table.has_key for _, table in scope):
                tail = f" ORDER BY {self.order(scope)}"
            else:
                head = ", ".join(f"{alias}.{name(column.title)}" for alias, table in scope for column in table.order)
                tail = f" ORDER BY {self.order(scope)}"
            ordered = True
            if self.chance(65):
                tail += self.pick("", f" OFFSET {self.rng.choice([0, 1, 3, 10, 200])}") + \
                    f" LIMIT {self.rng.choice([0, 1, 2, 5, 20, 100, 1000])}"
            elif self.chance(20):
                tail += f" FETCH FIRST {self.rng.choice([1, 5])} ROWS WITH TIES"
        return lambda: f"SELECT {head} FROM {source} WHERE {where}{tail}", ordered, loose

    def aggregate(self, scope, source):
        where = self.condition(scope, 2)
        usable = [(alias, column) for alias, table in scope for column in table.usable]
        found = ["count(*)"] if self.chance(70) else []
        for alias, column in self.rng.sample(usable, min(len(usable), 3)):
            sql = f"{alias}.{name(column.title)}"
            choices = [f"count({sql})", f"count(DISTINCT {sql})"]
            if column.kind in ("int", "num"):
                choices += [f"sum({sql})", f"avg({sql})", f"min({sql})", f"max({sql})"]
            elif column.kind == "bool":
                choices += [f"bool_or({sql})", f"bool_and({sql})", f"every({sql})"]
            elif column.kind != "uuid":
                choices += [f"min({sql})", f"max({sql})"]
            call = self.rng.choice(choices)
            if self.chance(15):
                call += f" FILTER (WHERE {self.leaf(scope, ())})"
            found.append(call)
        head, tail = ", ".join(found), ""
        if self.chance(45):
            groups = [f"{alias}.{name(column.title)}" for alias, column in self.rng.sample(usable, min(len(usable), self.pick(1, 1, 2)))]
            head = ", ".join(groups + found)
            tail = " GROUP BY " + self.pick(", ".join(groups), ", ".join(groups), f"ROLLUP ({', '.join(groups)})")
            if self.chance(30):
                tail += f" HAVING count(*) {self.pick('> 1', '= 1', '>= 3')}"
        return lambda: f"SELECT {head} FROM {source} WHERE {where}{tail}", False, True

    def partners(self, column, most):
        """Columns that have values in common, of tables that do not multiply too much, and how many rows they make."""
        return {other: size for other, size in column.join_sizes(self.tables) if size <= most}

    def join(self):
        count = self.pick(2, 2, 2, 3, 4)
        nested = self.chance(50)
        for _ in range(30):
            first = self.rng.choice(self.tables)
            scope, source, rows = [("t0", first)], self.source(first, "t0"), first.rows
            for at in range(1, count):
                alias, table = self.rng.choice(scope)
                column = self.rng.choice(table.usable)
                partners = self.partners(column, 3000)
                # Of all tables so far about so many rows, or more if the values are far from even.
                made = {p: max(rows, rows * size // max(table.rows, 1)) for p, size in partners.items()}
                made = {p: size for p, size in made.items() if size <= 20_000 and rows * p.table.rows <= (40_000 if nested else 10**6)}
                if not made:
                    break
                other = self.rng.choice(list(made))
                on = f"{alias}.{name(column.title)} = t{at}.{name(other.title)}"
                pair = (f"t{at}", other.table)
                kind = self.pick("JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
                if other.table.given or table.given or any(t.given for _, t in scope):
                    kind = "JOIN"
                if self.chance(30) and kind != "FULL JOIN":
                    on += f" AND ({self.tree([*scope, pair] if self.chance(30) else [pair], 1)})"
                source = f"{source} {kind} {self.source(other.table, f't{at}')} ON {on}"
                scope.append(pair)
                rows = max(made[other], other.table.rows)
            if len(scope) == count:
                break
        settings = []
        if nested:
            settings = ["enable_hashjoin = off", "enable_mergejoin = off"]
            settings += ["enable_material = off"] if self.chance(60) else []
            settings += ["enable_memoize = off"] if self.chance(50) else []
        elif self.chance(30):
            settings = [self.pick("enable_hashjoin = off", "enable_nestloop = off", "enable_mergejoin = off")]
        if len(scope) > 1 and self.chance(25):
            return self.aggregate(scope, source), settings
        return self.select(scope, source), settings

    def semi(self):
        """EXISTS and IN, with conditions on the row outside."""
        for _ in range(30):
            first = self.rng.choice(self.tables)
            column = self.rng.choice(first.usable)
            partners = [p for p in self.partners(column, 10**6) if not p.table.given and first.rows * p.table.rows <= 60_000]
            if partners:
                break
        else:
            return self.simple()
        other = self.rng.choice(partners)
        inner = [("u", other.table)]
        left, right = f"t0.{name(column.title)}", f"u.{name(other.title)}"
        extra = self.tree(inner, 1, [("t0", first)] if self.chance(30) else ())
        negation = self.pick("", "", "NOT ")
        if self.chance(70) or self.given_only([("t0", first)]):
            test = self.pick(
                f"{negation}EXISTS (SELECT FROM {self.source(other.table, 'u')} WHERE {left} = {right} AND {extra})",
                f"{left} {negation}IN (SELECT {right} FROM {self.source(other.table, 'u')} WHERE {extra})")
        else:
            # Behind an OR it stays a subplan, and is run again for each row.
            test = f"(t0.{name(column.title)} IS NULL OR {negation}EXISTS (SELECT FROM {self.source(other.table, 'u')} WHERE {left} = {right} AND {extra}))"
            if first.rows > 60:
                test = f"t0.{name(column.title)} = {self.constant(column)} AND {test}"
        statement, ordered, loose = self.select([("t0", first)], self.source(first, "t0"))
        where = self.conditions[-1]
        where.children[0] = Node("({} AND {})", literal(test), where.children[0])
        settings = [s for s in ("enable_hashjoin = off", "enable_mergejoin = off", "enable_material = off") if self.chance(40)]
        return (statement, ordered, loose), settings

    def lateral(self):
        """Requests that depend on a row outside, for a few of them."""
        for _ in range(30):
            first = self.rng.choice(self.tables)
            column = self.rng.choice(first.usable)
            partners = [p for p in self.partners(column, 10**6) if p.kind == column.kind and not p.table.given]
            if partners and not first.given:
                break
        else:
            return self.simple()
        other = self.rng.choice(partners)
        few = self.rng.choice([1, 3, 6])
        where = self.condition([("t", first)], 1)
        inner = self.condition([("u", other.table)], 1, [("o", first)] if self.chance(30) else ())
        compare = self.pick("=", "=", "=", "=", "<=", ">") if column.kind not in ("uuid", "bool") else "="
        outer = f"(SELECT * FROM {name(first.title)} t WHERE {{}} ORDER BY {self.order([('t', first)], False)} LIMIT {few}) o"
        key = ", ".join(f"o.{name(c.title)}" for c in first.order[:4])
        title, far = name(column.title), name(other.title)
        function = self.pick("count(*)", f"count(u.{far})")
        limit = self.rng.choice([1, 3])
        form = self.pick("lateral", "scalar", "limited")
        inner_order = self.order([("u", other.table)], False)
        # All that is ordered by is shown, so that the rows of ties do not matter.
        shown = ", ".join(f"u.{name(c.title)} AS c{at}" for at, c in enumerate(other.table.order))

        def statement():
            base = outer.format(where)
            test = f"u.{far} {compare} o.{title} AND {inner}"
            if form == "scalar":
                return f"SELECT {key}, (SELECT {function} FROM {name(other.table.title)} u WHERE {test}) FROM {base}"
            if form == "lateral":
                return f"SELECT {key}, l.* FROM {base} LEFT JOIN LATERAL (SELECT {function} FROM {name(other.table.title)} u WHERE {test} OFFSET 0) l ON true"
            return (f"SELECT {key}, l.* FROM {base} CROSS JOIN LATERAL (SELECT {shown} FROM {name(other.table.title)} u "
                    f"WHERE {test} ORDER BY {inner_order} LIMIT {limit}) l")

        settings = ["enable_memoize = off"] if self.chance(50) else []
        return (statement, False, False), settings

    def limit(self):
        """LIMIT and OFFSET, the one, the other or both."""
        count = self.pick(0, 1, 1, 2, 3, 5, 10, 20, 100, 1000)
        if self.parameters is not None and self.chance(30):
            count = self.parameter("bigint", lambda: self.pick("NULL", "0", "1", "2", "5", "20", "300"))
        limit = self.pick(*[f" LIMIT {count}"] * 4, f" LIMIT (SELECT {count})", " LIMIT ALL", "")
        return limit + self.pick("", "", "", f" OFFSET {self.pick(0, 1, 3, 10, 200)}")

    def top(self):
        """The first rows by a column or by the key, where conditions, order and LIMIT can all be the server's."""
        table = self.rng.choice(self.tables)
        scope, source = [("t0", table)], self.source(table, "t0")
        where = self.condition(scope, 1) if self.chance(25) else self.condition(scope, tree=self.easy(scope))
        shown = ", ".join(f"t0.{name(column.title)}" for column in table.order)
        if table.has_key:
            shown += "".join(f", t0.{name(column.title)}" for _, column in self.columns(scope, 3))
        ways = ["", "", " DESC", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST", " NULLS LAST", " DESC NULLS FIRST"]
        columns = [column for column in table.usable if column.kind in EXACT] or table.usable
        if self.chance(10):
            columns = table.usable
        column = self.rng.choice(columns)
        leading = f"t0.{name(column.title)}"
        form = self.weighted(column=40, two=12, key=25, alone=10, ties=5, first=5, expression=3)
        ordered, loose = True, False
        order = leading + self.rng.choice(ways)
        limit = self.limit()
        match form:
            case "two":
                order += f", t0.{name(self.rng.choice(columns).title)}{self.rng.choice(ways)}, {self.order(scope, self.chance(30))}"
            case "key":
                way = self.pick("", "", "", " DESC", " NULLS FIRST")
                order = ", ".join(f"t0.{name(key.title)}{way}" for key in table.order)
            case "alone":
                # Ties are the same rows.
                shown, loose = leading, True
            case "ties":
                limit = f" FETCH FIRST {self.pick(1, 2, 10)} ROWS WITH TIES"
                ordered = False
            case "first":
                shown = f"DISTINCT ON ({leading}) {leading}, {shown}"
                order += f", {self.order(scope, False)}"
            case _:
                if form == "expression" and column.kind in ("num", "int"):
                    order = f"-({leading})::numeric{self.rng.choice(ways)}"
                order += f", {self.order(scope, self.chance(30))}"
        return (lambda: f"SELECT {shown} FROM {source} WHERE {where} ORDER BY {order}{limit}", ordered, loose), []

    def counted(self):
        """One number or one value of the rows there are."""
        table = self.rng.choice(self.tables)
        scope, source = [("t0", table)], self.source(table, "t0")
        where = self.condition(scope, 1) if self.chance(25) else self.condition(scope, tree=self.easy(scope))
        column = self.rng.choice(table.usable)
        if column.kind not in EXACT and self.chance(60):
            column = self.rng.choice([other for other in table.usable if other.kind in EXACT] or [column])
        sql, limit = f"t0.{name(column.title)}", self.limit()
        sortable = column.kind not in ("uuid", "bool")
        extremes = [f"min({sql})", f"max({sql})", f"min({sql}), max({sql})"] if sortable else [f"count({sql})"]
        form = self.weighted(count=40, column=6, extreme=22, first=5, limited=15, exists=6, grouped=6)
        head = {"count": self.pick("count(*)", "count(*)", "count(1)"), "extreme": self.rng.choice(extremes),
                "column": self.pick(f"count({sql})", f"count(DISTINCT {sql})"), "grouped": f"{sql}, count(*)"}.get(form)

        def statement():
            match form:
                case "first":
                    return f"SELECT (SELECT {sql} FROM {source} WHERE {where} ORDER BY {sql} LIMIT 1)"
                case "limited":
                    return f"SELECT count(*) FROM (SELECT {sql} FROM {source} WHERE {where}{limit}) v"
                case "exists":
                    return f"SELECT EXISTS (SELECT FROM {source} WHERE {where})"
            return f"SELECT {head} FROM {source} WHERE {where}" + (f" GROUP BY {sql}" if form == "grouped" else "")

        return (statement, False, True), []

    def key_value(self, column, value):
        """A key's value, most often as it is."""
        if column.kind == "text" and self.chance(35):
            at = self.rng.randrange(len(value) + 1)
            return self.pick(value.swapcase(), value.lower(), value.upper(), value + "  ", value.rstrip(), value.strip() + " " * 9,
                             " " + value, value[:at] + self.pick("/", "%", ".", "..", " ", "?", "#", "&", "'", ";", "%2F", "\\", ",", "(", "+",
                             "é") + value[at:], value[:at], value.replace(" ", "+"), self.text(column), self.pick("", ".", "..", "/"))
        return self.value(column) if column.kind in ("uuid", "date", "ts", "tstz") and self.chance(8) else value

    def lookup(self):
        """Rows by their whole key."""
        tables = [table for table in self.tables if table.keys]
        if not tables:
            return self.simple()
        table = self.rng.choice(tables)
        scope, source = [("t0", table)], self.source(table, "t0")
        odd = [key for key in table.keys if re.search(r"[^\w-]", "".join(key).replace(" ", ""))]
        types = [{"text": "text", "num": "numeric"}.get(column.kind, column.type) for column in table.order]

        def values():
            key = self.rng.choice(odd if odd and self.chance(30) else table.keys)
            return [self.key_value(column, value) for column, value in zip(table.order, key)]

        def tests(parameters):
            row, supplied, found = values(), [], []

            def supply(at):
                # The values for one execution are those of one row.
                if not supplied or supplied[0][at] is None:
                    supplied[:] = [values()]
                value, supplied[0][at] = supplied[0][at], None
                return "NULL" if self.chance(2) else f"{quoted(value)}::{types[at]}"

            for at, (column, value) in enumerate(zip(table.order, row)):
                sql, typed = f"t0.{name(column.title)}", f"{quoted(value)}::{types[at]}"
                if parameters and self.chance(85):
                    typed = self.parameter(types[at], lambda at=at: supply(at))
                elif column.kind == "text" and self.chance(40):
                    typed = quoted(value)
                other = f"{quoted(values()[at])}::{types[at]}"
                found.append(self.pick(*[f"{sql} = {typed}"] * 8, f"{typed} = {sql}", f"{sql} IN ({typed})", f"{sql} IN ({typed}, {other})",
                                       f"{sql} = ANY (ARRAY[{typed}, {other}])", f"{sql} = (SELECT {typed})",
                                       f"{sql} = {typed} AND {sql} {self.pick('=', '<>')} {other}",
                                       f"{sql} IS NOT DISTINCT FROM {typed}"))
            self.rng.shuffle(found)
            return found

        shown = ", ".join(f"{alias}.{name(column.title)}" for alias, column in self.columns(scope))
        if self.chance(20):
            # By the key of a row outside.
            listed = ", ".join(f"({', '.join(f'{quoted(value)}::{types[at]}' for at, value in enumerate(values()))})"
                               for _ in range(self.pick(1, 2, 5, 20)))
            names = [f"v{at}" for at in range(len(types))]
            equal = " AND ".join(f"t0.{name(column.title)} = v.{title}" for column, title in zip(table.order, names))
            where = self.condition(scope, tree=self.easy(scope) if self.chance(30) else Node("true"))
            kind = "JOIN" if table.given else self.pick("JOIN", "LEFT JOIN")
            statement = lambda: (f"SELECT v.*, {shown} FROM (VALUES {listed}) v({', '.join(names)}) "  # noqa: E731 - one of several
                                 f"{kind} {source} ON {equal} AND {where}")
            settings = [s for s in ("enable_hashjoin = off", "enable_mergejoin = off", "enable_material = off") if self.chance(70)]
            return (statement, False, False), settings
        found = tests(self.parameters is not None)
        if self.chance(8) and len(found) > 1:
            found.pop()
        if self.chance(20):
            found.append(self.exact(scope) if self.chance(70) else self.leaf(scope, ()))
        tree = Node("(" + " AND ".join(["{}"] * len(found)) + ")", *map(literal, found))
        if self.chance(10):
            second = tests(False)
            tree = Node("({} OR {})", tree, Node("(" + " AND ".join(["{}"] * len(second)) + ")", *map(literal, second)))
        where = self.condition(scope, tree=tree)
        head, loose = (shown, False) if self.chance(85) else ("count(*)", True)
        tail = f" LIMIT {self.pick(1, 2)}" if loose and self.chance(50) else ""
        return (lambda: f"SELECT {head} FROM {source} WHERE {where}{tail}", False, loose), []

    def union(self):
        first = self.rng.choice(self.tables)
        column = self.rng.choice(first.usable)
        other = self.rng.choice(self.alike(column) or [column])
        if other.table.given:
            other = column
        one, two = self.condition([("t0", first)], 2), self.condition([("t1", other.table)], 2)
        operator = self.pick("UNION", "UNION ALL", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL")
        statement = lambda: (  # noqa: E731 - one of several
            f"SELECT t0.{name(column.title)} FROM {self.source(first, 't0')} WHERE {one} {operator} "
            f"SELECT t1.{name(other.title)} FROM {self.source(other.table, 't1')} WHERE {two}")
        return (statement, False, True), []

    def around(self):
        """Conditions outside of a subquery, a CTE or a view's place."""
        table = self.rng.choice(self.tables)
        inner, outside = self.condition([("t0", table)], 1), self.tree([("v", table)], 2)
        outside = Node("{}", outside)
        outside.needed = True
        self.conditions.append(outside)
        key = ", ".join(f"v.{name(c.title)}" for c in table.order)
        order = ", ".join(f"t0.{name(c.title)}" for c in table.order)
        source = self.source(table, "t0")
        # Without a key rows can be ties.
        form = self.pick("cte", "plain", "offset", *(("limited", "window") if table.has_key else ()))

        def statement():
            match form:
                case "cte":
                    return f"WITH v AS MATERIALIZED (SELECT * FROM {source} WHERE {inner}) SELECT {key} FROM v WHERE {outside}"
                case "limited":
                    return f"SELECT {key} FROM (SELECT * FROM {source} WHERE {inner} ORDER BY {order} LIMIT 20) v WHERE {outside}"
                case "window":
                    return (f"SELECT {key}, r FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS r FROM {source} "
                            f"WHERE {inner}) v WHERE {outside}")
                case "offset":
                    return f"SELECT {key} FROM (SELECT * FROM {source} WHERE {inner} OFFSET 0) v WHERE {outside}"
            return f"SELECT {key} FROM (SELECT * FROM {source} WHERE {inner}) v WHERE {outside}"

        return (statement, False, False), []

    def simple(self):
        table = self.rng.choice(self.tables)
        scope, source = [("t0", table)], self.source(table, "t0")
        if self.chance(25):
            return self.aggregate(scope, source), []
        return self.select(scope, source), []

    def query(self):
        prepared = self.chance(35)
        self.parameters = [] if prepared else None
        self.conditions = []
        kind = self.weighted(simple=38, top=10, counted=10, lookup=7, join=13, semi=8, lateral=6, union=4, around=4)
        # Behind a row of another table each list is sent again.
        self.longest = 30 if kind in ("join", "semi", "lateral") else 400
        (statement, ordered, loose), settings = getattr(self, kind)()
        if kind in ("join", "semi", "lateral") and self.chance(40):
            settings += ["enable_hashjoin = off", "enable_mergejoin = off", "enable_nestloop = off",
                         f"acumatica_fdw.key_join_block = {self.pick(0, 1, 2, 100)}"]
        elif kind in ("join", "semi") and self.chance(40):
            settings.append("acumatica_fdw.enable_key_join = off")
        if self.chance(50):
            settings.append("acumatica_fdw.use_measurements = on")
        if self.chance(50):
            settings.append(f"TimeZone = '{self.rng.choice(ZONES)}'")
        if "enable_material = off" in settings and statement().count("SELECT") > 2:
            # Subqueries within would be read again for each pair of rows.
            settings.remove("enable_material = off")
        steps, gather = [statement], False
        if prepared:
            types, supplies = [p[0] for p in self.parameters], [p[1] for p in self.parameters]
            mode = self.pick("force_generic_plan", "force_custom_plan", "auto")
            settings.append(f"plan_cache_mode = {mode}")
            head = f"PREPARE p ({', '.join(types)}) AS " if types else "PREPARE p AS "
            calls = []
            for _ in range(self.rng.choice([1, 2, 3])):
                values = [supply() for supply in supplies]
                calls.append(f"EXECUTE p ({', '.join(values)})" if values else "EXECUTE p")
            steps = [lambda: head + statement(), *((lambda call=call: call) for call in calls)]
            kind += f", prepared, {mode}"
        elif self.chance(8):
            fetches = [f"FETCH {self.rng.choice([1, 2, 7, 40, 300])} FROM c" for _ in range(self.rng.randrange(3))]
            if self.chance(70):
                fetches.append("FETCH ALL FROM c")
                gather = True
            if ordered or gather:
                steps = [lambda: f"DECLARE c NO SCROLL CURSOR FOR {statement()}",
                         *((lambda fetch=fetch: fetch) for fetch in fetches), lambda: "CLOSE c"]
                kind += ", cursor"
            else:
                gather = False
        query = Query(kind, settings, steps, ordered, loose, self.conditions)
        query.gather = gather
        return query
