"""One log file or archive, open: its bytes from any place on, and what tells it from other files."""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import stat
import time
from collections.abc import Callable
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn, Self

from anomaly.errors import LogMissing, LogUnreadable
from anomaly.sources.compressed import BROKEN, decompressor, is_compressed
from anomaly.sources.interface import MAX_LINE, Position

CHUNK = 1 << 18
"""Bytes read at a time: a quarter MiB stays in the cache while it is cut into lines (measured)."""

HEAD = 1 << 12
"""Bytes at the start of a file by which its copies are told from other files: of a first line that is longer than
half of them that half, and what follows it. Broken lines are often alike; the records after them are not."""

BEFORE = 1 << 10
"""Bytes before a place by which it is found again: two or three records, each with its time and counter."""


class LogFile:
    """A log or one of its archives, open for reading; offsets count uncompressed bytes.

    A plain file is read at an explicit offset, so that a file which grows, shrinks or is renamed while
    it is read gives no surprises. A compressed one is a stream. What cannot be read ends the file and sets
    ``failed``; nothing here raises after the file is open.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.path = path
        self.device, self.inode = status.st_dev, status.st_ino
        self.compressed = is_compressed(path)
        self.offset = 0
        """Where the next read starts."""
        self.failed = False
        self.head = b""
        """The first bytes, as they were when the file was opened."""
        self._fingerprint = ""
        self._descriptor = descriptor
        self._stream: BufferedIOBase | None = None
        self._begin, self._earlier, self._chunk = 0, b"", b""  # the last bytes read, and those before them
        self._from = 0  # where the last read started, whether it found bytes or not
        self._identify()

    @property
    def fingerprint(self) -> str:
        """The file's identity, see :func:`fingerprint`; "" until its first line is complete."""
        if not self._fingerprint and not self.compressed:
            self._identify()
        return self._fingerprint

    @property
    def size(self) -> int:
        """Bytes on disk, compressed or not."""
        return os.fstat(self._descriptor).st_size

    @property
    def age(self) -> float:
        """Seconds since it was written to, by the wall clock."""
        return time.time() - os.fstat(self._descriptor).st_mtime

    @property
    def deleted(self) -> bool:
        """Whether the file has no name any more, in any directory."""
        return os.fstat(self._descriptor).st_nlink == 0

    def place(self, offset: int) -> Position:
        """Name a place in this file that lies within what was read last, or at its edges."""
        before = self.before(offset)
        digest = hashlib.blake2b(before, digest_size=8).hexdigest() if before else ""
        return Position(self.fingerprint, offset, self.device, self.inode, digest)

    def before(self, offset: int) -> bytes:
        """Return up to ``BEFORE`` bytes before such a place, as they were when they were read."""
        length = offset - self._begin
        missing = BEFORE - length
        return (self._earlier[-missing:] if missing > 0 else b"") + self._chunk[max(0, length - BEFORE) : length]

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes; none at the end, which for a log that is written to is only today's end."""
        self._from = self.offset
        chunk = self._read_at(self.offset, size)
        if chunk:
            known = self._fingerprint and chunk.startswith(self.head[: HEAD // 2])
            if not self.offset and not self.compressed and not known:
                self._fingerprint, self.head = _identity(BytesIO(chunk).read)  # cut since it was opened, or grown
            self._begin, self._earlier, self._chunk = self.offset, self.before(self.offset), chunk
            self.offset += len(chunk)
        return chunk

    def rewritten(self) -> bool:
        """Whether what was before the last read is no longer what the file holds: it was cut, or written anew.

        Asked *after* the read: where the answer is no, the bytes just read belong to the same content as
        those before them. The size alone would miss a file that has grown past the old place again.
        """
        if self._stream is not None:
            return False
        expected = self.before(self._from)
        return self._read_at(self._from - len(expected), len(expected)) != expected and not self.failed

    def rewind(self) -> None:
        """Start again at the first byte, as another file: its content is new."""
        self.offset = self._begin = self._from = 0
        self._earlier = self._chunk = b""
        self._identify()

    def skip(self, offset: int) -> None:
        """Go to a place given in uncompressed bytes; the end where the file has fewer."""
        if self._stream is None:
            start = max(0, min(offset, self.size) - BEFORE)
            self.offset = self._begin = self._from = start
            self._earlier = self._chunk = b""
        while self.offset < offset and self.read(min(CHUNK, offset - self.offset)):
            pass

    def skip_all(self) -> None:
        """Go to the end; in a plain file to the start of an unfinished last line, which is still to come."""
        if self._stream is not None:
            while self.read():
                pass
            return
        start = max(0, self.size - MAX_LINE)
        self.skip(start + self._read_at(start, MAX_LINE).rfind(b"\n") + 1)

    def holds(self, position: Position) -> bool:
        """Whether a position lies in this file; where it does, reading goes on there.

        The file must be at its start, as it is when it was just opened.
        """
        if self.fingerprint != position.file:
            return False
        self.skip(position.offset)
        found = self.place(self.offset)
        return found.offset == position.offset and position.before in {"", found.before}

    def close(self) -> None:
        """Release the descriptor."""
        if self._stream is not None:
            self._stream.close()
        os.close(self._descriptor)
        self._descriptor = -1  # never another file's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _identify(self) -> None:
        place = 0

        def read_on(size: int) -> bytes:
            nonlocal place
            chunk = self._read_at(place, size)
            place += len(chunk)
            return chunk

        self._restart_stream()
        self._fingerprint, self.head = _identity(read_on)
        self._restart_stream()
        self.failed = False  # a file that is broken this early says so again when it is read

    def _restart_stream(self) -> None:
        if self.compressed:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._stream = decompressor(self.path, self._descriptor)

    def _read_at(self, offset: int, size: int) -> bytes:
        """Read a plain file at ``offset``; of a compressed one, whatever comes next in the stream."""
        try:
            if self._stream is None:
                return os.pread(self._descriptor, size, offset)
            # read1 and not read: read throws away what it has when it then meets the broken place.
            return b"" if self.failed else self._stream.read1(size)
        except BROKEN:
            self.failed = True
            return b""


def open_log(path: Path) -> LogFile:
    """Open a log or an archive.

    Raises
    ------
    LogMissing
        There is no such file.
    LogUnreadable
        It may not be read, or is not a regular file: a FIFO would hang the reader, and osquery writes
        regular files.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        _explain(path, error)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LogUnreadable(f"{path} is not a regular file; give the path of osquery's results log.")
    return LogFile(path, descriptor)


def fingerprint(log: Path | BinaryIO) -> str:
    r"""Return the identity of a log: 16 hexadecimal digits of the SHA-256 of its first line.

    The same whether the log is live, renamed or compressed. Empty while there is no complete line; of a
    first line longer than ``MAX_LINE`` only that many bytes count.

    >>> from io import BytesIO
    >>> fingerprint(BytesIO(b"one\ntwo\n")) == fingerprint(BytesIO(b"one\n"))
    True
    >>> fingerprint(BytesIO(b"on"))
    ''
    """
    if isinstance(log, Path):
        with open_log(log) as file:
            return file.fingerprint
    return _identity(log.read)[0]


def _identity(read: Callable[[int], bytes]) -> tuple[str, bytes]:
    """Return the fingerprint and the head of what ``read`` gives."""
    data, chunk, end = bytearray(), b"-", -1
    while chunk and (end < 0 or len(data) < end + HEAD) and len(data) < MAX_LINE + HEAD:
        chunk = read(CHUNK if data else HEAD)
        data += chunk
        end = data.find(b"\n", max(0, len(data) - len(chunk))) if end < 0 else end
    end = min(end, MAX_LINE) if end >= 0 else MAX_LINE if len(data) >= MAX_LINE else -1
    digest = hashlib.sha256(data[:end]).hexdigest()[:16] if end >= 0 else ""
    half = HEAD // 2
    return digest, bytes(data[:half] + data[max(half, end + 1) :][:half])


def _explain(path: Path, error: OSError | ValueError) -> NoReturn:
    """Raise what opening ``path`` failed with as one of our errors."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise LogMissing(f"{path} does not exist; give the path of osquery's results log with -l.") from error
    if isinstance(error, PermissionError):
        kept = " (osquery keeps the group, and its mode 0640)" if _of_osquery(path) else ""
        raise LogUnreadable(
            f"{path} may not be read by {running_user()}; let a group read it: {access(path)}{kept},"
            f" then sudo usermod -aG adm {running_user()} and log in again (see docs/osquery.md)."
        ) from error
    raise LogUnreadable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def access(path: Path) -> str:
    """Give the commands that let a group read a log: for good in osquery's own directory, else that file alone."""
    folder = path.absolute().parent
    if _of_osquery(path):
        word = shlex.quote(str(folder))
        return f"sudo chgrp -R adm {word} && sudo chmod 2750 {word}"
    word = shlex.quote(str(path))
    return f"sudo chgrp adm {word} && sudo chmod g+r {word}"


def _of_osquery(path: Path) -> bool:
    return path.absolute().parent.name == "osquery"


def running_user() -> str:
    """Return the name of who runs this, or the number where there is none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user often has no name
        return str(os.geteuid())
