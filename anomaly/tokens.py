"""Actions as numbers, one or many: what a tokenizer gives and detectors take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1024
"""Size of the bag."""


class Tokens(NamedTuple):
    """One action, as the detectors see it: the kind first, then one entry per column that says something."""

    ids: tuple[int, ...]
    buckets: tuple[int, ...]
    marks: tuple[int, ...] = ()
    """For each id a hash of the value where it is no token of its own, else 0; empty where none was asked for."""


class Encoded(NamedTuple):
    """Many actions as arrays of shape (actions, 1 + columns); ids padded with 0, buckets with -1."""

    ids: NDArray[np.int32]
    buckets: NDArray[np.int16]
    marks: NDArray[np.uint32]
    """Of the ids; 0 for those that have none."""

    def tokens(self, action: int) -> Tokens:
        """Return one action as :class:`Tokens`."""
        ids, buckets, marks = self.ids[action], self.buckets[action], self.marks[action]
        there = ids > 0
        return Tokens(
            tuple(ids[there].tolist()), tuple(buckets[buckets >= 0].tolist()), tuple(marks[there].tolist())
        )

    def batch(self, part: range) -> list[Tokens]:
        """Return consecutive actions as :class:`Tokens`."""
        rows = zip(*(column[part.start : part.stop].tolist() for column in self), strict=True)
        return [
            Tokens(
                tuple([token for token in ids if token]),
                tuple([bucket for bucket in buckets if bucket >= 0]),
                tuple([mark for token, mark in zip(ids, marks, strict=True) if token]),
            )
            for ids, buckets, marks in rows
        ]

    def chosen(self, actions: NDArray[Any] | slice) -> Encoded:
        """Return some of the actions."""
        return Encoded(self.ids[actions], self.buckets[actions], self.marks[actions])
