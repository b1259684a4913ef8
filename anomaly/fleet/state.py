"""Scores the actions of one key after another, and carries where each key stands; it knows nothing of Spark.

Spark's state store holds what a local checkpoint holds of a user, the window and what was learned. A worker
keeps what it wrote in memory as well, under a stamp that changes with each write: where the stamp in the store is
the same, nobody else has moved the key meanwhile, and nothing has to be read back.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from anomaly.fleet.models import Models
from anomaly.fleet.parcel import Dated
from anomaly.judgement import judge
from anomaly.learned import Keeper
from anomaly.records import ALARM, ModelRef, Score
from anomaly.scoring import Scorer
from anomaly.standings import Standings

LATENESS = 300
"""Seconds that an action may be older than the newest one of its key before it is counted as late."""

ROOM = 256 << 20
"""Bytes of users that one worker keeps in memory, as :attr:`Standing.size` has them."""

_NO_MODEL = ModelRef(None, None, "none")


class Mark(NamedTuple):
    """What is small of a key's state."""

    stamp: str
    newest: int
    """Time of the newest action that was scored."""


class Memory(ABC):
    """The state of one key, as Spark keeps it."""

    @abstractmethod
    def mark(self) -> Mark | None:
        """Return what is small of it; None at first."""

    @abstractmethod
    def standing(self) -> tuple[bytes, bytes] | None:
        """Return where the key stands, and its window."""

    @abstractmethod
    def learned(self) -> bytes | None:
        """Return what was learned."""

    @abstractmethod
    def write(self, mark: Mark, standing: bytes, window: bytes, learned: bytes | None) -> None:
        """Write it; what was learned stays as it is where that is None."""


class Outcome(NamedTuple):
    """What came of a key's actions."""

    scores: list[Score]
    late: int
    """Actions that were older than the newest one of their key by more than ``LATENESS``."""
    refused: int
    """Actions whose model cannot be used."""


class MemoryKeeper(Keeper):
    """Keeps what was learned beside the rest of the state, by its digest: it is written when it has changed."""

    def __init__(self, fetched: Callable[[], bytes | None]) -> None:
        self._fetched = fetched
        self.unsaved: bytes | None = None

    def keep(self, user: str, version: int, data: bytes, saved: Any) -> str:  # noqa: ANN401, ARG002 - the interface
        """Hold it until it is written."""
        self.unsaved = data
        return hashlib.sha256(data).hexdigest()

    def fetch(self, user: str, version: int, reference: Any) -> bytes | None:  # noqa: ANN401, ARG002 - the interface
        """Return what the state holds, if it is that."""
        data = self._fetched()
        return data if data is not None and hashlib.sha256(data).hexdigest() == reference else None


class _Held:
    """A key that is in memory."""

    def __init__(self, standings: Standings, keeper: MemoryKeeper, stamp: str | None, size: int) -> None:
        self.standings, self.keeper, self.stamp, self.size = standings, keeper, stamp, size


class Desk:
    """Scores keys' actions.

    Parameters
    ----------
    models
        Gives the models.
    adapt
        Let them learn.
    room
        Bytes of users to keep in memory.
    """

    def __init__(self, models: Models, *, adapt: bool, room: int = ROOM) -> None:
        self.models = models
        self._adapt = adapt
        self._room = room
        self._taken = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def strangers(self, actions: Sequence[Dated]) -> list[Score]:
        """Score actions of users without a model by what everyone does."""
        scorer = Scorer(lambda _: None, background=self.models.background)
        return scorer.score_all([(event, action) for _, event, action in actions])

    def score(self, key: str, actions: Sequence[Dated], memory: Memory) -> Outcome:
        """Score the actions of a key that has a model, and move its state past them.

        Parameters
        ----------
        key
            The model's name.
        actions
            In order.
        memory
            The key's state. Where the model cannot be used it stays as it is, and waits for one that can.
        """
        stored = self.models.find(key)
        if stored is None:
            scores = [Score(event, action, None, None, None, _NO_MODEL) for _, event, action in actions]
            return Outcome(scores, 0, len(actions))
        mark = memory.mark()
        held = self._hold(key, mark, memory)
        held.standings.find = lambda _: stored
        held.standings.renew(key, stored)
        user = held.standings.get(key)
        assert user is not None  # noqa: S101 - there is a model
        scores = judge(user, [(event, action) for _, event, action in actions], lambda _: None)
        late, newest = _late([when for when, _, _ in actions], mark.newest if mark is not None else 0)
        ((_, standing),) = held.standings.encoded()
        held.stamp = uuid.uuid4().hex  # whatever is written once more has another
        window = msgspec.msgpack.encode(list(user.recent))
        memory.write(Mark(held.stamp, newest), standing, window, held.keeper.unsaved)
        held.keeper.unsaved = None
        self._measure(held, user.size)
        return Outcome(scores, late, 0)

    def _hold(self, key: str, mark: Mark | None, memory: Memory) -> _Held:
        held = self._held.get(key)
        if held is not None and mark is not None and held.stamp == mark.stamp:
            self._held.move_to_end(key)
            return held
        if held is not None:
            self._taken -= held.size
        keeper = MemoryKeeper(memory.learned)
        standings = Standings(lambda _: None, adapt=self._adapt, keeper=keeper, log="", say=lambda _: None)
        if mark is not None and (saved := memory.standing()) is not None:
            standings.restore({key: _whole(*saved)})
        self._held[key] = held = _Held(standings, keeper, None, 0)
        self._held.move_to_end(key)
        return held

    def _measure(self, held: _Held, size: int) -> None:
        self._taken += size - held.size
        held.size = size
        while self._taken > self._room and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            self._taken -= gone.size


def _whole(standing: bytes, window: bytes) -> Any:  # noqa: ANN401 - from the state
    """Return a state with all of its window: also of who is not suspected, for a model that may come."""
    try:
        saved = msgspec.json.decode(standing)
        recent = msgspec.msgpack.decode(window, type=list[bytes])
        saved["recent"] = [base64.b64encode(one).decode("ascii") for one in recent]
    except (ValueError, TypeError, RecursionError):
        return None
    return saved


def _late(times: Sequence[int], newest: int) -> tuple[int, int]:
    """Count what is late, and return the newest time."""
    return sum(0 < when < newest - LATENESS for when in times), max(newest, *times)


def alarming(scores: Sequence[Score]) -> int:
    """Count actions whose risk alarms."""
    return sum(score.risk is not None and score.risk >= ALARM for score in scores)
