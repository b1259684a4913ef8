"""Fitting the One-Class SVM: the only module that imports scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.svm import OneClassSVM

from anomaly.detectors.ocsvm import LENGTH, MAX_WINDOWS, NU, STRIDE, OneClassSvm, WindowPool, bag_of
from anomaly.features.levels import Features

TOLERANCE = 1e-6
"""How far, in libsvm's units, a window may lie on the wrong side."""


def fit_svm(history: Sequence[Features]) -> OneClassSvm:
    """Return the window model of a user's actions, in order, ``LENGTH`` of them at least."""
    last = len(history)
    first = last - (last - LENGTH) // STRIDE * STRIDE
    bags = [bag_of(history[end - LENGTH : end]) for end in range(first, last + 1, STRIDE)][-MAX_WINDOWS:]
    pool = WindowPool.of(bags)
    svm = OneClassSVM(kernel="precomputed", nu=NU, tol=TOLERANCE).fit(pool.kernel())
    # libsvm's weights add up to nu times the windows; ours add up to one, so that margins do not grow with them.
    total = float(svm.dual_coef_.sum())
    alphas = np.zeros(len(pool))
    alphas[svm.support_] = svm.dual_coef_[0] / total
    return OneClassSvm(pool, alphas, float(-svm.intercept_[0]) / total)
