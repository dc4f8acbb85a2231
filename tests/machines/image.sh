# shellcheck shell=bash
# shellcheck disable=SC2154  # variables of `machine`
# The image that disks stand on: a Debian as one rents it. It is kept in the cache folder under a hash of all that
# goes into it, this file too, so that a change makes another image and never alters one that is in use.

# Machines of a run may have different ones.
suite=${MACHINES_SUITE:-bookworm}

# What hosts have on a bare server, and nothing that a relay's playbook ought to bring.
packages=(systemd systemd-sysv libpam-systemd dbus openssh-server python3 python3-apt ca-certificates iproute2
    iputils-ping procps)
if [[ -n ${MACHINES_PACKAGES:-} ]]; then
    read -ra packages -d '' <<<"$MACHINES_PACKAGES" || true
fi

# Days after which what nobody used leaves the cache.
unused_days=30

# This host's Debian sources, said for the image's release: lines of sources.list without the word `deb`. apt takes
# a moment to tell, so each run asks it once for each release.
sources() { cat "$dir/sources-$suite"; }

ask_for_sources() {
    local codename
    if [[ -n ${MACHINES_MIRROR:-} ]]; then
        echo "$MACHINES_MIRROR $suite main"
        return
    fi
    # shellcheck disable=SC1091  # this host's
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016  # apt's variables
    apt-get indextargets 'Created-By: Packages' 'Origin: Debian' \
        --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' |
        sed -n "s/ $codename\(\|-updates\|-security\) / $suite\1 /p" | sort -u
}

need_sources() {
    [[ ! -s $dir/sources-$suite ]] || return 0
    [[ -n $(ask_for_sources) ]] || apt-get update -qq >&2
    ask_for_sources >"$dir/sources-$suite"
    [[ -s $dir/sources-$suite ]] || die "this host has no source for Debian $suite: set MACHINES_MIRROR"
}

# How apt is to fetch, in the image and while it is made.
apt_settings() {
    printf 'Acquire::%s::Proxy "http://%s:%s";\n' http "$lan_host" "$proxy_port" https "$lan_host" "$proxy_port"
    # The proxy answers one request for each connection.
    echo 'Acquire::http::Pipeline-Depth "0";'
    # What this host's apt was told about its mirrors.
    apt-config dump | grep -E '^Acquire::(Check-|Max-FutureTime|Retries)' || true
}

# Makes the image unless it is there, and says where it is. The LAN is up.
create_base() {
    local base new unit hash
    hash=$({
        printf '%s\n' "${packages[@]}"
        sources
        apt_settings
        cat "$here/image.sh"
    } | sha256sum)
    base=$cache/images/$suite-${hash:0:16}
    mkdir -p "$cache/images"
    # A lock of its own: it takes a minute.
    exec 8>"$cache/images/.lock"
    flock 8
    if [[ ! -d $base ]]; then
        forget_unused
        new=$cache/images/.new
        rm -rf --one-file-system "$new"
        say "making the image $base"
        apt_settings >"$dir/apt.conf"
        # On the LAN, as a machine would: so packages come by way of the cache. Without a sync for each file,
        # then and later: the disk of a machine does not outlive this host.
        if ! sources | sed 's/^/deb /' | in_lan mmdebstrap --variant=minbase --aptopt="$dir/apt.conf" \
            --dpkgopt=force-unsafe-io --include="$(IFS=, && echo "${packages[*]}")" "$suite" "$new" - \
            >"$dir/image.log" 2>&1 8>&-; then
            tail -n 20 "$dir/image.log" >&2
            die "no image: see $dir/image.log"
        fi
        rm -f "$new"/etc/ssh/ssh_host_*
        # They fetch or scrub at some random moment of a test.
        for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service; do
            ln -sf /dev/null "$new/etc/systemd/system/$unit"
        done
        mv "$new" "$base"
    fi
    touch "$base"
    exec 8>&-
    echo "$base"
}

forget_unused() {
    [[ ! -d $cache/packages ]] || find "$cache/packages" -type f -mtime "+$unused_days" -delete
    find "$cache/images" -mindepth 1 -maxdepth 1 -type d -mtime "+$unused_days" \
        -exec rm -rf --one-file-system {} +
}
