"""What the report keeps of one user while the log goes by: figures and maxima, never the log itself."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import NamedTuple

from msgspec.structs import replace

from anomaly.model import Card
from anomaly.osquery import Action
from anomaly.records import Alert, ModelRef, Score, Severity
from anomaly.report.novelty import Novelties
from anomaly.report.series import Maxima
from anomaly.tokenizer import Tokenizer

LEVELS = (10, 20, 30, 40, 50)
"""Scores for which the page compares how often they should be exceeded with how often they were."""

MAX_LINE = 1500
"""Bytes of a log line that are kept..."""

MAX_VALUE, MAX_COLUMNS = 300, 40
"""...and characters of a value, and columns of an action."""

_DAY = 86_400
_THURSDAY = 3  # 1 January 1970, counted from Monday


class Point(NamedTuple):
    """A figure in the course of the log."""

    value: float
    number: int
    """Of the user's actions, from 1."""
    time: int


class Alarm(NamedTuple):
    """An alarming action, with the line of the log that it stood in."""

    number: int
    score: Score
    line: str
    cut: bool
    """Whether the line is longer than what is kept of it."""


class Room(NamedTuple):
    """How much may be kept of each user."""

    points: int = 2000
    alarms: int = 2000
    alerts: int = 200
    news: int = 5000

    @classmethod
    def among(cls, users: int) -> Room:
        """Share what there is: of a thousand users less is kept of each than of one."""
        users = max(users, 1)
        return cls(
            points=_share(200_000, users, 200, 2000),
            alarms=_share(20_000, users, 50, 2000),
            alerts=_share(4_000, users, 10, 200),
            news=_share(50_000, users, 100, 5000),
        )


class Exceeded:
    """How often a figure was as high as each of ``LEVELS``, of how many."""

    def __init__(self) -> None:
        self.count = 0
        self._tens = [0] * 11

    def add(self, value: float) -> None:
        """Take a figure in 0..100."""
        self.count += 1
        self._tens[int(value) // 10] += 1

    def of(self, level: int) -> int:
        """Return how many were ``level`` or more: a multiple of ten."""
        return sum(self._tens[level // 10 :])

    def expected(self, level: int) -> float:
        """Return how many should be, by what a score means."""
        return self.count * 10 ** (-level / 10)


class Profile:
    """One user's part of the report.

    Parameters
    ----------
    user
        Name of the model.
    card
        Of the model; None where it cannot be used.
    room
        How much to keep.
    """

    def __init__(self, user: str, card: Card | None, room: Room) -> None:
        self.user = user
        self.card = card
        self.model: ModelRef | None = None
        self.actions = self.baseline = self.scored = 0
        self.first = self.last = 0
        self.top_score = self.top_risk = Point(0.0, 0, 0)
        self.severities: Counter[Severity] = Counter()
        self.activity = [0] * 168
        """Actions by hour of the week, UTC, from Monday on."""
        self.strangeness = [0.0] * 168
        """Sum of their scores."""
        self.judged = [0] * 168
        """How many of them had one."""
        self.learned = (Exceeded(), Exceeded())
        """Scores and risks of what the model has learned from, by time..."""
        self.since = (Exceeded(), Exceeded())
        """...and of what came after."""
        self.scores: Maxima[Point] = Maxima(room.points)
        self.risks: Maxima[Point] = Maxima(room.points)
        self.alarms: Maxima[Alarm] = Maxima(room.alarms)
        self.news = Novelties(room.news)
        self._alerts: dict[str, tuple[float, int, Alert]] = {}
        self._most_alerts = room.alerts
        self.forgotten = 0
        """Alerts that there was no room for: the least of them."""

    @property
    def alerts(self) -> list[Alert]:
        """The alerts that were kept, in the order in which they began."""
        return [alert for _, _, alert in self._alerts.values()]

    def add(self, score: Score, line: bytes, tokenizer: Tokenizer | None, *, alarming: bool) -> None:
        """Take the user's next action."""
        self.actions += 1
        self.model = score.model
        action, time = score.action, score.action.time
        if time:
            self.first = min(self.first or time, time)
            self.last = max(self.last, time)
        if action.baseline:
            self.baseline += 1
            return
        hour = (time // 3600 + 24 * _THURSDAY) % 168 if time else None
        if hour is not None:
            self.activity[hour] += 1
        if score.score is None or score.risk is None:
            return
        self._judge(score.score, score.risk, time, hour)
        self.severities[score.severity] += 1
        if alarming:
            shown = replace(score, action=_short(score))
            text = line[:MAX_LINE].decode("utf-8", "replace")
            self.alarms.add(weight(score), Alarm(self.actions, shown, text, len(line) > MAX_LINE))
        if self.card is None or not self.card.first <= time <= self.card.last:
            self.news.note(score, tokenizer)

    def _judge(self, score: float, risk: float, time: int, hour: int | None) -> None:
        """Take both figures of an action."""
        self.scored += 1
        if hour is not None:
            self.judged[hour] += 1
            self.strangeness[hour] += score
        learned = self.card is not None and time <= self.card.last
        scores, risks = self.learned if learned else self.since
        scores.add(score)
        risks.add(risk)
        if score > self.top_score.value:
            self.top_score = Point(score, self.actions, time)
        if risk > self.top_risk.value:
            self.top_risk = Point(risk, self.actions, time)
        self.scores.add(score, Point(score, self.actions, time))
        self.risks.add(risk, Point(risk, self.actions, time))

    def alert(self, alert: Alert) -> None:
        """Take an alert, or what it has become."""
        kept = replace(alert, worst=replace(alert.worst, action=_short(alert.worst)))
        self._alerts[alert.id] = weight(alert.worst), alert.count, kept
        if len(self._alerts) > self._most_alerts:
            del self._alerts[min(self._alerts.values(), key=itemgetter(0, 1))[2].id]
            self.forgotten += 1


def _share(all_of_it: int, users: int, least: int, most: int) -> int:
    return min(max(all_of_it // users, least), most) // 2 * 2


def _short(score: Score) -> Action:
    """Return an action with no more of its columns than a page shows."""
    action = score.action
    columns = list(action.columns.items())[:MAX_COLUMNS]
    return replace(action, columns={_cut(name): _cut(value) for name, value in columns})


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def weight(score: Score) -> float:
    """Order alarming actions: by severity, then by the higher of their two figures."""
    return 1000.0 * score.severity.rank + max(score.score or 0.0, score.risk or 0.0)
