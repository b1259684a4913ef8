"""Checks of the machine: room on its disks, what training needs, and the service."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from anomaly.doctor.files import existing, names
from anomaly.doctor.interface import Verdict, World, listed, ok, problem, unknown, warning, word

_FULL, _TIGHT = 64 << 20, 512 << 20
_INODES = 1000
_UNITS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
_ENABLE = "sudo systemctl enable --now anomaly"
_LIBRARIES = {"tensorflow": "tensorflow", "sklearn": "scikit-learn", "scipy": "scipy"}
_INSTALL = "sudo install -m 0644 conf/anomaly.service /etc/systemd/system/"


def disk(world: World) -> Verdict:
    """Whether there is room for the state, for models, and for what osquery writes."""
    places, least = world.places, 1 << 62
    for path in (places.state, places.models, places.log.parent):
        where = existing(path)
        room = os.statvfs(where)
        free = room.f_bavail * room.f_frsize
        if free < _FULL:
            return problem(
                f"{where} has only {free >> 20:,} MiB left.", f"df -h {word(where)}", "anomaly models prune"
            )
        if room.f_files and room.f_favail < _INODES:
            return problem(f"{where} has room for only {room.f_favail:,} more files.", f"df -i {word(where)}")
        least = min(least, free)
    if least < _TIGHT:
        return warning(f"The disk has only {least >> 20:,} MiB left.", f"df -h {word(existing(places.state))}")
    return ok(f"{least >> 30:,} GiB are free.")


def libraries(_: World) -> Verdict:
    """Whether what training needs is installed; scoring needs none of it."""
    missing = [package for name, package in _LIBRARIES.items() if find_spec(name) is None]
    if not missing:
        return ok("tensorflow, scikit-learn and scipy are there for training.")
    what = "LSTM and BOTH cannot be trained; OCSVM can" if missing == ["tensorflow"] else "nothing can be trained"
    return warning(f"{listed(missing)}: not installed, so {what}.", f"pip install {' '.join(missing)}")


def service(world: World) -> Verdict:
    """Whether systemd runs the watch."""
    root = world.places.root
    if not any((root / folder / "systemctl").exists() for folder in ("usr/bin", "bin")):
        return unknown("There is no systemctl: whether something starts anomaly is not known.")
    units = [root / folder / "anomaly.service" for folder in _UNITS]
    unit = next(filter(_there, units), None)
    if unit is None:
        return warning("There is no service: nothing starts the watch with the machine.", _INSTALL, _ENABLE)
    wants = root / "etc/systemd/system"
    if not any(name.endswith(".wants") and _there(wants / name / "anomaly.service") for name in names(wants)):
        return warning(f"{unit} is installed, and does not start with the machine.", _ENABLE)
    return ok(f"{unit} starts with the machine.")


def _there(path: Path) -> bool:
    """Say whether there is such a name, be it a link to nowhere, as it is where another root is looked at."""
    return os.path.lexists(path)
