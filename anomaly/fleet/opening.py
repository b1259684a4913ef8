"""Logs as a worker opens them: by their addresses, so that none is in memory as a whole."""

from __future__ import annotations

import os
import stat
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM
from functools import cache
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from anomaly.errors import LogMissing, LogUnreadable, StateError
from anomaly.fleet.remote import RemoteFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

_BUFFER = 1 << 18
# A named pipe would be waited for, until somebody writes to it.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = frozenset({ENOENT, ENOTDIR})
_CLOSED = frozenset({EACCES, EPERM, EISDIR, ELOOP, ENAMETOOLONG, ENXIO})
"""What another try will not change: the file is passed over. Anything else (a disk, a network) ends the batch."""


def open_log(address: str, root: str | None = None) -> BinaryIO:
    """Open a file by its address as Spark writes it in a table: without any escapes.

    Parameters
    ----------
    address
        Such as ``file:/srv/in/web.log``.
    root
        Directory that it must be in, of this machine; below it no link is followed. None to follow them all.

    Raises
    ------
    LogMissing
        It is gone.
    LogUnreadable
        It may not be read, is no regular file, or is reached by a link.
    StateError
        It cannot be read now; the batch is to be tried again.
    """
    if address.startswith("file:"):
        return BufferedReader(
            _Steady(_local(f"/{address.removeprefix('file:').lstrip('/')}", root), address), _BUFFER
        )
    scheme, _, rest = address.partition("://")
    place, _, name = rest.partition("/")
    try:
        return BufferedReader(_Steady(_store(f"{scheme}://{place}").open(name), address), _BUFFER)
    except FileNotFoundError as error:
        raise LogMissing(f"{address} is gone.") from error


def _local(path: str, root: str | None) -> BinaryIO:
    try:
        descriptor = os.open(path, _FLAGS) if root is None else _below(root, path)
    except OSError as error:
        if error.errno in _GONE:
            raise LogMissing(f"{path} is gone.") from error
        if error.errno in _CLOSED:
            raise LogUnreadable(f"{path} cannot be opened: {error.strerror}.") from error
        raise StateError(f"{path} cannot be opened: {error.strerror}.") from error
    except ValueError as error:  # a NUL in it
        raise LogMissing(f"{path!a} is no path.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LogUnreadable(f"{path} is no regular file.")
    return os.fdopen(descriptor, "rb", buffering=0)


def _below(root: str, path: str) -> int:
    """Open a file, and each directory on the way from the root, without following a link."""
    within = root.rstrip("/") + "/"
    *folders, name = path.removeprefix(within).split("/")
    if not path.startswith(within) or ".." in folders:
        raise LogUnreadable(f"{path} is not in {root}.")
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, _FLAGS | os.O_NOFOLLOW, dir_fd=held)
            os.close(held)
            held = inner
        return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=held)
    finally:
        os.close(held)


@cache
def _store(place: str) -> RemoteFiles:
    return RemoteFiles(place)


class _Steady(RawIOBase):
    """A stream of which an error is the store's and never an archive's: nothing is passed over for it."""

    def __init__(self, stream: Any, address: str) -> None:  # noqa: ANN401 - a file, or pyarrow's
        self._stream, self._address = stream, address

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._asked(lambda: self._stream.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _asked(self, ask: Callable[[], Any]) -> bytes:
        try:
            return cast("bytes", ask())
        except OSError as error:
            raise StateError(f"{self._address} cannot be read: {error}.") from error
