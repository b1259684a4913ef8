"""Compressed archives as streams: the formats that osquery, logrotate and newsyslog write."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

XZ_MEMORY = 128 << 20
"""Bytes that an .xz decoder may take: as many as a zstd one does, and twice what ``xz -9`` needs."""

_XZ_MAGIC = b"\xfd7zXZ\0"
_INPUT = 1 << 16


class _Xz(RawIOBase):
    """What an .xz file holds; :class:`lzma.LZMAFile` takes as much memory as the file asks for, up to 4 GiB."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._decoder = self._begin()

    @staticmethod
    def _begin() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer; raises EOFError or LZMAError where the file is cut or broken."""
        view = memoryview(buffer).cast("B")
        data = b""
        while not data:
            given = b""
            if self._decoder.eof:
                given = self._decoder.unused_data + self._raw.read(_INPUT)
                if not given.startswith(_XZ_MAGIC):
                    return 0  # what follows is no further stream, and nothing of ours
                self._decoder = self._begin()
            elif self._decoder.needs_input and not (given := self._raw.read(_INPUT)):
                raise EOFError("the file ends before its stream does")
            data = self._decoder.decompress(given, len(view))
        view[: len(data)] = data
        return len(data)


_OPENERS: dict[str, Callable[[BinaryIO], BufferedIOBase]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),  # logrotate
    ".zst": zstd.ZstdFile,  # osquery itself
    ".bz2": bz2.BZ2File,  # newsyslog
    ".xz": lambda raw: BufferedReader(_Xz(raw)),
}

COMPRESSED = tuple(_OPENERS)
"""Suffixes of compressed archives."""

BROKEN = (OSError, EOFError, zlib.error, zstd.ZstdError, lzma.LZMAError)
"""What reading a cut or corrupt archive raises; gzip.BadGzipFile is an OSError."""


def is_compressed(path: Path) -> bool:
    """Whether a path names a compressed archive, which is a log on its own and never grows."""
    return path.suffix in COMPRESSED


def decompressor(path: Path, descriptor: int) -> BufferedIOBase:
    """Return the uncompressed stream of an archive that is open; closing it leaves the descriptor open."""
    return decompressor_of(path.suffix, os.fdopen(descriptor, "rb", closefd=False))


def decompressor_of(suffix: str, raw: BinaryIO) -> BufferedIOBase:
    """Return the uncompressed stream of a stream, by the suffix of its name."""
    return _OPENERS[suffix](raw)
