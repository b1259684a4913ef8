"""Which file of a log to read next: asked of the directory as it is, each time a file has been read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from anomaly.errors import LogError, LogMissing
from anomaly.sources.archive import ATTEMPTS, Member, locate, survey
from anomaly.sources.held import Held
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
        Where ``rotations``, ``truncations``, ``replacements``, ``losses``, ``archive_errors`` and ``read_errors``
        are counted.
    olddir
        A directory of archives besides the log's own.
    """

    def __init__(self, log: Path, counters: Counter[str], olddir: Path | None = None) -> None:
        self._log = log
        self._olddir = olddir
        self._counters = counters
        self.known: tuple[str, ...] = ()
        """Marks of the files older than the last one opened: whatever becomes of that one, they are not newer."""
        self.at_newest = False
        """Whether there was nothing newer when the last file was opened."""
        self._looked: list[int] = []
        self._held = Held()

    def close(self) -> None:
        """Close what is held open."""
        self._held.close()

    def begin(self, start: Position | Literal["start", "end"]) -> LogFile | None:
        """Open the file to start with, at the place to start from; None while there is none.

        Where the file of a position is gone, or was cut, everything that is left came after it, but for what is
        known to be older.
        """
        missed = ""
        self.known = start.known if isinstance(start, Position) else ()

        def choose(members: list[Member]) -> Choice:
            nonlocal missed
            if start == "end":
                return [(member, None) for member in members[-1:]]
            if start == "start":
                return [(member, 0) for member in members]
            index = locate(members, start) if start.file else None
            if index is not None:
                return [(members[index], start.offset), *((member, 0) for member in members[index + 1 :])]
            if start.offset:
                here = any(member.is_file(start.device, start.inode) for member in members)
                missed = "truncations" if here else "losses"
            if start.known or not start.file:
                return [(member, 0) for member in self._unknown(members)]
            same = (i for i, m in enumerate(members) if m.fingerprint == start.file)
            return [(member, 0) for member in members[next(same, 0) :]]

        file = self._open(choose)
        if missed and file is not None:
            self._counters[missed] += 1
        return file

    def after(self, file: LogFile) -> LogFile | None:
        """Open the file that follows ``file``, which has been read to its end; None while there is none."""

        def choose(members: list[Member]) -> Choice:
            index = next((i for i, m in enumerate(members) if m.is_file(file.device, file.inode)), None)
            if index is None:
                index = locate(members, file.place(file.offset))  # compressed, or copied, since it was opened
                if index is not None and members[index].path == self._log:
                    index = None  # a new log that begins as the old one did
            # Of a deleted file, what was not there before is newer.
            return [(member, 0) for member in self._unknown(members[0 if index is None else index + 1 :])]

        was_newest = self.at_newest
        deleted = self._held.next_deleted(survey(self._log, self._olddir)) if self._held else None
        following = deleted or self._open(choose, rotation=was_newest)
        self.at_newest |= following is None
        if was_newest and following is not None and file.deleted:
            self._counters["replacements"] += 1
        return following

    def before(self, file: LogFile) -> LogFile | None:
        """Open the copy that ``copytruncate`` made before anything of a file was read; None where it made none."""

        def choose(members: list[Member]) -> Choice:
            here = next((i for i, m in enumerate(members) if m.is_file(file.device, file.inode)), 0)
            return [(member, 0) for member in members[:here] if not member.is_known(self.known)]

        return self._open(choose) if self._stamps() != self._looked else None

    def copy_of(self, file: LogFile, place: Position) -> LogFile | None:
        """Open the copy that ``copytruncate`` made of a file that has since been truncated, at a place in it."""

        def choose(members: list[Member]) -> Choice:
            others = (member for member in members if not member.is_file(file.device, file.inode))
            return [(member, place.offset) for member in others if member.holds(place)]

        copy = self._open(choose)
        if copy is None:
            self._looked = []  # what came since the truncation may have been copied: see before()
        return copy

    def again(self, place: Position) -> LogFile | None:
        """Open an archive that was being read beside the newest file; None where it is gone."""
        members = survey(self._log, self._olddir)
        index = locate(members, place)
        if index is None:
            return None
        try:
            file = open_log(members[index].path)
        except LogError:
            return None
        if file.holds(place):
            return file
        file.close()
        return None

    def is_live(self, file: LogFile) -> bool:
        """Whether a file is what stands at the log's path now."""
        return self._at_path() == (file.device, file.inode)

    def has_newer(self, file: LogFile) -> bool:
        """Whether another file than ``file``, the last one opened, is to be read when it ends."""
        here = self._at_path()
        if here is None or here == (file.device, file.inode):
            return not self.at_newest
        self._held.hold(self._log, *here)
        return True

    def _unknown(self, members: list[Member]) -> list[Member]:
        return [m for m in members if m.path == self._log or not m.is_known(self.known)]

    def _stamps(self) -> list[int]:
        """Say when the directories last changed."""
        stamps = []
        for folder in filter(None, (self._log.parent, self._olddir)):
            with suppress(OSError):
                stamps.append(os.stat(folder).st_mtime_ns)  # noqa: PTH116 - asked whenever an empty log is looked at
        return stamps

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
            self._looked = self._stamps()
            members = survey(self._log, self._olddir)
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
                self._remember(members, members.index(member))
                self._held.release(file.device, file.inode)
                self.at_newest = member is members[-1]
                self._counters["rotations"] += len(choice) if rotation else 0
                return file
            else:
                return None
        return None

    def _remember(self, members: list[Member], opened: int) -> None:
        """Note what is older than the file opened; what was older before is so still."""
        older = [m for i, m in enumerate(members) if i < opened or (i != opened and m.is_known(self.known))]
        self.known = tuple(filter(None, (member.mark for member in older)))
