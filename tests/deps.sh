#!/usr/bin/env bash
# Installs missing packages with apt-get, as root or through sudo. Changes nothing if all are there.
#
#   tests/deps.sh          what the build and the demo need
#   tests/deps.sh test     and what the tests need
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

have cargo || die "Rust is not installed (cargo is not on the PATH): see https://rustup.rs"

packages=() optional=()
if ! have cc; then packages+=(gcc libc6-dev); fi

# The server with its headers. What Debian calls N is the newest that it has and that we support.
newest_packaged() {
	apt-cache search --names-only '^postgresql-server-dev-1[5-8]$' | sed -E 's/.*-dev-([0-9]+) .*/\1/' | sort -n | tail -n 1
}
server=''
if pg_config=$(find_pg_config); then
	[[ -e $("$pg_config" --includedir-server)/postgres.h ]] || server=$(pg_major "$pg_config")
elif [[ -n ${PG_CONFIG:-} ]]; then
	die "PG_CONFIG=$PG_CONFIG is not the pg_config of a PostgreSQL server"
else
	server=newest
fi

# bindgen, in pgrx's build, reads the headers with libclang, which wants its own stddef.h.
has_libclang() {
	[[ -n ${LIBCLANG_PATH:-} ]] && return
	{ compgen -G '/usr/lib/llvm-*/lib/libclang[.-][s0-9]*' || compgen -G '/usr/lib*/libclang.so*'; } >/dev/null &&
		{ compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' || compgen -G '/usr/lib*/clang/*/include/stddef.h'; } >/dev/null
}
if ! has_libclang; then packages+=(libclang-dev); fi

if [[ ${1:-} == test ]]; then
	# Tests that need one of these are skipped if it cannot be installed.
	python3 -c 'import ensurepip, venv' 2>/dev/null || optional+=(python3 python3-venv)
	have shellcheck || optional+=(shellcheck)
fi

if [[ -z $server ]] && ((${#packages[@]} + ${#optional[@]} == 0)); then exit 0; fi
wanted="${server:+postgresql server with headers }${packages[*]} ${optional[*]}"

give_up() {
	if [[ -z $server ]] && ((${#packages[@]} == 0)); then exit 0; fi
	die "$1. Missing: $wanted"
}
have apt-get || give_up "this is not Debian: install what is missing yourself"
sudo=()
if ((EUID != 0)); then
	have sudo || give_up "not root and no sudo: install what is missing yourself"
	sudo=(sudo)
	# Without a terminal sudo cannot ask for a password.
	[[ -t 0 ]] || sudo=(sudo -n)
	"${sudo[@]}" true || give_up "sudo refused"
fi
apt_install() {
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

say "installing: $wanted"
"${sudo[@]}" apt-get update -qq >&2 || echo "apt-get update failed; going on with the package lists there are" >&2
if [[ $server == newest ]]; then
	server=$(newest_packaged)
	[[ -n $server ]] || die "the package lists hold no postgresql-server-dev-15 to -18"
fi
if [[ -n $server ]]; then
	# postgresql-N creates and starts a cluster, which is not wanted: switched off in its own configuration, this once.
	apt_install postgresql-common
	switch=/etc/postgresql-common/createcluster.conf saved=/etc/postgresql-common/.createcluster.conf.saved
	"${sudo[@]}" cp -p "$switch" "$saved"
	trap '"${sudo[@]}" mv -f "$saved" "$switch"' EXIT
	"${sudo[@]}" tee -a "$switch" >/dev/null <<<'create_main_cluster = false'
	packages+=("postgresql-$server" "postgresql-server-dev-$server")
fi
if ((${#packages[@]})); then apt_install "${packages[@]}"; fi
if ((${#optional[@]})); then
	apt_install "${optional[@]}" || echo "could not install ${optional[*]}; tests that need them are skipped" >&2
fi
