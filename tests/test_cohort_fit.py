from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly import cohort_fit as unit
from anomaly.cohort import Cohort
from anomaly.cohort_fit import (
    BUDGET,
    CUTS,
    FEWEST_ACTIONS,
    SHARPEN,
    CohortFit,
    fit_cohort,
    fit_fusion,
    months_of,
    renamed,
    risk_of,
)
from anomaly.detectors.detector import Detector, together_views
from anomaly.detectors.fusion import START, STAY, Fusion
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import LENGTHS, VIEWS
from anomaly.detectors.rarity import RANKS, Rarity
from anomaly.evaluation import auc
from anomaly.features.levels import Features, Level
from anomaly.population import Population
from anomaly.records import ALARM
from anomaly.rehearsal import rehearse
from tests.detectors.drawn import actions
from tests.synthetic import USERS, actions_of, corpora_of, corpus_of

Floats = NDArray[np.float64]
Times = dict[str, NDArray[np.int64]]

COUNT = 700


class Fitted(NamedTuple):
    """Synthetic users, and what was fitted on them."""

    population: Population
    cohort: Cohort
    times: Times
    fit: CohortFit

    def later(self, user: str, count: int = 600) -> list[Features]:
        """Return the features of what a user does after training."""
        return self.population.tokenizer.features(corpus_of(actions_of(user, count, first=COUNT)))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """Fit the fusion of eight synthetic users."""
    population = Population(corpora_of(COUNT))
    features = population.tokenizer.features
    cohort = Cohort({user: features(corpus) for user, corpus in population.corpora.items()})
    times = {user: corpus.rows().time for user, corpus in population.corpora.items()}
    fit = fit_cohort(cohort, times, 0)
    assert fit is not None
    return Fitted(population, cohort, times, fit)


def bytes_of(fit: CohortFit | None) -> list[bytes]:
    """Return everything that was fitted, exactly."""
    assert fit is not None
    return [array.tobytes() for array in (*fit.fusion.arrays().values(), fit.risk.to_array())]


def evidence(fitted: Fitted, user: str, history: list[Features], *left_out: str) -> list[list[float]]:
    """Return the evidence of windows of a history against a user, who was learned, by window and channel."""
    profile = fitted.cohort.profile(user, fitted.cohort.histories[user])
    svm = fit_svm(fitted.cohort.histories[user])
    others = fitted.cohort.others(user, *left_out)
    found = []
    for end in range(WINDOW, len(history) + 1, WINDOW):
        window = history[end - WINDOW : end]
        margin = svm.margin(svm.start(), window)
        found.append(fitted.fit.fusion.evidence(together_views(profile, profile.start(), window, margin, others)))
    return found


def test_fit_cohort_same_seed_gives_same_bits(fitted: Fitted) -> None:
    """The same users and seed give the same weights, thresholds and risk, bit for bit; another seed does not."""
    again = fit_cohort(Cohort(fitted.cohort.histories), fitted.times, 0)
    other = fit_cohort(Cohort(fitted.cohort.histories), fitted.times, 1)
    assert bytes_of(again) == bytes_of(fitted.fit) != bytes_of(other)


def test_fit_cohort_weights_are_not_negative(fitted: Fitted) -> None:
    """No view that looks less like others may speak for an intruder."""
    assert (fitted.fit.fusion.weights >= 0.0).all()
    assert fitted.fit.fusion.weights.any(axis=1).all()


@pytest.mark.parametrize("user", USERS)
def test_fit_cohort_other_users_have_higher_evidence(fitted: Fitted, user: str) -> None:
    """Windows of another user, who is left out of the others, have higher evidence than the user's later own."""
    own = evidence(fitted, user, fitted.later(user))
    other = USERS[USERS.index(user) - 1]
    foreign = evidence(fitted, user, fitted.later(other), other)
    for channel in range(len(LENGTHS)):
        assert auc([one[channel] for one in own], [one[channel] for one in foreign]) > 0.9


def test_fit_cohort_strangers_have_higher_evidence(fitted: Fitted) -> None:
    """A person whom nobody has seen stands out, too."""
    stranger = fitted.later("zoe")
    for channel in range(len(LENGTHS)):
        own = [one[channel] for user in USERS for one in evidence(fitted, user, fitted.later(user))]
        foreign = [one[channel] for user in USERS for one in evidence(fitted, user, stranger)]
        assert auc(own, foreign) > 0.95


def test_fit_cohort_thresholds_leave_the_budget(fitted: Fitted) -> None:
    """Rehearsed once more, the users have about ``BUDGET`` alarms a month each."""
    unused = Rarity(np.zeros((len(Level), RANKS)))
    runs, months = [], 0.0
    for user in USERS:
        history = fitted.cohort.histories[user]
        for cut in CUTS:
            first = int(cut * len(history))
            learn = history[:first]
            profile = fitted.cohort.profile(user, learn)
            detector = Detector(Algorithm.BOTH, profile, unused, fit_svm(learn), None, window=learn[-WINDOW:])
            runs.append(rehearse(detector, fitted.fit.fusion, history[first:]))
            months += months_of(fitted.times[user][first:])
    thresholds = np.array([channel.threshold for channel in fitted.fit.fusion.channels])
    alarms = sum(unit.alarms_in(np.any(odds > thresholds, axis=1)) for odds in runs)
    assert 0.0 < alarms <= 1.5 * BUDGET * months


def test_fit_cohort_only_so_many_rehearse(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more users ``MOST_REHEARSED`` are drawn by the seed; the others take no part."""
    monkeypatch.setattr(unit, "MOST_REHEARSED", 3)
    met = spied(monkeypatch)
    for seed in (0, 0, 1, 2, 3):
        assert fit_cohort(fitted.cohort, fitted.times, seed) is None
    assert all(len(set(users)) == 3 for users in met)
    assert met[0] == met[1]
    assert len(set(map(tuple, met))) > 1


def test_fit_cohort_user_with_few_actions_takes_no_part(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of a user with fewer than ``FEWEST_ACTIONS`` would hold no window."""
    met = spied(monkeypatch)
    histories = fitted.cohort.histories | {"ann": fitted.cohort.histories["ann"][: FEWEST_ACTIONS - 1]}
    assert fit_cohort(Cohort(histories), fitted.times, 0) is None
    assert [sorted(users) for users in met] == [list(USERS[1:])]


def spied(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return what will hold the users who take part in each fit, from now on without a window."""
    met: list[list[str]] = []

    def spy(_: Cohort, users: list[str], *__: object) -> tuple[Floats, NDArray[np.bool_]]:
        met.append(list(users))
        return np.zeros((0, len(LENGTHS), VIEWS + 1)), np.zeros(0, dtype=bool)

    monkeypatch.setattr(unit, "_labelled", spy)
    return met


def test_fit_cohort_without_windows_is_none() -> None:
    """Users without a full window in any fold cannot be told apart."""
    cohort = Cohort({user: actions(150, seed) for seed, user in enumerate(USERS)})
    assert fit_cohort(cohort, {}, 0) is None


def test_fit_cohort_alike_users_are_none(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whose windows look like each other's in every view have no weights."""
    views = np.ones((80, len(LENGTHS), VIEWS + 1))
    monkeypatch.setattr(unit, "_labelled", lambda *_: (views, np.arange(80) % 2 == 0))
    assert fit_cohort(fitted.cohort, fitted.times, 0) is None


@pytest.mark.parametrize("part", ["svm", "filter"])
def test_fit_cohort_without_a_part(fitted: Fitted, part: str) -> None:
    """Without ``svm`` margins weigh nothing; without ``filter`` suspicion does not reach into the next window."""
    fit = fit_cohort(fitted.cohort, fitted.times, 0, (part,))
    assert fit is not None
    whole = fitted.fit.fusion
    assert whole.weights[-1, VIEWS] > 0.0
    assert bool(fit.fusion.weights[-1, VIEWS]) is (part != "svm")
    assert {channel.stay for channel in whole.channels} == {STAY}
    assert {channel.stay for channel in fit.fusion.channels} == {START if part == "filter" else STAY}


def test_fit_cohort_reports_progress_from_0_to_1(fitted: Fitted) -> None:
    """Progress rises to the end."""
    seen: list[float] = []
    fit_cohort(fitted.cohort, fitted.times, 0, report=seen.append)
    assert seen == sorted(seen)
    assert 0.0 < seen[0] < 0.1
    assert seen[-1] == 1.0


def test_fit_fusion_is_a_log_likelihood_ratio() -> None:
    """Evidence is above 0 where other people's windows are likelier, whatever the share of labels."""
    draw = np.random.default_rng(3)
    labels = np.arange(5000) % 10 == 0
    views = draw.normal(size=(5000, len(LENGTHS), VIEWS + 1))
    views[labels, :, 0] += 2.0
    fusion = fit_fusion(views, labels)
    middle = np.zeros((len(LENGTHS), VIEWS + 1))
    middle[:, 0] = 1.0
    assert fusion.evidence(middle) == pytest.approx([0.0] * len(LENGTHS), abs=0.8)
    middle[:, 0] = 2.0  # two standard deviations apart, one above the middle: 2 nats, sharpened
    assert fusion.evidence(middle) == pytest.approx([2.0 * SHARPEN] * len(LENGTHS), rel=0.3)


def test_fit_fusion_view_of_the_wrong_sign_weighs_nothing() -> None:
    """A view that is lower for other people, and one that never varies, have weight 0."""
    draw = np.random.default_rng(4)
    labels = np.arange(3000) % 3 == 0
    views = draw.normal(size=(3000, len(LENGTHS), VIEWS + 1))
    views[labels, :, 0] += 1.0
    views[labels, :, 1] -= 1.0
    views[:, :, 2] = 5.0
    weights = fit_fusion(views, labels).weights
    assert (weights[:, 0] > 0.0).all()
    assert not weights[:, 1:3].any()


SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS)
def test_renamed_is_consistent_and_unseen(seed: int, lot: int) -> None:
    """Within a window a name becomes the same new name each time; no new name is one that was there before.

    Two names stay two names, levels stay, and there are as many features as before.
    """
    window = actions(WINDOW, seed)
    found = renamed(window, np.random.default_rng(lot))
    known = {one for features in actions(400, seed) for one in features}
    names = {Level.PROGRAM, Level.VALUE}
    became: dict[int, int] = {}
    assert len(found) == len(window)
    for before, after in zip(window, found, strict=True):
        assert [one & 7 for one in before] == [one & 7 for one in after]
        for old, new in zip(before, after, strict=True):
            if old & 7 in names:
                assert became.setdefault(old, new) == new
            assert new == old or new not in known
    assert len(set(became.values())) == len(became)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS)
def test_renamed_keeps_what_no_renamed_name_touches(seed: int, lot: int) -> None:
    """Arguments and kinds stay; an action without a renamed name stays whole, and one with has another row."""
    window = actions(WINDOW, seed)
    for before, after in zip(window, renamed(window, np.random.default_rng(lot)), strict=True):
        changed = {old & 7 for old, new in zip(before, after, strict=True) if old != new}
        assert not changed & {Level.ARGUMENT, Level.KIND}
        assert not changed or changed & {Level.PROGRAM, Level.VALUE}
        if Level.ROW in {one & 7 for one in before}:
            assert (Level.ROW in changed) is bool(changed)
        if Level.PROGRAM in changed and Level.SUBCOMMAND in {one & 7 for one in before}:
            assert Level.SUBCOMMAND in changed


def test_renamed_share_varies() -> None:
    """Between a tenth and seven tenths of the names are new ones, another share each time."""
    window = actions(WINDOW, 5, width=200)
    names = {one for features in window for one in features if one & 7 == Level.PROGRAM}
    draw, shares = np.random.default_rng(6), []
    for _ in range(40):
        left = {one for features in renamed(window, draw) for one in features}
        shares.append(len(names - left) / len(names))
    assert 0.0 < min(shares) < 0.25
    assert 0.5 < max(shares) < 0.9


@pytest.mark.parametrize(
    ("times", "days"),
    [
        ([100, 30 * 86_400], 2),
        ([86_400 * day for day in range(1, 61)], 60),
        ([86_400, 86_401, 2 * 86_400 - 1], 1),
        ([0, 0, 7], 1),
        ([0, 0], 1),
        ([], 1),
    ],
)
def test_months_of_counts_days_with_actions(times: list[int], days: int) -> None:
    """Months are of thirty days on which the user acted; rows without a time say nothing, and there is a day."""
    assert months_of(np.array(times, dtype=np.int64)) == pytest.approx(days / 30)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.0, 40.0), st.integers(1, 5))
def test_thresholds_leave_no_more_than_so_many_alarms(seed: int, alarms: float, runs: int) -> None:
    """However odds run, no more than the alarms asked for are left, and the thresholds are the lowest such."""
    draw = np.random.default_rng(seed)
    walks = [np.cumsum(draw.normal(size=(draw.integers(5, 300), 3)), axis=0) for _ in range(runs)]

    def left(thresholds: list[float]) -> int:
        return sum(unit.alarms_in(np.any(odds > thresholds, axis=1)) for odds in walks)

    found = unit._thresholds(walks, alarms)
    assert left(found) <= alarms
    highest = np.quantile(np.concatenate(walks), 1.0 - unit._HIGHEST_SHARE, axis=0)
    assert (np.array(found) >= highest - 1e-9).all()


def test_alarms_close_to_each_other_are_one() -> None:
    """Steps that alarm within a window of each other are one alarm."""
    close = unit._SAME_ALARM
    assert unit.alarms_in(np.zeros(50, dtype=bool)) == 0
    for apart, alarms in ((1, 1), (close, 1), (close + 1, 2)):
        steps = np.zeros(200, dtype=bool)
        steps[[3, 3 + apart]] = True
        assert unit.alarms_in(steps) == alarms


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(-30.0, 30.0), st.floats(0.1, 8.0))
def test_risk_of_rises_and_alarms_at_the_threshold(seed: int, centre: float, scale: float) -> None:
    """The higher a window, the higher its risk: less than ``ALARM`` short of the threshold, ``ALARM`` at it."""
    risk = risk_of(np.random.default_rng(seed).normal(centre, 3.0, 2000), scale)
    points = np.linspace(-40.0, 60.0, 400)
    scores = [risk.score(float(point)) for point in points]
    assert scores == sorted(scores)
    assert all(score < ALARM for point, score in zip(points, scores, strict=True) if point < 0.0)
    assert risk.score(0.0) == pytest.approx(ALARM)
    assert risk.score(scale * log(10.0)) == pytest.approx(ALARM + 10.0)


def test_risk_of_windows_that_all_alarm() -> None:
    """Without a window below the threshold there is still a risk that rises."""
    risk = risk_of(np.full(50, 4.0))
    assert risk.score(-3.0) < risk.score(0.0) == pytest.approx(ALARM)


def test_cohort_fit_is_a_valid_fusion(fitted: Fitted) -> None:
    """What was fitted can be saved and read again."""
    again = Fusion.from_arrays(fitted.fit.fusion.arrays())
    assert again.channels == fitted.fit.fusion.channels
