"""Taking out of spools what is about one user, while nobody delivers from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anomaly.atomic import replace
from anomaly.identity import keys
from anomaly.sinks.spool import CURSOR, FRESH, LOCK, NAME, POSITION, REFUSED, Spool
from anomaly.sinks.visible import visible
from anomaly.state_files import opened, read

_COLUMNS = 24  # of a name in text
_STAMP = len("2026-11-02 02:13:44 ")


class Found(NamedTuple):
    """A file of a spool with alerts of the user."""

    path: Path
    alerts: int


def spools(root: Path) -> list[Path]:
    """Return the spools below a directory: one for each watch and each address."""
    return sorted(lock.parent for lock in root.glob(f"*/*/{LOCK}"))


@contextmanager
def held(spool: Path) -> Iterator[None]:
    """Keep everybody from delivering; raises StateLocked where somebody does."""
    with closing(Spool(spool)):
        yield


def find(spool: Path, user: str) -> list[Found]:
    """Find alerts of a user: what waits, what was delivered and lies beside it, and what was refused.

    Raises
    ------
    ValueError
        A file is not to be believed, as a sentence without its full stop.
    StateError
        The directory is not.
    """
    found = []
    with opened(spool) as folder:
        if folder is None:
            return []
        for name in _files(folder):
            try:
                lines = (read(folder, name) or b"").splitlines()
            except ValueError as error:
                raise ValueError(f"{spool / name} cannot be searched: {error}") from error
            if count := sum(is_of(line, user) for line in lines):
                found.append(Found(spool / name, count))
    return found


def take_out(path: Path, user: str) -> None:
    """Write a file that was found anew, without the user; the spool must be held."""
    with opened(path.parent) as folder:
        data = read(folder, path.name) if folder is not None else None
        if folder is None or data is None:
            return
        lines = data.splitlines(keepends=True)
        if NAME.fullmatch(path.name):
            lines = lines[_rewound(folder, path.name) :]
        rest = b"".join(line for line in lines if not is_of(line, user))
        if rest:
            replace(folder, path.name, rest, temporary=FRESH, lasting=True)
        else:
            os.unlink(path.name, dir_fd=folder)
        os.fsync(folder)


def is_of(line: bytes, user: str) -> bool:
    """Say whether an entry is an alert of a user, in any format; a torn one is if the name is in it."""
    try:
        entry = json.loads(line)
        body = entry.get("entry", entry)["body"]
        if not isinstance(body, str):
            raise TypeError
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return user.encode("utf-8", "surrogatepass") in line or json.dumps(user).encode()[1:-1] in line
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _is_text_of(body, user)
    return isinstance(document, dict) and user in keys(*_whose(document))


def _files(folder: int) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name == REFUSED or NAME.fullmatch(name))


def _rewound(folder: int, name: str) -> int:
    """Return how many lines of a segment are done, and let the cursor say none, since lines will be others.

    What is done is left out with the user's: a crash before that costs no more than repetition.
    """
    cursor = os.open(CURSOR, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    try:
        match = POSITION.fullmatch(os.pread(cursor, 64, 0))
        if match is None or match[1] != name[:20].encode():
            return 0
        os.pwrite(cursor, b"%b %010d" % (match[1], 0), 0)
        os.fsync(cursor)
        return int(match[2])
    finally:
        os.close(cursor)


def _whose(document: dict[str, Any]) -> tuple[str, str]:
    """Give host and user of an alert in our own JSON, in ECS or in OCSF."""
    if isinstance(document.get("user"), str):
        return str(document.get("host")), document["user"]
    own = _part(document, "anomaly") or _part(_part(document, "unmapped"), "anomaly")
    host = _part(document, "host").get("name") or _part(document, "device").get("hostname")
    return str(host), str(own.get("user"))


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _is_text_of(text: str, user: str) -> bool:
    said = text[_STAMP:] if text[:4].isdecimal() and text[10:11] == " " else text
    name, at, host = user.rpartition("@")
    wanted = [f"{visible(user, _COLUMNS)}{end}" for end in (" on ", ": ")]
    if at:
        wanted.append(f"{visible(name, _COLUMNS)} on {visible(host, _COLUMNS)}: ")
    return said.startswith(tuple(wanted))
