"""What the program says of one action, as data: a score, its severity and its reasons."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from anomaly.osquery import Action

ALARM = 25.0
"""The risk that alarms. Training sets what reaches it: about one false alarm of a user in a month."""

_LEAST = 20.0
"""Score or risk from which on there is a severity: 1 action in 100, or 1 window."""


class ReasonKind(StrEnum):
    """The fixed vocabulary of reasons."""

    NEW_VALUE = "new_value"
    RARE_VALUE = "rare_value"
    UNEXPECTED_NEXT = "unexpected_next"
    UNUSUAL_HOUR = "unusual_hour"
    UNUSUAL_MIX = "unusual_mix"


class Severity(StrEnum):
    """How much attention a score asks for, from the 0..100 scale; ordered from least to most."""

    NONE = "none"
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"

    @classmethod
    def of(cls, value: float | None) -> Severity:
        """Name a score: 20 is 1 action in 100, 30 is 1 in 1,000, 50 is 1 in 100,000.

        >>> Severity.of(37.2)
        <Severity.WARNING: 'warning'>
        """
        if value is None or value < _LEAST:
            return cls.NONE
        if value < 30:
            return cls.NOTICE
        return cls.WARNING if value < 50 else cls.CRITICAL

    @classmethod
    def of_risk(cls, value: float | None) -> Severity:
        """Name a risk: from :data:`ALARM` on it is a warning, since it speaks of a hundred actions and not of one.

        >>> Severity.of_risk(ALARM)
        <Severity.WARNING: 'warning'>
        """
        alarms = value is not None and value >= ALARM
        return max(cls.of(value), cls.WARNING if alarms else cls.NONE, key=lambda severity: severity.rank)

    @property
    def rank(self) -> int:
        """Place in the order, 0 for ``none``."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Reason(msgspec.Struct, frozen=True):
    """Why a score is what it is."""

    kind: ReasonKind
    field: str
    """Column the reason speaks of; ``action`` for the action's kind, ``time`` for its hour."""
    value: str
    """What was seen, at most 120 characters of it."""
    expected: tuple[str, ...]
    """What this user does there most, best first, at most three."""
    seen: int
    """How often the value occurred in training..."""
    of: int
    """...among how many actions with that field."""
    bits: float
    """How surprising, in bits."""


class ModelRef(msgspec.Struct, frozen=True):
    """Which model scored."""

    algorithm: str | None
    version: int | None
    state: str
    """``ready``; ``drifted`` where adaptation has led far from what was trained; ``learning`` for a user who is
    known only by what everyone does; ``none`` for a user without a model."""


class Score(msgspec.Struct, frozen=True):
    """One action and what the model of its user makes of it.

    ``score`` is this action, as ``-10 log10 p`` in 0..100: ten points are ten times rarer among the user's own
    actions. ``risk`` is the user's last actions, in 0..100: up to :data:`ALARM` it is how rare they are, and
    beyond it ten points are ten times the odds of another person. ``surprise`` is the raw figure: bits with a
    network, the window's margin without. All three are None where there is no model, ``score`` and ``surprise``
    also for a baseline action, which is shown and not judged.
    """

    id: str
    action: Action
    score: float | None
    risk: float | None
    surprise: float | None
    model: ModelRef
    reasons: tuple[Reason, ...] = ()

    @property
    def severity(self) -> Severity:
        """The more severe of the action's and the window's; none for a baseline row and a user who is learned."""
        # Asked twice for each action, of which hardly any is worth a word.
        if (self.score is None or self.score < _LEAST) and (self.risk is None or self.risk < _LEAST):
            return Severity.NONE
        if self.action.baseline or self.model.state == "learning":
            return Severity.NONE
        return max(Severity.of(self.score), Severity.of_risk(self.risk), key=lambda severity: severity.rank)


class Alert(msgspec.Struct, frozen=True):
    """What somebody should look at: a burst of one user's alarming actions, told, then brought up to date."""

    id: str
    """Of the first alarming action; every update of the alert has the same."""
    user: str
    host: str
    """Empty where the log does not say, and for a user name's further hosts where it has many."""
    severity: Severity
    """The worst of the burst so far."""
    first: int
    """Time of the first alarming action, in seconds since 1970 UTC, by the log; 0 where it does not say..."""
    last: int
    """...and of the last."""
    count: int
    """Alarming actions so far."""
    update: int
    """0 when it is told for the first time, then one more each time."""
    closed: bool
    """Whether the burst is over: nothing more is told of it."""
    worst: Score
    """The action that was worst so far, as it was scored."""
    reasons: tuple[Reason, ...]
    """The weightiest of the burst, most bits first."""
