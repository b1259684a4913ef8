"""Commands in the histories of shells: ``shell_history``."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from anomaly.recording.accounts import Accounts, Home
from anomaly.recording.rows import Row, row

NAMES = (".bash_history", ".zsh_history", ".zhistory", ".history", ".sh_history", ".ash_history")
"""The files that osquery reads (osquery/tables/system/posix/shell_history.cpp)."""

MAX_READ = 1 << 20
"""Bytes read of a file: its end. A longer history says little more of what is typed now."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BASH_TIME = re.compile(rb"#([0-9]{1,11})")
_ZSH = re.compile(rb": {0,10}([0-9]{1,11}):[0-9]+;(.*)", re.DOTALL)
_OVERLAP = 20
"""Commands by which the end of what was known is found again in a file that was written anew."""

Command = tuple[str, bytes]
"""Time, ``0`` where the shell notes none, and text."""


class _Read(NamedTuple):
    """What is known of a file."""

    identity: tuple[int, int, int]
    """Inode, size and time of change: where they are the same, nobody has written."""
    commands: list[Command]


class Histories:
    """Reads what was added to each history since the last look.

    Parameters
    ----------
    accounts
        Whose homes to look into.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._known: dict[tuple[int, str], _Read] = {}

    def rows(self) -> list[Row]:
        """Give the new commands; at the first look those that are there, as far as they are read.

        A file that appears later is new as a whole. One that cannot be read says nothing.
        """
        rows = []
        for home in self._accounts.homes():
            for name in NAMES:
                known = self._known.get((home.uid, name))
                read = _read(home, name, known)
                if read is None or read is known:
                    continue
                self._known[home.uid, name] = read
                for time, text in added(known.commands if known else [], read.commands):
                    command = text.decode("utf-8", "surrogateescape")
                    rows.append(row(command=command, time=time, uid=home.uid, username=home.name))
        return rows


def added(before: list[Command], now: list[Command]) -> list[Command]:
    """Give what a history has gained; what a shell has trimmed is no matter.

    >>> ls, top = ("0", b"ls"), ("0", b"top")
    >>> added([ls, top], [ls, top, ls])
    [('0', b'ls')]
    >>> added([top, ls, top, ls], [ls, top, ls, ls])
    [('0', b'ls')]
    """
    end = _end(before, now)
    # What stands before that end and was not there is new as well: shells that drop repetitions reorder the rest.
    gone = Counter(before)
    fresh = []
    for command in now[:end]:
        if gone[command] > 0:
            gone[command] -= 1
        else:
            fresh.append(command)
    return fresh + now[end:]


def _end(before: list[Command], now: list[Command]) -> int:
    """Find where what was known ends; the whole length where that cannot be told."""
    if now[: len(before)] == before:
        return len(before)
    tail = before[-_OVERLAP:]
    ends = range(len(now), len(tail) - 1, -1)
    return next((end for end in ends if now[end - len(tail) : end] == tail), len(now))


def _read(home: Home, name: str, known: _Read | None) -> _Read | None:
    """Read a history; give back what is known where nothing has changed, None where there is nothing to read."""
    try:
        descriptor = os.open(home.directory / name, _OPEN)
    except (OSError, ValueError):
        return None
    try:
        about = os.fstat(descriptor)
        # A link, a pipe or another's file in this place would have root tell what is none of this user's business.
        if not stat.S_ISREG(about.st_mode) or about.st_uid != home.uid:
            return None
        identity = about.st_ino, about.st_size, about.st_mtime_ns
        if known is not None and known.identity == identity:
            return known
        start = max(0, about.st_size - MAX_READ)
        lines = os.pread(descriptor, MAX_READ, start).split(b"\n")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    lines.pop()  # nothing, or a command that is being written
    return _Read(identity, list(commands(lines[1:] if start else lines)))


def commands(lines: list[bytes]) -> Iterator[Command]:
    """Read the lines of bash (with or without ``HISTTIMEFORMAT``), zsh and other shells; one command a line.

    >>> list(commands([b"#1793585624", b"git pull", b": 1793585630:0;make", b"ls", b""]))
    [('1793585624', b'git pull'), ('1793585630', b'make'), ('0', b'ls')]
    """
    time = "0"
    for line in lines:
        if match := _BASH_TIME.fullmatch(line):
            time = match[1].decode()
            continue
        match = _ZSH.fullmatch(line)
        if match:
            yield match[1].decode(), match[2]
        elif line:
            yield time, line
        time = "0"
