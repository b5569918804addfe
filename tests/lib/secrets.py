#!/usr/bin/env python3
"""Looks for secrets in the server's log: tests/lib/secrets.py LOG SECRETS SIM_URL

SECRETS is a file with one secret a line, written by simulators when they ended. SIM_URL is a simulator that still runs,
which is asked for its secrets. The log must be written with log_min_messages = debug5, or the test proves little.
"""

import base64
import json
import re
import sys
import urllib.parse
import urllib.request

log = open(sys.argv[1], "rb").read()
# Lines of this level contain statements as the user sent them, which may contain secrets.
ENTRY = rb"^\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\] .*\n(?:(?!\d{4}-).*\n)*"
STATEMENT = re.compile(rb"\A\S+ \S+ UTC \[\d+\] .{0,80}?DEBUG:  (?:parse|bind) ")
log = b"".join(entry for entry in re.findall(ENTRY, log, re.MULTILINE) if not STATEMENT.match(entry))
secrets = set(open(sys.argv[2]).read().split("\n")) - {""}
secrets |= set(json.load(urllib.request.urlopen(sys.argv[3].rstrip("/") + "/__sim/secrets")))
assert b"DEBUG:" in log and b"ERROR:" in log and len(secrets) > 100, "this proves nothing"


def forms(secret):
    """The secret, and its encodings in requests."""
    yield secret
    if len(secret) < 12:
        return  # the others would be too short to mean anything
    yield urllib.parse.quote(secret, safe="")
    for offset in range(3):  # in base64, wherever it begins
        yield base64.b64encode(b"\0" * offset + secret.encode()).decode()[4:-4]


found = {secret for secret in secrets if any(form and form.encode() in log for form in forms(secret))}
for secret in sorted(found):
    at = next(log.find(form.encode()) for form in forms(secret) if form and form.encode() in log)
    line = log[log.rfind(b"\n", 0, at) + 1 : log.find(b"\n", at)].decode(errors="replace")
    print(f"not ok - a secret is in the server's log: {line[:300]}")
print(f"# {len(secrets)} secrets, {len(log) >> 20} MB of log")
if not found:
    print("ok - no secret is in the server's log, at debug5")
