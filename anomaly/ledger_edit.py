"""Changing a file that people review: what they wrote in it stays as they wrote it, comments too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from anomaly import ledger
from anomaly.errors import ConfigError


class Ledger(NamedTuple):
    """A file that is a list of tables."""

    path: Path
    key: str
    """Name of the tables."""
    header: str
    """What a new file begins with."""
    check: Callable[[bytes, Path], object]
    """Raises ConfigError where this program could not read a content."""


def edit(file: Ledger, change: Callable[[AoT], None]) -> None:
    """Change the tables of a file.

    Raises
    ------
    ConfigError
        The file does not fit as it is, or would not; it stays as it is.
    StateRefused, StateError
        It must not be trusted, or cannot be used.
    """
    with ledger.held(file.path):
        data = ledger.read(file.path)
        file.check(data, file.path)
        try:
            document = tomlkit.parse(data.decode() if data.strip() else file.header)
        except (TOMLKitError, RecursionError) as error:
            raise ConfigError(f"{file.path} is not valid TOML: {error}.") from error
        tables = document.get(file.key)
        if tables is None:
            tables = tomlkit.aot()
        elif not isinstance(tables, AoT):
            raise ConfigError(f"{file.path} cannot be changed: begin each {file.key} with [[{file.key}]].")
        change(tables)
        if file.key in document and not len(tables):
            del document[file.key]
        elif file.key not in document and len(tables):
            document.add(file.key, tables)
        after = tomlkit.dumps(document).encode("utf-8")
        file.check(after, file.path)  # what could not be read must not replace what could
        ledger.replace(file.path, after)


def append(tables: AoT, entry: dict[str, Any]) -> None:
    """Add a table, an empty line after it; None and empty text are left out."""
    table = tomlkit.table()
    for key, said in entry.items():
        if said not in (None, "", []):
            table.add(key, said)
    table.add(tomlkit.nl())
    tables.append(table)


def take_out(tables: AoT, ids: set[str]) -> None:
    """Take out the tables that have one of some ids."""
    for number in reversed(range(len(tables))):
        if tables[number].get("id") in ids:
            del tables[number]
