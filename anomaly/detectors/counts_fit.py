"""Learning a user's counts, and what they are measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.counts import Counts
from anomaly.tokenizer import Tokenizer

SMOOTH = 0.01
"""Pseudo-count of what no other user has."""

Floats = NDArray[np.float64]


def count(tokenizer: Tokenizer, others: Floats | None = None) -> Counts:
    """Return the counts of a user.

    Parameters
    ----------
    tokenizer
        The user's.
    others
        Probability of each token among other users, from :func:`expectation`; None where none are known.
    """
    starts = first_tokens(tokenizer)
    if others is not None:
        return Counts(occurrences(tokenizer), others, starts, others=True)
    prior = frequencies(tokenizer)
    sizes = np.repeat([float(head.count) for head in tokenizer.heads], np.diff(starts))
    return Counts(prior * np.append(0.0, sizes), prior, starts, others=False)


def first_tokens(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Return the first token of each column and one past the last, shape (columns + 1,)."""
    return np.array([head.start for head in tokenizer.heads] + [tokenizer.size], dtype=np.int32)


def occurrences(tokenizer: Tokenizer) -> Floats:
    """Return how often each token occurred, shape (size,)."""
    return np.array([0.0, *(float(token.count) for head in tokenizer.heads for token in head.tokens)])


def expectation(counts: Floats, starts: NDArray[np.int32]) -> Floats:
    """Return the probability of each token within its column, by counts of occurrences; shape (size,)."""
    smooth = counts + SMOOTH
    totals = np.add.reduceat(smooth, starts[:-1])
    found: Floats = smooth / np.append(1.0, np.repeat(totals, np.diff(starts)))
    return found


def frequencies(tokenizer: Tokenizer) -> Floats:
    """Return how frequent each token is within its column, shape (size,).

    What is new gets the share that new values had in the later half of training: a column that never varies
    makes a new value cost many bits, and one that always does few.
    """
    frequency = np.zeros(tokenizer.size)
    for head in tokenizer.heads:
        counts = np.array([token.count for token in head.tokens], dtype=np.float64)
        exact = np.array([token.exact for token in head.tokens])
        counts[0] += 0.5  # where nothing was ever unknown, that is still not impossible
        share = head.unseen if exact.any() else 1.0
        part = np.where(exact, counts * (1.0 - share) / max(counts[exact].sum(), 1.0), 0.0)
        frequency[head.start : head.stop] = np.where(exact, part, counts * share / counts[~exact].sum())
    return frequency
