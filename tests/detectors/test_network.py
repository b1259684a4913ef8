"""Tests of the network: its softmaxes, and what it would rather have seen."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly.detectors.lstm_state import Floats
from anomaly.detectors.network import Network
from anomaly.tokens import Tokens

UNITS, SIZE = 5, 12
STARTS = np.array([1, 4, 9, 12], dtype=np.int32)


@pytest.fixture
def network() -> Network:
    """Give a network of 5 units over a kind (tokens 1 to 3) and two columns (4 to 8, 9 to 11)."""
    draw = np.random.default_rng(4)

    def normal(*shape: int) -> Floats:
        return draw.normal(size=shape).astype(np.float32)

    weights = (
        normal(SIZE, 4 * UNITS),
        normal(UNITS, 4 * UNITS),
        normal(4 * UNITS),
        normal(SIZE, UNITS),
        normal(SIZE),
    )
    return Network(*weights, STARTS)


@pytest.fixture
def hidden() -> Floats:
    """Give a hidden state."""
    return np.random.default_rng(5).normal(size=UNITS).astype(np.float32)


def test_log_probabilities(network: Network, hidden: Floats) -> None:
    """Each column's probabilities add up to one, and no two columns mix."""
    found = [network.log_probabilities(hidden, token) for token in range(1, SIZE)]
    assert [float(np.exp(part).sum()) for part in found] == pytest.approx([1.0] * (SIZE - 1), abs=1e-6)
    assert [len(part) for part in found] == [3] * 3 + [5] * 5 + [3] * 3


def test_probabilities_are_those_of_the_softmax(network: Network, hidden: Floats) -> None:
    """An action's tokens have the probabilities of their softmaxes, alone and in a batch, bit for bit."""
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


def test_expected(network: Network, hidden: Floats) -> None:
    """What the network would rather have seen is the column's most probable tokens, without the one seen."""
    ranked = (np.argsort(-network.log_probabilities(hidden, 4), kind="stable") + 4).tolist()
    for token in range(4, 9):
        assert network.expected(hidden, token) == [other for other in ranked if other != token][:3]
        assert network.expected(hidden, token, most=1) == [other for other in ranked if other != token][:1]
