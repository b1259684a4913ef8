"""Profile of a user: counts of features, and views of a window that tell the user from other people.

Views compare three hypotheses by the features of a user's last actions: the *user* (own counts), *a known person*
(the counts of others in the log), and *an unknown person* (how many people have a feature at all, and how much of
what an unknown person does is new to everybody). The others' counts are the prior of the user's own, so a program
that is new to the user and common among others is weak evidence.

Views are made of a window's distinct features: however often one new thing is repeated, it counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import lgamma
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.features.levels import Features, Level

LENGTHS = (15, 30, 100)
"""Windows, in actions. Short ones find an attacker's session soon, long ones a colleague."""

LEVELS = len(Level)

COMPARED = (Level.PROGRAM, Level.ARGUMENT, Level.ROW, Level.VALUE, Level.KIND)
"""Levels that views are made of. The others added nothing on any data set, and take as much time."""

PRIOR = 20.0
"""Features that the prior of a user's own counts weighs as much as."""

PAIR_PRIOR, TRIPLE_PRIOR = 10.0, 4.0
"""The same for the program that follows one, and two, others."""

OWN_STRENGTH, OTHERS_STRENGTH = 200.0, 60.0
"""How evenly the user's programs, and others', come: strengths of the Dirichlet-multinomials (Minka 2000)."""

SMOOTH = 0.01
"""Count that every feature has among others, if nobody has it."""

SMOOTH_PEOPLE = 0.05
"""The same for the number of people who have a feature."""

MOST_NEW = 3.0
"""Nats that one new feature is evidence of at most: users try new tools themselves."""

MOST_KNOWN = 1.0
"""Nats that one known feature speaks for the user at most."""

MOST_RATIO = 6.0
"""Nats that one feature is evidence of an unknown person at most."""

FORGET = 0.98
"""Decay of the user's rate of new features, by learned chunk."""

RATE_PRIOR = 20.0
"""Features that the prior of that rate weighs as much as: a quarter of an unknown person's rate."""

MOST_FRESH = 16_384
"""Features at most that adaptation adds to the trained ones; beyond, the oldest are forgotten."""

MOST_COUNT = 2.0**53
"""The highest count accepted from a file: a float64 counts that far."""

SHORT = 30
"""Actions of the short window of a user who is known alone."""

OWN_SMOOTH, OWN_SPREAD, OWN_PAIR_PRIOR = 0.3, 100.0, 5.0
"""Where no others are known: count of what the user never did, what all of that weighs, and the prior of pairs."""

VIEWS = 3 + 3 * len(COMPARED)
"""Views of one window; see :func:`Profile.views`."""

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_LEVEL = np.uint64(7)
_IS_COMPARED = np.isin(np.arange(LEVELS), COMPARED)
_IS_OWN = np.arange(LEVELS) != Level.ROW
_IS_NAME = np.isin(np.arange(LEVELS), (Level.PROGRAM, Level.VALUE, Level.KIND))
_PLACE = np.cumsum(_IS_COMPARED) - 1
_HIGHEST_RATE = 0.95


class Others(NamedTuple):
    """Counts of what others do, by the keys of a profile."""

    counts: Floats
    """How often others did each, shape (keys,)."""
    people: Floats
    """How many of them did each, shape (keys,)."""
    sequences: Floats
    """How often the second program follows the first, shape (sequences,)."""
    totals: Floats
    """By level, shape (levels,): all counts..."""
    people_totals: Floats
    """...all people..."""
    sizes: Floats
    """...and how many different features there are."""

    @classmethod
    def of(cls, keys: Keys, counts: Floats, people: Floats, sequences: Floats) -> Others:
        """Return the counts with their totals by level."""
        return cls(
            counts,
            people,
            sequences,
            _by_level(keys, counts),
            _by_level(keys, people),
            _by_level(keys, (counts > 0.0).astype(np.float64)),
        )


class ProfileState:
    """Counts of what a user did, in training and since."""

    def __init__(self, own: Floats, totals: Floats, rate: Floats, sequences: Floats) -> None:
        self.own = own
        self.totals = totals
        """By level, shape (levels,)."""
        self.rate = rate
        """By level, decayed: new features and all features of the learned chunks, shape (levels, 2)."""
        self.sequences = sequences
        self.fresh: dict[int, float] = {}
        """Counts of features that training did not know, the oldest first."""
        self.fresh_sequences: dict[int, float] = {}
        self.is_shared = True
        """Whether the arrays belong to the profile, and must be copied before they change."""


class _Window(NamedTuple):
    """Distinct features of the last actions, with their counts and probabilities."""

    programs: Keys
    """The programs, the newest first, one entry for each time they ran."""
    program_ages: NDArray[np.intp]
    """How many actions came after each."""
    found: Keys
    age: NDArray[np.intp]
    """How many actions came after the newest that has the feature."""
    level: NDArray[np.intp]
    place: NDArray[np.intp]
    known: NDArray[np.bool_]
    own: Floats
    others: Floats
    """How often others did it."""
    likely: Floats
    """Its probability among others."""
    usual: Floats
    """Its probability as the user's."""


class Profile:
    """Trained counts of one user and of others. Immutable.

    Parameters
    ----------
    keys
        Features that are counted, ascending, shape (keys,).
    own
        How often the user did each, shape (keys,).
    sequence_keys, own_sequences
        Hashes of two and three programs in a row, ascending, and how often each occurred; shape (sequences,).
    rate
        See :class:`ProfileState`.
    others
        Counts of what others do.
    escape
        Share of a window's features that are new to everybody if an unknown person acts, shape (lengths, levels).
    """

    def __init__(
        self,
        keys: Keys,
        own: Floats,
        sequence_keys: Keys,
        own_sequences: Floats,
        rate: Floats,
        others: Others,
        escape: Floats,
    ) -> None:
        for name, table in (("features", keys), ("sequences", sequence_keys)):
            if table.dtype != np.uint64 or table.ndim != 1 or (table[1:] <= table[:-1]).any():
                raise ValueError(f"the profile is invalid: its {name} are not in order")
        for counts, table in (
            (own, keys),
            (others.counts, keys),
            (others.people, keys),
            (own_sequences, sequence_keys),
            (others.sequences, sequence_keys),
        ):
            check_counts(counts, table.shape)
        _check_rate(rate)
        if escape.dtype != np.float64 or escape.shape != (len(LENGTHS), LEVELS):
            raise ValueError("the profile is invalid: the rates of new features have another shape or type")
        if not ((escape > 0.0) & (escape < 1.0)).all():
            raise ValueError("the profile is invalid: the rates of new features are not shares")
        self.keys, self.own, self.sequence_keys, self.own_sequences = keys, own, sequence_keys, own_sequences
        self.rate, self.others, self.escape = rate, others, escape
        self._totals = _by_level(keys, own)

    def start(self) -> ProfileState:
        """Return the state that training ended in."""
        return ProfileState(self.own, self._totals, self.rate, self.own_sequences)

    def learn(self, state: ProfileState, chunk: Sequence[Features], weight: float) -> None:
        """Add consecutive actions of the user to the counts, by a weight in 0..1."""
        if weight <= 0.0 or not chunk:
            return
        if state.is_shared:
            state.own, state.totals = state.own.copy(), state.totals.copy()
            state.rate, state.sequences, state.is_shared = state.rate.copy(), state.sequences.copy(), False
        flat = np.fromiter(chain.from_iterable(chunk), dtype=np.uint64)
        found, often = np.unique(flat, return_counts=True)
        level = (found & _LEVEL).astype(np.intp)
        place, known = look_up(self.keys, found)
        if weight > 0.5:
            is_new = np.zeros(len(found), dtype=bool)
            is_new[known] = (state.own[place[known]] == 0.0) & (self.others.counts[place[known]] == 0.0)
            is_new[~known] = [key not in state.fresh for key in found[~known].tolist()]
            new, all_of = np.bincount(level[is_new], minlength=LEVELS), np.bincount(level, minlength=LEVELS)
            state.rate = state.rate * FORGET + np.stack([new, all_of], axis=1)
        state.own[place[known]] += weight * often[known]
        state.totals = state.totals + weight * np.bincount(level, often, LEVELS)
        _count(state.fresh, found[~known].tolist(), (weight * often[~known]).tolist())
        sequences, often = np.unique(sequences_of(programs_of(flat)), return_counts=True)
        place, known = look_up(self.sequence_keys, sequences)
        state.sequences[place[known]] += weight * often[known]
        _count(state.fresh_sequences, sequences[~known].tolist(), (weight * often[~known]).tolist())

    def views(self, state: ProfileState, window: Sequence[Features], others: Others | None = None) -> Floats:
        """Return how unlike the user the last actions are, shape (lengths, VIEWS); higher is more unlike.

        The views of a window are, of its programs, *burst* (log P(others) / P(user) of how often each occurs, by
        program), *pairs* and *triples* (the same of the distinct two and three in a row); then, by level, *types*:
        the mean over distinct features of log P(others) / P(user), 1 for a feature that nobody has; *new*: the
        evidence of the features that nobody has, over the root of the distinct features; and *nobody*: the mean of
        log P(unknown person) / P(user). A feature that occurs several times counts once, except in *burst*.

        Parameters
        ----------
        state
            The user's.
        window
            The last actions, the newest last: ``max(LENGTHS)`` of them, or fewer.
        others
            Counts of others to compare with, by the same keys; the profile's by default.
        """
        theirs = self.others if others is None else others
        seen = self._look(state, window, theirs)
        is_new = (seen.own == 0.0) & (seen.others == 0.0)
        types = np.log(seen.likely / seen.usual)
        types[is_new] = 1.0
        people = np.zeros(len(seen.own))
        people[seen.known] = theirs.people[seen.place[seen.known]]
        total = np.maximum(theirs.people_totals + SMOOTH_PEOPLE * theirs.sizes, SMOOTH_PEOPLE)
        unknown = np.log((people + SMOOTH_PEOPLE) / (total[seen.level] * seen.usual))
        burst, pair_sums = self._sequences(state, seen, theirs)
        result = np.zeros((len(LENGTHS), VIEWS))
        width = len(COMPARED)
        slot = _PLACE[seen.level]
        for number, length in enumerate(LENGTHS):
            escape = self.escape[number]
            rate = (state.rate[:, 0] + RATE_PRIOR * escape / 4.0) / (state.rate[:, 1] + RATE_PRIOR)
            rate = np.minimum(rate, _HIGHEST_RATE)
            stays = np.log((1.0 - escape) / (1.0 - rate))
            hit = np.minimum(np.maximum(np.log(escape / rate), 0.0), MOST_NEW)
            miss = np.minimum(np.maximum(stays, -MOST_KNOWN), 0.0)[_IS_COMPARED]
            inside = seen.age < length
            at, new, level = slot[inside], is_new[inside], seen.level[inside]
            nobody = np.minimum(np.maximum(unknown[inside] + stays[level], -MOST_RATIO), MOST_RATIO)
            nobody[new] = hit[level[new]]
            distinct = np.bincount(at, minlength=width)
            several = np.maximum(distinct, 1)
            news = np.bincount(at[new], minlength=width)
            row = result[number]
            row[0], row[1], row[2] = burst[number], *pair_sums[number]
            row[3 : 3 + width] = np.bincount(at, types[inside], width) / several
            row[3 + width : 3 + 2 * width] = (news * hit[_IS_COMPARED] + (distinct - news) * miss) / np.sqrt(
                several
            )
            row[3 + 2 * width :] = np.bincount(at, nobody, width) / several
        return result

    def own_views(self, state: ProfileState, window: Sequence[Features]) -> tuple[float, float, float]:
        """Return how unusual the last actions are by the user's own counts alone.

        Returns
        -------
        *Follows*: the mean surprise of two programs in a row, over the distinct ones of the longest window.
        *Rare*: the mean surprise of the distinct features of the last ``SHORT`` actions. *News*: how many of their
        programs, values and kinds are new, less how many are to be expected, in standard deviations.
        """
        flat = np.unique(np.fromiter(chain.from_iterable(window[-SHORT:]), dtype=np.uint64))
        level = (flat & _LEVEL).astype(np.intp)
        flat, level = flat[_IS_OWN[level]], level[_IS_OWN[level]]
        own = self._own(state, flat)
        rare = float(-np.log((own + OWN_SMOOTH) / (state.totals[level] + OWN_SPREAD)).mean()) if len(own) else 0.0
        named = _IS_NAME[level]
        rate = ((state.rate[:, 0] + 0.5) / (state.rate[:, 1] + 5.0))[level[named]]
        excess = float((own[named] == 0.0).sum() - rate.sum())
        news = excess / float(np.sqrt((rate * (1.0 - rate)).sum() + 1.0))
        programs = programs_of(np.fromiter(chain.from_iterable(window), dtype=np.uint64))
        pairs, first = np.unique(pairs_and_triples(programs)[0], return_index=True)
        if not len(pairs):
            return 0.0, rare, news
        place, known = look_up(self.sequence_keys, pairs)
        often = np.zeros(len(pairs))
        often[known] = state.sequences[place[known]]
        strange = (~known).nonzero()[0]
        often[strange] = [state.fresh_sequences.get(key, 0.0) for key in pairs[strange].tolist()]
        before, after = self._own(state, programs[first]), self._own(state, programs[first + 1])
        total = float(state.totals[Level.PROGRAM]) + OWN_SPREAD
        expected = OWN_PAIR_PRIOR * (after + OWN_SMOOTH) / total
        follows = float(-np.log((often + expected) / (before + OWN_PAIR_PRIOR)).mean())
        return follows, rare, news

    def _own(self, state: ProfileState, features: Keys) -> Floats:
        """Return how often the user did each feature."""
        place, known = look_up(self.keys, features)
        own = np.zeros(len(features))
        own[known] = state.own[place[known]]
        strange = (~known).nonzero()[0]
        own[strange] = [state.fresh.get(key, 0.0) for key in features[strange].tolist()]
        return own

    def _look(self, state: ProfileState, window: Sequence[Features], theirs: Others) -> _Window:
        """Return the distinct features of the last actions, with their counts and probabilities."""
        sizes = list(map(len, window))
        # The newest first, within actions too: a pipe's last program is the newest.
        flat = np.fromiter(chain.from_iterable(window), dtype=np.uint64, count=sum(sizes))[::-1]
        level = (flat & _LEVEL).astype(np.intp)
        compared = _IS_COMPARED[level]
        flat, level = flat[compared], level[compared]
        ages = np.repeat(np.arange(len(sizes)), sizes[::-1])[compared]
        of_programs = level == Level.PROGRAM
        found, first = np.unique(flat, return_index=True)
        level = level[first]
        place, known = look_up(self.keys, found)
        own, count = np.zeros(len(found)), np.zeros(len(found))
        own[known], count[known] = state.own[place[known]], theirs.counts[place[known]]
        if state.fresh:
            strange = (~known).nonzero()[0]
            own[strange] = [state.fresh.get(key, 0.0) for key in found[strange].tolist()]
        likely = (count + SMOOTH) / (theirs.totals + SMOOTH * np.maximum(theirs.sizes, 1.0))[level]
        usual = (own + PRIOR * likely) / (state.totals + PRIOR)[level]
        programs, program_ages = flat[of_programs], ages[of_programs]
        return _Window(programs, program_ages, found, ages[first], level, place, known, own, count, likely, usual)

    def _sequences(
        self, state: ProfileState, seen: _Window, theirs: Others
    ) -> tuple[list[float], list[tuple[float, float]]]:
        """Return *burst*, and *pairs* and *triples*, each by length."""
        programs, ages = seen.programs, seen.program_ages
        if not len(programs):
            return [0.0] * len(LENGTHS), [(0.0, 0.0)] * len(LENGTHS)
        place = seen.found.searchsorted(programs)
        likely, usual = seen.likely[place], seen.usual[place]
        rank = _ranks(place)
        burst = np.cumsum(np.log(rank + OTHERS_STRENGTH * likely) - np.log(rank + OWN_STRENGTH * usual))
        pairs, triples = pairs_and_triples(programs[::-1])
        pairs, triples = pairs[::-1], triples[::-1]  # the newest first, as the programs are
        own_pairs, their_pairs = self._counted(state, pairs, theirs)
        own_triples, _ = self._counted(state, triples, theirs)
        before, after = place[1:], slice(None, -1)
        them = (their_pairs + PAIR_PRIOR * likely[after]) / (seen.others[before] + PAIR_PRIOR)
        mine = (own_pairs + PAIR_PRIOR * (usual[after] + them) / 2.0) / (seen.own[before] + PAIR_PRIOR)
        third = (own_triples + TRIPLE_PRIOR * mine[:-1]) / (own_pairs[1:] + TRIPLE_PRIOR)
        of_pairs, of_triples = np.log(them / mine), np.log(them[:-1] / third)
        first_pairs, first_triples = (np.unique(keys, return_index=True)[1] for keys in (pairs, triples))
        # A sequence is in a window if its oldest program is.
        pair_ages, triple_ages = ages[1:][first_pairs], ages[2:][first_triples]
        of_pairs, of_triples = of_pairs[first_pairs], of_triples[first_triples]
        bursts, sums = [], []
        for length in LENGTHS:
            inside = int(ages.searchsorted(length))
            bursts.append((float(burst[inside - 1]) + _constant(inside)) / inside if inside else 0.0)
            sums.append(
                (
                    float(of_pairs[pair_ages < length].sum()) / max(inside, 1),
                    float(of_triples[triple_ages < length].sum()) / max(inside, 1),
                )
            )
        return bursts, sums

    def _counted(self, state: ProfileState, sequences: Keys, theirs: Others) -> tuple[Floats, Floats]:
        """Return how often the user, and how often others, ran each sequence of programs."""
        place, known = look_up(self.sequence_keys, sequences)
        own, them = np.zeros(len(sequences)), np.zeros(len(sequences))
        own[known], them[known] = state.sequences[place[known]], theirs.sequences[place[known]]
        if state.fresh_sequences:
            strange = (~known).nonzero()[0]
            own[strange] = [state.fresh_sequences.get(key, 0.0) for key in sequences[strange].tolist()]
        return own, them

    def learned(self, state: ProfileState) -> Arrays:
        """Return the adapted counts as arrays to save."""
        return {
            "own": state.own,
            "totals": state.totals,
            "rate": state.rate,
            "sequences": state.sequences,
            "fresh": _keys_of(state.fresh),
            "fresh_counts": _counts_of(state.fresh),
            "fresh_sequences": _keys_of(state.fresh_sequences),
            "fresh_sequence_counts": _counts_of(state.fresh_sequences),
        }

    def resume(self, learned: Mapping[str, NDArray[Any]]) -> ProfileState:
        """Return the state that :meth:`learned` saved; raise ValueError or KeyError if the arrays are invalid."""
        own, totals, rate, sequences = (learned[name] for name in ("own", "totals", "rate", "sequences"))
        check_counts(own, self.keys.shape)
        check_counts(totals, (LEVELS,))
        _check_rate(rate)
        check_counts(sequences, self.sequence_keys.shape)
        # Totals are saved: added up again they would be rounded otherwise, and lack what was forgotten.
        state = ProfileState(own.copy(), totals.copy(), rate.copy(), sequences.copy())
        state.is_shared = False
        state.fresh = _table_of(learned["fresh"], learned["fresh_counts"])
        state.fresh_sequences = _table_of(learned["fresh_sequences"], learned["fresh_sequence_counts"])
        return state

    def arrays(self) -> Arrays:
        """Return the trained profile as arrays to save."""
        others = self.others
        return {
            "keys": self.keys,
            "own": self.own,
            "sequence_keys": self.sequence_keys,
            "own_sequences": self.own_sequences,
            "rate": self.rate,
            "others": others.counts,
            "people": others.people,
            "others_sequences": others.sequences,
            "others_totals": np.stack([others.totals, others.people_totals, others.sizes]),
            "escape": self.escape,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Profile:
        """Return the profile that :meth:`arrays` saved; raise ValueError or KeyError if the arrays are invalid."""
        keys, totals = arrays["keys"], arrays["others_totals"]
        check_counts(totals, (3, LEVELS))
        others = Others(arrays["others"], arrays["people"], arrays["others_sequences"], *totals)
        own, sequence_keys, sequences = arrays["own"], arrays["sequence_keys"], arrays["own_sequences"]
        return cls(keys, own, sequence_keys, sequences, arrays["rate"], others, arrays["escape"])


def programs_of(features: Keys) -> Keys:
    """Return the features that are programs, in order."""
    programs: Keys = features[(features & _LEVEL) == Level.PROGRAM]
    return programs


def pairs_and_triples(programs: Keys) -> tuple[Keys, Keys]:
    """Return the hashes of each two, and of each three, programs in a row, the oldest first."""
    with np.errstate(over="ignore"):
        pairs: Keys = _spread(programs[:-1]) + programs[1:]
        triples: Keys = _spread(_spread(pairs[:-1])) + programs[2:]
    return pairs, triples


def sequences_of(programs: Keys) -> Keys:
    """Return the hashes of all pairs and triples of programs in a row."""
    return np.concatenate(pairs_and_triples(programs))


def _spread(keys: Keys) -> Keys:
    return (keys ^ (keys >> np.uint64(29))) * _MIX


def _by_level(keys: Keys, values: Floats) -> Floats:
    """Return the sums of values by the level of their keys, shape (levels,)."""
    # Without any keys, bincount counts in whole numbers.
    return np.bincount((keys & _LEVEL).astype(np.intp), values, LEVELS).astype(np.float64)


def _constant(count: int) -> float:
    own, others = OWN_STRENGTH, OTHERS_STRENGTH
    return lgamma(others) - lgamma(others + count) - lgamma(own) + lgamma(own + count)


def _ranks(values: NDArray[np.intp]) -> Floats:
    """Return, for each entry, how many entries before it are equal."""
    order = values.argsort(kind="stable")
    ordered = values[order]
    is_start = np.ones(len(values), dtype=bool)
    is_start[1:] = ordered[1:] != ordered[:-1]
    starts = is_start.nonzero()[0]
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values)) - starts[np.cumsum(is_start) - 1]
    return ranks


def look_up(keys: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the place of each wanted key, and whether the table has it; a place is valid in any case."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.intp), np.zeros(len(wanted), dtype=bool)
    place = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
    return place, keys[place] == wanted


def check_counts(counts: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array holds counts, as float64, of this shape."""
    if counts.dtype != np.float64 or counts.shape != shape:
        raise ValueError("the counts are invalid: they have another shape or type")
    if not ((counts >= 0.0) & (counts <= MOST_COUNT)).all():
        raise ValueError("the counts are invalid: they are negative, too high or not numbers")


def _check_rate(rate: NDArray[Any]) -> None:
    check_counts(rate, (LEVELS, 2))
    if (rate[:, 0] > rate[:, 1]).any():
        raise ValueError("the counts are invalid: more features are new than there are")


def _count(counts: dict[int, float], keys: list[int], weights: list[float]) -> None:
    for key, weight in zip(keys, weights, strict=True):
        counts[key] = counts.get(key, 0.0) + weight
    while len(counts) > MOST_FRESH:
        del counts[next(iter(counts))]


def _keys_of(counts: dict[int, float]) -> Keys:
    return np.fromiter(counts, dtype=np.uint64, count=len(counts))


def _counts_of(counts: dict[int, float]) -> Floats:
    return np.fromiter(counts.values(), dtype=np.float64, count=len(counts))


def _table_of(keys: NDArray[Any], counts: NDArray[Any]) -> dict[int, float]:
    if keys.dtype != np.uint64 or keys.ndim != 1 or len(keys) > MOST_FRESH:
        raise ValueError("the adapted features are invalid: they have another type or size")
    check_counts(counts, keys.shape)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))
