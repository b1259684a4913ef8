"""What a tokenizer looks values up in: a column's dictionaries, rare values by hash, and actions seen lately."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.tokens import Tokens
from anomaly.values import levels
from anomaly.vocabulary import Head

_CACHE = 4096
"""Unseen values remembered per column, so that a repeated one is resolved once."""

Resolved = tuple[int, int]  # a value's token and mark
"""As the tokenizer gives them."""


def value_hash(salt: int, query: str, column: str, text: str) -> int:
    """Return a 32-bit hash of a value in its column; ``salt`` is where it starts."""
    return zlib.crc32(f"{query}\0{column}\0{text}".encode("utf-8", "surrogatepass"), salt)


class Column:
    """A head with its dictionaries; ``table`` holds the values that came up, exact or never seen.

    The dictionaries are made when the column first comes up: of most columns nothing does for hours.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.table: dict[str, Resolved] = {}
        self.limit = len(head.tokens) + _CACHE

    @cached_property
    def exact(self) -> dict[str, int]:
        """The token of each value that has one of its own."""
        return {t.text: i for i, t in enumerate(self.head.tokens, self.head.start) if t.exact}

    @cached_property
    def general(self) -> dict[str, int]:
        """The token of each general form."""
        first = self.head.start
        return {t.text: i for i, t in enumerate(self.head.tokens, first) if not t.exact and i > first}

    def fall_back(self, value: str) -> int:
        """Return the most specific general form that is known, at last the unknown token."""
        forms = levels(self.head.column, value)
        return next((self.general[form] for form in forms if form in self.general), self.head.start)


class Rare(Mapping[int, int]):
    """How often training saw values, by their hashes: two arrays, a tenth of what a dictionary takes.

    Parameters
    ----------
    hashes, counts
        Of the values, shape (values,); the hashes ascending.
    """

    def __init__(self, hashes: NDArray[Any], counts: NDArray[Any]) -> None:
        if hashes.dtype != np.uint32 or counts.dtype != np.uint32 or hashes.ndim != 1:
            raise ValueError("the rare values are of other types")
        if hashes.shape != counts.shape or (hashes[1:] <= hashes[:-1]).any():
            raise ValueError("the rare values do not pair up, or are out of order")
        self._hashes, self._counts = hashes, counts

    def __getitem__(self, key: int) -> int:
        place = int(np.searchsorted(self._hashes, key))
        if place == len(self._hashes) or self._hashes[place] != key:
            raise KeyError(key)
        return int(self._counts[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self._hashes.tolist())

    def __len__(self) -> int:
        return len(self._hashes)


class Shape:
    """What is looked at in actions with the same query, verb and columns, and what came of those seen lately.

    Most of what a machine does, it does again: to find that out takes a third of tokenising it anew.
    """

    def __init__(self, spoken: list[str]) -> None:
        self.pick: Callable[[dict[str, str]], tuple[str, ...]] = _picker(spoken)
        """Gives the values of an action that its tokens depend on."""
        self.known: dict[tuple[str, str, tuple[str, ...]], Tokens] = {}
        """By user, host and these values."""


def _picker(columns: list[str]) -> Callable[[dict[str, str]], tuple[str, ...]]:
    if len(columns) > 1:
        return itemgetter(*columns)
    return lambda row: tuple([row[column] for column in columns])  # an itemgetter of one gives no tuple
