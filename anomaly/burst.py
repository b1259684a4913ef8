"""A burst: alarming actions of one user, one soon after another, as what is kept and told of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from anomaly.osquery import Action
from anomaly.records import Alert, Reason, Score, Severity

MOST_REASONS = 5

LONGEST_NAME = 256
LONGEST_VALUE = 1024
ROOM = 8192
"""Characters of an action's columns that are kept, all together."""

_GROWTH = 4
_CUT = "..."

Thing = tuple[str, str, str]
"""What an alarm is about: query, field and value of its weightiest reason; all empty if only the window alarms."""


class Burst(msgspec.Struct):
    """Alarming actions of one user on one host."""

    id: str
    user: str
    host: str
    """Empty for a user name's further hosts, see :data:`anomaly.alerts.MOST_HOSTS`."""
    severity: Severity
    first: int
    last: int
    worst: Score
    thing: Thing
    """What the worst action is about."""
    reasons: list[Reason] = []
    count: int = 0
    quiet: int = 0
    """Own actions since the last that alarmed."""
    update: int = -1
    """Of the last record; -1 while it is not told."""
    due: int = 1
    """The count at which it is told next."""

    @classmethod
    def of(cls, score: Score) -> Burst:
        """Begin with an alarming action, which does not yet count."""
        kept, time = clipped(score), score.action.time
        return cls(score.id, kept.action.user, kept.action.host, score.severity, time, time, kept, thing_of(score))

    def add(self, score: Score) -> bool:
        """Let an alarming action count, and say whether that makes the burst more severe."""
        graver = score.severity.rank > self.severity.rank
        if _rank(score) > _rank(self.worst):
            self.worst, self.thing, self.severity = clipped(score), thing_of(score), score.severity
        self.count += 1
        self.quiet = 0
        self.first = self.first or score.action.time
        self.last = score.action.time or self.last
        self.reasons = _weightiest(self.reasons, score.reasons)
        return graver

    def tell(self, *, closed: bool = False) -> Alert:
        """Return the next record of it; another is due when it has grown fourfold."""
        self.update += 1
        while self.due <= self.count:
            self.due *= _GROWTH
        what = (self.id, self.user, self.host, self.severity, self.first, self.last, self.count, self.update)
        return Alert(*what, closed, self.worst, tuple(self.reasons))


def _rank(score: Score) -> tuple[int, float, float]:
    """Order scores by how bad they are: of the most severe, the rarest action is what to look at."""
    return score.severity.rank, score.score or 0.0, score.risk or 0.0


def thing_of(score: Score) -> Thing:
    """Say what an alarm is about."""
    if Severity.of(score.score) is Severity.NONE:
        return "", "", ""
    query = clear(score.action.query, LONGEST_NAME)
    weightiest = max(score.reasons, key=lambda reason: reason.bits, default=None)
    if weightiest is None:
        return query, "", ""
    return query, clear(weightiest.field, LONGEST_NAME), clear(weightiest.value, LONGEST_NAME)


def _weightiest(reasons: list[Reason], more: Sequence[Reason]) -> list[Reason]:
    """Return the weightiest of both, each thing once."""
    if not more or (len(reasons) == MOST_REASONS and all(one.bits <= reasons[-1].bits for one in more)):
        return reasons  # nearly always, in a long burst
    found = {(one.kind, one.field, one.value): one for one in reasons}
    for reason in map(_legible, more):
        known = found.setdefault((reason.kind, reason.field, reason.value), reason)
        if known.bits < reason.bits:
            found[reason.kind, reason.field, reason.value] = reason
    return sorted(found.values(), key=lambda reason: -reason.bits)[:MOST_REASONS]


def clipped(score: Score) -> Score:
    """Return a score of bounded size that can be written as UTF-8: the log chooses how long a value is."""
    row = score.action.columns
    told = [name for name in dict.fromkeys(reason.field for reason in score.reasons) if name in row]
    kept: dict[str, str] = {}
    room = ROOM
    for name in dict.fromkeys((*told, *row)):  # what was odd must not be crowded out
        field, said = clear(name, LONGEST_NAME), clear(row[name], LONGEST_VALUE)
        room -= len(field) + len(said)
        if room < 0:
            break
        kept[name] = said
    columns = {clear(name, LONGEST_NAME): kept[name] for name in row if name in kept}
    host, user = key_of(score.action)
    query = clear(score.action.query, LONGEST_NAME)
    action = msgspec.structs.replace(score.action, host=host, user=user, query=query, columns=columns)
    return msgspec.structs.replace(score, action=action, reasons=tuple(map(_legible, score.reasons)))


def key_of(action: Action) -> tuple[str, str]:
    """Return host and user: one name acts on several hosts, and is not always one person."""
    return clear(action.host, LONGEST_NAME), clear(action.user)


def clear(text: str, most: int | None = None) -> str:
    """Return text with half characters escaped, cut to a length if one is given.

    >>> clear("nmap"), clear("abcdefgh", 6)
    ('nmap', 'abc...')
    """
    if most is not None and len(text) > most:
        text = text[: most - len(_CUT)] + _CUT
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_cut(value: str) -> bool:
    """Say whether a column of a :func:`clipped` score may be only the beginning of what the log said."""
    return len(value) >= LONGEST_VALUE and value.endswith(_CUT)


def _legible(reason: Reason) -> Reason:
    texts = reason.field, reason.value, *reason.expected
    if all(text.isascii() and len(text) <= LONGEST_NAME for text in texts):
        return reason
    field, value, *expected = (clear(text, LONGEST_NAME) for text in texts)
    return msgspec.structs.replace(reason, field=field, value=value, expected=tuple(expected))
