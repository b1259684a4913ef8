"""Adding suppressions to their file and taking them out: what people wrote in it, comments too, stays."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from tomlkit.items import AoT

from anomaly.advice import nearest
from anomaly.errors import ConfigError
from anomaly.ledger_edit import Ledger, append, edit, take_out
from anomaly.suppression import KEY, Suppression, load, parse

_HEADER = """\
# What raises no alert, until the day it expires (UTC). Reviewed by people, read by anomaly within seconds.
# anomaly suppress add|list|rm changes it; what you write by hand stays as you wrote it.

"""


def new(
    expires: date,
    *,
    user: str | None = None,
    query: str | None = None,
    field: str | None = None,
    value: str | None = None,
    pattern: str | None = None,
    note: str = "",
    name: str | None = None,
) -> Suppression:
    """Make a suppression; its id is drawn, unless it has a name.

    Raises
    ------
    ConfigError
        It has no scope, or a part of it does not fit.
    """
    added = datetime.now(UTC).replace(microsecond=0)
    entry = Suppression(
        name or secrets.token_hex(4), expires, user, query, field, value, pattern, note, added=added
    )
    if (fault := entry.fault()) is not None:
        raise ConfigError(f"This suppression does not fit: {fault}.")
    return entry


def until(days: int) -> date:
    """Return the day on which a suppression of so many days, counted from today, expires."""
    return datetime.now(UTC).date() + timedelta(days=days)


def covering(path: Path, entry: Suppression) -> Suppression | None:
    """Return what suppresses just the same for as long or longer; None where nothing does.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file does not fit, or cannot be used.
    """
    for known in load(path):
        if _about(known) == _about(entry) and known.expires >= entry.expires:
            return known
    return None


def _about(entry: Suppression) -> tuple[str | None, ...]:
    return entry.user, entry.query, entry.field, entry.value, entry.pattern


def add(path: Path, entry: Suppression) -> None:
    """Add a suppression; one of the same id is replaced.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file as it is does not fit, or cannot be used; it stays as it is.
    """

    def change(tables: AoT) -> None:
        take_out(tables, {entry.id})
        append(tables, msgspec.structs.asdict(entry))

    edit(Ledger(path, KEY, _HEADER, parse), change)


def remove(path: Path, ids: Iterable[str]) -> list[Suppression]:
    """Take suppressions out, and return them.

    Raises
    ------
    ConfigError
        There is none of that id, or the file does not fit.
    StateRefused, StateError
        It cannot be used.
    """
    wanted = set(ids)
    entries = {entry.id: entry for entry in load(path)}
    for name in sorted(wanted - entries.keys()):
        raise ConfigError(f"{path} has no suppression {name!r}. {nearest(name, entries)}".rstrip())
    edit(Ledger(path, KEY, _HEADER, parse), lambda tables: take_out(tables, wanted))
    return [entries[name] for name in sorted(wanted)]


def remove_if_there(path: Path, name: str) -> bool:
    """Take a suppression out, and say whether there was one."""
    there = any(entry.id == name for entry in load(path))
    return there and bool(remove(path, [name]))


def forget(path: Path, user: str) -> int:
    """Take out all that names a user, by that name or ``user@host``; return how many that were.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file does not fit, or cannot be used.
    """
    gone = [entry.id for entry in load(path) if entry.user is not None and names(entry.user, user)]
    return len(remove(path, gone)) if gone else 0


def names(said: str, user: str) -> bool:
    """Say whether what a suppression says is a user: the same name, or that name on some host.

    >>> names("alice", "alice"), names("alice@ws1", "alice"), names("alice", "alice@ws1")
    (True, True, False)
    """
    return said == user or said.startswith(f"{user}@")
