from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise, product
from math import exp, inf, log, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.detectors.fusion import (
    DOUBT,
    LATE,
    MOST_DELAY,
    MOST_EVIDENCE,
    START,
    STAY,
    TOLERATED,
    Filter,
    Fusion,
    Verdict,
    logit,
    probability,
)
from anomaly.detectors.interface import STEP, WINDOW
from tests.detectors.drawn import Damage, damaged, damages
from tests.detectors.fusions import channel, fusion_of, own

Floats = NDArray[np.float64]

NATS = st.floats(-40.0, 40.0)
RATIOS = st.lists(st.floats(-MOST_EVIDENCE, MOST_EVIDENCE), min_size=1, max_size=60)


def steps(fusion: Fusion, evidence: Sequence[float]) -> list[float]:
    """Return the figures of windows of the first channel, from the beginning."""
    passed = Filter(fusion)
    return [passed.step([one] * len(fusion.channels)).excess for one in evidence]


def forward(evidence: Sequence[float], start: float, stay: float, threshold: float) -> list[float]:
    """Return log-odds less the threshold by the forward algorithm (Rabiner 1989, equations 19 and 20).

    The states are the user, 0, and another person, 1. The chain begins with the user.
    """
    moves = [[1.0 - start, start], [1.0 - stay, stay]]
    alpha, found = [1.0, 0.0], []
    for ratio in evidence:
        likelihood = [1.0, exp(ratio)]
        alpha = [sum(alpha[i] * moves[i][j] for i in (0, 1)) * likelihood[j] for j in (0, 1)]
        alpha = [one / sum(alpha) for one in alpha]
        found.append(log(alpha[1] / alpha[0]) - threshold)
    return found


@given(st.integers(0, 10**6), st.sampled_from([(-inf, inf), (-2.0, 3.0), (0.0, inf), (1.0, 1.0)]))
def test_evidence_is_the_clipped_weighted_sum_of_views(seed: int, clip: tuple[float, float]) -> None:
    """Evidence is bias + sum(weights * clip((views - centre) / scale)), by channel."""
    draw = np.random.default_rng(seed)
    weights, centre, views = draw.normal(size=(3, 2, 4))
    scale = draw.uniform(0.1, 5.0, (2, 4))
    low, high = clip
    channels = [channel(bias=float(bias), low=low, high=high) for bias in draw.normal(size=2)]
    found = Fusion(channels, weights, centre, scale).evidence(views)
    for row, one in enumerate(found):
        units = [
            min(max((view - middle) / unit, low), high)
            for view, middle, unit in zip(views[row], centre[row], scale[row], strict=True)
        ]
        total = sum(weight * unit for weight, unit in zip(weights[row], units, strict=True))
        assert one == pytest.approx(min(max(channels[row].bias + total, -30.0), 30.0), abs=1e-9)


@pytest.mark.parametrize("view", [1e6, -1e6])
def test_evidence_of_filtered_channel_is_bounded(view: float) -> None:
    """A window is evidence of MOST_EVIDENCE nats at most; figures measured by the user's own are not cut."""
    filtered, measured = fusion_of(channel(), own()).evidence(np.full((2, 1), view))
    assert (filtered, measured) == (MOST_EVIDENCE if view > 0 else -MOST_EVIDENCE, view)


@settings(max_examples=60)
@given(RATIOS, st.floats(0.001, 0.5), st.floats(0.1, 0.99), st.sampled_from([10, 30, 100]), NATS)
def test_filter_equals_forward_algorithm(
    evidence: list[float], start: float, stay: float, length: int, threshold: float
) -> None:
    """The windows that end where the next begin are one chain: its odds are those of the forward algorithm."""
    fusion = fusion_of(channel(length, start=start, stay=stay, threshold=threshold))
    found, apart = steps(fusion, evidence), length // STEP
    for first in range(min(apart, len(evidence))):
        expected = forward(evidence[first::apart], start, stay, threshold)
        assert found[first::apart] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.floats(-8.0, 8.0), min_size=1, max_size=7), st.floats(0.01, 0.5), st.floats(0.0, 0.9))
def test_filter_equals_sum_over_all_histories(evidence: list[float], start: float, stay: float) -> None:
    """The odds of the last window are those over all ways in which the user and others may have taken turns."""
    moves = [[1.0 - start, start], [1.0 - stay, stay]]
    total = [0.0, 0.0]
    for path in product((0, 1), repeat=len(evidence)):
        likelihood = moves[0][path[0]]
        for before, after in pairwise(path):
            likelihood *= moves[before][after]
        total[path[-1]] += likelihood * exp(sum(one for one, state in zip(evidence, path, strict=True) if state))
    found = steps(fusion_of(channel(STEP, start=start, stay=stay)), evidence)
    assert found[-1] == pytest.approx(log(total[1] / total[0]), abs=1e-9)


@pytest.mark.parametrize("length", [10, 30, 100])
def test_filter_looks_back_exactly_one_length(length: int) -> None:
    """Suspicion reaches the window that begins where the suspicious one ends, and none in between."""
    apart = length // STEP
    found = steps(fusion_of(channel(length)), [9.0] + [0.0] * (2 * apart))
    fresh = logit(START)
    assert found[0] == pytest.approx(9.0 + fresh)
    assert found[1:apart] == pytest.approx([fresh] * (apart - 1))
    assert found[apart] == pytest.approx(logit(START + (STAY - START) * probability(found[0])))
    assert found[apart] > fresh + 3.0


def test_filter_figure_is_the_highest_channels() -> None:
    """The figure is how far the channel that is furthest beyond its threshold is beyond it."""
    fusion = fusion_of(channel(30, threshold=5.0), channel(100, threshold=-2.0))
    verdict = Filter(fusion).step([4.0, 1.0])
    assert verdict.odds == pytest.approx((4.0 + logit(START), 1.0 + logit(START)))
    assert verdict.excess == pytest.approx(3.0 + logit(START))


@given(st.floats(-MOST_EVIDENCE, MOST_EVIDENCE), st.lists(NATS, max_size=20))
def test_filter_more_evidence_never_lowers_a_later_figure(extra: float, evidence: list[float]) -> None:
    """What speaks more for another person raises that window's figure, and lowers no later one."""
    fusion = fusion_of(channel(10))
    less, more = (steps(fusion, [one, *evidence]) for one in (extra, extra + 1.0))
    assert all(after >= before - 1e-9 for before, after in zip(less, more, strict=True))


@pytest.mark.parametrize(
    ("guards", "evidence", "doubt", "chunk_doubt"),
    [
        ((False, True), (9.0, -3.0), 9.0 + logit(START) - TOLERATED, -3.0),
        ((True, True), (2.0, -3.0), 2.0 + logit(START) - TOLERATED, 2.0),
        ((False, False), (2.0, 1.0), 2.0 + logit(START) - TOLERATED, -inf),
    ],
)
def test_filter_doubt_is_of_what_alarms_clearly_and_of_the_chunk(
    guards: tuple[bool, bool], evidence: tuple[float, float], doubt: float, chunk_doubt: float
) -> None:
    """Any channel that is clearly beyond the alarm is doubtful; a chunk by the evidence of those that guard."""
    fusion = fusion_of(*(channel(guards=one) for one in guards))
    verdict = Filter(fusion).step(evidence)
    assert verdict.doubt == pytest.approx(doubt)
    assert verdict.chunk_doubt == pytest.approx(chunk_doubt)


def test_filter_own_figures_are_measured_in_deviations() -> None:
    """Without a filter, a figure counts in deviations above the user's mean, over the skew."""
    fusion = fusion_of(own(mean=2.0, deviation=0.5, skew=2.0, threshold=3.0, above=4.0, below=0.5, guard=1.0))
    assert Filter(fusion).step([6.0]) == Verdict((4.0 - 3.0) * 4.0, DOUBT * 3.0, -inf, (4.0,))
    assert Filter(fusion).step([2.0]) == Verdict(-3.0 * 0.5, -DOUBT, -inf, (0.0,))


def following(rate: float, **changes: Any) -> Fusion:  # noqa: ANN401 - fields of several types
    """Return a channel whose scale follows the user."""
    return fusion_of(own(mean=0.0, deviation=1.0, rate=rate, **changes))


def test_filter_scale_follows_the_user_late() -> None:
    """A chunk of the user's figures moves mean and deviation once LATE more chunks have followed."""
    passed, chunk = Filter(following(0.1)), WINDOW // STEP
    odds = [passed.step([1.0]).odds[0] for _ in range((LATE + 1) * chunk + 1)]
    assert odds[:-1] == [1.0] * ((LATE + 1) * chunk)
    assert odds[-1] == pytest.approx((1.0 - 0.1) / sqrt(1.0 + 0.1 * (1.0 - 1.0)))


def test_filter_scale_ignores_chunks_far_out() -> None:
    """A chunk with a figure from most_moving deviations on moves nothing; a figure counts as three at most."""
    evidence = [0.0] * 9 + [50.0] + [0.0] * 31
    still = Filter(following(0.5, most_moving=4.0))
    moved = Filter(following(0.5))
    for one in evidence:
        still.step([one])
        moved.step([one])
    assert still.to_json()["scales"][0][:2] == [0.0, 1.0]
    assert moved.to_json()["scales"][0][:2] == pytest.approx([0.5 * 3.0 / 10.0, 1.0 + 0.5 * (9.0 / 10.0 - 1.0)])


def test_filter_without_adaptation_keeps_the_scale() -> None:
    """Where nothing is learned, the scale stays that of training; so does the doubt of a channel that is fixed."""
    frozen = Filter(following(0.5), adapt=False)
    fixed = Filter(following(0.5, guard_is_fixed=True))
    for _ in range(100):
        last, doubt = frozen.step([2.0]).odds[0], fixed.step([2.0]).doubt
    assert (last, doubt) == (2.0, DOUBT * 2.0)
    assert fixed.step([2.0]).odds[0] < 1.0


@settings(max_examples=40, deadline=None)
@given(st.lists(NATS, max_size=120), st.integers(0, 120))
def test_filter_restored_at_any_point_continues_identically(evidence: list[float], cut: int) -> None:
    """A filter that was saved as JSON and restored gives the same figures, to the bit, as one that was not."""
    fusion = fusion_of(channel(30), channel(100, threshold=2.0), own(rate=0.2, deviation=3.0))
    whole, part = Filter(fusion), Filter(fusion)
    for number, one in enumerate(evidence):
        if number == cut:
            part = Filter(fusion, json.loads(json.dumps(part.to_json())))
        assert part.step([one] * 3) == whole.step([one] * 3)
    assert part.to_json() == whole.to_json()


GOOD: dict[str, Any] = {"odds": [[1.0, 2.0], [0.5]], "scales": [[0.0, 1.0, [[]]], [0.0, 2.0, [[1.0] * 10, [1.0]]]]}


@pytest.mark.parametrize(
    "change",
    [
        {"odds": None},
        {"odds": [[1.0]]},
        {"odds": [[1.0], ["x"]]},
        {"odds": [[1.0], [nan]]},
        {"odds": [[1.0], [inf]]},
        {"odds": [1.0, 2.0]},
        {"scales": [[0.0, 1.0, [[]]]]},
        {"scales": [[0.0, 1.0]] * 2},
        {"scales": [[0.0, 0.0, [[]]]] * 2},
        {"scales": [[0.0, -1.0, [[]]]] * 2},
        {"scales": [[nan, 1.0, [[]]]] * 2},
        {"scales": [[0.0, 1.0, []]] * 2},
        {"scales": [[0.0, 1.0, [[]] * (LATE + 2)]] * 2},
        {"scales": [[0.0, 1.0, [[nan]]]] * 2},
        {"odds": [[1.0], [10**400]]},
        {"scales": [[0.0, 1.0, [[], [], [], [1.0]]]] * 2},
    ],
)
def test_filter_hostile_saved_state_raises_value_key_or_type_error(change: dict[str, Any]) -> None:
    """What another fusion saved, or is damaged, is refused when it is restored."""
    fusion = fusion_of(channel(), own(rate=0.5))
    Filter(fusion, GOOD).step([1.0, 1.0])
    with pytest.raises((ValueError, KeyError, TypeError)):
        Filter(fusion, GOOD | change)


@pytest.mark.parametrize("name", GOOD)
def test_filter_saved_state_without_a_part_raises_key_error(name: str) -> None:
    """Odds and scales are both needed."""
    with pytest.raises(KeyError):
        Filter(fusion_of(channel(), own()), {other: part for other, part in GOOD.items() if other != name})


def two() -> Fusion:
    """Return a fusion of two channels with three views each."""
    weights = np.random.default_rng(1).normal(size=(2, 3))
    return fusion_of(channel(30, bias=0.5), own(rate=0.1, high=4.0), weights=weights, delay=300)


def test_from_arrays_of_arrays_is_the_same_fusion() -> None:
    """A fusion that was saved has the channels, weights and delay of the one before."""
    again = Fusion.from_arrays(two().arrays())
    assert again.channels == two().channels
    assert again.delay == 300
    for name, array in again.arrays().items():
        assert array.tolist() == two().arrays()[name].tolist()
    views = np.random.default_rng(2).normal(size=(2, 3))
    assert again.evidence(views) == two().evidence(views)


def test_with_thresholds_changes_thresholds_alone() -> None:
    """The same channels, with other thresholds."""
    found = two().with_thresholds([7.0, -8.0])
    assert [one.threshold for one in found.channels] == [7.0, -8.0]
    assert found.with_thresholds([0.0, 0.0]).channels == two().channels
    assert found.weights is not None
    assert found.delay == 300


ACCEPTED = {
    "channels: 1e+300",
    "weights: -1.0",
    "weights: 1e+300",
    "centre: -1.0",
    "centre: 1e+300",
    "scale: 1e+300",
    "delay: single precision",
    "delay: other byte order",
    "delay: one entry more",
    "delay: text",
    "delay: objects",
    "delay: small integers",
}
"""Damages that leave numbers which work, though no training would find them."""


@pytest.mark.parametrize(
    ("what", "damage"),
    [(what, damage) for what, damage in damages(two().arrays()) if what not in ACCEPTED],
)
def test_from_arrays_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """Arrays of another type or shape, and numbers that are none, are refused."""
    with pytest.raises((ValueError, KeyError)):
        Fusion.from_arrays(damaged(two().arrays(), damage))
    assert what


@pytest.mark.parametrize(
    "changes",
    [
        {"start": 1.0},
        {"start": -0.1},
        {"start": nan},
        {"stay": 1.0},
        {"stay": nan},
        {"length": STEP - 1},
        {"bias": nan},
        {"threshold": inf},
        {"low": 1.0, "high": 0.0},
        {"low": nan},
        {"mean": nan},
        {"deviation": 0.0},
        {"skew": -1.0},
        {"rate": 1.5},
        {"above": 0.0},
        {"below": inf},
        {"guard": nan},
    ],
)
def test_fusion_invalid_channel_raises_value_error(changes: dict[str, Any]) -> None:
    """Probabilities beyond one, an empty scale or a number that is none are refused, also from a file."""
    with pytest.raises(ValueError, match="invalid"):
        fusion_of(channel(**changes))
    arrays = fusion_of(channel()).arrays()
    arrays["channels"] = np.array([list(map(float, channel(**changes)))])
    with pytest.raises(ValueError, match="invalid"):
        Fusion.from_arrays(arrays)


@pytest.mark.parametrize("delay", [-1, MOST_DELAY + 1])
def test_fusion_delay_out_of_range_raises_value_error(delay: int) -> None:
    """Learning is delayed by MOST_DELAY actions at most."""
    with pytest.raises(ValueError, match="delay"):
        fusion_of(channel(), delay=delay)


def test_fusion_without_channels_or_with_others_views_raises_value_error() -> None:
    """There is a row of weights for each channel, and one channel at least."""
    for channels, shape in (((), (0, 1)), ((channel(),), (2, 1)), ((channel(),), (1,))):
        with pytest.raises(ValueError, match="do not pair up"):
            fusion_of(*channels, weights=np.zeros(shape))


def test_fusion_scale_of_zero_raises_value_error() -> None:
    """Views are divided by their scale."""
    with pytest.raises(ValueError, match="invalid"):
        Fusion([channel()], np.ones((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))


def test_filter_scale_of_steady_user_stays_positive() -> None:
    """A user whose figure never changes has a deviation all the same."""
    passed = Filter(following(1.0))
    for _ in range(100):
        passed.step([0.0])
    assert passed.to_json()["scales"][0][1] > 0.01


def test_filter_window_of_fifteen_does_not_look_back_into_itself() -> None:
    """A window is filtered after one that shares no action with it: two steps of ten before, not one."""
    found = steps(fusion_of(channel(15)), [9.0, 0.0, 0.0])
    assert found[1] == pytest.approx(logit(START))


@given(st.floats(0.001, 0.999))
def test_probability_of_logit_is_the_share(share: float) -> None:
    """The two undo each other."""
    assert probability(logit(share)) == pytest.approx(share)


@pytest.mark.parametrize("odds", [1e308, -1e308, inf, -inf])
def test_probability_of_any_odds_is_a_probability(odds: float) -> None:
    """However far the odds are, they are a probability."""
    assert 0.0 <= probability(odds) <= 1.0
