"""The peers that are no network of ours: the original's loop, scikit-learn's one-class SVM, and river."""

from __future__ import annotations

import importlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.ocsvm import GAMMA, LENGTH, OneClassSvm, bag_of
from anomaly.features.levels import Features
from anomaly.tokens import Tokens

FIELDS, UNITS = 16, 128
"""Of the original: ids of an action, and units of each of its two layers."""

STEPS = 10
"""Actions of its window: ours to choose, since what is known of it does not say."""

ALL = 1.0 - 1e-6
"""The nu with which every window becomes a support vector; with 1 itself scikit-learn finds no intercept."""

Floats = NDArray[np.float32]


class Bag:
    """Binary bag of the last actions' features, as a row that each action updates.

    Parameters
    ----------
    support
        Features that the support vectors hold, ascending. The others share one more column, which holds their
        length: they are in no product with a support vector.
    start
        The last actions, the newest last.
    """

    def __init__(self, support: NDArray[np.uint64], start: Sequence[Features]) -> None:
        self._window = deque[list[int]]()
        self._counts = Counter[int]()
        self._column = {feature: column for column, feature in enumerate(support.tolist())}
        self._row = np.zeros((1, len(support) + 1))
        self._held = 0  # of the features that the support vectors hold
        for features in start:
            self._push(features)

    def moved(self, tokens: Tokens) -> NDArray[np.float64]:
        """Append an action, drop the oldest, and return the bag with length one, shape (1, features + 1)."""
        self._push(tokens.features)
        self._row[0, -1] = (len(self._counts) - self._held) ** 0.5
        bag: NDArray[np.float64] = self._row / max(len(self._counts), 1) ** 0.5
        return bag

    def _push(self, features: Features) -> None:
        used: list[int] = bag_of([features]).tolist()
        self._window.append(used)
        for feature in used:
            self._counts[feature] += 1
            if self._counts[feature] == 1 and feature in self._column:
                self._row[0, self._column[feature]] = 1.0
                self._held += 1
        if len(self._window) <= LENGTH:
            return
        for feature in self._window.popleft():
            self._counts[feature] -= 1
            if not self._counts[feature]:
                del self._counts[feature]
                if feature in self._column:
                    self._row[0, self._column[feature]] = 0.0
                    self._held -= 1


def one_class(ours: OneClassSvm, window: Sequence[Features]) -> Callable[[Tokens], float]:
    """Return scikit-learn's machine with our support vectors and weights, over the window that moves."""
    svm_of = importlib.import_module("sklearn.svm").OneClassSVM
    alphas = ours.expansion.alphas
    ends = np.cumsum(ours.pool.sizes)[:-1]
    chosen = [bag for bag, alpha in zip(np.split(ours.pool.features, ends), alphas, strict=True) if alpha]
    features = np.unique(np.concatenate(chosen))
    support = np.zeros((len(chosen), len(features) + 1))
    for row, bag in zip(support, chosen, strict=True):
        row[np.searchsorted(features, bag)] = max(len(bag), 1) ** -0.5
    svm = svm_of(kernel="rbf", gamma=GAMMA, nu=ALL).fit(support)
    svm._dual_coef_ = alphas[alphas > 0.0][svm.support_][None]  # ours, in place of equal ones
    moving = Bag(features, window)
    return lambda tokens: float(svm.score_samples(moving.moved(tokens))[0])


def margins(ours: OneClassSvm, window: Sequence[Features], tokens: Sequence[Tokens]) -> list[float]:
    """Return our margin of the window after each action."""
    state, recent = ours.start(), deque(window, maxlen=LENGTH)
    found = []
    for token in tokens:
        recent.append(token.features)
        found.append(ours.margin(state, list(recent)))
    return found


def apart(ours: OneClassSvm, window: Sequence[Features], tokens: Sequence[Tokens]) -> float:
    """Return how far scikit-learn's scores are from our margins, at most."""
    score = one_class(ours, window)
    offset = ours.expansion.offset
    pairs = zip(tokens, margins(ours, window, tokens), strict=True)
    return max(abs(offset - score(token) - margin) for token, margin in pairs)


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
    """Return river's linear one-class SVM over one action's features; it scores and then learns."""
    svm = importlib.import_module("river.anomaly").OneClassSVM(nu=0.1)

    def take(tokens: Tokens) -> float:
        action = dict.fromkeys(tokens.features, 1.0)
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
