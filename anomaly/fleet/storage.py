"""The files of a fleet's store: in a directory of this machine, or wherever Hadoop can write.

Workers of Spark that run Python have no way to Hadoop's file systems. So they write themselves where the store is
a directory that all of them see (``file:``), and hand the models to the driver, which writes them, elsewhere.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from anomaly.errors import AnomalyError, ConfigError, ModelRefused, StoreUnwritable
from anomaly.store_layout import MAX_BYTES, check, directory, read_file, write_file

_OBJECTS = frozenset({"s3", "s3a", "s3n", "gs", "oss", "obs", "cosn", "swift"})
"""Schemes of object stores: an object is there as a whole or not at all, and to rename it is to copy it."""


class Storage(ABC):
    """Files by name: ``FILE`` or ``DIRECTORY/FILE``, as :mod:`anomaly.fleet.manifest` gives them."""

    uri: str
    """What people call it."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none; raises ModelRefused where it must not be used."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step, in place of what was there; raises StoreUnwritable."""


class FolderStorage(Storage):
    """A directory of a file system that is mounted here. Can be sent to a worker.

    Parameters
    ----------
    folder
        Made at the first :meth:`write`, with mode 0700, as the local store's is.
    """

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """Return a file's content, if it may be believed (:mod:`anomaly.trust`); no link is followed."""
        within, _, file = name.rpartition("/")
        with directory(self._folder, None) as root:
            if root is None:
                return None
            check(os.fstat(root), self._folder)
            with directory(self._folder / (within or "."), root if within else None) as place:
                if place is None:
                    return None
                check(os.fstat(place), self._folder / within)
                try:
                    return read_file(place, file, f"{self._folder / name}")
                except FileNotFoundError:
                    return None

    def write(self, name: str, data: bytes) -> None:
        """Write under a temporary name, flush to the disk, and rename."""
        within, _, file = name.rpartition("/")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with directory(self._folder, None) as root:
                check(os.fstat(root or -1), self._folder)
                if within:
                    with suppress(FileExistsError):
                        os.mkdir(within, 0o700, dir_fd=root)
                with directory(self._folder / (within or "."), root if within else None) as place:
                    check(os.fstat(place or -1), self._folder / within)
                    write_file(place or -1, file, data)
        except OSError as error:
            raise _unwritable(self.uri, str(error.strerror)) from error


class HadoopStorage(Storage):
    """A directory of any file system that the session's Hadoop knows; used by the driver, whose JVM has it.

    Parameters
    ----------
    uri
        Such as ``s3a://bucket/models`` or ``hdfs:///models``.
    spark
        The session.
    """

    def __init__(self, uri: str, spark: Any) -> None:  # noqa: ANN401 - of classic Spark, or of Connect
        self.uri = uri.rstrip("/")
        if not hasattr(spark, "_jvm"):
            raise ConfigError(
                f"{uri} can only be written by a driver that runs Spark itself, not through Spark Connect. Start"
                " it with spark-submit, or name a directory that all workers see (file:)."
            )
        self._hadoop = spark._jvm.org.apache.hadoop  # noqa: SLF001 - pyspark has no other way to Hadoop
        self._rename = spark._jvm.org.apache.hadoop.fs.Options.Rename  # noqa: SLF001 - the same
        self._renames = spark._sc._gateway.new_array(self._rename, 1)  # noqa: SLF001 - the same
        self._renames[0] = self._rename.OVERWRITE
        configuration = spark._jsc.hadoopConfiguration()  # noqa: SLF001 - the same
        try:
            self._system = self._path("").getFileSystem(configuration)
            self._context = self._hadoop.fs.FileContext.getFileContext(self._path("").toUri(), configuration)
        except Exception as error:  # py4j's, whose class is only there with Spark
            raise StoreUnwritable(f"Spark cannot use {uri}: {_first_line(error)}") from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content."""
        path = self._path(name)
        try:
            if not self._system.exists(path):
                return None
            size = self._system.getFileStatus(path).getLen()
            if size > MAX_BYTES:
                raise ModelRefused(f"{path.toString()} is larger than a model can be ({size:,} bytes).")
            stream = self._system.open(path)
            try:
                return bytes(stream.readNBytes(int(size)))
            finally:
                stream.close()
        except AnomalyError:
            raise
        except Exception as error:  # py4j's
            raise ModelRefused(f"{path.toString()} cannot be read: {_first_line(error)}.") from error

    def write(self, name: str, data: bytes) -> None:
        """Write under a temporary name and rename; of an object store, write at once."""
        path = self._path(name)
        whole = (urlsplit(self.uri).scheme or self._system.getScheme()) in _OBJECTS
        temporary = path if whole else self._path(f"{name.rpartition('/')[0]}/.{uuid4().hex}".lstrip("/"))
        try:
            stream = self._system.create(temporary, True)  # noqa: FBT003 - Java's: in place of what is there
            try:
                stream.write(data)
            finally:
                stream.close()
            if not whole:
                self._context.rename(temporary, path, self._renames)
        except Exception as error:  # py4j's
            with suppress(Exception):
                self._system.delete(temporary, False)  # noqa: FBT003 - Java's: this alone
            raise _unwritable(self.uri, _first_line(error)) from error

    def exists(self, name: str) -> bool:
        """Say whether there is a file or directory of that name."""
        try:
            return bool(self._system.exists(self._path(name)))
        except Exception as error:  # py4j's
            raise ModelRefused(f"{self.uri}/{name} cannot be looked up: {_first_line(error)}.") from error

    def _path(self, name: str) -> Any:  # noqa: ANN401 - Java's
        return self._hadoop.fs.Path(f"{self.uri}/{name}" if name else f"{self.uri}/")


def folder(uri: str) -> Path | None:
    """Return the directory of this machine that a URI names; None where it is elsewhere.

    >>> folder("/srv/models"), folder("file:///srv/a%20b"), folder("s3a://bucket/models")
    (PosixPath('/srv/models'), PosixPath('/srv/a b'), None)
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in uri or uri.startswith("hdfs:") else Path(uri).absolute()


def storage(uri: str, spark: Any) -> Storage:  # noqa: ANN401 - of classic Spark, or of Connect
    """Return what reads and writes a store."""
    here = folder(uri)
    return HadoopStorage(uri, spark) if here is None else FolderStorage(here)


def _unwritable(uri: str, reason: str) -> StoreUnwritable:
    return StoreUnwritable(
        f"Models cannot be written to {uri}: {reason}. Make room, or name another directory with --models."
    )


def _first_line(error: Exception) -> str:
    java = getattr(error, "java_exception", None)
    text = java.toString() if java is not None else str(error)
    return ascii(text.splitlines()[0] if text else type(error).__name__)[1:-1][:300]
