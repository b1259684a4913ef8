"""From logs to stored models, for one user or for everyone in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from anomaly.advice import nearest, shell_word, shortened
from anomaly.background_fit import learn_background
from anomaly.corpus import Corpus, day
from anomaly.course import Course
from anomaly.crew import fitting_jobs, lessons
from anomaly.detectors.interface import Algorithm
from anomaly.errors import ModelRefused, TooLittleData, UnknownUser, WorkerLost
from anomaly.harvest import MIN_ACTIONS, Harvest, Period, Watch, gather
from anomaly.identity import NAMELESS, Identities
from anomaly.model import Card, UserModel
from anomaly.population import Population
from anomaly.sources.stdin import STDIN
from anomaly.store import Store
from anomaly.together import Together
from anomaly.training import check_enough, claim, enough

PARTS = ("lstm", "svm", "background", "filter")
"""What can be left out: the network, the window model, the other users, the filter."""

_NAMED = 12
_SEVERAL = 2  # users that have something in common


class Enrolment(msgspec.Struct, frozen=True):
    """What is asked for."""

    logs: tuple[Path, ...]
    models: Path
    algorithm: Algorithm
    user: str | None = None
    """None for every user in the logs."""
    period: Period = Period()
    seed: int = 0
    keep: bool = False
    """Leave users alone who have a model of this algorithm."""
    without: tuple[str, ...] = ()
    """Parts to leave out, to see what they bring: some of :data:`PARTS`."""
    olddir: Path | None = None
    """A directory of archives besides the logs' own."""
    jobs: int | None = 1
    """Users learned at once, each in a process of its own; None for as many as fit and are worth it."""


class Enrolled(NamedTuple):
    """A user with a new model."""

    user: str
    version: int
    card: Card
    seconds: float

    def __str__(self) -> str:
        card = self.card
        return (
            f"{self.user}: model {self.version} ({card.algorithm.value}) from {card.actions:,} actions,"
            f" {day(card.first)} to {day(card.last)}, in {self.seconds:.0f} s"
            + ("; all of a log that names nobody" if card.claims_host else "")
        )


class Passed(NamedTuple):
    """A user without a new one, and why."""

    user: str
    reason: str

    def __str__(self) -> str:
        return f"{self.user}: no new model: {self.reason}"


def enrol(asked: Enrolment, watch: Watch) -> Iterator[Enrolled | Passed]:
    """Train users and store their models; yields each as soon as it is done.

    Raises
    ------
    UnknownUser
        The user asked for is not in the logs.
    TooLittleData
        The user asked for, or everyone, has too few actions.
    WorkerLost
        After all others: of some users the learning failed.
    """
    found, parser = gather(asked.logs, watch, user=asked.user, period=asked.period, olddir=asked.olddir)
    if asked.user is None:
        chosen = dict(found.users)
    else:
        corpus = claim(found, asked.user)
        if corpus is None:
            raise UnknownUser(_unknown(asked, watch))
        check_enough(asked.user, corpus)
        chosen = {asked.user: corpus}
    store = Store(asked.models)
    store.prepare()
    waiting: dict[str, Corpus] = {}
    short: list[str] = []
    passed = 0
    for user, corpus in chosen.items():
        outcome = _pass_over(user, asked, store)
        if outcome is not None:
            yield outcome
            passed += 1
        elif enough(corpus) is not None:
            short.append(user)
        else:
            waiting[user] = corpus
    if not waiting and not passed:
        raise TooLittleData(
            f"No user has the {MIN_ACTIONS} actions yet that learning needs. Let osquery log for longer, or give"
            " more logs with -l. How many each has: anomaly users"
        )
    if waiting:
        yield from _Class(asked, found, parser.identities, store, watch).learn(waiting)
    if short:
        reason = f"fewer than the {MIN_ACTIONS} actions that learning needs; see: anomaly users"
        yield Passed(_listed(short), reason)


class _Class:
    """Has users learned, and stores their models."""

    def __init__(
        self, asked: Enrolment, found: Harvest, identities: Identities, store: Store, watch: Watch
    ) -> None:
        self.asked, self.found, self.identities, self.store, self.watch = asked, found, identities, store, watch

    def learn(self, users: dict[str, Corpus]) -> Iterator[Enrolled | Passed]:
        """Learn users, together where the log has enough of them, else each alone.

        Raises
        ------
        WorkerLost
            At the end, where something went wrong with a process that learned one of them.
        """
        everyone = self._everyone()
        together = None
        if everyone is not None:
            self.store.save_background(learn_background(everyone))
            together = self._together(everyone)
        asked = self.asked
        course = Course(asked.algorithm, asked.seed, asked.without, self.found, self.identities)
        lost: list[str] = []
        made = 0
        jobs = asked.jobs or fitting_jobs(asked.algorithm, users)
        for user, outcome, seconds in lessons(course, users, together, jobs, self.watch):
            if isinstance(outcome, UserModel):
                yield self._store(user, outcome, seconds)
                made += 1
            elif self.asked.user is not None:
                raise outcome
            else:
                yield Passed(user, str(outcome))
                lost += [user] if isinstance(outcome, WorkerLost) else []
        if lost:
            others = f"{made:,} others have new models" if made > 1 else "1 other has a new model"
            raise WorkerLost(
                f"{'Not everyone' if made else 'Nobody'} could be learned: {_listed(lost)}."
                f" {others if made else 'No new model was made'}."
            )

    def _everyone(self) -> Population | None:
        """Return everyone in the log, where there are several and they are asked for."""
        if self.asked.user is not None or "background" in self.asked.without:
            return None
        known = {
            user: corpus
            for user, corpus in self.found.users.items()
            if not user.startswith(NAMELESS) and enough(corpus) is None  # the machine itself is nobody to be like
        }
        if len(known) < _SEVERAL:
            return None
        with self.watch("everyone") as report:
            report(0.0, "what all have in common")
            population = Population(known)
            report(1.0, "done")
        return population

    def _together(self, everyone: Population) -> Together | None:
        """Return what users have in common who are learned together, where they are enough for that."""
        if self.asked.algorithm is Algorithm.OCSVM:
            return None
        with self.watch("everyone") as report:
            asked = self.asked
            # The network alone comes without the window model.
            without = (*asked.without, "svm") if asked.algorithm is Algorithm.LSTM else asked.without
            together = Together.fit(everyone, asked.seed, without, lambda done: report(done, "weights"))
            report(1.0, "done")
        return together

    def _store(self, user: str, model: UserModel, seconds: float) -> Enrolled:
        return Enrolled(user, self.store.save(user, model), model.card, seconds)


def _listed(users: Sequence[str]) -> str:
    """Name the first of some users, and count the others."""
    more = f" and {len(users) - _NAMED:,} more" if len(users) > _NAMED else ""
    return ", ".join(map(shortened, users[:_NAMED])) + more


def _pass_over(user: str, asked: Enrolment, store: Store) -> Passed | None:
    if not asked.keep:
        return None
    try:
        stored = store.load(user)
    except ModelRefused as error:  # nor is it overwritten: somebody should know first
        return Passed(user, str(error))
    if stored is None or stored.model.card.algorithm is not asked.algorithm:
        return None
    log, models = shell_word(str(asked.logs[0])), shell_word(str(asked.models))
    renew = f"anomaly train --user {shell_word(user)} -a {asked.algorithm.value} -l {log} --models {models}"
    return Passed(user, f"keeps model {stored.version}; renew it with: {renew}")


def _unknown(asked: Enrolment, watch: Watch) -> str:
    """Say who is in the logs instead: they are read once more, since only this user's actions were kept."""
    if STDIN in asked.logs:
        return f"No action of {asked.user!r} came on standard input."
    found, _ = gather(asked.logs, watch, period=asked.period, olddir=asked.olddir)
    names = ", ".join(map(str, asked.logs))
    return f"No action of {asked.user!r} is in {names}. {nearest(str(asked.user), found.users)}"
