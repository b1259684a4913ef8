"""Bytes in, whole lines out: the one place that knows where a line begins and when it is too long."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, repeat
from operator import add

from anomaly.sources.interface import MAX_LINE, Line


class LineSplitter:
    r"""Cuts chunks of bytes at newlines; what a chunk leaves unfinished waits for the next one.

    However the bytes are cut into chunks, the lines and their offsets are the same. At most ``max_line``
    bytes are held: a longer line is skipped up to its newline and counted once, so that nobody can stop
    the reader or fill the memory with one line.

    Parameters
    ----------
    max_line
        Longest line returned, in bytes without its newline.
    counters
        Where ``too_long`` is counted.
    offset
        Where in the file the first chunk starts, in bytes.

    Examples
    --------
    >>> splitter = LineSplitter(max_line=4, counters=Counter())
    >>> splitter.feed(b"a\nbc", "f")
    [Line(data=b'a', file='f', offset=0)]
    >>> splitter.feed(b"\nfar too long\nd\n", "f")
    [Line(data=b'bc', file='f', offset=2), Line(data=b'd', file='f', offset=18)]
    """

    def __init__(self, max_line: int = MAX_LINE, *, counters: Counter[str], offset: int = 0) -> None:
        self._max_line = max_line
        self._counters = counters
        self._rest = bytearray()
        self._length = 0  # of the unfinished line; more than len(_rest) while it is being skipped
        self.offset = offset
        """Where the unfinished line starts: everything before it has been returned or skipped."""

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._length > 0

    def feed(self, chunk: bytes, file: str) -> list[Line]:
        """Take the next bytes and return the lines they complete.

        Parameters
        ----------
        chunk
            The bytes that follow the last chunk.
        file
            Identity of the file, for the lines.
        """
        *lines, rest = chunk.split(b"\n")
        if not lines:
            self._extend(rest)
            return []
        lengths = list(map(len, lines))
        if self._length:
            lengths[0] += self._length
            lines[0] = bytes(self._rest) + lines[0]
        # A tight loop in C: map, zip and tuple.__new__ make a Line three times as fast as calling it.
        starts = list(accumulate(map(add, lengths, repeat(1)), initial=self.offset))
        self.offset = starts.pop()
        rows = zip(lines, repeat(file), starts, strict=False)
        result: list[Line] = list(map(tuple.__new__, repeat(Line), rows))
        if max(lengths) > self._max_line:
            # A line already being skipped was counted when it became too long, in _extend.
            self._counters["too_long"] += sum(n > self._max_line for n in lengths[1:])
            self._counters["too_long"] += self._length <= self._max_line < lengths[0]
            result = [line for line, n in zip(result, lengths, strict=True) if n <= self._max_line]
        self._rest.clear()
        self._length = 0
        self._extend(rest)
        return result

    def finish(self, file: str) -> Line | None:
        """Return the unfinished line as it stands, or None where there is none or it is too long."""
        length, data, start = self._length, bytes(self._rest), self.offset
        self._rest.clear()
        self._length = 0
        self.offset += length
        return Line(data, file, start) if 0 < length <= self._max_line else None

    def peek(self) -> bytes:
        """Return what is held of the unfinished line; nothing of one that is too long."""
        return bytes(self._rest)

    def _extend(self, piece: bytes) -> None:
        """Add to the unfinished line, or to its length alone once it is too long."""
        skipping = self._length > self._max_line
        self._length += len(piece)
        if self._length <= self._max_line:
            self._rest += piece
        elif not skipping:
            self._rest.clear()
            self._counters["too_long"] += 1
