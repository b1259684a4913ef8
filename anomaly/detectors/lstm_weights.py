"""Weights of a trained network, and their export to the model that scores with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import Tail
from anomaly.detectors.counts import Counts
from anomaly.detectors.counts_fit import first_tokens
from anomaly.detectors.lstm import Lstm
from anomaly.detectors.network import Network
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

_UNFITTED = Tail(np.zeros(1), np.ones(1), scale=1.0, shape=0.0).to_array()


class Weights(NamedTuple):
    """Weights of a network; see :class:`~anomaly.detectors.network.Network`."""

    kernel: NDArray[np.float32]
    recurrent: NDArray[np.float32]
    bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]

    @classmethod
    def none(cls, size: int) -> Weights:
        """Return a network of one unit that gives the same probability to all tokens of a column."""
        shapes = ((size, 4), (1, 4), (4,), (size, 1), (size,))
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))


def export(
    weights: Weights,
    counts: Counts,
    tokenizer: Tokenizer,
    encoded: Encoded,
    window: range,
    share: float,
    *,
    cache: bool,
) -> Lstm:
    """Return a model, without rarities, in its state after the actions of ``window``.

    Parameters
    ----------
    weights
        Weights of the network.
    counts
        Counts of the user.
    tokenizer
        Tokenizer of ``encoded``.
    encoded
        All actions of the user, in order.
    window
        Range of the actions that become the window of the model.
    share, cache
        See :class:`~anomaly.detectors.lstm.Lstm`.
    """
    units = len(weights.recurrent)
    ids = encoded.ids[window.start : window.stop]
    lstm = Lstm(
        Network(*weights, starts=first_tokens(tokenizer)),
        counts,
        rarity=np.array([_UNFITTED] * len(tokenizer.heads[0].tokens)),
        hidden=np.zeros(units, dtype=np.float32),
        cell=np.zeros(units, dtype=np.float32),
        recent=np.zeros(len(ids)),
        window=ids,
        share=share,
        cache=cache,
    )
    state = lstm.start()
    if len(window):
        batch = encoded.batch(window)
        lstm.judge(state, batch, [True] * len(batch))
    return Lstm.from_arrays(lstm.arrays() | {"hidden": state.hidden, "cell": state.cell})
