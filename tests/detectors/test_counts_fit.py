"""Counts of a user from the user's vocabulary, and the frequencies of tokens."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.corpus import Corpus
from anomaly.detectors.counts_fit import SMOOTH, count, expectation, first_tokens, frequencies, occurrences
from anomaly.osquery import Action
from anomaly.tokenizer import Tokenizer

Floats = NDArray[np.float64]

VALUES = st.lists(
    st.sampled_from(("ls", "git status", "git diff", "/srv/a", "/srv/b", "/srv/c/d", "10.0.0.1", "")), max_size=60
)


def fitted(values: list[str], column: str = "command") -> Tokenizer:
    """Return a tokenizer of actions of two kinds; only one of them has the column."""
    corpus = Corpus()
    for number, value in enumerate(values):
        corpus.append(2 * number, Action(number, "h", "u", "q", "added", {column: value}))
        corpus.append(2 * number + 1, Action(number, "h", "u", "bare", "added", {}))
    return Tokenizer.fit(corpus, corpus.rows())


def sums(tokenizer: Tokenizer, figures: Floats) -> list[float]:
    """Return the sum of the figures of each column's tokens."""
    return [float(figures[head.start : head.stop].sum()) for head in tokenizer.heads]


@given(VALUES)
def test_first_tokens_delimit_the_columns(values: list[str]) -> None:
    """Each column has the tokens from its start to the next, and the last start ends the vocabulary."""
    tokenizer = fitted(values)
    starts = first_tokens(tokenizer)
    assert starts.dtype == np.int32
    assert starts.tolist() == [head.start for head in tokenizer.heads] + [tokenizer.size]
    assert np.diff(starts).tolist() == [len(head.tokens) for head in tokenizer.heads]


@given(VALUES)
def test_occurrences_are_those_of_the_vocabulary(values: list[str]) -> None:
    """A token has the count of the vocabulary; the token of one value has the count of the log."""
    tokenizer = fitted(values)
    found = occurrences(tokenizer)
    assert found.shape == (tokenizer.size,)
    assert found[0] == 0.0
    seen = Counter(values)
    for head in tokenizer.heads[1:]:
        for token, entry in enumerate(head.tokens, head.start):
            assert found[token] == (seen[entry.text] if entry.exact else entry.count)


@given(VALUES)
def test_frequencies_are_probabilities(values: list[str]) -> None:
    """Each column's frequencies add up to 1, and new values have the share that was new in training."""
    tokenizer = fitted(values)
    found = frequencies(tokenizer)
    assert found[0] == 0.0
    assert (found[1:] > 0).all()
    assert sums(tokenizer, found) == pytest.approx([1.0] * len(tokenizer.heads))
    for head in tokenizer.heads:
        part, exact = found[head.start : head.stop], np.array([token.exact for token in head.tokens])
        assert part[~exact].sum() == pytest.approx(head.unseen if exact.any() else 1.0)
        if exact.any():
            known = np.array([token.count for token in head.tokens if token.exact])
            assert part[exact].tolist() == pytest.approx(((1 - head.unseen) * known / known.sum()).tolist())


def test_frequencies_of_new_values_follow_the_column() -> None:
    """A new value is improbable in a column that never varies, and probable in one that always does."""
    steady, restless = fitted(["ls"] * 200), fitted([f"ls -l /srv/{n}" for n in range(200)])
    assert frequencies(steady)[steady.heads[1].start] < 0.01
    assert frequencies(restless)[restless.heads[1].start :].sum() == pytest.approx(1.0)
    assert restless.heads[1].unseen > 0.9


COUNTED = st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=6), min_size=1, max_size=5)


@given(COUNTED)
def test_expectation_is_a_smoothed_share(columns: list[list[float]]) -> None:
    """Each token has its share of the occurrences in its column; a token without any has a small share."""
    figures = np.array([0.0, *(figure for column in columns for figure in column)])
    starts = np.cumsum([1, *map(len, columns)]).astype(np.int32)
    found = expectation(figures, starts)
    for column, start, stop in zip(columns, starts[:-1], starts[1:], strict=True):
        whole = sum(column) + SMOOTH * len(column)
        assert found[start:stop].sum() == pytest.approx(1.0)
        assert found[start:stop].tolist() == pytest.approx([(figure + SMOOTH) / whole for figure in column])
        assert (found[start:stop] > 0).all()


@given(VALUES)
def test_count_has_the_frequencies_and_sizes_of_the_columns(values: list[str]) -> None:
    """Each column weighs as much as its actions, and every token has its frequency."""
    tokenizer = fitted(values)
    counts = count(tokenizer)
    assert counts.starts.tolist() == first_tokens(tokenizer).tolist()
    assert counts.prior.tolist() == frequencies(tokenizer).tolist()
    assert counts.totals.tolist() == pytest.approx([float(head.count) for head in tokenizer.heads])
    # The prior has the same shares as the counts, so it changes no probability.
    assert counts.probabilities().tolist() == pytest.approx(counts.prior.tolist())


def test_count_known_value_is_likelier_than_a_new_one() -> None:
    """A value that the user often had is likelier than one that training did not know."""
    tokenizer = fitted(["git diff"] + ["git status"] * 20 + ["ls"] * 60)
    counts = count(tokenizer)
    state = counts.start()
    often, new = (tokenizer.encode(Action(1, "h", "u", "q", "added", {"command": c})) for c in ("ls", "x"))
    assert not any(often.marks)
    assert new.marks[1]
    assert counts.judge(state, often.ids, often.marks)[1] > 5 * counts.judge(state, new.ids, new.marks)[1]
