"""One action as hashed features at eight levels, from its program to the whole row: what the detectors count.

Each feature is 64 bits of a keyed hash, whose last three are its level, so that different texts are different
features: nothing new can hide behind something known. The key comes from the training data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.features.commands import command_tokens
from anomaly.values import COMMAND_COLUMNS

MAX_TEXT = 1024
"""Characters of a value that are looked at; what is longer differs only in its hash."""

_REMEMBERED = 16_384
"""Hashes remembered, of all users together."""

_LONGEST = 256
"""Longest text whose hash is remembered: the log chooses how long its values are."""

_LEVEL_BITS = 7


class Level(IntEnum):
    """What a feature speaks of."""

    PROGRAM = 0
    """A program in a command line."""
    SUBCOMMAND = 1
    """A program with its first plain argument."""
    OPTION = 2
    """A program with the name of an option."""
    ARGUMENT = 3
    """One argument of any program."""
    SHAPE = 4
    """A program with the kinds of its arguments, or two programs in a pipe; which columns a row has."""
    ROW = 5
    """The whole row."""
    VALUE = 6
    """A column with its value; not of columns that hold a command line."""
    KIND = 7
    """The kind of the row: its query, and whether it was added or removed."""


Features = tuple[int, ...]
"""The features of one action, those of a lower level first, in an order that its
columns' order does not change."""


class FeatureHasher:
    """Turns rows into features.

    Parameters
    ----------
    key
        Key of the hash; models whose features are compared share it.
    silent
        (query, column) pairs whose values name nothing, such as process numbers.

    Examples
    --------
    >>> hasher = FeatureHasher(key=1, silent=set())
    >>> found = hasher.features("shell_history", "added", {"command": "ls -l /tmp"})
    >>> [Level(feature & 7).name for feature in found]
    ['PROGRAM', 'SUBCOMMAND', 'OPTION', 'ARGUMENT', 'SHAPE', 'SHAPE', 'ROW', 'KIND']
    """

    def __init__(self, key: int, silent: Iterable[tuple[str, str]]) -> None:
        if not 0 <= key < 1 << 64:
            raise ValueError("the key is not a number of 64 bits")
        self.key = key
        self._key = key.to_bytes(8, "little")
        self._silent = frozenset(silent)

    def features(self, query: str, verb: str, columns: Mapping[str, str]) -> Features:
        """Return the features of a row whose columns :func:`anomaly.features.normalise.normalise` gave."""
        kind = f"{query} {verb}"
        texts: list[tuple[int, str]] = []
        values: list[tuple[int, str]] = []
        names, row = [query], [kind]
        for column, value in columns.items():
            names.append(column)
            if (query, column) in self._silent:
                continue
            rest = ""
            if len(value) > MAX_TEXT:
                rest = _digest(self._key, value[MAX_TEXT:]).hex()
                value = value[:MAX_TEXT]  # noqa: PLW2901 - cut
            if column in COMMAND_COLUMNS:
                for level, tokens in enumerate(command_tokens(value)):
                    prefix = "" if level == Level.ARGUMENT else query
                    texts += [(level, f"{prefix}\0{token}") for token in tokens]
                value = " ".join(value.split())  # noqa: PLW2901 - as typed, whatever the spaces
            else:
                values.append((Level.VALUE, f"{query}\0{column}\0{value}{rest}"))
            row.append(f"{column}={value}{rest}")
        # Tokens hold no tab, so no command line has the text of a row's columns.
        texts += [(Level.SHAPE, "\t".join(names)), (Level.ROW, "\0".join(row)), *values, (Level.KIND, kind)]
        texts.sort(key=_by_level)
        hashes = [
            _hash(self._key, level, text) if len(text) <= _LONGEST else _hash.__wrapped__(self._key, level, text)
            for level, text in texts
        ]
        return tuple(dict.fromkeys(hashes))


@lru_cache(_REMEMBERED)
def _hash(key: bytes, level: int, text: str) -> int:
    return int.from_bytes(_digest(key, text), "little") & ~_LEVEL_BITS | level


def _digest(key: bytes, text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()


def _by_level(entry: tuple[int, str]) -> int:
    return entry[0]


def level_of(feature: int) -> Level:
    """Return the level of a feature."""
    return Level(feature & _LEVEL_BITS)


def packed(actions: Sequence[Features]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return actions' features one after the other, and how many each has."""
    return (
        np.fromiter(chain.from_iterable(actions), dtype=np.uint64),
        np.array(list(map(len, actions)), dtype=np.int64),
    )


def unpacked(features: NDArray[Any], sizes: NDArray[Any]) -> tuple[Features, ...]:
    """Undo :func:`packed`; raises ValueError if the two do not add up."""
    if features.dtype != np.uint64 or features.ndim != 1 or sizes.dtype != np.int64 or sizes.ndim != 1:
        raise ValueError("the features are of other types")
    if (sizes < 1).any() or (sizes > len(features)).any() or int(sizes.sum()) != len(features):
        raise ValueError("the features do not add up")
    flat = features.tolist()
    return tuple(tuple(flat[begin:end]) for begin, end in pairwise(accumulate(sizes.tolist(), initial=0)))
