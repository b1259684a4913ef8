"""The peers that are no network of ours: the original's loop, scikit-learn's one-class SVM, and river."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW
from anomaly.detectors.ocsvm import OneClassSvm
from anomaly.detectors.ocsvm_state import GAMMA
from anomaly.tokens import BUCKETS, Tokens
from benchmarks.speed_stages import judged

FIELDS, UNITS = 16, 128
"""Of the original: ids of an action, and units of each of its two layers."""

STEPS = 10
"""Actions of its window: ours to choose, since what is known of it does not say."""

ALL = 1.0 - 1e-6
"""The nu with which every window becomes a support vector; with 1 itself scikit-learn finds no intercept."""

Floats = NDArray[np.float32]


class Bag:
    """The last actions' binary bag, as a row that is kept up with each action."""

    def __init__(self, start: list[tuple[int, ...]]) -> None:
        self._window = deque(start, maxlen=WINDOW + 1)
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        for buckets in start:
            np.add.at(self._counts, list(buckets), 1)

    def moved(self, tokens: Tokens) -> NDArray[np.float64]:
        """Let an action in and the oldest out, and return the bag with length one, shape (1, BUCKETS)."""
        self._window.append(tokens.buckets)
        for bucket in tokens.buckets:
            self._counts[bucket] += 1
        if len(self._window) > WINDOW:
            for bucket in self._window.popleft():
                self._counts[bucket] -= 1
        bag = (self._counts > 0).astype(np.float64)
        bag /= max(float(np.sqrt(bag.sum())), 1.0)
        return bag[None]


def one_class(ours: OneClassSvm) -> Callable[[Tokens], float]:
    """Return scikit-learn's machine with our support vectors and weights, over the window that moves."""
    svm_of = importlib.import_module("sklearn.svm").OneClassSVM
    vectors = ours.vectors
    support = vectors.support / np.sqrt(np.maximum(vectors.support.sum(axis=1, keepdims=True), 1))
    svm = svm_of(kernel="rbf", gamma=GAMMA, nu=ALL).fit(support)
    svm._dual_coef_ = vectors.weights[svm.support_][None]  # ours, in place of equal ones
    bag = Bag([tuple(b for b in row if b >= 0) for row in ours.window.tolist()])
    return lambda tokens: float(svm.score_samples(bag.moved(tokens))[0])


def apart(ours: OneClassSvm, tokens: list[Tokens]) -> float:
    """Return how far scikit-learn's scores are from our margins, at most."""
    score = one_class(ours)
    offset = ours.vectors.offset
    pairs = zip(tokens, judged(ours, tokens), strict=True)
    return max(abs(offset - score(token) - float(evidence.surprise[0])) for token, evidence in pairs)


def half_space(size: int) -> Callable[[Tokens], float]:
    """Return river's trees, with their defaults, over one action's ids alone; they score and then learn."""
    trees = importlib.import_module("river.anomaly").HalfSpaceTrees(seed=0)

    def take(tokens: Tokens) -> float:
        action = {place: token / size for place, token in enumerate(tokens.ids)}
        action |= dict.fromkeys(range(len(action), FIELDS), 0.0)
        score = float(trees.score_one(action))
        trees.learn_one(action)
        return score

    return take


def online_one_class() -> Callable[[Tokens], float]:
    """Return river's linear one-class SVM over one action's buckets; it scores and then learns."""
    svm = importlib.import_module("river.anomaly").OneClassSVM(nu=0.1)

    def take(tokens: Tokens) -> float:
        action = dict.fromkeys(tokens.buckets, 1.0)
        score = float(svm.score_one(action))
        svm.learn_one(action)
        return score

    return take


def windows(tokens: list[Tokens], most: int = 200) -> list[tuple[Floats, Floats]]:
    """Return the original's windows of actions as raw ids, each with the action after it."""
    ids = np.zeros((min(len(tokens), most), FIELDS), dtype=np.float32)
    for row, token in zip(ids, tokens, strict=False):
        row[: len(token.ids)] = token.ids[:FIELDS]
    return [(ids[None, at : at + STEPS], ids[None, at + STEPS]) for at in range(len(ids) - STEPS)]


def original(epochs: int) -> Callable[[tuple[Floats, Floats]], float]:
    """Return the original's loop in today's Keras: predict the action after a window, then fit that window."""
    keras = importlib.import_module("keras")
    model = keras.Sequential(
        [
            keras.Input((STEPS, FIELDS)),
            keras.layers.LSTM(UNITS, return_sequences=True),
            keras.layers.LSTM(UNITS),
            keras.layers.Dense(FIELDS),
        ]
    )
    model.compile(loss="mean_squared_error", optimizer="adam")

    def take(pair: tuple[Floats, Floats]) -> float:
        window, following = pair
        expected: Any = model.predict(window, verbose=0)
        model.fit(window, following, epochs=epochs, batch_size=1, verbose=0)
        return float(((expected - following) ** 2).mean())

    return take
