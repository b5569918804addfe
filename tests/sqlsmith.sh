#!/usr/bin/env bash
# `make sqlsmith`: the fuzzer sqlsmith writes queries on foreign tables of all kinds and a few local tables. No query may
# crash the server or make the extension raise an internal error (SQLSTATE XX000).
#
# QUERIES: how many (20000). SEED: of the first (the time). SECONDS_MOST: the run ends after so many seconds (7200). PROFILE:
# cargo's profile for the extension (dev); BUILD=0: use the last build. KEEP=1: keep the directory, with the server's log.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"
export PROFILE=${PROFILE:-dev}
queries=${QUERIES:-20000} seed=${SEED:-$(($(date +%s) % 1000000))}

if ! have sqlsmith; then
	sudo=()
	if ((EUID != 0)); then sudo=(sudo -n); fi
	if ! have apt-get || ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 sqlsmith </dev/null >&2; then
		echo "skip - sqlsmith: the package sqlsmith cannot be had"
		exit
	fi
fi

if [[ ${BUILD:-1} != 0 ]]; then
	tests/deps.sh
	pg_cargo "$(find_pg_config)" build --profile "$PROFILE"
	cargo build --release -p acumatica-sim
fi

run=$(mktemp -d "$(work_base)/sqlsmith.XXXXXX")
chmod 0755 "$run"
child='' failed=0
cleanup() {
	local status=$?
	trap '' INT TERM
	if [[ -n $child ]]; then kill "$child" 2>/dev/null || true; fi
	tests/sim.sh stop "$run"
	tests/cluster.sh stop "$run/cluster"
	if [[ ${KEEP:-0} == 1 ]] || ((failed)); then
		echo "# the server's log: $run/cluster/log, what sqlsmith printed: $run/sqlsmith.out"
	else
		rm -rf "$run"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Verbose, so that the log has the SQLSTATE and where in the sources an error was raised.
export CLUSTER_CONF='log_error_verbosity = verbose
		jit = off'
tests/cluster.sh install "$run/cluster"
tests/cluster.sh start "$run/cluster"
eval "$(tests/cluster.sh env "$run/cluster")"
url=$(tests/sim.sh start "$run" --scale 0.02 --seats 0 --users admin:pass-of-admin)
export PGDATABASE=sqlsmith
createdb "$PGDATABASE"

# No superuser: sqlsmith calls every function that it finds. It is shown those of the types that columns have, or two thirds
# of what it writes would be refused for its types (it finds pg_proc by the search path, pg_operator by its full name). What
# it changes in local tables it rolls back.
psql -X -q -v ON_ERROR_STOP=1 -v url="$url" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION acumatica_fdw;
CREATE SERVER erp FOREIGN DATA WRAPPER acumatica_fdw OPTIONS (url :'url', company 'Company');
CREATE USER MAPPING FOR PUBLIC SERVER erp OPTIONS (username 'admin', password 'pass-of-admin');
CREATE SCHEMA rest;
CREATE SCHEMA gi;
CREATE SCHEMA dac;
IMPORT FOREIGN SCHEMA "REST" LIMIT TO (customer, contact, sales_order, sales_order_details, stock_item, invoice, payment,
    inventory_summary_inquiry) FROM SERVER erp INTO rest OPTIONS (custom_fields 'true');
IMPORT FOREIGN SCHEMA "OData" FROM SERVER erp INTO gi;
IMPORT FOREIGN SCHEMA "DAC" FROM SERVER erp INTO dac;
CREATE SCHEMA local;
CREATE TABLE local.customer AS SELECT * FROM rest.customer;
CREATE TABLE local.so_order AS SELECT * FROM dac.so_order;
CREATE VIEW local.joined AS SELECT o.*, c.customer_name AS customer_of FROM rest.sales_order o
    LEFT JOIN rest.customer c ON c.customer_id = o.customer_id;
ANALYZE;
CREATE SCHEMA seen;
CREATE VIEW seen.pg_proc AS SELECT * FROM pg_catalog.pg_proc WHERE (proname !~ '^(pg|lo|inet|binary)_' OR proname ~ '^acumatica_')
    AND proargtypes::oid[] || prorettype <@ '{bool,int2,int4,int8,numeric,float4,float8,text,varchar,bpchar,name,date,time,timetz,
        timestamp,timestamptz,interval,uuid,jsonb,"\"any\""}'::regtype[]::oid[];
SET allow_system_table_mods = on;
DELETE FROM pg_operator o USING pg_type t WHERE t.oid IN (oprleft, oprright) AND (typcategory IN ('G', 'R', 'I', 'V')
    OR typtype = 'p' AND NOT EXISTS (SELECT FROM pg_amop JOIN pg_am a ON a.oid = amopmethod
                                     WHERE amopopr = o.oid AND amname = 'btree')
    OR typname IN ('anyrange', 'anymultirange', 'anyenum', 'tsvector', 'tsquery', 'jsonpath', 'pg_lsn', 'xid', 'xid8', 'cid', 'aclitem', 'money'));
CREATE ROLE smith LOGIN;
ALTER ROLE smith SET search_path = seen, pg_catalog, public;
GRANT USAGE ON FOREIGN SERVER erp TO smith;
GRANT USAGE ON SCHEMA rest, gi, dac, local, seen TO smith;
GRANT SELECT ON ALL TABLES IN SCHEMA rest, gi, dac, seen TO smith;
GRANT ALL ON ALL TABLES IN SCHEMA local TO smith;
SQL
counted() { psql -XAtq -c 'SELECT count(*), count(DISTINCT order_nbr), sum(order_total) FROM rest.sales_order'; }
before=$(counted)
tables=$(psql -XAtq -c "SELECT count(*) FROM information_schema.foreign_tables")
say "sqlsmith: $queries queries from seed $seed on on $tables foreign tables"

status=0
timeout -k 10 "${SECONDS_MOST:-7200}" sqlsmith --verbose --exclude-catalog --seed="$seed" --max-queries="$queries" \
	--target="host=$PGHOST port=$PGPORT user=smith dbname=$PGDATABASE options='-c statement_timeout=5s'" \
	</dev/null >"$run/sqlsmith.out" 2>&1 &
child=$!
wait "$child" || status=$?
child=''

check() { # NAME PROBLEM: what is wrong, nothing if all is well
	if [[ -z $2 ]]; then
		echo "ok - sqlsmith/$1"
	else
		printf '%s\n' "$2" | cut -c1-2000
		echo "not ok - sqlsmith/$1"
		failed=1
	fi
}

# SQLSTATE, where it was raised, message: a line for each error that was logged.
awk '/ (ERROR|FATAL|PANIC):  / { at = match($0, /(ERROR|FATAL|PANIC):  /); said = substr($0, at + RLENGTH); next }
	/ LOCATION:  / && said != "" {
		where = $0
		sub(/.* LOCATION:  /, "", where)
		print substr(said, 1, 5) "\t" where "\t" substr(said, 8)
		said = ""
	}' \
	"$PGLOG" >"$run/errors"
ran=$(grep -aoE 'queries: [0-9]+' "$run/sqlsmith.out" | tail -n 1 | cut -d' ' -f2 || true)
echo "# ${ran:-?} queries in $SECONDS s, $(wc -l <"$run/errors") errors; by SQLSTATE, those from the extension apart:"
awk -F'\t' '{ print $1, ($2 ~ /\.rs:/ ? "acumatica_fdw" : "PostgreSQL") }' "$run/errors" | sort | uniq -c | sort -rn | sed 's/^/#/'

check it_ended_by_itself "$( ((status == 0)) || { echo "exit status $status"; tail -n 5 "$run/sqlsmith.out"; })"
check no_crash "$(grep -aE 'PANIC|TRAP:|terminated by signal|exited with exit code ([2-9]|1[0-9])' "$PGLOG" | head -n 20 || true)"
# PostgreSQL's functions raise them too, for arguments that make no sense: only shown. In its planner and executor a plan
# that the extension made can be to blame.
grep -a '^XX' "$run/errors" | sort | uniq -c >"$run/internal" || true
sed 's/^/#/' "$run/internal" | head -n 30
ours='\.rs:|, (exec|node|plan|setrefs|create|pathkeys|pathnode|allpaths|equi|init|rel|tlist|foreign|tup|heaptup|mcxt|aset|resowner'
ours+='|snap|portal|restrict|prep|subselect|clauses|append|placeholder|var\.)[A-Za-z_]*\.?c?:'
check no_internal_error "$(grep -aE "$ours" "$run/internal" || true)"
check the_server_answers "$(after=$(counted 2>&1); [[ $after == "$before" ]] || echo "before: $before, now: $after")"
((failed == 0))
