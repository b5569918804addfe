# shellcheck shell=bash
# What every script under tests/ starts with. Source it; it sets:
#   ROOT    top of the clone          TARGET  cargo's target directory (absolute)
#   OWNER   the user that runs PostgreSQL: ourselves, or `postgres` when we are root
set -euo pipefail
# As root, the user `postgres` must be able to read what we lay out for it.
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
[[ $TARGET == /* ]] || TARGET=$ROOT/$TARGET
export CARGO_TARGET_DIR=$TARGET
# Variables given to `make` must not override those that a script passes to a `make` of its own.
unset MAKEFLAGS MAKELEVEL MFLAGS
# rustup installs here and only login shells have it on their PATH.
[[ -d ${HOME:-/}/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin

say() { printf '\n==> %s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# PostgreSQL refuses to run as root.
if ((EUID != 0)); then
	OWNER=$(id -un)
elif id postgres >/dev/null 2>&1; then
	OWNER=postgres
else
	OWNER=nobody
fi
as_owner() {
	if ((EUID != 0)); then
		"$@"
	else
		# From / because the owner may not be allowed to enter our directory (a clone below /root).
		(cd / && exec setpriv --reuid="$OWNER" --regid="$(id -g "$OWNER")" --init-groups \
			env HOME=/ "$@")
	fi
}

# The directory of this clone for clusters, sockets and their logs. Not below the clone: the owner may not be able to
# read that, and a socket's path must be short (107 bytes).
work_base() {
	local tmp=${TMPDIR:-/tmp} base
	if ((${#tmp} > 40)) || ! as_owner test -x "$tmp"; then tmp=/tmp; fi
	base=$tmp/acumatica_fdw-$EUID-$(cksum <<<"$ROOT" | cut -d' ' -f1)
	mkdir "$base" 2>/dev/null || true
	# All users can write to /tmp: refuse a directory that another user has created.
	[[ -d $base && ! -L $base && -O $base ]] || die "$base is not a directory of $(id -un): remove it, or set TMPDIR"
	echo "$base"
}

# The PostgreSQL to build for: $PG_CONFIG, else pg_config on the PATH, else the newest that Debian's packages put beside
# each other. Fails when there is none, or only libpq's.
find_pg_config() {
	local c
	for c in "${PG_CONFIG:-}" "$(command -v pg_config || true)" \
		"$(find /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -V | tail -n 1)"; do
		[[ -n $c ]] || continue
		if [[ -x $("$c" --bindir 2>/dev/null)/postgres ]]; then
			echo "$c"
			return
		fi
		# If PG_CONFIG is set but unusable, fail: do not use another PostgreSQL.
		[[ $c != "${PG_CONFIG:-}" ]] || return 1
	done
	return 1
}
pg_major() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

# cargo for the extension crate: `pg_cargo PG_CONFIG build …` sets the feature flag and pgrx's variable.
pg_cargo() {
	local pg_config=$1 command=$2
	shift 2
	(cd "$ROOT" && PGRX_PG_CONFIG_PATH=$pg_config cargo "$command" \
		--no-default-features --features "pg$(pg_major "$pg_config")" "$@")
}
# The folder of a cargo profile in the target directory.
profile_dir() { [[ $1 == dev ]] && echo debug || echo "$1"; }

# A Python environment for what is only on PyPI, made on first use. Prints its python.
venv_python() {
	local venv=$TARGET/venv
	if [[ ! -x $venv/bin/pip ]]; then
		rm -rf "$venv"
		python3 -m venv "$venv" >&2 || return 1
	fi
	echo "$venv/bin/python"
}
