"""``anomaly train``: users are learned from a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly import option_types, options, terminal
from anomaly.cli_errors import Explained

if TYPE_CHECKING:
    from anomaly.enrolment import Enrolment


@click.command(cls=Explained)
@options.user
@options.algorithm
@options.logs
@options.olddir
@options.models
@click.option("--since", type=option_types.Moment(), help="Learn from this time of the log on (UTC).")
@click.option("--until", type=option_types.Moment(), help="Learn up to this time of the log (UTC).")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds and logs give equal models.")
@options.jobs("Learn so many users at once, each in a process of its own; the models are the same.")
@options.without
def train(
    user: str | None,
    all_users: bool,
    algorithm: str,
    logs: Sequence[Path],
    olddir: Path | None,
    models: Path,
    since: int | None,
    until: int | None,
    seed: int,
    jobs: int | None,
    without: Sequence[str],
) -> None:
    """Learn users from a log and its archives, and store a model of each.

    \b
    Example:
      anomaly train --user alice -a OCSVM -l /var/log/osquery/osqueryd.results.log
      anomaly train --all-users --since 2026-10-05
    """
    from anomaly.detectors.interface import Algorithm
    from anomaly.enrolment import Enrolment
    from anomaly.harvest import Period

    chosen = options.chosen_user(user, all_users)
    period = Period(since, until)
    parts = tuple(sorted(set(without)))
    named = tuple(logs), models, Algorithm(algorithm), chosen, period, seed
    learn(Enrolment(*named, without=parts, olddir=olddir, jobs=jobs))


def learn(asked: Enrolment) -> None:
    """Learn users, with progress, and say what became of each."""
    from anomaly.enrolment import enrol

    for outcome in enrol(asked, terminal.watch()):
        terminal.say(str(outcome))
