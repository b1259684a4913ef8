"""Two views side by side: each is what it is alone, and together they are one detector."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from anomaly.calibration import Tail
from anomaly.detectors.both import Both, BothState, part
from anomaly.detectors.counts import Counts
from anomaly.detectors.interface import WINDOW, Algorithm, Arrays
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.ocsvm import REFIT, OneClassSvm, packed
from anomaly.tokens import BUCKETS, Tokens
from tests.conftest import Verdict, drawn_network, judge_one

UNITS = 3
STARTS = np.array([1, 4, 9], dtype=np.int32)
SIZE = 9


def sequence(count: int, seed: int = 1, shift: int = 0) -> list[Tokens]:
    """Draw actions of a kind and a column; a shift fills other buckets."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        kind, token = int(draw.integers(1, 4)), int(draw.integers(4, 9))
        mark = int(draw.integers(1, 9)) if token == 8 else 0
        found.append(Tokens((kind, token), (shift + kind, shift + 10 * token + mark), (0, mark)))
    return found


def bags(count: int) -> np.ndarray:
    """Make the bags of windows of such actions."""
    found = np.zeros((count, BUCKETS), dtype=np.uint8)
    for seed, bag in enumerate(found):
        bag[[bucket for tokens in sequence(20, seed) for bucket in tokens.buckets]] = 1
    return found


@pytest.fixture(params=[True, False], ids=["others", "alone"])
def both(request: pytest.FixtureRequest) -> Both:
    """Give a small network and a few windows; the user is among others, or alone."""
    draw = np.random.default_rng(2)

    shares = np.array([0.0, 0.2, 0.3, 0.5, 0.1, 0.2, 0.2, 0.2, 0.3])
    tail = Tail(np.array([0.0, 4.0]), np.array([1.0, 0.2]), scale=2.0, shape=0.1).to_array()
    window = sequence(60, 77)
    hidden, cell = draw.normal(size=(2, UNITS)).astype(np.float32)
    lstm = Lstm(
        drawn_network(draw, UNITS, STARTS),
        counts=Counts(shares[::-1].copy() * 600, shares, STARTS, others=request.param),
        rarity=np.array([tail] * 3),
        hidden=hidden,
        cell=cell,
        recent=draw.uniform(0, 30, 60),
        window=np.array([tokens.ids for tokens in window], dtype=np.int32),
    )
    buckets = np.array([tokens.buckets for tokens in window], dtype=np.int16)
    return Both(lstm, OneClassSvm(bags(6), np.full(6, 1 / 6), 0.8, buckets, packed(bags(25))))


def run(both: Both, state: BothState, actions: list[Tokens], *, learn: float = 0.0) -> list[Verdict]:
    """Score actions; with ``learn`` as a weight, learn each hundred when it is over."""
    found = []
    for number, tokens in enumerate(actions, 1):
        found.append(judge_one(both, state, tokens))
        if learn and number % WINDOW == 0:
            both.learn(state, actions[number - WINDOW : number], learn)
    return found


def taught(both: Both, chunks: int, weight: float = 1.0) -> BothState:
    """Give a state that has learned so many hundreds of another habit."""
    state = both.start()
    run(both, state, sequence(chunks * WINDOW, 5, shift=300), learn=weight)
    return state


def moved(both: Both, state: BothState) -> BothState:
    """Take a state through a checkpoint, and what it learned through a file."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in both.learned(state).items()}))
    return both.resume(json.loads(json.dumps(state.to_json())), arrays)


def kept(both: Both, state: BothState) -> tuple[object, ...]:
    """Give all that a state carries along."""
    return state.to_json(), {name: (a.shape, a.tobytes()) for name, a in both.learned(state).items()}


def flat(found: list[Verdict]) -> list[float]:
    """Give all figures in a row."""
    return [f for each in found for f in (*each[:2], *each.views, *each.shares)]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_each_view_is_what_it_is_alone(both: Both, weight: float) -> None:
    """An action is judged as by the sequence alone and its window by both, and each learns what it would alone."""
    state, sequence_state, window_state = both.start(), both.sequence.start(), both.window.start()
    assert both.algorithm is Algorithm.BOTH
    for number, tokens in enumerate(sequence(REFIT * WINDOW + 50), 1):
        admit = number % 7 > 0
        evidence = judge_one(both, state, tokens, admit=admit)
        first = judge_one(both.sequence, sequence_state, tokens, admit=admit)
        second = judge_one(both.window, window_state, tokens, admit=admit)
        assert evidence == first._replace(
            views=first.views + second.views, shares=first.shares + second.shares, missing=second.missing
        )
        if number % WINDOW == 0:
            chunk = sequence(REFIT * WINDOW + 50)[number - WINDOW : number]
            both.learn(state, chunk, weight)
            both.sequence.learn(sequence_state, chunk, weight)
            both.window.learn(window_state, chunk, weight)
            alone = both.sequence.as_trained(sequence_state) + both.window.as_trained(window_state)
            assert both.as_trained(state) == alone
    assert (state.window.vectors is both.window.vectors) == (weight == 0.0)
    named = both.learned(state)
    for prefix, learned in (
        ("sequence.", both.sequence.learned(sequence_state)),
        ("window.", both.window.learned(window_state)),
    ):
        found = part(named, prefix)
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in learned.items()
        }


@pytest.mark.parametrize("chunks", [0, 2, REFIT + 1])
def test_a_saved_state_goes_on(both: Both, chunks: int) -> None:
    """A state that was saved, and what it learned, scores and learns what follows as one that was not."""
    state = taught(both, chunks)
    again = moved(both, state)
    assert kept(both, again) == kept(both, state)
    assert both.as_trained(again) == pytest.approx(both.as_trained(state), abs=1e-9)
    found, expected = (run(both, each, sequence(220, 8), learn=1.0) for each in (again, state))
    assert flat(found) == pytest.approx(flat(expected), abs=1e-9)


def test_not_admitted_is_not_there(both: Both) -> None:
    """What is only judged leaves no trace in either view."""
    state = taught(both, 2)
    before = kept(both, state)
    for tokens in sequence(20, 9):
        judge_one(both, state, tokens, admit=False)
    assert kept(both, state) == before


def test_as_trained(both: Both) -> None:
    """The window as trained is the one that nothing learned would have left, whatever is learned."""
    state, twin = both.start(), both.start()
    actions = sequence((REFIT + 1) * WINDOW, 5, shift=300)
    for number in range(0, len(actions), WINDOW):
        chunk = actions[number : number + WINDOW]
        seen, plain = run(both, state, chunk)[-1], run(both, twin, chunk)[-1]
        before = both.as_trained(state)
        assert before == pytest.approx(plain.views, abs=1e-9)
        both.learn(state, chunk, 1.0)
        assert both.as_trained(state) == before
    assert all(abs(learned - trained) > 1e-3 for learned, trained in zip(seen.views, plain.views, strict=True))


def test_what_was_learned_can_be_left_behind(both: Both) -> None:
    """Without what was learned, a saved state goes on where it was as it was trained."""
    state = taught(both, REFIT)
    again = both.resume(state.to_json())
    assert kept(both, again)[0] == kept(both, state)[0]
    assert kept(both, again)[1] == kept(both, both.start())[1] != kept(both, state)[1]


def test_little_weight_is_for_the_counts_alone(both: Both) -> None:
    """What is as likely somebody else's as the user's is counted by its weight, and fills no window."""
    fresh, state = kept(both, both.start())[1], taught(both, 2, weight=0.5)
    assert isinstance(fresh, dict)
    changed = {name for name, array in both.learned(state).items() if array.tobytes() != fresh[name][1]}
    assert "sequence.own" in changed
    assert not {name for name in changed if name.startswith("window.")}


def test_against_others(both: Both) -> None:
    """Against other users the sequence is measured anew; a window is this user's or not."""
    prior = np.full(SIZE, 0.25)
    other = both.against(prior)
    assert other.window is both.window
    assert other.sequence.counts.prior.tolist() == prior.tolist()
    mine, theirs = (judge_one(model, model.start(), sequence(1)[0]).views for model in (both, other))
    assert mine[-1] == theirs[-1]
    assert len(theirs) == 3
    assert mine[:-1] != theirs[:-1]


def test_arrays_make_the_same_model(both: Both) -> None:
    """A model rebuilt from its arrays scores exactly the same; one that lacks any is no model."""
    arrays = both.arrays()
    again = Both.from_arrays(load(save({name: np.ascontiguousarray(array) for name, array in arrays.items()})))
    assert run(again, again.start(), sequence(120)) == run(both, both.start(), sequence(120))
    assert {name.partition(".")[0] for name in arrays} == {"sequence", "window"}
    for name in arrays:
        with pytest.raises(KeyError):
            Both.from_arrays({other: array for other, array in arrays.items() if other != name})


SAVED: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda _: {},
    "a list": lambda _: [],
    "one view": lambda s: {"sequence": s["sequence"]},
    "the other view": lambda s: {"window": s["window"]},
    "the state of one": lambda s: s["sequence"],
    "views exchanged": lambda s: {"sequence": s["window"], "window": s["sequence"]},
    "no view": lambda s: s | {"sequence": None},
    "a damaged sequence": lambda s: s | {"sequence": s["sequence"] | {"hidden": [0.0]}},
    "a damaged window": lambda s: s | {"window": {"window": [[BUCKETS]]}},
}


@pytest.mark.parametrize("change", SAVED.values(), ids=SAVED.keys())
def test_unfit_states_are_refused(both: Both, change: Callable[[dict[str, Any]], Any]) -> None:
    """A saved state of one view, or a damaged one, is an error that the scorer expects."""
    saved = taught(both, 1).to_json()
    both.resume(saved)
    with pytest.raises((ValueError, KeyError, TypeError)):
        both.resume(change(saved))


LEARNED: dict[str, Callable[[Arrays], Arrays]] = {
    "nothing": lambda _: {},
    "one view": lambda a: {name: array for name, array in a.items() if name.startswith("sequence.")},
    "the other view": lambda a: {name: array for name, array in a.items() if name.startswith("window.")},
    "no names": lambda a: part(a, "sequence.") | part(a, "window."),
    "damaged counts": lambda a: a | {"sequence.own": a["sequence.own"][1:]},
    "a damaged pool": lambda a: a | {"window.pool": a["window.pool"][:, 1:]},
}


@pytest.mark.parametrize("change", LEARNED.values(), ids=LEARNED.keys())
def test_unfit_learning_is_refused(both: Both, change: Callable[[Arrays], Arrays]) -> None:
    """What one view learned does not do for both."""
    state = taught(both, 1)
    both.resume(state.to_json(), both.learned(state))
    with pytest.raises((ValueError, KeyError, TypeError)):
        both.resume(state.to_json(), change(both.learned(state)))
