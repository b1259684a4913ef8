"""Several sinks of alerts at once: each gets every alert, whatever happens to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from anomaly.errors import AnomalyError
from anomaly.records import Alert
from anomaly.sinks.interface import AlertSink, Health

QUIET = 60.0
"""Seconds between two words about one sink."""


class _One:
    """A sink, and what was said of it."""

    def __init__(self, label: str, sink: AlertSink) -> None:
        self.label, self.sink = label, sink
        self.said_at: float | None = None
        self.said = 0, 0
        """How many waited and were lost when that was last said."""
        self.lost = 0
        """How many of the lost have been counted."""
        self.is_troubled = False


class Several(AlertSink):
    """Hands alerts to each sink in turn; what goes wrong is said, at most once a minute for each sink.

    Parameters
    ----------
    sinks
        Each with the name that it has in messages.
    say
        Told, as a sentence, what went wrong and was survived.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        sinks: Sequence[tuple[str, AlertSink]],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sinks = [_One(label, sink) for label, sink in sinks]
        self._say, self._clock = say, clock
        self.failed: Callable[[str], None] = lambda _: None
        """Called with the name of a sink each time that a call of it fails or it has lost more, for who counts."""

    def write(self, alerts: Sequence[Alert]) -> None:
        """Hand the alerts to all; raises only BrokenPipeError: whoever read our output has closed it."""
        if not alerts:
            return
        self._each(lambda sink: sink.write(alerts))
        self.check()

    def reopen(self) -> None:
        """Let each open anew what was renamed or replaced."""
        self._each(lambda sink: sink.reopen())

    def stop(self) -> None:
        """Let each begin to end."""
        self._each(lambda sink: sink.stop())

    def close(self) -> None:
        """Close all, and say what waits or is lost after that. All end at once, so this is no longer than one."""
        self.stop()
        for one in self._sinks:
            one.said_at = None
        try:
            self._each(lambda sink: sink.close())
        finally:
            for one in self._sinks:
                self._last_word(one)

    def check(self) -> None:
        """Say what is in the way of delivering, and when that is over. For calling now and then."""
        for one in self._sinks:
            health = one.sink.health()
            self._count(one, health)
            if health.trouble or health.lost > one.said[1]:
                counts = f"{health.waiting:,} wait, {health.lost:,} are lost"
                if self._tell(one, f"{health.trouble or 'some cannot be handed on'} ({counts})."):
                    one.said, one.is_troubled = health[:2], True
            elif one.is_troubled:
                one.is_troubled = False
                self._say(f"Alerts to {one.label} go through again.")

    def health(self) -> Health:
        """Add up how they are getting on."""
        found = [one.sink.health() for one in self._sinks]
        trouble = next((health.trouble for health in found if health.trouble), None)
        return Health(sum(health.waiting for health in found), sum(health.lost for health in found), trouble)

    def _each(self, do: Callable[[AlertSink], None]) -> None:
        broken: BrokenPipeError | None = None
        for one in self._sinks:
            try:
                do(one.sink)
            except BrokenPipeError as error:
                broken = error
            except (OSError, AnomalyError) as error:
                self._fail(one)
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                is_said = self._tell(one, f"{reason.rstrip('.')}.")
                with suppress(OSError):
                    health = one.sink.health()
                    one.lost = health.lost  # by this call, which has been counted
                    if is_said:
                        one.said = health[:2]
        if broken is not None:
            raise broken

    def _count(self, one: _One, health: Health) -> None:
        if health.lost > one.lost:
            one.lost = health.lost
            self._fail(one)

    def _fail(self, one: _One) -> None:
        self.failed(one.label)

    def _last_word(self, one: _One) -> None:
        """Say how it ended, where that has not been said: a minute's first word is soon too small."""
        health = one.sink.health()
        self._count(one, health)
        if health[:2] not in ((0, 0), one.said):
            counts = f"{health.waiting:,} wait for the next run, {health.lost:,} are lost"
            self._say(f"Alerts to {one.label}, at the end: {counts}.")
            one.said = health[:2]

    def _tell(self, one: _One, what: str) -> bool:
        now = self._clock()
        if one.said_at is not None and now - one.said_at < QUIET:
            return False
        one.said_at = now
        self._say(f"Alerts to {one.label}: {what}")
        return True
