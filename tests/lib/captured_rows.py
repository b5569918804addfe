"""How the real server treats rows (docs/acumatica.md 2.2): what of a captured record it shows, and which records meet a $filter."""

import datetime
import re


def value_of(row, path):
    """What a record has at a path such as MainContact/Email: the text of the value, None if it has none."""
    for name in path.split("/"):
        if not isinstance(row, dict):
            return None
        row = row.get(name)
    if isinstance(row, dict):
        row = row.get("value")
    return row


def is_object(value):
    """A linked entity, not a field: it has an id."""
    return isinstance(value, dict) and "id" in value and "rowNumber" in value


def selected(row, select, expand, custom, contract, filtered):
    """A record as the server returns it for these query options."""
    top = {name for name in select if "/" not in name and name != "files"}
    shown = {}
    for name, value in row.items():
        if name in ("id", "rowNumber", "note", "error", "_links"):
            shown[name] = value
        elif name == "custom":
            shown[name] = {
                view: kept for view, fields in value.items()
                if (kept := {field: inner for field, inner in fields.items() if f"{view}.{field}" in custom})}
        elif name == "files":
            # Contract 3 has them on everything, contract 4 only when expanded, and named beside a $select.
            if contract == 3 or "files" in expand and (not select or "files" in select):
                shown[name] = value
        elif is_object(value) or isinstance(value, list) and all(is_object(inner) for inner in value):
            if name not in {path.split("/")[0] for path in expand}:
                continue
            inside = [path[len(name) + 1:] for path in select if path.startswith(f"{name}/")]
            # Beside a $select an expanded detail must be named in it, or it is silently empty.
            named = inside or name in select or not select
            deeper = [path[len(name) + 1:] for path in expand if path.startswith(f"{name}/")]
            of_it = {entry[len(name) + 1:] for entry in custom if entry.startswith(f"{name}/")}
            one = lambda inner: selected(inner, inside, deeper, of_it, contract, set())
            if isinstance(value, list):
                shown[name] = [one(inner) for inner in value] if named else []
            else:
                shown[name] = one(value)
        # A $select of nested paths only leaves all fields of the record in.
        elif not top or name in top or name in filtered:
            shown[name] = value
    # A linked entity that was not recorded comes as null, a detail as an empty list; which it is, `expand` cannot tell.
    return shown


TOKEN = re.compile(
    r"\s*(?:(?P<text>(?:datetimeoffset|datetime|date|guid)?'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?[MmLdf]?(?![\w-]))"
    r"|(?P<word>[\w/.@-]+)|(?P<sign>[(),]))")


class Unsupported(Exception):
    """A request whose answer neither a capture nor a fact of docs/acumatica.md gives."""


class Condition:
    """A $filter over captured rows, as SQL Server compares: case and trailing blanks do not count, null equals nothing."""

    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            if not found:
                raise Unsupported(f"condition {text!r} at {at}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.at, self.fields = 0, set()
        self.test = self.either()
        if self.at != len(self.tokens):
            raise Unsupported(f"condition {text!r} behind {self.tokens[:self.at]}")

    def peek(self, word):
        return self.at < len(self.tokens) and self.tokens[self.at][1] == word

    def take(self):
        if self.at >= len(self.tokens):
            raise Unsupported("a condition that ends early")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, word):
        if self.take()[1] != word:
            raise Unsupported(f"no {word} where one belongs")

    def either(self):
        tests = [self.both()]
        while self.peek("or"):
            self.take()
            tests.append(self.both())
        return lambda row: any(test(row) for test in tests)

    def both(self):
        tests = [self.single()]
        while self.peek("and"):
            self.take()
            tests.append(self.single())
        return lambda row: all(test(row) for test in tests)

    def single(self):
        if self.peek("("):
            self.take()
            test = self.either()
            self.expect(")")
            return test
        kind, word = self.take()
        if word in ("startswith", "endswith", "substringof") and self.peek("("):
            self.take()
            first = self.take()
            self.expect(",")
            second = self.take()
            self.expect(")")
            (_, text), (_, field) = (first, second) if word == "substringof" else (second, first)
            self.fields.add(field)
            part = text[1:-1].replace("''", "'").lower()
            how = {"startswith": str.startswith, "endswith": str.endswith, "substringof": str.__contains__}[word]
            return lambda row: how(str(value_of(row, field) or "").lower(), part)
        if kind != "word":
            raise Unsupported(f"{word} where a field belongs")
        operator, (literal_kind, literal) = self.take()[1], self.take()
        self.fields.add(word)
        compare = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "gt": lambda a, b: a > b,
                   "ge": lambda a, b: a >= b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b}.get(operator)
        if compare is None:
            raise Unsupported(f"operator {operator}")
        if literal == "null":
            return lambda row: (value_of(row, word) is None) == (operator == "eq")

        def test(row):
            value = value_of(row, word)
            if value is None:
                return operator == "ne"
            return compare(*comparable(value, literal_kind, literal))

        return test


def comparable(value, kind, literal):
    if kind == "number":
        return float(value), float(literal.rstrip("MmLdf"))
    if literal in ("true", "false"):
        return value, literal == "true"
    if literal.startswith("date"):
        return moment(value), moment(literal.split("'")[1])
    text = literal.split("'", 1)[1][:-1].replace("''", "'") if kind == "text" else literal
    return str(value).lower().rstrip(), text.lower().rstrip()


def moment(text):
    found = datetime.datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*", lambda m: m[1].ljust(7, "0"), text.replace("Z", "+00:00")))
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
