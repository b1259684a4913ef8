"""The end of the log, read once: what its lines are, whom they name, and when they say it was."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path

import msgspec

from anomaly.identity import NAMELESS, NUMBER, UNSET
from anomaly.osquery import Action, Parser, Skipped
from anomaly.sources.lines import LineSplitter
from anomaly.sources.logfile import open_log

MOST = 4 << 20
"""Bytes that are looked at: some 15,000 actions, read in a fraction of a second however long the log is."""

_QUERIES = 1000  # whoever writes to the log chooses their names


class Naming(StrEnum):
    """By what a row says who acted."""

    NAME = "name"
    KNOWN = "known"
    """A number, whose name another row or this machine knows."""
    NUMBER = "number"
    DECORATED = "decorated"
    """Nothing in the row, but a decorator of the line."""
    NOBODY = "nobody"


class Sample(msgspec.Struct):
    """What the last few MiB of a log hold."""

    path: Path
    fingerprint: str
    """As in :class:`anomaly.sources.interface.Position`."""
    size: int
    """Of the whole log, in bytes."""
    looked: int = 0
    """Bytes that were looked at."""
    lines: int = 0
    actions: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    """Lines that report no action, by reason."""
    namings: dict[str, Counter[Naming]] = msgspec.field(default_factory=dict)
    """Actions by query, and by what says who acted."""
    users: Counter[str] = msgspec.field(default_factory=Counter)
    """Actions to learn from, by user."""
    last: int = 0
    """Time of the last action, in seconds since 1970 UTC; 0 where none says it."""
    newest: int = 0
    back: int = 0
    """Longest step back in time from one action to the next, in seconds."""


def take(log: Path, max_line: int, most: int = MOST) -> Sample:
    """Read the end of a log; of a compressed one, its beginning.

    Raises
    ------
    LogMissing, LogUnreadable
        It is not there, may not be read, or is no regular file.
    """
    parser = Parser()
    with open_log(log) as file:
        sample = Sample(log, file.fingerprint, file.size)
        start = 0 if file.compressed else max(0, file.size - most)
        file.skip(start)
        splitter = LineSplitter(max_line, counters=sample.skipped, offset=start)
        partial = start > 0  # the first line is the end of one
        while sample.looked < most and (chunk := file.read()):
            sample.looked += len(chunk)
            found = splitter.feed(chunk, "")
            for line in found[1:] if partial else found:
                _take_line(sample, parser, line.data)
            partial = partial and not found
    return sample


def _take_line(sample: Sample, parser: Parser, data: bytes) -> None:
    sample.lines += 1
    parsed = parser.parse(data)
    if isinstance(parsed, Skipped):
        sample.skipped[parsed.reason.value] += 1
        return
    for action in parsed:
        _take_action(sample, action)


def _take_action(sample: Sample, action: Action) -> None:
    sample.actions += 1
    if action.query in sample.namings or len(sample.namings) < _QUERIES:
        sample.namings.setdefault(action.query, Counter())[naming(action)] += 1
    if not action.baseline and (action.user in sample.users or len(sample.users) < _QUERIES):
        sample.users[action.user] += 1
    if action.time:
        sample.back = max(sample.back, sample.last - action.time)
        sample.last, sample.newest = action.time, max(sample.newest, action.time)


def naming(action: Action) -> Naming:
    """Say by what a row names its user, as :func:`anomaly.identity.actor` has found it."""
    if action.user.startswith(NAMELESS):
        return Naming.NOBODY
    get = action.columns.get
    if get("username") or get("user"):
        return Naming.NAME
    if action.user.startswith(NUMBER):
        return Naming.NUMBER
    return Naming.KNOWN if any(get(key, "") not in UNSET for key in ("auid", "uid", "euid")) else Naming.DECORATED
