#!/usr/bin/env bash
# Runs every executable benches/*.sh and benches/*.py with a private cluster and the release builds. Each starts the
# simulator it wants with tests/sim.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
mapfile -t benches < <(find "$ROOT/benches" -maxdepth 1 -perm -u+x \( -name '*.sh' -o -name '*.py' \) | sort)
((${#benches[@]})) || die "no benchmark in benches/ yet"

"$ROOT/tests/deps.sh"
pg_config=$(find_pg_config)
pg_cargo "$pg_config" build --release
(cd "$ROOT" && cargo build --release -p acumatica-sim)
dir=$(mktemp -d "$(work_base)/bench.XXXXXX")
chmod 0755 "$dir"
trap '"$ROOT/tests/sim.sh" stop "$dir"; "$ROOT/tests/cluster.sh" remove "$dir/cluster"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
PROFILE=release "$ROOT/tests/cluster.sh" install "$dir/cluster"
"$ROOT/tests/cluster.sh" start "$dir/cluster"
eval "$("$ROOT/tests/cluster.sh" env "$dir/cluster")"
export BENCH_DIR=$dir
for bench in "${benches[@]}"; do
	say "${bench#"$ROOT/"}"
	"$bench"
done
