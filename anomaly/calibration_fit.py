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


def fit_tail(figures: NDArray[np.float64], least_scale: float, independent: float = 1.0) -> Tail:
    """Fit the distribution of raw figures.

    Parameters
    ----------
    figures
        Out-of-fold evidence, shape (actions,).
    least_scale
        Differences smaller than this are between one fit and the next, not in behaviour. Without it, a user who
        always does the same would be alarmed about by the last digit.
    independent
        Share of the figures that are independent of each other: neighbouring windows overlap, so a hundred of
        them say as much as one. It moves the beginning of the tail to where enough independent ones lie above.
    """
    figures = np.sort(figures)
    enough = _FEWEST / max(len(figures) * independent, _FEWEST)
    body = min(BODY, 1.0 - enough) if enough < 0.5 else 0.5  # half of very few
    quantiles = 1.0 - np.geomspace(1.0, 1.0 - body, KNOTS)
    knots = np.maximum.accumulate(np.quantile(figures, quantiles))
    above = figures[figures > knots[-1]] - knots[-1]
    scale, shape = least_scale, 0.0
    if len(above) >= _FEWEST:
        unit = float(above.mean())  # the optimiser's tolerances are absolute
        shape, _, scale = genpareto.fit(above / unit, floc=0.0)
        # Lighter than exponential would give figures a little beyond the data no probability at all.
        if not 0.0 <= shape <= MAX_SHAPE:
            shape = float(np.clip(shape, 0.0, MAX_SHAPE))
            _, _, scale = genpareto.fit(above / unit, f0=shape, floc=0.0)
        scale = scale * unit
    return Tail(knots, 1.0 - quantiles, max(float(scale), least_scale), float(shape))
