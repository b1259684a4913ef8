"""Directories that Spark writes for a query, and small files of our own in them: here, or wherever Hadoop can."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly import state_files
from anomaly.advice import shell_word
from anomaly.atomic import replace
from anomaly.errors import ModelRefused, StateError, StateRefused, StoreUnwritable
from anomaly.fleet.storage import HadoopStorage
from anomaly.trust import distrust, make_private

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Place(ABC):
    """A directory."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none; raises StateError."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step; raises StateError."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Say whether there is a file or directory of that name; raises StateError."""


class LocalPlace(Place):
    """A directory of this machine; made for its owner alone where there is none.

    Raises
    ------
    StateError
        It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            make_private(folder)
        except OSError as error:
            raise _unusable(str(folder), error) from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content, if it may be believed (:mod:`anomaly.trust`)."""
        try:
            with _opened(self._folder) as folder:
                return state_files.read(folder, name)
        except ValueError as error:
            raise StateRefused(f"{self._folder / name} is not to be trusted: {error}.") from error
        except OSError as error:
            raise _unusable(str(self._folder), error) from error

    def write(self, name: str, data: bytes) -> None:
        """Write under a temporary name, flush to the disk, and rename."""
        try:
            with _opened(self._folder) as folder:
                replace(folder, name, data, temporary=f".{name}.tmp", lasting=True)
        except OSError as error:
            raise _unusable(str(self._folder), error) from error

    def holds(self, name: str) -> bool:
        """Say whether there is such a name, also as a link."""
        return os.path.lexists(self._folder / name)


class HadoopPlace(Place):
    """A directory of any file system that the session's Hadoop knows."""

    def __init__(self, uri: str, spark: SparkSession) -> None:
        self._uri = uri
        try:
            self._storage = HadoopStorage(uri, spark)
        except StoreUnwritable as error:
            raise StateError(str(error)) from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content."""
        try:
            return self._storage.read(name)
        except ModelRefused as error:
            raise StateError(str(error)) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file as a whole."""
        try:
            self._storage.write(name, data)
        except StoreUnwritable as error:
            raise StateError(f"{self._uri}/{name} cannot be written: {error.__cause__}.") from error

    def holds(self, name: str) -> bool:
        """Ask Hadoop."""
        try:
            return self._storage.exists(name)
        except ModelRefused as error:
            raise StateError(str(error)) from error


def local_folder(address: str, spark: SparkSession) -> Path | None:
    """Return the directory of this machine that Spark means by an address.

    None where it is elsewhere, and through Spark Connect, whose server may be on another machine.
    """
    if getattr(spark, "_jvm", None) is None or not is_mounted(address, spark):
        return None
    return path_of(address)


def path_of(address: str) -> Path:
    """Return the path that a mounted directory's address names; unlike a URI's, Hadoop's have no escapes.

    >>> path_of("file:///srv/a%20b/")
    PosixPath('/srv/a%20b')
    """
    path = f"/{address.removeprefix('file:').lstrip('/')}" if address.startswith("file:") else address
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve() would follow links, which people may turn


def is_mounted(address: str, spark: SparkSession) -> bool:
    """Say whether an address is a directory that workers can open; a bare path is where Hadoop's default is."""
    if ":" in address.partition("/")[0]:
        return address.startswith("file:")
    jvm = getattr(spark, "_jvm", None)  # there is none with Spark Connect
    if jvm is None:
        return False
    configuration = spark._jsc.hadoopConfiguration()  # noqa: SLF001 - pyspark has no other way to Hadoop
    return str(jvm.org.apache.hadoop.fs.FileSystem.getDefaultUri(configuration).getScheme()) == "file"


def place(address: str, spark: SparkSession) -> Place | None:
    """Return a directory by its address; None where it can be reached through Spark Connect alone."""
    folder = local_folder(address, spark)
    if folder is not None:
        return LocalPlace(folder)
    return HadoopPlace(address.rstrip("/"), spark) if getattr(spark, "_jvm", None) is not None else None


def check_private(folder: Path, option: str) -> None:
    """Look whether all in a directory is root's or ours, and nobody else's to write; make it where it is missing.

    Raises
    ------
    StateRefused
        It is not, or a link is in it.
    StateError
        It cannot be made, or read.
    """
    if folder.is_symlink():
        raise StateRefused(f"{folder} is a symbolic link, which someone else may turn: name the real place.")
    try:
        make_private(folder)
        for path in _all(folder):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise StateRefused(
                    f"{path} is a symbolic link, which Spark never makes: take it away, or give another {option}."
                )
            if (reason := distrust(status)) is not None:
                word = shell_word(str(folder))
                raise StateRefused(
                    f"{path} is not to be trusted: {reason}. If what is in it is yours, run:"
                    f" chown -R $(id -un) {word} && chmod -R go-w {word}"
                )
    except OSError as error:
        raise _unusable(str(folder), error) from error


def _all(folder: Path) -> Iterator[Path]:
    yield folder
    for within, folders, files in os.walk(folder, onerror=_raise):  # links to directories are among the folders
        yield from (Path(within, name) for name in [*folders, *files])


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unusable(where: str, error: OSError) -> StateError:
    return StateError(f"{where} cannot be used: {error.strerror or error}. Make room, or name another directory.")
