"""Counts of a user's tokens, which keep adapting: the part of the sequence model that follows its user.

In each column, the probability of a token is its share of the user's actions, smoothed with a prior that weighs as
much as ``PRIOR`` actions (a Dirichlet prior).

The counts that a state adapts are a continuous cache (Grave, Joulin & Usunier 2017). They forget as much as they
learn, so training and later actions together always weigh as much as training did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import Arrays
from anomaly.tokens import Tokens

PRIOR = 20.0
"""Weight of the prior, in actions."""

LEAST_MEMORY = 500.0
"""Actions of a column that are remembered at least."""

MAX_FRESH = 4096
"""Remembered values that training did not know. Beyond, the one learned first is forgotten."""

_SMALLEST = 1e-100  # scale below which the weights are multiplied out

Floats = NDArray[np.float64]


class CountState:
    """Adapted counts of one user."""

    def __init__(self, own: Floats, totals: Floats, fresh: dict[tuple[int, int], float]) -> None:
        self.own = own
        """Weight of each token, shape (size,)."""
        self.totals = totals
        """Weight of each column, shape (columns,)."""
        self.fresh = fresh
        """Weight of each value that training did not know, by its (token, mark), in units of ``scale``."""
        # One factor per column: forgetting multiplies it instead of every value in ``fresh``.
        self.scale: Floats = np.ones(len(totals))
        self.probability: list[float] = []
        """Probability of each token within its column, for a value without a mark."""
        self.weights: list[float] = []
        """Weight of each column's counts and prior together."""


class Counts:
    """Counts of training. Immutable.

    Parameters
    ----------
    own
        Occurrences of each token in the user's actions, shape (size,).
    prior
        Prior probability of each token within its column, shape (size,).
    starts
        First token of each column and one past the last, shape (columns + 1,).

    Examples
    --------
    >>> counts = Counts(np.array([0.0, 70.0, 10.0]), np.array([0.0, 0.5, 0.5]), np.array([1, 3], dtype=np.int32))
    >>> counts.judge(counts.start(), ids=(1, 2), marks=(0, 0))
    [0.8, 0.2]
    """

    def __init__(self, own: Floats, prior: Floats, starts: NDArray[np.int32]) -> None:
        if starts.ndim != 1 or len(starts) < 2 or (np.diff(starts) <= 0).any():
            raise ValueError("the columns of the counts are not in order")
        if own.shape != prior.shape or own.ndim != 1 or starts[-1] != len(own) or starts[0] != 1:
            raise ValueError("the counts do not cover the vocabulary")
        if own.dtype != np.float64 or prior.dtype != np.float64:
            raise ValueError("the counts are not of float64")
        if not (
            np.isfinite(own).all() and (own >= 0).all() and np.isfinite(prior).all() and (prior[1:] > 0).all()
        ):
            raise ValueError("the counts are negative or not finite, or a token has no prior")
        self.own, self.prior, self.starts = own, prior, starts
        self.totals = np.add.reduceat(own, starts[:-1])
        self._columns = np.maximum(np.searchsorted(starts, np.arange(len(own)), side="right") - 1, 0)
        self._column: list[int] = self._columns.tolist()

    def start(self) -> CountState:
        """Return a state with the counts of training."""
        return self._refreshed(CountState(self.own.copy(), self.totals.copy(), {}))

    def probabilities(self) -> Floats:
        """Return the probability of every token by the counts of training, shape (size,)."""
        found: Floats = (self.own + PRIOR * self.prior) / (self.totals[self._columns] + PRIOR)
        return found

    def judge(self, state: CountState, ids: Sequence[int], marks: Sequence[int]) -> list[float]:
        """Return the probability of each token of an action within its column.

        Parameters
        ----------
        state
            The counts as adapted.
        ids
            The tokens.
        marks
            For each token the hash of a value that training did not know, else 0.
        """
        known = state.probability
        found = [known[token] for token in ids]
        if any(marks):
            for place, key in enumerate(zip(ids, marks, strict=True)):
                learned = state.fresh.get(key, 0.0) if key[1] else 0.0
                if learned:
                    # The share of its form stays part of the value's probability.
                    column = self._column[key[0]]
                    learned *= float(state.scale[column])
                    found[place] = min(found[place] + learned / state.weights[column], 1.0)
        return found

    def learn(self, state: CountState, chunk: Sequence[Tokens], weight: float) -> None:
        """Count actions, each by ``weight`` in 0..1, and forget as much.

        The total of a column stays as training left it; one below ``LEAST_MEMORY`` grows up to that first.
        """
        if weight <= 0:
            return
        ids = np.fromiter(chain.from_iterable([tokens.ids for tokens in chunk]), dtype=np.intp)
        columns = self._columns[ids]
        seen = weight * np.bincount(columns, minlength=len(self.totals))
        keep = np.maximum(1.0 - seen / np.maximum(self.totals, LEAST_MEMORY), 0.0)
        state.own *= np.append(1.0, np.repeat(keep, np.diff(self.starts)))
        state.totals *= keep
        state.totals += seen
        state.scale *= keep
        if state.scale.min() < _SMALLEST:
            self._rescale(state)
        marks = chain.from_iterable([tokens.marks or (0,) * len(tokens.ids) for tokens in chunk])
        for token, mark in zip(ids.tolist(), marks, strict=True):
            if mark:
                scaled = weight / float(state.scale[self._column[token]])
                if (token, mark) in state.fresh:
                    state.fresh[token, mark] += scaled
                    continue
                state.fresh[token, mark] = scaled
            # Its first time also counts for its form: more values of this form are to be expected.
            state.own[token] += weight
        while len(state.fresh) > MAX_FRESH:
            del state.fresh[next(iter(state.fresh))]
        self._refreshed(state)

    def learned(self, state: CountState) -> Arrays:
        """Return the adapted counts as arrays to save."""
        # Multiplied out in the state, too: it and one that is resumed from the file then go on from the same bits.
        self._rescale(state)
        return {
            "own": state.own,
            "totals": state.totals,
            "fresh": np.array(list(state.fresh), dtype=np.int64).reshape(-1, 2),
            "fresh_weight": np.array(list(state.fresh.values()), dtype=np.float64),
        }

    def resume(self, learned: Mapping[str, NDArray[Any]]) -> CountState:
        """Rebuild a state from the arrays of :meth:`learned`.

        Raises
        ------
        ValueError, KeyError
            The arrays are invalid.
        """
        own, totals, fresh, weight = (learned[name] for name in ("own", "totals", "fresh", "fresh_weight"))
        if own.shape != self.own.shape or totals.shape != self.totals.shape or fresh.shape != (weight.size, 2):
            raise ValueError("the adapted counts belong to another model")
        numbers = (own, totals, weight.ravel())
        if not all(n.dtype == np.float64 and np.isfinite(n).all() and (n >= 0).all() for n in numbers):
            raise ValueError("the adapted counts are negative, not finite or not of float64")
        if (
            len(fresh) > MAX_FRESH
            or fresh.dtype != np.int64
            or not ((fresh[:, 0] > 0) & (fresh[:, 0] < len(own))).all()
        ):
            raise ValueError("the adapted counts have invalid values")
        pairs = zip(map(tuple, fresh.tolist()), weight.ravel().tolist(), strict=True)
        return self._refreshed(CountState(own.copy(), totals.copy(), dict(pairs)))

    def _rescale(self, state: CountState) -> None:
        scale = state.scale.tolist()
        state.fresh = {key: count * scale[self._column[key[0]]] for key, count in state.fresh.items()}
        state.scale[:] = 1.0

    def _refreshed(self, state: CountState) -> CountState:
        """Recompute the probabilities, which stay the same until the state learns again."""
        state.weights = (state.totals + PRIOR).tolist()
        probability = (state.own + PRIOR * self.prior) / (state.totals + PRIOR)[self._columns]
        state.probability = probability.tolist()
        return state
