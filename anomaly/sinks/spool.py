"""What waits on disk for a receiver: entries in order, in segments of at most a MiB, until they are taken out.

A segment is written under another name, forced to the disk and renamed, so it is whole or not there. A cursor says
how much of the first one is done: after a crash at most the entry in hand is handed on twice.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from anomaly.errors import StateLocked, StateRefused
from anomaly.trust import refusal

ROOM = 64 << 20
"""Bytes that wait at most; an outage that is longer than that loses what comes after them."""

SEGMENT = 1 << 20
DEAD_ROOM = 16 << 20
"""Bytes of what receivers would not have that are kept for people to look at."""

_SEGMENT = re.compile(r"([0-9]{20})\.seg")
_CURSOR, _DEAD, _LOCK, _FRESH = "cursor", "refused.ndjson", "lock", ".new"
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Entry(msgspec.Struct, frozen=True):
    """One thing to hand on."""

    key: str
    """Tells it from all others: the same when it is handed on again."""
    body: str


class Spool:
    """Entries on disk, held by this process alone until it is closed. May be used by several threads.

    Parameters
    ----------
    directory
        Made, for the running user alone, where it does not exist.
    room
        Bytes that wait at most.

    Raises
    ------
    StateLocked
        Another process holds this spool.
    StateRefused
        The directory, or the lock in it, is not ours alone to write, or cannot be made.
    """

    def __init__(self, directory: Path, *, room: int = ROOM) -> None:
        self._where, self._room = directory, room
        self._guard = threading.Lock()
        self._folder = _folder(directory)
        self._locked = -1
        try:
            self._lock()
            self._segments = self._found()
        except BaseException:
            self.close()
            raise
        self._lines: list[bytes] = []
        """What is left of the first segment."""
        self._done = 0
        self.damaged = 0
        """Lines that could not be read, and were left out."""
        self._waiting = sum(self._read(name).count(b"\n") for name in self._segments)
        self._load(self._cursor())

    @property
    def waiting(self) -> int:
        """Entries that wait."""
        return self._waiting

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep entries; return how many there was no room for: the last ones. Raises OSError where none is kept.

        When it returns, they survive a crash and a loss of power.
        """
        lines = [msgspec.json.encode(entry) + b"\n" for entry in entries]
        with self._guard:
            room = self._room - sum(self._segments.values())
            taken, segment = 0, b""
            for line in lines:
                if room < len(line):
                    break
                if segment and len(segment) + len(line) > SEGMENT:
                    self._write(segment)
                    segment = b""
                room -= len(line)
                segment += line
                taken += 1
            if segment:
                self._write(segment)
            if taken:
                os.fsync(self._folder)
        return len(lines) - taken

    def head(self) -> Entry | None:
        """Return the first entry, None where nothing waits."""
        with self._guard:
            while self._segments:
                while self._lines:
                    with suppress(msgspec.DecodeError):
                        return msgspec.json.decode(self._lines[0], type=Entry)
                    self.damaged += 1
                    self._advance()
                if self._segments and not self._lines:
                    self._load(0)
                    if not self._lines:
                        self._drop()
        return None

    def done(self) -> None:
        """Take the first entry out."""
        with self._guard:
            if self._lines:
                self._advance()

    def bury(self, reason: str) -> bool:
        """Take the first entry out and keep it among those that were refused; tell whether there was room."""
        with self._guard:
            if not self._lines:
                return False
            line = (
                msgspec.json.encode({"refused": reason, "entry": msgspec.Raw(self._lines[0].rstrip(b"\n"))})
                + b"\n"
            )
            kept = self._keep(line)
            self._advance()
        return kept

    def close(self) -> None:
        """Let go of the directory; what waits stays there."""
        for descriptor in (self._locked, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._locked = self._folder = -1

    def _lock(self) -> None:
        self._locked = os.open(_LOCK, os.O_RDWR | os.O_CREAT | _OPEN, 0o600, dir_fd=self._folder)
        if (reason := refusal(self._where / _LOCK, os.fstat(self._locked))) is not None:
            raise StateRefused(reason)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateLocked(
                f"Another process delivers the alerts in {self._where}. Stop it, or choose another --state."
            ) from error

    def _found(self) -> dict[str, int]:
        """Return the segments with their sizes, in order."""
        with suppress(FileNotFoundError):
            os.unlink(_FRESH, dir_fd=self._folder)
        found = {}
        for name in sorted(filter(_SEGMENT.fullmatch, os.listdir(self._folder))):
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found[name] = status.st_size
        return found

    def _write(self, segment: bytes) -> None:
        last = max((int(name[:20]) for name in self._segments), default=self._last())
        name = f"{last + 1:020}.seg"
        _replace(self._folder, name, segment)
        self._segments[name] = len(segment)
        self._waiting += segment.count(b"\n")

    def _last(self) -> int:
        """Return the number of the segment that was done last: a cursor must never mean another one."""
        text = self._text(_CURSOR)
        return int(text[:20]) if text[:20].isdigit() else 0

    def _cursor(self) -> int:
        """Return how many lines of the first segment are done."""
        first = next(iter(self._segments), "")
        number, _, done = self._text(_CURSOR).partition(" ")
        return int(done) if first and number == first[:20] and done.isdigit() and len(done) < 10 else 0

    def _text(self, name: str) -> str:
        try:
            return self._read(name, 64).decode("ascii", "replace")
        except OSError:
            return ""

    def _load(self, done: int) -> None:
        """Read the first segment, without the lines that are done."""
        first = next(iter(self._segments), None)
        lines = [] if first is None else self._read(first).splitlines(keepends=True)
        self._lines, self._done = lines[done:], done
        self._waiting -= min(done, len(lines))

    def _read(self, name: str, limit: int = ROOM) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | _OPEN, dir_fd=self._folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)

    def _advance(self) -> None:
        del self._lines[0]
        self._done += 1
        self._waiting = max(0, self._waiting - 1)
        first = next(iter(self._segments))
        # Not forced to the disk: what is lost with it is only that an entry was handed on.
        _replace(self._folder, _CURSOR, f"{first[:20]} {self._done}".encode(), force=False)
        if not self._lines:
            self._drop()

    def _drop(self) -> None:
        first = next(iter(self._segments))
        with suppress(FileNotFoundError):
            os.unlink(first, dir_fd=self._folder)
        del self._segments[first]
        self._load(0)

    def _keep(self, line: bytes) -> bool:
        descriptor = os.open(_DEAD, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN, 0o600, dir_fd=self._folder)
        try:
            if os.fstat(descriptor).st_size + len(line) > DEAD_ROOM:
                return False
            return os.write(descriptor, line) == len(line)
        except OSError:
            return False
        finally:
            os.close(descriptor)


def _folder(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateRefused(f"{directory} cannot be used for alerts that wait: {error.strerror}.") from error
    if (reason := refusal(directory, os.fstat(folder))) is not None:
        os.close(folder)
        raise StateRefused(reason)
    return folder


def _replace(folder: int, name: str, data: bytes, *, force: bool = True) -> None:
    """Write a file that is whole under its name, or not there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(_FRESH, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if force:
                os.fsync(descriptor)
        os.replace(_FRESH, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(_FRESH, dir_fd=folder)
        raise
