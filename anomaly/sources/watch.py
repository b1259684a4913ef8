"""A hint that something happened in a directory. Nothing depends on it: who waits looks for himself."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

RETRY = 30.0
"""Seconds until a watch that could not be started is tried again."""

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileClosedEvent,
]
"""Not FileOpenedEvent and FileClosedNoWriteEvent: our own reading would wake us."""


class _Wake(FileSystemEventHandler):
    """Sets a flag and can do nothing else: an exception in a handler ends watchdog's dispatch for ever."""

    def __init__(self, flag: threading.Event) -> None:
        self._flag = flag

    def dispatch(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - which event it was does not matter
        self._flag.set()


class DirectoryWatch:
    """Waits until something changes in a directory, or until the time is up.

    The directory may be absent, appear, and be replaced by another: watchdog follows none of these, so the
    watch is set anew whenever the directory at the path is not the one that is watched. Where inotify gives
    nothing (its limit is reached, NFS, overlay mounts) waiting takes the whole time, and no more.

    Parameters
    ----------
    directory
        The directory, of which only direct entries count.
    counters
        Where ``watch_errors`` is counted.
    """

    def __init__(self, directory: Path, counters: Counter[str]) -> None:
        self._directory = directory
        self._counters = counters
        self._flag = threading.Event()
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        self._retry_at = 0.0

    def wait(self, timeout: float) -> None:
        """Return at the next event, or after ``timeout`` seconds."""
        self._arm()
        if self._flag.wait(timeout):
            self._flag.clear()

    def close(self) -> None:
        """Stop and join watchdog's threads."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            observer.stop()
            observer.join()

    def _arm(self) -> None:
        """Watch the directory that is at the path now."""
        try:
            status = os.stat(self._directory)  # noqa: PTH116 - four times a second
            present = (status.st_dev, status.st_ino)
        except OSError:
            present = None
        if present == self._watched or time.monotonic() < self._retry_at:
            return
        self.close()
        if present is not None:
            self._start(present)

    def _start(self, present: tuple[int, int]) -> None:
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            observer.schedule(_Wake(self._flag), str(self._directory), event_filter=_EVENTS)
            observer.start()
        except (OSError, RuntimeError):  # the inotify limit, or no more threads
            if observer is not None:
                observer.stop()  # one that never started has a thread all the same: its inotify reader
            self._counters["watch_errors"] += 1
            self._retry_at = time.monotonic() + RETRY
            return
        self._observer, self._watched = observer, present
        self._flag.set()  # what happened before the watch was there raised no event
