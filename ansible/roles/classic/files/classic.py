#!/usr/bin/python3
"""Takes a classic relay out of the way, and puts it back: classic.py [--dry] keep|stop|restore

keep     copies what the playbook is going to change, and notes which units run, once
stop     stops the classic relay, and moves its units aside
restore  stops ours, and makes files and units what they were when they were kept

Each can be killed anywhere and run again. A line is printed for everything that is changed; nothing is if all is
done. `--dry` prints the lines and changes nothing.
"""

import configparser
import glob
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys

KEPT = pathlib.Path("/etc/chatmail/classic")
NEW = pathlib.Path("/etc/chatmail/classic.new")
GIVEN_BACK = pathlib.Path("/etc/chatmail/given-back")
UNITS = pathlib.Path("/etc/systemd/system")
CHATMAIL_INI = pathlib.Path("/etc/chatmail/chatmail.ini")
CLASSIC_INI = pathlib.Path("/etc/chatmail/classic-relay.ini")
KEYS = pathlib.Path("/etc/dkimkeys")

# What classic relays run, of several years; few have all of it.
CLASSIC = """
    doveauth.service filtermail.service filtermail-incoming.service filtermail-transport.service
    chatmail-metadata.service lastlogin.service
    chatmail-expire.timer chatmail-expire.service chatmail-fsreport.timer chatmail-fsreport.service
    opendkim.service dkim-milter.service dkim-milter@sign.service dkim-milter@verify.service
    acmetool-reconcile.timer acmetool-reconcile.service acmetool-redirector.service
    tls-cert-reload.path tls-cert-reload.service fcgiwrap.socket fcgiwrap.service websockify.service
    iroh-relay.service turnserver.service mtail.service
    doveauth-dictproxy.service echobot.service mta-sts-daemon.service
""".split()

# Servers that both have.
SERVERS = "nginx.service postfix.service dovecot.service".split()

# What the playbook starts; doveauth.service, filtermail.service and iroh-relay.service are names that both have.
OURS = """
    expiry-cron.timer expiry-cron.service expiry-cron-report.timer expiry-cron-report.service
    filtermail.socket doveauth.socket doveauth-policy.socket doveauth-blocks.socket
    mxdeliv-bridge.socket mxdeliv-bridge-postfix.socket mxdeliv-bridge-admin.socket mxdeliv-bridge.service
    doveauth.service filtermail.service iroh-relay.service
    postfix-log.socket postfix-log.service chatmail-tls.path chatmail-tls.service certbot.timer
    coturn.service nftables.service chatmail-dovecot.timer chatmail-dovecot.service
""".split()

# What the playbook writes over, or what would be in its way.
FILES = """
    /etc/postfix /etc/dovecot /etc/nginx /etc/opendkim /etc/opendkim.conf /etc/default/opendkim
    /etc/unbound/unbound.conf.d /etc/resolv.conf /etc/hostname /etc/hosts /etc/localtime /etc/timezone
    /etc/nftables.conf /etc/sysctl.d/60-chatmail.conf /etc/apt/apt.conf.d/52chatmail-upgrades
    /etc/apt/apt.conf.d/90chatmail-dovecot /etc/apt/preferences.d/chatmail-dovecot
    /etc/apt/sources.list.d/chatmail-dovecot.list /etc/systemd/system/apt-daily-upgrade.service.d/chatmail-dovecot.conf
    /etc/systemd/journald.conf.d/chatmail.conf /etc/turnserver.conf
    /etc/dhcp/dhclient-enter-hooks.d/chatmail /etc/NetworkManager/conf.d/chatmail.conf
""".split() + [
    f"{UNITS}/{unit}{suffix}"
    for unit in sorted({*CLASSIC, *SERVERS, *OURS, "postfix@.service"})
    for suffix in ("", ".d")
]

# A classic relay has one file of its own here, which knows no sites. Ours is a site.
NGINX_CONF = """\
# As Debian has it, in short: the relay is a site, and what is not a site's is in modules-enabled/90-chatmail.conf.
user www-data;
worker_processes auto;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;

events {
\tworker_connections 768;
}

http {
\tinclude /etc/nginx/mime.types;
\tdefault_type application/octet-stream;
\tsendfile on;
\ttcp_nopush on;
\tssl_protocols TLSv1.2 TLSv1.3;
\tssl_prefer_server_ciphers on;
\taccess_log off;
\tinclude /etc/nginx/conf.d/*.conf;
\tinclude /etc/nginx/sites-enabled/*;
}
"""

dry = False


def run(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


def say(what):
    print(what, flush=True)
    return not dry


def exists(path):
    return os.path.lexists(path)


def write(path, text):
    """The whole file, or the one that was there."""
    new = path.with_name(path.name + ".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unit_state(unit):
    asked = ("LoadState", "UnitFileState", "ActiveState")
    lines = run("systemctl", "show", "--property=" + ",".join(asked), unit).splitlines()
    return dict(line.split("=", 1) for line in lines)


def is_there(unit):
    return unit_state(unit)["LoadState"] not in ("not-found", "masked")


def kept_file(path):
    return KEPT / "files" / str(path).lstrip("/")


def same(one, other):
    """Whether two files say the same, or are the same link."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


# --- keep ---------------------------------------------------------------------


def keep():
    if exists(KEPT) or not say(f"keep the classic relay's files and units in {KEPT}"):
        return
    if exists(NEW):
        remove(NEW)
    os.makedirs(NEW / "files", mode=0o700)
    os.chmod(NEW, 0o700)
    absent = []
    for path in FILES:
        if exists(path):
            # With owners, modes, access control lists, and the folders above. cp 9.1 fails with whole paths.
            run("cp", "--archive", "--parents", path.lstrip("/"), NEW / "files")
        else:
            absent.append(path)
    state = {
        "absent": absent,
        "units": {unit: unit_state(unit) for unit in sorted({*CLASSIC, *SERVERS, *OURS})},
        # filtermail is let at the keys by access control lists, which show in these.
        "modes": {str(path): stat.S_IMODE(path.stat().st_mode) for path in [KEYS, *KEYS.glob("*")] if path.exists()},
    }
    write(NEW / "state.json", json.dumps(state, indent=1))
    os.sync()
    # All of it, or nothing.
    os.rename(NEW, KEPT)


# --- stop ---------------------------------------------------------------------


def stop(leave):
    """Postfix, Dovecot and nginx stop as well: until they have their new configuration, peers and clients wait."""
    if exists(KEPT / "stopped") or not say("stop the classic relay and move its units aside"):
        return
    if not exists(KEPT):
        raise SystemExit(f"{KEPT} is not there: nothing was kept")
    units = [unit for unit in CLASSIC if unit not in leave]
    # Who takes mail first, then whom it asks.
    run("systemctl", "stop", *filter(is_there, [*SERVERS, *units]))
    for unit in filter(is_there, units):
        run("systemctl", "disable", "--quiet", unit)
    for unit in units:
        # Units of the same name in this folder would be used in place of the package's. What has been written anew
        # since is not the classic relay's.
        for path in [UNITS / unit, *(UNITS / f"{unit}.d").glob("*")]:
            if exists(path) and same(path, kept_file(path)):
                path.unlink()
    run("systemctl", "daemon-reload")
    # Folders in /run that have gone with those units.
    if exists("/usr/lib/tmpfiles.d/chatmail-suite.conf"):
        run("systemd-tmpfiles", "--create", "chatmail-suite.conf")
    nginx = pathlib.Path("/etc/nginx/nginx.conf")
    if nginx.exists() and "sites-enabled" not in nginx.read_text(encoding="utf-8", errors="replace"):
        write(nginx, NGINX_CONF)
    remove(KEPT / "giving-back")
    write(KEPT / "stopped", "")


# --- restore ------------------------------------------------------------------


def mailboxes():
    for ini in (CHATMAIL_INI, CLASSIC_INI):
        if ini.exists():
            parser = configparser.ConfigParser(interpolation=None)
            parser.read(ini, encoding="utf-8")
            domain = parser["params"]["mail_domain"]
            folder = parser["params"].get("mailboxes_dir", "/home/vmail/mail/{mail_domain}")
            return folder.replace("{mail_domain}", domain)
    return None


def finish_deletions():
    """An account that expiry-cron was about to delete is an account again: classic daemons know no such state."""
    folder = mailboxes()
    for expiring in glob.glob(f"{glob.escape(folder)}/*/password.expiring") if folder else []:
        password = pathlib.Path(expiring).with_name("password")
        if not exists(password):
            os.rename(expiring, password)


def put_back(path):
    """The kept file or folder takes the place of the one that is there, which goes to GIVEN_BACK."""
    path, source = pathlib.Path(path), kept_file(path)
    aside = GIVEN_BACK / "files" / str(path).lstrip("/")
    new = path.with_name(path.name + ".classic-new")
    if exists(source):
        if exists(new):
            remove(new)
        path.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "--archive", "--no-target-directory", source, new)
    if exists(path):
        if os.path.ismount(path):
            # As containers have resolv.conf: it can be written to, but not replaced.
            if exists(new):
                shutil.copyfile(new, path)
                remove(new)
            return
        aside.parent.mkdir(parents=True, exist_ok=True)
        # What an earlier try has set aside is what was there first.
        if exists(aside):
            remove(path)
        else:
            shutil.move(path, aside)
    if exists(new):
        os.rename(new, path)


def give_keys_back(modes):
    """opendkim takes no key that others may read, and an access control list looks to it as if they may."""
    for path, mode in modes.items():
        if not exists(path):
            continue
        if shutil.which("setfacl"):
            run("setfacl", "--remove", "user:filtermail", path, check=False)
            if not [line for line in run("getfacl", "--omit-header", "--absolute-names", path).splitlines()
                    if line.startswith(("user:", "group:")) and "::" not in line]:
                run("setfacl", "--remove-all", path)
        os.chmod(path, mode)


def restore():
    if not exists(KEPT):
        if exists(GIVEN_BACK):
            return
        raise SystemExit(f"{KEPT} is not there: this machine was never a classic relay's, or nothing was kept")
    if not say("stop our units and give the machine back to the classic relay"):
        return
    state = json.loads((KEPT / "state.json").read_text(encoding="utf-8"))
    # Whatever else happens, ours does not start any more: its units want this file.
    if not exists(KEPT / "giving-back"):
        # Nothing of an earlier time.
        if exists(GIVEN_BACK):
            remove(GIVEN_BACK)
        os.makedirs(GIVEN_BACK / "files", mode=0o700)
        write(KEPT / "giving-back", "")
    # Should the playbook run before this is over, it stops the classic relay again.
    remove(KEPT / "stopped")
    run("systemctl", "stop", *filter(is_there, [*SERVERS, *OURS]))
    for unit in filter(is_there, OURS):
        run("systemctl", "disable", "--quiet", unit)
    finish_deletions()
    for ini in (CHATMAIL_INI, CLASSIC_INI):
        if exists(ini):
            shutil.move(ini, GIVEN_BACK / ini.name)
    for path in FILES:
        put_back(path)
    give_keys_back(state["modes"])
    run("systemctl", "daemon-reload")
    run("hostname", "--file", "/etc/hostname")
    failed = []
    start = []
    for unit, was in state["units"].items():
        if not is_there(unit):
            continue
        if was["UnitFileState"] == "enabled":
            run("systemctl", "enable", "--quiet", unit)
        elif was["UnitFileState"] == "disabled":
            run("systemctl", "disable", "--quiet", unit)
        # Services of timers run when it is time.
        if was["ActiveState"] in ("active", "reloading", "activating") and unit.removesuffix(".service") not in (
            "chatmail-expire", "chatmail-fsreport", "acmetool-reconcile", "expiry-cron", "expiry-cron-report"
        ):
            start.append(unit)
    # Those that are asked first, then those who ask.
    start.sort(key=lambda unit: SERVERS[::-1].index(unit) if unit in SERVERS else -1)
    if (pathlib.Path("/etc/unbound/unbound.conf.d")).exists() and is_there("unbound.service"):
        run("systemctl", "try-restart", "unbound.service", check=False)
    run("systemctl", "try-restart", "systemd-journald.service", check=False)
    for unit in start:
        run("systemctl", "restart" if unit in SERVERS else "start", unit, check=False)
        if unit_state(unit)["ActiveState"] not in ("active", "activating"):
            failed.append(unit)
    if failed:
        raise SystemExit(f"given back, but these do not start: {' '.join(failed)} (journalctl -u UNIT)")
    remove(KEPT / "giving-back")
    os.rename(KEPT, GIVEN_BACK / "classic")


def main(arguments):
    global dry
    os.chdir("/")
    if arguments and arguments[0] == "--dry":
        dry = True
        arguments = arguments[1:]
    match arguments:
        case ["keep"]:
            keep()
        case ["stop", *leave]:
            stop(leave)
        case ["restore"]:
            restore()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
