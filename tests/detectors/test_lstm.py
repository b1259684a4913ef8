from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.calibration import Tail
from anomaly.detectors.counts import Counts
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.lstm import FOREIGN_MIX, MIX, Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.tokens import Tokens
from tests.conftest import Verdict, drawn_network, judge_one

UNITS = 5
STARTS = np.array([1, 4, 9, 12], dtype=np.int32)
SIZE = 12


def made(*, others: bool = True) -> Arrays:
    """Make a network of 5 units over a kind (tokens 1 to 3) and two columns (4 to 8, 9 to 11), and its counts."""
    draw = np.random.default_rng(4)

    own, prior = np.zeros(SIZE), np.zeros(SIZE)
    for start, stop in ((1, 4), (4, 9), (9, 12)):
        own[start:stop] = draw.integers(0, 400, stop - start)
        prior[start:stop] = draw.dirichlet([2.0] * (stop - start))
    tail = Tail(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.5, 0.05]), scale=2.0, shape=0.1).to_array()
    window = [[*tokens.ids, 0, 0][:3] for tokens in sequence(40, 6)]
    hidden, cell = draw.normal(size=(2, UNITS)).astype(np.float32)
    lstm = Lstm(
        drawn_network(draw, UNITS, STARTS),
        counts=Counts(own, prior, STARTS, others=others),
        rarity=np.array([tail, tail, tail * [[2.0], [1.0]]]),
        hidden=hidden,
        cell=cell,
        recent=draw.uniform(0, 30, 40),
        window=np.array(window, dtype=np.int32),
    )
    return lstm.arrays()


@pytest.fixture
def arrays() -> Arrays:
    """Give a network whose user is measured against others."""
    return made()


@pytest.fixture
def lstm(arrays: Arrays) -> Lstm:
    """Give that network."""
    return Lstm.from_arrays(arrays)


@pytest.fixture(params=[True, False], ids=["others", "alone"])
def either(request: pytest.FixtureRequest) -> Lstm:
    """Give a network of a user among others, and one of a user alone."""
    return Lstm.from_arrays(made(others=request.param))


def sequence(count: int, seed: int = 1) -> list[Tokens]:
    """Draw actions: a kind, and none, one or both of the columns; some values have marks."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = [int(draw.integers(1, 4))]
        ids += [int(draw.integers(4, 9))] if draw.random() < 0.7 else []
        ids += [int(draw.integers(9, 12))] if draw.random() < 0.7 else []
        marks = [int(draw.integers(1, 4)) if token in (1, 4, 9) else 0 for token in ids]
        found.append(Tokens(tuple(ids), (), tuple(marks)))
    return found


def run(lstm: Lstm, state: LstmState, actions: list[Tokens], *, learn: float = 0.0) -> list[Verdict]:
    """Score actions; with ``learn`` as a weight, learn each fifty before the next."""
    found = []
    for number, tokens in enumerate(actions):
        if learn and number and number % 50 == 0:
            lstm.learn(state, actions[number - 50 : number], learn)
        found.append(judge_one(lstm, state, tokens))
    return found


def moved(lstm: Lstm, state: LstmState) -> LstmState:
    """Take a state through a checkpoint, and what it learned through a file."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in lstm.learned(state).items()}))
    return lstm.resume(json.loads(json.dumps(state.to_json())), arrays)


def flat(found: list[Verdict]) -> list[float]:
    """Give all figures in a row."""
    return [figure for each in found for figure in (*each[:2], *each.views, *each.shares)]


def kept(lstm: Lstm, state: LstmState) -> tuple[object, ...]:
    """Give all that a state carries along."""
    return state.to_json(), {name: array.tolist() for name, array in lstm.learned(state).items()}


def scratch(lstm: Lstm, state: LstmState) -> tuple[float, ...]:
    """Compute the views anew from what the window holds."""
    entries = list(state.entries)
    if not lstm.counts.others:
        return (sum(entry.rarity for entry in entries) / len(entries),)
    nats: dict[tuple[int, int], list[float]] = {}
    for entry in entries:
        for token, mark, nat in zip(entry.ids, entry.marks, entry.nats, strict=True):
            nats.setdefault((token, mark), []).append(nat)
    distinct = [sum(group) / len(group) for group in nats.values()]
    return sum(entry.foreign for entry in entries) / len(entries), sum(distinct) / len(distinct)


def test_scores_are_the_textbooks(lstm: Lstm, arrays: Arrays) -> None:
    """Surprise is the bits of softmax mixed with counts, and foreign what is likelier of others than of that."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    hidden, cell, state, judge = wide["hidden"], wide["cell"], lstm.start(), lstm.counts.judge
    for entry, rarity, ids in zip(state.entries, arrays["recent"], arrays["window"].tolist(), strict=True):
        assert entry.rarity == rarity
        assert entry.ids == tuple(token for token in ids if token)
        assert entry.marks == (0,) * len(entry.ids)
        assert entry.nats == tuple(judge(state.counts, token, 0).foreign for token in entry.ids)
        assert entry.foreign == pytest.approx(sum(entry.nats))
    for tokens in sequence(150):
        bits, foreign, nats = 0.0, 0.0, []
        for token, mark in zip(tokens.ids, tokens.marks, strict=True):
            head = int(np.searchsorted(STARTS, token, side="right")) - 1
            start, stop = STARTS[head], STARTS[head + 1]
            powers = np.exp(wide["output"][start:stop] @ hidden + wide["output_bias"][start:stop])
            network = powers[token - start] / powers.sum()
            counted, nat = judge(state.counts, token, mark)
            bits -= log2((1 - MIX) * network + MIX * counted)
            mixed = (1 - FOREIGN_MIX) * network + FOREIGN_MIX * counted
            foreign += nat if mark else nat + log(counted / mixed)
            nats.append(nat)
        gates = hidden @ wide["recurrent"] + wide["bias"] + sum(wide["kernel"][token] for token in tokens.ids)
        let_in, keep, _, let_out = np.split(1.0 / (1.0 + np.exp(-gates)), 4)
        cell = keep * cell + let_in * np.tanh(np.split(gates, 4)[2])
        hidden = let_out * np.tanh(cell)
        predicted_from = state.hidden.tolist()
        evidence, entry = judge_one(lstm, state, tokens), state.entries[-1]
        assert list(evidence.before) == predicted_from != state.hidden.tolist()  # explanations ask for it
        assert evidence.surprise == evidence.action == pytest.approx(bits, abs=1e-3)
        assert len(evidence.shares) == len(tokens.ids)
        assert all(0 < share <= 1 for share in evidence.shares)
        assert entry.rarity == Tail.from_array(arrays["rarity"][tokens.ids[0] - 1]).score(evidence.surprise)
        assert entry.foreign == pytest.approx(foreign, abs=1e-3)
        assert entry.nats == pytest.approx(nats)


def test_no_value_costs_more_than_its_count(lstm: Lstm, arrays: Arrays) -> None:
    """However sure the network is of something else, a value costs no more bits than its rarity and a little."""
    sure = Lstm.from_arrays(arrays | {"output_bias": np.where(np.arange(SIZE) == 4, 200, 0).astype(np.float32)})
    evidence = judge_one(sure, lstm.start(), Tokens((1, 7), ()))
    assert evidence.shares[1] == pytest.approx(MIX * lstm.counts.probabilities()[7])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_what_is_carried_along_is_exact(seed: int, count: int, weight: float, others: bool) -> None:  # noqa: FBT001
    """After any number of actions, and whatever was learned, the views are those computed anew from the window."""
    lstm = Lstm.from_arrays(made(others=others))
    state = lstm.start()
    evidence = run(lstm, state, sequence(count, seed), learn=weight)[-1]
    assert len(state.entries) == min(WINDOW, 40 + count)
    last = [(tokens.ids, tokens.marks) for tokens in sequence(count, seed)][-WINDOW:]
    assert [(entry.ids, entry.marks) for entry in state.entries][-len(last) :] == last
    assert evidence.views == pytest.approx(scratch(lstm, state), abs=1e-9)


def test_starting_twice_is_two_states(either: Lstm) -> None:
    """A state is its owner's alone: what one scores and learns, another does not see, nor does the model."""
    mine, two = either.start(), either.start()
    first = run(either, mine, sequence(120), learn=1.0)
    assert run(either, two, sequence(120), learn=1.0) == first
    assert run(either, either.start(), sequence(1)) == first[:1]


@pytest.mark.parametrize("before", [0, 1, 99, 150])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_saved_state_goes_on(either: Lstm, before: int, weight: float) -> None:
    """A state that was saved, and what it learned, scores and learns what follows as one that was not."""
    state = either.start()
    run(either, state, sequence(before), learn=weight)
    again = moved(either, state)
    assert kept(either, again) == kept(either, state)
    assert either.as_trained(again) == pytest.approx(either.as_trained(state), abs=1e-9)
    found, expected = (run(either, s, sequence(150, 2), learn=weight) for s in (again, state))
    assert flat(found) == pytest.approx(flat(expected), abs=1e-9)


def test_what_was_learned_can_be_left_behind(either: Lstm) -> None:
    """Without what was learned, a saved state goes on where it was by the counts of training."""
    state = either.start()
    run(either, state, sequence(150), learn=1.0)
    again = either.resume(state.to_json())
    assert again.to_json() == state.to_json()
    assert kept(either, again)[1] == kept(either, either.start())[1] != kept(either, state)[1]


def test_not_admitted_is_not_there(either: Lstm) -> None:
    """What is only judged has the surprise it would have, and leaves the window and all else as it was."""
    state, twin = either.start(), either.start()
    for number, tokens in enumerate(sequence(120)):
        if number % 3 == 0:
            before = kept(either, state)
            considered = judge_one(either, state, sequence(1, 500 + number)[0], admit=False)
            assert kept(either, state) == before
            assert considered.views == pytest.approx(scratch(either, state), abs=1e-9)
            again = either.resume(json.loads(json.dumps(state.to_json())))
            admitted = judge_one(either, again, sequence(1, 500 + number)[0])
            assert considered[:2] + considered[3:] == admitted[:2] + admitted[3:]
        assert judge_one(either, state, tokens) == judge_one(either, twin, tokens)


def test_as_trained(either: Lstm) -> None:
    """The window as trained is the one that nothing learned would have left, to the rounding of a sum."""
    state, twin = either.start(), either.start()
    moves = 0.0
    for number, tokens in enumerate(sequence(260)):
        seen, plain = judge_one(either, state, tokens), judge_one(either, twin, tokens)
        if number < 50:
            assert either.as_trained(state) == pytest.approx(seen.views, abs=1e-9)
        if number % 50 == 49:
            before = either.as_trained(state)
            either.learn(state, sequence(260)[number - 49 : number + 1], 1.0)
            assert either.as_trained(state) == before == pytest.approx(plain.views, abs=1e-9)
            moves = max(moves, abs(seen.views[0] - plain.views[0]))
    assert moves > 0.01


def test_without_a_cache_nothing_is_learned(arrays: Arrays) -> None:
    """Where the counts are not to go on counting, they stay those of training."""
    lstm = Lstm.from_arrays(arrays | {"cache": np.array([False])})
    state, twin = lstm.start(), lstm.start()
    assert run(lstm, state, sequence(150), learn=1.0) == run(lstm, twin, sequence(150))
    assert kept(lstm, state) == kept(lstm, twin)


def test_against_others(lstm: Lstm) -> None:
    """Against other users the network, the user's counts and the cell are the same, and what is foreign is not."""
    prior = np.where(np.arange(SIZE) > 0, 0.25, 0.0)
    other = lstm.against(prior)
    again = Lstm.from_arrays(lstm.arrays() | {"prior": prior})
    assert run(other, other.start(), sequence(150), learn=1.0) == run(
        again, again.start(), sequence(150), learn=1.0
    )
    assert other.as_trained(other.start()) == again.as_trained(again.start()) != lstm.as_trained(lstm.start())
    assert Lstm.from_arrays(made(others=False)).against(prior).counts.others


HIDDEN = [0.0] * UNITS
ENTRY = {"rarity": 1.0, "foreign": 0.5, "tokens": [[1, 0], [4, 9]], "nats": [0.1, 0.2], "network": [0.5, 0.5]}


def saved(state: Mapping[str, object] | None = None, **entry: object) -> dict[str, object]:
    """Give a saved state that differs from a sound one, by itself or in its only entry."""
    return {"hidden": HIDDEN, "cell": HIDDEN, "entries": [list((ENTRY | entry).values())], **(state or {})}


@pytest.mark.parametrize(
    "unfit",
    [
        {},
        {"hidden": HIDDEN, "cell": HIDDEN},
        saved({"cell": HIDDEN[1:]}),
        *(saved({"hidden": hidden}) for hidden in ([HIDDEN], None, "abcde", [10**400] * UNITS)),
        *(saved({"entries": entries}) for entries in (None, ["abcde"], [[1.0]], [5])),
        *(saved(rarity=rarity) for rarity in ("x", None, 10**400)),
        saved(tokens=[], nats=[], network=[]),
        *(saved(tokens=[[1, 0], [token, 0]]) for token in (0, -1, SIZE, "x", None)),
        *(saved(tokens=tokens) for tokens in ([[4, 0], [1, 0]], [[1], [4]], [1, 4], None)),
        *(saved(nats=nats) for nats in ([0.1], [None, 0.1], 0.1)),
        *(saved(network=network) for network in ([0.5], [None, 0.1], 0.5)),
    ],
)
def test_unfit_states_are_refused(lstm: Lstm, unfit: dict[str, object]) -> None:
    """A saved state of another network, or a damaged one, is an error that the scorer expects."""
    assert len(lstm.resume(saved()).entries) == 1
    with pytest.raises((ValueError, KeyError, TypeError)):
        lstm.resume(unfit)


def test_unfit_counts_are_refused(lstm: Lstm) -> None:
    """What another model has learned does not fit, whatever the state."""
    learned = lstm.learned(lstm.start())
    for unfit in ({}, learned | {"own": learned["own"][1:]}, learned | {"totals": learned["own"]}):
        with pytest.raises((ValueError, KeyError)):
            lstm.resume(saved(), unfit)


CHANGES: dict[str, Callable[[Arrays], Arrays]] = {
    **{
        name: lambda a, name=name: {name: a[name][:-1]}  # type: ignore[misc]
        for name in (
            *("kernel", "recurrent", "bias", "output", "output_bias", "hidden", "cell", "rarity"),
            *("own", "prior", "window", "recent", "shares"),
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
    "weights above one": lambda _: {"shares": np.array([0.2, 1.5])},
    "weights that are none": lambda _: {"shares": np.array([np.nan, 0.5])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_shapes_are_checked(arrays: Arrays, change: Callable[[Arrays], Arrays]) -> None:
    """Arrays that do not fit each other are refused at once."""
    with pytest.raises(ValueError, match=r"has shape|columns|kinds|distribution|counts|window|unpack"):
        Lstm.from_arrays(arrays | change(arrays))


def test_arrays_make_the_same_model(lstm: Lstm, arrays: Arrays) -> None:
    """A model gives back the arrays it was made from; one that lacks any is no model."""
    assert {n: a.tobytes() for n, a in lstm.arrays().items()} == {n: a.tobytes() for n, a in arrays.items()}
    for name in arrays:
        with pytest.raises(KeyError):
            Lstm.from_arrays({other: array for other, array in arrays.items() if other != name})
