"""State of the sequence model of one user: the cell of the network, the recent window, and the adapted counts."""

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
    """One action of the window."""

    rarity: float
    """Rarity of its surprise among the actions of its kind, ``-10 log10 p``."""
    ids: tuple[int, ...]
    """Its tokens."""
    marks: tuple[int, ...]
    """The mark of each token; see :class:`anomaly.tokens.Tokens`."""
    network: tuple[float, ...]
    """Probability of each token by the network. Empty if unknown: for the actions that training ended with."""


class LstmState(State):
    """Cell, window and counts of one user.

    Parameters
    ----------
    hidden, cell
        Hidden state and cell of the network, shape (units,).
    entries
        Actions of the window, oldest first. The last ``WINDOW`` are kept.
    counts
        The adapted counts.
    """

    def __init__(self, hidden: Floats, cell: Floats, entries: Iterable[Entry], counts: CountState) -> None:
        self.hidden = hidden
        self.cell = cell
        self.counts = counts
        self.entries: deque[Entry] = deque()
        self._rarity = 0.0  # sum over the window
        for entry in entries:
            self.push(entry)

    @cached_property
    def scratch(self) -> tuple[Floats, ...]:
        """Buffers for one step of the cell: all gates; gates i, f and o; candidate; i; f; o; tanh of the cell."""
        units = len(self.hidden)
        gates = np.empty(4 * units, dtype=np.float32)
        squashed, candidate = gates[: 3 * units], gates[3 * units :]
        return gates, squashed, candidate, *np.split(squashed, 3), np.empty(units, dtype=np.float32)

    def push(self, entry: Entry) -> None:
        """Append an action to the window, and drop the oldest if the window is full."""
        if len(self.entries) == WINDOW:
            self._rarity -= self.entries.popleft().rarity
        self.entries.append(entry)
        self._rarity += entry.rarity

    def rarity(self) -> float:
        """Return the mean rarity of the window; 0 if it is empty."""
        return self._rarity / max(len(self.entries), 1)

    def to_json(self) -> dict[str, Any]:
        """Return the cell and the window as JSON-able values, exactly; the counts are saved separately."""
        entries = [
            [entry.rarity, list(zip(entry.ids, entry.marks, strict=True)), entry.network] for entry in self.entries
        ]
        return {"hidden": floats(self.hidden), "cell": floats(self.cell), "entries": entries}
