#!/usr/bin/env bash
# A private PostgreSQL cluster, apart from any other on the machine: its own copy of the installation (so that our
# extension is installed without touching the system), its own data directory, a socket in its own directory and no
# TCP port. Everything is below DIR:
#   pg/    the installation: links to the real one, and copies of the programs that find their files relative to themselves
#   data/  sock/  log     owned by the user that runs PostgreSQL (tests/lib/common.sh: OWNER)
#
#   tests/cluster.sh start DIR     make what is missing and start; does nothing if it runs
#   tests/cluster.sh install DIR   install the built extension (PROFILE=dev|release) into DIR/pg
#   tests/cluster.sh env DIR       print exports for the shell: eval "$(tests/cluster.sh env DIR)"
#   tests/cluster.sh stop DIR      stop it; `remove DIR` stops and deletes
#
# CLUSTER_CONF: more lines for postgresql.conf. CLUSTER_LOG_MIN_MESSAGES: default warning. PG_CONFIG: which PostgreSQL.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

[[ $# == 2 ]] || die "usage: tests/cluster.sh start|install|env|stop|remove DIR"
command=$1 dir=$2
[[ $dir == /* ]] || dir=$PWD/$dir
tree=$dir/pg

# PostgreSQL takes its share and lib directories relative to its own (resolved) path, so the tree repeats the absolute
# paths of the real one and holds real copies of the programs that look.
make_tree() {
	local pg_config bin name path stamp
	pg_config=$(find_pg_config) || die "no PostgreSQL server found; set PG_CONFIG, or see tests/deps.sh"
	bin=$("$pg_config" --bindir)
	[[ $bin != "$tree"/* ]] || return 0 # PG_CONFIG or the PATH leads into the tree itself
	stamp="$bin $(stat -Lc %Y "$bin/postgres") $("$pg_config" --version)"
	[[ -e $tree/stamp && $(<"$tree/stamp") == "$stamp" ]] && return
	rm -rf "$tree"
	for path in "$bin" "$("$pg_config" --pkglibdir)" "$("$pg_config" --sharedir)"; do
		[[ -e $tree$path ]] && continue
		mkdir -p "$tree${path%/*}"
		cp -as "$path" "$tree$path"
	done
	for name in postgres initdb pg_ctl pg_config; do
		cp --remove-destination "$bin/$name" "$tree$bin/$name"
	done
	ln -sfn "$tree$bin" "$tree/bin"
	as_owner "$tree/bin/postgres" --version >/dev/null || die "the copy of PostgreSQL in $tree does not run"
	ln -sfn "$bin" "$tree/real-bin"
	echo "$stamp" >"$tree/stamp"
}

# The pid of the running postmaster. /proc tells whether the process is ours, because pids are reused.
postmaster() {
	local pid
	pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null) && grep -qsF "$dir/data" "/proc/$pid/cmdline" && echo "$pid"
}
running() { postmaster >/dev/null; }

start() {
	mkdir -p "$dir"
	as_owner test -x "$dir" || die "user $OWNER cannot enter $dir: choose a directory below /tmp"
	if running; then return; fi
	make_tree
	local name
	for name in data sock; do
		# 0700: who can connect to the socket is superuser.
		if ((EUID == 0)); then install -d -m 0700 -o "$OWNER" "$dir/$name"; else install -d -m 0700 "$dir/$name"; fi
	done
	if [[ ! -e $dir/log ]]; then install -m 0644 /dev/null "$dir/log"; fi
	if ((EUID == 0)); then chown "$OWNER" "$dir/log"; fi
	if [[ ! -e $dir/data/PG_VERSION ]]; then
		as_owner "$tree/bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 ||
			die "initdb failed: $(tail -n 5 "$dir/initdb.log")"
	fi
	# No fsync: the data is not needed after a crash.
	as_owner tee "$dir/data/private.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$dir/sock'
		port = 5432
		fsync = off
		synchronous_commit = off
		full_page_writes = off
		timezone = 'UTC'
		lc_messages = 'C'
		log_line_prefix = '%m [%p] %q%a '
		log_min_messages = ${CLUSTER_LOG_MIN_MESSAGES:-warning}
		${CLUSTER_CONF:-}
	CONF
	grep -q private.conf "$dir/data/postgresql.conf" ||
		as_owner tee -a "$dir/data/postgresql.conf" >/dev/null <<<"include 'private.conf'"
	# The libraries of tests/wheels.sh look for libpq where they were built, and would find that of another version.
	as_owner env -u PGPORT -u PGDATA LD_LIBRARY_PATH="$("$tree/real-bin/pg_config" --libdir)" \
		"$tree/bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 -s start </dev/null >&2 ||
		die "PostgreSQL did not start: $(tail -n 5 "$dir/log")"
}

# By pid and without pg_ctl, so that it works after the tree has been deleted.
stop() {
	local pid signal i
	pid=$(postmaster) || return 0
	for signal in INT QUIT KILL; do # fast, immediate, and if neither is heard
		kill -s "$signal" "$pid" 2>/dev/null || return 0
		for ((i = 0; i < 200; i++)); do
			postmaster >/dev/null || return 0
			sleep 0.05
		done
	done
	die "PostgreSQL (pid $pid) does not stop"
}

case $command in
start) start ;;
stop) stop ;;
remove)
	stop
	rm -rf "$dir"
	;;
install)
	mkdir -p "$dir"
	running || make_tree
	make -s --no-print-directory -C "$ROOT" install-files PG_CONFIG="$tree/bin/pg_config" PROFILE="${PROFILE:-release}"
	;;
env)
	[[ -e $tree/stamp ]] || die "no cluster in $dir"
	printf 'export %s=%q\n' PGHOST "$dir/sock" PGPORT 5432 PGUSER postgres PGDATABASE postgres PGLOG "$dir/log" \
		CLUSTER_DIR "$dir" CLUSTER_DATA "$dir/data" CLUSTER_OWNER "$OWNER" \
		CLUSTER_PG_CONFIG "$tree/bin/pg_config" CLUSTER_BIN "$(readlink "$tree/real-bin")"
	# The server's own psql first: Debian's wrapper in /usr/bin chooses a cluster by itself.
	# shellcheck disable=SC2016 # $PATH is for the shell that evaluates this
	printf 'export PATH=%q:"$PATH"\n' "$(readlink "$tree/real-bin")"
	;;
*) die "unknown command $command" ;;
esac
