"""What a source of lines is: raw lines with the place each came from, and a position to go on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Annotated, NamedTuple, Self

import msgspec

MAX_LINE = 1 << 20
"""Longest line read, in bytes; a longer one is skipped and counted (osquery caps its own at 1 MiB)."""


class Line(NamedTuple):
    """One line of a log, without its newline."""

    data: bytes
    file: str
    """Identity of the file, as in :class:`Position`."""
    offset: int
    """Where the line starts, in bytes of the uncompressed file."""


class Position(msgspec.Struct, frozen=True):
    """Where to go on reading: everything before ``offset`` of ``file`` has been handled.

    ``file`` is the fingerprint of the file's first line: 16 hexadecimal digits of its SHA-256, the same
    whether the file is live, renamed or compressed; empty while the file has no complete line.
    ``device`` and ``inode`` say which file on disk it last was.
    """

    file: str = ""
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    device: int = 0
    inode: int = 0


class Source(ABC):
    """A stream of lines. ``read`` returns what is waiting; it never returns a part of a line."""

    counters: Counter[str]
    """What was met on the way: ``too_long``, ``rotations``, ``truncations``."""

    @abstractmethod
    def read(self, limit: int, timeout: float) -> list[Line]:
        """Return up to ``limit`` lines, waiting at most ``timeout`` seconds for the first one."""

    @property
    @abstractmethod
    def position(self) -> Position:
        """The place after the last line that ``read`` returned."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """True once nothing more can come (a followed log never ends)."""

    @abstractmethod
    def close(self) -> None:
        """Release files and threads; reading after this is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
