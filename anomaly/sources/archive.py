"""A log and its archives as one stream: which files there are, and where a position lies.

What the names say is in :mod:`anomaly.sources.naming`; what a file is, only its content says.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from anomaly.errors import LogError, LogMissing
from anomaly.sources.compressed import is_compressed
from anomaly.sources.interface import Position
from anomaly.sources.logfile import LogFile, open_log
from anomaly.sources.naming import archives

ATTEMPTS = 10
"""How often a directory that changes while it is looked at is looked at again."""


class Member(msgspec.Struct, frozen=True):
    """One file of a chain, as it was found."""

    path: Path
    device: int
    inode: int
    size: int
    fingerprint: str
    """As in :func:`anomaly.sources.logfile.fingerprint`; "" also for an archive that cannot be opened."""
    head: bytes
    """The first bytes, uncompressed."""

    @property
    def compressed(self) -> bool:
        """Whether ``size`` says nothing of the length of the content."""
        return is_compressed(self.path)

    @property
    def mark(self) -> str:
        """The head in few characters, to know the file again; "" for an empty one.

        Of a file shorter than its head it is all of the content: it must not be taken for one that only begins
        alike, as any record begins like one that was torn.
        """
        return f"{len(self.head)}-{hashlib.blake2b(self.head, digest_size=8).hexdigest()}" if self.head else ""

    def is_file(self, device: int, inode: int) -> bool:
        """Whether it is this very file, by whatever name."""
        return (self.device, self.inode) == (device, inode)

    def holds(self, position: Position) -> bool:
        """Whether a position lies in this file, by its content; a position without a first line lies in none."""
        if not position.file or self.fingerprint != position.file:
            return False
        try:
            with open_log(self.path) as file:
                return self.is_file(file.device, file.inode) and file.holds(position)
        except LogError:
            return False

    def continues(self, other: Member) -> bool:
        """Whether one of the two files is the beginning of the other, to the last byte that both have.

        The heads alone would do for osquery's records, which carry their time and a counter, but not for a
        log that begins with a long broken line.
        """
        heads = self.head.startswith(other.head) or other.head.startswith(self.head)
        if not heads or self.fingerprint != other.fingerprint or not self.fingerprint:
            return False
        try:
            with open_log(self.path) as mine, open_log(other.path) as theirs:
                return _alike(mine, theirs)
        except LogError:
            return False


def _alike(one: LogFile, other: LogFile) -> bool:
    """Whether two files, read from their starts, hold the same until the shorter one ends."""
    left = right = b""
    while True:
        left, right = left or one.read(), right or other.read()
        length = min(len(left), len(right))
        if left[:length] != right[:length]:
            return False
        if not length:
            return True
        left, right = left[length:], right[length:]


def chain(log: Path, olddir: Path | None = None) -> list[Path]:
    """Return the archives of a log, oldest first, and then the log itself, as far as they exist.

    An archive that is there twice, because it is being compressed or copied at this moment, is listed
    once. Names that are not archives, such as ``X.bak``, are not listed.

    Parameters
    ----------
    log
        The live log.
    olddir
        A directory of archives besides the log's own, as logrotate's ``olddir``.
    """
    return [member.path for member in survey(log, olddir)]


def survey(log: Path, olddir: Path | None = None) -> list[Member]:
    """Find the files of a log's chain, oldest first, all as they were at one moment.

    A rotation while the files are opened one after the other would hide one of them, so the directory is
    looked at again until two looks agree.
    """
    found = _stat_all(log, olddir)
    for _ in range(ATTEMPTS):
        members = [member for path, status in found.items() if (member := _examine(path, status))]
        again = _stat_all(log, olddir)
        same = [(path, status.st_dev, status.st_ino) for path, status in again.items()]
        if same == [(member.path, member.device, member.inode) for member in members]:
            break
        found = again
    return _without_twins(members, log)


def locate(members: Sequence[Member], position: Position) -> int | None:
    """Return the index of the file that a position is in, or None.

    The content decides, device and inode among equals; then the older file, because reading a line twice
    is better than missing one. A position without a fingerprint was in a file without a line.
    """
    very = [index for index, m in enumerate(members) if m.is_file(position.device, position.inode)]
    if not position.file:
        return very[0] if very else None
    for index in [*very, *(index for index in range(len(members)) if index not in very)]:
        if members[index].holds(position):
            return index
    return None


def _stat_all(log: Path, olddir: Path | None) -> dict[Path, os.stat_result]:
    """Return the regular files whose names belong to the chain, in its order."""
    result: dict[Path, os.stat_result] = {}
    live = _stat(log)
    for path in () if is_compressed(log) else archives(log, olddir):
        status = _stat(path)
        if status is not None and not (live is not None and os.path.samestat(status, live)):
            result[path] = status
    if live is not None:
        result[log] = live
    return result


def _stat(path: Path) -> os.stat_result | None:
    """Look at a file; None where there is none or it is not a regular one."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _examine(path: Path, status: os.stat_result) -> Member | None:
    """Open a file to see what it is; None when it has gone meanwhile."""
    try:
        with open_log(path) as file:
            return Member(path, file.device, file.inode, file.size, file.fingerprint, file.head)
    except LogMissing:
        return None
    except LogError:  # it stays in the chain: whoever reads it counts that it could not be read
        return Member(path, status.st_dev, status.st_ino, status.st_size, "", b"")


def _without_twins(members: list[Member], log: Path) -> list[Member]:
    """Keep one of several files with the same content: a plain one, and the longest of these.

    Only a whole copy makes the log itself a twin, as ``copytruncate`` does before it truncates; a log that
    is shorter than an archive it begins like is new, and stays.
    """
    kept: list[Member] = []
    alike: dict[str, list[Member]] = {}  # there may be thousands of archives
    for member in members:
        same = alike.setdefault(member.fingerprint, [])
        twin = next((other for other in same if member.continues(other)), None)
        longer = twin is None or (not twin.compressed and member.size >= twin.size)
        if twin is None or (member.path == log and not longer):
            kept.append(member)
            same.append(member)
        elif not member.compressed and (longer or twin.compressed):
            kept.remove(twin)
            same.remove(twin)
            kept.append(member)
            same.append(member)
    return kept
