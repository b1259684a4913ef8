"""osquery's configuration as osquery reads it: the file, those beside it, its packs, and the flags."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from anomaly.bounded import Unread, read
from anomaly.doctor.files import names

LARGEST = 4 << 20
"""Most bytes of a file that are read."""

COMMAND_LINE = ("logger_plugin", "logger_path", "logger_mode", "disable_logging", "config_plugin", "config_path")
"""Flags that osquery takes from the flag file alone, and not from "options"."""

_PACKS, _FILES = 200, 100
_PLATFORMS = ("", "all", "any", "linux", "posix")
_TRUE = ("true", "t", "1", "yes", "y")


class Query(NamedTuple):
    """A query that is scheduled on Linux."""

    name: str
    """Without its pack."""
    sql: str
    interval: float | None
    """Seconds; None where it is no number."""
    snapshot: bool


class Osquery(NamedTuple):
    """What osquery is told."""

    conf: Unread | None
    """Why its configuration was not read; None where it was."""
    flags: Unread | None
    broken: tuple[str, ...]
    """What is wrong with it, a sentence each."""
    settings: dict[str, str]
    """Flags, and over them the options of the configuration."""
    misplaced: tuple[str, ...]
    """Options that osquery ignores, because they belong into the flag file."""
    queries: tuple[Query, ...]

    def on(self, name: str, *, default: bool) -> bool:
        """Say whether a flag is on."""
        return self.settings[name].lower() in _TRUE if name in self.settings else default

    def scheduled(self) -> set[str]:
        """Return the names of the queries."""
        return {query.name for query in self.queries}


def look(conf: Path, flags: Path) -> Osquery:
    """Read what osquery is told; what is wrong with it is part of the answer, and nothing is raised."""
    broken: list[str] = []
    text = read(flags, LARGEST)
    settings = {} if isinstance(text, Unread) else flags_of(text)
    options: dict[str, str] = {}
    queries: list[Query] = []
    whole = _object(conf, broken, needed=True)
    beside = conf.parent / f"{conf.name}.d"
    more = [beside / name for name in names(beside) if name.endswith(".conf")][:_FILES]
    for part in (whole, *(_object(path, broken) for path in more)):
        if isinstance(part, Unread):
            continue
        found = part.get("options")
        if isinstance(found, dict):
            options |= {str(name): _text(value) for name, value in found.items()}
        queries += _queries(part.get("schedule"))
        queries += _packed(part.get("packs"), broken)
    misplaced = tuple(sorted(set(options) & set(COMMAND_LINE)))
    settings |= {name: value for name, value in options.items() if name not in misplaced}
    return Osquery(
        whole if isinstance(whole, Unread) else None,
        text if isinstance(text, Unread) else None,
        tuple(broken),
        settings,
        misplaced,
        tuple(queries),
    )


def parse(data: bytes) -> dict[str, Any]:
    r"""Parse a configuration as osquery does: continued lines are joined, and lines of comment dropped.

    Raises
    ------
    ValueError
        It is no JSON object.

    Examples
    --------
    >>> parse(b'// all\n{"schedule": {"a": {"query": "SELECT 1 \\\n FROM b;"}}}')
    {'schedule': {'a': {'query': 'SELECT 1  FROM b;'}}}
    """
    text = data.decode("utf-8", "replace").replace("\\\r\n", "").replace("\\\n", "")
    lines = [line for line in text.split("\n") if not line.lstrip().startswith(("#", "//"))]
    try:
        value = json.loads("\n".join(lines))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of what was read, not of an argument
    return value


def flags_of(data: bytes) -> dict[str, str]:
    r"""Read a flag file: ``--name=value`` or ``--name`` a line.

    >>> flags_of(b"# rotation\n--logger_rotate\n--logger_path=/var/log/osquery\n")
    {'logger_rotate': 'true', 'logger_path': '/var/log/osquery'}
    """
    found = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip().startswith("--"):
            name, equals, value = line.strip()[2:].partition("=")
            found[name.strip()] = value.strip() if equals else "true"
    return found


def _object(path: Path, broken: list[str], *, needed: bool = False) -> dict[str, Any] | Unread:
    data = read(path, LARGEST)
    if isinstance(data, Unread):
        if not needed:
            broken.append(f"{path} is left out: {data.reason}.")
        return data
    try:
        return parse(data)
    except ValueError as error:
        broken.append(f"{path} is left out: {error}.")
        return {}


def _packed(packs: object, broken: list[str]) -> list[Query]:
    found: list[Query] = []
    if not isinstance(packs, dict):
        return found
    for value in list(packs.values())[:_PACKS]:
        if isinstance(value, str):
            for path in _matching(Path(value)):
                pack = _object(path, broken)
                found += [] if isinstance(pack, Unread) else _pack(pack)
        elif isinstance(value, dict):
            found += _pack(value)
    return found


def _matching(path: Path) -> list[Path]:
    """Return the files of a pack's path, in whose name ``*`` and ``%`` stand for anything."""
    pattern = path.name.replace("%", "*")
    if "*" not in pattern:
        return [path]
    return [path.parent / name for name in names(path.parent) if fnmatch(name, pattern)][:_FILES]


def _pack(pack: dict[str, Any]) -> list[Query]:
    return _queries(pack.get("queries")) if _here(pack) else []


def _queries(found: object) -> list[Query]:
    if not isinstance(found, dict):
        return []
    return [
        Query(str(name), query["query"], _seconds(query.get("interval")), _text(query.get("snapshot")) in _TRUE)
        for name, query in found.items()
        if isinstance(query, dict) and isinstance(query.get("query"), str) and _here(query)
    ]


def _here(part: dict[str, Any]) -> bool:
    platforms = _text(part.get("platform", "")).lower().replace(" ", "").split(",")
    return not set(_PLATFORMS).isdisjoint(platforms)


def _seconds(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
