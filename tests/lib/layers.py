"""Checks who imports whom, from the `crate::`, `self::` and `super::` paths of the sources:
no files import each other in a circle, and no room imports one that stands above it.

    layers.py [TOP]   prints each fault; the exit status says whether there are any. TOP is this repository if not given
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The crates that are checked, and their rooms, lowest first. A file that stands in no room, such as lib.rs, may import all.
ROOMS = {
    "src": ["backend", "catalog", "planner", "executor", "commands"],
    "crates/pushdown/src": [],
    "crates/client/src": ["decode", "dialect", "transport", "session", "metadata", "read"],
    "crates/schema/src": [],
    "crates/sim/src": ["data", "filter", "metadata", "odata", "rest"],
}


def modules(root):
    """Module path → source without comments and tests."""
    found = {}
    for folder, _, files in os.walk(root):
        for file in files:
            path = os.path.relpath(os.path.join(folder, file), root)
            if not file.endswith(".rs") or file == "tests.rs" or "tests" in path.split(os.sep)[:-1]:
                continue
            name = re.sub(r"(^|::)(mod|lib|main)$", "", path[:-3].replace(os.sep, "::"))
            text = open(os.path.join(folder, file), encoding="utf-8").read()
            text = re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*", "", text, flags=re.S)
            found[name] = re.sub(r"//.*", "", text)
    return found


def imports(sources):
    """Module path → the modules that it names."""
    edges = {name: set() for name in sources}
    for name, text in sources.items():
        groups = re.findall(r"\b(crate|super|self)::([a-z_0-9:]*)\{([^{}]*)\}", text)
        grouped = [(base, path + part.strip()) for base, path, parts in groups for part in parts.split(",")]
        for base, rest in grouped + re.findall(r"\b(crate|super|self)::([A-Za-z_0-9:]+)", text):
            here = name.split("::") if name else []
            up = {"crate": [], "super": here[:-1], "self": here}[base]
            parts = [part for part in up + rest.strip(":").split("::") if part]
            for length in range(len(parts), 0, -1):
                target = "::".join(parts[:length])
                if target in sources:
                    if target != name:
                        edges[name].add(target)
                    break
    return edges


def circles(edges):
    """The sets of modules that reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    sys.setrecursionlimit(10_000)
    for node in edges:
        if node not in index:
            visit(node)
    return found


def main(top):
    faults = []
    for source, rooms in ROOMS.items():
        edges = imports(modules(os.path.join(top, source)))
        for circle in circles(edges):
            faults.append(f"{source}: these import each other in a circle: {' '.join(name or '(root)' for name in circle)}")
        for name, targets in sorted(edges.items()):
            for target in sorted(targets):
                room, other = name.split("::")[0], target.split("::")[0]
                if room in rooms and other in rooms and rooms.index(other) > rooms.index(room):
                    faults.append(f"{source}: {name} imports {target}, which stands above it")
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT)
