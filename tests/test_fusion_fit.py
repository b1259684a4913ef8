from __future__ import annotations

from itertools import pairwise
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW
from anomaly.fusion_fit import KAPPA, SHARPEN, STAY_ALONE, by_likelihood, weigh_against_others, weigh_alone
from anomaly.risk import START, STAY, Filter, Fusion, logit

LEAST = 1e-3
PLAIN = Fusion([1.0], 0.0, START, STAY)

Floats = NDArray[np.float64]


def evidence(fusion: Fusion, views: Floats) -> Floats:
    """Return the evidence of many windows."""
    return np.array([fusion.evidence(view) for view in views.tolist()])


def normal(seed: int, size: int, *means: float) -> Floats:
    """Draw windows whose views are normal, shape (size, views)."""
    return np.random.default_rng(seed).normal(means, 1.0, (size, len(means)))


def rare(seed: int, size: int, views: int) -> Floats:
    """Draw windows, a view v of which has p = exp(-v) to be exceeded."""
    return np.random.default_rng(seed).exponential(1.0, (size, views))


class TestAlone:
    """What one user's own windows say, with nobody to compare to."""

    @pytest.mark.parametrize("views", [1, 2, 3])
    def test_evidence_is_of_a_calibrated_p_value(self, views: int) -> None:
        """Evidence is that of the calibrator ``kappa p^(kappa - 1)``, averaged over the views in nats."""
        fusion = weigh_alone(rare(1, 20_000, views), [LEAST] * views)
        fresh = np.minimum(rare(2, 2000, views), 4.0)
        expected = log(KAPPA) + (1.0 - KAPPA) * fresh.mean(axis=1)
        assert evidence(fusion, fresh) == pytest.approx(expected, abs=0.3)
        assert np.abs(evidence(fusion, fresh) - expected).mean() < 0.05

    def test_evidence_follows_the_scores_of_the_tails(self) -> None:
        """Each view's p is the one that its own tail gives, in whatever unit the view is."""
        views = rare(3, 2000, 2) * [1.0, 1e6]
        fusion = weigh_alone(views, [LEAST, LEAST])
        assert len(fusion.tails) == 2
        for view in views[:50].tolist():
            nats = [tail.score(v) / 10.0 * log(10.0) for tail, v in zip(fusion.tails, view, strict=True)]
            assert fusion.evidence(view) == pytest.approx(log(KAPPA) + (1.0 - KAPPA) * sum(nats) / 2)

    @pytest.mark.parametrize("views", [1, 2])
    def test_own_windows_gather_no_evidence(self, views: int) -> None:
        """Over the user's own windows the mean ratio is at most about 1, and most windows speak for the user."""
        fusion = weigh_alone(rare(4, 20_000, views), [LEAST] * views)
        found = evidence(fusion, rare(5, 20_000, views))
        assert np.exp(found).mean() < 1.2
        assert (found < 0.0).mean() > 0.7

    def test_windows_overlap(self) -> None:
        """A tail begins where thirty windows that share no action lie above, not thirty neighbours."""
        fusion = weigh_alone(rare(6, 100 * WINDOW, 1), [LEAST])
        assert fusion.tails[0].exceeding[-1] == pytest.approx(0.3)

    def test_differences_of_the_fit_are_no_evidence(self) -> None:
        """A view that differs by less than the fit does is not rare."""
        fusion = weigh_alone(np.full((500, 1), 3.0), [0.5])
        assert fusion.evidence([3.001]) == pytest.approx(log(KAPPA) + (1.0 - KAPPA) * 0.002, abs=1e-2)

    def test_memory(self) -> None:
        """Suspicion is shorter-lived than where others are known; unfiltered it reaches into no other window."""
        views = rare(7, 500, 1)
        filtered, plain = (weigh_alone(views, [LEAST], filtered=on) for on in (True, False))
        assert (filtered.start, filtered.stay) == (START, STAY_ALONE)
        assert START < STAY_ALONE < STAY
        assert (plain.start, plain.stay) == (START, START)


class TestAgainstOthers:
    """What other users' windows say."""

    @pytest.mark.parametrize(("own", "others"), [(4000, 4000), (8000, 400), (400, 8000)])
    def test_evidence_is_the_likelihood_ratio(self, own: int, others: int) -> None:
        """It is the true log-likelihood ratio, sharpened, however many windows of either kind there are."""
        fusion = weigh_against_others(normal(1, own, 0.0, 0.0), normal(2, others, 1.5, 0.0))
        fresh = normal(3, 500, 0.75, 0.0)
        assert evidence(fusion, fresh) / SHARPEN == pytest.approx(1.5 * fresh[:, 0] - 1.125, abs=0.6)
        assert fusion.bias / SHARPEN == pytest.approx(-1.125, abs=0.25)
        assert fusion.weights[0] / SHARPEN == pytest.approx(1.5, abs=0.2)

    def test_a_view_that_tells_nothing_weighs_nothing(self) -> None:
        """Only what differs between users counts, by how much it does."""
        fusion = weigh_against_others(normal(4, 4000, 0.0, 0.0, 0.0), normal(5, 4000, 2.0, 1.0, 0.0))
        strong, weak, none = fusion.weights
        assert strong > weak > 0.0
        assert abs(none) < 0.1 * weak

    def test_users_and_others_are_told_apart(self) -> None:
        """Others' windows speak for others, and a user's own for the user."""
        fusion = weigh_against_others(normal(6, 2000, 0.0, -1.0), normal(7, 200, 2.0, 1.0))
        own, others = normal(8, 1000, 0.0, -1.0), normal(9, 1000, 2.0, 1.0)
        assert (evidence(fusion, own) < 0.0).mean() > 0.9
        assert (evidence(fusion, others) > 0.0).mean() > 0.9

    def test_units_do_not_matter(self) -> None:
        """A view in another unit gives the same evidence."""
        own, others, unit = normal(10, 1000, 0.0, 5.0), normal(11, 300, 1.0, 6.0), np.array([1e4, 1e-4])
        one, two = weigh_against_others(own, others), weigh_against_others(own * unit, others * unit)
        assert evidence(two, own[:50] * unit) == pytest.approx(evidence(one, own[:50]), rel=1e-3, abs=1e-3)

    def test_a_view_that_never_varies(self) -> None:
        """A view that is the same in all windows is no trouble and no evidence."""
        own, others = normal(12, 500, 0.0, 0.0), normal(13, 500, 2.0, 0.0)
        own[:, 1] = others[:, 1] = 7.0
        fusion = weigh_against_others(own, others)
        assert fusion.evidence([1.0, 7.0]) == pytest.approx(0.0, abs=0.6)
        assert fusion.evidence([3.0, 7.0]) > 3.0

    def test_memory(self) -> None:
        """Suspicion lasts; unfiltered it reaches into no other window."""
        own, others = normal(14, 200, 0.0), normal(15, 200, 1.0)
        filtered, plain = (weigh_against_others(own, others, filtered=on) for on in (True, False))
        assert (filtered.start, filtered.stay, filtered.tails) == (START, STAY, ())
        assert (plain.start, plain.stay) == (START, START)
        assert plain.weights == filtered.weights


ODDS = arrays(np.float64, st.integers(1, 300), elements=st.floats(-200.0, 200.0))


class TestRisk:
    """From log-odds to risk, where users are weighed against each other."""

    @given(ODDS, st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
    def test_grows_with_the_odds(self, odds: Floats, asked: list[float]) -> None:
        """Higher odds never have a lower risk, and every risk is in 0..100."""
        tail = by_likelihood(PLAIN, odds)
        scores = [tail.score(figure) for figure in sorted([*asked, *odds.tolist(), 0.0])]
        assert all(low <= high for low, high in pairwise(scores))
        assert all(0.0 <= score <= 100.0 for score in scores)

    @given(ODDS)
    def test_is_twenty_at_even_odds(self, odds: Floats) -> None:
        """Where somebody else is as likely as the user the risk is 20, whatever the user's windows are like."""
        assert START == 0.01
        assert by_likelihood(PLAIN, odds).score(0.0) == pytest.approx(20.0, abs=0.05)

    @given(ODDS, st.floats(0.0, 18.0))
    def test_is_ten_more_for_ten_times_the_odds(self, odds: Floats, nats: float) -> None:
        """From even odds on it is what a likelihood ratio promises: ten points for each tenfold."""
        tail = by_likelihood(PLAIN, odds)
        assert tail.score(nats) - tail.score(0.0) == pytest.approx(10.0 * nats / log(10.0))

    @given(st.sets(st.integers(-1600, -1), min_size=2, max_size=300), st.floats(0.0, 10.0))
    def test_is_how_rare_everyday_odds_are(self, eighths: set[int], points: float) -> None:
        """Of odds that speak for the user it is how rare they are: what a tenth of the windows reach has 10."""
        odds = np.array(sorted(eighths)) / 8.0
        reached = float(np.quantile(odds, 1.0 - 10.0 ** (-points / 10.0)))
        assert by_likelihood(PLAIN, odds).score(reached) == pytest.approx(points, abs=0.08)  # a knot's width

    @given(st.floats(-200.0, -0.001), st.integers(1, 300))
    def test_what_every_window_has_is_not_rare(self, odds: float, count: int) -> None:
        """Where all windows have the same odds, those have no risk."""
        assert by_likelihood(PLAIN, np.full(count, odds)).score(odds) == 0.0

    @pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.1])
    def test_has_the_users_own_rate(self, share: float) -> None:
        """Among many windows of every day, a score comes as often as it says, up to one in ten."""
        odds = np.random.default_rng(1).normal(-12.0, 2.0, 10_000)
        score = by_likelihood(PLAIN, odds).score
        reached = np.mean([score(figure) >= -10.0 * np.log10(share) for figure in odds.tolist()])
        assert reached == pytest.approx(share, rel=0.05)

    def test_is_straight_between(self) -> None:
        """From one window in ten to even odds the line is straight."""
        odds = np.linspace(-20.0, -10.0, 1001)
        tail = by_likelihood(PLAIN, odds)
        begin, end = tail.score(-11.0), tail.score(0.0)
        assert begin == pytest.approx(10.0, abs=0.01)
        assert tail.score(-5.5) == pytest.approx((begin + end) / 2, abs=0.01)

    def test_windows_that_speak_for_others_do_not_move_it(self) -> None:
        """Own windows beyond even odds are not taken for usual: what they promise stays."""
        odds = np.concatenate([np.linspace(-8.0, -1.0, 50), np.linspace(1.0, 9.0, 50)])
        tail = by_likelihood(PLAIN, odds)
        assert tail.score(log(10.0)) == pytest.approx(30.0, abs=0.1)
        assert by_likelihood(PLAIN, np.array([5.0])).score(5.0) > 40.0

    @pytest.mark.parametrize("distance", [1.0, 2.0, 3.0])
    def test_true_ratios_keep_their_promise(self, distance: float) -> None:
        """By true likelihood ratios, the user's own windows reach a risk of 30 at most once in a thousand."""
        ratios = distance * np.random.default_rng(2).normal(size=50_000) - distance**2 / 2
        assert np.exp(ratios).mean() == pytest.approx(1.0, abs=0.2)
        odds = logit(START) + ratios
        tail = by_likelihood(PLAIN, odds)
        thirty = next(nats for nats in np.linspace(0.0, 5.0, 501).tolist() if tail.score(nats) >= 30.0)
        assert (odds >= thirty).mean() <= 1e-3

    def test_risk_of_filtered_windows(self) -> None:
        """A stranger alarms in the second window, and a user's own windows hardly ever do."""
        fusion = weigh_against_others(normal(20, 4000, 0.0, 0.0), normal(21, 400, 2.0, 1.0))
        own, stranger = (evidence(fusion, normal(22, 300, *means)) for means in ((0.0, 0.0), (2.0, 1.0)))
        passed = Filter(fusion)
        odds = passed.steps(own.tolist())
        tail = by_likelihood(fusion, np.array(odds))
        assert np.mean([tail.score(figure) >= 30.0 for figure in odds]) < 0.05
        found = [tail.score(odds) for odds in passed.steps(stranger.tolist())]
        assert np.mean([score >= 30.0 for score in found[WINDOW : 2 * WINDOW]]) > 0.6
