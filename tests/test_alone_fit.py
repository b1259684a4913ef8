from __future__ import annotations

import numpy as np
import pytest

from anomaly.alone_fit import (
    DELAY,
    LEAST_DEVIATIONS,
    LEAST_SCALE,
    MOST_THRESHOLD,
    NEAR,
    OTHER,
    THRESHOLD_STEP,
    WEIGHTS,
    fit_alone,
    rehearsed_views,
)
from anomaly.cohort import no_others, with_history
from anomaly.cohort_fit import BUDGET, CohortFit, alarms_in
from anomaly.detectors.detector import OWN_VIEWS, Detector
from anomaly.detectors.fusion import Filter, Fusion
from anomaly.detectors.interface import STEP, WINDOW, Algorithm
from anomaly.detectors.neighbours import Neighbours
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.rarity import RANKS, Rarity
from anomaly.features.levels import Features, Level
from anomaly.records import ALARM
from tests.detectors.drawn import actions, program

STEPS = (0, *range(STEP - 1, 1200, STEP))
"""Which of the rehearsed actions are followed by a judgement: the first, and the last of each ten."""


def detector_of(history: list[Features]) -> Detector:
    """Learn a user alone."""
    return Detector(
        Algorithm.OCSVM,
        with_history(no_others(), history),
        Rarity(np.zeros((len(Level), RANKS))),
        fit_svm(history),
        None,
        Neighbours.fit(history),
        history[-WINDOW:],
    )


def risks(detector: Detector, fit: CohortFit, history: list[Features]) -> list[float]:
    """Return a user's risk after each step of what is done next, without learning."""
    state, filtered, found = detector.start(), Filter(fit.fusion), []
    for begin in range(0, len(history), STEP):
        for features in history[begin : begin + STEP]:
            state.recent.push(features)
        verdict = filtered.step(fit.fusion.evidence(detector.as_trained(state)))
        found.append(fit.risk.score(verdict.excess))
    return found


@pytest.fixture(scope="module")
def own() -> list[Features]:
    """Give what one user does."""
    return actions(2400, 7)


@pytest.fixture(scope="module")
def detector(own: list[Features]) -> Detector:
    """Learn the first half of it."""
    return detector_of(own[:1200])


def test_rehearsed_views_are_of_every_step(own: list[Features], detector: Detector) -> None:
    """A window is judged every ``STEP`` actions, and the first one at once."""
    views = rehearsed_views(detector, own[1200:], None)
    assert views.shape == (len(STEPS), 2, OWN_VIEWS)
    assert np.isfinite(views).all()


def test_rehearsed_views_learn_late(own: list[Features], detector: Detector) -> None:
    """What is judged is learned ``DELAY`` actions afterwards: until then views are those of the frozen model."""
    views = rehearsed_views(detector, own[1200:], None)
    state, same = detector.start(), []
    for number, features in enumerate(own[1200:]):
        state.recent.push(features)
        if number in STEPS:
            same.append(np.array_equal(views[STEPS.index(number)], detector.as_trained(state)))
    learned = next(place for place, number in enumerate(STEPS) if number >= DELAY + WINDOW)
    assert all(same[:learned])
    assert not any(same[learned:])


def test_rehearsed_views_begin_with_rarities_of_the_network(own: list[Features], detector: Detector) -> None:
    """With the network alone the first view is how rare the last actions are in their order."""
    rarities = np.arange(1200, dtype=np.float64)
    views = rehearsed_views(detector, own[1200:], rarities)
    assert views[:, 0, 0].tolist() == list(map(float, STEPS))
    assert views[:, 1].tobytes() == rehearsed_views(detector, own[1200:], None)[:, 1].tobytes()


def test_fit_alone_scale_is_of_the_users_own_figures(own: list[Features], detector: Detector) -> None:
    """In the rehearsal, figures have the channels' mean and deviation: what alarms is so many of these for all."""
    fit = fit_alone(detector, own[1200:])
    views = rehearsed_views(detector, own[1200:], None)
    figures = np.array([fit.fusion.evidence(one) for one in views])
    channels = fit.fusion.channels
    assert figures.mean(axis=0) == pytest.approx([channel.mean for channel in channels])
    assert figures.std(axis=0) == pytest.approx([channel.deviation for channel in channels])
    assert all(1.0 <= channel.skew <= 1.6 for channel in channels)
    assert fit.fusion.weights.tolist() == WEIGHTS.tolist()
    assert fit.fusion.delay == DELAY


@pytest.mark.parametrize("months", [0.0, 2.0, 8.0, 400.0])
def test_fit_alone_thresholds_leave_the_budget(own: list[Features], detector: Detector, months: float) -> None:
    """A user's thresholds are the usual ones, or as much higher as the budget asks for, up to a limit."""
    fit = fit_alone(detector, own[1200:], months)
    figures = np.array([fit.fusion.evidence(one) for one in rehearsed_views(detector, own[1200:], None)])
    for number, (channel, usual) in enumerate(zip(fit.fusion.channels, (NEAR, OTHER), strict=True)):
        measured = (figures[:, number] - channel.mean) / (channel.deviation * channel.skew)
        alarms = alarms_in(measured > channel.threshold)
        assert usual.threshold <= channel.threshold <= MOST_THRESHOLD + THRESHOLD_STEP
        assert alarms <= max(BUDGET * months / 2.0, 1) or channel.threshold >= MOST_THRESHOLD
        if channel.threshold > usual.threshold:  # one step less is too many
            assert alarms_in(measured > channel.threshold - THRESHOLD_STEP) > int(BUDGET * months / 2.0)
    if months == 400.0:
        assert [channel.threshold for channel in fit.fusion.channels] == [NEAR.threshold, OTHER.threshold]


def test_fit_alone_own_actions_hardly_alarm_and_foreign_ones_do(own: list[Features], detector: Detector) -> None:
    """Of the user's next windows few alarm; of somebody else's nearly all, once the window is full of them."""
    fit, whole = fit_alone(detector, own[1200:]), detector_of(own)
    later = risks(whole, fit, actions(1000, 8))
    foreign = risks(whole, fit, actions(300, 9, first=8))[WINDOW // STEP :]
    assert sum(risk >= ALARM for risk in later) <= 0.1 * len(later)
    assert sum(risk >= ALARM for risk in foreign) >= 0.9 * len(foreign)


def test_fit_alone_user_without_variation_has_a_scale() -> None:
    """An account that does the same all the time is quiet while it goes on, and alarms by what it never did."""
    cycle = [program(number % 5) for number in range(1200)]
    fit, whole = fit_alone(detector_of(cycle[:600]), cycle[600:]), detector_of(cycle)
    assert (fit.fusion.scale == LEAST_SCALE).all()
    assert [channel.deviation for channel in fit.fusion.channels] == LEAST_DEVIATIONS.tolist()
    assert max(risks(whole, fit, [program(number % 5) for number in range(1000)])) < ALARM
    assert max(risks(whole, fit, [program(7 + number % 5) for number in range(100)])) > ALARM


def test_fit_alone_risk_is_ten_points_a_deviation(own: list[Features], detector: Detector) -> None:
    """Where a user's own figures alarm the risk is ``ALARM``; each deviation beyond is ten points more."""
    fit = fit_alone(detector, own[1200:])
    assert fit.risk.score(0.0) == pytest.approx(ALARM)
    assert fit.risk.score(1.0) == pytest.approx(ALARM + 10.0)
    assert fit.risk.score(2.0) == pytest.approx(ALARM + 20.0)
    assert fit.risk.score(-0.01) < ALARM


def test_fit_alone_same_actions_give_the_same(own: list[Features], detector: Detector) -> None:
    """It is determined by the actions, and can be saved."""
    one, two = fit_alone(detector, own[1200:]), fit_alone(detector_of(own[:1200]), own[1200:])
    assert [a.tobytes() for a in one.fusion.arrays().values()] == [
        a.tobytes() for a in two.fusion.arrays().values()
    ]
    assert one.risk.to_array().tobytes() == two.risk.to_array().tobytes()
    assert Fusion.from_arrays(one.fusion.arrays()).channels == one.fusion.channels
