from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.calibration import Tail
from anomaly.detectors.counts import Counts
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.tokens import Tokens
from tests.detectors.networks import Judged, drawn_network, judge_all, judge_one

UNITS = 5
STARTS = np.array([1, 4, 9, 12], dtype=np.int32)
"""A kind (tokens 1 to 3) and two columns (4 to 8, 9 to 11)."""
SIZE = 12


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Return the arrays of a model with 5 units and a window of 40 actions."""
    draw = np.random.default_rng(4)
    own, prior = np.zeros(SIZE), np.zeros(SIZE)
    for start, stop in pairwise(STARTS.tolist()):
        own[start:stop] = draw.integers(0, 400, stop - start)
        prior[start:stop] = draw.dirichlet([2.0] * (stop - start))
    tail = Tail(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.5, 0.05]), scale=2.0, shape=0.1).to_array()
    window = [[*tokens.ids, 0, 0][:3] for tokens in sequence(40, 6)]
    hidden, cell = draw.normal(size=(2, UNITS)).astype(np.float32)
    lstm = Lstm(
        drawn_network(draw, UNITS, STARTS),
        counts=Counts(own, prior, STARTS),
        rarity=np.array([tail, tail, tail * [[2.0], [1.0]]]),
        hidden=hidden,
        cell=cell,
        recent=draw.uniform(0, 30, 40),
        window=np.array(window, dtype=np.int32),
    )
    return lstm.arrays()


@pytest.fixture(scope="module")
def lstm(arrays: Arrays) -> Lstm:
    """Return that model."""
    return Lstm.from_arrays(arrays)


def sequence(count: int, seed: int = 1) -> list[Tokens]:
    """Return random actions: a kind, and none, one or both of the columns; some values have marks."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = [int(draw.integers(1, 4))]
        ids += [int(draw.integers(4, 9))] if draw.random() < 0.7 else []
        ids += [int(draw.integers(9, 12))] if draw.random() < 0.7 else []
        marks = [int(draw.integers(1, 4)) if token in (1, 4, 9) else 0 for token in ids]
        found.append(Tokens(tuple(ids), (), tuple(marks)))
    return found


def run(lstm: Lstm, state: LstmState, actions: list[Tokens], *, learn: float = 0.0) -> list[Judged]:
    """Score actions. With ``learn`` as a weight, learn each fifty before the next."""
    found = []
    for number, tokens in enumerate(actions):
        if learn and number and number % 50 == 0:
            lstm.learn(state, actions[number - 50 : number], learn)
        found.append(judge_one(lstm, state, tokens))
    return found


def moved(lstm: Lstm, state: LstmState) -> LstmState:
    """Return a state after a checkpoint, with its counts from a file."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in lstm.learned(state).items()}))
    return lstm.resume(json.loads(json.dumps(state.to_json())), arrays)


def flat(found: list[Judged]) -> list[float]:
    """Return all figures in a row."""
    return [figure for each in found for figure in (each.surprise, each.rarity, *each.shares)]


def kept(lstm: Lstm, state: LstmState) -> tuple[object, ...]:
    """Return all that a state carries along."""
    return state.to_json(), {name: array.tolist() for name, array in lstm.learned(state).items()}


def mean_rarity(state: LstmState) -> float:
    """Return the mean rarity of the window, computed from its actions."""
    return float(np.mean([entry.rarity for entry in state.entries]))


def test_start_window_is_that_of_training(lstm: Lstm, arrays: Arrays) -> None:
    """A new state has the window, the cell and the counts of training."""
    state = lstm.start()
    for entry, rarity, ids in zip(state.entries, arrays["recent"], arrays["window"].tolist(), strict=True):
        assert entry.rarity == rarity
        assert entry.ids == tuple(token for token in ids if token)
        assert entry.marks == (0,) * len(entry.ids)
    assert state.rarity() == pytest.approx(arrays["recent"].mean())
    assert state.hidden.tolist() == arrays["hidden"].tolist()
    assert state.cell.tolist() == arrays["cell"].tolist()
    assert lstm.learned(state)["own"].tolist() == arrays["own"].tolist()


def test_judge_matches_the_textbook(lstm: Lstm, arrays: Arrays) -> None:
    """The surprise is the bits of a softmax mixed with counts, and the rarity its rank among its kind."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    hidden, cell, state = wide["hidden"], wide["cell"], lstm.start()
    for tokens in sequence(150):
        bits = 0.0
        counted = lstm.counts.judge(state.counts, tokens.ids, tokens.marks)
        for token, count in zip(tokens.ids, counted, strict=True):
            head = int(np.searchsorted(STARTS, token, side="right")) - 1
            start, stop = STARTS[head], STARTS[head + 1]
            powers = np.exp(wide["output"][start:stop] @ hidden + wide["output_bias"][start:stop])
            bits -= log2((1 - MIX) * powers[token - start] / powers.sum() + MIX * count)
        gates = hidden @ wide["recurrent"] + wide["bias"] + sum(wide["kernel"][token] for token in tokens.ids)
        let_in, keep, _, let_out = np.split(1.0 / (1.0 + np.exp(-gates)), 4)
        cell = keep * cell + let_in * np.tanh(np.split(gates, 4)[2])
        hidden = let_out * np.tanh(cell)
        predicted_from = state.hidden.tolist()
        judged, entry = judge_one(lstm, state, tokens), state.entries[-1]
        assert list(judged.before) == predicted_from != state.hidden.tolist()
        assert judged.surprise == pytest.approx(bits, abs=1e-3)
        assert judged.surprise == pytest.approx(-sum(map(log2, judged.shares)))
        assert len(judged.shares) == len(tokens.ids)
        assert all(0 < share <= 1 for share in judged.shares)
        assert entry.rarity == Tail.from_array(arrays["rarity"][tokens.ids[0] - 1]).score(judged.surprise)


def test_judge_confident_network_costs_no_more_than_the_counts(lstm: Lstm, arrays: Arrays) -> None:
    """A value that the network excludes still has the share of the counts."""
    sure = Lstm.from_arrays(arrays | {"output_bias": np.where(np.arange(SIZE) == 4, 200, 0).astype(np.float32)})
    judged = judge_one(sure, lstm.start(), Tokens((1, 7), ()))
    assert judged.shares[1] == pytest.approx(MIX * lstm.counts.probabilities()[7])


def test_judge_share_of_one_leaves_the_network_out(lstm: Lstm, arrays: Arrays) -> None:
    """With all the weight on the counts, the probabilities are theirs."""
    alone = Lstm.from_arrays(arrays | {"share": np.array([1.0])})
    state = alone.start()
    for tokens, judged in zip(sequence(50), run(alone, state, sequence(50)), strict=True):
        assert list(judged.shares) == lstm.counts.judge(state.counts, tokens.ids, tokens.marks)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.sampled_from([0.0, 0.3, 1.0]))
def test_window_rarity_is_the_mean_of_its_actions(lstm: Lstm, seed: int, count: int, weight: float) -> None:
    """The window holds the last actions, and its rarity is their mean, whatever was learned."""
    state = lstm.start()
    judged = run(lstm, state, sequence(count, seed), learn=weight)[-1]
    assert len(state.entries) == min(WINDOW, 40 + count)
    last = [(tokens.ids, tokens.marks) for tokens in sequence(count, seed)][-WINDOW:]
    assert [(entry.ids, entry.marks) for entry in state.entries][-len(last) :] == last
    assert judged.rarity == state.rarity() == pytest.approx(mean_rarity(state), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 150), max_size=6), st.lists(st.booleans(), min_size=1))
def test_judge_batches_change_no_result(lstm: Lstm, seed: int, cuts: list[int], admits: list[bool]) -> None:
    """Actions in any batches have the evidence, and leave the state, that they have one by one."""
    actions = sequence(150, seed)
    admit = (admits * 150)[:150]
    one, many = lstm.start(), lstm.start()
    single = [judge_one(lstm, one, *pair[:1], admit=pair[1]) for pair in zip(actions, admit, strict=True)]
    found: list[Judged] = []
    for begin, end in pairwise(sorted({0, 150, *cuts})):
        found += judge_all(lstm, many, actions[begin:end], admit[begin:end])
    assert found == single
    assert kept(lstm, many) == kept(lstm, one)


def test_start_twice_gives_independent_states(lstm: Lstm) -> None:
    """What one state scores and learns changes neither another state nor the model."""
    mine, two = lstm.start(), lstm.start()
    first = run(lstm, mine, sequence(120), learn=1.0)
    assert run(lstm, two, sequence(120), learn=1.0) == first
    assert run(lstm, lstm.start(), sequence(1)) == first[:1]


@pytest.mark.parametrize("before", [0, 1, 99, 150])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_resume_continues_as_the_saved_state(lstm: Lstm, before: int, weight: float) -> None:
    """A state that was saved scores and learns what follows as one that was not."""
    state = lstm.start()
    run(lstm, state, sequence(before), learn=weight)
    again = moved(lstm, state)
    assert kept(lstm, again) == kept(lstm, state)
    assert lstm.as_trained(again) == lstm.as_trained(state)
    found, expected = (run(lstm, s, sequence(150, 2), learn=weight) for s in (again, state))
    assert flat(found) == pytest.approx(flat(expected), abs=1e-9)


def test_resume_without_adapted_counts_uses_those_of_training(lstm: Lstm) -> None:
    """Without adapted counts, a saved state keeps its window and has the counts of training."""
    state = lstm.start()
    run(lstm, state, sequence(150), learn=1.0)
    again = lstm.resume(state.to_json())
    assert again.to_json() == state.to_json()
    assert kept(lstm, again)[1] == kept(lstm, lstm.start())[1] != kept(lstm, state)[1]


def test_judge_not_admitted_leaves_the_state_unchanged(lstm: Lstm) -> None:
    """An action that is not admitted has the surprise it would have, and changes nothing in the state."""
    state, twin = lstm.start(), lstm.start()
    for number, tokens in enumerate(sequence(120)):
        if number % 3 == 0:
            before = kept(lstm, state)
            considered = judge_one(lstm, state, sequence(1, 500 + number)[0], admit=False)
            assert kept(lstm, state) == before
            assert considered.rarity == state.rarity()
            again = lstm.resume(json.loads(json.dumps(state.to_json())))
            admitted = judge_one(lstm, again, sequence(1, 500 + number)[0])
            assert considered._replace(rarity=0.0) == admitted._replace(rarity=0.0)
        assert judge_one(lstm, state, tokens) == judge_one(lstm, twin, tokens)


def test_as_trained_ignores_what_was_learned(lstm: Lstm) -> None:
    """The window's rarity as trained is that of a state that never learned."""
    state, twin = lstm.start(), lstm.start()
    moves = 0.0
    for number, tokens in enumerate(sequence(260)):
        seen, plain = judge_one(lstm, state, tokens), judge_one(lstm, twin, tokens)
        if number < 50:
            assert lstm.as_trained(state) == pytest.approx(seen.rarity, abs=1e-9)
        if number % 50 == 49:
            before = lstm.as_trained(state)
            lstm.learn(state, sequence(260)[number - 49 : number + 1], 1.0)
            assert lstm.as_trained(state) == before == pytest.approx(plain.rarity, abs=1e-9)
            moves = max(moves, abs(seen.rarity - plain.rarity))
    assert moves > 0.01


def test_as_trained_empty_window_is_zero(lstm: Lstm) -> None:
    """An empty window has no rarity, by the counts of training and by the adapted ones."""
    state = lstm.resume(saved({"entries": []}))
    assert lstm.as_trained(state) == state.rarity() == 0.0


def test_learn_without_cache_changes_nothing(arrays: Arrays) -> None:
    """Counts that do not adapt stay those of training."""
    lstm = Lstm.from_arrays(arrays | {"cache": np.array([False])})
    state, twin = lstm.start(), lstm.start()
    assert run(lstm, state, sequence(150), learn=1.0) == run(lstm, twin, sequence(150))
    assert kept(lstm, state) == kept(lstm, twin)


HIDDEN = [0.0] * UNITS
ENTRY = {"rarity": 1.0, "tokens": [[1, 0], [4, 9]], "network": [0.5, 0.5]}


def saved(state: Mapping[str, object] | None = None, **entry: object) -> dict[str, object]:
    """Return a saved state that differs from a valid one, by itself or in its only entry."""
    return {"hidden": HIDDEN, "cell": HIDDEN, "entries": [list((ENTRY | entry).values())], **(state or {})}


@pytest.mark.parametrize(
    "invalid",
    [
        {},
        {"hidden": HIDDEN, "cell": HIDDEN},
        saved({"cell": HIDDEN[1:]}),
        *(saved({"hidden": hidden}) for hidden in ([HIDDEN], None, "abcde", [10**400] * UNITS, [1e39] * UNITS)),
        *(saved({"entries": entries}) for entries in (None, ["abcde"], [[1.0]], [5])),
        *(saved(rarity=rarity) for rarity in ("x", None, 10**400, float("nan"), float("inf"))),
        saved(tokens=[], network=[]),
        *(saved(tokens=[[1, 0], [token, 0]]) for token in (0, -1, SIZE, "x", None)),
        *(saved(tokens=tokens) for tokens in ([[4, 0], [1, 0]], [[1], [4]], [1, 4], None)),
        *(saved(network=network) for network in ([0.5], [None, 0.1], 0.5, [0.5, 1.5], [-0.5, 0.5])),
        saved(network=[float("nan"), 0.5]),
        saved(more=1.0),
    ],
)
def test_resume_invalid_state_raises(lstm: Lstm, invalid: dict[str, object]) -> None:
    """A saved state that is damaged or belongs to another network raises one of the documented errors."""
    assert len(lstm.resume(saved()).entries) == 1
    with pytest.raises((ValueError, KeyError, TypeError)):
        lstm.resume(invalid)


def test_resume_invalid_counts_raises(lstm: Lstm) -> None:
    """Adapted counts of another model raise one of the documented errors."""
    learned = lstm.learned(lstm.start())
    for invalid in ({}, learned | {"own": learned["own"][1:]}, learned | {"totals": learned["own"]}):
        with pytest.raises((ValueError, KeyError)):
            lstm.resume(saved(), invalid)


CHANGES: dict[str, Callable[[Arrays], Arrays]] = {
    **{
        name: lambda a, name=name: {name: a[name][:-1]}  # type: ignore[misc]
        for name in (
            *("kernel", "recurrent", "bias", "output", "output_bias", "hidden", "cell", "rarity"),
            *("own", "prior", "window", "recent", "share"),
        )
    },
    "wide kernel": lambda a: {"kernel": np.hstack([a["kernel"], a["kernel"]])},
    "columns from 0": lambda _: {"starts": np.array([0, 4, 9, 12], dtype=np.int32)},
    "columns to 11": lambda _: {"starts": np.array([1, 4, 9, 11], dtype=np.int32)},
    "an empty column": lambda _: {"starts": np.array([1, 4, 4, 12], dtype=np.int32)},
    "columns back and forth": lambda _: {"starts": np.array([1, 4, 9, 3, 12], dtype=np.int32)},
    "rarity of another form": lambda a: {"rarity": a["rarity"][:, 0]},
    "a flat window": lambda a: {"window": a["window"][:, 0]},
    "a window beyond": lambda a: {"window": a["window"] + np.int32(SIZE)},
    "a window of nothing": lambda a: {"window": a["window"] - np.int32(1)},
    "a window of int64": lambda a: {"window": a["window"].astype(np.int64)},
    "a weight above one": lambda _: {"share": np.array([1.5])},
    "a weight that is not a number": lambda _: {"share": np.array([np.nan])},
    "two weights": lambda _: {"share": np.array([0.2, 0.8])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_from_arrays_invalid_arrays_raise(arrays: Arrays, change: Callable[[Arrays], Arrays]) -> None:
    """Arrays that do not belong together are refused."""
    with pytest.raises(ValueError, match=r"has shape|columns|kinds|distribution|counts|window|unpack"):
        Lstm.from_arrays(arrays | change(arrays))


def test_from_arrays_restores_the_model(lstm: Lstm, arrays: Arrays) -> None:
    """A model returns the arrays it was made from, and needs each of them."""
    assert {n: a.tobytes() for n, a in lstm.arrays().items()} == {n: a.tobytes() for n, a in arrays.items()}
    for name in arrays:
        with pytest.raises(KeyError):
            Lstm.from_arrays({other: array for other, array in arrays.items() if other != name})
