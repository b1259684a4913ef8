"""Guarded learning while running: what is not suspected is learned, and nothing else.

Behaviour drifts; a model that stands still alarms about its own user within weeks. But what learns from whoever
sits at the keyboard can be taught by an intruder. So actions are learned a hundred at a time, only after the
hundred that followed them have been judged too, with weight ``1 - P(somebody else)`` at its worst moment in
both; never if any of it alarmed, and never more in a day of the log than two of the user's usual days. Beside it
stands the model as it was trained, which judges what is learned: where it would have been surprised time and
again, that is drift, and is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from anomaly.calibration import Tail
from anomaly.detectors.interface import WINDOW, Detector
from anomaly.records import ALARM
from anomaly.risk import Fusion, logit, probability
from anomaly.tokens import BUCKETS, Tokens

DAYS = 2.0
"""Usual days' worth of actions that one day may add."""

STRANGE = 20.0
"""Risk from which on the model as trained is called surprised: 1 window in 100."""

REMEMBERED = 20
"""Learned chunks that drift is told by."""

DRIFTED = 0.4
"""Share of them that surprise the model as trained, from which on the user has drifted."""

EXPECTED = WINDOW
"""Actions at most that somebody has called expected and that are not learned yet."""

_DAY = 86_400
_MARKS = 1 << 32  # hashes have 32 bits


class Progress(msgspec.Struct):
    """How far a model has moved since training, as counts of actions; part of what is saved."""

    generation: int = 0
    """Times that something was learned."""
    learned: int = 0
    refused: int = 0
    """Left out because they were suspected."""
    capped: int = 0
    """Left out because the day had brought enough."""
    first: int = 0
    """Time of the first action learned, in seconds since 1970 UTC."""
    last: int = 0
    recent: list[bool] = []
    """Of the last learned chunks, whether each surprises the model as trained."""

    @property
    def drift(self) -> float:
        """Share of the last learned chunks that surprise the model as trained, in 0..1."""
        return sum(self.recent) / REMEMBERED

    @property
    def drifted(self) -> bool:
        """Whether the user is so far from what was trained that somebody should look."""
        return self.drift >= DRIFTED


class _Chunk(NamedTuple):
    actions: list[Tokens]
    worst: float
    """The highest probability that it was somebody else, over all its actions."""
    strange: bool
    """Whether the model as trained is surprised by it."""
    time: int


class Adaptation:
    """Decides what one user's detector learns.

    Parameters
    ----------
    detector, fusion, tail
        The user's; ``tail`` gives the risk of log-odds.
    usual
        Actions that the user does in a day.
    progress
        What was learned so far, where it goes on.
    """

    def __init__(
        self, detector: Detector, fusion: Fusion, tail: Tail, usual: float, progress: Progress | None = None
    ) -> None:
        self._detector, self._fusion, self._tail = detector, fusion, tail
        self._most = max(DAYS * usual, 2.0 * WINDOW)
        self.progress = progress or Progress()
        self._actions: list[Tokens] = []
        self._worst = 0.0
        self._waiting: _Chunk | None = None
        self._expected: list[Tokens] = []
        self._as_trained = logit(fusion.start)
        """Log-odds of the last chunk, by the model as trained: it has a filter of its own."""
        self._day = self._today = 0

    @property
    def room(self) -> int:
        """How many actions more are judged as things are, before the next is learned; one at least."""
        return WINDOW - len(self._actions)

    def observe(
        self,
        state: Any,  # noqa: ANN401 - each detector has its own
        batch: Sequence[Tokens],
        odds: Sequence[float],
        risks: Sequence[float],
        time: int,
    ) -> None:
        """Take note of actions that were just judged, and let the detector learn when its turn has come.

        Parameters
        ----------
        state
            The detector's, with the last action as the last of its window.
        batch
            The actions, one at least and no more than there is :attr:`room` for.
        odds, risks
            Of the windows that they end: log-odds in nats, and the figure that alarms.
        time
            Of the last one, in seconds since 1970 UTC, by the log; 0 where it does not say.
        """
        self._actions += batch
        self._worst = max(self._worst, 1.0 if max(risks) >= ALARM else probability(max(odds)))
        if len(self._actions) < WINDOW:
            return
        evidence = self._fusion.evidence(self._detector.as_trained(state))
        self._as_trained = self._fusion.follow(self._as_trained, evidence)
        strange = self._tail.score(self._as_trained) >= STRANGE
        done = _Chunk(self._actions, self._worst, strange, time)
        if self._waiting is not None:
            self._learn(state, self._waiting, after=done)
        self._waiting, self._actions, self._worst = done, [], 0.0

    def expect(self, actions: Sequence[Tokens]) -> None:
        """Learn actions that somebody has called expected, amid the next that are likelier the user's than not.

        A window of the user's own is learned by the hundred: a handful alone would be taken for a strange one.
        """
        self._expected = [*self._expected, *actions][-EXPECTED:]

    def refuse(self, actions: Sequence[Tokens]) -> None:
        """Never learn what waits beside actions that somebody has called an incident."""
        marked = set(actions)
        self._expected = [one for one in self._expected if one not in marked]
        if not marked.isdisjoint(self._actions):
            self._worst = 1.0
        if self._waiting is not None and not marked.isdisjoint(self._waiting.actions):
            self._waiting = self._waiting._replace(worst=1.0)

    def _learn(self, state: Any, chunk: _Chunk, after: _Chunk) -> None:  # noqa: ANN401 - each detector has its own
        progress = self.progress
        weight = 1.0 - max(chunk.worst, after.worst)
        if chunk.time // _DAY != self._day:
            self._day, self._today = chunk.time // _DAY, 0
        if weight <= 0.0:
            progress.refused += len(chunk.actions)
        elif chunk.time and self._today + len(chunk.actions) > self._most:
            progress.capped += len(chunk.actions)
            weight = 0.0
        actions = chunk.actions
        if weight > 0.5 and self._expected:
            half = len(actions) // 2
            actions = [*actions[:half], *self._expected, *actions[half:]]
            self._expected = []
        self._detector.learn(state, actions, weight)
        progress.generation += 1
        if weight <= 0.0:
            return
        self._today += len(chunk.actions)
        progress.learned += len(actions)
        progress.first = progress.first or chunk.time
        progress.last = max(progress.last, chunk.time)
        progress.recent = [*progress.recent, chunk.strange][-REMEMBERED:]

    def to_json(self) -> dict[str, Any]:
        """Return what is waiting, as JSON-able values; what was learned is ``progress`` and the detector's."""
        waiting = self._waiting
        return {
            "actions": self._actions,
            "worst": self._worst,
            "waiting": None if waiting is None else list(waiting),
            "day": [self._day, self._today],
            "as_trained": self._as_trained,
            "expected": self._expected,
        }

    def restore(self, saved: Mapping[str, Any], size: int) -> None:
        """Go on from what :meth:`to_json` gave, with a vocabulary of ``size`` tokens.

        Raises
        ------
        ValueError, KeyError, TypeError
            It does not fit.
        """
        try:
            self._actions = [_tokens(entry, size) for entry in saved["actions"]]
            self._worst = _share(saved["worst"])
            if saved["waiting"] is not None:
                actions, worst, strange, time = saved["waiting"]
                self._waiting = _Chunk(
                    [_tokens(e, size) for e in actions], _share(worst), bool(strange), int(time)
                )
            self._day, self._today = map(int, saved["day"])
            self._as_trained = float(saved["as_trained"])
            self._expected = [_tokens(entry, size) for entry in saved.get("expected", ())][-EXPECTED:]
        except OverflowError as error:
            raise ValueError("what was saved holds no such number") from error
        if len(self._actions) >= WINDOW:
            raise ValueError("more actions are waiting than can be")
        if not isfinite(self._as_trained):
            raise ValueError("what was saved holds no log-odds")


def _share(saved: Any) -> float:  # noqa: ANN401 - from a file
    share = float(saved)
    if not 0.0 <= share <= 1.0:
        raise ValueError("what was saved holds no probability")
    return share


def _tokens(saved: Sequence[Any], size: int) -> Tokens:
    ids, buckets, marks = (tuple(map(int, part)) for part in saved)
    if not ids or not _within(ids, 1, size) or not _within(buckets, 0, BUCKETS):
        raise ValueError("what was to be learned is of another vocabulary")
    if len(marks) != len(ids) or not _within(marks, 0, _MARKS):
        raise ValueError("what was to be learned does not pair up")
    return Tokens(ids, buckets, marks)


def _within(numbers: tuple[int, ...], low: int, end: int) -> bool:
    """Say whether all are from low up to end: by the hundred for each user who comes back into memory, so in C."""
    return not numbers or (min(numbers) >= low and max(numbers) < end)
