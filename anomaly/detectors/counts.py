"""What a user does, as counts that go on counting: the part of the sequence view that follows its user.

By column, each token's probability is its share among the user's own actions, with a prior that weighs as much as
``PRIOR`` actions (a Dirichlet prior). Where other users are known, the prior is what they do: a value new to alice
and common among others costs her little, and one that nobody has costs much. The same counts say how much
likelier an action is of somebody else than of this user: a masquerader is like others, a user who tries something
new is not.

Counts that are learned while running are a continuous cache (Grave, Joulin & Usunier 2017) that forgets as much as
it learns, so that what training saw and what came later always weigh as much as training did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import Arrays
from anomaly.tokens import Tokens

PRIOR = 20.0
"""Actions that the prior weighs as much as."""

LEAST_MEMORY = 500.0
"""Actions of a column that are remembered at least."""

MAX_FRESH = 4096
"""Values remembered that training did not know; beyond, the one learned first is forgotten."""

FORMS = 32.0
"""Values that are taken to share a general form: what one of them is expected to have of the form's share."""

NEW = 0.5
"""How far a value that nobody has counts as one that others have and this user has not.

By the rates of new values alone (0) it would tell nothing of a user who brings as many as others do; counted in
full (1) it makes a stranger of a user who tries something out. On a logarithmic scale, this is half way.
"""

_SMALLEST = 1e-100  # of a scale, before it is multiplied out; and of a probability, for the padding's logarithm

Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """What the counts say of one token."""

    probability: float
    """Of the token, within its column."""
    foreign: float
    """How much likelier it is of somebody else, in nats; 0 where nobody else is known."""


class CountState:
    """The counts of one user, as they stand."""

    def __init__(self, own: Floats, totals: Floats, fresh: dict[tuple[int, int], float]) -> None:
        self.own = own
        self.totals = totals
        self.fresh = fresh
        """Weight of each value that training did not know, by the token it falls back to and its hash; in units of
        ``scale``, so that what is forgotten is forgotten by one number a column and not value by value."""
        self.scale: Floats = np.ones(len(totals))
        self.probability: list[float] = []
        """Of each token as such, within its column..."""
        self.foreign: list[float] = []
        """...and how much likelier it is of somebody else, in nats; empty where nobody else is known."""
        self.weights: list[float] = []
        """By column: what its counts and its prior weigh together."""


class Counts:
    """Counts by token, and what they are measured against. Immutable.

    Parameters
    ----------
    own
        How often the user's own actions had each token, shape (size,).
    prior
        How probable each token is beforehand, within its column, shape (size,).
    starts
        First token of each column and one past the last, shape (columns + 1,).
    others
        Whether the prior is what other users do.
    """

    def __init__(self, own: Floats, prior: Floats, starts: NDArray[np.int32], *, others: bool) -> None:
        if starts.ndim != 1 or len(starts) < 2 or (np.diff(starts) <= 0).any():
            raise ValueError("the columns are out of order")
        if own.shape != prior.shape or own.ndim != 1 or starts[-1] != len(own) or starts[0] != 1:
            raise ValueError("the counts do not cover the vocabulary")
        if own.dtype != np.float64 or prior.dtype != np.float64:
            raise ValueError("the counts are of another type")
        if not (
            np.isfinite(own).all() and (own >= 0).all() and np.isfinite(prior).all() and (prior[1:] > 0).all()
        ):
            raise ValueError("a token without a prior would cost infinitely many bits")
        self.own, self.prior, self.starts, self.others = own, prior, starts, others
        self.totals = np.add.reduceat(own, starts[:-1])
        self._columns = np.maximum(np.searchsorted(starts, np.arange(len(own)), side="right") - 1, 0)
        self._column: list[int] = self._columns.tolist()

    def start(self) -> CountState:
        """Return the counts of training."""
        return self._refreshed(CountState(self.own.copy(), self.totals.copy(), {}))

    def against(self, prior: Floats) -> Counts:
        """Return the same counts measured against other users."""
        return Counts(self.own, prior, self.starts, others=True)

    def probabilities(self) -> Floats:
        """Return the probability of every token by the counts of training, shape (size,)."""
        found: Floats = (self.own + PRIOR * self.prior) / (self.totals[self._columns] + PRIOR)
        return found

    def judge(self, state: CountState, token: int, mark: int) -> Judged:
        """Judge one token; ``mark`` is the hash of a value that training did not know, else 0."""
        (probability,), nats = self.judge_all(state, (token,), (mark,))
        return Judged(probability, nats[0] if nats else 0.0)

    def judge_all(
        self, state: CountState, ids: Sequence[int], marks: Sequence[int]
    ) -> tuple[list[float], list[float]]:
        """Judge an action's tokens: their probabilities, and how foreign each is (where others are known)."""
        known = state.probability
        probabilities = [known[token] for token in ids]
        foreign: list[float] = []
        if self.others:
            nats = state.foreign
            foreign = [nats[token] for token in ids]
        if any(marks):
            for place, mark in enumerate(marks):
                if mark:
                    self._judge_marked(state, place, (ids[place], mark), probabilities, foreign)
        return probabilities, foreign

    def _judge_marked(
        self,
        state: CountState,
        place: int,
        key: tuple[int, int],
        probabilities: list[float],
        foreign: list[float],
    ) -> None:
        """Judge what training did not know, in place of the form it falls back to."""
        token = key[0]
        learned = state.fresh.get(key, 0.0)
        total = state.weights[self._column[token]]
        if learned:
            # A value that came up since training is at least as probable as whatever else is new of its form.
            learned *= float(state.scale[self._column[token]])
            probabilities[place] = min(probabilities[place] + learned / total, 1.0)
        if not self.others:
            return
        if learned:
            # Others may have this one value, not whatever else is of the form.
            prior = float(self.prior[token])
            nats = log(prior / probabilities[place])
            prior /= FORMS
            foreign[place] = min(nats, log(prior * total / (learned + PRIOR * prior)))
        else:
            foreign[place] = NEW * log(total / PRIOR) + (1.0 - NEW) * foreign[place]

    def learn(self, state: CountState, chunk: Sequence[Tokens], weight: float) -> None:
        """Count actions, and forget as much: each column's total stays as it was at the end of training."""
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
            # The first time it is something new of its form, and counts for what is yet to come.
            state.own[token] += weight
        while len(state.fresh) > MAX_FRESH:
            del state.fresh[next(iter(state.fresh))]
        self._refreshed(state)

    def learned(self, state: CountState) -> Arrays:
        """Return the counts as arrays to save."""
        self._rescale(state)  # who goes on from the file, and who goes on from here, go on from the same bits
        return {
            "own": state.own,
            "totals": state.totals,
            "fresh": np.array(list(state.fresh), dtype=np.int64).reshape(-1, 2),
            "fresh_weight": np.array(list(state.fresh.values()), dtype=np.float64),
        }

    def resume(self, learned: Mapping[str, NDArray[Any]]) -> CountState:
        """Rebuild a state from what :meth:`learned` gave; ValueError or KeyError where it does not fit."""
        own, totals, fresh, weight = (learned[name] for name in ("own", "totals", "fresh", "fresh_weight"))
        if own.shape != self.own.shape or totals.shape != self.totals.shape or fresh.shape != (weight.size, 2):
            raise ValueError("what was learned is of another model")
        numbers = (own, totals, weight.ravel())
        if not all(n.dtype == np.float64 and np.isfinite(n).all() and (n >= 0).all() for n in numbers):
            raise ValueError("what was learned holds no counts")
        if (
            len(fresh) > MAX_FRESH
            or fresh.dtype != np.int64
            or not ((fresh[:, 0] > 0) & (fresh[:, 0] < len(own))).all()
        ):
            raise ValueError("what was learned holds tokens that there are not")
        pairs = zip(map(tuple, fresh.tolist()), weight.ravel().tolist(), strict=True)
        return self._refreshed(CountState(own.copy(), totals.copy(), dict(pairs)))

    def _rescale(self, state: CountState) -> None:
        scale = state.scale.tolist()
        state.fresh = {key: count * scale[self._column[key[0]]] for key, count in state.fresh.items()}
        state.scale[:] = 1.0

    def _refreshed(self, state: CountState) -> CountState:
        """Work out what is said of each token as such: between two times that something is learned, it stays."""
        state.weights = (state.totals + PRIOR).tolist()
        probability = (state.own + PRIOR * self.prior) / (state.totals + PRIOR)[self._columns]
        state.probability = probability.tolist()
        if self.others:
            foreign = np.log(np.maximum(self.prior, _SMALLEST) / np.maximum(probability, _SMALLEST))
            state.foreign = foreign.tolist()
        return state
