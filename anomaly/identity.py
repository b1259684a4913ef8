"""Who acted: the name behind a row, and the names behind numbers.

Which table says who acted, and in which column, is told by osquery's folder specs/. ``auid`` is the user who
logged in and survives sudo; ``uid`` of ``file_events`` is the owner of the file, not the one who touched it;
the ``username`` of a decorator names the host's sessions and is asked last.
"""

from __future__ import annotations

import hashlib
import pwd
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache

NAMELESS = "host:"
"""How a user begins who is only a host, for rows that name nobody."""

NUMBER = "uid:"
"""How a user begins who is only a number."""

UNSET = frozenset({"", "-1", "4294967295"})
"""What audit writes for "nobody logged in": (uid_t)-1, signed or not, and NULL."""

MAX_USER = 256
"""Longest user, in characters."""

_MAX_HOST = 255  # the longest name DNS and Linux allow; a longer one teaches nothing
_MAX_DIGITS = 10  # of a 32-bit uid
_NO_UID = 2**32 - 1

# `logged_in_users` and `last` also report boots, runlevels and waiting gettys, as users "reboot", "LOGIN"...
_SESSION_TABLES = frozenset({"logged_in_users", "last"})
_SESSION_TYPES = frozenset({"", "user", "dead", "user-process", "dead-process", "7", "8"})


def _system_name(uid: int) -> str | None:
    """Ask the system's user database."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None


def _short(host: str) -> str:
    return host.partition(".")[0].lower()


def keys(host: str, user: str) -> tuple[str, str]:
    """Give the names a user's model may have, the more specific first.

    >>> keys("ws1", "alice")
    ('alice@ws1', 'alice')
    """
    return f"{user}@{host}", user


class Identities:
    """Names of numeric users, per host: uid 1000 is another person on each.

    Learned from the rows that show a number beside its name; the first pair of a number stays, so that
    what a number is called does not change within a log. Only for rows of this very machine the system's
    user database is asked too: it knows nothing of other hosts.

    Parameters
    ----------
    hostname
        Name of this machine; by default what the system says.
    lookup
        The system's user database: a name for a number, or None.
    limit
        Most pairs kept. Whoever can write to the log chooses them, so there is an end to it.

    Examples
    --------
    >>> identities = Identities(hostname="ws1", lookup=lambda uid: "root" if uid == 0 else None)
    >>> identities.learn("web", "1000", "alice")
    >>> identities.name("web", "1000"), identities.name("web", "0"), identities.name("ws1.lan", "0")
    ('alice', 'uid:0', 'root')
    """

    def __init__(
        self,
        *,
        hostname: str | None = None,
        lookup: Callable[[int], str | None] = _system_name,
        limit: int = 10_000,
    ) -> None:
        self._here = _short(socket.gethostname() if hostname is None else hostname)
        self._lookup = lru_cache(maxsize=4096)(lookup)  # a look-up may go over the network (LDAP)
        self._limit = limit
        self._names: dict[tuple[str, str], str] = {}

    def learn(self, host: str, uid: str, name: str) -> None:
        """Take note that ``uid`` is called ``name`` on ``host``, unless it already has a name there."""
        key = (host, uid)
        if (
            key not in self._names
            and len(self._names) < self._limit
            and name
            and uid not in UNSET
            and len(uid) <= _MAX_DIGITS
            and uid.isascii()
            and uid.isdecimal()
            and len(host) <= _MAX_HOST
        ):
            self._names[key] = capped(name)

    def name(self, host: str, uid: str) -> str:
        """Return the name of ``uid`` on ``host``, or ``uid:NUMBER`` where none is known."""
        known = self._names.get((host, uid))
        if known is None and len(uid) <= _MAX_DIGITS and uid.isascii() and uid.isdecimal():
            number = int(uid)
            if number < _NO_UID and host and _short(host) == self._here:
                known = self._lookup(number)
        return known or capped(f"{NUMBER}{uid}")

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Export what was learned, for checkpoints and models: ``{host: {uid: name}}``.

        Answers of the system's user database are not among it; the next process asks again.
        """
        exported: dict[str, dict[str, str]] = {}
        for (host, uid), name in self._names.items():
            exported.setdefault(host, {})[uid] = name
        return exported

    def update(self, data: object) -> None:
        """Add what :meth:`to_dict` exported. Whatever is not of its form is left out, and raises nothing."""
        if not isinstance(data, Mapping):
            return
        for host, names in data.items():
            if not isinstance(host, str) or not isinstance(names, Mapping):
                continue
            for uid, name in names.items():
                if isinstance(uid, str) and isinstance(name, str):
                    self.learn(host, uid, name)

    @classmethod
    def from_dict(cls, data: object) -> Identities:
        """Make one that knows what :meth:`to_dict` exported, tolerating anything as :meth:`update` does."""
        identities = cls()
        identities.update(data)
        return identities


def capped(name: str) -> str:
    """Shorten a user's, host's or query's name that is too long to be one; different ones stay different.

    >>> len(capped("x" * 65536)), capped("alice")
    (256, 'alice')
    """
    if len(name) <= MAX_USER:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: MAX_USER - 17]}~{digest}"


def actor(query: str, host: str, columns: Mapping[str, str], decorated: str, identities: Identities) -> str:
    """Say who acted, and learn from the row what its number is called.

    Parameters
    ----------
    query
        Short name of the query: the meaning of a column depends on its table.
    host
        Where it happened.
    columns
        The row.
    decorated
        The ``username`` of the line's decorations, or an empty string.
    identities
        The names of numbers known so far.

    Returns
    -------
    str
        A name, ``uid:1000`` where no name is known, or ``host:NAME`` where no user is named.
    """
    get = columns.get
    username = get("username", "")
    name = username or get("user", "")
    if name and query in _SESSION_TABLES and not _is_session(columns):
        username = name = ""
    auid, uid, euid = get("auid", ""), get("uid", ""), get("euid", "")
    if (uid or euid) and query.endswith("file_events") and query != "process_file_events":
        uid = euid = ""  # the file's owner
    if username:
        _learn(host, auid, uid, username, identities)
    if name:
        return name if len(name) <= MAX_USER else capped(name)
    if auid or uid or euid:
        for number in (auid, uid, euid):
            if number not in UNSET:
                return identities.name(host, number)
    if decorated and len(decorated) <= MAX_USER:
        return decorated
    return capped(decorated or f"{NAMELESS}{host or '-'}")


def _is_session(columns: Mapping[str, str]) -> bool:
    return (columns.get("type") or columns.get("type_name", "")) in _SESSION_TYPES


def _learn(host: str, auid: str, uid: str, username: str, identities: Identities) -> None:
    # The name may have been joined on either number, so a row with two different ones teaches nothing.
    if auid in UNSET:
        identities.learn(host, uid, username)
    elif uid in ("", auid):
        identities.learn(host, auid, username)
