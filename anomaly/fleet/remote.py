"""Files of a model store as a worker reads them: without a JVM, and therefore without Hadoop.

Here alone is pyarrow's file system asked; addresses as Hadoop writes them (``s3a:``) are understood.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from anomaly.errors import ModelRefused, StateError
from anomaly.store_layout import MAX_BYTES, check, read_file

_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "wasbs": "abfss"}


class Files(ABC):
    """Reads the files under one directory."""

    address: str
    """What people call it."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        FileNotFoundError
            There is none.
        ModelRefused
            It is larger than a model can be, or not to be trusted.
        StateError
            The store cannot be reached.
        """

    @abstractmethod
    def mark(self, name: str) -> object:
        """Return what tells whether a file has changed; raises as :meth:`read` does."""


class LocalFiles(Files):
    """A directory of this machine, with the checks of :mod:`anomaly.trust`."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory)
        self._directory = directory

    def read(self, name: str) -> bytes:
        """Return a file's content; no link is followed."""
        path = self._directory / name
        for folder in (self._directory, path.parent):
            check(folder.stat(), folder)
        return read_file(None, str(path), str(path))

    def mark(self, name: str) -> object:
        """Return inode, size and time."""
        status = (self._directory / name).lstat()
        return status.st_ino, status.st_size, status.st_mtime_ns


class RemoteFiles(Files):
    """A directory of an object store or of HDFS: whoever may write there is a matter of its own rights."""

    def __init__(self, address: str) -> None:
        from pyarrow import fs  # noqa: PLC0415 - only where it is needed

        scheme, _, rest = address.partition("://")
        self.address = address
        try:
            self._system, self._root = fs.FileSystem.from_uri(f"{_SCHEMES.get(scheme, scheme)}://{rest}")
        except (ValueError, OSError) as error:
            raise StateError(f"The model store {address} cannot be opened: {error}.") from error

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        self.mark(name)
        return bytes(self._asked(lambda: self._system.open_input_file(f"{self._root}/{name}").readall()))

    def open(self, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Return a file as a stream, of any size."""
        return self._asked(lambda: self._system.open_input_file(f"{self._root}/{name}"))

    def mark(self, name: str) -> object:
        """Return size and time."""
        from pyarrow import fs  # noqa: PLC0415 - only where it is needed

        found = self._asked(lambda: self._system.get_file_info(f"{self._root}/{name}"))
        if found.type != fs.FileType.File:
            raise FileNotFoundError(f"{self.address}/{name}")
        if found.size > MAX_BYTES:
            raise ModelRefused(f"{self.address}/{name} is larger than a model can be ({found.size:,} bytes).")
        return found.size, found.mtime_ns

    def _asked(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - pyarrow has no types
        try:
            return ask()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StateError(f"The model store {self.address} cannot be read: {error}.") from error


def open_files(address: str) -> Files:
    """Return the files under a path or ``file:``, or where pyarrow can read (``s3a:``, ``gs:``, ``hdfs:``)."""
    parts = urlsplit(address)
    if parts.scheme in ("", "file"):
        return LocalFiles(Path(unquote(parts.path) if parts.scheme else address))
    return RemoteFiles(address.rstrip("/"))
