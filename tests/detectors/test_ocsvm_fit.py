from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM

from anomaly.detectors import ocsvm_fit
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.ocsvm import NU, POOL, OneClassSvm
from anomaly.detectors.ocsvm_fit import MAX_WINDOWS, TOLERANCE, OcsvmLearner
from anomaly.detectors.ocsvm_state import GAMMA
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import BUCKETS, Encoded
from anomaly.vocabulary import Head, Token

Bags = NDArray[np.uint8]

NOTHING = Tokenizer([Head("", "action", 1, (Token("", exact=False, count=0),), 0, 0.0, 0.5)], set(), {}, 0)


def encoded(count: int, seed: int = 1, habits: int = 60) -> Encoded:
    """Make actions of a user whose habits change slowly, with something new in one of fifty; some are short."""
    draw = np.random.default_rng(seed)
    habit = np.sort(draw.integers(0, habits, count)) + draw.integers(0, 40, count)
    buckets = np.stack([habit, 200 + habit // 3, 300 + draw.integers(0, 5, count)], axis=1).astype(np.int16)
    new = draw.random(count) < 0.02
    buckets[new, 1] = draw.integers(400, BUCKETS, new.sum())
    buckets[draw.random(count) < 0.3, 2] = -1
    ids = np.ones((count, 1), dtype=np.int32)
    return Encoded(ids, buckets, np.zeros((count, 1), dtype=np.uint32))


def fit(actions: Encoded, *learn: range) -> OneClassSvm:
    """Fit stretches of actions, all by default."""
    count = len(actions.ids)
    return OcsvmLearner().fit(NOTHING, actions, list(learn) or [range(count)], range(count - WINDOW, count))


def bag(actions: Encoded, end: int) -> Bags:
    """Make the bag of one window, the slow way."""
    filled = {b for row in actions.buckets[end - WINDOW : end].tolist() for b in row if b >= 0}
    return np.isin(np.arange(BUCKETS), list(filled)).astype(np.uint8)


def margins(weights: NDArray[np.float64], support: Bags, offset: float, bags: Bags) -> NDArray[np.float64]:
    """Return how far inside bags lie, by the definition."""
    points, vectors = ((b / np.sqrt(b.sum(axis=1, keepdims=True))) for b in (bags, support))
    return np.asarray(np.exp(-2.0 * GAMMA * (1.0 - points @ vectors.T)) @ weights - offset)


@pytest.mark.parametrize("count", [400, 3000, 9000])
def test_a_part_of_the_windows_gives_the_solution_of_all(count: int) -> None:
    """What is made of the windows that can weigh is what libsvm makes of all of them, to its tolerance."""
    actions = encoded(count)
    found = fit(actions)
    stride = max(1, -(-(count - WINDOW + 1) // MAX_WINDOWS))
    bags = np.array([bag(actions, end) for end in range(WINDOW, count + 1, stride)])
    points = bags / np.sqrt(bags.sum(axis=1, keepdims=True))
    svm = OneClassSVM(kernel="rbf", gamma=GAMMA, nu=NU, tol=1e-4).fit(points)
    expected = svm.decision_function(points) / svm.dual_coef_.sum()
    vectors = found.vectors
    inside = margins(vectors.weights, vectors.support, vectors.offset, bags)
    assert inside == pytest.approx(expected, abs=2 * TOLERANCE / (NU * len(bags)))
    assert vectors.weights.sum() == pytest.approx(1.0)
    assert len(vectors.weights) < len(bags) / 2
    assert len(found.pool) <= POOL


def test_windows_lie_within_stretches() -> None:
    """A window never reaches over the gap between two stretches, and a stretch that is too short has none."""
    actions = encoded(700)
    bags = ocsvm_fit._bags(actions, [range(50), range(100, 320), range(400, 700)])
    ends = [*range(200, 321), *range(500, 701)]
    assert bags.tolist() == [bag(actions, end).tolist() for end in ends]


def test_what_is_repeated_weighs_as_often() -> None:
    """Windows that are the same are fitted once, with the weight of all: the order is that of the first."""
    rows = np.eye(BUCKETS, dtype=np.uint8)[[7, 3, 7, 7, 900, 3]]
    first, often = ocsvm_fit._distinct(rows)
    assert first.tolist() == [0, 1, 4]
    assert often.tolist() == [3.0, 2.0, 1.0]


def test_a_user_who_always_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single window, however often it occurs, and few that weigh much, can be fitted."""
    actions = encoded(600)
    same = actions._replace(buckets=np.full_like(actions.buckets, 5))
    assert fit(same).vectors.weights.tolist() == [1.0]
    monkeypatch.setattr(ocsvm_fit, "_FIRST", 1)  # what the first weigh is too little to begin with
    half = same._replace(buckets=np.where(np.arange(600)[:, None] < 500, 5, actions.buckets).astype(np.int16))
    assert fit(half).vectors.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("first", [20, 200, 5000])
def test_where_it_begins_does_not_matter(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many windows are fitted first, the decision is the same to the tolerance."""
    actions = encoded(1500)
    usual = fit(actions).vectors
    monkeypatch.setattr(ocsvm_fit, "_FIRST", first)
    monkeypatch.setattr(ocsvm_fit, "_FURTHER", 30)
    other = fit(actions).vectors
    bags = ocsvm_fit._bags(actions, [range(1500)])
    one, two = (margins(v.weights, v.support, v.offset, bags) for v in (usual, other))
    assert one == pytest.approx(two, abs=2 * TOLERANCE / (NU * len(bags)))
