"""From scores to alerts: what alarms, in as few words as it takes.

A burst of one user is one alert: told at once, brought up to date as it grows (at 4, 16, 64... alarming actions,
and when it becomes more severe), and closed when the user's own actions have been quiet for a while: the clock
plays no part, so that suspicion that lasts over a night is not told again in the morning. A hundred thousand
alarming actions are a dozen records. All goes by the log's time and order, not by the clock, so the alerts of a
log are the same however it was read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from anomaly.alert_rules import AtLeast, Budget, Rates, Rule, Unless
from anomaly.burst import Burst, key_of, thing_of
from anomaly.cool_down import CoolDown, Key, Told
from anomaly.identity import keys
from anomaly.osquery import Action
from anomaly.records import Alert, Score, Severity
from anomaly.suppression import by_now, newest_of

GAP = 1800
"""Seconds of log time by which an alarm that is dated back ends a burst, and within which a user's
hosts are counted."""

QUIET = 100
"""Own actions that did not alarm after which a burst is over: a window."""

MOST_OPEN = 256
"""Bursts at a time; where there are more, the one that alarmed longest ago is closed."""

MOST_HOSTS = 16
"""Bursts of one user name within ``GAP``; what alarms on further hosts is one burst, of no host."""

EXCUSED = 100
"""Actions of a user's window, which may hold what was excused after it came in."""


class _State(msgspec.Struct, omit_defaults=True):
    """What a restart goes on from."""

    open: list[Burst] = []
    told: list[Told] = []
    excused: list[tuple[Key, int]] = []
    rates: Rates = []
    newest: int = 0


class Alerting:
    """Makes alerts of scores.

    Parameters
    ----------
    rules
        Asked in turn of each score that has a severity, until one holds it back.

    Notes
    -----
    It holds at most ``MOST_OPEN`` bursts, each with one action of 8,192 characters at most, and of ``MOST_USERS``
    users what they were told of last.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._open: OrderedDict[Key, Burst] = OrderedDict()
        """Whoever alarmed last is at the end."""
        self._cool_down = CoolDown()
        self._excused: dict[Key, int] = {}
        """By user, how many actions more the window may hold what was excused."""
        self._newest = 0
        """Time of the log so far."""

    @classmethod
    def by(
        cls, alert_on: Severity, budget: float | None, silences: Callable[[Action], bool] | None = None
    ) -> Alerting:
        """Alert on what is at least so severe, or (with a budget) on what is rarest, unless it is suppressed."""
        rules: list[Rule] = [] if silences is None else [Unless(silences)]
        rules.append(AtLeast(alert_on) if budget is None else Budget(budget))
        return cls(rules)

    def take(self, scores: Sequence[Score]) -> list[Alert]:
        """Take scores, in the order of the log, and return what is to be told, in that order."""
        alerts: list[Alert] = []
        for score in scores:
            self._newest = newest_of(self._newest, score.action)
            alarms = score.severity is not Severity.NONE and self._alarms(score)
            if self._open:
                alerts += self._over_by(score.action, alarms=alarms)
            if alarms:
                alerts += self._count(score)
            if self._excused and score.risk is not None:  # one that came, or could have come, into the window
                self._count_down(key_of(score.action))
        return alerts

    def flush(self) -> list[Alert]:
        """Close every burst: nothing more will come."""
        return [alert for key in list(self._open) for alert in self._close(key)]

    def excuse(self, silences: Callable[[Action], bool]) -> list[Alert]:
        """Close the bursts whose worst action is suppressed from now on.

        What such actions have brought into the window leaves it within a hundred actions. Until then nothing
        alarms for this user, because risk alone does.
        """
        gone = [key for key, burst in self._open.items() if silences(by_now(burst.worst.action, self._newest))]
        self._excused |= dict.fromkeys((key_of(self._open[key].worst.action) for key in gone), EXCUSED)
        return [alert for key in gone for alert in self._close(key)]

    def export(self) -> bytes:
        """Return what :meth:`restore` goes on from, as JSON."""
        rates = [rate for rule in self.rules if isinstance(rule, Budget) for rate in rule.export()]
        return msgspec.json.encode(
            _State(
                list(self._open.values()),
                self._cool_down.export(),
                list(self._excused.items()),
                rates,
                self._newest,
            )
        )

    @staticmethod
    def without(saved: bytes, user: str) -> bytes:
        """Return what :meth:`export` gave without a user (or ``user@host``); as it is where it does not fit."""
        try:
            state = msgspec.json.decode(saved, type=_State)
        except (ValueError, RecursionError):
            return saved

        def other(host: str, name: str) -> bool:
            return user not in keys(host, name)

        return msgspec.json.encode(
            _State(
                [
                    burst
                    for burst in state.open
                    if other(burst.host, burst.user) and other(burst.worst.action.host, burst.user)
                ],
                [entry for entry in state.told if other(*entry[0])],
                [entry for entry in state.excused if other(*entry[0])],
                [rate for rate in state.rates if other(rate.host, rate.user)],
                state.newest,
            )
        )

    def restore(self, saved: bytes) -> None:
        """Go on from what :meth:`export` gave; where it does not fit, begin anew."""
        try:
            state = msgspec.json.decode(saved, type=_State)
        except (ValueError, RecursionError):
            return
        self._open = OrderedDict(((burst.host, burst.user), burst) for burst in state.open[-MOST_OPEN:])
        self._cool_down.restore(state.told)
        self._newest = state.newest
        self._excused = {key: min(left, EXCUSED) for key, left in state.excused}
        for rule in self.rules:
            if isinstance(rule, Budget):
                rule.restore(state.rates)

    def _alarms(self, score: Score) -> bool:
        if self._excused and key_of(score.action) in self._excused:
            return False
        return all(rule(score, self._newest) is not None for rule in self.rules)

    def _over_by(self, action: Action, *, alarms: bool) -> Iterator[Alert]:
        """Close what is over when an action comes."""
        key = key_of(action)
        crowd = _crowd(key)
        key = key if key in self._open else crowd
        burst = self._open.get(key)
        if burst is None:
            return
        burst.quiet += not alarms
        # One line that is dated ahead must not hold a burst open.
        steps_back = alarms and 0 < action.time < burst.last - GAP
        if steps_back or burst.quiet >= QUIET:
            yield from self._close(key)

    def _count(self, score: Score) -> Iterator[Alert]:
        """Let an alarming action count in its user's burst, and tell of that where it is due."""
        key = self._place(score.action)
        burst = self._open.get(key)
        if burst is None:
            if len(self._open) >= MOST_OPEN:
                yield from self._close(next(iter(self._open)))
            burst = self._open[key] = Burst.of(score)
            burst.host = key[0]
        self._open.move_to_end(key)
        graver = burst.add(score)
        thing = thing_of(score)
        told = burst.update >= 0
        if (
            graver
            or (told and burst.count >= burst.due)
            or (not told and self._cool_down.is_over(key, thing, score))
        ):
            self._cool_down.remember(key, thing, burst)
            yield burst.tell()

    def _place(self, action: Action) -> Key:
        """Return whose burst an alarm belongs to: the log chooses how many hosts a user name has."""
        key = key_of(action)
        if key in self._open:
            return key
        near = (
            1
            for (_, user), burst in self._open.items()
            if user == key[1] and (not burst.last or not action.time or abs(action.time - burst.last) < GAP)
        )
        return _crowd(key) if sum(near) >= MOST_HOSTS else key

    def _close(self, key: Key) -> Iterator[Alert]:
        """Take a burst out; one that was told is told to be over."""
        burst = self._open.pop(key)
        if burst.update >= 0:
            self._cool_down.remember(key, burst.thing, burst)
            yield burst.tell(closed=True)

    def _count_down(self, key: Key) -> None:
        left = self._excused.pop(key, 0)
        if left > 1:
            self._excused[key] = left - 1


def _crowd(key: Key) -> Key:
    """Return the key of the burst of a user name's further hosts."""
    return "", key[1]
