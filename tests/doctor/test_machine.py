"""Checks of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anomaly.doctor.interface import State

if TYPE_CHECKING:
    from tests.doctor.conftest import Machine

MIB = 1 << 20


def room(monkeypatch: pytest.MonkeyPatch, free: int, inodes: int = 10**6, total: int = 10**7) -> None:
    """Let every disk have so much room."""
    status = os.statvfs_result((4096, 4096, 10**9, free // 4096, free // 4096, total, inodes, inodes, 0, 255))
    monkeypatch.setattr("anomaly.doctor.machine.os.statvfs", lambda _: status)


@pytest.mark.parametrize(
    ("free", "inodes", "total", "state", "words"),
    [
        (64 << 30, 10**6, 10**7, State.OK, "64 GiB are free."),
        (300 * MIB, 10**6, 10**7, State.WARNING, "The disk has only 300 MiB left."),
        (10 * MIB, 10**6, 10**7, State.PROBLEM, "has only 10 MiB left."),
        (64 << 30, 12, 10**7, State.PROBLEM, "has room for only 12 more files."),
        (64 << 30, 0, 0, State.OK, "64 GiB are free."),
    ],
)
def test_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, total: int, state: State, words: str
) -> None:
    """Little room is worth a word, hardly any is a problem; a file system that counts no inodes is neither."""
    room(monkeypatch, free, inodes, total)
    verdict = machine.check("disk")
    assert verdict.state is state
    assert verdict.found.endswith(words)


def test_places_that_are_still_to_be_made(machine: Machine) -> None:
    """The disk of a directory that is not there yet is that of the nearest that is."""
    assert machine.check("disk", state=Path("/proc/none/a/b")).state is State.PROBLEM


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (("tensorflow",), "tensorflow: not installed, so LSTM and BOTH cannot be trained; OCSVM can."),
        (("sklearn", "tensorflow"), "tensorflow, scikit-learn: not installed, so nothing can be trained."),
    ],
)
def test_libraries_that_are_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], words: str
) -> None:
    """What is missing for training is named, with what cannot be done without it."""
    monkeypatch.setattr("anomaly.doctor.machine.find_spec", lambda name: None if name in missing else object())
    verdict = machine.check("libraries")
    assert (verdict.state, verdict.found) == (State.WARNING, words)
    assert verdict.remedy[0].startswith("pip install ")


def test_libraries_that_are_there(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of them training is possible."""
    monkeypatch.setattr("anomaly.doctor.machine.find_spec", lambda _: object())
    assert machine.check("libraries").state is State.OK


def test_the_service(machine: Machine) -> None:
    """Without systemd nothing is known; with it, the unit should be there and enabled."""
    assert machine.check("service").state is State.UNKNOWN
    machine.write(machine.places.root / "usr/bin/systemctl", "")
    verdict = machine.check("service")
    assert verdict.state is State.WARNING
    assert verdict.remedy[1] == "sudo systemctl enable --now anomaly"
    unit = machine.etc("systemd/system/anomaly.service")
    assert machine.check("service").found == f"{unit} is installed, and does not start with the machine."
    wants = machine.etc("systemd/system/multi-user.target.wants/anomaly.service")
    wants.unlink()
    wants.symlink_to("/nowhere/anomaly.service")
    assert machine.check("service").state is State.OK
