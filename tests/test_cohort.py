from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly import cohort as unit
from anomaly.cohort import (
    LEAST_ESCAPE,
    MOST_ESCAPE,
    Cohort,
    bounded,
    learned_profile,
    no_others,
    with_history,
)
from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import COMPARED, LENGTHS, LEVELS, Others, Profile, pairs_and_triples
from anomaly.features.levels import Features, Level
from tests.detectors.drawn import actions, feature, program

USERS = ("alice", "bob", "carol", "dave")


def histories_of(seed: int, count: int = 60) -> dict[str, list[Features]]:
    """Return what some users did; each shares tools with the next."""
    return {user: actions(count, seed + number, first=4 * number) for number, user in enumerate(USERS)}


def counted(keys: NDArray[np.uint64], table: Counter[int]) -> list[float]:
    """Return the counts of keys."""
    return [float(table[int(key)]) for key in keys]


def features_of(history: list[Features]) -> Counter[int]:
    """Return how often each feature is in a history."""
    return Counter(one for features in history for one in features)


def pairs_of(history: list[Features]) -> Counter[int]:
    """Return how often each program follows another, by the hash of the two."""
    programs = [one for features in history for one in features if one & 7 == Level.PROGRAM]
    return Counter(int(pairs_and_triples(np.array(pair, dtype=np.uint64))[0][0]) for pair in pairwise(programs))


def assert_totals(others: Others, cohort: Cohort, people: list[list[Features]]) -> None:
    """Check that others are the totals of some people."""
    counts = sum(map(features_of, people), Counter[int]())
    owners = Counter(one for history in people for one in features_of(history))
    assert others.counts.tolist() == counted(cohort.keys, counts)
    assert others.people.tolist() == counted(cohort.keys, owners)
    assert others.sequences.tolist() == counted(cohort.sequence_keys, sum(map(pairs_of, people), Counter[int]()))
    for level in range(LEVELS):
        assert others.totals[level] == sum(count for one, count in counts.items() if one & 7 == level)
        assert others.people_totals[level] == sum(count for one, count in owners.items() if one & 7 == level)
        assert others.sizes[level] == sum(one & 7 == level for one in counts)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(USERS), unique=True, max_size=len(USERS)))
def test_others_are_the_totals_of_those_not_left_out(seed: int, left_out: list[str]) -> None:
    """Counts, people and pairs are those of all users but the ones left out, whoever was asked for before."""
    histories = histories_of(seed)
    cohort = Cohort(histories)
    for out in (left_out, left_out[:1], left_out):
        assert_totals(cohort.others(*out), cohort, [histories[user] for user in USERS if user not in out])


def test_others_without_the_only_owner_do_not_know_the_feature() -> None:
    """What one user alone does has no count and no people among the others of that user."""
    cohort = Cohort({"alice": [program(1)] * 100, "bob": [program(2)] * 100})
    others = cohort.others("alice")
    place = cohort.keys.searchsorted(feature(Level.PROGRAM, 1))
    assert (others.counts[place], others.people[place], others.sizes[Level.PROGRAM]) == (0.0, 0.0, 1.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_profile_counts_own_history_and_the_others(seed: int) -> None:
    """A user's profile has the counts of the history it is given, and of everybody else's."""
    histories = histories_of(seed)
    cohort = Cohort(histories)
    profile = cohort.profile("bob", histories["bob"][:30])
    assert profile.own.tolist() == counted(cohort.keys, features_of(histories["bob"][:30]))
    assert_totals(profile.others, cohort, [histories[user] for user in USERS if user != "bob"])


def test_escape_is_the_share_of_features_that_nobody_else_has() -> None:
    """Users whose programs are all their own have the highest rate, users who do the same have the lowest."""
    same = Cohort({user: [program(number % 20) for number in range(400)] for user in USERS})
    apart = Cohort({user: [program(100 * n + i % 20) for i in range(400)] for n, user in enumerate(USERS)})
    assert same.escape.shape == (len(LENGTHS), LEVELS)
    assert (same.escape[:, Level.PROGRAM] == LEAST_ESCAPE).all()
    assert (apart.escape[:, Level.PROGRAM] == MOST_ESCAPE).all()
    assert (apart.escape[:, Level.KIND] < 0.2).all()


def test_escape_of_short_histories_is_a_half() -> None:
    """Where no window is full, half of what an unknown person does is taken for new."""
    cohort = Cohort({"alice": [program(1)] * 20, "bob": [program(2)] * 20})
    assert cohort.escape[1:].tolist() == np.full((2, LEVELS), 0.5).tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 250))
def test_learned_profile_equals_learning_windows_one_by_one(seed: int, count: int) -> None:
    """Training counts a history as adaptation does, a hundred actions at a time."""
    history = actions(count, seed)
    cohort = Cohort({"alice": history, "bob": actions(50, seed + 1)})
    others = cohort.others("alice")
    profile = learned_profile(cohort.keys, cohort.sequence_keys, others, cohort.escape, history)
    nothing = learned_profile(cohort.keys, cohort.sequence_keys, others, cohort.escape, [])
    state = nothing.start()
    for begin in range(0, count, WINDOW):
        nothing.learn(state, history[begin : begin + WINDOW], 1.0)
    assert profile.own.tolist() == state.own.tolist()
    assert profile.own_sequences.tolist() == state.sequences.tolist()
    assert profile.rate.tolist() == state.rate.tolist()


def by_key(profile: Profile, values: NDArray[np.float64]) -> dict[int, float]:
    """Return what is not zero, by key."""
    return {int(key): float(value) for key, value in zip(profile.keys, values, strict=True) if value}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_with_history_keeps_others_and_counts_own(seed: int) -> None:
    """Of another history the user's counts are that history's; those of others, and their totals, stay."""
    histories = histories_of(seed)
    before = bounded(Cohort(histories).profile("alice", histories["alice"]))
    longer = [*histories["alice"], *actions(70, seed + 9, first=50)]
    after = with_history(before, longer)
    assert by_key(after, after.own) == features_of(longer)
    assert by_key(after, after.others.counts) == by_key(before, before.others.counts)
    assert by_key(after, after.others.people) == by_key(before, before.others.people)
    for name in ("totals", "people_totals", "sizes"):
        assert getattr(after.others, name).tolist() == getattr(before.others, name).tolist()
    assert after.escape.tolist() == before.escape.tolist()


def test_with_history_known_rows_count_as_own() -> None:
    """Rows of a query's first run are the user's own, and are not part of any sequence or rate."""
    history, known = [program(1), program(2)] * 50, [program(1), program(7), program(7)]
    plain, found = with_history(no_others(), history), with_history(no_others(), history, known)
    assert by_key(found, found.own) == features_of([*history, *known])
    assert found.sequence_keys.tolist() == plain.sequence_keys.tolist()
    assert found.own_sequences.tolist() == plain.own_sequences.tolist()
    assert found.rate.tolist() == plain.rate.tolist()
    window, new = [program(7)] * 30, 3 + len(COMPARED)
    assert (found.views(found.start(), window)[:, new] <= 0.0).all()
    assert (plain.views(plain.start(), window)[:, new] > 0.0).all()


def test_with_history_of_nothing_is_a_profile() -> None:
    """Neither a history nor others are needed."""
    found = with_history(no_others(), [])
    assert np.isfinite(found.views(found.start(), [program(1)])).all()
    assert not len(found.keys)


def test_bounded_keeps_the_users_own_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's most frequent features are kept, then those of others that most people have."""
    monkeypatch.setattr(unit, "MOST_OWN", 5)
    monkeypatch.setattr(unit, "MOST_OTHERS", 3)
    own = [program(number) for number in range(10) for _ in range(20 - number)]
    crowd = [[program(50 + number) for number in range(5 - who)] for who in range(5)]
    rare = [program(90)] * 500  # often, but by one person
    histories = {"alice": own, **{f"user{who}": history for who, history in enumerate(crowd)}, "bob": rare}
    whole = Cohort(histories).profile("alice", own)
    found = bounded(whole)
    kept = {one for one in map(int, found.keys) if one & 7 == Level.PROGRAM}
    # Of the kinds there is one, which all have.
    expected = {feature(Level.PROGRAM, number) for number in (0, 1, 2, 3, 50, 51, 52)}
    assert kept == expected
    assert len(found.sequence_keys) <= 8
    assert found.others.totals.tolist() == whole.others.totals.tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_bounded_of_few_features_has_the_same_views(seed: int) -> None:
    """A profile within its bounds loses only keys that nobody has."""
    histories = histories_of(seed)
    profile = Cohort(histories).profile("alice", histories["alice"])
    found, window = bounded(profile), actions(100, seed + 5, first=3)
    assert found.views(found.start(), window).tobytes() == profile.views(profile.start(), window).tobytes()
    arrays: dict[str, NDArray[Any]] = found.arrays()
    assert Profile.from_arrays(arrays).own.tolist() == found.own.tolist()
