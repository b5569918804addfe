#!/usr/bin/env bash
# `make test`: installs what is missing, then runs every suite and counts. A suite prints lines `ok - NAME`,
# `not ok - NAME` and `skip - NAME: REASON` (or is cargo's own). The last line is the sum; the exit status follows it.
# Nothing is left running, also after Ctrl-C.
#
# PROFILE: how the extension is built (default dev). KEEP=1: leave the run's directory for a look.
# TESTS="sql/scan isolation/x e2e/cancel": only these, and none of the other suites. ACCEPT=1: take what the SQL tests
# print as the expected output (then read the diff).
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"
export PROFILE=${PROFILE:-dev} TESTS=${TESTS:-}
started=$SECONDS

tests/deps.sh test
pg_config=$(find_pg_config)
base=$(work_base)

# Ends everything that carries a run's directory in its environment: the cluster, simulators, what a test forgot.
end_run() {
	local pid
	tests/cluster.sh stop "$1/cluster" || true
	while IFS= read -r pid; do
		kill -9 "$pid" 2>/dev/null || true
	done < <(run_pids "$1")
	[[ ${KEEP:-0} == 1 ]] || rm -rf "$1"
}
run_pids() (
	unset ACUMATICA_TEST_RUN # not grep itself
	grep -lsz "^ACUMATICA_TEST_RUN=$1\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
)

# What runs of this clone left behind that were killed before they could clean up.
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
	# Not a pipe: a process that a test forgot would keep it open, and us waiting.
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

# Does the extension compile for the PostgreSQL of a wheel?
check_version() {
	local wheel
	if ! wheel=$(tests/wheels.sh "$1"); then
		echo "skip - pg$1: the wheel with its headers cannot be had"
	elif pg_cargo "$wheel" check --workspace; then
		echo "ok - pg$1"
	else
		echo "not ok - pg$1"
	fi
}

build() {
	pg_cargo "$pg_config" build --profile "$PROFILE" && cargo build --release -p acumatica-sim && echo "ok - build"
}

# PostgreSQL's own drivers, in the words of the other suites. pg_regress of 15 says "test NAME ... ok 12 ms", that of 16
# and later "ok 1 - NAME 12 ms".
regress() {
	local kind=$1 dir=$2 driver=$3 names=() file status=0
	shift 3
	for file in "$dir"/*; do
		file=${file##*/}
		names+=("${file%.*}")
	done
	# shellcheck disable=SC2153 # PGHOST and PGPORT come from tests/cluster.sh env
	(cd "$run/$kind" && "$driver" --use-existing --bindir="$CLUSTER_BIN" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
		--inputdir="$(dirname "$dir")" --outputdir="$run/$kind" --dbname="$PGDATABASE" "$@" "${names[@]}") |
		sed -uE "s,^test ([^ ]+) +\.\.\. ok.*,ok - $kind/\1,; s,^test ([^ ]+) +\.\.\. FAILED.*,not ok - $kind/\1,
			s,^(not )?ok [0-9]+ +[-+] ([^ ]+).*,\1ok - $kind/\2," || status=$?
	if ((status != 0)); then head -n 300 "$run/$kind/regression.diffs" 2>/dev/null; fi
	return "$status"
}

wanted() { [[ -z $TESTS || " $TESTS " == *" $1 "* ]]; }

run_regress() {
	local kind=$1 folder=$2 extension=$3 driver=$4 stage file expected
	expected=$(dirname "$2")/expected
	[[ -d $folder ]] || return 0
	driver=$("$pg_config" --pgxs | sed "s,/makefiles/pgxs.mk$,/test/$driver,")
	stage=$run/stage-$kind
	mkdir -p "$stage/${folder##*/}" "$run/$kind"
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
	suite "$kind" regress "$kind" "$stage/${folder##*/}" "$driver"
	if [[ ${ACCEPT:-0} == 1 ]]; then
		mkdir -p "$expected"
		cp "$run/$kind"/results/*.out "$expected/"
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
		export PGDATABASE=${name//[^a-zA-Z0-9]/_} TEST_DIR=$run/$name
		mkdir -p "$TEST_DIR"
		createdb "$PGDATABASE"
		if [[ $script == *.py ]] && ! python_ready; then
			suite "$name" echo "skip - $name: no Python environment with tests/requirements.txt"
		else
			PATH=$TARGET/venv/bin:$PATH suite "$name" timeout -k 10 "${E2E_TIMEOUT:-600}" "$script"
		fi
	done
}

# From here on all that is started can be told by its environment.
export ACUMATICA_TEST_RUN=$run
if [[ -z $TESTS ]]; then
	suite lint tests/lint.sh
	suite client cargo test -p acumatica-client
	suite schema cargo test -p acumatica-schema
	suite sim cargo test -p acumatica-sim
	suite pg16 check_version 16
	suite pg18 check_version 18
fi
before=$failed
suite build build
if ((failed == before)); then
	# All that can be logged is, but for the texts of statements: what a user types PostgreSQL may log.
	export CLUSTER_LOG_MIN_MESSAGES=${CLUSTER_LOG_MIN_MESSAGES:-debug5} CLUSTER_CONF='log_min_error_statement = panic'
	tests/cluster.sh install "$run/cluster"
	tests/cluster.sh start "$run/cluster"
	eval "$(tests/cluster.sh env "$run/cluster")"
	export SIM_BIN=$TARGET/release/acumatica-sim
	SIM_URL=$(tests/sim.sh start "$run" --scale 1 --users admin:pass-of-admin)
	export SIM_URL
	run_regress sql tests/sql sql regress/pg_regress
	run_regress isolation tests/isolation/specs spec isolation/pg_isolation_regress
	run_e2e
	if [[ -z $TESTS ]]; then
		suite secrets python3 tests/lib/secrets.py "$PGLOG" "$run/secrets" "$SIM_URL"
	fi
	# Signal 9 is what e2e/seats sends.
	if grep -aE 'PANIC|was terminated by signal ([0-8]|1[0-9]):' "$PGLOG"; then
		echo "not ok - a backend crashed (above, from the server's log)"
		failed=$((failed + 1))
	fi
	tests/sim.sh stop "$run"
	tests/cluster.sh stop "$run/cluster"
	for pid in $(run_pids "$run"); do
		echo "not ok - left running: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
		failed=$((failed + 1))
	done
fi

printf '\nin %d s\n%d passed, %d failed, %d skipped\n' $((SECONDS - started)) "$passed" "$failed" "$skipped"
((failed == 0))
