#!/usr/bin/env bash
# Measures what pushdown saves: each query as it is, and with an optimization fence (OFFSET 0), so that PostgreSQL does the
# work. Medians of 5 in one backend, over 200,000 orders of a data access class; the simulator answers after 20 ms.
# Run by `make bench`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
url=$("$here/tests/sim.sh" start "$BENCH_DIR" --scale 10 --latency-ms 20)
psql=(psql -X -q -At -v ON_ERROR_STOP=1)

"${psql[@]}" -v "url=$url" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS acumatica_fdw;
DROP SERVER IF EXISTS pushing CASCADE;
CREATE SERVER pushing FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER pushing OPTIONS (username 'admin', password 'secret');
DROP SCHEMA IF EXISTS pushed CASCADE;
CREATE SCHEMA pushed;
IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (so_order) FROM SERVER pushing INTO pushed;
SQL

# median QUERY
median() {
	{
		printf 'SET search_path = pushed;\nSELECT FROM so_order LIMIT 1;\n\\timing on\n'
		for _ in 1 2 3 4 5; do printf '%s;\n' "$1"; done
	} | "${psql[@]}" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | sort -n | sed -n 3p
}

# measure NAME SELECT REST: the query on the table, and on what a fence lets through
measure() {
	local with without
	with=$(median "SELECT $2 FROM so_order $3")
	without=$(median "SELECT $2 FROM (SELECT * FROM so_order OFFSET 0) AS fenced $3")
	awk -v name="$1" -v a="$with" -v b="$without" \
		'BEGIN { printf "%-44s %9.1f ms, by PostgreSQL %9.1f ms, %6.0f times\n", name, a, b, b / a }'
}

measure 'one record by its key' 'order_desc' "WHERE order_type = 'IN' AND order_nbr = '000123'"
measure 'one in 100 by a range' 'count(order_nbr)' 'WHERE cury_order_total < 60'
measure 'LIKE' 'count(order_nbr)' "WHERE order_desc LIKE '%brass valve%'"
measure 'count(*)' 'count(*)' ''
measure 'count(*) of a range' 'count(*)' 'WHERE cury_order_total > 4000'
measure 'the ten largest' 'order_nbr, cury_order_total' 'ORDER BY cury_order_total DESC LIMIT 10'
measure 'max' 'max(last_modified_date_time)' ''
measure 'ten behind 100,000' 'order_nbr' 'LIMIT 10 OFFSET 100000'
"$here/tests/sim.sh" stop "$BENCH_DIR"
