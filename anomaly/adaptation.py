"""Adaptation of a user's model while running, guarded against intruders by a quarantine.

Behaviour drifts: a frozen model alarms about its own user within weeks. But a model that learns from whoever acts
can be taught by an intruder. So actions are learned in chunks of a hundred, each weighed by its evidence: the
highest doubt (:class:`~anomaly.detectors.fusion.Verdict`) of the windows that end in it or shortly after it. The
evidence of the last thirty chunks is smoothed forwards and backwards (Rabiner 1989, section III.A), so that later
chunks count too. A chunk that speaks for the user is learned at once. A doubtful one waits in quarantine; it is
then learned by the probability that it was the user's, or refused for good if that is one half or less.

The frozen model scores what is learned. If it is surprised time and again, the user has drifted, which is
reported.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import exp, isfinite, log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import Tail
from anomaly.detectors.detector import Detector
from anomaly.detectors.fusion import Filter, Fusion, probability
from anomaly.detectors.interface import WINDOW
from anomaly.tokens import Tokens

DAYS = 2.0
"""Usual days' worth of actions that one day may add at most."""

QUARANTINE = 600
"""Actions after a doubtful chunk until it is decided."""

SURE = 0.02
"""Probability of another person below which a chunk is learned at once."""

LAG = 20
"""Actions after a chunk whose windows count as its own: the chunk is most of them."""

MOST_EVIDENCE = 8.0
"""Nats that one chunk is evidence of at most."""

BEGIN, STAY = 0.05, 0.8
"""Probability that another person begins with a chunk, and that they are still there in the next."""

SMOOTHED = 30
"""Chunks that are smoothed."""

STRANGE = 20.0
"""Risk from which on a window surprises the frozen model: 1 window in 100."""

REMEMBERED = 20
"""Learned chunks that drift is measured on."""

DRIFTED = 0.4
"""Share of them that surprise the frozen model, from which on the user has drifted."""

EXPECTED = WINDOW
"""Actions at most that feedback called expected and that are not learned yet."""

MOST_DAYS = 32
"""Days whose learned actions are counted. Chunks wait for fewer other chunks than that."""

_DAY = 86_400
_MOST_NUMBER = 2**53
_LEAST_WEIGHT = 0.5  # a feature learned by any weight is no longer new


class Progress(msgspec.Struct):
    """Counts of what a model has learned since training; saved with it."""

    generation: int = 0
    """Times that a chunk was learned or refused."""
    learned: int = 0
    refused: int = 0
    """Actions refused for good, because another person was suspected."""
    capped: int = 0
    """Actions left out, because their day had added enough."""
    first: int = 0
    """Time of the first action learned, in seconds since 1970 UTC."""
    last: int = 0
    recent: list[bool] = []
    """Of the last learned chunks, whether each surprises the frozen model."""

    @property
    def drift(self) -> float:
        """Share of the last learned chunks that surprise the frozen model, in 0..1."""
        return sum(self.recent) / REMEMBERED

    @property
    def drifted(self) -> bool:
        """Whether the user is so far from the frozen model that somebody should look."""
        return self.drift >= DRIFTED


class _Chunk(msgspec.Struct):
    """Consecutive actions that are learned together or not at all."""

    actions: list[Tokens]
    doubt: float
    """Evidence against it, in nats."""
    strange: bool
    """Whether it surprises the frozen model."""
    time: int
    number: int
    """Chunks before it."""
    refused: bool = False
    """Whether feedback called an action of it an incident."""


class Adaptation:
    """Decides what one user's detector learns.

    Parameters
    ----------
    detector, fusion, tail
        The user's; ``tail`` is the distribution of how far windows are beyond what alarms.
    usual
        Actions of the user in a day, on average.
    progress
        What was learned before.
    """

    def __init__(
        self, detector: Detector, fusion: Fusion, tail: Tail, usual: float, progress: Progress | None = None
    ) -> None:
        self._detector, self._fusion, self._tail = detector, fusion, tail
        self._most = max(DAYS * usual, 2.0 * WINDOW)
        self.progress = progress or Progress()
        self._actions: list[Tokens] = []
        self._doubt = -MOST_EVIDENCE
        self._refused = False
        """Whether feedback called one of these actions an incident."""
        self._complete: _Chunk | None = None
        """The last chunk, while windows after it count as its own."""
        self._waiting: list[_Chunk] = []
        self._evidence: list[float] = []
        """Evidence of the last chunks, the newest last."""
        self._chunks = 0
        self._expected: list[Tokens] = []
        self._learned_on: dict[int, int] = {}
        """Actions learned, by their day; the days in the order they were first met."""

    @property
    def room(self) -> int:
        """Number of actions that can be scored before something is learned; one at least."""
        done = len(self._actions)
        if done < LAG and self._complete is not None:
            return LAG - done
        return WINDOW - done

    def observe(
        self,
        state: Any,  # noqa: ANN401 - the detector's
        batch: Sequence[Tokens],
        doubts: Sequence[float],
        chunk_doubt: float,
        time: int,
    ) -> None:
        """Append actions that were just scored, and let the detector learn what is decided by them.

        Parameters
        ----------
        state
            The detector's, whose window ends with the last action.
        batch
            The actions, one at least and no more than there is :attr:`room` for.
        doubts
            Evidence against learning the windows that end in them, in nats.
        chunk_doubt
            The same of the last window, if it is exactly a chunk: it counts if the actions complete one.
        time
            Event time of the last one, in seconds since 1970 UTC; 0 if the log has none.
        """
        done = len(self._actions)
        highest = max(doubts, default=-MOST_EVIDENCE)
        self._actions += batch
        self._doubt = max(self._doubt, highest)
        if self._complete is not None and done < LAG:
            self._complete.doubt = max(self._complete.doubt, highest)
            if len(self._actions) >= LAG:
                self._decide(state, self._complete)
                self._complete = None
        if len(self._actions) >= WINDOW:
            is_strange = self._surprises_the_frozen(state)
            doubt = max(self._doubt, chunk_doubt)
            self._complete = _Chunk(self._actions, doubt, is_strange, time, self._chunks, refused=self._refused)
            self._chunks += 1
            self._actions, self._doubt, self._refused = [], -MOST_EVIDENCE, False

    def expect(self, actions: Sequence[Tokens]) -> None:
        """Learn actions that feedback called expected, amid the next chunk that is likelier the user's than not.

        Chunks in quarantine that hold any of them are released. A handful of actions is not learned alone, because
        the window model would take it for a window.
        """
        self._expected = [*self._expected, *actions][-EXPECTED:]
        marked = set(actions)
        for chunk in self._chunks_with(marked):
            self._mark(chunk, -MOST_EVIDENCE, refused=False)

    def refuse(self, actions: Sequence[Tokens]) -> None:
        """Never learn the chunks that hold actions that feedback called an incident."""
        marked = set(actions)
        self._expected = [one for one in self._expected if one not in marked]
        if not marked.isdisjoint(self._actions):
            self._doubt, self._refused = MOST_EVIDENCE, True
        for chunk in self._chunks_with(marked):
            self._mark(chunk, MOST_EVIDENCE, refused=True)

    def _mark(self, chunk: _Chunk, doubt: float, *, refused: bool) -> None:
        """Replace the evidence of a chunk by what feedback said."""
        chunk.doubt, chunk.refused = doubt, refused
        place = len(self._evidence) - (self._decided - chunk.number)
        if 0 <= place < len(self._evidence):
            self._evidence[place] = doubt

    @property
    def _decided(self) -> int:
        """Number of chunks whose evidence is complete."""
        return self._chunks - (self._complete is not None)

    def _chunks_with(self, marked: set[Tokens]) -> list[_Chunk]:
        chunks = [*self._waiting, *([self._complete] if self._complete is not None else [])]
        return [chunk for chunk in chunks if not marked.isdisjoint(chunk.actions)]

    def _surprises_the_frozen(self, state: Any) -> bool:  # noqa: ANN401 - the detector's
        evidence = self._fusion.evidence(self._detector.as_trained(state))
        return self._tail.score(Filter(self._fusion).step(evidence).excess) >= STRANGE

    def _decide(self, state: Any, newest: _Chunk) -> None:  # noqa: ANN401 - the detector's
        """Append the evidence of a chunk, and learn or refuse the chunks that it decides."""
        self._evidence = [*self._evidence, min(max(newest.doubt, -MOST_EVIDENCE), MOST_EVIDENCE)][-SMOOTHED:]
        self._waiting.append(newest)
        suspicion = smoothed(self._evidence)
        still: list[_Chunk] = []
        for chunk in self._waiting:
            age = newest.number - chunk.number
            somebody_else = 1.0 if chunk.refused else suspicion[-1 - age]
            is_old = age * WINDOW >= self._fusion.delay
            is_clear = chunk.doubt < 0.0 and somebody_else < SURE and is_old
            if is_clear or chunk.refused or age * WINDOW >= max(QUARANTINE, self._fusion.delay):
                self._learn(state, chunk, 1.0 - somebody_else)
            else:
                still.append(chunk)
        self._waiting = still

    def _learn(self, state: Any, chunk: _Chunk, weight: float) -> None:  # noqa: ANN401 - the detector's
        progress = self.progress
        day = chunk.time // _DAY
        # A chunk may leave the quarantine after chunks of later days: each day has its own count.
        today = self._learned_on.get(day, 0)
        if weight <= _LEAST_WEIGHT:
            progress.refused += len(chunk.actions)
            progress.generation += 1
            return
        if chunk.time and today + len(chunk.actions) > self._most:
            progress.capped += len(chunk.actions)
            progress.generation += 1
            return
        actions = chunk.actions
        if self._expected:
            half = len(actions) // 2
            actions = [*actions[:half], *self._expected, *actions[half:]]
            self._expected = []
        self._detector.learn(state, actions, weight)
        progress.generation += 1
        self._learned_on[day] = today + len(chunk.actions)
        while len(self._learned_on) > MOST_DAYS:
            del self._learned_on[next(iter(self._learned_on))]
        progress.learned += len(actions)
        progress.first = progress.first or chunk.time
        progress.last = max(progress.last, chunk.time)
        progress.recent = [*progress.recent, chunk.strange][-REMEMBERED:]

    def to_json(self) -> dict[str, Any]:
        """Return what is waiting as JSON-able values; what was learned is in ``progress`` and the detector."""
        return {
            "actions": _packed(self._actions),
            "doubt": self._doubt,
            "refused": self._refused,
            "complete": None if self._complete is None else _chunk_to_json(self._complete),
            "waiting": list(map(_chunk_to_json, self._waiting)),
            "evidence": self._evidence,
            "chunks": self._chunks,
            "learned_on": [[day, count] for day, count in self._learned_on.items()],
            "expected": _packed(self._expected),
        }

    def restore(self, saved: Mapping[str, Any], size: int) -> None:
        """Continue from what :meth:`to_json` returned, with a vocabulary of ``size`` tokens.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is invalid.
        """
        try:
            self._actions = _unpacked(saved["actions"], size)
            self._doubt, self._refused = _finite(saved["doubt"]), bool(saved["refused"])
            complete = saved["complete"]
            self._complete = None if complete is None else _chunk_from_json(complete, size)
            self._waiting = [_chunk_from_json(chunk, size) for chunk in saved["waiting"]]
            evidence = [_finite(one) for one in saved["evidence"]][-SMOOTHED:]
            self._evidence = [min(max(one, -MOST_EVIDENCE), MOST_EVIDENCE) for one in evidence]
            self._chunks = _whole(saved["chunks"])
            self._learned_on = {_whole(day): _whole(count) for day, count in saved["learned_on"]}
            self._expected = _unpacked(saved["expected"], size)[-EXPECTED:]
        except OverflowError as error:
            raise ValueError("the saved adaptation is invalid: a number is out of range") from error
        if len(self._actions) >= (WINDOW if self._complete is None else LAG):
            raise ValueError("the saved adaptation is invalid: too many actions are waiting")
        # Chunks that wait are among those whose evidence is known; only then is there evidence for each.
        known = [
            self._decided - len(self._evidence) - 1,
            *(chunk.number for chunk in self._waiting),
            self._decided,
        ]
        if any(number <= before for before, number in pairwise(known)):
            raise ValueError("the saved adaptation is invalid: its chunks are not in order")
        if self._complete is not None and self._complete.number != self._decided:
            raise ValueError("the saved adaptation is invalid: its last chunk has another number")
        if len(self._learned_on) > MOST_DAYS:
            raise ValueError("the saved adaptation is invalid: it holds too many days")


def smoothed(evidence: Sequence[float]) -> list[float]:
    """Return the probability that each chunk was another person's, from the evidence of all (Rabiner 1989).

    >>> [round(one, 3) for one in smoothed([-8.0, 8.0, -8.0])]
    [0.0, 0.971, 0.001]
    """
    forward: list[float] = []
    before = BEGIN
    for ratio in evidence:
        forward.append(probability(log(before / (1.0 - before)) + ratio))
        before = BEGIN * (1.0 - forward[-1]) + STAY * forward[-1]
    found, own, other = [0.0] * len(evidence), 1.0, 1.0
    for place in range(len(evidence) - 1, -1, -1):
        here = forward[place]
        found[place] = here * other / (here * other + (1.0 - here) * own)
        likelihood = other * exp(evidence[place])
        own, other = (1.0 - BEGIN) * own + BEGIN * likelihood, (1.0 - STAY) * own + STAY * likelihood
        own, other = own / (own + other), other / (own + other)
    return found


def _chunk_to_json(chunk: _Chunk) -> list[Any]:
    return [_packed(chunk.actions), chunk.doubt, chunk.strange, chunk.time, chunk.number, chunk.refused]


def _chunk_from_json(saved: Sequence[Any], size: int) -> _Chunk:
    actions, doubt, strange, time, number, refused = saved
    unpacked = _unpacked(actions, size)
    if not unpacked:
        raise ValueError("the saved adaptation is invalid: a chunk is empty")
    return _Chunk(unpacked, _finite(doubt), bool(strange), _whole(time), _whole(number), refused=bool(refused))


def _finite(saved: Any) -> float:  # noqa: ANN401 - from a file
    number = float(saved)
    if not isfinite(number):
        raise ValueError("the saved adaptation is invalid: a number is not finite")
    return number


def _whole(saved: Any) -> int:  # noqa: ANN401 - from a file
    number = int(saved)
    if not 0 <= number <= _MOST_NUMBER:
        raise ValueError("the saved adaptation is invalid: a number is out of range")
    return number


def _packed(actions: Sequence[Tokens]) -> dict[str, str]:
    """Return actions as base64, a third of what they take as JSON numbers."""
    return {
        "ids": _text([token for one in actions for token in one.ids], np.int32),
        "marks": _text([mark for one in actions for mark in one.marks or (0,) * len(one.ids)], np.uint32),
        "id_sizes": _text([len(one.ids) for one in actions], np.int32),
        "features": _text([feature for one in actions for feature in one.features], np.uint64),
        "feature_sizes": _text([len(one.features) for one in actions], np.int32),
    }


def _unpacked(saved: Mapping[str, Any], size: int) -> list[Tokens]:
    ids, marks, id_sizes = (
        _array(saved["ids"], np.int32),
        _array(saved["marks"], np.uint32),
        _array(saved["id_sizes"], np.int32),
    )
    features, feature_sizes = _array(saved["features"], np.uint64), _array(saved["feature_sizes"], np.int32)
    if len(ids) and not 0 < ids.min() <= ids.max() < size:
        raise ValueError("the saved adaptation is invalid: its actions are of another vocabulary")
    if len(marks) != len(ids) or len(id_sizes) != len(feature_sizes) or len(id_sizes) > 2 * WINDOW:
        raise ValueError("the saved adaptation is invalid: its actions do not pair up")
    for values, sizes in ((ids, id_sizes), (features, feature_sizes)):
        if (sizes < 1).any() or sizes.sum() != len(values):
            raise ValueError("the saved adaptation is invalid: its actions do not add up")
    parts = zip(_parts(ids, id_sizes), _parts(features, feature_sizes), _parts(marks, id_sizes), strict=True)
    return [Tokens(*part) for part in parts]


def _parts(values: NDArray[Any], sizes: NDArray[Any]) -> list[tuple[int, ...]]:
    flat = values.tolist()
    return [tuple(flat[begin:end]) for begin, end in pairwise(accumulate(sizes.tolist(), initial=0))]


def _text(values: Sequence[int], kind: type[np.generic]) -> str:
    return base64.b64encode(np.array(values, dtype=kind).tobytes()).decode("ascii")


def _array(saved: Any, kind: type[np.generic]) -> NDArray[Any]:  # noqa: ANN401 - from a file
    return np.frombuffer(base64.b64decode(saved, validate=True), dtype=kind)
