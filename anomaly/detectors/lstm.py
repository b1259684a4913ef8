"""The sequence view: the surprise of each next action, by an LSTM and by counts that follow the user, in numpy.

What the network (:mod:`anomaly.detectors.network`) gives is mixed with the user's counts
(:mod:`anomaly.detectors.counts`), so that no value costs more bits than its rarity and a little: an LSTM is at its
most confident where it is wrong, and it does not learn any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from math import isfinite, log, log2
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import Tail
from anomaly.detectors.counts import Counts, CountState
from anomaly.detectors.interface import WINDOW, Algorithm, Arrays, Detector, Evidence
from anomaly.detectors.lstm_state import Entry, Floats, LstmState
from anomaly.detectors.network import Network, check_floats
from anomaly.tokens import Tokens

MIX = 0.2
"""Weight of the counts in the surprise of an action."""

FOREIGN_MIX = 0.8
"""Weight of the counts where the user is weighed against others: what does not follow the user's drift harms."""


class Foreseen(NamedTuple):
    """What some actions were judged by, for their explanations."""

    before: Floats
    """The hidden state that each was predicted from, shape (actions, units)."""
    shares: list[tuple[float, ...]]
    """By action, for each of its ids how much it was to be expected, in 0..1."""


class Lstm(Detector):
    """The learned sequence model.

    Parameters
    ----------
    network
        What was learned of the order of actions.
    counts
        The user's counts, and what others do, over the network's vocabulary.
    rarity
        How surprising actions of each kind usually are: :class:`Tail` arrays, one for the kinds too rare to have
        their own and one for each kind, shape (kinds, 2, knots + 1).
    hidden, cell, recent, window
        The state at the end of training: the cell, and of the last actions the rarities, shape (actions,), and the
        ids, shape (actions, tokens), padded with 0.
    shares
        Weights of the counts, in the surprise (``MIX``) and against others (``FOREIGN_MIX``); 1 leaves the network
        out.
    cache
        Whether the counts go on counting.
    """

    algorithm: ClassVar[Algorithm] = Algorithm.LSTM

    def __init__(
        self,
        network: Network,
        counts: Counts,
        rarity: NDArray[np.float64],
        hidden: Floats,
        cell: Floats,
        recent: NDArray[np.float64],
        window: NDArray[np.int32],
        shares: tuple[float, float] = (MIX, FOREIGN_MIX),
        *,
        cache: bool = True,
    ) -> None:
        size, starts = len(network.output), network.starts
        for name, array in (("hidden", hidden), ("cell", cell)):
            check_floats(name, array, (network.units,))
        if window.dtype != np.int32 or recent.dtype != np.float64:
            raise ValueError("the window is of other types")
        if len(counts.own) != size or (counts.starts != starts).any():
            raise ValueError("the counts are of another vocabulary")
        if window.ndim != 2 or len(window) != len(recent) or not ((window >= 0) & (window < size)).all():
            raise ValueError("the window does not fit the vocabulary")
        if not window.any(axis=1).all():
            raise ValueError("the window holds an action of no token")
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError("the weights of the counts are none")
        self.network = network
        self.counts = counts
        self.rarity = rarity
        self._rarity = [Tail.from_array(array) for array in rarity]
        if len(rarity) != starts[1] - starts[0]:
            raise ValueError("the kinds and their rarities do not pair up")
        self.hidden, self.cell, self.recent, self.window, self.shares = hidden, cell, recent, window, shares
        self.cache = cache
        self._trained = counts.start()

    def start(self) -> LstmState:
        """Return the state that training ended in."""
        entries = []
        for rarity, ids in zip(self.recent.tolist(), self.window.tolist(), strict=True):
            tokens = tuple(token for token in ids if token)
            nats = tuple(self.counts.judge(self._trained, token, 0).foreign for token in tokens)
            known = nats if self.counts.others else ()
            entries.append(Entry(rarity, sum(known), tokens, (0,) * len(tokens), known, ()))
        return LstmState(self.hidden.copy(), self.cell.copy(), entries, self.counts.start())

    def resume(self, saved: Mapping[str, Any], learned: Mapping[str, NDArray[Any]] | None = None) -> LstmState:
        """Rebuild a saved state."""
        try:
            with np.errstate(over="ignore"):
                hidden = np.array(saved["hidden"], dtype=np.float32)
                cell = np.array(saved["cell"], dtype=np.float32)
            entries = [self._entry(entry) for entry in saved["entries"]]
        except OverflowError as error:  # a whole number beyond any float
            raise ValueError("the saved state holds no such number") from error
        if hidden.shape != (self.network.units,) or cell.shape != (self.network.units,):
            raise ValueError("the saved state is of another network")
        if not (np.isfinite(hidden).all() and np.isfinite(cell).all()):
            raise ValueError("the saved state holds no numbers")
        counts = self.counts.start() if learned is None else self.counts.resume(learned)
        return LstmState(hidden, cell, entries[-WINDOW:], counts)

    def judge(self, state: LstmState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Evidence:
        """Give each action's surprise in bits; see :meth:`Detector.judge`.

        Alone, the window's view is the mean of ``-10 log10 p`` over the user's last actions, this one included,
        where p is how often an action *of its kind* surprises this much (Fisher 1925: independent tests are
        combined by the logarithms of their p). Kinds differ in how predictable they are; the plain mean of
        bits would follow the mixture of kinds, and a quiet hour look like an intruder. Where other users are
        known, there are two views: :meth:`LstmState.foreign`.
        """
        before = self.network.advance(state, batch, admit)
        given = self.network.probabilities(before, batch)
        bits, shares, views = [], [], []
        for tokens, let_in, network in zip(batch, admit, given, strict=True):
            surprise, share = self._judge_one(state, tokens, tuple(network), admit=let_in)
            bits.append(surprise)
            shares.append(share)
            views.append(self._views(state))
        surprises = np.array(bits)
        return Evidence(surprises, surprises, np.array(views), Foreseen(before, shares))

    def _judge_one(
        self, state: LstmState, tokens: Tokens, network: tuple[float, ...], *, admit: bool
    ) -> tuple[float, tuple[float, ...]]:
        marks = tokens.marks or (0,) * len(tokens.ids)
        shares, foreign, nats = self._judge(state.counts, tokens.ids, marks, network)
        bits = -sum(map(log2, shares))
        if admit:
            rarity = self._rarity[tokens.ids[0] - 1].score(bits)
            state.push(Entry(rarity, foreign, tokens.ids, marks, nats, network))
        return bits, shares

    def learn(self, state: LstmState, chunk: Sequence[Tokens], weight: float) -> None:
        """Count the actions; the network itself stays as it is."""
        if self.cache:
            self.counts.learn(state.counts, chunk, weight)

    def as_trained(self, state: LstmState) -> tuple[float, ...]:
        """Judge the window once more, by the counts of training."""
        counts, frozen, total = self._trained, LstmState(state.hidden, state.cell, (), self._trained), 0.0
        for entry in state.entries:
            rarity, _, ids, marks, _, network = entry
            if network:
                shares, foreign, nats = self._judge(counts, ids, marks, network)
                rarity = self._rarity[ids[0] - 1].score(-sum(map(log2, shares)))
                if self.counts.others:
                    entry = Entry(rarity, foreign, ids, marks, nats, network)  # noqa: PLW2901 - the same one
            total += rarity
            if self.counts.others:
                frozen.push(entry)
        return frozen.foreign() if self.counts.others else (total / max(len(state.entries), 1),)

    def learned(self, state: LstmState) -> Arrays:
        """Return the counts as they stand."""
        return self.counts.learned(state.counts)

    def against(self, prior: NDArray[np.float64]) -> Lstm:
        """Return the same model measured against other users, who do each token with these probabilities."""
        other = copy(self)
        other.counts = self.counts.against(prior)
        other._trained = other.counts.start()  # noqa: SLF001 - a copy of ourselves
        return other

    def _views(self, state: LstmState) -> tuple[float, ...]:
        return state.foreign() if self.counts.others else (state.rarity(),)

    def _judge(
        self, counts: CountState, ids: Sequence[int], marks: Sequence[int], network: Sequence[float]
    ) -> tuple[tuple[float, ...], float, tuple[float, ...]]:
        """Return the tokens' probabilities, and how foreign they are: together, and each by the counts alone."""
        mix, foreign_mix = self.shares
        rest, foreign_rest = 1.0 - mix, 1.0 - foreign_mix
        if not self.counts.others and not any(marks):  # mostly, where a user is learned alone
            known = counts.probability
            pairs = zip(network, ids, strict=True)
            return tuple([rest * expected + mix * known[token] for expected, token in pairs]), 0.0, ()
        probabilities, nats = self.counts.judge_all(counts, ids, marks)
        both = zip(network, probabilities, strict=True)
        shares = tuple([rest * expected + mix * probability for expected, probability in both])
        foreign = 0.0
        if nats:
            for mark, expected, probability, nat in zip(marks, network, probabilities, nats, strict=True):
                # Of a value that it does not know, the network knows only the form.
                mixed = probability if mark else foreign_rest * expected + foreign_mix * probability
                foreign += nat + log(probability / mixed)
        return shares, foreign, tuple(nats)

    def _entry(self, saved: Sequence[Any]) -> Entry:
        rarity, foreign, tokens, nats, network = saved
        keys = tuple((int(token), int(mark)) for token, mark in tokens)
        if not keys or not all(0 < token < len(self.network.output) for token, _ in keys):
            raise ValueError("the saved window is of another vocabulary")
        if keys[0][0] >= self.network.starts[1] or len(network) not in (0, len(keys)):
            raise ValueError("the saved window does not pair up")
        known = tuple(map(float, nats)) if self.counts.others else ()
        if len(known) != (len(keys) if self.counts.others else 0):
            raise ValueError("the saved window does not pair up")
        ids, marks = zip(*keys, strict=True)
        entry = Entry(float(rarity), float(foreign), ids, marks, known, tuple(map(float, network)))
        if not all(map(isfinite, (entry.rarity, entry.foreign, *entry.nats))):
            raise ValueError("the saved window holds no numbers")
        if not all(0.0 <= share <= 1.0 for share in entry.network):
            raise ValueError("the saved window holds no probabilities")
        return entry

    def arrays(self) -> Arrays:
        """Return what was learned."""
        counts = {"own": self.counts.own, "prior": self.counts.prior, "others": np.array([self.counts.others])}
        switches = {"shares": np.array(self.shares), "cache": np.array([self.cache])}
        learned = {name: getattr(self.network, name) for name in _NETWORK}
        learned |= {name: getattr(self, name) for name in _OWN}
        return learned | counts | switches

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Lstm:
        """Rebuild from what :meth:`arrays` gave; raises ValueError or KeyError where it does not fit."""
        counts = Counts(arrays["own"], arrays["prior"], arrays["starts"], others=bool(arrays["others"][0]))
        mix, foreign_mix = arrays["shares"].tolist()
        return cls(
            Network(**{name: arrays[name] for name in _NETWORK}),
            counts,
            **{name: arrays[name] for name in _OWN},
            shares=(mix, foreign_mix),
            cache=bool(arrays["cache"][0]),
        )


_NETWORK = ("kernel", "recurrent", "bias", "output", "output_bias", "starts")
_OWN = ("rarity", "hidden", "cell", "recent", "window")
