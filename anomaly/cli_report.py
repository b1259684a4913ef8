"""``anomaly report``: what a log came to, as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from anomaly import option_types, options
from anomaly.terminal import say, watch


@click.command()
@options.user
@options.log
@options.olddir
@options.max_line
@options.models
@click.option("--since", type=option_types.Moment(), help="Show what happened from this time of the log on (UTC).")
@click.option("--until", type=option_types.Moment(), help="Show what happened before this time of the log (UTC).")
@click.option(
    "--alert-on",
    type=click.Choice(options.SEVERITIES),
    default="warning",
    show_default=True,
    help="Severity from which on an action is part of an alert.",
)
@click.option(
    "--out",
    type=option_types.Place(),
    default="anomaly-report.html",
    show_default=True,
    help="The page, which only you may read; one that is there is replaced.",
)
def report(
    user: str | None,
    all_users: bool,
    log: Path,
    olddir: Path | None,
    max_line: int,
    models: Path,
    since: int | None,
    until: int | None,
    alert_on: str,
    out: Path,
) -> None:
    """Score a log from its start, and write what it came to as one HTML page.

    The page works without a network. Neither models nor checkpoints are changed.

    \b
    Example:
      anomaly report --user alice --out alice.html
      anomaly report --all-users --since 2026-10-05
    """
    chosen = options.chosen_user(user, all_users)

    from datetime import UTC, datetime

    from anomaly.harvest import Period
    from anomaly.records import Severity
    from anomaly.report import writing

    writing.check(out)

    from anomaly.report.anew import Asked
    from anomaly.report.collect import collect
    from anomaly.report.page import render

    asked = Asked(log, models, chosen, Period(since, until), Severity(alert_on), olddir, max_line)
    found = collect(asked, say, watch())
    page = render(found, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    writing.write(out, page)
    say(f"{out}: {found.summary()}, {len(page) / 1e6:.1f} MB.")
