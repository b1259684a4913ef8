"""Training the LSTM: the only module that imports tensorflow.

Truncated back-propagation through time (Williams & Peng 1990): the user's actions are laid out as parallel
streams, and each stream's state is carried from one stretch of ``STEPS`` actions to the next. The graph is
compiled (XLA): two seconds at first, and then half the time for each step.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the machine's load
# Two threads for a step cost a third more of the CPUs' time, and on a busy machine of everybody's.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from anomaly.detectors.lstm import MIX
from anomaly.detectors.lstm_layout import BLOCK, Layout
from anomaly.detectors.lstm_weights import Weights

UNITS = 64
EMBEDDING = 32
STEPS = 32
"""Actions that a gradient reaches back."""
STREAMS = 16
"""Stretches of the log learned side by side: a batch."""
RATE = 5e-3
"""Of Adam (Kingma & Ba 2015)."""
DROPOUT = 0.2
PATIENCE = 5
"""Epochs without gain on the held-out actions before it stops."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_NEVER = 1e-12  # a column's tokens that stand for nothing in it are never asked for
_NOWHERE = -1e9  # logit of a place where no token is
_UNDERFLOW = 1e-30  # keeps the logarithm finite for a column that is e^-87 of the likeliest


class _Known(NamedTuple):
    """What the graph is told of a vocabulary."""

    column: tf.Tensor
    """Which column each block belongs to, shape (blocks,)."""
    there: tf.Tensor
    """0 where there is a token, else far below any logit; shape (places,)."""
    frequency: tf.Tensor
    """Logarithm of each token's frequency within its column, shape (places,)."""


class Trainer:
    """Trains networks of one shape one after another: compiling a graph costs as much as some epochs.

    Parameters
    ----------
    shape
        See :class:`Layout`.
    seed
        The same seed and actions give the same network, bit for bit.
    """

    def __init__(self, shape: tuple[int, int, int], seed: int) -> None:
        _keep_freed_memory()
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        self.seed = seed
        self.size, self.columns, _ = shape
        self.embed = keras.layers.Embedding(self.size, EMBEDDING)
        self.lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
        self.out = keras.layers.Dense(self.size)
        self.embed.build((None,))
        self.lstm.build((None, None, EMBEDDING))
        self.out.build((None, UNITS))
        self.variables = [v for layer in (self.embed, self.lstm, self.out) for v in layer.trainable_variables]
        self.optimizer = keras.optimizers.Adam(RATE, global_clipnorm=1.0)
        self.optimizer.build(self.variables)
        self._step = tf.function(self._train, jit_compile=True)
        self._loss = tf.function(self._judge, jit_compile=True)

    def fit(
        self,
        layout: Layout,
        expected: NDArray[np.float64],
        actions: NDArray[np.int32],
        held_out: NDArray[np.int32] | None,
        epochs: int,
        report: Callable[[int], None],
    ) -> int:
        """Train from scratch; with ``held_out`` stop early on it, and return the epochs that were best.

        ``expected`` is what the counts give each token, shape (tokens,); actions are places, (actions, width).
        """
        self._reset(layout)
        known = self._known(layout, expected)
        streams = _streams(actions)
        draw = np.random.default_rng(self.seed)
        best, best_loss, kept = 0, float("inf"), None
        for epoch in range(1, epochs + 1):
            self._epoch(streams, known, draw)
            report(epoch)
            if held_out is None:
                best = epoch
                continue
            loss = self._evaluate(held_out, known)
            if loss < best_loss - 1e-4:
                best, best_loss = epoch, loss
                kept = [variable.numpy() for variable in self.variables]
            elif epoch - best >= PATIENCE:
                break
        if kept is not None:
            for variable, value in zip(self.variables, kept, strict=True):
                variable.assign(value)
        return best

    def weights(self, layout: Layout) -> Weights:
        """Return the network as arrays, by token."""
        embedding = self.embed.embeddings.numpy()[layout.places]
        kernel, recurrent, bias = (variable.numpy() for variable in self.lstm.trainable_variables)
        output, output_bias = (variable.numpy() for variable in self.out.trainable_variables)
        return Weights(
            (embedding @ kernel).astype(np.float32),
            recurrent,
            bias,
            np.ascontiguousarray(output.T[layout.places]),
            output_bias[layout.places],
        )

    def _known(self, layout: Layout, expected: NDArray[np.float64]) -> _Known:
        there = np.full(self.size, _NOWHERE, dtype=np.float32)
        there[layout.places] = 0.0
        frequency = np.ones(self.size)
        frequency[layout.places] = np.append(1.0, expected[1:])
        known = np.log(np.maximum(frequency, _NEVER))
        return _Known(tf.constant(layout.column), tf.constant(there), tf.constant(known, dtype=tf.float32))

    def _reset(self, layout: Layout) -> None:
        """Begin anew: uniform within the limits of Glorot & Bengio (2010), drawn by token and not by place."""
        draw = np.random.default_rng(self.seed)

        def drawn(rows: int, columns: int) -> NDArray[np.float64]:
            limit = (6.0 / (rows + columns)) ** 0.5
            return draw.uniform(-limit, limit, (rows, columns))

        count, embedding = len(layout.places), np.zeros((self.size, EMBEDDING))
        embedding[layout.places] = drawn(layout.tokens, EMBEDDING)[:count]
        kernel, recurrent = drawn(EMBEDDING, 4 * UNITS), drawn(UNITS, 4 * UNITS)
        bias, output = np.zeros(4 * UNITS), np.zeros((UNITS, self.size))
        bias[UNITS : 2 * UNITS] = 1.0  # remember by default (Gers et al. 2000)
        output[:, layout.places] = drawn(UNITS, layout.tokens)[:, :count]
        values = (embedding, kernel, recurrent, bias, output, np.zeros(self.size))
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value.astype(np.float32))
        for variable in self.optimizer.variables:
            if variable.dtype != "string" and variable.name != "learning_rate":
                variable.assign(np.zeros(variable.shape, dtype=variable.dtype))

    def _epoch(self, streams: NDArray[np.int32], known: _Known, draw: np.random.Generator) -> None:
        state = [tf.zeros((STREAMS, UNITS)), tf.zeros((STREAMS, UNITS))]
        for part in _stretches(streams):
            # Drawn here: within the graph it would take as long as all the rest.
            kept = draw.random((STREAMS, STEPS, EMBEDDING + UNITS)) >= DROPOUT
            state = self._step(tf.constant(part), known, state, tf.constant(kept))

    def _evaluate(self, actions: NDArray[np.int32], known: _Known) -> float:
        state = [tf.zeros((STREAMS, UNITS)), tf.zeros((STREAMS, UNITS))]
        total = 0.0
        for part in _stretches(_streams(actions)):
            loss, state = self._loss(tf.constant(part), known, state)
            total += float(loss)
        return total / len(actions)

    def _train(self, part: tf.Tensor, known: _Known, state: list[tf.Tensor], kept: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, state = self._forward(part, known, state, tf.cast(kept, tf.float32) / (1.0 - DROPOUT))
            mean = loss / (STREAMS * STEPS)
        self.optimizer.apply(tape.gradient(mean, self.variables), self.variables)
        return [tf.stop_gradient(s) for s in state]

    def _judge(self, part: tf.Tensor, known: _Known, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        return self._forward(part, known, state, tf.ones((STREAMS, STEPS, EMBEDDING + UNITS)))

    def _forward(
        self, part: tf.Tensor, known: _Known, state: list[tf.Tensor], mask: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the summed surprise (nats) of the next actions' tokens, and the state after them.

        It is the surprise of the mixture that scoring uses: what a value's plain frequency explains, the
        network need not learn by heart.
        """
        now, following = part[:, :-1], part[:, 1:]
        there = tf.cast(now > 0, tf.float32)[..., None]
        entered = tf.reduce_sum(self.embed(now) * there, axis=2) * mask[..., :EMBEDDING]
        hidden, *state = self.lstm(entered, initial_state=state)
        target = tf.reshape(following, (STREAMS * STEPS, -1))
        likelihood = self._likelihood(hidden * mask[..., EMBEDDING:], target, known)
        mixed = _log_add(likelihood + math.log1p(-MIX), tf.gather(known.frequency, target) + math.log(MIX))
        return -tf.reduce_sum(mixed * tf.cast(target > 0, tf.float32)), state

    def _likelihood(self, hidden: tf.Tensor, target: tf.Tensor, known: _Known) -> tf.Tensor:
        """Return the log-likelihood that the network gives to tokens, each within its column; shape of ``target``.

        Sums over blocks, and then over a column's blocks, by a product with a matrix of 0 and 1: what sums over
        segments is several times slower when it is compiled.
        """
        logits = tf.reshape(self.out(hidden), (STREAMS * STEPS, self.size)) + known.there
        logits -= tf.stop_gradient(tf.reduce_max(logits, axis=1, keepdims=True))
        blocks = tf.reduce_sum(tf.reshape(tf.exp(logits), (STREAMS * STEPS, -1, BLOCK)), axis=2)
        sums = tf.matmul(blocks, tf.one_hot(known.column, self.columns)) + _UNDERFLOW
        column = tf.gather(known.column, target // BLOCK)
        return tf.gather(logits, target, batch_dims=1) - tf.math.log(tf.gather(sums, column, batch_dims=1))


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next: to give it back and ask again took a fifth of the time."""
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, 64 << 20)
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that it takes


def _log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    high = tf.maximum(a, b)
    return high + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def _streams(actions: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lay actions out as streams, shape (streams, length, tokens); each begins where another one ends."""
    length = max(-(-len(actions) // STREAMS), 2)
    padded = np.pad(actions, ((0, STREAMS * length - len(actions)), (0, 0)))
    return padded.reshape(STREAMS, length, actions.shape[1])


def _stretches(streams: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Cut streams into stretches of ``STEPS`` actions and the one that follows, the last one filled up."""
    for begin in range(0, streams.shape[1] - 1, STEPS):
        part = streams[:, begin : begin + STEPS + 1]
        yield np.pad(part, ((0, 0), (0, STEPS + 1 - part.shape[1]), (0, 0)))
