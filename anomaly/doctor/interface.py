"""What a check is: a callable that looks at a part of the world and says how that is, and what would mend it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from anomaly.advice import shell_word
from anomaly.doctor.osqueryconf import Osquery
from anomaly.doctor.sample import Sample
from anomaly.errors import LogError


class State(StrEnum):
    """How something is; the worst first."""

    PROBLEM = "problem"
    """Users are not watched, or soon will not be."""
    WARNING = "warning"
    """They are watched, and less well than they could be."""
    UNKNOWN = "unknown"
    """It cannot be told from here."""
    OK = "ok"


class Verdict(NamedTuple):
    """What a check says."""

    state: State
    found: str
    """In sentences; with names from the log and from files as they are there."""
    remedy: tuple[str, ...] = ()
    """Commands to type, one after the other."""


class Places(NamedTuple):
    """What to look at."""

    log: Path
    olddir: Path | None
    models: Path
    state: Path
    osquery_conf: Path
    osquery_flags: Path
    max_line: int
    now: float
    """Seconds since 1970 UTC, by the machine's clock."""
    root: Path = Path("/")
    """Where etc/, usr/ and proc/ are."""


class World(NamedTuple):
    """The places, and what several checks ask of them, read once."""

    places: Places
    sample: Sample | LogError
    """The end of the log, or why it cannot be read."""
    osquery: Osquery


Check = Callable[[World], Verdict]

_NAME = 60


def ok(found: str) -> Verdict:
    """Say that something is as it should be."""
    return Verdict(State.OK, found)


def unknown(found: str, *remedy: str) -> Verdict:
    """Say that something cannot be told."""
    return Verdict(State.UNKNOWN, found, remedy)


def warning(found: str, *remedy: str) -> Verdict:
    """Say that something could be better."""
    return Verdict(State.WARNING, found, remedy)


def problem(found: str, *remedy: str) -> Verdict:
    """Say that something keeps users from being watched."""
    return Verdict(State.PROBLEM, found, remedy)


def word(path: Path | str) -> str:
    """Write a path, wherever it comes from, so that a command with it does what it says and nothing else."""
    return shell_word(str(path))


def listed(names: list[str], most: int = 4) -> str:
    """Write some names as a list that does not become long, whoever has chosen them.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    names = [name if len(name) <= _NAME else f"{name[: _NAME - 3]}..." for name in names]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
