"""The models that a worker has: loaded when their users act, within a bound, and renewed with the manifest."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from anomaly.advice import shell_word
from anomaly.background import Background
from anomaly.errors import ModelRefused, UnknownUser
from anomaly.fleet.manifest import MANIFEST, Common, Manifest
from anomaly.fleet.remote import Files
from anomaly.model import UserModel
from anomaly.store import Stored

REFRESH = 2.0
"""Seconds between two looks at the manifest."""

ROOM = 256 << 20
"""Bytes of models that one worker holds, as :attr:`UserModel.size` has them; one is held in any case."""

_LONGEST = 600  # characters of a reason

_TRAININGS = 3
"""Trainings that are asked which names users' numbers have; each of its models holds all that it saw."""


class Models:
    """Gives models by key.

    Parameters
    ----------
    files
        The store.
    room
        Bytes of models to be held.
    clock
        Gives seconds that never go back.

    Raises
    ------
    UnknownUser
        There is no manifest.
    ModelRefused, StateError
        There is none that can be read.
    """

    def __init__(self, files: Files, room: int = ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._room, self._clock = files, room, clock
        self._held: OrderedDict[str, tuple[Common, Stored]] = OrderedDict()
        self._taken = 0
        self._refused: dict[str, tuple[Common, str]] = {}
        self._background: tuple[Common, Background | None] | None = None
        self.stale = False
        """Whether the manifest has changed to one that cannot be used: the one before still is."""
        try:
            self._mark = files.mark(MANIFEST)
            self.manifest = _manifest(files)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnknownUser(
                f"{files.address} holds no models of a fleet: there is no {MANIFEST} in it. Make models with:"
                f" anomaly fleet train --from LOGS --models {shell_word(files.address)}"
            ) from error
        self._looked = clock()

    def refresh(self) -> None:
        """Look whether there is another manifest; at most every ``REFRESH`` seconds."""
        if self._clock() - self._looked < REFRESH:
            return
        self._looked = self._clock()
        try:
            mark = self._files.mark(MANIFEST)
            if mark != self._mark:
                self.manifest = _manifest(self._files)
                self._mark, self.stale = mark, False
        except (ModelRefused, FileNotFoundError):
            self.stale = True

    def find(self, key: str) -> Stored | None:
        """Return the model of a key; None where there is none, or none that can be used."""
        file = self.manifest.models.get(key)
        if file is None or self._refused.get(key, (None, ""))[0] == file:
            return None
        held = self._held.get(key)
        if held is not None and held[0] == file:
            self._held.move_to_end(key)
            return held[1]
        try:
            stored = _load(self._files, key, file)
        except (ModelRefused, FileNotFoundError) as error:
            self._refused[key] = file, str(error) if isinstance(error, ModelRefused) else f"{file.file} is gone."
            return None
        self._hold(key, file, stored)
        return stored

    def refusal(self, key: str) -> str:
        """Say whose model :meth:`find` does not give though there is one, and why, in few words."""
        reason = self._refused[key][1]
        return f"{key}: {reason}"[:_LONGEST].encode("utf-8", "replace").decode()

    def identities(self) -> list[dict[str, Any]]:
        """Return what the newest trainings saw of users' numbers and names, the newest first."""
        some = {_version(file): key for key, file in sorted(self.manifest.models.items(), reverse=True)}
        found = [self.find(some[version]) for version in sorted(some, reverse=True)[:_TRAININGS]]
        return [stored.model.card.identities for stored in found if stored is not None]

    @property
    def background(self) -> Background | None:
        """What everyone does; None where it was never learned or cannot be used."""
        file = self.manifest.background
        if file is None:
            return None
        if self._background is None or self._background[0] != file:
            found = None
            try:
                found = Background.from_bytes(_content(self._files, file), f"Background {file.file}")
            except (ModelRefused, FileNotFoundError):
                self.stale = True
            self._background = file, found
        return self._background[1]

    def _hold(self, key: str, file: Common, stored: Stored) -> None:
        before = self._held.pop(key, None)
        self._taken += stored.model.size - (before[1].model.size if before is not None else 0)
        self._held[key] = file, stored
        while self._taken > self._room and len(self._held) > 1:
            _, (_, gone) = self._held.popitem(last=False)
            self._taken -= gone.model.size


def _manifest(files: Files) -> Manifest:
    return Manifest.from_bytes(files.read(MANIFEST), "The manifest of the models")


def _version(file: Common) -> int:
    return int(PurePosixPath(file.file).stem)  # the manifest was checked


def _load(files: Files, key: str, file: Common) -> Stored:
    """Read a model as the local store does, and check it all over."""
    model = UserModel.from_bytes(_content(files, file), f"Model {file.file}")
    if model.card.user != key:
        raise ModelRefused(f"Model {file.file} is refused: it is of the user {model.card.user!r}.")
    return Stored(_version(file), model)


def _content(files: Files, file: Common) -> bytes:
    data = files.read(file.file)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ModelRefused(f"Model {file.file} is refused: it is not the one that the manifest names.")
    return data
