"""What a source of lines is: raw lines with the place each came from, and a position to go on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Annotated, NamedTuple, Self

import msgspec

MAX_LINE = 1 << 20
"""Longest line read, in bytes; a longer one is skipped and counted (osquery caps its own at 1 MiB)."""


Mark = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,5}-[0-9a-f]{16}$")]


class Line(NamedTuple):
    """One line of a log, without its newline."""

    data: bytes
    file: str
    """Identity of the file, as in :class:`Position`."""
    offset: int
    """Where the line starts, in bytes of the uncompressed file."""


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to go on reading: everything before ``offset`` of ``file`` has been handled.

    Neither name nor inode alone can say which file that was: names move at each rotation, inodes are used
    again, and a file may be cut and grow anew. So a file is known by its first line and by the bytes before
    the place; ``device`` and ``inode`` decide among equals.
    """

    file: str = ""
    """Fingerprint of the first line: 16 hexadecimal digits of its SHA-256, the same whether the file is live,
    renamed or compressed; empty while the file has no complete line."""
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    """In bytes of the uncompressed file."""
    device: int = 0
    inode: int = 0
    before: str = ""
    """Hash of the bytes just before ``offset``; empty where it is not known."""
    behind: tuple[Position, ...] = ()
    """Places in rotated files, into which a slow writer may still write."""
    known: tuple[Mark, ...] | None = None
    """Marks (length and hash of the head) of other files that need not be read; None for all that are older."""


class Source(ABC):
    """A stream of lines. ``read`` returns what is waiting; it never returns a part of a line."""

    counters: Counter[str]
    """What was met on the way, by name; each source says which names it has."""

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

    @property
    def backlog(self) -> int:
        """Bytes that are known to be waiting; 0 where that cannot be told."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Release files and threads; reading after this is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
