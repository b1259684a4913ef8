from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf, lgamma, log, sqrt
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomaly.detectors import profile as unit
from anomaly.detectors.profile import (
    COMPARED,
    FORGET,
    LENGTHS,
    LEVELS,
    MOST_KNOWN,
    MOST_NEW,
    MOST_RATIO,
    OTHERS_STRENGTH,
    OWN_STRENGTH,
    PAIR_PRIOR,
    PRIOR,
    RATE_PRIOR,
    SMOOTH,
    SMOOTH_PEOPLE,
    TRIPLE_PRIOR,
    VIEWS,
    Others,
    Profile,
    ProfileState,
    look_up,
    pairs_and_triples,
    programs_of,
    sequences_of,
)
from anomaly.features.levels import Features, Level
from tests.detectors.drawn import Damage, actions, damaged, damages, feature, program

Floats = NDArray[np.float64]
Pair = tuple[int, int]
Triple = tuple[int, int, int]

WIDTH = len(COMPARED)
NEW = 3 + WIDTH + COMPARED.index(Level.PROGRAM)
"""The view of new programs."""
TYPES = 3 + COMPARED.index(Level.PROGRAM)
NOBODY = 3 + 2 * WIDTH + COMPARED.index(Level.PROGRAM)


class Theirs(NamedTuple):
    """Counts of what others do, as a plain table."""

    counts: Counter[int]
    people: Counter[int]
    pairs: Counter[Pair]

    @classmethod
    def of(cls, histories: Sequence[Sequence[Features]]) -> Theirs:
        """Return the counts of some people."""
        flats = [[one for features in history for one in features] for history in histories]
        return cls(
            Counter(one for flat in flats for one in flat),
            Counter(one for flat in flats for one in set(flat)),
            Counter(pair for history in histories for pair in pairwise(programs(history))),
        )

    def others(self, profile: Profile) -> Others:
        """Return the same by the keys of a profile."""
        return others_of(self, profile.keys, profile.sequence_keys)


class Slow:
    """Profile as the documentation has it, one feature after another."""

    def __init__(self, theirs: Theirs, escape: Floats) -> None:
        self.theirs, self.escape = theirs, escape
        self.own: defaultdict[int, float] = defaultdict(float)
        self.pairs: defaultdict[Pair, float] = defaultdict(float)
        self.triples: defaultdict[Triple, float] = defaultdict(float)
        self.rate = np.zeros((LEVELS, 2))

    def learn(self, chunk: Sequence[Features], weight: float) -> None:
        """Count a chunk."""
        flat = [one for features in chunk for one in features]
        if weight > 0.5:
            self.rate *= FORGET
            for one in set(flat):
                self.rate[one & 7] += [self.own[one] == 0.0 and self.theirs.counts[one] == 0, 1]
        ran = programs(chunk)
        tables: list[tuple[defaultdict[Any, float], Iterable[Any]]] = [
            (self.own, flat),
            (self.pairs, pairwise(ran)),
            (self.triples, zip(ran, ran[1:], ran[2:], strict=False)),
        ]
        for table, found in tables:
            for one in found:
                table[one] += weight

    def views(self, window: Sequence[Features], theirs: Theirs | None = None) -> Floats:
        """Return the views of a window."""
        theirs = self.theirs if theirs is None else theirs
        totals = [by_level(table) for table in (theirs.counts, theirs.people, self.own)]
        sizes = Counter(one & 7 for one, count in theirs.counts.items() if count)

        def likely(one: int) -> float:
            level = one & 7
            return (theirs.counts[one] + SMOOTH) / (totals[0][level] + SMOOTH * max(sizes[level], 1))

        def usual(one: int) -> float:
            return (self.own[one] + PRIOR * likely(one)) / (totals[2][one & 7] + PRIOR)

        def them(first: int, second: int) -> float:
            return (theirs.pairs[first, second] + PAIR_PRIOR * likely(second)) / (
                theirs.counts[first] + PAIR_PRIOR
            )

        def mine(first: int, second: int) -> float:
            prior = (usual(second) + them(first, second)) / 2.0
            return (self.pairs[first, second] + PAIR_PRIOR * prior) / (self.own[first] + PAIR_PRIOR)

        def third(one: Triple) -> float:
            return (self.triples[one] + TRIPLE_PRIOR * mine(*one[1:])) / (self.pairs[one[:2]] + TRIPLE_PRIOR)

        def of_window(part: Sequence[Features], escape: Floats) -> list[float]:
            ran = programs(part)
            size = max(len(ran), 1)
            evenly = polya(ran, likely, OTHERS_STRENGTH) - polya(ran, usual, OWN_STRENGTH)
            pairs = sum(log(them(*one) / mine(*one)) for one in set(pairwise(ran)))
            triples = sum(
                log(them(*one[1:]) / third(one)) for one in set(zip(ran, ran[1:], ran[2:], strict=False))
            )
            found: list[list[float]] = [[], [], []]
            for level in COMPARED:
                distinct = {one for features in part for one in features if one & 7 == level}
                new = {one for one in distinct if self.own[one] == 0.0 and theirs.counts[one] == 0}
                share = escape[level]
                rate = (self.rate[level, 0] + RATE_PRIOR * share / 4.0) / (self.rate[level, 1] + RATE_PRIOR)
                rate = min(rate, 0.95)
                hit = min(max(log(share / rate), 0.0), MOST_NEW)
                stays = log((1.0 - share) / (1.0 - rate))
                people = max(totals[1][level] + SMOOTH_PEOPLE * sizes[level], SMOOTH_PEOPLE)
                types, nobody = 0.0, 0.0
                for one in distinct:
                    unknown = log((theirs.people[one] + SMOOTH_PEOPLE) / (people * usual(one))) + stays
                    types += 1.0 if one in new else log(likely(one) / usual(one))
                    nobody += hit if one in new else min(max(unknown, -MOST_RATIO), MOST_RATIO)
                miss = min(max(stays, -MOST_KNOWN), 0.0)
                several = max(len(distinct), 1)
                found[0].append(types / several)
                found[1].append((len(new) * hit + (len(distinct) - len(new)) * miss) / sqrt(several))
                found[2].append(nobody / several)
            return [evenly / size, pairs / size, triples / size, *found[0], *found[1], *found[2]]

        return np.array([of_window(window[-length:], self.escape[row]) for row, length in enumerate(LENGTHS)])


def programs(history: Iterable[Features]) -> list[int]:
    """Return the programs of actions, in order."""
    return [one for features in history for one in features if one & 7 == Level.PROGRAM]


def by_level(counts: Mapping[int, float]) -> list[float]:
    """Return the sum of counts of each level."""
    return [sum(count for one, count in counts.items() if one & 7 == level) for level in range(LEVELS)]


def polya(ran: Sequence[int], probability: Callable[[int], float], strength: float) -> float:
    """Return the log-probability of programs by a Dirichlet-multinomial."""
    terms = [
        lgamma(strength * probability(one) + count) - lgamma(strength * probability(one))
        for one, count in Counter(ran).items()
    ]
    return lgamma(strength) - lgamma(strength + len(ran)) + sum(terms)


def others_of(theirs: Theirs, keys: NDArray[np.uint64], sequence_keys: NDArray[np.uint64]) -> Others:
    """Return what others do by some keys."""
    sequences = np.zeros(len(sequence_keys))
    for pair, count in theirs.pairs.items():
        (key,), _ = pairs_and_triples(np.array(pair, dtype=np.uint64))
        sequences[np.searchsorted(sequence_keys, key)] = count
    counts, people = (np.array([table[int(key)] for key in keys], dtype=np.float64) for table in theirs[:2])
    return Others.of(keys, counts, people, sequences)


def flat_of(histories: Iterable[Sequence[Features]]) -> NDArray[np.uint64]:
    """Return the features of histories, one after the other."""
    return np.array([one for history in histories for features in history for one in features], dtype=np.uint64)


def escapes(seed: int) -> Floats:
    """Return shares of features that are new to everybody."""
    return np.random.default_rng(seed).uniform(0.02, 0.95, (len(LENGTHS), LEVELS))


def blank(theirs: Theirs, known: Sequence[Sequence[Features]], escape: Floats) -> Profile:
    """Return the profile of a user who did nothing yet, by the keys of some histories."""
    keys = np.unique(flat_of(known))
    parts = [sequences_of(programs_of(flat_of([history]))) for history in known]
    sequence_keys = np.unique(np.concatenate([*parts, np.zeros(0, dtype=np.uint64)]))
    own, sequences = np.zeros(len(keys)), np.zeros(len(sequence_keys))
    others = others_of(theirs, keys, sequence_keys)
    return Profile(keys, own, sequence_keys, sequences, np.zeros((LEVELS, 2)), others, escape)


def empty() -> Profile:
    """Return a profile without keys, counts and others."""
    return blank(Theirs.of([]), [], np.full((len(LENGTHS), LEVELS), 0.5))


def taught(profile: Profile, chunks: Sequence[Sequence[Features]], weight: float = 1.0) -> ProfileState:
    """Return a state that learned chunks."""
    state = profile.start()
    for chunk in chunks:
        profile.learn(state, chunk, weight)
    return state


def common() -> tuple[Profile, ProfileState]:
    """Return a user who runs programs 0 to 3, and others who run 0 to 7."""
    histories = [[program(number % 8) for number in range(400)] for _ in range(5)]
    theirs = Theirs.of(histories)
    profile = blank(theirs, histories, np.full((len(LENGTHS), LEVELS), 0.5))
    return profile, taught(profile, [[program(number % 4) for number in range(100)]] * 5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 7, 15, 29, 30, 31, 99, 100]), st.data())
def test_views_of_random_actions_equal_slow_computation(seed: int, size: int, data: st.DataObject) -> None:
    """Views are what the documentation says, for any weights, windows of any size, and others left out."""
    histories = [actions(60, seed + number, first=3 * number) for number in range(4)]
    theirs, escape = Theirs.of(histories), escapes(seed)
    own = actions(250, seed + 9, first=4)
    profile = blank(theirs, [*histories, own[:100]], escape)  # the rest of the user's features are fresh
    state, slow = profile.start(), Slow(theirs, escape)
    for begin in range(0, 250, 50):
        weight = data.draw(st.sampled_from([0.0, 0.25, 0.7, 1.0]))
        profile.learn(state, own[begin : begin + 50], weight)
        if weight:
            slow.learn(own[begin : begin + 50], weight)
    window = [*actions(60, seed + 20, first=data.draw(st.integers(0, 30))), *own[-40:]][100 - size :]
    fewer = Theirs.of(histories[1:])
    np.testing.assert_allclose(profile.views(state, window), slow.views(window), rtol=1e-9, atol=1e-9)
    found = profile.views(state, window, fewer.others(profile))
    np.testing.assert_allclose(found, slow.views(window, fewer), rtol=1e-9, atol=1e-9)


def test_views_common_program_is_weaker_evidence_than_unknown_one() -> None:
    """A program that is new to the user raises the view of new programs only if nobody else has it."""
    profile, state = common()
    own = [program(number % 4) for number in range(100)]
    quiet = profile.views(state, own)
    known_to_others = profile.views(state, [*own[:-1], program(6)])
    known_to_nobody = profile.views(state, [*own[:-1], program(99)])
    assert (known_to_nobody[:, NEW] > known_to_others[:, NEW] + 0.5).all()
    assert known_to_others[:, NEW] == pytest.approx(quiet[:, NEW], abs=0.6)
    assert (known_to_others[:, TYPES] > quiet[:, TYPES]).all()
    assert (known_to_nobody[:, NOBODY] > quiet[:, NOBODY]).all()


def test_views_repeated_new_feature_counts_once() -> None:
    """A new program that runs ten times is no more new, and no more unlike the user, than one that runs once."""
    profile, state = common()
    own = [program(number % 4) for number in range(100)]
    once = profile.views(state, [*own[:-1], program(99)])
    often = profile.views(state, [*own[:-10], *[program(99)] * 10])
    assert often[:, 3:].tolist() == once[:, 3:].tolist()
    several = profile.views(state, [*own[:-10], *[program(99 + number) for number in range(10)]])
    assert (several[:, NEW] > once[:, NEW]).all()


@pytest.mark.parametrize("count", [1, 4, 15])
def test_views_new_features_are_bounded(count: int) -> None:
    """One new program is evidence of MOST_NEW nats at most, however steady the user is."""
    steady = [program(number % 20) for number in range(100)]
    profile = blank(Theirs.of([steady]), [steady], np.full((len(LENGTHS), LEVELS), 0.95))
    state = taught(profile, [steady] * 200)
    window = [program(50 + number) for number in range(count)]
    assert profile.views(state, window)[0, NEW] == pytest.approx(MOST_NEW * sqrt(count), rel=1e-12)
    assert profile.views(state, window)[0, NOBODY] == pytest.approx(MOST_NEW, rel=1e-12)


def test_views_user_with_new_features_all_day_gets_less_evidence() -> None:
    """A new program speaks less against a user who brings new ones all the time."""
    profile, steady = common()
    restless = taught(
        profile, [[program(1000 + 100 * turn + number) for number in range(100)] for turn in range(5)]
    )
    window = [program(99)] * 30
    assert profile.views(restless, window)[1, NEW] < profile.views(steady, window)[1, NEW]


@pytest.mark.parametrize("window", [[], [()], [(feature(Level.KIND, 0),)], [program(1)], [program(1)] * 2])
def test_views_of_next_to_nothing_are_finite(window: list[Features]) -> None:
    """Windows without actions, features or programs have views, also by a profile that knows nothing."""
    for profile, state in (common(), (empty(), empty().start()), (empty(), taught(empty(), [window, []]))):
        views = profile.views(state, window)
        assert views.shape == (len(LENGTHS), VIEWS)
        assert np.isfinite(views).all()


def test_views_of_short_window_are_the_same_at_each_length() -> None:
    """A window shorter than the lengths is looked at as a whole; the rates of new features alone differ."""
    profile, state = common()
    views = profile.views(state, [program(number % 3) for number in range(9)])
    assert (views == views[0]).all()
    longer = profile.views(state, [program(7)] * 80 + [program(number % 3) for number in range(15)])
    assert longer[0].tolist() != longer[2].tolist()
    assert longer[0, :3].tolist() == profile.views(state, [program(n % 3) for n in range(15)])[0, :3].tolist()


def test_views_without_a_person_forget_what_only_they_did() -> None:
    """With its only owner left out of the others, a program is new to everybody."""
    histories = [[program(number % 4) for number in range(100)], [program(20)] * 100]
    profile = blank(Theirs.of(histories), histories, np.full((len(LENGTHS), LEVELS), 0.5))
    state = taught(profile, [histories[0]])
    others = Theirs.of(histories[:1]).others(profile)
    window = [program(20)] * 30
    assert (profile.views(state, window, others)[:, NEW] > 0.0).all()
    assert (profile.views(state, window)[:, NEW] <= 0.0).all()


def test_views_order_of_programs_in_one_action_counts() -> None:
    """A pipe that the user runs is less surprising than the same programs in the other order."""
    there, back = ((feature(Level.PROGRAM, one), feature(Level.PROGRAM, 1 - one)) for one in (0, 1))
    histories = [[program(number % 2) for number in range(100)]]
    profile = blank(Theirs.of(histories), histories, np.full((len(LENGTHS), LEVELS), 0.5))
    state = taught(profile, [[there]] * 100)
    assert (profile.views(state, [there])[:, 1] < profile.views(state, [back])[:, 1]).all()


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_learn_weight_zero_changes_nothing(weight: float) -> None:
    """A chunk of weight zero, and an empty one, leave no trace."""
    profile, state = common()
    before = saved(profile, state)
    profile.learn(state, actions(100, 1, first=500), weight)
    profile.learn(state, [], 1.0)
    assert saved(profile, state) == before


def test_learn_weights_add_up() -> None:
    """Learned by a quarter and then by three quarters, actions have the counts of learned once."""
    profile, chunk = empty(), actions(100, 2)
    state = profile.start()
    profile.learn(state, chunk, 0.25)
    profile.learn(state, chunk, 0.75)
    once = taught(profile, [chunk])
    assert (state.fresh, state.fresh_sequences) == (once.fresh, once.fresh_sequences)
    assert state.totals.tolist() == once.totals.tolist()


def test_learn_leaves_profile_and_other_states_alone() -> None:
    """What one state learns, neither the profile nor another state has."""
    profile, state = common()
    arrays = {name: array.tolist() for name, array in profile.arrays().items()}
    fresh, twin = profile.start(), profile.resume(profile.learned(state))
    before = saved(profile, twin)
    profile.learn(state, [program(2), program(77)] * 50, 1.0)
    assert {name: array.tolist() for name, array in profile.arrays().items()} == arrays
    assert not fresh.own.any()
    assert saved(profile, twin) == before


def test_learn_doubtful_chunk_does_not_move_rate_of_new_features() -> None:
    """What is learned by half or less counts, and says nothing of how often the user tries new things."""
    profile, state = common()
    before = state.rate.tolist()
    profile.learn(state, [program(500 + number) for number in range(100)], 0.5)
    assert state.rate.tolist() == before
    assert state.fresh[program(500)[0]] == 0.5
    profile.learn(state, [program(700 + number) for number in range(100)], 0.51)
    assert state.rate[Level.PROGRAM, 0] > before[Level.PROGRAM][0]


def test_learn_fresh_features_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of features that training did not know, the last MOST_FRESH are remembered, also in a file."""
    monkeypatch.setattr(unit, "MOST_FRESH", 40)
    profile = empty()
    state = taught(profile, [[program(number)] for number in range(100)])
    assert len(state.fresh) == 40
    assert program(99)[0] in state.fresh
    assert program(1)[0] not in state.fresh
    profile.learn(state, [program(number) for number in range(100, 300)], 1.0)
    assert len(state.fresh) == len(state.fresh_sequences) == 40
    assert saved(profile, profile.resume(profile.learned(state))) == saved(profile, state)


def saved(profile: Profile, state: ProfileState) -> dict[str, tuple[str, bytes]]:
    """Return all that a state has learned, to the bit."""
    return {name: (str(array.dtype), array.tobytes()) for name, array in profile.learned(state).items()}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.integers(0, 8))
def test_resume_after_any_chunk_continues_bit_for_bit(seed: int, weights: list[float], cut: int) -> None:
    """A state that was saved and resumed has the same views, and learns the same, as one that was not."""
    histories = [actions(80, seed + number, first=2 * number) for number in range(3)]
    profile = blank(Theirs.of(histories), histories, escapes(seed))
    state, other = profile.start(), profile.start()
    window = actions(100, seed + 50, first=4)
    for number, weight in enumerate(weights):
        if number == cut:
            other = profile.resume(profile.learned(other))
        for one in (state, other):
            profile.learn(one, actions(100, seed + 60 + number, first=3 * number), weight)
    other = profile.resume(profile.learned(other))
    assert saved(profile, other) == saved(profile, state)
    assert profile.views(other, window).tobytes() == profile.views(state, window).tobytes()


@pytest.mark.parametrize("profile", [empty(), common()[0]], ids=["empty", "common"])
def test_from_arrays_of_arrays_is_the_same_profile(profile: Profile) -> None:
    """A profile that was saved has the arrays, the totals and the views of the one before."""
    again = Profile.from_arrays(profile.arrays())
    for name, array in again.arrays().items():
        before = profile.arrays()[name]
        assert (array.dtype, array.shape, array.tobytes()) == (before.dtype, before.shape, before.tobytes())
    window = actions(100, 3)
    assert again.views(again.start(), window).tobytes() == profile.views(profile.start(), window).tobytes()


def test_from_arrays_totals_of_others_outlive_their_features() -> None:
    """Totals of others are kept though a bounded profile does not hold all their features."""
    profile, _ = common()
    arrays = profile.arrays() | {"others_totals": profile.arrays()["others_totals"] * 2.0}
    assert Profile.from_arrays(arrays).others.totals.tolist() == (profile.others.totals * 2.0).tolist()


def learned_arrays() -> dict[str, NDArray[Any]]:
    """Return what a state has learned, known and fresh features alike."""
    profile, state = common()
    profile.learn(state, actions(100, 5), 0.8)
    return profile.learned(state)


@pytest.mark.parametrize(("what", "damage"), damages(common()[0].arrays()))
def test_from_arrays_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """Arrays of another type, shape or order, and numbers that are no counts, are refused."""
    with pytest.raises((ValueError, KeyError)):
        Profile.from_arrays(damaged(common()[0].arrays(), damage))
    assert what


@pytest.mark.parametrize(("what", "damage"), damages(learned_arrays()))
def test_resume_hostile_arrays_raise_value_or_key_error(what: str, damage: Damage) -> None:
    """What was learned by another profile, or is damaged, is refused; fresh features have no order."""
    profile, _ = common()
    arrays = damaged(learned_arrays(), damage)
    if what in {"fresh: reversed", "fresh_sequences: reversed"}:
        assert np.isfinite(profile.views(profile.resume(arrays), actions(100, 5))).all()
        return
    with pytest.raises((ValueError, KeyError)):
        profile.resume(arrays)


def test_resume_more_new_features_than_features_raises_value_error() -> None:
    """A rate above one is refused."""
    profile, state = common()
    rate = np.ones((LEVELS, 2)) * [2.0, 1.0]
    with pytest.raises(ValueError, match="more features are new"):
        profile.resume(profile.learned(state) | {"rate": rate})


@pytest.mark.parametrize("value", [0.0, 1.0, -inf])
def test_profile_share_of_new_features_outside_zero_and_one_raises_value_error(value: float) -> None:
    """The share of new features is above zero and below one."""
    arrays = common()[0].arrays()
    arrays["escape"] = np.full_like(arrays["escape"], value)
    with pytest.raises(ValueError, match="not shares"):
        Profile.from_arrays(arrays)


def test_look_up_of_no_keys_finds_nothing() -> None:
    """Nothing is known of an empty table; a place is valid all the same."""
    place, known = look_up(np.zeros(0, dtype=np.uint64), np.array([3, 4], dtype=np.uint64))
    assert (place.tolist(), known.tolist()) == ([0, 0], [False, False])


def test_sequences_of_programs_in_another_order_differ() -> None:
    """Pairs and triples are hashed by their order, and apart from each other."""
    found = [sequences_of(np.array(order, dtype=np.uint64)).tolist() for order in ([8, 16, 24], [24, 16, 8])]
    assert len({key for keys in found for key in keys}) == 6
