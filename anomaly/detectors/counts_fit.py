"""Fits the counts of a user from the user's vocabulary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.counts import Counts
from anomaly.tokenizer import Tokenizer

SMOOTH = 0.01
"""Pseudo-count of a token in :func:`expectation`."""

Floats = NDArray[np.float64]


def count(tokenizer: Tokenizer) -> Counts:
    """Return the counts of the user whose actions ``tokenizer`` was fitted on.

    Each column weighs as much as its actions. The shares and the prior are :func:`frequencies`.
    """
    starts = first_tokens(tokenizer)
    prior = frequencies(tokenizer)
    sizes = np.repeat([float(head.count) for head in tokenizer.heads], np.diff(starts))
    return Counts(prior * np.append(0.0, sizes), prior, starts)


def first_tokens(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Return the first token of each column and one past the last, shape (columns + 1,)."""
    return np.array([head.start for head in tokenizer.heads] + [tokenizer.size], dtype=np.int32)


def occurrences(tokenizer: Tokenizer) -> Floats:
    """Return how often each token occurred, shape (size,)."""
    return np.array([0.0, *(float(token.count) for head in tokenizer.heads for token in head.tokens)])


def expectation(counts: Floats, starts: NDArray[np.int32]) -> Floats:
    """Return the probability of each token within its column, smoothed by ``SMOOTH``.

    Parameters
    ----------
    counts
        Occurrences of each token, shape (size,).
    starts
        First token of each column and one past the last, shape (columns + 1,).

    Examples
    --------
    >>> expectation(np.array([0.0, 3.0, 1.0, 5.0]), np.array([1, 3, 4], dtype=np.int32)).round(2).tolist()
    [0.01, 0.75, 0.25, 1.0]
    """
    smooth = counts + SMOOTH
    totals = np.add.reduceat(smooth, starts[:-1])
    found: Floats = smooth / np.append(1.0, np.repeat(totals, np.diff(starts)))
    return found


def frequencies(tokenizer: Tokenizer) -> Floats:
    """Return the frequency of each token within its column, shape (size,).

    All new values together have the share that new values had in the later half of training. So a new value costs
    many bits in a column that never varies, and few bits in one that always does.
    """
    frequency = np.zeros(tokenizer.size)
    for head in tokenizer.heads:
        counts = np.array([token.count for token in head.tokens], dtype=np.float64)
        exact = np.array([token.exact for token in head.tokens])
        counts[0] += 0.5  # an unknown value is possible even if training had none
        share = head.unseen if exact.any() else 1.0
        part = np.where(exact, counts * (1.0 - share) / max(counts[exact].sum(), 1.0), 0.0)
        frequency[head.start : head.stop] = np.where(exact, part, counts * share / counts[~exact].sum())
    return frequency
