"""Channels and fusions for tests, made in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.fusion import START, STAY, Channel, Fusion


def channel(length: int = 30, **changes: Any) -> Channel:  # noqa: ANN401 - fields of several types
    """Return a filtered channel that guards; ``changes`` are other fields."""
    plain = Channel(length, bias=0.0, threshold=0.0, start=START, stay=STAY, guards=True)
    return plain._replace(**changes)


def own(length: int = 100, **changes: Any) -> Channel:  # noqa: ANN401 - fields of several types
    """Return a channel that is measured by the user's own figures."""
    return channel(length, **({"start": 0.0, "stay": 0.0} | changes))


def fusion_of(*channels: Channel, weights: NDArray[np.float64] | None = None, delay: int = 0) -> Fusion:
    """Return a fusion; by default the evidence of a channel is its only view."""
    table = np.ones((len(channels), 1)) if weights is None else weights
    return Fusion(channels, table, np.zeros(table.shape), np.ones(table.shape), delay)
