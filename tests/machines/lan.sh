# shellcheck shell=bash
# shellcheck disable=SC2154  # variables of `machine`
# The LAN of a run: a bridge in a network namespace of its own, with this host's end of it, and the proxy.

lan4=10.77.0
lan6=fd77::
lan_host=$lan4.1
proxy_port=3142

# The file of a network namespace: a machine's, or `lan`.
namespace() { echo "/run/netns/chatmail-$run-$1"; }

in_lan() { nsenter --net="$(namespace lan)" "$@"; }

start_lan() {
    need_tools
    lock
    sweep
    make_run
    need_sources
    lan_up
    unlock
}

lan_up() {
    local lan=chatmail-$run-lan
    if [[ ! -e $(namespace lan) ]]; then
        ip netns add "$lan"
        ip -n "$lan" link set lo up
        ip -n "$lan" link add br0 type bridge forward_delay 0
        ip -n "$lan" addr add "$lan_host/24" dev br0
        # A host without IPv6 has machines without it.
        ip -n "$lan" addr add "${lan6}1/64" dev br0 nodad 2>/dev/null || true
        ip -n "$lan" link set br0 up
        # Machines have a route to everywhere, as hosts do, and it ends here: with an error at once, so that nobody
        # waits for an answer from outside.
        # shellcheck disable=SC2016  # for the inner shell
        in_lan bash -euc '
            for setting in ipv4/ip_forward=1 ipv6/conf/all/forwarding=1 ipv4/icmp_ratelimit=0 \
                ipv6/icmp/ratelimit=0; do
                file=/proc/sys/net/${setting%=*}
                [[ ! -e $file ]] || echo "${setting#*=}" >"$file"
            done'
        ip -n "$lan" route add unreachable default
        ip -n "$lan" -6 route add unreachable default 2>/dev/null || true
    fi
    echo "nameserver $lan_host" >"$dir/lan/resolv.conf"
    start_proxy
}

start_proxy() {
    local upstream end=$((SECONDS + 20))
    ! living "$dir/lan/proxy" >/dev/null || return 0
    upstream=$(apt-config dump --format '%v' Acquire::http::Proxy)
    mkdir -p "$cache/packages"
    # It listens on the LAN and fetches from here: descriptor 8 is this host's network.
    # shellcheck disable=SC2046  # a list
    in_lan setsid -f "$here/apt-proxy" --listen "$lan_host:$proxy_port" --fetch-from 8 \
        --cache "$cache/packages" --upstream "${upstream:-${http_proxy:-}}" --ready "$dir/lan/proxy.pid" \
        $(sources | awk '{split($1, part, "/"); sub(/:.*/, "", part[3]); print part[3]}' | sort -u) \
        8</proc/self/ns/net </dev/null >"$dir/lan/proxy.log" 2>&1 9>&-
    until [[ -s $dir/lan/proxy.pid ]]; do
        ((SECONDS <= end)) || {
            cat "$dir/lan/proxy.log" >&2
            die "the proxy does not start"
        }
        sleep 0.02
    done
    note "$(<"$dir/lan/proxy.pid")" "$dir/lan/proxy"
}

lan_down() {
    local pid
    end "$dir/lan/proxy"
    [[ -e $(namespace lan) ]] || return 0
    # Whoever runs there was started by somebody of this run: a DNS server, clients.
    for pid in $(ip netns pids "chatmail-$run-lan"); do
        kill -s KILL "$pid" 2>/dev/null || true
    done
    ip netns del "chatmail-$run-lan"
}

# Becomes a command of this host that is on the LAN, and asks its DNS.
on_lan() {
    local name hosts
    hosts=$(mktemp "$dir/lan/hosts.XXXXXX")
    {
        printf '127.0.0.1 localhost\n::1 localhost\n'
        for name in $(names); do
            sed "s/\$/ $name.$domain $name/" "$dir/machines/$name/addresses"
        done
    } >"$hosts"
    # shellcheck disable=SC2016  # for the inner shell
    exec nsenter --net="$(namespace lan)" unshare --mount -- bash -euc '
        mount --bind "$1" /etc/hosts
        mount --bind "$2" /etc/resolv.conf
        rm "$1"
        shift 2
        exec "$@"' - "$hosts" "$dir/lan/resolv.conf" "$@"
}

plug_in() {
    local name=$1 lan=chatmail-$run-lan ns=chatmail-$run-$1 address
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip -n "$ns" link add eth0 type veth peer name "v-$name" netns "$lan"
    ip -n "$lan" link set "v-$name" master br0 up
    while read -r address; do
        case $address in
        *:*) ip -n "$ns" addr add "$address/64" dev eth0 nodad ;;
        *) ip -n "$ns" addr add "$address/24" dev eth0 ;;
        esac
    done <"$dir/machines/$name/addresses"
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via "$lan_host"
    ! grep -q : "$dir/machines/$name/addresses" || ip -n "$ns" -6 route add default via "${lan6}1"
}

# Kills what there is of a machine, and takes away what it has in the kernel.
unplug() {
    local group end=$((SECONDS + 10))
    group=$(cgroup_of "$1")
    # All at once, the supervisor too: one by one, the machine might be booting again meanwhile.
    [[ ! -d $group ]] || echo 1 >"$group/cgroup.kill"
    rm -f "$dir/machines/$1"/{pid,supervisor}
    [[ ! -e $(namespace "$1") ]] || ip netns del "chatmail-$run-$1"
    # Its processes are dead, but the kernel may need a moment to say so.
    while [[ -d $group ]] && ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
        ((SECONDS <= end)) || die "processes of $1 are left in $group"
        sleep 0.02
    done
}
