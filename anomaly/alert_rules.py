"""Which scores alarm: small callables, Score to Score or None, asked in turn of each that has a severity.

:class:`anomaly.records.Score` gives none to baseline rows and to users who are still learned, so neither alarms.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from anomaly.burst import key_of
from anomaly.osquery import Action
from anomaly.records import Score, Severity
from anomaly.suppression import by_now

Rule = Callable[[Score, int], Score | None]
"""Passes a score on, or holds it back; told the newest time of the log so far, in seconds."""

SLOT = 1800
"""Seconds of log time within which a user's alarms are taken as one, to tell how often they come: half an hour."""

DAYS = 7
"""Days of log time that a budget looks back."""

MOST_USERS = 1024
"""Users of whom a rule remembers something; whoever alarmed longest ago is forgotten first."""

_SLOTS = 86_400 // SLOT


class Unless:
    """Holds back what somebody has said is fine."""

    def __init__(self, silences: Callable[[Action], bool]) -> None:
        self._silences = silences

    def __call__(self, score: Score, newest: int = 0) -> Score | None:
        """Pass a score on unless its action is suppressed, by the newest day so far."""
        return None if self._silences(by_now(score.action, newest)) else score


class AtLeast:
    """Passes on what is at least so severe by its risk: one action alone is never enough for an alert."""

    def __init__(self, severity: Severity) -> None:
        self._rank = severity.rank

    def __call__(self, score: Score, newest: int = 0) -> Score | None:  # noqa: ARG002 - of the log's time so far
        """Pass a score on if it is severe enough."""
        return score if Severity.of_risk(score.risk).rank >= self._rank else None


class Rate(msgspec.Struct):
    """Peak risks of one user."""

    host: str
    user: str
    first: int
    """Half hour, counted from 1970, of the first risk that had a severity."""
    slot: int
    """The half hour at hand..."""
    peak: float = 0.0
    """...and its highest risk."""
    days: list[tuple[int, list[float]]] = []
    """Of the last days, the highest risks of their half hours that are over, highest first."""
    threshold: float = 0.0


Rates = list[Rate]


class Budget:
    """Holds each user to about so many alerts a day, by a threshold that follows the user's own rate.

    An alert tells of a burst, not of an action. So the budget counts half hours of log time, each by its highest
    risk. The threshold is the risk that, in the last ``DAYS`` days, as many half hours reached as the budget
    allows for that time. Users with frequent high risks get a high threshold; quiet users alert from ``notice``
    upwards: a budget is spent on what is rarest, and need not be spent. In the first day with a severity the rate
    is unknown, and ``warning`` is required; the same if the log gives no time. The half hour at hand never raises
    its own threshold, and one day counts with twice the budget at most, so that an outburst does not buy silence
    for a week. The score of a single action plays no part: see :class:`AtLeast`.

    It remembers ``2 * alerts`` risks a day and user, 48 at most, of ``MOST_USERS`` users.

    Parameters
    ----------
    alerts
        Alerts per user and day, above 0; 0.5 is one in two days.
    """

    def __init__(self, alerts: float) -> None:
        self.alerts = alerts
        self._kept = max(min(round(2 * alerts), _SLOTS), 1)
        self._rates: OrderedDict[tuple[str, str], Rate] = OrderedDict()

    def __call__(self, score: Score, newest: int = 0) -> Score | None:  # noqa: ARG002 - of the log's time so far
        """Pass a score on if its risk is among the rarest of its user's."""
        severity, figure = Severity.of_risk(score.risk), score.risk or 0.0
        if severity is Severity.NONE:
            return None
        warns = severity.rank >= Severity.WARNING.rank
        if not score.action.time:
            return score if warns else None
        slot = score.action.time // SLOT
        key = key_of(score.action)
        rate = self._rates.pop(key, None)
        if rate is None or slot < rate.slot - _SLOTS:  # the clock was set back by more than a day: begin anew
            rate = Rate(*key, slot, slot)
        self._rates[key] = rate
        if len(self._rates) > MOST_USERS:
            self._rates.popitem(last=False)
        if slot > rate.slot:
            self._finish(rate, slot)
        rate.peak = max(rate.peak, figure)
        known = rate.slot - rate.first >= _SLOTS
        return score if (figure >= rate.threshold if known else warns) else None

    def _finish(self, rate: Rate, slot: int) -> None:
        """Take the half hour at hand among those that are over, and begin another."""
        day, today = rate.slot // _SLOTS, slot // _SLOTS
        if not rate.days or rate.days[-1][0] != day:
            rate.days = [*rate.days, (day, [])]
        peaks = sorted([*rate.days[-1][1], rate.peak], reverse=True)[: self._kept]
        rate.days = [(one, found) for one, found in (*rate.days[:-1], (day, peaks)) if one >= today - DAYS]
        allowed = max(int(self.alerts * min(max(today - rate.first // _SLOTS, 1), DAYS)), 1)
        ranked = sorted((peak for _, found in rate.days for peak in found), reverse=True)
        rate.threshold = ranked[allowed - 1] if len(ranked) >= allowed else 0.0
        rate.slot, rate.peak = slot, 0.0

    def export(self) -> Rates:
        """Return what it remembers."""
        return list(self._rates.values())

    def restore(self, rates: Rates) -> None:
        """Go on from what :meth:`export` gave."""
        self._rates = OrderedDict(((rate.host, rate.user), rate) for rate in rates[-MOST_USERS:])
