# shellcheck shell=bash
# shellcheck disable=SC2154  # variables of `machine`
# Booting a machine: a supervisor on this host, and what becomes the machine's PID 1.

# What a rented machine has not either, or what would reach this host: kernel modules, clock, kernel log, devices.
dropped_capabilities=-sys_module,-sys_time,-syslog,-sys_rawio,-mknod,-mac_admin,-mac_override
dropped_capabilities+=,-wake_alarm,-block_suspend

machine_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Where this host has its cgroup2 tree.
cgroups() { awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts; }

cgroup_of() { echo "$(cgroups)/chatmail-$run-$1"; }

# Boots a machine, and again each time that it asks for a reboot.
supervise() {
    local name=$1 end
    close_files
    note $$ "$dir/machines/$name/supervisor"
    echo $$ >"$(cgroup_of "$name")/supervisor/cgroup.procs"
    while :; do
        end=0
        # In the background: bash would report how it was ended.
        nsenter --net="$(namespace "$name")" \
            unshare --fork --kill-child=KILL --pid --mount --uts --ipc -- "$self" __init "$name" &
        wait $! || end=$?
        # The kernel ends a PID namespace with SIGHUP when its init calls reboot(2) to restart.
        ((end == 128 + 1)) || break
    done
}

# PID 1 of the new namespaces, on its way to systemd.
init() {
    local name=$1 machine=$dir/machines/$1 root=$dir/machines/$1/root group pid entry
    # /proc is still this host's, so this is the process id that the host knows us by.
    read -r pid _ </proc/self/stat
    group=$(cgroup_of "$name")
    mount --make-rprivate /
    echo 0 >"$group/payload/cgroup.procs"
    # Mounted in this namespace only, and gone with it, however it ends.
    mount -t overlay overlay "$root" \
        -o "lowerdir=$(<"$machine/base"),upperdir=$machine/upper,workdir=$machine/work"
    mount_proc "$root"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount_dev "$root"

    note "$pid" "$machine/pid"
    cd "$root" || exit
    mkdir -p mnt
    # A cgroup namespace begins at the cgroup of the process that makes it; cgroup2 is mounted in it.
    # shellcheck disable=SC2016  # for the inner shell
    exec unshare --cgroup -- bash -euc '
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
        pivot_root . mnt
        cd /
        umount -l /mnt
        # Left to whoever makes a container; units with credentials and private mounts rely on it.
        mount --make-rshared /
        hostname "$(cat /etc/hostname)"
        exec setpriv --bounding-set="$1" env -i container=testbed TERM=linux PATH="$2" \
            /lib/systemd/systemd --log-target=journal --show-status=0' \
        - "$dropped_capabilities" "$machine_path"
}

mount_proc() {
    local root=$1 entry
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
    # A boot id for each boot: journalctl goes by it, and Ansible when it reboots a host.
    cp /proc/sys/kernel/random/uuid "$root/run/boot_id"
    mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
    rm "$root/run/boot_id"
    # The network's settings are the machine's own; the others are this host's, and only for reading.
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount --rbind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$root/proc/sys"
    for entry in sysrq-trigger kcore; do
        [[ ! -e $root/proc/$entry ]] || mount --bind /dev/null "$root/proc/$entry"
    done
}

mount_dev() {
    local root=$1 entry
    mount -t tmpfs -o mode=755,nosuid,size=4m tmpfs "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
    mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
    mount -t mqueue mqueue "$root/dev/mqueue"
    for entry in null zero full random urandom tty; do
        cp -a "/dev/$entry" "$root/dev/$entry"
    done
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for entry in 0:stdin 1:stdout 2:stderr; do
        ln -s "fd/${entry%:*}" "$root/dev/${entry#*:}"
    done
}
