from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from anomaly.cohort import Cohort, learned_profile, no_others
from anomaly.detectors.detector import Detector
from anomaly.detectors.fusion import START, STAY, Channel, Filter, Fusion
from anomaly.detectors.interface import STEP, WINDOW, Algorithm
from anomaly.detectors.ocsvm_fit import fit_svm
from anomaly.detectors.profile import LENGTHS, VIEWS, Profile
from anomaly.detectors.rarity import RANKS, Ranks, Rarity, RecentFeatures
from anomaly.features.levels import Features, Level
from anomaly.rehearsal import rehearse, rehearse_ranks
from anomaly.tokens import Tokens
from tests.detectors.drawn import actions

if TYPE_CHECKING:
    from anomaly.detectors.detector import DetectorState

OWN, OTHER = actions(1400, 1), actions(900, 2, first=6)


def fusion_of(bias: float) -> Fusion:
    """Return a fusion whose windows all have this evidence."""
    shape = (len(LENGTHS), VIEWS + 1)
    channels = [Channel(length, bias, 1e6, START, STAY, length == max(LENGTHS)) for length in LENGTHS]
    return Fusion(channels, np.zeros(shape), np.zeros(shape), np.ones(shape))


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Learn one of two users."""
    learn = OWN[:700]
    profile = Cohort({"alice": learn, "bob": OTHER}).profile("alice", learn)
    rarity = Rarity(np.zeros((len(Level), RANKS)))
    return Detector(Algorithm.BOTH, profile, rarity, fit_svm(learn), None, window=learn[-WINDOW:])


class Watched(Detector):
    """Remembers what it learned, and how many actions it had judged by then."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(
            detector.algorithm, detector.profile, detector.rarity, detector.svm, None, window=detector.window
        )
        self.judged = 0
        self.learned_at: list[tuple[int, list[Features], float]] = []

    def judge(self, state: DetectorState, batch: Sequence[Tokens], admit: Sequence[bool]) -> Any:  # noqa: ANN401
        """Count."""
        assert all(admit)
        self.judged += len(batch)
        return super().judge(state, batch, admit)

    def learn(self, state: DetectorState, chunk: Sequence[Tokens], weight: float) -> None:
        """Take note."""
        self.learned_at.append((self.judged, [tokens.features for tokens in chunk], weight))
        super().learn(state, chunk, weight)


def test_rehearse_gives_odds_of_every_step(detector: Detector) -> None:
    """There are odds by channel for each step: after the first action, and after each ``STEP`` actions."""
    odds = rehearse(detector, fusion_of(-9.0), OWN[700:])
    assert odds.shape == (1 + 700 // STEP, len(LENGTHS))
    filtered = Filter(fusion_of(-9.0))
    assert odds.tolist() == [list(filtered.step([-9.0] * len(LENGTHS)).odds) for _ in odds]


def test_rehearse_learns_what_it_has_judged(detector: Detector) -> None:
    """Each hundred actions is learned whole, in order, and not before it and those shortly after were judged."""
    watched = Watched(detector)
    rehearse(watched, fusion_of(-9.0), OWN[700:])
    assert len(watched.learned_at) >= 5
    for number, (judged, features, weight) in enumerate(watched.learned_at):
        assert features == OWN[700 + WINDOW * number : 700 + WINDOW * (number + 1)]
        assert WINDOW * (number + 1) <= judged <= WINDOW * (number + 3)
        assert weight > 0.99


def test_rehearse_does_not_learn_what_is_doubtful(detector: Detector) -> None:
    """Windows that speak for somebody else are not learned with full weight, and do not stay in the detector."""
    watched = Watched(detector)
    rehearse(watched, fusion_of(9.0), OWN[700:])
    assert all(weight < 0.5 for _, _, weight in watched.learned_at)


def test_rehearse_leaves_the_detector_as_it_was(detector: Detector) -> None:
    """What is learned on the way is in a state of its own: a second rehearsal gives the same."""
    before = {name: array.copy() for name, array in detector.arrays().items()}
    first = rehearse(detector, fusion_of(-9.0), OWN[700:])
    assert rehearse(detector, fusion_of(-9.0), OWN[700:]).tobytes() == first.tobytes()
    assert all(np.array_equal(array, before[name]) for name, array in detector.arrays().items())


def test_rehearse_of_nothing_is_empty(detector: Detector) -> None:
    """A stretch without actions has no steps."""
    assert rehearse(detector, fusion_of(0.0), []).shape == (0, len(LENGTHS))


@pytest.fixture(scope="module")
def profile() -> Profile:
    """Learn a user alone."""
    nobody = no_others()
    cohort = Cohort({"alice": OWN})
    others = nobody.others._replace(
        counts=np.zeros(len(cohort.keys)),
        people=np.zeros(len(cohort.keys)),
        sequences=np.zeros(len(cohort.sequence_keys)),
    )
    return learned_profile(cohort.keys, cohort.sequence_keys, others, nobody.escape, OWN[:700])


def test_rehearse_ranks_are_of_actions_that_were_not_learned(profile: Profile) -> None:
    """A hundred actions are ranked by what came before, and then learned."""
    found = rehearse_ranks(profile, OWN[:700], OWN[700:1000])
    state, recent = profile.start(), RecentFeatures(OWN[600:700])
    expected = []
    for begin in range(700, 1000, WINDOW):
        ranks = Ranks(profile, state, OWN[begin : begin + WINDOW])
        for number, features in enumerate(OWN[begin : begin + WINDOW]):
            expected.append(ranks.of(number, recent.counts))
            recent.push(features)
        profile.learn(state, OWN[begin : begin + WINDOW], 1.0)
    assert found == expected
    assert len(found) == 300


def test_rehearse_ranks_of_later_actions_do_not_matter(profile: Profile) -> None:
    """An action's rank does not depend on what is done after it."""
    assert rehearse_ranks(profile, OWN[:700], OWN[700:950])[:200] == rehearse_ranks(
        profile, OWN[:700], OWN[700:900]
    )
