"""How good scores are, where it is known who acted: figures over blocks of a user's actions.

As in Schonlau et al. (2001), actions are judged a hundred at a time, and thresholds are global. The cost of
Maxion & Townsend (2002) is six times the false alarms and once the misses, in per cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW

ALARM_COST = 6.0
"""What a false alarm costs, in misses."""


class Block(NamedTuple):
    """A hundred actions of one user."""

    risk: float
    """After the last of them."""
    share: float
    """How many of them somebody else did, in 0..1."""


class Figures(NamedTuple):
    """What blocks come to."""

    own: int
    """Blocks in which nobody else acted."""
    other: int
    """Blocks at least half of which somebody else did."""
    auc: float
    hits_1: float
    """Share of the other blocks above all but 1 % of the own ones."""
    hits_5: float
    cost: float
    """At the best threshold, so optimistic: six times the false alarms plus the misses, in per cent."""
    false_alarms: float
    """Share of the own blocks that alarm."""
    hits: float
    """Share of the other blocks that alarm."""


def blocks(risks: Sequence[float], foreign: Sequence[bool], size: int = WINDOW) -> list[Block]:
    """Cut one user's actions into blocks; what is left over at the end is no block.

    Examples
    --------
    >>> blocks([1.0, 2.0, 3.0, 4.0, 5.0], [False, False, True, True, True], size=2)
    [Block(risk=2.0, share=0.0), Block(risk=4.0, share=1.0)]
    """
    return [
        Block(float(risks[end - 1]), sum(foreign[end - size : end]) / size)
        for end in range(size, len(risks) + 1, size)
    ]


def figures(found: Sequence[Block], alarm: float) -> Figures:
    """Return what blocks come to at a threshold that was set beforehand; NaN where one kind is missing.

    Examples
    --------
    >>> found = [Block(risk, 0.0) for risk in range(20)] + [Block(30.0, 1.0), Block(5.0, 0.6), Block(9.0, 0.1)]
    >>> figures(found, alarm=19.0)._replace(auc=0.0)
    Figures(own=20, other=2, auc=0.0, hits_1=0.5, hits_5=0.5, cost=50.0, false_alarms=0.05, hits=0.5)
    """
    own = np.array([block.risk for block in found if not block.share])
    other = np.array([block.risk for block in found if block.share >= 0.5])
    missing = float("nan")
    both = bool(len(own) and len(other))
    return Figures(
        own=len(own),
        other=len(other),
        auc=auc(own, other) if both else missing,
        hits_1=hits_at(own, other, 0.01) if both else missing,
        hits_5=hits_at(own, other, 0.05) if both else missing,
        cost=best_cost(own, other) if both else missing,
        false_alarms=float((own >= alarm).mean()) if len(own) else missing,
        hits=float((other >= alarm).mean()) if len(other) else missing,
    )


def auc(own: Sequence[float] | NDArray[np.float64], foreign: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: how often a foreign figure is above an own one (a tie counts half).

    Examples
    --------
    >>> auc([1.0, 2.0], [2.0, 3.0])
    0.875
    """
    if not len(own) or not len(foreign):
        raise ValueError("there must be figures of both kinds")
    mine = np.sort(np.asarray(own))
    above = np.searchsorted(mine, foreign, side="left") + np.searchsorted(mine, foreign, side="right")
    return float(above.mean() / 2 / len(mine))


def hits_at(own: NDArray[np.float64], other: NDArray[np.float64], rate: float) -> float:
    """Return the share of other figures above all but ``rate`` of the own ones."""
    threshold = np.sort(own)[::-1][int(len(own) * rate)]
    return float((other > threshold).mean())


def best_cost(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the least cost over all thresholds, in per cent; never alarming costs 100."""
    thresholds = np.unique(np.concatenate([own, other]))
    alarms = 1.0 - np.searchsorted(np.sort(own), thresholds, side="left") / len(own)
    misses = np.searchsorted(np.sort(other), thresholds, side="left") / len(other)
    return float(min(100.0, (100.0 * (ALARM_COST * alarms + misses)).min()))


def roc(own: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Return the false alarm rates and hit rates of all thresholds, ascending, from (0, 0) to (1, 1)."""
    thresholds = np.unique(np.concatenate([own, other]))[::-1]
    alarms = 1.0 - np.searchsorted(np.sort(own), thresholds, side="left") / len(own)
    hits = 1.0 - np.searchsorted(np.sort(other), thresholds, side="left") / len(other)
    return [0.0, *alarms.tolist()], [0.0, *hits.tolist()]


def delays(risks: Sequence[float], foreign: Sequence[bool], alarm: float) -> list[int | None]:
    """Return, for each time that somebody else came, after how many of their actions the risk alarmed.

    Somebody who pauses for less than a window has not gone. None where it did not alarm.

    Examples
    --------
    >>> delays([0, 0, 10, 40, 0], [False, True, False, True, False], alarm=30)
    [2]
    """
    found: list[int | None] = []
    for visit in _visits(foreign):
        acted = [number for number in visit if foreign[number]]
        first = next((number for number in visit if risks[number] >= alarm), None)
        found.append(None if first is None else sum(number <= first for number in acted))
    return found


def _visits(foreign: Sequence[bool]) -> Iterator[range]:
    places = [number for number, stranger in enumerate(foreign) if stranger]
    begin = 0
    for number, place in enumerate(places):
        if number + 1 == len(places) or places[number + 1] - place > WINDOW:
            yield range(places[begin], place + 1)
            begin = number + 1
