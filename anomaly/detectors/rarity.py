"""Rarity of one action for its user: the rank of its rarest feature, level by level.

At each level, an action is ranked by how often the user did the rarest of its features before: never and nobody
else either, never, once, 2 or 3 times, 4 to 7 times, and so on. A level's surprise is ``-log2`` of the share of
the user's own actions that rank so low, measured on actions that were not learned yet. A user who types new
arguments all day is not surprising by another one; a user who never runs a new program is by the first. The
surprise of an action is that of its most surprising level: columns that imply each other are not added up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import LEVELS, Profile, ProfileState, look_up
from anomaly.features.levels import Features, Level

RANKS = 16
"""Ranks: new to everybody, new to the user, once, 2 or 3 times, 4 to 7 times, and so on."""

Floats = NDArray[np.float64]

_UNKNOWN, _NEW, _ONCE = 0, 1, 2


class RecentFeatures:
    """The user's last actions, and how often each feature is among them."""

    def __init__(self, window: Iterable[Features] = ()) -> None:
        self.window: deque[Features] = deque()
        self.counts: dict[int, int] = {}
        for features in window:
            self.push(features)

    def push(self, features: Features) -> None:
        """Append an action, and drop the oldest if the window is full."""
        counts = self.counts
        if len(self.window) == WINDOW:
            for feature in self.window.popleft():
                if counts[feature] == 1:
                    del counts[feature]
                else:
                    counts[feature] -= 1
        self.window.append(features)
        for feature in features:
            counts[feature] = counts.get(feature, 0) + 1


class Rarity:
    """Surprise of each rank, level by level. Immutable.

    Parameters
    ----------
    bits
        Surprise in bits, shape (levels, ranks); not increasing along the ranks.
    """

    def __init__(self, bits: Floats) -> None:
        if bits.dtype != np.float64 or bits.shape != (LEVELS, RANKS):
            raise ValueError("the surprise of ranks is invalid: it has another shape or type")
        if not (np.isfinite(bits).all() and (bits >= 0.0).all() and (np.diff(bits, axis=1) <= 0.0).all()):
            raise ValueError("the surprise of ranks is invalid: its bits are out of order")
        self.bits = bits
        self._bits: list[list[float]] = bits.tolist()

    @classmethod
    def fit(cls, ranks: Sequence[Mapping[int, int]]) -> Rarity:
        """Fit the surprise of ranks from those of actions that were not learned yet (:class:`Ranks`).

        Examples
        --------
        >>> rarity = Rarity.fit([{0: 1}] + [{0: 15}] * 99)
        >>> round(float(rarity.bits[0, 0]), 1), float(rarity.bits[0, 15])
        (7.7, 0.0)
        """
        counted = [Counter(one[level] for one in ranks if level in one) for level in range(LEVELS)]
        table = np.array([[counts[rank] for rank in range(RANKS)] for counts in counted], dtype=np.float64)
        total = table.sum(axis=1, keepdims=True)
        return cls(-np.log2(np.minimum((np.cumsum(table, axis=1) + 0.5) / (total + 0.5), 1.0)) + 0.0)

    def surprise(self, ranks: Mapping[int, int]) -> float:
        """Return the surprise of an action, in bits, from its ranks."""
        bits = self._bits
        return max([bits[level][rank] for level, rank in ranks.items()], default=0.0)


class Ranks:
    """The ranks of consecutive actions between which nothing is learned.

    Parameters
    ----------
    profile, state
        The user's.
    batch
        Features of the actions.
    """

    def __init__(self, profile: Profile, state: ProfileState, batch: Sequence[Features]) -> None:
        flat = np.fromiter(chain.from_iterable(batch), dtype=np.uint64)
        own, others = np.zeros(len(flat)), np.zeros(len(flat))
        place, known = look_up(profile.keys, flat)
        own[known], others[known] = state.own[place[known]], profile.others.counts[place[known]]
        self._own: list[float] = own.tolist()
        self._others: list[float] = others.tolist()
        self._begins = [0, *accumulate(map(len, batch))]
        self._batch, self._fresh = batch, state.fresh
        # A feature in a share of the window's actions ranks as one in half that share of all the user's actions.
        self._share = float(state.totals[Level.KIND]) / (2.0 * WINDOW)

    def of(self, number: int, recent: Mapping[int, int]) -> dict[int, int]:
        """Return, by level, the rank of an action's rarest feature.

        ``recent`` holds how often each feature is among the user's last actions: those are never new.
        """
        ranks: dict[int, int] = {}
        own, others, fresh = self._own, self._others, self._fresh
        for place, feature in enumerate(self._batch[number], self._begins[number]):
            count = own[place] or fresh.get(feature, 0.0)
            if feature in recent:
                count = max(count, self._share * recent[feature], 1.0)
            if count:
                rank = min(_ONCE - 1 + int(count).bit_length(), RANKS - 1) if count >= 1.0 else _ONCE
            else:
                rank = _NEW if others[place] else _UNKNOWN
            level = feature & 7
            if rank < ranks.get(level, RANKS):
                ranks[level] = rank
        return ranks
