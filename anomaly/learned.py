"""What a model has learned since it was trained, as bytes of its own: the trained model is never touched.

A file holds arrays and a header, as a model's does, and loading it executes nothing. It belongs to one model and
one log, and is named by its SHA-256 in the checkpoint, so that it and the place in the log are of one moment.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from anomaly.adaptation import REMEMBERED, Progress
from anomaly.detectors.interface import Arrays
from anomaly.errors import AnomalyError, ModelRefused
from anomaly.store import Store

SCHEMA = 1
_KEY = "anomaly"
_MOST = 10**11  # also of a time in seconds: the year 5138


class Origin(msgspec.Struct, frozen=True):
    """Whose learning it is."""

    user: str
    algorithm: str
    version: int
    fingerprint: str
    """Of what the model was trained on."""
    log: str
    """The log it was learned from, for people."""

    def same_model(self, other: Origin) -> bool:
        """Say whether both are of one model; one log may go by several names."""
        return msgspec.structs.replace(self, log=other.log) == other


class Learned(NamedTuple):
    """What was learned, and how far that went."""

    origin: Origin
    progress: Progress
    arrays: Arrays

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        header = {"schema": SCHEMA, "origin": self.origin, "progress": self.progress}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        return save(arrays, {_KEY: msgspec.json.encode(header).decode()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Learned:
        """Rebuild it; ValueError where it is not what :meth:`to_bytes` wrote."""
        try:
            length = int.from_bytes(data[:8], "little")
            header = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"][_KEY])
            if header["schema"] != SCHEMA:
                raise ValueError(f"its schema is {header['schema']}, this program reads {SCHEMA}")
            origin, progress = (
                msgspec.convert(header["origin"], Origin),
                msgspec.convert(header["progress"], Progress),
            )
            if len(progress.recent) > REMEMBERED:
                raise ValueError("it remembers more than it can")
            if not all(0 <= number < _MOST for number in _numbers(progress)):
                raise ValueError("its counts are none")
            return cls(origin, progress, load(data))
        except (KeyError, TypeError, SafetensorError, RecursionError) as error:
            raise ValueError(str(error)) from error


def _numbers(progress: Progress) -> tuple[int, ...]:
    counts = progress.generation, progress.learned, progress.refused, progress.capped
    return (*counts, progress.first, progress.last)


class Keeper(ABC):
    """Keeps what users' models learn."""

    @abstractmethod
    def keep(self, user: str, version: int, data: bytes, saved: Any) -> Any:  # noqa: ANN401 - its own affair
        """Keep it, and return a JSON-able reference to it; what the reference ``saved`` names stays as it is."""

    @abstractmethod
    def fetch(self, user: str, version: int, reference: Any) -> bytes | None:  # noqa: ANN401 - its own affair
        """Return what was kept; None where it is gone, or is not what it was."""

    def forgotten(self, user: str, version: int, reference: Any) -> bool:  # noqa: ANN401, ARG002 - where it can happen
        """Say whether somebody has taken away what was kept: the model is to go on as it was trained."""
        return False


class EmbeddedKeeper(Keeper):
    """Keeps it within the reference itself, and so within the checkpoint."""

    def keep(self, user: str, version: int, data: bytes, saved: Any) -> str:  # noqa: ANN401, ARG002 - the interface
        """Return it as text."""
        return base64.b64encode(data).decode("ascii")

    def fetch(self, user: str, version: int, reference: Any) -> bytes | None:  # noqa: ANN401, ARG002
        """Return it from the text."""
        if not isinstance(reference, str):
            return None
        try:
            return base64.b64decode(reference, validate=True)
        except ValueError:
            return None


class StoreKeeper(Keeper):
    """Keeps it beside the model, in two places: the one that the last checkpoint names stays as it is.

    Parameters
    ----------
    store
        The models.
    name
        Of the checkpoint: each log has its own.
    say
        Told, as a sentence, that it could not be kept there.
    """

    def __init__(self, store: Store, name: str, say: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._name = name
        self._say = say
        self._embedded = EmbeddedKeeper()
        self.refused: str | None = None
        """Why it could not be kept beside the model, as a sentence; None where it could."""

    def keep(self, user: str, version: int, data: bytes, saved: Any) -> Any:  # noqa: ANN401 - a reference
        """Write the file; where that is not possible, keep it in the checkpoint."""
        slot = 1 - int(saved["slot"]) % 2 if isinstance(saved, dict) else 0
        try:
            self._store.write_learned(user, version, f"{self._name}.{slot}", data)
        except AnomalyError as error:
            if self.refused is None:
                self._say(f"What is learned is kept in the checkpoint, not beside the model. {error}")
            self.refused = str(error)
            return self._embedded.keep(user, version, data, saved)
        return {"slot": slot, "sha256": hashlib.sha256(data).hexdigest()}

    def fetch(self, user: str, version: int, reference: Any) -> bytes | None:  # noqa: ANN401 - from the checkpoint
        """Read the file, if it is the one that was written."""
        if not isinstance(reference, dict):
            return self._embedded.fetch(user, version, reference)
        try:
            data = self._store.read_learned(user, version, f"{self._name}.{int(reference['slot']) % 2}")
        except (ModelRefused, KeyError, TypeError, ValueError):
            return None
        if data is None or hashlib.sha256(data).hexdigest() != reference.get("sha256"):
            return None
        return data

    def forgotten(self, user: str, version: int, reference: Any) -> bool:  # noqa: ANN401 - from the checkpoint
        """Say whether both places are empty, where the reference names one."""
        try:
            return isinstance(reference, dict) and not self._store.has_learned(user, version, self._name)
        except ModelRefused:
            return False
