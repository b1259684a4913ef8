"""Puts people, host and intrusions on one timeline, and writes its results log with labels."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from anomaly.advice import unwritable
from anomaly.simulation import intrusions, results, system
from anomaly.simulation.personas import ALICE, BOB, CAROL
from anomaly.simulation.results import Clock, Line
from anomaly.simulation.session import Seat
from anomaly.simulation.system import Plan
from anomaly.simulation.timeline import Account, Timeline
from anomaly.simulation.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

MONDAY = 1_791_158_400
"""2026-10-05 00:00 UTC, when the simulated osqueryd first runs."""
VICTIMS = {"masquerade": "alice", "attack": "carol"}
"""Whose account each intrusion uses."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The results log of one host: normal days, then two with a masquerade, then two with an attack.

    It is one log, cut in three: counters, sessions and habits go on from each part to the next.
    """

    normal: list[Line]
    masquerade: list[Line]
    attack: list[Line]


def simulate(seed: int = 7, days: int = 14, start: int = MONDAY) -> Simulation:
    """Simulate one host with three users.

    Parameters
    ----------
    seed
        Seed of all chance: the same seed gives the same lines.
    days
        Normal days before the intrusions, at least one.
    start
        When osqueryd first runs, in seconds since 1970; midnight UTC.

    Returns
    -------
    Simulation
        The lines, in the order of the file.

    Raises
    ------
    ValueError
        If there is no normal day.

    Examples
    --------
    >>> simulation = simulate(seed=1, days=1)
    >>> simulation.normal[0].text[:27]
    '{"name":"pack_user_behavior'
    >>> sorted({line.step for line in simulation.masquerade})
    ['', 'sitting 1', 'sitting 2']
    """
    if days < 1:
        raise ValueError(f"days is {days}; at least one normal day is needed")
    plan = Plan(start, days)
    timeline = Timeline()
    system.run(timeline, plan, f"{seed}:system")
    alice, bob, carol = (
        Worker(timeline, plan, persona, Account(name, uid, f"/home/{name}"), seat, f"{seed}:{name}")
        for name, uid, persona, seat in (
            ("alice", 1000, ALICE, Seat("tty2")),
            ("bob", 1001, BOB, Seat(":10", "laptop-bob.example", "xrdp-sesman")),
            ("carol", 1002, CAROL, Seat(":11", "thin-17.example", "xrdp-sesman")),
        )
    )
    alice.absent = [intrusions.sittings(plan)[0]]
    for worker in (alice, bob, carol):
        worker.live()
    intrusions.masquerade(timeline, alice, bob, f"{seed}:masquerade")
    intrusions.attack(timeline, carol, f"{seed}:attack")
    timeline.settle(plan.down, plan.up)
    timeline.number(Random(f"{seed}:pid"), plan.up)
    clock = Clock(plan.start, plan.end, plan.down, plan.up)
    lines = results.lines(timeline, clock, Random(f"{seed}:osquery"))
    return Simulation(
        normal=[line for line in lines if line.time < plan.masquerade],
        masquerade=[line for line in lines if plan.masquerade <= line.time < plan.attack],
        attack=[line for line in lines if plan.attack <= line.time],
    )


def write(directory: Path, seed: int = 7, days: int = 14) -> list[Path]:
    """Write the sample logs and their labels into a directory, which is made if it is missing.

    Parameters
    ----------
    directory
        Where to write; files of the same names are replaced.
    seed, days
        As in :func:`simulate`.

    Returns
    -------
    list of Path
        The files: one log of normal days, and a log with its labels for each intrusion.

    Raises
    ------
    AnomalyError
        A file cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(directory, error) from error
    simulation = simulate(seed, days)
    log = directory / "osqueryd.results.log.gz"
    _write(log, _compress(simulation.normal))
    written = [log]
    for label, lines in (("masquerade", simulation.masquerade), ("attack", simulation.attack)):
        log = directory / f"{label}.results.log.gz"
        _write(log, _compress(lines))
        labels = directory / f"{label}.labels.csv"
        _write(labels, _labels(lines, VICTIMS[label], label).encode())
        written += [log, labels]
    return written


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def _compress(lines: list[Line]) -> bytes:
    """Return the lines as a gzip file; without name and time in its header it is always the same."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        for line in lines:
            file.write(line.text.encode() + b"\n")
    return buffer.getvalue()


def _labels(lines: list[Line], victim: str, label: str) -> str:
    """Return the labels of the lines that the intrusion caused and a reader takes for the victim's.

    What sudo or sshd did on the intruder's behalf is root's, and nobody can expect it of a model of the victim.
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(("line", "user", "label", "step"))
    for number, line in enumerate(lines, start=1):
        if line.step and line.user == victim:
            table.writerow((number, line.user, label, line.step))
    return buffer.getvalue()
