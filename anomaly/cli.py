"""The commands: parse, wire, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anomaly import (
    __version__,
    cli_alerts,
    cli_config,
    cli_doctor,
    cli_forget,
    cli_models,
    cli_record,
    cli_report,
    cli_status,
    cli_top,
    options,
    options_alerts,
    terminal,
)
from anomaly.errors import AnomalyError

if TYPE_CHECKING:
    from anomaly.board import Board
    from anomaly.enrolment import Enrolment
    from anomaly.request import Prediction
    from anomaly.sinks.interface import AlertSink
    from anomaly.tally import Tally

EXIT_FOUND = 20
"""What ``predict --fail-on`` ends with when it has seen something."""


class _Explained(click.Command):
    """A command whose errors end as one sentence on standard error and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click has it
        """Run the command as a program."""
        # Our matrices are small: threads make them slower, on a busy machine twenty times. Set before numpy
        # is imported, which the commands do.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        try:
            return super().main(*args, **kwargs)
        except AnomalyError as error:
            terminal.say(f"Error: {error}")
            sys.exit(error.exit_code)
        except OSError as error:
            # What a room foresees it says in its own words; this is what is left: output that cannot be written.
            where = f"{error.filename}" if error.filename else "The output cannot be written"
            terminal.say(f"Error: {where}: {error.strerror or error}")
            sys.exit(AnomalyError.exit_code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments: a reload reads them again."""
        ctx.meta[options.ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run what the command does."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read our output has closed it (head, a pager). That is no error, and Python's own
            # flush at exit must not find it either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


class _Commands(_Explained, click.Group):
    """A group of such commands."""

    command_class = _Explained


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@options.configuration
@click.version_option(__version__, prog_name="anomaly")
def main() -> None:
    """Learn how each user behaves from osquery's results log, and score every new action.

    \b
    Example:
      anomaly train --user alice
      anomaly predict --user alice
    """


main.add_command(cli_models.models)
main.add_command(cli_config.config)
main.add_command(cli_doctor.doctor)
main.add_command(cli_record.record)
main.add_command(cli_status.status)
main.add_command(cli_forget.forget)
main.add_command(cli_report.report)
main.add_command(cli_alerts.alerts)
main.add_command(cli_alerts.suppress)
main.add_command(cli_alerts.feedback)
main.add_command(cli_top.top)


@main.command()
@options.user
@options.algorithm
@options.logs
@options.olddir
@options.models
@click.option("--since", type=options.Moment(), help="Learn from this time of the log on (UTC).")
@click.option("--until", type=options.Moment(), help="Learn up to this time of the log (UTC).")
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
    _enrol(Enrolment(*named, without=parts, olddir=olddir, jobs=jobs))


@main.command()
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
@click.option(
    "--from",
    "begin",
    type=click.Choice(("checkpoint", "start", "end")),
    default="checkpoint",
    show_default=True,
    help="Go on where the last run (at first: the training) stopped, or begin elsewhere.",
)
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

    tally = _predict(ctx, output)
    if fail_on and tally.worst().rank >= Severity(fail_on).rank:
        sys.exit(EXIT_FOUND)


@main.command()
@click.option("--user", type=options.UserName(), metavar="NAME", required=True, help="Whose model.")
@click.option("--own", type=options.Place(), multiple=True, help="A log of the user's; may be given again.")
@click.option("--other", type=options.Place(), multiple=True, help="A log of somebody else; may be given again.")
@click.option("--labels", type=options.Place(), help="Table whose column 'line' names others' lines in --own.")
@options.algorithms
@options.models
@options.adapt
@options.alarm
@click.option("--plot", type=options.Place(), help="Write a picture of it to this HTML file.")
@options.output_format
def evaluate(
    user: str,
    own: Sequence[Path],
    other: Sequence[Path],
    labels: Path | None,
    algorithms: Sequence[str],
    models: Path,
    adapt: bool,
    alarm: float,
    plot: Path | None,
    output: str,
) -> None:
    """Say how well a user's model tells the user from others, by logs of which that is known.

    Blocks of 100 actions are judged by the risk after the last. A block is somebody else's if at least half of
    it is. Shares are in per cent; delay is in actions.

    \b
    Example:
      anomaly evaluate --user alice --own alice.log --other bob.log
      anomaly evaluate --user alice --own week.log --labels week.csv -a OCSVM -a BOTH
    """
    from anomaly.assessment import Assessment, assess, row, sheet
    from anomaly.detectors.interface import Algorithm

    chosen = tuple(Algorithm(name) for name in algorithms)
    asked = Assessment(user, models, tuple(own), tuple(other), labels, chosen, alarm, adapt)
    outcomes = list(assess(asked, terminal.watch()))
    rows = [row(outcome) for outcome in outcomes] if output == "json" else sheet(outcomes, alarm)
    terminal.print_rows(rows, output)
    if plot is not None:
        from anomaly.plot import write_plot

        write_plot(plot, f"How well {user} is told from others", outcomes, alarm)


@main.command()
@options.logs
@options.olddir
@options.models
@options.output_format
def users(logs: Sequence[Path], olddir: Path | None, models: Path, output: str) -> None:
    """List who acts in a log, how much, and whether there is a model.

    \b
    Example:
      anomaly users -l /var/log/osquery/osqueryd.results.log
    """
    from anomaly.overview import user_rows

    terminal.print_rows(user_rows(tuple(logs), models, terminal.watch(), olddir), output)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=int, default=7, show_default=True, help="Equal seeds give equal logs.")
@click.option("--days", type=click.IntRange(3, 60), default=14, show_default=True, help="Days of normal life.")
def simulate(directory: Path, seed: int, days: int) -> None:
    """Write simulated logs of three users, and two intrusions with labels.

    \b
    Example:
      anomaly simulate --seed 7 /tmp/sample
    """
    from anomaly.simulation import write

    for path in write(directory, seed, days):
        terminal.say(f"{path}: simulated, {path.stat().st_size:,} bytes")


@main.command()
@click.option(
    "-a",
    "--algorithm",
    type=click.Choice(options.ALGORITHMS, case_sensitive=False),
    default="OCSVM",
    show_default=True,
    help="What to learn with; OCSVM is done in seconds.",
)
def demo(algorithm: str) -> None:
    """Train on the simulated sample logs, replay an intrusion, and say what was found.

    \b
    Example:
      anomaly demo
    """
    from anomaly.demonstration import demonstrate
    from anomaly.detectors.interface import Algorithm

    demonstrate(Algorithm(algorithm), lambda: terminal.sink("text"), click.echo, terminal.watch())


@click.command(cls=_Explained, context_settings={"help_option_names": ["-h", "--help"]})
@options.configuration
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

    _enrol(Enrolment((log,), models, Algorithm(algorithm), keep=True, olddir=olddir))
    _predict(ctx, output)


def _enrol(asked: Enrolment) -> None:
    from anomaly.enrolment import enrol

    for outcome in enrol(asked, terminal.watch()):
        terminal.say(str(outcome))


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


@contextmanager
def _alert_sinks(asked: Prediction) -> Iterator[Sequence[AlertSink]]:
    """Open what alerts go to; who gives no address pays nothing."""
    if not asked.alerts:
        yield ()
        return
    from anomaly.prediction import checkpoint_of
    from anomaly.sinks.address import open_sinks

    spool = asked.state / "spool" / (checkpoint_of(asked) or "stdin")
    with closing(open_sinks(asked.alerts, spool=spool, say=terminal.say)) as sinks:
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
    from anomaly.prediction import check_read, prepare
    from anomaly.systemd import Notifier

    asked = _asked(ctx.params)
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
                again=lambda: _asked(options.again(ctx)),
                notifier=Notifier.from_environment(os.environ),
            ) as follower,
            _exposed(ctx.params["metrics"], follower.board),
        ):
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
