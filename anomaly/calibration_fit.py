"""Learning the calibration from out-of-fold evidence: the only module that imports scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto

from anomaly.calibration import KNOTS, Tail

BODY = 0.95
"""Where the tail begins: the quantile up to which the empirical distribution speaks for itself."""

MAX_SHAPE = 0.5
"""Heavier tails than this come from too few exceedances, not from behaviour."""

_FEWEST = 10


def fit_tail(figures: NDArray[np.float64], independent: float = 1.0, least_shape: float = 0.0) -> Tail:
    """Fit the distribution of raw figures.

    Parameters
    ----------
    figures
        Out-of-fold evidence, shape (actions,).
    independent
        Share of the figures that are independent of each other: neighbouring windows overlap, so a hundred of
        them say as much as one. It moves the beginning of the tail to where enough independent ones lie above.
    least_shape
        Lower bound of the tail's shape. A tail lighter than exponential would give figures a little beyond
        the data no probability at all.
    """
    figures = np.sort(figures)
    enough = _FEWEST / max(len(figures) * independent, _FEWEST)
    body = min(BODY, 1.0 - enough) if enough < 0.5 else 0.5  # half of very few
    quantiles = 1.0 - np.geomspace(1.0, 1.0 - body, KNOTS)
    knots = np.maximum.accumulate(np.quantile(figures, quantiles))
    above = figures[figures > knots[-1]] - knots[-1]
    if len(above) < _FEWEST:
        scale, shape = max(float(knots[-1] - knots[0]) / 10.0, 1e-9), least_shape
    else:
        shape, _, scale = genpareto.fit(above, floc=0.0)
        if not least_shape <= shape <= MAX_SHAPE:  # the best scale for the nearest shape allowed
            shape = float(np.clip(shape, least_shape, MAX_SHAPE))
            _, _, scale = genpareto.fit(above, f0=shape, floc=0.0)
    return Tail(knots, 1.0 - quantiles, max(float(scale), 1e-9), float(shape))
