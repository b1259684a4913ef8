from __future__ import annotations

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.cohort import Cohort, no_others
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import LEVELS, Profile, ProfileState
from anomaly.detectors.rarity import RANKS, Ranks, Rarity, RecentFeatures
from anomaly.features.levels import Features, Level
from tests.detectors.drawn import actions, feature, program

RANKED = st.lists(st.dictionaries(st.integers(0, LEVELS - 1), st.integers(0, RANKS - 1), max_size=4), max_size=40)
UNKNOWN, NEW, ONCE = 0, 1, 2


def ranked(profile: Profile, state: ProfileState, one: Features, recent: RecentFeatures | None = None) -> int:
    """Return the rank of an action's programs."""
    counts = {} if recent is None else recent.counts
    return Ranks(profile, state, [one]).of(0, counts)[Level.PROGRAM]


def known(*often: int) -> tuple[Profile, ProfileState]:
    """Return a user who ran program 0, 1, 2... so often, beside another who runs 50 and 51."""
    history = [program(number) for number, count in enumerate(often) for _ in range(count)]
    cohort = Cohort({"alice": history, "bob": [program(50), program(51)] * 100})
    profile = cohort.profile("alice", history)
    return profile, profile.start()


@given(RANKED)
def test_fit_bits_do_not_increase_with_ranks(ranks: list[dict[int, int]]) -> None:
    """The rarer a rank, the more it is worth; the most frequent one is worth nothing, and no bits are negative."""
    bits = Rarity.fit(ranks).bits
    assert bits.shape == (LEVELS, RANKS)
    assert (np.diff(bits, axis=1) <= 0.0).all()
    assert (bits[:, -1] == 0.0).all()
    assert (bits >= 0.0).all()


@given(RANKED)
def test_fit_bits_are_the_share_that_ranks_so_low(ranks: list[dict[int, int]]) -> None:
    """A rank is worth -log2 of the share of actions that rank so low or lower, half an action added."""
    bits = Rarity.fit(ranks).bits
    for level in range(LEVELS):
        found = [one[level] for one in ranks if level in one]
        for rank in range(RANKS):
            so_low = sum(one <= rank for one in found)
            assert bits[level, rank] == pytest.approx(-log2((so_low + 0.5) / (len(found) + 0.5)), abs=1e-12)


@given(RANKED)
def test_surprise_is_that_of_the_most_surprising_level(ranks: list[dict[int, int]]) -> None:
    """Levels are not added up, and an action without features surprises nobody."""
    rarity = Rarity.fit(ranks)
    for one in ranks:
        assert rarity.surprise(one) == max([rarity.bits[level, rank] for level, rank in one.items()], default=0.0)
    assert rarity.surprise({}) == 0.0


def test_rarity_of_saved_bits_is_the_same() -> None:
    """The bits are all there is to save."""
    rarity = Rarity.fit([{0: 1}] * 3 + [{0: 5}] * 97)
    assert Rarity(rarity.bits.copy()).surprise({0: 1}) == rarity.surprise({0: 1}) > 4.0


HOSTILE: dict[str, NDArray[np.generic]] = {
    "single precision": np.zeros((LEVELS, RANKS), dtype=np.float32),
    "text": np.full((LEVELS, RANKS), "a"),
    "objects": np.full((LEVELS, RANKS), None),
    "too few ranks": np.zeros((LEVELS, RANKS - 1)),
    "no dimension": np.array(0.0),
    "not a number": np.full((LEVELS, RANKS), np.nan),
    "infinite": np.full((LEVELS, RANKS), np.inf),
    "negative": np.full((LEVELS, RANKS), -1.0),
    "increasing": np.tile(np.arange(float(RANKS)), (LEVELS, 1)),
}


@pytest.mark.parametrize("bits", HOSTILE.values(), ids=HOSTILE.keys())
def test_rarity_hostile_bits_raise_value_error(bits: NDArray[np.float64]) -> None:
    """Bits of another type or shape, out of order, or no numbers, are refused."""
    with pytest.raises(ValueError, match="the surprise of ranks is invalid"):
        Rarity(bits)


def test_ranks_follow_how_often_the_user_did_it() -> None:
    """Ranks are: new to everybody, new to the user, once, 2 or 3 times, 4 to 7 times, and so on to the last."""
    profile, state = known(1, 2, 3, 4, 7, 8, 2**15)
    assert [ranked(profile, state, program(number)) for number in range(7)] == [2, 3, 3, 4, 4, 5, RANKS - 1]
    assert ranked(profile, state, program(50)) == NEW
    assert ranked(profile, state, program(99)) == UNKNOWN


def test_ranks_rarest_feature_of_a_level_counts() -> None:
    """An action with a usual program and a new one ranks as new."""
    profile, state = known(100)
    both = (feature(Level.PROGRAM, 0), feature(Level.PROGRAM, 99))
    assert ranked(profile, state, both) == UNKNOWN
    assert ranked(profile, state, both[::-1]) == UNKNOWN


def test_ranks_fresh_features_count_as_known_ones() -> None:
    """What was learned since training ranks by its count; a fraction of a time ranks as once."""
    profile, state = known(10)
    profile.learn(state, [program(99)] * 5, 1.0)
    profile.learn(state, [program(50), program(98)], 0.25)
    assert [ranked(profile, state, program(number)) for number in (99, 50, 98)] == [4, ONCE, ONCE]


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_ranks_of_a_batch_are_those_of_its_actions(seed: int, count: int) -> None:
    """However actions are cut into batches, they rank the same."""
    profile, state = known(3, 5, 9)
    profile.learn(state, actions(50, seed), 1.0)
    batch = actions(count, seed + 1)
    whole = Ranks(profile, state, batch)
    for number, one in enumerate(batch):
        assert whole.of(number, {}) == Ranks(profile, state, [one]).of(0, {})


@pytest.mark.parametrize("profile", [no_others(), known(500)[0]], ids=["empty", "known"])
def test_ranks_feature_of_the_window_is_not_new(profile: Profile) -> None:
    """A program among the last hundred actions is not new, and ranks the higher the more of them have it."""
    state, recent, found = profile.start(), RecentFeatures(), []
    for _ in range(WINDOW):
        found.append(ranked(profile, state, program(99), recent))
        recent.push(program(99))
    assert found[0] == UNKNOWN
    assert min(found[1:]) >= ONCE
    assert found == sorted(found)
    for _ in range(WINDOW):
        recent.push(program(0))
    assert ranked(profile, state, program(99), recent) == UNKNOWN


def test_ranks_feature_of_half_the_window_is_as_usual_as_a_quarter_of_all() -> None:
    """A feature of a share of the window's actions ranks as one of half that share of all the user's actions."""
    profile, state = known(512)
    recent = RecentFeatures([program(99)] * 50 + [program(0)] * 50)
    assert ranked(profile, state, program(99), recent) == 1 + (512 // 4).bit_length()


@given(st.lists(st.lists(st.integers(0, 5), max_size=4).map(tuple), max_size=300))
def test_recent_features_are_those_of_the_last_hundred(pushed: list[Features]) -> None:
    """Counts are those of the last WINDOW actions, however many came before, and none is zero."""
    recent = RecentFeatures(pushed[:150])
    for one in pushed[150:]:
        recent.push(one)
    last = pushed[-WINDOW:]
    assert list(recent.window) == last
    assert recent.counts == Counter(one for features in last for one in features)
