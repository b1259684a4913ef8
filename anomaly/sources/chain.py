"""Which file of a log to read next: asked of the directory as it is, each time a file has been read."""

from __future__ import annotations

import os
import stat
import time
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


ABSENT = 30.0
"""Seconds after which a log that was renamed or deleted, and not made anew, is spoken of."""


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
        """Marks of the files, besides the last one opened, that are not to be read: they have been."""
        self.at_newest = False
        """Whether there was nothing newer when the last file was opened."""
        self.behind: list[LogFile] = []
        """Rotated files that are still open: what comes into them is read there."""
        self._absent_since: float | None = None
        self._looked: list[int] = []
        self._held = Held()

    def close(self) -> None:
        """Close what is held open."""
        self._held.close()

    def begin(self, start: Position | Literal["start", "end"]) -> LogFile | None:
        """Open the file to start with, at the place to start from; None while there is none.

        Where the file of a position is gone, or was cut, everything that is left is read, but for what is known
        to have been.
        """
        missed = ""
        behinds: list[str] = []

        def choose(members: list[Member]) -> Choice:
            nonlocal missed
            if start == "start":
                return [(member, 0) for member in members]
            if start == "end":
                self._know(members[:-1])
                return [(member, None) for member in members[-1:]]
            index = locate(members, start) if start.file else None
            places = (self._rotated(members, place) for place in start.behind)
            behinds.extend(members[place].mark for place in places if place is not None)
            if start.known is None:
                self._know(members[: index if index is not None else _alike(members, start)])
            else:
                self.known = (*start.known, *filter(None, behinds))
            if index is not None:
                return [(members[index], start.offset), *self._unread(members, index)]
            if start.offset:
                here = any(member.is_file(start.device, start.inode) for member in members)
                missed = "truncations" if here else "losses"
            return self._unread(members, None)

        file = self._open(choose)
        if missed and file is not None:
            self._counters[missed] += 1
        return file

    def after(self, file: LogFile) -> LogFile | None:
        """Open the file that follows ``file``, which has been read to its end; None while there is none."""
        newer = 1

        def choose(members: list[Member]) -> Choice:
            nonlocal newer
            index = self._index(members, file)
            self._know(members[index : index + 1] if index is not None else [])
            unread = self._unread(members, index)
            newer = len(unread)
            return unread

        was_newest = self.at_newest
        following = self._deleted(file) or self._open(choose)
        self.at_newest |= following is None
        if was_newest and following is not None:
            self._counters["rotations"] += newer
            self._counters["replacements"] += file.deleted
        return following

    def before(self, file: LogFile) -> LogFile | None:
        """Open the copy that ``copytruncate`` made before anything of a file was read; None where it made none."""

        def choose(members: list[Member]) -> Choice:
            index = self._index(members, file) or 0
            return [
                (member, 0)
                for member in members[:index]
                if member.head and member.mark not in self.known and not self._is_behind(member)
            ]

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
        index = self._rotated(members, place)
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

    def _index(self, members: list[Member], file: LogFile) -> int | None:
        """Find a file that is open among the members: under any name, or compressed or copied since."""
        for index, member in enumerate(members):
            if member.is_file(file.device, file.inode):
                return index
        alike = locate(members, file.place(file.offset)) if file.fingerprint else None
        # At the log's path it is a new log, which only begins as the old one did.
        return alike if alike is None or members[alike].path != self._log else None

    def _unread(self, members: list[Member], index: int | None) -> Choice:
        """Return what there is to read besides the file at an index: where it stands says little, names move."""
        known = frozenset(self.known)
        return [
            (member, 0)
            for i, member in enumerate(members)
            if i != index
            and (member.path == self._log or (member.mark not in known and not self._is_behind(member)))
            and (member.head or index is None or i > index)
        ]

    def _rotated(self, members: list[Member], place: Position) -> int | None:
        """Find the rotated file that a place is in; what only begins as that one did is another file."""
        index = locate(members, place)
        if index is None or members[index].path == self._log:
            return None
        found = members[index]
        return index if found.compressed or found.is_file(place.device, place.inode) else None

    def _is_behind(self, member: Member) -> bool:
        return any(member.is_file(file.device, file.inode) for file in self.behind)

    def grown(self, file: LogFile) -> None:
        """Note what a rotated file is now that a late line came into it."""
        self._know(
            [member for member in survey(self._log, self._olddir) if member.is_file(file.device, file.inode)]
        )

    def _know(self, members: list[Member]) -> None:
        """Note that files need not be read."""
        marks = filter(None, (member.mark for member in members))
        self.known = tuple(dict.fromkeys((*self.known, *marks)))

    def _deleted(self, file: LogFile) -> LogFile | None:
        """Give the file after ``file`` if that has been deleted while it waited; else None."""
        if not self._held:
            return None
        members = survey(self._log, self._olddir)
        following = self._held.next_deleted(members)
        if following is not None and (index := self._index(members, file)) is not None:
            self._know(members[index : index + 1])
        return following

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
        except FileNotFoundError:  # renamed, and not created yet
            now = time.monotonic()
            self._absent_since = since = self._absent_since or now
            if now - since >= ABSENT:
                self._absent_since = float("inf")  # said once
                self._counters["absences"] += 1
            return None
        except OSError:
            self._counters["read_errors"] += 1
            return None
        self._absent_since = None
        if not stat.S_ISREG(status.st_mode):
            self._counters["read_errors"] += 1
            return None
        return status.st_dev, status.st_ino

    def _open(self, choose: Callable[[list[Member]], Choice]) -> LogFile | None:
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
                there = {m.mark for m in members}
                self.known = tuple(mark for mark in self.known if mark in there)
                self._held.release(file.device, file.inode)
                self.at_newest = member is members[-1]
                return file
            else:
                return None
        return None


def _alike(members: list[Member], place: Position) -> int:
    """Return where the first file stands that begins as a position's did; 0 where none does."""
    return next((i for i, m in enumerate(members) if place.file and m.fingerprint == place.file), 0)
