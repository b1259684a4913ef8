"""Sequence model of one user: the surprise of each next action, by an LSTM and by counts.

The probability of a token is a mixture of two predictions: that of the network (:mod:`anomaly.detectors.network`)
and that of the user's counts (:mod:`anomaly.detectors.counts`). An LSTM is most confident where it is wrong, and
it does not learn after training. In the mixture no token costs more bits than by the counts alone, plus
``-log2(MIX)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log2
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import Tail
from anomaly.detectors.counts import Counts, CountState
from anomaly.detectors.interface import WINDOW, Arrays
from anomaly.detectors.lstm_state import Entry, Floats, LstmState
from anomaly.detectors.network import Network, check_floats
from anomaly.tokens import Tokens

MIX = 0.2
"""Weight of the counts in the probability of a token."""


class Foreseen(NamedTuple):
    """Predictions of a batch of actions, for explanations."""

    before: Floats
    """Hidden state that predicts each action, shape (actions, units)."""
    shares: list[tuple[float, ...]]
    """Probability of each token of each action, in 0..1."""


class SequenceEvidence(NamedTuple):
    """Raw figures of consecutive actions of one user. Higher is more anomalous."""

    surprise: NDArray[np.float64]
    """Surprise of each action in bits, shape (actions,)."""
    rarity: NDArray[np.float64]
    """Mean of ``-10 log10 p`` over the window after each action, shape (actions,)."""
    details: Foreseen
    """Predictions, for explanations."""


class Lstm:
    """Sequence model of one user. Immutable: what it learns after training is in the state.

    Parameters
    ----------
    network
        Model of the order of actions.
    counts
        The user's counts, by the tokens of the network.
    rarity
        Distribution of the surprise of each kind of action, shape (kinds, 2, knots + 1); see :class:`Tail`. The
        first is for kinds that training did not know.
    hidden, cell
        Hidden state and cell at the end of training, shape (units,).
    recent, window
        Last actions of training: their rarities, shape (actions,), and their tokens, shape (actions, tokens),
        padded with 0.
    share
        Weight of the counts in the probability of a token, in 0..1. 1 leaves the network out.
    cache
        Whether the counts keep adapting.
    """

    def __init__(
        self,
        network: Network,
        counts: Counts,
        rarity: NDArray[np.float64],
        hidden: Floats,
        cell: Floats,
        recent: NDArray[np.float64],
        window: NDArray[np.int32],
        share: float = MIX,
        *,
        cache: bool = True,
    ) -> None:
        size, starts = len(network.output), network.starts
        for name, array in (("hidden", hidden), ("cell", cell)):
            check_floats(name, array, (network.units,))
        if window.dtype != np.int32 or recent.dtype != np.float64:
            raise ValueError("the window is not of int32 and float64")
        if len(counts.own) != size or (counts.starts != starts).any():
            raise ValueError("the counts belong to another vocabulary")
        if window.ndim != 2 or len(window) != len(recent) or not ((window >= 0) & (window < size)).all():
            raise ValueError("the window is invalid: a token is not in the vocabulary, or a rarity is missing")
        if not window.any(axis=1).all():
            raise ValueError("the window is invalid: an action has no token")
        if not 0.0 <= share <= 1.0:
            raise ValueError("the weight of the counts is not in 0..1")
        self.network = network
        self.counts = counts
        self.rarity = rarity
        self._rarity = [Tail.from_array(array) for array in rarity]
        if len(rarity) != starts[1] - starts[0]:
            raise ValueError("the kinds and their rarities do not pair up")
        self.hidden, self.cell, self.recent, self.window, self.share = hidden, cell, recent, window, share
        self.cache = cache
        self._trained = counts.start()

    def start(self) -> LstmState:
        """Return the state at the end of training."""
        entries = []
        for rarity, ids in zip(self.recent.tolist(), self.window.tolist(), strict=True):
            tokens = tuple(token for token in ids if token)
            entries.append(Entry(rarity, tokens, (0,) * len(tokens), ()))
        return LstmState(self.hidden.copy(), self.cell.copy(), entries, self.counts.start())

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> LstmState:
        """Rebuild a state.

        Parameters
        ----------
        saved
            From :meth:`LstmState.to_json`.
        learned
            From :meth:`learned`. None if the counts restart as training left them.

        Raises
        ------
        ValueError, KeyError, TypeError
            The saved state is invalid or belongs to another model.
        """
        try:
            with np.errstate(over="ignore"):
                hidden = np.array(saved["hidden"], dtype=np.float32)
                cell = np.array(saved["cell"], dtype=np.float32)
            entries = [self._entry(entry) for entry in saved["entries"]]
        except OverflowError as error:  # an integer beyond any float
            raise ValueError("the saved state has a number that is too large") from error
        if hidden.shape != (self.network.units,) or cell.shape != (self.network.units,):
            raise ValueError("the saved state belongs to another network")
        if not (np.isfinite(hidden).all() and np.isfinite(cell).all()):
            raise ValueError("the saved state is not finite")
        counts = self.counts.start() if learned is None else self.counts.resume(learned)
        return LstmState(hidden, cell, entries[-WINDOW:], counts)

    def judge(self, state: LstmState, batch: Sequence[Tokens], admit: Sequence[bool]) -> SequenceEvidence:
        """Score consecutive actions and advance the state; cutting them into batches changes no result.

        The rarity of the window is the mean of ``-10 log10 p`` over its actions. p is the probability that an
        action *of the same kind* is at least as surprising (Fisher 1925: independent tests are combined by the
        logarithms of their p). Some kinds are more predictable than others. The plain mean of bits would follow
        the mixture of kinds, and raise the score when only that mixture changes.

        Parameters
        ----------
        state
            A state of this model; changed in place.
        batch
            The actions, at least one.
        admit
            By action, whether it enters the window. One that does not is scored and leaves the state unchanged.
        """
        before = self.network.advance(state, batch, admit)
        bits, shares, rarities = [], [], []
        predicted = self.network.probabilities(before, batch)
        for tokens, let_in, network in zip(batch, admit, predicted, strict=True):
            ids, marks = tokens.ids, tokens.marks or (0,) * len(tokens.ids)
            share = self._mixed(state.counts, ids, marks, network)
            surprise = _bits(share)
            if let_in:
                state.push(Entry(self._score(ids, surprise), ids, marks, tuple(network)))
            bits.append(surprise)
            shares.append(share)
            rarities.append(state.rarity())
        return SequenceEvidence(np.array(bits), np.array(rarities), Foreseen(before, shares))

    def learn(self, state: LstmState, chunk: Sequence[Tokens], weight: float) -> None:
        """Count consecutive actions, each by ``weight`` in 0..1. The network stays as trained."""
        if self.cache:
            self.counts.learn(state.counts, chunk, weight)

    def as_trained(self, state: LstmState) -> float:
        """Return the mean rarity of the window by the counts of training."""
        total = 0.0
        for rarity, ids, marks, network in state.entries:
            if network:
                total += self._score(ids, _bits(self._mixed(self._trained, ids, marks, network)))
            else:  # an action that training ended with: its rarity is by the counts of training
                total += rarity
        return total / max(len(state.entries), 1)

    def learned(self, state: LstmState) -> Arrays:
        """Return the adapted counts as arrays to save."""
        return self.counts.learned(state.counts)

    def _mixed(
        self, counts: CountState, ids: Sequence[int], marks: Sequence[int], network: Sequence[float]
    ) -> tuple[float, ...]:
        """Return the probability of each token of an action by the counts and the network together."""
        mix, rest = self.share, 1.0 - self.share
        if any(marks):
            pairs = zip(network, self.counts.judge(counts, ids, marks), strict=True)
            return tuple([rest * expected + mix * probability for expected, probability in pairs])
        known = counts.probability  # faster, and the usual case
        return tuple([rest * expected + mix * known[token] for expected, token in zip(network, ids, strict=True)])

    def _score(self, ids: Sequence[int], bits: float) -> float:
        """Return the rarity of an action's surprise among the actions of its kind."""
        return self._rarity[ids[0] - 1].score(bits)

    def _entry(self, saved: Sequence[Any]) -> Entry:
        """Return a saved action of the window; raise if it is invalid."""
        rarity, tokens, network = saved
        keys = tuple((int(token), int(mark)) for token, mark in tokens)
        if not keys or not all(0 < token < len(self.network.output) for token, _ in keys):
            raise ValueError("the saved window belongs to another vocabulary")
        if keys[0][0] >= self.network.starts[1] or len(network) not in (0, len(keys)):
            raise ValueError("the saved window is invalid: tokens and probabilities do not pair up")
        ids, marks = zip(*keys, strict=True)
        entry = Entry(float(rarity), ids, marks, tuple(map(float, network)))
        if not isfinite(entry.rarity):
            raise ValueError("the saved window is not finite")
        if not all(0.0 <= share <= 1.0 for share in entry.network):
            raise ValueError("the saved window is invalid: a probability is not in 0..1")
        return entry

    def arrays(self) -> Arrays:
        """Return everything that training learned, as arrays to save."""
        learned = {name: getattr(self.network, name) for name in _NETWORK}
        learned |= {name: getattr(self, name) for name in _OWN}
        learned |= {"own": self.counts.own, "prior": self.counts.prior}
        return learned | {"share": np.array([self.share]), "cache": np.array([self.cache])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Lstm:
        """Rebuild a model from :meth:`arrays`.

        Raises
        ------
        ValueError, KeyError, IndexError, TypeError
            The arrays are invalid.
        """
        (share,) = arrays["share"].tolist()
        return cls(
            Network(**{name: arrays[name] for name in _NETWORK}),
            Counts(arrays["own"], arrays["prior"], arrays["starts"]),
            **{name: arrays[name] for name in _OWN},
            share=share,
            cache=bool(arrays["cache"][0]),
        )


def _bits(shares: Sequence[float]) -> float:
    return -sum(map(log2, shares))


_NETWORK = ("kernel", "recurrent", "bias", "output", "output_bias", "starts")
_OWN = ("rarity", "hidden", "cell", "recent", "window")
