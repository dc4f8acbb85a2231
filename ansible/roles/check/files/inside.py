"""What can be seen on the machine itself: prints a JSON list of findings. It changes nothing."""

import base64
import json
import re
import subprocess
import sys

FINDINGS = []


def finding(ok, what, hint="", **more):
    text = ("ok: " if ok else "MISSING: ") + what + (f" - {hint}" if hint and not ok else "")
    FINDINGS.append({"ok": bool(ok), "text": text, **more})


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def units(names):
    for name in names:
        status, state = run("systemctl", "is-active", name)
        finding(status == 0, f"{name} is active", f"it is {state or 'unknown'}: journalctl -u {name}")


def ports(numbers):
    _, listening = run("ss", "-Hltnu")
    open_ports = {int(port) for port in re.findall(r"[:.](\d+)\s+\S+:\*", listening)}
    for number in numbers:
        finding(number in open_ports, f"port {number} is listened on", "see the roles postfix, dovecot, nginx and calls")


def certificate(path, days):
    status, text = run("openssl", "x509", "-in", path, "-noout", "-checkend", str(days * 86400))
    finding(status == 0, f"the certificate is good for {days} more days", f"{path}: {text}")


def settings():
    status, text = run("filtermail", "check-config")
    # A classic relay's file may have settings that mean nothing any more: those are warnings.
    finding(status == 0, "chatmail.ini is right", text)


def dkim():
    status, text = run("filtermail", "dkim", "show-record")
    finding(status == 0, "there are DKIM keys", text)
    readable = run("runuser", "-u", "filtermail", "--", "filtermail", "dkim", "show-record")
    finding(readable[0] == 0, "filtermail can read its DKIM keys", readable[1])
    records = []
    for line in text.splitlines() if status == 0 else []:
        name, _, strings = line.partition(" 3600 IN TXT ")
        records.append([name.rstrip("."), "".join(re.findall(r'"([^"]*)"', strings))])
    finding(bool(records), "DKIM records are known", "", dkim=records)


def inotify(least):
    with open("/proc/sys/fs/inotify/max_user_instances", encoding="ascii") as file:
        value = int(file.read())
    finding(value >= least, "enough inotify instances", f"{value}, not {least}: new mail is noticed late on a busy relay")


def main():
    wanted = json.loads(base64.b64decode(sys.argv[1]))
    units(wanted["units"])
    ports(wanted["ports"])
    certificate(wanted["certificate"], wanted["certificate_days"])
    settings()
    if wanted["dkim"]:
        dkim()
    inotify(wanted["inotify"])
    print(json.dumps(FINDINGS))


main()
