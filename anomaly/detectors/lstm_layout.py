"""Where a vocabulary's tokens lie in the network that is trained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.tokenizer import Tokenizer

BLOCK = 8
"""Tokens of one column that are summed up at once."""

_SIZES = 256  # vocabularies are padded to a multiple of this, so that they share a graph
_COLUMNS = 32  # and their columns to a multiple of this
_WIDTHS = 8  # and actions to a multiple of this many tokens


class Layout(NamedTuple):
    """Each column lies in whole blocks, so that its softmax is summed by blocks.

    Place 0 is padding, as token 0 is; its block belongs to no column.
    """

    shape: tuple[int, int, int]
    """Places, columns and tokens of an action: vocabularies of one shape share a graph."""
    places: NDArray[np.int32]
    """Of each token, shape (tokens,)."""
    column: NDArray[np.int32]
    """Which column's softmax each block belongs to, shape (places / BLOCK,)."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, width: int) -> Layout:
        """Lay out a vocabulary whose actions have up to ``width`` tokens."""
        places = np.zeros(tokenizer.size, dtype=np.int32)
        column = [0]
        for number, head in enumerate(tokenizer.heads, 1):
            begin = len(column) * BLOCK
            places[head.start : head.stop] = np.arange(begin, begin + len(head.tokens))
            column += [number] * -(-len(head.tokens) // BLOCK)
        last = len(tokenizer.heads) + 1
        size = _padded(len(column) * BLOCK, _SIZES)
        column += [last] * (size // BLOCK - len(column))
        shape = (size, _padded(last + 1, _COLUMNS), _padded(width, _WIDTHS))
        return cls(shape, places, np.array(column, dtype=np.int32))

    @property
    def tokens(self) -> int:
        """Tokens, rounded up: as many are drawn for when a network begins."""
        return _padded(len(self.places), _SIZES)

    def place(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the places of actions' tokens, padded to the width of the graph."""
        found: NDArray[np.int32] = np.pad(self.places[ids], ((0, 0), (0, self.shape[2] - ids.shape[1])))
        return found


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
