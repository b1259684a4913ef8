"""``anomaly fleet``: the logs of many hosts, on Apache Spark."""

from __future__ import annotations

from collections.abc import Sequence

import click

from anomaly import option_types, options, terminal
from anomaly.cli_fleet_score import score

_NAMED = 5


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
    from anomaly.fleet.session import check_extra, explained, session

    check_extra()

    from anomaly.detectors.interface import Algorithm
    from anomaly.errors import WorkerLost
    from anomaly.fleet.keys import Rule
    from anomaly.fleet.train import Request, train
    from anomaly.harvest import Period

    asked = Request(
        tuple(places), models, Algorithm(algorithm), Rule(rule), Period(since, until), seed, least, newest
    )
    with explained():
        outcome = train(asked, session("anomaly fleet train"), terminal.say)
    manifest = outcome.manifest
    told = [*sorted(outcome.lost.items()), *sorted(manifest.failed.items() - outcome.lost.items())]
    for key, reason in told[:_NAMED]:
        terminal.say(f"{key}: no new model: {reason}")
    if len(told) > _NAMED:
        terminal.say(f"{len(told) - _NAMED:,} more have no new model; why is in {models}/manifest.json")
    terminal.print_rows(
        [
            {
                "version": manifest.version,
                "new": outcome.made,
                "failed": len(manifest.failed),
                "models": len(manifest.models),
                "background": manifest.background is not None,
                "lines": outcome.lines,
                "skipped": sum(outcome.skipped.values()),
            }
        ],
        output,
    )
    if outcome.lost:
        raise WorkerLost(
            f"{len(outcome.lost):,} users could not be learned, {outcome.made:,} have new models. Why is said"
            " above, and in the manifest."
        )
