"""Setting the scale of a user who is learned alone, by a rehearsal on the user's own training data.

The first half is learned, and the second scored while it is learned on the way: mean, deviation and skew of what
that comes to are the user's scale. At least the same number of deviations alarms for everyone; more if the user's
own rehearsed figures go further. Nothing is extrapolated from the tail of a few dozen windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from anomaly.cohort_fit import BUDGET, CohortFit, alarms_in, risk_of
from anomaly.detectors.detector import OWN_VIEWS, Detector
from anomaly.detectors.fusion import Channel, Fusion
from anomaly.detectors.interface import WINDOW, Floats
from anomaly.features.levels import Features
from anomaly.tokens import Tokens

DELAY = 300
"""Actions after which a chunk is learned, so that no window is compared with itself."""

LOW, HIGH = -3.0, 12.0
"""Deviations of one view that count."""

SKEWED, MOST_SKEW = 0.3, 2.0
"""Share of the skew that the divisor of a deviation grows by, and the skew that counts at most."""

MOST_THRESHOLD, THRESHOLD_STEP = 4.0, 0.1
"""A user whose own figures go far beyond the usual threshold, which is that of a channel, has a higher one."""

WEIGHTS = np.array([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 1.0, 1.5, 1.0]])
"""Of the views of the two channels: the nearest windows, and everything else."""

NEAR = Channel(
    length=WINDOW,
    bias=0.0,
    threshold=2.35,
    start=0.0,
    stay=0.0,
    guards=True,
    low=LOW,
    high=HIGH,
    rate=0.05,
    above=0.25,
    below=2.0,
    most_moving=3.5,
    guard=2.0,
)
"""Channel of the distance to the nearest learned windows.

Its scale follows the user fast, and it adds little to the risk beyond the alarm.
"""

OTHER = Channel(
    length=WINDOW,
    bias=0.0,
    threshold=2.0,
    start=0.0,
    stay=0.0,
    guards=True,
    low=LOW,
    high=HIGH,
    rate=0.015,
    most_moving=3.0,
    guard=2.5,
    guard_is_fixed=True,
)
"""Channel of all other views.

Its alarm scale follows the user slowly; learning is decided by the scale of training.
"""

POINTS = float(np.log(10.0))
"""Units of risk's tail in a deviation: each one beyond the alarm is ten points."""

LEAST_SCALE = np.array([0.004, 0.0015, 0.06, 0.06, 0.1])
"""Least deviation of each view: a tenth of what it is for people. An account that does the same all the time has
none, and the smallest difference would alarm."""

LEAST_DEVIATIONS = np.array([0.3, 1.0])
"""The same for the two channels, a third of what it is for people."""


def fit_alone(
    detector: Detector, stretch: Sequence[Features], months: float = 0.0, rarities: Floats | None = None
) -> CohortFit:
    """Return how a user is judged who is learned alone.

    Parameters
    ----------
    detector
        Learned from the first half of the user's actions.
    stretch
        The second half.
    months
        How long it took, in months of days on which the user acted; one alarm is allowed for in any case.
    rarities
        With the network alone: how rare the last actions are in their order, at each of them, shape (actions,).
    """
    views = rehearsed_views(detector, stretch, rarities)
    centre, scale = views.mean(axis=0), np.maximum(views.std(axis=0), LEAST_SCALE)
    figures = (WEIGHTS * np.clip((views - centre) / scale, LOW, HIGH)).sum(axis=2)
    mean, deviation = figures.mean(axis=0), np.maximum(figures.std(axis=0), LEAST_DEVIATIONS)
    units = (figures - mean) / deviation
    skew = 1.0 + SKEWED * np.clip((units**3).mean(axis=0), 0.0, MOST_SKEW)
    measured = units / skew
    allowed = max(int(BUDGET * months / 2.0), 1)
    channels = [
        channel._replace(
            mean=float(m), deviation=float(d), skew=float(s), threshold=_threshold(own, channel.threshold, allowed)
        )
        for channel, m, d, s, own in zip((NEAR, OTHER), mean, deviation, skew, measured.T, strict=True)
    ]
    beyond = measured - [channel.threshold for channel in channels]
    slopes = np.where(beyond > 0.0, [c.above for c in channels], [c.below for c in channels])
    fusion = Fusion(channels, WEIGHTS.copy(), centre, scale, DELAY)
    return CohortFit(fusion, risk_of((beyond * slopes).max(axis=1), 1.0 / POINTS))


def _threshold(figures: Floats, least: float, allowed: int) -> float:
    """Return what alarms no more often than ``allowed`` among a user's own figures; from ``least`` on."""
    found = least
    while found < MOST_THRESHOLD and alarms_in(figures > found) > allowed:
        found += THRESHOLD_STEP
    return found


def rehearsed_views(detector: Detector, stretch: Sequence[Features], rarities: Floats | None) -> Floats:
    """Return the views of a stretch of the user's own actions, all of which is learned on the way, late."""
    state, views = detector.start(), []
    waiting: deque[Sequence[Tokens]] = deque()
    for begin in range(0, len(stretch), WINDOW):
        batch = [Tokens((1,), features, (0,)) for features in stretch[begin : begin + WINDOW]]
        evidence = detector.judge(state, batch, [True] * len(batch))
        for step, found in zip(evidence.steps, evidence.views, strict=True):
            if rarities is not None:
                found[0, 0] = rarities[begin + step]
            views.append(found)
        waiting.append(batch)
        if len(waiting) > DELAY // WINDOW:
            detector.learn(state, waiting.popleft(), 1.0)
    return np.array(views).reshape(-1, 2, OWN_VIEWS)
