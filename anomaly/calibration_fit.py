"""Fits the calibration to figures of actions that were not learned yet. Imports scipy, so only training does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto

from anomaly.calibration import KNOTS, Tail

MAX_SHAPE = 0.5
"""Heavier tails than this come from too few exceedances, not from behaviour."""

EXCEEDING = 30
"""Independent figures above the beginning of the tail; below it the distribution speaks for itself.

With the usual 95th percentile in its place, a cluster of rare figures (1 action in 100 brings something new) lies
within the tail, and an exponential through it calls them ten times rarer than they are.
"""
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
        them say as much as one. The tail begins where ``EXCEEDING`` independent ones lie above.
    """
    figures = np.sort(figures)
    body = 1.0 - min(EXCEEDING / (len(figures) * independent), 0.5)
    quantiles = 1.0 - np.geomspace(1.0, 1.0 - body, KNOTS)
    knots = np.maximum.accumulate(np.quantile(figures, quantiles))
    exceeding = 1.0 - quantiles
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
    # Nor may the body rise faster than an exponential of the least scale.
    steps = np.concatenate([[0.0], np.cumsum(-np.diff(np.log(exceeding)))]) * least_scale
    knots = np.maximum.accumulate(knots - steps) + steps
    return Tail(knots, exceeding, max(float(scale), least_scale), float(shape))
