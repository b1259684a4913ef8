"""What waits on disk for a receiver: entries in order, in segments of at most a MiB, until they are taken out.

A segment is written under another name, forced to the disk and renamed, so it is whole or not there. A cursor says
how much of the first one is done: after a crash at most the entry in hand is handed on twice, after a loss of
power what was handed on just before it.
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
from typing import NamedTuple

import msgspec

from anomaly.atomic import replace
from anomaly.errors import StateLocked, StateRefused
from anomaly.trust import make_private, refusal

ROOM = 64 << 20
"""Bytes that wait at most; an outage that is longer than that loses what comes after them."""

SEGMENT = 1 << 20
DEAD_ROOM = 16 << 20
"""Bytes of what receivers would not have that are kept for people to look at."""

CURSOR, REFUSED, LOCK = "cursor", "refused.ndjson", "lock"
"""Files of a spool besides its segments."""

POSITION = re.compile(rb"([0-9]{20}) ([0-9]{10})")
"""What the cursor holds: a segment's number, and how many of its lines are done."""

NAME = re.compile(r"([0-9]{20})\.seg")
"""What a segment is called."""

FRESH = ".new"
"""What a segment is called while it is written."""
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Entry(msgspec.Struct, frozen=True):
    """One thing to hand on."""

    key: str
    """Tells it from all others: the same when it is handed on again."""
    body: str


class _Segment(NamedTuple):
    size: int
    lines: int


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
        self._locked = self._place = -1
        try:
            self._lock()
            self._place = self._own(CURSOR)
            self._segments = self._found()
        except OSError as error:
            self.close()
            raise _unusable(directory, error) from error
        except BaseException:
            self.close()
            raise
        self._lines: list[bytes] = []
        """What is left of the first segment."""
        self._done = 0
        self.damaged = 0
        """Lines that could not be read, and were left out."""
        number, done = self._cursor
        self._load(done if next(iter(self._segments), "").startswith(f"{number:020}.") else 0)
        while self._segments and not self._lines:
            self._drop()  # done, and not yet taken away when the process ended

    @property
    def waiting(self) -> int:
        """Entries that wait."""
        with self._guard:
            return max(0, sum(segment.lines for segment in self._segments.values()) - self._done)

    def append(self, entries: Sequence[Entry]) -> int:
        """Keep entries; return how many there was no room for: the last ones. Raises OSError where the disk fails.

        When it returns, they survive a crash and a loss of power.
        """
        lines = [msgspec.json.encode(entry) + b"\n" for entry in entries]
        with self._guard:
            room = self._room - sum(kept.size for kept in self._segments.values())
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
                        self.damaged += next(iter(self._segments.values())).lines
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
        for descriptor in (self._place, self._locked, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._place = self._locked = self._folder = -1

    def _lock(self) -> None:
        self._locked = self._own(LOCK)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateLocked(
                f"Another process delivers the alerts in {self._where}. Stop it, or choose another --state."
            ) from error

    def _own(self, name: str) -> int:
        """Open a file that is no segment; it is made where it is missing."""
        path = self._where / name
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | _OPEN, 0o600, dir_fd=self._folder)
        except OSError as error:
            raise _unusable(path, error) from error
        status = os.fstat(descriptor)
        is_file = stat.S_ISREG(status.st_mode)
        if (
            reason := refusal(path, status) if is_file else f"{path} is no file of ours; move it away."
        ) is not None:
            os.close(descriptor)
            raise StateRefused(reason)
        return descriptor

    def _found(self) -> dict[str, _Segment]:
        """Return the segments, in order."""
        with suppress(FileNotFoundError):
            os.unlink(FRESH, dir_fd=self._folder)
        found = {}
        for name in sorted(filter(NAME.fullmatch, os.listdir(self._folder))):
            status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found[name] = _Segment(status.st_size, self._read(name).count(b"\n"))
        return found

    def _write(self, segment: bytes) -> None:
        # Behind what was handed on last, too: the cursor must never mean another segment.
        last = max((int(name[:20]) for name in self._segments), default=self._cursor[0])
        name = f"{last + 1:020}.seg"
        replace(self._folder, name, segment, temporary=FRESH, lasting=True)
        self._segments[name] = _Segment(len(segment), segment.count(b"\n"))

    @property
    def _cursor(self) -> tuple[int, int]:
        """Give the number of the segment that was handed on last, and how many of its lines were."""
        match = POSITION.fullmatch(os.pread(self._place, 64, 0))
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def _load(self, done: int) -> None:
        """Read the first segment, without the lines that are done."""
        first = next(iter(self._segments), None)
        try:
            lines = [] if first is None else self._read(first).splitlines(keepends=True)
        except OSError:  # taken away, or not readable any more: what is behind it must not wait for that
            lines = []
        self._lines, self._done = lines[done:], min(done, len(lines))

    def _read(self, name: str, limit: int = ROOM) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | _OPEN, dir_fd=self._folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)

    def _advance(self) -> None:
        del self._lines[0]
        self._done += 1
        first = next(iter(self._segments))
        # In place, since ext4 writes out at once what replaces a file, and not forced to the disk, and left out
        # where that is full: all it can cost is repetition.
        with suppress(OSError):
            os.pwrite(self._place, b"%b %010d" % (first[:20].encode(), self._done), 0)
        if not self._lines:
            self._drop()

    def _drop(self) -> None:
        first = next(iter(self._segments))
        with suppress(FileNotFoundError):
            os.unlink(first, dir_fd=self._folder)
        del self._segments[first]
        self._load(0)

    def _keep(self, line: bytes) -> bool:
        descriptor = os.open(REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN, 0o600, dir_fd=self._folder)
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
        make_private(directory)
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(directory, error) from error
    if (reason := refusal(directory, os.fstat(folder))) is not None:
        os.close(folder)
        raise StateRefused(reason)
    return folder


def _unusable(path: Path, error: OSError) -> StateRefused:
    return StateRefused(f"{path} cannot be used for alerts that wait: {error.strerror}. Move it away.")
