"""A process that measures what it is asked to, when it is asked: so the repetitions of all subjects interleave.

The worker prints what it has as one line of JSON; for each line it then reads, the name of a subject, it prints
how many actions that did and how many seconds it took. Between two questions it sleeps.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self, TypeVar

from benchmarks.speed_child import CORE, ENVIRONMENT

T = TypeVar("T")


class Sample(NamedTuple):
    """One measurement."""

    actions: int
    seconds: float

    @property
    def rate(self) -> float:
        """Actions a second."""
        return self.actions / self.seconds

    @property
    def micros(self) -> float:
        """Microseconds an action."""
        return 1e6 * self.seconds / self.actions


Subject = Callable[[], Sample]
"""Does its work once and says how long it took, without what had to be prepared."""


def each(function: Callable[[T], object], items: Iterable[T]) -> Sample:
    """Call a function with one item after the other."""
    items = list(items)
    begin = time.perf_counter()
    for item in items:
        function(item)
    return Sample(len(items), time.perf_counter() - begin)


def serve(subjects: dict[str, Subject], told: dict[str, Any]) -> None:
    """Answer until standard input ends."""
    gc.collect()
    gc.freeze()  # what was prepared for all the subjects is not looked through again while one is measured
    print(json.dumps(told | {"subjects": list(subjects)}), flush=True)
    for line in sys.stdin:
        print(json.dumps(subjects[line.strip()]()), flush=True)


class Worker:
    """The other side of :func:`serve`: a module that is run on the core of what is measured."""

    def __init__(self, module: str, *words: object) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True
        )
        os.sched_setaffinity(self._process.pid, {CORE})
        self.told: dict[str, Any] = self._read()
        self.subjects: list[str] = self.told["subjects"]

    def measure(self, subject: str) -> Sample:
        """Let it measure a subject once."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        print(subject, file=self._process.stdin, flush=True)
        return Sample(*self._read())

    def _read(self) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} has ended")  # type: ignore[arg-type]
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
