"""From raw evidence to a score that a person can use: ``-10 log10 p``, how rare this is for this user.

The probability is read off figures that training gave to actions before it learned them: by their empirical
distribution down to the thirty rarest, and beyond them by a generalised Pareto tail (Pickands 1975; Siffer et al.,
KDD 2017, section 3), which goes on where the data end.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from math import inf, log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SCORE = 100.0
"""One in 10^10: rarer figures are not told apart."""

KNOTS = 128
"""Points of the empirical distribution that are kept."""

FEW = 16
"""Figures up to which it is faster to take one after another than to make arrays of them."""

_LN10 = log(10.0)

Floats = NDArray[np.float64]


class Tail:
    """How probable a raw figure at least this high is.

    Parameters
    ----------
    figures
        Ascending points of the empirical distribution, shape (knots,).
    exceeding
        The probability of exceeding each of them, descending, shape (knots,); the last is where the tail
        begins.
    scale, shape
        Of the generalised Pareto distribution above ``figures[-1]``.

    Examples
    --------
    >>> tail = Tail(np.array([0.0, 1.0]), np.array([1.0, 0.1]), scale=1.0, shape=0.0)
    >>> round(tail.score(1.0), 3)
    10.0
    >>> round(tail.score(1.0 + float(np.log(100))), 3)
    30.0
    """

    def __init__(self, figures: Floats, exceeding: Floats, scale: float, shape: float) -> None:
        if figures.ndim != 1 or figures.shape != exceeding.shape or not len(figures):
            raise ValueError("the distribution's points do not pair up")
        if not (np.isfinite(figures).all() and (exceeding > 0).all() and 0 < scale < inf and 0 <= shape < inf):
            raise ValueError("the distribution is not one")
        if (np.diff(figures) < 0).any() or (np.diff(exceeding) > 0).any() or exceeding[0] > 1:
            raise ValueError("the distribution is not in order")
        self.figures = figures
        self.exceeding = exceeding
        self.scale = scale
        self.shape = shape
        self._knots: list[float] = figures.tolist()
        self._scores: list[float] = (0.0 - 10.0 * np.log10(exceeding)).tolist()

    def score(self, figure: float) -> float:
        """Return ``-10 log10 p`` of a raw figure, in 0..100; never less for a higher figure."""
        knots, scores = self._knots, self._scores
        if figure <= knots[-1]:
            # The first of equal knots: p counts the figures that are as high, and many are exactly 0.
            above = bisect_left(knots, figure)
            if above == 0 or knots[above] == figure:
                return scores[above]
            part = (figure - knots[above - 1]) / (knots[above] - knots[above - 1])
            # Rounding may lead beyond the knot's own.
            return min(scores[above - 1] + part * (scores[above] - scores[above - 1]), scores[above])
        beyond = (figure - knots[-1]) / self.scale
        nats = log1p(self.shape * beyond) / self.shape if self.shape else beyond
        return min(scores[-1] + 10.0 * nats / _LN10, MAX_SCORE)

    def scores(self, figures: list[float]) -> list[float]:
        """Return what :meth:`score` says of each figure, to the last bit."""
        return list(map(self.score, figures)) if len(figures) < FEW else self._scores_of(np.array(figures))

    def _scores_of(self, figures: Floats) -> list[float]:
        knots = self.figures
        below, width, floor, rise, scores = self._pieces
        above = knots.searchsorted(figures)
        beyond = (above == len(knots)).nonzero()[0].tolist()
        above = np.minimum(above, len(knots) - 1)
        between = (np.maximum(figures, knots[0]) - below[above]) / width[above] * rise[above] + floor[above]
        highest = scores[above]
        found: list[float] = np.where(knots[above] == figures, highest, np.minimum(between, highest)).tolist()
        for place in beyond:  # the last bits of numpy's logarithm are others than Python's
            found[place] = self.score(float(figures[place]))
        return found

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """By knot, where the piece that ends there begins, and its width; the same of its scores; its score."""
        knots, scores = self.figures, np.array(self._scores)
        with np.errstate(over="ignore"):
            width = np.diff(knots, prepend=knots[:1])
        width[width == 0] = 1.0  # of equal knots only the first is ever looked for
        rise = np.diff(scores, prepend=scores[:1])
        return np.append(knots[:1], knots[:-1]), width, np.append(scores[:1], scores[:-1]), rise, scores

    def to_array(self) -> Floats:
        """Return everything as one array, shape (2, knots + 1)."""
        return np.array([[*self.figures, self.scale], [*self.exceeding, self.shape]])

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> Tail:
        """Rebuild from what :meth:`to_array` gave; raises ValueError where it does not fit."""
        if array.dtype != np.float64 or array.ndim != 2 or array.shape[0] != 2 or array.shape[1] < 2:
            raise ValueError("the distribution has another form")
        return cls(array[0, :-1].copy(), array[1, :-1].copy(), float(array[0, -1]), float(array[1, -1]))


class Calibration:
    """The two tails of a user: of single actions, and of the recent window."""

    def __init__(self, action: Tail, window: Tail) -> None:
        self.action = action
        self.window = window
