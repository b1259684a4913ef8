"""Names of users' numbers, and whose homes may be looked into."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NO_UID = 2**32 - 1


class Home(NamedTuple):
    """Where a user's files are."""

    uid: int
    name: str
    directory: Path


class Accounts:
    """The system's user database, asked again when it changes and for whom it did not know.

    Parameters
    ----------
    uid
        Who looks; by default who runs this process. Homes are everybody's for root, else one's own.
    database
        The file whose change says that names may have changed.
    """

    def __init__(self, uid: int | None = None, database: Path = Path("/etc/passwd")) -> None:
        self._uid = os.geteuid() if uid is None else uid
        self._database = database
        self._changed: int | None = None
        self._names: dict[int, str] = {}
        self._homes: list[Home] | None = None

    def refresh(self) -> None:
        """Begin a round: forget what may have changed."""
        changed = None
        with suppress(OSError):
            changed = self._database.stat().st_mtime_ns
        if changed != self._changed:
            self._changed, self._homes = changed, None
            self._names.clear()
        # A look-up may go over the network; once a round is often enough for who is not known.
        self._names = {uid: name for uid, name in self._names.items() if name}

    def name(self, uid: int | None) -> str:
        """Return a user's name, an empty string where there is none, as osquery's join with ``users`` would."""
        if uid is None or not 0 <= uid < _NO_UID:
            return ""
        known = self._names.get(uid)
        if known is None:
            known = ""
            with suppress(KeyError, OverflowError):
                known = pwd.getpwuid(uid).pw_name
            self._names[uid] = known
        return known

    def homes(self) -> list[Home]:
        """Return the homes to look into, one a number: accounts that share one are the same person."""
        if self._homes is None:
            found: dict[int, Home] = {}
            for entry in pwd.getpwall() if self._uid == 0 else _own(self._uid):
                if entry.pw_dir.startswith("/"):
                    found.setdefault(entry.pw_uid, Home(entry.pw_uid, entry.pw_name, Path(entry.pw_dir)))
            self._homes = list(found.values())
        return self._homes


def _own(uid: int) -> list[pwd.struct_passwd]:
    try:
        return [pwd.getpwuid(uid)]
    except KeyError:
        return []
