"""Figures over blocks of actions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.evaluation import Block, auc, best_cost, blocks, delays, figures, hits_at, roc

FIGURES = st.lists(st.floats(0, 100), min_size=1, max_size=30)


@given(FIGURES, FIGURES)
def test_swapping_sides_mirrors_the_auc(own: list[float], foreign: list[float]) -> None:
    """What is above one way is below the other way."""
    assert auc(own, foreign) == pytest.approx(1.0 - auc(foreign, own))


def test_the_auc_is_one_where_all_foreign_figures_are_higher() -> None:
    """Perfect separation is 1, none at all is a half."""
    assert auc([1.0, 2.0], [3.0]) == 1.0
    assert auc([1.0], [1.0]) == 0.5


def test_the_auc_needs_both_kinds() -> None:
    """Without figures of both kinds there is none."""
    with pytest.raises(ValueError, match="both kinds"):
        auc([], [1.0])


def test_what_is_left_over_is_no_block() -> None:
    """250 actions are two blocks of 100."""
    cut = blocks([float(n) for n in range(250)], [n >= 150 for n in range(250)])
    assert [(block.risk, block.share) for block in cut] == [(99.0, 0.0), (199.0, 0.5)]


@given(FIGURES, FIGURES)
def test_the_auc_is_the_area_under_the_roc(own: list[float], foreign: list[float]) -> None:
    """The curve and the figure say the same; the curve goes from nothing alarming to everything."""
    alarms, hits = roc(np.array(own), np.array(foreign))
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(hits, alarms) == pytest.approx(auc(own, foreign))


@given(FIGURES, FIGURES)
def test_the_best_cost_is_no_higher_than_that_of_any_threshold(own: list[float], foreign: list[float]) -> None:
    """Six times the false alarms plus the misses, in per cent; never alarming costs 100."""
    mine, theirs = np.array(own), np.array(foreign)
    best = best_cost(mine, theirs)
    tried = [600 * (mine >= t).mean() + 100 * (theirs < t).mean() for t in (*own, *foreign, 101.0)]
    assert best == pytest.approx(min(tried))


@given(FIGURES, FIGURES, st.sampled_from([0.01, 0.05]))
def test_hits_are_counted_above_the_share_of_own_figures_allowed(
    own: list[float], foreign: list[float], rate: float
) -> None:
    """The threshold lets no more than the rate of own figures pass above it."""
    hits = hits_at(np.array(own), np.array(foreign), rate)
    threshold = sorted(own, reverse=True)[int(len(own) * rate)]
    assert sum(figure > threshold for figure in own) <= len(own) * rate
    assert hits == pytest.approx(sum(figure > threshold for figure in foreign) / len(foreign))


def test_what_is_missing_is_no_figure() -> None:
    """Without blocks of somebody else there are false alarms, and nothing else to tell."""
    found = figures([Block(10.0, 0.0), Block(40.0, 0.0), Block(99.0, 0.3)], alarm=25.0)
    assert (found.own, found.other, found.false_alarms) == (2, 0, 0.5)
    assert all(np.isnan(figure) for figure in (found.auc, found.hits_1, found.hits_5, found.cost, found.hits))


def test_a_pause_shorter_than_a_window_is_one_visit() -> None:
    """Somebody who comes again within a hundred actions had not gone; later it is another visit."""
    foreign = [True] * 3 + [False] * 50 + [True] * 2 + [False] * 150 + [True]
    risks = [0.0] * 54 + [30.0] + [0.0] * 150 + [0.0]
    assert delays(risks, foreign, alarm=25.0) == [5, None]


def test_an_alarm_between_their_actions_counts_what_they_had_done() -> None:
    """The delay is in actions of the stranger, whoever acted when it alarmed."""
    assert delays([0.0, 0.0, 50.0, 0.0], [True, True, False, True], alarm=25.0) == [2]
