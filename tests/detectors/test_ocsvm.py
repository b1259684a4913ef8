from __future__ import annotations

import json
import random
from collections.abc import Callable
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.detectors.interface import WINDOW
from anomaly.detectors.ocsvm import OneClassSvm, WindowState
from anomaly.tokenizer import BUCKETS, Tokens


def draws(count: int, seed: int = 3, width: int = 40) -> list[tuple[int, ...]]:
    """Draw the buckets of some actions; a bucket may come twice in one."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    return [tuple(draw.randrange(width) for _ in range(draw.randrange(1, 6))) for _ in range(count)]


def bag(window: list[tuple[int, ...]]) -> np.ndarray:
    """Return the binary bag of a window."""
    found = np.zeros(BUCKETS, dtype=np.uint8)
    found[[bucket for buckets in window for bucket in buckets]] = 1
    return found


@pytest.fixture
def svm() -> OneClassSvm:
    """Give a model of eleven windows that say much the same."""
    support = np.array([bag(draws(60, seed)) for seed in range(11)])
    weights = np.arange(1.0, 12.0)
    window = np.full((WINDOW, 6), -1, dtype=np.int16)
    for row, buckets in zip(window, draws(WINDOW, 99), strict=True):
        row[: len(buckets)] = buckets
    return OneClassSvm(support, weights / weights.sum(), 0.9, window)


def scratch(svm: OneClassSvm, window: list[tuple[int, ...]]) -> float:
    """Compute the margin of a window as the definition has it."""
    x = bag(window).astype(float)
    x /= max(x.sum(), 1.0) ** 0.5
    value = 0.0
    for row, weight in zip(svm.support.astype(float), svm.weights, strict=True):
        y = row / max(row.sum(), 1.0) ** 0.5
        value += float(weight) * exp(-float(((x - y) ** 2).sum()))
    return svm.offset - value


def test_what_is_carried_along_is_exact(svm: OneClassSvm) -> None:
    """After any number of actions the overlaps are, exactly, those computed anew from the window."""
    state = svm.start()
    history = [tuple(b for b in row if b >= 0) for row in svm.window.tolist()]
    for number, buckets in enumerate(draws(500, 7, width=300)):
        svm.score(state, Tokens((1,), buckets))
        history.append(buckets)
        if number % 25 == 0 or number > 490:
            fresh = bag(history[-WINDOW:])
            expected = (svm.support.astype(np.int64) @ fresh.astype(np.int64)).tolist()
            assert state.overlap.tolist() == expected
            assert state.active == int(fresh.sum())
            assert [int(count > 0) for count in state.counts] == fresh.tolist()


def test_margins_are_the_definitions(svm: OneClassSvm) -> None:
    """The margin is minus the decision function of the last 100 actions' bag."""
    state = svm.start()
    history = [tuple(b for b in row if b >= 0) for row in svm.window.tolist()]
    for buckets in draws(60, 8):
        evidence = svm.score(state, Tokens((1,), buckets))
        history.append(buckets)
        assert evidence.window == pytest.approx(scratch(svm, history[-WINDOW:]), abs=1e-6)
        assert evidence.surprise == evidence.window


def test_an_action_is_judged_by_what_only_it_brings(svm: OneClassSvm) -> None:
    """The action's figure is the margin less the margin without its new buckets; without any it is 0, exactly."""
    state = svm.start()
    window = list(state.window)
    known = window[50]
    assert svm.score(state, Tokens((1,), known)).action == 0.0
    strange = (*known, 900, 901)
    evidence = svm.score(state, Tokens((1,), strange))
    kept = [*window[2:], known]
    expected = scratch(svm, [*kept, strange]) - scratch(svm, [*kept, known])
    assert evidence.action == pytest.approx(expected, abs=1e-6)
    assert evidence.action > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, BUCKETS - 1), max_size=4).map(tuple), max_size=30))
def test_what_enters_leaves(pushed: list[tuple[int, ...]]) -> None:
    """Whatever has been in the window, when it has left nothing of it is left."""
    support = np.eye(BUCKETS, dtype=np.float32)[:, :64]
    state = WindowState(support, pushed)
    for _ in range(WINDOW):
        state.push(support, ())
    assert state.active == 0
    assert not any(state.counts)
    assert not state.overlap.any()


def test_the_window_holds_a_hundred(svm: OneClassSvm) -> None:
    """The window never grows beyond its size."""
    state = svm.start()
    for buckets in draws(300):
        svm.score(state, Tokens((1,), buckets))
    assert len(state.window) == WINDOW
    assert list(state.window) == draws(300)[-WINDOW:]


def test_starting_twice_is_two_states(svm: OneClassSvm) -> None:
    """A state is its owner's alone: what one scores, another does not see."""
    one, two = svm.start(), svm.start()
    first = [svm.score(one, Tokens((1,), buckets)) for buckets in draws(20)]
    assert [svm.score(two, Tokens((1,), buckets)) for buckets in draws(20)] == first


def test_a_saved_state_goes_on(svm: OneClassSvm) -> None:
    """A state that was saved as text scores what follows exactly as one that was not."""
    state = svm.start()
    for buckets in draws(130):
        svm.score(state, Tokens((1,), buckets))
    again = svm.resume(json.loads(json.dumps(state.to_json())))
    for buckets in draws(150, 5):
        assert svm.score(again, Tokens((1,), buckets)) == svm.score(state, Tokens((1,), buckets))


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"window": None},
        {"window": 5},
        {"window": "abc"},
        {"window": [5]},
        {"window": [["x"]]},
        {"window": [[None]]},
        {"window": [[BUCKETS]]},
        {"window": [[-1]]},
        {"window": [[10**400]]},
        {"window": [[0]] * (WINDOW + 1)},
        {"hidden": [0.0]},
    ],
)
def test_unfit_states_are_refused(svm: OneClassSvm, saved: dict[str, object]) -> None:
    """A saved state of another detector, or a damaged one, is an error that the scorer expects."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        svm.resume(saved)


def test_shares(svm: OneClassSvm) -> None:
    """A bucket's share is how many of the similar windows fill it: 1 where all do, 0 where none does."""
    everywhere = int(np.flatnonzero(svm.support.all(axis=0))[0])
    state = svm.start()
    evidence = svm.score(state, Tokens((1,), (everywhere, 1000)))
    assert evidence.shares == pytest.approx((1.0, 0.0))
    nothing = OneClassSvm(svm.support, np.zeros(11), 0.0, svm.window)
    assert nothing.score(nothing.start(), Tokens((1,), (everywhere, 1000))).shares == (0.0, 0.0)


def test_what_is_missing(svm: OneClassSvm) -> None:
    """What the window lacks is what most of the similar windows hold and it does not."""
    everywhere = set(np.flatnonzero(svm.support.all(axis=0)).tolist())
    state = svm.resume({"window": [[b for b in range(40) if b not in everywhere]]})
    missing = svm.missing(state)
    assert len(missing) == 3
    assert set(missing) <= everywhere
    assert svm.missing(svm.resume({"window": [list(range(40))]})) == []


def test_arrays_make_the_same_model(svm: OneClassSvm) -> None:
    """A model rebuilt from its arrays scores exactly the same."""
    again = OneClassSvm.from_arrays(svm.arrays())
    states = svm.start(), again.start()
    for buckets in draws(50):
        tokens = Tokens((1,), buckets)
        assert svm.score(states[0], tokens) == again.score(states[1], tokens)


CHANGES: dict[str, Callable[[OneClassSvm], object]] = {
    "narrow": lambda s: OneClassSvm(s.support[:, 1:], s.weights, s.offset, s.window),
    "flat": lambda s: OneClassSvm(s.support[0], s.weights, s.offset, s.window),
    "weights": lambda s: OneClassSvm(s.support, s.weights[1:], s.offset, s.window),
    "weights of two dimensions": lambda s: OneClassSvm(s.support, s.weights[None], s.offset, s.window),
    "window": lambda s: OneClassSvm(s.support, s.weights, s.offset, s.window[0]),
    "bucket": lambda s: OneClassSvm(s.support, s.weights, s.offset, s.window + np.int16(BUCKETS)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_shapes_are_checked(svm: OneClassSvm, change: Callable[[OneClassSvm], object]) -> None:
    """Arrays that do not fit each other are refused at once."""
    with pytest.raises(ValueError, match="fit"):
        change(svm)


def test_a_short_training_starts_with_a_short_window(svm: OneClassSvm) -> None:
    """A model whose training ended with few actions, or none, starts with those."""
    for count in (0, 3):
        short = OneClassSvm(svm.support, svm.weights, svm.offset, svm.window[:count])
        state = short.start()
        assert len(state.window) == count
        assert np.isfinite(short.score(state, Tokens((1,), (5,))).window)
