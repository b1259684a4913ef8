"""A file that is being read: its lines, the place up to which they were handed on; rotated ones, kept open."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from anomaly.sources.chain import Chain
from anomaly.sources.interface import Line, Position
from anomaly.sources.lines import LineSplitter
from anomaly.sources.logfile import LogFile

GRACE = 5.0
"""Seconds that a rotated file is still read: a writer may have opened it before it was renamed
(osquery opens the log anew for each line; osquery/osquery#5761 names the race)."""

_MOST_BEHIND = 8
"""Rotated files kept open at most: a long chain of archives is no reason to run out of descriptors."""


class Reader:
    """A file that is being read, and the place up to which its lines were handed on."""

    def __init__(self, file: LogFile, max_line: int, counters: Counter[str]) -> None:
        self.file = file
        self.splitter = LineSplitter(max_line, counters=counters, offset=file.offset)
        self.place = file.place(file.offset)
        self.until = 0.0
        """In a file left behind: how long late lines are expected in it, by the monotonic clock."""
        self.grown = False
        """In a file left behind: whether some came."""

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that the file's next bytes complete."""
        return self.splitter.feed(chunk, self.file.fingerprint)

    def finish(self) -> list[Line]:
        """Take an unfinished last line as it is; where it is all that the file holds, it names the file."""
        if not self.splitter.pending:
            return []
        name = self.file.fingerprint or hashlib.sha256(self.splitter.peek()).hexdigest()[:16]
        line = self.splitter.finish(name)
        return [line] if line else []

    @property
    def whole(self) -> bool:
        """Whether an unfinished line is a whole document all the same: only its newline is missing."""
        try:
            msgspec.json.decode(self.splitter.peek())
        except (ValueError, RecursionError):
            return False
        return True

    def close(self) -> None:
        """Close the file, of which a last line may still be waiting to be returned."""
        self.place = self.file.place(self.splitter.offset)
        self.file.close()


class Behind:
    """Rotated files that are kept open for what comes late.

    Parameters
    ----------
    chain
        Told which files they are.
    follow
        Whether to wait for late lines at all.
    """

    def __init__(self, chain: Chain, *, follow: bool) -> None:
        self._chain = chain
        self._follow = follow
        self._readers: list[Reader] = []

    def __bool__(self) -> bool:
        return bool(self._readers)

    @property
    def full(self) -> bool:
        """Whether there are more than are to be kept."""
        return len(self._readers) > _MOST_BEHIND

    @property
    def places(self) -> tuple[Position, ...]:
        """How far each has been read."""
        return tuple(reader.place for reader in self._readers if reader.place.file)

    def leave(self, reader: Reader) -> None:
        """Keep a rotated file open."""
        reader.until = time.monotonic() + GRACE if self._follow else 0.0
        self._readers.append(reader)
        self._chain.behind.append(reader.file)

    def resume(self, places: tuple[Position, ...], opened: Callable[[LogFile], Reader]) -> None:
        """Keep open again what was kept when a position was taken."""
        for place in places[:_MOST_BEHIND]:
            if (old := self._chain.again(place)) is not None:
                self.leave(opened(old))

    def read(self, give: Callable[[Reader, list[Line]], None]) -> bool:
        """Read what came late, and close those that have had their time; say whether there were lines.

        ``give`` is told of each file that was read; with the first lines it ends.
        """
        for reader in list(self._readers):
            # Asked before the last read.
            due = time.monotonic() >= reader.until or self.full
            chunk = reader.file.read()
            lines = reader.feed(chunk)
            over = due and not chunk
            if over:
                lines = reader.finish() or lines
            give(reader, lines)
            if chunk:
                reader.grown = True
            if over:
                self._readers.remove(reader)
                self._chain.behind.remove(reader.file)
                if reader.grown:
                    self._chain.grown(reader.file)
                reader.close()
            if lines:
                return True
        return False

    def close(self) -> None:
        """Close them all."""
        for reader in self._readers:
            reader.file.close()
        self._readers = []
