"""What stands on the page, as text and numbers; how it looks is the template's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anomaly.corpus import day
from anomaly.model import Card
from anomaly.records import Alert, Score
from anomaly.report.novelty import New
from anomaly.report.profile import LEVELS, Alarm, Profile, weight
from anomaly.sinks.ndjson import timestamp
from anomaly.sinks.wording import sentence, summary

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_SHADES = 8
_SHADE_SCORE = 2.5  # mean scores of 20 and more have the darkest shade
_NEWS = 100
_LINES = 3
_SENTENCE = 200
_SUMMARY = 120


class Cell(NamedTuple):
    """One hour of the week."""

    text: str
    shade: int
    """0 for nothing, up to 8."""


@dataclass(frozen=True)
class Heat:
    """Hour by weekday."""

    caption: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Shown:
    """An action of an alert."""

    time: str
    summary: str
    score: Score
    line: str | None
    """As it stood in the log; None where it was not kept."""
    cut: bool


@dataclass(frozen=True)
class AlertView:
    """An alert with what explains it."""

    alert: Alert
    first: str
    last: str
    reasons: tuple[str, ...]
    shown: tuple[Shown, ...]
    """Its worst actions, the worst first."""


class Level(NamedTuple):
    """How often a score is exceeded: as it should be, and as it was."""

    level: int
    cells: tuple[tuple[int, float] | None, ...]
    """Observed and expected: scores and risks of what was learned from, then of what came after.

    None where there was nothing."""


@dataclass(frozen=True)
class UserView:
    """One user's section."""

    number: int
    profile: Profile
    version: int | None
    heats: tuple[Heat, ...]
    alerts: tuple[AlertView, ...]
    hidden: int
    """Alerts that are not shown: the least of them."""
    news: tuple[New, ...]
    more_news: int
    levels: tuple[Level, ...]
    card: tuple[tuple[str, str], ...]
    drawn: tuple[str, ...]
    """Charts that there are."""


def moment(seconds: int) -> str:
    """Write a time of the log for people, in UTC.

    >>> moment(1793585624), moment(0)
    ('2026-11-02 02:13:44', '-')
    """
    stamp = timestamp(seconds)
    return "-" if stamp is None else stamp.replace("T", " ").rstrip("Z")


def heats(profile: Profile) -> tuple[Heat, ...]:
    """Return when the user acts, and when strangely."""
    most = max(profile.activity)
    acted = [Cell(f"{n:,}", -(-_SHADES * n // most) if n else 0) for n in profile.activity]
    strange = [
        Cell(f"{total / n:.1f}", min(int(total / n / _SHADE_SCORE) + 1, _SHADES)) if n else Cell("-", 0)
        for total, n in zip(profile.strangeness, profile.judged, strict=True)
    ]
    return (
        _week("Activity: actions by hour and weekday", acted),
        _week("Surprise: mean score by hour and weekday", strange),
    )


def _week(caption: str, cells: Sequence[Cell]) -> Heat:
    rows = tuple((name, tuple(cells[24 * i : 24 * i + 24])) for i, name in enumerate(WEEKDAYS))
    return Heat(caption, rows)


def alerts(profile: Profile, most: int) -> tuple[AlertView, ...]:
    """Return the worst alerts, the newest first, each with its worst actions."""
    kept = sorted(profile.alerts, key=lambda alert: (-weight(alert.worst), -alert.count))[:most]
    kept.sort(key=lambda alert: (alert.first, alert.last))
    firsts = [alert.first for alert in kept]
    parts: list[list[Alarm]] = [[] for _ in kept]
    for alarm in profile.alarms.items():
        place = bisect_right(firsts, alarm.score.action.time) - 1
        if place >= 0 and alarm.score.action.time <= kept[place].last:
            parts[place].append(alarm)
    views = [_alert(alert, alarms) for alert, alarms in zip(kept, parts, strict=True)]
    return tuple(reversed(views))


def _alert(alert: Alert, alarms: list[Alarm]) -> AlertView:
    worst = sorted(alarms, key=lambda alarm: -weight(alarm.score))[:_LINES]
    shown = [_shown(alarm.score, alarm) for alarm in worst]
    if all(alarm.score.id != alert.worst.id for alarm in worst):
        shown = [_shown(alert.worst, None), *shown[: _LINES - 1]]
    reasons = tuple(sentence(reason, _SENTENCE) for reason in alert.reasons)
    return AlertView(alert, moment(alert.first), moment(alert.last), reasons, tuple(shown))


def _shown(score: Score, alarm: Alarm | None) -> Shown:
    line, cut = (alarm.line, alarm.cut) if alarm is not None else (None, False)
    return Shown(moment(score.action.time), summary(score.action, _SUMMARY), score, line, cut)


def news(profile: Profile) -> tuple[tuple[New, ...], int]:
    """Return what is new in the user's last week, and how many things more there are."""
    found = profile.news.week(profile.last)
    return tuple(found[:_NEWS]), max(len(found) - _NEWS, 0)


def levels(profile: Profile) -> tuple[Level, ...]:
    """Return how often scores and risks should be exceeded, and how often they were."""
    parts = (*profile.learned, *profile.since)
    return tuple(
        Level(level, tuple((part.of(level), part.expected(level)) if part.count else None for part in parts))
        for level in LEVELS
    )


def card(found: Card, version: int | None) -> tuple[tuple[str, str], ...]:
    """Return what a model says of itself; numbers and names of other users stay out of it."""
    rows = {
        "algorithm": found.algorithm.value,
        "version": "-" if version is None else f"{version}",
        "learned from": f"{day(found.first)} to {day(found.last)}, by the log's time",
        "actions": f"{found.actions:,}, {found.baseline:,} of them baseline rows",
        "days with actions": f"{found.days:,}",
        "hosts": ", ".join(found.hosts[:20]) + (" ..." if len(found.hosts) > 20 else ""),
        "rows that name nobody": "are this user's" if found.claims_host else "are not this user's",
        "users of the background": f"{found.others:,}" if found.others else "none: learned alone",
        "left out": ", ".join(found.without) or "nothing",
        "folds": f"{found.folds}",
        "epochs": "-" if found.epochs is None else f"{found.epochs}",
        "seed": f"{found.seed}",
        "fingerprint": found.fingerprint,
        "libraries": ", ".join(f"{name} {number}" for name, number in sorted(found.libraries.items())),
        "format": f"{found.schema}",
    }
    return tuple(rows.items())
