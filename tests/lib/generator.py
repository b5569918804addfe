"""Random queries over tables whose rows are known: every kind of condition, value, projection, aggregate and join.

A query must have one answer only, whoever computes it: LIMIT stands behind an ORDER BY that leaves no ties, sums are of
exact numbers, and nothing can fail for some rows and not for others, since a server that filters spares them. Values are
drawn from the rows, and changed a little.
"""

import collections
import decimal
import functools
import random
import re
import unicodedata

KINDS = {
    "text": "text", "character varying": "text", "character": "text", "name": "text", "citext": "text",
    "smallint": "int", "integer": "int", "bigint": "int", "numeric": "num", "double precision": "float", "real": "float",
    "boolean": "bool", "date": "date", "timestamp without time zone": "ts", "timestamp with time zone": "tstz",
    "uuid": "uuid", "jsonb": "json",
}
ZONES = ["UTC", "UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata", "Europe/Berlin"]
# A server's text comparison, its literals or its URLs may stumble over these.
TEXTS = ["", " ", "%", "_", "\\", "'", "''", "\"", "null", "NULL", "true", "5", "12/14/2023 19:57:08", "12/14/2023",
         "2024-01-31", "' or '1' eq '1", "x&$top=1", "a+b", "#x", "a/b?c=d", "日本語のテスト", "🚀", "STRASSE", "straße",
         "e\u0301clair (decomposed)", "éclair (decomposed)", "İstanbul", "i̇stanbul", "ISTANBUL", "\t", "line one\nline two",
         "x" * 3000, "ü" * 400, "\u00a0", "K", "{}", "()", "$filter", "@p", "%27", "%", "--", "/*", "\u200b"]
DATES = ["infinity", "infinity", "infinity", "-infinity", "-infinity", "0001-01-01", "0001-01-02", "9999-12-31", "9999-12-30", "10000-01-01", "0044-03-15 BC",
         "1753-01-01", "1752-12-31", "1899-12-30", "1900-01-01", "2000-02-29", "2024-02-29", "5874897-12-31"]
MOMENTS = ["infinity", "infinity", "infinity", "-infinity", "-infinity", "0001-01-01 00:00:00", "0001-01-01 12:00:00", "9999-12-31 23:59:59.999999",
           "10000-01-01 00:00:00", "0044-03-15 12:00:00 BC", "2024-02-29 23:59:59.5", "1900-01-01 00:00:00",
           "294276-12-31 23:59:59", "2023-03-26 01:30:00"]
NUMBERS = ["0", "-0", "0.0", "1", "-1", "0.000001", "1e30", "-1e30", "1e200", "123456789012345678901234567890.123456789",
           "9007199254740993", "2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
           "79228162514264337593543950335", "79228162514264337593543950336", "NaN", "NaN", "Infinity", "Infinity", "-Infinity", "1e-20"]
INTEGERS = ["0", "-1", "1", "32767", "32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649",
            "9000000000", "9223372036854775807", "-9223372036854775808"]
COMPARISONS = ["=", "=", "=", "=", "<>", "<", "<=", ">", ">="]
# What a server may compare as PostgreSQL does.
EXACT = ("int", "num", "bool", "date", "ts", "tstz")
MOMENT_TYPES = {"date": "date", "ts": "timestamp", "tstz": "timestamptz"}


def plain(text):
    """Without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def kind_of(sql_type):
    return KINDS.get(re.sub(r"\(.*?\)", "", sql_type).strip(), "other")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def name(text):
    return '"' + text.replace('"', '""') + '"'


class Column:
    def __init__(self, table, title, sql_type, values):
        self.table, self.title, self.type, self.kind = table, title, sql_type, kind_of(sql_type)
        self.counts = collections.Counter(value for value in values if value is not None)
        self.values, self.sizes = list(self.counts), None

    @functools.cached_property
    def join_values(self):
        """What its values are equal by."""
        if self.kind not in ("int", "num"):
            return self.kind, self.counts
        values = collections.Counter()
        for value, count in self.counts.items():
            number = decimal.Decimal(value)
            values[number.normalize() if number.is_finite() else value] += count
        return "number", values

    def join_sizes(self, tables):
        """The columns that it can be joined to, and how many rows that makes."""
        if self.sizes is None:
            kind, values = self.join_values
            self.sizes = []
            for other in (other for table in tables for other in table.usable if other is not self):
                kind_there, there = other.join_values
                if kind == kind_there and kind != "bool":
                    if size := sum(count * there[value] for value, count in values.items() if value in there):
                        self.sizes.append((other, size))
        return self.sizes


class Table:
    def __init__(self, title, columns, rows, key, parameters=(), given=()):
        """`columns`: (name, type); `rows`: tuples of texts; `parameters`: columns that say which rows there are, `given`:
        those of them that every query must compare with a value."""
        self.title, self.rows = title, len(rows)
        self.columns = [Column(self, *column, [row[at] for row in rows]) for at, column in enumerate(columns)]
        places = [at for at, column in enumerate(columns) if column[0] in key]
        keys = {tuple(row[at] for at in places) for row in rows}
        unique = places and len(keys) == len(rows) and not any(None in key for key in keys)
        sortable = [column for column in self.columns if column.kind != "json"]
        self.order = [self.columns[at] for at in places] if unique else sortable
        self.has_key = bool(unique)
        self.keys = [tuple(row[at] for at in places) for row in rows] if unique else []
        self.given = [column for column in self.columns if column.title in given]
        self.usable = [column for column in sortable if column.title not in parameters and column.kind != "other"]


class Node:
    """A condition that can be made smaller."""

    def __init__(self, form, *children):
        self.form, self.children, self.needed = form, list(children), False

    def __str__(self):
        return self.form.format(*map(str, self.children)) if self.children else self.form


def literal(sql):
    return Node(sql.replace("{", "{{").replace("}", "}}") + "{}", "")


class Query:
    def __init__(self, kind, settings, steps, ordered=False, loose=False, conditions=()):
        """`steps`: functions that give SQL, the last one (or all, if `gather`) with rows."""
        self.kind, self.settings, self.steps, self.ordered, self.loose = kind, settings, steps, ordered, loose
        self.conditions = list(conditions)


class Generator:
    def __init__(self, tables, seed):
        self.rng = random.Random(seed)
        self.tables = [table for table in tables if table.usable]
        self.parameters = None
        self.conditions = []
        self.longest = 400

    # -- values -------------------------------------------------------------------------------------------------------

    def chance(self, percent):
        return self.rng.random() * 100 < percent

    def pick(self, *choices):
        return self.rng.choice(choices)

    def weighted(self, **choices):
        return self.rng.choices(list(choices), list(choices.values()))[0]

    def text(self, column):
        rng, values = self.rng, column.values
        if not values or self.chance(5):
            return rng.choice(TEXTS)
        value = rng.choice(values)
        if self.chance(4):
            other = rng.choice([c for c in column.table.usable if c.kind == "text"])
            value = rng.choice(other.values or [value])
        if self.chance(55):
            return value
        if self.chance(45):
            return rng.choice([value.swapcase(), value.upper(), value.lower(), value.title(), plain(value)])
        cut = rng.randrange(len(value) + 1)
        return rng.choice([
            value + "   ", value.rstrip(), " " + value, value[:cut], value[cut:], value + "'", value.replace("'", "''"),
            "%" + value, value + "%", value + "_", value + "\\", value + "\t", value + "\u00a0",
            value[:cut] + "&" + value[cut:], value.rstrip() + " " * 40,
        ])

    def number(self, column):
        if not column.values or self.chance(10):
            return self.rng.choice(NUMBERS)
        value = self.rng.choice(column.values)
        number = decimal.Decimal(value)
        if self.chance(50) or not number.is_finite():
            return value
        return format(self.rng.choice([
            number + 1, number - 1, number + decimal.Decimal("0.0001"), number - decimal.Decimal("0.000001"), -number,
            number * 1000, number / 2, number.to_integral_value(), number + decimal.Decimal("0.5"),
            number + decimal.Decimal("0.0000"), round(number, 1), number * decimal.Decimal("1e20"),
        ]), "f")

    def integer(self, column):
        if not column.values or self.chance(10):
            return self.rng.choice(INTEGERS)
        value = int(self.rng.choice(column.values))
        return str(value if self.chance(60) else max(-(2**63), min(2**63 - 1, self.rng.choice(
            [value + 1, value - 1, -value, value * 1000, value + 5, value // 2]))))

    def value(self, column):
        """The text of a value of a kind with the column."""
        rng = self.rng
        match column.kind:
            case "text":
                return self.text(column)
            case "num":
                return self.number(column)
            case "float":
                value = self.number(column)
                return value if value in ("NaN", "Infinity", "-Infinity") else repr(float(value))
            case "int":
                return self.integer(column)
            case "bool":
                return self.pick("true", "false")
            case "date":
                if not column.values or self.chance(10):
                    return rng.choice(DATES)
                return rng.choice(column.values)
            case "ts" | "tstz":
                if not column.values or self.chance(10):
                    return rng.choice(MOMENTS)
                value = rng.choice(column.values)
                if self.chance(60):
                    return value
                return rng.choice([
                    value[:10], value[:10] + " 00:00:00+00", value[:10] + " 23:59:59.999999", value[:16],
                    value[:19] + "-08", value[:19] + "+14", value[:10] + " 24:00:00", value[:19] + ".000001",
                ])
            case "uuid":
                if not column.values or self.chance(15):
                    return self.pick("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff")
                value = rng.choice(column.values)
                return value if self.chance(70) else self.pick(value.upper(), value.replace("-", ""), "{%s}" % value)
        raise AssertionError(column.kind)

    def type_for(self, column, value):
        """A type that holds the value, most often the column's."""
        match column.kind:
            case "int":
                low = 2**15 if column.type == "smallint" else 2**31
                if column.type == "bigint" or not -low <= int(value) < low:
                    return "bigint"
                return self.pick(column.type, column.type, "bigint", "integer")
            case "text":
                return self.pick("text", "text", "text", "varchar") if self.chance(92) else self.pick("bpchar", "name")
            case "num":
                return "numeric"
            case "float":
                return "double precision"
            case "ts" | "tstz" | "date":
                if self.chance(88):
                    return {"ts": "timestamp", "tstz": "timestamptz", "date": "date"}[column.kind]
                small = not value.startswith(("5874897", "294276"))
                return self.pick("timestamp", "timestamptz", "date") if small else \
                    {"ts": "timestamp", "tstz": "timestamptz", "date": "date"}[column.kind]
        return column.type

    def constant(self, column, fixed_type=False):
        """SQL that has the same value for all rows, of the column's kind."""
        value = self.value(column)
        sql_type = self.type_for(column, value)
        if fixed_type:
            sql_type = {"int": "bigint", "num": "numeric", "text": "text", "float": "double precision", "ts": "timestamp",
                        "tstz": "timestamptz"}.get(column.kind, column.type)
        typed = f"{quoted(value)}::{sql_type}"
        how = self.weighted(typed=40, bare=20, parameter=60 if self.parameters is not None else 0, stable=10, initplan=7,
                            subquery=8, null=1, volatile=2)
        if how == "parameter":
            return self.parameter(sql_type, lambda: self.in_type(column, sql_type))
        if how == "bare" and not fixed_type:
            fits = column.kind not in ("int", "date") and not value.startswith(("5874897", "294276"))
            if fits or column.type == "bigint":
                return value if column.kind == "int" and not value.startswith("-") else quoted(value)
        if how == "stable":
            return self.stable(column, typed)
        if how == "initplan":
            return f"(SELECT {typed})"
        if how == "subquery" and not fixed_type:
            return self.scalar(column)
        if how == "null":
            return f"NULL::{sql_type}"
        if how == "volatile":
            return f"(CASE WHEN random() < 2 THEN {typed} END)"
        return typed

    def in_type(self, column, sql_type):
        """Another value, that fits a type decided on before."""
        if self.chance(5):
            return "NULL"
        for _ in range(20):
            value = self.value(column)
            limit = {"smallint": 2**15, "integer": 2**31}.get(sql_type)
            if limit and not -limit <= int(value) < limit:
                continue
            if value.startswith(("5874897", "294276")):
                continue
            return f"{quoted(value)}::{sql_type}"
        return "NULL"

    def parameter(self, sql_type, supply):
        self.parameters.append((sql_type, supply))
        return f"${len(self.parameters)}"

    def stable(self, column, typed):
        days = self.rng.randrange(4000)
        match column.kind:
            case "text":
                return self.pick(f"concat({typed}, '')", f"format('%s', {typed})", "current_setting('TimeZone')",
                                 f"({typed} || to_char(now(), '\"\"'))", "current_user")
            case "tstz":
                return self.pick(f"now() - interval '{days} days'", f"date_trunc('month', now() - interval '{days} days')",
                                 f"{typed}::text::timestamptz", f"current_date - {days}", f"{typed} - interval '1 day'")
            case "ts":
                return self.pick(f"localtimestamp - interval '{days} days'", f"now()::timestamp - interval '{days} hours'",
                                 f"date_trunc('year', localtimestamp - interval '{days} days')", f"current_date - {days}")
            case "date":
                return self.pick(f"current_date - {days}", f"(now() - interval '{days} days')::date",
                                 f"now() - interval '{days} days'", f"date_trunc('week', now() - interval '{days} days')::date")
            case "int":
                return self.pick("extract(year FROM now())::int - 2020", "length(current_setting('TimeZone'))",
                                 f"({typed} + extract(epoch FROM now() - now())::int)")
            case "num":
                return self.pick(f"({typed} + extract(epoch FROM now() - now()))", "extract(year FROM now())")
            case "bool":
                return self.pick("(now() > '2000-01-01')", f"(now() IS NULL OR {typed})")
        return f"({typed}::text || to_char(now(), '\"\"'))::{column.type}"

    def alike(self, column, tables=None):
        """Columns of the same type in tables without parameters."""
        found = [other for table in tables or self.tables if not table.given for other in table.usable
                 if other.type == column.type and other.kind == column.kind]
        return found

    def scalar(self, column):
        """A subquery of one row at most."""
        others = self.alike(column)
        if not others:
            return f"NULL::{column.type}"
        other = self.rng.choice(others)
        title, table = name(other.title), name(other.table.title)
        if column.kind not in ("bool", "uuid") and self.chance(30):
            return f"(SELECT {self.pick('min', 'max')}(s.{title}) FROM {table} s)"
        order = ", ".join(f"s.{name(key.title)}" for key in other.table.order)
        where = f" WHERE s.{title} IS NOT NULL" if self.chance(50) else ""
        return f"(SELECT s.{title} FROM {table} s{where} ORDER BY {order} LIMIT 1 OFFSET {self.rng.randrange(20)})"

    # -- conditions ---------------------------------------------------------------------------------------------------

    def array(self, column):
        count = self.count()
        base = {"int": "bigint", "num": "numeric", "text": "text", "float": "double precision", "ts": "timestamp",
                "tstz": "timestamptz"}.get(column.kind, column.type)

        def supply():
            items = [self.in_type(column, base) for _ in range(count)]
            return f"ARRAY[{', '.join(items)}]::{base}[]"

        if self.parameters is not None and self.chance(60):
            return self.parameter(f"{base}[]", lambda: "NULL" if self.chance(3) else supply())
        return self.pick(supply(), supply(), f"(SELECT {supply()})::{base}[]")

    def count(self):
        """Of a list: long ones are more than a request can hold."""
        if self.chance(4):
            return self.rng.randrange(self.longest)
        return self.rng.choice([1, 2, 2, 3, 5, 8, 30 if self.chance(20) else 3, 0 if self.chance(30) else 2])

    def listed(self, column):
        listed = [self.constant(column, fixed_type=True) for _ in range(self.rng.choice([1, 2, 3, 4, 6]))]
        if self.chance(7):
            base = {"num": "numeric", "text": "text", "float": "double precision"}.get(column.kind, column.type)
            listed += [self.in_type(column, base) for _ in range(self.rng.randrange(self.longest))]
        return ", ".join(listed)

    def comparison(self, sql, column):
        """`sql`, of the kind of `column`, and a value."""
        how = self.weighted(compare=50, turned=8, listed=12, array=10, between=7, distinct=7, null=6, all=3)
        if column.kind == "bool" and how in ("between", "compare") and self.chance(70):
            return self.pick(f"{sql}", f"NOT {sql}", f"{sql} IS TRUE", f"{sql} IS NOT TRUE", f"{sql} IS FALSE",
                             f"{sql} IS NOT FALSE", f"{sql} IS UNKNOWN", f"{sql} IS NOT UNKNOWN", f"{sql} = true",
                             f"{sql} <> true", f"{sql} = false", f"{sql} <> false", f"{sql} < true", f"true = {sql}",
                             f"{sql} IS NOT DISTINCT FROM false", f"{sql} IS DISTINCT FROM true")
        negation = "NOT " if self.chance(20) else ""
        match how:
            case "compare":
                return f"{sql} {self.rng.choice(COMPARISONS)} {self.constant(column)}"
            case "turned":
                return f"{self.constant(column)} {self.rng.choice(COMPARISONS)} {sql}"
            case "listed":
                return f"{sql} {negation}IN ({self.listed(column)})"
            case "array":
                return f"{sql} {self.pick('=', '=', '=', '=', '=', '<', '<>', '>=', '>', '<=')} ANY ({self.array(column)})"
            case "all":
                return f"{sql} {self.pick('<>', '<>', '<>', '=', '<', '>=', '>', '<=')} ALL ({self.array(column)})"
            case "between":
                symmetric = self.pick("", "", "SYMMETRIC ")
                return f"{sql} {negation}BETWEEN {symmetric}{self.constant(column)} AND {self.constant(column)}"
            case "distinct":
                return f"{sql} IS {negation}DISTINCT FROM {'NULL' if self.chance(12) else self.constant(column)}"
            case "null":
                return f"{sql} IS {negation}NULL"

    def pattern(self, column, escape="\\"):
        """For LIKE: pieces of a value with wildcards around and between them."""
        value, count = self.text(column), self.pick(1, 1, 1, 2, 3)
        places = sorted(self.rng.randrange(len(value) + 1) for _ in range(2 * count))
        wild = ["%", "%", "%", "_", "_%", "%%"]
        first, last = self.pick("", "", "", *wild), self.pick("", "", *wild)
        if "%" not in first and self.chance(70):
            places[0] = min(len(value), len(first))
        if "%" not in last and self.chance(70):
            places[-1] = max(places[-2], len(value) - len(last))
        parts = [value[start:end] for start, end in zip(places[::2], places[1::2])]
        if escape and self.chance(60):
            parts = [re.sub(f"([%_{re.escape(escape)}])", lambda found: escape + found[0], part) for part in parts]
        pattern = first + parts[0] + "".join(self.rng.choice(wild) + part for part in parts[1:]) + last
        if escape and self.chance(6):
            pattern = self.pick(escape * 2, escape + "%", escape + "_", escape + "a") + pattern
        # One that ends in the escape character fails, and for some values only.
        if escape and (len(pattern) - len(pattern.rstrip(escape))) % 2:
            pattern += escape
        return pattern

    def like(self, sql, column):
        operator = f"{'NOT ' if self.chance(20) else ''}{self.pick('LIKE', 'LIKE', 'ILIKE')}"
        if self.chance(10):
            patterns = ", ".join(quoted(self.pattern(column)) for _ in range(self.pick(0, 1, 2, 3)))
            return f"{sql} {operator} {self.pick('ANY', 'ANY', 'ALL')} (ARRAY[{patterns}]::text[])"
        escape = self.pick("\\", "\\", "\\", "\\", "!", "")
        pattern = quoted(self.pattern(column, escape))
        if self.parameters is not None and self.chance(40):
            pattern = self.parameter("text", lambda: quoted(self.pattern(column, escape)))
        elif self.chance(5):
            pattern = f"(SELECT {pattern})"
        return f"{sql} {operator} {pattern}" + ("" if escape == "\\" else f" ESCAPE '{escape}'")

    def text_condition(self, sql, column):
        negation = "NOT " if self.chance(20) else ""
        match self.weighted(like=32, case=18, prefix=13, position=11, length=6, concat=4, collate=6, regex=5, cast=5):
            case "like":
                return self.like(sql, column)
            case "case":
                function = self.pick("lower", "lower", "upper", "upper", "initcap", "btrim", "rtrim")
                change = {"lower": str.lower, "upper": str.upper, "initcap": str.title}.get(function, str.strip)
                supply = lambda: quoted(change(self.text(column)))  # noqa: E731 - one of several
                one, two = supply(), supply()
                if self.parameters is not None and self.chance(40):
                    one = self.parameter("text", supply)
                if self.chance(15):
                    return self.like(f"{function}({sql})", column)
                return f"{function}({sql}) " + self.pick(f"= {one}", f"= {one}", f"= {one}", f"<> {one}", f"> {one}",
                                                         f"{negation}IN ({one}, {two})", f"= {function}({one})")
            case "prefix":
                supply = lambda: quoted(self.start(column))  # noqa: E731 - one of several
                value = supply()
                if self.parameters is not None and self.chance(40):
                    value = self.parameter("text", supply)
                size = self.rng.randrange(6)
                return self.pick(f"{negation}starts_with({sql}, {value})", f"{negation}{sql} ^@ {value}",
                                 f"left({sql}, {size}) = left({value}, {size})", f"substr({sql}, 1, {size}) = {value}",
                                 f"{sql} >= {value} AND {sql} < {value} || 'z'")
            case "position":
                value = self.text(column)
                at = self.rng.randrange(len(value) + 1)
                value = quoted(value[at:at + self.rng.randrange(4)])
                if self.parameters is not None and self.chance(30):
                    value = self.parameter("text", lambda: quoted(self.text(column)[1:4]))
                found = self.pick(f"strpos({sql}, {value})", f"position({value} IN {sql})")
                return self.pick(*(f"{found} {test}" for test in ("> 0", "> 0", "<> 0", ">= 1", "= 0", "= 1", "< 1", "<= 0", "> 1")),
                                 f"0 < {found}")
            case "length":
                size = self.pick(len(self.text(column)), self.rng.randrange(30), 0)
                function = self.pick("length", "length", "char_length", "octet_length")
                return f"{function}({sql}) {self.rng.choice(COMPARISONS)} {size}"
            case "concat":
                return f"({sql} || 'x') {self.pick('=', '<', '<>')} ({self.constant(column, True)} || 'x')"
            case "collate":
                collation = self.pick('"C"', '"ignore_accents"', '"ignore_accents"', '"ignore_accents"')
                accented = [value for value in column.values if plain(value) != value] or [self.text(column)]
                one, two = quoted(plain(self.rng.choice(accented))), quoted(self.text(column))
                return f"{sql} COLLATE {collation} {self.pick(f'= {one}', f'IN ({one}, {two})')}"
            case "regex":
                letters = re.sub("[^A-Za-z]", "", self.text(column))[:3]
                return f"{sql} {self.pick('~', '~*', '!~')} {quoted(self.pick('', '^') + letters + self.pick('', '', '$'))}"
            case "cast":
                to = self.pick("bpchar", "varchar", "varchar(3)", "char(5)", "name", "bytea", '"char"')
                if to == "bytea":
                    return f"convert_to({sql}, 'UTF8') = convert_to({quoted(self.text(column))}, 'UTF8')"
                return f"({sql})::{to} {self.pick('=', '=', '<>', '<')} {quoted(self.text(column)[:60])}::{to}"

    def start(self, column):
        value = self.text(column)
        return value[: self.rng.randrange(len(value) + 1)]

    def arithmetic(self, sql, column):
        """What is computed of a column, compared with a value or with the same of a value."""
        base = {"num": "numeric", "float": "double precision"}.get(column.kind, column.type)
        if column.kind == "int" and any(abs(int(value)) >= 2**27 for value in column.values):
            sql, base = f"({sql})::numeric", "numeric"  # where nothing overflows
        constants = [-3, -2, -1, 1, 2, 3, 7, 10]
        if column.kind != "int":
            constants += ["0.5", "-0.25", "1.1", "3.0", "100", "0.001"]
        constant = f"({self.rng.choice(constants)})"
        other = "integer" if column.kind == "int" else base
        if self.parameters is not None and self.chance(30):
            constant = self.parameter(other, lambda: f"({self.rng.choice(constants)})::{other}")
        elif self.chance(3):
            constant = f"NULL::{other}"
        whole = ["{c} % 5 + {x} % {c}", "{x} % {c}", "{x} % 2"] if column.kind == "int" else []
        form = self.pick("{x} + {c}", "{x} + {c}", "{c} + {x}", "{x} - {c}", "{c} - {x}", "-{x}", "{x} * {c}", "{c} * {x}", "{x} * 0",
                         "{x} / {c}", "{x} / {c}", "({x} + {c}) * 2", "+{x}", "abs({x})", "- ({x} - {c})", *whole)
        value = self.constant(column, True)
        if column.values and self.chance(60):
            row = self.rng.choice(column.values)
            value = form.format(x=f"{quoted(row)}::{base}", c=constant)
        sides = [form.format(x=sql, c=constant), value]
        if self.chance(15):
            sides.reverse()
        elif self.chance(8):
            return f"{sides[0]} BETWEEN {value} AND {self.constant(column, True)}"
        return f"{sides[0]} {self.rng.choice(COMPARISONS)} {sides[1]}"

    def number_condition(self, sql, column):
        if column.kind == "float" or self.chance(40):
            return self.arithmetic(sql, column)
        if self.chance(30):
            # Another type, perhaps with a fraction.
            value = f"{quoted(self.number(column))}::numeric"
            whole = f"{quoted(self.integer(column))}::bigint" if column.kind == "int" else f"{self.rng.randrange(2000)}::bigint"
            digits = self.pick(0, 0, 1, 2)
            forms = [f"{sql} {self.rng.choice(COMPARISONS)} {value}", f"{sql} {self.rng.choice(COMPARISONS)} {whole}",
                     f"{sql} IN ({value}, {whole})", f"{sql} = ANY (ARRAY[{value}, {whole}, NULL])",
                     f"{sql} BETWEEN {whole} AND {value}", f"{self.pick('floor', 'ceil', 'trunc')}({sql}) = {whole}",
                     f"round(({sql})::numeric, {digits}) {self.rng.choice(COMPARISONS)} round({value}, {digits})",
                     f"({sql})::text LIKE {quoted(self.value(column)[:2] + '%')}"]
            if all(decimal.Decimal(number).is_finite() and abs(decimal.Decimal(number)) < 2**31 - 1 for number in column.values):
                forms += [f"({sql})::integer {self.rng.choice(COMPARISONS)} {self.rng.randrange(100)}",
                          f"({sql})::numeric(12,1) = round({sql}, 1)" if column.kind == "num" else f"({sql})::bigint = {whole}"]
            return self.rng.choice(forms)
        value, small = self.constant(column, True), self.rng.randrange(1, 9)
        number = f"({sql})::numeric"
        return self.pick(
            f"{sql} + {small} {self.rng.choice(COMPARISONS)} {value}", f"-({number}) {self.rng.choice(COMPARISONS)} {value}",
            f"{number} * 2 = {value}", f"abs({number}) > {value}", f"round({number}, {self.pick(0, 1, 2, -1)}) = {value}",
            f"{number} / {small} < {value}", f"({sql})::text = {quoted(self.value(column))}", f"sign({number}) = {self.pick(-1, 0, 1)}",
            f"({sql})::float8 {self.rng.choice(COMPARISONS)} {self.rng.randrange(1000)}::float8",
            f"{sql} {self.rng.choice(COMPARISONS)} {self.rng.randrange(2000) / 10}",
            f"{sql} {self.rng.choice(COMPARISONS)} {self.rng.randrange(200)}::float8",
            f"{number} {self.rng.choice(COMPARISONS)} {self.rng.randrange(200)}::smallint",
            f"({sql}) > {self.rng.randrange(30)} - 5 + {small}",
        )

    def calendar(self, sql, column):
        """date_trunc(), extract() and casts to date, compared with values of rows."""
        compare, sql_type = self.rng.choice(COMPARISONS), MOMENT_TYPES[column.kind if self.chance(75) else self.pick(*MOMENT_TYPES)]

        def supply():
            value = self.rng.choice(column.values or ["2024-02-29"])
            if not re.match(r"\d{4}-\d\d-\d\d", value):
                value = self.pick("2024-02-29", "infinity", "-infinity")
            return f"{quoted(value[:10] if self.chance(60) else value)}::{sql_type}"

        def given():
            return self.parameter(sql_type, supply) if self.parameters is not None and self.chance(50) else supply()

        year = int(self.rng.choice([value[:4] for value in column.values if re.match(r"\d{4}-", value)] or ["2024"]))
        one = str(year)
        if self.parameters is not None and self.chance(40):
            one = self.parameter(self.pick("integer", "numeric", "float8"), lambda: str(year + self.pick(-1, 0, 0, 0, 1)))
        part = self.pick("year", "quarter", "month", "month", "week", "day", "hour", "minute")
        left = self.pick(sql, sql, sql, f"({sql})::timestamp", f"({sql})::timestamptz", f"({sql})::date")
        start = f"date_trunc('{part}', {left})"
        right, second = (f"date_trunc('{part}', {given()})" if self.chance(50) else given() for _ in range(2))
        of_year = self.pick(f"extract(year FROM {left})", f"date_part('year', {left})", f"extract(isoyear FROM {left})")
        smaller = self.pick("month", "quarter", "week", "day", "dow", "doy")
        return self.pick(
            f"{start} {compare} {right}", f"{start} {compare} {right}", f"{start} {compare} {right}", f"{right} {compare} {start}",
            f"{start} BETWEEN {right} AND {second}", f"{start} IN ({right}, {second})",
            f"date_trunc('{part}', ({sql})::timestamptz, 'Asia/Tokyo') {compare} {right}",
            f"({sql})::date {compare} {given()}", f"({sql})::date BETWEEN {given()} AND {given()}", f"date({sql}) = {given()}",
            f"({sql})::date IN ({given()}, {given()})", f"{sql} {compare} {given()}", f"{sql} IN ({given()}, {given()})",
            f"{of_year} {compare} {one}", f"{of_year} {compare} {one}", f"{of_year} IN ({one}, {year + 1})",
            f"{of_year} BETWEEN {year - 1} AND {one}", f"{one} {compare} {of_year}",
            f"({of_year} = {one} AND extract({smaller} FROM {sql}) {compare} {self.rng.randrange(1, 13)})",
            f"extract({smaller} FROM {left}) {compare} {self.rng.randrange(13)}",
        )

    def time_condition(self, sql, column):
        if self.chance(55):
            return self.calendar(sql, column)
        compare = self.rng.choice(COMPARISONS)
        day = quoted(self.rng.choice(column.values or DATES)[:10])
        if not re.fullmatch(r"'\d{4}-\d\d-\d\d'", day):
            day = "'2024-02-29'"
        part = self.pick("year", "month", "day", "quarter", "week")
        moment = f"({sql})::timestamp" if column.kind == "date" else sql
        return self.pick(
            f"({sql})::date {compare} {day}::date", f"date_trunc('{part}', {moment}) {compare} {day}::date",
            f"extract({part} FROM {sql}) {compare} {self.rng.randrange(25)}", f"{sql} + interval '1 day' {compare} {day}",
            f"{sql} {compare} {day}::date", f"{sql} {compare} {day}::timestamp", f"{sql} {compare} {day}::timestamptz",
            f"{sql} {compare} {day}::date + {self.rng.randrange(400)}", f"({sql})::timestamp {compare} {day}",
            f"({sql})::timestamptz {compare} ({day}::timestamp AT TIME ZONE 'Asia/Tokyo')",
            f"({sql})::timestamptz AT TIME ZONE 'America/New_York' {compare} {day}",
            f"to_char({sql}, 'YYYY-MM') = {day[:8]}'", f"age({moment}, {day}) > interval '1 year'",
            f"({moment}, interval '10 days') OVERLAPS ({day}::timestamp, interval '30 days')"
            if column.kind != "tstz" else f"{sql} >= {day}::timestamptz AND {sql} < {day}::timestamptz + interval '1 month'",
            f"{sql} >= date_trunc('month', {day}::timestamp)"
            f" AND {sql} < date_trunc('month', {day}::timestamp) + interval '1 month'",
        )

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

    # -- queries ------------------------------------------------------------------------------------------------------

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
