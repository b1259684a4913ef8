"""Reliability, measured from outside: what `predict` loses over rotations and crashes, beside its peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.reliability --torture ../shared/tools/torture.py --lag --idle

torture.py appends numbered lines to a log, rotates it, and kills and restarts what follows it; then it counts in
the output which lines were lost, which of these are still on disk, and which came more than once. Modes that
destroy what was not read yet (truncate, delete) lose lines by design: those are not on disk. A program counts
as installed where it is in the PATH. The exit code is 1 where we lost a line that is still on disk.
Without torture.py the project's own property test of the same promise runs instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import liveness
from benchmarks.detection_scorers import anomaly
from benchmarks.tailers import Tailer, peers

COLUMNS = "lost | lost though on disk | repeated | out of order | crashes | cpu s | rss MiB | drain s |"
RULE = "---|" * 8
LIVE = """\
| log | median ms | p90 | p99 | max | never scored | idle, % of a core |
|---|---|---|---|---|---|---|"""
PROPERTY_TEST = "tests/sources/test_tail_states.py"
SAMPLE = "osqueryd.results.log.gz"
NOISE = ("--noise-every", "7", "--split-every", "50")


class Mode(NamedTuple):
    """A way of treating the log and who follows it."""

    name: str
    options: tuple[str, ...]
    of_osquery: bool = False
    """Whether osquery's rotation takes the place of torture.py's."""


RENAME, COPYTRUNCATE, TRUNCATE = (Mode(name, ("--mode", name)) for name in ("rename", "copytruncate", "truncate"))
MODES = (
    RENAME,
    Mode("rename-nocreate", ("--mode", "rename-nocreate")),
    Mode("rename, dated", (*RENAME.options, "--naming", "date")),
    Mode("rename, gzip from the second on", (*RENAME.options, "--gzip-after", "2")),
    Mode("rename, as osquery does, zstd", RENAME.options, of_osquery=True),
    COPYTRUNCATE,
    Mode("delete", ("--mode", "delete")),
    Mode("symlink", ("--mode", "symlink")),
    TRUNCATE,
    Mode("rename, noise, split writes", (*RENAME.options, *NOISE)),
    Mode("copytruncate, noise, split writes", (*COPYTRUNCATE.options, *NOISE)),
    Mode("rename, absent at the start", (*RENAME.options, "--absent-start")),
    Mode("rename, SIGTERM", (*RENAME.options, "--kill-signal", "TERM")),
    Mode("copytruncate, SIGTERM", (*COPYTRUNCATE.options, "--kill-signal", "TERM")),
)
PEERS_MODES = (RENAME, COPYTRUNCATE, TRUNCATE)


class Torture(NamedTuple):
    """The script and what all of its runs have in common."""

    script: Path
    load: tuple[str, ...]
    only: list[str]
    """Words of which a mode's name has to have one; none where all modes are wanted."""

    def wants(self, mode: Mode) -> bool:
        """Whether a mode was asked for."""
        return not self.only or not set(self.only).isdisjoint(mode.name.replace(",", "").split())

    def run(self, tailer: Tailer, mode: Mode) -> dict[str, Any]:
        """Return what the script found out.

        Raises
        ------
        SystemExit
            It found out nothing; why is on standard error.
        """
        program = ["-m", "benchmarks.osquery_rotation", self.script] if mode.of_osquery else [self.script]
        command = [sys.executable, *program, *self.load, *mode.options, *tailer.arguments()]
        # Its exit code says whether lines were lost, which some modes and most peers do.
        told = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True).stdout
        if not told:
            raise SystemExit(f"torture.py gave no result for {tailer.name} in mode {mode.name}.")
        found: dict[str, Any] = json.loads(told)
        return found


def row(found: dict[str, Any]) -> str:
    """Return a row of the table, without its first cells."""
    counts = ("lost", "lost_though_on_disk", "dup", "out_of_order", "crashes")
    cells = [f"{found[name]:,}" for name in counts]
    cells += [f"{found[name]:.1f}" for name in ("cpu_s", "rss_mib", "drain_after_last_write_s")]
    return " | ".join(cells)


def ours(torture: Torture, models: Path) -> int:
    """Print what becomes of our lines in each mode; return how many were lost that are still on disk."""
    words = ("--models", str(models), "--state", "{state}", "--format", "json", "-l", "{log}")
    command = shlex.join([sys.executable, "-m", "anomaly", "predict", "--all-users", *words])
    print(f"\n## anomaly predict\n\n| mode | {COLUMNS}\n|---|{RULE}", flush=True)
    lost = 0
    for mode in filter(torture.wants, MODES):
        found = torture.run(Tailer("anomaly", command), mode)
        lost += found["lost_though_on_disk"]
        print(f"| {mode.name} | {row(found)} |", flush=True)
    return lost


def theirs(torture: Torture) -> None:
    """Print what becomes of the lines of those peers that are installed."""
    tailers = peers()
    versions = sorted({tailer.version for tailer in tailers if tailer.version})
    print(f"\n## Peers: {'; '.join(versions)}\n\n| tailer | mode | {COLUMNS}\n|---|---|{RULE}", flush=True)
    for tailer in tailers:
        for mode in filter(torture.wants, PEERS_MODES):
            cells = row(torture.run(tailer, mode)) if tailer.version else "not installed" + " |" * 7
            print(f"| {tailer.name} | {mode.name} | {cells} |", flush=True)


def live(folder: Path, *, lag: bool, idle: bool) -> int:
    """Print how late records come and what waiting costs; return how many lines were never scored."""
    models, sample = learned(folder), liveness.sampled(folder / SAMPLE)
    pauses = " to ".join(f"{1000 * pause:.0f}" for pause in liveness.PAUSES)
    print(f"\n## Live: {liveness.LINES} lines, {pauses} ms apart; then {liveness.IDLE:g} s without any\n\n{LIVE}")
    missed = 0
    for number, (kind, log) in enumerate(liveness.places(folder / "live")):
        late, idleness = "- | - | - | - | -", "-"
        with liveness.following(models, log, sample, folder / f"state-{number}") as (followed, process):
            if lag:
                found = liveness.lags(followed)
                missing = liveness.LINES - len(found)
                quantiles = np.percentile(found, [50, 90, 99, 100]) if len(found) else [np.nan] * 4
                late = " | ".join([*(f"{value:.1f}" for value in quantiles), str(missing)])
                missed += missing
            if idle:
                idleness = f"{liveness.idleness(process):.2f}"
        print(f"| {kind} | {late} | {idleness} |", flush=True)
    return missed


@cache
def learned(folder: Path) -> Path:
    """Make a sample and models of its users, for `predict` to load; return where the models are."""
    models = folder / "models"
    anomaly("simulate", folder)
    anomaly("train", "--all-users", "-a", "OCSVM", "-l", folder / SAMPLE, "--models", models)
    return models


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torture", type=Path, help="the script; without it the property test runs")
    parser.add_argument("--lines", default="200000", help="written in each run")
    parser.add_argument("--rate", default="20000", help="lines a second")
    parser.add_argument("--rotate-every", default="20000", help="lines from one rotation to the next")
    parser.add_argument("--kills", default="3", help="in each run")
    parser.add_argument("--down", default="1.5", help="seconds from a kill to the restart")
    parser.add_argument("--modes", nargs="+", default=[], help="only those whose name has one of these words")
    parser.add_argument("--only", choices=["anomaly", "peers"], help="leave the others out")
    parser.add_argument("--lag", action="store_true", help="measure how late a line's record comes")
    parser.add_argument("--idle", action="store_true", help="measure what waiting for lines costs")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    asked = arguments()
    failures = 0
    versions = f"{anomaly('--version').strip()}, Python {platform.python_version()}"
    print(f"{versions}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if asked.torture is None:
            print(f"\nWithout --torture, the property test instead: {PROPERTY_TEST}", flush=True)
            failures += subprocess.run(
                [sys.executable, "-m", "pytest", PROPERTY_TEST, "-q"], check=False
            ).returncode
        else:
            names = ("lines", "rate", "rotate_every", "kills", "down")
            load = {f"--{name.replace('_', '-')}": getattr(asked, name) for name in names}
            torture = Torture(asked.torture, tuple(chain.from_iterable(load.items())), asked.modes)
            digest = hashlib.sha256(asked.torture.read_bytes()).hexdigest()
            print(f"torture.py: SHA-256 {digest[:16]}, {shlex.join(torture.load)}", flush=True)
            if asked.only != "peers":
                failures += ours(torture, learned(folder))
            if asked.only != "anomaly":
                theirs(torture)
        if asked.lag or asked.idle:
            failures += live(folder, lag=asked.lag, idle=asked.idle)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
