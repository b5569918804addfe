#!/usr/bin/env bash
# `make demo`: everything from nothing to a running example (docs/demo.sql), in a cluster and a simulator of our own.
#   tests/demo.sh start|stop|remove
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"

stop() {
	tests/sim.sh stop "$dir"
	tests/cluster.sh stop "$dir/cluster"
}

case ${1:-} in
start) ;;
stop | remove)
	dir=$(work_base)/demo
	stop
	echo "the demo's PostgreSQL and simulator are stopped"
	if [[ $1 == remove ]]; then rm -rf "$(work_base)"; fi
	exit
	;;
*) die "usage: tests/demo.sh start|stop|remove" ;;
esac

tests/deps.sh
dir=$(work_base)/demo
pg_config=$(find_pg_config)
profile=${PROFILE:-release}

say "building the extension for $("$pg_config" --version) and the simulator (minutes the first time)"
pg_cargo "$pg_config" build --profile "$profile"
cargo build --release -p acumatica-sim

say "starting PostgreSQL and the simulator in $dir"
mkdir -p "$dir"
# If a step fails, or after Ctrl-C, remove everything.
trap 'stop' EXIT
trap 'exit 130' INT TERM
PROFILE=$profile tests/cluster.sh install "$dir/cluster"
tests/cluster.sh start "$dir/cluster"
# The simulator of an earlier run may be an older build; starting takes a second or two.
url=$(tests/sim.sh start "$dir" --scale 5 --latency-ms 20)
echo "PostgreSQL: socket $dir/cluster/sock    simulator: $url" >&2

# The command for the user to type: the psql on the PATH of the user's shell, else the one of this PostgreSQL.
users_psql=$(command -v psql || echo "$("$pg_config" --bindir)/psql")
[[ $users_psql != /usr/bin/psql ]] || users_psql=psql
eval "$(tests/cluster.sh env "$dir/cluster")"
psql=(psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --pset pager=off)
[[ $("${psql[@]}" -Atc "SELECT count(*) FROM pg_database WHERE datname = 'demo'") == 1 ]] || createdb demo
"${psql[@]}" --dbname demo --echo-queries --set "url=$url" --file docs/demo.sql
trap - EXIT

cat <<END

==> your turn
  $users_psql -h $dir/cluster/sock -p 5432 -U postgres demo
  \\dE+ erp.*                                             -- the tables above are still there, with their titles
  SELECT * FROM erp.customer LIMIT 10;
  EXPLAIN (ANALYZE, VERBOSE) SELECT customer_name FROM erp.customer;    -- what is asked of the server
  SELECT * FROM inquiries.inventory_by_warehouse WHERE warehouse = 'MAIN2' AND location = 'R1S2';    -- try it without WHERE
  SELECT inquiry, parameters FROM acumatica_inquiries('erp');
  SELECT * FROM acumatica_options();                      -- every option
  make demo-stop                                          -- stops PostgreSQL and the simulator

docs/import.md and docs/tables.md go on from here.
END
