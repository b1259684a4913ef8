"""From the views of a window to one figure: how far the evidence says that this is not the user.

The views become a log-likelihood ratio, and the ratios of one window after another go through a filter with two
states, the user or somebody else (a hidden Markov model; Rabiner 1989): suspicion that was raised lasts a while,
and is taken back by nothing but evidence. Each action's window is filtered after the window just before it, which
shares no action with it, so no evidence counts twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from math import exp, isfinite, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import FEW, Tail
from anomaly.detectors.interface import WINDOW

START = 0.01
"""Probability that somebody else begins within a window."""

STAY = 0.9
"""Probability that somebody else is still there in the next window."""

_MOST = 60.0  # nats: beyond, probabilities are 0 and 1


class Fusion:
    """Weighs the views of a window against each other.

    Parameters
    ----------
    weights
        Of the views, shape (views,), in nats for each unit of a view.
    bias
        In nats.
    start, stay
        Of the filter: see :data:`START` and :data:`STAY`.
    tails
        Where each view is first made ``-10 log10 p`` among the user's own; empty where views are weighed raw.
    """

    def __init__(
        self, weights: Sequence[float], bias: float, start: float, stay: float, tails: Sequence[Tail] = ()
    ) -> None:
        if not all(map(isfinite, (*weights, bias))) or not (0.0 < start < 1.0 and 0.0 < stay < 1.0):
            raise ValueError("the weights of the views are none")
        if tails and len(tails) != len(weights):
            raise ValueError("the views and their weights do not pair up")
        self.weights = tuple(weights)
        self.bias = bias
        self.start = start
        self.stay = stay
        self.tails = tuple(tails)

    def evidence(self, views: Sequence[float]) -> float:
        """Return the log-likelihood ratio of a window, in nats: above 0 it speaks for somebody else."""
        ratio = 0.0
        if self.tails:
            for weight, view, tail in zip(self.weights, views, self.tails, strict=True):
                ratio += weight * tail.score(view)
        else:
            for weight, view in zip(self.weights, views, strict=True):
                ratio += weight * view
        return self.bias + ratio

    def evidences(self, views: NDArray[np.float64]) -> list[float]:
        """Return what :meth:`evidence` says of each window, to the last bit; ``views``: shape (windows, views)."""
        if len(views) < FEW or views.shape[1] != len(self.weights):
            return list(map(self.evidence, views.tolist()))
        ratio = np.zeros(len(views))
        for number, weight in enumerate(self.weights):
            view = views[:, number]
            ratio += weight * (np.array(self.tails[number].scores(view.tolist())) if self.tails else view)
        found: list[float] = (self.bias + ratio).tolist()
        return found

    def follow(self, before: float, evidence: float) -> float:
        """Return the log-odds of a window from those of the window just before it and its own evidence."""
        # The odds of "begins if not there, stays if there", by the odds of being there.
        odds = exp(max(min(before, _MOST), -_MOST))
        return log((self.start + self.stay * odds) / (1.0 - self.start + (1.0 - self.stay) * odds)) + evidence

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {
            "weights": np.array(self.weights),
            "filter": np.array([self.bias, self.start, self.stay]),
            "tails": np.array([tail.to_array() for tail in self.tails]).reshape(
                len(self.tails), 2, -1 if self.tails else 1
            ),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Fusion:
        """Rebuild from what :meth:`arrays` gave; ValueError or KeyError where it does not fit."""
        for name, dimensions in (("weights", 1), ("filter", 1), ("tails", 3)):
            if arrays[name].dtype != np.float64 or arrays[name].ndim != dimensions:
                raise ValueError(f"{name} has another form")
        bias, start, stay = arrays["filter"].tolist()
        return cls(
            arrays["weights"].tolist(), bias, start, stay, [Tail.from_array(tail) for tail in arrays["tails"]]
        )


class Filter:
    """The log-odds, in nats, that each of the last windows was somebody else's."""

    def __init__(self, fusion: Fusion, odds: Iterable[float] = ()) -> None:
        self.odds: deque[float] = deque(odds, maxlen=WINDOW)
        self._fusion = fusion
        self._begin = logit(fusion.start)

    def steps(self, evidence: Sequence[float]) -> list[float]:
        """Take in the evidence of consecutive windows, and return the log-odds of each."""
        found: list[float] = []
        for begin in range(0, len(evidence), WINDOW):
            piece = evidence[begin : begin + WINDOW]
            first = min(WINDOW - len(self.odds), len(piece))  # so many have no window before them
            before = chain([self._begin] * first, islice(self.odds, len(piece) - first))
            odds = list(map(self._fusion.follow, before, piece))
            self.odds.extend(odds)
            found += odds
        return found


def logit(share: float) -> float:
    """Return the log-odds of a probability.

    >>> logit(0.5)
    0.0
    """
    return log(share / (1.0 - share))


def probability(odds: float) -> float:
    """Return the probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + exp(-max(min(odds, _MOST), -_MOST)))
