#!/usr/bin/env python3
"""The reference page of the options is what acumatica_options() says. ACCEPT=1 writes it anew."""

import os
import pathlib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import connect, finish, test

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "options.md"
HEAD = """# Options

All options, as `SELECT * FROM acumatica_options()` lists them. This page is written by
`ACCEPT=1 TESTS=e2e/documentation make test` and checked by `make test`: change `src/option.rs`, not the page.

Names are matched exactly, values of a choice in any case. What an option is not for, it is refused for: an option of
another object, one that the chosen schema cannot use, the same option twice or under two names.
"""


def page(connection):
    lines = [HEAD]
    objects = ("server", "user mapping", "foreign table", "column")
    rows = connection.execute("SELECT * FROM acumatica_options()").fetchall()
    for kind in objects:
        lines += [f"\n## {kind.capitalize()}\n", "| option | value | default | |", "|---|---|---|---|"]
        for name, aliases, where, value, default, secret, purpose in rows:
            if kind in where:
                also = f" (or `{'`, `'.join(aliases)}`)" if aliases else ""
                value = value.replace(" | ", ", ")
                default = f"`{default}`" if default else ""
                lines.append(f"| `{name}`{also} | {value} | {default} | {purpose}{' Secret.' if secret else ''} |")
    return "\n".join(lines) + "\n"


@test
def the_page_of_options_is_that_of_the_code():
    text = page(connect())
    if os.environ.get("ACCEPT") == "1":
        PAGE.write_text(text)
    assert PAGE.read_text() == text, f"{PAGE} is out of date: run ACCEPT=1 TESTS=e2e/documentation make test"


finish()
