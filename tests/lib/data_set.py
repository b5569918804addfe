"""The simulator's data set as foreign tables, and the same rows as a local table to compare them with. Importing this
starts a simulator and imports all entities of its REST endpoint into the schema `s`.
"""

import pathlib

import harness
from harness import Sim, connect, create_server

DEFINITIONS = pathlib.Path(__file__).resolve().parents[1] / "definitions"
SCALE = ("--scale", "0.1")
sim = Sim("--seats", 0, *SCALE)
db = connect(options="-c statement_timeout=60s")
create_server(db, sim)


def test(function):
    """Runs a test as the harness does, then resets settings, prepared statements and the simulator."""
    harness.test(function)
    db.execute("RESET ALL; DEALLOCATE ALL; SET statement_timeout = '60s'; SET client_min_messages = warning")
    sim.reset()


def load(remote, only="", server="erp", into="s", **options):
    listed = ", ".join(f"{name} '{text}'" for name, text in options.items())
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {into}")
    db.execute(f'IMPORT FOREIGN SCHEMA "{remote}" {only} FROM SERVER {server} INTO {into} OPTIONS ({listed})'.replace("OPTIONS ()", ""))


def rows(query, *parameters):
    return db.execute(query, *parameters).fetchall()


def value(query, *parameters):
    return db.execute(query, *parameters).fetchone()[0]


def truth(name, fields, types, *arguments, simulator=sim):
    """A local table `truth` with the rows of the data set."""
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(types))
    db.execute(f"DROP TABLE IF EXISTS truth; CREATE TEMP TABLE truth ({columns})")
    with db.cursor().copy("COPY truth FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
        copy.write(simulator.dump(name, fields, *SCALE, *arguments))


def same(query, wanted="TABLE truth", some=True):
    """Both queries give the same rows, to the last one and the last digit."""
    db.execute(f"DROP TABLE IF EXISTS got; CREATE TEMP TABLE got AS {query}")
    difference = rows(f"(TABLE got EXCEPT ALL ({wanted})) LIMIT 3"), rows(f"(({wanted}) EXCEPT ALL TABLE got) LIMIT 3")
    assert difference == ([], []), difference
    assert not some or value("SELECT count(*) FROM got") > 0, "no rows at all"


def requests(part=""):
    return [r for r in sim.requests(part) if r["status"] == 200]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


load("REST")


# -- an inquiry form ---------------------------------------------------------------------------------------------------

FORM = "s.inventory_summary_inquiry"


def form_truth():
    truth("gi/Inventory by Warehouse", ["InventoryID", "LineNbr", "Warehouse", "Location", "QtyOnHand", "QtyAvailable"], ["text", "int", "text", "text", "numeric", "numeric"])
    db.execute("UPDATE truth SET c2 = rtrim(c2)")


COLUMNS = "inventory_id, row_number, results_warehouse_id, results_location_id, qty_on_hand, qty_available"
form_truth()
ITEMS = [item for (item,) in rows("SELECT DISTINCT c0 FROM truth ORDER BY 1")]
SITES = [site for (site,) in rows("SELECT c2 FROM truth WHERE c0 = ANY (%s) GROUP BY 1 ORDER BY count(*) DESC, 1", [ITEMS[:3]])]
CALLS = "InventorySummaryInquiry"


def end(*others):
    """The last test of a script: no session is open, in this simulator and in others."""

    def no_session_is_left():
        db.execute("SELECT acumatica_disconnect_all()")
        assert not any(each.sessions() for each in (sim, *others))

    test(no_session_is_left)
    harness.finish()
