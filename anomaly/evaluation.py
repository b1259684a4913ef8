"""How good scores are, where it is known who acted: figures over blocks of a user's actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomaly.detectors.interface import WINDOW


class Block(NamedTuple):
    """A hundred actions of one user."""

    risk: float
    """After the last of them."""
    share: float
    """How many of them somebody else did, in 0..1."""


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


def auc(own: Sequence[float], foreign: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a foreign figure is above an own one (a tie counts half).

    Examples
    --------
    >>> auc([1.0, 2.0], [2.0, 3.0])
    0.875
    """
    if not len(own) or not len(foreign):
        raise ValueError("there must be figures of both kinds")
    mine, theirs = np.asarray(own)[:, None], np.asarray(foreign)[None, :]
    return float(((theirs > mine) + 0.5 * (theirs == mine)).mean())
