"""How far a checkpoint is behind its log, without the process that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from anomaly.osquery import Parser, Skipped
from anomaly.sources.archive import Member, locate, survey
from anomaly.sources.interface import Position
from anomaly.sources.tail import LogSource

_PEEKED = 100  # lines that may be no action before the first that says its time


class Lag(NamedTuple):
    """What has not been read."""

    bytes: int | None
    """On disk, so compressed where a file is; None where the log does not hold the place any more."""
    seconds: float | None
    """How long the oldest of it has waited; None where it does not say."""


def lag(log: Path, place: Position, olddir: Path | None, now: float) -> Lag:
    """Look how much of a log lies behind a place in it.

    Parameters
    ----------
    log
        The live log.
    place
        Where reading would go on.
    olddir
        A directory of archives besides the log's own.
    now
        Seconds since 1970 UTC, by the clock.

    Raises
    ------
    LogError
        It cannot be read.
    """
    members = survey(log, olddir)
    index = locate(members, place)
    if index is None:
        # A place before any line: of a log that was empty or absent, and all there is came since.
        waiting = sum(member.size for member in members) if not place.file else None
    else:
        waiting = _left(members[index], place) + sum(member.size for member in members[index + 1 :])
    if not waiting:
        return Lag(waiting, None if waiting is None else 0.0)
    return Lag(waiting, _waited(log, place, olddir, now))


def _left(member: Member, place: Position) -> int:
    """Return the bytes behind a place in a file: none in a compressed one, of which that cannot be told."""
    return 0 if member.compressed else max(member.size - place.offset, 0)


def _waited(log: Path, place: Position, olddir: Path | None, now: float) -> float | None:
    """Return the seconds since the first unread action that says its time."""
    parser = Parser()
    with LogSource(log, start=place, follow=False, olddir=olddir) as source:
        for line in source.read(_PEEKED, timeout=0.0):
            parsed = parser.parse(line.data)
            if not isinstance(parsed, Skipped) and parsed[0].time:
                return max(now - parsed[0].time, 0.0)
    return None
