"""The windows that are fitted once more while running, and how many buckets each two of them share.

From one fit to the next most windows stay, and so do the buckets they share: only those of the new windows are
counted. That takes some 2 MB a user, so it is remembered for the few whose models were fitted last; for the others
all is counted anew, which gives the same whole numbers.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anomaly.detectors.ocsvm_state import WindowState

MAX_POOL = 800
"""Windows fitted at most; beyond, the oldest are left out."""

REMEMBERED = 8
"""Pools whose overlaps are remembered."""

_SPARE = 240  # windows that fit in before the table is moved to its start again

_fitted_last: deque[weakref.ref[WindowState]] = deque(maxlen=REMEMBERED)


class Overlaps:
    """How many buckets each two windows of a pool share, carried from one fit to the next."""

    def __init__(self) -> None:
        self._table = np.empty((MAX_POOL + _SPARE, MAX_POOL + _SPARE), dtype=np.uint16)
        self._begin = self._end = 0

    def follow(self, pool: NDArray[np.uint8], dropped: int) -> NDArray[np.uint16]:
        """Return them for a pool, shape (windows, windows); valid until the next call.

        Parameters
        ----------
        pool
            Packed bags, shape (windows, buckets / 8), no more than ``MAX_POOL``.
        dropped
            Windows that were taken away at its start since the last call.
        """
        known = max(self._end - self._begin - dropped, 0)
        begin = self._end - known
        if begin + len(pool) > len(self._table):
            self._table[:known, :known] = self._table[begin : self._end, begin : self._end].copy()
            begin = 0
        end = begin + len(pool)
        if known < len(pool):
            self._count(pool, known, begin)
        self._begin, self._end = begin, end
        return self._table[begin:end, begin:end]

    def _count(self, pool: NDArray[np.uint8], known: int, begin: int) -> None:
        """Count the new windows' overlaps with all."""
        new, end = np.unpackbits(pool[known:], axis=1), begin + len(pool)
        filled = new.any(axis=0)  # what none of them fills is not shared
        # Whole numbers: exact in float32, in whatever order BLAS adds them up.
        whole = np.unpackbits(pool, axis=1)[:, filled].astype(np.float32)
        shared = whole[known:] @ whole.T
        self._table[begin + known : end, begin:end] = shared
        self._table[begin : begin + known, begin + known : end] = shared[:, :known].T


def overlaps_of(state: WindowState, dropped: int) -> NDArray[np.uint16]:
    """Return the overlaps of a state's pool, which is as it is to be fitted, and remember them for the next time.

    ``dropped`` windows were taken away at its start since.
    """
    if state.overlaps is None:
        state.overlaps = Overlaps()
        oldest = _fitted_last[0]() if len(_fitted_last) == REMEMBERED else None
        if oldest is not None:
            oldest.overlaps = None
        _fitted_last.append(weakref.ref(state))
    return state.overlaps.follow(state.pool, dropped)
