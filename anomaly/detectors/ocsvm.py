"""One-Class SVM over the bag of a user's last actions, scored in numpy.

Schölkopf et al. (2001), equation 3.5: ``f(x) = sum_i alpha_i k(x_i, x) - rho``; the margin shown is ``-f``.
``x`` is the binary bag of the last 100 actions, of length one, and ``k`` the RBF kernel. A binary bag has
whole-number dot products, so they are carried along exactly by what enters and leaves the window: the result
does not depend on where a reader was interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, State
from anomaly.tokenizer import BUCKETS, Tokens

GAMMA = 1.0
"""Width of the kernel, for bags of length one."""


class WindowState(State):
    """The last actions' buckets, how often each is in the window, and the overlap with each support vector."""

    def __init__(self, support: NDArray[np.float32], window: Iterable[tuple[int, ...]]) -> None:
        self.window: deque[tuple[int, ...]] = deque()
        self.counts = [0] * BUCKETS
        self.active = 0
        self.overlap = np.zeros(support.shape[1], dtype=np.float32)
        for buckets in window:
            self.push(support, buckets)

    def push(self, support: NDArray[np.float32], buckets: tuple[int, ...]) -> list[int]:
        """Let an action in and the oldest out; return the buckets that only the new one fills."""
        if len(self.window) == WINDOW:
            for bucket in self.window.popleft():
                self.counts[bucket] -= 1
                if not self.counts[bucket]:
                    self.active -= 1
                    self.overlap -= support[bucket]
        self.window.append(buckets)
        fresh = []
        for bucket in buckets:
            self.counts[bucket] += 1
            if self.counts[bucket] == 1:
                self.active += 1
                self.overlap += support[bucket]
                fresh.append(bucket)
        return fresh

    def to_json(self) -> dict[str, Any]:
        """Return the window; the rest follows from it."""
        return {"window": [list(buckets) for buckets in self.window]}


class OneClassSvm(Detector):
    """The learned window model.

    Parameters
    ----------
    support
        Binary bags of the support vectors, shape (support vectors, BUCKETS), of 0 and 1.
    weights
        The alphas, shape (support vectors,).
    offset
        The rho of the decision function.
    window
        Buckets of the last actions of training, shape (actions, tokens), padded with -1.
    """

    algorithm: ClassVar[Algorithm] = Algorithm.OCSVM

    def __init__(
        self,
        support: NDArray[np.uint8],
        weights: NDArray[np.float64],
        offset: float,
        window: NDArray[np.int16],
    ) -> None:
        if support.ndim != 2 or support.shape[1] != BUCKETS or weights.shape != support.shape[:1]:
            raise ValueError("support vectors and weights do not fit each other")
        if support.dtype != np.uint8 or window.dtype != np.int16 or weights.dtype != np.float64:
            raise ValueError("the arrays are of other types")
        if window.ndim != 2 or window.max(initial=-1) >= BUCKETS:
            raise ValueError("the window does not fit the bag")
        self.support = support
        self.weights = weights
        self.offset = offset
        self.window = window
        # By bucket, so that what enters or leaves the window is one contiguous row.
        self._rows = np.ascontiguousarray(support.T.astype(np.float32))
        self._lengths = np.sqrt(np.maximum(support.sum(axis=1), 1)).astype(np.float64)

    def start(self) -> WindowState:
        """Return the window that training ended with."""
        return WindowState(self._rows, (tuple(b for b in row if b >= 0) for row in self.window.tolist()))

    def resume(self, saved: Mapping[str, Any]) -> WindowState:
        """Rebuild a saved window."""
        window = [tuple(int(bucket) for bucket in buckets) for buckets in saved["window"]]
        if len(window) > WINDOW or not all(0 <= b < BUCKETS for buckets in window for b in buckets):
            raise ValueError("the window does not fit the bag")
        return WindowState(self._rows, window)

    def score(self, state: WindowState, tokens: Tokens) -> Evidence:
        """Judge the window with this action in it.

        The action's own figure is how far it alone pushes the window outwards: the margin with it less the
        margin without the buckets that only it fills (0 where others in the window fill them all).
        """
        fresh = state.push(self._rows, tokens.buckets)
        kernel = self._kernel(state.overlap, state.active)
        margin = self.offset - float(kernel @ self.weights)
        push = 0.0
        if fresh:
            without = self._kernel(state.overlap - self._rows[fresh].sum(axis=0), state.active - len(fresh))
            push = margin - (self.offset - float(without @ self.weights))
        return Evidence(margin, push, margin, self._shares(kernel, tokens.buckets))

    def missing(self, state: WindowState, most: int = 3) -> list[int]:
        """Return buckets that windows like this one hold and this one lacks, the most usual first."""
        kernel = self._kernel(state.overlap, state.active) * self.weights
        usual = self._rows @ kernel.astype(np.float32)
        usual[np.array(state.counts) > 0] = 0.0
        return [int(bucket) for bucket in np.argsort(-usual, kind="stable")[:most] if usual[bucket] > 0]

    def arrays(self) -> Arrays:
        """Return what was learned."""
        return {
            "support": self.support,
            "weights": self.weights,
            "offset": np.array([self.offset]),
            "window": self.window,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> OneClassSvm:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        return cls(arrays["support"], arrays["weights"], float(arrays["offset"][0]), arrays["window"])

    def _kernel(self, overlap: NDArray[np.float32], active: int) -> NDArray[np.float64]:
        # Bags have length one: |x - y|^2 = 2 - 2 x.y
        cosine = overlap / (self._lengths * max(active, 1) ** 0.5)
        kernel: NDArray[np.float64] = np.exp(2.0 * GAMMA * (cosine - 1.0))
        return kernel

    def _shares(self, kernel: NDArray[np.float64], buckets: tuple[int, ...]) -> tuple[float, ...]:
        """Return, by bucket, the share of the most similar windows of training that fill it."""
        weight = kernel * self.weights
        total = float(weight.sum())
        if total <= 0.0:
            return (0.0,) * len(buckets)
        return tuple((self._rows[list(buckets)] @ weight / total).tolist())
