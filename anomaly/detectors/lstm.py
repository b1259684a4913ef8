"""LSTM over a user's actions, scored in numpy: the surprise of each next action, column by column.

One layer (Hochreiter & Schmidhuber 1997; Keras' gate order i, f, c, o). An action enters as the sum of its
tokens' embeddings; one softmax per column (and one for the kind) predicts the next action's tokens. What the
network gives is mixed with the column's plain frequencies, so that no value costs more bits than its rarity
and a little: an LSTM is at its most confident where it is wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import log2
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import Tail
from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence, State, floats
from anomaly.tokenizer import Tokens

MIX = 0.2
"""Weight of the plain frequencies in the mixture."""

Floats = NDArray[np.float32]


class LstmState(State):
    """The cell, and how rare the last actions' surprises were among their kinds."""

    def __init__(self, hidden: Floats, cell: Floats, recent: Iterable[float]) -> None:
        self.hidden = hidden
        self.before = hidden
        """The hidden state that the last action was predicted from, for its explanation."""
        self.cell = cell
        self.recent: deque[float] = deque(recent, maxlen=WINDOW)

    def to_json(self) -> dict[str, Any]:
        """Return the state; a float32 is exact as a JSON number."""
        return {"hidden": floats(self.hidden), "cell": floats(self.cell), "recent": list(self.recent)}


class Lstm(Detector):
    """The learned sequence model.

    Parameters
    ----------
    kernel
        Embedding of each token already multiplied by the input weights, shape (tokens, 4 units).
    recurrent
        Weights of the hidden state, shape (units, 4 units).
    bias
        Shape (4 units,).
    output
        Weights of the softmaxes, one row a token, shape (tokens, units).
    output_bias
        Shape (tokens,).
    starts
        First token of each column's softmax, ascending, and one past the last: shape (columns + 1,).
    frequency
        How frequent each token is within its column, shape (tokens,).
    rarity
        How surprising actions of each kind usually are: :class:`Tail` arrays, one for the kinds too rare to have
        their own and one for each kind, shape (kinds, 2, knots + 1).
    hidden, cell, recent
        The state at the end of training.
    """

    algorithm: ClassVar[Algorithm] = Algorithm.LSTM

    def __init__(
        self,
        kernel: Floats,
        recurrent: Floats,
        bias: Floats,
        output: Floats,
        output_bias: Floats,
        starts: NDArray[np.int32],
        frequency: NDArray[np.float64],
        rarity: NDArray[np.float64],
        hidden: Floats,
        cell: Floats,
        recent: NDArray[np.float64],
    ) -> None:
        units, size = len(recurrent), len(output)
        shapes: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "kernel": (kernel, (size, 4 * units)),
            "recurrent": (recurrent, (units, 4 * units)),
            "bias": (bias, (4 * units,)),
            "output": (output, (size, units)),
            "output_bias": (output_bias, (size,)),
            "frequency": (frequency, (size,)),
            "hidden": (hidden, (units,)),
            "cell": (cell, (units,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}")
        if starts[0] != 1 or starts[-1] != size or not (np.diff(starts) > 0).all():
            raise ValueError("the columns do not cover the vocabulary")
        if not (frequency[1:] > 0).all():
            raise ValueError("a token without a frequency would cost infinitely many bits")
        self.kernel, self.recurrent, self.bias = kernel, recurrent, bias
        self.output, self.output_bias, self.starts = output, output_bias, starts
        self.frequency = frequency
        self.rarity = rarity
        self._rarity = [Tail.from_array(array) for array in rarity]
        if len(rarity) != starts[1] - starts[0]:
            raise ValueError("the kinds and their rarities do not pair up")
        self.hidden, self.cell, self.recent = hidden, cell, recent
        self._units = units
        head = np.searchsorted(starts, np.arange(size), side="right") - 1
        self._slices = [(0, 1)] + [(int(starts[h]), int(starts[h + 1])) for h in head[1:]]

    def start(self) -> LstmState:
        """Return the state that training ended in."""
        return LstmState(self.hidden.copy(), self.cell.copy(), floats(self.recent))

    def resume(self, saved: Mapping[str, Any]) -> LstmState:
        """Rebuild a saved state."""
        try:
            hidden = np.array(saved["hidden"], dtype=np.float32)
            cell = np.array(saved["cell"], dtype=np.float32)
            recent = [float(score) for score in saved["recent"]]
        except OverflowError as error:  # a whole number beyond any float
            raise ValueError("the saved state holds no such number") from error
        if hidden.shape != (self._units,) or cell.shape != (self._units,):
            raise ValueError("the saved state is of another network")
        return LstmState(hidden, cell, recent)

    def score(self, state: LstmState, tokens: Tokens) -> Evidence:
        """Give the action's surprise in bits, and move on.

        The window's figure is the mean of ``-10 log10 p`` over the user's last actions, this one included,
        where p is how often an action *of its kind* surprises this much (Fisher 1925: independent tests are
        combined by the logarithms of their p). Kinds differ in how predictable they are; the plain mean of
        bits would follow the mixture of kinds, and a quiet hour look like an intruder.
        """
        state.before = state.hidden
        shares = tuple([self._probability(state.hidden, token) for token in tokens.ids])
        bits = -sum(map(log2, shares))
        self.advance(state, tokens)
        state.recent.append(self._rarity[tokens.ids[0] - 1].score(bits))
        return Evidence(bits, bits, sum(state.recent) / len(state.recent), shares)

    def advance(self, state: LstmState, tokens: Tokens) -> None:
        """Move the cell past one action."""
        units = self._units
        gates = state.hidden @ self.recurrent
        gates += self.bias
        for token in tokens.ids:
            gates += self.kernel[token]
        squashed = 1.0 / (1.0 + np.exp(-gates))
        keep, let_in, let_out = squashed[units : 2 * units], squashed[:units], squashed[3 * units :]
        state.cell = keep * state.cell + let_in * np.tanh(gates[2 * units : 3 * units])
        state.hidden = let_out * np.tanh(state.cell)

    def log_probabilities(self, hidden: Floats, token: int) -> Floats:
        """Return the log-softmax over the column that a token belongs to (natural logarithm)."""
        start, stop = self._slices[token]
        logits = self.output[start:stop] @ hidden
        logits += self.output_bias[start:stop]
        logits -= logits.max()
        return np.asarray(logits - np.log(np.exp(logits).sum()), dtype=np.float32)

    def expected(self, hidden: Floats, token: int, most: int = 3) -> list[int]:
        """Return the tokens that the network would rather have seen in this token's column, best first."""
        start = self._slices[token][0]
        best = np.argsort(-self.log_probabilities(hidden, token), kind="stable")[: most + 1] + start
        return [int(other) for other in best if other != token][:most]

    def arrays(self) -> Arrays:
        """Return what was learned."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Lstm:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        return cls(**{name: arrays[name] for name in _ARRAYS})

    def _probability(self, hidden: Floats, token: int) -> float:
        start, stop = self._slices[token]
        logits = self.output[start:stop] @ hidden
        logits += self.output_bias[start:stop]
        powers = np.exp(logits - logits.max())
        return (1.0 - MIX) * float(powers[token - start] / powers.sum()) + MIX * float(self.frequency[token])


_ARRAYS = (
    "kernel",
    "recurrent",
    "bias",
    "output",
    "output_bias",
    "starts",
    "frequency",
    "rarity",
    "hidden",
    "cell",
    "recent",
)
