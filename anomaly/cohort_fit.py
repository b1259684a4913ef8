"""Weighing the views of users who are learned together, and setting the thresholds, without any attack.

The weights come from a logistic regression: a user's own windows, not learned yet, against windows of other users,
who are left out of what "others" do. Half of these have some of their programs and values renamed to ones that
nobody has, so that strangers are told from the user too. Weights are not negative: a view that says "less like
others" may not speak for an intruder. The thresholds come from rehearsals, forward in time, on the users' own
training data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from anomaly.calibration import KNOTS, Tail
from anomaly.cohort import Cohort
from anomaly.detectors.detector import Detector, together_views
from anomaly.detectors.fusion import START, STAY, Channel, Fusion
from anomaly.detectors.interface import STEP, WINDOW, Algorithm, Floats
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import LENGTHS, VIEWS
from anomaly.detectors.rarity import RANKS, Rarity
from anomaly.features.levels import Features, Level
from anomaly.records import ALARM
from anomaly.rehearsal import rehearse

FOLDS = 4
"""Contiguous parts of a user's actions; the windows of each are judged by a model of the others."""

DRAWN = 0.25
"""Windows of other users, for each of a user's own; as many again are renamed."""

LEAST_RENAMED, MOST_RENAMED = 0.1, 0.7
"""Share of a renamed window's programs and values that become new ones."""

SHARPEN = 3.0
"""Factor on the log-likelihood ratio: it is fitted on folds of weeks, and users differ more in the long run."""

BUDGET = 1.0
"""False alarms of one user in a month (of days on which the user acts) that the thresholds leave in rehearsals."""

DAY = 86_400

MOST_REHEARSED = 48
"""Users at most by whom weights and thresholds are set; they are the same for everyone."""

FEWEST_ACTIONS = 4 * WINDOW
"""Actions that a user needs to take part."""

CUTS = (0.5, 0.7)
"""Rehearsals learn so much of a user's actions and score the rest."""

LEAST_DEVIATION = 0.01
"""Views that vary less are not weighed: what hardly varies in training says nothing, and anything afterwards."""

NO_THRESHOLD = 1e6
"""Of a fusion that has none yet: nothing alarms."""

_RENAMED_LEVELS = frozenset({Level.SUBCOMMAND, Level.OPTION, Level.SHAPE, Level.ROW})  # with a program
_HIGHEST_SHARE = 0.1  # of windows that alarm
_SAME_ALARM = WINDOW // STEP  # steps between two alarms that are one

Report = Callable[[float], None]


class CohortFit(NamedTuple):
    """Fusion and risk of everyone in a cohort."""

    fusion: Fusion
    risk: Tail
    """The risk of how far a window is beyond what alarms."""


def fit_cohort(
    cohort: Cohort,
    times: Mapping[str, NDArray[np.int64]],
    seed: int,
    without: Sequence[str] = (),
    report: Report = lambda _: None,
) -> CohortFit | None:
    """Learn how to judge the users of a cohort; None if nothing tells them apart.

    Parameters
    ----------
    cohort
        The users.
    times
        Of each user's actions, in seconds.
    seed
        The same seed and cohort give the same weights.
    without
        Parts to leave out, to see what they bring: ``svm``, ``filter``.
    """
    draw = np.random.default_rng(seed)
    # In an order that does not depend on names, which would decide what is drawn.
    able = [user for user in cohort.users if len(cohort.histories[user]) >= FEWEST_ACTIONS]
    able.sort(key=lambda user: times[user].tolist())
    if len(able) > MOST_REHEARSED:
        able = [able[place] for place in sorted(draw.choice(len(able), MOST_REHEARSED, replace=False).tolist())]
    views, labels = _labelled(cohort, able, draw, lambda done: report(done / 2.0))
    if labels.all() or not labels.any():
        return None
    if "svm" in without:
        views[:, :, VIEWS] = 0.0
    fusion = fit_fusion(views, labels, filtered="filter" not in without)
    if not fusion.weights.any():
        return None
    return _with_thresholds(cohort, able, times, fusion, lambda done: report((1.0 + done) / 2.0))


def _labelled(
    cohort: Cohort, users: Sequence[str], draw: np.random.Generator, report: Report
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return views, shape (windows, channels, views), and which windows are somebody else's."""
    views: list[Floats] = []
    labels: list[bool] = []
    for done, user in enumerate(users):
        history = cohort.histories[user]
        others = [other for other in users if other != user]
        size = len(history) // FOLDS
        for fold in range(FOLDS):
            test = history[fold * size : (fold + 1) * size]
            # In a ring: what was done just before the fold is learned last.
            rest = [*history[(fold + 1) * size : FOLDS * size], *history[: fold * size]]
            profile, svm = cohort.profile(user, rest), fit_svm(rest)
            state, svm_state = profile.start(), svm.start()
            for end in range(WINDOW, len(test) + 1, WINDOW):
                window = test[end - WINDOW : end]
                views.append(together_views(profile, state, window, svm.margin(svm_state, window)))
                labels.append(False)
                for is_renamed in (False, True):
                    if others and draw.random() < DRAWN:
                        other = others[int(draw.integers(len(others)))]
                        theirs = cohort.histories[other]
                        begin = int(draw.integers(0, len(theirs) - WINDOW + 1))
                        foreign = theirs[begin : begin + WINDOW]
                        if is_renamed:
                            foreign = renamed(foreign, draw)
                        margin = svm.margin(svm_state, foreign)
                        views.append(together_views(profile, state, foreign, margin, cohort.others(user, other)))
                        labels.append(True)
                profile.learn(state, window, 1.0)
                svm.learn(svm_state, window, 1.0)
        report((done + 1) / len(users))
    return np.array(views), np.array(labels)


def renamed(window: Sequence[Features], draw: np.random.Generator) -> list[Features]:
    """Return a window in which some programs and values are ones that nobody has, the same ones each time.

    An action whose program is renamed keeps its arguments; one that has a renamed value keeps the others.
    """
    share = draw.uniform(LEAST_RENAMED, MOST_RENAMED)
    # In the order of the window: that of the hashes depends on their key.
    names = list(
        dict.fromkeys(f for features in window for f in features if f & 7 in {Level.PROGRAM, Level.VALUE})
    )
    gone = {name for name, lot in zip(names, draw.random(len(names)).tolist(), strict=True) if lot < share}
    programs = {name for name in gone if name & 7 == Level.PROGRAM}
    mask = int(draw.integers(1, 1 << 60)) << 3
    found: list[Features] = []
    for features in window:
        if gone.isdisjoint(features):
            found.append(features)
            continue
        levels = _RENAMED_LEVELS if not programs.isdisjoint(features) else {Level.ROW}
        found.append(tuple([f ^ mask if f in gone or f & 7 in levels else f for f in features]))
    return found


def fit_fusion(views: Floats, labels: NDArray[np.bool_], *, filtered: bool = True) -> Fusion:
    """Weigh the views of each channel by logistic regression with weights that are not negative.

    The regression's log-odds, less those of its two classes, are a log-likelihood ratio.

    Parameters
    ----------
    views
        Shape (windows, channels, views).
    labels
        Which windows are somebody else's, shape (windows,).
    filtered
        Whether a window's suspicion reaches into the next.
    """
    stay = STAY if filtered else START
    channels, weights = [], []
    prior = log(labels.mean() / (1.0 - labels.mean()))
    for number, length in enumerate(LENGTHS):
        of_channel = views[:, number]
        mean, deviation = of_channel.mean(axis=0), of_channel.std(axis=0)
        varies = deviation > LEAST_DEVIATION
        deviation = np.where(varies, deviation, 1.0)
        found, intercept = _non_negative_logistic((of_channel - mean) / deviation, labels)
        weight = SHARPEN * np.where(varies, found, 0.0) / deviation
        bias = SHARPEN * (intercept - prior) - float(weight @ mean)
        guards = length == max(LENGTHS)
        channels.append(Channel(length, bias, NO_THRESHOLD, START, stay, guards))
        weights.append(weight)
    shape = (len(LENGTHS), VIEWS + 1)
    return Fusion(channels, np.array(weights), np.zeros(shape), np.ones(shape))


def _non_negative_logistic(units: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, float]:
    sign = np.where(labels, 1.0, -1.0)
    count, width = units.shape

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, intercept = parameters[:-1], parameters[-1]
        margins = sign * (units @ weights + intercept)
        slope = -sign / (1.0 + np.exp(np.clip(margins, -500.0, 500.0))) / count
        value = float(np.logaddexp(0.0, -margins).mean() + 0.5 * (weights**2).sum() / count)
        return value, np.append(units.T @ slope + weights / count, slope.sum())

    bounds = [(0.0, None)] * width + [(None, None)]
    start = np.append(np.full(width, 0.5), 0.0)
    best: Floats = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return best[:-1], float(best[-1])


def _with_thresholds(
    cohort: Cohort,
    users: Sequence[str],
    times: Mapping[str, NDArray[np.int64]],
    fusion: Fusion,
    report: Report,
) -> CohortFit:
    """Rehearse, and set the thresholds that leave ``BUDGET`` false alarms of a user in a month."""
    unused = Rarity(np.zeros((len(Level), RANKS)))
    runs: list[Floats] = []
    months = 0.0
    for done, user in enumerate(users):
        history = cohort.histories[user]
        for cut in CUTS:
            first = int(cut * len(history))
            learn, stretch = history[:first], history[first:]
            profile = cohort.profile(user, learn)
            detector = Detector(Algorithm.BOTH, profile, unused, fit_svm(learn), None, window=learn[-WINDOW:])
            runs.append(rehearse(detector, fusion, stretch))
            months += months_of(times[user][first:])
        report((done + 1) / len(users))
    fusion = fusion.with_thresholds(_thresholds(runs, BUDGET * months))
    thresholds = np.array([channel.threshold for channel in fusion.channels])
    return CohortFit(fusion, risk_of((np.concatenate(runs) - thresholds).max(axis=1), SHARPEN))


def months_of(times: NDArray[np.int64]) -> float:
    """Return how many months of days on which the user acted; a day at least.

    Days without an action have no false alarm either: a user who is away for a year has not earned more of them.
    """
    known = times[times > 0]
    return max(len(np.unique(known // DAY)), 1) / 30.0


def _thresholds(runs: Sequence[Floats], alarms: float) -> list[float]:
    """Return, by channel, the odds that the same share of all windows reach: the highest with so many alarms."""
    pool = np.concatenate(runs)

    def at(share: float) -> Floats:
        found: Floats = np.quantile(pool, 1.0 - share, axis=0)
        return found

    low, high = 0.0, _HIGHEST_SHARE
    for _ in range(20):
        share = (low + high) / 2.0
        found = sum(alarms_in(np.any(odds > at(share), axis=1)) for odds in runs)
        low, high = (share, high) if found <= alarms else (low, share)
    thresholds: list[float] = at(low).tolist()
    return thresholds


def alarms_in(alarming: NDArray[Any]) -> int:
    """Count alarms: steps that alarm, of which those close to each other are one."""
    steps = alarming.nonzero()[0]
    return int(len(steps) > 0) + int((np.diff(steps) > _SAME_ALARM).sum())


def risk_of(excess: Floats, scale: float = 1.0) -> Tail:
    """Return the risk of how far a window is beyond what alarms.

    Below, it is how rare that is among the user's own windows, and less than what alarms in any case. Beyond, each
    factor of ten of the odds is ten points; ``scale`` is what one nat is there (:data:`SHARPEN`).

    Examples
    --------
    >>> risk = risk_of(np.linspace(-20.0, -10.0, 1000))
    >>> round(risk.score(-15.0), 1), round(risk.score(0.0), 1), round(risk.score(log(10.0)), 1)
    (3.0, 25.0, 35.0)
    """
    least = 10.0 ** (-ALARM / 10.0)
    exceeding = np.geomspace(1.0, 2.0 * least, KNOTS)
    figures = np.maximum.accumulate(np.quantile(excess, 1.0 - exceeding))
    below = figures < 0.0
    if not below.any():
        figures, exceeding, below = np.array([-1.0]), np.array([1.0]), np.array([True])
    points = np.append(figures[below], 0.0)
    return Tail(points, np.append(exceeding[below], least), scale=scale, shape=0.0)
