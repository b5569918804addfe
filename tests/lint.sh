#!/usr/bin/env bash
# Checks formatting, clippy, licences, imports between files, and shell scripts. Prints a line for each: ok, not ok or skip.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
cd "$ROOT"
pg_config=$(find_pg_config) || die "no PostgreSQL server found; set PG_CONFIG"

failed=0
check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok - $name"
	else
		echo "not ok - $name"
		failed=1
	fi
}

check rustfmt cargo fmt --all --check
check clippy pg_cargo "$pg_config" clippy --workspace --all-targets -- -D warnings
check licences tests/licences.sh
check layers python3 tests/lib/layers.py "$ROOT"
if have shellcheck; then
	mapfile -t scripts < <(find tests benches crates .ci -name '*.sh' -o -path .ci/run)
	check shellcheck shellcheck -x "${scripts[@]}"
else
	echo "skip - shellcheck: not installed"
fi
# Advisories need RustSec's database, which cargo-deny takes from GitHub: only where both are there already.
if ! have cargo-deny; then
	echo "skip - advisories: cargo-deny is not installed"
elif compgen -G "$HOME/.cargo/advisory-db*" >/dev/null; then
	check advisories cargo deny --offline check advisories
else
	echo "skip - advisories: no advisory database in ~/.cargo"
fi
exit "$failed"
