# shellcheck shell=bash
# Processes by files that name them. A process id alone may be somebody else's by the time it is read; with the
# moment at which the process started it is nobody else's.

# When a process started, in the kernel's ticks (proc(5): field 22 of stat; the second may hold spaces).
started() {
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    # A zombie has ended.
    [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# Notes a process in a file that is never seen half written.
note() {
    local start
    start=$(started "$1") || return 1
    echo "$1 $start" >"$2.new.$BASHPID"
    mv "$2.new.$BASHPID" "$2"
}

# The process id that a file names, if that process still lives.
living() {
    local pid start
    { read -r pid start <"$1"; } 2>/dev/null || return 1
    [[ $(started "$pid" || true) == "$start" ]] && echo "$pid"
}

# Ends the process that a file names, at once.
end() {
    local pid
    if pid=$(living "$1") && ((pid != $$)); then
        kill -s KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$1"
}

# What runs in the background keeps no file of its caller's open, but those given: somebody may be waiting for
# the end of a pipe.
close_files() {
    local fd
    for fd in "/proc/$$/fd"/*; do
        fd=${fd##*/}
        [[ " 0 1 2 255 $* " == *" $fd "* ]] || eval "exec $fd>&-"
    done
}
