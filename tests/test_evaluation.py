"""Figures over blocks of actions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.evaluation import auc, blocks

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
