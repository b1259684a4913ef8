from __future__ import annotations

import json
import random
from collections.abc import Callable
from math import exp, inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.detectors import ocsvm
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.ocsvm import REFIT, STRIDE, OneClassSvm, packed
from anomaly.detectors.ocsvm_state import SupportVectors, WindowState
from anomaly.tokens import BUCKETS, Tokens
from tests.conftest import judge_one, verdicts

Buckets = tuple[int, ...]
NOTHING = Tokens((1,), ())


def draws(count: int, seed: int = 3, width: int = 40) -> list[Buckets]:
    """Draw the buckets of some actions; a bucket may come twice in one."""
    draw = random.Random(seed)  # noqa: S311 - sample data
    return [tuple(draw.randrange(width) for _ in range(draw.randrange(1, 6))) for _ in range(count)]


def bag(window: list[Buckets]) -> np.ndarray:
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
    pool = packed(np.array([bag(draws(WINDOW, seed)) for seed in range(30)]))
    return OneClassSvm(support, weights / weights.sum(), 0.9, window, pool)


def chunk(seed: int, count: int = WINDOW) -> list[Tokens]:
    """Make actions of a habit that training did not know; it varies a little."""
    return [Tokens((1,), tuple(bucket + 200 for bucket in buckets)) for buckets in draws(count, seed)]


def taught(svm: OneClassSvm, state: WindowState, chunks: range, weight: float = 1.0) -> WindowState:
    """Let a state score chunks and learn them."""
    for seed in chunks:
        for tokens in chunk(seed):
            judge_one(svm, state, tokens)
        svm.learn(state, chunk(seed), weight)
    return state


def moved(svm: OneClassSvm, state: WindowState) -> WindowState:
    """Take a state through a checkpoint, and what it learned through a file."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in svm.learned(state).items()}))
    return svm.resume(json.loads(json.dumps(state.to_json())), arrays)


def kept(svm: OneClassSvm, state: WindowState) -> tuple[object, ...]:
    """Give all that a state carries along."""
    learned = {name: (array.shape, array.tobytes()) for name, array in svm.learned(state).items()}
    return state.to_json(), learned, state.overlap.tolist(), state.active


def scratch(vectors: SupportVectors, window: list[Buckets]) -> float:
    """Compute the margin of a window as the definition has it."""
    x = bag(window).astype(float)
    x /= max(x.sum(), 1.0) ** 0.5
    value = 0.0
    for row, weight in zip(vectors.support.astype(float), vectors.weights, strict=True):
        y = row / max(row.sum(), 1.0) ** 0.5
        value += float(weight) * exp(-float(((x - y) ** 2).sum()))
    return vectors.offset - value


def test_what_is_carried_along_is_exact(svm: OneClassSvm) -> None:
    """After any number of actions the overlaps are those of the window's bag, exactly, and the margin is its."""
    state = svm.start()
    history = [tuple(b for b in row if b >= 0) for row in svm.window.tolist()]
    for number, buckets in enumerate(draws(500, 7, width=300)):
        evidence = judge_one(svm, state, Tokens((1,), buckets))
        history = [*history, buckets][-WINDOW:]
        assert list(state.window) == history
        if number % 25 == 0 or number > 490:
            fresh = bag(history)
            expected = (svm.vectors.support.astype(np.int64) @ fresh.astype(np.int64)).tolist()
            assert state.overlap.tolist() == expected
            assert state.active == int(fresh.sum())
            assert [int(count > 0) for count in state.counts] == fresh.tolist()
            assert evidence.surprise == pytest.approx(scratch(svm.vectors, history), abs=1e-6)
            assert evidence.views == (evidence.surprise,)


def test_an_action_is_judged_by_what_only_it_brings(svm: OneClassSvm) -> None:
    """The action's figure is the margin less the margin without its new buckets; without any it is 0, exactly."""
    state = svm.start()
    window = list(state.window)
    known = window[50]
    assert judge_one(svm, state, Tokens((1,), known)).action == 0.0
    strange = (*known, 900, 901)
    evidence = judge_one(svm, state, Tokens((1,), strange))
    left = [*window[2:], known]
    expected = scratch(svm.vectors, [*left, strange]) - scratch(svm.vectors, [*left, known])
    assert evidence.action == pytest.approx(expected, abs=1e-6)
    assert evidence.action > 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, BUCKETS - 1), max_size=4).map(tuple), max_size=30))
def test_what_enters_leaves(pushed: list[tuple[int, ...]]) -> None:
    """Whatever has been in the window, when it has left nothing of it is left."""
    vectors = SupportVectors(np.eye(64, BUCKETS, dtype=np.uint8), np.ones(64), 0.0)
    state = WindowState(vectors, np.zeros((0, BUCKETS // 8), dtype=np.uint8), pushed)
    twin = WindowState(vectors, state.pool, pushed)
    for _ in range(WINDOW):
        state.walk([NOTHING], [True])
    twin.walk([NOTHING] * WINDOW, [True] * WINDOW)
    for left in (state, twin):
        assert left.active == 0
        assert not any(left.counts)
        assert not left.overlap.any()


@pytest.mark.parametrize("before", [0, 1, REFIT - 1, REFIT, REFIT + 3])
def test_a_saved_state_goes_on(svm: OneClassSvm, before: int) -> None:
    """A state that was saved goes on exactly as one that was not; without what was learned, as it was trained."""
    state = taught(svm, svm.start(), range(before))
    for buckets in draws(30):
        judge_one(svm, state, Tokens((1,), buckets))
    again = moved(svm, state)
    assert kept(svm, again) == kept(svm, state)
    bare = svm.resume(state.to_json())
    assert (bare.to_json(), bare.vectors, bare.accepted) == (state.to_json(), svm.vectors, 0)
    assert svm.as_trained(bare) == svm.as_trained(again) == svm.as_trained(state)
    for seed in range(before, before + 2):
        for tokens in chunk(seed):
            assert judge_one(svm, again, tokens) == judge_one(svm, state, tokens)
        for each in (again, state):
            svm.learn(each, chunk(seed), 1.0)
    assert kept(svm, again) == kept(svm, state)


def test_not_admitted_is_not_there(svm: OneClassSvm) -> None:
    """What is only judged is judged by what it would add to the window as it stands, and leaves no trace."""
    state = taught(svm, svm.start(), range(REFIT))
    for buckets in [(5, 210), (), (900, 901, 900), tuple(state.window[-1])]:
        before, window = kept(svm, state), list(state.window)
        evidence = judge_one(svm, state, Tokens((1,), buckets), admit=False)
        assert kept(svm, state) == before
        margin = scratch(state.vectors, window)
        assert evidence.surprise == pytest.approx(margin, abs=1e-6)
        assert evidence.views == (evidence.surprise,)
        assert evidence.action == pytest.approx(scratch(state.vectors, [*window, buckets]) - margin, abs=1e-6)
        assert len(evidence.shares) == len(buckets)


def test_a_chunk_is_learned_window_by_window(svm: OneClassSvm) -> None:
    """Of a chunk alone its window is learned, of one that follows those on the way; if likelier the user's."""
    state, seen = svm.start(), [tokens.buckets for seed in range(2) for tokens in chunk(seed)]
    assert state.pool.tolist() == svm.pool.tolist()
    svm.learn(state, chunk(0), 0.51)
    svm.learn(state, chunk(1), 1.0)
    expected = [bag(seen[end - WINDOW : end]) for end in (WINDOW, *range(WINDOW + STRIDE, 2 * WINDOW + 1, STRIDE))]
    assert np.unpackbits(state.pool, axis=1)[len(svm.pool) :].tolist() == np.array(expected).tolist()
    before = state.pool.tolist(), state.accepted
    svm.learn(state, chunk(2), 0.5)
    svm.learn(state, chunk(3), 0.0)
    assert (state.pool.tolist(), state.accepted) == before
    svm.learn(state, chunk(4), 1.0)  # follows nothing that was learned
    assert len(state.pool) == len(before[0]) + 1


def test_what_was_learned_is_fitted_in_time(svm: OneClassSvm) -> None:
    """After every REFIT learned chunks the vectors are fitted anew: what was learned is no longer outside."""
    state = taught(svm, svm.start(), range(REFIT - 1))
    assert state.vectors is svm.vectors
    twin = taught(svm, svm.start(), range(REFIT - 1))
    taught(svm, twin, range(REFIT - 1, REFIT), weight=0.5)
    assert twin.vectors is svm.vectors
    taught(svm, state, range(REFIT - 1, REFIT))
    vectors = state.vectors
    assert vectors.weights.sum() == pytest.approx(1.0)
    assert (vectors.weights > 0).all()
    bags = np.unpackbits(state.pool, axis=1)
    assert vectors.support.tolist() == bags[state.alphas > 0].tolist()
    (margin,) = judge_one(svm, state, chunk(REFIT)[0]).views
    assert margin == pytest.approx(scratch(vectors, list(state.window)), abs=1e-6)
    assert margin < svm.as_trained(state)[0] - 0.1
    outside = [scratch(vectors, [tuple(np.flatnonzero(row).tolist())]) > 1e-4 for row in bags]
    assert sum(outside) <= 0.1 * len(bags)
    taught(svm, state, range(REFIT, 2 * REFIT - 1))
    assert state.vectors is vectors
    taught(svm, state, range(2 * REFIT - 1, 2 * REFIT))
    assert state.vectors is not vectors


def test_learning_is_deterministic(svm: OneClassSvm) -> None:
    """Whoever learns the same fits the same, bit for bit, however often it was saved on the way."""
    state, twin, restless = svm.start(), svm.start(), svm.start()
    for seed in range(2 * REFIT):
        taught(svm, state, range(seed, seed + 1))
        restless = moved(svm, taught(svm, restless, range(seed, seed + 1)))
    taught(svm, twin, range(2 * REFIT))
    assert kept(svm, state) == kept(svm, twin) == kept(svm, restless)
    assert state.vectors.weights.tobytes() == restless.vectors.weights.tobytes()
    assert state.vectors.offset == restless.vectors.offset


def test_the_pool_is_bounded(svm: OneClassSvm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the windows the newest are kept: MAX_POOL after each fit, never twice as many, and they can be saved."""
    monkeypatch.setattr(ocsvm, "MAX_POOL", 50)
    state, seen = svm.start(), svm.pool.tolist()
    for seed in range(3 * REFIT):
        before = len(state.pool)
        svm.learn(state, chunk(seed), 1.0)
        seen += state.pool[-1 if not seed else -4 :].tolist()
        assert len(state.pool) <= (50 if state.accepted % REFIT == 0 else before + 4)
        assert len(state.pool) <= 2 * 50
        assert state.pool.tolist() == seen[-len(state.pool) :]
        assert len(state.alphas) <= len(state.pool)
        assert kept(svm, moved(svm, state)) == kept(svm, state)


def test_as_trained(svm: OneClassSvm) -> None:
    """The window as trained is judged by the support vectors of training, as if nothing had been learned."""
    state, twin = svm.start(), svm.start()
    for seed in range(REFIT + 1):
        for tokens in chunk(seed):
            seen, plain = judge_one(svm, state, tokens), judge_one(svm, twin, tokens)
            assert svm.as_trained(state) == plain.views
            assert (seen.views == plain.views) == (seed < REFIT)
        before = svm.as_trained(state)
        svm.learn(state, chunk(seed), 1.0)
        assert svm.as_trained(state) == before


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"hidden": [0.0]},
        *({"window": window} for window in (None, 5, "abc", [5], [["x"]], [[None]], [[0]] * (WINDOW + 1))),
        *({"window": [[bucket]]} for bucket in (BUCKETS, -1, 10**400)),
    ],
)
def test_unfit_states_are_refused(svm: OneClassSvm, saved: dict[str, object]) -> None:
    """A saved state of another detector, or a damaged one, is an error that the scorer expects."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        svm.resume(saved)


LEARNED: dict[str, Callable[[Arrays], dict[str, Any]]] = {
    "narrow pool": lambda a: {"pool": a["pool"][:, 1:]},
    "signed pool": lambda a: {"pool": a["pool"].astype(np.int8)},
    "endless pool": lambda a: {"pool": np.repeat(a["pool"], 100, axis=0)},
    "more weights than windows": lambda a: {"pool": a["pool"][:1]},
    "weights of two dimensions": lambda a: {"alphas": a["alphas"][None]},
    "single precision": lambda a: {"alphas": a["alphas"].astype(np.float32)},
    **{
        f"offset {offset}": lambda _, offset=offset: {"offset": np.array(offset)}  # type: ignore[misc]
        for offset in ([], 0.5, [0.5], [[0.5], [1.0]], ["a", "b"], [inf, 1.0], [nan, 1.0], [0.5, nan])
    },
    "bucket": lambda a: {"before": a["before"] + np.int16(BUCKETS)},
    "bucket below": lambda a: {"before": a["before"] - np.int16(BUCKETS)},
    "flat chunk": lambda a: {"before": a["before"][0]},
    "wide chunk": lambda a: {"before": a["before"].astype(np.int64)},
}


@pytest.mark.parametrize("change", LEARNED.values(), ids=LEARNED.keys())
def test_unfit_learning_is_refused(svm: OneClassSvm, change: Callable[[Arrays], dict[str, Any]]) -> None:
    """What another detector learned, or is damaged, is an error that the scorer expects."""
    state = taught(svm, svm.start(), range(REFIT))
    sound = svm.learned(state)
    assert kept(svm, svm.resume(state.to_json(), sound)) == kept(svm, state)
    with pytest.raises((ValueError, KeyError, TypeError)):
        svm.resume(state.to_json(), sound | change(sound))
    for name in sound:
        with pytest.raises(KeyError):
            svm.resume(state.to_json(), {other: array for other, array in sound.items() if other != name})


def test_shares(svm: OneClassSvm) -> None:
    """A bucket's share is how many of the similar windows fill it: 1 where all do, 0 where none does."""
    everywhere = int(np.flatnonzero(svm.vectors.support.all(axis=0))[0])
    tokens = Tokens((1,), (everywhere, 1000))
    for admit in (True, False):
        assert judge_one(svm, svm.start(), tokens, admit=admit).shares == pytest.approx((1.0, 0.0))
    nothing = OneClassSvm(svm.vectors.support, np.zeros(11), 0.0, svm.window, svm.pool)
    assert judge_one(nothing, nothing.start(), tokens).shares == (0.0, 0.0)


def test_shares_do_not_depend_on_admission(svm: OneClassSvm) -> None:
    """An action that was not let in is explained as if it had been."""
    admitted, refused = svm.start(), svm.start()
    while len(admitted.window) >= WINDOW:  # else what leaves the window would differ
        admitted, refused = (WindowState(svm.vectors, svm.pool, list(s.window)[1:]) for s in (admitted, refused))
    tokens = Tokens((1,), (5, 900, 901))
    found, expected = judge_one(svm, refused, tokens, admit=False), judge_one(svm, admitted, tokens)
    assert found.shares == pytest.approx(expected.shares)


def test_what_is_missing(svm: OneClassSvm) -> None:
    """What the window lacks is what most of the similar windows hold and it does not."""
    everywhere = set(np.flatnonzero(svm.vectors.support.all(axis=0)).tolist())
    for admit in (True, False):
        state = svm.resume({"window": [[b for b in range(40) if b not in everywhere]]})
        missing = judge_one(svm, state, NOTHING, admit=admit).missing
        assert len(missing) == 3
        assert set(missing) <= everywhere
        assert judge_one(svm, svm.resume({"window": [list(range(40))]}), NOTHING, admit=admit).missing == ()


def test_what_an_action_brings_is_not_missing(svm: OneClassSvm) -> None:
    """Anywhere in a batch, what an action fills is missing no more, unless it was kept out."""
    everywhere = sorted(np.flatnonzero(svm.vectors.support.all(axis=0)).tolist())
    state = svm.resume({"window": [[b for b in range(40) if b not in everywhere[:3]]]})
    batch = [Tokens((1,), (bucket,)) for bucket in everywhere[:3]]
    found = verdicts(svm.judge(state, batch, [True, False, True]))
    assert [set(verdict.missing) for verdict in found] == [
        set(everywhere[1:3]),
        set(everywhere[1:3]),
        {everywhere[1]},
    ]


def test_arrays_make_the_same_model(svm: OneClassSvm) -> None:
    """A model rebuilt from its arrays scores and learns exactly the same."""
    again = OneClassSvm.from_arrays(svm.arrays())
    states = [taught(model, model.start(), range(REFIT)) for model in (svm, again)]
    assert kept(svm, states[0]) == kept(again, states[1])


CHANGES: dict[str, Callable[[Arrays], Arrays]] = {
    "narrow": lambda a: {"support": a["support"][:, 1:]},
    "flat": lambda a: {"support": a["support"][0]},
    "signed": lambda a: {"support": a["support"].astype(np.int8)},
    "weights": lambda a: {"weights": a["weights"][1:]},
    "weights of two dimensions": lambda a: {"weights": a["weights"][None]},
    "single precision": lambda a: {"weights": a["weights"].astype(np.float32)},
    "window": lambda a: {"window": a["window"][0]},
    "bucket": lambda a: {"window": a["window"] + np.int16(BUCKETS)},
    "wide window": lambda a: {"window": a["window"].astype(np.int64)},
    "narrow pool": lambda a: {"pool": a["pool"][:, 1:]},
    "unpacked pool": lambda a: {"pool": np.unpackbits(a["pool"], axis=1)},
    "endless pool": lambda a: {"pool": np.repeat(a["pool"], 100, axis=0)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_shapes_are_checked(svm: OneClassSvm, change: Callable[[Arrays], Arrays]) -> None:
    """Arrays that do not fit each other are refused at once, and so are those that are not there."""
    arrays = svm.arrays()
    with pytest.raises(ValueError, match=r"fit|types"):
        OneClassSvm.from_arrays(arrays | change(arrays))
    for name in arrays:
        with pytest.raises(KeyError):
            OneClassSvm.from_arrays({other: array for other, array in arrays.items() if other != name})


@pytest.mark.parametrize("count", [0, 3])
def test_a_short_training_starts_with_a_short_window(svm: OneClassSvm, count: int) -> None:
    """A model whose training ended with few actions, or none, starts with those."""
    short = OneClassSvm.from_arrays(svm.arrays() | {"window": svm.window[:count]})
    state = short.start()
    assert len(state.window) == count
    assert np.isfinite(judge_one(short, state, Tokens((1,), (5,))).views).all()
