"""Random networks for tests, and sequence models that score one action."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.lstm import Lstm
from anomaly.detectors.lstm_state import LstmState
from anomaly.detectors.network import Network
from anomaly.tokens import Tokens


class Judged(NamedTuple):
    """Evidence of one action, as numbers that can be compared exactly."""

    surprise: float
    rarity: float
    """Mean rarity of the window after the action."""
    shares: tuple[float, ...]
    """Probability of each token."""
    before: tuple[float, ...]
    """Hidden state that predicts the action."""


def drawn_network(draw: np.random.Generator, units: int, starts: NDArray[np.int32]) -> Network:
    """Return a network with random weights."""
    size = int(starts[-1])

    def normal(*shape: int) -> NDArray[np.float32]:
        return draw.normal(size=shape).astype(np.float32)

    kernel, recurrent, bias = normal(size, 4 * units), normal(units, 4 * units), normal(4 * units)
    return Network(kernel, recurrent, bias, normal(size, units), normal(size), starts)


def judge_all(lstm: Lstm, state: LstmState, batch: list[Tokens], admit: list[bool]) -> list[Judged]:
    """Return the evidence of a batch, action by action."""
    evidence = lstm.judge(state, batch, admit)
    figures = zip(evidence.surprise.tolist(), evidence.rarity.tolist(), strict=True)
    foreseen = zip(evidence.details.shares, map(tuple, evidence.details.before.tolist()), strict=True)
    return [Judged(*numbers, *details) for numbers, details in zip(figures, foreseen, strict=True)]


def judge_one(lstm: Lstm, state: LstmState, tokens: Tokens, *, admit: bool = True) -> Judged:
    """Return the evidence of one action."""
    (judged,) = judge_all(lstm, state, [tokens], [admit])
    return judged
