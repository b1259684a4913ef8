"""Fits the sequence model of one user: its counts, its network, and the rarities of its surprises."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration_fit import fit_tail
from anomaly.detectors.counts_fit import count
from anomaly.detectors.lstm import MIX, Lstm
from anomaly.detectors.lstm_layout import Layout
from anomaly.detectors.lstm_weights import Weights, export
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

if TYPE_CHECKING:
    from anomaly.detectors.lstm_trainer import Trainer

MAX_EPOCHS, MIN_EPOCHS = 15, 8
"""Bounds of the epochs of training, before it stops early."""

ENOUGH = 370_000
"""Actions to learn from, times epochs: a longer log has fewer epochs, down to ``MIN_EPOCHS``.

So 33,000 actions have 11 epochs.
"""

LEAST_BITS = 0.5
"""Difference in the surprise of two actions, in bits, that may be due to the fit alone."""

LEAST_RARITY = 0.25
"""Difference in the mean rarity of two windows that may be due to the fit alone."""

_FEWEST_OF_KIND = 100  # actions from which on a kind has a distribution of its own


class LstmLearner:
    """Fits sequence models, for one user after another.

    The first model of a user stops early on held-out actions. The user's other models train for as many epochs as
    were best for the first.

    Parameters
    ----------
    seed
        The same seed and actions give the same model, bit for bit.
    network
        Whether to train a network. Without one, the counts alone predict.
    cache
        Whether the counts of the models keep adapting.
    """

    def __init__(self, seed: int, *, network: bool = True, cache: bool = True) -> None:
        self.seed = seed
        self.network = network
        self.cache = cache
        self.epochs: int | None = None
        """Epochs to train for. None until the first model of a user has been fitted."""
        self._trainers: dict[tuple[int, int, int], Trainer] = {}

    def begin(self) -> None:
        """Reset the epochs, for the next user."""
        self.epochs = None

    def fit(
        self,
        tokenizer: Tokenizer,
        encoded: Encoded,
        learn: list[range],
        window: range,
        held_out: range | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> Lstm:
        """Return a model without rarities; see :meth:`with_rarities`.

        Parameters
        ----------
        tokenizer
            Tokenizer of ``encoded``; the counts come from its vocabulary.
        encoded
            All actions of the user, in order.
        learn
            Ranges of consecutive actions to learn from.
        window
            Last actions before those that are scored first, at most ``WINDOW``.
        held_out
            Actions to stop early on; ignored once the epochs are known.
        report
            Called with the progress, in 0..1.
        """
        counts = count(tokenizer)
        if not self.network:
            report(1.0)
            weights = Weights.none(tokenizer.size)
            return export(weights, counts, tokenizer, encoded, window, share=1.0, cache=self.cache)
        layout = Layout.of(tokenizer, encoded.ids.shape[1])
        trainer = self._trainer(layout)
        epochs = self.epochs or min(max(ENOUGH // sum(map(len, learn)), MIN_EPOCHS), MAX_EPOCHS)
        places = layout.place(encoded.ids)
        best = trainer.fit(
            layout,
            counts.probabilities(),
            np.concatenate([places[part.start : part.stop] for part in learn]),
            places[held_out.start : held_out.stop] if held_out and self.epochs is None else None,
            epochs,
            lambda epoch: report(epoch / epochs),
        )
        self.epochs = self.epochs or best
        weights = trainer.weights(layout)
        return export(weights, counts, tokenizer, encoded, window, share=MIX, cache=self.cache)

    def with_rarities(self, detector: Lstm, encoded: Encoded, bits: NDArray[np.float64]) -> Lstm:
        """Return a model with the rarity of each kind's surprises, and with the rarities of its window.

        Parameters
        ----------
        detector
            Model of all actions, whose window is the last of them.
        encoded
            All actions of the user, in order.
        bits
            Surprise of each action by a model that had not learned from it, shape (actions,); NaN if there is no
            such figure. At least one is a number. An action of the window without a figure has rarity 0.
        """
        kinds = encoded.ids[:, 0] - 1
        known = ~np.isnan(bits)
        usual = fit_tail(bits[known], LEAST_BITS)
        tails = []
        for kind in range(len(detector.rarity)):
            of_kind = bits[known & (kinds == kind)]
            tails.append(fit_tail(of_kind, LEAST_BITS) if len(of_kind) >= _FEWEST_OF_KIND else usual)
        recent = np.zeros(len(detector.window))
        for place, action in enumerate(range(len(bits) - len(recent), len(bits))):
            if known[action]:
                recent[place] = tails[kinds[action]].score(float(bits[action]))
        rarity = np.array([tail.to_array() for tail in tails])
        return Lstm.from_arrays(detector.arrays() | {"rarity": rarity, "recent": recent})

    def _trainer(self, layout: Layout) -> Trainer:
        if layout.shape not in self._trainers:
            with _hushed():
                from anomaly.detectors.lstm_trainer import Trainer  # noqa: PLC0415 - tensorflow loads for 6 s
            self._trainers[layout.shape] = Trainer(layout.shape, self.seed)
        return self._trainers[layout.shape]


@contextmanager
def _hushed() -> Iterator[None]:
    """Discard what tensorflow's C++ writes to stderr while it loads: messages about missing GPUs."""
    if sys.stderr is None:  # closed: nothing can be written
        yield
        return
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
