"""Compressed archives as streams: the formats that osquery, logrotate and newsyslog write."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPENERS: dict[str, Callable[[BinaryIO], BufferedIOBase]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),  # logrotate
    ".zst": zstd.ZstdFile,  # osquery itself
    ".bz2": bz2.BZ2File,  # newsyslog
    ".xz": lzma.LZMAFile,
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
