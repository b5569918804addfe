"""Values: most often those of a column, a little changed; as constants, parameters, stable functions or subqueries."""

import decimal
import unicodedata

from .rows import name, quoted

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


def plain(text):
    """Without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


class Values:
    """What makes values. `rng`: the source of all chance; `tables`: those that can be queried; `parameters`: (type, function
    that supplies a value) of each parameter of the statement, `None` if it has none."""

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
