"""What a run knows of itself while it goes on: each user at a glance, and the run as a whole.

It is fed with what was scored, and read by whoever shows it: the status file, and the metrics, which ask from a
thread of their own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import msgspec

from anomaly.records import ALARM, Alert, ModelRef, Score, Severity
from anomaly.sources.interface import Source
from anomaly.tally import Tally

USERS = 10_000
"""Users that are told apart. Names are the log's to choose, and so is their number."""

SETTLED = 1.0
"""Seconds that something must have waited in the log to count as a lag: each new line waits a moment."""

_DAY = 86_400
_LONGEST = 256  # of a user's name or a host's; longer ones are told apart by nobody
_NOTICE, _WARNING, _CRITICAL = 20.0, 30.0, 50.0  # as in Severity; a test compares them
_UNKNOWN = ModelRef(None, None, "none")

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Moment = Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)]
Points = Annotated[float, msgspec.Meta(ge=0, le=100)]


class Row(msgspec.Struct, eq=False):
    """One user of one host. What is *of the day* is of the log's day that ``day`` says."""

    user: str
    host: str
    actions: Count = 0
    last: Moment = 0
    """Time of the last action, in seconds since 1970 UTC, by the log; 0 where it does not say."""
    risk: Points | None = None
    """After the last action, 0..100; None for a user without a model."""
    model: ModelRef = _UNKNOWN
    """What judged the last action."""
    day: Moment = 0
    """Days since 1970."""
    score_of_day: Points = 0.0
    risk_of_day: Points = 0.0
    """The highest of each."""
    notices: Count = 0
    warnings: Count = 0
    criticals: Count = 0
    """Actions of the day by severity."""
    alerts: Count = 0
    """Alerts of the day."""
    turn: Count = 0
    """When the user acted last: the higher, the later."""

    @property
    def name(self) -> tuple[str, str]:
        """Host and user."""
        return self.host, self.user

    def begin_day(self, day: int) -> None:
        """Forget what was of another day."""
        self.day, self.score_of_day, self.risk_of_day = day, 0.0, 0.0
        self.notices = self.warnings = self.criticals = self.alerts = 0


class Board:
    """Keeps what is known. Feeding it takes 0.2 microseconds an action.

    Parameters
    ----------
    tally
        What the run counts; read, never changed.
    clock
        Gives the time of day, in seconds since 1970 UTC.
    steady
        Gives seconds that never go back.
    """

    def __init__(
        self,
        tally: Tally,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = tally
        self.clock, self._steady = clock, steady
        self.started = clock()
        self.day = 0
        """The log's, as of the last line: days since 1970."""
        self.last = 0
        """Time of the last action by the log, in seconds since 1970 UTC."""
        self.backlog = 0
        """Bytes that wait in the log."""
        self.met: Counter[str] = Counter()
        """What the source met: rotations and the like."""
        self.alerts: Counter[Severity] = Counter()
        self.failures: Counter[str] = Counter()
        """Sinks that could not be written to, by name: how often."""
        self.others = 0
        """Actions of users who are not told apart (any more)."""
        self.changed: Callable[[], None] = _nothing
        """Called between two batches, at most twice a second."""
        self._rows: dict[tuple[str, str], Row] = {}
        self._turn = 0
        self._caught_up = self._safe = self._looked = steady()

    def take(self, scores: Sequence[Score]) -> None:
        """Take in what was scored."""
        self._turn += 1
        get = self._rows.get
        latest: dict[Row, Score] = {}
        for score in scores:
            action = score.action
            row = get((action.host, action.user)) or self._enter(action.host, action.user)
            if row is None:
                self.others += 1
                continue
            if action.time // _DAY != row.day:
                _turn_page(row, action.time)
            row.actions += 1
            rare, risk = score.score, score.risk
            if rare is not None and rare > row.score_of_day:
                row.score_of_day = rare
            if risk is not None and risk > row.risk_of_day:
                row.risk_of_day = risk
            if (rare is not None and rare >= _NOTICE) or (risk is not None and risk >= _NOTICE):
                _count(row, score)
            latest[row] = score
        for row, score in latest.items():
            row.last, row.risk, row.model, row.turn = score.action.time, score.risk, score.model, self._turn
        if scores and scores[-1].action.time:
            self.last = scores[-1].action.time
            self.day = self.last // _DAY

    def alerted(self, alerts: Iterable[Alert]) -> None:
        """Count alerts that are told for the first time; updates are the same alert, and change nothing."""
        for alert in alerts:
            if alert.update:
                continue
            self.alerts[alert.severity] += 1
            row = self._rows.get((alert.host, alert.user))
            if row is not None and alert.first // _DAY == row.day:  # in a backlog the row may be days ahead
                row.alerts += 1

    def failed(self, sink: str) -> None:
        """Count that a sink could not be written to."""
        self.failures[sink] += 1

    def look(self, source: Source, *, safe: bool) -> None:
        """Take note of how it goes; ``safe`` where the checkpoint on disk holds everything."""
        self._looked = self._steady()
        self.backlog, self.met = source.backlog, source.counters
        if not self.backlog:
            self._caught_up = self._looked
        if safe:
            self._safe = self._looked
        self.changed()

    @property
    def behind(self) -> float:
        """Seconds between the last action and now, where more than that waits in the log; else 0."""
        if self._looked - self._caught_up < SETTLED:
            return 0.0
        return max(self.clock() - self.last, 0.0) if self.last else self._steady() - self._caught_up

    @property
    def unsafe(self) -> float:
        """Seconds since everything was in a checkpoint: what a crash would repeat, and no more than that."""
        return max(self._steady() - self._safe, 0.0)

    @property
    def silent(self) -> float:
        """Seconds since the loop came by: more than a few, and it hangs."""
        return max(self._steady() - self._looked, 0.0)

    def rows(self) -> list[Row]:
        """Return all users; safe to ask from another thread."""
        return list(self._rows.values())

    def restore(self, rows: Iterable[Row], others: int) -> None:
        """Go on from what an earlier run knew of users."""
        self._rows = {row.name: row for row in rows}
        self.others = others
        self._turn = max((row.turn for row in self._rows.values()), default=0)
        self.last = max((row.last for row in self._rows.values() if row.turn == self._turn), default=0)
        self.day = self.last // _DAY

    def _enter(self, host: str, user: str) -> Row | None:
        """Begin the row of a user; None for one who is not told apart."""
        if len(host) > _LONGEST or len(user) > _LONGEST:
            return None
        if len(self._rows) >= USERS:
            self._make_room()
        row = self._rows[host, user] = Row(encodable(user), encodable(host), turn=self._turn)
        return row

    def _make_room(self) -> None:
        """Count those who have not acted for longest among the others: a tenth at once, so that this is rare."""
        rows = sorted(self._rows.items(), key=lambda item: item[1].turn)
        for name, row in rows[: max(USERS // 10, 1)]:
            self.others += row.actions
            del self._rows[name]


def encodable(text: str) -> str:
    r"""Give text that every file can hold: half a character, as a log may have, becomes an escape.

    >>> encodable("a\udc80"), encodable("日本")
    ('a\\udc80', '日本')
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _turn_page(row: Row, moment: int) -> None:
    """Begin another day of the log, unless this is only a late line of the day before."""
    day = moment // _DAY
    if moment and day != row.day - 1:
        row.begin_day(day)


def _count(row: Row, score: Score) -> None:
    """Count an action by its severity; in an attack there are thousands, and the score's own property is slow."""
    if score.action.baseline or score.model.state == "learning":
        return
    risk = score.risk or 0.0
    worst = max(score.score or 0.0, risk)
    if worst >= _CRITICAL:
        row.criticals += 1
    elif worst >= _WARNING or risk >= ALARM:
        row.warnings += 1
    else:
        row.notices += 1


def _nothing() -> None:
    """Do nothing."""
