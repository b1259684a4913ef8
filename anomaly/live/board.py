"""What is known at the moment: every user's standing and the newest actions, of a size that does not grow.

One thread scores and hands over, another looks; neither waits for the other longer than a copy takes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from threading import Lock
from typing import NamedTuple

import msgspec

from anomaly.identity import keys
from anomaly.osquery import Action
from anomaly.records import Score, Severity
from anomaly.sinks.interface import Sink

KEPT = 1000
"""Actions kept of each severity, the newest: a flood of harmless ones pushes no alarm out."""

LATELY = 100
"""A user's actions among which the highest score is looked for: as many as the risk speaks of."""

_MOST_USERS = 1000
_LONG = 4096  # characters of an action, from which on its columns are cut
_LONGEST = 200  # of one value then
_MOST_COLUMNS = 24
_CUT = "..."


class Entry(NamedTuple):
    """One action of the stream."""

    number: int
    """Which one it was, counted from 1."""
    score: Score


class Watched(NamedTuple):
    """Where one user stands."""

    host: str
    """Empty before the user's first action."""
    user: str
    risk: float | None
    highest: float | None
    """The highest score among the last 100 actions."""
    actions: int
    """Since the beginning of the run."""
    last: int
    """Time of the last action, in seconds since 1970 UTC, by the log; 0 where it is not known."""
    number: int
    """Which action of all that was; 0 before the first."""
    state: str
    """Of the model, as in :class:`anomaly.records.ModelRef`; empty before the first action."""

    @property
    def severity(self) -> Severity:
        """What the risk asks for."""
        return Severity.of_risk(self.risk)


class _User:
    """Where a user stands, as it moves."""

    __slots__ = ("actions", "last", "number", "risk", "scores", "state")

    def __init__(self) -> None:
        self.risk: float | None = None
        self.scores: deque[float] = deque(maxlen=LATELY)
        self.actions = self.last = self.number = 0
        self.state = ""


class Board(Sink):
    """Takes scores, from any thread.

    Parameters
    ----------
    least
        Actions whose score and risk are both less are counted and not kept.
    """

    def __init__(self, least: float = 0.0) -> None:
        self.taken = 0
        """Actions so far."""
        self.hosts: Counter[str] = Counter()
        """Hosts of the users that are known: whether a name needs its host to be told."""
        self._least = least
        self._lock = Lock()
        self._kept: dict[Severity, deque[Entry]] = {severity: deque(maxlen=KEPT) for severity in Severity}
        # Of users without a model there may be as many as the log likes to name: they push out each other alone.
        self._rated: OrderedDict[tuple[str, str], _User] = OrderedDict()
        self._unrated: OrderedDict[tuple[str, str], _User] = OrderedDict()

    def expect(self, risks: Iterable[tuple[str, float | None]]) -> None:
        """Show users before they act, by the names of their models and with the risk they had."""
        with self._lock:
            for name, risk in islice(risks, _MOST_USERS):
                user = self._rated["", name] = _User()
                user.risk = risk

    def write(self, scores: Sequence[Score]) -> None:
        """Take scores, in the order of the log."""
        with self._lock:
            for score in scores:
                self.taken += 1
                self._note(score)
                if self._least <= 0 or max(score.score or 0.0, score.risk or 0.0) >= self._least:
                    self._kept[score.severity].append(Entry(self.taken, _bounded(score)))

    def entries(self) -> list[Entry]:
        """Return the actions that are kept, oldest first."""
        with self._lock:
            kept = [entry for entries in self._kept.values() for entry in entries]
        kept.sort(key=lambda entry: entry.number)
        return kept

    def users(self) -> list[Watched]:
        """Return where each user stands, whoever acted last at the end."""
        with self._lock:
            return [
                Watched(
                    *key,
                    user.risk,
                    max(user.scores, default=None),
                    user.actions,
                    user.last,
                    user.number,
                    user.state,
                )
                for users in (self._unrated, self._rated)
                for key, user in users.items()
            ]

    def _note(self, score: Score) -> None:
        action = score.action
        key = action.host[:_LONGEST], action.user[:_LONGEST]
        rated = score.model.algorithm is not None
        users, others = (self._rated, self._unrated) if rated else (self._unrated, self._rated)
        user = users.get(key)
        if user is None:
            user = self._arrived(key, users, others)
        users.move_to_end(key)
        user.risk = score.risk
        if score.score is not None:
            user.scores.append(score.score)
        user.actions += 1
        user.last, user.number, user.state = action.time or user.last, self.taken, score.model.state

    def _arrived(
        self,
        key: tuple[str, str],
        users: OrderedDict[tuple[str, str], _User],
        others: OrderedDict[tuple[str, str], _User],
    ) -> _User:
        """Make room for a user who acts for the first time, or whose model has come or gone."""
        user = others.pop(key, None)
        if user is None:
            user = _User()
            self.hosts[key[0]] += 1
            for name in keys(*key):  # expected under the name of the model
                self._rated.pop(("", name), None)
        users[key] = user
        while len(users) > _MOST_USERS:
            (host, _), _ = users.popitem(last=False)
            self.hosts[host] -= 1
            if self.hosts[host] <= 0:
                del self.hosts[host]
        return user


def _bounded(score: Score) -> Score:
    """Return a score that may be kept: who writes the log chooses how long an action is."""
    action = score.action
    row = action.columns
    size = (
        sum(map(len, row)) + sum(map(len, row.values())) + len(action.query) + len(action.user) + len(action.host)
    )
    if size <= _LONG:
        return score
    cut = Action(
        action.time,
        _head(action.host),
        _head(action.user),
        _head(action.query),
        action.verb,
        {_head(name): _head(value) for name, value in islice(row.items(), _MOST_COLUMNS)},
        action.baseline,
    )
    return msgspec.structs.replace(score, action=cut)


def _head(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT
