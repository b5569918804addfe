#!/usr/bin/env bash
# Measures the planning time of a query with ten conditions on a data access class of 300 columns, each with options: the
# median of 200 plannings in one backend, and of the first planning in each of 20 backends. Needs no simulator, because
# planning sends no request.
# Run by `make bench`.
set -euo pipefail
psql=(psql -X -q -At -v ON_ERROR_STOP=1)

"${psql[@]}" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS acumatica_fdw;
DROP SERVER IF EXISTS planning CASCADE;
CREATE SERVER planning FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url 'http://127.0.0.1:9', company 'Company', page_size '5000');
CREATE USER MAPPING FOR PUBLIC SERVER planning OPTIONS (username 'admin', password 'secret');
SELECT format('CREATE FOREIGN TABLE wide (%s) SERVER planning OPTIONS (schema ''DAC'', entity ''PX_Objects_SO_SOOrder'')',
    string_agg(format('c%s %s OPTIONS (field ''Field%s''%s)', i,
        (ARRAY['text', 'numeric', 'timestamptz', 'boolean', 'integer', 'date'])[1 + i % 6], i,
        CASE WHEN i <= 2 THEN format(', key ''%s''', i) ELSE '' END), ', '))
FROM generate_series(1, 300) AS i \gexec
SQL
query="SELECT * FROM wide WHERE c6 = 'a' AND c12 LIKE 'b%' AND c1 > 10 AND c7 BETWEEN 1 AND 5 AND c2 >= '2024-01-01'
	AND c8 < now() AND c3 AND c4 IN (1, 2, 3) AND c5 = '2024-05-05' AND (c10 = 7 OR c16 = 8)"

# times SESSIONS QUERIES: planning times in milliseconds
times() {
	local session
	for ((session = 0; session < $1; session++)); do
		for ((i = 0; i < $2; i++)); do printf 'EXPLAIN (SUMMARY) %s;\n' "$query"; done | "${psql[@]}"
	done | sed -n 's/^Planning Time: \([0-9.]*\) ms.*/\1/p'
}
median() { sort -n | awk '{ all[NR] = $1 } END { printf "%.3f", all[int((NR + 1) / 2)] }'; }

printf 'planning, 300 columns and 10 conditions      %9s ms\n' "$(times 1 200 | median)"
printf 'the same, the first query of a backend       %9s ms\n' "$(times 20 1 | median)"
"${psql[@]}" -c 'DROP SERVER planning CASCADE' 2>/dev/null
