"""From logs to stored models, for one user or for everyone in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from anomaly.advice import nearest, shell_word
from anomaly.corpus import day
from anomaly.detectors.interface import Algorithm, Learner
from anomaly.errors import ModelRefused, TooLittleData, UnknownUser
from anomaly.harvest import MIN_ACTIONS, Period, Watch, gather
from anomaly.model import Card
from anomaly.sources.stdin import STDIN
from anomaly.store import Store
from anomaly.training import check_enough, claim, enough, learner, train

_NAMED = 12


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
    """
    found, parser = gather(asked.logs, watch, user=asked.user, period=asked.period)
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
    teacher: Learner | None = None
    done = 0
    short: list[str] = []
    for user, corpus in chosen.items():
        passed = _pass_over(user, asked, store)
        if passed is not None:
            yield passed
            done += 1
            continue
        if enough(corpus) is not None:
            short.append(user)
            continue
        teacher = teacher or learner(asked.algorithm, asked.seed)
        start = time.monotonic()
        with watch(user) as report:
            model = train(
                user,
                corpus,
                teacher,
                asked.algorithm,
                found,
                parser.identities,
                seed=asked.seed,
                report=report,
            )
        version = store.save(user, model)
        done += 1
        yield Enrolled(user, version, model.card, time.monotonic() - start)
    if not done:
        raise TooLittleData(
            f"No user has the {MIN_ACTIONS} actions yet that learning needs. Let osquery log for longer, or give"
            " more logs with -l. How many each has: anomaly users"
        )
    if short:
        more = f" and {len(short) - _NAMED:,} more" if len(short) > _NAMED else ""
        reason = f"fewer than the {MIN_ACTIONS} actions that learning needs; see: anomaly users"
        yield Passed(", ".join(short[:_NAMED]) + more, reason)


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
    found, _ = gather(asked.logs, watch, period=asked.period)
    names = ", ".join(map(str, asked.logs))
    return f"No action of {asked.user!r} is in {names}. {nearest(str(asked.user), found.users)}"
