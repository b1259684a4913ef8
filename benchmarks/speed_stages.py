"""Ours inside one process: what each stage costs, and one action at a time without waiting for the system.

    python -m benchmarks.speed_stages LOG COUNT USER ALGORITHM=MODELS ...

is a worker (:mod:`benchmarks.speed_worker`). It uses what the rooms of the package show each other; what changes
when they change is in :func:`judged`, :func:`scored` and :func:`explained`.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from anomaly.daemon import BATCH, Follower
from anomaly.detectors.detector import Detector
from anomaly.detectors.fusion import Filter
from anomaly.detectors.interface import WINDOW, Evidence
from anomaly.explanation import explain
from anomaly.judgement import EXPLAINED
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import Score
from anomaly.scoring import Scorer
from anomaly.sinks.ndjson import NdjsonSink, encode
from anomaly.sources.interface import Line, Position, Source
from anomaly.sources.tail import LogSource
from anomaly.store import Store, Stored
from anomaly.tokens import Tokens
from benchmarks.speed_floors import FLOORS, WHOLE_FILE, floors
from benchmarks.speed_worker import Sample, Subject, each, serve

SHARED = ("read and split", "parse", "tokenise")
OWN = ("detector", "calibration and fusion", "explanation", "JSON out")
WHOLE = ("scorer, --no-adapt", "scorer, adapting", "in batches", "one at a time")


def judged(detector: Detector, tokens: Sequence[Tokens], size: int = 1) -> list[Evidence]:
    """Let a detector judge actions, so many at a time."""
    state = detector.start()
    pieces = [tokens[begin : begin + size] for begin in range(0, len(tokens), size)]
    return [detector.judge(state, piece, [True] * len(piece)) for piece in pieces]


def scored(scorer: Scorer, actions: Sequence[Action]) -> list[Score]:
    """Let a scorer score actions by batches."""
    batches = [actions[begin : begin + BATCH] for begin in range(0, len(actions), BATCH)]
    return [score for batch in batches for score in scorer.score_all([("benchmark:0", one) for one in batch])]


def explained(stored: Stored, actions: Sequence[Action], tokens: Sequence[Tokens]) -> Sample:
    """Explain the actions that scoring would explain; the time of that alone, by all actions."""
    model, seconds = stored.model, 0.0
    for place, evidence in enumerate(judged(model.detector, tokens, WINDOW)):
        for number, figure in enumerate(evidence.action.tolist()):
            if model.calibration.action.score(figure) < EXPLAINED:
                continue
            at = place * WINDOW + number
            begin = time.perf_counter()
            given = actions[at], tokens[at]
            explain(model.tokenizer, model.detector, evidence.details, number, *given, window=False)
            seconds += time.perf_counter() - begin
    return Sample(len(actions), seconds)


class Memory(Source):
    """Lines that are there already, at most so many in each read."""

    def __init__(self, lines: list[bytes], most: int) -> None:
        self.counters = Counter()
        self._most = most
        self._offset = 0
        self._waiting = iter([Line(data, "memory", place) for place, data in enumerate(lines)])
        self._left = len(lines)

    def read(self, limit: int, timeout: float) -> list[Line]:  # noqa: ARG002 - nothing to wait for
        """Return the next lines."""
        found = list(islice(self._waiting, min(limit, self._most)))
        self._left -= len(found)
        return found

    @property
    def position(self) -> Position:
        """The start: nobody goes on from here."""
        return Position("memory", 0)

    @property
    def ended(self) -> bool:
        """Whether all were read."""
        return not self._left

    def close(self) -> None:
        """Do nothing."""


class Given(NamedTuple):
    """What the stages work on."""

    path: Path
    lines: list[bytes]
    user: str

    def reading(self) -> Sample:
        """Read the log by batches, with the product's own source."""
        begin, count = time.perf_counter(), 0
        with LogSource(self.path, start="start", follow=False) as source:
            while not source.ended and count < len(self.lines):
                count += len(source.read(BATCH, timeout=0.0))
        return Sample(count, time.perf_counter() - begin)

    def scorer(self, stored: Stored, *, adapt: bool) -> Scorer:
        """Return a scorer that begins where training ended."""
        return Scorer(lambda name: stored if name == self.user else None, only=self.user, adapt=adapt)

    def follow(self, stored: Stored, most: int) -> Sample:
        """Carry the lines from a source through the loop of ``predict`` into nothing."""
        with open("/dev/null", "wb", buffering=0) as nothing:  # noqa: PTH123 - unbuffered
            scorer, source = self.scorer(stored, adapt=True), Memory(self.lines, most)
            follower = Follower(source, Parser(), scorer, NdjsonSink(nothing))
            begin = time.perf_counter()
            tally = follower.run()
            return Sample(tally.scored, time.perf_counter() - begin)


def shared_stages(given: Given, stored: Stored) -> dict[str, Subject]:
    """Return the stages that all algorithms share."""
    encode = stored.model.tokenizer.encode
    actions = _actions(given.lines)

    def both() -> Sample:
        parse: Any = Parser().parse  # all of the lines are results
        begin = time.perf_counter()
        for data in given.lines:
            for action in parse(data):
                encode(action)
        return Sample(len(given.lines), time.perf_counter() - begin)

    return {
        "read and split": given.reading,
        "parse": lambda: each(Parser().parse, given.lines),
        "tokenise": lambda: each(encode, actions),
        "parse and tokenise": both,
    }


def stages(given: Given, stored: Stored) -> dict[str, Subject]:
    """Return the stages of one algorithm's, and all of them together."""
    model = stored.model
    actions = _actions(given.lines)
    tokens = [model.tokenizer.encode(action) for action in actions]
    evidence = judged(model.detector, tokens, WINDOW)
    scores = scored(given.scorer(stored, adapt=False), actions)
    batches = [scores[begin : begin + BATCH] for begin in range(0, len(scores), BATCH)]

    def calibrate() -> Sample:
        odds = Filter(model.fusion)
        begin = time.perf_counter()
        for found in evidence:
            model.calibration.action.scores(found.action.tolist())
            for views in found.views:
                model.calibration.window.score(odds.step(model.fusion.evidence(views)).excess)
        return Sample(len(tokens), time.perf_counter() - begin)

    def score(adapt: bool) -> Sample:  # noqa: FBT001 - by partial
        return _timed(partial(scored, given.scorer(stored, adapt=adapt), actions), len(actions))

    return {
        "detector": lambda: _timed(lambda: judged(model.detector, tokens, WINDOW), len(tokens)),
        "calibration and fusion": calibrate,
        "explanation": lambda: explained(stored, actions, tokens),
        "JSON out": lambda: _timed(lambda: [encode(batch) for batch in batches], len(scores)),
        "scorer, --no-adapt": partial(score, adapt=False),
        "scorer, adapting": partial(score, adapt=True),
        "one at a time": partial(given.follow, stored, 1),
        "in batches": partial(given.follow, stored, BATCH),
    }


def _timed(work: Callable[[], object], count: int) -> Sample:
    begin = time.perf_counter()
    work()
    return Sample(count, time.perf_counter() - begin)


def _actions(lines: list[bytes]) -> list[Action]:
    parser, found = Parser(), list[Action]()
    for data in lines:
        parsed = parser.parse(data)
        found += [] if isinstance(parsed, Skipped) else parsed
    return found


def _of_user(lines: list[bytes], user: str) -> list[bytes]:
    """Return the lines in which a user acts."""
    parser, found = Parser(), []
    for data in lines:
        parsed = parser.parse(data)
        if not isinstance(parsed, Skipped) and all(action.user == user for action in parsed):
            found.append(data)
    return found


def main() -> None:
    """Be a worker."""
    path, count, user, *models = sys.argv[1:]
    everything = Path(path).read_bytes()
    lines = _of_user(everything.splitlines(), user)[: int(count)]
    given = Given(Path(path), lines, user)
    subjects: dict[str, Subject] = {}
    told: dict[str, Any] = {"lines": len(lines), "bytes": 1 + sum(map(len, lines)) / len(lines)}
    told["bytes_of"] = dict.fromkeys(WHOLE_FILE, len(everything) / everything.count(b"\n"))
    told |= {"shared": SHARED, "own": OWN, "whole": WHOLE, "floors": FLOORS}
    for word in models:
        algorithm, _, where = word.partition("=")
        stored = Store(Path(where)).load(user)
        if stored is None:
            raise SystemExit(f"There is no model of {user} in {where}")
        subjects |= shared_stages(given, stored)
        subjects |= {f"{algorithm}: {name}": subject for name, subject in stages(given, stored).items()}
    serve(subjects | floors(Path(path), lines), told)


if __name__ == "__main__":
    main()
