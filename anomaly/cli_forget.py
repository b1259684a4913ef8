"""``anomaly forget``: erasing a user."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from anomaly import options
from anomaly.sinks.visible import visible
from anomaly.terminal import say

_NOT_ERASED = """\
Not erased, since anomaly does not keep it, or not by user:
- the log and its archives: training on them again learns the user again
- the background, and the models of others who were learned together with the
  user: they hold values and the name. Once the log is without the user, run:
  anomaly train --all-users, and then: anomaly models prune --keep 1
- scores and alerts that went elsewhere (the journal, files, other machines),
  metrics, reports and backups
"""


@click.command()
@click.argument("user", metavar="USER")
@options.models
@options.state
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and leave it.")
def forget(user: str, models: Path, state: Path, yes: bool, dry_run: bool) -> None:
    """Erase everything that is kept of a user: models, what they learned, states, counts, alerts, answers.

    USER is the exact name that "anomaly models list" shows. No watch may run with the state directory meanwhile.

    \b
    Example:
      anomaly forget alice --dry-run
      anomaly forget alice
    """
    from anomaly.forgetting import Forgetting

    forgetting = Forgetting(user, models, state)
    with nullcontext() if dry_run else forgetting.locked():
        found = forgetting.traces()
        for trace in found:
            click.echo(visible(f"{trace.what}: {trace.where}"))
        for name in forgetting.namesakes():
            say(f"{name!r} is left alone; if that is the same person, erase it too.")
        if dry_run:
            return
        if not yes:
            click.confirm("Erase this? It cannot be undone.", abort=True, err=True)
        for trace in found:
            trace.remove()
    say(f"Erased: {user}.")
    click.echo(_NOT_ERASED, err=True, nl=False)
