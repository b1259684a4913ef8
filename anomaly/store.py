"""The directory of models, ``DIRECTORY/USER/VERSION.safetensors``: read and written here alone.

Which version is in use stands in ``DIRECTORY/USER/current``. User names come from the log and are not paths:
a directory's name is derived from the user's, and the name itself stands inside the model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from anomaly.advice import shell_word
from anomaly.background import Background
from anomaly.errors import ModelRefused, UnknownUser
from anomaly.model import Card, UserModel, card_from, head_size
from anomaly.store_folders import Folders
from anomaly.store_layout import (
    LEARNED,
    MAX_BYTES,
    SUFFIX,
    decode_user,
    encode_user,
    learned_names,
    read_file,
    versions,
    write_file,
)
from anomaly.store_lock import BRIEF

_BACKGROUND = "background.safetensors"


class Stored(NamedTuple):
    """A model and the version it is stored as."""

    version: int
    model: UserModel


class Store(Folders):
    """Models by user and version, what they have learned since, and what everyone does.

    Parameters
    ----------
    directory
        Made at the first :meth:`save`, with mode 0700.

    Raises
    ------
    ModelRefused
        By every method, where the directory or a file in it fails the checks of :mod:`anomaly.trust`, is a
        symbolic link, or does not hold what it should.
    """

    def users(self) -> list[str]:
        """Return the users that have a model, by name; also those whose model will be refused."""
        with self._open() as root:
            if root is None:
                return []
            with os.scandir(root) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            return sorted(user for name in names if (user := self._user_of(root, name)) is not None)

    def load(self, user: str, version: int | None = None) -> Stored | None:
        """Read a model, by default the version in use; None for a user without one."""
        with self._chosen(user, version) as (folder, chosen, where):
            if folder is None:
                return None
            with self._refused(user):
                model = UserModel.from_bytes(read_file(folder, f"{chosen}{SUFFIX}", where), f"Model {where}")
                if model.card.user != user:
                    raise ModelRefused(f"Model {where} is refused: it belongs to {model.card.user!r}.")
            return Stored(chosen, model)

    def card(self, user: str) -> Card | None:
        """Read the card of the model in use, which is little of it; None for a user without one.

        That the card is well does not say that the model is: the rest is looked at when it is loaded.
        """
        with self._chosen(user, None) as (folder, chosen, where):
            if folder is None:
                return None
            with self._refused(user):
                card = card_from(read_file(folder, f"{chosen}{SUFFIX}", where, head_size), f"Model {where}")
                if card is not None and card.user != user:
                    raise ModelRefused(f"Model {where} is refused: it belongs to {card.user!r}.")
        if card is not None:
            return card
        stored = self.load(user, chosen)
        return stored.model.card if stored is not None else None

    def save(self, user: str, model: UserModel) -> int:
        """Write a model as the next version, put it in use, and return the version.

        Raises
        ------
        StoreUnwritable
            There is no room, or no permission.
        StateLocked
            Another process has been writing for as long as :mod:`anomaly.store_lock` waits.
        """
        data = model.to_bytes()
        if len(data) > MAX_BYTES:
            raise ModelRefused(f"The model of {user!r} would be too large to be read back ({len(data):,} bytes).")
        name = encode_user(user)
        with self._writing() as root:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=root)
            with self._existing(root, user) as folder:
                version = max(versions(folder), default=0) + 1
                write_file(folder, f"{version}{SUFFIX}", data)
                write_file(folder, "current", f"{version}\n".encode())
        return version

    def save_background(self, background: Background) -> None:
        """Write what everyone does, in place of what was there; raises what :meth:`save` does."""
        data = background.to_bytes()
        with self._writing() as root:
            write_file(root, _BACKGROUND, data)

    def load_background(self) -> Background | None:
        """Read what everyone does; None where it was never learned."""
        where = f"{self.directory / _BACKGROUND}"
        with self._open() as root:
            if root is None:
                return None
            try:
                data = read_file(root, _BACKGROUND, where)
            except FileNotFoundError:
                return None
        return Background.from_bytes(data, f"Background {where}")

    def write_learned(self, user: str, version: int, name: str, data: bytes) -> None:
        """Write what a model has learned since; raises what :meth:`save` does."""
        with self._writing(BRIEF) as root, self._existing(root, user) as folder:
            write_file(folder, f"{version}.{name}{LEARNED}", data)

    def read_learned(self, user: str, version: int, name: str) -> bytes | None:
        """Read what :meth:`write_learned` wrote; None where there is none."""
        with self._user(user) as folder:
            if folder is None:
                return None
            file = f"{version}.{name}{LEARNED}"
            try:
                return read_file(folder, file, f"{self.directory / encode_user(user) / file}")
            except FileNotFoundError:
                return None

    def has_learned(self, user: str, version: int, name: str) -> bool:
        """Say whether anything that a model has learned by this name is there."""
        return any(found.startswith(f"{name}.") for found in self.learned(user, version))

    def learned(self, user: str, version: int) -> list[str]:
        """Return the names of what a model has learned, as :meth:`read_learned` takes them."""
        with self._user(user) as folder:
            return learned_names(folder, version) if folder is not None else []

    def forget_learned(self, user: str, version: int) -> int:
        """Delete everything that a model has learned since it was trained; return how many files that were."""
        with self._writing() as root, self._existing(root, user) as folder:
            names = learned_names(folder, version)
            for name in names:
                os.unlink(f"{version}.{name}{LEARNED}", dir_fd=folder)
        return len(names)

    def prepare(self) -> None:
        """Make the directory, and raise what :meth:`save` would: before an hour of training, not after it."""
        with self._writing():
            pass

    def use(self, user: str, version: int) -> None:
        """Put a version in use."""
        with self._writing() as root, self._existing(root, user) as folder:
            if version not in versions(folder):
                have = ", ".join(map(str, versions(folder)))
                raise UnknownUser(f"{user!r} has no version {version}. There is: {have}.")
            write_file(folder, "current", f"{version}\n".encode())

    def rollback(self, user: str) -> int:
        """Put the version before the one in use back in use, and return it."""
        current = self.current(user)
        if current is None:
            raise UnknownUser(f"There is no model of {user!r} in {self.directory}. See: anomaly models list")
        earlier = [version for version in self.versions(user) if version < current]
        if not earlier:
            raise UnknownUser(f"{user!r} has no version before {current} to go back to. See: anomaly models list")
        self.use(user, earlier[-1])
        return earlier[-1]

    def prune(self, user: str, keep: int) -> list[int]:
        """Delete all versions but the ``keep`` newest and the one in use; return what was deleted."""
        with self._writing() as root, self._existing(root, user) as folder:
            current = self._current(folder, user, versions(folder))
            old = [version for version in versions(folder)[: -keep or None] if version != current]
            for version in old:
                os.unlink(f"{version}{SUFFIX}", dir_fd=folder)
                for name in learned_names(folder, version):
                    os.unlink(f"{version}.{name}{LEARNED}", dir_fd=folder)
        return old

    def files(self, user: str) -> list[str]:
        """Return the names of all files that are kept of a user, whatever they are."""
        with self._user(user) as folder:
            return sorted(os.listdir(folder)) if folder is not None else []

    def erase(self, user: str) -> None:
        """Delete everything that is kept of a user; raises what :meth:`save` does."""
        name = encode_user(user)
        with self._writing() as root:
            with self._existing(root, user) as folder:
                for file in os.listdir(folder):
                    os.unlink(file, dir_fd=folder)
            os.rmdir(name, dir_fd=root)
            os.fsync(root)

    @contextmanager
    def _chosen(self, user: str, version: int | None) -> Iterator[tuple[int | None, int, str]]:
        """Open the directory of a user, None where there is no such model; say which version, and where it is."""
        with self._user(user) as folder:
            found = versions(folder) if folder is not None else []
            if version is None and folder is not None:
                version = self._current(folder, user, found)
            if version is None or version not in found:
                yield None, 0, ""
            else:
                yield folder, version, f"{self.directory / encode_user(user) / str(version)}{SUFFIX}"

    @contextmanager
    def _refused(self, user: str) -> Iterator[None]:
        """Add to why a model is refused what makes a new one."""
        try:
            yield
        except ModelRefused as error:
            again = f"anomaly train --user {shell_word(user)} --models {shell_word(str(self.directory))} -l LOG"
            raise ModelRefused(f"{error} Make a new one with: {again}") from error

    def _user_of(self, root: int, name: str) -> str | None:
        """Return whose models a directory holds, None where it holds none or is not ours."""
        user = decode_user(name)
        try:
            with self._open_user(root, name) as folder:
                found = versions(folder) if folder is not None else []
                if user is None and found:  # too long a name to be told from the directory's
                    where = f"{self.directory / name / str(found[-1])}{SUFFIX}"
                    data = read_file(folder, f"{found[-1]}{SUFFIX}", where)
                    user = UserModel.from_bytes(data, f"Model {where}").card.user
        except ModelRefused:
            return user
        return user if found and user is not None and encode_user(user) == name else None
