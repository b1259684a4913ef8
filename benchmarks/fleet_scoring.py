"""Scoring on Spark beside a local pool of processes: rates, CPU time, and how long a batch keeps each key waiting.

    python -m benchmarks.fleet_scoring [--users 200 1000 5000] [--cores 1 2] [--turns 8] [--each 200] [--heavy 133]

Each user has a host, which ships files of ``--each`` actions; a batch is one file of every host. With ``--heavy``
the first user does so many times as much: of 200 users, 133 makes it 40 % of all actions. Rates are of the batches
after the first ``--cold`` ones, when models and users are in memory ("warm"), in actions a second, with OCSVM.
Whoever wants Spark's JVM with its quick compiler alone sets JDK_JAVA_OPTIONS=-XX:TieredStopAtLevel=1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.fleet import arrivals, batches, prepare, undisturbed
from benchmarks.speed_child import ANOMALY

COLD = 2
"""Batches that are not counted as warm."""

_USER = re.compile(rb'"user":"(u\d+)"')


def main() -> None:
    """Measure, and print a table for each number of users."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[200])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--heavy", type=int, default=1, help="How many times as much the first user does.")
    parser.add_argument("--cold", type=int, default=COLD)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for users in asked.users:
            one = argparse.Namespace(**vars(asked) | {"users": users})
            models = prepare(folder, one)
            size = users - 1 + asked.heavy
            print(
                f"\n{users} users, {asked.turns} batches of {size * asked.each:,} actions, OCSVM, adapting;",
                end="",
            )
            print(f" user u0 does {asked.heavy / size:.1%} of them\n")
            score_table(folder, models, one)


def score_table(folder: Path, models: Path, asked: argparse.Namespace) -> None:
    """Print the rates of Spark and of a local pool, by cores."""
    cold = getattr(asked, "cold", COLD)
    print(
        "| cores | Spark, warm | CPU, ms an action | Spark, all of it | local pool | CPU, ms | batches, s", end=""
    )
    print(" | written after s: half of the others, all of them, u0 |")
    print("|---|---|---|---|---|---|---|---|")
    whole = folder / f"{arrivals(asked)}.log"
    if not whole.exists():
        with whole.open("wb") as file:
            for part in sorted((folder / arrivals(asked)).iterdir()):
                file.write(part.read_bytes())
    for cores in asked.cores:
        begin = time.monotonic()
        name = undisturbed(folder, models, asked, cores)
        taken = time.monotonic() - begin
        rows = batches(folder / f"{name}.json")
        warm = rows[cold:]
        rate = sum(row["actions"] for row in warm) / sum(row["seconds"] for row in warm)
        actions = sum(row["actions"] for row in rows)
        pool, spent = local(folder, whole, models, cores)
        costs = cpu_of(folder, name, cold), 1000 * spent / actions
        seconds = " ".join(f"{row['seconds']:.1f}" for row in rows)
        print(f"| {cores} | {rate:,.0f} | {costs[0]:.3f} | {actions / taken:,.0f}", end="")
        print(f" | {actions / pool:,.0f} | {costs[1]:.3f} | {seconds} | ", end="")
        print(f"{', '.join(f'{delay:.1f}' for delay in delays(folder / f'{name}-out', warm))} |", flush=True)


def local(folder: Path, log: Path, models: Path, jobs: int) -> tuple[float, float]:
    """Score the same actions with a local pool of processes, and return the seconds, and those of CPU time."""
    state = folder / f"state-{time.time_ns()}"
    words = ["predict", "--all-users", "--no-follow", "--from", "start", "--format", "json", "--jobs", str(jobs)]
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words += ["-l", str(log), "--models", str(models), "--state", str(state)]
    with Path(os.devnull).open("wb") as nowhere:
        subprocess.run([ANOMALY, *words], check=True, stdout=nowhere, stderr=nowhere)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_of(folder: Path, name: str, cold: int) -> float:
    """Return the CPU time that a warm action took, in milliseconds: it depends less than time on others' work."""
    told = json.loads((folder / f"{name}.cpu").read_text())
    marks = {int(number): float(spent) for number, spent in told.items()}
    actions = sum(int(row["actions"]) for row in batches(folder / f"{name}.json")[cold:])
    before = marks[max(number for number in marks if number < cold)]  # until the last cold batch was told of
    return 1000 * (marks[max(marks)] - before) / actions


def delays(out: Path, rows: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return how long after a batch's begin scores were written: of half the users, of all but u0, and of u0.

    In seconds, each the median over the batches. All of a batch is committed at once, and that is its end.
    """
    found = []
    for row in rows:
        begin = datetime.fromisoformat(row["time"]).timestamp()
        ends: defaultdict[bytes, float] = defaultdict(float)
        for path in committed(out, row["batch"]):
            for user in set(_USER.findall(path.read_bytes())):
                ends[user] = max(ends[user], path.stat().st_mtime - begin)
        if b"u0" not in ends:  # files of one millisecond come in any order: it is in the next batch
            continue
        first = ends.pop(b"u0")
        found.append((statistics.median(ends.values()), max(ends.values()), first))
    half, others, first = (statistics.median(column) for column in zip(*found, strict=True))
    return half, others, first


def committed(out: Path, batch: int) -> list[Path]:
    """Return the files of a batch, by the sink's own journal."""
    journal = out / "_spark_metadata" / str(batch)
    if not journal.exists():  # every tenth tells of all batches since the start
        return []
    lines = journal.read_text().splitlines()[1:]
    return [Path(json.loads(line)["path"].removeprefix("file://")) for line in lines]


if __name__ == "__main__":
    main()
