"""From a raw figure to how rare it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly.calibration import MAX_SCORE, Calibration, Tail

FIGURES = st.floats(-1e12, 1e12)


@st.composite
def tails(draw: st.DrawFn) -> Tail:
    """Make any tail that is one."""
    size = draw(st.integers(1, 20))
    figures = np.sort(draw(arrays(np.float64, size, elements=FIGURES)))
    exceeding = -np.sort(-draw(arrays(np.float64, size, elements=st.floats(1e-6, 1.0))))
    return Tail(figures, exceeding, draw(st.floats(1e-9, 1e9)), draw(st.just(0.0) | st.floats(1e-6, 2.0)))


class TestScore:
    """The scale of a person."""

    @given(tails(), st.lists(FIGURES | st.floats(allow_nan=False), min_size=2))
    def test_grows_with_the_figure(self, tail: Tail, figures: list[float]) -> None:
        """A higher figure never has a lower score, and every score is in 0..100."""
        scores = [tail.score(figure) for figure in sorted([*figures, *tail.figures.tolist()])]
        assert all(low <= high for low, high in pairwise(scores))
        assert all(0.0 <= score <= MAX_SCORE for score in scores)

    @given(tails(), st.lists(FIGURES, max_size=40), st.data())
    def test_is_the_same_for_many_at_once(self, tail: Tail, figures: list[float], data: st.DataObject) -> None:
        """Many figures have, to the last bit, the scores that each has alone, also where they lie on knots."""
        figures += data.draw(st.lists(st.sampled_from(tail.figures.tolist()), max_size=40))
        assert tail.scores(figures) == [tail.score(figure) for figure in figures]

    @pytest.mark.parametrize("shape", [0.0, 0.3])
    def test_has_no_step_where_the_tail_begins(self, shape: float) -> None:
        """The tail goes on where the empirical distribution ends."""
        tail = Tail(np.array([0.0, 2.0]), np.array([1.0, 0.05]), scale=1.5, shape=shape)
        assert tail.score(2.0 + 1e-9) == pytest.approx(tail.score(2.0), abs=1e-6)

    def test_is_ten_for_each_tenth(self) -> None:
        """Ten points are ten times rarer: in the body, and in an exponential tail of scale one."""
        tail = Tail(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.1, 0.01]), scale=1.0, shape=0.0)
        scores = [tail.score(figure) for figure in (-5.0, 0.0, 0.5, 1.0, 2.0, 2.0 + np.log(10.0), 1e9)]
        assert scores == pytest.approx([0.0, 0.0, 5.0, 10.0, 20.0, 30.0, 100.0])

    def test_a_heavy_tail_gives_the_pareto_probability(self) -> None:
        """Beyond the body, p is that of the generalised Pareto distribution."""
        tail = Tail(np.array([0.0, 1.0]), np.array([1.0, 0.1]), scale=2.0, shape=0.5)
        exceeding = 0.1 * (1.0 + 0.5 * (7.0 - 1.0) / 2.0) ** (-1.0 / 0.5)
        assert tail.score(7.0) == pytest.approx(-10.0 * np.log10(exceeding))


class TestArrays:
    """What is kept in a model's file."""

    @given(tails(), st.lists(FIGURES))
    def test_round_trip(self, tail: Tail, figures: list[float]) -> None:
        """Read back from its array, a tail gives the very same scores."""
        again = Tail.from_array(tail.to_array())
        assert [again.score(figure) for figure in figures] == [tail.score(figure) for figure in figures]
        assert again.to_array().tobytes() == tail.to_array().tobytes()

    @pytest.mark.parametrize(
        "array",
        [
            [[0.0, 1.0, 1.0], [0.1, 0.5, 0.0]],  # exceeding ascends
            [[1.0, 0.0, 1.0], [1.0, 0.5, 0.0]],  # figures descend
            [[0.0, 1.0, 1.0], [1.5, 0.5, 0.0]],  # no probability
            [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
            [[0.0, 1.0, 1.0], [1.0, -0.1, 0.0]],
            [[0.0, 1.0, 0.0], [1.0, 0.5, 0.0]],  # no scale
            [[0.0, 1.0, -1.0], [1.0, 0.5, 0.0]],
            [[0.0, 1.0, 1.0], [1.0, 0.5, -0.1]],  # a tail that ends
            [[np.nan, 1.0, 1.0], [1.0, 0.5, 0.0]],
            [[0.0, np.inf, 1.0], [1.0, 0.5, 0.0]],
            [[0.0, 1.0, np.nan], [1.0, 0.5, 0.0]],
            [[0.0, 1.0, 1.0], [np.nan, 0.5, 0.0]],
            [[0.0, 1.0, 1.0], [1.0, np.nan, 0.0]],
            [[0.0, 1.0, 1.0], [1.0, 0.5, np.nan]],
            [[0.0, 1.0, 1.0], [1.0, 0.5, np.inf]],  # scores would be NaN
            [[1.0], [0.0]],  # no knots
            [[0.0, 1.0, 1.0]],
            [0.0, 1.0],
        ],
    )
    def test_what_is_no_distribution_is_refused(self, array: list[object]) -> None:
        """Disorder, impossible probabilities and figures that are none raise a ValueError."""
        with pytest.raises(ValueError, match="distribution"):
            Tail.from_array(np.array(array, dtype=np.float64))

    def test_knots_that_do_not_pair_up_are_refused(self) -> None:
        """Each figure has its probability."""
        with pytest.raises(ValueError, match="pair"):
            Tail(np.array([0.0, 1.0]), np.array([1.0]), 1.0, 0.0)


def test_a_user_has_two_tails() -> None:
    """Single actions and windows are judged each by their own."""
    action, window = (Tail(np.array([0.0, at]), np.array([1.0, 0.1]), 1.0, 0.0) for at in (1.0, 5.0))
    calibration = Calibration(action, window)
    assert calibration.action.score(1.0) == pytest.approx(10.0)
    assert calibration.window.score(1.0) == pytest.approx(2.0)
