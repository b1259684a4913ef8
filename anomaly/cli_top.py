"""``anomaly top``: scores as they come, on a screen for people."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anomaly import options, terminal
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from anomaly.request import Begin


@click.command()
@options.user
@options.log
@options.olddir
@options.max_line
@options.models
@options.state
@options.adapt
@options.begin("Begin where the running predict is (where there is none: where training stopped), or elsewhere.")
@options.min_score
def top(
    user: str | None,
    all_users: bool,
    log: Path,
    olddir: Path | None,
    max_line: int,
    models: Path,
    state: Path,
    adapt: bool,
    begin: Begin,
    min_score: float,
) -> None:
    """Watch users and their actions live, on the terminal: who is at risk, what they do, and why it stands out.

    Everyone is shown, if not --user. It may run beside predict: it reads its checkpoint, and writes nothing. The
    key ? explains the others.

    \b
    Example:
      anomaly top
      anomaly top --user alice --from start
    """
    chosen = options.chosen_user(user, all_users or user is None)
    _check_terminal(log)

    from anomaly.control import Control
    from anomaly.live.view import view
    from anomaly.request import Prediction

    asked = Prediction(
        log,
        models,
        state,
        chosen,
        follow=True,
        begin=begin,
        adapt=adapt,
        olddir=olddir,
        max_line=max_line,
    )
    # Nothing is lost by leaving at once: nothing is written. A terminal that is gone may never take the last word.
    with Control(terminal=True, overdue=lambda: os._exit(0)) as control:
        tally = view(asked, control, min_score, terminal.gone)
    for sentence in tally.summary():
        terminal.say(sentence)


def _check_terminal(log: Path) -> None:
    """Refuse what could not be shown or steered; textual draws by standard error."""
    if str(log) == "-":
        raise ConfigError(
            "top takes its keys from standard input. Score what comes there with: anomaly predict -l -"
        )
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr)):
        if stream is None or not stream.isatty():
            raise ConfigError(
                f"top needs a terminal, and standard {name} is none. For scores as text or JSON: anomaly predict"
            )
