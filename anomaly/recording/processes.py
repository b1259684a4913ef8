"""Programs that run, and programs that were started: ``processes`` and ``process_events``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from anomaly.recording.accounts import Accounts
from anomaly.recording.rows import Row, row, told

_DELETED = " (deleted)"
_NO_LOGIN = 2**32 - 1


class Program(NamedTuple):
    """A process, as far as it could be looked at."""

    pid: int
    parent: int
    started: float
    """In seconds since 1970 UTC; with the pid it says which process it is, since pids are used again."""
    name: str
    path: str
    """Empty for the kernel's own threads, and where we may not know."""
    uid: int
    euid: int


def programs() -> list[Program]:
    """Look at each process. Whoever vanishes meanwhile, or may not be looked at, is left out."""
    found = []
    for pid in psutil.pids():
        # What psutil raises for a process that is gone, is a zombie or is somebody else's; and what the kernel
        # says where one of its files disappears while it is read.
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)  # anew: one that is kept does not notice that its pid is another's now
            with process.oneshot():
                uids = process.uids()
                started = process.create_time()
                found.append(
                    Program(pid, process.ppid(), started, process.name(), _path(pid), uids.real, uids.effective)
                )
    return found


def running(found: Iterable[Program], accounts: Accounts) -> Iterator[Row]:
    """Give the rows of ``processes``: one each, without what differs from start to start."""
    for each in found:
        yield row(name=each.name, path=each.path, uid=each.uid, username=accounts.name(each.uid))


class Starts:
    """Gives the rows of ``process_events``: the programs that were started since the last look.

    The kernel reports an exec; here one is guessed from a process that was not there, or that has become another
    program. One that does what its parent does, under the same name and arguments, has only been forked.

    Parameters
    ----------
    accounts
        Names of numbers.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._known: dict[int, tuple[float, str, str]] | None = None

    def rows(self, found: Iterable[Program]) -> list[Row]:
        """Take the processes as they are; what ran at the first look is known already and gives no row."""
        before = self._known or {}
        now: dict[int, tuple[float, str, str]] = {}
        rows = []
        for each in found:
            known = before.get(each.pid)
            same = known is not None and known[0] == each.started
            if known is not None and same and each.path in ("", known[1]):
                now[each.pid] = known
                continue
            cmdline = _cmdline(each.pid)
            now[each.pid] = each.started, each.path, cmdline
            parent = now.get(each.parent) or before.get(each.parent)
            # A subshell may be gone before its arguments are read.
            forked = parent is not None and parent[1] == each.path and cmdline in ("", parent[2])
            if self._known is not None and (each.path or cmdline) and not forked:
                rows.append(self._row(each, cmdline, time.time() if same else each.started))
        self._known = now
        return rows

    def _row(self, each: Program, cmdline: str, moment: float) -> Row:
        login = _login(each.pid)
        cwd = ""
        with suppress(OSError):
            cwd = f'"{Path(f"/proc/{each.pid}/cwd").readlink()}"'  # osquery keeps the quotes of the audit record
        return row(
            auid=login,
            cmdline=cmdline,
            cwd=cwd,
            euid=each.euid,
            parent=each.parent,
            path=each.path,
            pid=each.pid,
            time=int(moment),
            uid=each.uid,
            username=self._accounts.name(each.uid if login == _NO_LOGIN else login),
        )


def _path(pid: int) -> str:
    # Not psutil's exe(): where the link may not be read it believes the arguments, which a program writes itself.
    try:
        link = os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 - to make a Path takes longer than this
    except OSError:
        return ""
    return link.removesuffix(_DELETED)


def _cmdline(pid: int) -> str:
    with suppress(psutil.Error, OSError):
        return told(" ".join(psutil.Process(pid).cmdline()))
    return ""


def _login(pid: int) -> int:
    """Return who logged in and started this, whatever sudo made of it since."""
    try:
        return int(Path(f"/proc/{pid}/loginuid").read_text("ascii"))
    except (OSError, ValueError):
        return _NO_LOGIN  # a kernel without auditing
