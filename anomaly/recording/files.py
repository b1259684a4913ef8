"""Files that programs hold open: ``open_files``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from anomaly.recording.accounts import Accounts
from anomaly.recording.processes import Program
from anomaly.recording.rows import Row, row

# What the pack's query leaves out; LIKE does not tell capitals from small letters.
_NOISE = re.compile(
    r"/dev/(?:null|zero|random|urandom|ptmx|tty)"
    r"|(?i:/dev/pts/.*|/memfd:.*|/usr/share/fonts/.*|.*/\.cache/.*"
    r"|.*/\.config/(?:google-chrome|chromium)/.*|.*/\.mozilla/firefox/.*)",
    re.DOTALL,
)


def opened(found: Iterable[Program], accounts: Accounts) -> Iterable[Row]:
    """Give the rows of ``open_files``: each file once a user, however often it is open."""
    held = {(path, each.uid) for each in found for path in _paths(each.pid)}
    return [row(path=path, uid=uid, username=accounts.name(uid)) for path, uid in sorted(held)]


def tells(path: str) -> bool:
    """Whether a file says something of its user: pipes and sockets do not, nor does what every program opens."""
    return path.startswith("/") and not _NOISE.fullmatch(path)


def _paths(pid: int) -> Iterator[str]:
    # Not psutil's open_files(), which also asks where in each file its program is, at four times the cost.
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for number in os.listdir(folder):
            with suppress(OSError):
                path = os.readlink(f"{folder}/{number}")  # noqa: PTH115 - to make a Path takes longer than this
                if tells(path):
                    yield path
