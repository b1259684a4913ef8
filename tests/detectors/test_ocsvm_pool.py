"""What windows share, remembered from one fit to the next: it saves time, and changes nothing."""

from __future__ import annotations

import gc
from collections import deque
from math import exp
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.detectors import ocsvm, ocsvm_pool
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.ocsvm import REFIT, OneClassSvm, packed
from anomaly.detectors.ocsvm_pool import REMEMBERED, overlaps_of
from anomaly.detectors.ocsvm_solve import Kernel, rbf
from anomaly.detectors.ocsvm_state import GAMMA, SupportVectors, WindowState
from anomaly.tokens import BUCKETS, Tokens

Packed = NDArray[np.uint8]
VECTORS = SupportVectors(np.eye(2, BUCKETS, dtype=np.uint8), np.full(2, 0.5), 0.5)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without the pools of the tests before."""
    monkeypatch.setattr(ocsvm_pool, "_fitted_last", deque(maxlen=REMEMBERED))


def drawn(count: int, seed: int) -> Packed:
    """Draw windows: some full, some empty, some that are the same."""
    draw = np.random.default_rng(seed)
    found = packed((draw.random((count, BUCKETS)) < draw.choice([0.0, 0.1, 0.9], (count, 1))).astype(np.uint8))
    return found[draw.integers(0, count, count)] if count else found


def state_of(pool: Packed) -> WindowState:
    """Make a state with a pool."""
    return WindowState(VECTORS, pool, ())


def counted(pool: Packed) -> list[list[int]]:
    """Count what each two windows share, as whole numbers."""
    bags = np.unpackbits(pool, axis=1).astype(np.int64)
    found: list[list[int]] = (bags @ bags.T).tolist()
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_remembering_changes_nothing(fits: list[tuple[float, int, bool]], seed: int) -> None:
    """Whatever was dropped and added since, or forgotten, the overlaps are those that counting anew gives."""
    state = state_of(drawn(20, seed))
    with patch.object(ocsvm_pool, "MAX_POOL", 40), patch.object(ocsvm_pool, "_SPARE", 15):  # soon full
        overlaps_of(state, 0)
        for number, (share, added, forgotten) in enumerate(fits):
            if forgotten:
                state.overlaps = None
            dropped = max(round(share * len(state.pool)), len(state.pool) + added - 40)
            state.pool = np.concatenate([state.pool[dropped:], drawn(added, seed + number)])
            assert overlaps_of(state, dropped).tolist() == counted(state.pool)


def test_what_is_known_is_not_counted_again() -> None:
    """What two windows were found to share is believed while both stay: the saving is real."""
    state = state_of(drawn(20, 1))
    overlaps_of(state, 0)[:] = 7
    state.pool = np.concatenate([state.pool[5:], drawn(4, 2)])
    found, fresh = overlaps_of(state, 5), np.array(counted(state.pool))
    assert (found[:15, :15] == 7).all()
    assert (found[15:] == fresh[15:]).all()
    assert (found[:, 15:] == fresh[:, 15:]).all()


def test_the_oldest_is_forgotten() -> None:
    """No more than REMEMBERED pools have their overlaps remembered: the one that came first gives way."""
    states = [state_of(drawn(5, seed)) for seed in range(3 * REMEMBERED)]
    for number, state in enumerate(states, 1):
        overlaps_of(state, 0)
        overlaps_of(states[max(number - REMEMBERED, 0)], 0)  # fitted again: is no other pool
        known = [one.overlaps is not None for one in states]
        assert known == [number - REMEMBERED <= place < number for place in range(len(states))]
    overlaps_of(states[0], 0)  # comes anew
    known = [one.overlaps is not None for one in states]
    assert known == [True, *[False] * (2 * REMEMBERED), *[True] * (REMEMBERED - 1)]


def test_a_state_that_is_gone_is_not_held() -> None:
    """What is remembered lives as long as its user's state, and who comes after finds room."""
    for seed in range(2 * REMEMBERED):
        overlaps_of(state_of(drawn(5, seed)), 0)
    gc.collect()
    assert all(known() is None for known in ocsvm_pool._fitted_last)
    states = [state_of(drawn(5, seed)) for seed in range(REMEMBERED)]
    for state in states:
        overlaps_of(state, 0)
    assert all(state.overlaps is not None for state in states)


def taught(svm: OneClassSvm, state: WindowState, lessons: range) -> WindowState:
    """Let a state learn chunks of a habit that varies."""
    for lesson in lessons:
        draw = np.random.default_rng(lesson)
        chunk = [Tokens((1,), tuple(draw.integers(200, 260, 4).tolist())) for _ in range(WINDOW)]
        svm.judge(state, chunk, [True] * WINDOW)
        svm.learn(state, chunk, 1.0)
    return state


def test_a_forgotten_state_fits_the_same() -> None:
    """Whose overlaps were forgotten, between any two fits, is fitted to the same expansion, bit for bit."""
    svm = OneClassSvm(VECTORS.support, VECTORS.weights, VECTORS.offset, np.zeros((0, 1), np.int16), drawn(40, 3))
    with patch.object(ocsvm, "MAX_POOL", 60):
        state, forgetful = svm.start(), svm.start()
        for fit in range(4):
            lessons = range(fit * REFIT, (fit + 1) * REFIT)
            taught(svm, state, lessons)
            taught(svm, forgetful, lessons)
            others = [state_of(drawn(5, seed)) for seed in range(REMEMBERED)] if fit % 2 else []
            for other in others:
                overlaps_of(other, 0)
            assert (forgetful.overlaps is None) == (state.overlaps is None) == bool(others)
            if not others:
                forgetful.overlaps = None
            assert len(state.pool) == 60
            assert state.pool.tobytes() == forgetful.pool.tobytes()
            assert state.alphas.tobytes() == forgetful.alphas.tobytes()
            assert state.vectors.offset == forgetful.vectors.offset
            assert state.vectors.weights.tobytes() == forgetful.vectors.weights.tobytes()
    assert state.vectors is not svm.vectors


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int64])
def test_a_kernel_from_overlaps(kind: type[np.generic]) -> None:
    """In whatever numbers the overlaps come, the kernel is the windows' own, to double precision, in any size."""
    for count in (0, 1, 31, 32, 33, 70):
        bags = np.unpackbits(drawn(count, 8), axis=1)
        shared = np.array(counted(packed(bags))).reshape(count, count)
        rows = Kernel(shared.astype(kind), GAMMA)
        kernel = np.array([rows[row] for row in range(count)]).reshape(count, count)
        assert rows.diagonal().tobytes() == kernel.diagonal().tobytes()
        lengths = [max(int(bag.sum()), 1) ** 0.5 for bag in bags]
        expected = [
            [exp(-2 * GAMMA * (1 - int(both) / (one * two))) for both, two in zip(row, lengths, strict=True)]
            for row, one in zip(shared, lengths, strict=True)
        ]
        assert kernel.tolist() == [pytest.approx(row, abs=1e-14) for row in expected]
        assert kernel.tobytes() == rbf(bags, GAMMA).tobytes()
