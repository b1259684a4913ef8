"""The network of the sequence view, in numpy: one layer of LSTM cells, and a softmax for each column.

Hochreiter & Schmidhuber 1997; Keras' gate order i, f, c, o. An action enters as the sum of its tokens' embeddings;
one softmax per column (and one for the kind) predicts the next action's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.lstm_state import Floats, LstmState
from anomaly.tokens import Tokens

_ENTERING = 512
"""Actions of which is remembered what they add to the gates: half a megabyte."""


class Network:
    """What was learned of the order of actions.

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
    """

    def __init__(
        self,
        kernel: Floats,
        recurrent: Floats,
        bias: Floats,
        output: Floats,
        output_bias: Floats,
        starts: NDArray[np.int32],
    ) -> None:
        units, size = len(recurrent), len(output)
        shapes = {
            "kernel": (kernel, (size, 4 * units)),
            "recurrent": (recurrent, (units, 4 * units)),
            "bias": (bias, (4 * units,)),
            "output": (output, (size, units)),
            "output_bias": (output_bias, (size,)),
        }
        for name, (array, shape) in shapes.items():
            check_floats(name, array, shape)
        if starts.dtype != np.int32 or starts[0] != 1 or starts[-1] != size or not (np.diff(starts) > 0).all():
            raise ValueError("the columns do not cover the vocabulary")
        self.kernel, self.recurrent, self.bias = kernel, recurrent, bias
        self.output, self.output_bias, self.starts = output, output_bias, starts
        self.units = units
        self._gated = _gates(recurrent)
        self._ones = np.ones(3 * units, dtype=np.float32)  # a number would have to become an array each time
        self._entering: dict[tuple[int, ...], Floats] = {}
        column = np.searchsorted(starts, np.arange(size), side="right") - 1
        self._column: list[int] = np.maximum(column, 0).tolist()
        self._softmaxes = [
            (output[start:stop], output_bias[start:stop], start) for start, stop in pairwise(starts.tolist())
        ]

    def advance(self, state: LstmState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Floats:
        """Move a user's cell past actions; return the hidden state before each, shape (actions, units)."""
        units, recurrent = self.units, self._gated
        states = np.empty((len(batch) + 1, units), dtype=np.float32)
        states[0] = hidden = state.hidden
        cell, ones = state.cell.copy(), self._ones
        gates, squashed, candidate, let_in, keep, let_out, shown = state.scratch
        for tokens, let, after in zip(batch, admit, states[1:], strict=True):
            if not let:
                after[:] = hidden
                continue
            entering = self._entering.get(tokens.ids)
            if entering is None:
                entering = self._enter(tokens.ids)
            np.dot(hidden, recurrent, out=gates)
            np.add(gates, entering, out=gates)
            np.exp(squashed, out=squashed)
            np.add(squashed, ones, out=squashed)
            np.reciprocal(squashed, out=squashed)
            np.tanh(candidate, out=candidate)
            np.multiply(candidate, let_in, out=candidate)
            np.multiply(cell, keep, out=cell)
            np.add(cell, candidate, out=cell)
            np.tanh(cell, out=shown)
            hidden = np.multiply(let_out, shown, out=after)
        state.hidden, state.cell = hidden.copy(), cell
        return states[:-1]

    def _enter(self, ids: tuple[int, ...]) -> Floats:
        """Return what an action adds to the gates, in the order of ``_gates``, and remember it."""
        total = self.bias.copy()
        for token in ids:
            total += self.kernel[token]
        if len(self._entering) >= _ENTERING:
            self._entering.clear()
        entering = self._entering[ids] = _gates(total)
        return entering

    def probabilities(self, before: Floats, batch: Sequence[Tokens]) -> list[list[float]]:
        """Return what the network gives each token within its column, by action.

        Column by column, so that no softmax is larger than it must be, and vector by vector: as one product of
        matrices, the last bits would depend on how many there are.
        """
        if len(batch) == 1:
            return [[self._probability(before[0], token) for token in batch[0].ids]]
        columns: dict[int, list[tuple[int, int, int]]] = {}
        found = []
        for number, tokens in enumerate(batch):
            found.append([0.0] * len(tokens.ids))
            for place, token in enumerate(tokens.ids):
                columns.setdefault(self._column[token], []).append((number, place, token))
        for column, asked in columns.items():
            if len(asked) == 1:
                number, place, token = asked[0]
                found[number][place] = self._probability(before[number], token)
                continue
            output, bias, start = self._softmaxes[column]
            numbers, places, chosen = zip(*asked, strict=True)
            logits = np.matmul(output, before[list(numbers), :, None])[:, :, 0]
            logits += bias
            logits -= np.maximum.reduce(logits, axis=1, keepdims=True)
            powers = np.exp(logits, out=logits)
            shares = powers[np.arange(len(asked)), np.array(chosen) - start] / np.add.reduce(powers, axis=1)
            for number, place, share in zip(numbers, places, shares.tolist(), strict=True):
                found[number][place] = share
        return found

    def _probability(self, hidden: Floats, token: int) -> float:
        output, bias, start = self._softmaxes[self._column[token]]
        return _softmax(np.dot(output, hidden), bias, token - start)

    def log_probabilities(self, hidden: Floats, token: int) -> Floats:
        """Return the log-softmax over the column that a token belongs to (natural logarithm)."""
        output, bias, _ = self._softmaxes[self._column[token]]
        logits = output @ hidden
        logits += bias
        logits -= logits.max()
        return np.asarray(logits - np.log(np.exp(logits).sum()), dtype=np.float32)

    def expected(self, hidden: Floats, token: int, most: int = 3) -> list[int]:
        """Return the tokens that the network would rather have seen in this token's column, best first."""
        _, _, start = self._softmaxes[self._column[token]]
        best = np.argsort(-self.log_probabilities(hidden, token), kind="stable")[: most + 1] + start
        return [int(other) for other in best if other != token][:most]


def check_floats(name: str, array: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise ValueError where an array is not of a shape, or not of float32."""
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} has shape {array.shape} of {array.dtype}, not {shape} of float32")


def _gates(arrays: Floats) -> Floats:
    """Put gates, the last axis, in the order i, f, o, c, and take the first three by their negative.

    Each gate is ``1 / (1 + exp(-x))``; so one exponential serves three of them, as it comes.
    """
    units = arrays.shape[-1] // 4
    gates = np.concatenate(
        [arrays[..., : 2 * units], arrays[..., 3 * units :], arrays[..., 2 * units : 3 * units]], -1
    )
    squashed = gates[..., : 3 * units]
    np.negative(squashed, out=squashed)
    return gates


def _softmax(logits: Floats, bias: Floats, place: int) -> float:
    """Return one entry of a softmax; changes the logits."""
    np.add(logits, bias, out=logits)
    np.subtract(logits, np.maximum.reduce(logits), out=logits)
    powers = np.exp(logits, out=logits)
    return float(powers[place] / np.add.reduce(powers))
