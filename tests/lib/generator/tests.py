"""Conditions on one column, by its type."""

import decimal
import re

from .rows import quoted
from .values import DATES, Values, plain

COMPARISONS = ["=", "=", "=", "=", "<>", "<", "<=", ">", ">="]
MOMENT_TYPES = {"date": "date", "ts": "timestamp", "tstz": "timestamptz"}


class Tests(Values):
    """`longest`: of lists of values."""

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
