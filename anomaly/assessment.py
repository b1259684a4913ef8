"""Judging a user's models by logs of which it is known who acted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from anomaly.advice import shell_word
from anomaly.bounded import Unread, read
from anomaly.detectors.interface import WINDOW, Algorithm
from anomaly.errors import ConfigError, LogEmpty, ModelRefused, UnknownUser
from anomaly.evaluation import Block, Figures, blocks, delays, figures
from anomaly.features.normalise import normalise
from anomaly.harvest import BATCH, Watch
from anomaly.osquery import Action, Parser, Skipped
from anomaly.records import ALARM
from anomaly.scoring import Scorer
from anomaly.sources.tail import LogSource
from anomaly.store import Store, Stored

_MOST_LABELS = 1 << 26  # bytes: some ten million lines of somebody else's


class Assessment(msgspec.Struct, frozen=True):
    """What is asked for."""

    user: str
    models: Path
    own: tuple[Path, ...] = ()
    """Logs in which the user acted, but for the lines that ``labels`` name."""
    other: tuple[Path, ...] = ()
    """Logs of which everything is taken as somebody else's, at the user's keyboard."""
    labels: Path | None = None
    """Table with a column ``line``: the numbers, from 1, of lines of the first own log that somebody else did."""
    algorithms: tuple[Algorithm, ...] = ()
    """Empty for that of the model in use."""
    alarm: float = ALARM
    adapt: bool = True


class Outcome(NamedTuple):
    """What one model came to."""

    algorithm: Algorithm
    version: int
    figures: Figures
    blocks: tuple[Block, ...]
    visits: int
    """Times that somebody else came."""
    found: int
    """Times that this was alarmed about."""
    delay: float | None
    """Actions of somebody else until then, the median; None where nothing was found."""


def assess(asked: Assessment, watch: Watch) -> Iterator[Outcome]:
    """Score the logs by each model that is asked for; every log anew from where training stopped.

    Raises
    ------
    ConfigError
        The labels do not fit.
    UnknownUser
        There is no such model.
    LogEmpty
        The user did not act in these logs for as long as one block.
    """
    if not asked.own and not asked.other:
        raise ConfigError("Name what to judge by: --own LOG, --other LOG, or both.")
    if asked.labels is not None and not asked.own:
        raise ConfigError("--labels speaks of lines of --own LOG, and there is none.")
    foreign = _labels(asked.labels) if asked.labels is not None else set()
    for stored in _models(asked):
        algorithm = stored.model.card.algorithm
        found: list[Block] = []
        waits: list[int | None] = []
        logs: list[tuple[Path, set[int] | None]] = [
            (log, foreign if not number else set()) for number, log in enumerate(asked.own)
        ]
        with watch(f"{asked.user} {algorithm.value}") as report:
            for number, (log, lines) in enumerate([*logs, *((log, None) for log in asked.other)]):
                report(number / (len(asked.own) + len(asked.other)), log.name)
                risks, strange = _risks(asked, stored, log, lines)
                if lines and not any(strange):
                    raise ConfigError(
                        f"None of the lines in {asked.labels} is an action of {asked.user!r} in {log}."
                    )
                found += blocks(risks, strange)
                waits += delays(risks, strange, asked.alarm)
        if not found:
            raise LogEmpty(f"{asked.user!r} has fewer than {WINDOW} actions in these logs: nothing to judge by.")
        told = [wait for wait in waits if wait is not None]
        yield Outcome(
            algorithm,
            stored.version,
            figures(found, asked.alarm),
            tuple(found),
            visits=len(waits),
            found=len(told),
            delay=median(told) if told else None,
        )


def _models(asked: Assessment) -> list[Stored]:
    """Return the model in use, or the newest of each algorithm that is asked for."""
    store = Store(asked.models)
    current = store.load(asked.user)
    if current is None:
        raise UnknownUser(
            f"There is no model of {asked.user!r} in {asked.models}. Make one with:"
            f" anomaly train --user {shell_word(asked.user)} -l LOG"
        )
    if not asked.algorithms:
        return [current]
    newest: dict[Algorithm, Stored] = {}
    for version in reversed(store.versions(asked.user)):
        if len(newest.keys() & set(asked.algorithms)) == len(asked.algorithms):
            break
        try:
            stored = store.load(asked.user, version)
        except ModelRefused:
            continue
        if stored is not None:
            newest.setdefault(stored.model.card.algorithm, stored)
    for algorithm in asked.algorithms:
        if algorithm not in newest:
            raise UnknownUser(
                f"{asked.user!r} has no {algorithm.value} model. Make one with:"
                f" anomaly train --user {shell_word(asked.user)} -a {algorithm.value} -l LOG"
            )
    return [newest[algorithm] for algorithm in asked.algorithms]


def _labels(path: Path) -> set[int]:
    data = read(path, _MOST_LABELS)
    if isinstance(data, Unread):
        raise ConfigError(f"{path} cannot be read: {data.reason}.")
    try:
        return {int(row["line"]) for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))}
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise ConfigError(
            f"{path} is no table of labels: it needs a column 'line' with the numbers of the lines that"
            " somebody else did, counted from 1."
        ) from error


def _risks(
    asked: Assessment, stored: Stored, log: Path, foreign: set[int] | None
) -> tuple[list[float], list[bool]]:
    """Score a log; return the risk after each action, and whether somebody else did it (all, without labels)."""
    card = stored.model.card
    scorer = Scorer(lambda _: stored, only=asked.user, claims=card.claims_host, adapt=asked.adapt)
    parser = Parser()
    parser.identities.update(card.identities)
    risks, strange, number = [], [], 0
    with LogSource(log, start="start", follow=False) as source:
        while not source.ended:
            batch: list[tuple[str, Action]] = []
            for line in source.read(BATCH, timeout=1.0):
                number += 1
                parsed = parser.parse(line.data)
                for action in () if isinstance(parsed, Skipped) else parsed:
                    # An intruder has the user's name, number, home and host.
                    whose = (
                        action
                        if foreign is not None
                        else replace(action, user=asked.user, columns=normalise(action))
                    )
                    batch.append((str(number), whose))
            for score in scorer.score_all(batch):
                if score.score is not None and score.risk is not None:
                    risks.append(score.risk)
                    strange.append(foreign is None or int(score.id) in foreign)
    return risks, strange


def row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as a row of a table: shares in per cent, and None where there is nothing to tell."""
    figure = outcome.figures
    return {
        "algorithm": outcome.algorithm.value,
        "version": outcome.version,
        "own_blocks": figure.own,
        "other_blocks": figure.other,
        "auc": _told(figure.auc, 3),
        "hits_at_1": _percent(figure.hits_1),
        "hits_at_5": _percent(figure.hits_5),
        "best_cost": _told(figure.cost, 1),
        "false_alarms": _percent(figure.false_alarms),
        "hits": _percent(figure.hits),
        "visits": outcome.visits,
        "found": outcome.found,
        "delay": outcome.delay,
    }


def sheet(outcomes: Sequence[Outcome], alarm: float) -> list[dict[str, Any]]:
    """Return outcomes as a table for people: a row for each figure, a column for each model."""
    names = {
        "own_blocks": "blocks of the user's own",
        "other_blocks": "blocks of somebody else's",
        "auc": "AUC",
        "hits_at_1": "hits at 1 % false alarms, %",
        "hits_at_5": "hits at 5 % false alarms, %",
        "best_cost": "cost at the best threshold",
        "false_alarms": f"own blocks at risk {alarm:g} or more, %",
        "hits": f"others' blocks at risk {alarm:g} or more, %",
        "visits": "times that somebody else came",
        "found": "times that this was found",
        "delay": "actions until then, median",
    }
    rows = [(f"{o.algorithm.value} {o.version}", row(o)) for o in outcomes]
    return [
        {"figure": name} | {model: "-" if found[key] is None else found[key] for model, found in rows}
        for key, name in names.items()
    ]


def _told(figure: float, digits: int) -> float | None:
    return None if isnan(figure) else round(figure, digits)


def _percent(share: float) -> float | None:
    return _told(100.0 * share, 1)
