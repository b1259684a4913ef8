"""Learning the LSTM: for how long, from what, and what comes with it. Its training is imported when it begins."""

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
from anomaly.detectors.interface import WINDOW, Learner, OutOfFold
from anomaly.detectors.lstm import FOREIGN_MIX, MIX, Lstm
from anomaly.detectors.lstm_layout import Layout
from anomaly.detectors.lstm_weights import Weights, export
from anomaly.tokenizer import Tokenizer
from anomaly.tokens import Encoded

if TYPE_CHECKING:
    from anomaly.detectors.lstm_trainer import Trainer

MAX_EPOCHS, MIN_EPOCHS = 15, 8
ENOUGH = 370_000
"""Actions to learn from, each counted as often as it is seen, before a long log has fewer than ``MAX_EPOCHS``.

So 45,000 actions, three quarters of which teach a fold, have 11 epochs. Training takes four fifths of the time.
"""
_FEWEST_OF_KIND = 100  # out-of-fold actions for a kind to have a rarity of its own


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
        self._trainers: dict[tuple[int, int, int], Trainer] = {}

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
        weights, shares = trainer.weights(layout), (MIX, FOREIGN_MIX)
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

    def _trainer(self, layout: Layout) -> Trainer:
        if layout.shape not in self._trainers:
            with _hushed():
                from anomaly.detectors.lstm_trainer import Trainer  # noqa: PLC0415 - tensorflow takes 6 s
            self._trainers[layout.shape] = Trainer(layout.shape, self.seed)
        return self._trainers[layout.shape]


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep to itself what tensorflow's C++ prints while it is loaded: which GPUs it has not found."""
    if sys.stderr is None:  # closed: there is nothing to keep from
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
