#!/usr/bin/env bash
# Measures scans with and without LIMIT: medians of 7 runs over 200,000 rows of 12 columns of a generic inquiry, read from
# the simulator on this machine. Run by `make bench`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
url=$("$here/tests/sim.sh" start "$BENCH_DIR" --scale 10)
psql=(psql -X -q -At -v ON_ERROR_STOP=1)

"${psql[@]}" -v "url=$url" <<'SQL'
CREATE EXTENSION IF NOT EXISTS acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'secret');
CREATE FOREIGN TABLE orders (
    "OrderType" text OPTIONS (key '1'), "OrderNbr" text OPTIONS (key '2'), "CustomerID" text, "Description" text,
    "Date" date, "OrderTotal" numeric, "OrderedQty" numeric, "LineCounter" bigint, "Hold" boolean,
    "LastModifiedOn" timestamptz, "ApprovedOn" timestamp, "NoteID" uuid
) SERVER erp OPTIONS (schema 'OData', inquiry 'BI-SalesOrders');
SQL

# median NAME QUERY: of seven runs in one backend, the first of which opens the session and is not counted.
median() {
	{
		echo "SELECT 1 FROM orders LIMIT 1;"
		printf "%s\n" "\\timing on"
		for _ in 1 2 3 4 5 6 7; do echo "$2;"; done
	} | "${psql[@]}" -o /dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | sort -n |
		awk -v name="$1" '{ t[NR] = $1 } END { printf "%-60s %8.1f ms (%.1f to %.1f)\n", name, t[int((NR + 1) / 2)], t[1], t[NR] }'
}

# The whole row is fetched and made into datums; the aggregate keeps nothing of it.
all='count(o."OrderType"), count(o."OrderNbr"), count(o."CustomerID"), count(o."Description"), count(o."Date"),
	sum(o."OrderTotal"), sum(o."OrderedQty"), sum(o."LineCounter"), count(o."Hold"), max(o."LastModifiedOn"),
	max(o."ApprovedOn"), count(o."NoteID")'
median "200,000 rows of 12 columns" "SELECT $all FROM orders o"
median "200,000 rows, count(*)" "SELECT count(*) FROM orders"
median "LIMIT 5" "SELECT * FROM orders LIMIT 5"
"$here/tests/sim.sh" stop "$BENCH_DIR"
