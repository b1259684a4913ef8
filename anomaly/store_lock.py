"""One writer at a time in a directory of models; whoever finds another one at work waits a while, once."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomaly.errors import StateLocked

PATIENCE = 10.0
"""Seconds to wait for another process that writes: it takes milliseconds, unless something is wrong."""

BRIEF = 1.0
"""The same for what is learned while a log is followed: nothing is scored meanwhile, and a stop may take 5 s."""

_LOOK = 0.05  # seconds between two tries

NAME = ".lock"


class WriteLock:
    """The lock of a directory.

    A wait that was in vain is not repeated: who writes for a thousand users would wait a thousand times. From
    then on each try is one look, until one succeeds.

    Parameters
    ----------
    directory
        Its name, for the message.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._in_vain = False

    @contextmanager
    def held(self, folder: int, patience: float | None = None) -> Iterator[None]:
        """Hold the lock of an open directory, waiting so many seconds for it, ``PATIENCE`` by default.

        Raises
        ------
        StateLocked
            Another process holds it.
        OSError
            The file cannot be made or used.
        """
        deadline = time.monotonic() + (0.0 if self._in_vain else PATIENCE if patience is None else patience)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(NAME, flags, 0o600, dir_fd=folder)
        try:
            while not _taken(descriptor):
                if time.monotonic() >= deadline:
                    self._in_vain = True
                    raise StateLocked(
                        f"Another process is writing models to {self._directory}. Try again when it has ended."
                    )
                time.sleep(_LOOK)
            self._in_vain = False
            yield
        finally:
            os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
