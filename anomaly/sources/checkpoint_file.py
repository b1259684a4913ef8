"""A checkpoint on disk, so that a crash loses nothing of it.

A checkpoint decides what is scored next, so its directory is treated as ssh treats its keys: it and its
files belong to root or the running user, and nobody else can write them. Everything is opened relative to
the directory's descriptor and without following links; a name can never lead out of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from anomaly.errors import StateError, StateLocked, StateRefused
from anomaly.sources.checkpoint import Checkpoint, decoded, pieces
from anomaly.trust import make_private, refusal

MAX_BYTES = 1 << 28
"""Largest checkpoint read: far above any that is written, and not enough to fill the memory."""

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class CheckpointFile:
    """One checkpoint on disk, held by this process alone until it is closed.

    Parameters
    ----------
    directory
        The state directory; made, for the running user alone, where it does not exist.
    name
        As :func:`~anomaly.sources.checkpoint.checkpoint_name` makes it. The files are ``name.json``,
        ``name.lock`` and, for a checkpoint that could not be read, ``name.bad``.

    Raises
    ------
    StateLocked
        Another process holds this checkpoint.
    StateRefused
        The directory or a file in it is not ours alone to write, or is a symbolic link.
    StateError
        The directory cannot be made or used.
    """

    def __init__(self, directory: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise StateRefused(f"{name!r} cannot name a checkpoint; use letters, digits, '.', '_' and '-'.")
        self.path = directory / f"{name}.json"
        """Where the checkpoint is."""
        self.set_aside: str | None = None
        """Why ``load`` moved the file away, as a sentence; None where it did not."""
        self._directory = directory
        self._name = name
        self._lock: int | None = None
        self._folder: int | None = None
        try:
            self._folder = _open_directory(directory)
            self._lock = self._take_lock()
        except OSError as error:
            self.close()
            raise _unusable(directory, error) from error
        except StateError:
            self.close()
            raise

    def load(self) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none or it cannot be read.

        One that cannot be read is kept as ``name.bad`` and ``set_aside`` says why: a daemon must start all
        the same, and someone may want to know what it was.
        """
        try:
            data = self._read()
            return None if data is None else decoded(data)
        except OSError as error:
            reason = str(error.strerror or error)
        except (ValueError, RecursionError) as error:
            reason = str(error)
        self._move_aside(reason)
        return None

    def save(self, checkpoint: Checkpoint, users: Iterable[tuple[str, bytes]] = ()) -> None:
        """Replace the checkpoint; whatever happens, the old one or the new one is there, and whole.

        Parameters
        ----------
        checkpoint
            What to save.
        users
            States besides those of the checkpoint, as JSON by name. Each is written as it comes: of a thousand
            users, all at once would take more memory than all that scores them.

        Raises
        ------
        StateError
            It could not be written, for instance to a full disk; the old one stands.
        """
        temporary = f"{self._name}.tmp"  # one name is enough under the lock, and no crash leaves a second
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._folder)
            try:
                self._write(temporary, pieces(checkpoint, users))
                os.rename(temporary, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._folder)
                raise
            os.fsync(self._descriptor)  # the rename itself must survive a power failure
        except OSError as error:
            raise _unusable(self._directory, error) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(f"{self.path} cannot be written: {error}.") from error

    def close(self) -> None:
        """Give the checkpoint free for other processes."""
        for descriptor in (self._lock, self._folder):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _descriptor(self) -> int:
        if self._folder is None:
            raise ValueError("this checkpoint is closed")
        return self._folder

    def _take_lock(self) -> int:
        path = self._directory / f"{self._name}.lock"
        descriptor = self._open(path.name, os.O_RDWR | os.O_CREAT)
        try:
            _refuse_unless_ours(path, os.fstat(descriptor), stat.S_ISREG)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # only for the message below; a full disk must not stop the start
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StateLocked(
                f"process {holder or 'unknown'} already works with {self.path}; "
                "stop it, or give this one another directory with --state.",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open(self, name: str, flags: int) -> int:
        """Open a file of the directory, refusing a symbolic link."""
        try:
            return os.open(name, flags | _OPEN, 0o600, dir_fd=self._descriptor)
        except OSError as error:
            if _is_link(name, self._descriptor):
                raise StateRefused(_link(self._directory / name)) from error
            raise

    def _read(self) -> bytes | None:
        try:
            descriptor = self._open(self.path.name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        return _content(self.path, descriptor)

    def _write(self, name: str, content: Iterable[bytes]) -> None:
        descriptor = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            for block in content:
                left = memoryview(block)
                while left:
                    left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _move_aside(self, reason: str) -> None:
        bad = f"{self._name}.bad"
        try:
            os.rename(self.path.name, bad, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            raise _unusable(self._directory, error) from error
        self.set_aside = f"the checkpoint could not be read ({reason}) and is kept as {self._directory / bad}."


def peek(directory: Path, name: str) -> Checkpoint | None:
    """Return another process's checkpoint without a lock and without changing anything; None where there is none.

    Raises
    ------
    StateRefused
        The directory or the file could be somebody else's doing.
    StateError
        It cannot be read.
    """
    path = directory / f"{name}.json"
    if directory.is_symlink():
        raise StateRefused(_link(directory))
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{directory} cannot be read: {error.strerror}.") from error
    try:
        _refuse_unless_ours(directory, os.fstat(folder), stat.S_ISDIR)
        if _is_link(path.name, folder):
            raise StateRefused(_link(path))
        return decoded(_content(path, os.open(path.name, os.O_RDONLY | _OPEN, dir_fd=folder)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        os.close(folder)


def _content(path: Path, descriptor: int) -> bytes:
    """Read an open checkpoint and close it; ValueError where it is too large."""
    with os.fdopen(descriptor, "rb") as file:
        _refuse_unless_ours(path, os.fstat(descriptor), stat.S_ISREG)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return data


def _open_directory(directory: Path) -> int:
    """Make the directory where it is missing, and open it if nobody else can write it."""
    if directory.is_symlink():
        raise StateRefused(_link(directory))
    make_private(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
    try:
        _refuse_unless_ours(directory, os.fstat(descriptor), stat.S_ISDIR)
    except StateRefused:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_unless_ours(path: Path, status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raise unless the file is of its kind and only root or the running user can write it."""
    if not is_kind(status.st_mode):
        raise StateRefused(f"{path} is not a regular file or directory of ours; move it away.")
    if (reason := refusal(path, status)) is not None:
        raise StateRefused(f"{reason}, or give another directory with --state.")


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _link(path: Path) -> str:
    return f"{path} is a symbolic link, which someone else may turn; give the real place with --state."


def _unusable(directory: Path, error: OSError) -> StateError:
    why = error.strerror or str(error)
    return StateError(f"{directory} cannot be used: {why}; make room or give another directory with --state.")
