#!/usr/bin/env bash
# Fuzzes the parsers: run.sh [SECONDS] [TARGET…], by default each target for a minute.
#
# It needs stable Rust and a C++ compiler only: libFuzzer comes with libfuzzer-sys, and the instrumentation from
# rustc's own LLVM. Corpora and finds stay in target/fuzz; a find is run again by giving its file to the binary.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target_dir=${FUZZ_TARGET_DIR:-$(cd "$here/../../.." && pwd)/target/fuzz}
seconds=${1:-60}
shift || true
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    targets=(openapi csdl adhoc endpoints rows)
fi

if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: ${0##*/} [SECONDS] [TARGET…]" >&2
    exit 2
fi
for target in "${targets[@]}"; do
    if [[ ! -f $here/targets/$target.rs ]]; then
        echo "there is no target \"$target\"" >&2
        exit 2
    fi
done

# With a target named, build scripts and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
coverage+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
coverage+=' -Cllvm-args=-sanitizer-coverage-trace-compares'
CARGO_TARGET_DIR=$target_dir RUSTFLAGS="--cfg fuzzing $coverage -Ccodegen-units=1" \
    cargo build --release --locked --manifest-path "$here/Cargo.toml" --target "$host" "${targets[@]/#/--bin=}"

status=0
for target in "${targets[@]}"; do
    corpus=$target_dir/corpus/$target
    finds=$target_dir/finds/$target
    log=$target_dir/$target.log
    mkdir -p "$corpus" "$finds"
    verdict=ok
    "$target_dir/$host/release/$target" "$corpus" "$here/seeds/$target" \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=512 -timeout=10 -malloc_limit_mb=256 \
        -artifact_prefix="$finds/" -print_final_stats=1 >"$log" 2>&1 || verdict='not ok'
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$verdict $target: ${executions:-0} executions in $seconds seconds"
    if [[ $verdict != ok ]]; then
        status=1
        grep -E 'panicked at|^(SUMMARY|==[0-9]+== ERROR)|Test unit written to' -A1 "$log" >&2 || tail -n 20 "$log" >&2
    fi
done
exit "$status"
