from __future__ import annotations

from itertools import pairwise
from math import isfinite, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.calibration import Tail
from anomaly.detectors.interface import WINDOW
from anomaly.risk import START, STAY, Filter, Fusion, logit, probability

NATS = st.floats(-1e6, 1e6)
SOME = st.floats(-30.0, 30.0)
PLAIN = Fusion([1.0], 0.0, START, STAY)


def steps(fusion: Fusion, evidence: list[float]) -> list[float]:
    """Filter evidence from the beginning."""
    passed = Filter(fusion)
    return passed.steps(evidence)


def long(pieces: list[tuple[float, int]]) -> list[float]:
    """Lay out evidence that stays the same for a while."""
    return [nats for nats, count in pieces for _ in range(count)]


EVIDENCE = st.lists(st.tuples(NATS, st.integers(1, 90)), min_size=1, max_size=8).map(long)


@st.composite
def fusions(draw: st.DrawFn) -> Fusion:
    """Make any way to weigh views."""
    weights = draw(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4))
    shares = st.floats(1e-6, 1.0 - 1e-6)
    tails = []
    if draw(st.booleans()):
        knots = draw(st.integers(1, 5))
        for _ in weights:
            figures = np.sort(draw(st.lists(st.floats(-1e6, 1e6), min_size=knots, max_size=knots)))
            exceeding = np.geomspace(1.0, draw(st.floats(1e-6, 0.9)), knots)
            tails.append(Tail(figures, exceeding, draw(st.floats(1e-6, 1e6)), draw(st.floats(0.0, 0.5))))
    return Fusion(weights, draw(st.floats(-1e3, 1e3)), draw(shares), draw(shares), tails)


class TestFusion:
    """From views to a log-likelihood ratio."""

    def test_weighs_views(self) -> None:
        """Evidence is the bias and each view by its weight."""
        assert Fusion([2.0, -1.0], 0.5, START, STAY).evidence((3.0, 4.0)) == 2.5

    def test_weighs_how_rare_views_are(self) -> None:
        """Where there are tails, a view counts by how rare it is among the user's own."""
        tail = Tail(np.array([0.0, 1.0]), np.array([1.0, 0.1]), 1.0, 0.0)
        fusion = Fusion([2.0, 1.0], 0.5, START, STAY, [tail, tail])
        assert fusion.evidence((1.0, 0.5)) == pytest.approx(0.5 + 2.0 * 10.0 + 5.0)

    @given(SOME)
    def test_without_memory_somebody_else_is_as_likely_as_to_begin(self, nats: float) -> None:
        """Where staying is no likelier than beginning, what came before tells nothing."""
        fusion = Fusion([2.0], 1.0, START, START)
        assert fusion.follow(9.0, nats) == pytest.approx(logit(START) + nats)

    def test_views_and_weights_pair_up(self) -> None:
        """Too many views, and too few, are an error rather than left out."""
        for views in ((1.0,), (1.0, 2.0, 3.0)):
            with pytest.raises(ValueError, match="zip"):
                Fusion([1.0, 2.0], 0.0, START, STAY).evidence(views)

    @given(fusions(), st.lists(st.lists(SOME, min_size=4, max_size=4), max_size=40))
    def test_weighs_many_windows_as_each_alone(self, fusion: Fusion, rows: list[list[float]]) -> None:
        """Many windows have, to the last bit, the evidence that each has alone."""
        views = np.array(rows, dtype=float).reshape(-1, 4)[:, : len(fusion.weights)]
        assert fusion.evidences(views) == [fusion.evidence(view) for view in views.tolist()]

    @given(fusions(), st.lists(SOME, min_size=4, max_size=4))
    def test_round_trip(self, fusion: Fusion, views: list[float]) -> None:
        """Read back from its arrays it gives the very same evidence, filter and arrays."""
        again = Fusion.from_arrays(fusion.arrays())
        views = views[: len(fusion.weights)]
        assert again.evidence(views) == fusion.evidence(views)
        assert (again.weights, again.bias, again.start, again.stay) == (
            fusion.weights,
            fusion.bias,
            fusion.start,
            fusion.stay,
        )
        for name, array in fusion.arrays().items():
            assert again.arrays()[name].tobytes() == array.tobytes()
            assert again.arrays()[name].shape == array.shape

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("weights", [np.nan, 1.0]),
            ("weights", [np.inf, 1.0]),
            ("weights", [1.0]),  # two tails
            ("weights", [1.0, 2.0, 3.0]),
            ("weights", []),
            ("filter", [np.nan, 0.1, 0.9]),
            ("filter", [0.0, 0.0, 0.9]),  # nobody else ever begins
            ("filter", [0.0, 1.0, 0.9]),
            ("filter", [0.0, 0.1, 1.0]),  # nor ever leaves
            ("filter", [0.0, 0.1, 0.0]),
            ("filter", [0.0, np.nan, 0.9]),
            ("filter", [0.0, 0.1, -0.5]),
            ("filter", [0.0, 0.1]),
            ("filter", [0.0, 0.1, 0.9, 0.9]),
            ("filter", []),
            ("tails", [[[0.0, 1.0], [1.0, 0.0]]]),  # one tail for two views
            ("tails", [[[0.0, 1.0], [2.0, 0.0]]] * 2),  # no probability
            ("tails", [[[np.nan, 1.0], [1.0, 0.0]]] * 2),
            ("tails", [[0.0, 1.0], [1.0, 0.0]]),
            ("tails", [1.0, 2.0]),
        ],
    )
    def test_what_is_no_fusion_is_refused(self, name: str, value: Any) -> None:  # noqa: ANN401 - any array
        """Weights, filters and tails that are none, or do not fit each other, raise a ValueError."""
        tail = Tail(np.array([0.0]), np.array([1.0]), 1.0, 0.0)
        arrays = Fusion([1.0, 2.0], 0.0, START, STAY, [tail, tail]).arrays()
        assert Fusion.from_arrays(arrays).weights == (1.0, 2.0)
        with pytest.raises(ValueError, match=r"views|distribution|unpack|form"):
            Fusion.from_arrays(arrays | {name: np.array(value, dtype=np.float64)})

    @pytest.mark.parametrize("name", ["weights", "filter", "tails"])
    def test_what_is_missing_is_refused(self, name: str) -> None:
        """Each array is needed."""
        arrays = PLAIN.arrays()
        del arrays[name]
        with pytest.raises(KeyError, match=name):
            Fusion.from_arrays(arrays)


class TestFilter:
    """From one window's evidence to the odds of somebody else."""

    @given(EVIDENCE)
    def test_prior_is_from_the_window_before(self, evidence: list[float]) -> None:
        """A window's prior follows from the window WINDOW actions before, which shares none with it."""
        found = steps(PLAIN, evidence)
        for place, (nats, odds) in enumerate(zip(evidence, found, strict=True)):
            before = probability(found[place - WINDOW]) if place >= WINDOW else START
            assert odds == pytest.approx(logit(START * (1.0 - before) + STAY * before) + nats, abs=1e-9)

    def test_first_windows_follow_nobody(self) -> None:
        """Until there is a window before, it is taken for somebody else's as seldom as one begins: START."""
        prior = logit(START * (1.0 - START) + STAY * START)
        assert steps(PLAIN, [0.0] * WINDOW) == [prior] * WINDOW
        assert logit(START) < prior < logit(0.02)

    @given(EVIDENCE, st.data())
    def test_evidence_counts_once(self, evidence: list[float], data: st.DataObject) -> None:
        """Evidence moves its own window and those whole windows later, none of which it lies in, and no other."""
        place = data.draw(st.integers(0, len(evidence) - 1))
        before = steps(PLAIN, evidence)
        evidence[place] += data.draw(st.floats(1.0, 100.0))
        moved = [n for n, (a, b) in enumerate(zip(before, steps(PLAIN, evidence), strict=True)) if a != b]
        assert moved[0] == place
        assert all((n - place) % WINDOW == 0 for n in moved)

    @given(st.floats(0.0, 1e4))
    def test_suspicion_decays(self, nats: float) -> None:
        """With evidence for neither, suspicion goes down from window to window, to what it is with no past."""
        resting = logit(START / (1.0 + START - STAY))
        found = steps(PLAIN, [nats + 10.0] * WINDOW + [0.0] * WINDOW * 150)[::WINDOW]
        assert all(later <= earlier for earlier, later in pairwise(found))
        assert found[1] > 0.0 > found[10]
        assert found[-1] == pytest.approx(resting, abs=1e-3)

    @given(st.floats(10.0, 1e5), st.floats(5.0, 1e5))
    def test_suspicion_is_taken_back(self, against: float, favour: float) -> None:
        """However great, suspicion is gone after one window that speaks clearly for the user, and stays gone."""
        found = steps(PLAIN, [against] * WINDOW + [-favour] * WINDOW + [0.0] * WINDOW)[::WINDOW]
        assert found[0] > 0.0 > found[1]
        assert found[2] < logit(START / (1.0 + START - STAY)) + 0.5
        assert steps(PLAIN, [*[-50.0] * WINDOW, 0.0])[-1] == pytest.approx(logit(START))

    @given(EVIDENCE, st.floats(0.0, 1e3))
    def test_more_evidence_is_never_less_suspicion(self, evidence: list[float], more: float) -> None:
        """Where every window speaks louder for somebody else, no odds are lower."""
        louder = steps(PLAIN, [nats + more for nats in evidence])
        assert all(b >= a for a, b in zip(steps(PLAIN, evidence), louder, strict=True))

    @given(st.lists(NATS, min_size=1, max_size=250))
    def test_a_filter_without_memory_filters_nothing(self, evidence: list[float]) -> None:
        """Where somebody else stays no likelier than one begins, a window's odds are its own evidence's."""
        fusion = Fusion([1.0], 0.0, START, START)
        assert steps(fusion, evidence) == pytest.approx([logit(START) + nats for nats in evidence])

    @given(EVIDENCE, st.data())
    def test_chunks_do_not_matter(self, evidence: list[float], data: st.DataObject) -> None:
        """Rebuilt from its odds at any place it goes on exactly as one that was never put away."""
        cut = data.draw(st.integers(0, len(evidence)))
        first = Filter(PLAIN)
        found = first.steps(evidence[:cut])
        second = Filter(PLAIN, list(first.odds))
        found += second.steps(evidence[cut:])
        assert found == steps(PLAIN, evidence)
        assert list(second.odds) == found[-WINDOW:]

    @given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=300))
    def test_odds_are_finite(self, evidence: list[float]) -> None:
        """Evidence beyond all measure gives odds that are numbers, and is forgotten like any other."""
        found = steps(PLAIN, [*evidence, *[0.0] * WINDOW])
        assert all(map(isfinite, found))
        assert all(logit(START) - 1e-9 <= odds <= logit(STAY) + 1e-9 for odds in found[-WINDOW:])


class TestOdds:
    """Odds and probabilities."""

    @given(st.floats(1e-12, 1.0 - 1e-12))
    def test_each_is_the_others_inverse(self, share: float) -> None:
        """The probability of a probability's log-odds is itself."""
        assert probability(logit(share)) == pytest.approx(share, rel=1e-9)

    @given(st.floats(allow_nan=False))
    def test_any_odds_have_a_probability(self, odds: float) -> None:
        """However great the odds, the probability is in 0..1, and never so near that it has no odds."""
        assert 0.0 < probability(odds) <= 1.0
        assert probability(log(9.0)) == pytest.approx(0.9)
