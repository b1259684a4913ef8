"""What is lost and repeated where the query, one of its executors, or a worker's Python is killed amid a batch.

    python -m benchmarks.fleet --only kill [--users 50]

Everything is held against an undisturbed run of the same actions: which of them came out, how often, with which
scores, and the state that each key was left with in Spark's store.

    python -m benchmarks.fleet_kills CHECKPOINT

prints that state as JSON, a digest for each key: for the table above.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet import arrivals, batches, query, undisturbed

KILLS = 3
CLUSTER = "local-cluster[2,1,1024]"
"""Two executors of one core and 1 GiB each, in processes of their own."""

_HEAD = "| killed | from | kills | actions | lost | repeated | users with equal scores | keys with equal state |"


def kill_table(folder: Path, models: Path, asked: argparse.Namespace) -> None:
    """Kill, let the last run end, and count: the tree, from files and from Kafka, and parts of a cluster."""
    print(f"{_HEAD}\n|{'---|' * 8}", flush=True)
    expected = undisturbed(folder, models, asked, 2)
    name = trees(folder, models, asked, "", lambda _: None)
    compare(folder, expected, name, ("the whole tree", "files", KILLS))
    for what, of in (("an executor's JVM", executors), ("an executor's Python", pythons)):
        name = one_of(folder, models, asked, of)
        compare(folder, expected, name, (what, "files", 1))
    with mock_topic(folder, asked) as (address, send):
        name = trees(folder, models, asked, address, send)
        compare(folder, undisturbed(folder, models, asked, 2, address), name, ("the whole tree", "Kafka", KILLS))


def trees(folder: Path, models: Path, asked: argparse.Namespace, source: str, send: Callable[[int], None]) -> str:
    """Kill the whole tree amid batches, each time a later one, and let the query go on to its end."""
    name = f"kill-{asked.users}-{time.time_ns()}"
    checkpoint = folder / f"{name}-checkpoint"
    for number in range(KILLS):
        send(number)
        process = query(folder, models, asked, name, 2, source=source)
        wait_amid(checkpoint, process, number + (not source))  # of files the first batches are long ones
        kill([*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)])
        process.wait()
    send(KILLS)
    _ended(query(folder, models, asked, name, 2, source=source), folder / f"{name}.log")
    return name


def one_of(
    folder: Path, models: Path, asked: argparse.Namespace, of: Callable[[psutil.Process], list[psutil.Process]]
) -> str:
    """Kill one of a cluster's processes amid the second batch; the query is to go on by itself."""
    name = f"lost-{asked.users}-{time.time_ns()}"
    more = {"SPARK_HOME": str(home(folder)), "PYTHONPATH": str(Path(__file__).parents[1])}
    process = query(folder, models, asked, name, 2, CLUSTER, more=more)
    wait_amid(folder / f"{name}-checkpoint", process, 1)
    kill(of(psutil.Process(process.pid))[:1])
    _ended(process, folder / f"{name}.log")
    return name


def home(folder: Path) -> Path:
    """Give Spark a home of links: a local cluster's workers write below it, and start what lies in it."""
    spark = find_spec("pyspark")
    assert spark is not None and spark.origin is not None  # noqa: S101, PT018 - it is installed
    place = folder / "spark-home"
    place.mkdir(exist_ok=True)
    for name in ("bin", "jars", "python", "sbin"):
        link = place / name
        if not link.exists():
            link.symlink_to(Path(spark.origin).parent / name)
    return place


def _ended(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.wait():
        raise SystemExit(f"The query failed: {log}")


def executors(driver: psutil.Process) -> list[psutil.Process]:
    """Return the JVMs of a local cluster's executors."""
    return [one for one in driver.children(recursive=True) if "CoarseGrainedExecutorBackend" in _words(one)]


def pythons(driver: psutil.Process) -> list[psutil.Process]:
    """Return the executors' Python workers, the busiest first."""
    daemons = [one for executor in executors(driver) for one in executor.children()]
    workers = [one for daemon in daemons for one in daemon.children()]
    before = {one: one.cpu_times().user for one in workers}
    time.sleep(0.3)
    return sorted(workers, key=lambda one: before[one] - one.cpu_times().user)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


def wait_amid(checkpoint: Path, process: subprocess.Popen[bytes], number: int) -> None:
    """Wait until a batch of that number or a later one was begun and not committed, and half a second more."""
    while process.poll() is None:
        begun, done = (_last(checkpoint / name) for name in ("offsets", "commits"))
        if begun > done and begun >= number:
            time.sleep(0.5)
            return
        time.sleep(0.05)
    raise SystemExit("The query ended before it could be killed: give it more --turns.")


def _last(folder: Path) -> int:
    return max((int(path.name) for path in folder.glob("[0-9]*")), default=-1) if folder.exists() else -1


def kill(processes: list[psutil.Process]) -> None:
    """Kill processes at once."""
    if not processes:
        raise SystemExit("There is no such process to be killed.")
    for one in processes:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def compare(folder: Path, undisturbed: str, name: str, what: tuple[str, str, int]) -> None:
    """Print what came of a run beside what came of the undisturbed one."""
    expected = {one["id"]: one for one in written(folder / f"{undisturbed}-out")}
    found = written(folder / f"{name}-out")
    ids = {one["id"]: one for one in found}
    wrong = {one["user"] for place, one in expected.items() if ids.get(place) != one}
    users = {one["user"] for one in expected.values()}
    sound, state = (states(folder / f"{one}-checkpoint") for one in (undisturbed, name))
    equal = sum(state.get(key) == digest for key, digest in sound.items())
    lost, repeated = len(expected.keys() - ids.keys()), len(found) - len(ids)
    print(f"| {what[0]} | {what[1]} | {what[2]} | {len(expected):,} | {lost:,} | {repeated:,}", end="")
    print(f" | {len(users - wrong)} of {len(users)} | {equal} of {len(sound)} |", flush=True)
    told = batches(folder / f"{name}.json")
    print(f"  ({len(told)} batches told of, load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


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


def states(checkpoint: Path) -> dict[str, str]:
    """Return a digest of each key's state, read by Spark in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.fleet_kills", str(checkpoint)]
    ended = subprocess.run(words, capture_output=True, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr.decode())
    return dict(json.loads(ended.stdout))


def print_states(checkpoint: str) -> None:
    """Print a digest of each key's state: of all that is in the store of a key but for stamps."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only here

    from anomaly.fleet.score import _PROVIDER  # noqa: PLC0415 - the same

    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    session.conf.set("spark.sql.streaming.stateStore.providerClass", _PROVIDER)
    digests: dict[str, Any] = {}
    (operator,) = session.read.format("state-metadata").load(checkpoint).collect()
    for name in sorted(one["stateName"] for one in json.loads(operator.operatorProperties)["stateVariables"]):
        reader = session.read.format("statestore").option("path", checkpoint).option("stateVarName", name)
        for row in sorted(reader.load().collect(), key=lambda row: str(row.key[0])):
            values = [value for field, value in row.value.asDict().items() if field != "stamp"]  # drawn by lot
            digest = digests.setdefault(row.key[0], hashlib.sha256())
            digest.update(repr([name, *map(bytes_or_text, values)]).encode())
    session.stop()
    print(json.dumps({key: digest.hexdigest() for key, digest in digests.items()}))


def bytes_or_text(value: object) -> object:
    """Return what is equal where two values are."""
    return bytes(value) if isinstance(value, bytearray) else value


@contextmanager
def mock_topic(folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, Callable[[int], None]]]:
    """Give the address of a topic of librdkafka's mock broker, and what sends a part of what has arrived to it.

    The broker keeps some 5 MB of each partition, of which there are four; so it is given as much as fits alone.
    """
    from confluent_kafka import Producer  # noqa: PLC0415 - only here

    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
    metadata = producer.list_topics("osquery", 10)
    server, partitions = next(iter(metadata.brokers.values())), len(metadata.topics["osquery"].partitions)
    files = sorted((folder / arrivals(asked)).iterdir())
    room, taken = 4_000_000, [0] * partitions
    messages: list[tuple[int, bytes]] = []
    for place, file in enumerate(files):
        where = place % asked.users % partitions  # a host is of one partition
        content = file.read_bytes()
        taken[where] += len(content)
        if max(taken) > room:
            break
        messages += [(where, line) for line in content.splitlines()]
    each = len(messages) // (KILLS + 1) + 1

    def send(number: int) -> None:
        for where, line in messages[number * each : (number + 1) * each]:
            producer.produce("osquery", line, partition=where)
            producer.poll(0)
        if producer.flush(30):
            raise SystemExit("The mock broker took not all.")

    yield f"kafka://127.0.0.1:{server.port}/osquery", send


if __name__ == "__main__":
    print_states(sys.argv[1])
