"""Several sinks of alerts at once: each gets every alert, whatever happens to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from anomaly.errors import AnomalyError
from anomaly.records import Alert
from anomaly.sinks.interface import AlertSink, Health

QUIET = 60.0
"""Seconds between two words about one sink."""


class Standing(NamedTuple):
    """How one of the sinks is getting on, for whoever shows that."""

    label: str
    failures: int
    """Calls that failed."""
    health: Health


class _One:
    """A sink, and what was said of it."""

    def __init__(self, label: str, sink: AlertSink) -> None:
        self.label, self.sink = label, sink
        self.failures = 0
        self.said_at: float | None = None
        self.said_lost = 0
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
        """Called with the name of a sink each time that a call of it fails, for who counts."""

    def write(self, alerts: Sequence[Alert]) -> None:
        """Hand the alerts to all; raises only BrokenPipeError: whoever read our output has closed it."""
        if not alerts:
            return
        self._each(lambda sink: sink.write(alerts))
        self.check()

    def reopen(self) -> None:
        """Let each open anew what was renamed or replaced."""
        self._each(lambda sink: sink.reopen())

    def close(self) -> None:
        """Close all, and say what is lost by that."""
        for one in self._sinks:
            one.said_at = None
        self._each(lambda sink: sink.close())

    def check(self) -> None:
        """Say what is in the way of delivering, and when that is over. For calling now and then."""
        for one in self._sinks:
            health = one.sink.health()
            if health.trouble or health.lost > one.said_lost:
                counts = f"{health.waiting:,} wait, {health.lost:,} are lost"
                if self._tell(one, f"{health.trouble or 'some cannot be handed on'} ({counts})."):
                    one.said_lost, one.is_troubled = health.lost, True
            elif one.is_troubled:
                one.is_troubled = False
                self._say(f"Alerts to {one.label} go through again.")

    def health(self) -> Health:
        """Add up how they are getting on."""
        found = [one.sink.health() for one in self._sinks]
        trouble = next((health.trouble for health in found if health.trouble), None)
        return Health(sum(health.waiting for health in found), sum(health.lost for health in found), trouble)

    def standings(self) -> list[Standing]:
        """Tell how each is getting on."""
        return [Standing(one.label, one.failures, one.sink.health()) for one in self._sinks]

    def _each(self, do: Callable[[AlertSink], None]) -> None:
        broken: BrokenPipeError | None = None
        for one in self._sinks:
            try:
                do(one.sink)
            except BrokenPipeError as error:
                broken = error
            except (OSError, AnomalyError) as error:
                one.failures += 1
                self.failed(one.label)
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                if self._tell(one, f"{reason.rstrip('.')}."):
                    with suppress(OSError):
                        one.said_lost = one.sink.health().lost
        if broken is not None:
            raise broken

    def _tell(self, one: _One, what: str) -> bool:
        now = self._clock()
        if one.said_at is not None and now - one.said_at < QUIET:
            return False
        one.said_at = now
        self._say(f"Alerts to {one.label}: {what}")
        return True
