"""One-Class SVM over the bag of a user's last actions, scored in numpy.

Schölkopf et al. (2001), equation 3.5: ``f(x) = sum_i alpha_i k(x_i, x) - rho``; the margin shown is ``-f``.
``x`` is the binary bag of the last 100 actions, of length one, and ``k`` the RBF kernel. A binary bag has
whole-number dot products, so they are carried along exactly by what enters and leaves the window: the result
does not depend on where a reader was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from math import isfinite
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, Floats
from anomaly.detectors.ocsvm_pool import MAX_POOL, overlaps_of
from anomaly.detectors.ocsvm_solve import Kernel, solve
from anomaly.detectors.ocsvm_state import GAMMA, Buckets, SupportVectors, Walk, WindowState
from anomaly.tokens import BUCKETS, Tokens

NU = 0.05
"""Upper bound on the share of the windows outside (Schölkopf et al. 2001, proposition 4)."""

POOL = 400
"""Windows of training that are kept to be fitted once more, with what was learned since."""

REFIT = 10
"""Chunks learned between one fit and the next: at every second one, an intruder is absorbed faster than found."""

STRIDE = 25
"""Actions between one learned window and the next."""

_MOST_CHUNKS = 2**53  # a float64 counts that far


class Surroundings(NamedTuple):
    """What the window was like at each of some actions, for their explanations."""

    vectors: SupportVectors
    walk: Walk
    kernel: Floats
    """Of some of the steps, shape (some steps, support vectors)."""
    within: Sequence[int]
    """By action, its row of these with the action in the window."""
    admit: Sequence[bool]
    window: tuple[Buckets, ...]
    """The window before the first of them."""
    entered: tuple[Buckets, ...]
    """Their buckets."""

    def shares(self, number: int) -> tuple[float, ...]:
        """Return, by bucket of an action, the share of similar windows of training that fill it."""
        buckets = self.entered[number]
        weight = self.kernel[self.within[number]] * self.vectors.weights
        total = float(weight.sum())
        if total <= 0.0:
            return (0.0,) * len(buckets)
        return tuple((self.vectors.rows[list(buckets)] @ weight / total).tolist())

    def missing(self, number: int, most: int = 3) -> list[int]:
        """Return buckets that windows like an action's hold and it lacks, the most usual first."""
        step = (self.walk.within if self.admit[number] else self.walk.without)[number]
        place = slice(step, step + 1)
        kernel = self.vectors.kernel(self.walk.overlaps[place], self.walk.active[place])[0] * self.vectors.weights
        usual = self.vectors.rows @ kernel.astype(np.float32)
        let_in = [buckets for buckets, i in zip(self.entered[: number + 1], self.admit, strict=False) if i]
        usual[list({bucket for buckets in (*self.window, *let_in)[-WINDOW:] for bucket in buckets})] = 0.0
        return [int(bucket) for bucket in np.argsort(-usual, kind="stable")[:most] if usual[bucket] > 0]


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
            window = [tuple(map(int, buckets)) for buckets in saved["window"]]
        except OverflowError as error:
            raise ValueError("the saved window holds no such number") from error
        filled = list(chain.from_iterable(window))
        if len(window) > WINDOW or min(filled, default=0) < 0 or max(filled, default=0) >= BUCKETS:
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

    def judge(self, state: WindowState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        """Judge the window with each action in it; see :meth:`Detector.judge`.

        An action's own figure is how far it alone pushes the window outwards: the margin with it less the
        margin without the buckets that only it fills (0 where others in the window fill them all).
        """
        vectors, window = state.vectors, tuple(state.window)
        walk = state.walk(batch, admit)
        overlaps, active, before, after = walk
        if len(overlaps) > 2 * len(batch):  # many steps that nobody asks for
            asked = sorted({*before, *after})
            row = {step: number for number, step in enumerate(asked)}
            overlaps, active = overlaps[asked], active[asked]
            before, after = [row[step] for step in before], [row[step] for step in after]
        kernel = vectors.kernel(overlaps, active)
        margins = vectors.margins(kernel)
        without, within = margins.take(before), margins.take(after)
        margin = np.where(admit, within, without)
        entered = tuple([tokens.buckets for tokens in batch])
        around = Surroundings(vectors, walk, kernel, after, admit, window, entered)
        return Evidence(margin, within - without, margin[:, None], around)

    def learn(self, state: WindowState, chunk: Sequence[Tokens], weight: float) -> None:
        """Take the windows of a chunk into the pool, if it is likelier the user's than not; fit at every tenth."""
        if weight <= 0.5:
            state.before = ()
            return
        buckets = tuple(tokens.buckets for tokens in chunk)
        both = state.before + buckets
        first = len(both) if not state.before else len(state.before) + STRIDE
        ends = range(min(first, len(both)), len(both) + 1, STRIDE)
        state.pool = np.concatenate([state.pool, _windows(both, ends)])
        state.before = buckets
        state.accepted += 1
        if state.accepted % REFIT == 0:
            self._refit(state)

    def as_trained(self, state: WindowState) -> tuple[float, ...]:
        """Judge the window once more, by the support vectors of training."""
        overlap = state.overlap if state.vectors is self.vectors else state.overlap_with(self.vectors)
        kernel = self.vectors.kernel(overlap[None], np.array([state.active]))
        return tuple(self.vectors.margins(kernel).tolist())

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

    def _refit(self, state: WindowState) -> None:
        dropped = max(len(state.pool) - MAX_POOL, 0)
        state.pool = state.pool[dropped:]
        size = len(state.pool)
        bounds = np.full(size, 1.0 / (NU * size))
        known = state.alphas[dropped:]
        start = np.concatenate([known, np.zeros(size - len(known))]) if len(known) else None
        solution = solve(Kernel(overlaps_of(state, dropped), GAMMA), bounds, start)
        state.alphas = solution.alphas
        state.use(_expansion(state.pool, solution.alphas, solution.offset))


def packed(bags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return binary bags with eight buckets a byte."""
    return np.packbits(bags, axis=1)


def _windows(actions: Sequence[Buckets], ends: Sequence[int]) -> NDArray[np.uint8]:
    """Return the packed bags of the windows that end before some of the actions."""
    filled = np.fromiter(chain.from_iterable(actions), dtype=np.intp)
    begins = [0, *accumulate(map(len, actions))]
    bags = np.zeros((len(ends), BUCKETS), dtype=np.uint8)
    for bag, end in zip(bags, ends, strict=True):
        bag[filled[begins[max(end - WINDOW, 0)] : begins[end]]] = 1
    return packed(bags)


def _expansion(pool: NDArray[np.uint8], alphas: NDArray[np.float64], offset: float) -> SupportVectors:
    of_weight = alphas > 0
    return SupportVectors(np.unpackbits(pool[of_weight], axis=1), alphas[of_weight], offset)


def _check_pool(pool: NDArray[np.uint8]) -> None:
    if pool.dtype != np.uint8 or pool.ndim != 2 or pool.shape[1] != BUCKETS // 8 or len(pool) > 2 * MAX_POOL:
        raise ValueError("the pool of windows does not fit the bag")
