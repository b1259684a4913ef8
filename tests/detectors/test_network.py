"""Network of the sequence model: its cell, its softmaxes, and the tokens it expects."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly.detectors.lstm_state import Floats
from anomaly.detectors.network import Network
from anomaly.tokens import Tokens
from tests.detectors.networks import drawn_network

UNITS, SIZE = 5, 12
STARTS = np.array([1, 4, 9, 12], dtype=np.int32)


@pytest.fixture
def network() -> Network:
    """Return a network of 5 units over a kind (tokens 1 to 3) and two columns (4 to 8, 9 to 11)."""
    return drawn_network(np.random.default_rng(4), UNITS, STARTS)


@pytest.fixture
def hidden() -> Floats:
    """Return a hidden state."""
    return np.random.default_rng(5).normal(size=UNITS).astype(np.float32)


def test_log_probabilities_add_up_by_column(network: Network, hidden: Floats) -> None:
    """The probabilities of each column add up to 1, and columns do not mix."""
    found = [network.log_probabilities(hidden, token) for token in range(1, SIZE)]
    assert [float(np.exp(part).sum()) for part in found] == pytest.approx([1.0] * (SIZE - 1), abs=1e-6)
    assert [len(part) for part in found] == [3] * 3 + [5] * 5 + [3] * 3


def test_probabilities_are_the_same_alone_and_in_a_batch(network: Network, hidden: Floats) -> None:
    """An action has the probabilities of its softmaxes, bit for bit the same alone and in a batch."""
    batch = [Tokens((1, 5, 11), ()), Tokens((2, 8), ()), Tokens((3, 9), ()), Tokens((1, 5, 5), ())]
    before = np.stack([hidden, -hidden, 2 * hidden, hidden / 3])
    together = network.probabilities(before, batch)
    for state, tokens, given in zip(before, batch, together, strict=True):
        assert network.probabilities(state[None], [tokens]) == [given]
        for token, share in zip(tokens.ids, given, strict=True):
            start = max(first for first in STARTS.tolist() if first <= token)
            assert share == pytest.approx(
                float(np.exp(network.log_probabilities(state, token)[token - start])), abs=1e-6
            )


def test_expected_ranks_the_other_tokens_of_the_column(network: Network, hidden: Floats) -> None:
    """The expected tokens are the most probable of the column, without the one seen."""
    ranked = (np.argsort(-network.log_probabilities(hidden, 4), kind="stable") + 4).tolist()
    for token in range(4, 9):
        assert network.expected(hidden, token) == [other for other in ranked if other != token][:3]
        assert network.expected(hidden, token, most=1) == [other for other in ranked if other != token][:1]
