from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM

from anomaly.detectors import ocsvm_solve
from anomaly.detectors.ocsvm import GAMMA, WindowPool
from anomaly.detectors.ocsvm_solve import Solution, rbf, solve

Reals = NDArray[np.float64]

TOLERANCE = 1e-5


class Problem(NamedTuple):
    """Windows to describe, how often each occurs, and the share of them that may be outside."""

    bags: NDArray[np.uint8]
    weights: Reals
    nu: float
    gamma: float = 1.0

    @property
    def kernel(self) -> Reals:
        """The kernel between the windows."""
        return rbf(self.bags, self.gamma)

    @property
    def bounds(self) -> Reals:
        """The most that each window may weigh."""
        bounds: Reals = self.weights / (self.nu * self.weights.sum())
        return bounds


def windows(count: int, seed: int, actions: int = 100, stride: int = 5) -> NDArray[np.uint8]:
    """Make the bags of a window that slides along what a user with changing habits does."""
    draw = np.random.default_rng(seed)
    meaning = draw.integers(0, 500, size=(300, 5))
    length = actions + stride * count
    habit = np.repeat(draw.integers(0, 12, size=length // 30 + 1), 30)[:length]
    done = (draw.zipf(1.4, size=length) + 17 * habit) % 300
    bags = np.zeros((count, 500), dtype=np.uint8)
    for number, bag in enumerate(bags):
        bag[meaning[done[number * stride : number * stride + actions]]] = 1
    return bags


@st.composite
def problems(draw: st.DrawFn, least: int = 1, most: int = 60) -> Problem:
    """Draw windows, some of them the same, some empty; the number of those outside is never a whole one."""
    count = draw(st.integers(least, most))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, share = draw(st.sampled_from([2, 5, 40])), draw(st.sampled_from([0.05, 0.3, 0.7]))
    bags = (random.random((count, width)) < share).astype(np.uint8)
    weights = random.integers(1, draw(st.sampled_from([2, 40])), size=count).astype(np.float64)
    nu = draw(st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9])) * 2**0.5 / 1.5
    return Problem(bags, weights, nu, draw(st.sampled_from([0.1, 1.0, 5.0])))


def starts(count: int, seed: int) -> Reals:
    """Make weights that fit nothing: some negative, some far too large."""
    start: Reals = np.random.default_rng(seed).normal(size=count)
    return start


def assert_feasible(solution: Solution, bounds: Reals) -> None:
    """Check that the weights are within their bounds, exactly, and add up to one."""
    assert (solution.alphas >= 0.0).all()
    assert (solution.alphas <= bounds).all()
    assert solution.alphas.sum() == pytest.approx(1.0, abs=1e-9)


def decisions(kernel: Reals, solution: Solution) -> Reals:
    """Return the decision function of each window."""
    values: Reals = kernel @ solution.alphas - solution.offset
    return values


@settings(max_examples=200, deadline=None)
@given(problems(), st.none() | st.integers(0, 1000))
def test_the_conditions_of_the_optimum_hold(problem: Problem, seed: int | None) -> None:
    """Windows inside weigh nothing, windows outside all they may, those between lie on the surface."""
    kernel, bounds = problem.kernel, problem.bounds
    start = None if seed is None else starts(len(bounds), seed)
    solution = solve(kernel, bounds, start, TOLERANCE)
    assert_feasible(solution, bounds)
    values = decisions(kernel, solution)
    assert (values[solution.alphas < bounds - 1e-9] >= -2 * TOLERANCE).all()
    assert (values[solution.alphas > 1e-9] <= 2 * TOLERANCE).all()


@settings(max_examples=100, deadline=None)
@given(problems(least=2))
def test_the_decision_function_is_libsvms(problem: Problem) -> None:
    """Over the sum of its weights, libsvm's decision function is ours, with sample weights too."""
    kernel = problem.kernel
    svm = OneClassSVM(kernel="precomputed", nu=problem.nu, tol=1e-6)
    svm.fit(kernel, sample_weight=problem.weights)
    expected = svm.decision_function(kernel) / svm.dual_coef_.sum()
    assert decisions(kernel, solve(kernel, problem.bounds)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("nu", [0.0307, 0.1307])
@pytest.mark.parametrize("weighted", [False, True])
def test_libsvm_with_its_own_kernel_agrees(nu: float, weighted: bool) -> None:  # noqa: FBT001 - a parameter
    """For a user's sliding windows, scikit-learn's own kernel and solver give the same decision function."""
    bags = windows(300, 4)
    weights = np.random.default_rng(1).integers(1, 30, size=300).astype(np.float64) if weighted else np.ones(300)
    points = bags / np.sqrt(bags.sum(axis=1, keepdims=True))
    svm = OneClassSVM(kernel="rbf", gamma=1.0, nu=nu, tol=1e-6).fit(points, sample_weight=weights)
    expected = svm.decision_function(points) / svm.dual_coef_.sum()
    kernel = rbf(bags, 1.0)
    solution = solve(kernel, Problem(bags, weights, nu).bounds)
    assert decisions(kernel, solution) == pytest.approx(expected, abs=1e-3)
    assert solution.offset == pytest.approx(-svm.intercept_[0] / svm.dual_coef_.sum(), abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30))
def test_windows_with_nothing_in_common(diagonal: list[float]) -> None:
    """Where the kernel is diagonal, each window weighs the inverse of its own entry, over their sum."""
    inverse = 1.0 / np.array(diagonal)
    # Bounds that bind nothing, however large.
    solution = solve(np.diag(diagonal), np.full(len(diagonal), 1e12), tolerance=1e-9)
    assert solution.alphas == pytest.approx(inverse / inverse.sum(), abs=1e-7)
    assert solution.offset == pytest.approx(1.0 / inverse.sum(), abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 1000))
def test_the_start_does_not_matter(problem: Problem, seed: int) -> None:
    """From any start, however unfit, the decision function comes out the same."""
    kernel, bounds = problem.kernel, problem.bounds
    cold = solve(kernel, bounds, tolerance=1e-7)
    warm = solve(kernel, bounds, starts(len(bounds), seed), tolerance=1e-7)
    assert decisions(kernel, warm) == pytest.approx(decisions(kernel, cold), abs=1e-4)


@pytest.mark.parametrize("count", [50, 400])
def test_a_model_moves_on_with_its_windows(count: int) -> None:
    """After the oldest windows are replaced, going on from the earlier weights is as good as starting anew."""
    kernel = rbf(windows(count + 4, 8), 1.0)
    bounds = np.full(count, 1.0 / (0.05 * count))
    earlier = solve(kernel[:-4, :-4], bounds)
    later = kernel[4:, 4:]
    warm = solve(later, bounds, np.append(earlier.alphas[4:], np.zeros(4)))
    assert_feasible(warm, bounds)
    assert decisions(later, warm) == pytest.approx(decisions(later, solve(later, bounds)), abs=1e-4)


def test_a_model_grows_with_its_windows() -> None:
    """When windows come on top, which lowers every bound, going on is as good as starting anew."""
    kernel = rbf(windows(240, 11), 1.0)
    earlier = solve(kernel[:200, :200], np.full(200, 1.0 / (0.05 * 200)))
    bounds = np.full(240, 1.0 / (0.05 * 240))
    warm = solve(kernel, bounds, np.append(earlier.alphas, np.zeros(40)))
    assert_feasible(warm, bounds)
    assert decisions(kernel, warm) == pytest.approx(decisions(kernel, solve(kernel, bounds)), abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_solution_is_left_alone(problem: Problem) -> None:
    """Started from its own solution, the solver changes nothing, to the bit."""
    kernel, bounds = problem.kernel, problem.bounds
    found = solve(kernel, bounds, tolerance=1e-7).alphas
    assert solve(kernel, bounds, found).alphas.tolist() == found.tolist()


def test_the_arguments_are_left_alone() -> None:
    """Solving changes neither kernel nor bounds nor start, so that the caller can go on using them."""
    kernel, bounds, start = rbf(windows(60, 2), 1.0), np.full(60, 0.3), starts(60, 2)
    copies = kernel.copy(), bounds.copy(), start.copy()
    solution = solve(kernel, bounds, start)
    assert solution.alphas is not start
    for argument, copy in zip((kernel, bounds, start), copies, strict=True):
        assert (argument == copy).all()


def test_the_first_of_equals_is_taken() -> None:
    """Where all windows are the same, the first ones weigh all they may, as nothing is gained by moving on."""
    kernel, bounds, start = np.ones((60, 60)), np.full(60, 0.4), np.append(np.zeros(59), 0.3)
    assert solve(kernel, bounds).alphas == pytest.approx([0.4, 0.4, 0.2] + [0.0] * 57)
    assert solve(kernel, bounds, start).alphas == pytest.approx([0.4, 0.3] + [0.0] * 57 + [0.3])


def test_too_heavy_a_start_is_scaled() -> None:
    """A start that adds up to more than one keeps its proportions."""
    start = np.array([0.3, 0.6, 0.9])
    assert solve(np.ones((3, 3)), np.ones(3), start).alphas == pytest.approx([1 / 6, 1 / 3, 1 / 2])


def test_the_number_of_cores_does_not_matter() -> None:
    """Kernel and solution are the same, to the bit, with one thread and with several."""
    code = (
        "import hashlib, numpy as np; from anomaly.detectors.ocsvm_solve import rbf, solve\n"
        "bags = (np.random.default_rng(5).random((300, 1000)) < 0.1).astype(np.uint8)\n"
        "kernel = rbf(bags, 1.0); solution = solve(kernel, np.full(300, 0.05))\n"
        "print(hashlib.sha256(kernel.tobytes() + solution.alphas.tobytes()).hexdigest(), solution.offset)"
    )
    printed = {
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": threads})
        for threads in ("1", "1", "2", "4")
    }
    assert len(printed) == 1


def test_without_enough_steps_the_weights_still_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the steps run out, the weights are within their bounds and add up to one."""
    kernel, bounds = rbf(windows(60, 6), 1.0), np.full(60, 0.3)
    enough = solve(kernel, bounds)
    monkeypatch.setattr(ocsvm_solve, "STEPS", 0)
    for start in (None, starts(60, 6)):
        solution = solve(kernel, bounds, start)
        assert_feasible(solution, bounds)
        assert solution.alphas @ kernel @ solution.alphas > enough.alphas @ kernel @ enough.alphas
        assert np.isfinite(solution.offset)


def test_few_steps_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a user's sliding windows, a step for each window is enough: what the solver's speed rests on."""
    kernel, bounds = rbf(windows(400, 12), 1.0), np.full(400, 1.0 / (0.05 * 400))
    expected = solve(kernel, bounds)
    monkeypatch.setattr(ocsvm_solve, "STEPS", 1)
    assert solve(kernel, bounds).alphas.tolist() == expected.alphas.tolist()


def test_when_all_weigh_all_they_may_the_offset_is_the_innermost() -> None:
    """With nu of one nothing is left to choose, and no window is inside (libsvm has no finite offset there)."""
    kernel = rbf(windows(30, 9), 1.0)
    # Of such bounds, rounding leaves hardly any sum at one.
    bounds = np.full(30, (1.0 - 1e-12) / 30.0)
    solution = solve(kernel, bounds)
    assert solution.alphas == pytest.approx(bounds)
    assert decisions(kernel, solution).max() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rounding", [0.0, 1e-12, -1e-12])
def test_without_a_window_on_the_surface_the_offset_is_halfway(rounding: float) -> None:
    """Where but for rounding all windows are inside or outside, the offset is in the middle between the two."""
    # Two windows that are the same, and two that are like nothing: the latter weigh half each, which is all.
    kernel = np.array([[1.0, 1.0, 0.8, 0.8], [1.0, 1.0, 0.8, 0.8], [0.8, 0.8, 1.0, 0.0], [0.8, 0.8, 0.0, 1.0]])
    solution = solve(kernel, np.full(4, 0.5 + rounding))
    assert solution.alphas == pytest.approx([0.0, 0.0, 0.5, 0.5], abs=1e-9)
    assert solution.offset == pytest.approx((0.8 + 0.5) / 2)


def test_a_window_of_bound_zero_has_no_say() -> None:
    """Leaving a window out and giving it a bound of zero are the same."""
    kernel = rbf(windows(40, 3), 1.0)
    bounds = np.full(40, 0.1)
    bounds[::4] = 0.0
    kept = np.flatnonzero(bounds)
    without = solve(kernel[np.ix_(kept, kept)], bounds[kept])
    solution = solve(kernel, bounds)
    assert solution.alphas[kept].tolist() == without.alphas.tolist()
    assert solution.offset == without.offset


@pytest.mark.parametrize(
    ("kernel", "bounds", "start", "tolerance"),
    [
        (np.eye(3), np.ones(2), None, 1e-5),
        (np.ones((3, 2)), np.ones(3), None, 1e-5),
        (np.eye(3), np.ones((3, 1)), None, 1e-5),
        (np.eye(3), np.ones(3), np.ones(2), 1e-5),
        (np.eye(3), np.ones(3), np.array([0.5, np.nan, 0.5]), 1e-5),
        (np.full((3, 3), np.nan), np.ones(3), None, 1e-5),
        (np.eye(3), np.array([1.0, np.inf, 1.0]), None, 1e-5),
        (np.eye(3), np.array([2.0, -0.5, 1.0]), None, 1e-5),
        (np.eye(3), np.full(3, 0.33), None, 1e-5),
        (np.empty((0, 0)), np.empty(0), None, 1e-5),
        (np.eye(3), np.ones(3), None, 0.0),
        (np.eye(3), np.ones(3), None, np.nan),
    ],
)
def test_unfit_problems_are_refused(kernel: Reals, bounds: Reals, start: Reals | None, tolerance: float) -> None:
    """What has no solution, or no meaning, is a ValueError."""
    with pytest.raises(ValueError, match=r"fit|finite|bounds|tolerance"):
        solve(kernel, bounds, start, tolerance)


def test_the_kernel_is_the_detectors() -> None:
    """The kernel between windows is, entry by entry, the detector's; only an empty bag is unlike itself here."""
    bags = windows(20, 1)
    pool = WindowPool.of([np.flatnonzero(bag).astype(np.uint64) for bag in bags])
    assert rbf(bags, GAMMA) == pytest.approx(pool.kernel(), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_kernel_is_one(problem: Problem) -> None:
    """The kernel is symmetric to the bit, positive semi-definite, and the same for bags of truth values."""
    kernel = problem.kernel
    assert (kernel == kernel.T).all()
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    assert (kernel == rbf(problem.bags.astype(np.bool_), problem.gamma)).all()
    assert kernel.diagonal()[problem.bags.any(axis=1)] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("bags", "gamma"),
    [
        (np.full((2, 3), 2, dtype=np.uint8), 1.0),
        (np.ones(3, dtype=np.uint8), 1.0),
        (np.ones((2, 3), dtype=np.uint8), -1.0),
        (np.ones((2, 3), dtype=np.uint8), np.nan),
        (np.ones((2, 3), dtype=np.uint8), np.inf),
    ],
)
def test_unfit_bags_are_refused(bags: NDArray[np.uint8], gamma: float) -> None:
    """Counts instead of 0 and 1, a single bag, or a gamma without meaning, are a ValueError."""
    with pytest.raises(ValueError, match=r"bags|gamma"):
        rbf(bags, gamma)
