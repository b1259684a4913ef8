from __future__ import annotations

import json
from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pytest

from anomaly.calibration import Tail
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.tokenizer import Tokens

UNITS = 5
STARTS = np.array([1, 4, 9, 12], dtype=np.int32)
SIZE = 12


@pytest.fixture
def arrays() -> Arrays:
    """Give a network of 5 units over a kind (tokens 1 to 3) and two columns (4 to 8, 9 to 11)."""
    draw = np.random.default_rng(4)

    def normal(*shape: int) -> Any:  # noqa: ANN401 - an array
        return draw.normal(size=shape).astype(np.float32)

    frequency = np.zeros(SIZE)
    for start, stop in ((1, 4), (4, 9), (9, 12)):
        frequency[start:stop] = 1.0 / (stop - start)
    tail = Tail(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.5, 0.05]), scale=2.0, shape=0.1).to_array()
    return {
        "kernel": normal(SIZE, 4 * UNITS),
        "recurrent": normal(UNITS, 4 * UNITS),
        "bias": normal(4 * UNITS),
        "output": normal(SIZE, UNITS),
        "output_bias": normal(SIZE),
        "starts": STARTS,
        "frequency": frequency,
        "rarity": np.array([tail, tail, tail * [[2.0], [1.0]]]),
        "hidden": normal(UNITS),
        "cell": normal(UNITS),
        "recent": draw.uniform(0, 30, 40),
    }


@pytest.fixture
def lstm(arrays: Arrays) -> Lstm:
    """Give that network."""
    return Lstm.from_arrays(arrays)


def sequence(count: int, seed: int = 1) -> list[Tokens]:
    """Draw actions: a kind, and none, one or both of the columns."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = [int(draw.integers(1, 4))]
        ids += [int(draw.integers(4, 9))] if draw.random() < 0.7 else []
        ids += [int(draw.integers(9, 12))] if draw.random() < 0.7 else []
        found.append(Tokens(tuple(ids), ()))
    return found


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def test_scores_are_the_textbooks(lstm: Lstm, arrays: Arrays) -> None:
    """Surprise is the summed bits of the mixture of each column's softmax and its plain frequencies."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    hidden, cell, recent = wide["hidden"], wide["cell"], wide["recent"].tolist()
    state = lstm.start()
    for tokens in sequence(200):
        bits = 0.0
        for token in tokens.ids:
            head = int(np.searchsorted(STARTS, token, side="right")) - 1
            start, stop = STARTS[head], STARTS[head + 1]
            powers = np.exp(wide["output"][start:stop] @ hidden + wide["output_bias"][start:stop])
            share = (1 - MIX) * powers[token - start] / powers.sum() + MIX * wide["frequency"][token]
            bits -= log2(share)
        gates = hidden @ wide["recurrent"] + wide["bias"] + sum(wide["kernel"][token] for token in tokens.ids)
        let_in, keep, new, let_out = np.split(gates, 4)
        cell = sigmoid(keep) * cell + sigmoid(let_in) * np.tanh(new)
        hidden = sigmoid(let_out) * np.tanh(cell)
        recent = [*recent, Tail.from_array(arrays["rarity"][tokens.ids[0] - 1]).score(bits)][-WINDOW:]
        evidence = lstm.score(state, tokens)
        assert evidence.surprise == evidence.action == pytest.approx(bits, abs=1e-3)
        assert evidence.window == pytest.approx(sum(recent) / len(recent), abs=1e-3)
        assert len(evidence.shares) == len(tokens.ids)
        assert all(0 < share <= 1 for share in evidence.shares)


def test_no_value_costs_more_than_its_frequency(lstm: Lstm, arrays: Arrays) -> None:
    """However sure the network is of something else, a value costs no more bits than its rarity and a little."""
    sure = Lstm.from_arrays(arrays | {"output_bias": np.where(np.arange(SIZE) == 4, 200, 0).astype(np.float32)})
    evidence = sure.score(lstm.start(), Tokens((1, 7), ()))
    assert evidence.shares[1] == pytest.approx(MIX * arrays["frequency"][7])


def test_starting_twice_is_two_states(lstm: Lstm) -> None:
    """A state is its owner's alone: what one scores, another does not see, and neither does the model."""
    one, two = lstm.start(), lstm.start()
    first = [lstm.score(one, tokens) for tokens in sequence(30)]
    assert [lstm.score(two, tokens) for tokens in sequence(30)] == first
    assert [lstm.score(lstm.start(), tokens) for tokens in sequence(1)] == first[:1]


def test_a_saved_state_goes_on(lstm: Lstm) -> None:
    """A state that was saved as text scores what follows exactly as one that was not."""
    for before in (0, 1, 99, 150):
        state = lstm.start()
        for tokens in sequence(before):
            lstm.score(state, tokens)
        again = lstm.resume(json.loads(json.dumps(state.to_json())))
        for tokens in sequence(150, 2):
            assert lstm.score(again, tokens) == lstm.score(state, tokens)


def test_the_window_forgets(lstm: Lstm) -> None:
    """The window's figure is of the last 100 actions and of none before."""
    state = lstm.start()
    for tokens in sequence(170):
        evidence = lstm.score(state, tokens)
    assert len(state.recent) == WINDOW
    assert evidence.window == pytest.approx(sum(list(state.recent)) / WINDOW)


HIDDEN = [0.0] * UNITS


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"hidden": HIDDEN, "cell": HIDDEN},
        {"hidden": HIDDEN, "cell": HIDDEN[1:], "recent": []},
        {"hidden": [HIDDEN], "cell": HIDDEN, "recent": []},
        {"hidden": None, "cell": HIDDEN, "recent": []},
        {"hidden": "abcde", "cell": HIDDEN, "recent": []},
        {"hidden": HIDDEN, "cell": HIDDEN, "recent": None},
        {"hidden": HIDDEN, "cell": HIDDEN, "recent": ["x"]},
        {"hidden": HIDDEN, "cell": HIDDEN, "recent": [None]},
        {"window": [[1]]},
    ],
)
def test_unfit_states_are_refused(lstm: Lstm, saved: dict[str, object]) -> None:
    """A saved state of another network, or a damaged one, is an error that the scorer expects."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        lstm.resume(saved)


@pytest.mark.parametrize("name", ["hidden", "recent"])
def test_endless_numbers_are_refused(lstm: Lstm, name: str) -> None:
    """A number that no float holds is an error that the scorer expects, too."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        lstm.resume({"hidden": HIDDEN, "cell": HIDDEN, "recent": []} | {name: [10**400] * UNITS})


def test_log_probabilities(lstm: Lstm) -> None:
    """Each column's probabilities add up to one, and no two columns mix."""
    state = lstm.start()
    sizes = {}
    for token in range(1, SIZE):
        found = lstm.log_probabilities(state.hidden, token)
        sizes[token] = len(found)
        assert float(np.exp(found).sum()) == pytest.approx(1.0, abs=1e-6)
    assert list(sizes.values()) == [3] * 3 + [5] * 5 + [3] * 3


def test_expected(lstm: Lstm) -> None:
    """What the network would rather have seen is the column's most probable tokens, without the one seen."""
    hidden = lstm.start().hidden
    ranked = (np.argsort(-lstm.log_probabilities(hidden, 4), kind="stable") + 4).tolist()
    for token in range(4, 9):
        assert lstm.expected(hidden, token) == [other for other in ranked if other != token][:3]
        assert lstm.expected(hidden, token, most=1) == [other for other in ranked if other != token][:1]


def test_before_is_what_an_action_was_predicted_from(lstm: Lstm) -> None:
    """After scoring, the state still knows what it predicted the action from: its explanation asks for that."""
    state = lstm.start()
    for tokens in sequence(5):
        hidden = state.hidden.copy()
        lstm.score(state, tokens)
        assert state.before.tolist() == hidden.tolist()
        assert state.hidden.tolist() != hidden.tolist()


CHANGES: dict[str, Callable[[Arrays], Arrays]] = {
    **{
        name: lambda a, name=name: {name: a[name][:-1]}  # type: ignore[misc]
        for name in (
            "kernel",
            "recurrent",
            "bias",
            "output",
            "output_bias",
            "frequency",
            "hidden",
            "cell",
            "rarity",
        )
    },
    "wide kernel": lambda a: {"kernel": np.hstack([a["kernel"], a["kernel"]])},
    "columns from 0": lambda _: {"starts": np.array([0, 4, 9, 12], dtype=np.int32)},
    "columns to 11": lambda _: {"starts": np.array([1, 4, 9, 11], dtype=np.int32)},
    "an empty column": lambda _: {"starts": np.array([1, 4, 4, 12], dtype=np.int32)},
    "columns back and forth": lambda _: {"starts": np.array([1, 4, 9, 3, 12], dtype=np.int32)},
    "rarity of another form": lambda a: {"rarity": a["rarity"][:, 0]},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_shapes_are_checked(arrays: Arrays, change: Callable[[Arrays], Arrays]) -> None:
    """Arrays that do not fit each other are refused at once."""
    with pytest.raises(ValueError, match=r"has shape|columns|kinds|distribution"):
        Lstm.from_arrays(arrays | change(arrays))


def test_arrays_make_the_same_model(lstm: Lstm, arrays: Arrays) -> None:
    """A model gives back the arrays it was made from; one that lacks any is no model."""
    again = lstm.arrays()
    assert set(again) == set(arrays)
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    for name in arrays:
        with pytest.raises(KeyError):
            Lstm.from_arrays({other: array for other, array in arrays.items() if other != name})
