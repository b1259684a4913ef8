"""A log and its archives as one stream: which files there are, in which order, and where a position lies.

osquery rotates ``X`` to ``X.1``, then ``X.2.zst`` and up, and creates ``X`` with the next record
(plugins/logger/filesystem_logger.cpp, 4.9.0 and later); logrotate makes ``X.1``, ``X.2.gz`` or, with
``dateext``, ``X-20261101.gz``. A name says where an archive stands, the first line says which one it is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from anomaly.errors import LogError, LogMissing
from anomaly.sources.interface import Position
from anomaly.sources.logfile import COMPRESSED, fingerprint, open_log

__all__ = ["Member", "chain", "fingerprint", "is_compressed", "locate", "survey"]

ATTEMPTS = 10
"""How often a directory that changes while it is looked at is looked at again."""

_NUMBERED = re.compile(r"\.([0-9]+)(\.gz|\.zst)?")
_DATED = re.compile(r"-([0-9]{8,14})(?:-([0-9]+))?(\.gz|\.zst)?")


class Member(msgspec.Struct, frozen=True):
    """One file of a chain, as it was found."""

    path: Path
    device: int
    inode: int
    size: int
    fingerprint: str
    """As in :func:`fingerprint`; "" also for an archive that cannot be opened."""
    head: bytes
    """The first bytes, uncompressed."""

    @property
    def compressed(self) -> bool:
        """Whether ``size`` says nothing of the length of the content."""
        return is_compressed(self.path)

    def continues(self, fingerprint: str, head: bytes) -> bool:
        """Whether this file holds that content, as far as the first lines tell.

        The first line alone would do for osquery's records, which carry their time and a counter; a log
        that begins with a blank or a broken line needs the ones after it.
        """
        same = self.fingerprint == fingerprint != ""
        return same and (self.head.startswith(head) or head.startswith(self.head))


def is_compressed(path: Path) -> bool:
    """Whether a path names a compressed archive, which is a log on its own and never grows."""
    return path.suffix in COMPRESSED


def chain(log: Path) -> list[Path]:
    """Return the archives of a log, oldest first, and then the log itself, as far as they exist.

    An archive that is there twice, because it is being compressed or copied at this moment, is listed
    once. Names that are not archives, such as ``X.bak``, are not listed.
    """
    return [member.path for member in survey(log)]


def survey(log: Path) -> list[Member]:
    """Find the files of a log's chain, oldest first, all as they were at one moment.

    A rotation while the files are opened one after the other would hide one of them, so the directory is
    looked at again until two looks agree.
    """
    found = _stat_all(log)
    for _ in range(ATTEMPTS):
        members = [member for path, status in found.items() if (member := _examine(path, status))]
        again = _stat_all(log)
        same = [(path, status.st_dev, status.st_ino) for path, status in again.items()]
        if same == [(member.path, member.device, member.inode) for member in members]:
            break
        found = again
    return _without_twins(members, log)


def locate(members: Sequence[Member], position: Position) -> int | None:
    """Return the index of the file that a position is in, or None.

    The fingerprint decides, device and inode among equals; then the older file, because reading a line
    twice is better than missing one. A position without a fingerprint was in a file without a line.
    """
    same = [index for index, member in enumerate(members) if member.fingerprint == position.file]
    candidates = same if position.file else range(len(members))
    for index in candidates:
        if (members[index].device, members[index].inode) == (position.device, position.inode):
            return index
    return same[0] if same and position.file else None


def _stat_all(log: Path) -> dict[Path, os.stat_result]:
    """Return the regular files whose names belong to the chain, in its order."""
    result = {}
    for path in [*_archives(log), log]:
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            result[path] = status
    return result


def _archives(log: Path) -> list[Path]:
    """Return the paths beside the log that are named like its archives, oldest first.

    Dated archives come before numbered ones: where both exist, neither name says which is older.
    While ``X.2`` is compressed ``X.2.gz`` is already there and not whole: the plain one counts.
    """
    if is_compressed(log):
        return []
    try:
        names = {name for name in os.listdir(log.parent) if name.startswith(log.name)}
    except OSError:
        return []
    archives = []
    for name in names:
        if name.endswith(COMPRESSED) and name.rpartition(".")[0] in names:
            continue
        rest = name.removeprefix(log.name)
        if numbered := _NUMBERED.fullmatch(rest):
            archives.append((1, "", -int(numbered[1]), name))
        elif dated := _DATED.fullmatch(rest):
            archives.append((0, dated[1].ljust(14, "0"), int(dated[2] or 0), name))
    return [log.parent / name for *_, name in sorted(archives)]


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
    for member in members:
        twin = next((other for other in kept if member.continues(other.fingerprint, other.head)), None)
        longer = twin is None or (not twin.compressed and member.size >= twin.size)
        if twin is None or (member.path == log and not longer):
            kept.append(member)
        elif not member.compressed and (longer or twin.compressed):
            kept.remove(twin)
            kept.append(member)
    return kept
