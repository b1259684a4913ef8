"""What a fleet costs: learning and scoring on Spark beside local processes, and what kills lose and repeat.

    python -m benchmarks.fleet [--users 200] [--turns 6] [--each 200] [--cores 1 2] [--only score]

Each user has a host, which ships files of ``--each`` actions; a batch is one file of every host. Rates are of the
batches after the first two, when models and users are in memory ("warm"), in actions a second, with OCSVM.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.fleet_logs import arrive, learned, slices
from benchmarks.fleet_training import training_table
from benchmarks.speed_child import ANOMALY, run
from benchmarks.speed_logs import simulated

SCORE = [sys.executable, "-c", "from anomaly.cli_fleet_score import score; score()"]
LEARNED = 45_000
"""Lines of the simulated log that the models are made of."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--heavy", type=int, default=1, help="How many times as much the first user does.")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--actions", type=int, default=600, help="How many each user is learned from.")
    parser.add_argument("--learn-by", default="OCSVM", choices=["OCSVM", "LSTM", "BOTH"])
    parser.add_argument("--only", choices=["train", "score", "kill"])
    asked = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if asked.only in (None, "train"):
            training_table(folder, asked)
        if asked.only == "train":
            return
        models = prepare(folder, asked)
        print(f"{asked.users} users, {asked.turns} batches of {asked.each} actions each, OCSVM, adapting\n")
        if asked.only != "kill":
            from benchmarks.fleet_scoring import score_table  # noqa: PLC0415 - it needs this module

            score_table(folder, models, asked)
        if asked.only != "score":
            from benchmarks.fleet_kills import kill_table  # noqa: PLC0415 - it needs this module

            kill_table(folder, models, asked)


def prepare(folder: Path, asked: argparse.Namespace) -> Path:
    """Make logs and models; return where the models are."""
    log, trained = simulated(folder, 60), folder / "trained"
    if not trained.exists():
        head = folder / "head.log"
        learned(log, head, LEARNED)
        run([ANOMALY, "train", "--all-users", "-a", "OCSVM", "-l", str(head), "--models", str(trained)])
    models = folder / f"models-{asked.users}"
    if not models.exists():
        run([sys.executable, "-m", "benchmarks.fleet_logs", str(trained), str(models), str(asked.users)])
    arrived = folder / arrivals(asked)
    if not arrived.exists():
        files = slices(log, LEARNED, asked.users, asked.each, asked.heavy)
        for name, content in islice(files, asked.turns * asked.users):
            arrive(arrived, name, content)
    return models


def arrivals(asked: argparse.Namespace) -> str:
    """Name the directory of what the hosts ship."""
    return f"in-{asked.users}-{asked.turns}-{asked.each}-{asked.heavy}"


def query(
    folder: Path,
    models: Path,
    asked: argparse.Namespace,
    name: str,
    cores: int,
    master: str = "",
    source: str = "",
    more: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `anomaly fleet score` on what has arrived or on another source, with more in its environment."""
    words = ["--from", source or folder / arrivals(asked), "--models", models, "--to", folder / f"{name}-out"]
    words += ["--checkpoint", folder / f"{name}-checkpoint", "--metrics", folder / f"{name}.json"]
    words += ["--trigger", "available-now", "--files", str(asked.users)]
    settings = ["--conf spark.ui.enabled=false", f"--conf spark.sql.shuffle.partitions={2 * cores}"]
    master = master or f"local[{cores}]"
    submit = " ".join([f"--master {master}", "--driver-memory 2g", *settings, "pyspark-shell"])
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": submit, "OPENBLAS_NUM_THREADS": "1"} | (more or {})
    log = (folder / f"{name}.log").open("ab")
    return subprocess.Popen([*SCORE, *map(str, words)], env=environment, stderr=log, stdout=log)


def batches(path: Path) -> list[dict[str, Any]]:
    """Return what the query's listener told of its batches."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def undisturbed(folder: Path, models: Path, asked: argparse.Namespace, cores: int, source: str = "") -> str:
    """Score all that has arrived, and return the name by which what came of it is found."""
    name = f"score-{asked.users}-{cores}-{time.time_ns()}"
    process = query(folder, models, asked, name, cores, source=source)
    spent: dict[int, float] = {}
    marks: dict[int, float] = {}
    while process.poll() is None:
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            try:
                times = one.cpu_times()
                spent[one.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        marks[len(batches(folder / f"{name}.json"))] = sum(spent.values())
        time.sleep(0.2)
    if process.wait():
        raise SystemExit(f"The query failed: {folder / name}.log")
    (folder / f"{name}.cpu").write_text(json.dumps(marks))
    return name


if __name__ == "__main__":
    main()
