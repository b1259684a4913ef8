"""Users of one log who are learned together, and what "others" do for each of them.

A person whose window is compared with a user is left out of the others, so that the window looks as if that person
had never been seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomaly.detectors.interface import WINDOW
from anomaly.detectors.profile import (
    LENGTHS,
    LEVELS,
    Others,
    Profile,
    pairs_and_triples,
    programs_of,
    sequences_of,
)
from anomaly.features.levels import Features

MOST_OWN, MOST_OTHERS = 65_536, 32_768
"""Features that a profile holds at most: the user's own, the most frequent, and further ones of others."""

LEAST_ESCAPE, MOST_ESCAPE = 0.02, 0.95
"""Bounds of the share of features that are new to everybody if an unknown person acts."""

ESCAPE_ALONE = 0.5
"""That share if no others are known."""

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]


class _Counts(NamedTuple):
    """Counts of what one user did, and their places among the cohort's keys."""

    places: NDArray[np.intp]
    counts: Floats
    sequence_places: NDArray[np.intp]
    sequence_counts: Floats


class Cohort:
    """Users who are learned together.

    Parameters
    ----------
    histories
        By user, the features of the actions that came into the window, in order.
    """

    def __init__(self, histories: Mapping[str, Sequence[Features]]) -> None:
        self.histories = dict(histories)
        self.users = tuple(histories)
        flats = {user: _flat(history) for user, history in histories.items()}
        self.keys: Keys = np.unique(np.concatenate(list(flats.values())))
        sequences = {user: sequences_of(programs_of(flat)) for user, flat in flats.items()}
        self.sequence_keys: Keys = np.unique(np.concatenate(list(sequences.values())))
        self._counts = {user: self._counted(flat) for user, flat in flats.items()}
        self._total, self._people = np.zeros(len(self.keys)), np.zeros(len(self.keys))
        self._sequences = np.zeros(len(self.sequence_keys))
        for counts in self._counts.values():
            self._total[counts.places] += counts.counts
            self._people[counts.places] += 1.0
            self._sequences[counts.sequence_places] += counts.sequence_counts
        self.escape = self._escape(flats)
        self._others: dict[tuple[str, ...], Others] = {}

    def _counted(self, flat: Keys) -> _Counts:
        found, often = np.unique(flat, return_counts=True)
        # Others' triples are never asked for: only what follows one program is compared.
        pairs, pair_often = np.unique(pairs_and_triples(programs_of(flat))[0], return_counts=True)
        return _Counts(
            self.keys.searchsorted(found),
            often.astype(np.float64),
            self.sequence_keys.searchsorted(pairs),
            pair_often.astype(np.float64),
        )

    def _escape(self, flats: Mapping[str, Keys]) -> Floats:
        """Return the users' mean share of a window's features that nobody else has, shape (lengths, levels)."""
        level = (self.keys & np.uint64(7)).astype(np.intp)
        shares = np.zeros((len(LENGTHS), LEVELS))
        for user, history in self.histories.items():
            mine = np.zeros(len(self.keys), dtype=bool)
            counts = self._counts[user]
            mine[counts.places] = self._total[counts.places] - counts.counts == 0.0
            for number, length in enumerate(LENGTHS):
                new, found = np.zeros(LEVELS), np.zeros(LEVELS)
                for begin in range(0, len(history) - length + 1, WINDOW):
                    places = self.keys.searchsorted(np.unique(_flat(history[begin : begin + length])))
                    found += np.bincount(level[places], minlength=LEVELS)
                    new += np.bincount(level[places[mine[places]]], minlength=LEVELS)
                shares[number] += (new + 0.5) / (found + 1.0)
        return np.clip(shares / len(flats), LEAST_ESCAPE, MOST_ESCAPE)

    def others(self, *left_out: str) -> Others:
        """Return the counts of all users but those left out, by the cohort's keys."""
        known = self._others.get(left_out)
        if known is None:
            total, people, sequences = self._total.copy(), self._people.copy(), self._sequences.copy()
            for user in left_out:
                counts = self._counts[user]
                total[counts.places] -= counts.counts
                people[counts.places] -= 1.0
                sequences[counts.sequence_places] -= counts.sequence_counts
            known = Others.of(self.keys, total, people, sequences)
            if len(left_out) == 1:
                self._others.clear()  # one user after another is compared with all
                self._others[left_out] = known
        return known

    def profile(self, user: str, history: Sequence[Features]) -> Profile:
        """Return the profile of a user who did ``history``, by all the cohort's keys."""
        return learned_profile(self.keys, self.sequence_keys, self.others(user), self.escape, history)


def with_history(profile: Profile, history: Sequence[Features], known: Sequence[Features] = ()) -> Profile:
    """Return a bounded profile with the others of ``profile`` and the own counts of a history.

    ``known`` rows, such as first runs of queries, are not in the history and count as the user's own all the same.
    """
    flat, others = _flat(history), profile.others
    keys = np.union1d(np.union1d(profile.keys, flat), _flat(known))
    sequences = np.union1d(profile.sequence_keys, sequences_of(programs_of(flat)))
    place, sequence_place = keys.searchsorted(profile.keys), sequences.searchsorted(profile.sequence_keys)
    counts, people, followed = np.zeros(len(keys)), np.zeros(len(keys)), np.zeros(len(sequences))
    counts[place], people[place] = others.counts, others.people
    followed[sequence_place] = others.sequences
    others = others._replace(counts=counts, people=people, sequences=followed)
    found = learned_profile(keys, sequences, others, profile.escape, history)
    own = found.own.copy()
    places, often = np.unique(keys.searchsorted(_flat(known)), return_counts=True)
    own[places] += often
    return bounded(Profile(keys, own, sequences, found.own_sequences, found.rate, others, profile.escape))


def no_others() -> Profile:
    """Return the profile of a user who did nothing yet, without others."""
    keys, nothing = np.zeros(0, dtype=np.uint64), np.zeros(0)
    escape = np.full((len(LENGTHS), LEVELS), ESCAPE_ALONE)
    others = Others.of(keys, nothing, nothing, nothing)
    return Profile(keys, nothing, keys, nothing, np.zeros((LEVELS, 2)), others, escape)


def learned_profile(
    keys: Keys, sequence_keys: Keys, others: Others, escape: Floats, history: Sequence[Features]
) -> Profile:
    """Return the profile of a user who did ``history``, learned a window at a time."""
    none = Profile(
        keys,
        np.zeros(len(keys)),
        sequence_keys,
        np.zeros(len(sequence_keys)),
        np.zeros((LEVELS, 2)),
        others,
        escape,
    )
    state = none.start()
    for begin in range(0, len(history), WINDOW):
        none.learn(state, history[begin : begin + WINDOW], 1.0)
    return Profile(keys, state.own, sequence_keys, state.sequences, state.rate, others, escape)


def bounded(profile: Profile) -> Profile:
    """Return a profile with the user's most frequent features, and those of others that most people have."""
    others = profile.others
    kept = _most(profile.own, profile.own > 0.0, MOST_OWN)
    # By people, and among equals by count.
    worth = others.people + others.counts / (others.counts + 1.0)
    kept |= _most(worth, ~kept & (others.counts > 0.0), MOST_OTHERS)
    used = _most(profile.own_sequences, profile.own_sequences > 0.0, MOST_OWN)
    used |= _most(others.sequences, ~used & (others.sequences > 0.0), MOST_OTHERS)
    return Profile(
        profile.keys[kept],
        profile.own[kept],
        profile.sequence_keys[used],
        profile.own_sequences[used],
        profile.rate,
        others._replace(counts=others.counts[kept], people=others.people[kept], sequences=others.sequences[used]),
        profile.escape,
    )


def _most(worth: Floats, chosen: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Return which of the chosen are worth most; of equals, the first."""
    places = chosen.nonzero()[0]
    if len(places) <= most:
        return chosen
    found = np.zeros(len(worth), dtype=bool)
    found[places[np.argsort(-worth[places], kind="stable")[:most]]] = True
    return found


def _flat(history: Sequence[Features]) -> Keys:
    return np.fromiter(chain.from_iterable(history), dtype=np.uint64)
