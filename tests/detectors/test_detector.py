from __future__ import annotations

import base64
import json
from contextlib import suppress
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from anomaly.calibration import Tail
from anomaly.cohort import Cohort, no_others, with_history
from anomaly.detectors import ocsvm
from anomaly.detectors.counts import Counts
from anomaly.detectors.detector import OWN_VIEWS, Detector, DetectorState, part, together_views
from anomaly.detectors.interface import STEP, WINDOW, Algorithm, Arrays, Evidence
from anomaly.detectors.lstm import Foreseen, Lstm
from anomaly.detectors.neighbours import Neighbours
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import LENGTHS, VIEWS
from anomaly.detectors.rarity import Ranks, Rarity
from anomaly.rehearsal import rehearse_ranks
from anomaly.tokens import Tokens
from tests.detectors.drawn import actions, damaged, damages
from tests.detectors.networks import drawn_network

Seen = tuple[float, float, tuple[float, ...], tuple[float, ...]]

UNITS = 8
STARTS = np.array([1, 6, 60], dtype=np.int32)
KINDS = (
    "alone OCSVM",
    "alone LSTM",
    "alone BOTH",
    "alone BOTH without a network",
    "together LSTM",
    "together BOTH",
    "together BOTH without a network",
)


def sequence(count: int, seed: int, first: int = 0) -> list[Tokens]:
    """Return random actions; their programs and values begin at ``first``."""
    draw = Random(seed)  # noqa: S311 - sample data
    found = []
    for features in actions(count, seed, first):
        ids = [draw.randrange(1, 6)]
        ids += [min(draw.randrange(6, 60), draw.randrange(6, 60))] if draw.random() < 0.8 else []
        marks = [draw.randrange(1, 4) if token % 9 == 0 else 0 for token in ids]
        found.append(Tokens(tuple(ids), features, tuple(marks)))
    return found


def network() -> Lstm:
    """Return a network with random weights and counts."""
    draw = np.random.default_rng(2)
    own, prior = np.zeros(60), np.zeros(60)
    for start, stop in pairwise(STARTS.tolist()):
        own[start:stop] = draw.integers(0, 40, stop - start)
        prior[start:stop] = draw.dirichlet([2.0] * (stop - start))
    tail = Tail(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.5, 0.05]), scale=2.0, shape=0.1).to_array()
    window = np.array([[*tokens.ids, 0][:2] for tokens in sequence(60, 77)], dtype=np.int32)
    hidden, cell = draw.normal(size=(2, UNITS)).astype(np.float32)
    return Lstm(
        drawn_network(draw, UNITS, STARTS),
        counts=Counts(own, prior, STARTS),
        rarity=np.array([tail] * 5),
        hidden=hidden,
        cell=cell,
        recent=draw.uniform(0, 30, 60),
        window=window,
    )


@cache
def made(kind: str) -> Detector:
    """Return a detector of a kind, learned from a few hundred actions; not to be changed."""
    history = actions(620, 1)
    if kind.startswith("together"):
        profile = Cohort({"alice": history, "bob": actions(600, 2, 4), "carol": actions(600, 3, 8)}).profile(
            "alice", history
        )
    else:
        profile = with_history(no_others(), history)
    half = len(history) // 2
    rarity = Rarity.fit(rehearse_ranks(profile, history[:half], history[half:]))
    algorithm = Algorithm(kind.split()[1])
    svm = None if algorithm is Algorithm.LSTM else fit_svm(history)
    near = Neighbours.fit(history) if kind.startswith("alone") and svm is not None else None
    lstm = network() if algorithm is not Algorithm.OCSVM and "without" not in kind else None
    return Detector(algorithm, profile, rarity, svm, lstm, near, history[-WINDOW:])


@pytest.fixture(params=KINDS)
def detector(request: pytest.FixtureRequest) -> Detector:
    """Return a detector of each kind in turn."""
    return made(request.param)


def seen(evidence: Evidence) -> list[Seen]:
    """Return evidence by action: the figures, what explains them, and the views of a step."""
    found: list[Seen] = []
    views = {
        number: tuple(one.ravel().tolist()) for number, one in zip(evidence.steps, evidence.views, strict=True)
    }
    figures = zip(evidence.surprise.tolist(), evidence.action.tolist(), strict=True)
    for number, (surprise, action) in enumerate(figures):
        details = evidence.details
        told = (*details.shares[number], *details.before[number].tolist()) if isinstance(details, Foreseen) else ()
        found.append((surprise, action, told, views.get(number, ())))
    assert evidence.steps == sorted(views)
    return found


def flat(found: list[Seen]) -> list[float]:
    """Return all figures in a row."""
    return [figure for one in found for figure in (*one[:2], *one[2], *one[3])]


def carried(detector: Detector, state: DetectorState) -> tuple[str, dict[str, tuple[tuple[int, ...], bytes]]]:
    """Return all that a state carries along, to the bit."""
    learned = {name: (array.shape, array.tobytes()) for name, array in detector.learned(state).items()}
    return json.dumps(state.to_json()), learned


def moved(detector: Detector, state: DetectorState) -> DetectorState:
    """Return a state after a checkpoint, with what it learned from a file."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in detector.learned(state).items()}))
    return detector.resume(json.loads(json.dumps(state.to_json())), arrays)


def taught(detector: Detector, chunks: int, weight: float = 1.0) -> DetectorState:
    """Return a state that was shown, and learned, some hundreds of new habits."""
    state = detector.start()
    for number in range(chunks):
        chunk = sequence(WINDOW, 50 + number, first=40)
        detector.judge(state, chunk, [True] * WINDOW)
        detector.learn(state, chunk, weight)
    return state


def judged(
    detector: Detector,
    batch: list[Tokens],
    admit: list[bool],
    cuts: set[int],
    lessons: dict[int, float],
    restarts: set[int] = frozenset(),  # type: ignore[assignment]
) -> tuple[list[Seen], DetectorState]:
    """Judge actions by pieces, learning what came before each lesson."""
    state, found = detector.start(), list[Seen]()
    for begin, end in pairwise(sorted({0, len(batch), *cuts, *lessons, *restarts})):
        if begin in lessons:
            detector.learn(state, batch[max(begin - WINDOW, 0) : begin], lessons[begin])
        if begin in restarts:
            state = moved(detector, state)
        found += seen(detector.judge(state, batch[begin:end], admit[begin:end]))
    return found, state


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 330),
    cuts=st.sets(st.integers(1, 330), max_size=12),
    lessons=st.dictionaries(st.integers(1, 330), st.sampled_from([0.0, 0.4, 0.9, 1.0]), max_size=6),
    restarts=st.sets(st.integers(1, 330), max_size=4),
    kept_out=st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]),
)
@example(seed=1, count=330, cuts=set(), lessons={}, restarts=set(), kept_out=0.0)
@example(seed=2, count=330, cuts={1, 2}, lessons={100: 1.0, 200: 1.0, 300: 1.0}, restarts={5, 201}, kept_out=0.1)
def test_judge_cuts_and_restarts_do_not_matter(
    kind: str,
    seed: int,
    count: int,
    cuts: set[int],
    lessons: dict[int, float],
    restarts: set[int],
    kept_out: float,
) -> None:
    """In any cuts, with any admissions, lessons and restarts, evidence and state are those of one by one."""
    detector, draw = made(kind), Random(seed)  # noqa: S311 - sample data
    batch = sequence(count, seed, first=draw.choice((0, 5, 40)))
    admit = [draw.random() >= kept_out for _ in batch]
    cuts, restarts = ({place for place in places if place < count} for places in (cuts, restarts))
    lessons = {place: weight for place, weight in lessons.items() if place < count}
    with patch.object(ocsvm, "REFIT", 2):
        expected, state = judged(detector, batch, admit, set(range(count)), lessons)
        found, cut = judged(detector, batch, admit, cuts, lessons)
        again, restarted = judged(detector, batch, admit, cuts, lessons, restarts)
    assert len(expected) == count
    assert found == expected
    assert carried(detector, cut) == carried(detector, state)
    if detector.sequence is None:
        assert again == expected
        assert carried(detector, restarted) == carried(detector, state)
    else:  # a restart adds the rarities of the window up anew, and multiplies the counts out
        assert flat(again) == pytest.approx(flat(expected), abs=1e-9)
        learned, whole = (
            {name: one for name, one in carried(detector, each)[1].items() if not name.startswith("sequence.")}
            for each in (restarted, state)
        )
        assert learned == whole


def test_judge_first_action_and_every_tenth_let_in_are_steps(detector: Detector) -> None:
    """The window is judged with the first action that is let in, and with every tenth, whatever is kept out."""
    draw, batch = Random(3), sequence(200, 3)  # noqa: S311 - sample data
    admit = [number > 4 and draw.random() < 0.7 for number in range(200)]
    evidence = detector.judge(detector.start(), batch, admit)
    let_in = [number for number, one in enumerate(admit) if one]
    assert evidence.steps == [let_in[0], *let_in[STEP - 1 :: STEP]]


def test_judge_action_kept_out_leaves_the_state_alone(detector: Detector) -> None:
    """What is only judged leaves no trace, and has a figure of its own."""
    state = taught(detector, 2)
    before = carried(detector, state)
    evidence = detector.judge(state, sequence(20, 9, first=80), [False] * 20)
    assert carried(detector, state) == before
    assert (evidence.steps, evidence.views) == ([], [])
    assert (evidence.action > 0.0).any()


def test_judge_figures_are_those_of_the_parts(detector: Detector) -> None:
    """Evidence is what profile, window model, network, neighbours and ranks make of the same actions."""
    state, batch = detector.start(), sequence(STEP, 4, first=6)
    evidence = detector.judge(state, batch, [True] * STEP)
    features = [tokens.features for tokens in batch]
    window = [*detector.window, *features][-WINDOW:]
    margin = 0.0 if detector.svm is None else detector.svm.margin(detector.svm.start(), window)
    ranks = Ranks(detector.profile, detector.profile.start(), features)
    recent = detector.start().recent
    bits = []
    for number, one in enumerate(features):
        bits.append(detector.rarity.surprise(ranks.of(number, recent.counts)))
        recent.push(one)
    heard = None
    if detector.sequence is not None:
        heard = detector.sequence.judge(detector.sequence.start(), batch, [True] * STEP)
        assert evidence.surprise.tolist() == heard.surprise.tolist()
    else:
        assert evidence.surprise[-1] == margin
    assert evidence.details is None if heard is None else isinstance(evidence.details, Foreseen)
    is_sequence = detector.algorithm is Algorithm.LSTM
    assert evidence.action.tolist() == (heard.surprise.tolist() if heard is not None and is_sequence else bits)
    (*_, views) = evidence.views
    if detector.is_together:
        expected = together_views(detector.profile, detector.profile.start(), window, margin)
        assert expected.shape == (len(LENGTHS), VIEWS + 1)
        assert expected[:, -1].tolist() == [0.0, 0.0, margin]
    else:
        near = detector.neighbours
        first = 0.0 if heard is None else float(heard.rarity[-1])
        first = first if near is None else near.distance(near.start(), window)
        expected = np.zeros((2, OWN_VIEWS))
        expected[0, 0] = first
        expected[1, 1:] = margin, *detector.profile.own_views(detector.profile.start(), window)
    assert views.tolist() == expected.tolist()


def test_judge_margin_stays_between_two_steps() -> None:
    """Without a network the figure that is shown is the margin of the window when it was judged last."""
    detector = made("alone OCSVM")
    evidence = detector.judge(detector.start(), sequence(3 * STEP, 4, first=6), [True] * (3 * STEP))
    assert evidence.steps == [0, STEP - 1, 2 * STEP - 1, 3 * STEP - 1]
    for begin, end in pairwise(evidence.steps):
        assert len(set(evidence.surprise[begin:end].tolist())) == 1
    assert len(set(evidence.surprise.tolist())) == 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "LSTM" not in kind])
def test_judge_new_habits_stand_out_until_they_are_learned(kind: str) -> None:
    """The views of other programs are above those of the user's own, and come down when they are learned."""
    detector, new = made(kind), sequence(WINDOW, 90, first=40)
    own, foreign, later = (
        np.array(detector.judge(state, batch, [True] * WINDOW).views[-1]).ravel()
        for state, batch in (
            (detector.start(), sequence(WINDOW, 91)),
            (detector.start(), new),
            (taught(detector, 10), new),
        )
    )
    assert (foreign - own).sum() > 0.0
    assert (later - foreign).sum() < 0.0


@pytest.mark.parametrize("chunks", [0, 1, 2, 11])
def test_resume_learned_goes_on_bit_for_bit(detector: Detector, chunks: int) -> None:
    """A state that was saved, and what it learned, scores and learns what follows as one that was not."""
    state = taught(detector, chunks)
    again = moved(detector, state)
    assert carried(detector, again) == carried(detector, state)
    assert detector.as_trained(again) == pytest.approx(detector.as_trained(state), abs=1e-9)
    for one in (state, again):
        detector.learn(one, sequence(WINDOW, 97, first=40), 1.0)
    found, expected = (seen(detector.judge(one, sequence(60, 8), [True] * 60)) for one in (again, state))
    if detector.sequence is None:
        assert found == expected
    assert flat(found) == pytest.approx(flat(expected), abs=1e-9)


def test_resume_without_what_was_learned_is_as_trained(detector: Detector) -> None:
    """Without what was learned, a saved state goes on where it was, as it was trained."""
    state = taught(detector, 10)
    again = detector.resume(json.loads(json.dumps(state.to_json())))
    assert carried(detector, again)[0] == carried(detector, state)[0]
    assert carried(detector, again)[1] == carried(detector, detector.start())[1] != carried(detector, state)[1]


def test_learn_chunk_likelier_anothers_is_for_the_counts_alone(detector: Detector) -> None:
    """A chunk of little weight is counted by it, and gives no window to be near to."""
    fresh, state = carried(detector, detector.start())[1], taught(detector, 2, weight=0.5)
    changed = {name for name, one in carried(detector, state)[1].items() if one != fresh[name]}
    assert "profile.own" in changed or "profile.fresh" in changed
    assert not {name for name in changed if name.startswith(("svm.", "neighbours."))}


def test_learn_leaves_the_model_alone(detector: Detector) -> None:
    """However much a state learns, the model that it began with stays as it was."""
    before = {name: array.tobytes() for name, array in detector.arrays().items()}
    taught(detector, 12)
    assert {name: array.tobytes() for name, array in detector.arrays().items()} == before


def test_as_trained_is_what_nothing_learned_would_have_left(detector: Detector) -> None:
    """The window as trained is that of a twin that learned nothing, and learning does not move it."""
    state, twin = detector.start(), detector.start()
    for number in range(11):
        chunk = sequence(WINDOW, 50 + number, first=40)
        detector.judge(state, chunk, [True] * WINDOW)
        plain = detector.judge(twin, chunk, [True] * WINDOW).views[-1]
        before = detector.as_trained(state)
        assert before == pytest.approx(plain, abs=1e-9)
        detector.learn(state, chunk, 1.0)
        assert detector.as_trained(state).tolist() == before.tolist()
    learned = detector.judge(state, chunk[:STEP], [True] * STEP).views[-1]
    assert np.abs(learned - plain).max() > 1e-3


def test_is_together_is_whether_others_are_known() -> None:
    """A user is judged beside others if the profile knows any."""
    assert [made(kind).is_together for kind in KINDS] == [kind.startswith("together") for kind in KINDS]


def test_from_arrays_of_arrays_is_the_same_model(detector: Detector) -> None:
    """A model that went through a file judges exactly the same."""
    arrays = load(save({name: np.ascontiguousarray(array) for name, array in detector.arrays().items()}))
    again = Detector.from_arrays(detector.algorithm, arrays)
    batch = sequence(120, 5)
    found, expected = (seen(one.judge(one.start(), batch, [True] * 120)) for one in (again, detector))
    assert found == expected
    parts = {name.partition(".")[0] for name in arrays if "." in name}
    assert ("sequence" in parts, "neighbours" in parts) == (
        detector.sequence is not None,
        detector.neighbours is not None,
    )


def test_detector_that_cannot_be_raises_value_error() -> None:
    """A window that is too long, and a sequence model without a network, are refused."""
    one = made("alone LSTM")
    with pytest.raises(ValueError, match="window"):
        Detector(Algorithm.LSTM, one.profile, one.rarity, None, one.sequence, None, actions(WINDOW + 1, 3))
    with pytest.raises(ValueError, match="network"):
        Detector(Algorithm.LSTM, one.profile, one.rarity, None, None)


def test_judge_state_of_another_detector_raises_type_error() -> None:
    """A state that lacks a part is a mistake in the program."""
    state = made("alone LSTM").start()
    with pytest.raises(TypeError, match="another detector"):
        made("alone OCSVM").judge(state, sequence(1, 1), [True])


def works(detector: Detector, state: DetectorState) -> None:
    """Score and learn with a state, whose figures are then numbers."""
    evidence = detector.judge(state, sequence(2 * STEP, 6), [True] * (2 * STEP))
    assert all(np.isfinite(one).all() for one in (evidence.surprise, evidence.action, *evidence.views))
    detector.learn(state, sequence(WINDOW, 7), 1.0)
    assert np.isfinite(detector.as_trained(state)).all()
    json.dumps(state.to_json())


HOSTILE: list[Any] = [None, [], {}, "", "x", "AAAA", -2, 99, -(10**400), 10**400, 1.5, float("inf"), float("nan")]
HOSTILE += ["nan", True, [[]], [None], [10**30], [-1], [0], [1e400], base64.b64encode(b"\xff" * 8).decode()]
HOSTILE += [base64.b64encode(b"\0" * 8 * (WINDOW + 1)).decode(), [1] * (WINDOW + 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_resume_hostile_states_raise_expected_errors(kind: str) -> None:
    """A damaged state raises ValueError, KeyError or TypeError when it is read, or works."""
    detector = made(kind)
    state = taught(detector, 1)
    good, learned = json.loads(json.dumps(state.to_json())), detector.learned(state)
    states: list[Any] = [*HOSTILE, {**good, "window": "", "sizes": []}]
    states += [{other: value for other, value in good.items() if other != name} for name in good]
    states += [{**good, name: value} for name in good for value in HOSTILE]
    for name in good["sequence"] or ():
        states += [{**good, "sequence": {**good["sequence"], name: value}} for value in HOSTILE]
    works(detector, detector.resume(good, learned))
    refused = 0
    for one in states:
        try:
            resumed = detector.resume(one, learned)
        except (ValueError, KeyError, TypeError):
            refused += 1
        else:
            works(detector, resumed)
    assert refused > len(states) / 2


def learned_of(kind: str) -> Arrays:
    """Return what a detector learned, with actions that wait."""
    detector = made(kind)
    state = taught(detector, 1)
    detector.learn(state, sequence(30, 3), 1.0)
    return detector.learned(state)


@pytest.mark.parametrize("kind", ["alone BOTH", "together BOTH without a network"])
def test_resume_hostile_arrays_raise_expected_errors(kind: str) -> None:
    """What was learned is refused when it is read, or works; a part that is missing is refused."""
    detector, learned = made(kind), learned_of(kind)
    saved = taught(detector, 1).to_json()
    for what, damage in damages(learned):
        with suppress(ValueError, KeyError, TypeError):
            works(detector, detector.resume(saved, damaged(learned, damage)))
            assert not what.endswith("missing")
    for name in {name.partition(".")[0] for name in learned}:
        without = {other: array for other, array in learned.items() if not other.startswith(name)}
        with pytest.raises(KeyError):
            detector.resume(saved, without)


@pytest.mark.parametrize("kind", ["alone BOTH", "together BOTH without a network"])
def test_from_arrays_hostile_arrays_raise_expected_errors(kind: str) -> None:
    """A model is refused when it is read, or works."""
    good = made(kind)
    arrays = good.arrays()
    own = {name: array for name, array in arrays.items() if not name.startswith("sequence.")}
    for what, damage in damages(own):  # those of the network are its own test's
        with suppress(ValueError, KeyError, TypeError, IndexError):
            detector = Detector.from_arrays(good.algorithm, damaged(arrays, damage))
            works(detector, detector.start())
            assert not what.endswith("missing")


def test_part_takes_the_prefix_off() -> None:
    """Arrays of one part are found by their prefix, which they lose."""
    one = np.zeros(1)
    assert part({"svm.alphas": one, "svmalphas": one, "profile.svm.x": one}, "svm.") == {"alphas": one}
