"""How far the last actions are from the nearest windows that the user was seen in.

A window is the logarithm of how often each well-known feature is in it, and of how often, level by level, all
others are: that there is something rare counts, and which it is does not. Distances are one less the cosine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import LEVELS, look_up
from anomaly.features.levels import Features, Level, packed, unpacked

NEAREST = 3
"""Windows whose distances are averaged."""

STRIDE = 25
"""Actions between one learned window and the next."""

MAX_WINDOWS = 800
"""Learned windows that are kept; beyond, the oldest are forgotten."""

KNOWN = 5
"""Actions of training that a well-known feature is in, at least."""

MAX_KNOWN = 1024
"""Well-known features at most, the most frequent."""

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Table = NDArray[np.uint8]

_IS_USED = np.arange(LEVELS) != Level.ROW
_SCALE = 32.0  # logarithms are whole numbers of 1/32: their products are exact in float32
_MOST_COUNT = 2000  # of 100 actions, all features of a level
_LOGARITHMS = np.minimum(np.round(_SCALE * np.log1p(np.arange(_MOST_COUNT + 1))), 255).astype(np.uint8)


class NeighbourState:
    """The windows a user was seen in, with those learned since training."""

    def __init__(self, table: Table, waiting: tuple[Features, ...] = ()) -> None:
        self.table = table
        """Shape (features + levels, windows)."""
        self.lengths = _lengths(table)
        self.waiting = waiting
        """The last learned actions, which the next windows begin with."""
        self.since = 0
        """Learned actions since the last window."""


class Neighbours:
    """The windows a user was seen in, as training left them. Immutable.

    Parameters
    ----------
    known
        Well-known features, ascending, shape (features,).
    table
        Logarithms by feature, and by level for all others, in units of 1/32; shape (features + levels, windows).
    """

    def __init__(self, known: Keys, table: Table) -> None:
        if known.dtype != np.uint64 or known.ndim != 1 or (known[1:] <= known[:-1]).any():
            raise ValueError("the well-known features are not in order")
        self.known = known
        _check_table(table, len(known))
        self.table = table

    @classmethod
    def fit(cls, history: Sequence[Features]) -> Neighbours:
        """Learn the windows of a user's actions, in order."""
        flat = np.fromiter(chain.from_iterable(history), dtype=np.uint64)
        found, often = np.unique(flat, return_counts=True)
        used = _IS_USED[(found & np.uint64(7)).astype(np.intp)] & (often >= KNOWN)
        found, often = found[used], often[used]
        known = np.sort(found[np.argsort(-often, kind="stable")[:MAX_KNOWN]])
        none = cls(known, np.zeros((len(known) + LEVELS, 0), dtype=np.uint8))
        room = max(len(history) - WINDOW, 0)
        # More windows than are kept: at a wider stride, instead of the last ones alone.
        stride = max(STRIDE, -(-room // (MAX_WINDOWS - 1)))
        first = len(history) - room // stride * stride
        rows = [none.row(history[max(end - WINDOW, 0) : end]) for end in range(first, len(history) + 1, stride)]
        return cls(known, np.ascontiguousarray(np.stack(rows, axis=1)))

    def start(self) -> NeighbourState:
        """Return the state that training ended in."""
        return NeighbourState(self.table)

    def row(self, window: Iterable[Features]) -> Table:
        """Return one window as a column of the table."""
        flat = np.fromiter(chain.from_iterable(window), dtype=np.uint64)
        level = (flat & np.uint64(7)).astype(np.intp)
        used = _IS_USED[level]
        flat, level = flat[used], level[used]
        place, known = look_up(self.known, flat)
        place = np.where(known, place, len(self.known) + level)
        counts = np.bincount(place, minlength=len(self.known) + LEVELS)
        found: Table = _LOGARITHMS[np.minimum(counts, _MOST_COUNT)]
        return found

    def distance(self, state: NeighbourState, window: Sequence[Features]) -> float:
        """Return the mean distance to the nearest learned windows, in 0..1."""
        row = self.row(window)
        filled = row.nonzero()[0]
        values = row[filled].astype(np.float32)
        length = max(float(np.sqrt((values.astype(np.float64) ** 2).sum())), 1.0)
        products = values @ state.table[filled].astype(np.float32)
        cosines = products.astype(np.float64) / (state.lengths * length)
        count = min(NEAREST, len(cosines))
        return 1.0 - float(np.partition(cosines, len(cosines) - count)[len(cosines) - count :].mean())

    def learn(self, state: NeighbourState, chunk: Sequence[Features], weight: float) -> None:
        """Add the windows of consecutive actions if they are likelier the user's than not."""
        if weight <= 0.5:
            state.waiting, state.since = (), 0
            return
        both = (*state.waiting, *chunk)
        ends = range(len(state.waiting) + STRIDE - state.since, len(both) + 1, STRIDE)
        rows = [self.row(both[end - WINDOW : end]) for end in ends if end >= WINDOW]
        state.since = (state.since + len(chunk)) % STRIDE
        state.waiting = both[-WINDOW:]
        if rows:
            new = np.stack(rows, axis=1)
            state.table = np.ascontiguousarray(np.concatenate([state.table, new], axis=1)[:, -MAX_WINDOWS:])
            state.lengths = np.concatenate([state.lengths, _lengths(new)])[-MAX_WINDOWS:]

    def learned(self, state: NeighbourState) -> Arrays:
        """Return what :meth:`learn` has made of the state."""
        features, sizes = packed(state.waiting)
        return {"table": state.table, "waiting": features, "sizes": sizes, "since": np.array([state.since])}

    def resume(self, learned: Mapping[str, NDArray[Any]]) -> NeighbourState:
        """Rebuild a state from what :meth:`learned` gave; raises ValueError or KeyError where it does not fit."""
        table, since = learned["table"], learned["since"]
        _check_table(table, len(self.known))
        waiting = unpacked(learned["waiting"], learned["sizes"])
        if since.dtype != np.int64 or since.shape != (1,):
            raise ValueError("the number of learned actions is of another shape or type")
        if not table.shape[1] or len(waiting) > WINDOW or not 0 <= since[0] < STRIDE:
            raise ValueError("what was learned holds more than it can, or no window at all")
        state = NeighbourState(table, waiting)
        state.since = int(since[0])
        return state

    def arrays(self) -> Arrays:
        """Return everything that training learned."""
        return {"known": self.known, "table": self.table}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Neighbours:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        found = cls(arrays["known"], arrays["table"])
        if not found.table.shape[1]:
            raise ValueError("there is no learned window")
        return found


def _check_table(table: NDArray[Any], known: int) -> None:
    if table.dtype != np.uint8 or table.ndim != 2 or table.shape[0] != known + LEVELS:
        raise ValueError("the learned windows are of another shape or type")
    if not 0 <= table.shape[1] <= MAX_WINDOWS or known > MAX_KNOWN:
        raise ValueError("the learned windows are more than there can be")


def _lengths(table: Table) -> Floats:
    found: Floats = np.sqrt(np.maximum((table.astype(np.float64) ** 2).sum(axis=0), 1.0))
    return found
