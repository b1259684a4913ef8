"""``anomaly fleet``: the logs of many hosts, on Apache Spark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NoReturn

import click

from anomaly import option_types, options, terminal
from anomaly.cli_fleet_score import score
from anomaly.errors import AnomalyError, WorkerLost

if TYPE_CHECKING:
    from anomaly.fleet.train import Outcome

_NAMED = 20


@click.group()
def fleet() -> None:
    """Learn and score the users of many hosts, on Apache Spark.

    It needs the extra 'fleet' and Java 17; see docs/fleet.md.

    \b
    Example:
      anomaly fleet train --from /srv/osquery --models /srv/models
    """


fleet.add_command(score)


@fleet.command()
@click.option(
    "--from",
    "places",
    metavar="URI",
    multiple=True,
    required=True,
    help="A file or directory of results logs as Hadoop names it, or kafka://HOST:PORT/TOPIC; may be given again.",
)
@click.option("--models", metavar="URI", required=True, help="The store of models; made where there is none.")
@options.algorithm
@click.option(
    "--key",
    "rule",
    type=click.Choice(("local", "host", "user")),
    default="local",
    show_default=True,
    help="A model for each user as 'anomaly train' names them, for each user of each host, or for each name over"
    " all hosts.",
)
@click.option("--since", type=option_types.Moment(), help="Learn from this time of the logs on (UTC).")
@click.option("--until", type=option_types.Moment(), help="Learn up to this time of the logs (UTC).")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds and logs give equal models.")
@click.option(
    "--users-at-least",
    "least",
    metavar="N",
    type=click.IntRange(min=500),
    default=500,
    show_default=True,
    help="Learn only users with so many actions.",
)
@click.option(
    "--newest",
    metavar="N",
    type=click.IntRange(min=1000),
    default=1_000_000,
    show_default=True,
    help="Learn each user from so many actions at most, the newest; a worker needs some 1.6 kB for each.",
)
@click.option(
    "--output",
    "place",
    metavar="FILE",
    type=option_types.Place(),
    help="Write what came of it to this file: spark-submit mixes standard output with all else that is said.",
)
@options.output_format
def train(
    places: Sequence[str],
    models: str,
    algorithm: str,
    rule: str,
    since: int | None,
    until: int | None,
    seed: int,
    least: int,
    newest: int,
    place: Path | None,
    output: str,
) -> None:
    """Learn every user in the logs of a fleet, and write a model of each.

    Master and resources are those of spark-submit or SPARK_*; without them it is this machine. A user who cannot
    be learned keeps the model there was, and is told with the reason; the others are learned.

    \b
    Example:
      anomaly fleet train --from /srv/osquery --models /srv/models -a OCSVM
      anomaly fleet train --from s3a://logs/osquery/ --models s3a://logs/models
      anomaly fleet train --from kafka://broker:9092/osquery --models /srv/models
    """
    from anomaly.fleet.stopping import attended

    found: list[Outcome] = []

    def learn(_stop: Event) -> None:  # which nothing looks at: until the end, nothing is in use
        from anomaly.fleet.session import check_extra, explained, session

        check_extra()

        from anomaly.detectors.interface import Algorithm
        from anomaly.fleet.keys import Rule
        from anomaly.fleet.train import Request, train
        from anomaly.harvest import Period

        asked = Request(
            tuple(places), models, Algorithm(algorithm), Rule(rule), Period(since, until), seed, least, newest
        )
        with explained():
            found.append(train(asked, session("anomaly fleet train"), terminal.say))

    with ExitStack() as stack:
        file = stack.enter_context(place.open("w", encoding="utf-8")) if place is not None else None
        attended(learn, _end, 0)
        if not found:  # it was asked to end, and has failed before it was ended
            _end()
        (outcome,) = found
        _tell(outcome, models)
        terminal.print_rows([_row(outcome)], output, file)
    if outcome.lost:
        raise WorkerLost(
            f"{len(outcome.lost):,} users could not be learned, {outcome.made:,} have new models. Why is said"
            " above, and in the manifest."
        )


def _end() -> NoReturn:
    """End at once, whatever Spark does: until the manifest is written, nothing has changed."""
    from anomaly.fleet.session import end_java

    terminal.say("Stopped. The models in use are those that were; the same command begins anew.")
    end_java()
    os._exit(AnomalyError.exit_code)


def _row(outcome: Outcome) -> dict[str, object]:
    manifest = outcome.manifest
    return {
        "version": manifest.version,
        "new": outcome.made,
        "failed": len(outcome.lost),
        "too_few": len(manifest.too_few),
        "models": len(manifest.models),
        "background": manifest.background is not None,
        "lines": outcome.lines,
        "skipped": sum(outcome.skipped.values()),
    }


def _tell(outcome: Outcome, models: str) -> None:
    """Say what a person should know besides the figures: errors by name, and all else as counts."""
    lost = sorted(outcome.lost.items())
    for key, reason in lost[:_NAMED]:
        terminal.say(f"{key}: no new model: {reason}")
    if len(lost) > _NAMED:
        terminal.say(f"{len(lost) - _NAMED:,} more could not be learned; why is in {models}/manifest.json")
    if outcome.manifest.too_few:
        terminal.say(f"{len(outcome.manifest.too_few):,} have too few actions; who is in {models}/manifest.json")
    if outcome.skipped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(outcome.skipped.items()))
        terminal.say(f"Skipped: {reasons}")
