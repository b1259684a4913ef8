from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import OneClassSVM

from anomaly.detectors import ocsvm_fit as unit
from anomaly.detectors.ocsvm import GAMMA, LENGTH, MAX_WINDOWS, NU, bag_of
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.ocsvm_solve import solve
from tests.detectors.drawn import actions


@pytest.mark.parametrize("count", [100, 101, 199, 200, 250, 1000])
def test_fit_svm_windows_end_with_the_history(count: int) -> None:
    """Windows are each hundred actions up to the last; of what is left over, the oldest is left out."""
    history = actions(count, 1)
    pool = fit_svm(history).pool
    ends = range(count, LENGTH - 1, -LENGTH)
    expected = [bag_of(history[end - LENGTH : end]) for end in reversed(ends)]
    assert pool.sizes.tolist() == [len(bag) for bag in expected]
    assert pool.features.tolist() == np.concatenate(expected).tolist()


def test_fit_svm_keeps_the_newest_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long history the last MAX_WINDOWS windows are fitted."""
    monkeypatch.setattr(unit, "MAX_WINDOWS", 4)
    history = actions(1000, 2)
    assert fit_svm(history).pool.features.tolist() == fit_svm(history[600:]).pool.features.tolist()
    assert MAX_WINDOWS > 4


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 40))
def test_fit_svm_margins_equal_scikit_learns(seed: int, windows: int) -> None:
    """Margins are those of scikit-learn's own kernel on vectors of length one, over the sum of its weights."""
    history = actions(windows * LENGTH, seed)
    strange = [actions(LENGTH, seed + number, first=4 * number) for number in range(5)]
    cut = [history[end - LENGTH : end] for end in range(LENGTH, len(history) + 1, LENGTH)]
    bags = [bag_of(window) for window in [*cut, *strange]]
    keys = np.unique(np.concatenate(bags))
    points = np.array([np.isin(keys, bag) for bag in bags], dtype=np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    svm = OneClassSVM(kernel="rbf", gamma=GAMMA, nu=NU, tol=1e-9).fit(points[:windows])
    expected = -svm.decision_function(points) / svm.dual_coef_.sum()
    fitted = fit_svm(history)
    margins = [fitted.margin(fitted.start(), window) for window in [*cut, *strange]]
    assert margins == pytest.approx(expected, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_fit_svm_weights_are_those_of_the_refit(seed: int, windows: int) -> None:
    """The weights add up to one, and the decision function is what the solver for refits finds."""
    fitted = fit_svm(actions(windows * LENGTH, seed))
    alphas, kernel = fitted.expansion.alphas, fitted.pool.kernel()
    assert alphas.sum() == pytest.approx(1.0, abs=1e-9)
    # A solver stops within its tolerance: the decision function is unique, single weights need not be.
    solution = solve(kernel, np.full(windows, 1.0 / (NU * windows)), tolerance=1e-8)
    assert kernel @ alphas == pytest.approx(kernel @ solution.alphas, abs=1e-4)


def test_fit_svm_share_of_windows_outside_is_at_most_nu() -> None:
    """About one training window in ten is outside."""
    history = actions(6000, 3)
    fitted = fit_svm(history)
    margins = [fitted.margin(fitted.start(), history[end - LENGTH : end]) for end in range(LENGTH, 6001, LENGTH)]
    assert 0.0 < np.mean(np.array(margins) > 1e-6) <= NU


def test_fit_svm_of_equal_windows_is_a_model() -> None:
    """A user who does the same hundred actions over and over has a window model all the same."""
    history = actions(LENGTH, 4) * 12
    fitted = fit_svm(history)
    assert fitted.margin(fitted.start(), history[:LENGTH]) == pytest.approx(0.0, abs=1e-9)
    assert fitted.margin(fitted.start(), actions(LENGTH, 4, first=50)) > 0.1
