"""Tables whose rows are known, and queries that can be made smaller."""

import collections
import decimal
import functools
import re

KINDS = {
    "text": "text", "character varying": "text", "character": "text", "name": "text", "citext": "text",
    "smallint": "int", "integer": "int", "bigint": "int", "numeric": "num", "double precision": "float", "real": "float",
    "boolean": "bool", "date": "date", "timestamp without time zone": "ts", "timestamp with time zone": "tstz",
    "uuid": "uuid", "jsonb": "json",
}


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
        """The kind of its values, and the rows of each value, where equal numbers count as one value."""
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
