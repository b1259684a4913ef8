"""The windows that are fitted once more while running, and how many buckets each two of them share.

From one fit to the next most windows stay, and so do the buckets they share: only those of the new windows are
counted anew. That takes 2 bytes a pair, 1.3 MB for the largest pool, so it is remembered for the few users whose
models were fitted last; for the others all is counted again, which gives the same whole numbers.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.ocsvm_state import WindowState

REMEMBERED = 8
"""Pools whose overlaps are remembered."""

Counts = NDArray[np.uint16]

_fitted_last: deque[weakref.ref[WindowState]] = deque(maxlen=REMEMBERED)


def overlaps(state: WindowState, dropped: int) -> Counts:
    """Return how many buckets each two windows of a pool share, shape (windows, windows), and remember it.

    Parameters
    ----------
    state
        With the pool as it is to be fitted.
    dropped
        Windows that were taken away at its start since the last fit.
    """
    bags = np.unpackbits(state.pool, axis=1).astype(np.float32)
    found = np.empty((len(bags), len(bags)), dtype=np.uint16)
    known = 0
    if state.overlaps is not None:
        known = len(state.overlaps) - dropped
        found[:known, :known] = state.overlaps[dropped:, dropped:]
    new = bags[known:] @ bags.T  # whole numbers: exact in float32
    found[known:] = new
    found[:known, known:] = new[:, :known].T
    _remember(state, found)
    return found


def _remember(state: WindowState, found: Counts) -> None:
    state.overlaps = found
    if any(known() is state for known in _fitted_last):
        return
    oldest = _fitted_last[0]() if len(_fitted_last) == REMEMBERED else None
    if oldest is not None:
        oldest.overlaps = None
    _fitted_last.append(weakref.ref(state))
