"""The file that is recorded into: ours alone, whole lines, and never osquery's own log."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections import deque
from contextlib import suppress
from pathlib import Path

from anomaly.config import DEFAULT_LOG
from anomaly.errors import AnomalyError, ConfigError, StateLocked
from anomaly.recording.lines import is_recorded

OSQUERY = Path(DEFAULT_LOG).parent
"""osquery's own directory."""

MOST_WAITING = 16 << 20
"""Bytes that wait while the file cannot be written; beyond, the newest batches are lost, and counted."""

_OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_TAIL = 1 << 16


class Recording:
    """A results log that this program writes.

    Parameters
    ----------
    path
        The file. A new one is for its owner alone (mode 0600): it says what people do.
    host
        ``hostIdentifier`` of the lines to come.
    force
        Write into the file even where it may be osquery's own, or another machine's.

    Raises
    ------
    ConfigError
        The file is not one to record into.
    StateLocked
        Another process records into it.
    AnomalyError
        The file cannot be opened.
    """

    def __init__(self, path: Path, host: str, *, force: bool = False) -> None:
        self.path, self._host, self._force = path, host, force
        self.lost = 0
        """Lines for which there was no room."""
        self._waiting: deque[bytes] = deque()
        self._torn = False
        self._size = 0
        self._descriptor = self._opened()

    @property
    def waiting(self) -> int:
        """Bytes that could not be written yet."""
        return self._size

    def write(self, lines: list[bytes]) -> None:
        """Append a batch with one write.

        Raises
        ------
        OSError
            The file cannot be written, as when the disk is full. The batch waits and goes first the next time,
            from where the write stopped: no line is torn.
        """
        batch = b"".join(lines)
        if batch and self._size + len(batch) <= MOST_WAITING:
            self._waiting.append(batch)
            self._size += len(batch)
        else:
            self.lost += len(lines)
        while self._waiting:
            batch = self._waiting[0]
            written = os.write(self._descriptor, batch)
            self._size -= written
            self._torn = written < len(batch)
            if self._torn:
                self._waiting[0] = batch[written:]
            else:
                self._waiting.popleft()

    def is_moved(self) -> bool:
        """Whether the path names another file by now, or none: it was rotated."""
        about = os.fstat(self._descriptor)
        try:
            named = self.path.stat(follow_symlinks=False)
        except OSError:
            return True
        return (named.st_dev, named.st_ino) != (about.st_dev, about.st_ino)

    def reopen(self) -> None:
        """Go on in the file that the path names now; in the old one where that raises, as the constructor does."""
        if not self.is_moved():
            return
        fresh = self._opened()
        os.close(self._descriptor)
        self._descriptor = fresh
        if self._torn:  # the rest of a line is none
            rest = self._waiting[0].partition(b"\n")[2]
            self._size -= len(self._waiting[0]) - len(rest)
            self._waiting[0], self._torn, self.lost = rest, False, self.lost + 1

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        self._check_place()
        try:
            descriptor = os.open(self.path, _OPEN, 0o600)
        except IsADirectoryError as error:
            raise ConfigError(f"{self.path} is a directory. Name a file: anomaly record -l FILE") from error
        except OSError as error:
            if error.errno == errno.ELOOP:  # O_NOFOLLOW
                raise ConfigError(f"{self.path} is a symbolic link. Name the file it leads to.") from error
            raise AnomalyError(f"{self.path} cannot be written: {error.strerror}.") from error
        try:
            self._check(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_place(self) -> None:
        # Not Path.resolve, which raises where links lead in a circle.
        place, osquery = (Path(os.path.realpath(path)) for path in (self.path, OSQUERY))
        if not self._force and place.is_relative_to(osquery):
            raise ConfigError(
                f"{self.path} is in osquery's own directory. Record elsewhere, or say --force to do it here."
            )

    def _check(self, descriptor: int) -> None:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(f"{self.path} is no regular file. Name another: anomaly record -l FILE")
        if about.st_uid != os.geteuid():
            raise ConfigError(f"{self.path} belongs to somebody else. Name another: anomaly record -l FILE")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateLocked(
                f"{self.path}: another process records into it. Name another, or end that one."
            ) from error
        start = max(0, about.st_size - _TAIL)
        tail = os.pread(descriptor, _TAIL, start)
        *lines, rest = tail.split(b"\n")
        if start:
            lines = lines[1:]
        if (
            about.st_size
            and not self._force
            and not (lines and all(is_recorded(each, self._host) for each in lines))
        ):
            raise ConfigError(
                f"{self.path} was not recorded by this program on this machine; it may be osquery's own log."
                " Name another file, or say --force to append all the same."
            )
        if rest:
            with suppress(OSError):  # a line that a full disk has cut; the disk may still be full
                os.write(descriptor, b"\n")
