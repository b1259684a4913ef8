"""Scorers of one user's rows: the installed commands, and the nearest-neighbour baseline beside them.

Both learn rows and return a risk after each later row, which alarms at ALARM. The commands are ``anomaly train``
and ``anomaly predict``; every prediction begins from the trained model, in a directory of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from anomaly.records import ALARM
from benchmarks.detection_data import BLOCK, Row, line, when, write

PROCESSES = 2
Learned = Mapping[str, list[Row]]
"""Of each user, the rows that are learned."""


class Method(NamedTuple):
    """A way of using the commands."""

    name: str
    train: tuple[str, ...]
    predict: tuple[str, ...] = ()
    alone: bool = False
    """Whether each user is learned by a command of their own, from a log without anybody else."""


BOTH = Method("BOTH, together", ("-a", "BOTH"))
LSTM = Method("LSTM, together", ("-a", "LSTM"))
BOTH_ALONE = Method("BOTH, each alone", ("-a", "BOTH"), alone=True)
OCSVM_ALONE = Method("OCSVM, each alone", ("-a", "OCSVM"), alone=True)


class Scorer(Protocol):
    """What returns a risk after each later row of a user."""

    @property
    def name(self) -> str:
        """What the scorer is called in a table."""

    def risks(self, user: str, rows: list[Row]) -> list[float]:
        """Return the risk after each row, in one pass, starting from what was learned."""


def progress(text: str) -> None:
    """Write a line for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def anomaly(*words: object) -> str:
    """Run a command and return its output; show what it wrote where it fails."""
    command = [sys.executable, "-m", "anomaly", *map(str, words)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        progress(done.stderr[-2_000:])
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


@dataclass(frozen=True)
class Commands:
    """Trained models, and scoring by ``anomaly predict``."""

    name: str
    models: Path
    words: tuple[str, ...]
    """Further words for ``predict``."""

    def without_adaptation(self) -> Commands:
        """Return the same models, scoring with ``--no-adapt``."""
        return Commands(f"{self.name}, --no-adapt", self.models, (*self.words, "--no-adapt"))

    def records(self, user: str | None, rows: list[Row]) -> list[dict[str, Any]]:
        """Return the record of each row that ``predict`` scored; of all users if no user is named."""
        with tempfile.TemporaryDirectory() as place:
            # What is adapted is kept beside a model, so each run gets a copy.
            models, log = Path(place, "models"), Path(place, "results.log")
            others = [
                path.name for path in self.models.iterdir() if path.is_dir() and user not in {path.name, None}
            ]
            shutil.copytree(self.models, models, ignore=shutil.ignore_patterns(*others))
            write(log, rows)
            whose = ("--user", user) if user else ("--all-users",)
            fixed = ("--state", Path(place, "state"), "--from", "start", "--no-follow", "--format", "json")
            out = anomaly("predict", *whose, "-l", log, "--models", models, *fixed, *self.words)
        return [json.loads(line) for line in out.splitlines()]

    def numbered(self, rows: list[Row]) -> list[tuple[int, dict[str, Any]]]:
        """Return the records of all users, each with the number of its row; a record's id ends in its byte."""
        begins = accumulate((len(line(row)) for row in rows), initial=0)
        number = {begin: at for at, begin in enumerate(begins)}
        return [(number[int(record["id"].rpartition(":")[2])], record) for record in self.records(None, rows)]

    def risks(self, user: str, rows: list[Row]) -> list[float]:
        """Return the risk after each row; 0 where the command gives none."""
        found = [float(record["risk"] or 0.0) for record in self.records(user, rows)]
        if len(found) != len(rows):
            raise ValueError(f"{self.name}: {len(rows)} rows of {user} gave {len(found)} records")
        return found


class Trainer:
    """Trains models below a directory; what was trained before in the same way is used again.

    A quick one trains no network.
    """

    def __init__(self, folder: Path, *, quick: bool = False) -> None:
        self.folder, self._quick = folder, quick
        self._trained: dict[tuple[object, ...], Path] = {}

    def __call__(self, method: Method, learned: Learned) -> Commands:
        """Learn users by ``anomaly train``, and return what scores them."""
        if self._quick and "BOTH" in method.train and "lstm" not in method.train:
            method = method._replace(
                name=f"{method.name}, --without lstm", train=(*method.train, "--without", "lstm")
            )
        groups = [[user] for user in learned] if method.alone else [list(learned)]
        logs = [
            "".join(map(line, sorted(chain.from_iterable(learned[u] for u in group), key=when)))
            for group in groups
        ]
        key = (method.train, method.alone, *(zlib.crc32(log.encode()) for log in logs))
        if key not in self._trained:
            begin, place = time.monotonic(), Path(tempfile.mkdtemp(dir=self.folder))
            for group, text in zip(groups, logs, strict=True):
                log = place / "train.log"
                log.write_text(text, encoding="ascii")
                whose = ("--user", group[0]) if method.alone else ("--all-users",)
                anomaly("train", *whose, "-l", log, "--models", place / "models", *method.train)
            progress(f"train: {method.name}, {len(learned)} users, {time.monotonic() - begin:.0f} s")
            self._trained[key] = place / "models"
        return Commands(method.name, self._trained[key], method.predict)


class Neighbours:
    """Mean cosine distance to the three nearest learned blocks, the baseline of ``knn_baseline.py``.

    A block is a bag of 256 hashed tokens, log counts, length one: of a command the program and each of the next
    three words, of other rows the query and each column's value. The threshold has seen no label: the larger of
    the 99th percentile of the distances between the user's own folds and their mean + 2.33 deviations. The last
    BLOCK rows are looked at after every tenth. Own blocks below the threshold join. Risk is the distance, scaled
    so that the threshold is ALARM.
    """

    name = "nearest neighbours (baseline)"
    _BUCKETS, _NEAREST, _EVERY, _FOLDS = 256, 3, 10, 4

    def __init__(self, learned: Learned) -> None:
        self._learned = {user: self._blocks(rows) for user, rows in learned.items()}

    def risks(self, user: str, rows: list[Row]) -> list[float]:
        """Return the risk after each row; between two looks, that of the last look."""
        reference = self._learned[user]
        threshold = self._threshold(reference)
        recent: deque[list[int]] = deque(maxlen=BLOCK)
        found, risk = [], 0.0
        for number, row in enumerate(rows, 1):
            recent.append(_tokens(row, self._BUCKETS))
            if number >= BLOCK and not number % self._EVERY:
                bag = self._bag(recent)
                distance = self._distance(reference, bag)
                risk = ALARM * distance / threshold
                if not number % BLOCK and distance < threshold:
                    reference = np.vstack([reference, bag])
            found.append(risk)
        return found

    def _threshold(self, reference: NDArray[np.float64]) -> float:
        fold = np.arange(len(reference)) * self._FOLDS // len(reference)
        out = [self._distance(reference[fold != fold[at]], bag) for at, bag in enumerate(reference)]
        return max(float(np.quantile(out, 0.99)), float(np.mean(out) + 2.33 * np.std(out)))

    def _distance(self, reference: NDArray[np.float64], bag: NDArray[np.float64]) -> float:
        return float(np.sort(1 - reference @ bag)[: self._NEAREST].mean())

    def _blocks(self, rows: list[Row]) -> NDArray[np.float64]:
        tokens = [_tokens(row, self._BUCKETS) for row in rows]
        starts = range(0, len(rows) - BLOCK + 1, BLOCK)
        return np.array([self._bag(tokens[begin : begin + BLOCK]) for begin in starts])

    def _bag(self, tokens: Sequence[list[int]] | deque[list[int]]) -> NDArray[np.float64]:
        bag = np.log1p(np.bincount(list(chain.from_iterable(tokens)), minlength=self._BUCKETS))
        return np.asarray(bag / (np.linalg.norm(bag) or 1.0))


def _tokens(row: Row, buckets: int) -> list[int]:
    if "command" in row["columns"]:
        words = str(row["columns"]["command"]).split()
        tokens = [*words[:1], *(f"w:{word}" for word in words[1:4])]
    else:
        tokens = [row["name"], *(f"{name}={value}" for name, value in row["columns"].items())]
    return [zlib.crc32(token.encode()) % buckets for token in tokens]


def all_risks(scorer: Scorer, jobs: Sequence[tuple[str, list[Row]]]) -> list[list[float]]:
    """Return the risks of several logs, in their order, PROCESSES at a time."""
    progress(f"score: {scorer.name}, {len(jobs)} logs")
    if isinstance(scorer, Neighbours):  # numpy on small arrays: threads would only wait for each other
        return [scorer.risks(user, rows) for user, rows in jobs]
    with ThreadPoolExecutor(PROCESSES) as pool:
        return list(pool.map(lambda job: scorer.risks(*job), jobs))
