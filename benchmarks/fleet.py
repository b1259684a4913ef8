"""What a fleet costs: learning and scoring on Spark beside local processes, and what three kills lose and repeat.

    python -m benchmarks.fleet [--users 200] [--turns 6] [--each 200] [--cores 1 2] [--only score]

Each user has a host, which ships files of ``--each`` actions; a batch is one file of every host. Rates are of the
batches after the first two, when models and users are in memory ("warm"), in actions a second, with OCSVM.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
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

KILLS = 3


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
            score_table(folder, models, asked)
        if asked.only != "score":
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


def query(folder: Path, models: Path, asked: argparse.Namespace, name: str, cores: int) -> subprocess.Popen[bytes]:
    """Start `anomaly fleet score` on what has arrived."""
    words = ["--from", folder / arrivals(asked), "--models", models, "--to", folder / f"{name}-out"]
    words += ["--checkpoint", folder / f"{name}-checkpoint", "--metrics", folder / f"{name}.json"]
    words += ["--trigger", "available-now", "--files", str(asked.users)]
    settings = ["--conf spark.ui.enabled=false", f"--conf spark.sql.shuffle.partitions={2 * cores}"]
    submit = " ".join([f"--master local[{cores}]", "--driver-memory 2g", *settings, "pyspark-shell"])
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": submit, "OPENBLAS_NUM_THREADS": "1"}
    log = (folder / f"{name}.log").open("ab")
    return subprocess.Popen([*SCORE, *map(str, words)], env=environment, stderr=log, stdout=log)


def batches(path: Path) -> list[dict[str, Any]]:
    """Return what the query's listener told of its batches."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def score_table(folder: Path, models: Path, asked: argparse.Namespace) -> None:
    """Print the rates of Spark and of a local pool, by cores."""
    print("| cores | Spark, warm | CPU, ms an action | Spark, all of it | local pool | CPU, ms | batches, s |")
    print("|---|---|---|---|---|---|---|")
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
        warm = rows[2:]
        rate = sum(row["actions"] for row in warm) / sum(row["seconds"] for row in warm)
        actions = sum(row["actions"] for row in rows)
        pool, spent = local(folder, whole, models, cores)
        costs = cpu_of(folder, name), 1000 * spent / actions
        seconds = " ".join(f"{row['seconds']:.1f}" for row in rows)
        print(f"| {cores} | {rate:,.0f} | {costs[0]:.3f} | {actions / taken:,.0f}", end="")
        print(f" | {actions / pool:,.0f} | {costs[1]:.3f} | {seconds} |", flush=True)


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


def kill_table(folder: Path, models: Path, asked: argparse.Namespace) -> None:
    """Kill the whole tree amid batches, let the last run end, and count."""
    name = f"kill-{asked.users}-{time.time_ns()}"
    told = folder / f"{name}.json"
    for number in range(1, KILLS + 1):
        process = query(folder, models, asked, name, 2)
        wait_amid(folder / f"{name}-checkpoint", process, number)
        kill(process)
        print(f"killed amid a batch: {len(batches(told))} batches were told of", flush=True)
    if query(folder, models, asked, name, 2).wait():
        raise SystemExit(f"The query failed: {folder / name}.log")
    expected = {one["id"]: one for one in written(folder / f"{undisturbed(folder, models, asked, 2)}-out")}
    found = written(folder / f"{name}-out")
    ids = {one["id"]: one for one in found}
    wrong = {one["user"] for place, one in expected.items() if ids.get(place) != one}
    users = {one["user"] for one in expected.values()}
    print(
        "\n| actions | lost | repeated | users whose scores are those of an undisturbed run |\n|---|---|---|---|"
    )
    lost, repeated = len(expected.keys() - ids.keys()), len(found) - len(ids)
    print(f"| {len(expected):,} | {lost:,} | {repeated:,} | {len(users - wrong)} of {len(users)} |")


def undisturbed(folder: Path, models: Path, asked: argparse.Namespace, cores: int) -> str:
    """Score all that has arrived, and return the name by which what came of it is found."""
    name = f"score-{asked.users}-{cores}-{time.time_ns()}"
    process = query(folder, models, asked, name, cores)
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


def cpu_of(folder: Path, name: str) -> float:
    """Return the CPU time that a warm action took, in milliseconds: which hardly depends on others' work."""
    marks = {
        int(number): float(spent) for number, spent in json.loads((folder / f"{name}.cpu").read_text()).items()
    }
    rows = batches(folder / f"{name}.json")[2:]
    actions = sum(int(row["actions"]) for row in rows)
    return 1000 * (marks[max(marks)] - marks[1]) / actions  # what was spent until the second batch was told of


def wait_amid(checkpoint: Path, process: subprocess.Popen[bytes], number: int) -> None:
    """Wait until a batch has been begun and not committed, each time a later one, and then half a second more."""
    while process.poll() is None:
        begun = len(list((checkpoint / "offsets").glob("[0-9]*"))) if checkpoint.exists() else 0
        done = len(list((checkpoint / "commits").glob("[0-9]*"))) if checkpoint.exists() else 0
        if begun > done and begun > number:
            time.sleep(0.5)
            return
        time.sleep(0.05)
    raise SystemExit("The query ended before it could be killed: give it more --turns.")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, at once."""
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in tree:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(tree)


def written(out: Path) -> list[dict[str, Any]]:
    """Return what was committed: by the sink's own journal, as Spark reads it."""
    names: set[str] = set()
    journal = out / "_spark_metadata"
    numbers = sorted(int(path.name.partition(".")[0]) for path in journal.iterdir() if path.name[0].isdigit())
    for path in (journal / str(number) for number in numbers):
        compact = path.with_name(f"{path.name}.compact")
        if compact.exists():
            names.clear()
        lines = (compact if compact.exists() else path).read_text().splitlines()[1:]
        names |= {json.loads(line)["path"].removeprefix("file://") for line in lines}
    return [json.loads(line) for name in sorted(names) for line in Path(name).read_text().splitlines()]


if __name__ == "__main__":
    main()
