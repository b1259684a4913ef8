"""Work that ends when it is asked to, whatever it waits for: a thread does it, and the main one hears signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType

GRACE = 8.0
"""Seconds that a clean end may take: Spark's listing of a directory cannot be interrupted."""

TWICE = 1.0
"""Seconds within which a second request is the same one: a hand or a script often gives two."""

_LOOK = 0.5


class _Requests:
    """What signals have asked for."""

    def __init__(self, leave: Callable[[], object]) -> None:
        self.stop = Event()
        self._leave = leave
        self._asked_at: float | None = None

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        """Ask for the end; a second time, leave at once."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()  # first: a signal amid the next line must not set the event, too
            self.stop.set()
        elif self._waited() > TWICE:
            self._leave()

    def overdue(self, grace: float) -> bool:
        """Say whether the end takes too long."""
        return self._asked_at is not None and self._waited() > grace

    def _waited(self) -> float:
        return time.monotonic() - (self._asked_at or 0.0)


def attended(work: Callable[[Event], None], leave: Callable[[], object], grace: float = GRACE) -> None:
    """Do work in a thread until it is done; raise what it raises, unless it was asked to end.

    Python runs a signal's handler in the main thread alone, and only between two steps: Spark's calls of Java are
    such steps, of any length, and must not be torn apart.

    Parameters
    ----------
    work
        Given an event that SIGTERM and SIGINT set: then it is to end.
    leave
        Ends the process. Called where the end is asked for again, or has not come after ``grace``.
    grace
        Seconds.
    """
    failed: list[BaseException] = []
    done = Event()

    def run() -> None:
        # What Spark starts here inherits this: its processes get a terminal's Ctrl-C, too, and would tell of it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            work(requests.stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)
        finally:
            done.set()

    requests = _Requests(leave)
    thread = Thread(target=run, name="anomaly fleet", daemon=True)
    with _heard(requests):
        thread.start()
        while not done.wait(_LOOK):
            if requests.overdue(grace):
                leave()
        thread.join()
    if failed and not requests.stop.is_set():
        raise failed[0]


@contextmanager
def _heard(requests: _Requests) -> Iterator[None]:
    before = [(one, signal.signal(one, requests.hear)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)
