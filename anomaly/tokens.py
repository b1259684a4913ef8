"""Actions as numbers, one or many: what a tokenizer gives and detectors take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.features.levels import Features


class Tokens(NamedTuple):
    """One action, as the detectors see it."""

    ids: tuple[int, ...]
    """For the network: the kind first, then one token per column that says something."""
    features: Features
    """For the counts: see :mod:`anomaly.features.levels`."""
    marks: tuple[int, ...] = ()
    """For each id a hash of the value where it is no token of its own, else 0; empty where none was asked for."""


class Encoded(NamedTuple):
    """Many actions; the arrays are of shape (actions, 1 + columns), padded with 0."""

    ids: NDArray[np.int32]
    marks: NDArray[np.uint32]
    """Of the ids; 0 for those that have none."""
    features: Sequence[Features]
    """By action."""

    def tokens(self, action: int) -> Tokens:
        """Return one action as :class:`Tokens`."""
        return self.batch(range(action, action + 1))[0]

    def batch(self, part: range) -> list[Tokens]:
        """Return consecutive actions as :class:`Tokens`."""
        rows = zip(
            self.ids[part.start : part.stop].tolist(),
            self.features[part.start : part.stop],
            self.marks[part.start : part.stop].tolist(),
            strict=True,
        )
        return [
            Tokens(
                tuple([token for token in ids if token]),
                features,
                tuple([mark for token, mark in zip(ids, marks, strict=True) if token]),
            )
            for ids, features, marks in rows
        ]

    def chosen(self, actions: NDArray[Any] | slice) -> Encoded:
        """Return some of the actions, by a slice, a mask or their places."""
        places = np.arange(len(self.ids))[actions].tolist()
        return Encoded(self.ids[actions], self.marks[actions], [self.features[place] for place in places])
