"""Counts of a user: probabilities, and how the counts adapt and forget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import isfinite
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from anomaly.detectors.counts import LEAST_MEMORY, MAX_FRESH, PRIOR, Counts, CountState
from anomaly.detectors.interface import Arrays
from anomaly.tokens import Tokens

STARTS = np.array([1, 4, 9, 12], dtype=np.int32)
SIZE = 12
OWN = np.array([0.0, 600, 300, 0, 700, 90, 50, 10, 0, 30, 20, 10])
"""A kind, a column that every action has, and one that few have."""
SHARES = np.array([0.0, 0.5, 0.4, 0.1, 0.2, 0.3, 0.3, 0.1, 0.1, 0.2, 0.3, 0.5])
SELDOM = 60.0

ACTIONS = st.builds(
    lambda kind, often, seldom: Tokens((kind, often, *seldom), ()),
    st.integers(1, 3),
    st.integers(4, 8),
    st.lists(st.integers(9, 11), max_size=1),
)
MARKED = st.builds(
    lambda kind, token, mark: Tokens((kind, token), (), (0, mark)),
    st.integers(1, 3),
    st.integers(4, 8),
    st.integers(0, 5),
)
CHUNKS = st.lists(st.tuples(st.lists(ACTIONS, max_size=60), st.floats(0.0, 1.0)), max_size=8)


def counts() -> Counts:
    """Return the counts of 900 actions."""
    return Counts(OWN.copy(), SHARES.copy(), STARTS)


def probability(model: Counts, state: CountState, token: int, mark: int = 0) -> float:
    """Return the probability of a token."""
    return model.judge(state, (token,), (mark,))[0]


def learned(model: Counts, state: CountState, token: int, mark: int) -> float:
    """Return the weight of a value that training did not know."""
    return state.fresh.get((token, mark), 0.0) * float(state.scale[model._column[token]])


def column(model: Counts, state: CountState, number: int) -> list[float]:
    """Return the probabilities of all tokens of a column."""
    return [probability(model, state, token) for token in range(STARTS[number], STARTS[number + 1])]


def everything(model: Counts, state: CountState) -> list[float]:
    """Return the probability of every token, without a mark and with each of some."""
    return [probability(model, state, token, mark) for token in range(1, SIZE) for mark in range(7)]


def moved(model: Counts, state: CountState) -> Arrays:
    """Return the adapted counts after a file, as the store reads them."""
    found: Arrays = load(save({name: np.ascontiguousarray(a) for name, a in model.learned(state).items()}))
    return found


def test_judge_is_a_share_with_a_prior() -> None:
    """The probability of a token is its share of the user's actions and of PRIOR more by the prior."""
    model = counts()
    state = model.start()
    totals = np.repeat([900.0, 850.0, SELDOM], [3, 5, 3])
    expected = (OWN[1:] + PRIOR * SHARES[1:]) / (totals + PRIOR)
    assert [probability(model, state, token) for token in range(1, SIZE)] == pytest.approx(expected.tolist())
    assert model.probabilities()[1:] == pytest.approx(expected)
    assert [probability(model, state, token, 99) for token in range(1, SIZE)] == pytest.approx(expected.tolist())


def test_judge_actions_are_judged_token_by_token() -> None:
    """The probabilities of an action are those of its tokens, each with its mark."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8, 9), (), (0, 77, 5))] * 3, 1.0)
    for marks in ((0, 0, 0), (0, 77, 0), (0, 77, 5), (3, 78, 5)):
        keys = zip((2, 8, 9), marks, strict=True)
        assert model.judge(state, (2, 8, 9), marks) == [probability(model, state, *key) for key in keys]


@given(CHUNKS)
def test_learn_keeps_probabilities_and_totals(chunks: list[tuple[list[Tokens], float]]) -> None:
    """After any learning, a column's probabilities add up to 1, and its total is that of training.

    A column that training hardly saw grows, to LEAST_MEMORY at most.
    """
    model = counts()
    state = model.start()
    for chunk, weight in chunks:
        model.learn(state, chunk, weight)
        assert state.totals[:2].tolist() == pytest.approx([900.0, 850.0])
        assert SELDOM - 1e-9 <= state.totals[2] <= LEAST_MEMORY
        assert np.add.reduceat(state.own, STARTS[:-1]).tolist() == pytest.approx(state.totals.tolist())
        assert [sum(column(model, state, number)) for number in range(3)] == pytest.approx([1.0] * 3)


def test_learn_rare_column_grows_to_least_memory() -> None:
    """A column that training hardly saw grows to LEAST_MEMORY before it forgets as much as it learns."""
    model = counts()
    state = model.start()
    for times in range(1, 21):
        model.learn(state, [Tokens((1, 4, 9), ())] * 100, 1.0)
        assert state.totals[2] == pytest.approx(LEAST_MEMORY - (LEAST_MEMORY - SELDOM) * 0.8**times)


@given(CHUNKS, st.integers(4, 11), st.floats(0.01, 1.0))
def test_learn_raises_the_probability_of_a_value(
    chunks: list[tuple[list[Tokens], float]], token: int, weight: float
) -> None:
    """Learning a value raises its probability, lowers those of its column, and keeps those of other columns."""
    model = counts()
    state = model.start()
    for chunk, before in chunks:
        model.learn(state, chunk, before)
    number = int(np.searchsorted(STARTS, token, side="right")) - 1
    own, old = state.own.copy(), [column(model, state, n) for n in range(3)]
    model.learn(state, [Tokens((1, token), ())], weight)
    new = [column(model, state, n) for n in range(3)]
    assert new[3 - number] == old[3 - number]
    for place, (was, now) in enumerate(zip(old[number], new[number], strict=True), int(STARTS[number])):
        if place == token:
            assert now > was
        elif own[place] > 1e-6 or number == 2:
            assert now < was
        else:
            assert now <= was * (1 + 1e-12)


@given(st.floats(0.01, 0.98), st.integers(1, 60))
def test_learn_more_weight_makes_likelier(weight: float, times: int) -> None:
    """The probability grows with the weight that an action is learned with."""
    model, chunk = counts(), [Tokens((2, 7, 9), (), (0, 0, 0))] * times
    found = []
    for part in (0.0, weight, weight + 0.01, 1.0):
        state = model.start()
        model.learn(state, chunk, part)
        found.append([probability(model, state, token) for token in (2, 7, 9)])
    for low, lower, higher, high in zip(*found, strict=True):
        assert low < lower < higher < high


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_learn_without_weight_changes_nothing(weight: float) -> None:
    """Learning with weight 0 or less changes nothing."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8), (), (0, 5))], 0.5)
    before = {name: array.tobytes() for name, array in model.learned(state).items()}
    judged = everything(model, state)
    model.learn(state, [Tokens((2, 8), (), (0, 6)), Tokens((2, 4), (), (0, 0))], weight)
    assert {name: array.tobytes() for name, array in model.learned(state).items()} == before
    assert everything(model, state) == judged


def test_learn_new_value_is_known_by_its_mark() -> None:
    """A learned value that training did not know is likelier than other values of its form."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8), (), (0, 77))], 1.0)
    first, form = probability(model, state, 8, 77), probability(model, state, 8)
    assert form == pytest.approx(
        (1.0 + PRIOR * SHARES[8]) / (850 + PRIOR)
    )  # its first time also counts for its form
    assert first == pytest.approx(form + 1.0 / (850 + PRIOR))
    model.learn(state, [Tokens((1, 8), (), (0, 77))] * 20, 1.0)
    assert probability(model, state, 8, 77) > 5 * first
    assert probability(model, state, 8) < form
    assert probability(model, state, 8, 78) == probability(model, state, 8)  # another value of the form
    assert probability(model, state, 7, 77) == probability(model, state, 7)  # of another form


@given(st.lists(st.tuples(st.lists(ACTIONS | MARKED, max_size=60), st.floats(0, 1)), max_size=6))
def test_learn_new_value_is_likelier_than_one_never_seen(chunks: list[tuple[list[Tokens], float]]) -> None:
    """A learned value is likelier than one of its form that never came up, whatever else was learned."""
    model = counts()
    state = model.start()
    for chunk, weight in chunks:
        model.learn(state, chunk, weight)
    for token in range(4, 9):
        for mark in range(1, 6):
            known, unknown = (probability(model, state, token, m) for m in (mark, 99))
            assert known >= unknown
            assert learned(model, state, token, mark) < 1e-9 or known > unknown


def test_learn_forgets_a_value_that_does_not_come_back() -> None:
    """A learned value that does not come back loses weight to values that do."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8), (), (0, 77))] * 10, 1.0)
    found = [probability(model, state, 8, 77)]
    for _ in range(20):
        model.learn(state, [Tokens((1, 4), ())] * 100, 1.0)
        found.append(probability(model, state, 8, 77))
    assert found == sorted(found, reverse=True)
    assert learned(model, state, 8, 77) == pytest.approx(10 * (1 - 100 / 850) ** 20)


def test_learn_forgets_the_oldest_beyond_max_fresh() -> None:
    """Beyond MAX_FRESH new values, the one learned first has the probability of its form again."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8), (), (0, mark)) for mark in range(1, MAX_FRESH + 3)], 0.1)
    assert list(state.fresh) == [(8, mark) for mark in range(3, MAX_FRESH + 3)]
    assert probability(model, state, 8, 2) == probability(model, state, 8)
    assert probability(model, state, 8, 3) > probability(model, state, 8)
    assert np.array_equal(model.resume(moved(model, state)).own, state.own)


@given(
    st.lists(st.tuples(st.lists(ACTIONS | MARKED, max_size=30), st.floats(0, 1)), min_size=2, max_size=6),
    st.integers(0, 5),
)
def test_resume_continues_as_the_saved_state(chunks: list[tuple[list[Tokens], float]], cut: int) -> None:
    """Counts that were saved and resumed judge and learn exactly as those that were not."""
    model = counts()
    state = model.start()
    for number, (chunk, weight) in enumerate(chunks):
        if number == cut:
            again = model.resume(moved(model, state))
            break
        model.learn(state, chunk, weight)
    else:
        again = model.resume(moved(model, state))
    for chunk, weight in chunks[cut:]:
        assert everything(model, again) == everything(model, state)
        model.learn(state, chunk, weight)
        model.learn(again, chunk, weight)
    assert everything(model, again) == everything(model, state)
    assert list(again.fresh.items()) == list(state.fresh.items())


class Plain:
    """Plain implementation of the counts, which multiplies every number by itself."""

    def __init__(self) -> None:
        self.own: list[float] = OWN.tolist()
        self.fresh: dict[tuple[int, int], float] = {}
        self.spans = [range(start, stop) for start, stop in pairwise(STARTS.tolist())]
        self.totals = [sum(self.own[token] for token in span) for span in self.spans]
        self.begun = list(self.totals)

    def learn(self, chunk: list[Tokens], weight: float) -> None:
        """Forget as much as comes in, column by column, and count."""
        if weight <= 0:
            return
        for number, span in enumerate(self.spans):
            seen = weight * sum(token in span for tokens in chunk for token in tokens.ids)
            keep = max(1.0 - seen / max(self.begun[number], LEAST_MEMORY), 0.0)
            self.totals[number] = self.totals[number] * keep + seen
            for token in span:
                self.own[token] *= keep
            for key in self.fresh:
                if key[0] in span:
                    self.fresh[key] *= keep
        for tokens in chunk:
            for token, mark in zip(tokens.ids, tokens.marks or [0] * len(tokens.ids), strict=True):
                if mark and (token, mark) in self.fresh:
                    self.fresh[token, mark] += weight
                    continue
                if mark:
                    self.fresh[token, mark] = weight
                self.own[token] += weight

    def probability(self, token: int, mark: int) -> float:
        """Return the probability of a token, or of a value that training did not know."""
        total = next(t for t, span in zip(self.totals, self.spans, strict=True) if token in span) + PRIOR
        weight = self.own[token] + PRIOR * float(SHARES[token]) + self.fresh.get((token, mark), 0.0)
        return float(min(weight / total, 1.0))


def alike(model: Counts, state: CountState, plain: Plain) -> bool:
    """Return whether both give every token and value the same probability, and every value the same weight."""
    keys = [(token, mark) for token in range(1, SIZE) for mark in range(7)]
    found = [probability(model, state, *key) for key in keys]
    weights = [learned(model, state, *key) for key in plain.fresh]
    return (
        found == pytest.approx([plain.probability(*key) for key in keys], rel=1e-9)
        and weights == pytest.approx(list(plain.fresh.values()), rel=1e-6, abs=1e-200)
        and list(state.fresh) == list(plain.fresh)
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(ACTIONS | MARKED, max_size=60), st.floats(0, 1)), max_size=8), st.booleans())
def test_learn_matches_plain_counting(chunks: list[tuple[list[Tokens], float]], saving: bool) -> None:  # noqa: FBT001
    """The probabilities are those of plain counting, whatever is learned and whenever it is saved."""
    model, plain = counts(), Plain()
    state = model.start()
    for chunk, weight in chunks:
        model.learn(state, chunk, weight)
        plain.learn(chunk, weight)
        assert alike(model, state, plain)
        if saving:
            model.learned(state)
            assert state.scale.tolist() == [1.0] * 3
            assert alike(model, state, plain)


def test_learn_for_years_stays_exact() -> None:
    """Scales that fall below any float are multiplied out, and the probabilities stay those of plain counting."""
    model, plain, draw = counts(), Plain(), Random(3)  # noqa: S311 - sample data
    state, low, multiplied = model.start(), 1.0, 0
    known = [[Tokens((1, 4), ())] * 240, [Tokens((2, 7, 9), ())] * 240]
    for number in range(6000):
        chunk = known[number % 2]
        if number % 50 == 49:  # now and then new values, some of them again
            chunk = [Tokens((3, token), (), (0, draw.randrange(1, 7))) for token in (8, 8, 4)]
        model.learn(state, chunk, 0.9)
        plain.learn(chunk, 0.9)
        before, low = low, float(state.scale.min())
        multiplied += low > before
        if low > before or number % 50 == 49:
            assert alike(model, state, plain)
            assert all(isfinite(weight) for weight in state.fresh.values())
    assert multiplied >= 6
    assert alike(model, state, plain)
    assert everything(model, model.resume(moved(model, state))) == everything(model, state)


@pytest.mark.parametrize("count", [499, 500, 849, 850, 900, 2000])
def test_learn_chunk_of_the_whole_memory_stays_finite(count: int) -> None:
    """A chunk as large as the memory, or larger, replaces all counts, and every number stays finite."""
    model, plain = counts(), Plain()
    state = model.start()
    for chunk in ([Tokens((1, 8), (), (0, 5))], [Tokens((1, 4, 9), ())] * count, [Tokens((1, 8), (), (0, 6))]):
        model.learn(state, chunk, 1.0)
        plain.learn(chunk, 1.0)
        assert alike(model, state, plain)
        assert np.isfinite(state.probability).all()


def test_start_gives_independent_states() -> None:
    """What one state learns changes neither another state, nor the counts of training, nor the saved arrays."""
    model = counts()
    one, two = model.start(), model.start()
    before, saved = everything(model, two), model.learned(two)
    three = model.resume(saved)
    model.learn(one, [Tokens((1, 8), (), (0, 5))], 1.0)
    model.learn(three, [Tokens((1, 8), (), (0, 5))], 1.0)
    assert everything(model, one) != before
    assert everything(model, two) == everything(model, model.start()) == before
    assert model.own.tolist() == OWN.tolist()
    assert saved["own"].tolist() == OWN.tolist()


LEARNED: dict[str, Callable[[Arrays], Arrays]] = {
    "own of another model": lambda a: {"own": a["own"][:-1]},
    "totals of another model": lambda a: {"totals": a["totals"][:-1]},
    "a weight missing": lambda a: {"fresh_weight": a["fresh_weight"][:-1]},
    "a weight for all": lambda _: {"fresh_weight": np.array(1.0)},
    "no pairs": lambda a: {"fresh": a["fresh"][:, :1]},
    "single precision": lambda a: {"own": a["own"].astype(np.float32)},
    "whole numbers": lambda a: {"totals": a["totals"].astype(np.int64)},
    "a negative count": lambda a: {"own": a["own"] - 1.0},
    "a negative weight": lambda a: {"fresh_weight": -a["fresh_weight"]},
    "no number": lambda a: {"own": a["own"] * np.nan},
    "an endless total": lambda a: {"totals": a["totals"] * np.inf},
    "an endless weight": lambda a: {"fresh_weight": a["fresh_weight"] * np.inf},
    "half a token": lambda a: {"fresh": a["fresh"].astype(np.float64)},
    "padding": lambda a: {"fresh": a["fresh"] * [[0], [1]]},
    "a token beyond": lambda a: {"fresh": a["fresh"] + [[SIZE], [0]]},
    "too many": lambda a: {
        "fresh": np.repeat(a["fresh"], MAX_FRESH, axis=0),
        "fresh_weight": np.repeat(a["fresh_weight"], MAX_FRESH),
    },
}


@pytest.mark.parametrize("change", LEARNED.values(), ids=LEARNED.keys())
def test_resume_invalid_arrays_raise(change: Callable[[Arrays], Arrays]) -> None:
    """Adapted counts that are damaged or belong to another model raise one of the documented errors."""
    model = counts()
    state = model.start()
    model.learn(state, [Tokens((1, 8), (), (0, 5)), Tokens((1, 7), (), (0, 5))], 1.0)
    sound = model.learned(state)
    assert everything(model, model.resume(sound)) == everything(model, state)
    with pytest.raises((ValueError, KeyError, TypeError)):
        model.resume(sound | change(sound))
    for name in sound:
        with pytest.raises(KeyError):
            model.resume({other: array for other, array in sound.items() if other != name})


Floats = NDArray[np.float64]
MODELS: dict[str, tuple[Floats, Floats, NDArray[np.int32]]] = {
    "lengths differ": (OWN[:-1], SHARES, STARTS),
    "a table": (OWN[None], SHARES[None], STARTS),
    "columns from 0": (OWN, SHARES, np.array([0, 4, 12], dtype=np.int32)),
    "columns to 11": (OWN, SHARES, np.array([1, 4, 11], dtype=np.int32)),
    "a negative count": (OWN - 1, SHARES, STARTS),
    "no number": (OWN * np.nan, SHARES, STARTS),
    "an endless prior": (OWN, np.full(SIZE, np.inf), STARTS),
    "single precision": (OWN.astype(np.float32), SHARES, STARTS),
    "columns out of order": (OWN, SHARES, np.array([1, 9, 4, 12], dtype=np.int32)),
    "a token without a prior": (OWN, np.where(np.arange(SIZE) == 7, 0.0, SHARES), STARTS),
}


@pytest.mark.parametrize("arrays", MODELS.values(), ids=MODELS.keys())
def test_counts_invalid_arrays_raise(arrays: tuple[Floats, Floats, NDArray[np.int32]]) -> None:
    """Counts that are invalid or do not cover their vocabulary are refused."""
    assert counts().totals.tolist() == [900.0, 850.0, SELDOM]
    with pytest.raises(ValueError, match=r"cover|prior|order|float64"):
        Counts(*arrays)
