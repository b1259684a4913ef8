"""From a vocabulary to counts: what a user did, how new values are accounted for, and what others do."""

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
    """Fit a tokenizer to actions of two kinds; only one of them has the column."""
    corpus = Corpus()
    for number, value in enumerate(values):
        corpus.append(2 * number, Action(number, "h", "u", "q", "added", {column: value}))
        corpus.append(2 * number + 1, Action(number, "h", "u", "bare", "added", {}))
    return Tokenizer.fit(corpus, corpus.rows())


def sums(tokenizer: Tokenizer, figures: Floats) -> list[float]:
    """Add up the figures of each column's tokens."""
    return [float(figures[head.start : head.stop].sum()) for head in tokenizer.heads]


@given(VALUES)
def test_first_tokens_delimit_the_columns(values: list[str]) -> None:
    """Between one start and the next lie the tokens of one column, and the last one ends the vocabulary."""
    tokenizer = fitted(values)
    starts = first_tokens(tokenizer)
    assert starts.dtype == np.int32
    assert starts.tolist() == [head.start for head in tokenizer.heads] + [tokenizer.size]
    assert np.diff(starts).tolist() == [len(head.tokens) for head in tokenizer.heads]


@given(VALUES)
def test_occurrences_are_the_vocabularys(values: list[str]) -> None:
    """A token occurred as often as its vocabulary says; a value of its own as often as the log has it."""
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
    """Each column's frequencies add up to one, and what is new has the share that was new in training."""
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


def test_what_is_new_costs_most_where_nothing_ever_was() -> None:
    """Something new is improbable in a column that never varies, and to be expected in one that always does."""
    steady, restless = fitted(["ls"] * 200), fitted([f"ls -l /srv/{n}" for n in range(200)])
    assert frequencies(steady)[steady.heads[1].start] < 0.01
    assert frequencies(restless)[restless.heads[1].start :].sum() == pytest.approx(1.0)
    assert restless.heads[1].unseen > 0.9


COUNTED = st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=6), min_size=1, max_size=5)


@given(COUNTED)
def test_expectations_are_probabilities(columns: list[list[float]]) -> None:
    """By counts, each token has its share of its column; one that nobody has is improbable, not impossible."""
    figures = np.array([0.0, *(figure for column in columns for figure in column)])
    starts = np.cumsum([1, *map(len, columns)]).astype(np.int32)
    found = expectation(figures, starts)
    for column, start, stop in zip(columns, starts[:-1], starts[1:], strict=True):
        whole = sum(column) + SMOOTH * len(column)
        assert found[start:stop].sum() == pytest.approx(1.0)
        assert found[start:stop].tolist() == pytest.approx([(figure + SMOOTH) / whole for figure in column])
        assert (found[start:stop] > 0).all()


@given(VALUES)
def test_counted_alone(values: list[str]) -> None:
    """A user who is learned alone is measured against what is frequent: as many actions as each column had."""
    tokenizer = fitted(values)
    counts = count(tokenizer)
    assert not counts.others
    assert counts.prior.tolist() == frequencies(tokenizer).tolist()
    assert counts.totals.tolist() == pytest.approx([float(head.count) for head in tokenizer.heads])
    # The prior is of the same shape as the counts: it changes no probability.
    assert counts.probabilities().tolist() == pytest.approx(counts.prior.tolist())


def test_counted_among_others() -> None:
    """A user among others keeps the counts of the user's own actions, and others' probabilities are the prior."""
    tokenizer = fitted(["ls"] * 6 + ["git status"] * 2 + ["git diff"])
    starts = first_tokens(tokenizer)
    others = expectation(np.arange(tokenizer.size, dtype=np.float64), starts)
    counts = count(tokenizer, others)
    assert counts.others
    assert counts.own.tolist() == occurrences(tokenizer).tolist()
    assert counts.prior.tolist() == others.tolist()
    assert sums(tokenizer, counts.probabilities()) == pytest.approx([1.0] * len(tokenizer.heads))
    state = counts.start()
    often, seldom = (tokenizer.encode(Action(1, "h", "u", "q", "added", {"command": c})) for c in ("ls", "x"))
    assert counts.judge(state, often.ids[1], 0).foreign < 0 < counts.judge(state, seldom.ids[1], 1).foreign


def test_a_background_of_another_vocabulary_is_refused() -> None:
    """What others do must be of the same tokens."""
    tokenizer = fitted(["ls"] * 6)
    with pytest.raises(ValueError, match="vocabulary"):
        count(tokenizer, np.full(tokenizer.size + 1, 0.1))
