"""What the users of a log have in common, for learning each of them together with the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anomaly.admission import admitted
from anomaly.cohort import Cohort, bounded
from anomaly.cohort_fit import CohortFit, Report, fit_cohort
from anomaly.course import Shared
from anomaly.detectors.interface import WINDOW
from anomaly.features.levels import Features
from anomaly.population import Population

FEWEST = 8
"""Users that are learned together. With five, of whom one is root and one the machine, all that
three people do looks like one another's, and a stranger like none of them: nothing alarms."""

MOST_ACTIONS = 1_000_000
"""Actions that "what others do" is made of at most, as many of each user: the last ones."""


class Together:
    """A cohort, how its users are judged, and how their actions become features.

    Parameters
    ----------
    cohort, fit
        The users, and how everyone is judged.
    salt, silent
        Of the features; see :class:`~anomaly.features.levels.FeatureHasher`.
    """

    def __init__(self, cohort: Cohort, fit: CohortFit, salt: int, silent: set[tuple[str, str]]) -> None:
        self.cohort, self.fitted, self.salt, self.silent = cohort, fit, salt, silent

    @classmethod
    def fit(
        cls, population: Population, seed: int, without: Sequence[str] = (), report: Report = lambda _: None
    ) -> Together | None:
        """Learn what users have in common; None if they are too few, or nothing tells them apart."""
        tokenizer = population.tokenizer
        most = MOST_ACTIONS // max(len(population.users), 1)
        histories: dict[str, list[Features]] = {}
        times = {}
        for user, corpus in population.corpora.items():
            rows = corpus.rows()
            chosen = np.flatnonzero(admitted(corpus, rows, tokenizer.silent))[-most:]
            if len(chosen) >= 2 * WINDOW:
                features = tokenizer.features(corpus)
                histories[user] = [features[place] for place in chosen.tolist()]
                times[user] = rows.time[chosen]
        if len(histories) < FEWEST:
            return None
        cohort = Cohort(histories)
        fitted = fit_cohort(cohort, times, seed, without, report)
        return None if fitted is None else cls(cohort, fitted, tokenizer.salt, tokenizer.silent)

    def shared(self, user: str) -> Shared | None:
        """Return what a user has in common with the others; None if the user is not of the cohort."""
        if user not in self.cohort.histories:
            return None
        profile = bounded(self.cohort.profile(user, self.cohort.histories[user]))
        return Shared(self.salt, self.silent, profile, self.fitted, len(self.cohort.users) - 1)
