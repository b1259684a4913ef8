"""What one user is taught: from actions to a study, or to a model where nobody else has a say in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from anomaly.calibration import Tail
from anomaly.corpus import Corpus
from anomaly.detectors.interface import Algorithm, Learner
from anomaly.harvest import Harvest, Report
from anomaly.identity import Identities
from anomaly.model import UserModel
from anomaly.population import Population
from anomaly.risk import Fusion
from anomaly.study import Study, study
from anomaly.training import conclude, learner, weigh


class Course:
    """Teaches users, one after another. Can be sent to another process.

    Parameters
    ----------
    algorithm, seed, without
        See :class:`anomaly.enrolment.Enrolment`.
    population
        The users who are weighed against each other; None where each is learned alone.
    found, identities
        What the logs held, for the models' cards.
    teacher
        The learner, of the same algorithm and seed, where it has learned others before; one of its own by default.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        seed: int,
        without: Sequence[str],
        population: Population | None,
        found: Harvest,
        identities: Identities,
        teacher: Learner | None = None,
    ) -> None:
        self.algorithm, self.seed, self.without = algorithm, seed, tuple(without)
        self.population = population
        self.found = found._replace(users={}, skipped=Counter())  # only what stands on a card
        self.identities = identities.to_dict()
        if teacher is not None:
            self.teacher = teacher

    def __getstate__(self) -> dict[str, Any]:
        """Leave the teacher out: each process has its own."""
        return {name: value for name, value in self.__dict__.items() if name != "teacher"}

    @cached_property
    def teacher(self) -> Learner:
        """The learner of the algorithm."""
        return learner(self.algorithm, self.seed, self.without)

    def weighed_together(self, user: str) -> bool:
        """Say whether a user is weighed against others: then there is no model before all were studied."""
        return self.population is not None and user in self.population.users

    def learn(self, user: str, corpus: Corpus, report: Report) -> Study | UserModel:
        """Study a user, and make the model where the user is learned alone; raises :class:`TooLittleData`."""
        together = self.weighed_together(user)
        studied = study(
            user,
            corpus,
            self.teacher,
            population=self.population if together else None,
            seed=self.seed,
            one_fold="folds" in self.without,
            report=report,
        )
        return studied if together else self.conclude(studied, *self.weigh([studied]))

    def weigh(self, studies: Sequence[Study]) -> tuple[Fusion, Tail]:
        """Weigh the views of users who were studied; see :func:`anomaly.training.weigh`."""
        return weigh(studies, self.teacher, filtered="filter" not in self.without)

    def conclude(self, studied: Study, fusion: Fusion, risk: Tail) -> UserModel:
        """Make the model of a user who was studied and weighed."""
        return conclude(
            studied,
            fusion,
            risk,
            self.teacher,
            self.found,
            self.identities,
            population=self.population if self.weighed_together(studied.user) else None,
            seed=self.seed,
            without=self.without,
        )
