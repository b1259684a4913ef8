"""A hint that something happened in a directory. Nothing depends on it: who waits looks for himself."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import suppress
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


class LogWatch:
    """Waits until something changes where a log is, or until the time is up.

    That is the log's directory and, where the log is a symbolic link, that of the file it points to. Either may
    be absent, appear, and be replaced by another: watchdog follows none of these, so the watch is set anew
    whenever what is there is not what is watched, and when its threads have died. Where inotify gives nothing
    (its limit is reached, NFS, overlay mounts) waiting takes the whole time, and no more.

    Parameters
    ----------
    log
        The log, of whose directory only direct entries count.
    counters
        Where ``watch_errors`` is counted.
    """

    def __init__(self, log: Path, counters: Counter[str]) -> None:
        self._log = log.absolute()
        self._counters = counters
        self._flag = threading.Event()
        self._observer: BaseObserver | None = None
        self._watched: dict[str, tuple[int, int]] = {}
        self._retry_at = 0.0

    def wait(self, timeout: float) -> None:
        """Return at the next event, or after ``timeout`` seconds."""
        self._arm()
        if self._flag.wait(timeout):
            self._flag.clear()

    def close(self) -> None:
        """Stop and join watchdog's threads."""
        observer, self._observer, self._watched = self._observer, None, {}
        if observer is not None:
            observer.stop()
            observer.join()

    def _arm(self) -> None:
        """Watch the directories that are there now."""
        if time.monotonic() < self._retry_at:
            return
        present = self._present()
        dead = self._observer is not None and not _alive(self._observer)
        if dead:
            self._failed()
        elif present != self._watched:
            self.close()
            if present:
                self._start(present)

    def _present(self) -> dict[str, tuple[int, int]]:
        """Return the directories to watch, each with what it is at this moment."""
        folders = [str(self._log.parent)]
        if os.path.islink(self._log):  # noqa: PTH114 - Path.is_symlink raises where it may not look
            folders.append(os.path.dirname(os.path.realpath(self._log)))  # noqa: PTH120 - four times a second
        present = {}
        for folder in folders:
            with suppress(OSError):
                status = os.stat(folder)  # noqa: PTH116 - the same
                present[folder] = (status.st_dev, status.st_ino)
        return present

    def _start(self, present: dict[str, tuple[int, int]]) -> None:
        observer: BaseObserver | None = None
        try:
            self._observer = observer = Observer()
            for folder in present:
                observer.schedule(_Wake(self._flag), folder, event_filter=_EVENTS)
            observer.start()
        except (OSError, RuntimeError):  # the inotify limit, or no more threads
            self._observer = None
            if observer is not None:
                observer.stop()  # one that never started has a thread all the same: its inotify reader
            self._failed()
            return
        self._watched = present
        self._flag.set()  # what happened before the watch was there raised no event

    def _failed(self) -> None:
        """Do without for a while."""
        self.close()
        self._counters["watch_errors"] += 1
        self._retry_at = time.monotonic() + RETRY


def _alive(observer: BaseObserver) -> bool:
    """Whether events still come through: an exception ends either thread, and watchdog tells nobody."""
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
