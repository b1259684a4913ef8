"""Learning the One-Class SVM: the only module that imports scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM

from anomaly.detectors.interface import WINDOW, Learner
from anomaly.detectors.ocsvm import NU, POOL, OneClassSvm, packed
from anomaly.detectors.ocsvm_state import GAMMA
from anomaly.tokenizer import BUCKETS, Encoded, Tokenizer

MAX_WINDOWS = 4000
"""Windows fitted at most: beyond, they are taken at a wider stride (libsvm grows with their square)."""


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
        lengths = np.sqrt(np.maximum(bags.sum(axis=1, keepdims=True), 1))
        distinct, weights = _distinct(bags)
        svm = OneClassSVM(kernel="rbf", gamma=GAMMA, nu=NU, tol=1e-4)
        svm.fit((bags / lengths)[distinct], sample_weight=weights)
        report(1.0)
        # libsvm's weights add up to nu times the windows; made to add up to one, the margins of models that
        # learned from different numbers of windows (the folds and the final one) are of one size.
        total = float(svm.dual_coef_.sum())
        return OneClassSvm(
            support=bags[distinct][svm.support_],
            weights=svm.dual_coef_[0].astype(np.float64) / total,
            offset=float(-svm.intercept_[0]) / total,
            window=encoded.buckets[window.start : window.stop],
            pool=packed(bags[:: -(-len(bags) // POOL)]),
        )


def _bags(encoded: Encoded, stretches: list[range]) -> NDArray[np.uint8]:
    """Return binary bags of windows, shape (windows, BUCKETS)."""
    room = sum(max(len(stretch) - WINDOW + 1, 0) for stretch in stretches)
    stride = max(1, -(-room // MAX_WINDOWS))
    bags = []
    for stretch in stretches:
        for end in range(stretch.start + WINDOW, stretch.stop + 1, stride):
            filled = encoded.buckets[end - WINDOW : end]
            bag = np.zeros(BUCKETS, dtype=np.uint8)
            bag[filled[filled >= 0]] = 1
            bags.append(bag)
    return np.array(bags)


def _distinct(bags: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which windows differ, and how often each occurs: a quiet machine repeats itself for hours."""
    _, first, counts = np.unique(bags, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return first[order], counts[order].astype(np.float64)
