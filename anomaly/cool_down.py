"""What each user was told of last: a second burst about the same thing, soon after, is no news."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from anomaly.alert_rules import MOST_USERS
from anomaly.burst import Burst, Thing
from anomaly.records import Score

COOL_DOWN = 7200
"""Seconds of log time in which a second burst about the same thing is not told, unless it is more severe."""

_MOST_THINGS = 16

Key = tuple[str, str]
"""Host and user."""

Told = tuple[Key, list[tuple[Thing, int, int]]]
"""What somebody was told of, when (in seconds, by the log), and the rank of its severity."""


class CoolDown:
    """Remembers, of the users who alarmed last, what was told of each; things and users are bounded."""

    def __init__(self) -> None:
        self._told: OrderedDict[Key, dict[Thing, tuple[int, int]]] = OrderedDict()

    def is_over(self, key: Key, thing: Thing, score: Score) -> bool:
        """Say whether an alarm is about something that was not told lately, or is more severe."""
        time, rank = self._told.get(key, {}).get(thing, (0, 0))
        if not time or not score.action.time:
            return True
        return not 0 <= score.action.time - time < COOL_DOWN or score.severity.rank > rank

    def remember(self, key: Key, thing: Thing, burst: Burst) -> None:
        """Take note of what was told: something, and what is worst of its burst."""
        things = self._told.pop(key, {})
        for about in (thing, burst.thing):
            things.pop(about, None)
            things[about] = (burst.last, burst.severity.rank)
        while len(things) > _MOST_THINGS:
            del things[next(iter(things))]
        self._told[key] = things
        if len(self._told) > MOST_USERS:
            self._told.popitem(last=False)

    def export(self) -> list[Told]:
        """Return what :meth:`restore` goes on from."""
        return [(key, [(thing, *when) for thing, when in things.items()]) for key, things in self._told.items()]

    def restore(self, told: Sequence[Told]) -> None:
        """Go on from what :meth:`export` gave."""
        self._told = OrderedDict(
            (key, {thing: (time, rank) for thing, time, rank in things}) for key, things in told[-MOST_USERS:]
        )
