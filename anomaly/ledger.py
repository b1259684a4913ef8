"""Small files that people review and several commands write: believed only where they are ours, replaced whole.

What such a file says decides what is told to people, so it is believed as a model is: it and its directory belong
to root or the running user, nobody else can write them, and no link is followed. Whoever changes one holds its
lock from reading to replacing, so that no change is lost.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from anomaly.advice import nearest
from anomaly.errors import ConfigError, StateError, StateRefused
from anomaly.store_layout import write_file
from anomaly.toml_text import parse
from anomaly.trust import make_private, refusal

MAX_BYTES = 8 << 20
"""Largest file that is read: more than anybody reviews."""

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

Signature = tuple[int, int, int] | None
"""Tells one content of a file from another; None where there is none."""


def signature(path: Path) -> Signature:
    """Return what changes when a file is replaced or written."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return a file's content, nothing where there is none.

    Raises
    ------
    StateRefused
        It is not ours alone to write, or is no regular file, or larger than ``most`` bytes.
    StateError
        It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        _check(path, os.fstat(descriptor), stat.S_IFREG)  # before anything is read, which a pipe would wait for
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise StateRefused(f"{path} is larger than it can be ({most:,} bytes); move it away.")
    return data


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep others from changing a file meanwhile; its directory is made where it is missing.

    Raises
    ------
    StateRefused, StateError
        The directory or the lock beside the file cannot be trusted, or used.
    """
    try:
        make_private(path.parent)
        _check(path.parent, path.parent.stat(), stat.S_IFDIR)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        _check(path.with_name(f"{path.name}.lock"), os.fstat(descriptor), stat.S_IFREG)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old one or the new one, whole. See :func:`held`.

    Raises
    ------
    StateError
        It could not be written; the old one stands.
    """
    if len(data) > MAX_BYTES:
        raise StateError(f"{path} would become larger than it can be ({MAX_BYTES:,} bytes); take something out.")
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            write_file(folder, path.name, data)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(path, error) from error


def tables(data: bytes, path: Path, key: str, kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Read TOML that is a list of tables, all of one name, with the fields of a kind; not yet their values.

    Raises
    ------
    ConfigError
        It is no TOML or has a key that there is not; the file and the key are named.
    """
    found = parse(data, path)
    for other in found:
        if other != key:
            raise ConfigError(f"{path} has an unknown key {other!r}. {nearest(other, [key])}")
    listed = found.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed):
        raise ConfigError(f"{path}: {key!r} is to be a list of tables; begin each with [[{key}]].")
    for number, table in enumerate(listed, 1):
        for name in table:
            if name not in kind.__struct_fields__:
                hint = nearest(name, kind.__struct_fields__)
                raise ConfigError(f"{path}: {key} {number} has an unknown key {name!r}. {hint}")
    return listed


def _check(path: Path, status: os.stat_result, kind: int) -> None:
    if stat.S_IFMT(status.st_mode) != kind:
        raise StateRefused(f"{path} is not a regular file or directory of ours; move it away.")
    if (reason := refusal(path, status)) is not None:
        raise StateRefused(f"{reason}.")


def _unusable(path: Path, error: OSError) -> StateError:
    if path.is_symlink():
        return StateRefused(f"{path} is a symbolic link, which someone else may turn; give the real place.")
    return StateError(f"{path} cannot be used: {error.strerror or error}.")
