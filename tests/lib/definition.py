"""A definition of an endpoint (Swagger 2.0 or OpenAPI 3), read once more by code that shares nothing with the extension."""

import functools
import json
import pathlib

TYPES = {"String": "text", "Decimal": "numeric", "Double": "double precision", "Int": "integer", "Short": "smallint",
         "Long": "bigint", "Byte": "smallint", "Boolean": "boolean", "DateTime": "timestamp with time zone",
         "DateOnly": "date", "Guid": "uuid"}


class Definition:
    """The entities, types and fields of a definition."""

    def __init__(self, path):
        document = json.loads(pathlib.Path(path).read_bytes())
        self.path = str(path)
        self.endpoint, _, self.version = document["info"]["title"].partition("/")
        self.schemas = document.get("definitions") or document["components"]["schemas"]
        names = [path[1:] for path in document["paths"] if "/" not in path[1:] and "{" not in path]
        self.entities = {name: self.type_of(document["paths"]["/" + name]) for name in names}

    @staticmethod
    def reference(schema):
        if len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        return schema.get("$ref", "").rpartition("/")[2]

    def type_of(self, item):
        if isinstance(item, dict):
            name = self.reference(item)
            if any(self.reference(base) == "Entity" for base in self.schemas.get(name, {}).get("allOf", ())):
                return name
            item = list(item.values())
        return next(filter(None, map(self.type_of, item)), None) if isinstance(item, list) else None

    @functools.lru_cache(None)
    def members(self, name):
        found = {}
        for base in self.schemas[name].get("allOf", ()):
            if "$ref" in base and self.reference(base) != "Entity":
                found.update(self.members(self.reference(base)))
            found.update(base.get("properties", {}))
        return {member: self.kind(schema) for member, schema in found.items()}

    def is_record(self, name):
        return any(self.reference(base) == "Entity" for base in self.schemas.get(name, {}).get("allOf", ()))

    def kind(self, schema):
        """(value, SQL type), (choice, text), (link, type), (list, type) or (other, jsonb)."""
        name = self.reference(schema)
        if self.is_record(name):
            return "link", name
        item = self.reference(schema.get("items", {}))
        if self.is_record(item):
            return "list", item
        if name.removesuffix("Value") in TYPES:
            return "value", TYPES[name.removesuffix("Value")]
        inner = self.schemas.get(self.reference(self.schemas.get(name, {}).get("properties", {}).get("value", {})), {})
        if {"id", "description"} <= inner.get("properties", {}).keys():
            return "choice", "text"
        return "other", {"string": "text"}.get(schema.get("type"), "jsonb")

    def fields(self, name, prefix="", seen=(), links=0):
        """Types by path, with those of linked records, two links deep."""
        found = {}
        for member, (kind, what) in self.members(name).items():
            path = prefix + member
            if kind == "link" and links < 2 and what not in (*seen, name):
                found.update(self.fields(what, f"{path}/", (*seen, name), links + 1))
            elif kind not in ("link", "list"):
                found[path] = what
                if kind == "choice":
                    found[f"{path}/id"] = what
        return found

    def details(self, name, prefix="", seen=(), links=0):
        """All lists below a record, with their fields. A path does not pass the same type twice."""
        for member, (kind, what) in self.members(name).items():
            if kind in ("link", "list") and what not in (*seen, name) and (kind == "list" or links < 2):
                if kind == "list":
                    yield f"{prefix}{member}", self.fields(what, seen=(*seen, name))
                yield from self.details(what, f"{prefix}{member}/", (*seen, name), 0 if kind == "list" else links + 1)

    def is_form(self, entity):
        lists = [member for member, (kind, _) in self.members(self.entities[entity]).items() if kind == "list"]
        return bool(lists) and (entity.endswith("Inquiry") or bool({"Results", "Result"} & set(lists)))
