#!/usr/bin/env python3
"""Measures a key join against a bare program that sends the same requests, and against reading the whole table.

1,000 keys and 200,000 orders of a data access class; the simulator answers after 20 ms. Medians of 5. The bare program signs in
before its time is taken, keeps its connection, parses the JSON of each answer and joins the rows in a dictionary.
Run by `make bench`.
"""

import gzip
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUNS = 5
QUERY = "SELECT count(*), sum(o.cury_order_total) FROM wanted w JOIN so_order o ON o.order_type = 'SO' AND o.order_nbr = w.nbr"


def sim(command, *arguments):
    run = [f"{ROOT}/tests/sim.sh", command, os.environ["BENCH_DIR"], *arguments]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def psql(script, *arguments):
    command = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", *arguments]
    return subprocess.run(command, input=script, check=True, capture_output=True, text=True).stdout


def timed(query, settings=""):
    script = f"SET search_path = joined;\n{settings}\n{query};\n\\timing on\n" + f"{query};\n" * RUNS
    return statistics.median(float(ms) for ms in re.findall(r"^Time: ([0-9.]+) ms", psql(script), re.M))


class Bare:
    """A program that knows the addresses."""

    def __init__(self, site):
        self.connection = http.client.HTTPConnection(site.hostname, site.port)
        login = json.dumps({"name": "admin", "password": "secret", "tenant": "Company"})
        self.connection.request("POST", "/entity/auth/login", login, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.read()
        cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        self.headers = {"Cookie": "; ".join(cookies), "Accept": "application/json", "Accept-Encoding": "gzip"}

    def get(self, address):
        self.connection.request("GET", address, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.getheader("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return json.loads(body)["value"]

    def join(self, keys, addresses):
        rows = {row["OrderNbr"].strip(): row for address in addresses for row in self.get(address)}
        return sum(rows[key].get("CuryOrderTotal", 0) for key in keys if key in rows)


def main():
    url = sim("start", "--scale", "10", "--latency-ms", "20", "--seats", "0")
    site = urlsplit(url)

    def control(method, what):
        connection = http.client.HTTPConnection(site.hostname, site.port)
        connection.request(method, f"/__sim/{what}")
        text = connection.getresponse().read()
        return json.loads(text) if text else None

    psql(f"""
        SET client_min_messages = warning;
        CREATE EXTENSION IF NOT EXISTS acumatica_fdw;
        DROP SERVER IF EXISTS joining CASCADE;
        CREATE SERVER joining FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url '{url}', company 'Company');
        CREATE USER MAPPING FOR PUBLIC SERVER joining OPTIONS (username 'admin', password 'secret');
        DROP SCHEMA IF EXISTS joined CASCADE;
        CREATE SCHEMA joined;
        IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (so_order) FROM SERVER joining INTO joined;
        SET search_path = joined;
        ANALYZE so_order;
        CREATE TABLE wanted AS SELECT order_nbr AS nbr FROM so_order WHERE order_type = 'SO' ORDER BY md5(order_nbr) LIMIT 1000;
        ANALYZE wanted;""")
    by_key = timed(QUERY)
    control("DELETE", "requests")
    psql(f"SET search_path = joined; {QUERY};")
    sent = [entry for entry in control("GET", "requests") if "SOOrder" in entry["path"]]
    addresses = [f"{entry['path']}?{entry['raw_query']}" for entry in sent]
    keys = psql("SELECT nbr FROM joined.wanted").split()
    bare, took = Bare(site), []
    for _ in range(RUNS):
        begun = time.monotonic()
        bare.join(keys, addresses)
        took.append((time.monotonic() - begun) * 1000)
    bare = statistics.median(took)
    whole = timed(QUERY, "SET acumatica_fdw.enable_key_join = off;")
    print(f"1,000 keys, {len(addresses)} requests{'':18} {by_key:9.1f} ms, by a bare program {bare:9.1f} ms, ratio {by_key / bare:.2f}")
    print(f"the same without a key join{'':17} {whole:9.1f} ms, {whole / by_key:6.1f} times")
    sim("stop")


sys.exit(main())
