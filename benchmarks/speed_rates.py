"""The installed command in a backlog, alive, and at its start: actions a second, latency, and memory."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed_child import ANOMALY, Dialogue, followed, piped, predict, run
from benchmarks.speed_figures import Figures, Table
from benchmarks.speed_logs import Log, endless, shared

ALGORITHMS = ("OCSVM", "LSTM", "BOTH")
ADAPTING = {"adapting": (), "--no-adapt": ("--no-adapt",)}
MODELS = (1, 10, 100, 1000)
STARTS = {
    "anomaly --help": [ANOMALY, "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
    "python -c 'import sklearn.svm'": [sys.executable, "-c", "import sklearn.svm"],
    "python -c 'import tensorflow'": [sys.executable, "-c", "import tensorflow"],
}

SHORT = 20.0
"""Runs with many models that take more seconds are done once."""

METHOD = "From the start of the process to its exit. No peak: it is below the benchmark's own, and cannot be told."

_number = count()


class Kept(NamedTuple):
    """Where the models of a log are, by algorithm, and where a run may leave what it remembers."""

    models: dict[str, Path]
    states: Path

    def state(self) -> Path:
        """Return a new place for a state."""
        return self.states / f"state-{next(_number)}"


def backlog(logs: list[tuple[Log, Kept]], repeat: int, figures: Figures) -> Table:
    """Score whole logs, again and again, each subject in turn."""
    subjects = [
        (log, kept, algorithm, name) for log, kept in logs for algorithm in ALGORITHMS for name in ADAPTING
    ]
    for _ in range(repeat):
        for log, kept, algorithm, name in subjects:
            out = kept.states / "scores.json"
            words = predict(
                log.path, kept.models[algorithm], log.user, kept.state(), "--no-follow", *ADAPTING[name]
            )
            ran = run(words, out)
            key = f"backlog {log.name} {algorithm} {name}"
            figures.add(f"{key} actions", ran.lines)
            figures.add(f"{key} rate", ran.rate)
            figures.add(f"{key} steady", ran.steady)
            figures.add(f"{key} first", ran.first)
            figures.add(f"{key} peak", ran.peak)
            figures.add(f"{key} explained", 100 * explained(out) / ran.lines)
    columns = (
        "log",
        "method",
        "learning",
        "actions",
        "actions/s",
        "the start included",
        "first score, s",
        "peak MiB",
    )
    rows = []
    for log, _, algorithm, name in subjects:
        key = f"backlog {log.name} {algorithm} {name}"
        cells = [("actions", 0), ("steady", 0), ("rate", 0), ("first", 2), ("peak", 0), ("explained", 1)]
        rows.append(
            (log.name, algorithm, name, *(figures.spread(f"{key} {what}", digits) for what, digits in cells))
        )
    method = (
        "`anomaly predict --from start --no-follow --format json -l LOG > FILE` on one core, one thread; a line of"
        " JSON in, one out. *actions/s* is from the first output to the exit (less what was in that output), the"
        " next column from the start of the process to its exit. *explained*: share of the records with reasons."
    )
    return Table("In a backlog", method, (*columns, "explained, %"), rows)


def explained(out: Path) -> int:
    """Return how many of the records give reasons."""
    with out.open("rb") as file:
        return sum(b'"reasons":[{' in line for line in file)


class Alive:
    """All algorithms, each running on a pipe and on a growing log, and waiting for lines."""

    def __init__(self, log: Log, kept: Kept, stack: ExitStack) -> None:
        self._dialogues: dict[str, Dialogue] = {}
        assert log.user is not None  # noqa: S101 - for the type checker
        for algorithm in ALGORITHMS:
            for way, start in (("a pipe", piped), ("a log that grows", followed)):
                begun = start(kept.models[algorithm], log.user, endless(log.path), kept.state())
                self._dialogues[f"live {algorithm} {way}"] = stack.enter_context(begun)

    def measure(self, number: int, figures: Figures) -> None:
        """Talk a while with each of them."""
        for name, dialogue in self._dialogues.items():
            part = number if "pipe" in name else number // 10
            took = sorted(dialogue.talk(part))
            figures.add(f"{name} rate", len(took) / sum(took))
            figures.add(f"{name} median", 1e6 * took[len(took) // 2])
            figures.add(f"{name} p99", 1e6 * took[len(took) * 99 // 100])

    @staticmethod
    def rows(figures: Figures) -> Iterator[tuple[str, ...]]:
        """Give the rows of what was measured."""
        for algorithm in ALGORITHMS:
            for way in ("a pipe", "a log that grows"):
                name = f"live {algorithm} {way}"
                cells = (figures.spread(f"{name} {what}") for what in ("rate", "median", "p99"))
                yield (f"anomaly predict, {way}", algorithm, *cells)


def starts(repeat: int, figures: Figures) -> Table:
    """Start what needs no log."""
    for _ in range(repeat):
        for name, command in STARTS.items():
            ran = run(command)
            figures.add(f"start {name}", ran.wall)
            figures.add(f"start {name} peak", ran.peak)
    rows = [(name, figures.spread(f"start {name}", 3), figures.spread(f"start {name} peak")) for name in STARTS]
    return Table("Start", METHOD, ("command", "seconds", "peak MiB"), rows)


def many(log: Log, kept: Kept, sizes: list[int], number: int, repeat: int, figures: Figures) -> Table:
    """Start with more and more models, and let all of these users act in turn."""
    subjects = []
    for algorithm in ALGORITHMS:
        for size in sizes:
            acted, models = kept.states / f"users-{size}.log", kept.states / f"users-{algorithm}-{size}"
            shared(log.path, acted, size, number)
            copied = [str(kept.models[algorithm]), str(log.user), str(models), str(size)]
            if not models.exists():
                run([sys.executable, "-m", "benchmarks.speed_logs", *copied])
            subjects.append((algorithm, size, acted, models))
    for turn in range(repeat):
        for algorithm, size, acted, models in subjects:
            if turn and (figures.median(f"models {algorithm} {size} wall") or 0.0) >= SHORT:
                continue
            ran = run(predict(acted, models, None, kept.state(), "--no-follow"), kept.states / "scores.json")
            key = f"models {algorithm} {size}"
            for what in ("wall", "first", "steady", "peak"):
                figures.add(f"{key} {what}", getattr(ran, what))
    for _, _, _, models in subjects:
        shutil.rmtree(models)  # a thousand are gigabytes
    rows = []
    for algorithm, size, _, _ in subjects:
        cells = (
            figures.spread(f"models {algorithm} {size} {what}", n) for what, n in (("first", 2), ("steady", 0))
        )
        rows.append((algorithm, f"{size:,}", *cells, figures.spread(f"models {algorithm} {size} peak", 1)))
    method = (
        f"`anomaly predict --all-users`, adapting, on {number:,} actions of as many users as there are models, who"
        " act in turn; the models are copies of one. *first score*: from the start of the process to the first"
        " bytes of its output. *actions/s* is from then on; the peak is of resident memory (ru_maxrss). Runs of"
        f" {SHORT:g} s and more are done once."
    )
    return Table("Many users", method, ("method", "models", "first score, s", "actions/s", "peak MiB"), rows)
