"""What programs hold open, read once for files and sockets: to read the links is most of what a look costs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from anomaly.recording.processes import Program

_SOCKET = "socket:["


class Held(NamedTuple):
    """What is held, and by whom."""

    files: set[tuple[str, int]]
    """Each path with its user's number, however often it is open. Pipes and the like have no path."""
    sockets: dict[int, Program]
    """The program behind a socket, by the socket's inode; of several the one with the lowest pid, the parent."""


def held(found: Iterable[Program]) -> Held:
    """Look at what each program holds. Whose descriptors may not be seen holds nothing."""
    # Neither psutil's open_files(), which also asks where in each file its program is, at four times the cost, nor
    # its net_connections(), which reads every link again.
    files: set[tuple[str, int]] = set()
    sockets: dict[int, Program] = {}
    for each in found:
        folder = f"/proc/{each.pid}/fd"
        with suppress(OSError):
            for number in os.listdir(folder):
                with suppress(OSError):  # closed meanwhile
                    link = os.readlink(f"{folder}/{number}")  # noqa: PTH115 - to make a Path takes longer than this
                    if link.startswith("/"):
                        files.add((link, each.uid))
                    elif link.startswith(_SOCKET):
                        sockets.setdefault(int(link[len(_SOCKET) : -1]), each)
    return Held(files, sockets)
