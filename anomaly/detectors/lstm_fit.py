"""Learning the LSTM: the only module that imports tensorflow.

Truncated back-propagation through time (Williams & Peng 1990): the user's actions are laid out as parallel
streams, and each stream's state is carried from one stretch of ``STEPS`` actions to the next.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the machine's load

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from anomaly.calibration_fit import fit_tail
from anomaly.detectors.counts_fit import count
from anomaly.detectors.interface import WINDOW, Learner, OutOfFold
from anomaly.detectors.lstm import FOREIGN_MIX, MIX, Lstm
from anomaly.detectors.lstm_weights import Weights, export
from anomaly.tokenizer import Encoded, Tokenizer

UNITS = 64
EMBEDDING = 32
STEPS = 32
"""Actions that a gradient reaches back."""
STREAMS = 16
"""Stretches of the log learned side by side: a batch."""
RATE = 5e-3
"""Of Adam (Kingma & Ba 2015)."""
DROPOUT = 0.2
MAX_EPOCHS = 15
PATIENCE = 5
"""Epochs without gain on the held-out actions before it stops."""
_FEWEST_OF_KIND = 100  # out-of-fold actions for a kind to have a rarity of its own
_NEVER = 1e-12  # a column's tokens that stand for nothing in it are never asked for
_SIZES = 256  # vocabularies are padded to a multiple of this, so that they share a graph
_WIDTHS = 8  # and actions to a multiple of this many tokens


class _Known(NamedTuple):
    """Tensors of shape (size,)."""

    column: tf.Tensor
    """Which column's softmax each token belongs to, ascending."""
    frequency: tf.Tensor
    """Logarithm of each token's frequency within its column."""


class LstmLearner(Learner):
    """Learns LSTMs, first with early stopping on held-out actions, then for as many epochs as that found best."""

    folds = 4
    least_action = 0.5  # bits
    least_views = (0.25,)  # of a mean of scores

    def __init__(self, seed: int, *, network: bool = True, cache: bool = True) -> None:
        self.seed = seed
        self.network = network
        """Whether there is a network at all, or the counts alone."""
        self.cache = cache
        """Whether the counts go on counting."""
        self.epochs: int | None = None
        self._trainers: dict[tuple[int, int], Trainer] = {}

    def begin(self) -> None:
        """Forget how many epochs the last user needed."""
        self.epochs = None

    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,
        others: NDArray[np.float64] | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Lstm:
        """Fit a network; see :meth:`Learner.fit`."""
        counts = count(tokenizer, others)
        if not self.network:
            report(1.0)
            nothing = Weights.none(tokenizer.size)
            return export(nothing, counts, tokenizer, encoded, window, shares=(1.0, 1.0), cache=self.cache)
        width = -(-encoded.ids.shape[1] // _WIDTHS) * _WIDTHS
        ids = np.pad(encoded.ids, ((0, 0), (0, width - encoded.ids.shape[1])))
        size = -(-tokenizer.size // _SIZES) * _SIZES
        if (size, width) not in self._trainers:
            self._trainers[size, width] = Trainer(size, self.seed)
        trainer = self._trainers[size, width]
        epochs = self.epochs or MAX_EPOCHS
        best = trainer.fit(
            tokenizer,
            counts.probabilities(),
            np.concatenate([ids[part.start : part.stop] for part in learn]),
            ids[held_out.start : held_out.stop] if held_out and self.epochs is None else None,
            epochs,
            lambda epoch: report(epoch / epochs),
        )
        self.epochs = self.epochs or best
        weights, shares = trainer.weights(tokenizer.size), (MIX, FOREIGN_MIX)
        return export(weights, counts, tokenizer, encoded, window, shares, cache=self.cache)

    def finish(self, detector: Lstm, encoded: Encoded, evidence: OutOfFold) -> tuple[Lstm, OutOfFold]:
        """Give the network the rarities of each kind's surprises, and the windows that follow from them."""
        kinds = encoded.ids[:, 0] - 1
        heard = ~np.isnan(evidence.action)
        usual = fit_tail(evidence.action[heard], self.least_action)
        tails = []
        for kind in range(len(detector.rarity)):
            of_kind = evidence.action[heard & (kinds == kind)]
            tails.append(fit_tail(of_kind, self.least_action) if len(of_kind) >= _FEWEST_OF_KIND else usual)
        rare = np.array([tails[k].score(bits) for k, bits in zip(kinds, evidence.action, strict=True)])
        arrays = detector.arrays() | {
            "rarity": np.array([tail.to_array() for tail in tails]),
            "recent": rare[-WINDOW:],
        }
        if not detector.counts.others:
            views = evidence.views.copy()
            for part in evidence.folds:
                means = np.convolve(rare[part.start : part.stop], np.full(WINDOW, 1 / WINDOW), "valid")
                views[part.start + WINDOW - 1 : part.stop, 0] = means
            evidence = evidence._replace(views=views)
        return Lstm.from_arrays(arrays), evidence

    def adopt(self, detector: Lstm, finished: Lstm, places: list[int]) -> Lstm:
        """Give a fold's network the rarities of the finished one."""
        return Lstm.from_arrays(detector.arrays() | {"rarity": finished.rarity[places]})


class Trainer:
    """Trains networks of one size one after another: tracing a graph costs as much as some epochs.

    Parameters
    ----------
    size
        Tokens of the largest vocabulary to come.
    seed
        The same seed and actions give the same network, bit for bit.
    """

    def __init__(self, size: int, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        self.seed = seed
        self.size = size
        self.embed = keras.layers.Embedding(self.size, EMBEDDING)
        self.lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
        self.out = keras.layers.Dense(self.size)
        self.embed.build((None,))
        self.lstm.build((None, None, EMBEDDING))
        self.out.build((None, UNITS))
        self.variables = [v for layer in (self.embed, self.lstm, self.out) for v in layer.trainable_variables]
        self.optimizer = keras.optimizers.Adam(RATE, global_clipnorm=1.0)
        self.optimizer.build(self.variables)
        self._step = tf.function(self._train, reduce_retracing=True)
        self._loss = tf.function(self._forward, reduce_retracing=True)

    def fit(
        self,
        tokenizer: Tokenizer,
        expected: NDArray[np.float64],
        ids: NDArray[np.int32],
        held_out: NDArray[np.int32] | None,
        epochs: int,
        report: Callable[[int], None],
    ) -> int:
        """Train from scratch; with ``held_out`` stop early on it, and return the epochs that were best.

        ``expected`` is what the counts give each token, shape (tokens,).
        """
        self._reset()
        known = self._known(tokenizer, expected)
        streams = _streams(ids)
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

    def weights(self, size: int) -> Weights:
        """Return the network as arrays, for a vocabulary of ``size`` tokens."""
        embedding = self.embed.embeddings.numpy()[:size]
        kernel, recurrent, bias = (variable.numpy() for variable in self.lstm.trainable_variables)
        output, output_bias = (variable.numpy() for variable in self.out.trainable_variables)
        return Weights(
            (embedding @ kernel).astype(np.float32),
            recurrent,
            bias,
            np.ascontiguousarray(output.T[:size]),
            output_bias[:size],
        )

    def _known(self, tokenizer: Tokenizer, expected: NDArray[np.float64]) -> _Known:
        """Return what is known of each token beforehand; padding at either end has a column of its own."""
        column = np.full(self.size, len(tokenizer.heads) + 1, dtype=np.int32)
        column[0] = 0
        for number, head in enumerate(tokenizer.heads, 1):
            column[head.start : head.stop] = number
        frequency = np.ones(self.size)
        frequency[: tokenizer.size] = expected
        frequency[0] = 1.0
        return _Known(tf.constant(column), tf.constant(np.log(np.maximum(frequency, _NEVER)), dtype=tf.float32))

    def _reset(self) -> None:
        draw = np.random.default_rng(self.seed)
        for variable in self.variables:
            shape = tuple(variable.shape)
            if len(shape) == 1:
                value = np.zeros(shape)
                if shape == (4 * UNITS,):
                    value[UNITS : 2 * UNITS] = 1.0  # remember by default (Gers et al. 2000)
            else:
                limit = (6.0 / (shape[0] + shape[1])) ** 0.5
                value = draw.uniform(-limit, limit, shape)
            variable.assign(value.astype(np.float32))
        for variable in self.optimizer.variables:
            if variable.dtype != "string" and variable.name != "learning_rate":
                variable.assign(np.zeros(variable.shape, dtype=variable.dtype))

    def _epoch(self, streams: NDArray[np.int32], known: _Known, draw: np.random.Generator) -> None:
        state = [tf.zeros((len(streams), UNITS)), tf.zeros((len(streams), UNITS))]
        for begin in range(0, streams.shape[1] - 1, STEPS):
            part = streams[:, begin : begin + STEPS + 1]
            if part.shape[1] <= STEPS:  # the same shape throughout: no second trace of the graph
                part = np.pad(part, ((0, 0), (0, STEPS + 1 - part.shape[1]), (0, 0)))
            mask = (draw.random((len(part), STEPS, EMBEDDING + UNITS)) >= DROPOUT) / (1.0 - DROPOUT)
            state = self._step(tf.constant(part), known, state, tf.constant(mask.astype(np.float32)))

    def _evaluate(self, ids: NDArray[np.int32], known: _Known) -> float:
        streams = _streams(ids)
        state = [tf.zeros((len(streams), UNITS)), tf.zeros((len(streams), UNITS))]
        mask = tf.ones((len(streams), STEPS, EMBEDDING + UNITS))
        total = 0.0
        for begin in range(0, streams.shape[1] - 1, STEPS):
            part = streams[:, begin : begin + STEPS + 1]
            part = np.pad(part, ((0, 0), (0, STEPS + 1 - part.shape[1]), (0, 0)))
            loss, state = self._loss(tf.constant(part), known, state, mask)
            total += float(loss)
        return total / len(ids)

    def _train(self, part: tf.Tensor, known: _Known, state: list[tf.Tensor], mask: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, state = self._forward(part, known, state, mask)
            mean = loss / (STREAMS * STEPS)
        self.optimizer.apply(tape.gradient(mean, self.variables), self.variables)
        return [tf.stop_gradient(s) for s in state]

    def _forward(
        self, part: tf.Tensor, known: _Known, state: list[tf.Tensor], mask: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the summed surprise (nats) of the next actions' tokens, and the state after them.

        It is the surprise of the mixture that scoring uses: what a value's plain frequency explains, the
        network need not learn by heart.
        """
        columns, frequency = known
        now, following = part[:, :-1], part[:, 1:]
        there = tf.cast(now > 0, tf.float32)[..., None]
        entered = tf.reduce_sum(self.embed(now) * there, axis=2) * mask[..., :EMBEDDING]
        hidden, *state = self.lstm(entered, initial_state=state)
        logits = tf.reshape(self.out(hidden * mask[..., EMBEDDING:]), (-1, self.size))
        by_token = tf.transpose(logits)
        highest = tf.stop_gradient(tf.math.segment_max(by_token, columns))
        sums = tf.math.segment_sum(tf.exp(by_token - tf.gather(highest, columns)), columns)
        normaliser = tf.transpose(tf.math.log(sums) + highest)
        target = tf.reshape(following, (-1, following.shape[-1]))
        normalisers = tf.gather(normaliser, tf.gather(columns, target), batch_dims=1)
        likelihood = tf.gather(logits, target, batch_dims=1) - normalisers
        mixed = _log_add(likelihood + math.log1p(-MIX), tf.gather(frequency, target) + math.log(MIX))
        return -tf.reduce_sum(mixed * tf.cast(target > 0, tf.float32)), state


def _log_add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    high = tf.maximum(a, b)
    return high + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def _streams(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lay actions out as streams, shape (streams, length, tokens); each begins where another one ends."""
    length = max(-(-len(ids) // STREAMS), 2)
    padded = np.pad(ids, ((0, STREAMS * length - len(ids)), (0, 0)))
    return padded.reshape(STREAMS, length, ids.shape[1])
