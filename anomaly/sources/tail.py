"""The results log and its archives as one stream of lines, read to the end or followed.

One file is open at a time, and each step goes the same way: read on in it; at its end go on to the file
after it; at the end of the newest one wait. Rotation, a late ``create``, a truncation and a restart are no
special cases: the question is always which file comes next, and :class:`~anomaly.sources.chain.Chain`
answers it.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from anomaly.errors import LogMissing
from anomaly.sources.archive import is_compressed, survey
from anomaly.sources.chain import Chain
from anomaly.sources.interface import MAX_LINE, Line, Position, Source
from anomaly.sources.lines import LineSplitter
from anomaly.sources.logfile import LogFile, open_log
from anomaly.sources.watch import DirectoryWatch

POLL = 0.25
"""Longest time between two looks at the log, in seconds: inotify is a hint, stat() is the truth."""

GRACE = 5.0
"""Seconds that a rotated file is still read: a writer may have opened it before it was renamed
(osquery opens the log anew for each line; osquery/osquery#5761 names the race)."""

PATIENCE = 1.0
"""Seconds over its time that ``read`` works on without finding a line: a signal must not wait long."""


class _Rotated(NamedTuple):
    """A file that was left behind, and until when late lines are expected in it."""

    file: LogFile
    splitter: LineSplitter
    until: float


class LogSource(Source):
    """Reads a log with its archives from a place on, and follows it.

    Parameters
    ----------
    path
        The live log. A compressed file is a log on its own, which is read to its end and never followed.
    start
        Where to begin: the oldest archive's first byte, the end (only what is appended from now on), or a
        position. A position in none of the files begins at the start.
    follow
        Whether to wait for more at the end. A followed log may be absent; it is waited for.
    max_line
        Longest line returned; a longer one is skipped and counted.

    Raises
    ------
    LogMissing
        There is neither the log nor an archive, and it is not to be followed.
    LogUnreadable
        The log may not be read or is not a regular file. Later on this is counted and waited out.

    Notes
    -----
    ``counters``: ``too_long``, ``rotations``, ``truncations``, ``archive_errors`` (archives that could be
    read in part or not at all), ``read_errors`` (looks at the log that failed), ``watch_errors``.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: Position | Literal["start", "end"],
        follow: bool,
        max_line: int = MAX_LINE,
    ) -> None:
        self.counters = Counter()
        self._follow = follow and not is_compressed(path)
        self._max_line = max_line
        self._start: Position | Literal["start", "end"] = start
        self._position = start if isinstance(start, Position) else Position()
        self._chain = Chain(path, self.counters)
        self._watch = DirectoryWatch(path.absolute().parent, self.counters)
        self._rotated: list[_Rotated] = []
        self._partial_until = 0.0  # how long the end of a line is waited for in a rotated file
        self._lines: list[Line] = []  # read, and from _taken on not yet returned
        self._taken = 0
        self._position_after: Position | None = None  # once all of _lines are returned
        self._file: LogFile | None = None
        self._splitter = LineSplitter(max_line, counters=self.counters)
        self._ended = self._closed = False
        try:
            open_log(path).close()
        except LogMissing:
            if not self._follow and not survey(path):
                raise
        self._begin()

    @property
    def position(self) -> Position:
        """The place after the last line that ``read`` returned."""
        return self._position

    @property
    def ended(self) -> bool:
        """True once nothing more can come (a followed log never ends)."""
        return self._ended and not self._lines

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
        self._watch.close()
        for file in filter(None, [self._file, *(rotated.file for rotated in self._rotated)]):
            file.close()
        self._file, self._rotated, self._lines, self._ended, self._closed = None, [], [], True, True

    def _give(self, lines: list[Line], after: Position | None) -> None:
        """Make lines ready for ``read``; the position will be ``after`` once they are all returned."""
        if lines:
            self._lines, self._taken, self._position_after = lines, 0, after
        elif after is not None:
            self._position = after

    def _take(self, limit: int) -> list[Line]:
        """Return the next lines that are ready, and move the position behind them."""
        batch = self._lines[self._taken : self._taken + limit]
        self._taken += len(batch)
        after = self._position_after
        if self._taken < len(self._lines):
            after = after and msgspec.structs.replace(after, offset=self._lines[self._taken].offset)
        else:
            self._lines, self._position_after = [], None
        self._position = after or self._position
        return batch

    def _begin(self) -> bool:
        """Open the first file; False while there is none."""
        file = self._chain.begin(self._start)
        if file is None:
            # What comes into a log that was absent at the start has been appended since.
            self._start = "start" if self._start == "end" else self._start
            return False
        if self._start == "end":
            self._position = file.at(file.offset)
        self._enter(file)
        return True

    def _enter(self, file: LogFile) -> None:
        """Go on reading in another file."""
        self._file = file
        self._splitter = LineSplitter(self._max_line, counters=self.counters, offset=file.offset)
        self._partial_until = 0.0

    def _step(self) -> bool:
        """Read a chunk or go on to the next file; False when there is nothing to do but wait."""
        file = self._file
        if file is None:
            return self._begin()
        # Asked before the read: what was written before a rotation is then read to its end.
        has_newer = self._chain.has_newer(file)
        chunk = file.read()
        if file.rewritten():
            self._truncated(file)
            return True
        if chunk:
            self._split(file, chunk)
            return True
        if has_newer and self._leave(file):
            return True
        if self._follow:
            if not file.compressed:  # an archive is counted once, when it is left
                self.counters["read_errors"] += file.failed
                file.failed = False
            return self._read_rotated()
        self._end(file)
        return True

    def _split(self, file: LogFile, chunk: bytes) -> None:
        before = self._splitter.offset
        lines = self._splitter.feed(chunk, file.fingerprint)
        # While the first line is unfinished the file has no name yet: the position stays where it was.
        self._give(lines, file.at(self._splitter.offset) if self._splitter.offset > before else None)

    def _truncated(self, file: LogFile) -> None:
        """Go on in the copy where ``copytruncate`` made one, else at the start of what is there now."""
        self.counters["truncations"] += 1
        copy = self._chain.copy_of(file, self._splitter.offset)
        if copy is None:
            file.rewind()
        else:
            file.close()
        self._enter(copy or file)

    def _leave(self, file: LogFile) -> bool:
        """Go on to the file after this one; False while there is none, or a line is still to be finished."""
        growing = self._follow and self._chain.at_newest and not file.compressed
        if growing and self._splitter.pending:
            self._partial_until = self._partial_until or time.monotonic() + GRACE
            if time.monotonic() < self._partial_until:
                return False
        following = self._chain.after(file)
        if following is None:
            return False
        self._finish(file)
        if self._follow and not file.compressed:
            self._rotated.append(_Rotated(file, self._splitter, time.monotonic() + GRACE))
        else:
            file.close()
        self._enter(following)
        return True

    def _end(self, file: LogFile) -> None:
        """End the stream: the newest file has been read."""
        self._ended = True
        if file.compressed or not self._chain.is_live(file) or _is_json(self._splitter.peek()):
            self._finish(file)

    def _finish(self, file: LogFile) -> None:
        """Take an unfinished last line as it is: nothing more comes into this file."""
        self.counters["archive_errors"] += file.failed
        if self._splitter.pending:
            line = self._splitter.finish(file.fingerprint)
            self._give([line] if line else [], file.at(self._splitter.offset))

    def _read_rotated(self) -> bool:
        """Read what came late into the files left behind; close those that have had their time."""
        for rotated in list(self._rotated):
            file, splitter, until = rotated
            due = time.monotonic() >= until  # asked before the last read
            chunk = file.read()
            lines = splitter.feed(chunk, file.fingerprint)
            over = due and not chunk
            if over and (last := splitter.finish(file.fingerprint)):
                lines = [last]
            # The position never goes back to an older file: a restart would read the newer one again.
            after = file.at(splitter.offset)
            still_here = (after.file, after.inode) == (self._position.file, self._position.inode)
            if over:
                self._rotated.remove(rotated)
                file.close()
            if lines:
                self._give(lines, after if still_here else None)
                return True
        return False


def _is_json(data: bytes) -> bool:
    """Whether an unfinished line is a whole document all the same: only its newline is missing."""
    try:
        msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return False
    return True
