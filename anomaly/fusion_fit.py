"""Learning to weigh the views, without any attack: by other users where there are any, else by the user alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from anomaly.calibration import KNOTS, Tail
from anomaly.calibration_fit import fit_tail
from anomaly.detectors.interface import WINDOW
from anomaly.risk import START, STAY, Fusion, logit

KAPPA = 0.5
"""Of the calibrator that makes evidence of a p-value: ``kappa p^(kappa - 1)`` (Vovk & Wang 2021, section 2)."""

STAY_ALONE = 0.3
"""The filter's memory where a user is known alone: weaker evidence must not last as long."""

SHARPEN = 3.0
"""What the ratio is multiplied by: it is learned from folds of weeks, and users differ more in the long run."""

_INVERSE_PENALTY = 10.0
_EVERYDAY = 0.1  # 1 window in 10: rarer ones are too few in the folds to say how rare

Floats = NDArray[np.float64]


def weigh_alone(views: Floats, least: Sequence[float], *, filtered: bool = True) -> Fusion:
    """Weigh the views by how rare each is among the user's own windows.

    Parameters
    ----------
    views
        Out-of-fold, shape (windows, views); neighbouring windows overlap.
    least
        For each view, the difference that may be due to the fit alone.
    filtered
        Whether a window's suspicion reaches into the next.
    """
    tails = [
        fit_tail(view, least_scale, independent=1.0 / WINDOW)
        for view, least_scale in zip(views.T, least, strict=True)
    ]
    weight = (1.0 - KAPPA) * log(10.0) / 10.0 / len(tails)
    return Fusion([weight] * len(tails), log(KAPPA), START, STAY_ALONE if filtered else START, tails)


def weigh_against_others(own: Floats, others: Floats, *, filtered: bool = True) -> Fusion:
    """Weigh the views by logistic regression: users' own windows against other users' windows.

    The regression's log-odds, less those of its two classes, are a log-likelihood ratio.

    Parameters
    ----------
    own, others
        Out-of-fold, of all users, shape (windows, views).
    filtered
        Whether a window's suspicion reaches into the next.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - scikit-learn takes 2 s

    views = np.concatenate([own, others])
    mean, deviation = views.mean(axis=0), np.maximum(views.std(axis=0), 1e-9)
    labels = np.repeat([0, 1], [len(own), len(others)])
    regression = LogisticRegression(C=_INVERSE_PENALTY).fit((views - mean) / deviation, labels)
    weights = regression.coef_[0] / deviation
    bias = float(regression.intercept_[0]) - float(weights @ mean) - log(len(others) / len(own))
    return Fusion((SHARPEN * weights).tolist(), SHARPEN * bias, START, STAY if filtered else START)


def by_likelihood(fusion: Fusion, odds: Floats) -> Tail:
    """Return the risk of log-odds where users are weighed against each other.

    Of windows such as users have every day it is how rare they are. From where somebody else is the likelier on,
    it is what a likelihood ratio promises: a user reaches x of it in one window of x (Markov's inequality; the
    mean ratio over a user's own windows is 1). Between the two the line is straight. The folds alone would promise
    less than is found later: what is new in a fold has been learned by then.

    Parameters
    ----------
    fusion
        How the views are weighed.
    odds
        Out-of-fold log-odds of users' own windows, shape (windows,).

    Examples
    --------
    >>> risk = by_likelihood(Fusion([1.0], 0.0, start=0.01, stay=0.9), np.linspace(-20.0, -10.0, 1000))
    >>> round(risk.score(-15.0), 1), round(risk.score(0.0), 1), round(risk.score(log(10.0)), 1)
    (3.0, 20.0, 30.0)
    """
    exceeding = np.geomspace(1.0, _EVERYDAY, KNOTS)
    figures = np.maximum.accumulate(np.quantile(odds, 1.0 - exceeding))
    below = figures < 0.0
    points = np.append(figures[below], 0.0)
    return Tail(points, np.append(exceeding[below], np.exp(logit(fusion.start))), scale=1.0, shape=0.0)
