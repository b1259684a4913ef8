"""How the store's directory is laid out, and how its files are named and written."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

from anomaly.atomic import replace
from anomaly.errors import ModelRefused
from anomaly.trust import refusal

SUFFIX = ".safetensors"
LEARNED = ".learned"

MAX_BYTES = 64 << 20
"""Largest model file that is read."""

_VERSION = re.compile(r"([1-9][0-9]{0,8})\.safetensors")
_OURS = re.compile(
    r"current|\.lock|\.gitkeep|background\.safetensors|manifest\.json|[1-9][0-9]*(\.safetensors|\..*\.learned)|\..+\.[0-9]+"
)
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST = 120


def encode_user(user: str) -> str:
    """Give the directory name of a user: percent-encoded, and cut with a hash where it would be too long.

    Examples
    --------
    >>> encode_user("alice"), encode_user("../../x"), encode_user("")
    ('alice', '%2E%2E%2F%2E%2E%2Fx', '%')
    """
    raw = user.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw) or "%"
    return text if len(text) <= _LONGEST else f"{text[:40]}~{hashlib.sha256(raw).hexdigest()}"


def decode_user(name: str) -> str | None:
    """Undo :func:`encode_user`; None where it cannot be told, or was not its work."""
    try:
        user = unquote_to_bytes(name).decode("utf-8", "surrogatepass") if name != "%" else ""
    except UnicodeError:
        return None
    return user if encode_user(user) == name else None


@contextmanager
def directory(where: Path, root: int | None) -> Iterator[int | None]:
    """Open a directory, None where there is none; within the store (``root``) no link is followed."""
    # The store itself may be a link (systemd makes StateDirectory one); nothing within it may.
    follow = 0 if root is None else os.O_NOFOLLOW
    try:
        name = where if root is None else where.name
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=root)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise ModelRefused(f"{where} is no directory that we can use: {error.strerror}.") from error
    try:
        yield folder
    finally:
        os.close(folder)


def versions(folder: int) -> list[int]:
    """Return the versions that a user's directory holds, ascending."""
    return sorted(int(match[1]) for name in os.listdir(folder) if (match := _VERSION.fullmatch(name)))


def learned_names(folder: int, version: int) -> list[str]:
    """Return the names of what a version has learned, two of each log; the one written last is at the end."""
    begin = f"{version}."
    found = [name for name in os.listdir(folder) if name.startswith(begin) and name.endswith(LEARNED)]
    dated = []
    for name in found:
        with suppress(FileNotFoundError):  # taken away at this moment
            dated.append((os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns, name))
    return [name.removeprefix(begin).removesuffix(LEARNED) for _, name in sorted(dated)]


def check(status: os.stat_result, where: Path) -> None:
    """Raise ModelRefused where a file or directory is not to be believed."""
    if refusal(where, status) is not None:
        whole = stat.S_ISDIR(status.st_mode) and holds_ours_alone(where)
        raise ModelRefused(refusal(where, status, whole=whole))


def holds_ours_alone(where: Path | str, below: int = 1) -> bool:
    """Say whether nothing but files of a store is in a directory, ``below`` levels of directories included.

    Then a command may go through all of it. A file that has another name elsewhere may be anybody's.
    """
    try:
        with os.scandir(where) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not below or not holds_ours_alone(entry.path, below - 1):
                        return False
                    continue
                status = entry.stat(follow_symlinks=False)
                if not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _OURS.fullmatch(entry.name)):
                    return False
    except OSError:
        return False
    return True


def read_file(folder: int | None, name: str, where: str, part: Callable[[bytes], int] | None = None) -> bytes:
    """Read a file, if it may be believed; with ``part`` as far as that says, of the first eight bytes.

    Raises ModelRefused where it is not to be believed, and FileNotFoundError.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelRefused(f"{where} cannot be opened: {error.strerror}.") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModelRefused(f"{where} is no regular file.")
        check(status, Path(where))
        if status.st_size > MAX_BYTES:
            raise ModelRefused(f"{where} is larger than a model can be ({status.st_size:,} bytes).")
        if part is None:
            return _upto(descriptor, status.st_size)
        begin = _upto(descriptor, min(8, status.st_size))
        return begin + _upto(descriptor, min(part(begin), status.st_size) - len(begin))
    finally:
        os.close(descriptor)


def _upto(descriptor: int, size: int) -> bytes:
    """Read so many bytes, or what there is: a buffer for the largest file would cost more than the reading."""
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def write_file(folder: int, name: str, data: bytes) -> None:
    """Replace a file in one step, so that a reader sees the old one or the new one, whole."""
    replace(folder, name, data, temporary=f".{name}.{os.getpid()}", lasting=True)
    os.fsync(folder)
