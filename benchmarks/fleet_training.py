"""What it costs to learn a fleet's users: on Spark, beside ``anomaly train`` of the same lines in the same run.

Each user has a host with a file of its own; locally the files are one log. So where logs ended is something else,
and but for that the models must be equal, byte for byte: with OCSVM always; with a network up to seven users, as
more are weighed against each other locally.
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
from statistics import median
from typing import Any, NamedTuple

import psutil
from msgspec.structs import replace

from benchmarks.fleet_logs import arrive, slices
from benchmarks.speed_child import ANOMALY
from benchmarks.speed_logs import simulated

CHILD = [sys.executable, "-c", "from benchmarks.fleet_training import child; child()"]


SKIPPED = 2_000
"""Lines at the beginning of the simulated log, where what a host shows at first hides what its users do."""


class Cost(NamedTuple):
    """What a command took."""

    seconds: float
    cpu: float
    """Seconds of CPU time, of all its processes."""
    java: float
    """MiB of resident memory at its highest, of Java."""
    python: float
    """The same, of all of its Python processes together; pages that two of them share count twice."""


def training_table(folder: Path, asked: argparse.Namespace) -> None:
    """Print what Spark and a local pool take, by cores."""
    logs, log = prepared(folder, asked)
    lines = sum(1 for _ in log.open("rb"))
    print(f"learning {asked.users} users of {asked.actions} actions each ({lines:,} lines), {asked.learn_by}\n")
    print("| cores | how | s | less session | CPU s | s a user: median | most | MiB Java | Python | models |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cores in asked.cores:
        models = folder / f"trained-{cores}-{time.time_ns()}"
        cost, told = on_spark(folder, logs, models / "spark", asked.learn_by, cores)
        seconds = sorted(told["seconds"].values())
        less = cost.seconds - told["session"]
        print(f"| {cores} | Spark | {cost.seconds:.1f} | {less:.1f} | {cost.cpu:.1f}", end="")
        print(f" | {median(seconds):.2f} | {seconds[-1]:.2f} | {cost.java:.0f} | {cost.python:.0f}", end="")
        print(f" | {len(seconds):,} |", flush=True)
        cost = locally(log, models / "local", asked.learn_by, cores)
        print(f"| {cores} | --jobs {cores} | {cost.seconds:.1f} | - | {cost.cpu:.1f} | - | - | -", end="")
        print(f" | {cost.python:.0f} | {equal(models)} of them equal |", flush=True)
    print()


def prepared(folder: Path, asked: argparse.Namespace) -> tuple[Path, Path]:
    """Make the logs; return the directory of them, and the one log of all."""
    logs = folder / f"learn-{asked.users}-{asked.actions}-{asked.heavy}"
    log = logs.with_suffix(".log")
    if not log.exists():
        files = slices(simulated(folder, 60), SKIPPED, asked.users, asked.actions, asked.heavy)
        for name, content in islice(files, asked.users):
            arrive(logs, name, content)
        with log.open("wb") as whole:
            for part in sorted(logs.iterdir()):
                whole.write(part.read_bytes())
    return logs, log


def on_spark(folder: Path, logs: Path, models: Path, algorithm: str, cores: int) -> tuple[Cost, dict[str, Any]]:
    """Learn a directory in a session of its own; return what it took, and what :func:`child` tells."""
    settings = ["--conf spark.ui.enabled=false", f"--conf spark.sql.shuffle.partitions={2 * cores}"]
    submit = " ".join([f"--master local[{cores}]", "--driver-memory 2g", *settings, "pyspark-shell"])
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": submit, "OPENBLAS_NUM_THREADS": "1"}
    told = folder / f"told-{time.time_ns()}.json"
    with told.with_suffix(".err").open("wb") as said:
        words = [*CHILD, str(logs), str(models), algorithm, str(told)]
        process = subprocess.Popen(words, env=environment, stderr=said)
        cost = watched(process)
    if process.returncode:
        raise SystemExit(f"The training failed: {said.name}")
    found: dict[str, Any] = json.loads(told.read_text())
    return cost, found


def child() -> None:
    """Learn a directory in a process of its own, and tell how long it took to start the session, and each user."""
    from anomaly.detectors.interface import Algorithm  # noqa: PLC0415 - only the child needs it
    from anomaly.fleet.session import session  # noqa: PLC0415 - the same
    from anomaly.fleet.train import Request, train  # noqa: PLC0415 - the same

    begin = time.monotonic()
    logs, models, algorithm, told = sys.argv[1:]
    spark = session("anomaly fleet train")
    started = time.monotonic() - begin
    outcome = train(Request((logs,), models, Algorithm(algorithm)), spark)
    Path(told).write_text(json.dumps({"session": started, "seconds": outcome.seconds}))


def locally(log: Path, models: Path, algorithm: str, jobs: int) -> Cost:
    """Learn one log without Spark."""
    words = ["train", "--all-users", "-a", algorithm, "-l", str(log), "--models", str(models), "--jobs", str(jobs)]
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen([ANOMALY, *words], stdout=nowhere, stderr=nowhere)
        cost = watched(process)
    if process.returncode:
        raise SystemExit("The local training failed.")
    return cost


def watched(process: subprocess.Popen[bytes]) -> Cost:
    """Wait for a command, and look five times a second at what all its processes take."""
    begin = time.monotonic()
    spent: dict[int, float] = {}
    java = python = 0
    while process.poll() is None:
        sizes = {True: 0, False: 0}
        try:
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for one in tree:
            try:
                with one.oneshot():
                    times = one.cpu_times()
                    spent[one.pid] = times.user + times.system
                    sizes[one.name() == "java"] += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        java, python = max(java, sizes[True]), max(python, sizes[False])
        time.sleep(0.2)
    return Cost(time.monotonic() - begin, sum(spent.values()), java / 2**20, python / 2**20)


def equal(models: Path) -> int:
    """Return how many models are the same in both stores, but for where their logs ended."""
    return sum(
        bare(path) == bare(models / "spark" / path.parent.name / path.name)
        for path in (models / "local").glob("*/1.safetensors")
    )


def bare(path: Path) -> bytes | None:
    """Return a model without where its log ended; None where there is none."""
    from anomaly.model import UserModel  # noqa: PLC0415 - only here

    if not path.exists():
        return None
    model = UserModel.from_bytes(path.read_bytes(), str(path))
    model.card = replace(model.card, ends=())
    return model.to_bytes()
