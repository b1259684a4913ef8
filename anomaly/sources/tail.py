"""The results log and its archives as one stream of lines, read to the end or followed.

One file is open at a time, and each step goes the same way: read on in it; at its end go on to the file
after it; at the end of the newest one wait. Rotation, a late ``create``, a truncation and a restart are no
special cases: the question is always which file comes next, and :class:`~anomaly.sources.chain.Chain`
answers it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from anomaly.errors import LogMissing
from anomaly.sources.archive import survey
from anomaly.sources.chain import Chain
from anomaly.sources.compressed import is_compressed
from anomaly.sources.interface import MAX_LINE, Line, Position, Source
from anomaly.sources.logfile import LogFile, open_log
from anomaly.sources.reader import GRACE, Behind, Reader
from anomaly.sources.watch import LogWatch

POLL = 0.25
"""Longest time between two looks at the log, in seconds: inotify is a hint, stat() is the truth."""

PATIENCE = 1.0
"""Seconds over its time that ``read`` works on without finding a line: a signal must not wait long."""


class LogSource(Source):
    """Reads a log with its archives from a place on, and follows it.

    Parameters
    ----------
    path
        The live log. A compressed file is a log on its own, which is read to its end and never followed.
    start
        Where to begin: the oldest archive's first byte, the end (only what is appended from now on), or a
        position. Where a position is in none of the files, what is not known to be older is read.
    follow
        Whether to wait for more at the end. A followed log may be absent; it is waited for.
    max_line
        Longest line returned; a longer one is skipped and counted.
    olddir
        A directory of archives besides the log's own.

    Raises
    ------
    LogMissing
        There is neither the log nor an archive, and it is not to be followed.
    LogUnreadable
        The log may not be read or is not a regular file. Later on this is counted and waited out.

    Notes
    -----
    ``counters``: ``too_long``, ``rotations``, ``truncations`` (without a copy of what was cut), ``copies``
    (truncations with one), ``replacements`` (the log was deleted and made anew), ``losses`` (the file that a
    position was in is gone), ``archive_errors`` (archives that could be read in part or not at all),
    ``read_errors`` (looks at the log that failed), ``watch_errors``.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: Position | Literal["start", "end"],
        follow: bool,
        max_line: int = MAX_LINE,
        olddir: Path | None = None,
    ) -> None:
        self.counters = Counter()
        self._path = path
        self._follow = follow and not is_compressed(path)
        self._max_line = max_line
        self._start: Position | Literal["start", "end"] = start
        self._chain = Chain(path, self.counters, olddir)
        self._watch = LogWatch(path, self.counters)
        self._reader: Reader | None = None
        self._behind = Behind(self._chain, follow=self._follow)
        self._partial_until = 0.0  # how long the end of a line is waited for in a rotated file
        self._lines: list[Line] = []  # read, and from _taken on not yet returned
        self._taken = 0
        self._from: Reader | None = None  # whose _lines they are
        self._ended = self._closed = False
        try:
            open_log(path).close()
        except LogMissing:
            if not self._follow and not survey(path, olddir):
                raise
        self._begin()

    @property
    def position(self) -> Position:
        """The place after the last line that ``read`` returned."""
        if self._reader is None:
            return self._start if isinstance(self._start, Position) else Position()
        return msgspec.structs.replace(self._reader.place, behind=self._behind.places, known=self._chain.known)

    @property
    def ended(self) -> bool:
        """True once nothing more can come (a followed log never ends)."""
        return self._ended and not self._lines

    @property
    def backlog(self) -> int:
        """Bytes that wait in the file being read and, where that is an older one, in the live log."""
        if self._reader is None:
            return 0
        file = self._reader.file
        waiting = 0 if file.compressed else max(0, file.size - file.offset)
        with suppress(OSError):
            live = os.stat(self._path)  # noqa: PTH116 - Path.stat is slower
            waiting += 0 if (live.st_dev, live.st_ino) == (file.device, file.inode) else live.st_size
        return waiting

    def read(self, limit: int, timeout: float) -> list[Line]:
        """Return up to ``limit`` lines, waiting at most ``timeout`` seconds for the first one."""
        if self._closed:
            raise ValueError("this source is closed")
        deadline = time.monotonic() + timeout
        while not self._lines and not self._ended:
            progress = self._step()
            left = deadline - time.monotonic()
            if progress and left > -PATIENCE:
                continue
            if left <= 0 or self._ended:
                break
            self._watch.wait(min(left, POLL))
        return self._take(limit)

    def close(self) -> None:
        """Close the files and stop watching."""
        if self._closed:
            return
        self._watch.close()
        self._start = self.position
        self._chain.close()
        if self._reader is not None:
            self._reader.file.close()
        self._behind.close()
        self._reader, self._lines, self._ended, self._closed = None, [], True, True

    def _give(self, reader: Reader, lines: list[Line]) -> None:
        """Make lines ready for ``read``."""
        if lines:
            self._lines, self._taken, self._from = lines, 0, reader
        elif reader.splitter.offset > reader.place.offset:  # a line that was too long
            reader.place = reader.file.place(reader.splitter.offset)

    def _take(self, limit: int) -> list[Line]:
        """Return the next lines that are ready, and move their file's place behind them."""
        batch = self._lines[self._taken : self._taken + limit]
        if batch and self._from is not None:
            self._taken += len(batch)
            done = self._taken >= len(self._lines)
            after = self._from.splitter.offset if done else self._lines[self._taken].offset
            self._from.place = self._from.file.place(after)
            if done:
                self._lines, self._from = [], None
        return batch

    def _begin(self) -> bool:
        """Open the first file; False while there is none."""
        file = self._chain.begin(self._start)
        if file is None:
            # What comes into a log that was absent at the start has been appended since.
            self._start = "start" if self._start == "end" else self._start
            return False
        if isinstance(self._start, Position):
            self._behind.resume(self._start.behind, self._open)
        self._reader = self._open(file)
        return True

    def _open(self, file: LogFile) -> Reader:
        return Reader(file, self._max_line, self.counters)

    def _enter(self, file: LogFile) -> None:
        """Go on reading in another file."""
        self._reader = self._open(file)
        self._partial_until = 0.0

    def _step(self) -> bool:
        """Read a chunk or go on to the next file; False when there is nothing to do but wait."""
        reader = self._reader
        if reader is None:
            return self._begin()
        if self._behind.full:
            return self._behind.read(self._give) or True
        file = reader.file
        # Asked before the read: what was written before a rotation is then read to its end.
        has_newer = self._chain.has_newer(file)
        fresh = not reader.splitter.offset and not file.compressed  # without a whole line it could be any file
        chunk = file.read()
        if fresh and (missed := self._chain.before(file)):
            file.close()
            self._enter(missed)
            return True
        if file.rewritten():
            self._truncated(reader)
            return True
        if chunk:
            self._give(reader, reader.feed(chunk))
            return True
        return (has_newer and self._leave(reader)) or self._at_end(reader)

    def _at_end(self, reader: Reader) -> bool:
        """Do what there is to do while nothing more is in the newest file; False where that is to wait."""
        if self._behind:
            return self._behind.read(self._give) or not self._follow
        if not self._follow:
            self._end(reader)
            return True
        if not reader.file.compressed:  # an archive is counted once, when it is left
            self.counters["read_errors"] += reader.file.failed
            reader.file.failed = False
        return False

    def _truncated(self, reader: Reader) -> None:
        """Go on in the copy where ``copytruncate`` made one, else at the start of what is there now."""
        copy = self._chain.copy_of(reader.file, reader.place) if reader.place.file else None
        self.counters["truncations" if copy is None else "copies"] += 1
        if copy is None:
            reader.file.rewind()
        else:
            reader.file.close()
        self._enter(copy or reader.file)

    def _leave(self, reader: Reader) -> bool:
        """Go on to the file after this one; False while there is none, or a line is still to be finished."""
        file = reader.file
        fresh = self._chain.at_newest or file.age < GRACE
        if self._follow and fresh and not file.compressed and reader.splitter.pending:
            self._partial_until = self._partial_until or time.monotonic() + GRACE
            if time.monotonic() < self._partial_until:
                return False
        following = self._chain.after(file)
        if following is None:
            return False
        self._finish(reader)
        if self._follow and not file.compressed:
            self._behind.leave(reader)
        else:
            reader.close()
        self._enter(following)
        return True

    def _end(self, reader: Reader) -> None:
        """End the stream: the newest file has been read."""
        self._ended = True
        if reader.file.compressed or not self._chain.is_live(reader.file) or reader.whole:
            self._finish(reader)

    def _finish(self, reader: Reader) -> None:
        """Take an unfinished last line as it is: nothing more comes into this file."""
        self.counters["archive_errors"] += reader.file.failed
        if reader.splitter.pending:
            self._give(reader, reader.finish())
