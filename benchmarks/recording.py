"""What a look of ``anomaly record`` costs, on a machine that is filled up to some number of processes.

    python -m benchmarks.recording --processes 300 --files 15

The processes are this interpreter, asleep, with some files open. CPU seconds are what is measured, so other work
on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from anomaly.recording.accounts import Accounts
from anomaly.recording.output import Recording
from anomaly.recording.pack import queries
from anomaly.recording.recorder import Recorder

_SLEEPER = "import os, sys\nheld = [open(os.devnull) for _ in range(int(sys.argv[1]))]\nprint(flush=True)\ninput()"
_LOOKS = 10


def main() -> None:
    """Fill the machine, look at it, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=300)
    parser.add_argument("--files", type=int, default=15)
    asked = parser.parse_args()
    missing = max(0, asked.processes - len(psutil.pids()))
    command = [sys.executable, "-c", _SLEEPER, str(asked.files)]
    sleepers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(missing)]
    try:
        for sleeper in sleepers:
            assert sleeper.stdout is not None  # noqa: S101 - a pipe was asked for
            sleeper.stdout.readline()
        seen = [_descriptors(pid) for pid in psutil.pids()]
        first, *later = _looks()
    finally:
        for sleeper in sleepers:
            sleeper.communicate(b"\n")
    milliseconds = [round(1000 * each) for each in (first, statistics.median(later), max(later))]
    print(
        f"{len(seen)} processes with {statistics.mean(seen):.0f} descriptors each, CPU of a look in milliseconds:"
    )
    print("the first {}; later ones {} (median), {} at most".format(*milliseconds))


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _looks() -> list[float]:
    accounts = Accounts()
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder) / "recorded.results.log", "here")
        recorder = Recorder(queries(accounts), accounts, recording, "here", print)
        found = [recorder.round() for _ in range(1 + _LOOKS)]
        recording.close()
    return found


if __name__ == "__main__":
    main()
