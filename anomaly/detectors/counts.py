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
from math import log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import Arrays
from anomaly.tokenizer import Tokens

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
        """Weight of each value that training did not know, by the token it falls back to and its hash."""
        self.refresh()

    def refresh(self) -> None:
        """Make what is read action by action: Python's floats are faster than an array's, one at a time."""
        self.own_list: list[float] = self.own.tolist()
        self.total_list: list[float] = self.totals.tolist()


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
        if not (
            np.isfinite(own).all() and (own >= 0).all() and np.isfinite(prior).all() and (prior[1:] > 0).all()
        ):
            raise ValueError("a token without a prior would cost infinitely many bits")
        self.own, self.prior, self.starts, self.others = own, prior, starts, others
        self.totals = np.add.reduceat(own, starts[:-1])
        self._column = [-1]
        for number, count in enumerate(np.diff(starts).tolist()):
            self._column += [number] * count
        self._prior: list[float] = prior.tolist()

    def start(self) -> CountState:
        """Return the counts of training."""
        return CountState(self.own.copy(), self.totals.copy(), {})

    def against(self, prior: Floats) -> Counts:
        """Return the same counts measured against other users."""
        return Counts(self.own, prior, self.starts, others=True)

    def probabilities(self) -> Floats:
        """Return the probability of every token by the counts of training, shape (size,)."""
        column = np.array(self._column)
        found: Floats = (self.own + PRIOR * self.prior) / (self.totals[column] + PRIOR)
        return found

    def judge(self, state: CountState, token: int, mark: int) -> Judged:
        """Judge one token; ``mark`` is the hash of a value that training did not know, else 0."""
        total = state.total_list[self._column[token]] + PRIOR
        prior = self._prior[token]
        probability = (state.own_list[token] + PRIOR * prior) / total
        learned = state.fresh.get((token, mark), 0.0) if mark else 0.0
        if learned:
            # A value that came up since training is at least as probable as whatever else is new of its form.
            probability = min(probability + learned / total, 1.0)
        if not self.others:
            return Judged(probability, 0.0)
        foreign = log(prior / probability)
        if learned:
            # Others may have this one value, not whatever else is of the form.
            prior /= FORMS
            foreign = min(foreign, log(prior * total / (learned + PRIOR * prior)))
        elif mark:
            foreign = NEW * log(total / PRIOR) + (1.0 - NEW) * foreign
        return Judged(probability, foreign)

    def learn(self, state: CountState, chunk: Sequence[Tokens], weight: float) -> None:
        """Count actions, and forget as much: each column's total stays as it was at the end of training."""
        if weight <= 0:
            return
        column = self._column
        seen = np.zeros(len(self.totals))
        for tokens in chunk:
            for token in tokens.ids:
                seen[column[token]] += weight
        keep = np.maximum(1.0 - seen / np.maximum(self.totals, LEAST_MEMORY), 0.0)
        state.own *= np.append(1.0, np.repeat(keep, np.diff(self.starts)))
        state.totals *= keep
        state.fresh = {key: count * float(keep[column[key[0]]]) for key, count in state.fresh.items()}
        for tokens in chunk:
            marks = tokens.marks or (0,) * len(tokens.ids)
            for token, mark in zip(tokens.ids, marks, strict=True):
                state.totals[column[token]] += weight
                if mark and (token, mark) in state.fresh:
                    state.fresh[token, mark] += weight
                    continue
                # The first time it is something new of its form, and counts for what is yet to come.
                state.own[token] += weight
                if mark:
                    state.fresh[token, mark] = weight
        while len(state.fresh) > MAX_FRESH:
            del state.fresh[next(iter(state.fresh))]
        state.refresh()

    def learned(self, state: CountState) -> Arrays:
        """Return the counts as arrays to save."""
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
        return CountState(own.copy(), totals.copy(), dict(pairs))
