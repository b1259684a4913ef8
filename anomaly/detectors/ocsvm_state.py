"""Where the window view stands: the expansion it judges by, and the user's last actions as a bag."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW, Floats, State
from anomaly.detectors.ocsvm_pool import Overlaps
from anomaly.tokens import BUCKETS, Tokens

GAMMA = 1.0
"""Width of the kernel, for bags of length one."""

_AT_A_TIME = 32  # bags that are turned together

_SCALES = np.maximum(np.arange(BUCKETS + 1), 1) ** -0.5
"""By filled buckets, what makes a bag of length one."""

Rows = NDArray[np.float32]
Buckets = tuple[int, ...]


class SupportVectors:
    """The expansion of the decision function. Immutable.

    Parameters
    ----------
    support
        Binary bags, shape (support vectors, BUCKETS), of 0 and 1.
    weights
        The alphas, shape (support vectors,), adding up to one.
    offset
        The rho.
    """

    def __init__(self, support: NDArray[np.uint8], weights: Floats, offset: float) -> None:
        if support.ndim != 2 or support.shape[1] != BUCKETS or weights.shape != support.shape[:1]:
            raise ValueError("support vectors and weights do not fit each other")
        if support.dtype != np.uint8 or weights.dtype != np.float64 or support.max(initial=0) > 1:
            raise ValueError("the arrays are of other types")
        if not (np.isfinite(weights).all() and isfinite(offset)):
            raise ValueError("the decision function is none")
        self.weights = weights
        self.offset = offset
        # By bucket, so that what enters or leaves the window is one contiguous row. As float32, which is added up
        # in two thirds of the time, this alone would be half of what a user takes in memory.
        self.rows = _by_bucket(support)
        self.wide: dict[int, Rows] = {}
        """The rows that came up so far, as float32."""
        lengths = np.sqrt(np.maximum(support.sum(axis=1), 1)).astype(np.float64)
        self._scale = 2.0 * GAMMA / lengths

    @property
    def support(self) -> NDArray[np.uint8]:
        """The bags, shape (support vectors, BUCKETS)."""
        return self.rows.T

    def kernel(self, overlaps: Rows, active: NDArray[np.int64]) -> Floats:
        """Return the kernel of bags with each support vector, shape (bags, support vectors).

        ``overlaps`` are the buckets that they share, of the same shape, and ``active`` the buckets of each bag.
        """
        # Bags have length one: |x - y|^2 = 2 - 2 x.y
        kernel: Floats = overlaps * self._scale
        kernel *= _SCALES.take(active)[:, None]
        kernel -= 2.0 * GAMMA
        return np.exp(kernel, out=kernel)

    def margins(self, kernel: Floats) -> Floats:
        """Return how far outside each bag lies."""
        # Bag by bag: as one product, the last bits would depend on how many there are.
        inside: Floats = np.vecdot(kernel, self.weights)
        return self.offset - inside


class Walk(NamedTuple):
    """What the window goes through while actions come in, as rows of a table of overlaps."""

    overlaps: Rows
    """By step, shape (steps + 1, support vectors)."""
    active: NDArray[np.int64]
    """Buckets in the window, by step."""
    without: list[int]
    """By action, the step at which the window lacks what only this action fills..."""
    within: list[int]
    """...and the one at which it holds it."""


class WindowState(State):
    """The last actions' buckets, how often each is in the window, and the overlap with each support vector.

    What is learned is ``vectors``, fitted to ``pool``, and what waits to be fitted.
    """

    def __init__(self, vectors: SupportVectors, pool: NDArray[np.uint8], window: Iterable[Buckets]) -> None:
        self.vectors = vectors
        self.pool = pool
        """Packed bags, shape (windows, BUCKETS / 8)."""
        self.overlaps: Overlaps | None = None
        """What the first of them share, see :mod:`anomaly.detectors.ocsvm_pool`; None where that is forgotten."""
        self.alphas: Floats = np.zeros(0)
        """Of the pool's windows, as last fitted; empty before."""
        self.accepted = 0
        """Chunks learned since."""
        self.before: tuple[Buckets, ...] = ()
        """The chunk before the next, where that was learned too."""
        self.window: deque[Buckets] = deque()
        self.counts = [0] * BUCKETS
        for buckets in window:
            self._enter(buckets, [])
        self.use(vectors)

    def use(self, vectors: SupportVectors) -> None:
        """Go on with another expansion."""
        self.vectors = vectors
        self.overlap = self.overlap_with(vectors)
        self.active = sum(map(bool, self.counts))

    def walk(self, batch: Sequence[Tokens], admit: Sequence[bool]) -> Walk:
        """Let actions in, each as the oldest goes out; one that is not admitted goes out again itself."""
        steps: list[int] = []  # buckets that come to be filled, and the complement of those that cease to be
        without, within = [], []
        for tokens, let_in in zip(batch, admit, strict=True):
            if let_in and len(self.window) == WINDOW:
                self._leave(self.window.popleft(), steps)
            without.append(len(steps))
            if let_in:
                self._enter(tokens.buckets, steps)
                within.append(len(steps))
            else:
                fresh = [bucket for bucket in set(tokens.buckets) if not self.counts[bucket]]
                steps += fresh
                within.append(len(steps))
                steps += [~bucket for bucket in fresh]
        return self._follow(steps, without, within)

    def overlap_with(self, vectors: SupportVectors) -> Rows:
        """Return how many buckets the window shares with each support vector of an expansion."""
        filled = list({bucket for buckets in self.window for bucket in buckets})
        found: Rows = vectors.rows[filled].sum(axis=0, dtype=np.float32)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the window; the rest follows from it and from what was learned."""
        return {"window": list(self.window)}

    def _enter(self, buckets: Buckets, steps: list[int]) -> None:
        counts = self.counts
        self.window.append(buckets)
        for bucket in buckets:
            count = counts[bucket]
            counts[bucket] = count + 1
            if not count:
                steps.append(bucket)

    def _leave(self, buckets: Buckets, steps: list[int]) -> None:
        counts = self.counts
        for bucket in buckets:
            counts[bucket] = count = counts[bucket] - 1
            if not count:
                steps.append(~bucket)

    def _follow(self, steps: list[int], without: list[int], within: list[int]) -> Walk:
        """Carry the overlaps along: whole numbers, so that they are exact in any order."""
        rows, wide = self.vectors.rows, self.vectors.wide
        overlaps = np.empty((len(steps) + 1, len(self.overlap)), dtype=np.float32)
        overlaps[0] = self.overlap
        active, level = [self.active], self.active
        before, *after = overlaps
        # Row by row: numpy's cumsum along this axis takes several times as long.
        for step, row in zip(steps, after, strict=True):
            bucket = step if step >= 0 else ~step
            change = wide.get(bucket)
            if change is None:
                change = wide[bucket] = rows[bucket].astype(np.float32)
            if step >= 0:
                np.add(before, change, out=row)
                level += 1
            else:
                np.subtract(before, change, out=row)
                level -= 1
            active.append(level)
            before = row
        self.overlap, self.active = overlaps[-1].copy(), active[-1]
        return Walk(overlaps, np.array(active), without, within)


def _by_bucket(support: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bags by bucket; some bags at a time, or the processor's cache holds none of what is written."""
    rows = np.empty(support.shape[::-1], dtype=np.uint8)
    for begin in range(0, len(support), _AT_A_TIME):
        rows[:, begin : begin + _AT_A_TIME] = support[begin : begin + _AT_A_TIME].T
    return rows
