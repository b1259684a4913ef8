"""Learning the One-Class SVM: the only module that imports scikit-learn.

Of thousands of windows some hundred become support vectors, and only between those does libsvm need the kernel. So
it is given the windows that lie the furthest out, and then those of the others that are found to lie outside of
what it made of these, until there are none: "chunking" (Osuna, Freund & Girosi 1997). The solution is that of all
windows, to libsvm's tolerance, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM

from anomaly.detectors.interface import WINDOW, Learner
from anomaly.detectors.ocsvm import NU, POOL, OneClassSvm, packed
from anomaly.detectors.ocsvm_state import GAMMA
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import BUCKETS, Encoded

MAX_WINDOWS = 4000
"""Windows fitted at most: beyond, they are taken at a wider stride (libsvm grows with their square)."""

TOLERANCE = 1e-4
"""How far, in libsvm's units, a window may lie on the wrong side; its margins are nu times the windows larger."""

_FIRST = 500
"""Windows that are fitted first, or as many as weigh enough: the outermost."""

_FURTHER = 250
"""Windows that are taken in at most before it is fitted again."""

_AT_ONCE = 256  # windows whose bags are filled at once: they stay in the processor's cache

Floats = NDArray[np.float64]
Bags = NDArray[np.uint8]


class OcsvmLearner(Learner):
    """Fits a One-Class SVM to the windows that lie within the ranges to learn from."""

    folds = 10
    least_action = 5e-5  # a margin lies between -1 and 1, and an action is a hundredth of its window
    least_views = (2e-3,)

    def fit(
        self,
        tokenizer: Tokenizer,  # noqa: ARG002 - buckets need no vocabulary
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,  # noqa: ARG002 - nothing to stop early
        others: NDArray[np.float64] | None = None,  # noqa: ARG002 - a window is this user's or not
        report: Callable[[float], None] = lambda _: None,
    ) -> OneClassSvm:
        """Fit; see :meth:`Learner.fit`."""
        bags = _bags(encoded, learn)
        distinct, often = _distinct(bags)
        fitted = _fit(bags[distinct], often)
        report(1.0)
        return OneClassSvm(
            support=bags[distinct[fitted.support]],
            weights=fitted.weights,
            offset=fitted.offset,
            window=encoded.buckets[window.start : window.stop],
            pool=packed(bags[:: -(-len(bags) // POOL)]),
        )


class _Fitted(NamedTuple):
    """A decision function. libsvm's weights add up to nu times the windows; these are made to add up to one.

    Only so are the margins of models that learned from different numbers of windows (the folds and the final one)
    of one size.
    """

    support: NDArray[np.intp]
    """Which windows, ascending."""
    weights: Floats
    offset: float


def _fit(bags: Bags, often: Floats) -> _Fitted:
    """Fit distinct bags, shape (windows, BUCKETS), of which each occurred so ``often``, shape (windows,)."""
    kernel = _Kernel(bags)
    outermost = np.argsort(kernel.likeness(often), kind="stable")
    most = NU * often.sum()  # that all windows together may weigh
    enough = int(np.searchsorted(often[outermost].cumsum(), 2.0 * most)) + 1
    chosen = np.sort(outermost[: max(_FIRST, enough)])
    while True:
        share = min(most / often[chosen].sum(), 1.0)
        svm = OneClassSVM(kernel="precomputed", nu=share, tol=TOLERANCE)
        svm.fit(kernel.within(chosen), sample_weight=often[chosen])
        total = float(svm.dual_coef_.sum())
        weights = svm.dual_coef_[0].astype(np.float64) / total
        fitted = _Fitted(chosen[svm.support_], weights, float(-svm.intercept_[0]) / total)
        inside = fitted.weights @ kernel.around(fitted.support) - fitted.offset
        inside[chosen] = 0.0
        furthest = np.argsort(inside, kind="stable")[:_FURTHER]
        outside = furthest[inside[furthest] < -TOLERANCE / total]
        if not len(outside):
            return fitted
        chosen = np.union1d(chosen, outside)


class _Kernel:
    """The RBF kernel between binary bags made to have length one, of those windows that are asked for."""

    def __init__(self, bags: Bags) -> None:
        # Whole numbers this small are exact in float32; buckets that nothing fills add nothing.
        self._whole = bags[:, bags.any(axis=0)].astype(np.float32)
        self._lengths: Floats = np.sqrt(np.maximum(self._whole.sum(axis=1, dtype=np.float64), 1.0))
        self._rows: dict[int, Floats] = {}

    def within(self, some: NDArray[np.intp]) -> Floats:
        """Return the kernel between some of the windows, shape (some, some)."""
        whole = self._whole[some]
        return self._rbf(whole @ whole.T, self._lengths[some], self._lengths[some])

    def around(self, some: NDArray[np.intp]) -> Floats:
        """Return the kernel of some windows, many of which were asked for before, with all; (some, windows)."""
        new = np.array([number for number in some.tolist() if number not in self._rows], dtype=np.intp)
        found = self._rbf(self._whole[new] @ self._whole.T, self._lengths[new], self._lengths)
        self._rows |= dict(zip(new.tolist(), found, strict=True))
        return np.array([self._rows[number] for number in some.tolist()])

    def likeness(self, often: Floats) -> Floats:
        """Return each window's mean cosine with all of them, times their number, shape (windows,)."""
        mean = (often / self._lengths).astype(np.float32) @ self._whole
        return (self._whole @ mean) / self._lengths

    @staticmethod
    def _rbf(shared: NDArray[np.float32], lengths: Floats, others: Floats) -> Floats:
        # Bags have length one: |x - y|^2 = 2 - 2 x.y
        kernel = shared / np.multiply.outer(lengths, others)
        kernel -= 1.0
        kernel *= 2.0 * GAMMA
        return np.exp(kernel, out=kernel)


def _bags(encoded: Encoded, stretches: list[range]) -> Bags:
    """Return binary bags of windows, shape (windows, BUCKETS)."""
    room = sum(max(len(stretch) - WINDOW + 1, 0) for stretch in stretches)
    stride = max(1, -(-room // MAX_WINDOWS))
    # What pads (-1) fills a bucket of its own, the last.
    bags = np.zeros((sum(len(_begins(stretch, stride)) for stretch in stretches), BUCKETS + 1), dtype=np.uint8)
    done = 0
    for stretch in stretches:
        begins = np.array(_begins(stretch, stride), dtype=np.intp)
        for at in range(0, len(begins), _AT_ONCE):
            windows = sliding_window_view(encoded.buckets, WINDOW, axis=0)[begins[at : at + _AT_ONCE]]
            filled = windows.reshape(len(windows), -1)
            bags[np.arange(done, done + len(windows))[:, None], filled] = 1
            done += len(windows)
    return np.ascontiguousarray(bags[:, :BUCKETS])


def _begins(stretch: range, stride: int) -> range:
    return range(stretch.start, stretch.stop - WINDOW + 1, stride)


def _distinct(bags: Bags) -> tuple[NDArray[np.intp], Floats]:
    """Return which windows differ, and how often each occurs: a quiet machine repeats itself for hours."""
    often: dict[bytes, int] = {}
    first: list[int] = []
    for number, bag in enumerate(packed(bags)):
        key = bag.tobytes()
        if key not in often:
            first.append(number)
        often[key] = often.get(key, 0) + 1
    return np.array(first, dtype=np.intp), np.array(list(often.values()), dtype=np.float64)
