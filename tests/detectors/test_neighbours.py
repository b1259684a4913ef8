from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import cache
from itertools import pairwise
from math import log1p, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.detectors import neighbours as unit
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.neighbours import KNOWN, MAX_WINDOWS, NEAREST, STRIDE, Neighbours, NeighbourState
from anomaly.features.levels import Features, Level
from tests.detectors.drawn import Damage, actions, damaged, damages, feature


@cache
def model() -> Neighbours:
    """Return the windows of a user; not to be changed."""
    return Neighbours.fit(actions(620, 1))


def taught(near: Neighbours, *chunks: list[Features], weight: float = 1.0) -> NeighbourState:
    """Return a state that learned some chunks."""
    state = near.start()
    for chunk in chunks:
        near.learn(state, chunk, weight)
    return state


def saved(near: Neighbours, state: NeighbourState) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return all that a state has learned, to the bit."""
    return {name: (str(one.dtype), one.shape, one.tobytes()) for name, one in near.learned(state).items()}


def moved(near: Neighbours, state: NeighbourState) -> NeighbourState:
    """Return a state that went through a file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in near.learned(state).items()}
    return near.resume(load(save(arrays)))


def counted(window: list[Features], known: set[int]) -> dict[int, float]:
    """Return a window as the documentation has it: each known feature, and by level (below 0) all others."""
    counts: Counter[int] = Counter()
    for one in (one for features in window for one in features if one & 7 != Level.ROW):
        counts[one if one in known else -1 - (one & 7)] += 1
    return {name: round(32.0 * log1p(count)) for name, count in counts.items()}


def cosine(one: dict[int, float], other: dict[int, float]) -> float:
    """Return the cosine of two windows."""
    product = sum(value * other.get(name, 0.0) for name, value in one.items())
    lengths = [sqrt(sum(value**2 for value in vector.values())) for vector in (one, other)]
    return product / (lengths[0] * lengths[1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 400), st.sampled_from([0, 5, 1000]))
def test_distance_is_the_mean_of_the_nearest_windows(seed: int, count: int, first: int) -> None:
    """The distance is one less the mean cosine with the three nearest learned windows, of all that are learned."""
    history, window = actions(count, seed), actions(WINDOW, seed + 1, first=first)
    near = Neighbours.fit(history)
    often = Counter(one for features in history for one in features if one & 7 != Level.ROW)
    known = {one for one, times in often.items() if times >= KNOWN}
    assert near.known.tolist() == sorted(known)
    ends = range(count, min(count, WINDOW) - 1, -STRIDE)
    cosines = [cosine(counted(window, known), counted(history[max(end - WINDOW, 0) : end], known)) for end in ends]
    expected = 1.0 - float(np.mean(sorted(cosines)[-NEAREST:]))
    assert near.table.shape[1] == len(ends)
    assert near.distance(near.start(), window) == pytest.approx(expected, abs=1e-9)


def test_distance_learned_window_is_nearer_than_a_foreign_one() -> None:
    """A window of habits is near, one of other programs far, and an empty one is as far as can be."""
    near = model()
    state = near.start()
    own, foreign, none = (near.distance(state, one) for one in (actions(WINDOW, 2), actions(WINDOW, 2, 500), []))
    assert 0.0 <= own < 0.2 < foreign <= none == 1.0


def test_distance_which_rare_feature_there_is_does_not_count() -> None:
    """Two features that are not well known count the same at one level, and whole rows not at all."""
    near = Neighbours.fit(actions(620, 1, width=300))
    state, window = near.start(), actions(WINDOW - 1, 2)
    one, other, elsewhere = (
        near.distance(state, [*window, (feature(level, number), feature(Level.ROW, number))])
        for level, number in ((Level.ARGUMENT, 7001), (Level.ARGUMENT, 7002), (Level.SHAPE, 7001))
    )
    assert one == other != elsewhere


@pytest.mark.parametrize("count", [0, 1, 99, 100, 124, 125, 20 * STRIDE + 100, 5000])
def test_fit_windows_end_with_the_history_and_are_bounded(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of any length gives a window at least and no more than are kept; the last ends with it."""
    monkeypatch.setattr(unit, "MAX_WINDOWS", 20)
    history = actions(count, 3)
    near = Neighbours.fit(history)
    assert 1 <= near.table.shape[1] <= 20
    assert near.table[:, -1].tolist() == near.row(history[-WINDOW:]).tolist()
    if count > 20 * STRIDE + 100:  # at a wider stride: the beginning is there, too
        assert near.table.shape[1] > 10
        assert near.distance(near.start(), history[:WINDOW]) < 0.2


def test_fit_known_features_are_the_most_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more features than can be known those are that were seen most."""
    monkeypatch.setattr(unit, "MAX_KNOWN", 3)
    history = [(feature(Level.PROGRAM, number),) for number in range(9) for _ in range(5 + number)]
    assert set(Neighbours.fit(history).known.tolist()) == {feature(Level.PROGRAM, number) for number in (6, 7, 8)}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 450), st.sets(st.integers(1, 450), max_size=9), st.booleans())
def test_learn_chunks_do_not_matter(count: int, cuts: set[int], restarts: bool) -> None:  # noqa: FBT001 - drawn
    """Each 25 learned actions give a window of the last hundred, however they are cut, through files or not."""
    near, more = model(), actions(count, 8, first=40)
    state = near.start()
    for begin, end in pairwise(sorted({0, count, *(cut for cut in cuts if cut < count)})):
        near.learn(state, more[begin:end], 1.0)
        state = moved(near, state) if restarts else state
    rows = [near.row(more[end - WINDOW : end]) for end in range(WINDOW, count + 1, STRIDE)]
    assert state.table.T.tolist() == [*near.table.T.tolist(), *(row.tolist() for row in rows)]
    assert near.distance(state, more[-WINDOW:]) == near.distance(moved(near, state), more[-WINDOW:])


def test_learn_windows_are_near_from_then_on() -> None:
    """New habits are far before they are learned, and near afterwards; the trained model stays as it is."""
    near, new = model(), actions(4 * WINDOW, 9, first=60)
    before = near.table.tobytes()
    state = taught(near, new[: 3 * WINDOW])
    trained, learned = (near.distance(one, new[-WINDOW:]) for one in (near.start(), state))
    assert learned < 0.1
    assert trained > 0.2
    assert near.table.tobytes() == before


@pytest.mark.parametrize(("weight", "windows"), [(0.0, 0), (0.5, 0), (0.51, 1), (1.0, 1)])
def test_learn_chunk_likelier_anothers_is_left_out(weight: float, windows: int) -> None:
    """A chunk that is as likely somebody else's as the user's gives no window."""
    near = model()
    state = taught(near, actions(WINDOW, 8), weight=weight)
    assert state.table.shape[1] == near.table.shape[1] + windows


def test_learn_after_a_chunk_that_was_left_out_begins_anew() -> None:
    """No window holds actions from before and after a chunk that was not learned."""
    near, more = model(), actions(3 * WINDOW, 8)
    state = taught(near, more[: WINDOW + 10])
    near.learn(state, more[WINDOW + 10 : 2 * WINDOW], 0.2)
    near.learn(state, more[2 * WINDOW : -1], 1.0)
    assert state.table.shape[1] == near.table.shape[1] + 1
    near.learn(state, more[-1:], 1.0)
    assert state.table[:, -1].tolist() == near.row(more[-WINDOW:]).tolist()


def test_learn_oldest_windows_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more windows are kept than can be; the oldest go first, and the figures are those of what is left."""
    near = model()
    monkeypatch.setattr(unit, "MAX_WINDOWS", near.table.shape[1] + 2)
    state = taught(near, *(actions(WINDOW, seed, first=40) for seed in range(9)))
    assert state.table.shape[1] == near.table.shape[1] + 2
    assert state.lengths.tolist() == moved(near, state).lengths.tolist()
    assert saved(near, moved(near, state)) == saved(near, state)
    assert len(state.waiting) == WINDOW


@pytest.mark.parametrize("cut", [0, 1, 24, 25, 99, 100, 101, 137, 250])
def test_resume_at_any_point_continues_bit_for_bit(cut: int) -> None:
    """A state that went through a file learns what follows as one that did not."""
    near, more = model(), actions(400, 8, first=40)
    state = taught(near, more[:cut])
    again = moved(near, state)
    assert saved(near, again) == saved(near, state)
    for one in (state, again):
        near.learn(one, more[cut:], 1.0)
    assert saved(near, again) == saved(near, state)
    assert near.distance(again, more[-WINDOW:]) == near.distance(state, more[-WINDOW:])


def test_from_arrays_of_arrays_is_the_same_model() -> None:
    """A model that went through a file gives the same distances."""
    near = model()
    again = Neighbours.from_arrays(load(save(near.arrays())))
    for window in (actions(WINDOW, 5), actions(30, 6, first=9)):
        assert again.distance(again.start(), window) == near.distance(near.start(), window)


def learned_arrays() -> Arrays:
    """Return what a state has learned, with actions that wait."""
    return model().learned(taught(model(), actions(WINDOW + 10, 8)))


@pytest.mark.parametrize(("what", "damage"), damages(model().arrays()))
def test_from_arrays_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """Arrays are refused when they are read, or distances are numbers all the same."""
    del what
    with suppress(ValueError, KeyError):
        near = Neighbours.from_arrays(damaged(model().arrays(), damage))
        assert 0.0 <= near.distance(near.start(), actions(WINDOW, 2)) <= 1.0 + 1e-9


@pytest.mark.parametrize(("what", "damage"), damages(learned_arrays()))
def test_resume_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """What was learned is refused when it is read, or is gone on from."""
    del what
    near = model()
    with suppress(ValueError, KeyError):
        state = near.resume(damaged(learned_arrays(), damage))
        near.learn(state, actions(WINDOW, 2), 1.0)
        assert 0.0 <= near.distance(state, actions(WINDOW, 2)) <= 1.0 + 1e-9


def hostile() -> dict[str, Damage]:
    """Return changes of what was learned that are none of the usual ones."""
    table = model().table
    return {
        "no window": {"table": table[:, :0]},
        "too many windows": {"table": np.repeat(table, MAX_WINDOWS, axis=1)},
        "other features": {"table": table[:-1]},
        "since of several": {"since": np.zeros(2, dtype=np.int64)},
        "since of none": {"since": np.zeros(0, dtype=np.int64)},
        "since beyond a stride": {"since": np.array([STRIDE])},
        "since that is no whole number": {"since": np.array([np.inf])},
        "waiting for too long": {
            "waiting": np.arange(WINDOW + 1, dtype=np.uint64),
            "sizes": np.ones(WINDOW + 1, np.int64),
        },
        "sizes that overflow": {"sizes": np.full(4, 2**62)},
    }


@pytest.mark.parametrize("damage", hostile().values(), ids=hostile().keys())
def test_resume_what_cannot_have_been_learned_raises_value_error(damage: Damage) -> None:
    """What no learning could have left is refused, so that no later distance fails."""
    model().resume(learned_arrays())
    with pytest.raises(ValueError, match=r"learned|features|invalid|add up|number"):
        model().resume(damaged(learned_arrays(), damage))


@pytest.mark.parametrize("name", ["known", "table"])
def test_from_arrays_what_cannot_have_been_trained_raises_value_error(name: str) -> None:
    """A model without windows, with features out of order, or of other features than its table is refused."""
    arrays = model().arrays()
    wrong = arrays[name][::-1] if name == "known" else arrays[name][:, :0]
    with pytest.raises(ValueError, match=r"order|window"):
        Neighbours.from_arrays({**arrays, name: wrong})
    with pytest.raises(ValueError, match="shape"):
        Neighbours.from_arrays({**arrays, name: arrays[name][:-1]})
