"""What is known of one user, as one file: tokenizer, detector, calibration, and a card that says whence.

The file is in the safetensors format: arrays and a header of text. Loading it executes nothing. Its SHA-256
stands in the header, taken over the whole file with the digest's own place filled by zeros.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from anomaly.calibration import Calibration, Tail
from anomaly.detectors.detector import Detector, part
from anomaly.detectors.fusion import Fusion
from anomaly.detectors.interface import Algorithm
from anomaly.errors import ModelRefused
from anomaly.resultjson import MAX_TIME
from anomaly.sources.interface import Position
from anomaly.tokenizer import State, Tokenizer

SCHEMA = 3
_DIGEST = 64
_DAMAGED = "its header is damaged, or was not written by this program"
_KEY = "anomaly"  # one key only: safetensors writes several in no fixed order
_ENTRY = 150
"""Bytes that an entry of the vocabulary takes: its text, what finds it, and its numbers as Python has them."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME)]
_Hours = Annotated[tuple[_Count, ...], msgspec.Meta(min_length=24, max_length=24)]


class Card(msgspec.Struct, frozen=True):
    """Where a model comes from. Every date is the log's, none the clock's."""

    user: str
    algorithm: Algorithm
    hosts: tuple[str, ...]
    actions: _Count
    baseline: _Count
    """How many of the actions were baseline rows: known to the vocabulary, left out of the sequences."""
    first: _Time
    """Time of the first action learned from, in seconds since 1970 UTC."""
    last: _Time
    hours: _Hours
    """Actions by hour of the day, UTC."""
    days: _Count
    """Days on which the user acted."""
    fingerprint: str
    """SHA-256 of what was learned from."""
    ends: tuple[Position, ...]
    """Where the training logs ended: following goes on from there."""
    claims_host: bool
    """Whether rows that name no user are this user's: the log named nobody."""
    identities: dict[str, Any]
    """The numbers and names of users that the log showed."""
    seed: int
    folds: int
    others: int
    """Users that the background is made of; 0 for a user who was learned alone."""
    without: tuple[str, ...]
    """Parts that were left out on purpose."""
    epochs: int | None
    """Passes over the actions that held-out actions asked for (LSTM only)."""
    libraries: dict[str, str]
    schema: int = SCHEMA


class _Sealed(msgspec.Struct):
    """What a file's header says of the card, without the rest being looked at."""

    card: msgspec.Raw
    seal: str | None = None
    """SHA-256 of the card's text: who needs the card alone does not read megabytes to check it."""


class _Header(_Sealed, kw_only=True):
    """All that a file's header says."""

    tokenizer: State


class UserModel:
    """All that scoring one user needs."""

    def __init__(
        self, tokenizer: Tokenizer, detector: Detector, fusion: Fusion, calibration: Calibration, card: Card
    ) -> None:
        self.tokenizer = tokenizer
        self.detector = detector
        self.fusion = fusion
        self.calibration = calibration
        self.card = card

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(array.nbytes for array in self.detector.arrays().values()) + _ENTRY * self.tokenizer.size

    def to_bytes(self) -> bytes:
        """Return the file's content; the same model gives the same bytes."""
        state, arrays = self.tokenizer.to_state()
        named = {f"tokenizer.{name}": array for name, array in arrays.items()}
        named |= {f"detector.{name}": array for name, array in self.detector.arrays().items()}
        named |= {f"fusion.{name}": array for name, array in self.fusion.arrays().items()}
        named["calibration.action"] = self.calibration.action.to_array()
        named["calibration.window"] = self.calibration.window.to_array()
        card = msgspec.json.encode(self.card, order="sorted")
        parts = {"card": msgspec.Raw(card), "seal": hashlib.sha256(card).hexdigest(), "tokenizer": state}
        header = msgspec.json.encode(parts, order="sorted")
        text = "0" * _DIGEST + header.decode()
        data = save({name: np.ascontiguousarray(array) for name, array in named.items()}, {_KEY: text})
        return data.replace(b"0" * _DIGEST, _digest(data, data.index(b"0" * _DIGEST)).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> UserModel:
        """Rebuild a model; ``name`` is what to call it in an error.

        Raises
        ------
        ModelRefused
            Where the content is not exactly what :meth:`to_bytes` wrote.
        """
        try:
            text = _header(data)
            place = data.find(text[:_DIGEST].encode("ascii", "replace"))
            if place < 0 or _digest(data, place) != text[:_DIGEST]:
                raise ValueError("its content does not match its SHA-256")
            header = msgspec.json.decode(text[_DIGEST:], type=_Header)
            card = _card(msgspec.json.decode(header.card))
            arrays = load(data)
            calibration = Calibration(
                Tail.from_array(arrays["calibration.action"]), Tail.from_array(arrays["calibration.window"])
            )
            tokenizer = Tokenizer.from_state(header.tokenizer, part(arrays, "tokenizer."))
            detector = Detector.from_arrays(card.algorithm, part(arrays, "detector."))
            fusion = Fusion.from_arrays(part(arrays, "fusion."))
            _check(card, tokenizer, detector, fusion)
        except (KeyError, TypeError, IndexError) as error:  # whose words say little by themselves
            raise ModelRefused(
                f"{name} is refused: it does not hold what this program writes ({error})."
            ) from error
        except (ValueError, OverflowError, SafetensorError, RecursionError) as error:
            raise ModelRefused(f"{name} is refused: {error}.") from error
        return cls(tokenizer, detector, fusion, calibration, card)


def card_from(head: bytes, name: str) -> Card | None:
    """Return the card of a model by the beginning of its file, as far as :func:`head_size` says.

    The card has a digest of its own there; None where it has none, in a file of an earlier version of this
    program: then the whole file must be read. Raises what :meth:`UserModel.from_bytes` does.
    """
    try:
        sealed = _sealed(_header(head)[_DIGEST:])
        if sealed.seal is None:
            return None
        if hashlib.sha256(sealed.card).hexdigest() != sealed.seal:
            raise ValueError("its card does not match its SHA-256")
        return _card(msgspec.json.decode(sealed.card))
    except (KeyError, TypeError) as error:
        raise ModelRefused(f"{name} is refused: it does not hold what this program writes ({error}).") from error
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{name} is refused: {error}.") from error


def head_size(begin: bytes) -> int:
    """Return how many bytes the beginning of a model's file is, by the first eight."""
    return 8 + int.from_bytes(begin[:8], "little")


def _card(found: Any) -> Card:  # noqa: ANN401 - from a file
    if found["schema"] != SCHEMA:
        raise ValueError(f"its schema is {found['schema']}, this program reads {SCHEMA}")
    return msgspec.convert(found, Card)


def _check(card: Card, tokenizer: Tokenizer, detector: Detector, fusion: Fusion) -> None:
    """Raise ValueError where parts that are sound do not fit each other."""
    is_network = card.algorithm is Algorithm.LSTM
    has_network = is_network or (card.algorithm is Algorithm.BOTH and "lstm" not in card.without)
    has_windows = not is_network and "svm" not in card.without
    expected = has_network, has_windows, not is_network and not detector.is_together
    parts = detector.sequence, detector.svm, detector.neighbours
    if tuple(part is not None for part in parts) != expected:
        raise ValueError(f"its parts are not those of a model by {card.algorithm.value}")
    starts = [*(head.start for head in tokenizer.heads), tokenizer.size]
    if detector.sequence is not None and detector.sequence.network.starts.tolist() != starts:
        raise ValueError("its network and its vocabulary do not fit each other")
    if fusion.weights.shape != detector.as_trained(detector.start()).shape:
        raise ValueError("its views and their weights do not fit each other")


def _digest(data: bytes, place: int) -> str:
    """Hash a file with zeros at the digest's own place; without a copy, which would be of megabytes."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:place])
    digest.update(b"0" * _DIGEST)
    digest.update(view[place + _DIGEST :])
    return digest.hexdigest()


def _header(data: bytes) -> str:
    """Return our text from a safetensors file's header (eight bytes of length, then JSON)."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        raise ValueError("it is cut short, or no safetensors file")
    try:
        text = msgspec.json.decode(data[8 : 8 + length])["__metadata__"][_KEY]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_DAMAGED) from error
    if not isinstance(text, str) or len(text) <= _DIGEST:
        raise ValueError(_DAMAGED)
    return text


def _sealed(text: str) -> _Sealed:
    """Return the card and its digest from our text, the rest of which is not looked at."""
    try:
        return msgspec.json.decode(text, type=_Sealed)
    except (ValueError, RecursionError) as error:
        raise ValueError(_DAMAGED) from error
