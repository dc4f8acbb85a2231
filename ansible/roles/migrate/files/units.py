#!/usr/bin/python3
"""Stops and disables the units that are there: units.py [--dry] UNIT...; prints those that it had to."""

import subprocess
import sys


def show(unit):
    asked = ["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", unit]
    lines = subprocess.run(asked, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


dry = sys.argv[1:2] == ["--dry"]
wanted = sys.argv[2:] if dry else sys.argv[1:]
states = {unit: show(unit) for unit in wanted}
found = [unit for unit in wanted if states[unit]["LoadState"] == "loaded"]
running = [unit for unit in found if states[unit]["ActiveState"] not in ("inactive", "failed")]
enabled = [unit for unit in found if states[unit]["UnitFileState"] == "enabled"]
for verb, units in (("stop", running), ("disable", enabled)):
    if units:
        print(verb, *units)
        if not dry:
            # All at once: a socket would start its service again.
            subprocess.run(["systemctl", "--quiet", verb, *units], check=True)
