#!/usr/bin/env bash
# Starts the simulator in the background, and stops it by its pid.
#
#   tests/sim.sh start DIR [OPTIONS OF acumatica-sim]   prints its URL when it is ready; its output goes to DIR/sim.log
#   tests/sim.sh url DIR                                prints the URL of the one that runs; fails when none does
#   tests/sim.sh stop DIR
#
# SIM_BIN: the program; default: the newest build. SIM_TIMEOUT: seconds to wait for it to be ready, default 60.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

(($# >= 2)) || die "usage: tests/sim.sh start|url|stop DIR [options]"
command=$1 dir=$2
shift 2
program=${SIM_BIN:-$TARGET/release/acumatica-sim}

# Its pid, if that process is still the simulator; pids are reused.
sim_pid() {
	local pid
	pid=$(cat "$dir/sim.pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == acumatica-sim ]] && echo "$pid"
}
sim_url() { sed -n 's/^listening on //p' "$dir/sim.log" | head -n 1; }

stop() {
	local pid i
	if pid=$(sim_pid); then
		kill "$pid" 2>/dev/null || true
		for ((i = 0; i < 100; i++)); do
			if ! sim_pid >/dev/null; then break; fi
			sleep 0.05
		done
		if sim_pid >/dev/null; then kill -9 "$pid" 2>/dev/null || true; fi
	fi
	rm -f "$dir/sim.pid"
}

case $command in
start)
	[[ -x $program ]] || die "$program is not built"
	mkdir -p "$dir"
	stop
	# In a session of its own: Ctrl-C in the terminal ends the script, which then stops it in order.
	setsid "$program" --listen 127.0.0.1:0 "$@" </dev/null >"$dir/sim.log" 2>&1 &
	pid=$!
	echo "$pid" >"$dir/sim.pid"
	for ((i = 0; i < ${SIM_TIMEOUT:-60} * 20; i++)); do
		if [[ -n $(sim_url) ]]; then
			sim_url
			exit
		fi
		kill -0 "$pid" 2>/dev/null || die "the simulator ended: $(tail -n 5 "$dir/sim.log")"
		sleep 0.05
	done
	kill "$pid"
	die "the simulator is not ready after ${SIM_TIMEOUT:-60} s: $(tail -n 5 "$dir/sim.log")"
	;;
url)
	sim_pid >/dev/null || exit 1
	sim_url
	;;
stop) stop ;;
*) die "unknown command $command" ;;
esac
