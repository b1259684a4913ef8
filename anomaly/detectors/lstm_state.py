"""Where the sequence view stands: the network's cell, what the window remembers, and the user's counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.counts import CountState
from anomaly.detectors.interface import WINDOW, State, floats

Floats = NDArray[np.float32]


class Entry(NamedTuple):
    """What the window remembers of one action."""

    rarity: float
    """How rare its surprise is among actions of its kind, as ``-10 log10 p``."""
    foreign: float
    """How much likelier it is of somebody else than of this user, in nats; 0 where nobody else is known."""
    ids: tuple[int, ...]
    """Its tokens..."""
    marks: tuple[int, ...]
    """...and the mark of each."""
    nats: tuple[float, ...]
    """How much likelier each token is of somebody else, by the counts alone; empty where nobody else is known."""
    network: tuple[float, ...]
    """What the network gave each token: it stays as it was, whatever is learned."""


class LstmState(State):
    """The cell, the window, and the user's counts."""

    def __init__(self, hidden: Floats, cell: Floats, entries: Iterable[Entry], counts: CountState) -> None:
        self.hidden = hidden
        self.cell = cell
        self.counts = counts
        self.entries: deque[Entry] = deque()
        self._rarity = self._foreign = self._distinct = 0.0
        self._tokens: dict[tuple[int, int], tuple[int, float]] = {}
        for entry in entries:
            self.push(entry)

    @cached_property
    def scratch(self) -> tuple[Floats, ...]:
        """Room for a step of the cell: all gates, the squashed ones, the candidate; i, f and o; what shows."""
        units = len(self.hidden)
        gates = np.empty(4 * units, dtype=np.float32)
        squashed, candidate = gates[: 3 * units], gates[3 * units :]
        return gates, squashed, candidate, *np.split(squashed, 3), np.empty(units, dtype=np.float32)

    def push(self, entry: Entry) -> None:
        """Let an action into the window and the oldest out."""
        if len(self.entries) == WINDOW:
            self._add(self.entries.popleft(), -1)
        self.entries.append(entry)
        self._add(entry, 1)

    def rarity(self) -> float:
        """Return the mean of the window's rarities."""
        return self._rarity / max(len(self.entries), 1)

    def foreign(self) -> tuple[float, float]:
        """Return how much likelier the window is of somebody else: by action, and by distinct token.

        The second counts what was done and not how often: one command repeated fifty times is one habit.
        """
        return self._foreign / max(len(self.entries), 1), self._distinct / max(len(self._tokens), 1)

    def _add(self, entry: Entry, sign: int) -> None:
        self._rarity += sign * entry.rarity
        self._foreign += sign * entry.foreign
        if not entry.nats:
            return
        for token, mark, nats in zip(entry.ids, entry.marks, entry.nats, strict=True):
            key = token, mark
            count, total = self._tokens.get(key, (0, 0.0))
            if count:
                self._distinct -= total / count
            count, total = count + sign, total + sign * nats
            if count:
                self._tokens[key] = count, total
                self._distinct += total / count
            else:
                del self._tokens[key]

    def to_json(self) -> dict[str, Any]:
        """Return the state; a float is exact as a JSON number."""
        entries = [
            [
                entry.rarity,
                entry.foreign,
                list(zip(entry.ids, entry.marks, strict=True)),
                entry.nats,
                entry.network,
            ]
            for entry in self.entries
        ]
        return {"hidden": floats(self.hidden), "cell": floats(self.cell), "entries": entries}
