"""A score of 10, 20 or 30 comes as often as it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from anomaly.calibration import KNOTS, Tail
from anomaly.calibration_fit import MAX_SHAPE, fit_tail

FRESH = 200_000
LEAST = 1e-6
"""A least scale far below the spread of the figures drawn here."""


def draw(name: str, size: int, seed: int) -> NDArray[np.float64]:
    """Draw figures of a distribution."""
    chance = np.random.default_rng(seed)
    match name:
        case "exponential":
            return chance.exponential(3.0, size)
        case "normal":
            return chance.normal(-1.0, 0.2, size)
        case "uniform":
            return chance.uniform(0.0, 1.0, size)
        case "heavy":
            return chance.pareto(4.0, size)
    raise AssertionError(name)


def rates(tail: Tail, figures: NDArray[np.float64], scores: tuple[float, ...]) -> list[float]:
    """Give the share of figures that reach each score."""
    reached = np.array([tail.score(figure) for figure in figures.tolist()])
    return [float((reached >= score).mean()) for score in scores]


class TestRates:
    """What a score promises: among figures it has not learned from."""

    @pytest.mark.parametrize("name", ["exponential", "normal", "heavy"])
    def test_are_kept(self, name: str) -> None:
        """Scores of 10, 20 and 30 come once in 10, 100 and 1,000, within 10 %, a third and a factor of 2.5."""
        tail = fit_tail(draw(name, 20_000, seed=1), LEAST)
        ten, twenty, thirty = rates(tail, draw(name, FRESH, seed=2), (10.0, 20.0, 30.0))
        assert 0.9 < ten / 1e-1 < 1.1
        assert 0.75 < twenty / 1e-2 < 1.33
        assert 0.4 < thirty / 1e-3 < 2.5

    @pytest.mark.parametrize("name", ["exponential", "normal", "uniform"])
    def test_are_kept_by_few_figures(self, name: str) -> None:
        """With 500 figures, the fewest that are trained on, 1 in 100 is still within a factor of three."""
        found = [
            rates(fit_tail(draw(name, 500, seed), LEAST), draw(name, 20_000, 99), (20.0,))[0] for seed in range(8)
        ]
        assert 1 / 3 < np.median(found) / 1e-2 < 3.0
        assert max(found) < 0.05

    def test_do_not_suffer_from_ties(self) -> None:
        """A figure that 98 of 100 actions have is not rare: 10 points come no oftener than one in ten."""
        figures = np.zeros(20_000)
        figures[::50] = draw("exponential", 400, seed=3)
        tail = fit_tail(figures, LEAST)
        assert rates(tail, figures, (10.0,))[0] < 0.11
        assert tail.score(0.0) < 1.0


class TestTail:
    """The form of what is fitted."""

    @pytest.mark.parametrize("name", ["exponential", "normal", "uniform", "heavy"])
    def test_has_all_knots_and_a_shape_within_bounds(self, name: str) -> None:
        """The body has KNOTS points; the tail is neither lighter than exponential nor heavier than allowed."""
        tail = fit_tail(draw(name, 5000, seed=5), LEAST)
        assert len(tail.figures) == KNOTS
        assert 0.0 <= tail.shape <= MAX_SHAPE

    def test_begins_earlier_where_figures_overlap(self) -> None:
        """Windows that overlap say less: the tail begins where thirty independent ones lie above."""
        figures = draw("normal", 5000, seed=6)
        assert fit_tail(figures, LEAST).exceeding[-1] == pytest.approx(30 / 5000)
        assert fit_tail(figures, LEAST, independent=0.1).exceeding[-1] == pytest.approx(30 / 500)
        assert fit_tail(figures, LEAST, independent=0.01).exceeding[-1] == pytest.approx(0.5)

    def test_a_cluster_of_rare_figures_keeps_its_rate(self) -> None:
        """Where 1 action in 100 brings something new and far off, such an action scores about 20."""
        figures = np.random.default_rng(10).normal(size=5000)
        figures[::100] += 12.0
        assert 18.0 < fit_tail(figures, LEAST).score(float(np.median(figures[::100]))) < 26.0

    @pytest.mark.parametrize("size", [9, 5000])
    def test_is_as_wide_as_asked(self, size: int) -> None:
        """The least scale bounds what figures that hardly differ would give: small differences are not rare."""
        tail = fit_tail(4.0 + 1e-3 * draw("normal", size, seed=7), least_scale=0.5)
        assert tail.scale == 0.5
        assert tail.score(4.0 + 1e-3) < 0.2
        assert tail.score(4.0 + 0.5 * np.log(10.0)) == pytest.approx(10.0, abs=0.2)

    def test_the_order_of_figures_is_no_matter(self) -> None:
        """Shuffled figures give the same tail, byte for byte, and are left as they were."""
        figures = draw("normal", 1000, seed=8)
        shuffled = np.random.default_rng(9).permutation(figures)
        kept = shuffled.copy()
        assert fit_tail(shuffled, LEAST).to_array().tobytes() == fit_tail(figures, LEAST).to_array().tobytes()
        assert shuffled.tobytes() == kept.tobytes()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-12, 1e12])
@pytest.mark.parametrize("size", [1, 2, 5, 9, 10, 11, 25, 400])
@pytest.mark.parametrize("odd", [0, 1, 12])
def test_poor_figures_are_fitted(value: float, size: int, odd: int) -> None:
    """Few figures, constant ones and ones with few exceptions give a tail that grows and reaches 100."""
    figures = np.full(size, value)
    figures[: min(odd, size // 2)] += 1.0
    tail = fit_tail(figures, LEAST)
    scores = [tail.score(value + step) for step in (-1.0, 0.0, 0.5, 1.0, 2.0, 1e9, 1e15)]
    assert all(low <= high for low, high in pairwise(scores))
    assert scores[0] == 0.0
    assert scores[-1] == 100.0


@pytest.mark.parametrize("size", [1, 12, 1000])
def test_a_constant_figure_is_not_rare(size: int) -> None:
    """What every action had is no surprise, and anything beyond it is."""
    tail = fit_tail(np.full(size, 4.0), LEAST)
    assert tail.score(4.0) < 1.0
    assert tail.score(5.0) == 100.0
