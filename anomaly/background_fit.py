"""Learning what everyone in a log does."""

from __future__ import annotations

import numpy as np

from anomaly.background import Background
from anomaly.calibration_fit import fit_tail
from anomaly.population import Population

_LEAST_BITS = 0.5  # differences that may be due to the fit alone


def learn_background(population: Population) -> Background:
    """Return what all users of a population do, judged by users who are left out in turn."""
    bits = []
    for user in population.users:
        costs = -np.log2(np.maximum(population.without(user), 2.0**-64))
        costs[0] = 0.0
        bits.append(costs[population.as_stranger(user).ids].sum(axis=1))
    figures = np.concatenate(bits)
    return Background(
        population.tokenizer, population.without(), fit_tail(figures, _LEAST_BITS), len(population.users)
    )
