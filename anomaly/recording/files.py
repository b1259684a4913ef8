"""Files that programs hold open: ``open_files``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anomaly.recording.accounts import Accounts
from anomaly.recording.rows import Row, row

# What the pack's query leaves out; LIKE does not tell capitals from small letters.
_NOISE = re.compile(
    r"/dev/(?:null|zero|random|urandom|ptmx|tty)"
    r"|(?i:/dev/pts/.*|/memfd:.*|/usr/share/fonts/.*|.*/\.cache/.*"
    r"|.*/\.config/(?:google-chrome|chromium)/.*|.*/\.mozilla/firefox/.*)",
    re.DOTALL,
)


def opened(held: Iterable[tuple[str, int]], accounts: Accounts) -> Iterator[Row]:
    """Give the rows of ``open_files``, by path, from each path with its user's number."""
    for path, uid in sorted(held):
        if tells(path):
            yield row(path=path, uid=uid, username=accounts.name(uid))


def tells(path: str) -> bool:
    """Whether a file says something of its user: pipes and sockets do not, nor does what every program opens."""
    return path.startswith("/") and not _NOISE.fullmatch(path)
