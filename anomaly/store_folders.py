"""The directories of a store, opened one within the other: only what is to be trusted, by one writer at a time."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomaly.advice import shell_word
from anomaly.errors import ModelRefused, StoreUnwritable, UnknownUser
from anomaly.store_layout import check, directory, encode_user, read_file, versions
from anomaly.store_lock import WriteLock
from anomaly.trust import make_private


class Folders:
    """Opens the directory of models and those of users in it, and says which versions are there.

    It is what :class:`anomaly.store.Store` is built on, which reads and writes what is in them.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = WriteLock(directory)

    def versions(self, user: str) -> list[int]:
        """Return the versions of a user's model, ascending."""
        with self._user(user) as folder:
            return versions(folder) if folder is not None else []

    def current(self, user: str) -> int | None:
        """Return the version in use, None for a user without a model."""
        with self._user(user) as folder:
            return self._current(folder, user, versions(folder)) if folder is not None else None

    def mark(self, user: str | None = None) -> tuple[int, ...] | None:
        """Return something that changes when another version of a user's model is put in use; None without one.

        Without a user: when a user or the background comes or goes. A hint, by one stat(); nothing is checked.
        """
        place = self.directory if user is None else self.directory / encode_user(user) / "current"
        try:
            status = os.stat(place)  # noqa: PTH116 - asked often, and Path.stat is slower
        except (OSError, ValueError):
            return None
        return status.st_mtime_ns, status.st_ino, status.st_nlink

    @contextmanager
    def _open(self) -> Iterator[int | None]:
        with directory(self.directory, None) as root:
            if root is not None:
                check(os.fstat(root), self.directory)
            yield root

    @contextmanager
    def _open_user(self, root: int | None, name: str) -> Iterator[int | None]:
        if root is None:
            yield None
            return
        with directory(self.directory / name, root) as folder:
            if folder is not None:
                check(os.fstat(folder), self.directory / name)
            yield folder

    @contextmanager
    def _user(self, user: str) -> Iterator[int | None]:
        with self._open() as root, self._open_user(root, encode_user(user)) as folder:
            yield folder

    @contextmanager
    def _existing(self, root: int | None, user: str) -> Iterator[int]:
        with self._open_user(root, encode_user(user)) as folder:
            if folder is None:
                raise UnknownUser(f"There is no model of {user!r}. See: anomaly models list")
            yield folder

    @contextmanager
    def _writing(self, patience: float | None = None) -> Iterator[int]:
        try:
            make_private(self.directory)
            with self._open() as root:
                if root is None:
                    raise FileNotFoundError(errno.ENOENT, "it was removed", str(self.directory))
                with self._lock.held(root, patience):
                    yield root
        except OSError as error:
            raise StoreUnwritable(
                f"Models cannot be written to {self.directory}: {error.strerror}. Make room, or name another"
                " directory with --models."
            ) from error

    def _current(self, folder: int, user: str, found: list[int]) -> int | None:
        where = f"{self.directory / encode_user(user)}/current"
        try:
            text = read_file(folder, "current", where).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return found[-1] if found else None
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) not in found:
            raise ModelRefused(
                f"{where} names no version that is there. Choose one with: anomaly models rollback"
                f" --user {shell_word(user)} --to VERSION"
            )
        return int(text)
