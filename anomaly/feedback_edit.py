"""Writing answers down and taking them out: what people wrote in their file, comments too, stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from tomlkit.items import AoT

from anomaly.feedback import KEY, MOST, MOST_BYTES, Feedback, load, parse
from anomaly.identity import keys
from anomaly.ledger_edit import Ledger, append, edit, take_out

Part = TypeVar("Part")

_HEADER = """\
# What people said of alerts: anomaly feedback. Expected actions are learned, incidents never are.

"""


def newest(parts: Sequence[Part], room: int) -> Sequence[Part]:
    """Return as many of the last parts as have room, in bytes as JSON; the last in any case."""
    for place in range(len(parts) - 1, -1, -1):
        room -= len(msgspec.json.encode(parts[place]))
        if room < 0:
            return parts[min(place + 1, len(parts) - 1) :]
    return parts


def write(path: Path, answered: Feedback, alert: set[str]) -> None:
    """Write an answer down, in place of the one before and of those of its alert that said otherwise.

    The oldest answers make room for it.

    Parameters
    ----------
    path
        The file.
    answered
        The answer.
    alert
        The ids of its alert: its own, and of what it told of.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file as it is does not fit, or cannot be used; it stays as it is.
    """

    def change(tables: AoT) -> None:
        other = {table.get("id") for table in tables if table.get("verdict") != answered.verdict}
        take_out(tables, {answered.id} | (alert & other))
        append(tables, msgspec.to_builtins(answered, builtin_types=(datetime,)))
        plain = [table.unwrap() for table in tables]
        for _ in range(len(plain) - len(newest(plain, MOST_BYTES)[-MOST:])):
            del tables[0]

    edit(Ledger(path, KEY, _HEADER, parse), change)


def forget(path: Path, user: str) -> int:
    """Take out what was answered of a user's alerts, by the name or ``user@host``; return how many that were.

    Raises
    ------
    ConfigError, StateRefused, StateError
        The file does not fit, or cannot be used.
    """
    gone = {entry.id for entry in load(path) if user in keys(entry.host, entry.user)}
    if gone:
        edit(Ledger(path, KEY, _HEADER, parse), lambda tables: take_out(tables, gone))
    return len(gone)
