"""``anomaly status``: how the watch goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from anomaly import option_types, options
from anomaly.terminal import say

EXIT_BEHIND = 21
"""What ``status --fail-if-behind`` ends with where a watch does not keep up."""


@click.command()
@click.option("-l", "--log", type=option_types.Place(), help="This log alone; by default each that is known.")
@options.olddir
@options.models
@options.state
@click.option("--user", type=option_types.UserName(), metavar="NAME", help="Tell of this user alone.")
@click.option(
    "--fail-if-behind",
    type=option_types.Figure(min=0),
    metavar="SECONDS",
    help=f"End with exit code {EXIT_BEHIND} unless each log is watched and no line of it waits for longer.",
)
@options.output_format
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def status(
    log: Path | None,
    olddir: Path | None,
    models: Path,
    state: Path,
    user: str | None,
    fail_if_behind: float | None,
    output: str,
    as_json: bool,
) -> None:
    """Say how the watch goes: each log with its lag, and each user in it, the riskiest first.

    It reads files alone, so it works whether anything runs or not. Alerts are those of the log's day; risk is the
    user's after the last action; drift is as in "anomaly models drift".

    \b
    Example:
      anomaly status
      anomaly status --json | jq '.users[] | select(.risk >= 25) | .user'
      anomaly status --fail-if-behind 300 > /dev/null || echo "nobody watches"
    """
    import msgspec

    from anomaly.status import Asked, watches
    from anomaly.statustext import sheet
    from anomaly.watched import on_time

    found = watches(Asked(state, models, log, user, olddir), say)
    if not found:
        say(f"Nothing is known in {state}. Watch a log with: anomaly predict --all-users -l LOG --state {state}")
    for line in map(json.dumps, msgspec.to_builtins(found)) if as_json or output == "json" else sheet(found):
        click.echo(line)
    if fail_if_behind is not None and not on_time(found, fail_if_behind):
        sys.exit(EXIT_BEHIND)
