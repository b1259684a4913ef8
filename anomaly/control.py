"""What signals ask of a loop: to stop, to load anew what it was given, and not to take for ever."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

OVERDUE = 4.0
"""Seconds that a clean stop may take: systemd and people are promised five."""


_TWICE = 1.0
"""Seconds within which a second request to stop is the same one: a hand or a script often gives two."""


class Overdue(BaseException):
    """The stop takes too long, or was asked for twice: whoever takes our output may have stopped taking it.

    No Exception, so that nothing that survives errors survives this.
    """


class Control:
    """Turns signals into flags that a loop looks at between two batches.

    SIGTERM and SIGINT ask it to stop, SIGHUP to load its settings and models anew. Where the stop is overdue, or
    is asked for again, :class:`Overdue` is raised wherever the program is.

    Parameters
    ----------
    terminal
        Whether a person watches: then SIGHUP says that the terminal is gone, and asks to stop.
    overdue
        Called instead of raising :class:`Overdue`, for whom an event loop would not let it pass.
    """

    def __init__(self, *, terminal: bool = False, overdue: Callable[[], object] | None = None) -> None:
        self.stopped = False
        self._late = overdue or _overdue
        self._asked_at = 0.0
        self._hangup = False
        self._terminal = terminal
        self._before: dict[signal.Signals, Any] = {}

    def hung_up(self) -> bool:
        """Whether a reload was asked for since this was last asked."""
        asked, self._hangup = self._hangup, False
        return asked

    def stop(self) -> None:
        """Ask to stop, as a signal would."""
        self._stop(signal.SIGTERM, None)

    def __enter__(self) -> Self:
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._stop if self._terminal else self._reload,
            signal.SIGALRM: self._overdue,
        }
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopped:
            if time.monotonic() - self._asked_at > _TWICE:
                self._late()
            return
        self.stopped, self._asked_at = True, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, OVERDUE)

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._hangup = True

    def _overdue(self, _number: int, _frame: FrameType | None) -> None:
        self._late()


def _overdue() -> None:
    raise Overdue
