"""One-Class SVM over the bag of a user's last actions, scored in numpy.

Schölkopf et al. (2001), equation 3.5: ``f(x) = sum_i alpha_i k(x_i, x) - rho``; the margin shown is ``-f``.
``x`` is the binary bag of the last 100 actions, of length one, and ``k`` the RBF kernel. A binary bag has
whole-number dot products, so they are carried along exactly by what enters and leaves the window: the result
does not depend on where a reader was interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, State
from anomaly.detectors.ocsvm_solve import rbf, solve
from anomaly.tokenizer import BUCKETS, Tokens

GAMMA = 1.0
"""Width of the kernel, for bags of length one."""

NU = 0.05
"""Upper bound on the share of the windows outside (Schölkopf et al. 2001, proposition 4)."""

POOL = 400
"""Windows of training that are kept to be fitted once more, with what was learned since."""

MAX_POOL = 800
"""Windows fitted at most; beyond, the oldest are left out."""

REFIT = 10
"""Chunks learned between one fit and the next: at every second one, an intruder is absorbed faster than found."""

STRIDE = 25
"""Actions between one learned window and the next."""

_AT_A_TIME = 32

_MOST_CHUNKS = 2**53  # a float64 counts that far

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

    def __init__(self, support: NDArray[np.uint8], weights: NDArray[np.float64], offset: float) -> None:
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
        lengths = np.sqrt(np.maximum(support.sum(axis=1), 1)).astype(np.float64)
        self._scale = 2.0 * GAMMA / lengths

    @property
    def support(self) -> NDArray[np.uint8]:
        """The bags, shape (support vectors, BUCKETS)."""
        return self.rows.T

    def kernel(self, overlap: Rows, active: int) -> NDArray[np.float64]:
        """Return the kernel of a bag of ``active`` buckets with each support vector."""
        # Bags have length one: |x - y|^2 = 2 - 2 x.y
        kernel: NDArray[np.float64] = overlap * self._scale
        kernel *= max(active, 1) ** -0.5
        kernel -= 2.0 * GAMMA
        return np.exp(kernel, out=kernel)

    def margin(self, kernel: NDArray[np.float64]) -> float:
        """Return how far outside a bag lies."""
        return self.offset - float(kernel @ self.weights)


class WindowState(State):
    """The last actions' buckets, how often each is in the window, and the overlap with each support vector.

    What is learned is ``vectors``, fitted to ``pool``, and what waits to be fitted.
    """

    def __init__(self, vectors: SupportVectors, pool: NDArray[np.uint8], window: Iterable[Buckets]) -> None:
        self.vectors = vectors
        self.pool = pool
        """Packed bags, shape (windows, BUCKETS / 8)."""
        self.alphas: NDArray[np.float64] = np.zeros(0)
        """Of the pool's windows, as last fitted; empty before."""
        self.accepted = 0
        """Chunks learned since."""
        self.before: tuple[Buckets, ...] = ()
        """The chunk before the next, where that was learned too."""
        self.window: deque[Buckets] = deque()
        self.counts = [0] * BUCKETS
        for buckets in window:
            self.window.append(buckets)
            for bucket in buckets:
                self.counts[bucket] += 1
        self.active = BUCKETS - self.counts.count(0)
        self.overlap: Rows = self.overlap_with(vectors)

    def push(self, buckets: Buckets) -> list[int]:
        """Let an action in and the oldest out; return the buckets that only the new one fills."""
        rows = self.vectors.rows
        if len(self.window) == WINDOW:
            for bucket in self.window.popleft():
                self.counts[bucket] -= 1
                if not self.counts[bucket]:
                    self.active -= 1
                    self.overlap -= rows[bucket]
        self.window.append(buckets)
        fresh = []
        for bucket in buckets:
            self.counts[bucket] += 1
            if self.counts[bucket] == 1:
                self.active += 1
                self.overlap += rows[bucket]
                fresh.append(bucket)
        return fresh

    def use(self, vectors: SupportVectors) -> None:
        """Go on with another expansion."""
        self.vectors = vectors
        self.overlap = self.overlap_with(vectors)

    def overlap_with(self, vectors: SupportVectors) -> Rows:
        """Return how many buckets the window shares with each support vector of an expansion."""
        found: Rows = vectors.rows[np.array(self.counts) > 0].sum(axis=0, dtype=np.float32)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the window; the rest follows from it and from what was learned."""
        return {"window": list(self.window)}


class OneClassSvm(Detector):
    """The learned window model.

    Parameters
    ----------
    support, weights, offset
        See :class:`SupportVectors`.
    window
        Buckets of the last actions of training, shape (actions, tokens), padded with -1.
    pool
        Packed bags of windows of training, shape (windows, BUCKETS / 8): what is fitted once more with what is
        learned later.
    """

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM

    def __init__(
        self,
        support: NDArray[np.uint8],
        weights: NDArray[np.float64],
        offset: float,
        window: NDArray[np.int16],
        pool: NDArray[np.uint8],
    ) -> None:
        self.vectors = SupportVectors(support, weights, offset)
        if window.dtype != np.int16 or window.ndim != 2 or window.max(initial=-1) >= BUCKETS:
            raise ValueError("the window does not fit the bag")
        _check_pool(pool)
        self.window = window
        self.pool = pool

    def start(self) -> WindowState:
        """Return the window that training ended with."""
        window = (tuple(b for b in row if b >= 0) for row in self.window.tolist())
        return WindowState(self.vectors, self.pool, window)

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> WindowState:
        """Rebuild a saved window, and what was learned."""
        try:
            window = [tuple(int(bucket) for bucket in buckets) for buckets in saved["window"]]
        except OverflowError as error:
            raise ValueError("the saved window holds no such number") from error
        if len(window) > WINDOW or not all(0 <= b < BUCKETS for buckets in window for b in buckets):
            raise ValueError("the window does not fit the bag")
        if learned is None:
            return WindowState(self.vectors, self.pool, window)
        pool, alphas, before = learned["pool"], learned["alphas"], learned["before"]
        _check_pool(pool)
        offset, accepted = learned["offset"].tolist()
        if alphas.dtype != np.float64 or alphas.ndim != 1 or len(alphas) > len(pool):
            raise ValueError("what was learned does not pair up")
        if not (isfinite(offset) and 0 <= accepted < _MOST_CHUNKS and ((alphas >= 0) & (alphas <= 1)).all()):
            raise ValueError("what was learned holds no weights")
        if before.ndim != 2 or before.dtype != np.int16 or not ((before >= -1) & (before < BUCKETS)).all():
            raise ValueError("what was learned does not fit the bag")
        vectors = self.vectors if not len(alphas) else _expansion(pool[: len(alphas)], alphas, offset)
        state = WindowState(vectors, pool, window)
        state.alphas, state.accepted = alphas, int(accepted)
        state.before = tuple(tuple(b for b in row if b >= 0) for row in before.tolist())
        return state

    def score(self, state: WindowState, tokens: Tokens, *, admit: bool = True) -> Evidence:
        """Judge the window with this action in it.

        The action's own figure is how far it alone pushes the window outwards: the margin with it less the
        margin without the buckets that only it fills (0 where others in the window fill them all).
        """
        vectors = state.vectors
        if not admit:
            return self._consider(state, tokens)
        fresh = state.push(tokens.buckets)
        kernel = vectors.kernel(state.overlap, state.active)
        margin, push = vectors.margin(kernel), 0.0
        if fresh:
            overlap = state.overlap - vectors.rows[fresh].sum(axis=0)
            push = margin - vectors.margin(vectors.kernel(overlap, state.active - len(fresh)))
        return Evidence(margin, push, (margin,), ())

    def learn(self, state: WindowState, chunk: Sequence[Tokens], weight: float) -> None:
        """Take the windows of a chunk into the pool, if it is likelier the user's than not; fit at every tenth."""
        if weight <= 0.5:
            state.before = ()
            return
        buckets = tuple(tokens.buckets for tokens in chunk)
        both = state.before + buckets
        first = len(both) if not state.before else len(state.before) + STRIDE
        ends = range(min(first, len(both)), len(both) + 1, STRIDE)
        state.pool = np.concatenate([state.pool, *(_packed(both[max(end - WINDOW, 0) : end]) for end in ends)])
        state.before = buckets
        state.accepted += 1
        if state.accepted % REFIT == 0:
            self._refit(state)

    def as_trained(self, state: WindowState) -> tuple[float, ...]:
        """Judge the window once more, by the support vectors of training."""
        return (self.vectors.margin(self.vectors.kernel(state.overlap_with(self.vectors), state.active)),)

    def learned(self, state: WindowState) -> Arrays:
        """Return the pool and what was fitted to it."""
        width = max(map(len, state.before), default=0)
        before = np.full((len(state.before), width), -1, dtype=np.int16)
        for row, buckets in zip(before, state.before, strict=True):
            row[: len(buckets)] = buckets
        return {
            "pool": state.pool,
            "alphas": state.alphas,
            "offset": np.array([state.vectors.offset, float(state.accepted)]),
            "before": before,
        }

    def shares(self, state: WindowState, buckets: Buckets) -> tuple[float, ...]:
        """Return, by bucket of the action scored last, the share of similar windows of training that fill it."""
        overlap, active = state.overlap, state.active
        if fresh := [bucket for bucket in set(buckets) if not state.counts[bucket]]:  # it was not let in
            overlap, active = overlap + state.vectors.rows[fresh].sum(axis=0), active + len(fresh)
        weight = state.vectors.kernel(overlap, active) * state.vectors.weights
        total = float(weight.sum())
        if total <= 0.0:
            return (0.0,) * len(buckets)
        return tuple((state.vectors.rows[list(buckets)] @ weight / total).tolist())

    def missing(self, state: WindowState, most: int = 3) -> list[int]:
        """Return buckets that windows like this one hold and this one lacks, the most usual first."""
        kernel = state.vectors.kernel(state.overlap, state.active) * state.vectors.weights
        usual = state.vectors.rows @ kernel.astype(np.float32)
        usual[np.array(state.counts) > 0] = 0.0
        return [int(bucket) for bucket in np.argsort(-usual, kind="stable")[:most] if usual[bucket] > 0]

    def arrays(self) -> Arrays:
        """Return what was learned."""
        return {
            "support": self.vectors.support,
            "weights": self.vectors.weights,
            "offset": np.array([self.vectors.offset]),
            "window": self.window,
            "pool": self.pool,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> OneClassSvm:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        offset = float(arrays["offset"][0])
        return cls(arrays["support"], arrays["weights"], offset, arrays["window"], arrays["pool"])

    def _consider(self, state: WindowState, tokens: Tokens) -> Evidence:
        """Judge an action as if it came into the window, and leave the window as it is."""
        vectors = state.vectors
        margin = vectors.margin(vectors.kernel(state.overlap, state.active))
        fresh = [bucket for bucket in set(tokens.buckets) if not state.counts[bucket]]
        overlap = state.overlap + vectors.rows[fresh].sum(axis=0)
        kernel = vectors.kernel(overlap, state.active + len(fresh))
        push = vectors.margin(kernel) - margin if fresh else 0.0
        return Evidence(margin, push, (margin,), ())

    def _refit(self, state: WindowState) -> None:
        dropped = max(len(state.pool) - MAX_POOL, 0)
        state.pool = state.pool[dropped:]
        bags = np.unpackbits(state.pool, axis=1)
        bounds = np.full(len(bags), 1.0 / (NU * len(bags)))
        known = state.alphas[dropped:]
        start = np.concatenate([known, np.zeros(len(bags) - len(known))]) if len(known) else None
        solution = solve(rbf(bags, GAMMA), bounds, start)
        state.alphas = solution.alphas
        state.use(_expansion(state.pool, solution.alphas, solution.offset))


def packed(bags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return binary bags with eight buckets a byte."""
    return np.packbits(bags, axis=1)


def _by_bucket(support: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bags by bucket; some bags at a time, or the processor's cache holds none of what is written."""
    rows = np.empty(support.shape[::-1], dtype=np.uint8)
    for begin in range(0, len(support), _AT_A_TIME):
        rows[:, begin : begin + _AT_A_TIME] = support[begin : begin + _AT_A_TIME].T
    return rows


def _packed(window: Sequence[Buckets]) -> NDArray[np.uint8]:
    bag = np.zeros((1, BUCKETS), dtype=np.uint8)
    for buckets in window:
        bag[0, list(buckets)] = 1
    return packed(bag)


def _expansion(pool: NDArray[np.uint8], alphas: NDArray[np.float64], offset: float) -> SupportVectors:
    of_weight = alphas > 0
    return SupportVectors(np.unpackbits(pool[of_weight], axis=1), alphas[of_weight], offset)


def _check_pool(pool: NDArray[np.uint8]) -> None:
    if pool.dtype != np.uint8 or pool.ndim != 2 or pool.shape[1] != BUCKETS // 8 or len(pool) > 2 * MAX_POOL:
        raise ValueError("the pool of windows does not fit the bag")
