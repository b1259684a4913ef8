"""Lines from standard input, or from any other stream of bytes."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from anomaly.errors import LogUnreadable
from anomaly.sources.interface import MAX_LINE, Line, Position, Source
from anomaly.sources.lines import LineSplitter
from anomaly.sources.logfile import CHUNK

NAME = "stdin"
"""File identity of its lines: a pipe has no first line to go back to."""


STDIN = Path("-")
"""How a log is named that is standard input."""


class StdinSource(Source):
    """Reads a stream to its end.

    Parameters
    ----------
    stream
        Where to read; standard input where it is not given. It is not closed: whoever opened it does that.
    max_line
        Longest line returned; a longer one is skipped and counted.
    """

    def __init__(self, stream: BinaryIO | None = None, *, max_line: int = MAX_LINE) -> None:
        self.counters = Counter()
        if stream is None and sys.stdin is None:
            raise LogUnreadable("Standard input is closed; pipe a log into it, or name a file with -l.")
        self._stream = sys.stdin.buffer if stream is None else stream
        self._splitter = LineSplitter(max_line, counters=self.counters)
        self._lines: list[Line] = []
        self._taken = 0
        self._at_end = self._closed = False
        self._poll: select.poll | None = None
        try:
            self._descriptor = self._stream.fileno()
        except io.UnsupportedOperation:  # a stream in memory
            return
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    @property
    def position(self) -> Position:
        """The place after the last line that ``read`` returned."""
        waiting = self._taken < len(self._lines)
        return Position(NAME, self._lines[self._taken].offset if waiting else self._splitter.offset)

    @property
    def ended(self) -> bool:
        """True once the stream has ended and every line of it was returned."""
        return self._at_end and not self._lines

    def read(self, limit: int, timeout: float) -> list[Line]:
        """Return up to ``limit`` lines, waiting at most ``timeout`` seconds for the first one."""
        if self._closed:
            raise ValueError("this source is closed")
        deadline = time.monotonic() + timeout
        while not self._lines and not self._at_end:
            chunk = self._read_chunk(max(0.0, deadline - time.monotonic()))
            if chunk:
                self._lines = self._splitter.feed(chunk, NAME)
            elif chunk is not None:
                self._at_end = True
                # Whoever wrote the stream has ended it: its last line is as whole as it will be.
                last = self._splitter.finish(NAME)
                self._lines = [last] if last else []
            if time.monotonic() >= deadline:
                break
        return self._take(limit)

    def close(self) -> None:
        """Stop reading; the stream itself stays open."""
        self._lines, self._at_end, self._closed = [], True, True

    def _take(self, limit: int) -> list[Line]:
        batch = self._lines[self._taken : self._taken + limit]
        self._taken += len(batch)
        if self._taken >= len(self._lines):
            self._lines, self._taken = [], 0
        return batch

    def _read_chunk(self, timeout: float) -> bytes | None:
        """Return the next bytes, none at the end, None where nothing came in time."""
        if self._poll is None:
            return self._stream.read(CHUNK)
        if not self._poll.poll(timeout * 1000):
            return None
        try:
            # Past the stream's own buffer: what lies there would hide from poll.
            return os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise LogUnreadable(
                f"standard input cannot be read: {error.strerror}; give a file or a pipe."
            ) from error
