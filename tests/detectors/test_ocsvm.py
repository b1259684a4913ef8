from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save
from sklearn.svm import OneClassSVM

from anomaly.detectors import ocsvm as unit
from anomaly.detectors.ocsvm import (
    GAMMA,
    LENGTH,
    MAX_WINDOWS,
    NU,
    REFIT,
    Expansion,
    OneClassSvm,
    SvmState,
    WindowPool,
    bag_of,
)
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.features.levels import Features, Level
from tests.detectors.drawn import Damage, actions, damaged, damages, feature

Bag = NDArray[np.uint64]


@cache
def model() -> OneClassSvm:
    """Return the window model of a user; not to be changed."""
    return fit_svm(actions(1250, 1))


def bags(count: int, seed: int, common: int = 15, rare: int = 60) -> list[Bag]:
    """Return bags, of which some features are frequent and most are in few or none of the others."""
    draw = Random(seed)  # noqa: S311 - sample data
    found = []
    for _ in range(count):
        numbers = draw.sample(range(common), draw.randrange(1, common))
        numbers += [common + draw.randrange(rare) for _ in range(draw.randrange(6))]
        found.append(np.unique(np.array([feature(Level.VALUE, number) for number in numbers], dtype=np.uint64)))
    return found


def points(some: list[Bag]) -> NDArray[np.float64]:
    """Return bags as vectors of length one, with a dimension for each feature of the sample."""
    keys = np.unique([feature(Level.VALUE, number) for number in range(80)])
    found: NDArray[np.float64] = np.array([np.isin(keys, bag) for bag in some], dtype=np.float64)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def saved(svm: OneClassSvm, state: SvmState) -> dict[str, tuple[str, bytes]]:
    """Return all that a state has learned, to the bit."""
    return {name: (str(array.dtype), array.tobytes()) for name, array in svm.learned(state).items()}


def moved(svm: OneClassSvm, state: SvmState) -> SvmState:
    """Return a state that went through a file."""
    return svm.resume(load(save(svm.learned(state))))


def taught(svm: OneClassSvm, windows: int, seed: int = 50, first: int = 40) -> SvmState:
    """Return a state that learned some windows of new habits."""
    state = svm.start()
    for number in range(windows):
        svm.learn(state, actions(LENGTH, seed + number, first=first), 1.0)
    return state


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([0, 60]))
def test_margin_of_random_bags_equals_scikit_learns_decision_function(seed: int, count: int, rare: int) -> None:
    """The margin is minus the decision function over the sum of its weights, also of bags never seen."""
    pool, strange = bags(count, seed, rare=max(rare, 1)), bags(20, seed + 1)
    svm = OneClassSVM(kernel="rbf", gamma=GAMMA, nu=NU, tol=1e-6).fit(points(pool))
    total = float(svm.dual_coef_.sum())
    alphas = np.zeros(count)
    alphas[svm.support_] = svm.dual_coef_[0] / total
    expansion = Expansion(WindowPool.of(pool), alphas, float(-svm.intercept_[0]) / total)
    both = [*pool, *strange]
    margins = [expansion.margin(bag) for bag in both]
    assert margins == pytest.approx(-svm.decision_function(points(both)) / total, abs=1e-6)


def test_margin_feature_of_one_learned_window_counts() -> None:
    """A bag is nearer to the only window that has its feature, though the window shares it with no other."""
    own, other = (np.array([feature(Level.VALUE, number)], dtype=np.uint64) for number in (1, 2))
    expansion = Expansion(WindowPool.of([own, other]), np.array([0.5, 0.5]), 0.5)
    apart = float(np.exp(-2.0 * GAMMA))
    assert expansion.margin(own) == pytest.approx(0.5 - (1.0 + apart) / 2.0)
    assert expansion.margin(other) == pytest.approx(0.5 - (1.0 + apart) / 2.0)
    assert expansion.margin(bags(1, 3)[0][:0]) == pytest.approx(0.5 - apart)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_kernel_between_windows_is_that_of_their_vectors(seed: int, count: int) -> None:
    """The kernel is the RBF kernel of bags of length one, symmetric to the bit, and one on the diagonal."""
    pool = bags(count, seed)
    squares = ((points(pool)[:, None] - points(pool)[None]) ** 2).sum(axis=2)
    kernel = WindowPool.of(pool).kernel()
    assert kernel == pytest.approx(np.exp(-GAMMA * squares), abs=1e-12)
    assert (kernel == kernel.T).all()
    assert (kernel.diagonal() == 1.0).all()


def test_bag_holds_distinct_features_without_rows() -> None:
    """A bag has each feature once, ascending, however often it occurs, and no feature of a whole row."""
    window = [tuple(feature(level, number) for level in Level) for number in (3, 1, 2, 1)]
    expected = sorted(feature(level, number) for level in Level for number in (1, 2, 3) if level != Level.ROW)
    assert bag_of(window).tolist() == expected
    assert bag_of([]).tolist() == []


@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(0, 12))
def test_pool_part_holds_consecutive_windows(seed: int, begin: int, end: int) -> None:
    """A slice of a pool has the windows that a slice of the list has; windows may be added."""
    some = bags(10, seed)
    part = WindowPool.of(some[:9]).with_bag(some[9])[begin:end]
    expected = WindowPool.of(some[begin:end])
    assert part.sizes.tolist() == expected.sizes.tolist()
    assert part.features.tolist() == expected.features.tolist()


def test_margin_own_window_is_less_than_a_foreign_one() -> None:
    """A window of the user's habits is inside, one of other habits is outside."""
    svm = model()
    state = svm.start()
    assert svm.margin(state, actions(LENGTH, 99)) < 0.02 < svm.margin(state, actions(LENGTH, 99, first=40))
    assert np.isfinite(svm.margin(state, []))
    assert np.isfinite(svm.margin(state, [(feature(Level.ROW, 1),)]))


def test_learn_refits_after_each_ten_windows() -> None:
    """The decision function changes with every REFIT-th learned window; what was learned is no longer outside."""
    svm = model()
    state, window = svm.start(), actions(LENGTH, 99, first=40)
    before = svm.margin(state, window)
    fits = []
    for number in range(3 * REFIT):
        last = state.expansion
        svm.learn(state, actions(LENGTH, 50 + number, first=40), 1.0)
        fits.append(state.expansion is not last)
    assert fits == [number % REFIT == REFIT - 1 for number in range(3 * REFIT)]
    assert svm.margin(state, window) < 0.02 < before
    assert svm.margin(svm.start(), window) == before


def test_learn_fitted_function_meets_the_conditions_of_the_optimum() -> None:
    """After a fit the weights add up to one, each is within its bound, and those within are on the surface."""
    state = taught(model(), REFIT)
    alphas, most = state.expansion.alphas, 1.0 / (NU * len(state.pool))
    assert alphas.sum() == pytest.approx(1.0, abs=1e-9)
    assert ((alphas >= 0.0) & (alphas <= most)).all()
    margins = state.expansion.offset - state.pool.kernel() @ alphas
    assert (margins[alphas < most - 1e-9] <= 1e-4).all()
    assert (margins[alphas > 1e-9] >= -1e-4).all()


@pytest.mark.parametrize(("weight", "windows"), [(0.0, 0), (0.5, 0), (0.51, 1), (1.0, 1)])
def test_learn_chunk_likelier_anothers_is_left_out(weight: float, windows: int) -> None:
    """A chunk is a window of the pool if its weight is above one half."""
    state = model().start()
    model().learn(state, actions(LENGTH, 60), weight)
    assert len(state.pool) - len(model().pool) == state.learned == windows


def test_learn_windows_do_not_depend_on_chunks() -> None:
    """Windows are each hundred learned actions, however they are cut; the rest waits."""
    svm, learned = model(), actions(1230, 70)
    whole, pieces = svm.start(), svm.start()
    svm.learn(whole, learned, 1.0)
    for begin in range(0, 1230, 41):
        svm.learn(pieces, learned[begin : begin + 41], 0.8)
    assert saved(svm, whole) == saved(svm, pieces)
    assert whole.learned == 12
    assert whole.waiting == tuple(learned[1200:])
    expected = [bag_of(learned[begin : begin + LENGTH]) for begin in range(0, 1200, LENGTH)]
    assert whole.pool.features[svm.pool.sizes.sum() :].tolist() == np.concatenate(expected).tolist()


def test_learn_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each fit the newest MAX_WINDOWS are kept, and between two fits fewer than REFIT more."""
    monkeypatch.setattr(unit, "MAX_WINDOWS", 15)
    svm = model()
    state = svm.start()
    sizes, seen = [], WindowPool.of([]).features.tolist()
    for number in range(3 * REFIT):
        window = actions(LENGTH, 80 + number)
        seen += bag_of(window).tolist()
        svm.learn(state, window, 1.0)
        sizes.append(len(state.pool))
        assert saved(svm, moved(svm, state)) == saved(svm, state)
    assert max(sizes) == 15 + REFIT - 1
    assert sizes[REFIT - 1 :: REFIT] == [15] * 3
    assert state.pool.features.tolist() == seen[-int(state.pool.sizes.sum()) :]


@pytest.mark.parametrize("cut", [0, 50, 100, 950, 999, 1000, 1050, 1999, 2000, 2010])
def test_resume_at_any_point_continues_bit_for_bit(cut: int) -> None:
    """A state that went through a file between two fits learns, fits and judges as one that did not."""
    svm, learned, window = model(), actions(2050, 90, first=10), actions(LENGTH, 91)
    whole, first = svm.start(), svm.start()
    svm.learn(whole, learned[:cut], 1.0)
    svm.learn(first, learned[:cut], 1.0)
    second = moved(svm, first)
    assert saved(svm, second) == saved(svm, whole)
    assert svm.margin(second, window) == svm.margin(whole, window)
    for state in (whole, second):
        svm.learn(state, learned[cut:], 1.0)
    assert saved(svm, second) == saved(svm, whole)
    assert svm.margin(second, window) == svm.margin(whole, window)


def test_from_arrays_of_arrays_is_the_same_model() -> None:
    """A model that was saved has the arrays and margins of the one before, and learns the same."""
    svm = model()
    again = OneClassSvm.from_arrays(load(save(svm.arrays())))
    window = actions(LENGTH, 92)
    assert again.margin(again.start(), window) == svm.margin(svm.start(), window)
    assert saved(again, taught(again, REFIT)) == saved(svm, taught(svm, REFIT))


def test_learn_on_any_number_of_cores_fits_the_same_bits() -> None:
    """Margins and weights are the same, to the bit, with one thread and with several."""
    code = (
        "import hashlib; from tests.detectors.test_ocsvm import model, saved, taught, actions\n"
        "state = taught(model(), 10); margin = model().margin(state, actions(100, 5))\n"
        "found = repr((saved(model(), state), margin))\n"
        "print(hashlib.sha256(found.encode()).hexdigest())"
    )
    printed = {
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": threads})
        for threads in ("1", "2", "4")
    }
    assert len(printed) == 1


@cache
def learned_arrays() -> dict[str, NDArray[Any]]:
    """Return what a state has learned, some of it after the last fit."""
    svm = model()
    state = taught(svm, REFIT + 3)
    svm.learn(state, actions(40, 7), 1.0)
    return svm.learned(state)


def test_resume_and_from_arrays_refuse_too_many_windows() -> None:
    """More windows than a fit uses, or than wait between two fits, are refused."""
    arrays, learned = model().arrays(), learned_arrays()
    empty = np.zeros(MAX_WINDOWS + REFIT, dtype=np.int64)
    many = {
        "features": np.zeros(0, dtype=np.uint64),
        "sizes": empty,
        "alphas": np.full(len(empty), 1.0 / len(empty)),
    }
    with pytest.raises(ValueError, match="too many windows"):
        OneClassSvm.from_arrays(arrays | many)
    with pytest.raises(ValueError, match="too many windows"):
        model().resume(learned | many)


FREE = ("features: reversed", "waiting: reversed", "alphas: one entry fewer", "alphas: one entry more")
"""Damages that leave another valid model: windows after the last fit have no weight, and bags no order."""


@pytest.mark.parametrize(("what", "damage"), damages(model().arrays()))
def test_from_arrays_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """Arrays of another type or shape, and numbers that are no decision function, are refused."""
    assert_refused_or_finite(what, lambda: OneClassSvm.from_arrays(damaged(model().arrays(), damage)).start())


@pytest.mark.parametrize(("what", "damage"), damages(learned_arrays()))
def test_resume_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """What another detector learned, or is damaged, is refused."""
    assert_refused_or_finite(what, lambda: model().resume(damaged(learned_arrays(), damage)))


@pytest.mark.parametrize("sizes", [[2**62, 2**62, 2**62, 2**62], [-1, 1], [2**63 - 1, 2**63 - 1, 2]])
def test_pool_sizes_that_overflow_raise_value_error(sizes: list[int]) -> None:
    """Sizes whose sum is right only by overflow are refused."""
    with pytest.raises(ValueError, match="do not add up"):
        WindowPool(np.zeros(0, dtype=np.uint64), np.array(sizes, dtype=np.int64))


def assert_refused_or_finite(what: str, made: Any) -> None:  # noqa: ANN401 - a function
    """Check that a model is refused, or else that it is one of those that work."""
    try:
        state: SvmState = made()
    except (ValueError, KeyError):
        assert what not in FREE[:2]
        return
    assert what in FREE
    window: list[Features] = actions(LENGTH, 3)
    assert np.isfinite(model().margin(state, window))
    for number in range(REFIT):
        model().learn(state, actions(LENGTH, number), 1.0)
    assert np.isfinite(model().margin(state, window))
