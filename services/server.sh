# What kafka.sh and minio.sh have in common; each sources it and brings `install`, `start`, `answers`.
#
# A server is known by its port: its data, log and pid file lie in run/NAME-PORT of the cache directory.

root=$(realpath -m "${BIOSCOPE_SERVICES:-${XDG_CACHE_HOME:-$HOME/.cache}/bioscope-services}")

fail() { echo "${0##*/}: $*" >&2; exit 1; }

need() { command -v "$1" > /dev/null || fail "$1 is missing: $2"; }

# Names the server: `server NAME LABEL PORT WAIT_SECONDS`.
server() {
    name=$1 label=$2 port=$3 wait_seconds=$4
    address=127.0.0.1:$port
    run=$root/run/$name-$port
    pid_file=$run/pid log=$run/$name.log data=$run/data
}

# Runs the rest of the line alone among all that use the cache directory.
alone() {
    mkdir -p "$root"
    exec 9> "$root/$name.lock"
    flock -w 1200 9 || fail "another ${0##*/} holds $root/$name.lock: wait for it, or end it."
    "$@"
    exec 9>&-
}

# Prints the server's pid if it lives. A pid may have gone to somebody else: the command line must name our files.
alive() {
    local pid
    pid=$(cat "$pid_file" 2> /dev/null) && [[ $pid ]] &&
        [[ $(ps -ww -o args= -p "$pid" 2> /dev/null) == *"$run/"* ]] && echo "$pid"
}

# Starts a command as the server, in a session of its own, so that it outlives the caller. Prints its pid.
launch() {
    : > "$log"
    setsid "$@" < /dev/null > "$log" 2>&1 9>&- &
    echo "$!" > "$pid_file"
    echo "$!"
}

# Returns once the server with this pid serves: `await_ready PID COMMAND...`, where the command says so.
await_ready() {
    local pid=$1 deadline=$((SECONDS + wait_seconds))
    shift
    until "$@"; do
        kill -0 "$pid" 2> /dev/null || fail "$label ended at its start: $(tail -5 "$log")"
        (( SECONDS < deadline )) || fail "$label was not ready after $wait_seconds s: see $log."
        sleep 0.1
    done
    status
}

stop() {
    local pid deadline=$((SECONDS + wait_seconds))
    if pid=$(alive); then
        kill -TERM "$pid"
        kill -CONT "$pid"   # one that is frozen would never see the TERM
        while alive > /dev/null; do
            if (( SECONDS >= deadline )); then kill -KILL "$pid"; fi
            sleep 0.1
        done
    fi
    rm -f "$pid_file"
    echo "$label on $address is stopped."
}

# 0: serves; 3: stopped; 4: lives and does not answer.
status() {
    local pid
    pid=$(alive) || { echo "$label on $address is stopped."; return 3; }
    answers || { echo "$label on $address, pid $pid, does not answer."; return 4; }
    echo "$label $version on $address, pid $pid, log $log"
}

wipe() { stop && rm -rf "$run"; }

main() {
    case ${1:-} in
        install | start | stop | wipe) alone "$1" ;;
        status) status ;;
        pid) alive || { echo "$label on $address is stopped." >&2; exit 3; } ;;
        *) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
}
