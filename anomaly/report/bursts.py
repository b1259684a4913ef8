"""Which alarming actions belong together: one user's, with no long pause between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from anomaly.records import Alert, Reason, Score, Severity

PAUSE = 900
"""Seconds of the log after which the next alarming action of a user begins another burst."""

_REASONS = 5


class Bursts:
    """Groups scores into alerts, one a burst.

    Parameters
    ----------
    least
        Severity from which on an action is alarming.
    """

    def __init__(self, least: Severity = Severity.WARNING) -> None:
        self._least = least
        self._open: dict[str, Alert] = {}

    def take(self, scores: Sequence[Score]) -> list[Alert]:
        """Take scores in the order of the log; return the alerts that are new, or more than they were."""
        told: dict[str, Alert] = {}
        for score in scores:
            if score.severity.rank < self._least.rank:
                continue
            user = score.action.user
            alert = _longer(self._open.get(user), score)
            self._open[user] = told[alert.id] = alert
        return list(told.values())

    def flush(self) -> list[Alert]:
        """Return the alerts that were still open, as closed: the log has ended."""
        ended = [replace(alert, update=alert.update + 1, closed=True) for alert in self._open.values()]
        self._open.clear()
        return ended


def _longer(alert: Alert | None, score: Score) -> Alert:
    """Add an alarming action to a burst, or begin one."""
    action = score.action
    if alert is None or abs(action.time - alert.last) > PAUSE:
        return Alert(
            id=score.id,
            user=action.user,
            host=action.host,
            severity=score.severity,
            first=action.time,
            last=action.time,
            count=1,
            update=0,
            closed=False,
            worst=score,
            reasons=_weightiest(score.reasons),
        )
    return replace(
        alert,
        severity=max(alert.severity, score.severity, key=lambda severity: severity.rank),
        last=action.time,
        count=alert.count + 1,
        update=alert.update + 1,
        worst=max(alert.worst, score, key=weight),
        reasons=_weightiest((*alert.reasons, *score.reasons)),
    )


def weight(score: Score) -> float:
    """Order alarming actions: by severity, then by the higher of their two figures."""
    return 1000.0 * score.severity.rank + max(score.score or 0.0, score.risk or 0.0)


def _weightiest(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return the reasons with the most bits, each thing once."""
    best: dict[tuple[str, str, str], Reason] = {}
    for reason in sorted(reasons, key=lambda reason: -reason.bits):
        best.setdefault((reason.kind, reason.field, reason.value), reason)
    return tuple(best.values())[:_REASONS]
