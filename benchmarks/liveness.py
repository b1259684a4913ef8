"""How soon a line is scored after it is written, and what waiting for one costs: ``predict``, live on a log."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LINES, IDLE = 300, 20.0
PAUSES = 0.02, 0.08
"""Shortest and longest time between two lines, in seconds; they do not wait for each other's records."""

PATIENCE = 10.0
"""Seconds after which a record is given up."""

FIRST_TOKEN = 1_000_000_000
"""The first of the numbers that stand as ``pid`` in the lines: more than any that the sample has."""


class Live:
    """A log that is being followed: lines in, and when the record of each came out.

    Parameters
    ----------
    log
        The path to append to.
    sample
        Lines to write, over and over, each time with another ``pid``.
    records
        Standard output of the command that follows the log.
    """

    def __init__(self, log: Path, sample: list[dict[str, Any]], records: IO[bytes]) -> None:
        self._log = log
        self._sample = sample
        self._written: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._reader = threading.Thread(target=self._read, args=(records,), daemon=True)
        self._reader.start()

    def write(self) -> str:
        """Append one line and return the token by which its record is known."""
        count = len(self._written)
        line = self._sample[count % len(self._sample)]
        token = str(FIRST_TOKEN + count)
        data = json.dumps({**line, "columns": {**line["columns"], "pid": token}}).encode() + b"\n"
        # As osquery does, which opens the log anew for each line.
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._written[token] = time.monotonic()
        os.write(descriptor, data)
        os.close(descriptor)
        return token

    def lags(self, tokens: list[str]) -> list[float]:
        """Wait for the records of lines and return how late each was; one that has not come has none."""
        until = time.monotonic() + PATIENCE
        while not all(token in self._seen for token in tokens) and time.monotonic() < until:
            time.sleep(0.01)
        return [self._seen[token] - self._written[token] for token in tokens if token in self._seen]

    def _read(self, records: IO[bytes]) -> None:
        for record in records:
            now = time.monotonic()
            self._seen[json.loads(record)["columns"]["pid"]] = now


def lags(live: Live) -> NDArray[np.float64]:
    """Write lines at random pauses and return how late the record of each was, in milliseconds."""
    chance = random.Random(1)  # noqa: S311 - pauses, not secrets
    tokens = []
    for _ in range(LINES):
        time.sleep(chance.uniform(*PAUSES))
        tokens.append(live.write())
    return 1000 * np.array(live.lags(tokens))


def idleness(process: int) -> float:
    """Return the share of one core, in per cent, that a process with all its threads uses for nothing."""
    before, begin = _cpu(process), time.monotonic()
    time.sleep(IDLE)
    return 100 * (_cpu(process) - before) / (time.monotonic() - begin)


@contextmanager
def following(models: Path, log: Path, sample: list[dict[str, Any]], state: Path) -> Iterator[tuple[Live, int]]:
    """Follow a log and give it with the id of the process, once the first lines have been scored.

    Raises
    ------
    SystemExit
        Not one line is scored.
    """
    words = ("predict", "--all-users", "--models", models, "--state", state, "--format", "json", "-l", log)
    command = [sys.executable, "-m", "anomaly", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            live = Live(log, sample, process.stdout)
            if not live.lags([live.write()]):
                raise SystemExit(f"anomaly predict gave no record in {PATIENCE:g} s.")
            for _ in range(5):  # the first one loads its user's model, and waits for numpy
                live.lags([live.write()])
            yield live, process.pid
        finally:
            process.terminate()


def sampled(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a simulated log that one user's processes have left."""
    with gzip.open(log) as file:
        lines = [json.loads(line) for line in file]
    return [line for line in lines if line.get("columns", {}).get("username") == "alice" and _has_pid(line)]


def places(folder: Path) -> Iterator[tuple[str, Path]]:
    """Make the logs to follow: a plain file, and a link to a file in a directory that nobody watches."""
    for name, kind in (("plain", "plain file"), ("linked", "symbolic link into another directory")):
        log = folder / name / "osqueryd.results.log"
        log.parent.mkdir(parents=True)
        if name == "linked":
            target = folder / "elsewhere" / "today.log"
            target.parent.mkdir()
            target.touch()
            log.symlink_to(target)
        yield kind, log


def _has_pid(line: dict[str, Any]) -> bool:
    return line["action"] == "added" and "pid" in line["columns"]


def _cpu(process: int) -> float:
    """Return the seconds that a process has had so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
