"""Which file of a log to read next: asked of the directory as it is, each time a file has been read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from anomaly.errors import LogError, LogMissing
from anomaly.sources.archive import ATTEMPTS, Member, locate, survey
from anomaly.sources.interface import Position
from anomaly.sources.logfile import LogFile, open_log

Choice = list[tuple[Member, int | None]]
"""Files to try in this order, and where to start in each; None is the end."""


class Chain:
    """A log with its archives, opened one file at a time from the oldest to the newest.

    No list of files is kept from one call to the next: archives are renamed at each rotation, and
    compressed later. A file is found again by what it is, never by its name.

    Parameters
    ----------
    log
        The live log, which may be absent.
    counters
        Where ``rotations``, ``truncations``, ``archive_errors`` and ``read_errors`` are counted.
    """

    def __init__(self, log: Path, counters: Counter[str]) -> None:
        self._log = log
        self._counters = counters
        self._seen: frozenset[str] = frozenset()
        self.at_newest = False
        """Whether there was nothing newer when the last file was opened."""

    def begin(self, start: Position | Literal["start", "end"]) -> LogFile | None:
        """Open the file to start with, at the place to start from; None while there is none.

        A position in none of the files begins at the oldest: it belongs to another log, or to a file that
        is gone, and then everything that is left came after it.
        """

        def choose(members: list[Member]) -> Choice:
            if start == "end":
                return [(member, None) for member in members[-1:]]
            index = locate(members, start) if isinstance(start, Position) else None
            if index is None or not isinstance(start, Position):
                return [(member, 0) for member in members]
            first, offset = members[index], start.offset
            if not first.compressed and first.size < offset:  # cut off while nobody was reading
                self._counters["truncations"] += 1
                offset = 0
            return [(first, offset), *((member, 0) for member in members[index + 1 :])]

        return self._open(choose)

    def after(self, file: LogFile) -> LogFile | None:
        """Open the file that follows ``file``, which has been read to its end; None while there is none."""

        def choose(members: list[Member]) -> Choice:
            index = locate(members, file.at(file.offset))
            if index is not None and members[index].path == self._log and not self.is_live(file):
                index = None  # a new log whose first line is the old one's
            if index is not None:
                later = members[index + 1 :]
            else:  # deleted: what was not there before is newer
                later = [m for m in members if m.path == self._log or m.fingerprint not in self._seen]
            return [(member, 0) for member in later]

        was_newest = self.at_newest
        following = self._open(choose, rotation=was_newest)
        self.at_newest |= following is None
        return following

    def copy_of(self, file: LogFile, offset: int) -> LogFile | None:
        """Open the copy that ``copytruncate`` made of a file that has since been truncated, at ``offset``."""

        def choose(members: list[Member]) -> Choice:
            return [
                (member, offset)
                for member in members
                if member.continues(file.fingerprint, file.head)
                and (member.device, member.inode) != (file.device, file.inode)
                and (member.compressed or member.size >= offset)
            ]

        return self._open(choose)

    def is_live(self, file: LogFile) -> bool:
        """Whether a file is what stands at the log's path now."""
        return self._at_path() == (file.device, file.inode)

    def has_newer(self, file: LogFile) -> bool:
        """Whether another file than ``file``, the last one opened, is to be read when it ends."""
        return not self.at_newest or self._at_path() not in {None, (file.device, file.inode)}

    def _at_path(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._log)  # noqa: PTH116 - asked for each chunk, and Path.stat is slower
        except FileNotFoundError:
            return None  # renamed, and not created yet
        except OSError:
            self._counters["read_errors"] += 1
            return None
        if not stat.S_ISREG(status.st_mode):
            self._counters["read_errors"] += 1
            return None
        return status.st_dev, status.st_ino

    def _open(self, choose: Callable[[list[Member]], Choice], *, rotation: bool = False) -> LogFile | None:
        """Open the first of the chosen files that can be opened; look again where one was renamed."""
        for _ in range(ATTEMPTS):
            members = survey(self._log)
            choice = choose(members)
            for member, offset in choice:
                try:
                    file = open_log(member.path)
                except LogMissing:
                    break
                except LogError:
                    self._counters["read_errors" if member.path == self._log else "archive_errors"] += 1
                    continue
                if (file.device, file.inode) != (member.device, member.inode):
                    file.close()
                    break
                if offset is None:
                    file.skip_all()
                else:
                    file.skip(offset)
                self._seen = frozenset(m.fingerprint for m in members[: members.index(member) + 1])
                self.at_newest = member is members[-1]
                self._counters["rotations"] += len(choice) if rotation else 0
                return file
            else:
                return None
        return None
