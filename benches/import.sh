#!/usr/bin/env bash
# Measures the time of imports and the growth of the backend: medians of 5 imports, each in a new backend. Uses the endpoint
# definition in ../shared/fixtures if it exists, else the simulator's own. Run by `make bench`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
definition=$here/../shared/fixtures/swagger/Default_24.200.001.swagger.json
options=(--dac-filler 2245)
if [[ -e $definition ]]; then options+=(--definition "$definition"); else echo "$definition is absent: a small endpoint"; fi
url=$("$here/tests/sim.sh" start "$BENCH_DIR" "${options[@]}")
psql=(psql -X -q -At -v ON_ERROR_STOP=1)

"${psql[@]}" -v "url=$url" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS acumatica_fdw;
DROP SERVER IF EXISTS importing CASCADE;
CREATE SERVER importing FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER importing OPTIONS (username 'admin', password 'secret');
SQL

# measure NAME STATEMENT
measure() {
	local name=$1 statement=$2
	for _ in 1 2 3 4 5; do
		"${psql[@]}" -c 'CREATE SCHEMA imported'
		"${psql[@]}" <<-SQL | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p; s/^VmHWM:[^0-9]*\([0-9]*\) kB/\1 kB/p' | paste -sd ' '
			SET client_min_messages = warning;
			SELECT FROM acumatica_endpoints('importing') LIMIT 1;
			SELECT pg_read_file('/proc/self/status');
			\\timing on
			$statement;
			\\timing off
			SELECT pg_read_file('/proc/self/status');
		SQL
		"${psql[@]}" -c 'SET client_min_messages = warning; DROP SCHEMA imported CASCADE'
	done | sort -n -k 3 |
		awk -v name="$name" '{ t[NR] = $3; m[NR] = $4 - $1 } END { printf "%-60s %8.1f ms, %d MB\n", name, t[3], m[3] / 1024 }'
}

measure 'an endpoint' 'IMPORT FOREIGN SCHEMA "REST" FROM SERVER importing INTO imported'
measure 'three of 2,257 data access classes' \
	'IMPORT FOREIGN SCHEMA "DAC" LIMIT TO (so_order, so_line, customer) FROM SERVER importing INTO imported'
"$here/tests/sim.sh" stop "$BENCH_DIR"
