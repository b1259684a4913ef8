"""However what a user does is cut into batches, a detector makes the same of it, to the last bit."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.calibration import Tail
from anomaly.detectors import ocsvm
from anomaly.detectors.both import Both, BothState
from anomaly.detectors.counts import Counts
from anomaly.detectors.interface import WINDOW, Detector, Evidence, State
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.detectors.ocsvm import OneClassSvm, packed
from anomaly.detectors.ocsvm_state import WindowState
from anomaly.tokens import BUCKETS, Tokens
from tests.conftest import Verdict, drawn_network, verdicts

UNITS = 64
STARTS = np.array([1, 6, 60, 400], dtype=np.int32)
SIZE = 400


def sequence(count: int, seed: int) -> list[Tokens]:
    """Draw actions: a kind, and none, one or both of two columns; some values are new, and some repeat."""
    draw, found = Random(seed), list[Tokens]()  # noqa: S311 - sample data
    while len(found) < count:
        if found and draw.random() < 0.2:
            found.append(draw.choice(found))
            continue
        ids = [draw.randrange(1, 6)]
        ids += [draw.randrange(6, 60)] if draw.random() < 0.8 else []
        ids += [min(draw.randrange(60, 400), draw.randrange(60, 400))] if draw.random() < 0.7 else []
        marks = [draw.randrange(1, 4) if token % 9 == 0 else 0 for token in ids]
        buckets = [7 * token % 500 + mark for token, mark in zip(ids, marks, strict=True)]
        buckets += [draw.randrange(BUCKETS)] if draw.random() < 0.1 else []  # of a column never seen
        found.append(Tokens(tuple(ids), tuple(buckets), tuple(marks) if draw.random() < 0.9 else ()))
    return found


def bags(count: int) -> np.ndarray:
    """Make the bags of windows of such actions."""
    found = np.zeros((count, BUCKETS), dtype=np.uint8)
    for seed, bag in enumerate(found):
        bag[[bucket for tokens in sequence(60, 1000 + seed) for bucket in tokens.buckets]] = 1
    return found


def made(*, others: bool) -> Both:
    """Make a network and windows of the sizes that they have in life."""
    draw = np.random.default_rng(2)

    own, prior = np.zeros(SIZE), np.zeros(SIZE)
    for start, stop in pairwise(STARTS.tolist()):
        own[start:stop] = draw.integers(0, 40, stop - start)
        prior[start:stop] = draw.dirichlet([2.0] * (stop - start))
    tail = Tail(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.5, 0.05]), scale=2.0, shape=0.1).to_array()
    window = sequence(60, 77)
    ids, buckets = np.zeros((60, 3), dtype=np.int32), np.full((60, 4), -1, dtype=np.int16)
    for row, filled, tokens in zip(ids, buckets, window, strict=True):
        row[: len(tokens.ids)] = tokens.ids
        filled[: len(tokens.buckets)] = tokens.buckets
    hidden, cell = draw.normal(size=(2, UNITS)).astype(np.float32)
    lstm = Lstm(
        drawn_network(draw, UNITS, STARTS),
        counts=Counts(own, prior, STARTS, others=others),
        rarity=np.array([tail] * 5),
        hidden=hidden,
        cell=cell,
        recent=draw.uniform(0, 30, 60),
        window=ids,
    )
    weights = draw.dirichlet([1.0] * 61)
    return Both(lstm, OneClassSvm(bags(61), weights, 0.8, buckets, packed(bags(25))))


AMONG, ALONE = made(others=True), made(others=False)
DETECTORS: dict[str, Detector] = {
    "LSTM among others": AMONG.sequence,
    "LSTM alone": ALONE.sequence,
    "OCSVM": AMONG.window,
    "BOTH among others": AMONG,
    "BOTH alone": ALONE,
}


def carried(detector: Detector, state: State) -> list[object]:
    """Give all that a state carries along."""
    parts = [state.sequence, state.window] if isinstance(state, BothState) else [state]
    found: list[object] = [state.to_json()]
    for part in parts:
        if isinstance(part, LstmState):
            found += [part.rarity(), part.foreign(), part.counts.scale.tolist(), list(part.counts.fresh.items())]
        elif isinstance(part, WindowState):
            found += [part.overlap.tolist(), part.active, part.counts, part.vectors.weights.tobytes()]
    return [*found, {name: (array.shape, array.tobytes()) for name, array in detector.learned(state).items()}]


def judged(
    detector: Detector, actions: list[Tokens], admit: list[bool], cuts: set[int], lessons: dict[int, float]
) -> tuple[list[Verdict], list[object], list[tuple[float, ...]]]:
    """Judge actions by pieces, learning what came before each lesson; explain all when all is over."""
    state, evidence, windows = detector.start(), list[Evidence](), list[tuple[float, ...]]()
    for begin, end in pairwise(sorted({0, len(actions), *cuts, *lessons})):
        if begin in lessons:
            detector.learn(state, actions[max(begin - WINDOW, 0) : begin], lessons[begin])
            windows.append(detector.as_trained(state))
        evidence.append(detector.judge(state, actions[begin:end], admit[begin:end]))
    return [verdict for one in evidence for verdict in verdicts(one)], carried(detector, state), windows


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS.keys())
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 330),
    cuts=st.sets(st.integers(1, 330), max_size=12),
    lessons=st.dictionaries(st.integers(1, 330), st.sampled_from([0.0, 0.4, 0.9, 1.0]), max_size=6),
    kept_out=st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]),
)
@example(seed=1, count=330, cuts=set(), lessons={}, kept_out=0.0)
@example(seed=2, count=330, cuts={1, 2, 100, 101}, lessons=dict.fromkeys((100, 200, 300), 1.0), kept_out=0.1)
def test_cuts_do_not_matter(
    detector: Detector, seed: int, count: int, cuts: set[int], lessons: dict[int, float], kept_out: float
) -> None:
    """In any cuts, with any admissions and lessons, evidence, explanations and state are those of one by one."""
    draw, actions = Random(seed), sequence(count, seed)  # noqa: S311 - sample data
    admit = [draw.random() >= kept_out for _ in actions]
    cuts = {cut for cut in cuts if cut < count}
    lessons = {place: weight for place, weight in lessons.items() if place < count}
    with patch.object(ocsvm, "REFIT", 2):
        found = judged(detector, actions, admit, cuts, lessons)
        assert found == judged(detector, actions, admit, set(range(count)), lessons)
    assert len(found[0]) == count


@pytest.mark.parametrize("vectors", [1, 2, 7, 16, 100, 257, 800, 4000])
def test_margins_do_not_depend_on_how_many(vectors: int) -> None:
    """The kernel and the margin of a bag are the same bits whatever other bags are judged with it."""
    draw = np.random.default_rng(vectors)
    support = (draw.random((vectors, BUCKETS)) < 0.1).astype(np.uint8)
    expansion = OneClassSvm(
        support, draw.dirichlet([1.0] * vectors), 0.5, np.zeros((0, 1), np.int16), packed(bags(1))
    ).vectors
    overlaps = draw.integers(0, 90, (2 * WINDOW, vectors)).astype(np.float32)
    active = draw.integers(0, 200, 2 * WINDOW)
    kernel = expansion.kernel(overlaps, active)
    alone = [expansion.kernel(overlaps[n : n + 1], active[n : n + 1]) for n in range(2 * WINDOW)]
    assert kernel.tobytes() == b"".join(one.tobytes() for one in alone)
    assert expansion.margins(kernel).tobytes() == b"".join(expansion.margins(one).tobytes() for one in alone)


def test_probabilities_do_not_depend_on_how_many() -> None:
    """What the network gives a token is the same bits whatever other tokens it is asked for at once."""
    draw, lstm = np.random.default_rng(5), AMONG.sequence
    batch = [Tokens((token,), ()) for token in draw.integers(1, SIZE, 500).tolist()]
    hidden = np.tanh(draw.normal(size=(500, UNITS))).astype(np.float32)
    alone = [lstm.network.probabilities(hidden[n : n + 1], batch[n : n + 1])[0] for n in range(500)]
    assert lstm.network.probabilities(hidden, batch) == alone
