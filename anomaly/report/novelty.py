"""What a user has lately done that training never saw, with how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from anomaly.explanation import MAX_TEXT, spoken
from anomaly.osquery import Action
from anomaly.records import ReasonKind, Score
from anomaly.tokenizer import Tokenizer

DAYS = 7
"""Days, back from a user's last action, of which the report tells what is new."""

_DAY = 86_400


class Thing(NamedTuple):
    """A value in its column, or an action's kind."""

    query: str
    column: str
    """``action`` for a kind."""
    value: str


class New(NamedTuple):
    """A thing that was never seen in training."""

    thing: Thing
    times: int
    last: int
    """When it was last seen, in seconds since 1970 UTC."""


@dataclass
class _Seen:
    last: int = 0
    days: dict[int, int] = field(default_factory=dict)
    """How often, by day since 1970."""


class Novelties:
    """Counts what is new, day by day, in bounded room.

    Parameters
    ----------
    limit
        Most things kept; where there are more, those that have not been seen for a week go first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[Thing, _Seen] = {}
        self.missed = False
        """Whether there was no room for all."""

    def note(self, score: Score, tokenizer: Tokenizer | None) -> None:
        """Take what is new in an action; without the user's vocabulary, what its score's reasons say of that."""
        action = score.action
        if not action.time:
            return
        for thing in _new(action, tokenizer) if tokenizer is not None else _told(score):
            seen = self._seen.get(thing) or self._enter(thing, action.time)
            if seen is not None:
                day = action.time // _DAY
                seen.last = max(seen.last, action.time)
                seen.days[day] = seen.days.get(day, 0) + 1
                if len(seen.days) > DAYS + 1:
                    seen.days = {day: n for day, n in seen.days.items() if day >= seen.last // _DAY - DAYS}

    def _enter(self, thing: Thing, now: int) -> _Seen | None:
        if len(self._seen) >= self._limit:
            self._seen = {name: seen for name, seen in self._seen.items() if seen.last > now - DAYS * _DAY}
        if len(self._seen) >= self._limit:
            self.missed = True
            return None
        return self._seen.setdefault(thing, _Seen())

    def week(self, end: int) -> list[New]:
        """Return what is new in the days before ``end``, the most frequent first.

        Whole days are counted, so the first of them may begin up to a day earlier.
        """
        first = (end - DAYS * _DAY) // _DAY
        found = [
            New(thing, count, seen.last)
            for thing, seen in self._seen.items()
            if (count := sum(n for day, n in seen.days.items() if first <= day <= end // _DAY))
        ]
        return sorted(found, key=lambda new: (-new.times, new.thing))


def _new(action: Action, tokenizer: Tokenizer) -> list[Thing]:
    return [
        Thing(action.query[:MAX_TEXT], said.column[:MAX_TEXT], said.value[:MAX_TEXT])
        for said in spoken(tokenizer, action)
        if not said.seen
    ]


def _told(score: Score) -> list[Thing]:
    return [
        Thing(score.action.query[:MAX_TEXT], reason.field[:MAX_TEXT], reason.value[:MAX_TEXT])
        for reason in score.reasons
        if reason.kind is ReasonKind.NEW_VALUE
    ]
