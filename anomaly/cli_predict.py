"""``anomaly predict``, and ``main.py``: a log is scored, and followed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anomaly import cli_train, options, options_alerts, options_file, terminal
from anomaly.cli_errors import Explained
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from anomaly.board import Board
    from anomaly.request import Prediction
    from anomaly.sinks.interface import AlertSink
    from anomaly.tally import Tally

EXIT_FOUND = 20
"""What ``predict --fail-on`` ends with when it has seen something."""


@click.command(cls=Explained)
@options.user
@options.log
@options.olddir
@options.max_line
@options.models
@options.state
@options.score_format
@options.adapt
@options_alerts.alerting
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for new actions, or end.")
@options.begin("Go on where the last run (at first: the training) stopped, or begin elsewhere.")
@options.jobs("With --no-follow: score a long log by so many processes, some of the users each.")
@options.min_score
@click.option(
    "--fail-on",
    type=click.Choice(options.SEVERITIES),
    help=f"End with exit code {EXIT_FOUND} if anything of this severity or worse was scored; it ends when the log"
    " does, or when it is stopped.",
)
@click.pass_context
def predict(ctx: click.Context, /, output: str, fail_on: str | None, **_: object) -> None:
    """Score each action of a log, and go on with each new one as osquery writes it.

    \b
    Example:
      anomaly predict --user alice
      anomaly predict --all-users --no-follow --format json | jq .risk
    """
    from anomaly.records import Severity

    options_alerts.check(ctx)
    tally = _predict(ctx, output)
    if fail_on and tally.worst().rank >= Severity(fail_on).rank:
        sys.exit(EXIT_FOUND)


@click.command(cls=Explained, context_settings={"help_option_names": ["-h", "--help"]})
@options_file.configuration
@options.algorithm
@options.log
@options.olddir
@options.max_line
@options.models
@options.state
@options.score_format
@options.adapt
@options_alerts.alerting
@click.pass_context
def run(
    ctx: click.Context, /, algorithm: str, log: Path, olddir: Path | None, models: Path, output: str, **_: object
) -> None:
    """Learn every user in the log who has no model of this algorithm in use, then score each new action.

    \b
    Example:
      python main.py -a OCSVM -l /var/log/osquery/osqueryd.results.log
    """
    from anomaly.detectors.interface import Algorithm
    from anomaly.enrolment import Enrolment

    _check_alerts(ctx.params["alerts"], output)
    options_alerts.check(ctx)
    cli_train.learn(Enrolment((log,), models, Algorithm(algorithm), keep=True, olddir=olddir))
    _predict(ctx, output)


def _asked(parameters: Mapping[str, Any]) -> Prediction:
    """Make of a command's parameters what is asked for; ``main.py`` has fewer of them."""
    from anomaly.records import Severity
    from anomaly.request import Prediction

    user = options.chosen_user(parameters["user"], parameters["all_users"]) if "user" in parameters else None
    named = ("log", "models", "state", "adapt", "olddir", "max_line", "begin", "min_score", "jobs", "budget")
    chosen = {name: parameters[name] for name in (*named, "suppressions") if name in parameters}
    alarms = Severity(parameters["alert_on"]), tuple(parameters["alerts"])
    return Prediction(
        user=user, follow=parameters.get("follow", True), alert_on=alarms[0], alerts=alarms[1], **chosen
    )


def _check_alerts(addresses: Sequence[str], output: str) -> None:
    """Refuse addresses that do not fit, before anything is learned; who gives none pays nothing."""
    if not addresses:
        return
    from anomaly.sinks.address import parse

    kinds = {parse(address).kind for address in addresses}
    if output != "text" and "-" in kinds:
        raise ConfigError(
            f"Alerts to - would stand among scores in {output}. Send them elsewhere, or show scores by"
            " --format text."
        )


@contextmanager
def _alert_sinks(asked: Prediction) -> Iterator[Sequence[AlertSink]]:
    """Open what alerts go to; who gives no address pays nothing."""
    if not asked.alerts:
        yield ()
        return
    from anomaly.prediction import checkpoint_of
    from anomaly.sinks.address import open_sinks

    spool = asked.state / "spool" / (checkpoint_of(asked) or "stdin")
    stdout = terminal.standard_output()
    with closing(open_sinks(asked.alerts, spool=spool, say=terminal.say, stdout=stdout)) as sinks:
        yield (sinks,)


def _exposed(address: str | None, board: Board) -> AbstractContextManager[object]:
    """Show metrics where that is asked for; who does not ask pays nothing."""
    if address is None:
        return nullcontext()
    from anomaly.exposure import exposed
    from anomaly.metrics_address import place

    return exposed(place(address), board, terminal.say)


def _predict(ctx: click.Context, output: str) -> Tally:
    from anomaly.control import Control, Overdue
    from anomaly.garbage import search_seldom
    from anomaly.prediction import check_read, prepare
    from anomaly.systemd import Notifier

    search_seldom()
    asked = _asked(ctx.params)
    _check_alerts(asked.alerts, output)
    terminal_watches = sys.stdout is not None and sys.stdout.isatty()
    try:
        with (
            Control(terminal=terminal_watches) as control,
            _alert_sinks(asked) as sinks,
            prepare(
                asked,
                terminal.sink(output),
                terminal.say,
                alert_sinks=sinks,
                again=lambda: _asked(options_file.again(ctx)),
                notifier=Notifier.from_environment(os.environ),
            ) as follower,
            _exposed(ctx.params["metrics"], follower.board),
        ):
            if terminal_watches and asked.follow:
                terminal.say(f"Following {asked.log}: each new action is shown as it is written. Ctrl-C ends it.")
            tally = follower.run(control)
            remark = check_read(asked, follower)
    except Overdue:
        # Whoever takes our output has stopped taking it: neither a word nor Python's last flush must wait for him.
        os._exit(0)
    for line in tally.summary():
        terminal.say(line)
    if remark:
        terminal.say(remark)
    return tally
